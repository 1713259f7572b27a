/* visit.c - a sender that wants its URL fetched before it sends events (SNS).
 *
 * Whoever may have us fetch a URL may have us knock at any door that we can reach and he cannot.
 * So: only requests that verified, only a topic that the source allows, only https to a host that
 * the scheme allows, no private addresses, no redirects, and the answer is thrown away.
 *
 * Deliberately not here: the HTTP client (fetch). */
#include "x509.h"

#include "postern/fetch.h"
#include "postern/log.h"
#include "postern/text.h"

#include <stdio.h>
#include <stdlib.h>

#define TIMEOUT_MS 5000

/* ---- compiling ---------------------------------------------------------------------------------
 */

static const struct x509 *certificates_of(const struct scheme *s)
{
	const struct way *way = &s->ways[0];
	const struct x509 *x = way->alg && way->alg->module == &x509_module ? way->state : NULL;

	return x && x->has_host ? x : NULL;
}

static bool read_ref(struct compile *c, const struct node *at, struct part *out)
{
	struct slice text;

	if (!compile_string(c, at, &text) || !compile_ref(c, at, text, out))
		return false;
	return (out->kind == REF_HEADER || out->kind == REF_JSON) ||
	       compile_fail(c, at, "must be header:NAME or json:/POINTER");
}

bool compile_visit(struct compile *c, const struct node *handshake, struct handshake *out)
{
	const struct node *visit = node_member(handshake, "visit");
	const struct node *topic = node_member(handshake, "topic");

	if (!visit)
		return !topic || compile_fail(c, topic, "belongs to a visit");
	if (!topic)
		return compile_fail(c, visit, "needs a topic: what the source's topics allow");
	if (!out->is_signed)
		return compile_fail(c, visit, "must be \"signed\": true");
	if (out->header_count > 0)
		return compile_fail(c, visit, "its reply has no headers");
	if (!certificates_of(c->s))
		return compile_fail(
			c, visit, "goes to the hosts of verify.cert, and there are none");
	out->visits = true;
	return read_ref(c, visit, &out->visit) && read_ref(c, topic, &out->topic);
}

static bool add_topic(struct compile *c, const struct node *at)
{
	struct scheme *s = c->s;
	struct slice text;

	if (!compile_string(c, at, &text))
		return false;
	if (text.len == 0)
		return compile_fail(c, at, "is empty; \"*\" stands for any topic");
	if (s->topic_count == TOPICS_MAX)
		return compile_fail(c, at, "more than %d topics", TOPICS_MAX);
	s->topics[s->topic_count] = compile_keep_text(c, text);
	return s->topics[s->topic_count++] != NULL;
}

bool compile_topics(struct compile *c, const struct node *root)
{
	const struct node *list = node_member(root, "topics");
	bool ok = true;

	if (!list && visit_is_wanted(c->s))
		compile_warn(c, NULL,
			"no topics: subscriptions are confirmed only for those that \"topics\" "
			"names, and events of anybody's topics verify");
	if (list && list->type != NODE_ARRAY)
		return compile_fail(c, list, "must be a list of topics");
	for (const struct node *at = list ? list->child : NULL; at; at = at->next)
		ok &= add_topic(c, at);
	return ok;
}

bool visit_is_wanted(const struct scheme *scheme)
{
	for (size_t i = 0; i < scheme->handshake_count; i++) {
		if (scheme->handshakes[i].visits)
			return true;
	}
	return false;
}

/* ---- may it be visited? ------------------------------------------------------------------------
 */

static bool is_query(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		uint8_t ch = s.data[i];

		if (!(ch >= 'a' && ch <= 'z') && !(ch >= 'A' && ch <= 'Z') &&
			!(ch >= '0' && ch <= '9') && !(ch && strchr("-._~%&=:+/", ch)))
			return false;
	}
	return true;
}

static bool is_topic(const struct scheme *s, struct slice topic)
{
	for (size_t i = 0; i < s->topic_count; i++) {
		if (text_glob(slice_str(s->topics[i]), topic))
			return true;
	}
	return false;
}

/* Anybody may have a topic at such a sender, and have what it says signed: with "topics" a source
 * takes none of the others. What asks for a visit is answered, and not visited (visit_allow()). */
