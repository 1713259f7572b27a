/* kafka_spool.c - the ingress half with a log in front of it: who goes to Kafka, who to the log,
 * who waits, who is refused; and what completions change about that.
 *
 * Deliberately not here: the way from the log to Kafka (kafka_spool_drain.c), the log itself
 * (seglog.h). */
#include "kafka_spool.h"

#include "postern/file.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SETTLE_MS 5000 /* for the first segment; a slower disk starts without */
#define OVERHEAD KIB(1)

static struct spool *spool_of(struct queue *queue)
{
	return container_of(queue, struct spool, base);
}

/* ---- partitions and counts ---------------------------------------------------------------------
 */

bool spool_knows_locked(struct spool *s)
{
	int32_t count;

	lock_assert_held(&s->lock);
	if (s->slots)
		return true;
	count = kafka_partition_count(s->kafka);
	if (count == 0)
		return false;
	s->slots = calloc((size_t)count, sizeof(*s->slots));
	if (!s->slots)
		return false;
	s->count = count;
	for (int32_t i = 0; i < count; i++) {
		record_list_init(&s->slots[i].failed);
		record_list_init(&s->slots[i].waiting);
	}
	return true;
}

struct spool_slot *spool_slot_locked(struct spool *s, const struct record *r)
{
	lock_assert_held(&s->lock);
	return &s->slots[kafka_partition(r->key, s->count)];
}

/* A failure that no record in the log can prove to be over counts for nothing. */
bool spool_is_away_locked(const struct spool *s, bool kafka_is_away)
{
	return kafka_is_away || (s->failed_lately && s->records > 0);
}

static void count_locked(struct spool *s, const struct record *r)
{
	if (s->slots) {
		spool_slot_locked(s, r)->held++;
	} else {
		s->unsorted++;
		s->unsorted_pending++;
	}
	s->records++;
	metric_set(s->metric_records, (int64_t)s->records);
}

/* It did not get into the log. Its completions come in the order of the appends. */
static void uncount_locked(struct spool *s, const struct record *r, bool is_unsorted)
{
	if (is_unsorted) {
		assert(s->unsorted > 0);
		s->unsorted--;
	} else {
		assert(spool_slot_locked(s, r)->held > 0);
		spool_slot_locked(s, r)->held--;
	}
	s->records--;
	metric_set(s->metric_records, (int64_t)s->records);
}

/* ---- to the log --------------------------------------------------------------------------------
 */

static void refuse_locked(struct spool *s, struct record *r)
{
	record_list_push(&s->refused, r);
	cond_signal(&s->changed);
}

static enum err_code log_append_locked(struct spool *s, struct record *list, struct err *err)
{
	if (s->is_over_age)
		return err_set(err, ERR_FULL,
			"the oldest record of the spool is older than /spool/max_age_s");
	return seglog_append(s->log, list, err);
}

/* Takes the list, all of which is counted; without room all of it is refused. Order of offsets is
 * order of calls, so this needs the lock; it neither waits nor writes. */
static void to_log_locked(struct spool *s, struct record_list *list)
{
	struct record *r = list->first, *next;
	struct err err = ERR_INIT;

	if (!r || log_append_locked(s, r, &err) == ERR_OK)
		return;
	memcpy(s->why, err.text, sizeof(s->why));
	for (; r; r = next) {
		next = r->next;
		if (!s->slots)
			s->unsorted_pending--;
		uncount_locked(s, r, !s->slots);
		refuse_locked(s, r);
	}
}

/* Every direct one is reported: those that failed and those that waited, in order. */
static void end_turn_locked(struct spool *s, struct spool_slot *slot)
{
	struct record_list list = slot->failed;

	assert(slot->is_turning && slot->direct == 0);
	if (!list.first)
		list = slot->waiting;
	else if (slot->waiting.first)
		*list.tail = slot->waiting.first;
	slot->is_turning = false;
	for (struct record *r = list.first; r; r = r->next)
		count_locked(s, r);
	to_log_locked(s, &list);
	record_list_init(&slot->failed);
	record_list_init(&slot->waiting);
}

/* ---- append ------------------------------------------------------------------------------------
 */

enum way { WAY_DIRECT, WAY_LOG, WAY_WAIT, WAY_REFUSED };

