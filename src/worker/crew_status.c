/* crew_status.c - what others may know of the crew and its lanes.
 *
 * A lane that is owned is asked through its worker's board; of one that is followed the lane itself
 * writes down what it knows. */
#include "crew_priv.h"

#include "postern/json.h"

#include <stdlib.h>

#define END_AGE_MS 2000

int32_t crew_partitions(const struct crew *crew)
{
	return (int32_t)crew->lane_count;
}

struct queue *crew_queue(struct crew *crew, int32_t partition)
{
	return crew_lane_of(crew, partition)->queue;
}

enum err_code crew_view(
	struct crew *crew, int32_t partition, struct store_view **out, struct err *err)
{
	struct lane *lane = crew_lane_of(crew, partition);
	enum err_code rc;

	lock_take(&lane->lock);
	rc = lane->store ? store_view_open(lane->store, out, err)
			 : err_set(err, ERR_UNAVAILABLE, "partition %d is not read yet", partition);
	lock_give(&lane->lock);
	return rc;
}

/* With its worker's board, where it has one. */
static void copy_locked(struct lane *lane, struct lane_info *out, struct store_totals *out_totals)
{
	lock_assert_held(&lane->lock);
	*out = lane->info;
	*out_totals = lane->totals;
	out->assigned = lane->assigned;
	if (!lane->worker)
		return;
	lock_take(&lane->worker->board.lock);
	out->position = lane->worker->board.position;
	out->journal_next = lane->worker->board.journal_next;
	*out_totals = lane->worker->board.totals;
	lock_give(&lane->worker->board.lock);
	out->silent_ms = 0;
}

void crew_lane(struct crew *crew, int32_t partition, struct lane_info *out)
{
	struct lane *lane = crew_lane_of(crew, partition);
	struct store_totals totals;

	lock_take(&lane->lock);
	copy_locked(lane, out, &totals);
	lock_give(&lane->lock);
}

enum err_code crew_failed(struct crew *crew, struct err *err)
{
	struct err failed;

	lock_take(&crew->lock);
	failed = crew->failed;
	lock_give(&crew->lock);
	return failed.code == ERR_OK ? ERR_OK : err_set(err, failed.code, "%s", failed.text);
}

static enum err_code lane_ready(struct lane *lane, struct err *err)
{
	enum err_code rc = ERR_OK;

	lock_take(&lane->lock);
	/* The lock keeps the worker where it is. */
	if (lane->worker)
		rc = worker_ready(lane->worker, err);
	else if (!lane->has_followed)
		rc = err_set(err, ERR_UNAVAILABLE, "partition %d is not read yet", lane->partition);
	lock_give(&lane->lock);
	return rc == ERR_FENCED ? ERR_OK : rc;
}

enum err_code crew_ready(struct crew *crew, struct err *err)
{
	enum err_code rc = crew_failed(crew, err);

	for (size_t i = 0; i < crew->lane_count && rc == ERR_OK; i++) {
		struct err own = ERR_INIT;

		rc = lane_ready(&crew->lanes[i], &own);
		if (rc != ERR_OK)
			err_ignored(err_set(err, rc, "%s", own.text));
	}
	return rc;
}

void lane_show(struct lane *lane, bool counts)
{
	static const enum metric_family gauges[] = { METRIC_QUEUE_LAG, METRIC_PARKED_EVENTS };
	int64_t values[ARRAY_LEN(gauges)] = { 0 };
	int64_t first, end;

	/* A broker that does not answer changes nothing. */
	if (counts && queue_events_bounds(lane->queue, END_AGE_MS, &first, &end, NULL) != ERR_OK)
		values[0] = lane->shown[0];
	else if (counts && end > lane->state.next_offset)
		values[0] = end - lane->state.next_offset;
	if (counts)
		values[1] = (int64_t)lane->totals.parked_events;
	for (size_t i = 0; i < ARRAY_LEN(gauges); i++) {
		metric_add(metric_series(gauges[i], NULL, NULL), values[i] - lane->shown[i]);
		lane->shown[i] = values[i];
	}
}

/* Waiting for Kafka is no standstill. */
int64_t crew_last_turn_ms(const struct crew *crew)
{
	int64_t oldest_ms = crew_now_ms(crew);

	for (size_t i = 0; i < crew->lane_count; i++) {
		/* Locks are not part of what does not change. */
		union {
			const struct lane *in;
			struct lane *out;
		} cast = { .in = &crew->lanes[i] };
		struct lane *lane = cast.out;
		int64_t turn_ms = lane->last_turn_ms;
		bool waits = lane->waits;

		lock_take(&lane->lock);
		if (lane->worker) {
			turn_ms = worker_last_turn_ms(lane->worker);
			waits = lane->worker->appending;
		}
		waits = waits || lane->over;
		lock_give(&lane->lock);
		if (!waits && turn_ms < oldest_ms)
			oldest_ms = turn_ms;
	}
	return oldest_ms;
}

/* ---- as JSON ----------------------------------------------------------------------- */

static void add_totals(struct store_totals *sum, const struct store_totals *one)
{
	sum->parked_events += one->parked_events;
	sum->parked_bytes += one->parked_bytes;
	sum->ledger_entries += one->ledger_entries;
	sum->ledger_bytes += one->ledger_bytes;
	sum->map_bytes += one->map_bytes;
	sum->file_bytes += one->file_bytes;
	sum->outs += one->outs;
}

static struct board_route *route_of(struct board *sum, const char *name)
{
	for (size_t i = 0; i < sum->route_count; i++) {
		if (strcmp(sum->routes[i].name, name) == 0)
			return &sum->routes[i];
	}
	return NULL;
}

