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

/* A header that must equal a secret is that secret. */
static bool is_compared_with_secret(const struct scheme *s, struct slice name)
{
	for (size_t i = 0; i < s->require_count; i++) {
		if (part_names_header(&s->requires[i].ref, name) &&
			template_has(&s->requires[i].value, REF_SECRET))
			return true;
	}
	for (size_t i = 0; i < s->handshake_count; i++) {
		const struct handshake *h = &s->handshakes[i];

		for (size_t w = 0; w < h->when_count; w++) {
			if (part_names_header(&h->when[w].ref, name) &&
				template_has(&h->when[w].value, REF_SECRET))
				return true;
		}
	}
	return false;
}

/* Asked about each reference: is it to a header of this name; is it to something of the URL? */
struct question {
	bool (*fits)(const struct part *part, struct slice name);
	struct slice name;
};

static bool is_of_url(const struct part *part, struct slice none)
{
	(void)none;
	return part->kind == REF_QUERY || part->kind == REF_URL ||
	       part->kind == REF_URL_WITH_PORT || part->kind == REF_URL_WITHOUT_PORT;
}

static bool template_reads(const struct template *t, const struct question *q)
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

static bool verify_reads(const struct scheme *s, const struct question *q)
{
	if ((s->is_signed && q->fits(&s->sig, q->name)) ||
		(s->has_time && q->fits(&s->time, q->name)))
		return true;
	for (size_t i = 0; i < s->sign_count; i++) {
		if (template_reads(&s->signs[i], q))
			return true;
	}
	for (size_t i = 0; i < s->require_count; i++) {
		if (q->fits(&s->requires[i].ref, q->name) ||
			template_reads(&s->requires[i].value, q))
			return true;
	}
	return false;
}

static bool reads(const struct scheme *s, const struct question *q)
{
	return verify_reads(s, q) || choice_reads(&s->id, q) || choice_reads(&s->type, q) ||
	       choice_reads(&s->entity, q) || choice_reads(&s->version, q) ||
	       choice_reads(&s->base, q);
}

bool scheme_keeps_header(const struct scheme *scheme, struct slice name)
{
	const struct question q = { part_names_header, name };

	if (is_credential(name) || is_compared_with_secret(scheme, name))
		return false;
	return reads(scheme, &q);
}

bool scheme_reads_query(const struct scheme *scheme)
{
	return reads(scheme, &(const struct question){ is_of_url, SLICE_EMPTY });
}

bool scheme_hides_header(const struct scheme *scheme, struct slice name)
{
	return is_credential(name) || is_compared_with_secret(scheme, name) ||
	       (scheme->is_signed && part_names_header(&scheme->sig, name));
}
