/* lane.c - a lane's thread: follow its journal, claim it when it is ours to claim, own it.
 *
 *   begin --> follow <--> claim --> own (a worker runs; this thread waits)
 *     ^          |                    | fenced, released, broken
 *     |          | store bad: set aside, fold again
 *     +----------+--------------------+
 *
 * Whoever reads its own claim as valid owns the lane, however long ago it was appended.
 * Deliberately not here: what a worker does. */
#include "crew_priv.h"

#include <assert.h>

#define FOLLOW_MS 100
#define RETRY_MS 1000
#define AGAIN_MS 100
#define RELEASE_MS 5000
#define TOLD_MS 10000

bool lane_stopping(struct lane *lane)
{
	bool stop;

	lock_take(&lane->lock);
	stop = lane->stop;
	lock_give(&lane->lock);
	return stop;
}

void lane_nap(struct lane *lane, int64_t ms)
{
	const int64_t until_ms = crew_now_ms(lane->crew) + ms;

	lock_take(&lane->lock);
	while (!lane->stop && cond_wait(&lane->changed, &lane->lock, until_ms))
		;
	lock_give(&lane->lock);
}

bool lane_passes(enum err_code code)
{
	return err_action(code) == ACT_RETRY || code == ERR_IO || code == ERR_FULL ||
	       code == ERR_NOMEM || code == ERR_DENIED || code == ERR_NOT_FOUND;
}

/* What goes on failing is told now and then. */
static void tell(struct lane *lane, const struct err *err)
{
	const int64_t now_ms = crew_now_ms(lane->crew);

	if (lane->told_ms != 0 && now_ms - lane->told_ms < TOLD_MS)
		return;
	lane->told_ms = now_ms;
	log_warn("lane_waits", log_int("lane", lane->partition), log_code(err->code),
		log_str("text", err->text));
}

static void hex(const uint8_t *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * len] = '\0';
}

static void show(struct lane *lane, enum lane_state state)
{
	const struct journal_state *j = &lane->state.journal;

	lock_take(&lane->lock);
	lane->info = (struct lane_info){ .state = state,
		.epoch = j->epoch,
		.position = lane->state.next_offset,
		.journal_next = lane->state.journal_next,
		.silent_ms = lane->waits_ms == 0 ? 0 : crew_now_ms(lane->crew) - lane->waits_ms };
	if (j->epoch != 0 && !j->released)
		hex(j->writer, WRITER_LEN, lane->info.owner);
	lock_give(&lane->lock);
}

/* ---- following ---------------------------------------------------------------------- */

/* A topic that was made anew under our feet, or widened: nothing in it fits any more. */
static enum err_code check_shape(
	const struct lane *lane, const struct journal_header *header, struct err *err)
{
	const struct store_log *log = &lane->crew->log;

	if (header->partitions == log->partitions && header->generation == log->generation)
		return ERR_OK;
	return err_set(err, ERR_CONFIG,
		"lane %d: its journal was written for %u partitions, there are %u: the count is "
		"fixed when the topics are created",
		lane->partition, header->partitions, log->partitions);
}

/* No part of the state, and nothing of its owner's. */
static void hear_command(struct lane *lane, const struct journal_read *read)
{
	const struct clock *clock = lane->crew->opts.clock;

	store_passed(lane->store, read->next_offset);
	store_applied(lane->store, &lane->state);
	command_hear(&lane->commands, read->bytes, clock->wall_ms(clock));
}

enum err_code lane_fold(struct lane *lane, const struct journal_read *read, struct err *err)
{
	const struct store_read place = { read->time_ms, read->next_offset };
	const struct journal_state before = lane->state.journal;
	struct journal_header header;
	enum err_code rc = journal_open(read->bytes, &header, err);

	if (rc == ERR_OK)
		rc = check_shape(lane, &header, err);
	if (rc == ERR_OK && header.type == JOURNAL_COMMAND) {
		hear_command(lane, read);
		return ERR_OK;
	}
	if (rc == ERR_OK)
		rc = lane_blame_store(
			lane, store_apply_read(lane->store, read->bytes, &place, err));
	if (rc != ERR_OK)
		return rc;
	store_applied(lane->store, &lane->state);
	lane->heard_ms = crew_now_ms(lane->crew);
	lane->waits_ms = 0;
	crew_heard(lane->crew, header.writer);
	if (header.type == JOURNAL_BATCH)
		lane_hear_answers(lane, read->bytes);
	if (header.type != JOURNAL_CLAIM)
		return ERR_OK;
	lane->claimed = memcmp(header.writer, lane->crew->writer, WRITER_LEN) == 0;
	lane->unclean = before.epoch != 0 && !before.released;
	lane->unworked = before.seq == 0;
	lane->owner_ms = lane->heard_ms;
	return ERR_OK;
}

