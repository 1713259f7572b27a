/* jwt_compile.c - the members of "jwt" in verify, and the files of its keys.
 *
 * Deliberately not here: tokens (jwt.c). */
#include "jwt.h"

#include "postern/text.h"

#include <assert.h>
#include <stdio.h>

#define LEEWAY_DEFAULT_S 60
#define MAX_AGE_MAX_S (INT64_C(366) * 86400)

const char *const jwt_members[] = { "alg", "sig", "split", "match", "jwt", "tolerance",
	"future_tolerance", "require", NULL };

static bool read_algs(struct compile *c, const struct node *jwt_node, struct jwt *jwt)
{
	const struct node *at = node_member(jwt_node, "algs");
	struct slice name = SLICE_EMPTY;

	if (!at || at->type != NODE_ARRAY || !at->child)
		return compile_fail(c, at ? at : jwt_node,
			"algs is a list of the algorithms that the sender uses, such as "
			"[\"RS256\"]");
	for (const struct node *n = at->child; n; n = n->next) {
		enum jws_alg alg;

		if (!compile_string(c, n, &name))
			return false;
		if (!jws_alg_find(name, &alg))
			return compile_fail(
				c, n, "must be RS256, PS256, ES256, HS256 (or 384, 512) or EdDSA");
		jose_allow(&jwt->keys, alg);
	}
	return true;
}

static bool read_iss(struct compile *c, const struct node *jwt_node, struct jwt *jwt)
{
	const struct node *at = node_member(jwt_node, "iss");
	struct slice text;

	if (!at)
		return true;
	if (at->type != NODE_ARRAY || !at->child)
		return compile_fail(c, at, "must be a list of issuers");
	for (const struct node *n = at->child; n; n = n->next) {
		if (jwt->iss_count == JWT_ISS_MAX)
			return compile_fail(c, n, "more than %d issuers", JWT_ISS_MAX);
		if (!compile_string(c, n, &text))
			return false;
		jwt->iss[jwt->iss_count] = compile_keep_text(c, text);
		if (!jwt->iss[jwt->iss_count++])
			return false;
	}
	return true;
}

static bool read_aud(struct compile *c, const struct node *jwt_node, struct jwt *jwt)
{
	const struct node *at = node_member(jwt_node, "aud");
	struct slice text;

	if (!at)
		return true;
	jwt->has_aud = true;
	return compile_string(c, at, &text) && compile_template(c, at, text, &jwt->aud);
}

static bool read_claim(struct compile *c, const struct node *at, struct jwt_claim *out)
{
	struct slice text;

	out->name = compile_keep_text(c, slice_str(at->name));
	if (!out->name)
		return false;
	switch (at->type) {
	case NODE_STRING:
		out->type = JSON_STRING;
		return compile_string(c, at, &text) && compile_template(c, at, text, &out->text);
	case NODE_INTEGER:
		out->type = JSON_INTEGER;
		out->number = at->integer;
		return true;
	case NODE_BOOL: out->type = at->boolean ? JSON_TRUE : JSON_FALSE; return true;
	case NODE_NULL:
	case NODE_REAL:
	case NODE_ARRAY:
	case NODE_OBJECT: break;
	}
	return compile_fail(c, at, "must be a template, a whole number, true or false");
}

static bool is_body_digest(const struct jwt_claim *claim)
{
	const struct part *part = claim->text.parts;

	return claim->type == JSON_STRING && claim->text.count == 1 && part->kind == REF_BODY &&
	       (part->function == FN_SHA256_HEX || part->function == FN_SHA256_BASE64);
}

/* A claim that is the body's digest signs the body. */
static bool bind_body(struct compile *c, const struct jwt *jwt)
{
	for (size_t i = 0; i < jwt->claim_count; i++) {
		if (!is_body_digest(&jwt->claims[i]))
			continue;
		c->way->sign_count = 1;
		return compile_template(c, NULL, SLICE_LIT("{body}"), &c->way->signs[0]);
	}
	return true;
}

static bool read_claims(struct compile *c, const struct node *jwt_node, struct jwt *jwt)
{
	const struct node *at = node_member(jwt_node, "claims");

	if (!at)
		return true;
	if (at->type != NODE_OBJECT)
		return compile_fail(c, at, "must be an object of claims");
	for (const struct node *n = at->child; n; n = n->next) {
		if (jwt->claim_count == JWT_CLAIMS_MAX)
			return compile_fail(c, n, "more than %d claims", JWT_CLAIMS_MAX);
		if (!read_claim(c, n, &jwt->claims[jwt->claim_count++]))
			return false;
	}
	return bind_body(c, jwt);
}

static bool read_max_age(struct compile *c, const struct node *jwt_node, struct jwt *jwt)
{
	const struct node *at = node_member(jwt_node, "max_age");

	jwt->max_age_s = -1;
	if (!at)
		return true;
	if (at->type != NODE_INTEGER || at->integer < 0 || at->integer > MAX_AGE_MAX_S)
		return compile_fail(
			c, at, "must be whole seconds, from 0 to %lld", (long long)MAX_AGE_MAX_S);
	jwt->max_age_s = at->integer;
	return true;
}

