/* pkey.c - keys become usable: read from PEM, DER or numbers, then checked by one function.
 *
 * OpenSSL keeps a queue of what went wrong in each thread; it is emptied here after every failure,
 * as nobody else reads it. Deliberately not here: signatures (pkey_sign.c), JSON. */
#include "pkey_priv.h"

#include "postern/text.h"

#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static enum err_code no_memory(struct err *err)
{
	ERR_clear_error();
	return err_set(err, ERR_NOMEM, "no memory for a key");
}

static enum err_code no_key(struct err *err, const char *why)
{
	ERR_clear_error();
	return err_set(err, ERR_SYNTAX, "%s", why);
}

/* ---- what is taken -----------------------------------------------------------------------------
 */

static const struct curve {
	const char *name;
	enum pkey_type type;
	size_t len; /* bytes of a number of its field */
} curves[] = {
	{ "prime256v1", PKEY_P256, 32 },
	{ "secp384r1", PKEY_P384, 48 },
	{ "secp521r1", PKEY_P521, 66 },
};

static bool find_type(EVP_PKEY *evp, enum pkey_type *out)
{
	char group[32] = "";

	switch (EVP_PKEY_get_base_id(evp)) {
	case EVP_PKEY_RSA: *out = PKEY_RSA; return true;
	case EVP_PKEY_RSA_PSS: *out = PKEY_RSA_PSS; return true;
	case EVP_PKEY_ED25519: *out = PKEY_ED25519; return true;
	case EVP_PKEY_EC: break;
	default: return false;
	}
	if (EVP_PKEY_get_group_name(evp, group, sizeof(group), NULL) != 1)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
		*out = curves[i].type;
		if (strcmp(group, curves[i].name) == 0)
			return true;
	}
	return false;
}

/* An exponent of 1 would make every text its own signature. */
static bool has_sane_exponent(EVP_PKEY *evp)
{
	BIGNUM *e = NULL;
	bool ok = EVP_PKEY_get_bn_param(evp, OSSL_PKEY_PARAM_RSA_E, &e) == 1 && BN_is_odd(e) &&
		  !BN_is_one(e) && BN_num_bits(e) <= 64;

	BN_free(e);
	return ok;
}

static const char *why_refused(EVP_PKEY *evp, enum pkey_type type)
{
	int bits = EVP_PKEY_get_bits(evp);

	if (type == PKEY_ED25519)
		return NULL;
	if (type != PKEY_RSA && type != PKEY_RSA_PSS) {
		EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(evp, NULL);
		bool ok = ctx && EVP_PKEY_public_check(ctx) == 1;

		EVP_PKEY_CTX_free(ctx);
		return ok ? NULL : "not a point of its curve";
	}
	if (bits < PKEY_RSA_BITS_MIN || bits > PKEY_RSA_BITS_MAX)
		return "an RSA key has 2048 to 8192 bits";
	return has_sane_exponent(evp) ? NULL : "an RSA key with an exponent that cannot be";
}

static bool set_fingerprint(struct pkey *pkey)
{
	uint8_t *der = NULL, digest[32];
	int len = i2d_PUBKEY(pkey->evp, &der);

	if (len <= 0)
		return false;
	crypto_sha256((struct slice){ der, (size_t)len }, digest);
	text_hex(digest, 4, pkey->fingerprint);
	OPENSSL_free(der);
	return true;
}

enum err_code pkey_adopt(EVP_PKEY *evp, bool is_private, struct pkey **out, struct err *err)
{
	struct pkey *pkey = calloc(1, sizeof(*pkey));
	const char *why = NULL;

	if (!pkey) {
		EVP_PKEY_free(evp);
		return no_memory(err);
	}
	pkey->evp = evp;
	pkey->is_private = is_private;
	if (!find_type(evp, &pkey->type))
		why = "a key of a kind that is not taken (RSA, P-256, P-384, P-521, Ed25519)";
	else
		why = why_refused(evp, pkey->type);
	if (!why && !set_fingerprint(pkey))
		why = "a key that cannot be written down";
	if (why) {
		pkey_close(&pkey);
		return no_key(err, why);
	}
	*out = pkey;
	return ERR_OK;
}

void pkey_close(struct pkey **pkey)
{
	if (!*pkey)
		return;
	EVP_PKEY_free((*pkey)->evp);
	free(*pkey);
	*pkey = NULL;
}

enum pkey_type pkey_type(const struct pkey *pkey)
{
	return pkey->type;
}

