/* kafka_lane.c - one lane of the working half as a queue: the table of functions, appends to the
 * outputs, single records, and what is known of the streams.
 *
 * Retention is the topics' own: nothing is dropped here, and a position is a hint for those who
 * watch the group's lag. Deliberately not here: reading in order (kafka_lane_read.c) and the
 * journal (kafka_journal.c). */
#include "kafka_lane.h"

#include <assert.h>
#include <stdlib.h>

#define LOOKUP_MS 5000
#define STAT_MS 2000     /* the broker is asked where a stream ends no more often */
#define STAT_WAIT_MS 500 /* and may take so long */

static const enum kafka_topic topics[STREAM_COUNT] = {
	[STREAM_EVENTS] = KAFKA_TOPIC_EVENTS,
	[STREAM_DLQ] = KAFKA_TOPIC_DLQ,
	[STREAM_QUARANTINE] = KAFKA_TOPIC_QUARANTINE,
};

static const char *topic_of(const struct kafka_lane *lane, enum stream stream)
{
	return lane->kafka->topics[topics[stream]];
}

/* ---- outputs ---- */

static struct kafka_producer *outputs_of(const struct kafka_lane *lane)
{
	return lane->kafka->producers[KAFKA_KIND_OUTPUTS];
}

static enum err_code not_ours(struct err *err)
{
	return err_set(err, ERR_STOPPED, "events are not appended by the working half");
}

static enum err_code lane_append(
	struct queue *queue, enum stream stream, struct record *list, struct err *err)
{
	struct kafka_lane *lane = kafka_lane_of(queue);
	const struct kafka_target target = {
		.topic = topic_of(lane, stream),
		.partition = lane->partition,
		.sink = &lane->outputs[stream],
	};

	if (stream == STREAM_EVENTS)
		return not_ours(err);
	return kafka_producer_append(outputs_of(lane), &target, list, err);
}

static enum err_code lane_room(
	struct queue *queue, enum stream stream, size_t bytes, struct err *err)
{
	if (stream == STREAM_EVENTS)
		return not_ours(err);
	return kafka_producer_room(outputs_of(kafka_lane_of(queue)), bytes, err);
}

static enum err_code lane_publish(
	struct queue *queue, const char *topic, struct record *record, struct err *err)
{
	struct kafka_lane *lane = kafka_lane_of(queue);
	const struct kafka_target target = {
		.topic = topic,
		.partition = KAFKA_BY_LIBRARY,
		.sink = &lane->published,
	};

	return kafka_producer_append(outputs_of(lane), &target, record, err);
}

/* "There already", with no offset: a broker says so too of a record that it refused before it took
 * a later one of a producer that it did not know. A second copy does no harm, a lost one does. */
static void doubt(struct record *list)
{
	for (struct record *r = list; r; r = r->next) {
		if (r->result == ERR_OK && r->offset < 0)
			r->result = ERR_OUTCOME_UNKNOWN;
	}
}

static void count_appends(struct kafka_lane *lane, enum stream stream, const struct record *list)
{
	struct lane_stream *s = &lane->streams[stream];

	lock_take(&lane->lock);
	for (const struct record *r = list; r; r = r->next) {
		if (r->result != ERR_OK)
			continue;
		s->appended++;
		if (s->end <= r->offset)
			s->end = r->offset + 1;
	}
	lock_give(&lane->lock);
}

/* The three on the producer's thread. */
static void dlq_done(void *ctx, struct record *list)
{
	struct kafka_lane *lane = ctx;

	doubt(list);
	count_appends(lane, STREAM_DLQ, list);
	lane->outputs_done(lane->outputs_ctx, list);
}

static void quarantine_done(void *ctx, struct record *list)
{
	struct kafka_lane *lane = ctx;

	doubt(list);
	count_appends(lane, STREAM_QUARANTINE, list);
	lane->outputs_done(lane->outputs_ctx, list);
}

static void published(void *ctx, struct record *list)
{
	struct kafka_lane *lane = ctx;

	doubt(list);
	lane->outputs_done(lane->outputs_ctx, list);
}

