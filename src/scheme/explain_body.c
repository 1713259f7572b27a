/* explain_body.c - bodies as they may have been before something on the way changed them.
 *
 * Deliberately not here: compressed bodies; a compressor's output cannot be made again. */
#include "explain_priv.h"

#include "postern/json.h"

#include <stdio.h>
#include <stdlib.h>

#define MEMBERS_MAX 512
#define BOM SLICE_LIT("\xef\xbb\xbf")

static bool put(struct buf *out, struct slice s)
{
	return buf_put_slice(out, s, NULL) == ERR_OK;
}

/* ---- ends and lines ----------------------------------------------------------------------------
 */

enum { ADD_LF, ADD_CRLF, DROP_LF, DROP_CRLF, TRIM, ADD_BOM, DROP_BOM };

static bool ends_with(struct slice s, struct slice end)
{
	return s.len >= end.len && slice_eq(slice_sub(s, s.len - end.len, end.len), end);
}

static struct slice trim(struct slice s)
{
	while (s.len > 0 && s.data[s.len - 1] <= ' ')
		s.len--;
	while (s.len > 0 && s.data[0] <= ' ')
		s = slice_sub(s, 1, s.len);
	return s;
}

static bool change_ends(struct slice body, unsigned style, struct buf *out)
{
	const struct slice lf = SLICE_LIT("\n"), crlf = SLICE_LIT("\r\n");

	switch (style) {
	case ADD_LF: return put(out, body) && put(out, lf);
	case ADD_CRLF: return put(out, body) && put(out, crlf);
	case DROP_LF: return ends_with(body, lf) && put(out, slice_sub(body, 0, body.len - 1));
	case DROP_CRLF: return ends_with(body, crlf) && put(out, slice_sub(body, 0, body.len - 2));
	case TRIM: return trim(body).len < body.len && put(out, trim(body));
	case ADD_BOM: return put(out, BOM) && put(out, body);
	case DROP_BOM: return slice_starts(body, BOM) && put(out, slice_sub(body, 3, body.len));
	}
	return false;
}

/* style: whether lines end with \r\n afterwards. */
static bool change_lines(struct slice body, unsigned style, struct buf *out)
{
	bool is_dos = slice_search(body, SLICE_LIT("\r\n")) < body.len;

	if (is_dos == (style != 0) || slice_find(body, '\n') == body.len)
		return false;
	while (body.len > 0) {
		size_t len = slice_find(body, '\n');
		bool ends = len < body.len;
		struct slice line = slice_sub(body, 0, len);

		if (!style && ends_with(line, SLICE_LIT("\r")))
			line.len--;
		if (!put(out, line) || (ends && style && !put(out, SLICE_LIT("\r"))) ||
			(ends && !put(out, SLICE_LIT("\n"))))
			return false;
		body = slice_sub(body, len + 1, body.len);
	}
	return true;
}

/* ---- JSON, written by others -------------------------------------------------------------------
 */

enum { SPACED = 1, ASCII = 2, SLASHES = 4, SORTED = 8, INDENT_2 = 16, INDENT_4 = 32, HTML = 64 };

struct writer {
	struct buf *out;
	unsigned style, depth;
};

static bool write_value(struct writer *w, struct json_value v);

static bool write_break(struct writer *w)
{
	unsigned width = w->style & INDENT_4 ? 4 : 2;

	if (!(w->style & (INDENT_2 | INDENT_4)))
		return true;
	return buf_putf(w->out, NULL, "\n%*s", (int)(width * w->depth), "") == ERR_OK;
}

