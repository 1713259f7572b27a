/* embedded.c - the queue over segmented logs of files: main/log, main/dlq, main/quarantine.
 *
 * The ingress half writes the events, the worker half reads them and writes the other two; both may
 * be one process. Each half has a lock beside the lane's directory. Deliberately not here: the logs
 * (seglog.h). */
#include "queue_priv.h"
#include "seglog.h"

#include "postern/file.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#define SETTLE_MS 5000 /* a slower disk starts without room, and finds it later */

struct embedded {
	struct queue base;
	int ingress_lock, worker_lock;     /* -1: not ours */
	struct seglog *logs[STREAM_COUNT]; /* NULL: not open in this process */
};

static const char *const dir_names[STREAM_COUNT] = {
	[STREAM_EVENTS] = "log",
	[STREAM_DLQ] = "dlq",
	[STREAM_QUARANTINE] = "quarantine",
};

static struct seglog *log_of(struct queue *queue, enum stream stream)
{
	return container_of(queue, struct embedded, base)->logs[stream];
}

static enum err_code closed(enum stream stream, struct err *err)
{
	return err_set(err, ERR_STOPPED, "%s is not open in this process", stream_name(stream));
}

static enum err_code embedded_append(
	struct queue *queue, enum stream stream, struct record *list, struct err *err)
{
	struct seglog *log = log_of(queue, stream);

	return log ? seglog_append(log, list, err) : closed(stream, err);
}

static enum err_code embedded_room(
	struct queue *queue, enum stream stream, size_t bytes, struct err *err)
{
	struct seglog *log = log_of(queue, stream);

	return log ? seglog_room(log, bytes, err) : closed(stream, err);
}

static enum err_code embedded_read(struct queue *queue, enum stream stream,
	const struct queue_read_args *args, struct queue_batch *out, struct err *err)
{
	struct seglog *log = log_of(queue, stream);

	return log ? seglog_read(log, args, out, err) : closed(stream, err);
}

static void embedded_release(struct queue *queue, struct queue_batch *batch)
{
	(void)queue;
	seglog_release(batch);
}

static void embedded_wake(struct queue *queue, enum stream stream)
{
	struct seglog *log = log_of(queue, stream);

	if (log)
		seglog_wake(log);
}

static void embedded_stat(struct queue *queue, enum stream stream, struct stream_stat *out)
{
	struct seglog *log = log_of(queue, stream);

	if (log)
		seglog_stat(log, out);
}

static enum err_code embedded_lookup(struct queue *queue, enum stream stream, int64_t offset,
	struct buf *bytes, struct record *out, struct err *err)
{
	struct seglog *log = log_of(queue, stream);

	return log ? seglog_lookup(log, offset, bytes, out, err) : closed(stream, err);
}

static enum err_code embedded_done(
	struct queue *queue, enum stream stream, int64_t position, struct err *err)
{
	struct seglog *log = log_of(queue, stream);

	return log ? seglog_done(log, position, err) : closed(stream, err);
}

static enum err_code embedded_drop_oldest(
	struct queue *queue, enum stream stream, int64_t *out_first, struct err *err)
{
	struct seglog *log = log_of(queue, stream);

	return log ? seglog_drop_oldest(log, out_first, err) : closed(stream, err);
}

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

/* The events go last: until then records of the other two may complete. */
static void embedded_close(struct queue *queue)
{
	struct embedded *embedded = container_of(queue, struct embedded, base);

	for (size_t i = STREAM_COUNT; i > 0; i--)
		seglog_close(&embedded->logs[i - 1]);
	close_fd(embedded->ingress_lock);
	close_fd(embedded->worker_lock);
	free(embedded);
}

static const struct queue_ops embedded_ops = {
	.name = "embedded",
	.append = embedded_append,
	.room = embedded_room,
	.read = embedded_read,
	.release = embedded_release,
	.wake = embedded_wake,
	.stat = embedded_stat,
	.lookup = embedded_lookup,
	.done = embedded_done,
	.drop_oldest = embedded_drop_oldest,
	.close = embedded_close,
};

