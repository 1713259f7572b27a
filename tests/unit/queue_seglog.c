/* queue_seglog.c - a log on files: segments, retention, limits, damage, and what opening does about
 * it.
 *
 * Deliberately not here: failing calls (queue_seglog_faults.c), two processes
 * (queue_seglog_processes.c). */
#include "support/seglog_kit.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>

/* Byte in the file of the frame number n (from 0) of a segment with bodies of one size. */
static off_t frame_at(size_t n, uint64_t number, size_t body_len)
{
	struct kit_record *k = kit_record_new(number, body_len);
	size_t size = seglog_frame_size(&k->record);

	kit_record_free(k);
	return (off_t)(SEGLOG_HEAD + n * size);
}

static void segments_follow_each_other_and_survive_reopening(void **state)
{
	int64_t firsts[64];
	struct kit_log k;
	size_t count;

	(void)state;
	kit_log_init(&k);
	kit_log_open(&k);
	kit_log_append(&k, 100, 60, 500);
	kit_log_expect(&k, 0, 100, 60, 500);
	seglog_close(&k.log);
	count = kit_segments(&k, firsts, ARRAY_LEN(firsts));
	assert_in_range(count, 4, 6);
	assert_int_equal(firsts[0], 0);
	kit_log_open(&k);
	kit_log_expect(&k, 0, 100, 60, 500);
	kit_log_append(&k, 160, 40, 500);
	kit_log_expect(&k, 0, 100, 100, 500);
	kit_log_expect(&k, firsts[2], 100 + (uint64_t)firsts[2], 100 - (size_t)firsts[2], 500);
	kit_log_done(&k);
}

static void one_list_may_span_segments(void **state)
{
	struct err err = ERR_INIT;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	kit_log_open(&k);
	assert_int_equal(seglog_append(k.log, kit_list(0, 200, 300), &err), ERR_OK);
	kit_sink_wait(&k.sink, 200);
	kit_log_expect(&k, 0, 0, 200, 300);
	assert_true(k.sink.calls > 5 && k.sink.calls < 20); /* a callback for each segment */
	kit_log_done(&k);
}

static void a_record_that_fits_no_segment_is_refused(void **state)
{
	struct record *list = kit_list(0, 1, KIT_SEGMENT);
	struct err err = ERR_INIT;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	kit_log_open(&k);
	assert_int_equal(seglog_append(k.log, list, &err), ERR_LIMIT);
	kit_list_free(list);
	/* The largest that fits: head, frame, key "tenant/0" and 16 bytes of headers. */
	kit_log_append(&k, 0, 3, KIT_SEGMENT - SEGLOG_HEAD - SEGLOG_FRAME - 8 - 16);
	kit_log_expect(&k, 0, 0, 3, KIT_SEGMENT - SEGLOG_HEAD - SEGLOG_FRAME - 8 - 16);
	kit_log_done(&k);
}

/* ---- the tail ---- */

