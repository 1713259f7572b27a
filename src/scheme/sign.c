/* sign.c - the sender's side: a request that the same scheme verifies.
 *
 *   what is given -> headers, parameters and members of the body, where the mapping reads them
 *   the time      -> where verify reads it
 *   the proof     -> where verify finds it, written as match says (sign_proof.c)
 *
 * Deliberately not here: HTTP, and randomness: ids are given. */
#include "sign_priv.h"
#include "postern/text.h"

#include <assert.h>
#include <stdio.h>

static struct slice part_slice(const struct part *part)
{
	return (struct slice){ (const uint8_t *)part->text, part->len };
}

/* ---- the mapping backwards
 * ----------------------------------------------------------------------- */

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
		if (!place_can_take(part) || text.len == 0)
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
			rc = place_value(d, &t->parts[i], values[i], as_number);
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
		if (lone || !place_can_take(&t->parts[i]))
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
			return place_value(d, lone, text, as_number);
	}
	if (choice->count == 0)
		return err_set(d->err, ERR_USAGE, "events of this source have no %s", what);
	return err_set(d->err, ERR_USAGE, "\"%.*s\" is not what the mapping of the %s can yield",
		SLICE_FMT(text), what);
}

static struct scheme_request request_of(const struct sender *d)
{
	struct slice url = d->draft->url;

	return (struct scheme_request){
		.method = SLICE_LIT("POST"),
		.public_url = slice_sub(url, 0, slice_find(url, '?')),
		.query = buf_slice(&d->out->query),
		.has_query = d->out->has_query || d->out->query.len > 0,
		.headers = d->out->headers,
		.header_count = d->out->header_count,
		.body = buf_slice(&d->out->body),
	};
}

/* Is there a first element? */
static bool has_element(const struct sender *d)
{
	struct json_value array, item;
	size_t at = 0;

	return json_get(buf_slice(&d->out->body), d->s->items.text, &array, NULL) == ERR_OK &&
	       array.type == JSON_ARRAY && json_next(array, &at, &item);
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

		if (!lone ||
			(lone->kind == REF_JSON && json_get(rq.body, "", &v, NULL) != ERR_OK) ||
			(lone->kind == REF_ITEM && !has_element(d)))
			continue;
		return place_value(d, lone, d->draft->spare_id, false);
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

/* ---- time and requirements ---------------------------------------------------------------------
 */

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
	return place_value(d, at, slice_str(d->time), d->way->unit != UNIT_RFC3339);
}

/* A value that must be a fresh one each time is as good as an id. */
static enum err_code put_nonce(struct sender *d)
{
	struct scheme_request rq = request_of(d);
	struct buf scratch = BUF_INIT(SCHEME_DECODED_MAX);
	struct slice have;
	struct notes notes;
	struct eval ev;
	bool is_there;

	if (!d->s->has_nonce || d->draft->spare_id.len == 0 || !place_can_take(&d->s->nonce))
		return ERR_OK;
	memset(&notes, 0, offsetof(struct notes, json));
	is_there = eval_start(&ev, d->s, &rq, &notes, &scratch) &&
		   eval_part(&ev, &d->s->nonce, &have) == FOUND;
	buf_done(&scratch);
	return is_there ? ERR_OK : place_value(d, &d->s->nonce, d->draft->spare_id, false);
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

		if (r->ref.kind == REF_PEER_SAN)
			continue; /* shown by whoever connects */
		if ((r->ref.kind != REF_HEADER && r->ref.kind != REF_QUERY) ||
			r->ref.function != FN_NONE)
			return err_set(d->err, ERR_UNSUPPORTED,
				"what verify requires stands neither in a header nor in the query: "
				"it cannot be put there");
		if (eval_joined(ev, &r->value, &value) != FOUND)
			return err_set(d->err, ERR_USAGE, "requirement %zu cannot be met", i + 1);
		rc = place_value(d, &r->ref, value, false);
	}
	return rc;
}

/* ---- all of it
 * ------------------------------------------------------------------------------------ */

static enum err_code finish(struct sender *d)
{
	struct buf scratch = BUF_INIT(SCHEME_DECODED_MAX);
	struct scheme_request rq = request_of(d);
	struct eval ev;
	enum err_code rc = ERR_OK;

	if (!eval_start(&ev, d->s, &rq, &d->notes, &scratch))
		rc = err_set(d->err, ERR_NOMEM, "no memory to sign");
	if (rc == ERR_OK && !d->way->has_each)
		rc = read_time(d, &ev);
	if (rc == ERR_OK)
		rc = put_requirements(d, &ev);
	rq = request_of(d); /* with what was required */
	if (rc == ERR_OK)
		rc = sign_prove(d, &ev);
	buf_done(&scratch);
	return rc;
}

static enum err_code start(struct sender *d)
{
	const struct scheme_draft *draft = d->draft;
	size_t mark = slice_find(draft->url, '?');
	enum err_code rc;

	d->out->header_count = 0;
	buf_reset(&d->out->text);
	buf_reset(&d->out->body);
	buf_reset(&d->out->query);
	d->out->has_query = mark < draft->url.len;
	rc = buf_reserve(&d->out->text, KIB(16), d->err);
	if (rc == ERR_OK)
		rc = buf_put_slice(
			&d->out->query, slice_sub(draft->url, mark + 1, draft->url.len), d->err);
	if (rc == ERR_OK)
		rc = draft->body.len == 0 && draft->fill_body && !scheme_takes_form(d->s)
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
		rc = sign_shape_body(&d);
	if (rc == ERR_OK)
		rc = put_mapping(&d);
	if (rc == ERR_OK)
		rc = put_nonce(&d);
	if (rc == ERR_OK)
		rc = put_time(&d);
	if (rc == ERR_OK)
		rc = sign_wrap_body(&d);
	return rc == ERR_OK ? finish(&d) : rc;
}

static bool template_reads_form(const struct template *t)
{
	return template_has(t, REF_FORM) || template_has(t, REF_FORM_SORTED);
}

static bool choice_reads_form(const struct choice *choice)
{
	for (size_t i = 0; i < choice->count; i++) {
		if (template_reads_form(&choice->list[i]))
			return true;
	}
	return false;
}

bool scheme_takes_form(const struct scheme *scheme)
{
	const struct way *w = &scheme->ways[0];
	bool reads = choice_reads_form(&scheme->id) || choice_reads_form(&scheme->type) ||
		     choice_reads_form(&scheme->entity) || choice_reads_form(&scheme->version) ||
		     (way_has_sig(w) && w->sig.kind == REF_FORM) ||
		     (w->has_time && w->time.kind == REF_FORM);

	for (size_t i = 0; i < w->sign_count; i++)
		reads |= template_reads_form(&w->signs[i]);
	return reads && !scheme->has_form;
}

bool scheme_wraps_json(const struct scheme *scheme)
{
	return scheme->has_form;
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
	buf_done(&s->query);
}
