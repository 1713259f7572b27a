/* audit.c - what a signature really covers: derived from the scheme, never declared by it.
 *
 * A reference is covered when each alternative of the signed bytes holds it, or holds what it is
 * taken from: the body for its members, the URL for its query. Also here: facts about keys and
 * headers. */
#include "scheme_priv.h"

#include <assert.h>

static bool is_digest(enum ref_function function)
{
	return function == FN_SHA256_HEX || function == FN_SHA256_BASE64;
}

static bool same_ref(const struct part *a, const struct part *b)
{
	const struct slice at = { (const uint8_t *)a->text, a->len };
	const struct slice bt = { (const uint8_t *)b->text, b->len };

	if (a->kind != b->kind)
		return false;
	return a->kind == REF_HEADER ? slice_eq_nocase(at, bt) : slice_eq(at, bt);
}

/* The bytes themselves or a digest of them; a CRC proves nothing. */
static bool holds(const struct template *t, const struct part *ref)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->parts[i].function != FN_CRC32 && same_ref(&t->parts[i], ref))
			return true;
	}
	return false;
}

static bool holds_kind(const struct template *t, enum ref_kind kind)
{
	const struct part ref = { .kind = kind, .text = "" };

	return holds(t, &ref);
}

static bool holds_url(const struct template *t)
{
	return holds_kind(t, REF_URL) || holds_kind(t, REF_URL_WITH_PORT) ||
	       holds_kind(t, REF_URL_WITHOUT_PORT);
}

/* A member of the body by itself, or as one of several lines. */
static bool holds_member(const struct template *t, const struct part *ref)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct lines *lines = t->parts[i].lines;

		for (size_t l = 0; lines && l < lines->count; l++) {
			if (same_ref(&lines->members[l], ref))
				return true;
		}
	}
	return holds(t, ref);
}

/* Signed itself, or its digest is required to be in a place that is signed. */
static bool holds_body(const struct way *w, const struct template *t)
{
	if (holds_kind(t, REF_BODY) || holds_kind(t, REF_FORM_SORTED))
		return true;
	for (size_t i = 0; i < w->require_count; i++) {
		const struct require *r = &w->requires[i];
		bool is_signed = holds(t, &r->ref) || (r->ref.kind == REF_QUERY && holds_url(t));

		if (is_signed && r->ref.function == FN_NONE && r->value.count == 1 &&
			r->value.parts[0].kind == REF_BODY && is_digest(r->value.parts[0].function))
			return true;
	}
	return false;
}

/* The place that {time} is taken from. */
static bool is_time(const struct way *w, const struct template *t, const struct part *ref)
{
	return w->has_time && same_ref(ref, &w->time) && holds_kind(t, REF_TIME);
}

static bool covers(const struct way *w, const struct template *t, const struct part *ref)
{
	switch (ref->kind) {
	case REF_LITERAL: return true;
	case REF_BODY: return holds_body(w, t);
	case REF_JSON:
	case REF_FORM:
	case REF_ITEM:
	case REF_LINES:
	case REF_FORM_SORTED: return holds_body(w, t) || holds_member(t, ref) || is_time(w, t, ref);
	case REF_QUERY:
		if (holds_url(t))
			return true;
		break;
	case REF_TIME: return holds_kind(t, REF_TIME) || (w->has_time && covers(w, t, &w->time));
	case REF_METHOD:
	case REF_URL:
	case REF_URL_WITH_PORT:
	case REF_URL_WITHOUT_PORT:
	case REF_HEADER:
	case REF_CAP: break;
	case REF_KEY:
	case REF_HEADERS:
	case REF_PEER_SAN:
	case REF_SECRET: return false;
	}
	return holds(t, ref) || is_time(w, t, ref);
}

static bool covered(const struct way *w, const struct part *ref)
{
	bool of_body = ref->kind == REF_BODY || ref->kind == REF_JSON || ref->kind == REF_FORM ||
		       ref->kind == REF_ITEM;

	if (w->alg->kind == ALG_NONE)
		return false;
	if (ref->kind == REF_LITERAL || (of_body && w->cover == COVER_FULL))
		return true;
	for (size_t i = 0; i < w->sign_count; i++) {
		if (!covers(w, &w->signs[i], ref))
			return false;
	}
	return w->sign_count > 0;
}

/* Does the part say something about the event? A time or a value that is used once does not. */
static bool is_content(const struct scheme *s, const struct way *w, const struct part *p)
{
	if (p->kind == REF_LINES)
		return true;
	if (p->kind != REF_JSON && p->kind != REF_FORM && p->kind != REF_ITEM)
		return false;
	return !(w->has_time && same_ref(p, &w->time)) && !(s->has_nonce && same_ref(p, &s->nonce));
}

static enum cover cover_of(const struct scheme *s, const struct way *w, const struct template *t)
{
	enum cover best = COVER_NONE;

	if (holds_body(w, t))
		return COVER_FULL;
	for (size_t i = 0; i < t->count; i++) {
		const struct part *p = &t->parts[i];

		if (p->kind == REF_BODY && best == COVER_NONE)
			best = COVER_CRC32;
		if (is_content(s, w, p))
			best = COVER_FIELDS;
	}
	return best;
}

/* The weakest alternative counts, as it is the sender's choice or an attacker's. */
static enum cover weakest_cover(const struct scheme *s, const struct way *w)
{
	enum cover worst = w->alg->kind == ALG_NONE || w->sign_count == 0 ? COVER_NONE : COVER_FULL;

	for (size_t i = 0; i < w->sign_count; i++) {
		enum cover cover = cover_of(s, w, &w->signs[i]);

		if (cover < worst)
			worst = cover;
	}
	return worst;
}

