/* tls.c - certificates of a server, and what is known of a client's.
 *
 * The library asks for the certificate at every handshake; so a new one holds for the connections
 * that come after it was set, and for no other. A handshake may be under way while its certificate
 * is replaced: what was replaced stays until the server is closed. Deliberately not here: files. */
#include "serve_priv.h"

#include <assert.h>
#include <stdlib.h>

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#define CHAIN_MAX 8

struct tls_pair {
	struct tls_pair *older;
	gnutls_pcert_st chain[CHAIN_MAX];
	unsigned count;
	gnutls_privkey_t key;
};

static void pair_free(struct tls_pair *pair)
{
	for (unsigned i = 0; i < pair->count; i++)
		gnutls_pcert_deinit(&pair->chain[i]);
	if (pair->key)
		gnutls_privkey_deinit(pair->key);
	free(pair);
}

static gnutls_datum_t datum(struct slice s)
{
	return (gnutls_datum_t){ .data = (unsigned char *)(uintptr_t)s.data,
		.size = (unsigned)s.len };
}

static enum err_code pair_open(
	struct slice cert, struct slice key, struct tls_pair **out, struct err *err)
{
	gnutls_datum_t cert_pem = datum(cert), key_pem = datum(key);
	struct tls_pair *pair = calloc(1, sizeof(*pair));
	int rc;

	if (!pair)
		return err_set(err, ERR_NOMEM, "no memory for a certificate");
	pair->count = CHAIN_MAX;
	rc = gnutls_pcert_list_import_x509_raw(
		pair->chain, &pair->count, &cert_pem, GNUTLS_X509_FMT_PEM, 0);
	if (rc < 0)
		pair->count = 0;
	if (rc >= 0)
		rc = gnutls_privkey_init(&pair->key);
	if (rc >= 0)
		rc = gnutls_privkey_import_x509_raw(
			pair->key, &key_pem, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (rc >= 0) {
		*out = pair;
		return ERR_OK;
	}
	pair_free(pair);
	return err_set(
		err, ERR_SYNTAX, "not a certificate and its key in PEM: %s", gnutls_strerror(rc));
}

/* ---- the server's ------------------------------------------------------------------------------
 */

/* The library does not say for whom it asks; a loop is one server's. */
static _Thread_local struct serve *running;

void tls_enter(struct serve *s)
{
	running = s;
}

int tls_retrieve(struct gnutls_session_int *session, const struct gnutls_cert_retr_st *info,
	struct gnutls_pcert_st **out_chain, unsigned *out_count,
	struct gnutls_ocsp_data_st **out_ocsp, unsigned *out_ocsp_count,
	struct gnutls_privkey_st **out_key, unsigned *out_flags)
{
	struct tls_pair *pair;

	(void)session;
	(void)info;
	assert(running);
	lock_take(&running->lock);
	pair = running->tls;
	lock_give(&running->lock);
	*out_chain = pair->chain;
	*out_count = pair->count;
	*out_ocsp = NULL;
	*out_ocsp_count = 0;
	*out_key = pair->key;
	*out_flags = 0;
	return 0;
}

enum err_code serve_set_tls(struct serve *s, struct slice cert, struct slice key, struct err *err)
{
	struct tls_pair *pair = NULL;
	enum err_code rc = pair_open(cert, key, &pair, err);

	if (rc != ERR_OK)
		return rc;
	lock_take(&s->lock);
	pair->older = s->tls;
	s->tls = pair;
	lock_give(&s->lock);
	return ERR_OK;
}

void tls_close(struct serve *s)
{
	while (s->tls) {
		struct tls_pair *pair = s->tls;

		s->tls = pair->older;
		pair_free(pair);
	}
}
