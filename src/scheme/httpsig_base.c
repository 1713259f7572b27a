/* httpsig_base.c - the text that a message signature signs: one line for each covered component.
 *
 *   "@method": POST
 *   "content-digest": sha-256=:...:
 *   "@signature-params": ("@method" "content-digest");created=1618884473
 *
 * Deliberately not here: which components must be there (httpsig.c). */
#include "httpsig.h"

#include "postern/text.h"

/* ---- fields ------------------------------------------------------------------------------------
 */

static bool put(struct buf *out, struct slice s)
{
	return buf_put_slice(out, s, NULL) == ERR_OK;
}

static bool put_str(struct buf *out, const char *s)
{
	return buf_put_str(out, s, NULL) == ERR_OK;
}

bool httpsig_field(const struct scheme_request *rq, struct slice name, struct buf *out)
{
	size_t count = 0;

	for (size_t i = 0; i < rq->header_count; i++) {
		if (!slice_eq_nocase(rq->headers[i].name, name))
			continue;
		if (count++ > 0 && !put_str(out, ", "))
			return false;
		if (!put(out, slice_trim(rq->headers[i].value)))
			return false;
	}
	return count > 0;
}

/* Each line of the field as bytes of its own: nothing can move from one into the next. */
static bool put_bytes(const struct scheme_request *rq, struct slice name, struct buf *out)
{
	size_t count = 0;

	for (size_t i = 0; i < rq->header_count; i++) {
		if (!slice_eq_nocase(rq->headers[i].name, name))
			continue;
		if ((count++ > 0 && !put_str(out, ", ")) || !put_str(out, ":") ||
			text_base64(slice_trim(rq->headers[i].value), out, NULL) != ERR_OK ||
			!put_str(out, ":"))
			return false;
	}
	return count > 0;
}

/* Fields whose structure is known; the form of others is nobody's to change. */
static bool is_dictionary(struct slice name)
{
	static const char *const names[] = { "cache-control", "content-digest", "priority",
		"repr-digest", "signature", "signature-input", "want-content-digest",
		"want-repr-digest" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (slice_eq_str(name, names[i]))
			return true;
	}
	return false;
}

static bool is_list(struct slice name)
{
	return slice_eq_str(name, "accept-ch") || slice_eq_str(name, "cache-status") ||
	       slice_eq_str(name, "proxy-status");
}

/* The member's value alone; without a value it is ?1. */
static bool find_member(struct sfv *p, struct slice want, struct slice *out)
{
	struct sfv_members seen = { .count = 0 };
	struct sfv_value v;
	struct slice key, found = SLICE_EMPTY;

	while (sfv_member(p, &seen, &key)) {
		size_t at = p->canon->len;

		if (!sfv_skip_value(p, &v))
			return false;
		if (slice_eq(key, want))
			found = (struct slice){ p->canon->data + at, p->canon->len - at };
	}
	*out = found;
	return !p->failed && found.data;
}

static bool put_member(struct sfv *p, struct slice want, struct buf *out)
{
	struct slice member;

	if (!find_member(p, want, &member))
		return false;
	if (member.len > 0 && member.data[0] == '=')
		return put(out, slice_sub(member, 1, member.len));
	return put_str(out, "?1") && put(out, member);
}

/* With ;sf or ;key. */
static bool put_structured(
	const struct scheme_request *rq, const struct httpsig_component *c, struct buf *out)
{
	struct buf field = BUF_INIT(HTTPSIG_FIELD_MAX), canon = BUF_INIT(4 * HTTPSIG_FIELD_MAX),
		   text = BUF_INIT(4 * HTTPSIG_FIELD_MAX);
	struct sfv p = { .canon = &canon, .text = &text };
	bool ok = httpsig_field(rq, c->name, &field) &&
		  buf_reserve(&canon, 2 * field.len + 64, NULL) == ERR_OK &&
		  buf_reserve(&text, 2 * field.len + 64, NULL) == ERR_OK;

	p.rest = buf_slice(&field);
	if (ok && c->key.data)
		ok = put_member(&p, c->key, out);
	else if (ok && is_dictionary(c->name))
		ok = sfv_dictionary(&p) && put(out, buf_slice(&canon));
	else if (ok)
		ok = is_list(c->name) && sfv_list(&p) && put(out, buf_slice(&canon));
	buf_done(&field);
	buf_done(&canon);
	buf_done(&text);
	return ok;
}

