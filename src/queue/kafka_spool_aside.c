/* kafka_spool_aside.c - records of the spool that Kafka refuses for what they are.
 *
 * A request is refused as a whole. So each of its records is sent once more, alone, in the order of
 * the log and before anything else; one that is refused alone is to blame, and goes into a log
 * beneath the spool's, so that those behind it go on. The next life of the process begins with what
 * is there: an operator may have given the topic other limits. */
#include "kafka_spool.h"

#include "postern/file.h"

#include <assert.h>
#include <stdlib.h>

#define DIR_NAME "refused"
#define SEGMENT_BYTES ((int64_t)MIB(4))
#define PART 4 /* of what the spool may hold: QUEUE_SPOOL_STUCK says so */
#define RETRY_MS 1000
#define COMPLAIN_MS 30000

static bool *mark_of(struct record *r)
{
	struct spool_batch *batch = r->owner;

	return &batch->refused[r - batch->records.records];
}

/* ---- the log -----------------------------------------------------------------------------------
 */

/* On the log's thread. */
static void went_aside(void *ctx, struct record *list)
{
	struct spool *s = ctx;

	lock_take(&s->lock);
	for (struct record *r = list; r; r = r->next) {
		s->is_going_aside = false;
		if (r->result == ERR_OK) {
			s->aside_count++;
			spool_delivered_locked(s, r);
		} else {
			s->must_pause = true;
		}
	}
	s->blamed = NULL;
	metric_set(s->metric_refused, s->aside_count);
	metric_set(s->metric_records, (int64_t)s->records);
	spool_changed_locked(s);
	lock_give(&s->lock);
}

static enum err_code open_log(struct spool *s, struct err *err)
{
	const int64_t segment_bytes =
		s->opts.segment_bytes < SEGMENT_BYTES ? s->opts.segment_bytes : SEGMENT_BYTES;
	const struct seglog_opts opts = {
		.dir = s->aside_dir,
		.stream = STREAM_EVENTS,
		.name = "spool-refused",
		.limit_name = "/spool/max_bytes",
		.mode = SEGLOG_WRITE,
		.segment_bytes = segment_bytes,
		.reserve_bytes = s->opts.reserve_bytes,
		.limits = { .max_bytes = s->opts.max_bytes / PART, .retention_ms = 0 },
		.done = went_aside,
		.ctx = s,
		.clock = s->opts.clock,
	};

	return seglog_open(&opts, &s->aside, err);
}

enum err_code spool_aside_open(struct spool *s, struct err *err)
{
	struct stream_stat stat = { .first = 0 };
	enum err_code rc;

	s->aside_dir = file_join(s->opts.dir, DIR_NAME);
	if (!s->aside_dir)
		return err_set(err, ERR_NOMEM, "no memory for a path");
	metric_set(s->metric_refused, 0);
	if (!file_exists(s->aside_dir))
		return ERR_OK;
	rc = open_log(s, err);
	if (rc != ERR_OK)
		return rc;
	seglog_stat(s->aside, &stat);
	s->aside_end = stat.end;
	s->aside_next = stat.position < stat.end ? stat.position : stat.end;
	s->aside_count = s->aside_end - s->aside_next;
	metric_set(s->metric_refused, s->aside_count);
	return ERR_OK;
}

/* What is on its way there still belongs to a batch. */
void spool_aside_close(struct spool *s)
{
	lock_take(&s->lock);
	while (s->is_going_aside)
		(void)cond_wait(&s->changed, &s->lock, -1);
	lock_give(&s->lock);
}

/* ---- tried again -------------------------------------------------------------------------------
 */

struct spool_batch *spool_aside_batch(struct spool *s)
{
	const int64_t left = s->aside_end - s->aside_next;
	struct spool_batch *batch;

	if (left <= 0)
		return NULL;
	batch = spool_batch_read(s, s->aside, s->aside_next,
		(size_t)left < s->batch_records ? (size_t)left : s->batch_records);
	if (!batch)
		return NULL;
	s->aside_next = batch->end;
	lock_take(&s->lock);
	for (size_t i = 0; i < batch->records.count; i++) {
		struct record *r = &batch->records.records[i];

		spool_slot_locked(s, r)->held++;
		s->records++;
		spool_refused_locked(s, r);
	}
	lock_give(&s->lock);
	return batch;
}

