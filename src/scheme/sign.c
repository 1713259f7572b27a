/* sign.c - the sender's side: a request that the same scheme verifies.
 *
 *   what is given -> headers and members of the body, where the mapping reads them
 *   the time      -> where verify reads it
 *   the MAC       -> the signature header, written as match says
 *
 * Deliberately not here: HTTP, and randomness: ids are given. */
#include "scheme_priv.h"
#include "postern/text.h"

#include <assert.h>
#include <stdio.h>

struct sender {
	const struct scheme *s;
	const struct way *way; /* the first */
	const struct scheme_draft *draft;
	struct scheme_signed *out;
	struct err *err;
	struct notes notes;
	struct slice json_set[JSON_PATHS_MAX]; /* what was put at each pointer */
	char time[TEXT_TIME_LEN];
};

static struct slice part_slice(const struct part *part)
{
	return (struct slice){ (const uint8_t *)part->text, part->len };
}

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

static enum err_code add_header(struct sender *d, struct slice name, struct slice value)
{
	struct scheme_signed *out = d->out;
	struct header *header = &out->headers[out->header_count];
	enum err_code rc;

	for (size_t i = 0; i < out->header_count; i++) {
		if (!slice_eq_nocase(out->headers[i].name, name))
			continue;
		if (slice_eq(out->headers[i].value, value))
			return ERR_OK;
		return err_set(d->err, ERR_USAGE, "the header %.*s would have two values",
			SLICE_FMT(name));
	}
	for (size_t i = 0; i < value.len; i++) {
		if (value.data[i] < 0x20 || value.data[i] == 0x7f)
			return err_set(d->err, ERR_USAGE,
				"the header %.*s would have a control "
				"character",
				SLICE_FMT(name));
	}
	if (out->header_count == SCHEME_DRAFT_HEADERS)
		return err_set(d->err, ERR_LIMIT, "more than %d headers", SCHEME_DRAFT_HEADERS);
	rc = keep(d, name, &header->name);
	if (rc == ERR_OK)
		rc = keep(d, value, &header->value);
	if (rc == ERR_OK)
		out->header_count++;
	return rc;
}

/* as_number: a whole number is written as one. */
static enum err_code put_json(
	struct sender *d, const struct part *part, struct slice value, bool as_number)
{
	struct slice *set = &d->json_set[part->index];
	struct buf json = BUF_INIT(KIB(64));
	enum err_code rc = ERR_OK;
	int64_t number;

	if (!d->draft->fill_body)
		return ERR_OK;
	if (set->data && !slice_eq(*set, value))
		return err_set(d->err, ERR_USAGE, "json:%s would have two values", part->text);
	*set = value;
	if (as_number && text_i64(value, &number, NULL) == ERR_OK)
		rc = buf_putf(&json, d->err, "%lld", (long long)number);
	else
		rc = json_put_string(&json, value, d->err);
	if (rc == ERR_OK)
		rc = fill_member(&d->out->body, part->text, buf_slice(&json), d->err);
	buf_done(&json);
	return rc;
}

static enum err_code put_ref(
	struct sender *d, const struct part *part, struct slice value, bool as_number)
{
	char name[80];

	if (part->kind == REF_HEADER && part->function == FN_NONE)
		return add_header(d, part_slice(part), value);
	if (part->kind == REF_JSON && part->function == FN_NONE)
		return put_json(d, part, value, as_number);
	part_name(part, name, sizeof(name));
	return err_set(d->err, ERR_USAGE, "%s is not a place where a value can be put", name);
}

/* ---- the mapping backwards
 * ----------------------------------------------------------------------- */

static bool can_put(const struct part *part)
{
	return part->function == FN_NONE && (part->kind == REF_HEADER || part->kind == REF_JSON);
}

/* Take a text apart as the template would have joined it. */
static bool unjoin(const struct template *t, struct slice text, struct slice *out)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct part *part = &t->parts[i];
		size_t len = text.len;

		if (part->kind == REF_LITERAL) {
			if (!slice_starts(text, part_slice(part)))
				return false;
			text = slice_sub(text, part->len, text.len);
			continue;
		}
		if (!can_put(part) || text.len == 0)
			return false;
		if (i + 1 < t->count && t->parts[i + 1].kind == REF_LITERAL) {
			len = slice_search(text, part_slice(&t->parts[i + 1]));
			if (len == 0 || len == text.len)
				return false;
		} else if (i + 1 < t->count) {
			return false; /* nothing tells the two apart */
		}
		out[i] = slice_sub(text, 0, len);
		text = slice_sub(text, len, text.len);
	}
	return text.len == 0;
}

