/* ledger.c - the ledger as its owner uses it: look up, append, load at start.
 *
 * Deliberately not here: sealing and dropping buckets (ledger_seal.c), the table and the filters
 * (ledger_table.c), reads without memory (ledger_view.c). */
#include "ledger.h"

#include <stdlib.h>

#define PLACE(chunk, slot) ((uint32_t)(chunk) << 8 | (uint32_t)(slot))
#define CHUNKS_MAX (UINT32_MAX >> 8)

void ledger_init(struct ledger *ledger, int64_t dedupe_ms)
{
	*ledger = (struct ledger){ .dedupe_ms = dedupe_ms, .scratch = BUF_INIT(KIB(16)) };
}

void ledger_done(struct ledger *ledger)
{
	for (size_t i = 0; i < ledger->count; i++)
		filter_done(&ledger->buckets[i].filter);
	free(ledger->buckets);
	table_done(&ledger->table);
	buf_done(&ledger->scratch);
	ledger_init(ledger, ledger->dedupe_ms);
}

static struct ledger_bucket *open_bucket(struct ledger *ledger)
{
	return &ledger->buckets[ledger->count - 1];
}

uint64_t ledger_entries(const struct ledger *ledger)
{
	return ledger->sealed_entries +
	       (ledger->count ? ledger->buckets[ledger->count - 1].entries : 0);
}

static enum err_code read_chunk(
	struct kv_txn *txn, uint32_t bucket, uint32_t chunk, struct slice *out, struct err *err)
{
	struct row_key key = ledger_key_number(bucket, LEDGER_LOOSE, chunk);
	enum err_code rc = row_get(txn, KV_LEDGER, row_key_slice(&key), out, err);

	if (rc == ERR_NOT_FOUND)
		return err_set(
			err, ERR_CORRUPT, "ledger chunk %u of bucket %u is missing", chunk, bucket);
	return rc;
}

/* In the open bucket: the slot whose entry has this id, with the entry. */
static enum err_code find_open(struct ledger *ledger, struct kv_txn *txn,
	const uint8_t id16[ID16_LEN], struct ledger_slot **out_slot, struct item_seen *out,
	struct err *err)
{
	uint32_t fingerprint = table_fingerprint(id16);
	struct ledger_slot *slot;
	size_t at = SIZE_MAX;

	while ((slot = table_next(&ledger->table, fingerprint, &at)) != NULL) {
		struct slice payload;
		enum err_code rc = read_chunk(
			txn, open_bucket(ledger)->number, slot->place >> 8, &payload, err);

		if (rc == ERR_OK)
			rc = ledger_entry(payload, slot->place & 0xff, out, err);
		if (rc != ERR_OK)
			return rc;
		if (memcmp(out->id16, id16, ID16_LEN) == 0) {
			*out_slot = slot;
			return ERR_OK;
		}
	}
	return ERR_NOT_FOUND;
}

bool ledger_may_have(struct ledger *ledger, const uint8_t id16[ID16_LEN])
{
	size_t at = SIZE_MAX;

	if (table_next(&ledger->table, table_fingerprint(id16), &at))
		return true;
	for (size_t i = 0; i + 1 < ledger->count; i++) {
		if (filter_may_have(&ledger->buckets[i].filter, id16))
			return true;
	}
	return false;
}

enum err_code ledger_find(struct ledger *ledger, struct kv_txn *txn, const uint8_t id16[ID16_LEN],
	struct item_seen *out, struct err *err)
{
	struct ledger_slot *slot;
	struct item_seen entry;
	enum err_code rc = find_open(ledger, txn, id16, &slot, &entry, err);

	for (size_t i = ledger->count - 1; rc == ERR_NOT_FOUND && i > 0; i--) {
		const struct ledger_bucket *bucket = &ledger->buckets[i - 1];

		if (filter_may_have(&bucket->filter, id16))
			rc = ledger_sorted_find(txn, bucket->number, id16, &entry, err);
	}
	if (rc == ERR_OK)
		*out = entry;
	return rc;
}

/* Put the entry at this place into the table; a later one of an id takes the place of the earlier.
 */