bool pkey_is_private(const struct pkey *pkey)
{
	return pkey->is_private;
}

const char *pkey_fingerprint(const struct pkey *pkey)
{
	return pkey->fingerprint;
}

/* ---- PEM and DER -------------------------------------------------------------------------------
 */

static EVP_PKEY *read_public(const uint8_t **at, long len)
{
	return d2i_PUBKEY(NULL, at, len);
}

static EVP_PKEY *read_rsa(const uint8_t **at, long len)
{
	return d2i_PublicKey(EVP_PKEY_RSA, NULL, at, len);
}

static EVP_PKEY *read_private(const uint8_t **at, long len)
{
	return d2i_AutoPrivateKey(NULL, at, len);
}

static EVP_PKEY *read_certificate(const uint8_t **at, long len)
{
	X509 *cert = d2i_X509(NULL, at, len);
	EVP_PKEY *evp = cert ? X509_get_pubkey(cert) : NULL;

	X509_free(cert);
	return evp;
}

static const struct block_row {
	const char *name;
	EVP_PKEY *(*read)(const uint8_t **at, long len);
	bool is_private;
} blocks[] = {
	{ "PUBLIC KEY", read_public, false },
	{ "RSA PUBLIC KEY", read_rsa, false },
	{ "CERTIFICATE", read_certificate, false },
	{ "PRIVATE KEY", read_private, true },
	{ "RSA PRIVATE KEY", read_private, true },
	{ "EC PRIVATE KEY", read_private, true },
};

static enum err_code read_der(
	const struct block_row *row, struct slice der, struct pkey **out, struct err *err)
{
	const uint8_t *at = der.data;
	EVP_PKEY *evp = der.len <= KIB(64) ? row->read(&at, (long)der.len) : NULL;

	if (!evp)
		return no_key(err, "a key that cannot be read");
	if (at != der.data + der.len) {
		EVP_PKEY_free(evp);
		return no_key(err, "bytes behind the key");
	}
	return pkey_adopt(evp, row->is_private, out, err);
}

/* What a PEM block holds; ERR_NOT_FOUND for one that is no key, as EC PARAMETERS. header: the
 * lines that say how it is encrypted. */
static enum err_code read_block(
	const char *name, const char *header, struct slice der, struct pkey **out, struct err *err)
{
	if (*header || strcmp(name, "ENCRYPTED PRIVATE KEY") == 0)
		return no_key(err, "a private key with a passphrase");
	for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
		if (strcmp(name, blocks[i].name) == 0)
			return read_der(&blocks[i], der, out, err);
	}
	return ERR_NOT_FOUND;
}

enum err_code pkey_from_pem(struct slice text, struct pkey **out, struct err *err)
{
	BIO *bio = text.len <= KIB(256) ? BIO_new_mem_buf(text.data, (int)text.len) : NULL;
	enum err_code rc = ERR_NOT_FOUND;

	if (!bio)
		return no_memory(err);
	while (rc == ERR_NOT_FOUND) {
		char *name = NULL, *header = NULL;
		uint8_t *der = NULL;
		long len = 0;

		if (PEM_read_bio(bio, &name, &header, &der, &len) != 1)
			break;
		rc = read_block(name, header, (struct slice){ der, (size_t)len }, out, err);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(der, (size_t)len);
	}
	BIO_free(bio);
	return rc == ERR_NOT_FOUND ? no_key(err, "no key in PEM") : rc;
}

enum err_code pkey_from_spki(struct slice der, struct pkey **out, struct err *err)
{
	return read_der(&blocks[0], der, out, err);
}

/* ---- numbers -----------------------------------------------------------------------------------
 */

static enum err_code from_params(const char *type, OSSL_PARAM_BLD *build, bool is_private,
	struct pkey **out, struct err *err)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY *evp = NULL;
	bool ok = ctx && params && EVP_PKEY_fromdata_init(ctx) == 1 &&
		  EVP_PKEY_fromdata(ctx, &evp, is_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY,
			  params) == 1;

	OSSL_PARAM_free(params);
	EVP_PKEY_CTX_free(ctx);
	return ok ? pkey_adopt(evp, is_private, out, err) : no_key(err, "numbers that are no key");
}

struct number {
	const char *param;
	struct slice value;
	BIGNUM *bn;
};

