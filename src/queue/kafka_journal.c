/* kafka_journal.c - the journal of a lane: who may write is decided by the order of what is
 * written.
 *
 *   append --> ... --> read on --> own record, valid        given back
 *     ^                   |------> own record, not valid    fenced: it came too late
 *     |                   |------> valid, but not ours      fenced; held for the next follow
 *     |                   |------> a command                kept for the next look or follow
 *     |                   +------> not valid                counted, passed over
 *     +-- an append that failed goes out again, the same bytes: a second copy is not valid
 *
 * What the producer says about an append counts for nothing here but a reason to repeat it: a
 * record is written when it is read back. Every record is opened and judged, so all readers fold
 * alike, and what cannot be read stops the lane for good. */
#include "kafka_lane.h"

#include <assert.h>

#define NAP_MS 100   /* between two tries of what failed */
#define WATCH_MS 500 /* a waiting append looks around so often, should a wake-up be lost */

static struct lane_journal *journal_of(struct queue *queue)
{
	return &kafka_lane_of(queue)->journal;
}

static void drop(rd_kafka_message_t **message)
{
	if (*message)
		rd_kafka_message_destroy(*message);
	*message = NULL;
}

/* ---- open and close ---- */

/* On the producer's thread. "There already", with no offset, is no answer either: a broker says so
 * too of a record that it refused before it took a later one of a producer that it did not know. */
static void appended(void *ctx, struct record *list)
{
	struct kafka_lane *lane = ctx;
	bool failed = false;

	for (const struct record *r = list; r; r = r->next)
		failed = failed || r->result != ERR_OK || r->offset < 0;
	if (!failed)
		return;
	lock_take(&lane->lock);
	lane->journal.failed = true;
	lock_give(&lane->lock);
	kafka_reader_wake(&lane->journal.reader);
}

/* Who asked waits for the answer in the journal, whatever becomes of this. */
static void asked(void *ctx, struct record *list)
{
	(void)ctx;
	(void)list;
}

static void drop_commands(struct lane_journal *j)
{
	for (size_t i = 0; i < j->command_count; i++)
		drop(&j->commands[i]);
	j->command_count = 0;
}

enum err_code kafka_journal_init(struct kafka_lane *lane, struct err *err)
{
	struct lane_journal *j = &lane->journal;
	const struct kafka_reader_opts opts = {
		.rk = kafka_fetch_handle(lane->fetch),
		.topic = lane->kafka->topics[KAFKA_TOPIC_JOURNAL],
		.partition = lane->partition,
		.dense = true,
		.if_lost = "JOURNAL_TRUNCATED",
	};

	kafka_sink_open(&j->sink, appended, lane);
	kafka_sink_open(&j->asked, asked, lane);
	j->ignored = metric_series(METRIC_JOURNAL_IGNORED, NULL, NULL);
	return kafka_reader_init(&j->reader, lane->kafka, &opts, err);
}

void kafka_journal_done(struct kafka_lane *lane)
{
	struct lane_journal *j = &lane->journal;

	/* What is under way may get there or not: nobody waits for it any more. */
	if (j->reader.rkt) {
		kafka_sink_forget(lane->kafka->producers[KAFKA_KIND_JOURNAL], &j->sink);
		kafka_sink_forget(lane->kafka->producers[KAFKA_KIND_JOURNAL], &j->asked);
	}
	drop_commands(j);
	drop(&j->given);
	drop(&j->held);
	kafka_reader_done(&j->reader);
}

enum err_code kafka_journal_bounds(struct queue *queue, int64_t deadline_ms, int64_t *out_first,
	int64_t *out_end, struct err *err)
{
	struct kafka_lane *lane = kafka_lane_of(queue);

	return kafka_watermarks(lane->kafka, lane->kafka->topics[KAFKA_TOPIC_JOURNAL],
		lane->partition, deadline_ms, out_first, out_end, err);
}

enum err_code kafka_journal_seek(
	struct queue *queue, int64_t offset, const struct journal_state *state, struct err *err)
{
	struct lane_journal *j = journal_of(queue);

