/* compile_verify.c - the members of verify.
 *
 * Deliberately not here: keys (key.c), and judging requests (verify.c). */
#include "scheme_priv.h"

#include <assert.h>

#define TOLERANCE_DEFAULT_S 300
#define TOLERANCE_MAX_S (INT64_C(10) * 366 * 86400)

static bool read_alg(struct compile *c, const struct node *verify)
{
	const struct node *at = node_member(verify, "alg");
	const char *hint = "";
	struct slice text;

	if (!at)
		return compile_fail(c, verify, "alg is missing, such as \"hmac-sha256\"");
	if (!compile_string(c, at, &text))
		return false;
	c->way->alg = alg_find(text, &hint);
	return c->way->alg || compile_fail(c, at, "no such algorithm%s", hint);
}

/* A member that is one text or a list of them. max places; gives how many there are, 0 on a
 * problem. */
static size_t texts(struct compile *c, const struct node *at, const struct node **out, size_t max)
{
	size_t count = 0;

	if (at->type != NODE_ARRAY) {
		out[0] = at;
		return 1;
	}
	for (const struct node *n = at->child; n; n = n->next) {
		if (count == max) {
			(void)compile_fail(c, at, "more than %zu entries", max);
			return 0;
		}
		out[count++] = n;
	}
	if (count == 0)
		(void)compile_fail(c, at, "an empty list");
	return count;
}

/* Where verify says nothing of it: the algorithm has one usual form. */
static bool default_match(struct compile *c, const struct node *verify)
{
	struct way *w = c->way;

	w->pattern_count = 1;
	switch (w->alg->kind) {
	case ALG_TOKEN: return compile_pattern(c, verify, SLICE_LIT("{token}"), &w->patterns[0]);
	case ALG_BASIC:
		if (!compile_pattern(c, verify, SLICE_LIT("Basic {base64}"), &w->patterns[0]))
			return false;
		w->patterns[0].any_case = true;
		return true;
	case ALG_MAC:
	case ALG_DIGEST:
	case ALG_PUBLIC:
	case ALG_NONE:
	case ALG_MODULE: break;
	}
	return compile_fail(
		c, verify, "match is missing: how is the signature written, such as \"{hex}\"?");
}

bool compile_match(struct compile *c, const struct node *verify)
{
	const struct node *at = node_member(verify, "match");
	const struct node *list[PATTERNS_MAX];
	bool signs = false;
	size_t count;

	if (!at)
		return default_match(c, verify);
	count = texts(c, at, list, ARRAY_LEN(list));
	for (size_t i = 0; i < count; i++) {
		struct slice text;

		if (!compile_string(c, list[i], &text) ||
			!compile_pattern(c, list[i], text, &c->way->patterns[i]))
			return false;
		signs |= c->way->patterns[i].coding != CODING_NONE;
	}
	c->way->pattern_count = count;
	return count > 0 &&
	       (signs || compile_fail(c, at, "no pattern has {hex}, {base64} or {token}"));
}

/* Where a signature or a time may stand. */
static bool check_place(struct compile *c, const struct node *at, const struct part *part)
{
	bool ok = false;

	switch (part->kind) {
	case REF_HEADER:
	case REF_HEADERS:
	case REF_QUERY:
	case REF_FORM:
	case REF_JSON:
	case REF_ITEM:
	case REF_CAP: ok = true; break;
	case REF_KEY:
	case REF_FORM_SORTED:
	case REF_LINES:
	case REF_LITERAL:
	case REF_BODY:
	case REF_METHOD:
	case REF_URL:
	case REF_URL_WITH_PORT:
	case REF_URL_WITHOUT_PORT:
	case REF_TIME:
	case REF_PEER_SAN:
	case REF_SECRET: break;
	}
	return (ok && part->function == FN_NONE) ||
	       compile_fail(c, at, "must be a place such as header:NAME or json:/POINTER");
}

bool compile_sig(struct compile *c, const struct node *verify)
{
	const struct node *at = node_member(verify, "sig");
	const struct node *split = node_member(verify, "split");
	struct slice text;

	if (!at && c->way->alg->kind == ALG_BASIC)
		return compile_ref(c, verify, SLICE_LIT("header:Authorization"), &c->way->sig);
	if (!at)
		return compile_fail(c, verify,
			"sig is missing: where is the signature, such as "
			"\"header:X-Signature\"?");
	if (!compile_string(c, at, &text) || !compile_ref(c, at, text, &c->way->sig))
		return false;
	if (c->way->sig.kind == REF_CAP)
		return compile_fail(c, at, "captures are made from sig, not the other way round");
	if (!check_place(c, at, &c->way->sig))
		return false;
	if (!split)
		return true;
	if (!compile_string(c, split, &text))
		return false;
	if (text.len == 0)
		return compile_fail(c, split, "must be one or more characters");
	for (size_t i = 0; i < text.len; i++)
		c->way->splits_at[text.data[i]] = true;
	c->way->split = compile_keep_text(c, text);
	return c->way->split != NULL;
}

