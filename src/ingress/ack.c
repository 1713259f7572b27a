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
	struct shard *shard = intake->shard;

	intake->next = shard->out;
	intake->link = &shard->out;
	if (intake->next)
		intake->next->link = &intake->next;
	shard->out = intake;
}

static void leave(struct intake *intake)
{
	*intake->link = intake->next;
	if (intake->next)
		intake->next->link = intake->link;
	intake->next = NULL;
	intake->link = NULL;
}

static void add_record(struct intake *intake, struct record *record)
{
	struct shard *shard = intake->shard;

	record->owner = intake;
	record->next = NULL;
	*shard->batch_tail = record;
	shard->batch_tail = &record->next;
	intake->awaited++;
}

void ack_add(struct intake *intake)
{
	struct admission *admission = &intake->admission;

	assert(intake->awaited == 0);
	if (!admission->is_split)
		add_record(intake, &admission->record);
	for (struct element *e = admission->elements; e; e = e->next)
		add_record(intake, &e->record);
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
	if (intake->shard->serve)
		serve_answer(intake->shard->serve, intake->request, &reply);
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

void ack_flush(struct shard *shard)
{
	struct record *list = shard->batch, *next;
	struct err err = ERR_INIT;

	if (!list)
		return;
	shard->batch = NULL;
	shard->batch_tail = &shard->batch;
	if (queue_append(shard->ingress->queue, STREAM_EVENTS, list, &err) == ERR_OK)
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

/* A list of records of one shard. serve_wake() is called without the lock; `waking` keeps the
 * server there until it has returned. */
static void hand_over(struct shard *shard, struct record *list, struct record **tail)
{
	bool wake;

	lock_take(&shard->lock);
	wake = shard->is_open && !shard->done;
	*shard->done_tail = list;
	shard->done_tail = tail;
	shard->waking += wake;
	lock_give(&shard->lock);
	if (!wake)
		return;
	serve_wake(shard->serve);
	lock_take(&shard->lock);
	shard->waking--;
	cond_signal(&shard->woke);
	lock_give(&shard->lock);
}

/* On the queue's thread: each shard gets its own. */
void ingress_events_done(void *ctx, struct record *list)
{
	struct ingress *in = ctx;
	struct {
		struct record *list, **tail;
	} parts[SHARDS_MAX];

	for (size_t i = 0; i < in->shard_count; i++) {
		parts[i].list = NULL;
		parts[i].tail = &parts[i].list;
	}
	for (struct record *r = list; r; r = r->next) {
		const struct intake *intake = r->owner;
		size_t i = (size_t)(intake->shard - in->shards);

		*parts[i].tail = r;
		parts[i].tail = &r->next;
	}
	for (size_t i = 0; i < in->shard_count; i++) {
		*parts[i].tail = NULL;
		if (parts[i].list)
			hand_over(&in->shards[i], parts[i].list, parts[i].tail);
	}
}

static void complete_done(struct shard *shard)
{
	struct record *list, *next;

	lock_take(&shard->lock);
	list = shard->done;
	shard->done = NULL;
	shard->done_tail = &shard->done;
	lock_give(&shard->lock);
	for (; list; list = next) {
		next = list->next;
		complete(list);
	}
}

void ack_take(struct shard *shard)
{
	bool gives_up;

	complete_done(shard);
	lock_take(&shard->lock);
	gives_up = shard->gives_up;
	lock_give(&shard->lock);
	if (gives_up)
		ack_give_up(shard);
}

/* The records stay out: the queue has them. */
void ack_give_up(struct shard *shard)
{
	for (struct intake *intake = shard->out; intake; intake = intake->next)
		answer(intake, ERR_OUTCOME_UNKNOWN);
}

void ack_forget(struct shard *shard)
{
	complete_done(shard);
	assert(!shard->out);
}
