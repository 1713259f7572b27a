/* prove.c - do the keys of a source make one of the signatures that a request brings?
 *
 * Candidates are decoded first; what has a length that no signature of the algorithm has is left
 * out. A MAC is computed once for each key and compared with every candidate in constant time; of a
 * token both sides are hashed first, so that no comparison tells how long the key is. Deliberately
 * not here: finding the candidates (candidate.c). */
#include "scheme_priv.h"
#include "postern/text.h"

#define RAW_ECDSA 64

struct decoded {
	uint8_t list[SCHEME_SIGNATURES_MAX][DECODED_MAX];
	uint8_t lens[SCHEME_SIGNATURES_MAX];
	size_t count;   /* of those that have a length that can be */
	size_t odd_len; /* of one that has not */
};

/* Bytes that a signature of the algorithm has; 0: more than one length can be. */
static size_t wanted_len(const struct alg *alg)
{
	switch (alg->kind) {
	case ALG_PUBLIC: return alg->pkey == PKEY_EDDSA ? 64 : 0;
	case ALG_TOKEN:
	case ALG_BASIC: return 0;
	case ALG_MAC:
	case ALG_DIGEST:
	case ALG_NONE:
	case ALG_MODULE: break;
	}
	return crypto_digest_len(alg->digest);
}

/* ---- decoding ----------------------------------------------------------------------------------
 */

static void keep(const struct alg *alg, struct slice bytes, struct decoded *out)
{
	size_t want = wanted_len(alg);
	bool is_bearer = alg->kind == ALG_TOKEN || alg->kind == ALG_BASIC;

	if (is_bearer) {
		crypto_sha256(bytes, out->list[out->count]);
		out->lens[out->count++] = 32;
	} else if (want > 0 ? bytes.len == want : bytes.len >= 8 && bytes.len <= DECODED_MAX) {
		memcpy(out->list[out->count], bytes.data, bytes.len);
		out->lens[out->count++] = (uint8_t)bytes.len;
	} else {
		out->odd_len = bytes.len;
	}
}

/* Decoding uses the end of the scratch buffer. */
static void decode_one(struct judge *j, struct slice text, enum coding coding, struct decoded *out)
{
	struct buf *scratch = j->ev.scratch;
	size_t kept = scratch->len;
	enum err_code rc;

	if (coding == CODING_TOKEN) {
		keep(j->way->alg, text, out);
		return;
	}
	if (text.len > eval_room(&j->ev))
		return;
	rc = coding == CODING_HEX ? text_hex_decode(text, scratch, NULL)
				  : text_base64_decode(text, scratch, NULL);
	if (rc == ERR_OK)
		keep(j->way->alg, (struct slice){ scratch->data + kept, scratch->len - kept }, out);
	scratch->len = kept;
}

static void decode(struct judge *j, struct decoded *out)
{
	/* The list is more than a KiB: it is not cleared, count says how much of it is filled. */
	out->count = 0;
	out->odd_len = 0;
	for (size_t i = 0; i < j->found.count; i++)
		decode_one(j, j->found.list[i].text, j->found.list[i].coding, out);
}

/* ---- one key -----------------------------------------------------------------------------------
 */

/* The signed text in pieces, as one alternative has it. */
struct signed_text {
	const struct template *template;
	struct slice pieces[PARTS_MAX];
};

static enum err_code compare(const uint8_t *want, size_t len, const struct decoded *decoded)
{
	for (size_t i = 0; i < decoded->count; i++) {
		if (crypto_equal(want, decoded->list[i], len))
			return ERR_OK;
	}
	return ERR_BAD_SIGNATURE;
}

static enum err_code try_digest(const struct alg *alg, const struct keyed *key,
	const struct signed_text *text, const struct decoded *decoded)
{
	struct slice pieces[PARTS_MAX];
	uint8_t digest[CRYPTO_DIGEST_MAX];

	for (size_t i = 0; i < text->template->count; i++) {
		pieces[i] = text->pieces[i];
		if (text->template->parts[i].kind == REF_KEY)
			pieces[i] = (struct slice){ key->secret.data, key->secret.len };
	}
	crypto_digest(alg->digest, pieces, text->template->count, digest);
	return compare(digest, crypto_digest_len(alg->digest), decoded);
}

static enum err_code try_mac(const struct alg *alg, const struct keyed *key,
	const struct signed_text *text, const struct decoded *decoded)
{
	uint8_t mac[CRYPTO_DIGEST_MAX];

	if (crypto_mac(key->mac, text->pieces, text->template->count, mac, NULL) != ERR_OK)
		return ERR_NOMEM;
	return compare(mac, crypto_digest_len(alg->digest), decoded);
}

/* ECDSA is written as DER or as two joined numbers. The length tells which: DER of 64 bytes says so
 * in its second byte. */
static enum pkey_alg written_as(const struct alg *alg, const uint8_t *sig, size_t len)
{
	bool is_der = len >= 2 && sig[0] == 0x30 && sig[1] == len - 2;

