/* The breaker and the retry budget, fed with tables of results. */
#include "postern/handler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct route_config route = {
	.breaker = { .failures = 10, .ratio = 0.5, .window_s = 30, .open_s = 30 },
};

/* What happens, one letter after the other: '+' a success, '-' a failure, '.' a second passes, 'w'
 * a window. */
static int64_t feed(struct breaker *b, const char *story, int64_t now)
{
	for (; *story; story++) {
		if (*story == '.')
			now += 1000;
		else if (*story == 'w')
			now += b->window_ms;
		else
			breaker_result(b, *story == '+', now, 0);
	}
	return now;
}

static void opens_by_ratio_or_in_a_row(void **state)
{
	static const struct {
		const char *story;
		enum breaker_state want;
	} rows[] = {
		{ "", BREAKER_CLOSED },
		{ "---------", BREAKER_CLOSED },             /* nine */
		{ "----------", BREAKER_OPEN },              /* ten in a row */
		{ "---------+-", BREAKER_CLOSED },           /* broken by a success */
		{ "---------+---------+", BREAKER_OPEN },    /* 18 of 20 */
		{ "-+-+-+-+-+-+-+-+-+-", BREAKER_CLOSED },   /* half, but 19 calls */
		{ "-+-+-+-+-+-+-+-+-+-+", BREAKER_OPEN },    /* half of 20 */
		{ "-+-+-+-+-+-+-+-+-+++", BREAKER_CLOSED },  /* 9 of 20 */
		{ "-+-+-+-+-+w-+-+-+-+-+", BREAKER_CLOSED }, /* in two windows */
		{ "-----w-----", BREAKER_OPEN },             /* in a row knows no window */
		{ "++++++++++++++++++++++++++++++", BREAKER_CLOSED },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct breaker b;

		print_message("# %s\n", rows[i].story);
		breaker_init(&b, &route, 0);
		(void)feed(&b, rows[i].story, 0);
		assert_int_equal(b.state, rows[i].want);
	}
}

static void limits_can_be_switched_off(void **state)
{
	struct route_config off = route;
	struct breaker b;

	(void)state;
	off.breaker.failures = 0;
	off.breaker.ratio = 0;
	breaker_init(&b, &off, 0);
	for (int i = 0; i < 1000; i++)
		breaker_result(&b, false, i, 0);
	assert_int_equal(b.state, BREAKER_CLOSED);
}

static void opens_longer_each_time(void **state)
{
	static const int64_t want_s[] = { 30, 60, 120, 240, 480, 600, 600 };
	struct breaker b;
	int64_t now = 1000, wait;

	(void)state;
	breaker_init(&b, &route, now);
	now = feed(&b, "----------", now);
	for (size_t i = 0; i < ARRAY_LEN(want_s); i++) {
		assert_false(breaker_admit(&b, false, now, &wait));
		assert_int_equal(wait, want_s[i] * 1000);
		assert_false(breaker_admit(&b, false, now + wait - 1, &wait));
		assert_int_equal(wait, 1);
		now += want_s[i] * 1000;
		assert_true(breaker_admit(&b, false, now, &wait));
		assert_int_equal(wait, 0);
		assert_int_equal(b.state, BREAKER_HALF_OPEN);
		breaker_result(&b, false, now, 0);
		assert_int_equal(b.state, BREAKER_OPEN);
	}
}

static void jitter_adds_up_to_a_fifth(void **state)
{
	struct breaker b;
	int64_t wait;

	(void)state;
	breaker_init(&b, &route, 0);
	for (int i = 0; i < 10; i++)
		breaker_result(&b, false, 0, 0.5);
	assert_false(breaker_admit(&b, false, 0, &wait));
	assert_int_equal(wait, 33000);
}

static void a_flapping_destination_keeps_its_long_pause(void **state)
{
	struct breaker b;
	int64_t now, wait;

	(void)state;
	breaker_init(&b, &route, 0);
	now = feed(&b, "----------", 0);
	now += 30000;
	assert_true(breaker_admit(&b, false, now, &wait));
	breaker_result(&b, true, now, 0);
	assert_int_equal(b.state, BREAKER_CLOSED);
	now = feed(&b, ".----------", now);
	assert_false(breaker_admit(&b, false, now, &wait));
	assert_int_equal(wait, 60000);

	/* Healthy for a whole window: as if nothing had been. */
	now += 60000;
	assert_true(breaker_admit(&b, false, now, &wait));
	breaker_result(&b, true, now, 0);
	now = feed(&b, "+w+----------", now);
	assert_false(breaker_admit(&b, false, now, &wait));
	assert_int_equal(wait, 30000);
}

