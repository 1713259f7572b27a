/* kafka_spool.c - the ingress half with a log in front of it, for when Kafka is away: open, close,
 * and what can be asked.
 *
 * Deliberately not here: which way a record goes (kafka_spool_ways.c), and from the log to Kafka
 * (kafka_spool_drain.c). */
#include "kafka_spool.h"

#include "postern/file.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#define SETTLE_MS 5000 /* for the first segment; a slower disk starts without */

static struct spool *spool_of(struct queue *queue)
{
	return container_of(queue, struct spool, base);
}

static enum err_code closed(enum stream stream, struct err *err)
{
	return err_set(err, ERR_STOPPED, "%s is not open in this process", stream_name(stream));
}

static enum err_code spool_append(
	struct queue *queue, enum stream stream, struct record *list, struct err *err)
{
	return stream == STREAM_EVENTS ? spool_take(spool_of(queue), list, err)
				       : closed(stream, err);
}

/* ---- what can be asked -------------------------------------------------------------------------
 */

/* kafka: why it is not Kafka that takes it. */
static enum err_code log_room(
	struct spool *s, size_t bytes, const struct err *kafka, struct err *err)
{
	bool is_over_age, covers_all;

	lock_take(&s->lock);
	is_over_age = s->is_over_age;
	covers_all = s->covers_all;
	lock_give(&s->lock);
	if (!covers_all)
		return err_set(err, kafka->code, "%s", kafka->text);
	if (is_over_age)
		return err_set(err, ERR_FULL,
			"the oldest record of the spool is older than /spool/max_age_s");
	return seglog_room(s->log, bytes, err);
}

static enum err_code spool_room(
	struct queue *queue, enum stream stream, size_t bytes, struct err *err)
{
	struct spool *s = spool_of(queue);
	struct err own = ERR_INIT;
	enum err_code rc;

	if (stream != STREAM_EVENTS)
		return closed(stream, err);
	rc = spool_check_size(s, bytes, err);
	if (rc != ERR_OK)
		return rc;
	rc = kafka_ready(s->kafka, &own);
	if (rc == ERR_OK)
		rc = kafka_producer_room(s->kafka->producers[KAFKA_KIND_EVENTS], bytes, &own);
	return rc == ERR_OK ? ERR_OK : log_room(s, bytes, &own, err);
}

/* Offsets mean nothing across partitions: only what this process has made durable is told. */
static void spool_stream_stat(struct queue *queue, enum stream stream, struct stream_stat *out)
{
	struct spool *s = spool_of(queue);

	if (stream != STREAM_EVENTS)
		return;
	lock_take(&s->lock);
	out->appended = s->appended;
	out->syncs = s->groups;
	lock_give(&s->lock);
}

void queue_spool_covers(struct queue *queue, bool all_sources)
{
	struct spool *s = spool_of(queue);

	lock_take(&s->lock);
	s->covers_all = all_sources;
	lock_give(&s->lock);
}

void queue_spool_stat(struct queue *queue, struct spool_stat *out)
{
	struct spool *s = spool_of(queue);
	const bool kafka_away = kafka_is_away(s->kafka);
	struct stream_stat stat = { .first = 0 };

	seglog_stat(s->log, &stat);
	lock_take(&s->lock);
	*out = (struct spool_stat){
		.records = (int64_t)s->records,
		.bytes = stat.bytes,
		.oldest_ms = s->records > 0 ? stat.oldest_ms : 0,
		.refused = s->aside_count,
		.is_away = spool_is_away_locked(s, kafka_away),
		.is_stuck = s->is_stuck,
	};
	lock_give(&s->lock);
}

/* ---- life --------------------------------------------------------------------------------------
 */

/* The direct way first: what it gives up goes to the log. */
static void stop(struct spool *s)
{
	const int64_t patience_ms =
		kafka_is_away(s->kafka) ? 0 : s->kafka->opts.delivery_timeout_ms;

	lock_take(&s->lock);
	s->is_closing = true;
	spool_end_returns_locked(s, true);
	lock_give(&s->lock);
	kafka_sink_close(s->kafka->producers[KAFKA_KIND_EVENTS], &s->direct_sink,
		kafka_now_ms(s->kafka) + patience_ms);
	lock_take(&s->lock);
	s->is_draining_stopped = true;
	spool_changed_locked(s);
	lock_give(&s->lock);
	thread_join(&s->drainer);
}

