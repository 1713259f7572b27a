/* inspect_entries.c - dead letters and quarantined records: the index in the store, the records in
 * their streams.
 *
 * Deliberately not here: events that are neither (inspect.c, inspect_recent.c), and what may be
 * done about a record (actions.c). */
#include "inspect_priv.h"

#include "recheck.h"

#include "postern/json.h"
#include "postern/serve.h"
#include "postern/text.h"

#include <stdio.h>

#define SCAN_MAX 20000 /* index entries looked at for one page */
#define NAMESAKES_TOLD 6

static const char *mark_name(unsigned mark, enum out_target target)
{
	if (mark == MARK_DROPPED)
		return "dropped";
	if (mark == MARK_REPLAYED)
		return target == OUT_DLQ ? "replayed" : "accepted";
	return "waiting";
}

static bool fits(const struct inspect_filter *filter, const struct store_entry *entry)
{
	return (filter->marked || entry->mark == 0) &&
	       (!filter->verify || recheck_is_refusal(entry->reason)) &&
	       (!filter->route.len || slice_eq(filter->route, entry->route)) &&
	       (!filter->entity.len || slice_eq(filter->entity, entry->entity)) &&
	       (!filter->source.len || slice_eq(filter->source, entry->source)) &&
	       (!filter->reason.len || slice_eq_str(filter->reason, err_name(entry->reason))) &&
	       entry->received_ms >= filter->since_ms && entry->received_ms <= filter->until_ms &&
	       entry->time_ms >= filter->ended_since_ms && entry->time_ms <= filter->ended_until_ms;
}

static void put_entry(const struct inspect *in, struct line *line, enum out_target target,
	const struct place *place, const struct store_entry *entry)
{
	char id[PLACE_TEXT_MAX];

	place_text(in->lanes, target, place, id);
	line_str(line, "id", id);
	line_text(line, "event_id", entry->event_id);
	line_text(line, "source", entry->source);
	line_text(line, "tenant", entry->tenant);
	line_text(line, "type", entry->type);
	line_text(line, "entity", entry->entity);
	line_text(line, "route", entry->route);
	line_str(line, "reason", err_name(entry->reason));
	line_str(line, "code", err_name(entry->reason));
	line_str(line, "state", mark_name(entry->mark, target));
	line_time(line, "received", entry->received_ms);
	line_time(line, "since", entry->time_ms);
	inspect_put_place(in, place->lane, line, entry->offset);
}

/* What the request would be told now; `detail` where the code alone does not say it. */
static void put_verdict(const struct inspect *in, struct line *line, const struct place *place,
	const struct store_entry *entry)
{
	struct buf headers = BUF_INIT(EVENT_HEADERS_MAX), key = BUF_INIT(EVENT_KEY_MAX);
	char id[PLACE_TEXT_MAX];
	struct err one = ERR_INIT;
	enum err_code rc = recheck_quarantined(in, place, &headers, &key, &one);

	place_text(in->lanes, OUT_QUARANTINE, place, id);
	line_str(line, "id", id);
	line_text(line, "source", entry->source);
	line_str(line, "code", err_name(rc));
	line_str(line, "reason", err_name(entry->reason));
	line_time(line, "received", entry->received_ms);
	if (rc != ERR_OK && !recheck_is_refusal(rc))
		line_str(line, "detail", one.text);
	buf_done(&headers);
	buf_done(&key);
}

/* The first entry at this place or behind it in its lane, which *place is then. ERR_NOT_FOUND
 * leaves err as it is. */
static enum err_code next_entry(const struct inspect *in, enum out_target target,
	struct place *place, struct buf *text, struct store_entry *out, struct err *err)
{
	struct err one = ERR_INIT;
	enum err_code rc = store_view_entry_next(
		in->lanes->list[place->lane].view, target, place->offset, text, out, &one);

	if (rc == ERR_OK)
		place->offset = out->stream_offset;
	else if (rc != ERR_NOT_FOUND)
		err_ignored(err_set(err, rc, "%s", one.text));
	return rc;
}

