/* form.c - names and values of "a=1&b=2", in a query or a body; and the URL that was signed.
 *
 * Deliberately not here: multipart bodies. */
#include "scheme_priv.h"
#include "postern/text.h"

#include <stdlib.h>

#define FORM_PAIRS_MAX 20000 /* in one query or body */

static bool is_plain(struct slice s)
{
	return slice_find(s, '%') == s.len && slice_find(s, '+') == s.len;
}

/* Decoded into the scratch buffer where that changes anything. */
static enum found decoded(struct slice s, struct buf *scratch, struct slice *out)
{
	size_t at = scratch->len;

	if (is_plain(s)) {
		*out = s;
		return FOUND;
	}
	if (s.len > scratch->cap - scratch->len - 1)
		return FOUND_LONG;
	if (text_percent_decode(s, true, scratch, NULL) != ERR_OK)
		return FOUND_BROKEN;
	*out = (struct slice){ scratch->data + at, scratch->len - at };
	return FOUND;
}

/* Every escape of the form is whole. */
static bool is_sound(struct slice form)
{
	for (size_t at = slice_find(form, '%'); at < form.len; at = slice_find(form, '%')) {
		struct slice digits = slice_sub(form, at + 1, 2);

		for (size_t i = 0; i < digits.len; i++) {
			uint8_t c = digits.data[i];

			if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
				    (c >= 'A' && c <= 'F')))
				return false;
		}
		if (digits.len < 2)
			return false;
		form = slice_sub(form, at + 3, form.len);
	}
	return true;
}

enum found form_find(struct slice form, struct slice name, struct buf *scratch, struct slice *out)
{
	struct slice value = SLICE_EMPTY;
	size_t count = 0;

	if (!is_sound(form))
		return FOUND_BROKEN;
	while (form.len > 0) {
		struct slice pair = slice_sub(form, 0, slice_find(form, '&'));
		size_t equals = slice_find(pair, '='), kept = scratch->len;
		struct slice key;
		bool is_it = decoded(slice_sub(pair, 0, equals), scratch, &key) == FOUND &&
			     slice_eq(key, name);

		scratch->len = kept;
		form = slice_sub(form, pair.len + 1, form.len);
		if (!is_it)
			continue;
		if (count++ > 0)
			return FOUND_TWICE;
		value = slice_sub(pair, equals + 1, pair.len);
	}
	return count > 0 ? decoded(value, scratch, out) : FOUND_NOT;
}

/* ---- in sorted order ---------------------------------------------------------------------------
 */

struct pair {
	struct slice name, value;
};

static int by_name_and_value(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	int order = slice_cmp(x->name, y->name);

	return order ? order : slice_cmp(x->value, y->value);
}

static size_t count_pairs(struct slice form)
{
	size_t count = 0;

	while (form.len > 0) {
		struct slice pair = slice_sub(form, 0, slice_find(form, '&'));

		count += pair.len > 0;
		form = slice_sub(form, pair.len + 1, form.len);
	}
	return count;
}

/* Decoded text is never longer than what it is made of, and the room for that was reserved. */
static enum found read_pairs(struct slice form, struct buf *scratch, struct pair *out)
{
	while (form.len > 0) {
		struct slice text = slice_sub(form, 0, slice_find(form, '&'));
		size_t equals = slice_find(text, '=');
		enum found found;

		form = slice_sub(form, text.len + 1, form.len);
		if (text.len == 0)
			continue;
		found = decoded(slice_sub(text, 0, equals), scratch, &out->name);
		if (found == FOUND)
			found = decoded(
				slice_sub(text, equals + 1, text.len), scratch, &out->value);
		if (found != FOUND)
			return found;
		out++;
	}
	return FOUND;
}

static enum found join_pairs(
	const struct pair *pairs, size_t count, struct buf *scratch, struct slice *out)
{
	size_t at = scratch->len;

	for (size_t i = 0; i < count; i++) {
		if (i > 0 && by_name_and_value(&pairs[i - 1], &pairs[i]) == 0)
			continue;
		if (pairs[i].name.len + pairs[i].value.len > scratch->cap - scratch->len - 1 ||
			buf_put_slice(scratch, pairs[i].name, NULL) != ERR_OK ||
			buf_put_slice(scratch, pairs[i].value, NULL) != ERR_OK)
			return FOUND_LONG;
	}
	*out = (struct slice){ scratch->data + at, scratch->len - at };
	return FOUND;
}

enum found form_sorted(struct slice form, struct buf *scratch, struct slice *out)
{
	size_t count = count_pairs(form);
	struct pair *pairs = calloc(count ? count : 1, sizeof(*pairs));
	enum found found = FOUND_NOMEM;

	if (pairs && count <= FORM_PAIRS_MAX)
		found = is_sound(form) ? read_pairs(form, scratch, pairs) : FOUND_BROKEN;
	else if (pairs)
		found = FOUND_LONG;
	if (found == FOUND) {
		if (count > 1)
			qsort(pairs, count, sizeof(*pairs), by_name_and_value);
		found = join_pairs(pairs, count, scratch, out);
	}
	free(pairs);
	return found;
}

static bool append(struct buf *scratch, struct slice s)
{
	return s.len < scratch->cap - scratch->len && buf_put_slice(scratch, s, NULL) == ERR_OK;
}

/* "https://host:8443/path" is taken apart into "https://host", "8443" and "/path". */
static void split_url(
	struct slice url, struct slice *origin, struct slice *port, struct slice *rest)
{
	size_t start = slice_search(url, SLICE_LIT("://")), end, colon;
	struct slice host;

	start = start < url.len ? start + 3 : 0;
	host = slice_sub(url, start, url.len);
	host = slice_sub(host, 0, slice_find(host, '/'));
	end = start + host.len;
	/* In "[::1]:80" the colons inside of the brackets are not the port's. */
	for (colon = host.len; colon > 0; colon--) {
		if (host.data[colon - 1] == ':' || host.data[colon - 1] == ']')
			break;
	}
	if (colon > 0 && host.data[colon - 1] == ':') {
		*origin = slice_sub(url, 0, start + colon - 1);
		*port = slice_sub(host, colon, host.len);
	} else {
		*origin = slice_sub(url, 0, end);
		*port = SLICE_EMPTY;
	}
	*rest = slice_sub(url, end, url.len);
}

enum found eval_url(struct eval *ev, enum ref_kind kind, struct slice *out)
{
	struct slice url = ev->rq->public_url, origin, port, rest;
	struct buf *scratch = ev->scratch;
	size_t at = scratch->len;
	bool ok;

	if (url.len == 0)
		url = slice_str(ev->scheme->public_url);
	split_url(url, &origin, &port, &rest);
	if (kind == REF_URL_WITHOUT_PORT)
		port = SLICE_EMPTY;
	else if (kind == REF_URL_WITH_PORT && port.len == 0)
		port = slice_starts(url, SLICE_LIT("http:")) ? SLICE_LIT("80") : SLICE_LIT("443");
	ok = append(scratch, origin) && (port.len == 0 || append(scratch, SLICE_LIT(":"))) &&
	     append(scratch, port) && append(scratch, rest);
	if (ev->rq->has_query)
		ok = ok && append(scratch, SLICE_LIT("?")) && append(scratch, ev->rq->query);
	if (!ok)
		return FOUND_LONG;
	*out = (struct slice){ scratch->data + at, scratch->len - at };
	return FOUND;
}
