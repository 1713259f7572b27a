/* inspect.c - events and state: what the ledger, the parked copies and the log know. Dead letters
 * and quarantine are in inspect_entries.c. */
#include "inspect.h"

#include "lines.h"
#include "recheck.h"

#include "postern/crypto.h"

#include <stdio.h>
#include <stdlib.h>

#define PENDING_BATCH 256
#define PENDING_SCAN_MAX 20000 /* waiting records looked at for one list */
#define PENDING_MS 5000        /* and time for it, where each one is asked for */
#define RECENT_MAX 20000       /* ledger entries looked at for one list, of all lanes */

/* A lane while it is asked. */
struct spot {
	const struct inspect *in;
	size_t lane;
	struct store_view *view;
	struct queue *queue;
};

static enum err_code spot_open(
	const struct inspect *in, size_t lane, struct spot *out, struct err *err)
{
	*out = (struct spot){ .in = in, .lane = lane, .view = in->lanes->list[lane].view };
	return lanes_queue(in->lanes, lane, &out->queue, err);
}

static void put_place(const struct spot *spot, struct line *line, int64_t offset)
{
	if (spot->in->lanes->crew)
		line_int(line, "partition", (int64_t)spot->lane);
	line_int(line, "offset", offset);
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
static enum err_code find_record(const struct spot *spot, struct life *life, struct err *err)
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

static void put_life(const struct spot *spot, struct line *line, const struct event *event,
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
	put_place(spot, line, seen->offset);
	if (parked) {
		line_str(line, "parked", park_reason_name(life->park.reason));
		line_time(line, "next_try", life->park.next_ts_ms);
		line_text(line, "error", life->park.error);
	}
	line_end(line);
}

static void put_pending(
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
	put_place(spot, line, offset);
	line_end(line);
}

static enum err_code identity16(const struct event *event, uint8_t out[ID16_LEN], struct err *err)
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

/* One source's answer, if the lane's ledger knows the id. */
static enum err_code put_source(const struct spot *spot, const struct source_config *source,
	struct slice id, struct line *line)
{
	const struct event event = {
		.id = id, .source = slice_str(source->name), .tenant = slice_str(source->tenant)
	};
	struct life life = LIFE_INIT;
	uint8_t id16[ID16_LEN];
	enum err_code rc = identity16(&event, id16, line->err);

	if (rc == ERR_OK) {
		struct err one = ERR_INIT;

		rc = store_view_seen(spot->view, id16, &life.seen, &one);
		if (rc == ERR_OK)
			rc = find_record(spot, &life, line->err);
		else if (rc != ERR_NOT_FOUND)
			rc = err_set(line->err, rc, "%s", one.text);
		if (rc == ERR_OK)
			put_life(spot, line, &event, &life);
	}
	life_done(&life);
	return rc == ERR_NOT_FOUND ? ERR_OK : rc;
}

/* Between the worker's position and the end of the log: events that no batch has reached. The look
 * is called with one batch of them after the other, until it says that it has enough. */
struct waiting {
	bool (*look)(void *ctx, const struct spot *spot, const struct queue_batch *batch,
		struct err *err);
	void *ctx;
	int64_t until_ms; /* monotonic: a broker is not asked longer */
	bool more;        /* the look has not had enough */
	uint64_t left;    /* events that were not looked at for lack of time */
};

static enum err_code read_waiting(
	const struct spot *spot, struct waiting *w, int64_t at, int64_t end, struct err *err)
{
	struct queue_batch batch = { 0 };
	enum err_code rc = ERR_OK;

	while (rc == ERR_OK && w->more && at < end) {
		rc = queue_read(
			spot->queue, STREAM_EVENTS, at, PENDING_BATCH, MIB(4), 0, &batch, err);
		if (rc != ERR_OK || batch.count == 0)
			break;
		w->more = w->look(w->ctx, spot, &batch, err);
		at = batch.records[batch.count - 1].offset + 1;
		queue_release(spot->queue, &batch);
		rc = err->code;
	}
	return rc;
}

/* Over Kafka reading is the owner's: each record is asked for by itself. */
static enum err_code look_waiting_up(
	const struct spot *spot, struct waiting *w, int64_t at, int64_t end, struct err *err)
{
	const struct clock *clock = clock_system();
	struct buf bytes = BUF_INIT(MIB(2));
	enum err_code rc = ERR_OK;

	for (; rc == ERR_OK && w->more && at < end; at++) {
		struct record record = { 0 };
		struct queue_batch batch = { .records = &record, .count = 1 };
		struct err one = ERR_INIT;

		if (clock->mono_ms(clock) >= w->until_ms) {
			w->left += (uint64_t)(end - at);
			break;
		}
		buf_reset(&bytes);
		rc = queue_lookup(spot->queue, STREAM_EVENTS, at, &bytes, &record, &one);
		if (rc == ERR_OK)
			w->more = w->look(w->ctx, spot, &batch, err);
		else if (rc != ERR_NOT_FOUND)
			err_ignored(err_set(err, rc, "%s", one.text));
		rc = err->code;
	}
	buf_done(&bytes);
	return rc;
}

static enum err_code each_waiting(const struct inspect *in, struct waiting *w, struct err *err)
{
	const struct clock *clock = clock_system();
	enum err_code rc = ERR_OK;

	w->more = true;
	w->until_ms = clock->mono_ms(clock) + PENDING_MS;
	for (size_t i = 0; i < in->lanes->count && rc == ERR_OK && w->more; i++) {
		struct store_state state = { 0 };
		struct stream_stat stat = { 0 };
		struct spot spot;
		int64_t at;

		rc = spot_open(in, i, &spot, err);
		if (rc == ERR_OK)
			rc = store_view_state(spot.view, &state, err);
		if (rc != ERR_OK)
			break;
		queue_stat(spot.queue, STREAM_EVENTS, &stat);
		at = state.next_offset > stat.first ? state.next_offset : stat.first;
		rc = in->lanes->crew ? look_waiting_up(&spot, w, at, stat.end, err)
				     : read_waiting(&spot, w, at, stat.end, err);
	}
	return rc;
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
		put_pending(spot, one->line, &event, batch->records[i].offset);
		return false;
	}
	return true;
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
	enum err_code rc = begin_items(out, err);
	size_t start = out->len;

	for (size_t i = 0; rc == ERR_OK && i < in->lanes->count; i++)
		rc = put_sources(in, i, id, &line);
	if (rc == ERR_OK && out->len == start)
		rc = each_waiting(in, &waiting, err);
	if (rc == ERR_OK && out->len == start)
		rc = not_known(id, &waiting, err);
	return rc == ERR_OK ? end_items(&line) : rc;
}

