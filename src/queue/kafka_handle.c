/* kafka_handle.c - the producer's handle of the library: opened, closed, and a new one for one that
 * broke, or that was closed to get back what it had.
 *
 *   broken:        pause, purge, drain, destroy, new handle, warm; all again in order
 *   to give up:    purge, drain, destroy; all that it had ends; new handle, warm
 *
 * librdkafka 2.0.2 declares an idempotent producer broken now and then when a broker goes away (its
 * issue 4438): normal life. Everything that was not acknowledged is sent again by the next handle;
 * what was delivered by both is in the log twice, which readers know to ignore. All of this is done
 * by the producer's thread (kafka_poll.c). */
#include "kafka_producer.h"

#include <assert.h>
#include <stdlib.h>

#define DRAIN_MS 10000 /* purged records are reported at once; longer is a broken library */
#define CALM_MS 30000  /* a handle that lived so long starts the pauses from 0 */
#define PAUSE_MS 100   /* before the second one in a row, then doubled */
#define PAUSE_MAX_MS 5000
#define WARM_MS 1000
#define TEXT_MAX 256
#define PURGE_ALL (RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)

/* ---- open and close ----------------------------------------------------------------------------
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
	p->opened_ms = kafka_now_ms(p->kafka);
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

/* ---- what it had ------------------------------------------------------------------------------
 */

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
		producer_fold(p);
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

/* The library has nothing. Until those who appended it know, nothing may go past it. */
static void end_all(struct kafka_producer *p)
{
	lock_take(&p->lock);
	if (!p->rk)
		take_back_locked(p);
	for (struct track *track = p->tracks; track; track = track->next) {
		if (track->waiting.first)
			producer_trouble_locked(
				p, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, track->topic->name);
		track_end_waiting_locked(p, track);
	}
	p->is_giving_up = p->is_cancelling = false;
	p->is_barred = true;
	p->give_ups++;
	lock_give(&p->lock);
	producer_tell(p);
	lock_take(&p->lock);
	p->is_barred = false;
	lock_give(&p->lock);
}

static bool is_cancelling(struct kafka_producer *p)
{
	bool is;

	lock_take(&p->lock);
	is = p->is_cancelling;
	lock_give(&p->lock);
	return is;
}

/* Those whose time ended while there was no handle must not cost the next one, or others come
 * meanwhile, and so on for ever. */
static void end_late(struct kafka_producer *p)
{
	producer_expire(p);
	if (is_cancelling(p))
		end_all(p);
}

static void pause_ms(struct kafka_producer *p, int64_t ms)
{
	const int64_t until_ms = kafka_now_ms(p->kafka) + ms;

	lock_take(&p->lock);
	while (!p->is_stopping && !p->is_giving_up && kafka_now_ms(p->kafka) < until_ms)
		(void)cond_wait(&p->changed, &p->lock, until_ms);
	lock_give(&p->lock);
	end_late(p);
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

		if (!rkt || rd_kafka_metadata(p->rk, 0, rkt, &metadata, WARM_MS) !=
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
	p->opened_ms = kafka_now_ms(p->kafka);
	cond_broadcast(&p->changed);
	lock_give(&p->lock);
}

/* A new handle for a broken one, or for one that was closed to give up what it had (which was not
 * its fault: no pause). Without one at the end only when all is being given up. */
void producer_renew(struct kafka_producer *p)
{
	int64_t wait_ms = p->rk ? next_pause_ms(p) : 0;

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
	end_late(p);
	renewing(p, false);
}

/* The library, or a broken handle reported it and nobody has taken it back yet. */
static bool has_some(struct kafka_producer *p)
{
	bool has = false;

	lock_take(&p->lock);
	for (struct track *track = p->tracks; track; track = track->next)
		has |= track->out.first != NULL;
	lock_give(&p->lock);
	return has;
}

/* Everything ends now, whoever's it is. The library reports what it gives up in no certain order:
 * who goes on afterwards gets all of it back first, and a new handle. */
void producer_give_up(struct kafka_producer *p)
{
	drain(p);
	if (has_some(p)) {
		producer_handle_close(p);
		p->report_count = 0;
	}
	end_all(p);
}