	(void)err;
	drop(&j->given);
	drop(&j->held);
	drop_commands(j);
	err_clear(&j->broken);
	j->unjudged = state == NULL;
	j->state = state ? *state : (struct journal_state){ .epoch = 0 };
	kafka_reader_seek(&j->reader, offset);
	return ERR_OK;
}

void kafka_journal_stop(struct queue *queue)
{
	struct kafka_lane *lane = kafka_lane_of(queue);

	lock_take(&lane->lock);
	lane->journal.stopped = true;
	cond_broadcast(&lane->changed);
	lock_give(&lane->lock);
	kafka_reader_wake(&lane->journal.reader);
}

static enum err_code stopped(struct kafka_lane *lane, struct err *err)
{
	bool stop;

	lock_take(&lane->lock);
	stop = lane->journal.stopped;
	lock_give(&lane->lock);
	return stop ? err_set(err, ERR_STOPPED, "the journal is not followed any more") : ERR_OK;
}

/* ---- reading ---- */

/* What is wrong with the journal itself stays so. */
static enum err_code remember(struct lane_journal *j, struct err *err)
{
	j->broken = *err;
	return err->code;
}

static enum err_code remembered(const struct lane_journal *j, struct err *err)
{
	return j->broken.code == ERR_OK ? ERR_OK
					: err_set(err, j->broken.code, "%s", j->broken.text);
}

static struct slice bytes_of(const rd_kafka_message_t *message)
{
	return (struct slice){ message->payload, message->payload ? message->len : 0 };
}

/* The next record, judged: the state has moved on when it is valid. *out NULL: none came. */
static enum err_code read_one(struct lane_journal *j, int64_t deadline_ms, rd_kafka_message_t **out,
	enum lane_record *out_kind, struct err *err)
{
	struct journal_header header;
	struct err own = ERR_INIT;
	rd_kafka_message_t *message;
	enum err_code rc = kafka_reader_next(&j->reader, deadline_ms, &message, &own);

	*out = NULL;
	*out_kind = LANE_IGNORED;
	if (rc == ERR_OK && message) {
		rc = journal_open(bytes_of(message), &header, &own);
		if (rc != ERR_OK) {
			err_ignored(err_prefix(&own, "%s [%d], record %lld", j->reader.opts.topic,
				j->reader.opts.partition, (long long)message->offset));
			drop(&message);
		}
	}
	if (rc == ERR_CORRUPT)
		err_ignored(remember(j, &own));
	if (rc != ERR_OK)
		return err_set(err, rc, "%s", own.text);
	if (message && (j->unjudged || journal_judge(&j->state, &header)))
		*out_kind = LANE_VALID;
	else if (message && header.type == JOURNAL_COMMAND)
		*out_kind = LANE_COMMAND;
	*out = message;
	return ERR_OK;
}

static void ignore(struct lane_journal *j, rd_kafka_message_t *message)
{
	metric_add(j->ignored, 1);
	drop(&message);
}

/* Takes the message (NULL: there is none), which lives until the next one is given. */
static void give(struct lane_journal *j, rd_kafka_message_t *message, struct journal_read *out)
{
	int64_t time_ms = message ? rd_kafka_message_timestamp(message, NULL) : 0;

	drop(&j->given);
	j->given = message;
	*out = (struct journal_read){ .next_offset = j->reader.next };
	if (!message)
		return;
	out->bytes = bytes_of(message);
	out->offset = message->offset;
	out->time_ms = time_ms > 0 ? time_ms : 0;
}

static enum err_code give_held(struct lane_journal *j, struct journal_read *out)
{
	rd_kafka_message_t *held = j->held;

	j->held = NULL;
	give(j, held, out);
	return ERR_OK;
}

/* The oldest one that was read while something else was waited for. The reader may be further:
 * what is held is not folded yet, so who follows stands behind the command and no further. */
static bool give_command(struct lane_journal *j, struct journal_read *out)
{
	rd_kafka_message_t *first = j->commands[0];

	if (j->command_count == 0)
		return false;
	j->command_count--;
	/* An array of pointers: NOLINTNEXTLINE(bugprone-sizeof-expression) */
	memmove(j->commands, j->commands + 1, j->command_count * sizeof(j->commands[0]));
	give(j, first, out);
	out->next_offset = first->offset + 1;
	return true;
}