/* ---- what is known of a stream ---- */

/* Is it time to ask the broker? Whoever asks next waits for the next time. One lane waits for
 * brokers that are away, not one after the other; but each asks once. */
static bool time_to_ask(struct kafka_lane *lane, struct lane_stream *s)
{
	const int64_t now_ms = kafka_now_ms(lane->kafka);
	bool ask;

	lock_take(&lane->lock);
	ask = now_ms >= s->ask_ms && (s->ask_ms == 0 || now_ms >= lane->kafka->silent_until_ms);
	if (ask)
		s->ask_ms = now_ms + STAT_MS;
	lock_give(&lane->lock);
	return ask;
}

static void learn(struct kafka_lane *lane, struct lane_stream *s, int64_t first, int64_t end)
{
	lock_take(&lane->lock);
	s->first = s->first > first ? s->first : first;
	s->end = s->end > end ? s->end : end;
	lock_give(&lane->lock);
}

/* A stream that lies idle is not fetched, so what the fetches say of its end may be old. */
static void look(struct kafka_lane *lane, enum stream stream)
{
	struct lane_stream *s = &lane->streams[stream];
	struct kafka *kafka = lane->kafka;
	int64_t first, end;

	if (kafka_reader_seen(&s->reader, &first, &end))
		learn(lane, s, first, end);
	if (stream == STREAM_EVENTS) {
		if (kafka_ends(kafka, lane->partition, STAT_MS, &first, &end, NULL) == ERR_OK) {
			learn(lane, s, first, end);
			return;
		}
	}
	if (!time_to_ask(lane, s))
		return;
	if (kafka_watermarks(kafka, topic_of(lane, stream), lane->partition,
		    kafka_now_ms(kafka) + STAT_WAIT_MS, &first, &end, NULL) == ERR_OK)
		learn(lane, s, first, end);
	else
		kafka->silent_until_ms = kafka_now_ms(kafka) + KAFKA_SILENT_MS;
}

/* The time of the batch that the record at this offset came in, or of the oldest that is known. */
static int64_t time_at_locked(const struct lane_stream *s, int64_t offset)
{
	const size_t kept = s->time_count < LANE_TIMES ? s->time_count : LANE_TIMES;
	int64_t time_ms = 0;

	for (size_t i = s->time_count - kept; i < s->time_count; i++) {
		const struct lane_time *t = &s->times[i % LANE_TIMES];

		if (time_ms == 0 || t->offset <= offset)
			time_ms = t->time_ms;
	}
	return time_ms;
}

static void lane_stat(struct queue *queue, enum stream stream, struct stream_stat *out)
{
	struct kafka_lane *lane = kafka_lane_of(queue);
	const struct lane_stream *s = &lane->streams[stream];

	look(lane, stream);
	lock_take(&lane->lock);
	*out = (struct stream_stat){
		.first = s->first,
		.end = s->end,
		.position = s->position > s->first ? s->position : s->first,
		.appended = s->appended,
	};
	if (out->position < out->end)
		out->oldest_ms = time_at_locked(s, out->position);
	lock_give(&lane->lock);
}

static enum err_code lane_events_bounds(struct queue *queue, int64_t max_age_ms, int64_t *out_first,
	int64_t *out_end, struct err *err)
{
	struct kafka_lane *lane = kafka_lane_of(queue);

	if (kafka_ends(lane->kafka, lane->partition, max_age_ms, out_first, out_end, NULL) ==
		ERR_OK)
		return ERR_OK;
	/* One partition without a leader is no answer for all: this one may have its own. */
	return kafka_watermarks(lane->kafka, topic_of(lane, STREAM_EVENTS), lane->partition,
		kafka_now_ms(lane->kafka) + STAT_WAIT_MS, out_first, out_end, err);
}

static enum err_code lane_done(
	struct queue *queue, enum stream stream, int64_t position, struct err *err)
{
	struct kafka_lane *lane = kafka_lane_of(queue);

	(void)err;
	lock_take(&lane->lock);
	lane->streams[stream].position = position;
	lock_give(&lane->lock);
	if (stream == STREAM_EVENTS)
		kafka_group_hint(lane->kafka, lane->partition, position);
	return ERR_OK;
}