static enum err_code note(struct ledger *ledger, struct kv_txn *txn, const uint8_t id16[ID16_LEN],
	uint32_t place, struct err *err)
{
	struct ledger_slot *slot;
	struct item_seen entry;
	enum err_code rc = find_open(ledger, txn, id16, &slot, &entry, err);

	if (rc == ERR_OK)
		slot->place = place;
	else if (rc == ERR_NOT_FOUND)
		table_add(&ledger->table, table_fingerprint(id16), place);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

enum err_code ledger_note(struct ledger *ledger, struct kv_txn *txn,
	const struct ledger_append *append, size_t n, const uint8_t id16[ID16_LEN], struct err *err)
{
	return note(ledger, txn, id16,
		PLACE(append->first_chunk + n / LEDGER_CHUNK, n % LEDGER_CHUNK), err);
}

enum err_code ledger_append_begin(
	struct ledger *ledger, int64_t now_ms, struct ledger_append *out, struct err *err)
{
	struct ledger_bucket bucket = *open_bucket(ledger);
	int64_t now = now_ms > ledger->last_ms ? now_ms : ledger->last_ms;

	if (bucket.chunks >= CHUNKS_MAX - JOURNAL_EMBEDDED_MAX / JOURNAL_SEEN_LEN / LEDGER_CHUNK)
		return err_set(err, ERR_FULL, "the ledger's bucket is full and must be sealed");
	if (bucket.entries == 0)
		bucket.first_ms = now;
	bucket.newest_ms = now;
	*out = (struct ledger_append){ .bucket = bucket, .first_chunk = bucket.chunks + 1 };
	out->chunk = BUF_INIT(LEDGER_CHUNK * JOURNAL_SEEN_LEN);
	return ERR_OK;
}

static enum err_code write_chunk(
	struct ledger *ledger, struct kv_txn *txn, struct ledger_append *append, struct err *err)
{
	struct ledger_bucket *bucket = &append->bucket;
	struct row_key key;
	struct header row;
	enum err_code rc;

	if (append->chunk.len == 0)
		return ERR_OK;
	key = ledger_key_number(bucket->number, LEDGER_LOOSE, bucket->chunks + 1);
	row = (struct header){ row_key_slice(&key), buf_slice(&append->chunk) };
	rc = row_put(txn, KV_LEDGER, KV_APPEND, &row, &ledger->scratch, err);
	if (rc != ERR_OK)
		return rc;
	bucket->chunks++;
	bucket->entries += (uint32_t)(append->chunk.len / JOURNAL_SEEN_LEN);
	buf_reset(&append->chunk);
	return ERR_OK;
}

enum err_code ledger_append_entry(struct ledger *ledger, struct kv_txn *txn,
	struct ledger_append *append, const uint8_t entry[JOURNAL_SEEN_LEN], struct err *err)
{
	enum err_code rc = buf_put(&append->chunk, entry, JOURNAL_SEEN_LEN, err);

	if (rc == ERR_OK && append->chunk.len == LEDGER_CHUNK * JOURNAL_SEEN_LEN)
		rc = write_chunk(ledger, txn, append, err);
	return rc;
}

enum err_code ledger_append_end(
	struct ledger *ledger, struct kv_txn *txn, struct ledger_append *append, struct err *err)
{
	enum err_code rc = write_chunk(ledger, txn, append, err);

	return rc == ERR_OK ? bucket_write(txn, &append->bucket, &ledger->scratch, err) : rc;
}

static enum err_code add_bucket(
	struct ledger *ledger, const struct ledger_bucket *bucket, struct err *err)
{
	struct ledger_bucket *buckets;

	buckets = realloc(ledger->buckets, (ledger->count + 1) * sizeof(*buckets));
	if (!buckets)
		return err_set(err, ERR_NOMEM, "no memory for ledger buckets");
	ledger->buckets = buckets;
	ledger->cap = ledger->count + 1;
	buckets[ledger->count++] = *bucket;
	return ERR_OK;
}

static enum err_code load_table(struct ledger *ledger, struct kv_txn *txn, struct err *err)
{
	const struct ledger_bucket *bucket = open_bucket(ledger);
	uint32_t entries = 0;
	enum err_code rc = table_reserve(&ledger->table, bucket->entries, err);

	for (uint32_t chunk = 1; rc == ERR_OK && chunk <= bucket->chunks; chunk++) {
		struct slice payload;
		size_t count = 0;

		rc = read_chunk(txn, bucket->number, chunk, &payload, err);
		if (rc == ERR_OK)
			rc = ledger_chunk_count(payload, &count, err);
		entries += (uint32_t)count;
		if (rc == ERR_OK && entries > bucket->entries)
			break;
		for (size_t i = 0; rc == ERR_OK && i < count; i++)
			rc = note(ledger, txn, payload.data + i * JOURNAL_SEEN_LEN, PLACE(chunk, i),
				err);
	}
	if (rc == ERR_OK && entries != bucket->entries)
		rc = err_set(err, ERR_CORRUPT, "the ledger's open bucket should have %u entries",
			bucket->entries);
	return rc;
}

static enum err_code load_bucket(
	struct ledger *ledger, struct kv_txn *txn, struct ledger_bucket *bucket, struct err *err)
{
	enum err_code rc = ERR_OK;

	if (ledger->count > 0 && !open_bucket(ledger)->sealed)
		return err_set(err, ERR_CORRUPT, "two open buckets in the ledger");
	if (bucket->sealed)
		rc = filter_read(txn, bucket->number, &bucket->filter, err);
	if (rc == ERR_OK)
		rc = add_bucket(ledger, bucket, err);
	if (rc != ERR_OK) {
		filter_done(&bucket->filter);
		return rc;
	}
	if (bucket->sealed)
		ledger->sealed_entries += bucket->entries;
	if (bucket->newest_ms > ledger->last_ms)
		ledger->last_ms = bucket->newest_ms;
	return ERR_OK;
}

enum err_code ledger_load(struct ledger *ledger, struct kv_txn *txn, struct err *err)
{
	struct row_key key = key_of_bucket(0);
	struct ledger_bucket bucket;
	struct header row;
	enum err_code rc;

	for (;;) {
		rc = row_seek(txn, KV_META, KV_AT_LEAST, row_key_slice(&key), &row, err);
		if (rc == ERR_OK)
			rc = bucket_decode(&row, &bucket, err);
		if (rc != ERR_OK)
			break;
		rc = load_bucket(ledger, txn, &bucket, err);
		if (rc != ERR_OK)
			break;
		key = key_of_bucket(bucket.number + 1);
	}
	if (rc != ERR_NOT_FOUND)
		return rc;
	if (ledger->count == 0 || open_bucket(ledger)->sealed) {
		uint32_t number = ledger->count ? open_bucket(ledger)->number + 1 : 1;

		rc = add_bucket(ledger, &(struct ledger_bucket){ .number = number }, err);
		if (rc != ERR_OK)
			return rc;
	}
	return load_table(ledger, txn, err);
}
