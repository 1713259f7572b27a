/* run.c - calls of handlers: places, breaker, suspects, results.
 *
 *   worker_run_place() -> route's waiting list -> worker_run_pump(): a place, the breaker, alone if
 * a suspect
 *       -> handler_start() ... NOTE_CALL -> worker_run_finished() -> applied | parked for another
 * try | dead
 *
 * A suspect (an event that may have been in work when the worker died) is called alone, and only
 * after a TRY for it is committed; its third unanswered TRY is its end. Deliberately not here: what
 * a handler is, and when a breaker opens (handler room). */
#include "worker_priv.h"

#include <assert.h>
#include <stdio.h>

#define NO_ROOM_MS 100 /* the handler's host takes no more calls now */

/* Those that were not read yet are waited for only while events are taken: a full park gets room by
 * calls alone. */
bool worker_run_suspects(const struct worker *w)
{
	const bool more = w->suspects_left > 0 && w->read_offset < w->suspect_end;

	return w->suspect_subjects > 0 || w->suspect_works > 0 ||
	       (more && !w->store_full && !worker_park_full(w));
}

size_t worker_places(const struct worker *w, const struct route *r)
{
	const size_t workers = w->hosts->workers, all = (size_t)r->config->concurrency;

	return workers > 1 && all > workers ? all / workers : workers > 1 ? 1 : all;
}

static bool paused(const struct worker *w, const struct route *r)
{
	return r->dlq_full || (r->line && worker_topic_full(r->line)) || w->mono_ms < r->pause_ms;
}

bool worker_run_room(struct worker *w, const struct route *r, enum ready_line line, bool suspect)
{
	if (w->stopping || worker_batch_full(w) || w->mono_ms < r->held_ms[line])
		return false;
	if (worker_run_suspects(w) && !suspect)
		return false;
	if (worker_run_suspects(w) && (w->calls > 0 || w->alone || r->loaded > 0))
		return false;
	return !paused(w, r) && r->calls + r->loaded < worker_places(w, r);
}

void worker_run_ready(struct route *r, struct subject *s, enum ready_line line)
{
	s->ready = r;
	s->line = line;
	TAILQ_INSERT_TAIL(&r->ready[line], s, ready_link);
}

void worker_run_place(struct worker *w, struct work *work)
{
	struct route *r = work->route;

	if (!work->kept) {
		work = worker_work_keep(w, work);
		if (!work)
			return;
		work->subject->busy = work;
	}
	work->state = WORK_PLACE;
	if (work->parked) {
		/* It is older than what came since, and was let in for a place that is free. */
		TAILQ_INSERT_HEAD(&r->waiting, work, line);
		r->loaded++;
	} else {
		TAILQ_INSERT_TAIL(&r->waiting, work, line);
	}
}

static void leave_line(struct work *work)
{
	TAILQ_REMOVE(&work->route->waiting, work, line);
	if (work->parked)
		work->route->loaded--;
	work->state = WORK_FRESH;
}

void worker_run_leave(struct work *work)
{
	if (work->state == WORK_PLACE)
		leave_line(work);
}

/* ---- results ----------------------------------------------------------------------- */

static void log_retry(const struct work *work, int64_t wait_ms)
{
	log_info("event_retry", log_text("event_id", work->event.id),
		log_text("source", work->event.source), log_text("tenant", work->event.tenant),
		log_code(work->last_code), log_str("route", work->route->name),
		log_int("attempts", work->attempts), log_int("wait_ms", wait_ms),
		log_str("text", work->error));
}

static void failed(struct worker *w, struct work *work)
{
	const struct retry_facts facts = { .attempts = work->attempts,
		.now_ms = w->wall_ms,
		.deadline_ms = worker_retry_deadline_ms(
			work->deadline_ms, work->route->config->retry.max_age_s * 1000, w->wall_ms),
		.retry_after_ms = work->call.retry_after_ms,
		.random = worker_random(w) };
	const struct retry_plan plan = worker_retry_plan(work->route->config, &facts);
	const struct park_plan park = { .reason = PARK_RETRY,
		.code = work->call.code,
		.next_ms = plan.next_ms,
		.deadline_ms = facts.deadline_ms };

	if (!plan.again) {
		worker_work_die(w, work, plan.reason);
		return;
	}
	work->last_code = work->call.code;
	metric_add(metric_series(METRIC_RETRIES, work->route->name, err_name(work->call.code)), 1);
	log_retry(work, plan.next_ms - w->wall_ms);
	worker_work_park(w, work, &park);
}

