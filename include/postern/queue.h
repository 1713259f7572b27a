/* queue.h - where events are durable: append with a completion for each record, read, position,
 * journal.
 *
 * One interface, backends behind it: mem (tests), embedded (a segmented log of files on this
 * machine). A queue has named streams. `events` is written by the ingress half and read by the
 * worker half, which may be two processes over one directory; `dlq` and `quarantine` are written by
 * the worker half.
 *
 * Owns:    appended records belong to the appender, their bytes stay untouched until the
 *          completion. A read batch belongs to the queue until queue_release(); several may be
 *          held at a time.
 * Threads: queue_append() from any thread; completions on a thread of the backend, in batches, in
 *          the order of their offsets; queue_read/release/done/journal on the worker's owner
 *          thread; the rest from any.
 * Errors:  ERR_FULL, ERR_IO (retry); ERR_CORRUPT (stop; the text names file, offset and what to
 *          do); ERR_LOCKED (another process writes or reads this half); ERR_LIMIT (a record that
 *          fits nowhere); ERR_STOPPED (closing, or a stream that this process does not open). */
#pragma once

#include "postern/clock.h"
#include "postern/event.h"
#include "postern/journal.h"

enum stream { STREAM_EVENTS, STREAM_DLQ, STREAM_QUARANTINE, STREAM_COUNT };
const char *stream_name(enum stream stream);

struct queue;

/* Called once for each group that became durable (or did not): a list in append order, each record
 * with result, offset and time_ms filled in. May run on the backend's thread: hand over and return.
 */
typedef void queue_done_fn(void *ctx, struct record *list);

struct stream_limits {
	int64_t max_bytes, retention_ms;
};
struct queue_opts {
	const char *dir;    /* embedded: the lane's directory, data_dir/main */
	bool writes_events; /* the ingress half: holds the events log's writer */
	bool works;         /* the worker half: reads events, writes dlq and quarantine */
	bool read_only;     /* commands without a daemon: nothing is created, locked or repaired */
	int64_t segment_bytes, reserve_bytes;
	struct stream_limits limits[STREAM_COUNT];
	queue_done_fn *events_done;  /* completions of appends to events */
	queue_done_fn *outputs_done; /* completions of appends to dlq and quarantine */
	void *events_ctx, *outputs_ctx;
	const struct clock *clock;
};
/* Backends are named by floor 4 alone. */
MUST_CHECK enum err_code queue_mem_open(
	const struct queue_opts *opts, struct queue **out, struct err *err);
MUST_CHECK enum err_code queue_embedded_open(
	const struct queue_opts *opts, struct queue **out, struct err *err);
/* Completes everything that was appended (durable or not), then frees. */
void queue_close(struct queue **queue);

/* Take a list (linked by next) of records. On ERR_OK each record completes exactly once. On any
 * error nothing was taken and no completion comes: ERR_FULL, ERR_IO, ERR_STOPPED, or ERR_LIMIT
 * (key, headers or the whole of a record are too long for any segment). Never blocks on the disk.
 */
MUST_CHECK enum err_code queue_append(
	struct queue *queue, enum stream stream, struct record *list, struct err *err);
/* Publish one record to a topic of the user's, which is no stream of this queue: completes as an
 * output does, by the record's key in one order only if each waits for the one before. ERR_LIMIT,
 * also as its result: the topic takes no record of that size. ERR_UNSUPPORTED: there are no topics
 * here. */
MUST_CHECK enum err_code queue_publish(
	struct queue *queue, const char *topic, struct record *record, struct err *err);
/* Could a record of this size (key, headers and body) be made durable now? ERR_OK, or why not (for
 * readiness). The first open waits for the first segment; on a very slow disk there may be none
 * yet: ERR_FULL, though appends are taken and complete as soon as there is one. */
MUST_CHECK enum err_code queue_room(
	struct queue *queue, enum stream stream, size_t bytes, struct err *err);

/* Durable records from this offset on, at most max and about max_bytes (at least one), waiting
 * until deadline_ms (monotonic; 0: do not wait) for the first. No record: ERR_OK with count 0. An
 * offset below the first or beyond the end is ERR_CORRUPT. */
struct queue_batch {
	struct record *records; /* array */
	size_t count;
	void *held; /* the backend's */
};
MUST_CHECK enum err_code queue_read(struct queue *queue, enum stream stream, int64_t offset,
	size_t max, size_t max_bytes, int64_t deadline_ms, struct queue_batch *out,
	struct err *err);
void queue_release(struct queue *queue, struct queue_batch *batch);
/* Make a reader that waits return (any thread). When none waits, the next wait ends at once. For
 * STREAM_EVENTS also a queue_follow() that waits: it gives nothing then. */
void queue_wake(struct queue *queue, enum stream stream);

