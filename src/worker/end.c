/* end.c - what is written about an event: its outcome, or that it is parked.
 *
 *   ended:   [UNPARK] SEEN [SEEN of the replay identity] [VER] [OUT] [TRY 0]
 *   parked:  PARK [SEEN, the first time] [TRY 0]
 *
 * A duplicate writes nothing: the ledger keeps the original's entry, and the copy is found again. A
 * work that ended is gone afterwards; its subject is told by the caller (worker_subject_advance()).
 * Deliberately not here: why (decide.c, retry.c, run.c). */
#include "worker_priv.h"

#include <assert.h>
#include <string.h>

/* ---- items ------------------------------------------------------------------------- */

static struct item_seen seen_entry(
	const struct work *work, enum outcome outcome, enum err_code code)
{
	struct item_seen seen = { .offset = work->offset,
		.outcome = outcome,
		.code = code,
		.route = work->route->number,
		.attempts = (uint8_t)(work->attempts < UINT8_MAX ? work->attempts : UINT8_MAX),
		.received_s = (uint32_t)(work->event.received_ms / 1000) };

	memcpy(seen.id16, work->id.id16, ID16_LEN);
	memcpy(seen.digest8, work->digest8, sizeof(seen.digest8));
	return seen;
}

static void add_seen(struct worker *w, struct work *work, enum outcome outcome, enum err_code code)
{
	struct item item = { .type = ITEM_SEEN, .seen = seen_entry(work, outcome, code) };

	/* A copy does not touch the entry of its original. */
	if (work->known)
		return;
	worker_batch_add(w, &item);
	/* Once is enough: it only says that these bytes were here, in a request that could be used.
	 */
	if (!work->has_replay || work->parked || work->event.quarantine.len > 0 ||
		code == ERR_REPLAY_DETECTED)
		return;
	memcpy(item.seen.id16, work->replay.id16, ID16_LEN);
	worker_batch_add(w, &item);
}

static void add_unpark(struct worker *w, const struct work *work)
{
	const struct item item = { .type = ITEM_UNPARK,
		.unpark = { .subject = work->subject_bytes, .offset = work->offset } };

	worker_batch_add(w, &item);
}

static void add_version(struct worker *w, const struct work *work)
{
	const enum version_rule rule = work->route->config ? work->route->config->rule : RULE_NEWER;
	const struct item item = { .type = ITEM_VERSION,
		.version = {
			.subject = work->subject_bytes,
			.version = worker_decide_after(
				rule, work->event.version, work->has_stored ? &work->stored : NULL),
			.offset = work->offset,
			.event_id = work->event.id,
			.source = work->event.source,
			.route = work->route->number,
			.time_ms = w->wall_ms,
		} };

	worker_batch_add(w, &item);
}

/* The call of a suspect has reported: its death is no longer to be feared. */
static void clear_try(struct worker *w, struct work *work)
{
	const struct item item = { .type = ITEM_TRY, .attempt = { .offset = work->offset } };

	if (work->tried == 0)
		return;
	work->tried = 0;
	work->try_open = false;
	worker_batch_add(w, &item);
}

static void add_out(struct worker *w, const struct work *work, enum out_target target,
	enum err_code code, struct slice headers)
{
	struct item item = { .type = ITEM_OUT,
		.out = { .offset = work->offset,
			.target = target,
			.reason = code,
			.topic = work->topic,
			.key = work->record.key,
			.headers = headers,
			.body = work->record.body } };

	memcpy(item.out.id16, work->id.id16, ID16_LEN);
	worker_batch_add(w, &item);
	if (!w->broken)
		worker_outs_add(w, &item.out);
}

/* The event fitted into the log; with what is added it must fit into this stream. */
static struct slice if_it_fits(struct worker *w, const struct work *work, enum stream stream)
{
	const size_t bytes = w->marked.len + work->record.key.len + work->record.body.len;

	return queue_room(w->queue, stream, bytes, NULL) == ERR_LIMIT ? work->record.headers
								      : buf_slice(&w->marked);
}

static void add_quarantined(struct worker *w, const struct work *work, enum err_code code)
{
	struct slice headers = work->record.headers;

	/* The record says why; headers that cannot be read are left as they are. */
	buf_reset(&w->marked);
	if (work->readable && work->event.quarantine.len == 0 &&
		event_with_mark(headers, EVENT_MARK_QUARANTINE, slice_str(err_name(code)),
			&w->marked, NULL) == ERR_OK)
		headers = if_it_fits(w, work, STREAM_QUARANTINE);
	add_out(w, work, OUT_QUARANTINE, code, headers);
}