/* ---- the newest --------------------------------------------------------------------------------
 */

/* As far as the ledger alone can tell, which is cheap. */
static bool may_fit(
	const struct inspect_filter *filter, const struct item_seen *seen, const char *route)
{
	int64_t received = (int64_t)seen->received_s * 1000;

	return (!filter->route.len || slice_eq_str(filter->route, route)) &&
	       (!filter->outcome.len ||
		       slice_eq_str(filter->outcome, outcome_name(seen->outcome))) &&
	       (!filter->reason.len || slice_eq_str(filter->reason, err_name(seen->code))) &&
	       received >= filter->since_ms && received <= filter->until_ms;
}

static bool fits(const struct inspect_filter *filter, const struct event *event,
	const struct item_seen *seen, const char *route)
{
	return may_fit(filter, seen, route) &&
	       (!filter->source.len || slice_eq(filter->source, event->source)) &&
	       (!filter->entity.len || slice_eq(filter->entity, event->entity));
}

/* *out_put: it fitted the filter. */
static enum err_code put_recent(const struct spot *spot, const struct inspect_filter *filter,
	const struct item_seen *seen, struct line *line, bool *out_put)
{
	const char *route = store_view_route_name(spot->view, seen->route);
	struct life life = LIFE_INIT;
	enum err_code rc = ERR_OK;

	*out_put = false;
	if (!may_fit(filter, seen, route))
		return ERR_OK;
	life.seen = *seen;
	rc = find_record(spot, &life, line->err);
	if (rc == ERR_OK && fits(filter, &life.event, seen, route)) {
		put_life(spot, line, &life.event, &life);
		*out_put = true;
	}
	life_done(&life);
	return rc;
}