/* Whatever was opened. */
static void spool_free(struct spool *s)
{
	if (s->drainer.running)
		stop(s);
	if (s->drain)
		kafka_sink_close(s->drain, &s->drain_sink, kafka_now_ms(s->kafka));
	spool_aside_close(s);
	if (s->log)
		spool_drain_done(s);
	kafka_producer_close(&s->drain, kafka_now_ms(s->kafka));
	seglog_close(&s->aside);
	seglog_close(&s->log);
	lock_take(&s->lock);
	spool_complete_refused_locked(s);
	lock_give(&s->lock);
	if (s->dir_lock >= 0)
		(void)close(s->dir_lock);
	cond_done(&s->changed);
	lock_done(&s->lock);
	free(s->aside_dir);
	free(s->slots);
	free(s);
}

static void spool_close(struct queue *queue)
{
	spool_free(spool_of(queue));
}

static const struct queue_ops spool_ops = {
	.name = "spool",
	.append = spool_append,
	.room = spool_room,
	.stat = spool_stream_stat,
	.close = spool_close,
};

static enum err_code lock_dir(struct spool *s, struct err *err)
{
	enum err_code rc = file_make_dirs(s->opts.dir, err);
	char *path;

	if (rc != ERR_OK)
		return rc;
	path = file_join(s->opts.dir, "lock");
	rc = path ? file_lock(path, &s->dir_lock, err)
		  : err_set(err, ERR_NOMEM, "no memory for a path");
	free(path);
	return rc;
}

static enum err_code open_log(struct spool *s, struct err *err)
{
	const struct seglog_opts opts = {
		.dir = s->opts.dir,
		.stream = STREAM_EVENTS,
		.name = "spool",
		.limit_name = "/spool/max_bytes",
		.mode = SEGLOG_WRITE,
		.segment_bytes = s->opts.segment_bytes,
		.reserve_bytes = s->opts.reserve_bytes,
		/* What is delivered is of no use: gone as soon as its segment is done with. */
		.limits = { .max_bytes = s->opts.max_bytes, .retention_ms = 0 },
		.done = spool_logged,
		.ctx = s,
		.clock = s->opts.clock,
	};

	return seglog_open(&opts, &s->log, err);
}

/* What the log has is unsorted, until the drainer reads it. */
static void take_stock(struct spool *s)
{
	struct stream_stat stat = { .first = 0 };

	seglog_settle(s->log, kafka_now_ms(s->kafka) + SETTLE_MS);
	seglog_stat(s->log, &stat);
	s->next = stat.position < stat.end ? stat.position : stat.end;
	lock_take(&s->lock);
	s->records = s->unsorted = (size_t)(stat.end - s->next);
	lock_give(&s->lock);
	metric_set(s->metric_records, stat.end - s->next);
	spool_look(s);
}

static struct spool *new_spool(struct kafka *kafka, const struct spool_opts *opts)
{
	struct spool *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->base.ops = &spool_ops;
	s->kafka = kafka;
	s->opts = *opts;
	s->dir_lock = -1;
	s->tail = &s->first;
	lock_init(&s->lock);
	cond_init(&s->changed);
	record_list_init(&s->refused);
	kafka_sink_open(&s->direct_sink, spool_reported, s);
	s->direct_sink.tells_refusals = true;
	s->direct_sink.metric_appends =
		metric_series(METRIC_QUEUE_APPENDS, stream_name(STREAM_EVENTS), NULL);
	kafka_sink_open(&s->drain_sink, spool_drained, s);
	s->drain_sink.tells_refusals = s->drain_sink.keeps_order = true;
	s->metric_records = metric_series(METRIC_SPOOL_RECORDS, NULL, NULL);
	s->metric_bytes = metric_series(METRIC_SPOOL_BYTES, NULL, NULL);
	s->metric_oldest = metric_series(METRIC_SPOOL_OLDEST, NULL, NULL);
	s->metric_refused = metric_series(METRIC_SPOOL_REFUSED, NULL, NULL);
	s->metric_late = metric_series(METRIC_SPOOL_LATE, NULL, NULL);
	return s;
}

enum err_code queue_spool_open(
	struct kafka *kafka, const struct spool_opts *opts, struct queue **out, struct err *err)
{
	enum err_code rc;
	struct spool *s;

	assert(kafka->opts.writes_events && kafka->opts.spools);
	s = new_spool(kafka, opts);
	if (!s)
		return err_set(err, ERR_NOMEM, "no memory for a spool");
	rc = lock_dir(s, err);
	if (rc == ERR_OK)
		rc = open_log(s, err);
	if (rc == ERR_OK)
		rc = spool_aside_open(s, err);
	s->opts.dir = NULL; /* the caller's */
	if (rc == ERR_OK)
		rc = kafka_producer_open(kafka, KAFKA_KIND_SPOOL, &s->drain, err);
	if (rc == ERR_OK) {
		spool_drain_init(s);
		take_stock(s);
		rc = thread_start(&s->drainer, "spool-drain", spool_drain_run, s, err);
	}
	if (rc != ERR_OK) {
		spool_free(s);
		return rc;
	}
	*out = &s->base;
	return ERR_OK;
}
