/* jwt.c - the module for signatures that are JSON Web Tokens (RFC 7519).
 *
 *   token -> algorithm allowed? -> key by kid -> signature -> times readable? -> issuer, audience,
 *   claims -> fresh?
 *
 * Nothing of the payload is looked at before the signature holds. What binds the token to the
 * request are its claims: a digest of the body, the URL as its audience. Deliberately not here:
 * reading the config (jwt_compile.c). */
#include "jwt.h"

#include "postern/text.h"

/* ---- claims ------------------------------------------------------------------------------------
 */

struct claims {
	struct json_value v[JWT_PATHS_MAX];
	int64_t exp_s, nbf_s, iat_s; /* INT64_MIN: not there */
};

/* Seconds since 1970; what a fraction says beyond them is not needed. */
static bool read_date(struct json_value v, int64_t *out)
{
	size_t dot = slice_find(v.raw, '.');
	struct slice whole = slice_sub(v.raw, 0, dot), rest = slice_sub(v.raw, dot + 1, v.raw.len);
	uint64_t fraction;

	*out = INT64_MIN;
	if (v.type == JSON_ABSENT)
		return true;
	if (v.type != JSON_INTEGER && v.type != JSON_REAL)
		return false;
	/* Digits only: not 1.6e9. */
	if (v.type == JSON_REAL && text_u64(rest, &fraction, NULL) != ERR_OK)
		return false;
	return whole.len <= 12 && text_i64(whole, out, NULL) == ERR_OK && *out >= 0;
}

static enum err_code read_claims(struct judge *j, struct slice payload, struct claims *out)
{
	const struct jwt *jwt = j->way->state;

	if (payload.len == 0 || payload.data[0] != '{' ||
		json_scan(payload, jwt->paths, JWT_CLAIMS + jwt->claim_count, out->v, NULL) !=
			ERR_OK)
		return judge_refuse(j, ERR_BAD_SIGNATURE, "the payload is no JSON object");
	if (!read_date(out->v[JWT_EXP], &out->exp_s) || !read_date(out->v[JWT_NBF], &out->nbf_s) ||
		!read_date(out->v[JWT_IAT], &out->iat_s))
		return judge_refuse(j, ERR_BAD_TIMESTAMP, "exp, nbf or iat is no time");
	if (jwt->needs_exp && out->exp_s == INT64_MIN)
		return judge_refuse(j, ERR_BAD_TIMESTAMP, "the token has no exp");
	if (jwt->max_age_s >= 0 && out->iat_s == INT64_MIN)
		return judge_refuse(j, ERR_BAD_TIMESTAMP, "the token has no iat");
	return ERR_OK;
}

static bool is_text(struct eval *ev, struct json_value v, struct slice want)
{
	size_t at = ev->scratch->len;
	struct slice have = v.raw;
	bool equal;

	if (v.type != JSON_STRING || v.raw.len > eval_room(ev))
		return false;
	if (v.escaped) {
		if (json_text(v, ev->scratch, NULL) != ERR_OK)
			return false;
		have = (struct slice){ ev->scratch->data + at, ev->scratch->len - at };
	}
	equal = have.len == want.len && crypto_equal(have.data, want.data, want.len);
	ev->scratch->len = at;
	return equal;
}

static bool is_known_issuer(struct judge *j, const struct claims *claims)
{
	const struct jwt *jwt = j->way->state;

	for (size_t i = 0; i < jwt->iss_count; i++) {
		if (is_text(&j->ev, claims->v[JWT_ISS], slice_str(jwt->iss[i])))
			return true;
	}
	return jwt->iss_count == 0;
}

/* One text, or a list with ours in it. */
static bool is_for_us(struct judge *j, const struct claims *claims)
{
	const struct jwt *jwt = j->way->state;
	struct json_value aud = claims->v[JWT_AUD], one;
	struct slice want;
	size_t at = 0;

	if (!jwt->has_aud)
		return true;
	if (eval_joined(&j->ev, &jwt->aud, &want) != FOUND || want.len == 0)
		return false;
	if (aud.type != JSON_ARRAY)
		return is_text(&j->ev, aud, want);
	while (json_next(aud, &at, &one)) {
		if (is_text(&j->ev, one, want))
			return true;
	}
	return false;
}

static bool claim_holds(struct judge *j, const struct jwt_claim *claim, struct json_value v)
{
	struct slice want;
	int64_t number;

	if (claim->type == JSON_STRING)
		return eval_joined(&j->ev, &claim->text, &want) == FOUND &&
		       is_text(&j->ev, v, want);
	if (claim->type == JSON_INTEGER)
		return v.type == JSON_INTEGER && text_i64(v.raw, &number, NULL) == ERR_OK &&
		       number == claim->number;
	return v.type == claim->type;
}

