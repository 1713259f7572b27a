/* seglog.c - opening and closing a segmented log, and what appenders and observers call.
 *
 * Deliberately not here: the threads (seglog_writer.c, seglog_keeper.c) and the reader
 * (seglog_read.c). */
#include "seglog_priv.h"

#include "postern/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- opening ---- */

static enum err_code open_dir(struct seglog *log, struct err *err)
{
	enum err_code rc;

	if (log->opts.mode != SEGLOG_READ_ONLY) {
		rc = file_make_dirs(log->opts.dir, err);
		if (rc != ERR_OK)
			return rc;
	}
	log->dir_fd = open(log->opts.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (log->dir_fd >= 0)
		return ERR_OK;
	if (errno != ENOENT || log->opts.mode != SEGLOG_READ_ONLY)
		return err_sys(err, ERR_IO, errno, log->opts.dir);
	log->absent = true;
	return ERR_OK;
}

/* A spare of the right size is ready: it had its name only after it was synced. */
static enum err_code find_spare(struct seglog *log, struct err *err)
{
	struct stat st;
	int fd;

	if (log->opts.io->unlink(log->dir_fd, SEGLOG_SPARE_NEW) != 0 && errno != ENOENT)
		return err_sys(err, ERR_IO, errno, SEGLOG_SPARE_NEW);
	fd = openat(log->dir_fd, SEGLOG_SPARE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? ERR_OK : err_sys(err, ERR_IO, errno, SEGLOG_SPARE);
	if (fstat(fd, &st) == 0 && st.st_size == log->opts.segment_bytes &&
		(int64_t)st.st_blocks * 512 >= st.st_size) {
		log->spare_fd = fd;
		log->spare_bytes = st.st_size;
		return ERR_OK;
	}
	(void)close(fd);
	if (log->opts.io->unlink(log->dir_fd, SEGLOG_SPARE) != 0)
		return err_sys(err, ERR_IO, errno, SEGLOG_SPARE);
	return ERR_OK;
}

static enum err_code open_for_writing(struct seglog *log, struct err *err)
{
	const char *name = log->opts.name;
	enum err_code rc;

	assert(log->opts.done && log->opts.segment_bytes >= (int64_t)KIB(4));
	log->metric_bytes = metric_series(METRIC_QUEUE_BYTES, name, NULL);
	log->metric_syncs = metric_series(METRIC_QUEUE_SYNCS, name, NULL);
	log->metric_appends = metric_series(METRIC_QUEUE_APPENDS, name, NULL);
	rc = seglog_recover(log, err);
	if (rc == ERR_OK)
		rc = find_spare(log, err);
	if (rc != ERR_OK)
		return rc;
	lock_take(&log->lock);
	seglog_bytes_changed_locked(log);
	lock_give(&log->lock);
	rc = thread_start(&log->keeper, "log-keeper", seglog_keeper_run, log, err);
	if (rc == ERR_OK)
		rc = thread_start(&log->writer, "log-writer", seglog_writer_run, log, err);
	return rc;
}

static enum err_code open_log(struct seglog *log, struct err *err)
{
	enum err_code rc = open_dir(log, err);

	if (rc == ERR_OK)
		rc = seglog_shared_open(log->dir_fd, log->opts.mode, &log->shared, err);
	if (rc == ERR_OK)
		rc = seglog_reader_open(&log->reader, err);
	if (rc != ERR_OK)
		return rc;
	if (log->opts.mode == SEGLOG_WRITE)
		return open_for_writing(log, err);
	return seglog_find_end(log, err);
}

enum err_code seglog_open(const struct seglog_opts *opts, struct seglog **out, struct err *err)
{
	struct seglog *log = calloc(1, sizeof(*log));
	enum err_code rc;

