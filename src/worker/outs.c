/* outs.c - outputs: dead letters and quarantined records on their way into their streams.
 *
 *   OUT in a batch -> committed -> queue_append() -> NOTE_OUT -> OUTOK in a later batch
 *
 * A crash in between publishes again; at the start the end of each stream is compared with what is
 * still to be published, so that this makes no second copy. A full dlq pauses the routes that need
 * it; a full quarantine drops its oldest, but never an authentic record for a refused one.
 * Deliberately not here: what goes into an output (end.c), and topics of the user's (topics.c). */
#include "worker_priv.h"

#include <assert.h>
#include <stdlib.h>

#define RETRY_MS 1000
#define DEAD_LETTER_MORE (DEAD_ERROR_MAX + KIB(1)) /* what a dead letter adds to its event */
#define UPKEEP_ENTRIES 256                         /* index entries looked at in one go */

static enum stream stream_of(enum out_target target)
{
	return target == OUT_DLQ ? STREAM_DLQ : STREAM_QUARANTINE;
}

/* Many together may be more than a stream takes at once (ERR_LIMIT), and still fit one by one. */
static bool has_room(struct worker *w, enum stream stream, size_t bytes)
{
	enum err_code rc = queue_room(w->queue, stream, bytes, NULL);

	if (rc == ERR_LIMIT)
		rc = queue_room(w->queue, stream, 1, NULL);
	return rc == ERR_OK;
}

void worker_outs_init(struct worker *w)
{
	STAILQ_INIT(&w->outs.staged);
	for (size_t i = 0; i < OUT_LINES; i++)
		STAILQ_INIT(&w->outs.ready[i].list);
}

static struct out_queue *line_of(struct worker *w, const struct out_work *out)
{
	if (out->target == OUT_DLQ)
		return &w->outs.ready[OUT_LINE_DEAD];
	return &w->outs.ready[out->refused ? OUT_LINE_REFUSED : OUT_LINE_AUTHENTIC];
}

static struct out_list *list_of(struct worker *w, const struct out_work *out)
{
	return out->line ? &out->line->list : &line_of(w, out)->list;
}

bool worker_outs_fly(const struct worker *w)
{
	bool any = w->outs.flying > 0;

	for (const struct topic_line *line = w->outs.topics; line; line = line->next)
		any |= line->flying > 0;
	return any;
}

static bool all_published(const struct worker *w, enum out_target target)
{
	for (size_t i = 0; i < OUT_LINES; i++) {
		const struct out_work *out = STAILQ_FIRST(&w->outs.ready[i].list);

		if (out && out->target == target)
			return false;
	}
	return w->outs.flying == 0;
}

void worker_outs_drop(struct out_work *out)
{
	buf_done(&out->bytes);
	free(out);
}

