/* pkey_make.c - fresh keys, and public halves written down.
 *
 * Deliberately not here: writing private keys; nothing that this program makes has to be kept. */
#include "pkey_priv.h"

#include <openssl/err.h>
#include <openssl/x509.h>

#define RSA_BITS 2048

static EVP_PKEY *make(enum pkey_type type)
{
	static const char *const curves[] = {
		[PKEY_P256] = "P-256", [PKEY_P384] = "P-384", [PKEY_P521] = "P-521"
	};

	switch (type) {
	case PKEY_RSA: return EVP_RSA_gen(RSA_BITS);
	case PKEY_ED25519: return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	case PKEY_P256:
	case PKEY_P384:
	case PKEY_P521: return EVP_EC_gen(curves[type]);
	case PKEY_RSA_PSS: break;
	}
	return NULL;
}

enum err_code pkey_make(enum pkey_type type, struct pkey **out, struct err *err)
{
	EVP_PKEY *evp = make(type);

	if (!evp) {
		ERR_clear_error();
		return err_set(err, ERR_UNSUPPORTED, "no such key can be made");
	}
	return pkey_adopt(evp, true, out, err);
}

enum err_code pkey_put_spki(const struct pkey *pkey, struct buf *out, struct err *err)
{
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(pkey->evp, &der);
	enum err_code rc;

	if (len <= 0) {
		ERR_clear_error();
		return err_set(err, ERR_NOMEM, "no memory for a key");
	}
	rc = buf_put(out, der, (size_t)len, err);
	OPENSSL_free(der);
	return rc;
}
