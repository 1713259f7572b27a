/* alg.c - the algorithms that verify.alg may name.
 *
 * Deliberately not here: what they do (verify.c, and the modules' own files). */
#include "scheme_priv.h"

static const struct alg algs[] = {
	{ "hmac-sha256", ALG_MAC, CRYPTO_SHA256, NULL },
	{ "hmac-sha1", ALG_MAC, CRYPTO_SHA1, NULL },
	{ "hmac-sha384", ALG_MAC, CRYPTO_SHA384, NULL },
	{ "hmac-sha512", ALG_MAC, CRYPTO_SHA512, NULL },
	{ "none", ALG_NONE, CRYPTO_SHA256, NULL },
	{ "sha256", ALG_LATER, CRYPTO_SHA256, NULL },
	{ "ed25519", ALG_LATER, CRYPTO_SHA256, NULL },
	{ "ecdsa-p256-sha256", ALG_LATER, CRYPTO_SHA256, NULL },
	{ "token", ALG_LATER, CRYPTO_SHA256, NULL },
	{ "basic", ALG_LATER, CRYPTO_SHA256, NULL },
	{ "jwt", ALG_MODULE, CRYPTO_SHA256, &jwt_module },
	{ "x509-rsa", ALG_LATER, CRYPTO_SHA256, NULL },
};

const struct alg *alg_find(struct slice name, const char **out_hint)
{
	const char *names[ARRAY_LEN(algs) + 1] = { NULL };

	for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
		names[i] = algs[i].name;
		if (slice_eq_str(name, algs[i].name))
			return &algs[i];
	}
	*out_hint = compile_nearest(name, names);
	return NULL;
}
