/* hash.c - a fast hash, keyed at random for each process.
 *
 * Words of eight bytes are folded by a multiplication of 64 by 64 bits; the length is part of the
 * hash. The folding itself is inline (base_priv.h). Deliberately not here: hashes that are stored
 * or sent, and anything that protects a secret. */
#include "base_priv.h"
#include "postern/file.h"

#include <pthread.h>

/* Written once under `once`, read-only afterwards. */
uint64_t hash_key[2];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void)
{
	random_bytes(hash_key, sizeof(hash_key));
	/* Odd and far from zero, so that no multiplication loses everything. */
	hash_key[1] |= 1ull << 63 | 1;
}

void hash_choose_key(void)
{
	(void)pthread_once(&once, choose);
}

uint64_t hash_bytes(const void *data, size_t len)
{
	struct hashing h;

	hash_choose_key();
	h = hash_begin(0);
	hash_whole(&h, data, len);
	return hash_end(&h);
}