static enum err_code put_parts(
	struct sender *d, const struct template *t, const struct slice *values, bool as_number)
{
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < t->count && rc == ERR_OK; i++) {
		if (t->parts[i].kind != REF_LITERAL)
			rc = put_ref(d, &t->parts[i], values[i], as_number);
	}
	return rc;
}

/* The one reference of a template, if it has just one: "42" is enough for "repo:{json:/id}". */
static const struct part *lone_ref(const struct template *t)
{
	const struct part *lone = NULL;

	for (size_t i = 0; i < t->count; i++) {
		if (t->parts[i].kind == REF_LITERAL)
			continue;
		if (lone || !can_put(&t->parts[i]))
			return NULL;
		lone = &t->parts[i];
	}
	return lone;
}

static enum err_code put_choice(struct sender *d, const struct choice *choice, const char *what,
	struct slice text, bool as_number)
{
	struct slice values[PARTS_MAX];

	if (text.len == 0)
		return ERR_OK;
	if (text.len > EVENT_ID_MAX)
		return err_set(
			d->err, ERR_USAGE, "the %s is longer than %d bytes", what, EVENT_ID_MAX);
	for (size_t i = 0; i < choice->count; i++) {
		if (unjoin(&choice->list[i], text, values))
			return put_parts(d, &choice->list[i], values, as_number);
	}
	for (size_t i = 0; i < choice->count; i++) {
		const struct part *lone = lone_ref(&choice->list[i]);

		if (lone)
			return put_ref(d, lone, text, as_number);
	}
	if (choice->count == 0)
		return err_set(d->err, ERR_USAGE, "events of this source have no %s", what);
	return err_set(d->err, ERR_USAGE, "\"%.*s\" is not what the mapping of the %s can yield",
		SLICE_FMT(text), what);
}

static struct scheme_request request_of(const struct sender *d)
{
	struct slice url = d->draft->url;
	size_t mark = slice_find(url, '?');

	return (struct scheme_request){
		.method = SLICE_LIT("POST"),
		.public_url = slice_sub(url, 0, mark),
		.query = slice_sub(url, mark + 1, url.len),
		.has_query = mark < url.len,
		.headers = d->out->headers,
		.header_count = d->out->header_count,
		.body = buf_slice(&d->out->body),
	};
}

/* An id where the draft has none and the request would have none either. A body that is not JSON is
 * left alone. */
static enum err_code put_spare_id(struct sender *d)
{
	struct scheme_request rq = request_of(d);
	struct notes notes;
	struct json_value v;

	memset(&notes, 0, offsetof(struct notes, json));
	if (d->draft->spare_id.len == 0 || map_has_id(d->s, &rq, &notes))
		return ERR_OK;
	for (size_t i = 0; i < d->s->id.count; i++) {
		const struct part *lone = lone_ref(&d->s->id.list[i]);

		if (!lone || (lone->kind == REF_JSON && json_get(rq.body, "", &v, NULL) != ERR_OK))
			continue;
		return put_ref(d, lone, d->draft->spare_id, false);
	}
	return ERR_OK;
}

static enum err_code put_mapping(struct sender *d)
{
	const struct scheme *s = d->s;
	const struct scheme_draft *draft = d->draft;
	enum err_code rc = put_choice(d, &s->id, "id", draft->id, false);

	if (rc == ERR_OK)
		rc = put_choice(d, &s->type, "type", draft->type, false);
	if (rc == ERR_OK)
		rc = put_choice(d, &s->entity, "entity", draft->entity, false);
	if (rc == ERR_OK)
		rc = put_choice(d, &s->version, "version", draft->version, true);
	if (rc == ERR_OK && draft->id.len == 0)
		rc = put_spare_id(d);
	return rc;
}

/* ---- time and signature
 * -------------------------------------------------------------------------- */

static void write_time(struct sender *d)
{
	int64_t now = d->draft->now_ms;

	if (d->way->unit == UNIT_RFC3339)
		text_time_ms(now, d->time);
	else
		(void)snprintf(d->time, sizeof(d->time), "%lld",
			(long long)(d->way->unit == UNIT_SECONDS ? now / 1000 : now));
}

