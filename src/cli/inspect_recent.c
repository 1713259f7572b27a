/* inspect_recent.c - the newest events: what the ledgers know, newest first, and behind it what
 * still waits.
 *
 * Deliberately not here: the record of an event and its line (inspect.c), how what waits is read
 * (inspect_waiting.c). */
#include "inspect_priv.h"

#include <stdlib.h>

#define RECENT_MAX 20000       /* ledger entries looked at for one list, of all lanes */
#define WAITING_SCAN_MAX 20000 /* waiting records looked at for one list */

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
	rc = spot_find_record(spot, &life, line->err);
	if (rc == ERR_OK && fits(filter, &life.event, seen, route)) {
		spot_put_life(spot, line, &life.event, &life);
		*out_put = true;
	}
	life_done(&life);
	return rc;
}

/* Records that wait, as far as they fit the filter, and what the ledger knows of them already: an
 * event that ended ahead of an older one stands in both. */
struct page {
	size_t count;
	struct event events[WAITING_BATCH];
	int64_t offsets[WAITING_BATCH];
	uint8_t ids[WAITING_BATCH][ID16_LEN];
	struct item_seen seen[WAITING_BATCH];
};

/* An entry of a ledger. */
struct recent {
	size_t lane, index; /* of the lane's, newest first */
	struct item_seen seen;
};

struct listing {
	const struct inspect *in;
	const struct inspect_filter *filter;
	struct line *line;
	struct recent *recent; /* what the ledgers knew; it comes before what waits */
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
			inspect_id16(event, page->ids[page->count], &unreadable) != ERR_OK)
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
			spot_put_pending(spot, l->line, &page->events[i], page->offsets[i]);
			l->left--;
		} else if (seen->offset == page->offsets[i] &&
			   !is_listed(l, spot->lane, seen->offset)) {
			/* It ended since the ledger was listed. */
			rc = put_recent(spot, l->filter, seen, l->line, &put);
		}
	}
	l->scanned += batch->count;
	return rc == ERR_OK && l->left > 0 && l->scanned < WAITING_SCAN_MAX;
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
		rc = waiting_each(l->in, &waiting, err);
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
		listing && recent ? items_begin(out, err) : err_set(err, ERR_NOMEM, "no memory");

	if (rc == ERR_OK) {
		listing->in = in;
		listing->filter = filter;
		listing->line = &line;
		listing->recent = recent;
		listing->left = filter->limit;
		rc = list_events(listing, each, err);
	}
	if (rc == ERR_OK)
		rc = items_end(&line, NULL);
	free(recent);
	free(listing);
	return rc;
}
