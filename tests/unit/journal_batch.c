/* journal_batch.c - batches and their items as bytes, and the judgement of headers. */
#include "postern/journal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static const struct item samples[] = {
	{ .type = ITEM_SEEN,
		.seen = { .id16 = { 1, 2, 3 },
			.offset = 77,
			.digest8 = { 4, 5 },
			.outcome = OUTCOME_DEAD,
			.code = ERR_CRASH_LOOP,
			.route = 65535,
			.attempts = 255,
			.received_s = UINT32_MAX } },
	{ .type = ITEM_VERSION,
		.version = { .subject = SLICE_LIT("acme\0repo"),
			.version = { VERSION_TIME, -1 },
			.offset = 1,
			.event_id = SLICE_LIT("e"),
			.source = SLICE_LIT("s"),
			.route = 2,
			.time_ms = 3 } },
	{ .type = ITEM_PARK,
		.park = { .subject = SLICE_LIT("s"),
			.offset = INT64_MAX,
			.id16 = { 9 },
			.route = 1,
			.attempts = 20,
			.first_ms = 1,
			.next_ts_ms = 2,
			.deadline_ms = 3,
			.first_failed_ms = 4,
			.reason = PARK_BUSY,
			.last_code = ERR_HANDLER_TIMEOUT,
			.redrive = UINT64_MAX,
			.version = { VERSION_INTEGER, INT64_MIN },
			.error = SLICE_LIT("err"),
			.key = SLICE_LIT("k"),
			.headers = SLICE_LIT("h"),
			.body = SLICE_LIT("b\0c") } },
	{ .type = ITEM_UNPARK, .unpark = { .subject = SLICE_LIT("s"), .offset = 5 } },
	{ .type = ITEM_OUT,
		.out = { .offset = 6,
			.n = UINT32_MAX,
			.target = OUT_TOPIC,
			.id16 = { 8 },
			.reason = ERR_OK,
			.topic = SLICE_LIT("t"),
			.key = SLICE_LIT("k"),
			.headers = SLICE_LIT("h"),
			.body = SLICE_LIT("") } },
	{ .type = ITEM_OUTOK, .outok = { .offset = 7, .n = 1, .stream_offset = 8 } },
	{ .type = ITEM_TRY, .attempt = { .offset = 9, .n = 3 } },
	{ .type = ITEM_MARK,
		.mark = { .target = OUT_QUARANTINE,
			.stream_offset = 10,
			.mark = MARK_DROPPED,
			.time_ms = 11 } },
	{ .type = ITEM_COMMAND,
		.command = { .id16 = { 5 },
			.kind = COMMAND_ACCEPT,
			.target = OUT_QUARANTINE,
			.stream_offset = 20,
			.asked_ms = 21,
			.headers = SLICE_LIT("h"),
			.key = SLICE_LIT("k") } },
	{ .type = ITEM_DECIDED,
		.decided = { .id16 = { 5 }, .code = ERR_USAGE, .text = SLICE_LIT("no") } },
	{ .type = ITEM_ROUTE, .route = { .number = 12, .name = SLICE_LIT("orders") } },
	{ .type = ITEM_ENTRY,
		.entry = { .target = OUT_DLQ,
			.stream_offset = 13,
			.id16 = { 7 },
			.offset = 14,
			.time_ms = 15,
			.received_ms = 16,
			.reason = ERR_CRASH_LOOP,
			.bytes = 17,
			.mark = MARK_REPLAYED,
			.event_id = SLICE_LIT("e"),
			.source = SLICE_LIT("s"),
			.route = SLICE_LIT("r") } },
};

static const struct journal_header sample_header = { .type = JOURNAL_BATCH,
	.epoch = 3,
	.writer = { 1, 2, 3 },
	.seq = 4,
	.next_offset = 5,
	.base_offset = 6,
	.generation = 7,
	.partitions = 8,
	.checkpoint_offset = 9,
	.checkpoint_epoch = 10,
	.checkpoint_seq = 11,
	.checkpoint_writer = { 12 } };

static void make_batch(struct buf *batch)
{
	struct err err = ERR_INIT;

	assert_int_equal(journal_begin(batch, &err), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(samples); i++)
		assert_int_equal(journal_add(batch, &samples[i], &err), ERR_OK);
	assert_int_equal(journal_end(batch, &sample_header, &err), ERR_OK);
}