static void free_list(struct out_list *list)
{
	struct out_work *out;

	while ((out = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		worker_outs_drop(out);
	}
}

void worker_outs_free(struct worker *w)
{
	free_list(&w->outs.staged);
	for (size_t i = 0; i < OUT_LINES; i++)
		free_list(&w->outs.ready[i].list);
	while (w->outs.topics) {
		struct topic_line *line = w->outs.topics;

		w->outs.topics = line->next;
		free_list(&line->list);
		free(line);
	}
}

bool worker_outs_refusal(enum err_code code)
{
	return code >= ERR_MISSING_SIGNATURE && code <= ERR_CLOCK_SKEW;
}

static struct out_work *new_out(struct worker *w, const struct item_out *item)
{
	struct out_work *out = calloc(1, sizeof(*out));

	if (!out) {
		worker_break(w, &(struct err){ ERR_NOMEM, "no memory for an output" });
		return NULL;
	}
	out->note.kind = NOTE_OUT;
	out->worker = w;
	out->offset = item->offset;
	out->n = item->n;
	out->target = item->target;
	memcpy(out->id16, item->id16, ID16_LEN);
	if (item->target == OUT_TOPIC) {
		out->key = worker_topic_key(item->key);
		out->line = worker_topic_line(w, item->topic);
		if (!out->line) {
			free(out);
			return NULL;
		}
	}
	out->refused = worker_outs_refusal(item->reason);
	out->size = item->headers.len + item->key.len + item->body.len;
	out->bytes = BUF_INIT(JOURNAL_EMBEDDED_MAX);
	return out;
}

/* What is decided and does not stand in its stream yet takes its room all the same. */
static void count_coming(struct worker *w, const struct out_work *out, bool in)
{
	const size_t size = in ? out->size : 0 - out->size;

	if (out->line) {
		out->line->count += in ? 1 : -(size_t)1;
		out->line->bytes += size;
	} else if (out->target == OUT_DLQ)
		w->outs.dlq_coming += size;
	else if (out->refused)
		w->outs.refused_coming += size;
}

void worker_outs_add(struct worker *w, const struct item_out *item)
{
	struct out_work *out = new_out(w, item);

	if (!out)
		return;
	count_coming(w, out, true);
	STAILQ_INSERT_TAIL(&w->outs.staged, out, link);
}

void worker_outs_committed(struct worker *w)
{
	struct out_work *out;

	while ((out = STAILQ_FIRST(&w->outs.staged))) {
		STAILQ_REMOVE_HEAD(&w->outs.staged, link);
		STAILQ_INSERT_TAIL(list_of(w, out), out, link);
	}
}

enum err_code worker_outs_fetch(struct worker *w, struct out_work *out, struct err *err)
{
	struct item_out item;
	enum err_code rc = store_out_next(w->store, out->n > 0 ? out->offset : out->offset - 1,
		out->n > 0 ? out->n - 1 : UINT32_MAX, &out->bytes, &item, err);

	if (rc == ERR_OK && (item.offset != out->offset || item.n != out->n))
		rc = err_set(err, ERR_CORRUPT, "output %lld.%u is not in the store",
			(long long)out->offset, out->n);
	if (rc != ERR_OK)
		return rc;
	out->record = (struct record){
		.key = item.key, .headers = item.headers, .body = item.body, .owner = out
	};
	return ERR_OK;
}

void worker_outs_ok(struct worker *w, const struct out_work *out, int64_t stream_offset)
{
	const struct item item = { .type = ITEM_OUTOK,
		.outok = { .offset = out->offset, .n = out->n, .stream_offset = stream_offset } };

	worker_batch_add(w, &item);
	count_coming(w, out, false);
}

/* ---- refused requests that are kept: a quarter of the quarantine is theirs --------- */

static void dropped(int64_t count)
{
	metric_add(metric_series(METRIC_QUARANTINE_DROPPED, NULL, NULL), count);
}

static void count_refused(struct worker *w)
{
	struct store_entry entry;
	int64_t from = 0;

	w->outs.refused = 0;
	while (store_entry_next(w->store, OUT_QUARANTINE, from, &w->copy, &entry, NULL) == ERR_OK) {
		if (worker_outs_refusal(entry.reason))
			w->outs.refused += entry.bytes;
		from = entry.stream_offset + 1;
	}
}

bool worker_outs_keep(struct worker *w, enum err_code code, const struct record *record)
{
	const size_t bytes = record->headers.len + record->key.len + record->body.len;
	const size_t theirs = w->outs.refused + w->outs.refused_coming + bytes;

	if (!worker_outs_refusal(code))
		return true;
	if (theirs <= (size_t)w->table->config->quarantine.max_bytes / 4 &&
		has_room(w, STREAM_QUARANTINE, w->outs.refused_coming + bytes))
		return true;
	dropped(1);
	return false;
}

/* ---- at the start: what a crash left over ------------------------------------------ */

static enum err_code load_list(struct worker *w, struct err *err)
{
	struct item_out item;
	int64_t offset = -1;
	uint32_t n = UINT32_MAX;
	enum err_code rc;

	while ((rc = store_out_next(w->store, offset, n, &w->copy, &item, err)) == ERR_OK) {
		struct out_work *out = new_out(w, &item);

		if (!out)
			return err_set(err, ERR_NOMEM, "no memory for an output");
		count_coming(w, out, true);
		STAILQ_INSERT_TAIL(list_of(w, out), out, link);
		offset = item.offset;
		n = item.n;
	}
	if (rc != ERR_NOT_FOUND)
		return rc;
	if (err)
		err_clear(err);
	return ERR_OK;
}

/* The first record of a stream that the index does not know. */
static enum err_code after_index(
	struct worker *w, enum out_target target, int64_t first, int64_t *out, struct err *err)
{
	struct store_entry entry;
	struct err none = ERR_INIT;
	int64_t from = first;
	enum err_code rc;

	while ((rc = store_entry_next(w->store, target, from, &w->copy, &entry, &none)) == ERR_OK)
		from = entry.stream_offset + 1;
	if (rc != ERR_NOT_FOUND)
		return err_set(err, rc, "%s", none.text);
	*out = from;
	return ERR_OK;
}

/* This record of the stream: is it one of those that we think are not published? */
static enum err_code match(
	struct worker *w, struct out_queue *line, const struct record *record, struct err *err)
{
	struct out_work *out;

	STAILQ_FOREACH(out, &line->list, link)
	{
		enum err_code rc = worker_outs_fetch(w, out, err);

		if (rc != ERR_OK)
			return rc;
		if (!slice_eq(out->record.headers, record->headers) ||
			!slice_eq(out->record.body, record->body))
			continue;
		worker_outs_ok(w, out, record->offset);
		STAILQ_REMOVE(&line->list, out, out_work, link);
		worker_outs_drop(out);
		return ERR_OK;
	}
	return ERR_OK;
}

static enum err_code compare_tail(struct worker *w, struct out_queue *line, struct err *err)
{
	const enum out_target target = STAILQ_FIRST(&line->list)->target;
	const enum stream stream = stream_of(target);
	struct stream_stat stat;
	int64_t at = 0;
	enum err_code rc;

	queue_stat(w->queue, stream, &stat);
	rc = after_index(w, target, stat.first, &at, err);
	while (rc == ERR_OK && at < stat.end && !STAILQ_EMPTY(&line->list)) {
		struct queue_batch batch;

		rc = queue_read(
			w->queue, stream, at, WORKER_OUTS_MAX, WORKER_READ_BYTES, 0, &batch, err);
		if (rc != ERR_OK || batch.count == 0)
			break;
		for (size_t i = 0; i < batch.count && rc == ERR_OK; i++)
			rc = match(w, line, &batch.records[i], err);
		at = batch.records[batch.count - 1].offset + 1;
		queue_release(w->queue, &batch);
	}
	return rc;
}

enum err_code worker_outs_load(struct worker *w, struct err *err)
{
	enum err_code rc = load_list(w, err);

	/* What another process published may be anywhere in a topic: it is published again, under
	 * the same id. */
	for (size_t i = 0; i < OUT_LINES && rc == ERR_OK && !w->journaled; i++) {
		if (!STAILQ_EMPTY(&w->outs.ready[i].list))
			rc = compare_tail(w, &w->outs.ready[i], err);
	}
	if (rc == ERR_OK)
		count_refused(w);
	return rc;
}

/* ---- publishing -------------------------------------------------------------------- */

static void dlq_is_full(struct worker *w, size_t bytes)
{
	if (!w->outs.dlq_full)
		log_warn("dlq_full", log_int("bytes", (int64_t)bytes));
	w->outs.dlq_full = true;
	if (w->outs.dlq_need < bytes)
		w->outs.dlq_need = bytes;
}

/* Back to where it was, and later. */
static void put_back(struct worker *w, struct out_work *out)
{
	struct out_queue *line = line_of(w, out);

	STAILQ_INSERT_HEAD(&line->list, out, link);
	line->retry_ms = w->mono_ms + RETRY_MS;
}

/* The oldest segment goes. False: there was nothing to drop. */
static bool drop_oldest(struct worker *w)
{
	struct stream_stat before;
	struct err err = ERR_INIT;
	int64_t first;

	queue_stat(w->queue, STREAM_QUARANTINE, &before);
	if (queue_drop_oldest(w->queue, STREAM_QUARANTINE, &first, &err) != ERR_OK ||
		first <= before.first)
		return false;
	dropped(first - before.first);
	log_warn("quarantine_dropped", log_int("records", first - before.first));
	if (store_entries_trim(w->store, OUT_QUARANTINE, first, &err) != ERR_OK)
		worker_break(w, &err);
	worker_batch_touch(w);
	w->outs.recount = true;
	return !w->broken;
}

static enum err_code append(struct worker *w, struct out_work *out, struct err *err)
{
	const enum stream stream = stream_of(out->target);
	enum err_code rc;

	w->abroad++;
	rc = queue_append(w->queue, stream, &out->record, err);
	if (rc != ERR_FULL || out->target != OUT_QUARANTINE || out->refused)
		return rc;
	if (!drop_oldest(w))
		return rc;
	err_clear(err);
	return queue_append(w->queue, stream, &out->record, err);
}

static void not_published(struct worker *w, const struct out_work *out, const struct err *err)
{
	if (err->code == ERR_FULL && out->target == OUT_DLQ)
		dlq_is_full(w, out->size);
	else if (err_action(err->code) == ACT_STOP || err->code == ERR_LIMIT)
		worker_break(w, err);
	else
		log_warn("output_delayed", log_code(err->code), log_str("text", err->text));
}

/* There was room for it when it was decided, and others took it: it pushes nobody out, and must not
 * wait for ever either. */
static void let_go(struct worker *w, struct out_work *out)
{
	worker_outs_ok(w, out, -1);
	dropped(1);
	worker_outs_drop(out);
}

static void publish(struct worker *w, struct out_work *out)
{
	struct err err = ERR_INIT;
	enum err_code rc = worker_outs_fetch(w, out, &err);

	if (rc != ERR_OK) {
		worker_break(w, &err);
		put_back(w, out);
		return;
	}
	rc = append(w, out, &err);
	if (rc == ERR_OK) {
		w->outs.flying++;
		return;
	}
	w->abroad--;
	if (rc == ERR_FULL && out->refused) {
		let_go(w, out);
	} else {
		not_published(w, out, &err);
		put_back(w, out);
	}
}

/* The next one of a line. False: there is none that may go now. */
static bool publish_next(struct worker *w, struct out_queue *line)
{
	struct out_work *out = STAILQ_FIRST(&line->list);

	if (!out || w->broken || w->mono_ms < line->retry_ms || w->outs.flying >= WORKER_OUTS_MAX)
		return false;
	STAILQ_REMOVE_HEAD(&line->list, link);
	publish(w, out);
	return true;
}

void worker_outs_publish(struct worker *w)
{
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < OUT_LINES; i++)
			more |= publish_next(w, &w->outs.ready[i]);
	}
	worker_topics_publish(w);
}

