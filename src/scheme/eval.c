/* eval.c - references become bytes of a request.
 *
 * What stands in the request as it is comes back as a slice of it; what must be decoded or computed
 * goes to the scratch buffer, whose room is reserved once, so that no slice ever moves. The body is
 * parsed at the first json: reference, once, for all of them. */
#include "scheme_priv.h"
#include "postern/text.h"

#include <stdio.h>

/* The slices of one element with its quotes, where it is a string. */
struct slice json_whole(struct json_value v)
{
	if (v.type == JSON_STRING)
		return (struct slice){ v.raw.data - 1, v.raw.len + 2 };
	return v.raw;
}

size_t eval_need(const struct scheme *scheme, const struct scheme_request *rq)
{
	return SCRATCH_MAX + scheme->decoded_bodies * rq->body.len;
}

bool eval_start(struct eval *ev, const struct scheme *scheme, const struct scheme_request *rq,
	struct notes *notes, struct buf *scratch)
{
	*ev = (struct eval){ .scheme = scheme, .rq = rq, .notes = notes, .scratch = scratch };
	return buf_reserve(scratch, eval_need(scheme, rq), NULL) == ERR_OK;
}

size_t eval_room(const struct eval *ev)
{
	return ev->scratch->cap - ev->scratch->len - 1;
}

/* Keep a copy. The caller's bytes may be on its stack. */
static enum found put(struct eval *ev, const void *data, size_t len, struct slice *out)
{
	size_t at = ev->scratch->len;

	if (len > eval_room(ev) || buf_put(ev->scratch, data, len, NULL) != ERR_OK)
		return FOUND_LONG;
	*out = (struct slice){ ev->scratch->data + at, len };
	return FOUND;
}

enum found eval_header(const struct scheme_request *rq, struct slice name, struct slice *out)
{
	size_t count = 0;

	for (size_t i = 0; i < rq->header_count; i++) {
		if (!slice_eq_nocase(rq->headers[i].name, name))
			continue;
		if (count++ > 0)
			return FOUND_TWICE;
		*out = rq->headers[i].value;
	}
	return count > 0 ? FOUND : FOUND_NOT;
}

/* The text that json: points into: the body, or the field of a form. */
static enum found json_source(struct eval *ev, struct slice *out)
{
	const struct scheme *s = ev->scheme;
	const struct slice name = { (const uint8_t *)s->form.text, s->form.len };

	*out = ev->rq->body;
	return s->has_form ? form_find(ev->rq->body, name, ev->scratch, out) : FOUND;
}

static void scan_body(struct eval *ev)
{
	const struct scheme *s = ev->scheme;
	struct notes *notes = ev->notes;
	struct err err = ERR_INIT;
	struct slice text;

	notes->scanned = true;
	notes->form = json_source(ev, &text);
	if (notes->form == FOUND)
		notes->scan = json_scan(text, s->paths, s->path_count, notes->json, &err);
}

void eval_body(struct eval *ev)
{
	if (ev->scheme->has_form && !ev->notes->scanned)
		scan_body(ev);
}

/* An element that is no object or array has no members. */
static void scan_item(struct eval *ev)
{
	const struct scheme *s = ev->scheme;
	struct notes *notes = ev->notes;
	struct err err = ERR_INIT;
	bool has_members = ev->item.type == JSON_OBJECT || ev->item.type == JSON_ARRAY;

	notes->item_scanned = true;
	notes->item_scan = ERR_OK;
	memset(notes->item, 0, s->item_path_count * sizeof(notes->item[0]));
	if (has_members)
		notes->item_scan = json_scan(
			ev->item.raw, s->item_paths, s->item_path_count, notes->item, &err);
}

void eval_enter(struct eval *ev, struct json_value item)
{
	ev->item = item;
	ev->notes->item_scanned = false;
}

static enum found item_value(struct eval *ev, const struct part *part, struct json_value *out)
{
	struct notes *notes = ev->notes;

	if (ev->item.type == JSON_ABSENT)
		return FOUND_NOT;
	if (part->len == 0) {
		*out = ev->item;
		return FOUND;
	}
	if (!notes->item_scanned)
		scan_item(ev);
	if (notes->item_scan != ERR_OK)
		return notes->item_scan == ERR_NOMEM ? FOUND_NOMEM : FOUND_BROKEN;
	*out = notes->item[part->index];
	return out->type == JSON_ABSENT || out->type == JSON_NULL ? FOUND_NOT : FOUND;
}