static enum id_cover id_of(const struct way *w, const struct template *t)
{
	enum id_cover best = ID_SIGNED;

	for (size_t i = 0; i < t->count; i++) {
		const struct part *p = &t->parts[i];

		bool is_whole = p->kind == REF_BODY || (p->kind == REF_ITEM && p->len == 0);

		if (is_whole && is_digest(p->function))
			best = ID_DERIVED;
		else if (!covered(w, p))
			return ID_UNSIGNED;
	}
	return best;
}

static enum id_cover weakest_id(const struct scheme *s, const struct way *w)
{
	enum id_cover worst = s->id.count > 0 ? ID_SIGNED : ID_NONE;

	for (size_t i = 0; i < s->id.count; i++) {
		enum id_cover cover = id_of(w, &s->id.list[i]);

		if (cover < worst)
			worst = cover;
	}
	return worst;
}

static bool choice_covered(const struct way *w, const struct choice *choice)
{
	for (size_t i = 0; i < choice->count; i++) {
		for (size_t p = 0; p < choice->list[i].count; p++) {
			if (!covered(w, &choice->list[i].parts[p]))
				return false;
		}
	}
	return choice->count > 0;
}

static void derive_way(const struct scheme *s, struct way *w)
{
	const struct template *t = &w->signs[0];

	w->cover = weakest_cover(s, w);
	w->time_covered = w->has_time && covered(w, &w->time);
	if (w->alg->module && w->alg->module->audit)
		w->alg->module->audit(s, w);
	w->signs_body_alone = w->sign_count == 1 && t->count == 1 && t->parts[0].kind == REF_BODY &&
			      t->parts[0].function == FN_NONE;
}

void audit_derive(struct scheme *s)
{
	s->cover = COVER_FULL;
	s->id_cover = ID_SIGNED;
	s->time_covered = true;
	s->entity_covered = true;
	for (size_t i = 0; i < s->way_count; i++) {
		struct way *w = &s->ways[i];
		enum id_cover id;

		derive_way(s, w);
		id = weakest_id(s, w);
		s->cover = w->cover < s->cover ? w->cover : s->cover;
		s->id_cover = id < s->id_cover ? id : s->id_cover;
		s->time_covered &= w->time_covered;
		s->entity_covered &= choice_covered(w, &s->entity);
	}
}

void scheme_audit(const struct scheme *scheme, struct scheme_audit *out)
{
	static const char *const binds[] = { [COVER_NONE] = "none",
		[COVER_CRC32] = "crc32",
		[COVER_FIELDS] = "fields",
		[COVER_FULL] = "full" };
	static const char *const ids[] = { [ID_NONE] = "none",
		[ID_UNSIGNED] = "UNSIGNED",
		[ID_DERIVED] = "derived",
		[ID_SIGNED] = "signed" };

	*out = (struct scheme_audit){
		.binds = binds[scheme->cover],
		.replay = scheme->time_covered ? "time" : "dedup-only",
		.id = ids[scheme->id_cover],
		.retries = scheme->retries,
		.refetch = scheme->refetch,
		.has_gap = scheme->has_gap,
		.has_nonce = scheme->has_nonce,
		.weak = scheme->cover != COVER_FULL ||
			(!scheme->time_covered && scheme->id_cover == ID_UNSIGNED),
	};
}

bool scheme_id_is_signed(const struct scheme *scheme)
{
	return scheme->id_cover == ID_SIGNED || scheme->id_cover == ID_DERIVED;
}

bool scheme_entity_is_signed(const struct scheme *scheme)
{
	return scheme->entity_covered;
}

bool scheme_splits(const struct scheme *scheme)
{
	return scheme->splits;
}

bool scheme_refetches(const struct scheme *scheme)
{
	return scheme->refetch;
}

bool scheme_has_time(const struct scheme *scheme)
{
	return scheme->time_covered;
}

int64_t scheme_tolerance_s(const struct scheme *scheme, bool future)
{
	int64_t widest = 0;

	for (size_t i = 0; i < scheme->way_count; i++) {
		const struct way *w = &scheme->ways[i];
		int64_t tolerance_s = future ? w->future_tolerance_s : w->tolerance_s;

		widest = tolerance_s > widest ? tolerance_s : widest;
	}
	return widest;
}

size_t scheme_key_count(const struct scheme *scheme)
{
	return scheme->key_count;
}

const char *scheme_key_role(const struct scheme *scheme, size_t key)
{
	assert(key < scheme->key_count);
	return scheme->keys[key].role;
}

const char *scheme_key_fingerprint(const struct scheme *scheme, size_t key)
{
	assert(key < scheme->key_count);
	return scheme->keys[key].fingerprint;
}

const char *scheme_key_used(const struct scheme *scheme, size_t key)
{
	assert(key < scheme->key_count);
	return scheme->keys[key].used;
}

const char *scheme_key_kid(const struct scheme *scheme, size_t key)
{
	assert(key < scheme->key_count);
	return scheme->keys[key].kid;
}

const char *scheme_key_file(const struct scheme *scheme, size_t key)
{
	assert(key < scheme->key_count);
	return scheme->keys[key].file;
}

bool scheme_key_is_past(const struct scheme *scheme, size_t key, int64_t now_ms)
{
	assert(key < scheme->key_count);
	return now_ms > scheme->keys[key].not_after_ms;
}

bool scheme_key_is_valid(const struct scheme *scheme, size_t key, int64_t now_ms)
{
	assert(key < scheme->key_count);
	return key_valid(&scheme->keys[key], now_ms);
}