struct stream_stat {
	int64_t first, end;      /* offsets: first kept, next to be written (durable) */
	int64_t position;        /* as told by queue_done() */
	int64_t bytes;           /* on disk */
	int64_t syncs, appended; /* since open, by this process */
	int64_t oldest_ms;       /* time of the record at position; 0: none waits */
};
/* All 0 for a stream that this process does not open (dlq and quarantine in a separate ingress). */
void queue_stat(struct queue *queue, enum stream stream, struct stream_stat *out);
/* Where the events begin and end, as was said at most max_age_ms ago (the beginning: two seconds
 * more); a broker that does not answer is ERR_UNREACHABLE, in a second at most. Any thread. */
MUST_CHECK enum err_code queue_events_bounds(struct queue *queue, int64_t max_age_ms,
	int64_t *out_first, int64_t *out_end, struct err *err);
/* One record by offset, copied: header block, key and body are put into bytes, *out points there.
 * Opens nothing for long. ERR_NOT_FOUND when retention has dropped it. Any thread. */
MUST_CHECK enum err_code queue_lookup(struct queue *queue, enum stream stream, int64_t offset,
	struct buf *bytes, struct record *out, struct err *err);

/* Everything below position has ended: retention may drop it (events: by age and size below the
 * position only). Durable with the next sync of that small file; it is a hint, the store has the
 * truth. For dlq and quarantine: the first record that is still wanted. */
MUST_CHECK enum err_code queue_done(
	struct queue *queue, enum stream stream, int64_t position, struct err *err);
/* Quarantine, when full: drop the oldest segment whatever its records; *out_first is the first
 * offset that is left. ERR_FULL: there is no older one than the one that is written. Blocks for the
 * disk. */
MUST_CHECK enum err_code queue_drop_oldest(
	struct queue *queue, enum stream stream, int64_t *out_first, struct err *err);

/* ---- the journal of state changes --------------------------------------------------------------
 *
 * Embedded and mem keep none: the store's commit is the commit, queue_journal() gives the same
 * bytes back at once, and there is nothing to follow. On Kafka the journal is the truth, a lane's
 * order of records decides who owns it, and the store is what was folded from it. */

/* Is the journal kept, so that the store's commit may lag behind? */
bool queue_keeps_journal(const struct queue *queue);
/* Where the journal begins and ends now. ERR_OK with 0, 0 where none is kept. */
MUST_CHECK enum err_code queue_journal_bounds(struct queue *queue, int64_t deadline_ms,
	int64_t *out_first, int64_t *out_end, struct err *err);
/* Follow from this offset on; state: the fold of everything before it. NULL: that is not known, and
 * queue_follow() gives every record, valid or not, so that a checkpoint can be looked for. */
MUST_CHECK enum err_code queue_journal_seek(
	struct queue *queue, int64_t offset, const struct journal_state *state, struct err *err);
/* The next valid record, whoever wrote it, or a command (journal.h: never valid, and given all the
 * same); what is not valid otherwise is counted and passed over. bytes
 * empty when deadline_ms (monotonic) or a wake came first. The bytes live until the next call of
 * this or of queue_journal(). ERR_CORRUPT: the journal lost records from here on, or holds one that
 * cannot be read (told again until a seek); ERR_STOPPED; anything else may pass: call again. */
struct journal_read {
	struct slice bytes;
	int64_t offset, time_ms; /* of the record; next_offset: behind everything read so far */
	int64_t next_offset;
};
MUST_CHECK enum err_code queue_follow(
	struct queue *queue, int64_t deadline_ms, struct journal_read *out, struct err *err);
/* Append a record (claim, batch or release) and wait until it is read back as valid, however long
 * Kafka is away. ERR_FENCED: another valid record came first; queue_follow() gives it next. That is
 * the end of a batch. A claim may still become valid behind the last batches of the owner before:
 * queue_follow() gives it in its turn, and who finds its own writer in it owns the lane; nothing
 * comes when it lost. ERR_STOPPED: queue_journal_stop() (queue_wake() does not do it). */
MUST_CHECK enum err_code queue_journal(
	struct queue *queue, struct slice batch, struct journal_read *out, struct err *err);
/* For the owner between its own records: the next command that stands in the journal, without
 * waiting; bytes empty: there is none. They live as those of queue_follow(), which gives the ones
 * that were not taken here. ERR_FENCED as of queue_journal(): the owner is replaced. */
MUST_CHECK enum err_code queue_journal_look(
	struct queue *queue, struct journal_read *out, struct err *err);
/* Append a command, from any thread. It gets there as soon as Kafka is there; nobody waits. */
MUST_CHECK enum err_code queue_journal_ask(
	struct queue *queue, struct slice command, struct err *err);
/* From any thread, for good: queue_follow() and queue_journal() return ERR_STOPPED from now on. */
void queue_journal_stop(struct queue *queue);
