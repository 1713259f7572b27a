/* lane_begin.c - where following a journal begins.
 *
 *   the store stands within the journal     go on from there
 *   the store stands before its beginning   fold again, cold
 *   the store stands behind its end         JOURNAL_TRUNCATED: stop
 *   no store, the journal is whole          fold from the first record
 *   no store, the beginning is gone         fold from the first checkpoint that is still there
 *
 * A checkpoint is a fact about a prefix: it holds whoever wrote it, also in a record that is not
 * valid. A cold fold is whole when the base (from which on everything that lives was written again)
 * is not older than the checkpoint; otherwise STATE_LOST. */
#include "crew_priv.h"

#define BOUNDS_MS 5000
#define SEARCH_MS 5000

static enum err_code state_lost(const struct lane *lane, int64_t first, struct err *err)
{
	return err_set(err, ERR_CORRUPT,
		"STATE_LOST: the journal of lane %d begins at record %lld, and what stood before "
		"it was not written again: restore %s from a backup, or begin with new topics",
		lane->partition, (long long)first, lane->dir);
}

/* The first fact about a prefix that ends at `first` or later. */
static enum err_code find_checkpoint(
	struct lane *lane, int64_t first, int64_t end, struct journal_header *out, struct err *err)
{
	enum err_code rc = queue_journal_seek(lane->queue, first, NULL, err);
	int64_t next = first;

	while (rc == ERR_OK && next < end) {
		struct journal_read read;

		rc = queue_follow(lane->queue, crew_now_ms(lane->crew) + SEARCH_MS, &read, err);
		if (rc == ERR_OK && read.bytes.len > 0)
			rc = journal_open(read.bytes, out, err);
		if (rc != ERR_OK)
			return rc;
		if (read.bytes.len > 0 && out->checkpoint_offset >= first)
			return ERR_OK;
		if (read.next_offset == next)
			return err_set(err, ERR_TIMEOUT, "lane %d: its journal is not given",
				lane->partition);
		next = read.next_offset;
	}
	return rc == ERR_OK ? state_lost(lane, first, err) : rc;
}

/* Nothing is known yet. */
static enum err_code begin_cold(struct lane *lane, int64_t first, int64_t end, struct err *err)
{
	struct journal_state state = { .epoch = 0 };
	struct journal_header header;
	enum err_code rc;

	if (first == 0)
		return queue_journal_seek(lane->queue, 0, &state, err);
	rc = find_checkpoint(lane, first, end, &header, err);
	if (rc != ERR_OK)
		return rc;
	state.epoch = header.checkpoint_epoch;
	state.seq = header.checkpoint_seq;
	memcpy(state.writer, header.checkpoint_writer, WRITER_LEN);
	log_info("lane_restores", log_int("lane", lane->partition),
		log_int("from", header.checkpoint_offset), log_int("to", end));
	store_begin(lane->store, &state, header.checkpoint_offset);
	return queue_journal_seek(lane->queue, header.checkpoint_offset, &state, err);
}

/* The journal has gone on without it for longer than it is kept. */
static enum err_code too_old(struct lane *lane, struct err *err)
{
	log_warn("store_too_old", log_int("lane", lane->partition),
		log_int("record", lane->state.journal_next));
	lane->store_bad = true;
	return err_set(err, ERR_CORRUPT, "the store of lane %d is older than its journal",
		lane->partition);
}

enum err_code lane_begin(struct lane *lane, struct err *err)
{
	int64_t first, end;
	enum err_code rc = lane_store_open(lane, err);

	if (rc == ERR_OK)
		rc = queue_journal_bounds(
			lane->queue, crew_now_ms(lane->crew) + BOUNDS_MS, &first, &end, err);
	if (rc != ERR_OK)
		return rc;
	store_applied(lane->store, &lane->state);
	lane->end = end;
	lane->up_to_date = false;
	lane->claimed = false;
	lane->heard_ms = crew_now_ms(lane->crew);
	lane->waits_ms = 0;
	if (lane->state.journal_next > end)
		return err_set(err, ERR_CORRUPT,
			"JOURNAL_TRUNCATED: the store of lane %d stands at record %lld, its "
			"journal ends at %lld: records are lost, restore the topic",
			lane->partition, (long long)lane->state.journal_next, (long long)end);
	if (lane->state.journal_next == 0)
		rc = begin_cold(lane, first, end, err);
	else if (lane->state.journal_next < first)
		rc = too_old(lane, err);
	else
		rc = queue_journal_seek(
			lane->queue, lane->state.journal_next, &lane->state.journal, err);
	store_applied(lane->store, &lane->state);
	return rc;
}

enum err_code lane_is_whole(const struct lane *lane, struct err *err)
{
	if (lane->state.began == 0 || lane->state.base_offset >= lane->state.began)
		return ERR_OK;
	return state_lost(lane, lane->state.began, err);
}