static enum err_code put_time(struct sender *d)
{
	const struct part *at = &d->way->time;

	if (!d->way->has_time)
		return ERR_OK;
	write_time(d);
	if (at->kind == REF_CAP) {
		d->notes.caps[at->index] = slice_str(d->time);
		return ERR_OK;
	}
	if (at->kind != REF_HEADER && at->kind != REF_JSON)
		return err_set(d->err, ERR_UNSUPPORTED,
			"sending a time in a query or form is not supported yet");
	return put_ref(d, at, slice_str(d->time), d->way->unit != UNIT_RFC3339);
}

/* {time} is what the request says: in a body that is not filled, that is what stands there. */
static enum err_code read_time(struct sender *d, struct eval *ev)
{
	if (!d->way->has_time || eval_part(ev, &d->way->time, &d->notes.time) == FOUND)
		return ERR_OK;
	return err_set(d->err, ERR_USAGE, "the time stands in the body, which has none at json:%s",
		d->way->time.text);
}

static enum err_code put_requirements(struct sender *d, struct eval *ev)
{
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < d->way->require_count && rc == ERR_OK; i++) {
		const struct require *r = &d->way->requires[i];
		struct slice value;

		if (r->ref.kind != REF_HEADER || r->ref.function != FN_NONE)
			return err_set(d->err, ERR_UNSUPPORTED,
				"sending what verify requires outside of headers is not supported "
				"yet");
		if (eval_joined(ev, &r->value, &value) != FOUND)
			return err_set(d->err, ERR_USAGE, "requirement %zu cannot be met", i + 1);
		rc = add_header(d, part_slice(&r->ref), value);
	}
	return rc;
}

/* The key a sender would use: the first that is valid. */
static size_t signing_key(const struct scheme *s, int64_t now_ms)
{
	for (size_t i = 0; i < s->key_count; i++) {
		if (key_valid(&s->keys[i], now_ms))
			return i;
	}
	return 0;
}

static enum err_code compute(struct sender *d, struct eval *ev, uint8_t *out)
{
	struct slice pieces[PARTS_MAX];
	const struct part *bad;
	enum err_code rc;
	char name[80];

	if (d->s->key_count == 0)
		return err_set(d->err, ERR_UNSUPPORTED, "the source has no key yet");
	if (eval_pieces(ev, &d->way->signs[0], pieces, &bad) != FOUND) {
		part_name(bad, name, sizeof(name));
		return err_set(d->err, ERR_USAGE,
			"the signature covers %s, which the request lacks", name);
	}
	rc = crypto_mac(d->way->keyed[signing_key(d->s, d->draft->now_ms)].mac, pieces,
		d->way->signs[0].count, out, d->err);
	if (d->draft->bad_signature)
		out[0] ^= 1; /* as another key would have it: wrong */
	return rc;
}

static enum err_code write_entry(
	struct sender *d, const struct pattern *p, const uint8_t *mac, struct buf *out)
{
	size_t len = crypto_digest_len(d->way->alg->digest);
	char hex[2 * CRYPTO_DIGEST_MAX + 1];
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < p->count && rc == ERR_OK; i++) {
		const struct pattern_part *part = &p->parts[i];

		switch (part->kind) {
		case PATTERN_LITERAL: rc = buf_put(out, part->text, part->len, d->err); break;
		case PATTERN_CAP:
			if (!d->notes.caps[part->cap].data)
				return err_set(d->err, ERR_UNSUPPORTED,
					"nothing says what {%s} would be", d->s->caps[part->cap]);
			rc = buf_put_slice(out, d->notes.caps[part->cap], d->err);
			break;
		case PATTERN_SIGNATURE:
			text_hex(mac, len, hex);
			rc = p->coding == CODING_HEX
				     ? buf_put_str(out, hex, d->err)
				     : text_base64((struct slice){ mac, len }, out, d->err);
			break;
		}
	}
	return rc;
}

/* Every pattern that only captures, and the first that has the signature. */
static enum err_code write_entries(struct sender *d, const uint8_t *mac, struct buf *out)
{
	const struct way *w = d->way;
	enum err_code rc = ERR_OK;
	bool is_signed = false;