/* Records that wait, as far as they fit the filter, and what the ledger knows of them already: an
 * event that ended ahead of an older one stands in both. */
struct page {
	size_t count;
	struct event events[PENDING_BATCH];
	int64_t offsets[PENDING_BATCH];
	uint8_t ids[PENDING_BATCH][ID16_LEN];
	struct item_seen seen[PENDING_BATCH];
};

/* What waits is looked for first, and listed last: what ended in between is listed as that. */
/* An entry of a ledger. */
struct recent {
	size_t lane, index; /* of the lane's, newest first */
	struct item_seen seen;
};

struct listing {
	const struct inspect *in;
	const struct inspect_filter *filter;
	struct line *line;
	struct recent *recent; /* what was listed from the ledgers */
	size_t recent_count;
	struct page page;
	size_t left, scanned;
};

static void read_page(struct listing *l, const struct queue_batch *batch)
{
	struct page *page = &l->page;

	page->count = 0;
	for (size_t i = 0; i < batch->count; i++) {
		struct event *event = &page->events[page->count];
		struct err unreadable = ERR_INIT;
		struct item_seen seen = { .outcome = OUTCOME_PENDING };

		*event = (struct event){ 0 };
		if (event_decode(batch->records[i].headers, event, &unreadable) != ERR_OK ||
			identity16(event, page->ids[page->count], &unreadable) != ERR_OK)
			continue;
		seen.received_s = (uint32_t)(event->received_ms / 1000);
		if (fits(l->filter, event, &seen, ""))
			page->offsets[page->count++] = batch->records[i].offset;
	}
}

static bool is_listed(const struct listing *l, size_t lane, int64_t offset)
{
	for (size_t i = 0; i < l->recent_count; i++)
		if (l->recent[i].lane == lane && l->recent[i].seen.offset == offset)
			return true;
	return false;
}

static bool put_waiting(
	void *ctx, const struct spot *spot, const struct queue_batch *batch, struct err *err)
{
	struct listing *l = ctx;
	struct page *page = &l->page;
	enum err_code rc;
	bool put;

	read_page(l, batch);
	rc = store_view_seen_all(spot->view, page->ids, page->count, page->seen, err);
	for (size_t i = 0; i < page->count && l->left > 0 && rc == ERR_OK; i++) {
		const struct item_seen *seen = &page->seen[i];

		if (seen->outcome == OUTCOME_NONE) {
			put_pending(spot, l->line, &page->events[i], page->offsets[i]);
			l->left--;
		} else if (seen->offset == page->offsets[i] &&
			   !is_listed(l, spot->lane, seen->offset)) {
			/* It ended since the ledger was listed. */
			rc = put_recent(spot, l->filter, seen, l->line, &put);
		}
	}
	l->scanned += batch->count;
	return rc == ERR_OK && l->left > 0 && l->scanned < PENDING_SCAN_MAX;
}

/* Between lanes the time of reception is all the order that there is. */
static int newest_first(const void *a, const void *b)
{
	const struct recent *x = a, *y = b;

	if (x->seen.received_s != y->seen.received_s)
		return x->seen.received_s > y->seen.received_s ? -1 : 1;
	if (x->lane != y->lane)
		return x->lane < y->lane ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

/* The newest of each lane. */
static enum err_code read_recent(struct listing *l, size_t each, struct err *err)
{
	struct item_seen *items = calloc(each, sizeof(*items));
	const struct lanes *lanes = l->in->lanes;
	enum err_code rc = items ? ERR_OK : err_set(err, ERR_NOMEM, "no memory");

	for (size_t lane = 0; lane < lanes->count && rc == ERR_OK; lane++) {
		size_t count = 0;

		rc = store_view_recent(lanes->list[lane].view, each, items, &count, err);
		for (size_t i = 0; i < count && rc == ERR_OK; i++)
			l->recent[l->recent_count++] = (struct recent){ lane, i, items[i] };
	}
	free(items);
	return rc;
}

static enum err_code put_all_recent(struct listing *l, struct err *err)
{
	size_t left = l->filter->limit;
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < l->recent_count && left > 0 && rc == ERR_OK; i++) {
		struct spot spot;
		bool put = false;

		rc = spot_open(l->in, l->recent[i].lane, &spot, err);
		if (rc == ERR_OK)
			rc = put_recent(&spot, l->filter, &l->recent[i].seen, l->line, &put);
		left -= put;
	}
	return rc;
}

