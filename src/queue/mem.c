/* mem.c - the queue in memory, for tests: the same promises but the one about a power cut.
 *
 * A thread of its own completes what was appended, in groups, like the backends that write. There
 * are no segments: records below the position are dropped one by one when a stream passes its
 * limit. */
#include "queue_priv.h"

#include "postern/thread.h"

#include <assert.h>
#include <stdlib.h>

#define DROP_SHARE 4 /* drop_oldest drops this part of the stream */

struct kept {
	struct record record;
	uint8_t data[];
};

struct slot {
	struct kept *kept;
};

struct stream_mem {
	struct record *pending, **pending_tail;
	struct slot *slots; /* from first on */
	size_t count, cap;
	int64_t first, position, bytes, pending_bytes, last_time_ms;
	int64_t groups, appended;
	bool woken;
};

struct mem {
	struct queue base;
	struct queue_opts opts;
	struct thread thread;
	struct lock lock;
	struct cond work, news; /* for the thread; for readers */
	bool stopping;          /* guarded by lock, as are the streams */
	struct stream_mem streams[STREAM_COUNT];
};

static struct mem *mem_of(struct queue *queue)
{
	return container_of(queue, struct mem, base);
}

static int64_t size_of(const struct record *r)
{
	return (int64_t)(sizeof(struct kept) + r->key.len + r->headers.len + r->body.len);
}

/* Key, headers and body behind each other at p; the record's slices then point there. */
static uint8_t *move_slices(struct record *r, uint8_t *p)
{
	struct slice *slices[] = { &r->headers, &r->key, &r->body };

	for (size_t i = 0; i < ARRAY_LEN(slices); i++) {
		if (slices[i]->len)
			memcpy(p, slices[i]->data, slices[i]->len);
		slices[i]->data = p;
		p += slices[i]->len;
	}
	return p;
}

/* ---- the thread ---- */

static bool store_locked(struct mem *mem, struct stream_mem *s, struct record *r)
{
	int64_t now = mem->opts.clock->wall_ms(mem->opts.clock);
	struct kept *kept = malloc((size_t)size_of(r));

	lock_assert_held(&mem->lock);
	if (s->count == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 64;
		struct slot *grown = reallocarray(s->slots, cap, sizeof(*grown));

		if (!grown) {
			free(kept);
			return false;
		}
		s->slots = grown;
		s->cap = cap;
	}
	if (!kept)
		return false;
	s->last_time_ms = now > s->last_time_ms ? now : s->last_time_ms;
	r->offset = s->first + (int64_t)s->count;
	r->time_ms = s->last_time_ms;
	kept->record = *r;
	kept->record.next = NULL;
	kept->record.owner = NULL;
	kept->record.result = ERR_OK;
	(void)move_slices(&kept->record, kept->data);
	s->slots[s->count++].kept = kept;
	s->bytes += size_of(r);
	return true;
}

static void drop_first_locked(struct stream_mem *s, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		s->bytes -= size_of(&s->slots[i].kept->record);
		free(s->slots[i].kept);
	}
	s->count -= count;
	s->first += (int64_t)count;
	if (count > 0)
		memmove(s->slots, s->slots + count, s->count * sizeof(*s->slots));
}

/* What may go, as far as it must. */
static void make_room_locked(struct stream_mem *s, int64_t limit, int64_t more)
{
	int64_t bytes = s->bytes + s->pending_bytes + more;
	size_t count = 0;

	while (bytes > limit && count < s->count && s->first + (int64_t)count < s->position)
		bytes -= size_of(&s->slots[count++].kept->record);
	drop_first_locked(s, count);
}

static struct record *store_pending_locked(struct mem *mem, struct stream_mem *s)
{
	struct record *list = s->pending;

	s->pending = NULL;
	s->pending_tail = &s->pending;
	s->pending_bytes = 0;
	s->groups += list ? 1 : 0;
	for (struct record *r = list; r; r = r->next) {
		r->result = store_locked(mem, s, r) ? ERR_OK : ERR_UNAVAILABLE;
		s->appended += r->result == ERR_OK;
	}
	return list;
}

static bool idle_locked(const struct mem *mem)
{
	for (size_t i = 0; i < STREAM_COUNT; i++) {
		if (mem->streams[i].pending)
			return false;
	}
	return true;
}