int64_t worker_outs_next_ms(const struct worker *w)
{
	int64_t next = worker_topics_next_ms(w);

	if (w->outs.flying >= WORKER_OUTS_MAX)
		return next;
	for (size_t i = 0; i < OUT_LINES; i++) {
		const struct out_queue *line = &w->outs.ready[i];

		if (!STAILQ_EMPTY(&line->list) && line->retry_ms < next)
			next = line->retry_ms;
	}
	return next;
}

void worker_outputs_done(void *worker, struct record *list)
{
	(void)worker;
	worker_outputs_back(list);
}

void worker_outputs_back(struct record *list)
{
	while (list) {
		struct out_work *out = list->owner;
		struct worker *w = out->worker;

		list = list->next;
		(void)worker_inbox_post(w, &out->note);
		w->abroad--; /* the last thing that is done with it here */
	}
}

void worker_outs_finished(struct worker *w, struct out_work *out)
{
	if (out->line) {
		worker_topic_finished(w, out);
		return;
	}
	assert(w->outs.flying > 0);
	w->outs.flying--;
	if (out->record.result == ERR_OK) {
		worker_outs_ok(w, out, out->record.offset);
		if (out->refused)
			w->outs.refused += out->size;
		worker_outs_drop(out);
		return;
	}
	/* It may be there or not: publishing it again can make a second copy, losing it cannot be
	 * mended. */
	log_warn("output_delayed", log_code(out->record.result), log_int("offset", out->offset));
	put_back(w, out);
}

