/* recheck.c - a refused request that was kept, judged again: the ingress does, from the record.
 *
 * Deliberately not here: what becomes of an accepted record (worker). */
#include "recheck.h"

#include "postern/ingress.h"

#define RECORD_MAX MIB(65)

bool recheck_is_refusal(enum err_code code)
{
	return code >= ERR_MISSING_SIGNATURE && code <= ERR_CLOCK_SKEW;
}

enum err_code recheck_refusal(const struct event *event)
{
	enum err_code code =
		err_by_name((const char *)event->quarantine.data, event->quarantine.len);

	return event->quarantine.len > 0 && recheck_is_refusal(code) ? code : ERR_OK;
}

enum err_code recheck_record(const struct config *config, const struct record *record,
	struct buf *headers, struct buf *key, struct err *err)
{
	const struct source_config *source;
	struct event event = { 0 };
	enum err_code rc = event_decode(record->headers, &event, err);

	if (rc != ERR_OK)
		return rc;
	source = config_source(config, event.source);
	if (!source)
		return err_set(err, ERR_DENIED, "its source \"%.*s\" is not in the config",
			SLICE_FMT(event.source));
	return ingress_admit_again(source, record, headers, key, err);
}

enum err_code recheck_quarantined(const struct inspect *in, const struct place *place,
	struct buf *headers, struct buf *key, struct err *err)
{
	struct buf bytes = BUF_INIT(RECORD_MAX);
	struct record record = { 0 };
	struct event event = { 0 };
	struct queue *queue = NULL;
	enum err_code rc = lanes_queue(in->lanes, place->lane, &queue, err);

	if (rc == ERR_OK)
		rc = queue_lookup(queue, STREAM_QUARANTINE, place->offset, &bytes, &record, err);
	if (rc == ERR_OK)
		rc = event_decode(record.headers, &event, err);
	if (rc == ERR_OK && recheck_refusal(&event) != ERR_OK)
		rc = recheck_record(in->config, &record, headers, key, err);
	buf_done(&bytes);
	return rc;
}