	if (!log)
		return err_set(err, ERR_NOMEM, "no memory for a log");
	log->opts = *opts;
	log->opts.dir = strdup(opts->dir);
	if (!log->opts.io)
		log->opts.io = &seglog_io_system;
	if (!log->opts.name)
		log->opts.name = stream_name(opts->stream);
	log->dir_fd = log->spare_fd = log->fd = log->shared.fd = -1;
	log->current_first = log->marks_of = -1;
	log->pending_tail = &log->pending;
	lock_init(&log->lock);
	cond_init(&log->to_writer);
	cond_init(&log->to_keeper);
	cond_init(&log->changed);
	rc = log->opts.dir ? open_log(log, err) : err_set(err, ERR_NOMEM, "no memory for a log");
	if (rc != ERR_OK) {
		seglog_close(&log);
		return rc;
	}
	*out = log;
	return ERR_OK;
}

/* The keeper outlives the writer, which may wait for a spare. */
static void stop_threads(struct seglog *log)
{
	lock_take(&log->lock);
	log->stopping = true;
	cond_signal(&log->to_writer);
	lock_give(&log->lock);
	thread_join(&log->writer);
	lock_take(&log->lock);
	log->keeper_stops = true;
	cond_signal(&log->to_keeper);
	lock_give(&log->lock);
	thread_join(&log->keeper);
}

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

void seglog_close(struct seglog **out)
{
	struct seglog *log = *out;

	if (!log)
		return;
	stop_threads(log);
	seglog_reader_close(&log->reader);
	seglog_shared_close(&log->shared);
	close_fd(log->fd);
	close_fd(log->spare_fd);
	close_fd(log->dir_fd);
	seglog_list_done(&log->files);
	seglog_list_done(&log->seen);
	cond_done(&log->to_writer);
	cond_done(&log->to_keeper);
	cond_done(&log->changed);
	lock_done(&log->lock);
	free(log->group);
	free((char *)(uintptr_t)log->opts.dir);
	free(log);
	*out = NULL;
}

/* ---- appending ---- */

/* Why nothing can be appended, as seen at the last try to get a segment. */
static enum err_code refusal_locked(const struct seglog *log, struct err *err)
{
	if (log->no_spare == ERR_OK)
		return ERR_OK;
	return err_set(err, log->no_spare == ERR_IO ? ERR_IO : ERR_FULL, "%s", log->no_spare_text);
}

static enum err_code may_take_locked(const struct seglog *log, size_t bytes, struct err *err)
{
	enum err_code rc = ERR_OK;

	if (log->stopping)
		return err_set(err, ERR_STOPPED, "the log is closing");
	if (log->segment_wanted)
		rc = refusal_locked(log, err);
	if (rc == ERR_OK && log->pending_bytes > 0 &&
		bytes > SEGLOG_PENDING_MAX - log->pending_bytes)
		rc = err_set(
			err, ERR_FULL, "%s: too many records wait to be written", log->opts.name);
	return rc;
}

static enum err_code measure(const struct seglog *log, const struct record *list, size_t *out_bytes,
	size_t *out_count, struct err *err)
{
	const size_t max = (size_t)log->opts.segment_bytes - SEGLOG_HEAD;

	*out_bytes = *out_count = 0;
	for (; list; list = list->next) {
		size_t size = seglog_frame_size(list);

		if (size > max)
			return err_set(err, ERR_LIMIT,
				"%s: a record of %zu bytes does not fit into a segment",
				log->opts.name, size);
		*out_bytes += size;
		*out_count += 1;
	}
	return ERR_OK;
}

enum err_code seglog_append(struct seglog *log, struct record *list, struct err *err)
{
	struct record *last = list;
	size_t bytes, count;
	enum err_code rc;

	if (log->opts.mode != SEGLOG_WRITE)
		return err_set(
			err, ERR_STOPPED, "%s is not written by this process", log->opts.name);
	rc = measure(log, list, &bytes, &count, err);
	if (rc != ERR_OK)
		return rc;
	while (last->next)
		last = last->next;
	lock_take(&log->lock);
	rc = may_take_locked(log, bytes, err);
	if (rc == ERR_OK) {
		*log->pending_tail = list;
		log->pending_tail = &last->next;
		log->pending_bytes += bytes;
		log->pending_count += count;
		if (log->writer_waits)
			cond_signal(&log->to_writer);
		log->writer_waits = false;
	}
	lock_give(&log->lock);
	return rc;
}

/* Before the very first segment there is none until the keeper has made it. Later, between two
 * segments, nothing is known to be in the way: an append waits a moment. */
static enum err_code room_locked(const struct seglog *log, int64_t need, struct err *err)
{
	if (log->spare_fd >= 0 || (log->current_first >= 0 && log->current_left >= need))
		return ERR_OK;
	if (log->no_spare == ERR_OK && log->files.count == 0 && !log->spare_taken)
		return err_set(err, ERR_FULL, "%s: a segment is being prepared", log->opts.name);
	return refusal_locked(log, err);
}

enum err_code seglog_room(struct seglog *log, size_t bytes, struct err *err)
{
	const struct record probe = { .body = { NULL, bytes } };
	enum err_code rc;
	size_t need;