/* Beside the lane's directory: data_dir/name for data_dir/main. */
static enum err_code take_lock(const char *dir, const char *name, int *out_fd, struct err *err)
{
	struct slice s = slice_str(dir);
	enum err_code rc = ERR_NOMEM;
	char *parent, *path;

	while (s.len > 1 && s.data[s.len - 1] == '/')
		s.len--;
	while (s.len > 0 && s.data[s.len - 1] != '/')
		s.len--;
	parent = s.len > 0 ? slice_dup_str(s) : slice_dup_str(SLICE_LIT("."));
	path = parent ? file_join(parent, name) : NULL;
	rc = path ? file_lock(path, out_fd, err) : err_set(err, ERR_NOMEM, "no memory for a path");
	free(parent);
	free(path);
	return rc;
}

static enum err_code open_stream(struct embedded *embedded, const struct queue_opts *opts,
	enum stream stream, enum seglog_mode mode, struct err *err)
{
	const bool events = stream == STREAM_EVENTS;
	char *dir = file_join(opts->dir, dir_names[stream]);
	const struct seglog_opts log = {
		.dir = dir,
		.stream = stream,
		.mode = mode,
		.segment_bytes = opts->segment_bytes,
		.reserve_bytes = opts->reserve_bytes,
		.limits = opts->limits[stream],
		.done = events ? opts->events_done : opts->outputs_done,
		.ctx = events ? opts->events_ctx : opts->outputs_ctx,
		.clock = opts->clock,
	};
	enum err_code rc = dir ? seglog_open(&log, &embedded->logs[stream], err)
			       : err_set(err, ERR_NOMEM, "no memory for a path");

	free(dir);
	return rc;
}

static enum err_code open_locks(
	struct embedded *embedded, const struct queue_opts *opts, struct err *err)
{
	enum err_code rc;

	if (opts->read_only)
		return ERR_OK;
	rc = file_make_dirs(opts->dir, err);
	if (rc == ERR_OK && opts->writes_events)
		rc = take_lock(opts->dir, "ingress.lock", &embedded->ingress_lock, err);
	if (rc == ERR_OK && opts->works)
		rc = take_lock(opts->dir, "worker.lock", &embedded->worker_lock, err);
	return rc;
}

static enum err_code open_streams(
	struct embedded *embedded, const struct queue_opts *opts, struct err *err)
{
	enum seglog_mode events = opts->writes_events ? SEGLOG_WRITE : SEGLOG_READ;
	enum seglog_mode outputs = SEGLOG_WRITE;
	enum err_code rc;

	if (opts->read_only)
		events = outputs = SEGLOG_READ_ONLY;
	rc = open_stream(embedded, opts, STREAM_EVENTS, events, err);
	if (!opts->works && !opts->read_only)
		return rc;
	if (rc == ERR_OK)
		rc = open_stream(embedded, opts, STREAM_DLQ, outputs, err);
	if (rc == ERR_OK)
		rc = open_stream(embedded, opts, STREAM_QUARANTINE, outputs, err);
	return rc;
}

/* The first segments of a new queue are made at the same time. */
static void settle(struct embedded *embedded, const struct clock *clock)
{
	const int64_t deadline_ms = clock->mono_ms(clock) + SETTLE_MS;

	for (size_t i = 0; i < STREAM_COUNT; i++) {
		if (embedded->logs[i])
			seglog_settle(embedded->logs[i], deadline_ms);
	}
}

enum err_code queue_embedded_open(
	const struct queue_opts *opts, struct queue **out, struct err *err)
{
	struct embedded *embedded;
	struct queue *queue;
	enum err_code rc;

	assert(opts->read_only != (opts->writes_events || opts->works));
	embedded = calloc(1, sizeof(*embedded));
	if (!embedded)
		return err_set(err, ERR_NOMEM, "no memory for a queue");
	embedded->base.ops = &embedded_ops;
	embedded->ingress_lock = embedded->worker_lock = -1;
	rc = open_locks(embedded, opts, err);
	if (rc == ERR_OK)
		rc = open_streams(embedded, opts, err);
	queue = &embedded->base;
	if (rc != ERR_OK) {
		queue_close(&queue);
		return rc;
	}
	settle(embedded, opts->clock);
	*out = queue;
	return ERR_OK;
}
