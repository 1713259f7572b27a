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
	if (!c->way->alg)
		return compile_fail(c, at, "no such algorithm%s", hint);
	return c->way->alg->kind != ALG_LATER || compile_unsupported(c, at, c->way->alg->name);
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

bool compile_match(struct compile *c, const struct node *verify)
{
	const struct node *at = node_member(verify, "match");
	const struct node *list[PATTERNS_MAX];
	bool signs = false;
	size_t count;

	if (!at)
		return compile_fail(c, verify,
			"match is missing: how is the signature written, such as \"{hex}\"?");
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
	case REF_CAP: ok = true; break;
	case REF_LITERAL:
	case REF_BODY:
	case REF_METHOD:
	case REF_URL:
	case REF_URL_WITH_PORT:
	case REF_URL_WITHOUT_PORT:
	case REF_TIME:
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
	if (template_has(t, REF_SECRET))
		return compile_fail(c, at, "a MAC does not sign a secret");
	return true;
}

bool compile_signed(struct compile *c, const struct node *verify)
{
	const struct node *at = node_member(verify, "signed");
	const struct node *list[SIGNED_MAX];
	struct way *w = c->way;
	size_t count;

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

static bool read_pair(struct compile *c, const struct node *pair, struct require *out)
{
	struct slice ref, value;

	if (pair->type != NODE_ARRAY || node_count(pair) != 2)
		return compile_fail(c, pair, "must be [reference, template]");
	if (!compile_string(c, pair->child, &ref) ||
		!compile_string(c, pair->child->next, &value) ||
		!compile_ref(c, pair->child, ref, &out->ref) ||
		!compile_template(c, pair->child->next, value, &out->value))
		return false;
	if (out->ref.kind == REF_HEADERS)
		return compile_fail(c, pair->child, "only sig may name several headers with a *");
	return true;
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

/* A scheme without signatures has none of what describes one. */
static bool refuse_signature_members(struct compile *c, const struct node *verify)
{
	static const char *const names[] = { "key", "sig", "split", "match", "signed" };
	bool ok = true;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct node *at = node_member(verify, names[i]);

		if (at)
			ok = compile_fail(c, at, "alg \"none\" has no use for this");
	}
	return ok;
}

static bool is_outside_body(const struct part *part)
{
	return part->kind != REF_JSON && part->kind != REF_FORM;
}

/* What is like this for every algorithm with a signature. */
static bool read_signature(struct compile *c, const struct node *verify)
{
	return compile_match(c, verify) && compile_sig(c, verify) && compile_time(c, verify) &&
	       compile_signed(c, verify);
}

static bool read_by_kind(struct compile *c, const struct node *verify)
{
	switch (c->way->alg->kind) {
	case ALG_MODULE: return c->way->alg->module->compile(c, verify);
	case ALG_NONE: return refuse_signature_members(c, verify) && compile_time(c, verify);
	case ALG_MAC:
	case ALG_LATER: break;
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
	if (node_member(verify, "each"))
		(void)compile_unsupported(c, node_member(verify, "each"), "each");
	ok = read_by_kind(c, verify);
	w->head_tells = (!way_has_sig(w) || is_outside_body(&w->sig)) &&
			(!w->has_time || is_outside_body(&w->time));
	return read_require(c, verify) && ok;
}
