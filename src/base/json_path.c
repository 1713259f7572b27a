/* json_path.c - RFC 6901 pointers, compiled once: names decoded, array indexes read strictly.
 *
 * Deliberately not here: finding the values (json_scan.c). */
#include "base_priv.h"
#include "json_priv.h"
#include "postern/text.h"

#include <stdlib.h>

/* An index is "0" or digits without a leading zero; "-" points behind the end, where nothing is. */
static size_t index_of(struct slice name)
{
	uint64_t index;

	if (name.len > 1 && name.data[0] == '0')
		return SIZE_MAX;
	return text_u64(name, &index, NULL) == ERR_OK ? (size_t)index : SIZE_MAX;
}

/* Decode ~0 and ~1 of one name to *to, which moves. */
static bool decode_name(struct slice raw, uint8_t **to, struct json_token *out)
{
	uint8_t *first = *to;

	for (size_t i = 0; i < raw.len; i++) {
		uint8_t c = raw.data[i];

		if (c == '~') {
			i++;
			if (i == raw.len || (raw.data[i] != '0' && raw.data[i] != '1'))
				return false;
			c = raw.data[i] == '0' ? '~' : '/';
		}
		*(*to)++ = c;
	}
	out->name = (struct json_name){ { first, (size_t)(*to - first) }, false };
	out->index = index_of(out->name.raw);
	return true;
}

static bool compile(struct json_path *path, struct slice pointer)
{
	uint8_t *to = path->bytes;

	for (size_t i = 0; i < path->count; i++) {
		struct slice name;

		pointer = slice_sub(pointer, 1, pointer.len); /* the slash */
		name = slice_sub(pointer, 0, slice_find(pointer, '/'));
		pointer = slice_sub(pointer, name.len, pointer.len);
		if (!decode_name(name, &to, &path->tokens[i]))
			return false;
	}
	return true;
}

enum err_code json_path_open(struct slice pointer, struct json_path **out, struct err *err)
{
	struct json_path *path = calloc(1, sizeof(*path));
	enum err_code rc = ERR_NOMEM;

	if (!path)
		goto out;
	for (size_t i = 0; i < pointer.len; i++)
		path->count += pointer.data[i] == '/';
	path->tokens = calloc(path->count + 1, sizeof(*path->tokens));
	path->bytes = malloc(pointer.len + 1);
	if (!path->tokens || !path->bytes)
		goto out;
	rc = ERR_SYNTAX;
	if (pointer.len > 0 && pointer.data[0] != '/')
		goto out;
	if (!text_is_utf8(pointer) || !compile(path, pointer))
		goto out;
	*out = path;
	return ERR_OK;
out:
	json_path_close(&path);
	if (rc == ERR_NOMEM)
		return err_set(err, rc, "no memory for a JSON pointer");
	return err_set(err, rc, "not a JSON pointer such as /a/b/0");
}

void json_path_close(struct json_path **path)
{
	struct json_path *gone = *path;

	*path = NULL;
	if (!gone)
		return;
	free(gone->tokens);
	free(gone->bytes);
	free(gone);
}
