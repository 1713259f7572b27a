/* secret.c - bytes that must not leak: kept, compared and thrown away with care.
 *
 * Deliberately not here: reading keys from files or the environment; whoever has a use for a key
 * knows how it is written down. */
#include "postern/crypto.h"
#include "postern/text.h"

#include <stdlib.h>

#include <openssl/crypto.h>

enum err_code secret_set(struct secret *s, struct slice bytes, struct err *err)
{
	uint8_t *data;

	if (bytes.len > CRYPTO_SECRET_MAX)
		return err_set(err, ERR_LIMIT, "a key of more than %d bytes", CRYPTO_SECRET_MAX);
	data = malloc(bytes.len ? bytes.len : 1);
	if (!data)
		return err_set(err, ERR_NOMEM, "no memory for a key");
	if (bytes.len > 0)
		memcpy(data, bytes.data, bytes.len);
	secret_done(s);
	s->data = data;
	s->len = bytes.len;
	return ERR_OK;
}

void secret_done(struct secret *s)
{
	if (s->data)
		crypto_wipe(s->data, s->len);
	free(s->data);
	*s = (struct secret){ 0 };
}

void crypto_wipe(void *data, size_t len)
{
	OPENSSL_cleanse(data, len);
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

void crypto_fingerprint(const struct secret *s, char out[9])
{
	uint8_t digest[32];

	crypto_sha256((struct slice){ s->data, s->len }, digest);
	text_hex(digest, 4, out);
	crypto_wipe(digest, sizeof(digest));
}

const char *crypto_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION_STRING);
}
