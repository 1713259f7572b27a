/* queue_seglog_faults.c - every call that the log makes fails once: the first, the second, the
 * third ... until none is left. Whatever fails, what completed as durable is there, in its place,
 * once; what completed as not there is not; what is unknown may be either; and the log goes on by
 * itself. */
#include "support/seglog_kit.h"

#define RECORDS 60
#define BODY 500
#define LIST 4

/* What a reader finds must be what the completions said. */
static void check_against_completions(struct kit_log *k)
{
	struct stream_stat stat = kit_log_stat(k);
	struct buf bytes = BUF_INIT(MIB(1));
	size_t found[RECORDS] = { 0 };

	for (int64_t offset = stat.first; offset < stat.end; offset++) {
		struct err err = ERR_INIT;
		struct record record;
		uint64_t number;

		if (seglog_lookup(k->log, offset, &bytes, &record, &err) != ERR_OK)
			fail_msg("%s", err.text);
		number = get_le64(record.attempt);
		assert_true(number < RECORDS && kit_record_is(&record, number, BODY));
		found[number]++;
	}
	for (size_t i = 0; i < k->sink.count; i++) {
		const struct kit_done *done = &k->sink.done[i];

		assert_true(found[done->number] <= 1);
		if (done->result == ERR_OK) {
			struct record record;

			assert_int_equal(found[done->number], 1);
			assert_int_equal(
				seglog_lookup(k->log, done->offset, &bytes, &record, NULL), ERR_OK);
			assert_int_equal(get_le64(record.attempt), done->number);
		} else if (done->result == ERR_UNAVAILABLE) {
			assert_int_equal(found[done->number], 0);
		} else {
			assert_int_equal(done->result, ERR_OUTCOME_UNKNOWN);
		}
	}
	buf_done(&bytes);
}

static size_t count_results(const struct kit_log *k, enum err_code result)
{
	size_t count = 0;

	for (size_t i = 0; i < k->sink.count; i++)
		count += k->sink.done[i].result == result;
	return count;
}

/* Lists of a few records, each completed before the next; some are split by the end of a segment.
 */
static void append_lists(struct kit_log *k)
{
	for (uint64_t number = 0; number < RECORDS; number += LIST) {
		struct record *list = kit_list(number, LIST, BODY);
		int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
		enum err_code rc;

		while ((rc = seglog_append(k->log, list, NULL)) != ERR_OK &&
			kit_now_ms() < deadline)
			(void)usleep(1000);
		assert_int_equal(rc, ERR_OK);
		kit_sink_wait(&k->sink, (size_t)number + LIST);
	}
}

/* False: opening failed, as it may when a call fails there. */
static bool run(struct kit_log *k)
{
	struct err err = ERR_INIT;

	if (seglog_open(&k->opts, &k->log, &err) != ERR_OK) {
		assert_int_equal(err.code, ERR_IO);
		return false;
	}
	append_lists(k);
	check_against_completions(k);
	/* The failure is over, and the log has gone on. */
	assert_true(count_results(k, ERR_OK) >= RECORDS - LIST * 4);
	return true;
}

/* With at = 1, 2, 3 ... until the call that should fail does not come any more. */
static void sweep(enum kit_call call, bool half)
{
	for (unsigned at = 1;; at++) {
		struct kit_log k;
		bool reached;

		kit_log_init(&k);
		kit_faults =
			(struct kit_faults){ .call = call, .at = at, .count = 1, .half = half };
		(void)run(&k);
		seglog_close(&k.log);
		reached = kit_faults.seen >= at;
		kit_faults.at = 0;
		kit_log_open(&k); /* a new start finds the same */
		check_against_completions(&k);
		kit_log_done(&k);
		if (!reached)
			return;
		assert_true(at < 1000);
	}
}

static void each_pwrite_fails_once(void **state)
{
	(void)state;
	sweep(KIT_PWRITE, false);
}

static void each_pwrite_is_cut_short_once(void **state)
{
	(void)state;
	sweep(KIT_PWRITE, true);
}

static void each_fdatasync_fails_once(void **state)
{
	(void)state;
	sweep(KIT_SYNC, false);
}

static void each_sync_of_the_directory_fails_once(void **state)
{
	(void)state;
	sweep(KIT_SYNC_DIR, false);
}

