/* encode.c - from an event to its header block, by the table of names.
 *
 * Deliberately not here: where the values come from, and reading them back (decode.c). */
#include "event_priv.h"

#include "postern/text.h"

#define SPECVERSION SLICE_LIT("1.0")
#define DIGEST_DIGITS 64
#define KEPT_NAME_MAX 1024 /* schemes name them; none is near this */

static const void *member(const struct event *event, const struct header_row *row)
{
	return (const char *)event + row->offset;
}

static struct slice row_name(const struct header_row *row)
{
	return (struct slice){ (const uint8_t *)row->name, row->name_len };
}

static enum err_code put_text(struct block *block, const struct header_row *row, struct slice value,
	size_t max, struct err *err)
{
	if (value.len == 0)
		return ERR_OK; /* absent */
	if (value.len > max)
		return err_set(err, ERR_LIMIT, "%s is longer than %zu bytes", row->name, max);
	return block_put(block, row_name(row), value, err);
}

static enum err_code put_digest(
	struct block *block, const struct header_row *row, struct slice value, struct err *err)
{
	static const bool digits[256] = { ['0' ... '9'] = true, ['a' ... 'f'] = true };
	bool good = true;

	for (size_t i = 0; i < value.len; i++)
		good &= digits[value.data[i]];
	if (!good)
		return err_set(err, ERR_SYNTAX, "%s is not hexadecimal", row->name);
	if (value.len != 0 && value.len != DIGEST_DIGITS)
		return err_set(err, ERR_SYNTAX, "%s has %zu digits", row->name, value.len);
	return put_text(block, row, value, DIGEST_DIGITS, err);
}

/* "/tenant/source", or "/source" where there is no tenant. */
static enum err_code put_source(struct block *block, const struct header_row *row,
	const struct event *event, struct err *err)
{
	uint8_t text[2 * EVENT_ID_MAX + 2];
	const struct slice parts[] = { event->tenant, event->source };
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (parts[i].len > EVENT_ID_MAX)
			return err_set(err, ERR_LIMIT, "%s is too long", row->name);
		if (parts[i].len == 0 && i == 0)
			continue;
		text[len++] = '/';
		if (parts[i].len > 0)
			memcpy(text + len, parts[i].data, parts[i].len);
		len += parts[i].len;
	}
	return block_put(block, row_name(row), (struct slice){ text, len }, err);
}

static enum err_code put_time(
	struct block *block, const struct header_row *row, const int64_t *ms, struct err *err)
{
	char text[TEXT_TIME_LEN];

	text_time_ms(*ms, text);
	return block_put(block, row_name(row), slice_str(text), err);
}

static enum err_code put_version(
	struct block *block, const struct header_row *row, const struct version *v, struct err *err)
{
	char text[VERSION_TEXT_MAX];

	version_text(*v, text);
	return put_text(block, row, slice_str(text), VERSION_TEXT_MAX, err);
}

static enum err_code put_attempt(
	struct block *block, const struct header_row *row, const uint8_t *attempt, struct err *err)
{
	char text[2 * ATTEMPT_LEN + 1];

	text_hex(attempt, ATTEMPT_LEN, text);
	return block_put(block, row_name(row), slice_str(text), err);
}

static enum err_code put_row(struct block *block, const struct header_row *row,
	const struct event *event, struct err *err)
{
	const void *value = member(event, row);
	const struct slice *text = value; /* where the form says that it is one */

	switch (row->form) {
	case FORM_SPECVERSION: return block_put(block, row_name(row), SPECVERSION, err);
	case FORM_SOURCE: return put_source(block, row, event, err);
	case FORM_TEXT: return put_text(block, row, *text, EVENT_HEADERS_MAX, err);
	case FORM_LONG: return put_text(block, row, *text, EVENT_ID_MAX, err);
	case FORM_TYPE:
		return put_text(block, row, text->len ? *text : event->source, EVENT_ID_MAX, err);
	case FORM_DIGEST: return put_digest(block, row, *text, err);
	case FORM_ATTEMPT: return put_attempt(block, row, value, err);
	case FORM_TIME: return put_time(block, row, value, err);
	case FORM_VERSION: return put_version(block, row, value, err);
	case FORM_DEAD: return ERR_OK;
	}
	return ERR_OK;
}

/* HTTP header names are case-insensitive: lower case here, so that readers need not care. */
static enum err_code put_kept(struct block *block, const struct header *kept, struct err *err)
{
	static const struct slice prefix = SLICE_LIT(NAME_KEPT);
	uint8_t name[KEPT_NAME_MAX];
	size_t len = prefix.len + kept->name.len;

	if (len > sizeof(name))
		return err_set(err, ERR_LIMIT, "a kept header's name of %zu bytes", kept->name.len);
	memcpy(name, prefix.data, prefix.len);
	for (size_t i = 0; i < kept->name.len; i++) {
		uint8_t c = kept->name.data[i];

		name[prefix.len + i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
	}
	return block_put(block, (struct slice){ name, len }, kept->value, err);
}

static enum err_code put_all(struct block *block, const struct event *event, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < event_row_count && rc == ERR_OK; i++)
		rc = put_row(block, &event_rows[i], event, err);
	for (size_t i = 0; i < event->kept_count && rc == ERR_OK; i++)
		rc = put_kept(block, &event->kept[i], err);
	return rc;
}

enum err_code event_encode(const struct event *event, struct buf *out, struct err *err)
{
	struct block block;
	enum err_code rc;

	if (event->id.len == 0 || event->source.len == 0)
		return err_set(err, ERR_SYNTAX, "an event without %s",
			event->id.len == 0 ? "id" : "source");
	rc = block_begin(&block, out, err);
	if (rc != ERR_OK)
		return rc;
	rc = put_all(&block, event, err);
	if (rc == ERR_OK)
		rc = block_end(&block, EVENT_HEADER_COUNT_MAX - MARKS_COUNT_MAX,
			EVENT_HEADERS_MAX - MARKS_LEN_MAX, err);
	if (rc != ERR_OK)
		block_undo(&block);
	return rc;
}
