/* inspect_waiting.c - events that no batch has reached: from the worker's position to the end of
 * each lane's log.
 *
 * Deliberately not here: which of them somebody wants, and whether the ledger knows them already
 * (inspect.c, inspect_recent.c). */
#include "inspect_priv.h"

#include "postern/clock.h"

#define WAITING_MS 5000 /* time for all of it, where each record is asked for by itself */

static enum err_code read_waiting(
	const struct spot *spot, struct waiting *w, int64_t at, int64_t end, struct err *err)
{
	struct queue_batch batch = { 0 };
	enum err_code rc = ERR_OK;

	while (rc == ERR_OK && w->more && at < end) {
		rc = queue_read(
			spot->queue, STREAM_EVENTS, at, WAITING_BATCH, MIB(4), 0, &batch, err);
		if (rc != ERR_OK || batch.count == 0)
			break;
		w->more = w->look(w->ctx, spot, &batch, err);
		at = batch.records[batch.count - 1].offset + 1;
		queue_release(spot->queue, &batch);
		rc = err->code;
	}
	return rc;
}

/* Over Kafka reading is the owner's: each record is asked for by itself. */
static enum err_code look_waiting_up(
	const struct spot *spot, struct waiting *w, int64_t at, int64_t end, struct err *err)
{
	const struct clock *clock = clock_system();
	struct buf bytes = BUF_INIT(MIB(2));
	enum err_code rc = ERR_OK;

	for (; rc == ERR_OK && w->more && at < end; at++) {
		struct record record = { 0 };
		struct queue_batch batch = { .records = &record, .count = 1 };
		struct err one = ERR_INIT;

		if (clock->mono_ms(clock) >= w->until_ms) {
			w->left += (uint64_t)(end - at);
			break;
		}
		buf_reset(&bytes);
		rc = queue_lookup(spot->queue, STREAM_EVENTS, at, &bytes, &record, &one);
		if (rc == ERR_OK)
			w->more = w->look(w->ctx, spot, &batch, err);
		else if (rc != ERR_NOT_FOUND)
			err_ignored(err_set(err, rc, "%s", one.text));
		rc = err->code;
	}
	buf_done(&bytes);
	return rc;
}

enum err_code waiting_each(const struct inspect *in, struct waiting *w, struct err *err)
{
	const struct clock *clock = clock_system();
	enum err_code rc = ERR_OK;

	w->more = true;
	w->until_ms = clock->mono_ms(clock) + WAITING_MS;
	for (size_t i = 0; i < in->lanes->count && rc == ERR_OK && w->more; i++) {
		struct store_state state = { 0 };
		struct stream_stat stat = { 0 };
		struct spot spot;
		int64_t at;

		rc = spot_open(in, i, &spot, err);
		if (rc == ERR_OK)
			rc = store_view_state(spot.view, &state, err);
		if (rc != ERR_OK)
			break;
		queue_stat(spot.queue, STREAM_EVENTS, &stat);
		at = state.next_offset > stat.first ? state.next_offset : stat.first;
		rc = in->lanes->crew ? look_waiting_up(&spot, w, at, stat.end, err)
				     : read_waiting(&spot, w, at, stat.end, err);
	}
	return rc;
}
