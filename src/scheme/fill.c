/* fill.c - put a member into the text of a JSON body, leaving every other byte as it is.
 *
 * Deliberately not here: what is put where (sign.c). */
#include "scheme_priv.h"

#define POINTER_MAX 512

/* The longest start of the pointer that leads to something. */
static enum err_code find_deepest(struct slice body, const char *pointer, size_t *out_len,
	struct json_value *out, struct err *err)
{
	char prefix[POINTER_MAX + 1];
	size_t len = strlen(pointer);

	if (len > POINTER_MAX)
		return err_set(err, ERR_LIMIT, "a pointer of more than %d bytes", POINTER_MAX);
	memcpy(prefix, pointer, len + 1);
	for (;;) {
		struct err bad = ERR_INIT;

		if (json_get(body, prefix, out, &bad) != ERR_OK)
			return err_set(err, ERR_USAGE,
				"%s has no place in a body that is not JSON: %s", pointer,
				bad.text);
		if (out->type != JSON_ABSENT || len == 0)
			break;
		do
			len--;
		while (len > 0 && prefix[len] != '/');
		prefix[len] = '\0';
	}
	*out_len = len;
	return ERR_OK;
}

/* The next name of a pointer, with ~0 and ~1 decoded, as a JSON string. */
static enum err_code put_name(struct buf *out, struct slice token, struct err *err)
{
	struct buf name = BUF_INIT(POINTER_MAX);
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < token.len && rc == ERR_OK; i++) {
		uint8_t c = token.data[i];

		if (c == '~' && i + 1 < token.len)
			c = token.data[++i] == '1' ? '/' : '~';
		rc = buf_put_u8(&name, c, err);
	}
	if (rc == ERR_OK)
		rc = json_put_string(out, buf_slice(&name), err);
	buf_done(&name);
	return rc;
}

/* "/a/b" and 1 make "a":{"b":1} */
static enum err_code put_chain(
	struct buf *out, struct slice rest, struct slice value, struct err *err)
{
	enum err_code rc = ERR_OK;
	size_t depth = 0;

	while (rc == ERR_OK && rest.len > 0) {
		struct slice token = slice_sub(rest, 1, rest.len);

		token = slice_sub(token, 0, slice_find(token, '/'));
		rest = slice_sub(rest, token.len + 1, rest.len);
		if (depth++ > 0)
			rc = buf_put_str(out, "{", err);
		if (rc == ERR_OK)
			rc = put_name(out, token, err);
		if (rc == ERR_OK)
			rc = buf_put_str(out, ":", err);
	}
	if (rc == ERR_OK)
		rc = buf_put_slice(out, value, err);
	while (rc == ERR_OK && depth-- > 1)
		rc = buf_put_str(out, "}", err);
	return rc;
}

/* The text before a place, what goes there, and the text behind it. */
static enum err_code splice(struct buf *out, struct slice body, struct slice gone,
	struct slice rest, struct slice value, struct err *err)
{
	size_t before = (size_t)(gone.data - body.data);
	enum err_code rc = buf_put_slice(out, slice_sub(body, 0, before), err);

	if (rc == ERR_OK && rest.len > 0 && out->data[out->len - 1] != '{')
		rc = buf_put_str(out, ",", err);
	if (rc == ERR_OK)
		rc = rest.len > 0 ? put_chain(out, rest, value, err)
				  : buf_put_slice(out, value, err);
	if (rc == ERR_OK)
		rc = buf_put_slice(out, slice_sub(body, before + gone.len, body.len), err);
	return rc;
}

/* Where a new member goes: behind the last one. Empty, at the place. */
static struct slice end_of_object(struct json_value object)
{
	size_t end = object.raw.len - 1;

	while (strchr(" \t\r\n", object.raw.data[end - 1]))
		end--;
	return slice_sub(slice_sub(object.raw, end, object.raw.len), 0, 0);
}

enum err_code fill_member(
	struct buf *body, const char *pointer, struct slice value, struct err *err)
{
	struct buf made = BUF_INIT(body->max);
	struct slice rest, gone;
	struct json_value at;
	size_t len;
	enum err_code rc = find_deepest(buf_slice(body), pointer, &len, &at, err);

	if (rc != ERR_OK)
		return rc;
	rest = slice_sub(slice_str(pointer), len, SIZE_MAX);
	if (rest.len > 0 && at.type != JSON_OBJECT)
		return err_set(err, ERR_USAGE, "%s has no place in the body: \"%.*s\" is no object",
			pointer, (int)len, pointer);
	gone = rest.len > 0 ? end_of_object(at) : json_whole(at);
	rc = splice(&made, buf_slice(body), gone, rest, value, err);
	if (rc == ERR_OK)
		buf_swap(body, &made);
	buf_done(&made);
	return rc;
}