static void add_dead(struct worker *w, const struct work *work, enum err_code code)
{
	const struct config *config = w->table->config;
	const struct dead_letter dead = { .reason = slice_str(err_name(code)),
		.route = slice_str(work->route->name),
		.error = slice_str(work->error[0] ? work->error : err_title(code)),
		.attempts = work->attempts,
		.topic = slice_str(
			config_on_kafka(config) ? config->queue.topic : stream_name(STREAM_EVENTS)),
		.partition = w->tenure.partition,
		.offset = work->offset,
		.first_failed_ms = work->first_failed_ms ? work->first_failed_ms : w->wall_ms,
		.last_failed_ms = w->wall_ms };
	struct slice headers = work->record.headers;

	buf_reset(&w->marked);
	if (event_dead_letter(headers, &dead, &w->marked, NULL) == ERR_OK)
		headers = if_it_fits(w, work, STREAM_DLQ);
	add_out(w, work, OUT_DLQ, code, headers);
}

/* ---- people ------------------------------------------------------------------------ */

static void tell_dropped(int64_t dropped)
{
	if (dropped > 0)
		log_warn("events_quarantined", log_int("not_logged", dropped));
}

/* Anybody can send requests that are refused and kept: some have a line of their own, of the others
 * there is one a second that counts. */
static bool gate_opens(struct worker *w)
{
	int64_t dropped;
	const bool opens = log_gate_opens(&w->gate, w->mono_ms, &dropped);

	tell_dropped(dropped);
	return opens;
}

void worker_end_upkeep(struct worker *w)
{
	tell_dropped(log_gate_dropped(&w->gate, w->mono_ms));
}

static void log_end(const struct work *work, enum outcome outcome, enum err_code code)
{
	static const struct {
		enum log_level level;
		const char *event;
	} lines[OUTCOME_COUNT] = {
		[OUTCOME_NONE] = { LOG_DEBUG, "event_none" },
		[OUTCOME_APPLIED] = { LOG_DEBUG, "event_applied" },
		[OUTCOME_DUPLICATE] = { LOG_DEBUG, "event_duplicate" },
		[OUTCOME_STALE] = { LOG_DEBUG, "event_stale" },
		[OUTCOME_DEAD] = { LOG_WARN, "event_dead" },
		[OUTCOME_QUARANTINED] = { LOG_WARN, "event_quarantined" },
		[OUTCOME_PARKED] = { LOG_DEBUG, "event_parked" },
		[OUTCOME_PENDING] = { LOG_DEBUG, "event_pending" },
	};
	const struct log_field fields[] = { log_text("event_id", work->event.id),
		log_text("source", work->event.source), log_text("tenant", work->event.tenant),
		log_text("request_id", work->event.request_id),
		log_str("code", code == ERR_OK ? NULL : err_name(code)),
		log_str("outcome", outcome_name(outcome)), log_str("route", work->route->name),
		log_int("offset", work->offset), log_int("attempts", work->attempts),
		log_str("text", outcome == OUTCOME_DEAD ? work->error : NULL), { .name = NULL } };

	log_emit(lines[outcome].level, lines[outcome].event, fields);
}

static void tell(
	struct worker *w, const struct work *work, enum outcome outcome, enum err_code code)
{
	worker_batch_tally(w, work, outcome);
	if (outcome == OUTCOME_DEAD)
		metric_add(
			metric_series(METRIC_DEAD_LETTERS, work->route->name, err_name(code)), 1);
	/* The plain way is counted, and logged only for who looks closely. */
	if (outcome == OUTCOME_APPLIED)
		return;
	if (outcome != OUTCOME_QUARANTINED || !worker_outs_refusal(code) || gate_opens(w))
		log_end(work, outcome, code);
}

/* ---- letting go -------------------------------------------------------------------- */

static void leave_subject(struct work *work)
{
	struct subject *s = work->subject;

	worker_run_leave(work);
	if (work->state == WORK_TURN)
		TAILQ_REMOVE(&s->fresh, work, line);
	work->state = WORK_FRESH;
	if (s && s->busy == work)
		s->busy = NULL;
}

static void let_go(struct worker *w, struct work *work)
{
	if (work == &w->scratch)
		w->taking = -1;
	leave_subject(work);
	worker_work_leave_window(w, work);
	if (w->alone == work)
		w->alone = NULL;
	worker_work_free(w, work);
}

static void uncount_parked(struct work *work)
{
	struct subject *s = work->subject;

	assert(s->parked > 0);
	s->parked--;
	if (work->reason == PARK_GAP)
		s->gaps--;
}