static bool read_unit(struct compile *c, const struct node *verify)
{
	static const char *const names[] = {
		[UNIT_SECONDS] = "s", [UNIT_MS] = "ms", [UNIT_RFC3339] = "rfc3339", NULL
	};
	const struct node *at = node_member(verify, "unit");
	struct slice text;

	if (!at)
		return true;
	if (!compile_string(c, at, &text))
		return false;
	for (size_t i = 0; names[i]; i++) {
		if (slice_eq_str(text, names[i])) {
			c->way->unit = (enum unit)i;
			return true;
		}
	}
	return compile_fail(c, at, "must be \"s\", \"ms\" or \"rfc3339\"");
}

/* The source's own value wins over that of verify. */
static bool read_tolerance(
	struct compile *c, const struct node *verify, const char *name, int64_t *out)
{
	const struct node *at = node_member(c->source->scheme, name);

	if (!at)
		at = node_member(verify, name);
	if (!at)
		return true;
	if (at->type != NODE_INTEGER || at->integer < 0 || at->integer > TOLERANCE_MAX_S)
		return compile_fail(
			c, at, "must be whole seconds, from 0 to %lld", (long long)TOLERANCE_MAX_S);
	*out = at->integer;
	return true;
}

bool compile_time(struct compile *c, const struct node *verify)
{
	const struct node *at = node_member(verify, "time");
	struct way *w = c->way;
	struct slice text;
	bool ok;

	w->tolerance_s = TOLERANCE_DEFAULT_S;
	ok = read_unit(c, verify);
	ok &= read_tolerance(c, verify, "tolerance", &w->tolerance_s);
	w->future_tolerance_s = w->tolerance_s;
	ok &= read_tolerance(c, verify, "future_tolerance", &w->future_tolerance_s);
	if (!at)
		return ok;
	if (!compile_string(c, at, &text) || !compile_ref(c, at, text, &w->time))
		return false;
	if (w->time.kind == REF_HEADERS)
		return compile_fail(c, at, "the time stands in one place only");
	w->has_time = check_place(c, at, &w->time);
	return ok && w->has_time;
}

static bool check_signed(struct compile *c, const struct node *at, const struct template *t)
{
	if (template_has(t, REF_TIME) && !c->way->has_time)
		return compile_fail(c, at, "{time} is signed, but verify has no time");
	if (c->way->alg->kind == ALG_DIGEST && !template_has(t, REF_KEY))
		return compile_fail(c, at, "without {key} anyone can make this digest");
	/* What only the two sides know may be signed, but not stand for the key. */
	if (template_has(t, REF_SECRET) && c->way->alg->kind == ALG_DIGEST)
		return compile_fail(c, at, "the key is {key}");
	return true;
}

bool compile_signed(struct compile *c, const struct node *verify)
{
	const struct node *at = node_member(verify, "signed");
	const struct node *list[SIGNED_MAX];
	struct way *w = c->way;
	size_t count;

	if (!at && w->alg->kind == ALG_DIGEST)
		return compile_fail(c, verify, "signed is missing: where is the {key}?");
	if (!at) {
		w->sign_count = 1;
		return compile_template(c, verify, SLICE_LIT("{body}"), &w->signs[0]);
	}
	count = texts(c, at, list, ARRAY_LEN(list));
	for (size_t i = 0; i < count; i++) {
		struct slice text;

		if (!compile_string(c, list[i], &text) ||
			!compile_template(c, list[i], text, &w->signs[i]) ||
			!check_signed(c, list[i], &w->signs[i]))
			return false;
	}
	w->sign_count = count;
	return count > 0;
}

static bool read_required(struct compile *c, const struct node *at, struct part *out)
{
	struct slice text;
	bool ok;

	if (!compile_string(c, at, &text))
		return false;
	c->in_require = true;
	ok = compile_ref(c, at, text, out);
	c->in_require = false;
	if (!ok)
		return false;
	if (out->kind == REF_HEADERS)
		return compile_fail(c, at, "only sig may name several headers with a *");
	if (out->kind == REF_PEER_SAN && out->function != FN_NONE)
		return compile_fail(c, at, "peer.san is compared as it is");
	return true;
}