/* One character of UTF-8 as \u escapes, a pair of them where one does not do. *at moves on. */
static bool write_escape(struct writer *w, struct slice s, size_t *at)
{
	uint8_t first = s.data[*at];
	unsigned more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
	unsigned long code = first & (0x3fu >> more);

	for (unsigned i = 1; i <= more && *at + i < s.len; i++)
		code = code << 6 | (s.data[*at + i] & 0x3fu);
	*at += more;
	if (code < 0x10000)
		return buf_putf(w->out, NULL, "\\u%04lx", code) == ERR_OK;
	code -= 0x10000;
	return buf_putf(w->out, NULL, "\\u%04lx\\u%04lx", 0xd800 + (code >> 10),
		       0xdc00 + (code & 0x3ff)) == ERR_OK;
}

static bool write_byte(struct writer *w, uint8_t c)
{
	static const char plain[] = "\b\t\n\f\r\"\\", letters[] = "btnfr\"\\";
	const char *known = c ? strchr(plain, c) : NULL;

	if (known)
		return buf_putf(w->out, NULL, "\\%c", letters[known - plain]) == ERR_OK;
	if (c < 0x20 || (w->style & HTML && strchr("<>&", c)))
		return buf_putf(w->out, NULL, "\\u%04x", c) == ERR_OK;
	if (c == '/' && w->style & SLASHES)
		return buf_put_str(w->out, "\\/", NULL) == ERR_OK;
	return buf_put_u8(w->out, c, NULL) == ERR_OK;
}

static bool write_string(struct writer *w, struct json_value v)
{
	struct buf text = BUF_INIT(w->out->max);
	bool ok = json_text(v, &text, NULL) == ERR_OK && buf_put_u8(w->out, '"', NULL) == ERR_OK;

	for (size_t i = 0; ok && i < text.len; i++) {
		if (text.data[i] >= 0x80 && w->style & ASCII)
			ok = write_escape(w, buf_slice(&text), &i);
		else
			ok = write_byte(w, text.data[i]);
	}
	buf_done(&text);
	return ok && buf_put_u8(w->out, '"', NULL) == ERR_OK;
}

struct member {
	struct json_value name, value;
};

static int compare(const void *a, const void *b)
{
	return slice_cmp(
		((const struct member *)a)->name.raw, ((const struct member *)b)->name.raw);
}

static bool write_comma(struct writer *w, bool is_first)
{
	bool indents = w->style & (INDENT_2 | INDENT_4);

	return (is_first || buf_put_str(w->out, w->style & SPACED && !indents ? ", " : ",", NULL) ==
				    ERR_OK) &&
	       write_break(w);
}

static bool write_members(struct writer *w, const struct member *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!write_comma(w, i == 0) || !write_string(w, list[i].name) ||
			buf_put_str(w->out, w->style & SPACED ? ": " : ":", NULL) != ERR_OK ||
			!write_value(w, list[i].value))
			return false;
	}
	return true;
}

static bool write_object(struct writer *w, struct json_value v)
{
	struct member *list = calloc(MEMBERS_MAX, sizeof(*list));
	size_t at = 0, count = 0;
	bool ok = list != NULL;

	while (ok && count < MEMBERS_MAX &&
		json_next_member(v, &at, &list[count].name, &list[count].value)) {
		list[count].name.type = JSON_STRING;
		count++;
	}
	if (ok && w->style & SORTED)
		qsort(list, count, sizeof(*list), compare);
	ok = ok && count < MEMBERS_MAX && write_members(w, list, count);
	free(list);
	return ok;
}

static bool write_array(struct writer *w, struct json_value v)
{
	struct json_value element;
	size_t at = 0;
	bool ok = true;

	for (bool is_first = true; ok && json_next(v, &at, &element); is_first = false)
		ok = write_comma(w, is_first) && write_value(w, element);
	return ok;
}

static bool write_value(struct writer *w, struct json_value v)
{
	bool is_object = v.type == JSON_OBJECT, ok;
	size_t at;

	if (v.type == JSON_STRING)
		return write_string(w, v);
	if (v.type != JSON_OBJECT && v.type != JSON_ARRAY)
		return put(w->out, v.raw);
	ok = buf_put_u8(w->out, is_object ? '{' : '[', NULL) == ERR_OK;
	at = w->out->len;
	w->depth++;
	ok = ok && (is_object ? write_object(w, v) : write_array(w, v));
	w->depth--;
	ok = ok && (w->out->len == at || write_break(w));
	return ok && buf_put_u8(w->out, is_object ? '}' : ']', NULL) == ERR_OK;
}

