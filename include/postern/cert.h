/* cert.h - X.509 certificates: read, asked for their names, checked up to a root.
 *
 * Owns:    certificates and stores are the caller's until their close.
 * Threads: both may be shared once they are open.
 * Errors:  ERR_SYNTAX: no certificate with a key of a kind that is taken; ERR_NOMEM.
 * Source:  RFC 5280, RFC 6125. */
#pragma once

#include "postern/pkey.h"

#define CERT_CHAIN_MAX 8 /* certificates of one PEM text that are read */

/* A certificate, and those that came along to lead up to a root. */
struct cert;
MUST_CHECK enum err_code cert_from_pem(struct slice text, struct cert **out, struct err *err);
void cert_close(struct cert **cert);
/* The key of the first; the certificate's. */
const struct pkey *cert_key(const struct cert *cert);
/* Of the first. Milliseconds since 1970. */
void cert_validity(const struct cert *cert, int64_t *out_from_ms, int64_t *out_until_ms);
/* Is one of its DNS names (or, where there is none, its common name) this domain, or below it? */
bool cert_is_under(const struct cert *cert, const char *domain);

/* Roots that are believed in. */
struct cert_roots;
/* pem empty: those of the system. Otherwise only these; they need not be roots themselves. */
MUST_CHECK enum err_code cert_roots_open(
	struct slice pem, struct cert_roots **out, struct err *err);
void cert_roots_close(struct cert_roots **roots);

enum cert_trust {
	CERT_TRUSTED,
	CERT_UNROOTED, /* nothing is wrong with it, but who issued it did not come along */
	CERT_REFUSED   /* expired, self-signed, a signature that is wrong, ... */
};
/* why: what is wrong, for people; static. */
enum cert_trust cert_check(const struct cert *cert, const struct cert_roots *roots, int64_t now_ms,
	const char **out_why);