static enum way way_of_locked(struct spool *s, const struct record *r, bool is_away)
{
	const struct spool_slot *slot;

	if (!s->slots)
		return r->spools ? WAY_LOG : WAY_REFUSED;
	slot = spool_slot_locked(s, r);
	if (slot->is_turning)
		return r->spools ? WAY_WAIT : WAY_REFUSED;
	if (slot->held > 0 || s->unsorted > 0)
		return r->spools ? WAY_LOG : WAY_REFUSED;
	if (!is_away || !r->spools)
		return WAY_DIRECT;
	return slot->direct > 0 ? WAY_WAIT : WAY_LOG;
}

static void wait_locked(struct spool *s, struct record *r)
{
	struct spool_slot *slot = spool_slot_locked(s, r);

	slot->is_turning = true;
	record_list_push(&slot->waiting, r);
	if (slot->direct == 0)
		end_turn_locked(s, slot);
}

static void decide_locked(
	struct spool *s, struct record *list, bool kafka_is_away, struct record_list *direct)
{
	struct record_list to_log;
	struct record *r, *next;

	record_list_init(&to_log);
	for (r = list; r; r = next) {
		next = r->next;
		r->result = ERR_UNAVAILABLE;
		switch (way_of_locked(s, r, spool_is_away_locked(s, kafka_is_away))) {
		case WAY_DIRECT:
			spool_slot_locked(s, r)->direct++;
			s->direct++;
			record_list_push(direct, r);
			break;
		case WAY_LOG:
			count_locked(s, r);
			record_list_push(&to_log, r);
			break;
		case WAY_WAIT: wait_locked(s, r); break;
		case WAY_REFUSED: refuse_locked(s, r); break;
		}
	}
	to_log_locked(s, &to_log);
}

/* The producer has no room, or there is none: like a failure of each. Others that are on their way
 * go first. */
static void take_back(struct spool *s, struct record *list, enum err_code why)
{
	const bool may_pass = why != ERR_LIMIT && why != ERR_SYNTAX;
	struct record *r, *next;

	lock_take(&s->lock);
	for (r = list; r; r = r->next) {
		spool_slot_locked(s, r)->direct--;
		s->direct--;
	}
	for (r = list; r; r = next) {
		next = r->next;
		if (r->spools && may_pass)
			wait_locked(s, r);
		else
			refuse_locked(s, r);
	}
	/* Those that waited for these alone. */
	for (int32_t i = 0; i < s->count; i++) {
		if (s->slots[i].is_turning && s->slots[i].direct == 0)
			end_turn_locked(s, &s->slots[i]);
	}
	lock_give(&s->lock);
}

static void send_direct(struct spool *s, struct record *list)
{
	const struct kafka_target target = {
		.topic = s->kafka->topics[KAFKA_TOPIC_EVENTS],
		.partition = KAFKA_BY_KEY,
		.sink = &s->direct_sink,
	};
	struct err err = ERR_INIT;
	enum err_code rc = kafka_refusal(s->kafka, &err);

	if (rc == ERR_OK)
		rc = kafka_producer_append(
			s->kafka->producers[KAFKA_KIND_EVENTS], &target, list, &err);
	if (rc == ERR_OK)
		return;
	log_debug("direct_failed", log_code(rc), log_str("text", err.text));
	take_back(s, list, rc);
}

static enum err_code closed(enum stream stream, struct err *err)
{
	return err_set(err, ERR_STOPPED, "%s is not open in this process", stream_name(stream));
}

/* What is too long for Kafka must not get into the log. */
static enum err_code check_size(const struct spool *s, size_t bytes, struct err *err)
{
	if (bytes + OVERHEAD <= s->kafka->max_message_bytes)
		return ERR_OK;
	return err_set(err, ERR_LIMIT, "a record of %zu bytes: the topics take %zu", bytes,
		s->kafka->max_message_bytes - OVERHEAD);
}

static enum err_code spool_append(
	struct queue *queue, enum stream stream, struct record *list, struct err *err)
{
	struct spool *s = spool_of(queue);
	const bool kafka_away = kafka_is_away(s->kafka);
	enum err_code rc = stream == STREAM_EVENTS ? ERR_OK : closed(stream, err);
	struct record_list direct;

