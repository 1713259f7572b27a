/* hash.c - a fast hash, keyed at random for each process.
 *
 * Words of eight bytes are folded by a multiplication of 64 by 64 bits; the length is part of the
 * hash. Deliberately not here: hashes that are stored or sent, and anything that protects a secret.
 */
#include "base_priv.h"
#include "postern/file.h"

#include <pthread.h>

/* Written once under `once`, read-only afterwards. */
static uint64_t key[2];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose_key(void)
{
	random_bytes(key, sizeof(key));
	key[0] |= 1;
	key[1] |= 1;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

struct hashing hash_begin(uint64_t context)
{
	(void)pthread_once(&once, choose_key);
	return (struct hashing){ .hash = mix(key[0] ^ context, key[1]) };
}

void hash_byte(struct hashing *h, uint8_t byte)
{
	h->word |= (uint64_t)byte << 8 * h->filled++;
	h->total++;
	if (h->filled == 8) {
		h->hash = mix(h->hash ^ h->word, key[1]);
		h->word = h->filled = 0;
	}
}

void hash_whole(struct hashing *h, const uint8_t *p, size_t len)
{
	h->total = len;
	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&h->word, p, 8);
		h->hash = mix(h->hash ^ h->word, key[1]);
	}
	h->word = 0;
	memcpy(&h->word, p, len);
}

uint64_t hash_end(const struct hashing *h)
{
	return mix(mix(h->hash ^ h->word, key[1]) ^ h->total, key[0]);
}

uint64_t hash_bytes(const void *data, size_t len)
{
	struct hashing h = hash_begin(0);

	if (len)
		hash_whole(&h, data, len);
	return hash_end(&h);
}
