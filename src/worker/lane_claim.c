/* lane_claim.c - when a lane is claimed, and the claim.
 *
 *   assigned to us:  at once when its owner has released it, or was a life of ours; after a time of
 *                    grace when its owner lives
 *   anybody's:       when its owner is silent though something waits for it, or it has none for a
 *                    time of grace, those that live one after the other
 *
 * An owner with nothing to do writes next to nothing, so silence alone says nothing: it counts from
 * when something waits that a living owner would have spoken of by now (events behind its position,
 * a parked event that is due, an output to be published, an operator's command). A living one that
 * comes out of idleness speaks at once, before it calls anybody (batch.c).
 * tests/model/postern_idle.pml has the rule. Even one with nothing to do is heard now and then: who
 * is not has gone.
 *
 * A claim is safe at any time, so all of this is about peace, not about safety. Silence counts only
 * when the journal's end, asked now, is where we stand: otherwise it is us who hear nothing. */
#include "crew_priv.h"

#define CONFIRM_MS 500
#define RANK_MS 300
#define LOOK_MS 200 /* how old an answer about the end of the events may be */
#define REFUSED_MIN_MS 100
#define REFUSED_MAX_MS 2000

static bool nobodys(const struct lane *lane)
{
	return lane->state.journal.epoch == 0 || lane->state.journal.released;
}

static bool ours(const struct lane *lane)
{
	return memcmp(lane->state.journal.writer, lane->crew->writer, WRITER_LEN) == 0 ||
	       crew_was_ours(lane->crew, lane->state.journal.writer);
}

/* Do we hear what there is to hear? */
static bool silence_is_real(struct lane *lane)
{
	const int64_t asked_ms = crew_now_ms(lane->crew);
	int64_t first, end;
	struct err err = ERR_INIT;
	enum err_code rc =
		queue_journal_bounds(lane->queue, asked_ms + CONFIRM_MS, &first, &end, &err);

	if (rc == ERR_OK && end == lane->state.journal_next &&
		crew_now_ms(lane->crew) <= asked_ms + CONFIRM_MS)
		return true;
	lane->heard_ms = crew_now_ms(lane->crew);
	lane->waits_ms = 0;
	return false;
}

static bool something_waits(struct lane *lane)
{
	const struct clock *clock = lane->crew->opts.clock;
	int64_t first, end;

	if (store_parked_next(lane->store) <= clock->wall_ms(clock) || lane->totals.outs > 0 ||
		command_next(&lane->commands, clock->wall_ms(clock)))
		return true;
	return queue_events_bounds(lane->queue, LOOK_MS, &first, &end, NULL) == ERR_OK &&
	       end > lane->state.next_offset;
}

/* Of an owner that speaks often enough nothing need be asked. */
static void look_what_waits(struct lane *lane, int64_t now_ms)
{
	if (now_ms - lane->heard_ms < lane->crew->opts.beat_ms / 2)
		return;
	if (!something_waits(lane))
		lane->waits_ms = 0;
	else if (lane->waits_ms == 0)
		lane->waits_ms = now_ms;
}

/* For how long has it owed us a word? Between two beats nothing is owed, be they of one at work or
 * of one with nothing to do; who is gone for sure owes one always. */
static int64_t owed_ms(const struct lane *lane, int64_t now_ms)
{
	const struct crew_opts *opts = &lane->crew->opts;
	const int64_t silent_ms = now_ms - lane->heard_ms;
	const int64_t waits_ms = now_ms - lane->waits_ms + opts->beat_ms;

	if (ours(lane))
		return silent_ms;
	if (lane->waits_ms == 0)
		return silent_ms - opts->idle_beat_ms;
	return silent_ms < waits_ms ? silent_ms : waits_ms;
}

/* What the group last said, and since when. */
static bool assigned(struct lane *lane, int64_t *out_since_ms)
{
	bool is;

	lock_take(&lane->lock);
	is = lane->assigned;
	*out_since_ms = lane->assigned_ms;
	lock_give(&lane->lock);
	return is;
}

bool lane_is_ownerless(const struct lane *lane)
{
	return nobodys(lane) ||
	       owed_ms(lane, crew_now_ms(lane->crew)) >= lane->crew->opts.takeover_ms;
}

bool lane_wants_claim(struct lane *lane)
{
	const struct crew_opts *opts = &lane->crew->opts;
	const int64_t now_ms = crew_now_ms(lane->crew);
	int64_t silent_ms, since_ms, patience_ms = opts->takeover_ms;
	bool is_assigned;

	if (!lane->up_to_date || now_ms < lane->claim_ms)
		return false;
	is_assigned = assigned(lane, &since_ms);
	/* Who took it over from the silent has its time too. */
	if (since_ms < lane->owner_ms)
		since_ms = lane->owner_ms;
	if (is_assigned && (nobodys(lane) || ours(lane) || now_ms - since_ms >= opts->grace_ms))
		return true;
	/* What was handed over in peace, or is new, is left for a while to whom it is meant for:
	 * that one may be dead, and the group not know it yet. */
	if (nobodys(lane)) {
		patience_ms = opts->grace_ms;
		silent_ms = now_ms - lane->heard_ms;
	} else {
		look_what_waits(lane, now_ms);
		silent_ms = owed_ms(lane, now_ms);
	}
	if (silent_ms < patience_ms)
		return false;
	if (!is_assigned)
		patience_ms += RANK_MS * (int64_t)crew_rank(lane->crew, lane->partition,
						 lane->state.journal.writer);
	return silent_ms >= patience_ms && silence_is_real(lane);
}

static enum err_code make(struct lane *lane, struct err *err)
{
	const struct store_state *s = &lane->state;
	struct journal_header header = {
		.type = JOURNAL_CLAIM,
		.epoch = s->journal.epoch + 1,
		.next_offset = s->next_offset,
		.base_offset = s->base_offset,
		.generation = lane->crew->log.generation,
		.partitions = lane->crew->log.partitions,
		.checkpoint_offset = s->journal_next,
		.checkpoint_epoch = s->journal.epoch,
		.checkpoint_seq = s->journal.seq,
	};
	enum err_code rc = journal_begin(&lane->batch, err);

	memcpy(header.writer, lane->crew->writer, WRITER_LEN);
	memcpy(header.checkpoint_writer, s->journal.writer, WRITER_LEN);
	return rc == ERR_OK ? journal_end(&lane->batch, &header, err) : rc;
}

static int64_t jitter(struct lane *lane)
{
	lane->random ^= lane->random << 13;
	lane->random ^= lane->random >> 7;
	lane->random ^= lane->random << 17;
	return REFUSED_MIN_MS + (int64_t)(lane->random % (REFUSED_MAX_MS - REFUSED_MIN_MS));
}

enum err_code lane_claim(struct lane *lane, struct err *err)
{
	struct err own = ERR_INIT;
	struct journal_read read;
	enum err_code rc = make(lane, err);

	if (rc != ERR_OK)
		return rc;
	lane->waits = true;
	rc = queue_journal(lane->queue, buf_slice(&lane->batch), &read, &own);
	lane->waits = false;
	if (rc == ERR_OK)
		return lane_fold(lane, &read, err);
	/* Somebody was faster, or the owner still writes: the log says what became of ours. */
	if (rc == ERR_FENCED) {
		lane->claim_ms = crew_now_ms(lane->crew) + jitter(lane);
		return ERR_OK;
	}
	return err_set(err, rc, "%s", own.text);
}
