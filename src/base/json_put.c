/* json_put.c - writing our own small objects.
 *
 * Deliberately not here: checking that the calls add up to whole JSON; the tests of each caller do.
 */
#include "base_priv.h"
#include "json_priv.h"

#include <math.h>
#include <stdio.h>

size_t json_escape(struct slice *s, char out[JSON_ESCAPE_MAX])
{
	static const char replacement[] = { '\xef', '\xbf', '\xbd' }; /* U+FFFD */
	static const char unicode[] = { '\\', 'u', '0', '0' };
	static const char digits[] = "0123456789abcdef";
	static const char special[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
	size_t len = utf8_sequence(s->data, s->len);
	uint8_t c = s->data[0];
	const char *letter = len == 1 && c ? strchr(special, c) : NULL;

	*s = slice_sub(*s, len ? len : 1, s->len);
	if (len == 0) {
		memcpy(out, replacement, sizeof(replacement));
		return sizeof(replacement);
	}
	if (letter) {
		out[0] = '\\';
		out[1] = letters[letter - special];
		return 2;
	}
	if (len == 1 && (c < 0x20 || c == 0x7f)) {
		memcpy(out, unicode, sizeof(unicode));
		out[4] = digits[c >> 4];
		out[5] = digits[c & 15];
		return 6;
	}
	memcpy(out, s->data - len, len);
	return len;
}

/* Take back what was put since `before`. */
static enum err_code undo(struct buf *out, size_t before, enum err_code rc)
{
	if (rc != ERR_OK && out->data) {
		out->len = before;
		out->data[before] = '\0';
	}
	return rc;
}

/* How many bytes from the front stand for themselves: nearly always all of them. */
static size_t plain_run(struct slice s)
{
	size_t i = 0;

	while (i < s.len && s.data[i] >= 0x20 && s.data[i] < 0x7f && s.data[i] != '"' &&
		s.data[i] != '\\')
		i++;
	return i;
}

enum err_code json_put_string(struct buf *out, struct slice s, struct err *err)
{
	size_t before = out->len;
	char escaped[JSON_ESCAPE_MAX];
	enum err_code rc;

	if (!s.data)
		return buf_put_str(out, "null", err);
	rc = buf_put_u8(out, '"', err);
	while (rc == ERR_OK && s.len > 0) {
		size_t plain = plain_run(s);
		size_t len = plain ? plain : json_escape(&s, escaped);

		rc = buf_put(out, plain ? (const char *)s.data : escaped, len, err);
		s = slice_sub(s, plain, s.len);
	}
	if (rc == ERR_OK)
		rc = buf_put_u8(out, '"', err);
	return undo(out, before, rc);
}

enum err_code json_put_name(struct buf *out, const char *name, struct err *err)
{
	size_t before = out->len;
	enum err_code rc = ERR_OK;

	if (before > 0 && !strchr("{[,", out->data[before - 1]))
		rc = buf_put_u8(out, ',', err);
	if (rc == ERR_OK)
		rc = json_put_string(out, slice_str(name), err);
	if (rc == ERR_OK)
		rc = buf_put_u8(out, ':', err);
	return undo(out, before, rc);
}

enum err_code json_put_str(struct buf *out, const char *name, struct slice value, struct err *err)
{
	size_t before = out->len;
	enum err_code rc = json_put_name(out, name, err);

	if (rc == ERR_OK)
		rc = json_put_string(out, value, err);
	return undo(out, before, rc);
}

enum err_code json_put_raw(struct buf *out, const char *name, struct slice value, struct err *err)
{
	size_t before = out->len;
	enum err_code rc = json_put_name(out, name, err);

	if (rc == ERR_OK)
		rc = value.data ? buf_put_slice(out, value, err) : buf_put_str(out, "null", err);
	return undo(out, before, rc);
}

enum err_code json_put_int(struct buf *out, const char *name, int64_t value, struct err *err)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%lld", (long long)value);

	return json_put_raw(out, name, (struct slice){ (uint8_t *)text, (size_t)len }, err);
}

enum err_code json_put_num(struct buf *out, const char *name, double value, struct err *err)
{
	char text[400]; /* the longest double has 309 digits before its dot */
	size_t len;

	/* JSON has no word for these. */
	if (!isfinite(value))
		return json_put_raw(out, name, SLICE_LIT("null"), err);
	len = (size_t)snprintf(text, sizeof(text), "%.6f", value);
	while (text[len - 1] == '0')
		len--;
	if (text[len - 1] == '.')
		len--;
	return json_put_raw(out, name, (struct slice){ (uint8_t *)text, len }, err);
}

enum err_code json_put_bool(struct buf *out, const char *name, bool value, struct err *err)
{
	return json_put_raw(out, name, value ? SLICE_LIT("true") : SLICE_LIT("false"), err);
}
