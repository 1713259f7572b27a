/* seglog_lookup.c - one record by its offset, copied, from any thread.
 *
 * Walks from the beginning of the segment, or from the nearest of the marks that earlier walks
 * left, so that lookups of neighbours, in either direction, are cheap. The segment may be dropped
 * and used again meanwhile: then its salt is another one, and the list of segments says whether the
 * record has gone or is damaged.
 */
#include "seglog_priv.h"

#include <errno.h>
#include <unistd.h>

/* The nearest place at or before offset that is known. */
static void load_mark(struct seglog *log, const struct seglog_head *head, int64_t offset,
	int64_t *from, int64_t *at)
{
	*from = head->first;
	*at = SEGLOG_HEAD;
	lock_take(&log->lock);
	if (log->marks_of == head->first && log->marks_salt == head->salt) {
		size_t i = log->mark_count;

		while (i > 0 && log->marks[i - 1].offset > offset)
			i--;
		if (i > 0) {
			*from = log->marks[i - 1].offset;
			*at = log->marks[i - 1].at;
		}
	}
	lock_give(&log->lock);
}

/* Marks are kept for one segment, the one that is asked about, in ascending order. */
static void save_mark(
	struct seglog *log, const struct seglog_head *head, int64_t offset, int64_t at)
{
	lock_take(&log->lock);
	if (log->marks_of != head->first || log->marks_salt != head->salt) {
		log->marks_of = head->first;
		log->marks_salt = head->salt;
		log->mark_count = 0;
	}
	if (log->mark_count < SEGLOG_MARKS &&
		(log->mark_count == 0 || offset > log->marks[log->mark_count - 1].offset))
		log->marks[log->mark_count++] = (struct seglog_mark){ offset, at };
	lock_give(&log->lock);
}

/* From the nearest mark to the frame, leaving marks behind. False: it cannot be reached. */
static bool walk(struct seglog *log, int fd, int64_t size, const struct seglog_head *head,
	int64_t offset, int64_t *at)
{
	int64_t from;

	load_mark(log, head, offset, &from, at);
	while (offset - from > SEGLOG_MARK_STEP) {
		if (!seglog_walk(fd, size, head->salt, from, at, from + SEGLOG_MARK_STEP))
			return false;
		from += SEGLOG_MARK_STEP;
		save_mark(log, head, from, *at);
	}
	return seglog_walk(fd, size, head->salt, from, at, offset);
}

/* The frame at this byte, into bytes. False: it is not the one. */
static bool load_frame(int fd, int64_t size, uint64_t salt, int64_t at, int64_t offset,
	struct buf *bytes, struct record *out)
{
	uint8_t fixed[SEGLOG_FRAME];
	struct seglog_frame frame;

	if (seglog_pread(fd, fixed, sizeof(fixed), at) != SEGLOG_FRAME ||
		!seglog_frame_peek(fixed, (size_t)(size - at), salt, &frame) ||
		frame.offset != offset)
		return false;
	buf_reset(bytes);
	if (buf_reserve(bytes, frame.size, NULL) != ERR_OK)
		return false;
	if (seglog_pread(fd, bytes->data, frame.size, at) != (ssize_t)frame.size)
		return false;
	bytes->len = frame.size;
	bytes->data[frame.size] = '\0';
	return seglog_frame_get(buf_slice(bytes), salt, &frame, out);
}

static enum err_code look(struct seglog *log, const struct seglog_place *place, int64_t offset,
	struct buf *bytes, struct record *out, struct err *err)
{
	struct seglog_head head;
	int64_t size, at;
	enum err_code rc;
	bool found;
	int fd;

	rc = seglog_segment_open(log, place->first, &fd, &head, &size, err);
	if (rc != ERR_OK)
		return rc;
	found = walk(log, fd, size, &head, offset, &at) &&
		load_frame(fd, size, head.salt, at, offset, bytes, out);
	(void)close(fd);
	if (!found)
		return seglog_damaged(log, place->first, (size_t)at, offset,
			"damaged at or before it, or too large to be read", err);
	return ERR_OK;
}

enum err_code seglog_lookup(
	struct seglog *log, int64_t offset, struct buf *bytes, struct record *out, struct err *err)
{
	struct seglog_place place;
	struct err why = ERR_INIT;
	enum err_code rc;

	if (offset >= seglog_end(log))
		return err_set(err, ERR_NOT_FOUND, "%s: there is no record %lld yet",
			log->opts.name, (long long)offset);
	rc = seglog_place(log, offset, &place, &why);
	if (rc == ERR_OK)
		rc = look(log, &place, offset, bytes, out, &why);
	if (rc == ERR_OK)
		return ERR_OK;
	/* It may have been dropped between two steps. */
	lock_take(&log->lock);
	log->seen_valid = false;
	lock_give(&log->lock);
	if (seglog_place(log, offset, &place, NULL) == ERR_NOT_FOUND)
		return err_set(err, ERR_NOT_FOUND, "%s: record %lld is not kept any more",
			log->opts.name, (long long)offset);
	return err_set(err, rc, "%s", why.text);
}
