/* place.c - the sender's side: a value goes where a reference would read it.
 *
 * Headers and parameters of the query and of a form are added; members of a body take the place of
 * what is there, and are left alone when the body is to stay as it is. Deliberately not here: which
 * values these are (sign.c). */
#include "sign_priv.h"
#include "postern/text.h"

static struct slice part_slice(const struct part *part)
{
	return (struct slice){ (const uint8_t *)part->text, part->len };
}

/* ---- headers -----------------------------------------------------------------------------------
 */

/* Room was reserved once: slices into the text stay. */
static enum err_code keep(struct sender *d, struct slice s, struct slice *out)
{
	struct buf *text = &d->out->text;
	size_t at = text->len;
	enum err_code rc;

	if (s.len >= text->cap - text->len)
		return err_set(d->err, ERR_LIMIT, "the headers are too long");
	rc = buf_put_slice(text, s, d->err);
	*out = (struct slice){ text->data + at, s.len };
	return rc;
}

/* A header that is there already must say the same. *out_done: it does. */
static enum err_code check_header(
	struct sender *d, struct slice name, struct slice value, bool *out_done)
{
	const struct scheme_signed *out = d->out;

	for (size_t i = 0; i < out->header_count; i++) {
		if (!slice_eq_nocase(out->headers[i].name, name))
			continue;
		*out_done = true;
		return slice_eq(out->headers[i].value, value)
			       ? ERR_OK
			       : err_set(d->err, ERR_USAGE, "the header %.*s would have two values",
					 SLICE_FMT(name));
	}
	for (size_t i = 0; i < value.len; i++) {
		if (value.data[i] < 0x20 || value.data[i] == 0x7f)
			return err_set(d->err, ERR_USAGE,
				"the header %.*s would have a control character", SLICE_FMT(name));
	}
	return ERR_OK;
}

enum err_code place_header(struct sender *d, struct slice name, struct slice value)
{
	struct scheme_signed *out = d->out;
	struct header *header = &out->headers[out->header_count];
	bool is_done = false;
	enum err_code rc = check_header(d, name, value, &is_done);

	if (rc != ERR_OK || is_done)
		return rc;
	if (out->header_count == SCHEME_DRAFT_HEADERS)
		return err_set(d->err, ERR_LIMIT, "more than %d headers", SCHEME_DRAFT_HEADERS);
	rc = keep(d, name, &header->name);
	if (rc == ERR_OK)
		rc = keep(d, value, &header->value);
	if (rc == ERR_OK)
		out->header_count++;
	return rc;
}

/* ---- parameters --------------------------------------------------------------------------------
 */

static enum err_code put_param(
	struct buf *out, struct slice name, struct slice value, struct err *err)
{
	enum err_code rc = out->len > 0 ? buf_put_u8(out, '&', err) : ERR_OK;

	if (rc == ERR_OK)
		rc = text_percent_encode(name, "", out, err);
	if (rc == ERR_OK)
		rc = buf_put_u8(out, '=', err);
	return rc == ERR_OK ? text_percent_encode(value, "", out, err) : rc;
}

static bool is_named(struct slice pair, struct slice name)
{
	struct buf text = BUF_INIT(KIB(64));
	bool is = text_percent_decode(
			  slice_sub(pair, 0, slice_find(pair, '=')), true, &text, NULL) == ERR_OK &&
		  slice_eq(buf_slice(&text), name);

	buf_done(&text);
	return is;
}

enum err_code place_param(
	struct buf *params, struct slice name, struct slice value, struct err *err)
{
	struct buf made = BUF_INIT(params->max);
	struct slice rest = buf_slice(params);
	enum err_code rc = ERR_OK;

	while (rest.len > 0 && rc == ERR_OK) {
		struct slice pair = slice_sub(rest, 0, slice_find(rest, '&'));

		rest = slice_sub(rest, pair.len + 1, rest.len);
		if (pair.len == 0 || is_named(pair, name))
			continue;
		rc = made.len > 0 ? buf_put_u8(&made, '&', err) : ERR_OK;
		if (rc == ERR_OK)
			rc = buf_put_slice(&made, pair, err);
	}
	if (rc == ERR_OK && value.data)
		rc = put_param(&made, name, value, err);
	if (rc == ERR_OK)
		buf_swap(params, &made);
	buf_done(&made);
	return rc;
}

/* ---- members of a body -------------------------------------------------------------------------
 */

/* A whole number is written as one where the reader wants one. */
static enum err_code put_member(
	struct sender *d, const char *pointer, struct slice value, bool as_number)
{
	struct buf json = BUF_INIT(KIB(64));
	enum err_code rc = ERR_OK;
	int64_t number;

	if (as_number && text_i64(value, &number, NULL) == ERR_OK)
		rc = buf_putf(&json, d->err, "%lld", (long long)number);
	else
		rc = json_put_string(&json, value, d->err);
	if (rc == ERR_OK)
		rc = fill_member(&d->out->body, pointer, buf_slice(&json), d->err);
	buf_done(&json);
	return rc;
}

static enum err_code put_json(
	struct sender *d, const struct part *part, struct slice value, bool as_number)
{
	bool is_item = part->kind == REF_ITEM;
	struct slice *set = is_item ? &d->item_set[part->index] : &d->json_set[part->index];
	struct buf pointer = BUF_INIT(KIB(4));
	enum err_code rc;

	if (!d->draft->fill_body)
		return ERR_OK;
	if (set->data && !slice_eq(*set, value))
		return err_set(d->err, ERR_USAGE, "%s:%s would have two values",
			is_item ? "item" : "json", part->text);
	*set = value;
	rc = is_item ? place_pointer(d, &d->s->items, 0, part->text, &pointer)
		     : buf_put_str(&pointer, part->text, d->err);
	if (rc == ERR_OK)
		rc = put_member(d, buf_str(&pointer), value, as_number);
	buf_done(&pointer);
	return rc;
}

enum err_code place_pointer(struct sender *d, const struct part *array, size_t index,
	const char *pointer, struct buf *out)
{
	return buf_putf(out, d->err, "%s/%zu%s", array->text, index, pointer);
}

bool place_can_take(const struct part *part)
{
	if (part->function != FN_NONE || (part->kind == REF_ITEM && part->len == 0))
		return false;
	return part->kind == REF_HEADER || part->kind == REF_JSON || part->kind == REF_ITEM ||
	       part->kind == REF_FORM || part->kind == REF_QUERY;
}

enum err_code place_value(
	struct sender *d, const struct part *part, struct slice value, bool as_number)
{
	char name[80];

	if (place_can_take(part)) {
		if (part->kind == REF_HEADER)
			return place_header(d, part_slice(part), value);
		if (part->kind == REF_QUERY)
			return place_param(&d->out->query, part_slice(part), value, d->err);
		if (part->kind == REF_FORM && !d->draft->fill_body)
			return ERR_OK;
		if (part->kind == REF_FORM)
			return place_param(&d->out->body, part_slice(part), value, d->err);
		return put_json(d, part, value, as_number);
	}
	part_name(part, name, sizeof(name));
	return err_set(d->err, ERR_USAGE, "%s is not a place where a value can be put", name);
}
