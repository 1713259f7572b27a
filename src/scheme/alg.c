/* alg.c - the algorithms that verify.alg may name.
 *
 * Deliberately not here: what they do (verify.c, and the modules' own files). */
#include "scheme_priv.h"

static const struct alg algs[] = {
	{ .name = "hmac-sha256", .kind = ALG_MAC, .digest = CRYPTO_SHA256 },
	{ .name = "hmac-sha1", .kind = ALG_MAC, .digest = CRYPTO_SHA1 },
	{ .name = "hmac-sha384", .kind = ALG_MAC, .digest = CRYPTO_SHA384 },
	{ .name = "hmac-sha512", .kind = ALG_MAC, .digest = CRYPTO_SHA512 },
	{ .name = "sha256", .kind = ALG_DIGEST, .digest = CRYPTO_SHA256 },
	{ .name = "ed25519", .kind = ALG_PUBLIC, .pkey = PKEY_EDDSA, .pkey_raw = PKEY_EDDSA },
	{ .name = "ecdsa-p256-sha256",
		.kind = ALG_PUBLIC,
		.pkey = PKEY_ECDSA_P256_DER,
		.pkey_raw = PKEY_ECDSA_P256 },
	{ .name = "token", .kind = ALG_TOKEN, .digest = CRYPTO_SHA256 },
	{ .name = "basic", .kind = ALG_BASIC, .digest = CRYPTO_SHA256 },
	{ .name = "none", .kind = ALG_NONE },
	{ .name = "jwt", .kind = ALG_MODULE, .module = &jwt_module },
	{ .name = "x509-rsa", .kind = ALG_MODULE, .module = &x509_module },
	{ .name = "httpsig", .kind = ALG_MODULE, .module = &httpsig_module },
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
