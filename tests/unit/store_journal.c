/* store_journal.c - a store that is a copy of what a journal holds: its place in the journal, its
 * log, its routes, the walk over all that lives, and setting it aside. */
#include "support/store_kit.h"

static struct slice batch_of(
	struct buf *batch, enum journal_type type, uint64_t seq, const struct item *item)
{
	const struct journal_header header = {
		.type = type, .epoch = 1, .writer = { 3 }, .seq = seq, .base_offset = 5
	};

	OK(journal_begin(batch, err));
	if (item)
		OK(journal_add(batch, item, err));
	OK(journal_end(batch, &header, err));
	return buf_slice(batch);
}

static void the_journal_is_the_truth(void **state)
{
	struct fixture *f = *state;
	const struct store_log log = { "here", 1, 2 }, other = { "there", 1, 2 };
	const struct item route = { .type = ITEM_ROUTE,
		.route = { .number = 1, .name = SLICE_LIT("ci") } };
	struct store_opts opts = f->opts;
	char dir[128], aside[160];
	struct store *store = NULL;
	struct store_state now;
	uint16_t number;
	size_t bytes;

	(void)snprintf(dir, sizeof(dir), "%s/lane", f->dir);
	opts.dir = dir;
	opts.log = &log;
	OK(store_lmdb_open(&opts, &store, err));
	assert_int_equal(store_route_find(store, "ci", &number), ERR_NOT_FOUND);
	assert_int_equal(number, 1);
	OK(store_apply_read(store, batch_of(&f->batch, JOURNAL_CLAIM, 0, NULL),
		&(struct store_read){ 7000, 11 }, err));
	OK(store_apply_read(store, batch_of(&f->batch, JOURNAL_BATCH, 1, &route),
		&(struct store_read){ 8000, 12 }, err));
	assert_int_equal(store_uncommitted(store, &bytes), 1);
	store_state(store, &now);
	assert_int_equal(now.journal_next, 0);
	store_applied(store, &now);
	assert_true(now.journal_next == 12 && now.base_offset == 5 && now.journal.seq == 1);
	OK(store_commit(store, err));
	assert_int_equal(store_uncommitted(store, &bytes), 0);
	/* Staged and taken back, a name is not known. */
	OK(store_stage(store,
		&(struct item){
			.type = ITEM_ROUTE, .route = { .number = 2, .name = SLICE_LIT("files") } },
		err));
	assert_int_equal(store_route_find(store, "files", &number), ERR_OK);
	store_drop(store);
	assert_int_equal(store_route_find(store, "files", &number), ERR_NOT_FOUND);
	store_passed(store, 14);
	OK(store_commit(store, err));
	store_close(&store);
	OK(store_lmdb_open(&opts, &store, err));
	store_state(store, &now);
	assert_true(now.journal_next == 14 && now.base_offset == 5 && now.journal.seq == 1);
	assert_int_equal(store_route_find(store, "ci", &number), ERR_OK);
	assert_int_equal(number, 1);
	assert_int_equal(store_journal_at(store, 6999), -1);
	assert_int_equal(store_journal_at(store, 7000), 10);
	assert_int_equal(store_journal_time(store, 11), 7000);
	store_close(&store);
	/* Of another cluster it is of no use. */
	opts.log = &other;
	IS(store_lmdb_open(&opts, &store, err), ERR_CORRUPT);
	OK(store_lmdb_set_aside(dir, 1234, err));
	(void)snprintf(aside, sizeof(aside), "%s.bad-1234", dir);
	assert_true(file_exists(aside));
	OK(store_lmdb_open(&opts, &store, err));
	store_state(store, &now);
	assert_true(now.journal_next == 0 && now.journal.epoch == 0);
	store_close(&store);
	OK(store_lmdb_set_aside(dir, 1235, err));
	assert_false(file_exists(aside));
	(void)snprintf(aside, sizeof(aside), "%s.bad-1235", dir);
	assert_true(file_exists(aside));
	OK(store_lmdb_set_aside(dir, 1236, err)); /* there is none */
	assert_false(file_exists(aside));
}

