/* refresh.c - keeping a journal bounded: what lives is written again, so that its beginning can go.
 *
 *   a walk over all that lives, from time to time --(over)--> live_from = where the walk began
 *   base = the older of live_from and the oldest event that the ledger must know
 *
 * Whoever folds from the base on has everything. The walk begins when nothing is uncommitted: what
 * changes after that is in the journal behind the walk's beginning by itself. Deliberately not
 * here: retention, which is the topic's own. */
#include "worker_priv.h"

#define WINDOWS 3     /* a journal is kept for so many dedupe windows */
#define STEP_MS 1000  /* between two handfuls */
#define STEP_ITEMS 64 /* of a handful */
#define STEP_ITEMS_LATE 2048
#define STEP_BYTES KIB(128)
#define STEP_BYTES_LATE MIB(2)
#define WARN_MS 3600000

static int64_t kept_ms(const struct worker *w)
{
	return WINDOWS * w->table->config->worker.dedupe_hours * INT64_C(3600000);
}

static int64_t base_age_ms(const struct worker *w)
{
	const int64_t time_ms = store_journal_time(w->store, w->base_offset);

	return time_ms == 0 ? 0 : w->wall_ms - time_ms;
}

/* As far as it can go today. */
static void move_base(struct worker *w)
{
	const int64_t seen = store_journal_at(w->store, w->wall_ms - kept_ms(w) / WINDOWS);
	const int64_t base = seen < w->refresh.live_from ? seen : w->refresh.live_from;

	if (base > w->base_offset)
		w->base_offset = base;
}

static void warn(struct worker *w)
{
	struct refresh *r = &w->refresh;

	if (base_age_ms(w) <= kept_ms(w) / 2 ||
		(r->warned_ms != 0 && w->mono_ms - r->warned_ms < WARN_MS))
		return;
	r->warned_ms = w->mono_ms;
	log_warn("journal_base_old", log_int("base", w->base_offset),
		log_int("hours", base_age_ms(w) / 3600000));
}

static bool begin(struct worker *w)
{
	struct refresh *r = &w->refresh;
	struct err err = ERR_INIT;
	size_t bytes;

	if (r->next_ms != 0 && w->wall_ms < r->next_ms && r->next_ms - w->wall_ms < kept_ms(w))
		return false;
	/* A young journal has nothing to lose yet. */
	if (base_age_ms(w) < kept_ms(w) / 4)
		return false;
	if (w->batch.opened_ms != 0 && !worker_batch_close(w))
		return false;
	if (store_commit(w->store, &err) != ERR_OK || store_uncommitted(w->store, &bytes) > 0)
		return false;
	r->next_ms = w->wall_ms + kept_ms(w) / 4;
	r->began = w->journal_next;
	r->walk = (struct store_walk){ .step = 0 };
	r->walking = true;
	return true;
}

static void end(struct worker *w)
{
	struct refresh *r = &w->refresh;

	/* What was written last is not in the journal yet. */
	if (w->batch.opened_ms != 0 && !worker_batch_close(w))
		return;
	r->walking = false;
	r->live_from = r->began;
	log_info("journal_refreshed", log_int("from", r->began), log_int("to", w->journal_next));
}

/* A handful of rows; more of them when it is late. */
static void walk(struct worker *w)
{
	const bool late = base_age_ms(w) > kept_ms(w) * 9 / 20;
	const size_t max_items = late ? STEP_ITEMS_LATE : STEP_ITEMS;
	const size_t max_bytes = late ? STEP_BYTES_LATE : STEP_BYTES;
	struct err err = ERR_INIT;
	enum err_code rc = ERR_OK;
	size_t bytes = 0;

	for (size_t i = 0; i < max_items && bytes < max_bytes && !w->broken; i++) {
		struct item item;

		rc = store_walk(w->store, &w->refresh.walk, &w->copy, &item, &err);
		if (rc != ERR_OK)
			break;
		bytes += w->copy.len;
		worker_batch_split(w);
		worker_batch_add(w, &item);
	}
	if (rc == ERR_NOT_FOUND)
		end(w);
	else if (rc != ERR_OK)
		worker_break(w, &err);
}

void worker_refresh(struct worker *w)
{
	struct refresh *r = &w->refresh;

	if (!w->journaled || w->broken || w->stopping || w->mono_ms < r->step_ms)
		return;
	r->step_ms = w->mono_ms + STEP_MS;
	if (r->walking || begin(w))
		walk(w);
	if (w->broken)
		return;
	move_base(w);
	warn(w);
}
