/* batch.c - the one batch that is open: items, then journal, apply, commit.
 *
 *   OPEN --journal_end, queue_journal, store_apply--> APPLIED --store_commit--> (committed) OPEN
 *     items and events are added                        | no room, no disk: again in a second
 *
 * Where a journal is kept, having read the record back is the commit: what waits for it is done
 * then, and the store follows now and then (worker_batch_settle()). A record stays below its limit:
 * a batch that has grown is closed before the items of the next event (worker_batch_split()).
 *
 * An item is visible to reads as soon as it is added, so later decisions see earlier ones of the
 * same batch. While a commit has to be tried again nothing is added. What people count and wait for
 * (metrics, outputs, operators' changes) happens after the commit. */
#include "worker_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LATE_BEATS 2
#define IDLE_EARLY_MS 5000 /* what is due so soon is not idleness */
#define SETTLE_MS 200
#define SETTLE_EVENTS 2000
#define SETTLE_STATE_MS 10000 /* when only positions moved */
#define SETTLE_BYTES MIB(64)  /* more waits for no commit */
#define SETTLE_GIVE_UP_MS 60000

#define TALLIES_MAX (WORKER_BATCH_EVENTS + 2 * WORKER_WINDOW)

static void fresh(struct batch *b)
{
	b->step = BATCH_OPEN;
	b->events = b->items = b->handled = 0;
	b->opened_ms = b->retry_ms = 0;
	b->urgent = false;
	b->tally_count = 0;
}

enum err_code worker_batch_open(struct worker *w, struct err *err)
{
	struct batch *b = &w->batch;

	b->bytes = BUF_INIT(JOURNAL_EMBEDDED_MAX);
	STAILQ_INIT(&b->changes);
	b->tallies = calloc(TALLIES_MAX, sizeof(b->tallies[0]));
	if (!b->tallies)
		return err_set(err, ERR_NOMEM, "no memory for a batch");
	fresh(b);
	return journal_begin(&b->bytes, err);
}

void worker_batch_free(struct worker *w)
{
	buf_done(&w->batch.bytes);
	free(w->batch.tallies);
	w->batch.tallies = NULL;
}

void worker_batch_touch(struct worker *w)
{
	if (w->batch.opened_ms == 0)
		w->batch.opened_ms = w->mono_ms;
}

void worker_batch_add(struct worker *w, const struct item *item)
{
	struct err err = ERR_INIT;
	enum err_code rc;

	if (w->broken)
		return;
	assert(w->batch.step == BATCH_OPEN);
	rc = journal_add(&w->batch.bytes, item, &err);
	if (rc == ERR_OK)
		rc = store_stage(w->store, item, &err);
	if (rc != ERR_OK)
		worker_break(w, &err);
	w->batch.items++;
	worker_batch_touch(w);
}

static void count(const struct tally *t)
{
	metric_add(t->outcome, 1);
	if (t->seconds >= 0)
		metric_observe(t->age, t->seconds);
}

void worker_batch_tally(struct worker *w, const struct work *work, enum outcome outcome)
{
	struct batch *b = &w->batch;
	const int64_t age = w->wall_ms - work->event.received_ms;
	const struct tally t = { .outcome = work->route->outcomes[outcome],
		.age = work->route->age,
		.seconds = outcome == OUTCOME_DUPLICATE ? -1
			   : age > 0                    ? (double)age / 1000
							: 0 };

	/* Many parked events may end in one batch. */
	if (b->tally_count == TALLIES_MAX)
		count(&t);
	else
		b->tallies[b->tally_count++] = t;
}

bool worker_batch_full(const struct worker *w)
{
	const struct batch *b = &w->batch;

	return w->broken || b->retry_ms != 0 || b->urgent ||
	       b->bytes.len >= (w->journaled ? WORKER_RECORD_BYTES : WORKER_BATCH_BYTES) ||
	       b->events >= WORKER_BATCH_EVENTS || b->items >= (size_t)4 * WORKER_BATCH_EVENTS ||
	       (b->opened_ms != 0 && w->mono_ms - b->opened_ms >= WORKER_BATCH_MS);
}

int64_t worker_batch_due_at(const struct worker *w)
{
	const struct batch *b = &w->batch;

	if (b->retry_ms != 0)
		return b->retry_ms;
	if (b->opened_ms == 0)
		return INT64_MAX;
	/* Calls that end soon share a commit; with none under way there is nothing to wait for. */
	return w->calls > 0 ? b->opened_ms + WORKER_HOLD_MS : 0;
}

bool worker_batch_due(const struct worker *w, bool backlog)
{
	const struct batch *b = &w->batch;

	if (b->opened_ms == 0 || w->broken)
		return false;
	if (b->retry_ms != 0)
		return w->mono_ms >= b->retry_ms;
	if (worker_batch_full(w) || b->handled >= WORKER_WINDOW / 2)
		return true;
	return !backlog && w->mono_ms >= worker_batch_due_at(w);
}

