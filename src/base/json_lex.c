/* json_lex.c - the tokens of JSON, each checked whole.
 *
 * Strings are read eight bytes at a time until one of them needs a look. Numbers may be as large as
 * their sender likes: they are not converted here. Deliberately not here: values that contain
 * others. */
#include "base_priv.h"
#include "json_priv.h"

#define EACH(byte) (0x0101010101010101u * (uint64_t)(byte))
#define HIGH_BITS EACH(0x80)

bool json_fail(struct json_lexer *t, enum err_code rc, const char *why)
{
	if (t->rc == ERR_OK) {
		t->rc = rc;
		t->why = why;
	}
	return false;
}

/* Nonzero when one of the bytes needs a look; the lowest mark is the first of them. Of a byte in
 * ASCII the high bit appears when subtracting goes below zero; bytes beyond are marked anyway. A
 * byte above a mark may be marked too, which does no harm. */
static uint64_t marks_of(uint64_t word)
{
	return (((word ^ EACH('"')) - EACH(1)) | ((word ^ EACH('\\')) - EACH(1)) |
		       (word - EACH(0x20)) | word) &
	       HIGH_BITS;
}

/* Move over bytes that are themselves: not quotes, backslashes, controls or beyond ASCII. */
static const uint8_t *skip_plain(const uint8_t *at, const uint8_t *end)
{
	while (end - at >= 16 && (marks_of(load_word(at)) | marks_of(load_word(at + 8))) == 0)
		at += 16;
	while (end - at >= 8) {
		uint64_t marks = marks_of(load_word(at));

		if (marks)
			return at + __builtin_ctzll(marks) / 8;
		at += 8;
	}
	while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\')
		at++;
	return at;
}

/* Four hex digits at p. */
static bool read_unit(const uint8_t *p, const uint8_t *end, unsigned *out)
{
	unsigned unit = 0;

	if (end - p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(p[i]);

		if (digit < 0)
			return false;
		unit = unit << 4 | (unsigned)digit;
	}
	*out = unit;
	return true;
}

/* t->at is behind "\u". */
static bool lex_unicode(struct json_lexer *t)
{
	unsigned unit, low;

	if (!read_unit(t->at, t->end, &unit))
		return json_fail(t, ERR_SYNTAX, "broken \\u escape");
	if (unit == 0)
		return json_fail(t, ERR_SYNTAX, "\\u0000 in a string");
	if (unit >= 0xdc00 && unit <= 0xdfff)
		return json_fail(t, ERR_SYNTAX, "second half of a surrogate pair alone");
	t->at += 4;
	if (unit < 0xd800 || unit > 0xdbff)
		return true;
	if (t->end - t->at < 6 || t->at[0] != '\\' || t->at[1] != 'u' ||
		!read_unit(t->at + 2, t->end, &low) || low < 0xdc00 || low > 0xdfff)
		return json_fail(t, ERR_SYNTAX, "first half of a surrogate pair alone");
	t->at += 6;
	return true;
}

/* t->at is behind the backslash. */
static bool lex_escape(struct json_lexer *t)
{
	if (t->at == t->end)
		return json_fail(t, ERR_SYNTAX, "a string without end");
	switch (*t->at++) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't': return true;
	case 'u': return lex_unicode(t);
	default: t->at--; return json_fail(t, ERR_SYNTAX, "unknown escape");
	}
}

bool json_lex_string(struct json_lexer *t, struct json_value *out)
{
	const uint8_t *first = t->at;
	bool escaped = false;

	for (;;) {
		t->at = skip_plain(t->at, t->end);
		if (t->at == t->end)
			return json_fail(t, ERR_SYNTAX, "a string without end");
		if (*t->at == '"')
			break;
		if (*t->at == '\\') {
			escaped = true;
			t->at++;
			if (!lex_escape(t))
				return false;
		} else if (*t->at < 0x20) {
			return json_fail(t, ERR_SYNTAX, "control character in a string");
		} else {
			size_t len = utf8_sequence(t->at, (size_t)(t->end - t->at));

			if (len == 0)
				return json_fail(t, ERR_SYNTAX, "not UTF-8");
			t->at += len;
		}
	}
	*out = (struct json_value){ JSON_STRING, { first, (size_t)(t->at - first) }, escaped };
	t->at++;
	return true;
}

static bool is_digit(const struct json_lexer *t)
{
	return t->at < t->end && *t->at >= '0' && *t->at <= '9';
}

static bool skip_digits(struct json_lexer *t)
{
	if (!is_digit(t))
		return false;
	while (is_digit(t))
		t->at++;
	return true;
}

enum json_type json_number_type(struct slice number)
{
	bool minus = number.len > 0 && number.data[0] == '-';
	uint64_t size = 0;

	for (size_t i = minus; i < number.len; i++) {
		if (number.data[i] < '0' || number.data[i] > '9')
			return JSON_REAL;
		/* Nineteen digits hold every int64, and fit in uint64. */
		if (i - minus < 19)
			size = size * 10 + (uint64_t)(number.data[i] - '0');
	}
	return number.len - minus > 19 || size > (uint64_t)INT64_MAX + minus ? JSON_REAL
									     : JSON_INTEGER;
}

bool json_lex_number(struct json_lexer *t, struct json_value *out)
{
	const uint8_t *first = t->at, *digits;
	bool minus = *t->at == '-', dot, exponent;
	struct slice number;

	t->at += minus;
	digits = t->at;
	if (!skip_digits(t) || (*digits == '0' && t->at - digits > 1))
		return json_fail(t, ERR_SYNTAX, "not a number");
	dot = t->at < t->end && *t->at == '.';
	t->at += dot;
	if (dot && !skip_digits(t))
		return json_fail(t, ERR_SYNTAX, "a number ends with its dot");
	exponent = t->at < t->end && (*t->at == 'e' || *t->at == 'E');
	t->at += exponent;
	if (exponent && t->at < t->end && (*t->at == '+' || *t->at == '-'))
		t->at++;
	if (exponent && !skip_digits(t))
		return json_fail(t, ERR_SYNTAX, "a number without its exponent");
	number = (struct slice){ first, (size_t)(t->at - first) };
	if (number.len > JSON_NUMBER_MAX)
		return json_fail(t, ERR_LIMIT, "number too long");
	*out = (struct json_value){ json_number_type(number), number, false };
	return true;
}

bool json_lex_literal(struct json_lexer *t, struct json_value *out)
{
	static const struct {
		struct slice text;
		enum json_type type;
	} rows[] = {
		{ { (const uint8_t *)"true", 4 }, JSON_TRUE },
		{ { (const uint8_t *)"false", 5 }, JSON_FALSE },
		{ { (const uint8_t *)"null", 4 }, JSON_NULL },
	};
	struct slice rest = { t->at, (size_t)(t->end - t->at) };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!slice_starts(rest, rows[i].text))
			continue;
		*out = (struct json_value){ rows[i].type, { t->at, rows[i].text.len }, false };
		t->at += rows[i].text.len;
		return true;
	}
	return json_fail(t, ERR_SYNTAX, "not a value");
}
