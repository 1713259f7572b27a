/* journal_queue.h - a queue over memory that keeps a journal, for tests: several `struct queue`
 * over one log, as several processes have over one partition.
 *
 * On demand an append stands in the log twice (twins), or comes late (late: it waits until
 * journal_log_release()), or a queue reads nothing any more (deaf) or reaches nobody (cut). Topics
 * of the user's are one list; they can be away, take small records alone, or answer when told.
 * Included by test programs only. */
#pragma once

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/queue/queue_priv.h"

#include "postern/kafka.h"
#include "postern/thread.h"

#define JQ_MAX 65536

struct jq_record {
	struct record record;
	uint8_t *bytes;
};
struct jq_stream {
	struct jq_record *at[JQ_MAX];
	int64_t first, end;
};
struct jq_entry {
	uint8_t *bytes;
	size_t len;
	int64_t time_ms;
};
/* One partition: what brokers hold. */
struct journal_log {
	struct lock lock;
	struct cond news;
	/* all guarded by lock */
	struct jq_stream streams[STREAM_COUNT];
	struct jq_entry journal[JQ_MAX];
	int64_t journal_first, journal_end;
	size_t largest; /* record of the journal, in bytes */
	/* What was published, to whatever topic, in order. */
	struct jq_stream topics;
	bool topics_away;      /* nothing arrives */
	size_t topics_largest; /* 0: any size; larger bodies are refused */
	bool topics_hold;      /* what arrives is not answered before jq_answer() */
	struct record *unanswered[64];
	size_t unanswered_count;
	int topic_tries;
};
/* One process's way to it. */
struct journal_queue {
	struct queue base;
	struct journal_log *log;
	const struct clock *clock;
	struct kafka_lane_opts opts;
	/* The owner's. */
	struct journal_state state;
	bool unjudged;
	int64_t next, held;    /* held: -1, or the record that is given next */
	int64_t commands[256]; /* read while an append was waited for */
	size_t command_count;
	/* guarded by the log's lock */
	bool stopped, woken, woken_follow;
	int twins;      /* how many more appends stand there twice */
	int late;       /* how many more appends wait */
	bool deaf, cut; /* reads nothing; reaches nobody */
	int hears;      /* how many records reach it though it is deaf */
	int appends;    /* of batches and claims */
	struct jq_entry waiting[256];
	size_t waiting_count;
	int64_t position;
};

static inline void journal_log_init(struct journal_log *log)
{
	memset(log, 0, sizeof(*log));
	lock_init(&log->lock);
	cond_init(&log->news);
}

static inline void journal_log_done(struct journal_log *log)
{
	for (size_t s = 0; s <= STREAM_COUNT; s++) {
		struct jq_stream *stream = s < STREAM_COUNT ? &log->streams[s] : &log->topics;

		for (int64_t i = 0; i < stream->end; i++) {
			if (stream->at[i])
				free(stream->at[i]->bytes);
			free(stream->at[i]);
		}
	}
	for (int64_t i = 0; i < log->journal_end; i++)
		free(log->journal[i].bytes);
	cond_done(&log->news);
	lock_done(&log->lock);
}

static inline struct journal_queue *jq_of(struct queue *queue)
{
	return container_of(queue, struct journal_queue, base);
}

static inline bool jq_wait_locked(struct journal_queue *q, int64_t deadline_ms)
{
	const int64_t now_ms = q->clock->mono_ms(q->clock);
	/* Faults come and go without a word: look again soon. */
	const int64_t soon_ms = now_ms + 20;

	if (now_ms >= deadline_ms)
		return false;
	(void)cond_wait(
		&q->log->news, &q->log->lock, deadline_ms < soon_ms ? deadline_ms : soon_ms);
	return true;
}

/* ---- streams ---- */

static inline int64_t jq_keep_locked(
	struct journal_log *log, struct jq_stream *s, const struct record *r, int64_t time_ms)
{
	struct jq_record *kept = calloc(1, sizeof(*kept));
	uint8_t *p = malloc(r->headers.len + r->key.len + r->body.len + 1);

