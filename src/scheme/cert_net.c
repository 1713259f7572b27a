/* cert_net.c - certificates that senders point to: fetched once, checked, kept.
 *
 *   asked for -> known? -> fetch (few at a time, one a second in the long run) -> checked -> kept
 *
 * Nobody waits: what is not there yet is ERR_UNAVAILABLE, and the sender comes again. Requests that
 * anybody can send decide what is asked for; so what failed is remembered too, and never takes the
 * place of a certificate that was found. Deliberately not here: which URLs may be asked for
 * (cert_url.c). */
#include "x509.h"

#include "postern/clock.h"
#include "postern/fetch.h"
#include "postern/log.h"
#include "postern/thread.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define ENTRIES_MAX 64
#define CALLS_MAX 4
#define BURST 8 /* fetches at once; then one a second */
#define TIMEOUT_MS 5000
#define PEM_MAX KIB(64)
#define KEEP_MS (INT64_C(24) * 3600 * 1000)
#define RETRY_MS 10000   /* after a server did not answer well */
#define REFUSED_MS 60000 /* after it answered, and not with a certificate */

struct cert_held {
	atomic_uint refs; /* acq_rel on release */
	struct cert *cert;
	int64_t until_ms;
};

struct entry {
	struct scheme_net *net;
	char *url; /* NULL: free */
	char domain[CERT_URL_MAX];
	struct buf ca_pem;
	bool needs_root;
	/* guarded by the net's lock: */
	bool is_fetching;
	struct cert_held *held; /* NULL: none */
	enum err_code failed;   /* of the last fetch */
	int64_t again_ms;       /* not fetched before */
	int64_t used_ms;
	struct fetch_call call; /* the client's while is_fetching */
};

struct scheme_net {
	struct fetch *fetch;
	struct lock lock;
	struct entry entries[ENTRIES_MAX];
	int64_t allowed;  /* guarded: fetches left */
	int64_t since_ms; /* guarded: when allowed was filled up last */
};

/* ---- what is held ------------------------------------------------------------------------------
 */

const struct pkey *cert_held_key(const struct cert_held *held)
{
	return cert_key(held->cert);
}

void cert_held_unref(struct cert_held **held)
{
	struct cert_held *h = *held;

	*held = NULL;
	if (!h || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) > 1)
		return;
	cert_close(&h->cert);
	free(h);
}

static struct cert_held *hold(struct cert *cert)
{
	struct cert_held *held = calloc(1, sizeof(*held));
	int64_t from_ms;

	if (!held) {
		cert_close(&cert);
		return NULL;
	}
	atomic_init(&held->refs, 1);
	held->cert = cert;
	cert_validity(cert, &from_ms, &held->until_ms);
	return held;
}

/* ---- a fetch has ended -------------------------------------------------------------------------
 */

/* Is it of this sender, and as far as can be told in force? */
static enum err_code check(const struct entry *e, const struct cert *cert, struct err *why)
{
	int64_t now_ms = clock_system()->wall_ms(clock_system()), from_ms, until_ms;
	struct cert_roots *roots = NULL;
	const char *text = "";
	enum cert_trust trust;

	cert_validity(cert, &from_ms, &until_ms);
	if (now_ms < from_ms || now_ms > until_ms)
		return err_set(why, ERR_KEY_NOT_FOUND, "the certificate is not in force now");
	if (!cert_is_under(cert, e->domain))
		return err_set(
			why, ERR_KEY_NOT_FOUND, "the certificate is not one of %s", e->domain);
	if (cert_roots_open(buf_slice(&e->ca_pem), &roots, why) != ERR_OK)
		return ERR_UNAVAILABLE;
	trust = cert_check(cert, roots, now_ms, &text);
	cert_roots_close(&roots);
	if (trust == CERT_TRUSTED || (trust == CERT_UNROOTED && !e->needs_root))
		return ERR_OK;
	return err_set(why, ERR_KEY_NOT_FOUND, "the certificate: %s", text);
}

static enum err_code read_answer(struct entry *e, struct cert **out, struct err *why)
{
	const struct fetch_call *call = &e->call;
	enum err_code rc;