	if (log->opts.mode != SEGLOG_WRITE)
		return err_set(
			err, ERR_STOPPED, "%s is not written by this process", log->opts.name);
	need = seglog_frame_size(&probe);
	if (need > (size_t)log->opts.segment_bytes - SEGLOG_HEAD)
		return err_set(err, ERR_LIMIT, "%s: %zu bytes do not fit into a segment",
			log->opts.name, bytes);
	lock_take(&log->lock);
	rc = room_locked(log, (int64_t)need, err);
	lock_give(&log->lock);
	return rc;
}

void seglog_settle(struct seglog *log, int64_t deadline_ms)
{
	if (log->opts.mode != SEGLOG_WRITE)
		return;
	lock_take(&log->lock);
	while (log->spare_fd < 0 && log->current_first < 0 && log->no_spare == ERR_OK) {
		if (!cond_wait(&log->changed, &log->lock, deadline_ms))
			break;
	}
	lock_give(&log->lock);
}

/* ---- position and what can be seen ---- */

enum err_code seglog_done(struct seglog *log, int64_t position, struct err *err)
{
	bool full;

	if (log->opts.mode == SEGLOG_READ_ONLY)
		return err_set(err, ERR_STOPPED, "the log is open for reading only");
	if (position > seglog_end(log))
		return err_set(err, ERR_CORRUPT, "%s: position %lld is beyond the end",
			log->opts.name, (long long)position);
	seglog_shared_set_position(&log->shared, position);
	if (log->opts.mode != SEGLOG_WRITE)
		return ERR_OK; /* the other process looks for itself */
	lock_take(&log->lock);
	full = log->no_spare == ERR_FULL;
	lock_give(&log->lock);
	if (full)
		seglog_keeper_urge(log);
	return ERR_OK;
}

enum err_code seglog_drop_oldest(struct seglog *log, int64_t *out_first, struct err *err)
{
	enum err_code rc;
	uint64_t mine;

	if (log->opts.mode != SEGLOG_WRITE)
		return err_set(
			err, ERR_STOPPED, "%s is not written by this process", log->opts.name);
	lock_take(&log->lock);
	mine = ++log->drops_wanted;
	cond_signal(&log->to_keeper);
	while (log->drops_done < mine)
		(void)cond_wait(&log->changed, &log->lock, -1);
	rc = log->drop_result;
	if (rc == ERR_OK)
		*out_first = log->files.files[0].first;
	lock_give(&log->lock);
	if (rc != ERR_OK)
		return err_set(err, rc, "%s: no older segment can be dropped", log->opts.name);
	return ERR_OK;
}

static int64_t time_of(struct seglog *log, int64_t offset)
{
	struct buf bytes = BUF_INIT(UINT32_MAX);
	struct record record;
	int64_t time_ms = 0;

	if (seglog_lookup(log, offset, &bytes, &record, NULL) == ERR_OK)
		time_ms = record.time_ms;
	buf_done(&bytes);
	return time_ms;
}

void seglog_stat(struct seglog *log, struct stream_stat *out)
{
	out->end = seglog_end(log);
	out->first = seglog_first(log);
	if (out->first > out->end)
		out->end = seglog_end(log); /* a segment was added between the two */
	out->position = seglog_shared_position(&log->shared);
	if (out->position < out->first)
		out->position = out->first;
	lock_take(&log->lock);
	out->bytes = seglog_list_bytes(log->opts.mode == SEGLOG_WRITE ? &log->files : &log->seen) +
		     log->spare_bytes;
	out->syncs = log->syncs;
	out->appended = log->appended;
	lock_give(&log->lock);
	if (out->position < out->end)
		out->oldest_ms = time_of(log, out->position);
}
