/* admit.c - what becomes of a request, and the record that is made of it.
 *
 *   head:   source -> method -> size -> rate -> open handshake -> signature and time present
 *   whole:  key that is waited for -> verify -> signed handshake -> method -> mapping -> record,
 *           or one for each element
 *
 * Deliberately not here: HTTP answers (http.c), waiting for the disk (ack.c), verifying (scheme).
 */
#include "admit.h"

#include "postern/text.h"

#include <stdio.h>
#include <stdlib.h>

void admit_tools_done(struct admit_tools *tools)
{
	scheme_verdict_done(&tools->verdict);
	scheme_mapped_done(&tools->mapped);
	scheme_answer_done(&tools->answer);
	secret_done(&tools->learnt);
}

static void free_elements(struct admission *a)
{
	while (a->elements) {
		struct element *element = a->elements;

		a->elements = element->next;
		free(element);
	}
}

void admission_reset(struct admission *a)
{
	struct buf headers = a->headers, text = a->text;

	free_elements(a);
	*a = ADMISSION_INIT;
	a->headers = headers;
	a->text = text;
	buf_reset(&a->headers);
	buf_reset(&a->text);
}

void admission_done(struct admission *a)
{
	free_elements(a);
	buf_done(&a->headers);
	buf_done(&a->text);
}

/* ---- refusals ----------------------------------------------------------------------------------
 */

static bool is_the_schemes(enum err_code code)
{
	static const bool codes[ERR_CODES] = { [ERR_MISSING_SIGNATURE... ERR_CLOCK_SKEW] = true };

	return codes[code];
}

static void decide(struct admission *out, enum admit_next next, enum err_code code, unsigned status)
{
	out->next = next;
	out->code = code;
	out->status = status;
}

static void refuse(const struct admit_request *rq, enum err_code code, struct admission *out)
{
	unsigned status = err_status(code);

	if (is_the_schemes(code) && scheme_reject_status(rq->scheme) != 0)
		status = scheme_reject_status(rq->scheme);
	decide(out, ADMIT_REFUSE, code, status);
}

static bool is_post(const struct admit_request *rq)
{
	return slice_eq_str(rq->http.method, "POST");
}

/* ---- the head ----------------------------------------------------------------------------------
 */

static int64_t wait_for_rate(const struct admit_request *rq, const struct admit_rates *rates)
{
	int64_t wait_ms = limit_take(rates->clients, rq->client, &rates->client_rate, rq->mono_ms);

	if (wait_ms > 0)
		return wait_ms;
	return limit_take(
		rates->sources, slice_str(rq->source->name), &rq->source->rate, rq->mono_ms);
}

/* Requests that are kept although they are refused are wanted whole; so is one that may tell a key.
 */
static enum err_code precheck(const struct admit_request *rq)
{
	if (!is_post(rq) || rq->source->quarantine_refused || rq->is_learning)
		return ERR_OK;
	return scheme_precheck(rq->scheme, &rq->http);
}

void admit_head(const struct admit_request *rq, const struct admit_rates *rates,
	struct admit_tools *tools, struct admission *out)
{
	enum err_code code;

	if (!rq->source) {
		refuse(rq, ERR_UNKNOWN_SOURCE, out);
		return;
	}
	if (!scheme_takes_method(rq->scheme, rq->http.method)) {
		refuse(rq, ERR_METHOD_NOT_ALLOWED, out);
		return;
	}
	if (rq->declared != UINT64_MAX && rq->declared > rq->max_body) {
		refuse(rq, ERR_TOO_LARGE, out);
		return;
	}
	out->wait_ms = wait_for_rate(rq, rates);
	if (out->wait_ms > 0) {
		refuse(rq, ERR_RATE_LIMITED, out);
		return;
	}
	/* A handshake without a signature never reads the body. */
	if (scheme_handshake(rq->scheme, &rq->http, NULL, rq->now_ms, &tools->answer)) {
		decide(out, ADMIT_ANSWER, ERR_OK, tools->answer.status);
		return;
	}
	code = precheck(rq);
	if (code == ERR_OK)
		decide(out, ADMIT_GO_ON, ERR_OK, 0);
	else
		refuse(rq, code, out);
}

/* ---- the record --------------------------------------------------------------------------------
 */

/* What the slices of an event point to while it is encoded. */
struct draft {
	struct event event;
	struct header kept[ADMIT_KEPT_MAX];
	uint8_t digest[32];
	char digest_hex[65], replay_hex[65], attempt_hex[2 * ATTEMPT_LEN + 1], trace[TRACE_LEN + 1];
};

