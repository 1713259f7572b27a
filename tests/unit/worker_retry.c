/* retry.c: when another attempt is made, or that none is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/worker/decide.h"

#define NOW INT64_C(1700000000000)
#define DAY INT64_C(86400000)

static const struct route_config route = {
	.retry = { .attempts = 5, .base_ms = 1000, .cap_ms = 6000, .max_age_s = 86400 },
};

static void plans(void **state)
{
	static const struct {
		unsigned attempts;
		int64_t deadline_ms, retry_after_ms;
		double random;
		bool again;
		int64_t delay_ms;
		enum err_code reason;
	} rows[] = {
		/* full jitter under a ceiling that doubles up to the cap */
		{ 1, NOW + DAY, -1, 0, true, 0, ERR_OK },
		{ 1, NOW + DAY, -1, 0.999, true, 999, ERR_OK },
		{ 2, NOW + DAY, -1, 0.5, true, 1000, ERR_OK },
		{ 3, NOW + DAY, -1, 0.5, true, 2000, ERR_OK },
		{ 4, NOW + DAY, -1, 0.5, true, 3000, ERR_OK },
		/* attempts: the first one counts */
		{ 5, NOW + DAY, -1, 0.5, false, 0, ERR_ATTEMPTS_EXHAUSTED },
		{ 6, NOW + DAY, -1, 0.5, false, 0, ERR_ATTEMPTS_EXHAUSTED },
		/* what the destination asks for, when it is longer, and up to an hour */
		{ 1, NOW + DAY, 0, 0.5, true, 500, ERR_OK },
		{ 1, NOW + DAY, 400, 0.5, true, 500, ERR_OK },
		{ 1, NOW + DAY, 90000, 0.5, true, 90000, ERR_OK },
		{ 1, NOW + DAY, 3600000, 0.5, true, 3600000, ERR_OK },
		{ 1, NOW + DAY, 3600001, 0.5, true, 3600000, ERR_OK },
		/* age: the last attempt is made at the deadline */
		{ 1, NOW + 10, 90000, 0.5, true, 10, ERR_OK },
		{ 1, NOW + 1, -1, 0.9, true, 1, ERR_OK },
		{ 1, NOW, -1, 0.5, false, 0, ERR_AGE_EXHAUSTED },
		{ 1, NOW - 1, -1, 0.5, false, 0, ERR_AGE_EXHAUSTED },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct retry_facts facts = { .attempts = rows[i].attempts,
			.now_ms = NOW,
			.deadline_ms = rows[i].deadline_ms,
			.retry_after_ms = rows[i].retry_after_ms,
			.random = rows[i].random };
		const struct retry_plan plan = worker_retry_plan(&route, &facts);

		assert_int_equal(plan.again, rows[i].again);
		assert_int_equal(plan.reason, rows[i].reason);
		if (plan.again)
			assert_int_equal(plan.next_ms - NOW, rows[i].delay_ms);
	}
}

static void many_attempts_do_not_overflow(void **state)
{
	static const struct route_config wide = {
		.retry = { .attempts = 1000, .base_ms = 3600000, .cap_ms = INT64_MAX },
	};
	const struct retry_facts facts = { .attempts = 999,
		.now_ms = NOW,
		.deadline_ms = NOW + DAY,
		.retry_after_ms = -1,
		.random = 0.999 };

	(void)state;
	assert_int_equal(worker_retry_plan(&wide, &facts).next_ms, NOW + DAY);
}

static void times_of_before_a_restart(void **state)
{
	static const struct {
		int64_t next_ms, wait_ms;
	} rows[] = {
		{ NOW - DAY, 0 },
		{ NOW, 0 },
		{ NOW + 5, 5 },
		{ NOW + 3600000, 3600000 },
		{ NOW + DAY, 3600000 }, /* the clock was turned back */
		{ INT64_MAX, 3600000 },
	};
	static const struct route_config slow = { .retry = { .cap_ms = 7200000 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(
			worker_retry_wait_ms(&route, rows[i].next_ms, NOW), rows[i].wait_ms);
		assert_int_equal(worker_retry_wait_ms(NULL, rows[i].next_ms, NOW), rows[i].wait_ms);
	}
	assert_int_equal(worker_retry_wait_ms(&slow, NOW + DAY, NOW), 7200000);
	assert_int_equal(worker_retry_deadline_ms(NOW + 5, DAY, NOW), NOW + 5);
	assert_int_equal(worker_retry_deadline_ms(NOW - 5, DAY, NOW), NOW - 5);
	assert_int_equal(worker_retry_deadline_ms(NOW + 2 * DAY, DAY, NOW), NOW + DAY);
}

static void what_time_it_was(void **state)
{
	static const struct {
		int64_t first_ms, next_ms, now_ms;
	} rows[] = {
		{ NOW - 10, NOW + 5, NOW },
		{ NOW, NOW + 5, NOW },
		{ NOW + DAY, NOW + DAY + 5, NOW + DAY },
		{ NOW + DAY, NOW + DAY, NOW + DAY },
		{ NOW + DAY, INT64_MAX, NOW + DAY },
		{ NOW + DAY, NOW + 5,
			NOW }, /* turned back between its first attempt and the last */
		{ NOW + DAY, 0, NOW },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(worker_retry_now_ms(rows[i].first_ms, rows[i].next_ms, NOW),
			rows[i].now_ms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plans),
		cmocka_unit_test(many_attempts_do_not_overflow),
		cmocka_unit_test(times_of_before_a_restart),
		cmocka_unit_test(what_time_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