static void all_that_lives_is_walked(void **state)
{
	struct fixture *f = *state;
	const struct store_log log = { "here", 1, 2 };
	const struct item items[] = {
		{ .type = ITEM_ROUTE, .route = { .number = 1, .name = SLICE_LIT("ci") } },
		{ .type = ITEM_VERSION,
			.version = { .subject = SLICE_LIT("a"),
				.version = { VERSION_INTEGER, 3 },
				.route = 1 } },
		{ .type = ITEM_VERSION,
			.version = { .subject = SLICE_LIT("b"),
				.version = { VERSION_INTEGER, 4 } } },
		{ .type = ITEM_PARK,
			.park = { .subject = SLICE_LIT("a"),
				.offset = 9,
				.route = 1,
				.reason = PARK_RETRY,
				.body = SLICE_LIT("body") } },
		{ .type = ITEM_OUT,
			.out = { .offset = 8, .target = OUT_DLQ, .reason = ERR_CRASH_LOOP } },
		{ .type = ITEM_OUT,
			.out = { .offset = 7, .target = OUT_DLQ, .reason = ERR_CRASH_LOOP } },
		{ .type = ITEM_OUTOK, .outok = { .offset = 7, .stream_offset = 70 } },
		{ .type = ITEM_TRY, .attempt = { .offset = 9, .n = 2 } },
	};
	const struct item newer = { .type = ITEM_VERSION,
		.version = { .subject = SLICE_LIT("b"), .version = { VERSION_INTEGER, 5 } } };
	static const enum item_type want[] = { ITEM_ROUTE, ITEM_VERSION, ITEM_PARK, ITEM_TRY,
		ITEM_OUT, ITEM_ENTRY };
	struct buf bytes = BUF_INIT(MIB(1)), batch = BUF_INIT(MIB(1));
	struct store_opts opts = f->opts;
	struct store_walk walk = { .step = 0 };
	struct store *copy = NULL;
	struct store_totals totals;
	struct item item;
	size_t n = 0;

	store_close(&f->store);
	opts.log = &log;
	OK(store_mem_open(&opts, &f->store, err));
	f->header = (struct journal_header){ .epoch = 0 };
	commit_items(f, items, ARRAY_LEN(items));
	/* A change that is not committed stands for its row. */
	OK(store_stage(f->store, &newer, err));
	OK(journal_begin(&batch, err));
	while (store_walk(f->store, &walk, &bytes, &item, NULL) == ERR_OK) {
		assert_true(n < ARRAY_LEN(want));
		assert_int_equal(item.type, want[n++]);
		OK(journal_add(&batch, &item, err));
	}
	assert_int_equal(n, ARRAY_LEN(want));
	assert_int_equal(item.entry.stream_offset, 70);
	/* Folded from nothing it makes the same. */
	OK(store_mem_open(&opts, &copy, err));
	store_begin(copy, &(struct journal_state){ .epoch = 1, .writer = { 7 }, .seq = 1 }, 20);
	f->header = (struct journal_header){
		.type = JOURNAL_BATCH, .epoch = 1, .writer = { 7 }, .seq = 2
	};
	OK(journal_end(&batch, &f->header, err));
	OK(store_apply_read(copy, buf_slice(&batch), &(struct store_read){ 1, 21 }, err));
	OK(store_commit(copy, err));
	store_totals(copy, &totals);
	assert_true(totals.parked_events == 1 && totals.outs == 1 && totals.dlq_first == 70);
	assert_string_equal(store_route_name(copy, 1), "ci");
	assert_int_equal(store_tries(copy, 9), 2);
	store_close(&copy);
	buf_done(&bytes);
	buf_done(&batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_journal_is_the_truth, set_up, tear_down),
		cmocka_unit_test_setup_teardown(all_that_lives_is_walked, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
