/* inspect.c - events and state: what the ledger, the parked copies and the log know. Dead letters
 * and quarantine are in inspect_entries.c. */
#include "inspect.h"

#include "lines.h"
#include "recheck.h"

#include "postern/crypto.h"
#include "postern/file.h"

#include <stdio.h>
#include <stdlib.h>

#define LANE_DIR "main"
#define PENDING_BATCH 256

enum err_code inspect_queue(const struct config *config, struct queue **out, struct err *err)
{
	char *dir = file_join(config->data_dir, LANE_DIR);
	struct queue_opts opts = {
		.dir = dir,
		.read_only = true,
		.segment_bytes = config->queue.segment_bytes,
		.clock = clock_system(),
	};
	enum err_code rc =
		dir ? queue_embedded_open(&opts, out, err) : err_set(err, ERR_NOMEM, "no memory");

	free(dir);
	return rc;
}

/* ---- one event ---------------------------------------------------------------------------------
 */

struct life { /* what is known of one identity */
	struct item_seen seen;
	struct item_park park; /* when parked */
	struct event event;    /* zero when the record is gone */
	struct buf bytes;
	struct buf again; /* headers of a refused request that was accepted */
};
#define LIFE_INIT                                                                                  \
	((struct life){ .bytes = BUF_INIT(MIB(64)), .again = BUF_INIT(EVENT_HEADERS_MAX) })

static void life_done(struct life *life)
{
	buf_done(&life->bytes);
	buf_done(&life->again);
}

/* The log has a refused request as it was refused. Where an operator had it worked all the same,
 * it is shown as what it was worked as, if that can still be told. */
static void show_as_accepted(
	const struct inspect *in, const struct record *record, struct life *life)
{
	const enum err_code refusal = recheck_refusal(&life->event);
	struct buf key = BUF_INIT(EVENT_KEY_MAX);
	struct err one = ERR_INIT;

	if (refusal != ERR_OK && life->seen.code != refusal &&
		(recheck_record(in->config, record, &life->again, &key, &one) != ERR_OK ||
			event_decode(buf_slice(&life->again), &life->event, &one) != ERR_OK))
		life->event = (struct event){ .id = life->event.id,
			.source = life->event.source,
			.tenant = life->event.tenant };
	buf_done(&key);
}

/* The record of an entry: the parked copy, or the log's, or nothing any more. */
static enum err_code find_record(
	const struct inspect *in, struct queue *queue, struct life *life, struct err *err)
{
	struct record record = { 0 };
	struct slice headers = SLICE_EMPTY;
	struct err one = ERR_INIT;
	enum err_code rc;

	if (life->seen.outcome == OUTCOME_PARKED &&
		store_view_parked_at(
			in->view, life->seen.offset, &life->bytes, &life->park, &one) == ERR_OK)
		headers = life->park.headers;
	if (headers.len == 0) {
		err_clear(&one);
		rc = queue_lookup(
			queue, STREAM_EVENTS, life->seen.offset, &life->bytes, &record, &one);
		if (rc != ERR_OK && rc != ERR_NOT_FOUND)
			return err_set(err, rc, "%s", one.text);
		headers = record.headers;
	}
	err_clear(&one);
	if (headers.len && event_decode(headers, &life->event, &one) != ERR_OK)
		life->event = (struct event){ 0 };
	if (record.headers.len)
		show_as_accepted(in, &record, life);
	return ERR_OK;
}

static void put_known(struct line *line, const struct event *event, int64_t received_ms)
{
	char version[VERSION_TEXT_MAX];

	line_text(line, "type", event->type);
	line_text(line, "entity", event->entity);
	version_text(event->version, version);
	line_str(line, "version", version);
	line_time(line, "received", event->received_ms ? event->received_ms : received_ms);
	line_text(line, "request_id", event->request_id);
	line_text(line, "key", event->key_used);
	line_text(line, "digest", event->digest);
}

static void put_life(struct line *line, struct slice id, const char *source, const char *tenant,
	const char *route, const struct life *life)
{
	const struct item_seen *seen = &life->seen;
	bool parked = seen->outcome == OUTCOME_PARKED && life->park.reason != 0;

	line_begin(line);
	line_text(line, "event_id", id);
	line_str(line, "source", source);
	line_str(line, "tenant", tenant);
	line_str(line, "outcome", outcome_name(seen->outcome));
	line_str(line, "code", seen->code == ERR_OK ? NULL : err_name(seen->code));
	err_ignored(buf_put_str(line->out, ",\"route\":", line->err));
	err_ignored(buf_putf(line->out, line->err, "\"%s\"", route));
	line_int(line, "attempts", parked ? (int64_t)life->park.attempts : seen->attempts);
	put_known(line, &life->event, (int64_t)seen->received_s * 1000);
	line_int(line, "offset", seen->offset);
	if (parked) {
		line_str(line, "parked", park_reason_name(life->park.reason));
		line_time(line, "next_try", life->park.next_ts_ms);
		line_text(line, "error", life->park.error);
	}
	line_end(line);
}