static struct journal_header header(const struct worker *w, enum journal_type type)
{
	struct journal_header h = { .type = type,
		.epoch = w->journal.epoch,
		.seq = w->journal.seq + 1,
		.next_offset = worker_position(w),
		.base_offset = w->base_offset,
		.generation = w->tenure.generation,
		.partitions = w->tenure.partitions,
		.checkpoint_offset = w->journal_next,
		.checkpoint_epoch = w->journal.epoch,
		.checkpoint_seq = w->journal.seq };

	memcpy(h.writer, w->journal.writer, WRITER_LEN);
	memcpy(h.checkpoint_writer, w->journal.writer, WRITER_LEN);
	return h;
}

/* A record that was long on its way speaks of when it was sent: we may have stood still since, and
 * been replaced. So another one follows before anybody is called; of two that are slow the second
 * counts, or nothing would ever be done over a slow broker. */
static void journalled(struct worker *w, int64_t sent_ms)
{
	const int64_t now_ms = w->clock->mono_ms(w->clock);
	const bool late = now_ms - sent_ms >= LATE_BEATS * w->tenure.beat_ms;

	w->journalled_ms = late && !w->journalled_late ? sent_ms : now_ms;
	w->journalled_late = late;
	if (late)
		worker_times(w);
}

/* Append, and wait until it is read back. */
static enum err_code journal(struct worker *w, struct err *err)
{
	const int64_t sent_ms = w->clock->mono_ms(w->clock);
	struct batch *b = &w->batch;
	enum err_code rc;

	w->appending = true;
	rc = queue_journal(w->queue, buf_slice(&b->bytes), &b->journalled, err);
	w->appending = false;
	if (rc == ERR_CORRUPT)
		w->log_is_bad = true;
	if (rc == ERR_OK && w->journaled) {
		w->journal_next = b->journalled.next_offset;
		journalled(w, sent_ms);
	}
	return rc;
}

static enum err_code apply_journalled(struct worker *w, struct err *err)
{
	const struct journal_read *back = &w->batch.journalled;
	const struct store_read read = { back->time_ms, back->next_offset };

	return store_apply_read(w->store, back->bytes, w->journaled ? &read : NULL, err);
}

/* Journal, read back, judge, apply. What comes back is ours, or there is an error. */
static enum err_code apply(struct worker *w, const struct journal_header *h, struct err *err)
{
	struct batch *b = &w->batch;
	enum err_code rc = ERR_OK;

	if (b->step == BATCH_OPEN) {
		rc = journal_end(&b->bytes, h, err);
		if (rc == ERR_OK)
			b->step = BATCH_BUILT;
	}
	if (rc == ERR_OK && b->step == BATCH_BUILT) {
		struct journal_header back;

		rc = journal(w, err);
		if (rc == ERR_OK)
			rc = journal_open(b->journalled.bytes, &back, err);
		if (rc == ERR_OK && !journal_judge(&w->journal, &back))
			rc = err_set(err, ERR_CORRUPT, "the journal holds a foreign claim");
		if (rc == ERR_OK)
			rc = apply_journalled(w, err);
		if (rc == ERR_OK)
			b->step = BATCH_APPLIED;
		if (rc == ERR_OK)
			w->journalled_to = h->next_offset;
	}
	return rc;
}

static void committed(struct worker *w)
{
	struct batch *b = &w->batch;
	struct change_note *change;

	for (size_t i = 0; i < b->tally_count; i++)
		count(&b->tallies[i]);
	while ((change = STAILQ_FIRST(&b->changes))) {
		STAILQ_REMOVE_HEAD(&b->changes, link);
		worker_change_answer(w, change);
	}
	worker_outs_committed(w);
	if (worker_position(w) != w->told) {
		struct err err = ERR_INIT;

		/* A hint for retention: the next commit brings it up to date. */
		if (queue_done(w->queue, STREAM_EVENTS, worker_position(w), &err) == ERR_OK)
			w->told = worker_position(w);
		else
			log_warn("queue_position", log_code(err.code), log_str("text", err.text));
	}
}

static void failed(struct worker *w, const struct err *err)
{
	struct batch *b = &w->batch;

	if (err_action(err->code) == ACT_STOP || b->step != BATCH_APPLIED) {
		worker_break(w, err);
		return;
	}
	if (b->retry_ms == 0)
		log_error("commit_failed", log_code(err->code), log_str("text", err->text));
	b->retry_ms = w->mono_ms + WORKER_COMMIT_RETRY_MS;
	worker_board_pause(w, err->text);
}