enum found eval_json(struct eval *ev, const struct part *part, struct json_value *out)
{
	struct notes *notes = ev->notes;

	if (part->kind == REF_ITEM)
		return item_value(ev, part, out);
	if (!notes->scanned)
		scan_body(ev);
	if (notes->form != FOUND)
		return notes->form;
	if (notes->scan != ERR_OK)
		return notes->scan == ERR_NOMEM ? FOUND_NOMEM : FOUND_BROKEN;
	*out = notes->json[part->index];
	return out->type == JSON_ABSENT || out->type == JSON_NULL ? FOUND_NOT : FOUND;
}

/* "name\nvalue\n" for each member that is there. The names are literal text, the values decoded. */
static enum found eval_lines(struct eval *ev, const struct lines *lines, struct slice *out)
{
	struct buf *scratch = ev->scratch;
	size_t at = scratch->len, start;

	for (size_t i = 0; i < lines->count; i++) {
		const struct part *member = &lines->members[i];
		struct json_value v;
		enum found found = eval_json(ev, member, &v);

		if (found == FOUND_NOT)
			continue;
		if (found != FOUND)
			return found;
		if (eval_room(ev) < member->len + v.raw.len + 2)
			return FOUND_LONG;
		start = scratch->len + member->len;
		if (buf_put(scratch, member->text + 1, member->len - 1, NULL) != ERR_OK ||
			buf_put_u8(scratch, '\n', NULL) != ERR_OK ||
			json_text(v, scratch, NULL) != ERR_OK ||
			buf_put_u8(scratch, '\n', NULL) != ERR_OK)
			return FOUND_LONG;
		/* Names and values are lines alike. Were there lines in more than one value, the
		 * same bytes could be read as other members: a text as a message and its id. */
		if (i > 0 && memchr(scratch->data + start, '\n', scratch->len - 1 - start))
			return FOUND_BROKEN;
	}
	*out = (struct slice){ scratch->data + at, scratch->len - at };
	return FOUND;
}

static enum found eval_sorted(struct eval *ev, struct slice *out)
{
	struct notes *notes = ev->notes;
	enum found found = FOUND;

	if (!notes->sorted.data)
		found = form_sorted(ev->rq->body, ev->scratch, &notes->sorted);
	*out = notes->sorted;
	return found;
}

static enum found json_bytes(struct eval *ev, const struct part *part, struct slice *out)
{
	size_t at = ev->scratch->len;
	struct json_value v;
	enum found found = eval_json(ev, part, &v);

	if (found != FOUND)
		return found;
	if (!v.escaped) {
		*out = v.raw;
		return FOUND;
	}
	/* Decoded text is never longer than its escapes. */
	if (v.raw.len > eval_room(ev) || json_text(v, ev->scratch, NULL) != ERR_OK)
		return FOUND_LONG;
	*out = (struct slice){ ev->scratch->data + at, ev->scratch->len - at };
	return FOUND;
}

static enum found plain(struct eval *ev, const struct part *part, struct slice *out)
{
	const struct slice text = { (const uint8_t *)part->text, part->len };
	const struct secret *secret;

	switch (part->kind) {
	case REF_LITERAL: *out = text; return FOUND;
	case REF_BODY: *out = ev->rq->body; return FOUND;
	case REF_METHOD: *out = ev->rq->method; return FOUND;
	case REF_URL:
	case REF_URL_WITH_PORT:
	case REF_URL_WITHOUT_PORT: return eval_url(ev, part->kind, out);
	case REF_TIME: *out = ev->notes->time; return out->data ? FOUND : FOUND_NOT;
	case REF_HEADER: return eval_header(ev->rq, text, out);
	case REF_QUERY: return form_find(ev->rq->query, text, ev->scratch, out);
	case REF_FORM: return form_find(ev->rq->body, text, ev->scratch, out);
	case REF_JSON: return json_bytes(ev, part, out);
	case REF_ITEM:
		if (part->len > 0)
			return json_bytes(ev, part, out);
		*out = json_whole(ev->item);
		return out->data ? FOUND : FOUND_NOT;
	case REF_LINES: return eval_lines(ev, part->lines, out);
	case REF_FORM_SORTED: return eval_sorted(ev, out);
	case REF_KEY: *out = SLICE_EMPTY; return FOUND; /* put in for each key (prove.c) */
	case REF_CAP: *out = ev->notes->caps[part->index]; return out->data ? FOUND : FOUND_NOT;
	case REF_SECRET:
		secret = &ev->scheme->secrets[part->index].secret;
		*out = (struct slice){ secret->data, secret->len };
		return FOUND;
	case REF_HEADERS: /* only sig, which looks for itself */
	case REF_PEER_SAN: /* only require, the same */ break;
	}
	return FOUND_NOT;
}