static void a_batch_comes_back(void **state)
{
	struct buf batch = BUF_INIT(JOURNAL_BATCH_MAX), again = BUF_INIT(JOURNAL_BATCH_MAX);
	struct journal_header header;
	struct err err = ERR_INIT;
	struct item item;
	size_t at = 0, count = 0;

	(void)state;
	make_batch(&batch);
	assert_int_equal(journal_open(buf_slice(&batch), &header, &err), ERR_OK);
	assert_true(header.type == JOURNAL_BATCH && header.epoch == 3 && header.seq == 4);
	assert_true(header.next_offset == 5 && header.base_offset == 6 && header.generation == 7);
	assert_true(header.partitions == 8 && header.checkpoint_offset == 9);
	assert_true(header.checkpoint_epoch == 10 && header.checkpoint_seq == 11);
	assert_true(header.checkpoint_writer[0] == 12 && header.items == ARRAY_LEN(samples));
	assert_memory_equal(header.writer, sample_header.writer, WRITER_LEN);
	while (journal_next(buf_slice(&batch), &at, &item, &err) == ERR_OK) {
		buf_reset(&again);
		assert_int_equal(journal_put_item(&again, &item, &err), ERR_OK);
		assert_int_equal(item.type, samples[count].type);
		count++;
	}
	assert_int_equal(count, ARRAY_LEN(samples));
	assert_int_equal(err.code, ERR_OK); /* the end is no failure */
	buf_done(&batch);
	buf_done(&again);
}

static void items_come_back(void **state)
{
	struct buf bytes = BUF_INIT(1000);
	struct err err = ERR_INIT;
	struct item item;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
		size_t at = 0;

		buf_reset(&bytes);
		assert_int_equal(journal_put_item(&bytes, &samples[i], &err), ERR_OK);
		assert_int_equal(journal_get_item(buf_slice(&bytes), &at, &item, &err), ERR_OK);
		assert_int_equal(at, bytes.len);
		for (size_t len = 0; len < bytes.len; len++) { /* cut at every byte */
			struct err cut = ERR_INIT;

			at = 0;
			assert_int_equal(journal_get_item((struct slice){ bytes.data, len }, &at,
						 &item, &cut),
				ERR_CORRUPT);
			assert_int_equal(at, 0);
		}
	}
	/* A few members by value: the rest is held by the fuzzed property. */
	buf_reset(&bytes);
	assert_int_equal(journal_put_item(&bytes, &samples[2], &err), ERR_OK);
	assert_int_equal(journal_get_item(buf_slice(&bytes), &(size_t){ 0 }, &item, &err), ERR_OK);
	assert_true(item.park.offset == INT64_MAX && item.park.reason == PARK_BUSY);
	assert_true(item.park.redrive == UINT64_MAX && item.park.version.value == INT64_MIN);
	assert_true(slice_eq(item.park.body, SLICE_LIT("b\0c")));
	assert_true(item.park.last_code == ERR_HANDLER_TIMEOUT && item.park.first_failed_ms == 4);
	buf_done(&bytes);
}

static void every_flipped_bit_is_noticed(void **state)
{
	struct buf batch = BUF_INIT(JOURNAL_BATCH_MAX);
	struct journal_header header;

	(void)state;
	make_batch(&batch);
	for (size_t bit = 0; bit < batch.len * 8; bit++) {
		struct err err = ERR_INIT;

		batch.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
		assert_int_equal(journal_open(buf_slice(&batch), &header, &err), ERR_CORRUPT);
		batch.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	for (size_t len = 0; len < batch.len; len++) {
		struct err err = ERR_INIT;

		assert_int_equal(journal_open((struct slice){ batch.data, len }, &header, &err),
			ERR_CORRUPT);
	}
	buf_done(&batch);
}

static void reserved_and_unknown_items_are_never_skipped(void **state)
{
	static const uint8_t types[] = { 0, ITEM_ANSWER, ITEM_ONCE, ITEM_DECIDED + 1, 255 };
	struct buf bytes = BUF_INIT(100);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct err err = ERR_INIT;
		struct item item = { .type = (enum item_type)types[i] };
		size_t at = 0;

		buf_reset(&bytes);
		assert_int_equal(journal_put_item(&bytes, &item, &err), ERR_UNSUPPORTED);
		assert_int_equal(bytes.len, 0);
		err = ERR_INIT;
		assert_int_equal(buf_put_u8(&bytes, types[i], &err), ERR_OK);
		assert_int_equal(buf_put_u32(&bytes, 0, &err), ERR_OK);
		assert_int_equal(
			journal_get_item(buf_slice(&bytes), &at, &item, &err), ERR_CORRUPT);
	}
	buf_done(&bytes);
}

