/* mac.c - HMAC with the key schedule done once.
 *
 *   H(key ^ opad, H(key ^ ipad, text))
 *
 * Both digests begin with one whole block that depends on the key alone. A struct crypto_mac keeps
 * the two states behind those blocks and never changes them: each MAC goes on from copies on its
 * own stack, so threads share a key without a lock, nothing is allocated and nothing can fail.
 * Deliberately not here: comparing (secret.c). */
#include "digest_priv.h"

#include <assert.h>
#include <stdlib.h>

#define BLOCK_MAX SHA512_CBLOCK
#define INNER_PAD 0x36
#define OUTER_PAD 0x5c

struct crypto_mac {
	enum crypto_digest digest;
	union digest_state inner, outer;
};

static size_t block_len(enum crypto_digest digest)
{
	static const size_t lens[] = {
		[CRYPTO_SHA1] = SHA_CBLOCK,
		[CRYPTO_SHA256] = SHA256_CBLOCK,
		[CRYPTO_SHA384] = SHA512_CBLOCK,
		[CRYPTO_SHA512] = SHA512_CBLOCK,
	};

	assert((size_t)digest < ARRAY_LEN(lens));
	return lens[digest];
}

static void start_with(
	struct crypto_mac *mac, const uint8_t key[BLOCK_MAX], uint8_t pad, union digest_state *out)
{
	uint8_t block[BLOCK_MAX];
	size_t len = block_len(mac->digest);

	for (size_t i = 0; i < len; i++)
		block[i] = key[i] ^ pad;
	digest_start(mac->digest, out);
	digest_add(mac->digest, out, (struct slice){ block, len });
	crypto_wipe(block, sizeof(block));
}

/* A key that is longer than a block stands for its digest; a shorter one is filled with zeros. */
static void set_key(struct crypto_mac *mac, struct slice key)
{
	uint8_t block[BLOCK_MAX] = { 0 };

	if (key.len > block_len(mac->digest))
		crypto_digest(mac->digest, &key, 1, block);
	else if (key.len > 0)
		memcpy(block, key.data, key.len);
	start_with(mac, block, INNER_PAD, &mac->inner);
	start_with(mac, block, OUTER_PAD, &mac->outer);
	crypto_wipe(block, sizeof(block));
}

enum err_code crypto_mac_open(enum crypto_digest digest, const struct secret *key,
	struct crypto_mac **out, struct err *err)
{
	struct crypto_mac *mac = calloc(1, sizeof(*mac));

	if (!mac)
		return err_set(err, ERR_NOMEM, "no memory for a MAC");
	mac->digest = digest;
	set_key(mac, (struct slice){ key->data, key->len });
	*out = mac;
	return ERR_OK;
}

void crypto_mac_close(struct crypto_mac **mac)
{
	if (!*mac)
		return;
	crypto_wipe(*mac, sizeof(**mac)); /* what was made of the key is as good as the key */
	free(*mac);
	*mac = NULL;
}

/* The door leaves room for an implementation that can fail; this one cannot. */
enum err_code crypto_mac(const struct crypto_mac *mac, const struct slice *pieces, size_t count,
	uint8_t *out, struct err *err)
{
	union digest_state st = mac->inner;
	uint8_t inner[CRYPTO_DIGEST_MAX];

	(void)err;
	for (size_t i = 0; i < count; i++)
		digest_add(mac->digest, &st, pieces[i]);
	digest_finish(mac->digest, &st, inner);
	st = mac->outer;
	digest_add(mac->digest, &st, (struct slice){ inner, crypto_digest_len(mac->digest) });
	digest_finish(mac->digest, &st, out);
	crypto_wipe(&st, sizeof(st));
	return ERR_OK;
}
