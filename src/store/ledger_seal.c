/* ledger_seal.c - how a bucket ends: sorted into its final form, and in time dropped whole.
 *
 * Both are one transaction each, so a crash finds the bucket before or after, never between.
 * Deliberately not here: when (store_maintain() asks ledger_wants_...). */
#include "ledger.h"

#include <assert.h>
#include <stdlib.h>

struct ref {
	uint64_t prefix;      /* of the id, as it sorts */
	const uint8_t *entry; /* later ones of an id are at higher addresses */
};

bool ledger_wants_seal(const struct ledger *ledger, int64_t now_ms)
{
	const struct ledger_bucket *open = &ledger->buckets[ledger->count - 1];

	if (open->entries == 0)
		return false;
	return open->entries >= LEDGER_BUCKET_ENTRIES ||
	       now_ms - open->first_ms >= ledger->dedupe_ms / LEDGER_BUCKETS_A_WINDOW;
}

bool ledger_wants_drop(const struct ledger *ledger, int64_t now_ms)
{
	return ledger->count > 1 && now_ms - ledger->buckets[0].newest_ms > ledger->dedupe_ms;
}

static int order_refs(const void *left, const void *right)
{
	const struct ref *a = left, *b = right;
	int order;

	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	order = memcmp(a->entry, b->entry, ID16_LEN);
	if (order != 0)
		return order;
	return a->entry < b->entry ? -1 : a->entry > b->entry;
}

/* All entries of the open bucket, in the order of writing. */
static enum err_code read_all(
	struct kv_txn *txn, const struct ledger_bucket *bucket, struct buf *out, struct err *err)
{
	enum err_code rc = buf_reserve(out, (size_t)bucket->entries * JOURNAL_SEEN_LEN, err);

	for (uint32_t chunk = 1; rc == ERR_OK && chunk <= bucket->chunks; chunk++) {
		struct row_key key = ledger_key_number(bucket->number, LEDGER_LOOSE, chunk);
		struct slice payload;

		rc = row_get(txn, KV_LEDGER, row_key_slice(&key), &payload, err);
		if (rc == ERR_NOT_FOUND)
			rc = err_set(err, ERR_CORRUPT, "a chunk of the ledger is missing");
		if (rc == ERR_OK)
			rc = buf_put_slice(out, payload, err);
	}
	if (rc == ERR_OK && out->len != (size_t)bucket->entries * JOURNAL_SEEN_LEN)
		rc = err_set(err, ERR_CORRUPT, "the ledger's open bucket is not whole");
	return rc;
}

/* Sorted by id, only the latest of each; how many are left. */
static size_t sort_refs(struct ref *refs, size_t count, const uint8_t *entries)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		refs[i].entry = entries + i * JOURNAL_SEEN_LEN;
		refs[i].prefix = get_be64(refs[i].entry);
	}
	qsort(refs, count, sizeof(*refs), order_refs);
	for (size_t i = 0; i < count; i++) {
		if (i + 1 < count && memcmp(refs[i].entry, refs[i + 1].entry, ID16_LEN) == 0)
			continue;
		refs[kept++] = refs[i];
	}
	return kept;
}

static enum err_code write_sorted(struct ledger *ledger, struct kv_txn *txn, const struct ref *refs,
	struct ledger_bucket *bucket, struct err *err)
{
	uint8_t chunk[LEDGER_CHUNK * JOURNAL_SEEN_LEN];
	enum err_code rc = ERR_OK;

	for (size_t i = 0; rc == ERR_OK && i < bucket->entries; i += LEDGER_CHUNK) {
		size_t count =
			bucket->entries - i < LEDGER_CHUNK ? bucket->entries - i : LEDGER_CHUNK;
		struct row_key key =
			ledger_key(bucket->number, LEDGER_SORTED, refs[i].entry, ID16_LEN);
		struct header row = { row_key_slice(&key), { chunk, count * JOURNAL_SEEN_LEN } };

		for (size_t j = 0; j < count; j++) {
			memcpy(chunk + j * JOURNAL_SEEN_LEN, refs[i + j].entry, JOURNAL_SEEN_LEN);
			filter_add(&bucket->filter, refs[i + j].entry);
		}
		rc = row_put(txn, KV_LEDGER, KV_APPEND, &row, &ledger->scratch, err);
		bucket->chunks++;
	}
	return rc;
}

static enum err_code delete_loose(
	struct kv_txn *txn, const struct ledger_bucket *bucket, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (uint32_t chunk = 1; rc == ERR_OK && chunk <= bucket->chunks; chunk++) {
		struct row_key key = ledger_key_number(bucket->number, LEDGER_LOOSE, chunk);

		rc = kv_del(txn, KV_LEDGER, row_key_slice(&key), err);
	}
	return rc;
}

