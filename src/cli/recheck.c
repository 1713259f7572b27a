/* recheck.c - verifies a kept request again: its headers are in the record, and so is its body.
 *
 * A header that is a credential by itself was never kept, so schemes that live on one stay refused.
 * Deliberately not here: what becomes of an accepted record (worker). */
#include "recheck.h"

#include "postern/scheme.h"

#define KEPT_MAX 64
#define RECORD_MAX MIB(65)

static bool was_refused(const struct event *event)
{
	enum err_code code =
		err_by_name((const char *)event->quarantine.data, event->quarantine.len);

	return event->quarantine.len > 0 && code >= ERR_MISSING_SIGNATURE && code <= ERR_CLOCK_SKEW;
}

static enum err_code verify(
	const struct scheme *scheme, const struct record *record, int64_t now_ms, struct err *err)
{
	struct header kept[KEPT_MAX];
	struct scheme_request rq = {
		.method = SLICE_LIT("POST"),
		.headers = kept,
		.body = record->body,
	};
	struct scheme_verdict verdict = SCHEME_VERDICT_INIT;
	size_t at = 0;
	enum err_code rc;

	while (rq.header_count < KEPT_MAX &&
		event_kept_next(record->headers, &at, &kept[rq.header_count]))
		rq.header_count++;
	scheme_verify(scheme, &rq, now_ms, &verdict);
	rc = verdict.code;
	if (rc != ERR_OK)
		rc = err_set(err, ERR_DENIED, "it does not verify now either: %s", err_name(rc));
	scheme_verdict_done(&verdict);
	return rc;
}

static enum err_code recheck_event(const struct config *config, const struct event *event,
	const struct record *record, struct err *err)
{
	const struct source_config *source = config_source(config, event->source);
	struct config_report report = { 0 };
	struct scheme *scheme = NULL;
	enum err_code rc;

	if (!source)
		return err_set(err, ERR_DENIED, "its source \"%.*s\" is not in the config",
			SLICE_FMT(event->source));
	rc = scheme_open(source, &scheme, &report, err);
	if (rc == ERR_OK)
		rc = verify(scheme, record, event->received_ms, err);
	scheme_close(&scheme);
	config_report_done(&report);
	return rc;
}

enum err_code recheck_record(
	const struct config *config, int64_t quarantine_offset, struct err *err)
{
	struct buf bytes = BUF_INIT(RECORD_MAX);
	struct record record = { 0 };
	struct event event = { 0 };
	struct queue *queue = NULL;
	enum err_code rc = inspect_queue(config, &queue, err);

	if (rc == ERR_OK)
		rc = queue_lookup(
			queue, STREAM_QUARANTINE, quarantine_offset, &bytes, &record, err);
	if (rc == ERR_OK)
		rc = event_decode(record.headers, &event, err);
	if (rc == ERR_OK && was_refused(&event))
		rc = recheck_event(config, &event, &record, err);
	queue_close(&queue);
	buf_done(&bytes);
	return rc;
}