enum err_code kafka_journal_follow(
	struct queue *queue, int64_t deadline_ms, struct journal_read *out, struct err *err)
{
	struct lane_journal *j = journal_of(queue);
	rd_kafka_message_t *message = NULL;
	enum err_code rc = stopped(kafka_lane_of(queue), err);
	enum lane_record kind = LANE_IGNORED;

	if (rc == ERR_OK && give_command(j, out))
		return ERR_OK;
	if (rc == ERR_OK && j->held)
		return give_held(j, out);
	if (rc == ERR_OK)
		rc = remembered(j, err);
	while (rc == ERR_OK && kind == LANE_IGNORED) {
		rc = read_one(j, deadline_ms, &message, &kind, err);
		if (rc != ERR_OK || !message)
			break;
		if (kind == LANE_IGNORED)
			ignore(j, message);
	}
	if (rc == ERR_OK && !message)
		rc = stopped(kafka_lane_of(queue), err);
	if (rc == ERR_OK)
		give(j, message, out);
	return rc;
}

/* ---- appending ---- */

/* Until stopped or a while later. */
static enum err_code nap(struct kafka_lane *lane, struct err *err)
{
	const int64_t until_ms = kafka_now_ms(lane->kafka) + NAP_MS;

	lock_take(&lane->lock);
	while (!lane->journal.stopped && cond_wait(&lane->changed, &lane->lock, until_ms))
		;
	lock_give(&lane->lock);
	return stopped(lane, err);
}

/* A failure that may pass is waited out: whether the record stands there is for the log to say. */
static bool passes(enum err_code rc)
{
	return rc == ERR_FULL || rc == ERR_IO || rc == ERR_NOMEM || rc == ERR_TIMEOUT ||
	       rc == ERR_UNREACHABLE || rc == ERR_UNAVAILABLE || rc == ERR_DENIED ||
	       rc == ERR_NOT_FOUND;
}

static enum err_code put(struct kafka_lane *lane, struct slice batch, struct err *err)
{
	const struct kafka_target target = {
		.topic = lane->kafka->topics[KAFKA_TOPIC_JOURNAL],
		.partition = lane->partition,
		.sink = &lane->journal.sink,
	};
	enum err_code rc = stopped(lane, err);

	while (rc == ERR_OK) {
		struct err own = ERR_INIT;

		rc = kafka_producer_put(
			lane->kafka->producers[KAFKA_KIND_JOURNAL], &target, batch, &own);
		if (rc == ERR_OK)
			break;
		rc = passes(rc) ? nap(lane, err) : err_set(err, rc, "%s", own.text);
	}
	return rc;
}

static bool append_failed(struct kafka_lane *lane)
{
	bool failed;

	lock_take(&lane->lock);
	failed = lane->journal.failed;
	lane->journal.failed = false;
	lock_give(&lane->lock);
	return failed;
}

/* Nothing was read for a while: has somebody stopped us, is the record to be sent again? */
static enum err_code look_around(struct kafka_lane *lane, struct slice batch, struct err *err)
{
	enum err_code rc = stopped(lane, err);

	if (rc == ERR_OK && append_failed(lane)) {
		rc = nap(lane, err);
		if (rc == ERR_OK)
			rc = put(lane, batch, err);
	}
	return rc;
}

static enum err_code fenced(struct kafka_lane *lane, const rd_kafka_message_t *by, struct err *err)
{
	/* What was fetched ahead is for the owner. */
	kafka_lane_read_stop(&lane->streams[STREAM_EVENTS]);
	return err_set(err, ERR_FENCED,
		"%s [%d]: record %lld came first, this process does not own the lane",
		lane->kafka->topics[KAFKA_TOPIC_JOURNAL], lane->partition, (long long)by->offset);
}

/* A record came while ours is under way. *out_done: ours, and valid. */
static enum err_code compare(struct kafka_lane *lane, rd_kafka_message_t *message,
	enum lane_record kind, struct slice batch, struct journal_read *out, struct err *err)
{
	struct lane_journal *j = &lane->journal;
	const bool ours = slice_eq(bytes_of(message), batch), valid = kind == LANE_VALID;
	enum err_code rc;

