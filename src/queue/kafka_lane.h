/* kafka_lane.h - what the files of a lane share: the working half of one partition.
 *
 *   kafka_fetch.c     the consumer handle behind all lanes, its thread; one record by its offset
 *   kafka_reader.c    one partition of one topic, in order
 *   kafka_lane.c      the table of functions; appends to the outputs; what is known of the streams
 *   kafka_lane_read.c batches of records, kept until the caller has passed them
 *   kafka_journal.c   the journal: follow, append and read back
 *
 * A process has at most one lane for each partition: the library fetches a partition once a handle.
 *
 * Lock order: kafka.lock, lane.lock, a reader's lock; a producer's lock is never taken under them.
 */
#pragma once

#include "kafka_reader.h"

/* ---- the consumer handles (kafka_fetch.c) ------------------------------------------------------
 */

struct kafka_fetch;
/* The same for all lanes of a process: made for the first, gone with the last. */
MUST_CHECK enum err_code kafka_fetch_open(
	struct kafka *kafka, struct kafka_fetch **out, struct err *err);
void kafka_fetch_close(struct kafka *kafka, struct kafka_fetch **fetch);
/* For readers. */
rd_kafka_t *kafka_fetch_handle(struct kafka_fetch *fetch);
/* For single records, apart from the readers of the same partition. */
rd_kafka_t *kafka_fetch_lookup_handle(struct kafka_fetch *fetch);

/* ---- a stream of a lane ------------------------------------------------------------------------
 */

/* A record that was fetched. Shared by the batches that hold it and by the stream that may be asked
 * for it again; all on the owner thread. */
struct lane_kept;
struct lane_slot {
	struct lane_kept *kept;
};

#define LANE_TIMES 64
struct lane_time {
	int64_t offset, time_ms;
};

struct lane_stream {
	struct kafka_reader reader;
	struct lane_slot *slots; /* in order: what was fetched and is not passed */
	size_t count, cap;
	int64_t from; /* kept and reader together give everything from here on */
	/* The lane's, guarded by its lock. */
	int64_t first, end, position;
	int64_t ask_ms; /* monotonic: the broker is not asked before */
	int64_t appended;
	bool looking;                       /* a lookup is under way */
	struct lane_time times[LANE_TIMES]; /* a ring: where batches began, and when that was */
	size_t time_count;
};

/* ---- the journal -------------------------------------------------------------------------------
 */

#define LANE_COMMANDS 256 /* read while an append was waited for; more of them are not heard */
enum lane_record { LANE_IGNORED, LANE_VALID, LANE_COMMAND };
struct lane_journal {
	struct kafka_reader reader;
	struct kafka_sink sink, asked;
	struct journal_state state;       /* the fold of all that was read */
	bool unjudged;                    /* the state is not known */
	rd_kafka_message_t *given, *held; /* the last one given; read, and to be given next */
	rd_kafka_message_t *commands[LANE_COMMANDS]; /* read, and to be given before what is held */
	size_t command_count;
	struct err broken; /* once told, told always */
	struct metric *ignored;
	/* The lane's, guarded by its lock. */
	bool stopped, failed; /* failed: an append did not get there */
};

struct kafka_lane {
	struct queue base;
	struct kafka *kafka;
	struct kafka_fetch *fetch;
	int32_t partition;
	struct kafka_sink outputs[STREAM_COUNT], published;
	queue_done_fn *outputs_done;
	void *outputs_ctx;
	struct lane_stream streams[STREAM_COUNT];
	struct lane_journal journal;
	struct lock lock;
	struct cond changed; /* looking, stopped */
};
static inline struct kafka_lane *kafka_lane_of(struct queue *queue)
{
	return container_of(queue, struct kafka_lane, base);
}

/* kafka_lane_read.c */
enum err_code kafka_lane_read(struct queue *queue, enum stream stream,
	const struct queue_read_args *args, struct queue_batch *out, struct err *err);
void kafka_lane_release(struct queue *queue, struct queue_batch *batch);
/* Fetch no more, and forget what is kept (not what batches hold). */
void kafka_lane_read_stop(struct lane_stream *stream);
void kafka_lane_read_free(struct lane_stream *stream);

/* kafka_journal.c */
enum err_code kafka_journal_init(struct kafka_lane *lane, struct err *err);
void kafka_journal_done(struct kafka_lane *lane);
enum err_code kafka_journal_bounds(struct queue *queue, int64_t deadline_ms, int64_t *out_first,
	int64_t *out_end, struct err *err);
enum err_code kafka_journal_seek(
	struct queue *queue, int64_t offset, const struct journal_state *state, struct err *err);
enum err_code kafka_journal_follow(
	struct queue *queue, int64_t deadline_ms, struct journal_read *out, struct err *err);
enum err_code kafka_journal_append(
	struct queue *queue, struct slice batch, struct journal_read *out, struct err *err);
enum err_code kafka_journal_look(struct queue *queue, struct journal_read *out, struct err *err);
enum err_code kafka_journal_ask(struct queue *queue, struct slice command, struct err *err);
void kafka_journal_stop(struct queue *queue);

/* kafka_group.c: pass a position on to the group that this process is in, if it is in one. */
void kafka_group_hint(struct kafka *kafka, int32_t partition, int64_t position);
