/* http.c - the callbacks of the HTTP server: from its requests to admit.c, and to answers.
 *
 * Every request is counted and logged in http_conclude() or refuse(), when its
 * code is known. Never logged: values of headers, bodies, signatures. */
#include "ingress_priv.h"

#include "postern/json.h"
#include "postern/log.h"
#include "postern/metrics.h"

#include <assert.h>
#include <stdio.h>

#define HOOKS SLICE_LIT("/hooks/")

static void build(struct shard *shard, enum err_code rc)
{
	/* Only memory can fail here; an answer without a body still has its status. */
	if (rc != ERR_OK)
		buf_reset(&shard->text);
}

/* ---- logging -----------------------------------------------------------------------------------
 */

static void tell_dropped(int64_t dropped)
{
	if (dropped > 0)
		log_warn("requests_refused", log_int("not_logged", dropped));
}

/* May this refusal have a line of its own? A flood is one line a second that counts. */
static bool gate_opens(struct shard *shard, int64_t now_ms)
{
	struct ingress *in = shard->ingress;
	int64_t dropped;
	bool opens;

	lock_take(&in->lock);
	opens = log_gate_opens(&in->gate, now_ms, &dropped);
	lock_give(&in->lock);
	tell_dropped(dropped);
	return opens;
}

static void log_refusal(struct shard *shard, const char *source, const struct serve_request *rq,
	enum err_code code, const char *detail)
{
	enum log_level level = err_action(code) == ACT_RETRY ? LOG_WARN : LOG_INFO;

	if (!gate_opens(shard, shard->ingress->clock->mono_ms(shard->ingress->clock)))
		return;
	LOG_AT(level, "request_refused", log_code(code), log_str("source", source),
		log_str("request_id", rq->request_id), log_str("client", rq->client),
		log_str("detail", detail));
}

/* ---- bodies ------------------------------------------------------------------------------------
 */

static enum err_code put_problem(
	struct buf *out, enum err_code code, unsigned status, const char *request_id)
{
	enum err_code rc = buf_put_str(out, "{", NULL);

	if (rc == ERR_OK)
		rc = json_put_str(out, "type", SLICE_LIT("about:blank"), NULL);
	if (rc == ERR_OK)
		rc = json_put_str(out, "title", slice_str(err_title(code)), NULL);
	if (rc == ERR_OK)
		rc = json_put_int(out, "status", status, NULL);
	if (rc == ERR_OK)
		rc = json_put_str(out, "code", slice_str(err_name(code)), NULL);
	if (rc == ERR_OK)
		rc = json_put_str(out, "request_id", slice_str(request_id), NULL);
	if (rc == ERR_OK)
		rc = buf_put_str(out, "}\n", NULL);
	return rc;
}

/* Of several events the first, and how many there are. What is the same in nearly every answer is
 * written as it is rather than member by member. */
static enum err_code put_accepted(
	struct buf *out, const struct admission *a, const char *request_id)
{
	static const struct slice start = SLICE_LIT("{\"result\":\"accepted\",\"event_id\":");
	static const struct slice request = SLICE_LIT(",\"request_id\":");
	struct slice event_id = a->event_id.len > 0 ? a->event_id : SLICE_EMPTY;
	enum err_code rc = buf_put_slice(out, start, NULL);

	if (rc == ERR_OK)
		rc = json_put_string(out, event_id, NULL);
	if (rc == ERR_OK && a->is_split)
		rc = json_put_int(out, "events", (int64_t)a->element_count, NULL);
	if (rc == ERR_OK)
		rc = buf_put_slice(out, request, NULL);
	if (rc == ERR_OK)
		rc = json_put_string(out, slice_str(request_id), NULL);
	if (rc == ERR_OK)
		rc = buf_put_slice(out, SLICE_LIT("}\n"), NULL);
	return rc;
}

static void add_header(struct serve_reply *reply, struct slice name, struct slice value)
{
	assert(reply->header_count < SERVE_REPLY_HEADERS);
	reply->headers[reply->header_count++] = (struct header){ .name = name, .value = value };
}

/* The text lives until the reply is copied, which is before the next request. */
static void retry_after(struct serve_reply *reply, int64_t seconds)
{
	static _Thread_local char text[24];
	int len = snprintf(text, sizeof(text), "%lld", (long long)seconds);

	add_header(reply, SLICE_LIT("Retry-After"),
		(struct slice){ (const uint8_t *)text, (size_t)len });
}

