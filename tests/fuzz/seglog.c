/* seglog.c - where the records of a segment end, over files that were written and then harmed as
 * the input says.
 *
 * The input is a little program: write groups of frames, frames of an earlier use, raw bytes; flip,
 * fill and copy bytes anywhere. Properties: what is delivered was written, in order; the places
 * make sense; and the repair that the writer does is final: a second look finds the same end and no
 * proof against it. */
#include <stdlib.h>

#include "../../src/queue/seglog_format.h"

#define FILE_MAX KIB(32)
#define FIRST 1000
#define SALT 0xfeedfacecafebeefull

struct file {
	uint8_t data[FILE_MAX];
	size_t at;    /* where the next frame goes */
	int64_t next; /* its offset */
	int64_t committed;
	uint64_t numbers; /* frames made; a frame's attempt is its number */
};

static void require(bool truth)
{
	if (!truth)
		abort();
}

static uint8_t body_byte(uint64_t number, size_t i)
{
	return (uint8_t)(number * 5 + i * 3);
}

static void put_frame(struct file *file, uint64_t salt, size_t body_len)
{
	uint8_t body[256];
	struct record r = {
		.key = SLICE_LIT("t/k"),
		.body = { body, body_len },
		.offset = file->next,
		.time_ms = 7000,
	};

	for (size_t i = 0; i < body_len; i++)
		body[i] = body_byte((uint64_t)file->next, i);
	put_le64(r.attempt, (uint64_t)file->next);
	if (file->at + seglog_frame_size(&r) > FILE_MAX)
		return;
	seglog_frame_put(file->data + file->at, &r, file->committed, salt);
	file->at += seglog_frame_size(&r);
	file->next++;
}

static void put_group(struct file *file, struct cursor *in, uint64_t salt)
{
	size_t count = cursor_u8(in) % 8;

	file->committed = file->next;
	for (size_t i = 0; i < count; i++)
		put_frame(file, salt, cursor_u8(in));
}

/* An earlier use of the same file: lower offsets, another salt, the same places. */
static void put_stale(struct file *file, struct cursor *in)
{
	struct file stale = { .at = SEGLOG_HEAD, .next = FIRST - cursor_u8(in) };

	stale.committed = stale.next;
	for (size_t i = cursor_u8(in) % 32; i > 0; i--)
		put_frame(&stale, SALT ^ 1, cursor_u8(in));
	if (stale.at > file->at)
		memcpy(file->data + file->at, stale.data + file->at, stale.at - file->at);
}

static void harm(struct file *file, struct cursor *in, uint8_t what)
{
	size_t at = cursor_u16(in) % FILE_MAX, len = cursor_u8(in),
	       from = cursor_u16(in) % FILE_MAX;

	if (at < SEGLOG_HEAD)
		return; /* a file with a harmed head is not looked at */
	if (len > FILE_MAX - at)
		len = FILE_MAX - at;
	if (len > FILE_MAX - from)
		len = FILE_MAX - from;
	if (what == 2)
		file->data[at] ^= (uint8_t)(1u << len % 8);
	else if (what == 3)
		memset(file->data + at, (int)(from & 0xff), len);
	else if (what == 4)
		memmove(file->data + at, file->data + from, len);
	else
		memset(file->data + at - at % 8, 0, len & ~(size_t)7);
}

static void check_delivered(const struct file *file, size_t size, const struct seglog_scan *scan)
{
	size_t at = SEGLOG_HEAD;

	require(scan->end >= FIRST && scan->end <= file->next);
	require(scan->end_at >= SEGLOG_HEAD && scan->end_at <= size && scan->end_at % 8 == 0);
	require(scan->uncertain_at >= SEGLOG_HEAD && scan->uncertain_at <= scan->end_at);
	require(scan->dirty_end >= scan->end_at && scan->dirty_end <= size);
	require(scan->committed >= FIRST && scan->committed <= scan->end);
	for (int64_t offset = FIRST; offset < scan->end; offset++) {
		struct seglog_frame frame;
		struct record r;

		require(seglog_frame_get(
			(struct slice){ file->data + at, size - at }, SALT, &frame, &r));
		require(r.offset == offset && get_le64(r.attempt) == (uint64_t)offset);
		for (size_t i = 0; i < r.body.len; i++)
			require(r.body.data[i] == body_byte((uint64_t)offset, i));
		at += frame.size;
	}
	require(at == scan->end_at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct seglog_head head = { FIRST, 7000, SALT, 0 };
	static struct file file;
	struct cursor in = CURSOR(((struct slice){ data, size }));
	struct seglog_scan scan, again;
	/* Files may be shorter than they were made. */
	size_t file_size = FILE_MAX - (size_t)cursor_u16(&in) % (FILE_MAX - SEGLOG_HEAD);

	memset(&file, 0, sizeof(file));
	file.at = SEGLOG_HEAD;
	file.next = file.committed = FIRST;
	while (!in.bad && in.rest.len > 0) {
		uint8_t what = cursor_u8(&in) % 6;

		if (what == 0)
			put_group(&file, &in, SALT);
		else if (what == 1)
			put_stale(&file, &in);
		else
			harm(&file, &in, what);
	}
	seglog_scan((struct slice){ file.data, file_size }, &head, &scan);
	check_delivered(&file, file_size, &scan);
	if (scan.proven > scan.end)
		return 0; /* damage: the log does not open */
	memset(file.data + scan.end_at, 0, scan.dirty_end - scan.end_at);
	seglog_scan((struct slice){ file.data, file_size }, &head, &again);
	require(again.end == scan.end && again.end_at == scan.end_at);
	require(again.proven <= again.end);
	return 0;
}

#include "replay_main.inc"
