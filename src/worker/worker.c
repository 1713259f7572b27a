/* worker.c - the door: open, start, reload, change, stop, close.
 *
 * Deliberately not here: anything that the owner thread does (loop.c and from there). */
#include "worker_priv.h"

#include <assert.h>
#include <stdlib.h>

#define TEXT_MAX MIB(1)
#define CHANGE_MS 10000 /* a disk that takes longer is not waited for */
#define LONG_MS 1000    /* a record that comes back comes much sooner */

enum err_code worker_hosts_open(struct hosts *hosts, struct err *err)
{
	enum err_code rc = fetch_open(WORKER_CALLS_MAX, &hosts->fetch, err);

	return rc == ERR_OK ? exec_host_open(&hosts->exec, err) : rc;
}

void worker_hosts_close(struct hosts *hosts)
{
	fetch_close(&hosts->fetch);
	exec_host_close(&hosts->exec);
}

static void init(struct worker *w, const struct clock *clock)
{
	w->clock = clock;
	w->taking = -1;
	w->tenure = (struct tenure){ .generation = 1, .partitions = 1 };
	STAILQ_INIT(&w->retired);
	TAILQ_INIT(&w->window);
	worker_inbox_init(&w->inbox);
	worker_board_init(&w->board);
	worker_outs_init(w);
	w->identity = w->subject_buf = w->text = BUF_INIT(TEXT_MAX);
	w->marked = BUF_INIT(TEXT_MAX);
	w->copy = BUF_INIT(JOURNAL_EMBEDDED_MAX);
}

enum err_code worker_open(struct config *config, const struct clock *clock, struct worker **out,
	struct config_report *report, struct err *err)
{
	return worker_open_with(config, clock, NULL, out, report, err);
}

enum err_code worker_open_with(struct config *config, const struct clock *clock,
	struct hosts *hosts, struct worker **out, struct config_report *report, struct err *err)
{
	struct worker *w = calloc(1, sizeof(*w));
	enum err_code rc;

	if (!w)
		return err_set(err, ERR_NOMEM, "no memory for a worker");
	init(w, clock);
	rc = worker_batch_open(w, err);
	w->hosts = hosts ? hosts : &w->own_hosts;
	if (rc == ERR_OK && !hosts)
		rc = worker_hosts_open(&w->own_hosts, err);
	if (rc == ERR_OK)
		rc = worker_table_open(w, config, &w->table, report, err);
	if (rc != ERR_OK) {
		worker_close(&w);
		return rc;
	}
	*out = w;
	return ERR_OK;
}

/* The claim is made: take over what there is, and begin. */
static enum err_code go(struct worker *w, bool unclean, struct err *err)
{
	enum err_code rc = worker_park_load(w, unclean, err);

	if (rc == ERR_OK)
		rc = worker_outs_load(w, err);
	if (rc == ERR_OK)
		rc = worker_failed(w, err);
	/* Whoever looks before the first turn sees what there is, not that there is nothing. */
	if (rc == ERR_OK)
		worker_board_refresh(w);
	if (rc != ERR_OK)
		return rc;
	w->hosts->workers++;
	rc = thread_start(&w->thread, "worker", worker_loop, w, err);
	if (rc != ERR_OK)
		w->hosts->workers--;
	return rc;
}

enum err_code worker_start(
	struct worker *w, struct queue *queue, struct store *store, struct err *err)
{
	bool unclean = false;
	enum err_code rc;

	assert(!w->thread.running && !queue_keeps_journal(queue));
	w->queue = queue;
	w->store = store;
	worker_times(w);
	rc = worker_table_bind(w, w->table, err);
	if (rc == ERR_OK)
		rc = worker_owner_claim(w, &unclean, err);
	return rc == ERR_OK ? go(w, unclean, err) : rc;
}

enum err_code worker_start_tenure(struct worker *w, struct queue *queue, struct store *store,
	const struct tenure *tenure, struct err *err)
{
	enum err_code rc;

	assert(!w->thread.running && queue_keeps_journal(queue));
	w->queue = queue;
	w->store = store;
	worker_times(w);
	rc = worker_owner_enter(w, tenure, err);
	if (rc == ERR_OK)
		rc = worker_table_bind(w, w->table, err);
	return rc == ERR_OK ? go(w, tenure->unclean, err) : rc;
}

void worker_reload_free(struct reload_note *note)
{
	/* Who was refused keeps its table. */
	if (note->result.code != ERR_OK)
		worker_table_close(&note->table);
	cond_done(&note->finished);
	free(note);
}

/* False: it is left to the worker. */
static bool wait_for(
	struct worker *w, const bool *done, bool *left, struct cond *finished, int64_t deadline_ms)
{
	bool in_time = true;

	lock_take(&w->inbox.lock);
	while (!*done && in_time)
		in_time = cond_wait(finished, &w->inbox.lock, deadline_ms);
	in_time = *done;
	*left = !in_time;
	lock_give(&w->inbox.lock);
	return in_time;
}

enum err_code worker_reload_until(struct worker *w, struct config *config, int64_t deadline_ms,
	struct config_report *report, struct err *err)
{
	struct reload_note *note = calloc(1, sizeof(*note));
	enum err_code rc;