static void a_torn_tail_is_zeroed_and_the_log_goes_on(void **state)
{
	static const struct {
		off_t at; /* in the last frame */
	} rows[] = { { 0 }, { 4 }, { 8 }, { 16 }, { 24 }, { 32 }, { 48 }, { 56 }, { 60 }, { 64 },
		{ 100 }, { 180 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct kit_log k;

		kit_log_init(&k);
		kit_log_open(&k);
		kit_log_append(&k, 10, 8, 100);
		seglog_close(&k.log);
		kit_flip(&k, 0, frame_at(7, 10, 100) + rows[i].at);
		kit_unlink_file(&k, "shared"); /* as after a power loss: it says less */
		kit_log_open(&k);
		kit_log_expect(&k, 0, 10, 7, 100);
		kit_log_append(&k, 17, 3, 100);
		seglog_close(&k.log);
		kit_log_open(&k);
		kit_log_expect(&k, 0, 10, 10, 100);
		kit_log_done(&k);
	}
}

static void frames_behind_a_torn_one_never_come_back(void **state)
{
	struct err err = ERR_INIT;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	kit_log_open(&k);
	kit_log_append(&k, 10, 2, 100);
	assert_int_equal(seglog_append(k.log, kit_list(12, 6, 100), &err), ERR_OK);
	kit_sink_wait(&k.sink, 8);
	seglog_close(&k.log);
	kit_flip(&k, 0, frame_at(4, 10, 100) + 70);
	kit_unlink_file(&k, "shared");
	kit_log_open(&k);
	kit_log_expect(&k, 0, 10, 4, 100);
	/* A record of the same size, so that the next old frame would stand just behind it. */
	kit_log_append(&k, 14, 1, 100);
	seglog_close(&k.log);
	kit_log_open(&k);
	kit_log_expect(&k, 0, 10, 5, 100);
	kit_log_done(&k);
}

static void damage_to_what_was_durable_stops(void **state)
{
	static const struct {
		size_t frame;
		bool keep_shared;
	} rows[] = {
		{ 0, false },                            /* later frames prove it */
		{ 5, false }, { 6, false }, { 7, true }, /* the last one: only the page knows */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		struct kit_log k;

		kit_log_init(&k);
		kit_log_open(&k);
		kit_log_append(&k, 10, 8, 100);
		seglog_close(&k.log);
		kit_flip(&k, 0, frame_at(rows[i].frame, 10, 100) + 90);
		if (!rows[i].keep_shared)
			kit_unlink_file(&k, "shared");
		kit_log_open_fails(&k, ERR_CORRUPT, &err);
		assert_non_null(strstr(err.text, "00000000000000000000.seg, byte "));
		assert_non_null(strstr(err.text, "docs/recovery.md"));
		/* And it still stops: nothing was repaired. */
		kit_log_open_fails(&k, ERR_CORRUPT, &err);
		k.opts.mode = SEGLOG_READ;
		if (!rows[i].keep_shared)
			kit_log_open_fails(&k, ERR_CORRUPT, &err);
		kit_log_done(&k);
	}
}

static void a_position_beyond_the_end_stops(void **state)
{
	struct err err = ERR_INIT;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	kit_log_open(&k);
	kit_log_append(&k, 0, 4, 100);
	assert_int_equal(seglog_done(k.log, 4, &err), ERR_OK);
	seglog_close(&k.log);
	{
		int fd = kit_segment_fd(&k, 0);
		off_t from = frame_at(2, 0, 100);

		for (off_t at = from; at < (off_t)KIT_SEGMENT; at++)
			assert_int_equal(pwrite(fd, "", 1, at), 1);
		(void)close(fd);
	}
	kit_log_open_fails(&k, ERR_CORRUPT, &err);
	kit_log_done(&k);
}

static void a_log_whose_segments_are_gone_stops(void **state)
{
	struct err err = ERR_INIT;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	kit_log_open(&k);
	kit_log_append(&k, 0, 4, 100);
	seglog_close(&k.log);
	kit_unlink_file(&k, "00000000000000000000.seg");
	kit_log_open_fails(&k, ERR_CORRUPT, &err);
	kit_log_done(&k);
}

/* ---- older segments ---- */

static void damage_in_an_older_segment_stops_the_reader(void **state)
{
	struct queue_read_args args = { 0, 1000, MIB(1), 0 };
	struct buf bytes = BUF_INIT(MIB(1));
	struct queue_batch batch;
	struct err err = ERR_INIT;
	struct record record;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	kit_log_open(&k);
	kit_log_append(&k, 0, 60, 500);
	seglog_close(&k.log);
	kit_flip(&k, 0, frame_at(3, 0, 500) + 200);
	kit_log_open(&k); /* the last segment is whole */
	assert_int_equal(seglog_read(k.log, &args, &batch, &err), ERR_OK);
	assert_int_equal(batch.count, 3); /* what is whole is given first */
	seglog_release(&batch);
	args.offset = 3;
	assert_int_equal(seglog_read(k.log, &args, &batch, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.text, "00000000000000000000.seg, byte "));
	assert_non_null(strstr(err.text, "record 3"));
	err_clear(&err);
	assert_int_equal(seglog_lookup(k.log, 3, &bytes, &record, &err), ERR_CORRUPT);
	err_clear(&err);
	assert_int_equal(seglog_lookup(k.log, 2, &bytes, &record, &err), ERR_OK);
	assert_true(kit_record_is(&record, 2, 500));
	/* Behind the damage it goes on, for whoever asks for that. */
	assert_int_equal(seglog_lookup(k.log, 40, &bytes, &record, &err), ERR_OK);
	buf_done(&bytes);
	kit_log_done(&k);
}

static void a_segment_that_is_missing_between_others_stops_the_reader(void **state)
{
	struct queue_read_args args = { 0, 1000, MIB(1), 0 };
	struct queue_batch batch;
	struct err err = ERR_INIT;
	int64_t firsts[64];
	struct kit_log k;
	char name[64];
	enum err_code rc;

	(void)state;
	kit_log_init(&k);
	kit_log_open(&k);
	kit_log_append(&k, 0, 60, 500);
	seglog_close(&k.log);
	assert_true(kit_segments(&k, firsts, ARRAY_LEN(firsts)) >= 3);
	(void)snprintf(name, sizeof(name), "%020lld.seg", (long long)firsts[1]);
	kit_unlink_file(&k, name);
	kit_log_open(&k);
	while ((rc = seglog_read(k.log, &args, &batch, &err)) == ERR_OK) {
		args.offset += (int64_t)batch.count;
		seglog_release(&batch);
	}
	assert_int_equal(rc, ERR_CORRUPT);
	assert_int_equal(args.offset, firsts[1]);
	kit_log_done(&k);
}

static void a_damaged_head_stops(void **state)
{
	struct err err = ERR_INIT;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	kit_log_open(&k);
	kit_log_append(&k, 0, 2, 100);
	seglog_close(&k.log);
	kit_flip(&k, 0, 20);
	kit_log_open_fails(&k, ERR_CORRUPT, &err);
	assert_non_null(strstr(err.text, "head"));
	kit_log_done(&k);
}

static void a_segment_of_another_stream_stops(void **state)
{
	struct err err = ERR_INIT;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	kit_log_open(&k);
	kit_log_append(&k, 0, 2, 100);
	seglog_close(&k.log);
	k.opts.stream = STREAM_DLQ;
	kit_log_open_fails(&k, ERR_CORRUPT, &err);
	kit_log_done(&k);
}

/* ---- retention ---- */

static void wait_for_first(struct kit_log *k, int64_t at_least)
{
	int64_t deadline = kit_now_ms() + KIT_WAIT_MS;

	while (kit_log_stat(k).first < at_least && kit_now_ms() < deadline)
		(void)usleep(2000);
	assert_true(kit_log_stat(k).first >= at_least);
}

static void size_drops_only_what_is_done_and_uses_the_files_again(void **state)
{
	struct buf bytes = BUF_INIT(MIB(1));
	struct err err = ERR_INIT;
	struct record record;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	k.opts.limits.max_bytes = 5 * KIT_SEGMENT;
	kit_log_open(&k);
	for (uint64_t i = 0; i < 400; i++) {
		kit_log_append(&k, i, 1, 500);
		assert_int_equal(kit_sink_at(&k.sink, i).result, ERR_OK);
		assert_int_equal(seglog_done(k.log, (int64_t)i, &err), ERR_OK);
		assert_true(kit_log_stat(&k).bytes <= 5 * (int64_t)KIT_SEGMENT);
	}
	assert_true(kit_log_stat(&k).first > 300);
	kit_log_expect(&k, kit_log_stat(&k).first, (uint64_t)kit_log_stat(&k).first,
		400 - (size_t)kit_log_stat(&k).first, 500);
	assert_int_equal(seglog_lookup(k.log, 5, &bytes, &record, &err), ERR_NOT_FOUND);
	/* Files that were used many times: what they held before does not come back. */
	seglog_close(&k.log);
	kit_log_open(&k);
	assert_int_equal(kit_log_stat(&k).end, 400);
	kit_log_expect(&k, 380, 380, 20, 500);
	buf_done(&bytes);
	kit_log_done(&k);
}

static void a_full_log_refuses_and_resumes(void **state)
{
	struct record *list = kit_list(1000, 1, 500);
	struct err err = ERR_INIT;
	struct kit_log k;
	int64_t end;

	(void)state;
	kit_log_init(&k);
	k.opts.limits.max_bytes = 3 * KIT_SEGMENT;
	kit_log_open(&k);
	for (uint64_t i = 0;; i++) {
		kit_log_append(&k, i, 1, 500);
		if (kit_sink_at(&k.sink, i).result != ERR_OK) {
			assert_int_equal(kit_sink_at(&k.sink, i).result, ERR_UNAVAILABLE);
			break;
		}
	}
	end = kit_log_stat(&k).end;
	assert_in_range(end, 30, 45); /* three segments, all of them used */
	assert_int_equal(seglog_append(k.log, list, &err), ERR_FULL);
	assert_non_null(strstr(err.text, "/queue/max_bytes"));
	kit_list_free(list);
	err_clear(&err);
	assert_int_equal(seglog_room(k.log, 500, &err), ERR_FULL);
	kit_log_expect(&k, 0, 0, (size_t)end, 500);
	assert_int_equal(seglog_done(k.log, 20, &err), ERR_OK);
	kit_log_append(&k, (uint64_t)end, 5, 500);
	assert_int_equal(kit_log_stat(&k).end, end + 5);
	assert_true(kit_log_stat(&k).first <= 20);
	kit_log_expect(&k, 20, 20, (size_t)end + 5 - 20, 500);
	kit_log_done(&k);
}

static void age_drops_what_is_done(void **state)
{
	struct err err = ERR_INIT;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	k.opts.limits.retention_ms = 60000;
	kit_log_open(&k);
	kit_log_append(&k, 0, 60, 500);
	assert_int_equal(seglog_done(k.log, 30, &err), ERR_OK);
	__atomic_store_n(&kit_wall_ms, 1000000 + 59999, __ATOMIC_RELAXED);
	kit_log_append(&k, 60, 1, 500);
	assert_int_equal(kit_log_stat(&k).first, 0);
	__atomic_store_n(&kit_wall_ms, 1000000 + 60000, __ATOMIC_RELAXED);
	wait_for_first(&k, 20);
	assert_true(kit_log_stat(&k).first <= 30); /* what is not done stays, however old */
	kit_log_expect(&k, 30, 30, 31, 500);
	kit_log_done(&k);
}

static void a_step_of_the_wall_clock_drops_nothing_unfinished(void **state)
{
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	k.opts.limits.retention_ms = 60000;
	kit_log_open(&k);
	kit_log_append(&k, 0, 60, 500);
	__atomic_store_n(&kit_wall_ms, 1000000 + 3600000, __ATOMIC_RELAXED);
	kit_log_append(&k, 60, 1, 500);
	__atomic_store_n(&kit_wall_ms, 1000000 - 3600000, __ATOMIC_RELAXED);
	kit_log_append(&k, 61, 1, 500);
	assert_true(kit_sink_at(&k.sink, 61).time_ms >= kit_sink_at(&k.sink, 60).time_ms);
	seglog_close(&k.log);
	kit_log_open(&k);
	kit_log_expect(&k, 0, 0, 62, 500);
	kit_log_append(&k, 62, 1, 500);
	assert_true(kit_sink_at(&k.sink, 62).time_ms >= kit_sink_at(&k.sink, 60).time_ms);
	kit_log_done(&k);
}

/* ---- room on the disk ---- */

static void too_little_disk_is_full_until_there_is_room(void **state)
{
	struct record *list = kit_list(1000, 1, 500);
	struct err err = ERR_INIT;
	int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	k.opts.reserve_bytes = MIB(1);
	kit_faults.free_bytes = MIB(1) + KIT_SEGMENT - 1;
	kit_log_open(&k); /* opens all the same: alive, not ready */
	for (;;) {
		size_t count = kit_sink_count(&k.sink); /* before the append: it may end at once */

		if (seglog_append(k.log, list, &err) != ERR_OK)
			break;
		err_clear(&err);
		kit_sink_wait(&k.sink, count + 1);
		assert_int_equal(kit_sink_at(&k.sink, count).result, ERR_UNAVAILABLE);
		list = kit_list(1000, 1, 500);
	}
	assert_int_equal(err.code, ERR_FULL);
	assert_non_null(strstr(err.text, "reserve_bytes"));
	kit_list_free(list);
	assert_int_equal(seglog_room(k.log, 500, NULL), ERR_FULL);
	__atomic_store_n(&kit_faults.free_bytes, MIB(1) + KIT_SEGMENT, __ATOMIC_SEQ_CST);
	while (seglog_room(k.log, 500, NULL) != ERR_OK && kit_now_ms() < deadline)
		(void)usleep(2000);
	assert_int_equal(seglog_room(k.log, 500, NULL), ERR_OK);
	{
		size_t before = kit_sink_count(&k.sink);

		kit_log_append(&k, 0, 1, 500);
		assert_int_equal(kit_sink_at(&k.sink, before).result, ERR_OK);
	}
	kit_log_expect(&k, 0, 0, 1, 500);
	kit_log_done(&k);
}

static void a_short_disk_takes_done_segments_first(void **state)
{
	struct err err = ERR_INIT;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	k.opts.reserve_bytes = MIB(1);
	kit_log_open(&k);
	kit_log_append(&k, 0, 60, 500);
	__atomic_store_n(&kit_faults.free_bytes, 1, __ATOMIC_SEQ_CST);
	for (uint64_t i = 60; i < 260; i++) {
		assert_int_equal(seglog_done(k.log, (int64_t)i, &err), ERR_OK);
		kit_log_append(&k, i, 1, 500);
		assert_int_equal(kit_sink_at(&k.sink, i).result, ERR_OK);
	}
	assert_true(kit_log_stat(&k).first > 0);
	kit_log_done(&k);
}

/* ---- reading only ---- */

static void read_only_creates_nothing_and_reads_what_is_there(void **state)
{
	struct err err = ERR_INIT;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	k.opts.mode = SEGLOG_READ_ONLY;
	kit_log_open(&k); /* there is not even a directory */
	assert_int_equal(kit_log_stat(&k).end, 0);
	seglog_close(&k.log);
	assert_false(file_exists(k.dir));
	k.opts.mode = SEGLOG_WRITE;
	kit_log_open(&k);
	kit_log_append(&k, 0, 40, 500);
	assert_int_equal(seglog_done(k.log, 7, &err), ERR_OK);
	{
		/* Beside the writer. */
		struct kit_log other = k;

		other.opts.mode = SEGLOG_READ_ONLY;
		kit_log_open(&other);
		kit_log_expect(&other, 0, 0, 40, 500);
		assert_int_equal(kit_log_stat(&other).position, 7);
		assert_int_equal(seglog_done(other.log, 8, &err), ERR_STOPPED);
		kit_log_append(&k, 40, 30, 500);
		kit_log_expect(&other, 0, 0, 70, 500); /* it follows */
		seglog_close(&other.log);
	}
	seglog_close(&k.log);
	/* Without the page, as after a power loss: by looking. */
	kit_unlink_file(&k, "shared");
	k.opts.mode = SEGLOG_READ_ONLY;
	kit_log_open(&k);
	kit_log_expect(&k, 0, 0, 70, 500);
	seglog_close(&k.log);
	{
		char *path = file_join(k.dir, "shared");

		assert_false(file_exists(path));
		free(path);
	}
	kit_log_done(&k);
}

static void a_spare_of_another_size_is_replaced(void **state)
{
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	kit_log_open(&k);
	kit_log_append(&k, 0, 20, 500);
	seglog_close(&k.log);
	k.opts.segment_bytes = 2 * KIT_SEGMENT;
	kit_log_open(&k);
	kit_log_append(&k, 20, 60, 500);
	kit_log_expect(&k, 0, 0, 80, 500);
	seglog_close(&k.log);
	k.opts.segment_bytes = KIT_SEGMENT;
	kit_log_open(&k);
	kit_log_append(&k, 80, 60, 500);
	kit_log_expect(&k, 0, 0, 140, 500);
	kit_log_done(&k);
}

/* Bytes of the first `len` of the segment that are in the page cache. */
static size_t cached(struct kit_log *k, int64_t first, size_t len)
{
	static unsigned char there[MIB(32) / KIB(4)];
	int fd = kit_segment_fd(k, first);
	size_t count = 0;
	void *map;

	assert_true(len <= MIB(32));
	map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	assert_int_equal(mincore(map, len, there), 0);
	for (size_t i = 0; i < len / KIB(4); i++)
		count += there[i] & 1u;
	(void)munmap(map, len);
	(void)close(fd);
	return count * KIB(4);
}

/* What was written longer ago, and what was read; some pages are in a block with ones that stay. */
static void the_page_cache_is_left_to_others(void **state)
{
	struct statfs fs;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	assert_int_equal(statfs(k.root, &fs), 0);
	if (fs.f_type == TMPFS_MAGIC) { /* there is nothing but the cache */
		kit_log_done(&k);
		skip();
	}
	k.opts.segment_bytes = MIB(32);
	k.opts.limits.max_bytes = MIB(64);
	kit_log_open(&k);
	kit_log_append(&k, 0, 48, KIB(512));
	assert_true(cached(&k, 0, MIB(24)) >= MIB(6));
	assert_true(cached(&k, 0, MIB(13)) <= MIB(4));
	kit_log_expect(&k, 0, 0, 48, KIB(512));
	assert_true(cached(&k, 0, MIB(21)) <= MIB(4));
	kit_log_append(&k, 48, 40, KIB(512));
	assert_true(cached(&k, 0, MIB(32)) <= MIB(4));
	kit_log_done(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_follow_each_other_and_survive_reopening),
		cmocka_unit_test(one_list_may_span_segments),
		cmocka_unit_test(a_record_that_fits_no_segment_is_refused),
		cmocka_unit_test(a_torn_tail_is_zeroed_and_the_log_goes_on),
		cmocka_unit_test(frames_behind_a_torn_one_never_come_back),
		cmocka_unit_test(damage_to_what_was_durable_stops),
		cmocka_unit_test(a_position_beyond_the_end_stops),
		cmocka_unit_test(a_log_whose_segments_are_gone_stops),
		cmocka_unit_test(damage_in_an_older_segment_stops_the_reader),
		cmocka_unit_test(a_segment_that_is_missing_between_others_stops_the_reader),
		cmocka_unit_test(a_damaged_head_stops),
		cmocka_unit_test(a_segment_of_another_stream_stops),
		cmocka_unit_test(size_drops_only_what_is_done_and_uses_the_files_again),
		cmocka_unit_test(a_full_log_refuses_and_resumes),
		cmocka_unit_test(age_drops_what_is_done),
		cmocka_unit_test(a_step_of_the_wall_clock_drops_nothing_unfinished),
		cmocka_unit_test(too_little_disk_is_full_until_there_is_room),
		cmocka_unit_test(a_short_disk_takes_done_segments_first),
		cmocka_unit_test(read_only_creates_nothing_and_reads_what_is_there),
		cmocka_unit_test(a_spare_of_another_size_is_replaced),
		cmocka_unit_test(the_page_cache_is_left_to_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
