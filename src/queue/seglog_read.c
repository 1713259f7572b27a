/* seglog_read.c - batches of durable records for the one reader.
 *
 * Records are read into memory of the batch and checked there, not mapped: a batch stays whole
 * whatever becomes of its segment, a bad disk is an error and not a signal, and a read of 256 KiB
 * from the page cache costs less than the faults of a map. The checksum of each record is computed
 * once.
 *
 * Deliberately not here: one record by offset (seglog_lookup.c). */
#include "seglog_priv.h"

#include "postern/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_STEP KIB(256)
#define READ_GUESS KIB(4) /* of one record */
#define READ_AHEAD 64     /* records: as many guesses as a step */
#define WALK_STEP KIB(16)
#define BATCH_MIN KIB(64)
#define BATCH_MAX MIB(16)
#define KEEP_BATCHES 2        /* released memory that is kept for the next batches */
#define KEEP_BATCH_MAX MIB(4) /* but no more than this each */
/* Of what was read, in the page cache: the writer goes on in the last page. */
#define STAYS ((int64_t)MIB(1))

struct held {
	struct seglog_reader *reader;
	struct held *next; /* while kept */
	uint8_t *data;
	size_t len, cap;
	struct record *records;
	size_t records_cap;
};

struct seglog_reader {
	int fd; /* -1: no segment is open */
	int64_t first, bytes;
	uint64_t salt;
	int64_t offset, at; /* a frame begins here */
	int64_t uncached;
	struct held *kept;
	size_t kept_count;
};

enum err_code seglog_reader_open(struct seglog_reader **out, struct err *err)
{
	struct seglog_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return err_set(err, ERR_NOMEM, "no memory for a reader");
	reader->fd = -1;
	*out = reader;
	return ERR_OK;
}

static void held_free(struct held *held)
{
	free(held->data);
	free(held->records);
	free(held);
}

void seglog_reader_close(struct seglog_reader **reader)
{
	struct held *next;

	if (!*reader)
		return;
	for (struct held *held = (*reader)->kept; held; held = next) {
		next = held->next;
		held_free(held);
	}
	if ((*reader)->fd >= 0)
		(void)close((*reader)->fd);
	free(*reader);
	*reader = NULL;
}

/* ---- where an offset is ---- */

/* The generation is loaded before the directory is read: the list may be newer than it says, never
 * older. */
static enum err_code refresh(struct seglog *log, struct err *err)
{
	uint64_t generation = seglog_shared_generation(&log->shared);
	struct seglog_list list = { .count = 0 }, old;
	enum err_code rc;
	bool fresh;

	lock_take(&log->lock);
	fresh = log->absent || (log->seen_valid && log->seen_generation == generation);
	lock_give(&log->lock);
	if (fresh)
		return ERR_OK;
	rc = seglog_list_read(log->dir_fd, log->opts.dir, &list, err);
	if (rc != ERR_OK) {
		seglog_list_done(&list);
		return rc;
	}
	lock_take(&log->lock);
	old = log->seen;
	log->seen = list;
	log->seen_generation = generation;
	log->seen_valid = true;
	lock_give(&log->lock);
	seglog_list_done(&old);
	return ERR_OK;
}

enum err_code seglog_place(
	struct seglog *log, int64_t offset, struct seglog_place *out, struct err *err)
{
	enum err_code rc = refresh(log, err);
	size_t i;

	if (rc != ERR_OK)
		return rc;
	lock_take(&log->lock);
	i = seglog_list_find(&log->seen, offset);
	if (i < log->seen.count) {
		out->first = log->seen.files[i].first;
		out->limit = i + 1 < log->seen.count ? log->seen.files[i + 1].first : INT64_MAX;
	}
	rc = i < log->seen.count ? ERR_OK : ERR_NOT_FOUND;
	lock_give(&log->lock);
	return rc == ERR_OK ? rc
			    : err_set(err, rc, "%s: record %lld is not kept any more",
				      log->opts.name, (long long)offset);
}

int64_t seglog_first(struct seglog *log)
{
	int64_t first = seglog_end(log);

	if (refresh(log, NULL) != ERR_OK)
		return first;
	lock_take(&log->lock);
	if (log->seen.count > 0)
		first = log->seen.files[0].first;
	lock_give(&log->lock);
	return first;
}

bool seglog_walk(
	int fd, int64_t bytes, uint64_t salt, int64_t from_offset, int64_t *at, int64_t to_offset)
{
	uint8_t step[WALK_STEP];
	int64_t step_at = 0, step_len = 0;

	while (from_offset < to_offset) {
		struct seglog_frame frame;

		if (*at < step_at || *at + SEGLOG_FRAME > step_at + step_len) {
			ssize_t n = seglog_pread(fd, step, sizeof(step), *at);

			if (n < SEGLOG_FRAME)
				return false;
			step_at = *at;
			step_len = n;
		}
		if (!seglog_frame_peek(
			    step + (*at - step_at), (size_t)(bytes - *at), salt, &frame) ||
			frame.offset != from_offset)
			return false;
		*at += (int64_t)frame.size;
		from_offset++;
	}
	return true;
}

