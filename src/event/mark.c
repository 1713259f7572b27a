/* mark.c - a block with something added: what a dead letter says, the marks of a redrive; and a
 * block as JSON.
 *
 * The other headers stay byte for byte, in their order. Deliberately not here: when to mark. */
#include "event_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "postern/json.h"
#include "postern/text.h"

/* Copy every header that `drop` does not want away. */
static enum err_code copy_headers(struct block *block, struct slice headers,
	bool (*drop)(struct slice name, struct slice what), struct slice what, struct err *err)
{
	enum err_code rc = block_check(headers, err);
	struct header header;
	size_t at = 0;

	while (rc == ERR_OK && event_header_next(headers, &at, &header)) {
		if (!drop(header.name, what))
			rc = block_put(block, header.name, header.value, err);
	}
	return rc;
}

static enum err_code put_number(
	struct block *block, const char *name, int64_t number, struct err *err)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRId64, number);
	return block_put(block, slice_str(name), slice_str(text), err);
}

static enum err_code put_time(struct block *block, const char *name, int64_t ms, struct err *err)
{
	char text[TEXT_TIME_LEN];

	text_time_ms(ms, text);
	return block_put(block, slice_str(name), slice_str(text), err);
}

/* Cut between characters, so that the header stays UTF-8. */
static struct slice cut(struct slice text, size_t max)
{
	size_t len = text.len;

	if (len <= max)
		return text;
	len = max;
	while (len > 0 && (text.data[len] & 0xc0) == 0x80)
		len--;
	return slice_sub(text, 0, len);
}

static enum err_code put_dead(struct block *block, const struct dead_letter *dead, struct err *err)
{
	const struct header texts[] = {
		{ SLICE_LIT(NAME_DEAD "reason"), cut(dead->reason, EVENT_ID_MAX) },
		{ SLICE_LIT(NAME_DEAD "route"), cut(dead->route, EVENT_ID_MAX) },
		{ SLICE_LIT(NAME_DEAD "error"), cut(dead->error, DEAD_ERROR_MAX) },
		{ SLICE_LIT(NAME_DEAD "topic"), cut(dead->topic, EVENT_ID_MAX) },
	};
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < ARRAY_LEN(texts) && rc == ERR_OK; i++)
		rc = block_put(block, texts[i].name, texts[i].value, err);
	if (rc == ERR_OK)
		rc = put_number(block, NAME_DEAD "attempts", dead->attempts, err);
	if (rc == ERR_OK)
		rc = put_number(block, NAME_DEAD "partition", dead->partition, err);
	if (rc == ERR_OK)
		rc = put_number(block, NAME_DEAD "offset", dead->offset, err);
	if (rc == ERR_OK)
		rc = put_time(block, NAME_DEAD "first-failed", dead->first_failed_ms, err);
	if (rc == ERR_OK)
		rc = put_time(block, NAME_DEAD "last-failed", dead->last_failed_ms, err);
	return rc;
}

enum err_code event_dead_letter(
	struct slice headers, const struct dead_letter *dead, struct buf *out, struct err *err)
{
	struct block block;
	enum err_code rc = block_begin(&block, out, err);

	if (rc == ERR_OK)
		rc = copy_headers(&block, headers, slice_starts, SLICE_LIT(NAME_DEAD), err);
	if (rc == ERR_OK)
		rc = put_dead(&block, dead, err);
	if (rc == ERR_OK)
		rc = block_end(&block, EVENT_HEADER_COUNT_MAX, EVENT_HEADERS_MAX, err);
	if (rc != ERR_OK)
		block_undo(&block);
	return rc;
}

enum err_code event_with_mark(struct slice headers, enum event_mark mark, struct slice value,
	struct buf *out, struct err *err)
{
	struct slice name = mark == EVENT_MARK_QUARANTINE ? SLICE_LIT(NAME_QUARANTINE)
							  : SLICE_LIT(NAME_REDRIVE);
	struct block block;
	enum err_code rc = block_begin(&block, out, err);

	if (rc == ERR_OK)
		rc = copy_headers(&block, headers, slice_eq, name, err);
	if (rc == ERR_OK && value.len > EVENT_ID_MAX)
		rc = err_set(err, ERR_LIMIT, "a mark of %zu bytes", value.len);
	if (rc == ERR_OK && value.len > 0)
		rc = block_put(&block, name, value, err);
	if (rc == ERR_OK)
		rc = block_end(&block, EVENT_HEADER_COUNT_MAX, EVENT_HEADERS_MAX, err);
	if (rc != ERR_OK)
		block_undo(&block);
	return rc;
}

static bool named_before(struct slice headers, size_t until, struct slice name)
{
	struct header header;
	size_t at = 0;

	while (at < until && event_header_next(headers, &at, &header)) {
		if (at < until && slice_eq(header.name, name))
			return true;
	}
	return false;
}

/* Copied request headers may repeat. In the object a name is there once, its values joined as HTTP
 * joins them. */
static enum err_code put_joined(struct slice headers, size_t at, const struct header *first,
	struct buf *out, struct err *err)
{
	struct buf value = BUF_INIT(2 * EVENT_HEADERS_MAX);
	enum err_code rc = buf_put_slice(&value, first->value, err);
	struct header header;
	char *name = slice_dup_str(first->name);

	if (!name)
		rc = err_set(err, ERR_NOMEM, "no memory for a header's name");
	while (rc == ERR_OK && event_header_next(headers, &at, &header)) {
		if (!slice_eq(header.name, first->name))
			continue;
		rc = buf_put_str(&value, ", ", err);
		if (rc == ERR_OK)
			rc = buf_put_slice(&value, header.value, err);
	}
	if (rc == ERR_OK)
		rc = json_put_str(out, name, value.data ? buf_slice(&value) : SLICE_LIT(""), err);
	free(name);
	buf_done(&value);
	return rc;
}

enum err_code event_headers_json(struct slice headers, struct buf *out, struct err *err)
{
	size_t at = 0, start = out->len;
	struct header header;
	enum err_code rc = block_check(headers, err);

	if (rc == ERR_OK)
		rc = buf_put_u8(out, '{', err);
	while (rc == ERR_OK && event_header_next(headers, &at, &header)) {
		if (!named_before(headers, at, header.name))
			rc = put_joined(headers, at, &header, out, err);
	}
	if (rc == ERR_OK)
		rc = buf_put_u8(out, '}', err);
	if (rc != ERR_OK)
		out->len = start;
	return rc;
}