/* What the handler said, kept for people. */
static void note_failure(struct worker *w, struct work *work)
{
	(void)snprintf(work->error, sizeof(work->error), "%s", work->call.error);
	if (work->first_failed_ms == 0)
		work->first_failed_ms = w->wall_ms;
}

/* The call that it was committed for is not made, or did not begin: nobody can die of it. */
static void withdraw_try(struct worker *w, struct work *work)
{
	struct item item = { .type = ITEM_TRY };

	if (!work->try_open)
		return;
	work->tried--;
	work->try_open = false;
	item.attempt = (struct item_try){ .offset = work->offset, .n = work->tried };
	worker_batch_add(w, &item);
}

/* It never reported, and does not count as an attempt. */
static void cancelled(struct worker *w, struct work *work)
{
	breaker_forget(&work->route->breaker);
	if (work->parked) {
		withdraw_try(w, work);
		worker_work_put_off(w, work, NO_ROOM_MS);
		return;
	}
	if (work->route->table->retired)
		work->route = worker_table_match(w->table, &work->event);
	worker_work_turn(w, work);
}

static void judge_result(struct worker *w, struct work *work)
{
	struct route *r = work->route;

	switch (work->call.verdict) {
	case HANDLER_DONE:
		breaker_result(&r->breaker, true, w->mono_ms, worker_random(w));
		work->attempts++;
		worker_work_end(w, work, OUTCOME_APPLIED, ERR_OK);
		return;
	case HANDLER_RETRY:
		breaker_result(&r->breaker, false, w->mono_ms, worker_random(w));
		work->attempts++;
		note_failure(w, work);
		failed(w, work);
		return;
	case HANDLER_NEVER:
		/* A destination that refuses one event is there. */
		breaker_result(&r->breaker, true, w->mono_ms, worker_random(w));
		work->attempts++;
		note_failure(w, work);
		worker_work_die(w, work, ERR_HANDLER_REFUSED);
		return;
	case HANDLER_CANCELLED: cancelled(w, work); return;
	}
}

static void call_over(struct worker *w, struct work *work)
{
	work->route->calls--;
	work->route->table->calls--;
	w->calls--;
	if (w->alone == work)
		w->alone = NULL;
}

void worker_run_finished(struct worker *w, struct work *work)
{
	struct subject *s = work->subject;
	struct route *r = work->route;
	struct table *table = r->table;

	call_over(w, work);
	work->state = WORK_FRESH;
	if (table->retired) {
		struct route *now = worker_table_number(w->table, r->number);

		/* What comes next follows the config of today, if it still calls anybody. */
		if (now && now->handler)
			work->route = r = now;
	}
	judge_result(w, work);
	worker_route_show_breaker(r);
	worker_subject_advance(w, s);
	worker_table_unref(w, table);
}

/* ---- starting ---------------------------------------------------------------------- */

static void called(struct handler_call *call)
{
	struct work *work = call->owner;
	struct worker *w = work->worker;

	(void)worker_inbox_post(w, &work->note);
	w->abroad--; /* the last thing that is done with it here */
}

static void first_attempt(struct worker *w, struct work *work)
{
	if (work->attempts > 0)
		return;
	work->first_ms = w->wall_ms;
	work->deadline_ms = w->wall_ms + work->route->config->retry.max_age_s * 1000;
}

