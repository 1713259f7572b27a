/* queue_backends.c - the contract of the queue, held by every backend: append and completion, read,
 * position, lookup, limits, wake, close. Deliberately not here: files (tests/unit/queue_seglog*.c).
 */
#include "support/queue_kit.h"

#include <sched.h>

#include "postern/file.h"

#define BODY 100

struct backend {
	const char *name;
	enum err_code (*open)(const struct queue_opts *, struct queue **, struct err *);
};
static struct backend backends[] = {
	{ "mem", queue_mem_open },
	{ "embedded", queue_embedded_open },
};

/* A wall clock that a test turns; the other two are real. */
static int64_t wall_ms;
static int64_t turned_wall_ms(const struct clock *clock)
{
	(void)clock;
	return __atomic_load_n(&wall_ms, __ATOMIC_RELAXED);
}

struct fixture {
	char *root, *dir;
	struct clock clock;
	struct kit_sink events, outputs;
	struct queue_opts opts;
	struct queue *queue;
};

static void fixture_open(struct fixture *f, void **state, int64_t max_bytes)
{
	const struct backend *backend = *state;
	struct err err = ERR_INIT;

	wall_ms = 1000000;
	f->root = kit_dir();
	f->dir = file_join(f->root, "main");
	f->clock = *clock_system();
	f->clock.wall_ms = turned_wall_ms;
	kit_sink_init(&f->events);
	kit_sink_init(&f->outputs);
	f->opts = (struct queue_opts){
		.dir = f->dir,
		.writes_events = true,
		.works = true,
		.segment_bytes = KIB(16),
		.events_done = kit_sink_put,
		.outputs_done = kit_sink_put,
		.events_ctx = &f->events,
		.outputs_ctx = &f->outputs,
		.clock = &f->clock,
	};
	for (size_t i = 0; i < STREAM_COUNT; i++)
		f->opts.limits[i] = (struct stream_limits){ max_bytes, INT64_MAX / 4 };
	assert_int_equal(backend->open(&f->opts, &f->queue, &err), ERR_OK);
}

static void fixture_close(struct fixture *f)
{
	queue_close(&f->queue);
	assert_null(f->queue);
	kit_sink_done(&f->events);
	kit_sink_done(&f->outputs);
	free(f->dir);
	kit_dir_done(f->root);
}

static void append(struct fixture *f, enum stream stream, uint64_t number, size_t count)
{
	struct err err = ERR_INIT;

	assert_int_equal(
		queue_append(f->queue, stream, kit_list(number, count, BODY), &err), ERR_OK);
}

/* Reads count records from offset on, whatever the batches, and checks each. */
static void expect_records(
	struct fixture *f, enum stream stream, int64_t offset, uint64_t number, size_t count)
{
	size_t seen = 0;

	while (seen < count) {
		size_t max = count - seen < 7 ? count - seen : 7;
		struct err err = ERR_INIT;
		struct queue_batch batch;

		if (queue_read(f->queue, stream, offset + (int64_t)seen, max, KIB(4),
			    kit_now_ms() + KIT_WAIT_MS, &batch, &err) != ERR_OK)
			fail_msg("%s", err.text);
		assert_true(batch.count > 0 && batch.count <= max);
		for (size_t i = 0; i < batch.count; i++, seen++) {
			assert_int_equal(batch.records[i].offset, offset + (int64_t)seen);
			assert_true(kit_record_is(&batch.records[i], number + seen, BODY));
		}
		queue_release(f->queue, &batch);
		assert_int_equal(batch.count, 0);
	}
	assert_int_equal(seen, count);
}

static void appended_records_complete_in_order_and_can_be_read(void **state)
{
	struct fixture f;
	struct stream_stat stat;

	fixture_open(&f, state, MIB(4));
	for (size_t i = 0; i < 30; i++)
		append(&f, STREAM_EVENTS, i * 10, 10);
	kit_sink_wait(&f.events, 300);
	for (size_t i = 0; i < 300; i++) {
		struct kit_done done = kit_sink_at(&f.events, i);

		assert_int_equal(done.result, ERR_OK);
		assert_int_equal(done.number, i);
		assert_int_equal(done.offset, i);
		assert_int_equal(done.time_ms, 1000000);
	}
	expect_records(&f, STREAM_EVENTS, 0, 0, 300);
	expect_records(&f, STREAM_EVENTS, 123, 123, 50);
	expect_records(&f, STREAM_EVENTS, 7, 7, 1);
	queue_stat(f.queue, STREAM_EVENTS, &stat);
	assert_int_equal(stat.first, 0);
	assert_int_equal(stat.end, 300);
	assert_int_equal(stat.position, 0);
	assert_int_equal(stat.appended, 300);
	assert_true(stat.syncs > 0 && stat.bytes > 0);
	assert_int_equal(stat.oldest_ms, 1000000);
	fixture_close(&f);
}

