/* kafka_flight.c - a record on its way: onto its track, to the library, to its sink.
 *
 * What the library does not take now waits behind what it has, and is offered again by the thread.
 * Deliberately not here: who appends (kafka_producer.c), what is reported (kafka_poll.c). */
#include "kafka_producer.h"

#include <assert.h>
#include <stdlib.h>

/* Brokers forget a producer that has been silent for a day; one may be set to less. */
#define PROVEN_MS INT64_C(600000)

/* ---- flights -----------------------------------------------------------------------------------
 */

void flights_init(struct flights *flights)
{
	flights->first = NULL;
	flights->tail = &flights->first;
}

void flights_push(struct flights *flights, struct flight *flight)
{
	flight->next = NULL;
	flight->link = flights->tail;
	*flights->tail = flight;
	flights->tail = &flight->next;
}

void flights_take(struct flights *flights, struct flight *flight)
{
	*flight->link = flight->next;
	if (flight->next)
		flight->next->link = flight->link;
	else
		flights->tail = flight->link;
	flight->next = NULL;
	flight->link = NULL;
}

struct flight *flights_pop(struct flights *flights)
{
	struct flight *first = flights->first;

	flights->first = first->next;
	if (first->next)
		first->next->link = &flights->first;
	else
		flights->tail = &flights->first;
	first->next = NULL;
	first->link = NULL;
	return first;
}

void flight_free(struct flight *flight)
{
	if (flight->headers)
		rd_kafka_headers_destroy(flight->headers);
	free(flight);
}

enum err_code flight_loss(const struct flight *flight)
{
	return flight->is_unclear ? ERR_OUTCOME_UNKNOWN : ERR_UNAVAILABLE;
}

enum err_code flight_refusal(const struct flight *flight, rd_kafka_resp_err_t code)
{
	const struct kafka_sink *sink = flight->sink;

	if (flight->is_unclear)
		return ERR_OUTCOME_UNKNOWN;
	return sink && sink->tells_refusals && kafka_refuses(code) ? ERR_LIMIT : ERR_UNAVAILABLE;
}

static void to_sink_locked(struct kafka_producer *p, struct kafka_sink *sink, struct flight *flight)
{
	struct record *record = flight->record;

	record->next = NULL;
	*sink->tail = record;
	sink->tail = &record->next;
	sink->ended++;
	if (sink->metric_appends && record->result == ERR_OK)
		metric_add(sink->metric_appends, 1);
	if (!sink->is_touched) {
		sink->is_touched = true;
		sink->touched = p->touched;
		p->touched = sink;
	}
	if (record == &flight->own) {
		flight->next = sink->spent;
		sink->spent = flight;
	} else {
		flight_free(flight);
	}
}

void flight_end_locked(struct kafka_producer *p, struct flight *flight, enum err_code result)
{
	lock_assert_held(&p->lock);
	flight->record->result = result;
	if (flight->sink && flight->sink->keeps_order && result != ERR_OK)
		flight->sink->has_failed = true;
	if (p->ends_together && result != ERR_OK && result != ERR_LIMIT)
		p->is_cancelling = true;
	p->count--;
	p->bytes -= flight->bytes;
	if (flight->sink)
		to_sink_locked(p, flight->sink, flight);
	else
		flight_free(flight);
}

/* ---- what others have to know, topics -----------------------------------------------------------
 */

void producer_trouble_locked(struct kafka_producer *p, rd_kafka_resp_err_t code, const char *what)
{
	lock_assert_held(&p->lock);
	err_clear(&p->trouble);
	err_ignored(kafka_err(&p->trouble, code, what));
	p->trouble_ms = kafka_now_ms(p->kafka);
}

void producer_wake_locked(struct kafka_producer *p)
{
	lock_assert_held(&p->lock);
	if (p->queue)
		rd_kafka_queue_yield(p->queue);
	cond_broadcast(&p->changed);
}

void topic_open_locked(struct kafka_producer *p, struct topic *topic)
{
	if (p->rk && !topic->rkt)
		topic->rkt = rd_kafka_topic_new(p->rk, topic->name, NULL);
}

struct topic *topic_locked(struct kafka_producer *p, const char *name)
{
	struct topic **at = &p->topics;
	size_t size = strlen(name) + 1;

	for (; *at; at = &(*at)->next) {
		if (strcmp((*at)->name, name) == 0)
			return *at;
	}
	*at = calloc(1, sizeof(**at) + size);
	if (*at) {
		memcpy((*at)->name, name, size);
		topic_open_locked(p, *at);
	}
	return *at;
}

void topic_free(struct topic *topic)
{
	free(topic->tracks);
	free(topic);
}

/* ---- tracks ------------------------------------------------------------------------------------
 */

