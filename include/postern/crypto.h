/* crypto.h - digests, MACs, secrets. The only room that knows OpenSSL.
 *
 * Owns:    struct secret owns its bytes and overwrites them on release; no formatter or log field
 *          takes one. Handles belong to the caller until the matching close.
 * Threads: pure functions anywhere; a struct crypto_mac does not change and may be shared.
 * Errors:  ERR_NOMEM; ERR_LIMIT (a key over CRYPTO_SECRET_MAX). Digests cannot fail.
 * Source:  RFC 2104, FIPS 180-4, FIPS 198-1. */
#pragma once

#include "postern/buf.h"

enum crypto_digest { CRYPTO_SHA1, CRYPTO_SHA256, CRYPTO_SHA384, CRYPTO_SHA512 };
#define CRYPTO_DIGEST_MAX 64
#define CRYPTO_SECRET_MAX 4096
size_t crypto_digest_len(enum crypto_digest digest);

/* Key bytes. Never printed; see crypto_fingerprint(). */
struct secret {
	uint8_t *data;
	size_t len;
};
MUST_CHECK enum err_code secret_set(struct secret *s, struct slice bytes, struct err *err);
void secret_done(struct secret *s); /* wipes, frees, empties */
void crypto_wipe(void *data, size_t len);

/* Constant time in the contents; lengths that differ are unequal at once. */
bool crypto_equal(const void *a, const void *b, size_t len);
/* 8 hex digits of SHA-256(key bytes), for people. */
void crypto_fingerprint(const struct secret *s, char out[9]);

/* A one-shot digest of several pieces, as if joined. */
void crypto_digest(
	enum crypto_digest digest, const struct slice *pieces, size_t count, uint8_t *out);
static inline void crypto_sha256(struct slice data, uint8_t out[32])
{
	crypto_digest(CRYPTO_SHA256, &data, 1, out);
}

/* A keyed HMAC, made once per key; computing one costs no key schedule. */
struct crypto_mac;
MUST_CHECK enum err_code crypto_mac_open(enum crypto_digest digest, const struct secret *key,
	struct crypto_mac **out, struct err *err);
void crypto_mac_close(struct crypto_mac **mac);
/* out holds crypto_digest_len() bytes. */
MUST_CHECK enum err_code crypto_mac(const struct crypto_mac *mac, const struct slice *pieces,
	size_t count, uint8_t *out, struct err *err);
/* OpenSSL's version text, for postern_build_info. */
const char *crypto_version(void);
