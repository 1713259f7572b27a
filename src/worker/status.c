/* status.c - what other threads may know of the worker: a board that the owner writes and others
 * read.
 *
 * Deliberately not here: what is counted for ever (metrics), and what is remembered of an event
 * (store). */
#include "worker_priv.h"

#include "postern/json.h"

#include <stdio.h>
#include <stdlib.h>

void worker_board_init(struct board *board)
{
	lock_init(&board->lock);
}

void worker_board_done(struct board *board)
{
	free(board->routes);
	config_unref(&board->config);
	lock_done(&board->lock);
}

/* Routes that are not in the config any more, but have parked events, are not shown: these move on
 * to another route when they are due. */
static void show_routes_locked(struct worker *w)
{
	struct board *b = &w->board;
	struct table *t = w->table;

	lock_assert_held(&b->lock);
	if (b->config != t->config) {
		struct board_route *routes = calloc(t->count, sizeof(*routes));

		if (!routes)
			return; /* the next refresh tries again */
		free(b->routes);
		config_unref(&b->config);
		b->routes = routes;
		b->config = config_ref(t->config);
		b->route_count = t->count;
	}
	for (size_t i = 0; i < t->count; i++) {
		const struct route *r = &t->routes[i];

		b->routes[i] = (struct board_route){
			.name = i < b->config->route_count ? b->config->routes[i].name : "",
			.parked = store_parked_of_route(w->store, r->number),
			.breaker = r->handler ? r->breaker.state : BREAKER_CLOSED,
			.calls = (unsigned)r->calls,
			.paused = r->dlq_full,
			.for_topic = r->line && worker_topic_full(r->line),
		};
	}
}

static const enum metric_family gauges[] = { METRIC_QUEUE_LAG, METRIC_PARKED_EVENTS,
	METRIC_LEDGER_BYTES };

/* Workers that share a process share its gauges: each adds its part. */
static void show(struct worker *w, int64_t lag, const struct store_totals *totals)
{
	const int64_t values[] = { lag, (int64_t)totals->parked_events,
		(int64_t)totals->ledger_bytes };

	for (size_t i = 0; i < ARRAY_LEN(gauges); i++) {
		struct metric *gauge = metric_series(gauges[i], NULL, NULL);

		if (w->journaled)
			metric_add(gauge, values[i] - w->shown[i]);
		else
			metric_set(gauge, values[i]);
		w->shown[i] = values[i];
	}
}

void worker_board_forget(struct worker *w)
{
	if (w->journaled)
		show(w, 0, &(struct store_totals){ .parked_events = 0 });
}

void worker_board_refresh(struct worker *w)
{
	struct board *b = &w->board;
	struct stream_stat stat;
	struct store_totals totals;

	queue_stat(w->queue, STREAM_EVENTS, &stat);
	store_totals(w->store, &totals);
	show(w, stat.end - worker_position(w), &totals);
	for (size_t i = 0; i < w->table->count; i++)
		worker_route_show_breaker(&w->table->routes[i]);
	lock_take(&b->lock);
	b->position = worker_position(w);
	b->end = stat.end;
	b->lag = stat.end - b->position;
	b->oldest_ms = b->lag > 0 ? stat.oldest_ms : 0;
	b->totals = totals;
	b->journal_next = w->journal_next;
	b->calls = w->calls;
	show_routes_locked(w);
	lock_give(&b->lock);
}

void worker_board_pause(struct worker *w, const char *text)
{
	struct board *b = &w->board;

	lock_take(&b->lock);
	b->paused = text ? ERR_FULL : ERR_OK;
	(void)snprintf(b->pause_text, sizeof(b->pause_text), "%s", text ? text : "");
	lock_give(&b->lock);
}

enum err_code worker_failed(struct worker *w, struct err *err)
{
	struct err failed;

	lock_take(&w->board.lock);
	failed = w->board.failed;
	lock_give(&w->board.lock);
	return failed.code == ERR_OK ? ERR_OK : err_set(err, failed.code, "%s", failed.text);
}

enum err_code worker_ready(struct worker *w, struct err *err)
{
	struct board *b = &w->board;
	enum err_code rc = worker_failed(w, err);

	if (rc != ERR_OK)
		return rc;
	lock_take(&b->lock);
	if (b->paused != ERR_OK)
		rc = err_set(err, b->paused, "%s", b->pause_text);
	for (size_t i = 0; rc == ERR_OK && i < b->route_count; i++) {
		if (b->routes[i].paused)
			rc = err_set(err, ERR_FULL,
				"the dead letters are full: route \"%s\" waits; replay or drop "
				"some",
				b->routes[i].name);
		else if (b->routes[i].for_topic)
			rc = err_set(err, ERR_FULL,
				"route \"%s\" waits: its topic takes no records, and too many "
				"wait for it",
				b->routes[i].name);
	}
	lock_give(&b->lock);
	return rc;
}

