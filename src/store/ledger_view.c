/* ledger_view.c - the ledger without its memory: what any thread or process reads by a transaction
 * alone.
 *
 * Slower than the owner's way: the open bucket is searched from its end. For people, not for work.
 */
#include "ledger.h"

#include <stdlib.h>

/* The newest bucket whose number is at most this one. */
static enum err_code bucket_at_most(
	struct kv_txn *txn, uint32_t number, struct ledger_bucket *out, struct err *err)
{
	struct row_key key = key_of_bucket(number);
	struct header row;
	enum err_code rc = row_seek(txn, KV_META, KV_AT_MOST, row_key_slice(&key), &row, err);

	return rc == ERR_OK ? bucket_decode(&row, out, err) : rc;
}

static enum err_code loose_chunk(struct kv_txn *txn, const struct ledger_bucket *bucket,
	uint32_t chunk, struct slice *out, struct err *err)
{
	struct row_key key = ledger_key_number(bucket->number, LEDGER_LOOSE, chunk);
	enum err_code rc = row_get(txn, KV_LEDGER, row_key_slice(&key), out, err);

	if (rc == ERR_NOT_FOUND)
		return err_set(err, ERR_CORRUPT, "a chunk of the ledger is missing");
	return rc;
}

static enum err_code find_loose(struct kv_txn *txn, const struct ledger_bucket *bucket,
	const uint8_t id16[ID16_LEN], struct item_seen *out, struct err *err)
{
	for (uint32_t chunk = bucket->chunks; chunk > 0; chunk--) {
		struct slice payload;
		enum err_code rc = loose_chunk(txn, bucket, chunk, &payload, err);
		int slot;

		if (rc != ERR_OK)
			return rc;
		slot = ledger_chunk_scan(payload, id16);
		if (slot >= 0)
			return ledger_entry(payload, (size_t)slot, out, err);
	}
	return ERR_NOT_FOUND;
}

enum err_code ledger_view_find(
	struct kv_txn *txn, const uint8_t id16[ID16_LEN], struct item_seen *out, struct err *err)
{
	struct ledger_bucket bucket = { .number = UINT32_MAX };
	enum err_code rc = bucket_at_most(txn, bucket.number, &bucket, err);

	while (rc == ERR_OK) {
		rc = bucket.sealed ? ledger_sorted_find(txn, bucket.number, id16, out, err)
				   : find_loose(txn, &bucket, id16, out, err);
		if (rc != ERR_NOT_FOUND || bucket.number == 0)
			return rc;
		rc = bucket_at_most(txn, bucket.number - 1, &bucket, err);
	}
	return rc;
}

/* ---- many ids at once --------------------------------------------------------------- */

/* Those that are looked for: the open bucket, whose chunks have no order, is read once for all. */
struct wanted {
	const uint8_t (*ids)[ID16_LEN];
	struct item_seen *out;
	size_t count, missing;
	uint32_t *slots; /* index + 1 into ids, by the first bytes of the id */
	size_t slot_count;
};

static size_t slot_of(const struct wanted *wanted, const uint8_t id16[ID16_LEN])
{
	return get_le32(id16) & (wanted->slot_count - 1);
}

static enum err_code wanted_make(struct wanted *wanted, struct err *err)
{
	wanted->slot_count = 16;
	while (wanted->slot_count < wanted->count * 2)
		wanted->slot_count *= 2;
	wanted->slots = calloc(wanted->slot_count, sizeof(*wanted->slots));
	if (!wanted->slots)
		return err_set(err, ERR_NOMEM, "no memory to look for events");
	for (size_t i = 0; i < wanted->count; i++) {
		size_t at = slot_of(wanted, wanted->ids[i]);

		while (wanted->slots[at] != 0)
			at = (at + 1) & (wanted->slot_count - 1);
		wanted->slots[at] = (uint32_t)i + 1;
		wanted->out[i] = (struct item_seen){ .outcome = OUTCOME_NONE };
	}
	wanted->missing = wanted->count;
	return ERR_OK;
}