static enum err_code open_place(
	struct seglog *log, const struct seglog_place *place, struct err *err)
{
	struct seglog_reader *r = log->reader;
	struct seglog_head head;
	enum err_code rc;
	int64_t bytes;
	int fd;

	if (r->fd >= 0 && r->first == place->first)
		return ERR_OK;
	rc = seglog_segment_open(log, place->first, &fd, &head, &bytes, err);
	if (rc != ERR_OK)
		return rc;
	if (r->fd >= 0) {
		seglog_uncache(r->fd, &r->uncached, r->at);
		(void)close(r->fd);
	}
	r->fd = fd;
	r->first = r->offset = head.first;
	r->bytes = bytes;
	r->salt = head.salt;
	r->at = SEGLOG_HEAD;
	r->uncached = 0;
	return ERR_OK;
}

/* Puts the reader in front of the frame with this offset. */
static enum err_code seek(
	struct seglog *log, const struct seglog_place *place, int64_t offset, struct err *err)
{
	struct seglog_reader *r = log->reader;
	enum err_code rc = open_place(log, place, err);

	if (rc != ERR_OK)
		return rc;
	if (offset < r->offset) {
		r->offset = r->first;
		r->at = SEGLOG_HEAD;
	}
	if (!seglog_walk(r->fd, r->bytes, r->salt, r->offset, &r->at, offset)) {
		int64_t at = r->at;

		(void)close(r->fd);
		r->fd = -1;
		return seglog_damaged(
			log, place->first, (size_t)at, offset, "damaged at or before it", err);
	}
	r->offset = offset;
	return ERR_OK;
}

/* ---- filling a batch ---- */

static struct held *held_new(struct seglog_reader *r, size_t cap)
{
	struct held *held = r->kept;

	if (held) {
		r->kept = held->next;
		r->kept_count--;
	} else {
		held = calloc(1, sizeof(*held));
		if (!held)
			return NULL;
	}
	held->reader = r;
	held->len = 0;
	if (held->cap < cap) {
		free(held->data);
		held->data = malloc(cap);
		held->cap = held->data ? cap : 0;
	}
	if (!held->data) {
		held_free(held);
		return NULL;
	}
	return held;
}

static bool held_grow_records(struct held *held, size_t count)
{
	size_t cap = held->records_cap ? held->records_cap : 64;
	struct record *records;

	if (count < held->records_cap)
		return true;
	while (cap <= count)
		cap *= 2;
	records = reallocarray(held->records, cap, sizeof(*records));
	if (!records)
		return false;
	held->records = records;
	held->records_cap = cap;
	return true;
}

enum have { HAVE_FRAME, HAVE_NO_ROOM, HAVE_NOT, HAVE_BAD, HAVE_NO_MEMORY };

/* How much to read at once when `need` bytes are missing: enough for the records that are there, as
 * far as one can guess, so that a lone record does not cost a large read. */
static size_t step_size(
	const struct seglog_reader *r, const struct held *held, size_t need, int64_t records)
{
	int64_t file_left = r->bytes - r->at - (int64_t)held->len;
	size_t step = records < READ_AHEAD ? (size_t)records * READ_GUESS : READ_STEP;

	if (step < need)
		step = need;
	if (step > held->cap - held->len)
		step = held->cap - held->len;
	if ((int64_t)step > file_left)
		step = file_left > 0 ? (size_t)file_left : 0;
	return step;
}

/* The memory moves only while the batch is empty. */
static enum have make_room(struct held *held, size_t from, size_t need)
{
	uint8_t *data;

	if (from + need <= held->cap)
		return HAVE_FRAME;
	if (from > 0)
		return HAVE_NO_ROOM;
	data = realloc(held->data, need);
	if (!data)
		return HAVE_NO_MEMORY;
	held->data = data;
	held->cap = need;
	return HAVE_FRAME;
}

/* Make the whole frame at held->data + from present, reading on as far as needed. */
static enum have have_frame(
	struct seglog_reader *r, struct held *held, size_t from, int64_t records)
{
	struct seglog_frame frame = { .size = SEGLOG_FRAME };

	for (;;) {
		size_t have = held->len - from;
		enum have room;
		ssize_t n;

		if (have >= SEGLOG_FRAME &&
			!seglog_frame_peek(held->data + from, (size_t)(r->bytes - r->at) - from,
				r->salt, &frame))
			return HAVE_BAD;
		if (have >= frame.size)
			return HAVE_FRAME;
		room = make_room(held, from, frame.size);
		if (room != HAVE_FRAME)
			return room;
		n = seglog_pread(r->fd, held->data + held->len,
			step_size(r, held, frame.size - have, records), r->at + (int64_t)held->len);
		if (n < 0)
			return HAVE_NOT;
		if (n == 0)
			return HAVE_BAD; /* the file ends within a frame */
		held->len += (size_t)n;
	}
}

