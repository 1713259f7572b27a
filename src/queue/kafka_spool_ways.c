/* kafka_spool_ways.c - which way a record goes: to Kafka, to the log, it waits, it is refused; and
 * what completions change about that.
 *
 * Deliberately not here: the way from the log to Kafka (kafka_spool_drain.c), the log itself
 * (seglog.h). */
#include "kafka_spool.h"

#include <assert.h>
#include <stdlib.h>

#define OVERHEAD KIB(1)
#define RETURN_HELD_MAX 2048 /* so few are delivered in a moment */
#define RETURN_MS 2000       /* that moment, at most: two rounds of a broker far away */
#define RETURN_AGAIN_MS 5000 /* after one that was longer */

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

void spool_changed_locked(struct spool *s)
{
	lock_assert_held(&s->lock);
	s->changes++;
	cond_signal(&s->changed);
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
	spool_changed_locked(s);
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

/* ---- the direct way ----------------------------------------------------------------------------
 */

static void turn_locked(struct spool *s, struct record *r)
{
	struct spool_slot *slot = spool_slot_locked(s, r);

	slot->is_turning = true;
	record_list_push(&slot->waiting, r);
	if (slot->direct == 0)
		end_turn_locked(s, slot);
}

/* The producer has no room, or there is none: like a failure of each. Others that are on their way
 * go first. */
static void take_back_locked(struct spool *s, struct record *list, enum err_code why)
{
	const bool may_pass = why != ERR_LIMIT && why != ERR_SYNTAX;
	struct record *r, *next;

	for (r = list; r; r = r->next) {
		spool_slot_locked(s, r)->direct--;
		s->direct--;
	}
	for (r = list; r; r = next) {
		next = r->next;
		if (r->spools && may_pass)
			turn_locked(s, r);
		else
			refuse_locked(s, r);
	}
	/* Those that waited for these alone. */
	for (int32_t i = 0; i < s->count; i++) {
		if (s->slots[i].is_turning && s->slots[i].direct == 0)
			end_turn_locked(s, &s->slots[i]);
	}
}

static enum err_code send_list(struct spool *s, struct record *list, uint64_t give_ups)
{
	const struct kafka_target target = {
		.topic = s->kafka->topics[KAFKA_TOPIC_EVENTS],
		.partition = KAFKA_BY_KEY,
		.sink = &s->direct_sink,
		.give_ups = give_ups,
	};
	struct err err = ERR_INIT;
	enum err_code rc = kafka_refusal(s->kafka, &err);

	if (rc == ERR_OK)
		rc = kafka_producer_append(
			s->kafka->producers[KAFKA_KIND_EVENTS], &target, list, &err);
	return rc;
}

/* The way was chosen after so many. */
static void send_direct(struct spool *s, struct record *list, uint64_t give_ups)
{
	const enum err_code rc = send_list(s, list, give_ups);

	if (rc == ERR_OK)
		return;
	lock_take(&s->lock);
	take_back_locked(s, list, rc);
	lock_give(&s->lock);
}

/* ---- from the log back to the direct way -------------------------------------------------------
 */

/* Without this, records that come faster than the drainer's way takes would keep a partition in the
 * log for ever, and keep out those that may not be spooled. */
static bool may_return_locked(const struct spool *s, const struct spool_slot *slot, bool is_away)
{
	return !is_away && s->unsorted == 0 && slot->held <= RETURN_HELD_MAX &&
	       kafka_now_ms(s->kafka) >= slot->return_ms;
}

static void begin_return_locked(struct spool *s, struct spool_slot *slot)
{
	slot->is_returning = true;
	slot->return_ms = kafka_now_ms(s->kafka) + RETURN_MS;
	if (s->returning++ == 0)
		spool_changed_locked(s);
}

static void leave_return_locked(struct spool *s, struct spool_slot *slot)
{
	slot->is_returning = false;
	slot->return_ms = 0;
	record_list_init(&slot->waiting);
	s->returning--;
}

/* With the lock held: nothing of the partition may be sent before these. */
void spool_return_locked(struct spool *s, struct spool_slot *slot)
{
	struct record *list = slot->waiting.first;
	enum err_code rc;

	assert(slot->is_returning && slot->held == 0 && slot->direct == 0);
	leave_return_locked(s, slot);
	for (struct record *r = list; r; r = r->next) {
		slot->direct++;
		s->direct++;
	}
	rc = send_list(s, list, 0);
	if (rc != ERR_OK)
		take_back_locked(s, list, rc);
}

static void end_return_locked(struct spool *s, struct spool_slot *slot)
{
	struct record *r = slot->waiting.first, *next;
	struct record_list to_log;

	record_list_init(&to_log);
	leave_return_locked(s, slot);
	slot->return_ms = kafka_now_ms(s->kafka) + RETURN_AGAIN_MS;
	for (; r; r = next) {
		next = r->next;
		if (r->spools) {
			count_locked(s, r);
			record_list_push(&to_log, r);
		} else {
			refuse_locked(s, r);
		}
	}
	to_log_locked(s, &to_log);
}

void spool_end_returns_locked(struct spool *s, bool all)
{
	const int64_t now_ms = kafka_now_ms(s->kafka);

	lock_assert_held(&s->lock);
	for (int32_t i = 0; i < s->count && s->returning > 0; i++) {
		struct spool_slot *slot = &s->slots[i];

		if (slot->is_returning && (all || now_ms >= slot->return_ms))
			end_return_locked(s, slot);
	}
}

/* ---- append ------------------------------------------------------------------------------------
 */

enum way { WAY_DIRECT, WAY_LOG, WAY_TURN, WAY_RETURN, WAY_REFUSED };

static enum way way_of_locked(struct spool *s, const struct record *r, bool is_away)
{
	const struct spool_slot *slot;

	if (!s->slots)
		return r->spools ? WAY_LOG : WAY_REFUSED;
	slot = spool_slot_locked(s, r);
	if (slot->is_turning)
		return r->spools ? WAY_TURN : WAY_REFUSED;
	if (slot->is_returning)
		return WAY_RETURN;
	if (slot->held > 0 && may_return_locked(s, slot, is_away))
		return WAY_RETURN;
	if (slot->held > 0 || s->unsorted > 0)
		return r->spools ? WAY_LOG : WAY_REFUSED;
	if (!is_away || !r->spools)
		return WAY_DIRECT;
	return slot->direct > 0 ? WAY_TURN : WAY_LOG;
}

static void wait_for_return_locked(struct spool *s, struct record *r)
{
	struct spool_slot *slot = spool_slot_locked(s, r);

	if (!slot->is_returning)
		begin_return_locked(s, slot);
	record_list_push(&slot->waiting, r);
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
		r->offset = s->sequence++;
		r->unclear = false;
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
		case WAY_TURN: turn_locked(s, r); break;
		case WAY_RETURN: wait_for_return_locked(s, r); break;
		case WAY_REFUSED: refuse_locked(s, r); break;
		}
	}
	to_log_locked(s, &to_log);
}