	for (const struct record *r = list; r && rc == ERR_OK; r = r->next)
		rc = check_size(s, r->key.len + r->headers.len + r->body.len, err);
	if (rc != ERR_OK)
		return rc;
	record_list_init(&direct);
	lock_take(&s->lock);
	(void)spool_knows_locked(s);
	decide_locked(s, list, kafka_away, &direct);
	lock_give(&s->lock);
	if (direct.first)
		send_direct(s, direct.first);
	return ERR_OK;
}

/* ---- completions -------------------------------------------------------------------------------
 */

void spool_complete_refused_locked(struct spool *s)
{
	struct record *list = s->refused.first;

	lock_assert_held(&s->lock);
	record_list_init(&s->refused);
	if (!list)
		return;
	lock_give(&s->lock);
	s->opts.done(s->opts.ctx, list);
	lock_take(&s->lock);
}

/* Of the log, on its thread. A record that the disk refused may still be in Kafka. */
static void on_logged(void *ctx, struct record *list)
{
	struct spool *s = ctx;

	lock_take(&s->lock);
	for (struct record *r = list; r; r = r->next) {
		const bool is_unsorted = s->unsorted_pending > 0;

		s->unsorted_pending -= is_unsorted;
		r->offset = -1;
		if (r->result == ERR_OK) {
			s->appended++;
		} else {
			r->result = ERR_OUTCOME_UNKNOWN;
			uncount_locked(s, r, is_unsorted);
		}
	}
	s->groups++;
	cond_signal(&s->changed);
	lock_give(&s->lock);
	s->opts.done(s->opts.ctx, list);
}

/* One that failed for good is a refusal, not a sign that Kafka is away. */
static bool goes_to_log(const struct record *r)
{
	return r->spools && r->result != ERR_OK && r->result != ERR_LIMIT;
}

static void reported_locked(struct spool *s, struct record *r, struct record_list *done)
{
	struct spool_slot *slot = spool_slot_locked(s, r);

	assert(slot->direct > 0);
	slot->direct--;
	s->direct--;
	if (goes_to_log(r)) {
		slot->is_turning = true;
		s->failed_lately = true;
		record_list_push(&slot->failed, r);
		return;
	}
	if (r->result == ERR_LIMIT)
		r->result = ERR_UNAVAILABLE;
	s->appended += r->result == ERR_OK;
	record_list_push(done, r);
}

/* Ends turns. True: a partition has some on their way behind one that failed. They would overtake
 * it if Kafka came back now. */
static bool look_at_turns_locked(struct spool *s)
{
	bool overtakes = false;

	for (int32_t i = 0; i < s->count; i++) {
		struct spool_slot *slot = &s->slots[i];

		if (slot->is_turning && slot->direct == 0)
			end_turn_locked(s, slot);
		overtakes |= slot->failed.first && slot->direct > 0;
	}
	return overtakes;
}

/* Of the direct way, on the producer's thread. */
static void on_direct(void *ctx, struct record *list)
{
	struct spool *s = ctx;
	struct record_list done;
	struct record *next;
	bool overtakes;

	record_list_init(&done);
	lock_take(&s->lock);
	for (; list; list = next) {
		next = list->next;
		reported_locked(s, list, &done);
	}
	s->groups++;
	overtakes = look_at_turns_locked(s);
	lock_give(&s->lock);
	if (overtakes)
		kafka_producer_give_up(s->kafka->producers[KAFKA_KIND_EVENTS]);
	if (done.first)
		s->opts.done(s->opts.ctx, done.first);
}

/* ---- what can be asked -------------------------------------------------------------------------
 */

static enum err_code log_room(struct spool *s, size_t bytes, struct err *err)
{
	bool is_over_age;

	lock_take(&s->lock);
	is_over_age = s->is_over_age;
	lock_give(&s->lock);
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
	rc = check_size(s, bytes, err);
	if (rc != ERR_OK)
		return rc;
	rc = kafka_ready(s->kafka, &own);
	if (rc == ERR_OK)
		rc = kafka_producer_room(s->kafka->producers[KAFKA_KIND_EVENTS], bytes, &own);
	return rc == ERR_OK ? ERR_OK : log_room(s, bytes, err);
}

