/* mac.c - HMAC with the key schedule done once.
 *
 * A struct crypto_mac keeps one keyed OpenSSL context. Starting it again without a key goes back to
 * the state behind the key schedule, so a MAC costs little more than the digest of its text. The
 * context is never finished as a template for copies: a copy costs a third of the MAC of 1 KiB,
 * the lock next to nothing. Deliberately not here: comparing (secret.c). */
#include "postern/crypto.h"
#include "postern/thread.h"

#include <assert.h>
#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

struct crypto_mac {
	struct lock lock;
	EVP_MAC_CTX *ctx; /* guarded by lock */
	size_t len;
};

/* OpenSSL's parameters are not const; each call gets its own. */
static bool set_key(EVP_MAC_CTX *ctx, enum crypto_digest digest, const struct secret *key)
{
	char sha1[] = "SHA1", sha256[] = "SHA256", sha384[] = "SHA384", sha512[] = "SHA512";
	char *const names[] = {
		[CRYPTO_SHA1] = sha1,
		[CRYPTO_SHA256] = sha256,
		[CRYPTO_SHA384] = sha384,
		[CRYPTO_SHA512] = sha512,
	};
	/* A key without bytes must not be a NULL pointer: that means "keep the key". */
	const uint8_t none = 0;
	OSSL_PARAM params[2];

	assert((size_t)digest < ARRAY_LEN(names));
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, names[digest], 0);
	params[1] = OSSL_PARAM_construct_end();
	return EVP_MAC_init(ctx, key->len ? key->data : &none, key->len, params) == 1;
}

enum err_code crypto_mac_open(enum crypto_digest digest, const struct secret *key,
	struct crypto_mac **out, struct err *err)
{
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	struct crypto_mac *mac = calloc(1, sizeof(*mac));

	if (mac && hmac)
		mac->ctx = EVP_MAC_CTX_new(hmac);
	EVP_MAC_free(hmac); /* the context holds its own reference */
	if (!mac || !mac->ctx || !set_key(mac->ctx, digest, key)) {
		if (mac)
			EVP_MAC_CTX_free(mac->ctx);
		free(mac);
		return err_set(err, ERR_NOMEM, "no memory for a MAC");
	}
	lock_init(&mac->lock);
	mac->len = crypto_digest_len(digest);
	*out = mac;
	return ERR_OK;
}

void crypto_mac_close(struct crypto_mac **mac)
{
	if (!*mac)
		return;
	lock_done(&(*mac)->lock);
	EVP_MAC_CTX_free((*mac)->ctx); /* wipes the key and what was made of it */
	free(*mac);
	*mac = NULL;
}

static bool compute(struct crypto_mac *mac, const struct slice *pieces, size_t count, uint8_t *out)
{
	size_t len = 0;

	lock_assert_held(&mac->lock);
	if (EVP_MAC_init(mac->ctx, NULL, 0, NULL) != 1)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (pieces[i].len > 0 &&
			EVP_MAC_update(mac->ctx, pieces[i].data, pieces[i].len) != 1)
			return false;
	}
	return EVP_MAC_final(mac->ctx, out, &len, mac->len) == 1 && len == mac->len;
}

enum err_code crypto_mac(struct crypto_mac *mac, const struct slice *pieces, size_t count,
	uint8_t *out, struct err *err)
{
	bool ok;

	lock_take(&mac->lock);
	ok = compute(mac, pieces, count, out);
	lock_give(&mac->lock);
	return ok ? ERR_OK : err_set(err, ERR_NOMEM, "no memory to compute a MAC");
}
