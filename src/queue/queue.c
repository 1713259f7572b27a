/* queue.c - the front of the queue: the checks that all backends share.
 *
 * Deliberately not here: anything that differs between backends (mem.c, embedded.c). */
#include "queue_priv.h"

#include <assert.h>

static const char *const names[] = {
	[STREAM_EVENTS] = "events",
	[STREAM_DLQ] = "dlq",
	[STREAM_QUARANTINE] = "quarantine",
};
static_assert(ARRAY_LEN(names) == STREAM_COUNT, "every stream has a name");

const char *stream_name(enum stream stream)
{
	assert((unsigned)stream < STREAM_COUNT);
	return names[stream];
}

/* What a half of the program has no function for. */
static enum err_code not_open(enum stream stream, struct err *err)
{
	return err_set(err, ERR_STOPPED, "%s is not open in this process", stream_name(stream));
}

void queue_close(struct queue **queue)
{
	if (!*queue)
		return;
	buf_done(&(*queue)->journal);
	(*queue)->ops->close(*queue);
	*queue = NULL;
}

enum err_code queue_append(
	struct queue *queue, enum stream stream, struct record *list, struct err *err)
{
	assert((unsigned)stream < STREAM_COUNT);
	for (const struct record *r = list; r; r = r->next) {
		if (r->key.len > EVENT_KEY_MAX || r->headers.len > EVENT_HEADERS_MAX)
			return err_set(
				err, ERR_LIMIT, "queue: key or headers of a record are too long");
	}
	return list ? queue->ops->append(queue, stream, list, err) : ERR_OK;
}

enum err_code queue_publish(
	struct queue *queue, const char *topic, struct record *record, struct err *err)
{
	assert(!record->next);
	if (!queue->ops->publish)
		return err_set(err, ERR_UNSUPPORTED, "this queue has no topics");
	return queue->ops->publish(queue, topic, record, err);
}

enum err_code queue_room(struct queue *queue, enum stream stream, size_t bytes, struct err *err)
{
	assert((unsigned)stream < STREAM_COUNT);
	return queue->ops->room(queue, stream, bytes, err);
}

enum err_code queue_read(struct queue *queue, enum stream stream, int64_t offset, size_t max,
	size_t max_bytes, int64_t deadline_ms, struct queue_batch *out, struct err *err)
{
	const struct queue_read_args args = { offset, max, max_bytes, deadline_ms };

	assert((unsigned)stream < STREAM_COUNT && max > 0);
	*out = (struct queue_batch){ .count = 0 };
	return queue->ops->read ? queue->ops->read(queue, stream, &args, out, err)
				: not_open(stream, err);
}

void queue_release(struct queue *queue, struct queue_batch *batch)
{
	if (batch->held)
		queue->ops->release(queue, batch);
	*batch = (struct queue_batch){ .count = 0 };
}

void queue_wake(struct queue *queue, enum stream stream)
{
	assert((unsigned)stream < STREAM_COUNT);
	if (queue->ops->wake)
		queue->ops->wake(queue, stream);
}

void queue_stat(struct queue *queue, enum stream stream, struct stream_stat *out)
{
	assert((unsigned)stream < STREAM_COUNT);
	*out = (struct stream_stat){ .first = 0 };
	queue->ops->stat(queue, stream, out);
}

enum err_code queue_events_bounds(struct queue *queue, int64_t max_age_ms, int64_t *out_first,
	int64_t *out_end, struct err *err)
{
	struct stream_stat stat;

	if (queue->ops->events_bounds)
		return queue->ops->events_bounds(queue, max_age_ms, out_first, out_end, err);
	queue_stat(queue, STREAM_EVENTS, &stat);
	*out_first = stat.first;
	*out_end = stat.end;
	return ERR_OK;
}

enum err_code queue_lookup(struct queue *queue, enum stream stream, int64_t offset,
	struct buf *bytes, struct record *out, struct err *err)
{
	assert((unsigned)stream < STREAM_COUNT);
	if (offset < 0)
		return err_set(
			err, ERR_NOT_FOUND, "%s: no record %lld", names[stream], (long long)offset);
	return queue->ops->lookup ? queue->ops->lookup(queue, stream, offset, bytes, out, err)
				  : not_open(stream, err);
}

