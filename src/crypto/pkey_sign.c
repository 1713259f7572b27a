/* pkey_sign.c - signatures of public keys, made and checked.
 *
 * One table says for each algorithm which key fits, which digest is taken and how the signature is
 * written. Deliberately not here: which algorithm a message may ask for; whoever knows the sender
 * decides that. */
#include "pkey_priv.h"

#include <assert.h>
#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

struct alg_row {
	enum pkey_type type;
	const char *digest; /* NULL: the algorithm has its own */
	bool is_pss;
	size_t half; /* bytes of each number of a joined ECDSA signature; 0: written otherwise */
};

static const struct alg_row algs[] = {
	[PKEY_RSA_SHA1] = { PKEY_RSA, "SHA1", false, 0 },
	[PKEY_RSA_SHA256] = { PKEY_RSA, "SHA256", false, 0 },
	[PKEY_RSA_SHA384] = { PKEY_RSA, "SHA384", false, 0 },
	[PKEY_RSA_SHA512] = { PKEY_RSA, "SHA512", false, 0 },
	[PKEY_PSS_SHA256] = { PKEY_RSA, "SHA256", true, 0 },
	[PKEY_PSS_SHA384] = { PKEY_RSA, "SHA384", true, 0 },
	[PKEY_PSS_SHA512] = { PKEY_RSA, "SHA512", true, 0 },
	[PKEY_ECDSA_P256] = { PKEY_P256, "SHA256", false, 32 },
	[PKEY_ECDSA_P384] = { PKEY_P384, "SHA384", false, 48 },
	[PKEY_ECDSA_P521] = { PKEY_P521, "SHA512", false, 66 },
	[PKEY_ECDSA_P256_DER] = { PKEY_P256, "SHA256", false, 0 },
	[PKEY_EDDSA] = { PKEY_ED25519, NULL, false, 0 },
};

bool pkey_fits(const struct pkey *pkey, enum pkey_alg alg)
{
	assert((size_t)alg < ARRAY_LEN(algs));
	if (pkey->type == PKEY_RSA_PSS)
		return algs[alg].is_pss;
	return pkey->type == algs[alg].type;
}

static bool set_pss(const struct alg_row *row, EVP_PKEY_CTX *ctx)
{
	return !row->is_pss ||
	       (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
		       EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1);
}

/* Ed25519 takes its text in one piece only; others could take several, but texts are short where
 * public keys are used. NULL without memory. */
static const uint8_t *join(
	const struct slice *pieces, size_t count, size_t *out_len, uint8_t **out_made)
{
	size_t len = 0, at = 0;
	uint8_t *text;

	*out_made = NULL;
	*out_len = count == 1 ? pieces[0].len : 0;
	if (count == 1 && pieces[0].len > 0)
		return pieces[0].data;
	for (size_t i = 0; i < count; i++)
		len += pieces[i].len;
	text = malloc(len ? len : 1);
	for (size_t i = 0; text && i < count; i++) {
		if (pieces[i].len > 0)
			memcpy(text + at, pieces[i].data, pieces[i].len);
		at += pieces[i].len;
	}
	*out_len = len;
	*out_made = text;
	return text;
}

/* ---- ECDSA's two ways of writing ---------------------------------------------------------------
 */

/* Numbers of a fixed length become DER, which is what OpenSSL takes. */
static int to_der(struct slice joined, size_t half, uint8_t **out)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(joined.data, (int)half, NULL);
	BIGNUM *s = BN_bin2bn(joined.data + half, (int)half, NULL);
	int len = -1;

	if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL; /* they belong to sig now */
		len = i2d_ECDSA_SIG(sig, out);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return len;
}

static bool from_der(struct slice der, size_t half, uint8_t *out)
{
	const uint8_t *at = der.data;
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)der.len);
	bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)half) == (int)half &&
		  BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + half, (int)half) == (int)half;

	ECDSA_SIG_free(sig);
	return ok;
}

/* ---- checking ----------------------------------------------------------------------------------
 */

static enum err_code check(
	const struct pkey *pkey, const struct alg_row *row, struct slice text, struct slice sig)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key_ctx = NULL;
	enum err_code rc = ERR_NOMEM;

	if (ctx &&
		EVP_DigestVerifyInit_ex(ctx, &key_ctx, row->digest, NULL, NULL, pkey->evp, NULL) ==
			1 &&
		set_pss(row, key_ctx))
		rc = EVP_DigestVerify(ctx, sig.data, sig.len, text.data, text.len) == 1
			     ? ERR_OK
			     : ERR_BAD_SIGNATURE;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return rc;
}

enum err_code pkey_verify(const struct pkey *pkey, enum pkey_alg alg, const struct slice *pieces,
	size_t count, struct slice signature)
{
	const struct alg_row *row = &algs[alg];
	uint8_t *made = NULL, *der = NULL;
	struct slice text;
	enum err_code rc = ERR_NOMEM;

	if (!pkey_fits(pkey, alg) || signature.len == 0 || signature.len > PKEY_SIGNATURE_MAX ||
		(row->half > 0 && signature.len != 2 * row->half))
		return ERR_BAD_SIGNATURE;
	if (row->half > 0) {
		int len = to_der(signature, row->half, &der);

		if (len <= 0)
			return ERR_NOMEM;
		signature = (struct slice){ der, (size_t)len };
	}
	text.data = join(pieces, count, &text.len, &made);
	if (text.data)
		rc = check(pkey, row, text, signature);
	free(made);
	OPENSSL_free(der);
	return rc;
}

/* ---- making ------------------------------------------------------------------------------------
 */

static bool make(const struct pkey *pkey, const struct alg_row *row, struct slice text,
	uint8_t *out, size_t *len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key_ctx = NULL;
	bool ok = ctx &&
		  EVP_DigestSignInit_ex(ctx, &key_ctx, row->digest, NULL, NULL, pkey->evp, NULL) ==
			  1 &&
		  set_pss(row, key_ctx) && EVP_DigestSign(ctx, out, len, text.data, text.len) == 1;

	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return ok;
}

enum err_code pkey_sign(const struct pkey *pkey, enum pkey_alg alg, const struct slice *pieces,
	size_t count, struct buf *out, struct err *err)
{
	const struct alg_row *row = &algs[alg];
	uint8_t sig[PKEY_SIGNATURE_MAX], joined[2 * 66], *made = NULL;
	size_t len = sizeof(sig);
	struct slice text;
	bool ok;

	if (!pkey->is_private)
		return err_set(err, ERR_UNSUPPORTED, "the key is a public one: it cannot sign");
	if (!pkey_fits(pkey, alg) || alg == PKEY_RSA_SHA1)
		return err_set(err, ERR_UNSUPPORTED, "the key does not sign with this algorithm");
	text.data = join(pieces, count, &text.len, &made);
	ok = text.data && make(pkey, row, text, sig, &len);
	free(made);
	if (ok && row->half > 0) {
		ok = from_der((struct slice){ sig, len }, row->half, joined);
		return ok ? buf_put(out, joined, 2 * row->half, err)
			  : err_set(err, ERR_NOMEM, "no memory to sign");
	}
	return ok ? buf_put(out, sig, len, err) : err_set(err, ERR_NOMEM, "no memory to sign");
}
