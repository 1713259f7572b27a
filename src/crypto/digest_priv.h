/* digest_priv.h - the state of a digest in the making, for digests with a key and without. */
#pragma once

#define OPENSSL_SUPPRESS_DEPRECATED /* marked so in favour of EVP, which allocates and may fail */

#include "postern/crypto.h"

#include <openssl/sha.h>

/* A value: a copy goes its own way. */
union digest_state {
	SHA_CTX sha1;
	SHA256_CTX sha256;
	SHA512_CTX sha512;
};

void digest_start(enum crypto_digest digest, union digest_state *st);
void digest_add(enum crypto_digest digest, union digest_state *st, struct slice piece);
/* out holds crypto_digest_len() bytes. The state must be started again before its next use. */
void digest_finish(enum crypto_digest digest, union digest_state *st, uint8_t *out);
