/* change.c - what an operator asks for: replay or drop a dead letter, accept or drop what is
 * quarantined.
 *
 * One batch each: {PARK with attempts 0, SEEN parked, MARK}, or {MARK}. A redrive waits in its
 * subject like any parked event, under its identity and its original offset, and its new outcome
 * takes the place of the old one in the ledger. An accepted record passes every check of a fresh
 * event's identity but the one that quarantined it. A request that was refused when it came brings
 * the headers of its admission, which knows its identity; that its signature verifies now was found
 * out before it came here. A copy of an event that is known by now is let go: {MARK}. Deliberately
 * not here: what becomes of it (turn.c). */
#include "worker_priv.h"

#include <assert.h>
#include <string.h>

void worker_change_answer(struct worker *w, struct change_note *change)
{
	bool left;

	if (change->is_command) {
		w->tenure.decided(w->tenure.ctx, change);
		command_decided(w->tenure.commands, change->id16);
		return;
	}
	lock_take(&w->inbox.lock);
	change->done = true;
	left = change->left;
	/* Under the lock: the asker may be gone right after it. */
	cond_signal(&change->finished);
	lock_give(&w->inbox.lock);
	if (left)
		worker_change_free(change);
}

/* The answer to a command stands beside what it asked for. */
static void add_decided(struct worker *w, const struct change_note *change)
{
	struct item item = { .type = ITEM_DECIDED,
		.decided = {
			.code = change->result.code, .text = slice_str(change->result.text) } };

	memcpy(item.decided.id16, change->id16, ID16_LEN);
	worker_batch_add(w, &item);
}

static void with_the_batch(struct worker *w, struct change_note *change)
{
	if (change->is_command)
		add_decided(w, change);
	STAILQ_INSERT_TAIL(&w->batch.changes, change, link);
	w->batch.urgent = true;
}

/* Nothing is to be committed; but a command's answer is read in the journal. */
static void refuse(struct worker *w, struct change_note *change)
{
	assert(change->result.code != ERR_OK);
	if (!change->is_command)
		worker_change_answer(w, change);
	else if (change->result.code == ERR_STOPPED || w->broken)
		err_clear(&change->result); /* for the next owner */
	else
		with_the_batch(w, change);
}

static enum err_code find_entry(struct worker *w, const struct change_note *change,
	struct store_entry *out, struct err *err)
{
	static const char *const marks[] = {
		[MARK_REPLAYED] = "replayed", [MARK_DROPPED] = "dropped"
	};
	struct err none = ERR_INIT;
	enum err_code rc = store_entry_next(w->store, change->request.target,
		change->request.stream_offset, &w->text, out, &none);

	if (rc == ERR_NOT_FOUND ||
		(rc == ERR_OK && out->stream_offset != change->request.stream_offset))
		return err_set(err, ERR_NOT_FOUND, "there is no record %lld",
			(long long)change->request.stream_offset);
	if (rc != ERR_OK)
		return err_set(err, rc, "%s", none.text);
	if (out->mark != 0)
		return err_set(err, ERR_USAGE, "record %lld was already %s",
			(long long)change->request.stream_offset,
			out->mark < ARRAY_LEN(marks) ? marks[out->mark] : "marked");
	return ERR_OK;
}

static void add_mark(struct worker *w, const struct change_note *change, enum mark mark)
{
	const struct item item = { .type = ITEM_MARK,
		.mark = { .target = change->request.target,
			.stream_offset = change->request.stream_offset,
			.mark = mark,
			.time_ms = w->wall_ms } };

	worker_batch_add(w, &item);
}

/* The headers for another life: the mark of a redrive (for an accepted record the code that no
 * longer counts), and without the mark of the quarantine. Left in w->marked. */
static enum err_code new_headers(struct worker *w, const struct change_note *change,
	const struct store_entry *entry, struct slice headers, struct err *err)
{
	const char *why =
		change->request.change == CHANGE_ACCEPT ? err_name(entry->reason) : "replay";
	enum err_code rc;

	buf_reset(&w->marked);
	rc = event_with_mark(headers, EVENT_MARK_REDRIVE, slice_str(why), &w->marked, err);
	if (rc != ERR_OK || change->request.change != CHANGE_ACCEPT)
		return rc;
	buf_reset(&w->identity);
	rc = event_with_mark(
		buf_slice(&w->marked), EVENT_MARK_QUARANTINE, SLICE_EMPTY, &w->identity, err);
	buf_swap(&w->marked, &w->identity);
	return rc;
}

/* Everything of a fresh event's identity but the check that quarantined it. */
static enum err_code check_identity(
	struct worker *w, const struct store_entry *entry, const struct work *work, struct err *err)
{
	const struct source_config *source = config_source(w->table->config, work->event.source);
	struct item_seen seen;

	if (entry->reason != ERR_ID_REUSED && worker_known(w, &work->id, &seen) &&
		seen.outcome != OUTCOME_QUARANTINED)
		return err_set(err, ERR_USAGE, "its event is %s already: \"%.*s\"",
			outcome_name(seen.outcome), SLICE_FMT(work->event.id));
	if (work->has_replay && source && source->on_replay == ON_REPLAY_QUARANTINE &&
		worker_known(w, &work->replay, &seen) && seen.offset != work->offset)
		return err_set(err, ERR_USAGE, "its signed bytes came under another id: %s",
			err_name(ERR_REPLAY_DETECTED));
	return w->broken ? err_set(err, ERR_STOPPED, "the worker has stopped") : ERR_OK;
}

