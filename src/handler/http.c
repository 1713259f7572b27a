/* http.c - hands an event to a URL: the raw body in a POST, the envelope in headers.
 *
 * Headers: Idempotency-Key, the CloudEvents HTTP binding in binary mode, and a Standard Webhooks
 * signature where the route has a key. Deliberately not here: sockets (fetch), retries and the
 * breaker's use (worker). Source: CloudEvents HTTP protocol binding 1.0.2 section 3.1.3.2 (encoding
 * of values), Standard Webhooks. */
#include "handler_priv.h"

#include "postern/clock.h"
#include "postern/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define HEADERS_MAX 16
#define FIXED_TEXT_MAX 512 /* times, the signature, and other values of known length */

struct http {
	struct handler base;
	struct fetch *fetch;
	const struct route_config *route;
	struct crypto_mac *mac; /* NULL: unsigned */
};
struct http_call {
	struct fetch_call fetch;
	struct handler_call *call;
	int64_t started_ms;
	struct buf text; /* reserved whole before the first value: headers point into it */
	struct header headers[HEADERS_MAX];
};

enum err_code handler_http_check(const struct route_config *route, struct config_report *report,
	struct crypto_mac **out, struct err *err)
{
	struct err why = ERR_INIT;

	*out = NULL;
	if (fetch_check_url(route->handler.url, &why) != ERR_OK) {
		if (report)
			config_report_add(report, PROBLEM_ERROR, route->pointer, route->line,
				"handler url: %s", why.text);
		return err_set(err, ERR_CONFIG, "route %s: %s", route->name, why.text);
	}
	return handler_sign_key(&route->handler.sign_key, report, out, err);
}

static enum err_code http_open(
	const struct handler_opts *opts, struct handler **out, struct err *err)
{
	const struct route_config *route = opts->route;
	struct crypto_mac *mac = NULL;
	struct http *http;
	enum err_code rc;

	assert(opts->fetch && route->handler.url);
	rc = handler_http_check(route, opts->report, &mac, err);
	if (rc != ERR_OK)
		return rc;
	http = calloc(1, sizeof(*http));
	if (!http) {
		crypto_mac_close(&mac);
		return err_set(err, ERR_NOMEM, "no memory for a handler");
	}
	http->mac = mac;
	http->base.ops = &handler_http;
	http->fetch = opts->fetch;
	http->route = route;
	*out = &http->base;
	return ERR_OK;
}

static void http_close(struct handler *handler)
{
	struct http *http = container_of(handler, struct http, base);

	crypto_mac_close(&http->mac);
	free(http);
}

/* ---- the request -------------------------------------------------------------------------------
 */

/* Values from outside that are passed on as they are, must not end a header line. */
static bool is_plain(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] < ' ' || s.data[i] == 0x7f)
			return false;
	return s.len > 0;
}

static void add(struct http_call *http_call, const char *name, struct slice value)
{
	assert(http_call->fetch.header_count < HEADERS_MAX);
	http_call->headers[http_call->fetch.header_count++] =
		(struct header){ slice_str(name), value };
}

static void add_plain(struct http_call *http_call, const char *name, struct slice value)
{
	if (is_plain(value))
		add(http_call, name, value);
}

/* What was put into the text since `from`. The memory was reserved, so putting cannot have failed.
 */
static void add_text(struct http_call *http_call, const char *name, size_t from, enum err_code rc)
{
	assert(rc == ERR_OK);
	add(http_call, name, slice_sub(buf_slice(&http_call->text), from, http_call->text.len));
}

/* Printable ASCII but for blank, '"' and '%' stands as it is. */
static void add_encoded(struct http_call *http_call, const char *name, struct slice value)
{
	static const char keep[] = "!#$&'()*+,/:;<=>?@[\\]^`{|}";
	size_t from = http_call->text.len;

	if (value.len > 0)
		add_text(http_call, name, from,
			text_percent_encode(value, keep, &http_call->text, NULL));
}

static void add_event(struct http_call *http_call, const struct event *event)
{
	struct buf *text = &http_call->text;
	char time[TEXT_TIME_LEN];
	size_t from = text->len;
	enum err_code rc = buf_put_u8(text, '/', NULL);

	if (rc == ERR_OK)
		rc = text_percent_encode(event->tenant, "", text, NULL);
	if (rc == ERR_OK)
		rc = buf_put_u8(text, '/', NULL);
	if (rc == ERR_OK)
		rc = text_percent_encode(event->source, "", text, NULL);
	add_text(http_call, "ce-source", from, rc);
	from = text->len;
	text_time_ms(event->time_ms, time);
	add_text(http_call, "ce-time", from, buf_put_str(text, time, NULL));
	add(http_call, "ce-specversion", SLICE_LIT("1.0"));
	add_encoded(http_call, "ce-id", event->id);
	add_encoded(http_call, "ce-type", event->type.len > 0 ? event->type : event->source);
	add_encoded(http_call, "ce-subject", event->entity);
	add_encoded(http_call, "postern-redrive", event->redrive);
	add_plain(http_call, "content-type", event->content_type);
	add_plain(http_call, "traceparent", event->traceparent);
}

/* MAC over "id.timestamp.body". */
static enum err_code add_signature(
	struct http_call *http_call, struct crypto_mac *mac, struct slice id, struct err *err)
{
	uint8_t digest[CRYPTO_DIGEST_MAX];
	char seconds[24];
	size_t from = http_call->text.len;
	struct slice pieces[5];
	enum err_code rc;