	return len == RAW_ECDSA && !is_der ? alg->pkey_raw : alg->pkey;
}

static enum err_code try_public(const struct alg *alg, const struct keyed *key,
	const struct signed_text *text, const struct decoded *decoded)
{
	for (size_t i = 0; i < decoded->count; i++) {
		struct slice sig = { decoded->list[i], decoded->lens[i] };
		enum err_code rc = pkey_verify(key->pkey, written_as(alg, sig.data, sig.len),
			text->pieces, text->template->count, sig);

		if (rc != ERR_BAD_SIGNATURE)
			return rc;
	}
	return ERR_BAD_SIGNATURE;
}

static enum err_code try_key(const struct alg *alg, const struct keyed *key,
	const struct signed_text *text, const struct decoded *decoded)
{
	switch (alg->kind) {
	case ALG_MAC: return try_mac(alg, key, text, decoded);
	case ALG_DIGEST: return try_digest(alg, key, text, decoded);
	case ALG_PUBLIC: return try_public(alg, key, text, decoded);
	case ALG_TOKEN:
	case ALG_BASIC: return compare(key->digest, sizeof(key->digest), decoded);
	case ALG_NONE:
	case ALG_MODULE: break;
	}
	return ERR_BAD_SIGNATURE;
}

/* The first of the keys that are valid now which fits one of the candidates. */
static enum err_code try_keys(struct judge *j, const struct signed_text *text,
	const struct decoded *decoded, size_t *tried)
{
	const struct scheme *s = j->ev.scheme;

	for (size_t k = 0; k < s->key_count; k++) {
		enum err_code rc;

		if (!j->way->keyed[k].is_ready || !key_valid(&s->keys[k], j->now_ms))
			continue;
		++*tried;
		rc = try_key(j->way->alg, &j->way->keyed[k], text, decoded);
		if (rc == ERR_OK && j->way->alg->kind == ALG_MAC &&
			answer_is_forgeable(s, text->pieces, text->template->count))
			rc = ERR_BAD_SIGNATURE;
		if (rc == ERR_OK)
			j->out->key = (int)k;
		if (rc == ERR_NOMEM)
			return judge_refuse(j, ERR_UNAVAILABLE, "no memory to verify");
		if (rc == ERR_OK)
			return ERR_OK;
	}
	return ERR_BAD_SIGNATURE;
}

/* ---- all of them -------------------------------------------------------------------------------
 */

static enum err_code refuse_signature(struct judge *j, const struct decoded *decoded, size_t tried)
{
	size_t want = wanted_len(j->way->alg);

	if (decoded->count == 0 && decoded->odd_len > 0 && want > 0)
		return judge_refuse(j, ERR_BAD_SIGNATURE,
			"a signature of %zu bytes in place of %zu", decoded->odd_len, want);
	if (decoded->count == 0 && decoded->odd_len > 0)
		return judge_refuse(
			j, ERR_BAD_SIGNATURE, "a signature of %zu bytes", decoded->odd_len);
	if (decoded->count == 0)
		return judge_refuse(j, ERR_BAD_SIGNATURE, "the signature cannot be decoded");
	if (tried == 0)
		return judge_refuse(j, ERR_BAD_SIGNATURE, "no key is valid at this time");
	return judge_refuse(j, ERR_BAD_SIGNATURE, "%zu signature%s, %zu key%s tried, none fits",
		decoded->count, decoded->count == 1 ? "" : "s", tried, tried == 1 ? "" : "s");
}

/* A bearer's value stands for itself: nothing is signed. */
static enum err_code prove_bearer(struct judge *j, const struct decoded *decoded)
{
	static const struct template empty = { .count = 0 };
	static const struct signed_text nothing = { .template = &empty };
	size_t tried = 0;
	enum err_code rc = try_keys(j, &nothing, decoded, &tried);

	return rc == ERR_BAD_SIGNATURE ? refuse_signature(j, decoded, tried) : rc;
}

enum err_code judge_prove(struct judge *j)
{
	const struct way *w = j->way;
	struct decoded decoded;
	struct signed_text text;
	const struct part *bad = NULL;
	enum found bad_found = FOUND;
	size_t tried = 0;

	decode(j, &decoded);
	if (w->sign_count == 0)
		return prove_bearer(j, &decoded);
	for (size_t i = 0; i < w->sign_count && decoded.count > 0; i++) {
		enum found found = eval_signed(&j->ev, &w->signs[i], text.pieces, &bad);
		enum err_code rc;

		if (found != FOUND) {
			bad_found = found;
			continue;
		}
		text.template = &w->signs[i];
		rc = try_keys(j, &text, &decoded, &tried);
		j->ev.notes->sign = i;
		if (rc != ERR_BAD_SIGNATURE)
			return rc;
	}
	if (bad_found != FOUND && bad && tried == 0)
		return judge_refuse_part(j, ERR_BAD_SIGNATURE, bad, bad_found);
	return refuse_signature(j, &decoded, tried);
}
