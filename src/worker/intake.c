/* intake.c - from the queue to the first decision: decode, identity, then a turn or a place in
 * line.
 *
 * A fresh event lives in one scratch work that borrows the queue's bytes; only those that must wait
 * or are handed to a handler are copied (worker_work_keep()). Deliberately not here: the version
 * rule and what follows (turn.c). */
#include "worker_priv.h"

#include "postern/crypto.h"
#include "postern/text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void hash16(struct slice bytes, uint8_t out[ID16_LEN])
{
	uint8_t digest[32];

	crypto_sha256(bytes, digest);
	memcpy(out, digest, ID16_LEN);
}

/* The first bytes of the body's digest: from the header, or, where a topic has none, from the body.
 */
void worker_work_digest(struct worker *w, struct work *work)
{
	uint8_t digest[32];

	buf_reset(&w->text);
	if (work->event.digest.len == 64 &&
		text_hex_decode(slice_sub(work->event.digest, 0, 2 * sizeof(work->digest8)),
			&w->text, NULL) == ERR_OK) {
		memcpy(work->digest8, w->text.data, sizeof(work->digest8));
		return;
	}
	crypto_sha256(work->record.body, digest);
	memcpy(work->digest8, digest, sizeof(work->digest8));
}

/* A record whose headers do not decode has no identity but its place in the queue. */
static void identify_unreadable(struct work *work)
{
	uint8_t name[18] = "unreadable";

	put_le64(name + 10, (uint64_t)work->offset);
	hash16((struct slice){ name, sizeof(name) }, work->id.id16);
	work->subject_bytes = SLICE_EMPTY;
}

enum err_code worker_work_identify(struct worker *w, struct work *work, struct err *err)
{
	enum err_code rc;

	buf_reset(&w->identity);
	rc = event_identity(&work->event, &w->identity, err);
	if (rc != ERR_OK)
		return rc;
	hash16(buf_slice(&w->identity), work->id.id16);
	work->has_replay = work->event.replay.len > 0;
	if (work->has_replay) {
		buf_reset(&w->identity);
		rc = event_replay_identity(&work->event, &w->identity, err);
		if (rc != ERR_OK)
			return rc;
		hash16(buf_slice(&w->identity), work->replay.id16);
	}
	buf_reset(&w->subject_buf);
	rc = event_subject(&work->event, &w->subject_buf, err);
	work->subject_bytes = buf_slice(&w->subject_buf);
	return rc;
}

static struct work *read_scratch(struct worker *w, const struct record *record)
{
	struct work *work = &w->scratch;
	struct err err = ERR_INIT;

	memset(work, 0, sizeof(*work));
	work->worker = w;
	work->since_ms = w->mono_ms;
	work->record = *record;
	work->offset = record->offset;
	work->route = &w->table->routes[w->table->count - 1];
	if (event_decode(record->headers, &work->event, &err) == ERR_OK)
		work->readable = worker_work_identify(w, work, &err) == ERR_OK;
	if (!work->readable)
		identify_unreadable(work);
	if (work->event.received_ms == 0)
		work->event.received_ms = record->time_ms;
	worker_work_digest(w, work);
	return work;
}

/* ---- what is known of an identity -------------------------------------------------- */

/* The ledger, or an event of the window that will be in it: its copy is a copy whatever becomes of
 * it. */
bool worker_known(struct worker *w, const struct claim *id, struct item_seen *out)
{
	struct claim *claim;
	struct err err = ERR_INIT;
	enum err_code rc;

	HASH_FIND(hh, w->claims, id->id16, ID16_LEN, claim);
	if (claim) {
		*out = (struct item_seen){ .offset = claim->work->offset,
			.outcome = OUTCOME_PENDING };
		memcpy(out->digest8, claim->work->digest8, sizeof(out->digest8));
		return true;
	}
	rc = store_seen(w->store, id->id16, out, &err);
	if (rc != ERR_OK && rc != ERR_NOT_FOUND)
		worker_break(w, &err);
	return rc == ERR_OK;
}

static struct verdict first_decision(struct worker *w, struct work *work)
{
	struct item_seen seen, replay;
	struct identity_facts facts = {
		.event = &work->event, .offset = work->offset, .digest8 = work->digest8
	};
	const struct source_config *source = NULL;

