/* seglog_lookup.c - one record by its offset, copied, from any thread.
 *
 * Walks from the beginning of the segment, or from where the last lookup was, so that lookups in
 * ascending order (a redrive) are cheap. The segment may be dropped and used again meanwhile: then
 * its salt is another one, and the list of segments says whether the record has gone or is damaged.
 */
#include "seglog_priv.h"

#include <errno.h>
#include <unistd.h>

static void load_hint(struct seglog *log, const struct seglog_head *head, int64_t offset,
	int64_t *from, int64_t *at)
{
	*from = head->first;
	*at = SEGLOG_HEAD;
	lock_take(&log->lock);
	if (log->hint_first == head->first && log->hint_salt == head->salt &&
		log->hint_offset <= offset && log->hint_at >= SEGLOG_HEAD) {
		*from = log->hint_offset;
		*at = log->hint_at;
	}
	lock_give(&log->lock);
}

static void save_hint(
	struct seglog *log, const struct seglog_head *head, int64_t offset, int64_t at)
{
	lock_take(&log->lock);
	log->hint_first = head->first;
	log->hint_salt = head->salt;
	log->hint_offset = offset;
	log->hint_at = at;
	lock_give(&log->lock);
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
	int64_t size, from, at;
	enum err_code rc;
	bool found;
	int fd;

	rc = seglog_segment_open(log, place->first, &fd, &head, &size, err);
	if (rc != ERR_OK)
		return rc;
	load_hint(log, &head, offset, &from, &at);
	found = seglog_walk(fd, size, head.salt, from, &at, offset) &&
		load_frame(fd, size, head.salt, at, offset, bytes, out);
	(void)close(fd);
	if (!found)
		return seglog_damaged(log, place->first, (size_t)at, offset,
			"damaged at or before it, or too large to be read", err);
	save_hint(log, &head, offset, at);
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
			stream_name(log->opts.stream), (long long)offset);
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
			stream_name(log->opts.stream), (long long)offset);
	return err_set(err, rc, "%s", why.text);
}