static struct slice first_header(
	const struct scheme_request *http, struct slice name, size_t *count)
{
	struct slice found = SLICE_EMPTY;

	*count = 0;
	for (size_t i = 0; i < http->header_count; i++) {
		if (slice_eq_nocase(http->headers[i].name, name) && (*count)++ == 0)
			found = http->headers[i].value;
	}
	return found;
}

static void draft_trace(const struct admit_request *rq, struct draft *d)
{
	size_t count;
	struct slice given = first_header(&rq->http, SLICE_LIT("traceparent"), &count);

	if (count == 1 && trace_is_valid(given)) {
		d->event.traceparent = given;
		return;
	}
	trace_start(rq->trace, d->trace);
	d->event.traceparent = slice_str(d->trace);
}

static void draft_kept(const struct admit_request *rq, struct draft *d)
{
	size_t n = 0;

	for (size_t i = 0; i < rq->http.header_count && n < ADMIT_KEPT_MAX; i++) {
		if (scheme_keeps_header(rq->scheme, rq->http.headers[i].name))
			d->kept[n++] = rq->http.headers[i];
	}
	d->event.kept = d->kept;
	d->event.kept_count = n;
}

static void draft_key(const struct admit_request *rq, int key, struct draft *d)
{
	if (key >= 0)
		d->event.key_used = slice_str(scheme_key_used(rq->scheme, (size_t)key));
}

/* Elements of one body are records of their own: each has an attempt that follows from the
 * request's, so that a copy of an element is known by it as a copy of a whole request is. */
static void draft_attempt(
	const struct admit_request *rq, const struct scheme_mapped *mapped, struct draft *d)
{
	uint8_t digest[32], index[8];
	const struct slice pieces[] = { { rq->attempt, ATTEMPT_LEN }, { index, sizeof(index) } };

	memcpy(d->event.attempt, rq->attempt, ATTEMPT_LEN);
	if (mapped && mapped->is_item) {
		put_le64(index, mapped->index);
		crypto_digest(CRYPTO_SHA256, pieces, ARRAY_LEN(pieces), digest);
		memcpy(d->event.attempt, digest, ATTEMPT_LEN);
	}
	text_hex(d->event.attempt, ATTEMPT_LEN, d->attempt_hex);
}

/* All that holds whether the body can be mapped or not. */
static void draft_common(const struct admit_request *rq, const struct admit_tools *tools,
	const struct scheme_mapped *mapped, struct draft *d)
{
	const struct scheme_verdict *verdict = &tools->verdict;
	size_t count;

	d->event = (struct event){
		.source = slice_str(rq->source->name),
		.tenant = slice_str(rq->source->tenant),
		.time_ms = verdict->signed_ms != INT64_MIN ? verdict->signed_ms : rq->now_ms,
		.received_ms = rq->now_ms,
		.content_type = first_header(&rq->http, SLICE_LIT("content-type"), &count),
		.request_id = rq->request_id,
	};
	draft_attempt(rq, mapped, d);
	draft_trace(rq, d);
	draft_kept(rq, d);
	draft_key(rq, verdict->key, d);
}

static void draft_digests(
	const struct admit_request *rq, const struct scheme_mapped *mapped, struct draft *d)
{
	if (mapped && mapped->has_replay) {
		text_hex(mapped->replay, sizeof(mapped->replay), d->replay_hex);
		d->event.replay = slice_str(d->replay_hex);
	}
	if (mapped && mapped->has_replay && mapped->replay_is_digest)
		memcpy(d->digest, mapped->replay, sizeof(d->digest));
	else
		crypto_sha256(mapped ? mapped->body : rq->http.body, d->digest);
	text_hex(d->digest, sizeof(d->digest), d->digest_hex);
	d->event.digest = slice_str(d->digest_hex);
}

static void draft_mapped(const struct scheme_mapped *mapped, struct draft *d)
{
	d->event.id = mapped->has_no_id ? slice_str(d->attempt_hex) : mapped->id;
	d->event.type = mapped->type;
	d->event.entity = mapped->entity;
	d->event.version = mapped->version;
	d->event.base = mapped->base;
	d->event.gap_first = mapped->gap[0];
	d->event.gap_last = mapped->gap[1];
}

/* A request without a full meaning is known by its attempt. What could be read of it says which
 * route and entity it is for once somebody accepts it. */