	if (worker_known(w, &work->id, &seen))
		facts.known = &seen;
	else if (work->has_replay && !w->broken && worker_known(w, &work->replay, &replay))
		facts.replay = &replay;
	if (w->broken)
		return (struct verdict){ .action = ACTION_SKIP };
	if (facts.known || facts.replay)
		source = config_source(w->table->config, work->event.source);
	if (source) {
		facts.on_reuse = source->on_reuse;
		facts.on_replay = source->on_replay;
	}
	work->known = facts.known != NULL;
	if (!work->readable && !(facts.known && seen.offset == work->offset))
		return (struct verdict){ ACTION_QUARANTINE, ERR_UNREADABLE_RECORD, false };
	return worker_decide_identity(&facts);
}

/* ---- works that stay --------------------------------------------------------------- */

static bool claim(struct worker *w, struct claim *c, struct work *work)
{
	c->work = work;
	HASH_ADD(hh, w->claims, id16, ID16_LEN, c);
	return c->hh.tbl != NULL;
}

static enum err_code copy_record(struct work *work, const struct record *from, struct err *err)
{
	const size_t size = from->headers.len + from->key.len + from->body.len;
	const uint8_t *p;
	enum err_code rc;

	work->bytes = BUF_INIT(size + 1);
	rc = buf_reserve(&work->bytes, size, err);
	if (rc == ERR_OK)
		rc = buf_put_slice(&work->bytes, from->headers, err);
	if (rc == ERR_OK)
		rc = buf_put_slice(&work->bytes, from->key, err);
	if (rc == ERR_OK)
		rc = buf_put_slice(&work->bytes, from->body, err);
	if (rc != ERR_OK)
		return rc;
	p = work->bytes.data;
	work->record.headers = (struct slice){ p, from->headers.len };
	work->record.key = (struct slice){ p + from->headers.len, from->key.len };
	work->record.body = (struct slice){ p + from->headers.len + from->key.len, from->body.len };
	return event_decode(work->record.headers, &work->event, err);
}

static bool join_window(struct worker *w, struct work *work, struct err *err)
{
	const int64_t received_ms = work->event.received_ms;

	if (copy_record(work, &w->scratch.record, err) != ERR_OK)
		return false;
	if (work->event.received_ms == 0)
		work->event.received_ms = received_ms;
	if (!claim(w, &work->id, work) || (work->has_replay && !claim(w, &work->replay, work))) {
		(void)err_set(err, ERR_NOMEM, "no memory for an event");
		return false;
	}
	TAILQ_INSERT_TAIL(&w->window, work, window);
	work->windowed = true;
	w->window_count++;
	w->window_bytes += work->bytes.len;
	w->taking = -1;
	return true;
}

/* It was in the queue before the start: it may have been in work when the worker died. */
static void suspect(struct worker *w, struct work *work)
{
	if (!worker_route_calls(work->route) || work->offset >= w->suspect_end)
		return;
	work->tried = store_tries(w->store, work->offset);
	if (w->suspects_left == 0)
		return;
	w->suspects_left--;
	w->suspect_works++;
	work->suspect = true;
}

/* Copy the scratch work to the heap: it will wait, or be called for. NULL: broken. */
struct work *worker_work_keep(struct worker *w, struct work *scratch)
{
	struct subject *s = worker_subject_get(w, scratch->subject_bytes);
	struct work *work = s ? malloc(sizeof(*work)) : NULL;
	struct err err = ERR_INIT;

	assert(!scratch->kept);
	if (!work) {
		worker_break(w, &(struct err){ ERR_NOMEM, "no memory for an event" });
		return NULL;
	}
	*work = *scratch;
	work->kept = true;
	work->subject = scratch->subject = s;
	work->subject_bytes = worker_subject_name(s);
	if (!join_window(w, work, &err)) {
		worker_break(w, &err);
		if (work->id.hh.tbl)
			HASH_DEL(w->claims, &work->id);
		buf_done(&work->bytes);
		free(work);
		return NULL;
	}
	suspect(w, work);
	return work;
}

/* It ended or was parked: the window moves on. */
void worker_work_leave_window(struct worker *w, struct work *work)
{
	if (!work->windowed)
		return;
	work->windowed = false;
	TAILQ_REMOVE(&w->window, work, window);
	w->window_count--;
	w->window_bytes -= work->bytes.len;
	HASH_DEL(w->claims, &work->id);
	if (work->has_replay) {
		assert(w->claims); /* the replay's claim is still there */
		HASH_DEL(w->claims, &work->replay);
	}
	if (work->route->handler)
		w->batch.handled++;
}

