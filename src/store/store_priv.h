/* store_priv.h - the store above its tables: what is uncommitted, what is kept in memory, what is
 * committed.
 *
 *   reads:   overlay (staged, applied)  ->  memory (ledger's table, parked heads)  ->  tables
 *   writes:  stage -> overlay;  apply marks;  commit: one transaction over the tables */
#pragma once

#include "kv.h"
#include "ledger.h"
#include "overlay.h"
#include "park.h"
#include "rows.h"

#include "postern/thread.h"

#define STORE_FORMAT 1
#define STORE_ROUTES_MAX UINT16_MAX
#define DEDUPE_DEFAULT_MS (INT64_C(168) * 3600 * 1000)
#define TEND_MS 2000
#define TARGETS 2 /* OUT_DLQ, OUT_QUARANTINE */

struct routes {
	struct lock lock;        /* guards names and count; a name itself stays where it is */
	const char **names;      /* NULL: not known */
	size_t count, committed; /* names[0] is "" */
	struct route_name *all;  /* the owner's: every name that was ever given out */
};
/* When the journal stood where: a sample now and then, over some dedupe windows. */
#define STORE_TIMES 64
struct store_times {
	struct {
		int64_t time_ms, offset;
	} at[STORE_TIMES]; /* oldest first */
	size_t count;
	bool changed;
};
struct store {
	struct kv *kv;
	const struct clock *clock;
	int64_t ledger_max_bytes;
	bool read_only;
	const struct store_log *log; /* while it is opened */
	bool journaled;
	int64_t read_ms; /* wall: when the record came that is applied; 0: the clock knows */
	struct overlay overlay;
	struct park park;
	struct outs outs;
	struct ledger ledger;
	struct routes routes;
	struct store_times times;
	struct store_state committed, applied;
	bool state_changed;
	uint64_t tries;        /* committed rows */
	int64_t trim[TARGETS]; /* forget entries below, with the next commit; INT64_MIN: nothing */
	int64_t wanted[TARGETS]; /* no committed entry below this is unmarked */
	int64_t tended_ms;
	struct buf scratch, item;
};
struct store_view {
	struct store *store;
};

/* Takes the tables, also when it fails. */
MUST_CHECK enum err_code store_open(
	struct kv *kv, const struct store_opts *opts, struct store **out, struct err *err);
/* Load what lives in memory; of a store that is only read, the names of its routes. */
MUST_CHECK enum err_code store_load(struct store *store, struct kv_txn *txn, struct err *err);

void routes_init(struct routes *routes);
void routes_done(struct routes *routes);
MUST_CHECK enum err_code routes_load(struct routes *routes, struct kv_txn *txn, struct err *err);
MUST_CHECK enum err_code routes_write(
	struct routes *routes, struct kv_txn *txn, struct buf *scratch, struct err *err);

/* Give a number its name; *out_was is what it was. Undo: the same with what it was. */
MUST_CHECK enum err_code routes_name(struct routes *routes, uint16_t number, struct slice name,
	const char **out_was, struct err *err);
void routes_rename(struct routes *routes, uint16_t number, const char *was);

void times_note(struct store_times *times, int64_t dedupe_ms, int64_t time_ms, int64_t offset);
MUST_CHECK enum err_code times_write(
	struct store_times *times, struct kv_txn *txn, struct buf *scratch, struct err *err);
MUST_CHECK enum err_code times_read(struct store_times *times, struct kv_txn *txn, struct err *err);

MUST_CHECK enum err_code state_read(struct kv_txn *txn, struct store_state *out, struct err *err);
MUST_CHECK enum err_code state_write(
	struct kv_txn *txn, const struct store_state *state, struct buf *scratch, struct err *err);

/* One item into the overlay. */
MUST_CHECK enum err_code fold_item(struct store *store, const struct item *item, struct err *err);
/* The subject of a parked or unparked change. */
struct slice fold_subject(const struct store *store, const struct change *change);
/* Take the newest change back. */
void fold_undo(struct store *store);

/* Run a writing transaction; again, with a larger map, when that was too small. */
typedef enum err_code write_fn(struct store *store, struct kv_txn *txn, void *ctx, struct err *err);
MUST_CHECK enum err_code store_write(struct store *store, write_fn *fn, void *ctx, struct err *err);

/* An output that waits, whether its item is committed or not; copied into the buffer. */
MUST_CHECK enum err_code out_find(struct store *store, int64_t offset, uint32_t n,
	struct buf *bytes, struct item_out *out, struct err *err);

/* The entry as the owner sees it: uncommitted or committed. Slices live until the next change. */
MUST_CHECK enum err_code entry_find(struct store *store, struct kv_txn *txn, enum out_target target,
	int64_t stream_offset, struct store_entry *out, struct err *err);