	if (call->code != ERR_OK)
		return err_set(why, ERR_UNAVAILABLE, "%s", call->error);
	if (call->status >= 500 || call->status == 429)
		return err_set(why, ERR_UNAVAILABLE, "status %u", call->status);
	if (call->status != 200)
		return err_set(why, ERR_KEY_NOT_FOUND, "status %u", call->status);
	rc = cert_from_pem(buf_slice(&call->answer), out, why);
	if (rc != ERR_OK)
		return rc == ERR_NOMEM ? ERR_UNAVAILABLE : ERR_KEY_NOT_FOUND;
	rc = check(e, *out, why);
	if (rc != ERR_OK)
		cert_close(out);
	return rc;
}

/* On the client's thread. A certificate that is there stays while its server is away. */
static void fetched(struct fetch_call *call)
{
	struct entry *e = call->owner;
	struct cert_held *held = NULL, *old = NULL;
	struct cert *cert = NULL;
	struct err why = ERR_INIT;
	enum err_code rc = read_answer(e, &cert, &why);
	int64_t now_ms = clock_system()->wall_ms(clock_system());

	if (rc == ERR_OK && (held = hold(cert)) == NULL)
		rc = ERR_UNAVAILABLE;
	if (rc != ERR_OK && rc != ERR_UNAVAILABLE && rc != ERR_KEY_NOT_FOUND)
		rc = ERR_UNAVAILABLE;
	if (call->code != ERR_STOPPED && rc != ERR_OK)
		log_warn("certificate_not_taken", log_str("url", e->url),
			log_str("detail", why.text));
	lock_take(&e->net->lock);
	e->is_fetching = false;
	e->failed = rc;
	e->again_ms = now_ms + (rc == ERR_OK                   ? KEEP_MS
				       : rc == ERR_UNAVAILABLE ? RETRY_MS
							       : REFUSED_MS);
	if (rc != ERR_UNAVAILABLE) {
		old = e->held;
		e->held = held;
	}
	lock_give(&e->net->lock);
	cert_held_unref(&old);
}

/* ---- asking ------------------------------------------------------------------------------------
 */

static bool same(const struct entry *e, struct slice url, const char *domain,
	const struct cert_policy *policy)
{
	return e->url && slice_eq_str(url, e->url) && strcmp(e->domain, domain) == 0 &&
	       e->needs_root == policy->needs_root &&
	       slice_eq(buf_slice(&e->ca_pem), policy->ca_pem);
}

static void forget(struct entry *e)
{
	cert_held_unref(&e->held);
	buf_done(&e->ca_pem);
	buf_done(&e->call.answer);
	free(e->url);
	e->url = NULL;
}

/* A free place, or that of the oldest failure; of certificates only what has run out. */
static struct entry *place_locked(struct scheme_net *net, int64_t now_ms)
{
	struct entry *oldest = NULL;

	for (size_t i = 0; i < ENTRIES_MAX; i++) {
		struct entry *e = &net->entries[i];

		if (!e->url)
			return e;
		if (e->is_fetching || (e->held && e->held->until_ms >= now_ms))
			continue;
		if (!oldest || e->used_ms < oldest->used_ms)
			oldest = e;
	}
	if (oldest)
		forget(oldest);
	return oldest;
}

static struct entry *enter_locked(struct scheme_net *net, struct slice url, const char *domain,
	const struct cert_policy *policy, int64_t now_ms)
{
	struct entry *e = place_locked(net, now_ms);

	if (!e)
		return NULL;
	*e = (struct entry){ .net = net, .needs_root = policy->needs_root };
	e->ca_pem = BUF_INIT(PEM_MAX);
	(void)snprintf(e->domain, sizeof(e->domain), "%s", domain);
	e->url = slice_dup_str(url);
	if (e->url && buf_put_slice(&e->ca_pem, policy->ca_pem, NULL) == ERR_OK)
		return e;
	forget(e);
	return NULL;
}

static bool may_fetch_locked(struct scheme_net *net, int64_t now_ms)
{
	int64_t passed_s = (now_ms - net->since_ms) / 1000;

	if (passed_s != 0) {
		net->allowed = passed_s < 0 || passed_s >= BURST || net->allowed + passed_s > BURST
				       ? BURST
				       : net->allowed + passed_s;
		net->since_ms = now_ms;
	}
	if (net->allowed == 0)
		return false;
	net->allowed--;
	return true;
}

