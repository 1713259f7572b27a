/* x509.h - signatures by certificates that the sender points to. Private to this room.
 *
 *   cert_url.c       is this a URL that may be fetched at all?
 *   cert_net.c       fetching, checking and keeping certificates; shared by all schemes of a
 * process x509.c           the module: which certificate, which digest, the signature
 *   visit.c          URLs that the same senders want visited
 *   x509_compile.c   the members "cert" and "hash" of verify */
#pragma once

#include "postern/cert.h"
#include "scheme_priv.h"

#include <regex.h>

#define CERT_URL_MAX 512
#define HASHES_MAX 4

/* ---- URLs --------------------------------------------------------------------------------------
 */

struct cert_place {
	regex_t host;       /* anchored at both ends */
	const char *suffix; /* of the path; NULL: any */
	unsigned port;
};
/* NULL, or why this URL is not fetched: it must be https, a plain host that fits the pattern, the
 * one port, and a path without tricks. *out_host: the slice of its host. */
const char *cert_url_refuse(
	const struct cert_place *place, struct slice url, struct slice *out_host);
/* The part of a host name that its owner shares with nobody: "sns.eu-1.example.com" ->
 * "example.com". out holds CERT_URL_MAX bytes. */
void cert_url_domain(struct slice host, char *out);

/* ---- certificates ------------------------------------------------------------------------------
 */

/* How much is asked of a certificate; one that was fetched for one policy is not used for another.
 */
struct cert_policy {
	struct slice ca_pem; /* empty: the roots of the system */
	bool needs_root;     /* a certificate that came alone is not enough */
	const char *subject; /* NULL: the domain of the URL's host */
};
/* Counted. */
struct cert_held;
const struct pkey *cert_held_key(const struct cert_held *held);
void cert_held_unref(struct cert_held **held);
/* ERR_OK: *out is the caller's. ERR_UNAVAILABLE: it is being fetched, or cannot be now.
 * ERR_KEY_NOT_FOUND: what is there is no certificate of this sender. why: for people. */
enum err_code cert_net_get(struct scheme_net *net, struct slice url, struct slice host,
	const struct cert_policy *policy, int64_t now_ms, struct cert_held **out, struct err *why);

struct fetch;
struct fetch *cert_net_fetch(struct scheme_net *net);
bool visit_is_wanted(const struct scheme *scheme);

/* ---- the module --------------------------------------------------------------------------------
 */

struct x509 {
	bool has_hash_ref; /* else hashes[0] holds always */
	struct part hash_ref;
	struct {
		const char *value;
		enum pkey_alg alg;
	} hashes[HASHES_MAX];
	size_t hash_count;
	bool has_url;
	struct part url;
	bool has_host; /* place.host is compiled */
	struct cert_place place;
	struct cert_policy policy;
	struct pkey *keys[SCHEME_KEYS_MAX]; /* by the source's keys; used in place of fetching */
	struct scheme_net *net;             /* NULL: nothing is fetched here */
};
extern const char *const x509_members[];
bool x509_compile(struct compile *c, const struct node *verify);
bool x509_key(struct compile *c, size_t key, const struct node *at, struct slice text);
void x509_close(struct way *way);