static bool put_field(
	const struct scheme_request *rq, const struct httpsig_component *c, struct buf *out)
{
	if (c->param.data)
		return false;
	if (c->bs)
		return put_bytes(rq, c->name, out);
	return c->sf || c->key.data ? put_structured(rq, c, out) : httpsig_field(rq, c->name, out);
}

/* ---- the target --------------------------------------------------------------------------------
 */

/* In lower case, without the port that goes without saying. */
static struct slice authority_of(struct slice text, struct slice scheme, struct buf *out)
{
	size_t at = out->len;
	struct slice made;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		c = (uint8_t)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
		if (buf_put(out, &c, 1, NULL) != ERR_OK)
			return SLICE_EMPTY;
	}
	made = (struct slice){ out->data + at, out->len - at };
	for (size_t i = 0; i < 2; i++) {
		struct slice port = i ? SLICE_LIT(":443") : SLICE_LIT(":80");
		bool fits = slice_eq_str(scheme, i ? "https" : "http");

		if (fits && made.len > port.len &&
			slice_eq(slice_sub(made, made.len - port.len, port.len), port))
			made.len -= port.len;
	}
	return made;
}

void httpsig_target(const struct scheme_request *rq, struct slice public_url, struct buf *text,
	struct httpsig_target *out)
{
	size_t colon = slice_search(public_url, SLICE_LIT("://"));
	struct slice rest = slice_sub(public_url, colon + 3, public_url.len);
	size_t slash = slice_find(rest, '/'), count = 0;

	*out = (struct httpsig_target){ .path = rq->path };
	if (public_url.len > 0) {
		out->has_url = true;
		out->scheme = slice_sub(public_url, 0, colon);
		out->authority = authority_of(slice_sub(rest, 0, slash), out->scheme, text);
		out->path = slice_sub(rest, slash, rest.len);
	}
	for (size_t i = 0; i < rq->header_count && !out->has_url; i++) {
		if (!slice_eq_nocase(rq->headers[i].name, SLICE_LIT("host")))
			continue;
		out->authority = count++ == 0 ? authority_of(slice_trim(rq->headers[i].value),
							SLICE_EMPTY, text)
					      : SLICE_EMPTY;
	}
	if (out->path.len == 0)
		out->path = SLICE_LIT("/");
}

/* ---- derived components ------------------------------------------------------------------------
 */

struct base {
	const struct scheme_request *rq;
	const struct httpsig_target *target;
	struct buf *out;
};

static bool put_method(const struct base *b, const struct httpsig_component *c)
{
	(void)c;
	return put(b->out, b->rq->method);
}

static bool put_authority(const struct base *b, const struct httpsig_component *c)
{
	(void)c;
	return b->target->authority.len > 0 && put(b->out, b->target->authority);
}

static bool put_scheme(const struct base *b, const struct httpsig_component *c)
{
	(void)c;
	return b->target->has_url && put(b->out, b->target->scheme);
}

static bool put_path(const struct base *b, const struct httpsig_component *c)
{
	(void)c;
	return put(b->out, b->target->path);
}

static bool put_query(const struct base *b, const struct httpsig_component *c)
{
	(void)c;
	return put_str(b->out, "?") && put(b->out, b->rq->query);
}

static bool put_request_target(const struct base *b, const struct httpsig_component *c)
{
	return put_path(b, c) && (!b->rq->has_query || put_query(b, c));
}