static bool read_pair(struct compile *c, const struct node *pair, struct require *out)
{
	struct slice value;

	if (pair->type != NODE_ARRAY || node_count(pair) != 2)
		return compile_fail(c, pair, "must be [reference, template]");
	return read_required(c, pair->child, &out->ref) &&
	       compile_string(c, pair->child->next, &value) &&
	       compile_template(c, pair->child->next, value, &out->value);
}

static bool read_require(struct compile *c, const struct node *verify)
{
	const struct node *at = node_member(verify, "require");
	struct way *w = c->way;

	if (!at)
		return true;
	if (at->type != NODE_ARRAY)
		return compile_fail(c, at, "must be a list of [reference, template]");
	for (const struct node *pair = at->child; pair; pair = pair->next) {
		if (w->require_count == REQUIRES_MAX)
			return compile_fail(c, pair, "more than %d requirements", REQUIRES_MAX);
		if (!read_pair(c, pair, &w->requires[w->require_count++]))
			return false;
	}
	return true;
}

/* Members that describe what the algorithm does not have. */
static bool refuse_members(struct compile *c, const struct node *verify, const char *const *names)
{
	bool ok = true;

	for (; *names; names++) {
		const struct node *at = node_member(verify, *names);

		if (at)
			ok = compile_fail(
				c, at, "alg \"%s\" has no use for this", c->way->alg->name);
	}
	return ok;
}

/* A JSON pointer to the elements that are verified one by one. */
static bool read_each(struct compile *c, const struct node *verify)
{
	const struct node *at = node_member(verify, "each");
	struct way *w = c->way;
	struct slice text;

	if (!at)
		return true;
	if (w->alg->kind == ALG_NONE || w->alg->kind == ALG_MODULE)
		return compile_fail(c, at, "alg \"%s\" has no use for this", w->alg->name);
	w->has_each = compile_string(c, at, &text) && compile_pointer(c, at, text, &w->each);
	c->takes_items = w->has_each;
	return w->has_each;
}

static bool is_outside_body(const struct part *part)
{
	return part->kind != REF_JSON && part->kind != REF_FORM && part->kind != REF_ITEM;
}

/* What is like this for every algorithm with a signature. */
static bool read_signature(struct compile *c, const struct node *verify)
{
	return compile_match(c, verify) && compile_sig(c, verify) && compile_time(c, verify) &&
	       compile_signed(c, verify);
}

/* What comes with each request is the key itself: it signs nothing. */
static bool read_bearer(struct compile *c, const struct node *verify)
{
	static const char *const none[] = { "signed", NULL };

	return refuse_members(c, verify, none) && compile_match(c, verify) &&
	       compile_sig(c, verify) && compile_time(c, verify);
}

static bool read_by_kind(struct compile *c, const struct node *verify)
{
	static const char *const unsigned_members[] = { "key", "sig", "split", "match", "signed",
		NULL };

	switch (c->way->alg->kind) {
	case ALG_MODULE: return c->way->alg->module->compile(c, verify);
	case ALG_NONE:
		return refuse_members(c, verify, unsigned_members) && compile_time(c, verify);
	case ALG_TOKEN:
	case ALG_BASIC: return read_bearer(c, verify);
	case ALG_MAC:
	case ALG_DIGEST:
	case ALG_PUBLIC: break;
	}
	return read_signature(c, verify);
}

bool way_has_sig(const struct way *way)
{
	return way->sig.kind != REF_LITERAL;
}

bool compile_verify(struct compile *c, const struct node *verify)
{
	static const char *const names[] = { "alg", "key", "sig", "split", "match", "signed",
		"time", "unit", "tolerance", "future_tolerance", "require", "each", NULL };
	struct way *w = c->way;
	bool ok;

	if (verify->type != NODE_OBJECT)
		return compile_fail(c, verify, "must be an object");
	if (!read_alg(c, verify) ||
		!compile_members(c, verify, w->alg->module ? w->alg->module->members : names))
		return false;
	c->takes_items = false;
	ok = read_each(c, verify) && read_by_kind(c, verify);
	w->head_tells = !w->has_each && (!way_has_sig(w) || is_outside_body(&w->sig)) &&
			(!w->has_time || is_outside_body(&w->time));
	ok = read_require(c, verify) && ok;
	c->takes_items = false;
	return ok;
}