static bool grow(struct topic *topic, size_t count)
{
	struct track **tracks;

	if (count <= topic->track_count)
		return true;
	/* An array of pointers: NOLINTNEXTLINE(bugprone-sizeof-expression) */
	tracks = realloc(topic->tracks, count * sizeof(*tracks));
	if (!tracks)
		return false;
	for (size_t i = topic->track_count; i < count; i++)
		tracks[i] = NULL;
	topic->tracks = tracks;
	topic->track_count = count;
	return true;
}

struct track *track_locked(struct kafka_producer *p, struct topic *topic, int32_t partition)
{
	const size_t at = (size_t)partition + 1;
	struct track *track;

	lock_assert_held(&p->lock);
	assert(partition >= RD_KAFKA_PARTITION_UA);
	if (!grow(topic, at + 1))
		return NULL;
	if (topic->tracks[at])
		return topic->tracks[at];
	track = calloc(1, sizeof(*track));
	if (!track)
		return NULL;
	track->topic = topic;
	flights_init(&track->out);
	flights_init(&track->waiting);
	track->next = p->tracks;
	p->tracks = track;
	topic->tracks[at] = track;
	return track;
}

void track_ready_locked(struct kafka_producer *p, struct track *track)
{
	lock_assert_held(&p->lock);
	if (track->is_ready || track->sent > 0 || !track->waiting.first)
		return;
	track->is_ready = true;
	track->next_ready = NULL;
	*p->ready_tail = track;
	p->ready_tail = &track->next_ready;
}

void tracks_doubt_locked(struct kafka_producer *p)
{
	lock_assert_held(&p->lock);
	for (struct track *track = p->tracks; track; track = track->next)
		track->is_proven = false;
}

/* ---- to the library ----------------------------------------------------------------------------
 */

/* The library takes NULL for "no value". */
static void *start_of(struct slice s)
{
	static const uint8_t nothing;

	return (void *)(uintptr_t)(s.data ? s.data : &nothing);
}

static rd_kafka_resp_err_t produce(struct kafka_producer *p, struct flight *flight)
{
	const struct record *record = flight->record;
	const struct slice key = record->key, body = record->body;
	rd_kafka_topic_t *rkt = flight->track->topic->rkt;
	rd_kafka_resp_err_t rc;

	if (!rkt)
		return RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
	if (!flight->headers && kafka_headers(record->headers, &flight->headers, NULL) != ERR_OK)
		return RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
	/* The body is not copied: it stays until the completion. */
	rc = rd_kafka_producev(p->rk, RD_KAFKA_V_RKT(rkt), RD_KAFKA_V_PARTITION(flight->partition),
		RD_KAFKA_V_KEY(key.len ? start_of(key) : NULL, key.len),
		RD_KAFKA_V_VALUE(start_of(body), body.len), RD_KAFKA_V_HEADERS(flight->headers),
		RD_KAFKA_V_OPAQUE(flight), RD_KAFKA_V_END);
	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR)
		flight->headers = NULL;
	return rc;
}

/* False: not now. The flight is the first of those that wait. */
static bool send_locked(struct kafka_producer *p, struct track *track, struct flight *flight)
{
	rd_kafka_resp_err_t rc = produce(p, flight);

	if (rc == RD_KAFKA_RESP_ERR__QUEUE_FULL || rc == RD_KAFKA_RESP_ERR__FATAL)
		return false;
	(void)flights_pop(&track->waiting);
	if (rc == RD_KAFKA_RESP_ERR_NO_ERROR) {
		flights_push(&track->out, flight);
		track->sent++;
		p->sent++;
		return true;
	}
	producer_trouble_locked(p, rc, track->topic->name);
	flight_end_locked(p, flight, flight_refusal(flight, rc));
	return true;
}

static size_t round_count(struct kafka_producer *p, struct track *track)
{
	if (track->is_proven && kafka_now_ms(p->kafka) - track->proven_ms > PROVEN_MS)
		track->is_proven = false;
	return track->is_proven ? p->round_count : 1;
}

/* A round of the track. False: the library does not take all of it now. */
static bool send_round_locked(struct kafka_producer *p, struct track *track)
{
	const size_t count = round_count(p, track);
	struct flight *flight;
	size_t bytes = 0;

	track->lacks_offsets = false;
	while ((flight = track->waiting.first) != NULL && track->sent < count &&
		!p->is_cancelling) {
		bytes += flight->bytes;
		if (track->sent > 0 && bytes > p->round_bytes)
			break;
		if (!send_locked(p, track, flight))
			return false;
	}
	return true;
}

void producer_hand_over_locked(struct kafka_producer *p)
{
	struct track *track;

	lock_assert_held(&p->lock);
	if (!p->rk || p->is_renewing || p->is_giving_up || p->is_barred)
		return;
	while ((track = p->ready) != NULL && !p->is_cancelling) {
		/* One that was taken in part is ready again after the last report of that. */
		if (track->sent == 0 && !send_round_locked(p, track) && track->sent == 0)
			return;
		p->ready = track->next_ready;
		if (!p->ready)
			p->ready_tail = &p->ready;
		track->is_ready = false;
	}
}