/* ---- blame -------------------------------------------------------------------------------------
 */

void spool_refused_locked(struct spool *s, struct record *r)
{
	bool *mark = mark_of(r);

	lock_assert_held(&s->lock);
	s->must_resend = true;
	if (!*mark)
		s->refused_count++;
	*mark = true;
	if (s->alone == r)
		s->blamed = r;
}

void spool_unblame_locked(struct spool *s, struct record *r)
{
	struct spool_batch *batch = r->owner;
	bool *mark = mark_of(r);

	lock_assert_held(&s->lock);
	if (*mark) {
		s->refused_count--;
		s->is_stuck = false;
	}
	*mark = false;
	if (batch->log == s->aside) {
		s->aside_count--;
		metric_set(s->metric_refused, s->aside_count);
	}
}

static struct slice id_of(const struct record *r)
{
	struct header header;
	size_t at = 0;

	while (event_header_next(r->headers, &at, &header)) {
		if (slice_eq_str(header.name, "ce_id"))
			return header.value;
	}
	return SLICE_EMPTY;
}

static enum err_code append(struct spool *s, struct record *r, struct err *err)
{
	enum err_code rc = s->aside ? ERR_OK : open_log(s, err);

	if (rc != ERR_OK)
		return rc;
	lock_take(&s->lock);
	s->is_going_aside = true;
	lock_give(&s->lock);
	r->next = NULL;
	rc = seglog_append(s->aside, r, err);
	if (rc == ERR_OK)
		return ERR_OK;
	lock_take(&s->lock);
	s->is_going_aside = false;
	lock_give(&s->lock);
	return rc;
}

/* And not again while there is no room for it. */
static void tell_once(struct spool *s, const struct record *r)
{
	const size_t bytes = r->key.len + r->headers.len + r->body.len;
	struct err why = ERR_INIT;

	if (s->told_of == r)
		return;
	s->told_of = r;
	if (spool_check_size(s, bytes, &why) == ERR_OK)
		err_ignored(kafka_producer_room(s->drain, 0, &why));
	log_error("spool_record_refused", log_text("id", id_of(r)),
		log_int("bytes", (int64_t)bytes),
		log_int("partition", kafka_partition(r->key, s->count)), log_code(why.code),
		log_str("text", why.text));
}

/* Where that fails it is sent once more, later. */
static void set_aside(struct spool *s, struct record *r)
{
	const int64_t now_ms = kafka_now_ms(s->kafka);
	struct err err = ERR_INIT;

	tell_once(s, r);
	if (append(s, r, &err) == ERR_OK) {
		s->told_of = NULL;
		return;
	}
	s->retry_ms = now_ms + RETRY_MS;
	lock_take(&s->lock);
	s->blamed = NULL;
	s->is_stuck = true;
	lock_give(&s->lock);
	if (now_ms < s->complain_ms)
		return;
	s->complain_ms = now_ms + COMPLAIN_MS;
	log_error("spool_refused_full", log_code(err.code), log_str("text", err.text),
		log_str("hint", QUEUE_SPOOL_STUCK));
}

static struct record *first_refused(struct spool *s)
{
	for (struct spool_batch *batch = s->first; batch; batch = batch->next) {
		for (size_t i = 0; i < batch->records.count; i++) {
			if (batch->refused[i])
				return &batch->records.records[i];
		}
	}
	return NULL;
}

/* In the drainer, with nothing of its producer on the way. */
bool spool_aside_step(struct spool *s)
{
	struct record *blamed = NULL, *next = NULL;
	bool waits;

	lock_take(&s->lock);
	waits = s->is_going_aside || s->must_pause;
	if (s->must_pause)
		s->retry_ms = kafka_now_ms(s->kafka) + RETRY_MS;
	s->must_pause = false;
	if (!waits)
		blamed = s->blamed;
	if (!waits && !blamed && s->refused_count > 0)
		next = s->alone = first_refused(s);
	lock_give(&s->lock);
	if (blamed)
		set_aside(s, blamed);
	if (next) {
		next->next = NULL;
		(void)spool_send(s, next, 1);
	}
	return waits || blamed || next;
}