static enum err_code lane_drop_oldest(
	struct queue *queue, enum stream stream, int64_t *out_first, struct err *err)
{
	(void)out_first;
	return err_set(err, ERR_FULL, "%s: its retention alone drops records",
		topic_of(kafka_lane_of(queue), stream));
}

static void lane_wake(struct queue *queue, enum stream stream)
{
	struct kafka_lane *lane = kafka_lane_of(queue);

	kafka_reader_wake(&lane->streams[stream].reader);
	if (stream == STREAM_EVENTS)
		kafka_reader_wake(&lane->journal.reader);
}

/* ---- one record ---- */

/* One lookup of a stream at a time: they share what fetches. */
static void take_seat(struct kafka_lane *lane, struct lane_stream *s)
{
	lock_take(&lane->lock);
	while (s->looking)
		(void)cond_wait(&lane->changed, &lane->lock, -1);
	s->looking = true;
	lock_give(&lane->lock);
}

static void give_seat(struct kafka_lane *lane, struct lane_stream *s)
{
	lock_take(&lane->lock);
	s->looking = false;
	cond_broadcast(&lane->changed);
	lock_give(&lane->lock);
}

static enum err_code not_there(const char *topic, int64_t offset, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "%s: there is no record %lld", topic, (long long)offset);
}

static enum err_code copy(
	rd_kafka_message_t *message, struct buf *bytes, struct record *out, struct err *err)
{
	size_t size = 0;
	const bool readable = kafka_block_size(message, &size);
	uint8_t *block = malloc(size + 1);
	struct record record;
	enum err_code rc;

	if (!block)
		return err_set(err, ERR_NOMEM, "no memory for a record");
	kafka_record(message, readable ? block : NULL, &record);
	rc = queue_copy_record(&record, bytes, out, err);
	free(block);
	return rc;
}

static enum err_code fetch_one(struct kafka_lane *lane, enum stream stream, int64_t offset,
	rd_kafka_message_t **out, struct err *err)
{
	const struct kafka_reader_opts opts = {
		.rk = kafka_fetch_lookup_handle(lane->fetch),
		.topic = topic_of(lane, stream),
		.partition = lane->partition,
		.if_lost = "lookup",
	};
	struct kafka_reader reader = { .rkt = NULL };
	enum err_code rc = kafka_reader_init(&reader, lane->kafka, &opts, err);

	if (rc != ERR_OK)
		return rc;
	kafka_reader_seek(&reader, offset);
	rc = kafka_reader_next(&reader, kafka_now_ms(lane->kafka) + LOOKUP_MS, out, err);
	kafka_reader_done(&reader);
	if (rc == ERR_OK && !*out)
		rc = err_set(err, ERR_TIMEOUT, "%s: record %lld was not given in time", opts.topic,
			(long long)offset);
	return rc;
}

static enum err_code lane_lookup(struct queue *queue, enum stream stream, int64_t offset,
	struct buf *bytes, struct record *out, struct err *err)
{
	struct kafka_lane *lane = kafka_lane_of(queue);
	struct lane_stream *s = &lane->streams[stream];
	const char *topic = topic_of(lane, stream);
	rd_kafka_message_t *message = NULL;
	int64_t first, end;
	enum err_code rc = kafka_watermarks(lane->kafka, topic, lane->partition,
		kafka_now_ms(lane->kafka) + LOOKUP_MS, &first, &end, err);

	if (rc != ERR_OK)
		return rc;
	if (offset < first || offset >= end)
		return not_there(topic, offset, err);
	take_seat(lane, s);
	rc = fetch_one(lane, stream, offset, &message, err);
	give_seat(lane, s);
	if (rc == ERR_OK && message->offset != offset)
		rc = not_there(topic, offset, err);
	if (rc == ERR_OK)
		rc = copy(message, bytes, out, err);
	if (message)
		rd_kafka_message_destroy(message);
	return rc;
}

/* ---- open and close ---- */