static enum err_code check_claims(struct judge *j, const struct claims *claims)
{
	const struct jwt *jwt = j->way->state;

	if (!is_known_issuer(j, claims))
		return judge_refuse(j, ERR_BAD_SIGNATURE, "iss is not one of those that are asked");
	if (!is_for_us(j, claims))
		return judge_refuse(j, ERR_BAD_SIGNATURE, "aud is not this receiver");
	for (size_t i = 0; i < jwt->claim_count; i++) {
		if (!claim_holds(j, &jwt->claims[i], claims->v[JWT_CLAIMS + i]))
			return judge_refuse(j, ERR_BAD_SIGNATURE, "the claim %s does not hold",
				jwt->claims[i].name);
	}
	return ERR_OK;
}

/* ---- times -------------------------------------------------------------------------------------
 */

static enum err_code check_fresh(struct judge *j, const struct claims *claims)
{
	const struct jwt *jwt = j->way->state;
	int64_t now_s = j->now_ms / 1000, ahead_s = now_s + jwt->future_leeway_s;

	if (claims->exp_s != INT64_MIN && now_s - claims->exp_s > jwt->leeway_s)
		return judge_refuse(
			j, ERR_EXPIRED, "exp was %lld s ago", (long long)(now_s - claims->exp_s));
	if (jwt->max_age_s >= 0 && now_s - claims->iat_s > jwt->max_age_s)
		return judge_refuse(j, ERR_EXPIRED, "%lld s old, of %lld",
			(long long)(now_s - claims->iat_s), (long long)jwt->max_age_s);
	if (claims->nbf_s > ahead_s)
		return judge_refuse(j, ERR_CLOCK_SKEW, "nbf is %lld s ahead",
			(long long)(claims->nbf_s - now_s));
	if (claims->iat_s > ahead_s)
		return judge_refuse(j, ERR_CLOCK_SKEW, "iat is %lld s ahead",
			(long long)(claims->iat_s - now_s));
	return ERR_OK;
}

static enum err_code check_token(struct judge *j, struct slice text)
{
	const struct jwt *jwt = j->way->state;
	struct jws token;
	struct claims claims = { .exp_s = INT64_MIN };
	const char *why = jws_read(&jwt->header, text, j->ev.scratch, &token);
	enum err_code rc;

	if (why)
		return judge_refuse(j, ERR_BAD_SIGNATURE, "%s", why);
	if (!jwt->keys.allowed[token.alg])
		return judge_refuse(j, ERR_BAD_SIGNATURE, "%s is not one of the algorithms allowed",
			jws_alg_name(token.alg));
	rc = jose_prove(j, &jwt->keys, &token);
	if (rc == ERR_OK)
		rc = read_claims(j, token.payload, &claims);
	if (rc == ERR_OK)
		rc = check_claims(j, &claims);
	if (rc != ERR_OK) {
		j->out->key = -1;
		return rc;
	}
	if (claims.iat_s != INT64_MIN)
		j->out->signed_ms = claims.iat_s * 1000;
	return check_fresh(j, &claims);
}

/* The first token that holds; what is told is of the last. */
static enum err_code verify(struct judge *j)
{
	size_t kept = j->ev.scratch->len;
	enum err_code rc = judge_refuse(j, ERR_BAD_SIGNATURE, "no token");

	for (size_t i = 0; i < j->found.count; i++) {
		j->ev.scratch->len = kept;
		j->out->signed_ms = INT64_MIN;
		rc = check_token(j, j->found.list[i].text);
		if (rc == ERR_OK || rc == ERR_UNAVAILABLE)
			return rc;
	}
	return rc;
}

/* ---- what it reads and covers ------------------------------------------------------------------
 */

static bool reads(const struct way *way, const struct question *q)
{
	const struct jwt *jwt = way->state;

	if (jwt->has_aud && template_reads(&jwt->aud, q))
		return true;
	for (size_t i = 0; i < jwt->claim_count; i++) {
		if (jwt->claims[i].type == JSON_STRING && template_reads(&jwt->claims[i].text, q))
			return true;
	}
	return false;
}

static void audit(const struct scheme *s, struct way *way)
{
	const struct jwt *jwt = way->state;

	(void)s;
	way->time_covered = jwt->needs_exp || jwt->max_age_s >= 0;
}

const struct scheme_module jwt_module = {
	.members = jwt_members,
	.compile = jwt_compile,
	.key = jwt_key,
	.close = jwt_close,
	.verify = verify,
	.sign = jwt_sign,
	.reads = reads,
	.audit = audit,
};
