/* kafka_poll.c - the producer's thread: delivery reports to completions.
 *
 *   poll --> reports --fold--> flights end, or (broken handle) stay to be sent again
 *    ^                              |
 *    |                  broken, or to be given up? (kafka_handle.c)
 *    |                              |
 *    +---- completions: one call a sink, without the lock
 *
 * Deliberately not here: the way of a record to the library (kafka_flight.c), the handle itself. */
#include "kafka_producer.h"

#include <assert.h>
#include <stdlib.h>

#define YOUNG_MS 2000

/* ---- reports -----------------------------------------------------------------------------------
 */

bool producer_is_broken(struct kafka_producer *p)
{
	return rd_kafka_fatal_error(p->rk, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Success without an offset is how the library reports a sequence that the broker calls a
 * duplicate. A broker that saw a later request of a fresh producer first says so of the earlier one
 * too, though it never took it: then the record is lost, and must not be acknowledged. Nor must
 * those behind it in its request: the library counts their offsets on from the -1 of the first. */
static enum err_code result_of(const struct report *report)
{
	if (report->code == RD_KAFKA_RESP_ERR_NO_ERROR)
		return report->offset >= 0 ? ERR_OK : ERR_OUTCOME_UNKNOWN;
	/* A refusal is sure, though the library does not know all of them. */
	if (report->status != RD_KAFKA_MSG_STATUS_NOT_PERSISTED && !kafka_refuses(report->code))
		return ERR_OUTCOME_UNKNOWN;
	return flight_refusal(report->flight, report->code);
}

void track_end_waiting_locked(struct kafka_producer *p, struct track *track)
{
	while (track->waiting.first) {
		struct flight *flight = flights_pop(&track->waiting);

		flight_end_locked(p, flight, flight_loss(flight));
	}
}

/* The first of a request is reported first. */
static void check_offset_locked(struct track *track, struct report *report)
{
	track->lacks_offsets |= report->code == RD_KAFKA_RESP_ERR_NO_ERROR && report->offset < 0;
	if (track->lacks_offsets)
		report->offset = -1;
}

static void fold_one_locked(struct kafka_producer *p, struct report *report, bool broken)
{
	struct flight *flight = report->flight;
	struct record *record = flight->record;
	struct track *track = flight->track;
	bool keeps_order = flight->sink && flight->sink->keeps_order;
	enum err_code result;

	assert(track->sent > 0 && !flight->is_again);
	track->sent--;
	p->sent--;
	track_ready_locked(p, track);
	check_offset_locked(track, report);
	if (report->code != RD_KAFKA_RESP_ERR_NO_ERROR &&
		(p->is_cancelling || (broken && !p->is_giving_up))) {
		flight->is_again = true;
		flight->is_unclear |= report->status != RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
		return;
	}
	if (report->code == RD_KAFKA_RESP_ERR_NO_ERROR) {
		record->offset = report->offset >= 0 ? report->offset : -1;
		record->time_ms = report->time_ms >= 0 ? report->time_ms : 0;
		p->trouble.code = ERR_OK;
		track->is_proven = report->offset >= 0;
		track->proven_ms = p->report_ms;
	} else {
		/* The library may have taken a new id, or a new epoch of it. */
		tracks_doubt_locked(p);
		producer_trouble_locked(p, report->code, track->topic->name);
	}
	flights_take(&track->out, flight);
	result = result_of(report);
	flight_end_locked(p, flight, result);
	if (result != ERR_OK && keeps_order)
		track_end_waiting_locked(p, track);
}

void producer_fold(struct kafka_producer *p)
{
	bool broken;

	if (p->report_count == 0)
		return;
	broken = producer_is_broken(p);
	p->report_ms = kafka_now_ms(p->kafka);
	lock_take(&p->lock);
	for (size_t i = 0; i < p->report_count; i++)
		fold_one_locked(p, &p->reports[i], broken);
	if (!broken)
		producer_hand_over_locked(p);
	lock_give(&p->lock);
	p->report_count = 0;
}

/* Inside rd_kafka_poll(). */
void producer_delivered(struct kafka_hook *hook, const rd_kafka_message_t *message)
{
	struct kafka_producer *p = container_of(hook, struct kafka_producer, hook);

	if (p->report_count == KAFKA_REPORTS_MAX)
		producer_fold(p);
	p->reports[p->report_count++] = (struct report){
		.flight = message->_private,
		.code = message->err,
		.status = rd_kafka_message_status(message),
		.offset = message->offset,
		.time_ms = rd_kafka_message_timestamp(message, NULL),
	};
}

/* ---- completions -------------------------------------------------------------------------------
 */

static void free_spent(struct flight *spent)
{
	struct flight *next;

	for (; spent; spent = next) {
		next = spent->next;
		free(spent);
	}
}

static void tell_one_locked(struct kafka_producer *p, struct kafka_sink *sink)
{
	struct record *list = sink->list;
	struct flight *spent = sink->spent;
	size_t ended = sink->ended;

	sink->list = NULL;
	sink->tail = &sink->list;
	sink->spent = NULL;
	sink->ended = 0;
	sink->is_touched = false;
	p->running = sink;
	lock_give(&p->lock);
	if (sink->done)
		sink->done(sink->ctx, list);
	free_spent(spent);
	lock_take(&p->lock);
	p->running = NULL;
	sink->out -= ended;
	cond_broadcast(&p->changed);
}

void producer_tell(struct kafka_producer *p)
{
	struct kafka_sink *sink;

	lock_take(&p->lock);
	while ((sink = p->touched) != NULL) {
		p->touched = sink->touched;
		tell_one_locked(p, sink);
	}
	lock_give(&p->lock);
}

static bool is_over(const struct flight *flight, int64_t now_ms)
{
	return flight && flight->deadline_ms >= 0 && flight->deadline_ms <= now_ms;
}

/* Those that wait too long. They are in the order of their deadlines. */
static void expire_track_locked(struct kafka_producer *p, struct track *track, int64_t now_ms)
{
	while (is_over(track->waiting.first, now_ms)) {
		struct flight *flight = flights_pop(&track->waiting);

		producer_trouble_locked(p, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, track->topic->name);
		flight_end_locked(p, flight, flight_loss(flight));
	}
}

static void expire_waiting_locked(struct kafka_producer *p, int64_t now_ms)
{
	for (struct track *track = p->tracks; track; track = track->next)
		expire_track_locked(p, track, now_ms);
}

static bool is_any_over_locked(struct kafka_producer *p, int64_t now_ms)
{
	for (struct track *track = p->tracks; track; track = track->next) {
		if (is_over(track->out.first, now_ms) || is_over(track->waiting.first, now_ms))
			return true;
	}
	return false;
}

/* Before its first record a handle waits for an id of its own and for a connection to each leader.
 * Judged by records that are given less time than that, no handle would ever get to the end. */
static bool is_young_locked(const struct kafka_producer *p, int64_t now_ms)
{
	return p->rk && now_ms - p->opened_ms < YOUNG_MS;
}

void producer_expire(struct kafka_producer *p)
{
	const int64_t now_ms = kafka_now_ms(p->kafka);

	lock_take(&p->lock);
	if (!p->ends_together)
		expire_waiting_locked(p, now_ms);
	else if (!is_young_locked(p, now_ms) && is_any_over_locked(p, now_ms))
		p->is_cancelling = true;
	lock_give(&p->lock);
	producer_tell(p);
}

/* ---- the thread --------------------------------------------------------------------------------
 */

enum turn { TURN_POLL, TURN_GIVE_UP, TURN_END };

static enum turn next_turn(struct kafka_producer *p)
{
	enum turn turn = TURN_POLL;

	lock_take(&p->lock);
	producer_hand_over_locked(p);
	if (p->is_stopping && p->count == 0 && !p->touched)
		turn = TURN_END;
	else if (p->is_giving_up || p->is_cancelling ||
		 (p->is_stopping && kafka_now_ms(p->kafka) >= p->stop_deadline_ms))
		turn = TURN_GIVE_UP;
	p->is_giving_up = turn == TURN_GIVE_UP;
	lock_give(&p->lock);
	return turn;
}

void *producer_run(void *arg)
{
	struct kafka_producer *p = arg;
	enum turn turn;

	while ((turn = next_turn(p)) != TURN_END) {
		if (turn == TURN_GIVE_UP)
			producer_give_up(p);
		producer_tell(p);
		if (!p->rk || producer_is_broken(p)) {
			producer_renew(p);
			continue;
		}
		(void)rd_kafka_poll(p->rk, KAFKA_POLL_MS);
		producer_fold(p);
		producer_expire(p);
	}
	return NULL;
}
