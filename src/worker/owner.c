/* owner.c - becoming the owner of the state, and handing it over.
 *
 *   claim (a new epoch and writer, committed) -> what is parked is scheduled -> outputs left over
 * -> work
 *   ... -> release (only after a clean stop)
 *
 * A predecessor that did not release died: what may have been in work then is suspect (run.c):
 * parked events marked as running or with an open TRY, those that were due, and the next
 * WORKER_WINDOW events of the queue. Deliberately not here: how suspects are called. */
#include "worker_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define BOUNDS_AGE_MS 100
#define SUSPECTS_MS 2500 /* longer than a queue knows its end without asking */

static enum err_code randomize(struct worker *w, struct err *err)
{
	uint8_t bytes[WRITER_LEN + 8];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return err_sys(err, ERR_IO, errno, "getrandom");
	memcpy(w->writer, bytes, WRITER_LEN);
	w->random = get_le64(bytes + WRITER_LEN) | 1;
	return ERR_OK;
}

static enum err_code check_position(struct worker *w, struct err *err)
{
	struct stream_stat stat;

	queue_stat(w->queue, STREAM_EVENTS, &stat);
	w->suspect_end = stat.end;
	if (w->read_offset >= stat.first && w->read_offset <= stat.end)
		return ERR_OK;
	return err_set(err, ERR_CORRUPT,
		"the state stands at event %lld, the log holds %lld to %lld: they do not belong "
		"together, restore both from one backup",
		(long long)w->read_offset, (long long)stat.first, (long long)stat.end);
}

/* The log's end as it is known may be old: by then what was there at the start is read. */
void worker_owner_upkeep(struct worker *w)
{
	struct stream_stat stat;

	if (w->suspect_end != INT64_MAX || w->mono_ms < w->suspects_until_ms)
		return;
	queue_stat(w->queue, STREAM_EVENTS, &stat);
	w->suspect_end = stat.end;
}

/* A lane that nobody ever worked begins with what its log still holds. */
static enum err_code begin_log(struct worker *w, struct err *err)
{
	int64_t first, end;
	enum err_code rc;

	if (w->read_offset != 0 || !w->tenure.unworked)
		return ERR_OK;
	rc = queue_events_bounds(w->queue, BOUNDS_AGE_MS, &first, &end, err);
	if (rc != ERR_OK || first == 0)
		return rc;
	log_warn("events_begin_late", log_int("lane", w->tenure.partition), log_int("from", first),
		log_int("to", end),
		log_str("text", "retention had dropped the first events before any was worked"));
	w->read_offset = first;
	return ERR_OK;
}

enum err_code worker_owner_enter(struct worker *w, const struct tenure *tenure, struct err *err)
{
	struct store_state state;
	enum err_code rc;

	store_applied(w->store, &state);
	w->journaled = true;
	w->tenure = *tenure;
	w->journal = state.journal;
	w->journal_next = state.journal_next;
	w->base_offset = w->refresh.live_from = state.base_offset;
	/* A first word at once: whoever follows an owner without one knows that it did nothing. */
	w->journalled_ms = w->mono_ms - tenure->beat_ms;
	w->journalled_to = -1;
	w->settled_ms = w->mono_ms;
	w->read_offset = state.next_offset;
	w->told = -1;
	rc = begin_log(w, err);
	if (rc != ERR_OK)
		return rc;
	if (getrandom(&w->random, sizeof(w->random), 0) != (ssize_t)sizeof(w->random))
		return err_sys(err, ERR_IO, errno, "getrandom");
	w->random |= 1;
	w->suspect_end = tenure->unclean ? INT64_MAX : 0;
	w->suspects_until_ms = w->mono_ms + SUSPECTS_MS;
	w->suspects_left = tenure->unclean ? WORKER_WINDOW : 0;
	log_info("worker_claimed", log_int("epoch", (int64_t)w->journal.epoch),
		log_int("position", w->read_offset),
		log_str("after", tenure->unclean ? "crash" : "release"));
	return ERR_OK;
}

enum err_code worker_owner_claim(struct worker *w, bool *out_unclean, struct err *err)
{
	struct store_state state;
	enum err_code rc;

	store_state(w->store, &state);
	w->journal = state.journal;
	w->read_offset = state.next_offset;
	w->told = -1;
	*out_unclean = state.journal.epoch != 0 && !state.journal.released;
	rc = check_position(w, err);
	if (rc == ERR_OK)
		rc = randomize(w, err);
	if (rc == ERR_OK)
		rc = worker_batch_control(w, JOURNAL_CLAIM, err);
	if (rc != ERR_OK)
		return rc;
	w->suspects_left = *out_unclean ? WORKER_WINDOW : 0;
	log_info("worker_claimed", log_int("epoch", (int64_t)w->journal.epoch),
		log_int("position", w->read_offset),
		log_str("after", *out_unclean ? "crash" : "release"));
	return ERR_OK;
}

enum err_code worker_owner_release(struct worker *w, struct err *err)
{
	enum err_code rc = worker_batch_control(w, JOURNAL_RELEASE, err);

	if (rc == ERR_OK)
		rc = queue_done(w->queue, STREAM_EVENTS, worker_position(w), err);
	if (rc == ERR_OK)
		log_info("worker_released", log_int("position", worker_position(w)));
	return rc;
}