static void fill_problem(struct shard *shard, const struct serve_request *rq, enum err_code code,
	unsigned status, struct serve_reply *reply)
{
	buf_reset(&shard->text);
	build(shard, put_problem(&shard->text, code, status, rq->request_id));
	reply->status = status;
	reply->content_type = "application/problem+json";
	reply->body = buf_slice(&shard->text);
	if (status == 503)
		retry_after(reply, RETRY_AFTER_S);
}

/* ---- conclusions -------------------------------------------------------------------------------
 */

void http_completion(struct intake *intake, enum err_code code, struct completion *out)
{
	struct shard *shard = intake->shard;
	const struct admission *a = &intake->admission;

	*out = (struct completion){ .code = code, .status = err_status(code) };
	if (code == a->code && a->status != 0)
		out->status = a->status;
	if (out->status >= 400)
		return;
	if (scheme_ack(intake->source->scheme, &shard->tools.answer) != 0) {
		out->status = shard->tools.answer.status;
		out->content_type = shard->tools.answer.content_type;
		out->body = buf_slice(&shard->tools.answer.body);
		return;
	}
	buf_reset(&shard->text);
	build(shard, put_accepted(&shard->text, a, intake->request->request_id));
	out->content_type = "application/json";
	out->body = buf_slice(&shard->text);
}

void http_conclude(struct intake *intake, const struct completion *done, struct serve_reply *reply)
{
	struct shard *shard = intake->shard;
	const char *source = intake->source->config->name;
	const struct serve_request *rq = intake->request;

	stats_count(intake->source->stats, done->code);
	reply->status = done->status;
	reply->content_type = done->content_type;
	reply->body = done->body;
	if (done->status >= 400) {
		fill_problem(shard, rq, done->code, done->status, reply);
		log_refusal(shard, source, rq, done->code, NULL);
	} else if (done->code != ERR_OK &&
		   gate_opens(shard, shard->ingress->clock->mono_ms(shard->ingress->clock))) {
		log_info("request_unusable", log_code(done->code), log_str("source", source),
			log_str("request_id", rq->request_id),
			log_text("event_id", intake->admission.event_id));
	} else {
		log_debug("request_accepted", log_code(done->code), log_str("source", source),
			log_str("request_id", rq->request_id),
			log_text("event_id", intake->admission.event_id));
	}
}

/* detail: of the scheme, for the log; or NULL. */
static void refuse(struct shard *shard, const struct serve_request *rq, enum err_code code,
	unsigned status, const char *detail, struct serve_reply *reply)
{
	const struct intake *intake = rq->user;

	stats_count(intake ? intake->source->stats : shard->ingress->nobody, code);
	fill_problem(shard, rq, code, status, reply);
	log_refusal(shard, intake ? intake->source->config->name : "", rq, code, detail);
}

/* ---- the head ----------------------------------------------------------------------------------
 */

static struct slice source_name(const struct serve_request *rq)
{
	struct slice name = slice_sub(rq->path, HOOKS.len, rq->path.len);

	if (!slice_starts(rq->path, HOOKS) || slice_find(name, '/') < name.len)
		return SLICE_EMPTY;
	return name;
}

static void fill_request(struct shard *shard, const struct serve_request *rq,
	const struct source *source, struct admit_request *out)
{
	int64_t mono_ms = shard->ingress->clock->mono_ms(shard->ingress->clock);

	*out = (struct admit_request){
		.source = source ? source->config : NULL,
		.scheme = source ? source->scheme : NULL,
		.http = { .method = rq->method,
			.path = rq->path,
			.query = rq->query,
			.has_query = rq->has_query,
			.headers = rq->headers,
			.header_count = rq->header_count,
			.body = rq->body,
			.peer_sans = rq->peer_sans,
			.peer_san_count = rq->peer_san_count },
		.declared = rq->content_length,
		.max_body = rq->max_body,
		.client = slice_str(rq->client),
		.request_id = slice_str(rq->request_id),
		.now_ms = shard->ingress->clock->wall_ms(shard->ingress->clock),
		.mono_ms = mono_ms,
		.is_learning = source && scheme_learns(source->scheme) &&
			       learn_waits(&shard->ingress->learn, source->config->name, mono_ms),
	};
}