/* Entries come newest first: the first one of an id counts. An id may be wanted twice. */
static void offer(struct wanted *wanted, const struct item_seen *entry)
{
	size_t at = slot_of(wanted, entry->id16);

	for (; wanted->slots[at] != 0; at = (at + 1) & (wanted->slot_count - 1)) {
		const size_t i = wanted->slots[at] - 1;

		if (wanted->out[i].outcome != OUTCOME_NONE ||
			memcmp(wanted->ids[i], entry->id16, ID16_LEN) != 0)
			continue;
		wanted->out[i] = *entry;
		wanted->missing--;
	}
}

static enum err_code find_all_loose(struct kv_txn *txn, const struct ledger_bucket *bucket,
	struct wanted *wanted, struct err *err)
{
	for (uint32_t chunk = bucket->chunks; chunk > 0 && wanted->missing > 0; chunk--) {
		struct slice payload = SLICE_EMPTY;
		struct item_seen entry;
		enum err_code rc = loose_chunk(txn, bucket, chunk, &payload, err);

		for (size_t slot = payload.len / JOURNAL_SEEN_LEN; rc == ERR_OK && slot > 0;
			slot--) {
			rc = ledger_entry(payload, slot - 1, &entry, err);
			if (rc == ERR_OK)
				offer(wanted, &entry);
		}
		if (rc != ERR_OK)
			return rc;
	}
	return ERR_OK;
}

static enum err_code find_all_sorted(struct kv_txn *txn, const struct ledger_bucket *bucket,
	struct wanted *wanted, struct err *err)
{
	for (size_t i = 0; i < wanted->count && wanted->missing > 0; i++) {
		enum err_code rc = ERR_NOT_FOUND;

		if (wanted->out[i].outcome == OUTCOME_NONE)
			rc = ledger_sorted_find(
				txn, bucket->number, wanted->ids[i], &wanted->out[i], err);
		if (rc == ERR_OK)
			wanted->missing--;
		else if (rc != ERR_NOT_FOUND)
			return rc;
	}
	return ERR_OK;
}

enum err_code ledger_view_find_all(struct kv_txn *txn, const uint8_t (*ids)[ID16_LEN], size_t count,
	struct item_seen *out, struct err *err)
{
	struct wanted wanted = { .ids = ids, .out = out, .count = count };
	struct ledger_bucket bucket = { .number = UINT32_MAX };
	enum err_code rc = wanted_make(&wanted, err);

	if (rc != ERR_OK)
		return rc;
	rc = bucket_at_most(txn, bucket.number, &bucket, err);
	while (rc == ERR_OK && wanted.missing > 0) {
		rc = bucket.sealed ? find_all_sorted(txn, &bucket, &wanted, err)
				   : find_all_loose(txn, &bucket, &wanted, err);
		if (rc != ERR_OK || bucket.number == 0)
			break;
		rc = bucket_at_most(txn, bucket.number - 1, &bucket, err);
	}
	free(wanted.slots);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

/* ---- the newest --------------------------------------------------------------------- */

/* The entries that were taken so far, and which offsets they have: an event is listed once, though
 * it may have been parked before, and have a second entry for its replay. */
struct recent {
	struct item_seen *out;
	size_t count, max;
	uint32_t *slots; /* index + 1 into out, by offset */
	size_t slot_count;
};

static void take(struct recent *recent, const struct item_seen *entry)
{
	size_t at = (size_t)entry->offset * 0x9E3779B1U & (recent->slot_count - 1);

	if (recent->count == recent->max)
		return;
	for (; recent->slots[at] != 0; at = (at + 1) & (recent->slot_count - 1)) {
		if (recent->out[recent->slots[at] - 1].offset == entry->offset)
			return;
	}
	recent->out[recent->count++] = *entry;
	recent->slots[at] = (uint32_t)recent->count;
}

static enum err_code take_loose(struct kv_txn *txn, const struct ledger_bucket *bucket,
	struct recent *recent, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (uint32_t chunk = bucket->chunks; chunk > 0 && recent->count < recent->max; chunk--) {
		struct slice payload;
		struct item_seen entry;

		rc = loose_chunk(txn, bucket, chunk, &payload, err);
		if (rc != ERR_OK)
			return rc;
		for (size_t slot = payload.len / JOURNAL_SEEN_LEN; slot > 0; slot--) {
			rc = ledger_entry(payload, slot - 1, &entry, err);
			if (rc != ERR_OK)
				return rc;
			take(recent, &entry);
		}
	}
	return rc;
}

static int newest_first(const void *left, const void *right)
{
	const struct item_seen *a = left, *b = right;

	if (a->offset != b->offset)
		return a->offset > b->offset ? -1 : 1;
	return memcmp(a->id16, b->id16, ID16_LEN);
}

/* A sealed bucket is ordered by id: read all of it, and sort it by offset. */
static enum err_code read_sorted(struct kv_txn *txn, const struct ledger_bucket *bucket,
	struct item_seen *entries, size_t *out_count, struct err *err)
{
	struct row_key key = ledger_key(bucket->number, LEDGER_SORTED, NULL, 0);
	size_t count = 0;