enum err_code queue_done(struct queue *queue, enum stream stream, int64_t position, struct err *err)
{
	assert((unsigned)stream < STREAM_COUNT && position >= 0);
	return queue->ops->done ? queue->ops->done(queue, stream, position, err)
				: not_open(stream, err);
}

enum err_code queue_drop_oldest(
	struct queue *queue, enum stream stream, int64_t *out_first, struct err *err)
{
	assert((unsigned)stream < STREAM_COUNT);
	return queue->ops->drop_oldest ? queue->ops->drop_oldest(queue, stream, out_first, err)
				       : not_open(stream, err);
}

/* ---- the journal -------------------------------------------------------------------------------
 */

bool queue_keeps_journal(const struct queue *queue)
{
	return queue->ops->journal != NULL;
}

enum err_code queue_journal_bounds(struct queue *queue, int64_t deadline_ms, int64_t *out_first,
	int64_t *out_end, struct err *err)
{
	*out_first = *out_end = 0;
	if (!queue_keeps_journal(queue))
		return ERR_OK;
	return queue->ops->journal_bounds(queue, deadline_ms, out_first, out_end, err);
}

enum err_code queue_journal_seek(
	struct queue *queue, int64_t offset, const struct journal_state *state, struct err *err)
{
	assert(offset >= 0);
	return queue_keeps_journal(queue) ? queue->ops->journal_seek(queue, offset, state, err)
					  : ERR_OK;
}

enum err_code queue_follow(
	struct queue *queue, int64_t deadline_ms, struct journal_read *out, struct err *err)
{
	*out = (struct journal_read){ .offset = 0 };
	return queue_keeps_journal(queue) ? queue->ops->follow(queue, deadline_ms, out, err)
					  : ERR_OK;
}

/* Where none is kept the batch is valid as soon as it is made. */
enum err_code queue_journal(
	struct queue *queue, struct slice batch, struct journal_read *out, struct err *err)
{
	enum err_code rc;

	*out = (struct journal_read){ .offset = 0 };
	if (queue_keeps_journal(queue))
		return queue->ops->journal(queue, batch, out, err);
	queue->journal.max = QUEUE_JOURNAL_MAX;
	buf_reset(&queue->journal);
	rc = buf_put_slice(&queue->journal, batch, err);
	if (rc == ERR_OK)
		out->bytes = buf_slice(&queue->journal);
	return rc;
}

enum err_code queue_journal_look(struct queue *queue, struct journal_read *out, struct err *err)
{
	*out = (struct journal_read){ .offset = 0 };
	return queue_keeps_journal(queue) ? queue->ops->journal_look(queue, out, err) : ERR_OK;
}

enum err_code queue_journal_ask(struct queue *queue, struct slice command, struct err *err)
{
	assert(queue_keeps_journal(queue));
	return queue->ops->journal_ask(queue, command, err);
}

void queue_journal_stop(struct queue *queue)
{
	if (queue_keeps_journal(queue))
		queue->ops->journal_stop(queue);
}

enum err_code queue_copy_record(
	const struct record *from, struct buf *bytes, struct record *out, struct err *err)
{
	enum err_code rc;
	const uint8_t *p;

	buf_reset(bytes);
	/* Reserved at once, so that the bytes do not move while slices point to them. */
	rc = buf_reserve(bytes, from->key.len + from->headers.len + from->body.len, err);
	if (rc == ERR_OK)
		rc = buf_put_slice(bytes, from->headers, err);
	if (rc == ERR_OK)
		rc = buf_put_slice(bytes, from->key, err);
	if (rc == ERR_OK)
		rc = buf_put_slice(bytes, from->body, err);
	if (rc != ERR_OK)
		return rc;
	p = bytes->data;
	*out = *from;
	out->next = NULL;
	out->owner = NULL;
	out->result = ERR_OK;
	out->headers = (struct slice){ p, from->headers.len };
	out->key = (struct slice){ p + from->headers.len, from->key.len };
	out->body = (struct slice){ p + from->headers.len + from->key.len, from->body.len };
	return ERR_OK;
}