/* The rows: sorted chunks, filter, both descriptions; the loose chunks go. */
static enum err_code seal_rows(struct ledger *ledger, struct kv_txn *txn, const struct ref *refs,
	struct ledger_bucket *sealed, struct err *err)
{
	struct ledger_bucket next = { .number = sealed->number + 1 };
	enum err_code rc = write_sorted(ledger, txn, refs, sealed, err);

	if (rc == ERR_OK)
		rc = filter_write(txn, sealed->number, &sealed->filter, &ledger->scratch, err);
	if (rc == ERR_OK)
		rc = delete_loose(txn, &ledger->buckets[ledger->count - 1], err);
	if (rc == ERR_OK)
		rc = bucket_write(txn, sealed, &ledger->scratch, err);
	if (rc == ERR_OK)
		rc = bucket_write(txn, &next, &ledger->scratch, err);
	return rc;
}

/* A place for the next open bucket, so that ledger_sealed() cannot fail. */
static enum err_code reserve_bucket(struct ledger *ledger, struct err *err)
{
	struct ledger_bucket *buckets;

	if (ledger->count < ledger->cap)
		return ERR_OK;
	buckets = realloc(ledger->buckets, (ledger->cap + 16) * sizeof(*buckets));
	if (!buckets)
		return err_set(err, ERR_NOMEM, "no memory for ledger buckets");
	ledger->buckets = buckets;
	ledger->cap += 16;
	return ERR_OK;
}

enum err_code ledger_seal(
	struct ledger *ledger, struct kv_txn *txn, struct ledger_bucket *sealed, struct err *err)
{
	const struct ledger_bucket *open;
	struct buf entries = BUF_INIT(SIZE_MAX / 4);
	struct ref *refs = NULL;
	enum err_code rc = reserve_bucket(ledger, err);

	open = &ledger->buckets[ledger->count - 1];
	*sealed = *open;
	if (rc == ERR_OK)
		rc = read_all(txn, open, &entries, err);
	sealed->sealed = true;
	sealed->chunks = 0;
	if (rc == ERR_OK) {
		refs = malloc(open->entries * sizeof(*refs));
		if (!refs)
			rc = err_set(err, ERR_NOMEM, "no memory to sort %u entries", open->entries);
	}
	if (rc == ERR_OK) {
		sealed->entries = (uint32_t)sort_refs(refs, open->entries, entries.data);
		rc = filter_make(&sealed->filter, sealed->entries, err);
	}
	if (rc == ERR_OK)
		rc = seal_rows(ledger, txn, refs, sealed, err);
	if (rc != ERR_OK)
		filter_done(&sealed->filter);
	free(refs);
	buf_done(&entries);
	return rc;
}

void ledger_sealed(struct ledger *ledger, const struct ledger_bucket *sealed)
{
	assert(ledger->count < ledger->cap);
	ledger->buckets[ledger->count - 1] = *sealed;
	ledger->sealed_entries += sealed->entries;
	ledger->buckets[ledger->count++] = (struct ledger_bucket){ .number = sealed->number + 1 };
	table_done(&ledger->table);
}

static enum err_code delete_kind(
	struct kv_txn *txn, uint32_t bucket, enum ledger_kind kind, struct err *err)
{
	struct row_key from = ledger_key(bucket, kind, NULL, 0);

	for (;;) {
		struct row_key key;
		struct header row;
		enum err_code rc =
			kv_seek(txn, KV_LEDGER, KV_AT_LEAST, row_key_slice(&from), &row, err);

		if (rc == ERR_NOT_FOUND || (rc == ERR_OK && !ledger_key_is(row.name, bucket, kind)))
			return ERR_OK;
		if (rc != ERR_OK)
			return rc;
		row_key_after(&key, row.name); /* a copy: the row goes away under the slice */
		key.len--;
		rc = kv_del(txn, KV_LEDGER, row_key_slice(&key), err);
		if (rc != ERR_OK)
			return rc;
	}
}

enum err_code ledger_drop(struct ledger *ledger, struct kv_txn *txn, struct err *err)
{
	uint32_t number = ledger->buckets[0].number;
	struct row_key key = key_of_bucket(number);
	enum err_code rc = delete_kind(txn, number, LEDGER_SORTED, err);

	if (rc == ERR_OK)
		rc = delete_kind(txn, number, LEDGER_FILTER, err);
	if (rc == ERR_OK)
		rc = kv_del(txn, KV_META, row_key_slice(&key), err);
	return rc;
}

void ledger_dropped(struct ledger *ledger)
{
	ledger->sealed_entries -= ledger->buckets[0].entries;
	filter_done(&ledger->buckets[0].filter);
	ledger->count--;
	memmove(ledger->buckets, ledger->buckets + 1, ledger->count * sizeof(*ledger->buckets));
}