static void *run(void *arg)
{
	struct mem *mem = arg;

	lock_take(&mem->lock);
	while (!mem->stopping || !idle_locked(mem)) {
		if (idle_locked(mem))
			(void)cond_wait(&mem->work, &mem->lock, -1);
		for (size_t i = 0; i < STREAM_COUNT; i++) {
			struct record *list = store_pending_locked(mem, &mem->streams[i]);
			bool events = i == STREAM_EVENTS;

			if (!list)
				continue;
			cond_broadcast(&mem->news);
			lock_give(&mem->lock);
			if (events)
				mem->opts.events_done(mem->opts.events_ctx, list);
			else
				mem->opts.outputs_done(mem->opts.outputs_ctx, list);
			lock_take(&mem->lock);
		}
	}
	lock_give(&mem->lock);
	return NULL;
}

/* ---- the table ---- */

static enum err_code full(enum stream stream, struct err *err)
{
	return err_set(err, ERR_FULL, "%s: the records that are still wanted fill it",
		stream_name(stream));
}

static enum err_code mem_append(
	struct queue *queue, enum stream stream, struct record *list, struct err *err)
{
	struct mem *mem = mem_of(queue);
	struct stream_mem *s = &mem->streams[stream];
	int64_t max = mem->opts.limits[stream].max_bytes, bytes = 0;
	enum err_code rc = ERR_OK;
	struct record *last = NULL;

	for (struct record *r = list; r; r = r->next) {
		bytes += size_of(r);
		last = r;
	}
	lock_take(&mem->lock);
	make_room_locked(s, max, bytes);
	if (mem->stopping) {
		rc = err_set(err, ERR_STOPPED, "the queue is closing");
	} else if (s->bytes + s->pending_bytes + bytes > max) {
		rc = full(stream, err);
	} else {
		*s->pending_tail = list;
		s->pending_tail = &last->next;
		s->pending_bytes += bytes;
		cond_signal(&mem->work);
	}
	lock_give(&mem->lock);
	return rc;
}

static enum err_code mem_room(
	struct queue *queue, enum stream stream, size_t bytes, struct err *err)
{
	struct mem *mem = mem_of(queue);
	struct stream_mem *s = &mem->streams[stream];
	int64_t max = mem->opts.limits[stream].max_bytes;
	int64_t more = (int64_t)(sizeof(struct kept) + bytes);
	bool fits;

	lock_take(&mem->lock);
	make_room_locked(s, max, more);
	fits = s->bytes + s->pending_bytes + more <= max;
	lock_give(&mem->lock);
	return fits ? ERR_OK : full(stream, err);
}

/* False: deadline or wake. */
static bool wait_locked(struct mem *mem, struct stream_mem *s, int64_t offset, int64_t deadline_ms)
{
	const struct clock *clock = mem->opts.clock;

	while (offset == s->first + (int64_t)s->count) {
		if (deadline_ms == 0)
			return false;
		if (s->woken) {
			s->woken = false;
			return false;
		}
		if (clock->mono_ms(clock) >= deadline_ms)
			return false;
		(void)cond_wait(&mem->news, &mem->lock, deadline_ms);
	}
	return true;
}

/* One block: the records, then their bytes. */
static enum err_code copy_locked(struct stream_mem *s, const struct queue_read_args *args,
	struct queue_batch *out, struct err *err)
{
	size_t from = (size_t)(args->offset - s->first), count = 0;
	int64_t bytes = 0;
	struct record *records;
	uint8_t *p;

	while (count < args->max && from + count < s->count &&
		(count == 0 || (size_t)bytes < args->max_bytes))
		bytes += size_of(&s->slots[from + count++].kept->record);
	assert(count > 0); /* the offset is there, and one record is always given */
	records = malloc(count * sizeof(*records) + (size_t)bytes);
	if (!records)
		return err_set(err, ERR_NOMEM, "no memory for a batch of records");
	p = (uint8_t *)(records + count);
	for (size_t i = 0; i < count; i++) {
		records[i] = s->slots[from + i].kept->record;
		p = move_slices(&records[i], p);
	}
	*out = (struct queue_batch){ records, count, records };
	return ERR_OK;
}

static enum err_code mem_read(struct queue *queue, enum stream stream,
	const struct queue_read_args *args, struct queue_batch *out, struct err *err)
{
	struct mem *mem = mem_of(queue);
	struct stream_mem *s = &mem->streams[stream];
	enum err_code rc = ERR_OK;

	lock_take(&mem->lock);
	if (wait_locked(mem, s, args->offset, args->deadline_ms)) {
		if (args->offset < s->first || args->offset > s->first + (int64_t)s->count)
			rc = err_set(err, ERR_CORRUPT, "%s: record %lld is not there",
				stream_name(stream), (long long)args->offset);
		else
			rc = copy_locked(s, args, out, err);
	}
	lock_give(&mem->lock);
	return rc;
}

static void mem_release(struct queue *queue, struct queue_batch *batch)
{
	(void)queue;
	free(batch->held);
}

