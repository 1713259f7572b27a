/* jwk.c - keys as JSON (RFC 7517), alone or in a set, or as PEM.
 *
 * A set is published for many uses and grows new kinds of keys; so what is not known in it is left
 * out, while a lone key that cannot be used is a mistake. A secret is a key of its own kind, never
 * the text of a public one. Deliberately not here: files (key_file.c). */
#include "jose.h"

#include "postern/text.h"

#include <assert.h>
#include <stdlib.h>

enum {
	MEMBER_KTY,
	MEMBER_KID,
	MEMBER_ALG,
	MEMBER_USE,
	MEMBER_OPS,
	MEMBER_CRV,
	MEMBER_N,
	MEMBER_E,
	MEMBER_X,
	MEMBER_Y,
	MEMBER_K,
	MEMBER_D,
	MEMBER_P,
	MEMBER_Q,
	MEMBER_DP,
	MEMBER_DQ,
	MEMBER_QI,
	MEMBERS
};
static const char *const pointers[MEMBERS] = { "/kty", "/kid", "/alg", "/use", "/key_ops", "/crv",
	"/n", "/e", "/x", "/y", "/k", "/d", "/p", "/q", "/dp", "/dq", "/qi" };

struct reader {
	struct json_path *paths[MEMBERS];
	struct json_value v[MEMBERS];
	struct buf bytes; /* decoded numbers and texts of one key; wiped */
	struct err *err;
};

static enum err_code refuse(struct reader *r, const char *why)
{
	return err_set(r->err, ERR_SYNTAX, "%s", why);
}

static bool is_text(const struct reader *r, int member, const char *text)
{
	return r->v[member].type == JSON_STRING && !r->v[member].escaped &&
	       slice_eq_str(r->v[member].raw, text);
}

/* An absent number is empty. The buffer is as large as the text: slices into it stay. */
static enum err_code number(struct reader *r, int member, struct slice *out)
{
	size_t at = r->bytes.len;

	*out = SLICE_EMPTY;
	if (r->v[member].type == JSON_ABSENT)
		return ERR_OK;
	if (r->v[member].type != JSON_STRING || r->v[member].escaped ||
		text_base64url_decode(r->v[member].raw, &r->bytes, NULL) != ERR_OK)
		return refuse(r, "a number that is not base64url");
	*out = (struct slice){ r->bytes.data + at, r->bytes.len - at };
	return ERR_OK;
}

/* ---- the kinds ---------------------------------------------------------------------------------
 */

static enum err_code read_rsa(struct reader *r, struct jwk *out)
{
	static const int members[] = { MEMBER_N, MEMBER_E, MEMBER_D, MEMBER_P, MEMBER_Q, MEMBER_DP,
		MEMBER_DQ, MEMBER_QI };
	struct slice n[ARRAY_LEN(members)];
	struct pkey_rsa numbers;

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		if (number(r, members[i], &n[i]) != ERR_OK)
			return ERR_SYNTAX;
	}
	numbers = (struct pkey_rsa){ n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7] };
	return pkey_from_rsa(&numbers, &out->pkey, r->err);
}

static enum err_code read_ec(struct reader *r, struct jwk *out)
{
	static const struct {
		const char *name;
		enum pkey_type type;
	} curves[] = {
		{ "P-256", PKEY_P256 },
		{ "P-384", PKEY_P384 },
		{ "P-521", PKEY_P521 },
	};
	struct slice x, y, d;

	if (number(r, MEMBER_X, &x) != ERR_OK || number(r, MEMBER_Y, &y) != ERR_OK ||
		number(r, MEMBER_D, &d) != ERR_OK)
		return ERR_SYNTAX;
	for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
		if (is_text(r, MEMBER_CRV, curves[i].name))
			return pkey_from_ec(curves[i].type, x, y, d, &out->pkey, r->err);
	}
	return refuse(r, "crv is P-256, P-384 or P-521");
}

static enum err_code read_okp(struct reader *r, struct jwk *out)
{
	struct slice x, d;

	if (!is_text(r, MEMBER_CRV, "Ed25519"))
		return refuse(r, "crv is Ed25519");
	if (number(r, MEMBER_X, &x) != ERR_OK || number(r, MEMBER_D, &d) != ERR_OK)
		return ERR_SYNTAX;
	return pkey_from_ed25519(x, d, &out->pkey, r->err);
}

static enum crypto_digest digest_of(enum jws_alg alg)
{
	static const enum crypto_digest digests[] = { CRYPTO_SHA256, CRYPTO_SHA384, CRYPTO_SHA512 };

	assert(alg <= JWS_HS512);
	return digests[alg - JWS_HS256];
}

/* A secret shorter than a digest is none for it (RFC 7518, section 3.2). */
static enum err_code read_secret(struct reader *r, struct jwk *out)
{
	enum err_code rc = ERR_OK;
	struct slice k;