/* Nobody holds it any more. */
void worker_work_free(struct worker *w, struct work *work)
{
	if (!work->kept)
		return;
	if (work->suspect)
		w->suspect_works--;
	if (w->alone == work)
		w->alone = NULL;
	buf_done(&work->bytes);
	free(work);
}

/* ---- one event --------------------------------------------------------------------- */

static void first_turn(struct worker *w, struct work *work)
{
	struct subject *s = w->subjects ? worker_subject_find(w, work->subject_bytes) : NULL;

	work->subject = s;
	if (s && worker_subject_blocked(s)) {
		const struct park_plan plan = { .reason = PARK_ORDER, .next_ms = w->wall_ms };

		worker_work_park(w, work, &plan);
	} else if (s && s->busy) {
		struct work *kept = worker_work_keep(w, work);

		if (kept) {
			kept->state = WORK_TURN;
			TAILQ_INSERT_TAIL(&s->fresh, kept, line);
		}
	} else {
		worker_work_turn(w, work);
	}
	if (w->scratch.subject)
		worker_subject_advance(w, w->scratch.subject);
}

static void reused(struct worker *w, const struct work *work)
{
	const struct source_config *source = config_source(w->table->config, work->event.source);

	metric_add(metric_series(METRIC_ID_REUSED, source ? source->name : "", NULL), 1);
}

static void take(struct worker *w, const struct record *record)
{
	struct work *work = read_scratch(w, record);
	const struct verdict v = first_decision(w, work);

	/* A record of the journal that closes before its items are in it stands before it. */
	if (w->journaled)
		w->taking = record->offset;
	w->read_offset = record->offset + 1;
	w->batch.events++;
	worker_batch_touch(w);
	if (v.reused)
		reused(w, work);
	if (work->readable && work->event.quarantine.len == 0)
		work->route = worker_table_match(w->table, &work->event);
	switch (v.action) {
	case ACTION_SKIP: w->taking = -1; return;
	case ACTION_DUPLICATE: worker_work_end(w, work, OUTCOME_DUPLICATE, v.code); return;
	case ACTION_QUARANTINE: worker_work_end(w, work, OUTCOME_QUARANTINED, v.code); return;
	case ACTION_STALE:
	case ACTION_GAP:
	case ACTION_DEAD:
	case ACTION_RUN: first_turn(w, work); return;
	}
}

static bool window_room(const struct worker *w)
{
	return w->window_count + w->batch.handled < WORKER_WINDOW &&
	       w->window_bytes < WORKER_WINDOW_BYTES;
}

bool worker_intake_open(const struct worker *w)
{
	return !w->stopping && !w->store_full && !worker_park_full(w) && !worker_batch_full(w) &&
	       window_room(w);
}

/* With calls under way each event may fill a place of the window: what does not fit is read again.
 */
static size_t how_many(const struct worker *w)
{
	return w->window_count > 0 ? WORKER_WINDOW - w->window_count - w->batch.handled
				   : WORKER_READ_EVENTS;
}

static void read_failed(struct worker *w, const struct err *err)
{
	if (err_action(err->code) != ACT_RETRY && err->code != ERR_IO) {
		w->log_is_bad = true;
		worker_break(w, err);
		return;
	}
	log_error("queue_read_failed", log_code(err->code), log_str("text", err->text));
	w->read_retry_ms = w->mono_ms + WORKER_COMMIT_RETRY_MS;
}

bool worker_intake(struct worker *w, int64_t deadline_ms)
{
	struct queue_batch batch;
	struct err err = ERR_INIT;
	size_t taken = 0;

	if (queue_read(w->queue, STREAM_EVENTS, w->read_offset, how_many(w), WORKER_READ_BYTES,
		    deadline_ms, &batch, &err) != ERR_OK) {
		read_failed(w, &err);
		return false;
	}
	if (deadline_ms != 0)
		worker_times(w);
	while (taken < batch.count && worker_intake_open(w)) {
		const struct record *record = &batch.records[taken++];

		assert(record->offset >= w->read_offset);
		take(w, record);
	}
	queue_release(w->queue, &batch);
	return taken > 0;
}