static void draft_quarantine(
	const struct scheme_mapped *mapped, enum err_code code, struct draft *d)
{
	if (mapped)
		draft_mapped(mapped, d);
	d->event.gap_first = d->event.gap_last = SLICE_EMPTY;
	d->event.id = slice_str(d->attempt_hex);
	d->event.quarantine = slice_str(err_name(code));
}

/* The key is made of what is signed, so that a replay under a fresh id meets the first copy. */
static bool is_keyed_by_replay(const struct admit_request *rq, const struct event *event)
{
	if (event->replay.len == 0 || scheme_id_is_signed(rq->scheme))
		return false;
	return event->entity.len == 0 || !scheme_entity_is_signed(rq->scheme);
}

static enum err_code finish(const struct admit_request *rq, const struct event *event,
	struct slice body, struct admission *out)
{
	enum err_code rc;
	size_t key_len;

	buf_reset(&out->headers);
	buf_reset(&out->text);
	rc = event_encode(event, &out->headers, NULL);
	if (rc == ERR_OK)
		rc = event_key(event, is_keyed_by_replay(rq, event), &out->text, NULL);
	key_len = out->text.len;
	if (rc == ERR_OK)
		rc = buf_put_slice(&out->text, event->id, NULL);
	if (rc != ERR_OK)
		return rc;
	out->record = (struct record){
		.key = slice_sub(buf_slice(&out->text), 0, key_len),
		.headers = buf_slice(&out->headers),
		.body = body,
		.spools = rq->source->ack_from_spool,
	};
	memcpy(out->record.attempt, event->attempt, ATTEMPT_LEN);
	out->event_id = slice_sub(buf_slice(&out->text), key_len, event->id.len);
	return ERR_OK;
}

/* ---- the whole request -------------------------------------------------------------------------
 */

/* mapped NULL: nothing is known of the event. False without memory. */
static bool quarantine(const struct admit_request *rq, const struct admit_tools *tools,
	const struct scheme_mapped *mapped, enum err_code code, struct admission *out)
{
	struct draft draft = { .digest_hex = "" };
	struct slice body = mapped ? mapped->body : rq->http.body;
	enum err_code rc;

	draft_common(rq, tools, mapped, &draft);
	draft_digests(rq, mapped, &draft);
	draft_quarantine(mapped, code, &draft);
	rc = finish(rq, &draft.event, body, out);
	if (rc == ERR_LIMIT) { /* texts of the request that no record can hold */
		draft.event.type = draft.event.entity = draft.event.base = SLICE_EMPTY;
		draft.event.version = (struct version){ .kind = VERSION_NONE };
		draft.event.kept_count = 0;
		draft.event.content_type = SLICE_EMPTY;
		rc = finish(rq, &draft.event, body, out);
	}
	return rc == ERR_OK;
}

static void refuse_verdict(
	const struct admit_request *rq, const struct admit_tools *tools, struct admission *out)
{
	enum err_code code = tools->verdict.code;

	refuse(rq, code, out);
	/* Without memory to keep it, it is refused all the same. */
	if (rq->source->quarantine_refused && is_the_schemes(code) &&
		quarantine(rq, tools, NULL, code, out))
		out->next = ADMIT_APPEND;
}

static void accept_event(
	const struct admit_request *rq, const struct admit_tools *tools, struct admission *out)
{
	const struct scheme_mapped *mapped = &tools->mapped;
	struct draft draft = { .digest_hex = "" };
	enum err_code code = mapped->code;
	enum err_code rc = ERR_LIMIT;

	if (code == ERR_OK) {
		draft_common(rq, tools, mapped, &draft);
		draft_digests(rq, mapped, &draft);
		draft_mapped(mapped, &draft);
		draft.event.refetch =
			scheme_refetches(rq->scheme) ? SLICE_LIT("true") : SLICE_EMPTY;
		rc = finish(rq, &draft.event, mapped->body, out);
		if (rc != ERR_OK && rc != ERR_NOMEM)
			code = ERR_MALFORMED_BODY; /* more than a record can say */
	}
	if (rc == ERR_OK || (code != ERR_OK && quarantine(rq, tools, mapped, code, out)))
		decide(out, ADMIT_APPEND, code, err_status(code));
	else
		refuse(rq, ERR_UNAVAILABLE, out);
}

/* ---- several events in one body ----------------------------------------------------------------
 */