static bool push_numbers(OSSL_PARAM_BLD *build, struct number *list, size_t count)
{
	bool ok = true;

	for (size_t i = 0; i < count && ok; i++) {
		list[i].bn = BN_secure_new();
		ok = list[i].bn && list[i].value.len <= PKEY_SIGNATURE_MAX &&
		     BN_bin2bn(list[i].value.data, (int)list[i].value.len, list[i].bn) &&
		     OSSL_PARAM_BLD_push_BN(build, list[i].param, list[i].bn) == 1;
	}
	return ok;
}

static void free_numbers(struct number *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		BN_clear_free(list[i].bn);
}

enum err_code pkey_from_rsa(const struct pkey_rsa *numbers, struct pkey **out, struct err *err)
{
	struct number list[] = {
		{ OSSL_PKEY_PARAM_RSA_N, numbers->n, NULL },
		{ OSSL_PKEY_PARAM_RSA_E, numbers->e, NULL },
		{ OSSL_PKEY_PARAM_RSA_D, numbers->d, NULL },
		{ OSSL_PKEY_PARAM_RSA_FACTOR1, numbers->p, NULL },
		{ OSSL_PKEY_PARAM_RSA_FACTOR2, numbers->q, NULL },
		{ OSSL_PKEY_PARAM_RSA_EXPONENT1, numbers->dp, NULL },
		{ OSSL_PKEY_PARAM_RSA_EXPONENT2, numbers->dq, NULL },
		{ OSSL_PKEY_PARAM_RSA_COEFFICIENT1, numbers->qi, NULL },
	};
	bool is_private = numbers->d.len > 0;
	size_t count = is_private ? ARRAY_LEN(list) : 2;
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	enum err_code rc;

	for (size_t i = 0; i < count; i++) {
		if (list[i].value.len > 0)
			continue;
		OSSL_PARAM_BLD_free(build);
		return no_key(err, "an RSA key lacks a number");
	}
	if (build && push_numbers(build, list, count))
		rc = from_params("RSA", build, is_private, out, err);
	else
		rc = no_key(err, "numbers that are no RSA key");
	free_numbers(list, count);
	OSSL_PARAM_BLD_free(build);
	return rc;
}

static const struct curve *curve_of(enum pkey_type type)
{
	for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
		if (curves[i].type == type)
			return &curves[i];
	}
	return NULL;
}

enum err_code pkey_from_ec(enum pkey_type type, struct slice x, struct slice y, struct slice d,
	struct pkey **out, struct err *err)
{
	const struct curve *curve = curve_of(type);
	struct number secret = { OSSL_PKEY_PARAM_PRIV_KEY, d, NULL };
	uint8_t point[1 + 2 * 66];
	OSSL_PARAM_BLD *build;
	enum err_code rc;
	bool ok;

	if (!curve || x.len != curve->len || y.len != curve->len ||
		(d.len > 0 && d.len != curve->len))
		return no_key(err, "numbers of another length than their curve has");
	point[0] = 4; /* uncompressed */
	memcpy(point + 1, x.data, x.len);
	memcpy(point + 1 + x.len, y.data, y.len);
	build = OSSL_PARAM_BLD_new();
	ok = build &&
	     OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, curve->name, 0) ==
		     1 &&
	     OSSL_PARAM_BLD_push_octet_string(
		     build, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * curve->len) == 1 &&
	     (d.len == 0 || push_numbers(build, &secret, 1));
	rc = ok ? from_params("EC", build, d.len > 0, out, err) : no_memory(err);
	free_numbers(&secret, 1);
	OSSL_PARAM_BLD_free(build);
	return rc;
}

/* A private key knows its public half; one that says another is a mistake. */
static bool has_public(EVP_PKEY *evp, struct slice x)
{
	uint8_t own[32];
	size_t len = sizeof(own);

	return x.len == 0 || (EVP_PKEY_get_raw_public_key(evp, own, &len) == 1 &&
				     slice_eq((struct slice){ own, len }, x));
}

enum err_code pkey_from_ed25519(struct slice x, struct slice d, struct pkey **out, struct err *err)
{
	bool is_private = d.len > 0;
	struct slice bytes = is_private ? d : x;
	EVP_PKEY *evp;

	if (bytes.len != 32 || (x.len != 0 && x.len != 32))
		return no_key(err, "an Ed25519 key has 32 bytes");
	evp = is_private ? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, d.data, d.len)
			 : EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x.data, x.len);
	if (!evp)
		return no_memory(err);
	if (is_private && !has_public(evp, x)) {
		EVP_PKEY_free(evp);
		return no_key(err, "the public and the private half are of two keys");
	}
	return pkey_adopt(evp, is_private, out, err);
}
