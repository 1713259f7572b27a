/* again.c - a refused request that was kept, admitted after all: as it would have been when it
 * came.
 *
 *   kept record -> the request, as far as it was kept -> admit_whole() -> headers and key
 *
 * The query is not kept, and neither is a header that is a credential by itself: schemes that need
 * these cannot judge a request again. Deliberately not here: what a record says (admit.c), and what
 * becomes of this one (worker). */
#include "postern/ingress.h"

#include "admit.h"

#define HEADERS_MAX (ADMIT_KEPT_MAX + 2) /* with content-type and traceparent */

struct again {
	struct event event; /* as it was kept */
	struct header headers[HEADERS_MAX];
	struct admit_request rq;
	struct admit_tools tools;
	struct admission out;
};

/* The record has its own place for these; one that the scheme read was kept besides. */
static void add_own(struct again *a, const char *name, struct slice value)
{
	struct scheme_request *http = &a->rq.http;

	for (size_t i = 0; i < http->header_count; i++) {
		if (slice_eq_nocase(http->headers[i].name, slice_str(name)))
			return;
	}
	if (value.len > 0)
		a->headers[http->header_count++] =
			(struct header){ .name = slice_str(name), .value = value };
}

static void restore(struct again *a, const struct source_config *source,
	const struct scheme *scheme, const struct record *record)
{
	struct scheme_request *http = &a->rq.http;
	size_t at = 0;

	a->rq = (struct admit_request){
		.source = source,
		.scheme = scheme,
		.http = { .method = SLICE_LIT("POST"),
			.headers = a->headers,
			.body = record->body },
		.request_id = a->event.request_id,
		.now_ms = a->event.received_ms,
	};
	memcpy(a->rq.attempt, a->event.attempt, ATTEMPT_LEN);
	/* Every record has a trace; should this one's not be valid, its attempt starts another. */
	memcpy(a->rq.trace, a->event.attempt, ATTEMPT_LEN);
	memcpy(a->rq.trace + ATTEMPT_LEN, a->event.attempt, TRACE_RANDOM - ATTEMPT_LEN);
	while (http->header_count < ADMIT_KEPT_MAX &&
		event_kept_next(record->headers, &at, &a->headers[http->header_count]))
		http->header_count++;
	add_own(a, "content-type", a->event.content_type);
	add_own(a, "traceparent", a->event.traceparent);
}

static enum err_code judge(struct again *a, struct err *err)
{
	enum err_code code;

	admit_whole(&a->rq, &a->tools, &a->out);
	code = a->tools.verdict.code;
	if (code == ERR_UNAVAILABLE)
		return err_set(err, ERR_NOMEM, "no memory to verify it");
	if (code != ERR_OK)
		return err_set(err, code, "it does not verify now either: %s", err_name(code));
	if (a->out.next == ADMIT_ANSWER)
		return err_set(err, ERR_DENIED, "it is a handshake: there is nothing to work");
	if (a->out.next != ADMIT_APPEND)
		return err_set(err, ERR_NOMEM, "no memory for its record");
	return ERR_OK;
}

static enum err_code admit(
	struct again *a, struct buf *out_headers, struct buf *out_key, struct err *err)
{
	enum err_code rc = judge(a, err);

	if (rc == ERR_OK)
		rc = buf_put_slice(out_headers, a->out.record.headers, err);
	if (rc == ERR_OK)
		rc = buf_put_slice(out_key, a->out.record.key, err);
	return rc;
}

static enum err_code open_scheme(
	const struct source_config *source, struct scheme **out, struct err *err)
{
	struct config_report report = { 0 };
	enum err_code rc = scheme_open(source, out, &report, err);

	config_report_done(&report);
	if (rc == ERR_OK && scheme_splits(*out))
		rc = err_set(err, ERR_DENIED,
			"a request of \"%s\" holds several events: let the sender repeat it",
			source->name);
	if (rc == ERR_OK && scheme_reads_query(*out))
		rc = err_set(err, ERR_DENIED,
			"the scheme of \"%s\" reads the URL's query, which records do not keep: "
			"let "
			"the sender repeat it",
			source->name);
	if (rc == ERR_OK && scheme_reads_peer(*out))
		rc = err_set(err, ERR_DENIED,
			"the scheme of \"%s\" requires a client certificate, which records do not "
			"keep: let the sender repeat it",
			source->name);
	return rc;
}

enum err_code ingress_admit_again(const struct source_config *source, const struct record *record,
	struct buf *out_headers, struct buf *out_key, struct err *err)
{
	struct again a = { .tools = ADMIT_TOOLS_INIT, .out = ADMISSION_INIT };
	struct scheme *scheme = NULL;
	enum err_code rc = event_decode(record->headers, &a.event, err);

	if (rc == ERR_OK)
		rc = open_scheme(source, &scheme, err);
	if (rc == ERR_OK) {
		restore(&a, source, scheme, record);
		rc = admit(&a, out_headers, out_key, err);
	}
	admission_done(&a.out);
	admit_tools_done(&a.tools);
	scheme_close(&scheme);
	return rc;
}
