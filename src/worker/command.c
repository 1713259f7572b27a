/* command.c - changes that are asked for where the owner is not: commands in a lane's journal.
 *
 *   who is asked appends a COMMAND --> everybody who reads the journal remembers it
 *       --> the owner decides it in a batch: what was asked for, and DECIDED --> it is forgotten
 *
 * A command is no part of the state. It is remembered in memory by all that follow, so whoever
 * takes over decides what the one before had not; a mark that stands already refuses a second copy
 * of it. Nobody decides one that is old: who asked has long been told that it is not known.
 * Deliberately not here: what is decided (change.c), and who waits for it (lane_ask.c). */
#include "worker_priv.h"

#include <stdlib.h>

#define COMMAND_MS 60000 /* clocks may differ by less than that */
#define COMMANDS_MAX 1024

static const enum command_kind kinds[] = {
	[CHANGE_REPLAY] = COMMAND_REPLAY,
	[CHANGE_DROP] = COMMAND_DROP,
	[CHANGE_ACCEPT] = COMMAND_ACCEPT,
};

static enum worker_change change_of(enum command_kind kind)
{
	return kind == COMMAND_REPLAY ? CHANGE_REPLAY
	       : kind == COMMAND_DROP ? CHANGE_DROP
				      : CHANGE_ACCEPT;
}

/* ---- notes ------------------------------------------------------------------------- */

struct change_note *worker_change_new(const struct change_request *request, struct err *err)
{
	struct change_note *change = calloc(1, sizeof(*change));
	enum err_code rc;

	if (!change) {
		err_ignored(err_set(err, ERR_NOMEM, "no memory for a change"));
		return NULL;
	}
	change->note.kind = NOTE_CHANGE;
	change->request = *request;
	cond_init(&change->finished);
	change->bytes = BUF_INIT(request->headers.len + request->key.len + 1);
	rc = buf_reserve(&change->bytes, request->headers.len + request->key.len, err);
	if (rc == ERR_OK)
		rc = buf_put_slice(&change->bytes, request->headers, err);
	if (rc == ERR_OK)
		rc = buf_put_slice(&change->bytes, request->key, err);
	if (rc != ERR_OK) {
		worker_change_free(change);
		return NULL;
	}
	change->request.headers = slice_sub(buf_slice(&change->bytes), 0, request->headers.len);
	change->request.key =
		slice_sub(buf_slice(&change->bytes), request->headers.len, change->bytes.len);
	return change;
}

void worker_change_free(struct change_note *change)
{
	cond_done(&change->finished);
	buf_done(&change->bytes);
	free(change);
}

/* ---- records ----------------------------------------------------------------------- */

enum err_code command_write(const struct change_request *request,
	const struct journal_header *header, const uint8_t id16[ID16_LEN], int64_t wall_ms,
	struct buf *out, struct err *err)
{
	struct item item = { .type = ITEM_COMMAND,
		.command = { .kind = kinds[request->change],
			.target = request->target,
			.stream_offset = request->stream_offset,
			.asked_ms = wall_ms,
			.headers = request->headers,
			.key = request->key } };
	enum err_code rc = journal_begin(out, err);

	memcpy(item.command.id16, id16, ID16_LEN);
	if (rc == ERR_OK)
		rc = journal_add(out, &item, err);
	return rc == ERR_OK ? journal_end(out, header, err) : rc;
}

static struct change_note *find(struct command_list *list, const uint8_t id16[ID16_LEN])
{
	struct change_note *change;

	TAILQ_FOREACH(change, list, listed)
	{
		if (memcmp(change->id16, id16, ID16_LEN) == 0)
			return change;
	}
	return NULL;
}

static bool is_old(int64_t asked_ms, int64_t wall_ms)
{
	return wall_ms - asked_ms > COMMAND_MS;
}

void command_hear(struct command_list *list, struct slice record, int64_t wall_ms)
{
	struct change_note *change;
	struct item item;
	size_t at = 0, count = 0;

	if (journal_next(record, &at, &item, NULL) != ERR_OK || item.type != ITEM_COMMAND ||
		is_old(item.command.asked_ms, wall_ms) || find(list, item.command.id16))
		return;
	TAILQ_FOREACH(change, list, listed)
	count++;
	if (count >= COMMANDS_MAX)
		return;
	change = worker_change_new(&(struct change_request){ .change = change_of(item.command.kind),
					   .target = item.command.target,
					   .stream_offset = item.command.stream_offset,
					   .headers = item.command.headers,
					   .key = item.command.key },
		NULL);
	if (!change)
		return;
	change->is_command = true;
	change->asked_ms = item.command.asked_ms;
	memcpy(change->id16, item.command.id16, ID16_LEN);
	TAILQ_INSERT_TAIL(list, change, listed);
}

static void forget(struct command_list *list, struct change_note *change)
{
	TAILQ_REMOVE(list, change, listed);
	worker_change_free(change);
}

void command_decided(struct command_list *list, const uint8_t id16[ID16_LEN])
{
	struct change_note *change = find(list, id16);

	if (change)
		forget(list, change);
}

struct change_note *command_next(struct command_list *list, int64_t wall_ms)
{
	struct change_note *change, *next;

	for (change = TAILQ_FIRST(list); change; change = next) {
		next = TAILQ_NEXT(change, listed);
		if (change->taken)
			continue;
		if (!is_old(change->asked_ms, wall_ms))
			return change;
		forget(list, change);
	}
	return NULL;
}

void command_put_back(struct command_list *list)
{
	struct change_note *change;

	TAILQ_FOREACH(change, list, listed)
	change->taken = false;
}

void command_free(struct command_list *list)
{
	struct change_note *change, *next;

	for (change = TAILQ_FIRST(list); change; change = next) {
		next = TAILQ_NEXT(change, listed);
		worker_change_free(change);
	}
	TAILQ_INIT(list);
}

/* ---- the owner --------------------------------------------------------------------- */

void worker_commands_look(struct worker *w)
{
	struct journal_read read;

	for (;;) {
		struct err err = ERR_INIT;
		enum err_code rc = queue_journal_look(w->queue, &read, &err);

		if (rc == ERR_CORRUPT)
			w->log_is_bad = true;
		if (rc != ERR_OK) {
			worker_break(w, &err);
			return;
		}
		if (read.bytes.len == 0)
			return;
		command_hear(w->tenure.commands, read.bytes, w->wall_ms);
	}
}

void worker_commands_take(struct worker *w)
{
	struct change_note *change;

	while (!w->broken && (change = command_next(w->tenure.commands, w->wall_ms))) {
		if (worker_batch_full(w) && !worker_batch_close(w))
			return;
		change->taken = true;
		worker_change_decide(w, change);
	}
}