	assert(kept && p && s->end < JQ_MAX);
	kept->bytes = p;
	kept->record = *r;
	kept->record.next = NULL;
	kept->record.owner = NULL;
	kept->record.offset = s->end;
	kept->record.time_ms = time_ms;
	for (int i = 0; i < 3; i++) {
		struct slice *part = (struct slice *[]){ &kept->record.headers, &kept->record.key,
			&kept->record.body }[i];

		if (part->len)
			memcpy(p, part->data, part->len);
		part->data = p;
		p += part->len;
	}
	s->at[s->end++] = kept;
	cond_broadcast(&log->news);
	return s->end - 1;
}

static inline int64_t jq_put_locked(
	struct journal_log *log, enum stream stream, const struct record *r, int64_t time_ms)
{
	return jq_keep_locked(log, &log->streams[stream], r, time_ms);
}

static enum err_code jq_publish(
	struct queue *queue, const char *topic, struct record *r, struct err *err)
{
	struct journal_queue *q = jq_of(queue);
	struct journal_log *log = q->log;
	bool answer;

	(void)topic;
	(void)err;
	lock_take(&log->lock);
	log->topic_tries++;
	r->result = ERR_OK;
	if (q->cut || log->topics_away)
		r->result = ERR_UNAVAILABLE;
	else if (log->topics_largest && r->body.len > log->topics_largest)
		r->result = ERR_LIMIT;
	else
		r->offset = jq_keep_locked(log, &log->topics, r, q->clock->wall_ms(q->clock));
	answer = !log->topics_hold || r->result != ERR_OK;
	if (!answer) {
		assert(log->unanswered_count < 64);
		log->unanswered[log->unanswered_count++] = r;
	}
	lock_give(&log->lock);
	if (answer)
		q->opts.outputs_done(q->opts.outputs_ctx, r);
	return ERR_OK;
}

/* What waits for its answer gets this one. */
static inline void jq_answer(struct journal_queue *q, enum err_code result)
{
	struct record *list[64];
	size_t count;

	lock_take(&q->log->lock);
	count = q->log->unanswered_count;
	memcpy(list, q->log->unanswered, sizeof(list));
	q->log->unanswered_count = 0;
	lock_give(&q->log->lock);
	for (size_t i = 0; i < count; i++) {
		list[i]->result = result;
		q->opts.outputs_done(q->opts.outputs_ctx, list[i]);
	}
}

static enum err_code jq_append(
	struct queue *queue, enum stream stream, struct record *list, struct err *err)
{
	struct journal_queue *q = jq_of(queue);

	(void)err;
	assert(stream != STREAM_EVENTS);
	lock_take(&q->log->lock);
	for (struct record *r = list; r; r = r->next) {
		r->result = q->cut ? ERR_OUTCOME_UNKNOWN : ERR_OK;
		if (!q->cut)
			r->offset = jq_put_locked(q->log, stream, r, q->clock->wall_ms(q->clock));
	}
	lock_give(&q->log->lock);
	q->opts.outputs_done(q->opts.outputs_ctx, list);
	return ERR_OK;
}

static enum err_code jq_room(struct queue *queue, enum stream stream, size_t bytes, struct err *err)
{
	(void)queue;
	(void)stream;
	(void)bytes;
	(void)err;
	return ERR_OK;
}

static enum err_code jq_read(struct queue *queue, enum stream stream,
	const struct queue_read_args *args, struct queue_batch *out, struct err *err)
{
	struct journal_queue *q = jq_of(queue);
	struct jq_stream *s = &q->log->streams[stream];
	enum err_code rc = ERR_OK;

	lock_take(&q->log->lock);
	while (args->deadline_ms != 0 && !q->woken && (args->offset == s->end || q->cut) &&
		jq_wait_locked(q, args->deadline_ms))
		;
	q->woken = q->woken && args->deadline_ms == 0;
	if (args->offset < s->first || args->offset > s->end) {
		rc = err_set(err, ERR_CORRUPT, "SOURCE_LOST: record %lld", (long long)args->offset);
	} else if (args->offset < s->end && !q->cut) {
		size_t count = 0, bytes = 0;

		out->records = calloc(args->max, sizeof(struct record));
		assert(out->records);
		while (count < args->max && args->offset + (int64_t)count < s->end &&
			(count == 0 || bytes < args->max_bytes)) {
			out->records[count] = s->at[args->offset + (int64_t)count]->record;
			bytes += out->records[count++].body.len;
		}
		out->count = count;
		out->held = out->records;
	}
	lock_give(&q->log->lock);
	return rc;
}

