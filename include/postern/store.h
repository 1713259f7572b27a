/* store.h - what must be remembered: ledger, replay index, versions, parked events, position,
 * outputs, and the index of dead and quarantined records.
 *
 * State changes come as items of one journal batch. store_stage() makes an item visible to reads at
 * once; store_apply() says that the batch was read back as valid; store_commit() writes all that is
 * applied in one durable transaction, and may be tried again when it fails; store_drop() forgets
 * what was staged and not applied. Reads see through all of them. Embedded, the store is the truth:
 * missing beside a log that is not empty, or corrupt, it stops the program.
 *
 * Ledger: entries of a commit are appended as chunks; a table of fingerprints answers for the
 * current bucket, sealed buckets are sorted chunks behind a Bloom filter, whole buckets expire.
 *
 * Owns:    results are copied into the caller's structs and buffers.
 * Threads: the owner thread for everything but store_view_*() and store_route_name(), which other
 *          threads use too; another process opens the store read_only.
 * Errors:  ERR_FULL (map, ledger or disk full; retry), ERR_IO (retry), ERR_CORRUPT (stop).
 *          ERR_NOT_FOUND is an answer: it leaves err as it is. */
#pragma once

#include "postern/clock.h"
#include "postern/journal.h"

struct store;
/* The log whose journal the store is folded from: what is folded from another one is no use. */
struct store_log {
	const char *cluster; /* at most 255 bytes */
	uint32_t generation, partitions;
};
struct store_opts {
	const char *dir; /* lmdb: data_dir/main/state */
	bool must_exist; /* the log is not empty: an absent store is ERR_CORRUPT */
	bool read_only;  /* a command without a daemon: for store_view_*() alone, all else is empty
			  */
	int64_t dedupe_ms, ledger_max_bytes;
	int64_t map_bytes; /* 0: the default; a test's small map grows from here */
	const struct clock *clock;
	/* NULL: the store is the truth. Otherwise the journal is: a commit may be lost with the
	 * power, though never a part of one, and a store of another log is ERR_CORRUPT, like any
	 * that cannot be believed (store_lmdb_set_aside(), open again, fold again). */
	const struct store_log *log;
};
MUST_CHECK enum err_code store_mem_open(
	const struct store_opts *opts, struct store **out, struct err *err);
MUST_CHECK enum err_code store_lmdb_open(
	const struct store_opts *opts, struct store **out, struct err *err);
void store_close(struct store **store);
/* Of a store whose truth is a journal: rename the directory (closed, or never used again) to
 * DIR.bad-TIME, so that it can be looked at and a new one takes its place. The last one that was
 * set aside before goes. ERR_OK too when there is no directory. */
MUST_CHECK enum err_code store_lmdb_set_aside(const char *dir, int64_t wall_ms, struct err *err);

/* The fold state, as committed: where work goes on. released: the last owner stopped cleanly. */
struct store_state {
	struct journal_state journal;
	int64_t next_offset;
	/* Where a journal is kept: behind the last record that is folded; and the last base. */
	int64_t journal_next, base_offset;
	int64_t began; /* where the fold began; 0: with the first record */
};
void store_state(struct store *store, struct store_state *out);
/* The same as applied, committed or not. */
void store_applied(struct store *store, struct store_state *out);
/* How many changes are applied and not committed, and about their bytes. 0 while only the state
 * itself has moved. */
size_t store_uncommitted(const struct store *store, size_t *out_bytes);

/* Route names get small numbers, for the ledger; a new name is durable with the next commit. "" is
 * 0. */
MUST_CHECK enum err_code store_route(
	struct store *store, const char *name, uint16_t *out, struct err *err);
/* Where a journal is kept numbers are given by ITEM_ROUTE alone. ERR_NOT_FOUND: *out is the number
 * that is free. */
MUST_CHECK enum err_code store_route_find(struct store *store, const char *name, uint16_t *out);
/* "" for an unknown number. Any thread; lives as long as the store. */
const char *store_route_name(struct store *store, uint16_t route);

MUST_CHECK enum err_code store_stage(struct store *store, const struct item *item, struct err *err);
/* The batch whose items were staged (owner), or a foreign one (a follower: items are taken from the
 * bytes, and what was staged is dropped). A header that is not valid in this state is ERR_CORRUPT.
 */
