/* ack.c - from records to the queue, and from their completions to answers.
 *
 *   loop: admitted --> batch of the turn --queue_append--> out --+
 *   queue's thread:    done list <-- ingress_events_done() <-----+
 *   loop: done list --> all records of a request? --> answer
 *
 * Lists go from thread to thread, with one wake for each. A request whose client has gone stays out
 * until its records are done, because the queue still reads its bytes. */
#include "ingress_priv.h"

#include "postern/log.h"

#include <assert.h>

/* ---- to the queue ------------------------------------------------------------------------------
 */

static void enter(struct intake *intake)
{
	struct ingress *in = intake->ingress;

	intake->next = in->out;
	intake->link = &in->out;
	if (intake->next)
		intake->next->link = &intake->next;
	in->out = intake;
}

static void leave(struct intake *intake)
{
	*intake->link = intake->next;
	if (intake->next)
		intake->next->link = intake->link;
	intake->next = NULL;
	intake->link = NULL;
}

void ack_add(struct intake *intake)
{
	struct ingress *in = intake->ingress;
	struct record *record = &intake->admission.record;

	assert(intake->awaited == 0);
	record->owner = intake;
	record->next = NULL;
	*in->batch_tail = record;
	in->batch_tail = &record->next;
	intake->awaited = 1;
	(void)serve_request_ref(intake->request);
	enter(intake);
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static void answer(struct intake *intake, enum err_code code)
{
	struct serve_reply reply = { .status = 0 };
	struct completion done;

	if (intake->is_answered)
		return;
	intake->is_answered = true;
	http_completion(intake, code, &done);
	http_conclude(intake, &done, &reply);
	if (intake->ingress->serve)
		serve_answer(intake->ingress->serve, intake->request, &reply);
}

/* A request that was admitted only to be kept has its refusal already. */
static enum err_code verdict(const struct intake *intake)
{
	const struct admission *a = &intake->admission;

	if (err_status(a->code) >= 400)
		return a->code;
	if (intake->unclear > 0 || (intake->durable > 0 && intake->lost > 0))
		return ERR_OUTCOME_UNKNOWN;
	return intake->lost > 0 ? ERR_UNAVAILABLE : a->code;
}

static void note(struct intake *intake, enum err_code result)
{
	assert(intake->awaited > 0);
	intake->awaited--;
	if (result == ERR_OK)
		intake->durable++;
	else if (result == ERR_OUTCOME_UNKNOWN)
		intake->unclear++;
	else
		intake->lost++;
}

/* One record is done; the last one completes the request. */
static void complete(struct record *record)
{
	struct intake *intake = record->owner;
	struct serve_request *request = intake->request;

	note(intake, record->result);
	if (intake->awaited > 0)
		return;
	leave(intake);
	answer(intake, verdict(intake));
	intake->request = NULL;
	intake_release(intake);
	serve_request_unref(request);
}

void ack_flush(struct ingress *in)
{
	struct record *list = in->batch, *next;
	struct err err = ERR_INIT;

	if (!list)
		return;
	in->batch = NULL;
	in->batch_tail = &in->batch;
	if (queue_append(in->queue, STREAM_EVENTS, list, &err) == ERR_OK)
		return;
	log_debug("append_failed", log_code(err.code), log_str("text", err.text));
	for (; list; list = next) {
		next = list->next;
		list->result = ERR_UNAVAILABLE;
		complete(list);
	}
}

/* ---- from the queue ----------------------------------------------------------------------------
 */

/* On the queue's thread. serve_wake() is called without the lock; `waking` keeps the server there
 * until it has returned. */
void ingress_events_done(void *ctx, struct record *list)
{
	struct ingress *in = ctx;
	struct record **tail;
	bool wake;

	if (!list)
		return;
	for (tail = &list->next; *tail;)
		tail = &(*tail)->next;
	lock_take(&in->lock);
	wake = in->is_open && !in->done;
	*in->done_tail = list;
	in->done_tail = tail;
	in->waking += wake;
	lock_give(&in->lock);
	if (!wake)
		return;
	serve_wake(in->serve);
	lock_take(&in->lock);
	in->waking--;
	cond_signal(&in->woke);
	lock_give(&in->lock);
}

static void complete_done(struct ingress *in)
{
	struct record *list, *next;

	lock_take(&in->lock);
	list = in->done;
	in->done = NULL;
	in->done_tail = &in->done;
	lock_give(&in->lock);
	for (; list; list = next) {
		next = list->next;
		complete(list);
	}
}

void ack_take(struct ingress *in)
{
	bool gives_up;

	complete_done(in);
	lock_take(&in->lock);
	gives_up = in->gives_up;
	lock_give(&in->lock);
	if (gives_up)
		ack_give_up(in);
}

/* The records stay out: the queue has them. */
void ack_give_up(struct ingress *in)
{
	for (struct intake *intake = in->out; intake; intake = intake->next)
		answer(intake, ERR_OUTCOME_UNKNOWN);
}

void ack_forget(struct ingress *in)
{
	complete_done(in);
	assert(!in->out);
}