/* Everything that was there is folded. */
static enum err_code arrived(struct lane *lane, struct err *err)
{
	enum err_code rc = ERR_OK;

	if (lane->up_to_date || lane->state.journal_next < lane->end)
		return ERR_OK;
	rc = lane_is_whole(lane, err);
	if (rc == ERR_OK)
		rc = lane_store_settle(lane, true, err);
	lane->up_to_date = rc == ERR_OK;
	lock_take(&lane->lock);
	lane->has_followed = lane->has_followed || lane->up_to_date;
	lock_give(&lane->lock);
	if (rc == ERR_OK)
		log_info("lane_follows", log_int("lane", lane->partition),
			log_int("record", lane->state.journal_next));
	return rc;
}

static enum err_code read_one(struct lane *lane, struct err *err)
{
	struct journal_read read;
	struct err own = ERR_INIT;
	enum err_code rc =
		queue_follow(lane->queue, crew_now_ms(lane->crew) + FOLLOW_MS, &read, &own);

	if (rc == ERR_OK && read.bytes.len > 0)
		return lane_fold(lane, &read, err);
	if (rc == ERR_OK) {
		store_passed(lane->store, read.next_offset);
		store_applied(lane->store, &lane->state);
		return ERR_OK;
	}
	if (rc == ERR_STOPPED || !lane_passes(rc))
		return err_set(err, rc, "%s", own.text);
	tell(lane, &own);
	lane_nap(lane, AGAIN_MS);
	return ERR_OK;
}

static enum err_code step(struct lane *lane, struct err *err)
{
	enum err_code rc = ERR_OK;

	if (lane_store_floods(lane))
		lane_nap(lane, AGAIN_MS);
	else
		rc = read_one(lane, err);
	if (rc == ERR_OK)
		rc = arrived(lane, err);
	if (rc == ERR_OK)
		rc = lane_store_settle(lane, false, err);
	if (rc == ERR_OK)
		rc = lane_store_upkeep(lane, err);
	lane_reap(lane);
	lane->last_turn_ms = crew_now_ms(lane->crew);
	return rc;
}

/* ---- owning ------------------------------------------------------------------------- */

void lane_reap(struct lane *lane)
{
	size_t kept = 0;

	for (size_t i = 0; i < lane->ended_count; i++) {
		struct worker *w = lane->ended[i];

		if (w->abroad > 0)
			lane->ended[kept++] = w;
		else
			worker_close(&w);
	}
	lane->ended_count = kept;
}

/* On the worker's thread, the last thing it does. */
static void worker_ended(void *ctx)
{
	struct lane *lane = ctx;

	lock_take(&lane->lock);
	lane->worker_ended = true;
	cond_broadcast(&lane->changed);
	lock_give(&lane->lock);
}

/* On the worker's thread too. */
static void worker_decided(void *ctx, const struct change_note *command)
{
	lane_answered(ctx, command->id16, command->result.code, slice_str(command->result.text));
}

static enum err_code start_worker(struct lane *lane, struct worker **out, struct err *err)
{
	struct crew *crew = lane->crew;
	struct tenure tenure = { .generation = crew->log.generation,
		.partitions = crew->log.partitions,
		.partition = lane->partition,
		.beat_ms = crew->opts.beat_ms,
		.idle_beat_ms = crew->opts.idle_beat_ms,
		.unclean = lane->unclean,
		.unworked = lane->unworked,
		.commands = &lane->commands,
		.decided = worker_decided,
		.ended = worker_ended,
		.ctx = lane };
	struct config *config = crew_config(crew);
	enum err_code rc;

	lane->worker_ended = false; /* nobody else is there to look */
	memcpy(tenure.writer, crew->writer, WRITER_LEN);
	rc = worker_open_with(config, crew->opts.clock, &crew->hosts, out, NULL, err);
	config_unref(&config);
	if (rc == ERR_OK)
		rc = lane_blame_store(
			lane, worker_start_tenure(*out, lane->queue, lane->store, &tenure, err));
	if (rc != ERR_OK)
		worker_close(out);
	return rc;
}

/* Until it ends, or is to end. Gives the time that it has for that. */
static int64_t wait_for_end(struct lane *lane, struct worker *w)
{
	int64_t deadline_ms;

	lock_take(&lane->lock);
	lane->worker = w;
	while (!lane->worker_ended && !lane->stop && !lane->leave)
		(void)cond_wait(&lane->changed, &lane->lock, -1);
	deadline_ms = lane->stop ? lane->stop_deadline_ms : crew_now_ms(lane->crew) + RELEASE_MS;
	lock_give(&lane->lock);
	return deadline_ms;
}