MUST_CHECK enum err_code store_apply(struct store *store, struct slice batch, struct err *err);
/* The same for a record of a journal that is kept: durable with its commit are the offset behind
 * it, and its time as the time of what is in it. */
struct store_read {
	int64_t time_ms, next_offset;
};
MUST_CHECK enum err_code store_apply_read(
	struct store *store, struct slice batch, const struct store_read *read, struct err *err);
/* What was read behind the last applied record was nothing: the state stands there now. */
void store_passed(struct store *store, int64_t journal_next);
/* A fold that begins in the middle of a journal, from a fact about what stood before. Only before
 * the first record. */
void store_begin(struct store *store, const struct journal_state *state, int64_t journal_next);
MUST_CHECK enum err_code store_commit(struct store *store, struct err *err);
void store_drop(struct store *store);
/* Has the ledger or the map room for another batch? ERR_OK or ERR_FULL (the worker pauses). */
MUST_CHECK enum err_code store_room(struct store *store, struct err *err);
/* Seal the ledger's full bucket or drop an expired one, one at a time: between commits, bounded
 * work. Call it once a turn. */
MUST_CHECK enum err_code store_maintain(struct store *store, int64_t now_ms, struct err *err);

/* Where a journal is kept, everything that lives is written to it again from time to time, so that
 * its beginning can go. One committed row after the other as the item that makes it; rows with a
 * change that is not committed are passed over, as that change is in the journal already. Begin
 * with {0} when nothing is uncommitted. ERR_NOT_FOUND: that was all. */
struct store_walk {
	unsigned step;
	uint8_t key[512];
	size_t len;
};
MUST_CHECK enum err_code store_walk(struct store *store, struct store_walk *walk, struct buf *bytes,
	struct item *out, struct err *err);
/* Everything that came before time_ms stands below this offset of the journal; -1: not known. */
int64_t store_journal_at(const struct store *store, int64_t time_ms);
/* When the record at this offset came, or a little before; 0: not known. */
int64_t store_journal_time(const struct store *store, int64_t offset);

/* ERR_NOT_FOUND: never seen. */
MUST_CHECK enum err_code store_seen(
	struct store *store, const uint8_t id16[ID16_LEN], struct item_seen *out, struct err *err);
/* out->event_id and source point into text. ERR_NOT_FOUND: no state. */
MUST_CHECK enum err_code store_version(struct store *store, struct slice subject,
	struct item_version *out, struct buf *text, struct err *err);

/* Parked events. The heads live in memory; the copies of the records on disk. */
struct parked {
	int64_t offset;
	uint16_t route;
	unsigned attempts;
	int64_t first_ms, next_ts_ms, deadline_ms;
	enum park_reason reason;
	struct version version;
	uint64_t redrive;
	size_t bytes;
	unsigned tried; /* TRY count, 0: none open */
};
/* Is anything parked for this subject; its first by offset (true), with how many. */
bool store_parked_head(
	struct store *store, struct slice subject, struct parked *out, size_t *out_count);
/* One after the other by offset, until it says false; `tried` is not looked up. It changes nothing.
 */
typedef bool store_parked_fn(void *ctx, const struct parked *parked);
void store_parked_each(struct store *store, struct slice subject, store_parked_fn *look, void *ctx);
/* All parked of a subject, by offset; at most max. */
size_t store_parked_list(struct store *store, struct slice subject, struct parked *out, size_t max);
/* The whole record of one, copied into bytes; *out points there. */
MUST_CHECK enum err_code store_parked_get(struct store *store, struct slice subject, int64_t offset,
	struct buf *bytes, struct item_park *out, struct err *err);
/* Subjects with a parked event whose next_ts_ms is <= now_ms, earliest first: fills subject (copied
 * into the buffer) and what is due. `skip`: how many to pass over (they are in work).
 * ERR_NOT_FOUND: no more. */
MUST_CHECK enum err_code store_parked_due(struct store *store, int64_t now_ms, size_t skip,
	struct buf *subject, struct parked *out, struct err *err);