/* The text lives until the reply is copied, which is before the next request. */
static void allow(const struct source *source, struct serve_reply *reply)
{
	static const char *const methods[] = { "GET", "HEAD", "OPTIONS", "POST", "PUT" };
	static _Thread_local char text[64];
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		if (scheme_takes_method(source->scheme, slice_str(methods[i])))
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
				len > 0 ? ", " : "", methods[i]);
	}
	add_header(reply, SLICE_LIT("Allow"), (struct slice){ (const uint8_t *)text, len });
}

/* What an admission says, as a reply. */
static enum serve_next refuse_admission(struct shard *shard, const struct serve_request *rq,
	const struct intake *intake, const char *detail, struct serve_reply *reply)
{
	const struct admission *a = &intake->admission;

	refuse(shard, rq, a->code, a->status, detail, reply);
	if (a->code == ERR_METHOD_NOT_ALLOWED)
		allow(intake->source, reply);
	if (a->code == ERR_RATE_LIMITED)
		retry_after(reply, (a->wait_ms + 999) / 1000);
	return SERVE_REPLY;
}

static void start_visit(const struct intake *intake, const struct scheme_answer *answer)
{
	const char *source = intake->source->config->name;
	struct err err = ERR_INIT;

	if (answer->visit_refused)
		log_warn("visit_refused", log_str("source", source),
			log_str("detail", answer->visit_refused));
	if (answer->visit.len > 0 &&
		scheme_visit(intake->source->scheme, source, answer, &err) != ERR_OK)
		log_warn("visit_failed", log_str("source", source), log_str("detail", err.text));
}

static void fill_handshake(
	struct intake *intake, const struct serve_request *rq, struct serve_reply *reply)
{
	const struct scheme_answer *answer = &intake->shard->tools.answer;

	stats_count(intake->source->stats, ERR_OK);
	reply->status = answer->status;
	reply->content_type = answer->content_type;
	reply->body = buf_slice(&answer->body);
	for (size_t i = 0; i < answer->header_count; i++)
		add_header(reply, answer->headers[i].name, answer->headers[i].value);
	start_visit(intake, answer);
	log_debug("handshake_answered", log_str("source", intake->source->config->name),
		log_str("request_id", rq->request_id));
}

/* Why nobody takes the key that a sender may be telling. */
static const char *hint(const struct intake *intake)
{
	if (intake->admission.code != ERR_MISSING_SIGNATURE ||
		!scheme_learns(intake->source->scheme))
		return NULL;
	return "no signature; should its sender be telling its key, see: postern learn --help";
}

/* On disk before the sender is told so: it tells its key once. */
static void keep_learnt(
	struct intake *intake, const struct serve_request *rq, struct serve_reply *reply)
{
	struct shard *shard = intake->shard;
	struct err err = ERR_INIT;
	enum err_code rc = learn_keep(&shard->ingress->learn, intake->source->config->name,
		&shard->tools.learnt, rq->client, &err);

	secret_done(&shard->tools.learnt);
	if (rc == ERR_OK)
		fill_handshake(intake, rq, reply);
	else
		refuse(shard, rq, ERR_UNAVAILABLE, err_status(ERR_UNAVAILABLE), err.text, reply);
}

static enum serve_next on_head(void *ctx, struct serve_request *rq, struct serve_reply *reply)
{
	struct shard *shard = ctx;
	struct tenure *tenure = tenure_now(shard);
	struct source *source = tenure ? table_source(tenure->table, source_name(rq)) : NULL;
	struct intake *intake = source ? intake_take(shard, tenure, source) : NULL;
	struct admit_request admit;

	if (!intake) {
		enum err_code code = source || !tenure ? ERR_UNAVAILABLE : ERR_UNKNOWN_SOURCE;

		refuse(shard, rq, code, err_status(code), NULL, reply);
		return SERVE_REPLY;
	}
	rq->user = intake;
	fill_request(shard, rq, source, &admit);
	admit_head(&admit, &shard->rates, &shard->tools, &intake->admission);
	if (intake->admission.next == ADMIT_GO_ON)
		return SERVE_CONTINUE;
	if (intake->admission.next == ADMIT_ANSWER) {
		fill_handshake(intake, rq, reply);
		return SERVE_REPLY;
	}
	return refuse_admission(shard, rq, intake, hint(intake), reply);
}