static void call(struct worker *w, struct work *work)
{
	struct route *r = work->route;
	struct err err = ERR_INIT;
	enum err_code rc;

	first_attempt(w, work);
	work->note.kind = NOTE_CALL;
	work->state = WORK_CALL;
	work->call = (struct handler_call){ .event = &work->event,
		.headers = work->record.headers,
		.body = work->record.body,
		.attempt = work->attempts + 1,
		.route = slice_str(r->name),
		.retry_after_ms = -1,
		.done = called,
		.owner = work };
	r->calls++;
	r->table->calls++;
	w->calls++;
	w->abroad++;
	rc = handler_start(r->handler, &work->call, &err);
	if (rc == ERR_OK)
		return;
	/* Nothing was called, so nothing will report: report it here. Too many calls, or no memory,
	 * is no attempt. */
	work->call.verdict = rc == ERR_FULL || rc == ERR_NOMEM || rc == ERR_STOPPED
				     ? HANDLER_CANCELLED
				     : HANDLER_RETRY;
	work->call.code = ERR_HANDLER_FAILED;
	(void)snprintf(work->call.error, sizeof(work->call.error), "%s", err.text);
	r->pause_ms = w->mono_ms + NO_ROOM_MS;
	called(&work->call);
}

static void yielded(struct handler_call *call)
{
	(void)call;
}

void worker_run_yield(struct worker *w, struct work *work)
{
	struct err err = ERR_INIT;

	work->attempts++;
	work->call = (struct handler_call){ .event = &work->event,
		.headers = work->record.headers,
		.body = work->record.body,
		.attempt = work->attempts,
		.route = slice_str(work->route->name),
		.done = yielded,
		.owner = work };
	if (handler_start(work->route->handler, &work->call, &err) != ERR_OK) {
		worker_break(w, &err);
		return;
	}
	work->topic = work->call.topic;
	worker_work_end(w, work, OUTCOME_APPLIED, ERR_OK);
}

/* A suspect: its TRY first, then nothing else until it has reported. */
static void try_alone(struct worker *w, struct work *work)
{
	struct item item = { .type = ITEM_TRY };

	if (!work->try_open && worker_decide_tries(work->tried).action == ACTION_DEAD) {
		struct subject *s = work->subject;

		breaker_forget(&work->route->breaker);
		worker_work_die(w, work, ERR_CRASH_LOOP);
		worker_subject_advance(w, s);
		return;
	}
	w->alone = work;
	work->state = WORK_TRY;
	work->route->table->calls++; /* a reload must leave it its route */
	if (work->try_open)
		return;
	work->tried++;
	work->try_open = true;
	item.attempt = (struct item_try){ .offset = work->offset, .n = work->tried };
	worker_batch_add(w, &item);
	w->batch.urgent = true;
}

/* The TRY is committed when no batch is open that may hold it. */
void worker_run_committed(struct worker *w)
{
	struct work *work = w->alone;

	if (!work || work->state != WORK_TRY || w->batch.items > 0 || w->stopping || w->broken)
		return;
	work->route->table->calls--;
	call(w, work);
}

void worker_run_withdraw(struct worker *w)
{
	if (w->alone && w->alone->state == WORK_TRY)
		withdraw_try(w, w->alone);
}

/* Those that are ready wait in their lines: nothing is loaded only to be put off. */
static void hold(struct worker *w, struct route *r, int64_t wait_ms)
{
	r->held_ms[LINE_RETRY] = w->mono_ms + wait_ms;
	if (r->breaker.state != BREAKER_CLOSED)
		r->held_ms[LINE_FIRST] = w->mono_ms + wait_ms;
}

static void not_admitted(struct worker *w, struct work *work, int64_t wait_ms)
{
	struct subject *s = work->subject;
	const int64_t max_age_ms = work->route->config->retry.max_age_s * 1000;
	const struct park_plan plan = { .reason = PARK_BREAKER,
		.code = ERR_BREAKER_OPEN,
		.next_ms = w->wall_ms + wait_ms,
		.deadline_ms = w->wall_ms + max_age_ms };

	hold(w, work->route, wait_ms);
	if (!work->parked)
		worker_work_park(w, work, &plan);
	else if (work->deadline_ms != 0 &&
		 w->wall_ms >= worker_retry_deadline_ms(work->deadline_ms, max_age_ms, w->wall_ms))
		worker_work_die(w, work, ERR_AGE_EXHAUSTED);
	else
		worker_work_put_off(w, work, wait_ms);
	worker_subject_advance(w, s);
}

