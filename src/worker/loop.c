/* loop.c - the owner thread.
 *
 *   notes (results, outputs, changes, reload) -> due parked events -> fresh events -> places
 *       -> soft timeouts -> commit? -> outputs -> upkeep -> wait
 *
 * While a commit has to be tried again nothing else is done: results wait in the inbox. The thread
 * waits for events in queue_read(), or, when it takes none, for notes. Deliberately not here: what
 * each step does. */
#include "worker_priv.h"

#include <assert.h>

#define BOARD_MS 50
#define LOOK_MS 250        /* what is asked in the journal may wait so long */
#define STOP_MARGIN_MS 250 /* of the time to stop in, for the last commit and the release */

void worker_times(struct worker *w)
{
	w->wall_ms = w->clock->wall_ms(w->clock);
	w->mono_ms = w->clock->mono_ms(w->clock);
	w->last_turn_ms = w->mono_ms;
}

/* xorshift: spreads retries, guards nothing. */
double worker_random(struct worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (double)(w->random >> 11) / (double)(UINT64_C(1) << 53);
}

int64_t worker_position(const struct worker *w)
{
	const struct work *oldest = TAILQ_FIRST(&w->window);
	const int64_t position = oldest ? oldest->offset : w->read_offset;

	return w->taking >= 0 && w->taking < position ? w->taking : position;
}

void worker_break(struct worker *w, const struct err *err)
{
	if (w->broken)
		return;
	w->broken = true;
	if (err->code == ERR_FENCED || err->code == ERR_STOPPED)
		log_info("worker_fenced", log_code(err->code), log_str("text", err->text));
	else
		log_error("worker_stopped", log_code(err->code), log_str("text", err->text));
	lock_take(&w->board.lock);
	w->board.failed = *err;
	lock_give(&w->board.lock);
}

/* ---- notes ------------------------------------------------------------------------- */

static void reload(struct worker *w, struct reload_note *note)
{
	bool left;
	enum err_code rc = w->stopping || w->broken
				   ? err_set(&note->result, ERR_STOPPED, "the worker is stopping")
				   : worker_table_bind(w, note->table, &note->result);

	if (rc == ERR_OK)
		worker_table_swap(w, note->table);
	lock_take(&w->inbox.lock);
	note->done = true;
	left = note->left;
	cond_signal(&note->finished);
	lock_give(&w->inbox.lock);
	if (!left)
		return;
	if (rc != ERR_OK && rc != ERR_STOPPED)
		log_error("config_reload_failed", log_code(rc), log_str("text", note->result.text));
	worker_reload_free(note);
}

static void handle(struct worker *w, struct note *note)
{
	switch (note->kind) {
	case NOTE_CALL: worker_run_finished(w, container_of(note, struct work, note)); return;
	case NOTE_OUT: worker_outs_finished(w, container_of(note, struct out_work, note)); return;
	case NOTE_CHANGE:
		worker_change_decide(w, container_of(note, struct change_note, note));
		return;
	case NOTE_RELOAD: reload(w, container_of(note, struct reload_note, note)); return;
	}
}

/* Urgent or full: the commit comes first, the rest keep their places. */
static void handle_notes(struct worker *w, struct note_list *notes)
{
	struct note *note;

	while ((note = STAILQ_FIRST(notes)) && !w->broken) {
		if (worker_batch_full(w) && !worker_batch_close(w))
			return;
		STAILQ_REMOVE_HEAD(notes, link);
		handle(w, note);
	}
}

/* A commit failed, and is tried again each second. */
static bool stuck(const struct worker *w)
{
	return w->batch.retry_ms != 0;
}

/* ---- may events be taken? ---------------------------------------------------------- */

static void check_room(struct worker *w)
{
	struct err err = ERR_INIT;
	const bool was = w->store_full || w->park_full;

	w->park_full = worker_park_full(w);
	w->store_full = store_room(w->store, &err) == ERR_FULL;
	if (w->store_full || w->park_full) {
		const char *text = w->store_full ? err.text
						 : "too many events are parked: their routes fail, "
						   "or worker/parked_max_* is too small";

		worker_board_pause(w, text);
		if (!was)
			log_warn("worker_paused", log_str("text", text));
	} else if (was) {
		worker_board_pause(w, NULL);
		log_info("worker_resumed");
	}
}