static void put_pending(struct line *line, const struct event *event, int64_t offset)
{
	line_begin(line);
	line_text(line, "event_id", event->id);
	line_text(line, "source", event->source);
	line_text(line, "tenant", event->tenant);
	line_str(line, "outcome", outcome_name(OUTCOME_PENDING));
	line_null(line, "code");
	line_null(line, "route");
	line_int(line, "attempts", 0);
	put_known(line, event, 0);
	line_int(line, "offset", offset);
	line_end(line);
}

static enum err_code identity16(const char *tenant, const char *source, struct slice id,
	uint8_t out[ID16_LEN], struct err *err)
{
	struct event event = { .id = id, .source = slice_str(source), .tenant = slice_str(tenant) };
	struct buf identity = BUF_INIT(KIB(4));
	enum err_code rc = event_identity(&event, &identity, err);
	uint8_t digest[32];

	if (rc == ERR_OK) {
		crypto_sha256(buf_slice(&identity), digest);
		memcpy(out, digest, ID16_LEN);
	}
	buf_done(&identity);
	return rc;
}

/* One source's answer, if the ledger knows the id. */
static enum err_code put_source(const struct inspect *in, struct queue *queue,
	const struct source_config *source, struct slice id, struct line *line)
{
	struct life life = LIFE_INIT;
	uint8_t id16[ID16_LEN];
	enum err_code rc = identity16(source->tenant, source->name, id, id16, line->err);

	if (rc == ERR_OK) {
		struct err one = ERR_INIT;

		rc = store_view_seen(in->view, id16, &life.seen, &one);
		if (rc == ERR_OK)
			rc = find_record(in, queue, &life, line->err);
		else if (rc != ERR_NOT_FOUND)
			rc = err_set(line->err, rc, "%s", one.text);
		if (rc == ERR_OK)
			put_life(line, id, source->name, source->tenant,
				store_view_route_name(in->view, life.seen.route), &life);
	}
	life_done(&life);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

/* Between the worker's position and the end of the log: events that no batch has reached. */
static enum err_code put_waiting(const struct inspect *in, struct queue *queue,
	const struct slice *id, size_t limit, struct line *line)
{
	struct store_state state = { 0 };
	struct queue_batch batch = { 0 };
	enum err_code rc = store_view_state(in->view, &state, line->err);
	struct stream_stat stat;
	int64_t at;

	queue_stat(queue, STREAM_EVENTS, &stat);
	at = state.next_offset > stat.first ? state.next_offset : stat.first;
	while (rc == ERR_OK && limit > 0 && at < stat.end) {
		rc = queue_read(
			queue, STREAM_EVENTS, at, PENDING_BATCH, MIB(4), 0, &batch, line->err);
		if (rc != ERR_OK || batch.count == 0)
			break;
		for (size_t i = 0; i < batch.count && limit > 0; i++) {
			struct event event = { 0 };
			struct err one = ERR_INIT;

			if (event_decode(batch.records[i].headers, &event, &one) != ERR_OK ||
				(id && !slice_eq(event.id, *id)))
				continue;
			put_pending(line, &event, batch.records[i].offset);
			limit--;
		}
		at = batch.records[batch.count - 1].offset + 1;
		queue_release(queue, &batch);
	}
	return rc;
}

static enum err_code begin_items(struct buf *out, struct err *err)
{
	return buf_put_str(out, "{\"items\":[", err);
}

static enum err_code end_items(struct line *line)
{
	err_ignored(buf_put_str(line->out, "],\"next\":null}\n", line->err));
	return line->err->code;
}

enum err_code inspect_event(
	const struct inspect *in, struct slice id, struct buf *out, struct err *err)
{
	struct line line = { .out = out, .err = err };
	struct queue *queue = NULL;
	enum err_code rc = inspect_queue(in->config, &queue, err);
	size_t start;

	if (rc == ERR_OK)
		rc = begin_items(out, err);
	start = out->len;
	for (size_t i = 0; rc == ERR_OK && i < in->config->source_count; i++)
		rc = put_source(in, queue, &in->config->sources[i], id, &line);
	if (rc == ERR_OK && out->len == start)
		rc = put_waiting(in, queue, &id, 1, &line);
	if (rc == ERR_OK && out->len == start)
		rc = err_set(err, ERR_NOT_FOUND, "no event \"%.*s\" is known", SLICE_FMT(id));
	if (rc == ERR_OK)
		rc = end_items(&line);
	queue_close(&queue);
	return rc;
}

/* ---- the newest --------------------------------------------------------------------------------
 */

static bool fits(const struct inspect_filter *filter, const struct event *event,
	const struct item_seen *seen, const char *route)
{
	int64_t received = (int64_t)seen->received_s * 1000;

	return (!filter->source.len || slice_eq(filter->source, event->source)) &&
	       (!filter->entity.len || slice_eq(filter->entity, event->entity)) &&
	       (!filter->route.len || slice_eq_str(filter->route, route)) &&
	       (!filter->outcome.len ||
		       slice_eq_str(filter->outcome, outcome_name(seen->outcome))) &&
	       (!filter->reason.len || slice_eq_str(filter->reason, err_name(seen->code))) &&
	       received >= filter->since_ms && received <= filter->until_ms;
}

static enum err_code put_recent(const struct inspect *in, struct queue *queue,
	const struct inspect_filter *filter, const struct item_seen *seen, size_t count,
	struct line *line)
{
	size_t left = filter->limit;
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < count && left > 0 && rc == ERR_OK; i++) {
		struct life life = LIFE_INIT;
		const char *route = store_view_route_name(in->view, seen[i].route);
		char source[128], tenant[128];

		life.seen = seen[i];
		rc = find_record(in, queue, &life, line->err);
		if (rc == ERR_OK && fits(filter, &life.event, &seen[i], route)) {
			(void)snprintf(
				source, sizeof(source), "%.*s", SLICE_FMT(life.event.source));
			(void)snprintf(
				tenant, sizeof(tenant), "%.*s", SLICE_FMT(life.event.tenant));
			put_life(line, life.event.id, source, tenant, route, &life);
			left--;
		}
		life_done(&life);
	}
	return rc;
}