static bool change_json(struct slice body, unsigned style, struct buf *out)
{
	struct writer w = { .out = out, .style = style };
	struct json_value v;

	return json_get(body, "", &v, NULL) == ERR_OK && write_value(&w, v);
}

/* ---- the table ---------------------------------------------------------------------------------
 */

#define FIX_RAW "hand the body on as it came: raw bytes, before anything parses it"
#define TEXT_JSON(how) "the body was parsed and written again on the way; the sender's is " how

const struct body_change body_changes[] = {
	{ "body_newline", "the body lost the newline at its end on the way",
		"echo >> BODY, and " FIX_RAW, change_ends, ADD_LF },
	{ "body_newline", "the body lost the CR LF at its end on the way",
		"printf '\\r\\n' >> BODY, and " FIX_RAW, change_ends, ADD_CRLF },
	{ "body_newline", "the body has a newline at its end that the sender did not sign",
		"truncate -s -1 BODY, and " FIX_RAW, change_ends, DROP_LF },
	{ "body_newline", "the body has a CR LF at its end that the sender did not sign",
		"truncate -s -2 BODY, and " FIX_RAW, change_ends, DROP_CRLF },
	{ "body_blanks", "the body has blanks around it that the sender did not sign", FIX_RAW,
		change_ends, TRIM },
	{ "body_bom", "the body lost the byte order mark at its start", FIX_RAW, change_ends,
		ADD_BOM },
	{ "body_bom", "the body has a byte order mark that the sender did not sign",
		"sed -i '1s/^\\xEF\\xBB\\xBF//' BODY, and " FIX_RAW, change_ends, DROP_BOM },
	{ "body_lines", "the body's lines ended with CR LF before something rewrote them", FIX_RAW,
		change_lines, 1 },
	{ "body_lines", "the body's lines ended with LF before something rewrote them",
		"sed -i 's/\\r$//' BODY, and " FIX_RAW, change_lines, 0 },
	{ "body_json", TEXT_JSON("compact"), FIX_RAW, change_json, 0 },
	{ "body_json", TEXT_JSON("spaced, with escapes for what is not ASCII"), FIX_RAW,
		change_json, SPACED | ASCII },
	{ "body_json", TEXT_JSON("spaced"), FIX_RAW, change_json, SPACED },
	{ "body_json", TEXT_JSON("compact, with escapes for what is not ASCII"), FIX_RAW,
		change_json, ASCII },
	{ "body_json", TEXT_JSON("compact, with escaped slashes and what is not ASCII"), FIX_RAW,
		change_json, ASCII | SLASHES },
	{ "body_json", TEXT_JSON("compact, with escaped slashes"), FIX_RAW, change_json, SLASHES },
	{ "body_json", TEXT_JSON("compact, with escapes for < > &"), FIX_RAW, change_json, HTML },
	{ "body_json", TEXT_JSON("compact, its members sorted"), FIX_RAW, change_json, SORTED },
	{ "body_json", TEXT_JSON("compact, sorted, with escapes for < > &"), FIX_RAW, change_json,
		SORTED | HTML },
	{ "body_json", TEXT_JSON("spaced, its members sorted"), FIX_RAW, change_json,
		SPACED | SORTED | ASCII },
	{ "body_json", TEXT_JSON("indented by two"), FIX_RAW, change_json, SPACED | INDENT_2 },
	{ "body_json", TEXT_JSON("indented by four"), FIX_RAW, change_json, SPACED | INDENT_4 },
};
const size_t body_change_count = ARRAY_LEN(body_changes);
