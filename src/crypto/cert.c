/* cert.c - X.509 certificates: what a receiver wants to know of one that a sender points to.
 *
 * Deliberately not here: where it comes from, and whose names are right for which sender. */
#include "postern/cert.h"

#include "pkey_priv.h"

#include <stdlib.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#define PEM_MAX KIB(256)

struct cert {
	STACK_OF(X509) * chain; /* the first is the one; never empty */
	struct pkey *pkey;
};

struct cert_roots {
	X509_STORE *store;
};

static enum err_code no_memory(struct err *err)
{
	ERR_clear_error();
	return err_set(err, ERR_NOMEM, "no memory for a certificate");
}

/* ---- reading -----------------------------------------------------------------------------------
 */

/* All certificates of a PEM text; other blocks are passed over. */
static bool read_chain(struct slice text, STACK_OF(X509) * chain)
{
	BIO *bio = BIO_new_mem_buf(text.data, (int)text.len);
	X509 *cert;

	while (bio && sk_X509_num(chain) < CERT_CHAIN_MAX &&
		(cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		if (sk_X509_push(chain, cert) > 0)
			continue;
		X509_free(cert);
		break;
	}
	BIO_free(bio);
	ERR_clear_error(); /* the end of the text is an error to OpenSSL */
	return sk_X509_num(chain) > 0;
}

enum err_code cert_from_pem(struct slice text, struct cert **out, struct err *err)
{
	struct cert *cert = calloc(1, sizeof(*cert));
	EVP_PKEY *evp;
	enum err_code rc;

	if (cert)
		cert->chain = sk_X509_new_null();
	if (!cert || !cert->chain) {
		free(cert);
		return no_memory(err);
	}
	if (text.len == 0 || text.len > PEM_MAX || !read_chain(text, cert->chain)) {
		cert_close(&cert);
		return err_set(err, ERR_SYNTAX, "no certificate in PEM");
	}
	evp = X509_get_pubkey(sk_X509_value(cert->chain, 0));
	rc = evp ? pkey_adopt(evp, false, &cert->pkey, err)
		 : err_set(err, ERR_SYNTAX, "a certificate whose key cannot be read");
	ERR_clear_error();
	if (rc != ERR_OK)
		cert_close(&cert);
	else
		*out = cert;
	return rc;
}

void cert_close(struct cert **cert)
{
	if (!*cert)
		return;
	pkey_close(&(*cert)->pkey);
	sk_X509_pop_free((*cert)->chain, X509_free);
	free(*cert);
	*cert = NULL;
}

const struct pkey *cert_key(const struct cert *cert)
{
	return cert->pkey;
}

static int64_t to_ms(const ASN1_TIME *at)
{
	struct tm tm;

	if (!at || ASN1_TIME_to_tm(at, &tm) != 1)
		return 0;
	return (int64_t)timegm(&tm) * 1000;
}

void cert_validity(const struct cert *cert, int64_t *out_from_ms, int64_t *out_until_ms)
{
	const X509 *first = sk_X509_value(cert->chain, 0);

	*out_from_ms = to_ms(X509_get0_notBefore(first));
	*out_until_ms = to_ms(X509_get0_notAfter(first));
}

/* ---- names -------------------------------------------------------------------------------------
 */

/* "*.example.com" is under example.com, as what it stands for is. */
static bool is_under(struct slice name, const char *domain)
{
	struct slice want = slice_str(domain);
	struct slice end;

	if (name.len < want.len || slice_find(name, '\0') < name.len)
		return false;
	end = slice_sub(name, name.len - want.len, want.len);
	if (!slice_eq_nocase(end, want))
		return false;
	return name.len == want.len || name.data[name.len - want.len - 1] == '.';
}

static bool common_name_is_under(const X509 *cert, const char *domain)
{
	const X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	const ASN1_STRING *text;

	if (at < 0)
		return false;
	text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
	return is_under(
		(struct slice){ ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text) },
		domain);
}

bool cert_is_under(const struct cert *cert, const char *domain)
{
	const X509 *first = sk_X509_value(cert->chain, 0);
	GENERAL_NAMES *names = X509_get_ext_d2i(first, NID_subject_alt_name, NULL, NULL);
	bool has_names = false, is_one = false;

	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_DNS)
			continue;
		has_names = true;
		is_one |= is_under((struct slice){ ASN1_STRING_get0_data(name->d.dNSName),
					   (size_t)ASN1_STRING_length(name->d.dNSName) },
			domain);
	}
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	return has_names ? is_one : common_name_is_under(first, domain);
}

/* ---- roots -------------------------------------------------------------------------------------
 */

static bool add_roots(X509_STORE *store, struct slice pem)
{
	STACK_OF(X509) *certs = sk_X509_new_null();
	bool ok = certs && pem.len <= PEM_MAX && read_chain(pem, certs);

	for (int i = 0; ok && i < sk_X509_num(certs); i++)
		ok = X509_STORE_add_cert(store, sk_X509_value(certs, i)) == 1;
	sk_X509_pop_free(certs, X509_free);
	return ok;
}

enum err_code cert_roots_open(struct slice pem, struct cert_roots **out, struct err *err)
{
	struct cert_roots *roots = calloc(1, sizeof(*roots));
	bool ok;

	if (roots)
		roots->store = X509_STORE_new();
	if (!roots || !roots->store) {
		free(roots);
		return no_memory(err);
	}
	/* What the operator names is believed in, whoever issued it. */
	ok = pem.len == 0 ? X509_STORE_set_default_paths(roots->store) == 1
			  : X509_STORE_set_flags(roots->store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
				    add_roots(roots->store, pem);
	ERR_clear_error();
	if (!ok) {
		cert_roots_close(&roots);
		return err_set(err, ERR_SYNTAX, "no certificates of roots");
	}
	*out = roots;
	return ERR_OK;
}

void cert_roots_close(struct cert_roots **roots)
{
	if (!*roots)
		return;
	X509_STORE_free((*roots)->store);
	free(*roots);
	*roots = NULL;
}

static enum cert_trust judge(X509_STORE_CTX *ctx, const char **out_why)
{
	int why;

	if (X509_verify_cert(ctx) == 1)
		return CERT_TRUSTED;
	why = X509_STORE_CTX_get_error(ctx);
	*out_why = X509_verify_cert_error_string(why);
	return why == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ? CERT_UNROOTED : CERT_REFUSED;
}

enum cert_trust cert_check(const struct cert *cert, const struct cert_roots *roots, int64_t now_ms,
	const char **out_why)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	enum cert_trust trust = CERT_REFUSED;

	*out_why = "no memory";
	if (ctx && X509_STORE_CTX_init(
			   ctx, roots->store, sk_X509_value(cert->chain, 0), cert->chain) == 1) {
		X509_STORE_CTX_set_time(ctx, 0, (time_t)(now_ms / 1000));
		trust = judge(ctx, out_why);
	}
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return trust;
}
