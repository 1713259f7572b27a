/* header.c - which request headers a scheme reads, and which of them nobody may see.
 *
 * Deliberately not here: reading them (eval.c). */
#include "scheme_priv.h"

/* Whoever has one of these has what it opens. */
static bool is_credential(struct slice name)
{
	static const char *const names[] = { "authorization", "proxy-authorization", "cookie",
		"set-cookie" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (slice_eq_nocase(name, slice_str(names[i])))
			return true;
	}
	return false;
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

static bool template_reads(const struct template *t, struct slice name)
{
	for (size_t i = 0; i < t->count; i++) {
		if (part_names_header(&t->parts[i], name))
			return true;
	}
	return false;
}

static bool choice_reads(const struct choice *choice, struct slice name)
{
	for (size_t i = 0; i < choice->count; i++) {
		if (template_reads(&choice->list[i], name))
			return true;
	}
	return false;
}

static bool verify_reads(const struct scheme *s, struct slice name)
{
	if ((s->is_signed && part_names_header(&s->sig, name)) ||
		(s->has_time && part_names_header(&s->time, name)))
		return true;
	for (size_t i = 0; i < s->sign_count; i++) {
		if (template_reads(&s->signs[i], name))
			return true;
	}
	for (size_t i = 0; i < s->require_count; i++) {
		if (part_names_header(&s->requires[i].ref, name) ||
			template_reads(&s->requires[i].value, name))
			return true;
	}
	return false;
}

bool scheme_keeps_header(const struct scheme *scheme, struct slice name)
{
	if (is_credential(name) || is_compared_with_secret(scheme, name))
		return false;
	return verify_reads(scheme, name) || choice_reads(&scheme->id, name) ||
	       choice_reads(&scheme->type, name) || choice_reads(&scheme->entity, name) ||
	       choice_reads(&scheme->version, name) || choice_reads(&scheme->base, name);
}

bool scheme_hides_header(const struct scheme *scheme, struct slice name)
{
	return is_credential(name) || is_compared_with_secret(scheme, name) ||
	       (scheme->is_signed && part_names_header(&scheme->sig, name));
}