/* Between commits, and while one waits for room: what has expired makes some. */
static void maintain(struct worker *w)
{
	struct err err = ERR_INIT;

	w->maintain = false;
	if (store_maintain(w->store, w->wall_ms, &err) == ERR_OK)
		return;
	if (err_action(err.code) == ACT_STOP)
		worker_break(w, &err);
	else
		log_warn("upkeep_failed", log_code(err.code), log_str("text", err.text));
}

static void upkeep(struct worker *w)
{
	if (w->mono_ms >= w->upkeep_ms && !stuck(w)) {
		w->upkeep_ms = w->mono_ms + WORKER_UPKEEP_MS;
		worker_end_upkeep(w);
		w->maintain = true;
		check_room(w);
		worker_owner_upkeep(w);
		worker_refresh(w);
		worker_outs_upkeep(w);
	}
	if (w->maintain && !w->broken && w->batch.opened_ms == 0)
		maintain(w);
}

/* What is asked in the journal, and whether somebody else has claimed the lane meanwhile. */
static void hear(struct worker *w)
{
	if (!w->journaled || w->stopping || w->broken)
		return;
	if (w->mono_ms >= w->look_ms) {
		w->look_ms = w->mono_ms + LOOK_MS;
		worker_commands_look(w);
	}
	worker_commands_take(w);
}

/* ---- one turn ---------------------------------------------------------------------- */

static int64_t next_wake(const struct worker *w)
{
	const struct work *oldest = TAILQ_FIRST(&w->window);
	int64_t at = worker_batch_due_at(w);

	if (w->stopping)
		at = worker_sooner(at, w->stop_deadline_ms - STOP_MARGIN_MS);
	if (stuck(w))
		return at;
	at = worker_sooner(at, w->upkeep_ms);
	if (w->journaled && !w->stopping)
		at = worker_sooner(at, w->look_ms);
	if (w->journaled)
		at = worker_sooner(
			at, worker_sooner(worker_batch_beat_at(w), worker_batch_settle_at(w)));
	if (!w->stopping)
		at = worker_sooner(
			at, worker_sooner(worker_park_next_ms(w), worker_run_next_ms(w)));
	if (oldest)
		at = worker_sooner(at, oldest->since_ms + WORKER_SOFT_TIMEOUT_MS);
	at = worker_sooner(at, worker_outs_next_ms(w));
	if (w->read_retry_ms > w->mono_ms)
		at = worker_sooner(at, w->read_retry_ms);
	return at;
}

static bool takes_events(const struct worker *w)
{
	return worker_intake_open(w) && !stuck(w) && !w->lagging.flood &&
	       w->mono_ms >= w->read_retry_ms;
}

/* Everything that can be done now. True: more events are waiting. */
static bool work_now(struct worker *w)
{
	bool backlog = false;

	if (!w->stopping) {
		worker_park_due(w);
		if (takes_events(w))
			backlog = worker_intake(w, 0);
		worker_batch_beat(w);
		worker_run_pump(w);
	}
	worker_park_soft_timeouts(w);
	return backlog;
}

static void commit(struct worker *w, bool backlog)
{
	if (worker_batch_due(w, backlog)) {
		if (stuck(w))
			maintain(w);
		(void)worker_batch_close(w);
		if (!stuck(w))
			worker_batch_beat(w);
	}
	worker_batch_settle(w, false);
	if (w->broken || stuck(w))
		return;
	worker_run_committed(w);
	worker_outs_publish(w);
}

static void wait(struct worker *w, struct note_list *notes)
{
	int64_t at = next_wake(w);

	if (at <= w->mono_ms)
		at = 0;
	/* A reader that has events to expect waits where they come. */
	if (at != 0 && takes_events(w) && worker_inbox_begin_read(w)) {
		(void)worker_intake(w, at);
		worker_inbox_end_read(w);
		at = 0;
	}
	worker_inbox_take(w, at, notes);
}