static void jq_release(struct queue *queue, struct queue_batch *batch)
{
	(void)queue;
	free(batch->held);
}

static void jq_wake(struct queue *queue, enum stream stream)
{
	struct journal_queue *q = jq_of(queue);

	(void)stream;
	lock_take(&q->log->lock);
	q->woken = q->woken_follow = true;
	cond_broadcast(&q->log->news);
	lock_give(&q->log->lock);
}

static void jq_stat(struct queue *queue, enum stream stream, struct stream_stat *out)
{
	struct journal_queue *q = jq_of(queue);

	lock_take(&q->log->lock);
	out->first = q->log->streams[stream].first;
	out->end = q->log->streams[stream].end;
	out->position = stream == STREAM_EVENTS ? q->position : out->first;
	lock_give(&q->log->lock);
}

static enum err_code jq_lookup(struct queue *queue, enum stream stream, int64_t offset,
	struct buf *bytes, struct record *out, struct err *err)
{
	struct journal_queue *q = jq_of(queue);
	struct jq_stream *s = &q->log->streams[stream];
	enum err_code rc = ERR_NOT_FOUND;

	lock_take(&q->log->lock);
	if (offset >= s->first && offset < s->end)
		rc = queue_copy_record(&s->at[offset]->record, bytes, out, err);
	lock_give(&q->log->lock);
	return rc;
}

static enum err_code jq_done(
	struct queue *queue, enum stream stream, int64_t position, struct err *err)
{
	struct journal_queue *q = jq_of(queue);

	(void)err;
	lock_take(&q->log->lock);
	if (stream == STREAM_EVENTS)
		q->position = position;
	lock_give(&q->log->lock);
	return ERR_OK;
}

static enum err_code jq_drop_oldest(
	struct queue *queue, enum stream stream, int64_t *out_first, struct err *err)
{
	(void)queue;
	(void)stream;
	(void)out_first;
	return err_set(err, ERR_FULL, "retention alone drops records");
}

/* ---- the journal ---- */

static enum err_code jq_bounds(struct queue *queue, int64_t deadline_ms, int64_t *out_first,
	int64_t *out_end, struct err *err)
{
	struct journal_queue *q = jq_of(queue);
	enum err_code rc = ERR_OK;

	lock_take(&q->log->lock);
	while (q->cut && !q->stopped && jq_wait_locked(q, deadline_ms))
		;
	if (q->cut)
		rc = err_set(err, ERR_TIMEOUT, "nobody answers");
	*out_first = q->log->journal_first;
	*out_end = q->log->journal_end;
	lock_give(&q->log->lock);
	return rc;
}

static enum err_code jq_seek(
	struct queue *queue, int64_t offset, const struct journal_state *state, struct err *err)
{
	struct journal_queue *q = jq_of(queue);

	(void)err;
	q->unjudged = state == NULL;
	q->state = state ? *state : (struct journal_state){ .epoch = 0 };
	q->next = offset;
	q->held = -1;
	q->command_count = 0;
	return ERR_OK;
}

static inline void jq_give_locked(struct journal_queue *q, int64_t offset, struct journal_read *out)
{
	const struct jq_entry *e = &q->log->journal[offset];

	*out = (struct journal_read){ .bytes = { e->bytes, e->len },
		.offset = offset,
		.time_ms = e->time_ms,
		.next_offset = q->next };
}

/* The next record, judged. -1: there is none. */
static inline int64_t jq_step_locked(struct journal_queue *q, bool *out_valid, bool *out_command)
{
	struct journal_header header;
	const struct jq_entry *e;

	if (q->next >= q->log->journal_end || (q->deaf && q->hears == 0) || q->cut)
		return -1;
	q->hears -= q->hears > 0;
	assert(q->next >= q->log->journal_first);
	e = &q->log->journal[q->next];
	assert(journal_open((struct slice){ e->bytes, e->len }, &header, NULL) == ERR_OK);
	*out_valid = q->unjudged || journal_judge(&q->state, &header);
	*out_command = header.type == JOURNAL_COMMAND;
	return q->next++;
}

