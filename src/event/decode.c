/* decode.c - from a header block to an event. Strict: what is there is well-formed, once, or
 * nothing is.
 *
 * Deliberately not here: making sense of an event (the worker decides), and the copied request
 * headers. */
#include "event_priv.h"

#include "postern/text.h"

static const struct header_row *find_row(struct slice name, size_t *out_index)
{
	for (size_t i = 0; i < event_row_count; i++) {
		const struct header_row *row = &event_rows[i];

		if (row->name_len == name.len && memcmp(row->name, name.data, name.len) == 0) {
			*out_index = i;
			return row;
		}
	}
	return NULL;
}

static enum err_code not_well_formed(const struct header_row *row, struct err *err)
{
	return err_set(err, ERR_SYNTAX, "the header %s is not well-formed", row->name);
}

/* The digits are checked by decoding them; to == NULL checks alone. */
static bool read_hex(struct slice text, uint8_t *to, size_t len)
{
	if (text.len != 2 * len)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];
		int digit = c >= '0' && c <= '9'   ? c - '0'
			    : c >= 'a' && c <= 'f' ? c - 'a' + 10
						   : -1;

		if (digit < 0)
			return false;
		if (to)
			to[i / 2] = (uint8_t)(i % 2 ? to[i / 2] | digit : digit << 4);
	}
	return true;
}

static bool read_row(const struct header_row *row, struct slice value, void *member)
{
	struct slice *text = member; /* where the form says that it is one */

	switch (row->form) {
	case FORM_SPECVERSION: return slice_eq_str(value, "1.0");
	case FORM_SOURCE: return value.len > 0;
	case FORM_TEXT:
	case FORM_DEAD: *text = value; return true;
	case FORM_LONG:
	case FORM_TYPE: *text = value; return value.len <= EVENT_ID_MAX;
	case FORM_DIGEST: *text = value; return read_hex(value, NULL, 32);
	case FORM_ATTEMPT: return read_hex(value, member, ATTEMPT_LEN);
	case FORM_TIME: return text_rfc3339(value, member, NULL) == ERR_OK;
	case FORM_VERSION: return version_parse(value, member, NULL) == ERR_OK;
	}
	return false;
}

static enum err_code read_headers(struct slice headers, struct event *event, struct err *err)
{
	struct header header;
	uint64_t seen = 0;
	size_t at = 0;

	while (event_header_next(headers, &at, &header)) {
		size_t index = 0;
		const struct header_row *row = find_row(header.name, &index);

		if (!row)
			continue;
		if (seen & (UINT64_C(1) << index))
			return err_set(err, ERR_SYNTAX, "the header %s is there twice", row->name);
		seen |= UINT64_C(1) << index;
		if (!read_row(row, header.value, (char *)event + row->offset))
			return not_well_formed(row, err);
	}
	if (!(seen & 1))
		return err_set(err, ERR_SYNTAX, "the record has no %s", event_rows[0].name);
	return ERR_OK;
}

enum err_code event_decode(struct slice headers, struct event *out, struct err *err)
{
	struct event event = { .kept = NULL };
	enum err_code rc = block_check(headers, err);

	if (rc == ERR_OK)
		rc = read_headers(headers, &event, err);
	if (rc != ERR_OK)
		return rc;
	if (event.id.len == 0 || event.source.len == 0)
		return err_set(err, ERR_SYNTAX, "the record has no %s",
			event.id.len == 0 ? "ce_id" : "postern-source");
	*out = event;
	return ERR_OK;
}