static enum found call(
	struct eval *ev, enum ref_function function, struct slice in, struct slice *out)
{
	uint8_t digest[32];
	char hex[2 * sizeof(digest) + 1];
	size_t at = ev->scratch->len;

	switch (function) {
	case FN_NONE: *out = in; return FOUND;
	case FN_SHA256_HEX:
		crypto_sha256(in, digest);
		text_hex(digest, sizeof(digest), hex);
		return put(ev, hex, 2 * sizeof(digest), out);
	case FN_SHA256_BASE64:
		crypto_sha256(in, digest);
		if (eval_room(ev) < 2 * sizeof(digest) ||
			text_base64((struct slice){ digest, sizeof(digest) }, ev->scratch, NULL) !=
				ERR_OK)
			return FOUND_LONG;
		*out = (struct slice){ ev->scratch->data + at, ev->scratch->len - at };
		return FOUND;
	case FN_CRC32:
		(void)snprintf(hex, sizeof(hex), "%lu", (unsigned long)crc32_ieee(in));
		return put(ev, hex, strlen(hex), out);
	case FN_HMAC_HEX:
	case FN_HMAC_BASE64: return answer_challenge(ev, function, in, out);
	}
	return FOUND_NOT;
}

enum found eval_part(struct eval *ev, const struct part *part, struct slice *out)
{
	struct slice value = SLICE_EMPTY;
	enum found found = plain(ev, part, &value);

	return found == FOUND ? call(ev, part->function, value, out) : found;
}

static enum found pieces_of(struct eval *ev, const struct template *t, bool is_signed,
	struct slice *out, const struct part **out_bad)
{
	for (size_t i = 0; i < t->count; i++) {
		enum found found = eval_part(ev, &t->parts[i], &out[i]);

		if (found == FOUND_NOT && is_signed && t->parts[i].kind == REF_ITEM) {
			out[i] = SLICE_EMPTY;
			continue;
		}
		if (found != FOUND) {
			*out_bad = &t->parts[i];
			return found;
		}
	}
	return FOUND;
}

enum found eval_pieces(
	struct eval *ev, const struct template *t, struct slice *out, const struct part **out_bad)
{
	return pieces_of(ev, t, false, out, out_bad);
}

enum found eval_signed(
	struct eval *ev, const struct template *t, struct slice *out, const struct part **out_bad)
{
	return pieces_of(ev, t, true, out, out_bad);
}

static enum found join(struct eval *ev, const struct slice *pieces, size_t count, struct slice *out)
{
	size_t at = ev->scratch->len, total = 0;

	for (size_t i = 0; i < count; i++) {
		struct slice ignored;

		if (put(ev, pieces[i].data, pieces[i].len, &ignored) != FOUND)
			return FOUND_LONG;
		total += pieces[i].len;
	}
	*out = (struct slice){ ev->scratch->data + at, total };
	return FOUND;
}

enum found eval_joined(struct eval *ev, const struct template *t, struct slice *out)
{
	struct slice pieces[PARTS_MAX];
	const struct part *bad;
	enum found found = eval_pieces(ev, t, pieces, &bad);

	if (found != FOUND)
		return found;
	if (t->count == 1) {
		*out = pieces[0];
		return FOUND;
	}
	return join(ev, pieces, t->count, out);
}

bool part_names_header(const struct part *part, struct slice name)
{
	const struct slice text = { (const uint8_t *)part->text, part->len };

	if (part->kind == REF_HEADER)
		return slice_eq_nocase(name, text);
	return part->kind == REF_HEADERS && slice_eq_nocase(slice_sub(name, 0, text.len), text);
}

/* The polynomial of zip and Ethernet, bit by bit: no scheme that is often used needs it. */
uint32_t crc32_ieee(struct slice s)
{
	uint32_t crc = 0xffffffffu;

	for (size_t i = 0; i < s.len; i++) {
		crc ^= s.data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
	}
	return ~crc;
}