/* What is too long for Kafka must not get into the log. */
enum err_code spool_check_size(const struct spool *s, size_t bytes, struct err *err)
{
	if (bytes + OVERHEAD <= s->kafka->max_message_bytes)
		return ERR_OK;
	return err_set(err, ERR_LIMIT, "a record of %zu bytes: the topics take %zu", bytes,
		s->kafka->max_message_bytes - OVERHEAD);
}

enum err_code spool_take(struct spool *s, struct record *list, struct err *err)
{
	const uint64_t give_ups = kafka_producer_give_ups(s->kafka->producers[KAFKA_KIND_EVENTS]);
	const bool kafka_away = kafka_is_away(s->kafka);
	enum err_code rc = ERR_OK;
	struct record_list direct;

	for (const struct record *r = list; r && rc == ERR_OK; r = r->next)
		rc = spool_check_size(s, r->key.len + r->headers.len + r->body.len, err);
	if (rc != ERR_OK)
		return rc;
	record_list_init(&direct);
	lock_take(&s->lock);
	if (s->is_closing)
		rc = err_set(err, ERR_STOPPED, "the spool is closing");
	if (rc == ERR_OK) {
		(void)spool_knows_locked(s);
		decide_locked(s, list, kafka_away, &direct);
	}
	lock_give(&s->lock);
	if (direct.first)
		send_direct(s, direct.first, give_ups);
	return rc;
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
void spool_logged(void *ctx, struct record *list)
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
			r->result = r->unclear ? ERR_OUTCOME_UNKNOWN : r->result;
			uncount_locked(s, r, is_unsorted);
		}
	}
	s->groups++;
	spool_changed_locked(s);
	lock_give(&s->lock);
	s->opts.done(s->opts.ctx, list);
}

/* One that failed for good is a refusal, not a sign that Kafka is away. */
static bool goes_to_log(const struct record *r)
{
	return r->spools && r->result != ERR_OK && r->result != ERR_LIMIT;
}

/* One that waits in the producer's queue may time out before one that is on its way. */
static void put_in_order(struct record_list *list, struct record *r)
{
	struct record **at = &list->first;

	if (list->first && container_of(list->tail, struct record, next)->offset < r->offset)
		at = list->tail;
	while (*at && (*at)->offset < r->offset)
		at = &(*at)->next;
	r->next = *at;
	*at = r;
	if (!r->next)
		list->tail = &r->next;
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
		r->unclear = r->result == ERR_OUTCOME_UNKNOWN;
		put_in_order(&slot->failed, r);
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
void spool_reported(void *ctx, struct record *list)
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