	if (number(r, MEMBER_K, &k) != ERR_OK)
		return ERR_SYNTAX;
	if (k.len < crypto_digest_len(CRYPTO_SHA256) || k.len > CRYPTO_SECRET_MAX)
		return refuse(r, "a secret has 32 to 4096 bytes");
	for (enum jws_alg a = JWS_HS256; a <= JWS_HS512 && rc == ERR_OK; a++) {
		struct secret secret = { 0 };

		if (k.len < crypto_digest_len(digest_of(a)))
			continue;
		rc = secret_set(&secret, k, r->err);
		if (rc == ERR_OK)
			rc = crypto_mac_open(
				digest_of(a), &secret, &out->macs[a - JWS_HS256], r->err);
		secret_done(&secret);
	}
	return rc;
}

static const struct {
	const char *kty;
	enum err_code (*read)(struct reader *r, struct jwk *out);
} kinds[] = {
	{ "RSA", read_rsa },
	{ "EC", read_ec },
	{ "OKP", read_okp },
	{ "oct", read_secret },
};

/* ---- one key -----------------------------------------------------------------------------------
 */

static bool has_op(struct json_value ops, const char *name)
{
	struct json_value op;
	size_t at = 0;

	while (json_next(ops, &at, &op)) {
		if (op.type == JSON_STRING && slice_eq_str(op.raw, name))
			return true;
	}
	return false;
}

/* Is it for signatures, as far as it says? */
static bool is_for_signatures(const struct reader *r)
{
	if (r->v[MEMBER_USE].type != JSON_ABSENT && !is_text(r, MEMBER_USE, "sig"))
		return false;
	if (r->v[MEMBER_OPS].type == JSON_ABSENT)
		return true;
	return r->v[MEMBER_OPS].type == JSON_ARRAY &&
	       (has_op(r->v[MEMBER_OPS], "verify") || has_op(r->v[MEMBER_OPS], "sign"));
}

static enum err_code read_labels(struct reader *r, struct jwk *out)
{
	struct buf kid = BUF_INIT(KIB(4));

	if (r->v[MEMBER_ALG].type != JSON_ABSENT) {
		out->has_alg = r->v[MEMBER_ALG].type == JSON_STRING &&
			       jws_alg_find(r->v[MEMBER_ALG].raw, &out->alg);
		if (!out->has_alg)
			return refuse(r, "an alg that is not taken");
	}
	if (r->v[MEMBER_KID].type == JSON_ABSENT)
		return ERR_OK;
	if (r->v[MEMBER_KID].type != JSON_STRING ||
		json_text(r->v[MEMBER_KID], &kid, NULL) != ERR_OK) {
		buf_done(&kid);
		return refuse(r, "a kid that is no text");
	}
	out->kid = slice_dup_str(buf_slice(&kid));
	buf_done(&kid);
	return out->kid ? ERR_OK : err_set(r->err, ERR_NOMEM, "no memory for a key");
}

static void done(struct jwk *key)
{
	pkey_close(&key->pkey);
	for (size_t i = 0; i < ARRAY_LEN(key->macs); i++)
		crypto_mac_close(&key->macs[i]);
	free(key->kid);
	*key = (struct jwk){ .pkey = NULL };
}

static enum err_code read_members(struct reader *r, struct slice object, struct jwk *out)
{
	enum err_code rc;

	if (json_scan(object, r->paths, MEMBERS, r->v, r->err) != ERR_OK)
		return ERR_SYNTAX;
	if (!is_for_signatures(r))
		return refuse(r, "the key is not for signatures");
	rc = read_labels(r, out);
	for (size_t i = 0; i < ARRAY_LEN(kinds) && rc == ERR_OK; i++) {
		if (is_text(r, MEMBER_KTY, kinds[i].kty))
			return kinds[i].read(r, out);
	}
	return rc == ERR_OK ? refuse(r, "kty is RSA, EC, OKP or oct") : rc;
}

/* ERR_SYNTAX leaves no trace in the set. */
static enum err_code read_key(struct reader *r, struct slice object, struct jwk_set *set)
{
	struct jwk *key = &set->keys[set->count];
	enum err_code rc = buf_reserve(&r->bytes, object.len, r->err);

	if (rc == ERR_OK)
		rc = read_members(r, object, key);
	if (rc == ERR_OK)
		set->count++;
	else
		done(key);
	if (r->bytes.data)
		buf_wipe(&r->bytes);
	return rc;
}

/* ---- texts -------------------------------------------------------------------------------------
 */

static enum err_code read_set(struct reader *r, struct json_value keys, struct jwk_set *set)
{
	struct err *err = r->err, first = ERR_INIT;
	enum err_code rc = ERR_OK;
	struct json_value v;
	size_t at = 0;

	while (rc != ERR_NOMEM && json_next(keys, &at, &v)) {
		if (v.type != JSON_OBJECT)
			continue;
		if (set->count == JWK_SET_MAX)
			return err_set(err, ERR_SYNTAX, "a set of more than %d keys", JWK_SET_MAX);
		r->err = &first; /* keeps the first */
		rc = read_key(r, v.raw, set);
	}
	r->err = err;
	if (rc == ERR_NOMEM)
		return err_set(err, ERR_NOMEM, "no memory for keys");
	if (set->count == 0)
		return err_set(err, ERR_SYNTAX, "a JWK Set without a key that can be used%s%s",
			first.text[0] ? ": " : "", first.text);
	return ERR_OK;
}

