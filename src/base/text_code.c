/* text_code.c - hex, base64 and percent-encoding, read strictly and written plainly.
 *
 * Each decoder reserves the most that it can need, writes there, and counts the bytes only when the
 * whole text was good; so a failure leaves the caller's buffer as it was. Deliberately not here:
 * lenient forms (URL-safe base64, blanks). A signature that is not in its one form is not a
 * signature. */
#include "base_priv.h"
#include "postern/text.h"

int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* What was written behind the end counts from now on. */
static enum err_code keep(struct buf *out, size_t len)
{
	out->len += len;
	out->data[out->len] = '\0';
	return ERR_OK;
}

static enum err_code refuse(struct buf *out, struct err *err, const char *why)
{
	out->data[out->len] = '\0';
	return err_set(err, ERR_SYNTAX, "%s", why);
}

enum err_code text_hex_decode(struct slice s, struct buf *out, struct err *err)
{
	enum err_code rc;
	uint8_t *to;

	if (s.len % 2 != 0)
		return err_set(err, ERR_SYNTAX, "odd count of hex digits");
	rc = buf_reserve(out, s.len / 2, err);
	if (rc != ERR_OK)
		return rc;
	to = out->data + out->len;
	for (size_t i = 0; i < s.len; i += 2) {
		int high = hex_digit(s.data[i]), low = hex_digit(s.data[i + 1]);

		if (high < 0 || low < 0)
			return refuse(out, err, "not a hex digit");
		to[i / 2] = (uint8_t)(high << 4 | low);
	}
	return keep(out, s.len / 2);
}

void text_hex(const uint8_t *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[data[i] >> 4];
		out[2 * i + 1] = digits[data[i] & 15];
	}
	out[2 * len] = '\0';
}

