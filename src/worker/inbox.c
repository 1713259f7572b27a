/* inbox.c - how other threads reach the owner thread: a list of notes that is never full.
 *
 * Whoever sends a note owns something bounded (a call, an output, a command), so the list needs no
 * limit and a result is never lost for want of room. The owner waits either here or in
 * queue_read(); a note that makes the list non-empty wakes it in the right place. */
#include "worker_priv.h"

#include <assert.h>

void worker_inbox_init(struct inbox *inbox)
{
	lock_init(&inbox->lock);
	cond_init(&inbox->some);
	STAILQ_INIT(&inbox->notes);
}

void worker_inbox_done(struct inbox *inbox)
{
	cond_done(&inbox->some);
	lock_done(&inbox->lock);
}

bool worker_inbox_post(struct worker *w, struct note *note)
{
	struct inbox *in = &w->inbox;
	bool taken;

	lock_take(&in->lock);
	/* Calls and outputs come back after the end too: worker_close() frees them. */
	taken = !in->closed || note->kind == NOTE_CALL || note->kind == NOTE_OUT;
	if (taken) {
		if (STAILQ_EMPTY(&in->notes)) {
			cond_signal(&in->some);
			/* Under the lock: an owner that has its note may end, and the queue with
			 * it. */
			if (in->reading)
				queue_wake(w->queue, STREAM_EVENTS);
		}
		STAILQ_INSERT_TAIL(&in->notes, note, link);
	}
	lock_give(&in->lock);
	return taken;
}

void worker_inbox_take(struct worker *w, int64_t deadline_ms, struct note_list *out)
{
	struct inbox *in = &w->inbox;
	bool in_time = deadline_ms != 0;

	lock_take(&in->lock);
	while (in_time && STAILQ_EMPTY(&in->notes) && (!in->stop || w->stopping))
		in_time = cond_wait(&in->some, &in->lock, deadline_ms);
	STAILQ_CONCAT(out, &in->notes);
	if (in->stop && !w->stopping) {
		w->stopping = true;
		w->stop_deadline_ms = in->stop_deadline_ms;
	}
	lock_give(&in->lock);
}

bool worker_inbox_begin_read(struct worker *w)
{
	struct inbox *in = &w->inbox;
	bool quiet;

	lock_take(&in->lock);
	quiet = STAILQ_EMPTY(&in->notes) && !in->stop;
	in->reading = quiet;
	lock_give(&in->lock);
	return quiet;
}

void worker_inbox_end_read(struct worker *w)
{
	lock_take(&w->inbox.lock);
	w->inbox.reading = false;
	lock_give(&w->inbox.lock);
}