static enum err_code list_events(struct listing *l, size_t each, struct err *err)
{
	struct waiting waiting = { .look = put_waiting, .ctx = l };
	const struct inspect_filter *filter = l->filter;
	enum err_code rc = read_recent(l, each, err);

	if (rc == ERR_OK && l->in->lanes->count > 1)
		qsort(l->recent, l->recent_count, sizeof(*l->recent), newest_first);
	if (rc == ERR_OK)
		rc = put_all_recent(l, err);
	if (rc == ERR_OK && (!filter->outcome.len ||
				    slice_eq_str(filter->outcome, outcome_name(OUTCOME_PENDING))))
		rc = each_waiting(l->in, &waiting, err);
	return rc;
}

enum err_code inspect_events(const struct inspect *in, const struct inspect_filter *filter,
	struct buf *out, struct err *err)
{
	const size_t lanes = in->lanes->count;
	const size_t each = lanes * INSPECT_LIMIT_MAX <= RECENT_MAX ? INSPECT_LIMIT_MAX
								    : RECENT_MAX / lanes + 1;
	struct line line = { .out = out, .err = err };
	struct listing *listing = calloc(1, sizeof(*listing));
	struct recent *recent = calloc(lanes * each, sizeof(*recent));
	enum err_code rc =
		listing && recent ? begin_items(out, err) : err_set(err, ERR_NOMEM, "no memory");

	if (rc == ERR_OK) {
		listing->in = in;
		listing->filter = filter;
		listing->line = &line;
		listing->recent = recent;
		listing->left = filter->limit;
		rc = list_events(listing, each, err);
	}
	if (rc == ERR_OK)
		rc = end_items(&line);
	free(recent);
	free(listing);
	return rc;
}

/* ---- state of an entity ------------------------------------------------------------------------
 */

static enum err_code put_state(
	const struct inspect *in, size_t lane, const struct event *event, struct line *line)
{
	struct store_view *view = in->lanes->list[lane].view;
	struct buf subject = BUF_INIT(KIB(4)), text = BUF_INIT(KIB(16));
	const struct spot spot = { .in = in, .lane = lane };
	struct item_version item = { 0 };
	struct err one = ERR_INIT;
	char version[VERSION_TEXT_MAX];
	enum err_code rc = event_subject(event, &subject, &one);

	if (rc == ERR_OK)
		rc = store_view_version(view, buf_slice(&subject), &item, &text, &one);
	if (rc == ERR_OK) {
		version_text(item.version, version);
		line_begin(line);
		line_text(line, "entity", event->entity);
		line_text(line, "tenant", event->tenant);
		line_str(line, "version", version);
		line_text(line, "event_id", item.event_id);
		line_text(line, "source", item.source);
		line_str(line, "route", store_view_route_name(view, item.route));
		line_time(line, "applied", item.time_ms);
		put_place(&spot, line, item.offset);
		line_end(line);
	}
	buf_done(&subject);
	buf_done(&text);
	if (rc == ERR_OK || rc == ERR_NOT_FOUND)
		return ERR_OK;
	return err_set(line->err, rc, "%s", one.text);
}

/* An entity is in one lane, unless its sender's ids are unsigned: then in those of its copies. */
static enum err_code put_states(
	const struct inspect *in, const char *tenant, struct slice entity, struct line *line)
{
	const struct event event = { .tenant = slice_str(tenant), .entity = entity };
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < in->lanes->count && rc == ERR_OK; i++)
		rc = put_state(in, i, &event, line);
	return rc;
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
			rc = put_states(in, tenant, tail, &line);
		if (rc == ERR_OK)
			rc = put_states(in, tenant, what, &line);
	}
	if (rc == ERR_OK && out->len == start)
		rc = err_set(err, ERR_NOT_FOUND, "no state of \"%.*s\"", SLICE_FMT(what));
	return rc == ERR_OK ? end_items(&line) : rc;
}