static enum err_code spool_read(struct queue *queue, enum stream stream,
	const struct queue_read_args *args, struct queue_batch *out, struct err *err)
{
	(void)queue;
	(void)args;
	(void)out;
	return closed(stream, err);
}

/* No batch was ever given. */
static void spool_release(struct queue *queue, struct queue_batch *batch)
{
	(void)queue;
	(void)batch;
}

/* Nobody reads here. */
static void spool_wake(struct queue *queue, enum stream stream)
{
	(void)queue;
	(void)stream;
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

static enum err_code spool_lookup(struct queue *queue, enum stream stream, int64_t offset,
	struct buf *bytes, struct record *out, struct err *err)
{
	(void)queue;
	(void)offset;
	(void)bytes;
	(void)out;
	return closed(stream, err);
}

static enum err_code spool_position(
	struct queue *queue, enum stream stream, int64_t position, struct err *err)
{
	(void)queue;
	(void)position;
	return closed(stream, err);
}

static enum err_code spool_drop_oldest(
	struct queue *queue, enum stream stream, int64_t *out_first, struct err *err)
{
	(void)queue;
	(void)out_first;
	return closed(stream, err);
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
		.is_away = spool_is_away_locked(s, kafka_away),
	};
	lock_give(&s->lock);
}

/* ---- life --------------------------------------------------------------------------------------
 */

/* Whatever was opened. The direct way first: what it gives up goes to the log. */
static void spool_free(struct spool *s)
{
	if (s->drainer.running) {
		kafka_sink_close(s->kafka->producers[KAFKA_KIND_EVENTS], &s->direct_sink,
			kafka_now_ms(s->kafka) + s->kafka->opts.delivery_timeout_ms);
		lock_take(&s->lock);
		s->is_draining_stopped = true;
		cond_signal(&s->changed);
		lock_give(&s->lock);
		thread_join(&s->drainer);
	}
	if (s->drain)
		kafka_sink_close(s->drain, &s->drain_sink, kafka_now_ms(s->kafka));
	if (s->log)
		spool_drain_done(s);
	kafka_producer_close(&s->drain, kafka_now_ms(s->kafka));
	seglog_close(&s->log);
	lock_take(&s->lock);
	spool_complete_refused_locked(s);
	lock_give(&s->lock);
	if (s->dir_lock >= 0)
		(void)close(s->dir_lock);
	cond_done(&s->changed);
	lock_done(&s->lock);
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
	.read = spool_read,
	.release = spool_release,
	.wake = spool_wake,
	.stat = spool_stream_stat,
	.lookup = spool_lookup,
	.done = spool_position,
	.drop_oldest = spool_drop_oldest,
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
		.done = on_logged,
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
	kafka_sink_open(&s->direct_sink, on_direct, s);
	s->direct_sink.tells_refusals = true;
	s->direct_sink.metric_appends =
		metric_series(METRIC_QUEUE_APPENDS, stream_name(STREAM_EVENTS), NULL);
	kafka_sink_open(&s->drain_sink, spool_drained, s);
	s->metric_records = metric_series(METRIC_SPOOL_RECORDS, NULL, NULL);
	s->metric_bytes = metric_series(METRIC_SPOOL_BYTES, NULL, NULL);
	s->metric_oldest = metric_series(METRIC_SPOOL_OLDEST, NULL, NULL);
	s->metric_late = metric_series(METRIC_SPOOL_LATE, NULL, NULL);
	return s;
}

enum err_code queue_spool_open(
	struct kafka *kafka, const struct spool_opts *opts, struct queue **out, struct err *err)
{
	enum err_code rc;
	struct spool *s;

	assert(kafka->opts.writes_events);
	s = new_spool(kafka, opts);
	if (!s)
		return err_set(err, ERR_NOMEM, "no memory for a spool");
	rc = lock_dir(s, err);
	if (rc == ERR_OK)
		rc = open_log(s, err);
	s->opts.dir = NULL; /* the caller's */
	if (rc == ERR_OK)
		rc = kafka_producer_open(kafka, KAFKA_KIND_SPOOL, &s->drain, err);
	if (rc == ERR_OK) {
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