static void streams_are_apart(void **state)
{
	struct fixture f;

	fixture_open(&f, state, MIB(4));
	append(&f, STREAM_EVENTS, 0, 3);
	append(&f, STREAM_DLQ, 100, 2);
	append(&f, STREAM_QUARANTINE, 200, 1);
	kit_sink_wait(&f.events, 3);
	kit_sink_wait(&f.outputs, 3);
	expect_records(&f, STREAM_EVENTS, 0, 0, 3);
	expect_records(&f, STREAM_DLQ, 0, 100, 2);
	expect_records(&f, STREAM_QUARANTINE, 0, 200, 1);
	assert_string_equal(stream_name(STREAM_DLQ), "dlq");
	fixture_close(&f);
}

static void a_batch_keeps_to_its_limits(void **state)
{
	struct err err = ERR_INIT;
	struct queue_batch one, few;
	struct fixture f;

	fixture_open(&f, state, MIB(4));
	append(&f, STREAM_EVENTS, 0, 50);
	kit_sink_wait(&f.events, 50);
	assert_int_equal(queue_read(f.queue, STREAM_EVENTS, 0, 100, 1, 0, &one, &err), ERR_OK);
	assert_int_equal(one.count, 1); /* at least one, however small the limit */
	assert_int_equal(queue_read(f.queue, STREAM_EVENTS, 1, 100, 1000, 0, &few, &err), ERR_OK);
	assert_in_range(few.count, 2, 8);
	/* Both are held at the same time, and the first is still what it was. */
	assert_true(kit_record_is(&one.records[0], 0, BODY));
	assert_true(kit_record_is(&few.records[1], 2, BODY));
	queue_release(f.queue, &one);
	queue_release(f.queue, &few);
	queue_release(f.queue, &few); /* harmless */
	fixture_close(&f);
}

static void large_and_empty_bodies_come_back_whole(void **state)
{
	static const size_t sizes[] = { 0, 1, 7, 8, 9, 4096, 12000, 0, 12001, 3 };
	struct fixture f;

	fixture_open(&f, state, MIB(4));
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(
			queue_append(f.queue, STREAM_EVENTS, kit_list(i, 1, sizes[i]), &err),
			ERR_OK);
	}
	kit_sink_wait(&f.events, ARRAY_LEN(sizes));
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct err err = ERR_INIT;
		struct queue_batch batch;

		assert_int_equal(kit_sink_at(&f.events, i).result, ERR_OK);
		assert_int_equal(
			queue_read(f.queue, STREAM_EVENTS, (int64_t)i, 1, 1, 0, &batch, &err),
			ERR_OK);
		assert_int_equal(batch.count, 1);
		assert_true(kit_record_is(&batch.records[0], i, sizes[i]));
		queue_release(f.queue, &batch);
	}
	fixture_close(&f);
}

static void a_record_can_be_looked_up(void **state)
{
	struct buf bytes = BUF_INIT(MIB(1));
	struct err err = ERR_INIT;
	struct record record;
	struct fixture f;

	fixture_open(&f, state, MIB(4));
	append(&f, STREAM_EVENTS, 0, 500);
	kit_sink_wait(&f.events, 500);
	for (int64_t i = 499; i >= 0; i -= 13) {
		assert_int_equal(
			queue_lookup(f.queue, STREAM_EVENTS, i, &bytes, &record, &err), ERR_OK);
		assert_true(kit_record_is(&record, (uint64_t)i, BODY));
		assert_int_equal(record.offset, i);
	}
	for (int64_t i = 100; i < 200; i++) {
		assert_int_equal(
			queue_lookup(f.queue, STREAM_EVENTS, i, &bytes, &record, &err), ERR_OK);
		assert_true(kit_record_is(&record, (uint64_t)i, BODY));
	}
	assert_int_equal(
		queue_lookup(f.queue, STREAM_EVENTS, 500, &bytes, &record, &err), ERR_NOT_FOUND);
	err_clear(&err);
	assert_int_equal(
		queue_lookup(f.queue, STREAM_DLQ, 0, &bytes, &record, &err), ERR_NOT_FOUND);
	err_clear(&err);
	assert_int_equal(
		queue_lookup(f.queue, STREAM_EVENTS, -1, &bytes, &record, &err), ERR_NOT_FOUND);
	buf_done(&bytes);
	fixture_close(&f);
}

