/* block.c - the encoded header block: count u16, then (name length u16, name, value length u32,
 * value).
 *
 * Deliberately not here: what any header means. */
#include "event_priv.h"

#define COUNT_LEN 2

enum err_code block_begin(struct block *block, struct buf *out, struct err *err)
{
	*block = (struct block){ .out = out, .start = out->len };
	return buf_put_u16(out, 0, err);
}

enum err_code block_put(struct block *block, struct slice name, struct slice value, struct err *err)
{
	enum err_code rc;
	uint8_t *at;

	if (name.len == 0 || name.len > UINT16_MAX || value.len > EVENT_HEADERS_MAX)
		return err_set(
			err, ERR_LIMIT, "a header of %zu and %zu bytes", name.len, value.len);
	rc = buf_reserve(block->out, COUNT_LEN + name.len + sizeof(uint32_t) + value.len, err);
	if (rc != ERR_OK)
		return rc;
	/* By hand: some twenty headers are put for each request. */
	at = block->out->data + block->out->len;
	put_le16(at, (uint16_t)name.len);
	memcpy(at + 2, name.data, name.len);
	at += 2 + name.len;
	put_le32(at, (uint32_t)value.len);
	if (value.len)
		memcpy(at + 4, value.data, value.len);
	at[4 + value.len] = '\0';
	block->out->len += 2 + name.len + 4 + value.len;
	block->count++;
	return ERR_OK;
}

enum err_code block_end(struct block *block, size_t max_count, size_t max_len, struct err *err)
{
	size_t len = block->out->len - block->start;

	if (block->count > max_count || len > max_len) {
		size_t count = block->count;

		block_undo(block);
		return err_set(err, ERR_LIMIT,
			"%zu headers of %zu bytes; at most %zu of %zu fit in a record", count, len,
			max_count, max_len);
	}
	put_le16(block->out->data + block->start, (uint16_t)block->count);
	return ERR_OK;
}

void block_undo(struct block *block)
{
	block->out->len = block->start;
	if (block->out->data)
		block->out->data[block->start] = '\0';
	block->count = 0;
}

bool event_header_next(struct slice headers, size_t *at, struct header *out)
{
	size_t from = *at ? *at : COUNT_LEN;
	struct cursor cursor;
	struct header header;

	if (from >= headers.len)
		return false;
	cursor = CURSOR(slice_sub(headers, from, headers.len));
	header.name = cursor_bytes(&cursor, cursor_u16(&cursor));
	header.value = cursor_sized(&cursor);
	if (cursor.bad || header.name.len == 0)
		return false;
	*at = headers.len - cursor.rest.len;
	*out = header;
	return true;
}

bool event_kept_next(struct slice headers, size_t *at, struct header *out)
{
	struct header header;

	while (event_header_next(headers, at, &header)) {
		if (!slice_starts(header.name, SLICE_LIT(NAME_KEPT)))
			continue;
		out->name = slice_sub(header.name, sizeof(NAME_KEPT) - 1, header.name.len);
		out->value = header.value;
		return true;
	}
	return false;
}

enum err_code block_check(struct slice headers, struct err *err)
{
	size_t at = 0, count = 0;
	struct header header;

	if (headers.len < COUNT_LEN || headers.len > EVENT_HEADERS_MAX)
		return err_set(err, ERR_SYNTAX, "a header block of %zu bytes", headers.len);
	while (event_header_next(headers, &at, &header))
		count++;
	if ((count ? at : COUNT_LEN) != headers.len)
		return err_set(
			err, ERR_SYNTAX, "the header block breaks off after %zu headers", count);
	if (count != get_le16(headers.data) || count > EVENT_HEADER_COUNT_MAX)
		return err_set(err, ERR_SYNTAX, "the header block says %u headers and has %zu",
			get_le16(headers.data), count);
	return ERR_OK;
}
