/* ledger.h - what became of each identity: buckets of entries, by the time they were written.
 *
 *   the open bucket    chunks in order of writing; a table of fingerprints in memory
 *   sealed buckets     chunks sorted by id16; a filter in memory; dropped whole when all is old
 *
 * Looking up an id that is new costs no read: the table and the filters say so.
 *
 * Threads: the owner, except ledger_view_*(), which know only what a transaction shows. */
#pragma once

#include "kv.h"
#include "rows.h"

#define LEDGER_CHUNK ((size_t)99) /* entries: with its checksum a chunk fills one page */
#ifndef LEDGER_BUCKET_ENTRIES
#define LEDGER_BUCKET_ENTRIES 524288
#endif
#define LEDGER_BUCKETS_A_WINDOW 8

/* Fingerprint to place. The place is chunk << 8 | slot; 0: free. */
struct ledger_slot {
	uint32_t fingerprint, place;
};
struct ledger_table {
	struct ledger_slot *slots;
	size_t count; /* a power of two */
	size_t used;
};
/* A blocked Bloom filter: one cache line a key. */
#define FILTER_BLOCK ((size_t)64)
struct ledger_filter {
	uint8_t *bits;
	uint32_t blocks;
};
struct ledger_bucket {
	uint32_t number;
	uint32_t entries;
	uint32_t chunks; /* open: the number of the last one; they count from 1 */
	bool sealed;
	int64_t first_ms, newest_ms;
	struct ledger_filter filter;
};
struct ledger {
	struct ledger_bucket *buckets; /* oldest first; the last one is open */
	size_t count, cap;
	struct ledger_table table;
	int64_t dedupe_ms;
	int64_t last_ms; /* time as the ledger knows it: it never falls */
	uint64_t sealed_entries;
	struct buf scratch;
};

/* The layout of the keys: bucket u32be, kind u8, then the chunk's number, its first id16, or the
 * number of a piece of the filter. */
enum ledger_kind { LEDGER_LOOSE = 0, LEDGER_SORTED = 1, LEDGER_FILTER = 2 };
struct row_key ledger_key(uint32_t bucket, enum ledger_kind kind, const void *rest, size_t len);
struct row_key ledger_key_number(uint32_t bucket, enum ledger_kind kind, uint32_t number);
bool ledger_key_is(struct slice key, uint32_t bucket, enum ledger_kind kind);
/* Entries of a payload; ERR_CORRUPT when it is no whole number of them. */
MUST_CHECK enum err_code ledger_chunk_count(
	struct slice payload, size_t *out_count, struct err *err);
MUST_CHECK enum err_code ledger_entry(
	struct slice payload, size_t slot, struct item_seen *out, struct err *err);
/* The last entry with this id in an unsorted chunk, or -1; its place in a sorted one, or -1. */
int ledger_chunk_scan(struct slice payload, const uint8_t id16[ID16_LEN]);
int ledger_chunk_search(struct slice payload, const uint8_t id16[ID16_LEN]);
/* In a sealed bucket. */
MUST_CHECK enum err_code ledger_sorted_find(struct kv_txn *txn, uint32_t bucket,
	const uint8_t id16[ID16_LEN], struct item_seen *out, struct err *err);

MUST_CHECK enum err_code bucket_decode(
	const struct header *row, struct ledger_bucket *out, struct err *err);
MUST_CHECK enum err_code bucket_write(struct kv_txn *txn, const struct ledger_bucket *bucket,
	struct buf *scratch, struct err *err);
struct row_key key_of_bucket(uint32_t number);

MUST_CHECK enum err_code table_reserve(struct ledger_table *table, size_t more, struct err *err);
void table_done(struct ledger_table *table);
uint32_t table_fingerprint(const uint8_t id16[ID16_LEN]);
/* Places with this fingerprint, one after the other: *at starts at SIZE_MAX. NULL: no more. */
struct ledger_slot *table_next(struct ledger_table *table, uint32_t fingerprint, size_t *at);
void table_add(struct ledger_table *table, uint32_t fingerprint, uint32_t place);