	for (size_t i = 0; i < w->pattern_count && rc == ERR_OK; i++) {
		const struct pattern *p = &w->patterns[i];

		if (p->coding != CODING_NONE && is_signed)
			continue;
		is_signed |= p->coding != CODING_NONE;
		if (out->len > 0 && !w->split)
			return err_set(d->err, ERR_UNSUPPORTED,
				"several entries, and no split to write between them");
		if (out->len > 0)
			rc = buf_put(out, w->split, 1, d->err);
		if (rc == ERR_OK)
			rc = write_entry(d, p, mac, out);
	}
	return rc;
}

static enum err_code sign_by_module(struct sender *d, struct eval *ev, struct buf *out)
{
	const struct alg *alg = d->way->alg;

	if (!alg->module->sign)
		return err_set(d->err, ERR_UNSUPPORTED, "%s: a receiver has no key to sign with",
			alg->name);
	return alg->module->sign(d->way, ev, d->draft, out, d->err);
}

static enum err_code put_signature(struct sender *d, struct eval *ev)
{
	const struct part *sig = &d->way->sig;
	uint8_t mac[CRYPTO_DIGEST_MAX];
	struct buf value = BUF_INIT(KIB(4)), name = BUF_INIT(KIB(1));
	enum err_code rc;

	if (d->way->alg->kind == ALG_NONE || d->draft->unsigned_request)
		return ERR_OK;
	if (sig->kind != REF_HEADER && sig->kind != REF_HEADERS)
		return err_set(d->err, ERR_UNSUPPORTED,
			"sending a signature outside of a header is not supported yet");
	if (d->way->alg->kind == ALG_MODULE) {
		rc = sign_by_module(d, ev, &value);
	} else {
		rc = compute(d, ev, mac);
		if (rc == ERR_OK)
			rc = write_entries(d, mac, &value);
	}
	if (rc == ERR_OK)
		rc = buf_put_slice(&name, part_slice(sig), d->err);
	/* Of headers that share a prefix, the first. */
	if (rc == ERR_OK && sig->kind == REF_HEADERS)
		rc = buf_put_str(&name, "1", d->err);
	if (rc == ERR_OK)
		rc = add_header(d, buf_slice(&name), buf_slice(&value));
	buf_done(&value);
	buf_done(&name);
	return rc;
}

static enum err_code finish(struct sender *d)
{
	struct buf scratch = BUF_INIT(KIB(64));
	struct scheme_request rq = request_of(d);
	struct eval ev;
	enum err_code rc = ERR_OK;

	if (!eval_start(&ev, d->s, &rq, &d->notes, &scratch))
		rc = err_set(d->err, ERR_NOMEM, "no memory to sign");
	if (rc == ERR_OK)
		rc = read_time(d, &ev);
	if (rc == ERR_OK)
		rc = put_requirements(d, &ev);
	rq.header_count = d->out->header_count;
	if (rc == ERR_OK)
		rc = put_signature(d, &ev);
	buf_done(&scratch);
	return rc;
}

static enum err_code start(struct sender *d)
{
	const struct scheme_draft *draft = d->draft;
	enum err_code rc;

	d->out->header_count = 0;
	buf_reset(&d->out->text);
	buf_reset(&d->out->body);
	rc = buf_reserve(&d->out->text, KIB(16), d->err);
	if (rc == ERR_OK)
		rc = draft->body.len == 0 && draft->fill_body
			     ? buf_put_str(&d->out->body, "{}", d->err)
			     : buf_put_slice(&d->out->body, draft->body, d->err);
	return rc;
}

enum err_code scheme_sign(const struct scheme *scheme, const struct scheme_draft *draft,
	struct scheme_signed *out, struct err *err)
{
	struct sender d = {
		.s = scheme, .way = &scheme->ways[0], .draft = draft, .out = out, .err = err
	};
	enum err_code rc = start(&d);

	if (rc == ERR_OK)
		rc = put_mapping(&d);
	if (rc == ERR_OK)
		rc = put_time(&d);
	return rc == ERR_OK ? finish(&d) : rc;
}

bool scheme_has_id(const struct scheme *scheme)
{
	for (size_t i = 0; i < scheme->id.count; i++) {
		if (lone_ref(&scheme->id.list[i]))
			return true;
	}
	return false;
}

void scheme_signed_done(struct scheme_signed *s)
{
	buf_done(&s->text);
	buf_done(&s->body);
}
