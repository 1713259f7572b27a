/* sfv.c - structured field values: items, inner lists, parameters, dictionaries.
 *
 * Deliberately not here: which fields are of which type. */
#include "sfv.h"

#include "postern/text.h"

#include <stdio.h>

static bool fail(struct sfv *p)
{
	p->failed = true;
	return false;
}

/* The buffers do not grow: slices into them stay. */
static bool put(struct sfv *p, struct buf *out, const void *data, size_t len)
{
	if (p->failed || len >= out->cap - out->len)
		return fail(p);
	return buf_put(out, data, len, NULL) == ERR_OK || fail(p);
}

static bool write(struct sfv *p, const char *text)
{
	return put(p, p->canon, text, strlen(text));
}

static bool write_slice(struct sfv *p, struct slice s)
{
	return put(p, p->canon, s.data, s.len);
}

static bool at_end(const struct sfv *p)
{
	return p->rest.len == 0;
}

static bool next_is(const struct sfv *p, char c)
{
	return p->rest.len > 0 && p->rest.data[0] == (uint8_t)c;
}

static bool take(struct sfv *p, char c)
{
	if (!next_is(p, c))
		return false;
	p->rest = slice_sub(p->rest, 1, p->rest.len);
	return true;
}

static void skip_blanks(struct sfv *p)
{
	while (take(p, ' '))
		continue;
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower(uint8_t c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_alpha(uint8_t c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}

/* As many bytes as fit. */
static struct slice take_run(struct sfv *p, bool (*fits)(uint8_t c))
{
	size_t len = 0;
	struct slice run;

	while (len < p->rest.len && fits(p->rest.data[len]))
		len++;
	run = slice_sub(p->rest, 0, len);
	p->rest = slice_sub(p->rest, len, p->rest.len);
	return run;
}

/* ---- items -------------------------------------------------------------------------------------
 */

/* At most 15 digits. */
static bool read_digits(struct sfv *p, size_t max, int64_t *out, size_t *out_len)
{
	struct slice digits = take_run(p, is_digit);
	uint64_t number;

	if (digits.len == 0 || digits.len > max || text_u64(digits, &number, NULL) != ERR_OK)
		return fail(p);
	*out = (int64_t)number;
	*out_len = digits.len;
	return true;
}

/* "1.50" is written 1.5, "2.0" stays 2.0. */
static bool read_fraction(struct sfv *p, int64_t whole, size_t whole_len, bool minus)
{
	struct slice digits = take_run(p, is_digit);
	char text[24];

	if (whole_len > 12 || digits.len == 0 || digits.len > 3)
		return fail(p);
	while (digits.len > 1 && digits.data[digits.len - 1] == '0')
		digits.len--;
	(void)snprintf(text, sizeof(text), "%s%lld.%.*s", minus ? "-" : "", (long long)whole,
		(int)digits.len, (const char *)digits.data);
	return write(p, text);
}

static bool read_number(struct sfv *p, struct sfv_value *out)
{
	bool minus = take(p, '-');
	int64_t whole;
	size_t len;
	char text[24];

	if (!read_digits(p, 15, &whole, &len))
		return false;
	if (take(p, '.')) {
		out->type = SFV_DECIMAL;
		return read_fraction(p, whole, len, minus);
	}
	out->type = SFV_INTEGER;
	out->number = minus ? -whole : whole;
	(void)snprintf(text, sizeof(text), "%lld", (long long)out->number);
	return write(p, text);
}

static bool read_date(struct sfv *p, struct sfv_value *out)
{
	bool ok = write(p, "@") && read_number(p, out) && out->type == SFV_INTEGER;

	out->type = SFV_DATE;
	return ok || fail(p);
}

static bool read_string(struct sfv *p, struct sfv_value *out)
{
	size_t at = p->text->len;

	out->type = SFV_STRING;
	if (!write(p, "\""))
		return false;
	while (!at_end(p)) {
		uint8_t c = p->rest.data[0];

		p->rest = slice_sub(p->rest, 1, p->rest.len);
		if (c == '"') {
			out->text = (struct slice){ p->text->data + at, p->text->len - at };
			return write(p, "\"");
		}
		if (c < 0x20 || c > 0x7e)
			return fail(p);
		if (c == '\\') {
			if (!next_is(p, '"') && !next_is(p, '\\'))
				return fail(p);
			c = p->rest.data[0];
			p->rest = slice_sub(p->rest, 1, p->rest.len);
			if (!write(p, "\\"))
				return false;
		}
		if (!put(p, p->canon, &c, 1) || !put(p, p->text, &c, 1))
			return false;
	}
	return fail(p);
}

static bool is_display_hex(uint8_t c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f');
}

/* %"f%c3%bc": already in its one form, if it is one. */
static bool read_display(struct sfv *p, struct sfv_value *out)
{
	const uint8_t *start = p->rest.data - 1;

	out->type = SFV_DISPLAY;
	if (!take(p, '"'))
		return fail(p);
	while (!at_end(p) && !next_is(p, '"')) {
		uint8_t c = p->rest.data[0];

		if (c < 0x20 || c > 0x7e)
			return fail(p);
		p->rest = slice_sub(p->rest, 1, p->rest.len);
		if (c != '%')
			continue;
		if (p->rest.len < 2 || !is_display_hex(p->rest.data[0]) ||
			!is_display_hex(p->rest.data[1]))
			return fail(p);
		p->rest = slice_sub(p->rest, 2, p->rest.len);
	}
	if (!take(p, '"'))
		return fail(p);
	return put(p, p->canon, start, (size_t)(p->rest.data - start));
}

static bool is_token_char(uint8_t c)
{
	return is_alpha(c) || is_digit(c) || (c && strchr("!#$%&'*+-.^_`|~:/", c));
}

static bool read_token(struct sfv *p, struct sfv_value *out)
{
	out->type = SFV_TOKEN;
	out->text = take_run(p, is_token_char);
	return write_slice(p, out->text);
}

static bool read_bytes(struct sfv *p, struct sfv_value *out)
{
	struct slice inner = slice_sub(p->rest, 0, slice_find(p->rest, ':'));
	size_t at = p->text->len;

	out->type = SFV_BYTES;
	if (inner.len == p->rest.len || inner.len >= p->text->cap - p->text->len ||
		text_base64_decode(inner, p->text, NULL) != ERR_OK)
		return fail(p);
	p->rest = slice_sub(p->rest, inner.len + 1, p->rest.len);
	out->text = (struct slice){ p->text->data + at, p->text->len - at };
	if (!write(p, ":") || (out->text.len + 2) / 3 * 4 >= p->canon->cap - p->canon->len ||
		text_base64(out->text, p->canon, NULL) != ERR_OK)
		return fail(p);
	return write(p, ":");
}

static bool read_boolean(struct sfv *p, struct sfv_value *out)
{
	out->type = SFV_BOOLEAN;
	out->number = next_is(p, '1');
	if (!take(p, '1') && !take(p, '0'))
		return fail(p);
	return write(p, out->number ? "?1" : "?0");
}

bool sfv_item(struct sfv *p, struct sfv_value *out)
{
	*out = (struct sfv_value){ .type = SFV_INTEGER };
	if (p->failed || at_end(p))
		return fail(p);
	if (take(p, '"'))
		return read_string(p, out);
	if (take(p, ':'))
		return read_bytes(p, out);
	if (take(p, '?'))
		return read_boolean(p, out);
	if (take(p, '@'))
		return read_date(p, out);
	if (take(p, '%'))
		return read_display(p, out);
	if (next_is(p, '-') || is_digit(p->rest.data[0]))
		return read_number(p, out);
	if (next_is(p, '*') || is_alpha(p->rest.data[0]))
		return read_token(p, out);
	return fail(p);
}

/* ---- keys and parameters -----------------------------------------------------------------------
 */

static bool is_key_char(uint8_t c)
{
	return is_lower(c) || is_digit(c) || c == '_' || c == '-' || c == '.' || c == '*';
}

static bool read_key(struct sfv *p, struct slice *out)
{
	if (at_end(p) || (!is_lower(p->rest.data[0]) && !next_is(p, '*')))
		return fail(p);
	*out = take_run(p, is_key_char);
	return write_slice(p, *out);
}

bool sfv_param(struct sfv *p, struct slice *key, struct sfv_value *out)
{
	size_t kept;

	if (p->failed || !take(p, ';'))
		return false;
	skip_blanks(p);
	*out = (struct sfv_value){ .type = SFV_BOOLEAN, .number = 1 };
	if (!write(p, ";") || !read_key(p, key))
		return false;
	if (!take(p, '='))
		return true;
	kept = p->canon->len;
	if (!write(p, "=") || !sfv_item(p, out))
		return false;
	/* true is written by its key alone */
	if (out->type == SFV_BOOLEAN && out->number == 1)
		p->canon->len = kept;
	return true;
}

void sfv_skip_params(struct sfv *p)
{
	struct sfv_members seen = { .count = 0 };
	struct sfv_value value;
	struct slice key;

	while (sfv_param(p, &key, &value)) {
		for (size_t i = 0; i < seen.count; i++)
			p->failed |= slice_eq(seen.keys[i], key);
		if (seen.count == SFV_MEMBERS_MAX)
			p->failed = true;
		else
			seen.keys[seen.count++] = key;
	}
}

/* ---- lists -------------------------------------------------------------------------------------
 */

bool sfv_list_open(struct sfv *p)
{
	return (take(p, '(') && write(p, "(")) || fail(p);
}

bool sfv_list_next(struct sfv *p, bool *is_first)
{
	bool has_blank = next_is(p, ' ');

	skip_blanks(p);
	if (p->failed)
		return false;
	if (take(p, ')')) {
		(void)write(p, ")");
		return false;
	}
	if (at_end(p) || (!*is_first && !has_blank))
		return fail(p);
	if (!*is_first && !write(p, " "))
		return false;
	*is_first = false;
	return true;
}

static bool skip_list(struct sfv *p)
{
	struct sfv_value item;
	bool is_first = true;

	if (!sfv_list_open(p))
		return false;
	while (sfv_list_next(p, &is_first)) {
		if (!sfv_item(p, &item))
			return false;
		sfv_skip_params(p);
	}
	return !p->failed;
}

/* An item or an inner list, with its parameters. */
static bool skip_element(struct sfv *p, struct sfv_value *out)
{
	*out = (struct sfv_value){ .type = SFV_LIST };
	if (next_is(p, '(') ? !skip_list(p) : !sfv_item(p, out))
		return false;
	sfv_skip_params(p);
	return !p->failed;
}

/* ---- dictionaries ------------------------------------------------------------------------------
 */

static void skip_white(struct sfv *p)
{
	while (take(p, ' ') || take(p, '\t'))
		continue;
}

/* Between two members; nothing may follow a comma but a member. */
static bool next_of_many(struct sfv *p, bool is_first)
{
	if (p->failed)
		return false;
	if (is_first) {
		skip_blanks(p);
		return !at_end(p);
	}
	skip_white(p);
	if (at_end(p))
		return false;
	if (!take(p, ','))
		return fail(p);
	skip_white(p);
	return !at_end(p) ? write(p, ", ") : fail(p);
}

bool sfv_member(struct sfv *p, struct sfv_members *seen, struct slice *key)
{
	if (!next_of_many(p, seen->count == 0) || !read_key(p, key))
		return false;
	for (size_t i = 0; i < seen->count; i++) {
		if (slice_eq(seen->keys[i], *key))
			return fail(p);
	}
	if (seen->count == SFV_MEMBERS_MAX)
		return fail(p);
	seen->keys[seen->count++] = *key;
	return true;
}

bool sfv_member_value(struct sfv *p, struct sfv_value *out, bool *is_list)
{
	size_t kept;

	*out = (struct sfv_value){ .type = SFV_BOOLEAN, .number = 1 };
	*is_list = false;
	kept = p->canon->len;
	if (!take(p, '='))
		return !p->failed;
	if (!write(p, "="))
		return false;
	*is_list = next_is(p, '(');
	if (*is_list)
		return true;
	if (!sfv_item(p, out))
		return false;
	if (out->type == SFV_BOOLEAN && out->number == 1)
		p->canon->len = kept;
	return true;
}

bool sfv_skip_value(struct sfv *p, struct sfv_value *out)
{
	bool is_list;

	if (!sfv_member_value(p, out, &is_list))
		return false;
	if (is_list) {
		out->type = SFV_LIST;
		if (!skip_list(p))
			return false;
	}
	sfv_skip_params(p);
	return !p->failed;
}

bool sfv_dictionary(struct sfv *p)
{
	struct sfv_members seen = { .count = 0 };
	struct sfv_value value;
	struct slice key;

	while (sfv_member(p, &seen, &key)) {
		if (!sfv_skip_value(p, &value))
			return false;
	}
	return !p->failed;
}

bool sfv_list(struct sfv *p)
{
	struct sfv_value value;
	bool is_first = true;

	while (next_of_many(p, is_first)) {
		is_first = false;
		if (!skip_element(p, &value))
			return false;
	}
	return !p->failed;
}

bool sfv_put_string(struct buf *out, struct slice s)
{
	bool ok = buf_put_str(out, "\"", NULL) == ERR_OK;

	for (size_t i = 0; i < s.len && ok; i++) {
		uint8_t c = s.data[i];

		ok = c >= 0x20 && c <= 0x7e;
		if (ok && (c == '"' || c == '\\'))
			ok = buf_put_str(out, "\\", NULL) == ERR_OK;
		ok = ok && buf_put(out, &c, 1, NULL) == ERR_OK;
	}
	return ok && buf_put_str(out, "\"", NULL) == ERR_OK;
}