MUST_CHECK enum err_code filter_make(struct ledger_filter *filter, size_t entries, struct err *err);
void filter_done(struct ledger_filter *filter);
void filter_add(struct ledger_filter *filter, const uint8_t id16[ID16_LEN]);
bool filter_may_have(const struct ledger_filter *filter, const uint8_t id16[ID16_LEN]);
MUST_CHECK enum err_code filter_write(struct kv_txn *txn, uint32_t bucket,
	const struct ledger_filter *filter, struct buf *scratch, struct err *err);
MUST_CHECK enum err_code filter_read(
	struct kv_txn *txn, uint32_t bucket, struct ledger_filter *filter, struct err *err);

void ledger_init(struct ledger *ledger, int64_t dedupe_ms);
void ledger_done(struct ledger *ledger);
/* Buckets and filters from their rows, the table from the open bucket's chunks. */
MUST_CHECK enum err_code ledger_load(struct ledger *ledger, struct kv_txn *txn, struct err *err);
MUST_CHECK enum err_code ledger_find(struct ledger *ledger, struct kv_txn *txn,
	const uint8_t id16[ID16_LEN], struct item_seen *out, struct err *err);
/* False: surely not there; no transaction is needed to know. */
bool ledger_may_have(struct ledger *ledger, const uint8_t id16[ID16_LEN]);
uint64_t ledger_entries(const struct ledger *ledger);

/* Writing: entries of one commit, then, when it is durable, the same count into the table. */
struct ledger_append {
	struct ledger_bucket bucket; /* as it will be */
	struct buf chunk;
	uint32_t first_chunk;
};
MUST_CHECK enum err_code ledger_append_begin(
	struct ledger *ledger, int64_t now_ms, struct ledger_append *out, struct err *err);
MUST_CHECK enum err_code ledger_append_entry(struct ledger *ledger, struct kv_txn *txn,
	struct ledger_append *append, const uint8_t entry[JOURNAL_SEEN_LEN], struct err *err);
MUST_CHECK enum err_code ledger_append_end(
	struct ledger *ledger, struct kv_txn *txn, struct ledger_append *append, struct err *err);
/* The n-th entry (from 0) of the append that has become durable. */
MUST_CHECK enum err_code ledger_note(struct ledger *ledger, struct kv_txn *txn,
	const struct ledger_append *append, size_t n, const uint8_t id16[ID16_LEN],
	struct err *err);

/* Sealing makes a sorted bucket of the open one and opens the next; `sealed` gets what replaces it
 * in memory once the transaction is durable (ledger_sealed(), or filter_done() of its filter). */
bool ledger_wants_seal(const struct ledger *ledger, int64_t now_ms);
MUST_CHECK enum err_code ledger_seal(
	struct ledger *ledger, struct kv_txn *txn, struct ledger_bucket *sealed, struct err *err);
void ledger_sealed(struct ledger *ledger, const struct ledger_bucket *sealed);
bool ledger_wants_drop(const struct ledger *ledger, int64_t now_ms);
MUST_CHECK enum err_code ledger_drop(struct ledger *ledger, struct kv_txn *txn, struct err *err);
void ledger_dropped(struct ledger *ledger);

/* Reads by a transaction alone: any thread, any process. */
MUST_CHECK enum err_code ledger_view_find(
	struct kv_txn *txn, const uint8_t id16[ID16_LEN], struct item_seen *out, struct err *err);
/* Many at once; outcome OUTCOME_NONE where there is no entry. */
MUST_CHECK enum err_code ledger_view_find_all(struct kv_txn *txn, const uint8_t (*ids)[ID16_LEN],
	size_t count, struct item_seen *out, struct err *err);
MUST_CHECK enum err_code ledger_view_recent(
	struct kv_txn *txn, size_t max, struct item_seen *out, size_t *out_count, struct err *err);