static inline int64_t jq_command_locked(struct journal_queue *q)
{
	const int64_t first = q->commands[0];

	assert(q->command_count > 0);
	memmove(q->commands, q->commands + 1, --q->command_count * sizeof(q->commands[0]));
	return first;
}

static enum err_code jq_follow(
	struct queue *queue, int64_t deadline_ms, struct journal_read *out, struct err *err)
{
	struct journal_queue *q = jq_of(queue);
	enum err_code rc = ERR_OK;
	int64_t offset = -1;
	bool valid = false, command = false;

	lock_take(&q->log->lock);
	if (q->command_count > 0) {
		offset = jq_command_locked(q);
		valid = true;
	} else if (q->held >= 0) {
		offset = q->held;
		q->held = -1;
		valid = true;
	}
	while (!valid) {
		offset = jq_step_locked(q, &valid, &command);
		valid = valid || (offset >= 0 && command);
		if (offset >= 0)
			continue;
		if (q->stopped || q->woken_follow || !jq_wait_locked(q, deadline_ms))
			break;
	}
	q->woken_follow = false;
	if (valid)
		jq_give_locked(q, offset, out);
	else if (q->stopped)
		rc = err_set(err, ERR_STOPPED, "stopped");
	out->next_offset = q->next;
	lock_give(&q->log->lock);
	return rc;
}

static inline void jq_store_locked(struct journal_queue *q, struct jq_entry entry)
{
	struct journal_log *log = q->log;

	assert(log->journal_end < JQ_MAX);
	if (entry.len > log->largest)
		log->largest = entry.len;
	log->journal[log->journal_end++] = entry;
	cond_broadcast(&log->news);
}

static inline struct jq_entry jq_entry_of(struct journal_queue *q, struct slice batch)
{
	struct jq_entry entry = {
		.bytes = malloc(batch.len), .len = batch.len, .time_ms = q->clock->wall_ms(q->clock)
	};

	assert(entry.bytes);
	memcpy(entry.bytes, batch.data, batch.len);
	return entry;
}

static inline void jq_log_append_locked(struct journal_queue *q, struct slice batch)
{
	q->appends++;
	if (q->late > 0 || q->cut) {
		q->late -= q->late > 0;
		assert(q->waiting_count < ARRAY_LEN(q->waiting));
		q->waiting[q->waiting_count++] = jq_entry_of(q, batch);
		return;
	}
	jq_store_locked(q, jq_entry_of(q, batch));
	if (q->twins > 0) {
		q->twins--;
		jq_store_locked(q, jq_entry_of(q, batch));
	}
}

static enum err_code jq_journal(
	struct queue *queue, struct slice batch, struct journal_read *out, struct err *err)
{
	struct journal_queue *q = jq_of(queue);
	enum err_code rc = ERR_OK;
	int64_t offset;
	bool valid, command, ours = false;

	assert(!q->unjudged && batch.len <= JOURNAL_BATCH_MAX);
	lock_take(&q->log->lock);
	if (q->held >= 0)
		rc = err_set(err, ERR_FENCED, "a record is held");
	else
		jq_log_append_locked(q, batch);
	while (rc == ERR_OK && !ours) {
		offset = jq_step_locked(q, &valid, &command);
		if (offset >= 0 && command) {
			assert(q->command_count < ARRAY_LEN(q->commands));
			q->commands[q->command_count++] = offset;
			continue;
		}
		if (offset < 0) {
			if (q->stopped)
				rc = err_set(err, ERR_STOPPED, "stopped");
			else
				(void)jq_wait_locked(q, INT64_MAX);
			continue;
		}
		ours = slice_eq(batch, (struct slice){ q->log->journal[offset].bytes,
					       q->log->journal[offset].len });
		if (ours && valid) {
			jq_give_locked(q, offset, out);
		} else if (ours || valid) {
			rc = err_set(err, ERR_FENCED, "record %lld came first", (long long)offset);
			if (valid)
				q->held = offset;
		}
	}
	lock_give(&q->log->lock);
	return rc;
}

static enum err_code jq_look(struct queue *queue, struct journal_read *out, struct err *err)
{
	struct journal_queue *q = jq_of(queue);
	enum err_code rc = ERR_OK;
	bool valid = false, command = false;
	int64_t offset = -1;

