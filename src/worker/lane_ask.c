/* lane_ask.c - a change that this process is asked for and another one decides: asked in the lane's
 * journal, and answered there.
 *
 *   lane_ask_owner() -- COMMAND --> journal --> the owner's batch with DECIDED --> lane_answered()
 *
 * Who asks waits for a while and no longer: whether the owner heard it is not known then.
 * Deliberately not here: what the owner does (command.c, change.c). */
#include "crew_priv.h"

#include "postern/file.h"

struct lane_ask {
	TAILQ_ENTRY(lane_ask) link;
	uint8_t id16[ID16_LEN];
	bool done;
	struct err result;
};

void lane_answered(
	struct lane *lane, const uint8_t id16[ID16_LEN], enum err_code code, struct slice text)
{
	struct lane_ask *ask;

	lock_take(&lane->lock);
	TAILQ_FOREACH(ask, &lane->asks, link)
	{
		if (ask->done || memcmp(ask->id16, id16, ID16_LEN) != 0)
			continue;
		ask->done = true;
		if (code != ERR_OK)
			err_ignored(err_set(&ask->result, code, "%.*s", SLICE_FMT(text)));
	}
	cond_broadcast(&lane->changed);
	lock_give(&lane->lock);
}

void lane_hear_answers(struct lane *lane, struct slice record)
{
	struct item item;
	size_t at = 0;

	if (TAILQ_EMPTY(&lane->commands) && lane->ask_count == 0)
		return;
	while (journal_next(record, &at, &item, NULL) == ERR_OK) {
		if (item.type != ITEM_DECIDED)
			continue;
		command_decided(&lane->commands, item.decided.id16);
		lane_answered(lane, item.decided.id16, item.decided.code, item.decided.text);
	}
}

static enum err_code send(struct lane *lane, const struct change_request *request,
	const struct lane_ask *ask, struct err *err)
{
	const struct crew *crew = lane->crew;
	struct journal_header header = { .type = JOURNAL_COMMAND,
		.generation = crew->log.generation,
		.partitions = crew->log.partitions,
		.checkpoint_offset = -1 };
	struct buf record = BUF_INIT(JOURNAL_BATCH_MAX);
	enum err_code rc;

	memcpy(header.writer, crew->writer, WRITER_LEN);
	rc = command_write(request, &header, ask->id16, crew->opts.clock->wall_ms(crew->opts.clock),
		&record, err);
	if (rc == ERR_OK)
		rc = queue_journal_ask(lane->queue, buf_slice(&record), err);
	buf_done(&record);
	return rc;
}

static bool wait_for(struct lane *lane, struct lane_ask *ask, int64_t deadline_ms)
{
	bool in_time = true;

	lock_take(&lane->lock);
	while (!ask->done && !lane->stop && in_time)
		in_time = cond_wait(&lane->changed, &lane->lock, deadline_ms);
	in_time = ask->done;
	lock_give(&lane->lock);
	return in_time;
}

enum err_code lane_ask_owner(struct lane *lane, const struct change_request *request,
	int64_t deadline_ms, struct err *err)
{
	struct lane_ask ask = { .done = false };
	bool answered = false;
	enum err_code rc;

	random_bytes(ask.id16, sizeof(ask.id16));
	lock_take(&lane->lock);
	TAILQ_INSERT_TAIL(&lane->asks, &ask, link);
	lane->ask_count++;
	lock_give(&lane->lock);
	rc = send(lane, request, &ask, err);
	if (rc == ERR_OK)
		answered = wait_for(lane, &ask, deadline_ms);
	lock_take(&lane->lock);
	TAILQ_REMOVE(&lane->asks, &ask, link);
	lane->ask_count--;
	lock_give(&lane->lock);
	if (rc != ERR_OK)
		return rc;
	if (!answered)
		return err_set(err, ERR_OUTCOME_UNKNOWN,
			"the owner of partition %d was asked and has not answered: it may do so "
			"within a minute, or not at all",
			lane->partition);
	return ask.result.code == ERR_OK ? ERR_OK
					 : err_set(err, ask.result.code, "%s", ask.result.text);
}
