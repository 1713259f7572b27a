/* kafka_reader.c - one partition of one topic, read in order from any offset.
 *
 *   stopped --next: start at the position--> running --record, record, ...--> running
 *      ^                                        | position lost, damage, a seek elsewhere
 *      +----------------------------------------+
 *
 * Each start has a queue of its own: what an earlier one left behind goes with its queue. A start
 * needs no group and no assignment, so lanes come and go without each other's notice. The library
 * says only once that a position is outside the log and is silent from then on; the broker is asked
 * then, because that word may belong to a position that was left since. */
#include "kafka_reader.h"

#define WAIT_MS 1000     /* no longer in one go: a wake-up can be lost (see cond_wait()) */
#define ASK_MS 1000      /* the broker, about the bounds of a partition */
#define METADATA_MS 1000 /* to find the leader at a start; later the library looks by itself */
#define TRIES_MAX 5      /* starts at one offset before what is found there is believed */

enum err_code kafka_reader_init(struct kafka_reader *reader, struct kafka *kafka,
	const struct kafka_reader_opts *opts, struct err *err)
{
	*reader = (struct kafka_reader){ .kafka = kafka, .opts = *opts };
	/* The default settings of topics come from the handle. */
	reader->rkt = rd_kafka_topic_new(opts->rk, opts->topic, NULL);
	if (!reader->rkt)
		return kafka_err(err, rd_kafka_last_error(), opts->topic);
	lock_init(&reader->lock);
	return ERR_OK;
}

void kafka_reader_done(struct kafka_reader *reader)
{
	if (!reader->rkt)
		return;
	kafka_reader_stop(reader);
	rd_kafka_topic_destroy(reader->rkt);
	reader->rkt = NULL;
	lock_done(&reader->lock);
}

/* ---- start and stop ---- */

/* A leader that is not known is looked for once a second only. */
static void find_leader(struct kafka_reader *reader)
{
	const struct rd_kafka_metadata *metadata;
	int64_t first, end;

	if (kafka_reader_seen(reader, &first, &end))
		return;
	if (rd_kafka_metadata(reader->opts.rk, 0, reader->rkt, &metadata, METADATA_MS) ==
		RD_KAFKA_RESP_ERR_NO_ERROR)
		rd_kafka_metadata_destroy(metadata);
}

static enum err_code start(struct kafka_reader *reader, struct err *err)
{
	rd_kafka_queue_t *queue;

	if (reader->queue)
		return ERR_OK;
	find_leader(reader);
	queue = rd_kafka_queue_new(reader->opts.rk);
	if (!queue)
		return err_set(err, ERR_NOMEM, "no memory for a reader");
	if (rd_kafka_consume_start_queue(
		    reader->rkt, reader->opts.partition, reader->next, queue) != 0) {
		rd_kafka_queue_destroy(queue);
		return err_set(err, ERR_UNREACHABLE, "%s [%d]: %s", reader->opts.topic,
			reader->opts.partition, rd_kafka_err2str(rd_kafka_last_error()));
	}
	reader->tries++;
	lock_take(&reader->lock);
	reader->queue = queue;
	lock_give(&reader->lock);
	return ERR_OK;
}

void kafka_reader_stop(struct kafka_reader *reader)
{
	rd_kafka_queue_t *queue;

	lock_take(&reader->lock);
	queue = reader->queue;
	reader->queue = NULL;
	lock_give(&reader->lock);
	if (!queue)
		return;
	(void)rd_kafka_consume_stop(reader->rkt, reader->opts.partition);
	rd_kafka_queue_destroy(queue);
}

void kafka_reader_seek(struct kafka_reader *reader, int64_t offset)
{
	if (offset == reader->next)
		return;
	kafka_reader_stop(reader);
	reader->next = offset;
	reader->tries = 0;
}

void kafka_reader_wake(struct kafka_reader *reader)
{
	lock_take(&reader->lock);
	reader->woken = true;
	if (reader->queue)
		rd_kafka_queue_yield(reader->queue);
	lock_give(&reader->lock);
}

static bool take_wake(struct kafka_reader *reader)
{
	bool woken;

	lock_take(&reader->lock);
	woken = reader->woken;
	reader->woken = false;
	lock_give(&reader->lock);
	return woken;
}

/* ---- where the partition begins and ends ---- */

bool kafka_reader_seen(struct kafka_reader *reader, int64_t *out_first, int64_t *out_end)
{
	int64_t first = RD_KAFKA_OFFSET_INVALID, end = RD_KAFKA_OFFSET_INVALID;

	if (rd_kafka_get_watermark_offsets(reader->opts.rk, reader->opts.topic,
		    reader->opts.partition, &first, &end) != RD_KAFKA_RESP_ERR_NO_ERROR ||
		first < 0 || end < first)
		return false;
	*out_first = first;
	*out_end = end;
	return true;
}

/* ---- what is not a record ---- */

/* "Outside the log", says the library. Where the broker agrees, records were lost; otherwise the
 * next start finds its place. */