	lock_take(&q->log->lock);
	if (q->command_count > 0) {
		offset = jq_command_locked(q);
		command = true;
	}
	while (q->held < 0 && !command) {
		offset = jq_step_locked(q, &valid, &command);
		if (offset < 0)
			break;
		if (valid)
			q->held = offset;
	}
	if (command)
		jq_give_locked(q, offset, out);
	else if (q->held >= 0)
		rc = err_set(err, ERR_FENCED, "record %lld came first", (long long)q->held);
	lock_give(&q->log->lock);
	return rc;
}

static enum err_code jq_ask(struct queue *queue, struct slice command, struct err *err)
{
	struct journal_queue *q = jq_of(queue);

	(void)err;
	lock_take(&q->log->lock);
	jq_log_append_locked(q, command);
	lock_give(&q->log->lock);
	return ERR_OK;
}

static void jq_stop(struct queue *queue)
{
	struct journal_queue *q = jq_of(queue);

	lock_take(&q->log->lock);
	q->stopped = true;
	cond_broadcast(&q->log->news);
	lock_give(&q->log->lock);
}

static void jq_close(struct queue *queue)
{
	struct journal_queue *q = jq_of(queue);

	for (size_t i = 0; i < q->waiting_count; i++)
		free(q->waiting[i].bytes);
	free(q);
}

static const struct queue_ops jq_ops = {
	.name = "journal",
	.append = jq_append,
	.publish = jq_publish,
	.room = jq_room,
	.read = jq_read,
	.release = jq_release,
	.wake = jq_wake,
	.stat = jq_stat,
	.lookup = jq_lookup,
	.done = jq_done,
	.drop_oldest = jq_drop_oldest,
	.journal_bounds = jq_bounds,
	.journal_seek = jq_seek,
	.follow = jq_follow,
	.journal = jq_journal,
	.journal_look = jq_look,
	.journal_ask = jq_ask,
	.journal_stop = jq_stop,
	.close = jq_close,
};

static inline struct journal_queue *journal_queue_open(
	struct journal_log *log, const struct clock *clock, const struct kafka_lane_opts *opts)
{
	struct journal_queue *q = calloc(1, sizeof(*q));

	assert(q);
	q->base.ops = &jq_ops;
	q->log = log;
	q->clock = clock;
	q->opts = *opts;
	q->held = -1;
	return q;
}

/* ---- what a test does to it ---- */

static inline void journal_log_set(struct journal_queue *q, bool *flag, bool value)
{
	lock_take(&q->log->lock);
	*flag = value;
	cond_broadcast(&q->log->news);
	lock_give(&q->log->lock);
}

static inline void journal_log_faults(struct journal_queue *q, int twins, int late)
{
	lock_take(&q->log->lock);
	q->twins = twins;
	q->late = late;
	lock_give(&q->log->lock);
}

/* It hears as many more, and no others until it is deaf no more. */
static inline void journal_log_hear(struct journal_queue *q, int records)
{
	lock_take(&q->log->lock);
	q->hears = records;
	cond_broadcast(&q->log->news);
	lock_give(&q->log->lock);
}

static inline int journal_log_appends(struct journal_queue *q)
{
	int appends;

	lock_take(&q->log->lock);
	appends = q->appends;
	lock_give(&q->log->lock);
	return appends;
}

/* What waited arrives now, behind everything that came since. */
static inline size_t journal_log_release(struct journal_queue *q)
{
	size_t count;

	lock_take(&q->log->lock);
	count = q->waiting_count;
	for (size_t i = 0; i < count; i++)
		jq_store_locked(q, q->waiting[i]);
	q->waiting_count = 0;
	lock_give(&q->log->lock);
	return count;
}

static inline size_t journal_log_waiting(struct journal_queue *q)
{
	size_t count;

	lock_take(&q->log->lock);
	count = q->waiting_count;
	lock_give(&q->log->lock);
	return count;
}

static inline int64_t journal_log_end(struct journal_log *log)
{
	int64_t end;

	lock_take(&log->lock);
	end = log->journal_end;
	lock_give(&log->lock);
	return end;
}

static inline int64_t journal_log_send(
	struct journal_log *log, const struct record *record, int64_t time_ms)
{
	int64_t offset;

	lock_take(&log->lock);
	offset = jq_put_locked(log, STREAM_EVENTS, record, time_ms);
	lock_give(&log->lock);
	return offset;
}
