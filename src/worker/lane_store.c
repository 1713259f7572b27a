/* lane_store.c - the store of a lane that is followed: opened, committed now and then, tended, and
 * set aside when it cannot be believed.
 *
 * The journal is the truth: whatever the store loses is folded again. While a worker owns the lane
 * the store is the worker's (batch.c). Deliberately not here: reading the journal (lane.c). */
#include "crew_priv.h"

#include <assert.h>

#define SETTLE_MS 200
#define SETTLE_STATE_MS 10000 /* when only positions moved */
#define SETTLE_CHANGES 65536  /* of a long fold */
#define SETTLE_BYTES MIB(64)  /* more waits for no commit */
#define RETRY_MS 1000
#define GIVE_UP_MS 60000
#define UPKEEP_MS 1000
#define UPKEEP_ENTRIES 256

enum err_code lane_blame_store(struct lane *lane, enum err_code code)
{
	lane->store_bad = lane->store_bad || code == ERR_CORRUPT;
	return code;
}

enum err_code lane_store_open(struct lane *lane, struct err *err)
{
	struct crew *crew = lane->crew;
	struct config *config = crew_config(crew);
	const struct store_opts opts = {
		.dir = lane->dir,
		.dedupe_ms = config->worker.dedupe_hours * INT64_C(3600000),
		.ledger_max_bytes = config->worker.ledger_max_bytes,
		.map_bytes = crew->opts.map_bytes,
		.clock = crew->opts.clock,
		.log = &crew->log,
	};
	struct store *store = NULL;
	enum err_code rc = ERR_OK;

	if (!lane->store)
		rc = lane_blame_store(lane, store_lmdb_open(&opts, &store, err));
	config_unref(&config);
	if (rc != ERR_OK || !store)
		return rc;
	lock_take(&lane->lock);
	lane->store = store;
	lock_give(&lane->lock);
	lane->settled_ms = crew_now_ms(crew);
	lane->since_ms = lane->retry_ms = lane->failed_ms = 0;
	return ERR_OK;
}

enum err_code lane_store_set_aside(struct lane *lane, struct err *err)
{
	const struct clock *clock = lane->crew->opts.clock;

	if (lane->store && lane->old_count == LANE_STORES)
		return err_set(err, ERR_CORRUPT,
			"lane %d: its store was folded again %d times and is still of no use",
			lane->partition, LANE_STORES);
	lane->store_bad = false;
	if (lane->store) {
		lock_take(&lane->lock);
		lane->old[lane->old_count++] = lane->store;
		lane->store = NULL;
		lock_give(&lane->lock);
	}
	return store_lmdb_set_aside(lane->dir, clock->wall_ms(clock), err);
}

bool lane_store_floods(const struct lane *lane)
{
	size_t bytes;

	(void)store_uncommitted(lane->store, &bytes);
	return lane->failed_ms != 0 && bytes > SETTLE_BYTES;
}

static enum err_code not_settled(struct lane *lane, int64_t now_ms, struct err *err)
{
	if (lane->failed_ms == 0) {
		lane->failed_ms = now_ms;
		log_error("commit_failed", log_int("lane", lane->partition), log_code(err->code),
			log_str("text", err->text));
	}
	lane->retry_ms = now_ms + RETRY_MS;
	if (err_action(err->code) == ACT_STOP || now_ms - lane->failed_ms > GIVE_UP_MS)
		return lane_blame_store(lane, err->code);
	err_clear(err);
	return ERR_OK;
}

static bool due(struct lane *lane, int64_t now_ms)
{
	size_t bytes;
	const size_t changes = store_uncommitted(lane->store, &bytes);

	if (lane->retry_ms != 0)
		return now_ms >= lane->retry_ms;
	if (changes == 0)
		return now_ms - lane->settled_ms >= SETTLE_STATE_MS;
	if (changes >= SETTLE_CHANGES || bytes >= SETTLE_BYTES / 2)
		return true;
	if (lane->since_ms == 0)
		lane->since_ms = now_ms;
	return lane->up_to_date && now_ms - lane->since_ms >= SETTLE_MS;
}

enum err_code lane_store_settle(struct lane *lane, bool now, struct err *err)
{
	const int64_t now_ms = crew_now_ms(lane->crew);
	struct err own = ERR_INIT;
	enum err_code rc;

	if (!now && !due(lane, now_ms))
		return ERR_OK;
	lane->settled_ms = now_ms;
	if (store_commit(lane->store, &own) != ERR_OK) {
		rc = not_settled(lane, now_ms, &own);
		return rc == ERR_OK ? ERR_OK : err_set(err, rc, "%s", own.text);
	}
	if (lane->failed_ms != 0)
		log_info("commit_resumed", log_int("lane", lane->partition));
	lane->since_ms = lane->retry_ms = lane->failed_ms = 0;
	return ERR_OK;
}

/* What is past its retention is nobody's to show; each store sees to that for itself. */
static enum err_code trim(
	struct lane *lane, enum out_target target, int64_t oldest_ms, struct err *err)
{
	struct store_entry entry;
	struct err none = ERR_INIT;
	int64_t first = INT64_MIN;

	for (int i = 0; i < UPKEEP_ENTRIES; i++) {
		if (store_entry_next(lane->store, target, first, &lane->text, &entry, &none) !=
				ERR_OK ||
			entry.time_ms >= oldest_ms)
			break;
		first = entry.stream_offset + 1;
	}
	if (none.code == ERR_CORRUPT)
		return err_set(err, lane_blame_store(lane, ERR_CORRUPT), "%s", none.text);
	return first == INT64_MIN ? ERR_OK : store_entries_trim(lane->store, target, first, err);
}

enum err_code lane_store_upkeep(struct lane *lane, struct err *err)
{
	const struct clock *clock = lane->crew->opts.clock;
	const int64_t now_ms = clock->mono_ms(clock), wall_ms = clock->wall_ms(clock);
	struct config *config;
	struct store_totals totals;
	enum err_code rc;

	if (now_ms < lane->upkeep_ms)
		return ERR_OK;
	lane->upkeep_ms = now_ms + UPKEEP_MS;
	config = crew_config(lane->crew);
	rc = trim(lane, OUT_DLQ, wall_ms - config->dlq.retention_hours * 3600000, err);
	if (rc == ERR_OK)
		rc = trim(lane, OUT_QUARANTINE,
			wall_ms - config->quarantine.retention_hours * 3600000, err);
	config_unref(&config);
	if (rc == ERR_OK)
		rc = lane_blame_store(lane, store_maintain(lane->store, wall_ms, err));
	if (rc != ERR_OK)
		return rc;
	store_totals(lane->store, &totals);
	lock_take(&lane->lock);
	lane->totals = totals;
	lock_give(&lane->lock);
	lane_show(lane, lane->up_to_date && lane_is_ownerless(lane));
	return ERR_OK;
}