static void time_never_falls(void **state)
{
	static const int64_t walls[] = { 5000000, 9000000, 1000, 7000000, 9500000 };
	static const int64_t want[] = { 5000000, 9000000, 9000000, 9000000, 9500000 };
	struct fixture f;

	fixture_open(&f, state, MIB(4));
	for (size_t i = 0; i < ARRAY_LEN(walls); i++) {
		__atomic_store_n(&wall_ms, walls[i], __ATOMIC_RELAXED);
		append(&f, STREAM_EVENTS, i, 1);
		kit_sink_wait(&f.events, i + 1);
		assert_int_equal(kit_sink_at(&f.events, i).time_ms, want[i]);
	}
	fixture_close(&f);
}

static void an_offset_outside_is_corrupt(void **state)
{
	struct err err = ERR_INIT;
	struct queue_batch batch;
	struct fixture f;

	fixture_open(&f, state, MIB(4));
	append(&f, STREAM_EVENTS, 0, 5);
	kit_sink_wait(&f.events, 5);
	assert_int_equal(queue_read(f.queue, STREAM_EVENTS, 6, 1, 1, 0, &batch, &err), ERR_CORRUPT);
	assert_true(err.text[0] != '\0');
	err_clear(&err);
	assert_int_equal(
		queue_read(f.queue, STREAM_EVENTS, -1, 1, 1, 0, &batch, &err), ERR_CORRUPT);
	err_clear(&err);
	assert_int_equal(queue_done(f.queue, STREAM_EVENTS, 6, &err), ERR_CORRUPT);
	fixture_close(&f);
}

static void a_reader_waits_for_the_first_record(void **state)
{
	struct err err = ERR_INIT;
	struct queue_batch batch;
	struct fixture f;
	int64_t before;

	fixture_open(&f, state, MIB(4));
	assert_int_equal(queue_read(f.queue, STREAM_EVENTS, 0, 1, 1, 0, &batch, &err), ERR_OK);
	assert_int_equal(batch.count, 0);
	before = kit_now_ms();
	assert_int_equal(
		queue_read(f.queue, STREAM_EVENTS, 0, 1, 1, before + 30, &batch, &err), ERR_OK);
	assert_int_equal(batch.count, 0);
	assert_true(kit_now_ms() >= before + 30);
	append(&f, STREAM_EVENTS, 0, 1);
	assert_int_equal(queue_read(f.queue, STREAM_EVENTS, 0, 1, 1, kit_now_ms() + KIT_WAIT_MS,
				 &batch, &err),
		ERR_OK);
	assert_int_equal(batch.count, 1);
	queue_release(f.queue, &batch);
	kit_sink_wait(&f.events, 1);
	fixture_close(&f);
}

static void *wake_from_another_thread(void *arg)
{
	struct fixture *f = arg;

	queue_wake(f->queue, STREAM_EVENTS);
	return NULL;
}

static void a_wake_ends_a_wait(void **state)
{
	struct thread thread = { .running = false };
	struct err err = ERR_INIT;
	struct queue_batch batch;
	int64_t before = kit_now_ms();
	struct fixture f;

	fixture_open(&f, state, MIB(4));
	/* Whether it comes before or during the wait. */
	assert_int_equal(
		thread_start(&thread, "waker", wake_from_another_thread, &f, &err), ERR_OK);
	assert_int_equal(
		queue_read(f.queue, STREAM_EVENTS, 0, 1, 1, before + 2 * KIT_WAIT_MS, &batch, &err),
		ERR_OK);
	thread_join(&thread);
	assert_int_equal(batch.count, 0);
	assert_true(kit_now_ms() < before + KIT_WAIT_MS);
	fixture_close(&f);
}

/* Appends until the queue is full; how many were taken. */
static size_t append_until_full(struct fixture *f, enum stream stream, struct kit_sink *sink)
{
	size_t taken = 0;

	for (;;) {
		struct record *list = kit_list(taken, 1, 1000);
		struct err err = ERR_INIT;
		enum err_code rc = queue_append(f->queue, stream, list, &err);

		if (rc == ERR_FULL) {
			kit_list_free(list); /* nothing was taken */
			assert_int_equal(err.code, ERR_FULL);
			return taken;
		}
		assert_int_equal(rc, ERR_OK);
		kit_sink_wait(sink, taken + 1);
		if (kit_sink_at(sink, taken).result == ERR_UNAVAILABLE)
			return taken;
		assert_int_equal(kit_sink_at(sink, taken).result, ERR_OK);
		taken++;
		assert_true(taken < 1000);
	}
}