static bool turn(struct worker *w, struct note_list *notes)
{
	bool backlog = false;

	worker_times(w);
	if (!stuck(w)) {
		worker_batch_beat(w);
		handle_notes(w, notes);
		if (!stuck(w))
			hear(w);
		if (!w->broken && !stuck(w))
			backlog = work_now(w);
	}
	if (!w->broken)
		commit(w, backlog);
	if (!w->broken && !stuck(w))
		upkeep(w);
	if (w->mono_ms >= w->board_ms && !w->broken) {
		w->board_ms = w->mono_ms + (backlog ? BOARD_MS : 0);
		worker_board_refresh(w);
	}
	return backlog;
}

/* ---- the end ----------------------------------------------------------------------- */

/* Calls that are still under way are parked as running; whoever starts next calls them again. */
static void park_running(struct worker *w)
{
	const struct park_plan plan = { .reason = PARK_RUNNING, .next_ms = w->wall_ms };
	struct work *work, *next;

	for (work = TAILQ_FIRST(&w->window); work && !w->broken; work = next) {
		next = TAILQ_NEXT(work, window);
		if (work->state == WORK_CALL)
			worker_work_park(w, work, &plan);
	}
}

static bool stopped(const struct worker *w)
{
	if (!w->stopping)
		return false;
	if (w->mono_ms >= w->stop_deadline_ms - STOP_MARGIN_MS)
		return true;
	return w->calls == 0 && !worker_outs_fly(w) && w->batch.opened_ms == 0;
}

static void hand_over(struct worker *w)
{
	struct err err = ERR_INIT;

	worker_times(w);
	if (!stuck(w)) {
		park_running(w);
		worker_run_withdraw(w);
	}
	if (w->batch.opened_ms != 0 && !worker_batch_close(w))
		log_warn("worker_stopped_unclean", log_str("text", "the last commit had no room"));
	else if (!w->broken && worker_owner_release(w, &err) != ERR_OK)
		log_warn("worker_stopped_unclean", log_code(err.code), log_str("text", err.text));
	worker_batch_settle(w, true);
}

/* Is it known that the open batch was not committed? Not of one that was sent and did not come
 * back; but where somebody else's record came first it does not count. */
static bool is_known(struct worker *w)
{
	return w->batch.step == BATCH_OPEN || worker_failed(w, NULL) == ERR_FENCED;
}

/* Whoever waits for an answer gets one. */
static void close_inbox(struct worker *w, struct note_list *notes)
{
	struct change_note *change;
	struct note *note, *next;

	lock_take(&w->inbox.lock);
	w->inbox.closed = true;
	STAILQ_CONCAT(notes, &w->inbox.notes);
	lock_give(&w->inbox.lock);
	w->stopping = true;
	for (note = STAILQ_FIRST(notes); note; note = next) {
		next = STAILQ_NEXT(note, link);
		if (note->kind != NOTE_CHANGE && note->kind != NOTE_RELOAD)
			continue;
		STAILQ_REMOVE(notes, note, note, link);
		handle(w, note);
	}
	while ((change = STAILQ_FIRST(&w->batch.changes))) {
		STAILQ_REMOVE_HEAD(&w->batch.changes, link);
		if (change->is_command)
			continue;
		if (is_known(w))
			(void)err_set(&change->result, ERR_STOPPED,
				"the worker stopped before the commit");
		else
			(void)err_set(&change->result, ERR_OUTCOME_UNKNOWN,
				"the worker stopped before its record came back");
		worker_change_answer(w, change);
	}
	if (w->journaled)
		command_put_back(w->tenure.commands);
	/* Results that nobody will judge: worker_close() frees what they belong to. */
	lock_take(&w->inbox.lock);
	STAILQ_CONCAT(&w->inbox.notes, notes);
	lock_give(&w->inbox.lock);
}

void *worker_loop(void *worker)
{
	struct worker *w = worker;
	struct note_list notes = STAILQ_HEAD_INITIALIZER(notes);

	while (!w->broken && !stopped(w)) {
		if (turn(w, &notes) || (!STAILQ_EMPTY(&notes) && !stuck(w)))
			worker_inbox_take(w, 0, &notes);
		else if (!w->broken)
			wait(w, &notes);
	}
	if (!w->broken)
		hand_over(w);
	if (!w->broken)
		worker_board_refresh(w);
	close_inbox(w, &notes);
	w->hosts->workers--;
	if (w->tenure.ended)
		w->tenure.ended(w->tenure.ctx);
	return NULL;
}
