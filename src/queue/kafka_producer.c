/* kafka_producer.c - the producer as its callers see it: take lists of records, keep count, wait.
 *
 * A list is made ready without the lock (flights, headers, partitions), then taken or refused as a
 * whole with it. Deliberately not here: flights and the library (kafka_flight.c); reports,
 * completions (kafka_poll.c); the library's handle (kafka_handle.c). */
#include "kafka_producer.h"

#include "postern/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define OVERHEAD KIB(1)   /* of a record in a set of records of its own */
#define ROUND_COUNT 10000 /* should the library not tell its limits */
#define ROUND_BYTES 1000000
#define ROUND_PART 2      /* it counts what surrounds a record, too */
#define TROUBLE_MS 10000  /* how long a failure counts against readiness */
#define WARM_STEP_MS 2000 /* a new handle may have to wait for a question that long */

static const char *const names[KAFKA_PRODUCER_KINDS] = {
	[KAFKA_KIND_EVENTS] = "events",
	[KAFKA_KIND_JOURNAL] = "journal",
	[KAFKA_KIND_OUTPUTS] = "outputs",
	[KAFKA_KIND_SPOOL] = "spool",
};

static void flights_free(struct flights *flights)
{
	struct flight *flight, *next;

	for (flight = flights->first; flight; flight = next) {
		next = flight->next;
		flight_free(flight);
	}
	flights_init(flights);
}

/* ---- append ------------------------------------------------------------------------------------
 */

struct intent {
	struct flights flights;
	size_t count, bytes;
};

static int32_t partition_of(
	const struct kafka_target *target, const struct record *r, int32_t count)
{
	if (target->partition == KAFKA_BY_KEY)
		return kafka_partition(r->key, count);
	return target->partition == KAFKA_BY_LIBRARY ? RD_KAFKA_PARTITION_UA : target->partition;
}

static void add(struct intent *intent, struct flight *flight, const struct kafka_target *target)
{
	const struct record *r = flight->record;

	flight->sink = target->sink;
	flight->bytes = r->key.len + r->headers.len + r->body.len;
	intent->count++;
	intent->bytes += flight->bytes;
	flights_push(&intent->flights, flight);
}

static enum err_code too_long(const struct kafka_producer *p, size_t bytes, struct err *err)
{
	return err_set(err, ERR_LIMIT, "a record of %zu bytes: the topics take %zu", bytes,
		p->kafka->max_message_bytes - OVERHEAD);
}

static bool fits(const struct kafka_producer *p, size_t bytes)
{
	return bytes + OVERHEAD <= p->kafka->max_message_bytes;
}

static enum err_code make_ready(struct kafka_producer *p, const struct kafka_target *target,
	struct record *list, struct intent *intent, struct err *err)
{
	const int32_t count = kafka_partition_count(p->kafka);

	if (target->partition == KAFKA_BY_KEY && count == 0)
		return err_set(
			err, ERR_UNREACHABLE, "no broker has told the count of partitions yet");
	for (struct record *r = list; r; r = r->next) {
		const size_t bytes = r->key.len + r->headers.len + r->body.len;
		struct flight *flight;
		enum err_code rc;

		if (!fits(p, bytes))
			return too_long(p, bytes, err);
		flight = calloc(1, sizeof(*flight));
		if (!flight)
			return err_set(err, ERR_NOMEM, "no memory for a record on its way");
		flight->record = r;
		flight->partition = partition_of(target, r, count);
		add(intent, flight, target);
		rc = kafka_headers(r->headers, &flight->headers, err);
		if (rc != ERR_OK)
			return rc;
	}
	return ERR_OK;
}

static enum err_code chosen_in_time_locked(
	const struct kafka_producer *p, const struct kafka_target *target, struct err *err)
{
	lock_assert_held(&p->lock);
	if (target->give_ups != 0 && target->give_ups != p->give_ups)
		return err_set(err, ERR_UNAVAILABLE, "records before it were given up");
	if (target->sink && target->sink->has_failed)
		return err_set(err, ERR_UNAVAILABLE, "a record before it failed");
	return ERR_OK;
}