/* fetch_start() does not call back before it has returned, and takes no lock of ours. */
static void start_locked(struct entry *e, int64_t now_ms)
{
	if (!may_fetch_locked(e->net, now_ms))
		return;
	e->call = (struct fetch_call){
		.url = e->url,
		.get = true,
		.timeout_ms = TIMEOUT_MS,
		.max_answer_bytes = PEM_MAX,
		.ca_pem = buf_slice(&e->ca_pem),
		.done = fetched,
		.owner = e,
		.answer = e->call.answer,
	};
	e->is_fetching = fetch_start(e->net->fetch, &e->call, NULL) == ERR_OK;
}

/* What is known of the entry, once a fetch that is due was started. */
static enum err_code answer_locked(
	struct entry *e, int64_t now_ms, struct cert_held **out, struct err *why)
{
	e->used_ms = now_ms;
	if (!e->is_fetching && now_ms >= e->again_ms)
		start_locked(e, now_ms);
	if (e->held && e->held->until_ms >= now_ms) {
		(void)atomic_fetch_add_explicit(&e->held->refs, 1, memory_order_relaxed);
		*out = e->held;
		return ERR_OK;
	}
	if (!e->is_fetching && e->failed == ERR_KEY_NOT_FOUND)
		return err_set(why, ERR_KEY_NOT_FOUND, "there is no certificate at that URL");
	return err_set(why, ERR_UNAVAILABLE,
		e->is_fetching ? "the sender's certificate is being fetched"
			       : "the sender's certificate cannot be fetched now");
}

enum err_code cert_net_get(struct scheme_net *net, struct slice url, struct slice host,
	const struct cert_policy *policy, int64_t now_ms, struct cert_held **out, struct err *why)
{
	char domain[CERT_URL_MAX];
	struct entry *e = NULL;
	enum err_code rc;

	if (policy->subject)
		(void)snprintf(domain, sizeof(domain), "%s", policy->subject);
	else
		cert_url_domain(host, domain);
	lock_take(&net->lock);
	for (size_t i = 0; i < ENTRIES_MAX && !e; i++) {
		if (same(&net->entries[i], url, domain, policy))
			e = &net->entries[i];
	}
	if (!e)
		e = enter_locked(net, url, domain, policy, now_ms);
	rc = e ? answer_locked(e, now_ms, out, why)
	       : err_set(why, ERR_UNAVAILABLE, "no room for another certificate");
	lock_give(&net->lock);
	return rc;
}

/* ---- the handle --------------------------------------------------------------------------------
 */

enum err_code scheme_net_open(struct scheme_net **out, struct err *err)
{
	struct scheme_net *net = calloc(1, sizeof(*net));
	enum err_code rc;

	if (!net)
		return err_set(err, ERR_NOMEM, "no memory for certificates");
	rc = fetch_open(CALLS_MAX, &net->fetch, err);
	if (rc != ERR_OK) {
		free(net);
		return rc;
	}
	lock_init(&net->lock);
	net->allowed = BURST;
	*out = net;
	return ERR_OK;
}

void scheme_net_close(struct scheme_net **net)
{
	struct scheme_net *n = *net;

	if (!n)
		return;
	fetch_close(&n->fetch); /* calls under way come back first */
	for (size_t i = 0; i < ENTRIES_MAX; i++)
		forget(&n->entries[i]);
	lock_done(&n->lock);
	free(n);
	*net = NULL;
}

struct fetch *cert_net_fetch(struct scheme_net *net)
{
	return net->fetch;
}

bool scheme_wants_net(const struct scheme *scheme)
{
	for (size_t i = 0; i < scheme->way_count; i++) {
		const struct alg *alg = scheme->ways[i].alg;

		/* Keys of the source are used in place of what would be fetched. */
		if (alg->module && alg->module->use_net && scheme->key_count == 0)
			return true;
	}
	return visit_is_wanted(scheme);
}

void scheme_use_net(struct scheme *scheme, struct scheme_net *net)
{
	for (size_t i = 0; i < scheme->way_count; i++) {
		const struct alg *alg = scheme->ways[i].alg;

		if (alg->module && alg->module->use_net)
			alg->module->use_net(&scheme->ways[i], net);
	}
}