/* ---- the whole request -------------------------------------------------------------------------
 */

static void note_match(struct intake *intake, int64_t now_ms)
{
	const struct source *source = intake->source;
	int key = intake->admission.key;

	if (key >= 0 && intake->shard->tools.verdict.code == ERR_OK)
		stats_match(source->stats, source->keys[key],
			scheme_key_role(source->scheme, (size_t)key), now_ms);
}

/* Nothing has to become durable before this is answered. */
static void fill_empty(struct intake *intake, struct serve_request *rq, struct serve_reply *reply)
{
	struct completion done;

	intake->request = rq;
	http_completion(intake, ERR_OK, &done);
	http_conclude(intake, &done, reply);
	intake->request = NULL;
	intake->is_answered = true;
}

static enum serve_next on_ready(void *ctx, struct serve_request *rq, struct serve_reply *reply)
{
	struct shard *shard = ctx;
	struct intake *intake = rq->user;
	struct admission *admission = &intake->admission;
	struct admit_request admit;

	fill_request(shard, rq, intake->source, &admit);
	ingress_random(shard, admit.attempt, sizeof(admit.attempt));
	ingress_random(shard, admit.trace, sizeof(admit.trace));
	admit_whole(&admit, &shard->tools, admission);
	note_match(intake, admit.now_ms);
	switch (admission->next) {
	case ADMIT_REFUSE:
		return refuse_admission(shard, rq, intake, shard->tools.verdict.detail, reply);
	case ADMIT_ANSWER: fill_handshake(intake, rq, reply); break;
	case ADMIT_LEARN: keep_learnt(intake, rq, reply); break;
	case ADMIT_EMPTY: fill_empty(intake, rq, reply); break;
	case ADMIT_APPEND:
		intake->request = rq;
		ack_add(intake);
		return SERVE_DEFER;
	case ADMIT_GO_ON: assert(false); break;
	}
	return SERVE_REPLY;
}

/* ---- the rest ----------------------------------------------------------------------------------
 */

static void on_refused(void *ctx, struct serve_request *rq, enum err_code code, unsigned status,
	struct serve_reply *reply)
{
	struct shard *shard = ctx;
	struct intake *intake = rq->user;

	if (intake)
		intake->is_answered = true; /* its records may still be out */
	refuse(shard, rq, code, status, NULL, reply);
}

static void on_finished(void *ctx, struct serve_request *rq, unsigned status)
{
	struct shard *shard = ctx;
	struct intake *intake = rq->user;
	struct source_stats *stats = intake ? intake->source->stats : shard->ingress->nobody;
	int64_t took_ns = shard->ingress->clock->mono_ns(shard->ingress->clock) - rq->start_mono_ns;

	if (status != 0)
		metric_observe(stats->duration, (double)took_ns / 1e9);
	if (!intake)
		return;
	rq->user = NULL;
	intake->is_over = true;
	intake_release(intake);
}

/* For all shards, by the first. */
static void once_a_second(struct ingress *in, int64_t now_ms)
{
	int64_t dropped;

	stats_rate(&in->stats, now_ms);
	metric_set(metric_series(METRIC_CONNECTIONS, NULL, NULL), (int64_t)ingress_connections(in));
	lock_take(&in->lock);
	dropped = log_gate_dropped(&in->gate, now_ms);
	lock_give(&in->lock);
	tell_dropped(dropped);
}

static void on_tick(void *ctx)
{
	struct shard *shard = ctx;
	struct ingress *in = shard->ingress;
	int64_t now_ms = in->clock->mono_ms(in->clock);

	lock_take(&shard->lock);
	shard->connections = serve_connections(shard->serve);
	shard->turn_ms = now_ms;
	lock_give(&shard->lock);
	(void)tenure_now(shard); /* an old table goes soon, although no request may come */
	ack_take(shard);
	if (shard == in->shards && now_ms / 1000 != shard->second) {
		shard->second = now_ms / 1000;
		once_a_second(in, now_ms);
	}
}

static void on_turn(void *ctx)
{
	ack_flush(ctx);
}

const struct serve_ops http_ops = {
	.head = on_head,
	.ready = on_ready,
	.refused = on_refused,
	.finished = on_finished,
	.tick = on_tick,
	.turn = on_turn,
};
