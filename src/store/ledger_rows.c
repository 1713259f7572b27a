/* ledger_rows.c - the ledger's keys, its chunks of entries, and the rows that describe its buckets.
 *
 * Deliberately not here: which bucket is asked (ledger.c, ledger_view.c). */
#include "ledger.h"

#define BUCKET_NAME "bucket"

struct row_key ledger_key(uint32_t bucket, enum ledger_kind kind, const void *rest, size_t len)
{
	struct row_key key = { .len = 5 + len };

	put_be32(key.bytes, bucket);
	key.bytes[4] = (uint8_t)kind;
	if (len)
		memcpy(key.bytes + 5, rest, len);
	return key;
}

struct row_key ledger_key_number(uint32_t bucket, enum ledger_kind kind, uint32_t number)
{
	uint8_t rest[4];

	put_be32(rest, number);
	return ledger_key(bucket, kind, rest, sizeof(rest));
}

bool ledger_key_is(struct slice key, uint32_t bucket, enum ledger_kind kind)
{
	return key.len >= 5 && get_be32(key.data) == bucket && key.data[4] == (uint8_t)kind;
}

enum err_code ledger_chunk_count(struct slice payload, size_t *out_count, struct err *err)
{
	if (payload.len == 0 || payload.len % JOURNAL_SEEN_LEN != 0 ||
		payload.len / JOURNAL_SEEN_LEN > LEDGER_CHUNK)
		return err_set(err, ERR_CORRUPT, "a ledger chunk of %zu bytes", payload.len);
	*out_count = payload.len / JOURNAL_SEEN_LEN;
	return ERR_OK;
}

enum err_code ledger_entry(
	struct slice payload, size_t slot, struct item_seen *out, struct err *err)
{
	struct slice entry = slice_sub(payload, slot * JOURNAL_SEEN_LEN, JOURNAL_SEEN_LEN);

	if (entry.len != JOURNAL_SEEN_LEN || !journal_seen_decode(entry.data, out))
		return err_set(err, ERR_CORRUPT, "a ledger entry does not decode");
	return ERR_OK;
}

int ledger_chunk_scan(struct slice payload, const uint8_t id16[ID16_LEN])
{
	int slot = (int)(payload.len / JOURNAL_SEEN_LEN) - 1;

	while (slot >= 0 &&
		memcmp(payload.data + (size_t)slot * JOURNAL_SEEN_LEN, id16, ID16_LEN) != 0)
		slot--;
	return slot;
}

int ledger_chunk_search(struct slice payload, const uint8_t id16[ID16_LEN])
{
	size_t low = 0, high = payload.len / JOURNAL_SEEN_LEN;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = memcmp(payload.data + middle * JOURNAL_SEEN_LEN, id16, ID16_LEN);

		if (order == 0)
			return (int)middle;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

enum err_code ledger_sorted_find(struct kv_txn *txn, uint32_t bucket, const uint8_t id16[ID16_LEN],
	struct item_seen *out, struct err *err)
{
	struct row_key key = ledger_key(bucket, LEDGER_SORTED, id16, ID16_LEN);
	struct header row;
	enum err_code rc = row_seek(txn, KV_LEDGER, KV_AT_MOST, row_key_slice(&key), &row, err);
	int slot;

	if (rc != ERR_OK)
		return rc;
	if (!ledger_key_is(row.name, bucket, LEDGER_SORTED))
		return ERR_NOT_FOUND;
	slot = ledger_chunk_search(row.value, id16);
	return slot < 0 ? ERR_NOT_FOUND : ledger_entry(row.value, (size_t)slot, out, err);
}

struct row_key key_of_bucket(uint32_t number)
{
	struct row_key key = key_of_name(BUCKET_NAME);

	put_be32(key.bytes + key.len, number);
	key.len += sizeof(uint32_t);
	return key;
}

/* ERR_NOT_FOUND: the row is none of a bucket. */
enum err_code bucket_decode(const struct header *row, struct ledger_bucket *out, struct err *err)
{
	size_t name_len = sizeof(BUCKET_NAME) - 1;
	struct cursor c = CURSOR(row->value);

	if (row->name.len != name_len + sizeof(uint32_t) ||
		!slice_starts(row->name, SLICE_LIT(BUCKET_NAME)))
		return ERR_NOT_FOUND;
	*out = (struct ledger_bucket){ .number = get_be32(row->name.data + name_len) };
	out->entries = cursor_u32(&c);
	out->chunks = cursor_u32(&c);
	out->sealed = cursor_u8(&c) != 0;
	out->first_ms = (int64_t)cursor_u64(&c);
	out->newest_ms = (int64_t)cursor_u64(&c);
	out->filter.blocks = cursor_u32(&c);
	if (c.bad || c.rest.len != 0)
		return err_set(err, ERR_CORRUPT, "a ledger bucket's row does not decode");
	return ERR_OK;
}

enum err_code bucket_write(struct kv_txn *txn, const struct ledger_bucket *bucket,
	struct buf *scratch, struct err *err)
{
	struct row_key key = key_of_bucket(bucket->number);
	uint8_t payload[4 + 4 + 1 + 8 + 8 + 4];
	struct header row = { row_key_slice(&key), { payload, sizeof(payload) } };

	put_le32(payload, bucket->entries);
	put_le32(payload + 4, bucket->chunks);
	payload[8] = bucket->sealed;
	put_le64(payload + 9, (uint64_t)bucket->first_ms);
	put_le64(payload + 17, (uint64_t)bucket->newest_ms);
	put_le32(payload + 25, bucket->filter.blocks);
	return row_put(txn, KV_META, KV_SET, &row, scratch, err);
}
