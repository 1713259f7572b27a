/* rows.c - what a row of each table looks like.
 *
 *   versions     0 | subject          or 1 | SHA-256 of it      VERSION item
 *   parked       SHA-256/2 of the subject | offset              PARK item
 *   outs         offset | n                                     OUT item
 *   dlq, quarantine   stream offset                             entry
 *
 * Numbers in keys are big-endian with the sign turned, so that they sort. Deliberately not here:
 * the ledger's rows (ledger.c), which have a layout of their own. */
#include "rows.h"

#include "postern/crypto.h"

#define SUBJECT_IN_KEY_MAX 400
#define CRC_LEN 4

static void key_put(struct row_key *key, const void *data, size_t len)
{
	memcpy(key->bytes + key->len, data, len);
	key->len += len;
}

static void key_put_offset(struct row_key *key, int64_t offset)
{
	put_be64(key->bytes + key->len, (uint64_t)offset ^ UINT64_C(1) << 63);
	key->len += sizeof(uint64_t);
}

int64_t offset_of_key(struct slice key)
{
	return key.len < 8 ? INT64_MIN : (int64_t)(get_be64(key.data) ^ UINT64_C(1) << 63);
}

struct row_key key_of_version(struct slice subject)
{
	struct row_key key = { .len = 0 };
	uint8_t digest[32];
	bool whole = subject.len <= SUBJECT_IN_KEY_MAX;

	key.bytes[key.len++] = whole ? 0 : 1;
	if (whole && subject.len) {
		key_put(&key, subject.data, subject.len);
	} else if (!whole) {
		crypto_sha256(subject, digest);
		key_put(&key, digest, sizeof(digest));
	}
	return key;
}

struct row_key key_of_parked(struct slice subject, int64_t offset)
{
	struct row_key key = { .len = 0 };
	uint8_t digest[32];

	crypto_sha256(subject, digest);
	key_put(&key, digest, 16);
	key_put_offset(&key, offset);
	return key;
}

struct row_key key_of_out(int64_t offset, uint32_t n)
{
	struct row_key key = { .len = 0 };

	key_put_offset(&key, offset);
	put_be32(key.bytes + key.len, n);
	key.len += sizeof(uint32_t);
	return key;
}

struct row_key key_of_offset(int64_t offset)
{
	struct row_key key = { .len = 0 };

	key_put_offset(&key, offset);
	return key;
}

struct row_key key_of_name(const char *name)
{
	struct row_key key = { .len = 0 };

	key_put(&key, name, strlen(name));
	return key;
}

struct row_key key_of_u16(uint16_t number)
{
	struct row_key key = { .bytes = { (uint8_t)(number >> 8), (uint8_t)number }, .len = 2 };

	return key;
}

void row_key_after(struct row_key *key, struct slice last)
{
	key->len = last.len < KV_KEY_MAX ? last.len : KV_KEY_MAX - 1;
	memcpy(key->bytes, last.data, key->len);
	key->bytes[key->len++] = 0;
}

static uint32_t row_crc(struct slice key, struct slice payload)
{
	return crc32c(crc32c(0, key.data, key.len), payload.data, payload.len);
}

static enum err_code check(
	enum kv_table table, struct slice key, struct slice *value, struct err *err)
{
	struct slice payload = slice_sub(*value, CRC_LEN, value->len);

	if (value->len < CRC_LEN || get_le32(value->data) != row_crc(key, payload))
		return err_set(err, ERR_CORRUPT,
			"a row of the store's table %d does not agree with its checksum",
			(int)table);
	*value = payload;
	return ERR_OK;
}

enum err_code row_get(struct kv_txn *txn, enum kv_table table, struct slice key,
	struct slice *out_payload, struct err *err)
{
	struct slice value;
	enum err_code rc = kv_get(txn, table, key, &value, err);

	if (rc == ERR_OK)
		rc = check(table, key, &value, err);
	if (rc == ERR_OK)
		*out_payload = value;
	return rc;
}

enum err_code row_seek(struct kv_txn *txn, enum kv_table table, enum kv_seek seek, struct slice key,
	struct header *out, struct err *err)
{
	struct header row;
	enum err_code rc = kv_seek(txn, table, seek, key, &row, err);

	if (rc == ERR_OK)
		rc = check(table, row.name, &row.value, err);
	if (rc == ERR_OK)
		*out = row;
	return rc;
}

enum err_code row_put(struct kv_txn *txn, enum kv_table table, enum kv_put how,
	const struct header *row, struct buf *scratch, struct err *err)
{
	struct header whole = { .name = row->name };
	enum err_code rc;

	buf_reset(scratch);
	rc = buf_put_u32(scratch, row_crc(row->name, row->value), err);
	if (rc == ERR_OK)
		rc = buf_put_slice(scratch, row->value, err);
	whole.value = buf_slice(scratch);
	return rc == ERR_OK ? kv_put(txn, table, how, &whole, err) : rc;
}

enum err_code row_item(struct slice payload, enum item_type type, struct item *out, struct err *err)
{
	size_t at = 0;
	enum err_code rc = journal_get_item(payload, &at, out, err);

	if (rc == ERR_OK && (out->type != type || at != payload.len))
		rc = err_set(err, ERR_CORRUPT, "a row of the store holds another item");
	return rc;
}

enum err_code row_version(
	struct kv_txn *txn, struct slice subject, struct item *out, struct err *err)
{
	struct row_key key = key_of_version(subject);
	struct slice payload;
	enum err_code rc = row_get(txn, KV_VERSIONS, row_key_slice(&key), &payload, err);

	if (rc == ERR_OK)
		rc = row_item(payload, ITEM_VERSION, out, err);
	if (rc == ERR_OK && !slice_eq(out->version.subject, subject))
		rc = err_set(err, ERR_CORRUPT, "two subjects with one hash");
	return rc;
}

enum err_code row_parked(
	struct kv_txn *txn, struct slice subject, int64_t offset, struct item *out, struct err *err)
{
	struct row_key key = key_of_parked(subject, offset);
	struct slice payload;
	enum err_code rc = row_get(txn, KV_PARKED, row_key_slice(&key), &payload, err);

	if (rc == ERR_OK)
		rc = row_item(payload, ITEM_PARK, out, err);
	if (rc == ERR_OK && !slice_eq(out->park.subject, subject))
		rc = err_set(err, ERR_CORRUPT, "two subjects with one hash");
	return rc;
}
