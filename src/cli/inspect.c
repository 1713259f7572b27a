/* inspect.c - one event: what the ledgers, the parked copies and the logs know under its id. And
 * what all questions share: a lane that is asked, an event as an item of a list, a list's frame.
 *
 * Deliberately not here: finding the events that no batch has reached (inspect_waiting.c), lists of
 * events (inspect_recent.c). */
#include "inspect_priv.h"

#include "recheck.h"

#include "postern/crypto.h"

enum err_code spot_open(const struct inspect *in, size_t lane, struct spot *out, struct err *err)
{
	*out = (struct spot){ .in = in, .lane = lane, .view = in->lanes->list[lane].view };
	return lanes_queue(in->lanes, lane, &out->queue, err);
}

void inspect_put_place(const struct inspect *in, size_t lane, struct line *line, int64_t offset)
{
	if (in->lanes->crew)
		line_int(line, "partition", (int64_t)lane);
	line_int(line, "offset", offset);
}

enum err_code items_begin(struct buf *out, struct err *err)
{
	return buf_put_str(out, "{\"items\":[", err);
}

enum err_code items_end(struct line *line, const struct place *next)
{
	err_ignored(buf_put_str(line->out, "],", line->err));
	if (next)
		line_int(line, "next", place_cursor(next));
	else
		line_null(line, "next");
	err_ignored(buf_put_str(line->out, "}\n", line->err));
	return line->err->code;
}

/* ---- what is known of an event ------------------------------------------------------------- */

void life_done(struct life *life)
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

enum err_code spot_find_record(const struct spot *spot, struct life *life, struct err *err)
{
	struct record record = { 0 };
	struct slice headers = SLICE_EMPTY;
	struct err one = ERR_INIT;
	enum err_code rc;

	if (life->seen.outcome == OUTCOME_PARKED &&
		store_view_parked_at(
			spot->view, life->seen.offset, &life->bytes, &life->park, &one) == ERR_OK)
		headers = life->park.headers;
	if (headers.len == 0) {
		err_clear(&one);
		rc = queue_lookup(
			spot->queue, STREAM_EVENTS, life->seen.offset, &life->bytes, &record, &one);
		if (rc != ERR_OK && rc != ERR_NOT_FOUND)
			return err_set(err, rc, "%s", one.text);
		headers = record.headers;
	}
	err_clear(&one);
	if (headers.len && event_decode(headers, &life->event, &one) != ERR_OK)
		life->event = (struct event){ 0 };
	if (record.headers.len)
		show_as_accepted(spot->in, &record, life);
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

void spot_put_life(const struct spot *spot, struct line *line, const struct event *event,
	const struct life *life)
{
	const struct item_seen *seen = &life->seen;
	const char *route = store_view_route_name(spot->view, seen->route);
	bool parked = seen->outcome == OUTCOME_PARKED && life->park.reason != 0;

	line_begin(line);
	line_text(line, "event_id", event->id);
	line_text(line, "source", event->source);
	line_text(line, "tenant", event->tenant);
	line_str(line, "outcome", outcome_name(seen->outcome));
	line_str(line, "code", seen->code == ERR_OK ? NULL : err_name(seen->code));
	err_ignored(buf_put_str(line->out, ",\"route\":", line->err));
	err_ignored(buf_putf(line->out, line->err, "\"%s\"", route));
	line_int(line, "attempts", parked ? (int64_t)life->park.attempts : seen->attempts);
	put_known(line, &life->event, (int64_t)seen->received_s * 1000);
	inspect_put_place(spot->in, spot->lane, line, seen->offset);
	if (parked) {
		line_str(line, "parked", park_reason_name(life->park.reason));
		line_time(line, "next_try", life->park.next_ts_ms);
		line_text(line, "error", life->park.error);
	}
	line_end(line);
}

void spot_put_pending(
	const struct spot *spot, struct line *line, const struct event *event, int64_t offset)
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
	inspect_put_place(spot->in, spot->lane, line, offset);
	line_end(line);
}

enum err_code inspect_id16(const struct event *event, uint8_t out[ID16_LEN], struct err *err)
{
	struct buf identity = BUF_INIT(KIB(4));
	enum err_code rc = event_identity(event, &identity, err);
	uint8_t digest[32];

	if (rc == ERR_OK) {
		crypto_sha256(buf_slice(&identity), digest);
		memcpy(out, digest, ID16_LEN);
	}
	buf_done(&identity);
	return rc;
}

/* ---- one event ----------------------------------------------------------------------------- */

/* One source's answer, if the lane's ledger knows the id. */
static enum err_code put_source(const struct spot *spot, const struct source_config *source,
	struct slice id, struct line *line)
{
	const struct event event = {
		.id = id, .source = slice_str(source->name), .tenant = slice_str(source->tenant)
	};
	struct life life = LIFE_INIT;
	uint8_t id16[ID16_LEN];
	enum err_code rc = inspect_id16(&event, id16, line->err);

	if (rc == ERR_OK) {
		struct err one = ERR_INIT;

		rc = store_view_seen(spot->view, id16, &life.seen, &one);
		if (rc == ERR_OK)
			rc = spot_find_record(spot, &life, line->err);
		else if (rc != ERR_NOT_FOUND)
			rc = err_set(line->err, rc, "%s", one.text);
		if (rc == ERR_OK)
			spot_put_life(spot, line, &event, &life);
	}
	life_done(&life);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

struct one_waiting {
	struct slice id;
	struct line *line;
};

static bool put_if_it(
	void *ctx, const struct spot *spot, const struct queue_batch *batch, struct err *err)
{
	struct one_waiting *one = ctx;

	(void)err;
	for (size_t i = 0; i < batch->count; i++) {
		struct event event = { 0 };
		struct err unreadable = ERR_INIT;

		if (event_decode(batch->records[i].headers, &event, &unreadable) != ERR_OK ||
			!slice_eq(event.id, one->id))
			continue;
		spot_put_pending(spot, one->line, &event, batch->records[i].offset);
		return false;
	}
	return true;
}

static enum err_code put_sources(
	const struct inspect *in, size_t lane, struct slice id, struct line *line)
{
	struct spot spot;
	enum err_code rc = spot_open(in, lane, &spot, line->err);

	for (size_t i = 0; rc == ERR_OK && i < in->config->source_count; i++)
		rc = put_source(&spot, &in->config->sources[i], id, line);
	return rc;
}

static enum err_code not_known(struct slice id, const struct waiting *waiting, struct err *err)
{
	if (waiting->left > 0)
		return err_set(err, ERR_NOT_FOUND,
			"no event \"%.*s\" is known; %llu that still wait were not looked at",
			SLICE_FMT(id), (unsigned long long)waiting->left);
	return err_set(err, ERR_NOT_FOUND, "no event \"%.*s\" is known", SLICE_FMT(id));
}

enum err_code inspect_event(
	const struct inspect *in, struct slice id, struct buf *out, struct err *err)
{
	struct line line = { .out = out, .err = err };
	struct waiting waiting = { .look = put_if_it,
		.ctx = &(struct one_waiting){ .id = id, .line = &line } };
	enum err_code rc = items_begin(out, err);
	size_t start = out->len;

	for (size_t i = 0; rc == ERR_OK && i < in->lanes->count; i++)
		rc = put_sources(in, i, id, &line);
	if (rc == ERR_OK && out->len == start)
		rc = waiting_each(in, &waiting, err);
	if (rc == ERR_OK && out->len == start)
		rc = not_known(id, &waiting, err);
	return rc == ERR_OK ? items_end(&line, NULL) : rc;
}
