/* turn.c - a work whose turn it is: the version rule, then the handler.
 *
 * Reached by a fresh event with nothing before it, and by a parked one that is due. It leaves the
 * work ended, parked, put off, or waiting for a place of its route. Deliberately not here: calls
 * (run.c). */
#include "worker_priv.h"

#include <assert.h>

/* An operator accepted it in spite of what quarantined it: the mark holds that code's name. */
static bool accepted_in_spite_of(const struct work *work, enum err_code code)
{
	return slice_eq_str(work->event.redrive, err_name(code));
}

/* Replayed for the sake of its output, which its topic refused after it had changed the state. */
static bool is_its_own(const struct work *work, const struct item_version *stored)
{
	return work->redrive != 0 && work->route->line &&
	       slice_eq(stored->event_id, work->event.id) &&
	       slice_eq(stored->source, work->event.source) &&
	       stored->version.kind == work->event.version.kind &&
	       stored->version.value == work->event.version.value;
}

/* What is known of the entity: read once for each turn. False: broken. */
static bool read_state(struct worker *w, struct work *work)
{
	struct item_version stored;
	struct err err = ERR_INIT;
	enum err_code rc;

	work->has_stored = work->is_stored = false;
	if (work->event.entity.len == 0)
		return true;
	rc = store_version(w->store, work->subject_bytes, &stored, &w->text, &err);
	if (rc == ERR_OK) {
		work->has_stored = true;
		work->stored = stored.version;
		work->is_stored = is_its_own(work, &stored);
	} else if (rc != ERR_NOT_FOUND) {
		worker_break(w, &err);
	}
	return !w->broken;
}

static struct verdict judge_version(struct worker *w, const struct work *work)
{
	const struct version_facts facts = {
		.rule = work->route->config ? work->route->config->rule : RULE_NEWER,
		.has_entity = work->event.entity.len > 0,
		.version = work->event.version,
		.base = work->event.base,
		.stored = work->has_stored && !work->is_stored ? &work->stored : NULL,
		.any_kind = accepted_in_spite_of(work, ERR_VERSION_TYPE),
		.now_ms = w->wall_ms,
		.gap_deadline_ms = work->parked && work->reason == PARK_GAP ? work->deadline_ms : 0,
	};

	return worker_decide_version(&facts);
}

static void wait_for_gap(struct worker *w, struct work *work)
{
	const int64_t timeout_ms = work->route->config->gap_timeout_s * 1000;
	const bool waits = work->parked && work->reason == PARK_GAP;
	/* Never longer than that from now: the clock may have been turned back. */
	const int64_t until_ms =
		waits ? worker_retry_deadline_ms(work->deadline_ms, timeout_ms, w->wall_ms)
		      : w->wall_ms + timeout_ms;
	const struct park_plan plan = { .reason = PARK_GAP,
		.code = ERR_VERSION_GAP,
		.next_ms = until_ms,
		.deadline_ms = until_ms };

	/* One that waits already is written again: its route may be another one since. */
	worker_work_park(w, work, &plan);
}

/* Already decided, but the dead letters had no room then. */
static enum err_code decided_before(const struct work *work)
{
	if (!work->parked)
		return ERR_OK;
	switch ((unsigned)work->last_code) {
	case ERR_HANDLER_REFUSED:
	case ERR_ATTEMPTS_EXHAUSTED:
	case ERR_AGE_EXHAUSTED:
	case ERR_CRASH_LOOP: return work->last_code;
	default: return ERR_OK;
	}
}

void worker_work_turn(struct worker *w, struct work *work)
{
	struct verdict v;
	enum err_code before = decided_before(work);

	if (before != ERR_OK) {
		worker_work_die(w, work, before);
		return;
	}
	if (!read_state(w, work))
		return;
	v = judge_version(w, work);
	switch (v.action) {
	case ACTION_STALE: worker_work_end(w, work, OUTCOME_STALE, v.code); return;
	case ACTION_QUARANTINE: worker_work_end(w, work, OUTCOME_QUARANTINED, v.code); return;
	case ACTION_DEAD: worker_work_die(w, work, v.code); return;
	case ACTION_GAP: wait_for_gap(w, work); return;
	case ACTION_SKIP:
	case ACTION_DUPLICATE:
	case ACTION_RUN: break;
	}
	if (work->route->line && !worker_topic_full(work->route->line)) {
		worker_run_yield(w, work);
		return;
	}
	if (work->route->handler) {
		worker_run_place(w, work);
		return;
	}
	work->attempts++; /* the state itself is the handler, and takes it at the first try */
	worker_work_end(w, work, OUTCOME_APPLIED, ERR_OK);
}
