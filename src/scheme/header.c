/* header.c - what a scheme reads besides the body: which request headers, and which of them nobody
 * may see; and whether it needs the query.
 *
 * Deliberately not here: reading them (eval.c). */
#include "scheme_priv.h"

/* Whoever has one of these has what it opens. */
static bool is_credential(struct slice name)
{
	return slice_eq_nocase(name, SLICE_LIT("authorization")) ||
	       slice_eq_nocase(name, SLICE_LIT("proxy-authorization")) ||
	       slice_eq_nocase(name, SLICE_LIT("cookie")) ||
	       slice_eq_nocase(name, SLICE_LIT("set-cookie"));
}

static bool is_required_secret(const struct way *w, struct slice name)
{
	for (size_t i = 0; i < w->require_count; i++) {
		if (part_names_header(&w->requires[i].ref, name) &&
			template_has(&w->requires[i].value, REF_SECRET))
			return true;
	}
	return false;
}

/* A header that must equal a secret, or tells one, is that secret. */
static bool is_secret(const struct scheme *s, struct slice name)
{
	for (size_t i = 0; i < s->way_count; i++) {
		if (is_required_secret(&s->ways[i], name))
			return true;
	}
	for (size_t i = 0; i < s->handshake_count; i++) {
		const struct handshake *h = &s->handshakes[i];

		if (h->learns && part_names_header(&h->learn, name))
			return true;
		for (size_t w = 0; w < h->when_count; w++) {
			if (part_names_header(&h->when[w].ref, name) &&
				template_has(&h->when[w].value, REF_SECRET))
				return true;
		}
	}
	return false;
}

static bool is_of_url(const struct part *part, struct slice none)
{
	(void)none;
	return part->kind == REF_QUERY || part->kind == REF_URL ||
	       part->kind == REF_URL_WITH_PORT || part->kind == REF_URL_WITHOUT_PORT;
}

static bool is_of_peer(const struct part *part, struct slice none)
{
	(void)none;
	return part->kind == REF_PEER_SAN;
}

bool template_reads(const struct template *t, const struct question *q)
{
	for (size_t i = 0; i < t->count; i++) {
		if (q->fits(&t->parts[i], q->name))
			return true;
	}
	return false;
}

static bool choice_reads(const struct choice *choice, const struct question *q)
{
	for (size_t i = 0; i < choice->count; i++) {
		if (template_reads(&choice->list[i], q))
			return true;
	}
	return false;
}

static bool way_reads(const struct way *w, const struct question *q)
{
	if ((way_has_sig(w) && q->fits(&w->sig, q->name)) ||
		(w->has_time && q->fits(&w->time, q->name)))
		return true;
	for (size_t i = 0; i < w->sign_count; i++) {
		if (template_reads(&w->signs[i], q))
			return true;
	}
	for (size_t i = 0; i < w->require_count; i++) {
		if (q->fits(&w->requires[i].ref, q->name) ||
			template_reads(&w->requires[i].value, q))
			return true;
	}
	return w->alg->module && w->alg->module->reads && w->alg->module->reads(w, q);
}

static bool verify_reads(const struct scheme *s, const struct question *q)
{
	for (size_t i = 0; i < s->way_count; i++) {
		if (way_reads(&s->ways[i], q))
			return true;
	}
	return false;
}

static bool reads(const struct scheme *s, const struct question *q)
{
	return verify_reads(s, q) || choice_reads(&s->id, q) || choice_reads(&s->type, q) ||
	       choice_reads(&s->entity, q) || choice_reads(&s->version, q) ||
	       choice_reads(&s->base, q) || (s->has_nonce && q->fits(&s->nonce, q->name)) ||
	       (s->has_gap && (q->fits(&s->gap[0], q->name) || q->fits(&s->gap[1], q->name)));
}

/* A header that is the key itself, and not made with it. */
static bool is_bearer(const struct scheme *s, struct slice name)
{
	for (size_t i = 0; i < s->way_count; i++) {
		const struct way *w = &s->ways[i];

		if ((w->alg->kind == ALG_TOKEN || w->alg->kind == ALG_BASIC) &&
			part_names_header(&w->sig, name))
			return true;
	}
	return false;
}

bool scheme_keeps_header(const struct scheme *scheme, struct slice name)
{
	const struct question q = { part_names_header, name };

	if (is_credential(name) || is_secret(scheme, name) || is_bearer(scheme, name))
		return false;
	return reads(scheme, &q);
}

bool scheme_reads_query(const struct scheme *scheme)
{
	return reads(scheme, &(const struct question){ is_of_url, SLICE_EMPTY });
}

bool scheme_reads_peer(const struct scheme *scheme)
{
	return verify_reads(scheme, &(const struct question){ is_of_peer, SLICE_EMPTY });
}

static bool is_signature(const struct scheme *s, struct slice name)
{
	for (size_t i = 0; i < s->way_count; i++) {
		if (way_has_sig(&s->ways[i]) && part_names_header(&s->ways[i].sig, name))
			return true;
	}
	return false;
}

bool scheme_hides_header(const struct scheme *scheme, struct slice name)
{
	return is_credential(name) || is_secret(scheme, name) || is_signature(scheme, name);
}
