/* rows.h - keys and values of the tables, both ways, with a checksum over each row.
 *
 * A value is CRC32C u32 over key and payload, then the payload: mostly a journal item. Rot of a
 * page is found where it is read: ERR_CORRUPT.
 *
 * Owns:    what is read lives in the transaction.
 * Threads: pure over a transaction. */
#pragma once

#include "kv.h"

struct row_key {
	uint8_t bytes[KV_KEY_MAX];
	size_t len;
};
struct row_key key_of_version(struct slice subject);
struct row_key key_of_parked(struct slice subject, int64_t offset);
struct row_key key_of_out(int64_t offset, uint32_t n);
struct row_key key_of_offset(int64_t offset); /* tries, entries */
struct row_key key_of_name(const char *name); /* meta */
struct row_key key_of_u16(uint16_t number);   /* routes */
static inline struct slice row_key_slice(const struct row_key *key)
{
	return (struct slice){ key->bytes, key->len };
}
/* The key behind this one: where a walk goes on. */
void row_key_after(struct row_key *key, struct slice last);
int64_t offset_of_key(struct slice key);

MUST_CHECK enum err_code row_get(struct kv_txn *txn, enum kv_table table, struct slice key,
	struct slice *out_payload, struct err *err);
MUST_CHECK enum err_code row_seek(struct kv_txn *txn, enum kv_table table, enum kv_seek seek,
	struct slice key, struct header *out, struct err *err);
/* The payload must not be in the scratch buffer. */
MUST_CHECK enum err_code row_put(struct kv_txn *txn, enum kv_table table, enum kv_put how,
	const struct header *row, struct buf *scratch, struct err *err);
/* A payload that is one journal item of this type. */
MUST_CHECK enum err_code row_item(
	struct slice payload, enum item_type type, struct item *out, struct err *err);

/* The row of a version or a parked event, whose key stands for the subject. */
MUST_CHECK enum err_code row_version(
	struct kv_txn *txn, struct slice subject, struct item *out, struct err *err);
MUST_CHECK enum err_code row_parked(struct kv_txn *txn, struct slice subject, int64_t offset,
	struct item *out, struct err *err);

enum kv_table table_of_entries(enum out_target target);
MUST_CHECK enum err_code entry_encode(
	const struct store_entry *entry, struct buf *out, struct err *err);
MUST_CHECK enum err_code entry_decode(
	struct slice payload, struct store_entry *out, struct err *err);
/* The committed entry with stream_offset >= from. */
MUST_CHECK enum err_code row_entry_next(struct kv_txn *txn, enum out_target target, int64_t from,
	struct store_entry *out, struct err *err);

/* Copies for callers: what *out points to is moved into the buffer, whose old contents are lost. */
MUST_CHECK enum err_code copy_version(const struct item_version *from, struct buf *text,
	struct item_version *out, struct err *err);
MUST_CHECK enum err_code copy_parked(
	const struct item_park *from, struct buf *bytes, struct item_park *out, struct err *err);
MUST_CHECK enum err_code copy_out(
	const struct item_out *from, struct buf *bytes, struct item_out *out, struct err *err);
MUST_CHECK enum err_code copy_entry(
	const struct store_entry *from, struct buf *text, struct store_entry *out, struct err *err);