static enum err_code lost(struct kafka_reader *reader, struct err *err)
{
	const char *topic = reader->opts.topic;
	int64_t first, end;
	enum err_code rc = kafka_watermarks(reader->kafka, topic, reader->opts.partition,
		kafka_now_ms(reader->kafka) + ASK_MS, &first, &end, err);

	if (rc != ERR_OK)
		return rc;
	if (reader->next >= first && reader->next <= end)
		return reader->tries < TRIES_MAX
			       ? ERR_OK
			       : err_set(err, ERR_UNREACHABLE,
					 "%s [%d]: record %lld is there but is not given", topic,
					 reader->opts.partition, (long long)reader->next);
	if (reader->next > end)
		return err_set(err, ERR_CORRUPT,
			"%s: record %lld of %s [%d] is wanted next, but the topic ends at %lld: it "
			"was deleted and made anew, or lost its end",
			reader->opts.if_lost, (long long)reader->next, topic,
			reader->opts.partition, (long long)end);
	return err_set(err, ERR_CORRUPT,
		"%s: record %lld of %s [%d] is wanted next, but the topic holds %lld to %lld: "
		"retention dropped what was not read",
		reader->opts.if_lost, (long long)reader->next, topic, reader->opts.partition,
		(long long)first, (long long)end);
}

/* The library passes over a set of records that it cannot read. Damage on the way passes. */
static enum err_code damaged(struct kafka_reader *reader, const char *what, struct err *err)
{
	return err_set(err, reader->tries < TRIES_MAX ? ERR_IO : ERR_CORRUPT,
		"%s [%d]: what stands at record %lld cannot be read: %s", reader->opts.topic,
		reader->opts.partition, (long long)reader->next, what);
}

/* ERR_OK: read on. */
static enum err_code trouble(
	struct kafka_reader *reader, const rd_kafka_message_t *message, struct err *err)
{
	switch ((int)message->err) {
	case RD_KAFKA_RESP_ERR__PARTITION_EOF: return ERR_OK;
	case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
		kafka_reader_stop(reader);
		return lost(reader, err);
	case RD_KAFKA_RESP_ERR__BAD_MSG:
	case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
	case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
	case RD_KAFKA_RESP_ERR__UNDERFLOW:
	case RD_KAFKA_RESP_ERR_INVALID_MSG:
	case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		kafka_reader_stop(reader);
		return damaged(reader, rd_kafka_message_errstr(message), err);
	default: break;
	}
	return err_set(err, ERR_UNREACHABLE, "%s [%d]: %s", reader->opts.topic,
		reader->opts.partition, rd_kafka_message_errstr(message));
}

/* ---- reading ---- */

/* ERR_OK with *take: this is the record. */
static enum err_code judge(
	struct kafka_reader *reader, const rd_kafka_message_t *message, bool *take, struct err *err)
{
	*take = false;
	if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
		return trouble(reader, message, err);
	if (message->offset < reader->next)
		return ERR_OK;
	if (reader->opts.dense && message->offset > reader->next) {
		kafka_reader_stop(reader);
		return err_set(err, reader->tries < TRIES_MAX ? ERR_IO : ERR_CORRUPT,
			"%s: %s [%d] has no record %lld, the next is %lld", reader->opts.if_lost,
			reader->opts.topic, reader->opts.partition, (long long)reader->next,
			(long long)message->offset);
	}
	*take = true;
	return ERR_OK;
}

/* One message; NULL: nothing yet. *out_over: and the wait is over. What is there already comes
 * before a wake. */
static rd_kafka_message_t *consume(struct kafka_reader *reader, int64_t deadline_ms, bool *out_over)
{
	rd_kafka_message_t *message = rd_kafka_consume_queue(reader->queue, 0);
	int wait_ms;

	*out_over = false;
	if (message)
		return message;
	wait_ms = deadline_ms == 0 ? 0 : kafka_left_ms(reader->kafka, deadline_ms);
	wait_ms = wait_ms < WAIT_MS ? wait_ms : WAIT_MS;
	*out_over = wait_ms == 0 || take_wake(reader);
	return *out_over ? NULL : rd_kafka_consume_queue(reader->queue, wait_ms);
}

enum err_code kafka_reader_next(
	struct kafka_reader *reader, int64_t deadline_ms, rd_kafka_message_t **out, struct err *err)
{
	enum err_code rc = ERR_OK;
	bool take = false, over = false;

	*out = NULL;
	while (rc == ERR_OK && !take && !over) {
		rd_kafka_message_t *message;

		rc = start(reader, err);
		if (rc != ERR_OK)
			break;
		message = consume(reader, deadline_ms, &over);
		if (!message)
			continue;
		rc = judge(reader, message, &take, err);
		if (take) {
			reader->next = message->offset + 1;
			reader->tries = 1;
			*out = message;
		} else {
			rd_kafka_message_destroy(message);
		}
	}
	return rc;
}
