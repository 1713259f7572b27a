/* json_walk.c - going through values of a text that json_scan() found valid.
 *
 * Because the text is known to be good, a value is skipped by counting brackets and stepping over
 * strings. A text that is not good gives nonsense, but nothing outside of it is ever read. */
#include "base_priv.h"
#include "json_priv.h"

#include <assert.h>

static size_t put_utf8(uint32_t c, uint8_t out[4])
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 | c >> 6);
		out[1] = (uint8_t)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 | c >> 12);
		out[1] = (uint8_t)(0x80 | (c >> 6 & 63));
		out[2] = (uint8_t)(0x80 | (c & 63));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | c >> 18);
	out[1] = (uint8_t)(0x80 | (c >> 12 & 63));
	out[2] = (uint8_t)(0x80 | (c >> 6 & 63));
	out[3] = (uint8_t)(0x80 | (c & 63));
	return 4;
}

static uint32_t read_unit(struct slice raw, size_t at)
{
	uint32_t unit = 0;

	for (size_t i = at; i < at + 4; i++) {
		int digit = i < raw.len ? hex_digit(raw.data[i]) : 0;

		unit = unit << 4 | (uint32_t)(digit < 0 ? 0 : digit);
	}
	return unit;
}

/* *raw starts with "\u". */
static size_t unescape_unicode(struct slice *raw, uint8_t out[4])
{
	uint32_t c = read_unit(*raw, 2), low;
	size_t taken = 6;

	if (c >= 0xd800 && c <= 0xdbff) {
		low = read_unit(*raw, 8);
		c = 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff);
		taken = 12;
	}
	*raw = slice_sub(*raw, taken, raw->len);
	return put_utf8(c, out);
}

size_t json_unescape(struct slice *raw, uint8_t out[4])
{
	static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
	const char *letter;
	size_t len = 1;

	if (raw->data[0] != '\\') {
		size_t whole = utf8_sequence(raw->data, raw->len);

		len = whole ? whole : 1;
		memcpy(out, raw->data, len);
	} else if (raw->len > 1 && raw->data[1] == 'u') {
		return unescape_unicode(raw, out);
	} else {
		out[0] = raw->len > 1 ? raw->data[1] : '\\';
		letter = out[0] ? strchr(letters, out[0]) : NULL;
		if (letter)
			out[0] = (uint8_t)meant[letter - letters];
		*raw = slice_sub(*raw, 2, raw->len);
		return 1;
	}
	*raw = slice_sub(*raw, len, raw->len);
	return len;
}

static void skip_blanks(struct slice s, size_t *at)
{
	while (*at < s.len && (s.data[*at] == ' ' || s.data[*at] == '\n' || s.data[*at] == '\r' ||
				      s.data[*at] == '\t'))
		++*at;
}

/* *at is behind the opening quote. */
static void walk_string(struct slice s, size_t *at, struct json_value *out)
{
	size_t first = *at;
	bool escaped = false;

	while (*at < s.len && s.data[*at] != '"') {
		if (s.data[*at] == '\\') {
			escaped = true;
			++*at;
		}
		++*at;
	}
	*out = (struct json_value){ JSON_STRING, slice_sub(s, first, *at - first), escaped };
	++*at;
}

static void walk_container(struct slice s, size_t *at, struct json_value *out)
{
	size_t first = *at, open = 0;
	struct json_value inner;

	do {
		uint8_t c = s.data[(*at)++];

		if (c == '"')
			walk_string(s, at, &inner);
		else if (c == '{' || c == '[')
			open++;
		else if (c == '}' || c == ']')
			open--;
	} while (open > 0 && *at < s.len);
	*out = (struct json_value){ s.data[first] == '{' ? JSON_OBJECT : JSON_ARRAY,
		slice_sub(s, first, *at - first), false };
}

static enum json_type scalar_type(struct slice raw)
{
	switch (raw.len ? raw.data[0] : 0) {
	case 't': return JSON_TRUE;
	case 'f': return JSON_FALSE;
	case 'n': return JSON_NULL;
	default: return json_number_type(raw);
	}
}

static void walk_scalar(struct slice s, size_t *at, struct json_value *out)
{
	size_t first = *at;

	while (*at < s.len && s.data[*at] > ' ' && !strchr(",]}:", s.data[*at]))
		++*at;
	out->raw = slice_sub(s, first, *at - first);
	out->type = scalar_type(out->raw);
	out->escaped = false;
}

static bool walk_value(struct slice s, size_t *at, struct json_value *out)
{
	skip_blanks(s, at);
	if (*at >= s.len)
		return false;
	if (s.data[*at] == '"') {
		++*at;
		walk_string(s, at, out);
	} else if (s.data[*at] == '{' || s.data[*at] == '[') {
		walk_container(s, at, out);
	} else {
		walk_scalar(s, at, out);
	}
	return true;
}

/* Move to the next element: over the opening bracket or the comma. False at the closing bracket. */
static bool step_in(struct slice s, size_t *at)
{
	size_t next = *at;

	skip_blanks(s, &next);
	if (next >= s.len ||
		(next == 0 ? s.data[0] != '[' && s.data[0] != '{' : s.data[next] != ','))
		return false;
	next++;
	skip_blanks(s, &next);
	/* An empty container is the only one whose bracket closes right here. */
	if (next >= s.len || s.data[next] == ']' || s.data[next] == '}')
		return false;
	*at = next;
	return true;
}

bool json_next(struct json_value array, size_t *at, struct json_value *out)
{
	if (array.type != JSON_ARRAY || !step_in(array.raw, at))
		return false;
	return walk_value(array.raw, at, out);
}

bool json_next_member(
	struct json_value object, size_t *at, struct json_value *out_name, struct json_value *out)
{
	if (object.type != JSON_OBJECT || !step_in(object.raw, at))
		return false;
	if (!walk_value(object.raw, at, out_name))
		return false;
	skip_blanks(object.raw, at);
	++*at; /* the colon */
	return walk_value(object.raw, at, out);
}

enum err_code json_text(struct json_value v, struct buf *out, struct err *err)
{
	struct slice raw = v.raw;
	enum err_code rc;
	size_t before = out->len;

	if (v.type == JSON_ABSENT || v.type == JSON_NULL)
		return buf_reserve(out, 0, err);
	if (v.type != JSON_STRING || !v.escaped)
		return buf_put_slice(out, raw, err);
	while (raw.len > 0) {
		uint8_t piece[4];
		size_t len = json_unescape(&raw, piece);

		rc = buf_put(out, piece, len, err);
		if (rc != ERR_OK) {
			out->len = before;
			if (out->data)
				out->data[before] = '\0';
			return rc;
		}
	}
	return ERR_OK;
}
