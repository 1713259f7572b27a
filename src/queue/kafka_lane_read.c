/* kafka_lane_read.c - batches of records of a stream, kept until the caller has passed them.
 *
 *     passed | kept (fetched, in batches or not) | in the library's queue | at the broker
 *            from                            reader.next
 *
 * A caller that took a part of a batch asks for the rest again: that costs nothing as long as it
 * does not go back behind the offset that it asked for last. Deliberately not here: fetching
 * (kafka_reader.c). */
#include "kafka_lane.h"

#include <assert.h>
#include <stdlib.h>

struct lane_kept {
	rd_kafka_message_t *message;
	unsigned refs;
	struct record record;
	uint8_t block[]; /* of headers */
};

static void unref(struct lane_kept *kept)
{
	assert(kept->refs > 0);
	if (--kept->refs > 0)
		return;
	rd_kafka_message_destroy(kept->message);
	free(kept);
}

/* Takes the message, whatever the result. */
static struct lane_kept *new_kept(rd_kafka_message_t *message)
{
	size_t size = 0;
	const bool readable = kafka_block_size(message, &size);
	struct lane_kept *kept = malloc(sizeof(*kept) + (readable ? size : 0));

	if (!kept) {
		rd_kafka_message_destroy(message);
		return NULL;
	}
	kept->message = message;
	kept->refs = 1;
	kafka_record(message, readable ? kept->block : NULL, &kept->record);
	return kept;
}

static size_t size_of(const struct lane_kept *kept)
{
	return kept->record.key.len + kept->record.headers.len + kept->record.body.len;
}

static void drop_first(struct lane_stream *s, size_t count)
{
	for (size_t i = 0; i < count; i++)
		unref(s->slots[i].kept);
	s->count -= count;
	if (count > 0)
		memmove(s->slots, s->slots + count, s->count * sizeof(s->slots[0]));
}

static void seek(struct lane_stream *s, int64_t offset)
{
	size_t passed = 0;

	if (offset < s->from || offset > s->reader.next) {
		drop_first(s, s->count);
		kafka_reader_seek(&s->reader, offset);
	}
	while (passed < s->count && s->slots[passed].kept->record.offset < offset)
		passed++;
	drop_first(s, passed);
	s->from = offset;
}

static enum err_code keep(struct lane_stream *s, rd_kafka_message_t *message, struct err *err)
{
	struct lane_kept *kept = new_kept(message);

	if (kept && s->count == s->cap) {
		const size_t cap = s->cap ? s->cap * 2 : 64;
		struct lane_slot *grown = reallocarray(s->slots, cap, sizeof(s->slots[0]));

		if (grown) {
			s->slots = grown;
			s->cap = cap;
		} else {
			unref(kept);
			kept = NULL;
		}
	}
	if (!kept) {
		/* It is fetched again. */
		kafka_reader_seek(&s->reader,
			s->count > 0 ? s->slots[s->count - 1].kept->record.offset + 1 : s->from);
		return err_set(err, ERR_NOMEM, "no memory for a record");
	}
	s->slots[s->count++].kept = kept;
	return ERR_OK;
}

/* How many of those that are kept make a batch. *out_full: no more would fit. */
static size_t fits(const struct lane_stream *s, const struct queue_read_args *args, bool *out_full)
{
	size_t count = 0, bytes = 0;

	while (count < s->count && count < args->max && (count == 0 || bytes < args->max_bytes))
		bytes += size_of(s->slots[count++].kept);
	*out_full = count == args->max || bytes >= args->max_bytes;
	return count;
}

/* Fetches until a batch is full, or nothing more is there; waits for the first record alone. */
static enum err_code fill(
	struct lane_stream *s, const struct queue_read_args *args, struct err *err)
{
	bool full;
	size_t bytes = 0;
	size_t count = fits(s, args, &full);
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < count; i++)
		bytes += size_of(s->slots[i].kept);
	while (!full && rc == ERR_OK) {
		rd_kafka_message_t *message;

		rc = kafka_reader_next(
			&s->reader, s->count == 0 ? args->deadline_ms : 0, &message, err);
		if (rc != ERR_OK || !message)
			break;
		rc = keep(s, message, err);
		if (rc == ERR_OK) {
			bytes += size_of(s->slots[s->count - 1].kept);
			full = s->count >= args->max || bytes >= args->max_bytes;
		}
	}
	/* What is here already is good; the next call meets the failure again. */
	if (rc != ERR_OK && s->count > 0) {
		if (err)
			err_clear(err);
		rc = ERR_OK;
	}
	return rc;
}

/* What a batch holds: the records, then whose they are. */
struct held {
	size_t count;
	struct lane_slot *slots;
	struct record records[];
};

static enum err_code hand_out(
	struct lane_stream *s, size_t count, struct queue_batch *out, struct err *err)
{
	const size_t records = count * sizeof(struct record);
	struct held *held = malloc(sizeof(*held) + records + count * sizeof(held->slots[0]));

	if (!held)
		return err_set(err, ERR_NOMEM, "no memory for a batch of records");
	held->count = count;
	held->slots = (struct lane_slot *)(void *)(held->records + count);
	for (size_t i = 0; i < count; i++) {
		struct lane_kept *kept = s->slots[i].kept;

		kept->refs++;
		held->slots[i].kept = kept;
		held->records[i] = kept->record;
	}
	*out = (struct queue_batch){ held->records, count, held };
	return ERR_OK;
}

/* Where this batch begins and when that was, for the age of what waits. */
static void note(struct kafka_lane *lane, struct lane_stream *s, const struct record *first)
{
	const size_t last = (s->time_count + LANE_TIMES - 1) % LANE_TIMES;

	lock_take(&lane->lock);
	if (s->end < s->reader.next)
		s->end = s->reader.next;
	if (s->time_count == 0 || s->times[last].offset < first->offset) {
		s->times[s->time_count % LANE_TIMES] =
			(struct lane_time){ first->offset, first->time_ms };
		s->time_count++;
	}
	lock_give(&lane->lock);
}

enum err_code kafka_lane_read(struct queue *queue, enum stream stream,
	const struct queue_read_args *args, struct queue_batch *out, struct err *err)
{
	struct kafka_lane *lane = kafka_lane_of(queue);
	struct lane_stream *s = &lane->streams[stream];
	enum err_code rc;
	bool full;

	if (args->offset < 0)
		return err_set(err, ERR_CORRUPT, "%s: there is no record %lld", stream_name(stream),
			(long long)args->offset);
	seek(s, args->offset);
	rc = fill(s, args, err);
	if (rc == ERR_OK && s->count > 0)
		rc = hand_out(s, fits(s, args, &full), out, err);
	if (rc == ERR_OK && out->count > 0)
		note(lane, s, &out->records[0]);
	return rc;
}

void kafka_lane_release(struct queue *queue, struct queue_batch *batch)
{
	struct held *held = batch->held;

	(void)queue;
	for (size_t i = 0; i < held->count; i++)
		unref(held->slots[i].kept);
	free(held);
}

void kafka_lane_read_stop(struct lane_stream *s)
{
	drop_first(s, s->count);
	kafka_reader_stop(&s->reader);
	kafka_reader_seek(&s->reader, s->from);
}

void kafka_lane_read_free(struct lane_stream *s)
{
	drop_first(s, s->count);
	kafka_reader_done(&s->reader);
	free(s->slots);
	s->slots = NULL;
}
