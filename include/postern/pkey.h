/* pkey.h - public and private keys, and signatures made with them.
 *
 * A key is read once, checked, and never changes afterwards. Which signatures a key can make or
 * check follows from its type alone: an algorithm that does not fit is refused, whatever a message
 * says of itself.
 *
 * Owns:    a struct pkey is the caller's until pkey_close(), which wipes what is private.
 * Threads: an open key may be shared.
 * Errors:  ERR_SYNTAX: what was given is no key of a kind that is taken; ERR_NOMEM. Texts never
 *          repeat a byte of a key.
 * Source:  RFC 8017, RFC 5480, RFC 8032, RFC 7518, RFC 9421. */
#pragma once

#include "postern/crypto.h"

#define PKEY_RSA_BITS_MIN 2048
#define PKEY_RSA_BITS_MAX 8192
#define PKEY_SIGNATURE_MAX (PKEY_RSA_BITS_MAX / 8)

/* PKEY_RSA_PSS: an RSA key whose certificate or PEM restricts it to PSS. */
enum pkey_type { PKEY_RSA, PKEY_RSA_PSS, PKEY_P256, PKEY_P384, PKEY_P521, PKEY_ED25519 };

enum pkey_alg {
	PKEY_RSA_SHA1, /* PKCS #1 v1.5; SHA-1 is checked only, never made */
	PKEY_RSA_SHA256,
	PKEY_RSA_SHA384,
	PKEY_RSA_SHA512,
	PKEY_PSS_SHA256, /* salt as long as the digest */
	PKEY_PSS_SHA384,
	PKEY_PSS_SHA512,
	PKEY_ECDSA_P256, /* SHA-256, SHA-384, SHA-512; both numbers joined at their full length */
	PKEY_ECDSA_P384,
	PKEY_ECDSA_P521,
	PKEY_ECDSA_P256_DER, /* SHA-256; the numbers in DER */
	PKEY_EDDSA,          /* Ed25519 */
};

struct pkey;
/* The first key of a PEM text: PUBLIC KEY, RSA PUBLIC KEY, CERTIFICATE, or a private key without a
 * passphrase. */
MUST_CHECK enum err_code pkey_from_pem(struct slice text, struct pkey **out, struct err *err);
/* SubjectPublicKeyInfo in DER. */
MUST_CHECK enum err_code pkey_from_spki(struct slice der, struct pkey **out, struct err *err);
/* Big-endian numbers, as a JWK has them. An empty d makes a public key; a private key needs all. */
struct pkey_rsa {
	struct slice n, e, d, p, q, dp, dq, qi;
};
MUST_CHECK enum err_code pkey_from_rsa(
	const struct pkey_rsa *numbers, struct pkey **out, struct err *err);
/* x and y at the full length of the curve's field; an empty d makes a public key. */
MUST_CHECK enum err_code pkey_from_ec(enum pkey_type curve, struct slice x, struct slice y,
	struct slice d, struct pkey **out, struct err *err);
/* 32 bytes; d as well, or empty: then it is a public key. With d alone x is computed. */
MUST_CHECK enum err_code pkey_from_ed25519(
	struct slice x, struct slice d, struct pkey **out, struct err *err);
/* A fresh private key: RSA of 2048 bits, a curve, Ed25519. ERR_UNSUPPORTED for PKEY_RSA_PSS. */
MUST_CHECK enum err_code pkey_make(enum pkey_type type, struct pkey **out, struct err *err);
void pkey_close(struct pkey **pkey);
/* Appends the public half as SubjectPublicKeyInfo in DER. */
MUST_CHECK enum err_code pkey_put_spki(const struct pkey *pkey, struct buf *out, struct err *err);

enum pkey_type pkey_type(const struct pkey *pkey);
bool pkey_is_private(const struct pkey *pkey);
bool pkey_fits(const struct pkey *pkey, enum pkey_alg alg);
/* 8 hex digits of SHA-256 over the public key in DER, for people. */
const char *pkey_fingerprint(const struct pkey *pkey);

/* The pieces as if joined. ERR_OK; ERR_BAD_SIGNATURE, also where alg does not fit the key;
 * ERR_NOMEM. */
MUST_CHECK enum err_code pkey_verify(const struct pkey *pkey, enum pkey_alg alg,
	const struct slice *pieces, size_t count, struct slice signature);
/* Appends the signature. ERR_UNSUPPORTED: the key is public, or alg does not fit it. */
MUST_CHECK enum err_code pkey_sign(const struct pkey *pkey, enum pkey_alg alg,
	const struct slice *pieces, size_t count, struct buf *out, struct err *err);