static void each_rename_fails_once(void **state)
{
	(void)state;
	sweep(KIT_RENAME, false);
}

static void each_unlink_fails_once(void **state)
{
	(void)state;
	sweep(KIT_UNLINK, false);
}

/* The keeper syncs a spare before it gives it its name. */
static void wait_for_spare(const struct kit_log *k)
{
	char *spare = file_join(k->dir, SEGLOG_SPARE);
	int64_t deadline = kit_now_ms() + KIT_WAIT_MS;

	while (access(spare, F_OK) != 0) {
		assert_true(kit_now_ms() < deadline);
		(void)usleep(1000);
	}
	free(spare);
}

/* A failed sync is never made up for: the record is unknown, and no later one takes its place as
 * known. */
static void a_failed_sync_is_unknown_and_the_next_is_durable(void **state)
{
	struct kit_log k;
	int64_t end;

	(void)state;
	kit_log_init(&k);
	kit_log_open(&k);
	kit_log_append(&k, 0, 3, BODY);
	wait_for_spare(&k); /* the next sync is the commit's, not the keeper's */
	end = kit_log_stat(&k).end;
	kit_fail_next(KIT_SYNC, 1);
	kit_log_append(&k, 3, 1, BODY);
	assert_int_equal(kit_sink_at(&k.sink, 3).result, ERR_OUTCOME_UNKNOWN);
	assert_int_equal(kit_log_stat(&k).end, end); /* no reader sees it */
	kit_log_append(&k, 4, 1, BODY);
	assert_int_equal(kit_sink_at(&k.sink, 4).result, ERR_OK);
	assert_int_equal(kit_sink_at(&k.sink, 4).offset, end);
	kit_log_expect(&k, 3, 4, 1, BODY);
	kit_log_done(&k);
}

/* All of a kind fail for a while: refused or unknown, never durable; then it goes on. */
static void a_disk_that_fails_for_a_while(void **state)
{
	static const enum kit_call calls[] = { KIT_PWRITE, KIT_SYNC, KIT_RENAME, KIT_SYNC_DIR };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		struct kit_log k;
		size_t before;

		kit_log_init(&k);
		kit_log_open(&k);
		kit_log_append(&k, 0, 12, BODY);
		kit_fail_next(calls[i], 1u << 30);
		for (uint64_t number = 12; number < 40; number++) {
			struct record *list = kit_list(number, 1, BODY);

			before = k.sink.count;
			if (seglog_append(k.log, list, NULL) == ERR_OK)
				kit_sink_wait(&k.sink, before + 1);
			else
				kit_list_free(list);
		}
		__atomic_store_n(&kit_faults.at, 0, __ATOMIC_SEQ_CST);
		before = k.sink.count;
		kit_log_append(&k, 50, 1, BODY);
		assert_int_equal(kit_sink_at(&k.sink, before).result, ERR_OK);
		check_against_completions(&k);
		seglog_close(&k.log);
		kit_log_open(&k);
		check_against_completions(&k);
		kit_log_done(&k);
	}
}

/* What completes is never more than what fits what can be written, and closing never hangs. */
static void closing_while_the_disk_fails_completes_everything(void **state)
{
	struct err err = ERR_INIT;
	struct kit_log k;

	(void)state;
	kit_log_init(&k);
	kit_faults = (struct kit_faults){ .call = KIT_SYNC, .at = 1, .count = 1u << 30 };
	kit_log_open(&k);
	for (size_t i = 0; i < 50; i++) {
		struct record *list = kit_list(i, 1, BODY);

		if (seglog_append(k.log, list, &err) != ERR_OK)
			kit_list_free(list);
		else
			err_clear(&err);
	}
	seglog_close(&k.log);
	assert_int_equal(count_results(&k, ERR_OK), 0);
	kit_log_done(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_pwrite_fails_once),
		cmocka_unit_test(each_pwrite_is_cut_short_once),
		cmocka_unit_test(each_fdatasync_fails_once),
		cmocka_unit_test(each_sync_of_the_directory_fails_once),
		cmocka_unit_test(each_rename_fails_once),
		cmocka_unit_test(each_unlink_fails_once),
		cmocka_unit_test(a_failed_sync_is_unknown_and_the_next_is_durable),
		cmocka_unit_test(a_disk_that_fails_for_a_while),
		cmocka_unit_test(closing_while_the_disk_fails_completes_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
