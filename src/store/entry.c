/* entry.c - an entry of the index of dead or quarantined records as bytes; and the copies that
 * callers get.
 *
 * Deliberately not here: where an entry's values come from (fold.c). */
#include "rows.h"

#define ENTRY_FIELDS 6

enum kv_table table_of_entries(enum out_target target)
{
	return target == OUT_DLQ ? KV_DLQ : KV_QUARANTINE;
}

enum err_code entry_encode(const struct store_entry *entry, struct buf *out, struct err *err)
{
	const struct slice fields[ENTRY_FIELDS] = { entry->event_id, entry->source, entry->tenant,
		entry->type, entry->entity, entry->route };
	const int64_t numbers[] = { entry->stream_offset, entry->offset, entry->time_ms,
		entry->received_ms, (int64_t)entry->bytes };
	size_t start = out->len;
	enum err_code rc = buf_put(out, entry->id16, ID16_LEN, err);

	for (size_t i = 0; i < ARRAY_LEN(numbers) && rc == ERR_OK; i++)
		rc = buf_put_u64(out, (uint64_t)numbers[i], err);
	if (rc == ERR_OK)
		rc = buf_put_u8(out, (uint8_t)entry->reason, err);
	if (rc == ERR_OK)
		rc = buf_put_u8(out, (uint8_t)entry->mark, err);
	for (size_t i = 0; i < ENTRY_FIELDS && rc == ERR_OK; i++)
		rc = buf_put_sized(out, fields[i], err);
	if (rc != ERR_OK)
		out->len = start;
	return rc;
}

enum err_code entry_decode(struct slice payload, struct store_entry *out, struct err *err)
{
	struct cursor c = CURSOR(payload);
	struct slice id16 = cursor_bytes(&c, ID16_LEN);
	struct store_entry entry = {
		.stream_offset = (int64_t)cursor_u64(&c),
	};

	entry.offset = (int64_t)cursor_u64(&c);
	entry.time_ms = (int64_t)cursor_u64(&c);
	entry.received_ms = (int64_t)cursor_u64(&c);
	entry.bytes = cursor_u64(&c);
	entry.reason = (enum err_code)cursor_u8(&c);
	entry.mark = cursor_u8(&c);
	entry.event_id = cursor_sized(&c);
	entry.source = cursor_sized(&c);
	entry.tenant = cursor_sized(&c);
	entry.type = cursor_sized(&c);
	entry.entity = cursor_sized(&c);
	entry.route = cursor_sized(&c);
	if (c.bad || c.rest.len != 0 || entry.reason >= ERR_CODES || entry.mark > MARK_DROPPED)
		return err_set(err, ERR_CORRUPT, "an entry of the store's index does not decode");
	memcpy(entry.id16, id16.data, ID16_LEN);
	*out = entry;
	return ERR_OK;
}

enum err_code row_entry_next(struct kv_txn *txn, enum out_target target, int64_t from,
	struct store_entry *out, struct err *err)
{
	struct row_key key = key_of_offset(from);
	struct header row;
	enum err_code rc = row_seek(
		txn, table_of_entries(target), KV_AT_LEAST, row_key_slice(&key), &row, err);

	return rc == ERR_OK ? entry_decode(row.value, out, err) : rc;
}

/* Move the fields into the buffer, one behind the other. */
static enum err_code copy_fields(
	struct slice *const *fields, size_t count, struct buf *to, struct err *err)
{
	size_t total = 0, at = 0;
	enum err_code rc;

	for (size_t i = 0; i < count; i++)
		total += fields[i]->len;
	buf_reset(to);
	rc = buf_reserve(to, total, err);
	for (size_t i = 0; i < count && rc == ERR_OK; i++)
		rc = buf_put_slice(to, *fields[i], err);
	if (rc != ERR_OK)
		return rc;
	for (size_t i = 0; i < count; i++) {
		*fields[i] = slice_sub(buf_slice(to), at, fields[i]->len);
		at += fields[i]->len;
	}
	return ERR_OK;
}

enum err_code copy_version(const struct item_version *from, struct buf *text,
	struct item_version *out, struct err *err)
{
	struct item_version copy = *from;
	struct slice *const fields[] = { &copy.subject, &copy.event_id, &copy.source };
	enum err_code rc = copy_fields(fields, ARRAY_LEN(fields), text, err);

	if (rc == ERR_OK)
		*out = copy;
	return rc;
}

enum err_code copy_parked(
	const struct item_park *from, struct buf *bytes, struct item_park *out, struct err *err)
{
	struct item_park copy = *from;
	struct slice *const fields[] = { &copy.subject, &copy.error, &copy.key, &copy.headers,
		&copy.body };
	enum err_code rc = copy_fields(fields, ARRAY_LEN(fields), bytes, err);

	if (rc == ERR_OK)
		*out = copy;
	return rc;
}

enum err_code copy_out(
	const struct item_out *from, struct buf *bytes, struct item_out *out, struct err *err)
{
	struct item_out copy = *from;
	struct slice *const fields[] = { &copy.topic, &copy.key, &copy.headers, &copy.body };
	enum err_code rc = copy_fields(fields, ARRAY_LEN(fields), bytes, err);

	if (rc == ERR_OK)
		*out = copy;
	return rc;
}

enum err_code copy_entry(
	const struct store_entry *from, struct buf *text, struct store_entry *out, struct err *err)
{
	struct store_entry copy = *from;
	struct slice *const fields[] = { &copy.event_id, &copy.source, &copy.tenant, &copy.type,
		&copy.entity, &copy.route };
	enum err_code rc = copy_fields(fields, ARRAY_LEN(fields), text, err);

	if (rc == ERR_OK)
		*out = copy;
	return rc;
}