static enum err_code read_json(struct slice text, struct jwk_set *set, struct err *err)
{
	struct reader r = { .bytes = BUF_INIT(JWK_TEXT_MAX), .err = err };
	struct json_value keys = { .type = JSON_ABSENT };
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < MEMBERS && rc == ERR_OK; i++)
		rc = json_path_open(slice_str(pointers[i]), &r.paths[i], err);
	if (rc == ERR_OK)
		rc = json_get(text, "/keys", &keys, err);
	if (rc == ERR_OK && keys.type == JSON_ARRAY)
		rc = read_set(&r, keys, set);
	else if (rc == ERR_OK)
		rc = read_key(&r, text, set);
	for (size_t i = 0; i < MEMBERS; i++)
		json_path_close(&r.paths[i]);
	buf_done(&r.bytes);
	return rc;
}

static enum err_code read_text(struct slice text, struct jwk_set *set, struct err *err)
{
	struct slice start = text;

	while (start.len > 0 && start.data[0] <= ' ')
		start = slice_sub(start, 1, start.len);
	if (text.len > JWK_TEXT_MAX)
		return err_set(err, ERR_SYNTAX, "keys of more than 256 KiB");
	if (start.len > 0 && start.data[0] == '{')
		return read_json(start, set, err);
	if (slice_search(text, SLICE_LIT("-----BEGIN ")) == text.len)
		return err_set(err, ERR_SYNTAX, "neither a JWK, nor a JWK Set, nor PEM");
	set->count = 1;
	return pkey_from_pem(text, &set->keys[0].pkey, err);
}

enum err_code jwk_set_open(struct slice text, struct jwk_set **out, struct err *err)
{
	struct jwk_set *set = calloc(1, sizeof(*set));
	enum err_code rc;

	if (!set)
		return err_set(err, ERR_NOMEM, "no memory for keys");
	atomic_init(&set->refs, 1);
	rc = read_text(text, set, err);
	if (rc != ERR_OK)
		jwk_set_unref(&set);
	else
		*out = set;
	return rc;
}

struct jwk_set *jwk_set_ref(struct jwk_set *set)
{
	(void)atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
	return set;
}

void jwk_set_unref(struct jwk_set **set)
{
	struct jwk_set *s = *set;

	*set = NULL;
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (size_t i = 0; i < s->count; i++)
		done(&s->keys[i]);
	free(s);
}

/* ---- use ---------------------------------------------------------------------------------------
 */

static const enum pkey_alg pkey_algs[] = {
	[JWS_RS256] = PKEY_RSA_SHA256,
	[JWS_RS384] = PKEY_RSA_SHA384,
	[JWS_RS512] = PKEY_RSA_SHA512,
	[JWS_PS256] = PKEY_PSS_SHA256,
	[JWS_PS384] = PKEY_PSS_SHA384,
	[JWS_PS512] = PKEY_PSS_SHA512,
	[JWS_ES256] = PKEY_ECDSA_P256,
	[JWS_ES384] = PKEY_ECDSA_P384,
	[JWS_ES512] = PKEY_ECDSA_P521,
	[JWS_EDDSA] = PKEY_EDDSA,
};

bool jwk_fits(const struct jwk *key, enum jws_alg alg)
{
	assert(alg < JWS_ALGS);
	if (key->has_alg && key->alg != alg)
		return false;
	if (alg <= JWS_HS512)
		return key->macs[alg - JWS_HS256] != NULL;
	return key->pkey && pkey_fits(key->pkey, pkey_algs[alg]);
}

enum err_code jwk_verify(
	const struct jwk *key, enum jws_alg alg, struct slice input, struct slice signature)
{
	uint8_t mac[CRYPTO_DIGEST_MAX];
	enum err_code rc;

	if (!jwk_fits(key, alg))
		return ERR_BAD_SIGNATURE;
	if (alg > JWS_HS512)
		return pkey_verify(key->pkey, pkey_algs[alg], &input, 1, signature);
	if (signature.len != crypto_digest_len(digest_of(alg)))
		return ERR_BAD_SIGNATURE;
	rc = crypto_mac(key->macs[alg - JWS_HS256], &input, 1, mac, NULL);
	if (rc != ERR_OK)
		return ERR_NOMEM;
	return crypto_equal(mac, signature.data, signature.len) ? ERR_OK : ERR_BAD_SIGNATURE;
}

enum err_code jwk_sign(const struct jwk *key, enum jws_alg alg, struct slice input, struct buf *out,
	struct err *err)
{
	uint8_t mac[CRYPTO_DIGEST_MAX];
	enum err_code rc;

	if (!jwk_fits(key, alg))
		return err_set(
			err, ERR_UNSUPPORTED, "the key is not one for %s", jws_alg_name(alg));
	if (alg > JWS_HS512)
		return pkey_sign(key->pkey, pkey_algs[alg], &input, 1, out, err);
	rc = crypto_mac(key->macs[alg - JWS_HS256], &input, 1, mac, err);
	return rc == ERR_OK ? buf_put(out, mac, crypto_digest_len(digest_of(alg)), err) : rc;
}