/* When the next one is due; INT64_MAX: nothing is parked. */
int64_t store_parked_next(struct store *store);
struct store_totals {
	uint64_t parked_events, parked_bytes;
	uint64_t ledger_entries, ledger_bytes, map_bytes, file_bytes;
	uint64_t outs; /* outputs not yet published */
	/* The oldest stream offset with an entry and no mark; INT64_MAX: none. A record that is
	 * published and whose OUTOK is not committed yet has no entry. */
	int64_t dlq_first, quarantine_first;
};
void store_totals(struct store *store, struct store_totals *out);
/* All that is parked; cheap enough to be asked before each event. */
void store_parked_size(struct store *store, uint64_t *out_events, uint64_t *out_bytes);
/* How many are parked for a route. */
uint64_t store_parked_of_route(struct store *store, uint16_t route);

/* TRY count of a source offset, parked or not; 0: none. */
unsigned store_tries(struct store *store, int64_t offset);

/* Outputs that were decided and not yet published: the first behind (from_offset, from_n), so a
 * walk starts at (-1, 0) and goes on with the last (offset, n). Only what is applied: what is
 * merely staged must not leave the house. The record is copied into bytes. ERR_NOT_FOUND: no more.
 */
MUST_CHECK enum err_code store_out_next(struct store *store, int64_t from_offset, uint32_t from_n,
	struct buf *bytes, struct item_out *out, struct err *err);

/* The index of dead letters and quarantined records. */
struct store_entry {
	int64_t stream_offset; /* in dlq or quarantine; the id that people use */
	uint8_t id16[ID16_LEN];
	int64_t offset, time_ms, received_ms;
	enum err_code reason;
	uint64_t bytes;                                             /* of the record */
	unsigned mark;                                              /* 0 or enum mark */
	struct slice event_id, source, tenant, type, entity, route; /* into text */
};
/* target OUT_DLQ or OUT_QUARANTINE; the first with stream_offset >= from. ERR_NOT_FOUND: no more.
 */
MUST_CHECK enum err_code store_entry_next(struct store *store, enum out_target target, int64_t from,
	struct buf *text, struct store_entry *out, struct err *err);
/* Forget index entries below this stream offset (retention dropped the records). With the next
 * commit. */
MUST_CHECK enum err_code store_entries_trim(
	struct store *store, enum out_target target, int64_t first, struct err *err);

/* Read what is committed, from any thread or process: short transactions, results copied. */
struct store_view;
MUST_CHECK enum err_code store_view_open(
	struct store *store, struct store_view **out, struct err *err);
void store_view_close(struct store_view **view);
MUST_CHECK enum err_code store_view_state(
	struct store_view *view, struct store_state *out, struct err *err);
MUST_CHECK enum err_code store_view_seen(struct store_view *view, const uint8_t id16[ID16_LEN],
	struct item_seen *out, struct err *err);
/* Many at once, for little more than one costs; outcome OUTCOME_NONE: never seen. */
MUST_CHECK enum err_code store_view_seen_all(struct store_view *view,
	const uint8_t (*ids)[ID16_LEN], size_t count, struct item_seen *out, struct err *err);
MUST_CHECK enum err_code store_view_version(struct store_view *view, struct slice subject,
	struct item_version *out, struct buf *text, struct err *err);
/* The parked copy by subject and offset. */
MUST_CHECK enum err_code store_view_parked(struct store_view *view, struct slice subject,
	int64_t offset, struct buf *bytes, struct item_park *out, struct err *err);
/* The parked copy by source offset alone (scans the parked index). */
MUST_CHECK enum err_code store_view_parked_at(struct store_view *view, int64_t offset,
	struct buf *bytes, struct item_park *out, struct err *err);
MUST_CHECK enum err_code store_view_entry_next(struct store_view *view, enum out_target target,
	int64_t from, struct buf *text, struct store_entry *out, struct err *err);
/* Ledger entries, newest first, for `events ls`: at most max from the newest; returns how many. */
MUST_CHECK enum err_code store_view_recent(struct store_view *view, size_t max,
	struct item_seen *out, size_t *out_count, struct err *err);
/* As store_route_name(), from what is committed. */
const char *store_view_route_name(struct store_view *view, uint16_t route);
const char *store_version_text(void);
