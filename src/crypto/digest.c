/* digest.c - digests of several pieces.
 *
 * Deliberately not here: keyed digests (mac.c). OpenSSL's plain SHA functions are used, not its EVP
 * layer: their state lives on the stack, so a digest needs no memory and cannot fail. */
#include "digest_priv.h"

#include <assert.h>

/* These functions fail for no reason but a broken state. */
static void must(int ok)
{
	assert(ok == 1);
}

static int start(enum crypto_digest digest, union digest_state *st)
{
	switch (digest) {
	case CRYPTO_SHA1: return SHA1_Init(&st->sha1);
	case CRYPTO_SHA256: return SHA256_Init(&st->sha256);
	case CRYPTO_SHA384: return SHA384_Init(&st->sha512);
	case CRYPTO_SHA512: return SHA512_Init(&st->sha512);
	}
	return 0;
}

static int add(enum crypto_digest digest, union digest_state *st, struct slice piece)
{
	switch (digest) {
	case CRYPTO_SHA1: return SHA1_Update(&st->sha1, piece.data, piece.len);
	case CRYPTO_SHA256: return SHA256_Update(&st->sha256, piece.data, piece.len);
	case CRYPTO_SHA384: return SHA384_Update(&st->sha512, piece.data, piece.len);
	case CRYPTO_SHA512: return SHA512_Update(&st->sha512, piece.data, piece.len);
	}
	return 0;
}

static int finish(enum crypto_digest digest, union digest_state *st, uint8_t *out)
{
	switch (digest) {
	case CRYPTO_SHA1: return SHA1_Final(out, &st->sha1);
	case CRYPTO_SHA256: return SHA256_Final(out, &st->sha256);
	case CRYPTO_SHA384: return SHA384_Final(out, &st->sha512);
	case CRYPTO_SHA512: return SHA512_Final(out, &st->sha512);
	}
	return 0;
}

size_t crypto_digest_len(enum crypto_digest digest)
{
	static const size_t lens[] = {
		[CRYPTO_SHA1] = SHA_DIGEST_LENGTH,
		[CRYPTO_SHA256] = SHA256_DIGEST_LENGTH,
		[CRYPTO_SHA384] = SHA384_DIGEST_LENGTH,
		[CRYPTO_SHA512] = SHA512_DIGEST_LENGTH,
	};

	assert((size_t)digest < ARRAY_LEN(lens));
	return lens[digest];
}

void digest_start(enum crypto_digest digest, union digest_state *st)
{
	must(start(digest, st));
}

void digest_add(enum crypto_digest digest, union digest_state *st, struct slice piece)
{
	if (piece.len > 0)
		must(add(digest, st, piece));
}

void digest_finish(enum crypto_digest digest, union digest_state *st, uint8_t *out)
{
	must(finish(digest, st, out));
}

void crypto_digest(
	enum crypto_digest digest, const struct slice *pieces, size_t count, uint8_t *out)
{
	union digest_state st;

	digest_start(digest, &st);
	for (size_t i = 0; i < count; i++)
		digest_add(digest, &st, pieces[i]);
	digest_finish(digest, &st, out);
}
