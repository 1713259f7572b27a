/* change.c - what an operator asks for: replay or drop a dead letter, accept or drop what is
 * quarantined.
 *
 * One batch each: {PARK with attempts 0, SEEN parked, MARK}, or {MARK}. A redrive waits in its
 * subject like any parked event, under its identity and its original offset, and its new outcome
 * takes the place of the old one in the ledger. Whether a refused request may be accepted (its
 * signature must verify now) is decided before it comes here. Deliberately not here: what becomes
 * of it (turn.c). */
#include "worker_priv.h"

#include <assert.h>
#include <string.h>

void worker_change_answer(struct worker *w, struct change_note *change)
{
	lock_take(&w->inbox.lock);
	change->done = true;
	/* Under the lock: the asker may be gone right after it. */
	cond_signal(&change->finished);
	lock_give(&w->inbox.lock);
}

static void refuse(struct worker *w, struct change_note *change)
{
	assert(change->result.code != ERR_OK);
	worker_change_answer(w, change);
}

static enum err_code find_entry(struct worker *w, const struct change_note *change,
	struct store_entry *out, struct err *err)
{
	static const char *const marks[] = {
		[MARK_REPLAYED] = "replayed", [MARK_DROPPED] = "dropped"
	};
	struct err none = ERR_INIT;
	enum err_code rc = store_entry_next(
		w->store, change->target, change->stream_offset, &w->text, out, &none);

	if (rc == ERR_NOT_FOUND || (rc == ERR_OK && out->stream_offset != change->stream_offset))
		return err_set(err, ERR_NOT_FOUND, "there is no record %lld",
			(long long)change->stream_offset);
	if (rc != ERR_OK)
		return err_set(err, rc, "%s", none.text);
	if (out->mark != 0)
		return err_set(err, ERR_USAGE, "record %lld was already %s",
			(long long)change->stream_offset,
			out->mark < ARRAY_LEN(marks) ? marks[out->mark] : "marked");
	return ERR_OK;
}

static void add_mark(struct worker *w, const struct change_note *change, enum mark mark)
{
	const struct item item = { .type = ITEM_MARK,
		.mark = { .target = change->target,
			.stream_offset = change->stream_offset,
			.mark = mark,
			.time_ms = w->wall_ms } };

	worker_batch_add(w, &item);
}

/* The headers for another life: the mark of a redrive (for an accepted record the code that no
 * longer counts), and without the mark of the quarantine. Left in w->marked. */
static enum err_code new_headers(struct worker *w, const struct change_note *change,
	const struct store_entry *entry, struct slice headers, struct err *err)
{
	const char *why = change->change == CHANGE_ACCEPT ? err_name(entry->reason) : "replay";
	enum err_code rc;

	buf_reset(&w->marked);
	rc = event_with_mark(headers, EVENT_MARK_REDRIVE, slice_str(why), &w->marked, err);
	if (rc != ERR_OK || change->change != CHANGE_ACCEPT)
		return rc;
	buf_reset(&w->identity);
	rc = event_with_mark(
		buf_slice(&w->marked), EVENT_MARK_QUARANTINE, SLICE_EMPTY, &w->identity, err);
	buf_swap(&w->marked, &w->identity);
	return rc;
}

/* Make the scratch work what the parked event will be. */
static enum err_code prepare(struct worker *w, const struct change_note *change,
	const struct store_entry *entry, const struct record *record, struct err *err)
{
	struct work *work = &w->scratch;
	const struct route *route;
	enum err_code rc = new_headers(w, change, entry, record->headers, err);

	*work = (struct work){ .worker = w, .record = *record, .readable = true };
	work->record.headers = buf_slice(&w->marked);
	if (rc == ERR_OK)
		rc = event_decode(work->record.headers, &work->event, err);
	buf_reset(&w->subject_buf);
	if (rc == ERR_OK)
		rc = event_subject(&work->event, &w->subject_buf, err);
	if (rc != ERR_OK)
		return err_set(err, ERR_USAGE, "record %lld cannot be read",
			(long long)change->stream_offset);
	work->subject_bytes = buf_slice(&w->subject_buf);
	memcpy(work->id.id16, entry->id16, ID16_LEN);
	work->offset = entry->offset;
	work->redrive = (uint64_t)change->stream_offset + 1;
	work->route = worker_table_match(w->table, &work->event);
	/* A dead letter goes where it failed, while there is such a route. */
	for (size_t i = 0; entry->route.len > 0 && i < w->table->count; i++) {
		route = &w->table->routes[i];
		if (slice_eq_str(entry->route, route->name))
			work->route = &w->table->routes[i];
	}
	worker_work_digest(w, work);
	return ERR_OK;
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
			change->target == OUT_DLQ ? STREAM_DLQ : STREAM_QUARANTINE,
			change->stream_offset, &w->copy, &record, err);
	if (rc == ERR_OK)
		rc = prepare(w, change, &entry, &record, err);
	if (rc != ERR_OK)
		return rc;
	s = w->scratch.subject = worker_subject_find(w, w->scratch.subject_bytes);
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
	const bool dlq = change->target == OUT_DLQ;

	if ((change->change == CHANGE_REPLAY && !dlq) || (change->change == CHANGE_ACCEPT && dlq))
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
		rc = change->change == CHANGE_DROP ? drop(w, change, &err)
						   : redrive(w, change, &err);
	change->result = err;
	if (rc != ERR_OK) {
		refuse(w, change);
		return;
	}
	STAILQ_INSERT_TAIL(&w->batch.changes, change, link);
	w->batch.urgent = true;
}
