/* jwt_sign.c - the sender's side: a token that the same scheme takes.
 *
 * It takes a private key or a secret among the source's keys, which receivers of public keys do not
 * have. Deliberately not here: placing it in a request (sign.c). */
#include "jwt.h"

#include "postern/text.h"

static enum err_code put_header(const struct jose_signer *with, struct buf *out, struct err *err)
{
	enum err_code rc = buf_put_str(out, "{", err);

	if (rc == ERR_OK)
		rc = json_put_str(out, "alg", slice_str(jws_alg_name(with->alg)), err);
	if (rc == ERR_OK)
		rc = json_put_str(out, "typ", SLICE_LIT("JWT"), err);
	if (rc == ERR_OK && with->kid)
		rc = json_put_str(out, "kid", slice_str(with->kid), err);
	return rc == ERR_OK ? buf_put_str(out, "}", err) : rc;
}

static enum err_code put_template(struct eval *ev, const char *name, const struct template *t,
	struct buf *out, struct err *err)
{
	struct slice value;

	if (eval_joined(ev, t, &value) != FOUND)
		return err_set(err, ERR_USAGE, "the request has no value for the claim %s", name);
	return json_put_str(out, name, value, err);
}

static enum err_code put_claim(
	struct eval *ev, const struct jwt_claim *claim, struct buf *out, struct err *err)
{
	if (claim->type == JSON_STRING)
		return put_template(ev, claim->name, &claim->text, out, err);
	if (claim->type == JSON_INTEGER)
		return json_put_int(out, claim->name, claim->number, err);
	return json_put_bool(out, claim->name, claim->type == JSON_TRUE, err);
}

static enum err_code put_claims(
	const struct jwt *jwt, struct eval *ev, int64_t now_ms, struct buf *out, struct err *err)
{
	enum err_code rc = buf_put_str(out, "{", err);

	if (rc == ERR_OK && jwt->iss_count > 0)
		rc = json_put_str(out, "iss", slice_str(jwt->iss[0]), err);
	if (rc == ERR_OK && jwt->has_aud)
		rc = put_template(ev, "aud", &jwt->aud, out, err);
	if (rc == ERR_OK)
		rc = json_put_int(out, "iat", now_ms / 1000, err);
	if (rc == ERR_OK && jwt->needs_exp)
		rc = json_put_int(out, "exp", now_ms / 1000 + JWT_LIFETIME_S, err);
	for (size_t i = 0; i < jwt->claim_count && rc == ERR_OK; i++)
		rc = put_claim(ev, &jwt->claims[i], out, err);
	return rc == ERR_OK ? buf_put_str(out, "}", err) : rc;
}

struct pieces {
	struct buf header, payload, token, signature;
};

static enum err_code join(
	const struct jose_signer *with, bool is_bad, struct pieces *p, struct err *err)
{
	enum err_code rc = text_base64url(buf_slice(&p->header), &p->token, err);

	if (rc == ERR_OK)
		rc = buf_put_str(&p->token, ".", err);
	if (rc == ERR_OK)
		rc = text_base64url(buf_slice(&p->payload), &p->token, err);
	if (rc == ERR_OK)
		rc = jwk_sign(with->key, with->alg, buf_slice(&p->token), &p->signature, err);
	if (rc == ERR_OK && is_bad)
		p->signature.data[p->signature.len / 2] ^= 1;
	if (rc == ERR_OK)
		rc = buf_put_str(&p->token, ".", err);
	return rc == ERR_OK ? text_base64url(buf_slice(&p->signature), &p->token, err) : rc;
}

/* As match writes it: what stands before and behind the token. */
static enum err_code put_entry(
	const struct pattern *pattern, struct slice token, struct buf *out, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < pattern->count && rc == ERR_OK; i++) {
		const struct pattern_part *part = &pattern->parts[i];

		if (part->kind == PATTERN_CAP)
			return err_set(
				err, ERR_UNSUPPORTED, "nothing says what stands beside the token");
		rc = part->kind == PATTERN_LITERAL ? buf_put(out, part->text, part->len, err)
						   : buf_put_slice(out, token, err);
	}
	return rc;
}

static const struct pattern *signing_pattern(const struct way *way)
{
	for (size_t i = 0; i < way->pattern_count; i++) {
		if (way->patterns[i].coding != CODING_NONE)
			return &way->patterns[i];
	}
	return &way->patterns[0];
}

enum err_code jwt_sign(const struct way *way, struct eval *ev, const struct scheme_draft *draft,
	struct buf *out, struct err *err)
{
	struct pieces p = { BUF_INIT(KIB(4)), BUF_INIT(KIB(8)), BUF_INIT(KIB(16)),
		BUF_INIT(KIB(2)) };
	struct jose_signer with;
	const struct jwt *jwt = way->state;
	enum err_code rc;

	rc = jose_find_signer(&jwt->keys, ev->scheme, draft->now_ms, &with, err);
	if (rc != ERR_OK)
		return rc;
	rc = put_header(&with, &p.header, err);
	if (rc == ERR_OK)
		rc = put_claims(jwt, ev, draft->now_ms, &p.payload, err);
	if (rc == ERR_OK)
		rc = join(&with, draft->bad_signature, &p, err);
	if (rc == ERR_OK)
		rc = put_entry(signing_pattern(way), buf_slice(&p.token), out, err);
	jwk_set_unref(&with.set);
	buf_done(&p.header);
	buf_done(&p.payload);
	buf_done(&p.token);
	buf_done(&p.signature);
	return rc;
}