	if (kind == LANE_COMMAND && j->command_count < LANE_COMMANDS) {
		j->commands[j->command_count++] = message;
		return ERR_OK;
	}
	if (ours && valid) {
		give(j, message, out);
		return ERR_OK;
	}
	if (!ours && !valid) {
		ignore(j, message);
		return ERR_OK;
	}
	rc = fenced(lane, message, err);
	if (valid)
		j->held = message;
	else
		ignore(j, message);
	return rc;
}

static enum err_code read_back(
	struct kafka_lane *lane, struct slice batch, struct journal_read *out, struct err *err)
{
	struct lane_journal *j = &lane->journal;
	enum err_code rc = ERR_OK;

	while (rc == ERR_OK && out->bytes.len == 0) {
		struct err own = ERR_INIT;
		rd_kafka_message_t *message;
		enum lane_record kind;

		rc = read_one(j, kafka_now_ms(lane->kafka) + WATCH_MS, &message, &kind, &own);
		if (rc == ERR_OK && message)
			rc = compare(lane, message, kind, batch, out, err);
		else if (rc == ERR_OK)
			rc = look_around(lane, batch, err);
		else
			rc = passes(rc) ? nap(lane, err) : err_set(err, rc, "%s", own.text);
	}
	return rc;
}

enum err_code kafka_journal_append(
	struct queue *queue, struct slice batch, struct journal_read *out, struct err *err)
{
	struct kafka_lane *lane = kafka_lane_of(queue);
	struct lane_journal *j = &lane->journal;
	struct journal_header header;
	enum err_code rc = remembered(j, err);

	assert(!j->unjudged);
	if (rc == ERR_OK && j->held)
		return fenced(lane, j->held, err);
	if (rc == ERR_OK)
		rc = journal_open(batch, &header, err);
	if (rc == ERR_OK && batch.len > JOURNAL_BATCH_MAX)
		rc = err_set(err, ERR_LIMIT, "a journal record of %zu bytes", batch.len);
	if (rc != ERR_OK)
		return rc;
	/* A failure of an earlier one does not count for this one. */
	(void)append_failed(lane);
	rc = put(lane, batch, err);
	return rc == ERR_OK ? read_back(lane, batch, out, err) : rc;
}

/* ---- commands ---- */

enum err_code kafka_journal_look(struct queue *queue, struct journal_read *out, struct err *err)
{
	struct kafka_lane *lane = kafka_lane_of(queue);
	struct lane_journal *j = &lane->journal;
	enum err_code rc = remembered(j, err);

	if (rc == ERR_OK && give_command(j, out))
		return ERR_OK;
	if (rc == ERR_OK && j->held)
		return fenced(lane, j->held, err);
	while (rc == ERR_OK) {
		enum lane_record kind;
		struct err own = ERR_INIT;
		rd_kafka_message_t *message;

		rc = read_one(j, 0, &message, &kind, &own);
		if (rc != ERR_OK) /* what passes is for the next append to wait out */
			return passes(rc) ? ERR_OK : err_set(err, rc, "%s", own.text);
		if (!message)
			break;
		if (kind == LANE_IGNORED) {
			ignore(j, message);
		} else if (kind == LANE_VALID) {
			j->held = message;
			return fenced(lane, message, err);
		} else {
			give(j, message, out);
			break;
		}
	}
	return rc;
}

enum err_code kafka_journal_ask(struct queue *queue, struct slice command, struct err *err)
{
	struct kafka_lane *lane = kafka_lane_of(queue);
	const struct kafka_target target = {
		.topic = lane->kafka->topics[KAFKA_TOPIC_JOURNAL],
		.partition = lane->partition,
		.sink = &lane->journal.asked,
	};
	enum err_code rc = stopped(lane, err);

	if (rc == ERR_OK && command.len > JOURNAL_BATCH_MAX)
		rc = err_set(err, ERR_LIMIT, "a command of %zu bytes", command.len);
	return rc == ERR_OK ? kafka_producer_put(lane->kafka->producers[KAFKA_KIND_JOURNAL],
				      &target, command, err)
			    : rc;
}