/* Completions first: they are the last thing that reaches into the lane from outside. */
static void lane_close(struct queue *queue)
{
	struct kafka_lane *lane = kafka_lane_of(queue);
	const int64_t deadline_ms =
		kafka_now_ms(lane->kafka) + lane->kafka->opts.delivery_timeout_ms;

	for (size_t i = 0; i < STREAM_COUNT; i++)
		kafka_sink_close(outputs_of(lane), &lane->outputs[i], deadline_ms);
	kafka_sink_close(outputs_of(lane), &lane->published, deadline_ms);
	kafka_journal_done(lane);
	for (size_t i = 0; i < STREAM_COUNT; i++)
		kafka_lane_read_free(&lane->streams[i]);
	kafka_fetch_close(lane->kafka, &lane->fetch);
	cond_done(&lane->changed);
	lock_done(&lane->lock);
	free(lane);
}

static const struct queue_ops lane_ops = {
	.name = "kafka",
	.append = lane_append,
	.publish = lane_publish,
	.room = lane_room,
	.read = kafka_lane_read,
	.release = kafka_lane_release,
	.wake = lane_wake,
	.stat = lane_stat,
	.events_bounds = lane_events_bounds,
	.lookup = lane_lookup,
	.done = lane_done,
	.drop_oldest = lane_drop_oldest,
	.journal_bounds = kafka_journal_bounds,
	.journal_seek = kafka_journal_seek,
	.follow = kafka_journal_follow,
	.journal = kafka_journal_append,
	.journal_look = kafka_journal_look,
	.journal_ask = kafka_journal_ask,
	.journal_stop = kafka_journal_stop,
	.close = lane_close,
};

static enum err_code open_readers(struct kafka_lane *lane, struct err *err)
{
	enum err_code rc = kafka_fetch_open(lane->kafka, &lane->fetch, err);

	for (size_t i = 0; i < STREAM_COUNT && rc == ERR_OK; i++) {
		const struct kafka_reader_opts opts = {
			.rk = kafka_fetch_handle(lane->fetch),
			.topic = topic_of(lane, (enum stream)i),
			.partition = lane->partition,
			.if_lost = i == STREAM_EVENTS ? "SOURCE_LOST" : "OUTPUT_LOST",
		};

		rc = kafka_reader_init(&lane->streams[i].reader, lane->kafka, &opts, err);
	}
	if (rc == ERR_OK)
		rc = kafka_journal_init(lane, err);
	return rc;
}

static void open_sinks(struct kafka_lane *lane)
{
	kafka_sink_open(&lane->outputs[STREAM_EVENTS], NULL, NULL);
	kafka_sink_open(&lane->outputs[STREAM_DLQ], dlq_done, lane);
	kafka_sink_open(&lane->outputs[STREAM_QUARANTINE], quarantine_done, lane);
	kafka_sink_open(&lane->published, published, lane);
	lane->published.tells_refusals = true;
	for (size_t i = 0; i < STREAM_COUNT; i++)
		lane->outputs[i].metric_appends =
			i == STREAM_EVENTS ? NULL
					   : metric_series(METRIC_QUEUE_APPENDS,
						     stream_name((enum stream)i), NULL);
}

enum err_code queue_kafka_lane(struct kafka *kafka, const struct kafka_lane_opts *opts,
	struct queue **out, struct err *err)
{
	struct kafka_lane *lane = calloc(1, sizeof(*lane));
	struct queue *queue;
	enum err_code rc;

	assert(kafka->opts.works && opts->partition >= 0 && opts->outputs_done);
	if (!lane)
		return err_set(err, ERR_NOMEM, "no memory for a lane");
	lane->base.ops = &lane_ops;
	lane->kafka = kafka;
	lane->partition = opts->partition;
	lane->outputs_done = opts->outputs_done;
	lane->outputs_ctx = opts->outputs_ctx;
	lock_init(&lane->lock);
	cond_init(&lane->changed);
	open_sinks(lane);
	rc = open_readers(lane, err);
	if (rc != ERR_OK) {
		queue = &lane->base;
		queue_close(&queue);
		return rc;
	}
	*out = &lane->base;
	return ERR_OK;
}