	if (!note)
		return err_set(err, ERR_NOMEM, "no memory for a reload");
	note->note.kind = NOTE_RELOAD;
	cond_init(&note->finished);
	rc = worker_table_open(w, config, &note->table, report, err);
	if (rc != ERR_OK) {
		note->result.code = rc;
		worker_reload_free(note);
		return rc;
	}
	if (!worker_inbox_post(w, &note->note))
		(void)err_set(&note->result, ERR_STOPPED, "the worker does not run");
	else if (!wait_for(w, &note->done, &note->left, &note->finished, deadline_ms))
		return err_set(err, ERR_TIMEOUT, "the worker waits for Kafka");
	rc = note->result.code;
	if (rc != ERR_OK)
		(void)err_set(err, rc, "%s", note->result.text);
	worker_reload_free(note);
	return rc;
}

enum err_code worker_reload(
	struct worker *w, struct config *config, struct config_report *report, struct err *err)
{
	return worker_reload_until(w, config, -1, report, err);
}

bool worker_waits_long(const struct worker *w)
{
	return w->appending && w->clock->mono_ms(w->clock) - w->last_turn_ms > LONG_MS;
}

enum err_code worker_change_until(struct worker *w, const struct change_request *request,
	int64_t deadline_ms, struct err *err)
{
	struct change_note *note = worker_change_new(request, err);
	enum err_code rc;

	if (!note)
		return ERR_NOMEM;
	if (!worker_inbox_post(w, &note->note))
		(void)err_set(&note->result, ERR_STOPPED, "the worker does not run");
	else if (!wait_for(w, &note->done, &note->left, &note->finished, deadline_ms))
		return err_set(err, ERR_OUTCOME_UNKNOWN,
			"the change is not committed yet; it may be, later");
	rc = note->result.code;
	if (rc != ERR_OK)
		(void)err_set(err, rc, "%s", note->result.text);
	worker_change_free(note);
	return rc;
}

enum err_code worker_change(struct worker *w, enum worker_change change, enum out_target target,
	int64_t stream_offset, struct err *err)
{
	const struct change_request request = {
		.change = change, .target = target, .stream_offset = stream_offset
	};

	return worker_change_until(w, &request, w->clock->mono_ms(w->clock) + CHANGE_MS, err);
}

enum err_code worker_accept(struct worker *w, int64_t stream_offset, struct slice headers,
	struct slice key, struct err *err)
{
	const struct change_request request = { .change = CHANGE_ACCEPT,
		.target = OUT_QUARANTINE,
		.stream_offset = stream_offset,
		.headers = headers,
		.key = key };

	return worker_change_until(w, &request, w->clock->mono_ms(w->clock) + CHANGE_MS, err);
}

void worker_stop(struct worker *w, int64_t deadline_ms)
{
	lock_take(&w->inbox.lock);
	w->inbox.stop = true;
	w->inbox.stop_deadline_ms = deadline_ms;
	cond_signal(&w->inbox.some);
	lock_give(&w->inbox.lock);
	if (w->thread.running)
		queue_wake(w->queue, STREAM_EVENTS);
	thread_join(&w->thread);
}

/* Results that nobody judged: a call's note is part of its work, which goes with its subject. */
static void free_notes(struct worker *w)
{
	struct note *note;

	while ((note = STAILQ_FIRST(&w->inbox.notes))) {
		STAILQ_REMOVE_HEAD(&w->inbox.notes, link);
		if (note->kind == NOTE_OUT)
			worker_outs_drop(container_of(note, struct out_work, note));
	}
}

/* Works that nobody will finish: all calls are back by now. */
static void free_works(struct worker *w)
{
	struct subject *s, *tmp;
	struct work *work;

	HASH_ITER (hh, w->subjects, s, tmp) {
		while ((work = TAILQ_FIRST(&s->fresh))) {
			TAILQ_REMOVE(&s->fresh, work, line);
			worker_work_leave_window(w, work);
			worker_work_free(w, work);
		}
		if (s->busy) {
			worker_work_leave_window(w, s->busy);
			worker_work_free(w, s->busy);
		}
		s->busy = NULL;
	}
}

void worker_close(struct worker **worker)
{
	struct worker *w = *worker;
	struct table *table;

	*worker = NULL;
	if (!w)
		return;
	assert(!w->thread.running);
	worker_hosts_close(&w->own_hosts);
	free_notes(w);
	worker_board_forget(w);
	free_works(w);
	worker_park_free(w);
	worker_outs_free(w);
	while ((table = STAILQ_FIRST(&w->retired))) {
		STAILQ_REMOVE_HEAD(&w->retired, link);
		worker_table_close(&table);
	}
	worker_table_close(&w->table);
	worker_batch_free(w);
	for (size_t i = 0; i < 5; i++)
		buf_done((struct buf *[]){
			&w->identity, &w->subject_buf, &w->text, &w->marked, &w->copy }[i]);
	worker_board_done(&w->board);
	worker_inbox_done(&w->inbox);
	free(w);
}