static void append_again_until_taken(struct fixture *f, enum stream stream)
{
	int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
	struct record *list = kit_list(5000, 1, 1000);
	enum err_code rc;

	while ((rc = queue_append(f->queue, stream, list, NULL)) == ERR_FULL &&
		kit_now_ms() < deadline)
		kit_pause();
	assert_int_equal(rc, ERR_OK);
}

/* Whoever asks right after the first open must not be told to come again. */
static void a_new_queue_has_room_at_once(void **state)
{
	struct fixture f;

	fixture_open(&f, state, MIB(1));
	for (size_t i = 0; i < STREAM_COUNT; i++) {
		struct err err = ERR_INIT;

		if (queue_room(f.queue, (enum stream)i, 1000, &err) != ERR_OK)
			fail_msg("%s: %s", stream_name((enum stream)i), err.text);
	}
	fixture_close(&f);
}

static void a_full_queue_refuses_until_there_is_room(void **state)
{
	struct stream_stat stat;
	struct err err = ERR_INIT;
	struct fixture f;
	size_t taken;

	fixture_open(&f, state, KIB(64));
	taken = append_until_full(&f, STREAM_EVENTS, &f.events);
	assert_in_range(taken, 20, 70);
	assert_int_equal(queue_room(f.queue, STREAM_EVENTS, 1000, &err), ERR_FULL);
	queue_stat(f.queue, STREAM_EVENTS, &stat);
	assert_true(stat.bytes <= (int64_t)KIB(64));
	/* Nothing that is unfinished was dropped. */
	assert_int_equal(stat.first, 0);
	assert_int_equal(stat.end, taken);
	err_clear(&err);
	assert_int_equal(queue_done(f.queue, STREAM_EVENTS, (int64_t)taken, &err), ERR_OK);
	append_again_until_taken(&f, STREAM_EVENTS);
	queue_stat(f.queue, STREAM_EVENTS, &stat);
	assert_true(stat.first > 0);
	assert_true(stat.position == (int64_t)taken);
	fixture_close(&f);
}

static void the_oldest_can_be_dropped_from_a_full_stream(void **state)
{
	struct stream_stat stat;
	struct err err = ERR_INIT;
	struct fixture f;
	int64_t first = -1;
	size_t taken;

	fixture_open(&f, state, KIB(64));
	taken = append_until_full(&f, STREAM_QUARANTINE, &f.outputs);
	assert_int_equal(queue_drop_oldest(f.queue, STREAM_QUARANTINE, &first, &err), ERR_OK);
	assert_in_range(first, 1, taken);
	queue_stat(f.queue, STREAM_QUARANTINE, &stat);
	assert_int_equal(stat.first, first);
	assert_int_equal(stat.position, first);
	append_again_until_taken(&f, STREAM_QUARANTINE);
	{
		struct buf bytes = BUF_INIT(MIB(1));
		struct record record;

		assert_int_equal(
			queue_lookup(f.queue, STREAM_QUARANTINE, first - 1, &bytes, &record, &err),
			ERR_NOT_FOUND);
		err_clear(&err);
		assert_int_equal(
			queue_lookup(f.queue, STREAM_QUARANTINE, first, &bytes, &record, &err),
			ERR_OK);
		assert_true(kit_record_is(&record, (uint64_t)first, 1000));
		buf_done(&bytes);
	}
	fixture_close(&f);
}

static void records_over_the_limits_are_refused(void **state)
{
	static uint8_t big[EVENT_HEADERS_MAX + 1];
	struct err err = ERR_INIT;
	struct fixture f;
	struct record record = { .key = { big, EVENT_KEY_MAX + 1 } };

	fixture_open(&f, state, MIB(4));
	assert_int_equal(queue_append(f.queue, STREAM_EVENTS, &record, &err), ERR_LIMIT);
	record = (struct record){ .headers = { big, sizeof(big) } };
	err_clear(&err);
	assert_int_equal(queue_append(f.queue, STREAM_EVENTS, &record, &err), ERR_LIMIT);
	fixture_close(&f);
}

