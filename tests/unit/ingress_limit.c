/* ingress_limit.c - token buckets: bursts, refill, names apart, and no more names than allowed. */
#include "../../src/ingress/limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct limit *open_limit(size_t max)
{
	struct limit *limit = NULL;
	struct err err = ERR_INIT;

	assert_int_equal(limit_open(max, &limit, &err), ERR_OK);
	return limit;
}

static void a_burst_passes_then_the_rate(void **state)
{
	static const struct {
		int64_t at_ms, wait_ms; /* 0: passes */
	} rows[] = {
		{ 1000, 0 },
		{ 1000, 0 },
		{ 1000, 0 },
		{ 1000, 100 }, /* a token every 100 ms */
		{ 1050, 50 },
		{ 1100, 0 },
		{ 1100, 100 },
		{ 1000, 100 }, /* a clock that goes back gives nothing */
		{ 1201, 0 },
		{ 99000, 0 }, /* never more than the burst */
		{ 99000, 0 },
		{ 99000, 0 },
		{ 99000, 100 },
	};
	const struct rate rate = { .per_second = 10, .burst = 3 };
	struct limit *limit = open_limit(10);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t wait = limit_take(limit, SLICE_LIT("a"), &rate, rows[i].at_ms);

		if (wait != rows[i].wait_ms)
			fail_msg("row %zu: %lld", i, (long long)wait);
	}
	limit_close(&limit);
	assert_null(limit);
}

static void names_have_buckets_of_their_own(void **state)
{
	const struct rate rate = { .per_second = 1, .burst = 1 };
	struct limit *limit = open_limit(10);

	(void)state;
	assert_int_equal(limit_take(limit, SLICE_LIT("a"), &rate, 0), 0);
	assert_int_equal(limit_take(limit, SLICE_LIT("b"), &rate, 0), 0);
	assert_int_not_equal(limit_take(limit, SLICE_LIT("a"), &rate, 0), 0);
	assert_int_not_equal(limit_take(limit, SLICE_LIT("b"), &rate, 0), 0);
	limit_close(&limit);
}

static void off_is_off(void **state)
{
	const struct rate off = { .per_second = 0, .burst = 0 };
	const struct rate no_burst = { .per_second = 5, .burst = 0 };
	struct limit *limit = open_limit(10);

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(limit_take(limit, SLICE_LIT("a"), &off, 0), 0);
	assert_int_equal(limit_count(limit), 0);
	assert_int_equal(limit_take(limit, SLICE_LIT("a"), &no_burst, 0), 0); /* one at a time */
	assert_int_not_equal(limit_take(limit, SLICE_LIT("a"), &no_burst, 0), 0);
	limit_close(&limit);
}

static void the_name_not_seen_longest_goes(void **state)
{
	const struct rate rate = { .per_second = 0.001, .burst = 1 };
	struct limit *limit = open_limit(100);
	char name[16];

	(void)state;
	assert_int_equal(limit_take(limit, SLICE_LIT("busy"), &rate, 0), 0);
	for (unsigned i = 0; i < 10000; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(limit_take(limit, slice_str(name), &rate, 0), 0);
		/* A name that comes again and again is not forgotten, so it gains nothing. */
		assert_int_not_equal(limit_take(limit, SLICE_LIT("busy"), &rate, 0), 0);
		assert_true(limit_count(limit) <= 100);
	}
	assert_int_equal(limit_take(limit, SLICE_LIT("n0"), &rate, 0), 0); /* forgotten */
	assert_int_not_equal(limit_take(limit, SLICE_LIT("n9999"), &rate, 0), 0);
	limit_close(&limit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_passes_then_the_rate),
		cmocka_unit_test(names_have_buckets_of_their_own),
		cmocka_unit_test(off_is_off),
		cmocka_unit_test(the_name_not_seen_longest_goes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