static struct slice keep(uint8_t **at, struct slice bytes)
{
	struct slice kept = { *at, bytes.len };

	if (bytes.len > 0)
		memcpy(*at, bytes.data, bytes.len);
	*at += bytes.len;
	return kept;
}

/* The record that was just made, with bytes of its own. False without memory. */
static bool add_element(struct admission *out, struct element ***tail)
{
	const struct record *made = &out->record;
	struct slice text = buf_slice(&out->text);
	struct element *element =
		malloc(sizeof(*element) + made->headers.len + text.len + made->body.len);
	uint8_t *at;

	if (!element)
		return false;
	element->next = NULL;
	element->record = *made;
	at = element->bytes;
	element->record.headers = keep(&at, made->headers);
	text = keep(&at, text);
	element->record.key = slice_sub(text, 0, made->key.len);
	element->record.body = keep(&at, made->body);
	if (out->element_count++ == 0)
		out->event_id = slice_sub(text, made->key.len, text.len);
	**tail = element;
	*tail = &element->next;
	return true;
}

/* One element's record into out, as if it had come alone. False: it cannot be kept now. */
static bool accept_one(const struct admit_request *rq, const struct admit_tools *tools,
	struct admission *out, struct element ***tail)
{
	struct slice first = out->event_id;
	bool ok;

	if (tools->mapped.code == ERR_UNAVAILABLE)
		return false;
	accept_event(rq, tools, out);
	ok = out->next == ADMIT_APPEND;
	if (out->element_count > 0)
		out->event_id = first;
	return ok && add_element(out, tail);
}

/* All or nothing: a sender repeats the whole body. One event that can be worked makes it accepted.
 */
static void accept_events(
	const struct admit_request *rq, struct admit_tools *tools, struct admission *out)
{
	struct scheme_events events = SCHEME_EVENTS_INIT;
	struct element **tail = &out->elements;
	enum err_code code = ERR_OK;
	bool is_any_fine = false;

	out->is_split = true;
	while (scheme_events_next(
		rq->scheme, &rq->http, &tools->verdict, &events, &tools->mapped)) {
		if (!accept_one(rq, tools, out, &tail)) {
			refuse(rq, ERR_UNAVAILABLE, out);
			return;
		}
		is_any_fine |= out->code == ERR_OK;
		code = code == ERR_OK ? out->code : code;
	}
	code = is_any_fine ? ERR_OK : code;
	decide(out, out->element_count > 0 ? ADMIT_APPEND : ADMIT_EMPTY, code, err_status(code));
}

void admit_whole(const struct admit_request *rq, struct admit_tools *tools, struct admission *out)
{
	if (rq->is_learning &&
		scheme_learn(rq->scheme, &rq->http, &tools->answer, &tools->learnt)) {
		decide(out, ADMIT_LEARN, ERR_OK, tools->answer.status);
		return;
	}
	scheme_verify(rq->scheme, &rq->http, rq->now_ms, &tools->verdict);
	out->key = tools->verdict.key;
	if (tools->verdict.code != ERR_OK) {
		if (is_post(rq))
			refuse_verdict(rq, tools, out);
		else
			refuse(rq, ERR_METHOD_NOT_ALLOWED, out); /* no handshake wanted it */
		return;
	}
	if (scheme_handshake(rq->scheme, &rq->http, &tools->verdict, rq->now_ms, &tools->answer)) {
		decide(out, ADMIT_ANSWER, ERR_OK, tools->answer.status);
		return;
	}
	if (!is_post(rq)) {
		refuse(rq, ERR_METHOD_NOT_ALLOWED, out);
		return;
	}
	if (scheme_splits(rq->scheme)) {
		accept_events(rq, tools, out);
		return;
	}
	scheme_map(rq->scheme, &rq->http, &tools->verdict, &tools->mapped);
	if (tools->mapped.code == ERR_UNAVAILABLE)
		refuse(rq, ERR_UNAVAILABLE, out);
	else
		accept_event(rq, tools, out);
}

void admit_without_body(
	const struct admit_request *rq, struct admit_tools *tools, struct admission *out)
{
	if (quarantine(rq, tools, NULL, ERR_TOO_LARGE, out)) {
		out->record.body = SLICE_EMPTY;
		decide(out, ADMIT_APPEND, ERR_TOO_LARGE, err_status(ERR_TOO_LARGE));
	} else {
		refuse(rq, ERR_UNAVAILABLE, out);
	}
}