static enum err_code room_locked(
	const struct kafka_producer *p, size_t count, size_t bytes, struct err *err)
{
	lock_assert_held(&p->lock);
	if (p->is_stopping)
		return err_set(err, ERR_STOPPED, "the producer is closing");
	if (p->count + count > p->max_count || p->bytes + bytes > p->max_bytes)
		return err_set(err, ERR_FULL, "%zu records of %zu bytes wait for Kafka already",
			p->count, p->bytes);
	return ERR_OK;
}

/* Whose tracks are known. */
static void take_locked(struct kafka_producer *p, struct intent *intent)
{
	const int64_t deadline_ms = p->timeout_ms ? kafka_now_ms(p->kafka) + p->timeout_ms : -1;
	struct flight *flight, *next;

	for (flight = intent->flights.first; flight; flight = next) {
		next = flight->next;
		flight->deadline_ms = deadline_ms;
		if (flight->sink)
			flight->sink->out++;
		p->count++;
		p->bytes += flight->bytes;
		flights_push(&flight->track->waiting, flight);
		track_ready_locked(p, flight->track);
	}
	flights_init(&intent->flights);
	producer_hand_over_locked(p);
	if (p->touched) /* by one that the library refused for good */
		producer_wake_locked(p);
}

static bool find_tracks_locked(struct kafka_producer *p, const char *name, struct intent *intent)
{
	struct topic *topic = topic_locked(p, name);

	for (struct flight *flight = intent->flights.first; flight && topic;
		flight = flight->next) {
		flight->track = track_locked(p, topic, flight->partition);
		if (!flight->track)
			return false;
	}
	return topic != NULL;
}

/* All of it or nothing. */
static enum err_code take(struct kafka_producer *p, const struct kafka_target *target,
	struct intent *intent, struct err *err)
{
	enum err_code rc;

	lock_take(&p->lock);
	rc = room_locked(p, intent->count, intent->bytes, err);
	if (rc == ERR_OK)
		rc = chosen_in_time_locked(p, target, err);
	if (rc == ERR_OK && !find_tracks_locked(p, target->topic, intent))
		rc = err_set(err, ERR_NOMEM, "no memory for a topic");
	if (rc == ERR_OK)
		take_locked(p, intent);
	lock_give(&p->lock);
	return rc;
}

enum err_code kafka_producer_append(struct kafka_producer *p, const struct kafka_target *target,
	struct record *list, struct err *err)
{
	struct intent intent = { .count = 0 };
	enum err_code rc;

	flights_init(&intent.flights);
	rc = make_ready(p, target, list, &intent, err);
	if (rc == ERR_OK && list)
		rc = take(p, target, &intent, err);
	flights_free(&intent.flights);
	return rc;
}

enum err_code kafka_producer_put(struct kafka_producer *p, const struct kafka_target *target,
	struct slice value, struct err *err)
{
	struct intent intent = { .count = 0 };
	struct flight *flight;
	enum err_code rc;

	assert(target->partition >= 0);
	flights_init(&intent.flights);
	if (!fits(p, value.len))
		return too_long(p, value.len, err);
	flight = calloc(1, sizeof(*flight) + value.len);
	if (!flight)
		return err_set(err, ERR_NOMEM, "no memory for a record on its way");
	if (value.len)
		memcpy(flight->value, value.data, value.len);
	flight->own.body = (struct slice){ flight->value, value.len };
	flight->record = &flight->own;
	flight->partition = target->partition;
	add(&intent, flight, target);
	rc = take(p, target, &intent, err);
	flights_free(&intent.flights);
	return rc;
}

enum err_code kafka_producer_room(struct kafka_producer *p, size_t bytes, struct err *err)
{
	enum err_code rc;