/* A breaker that is open anywhere is open; routes that a reload is about to bring wait for it. */
static void add_routes_locked(struct board *sum, const struct board *one)
{
	lock_assert_held(&one->lock);
	for (size_t i = 0; i < one->route_count; i++) {
		const struct board_route *from = &one->routes[i];
		struct board_route *to = route_of(sum, from->name);

		if (!to)
			continue;
		to->parked += from->parked;
		to->calls += from->calls;
		to->paused = to->paused || from->paused;
		if (to->breaker == BREAKER_CLOSED || from->breaker == BREAKER_OPEN)
			to->breaker = from->breaker;
	}
}

static void add_worker(struct board *sum, struct worker *w)
{
	struct board *b = &w->board;

	lock_take(&b->lock);
	sum->calls += b->calls;
	add_routes_locked(sum, b);
	if (b->paused != ERR_OK && sum->paused == ERR_OK) {
		sum->paused = b->paused;
		memcpy(sum->pause_text, b->pause_text, sizeof(sum->pause_text));
	}
	lock_give(&b->lock);
}

struct lane_seen {
	struct lane_info info;
	int64_t lag;
};

static void add_lane(struct board *sum, struct lane *lane, struct lane_seen *seen)
{
	struct lane_info *out = &seen->info;
	struct store_totals totals;
	struct stream_stat stat;

	/* It may ask a broker: not under the lock. */
	queue_stat(lane->queue, STREAM_EVENTS, &stat);
	lock_take(&lane->lock);
	copy_locked(lane, out, &totals);
	if (lane->worker)
		add_worker(sum, lane->worker);
	lock_give(&lane->lock);
	add_totals(&sum->totals, &totals);
	sum->position += out->position;
	if (stat.end > out->position) {
		seen->lag = stat.end - out->position;
		sum->lag += seen->lag;
		if (stat.oldest_ms > 0 && (sum->oldest_ms == 0 || stat.oldest_ms < sum->oldest_ms))
			sum->oldest_ms = stat.oldest_ms;
	}
	sum->end += stat.end;
}

static const char *state_name(enum lane_state state)
{
	static const char *const names[] = {
		[LANE_FOLLOWING] = "following",
		[LANE_CLAIMING] = "claiming",
		[LANE_OWNED] = "owned",
		[LANE_FAILED] = "failed",
	};

	return names[state];
}

static enum err_code put_lane(
	struct buf *out, size_t number, const struct lane_seen *seen, struct err *err)
{
	const struct lane_info *info = &seen->info;

	const struct {
		const char *name;
		int64_t value;
	} numbers[] = { { "partition", (int64_t)number }, { "epoch", (int64_t)info->epoch },
		{ "position", info->position }, { "lag", seen->lag },
		{ "journal", info->journal_next }, { "silent_ms", info->silent_ms } };
	enum err_code rc = buf_put_str(out, number > 0 ? ",{" : "{", err);

	for (size_t i = 0; i < ARRAY_LEN(numbers) && rc == ERR_OK; i++)
		rc = json_put_int(out, numbers[i].name, numbers[i].value, err);
	if (rc == ERR_OK)
		rc = json_put_str(out, "state", slice_str(state_name(info->state)), err);
	if (rc == ERR_OK)
		rc = json_put_bool(out, "assigned", info->assigned, err);
	if (rc == ERR_OK)
		rc = json_put_str(out, "owner", slice_str(info->owner), err);
	return rc == ERR_OK ? buf_put_str(out, "}", err) : rc;
}

static enum err_code put_lanes(
	struct buf *out, const struct lane_seen *seen, size_t count, struct err *err)
{
	enum err_code rc = json_put_name(out, "lanes", err);

	if (rc == ERR_OK)
		rc = buf_put_str(out, "[", err);
	for (size_t i = 0; i < count && rc == ERR_OK; i++)
		rc = put_lane(out, i, &seen[i], err);
	return rc == ERR_OK ? buf_put_str(out, "]", err) : rc;
}

static enum err_code name_routes(struct board *sum, struct err *err)
{
	const struct config *config = sum->config;

	sum->routes = calloc(config->route_count + 1, sizeof(*sum->routes));
	if (!sum->routes)
		return err_set(err, ERR_NOMEM, "no memory for the status");
	sum->route_count = config->route_count + 1;
	for (size_t i = 0; i < sum->route_count; i++)
		sum->routes[i].name = i < config->route_count ? config->routes[i].name : "";
	return ERR_OK;
}

enum err_code crew_status(struct crew *crew, struct buf *out, struct err *err)
{
	struct lane_seen *seen = calloc(crew->lane_count, sizeof(*seen));
	struct board sum = { .config = crew_config(crew) };
	enum err_code rc = name_routes(&sum, err);

	if (rc == ERR_OK && !seen)
		rc = err_set(err, ERR_NOMEM, "no memory for the status");
	for (size_t i = 0; i < crew->lane_count && rc == ERR_OK; i++)
		add_lane(&sum, &crew->lanes[i], &seen[i]);
	if (rc == ERR_OK)
		rc = worker_board_put(&sum, crew->opts.clock->wall_ms(crew->opts.clock), out, err);
	if (rc == ERR_OK)
		rc = put_lanes(out, seen, crew->lane_count, err);
	free(seen);
	free(sum.routes);
	config_unref(&sum.config);
	return rc;
}

int64_t crew_oldest_s(struct crew *crew)
{
	struct board sum = { .oldest_ms = 0 };
	struct lane_seen seen;

	for (size_t i = 0; i < crew->lane_count; i++)
		add_lane(&sum, &crew->lanes[i], &seen);
	return worker_board_age_s(&sum, crew->opts.clock->wall_ms(crew->opts.clock));
}
