/* tls.c - certificates of a server, and what is known of a client's.
 *
 * The library asks for the certificate at every handshake; so a new one holds for the connections
 * that come after it was set, and for no other. A handshake may be under way while its certificate
 * is replaced: what was replaced stays until the server is closed. Deliberately not here: files. */
#include "serve_priv.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

#define CHAIN_MAX 8
#define PEER_TEXT_MAX KIB(8)

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

/* ---- the client's ------------------------------------------------------------------------------
 *
 * A certificate is asked for and not demanded: whether it is needed is said by each source, and
 * the library would end the connection of one that is not good without a word.
 */

struct peer {
	struct slice names[SERVE_PEER_SANS_MAX];
	size_t count, used;
	uint8_t text[PEER_TEXT_MAX];
};

/* A name that there is no room for is left out: nothing is let through by that. */
static void add_name(struct peer *peer, const void *text, size_t len)
{
	uint8_t *at = peer->text + peer->used;

	if (len == 0 || len > PEER_TEXT_MAX - peer->used || peer->count == SERVE_PEER_SANS_MAX)
		return;
	memcpy(at, text, len);
	peer->names[peer->count++] = (struct slice){ at, len };
	peer->used += len;
}

static void add_address(struct peer *peer, const uint8_t *address, size_t len)
{
	char text[INET6_ADDRSTRLEN];
	int family = len == 4 ? AF_INET : AF_INET6;

	if ((len == 4 || len == 16) && inet_ntop(family, address, text, sizeof(text)))
		add_name(peer, text, strlen(text));
}

static void read_names(gnutls_x509_crt_t cert, struct peer *peer)
{
	for (unsigned i = 0; i < SERVE_PEER_SANS_MAX; i++) {
		uint8_t value[KIB(1)];
		size_t len = sizeof(value);
		int kind = gnutls_x509_crt_get_subject_alt_name(cert, i, value, &len, NULL);

		switch (kind) {
		case GNUTLS_SAN_DNSNAME:
		case GNUTLS_SAN_RFC822NAME:
		case GNUTLS_SAN_URI: add_name(peer, value, len); break;
		case GNUTLS_SAN_IPADDRESS: add_address(peer, value, len); break;
		case GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE: return;
		default: break; /* of another kind, or too long for what anyone would require */
		}
	}
}

/* Whether it holds now: a connection may be older than the end of its certificate. */
static bool is_trusted(gnutls_session_t session)
{
	gnutls_typed_vdata_st purpose = { .type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT };
	unsigned status = ~0u;

	return gnutls_certificate_verify_peers(session, &purpose, 1, &status) == 0 && status == 0;
}

static bool keep_names(struct request *rq, const gnutls_datum_t *der)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	gnutls_x509_crt_t cert;

	if (!peer)
		return false;
	rq->peer = peer;
	if (gnutls_x509_crt_init(&cert) < 0)
		return false;
	if (gnutls_x509_crt_import(cert, der, GNUTLS_X509_FMT_DER) >= 0)
		read_names(cert, peer);
	gnutls_x509_crt_deinit(cert);
	rq->shown.peer_sans = peer->names;
	rq->shown.peer_san_count = peer->count;
	return true;
}

bool tls_see_peer(struct request *rq, struct MHD_Connection *mc)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mc, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	const gnutls_datum_t *chain = NULL;
	unsigned count = 0;

	if (info)
		chain = gnutls_certificate_get_peers(info->tls_session, &count);
	if (!chain || count == 0 || !is_trusted(info->tls_session))
		return true;
	return keep_names(rq, &chain[0]);
}

enum err_code serve_check_tls(struct slice cert, struct slice key, struct err *err)
{
	struct tls_pair *pair = NULL;
	enum err_code rc = pair_open(cert, key, &pair, err);

	if (rc == ERR_OK)
		pair_free(pair);
	return rc;
}

enum err_code serve_check_client_ca(struct slice roots, struct err *err)
{
	gnutls_datum_t pem = datum(roots);
	gnutls_x509_crt_t *list = NULL;
	unsigned count = 0;
	int rc = gnutls_x509_crt_list_import2(&list, &count, &pem, GNUTLS_X509_FMT_PEM, 0);

	for (unsigned i = 0; rc >= 0 && i < count; i++)
		gnutls_x509_crt_deinit(list[i]);
	if (rc >= 0)
		gnutls_free(list);
	if (rc < 0)
		return err_set(err, ERR_SYNTAX, "client_ca is not certificates in PEM: %s",
			gnutls_strerror(rc));
	return ERR_OK;
}

/* The library takes a text. */
enum err_code tls_set_client_ca(struct serve *s, struct slice roots, struct err *err)
{
	enum err_code rc = serve_check_client_ca(roots, err);

	if (rc != ERR_OK)
		return rc;
	s->client_ca = strndup((const char *)roots.data, roots.len);
	return s->client_ca ? ERR_OK : err_set(err, ERR_NOMEM, "no memory for client_ca");
}

void tls_close(struct serve *s)
{
	free(s->client_ca);
	s->client_ca = NULL;
	while (s->tls) {
		struct tls_pair *pair = s->tls;

		s->tls = pair->older;
		pair_free(pair);
	}
}