/* Records from the reader's place up to the limits. The reader moves behind the last. */
static enum have fill(struct seglog_reader *r, struct held *held, int64_t limit,
	const struct queue_read_args *args, size_t *out_count)
{
	enum have have = HAVE_FRAME;
	size_t from = 0, count = 0;

	while (count < args->max && r->offset < limit && (count == 0 || from < args->max_bytes)) {
		struct seglog_frame frame;

		have = have_frame(r, held, from, limit - r->offset);
		if (have != HAVE_FRAME)
			break;
		if (!held_grow_records(held, count)) {
			have = HAVE_NO_MEMORY;
			break;
		}
		if (!seglog_frame_get((struct slice){ held->data + from, held->len - from },
			    r->salt, &frame, &held->records[count]) ||
			frame.offset != r->offset) {
			have = HAVE_BAD;
			break;
		}
		from += frame.size;
		r->offset++;
		count++;
	}
	r->at += (int64_t)from;
	seglog_uncache(r->fd, &r->uncached, r->at - STAYS);
	*out_count = count;
	return have;
}

static enum err_code explain(struct seglog *log, enum have have, int bad, struct err *err)
{
	const struct seglog_reader *r = log->reader;

	switch (have) {
	case HAVE_BAD:
		return seglog_damaged(log, r->first, (size_t)r->at, r->offset, "damaged", err);
	case HAVE_NOT: return err_sys(err, ERR_IO, bad, log->opts.dir);
	case HAVE_NO_MEMORY:
	case HAVE_NO_ROOM: break;
	case HAVE_FRAME: return ERR_OK;
	}
	return err_set(err, ERR_NOMEM, "no memory for a batch of records");
}

static enum err_code read_batch(struct seglog *log, int64_t limit,
	const struct queue_read_args *args, struct queue_batch *out, struct err *err)
{
	struct seglog_reader *r = log->reader;
	size_t left = (size_t)(r->bytes - r->at), cap = args->max_bytes, count = 0;
	struct held *held;
	enum err_code rc;
	enum have have;

	cap = cap < BATCH_MIN ? BATCH_MIN : cap > BATCH_MAX ? BATCH_MAX : cap;
	if (cap > left)
		cap = left > SEGLOG_FRAME ? left : SEGLOG_FRAME;
	held = held_new(r, cap);
	if (!held)
		return err_set(err, ERR_NOMEM, "no memory for a batch of records");
	have = fill(r, held, limit, args, &count);
	*out = (struct queue_batch){ held->records, count, held };
	if (count > 0) /* what stopped it, if anything, comes again with the next read */
		return ERR_OK;
	rc = explain(log, have, errno, err);
	seglog_release(out);
	*out = (struct queue_batch){ .count = 0 };
	return rc;
}

/* ---- the door ---- */

/* Wait until there is something at offset. False: deadline or wake. */
static bool wait_for(struct seglog *log, int64_t offset, int64_t deadline_ms, int64_t *out_end)
{
	const struct clock *clock = log->opts.clock;

	for (;;) {
		uint32_t ticket = seglog_shared_ticket(&log->shared);
		int64_t left;

		*out_end = seglog_end(log);
		if (offset != *out_end)
			return true;
		if (deadline_ms == 0 || atomic_exchange(&log->woken, false))
			return false;
		left = deadline_ms - clock->mono_ms(clock);
		if (left <= 0)
			return false;
		seglog_shared_wait(&log->shared, ticket, left);
	}
}

enum err_code seglog_read(struct seglog *log, const struct queue_read_args *args,
	struct queue_batch *out, struct err *err)
{
	const int64_t offset = args->offset;
	struct seglog_place place;
	struct err why = ERR_INIT;
	enum err_code rc;
	int64_t end;

	if (!wait_for(log, offset, args->deadline_ms, &end))
		return ERR_OK;
	if (offset > end)
		return err_set(err, ERR_CORRUPT,
			"%s: record %lld is asked for, but the log ends at %lld: it and the "
			"worker's state are not of the same time; see docs/recovery.md",
			log->opts.dir, (long long)offset, (long long)end);
	rc = seglog_place(log, offset, &place, &why);
	if (rc == ERR_OK)
		rc = seek(log, &place, offset, &why);
	if (rc == ERR_NOT_FOUND) /* a record that is asked for in order must be there */
		rc = ERR_CORRUPT;
	if (rc != ERR_OK)
		return err_set(err, rc, "%s", why.text);
	return read_batch(log, place.limit < end ? place.limit : end, args, out, err);
}

void seglog_release(struct queue_batch *batch)
{
	struct held *held = batch->held;
	struct seglog_reader *r = held->reader;

	if (r->kept_count >= KEEP_BATCHES || held->cap > KEEP_BATCH_MAX) {
		held_free(held);
		return;
	}
	held->next = r->kept;
	r->kept = held;
	r->kept_count++;
}

void seglog_wake(struct seglog *log)
{
	atomic_store(&log->woken, true);
	seglog_shared_wake(&log->shared);
}
