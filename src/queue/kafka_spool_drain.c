/* kafka_spool_drain.c - the thread that brings the log to Kafka, and tells about it.
 *
 *   log --read--> batch --append--> producer that never gives up --report--> batch, partition
 *    ^                                                                          |
 *    +------------- position, behind the first batches that are delivered ------+
 *
 * A record that the producer gives back nevertheless is sent again once nothing is on its way, in
 * the order of the log, before anything new. The position is in the page cache at once: a killed
 * process sends nothing again but what was on its way. */
#include "kafka_spool.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define TICK_MS 1000
#define BATCHES 8 /* read, sent and not all delivered */
#define BATCH_RECORDS 1024
#define BATCH_BYTES MIB(4)
#define LEARN_MS 100 /* between two looks for what nobody tells */
#define RETRY_MS 1000
#define COMPLAIN_MS 30000

/* ---- reports -----------------------------------------------------------------------------------
 */

/* Or set aside: the log is done with it. */
void spool_delivered_locked(struct spool *s, struct record *r)
{
	struct spool_batch *batch = r->owner;
	struct spool_slot *slot = spool_slot_locked(s, r);

	assert(slot->held > 0 && batch->left > 0);
	slot->held--;
	batch->left--;
	s->records--;
	s->failed_lately = false;
	spool_unblame_locked(s, r);
	if (slot->held == 0 && slot->is_returning)
		spool_return_locked(s, slot);
}

