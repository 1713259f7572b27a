/* kafka_reader.h - one partition of one topic, read in order from any offset.
 *
 * A reader has a queue of the library's of its own, so that each lane's thread sees its own records
 * alone although one consumer handle fetches for all. What cannot be believed is never passed over:
 * a position outside the log, a damaged set of records, or a gap where none may be, is an error.
 *
 * Owns:    the handle and the topic's name are the caller's and outlive the reader.
 * Threads: one thread reads; kafka_reader_wake() and kafka_reader_seen() from any. */
#pragma once

#include "kafka_priv.h"

struct kafka_reader_opts {
	rd_kafka_t *rk; /* kind DATA */
	const char *topic;
	int32_t partition;
	bool dense;          /* every offset must be there: nothing compacts this topic */
	const char *if_lost; /* what the text of a lost position begins with */
};
struct kafka_reader {
	struct kafka *kafka;
	struct kafka_reader_opts opts;
	rd_kafka_topic_t *rkt;
	int64_t next;   /* the offset that is wanted next */
	unsigned tries; /* starts at this offset that gave no record */
	struct lock lock;
	rd_kafka_queue_t *queue; /* guarded by lock; NULL: not started */
	bool woken;              /* guarded by lock */
};
MUST_CHECK enum err_code kafka_reader_init(struct kafka_reader *reader, struct kafka *kafka,
	const struct kafka_reader_opts *opts, struct err *err);
/* Stops it. Also of one that was never initialised (all zero). */
void kafka_reader_done(struct kafka_reader *reader);
/* The next record is the one at this offset. */
void kafka_reader_seek(struct kafka_reader *reader, int64_t offset);
/* Fetch nothing more, and drop what was fetched; the position stays. */
void kafka_reader_stop(struct kafka_reader *reader);
/* The record at the position, or (not dense) the first behind it; the position moves behind it.
 * *out is NULL when deadline_ms (monotonic; 0: do not wait) or a wake came first. The caller
 * destroys the message. ERR_CORRUPT (the position is not in the log, a record is damaged),
 * ERR_IO, ERR_UNREACHABLE (try again). */
MUST_CHECK enum err_code kafka_reader_next(struct kafka_reader *reader, int64_t deadline_ms,
	rd_kafka_message_t **out, struct err *err);
/* A reader that waits returns; when none waits, the next wait ends at once. */
void kafka_reader_wake(struct kafka_reader *reader);
/* First and end of the partition as the last fetch told them. False: none has yet. */
bool kafka_reader_seen(struct kafka_reader *reader, int64_t *out_first, int64_t *out_end);