/* ---- room and retention ------------------------------------------------------------ */

bool worker_outs_dlq_room(struct worker *w, size_t bytes)
{
	bytes += DEAD_LETTER_MORE;
	if (!w->outs.dlq_full && has_room(w, STREAM_DLQ, bytes + w->outs.dlq_coming))
		return true;
	dlq_is_full(w, bytes);
	return false;
}

/* Is there room again for the largest of those that found none? */
static void look_for_room(struct worker *w)
{
	if (!w->outs.dlq_full || !has_room(w, STREAM_DLQ, w->outs.dlq_need))
		return;
	log_info("dlq_has_room", log_int("bytes", (int64_t)w->outs.dlq_need));
	w->outs.dlq_full = false;
	w->outs.dlq_need = 0;
	for (size_t i = 0; i < w->table->count; i++)
		w->table->routes[i].dlq_full = false;
}

/* The first record that is still wanted: not marked, and younger than its retention. */
static void retain(struct worker *w, enum out_target target, int64_t hours)
{
	const int64_t oldest_ms = w->wall_ms - hours * 3600 * 1000;
	const enum stream stream = stream_of(target);
	struct stream_stat stat;
	struct store_entry entry;
	struct store_totals totals;
	struct err err = ERR_INIT;
	int64_t first, wanted;

	queue_stat(w->queue, stream, &stat);
	first = stat.first;
	for (int i = 0; i < UPKEEP_ENTRIES; i++) {
		err_clear(&err);
		if (store_entry_next(w->store, target, first, &w->copy, &entry, &err) != ERR_OK ||
			entry.time_ms >= oldest_ms)
			break;
		first = entry.stream_offset + 1;
	}
	err_clear(&err);
	if (first > stat.first || w->outs.trimmed[target] < first) {
		if (store_entries_trim(w->store, target, first, &err) != ERR_OK) {
			worker_break(w, &err);
			return;
		}
		w->outs.trimmed[target] = first;
		w->outs.recount = true;
		worker_batch_touch(w);
	}
	store_totals(w->store, &totals);
	wanted = target == OUT_DLQ ? totals.dlq_first : totals.quarantine_first;
	if (wanted == INT64_MAX && all_published(w, target))
		wanted = stat.end;
	if (wanted == INT64_MAX || wanted <= stat.position)
		return;
	if (queue_done(w->queue, stream, wanted, &err) != ERR_OK)
		log_warn("queue_position", log_code(err.code), log_str("text", err.text));
}

void worker_outs_upkeep(struct worker *w)
{
	look_for_room(w);
	retain(w, OUT_DLQ, w->table->config->dlq.retention_hours);
	if (!w->broken)
		retain(w, OUT_QUARANTINE, w->table->config->quarantine.retention_hours);
	/* After the commit that brings the trimmed index. */
	if (w->outs.recount && w->batch.opened_ms == 0) {
		count_refused(w);
		w->outs.recount = false;
	}
}