enum err_code inspect_events(const struct inspect *in, const struct inspect_filter *filter,
	struct buf *out, struct err *err)
{
	struct line line = { .out = out, .err = err };
	struct item_seen *seen = calloc(INSPECT_LIMIT_MAX, sizeof(*seen));
	struct queue *queue = NULL;
	bool pending = !filter->outcome.len ||
		       slice_eq_str(filter->outcome, outcome_name(OUTCOME_PENDING));
	size_t count = 0;
	enum err_code rc = seen ? ERR_OK : err_set(err, ERR_NOMEM, "no memory");

	if (rc == ERR_OK)
		rc = inspect_queue(in->config, &queue, err);
	if (rc == ERR_OK)
		rc = begin_items(out, err);
	if (rc == ERR_OK)
		rc = store_view_recent(in->view, INSPECT_LIMIT_MAX, seen, &count, err);
	if (rc == ERR_OK)
		rc = put_recent(in, queue, filter, seen, count, &line);
	if (rc == ERR_OK && pending)
		rc = put_waiting(in, queue, NULL, filter->limit, &line);
	if (rc == ERR_OK)
		rc = end_items(&line);
	queue_close(&queue);
	free(seen);
	return rc;
}

/* ---- state of an entity ------------------------------------------------------------------------
 */

static enum err_code put_state(
	const struct inspect *in, const char *tenant, struct slice entity, struct line *line)
{
	struct event event = { .tenant = slice_str(tenant), .entity = entity };
	struct buf subject = BUF_INIT(KIB(4)), text = BUF_INIT(KIB(16));
	struct item_version item = { 0 };
	struct err one = ERR_INIT;
	char version[VERSION_TEXT_MAX];
	enum err_code rc = event_subject(&event, &subject, &one);

	if (rc == ERR_OK)
		rc = store_view_version(in->view, buf_slice(&subject), &item, &text, &one);
	if (rc == ERR_OK) {
		version_text(item.version, version);
		line_begin(line);
		line_text(line, "entity", entity);
		line_str(line, "tenant", tenant);
		line_str(line, "version", version);
		line_text(line, "event_id", item.event_id);
		line_text(line, "source", item.source);
		line_str(line, "route", store_view_route_name(in->view, item.route));
		line_time(line, "applied", item.time_ms);
		line_int(line, "offset", item.offset);
		line_end(line);
	}
	buf_done(&subject);
	buf_done(&text);
	if (rc == ERR_OK || rc == ERR_NOT_FOUND)
		return ERR_OK;
	return err_set(line->err, rc, "%s", one.text);
}

static bool seen_tenant(const struct config *config, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (strcmp(config->sources[i].tenant, config->sources[index].tenant) == 0)
			return true;
	return false;
}

/* "a/b" is entity b of tenant a where there is such a tenant, and entity "a/b" of any. */
enum err_code inspect_state(
	const struct inspect *in, struct slice what, struct buf *out, struct err *err)
{
	struct line line = { .out = out, .err = err };
	size_t slash = slice_find(what, '/');
	struct slice head = slice_sub(what, 0, slash), tail = slice_sub(what, slash + 1, what.len);
	enum err_code rc = begin_items(out, err);
	size_t start = out->len;

	for (size_t i = 0; rc == ERR_OK && i < in->config->source_count; i++) {
		const char *tenant = in->config->sources[i].tenant;

		if (seen_tenant(in->config, i))
			continue;
		if (slash < what.len && slice_eq_str(head, tenant))
			rc = put_state(in, tenant, tail, &line);
		if (rc == ERR_OK)
			rc = put_state(in, tenant, what, &line);
	}
	if (rc == ERR_OK && out->len == start)
		rc = err_set(err, ERR_NOT_FOUND, "no state of \"%.*s\"", SLICE_FMT(what));
	return rc == ERR_OK ? end_items(&line) : rc;
}
