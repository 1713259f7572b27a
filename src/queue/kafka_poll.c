/* kafka_poll.c - the producer's thread: delivery reports to completions, and a new handle after a
 * fatal error.
 *
 *   poll --> reports --fold--> flights end, or (broken handle) stay to be sent again
 *    ^                              |
 *    |        fatal? purge, drain, destroy, new handle, warm, all again in order
 *    |                              |
 *    +---- completions: one call a sink, without the lock
 *
 * librdkafka 2.0.2 declares an idempotent producer broken now and then when a broker goes away (its
 * issue 4438): normal life. Everything that was not acknowledged is sent again by the next handle;
 * what was delivered by both is in the log twice, which readers know to ignore. */
#include "kafka_producer.h"

#include <assert.h>
#include <stdlib.h>

#define DRAIN_MS 10000 /* purged records are reported at once; longer is a broken library */
#define CALM_MS 30000  /* a handle that lived so long starts the pauses from 0 */
#define PAUSE_MS 100   /* before the second one in a row, then doubled */
#define PAUSE_MAX_MS 5000
#define RENEW_WARM_MS 1000
#define TEXT_MAX 256
#define PURGE_ALL (RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)

/* ---- reports -----------------------------------------------------------------------------------
 */

static bool is_broken(struct kafka_producer *p)
{
	return rd_kafka_fatal_error(p->rk, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Success without an offset is how the library reports a sequence that the broker calls a
 * duplicate. A broker that saw a later request of a fresh producer first says so of the earlier one
 * too, though it never took it: then the record is lost, and must not be acknowledged. */
static enum err_code result_of(const struct report *report)
{
	if (report->code == RD_KAFKA_RESP_ERR_NO_ERROR)
		return report->offset >= 0 ? ERR_OK : ERR_OUTCOME_UNKNOWN;
	/* A refusal is sure, though the library does not know all of them. */
	if (report->status != RD_KAFKA_MSG_STATUS_NOT_PERSISTED && !kafka_refuses(report->code))
		return ERR_OUTCOME_UNKNOWN;
	return flight_refusal(report->flight, report->code);
}

static void give_back_waiting_locked(struct kafka_producer *p, struct track *track)
{
	while (track->waiting.first) {
		struct flight *flight = flights_pop(&track->waiting);

		flight_end_locked(p, flight, flight_loss(flight));
	}
}

static void fold_one_locked(struct kafka_producer *p, const struct report *report, bool broken)
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
		give_back_waiting_locked(p, track);
}

static void fold(struct kafka_producer *p)
{
	bool broken;

	if (p->report_count == 0)
		return;
	broken = is_broken(p);
	p->report_ms = kafka_now_ms(p->kafka);
	lock_take(&p->lock);
	for (size_t i = 0; i < p->report_count; i++)
		fold_one_locked(p, &p->reports[i], broken);
	if (!p->is_cancelling && !broken)
		producer_hand_over_locked(p);
	lock_give(&p->lock);
	p->report_count = 0;
}

/* Inside rd_kafka_poll(). */
void producer_delivered(struct kafka_hook *hook, const rd_kafka_message_t *message)
{
	struct kafka_producer *p = container_of(hook, struct kafka_producer, hook);

	if (p->report_count == KAFKA_REPORTS_MAX)
		fold(p);
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

static void tell(struct kafka_producer *p)
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

static void expire_locked(struct kafka_producer *p, int64_t now_ms)
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

static void expire(struct kafka_producer *p, int64_t now_ms)
{
	lock_take(&p->lock);
	if (!p->ends_together)
		expire_locked(p, now_ms);
	else if (is_any_over_locked(p, now_ms))
		p->is_cancelling = true;
	lock_give(&p->lock);
	tell(p);
}

/* ---- handles -----------------------------------------------------------------------------------
 */

enum err_code producer_handle_open(struct kafka_producer *p, struct err *err)
{
	rd_kafka_conf_t *conf = NULL;
	rd_kafka_t *rk = NULL;
	enum err_code rc = kafka_conf_new(p->kafka, p->kind, &p->hook, &conf, err);

	if (rc == ERR_OK)
		rc = kafka_handle_new(p->kafka, p->kind, conf, &rk, err);
	if (rc != ERR_OK)
		return rc;
	lock_take(&p->lock);
	p->rk = rk;
	p->queue = rd_kafka_queue_get_main(rk);
	tracks_doubt_locked(p);
	for (struct topic *topic = p->topics; topic; topic = topic->next)
		topic_open_locked(p, topic);
	lock_give(&p->lock);
	return ERR_OK;
}

void producer_handle_close(struct kafka_producer *p)
{
	rd_kafka_queue_t *queue;
	rd_kafka_t *rk;

	lock_take(&p->lock);
	while (p->users > 0)
		(void)cond_wait(&p->changed, &p->lock, -1);
	rk = p->rk;
	queue = p->queue;
	p->rk = NULL;
	p->queue = NULL;
	for (struct topic *topic = p->topics; topic; topic = topic->next) {
		if (topic->rkt)
			rd_kafka_topic_destroy(topic->rkt);
		topic->rkt = NULL;
	}
	lock_give(&p->lock);
	if (!rk)
		return;
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(rk);
}

static size_t sent_now(struct kafka_producer *p)
{
	size_t sent;

	lock_take(&p->lock);
	sent = p->sent;
	lock_give(&p->lock);
	return sent;
}

/* The library gives everything back. */
static void drain(struct kafka_producer *p)
{
	const int64_t deadline_ms = kafka_now_ms(p->kafka) + DRAIN_MS;

	if (!p->rk)
		return;
	while (sent_now(p) > 0 && kafka_now_ms(p->kafka) < deadline_ms) {
		(void)rd_kafka_purge(p->rk, PURGE_ALL | RD_KAFKA_PURGE_F_NON_BLOCKING);
		(void)rd_kafka_poll(p->rk, KAFKA_POLL_MS);
		fold(p);
	}
}

/* All that no handle holds any more waits again, before what waits already. */
static void take_back_track_locked(struct kafka_producer *p, struct track *track)
{
	struct flights *out = &track->out, *waiting = &track->waiting;
	struct flight *first = out->first;

	track->sent = 0;
	if (!first)
		return;
	for (struct flight *flight = first; flight; flight = flight->next) {
		flight->is_unclear |= !flight->is_again; /* never reported: who knows */
		flight->is_again = false;
	}
	*out->tail = waiting->first;
	if (waiting->first)
		waiting->first->link = out->tail;
	else
		waiting->tail = out->tail;
	waiting->first = first;
	first->link = &waiting->first;
	flights_init(out);
	track_ready_locked(p, track);
}

static void take_back_locked(struct kafka_producer *p)
{
	p->sent = 0;
	for (struct track *track = p->tracks; track; track = track->next)
		take_back_track_locked(p, track);
}

/* What waits has its time behind it. */
static void end_waiting_locked(struct kafka_producer *p)
{
	for (struct track *track = p->tracks; track; track = track->next) {
		for (struct flight *f = track->waiting.first; f; f = f->next)
			f->deadline_ms = 0;
	}
	expire_locked(p, 0);
}

static void pause_ms(struct kafka_producer *p, int64_t ms)
{
	const int64_t until_ms = kafka_now_ms(p->kafka) + ms;

	lock_take(&p->lock);
	while (!p->is_stopping && !p->is_giving_up && kafka_now_ms(p->kafka) < until_ms)
		(void)cond_wait(&p->changed, &p->lock, until_ms);
	lock_give(&p->lock);
	expire(p, kafka_now_ms(p->kafka));
}

/* The one behind it; NULL: the first. Topics are never removed. */
static struct topic *topic_after(
	struct kafka_producer *p, struct topic *topic, rd_kafka_topic_t **out_rkt)
{
	lock_take(&p->lock);
	topic = topic ? topic->next : p->topics;
	*out_rkt = topic ? topic->rkt : NULL;
	lock_give(&p->lock);
	return topic;
}

/* So that the first record does not wait for the library's next look. */
static void warm(struct kafka_producer *p)
{
	rd_kafka_topic_t *rkt;
	struct topic *topic = NULL;

	while ((topic = topic_after(p, topic, &rkt)) != NULL) {
		const struct rd_kafka_metadata *metadata = NULL;

		if (!rkt || rd_kafka_metadata(p->rk, 0, rkt, &metadata, RENEW_WARM_MS) !=
				    RD_KAFKA_RESP_ERR_NO_ERROR)
			return;
		rd_kafka_metadata_destroy(metadata);
	}
}

/* Brokers that refuse us for good would make us spin. */
static int64_t next_pause_ms(struct kafka_producer *p)
{
	const int64_t now_ms = kafka_now_ms(p->kafka);
	int64_t pause = 0;

	if (now_ms - p->renewed_ms > CALM_MS)
		p->renewals = 0;
	if (p->renewals > 0)
		pause = p->renewals > 6 ? PAUSE_MAX_MS : PAUSE_MS << (p->renewals - 1);
	p->renewals++;
	p->renewed_ms = now_ms;
	return pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
}

static void log_renewal(struct kafka_producer *p)
{
	char why[TEXT_MAX] = "", text[KAFKA_TEXT_MAX];
	rd_kafka_resp_err_t code;

	if (!p->rk)
		return;
	code = rd_kafka_fatal_error(p->rk, why, sizeof(why));
	kafka_text(&p->kafka->opts, why, text);
	log_warn("kafka_producer_renewed", log_str("producer", p->hook.name),
		log_str("reason", rd_kafka_err2name(code)), log_str("text", text));
	metric_add(p->metric_renewals, 1);
}

static bool may_go_on(struct kafka_producer *p)
{
	bool may;

	lock_take(&p->lock);
	may = !p->is_giving_up && (!p->is_stopping || p->count > 0) &&
	      (!p->is_stopping || kafka_now_ms(p->kafka) < p->stop_deadline_ms);
	lock_give(&p->lock);
	return may;
}

static void renewing(struct kafka_producer *p, bool is)
{
	lock_take(&p->lock);
	p->is_renewing = is;
	cond_broadcast(&p->changed);
	lock_give(&p->lock);
}

/* A broken handle for a new one. Without one at the end only when all is being given up. */
static void renew(struct kafka_producer *p)
{
	int64_t wait_ms = next_pause_ms(p);

	log_renewal(p);
	renewing(p, true);
	drain(p);
	producer_handle_close(p);
	p->report_count = 0;
	lock_take(&p->lock);
	take_back_locked(p);
	lock_give(&p->lock);
	while (!p->rk && may_go_on(p)) {
		struct err err = ERR_INIT;

		pause_ms(p, wait_ms);
		if (producer_handle_open(p, &err) == ERR_OK)
			break;
		log_error("kafka_producer_failed", log_str("producer", p->hook.name),
			log_code(err.code), log_str("text", err.text));
		wait_ms = PAUSE_MAX_MS;
	}
	if (p->rk)
		warm(p);
	renewing(p, false);
}

static bool is_cancelling(struct kafka_producer *p)
{
	bool is;

	lock_take(&p->lock);
	is = p->is_cancelling;
	lock_give(&p->lock);
	return is;
}

/* Everything ends now, whoever's it is. The library reports what it gives up in no certain order:
 * who goes on afterwards gets all of it back first, and a new handle. */
static void give_up(struct kafka_producer *p)
{
	drain(p);
	if (is_cancelling(p) || sent_now(p) > 0) {
		producer_handle_close(p);
		p->report_count = 0;
	}
	lock_take(&p->lock);
	if (!p->rk)
		take_back_locked(p);
	end_waiting_locked(p);
	p->is_giving_up = p->is_cancelling = false;
	lock_give(&p->lock);
	tell(p);
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
			give_up(p);
		tell(p);
		if (!p->rk || is_broken(p)) {
			renew(p);
			continue;
		}
		(void)rd_kafka_poll(p->rk, KAFKA_POLL_MS);
		fold(p);
		expire(p, kafka_now_ms(p->kafka));
	}
	return NULL;
}