/* One more than the value of a digit of both alphabets. */
/* clang-format off */
static const uint8_t base64_digits[256] = {
	['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8,
	['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15,
	['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22,
	['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29,
	['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36,
	['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42, ['q'] = 43,
	['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49, ['x'] = 50,
	['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56, ['4'] = 57,
	['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62
};
/* clang-format on */

/* last: the two digits in which the alphabets differ. */
static int base64_digit(uint8_t c, const char last[2])
{
	if (base64_digits[c])
		return base64_digits[c] - 1;
	if (c == (uint8_t)last[0])
		return 62;
	return c == (uint8_t)last[1] ? 63 : -1;
}

/* Without its padding, which must be whole or absent. */
static bool base64_strip(struct slice *s)
{
	size_t pads = 0;

	while (pads < s->len && s->data[s->len - 1 - pads] == '=')
		pads++;
	if (pads > 2 || (pads > 0 && s->len % 4 != 0))
		return false;
	s->len -= pads;
	return s->len % 4 != 1;
}

static enum err_code base64_decode(
	struct slice s, const char last[2], struct buf *out, struct err *err)
{
	uint32_t bits = 0;
	unsigned count = 0;
	size_t len = 0;
	enum err_code rc;

	rc = buf_reserve(out, s.len / 4 * 3 + s.len % 4, err);
	if (rc != ERR_OK)
		return rc;
	for (size_t i = 0; i < s.len; i++) {
		int digit = base64_digit(s.data[i], last);

		if (digit < 0)
			return refuse(out, err, "not a base64 digit");
		bits = bits << 6 | (uint32_t)digit;
		count += 6;
		if (count >= 8) {
			count -= 8;
			out->data[out->len + len++] = (uint8_t)(bits >> count);
		}
	}
	if ((bits & ((1u << count) - 1)) != 0)
		return refuse(out, err, "base64 with bits left over");
	return keep(out, len);
}

enum err_code text_base64_decode(struct slice s, struct buf *out, struct err *err)
{
	if (!base64_strip(&s))
		return err_set(err, ERR_SYNTAX, "not whole base64");
	return base64_decode(s, "+/", out, err);
}

enum err_code text_base64url_decode(struct slice s, struct buf *out, struct err *err)
{
	if (s.len % 4 == 1)
		return err_set(err, ERR_SYNTAX, "not whole base64url");
	return base64_decode(s, "-_", out, err);
}

enum err_code text_base64url(struct slice bytes, struct buf *out, struct err *err)
{
	size_t at = out->len;
	enum err_code rc = text_base64(bytes, out, err);

	if (rc != ERR_OK)
		return rc;
	while (out->len > at && out->data[out->len - 1] == '=')
		out->len--;
	for (; at < out->len; at++) {
		if (out->data[at] == '+')
			out->data[at] = '-';
		else if (out->data[at] == '/')
			out->data[at] = '_';
	}
	return keep(out, 0);
}

enum err_code text_base64(struct slice bytes, struct buf *out, struct err *err)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	enum err_code rc;
	uint8_t *to;

	if (bytes.len > SIZE_MAX / 2)
		return err_set(err, ERR_LIMIT, "too many bytes for base64");
	rc = buf_reserve(out, (bytes.len + 2) / 3 * 4, err);
	if (rc != ERR_OK)
		return rc;
	to = out->data + out->len;
	for (size_t i = 0; i < bytes.len; i += 3) {
		size_t left = bytes.len - i;
		uint32_t bits = (uint32_t)bytes.data[i] << 16;

		if (left > 1)
			bits |= (uint32_t)bytes.data[i + 1] << 8;
		if (left > 2)
			bits |= bytes.data[i + 2];
		*to++ = (uint8_t)digits[bits >> 18];
		*to++ = (uint8_t)digits[bits >> 12 & 63];
		*to++ = left > 1 ? (uint8_t)digits[bits >> 6 & 63] : '=';
		*to++ = left > 2 ? (uint8_t)digits[bits & 63] : '=';
	}
	return keep(out, (bytes.len + 2) / 3 * 4);
}

static bool is_unreserved(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

enum err_code text_percent_encode(
	struct slice s, const char *keep_these, struct buf *out, struct err *err)
{
	static const char digits[] = "0123456789ABCDEF";
	enum err_code rc;
	size_t need = 0;
	uint8_t *to;

	/* Counted first, so that a ceiling holds for the text as it will be. */
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.data[i];

		need += is_unreserved(c) || (c && strchr(keep_these, c)) ? 1 : 3;
	}
	rc = buf_reserve(out, need, err);
	if (rc != ERR_OK)
		return rc;
	to = out->data + out->len;
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.data[i];

		if (is_unreserved(c) || (c && strchr(keep_these, c))) {
			*to++ = c;
		} else {
			*to++ = '%';
			*to++ = (uint8_t)digits[c >> 4];
			*to++ = (uint8_t)digits[c & 15];
		}
	}
	return keep(out, need);
}

enum err_code text_percent_decode(
	struct slice s, bool plus_is_blank, struct buf *out, struct err *err)
{
	enum err_code rc = buf_reserve(out, s.len, err);
	size_t len = 0;

	if (rc != ERR_OK)
		return rc;
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.data[i];

		if (c == '%') {
			int high = i + 2 < s.len ? hex_digit(s.data[i + 1]) : -1;
			int low = i + 2 < s.len ? hex_digit(s.data[i + 2]) : -1;

			if (high < 0 || low < 0)
				return refuse(out, err, "broken percent escape");
			c = (uint8_t)(high << 4 | low);
			i += 2;
		} else if (c == '+' && plus_is_blank) {
			c = ' ';
		}
		out->data[out->len + len++] = c;
	}
	return keep(out, len);
}

bool text_query_param(struct slice query, const char *name, struct buf *out)
{
	struct slice want = slice_str(name);

	while (query.len) {
		struct slice pair = slice_sub(query, 0, slice_find(query, '&'));
		size_t eq = slice_find(pair, '=');

		query = slice_sub(query, pair.len + 1, query.len);
		if (slice_eq(slice_sub(pair, 0, eq), want))
			return text_percent_decode(slice_sub(pair, eq + 1, pair.len), true, out,
				       NULL) == ERR_OK;
	}
	return false;
}