	if (!fits(p, bytes))
		return too_long(p, bytes, err);
	lock_take(&p->lock);
	rc = room_locked(p, 1, bytes, err);
	if (rc == ERR_OK && p->trouble.code != ERR_OK &&
		kafka_now_ms(p->kafka) < p->trouble_ms + TROUBLE_MS)
		rc = err_set(err, p->trouble.code, "%s", p->trouble.text);
	lock_give(&p->lock);
	return rc;
}

void kafka_producer_give_up(struct kafka_producer *p)
{
	lock_take(&p->lock);
	p->is_cancelling = true;
	producer_wake_locked(p);
	lock_give(&p->lock);
}

uint64_t kafka_producer_give_ups(struct kafka_producer *p)
{
	uint64_t count;

	lock_take(&p->lock);
	count = p->give_ups;
	lock_give(&p->lock);
	return count;
}

/* ---- sinks -------------------------------------------------------------------------------------
 */

void kafka_sink_open(struct kafka_sink *sink, queue_done_fn *done, void *ctx)
{
	*sink = (struct kafka_sink){ .done = done, .ctx = ctx };
	sink->tail = &sink->list;
}

void kafka_sink_close(struct kafka_producer *p, struct kafka_sink *sink, int64_t deadline_ms)
{
	lock_take(&p->lock);
	while (sink->out > 0) {
		if (cond_wait(&p->changed, &p->lock, deadline_ms))
			continue;
		if (!p->is_giving_up && sink->out > 0) {
			p->is_giving_up = true;
			producer_wake_locked(p);
		}
		deadline_ms = -1;
	}
	lock_give(&p->lock);
}

void kafka_sink_again(struct kafka_producer *p, struct kafka_sink *sink)
{
	lock_take(&p->lock);
	sink->has_failed = false;
	lock_give(&p->lock);
}

static void forget_locked(struct flights *flights, const struct kafka_sink *sink)
{
	for (struct flight *flight = flights->first; flight; flight = flight->next) {
		if (flight->sink != sink)
			continue;
		assert(flight->record == &flight->own);
		flight->sink = NULL;
	}
}

void kafka_sink_forget(struct kafka_producer *p, struct kafka_sink *sink)
{
	struct kafka_sink **at = &p->touched;
	struct flight *spent;

	lock_take(&p->lock);
	for (struct track *track = p->tracks; track; track = track->next) {
		forget_locked(&track->out, sink);
		forget_locked(&track->waiting, sink);
	}
	while (*at && *at != sink)
		at = &(*at)->touched;
	if (*at)
		*at = sink->touched;
	while (p->running == sink)
		(void)cond_wait(&p->changed, &p->lock, -1);
	lock_give(&p->lock);
	while ((spent = sink->spent) != NULL) {
		sink->spent = spent->next;
		flight_free(spent);
	}
}

/* ---- life --------------------------------------------------------------------------------------
 */

/* The library's limits are ours too: what it would refuse is refused before it is taken. */
static size_t limit(rd_kafka_t *rk, const char *name, size_t otherwise)
{
	char text[24];
	size_t len = sizeof(text);
	uint64_t number = 0;

	if (rd_kafka_conf_get(rd_kafka_conf(rk), name, text, &len) != RD_KAFKA_CONF_OK ||
		text_u64(slice_str(text), &number, NULL) != ERR_OK || number == 0)
		return otherwise;
	return (size_t)number;
}

static void producer_free(struct kafka_producer *p)
{
	struct topic *topic;
	struct track *track;

	producer_handle_close(p);
	assert(p->count == 0);
	while ((track = p->tracks) != NULL) {
		p->tracks = track->next;
		free(track);
	}
	while ((topic = p->topics) != NULL) {
		p->topics = topic->next;
		topic_free(topic);
	}
	cond_done(&p->changed);
	lock_done(&p->lock);
	free(p);
}

enum err_code kafka_producer_open(
	struct kafka *kafka, enum kafka_kind kind, struct kafka_producer **out, struct err *err)
{
	struct kafka_producer *p = calloc(1, sizeof(*p));
	enum err_code rc;