static void half_open_admits_three_probes(void **state)
{
	struct breaker b;
	int64_t now, wait;

	(void)state;
	breaker_init(&b, &route, 0);
	now = feed(&b, "----------", 0) + 30000;
	for (int i = 0; i < BREAKER_PROBES; i++)
		assert_true(breaker_admit(&b, true, now, &wait));
	assert_false(breaker_admit(&b, false, now, &wait));
	assert_int_equal(wait, BREAKER_PROBE_WAIT_MS);
	breaker_forget(&b); /* one was cancelled */
	assert_true(breaker_admit(&b, false, now, &wait));
	assert_false(breaker_admit(&b, false, now, &wait));
	breaker_result(&b, true, now, 0);
	assert_int_equal(b.state, BREAKER_CLOSED);
	/* The two others still come back; they count as calls. */
	breaker_result(&b, false, now, 0);
	breaker_result(&b, false, now, 0);
	assert_int_equal(b.state, BREAKER_CLOSED);
	assert_int_equal(b.in_a_row, 2);
}

static void stragglers_do_not_matter_while_open(void **state)
{
	struct breaker b;
	int64_t wait;

	(void)state;
	breaker_init(&b, &route, 0);
	(void)feed(&b, "----------", 0);
	(void)feed(&b, "+++++-----", 0);
	assert_int_equal(b.state, BREAKER_OPEN);
	assert_false(breaker_admit(&b, false, 0, &wait));
	assert_int_equal(wait, 30000);
	breaker_forget(&b);
	assert_int_equal(b.probes, 0);
}

static void retries_are_paid_for(void **state)
{
	struct breaker b;
	int64_t wait;
	unsigned made = 0;

	(void)state;
	breaker_init(&b, &route, 0);
	while (breaker_admit(&b, true, 0, &wait))
		made++;
	assert_int_equal(made, 5); /* the floor: a second's worth */
	assert_int_equal(wait, 200);
	assert_false(breaker_admit(&b, true, 199, &wait));
	assert_true(breaker_admit(&b, true, 200, &wait));

	/* A hundred first attempts pay for twenty. */
	for (int i = 0; i < 100; i++)
		assert_true(breaker_admit(&b, false, 200, &wait));
	for (made = 0; breaker_admit(&b, true, 200, &wait);)
		made++;
	assert_in_range(made, 19, 20);

	/* A long pause fills it up to the ceiling, and no further. */
	for (made = 0; breaker_admit(&b, true, 86400000, &wait);)
		made++;
	assert_int_equal(made, (int)RETRY_BUDGET_MAX);
	/* First attempts never wait for it. */
	assert_true(breaker_admit(&b, false, 86400000, &wait));
}

static void a_denied_call_takes_nothing(void **state)
{
	struct breaker b;
	int64_t now, wait;
	double before;

	(void)state;
	breaker_init(&b, &route, 0);
	now = feed(&b, "----------", 0);
	before = b.budget;
	for (int i = 0; i < 100; i++)
		assert_false(breaker_admit(&b, false, now, &wait));
	assert_true(b.budget <= before);
	/* Half-open with an empty budget: the retry waits, and no probe is used up. */
	now += 30000;
	b.budget = 0;
	b.budget_ms = now;
	assert_false(breaker_admit(&b, true, now, &wait));
	assert_int_equal(b.probes, 0);
	assert_true(breaker_admit(&b, true, now + wait, &wait));
}

static void an_open_time_above_the_cap_is_kept(void **state)
{
	struct route_config slow = route;
	struct breaker b;
	int64_t now = 0, wait;

	(void)state;
	slow.breaker.open_s = 3600;
	breaker_init(&b, &slow, 0);
	(void)feed(&b, "----------", 0);
	for (int i = 0; i < 3; i++) {
		assert_false(breaker_admit(&b, false, now, &wait));
		assert_int_equal(wait, 3600000);
		now += wait;
		assert_true(breaker_admit(&b, false, now, &wait));
		breaker_result(&b, false, now, 0);
	}
}

static void states_have_names(void **state)
{
	(void)state;
	assert_string_equal(breaker_state_name(BREAKER_CLOSED), "closed");
	assert_string_equal(breaker_state_name(BREAKER_OPEN), "open");
	assert_string_equal(breaker_state_name(BREAKER_HALF_OPEN), "half-open");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_by_ratio_or_in_a_row),
		cmocka_unit_test(limits_can_be_switched_off),
		cmocka_unit_test(opens_longer_each_time),
		cmocka_unit_test(jitter_adds_up_to_a_fifth),
		cmocka_unit_test(a_flapping_destination_keeps_its_long_pause),
		cmocka_unit_test(half_open_admits_three_probes),
		cmocka_unit_test(stragglers_do_not_matter_while_open),
		cmocka_unit_test(retries_are_paid_for),
		cmocka_unit_test(a_denied_call_takes_nothing),
		cmocka_unit_test(an_open_time_above_the_cap_is_kept),
		cmocka_unit_test(states_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