static bool put_target_uri(const struct base *b, const struct httpsig_component *c)
{
	return put_scheme(b, c) && put_str(b->out, "://") && put_authority(b, c) &&
	       put_request_target(b, c);
}

/* Decoded, and encoded again in the one way of HTML forms, but for the blank. */
static bool recode(struct slice text, struct buf *decoded, struct buf *out)
{
	buf_reset(decoded);
	if (text_percent_decode(text, true, decoded, NULL) != ERR_OK)
		return false;
	for (size_t i = 0; i < decoded->len; i++) {
		uint8_t c = decoded->data[i];
		bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
				(c >= '0' && c <= '9') || (c && strchr("*-._", c));

		if (is_plain ? buf_put(out, &c, 1, NULL) != ERR_OK
			     : buf_putf(out, NULL, "%%%02X", c) != ERR_OK)
			return false;
	}
	return true;
}

/* A parameter that comes twice has no one value. */
static bool put_query_param(const struct base *b, const struct httpsig_component *c)
{
	struct buf decoded = BUF_INIT(KIB(8)), name = BUF_INIT(KIB(24));
	struct slice query = b->rq->query;
	size_t found = 0;
	bool ok = c->param.data != NULL;

	while (ok && query.len > 0) {
		struct slice pair = slice_sub(query, 0, slice_find(query, '&'));
		size_t eq = slice_find(pair, '=');

		query = slice_sub(query, pair.len + 1, query.len);
		buf_reset(&name);
		if (pair.len == 0)
			continue;
		ok = recode(slice_sub(pair, 0, eq), &decoded, &name);
		if (ok && slice_eq(buf_slice(&name), c->param))
			ok = found++ == 0 &&
			     recode(slice_sub(pair, eq + 1, pair.len), &decoded, b->out);
	}
	buf_done(&decoded);
	buf_done(&name);
	return ok && found == 1;
}

static const struct {
	const char *name;
	bool (*put)(const struct base *b, const struct httpsig_component *c);
} derived[] = {
	{ "@method", put_method },
	{ "@authority", put_authority },
	{ "@scheme", put_scheme },
	{ "@target-uri", put_target_uri },
	{ "@request-target", put_request_target },
	{ "@path", put_path },
	{ "@query", put_query },
	{ "@query-param", put_query_param },
};

static bool put_derived(const struct base *b, const struct httpsig_component *c)
{
	bool is_param = slice_eq_str(c->name, "@query-param");

	if (c->sf || c->bs || c->key.data || (c->param.data && !is_param))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(derived); i++) {
		if (slice_eq_str(c->name, derived[i].name))
			return derived[i].put(b, c);
	}
	return false;
}

/* ---- the whole ---------------------------------------------------------------------------------
 */

/* Lines are what keeps components apart: a value holds none, and is ASCII. */
static bool is_one_line(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if ((s.data[i] < 0x20 && s.data[i] != '\t') || s.data[i] >= 0x7f)
			return false;
	}
	return true;
}

static bool put_line(const struct base *b, const struct httpsig_component *c)
{
	size_t at;
	bool ok;

	if (!put(b->out, c->id) || !put_str(b->out, ": "))
		return false;
	at = b->out->len;
	ok = c->name.data[0] == '@' ? put_derived(b, c) : put_field(b->rq, c, b->out);
	return ok && is_one_line((struct slice){ b->out->data + at, b->out->len - at }) &&
	       put_str(b->out, "\n");
}

const char *httpsig_base(const struct scheme_request *rq, const struct httpsig_target *target,
	const struct httpsig_label *label, struct buf *out, struct slice *out_component)
{
	const struct base b = { rq, target, out };

	for (size_t i = 0; i < label->count; i++) {
		*out_component = label->components[i].id;
		if (!put_line(&b, &label->components[i]))
			return "has no value in this request";
	}
	*out_component = SLICE_LIT("\"@signature-params\"");
	if (!put_str(out, "\"@signature-params\": ") || !put(out, label->params))
		return "is too long";
	return NULL;
}