static void start(struct worker *w, struct work *work)
{
	struct route *r = work->route;
	int64_t wait_ms = 0;

	leave_line(work);
	if (r->line) {
		struct subject *s = work->subject;

		worker_run_yield(w, work);
		worker_subject_advance(w, s);
		return;
	}
	if (!breaker_admit(&r->breaker, work->attempts > 0, w->mono_ms, &wait_ms))
		not_admitted(w, work, wait_ms > 0 ? wait_ms : 1);
	else if (work->suspect)
		try_alone(w, work);
	else
		call(w, work);
	worker_route_show_breaker(r);
}

static struct subject *next_ready(const struct worker *w, const struct route *r)
{
	const bool suspects = worker_run_suspects(w);

	for (size_t line = 0; line < LINES; line++) {
		struct subject *s;

		if (w->mono_ms < r->held_ms[line])
			continue;
		TAILQ_FOREACH(s, &r->ready[line], ready_link)
		{
			if (!suspects || s->suspects > 0)
				return s;
		}
	}
	return NULL;
}

/* What may start next: what was loaded, then what is due, then what is fresh. NULL with *out_again:
 * a subject had its turn, look again. */
static struct work *next_work(struct worker *w, struct route *r, bool *out_again)
{
	struct work *first = TAILQ_FIRST(&r->waiting);
	struct subject *s = first && first->parked ? NULL : next_ready(w, r);

	*out_again = s != NULL;
	if (s) {
		worker_subject_undue(w, s);
		worker_subject_turn(w, s);
		worker_subject_advance(w, s);
		return NULL;
	}
	while (first && worker_run_suspects(w) && !first->suspect)
		first = TAILQ_NEXT(first, line);
	return first;
}

/* A route that calls nobody need not be waited for, for the sake of its suspects. */
static void excuse_suspects(struct worker *w, struct route *r)
{
	const bool waits = r->dlq_full || (r->line && worker_topic_full(r->line));
	struct subject *s;
	struct work *work;

	for (size_t line = 0; line < LINES; line++) {
		if (!waits && w->mono_ms >= r->held_ms[line])
			continue;
		TAILQ_FOREACH(s, &r->ready[line], ready_link)
		{
			w->suspect_subjects -= s->suspects;
			s->suspects = 0;
		}
	}
	if (!waits)
		return;
	TAILQ_FOREACH(work, &r->waiting, line)
	{
		w->suspect_works -= work->suspect;
		work->suspect = false;
	}
}

static bool may_start(const struct worker *w, const struct route *r)
{
	if (!r->handler || w->stopping || worker_batch_full(w) || paused(w, r))
		return false;
	if (worker_run_suspects(w) && (w->calls > 0 || w->alone))
		return false;
	return r->calls < worker_places(w, r);
}

static void pump(struct worker *w, struct route *r)
{
	bool again = true;

	if (worker_run_suspects(w))
		excuse_suspects(w, r);
	while (again && may_start(w, r)) {
		struct work *work = next_work(w, r, &again);

		if (work) {
			start(w, work);
			again = true;
		}
	}
}

/* A reload's new table is a new list of routes: it must not change under this loop, and does not.
 */
void worker_run_pump(struct worker *w)
{
	for (size_t i = 0; i < w->table->count; i++)
		pump(w, &w->table->routes[i]);
}

int64_t worker_run_next_ms(const struct worker *w)
{
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < w->table->count; i++) {
		const struct route *r = &w->table->routes[i];

		for (size_t line = 0; line < LINES; line++) {
			if (!TAILQ_EMPTY(&r->ready[line]) && r->held_ms[line] > w->mono_ms &&
				r->held_ms[line] < next)
				next = r->held_ms[line];
		}
		if (r->pause_ms > w->mono_ms && r->pause_ms < next)
			next = r->pause_ms;
	}
	return next;
}