bool worker_batch_close(struct worker *w)
{
	struct batch *b = &w->batch;
	const struct journal_header h = header(w, JOURNAL_BATCH);
	struct err err = ERR_INIT;
	enum err_code rc;

	if (w->broken)
		return false;
	rc = apply(w, &h, &err);
	if (rc == ERR_OK && !w->journaled)
		rc = store_commit(w->store, &err);
	if (rc != ERR_OK) {
		failed(w, &err);
		return false;
	}
	if (b->retry_ms != 0) {
		log_info("commit_resumed", log_int("seq", (int64_t)w->journal.seq));
		worker_board_pause(w, NULL);
	}
	w->lagging.events += b->events;
	committed(w);
	fresh(b);
	rc = journal_begin(&b->bytes, &err);
	if (rc != ERR_OK)
		worker_break(w, &err);
	return rc == ERR_OK;
}

void worker_batch_split(struct worker *w)
{
	if (w->journaled && !w->broken && w->batch.bytes.len >= WORKER_RECORD_BYTES)
		(void)worker_batch_close(w);
}

/* Nothing waits here, and whoever follows sees it: the journal tells the end of the events as the
 * position, nothing is to be published, and nothing parked is due. What a follower counts as
 * waiting (lane_claim.c) must never be idleness here; its clock may be ahead of ours. */
static bool idle(const struct worker *w)
{
	const struct board *b = &w->board; /* written by this thread alone */

	return b->position == b->end && w->journalled_to == b->end && w->read_offset == b->end &&
	       b->totals.outs == 0 && TAILQ_EMPTY(&w->window) && w->calls == 0 &&
	       STAILQ_EMPTY(&w->outs.staged) && w->batch.opened_ms == 0 && !w->stopping &&
	       worker_intake_open(w) && !w->lagging.flood && w->mono_ms >= w->read_retry_ms &&
	       store_parked_next(w->store) > w->wall_ms + IDLE_EARLY_MS;
}

int64_t worker_batch_beat_at(const struct worker *w)
{
	return w->journalled_ms + (idle(w) ? w->tenure.idle_beat_ms : w->tenure.beat_ms);
}

void worker_batch_beat(struct worker *w)
{
	if (!w->journaled || w->broken || w->mono_ms < worker_batch_beat_at(w))
		return;
	worker_batch_touch(w);
	(void)worker_batch_close(w);
}

/* ---- the store behind the journal --------------------------------------------------- */

int64_t worker_batch_settle_at(const struct worker *w)
{
	const struct lagging *l = &w->lagging;

	if (l->retry_ms != 0)
		return l->retry_ms;
	return l->since_ms == 0 ? INT64_MAX : l->since_ms + SETTLE_MS;
}

/* Nothing is lost: the journal has it. So it may be tried for a while, and then elsewhere. */
static void not_settled(struct worker *w, const struct err *err)
{
	struct lagging *l = &w->lagging;

	if (l->failed_ms == 0) {
		l->failed_ms = w->mono_ms;
		log_error("commit_failed", log_code(err->code), log_str("text", err->text));
		worker_board_pause(w, err->text);
	}
	l->retry_ms = w->mono_ms + WORKER_COMMIT_RETRY_MS;
	if (err_action(err->code) == ACT_STOP || w->mono_ms - l->failed_ms > SETTLE_GIVE_UP_MS)
		worker_break(w, err);
}

void worker_batch_settle(struct worker *w, bool now)
{
	struct lagging *l = &w->lagging;
	struct err err = ERR_INIT;
	size_t bytes, changes;

	if (!w->journaled || w->broken)
		return;
	changes = store_uncommitted(w->store, &bytes);
	l->flood = bytes > SETTLE_BYTES;
	if (l->since_ms == 0 && changes > 0)
		l->since_ms = w->mono_ms;
	/* Positions alone are not worth a write to the disk each time. */
	if (l->since_ms == 0 && w->mono_ms - w->settled_ms >= SETTLE_STATE_MS)
		now = true;
	if (!now && l->events < SETTLE_EVENTS && w->mono_ms < worker_batch_settle_at(w))
		return;
	if (!now && l->retry_ms != 0 && w->mono_ms < l->retry_ms)
		return;
	w->settled_ms = w->mono_ms;
	if (store_commit(w->store, &err) != ERR_OK) {
		not_settled(w, &err);
		return;
	}
	if (l->failed_ms != 0) {
		log_info("commit_resumed", log_int("seq", (int64_t)w->journal.seq));
		worker_board_pause(w, NULL);
	}
	*l = (struct lagging){ .since_ms = 0 };
}

enum err_code worker_batch_control(struct worker *w, enum journal_type type, struct err *err)
{
	struct batch *b = &w->batch;
	struct journal_header h = header(w, type);
	enum err_code rc;

	assert(b->step == BATCH_OPEN && b->items == 0);
	if (type == JOURNAL_CLAIM) {
		h.epoch = w->journal.epoch + 1;
		h.seq = 0;
		memcpy(h.writer, w->writer, WRITER_LEN);
	}
	rc = apply(w, &h, err);
	if (rc == ERR_OK && !w->journaled)
		rc = store_commit(w->store, err);
	if (rc != ERR_OK)
		return rc;
	fresh(b);
	return journal_begin(&b->bytes, err);
}