/* Lane by lane, oldest first in each. ERR_NOT_FOUND: no more. */
static enum err_code next_of_all(const struct inspect *in, enum out_target target,
	struct place *place, struct buf *text, struct store_entry *out, struct err *err)
{
	enum err_code rc = ERR_NOT_FOUND;

	while (rc == ERR_NOT_FOUND && place->lane < in->lanes->count) {
		rc = next_entry(in, target, place, text, out, err);
		if (rc == ERR_NOT_FOUND)
			*place = (struct place){ .lane = place->lane + 1 };
	}
	return rc;
}

enum err_code inspect_entries(const struct inspect *in, enum out_target target,
	const struct inspect_filter *filter, struct buf *out, struct err *err)
{
	struct place place = place_of_cursor(filter->from);
	struct line line = { .out = out, .err = err };
	struct buf text = BUF_INIT(KIB(16));
	struct store_entry entry = { 0 };
	size_t found = 0, scanned = 0;
	enum err_code rc = items_begin(out, err);

	while (rc == ERR_OK && found < filter->limit && scanned++ < SCAN_MAX) {
		rc = next_of_all(in, target, &place, &text, &entry, err);
		if (rc == ERR_OK && fits(filter, &entry)) {
			found++;
			line_begin(&line);
			if (filter->verify)
				put_verdict(in, &line, &place, &entry);
			else
				put_entry(in, &line, target, &place, &entry);
			line_end(&line);
		}
		if (rc == ERR_OK)
			place.offset++;
	}
	buf_done(&text);
	if (rc != ERR_OK && rc != ERR_NOT_FOUND)
		return rc;
	return items_end(&line, rc == ERR_OK ? &place : NULL);
}

/* ---- one of them -------------------------------------------------------------------------------
 */

/* Records under one event id, which several sources, and several copies, may share. */
struct namesakes {
	const struct lanes *lanes;
	enum out_target target;
	size_t waiting, marked;
	struct place last_waiting, last_marked;
	char ids[NAMESAKES_TOLD * PLACE_TEXT_MAX]; /* of the first ones that wait */
};

static void add_namesake(struct namesakes *found, const struct place *place, unsigned mark)
{
	char id[PLACE_TEXT_MAX];
	size_t len = strlen(found->ids);

	if (mark != 0) {
		found->marked++;
		found->last_marked = *place;
		return;
	}
	found->last_waiting = *place;
	if (found->waiting++ >= NAMESAKES_TOLD)
		return;
	place_text(found->lanes, found->target, place, id);
	(void)snprintf(found->ids + len, sizeof(found->ids) - len, " %s", id);
}

