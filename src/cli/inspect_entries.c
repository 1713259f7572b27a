/* inspect_entries.c - dead letters and quarantined records: the index in the store, the records in
 * their streams. */
#include "inspect.h"

#include "lines.h"

#include "postern/json.h"
#include "postern/serve.h"
#include "postern/text.h"

#include <stdio.h>

#define SCAN_MAX 20000 /* index entries looked at for one page */

static const char *mark_name(unsigned mark, enum out_target target)
{
	if (mark == MARK_DROPPED)
		return "dropped";
	if (mark == MARK_REPLAYED)
		return target == OUT_DLQ ? "replayed" : "accepted";
	return "waiting";
}

void inspect_entry_id(enum out_target target, int64_t stream_offset, char out[24])
{
	(void)snprintf(out, 24, "%c%lld", target == OUT_DLQ ? 'd' : 'q', (long long)stream_offset);
}

static bool fits(const struct inspect_filter *filter, const struct store_entry *entry)
{
	return (filter->marked || entry->mark == 0) &&
	       (!filter->route.len || slice_eq(filter->route, entry->route)) &&
	       (!filter->entity.len || slice_eq(filter->entity, entry->entity)) &&
	       (!filter->source.len || slice_eq(filter->source, entry->source)) &&
	       (!filter->reason.len || slice_eq_str(filter->reason, err_name(entry->reason))) &&
	       entry->received_ms >= filter->since_ms && entry->received_ms <= filter->until_ms;
}

static void put_entry(struct line *line, enum out_target target, const struct store_entry *entry)
{
	char id[24];

	inspect_entry_id(target, entry->stream_offset, id);
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
}

enum err_code inspect_entries(const struct inspect *in, enum out_target target,
	const struct inspect_filter *filter, struct buf *out, struct err *err)
{
	struct line line = { .out = out, .err = err };
	struct buf text = BUF_INIT(KIB(16));
	struct store_entry entry = { 0 };
	int64_t from = filter->from;
	size_t found = 0, scanned = 0;
	enum err_code rc = buf_put_str(out, "{\"items\":[", err);
	bool more = true;

	while (rc == ERR_OK && found < filter->limit && scanned++ < SCAN_MAX) {
		struct err one = ERR_INIT;

		rc = store_view_entry_next(in->view, target, from, &text, &entry, &one);
		if (rc == ERR_NOT_FOUND) {
			more = false;
			rc = ERR_OK;
			break;
		}
		if (rc != ERR_OK) {
			rc = err_set(err, rc, "%s", one.text);
			break;
		}
		from = entry.stream_offset + 1;
		if (!fits(filter, &entry))
			continue;
		found++;
		line_begin(&line);
		put_entry(&line, target, &entry);
		line_end(&line);
	}
	buf_done(&text);
	if (rc != ERR_OK)
		return rc;
	err_ignored(buf_put_str(out, "],", err));
	if (more)
		line_int(&line, "next", from);
	else
		line_null(&line, "next");
	err_ignored(buf_put_str(out, "}\n", err));
	return err->code;
}

/* ---- one of them -------------------------------------------------------------------------------
 */

static bool is_entry_id(enum out_target target, struct slice id, int64_t *out)
{
	struct err err = ERR_INIT;

	return id.len > 1 && id.data[0] == (target == OUT_DLQ ? 'd' : 'q') &&
	       text_i64(slice_sub(id, 1, id.len), out, &err) == ERR_OK && *out >= 0;
}

static enum err_code next_entry(const struct inspect *in, enum out_target target, int64_t from,
	struct buf *text, struct store_entry *out, struct err *err)
{
	struct err one = ERR_INIT;
	enum err_code rc = store_view_entry_next(in->view, target, from, text, out, &one);

	if (rc != ERR_OK && rc != ERR_NOT_FOUND)
		err_ignored(err_set(err, rc, "%s", one.text));
	return rc;
}

enum err_code inspect_find(const struct inspect *in, enum out_target target, struct slice id,
	struct buf *out_offsets, struct err *err)
{
	struct buf text = BUF_INIT(KIB(16));
	struct store_entry entry = { 0 };
	int64_t wanted = 0, from = 0;
	bool exact = is_entry_id(target, id, &wanted);
	size_t before = out_offsets->len;
	enum err_code rc = ERR_OK;

	if (exact)
		from = wanted;
	while (rc == ERR_OK && (rc = next_entry(in, target, from, &text, &entry, err)) == ERR_OK) {
		from = entry.stream_offset + 1;
		if (exact ? entry.stream_offset == wanted : slice_eq(entry.event_id, id))
			rc = buf_put_u64(out_offsets, (uint64_t)entry.stream_offset, err);
		if (exact)
			break;
	}
	buf_done(&text);
	if (rc != ERR_OK && rc != ERR_NOT_FOUND)
		return rc;
	if (out_offsets->len == before)
		return err_set(
			err, ERR_NOT_FOUND, "nothing here is called \"%.*s\"", SLICE_FMT(id));
	return ERR_OK;
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
	const struct store_entry *entry, struct buf *out, struct err *err)
{
	enum stream stream = target == OUT_DLQ ? STREAM_DLQ : STREAM_QUARANTINE;
	struct line line = { .out = out, .err = err };
	struct buf bytes = BUF_INIT(MIB(65)); /* the largest body, and its headers */
	struct record record = { 0 };
	struct queue *queue = NULL;
	struct err one = ERR_INIT;
	enum err_code rc = inspect_queue(in->config, &queue, err);

	if (rc == ERR_OK) {
		rc = queue_lookup(queue, stream, entry->stream_offset, &bytes, &record, &one);
		line_begin(&line);
		put_entry(&line, target, entry);
		if (rc == ERR_OK)
			put_record(&line, &record);
		else if (rc != ERR_NOT_FOUND) /* dropped by retention: the index is all there is */
			err_ignored(err_set(err, rc, "%s", one.text));
		line_end(&line);
		err_ignored(buf_put_str(out, "\n", err));
		rc = err->code;
	}
	queue_close(&queue);
	buf_done(&bytes);
	return rc;
}

enum err_code inspect_entry(const struct inspect *in, enum out_target target, struct slice id,
	struct buf *out, struct err *err)
{
	struct buf text = BUF_INIT(KIB(16)), offsets = BUF_INIT(MIB(1));
	struct store_entry entry = { 0 };
	enum err_code rc = inspect_find(in, target, id, &offsets, err);

	if (rc == ERR_OK) /* of several under one event id, the newest */
		rc = store_view_entry_next(in->view, target,
			(int64_t)get_le64(offsets.data + offsets.len - 8), &text, &entry, err);
	if (rc == ERR_OK)
		rc = put_whole(in, target, &entry, out, err);
	buf_done(&text);
	buf_done(&offsets);
	return rc;
}