void worker_work_end(struct worker *w, struct work *work, enum outcome outcome, enum err_code code)
{
	worker_batch_split(w);
	if (code == ERR_CRASH_LOOP)
		work->attempts += work->tried; /* its calls, which never reported */
	if (work->parked)
		add_unpark(w, work);
	if (outcome != OUTCOME_DUPLICATE)
		add_seen(w, work, outcome, code);
	if (outcome == OUTCOME_APPLIED && work->event.entity.len > 0) {
		add_version(w, work);
		if (work->subject)
			work->subject->moved = true;
	}
	if (outcome == OUTCOME_APPLIED && work->topic.len > 0)
		add_out(w, work, OUT_TOPIC, ERR_OK, work->record.headers);
	if (outcome == OUTCOME_QUARANTINED && worker_outs_keep(w, code, &work->record))
		add_quarantined(w, work, code);
	if (outcome == OUTCOME_DEAD)
		add_dead(w, work, code);
	clear_try(w, work);
	if (w->broken)
		return;
	tell(w, work, outcome, code);
	if (work->parked) {
		uncount_parked(work);
		work->subject->hold_ms = 0;
	}
	let_go(w, work);
}

/* ---- parking ----------------------------------------------------------------------- */

static void add_park(struct worker *w, struct work *work, const struct park_plan *plan)
{
	struct item item = { .type = ITEM_PARK,
		.park = { .subject = work->subject_bytes,
			.offset = work->offset,
			.route = work->route->number,
			.attempts = work->attempts,
			.first_ms = work->first_ms,
			.next_ts_ms = plan->next_ms,
			.deadline_ms = plan->deadline_ms,
			.first_failed_ms = work->first_failed_ms,
			.reason = plan->reason,
			.last_code = work->last_code,
			.redrive = work->redrive,
			.version = work->event.version,
			.error = slice_str(work->error),
			.key = work->record.key,
			.headers = work->record.headers,
			.body = work->record.body } };

	memcpy(item.park.id16, work->id.id16, ID16_LEN);
	worker_batch_add(w, &item);
}

/* The subject's books; a fresh work may not have a subject yet. */
static bool count_parked(struct worker *w, struct work *work, enum park_reason reason)
{
	struct subject *s = work->subject;

	if (work->parked)
		uncount_parked(work);
	if (!s)
		s = work->subject = worker_subject_get(w, work->subject_bytes);
	if (!s)
		return false;
	s->parked++;
	s->gaps += reason == PARK_GAP;
	/* A suspect that waits on is called alone all the same. */
	if (work->suspect && (reason == PARK_BUSY || reason == PARK_ORDER)) {
		work->suspect = false;
		w->suspect_works--;
		s->suspects++;
		w->suspect_subjects++;
	}
	return true;
}

void worker_work_park(struct worker *w, struct work *work, const struct park_plan *plan)
{
	struct park_plan p = *plan;
	const bool first = !work->parked;

	worker_batch_split(w);
	if (p.deadline_ms == 0)
		p.deadline_ms = work->deadline_ms;
	if (work->first_ms == 0)
		work->first_ms = w->wall_ms;
	if (first)
		add_seen(w, work, OUTCOME_PARKED, p.code);
	add_park(w, work, &p);
	if (p.reason != PARK_RUNNING)
		clear_try(w, work);
	if (w->broken)
		return;
	worker_run_leave(work);
	if (!count_parked(w, work, p.reason))
		return;
	work->parked = true;
	work->reason = p.reason;
	if (p.reason != PARK_RUNNING) {
		let_go(w, work);
		return;
	}
	/* Its call goes on; only the position does not wait for it. */
	worker_work_leave_window(w, work);
}

void worker_work_die(struct worker *w, struct work *work, enum err_code code)
{
	const struct park_plan plan = { .reason = PARK_RETRY, .code = code, .next_ms = w->wall_ms };

	if (worker_outs_dlq_room(w, work->record.body.len + work->record.headers.len)) {
		worker_work_end(w, work, OUTCOME_DEAD, code);
		return;
	}
	work->route->dlq_full = true;
	if (work->parked && (work->last_code == code || code == ERR_VERSION_GAP)) {
		worker_work_put_off(w, work, WORKER_UPKEEP_MS);
		return;
	}
	work->last_code = code;
	worker_work_park(w, work, &plan);
}

void worker_work_put_off(struct worker *w, struct work *work, int64_t wait_ms)
{
	assert(work->parked);
	work->subject->hold_ms = w->mono_ms + wait_ms;
	let_go(w, work);
}