static enum err_code find_namesakes(
	const struct inspect *in, struct slice event_id, struct namesakes *found, struct err *err)
{
	struct buf text = BUF_INIT(KIB(16));
	struct store_entry entry = { 0 };
	struct place place = { .lane = 0 };
	enum err_code rc;

	while ((rc = next_of_all(in, found->target, &place, &text, &entry, err)) == ERR_OK) {
		if (slice_eq(entry.event_id, event_id))
			add_namesake(found, &place, entry.mark);
		place.offset++;
	}
	buf_done(&text);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

static enum err_code find_by_event_id(const struct inspect *in, enum out_target target,
	struct slice event_id, struct place *out, struct err *err)
{
	struct namesakes found = { .lanes = in->lanes, .target = target };
	enum err_code rc = find_namesakes(in, event_id, &found, err);

	if (rc != ERR_OK)
		return rc;
	if (found.waiting > 1)
		return err_set(err, ERR_USAGE, "%zu records have this event id, name one:%s%s",
			found.waiting, found.ids, found.waiting > NAMESAKES_TOLD ? " ..." : "");
	if (found.waiting + found.marked == 0)
		return err_set(
			err, ERR_NOT_FOUND, "nothing here is called \"%.*s\"", SLICE_FMT(event_id));
	*out = found.waiting ? found.last_waiting : found.last_marked;
	return ERR_OK;
}

/* An event may call itself "d12": a record's own id comes first. */
enum err_code inspect_find(const struct inspect *in, enum out_target target, struct slice id,
	struct place *out, struct err *err)
{
	struct buf text = BUF_INIT(KIB(16));
	struct store_entry entry = { 0 };
	struct place wanted, found;
	enum err_code rc = ERR_NOT_FOUND;

	if (place_parse(in->lanes, target, id, &wanted)) {
		found = wanted;
		rc = next_entry(in, target, &found, &text, &entry, err);
		if (rc == ERR_OK && found.offset == wanted.offset)
			*out = wanted;
		else if (rc == ERR_OK)
			rc = ERR_NOT_FOUND;
	}
	buf_done(&text);
	return rc == ERR_NOT_FOUND ? find_by_event_id(in, target, id, out, err) : rc;
}

/* A text that does not grow much by its escapes; of anything else base64 is shorter. */
static bool is_readable(struct slice body)
{
	size_t controls = 0;

	for (size_t i = 0; i < body.len; i++) {
		uint8_t c = body.data[i];

		controls += c < 0x20 && c != '\t' && c != '\n' && c != '\r';
	}
	return controls <= body.len / 16 && text_is_utf8(body);
}

static enum err_code put_body(struct line *line, struct slice body)
{
	struct buf base64 = BUF_INIT(SERVE_BODY_MAX);
	enum err_code rc;

	if (is_readable(body)) {
		err_ignored(json_put_str(line->out, "body",
			(struct slice){ body.data ? body.data : (const uint8_t *)"", body.len },
			line->err));
		return line->err->code;
	}
	rc = text_base64(body, &base64, line->err);
	if (rc == ERR_OK)
		line_text(line, "body_base64", buf_slice(&base64));
	buf_done(&base64);
	return rc;
}

static void put_record(struct line *line, const struct record *record)
{
	struct buf headers = BUF_INIT(MIB(1));

	if (event_headers_json(record->headers, &headers, line->err) == ERR_OK) {
		line_raw(line, "headers", buf_slice(&headers));
		line_text(line, "key", record->key);
		err_ignored(put_body(line, record->body));
	}
	buf_done(&headers);
}

static enum err_code put_whole(const struct inspect *in, enum out_target target,
	const struct place *place, const struct store_entry *entry, struct line *line)
{
	enum stream stream = target == OUT_DLQ ? STREAM_DLQ : STREAM_QUARANTINE;
	struct buf bytes = BUF_INIT(MIB(65)); /* the largest body, and its headers */
	struct record record = { 0 };
	struct queue *queue = NULL;
	struct err one = ERR_INIT;
	enum err_code rc = lanes_queue(in->lanes, place->lane, &queue, line->err);

	if (rc == ERR_OK) {
		rc = queue_lookup(queue, stream, place->offset, &bytes, &record, &one);
		line_begin(line);
		put_entry(in, line, target, place, entry);
		if (rc == ERR_OK)
			put_record(line, &record);
		else if (rc != ERR_NOT_FOUND) /* dropped by retention: the index is all there is */
			err_ignored(err_set(line->err, rc, "%s", one.text));
		line_end(line);
		err_ignored(buf_put_str(line->out, "\n", line->err));
		rc = line->err->code;
	}
	buf_done(&bytes);
	return rc;
}

enum err_code inspect_entry(const struct inspect *in, enum out_target target, struct slice id,
	struct buf *out, struct err *err)
{
	struct line line = { .out = out, .err = err };
	struct buf text = BUF_INIT(KIB(16));
	struct store_entry entry = { 0 };
	struct place place = { .lane = 0 };
	enum err_code rc = inspect_find(in, target, id, &place, err);

	if (rc == ERR_OK)
		rc = next_entry(in, target, &place, &text, &entry, err);
	if (rc == ERR_NOT_FOUND) /* it has gone meanwhile; or it was never there */
		err_ignored(err_set(err, rc, "nothing here is called \"%.*s\"", SLICE_FMT(id)));
	if (rc == ERR_OK)
		rc = put_whole(in, target, &place, &entry, &line);
	buf_done(&text);
	return rc;
}