static void a_failed_add_leaves_the_batch_whole(void **state)
{
	struct buf batch = BUF_INIT(200);
	struct journal_header header;
	struct err err = ERR_INIT;
	size_t added = 0;

	(void)state;
	assert_int_equal(journal_begin(&batch, &err), ERR_OK);
	while (journal_add(&batch, &samples[0], &err) == ERR_OK)
		added++;
	assert_int_equal(err.code, ERR_LIMIT);
	assert_int_equal(added, 1);
	err = ERR_INIT;
	assert_int_equal(journal_end(&batch, &sample_header, &err), ERR_OK);
	assert_int_equal(journal_open(buf_slice(&batch), &header, &err), ERR_OK);
	assert_int_equal(header.items, 1);
	buf_done(&batch);
}

static void judgement_follows_the_rules(void **state)
{
	static const struct {
		enum journal_type type;
		uint64_t epoch;
		uint8_t writer;
		uint64_t seq;
		bool valid, released;
	} rows[] = {
		{ JOURNAL_BATCH, 0, 0, 1, false, false }, /* nobody has claimed */
		{ JOURNAL_RELEASE, 0, 0, 0, false, false },
		{ JOURNAL_CLAIM, 0, 1, 0, false, false },
		{ JOURNAL_CLAIM, 5, 1, 0, true, false },
		{ JOURNAL_CLAIM, 5, 2, 0, false, false }, /* the first one has it */
		{ JOURNAL_BATCH, 5, 1, 2, false, false }, /* a gap */
		{ JOURNAL_BATCH, 5, 1, 1, true, false },
		{ JOURNAL_BATCH, 5, 1, 1, false, false }, /* repeated */
		{ JOURNAL_BATCH, 5, 2, 2, false, false }, /* another writer */
		{ JOURNAL_BATCH, 4, 1, 2, false, false },
		{ JOURNAL_BATCH, 5, 1, 2, true, false },
		{ JOURNAL_RELEASE, 5, 2, 0, false, false },
		{ JOURNAL_RELEASE, 5, 1, 0, true, true },
		{ JOURNAL_CLAIM, 6, 2, 0, true, false },
		{ JOURNAL_BATCH, 5, 1, 3, false, false }, /* a zombie */
		{ JOURNAL_RELEASE, 5, 1, 0, false, false },
		{ JOURNAL_BATCH, 6, 2, 1, true, false },
	};
	struct journal_state judged = { .epoch = 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct journal_header header = { .type = rows[i].type,
			.epoch = rows[i].epoch,
			.writer = { rows[i].writer },
			.seq = rows[i].seq };
		struct journal_state before = judged;

		if (journal_judge(&judged, &header) != rows[i].valid)
			fail_msg("row %zu", i);
		assert_int_equal(judged.released, rows[i].released);
		if (!rows[i].valid)
			assert_memory_equal(&before, &judged, sizeof(before));
	}
	assert_true(judged.epoch == 6 && judged.seq == 1 && judged.writer[0] == 2);
}

static void names_are_complete(void **state)
{
	(void)state;
	for (int i = 0; i < OUTCOME_COUNT; i++)
		assert_string_not_equal(outcome_name((enum outcome)i), "unknown");
	assert_string_equal(outcome_name(OUTCOME_COUNT), "unknown");
	assert_string_equal(outcome_name(OUTCOME_QUARANTINED), "quarantined");
	for (int i = PARK_RETRY; i <= PARK_BUSY; i++)
		assert_string_not_equal(park_reason_name((enum park_reason)i), "unknown");
	assert_string_equal(park_reason_name(PARK_RUNNING), "running");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_batch_comes_back),
		cmocka_unit_test(items_come_back),
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(reserved_and_unknown_items_are_never_skipped),
		cmocka_unit_test(a_failed_add_leaves_the_batch_whole),
		cmocka_unit_test(judgement_follows_the_rules),
		cmocka_unit_test(names_are_complete),
	};

	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