/* ---- as JSON ----------------------------------------------------------------------- */

struct number {
	const char *name;
	int64_t value;
};

/* "name": {...} */
static enum err_code put_numbers(struct buf *out, const char *name, const struct number *numbers,
	size_t count, struct err *err)
{
	enum err_code rc = json_put_name(out, name, err);

	if (rc == ERR_OK)
		rc = buf_put_str(out, "{", err);
	for (size_t i = 0; i < count && rc == ERR_OK; i++)
		rc = json_put_int(out, numbers[i].name, numbers[i].value, err);
	return rc == ERR_OK ? buf_put_str(out, "}", err) : rc;
}

static enum err_code put_route(struct buf *out, const struct board_route *r, struct err *err)
{
	enum err_code rc = json_put_name(out, r->name, err);

	if (rc == ERR_OK)
		rc = buf_put_str(out, "{", err);
	if (rc == ERR_OK)
		rc = json_put_int(out, "parked", (int64_t)r->parked, err);
	if (rc == ERR_OK)
		rc = json_put_str(out, "breaker", slice_str(breaker_state_name(r->breaker)), err);
	if (rc == ERR_OK)
		rc = json_put_int(out, "calls", r->calls, err);
	if (rc == ERR_OK)
		rc = json_put_bool(out, "paused", r->paused || r->for_topic, err);
	return rc == ERR_OK ? buf_put_str(out, "}", err) : rc;
}

int64_t worker_board_age_s(const struct board *b, int64_t wall_ms)
{
	return b->oldest_ms > 0 && b->oldest_ms < wall_ms ? (wall_ms - b->oldest_ms) / 1000 : 0;
}

enum err_code worker_board_put(
	const struct board *b, int64_t wall_ms, struct buf *out, struct err *err)
{
	const struct number queue[] = { { "lag", b->lag },
		{ "oldest_s", worker_board_age_s(b, wall_ms) }, { "position", b->position },
		{ "end", b->end }, { "calls", (int64_t)b->calls } };
	const struct number ledger[] = { { "entries", (int64_t)b->totals.ledger_entries },
		{ "bytes", (int64_t)b->totals.ledger_bytes },
		{ "map_bytes", (int64_t)b->totals.map_bytes },
		{ "file_bytes", (int64_t)b->totals.file_bytes } };
	const struct number parked[] = { { "events", (int64_t)b->totals.parked_events },
		{ "bytes", (int64_t)b->totals.parked_bytes } };
	enum err_code rc = put_numbers(out, "queue", queue, ARRAY_LEN(queue), err);

	if (rc == ERR_OK)
		rc = json_put_name(out, "routes", err);
	if (rc == ERR_OK)
		rc = buf_put_str(out, "{", err);
	for (size_t i = 0; i < b->route_count && rc == ERR_OK; i++)
		rc = put_route(out, &b->routes[i], err);
	if (rc == ERR_OK)
		rc = buf_put_str(out, "}", err);
	if (rc == ERR_OK)
		rc = put_numbers(out, "ledger", ledger, ARRAY_LEN(ledger), err);
	if (rc == ERR_OK)
		rc = put_numbers(out, "parked", parked, ARRAY_LEN(parked), err);
	if (rc == ERR_OK)
		rc = json_put_int(out, "outputs_waiting", (int64_t)b->totals.outs, err);
	if (rc == ERR_OK)
		rc = json_put_str(out, "paused",
			b->paused != ERR_OK ? slice_str(b->pause_text) : SLICE_EMPTY, err);
	return rc;
}

enum err_code worker_status(struct worker *w, struct buf *out, struct err *err)
{
	enum err_code rc;

	lock_take(&w->board.lock);
	rc = worker_board_put(&w->board, w->clock->wall_ms(w->clock), out, err);
	lock_give(&w->board.lock);
	return rc;
}

int64_t worker_oldest_s(struct worker *w)
{
	int64_t seconds;

	lock_take(&w->board.lock);
	seconds = worker_board_age_s(&w->board, w->clock->wall_ms(w->clock));
	lock_give(&w->board.lock);
	return seconds;
}

int64_t worker_last_turn_ms(const struct worker *w)
{
	return w->last_turn_ms;
}
