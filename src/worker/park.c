/* park.c - subjects: whose turn it is, what waits in the store, and when it is looked at again.
 *
 * A subject is in memory while one of its events is in work or parked. What is parked blocks the
 * events that come after it, except what only waits for a gap to be filled. A heap holds the
 * subjects by the time of their next look; one that is due, but whose route has no place, stands in
 * the route's list.
 *
 *   parked --due_ms--> worker_subject_turn() --place?--> route's ready list --worker_run_pump()-->
 * worker_subject_turn()
 *                           \--> a work, loaded from the store --> worker_work_turn()
 *
 * Deliberately not here: what the turn leads to (turn.c). */
#include "worker_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the heap ---------------------------------------------------------------------- */

static void place(struct worker *w, size_t at, struct subject *s)
{
	w->heap.at[at] = s;
	s->heap = at + 1;
}

static void sift_up(struct worker *w, size_t at)
{
	struct subject *s = w->heap.at[at];

	while (at > 0 && w->heap.at[(at - 1) / 2]->due_ms > s->due_ms) {
		place(w, at, w->heap.at[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	place(w, at, s);
}

static void sift_down(struct worker *w, size_t at)
{
	struct subject *s = w->heap.at[at];

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= w->heap.count)
			break;
		if (child + 1 < w->heap.count &&
			w->heap.at[child + 1]->due_ms < w->heap.at[child]->due_ms)
			child++;
		if (w->heap.at[child]->due_ms >= s->due_ms)
			break;
		place(w, at, w->heap.at[child]);
		at = child;
	}
	place(w, at, s);
}

void worker_subject_undue(struct worker *w, struct subject *s)
{
	size_t at;

	if (s->ready) {
		TAILQ_REMOVE(&s->ready->ready[s->line], s, ready_link);
		s->ready = NULL;
	}
	if (s->heap == 0)
		return;
	at = s->heap - 1;
	s->heap = 0;
	w->heap.count--;
	if (at == w->heap.count)
		return;
	place(w, at, w->heap.at[w->heap.count]);
	sift_up(w, at);
	sift_down(w, w->heap.at[at]->heap - 1);
}

void worker_subject_due(struct worker *w, struct subject *s, int64_t at_ms)
{
	worker_subject_undue(w, s);
	if (w->heap.count == w->heap.cap) {
		const size_t cap = w->heap.cap ? 2 * w->heap.cap : 64;
		/* An array of pointers: NOLINTNEXTLINE(bugprone-sizeof-expression) */
		struct subject **at = realloc(w->heap.at, cap * sizeof(*at));

		if (!at) {
			worker_break(w, &(struct err){ ERR_NOMEM, "no memory for a schedule" });
			return;
		}
		w->heap.at = at;
		w->heap.cap = cap;
	}
	s->due_ms = at_ms;
	w->heap.at[w->heap.count++] = s;
	sift_up(w, w->heap.count - 1);
}

int64_t worker_park_next_ms(const struct worker *w)
{
	return w->heap.count > 0 ? w->heap.at[0]->due_ms : INT64_MAX;
}

/* ---- the table --------------------------------------------------------------------- */

struct subject *worker_subject_find(struct worker *w, struct slice name)
{
	struct subject *s;

	HASH_FIND(hh, w->subjects, name.data, name.len, s);
	return s;
}

struct subject *worker_subject_get(struct worker *w, struct slice name)
{
	struct subject *s = worker_subject_find(w, name);

	if (s)
		return s;
	s = calloc(1, sizeof(*s) + name.len);
	if (s) {
		TAILQ_INIT(&s->fresh);
		s->len = name.len;
		memcpy(s->bytes, name.data, name.len);
		HASH_ADD_KEYPTR(hh, w->subjects, s->bytes, s->len, s);
		if (s->hh.tbl)
			return s;
		free(s);
	}
	worker_break(w, &(struct err){ ERR_NOMEM, "no memory for a subject" });
	return NULL;
}

static void forget(struct worker *w, struct subject *s)
{
	worker_subject_undue(w, s);
	w->suspect_subjects -= s->suspects;
	HASH_DEL(w->subjects, s);
	free(s);
}

void worker_subject_tidy(struct worker *w, struct subject *s)
{
	if (!s->busy && TAILQ_EMPTY(&s->fresh) && s->parked == 0)
		forget(w, s);
}

void worker_park_free(struct worker *w)
{
	struct subject *s, *tmp;

	HASH_ITER (hh, w->subjects, s, tmp) {
		assert(TAILQ_EMPTY(&s->fresh));
		forget(w, s);
	}
	free(w->heap.at);
	w->heap.at = NULL;
}

/* ---- which of a subject's parked events is next ------------------------------------ */

/* What comes next of a subject. */
struct choice {
	struct parked next;
	bool calls;      /* its turn may lead to a call */
	int64_t look_ms; /* monotonic: the time of a gap is over, whatever is next until then */
};

/* A gap that is over by its time, or overtaken, ends without a call (*out_calls). */
static bool gap_over(
	struct worker *w, const struct parked *p, const struct version *stored, bool *out_calls)
{
	const struct route *route = worker_table_number(w->table, p->route);
	const struct version_facts facts = {
		.rule = route && route->config ? route->config->rule : RULE_NEWER,
		.has_entity = true,
		.version = p->version,
		/* A base is not kept beside the head: another rule than `next` lets it run, and
		   looks then. */
		.stored = stored,
		.any_kind = true,
		.now_ms = w->wall_ms,
		.gap_deadline_ms = p->deadline_ms,
	};

	const enum action action = worker_decide_version(&facts).action;

	*out_calls = facts.rule != RULE_NEXT || action == ACTION_RUN;
	/* Its time lies too far ahead: the clock was turned back, and a turn puts it right. */
	if (route && route->config &&
		p->deadline_ms - w->wall_ms > route->config->gap_timeout_s * 1000)
		return true;
	return action != ACTION_GAP;
}

/* The search for the next one: a gap that is over, or else the first that waits for no gap. */
struct picking {
	struct worker *w;
	const struct version *stored;
	struct parked gap, first;
	bool has_gap, has_first, calls;
	int64_t soonest_ms; /* wall: when the time of a gap is over */
};

static bool look_at_parked(void *ctx, const struct parked *p)
{
	struct picking *pick = ctx;

	if (p->reason != PARK_GAP) {
		if (!pick->has_first)
			pick->first = *p;
		pick->has_first = true;
		return true;
	}
	if (p->deadline_ms < pick->soonest_ms)
		pick->soonest_ms = p->deadline_ms;
	pick->has_gap = gap_over(pick->w, p, pick->stored, &pick->calls);
	if (pick->has_gap)
		pick->gap = *p;
	return !pick->has_gap;
}

/* Events that wait for a gap stand aside until it is filled or their time is over. */
static bool pick_beside_gaps(struct worker *w, struct subject *s, struct choice *out)
{
	struct picking pick = { .w = w, .soonest_ms = INT64_MAX };
	struct item_version stored;
	struct err err = ERR_INIT;
	enum err_code rc = store_version(w->store, worker_subject_name(s), &stored, &w->text, &err);

	if (rc != ERR_OK && rc != ERR_NOT_FOUND) {
		worker_break(w, &err);
		return false;
	}
	pick.stored = rc == ERR_OK ? &stored.version : NULL;
	store_parked_each(w->store, worker_subject_name(s), look_at_parked, &pick);
	if (!pick.has_gap && pick.soonest_ms != INT64_MAX) {
		const int64_t left = pick.soonest_ms - w->wall_ms;

		out->look_ms = w->mono_ms + (left > 0 ? left : 0);
	}
	if (!pick.has_gap && !pick.has_first)
		return false;
	out->calls = pick.has_gap ? pick.calls : true;
	out->next = pick.has_gap ? pick.gap : pick.first;
	out->next.tried = store_tries(w->store, out->next.offset);
	return true;
}

/* False: nothing but gaps whose time is not over yet. */
static bool pick(struct worker *w, struct subject *s, struct choice *out)
{
	size_t count;

	out->look_ms = INT64_MAX;
	out->calls = true;
	if (s->gaps == 0)
		return store_parked_head(w->store, worker_subject_name(s), &out->next, &count);
	return pick_beside_gaps(w, s, out);
}

/* ---- turns ------------------------------------------------------------------------- */

static enum err_code load(struct worker *w, struct subject *s, const struct parked *p,
	struct work *work, struct err *err)
{
	struct item_park item;
	enum err_code rc;

	work->bytes = BUF_INIT(JOURNAL_EMBEDDED_MAX);
	rc = store_parked_get(
		w->store, worker_subject_name(s), p->offset, &work->bytes, &item, err);
	if (rc != ERR_OK)
		return rc;
	work->record =
		(struct record){ .key = item.key, .headers = item.headers, .body = item.body };
	work->offset = item.offset;
	work->reason = item.reason;
	work->attempts = item.attempts;
	work->first_ms = item.first_ms;
	work->deadline_ms = item.deadline_ms;
	work->first_failed_ms = item.first_failed_ms;
	work->last_code = item.last_code;
	work->redrive = item.redrive;
	work->tried = p->tried;
	memcpy(work->id.id16, item.id16, ID16_LEN);
	(void)snprintf(work->error, sizeof(work->error), "%.*s", SLICE_FMT(item.error));
	return event_decode(work->record.headers, &work->event, err);
}

static struct work *load_work(struct worker *w, struct subject *s, const struct parked *p)
{
	struct work *work = calloc(1, sizeof(*work));
	struct err err = ERR_INIT;

	if (!work) {
		worker_break(w, &(struct err){ ERR_NOMEM, "no memory for a parked event" });
		return NULL;
	}
	work->worker = w;
	work->kept = work->parked = work->readable = true;
	if (load(w, s, p, work, &err) != ERR_OK) {
		(void)err_prefix(&err, "parked event %lld", (long long)p->offset);
		if (err.code == ERR_SYNTAX || err.code == ERR_NOT_FOUND)
			err.code = ERR_CORRUPT;
		worker_break(w, &err);
		buf_done(&work->bytes);
		free(work);
		return NULL;
	}
	work->subject = s;
	work->subject_bytes = worker_subject_name(s);
	work->since_ms = w->mono_ms;
	worker_work_digest(w, work);
	work->route = worker_table_number(w->table, p->route);
	if (!work->route)
		work->route = worker_table_match(w->table, &work->event);
	return work;
}

static void take(struct worker *w, struct subject *s, const struct parked *p)
{
	struct work *work = load_work(w, s, p);

	if (!work)
		return;
	worker_subject_undue(w, s);
	if (s->suspects > 0) {
		s->suspects--;
		w->suspect_subjects--;
		w->suspect_works++;
		work->suspect = true;
	}
	s->busy = work;
	worker_work_turn(w, work);
}

/* When the time of a head comes is found once, as long as it is the head: a step of the wall clock
 * neither hurries nor delays what waits. */
static int64_t time_of_head(
	struct worker *w, struct subject *s, const struct parked *head, int64_t now_ms)
{
	const struct route *route = worker_table_number(w->table, head->route);

	if (s->head_at_ms != 0 && s->head_offset == head->offset &&
		s->head_next_ms == head->next_ts_ms)
		return s->head_at_ms;
	s->head_offset = head->offset;
	s->head_next_ms = head->next_ts_ms;
	s->head_at_ms = w->mono_ms + worker_retry_wait_ms(route ? route->config : NULL,
					     head->next_ts_ms, now_ms);
	return s->head_at_ms;
}

/* now_ms: the wall time to which the head's time is to be compared. */
static int64_t look_at(
	struct worker *w, struct subject *s, const struct parked *head, int64_t now_ms)
{
	int64_t at = w->mono_ms;

	/* Anything else waits for its turn and for no time: a gap that was picked is over. */
	if (head->reason == PARK_RETRY || head->reason == PARK_BREAKER)
		at = time_of_head(w, s, head, now_ms);
	if (at < w->mono_ms)
		at = w->mono_ms;
	return at > s->hold_ms ? at : s->hold_ms;
}

/* The head of a subject that nobody works on. Without a place for it nothing is loaded. */
void worker_subject_turn(struct worker *w, struct subject *s)
{
	struct choice choice;
	struct route *route;
	enum ready_line line;

	assert(!s->busy);
	s->moved = false;
	if (!pick(w, s, &choice)) {
		if (choice.look_ms != INT64_MAX)
			worker_subject_due(w, s, choice.look_ms);
		return;
	}
	/* The look was for a gap that went by itself: worker_subject_advance() finds the next time.
	 */
	if (s->suspects == 0 && look_at(w, s, &choice.next, w->wall_ms) > w->mono_ms)
		return;
	route = worker_table_number(w->table, choice.next.route);
	line = choice.next.attempts > 0 ? LINE_RETRY : LINE_FIRST;
	if (route && route->handler && (choice.calls || route->dlq_full) &&
		!worker_run_room(w, route, line, s->suspects > 0)) {
		worker_subject_undue(w, s);
		/* The time of a gap may be over before there is a place. */
		if (choice.look_ms != INT64_MAX)
			worker_subject_due(w, s, choice.look_ms);
		worker_run_ready(route, s, line);
		return;
	}
	take(w, s, &choice.next);
}

static void park_followers(struct worker *w, struct subject *s)
{
	const struct park_plan plan = { .reason = PARK_ORDER, .next_ms = w->wall_ms };
	struct work *work;

	while ((work = TAILQ_FIRST(&s->fresh)) && !w->broken)
		worker_work_park(w, work, &plan);
}

static void excuse(struct worker *w, struct subject *s)
{
	w->suspect_subjects -= s->suspects;
	s->suspects = 0;
}

/* Parked events block: what came since is parked behind them, and the first is looked at in its
 * time. */
static void blocked(struct worker *w, struct subject *s)
{
	struct choice choice;

	park_followers(w, s);
	if (s->ready || w->broken || !pick(w, s, &choice))
		return;
	worker_subject_due(
		w, s, worker_sooner(look_at(w, s, &choice.next, w->wall_ms), choice.look_ms));
	/* The others cannot wait that long for its suspects. */
	if (s->due_ms > w->mono_ms)
		excuse(w, s);
}

/* Events that wait for a gap come before what came since, if theirs is filled now. */
static bool fill_gap(struct worker *w, struct subject *s)
{
	struct choice choice;

	if (s->gaps == 0 || (!s->moved && (s->heap != 0 || s->ready)))
		return false;
	s->moved = false;
	if (pick(w, s, &choice)) {
		take(w, s, &choice.next);
		return true;
	}
	if (choice.look_ms != INT64_MAX)
		worker_subject_due(w, s, choice.look_ms);
	return false;
}

/* Gives turns until somebody is busy or nobody is left. The last thing that is done with a subject:
 * it may be gone afterwards. */
void worker_subject_advance(struct worker *w, struct subject *s)
{
	while (!s->busy && !w->broken) {
		struct work *work;

		if (worker_subject_blocked(s)) {
			blocked(w, s);
			break;
		}
		/* Thousands of gaps may be filled, or be over, at once: the rest after the commit.
		 */
		if (s->gaps > 0 && worker_batch_full(w)) {
			worker_subject_due(w, s, w->mono_ms);
			break;
		}
		if (fill_gap(w, s))
			continue;
		work = TAILQ_FIRST(&s->fresh);
		if (!work)
			break;
		TAILQ_REMOVE(&s->fresh, work, line);
		work->state = WORK_FRESH;
		s->busy = work;
		worker_work_turn(w, work);
	}
	worker_subject_tidy(w, s);
}

void worker_park_due(struct worker *w)
{
	while (w->heap.count > 0 && w->heap.at[0]->due_ms <= w->mono_ms && !worker_batch_full(w)) {
		struct subject *s = w->heap.at[0];

		worker_subject_undue(w, s);
		s->hold_ms = 0;
		if (!s->busy)
			worker_subject_turn(w, s);
		worker_subject_advance(w, s);
	}
}

bool worker_park_full(const struct worker *w)
{
	const struct config *config = w->table->config;
	uint64_t events, bytes;

	store_parked_size(w->store, &events, &bytes);
	return events >= (uint64_t)config->worker.parked_max_events ||
	       bytes >= (uint64_t)config->worker.parked_max_bytes;
}

/* ---- events that take long --------------------------------------------------------- */

static void park_old(struct worker *w, struct work *work)
{
	struct park_plan plan = { .next_ms = w->wall_ms };
	struct subject *s = work->subject;

	switch (work->state) {
	case WORK_CALL:
	case WORK_TRY: plan.reason = PARK_RUNNING; break;
	case WORK_PLACE: plan.reason = PARK_BUSY; break;
	case WORK_FRESH:
	case WORK_TURN: plan.reason = PARK_ORDER; break;
	}
	worker_work_park(w, work, &plan);
	if (s->busy && worker_subject_blocked(s))
		park_followers(w, s);
	worker_subject_advance(w, s);
}

/* The position must move on, so what has not ended by now is parked; calls go on all the same. */
void worker_park_soft_timeouts(struct worker *w)
{
	struct work *work;

	while ((work = TAILQ_FIRST(&w->window)) && !worker_batch_full(w)) {
		if (w->mono_ms - work->since_ms < WORKER_SOFT_TIMEOUT_MS)
			break;
		park_old(w, work);
	}
}

/* ---- at the start ------------------------------------------------------------------ */

/* What may have been in work when the predecessor died: what said so, and what was due then. */
static bool was_in_work(const struct parked *p, int64_t now_ms)
{
	return p->reason == PARK_RUNNING || p->tried > 0 ||
	       (p->reason != PARK_GAP && p->next_ts_ms <= now_ms);
}

/* now_ms: the latest time that is known of the life in which all this was parked. */
static void list_subject(struct worker *w, struct subject *s, bool unclean, int64_t now_ms)
{
	struct choice choice;

	if (!pick(w, s, &choice)) {
		worker_subject_due(w, s, choice.look_ms);
		return;
	}
	worker_subject_due(
		w, s, worker_sooner(look_at(w, s, &choice.next, now_ms), choice.look_ms));
	if (!unclean || w->suspect_subjects >= WORKER_WINDOW || !was_in_work(&choice.next, now_ms))
		return;
	s->suspects = 1;
	w->suspect_subjects++;
	worker_subject_due(w, s, w->mono_ms);
}

static bool count_subject(struct worker *w, struct subject *s, int64_t *now_ms)
{
	struct parked head, *list;

	(void)store_parked_head(w->store, worker_subject_name(s), &head, &s->parked);
	list = calloc(s->parked, sizeof(*list));
	if (!list)
		return false;
	s->parked = store_parked_list(w->store, worker_subject_name(s), list, s->parked);
	for (size_t i = 0; i < s->parked; i++) {
		s->gaps += list[i].reason == PARK_GAP;
		*now_ms = worker_retry_now_ms(list[i].first_ms, list[i].next_ts_ms, *now_ms);
	}
	free(list);
	return true;
}

/* The subjects come into the table in the order in which they are due, and it keeps that order. */
static enum err_code load_subjects(struct worker *w, int64_t *now_ms, struct err *err)
{
	struct parked head;
	enum err_code rc = ERR_OK;

	for (size_t i = 0; rc == ERR_OK; i++) {
		struct subject *s;

		rc = store_parked_due(w->store, INT64_MAX, i, &w->text, &head, err);
		if (rc != ERR_OK)
			break;
		s = worker_subject_get(w, buf_slice(&w->text));
		if (!s || !count_subject(w, s, now_ms))
			return err_set(err, ERR_NOMEM, "no memory for the parked events");
	}
	if (rc != ERR_NOT_FOUND)
		return rc;
	if (err)
		err_clear(err);
	return ERR_OK;
}

/* The clock may have been turned back since the events were parked: the waits go by the latest time
 * that any of them knows of. */
enum err_code worker_park_load(struct worker *w, bool unclean, struct err *err)
{
	int64_t now_ms = w->wall_ms;
	enum err_code rc = load_subjects(w, &now_ms, err);
	struct subject *s, *tmp;

	if (rc != ERR_OK)
		return rc;
	HASH_ITER (hh, w->subjects, s, tmp) {
		list_subject(w, s, unclean, now_ms);
	}
	return ERR_OK;
}