	for (;;) {
		struct header row;
		enum err_code rc =
			row_seek(txn, KV_LEDGER, KV_AT_LEAST, row_key_slice(&key), &row, err);

		if (rc == ERR_NOT_FOUND ||
			(rc == ERR_OK && !ledger_key_is(row.name, bucket->number, LEDGER_SORTED)))
			break;
		for (size_t i = 0; rc == ERR_OK && i < row.value.len / JOURNAL_SEEN_LEN; i++) {
			if (count == bucket->entries)
				rc = err_set(
					err, ERR_CORRUPT, "a ledger bucket has too many entries");
			else
				rc = ledger_entry(row.value, i, &entries[count++], err);
		}
		if (rc != ERR_OK)
			return rc;
		row_key_after(&key, row.name);
	}
	*out_count = count;
	return ERR_OK;
}

static enum err_code take_sorted(struct kv_txn *txn, const struct ledger_bucket *bucket,
	struct recent *recent, struct err *err)
{
	struct item_seen *entries = calloc((size_t)bucket->entries + 1, sizeof(*entries));
	size_t count = 0;
	enum err_code rc;

	if (!entries)
		return err_set(err, ERR_NOMEM, "no memory to list the ledger");
	rc = read_sorted(txn, bucket, entries, &count, err);
	if (rc == ERR_OK)
		qsort(entries, count, sizeof(*entries), newest_first);
	for (size_t i = 0; rc == ERR_OK && i < count; i++)
		take(recent, &entries[i]);
	free(entries);
	return rc;
}

static enum err_code take_buckets(struct kv_txn *txn, struct recent *recent, struct err *err)
{
	struct ledger_bucket bucket = { .number = UINT32_MAX };
	enum err_code rc = bucket_at_most(txn, bucket.number, &bucket, err);

	while (rc == ERR_OK && recent->count < recent->max) {
		rc = bucket.sealed ? take_sorted(txn, &bucket, recent, err)
				   : take_loose(txn, &bucket, recent, err);
		if (rc != ERR_OK || bucket.number == 0)
			break;
		rc = bucket_at_most(txn, bucket.number - 1, &bucket, err);
	}
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

enum err_code ledger_view_recent(
	struct kv_txn *txn, size_t max, struct item_seen *out, size_t *out_count, struct err *err)
{
	struct recent recent = { .out = out, .max = max, .slot_count = 16 };
	enum err_code rc;

	while (recent.slot_count < max * 2)
		recent.slot_count *= 2;
	recent.slots = calloc(recent.slot_count, sizeof(*recent.slots));
	if (!recent.slots)
		return err_set(err, ERR_NOMEM, "no memory to list the ledger");
	rc = take_buckets(txn, &recent, err);
	if (rc == ERR_OK)
		*out_count = recent.count;
	free(recent.slots);
	return rc;
}
