/* seglog_scan.c - how far the records of a segment reach, and whether what is missing had been
 * durable.
 *
 *   head | frame 40 | frame 41 | frame 42 | ??????? | frame 44 | zeros
 *                              ^ uncertain            ^ behind the end
 *
 * The first bytes that are not the next frame end the records. They are a torn tail (a group that
 * was never answered, cut by a power loss) or damage (a record that had been answered). What
 * follows decides: a group is written only after the one before is durable, and says so in
 * `committed`. Pure. */
#include "seglog_format.h"

#include <assert.h>

/* The frame at this byte, if it is valid. */
static bool frame_at(struct slice file, size_t at, uint64_t salt, struct seglog_frame *out)
{
	struct record record;

	if (at + SEGLOG_FRAME > file.len)
		return false;
	return seglog_frame_get(slice_sub(file, at, file.len - at), salt, out, &record);
}

/* Everything behind the end that belongs to this use of the file. */
static void look_behind(struct slice file, const struct seglog_head *head, struct seglog_scan *out)
{
	struct seglog_frame frame;
	size_t at = out->end_at;

	/* The torn frame itself: its fixed part may be there while the rest is not. */
	out->dirty_end = at + SEGLOG_FRAME < file.len ? at + SEGLOG_FRAME : file.len;
	if (at + SEGLOG_FRAME <= file.len &&
		seglog_frame_peek(file.data + at, file.len - at, head->salt, &frame))
		out->dirty_end = at + frame.size;
	while (at + SEGLOG_FRAME <= file.len) {
		if (!frame_at(file, at, head->salt, &frame)) {
			at += SEGLOG_ALIGN;
			continue;
		}
		at += frame.size;
		if (out->dirty_end < at)
			out->dirty_end = at;
		if (out->proven < frame.committed)
			out->proven = frame.committed;
	}
}

/* The first frame whose offset no valid frame proves to have been durable. */
static size_t find_uncertain(
	struct slice file, const struct seglog_head *head, const struct seglog_scan *scan)
{
	struct seglog_frame frame;
	size_t at = SEGLOG_HEAD;

	while (at < scan->end_at) {
		bool valid = seglog_frame_peek(file.data + at, file.len - at, head->salt, &frame);

		assert(valid); /* it was valid a moment ago */
		if (frame.offset >= scan->committed)
			break;
		at += frame.size;
	}
	return at;
}

void seglog_scan(struct slice file, const struct seglog_head *head, struct seglog_scan *out)
{
	struct seglog_frame frame;

	*out = (struct seglog_scan){
		.end = head->first,
		.end_at = SEGLOG_HEAD,
		.committed = head->first,
		.last_time_ms = head->created_ms,
	};
	while (frame_at(file, out->end_at, head->salt, &frame) && frame.offset == out->end &&
		frame.committed >= out->committed && frame.time_ms >= out->last_time_ms) {
		out->end++;
		out->end_at += frame.size;
		out->committed = frame.committed;
		out->last_time_ms = frame.time_ms;
	}
	out->uncertain_at = find_uncertain(file, head, out);
	look_behind(file, head, out);
}