static void close_completes_what_was_appended(void **state)
{
	struct fixture f;

	fixture_open(&f, state, MIB(4));
	for (size_t i = 0; i < 100; i++)
		append(&f, STREAM_EVENTS, i * 5, 5);
	append(&f, STREAM_DLQ, 0, 5);
	queue_close(&f.queue);
	assert_int_equal(f.events.count, 500);
	assert_int_equal(f.outputs.count, 5);
	for (size_t i = 0; i < 500; i++)
		assert_int_equal(f.events.done[i].result, ERR_OK);
	fixture_close(&f);
}

struct appender {
	struct fixture *f;
	uint64_t from;
	struct thread thread;
	bool ok;
};

static void *append_many(void *arg)
{
	struct appender *a = arg;

	a->ok = true;
	for (uint64_t i = 0; i < 200; i++) {
		struct err err = ERR_INIT;

		if (queue_append(a->f->queue, STREAM_EVENTS, kit_list(a->from + i, 1, BODY),
			    &err) != ERR_OK)
			a->ok = false;
	}
	return NULL;
}

static void many_threads_append_and_each_record_completes_once(void **state)
{
	struct appender appenders[4] = { 0 };
	uint8_t seen[4000] = { 0 };
	struct fixture f;

	fixture_open(&f, state, MIB(4));
	for (size_t i = 0; i < ARRAY_LEN(appenders); i++) {
		struct err err = ERR_INIT;

		appenders[i].f = &f;
		appenders[i].from = i * 1000;
		assert_int_equal(thread_start(&appenders[i].thread, "appender", append_many,
					 &appenders[i], &err),
			ERR_OK);
	}
	for (size_t i = 0; i < ARRAY_LEN(appenders); i++) {
		thread_join(&appenders[i].thread);
		assert_true(appenders[i].ok);
	}
	kit_sink_wait(&f.events, 800);
	for (size_t i = 0; i < 800; i++) {
		struct kit_done done = kit_sink_at(&f.events, i);

		assert_int_equal(done.offset, i); /* completions come in the order of offsets */
		assert_int_equal(seen[done.number]++, 0);
		expect_records(&f, STREAM_EVENTS, (int64_t)i, done.number, 1);
	}
	fixture_close(&f);
}

static void journal_gives_the_bytes_back(void **state)
{
	struct err err = ERR_INIT;
	struct journal_read out;
	uint8_t bytes[] = "one batch";
	struct fixture f;

	fixture_open(&f, state, MIB(4));
	assert_int_equal(
		queue_journal(f.queue, (struct slice){ bytes, sizeof(bytes) }, &out, &err), ERR_OK);
	memset(bytes, 0, sizeof(bytes)); /* they live in the queue now */
	assert_true(slice_eq(out.bytes, (struct slice){ (const uint8_t *)"one batch", 10 }));
	assert_int_equal(queue_journal(f.queue, SLICE_EMPTY, &out, &err), ERR_OK);
	assert_int_equal(out.bytes.len, 0);
	assert_false(queue_keeps_journal(f.queue));
	assert_int_equal(queue_follow(f.queue, 0, &out, &err), ERR_OK);
	assert_int_equal(out.bytes.len, 0);
	fixture_close(&f);
}

#define ROW(backend, test)                                                                         \
	{                                                                                          \
		backend " " #test, test, NULL, NULL, NULL                                          \
	}
#define ROWS(backend)                                                                              \
	ROW(backend, appended_records_complete_in_order_and_can_be_read),                          \
		ROW(backend, streams_are_apart), ROW(backend, a_batch_keeps_to_its_limits),        \
		ROW(backend, large_and_empty_bodies_come_back_whole),                              \
		ROW(backend, a_record_can_be_looked_up), ROW(backend, time_never_falls),           \
		ROW(backend, an_offset_outside_is_corrupt),                                        \
		ROW(backend, a_reader_waits_for_the_first_record),                                 \
		ROW(backend, a_wake_ends_a_wait), ROW(backend, a_new_queue_has_room_at_once),      \
		ROW(backend, a_full_queue_refuses_until_there_is_room),                            \
		ROW(backend, the_oldest_can_be_dropped_from_a_full_stream),                        \
		ROW(backend, records_over_the_limits_are_refused),                                 \
		ROW(backend, close_completes_what_was_appended),                                   \
		ROW(backend, many_threads_append_and_each_record_completes_once),                  \
		ROW(backend, journal_gives_the_bytes_back)

int main(void)
{
	struct CMUnitTest tests[] = { ROWS("mem"), ROWS("embedded") };
	const size_t each = ARRAY_LEN(tests) / ARRAY_LEN(backends);

	for (size_t i = 0; i < ARRAY_LEN(tests); i++)
		tests[i].initial_state = &backends[i / each];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