static enum err_code check_accept(struct worker *w, const struct change_note *change,
	const struct store_entry *entry, struct work *work, struct err *err)
{
	if (change->request.headers.len == 0 && worker_outs_refusal(entry->reason))
		return err_set(err, ERR_USAGE,
			"record %lld was refused when it came: it has to be verified again",
			(long long)change->request.stream_offset);
	/* Its signed bytes are known as another event's, and stay that one's. */
	if (entry->reason == ERR_REPLAY_DETECTED)
		work->has_replay = false;
	return check_identity(w, entry, work, err);
}

/* A dead letter goes where it failed, while there is such a route. */
static struct route *route_of(
	struct worker *w, const struct store_entry *entry, const struct event *event)
{
	for (size_t i = 0; entry->route.len > 0 && i < w->table->count; i++) {
		if (slice_eq_str(entry->route, w->table->routes[i].name))
			return &w->table->routes[i];
	}
	return worker_table_match(w->table, event);
}

/* Make the scratch work what the parked event will be. */
static enum err_code prepare(struct worker *w, const struct change_note *change,
	const struct store_entry *entry, const struct record *record, struct err *err)
{
	struct work *work = &w->scratch;
	enum err_code rc = new_headers(w, change, entry, record->headers, err);

	*work = (struct work){ .worker = w, .record = *record, .readable = true };
	work->record.headers = buf_slice(&w->marked);
	if (rc == ERR_OK)
		rc = event_decode(work->record.headers, &work->event, err);
	if (rc == ERR_OK)
		rc = worker_work_identify(w, work, err);
	if (rc != ERR_OK)
		return err_set(err, ERR_USAGE, "record %lld cannot be read",
			(long long)change->request.stream_offset);
	work->offset = entry->offset;
	work->redrive = (uint64_t)change->request.stream_offset + 1;
	work->route = route_of(w, entry, &work->event);
	worker_work_digest(w, work);
	/* The replay identity of a dead letter was written when it died. */
	work->has_replay = work->has_replay && change->request.change == CHANGE_ACCEPT;
	return ERR_OK;
}

/* A sender repeats what was refused: of its copies one is worked, the others are as duplicates are
 * anywhere. Of a dead event nothing has taken effect, which whoever accepts has to be told. */
static bool is_copy(struct worker *w, const struct change_note *change, const struct work *work)
{
	struct item_seen seen;

	return change->request.headers.len > 0 && worker_known(w, &work->id, &seen) &&
	       seen.outcome != OUTCOME_QUARANTINED && seen.outcome != OUTCOME_DEAD &&
	       memcmp(seen.digest8, work->digest8, sizeof(seen.digest8)) == 0;
}

static enum err_code redrive(struct worker *w, struct change_note *change, struct err *err)
{
	const struct park_plan plan = { .reason = PARK_REPLAY, .next_ms = w->wall_ms };
	struct store_entry entry;
	struct record record;
	struct subject *s;
	enum err_code rc = find_entry(w, change, &entry, err);

	if (rc == ERR_OK)
		rc = queue_lookup(w->queue,
			change->request.target == OUT_DLQ ? STREAM_DLQ : STREAM_QUARANTINE,
			change->request.stream_offset, &w->copy, &record, err);
	if (rc == ERR_OK && change->request.headers.len > 0) {
		record.headers = change->request.headers;
		record.key = change->request.key;
	}
	if (rc == ERR_OK)
		rc = prepare(w, change, &entry, &record, err);
	if (rc == ERR_OK && is_copy(w, change, &w->scratch)) {
		add_mark(w, change, MARK_DROPPED);
		return ERR_OK;
	}
	if (rc == ERR_OK && change->request.change == CHANGE_ACCEPT)
		rc = check_accept(w, change, &entry, &w->scratch, err);
	if (rc != ERR_OK)
		return rc;
	w->scratch.subject = worker_subject_find(w, w->scratch.subject_bytes);
	worker_work_park(w, &w->scratch, &plan);
	add_mark(w, change, MARK_REPLAYED);
	s = w->scratch.subject;
	if (w->broken || !s)
		return err_set(err, ERR_STOPPED, "the worker has stopped");
	/* The head may be another one now. */
	worker_subject_undue(w, s);
	s->hold_ms = 0;
	worker_subject_advance(w, s);
	return ERR_OK;
}

static enum err_code drop(struct worker *w, struct change_note *change, struct err *err)
{
	struct store_entry entry;
	enum err_code rc = find_entry(w, change, &entry, err);

	if (rc == ERR_OK)
		add_mark(w, change, MARK_DROPPED);
	return rc;
}

static enum err_code fits(const struct change_note *change, struct err *err)
{
	const bool dlq = change->request.target == OUT_DLQ;

	if ((change->request.change == CHANGE_REPLAY && !dlq) ||
		(change->request.change == CHANGE_ACCEPT && dlq))
		return err_set(
			err, ERR_USAGE, "dead letters are replayed, quarantined records accepted");
	return ERR_OK;
}

void worker_change_decide(struct worker *w, struct change_note *change)
{
	struct err err = ERR_INIT;
	enum err_code rc = fits(change, &err);

	if (rc == ERR_OK && (w->stopping || w->broken))
		rc = err_set(&err, ERR_STOPPED, "the worker is stopping");
	if (rc == ERR_OK)
		rc = change->request.change == CHANGE_DROP ? drop(w, change, &err)
							   : redrive(w, change, &err);
	change->result = err;
	if (rc != ERR_OK)
		refuse(w, change);
	else
		with_the_batch(w, change);
}