void spool_drained(void *ctx, struct record *list)
{
	struct spool *s = ctx;

	lock_take(&s->lock);
	for (struct record *r = list; r; r = r->next) {
		s->in_flight--;
		if (r->result == ERR_OK)
			spool_delivered_locked(s, r);
		else if (r->result == ERR_LIMIT)
			spool_refused_locked(s, r);
		else
			s->must_resend = true;
		s->must_pause |= s->alone == r && r->result != ERR_OK && r->result != ERR_LIMIT;
	}
	s->alone = NULL;
	metric_set(s->metric_records, (int64_t)s->records);
	spool_changed_locked(s);
	lock_give(&s->lock);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* What the producer takes may be less than usual. */
void spool_drain_init(struct spool *s)
{
	const size_t count = s->drain->max_count, bytes = s->drain->max_bytes;

	s->batch_records = count >= 2 ? least(BATCH_RECORDS, count / 2) : 1;
	s->batch_bytes = least(BATCH_BYTES, bytes / 2);
	s->batches_max = least(BATCHES, least(count / s->batch_records, bytes / s->batch_bytes));
}

/* ---- to Kafka ----------------------------------------------------------------------------------
 */

/* What of the batch is not delivered. Nothing of it is on its way. */
static size_t link_rest(struct spool_batch *batch, struct record **out)
{
	struct record **tail = out;
	size_t count = 0;

	for (size_t i = 0; i < batch->records.count; i++) {
		struct record *r = &batch->records.records[i];

		if (r->result == ERR_OK)
			continue;
		*tail = r;
		tail = &r->next;
		count++;
	}
	*tail = NULL;
	return count;
}

/* The log was filled under other settings, or is not what it was. */
static bool is_lasting(enum err_code code)
{
	return code == ERR_LIMIT || code == ERR_SYNTAX;
}

/* Waits for its next time when it is not taken. */
bool spool_send(struct spool *s, struct record *list, size_t count)
{
	const struct kafka_target target = {
		.topic = s->kafka->topics[KAFKA_TOPIC_EVENTS],
		.partition = KAFKA_BY_KEY,
		.sink = &s->drain_sink,
	};
	struct err err = ERR_INIT;
	enum err_code rc;

	lock_take(&s->lock);
	s->in_flight += count;
	lock_give(&s->lock);
	rc = kafka_producer_append(s->drain, &target, list, &err);
	if (rc == ERR_OK)
		return true;
	lock_take(&s->lock);
	s->in_flight -= count;
	s->must_resend = true;
	for (struct record *r = list; r && is_lasting(rc); r = r->next)
		spool_refused_locked(s, r);
	s->alone = NULL;
	spool_changed_locked(s);
	lock_give(&s->lock);
	if (is_lasting(rc) || rc == ERR_UNAVAILABLE)
		return false; /* what that is about is told, or will be */
	if (rc != ERR_FULL)
		log_error("spool_drain_failed", log_code(rc), log_str("text", err.text));
	s->retry_ms = kafka_now_ms(s->kafka) + RETRY_MS;
	return false;
}

static bool send_batch(struct spool *s, struct spool_batch *batch)
{
	struct record *list;
	size_t count = link_rest(batch, &list);

	return spool_send(s, list, count);
}

static void complain(struct spool *s)
{
	const int64_t now_ms = kafka_now_ms(s->kafka);
	struct err err = ERR_INIT;

	if (now_ms < s->complain_ms || kafka_producer_room(s->drain, 0, &err) == ERR_OK)
		return;
	s->complain_ms = now_ms + COMPLAIN_MS;
	log_error("spool_sends_again", log_code(err.code), log_str("text", err.text));
}

/* Nothing is on its way. */
static void resend(struct spool *s)
{
	complain(s);
	lock_take(&s->lock);
	s->must_resend = false;
	lock_give(&s->lock);
	s->retry_ms = kafka_now_ms(s->kafka) + RETRY_MS;
	for (struct spool_batch *batch = s->first; batch; batch = batch->next) {
		if (!send_batch(s, batch))
			break;
	}
}

/* ---- from the log ------------------------------------------------------------------------------
 */

/* Their partitions are known from here on. */
static void sort(struct spool *s, struct spool_batch *batch)
{
	const int64_t oldest_ms = s->opts.clock->wall_ms(s->opts.clock) - s->opts.max_age_ms;
	int64_t late = 0;

	lock_take(&s->lock);
	for (size_t i = 0; i < batch->records.count; i++) {
		struct record *r = &batch->records.records[i];

		late += r->time_ms < oldest_ms;
		if (s->unsorted == 0)
			continue;
		s->unsorted--;
		spool_slot_locked(s, r)->held++;
	}
	lock_give(&s->lock);
	s->late += late;
	metric_add(s->metric_late, late);
}

/* NULL: nothing is there, or not now. */
struct spool_batch *spool_batch_read(struct spool *s, struct seglog *log, int64_t from, size_t max)
{
	const struct queue_read_args args = { from, max, s->batch_bytes, 0 };
	struct spool_batch *batch = calloc(1, sizeof(*batch) + max * sizeof(batch->refused[0]));
	struct err err = ERR_INIT;
	enum err_code rc = ERR_NOMEM;

	if (batch)
		rc = seglog_read(log, &args, &batch->records, &err);
	if (rc != ERR_OK) {
		log_error("spool_read_failed", log_code(rc), log_str("text", err.text));
		s->retry_ms = kafka_now_ms(s->kafka) + RETRY_MS;
	}
	if (rc != ERR_OK || batch->records.count == 0) {
		free(batch);
		return NULL;
	}
	batch->log = log;
	batch->left = batch->records.count;
	batch->end = from + (int64_t)batch->records.count;
	for (size_t i = 0; i < batch->records.count; i++) {
		batch->records.records[i].owner = batch;
		batch->records.records[i].result = ERR_UNAVAILABLE;
	}
	return batch;
}

static void add_batch(struct spool *s, struct spool_batch *batch)
{
	*s->tail = batch;
	s->tail = &batch->next;
	s->batches++;
}

/* False: there is nothing more, or not now. */
static bool send_next(struct spool *s)
{
	struct spool_batch *batch;

	if (s->batches >= s->batches_max)
		return false;
	batch = spool_aside_batch(s);
	if (batch) {
		add_batch(s, batch);
		return true;
	}
	batch = spool_batch_read(s, s->log, s->next, s->batch_records);
	if (!batch)
		return false;
	s->next = batch->end;
	add_batch(s, batch);
	sort(s, batch);
	return send_batch(s, batch);
}

static bool is_delivered(struct spool *s, const struct spool_batch *batch)
{
	bool is;

	lock_take(&s->lock);
	is = batch->left == 0;
	lock_give(&s->lock);
	return is;
}

static void drop_first(struct spool *s)
{
	struct spool_batch *batch = s->first;

	s->first = batch->next;
	if (!s->first)
		s->tail = &s->first;
	s->batches--;
	seglog_release(&batch->records);
	free(batch);
}

void spool_advance(struct spool *s)
{
	while (s->first && is_delivered(s, s->first)) {
		struct seglog *log = s->first->log;
		const int64_t position = s->first->end;
		struct err err = ERR_INIT;

		drop_first(s);
		if (seglog_done(log, position, &err) != ERR_OK)
			log_error("spool_position_failed", log_code(err.code),
				log_str("text", err.text));
	}
}

void spool_drain_done(struct spool *s)
{
	spool_advance(s);
	while (s->first)
		drop_first(s);
}

/* ---- telling -----------------------------------------------------------------------------------
 */

static int64_t age_ms(const struct spool *s, int64_t oldest_ms)
{
	const int64_t age = s->opts.clock->wall_ms(s->opts.clock) - oldest_ms;

	return oldest_ms > 0 && age > 0 ? age : 0;
}

void spool_look(struct spool *s)
{
	const bool kafka_away = kafka_is_away(s->kafka);
	struct stream_stat stat = { .first = 0 };
	int64_t age;

	seglog_stat(s->log, &stat);
	lock_take(&s->lock);
	age = s->records > 0 ? age_ms(s, stat.oldest_ms) : 0;
	s->is_over_age = age > s->opts.max_age_ms && spool_is_away_locked(s, kafka_away);
	lock_give(&s->lock);
	metric_set(s->metric_bytes, stat.bytes);
	metric_set(s->metric_oldest, age / 1000);
}

/* Lines for people: that it began, that it ended, that something is late or refused. */
static void tell(struct spool *s)
{
	char why[ERR_TEXT_MAX];
	size_t records;

	lock_take(&s->lock);
	records = s->records;
	memcpy(why, s->why, sizeof(why));
	s->why[0] = '\0';
	lock_give(&s->lock);
	if (records > 0 && !s->told)
		log_warn("spooling", log_int("records", (int64_t)records));
	else if (records == 0 && s->told)
		log_info("spool_drained");
	s->told = records > 0;
	if (s->late > 0)
		log_warn("spool_late", log_int("records", s->late));
	s->late = 0;
	if (why[0] != '\0')
		log_error("spool_refuses", log_str("text", why));
}

static bool has_begun_or_ended(struct spool *s)
{
	bool has;

	lock_take(&s->lock);
	has = (s->records > 0) != s->told;
	lock_give(&s->lock);
	return has;
}

static void tick(struct spool *s)
{
	const int64_t now_ms = kafka_now_ms(s->kafka);

	if (now_ms < s->tick_ms && !has_begun_or_ended(s))
		return;
	s->tick_ms = now_ms + TICK_MS;
	spool_look(s);
	tell(s);
}

/* ---- the thread --------------------------------------------------------------------------------
 */

static bool may_send(struct spool *s)
{
	struct err err = ERR_INIT;
	bool knows;

	lock_take(&s->lock);
	knows = spool_knows_locked(s);
	lock_give(&s->lock);
	return knows && kafka_refusal(s->kafka, &err) == ERR_OK;
}

/* False: there is nothing to do until something changes, or until a time. */
static bool step(struct spool *s)
{
	bool must_resend;
	size_t in_flight;

	if (!may_send(s) || kafka_now_ms(s->kafka) < s->retry_ms)
		return false;
	lock_take(&s->lock);
	must_resend = s->must_resend;
	in_flight = s->in_flight;
	lock_give(&s->lock);
	if (!must_resend)
		return send_next(s);
	if (in_flight > 0)
		return false;
	kafka_sink_again(s->drain, &s->drain_sink);
	if (!spool_aside_step(s))
		resend(s);
	return false;
}

static int64_t next_look_locked(const struct spool *s)
{
	const int64_t now_ms = kafka_now_ms(s->kafka);
	int64_t at_ms = s->tick_ms;

	if ((!s->slots || s->returning > 0) && now_ms + LEARN_MS < at_ms)
		at_ms = now_ms + LEARN_MS;
	if (s->retry_ms > now_ms && s->retry_ms < at_ms)
		at_ms = s->retry_ms;
	return at_ms;
}

/* False: stop. */
static bool rest(struct spool *s, uint64_t seen)
{
	bool goes_on;

	lock_take(&s->lock);
	if (s->changes == seen)
		(void)cond_wait(&s->changed, &s->lock, next_look_locked(s));
	spool_end_returns_locked(s, false);
	spool_complete_refused_locked(s);
	goes_on = !s->is_draining_stopped;
	lock_give(&s->lock);
	return goes_on;
}

void *spool_drain_run(void *arg)
{
	struct spool *s = arg;
	uint64_t seen;

	do {
		lock_take(&s->lock);
		seen = s->changes;
		lock_give(&s->lock);
		while (step(s))
			spool_advance(s);
		spool_advance(s);
		tick(s);
	} while (rest(s, seen));
	return NULL;
}