static void mem_wake(struct queue *queue, enum stream stream)
{
	struct mem *mem = mem_of(queue);

	lock_take(&mem->lock);
	mem->streams[stream].woken = true;
	cond_broadcast(&mem->news);
	lock_give(&mem->lock);
}

static void mem_stat(struct queue *queue, enum stream stream, struct stream_stat *out)
{
	struct mem *mem = mem_of(queue);
	const struct stream_mem *s = &mem->streams[stream];

	lock_take(&mem->lock);
	*out = (struct stream_stat){
		.first = s->first,
		.end = s->first + (int64_t)s->count,
		.position = s->position > s->first ? s->position : s->first,
		.bytes = s->bytes,
		.syncs = s->groups,
		.appended = s->appended,
	};
	if (out->position < out->end)
		out->oldest_ms = s->slots[out->position - s->first].kept->record.time_ms;
	lock_give(&mem->lock);
}

static enum err_code mem_lookup(struct queue *queue, enum stream stream, int64_t offset,
	struct buf *bytes, struct record *out, struct err *err)
{
	struct mem *mem = mem_of(queue);
	const struct stream_mem *s = &mem->streams[stream];
	enum err_code rc;

	lock_take(&mem->lock);
	if (offset < s->first || offset >= s->first + (int64_t)s->count)
		rc = err_set(err, ERR_NOT_FOUND, "%s: there is no record %lld", stream_name(stream),
			(long long)offset);
	else
		rc = queue_copy_record(&s->slots[offset - s->first].kept->record, bytes, out, err);
	lock_give(&mem->lock);
	return rc;
}

static enum err_code mem_done(
	struct queue *queue, enum stream stream, int64_t position, struct err *err)
{
	struct mem *mem = mem_of(queue);
	struct stream_mem *s = &mem->streams[stream];
	enum err_code rc = ERR_OK;

	lock_take(&mem->lock);
	if (position > s->first + (int64_t)s->count)
		rc = err_set(err, ERR_CORRUPT, "%s: position %lld is beyond the end",
			stream_name(stream), (long long)position);
	else
		s->position = position;
	lock_give(&mem->lock);
	return rc;
}

static enum err_code mem_drop_oldest(
	struct queue *queue, enum stream stream, int64_t *out_first, struct err *err)
{
	struct mem *mem = mem_of(queue);
	struct stream_mem *s = &mem->streams[stream];
	enum err_code rc = ERR_OK;

	lock_take(&mem->lock);
	if (s->count == 0)
		rc = full(stream, err);
	else
		drop_first_locked(s, (s->count + DROP_SHARE - 1) / DROP_SHARE);
	if (rc == ERR_OK)
		*out_first = s->first;
	lock_give(&mem->lock);
	return rc;
}

static void mem_close(struct queue *queue)
{
	struct mem *mem = mem_of(queue);

	lock_take(&mem->lock);
	mem->stopping = true;
	cond_signal(&mem->work);
	lock_give(&mem->lock);
	thread_join(&mem->thread);
	for (size_t i = 0; i < STREAM_COUNT; i++) {
		drop_first_locked(&mem->streams[i], mem->streams[i].count);
		free(mem->streams[i].slots);
	}
	cond_done(&mem->work);
	cond_done(&mem->news);
	lock_done(&mem->lock);
	free(mem);
}

static const struct queue_ops mem_ops = {
	.name = "mem",
	.append = mem_append,
	.room = mem_room,
	.read = mem_read,
	.release = mem_release,
	.wake = mem_wake,
	.stat = mem_stat,
	.lookup = mem_lookup,
	.done = mem_done,
	.drop_oldest = mem_drop_oldest,
	.close = mem_close,
};

enum err_code queue_mem_open(const struct queue_opts *opts, struct queue **out, struct err *err)
{
	struct mem *mem = calloc(1, sizeof(*mem));
	struct queue *queue;
	enum err_code rc;

	if (!mem)
		return err_set(err, ERR_NOMEM, "no memory for a queue");
	mem->base.ops = &mem_ops;
	mem->opts = *opts;
	mem->opts.dir = NULL; /* the caller's */
	lock_init(&mem->lock);
	cond_init(&mem->work);
	cond_init(&mem->news);
	for (size_t i = 0; i < STREAM_COUNT; i++)
		mem->streams[i].pending_tail = &mem->streams[i].pending;
	rc = thread_start(&mem->thread, "queue-mem", run, mem, err);
	if (rc != ERR_OK) {
		queue = &mem->base;
		queue_close(&queue);
		return rc;
	}
	*out = &mem->base;
	return ERR_OK;
}