	if (!p)
		return err_set(err, ERR_NOMEM, "no memory for a producer");
	p->kafka = kafka;
	p->kind = kind;
	p->give_ups = 1;
	p->hook = (struct kafka_hook){
		.kafka = kafka,
		.name = names[kind],
		.delivered = producer_delivered,
	};
	if (kind != KAFKA_KIND_JOURNAL && kind != KAFKA_KIND_SPOOL)
		p->timeout_ms = kafka->opts.delivery_timeout_ms;
	p->ends_together = p->timeout_ms > 0 && !kafka_gives_up(&kafka->opts, kind);
	p->metric_renewals = metric_series(METRIC_KAFKA_RENEWALS, names[kind], NULL);
	lock_init(&p->lock);
	cond_init(&p->changed);
	p->ready_tail = &p->ready;
	rc = producer_handle_open(p, err);
	if (rc == ERR_OK) {
		p->max_count = limit(p->rk, "queue.buffering.max.messages", INT32_MAX);
		p->max_bytes = limit(p->rk, "queue.buffering.max.kbytes", INT32_MAX) * KIB(1);
		p->round_count = limit(p->rk, "batch.num.messages", ROUND_COUNT);
		p->round_bytes = limit(p->rk, "batch.size", ROUND_BYTES) / ROUND_PART;
		rc = thread_start(&p->thread, names[kind], producer_run, p, err);
	}
	if (rc != ERR_OK) {
		producer_free(p);
		return rc;
	}
	*out = p;
	return ERR_OK;
}

/* The handle cannot go away while users counts us. */
static enum err_code ask(
	struct kafka_producer *p, struct topic *topic, int timeout_ms, struct err *err)
{
	const struct rd_kafka_metadata *metadata = NULL;
	rd_kafka_topic_t *rkt = topic->rkt;
	rd_kafka_resp_err_t rc;
	rd_kafka_t *rk = p->rk;

	p->users++;
	lock_give(&p->lock);
	rc = rd_kafka_metadata(rk, 0, rkt, &metadata, timeout_ms);
	if (metadata)
		rd_kafka_metadata_destroy(metadata);
	lock_take(&p->lock);
	p->users--;
	cond_broadcast(&p->changed);
	return rc == RD_KAFKA_RESP_ERR_NO_ERROR ? ERR_OK : kafka_err(err, rc, topic->name);
}

enum err_code kafka_producer_warm(
	struct kafka_producer *p, const char *name, int64_t deadline_ms, struct err *err)
{
	struct topic *topic;
	enum err_code rc;

	lock_take(&p->lock);
	while ((!p->rk || p->is_renewing) && !p->is_stopping) {
		if (!cond_wait(&p->changed, &p->lock, deadline_ms))
			break;
	}
	topic = topic_locked(p, name);
	if (p->is_stopping)
		rc = err_set(err, ERR_STOPPED, "the producer is closing");
	else if (!p->rk || p->is_renewing)
		rc = err_set(err, ERR_TIMEOUT, "%s: the producer is being made anew", name);
	else if (!topic || !topic->rkt)
		rc = err_set(err, ERR_NOMEM, "no memory for a topic");
	else {
		int left = kafka_left_ms(p->kafka, deadline_ms);

		rc = ask(p, topic, left < WARM_STEP_MS ? left : WARM_STEP_MS, err);
	}
	lock_give(&p->lock);
	return rc;
}

void kafka_producer_close(struct kafka_producer **producer, int64_t deadline_ms)
{
	struct kafka_producer *p = *producer;

	if (!p)
		return;
	lock_take(&p->lock);
	p->is_stopping = true;
	p->stop_deadline_ms = deadline_ms;
	producer_wake_locked(p);
	lock_give(&p->lock);
	thread_join(&p->thread);
	producer_free(p);
	*producer = NULL;
}