static void take_worker_back(struct lane *lane)
{
	lock_take(&lane->lock);
	lane->worker = NULL;
	while (lane->users > 0)
		(void)cond_wait(&lane->changed, &lane->lock, -1);
	lock_give(&lane->lock);
}

/* The store follows the journal on its own again. */
static void resume(struct lane *lane)
{
	store_drop(lane->store);
	store_applied(lane->store, &lane->state);
	lane->heard_ms = lane->owner_ms = crew_now_ms(lane->crew);
	lane->waits_ms = 0;
	lane->since_ms = 0;
	if (lane->claim_ms < lane->heard_ms + AGAIN_MS)
		lane->claim_ms = lane->heard_ms + AGAIN_MS;
}

static enum err_code worker_result(struct lane *lane, struct worker *w, struct err *err)
{
	struct err own = ERR_INIT;
	enum err_code rc = worker_failed(w, &own);

	if (rc == ERR_OK || rc == ERR_FENCED)
		return ERR_OK;
	if (rc == ERR_CORRUPT && !w->log_is_bad)
		lane_blame_store(lane, rc);
	lane->gave_up = !lane->store_bad;
	return err_set(err, rc, "%s", own.text);
}

static enum err_code own(struct lane *lane, struct err *err)
{
	struct worker *w = NULL;
	int64_t deadline_ms;
	enum err_code rc;

	lane->claimed = false;
	lane_show(lane, false); /* the worker does */
	lock_take(&lane->lock);
	lane->leave = false;
	lock_give(&lane->lock);
	rc = start_worker(lane, &w, err);
	if (rc == ERR_OK) {
		show(lane, LANE_OWNED);
		deadline_ms = wait_for_end(lane, w);
		worker_stop(w, deadline_ms);
		take_worker_back(lane);
		rc = worker_result(lane, w, err);
		lane->ended[lane->ended_count++] = w;
	}
	resume(lane);
	log_info("lane_left", log_int("lane", lane->partition),
		log_int("epoch", (int64_t)lane->state.journal.epoch),
		log_str("after", lane->state.journal.released ? "release" : "fence"));
	return rc;
}

/* Workers whose calls do not come back must not pile up. */
static bool may_own(struct lane *lane)
{
	lane_reap(lane);
	return lane->ended_count < LANE_ENDED;
}

static enum err_code follow(struct lane *lane, struct err *err)
{
	enum err_code rc = ERR_OK;

	while (rc == ERR_OK && !lane_stopping(lane)) {
		show(lane, LANE_FOLLOWING);
		rc = step(lane, err);
		if (rc != ERR_OK || !may_own(lane))
			continue;
		if (!lane->claimed && lane_wants_claim(lane)) {
			show(lane, LANE_CLAIMING);
			rc = lane_claim(lane, err);
		}
		if (rc == ERR_OK && lane->claimed && lane->up_to_date)
			rc = own(lane, err);
	}
	return rc;
}

/* ---- the thread --------------------------------------------------------------------- */

/* True: begin again. */
static bool recovers(struct lane *lane, struct err *err)
{
	if (err->code == ERR_STOPPED && lane_stopping(lane))
		return false;
	if (err->code == ERR_CORRUPT && lane->store_bad) {
		log_warn("store_set_aside", log_int("lane", lane->partition),
			log_str("text", err->text));
		err_clear(err);
		if (lane_store_set_aside(lane, err) == ERR_OK)
			return true;
	}
	if (lane_passes(err->code) && err->code != ERR_STOPPED && !lane->gave_up &&
		lane->failed_ms == 0) {
		tell(lane, err);
		lane_nap(lane, RETRY_MS);
		return true;
	}
	crew_fail(lane->crew, lane->partition, err);
	show(lane, LANE_FAILED);
	return false;
}

void *lane_run(void *arg)
{
	struct lane *lane = arg;
	bool again = true;

	while (again && !lane_stopping(lane)) {
		struct err err = ERR_INIT;
		enum err_code rc = lane_begin(lane, &err);

		if (rc == ERR_OK)
			rc = follow(lane, &err);
		if (rc != ERR_OK)
			again = recovers(lane, &err);
	}
	if (lane->store && !lane->store_bad)
		err_ignored(lane_store_settle(lane, true, NULL));
	lane_show(lane, false);
	lock_take(&lane->lock);
	lane->over = true;
	cond_broadcast(&lane->changed);
	lock_give(&lane->lock);
	return NULL;
}
