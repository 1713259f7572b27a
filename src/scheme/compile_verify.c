/* compile_verify.c - the members of verify.
 *
 * Deliberately not here: keys (key.c), and judging requests (verify.c). */
#include "scheme_priv.h"

#include <assert.h>

#define TOLERANCE_DEFAULT_S 300
#define TOLERANCE_MAX_S (INT64_C(10) * 366 * 86400)

static const struct {
	const char *name;
	enum { ALG_HMAC, ALG_NONE, ALG_LATER } kind;
	enum crypto_digest digest;
} algs[] = {
	{ "hmac-sha256", ALG_HMAC, CRYPTO_SHA256 },
	{ "hmac-sha1", ALG_HMAC, CRYPTO_SHA1 },
	{ "hmac-sha384", ALG_HMAC, CRYPTO_SHA384 },
	{ "hmac-sha512", ALG_HMAC, CRYPTO_SHA512 },
	{ "none", ALG_NONE, CRYPTO_SHA256 },
	{ "sha256", ALG_LATER, CRYPTO_SHA256 },
	{ "ed25519", ALG_LATER, CRYPTO_SHA256 },
	{ "ecdsa-p256-sha256", ALG_LATER, CRYPTO_SHA256 },
	{ "token", ALG_LATER, CRYPTO_SHA256 },
	{ "basic", ALG_LATER, CRYPTO_SHA256 },
	{ "jwt", ALG_LATER, CRYPTO_SHA256 },
	{ "x509-rsa", ALG_LATER, CRYPTO_SHA256 },
};

static bool read_alg(struct compile *c, const struct node *verify)
{
	const struct node *at = node_member(verify, "alg");
	const char *names[ARRAY_LEN(algs) + 1] = { NULL };
	struct slice text;

	if (!at)
		return compile_fail(c, verify, "alg is missing, such as \"hmac-sha256\"");
	if (!compile_string(c, at, &text))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
		names[i] = algs[i].name;
		if (!slice_eq_str(text, algs[i].name))
			continue;
		if (algs[i].kind == ALG_LATER)
			return compile_unsupported(c, at, algs[i].name);
		c->s->is_signed = algs[i].kind == ALG_HMAC;
		c->s->digest = algs[i].digest;
		return true;
	}
	return compile_fail(c, at, "no such algorithm%s", compile_nearest(text, names));
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

static bool read_match(struct compile *c, const struct node *verify)
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
			!compile_pattern(c, list[i], text, &c->s->patterns[i]))
			return false;
		signs |= c->s->patterns[i].coding != CODING_NONE;
	}
	c->s->pattern_count = count;
	return count > 0 && (signs || compile_fail(c, at, "no pattern has {hex} or {base64}"));
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

static bool read_sig(struct compile *c, const struct node *verify)
{
	const struct node *at = node_member(verify, "sig");
	const struct node *split = node_member(verify, "split");
	struct slice text;

	if (!at)
		return compile_fail(c, verify,
			"sig is missing: where is the signature, such as "
			"\"header:X-Signature\"?");
	if (!compile_string(c, at, &text) || !compile_ref(c, at, text, &c->s->sig))
		return false;
	if (c->s->sig.kind == REF_CAP)
		return compile_fail(c, at, "captures are made from sig, not the other way round");
	if (!check_place(c, at, &c->s->sig))
		return false;
	if (!split)
		return true;
	if (!compile_string(c, split, &text))
		return false;
	if (text.len == 0)
		return compile_fail(c, split, "must be one or more characters");
	for (size_t i = 0; i < text.len; i++)
		c->s->splits_at[text.data[i]] = true;
	c->s->split = compile_keep_text(c, text);
	return c->s->split != NULL;
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
			c->s->unit = (enum unit)i;
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

static bool read_time(struct compile *c, const struct node *verify)
{
	const struct node *at = node_member(verify, "time");
	struct scheme *s = c->s;
	struct slice text;
	bool ok;

	s->tolerance_s = TOLERANCE_DEFAULT_S;
	ok = read_unit(c, verify);
	ok &= read_tolerance(c, verify, "tolerance", &s->tolerance_s);
	s->future_tolerance_s = s->tolerance_s;
	ok &= read_tolerance(c, verify, "future_tolerance", &s->future_tolerance_s);
	if (!at)
		return ok;
	if (!compile_string(c, at, &text) || !compile_ref(c, at, text, &s->time))
		return false;
	if (s->time.kind == REF_HEADERS)
		return compile_fail(c, at, "the time stands in one place only");
	s->has_time = check_place(c, at, &s->time);
	return ok && s->has_time;
}

static bool check_signed(struct compile *c, const struct node *at, const struct template *t)
{
	if (template_has(t, REF_TIME) && !c->s->has_time)
		return compile_fail(c, at, "{time} is signed, but verify has no time");
	if (template_has(t, REF_SECRET))
		return compile_fail(c, at, "a MAC does not sign a secret");
	return true;
}

static bool read_signed(struct compile *c, const struct node *verify)
{
	const struct node *at = node_member(verify, "signed");
	const struct node *list[SIGNED_MAX];
	struct scheme *s = c->s;
	size_t count;

	if (!at) {
		s->sign_count = 1;
		return compile_template(c, verify, SLICE_LIT("{body}"), &s->signs[0]);
	}
	count = texts(c, at, list, ARRAY_LEN(list));
	for (size_t i = 0; i < count; i++) {
		struct slice text;

		if (!compile_string(c, list[i], &text) ||
			!compile_template(c, list[i], text, &s->signs[i]) ||
			!check_signed(c, list[i], &s->signs[i]))
			return false;
	}
	s->sign_count = count;
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
	struct scheme *s = c->s;

	if (!at)
		return true;
	if (at->type != NODE_ARRAY)
		return compile_fail(c, at, "must be a list of [reference, template]");
	for (const struct node *pair = at->child; pair; pair = pair->next) {
		if (s->require_count == REQUIRES_MAX)
			return compile_fail(c, pair, "more than %d requirements", REQUIRES_MAX);
		if (!read_pair(c, pair, &s->requires[s->require_count++]))
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

bool compile_verify(struct compile *c, const struct node *verify)
{
	static const char *const names[] = { "alg", "key", "sig", "split", "match", "signed",
		"time", "unit", "tolerance", "future_tolerance", "require", "each", "jwt", "cert",
		"hash", NULL };
	static const char *const later[] = { "each", "jwt", "cert", "hash" };
	struct scheme *s = c->s;
	bool ok;

	if (!compile_members(c, verify, names))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(later); i++) {
		if (node_member(verify, later[i]))
			(void)compile_unsupported(c, node_member(verify, later[i]), later[i]);
	}
	if (!read_alg(c, verify))
		return false;
	if (s->is_signed)
		ok = read_match(c, verify) && read_sig(c, verify) && read_time(c, verify) &&
		     read_signed(c, verify);
	else
		ok = refuse_signature_members(c, verify) && read_time(c, verify);
	s->head_tells = (!s->is_signed || is_outside_body(&s->sig)) &&
			(!s->has_time || is_outside_body(&s->time));
	return read_require(c, verify) && ok;
}