/* How wide a token's own times are taken. What the source itself says of its tolerance is also how
 * old a token may be, as it is for other algorithms. way->tolerance_s is what scheme_tolerance_s()
 * tells: how long a token of ours is accepted. */
static bool read_times(struct compile *c, const struct node *verify, struct jwt *jwt)
{
	const struct node *own = node_member(c->source->scheme, "tolerance");
	struct way *w = c->way;
	bool is_given = own || node_member(verify, "tolerance");
	bool future_given = node_member(c->source->scheme, "future_tolerance") ||
			    node_member(verify, "future_tolerance");

	if (!compile_time(c, verify))
		return false;
	jwt->leeway_s = is_given ? w->tolerance_s : LEEWAY_DEFAULT_S;
	jwt->future_leeway_s = future_given ? w->future_tolerance_s : jwt->leeway_s;
	if (own && jwt->max_age_s >= 0)
		jwt->max_age_s = w->tolerance_s;
	/* Such a token says who somebody is, and says so for a time (OpenID Connect Core, 2). */
	jwt->needs_exp = jwt->iss_count > 0 || jwt->has_aud;
	w->tolerance_s = jwt->max_age_s >= 0 ? jwt->max_age_s : JWT_LIFETIME_S + jwt->leeway_s;
	w->future_tolerance_s = jwt->future_leeway_s;
	return true;
}

/* "a/b" -> "/a~1b" */
static bool open_claim_path(struct compile *c, struct jwt *jwt, size_t index)
{
	struct buf pointer = BUF_INIT(KIB(4));
	enum err_code rc = buf_put_str(&pointer, "/", NULL);

	for (const char *at = jwt->claims[index].name; *at && rc == ERR_OK; at++) {
		if (*at == '~' || *at == '/')
			rc = buf_put_str(&pointer, *at == '~' ? "~0" : "~1", NULL);
		else
			rc = buf_put(&pointer, at, 1, NULL);
	}
	if (rc == ERR_OK)
		rc = json_path_open(buf_slice(&pointer), &jwt->paths[JWT_CLAIMS + index], NULL);
	buf_done(&pointer);
	c->no_memory |= rc == ERR_NOMEM;
	return rc == ERR_OK;
}

static bool open_paths(struct compile *c, struct jwt *jwt)
{
	static const char *const registered[] = {
		[JWT_ISS] = "/iss",
		[JWT_AUD] = "/aud",
		[JWT_EXP] = "/exp",
		[JWT_NBF] = "/nbf",
		[JWT_IAT] = "/iat",
	};
	enum err_code rc = jws_reader_open(&jwt->header, NULL);

	for (size_t i = 0; i < JWT_CLAIMS && rc == ERR_OK; i++)
		rc = json_path_open(slice_str(registered[i]), &jwt->paths[i], NULL);
	c->no_memory |= rc != ERR_OK;
	for (size_t i = 0; i < jwt->claim_count && rc == ERR_OK; i++) {
		if (!open_claim_path(c, jwt, i))
			return c->no_memory ? false
					    : compile_fail(c, NULL, "the claim %s has no name",
						      jwt->claims[i].name);
	}
	return rc == ERR_OK;
}

static bool read_match(struct compile *c, const struct node *verify)
{
	if (node_member(verify, "match"))
		return compile_match(c, verify);
	c->way->pattern_count = 1;
	return compile_pattern(c, verify, SLICE_LIT("{token}"), &c->way->patterns[0]);
}

bool jwt_compile(struct compile *c, const struct node *verify)
{
	static const char *const names[] = { "algs", "keys", "iss", "aud", "max_age", "claims",
		NULL };
	const struct node *at = node_member(verify, "jwt");
	struct slice hint;
	struct jwt *jwt;

	if (!at)
		return compile_fail(c, verify,
			"jwt is missing: which tokens are taken, such as {\"algs\": [\"RS256\"]}?");
	if (!compile_members(c, at, names))
		return false;
	jwt = compile_keep(c, sizeof(*jwt));
	c->way->state = jwt;
	if (!jwt || (node_member(at, "keys") && !compile_string(c, node_member(at, "keys"), &hint)))
		return false;
	return read_match(c, verify) && compile_sig(c, verify) && read_algs(c, at, jwt) &&
	       read_iss(c, at, jwt) && read_aud(c, at, jwt) && read_claims(c, at, jwt) &&
	       read_max_age(c, at, jwt) && read_times(c, verify, jwt) && open_paths(c, jwt);
}

/* ---- keys --------------------------------------------------------------------------------------
 */

bool jwt_key(struct compile *c, size_t key, const struct node *at, struct slice text)
{
	struct jwt *jwt = c->way->state;

	return jwt && jose_key(c, &jwt->keys, key, at, text);
}

void jwt_close(struct way *way)
{
	struct jwt *jwt = way->state;

	if (!jwt)
		return;
	jws_reader_close(&jwt->header);
	for (size_t i = 0; i < ARRAY_LEN(jwt->paths); i++)
		json_path_close(&jwt->paths[i]);
	jose_close(&jwt->keys);
}