bool visit_is_for_us(struct eval *ev)
{
	const struct scheme *s = ev->scheme;
	bool found = s->topic_count == 0 || !visit_is_wanted(s);

	for (size_t i = 0; i < s->handshake_count && !found; i++) {
		const struct handshake *h = &s->handshakes[i];
		struct slice topic;

		found = h->visits &&
			(answer_applies(ev, h) ||
				(eval_part(ev, &h->topic, &topic) == FOUND && is_topic(s, topic)));
	}
	return found;
}

/* The same walls as around certificates; a visit may have a query, and any path. */
static bool is_the_senders(const struct x509 *x, struct slice url)
{
	struct cert_place place = x->place;
	size_t mark = slice_find(url, '?');
	struct slice host;

	place.suffix = NULL;
	return url.len <= VISIT_URL_MAX &&
	       !cert_url_refuse(&place, slice_sub(url, 0, mark), &host) &&
	       is_query(slice_sub(url, mark + 1, url.len));
}

static const char *refuse(struct eval *ev, const struct handshake *h, struct slice *url)
{
	struct slice topic;

	if (eval_part(ev, &h->topic, &topic) != FOUND || eval_part(ev, &h->visit, url) != FOUND)
		return "it names no topic, or no URL";
	if (!is_topic(ev->scheme, topic))
		return "its topic is not among the source's topics";
	if (!is_the_senders(certificates_of(ev->scheme), *url))
		return "its URL is not one of the sender's";
	return NULL;
}

void visit_allow(struct eval *ev, const struct handshake *h, struct scheme_answer *out)
{
	struct slice url = SLICE_EMPTY;
	size_t at = out->text.len;

	out->visit_refused = refuse(ev, h, &url);
	if (out->visit_refused)
		return;
	/* Nothing stands in the text yet that a larger one would leave behind: replies that visit
	 * have no headers. */
	if (out->header_count > 0 || buf_put_slice(&out->text, url, NULL) != ERR_OK)
		out->visit_refused = "there is no memory for its URL";
	else
		out->visit = (struct slice){ out->text.data + at, url.len };
}

/* ---- visiting ----------------------------------------------------------------------------------
 */

struct visit {
	struct fetch_call call;
	char source[65], url[VISIT_URL_MAX + 1];
	struct buf ca_pem; /* a reload may take the scheme's away */
};

static void visit_free(struct visit *visit)
{
	buf_done(&visit->call.answer);
	buf_done(&visit->ca_pem);
	free(visit);
}

/* On the client's thread. The URL holds a token: it is not logged. */
static void visited(struct fetch_call *call)
{
	struct visit *visit = call->owner;

	if (call->code == ERR_OK && call->status >= 200 && call->status < 300)
		log_info("visited", log_str("source", visit->source));
	else
		log_warn("visit_failed", log_str("source", visit->source),
			log_int("status", (int64_t)call->status), log_str("detail", call->error));
	visit_free(visit);
}

enum err_code scheme_visit(const struct scheme *scheme, const char *source,
	const struct scheme_answer *answer, struct err *err)
{
	const struct x509 *x = certificates_of(scheme);
	struct visit *visit;
	enum err_code rc;

	if (!x || !x->net)
		return err_set(err, ERR_UNAVAILABLE, "nothing is fetched here");
	visit = calloc(1, sizeof(*visit));
	if (!visit)
		return err_set(err, ERR_UNAVAILABLE, "no memory for a visit");
	visit->ca_pem = BUF_INIT(KIB(64));
	(void)snprintf(visit->source, sizeof(visit->source), "%s", source);
	(void)snprintf(visit->url, sizeof(visit->url), "%.*s", SLICE_FMT(answer->visit));
	rc = buf_put_slice(&visit->ca_pem, x->policy.ca_pem, err);
	visit->call = (struct fetch_call){ .url = visit->url,
		.get = true,
		.ca_pem = buf_slice(&visit->ca_pem),
		.public_only = x->policy.ca_pem.len == 0,
		.timeout_ms = TIMEOUT_MS,
		.done = visited,
		.owner = visit };
	if (rc == ERR_OK)
		rc = fetch_start(cert_net_fetch(x->net), &visit->call, err);
	if (rc != ERR_OK)
		visit_free(visit);
	return rc;
}