	(void)snprintf(seconds, sizeof(seconds), "%lld",
		(long long)(clock_system()->wall_ms(clock_system()) / 1000));
	add_text(
		http_call, "webhook-timestamp", from, buf_put_str(&http_call->text, seconds, NULL));
	add(http_call, "webhook-id", id);
	pieces[0] = id;
	pieces[1] = pieces[3] = SLICE_LIT(".");
	pieces[2] = slice_str(seconds);
	pieces[4] = http_call->fetch.body;
	rc = crypto_mac(mac, pieces, ARRAY_LEN(pieces), digest, err);
	if (rc != ERR_OK)
		return rc;
	from = http_call->text.len;
	rc = buf_put_str(&http_call->text, "v1,", NULL);
	if (rc == ERR_OK)
		rc = text_base64((struct slice){ digest, crypto_digest_len(CRYPTO_SHA256) },
			&http_call->text, NULL);
	add_text(http_call, "webhook-signature", from, rc);
	return ERR_OK;
}

static enum err_code add_headers(
	struct http_call *http_call, struct crypto_mac *mac, struct err *err)
{
	const struct event *event = http_call->call->event;
	size_t most =
		FIXED_TEXT_MAX +
		3 * (2 * (event->tenant.len + event->source.len + event->id.len) + event->type.len +
			    event->source.len + event->entity.len + event->redrive.len);
	enum err_code rc;

	http_call->text = BUF_INIT(most);
	rc = buf_reserve(&http_call->text, most, err);
	if (rc != ERR_OK)
		return rc;
	add_text(http_call, "idempotency-key", 0,
		handler_idempotency_key(event, &http_call->text, NULL));
	add_event(http_call, event);
	return mac ? add_signature(http_call, mac, http_call->headers[0].value, err) : ERR_OK;
}

/* ---- the answer --------------------------------------------------------------------------------
 */

/* The first row that the status fits in. */
static const struct status_row {
	unsigned first, last;
	enum handler_verdict verdict;
	enum err_code code;
} status_rows[] = {
	{ 200, 299, HANDLER_DONE, ERR_OK },
	{ 408, 408, HANDLER_RETRY, ERR_HANDLER_FAILED },
	{ 425, 425, HANDLER_RETRY, ERR_HANDLER_FAILED },
	{ 429, 429, HANDLER_RETRY, ERR_HANDLER_FAILED },
	{ 500, 599, HANDLER_RETRY, ERR_HANDLER_FAILED },
	{ 0, 999, HANDLER_NEVER, ERR_HANDLER_REFUSED },
};

static void read_status(struct handler_call *call, const struct fetch_call *fetch)
{
	const struct status_row *row = status_rows;

	while (fetch->status < row->first || fetch->status > row->last)
		row++;
	call->status = fetch->status;
	call->verdict = row->verdict;
	call->code = row->code;
	if (row->verdict != HANDLER_DONE)
		(void)snprintf(call->error, sizeof(call->error), "status %u", fetch->status);
	if (row->verdict == HANDLER_RETRY && fetch->retry_after_ms >= 0)
		call->retry_after_ms = fetch->retry_after_ms < HANDLER_RETRY_AFTER_MAX_MS
					       ? fetch->retry_after_ms
					       : HANDLER_RETRY_AFTER_MAX_MS;
}

static void read_failure(struct handler_call *call, const struct fetch_call *fetch)
{
	call->verdict = fetch->code == ERR_STOPPED ? HANDLER_CANCELLED : HANDLER_RETRY;
	if (fetch->code == ERR_STOPPED)
		call->code = ERR_STOPPED;
	else if (fetch->code == ERR_TIMEOUT)
		call->code = ERR_HANDLER_TIMEOUT;
	else
		call->code = ERR_HANDLER_UNREACHABLE;
	(void)snprintf(call->error, sizeof(call->error), "%s", fetch->error);
}

static void free_call(struct http_call *http_call)
{
	buf_done(&http_call->fetch.answer);
	buf_done(&http_call->text);
	free(http_call);
}

static void on_answer(struct fetch_call *fetch)
{
	struct http_call *http_call = container_of(fetch, struct http_call, fetch);
	struct handler_call *call = http_call->call;

	if (fetch->code == ERR_OK)
		read_status(call, fetch);
	else
		read_failure(call, fetch);
	call->took_ms = clock_system()->mono_ms(clock_system()) - http_call->started_ms;
	call->priv = NULL;
	free_call(http_call);
	call->done(call);
}

static enum err_code http_start(struct handler *handler, struct handler_call *call, struct err *err)
{
	struct http *http = container_of(handler, struct http, base);
	struct http_call *http_call = calloc(1, sizeof(*http_call));
	enum err_code rc;

	if (!http_call)
		return err_set(err, ERR_NOMEM, "no memory for a call");
	http_call->call = call;
	http_call->started_ms = clock_system()->mono_ms(clock_system());
	http_call->fetch = (struct fetch_call){
		.url = http->route->handler.url,
		.body = call->body,
		.headers = http_call->headers,
		.timeout_ms = http->route->handler.timeout_ms,
		.done = on_answer,
	};
	call->priv = http_call;
	rc = add_headers(http_call, http->mac, err);
	if (rc == ERR_OK)
		rc = fetch_start(http->fetch, &http_call->fetch, err);
	if (rc != ERR_OK) {
		call->priv = NULL;
		free_call(http_call);
	}
	return rc;
}

const struct handler_ops handler_http = {
	.name = "http",
	.open = http_open,
	.start = http_start,
	.close = http_close,
};
