/* ingress_keys.c - when an old key is said to be safe to remove, and from which counts. */
#include "../../src/ingress/keys.c"

#include <setjmp.h>

#include <cmocka.h>

#include "support/scheme_lab.h"

#define NOW_MS (INT64_C(500000) * HOUR_MS)
#define TWO                                                                                        \
	", \"keys\": [{\"file\": \"k0\"}, {\"file\": \"k1\", \"role\": \"previous\"}, "            \
	"{\"file\": \"k2\", \"role\": \"next\"}]"

static void match_at(struct key_stats *key, int64_t hours_ago, unsigned count)
{
	struct source_stats source = { .roles = { NULL } };

	for (unsigned i = 0; i < count; i++)
		stats_match(&source, key, "", NOW_MS - hours_ago * HOUR_MS);
}

static void an_old_key_can_go_once_it_was_watched_in_vain(void **state)
{
	static const struct {
		const char *source;
		int64_t since, old,
			current; /* hours ago; old and current: the last match, -1: none */
		bool safe;
		const char *why;
	} rows[] = {
		{ "\"preset\": \"github\"" TWO, 100, -1, 5, true,
			"unused for 100 h while 3 requests matched other keys" },
		{ "\"preset\": \"github\"" TWO, 100, 80, 5, true,
			"unused for 80 h while 3 requests matched other keys" },
		{ "\"preset\": \"github\"" TWO, 100, 72, 5, true,
			"unused for 72 h while 3 requests matched other keys" },
		{ "\"preset\": \"github\"" TWO, 100, 71, 5, false, "matched 71 h ago" },
		{ "\"preset\": \"github\"" TWO, 71, -1, 5, false, "watched for only 71 of 72 h" },
		{ "\"preset\": \"github\"" TWO, 100, -1, -1, false,
			"no request came in the last 72 h" },
		{ "\"preset\": \"github\"" TWO, 100, 80, 90, false,
			"no request came in the last 72 h" },
		{ "\"preset\": \"stripe\"" TWO, 95, -1, 5, false, "watched for only 95 of 96 h" },
		{ "\"preset\": \"stripe\"" TWO, 97, -1, 5, true,
			"unused for 97 h while 3 requests matched other keys" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t since_ms = NOW_MS - rows[i].since * HOUR_MS;
		struct key_stats keys[3] = { { .since_ms = since_ms }, { .since_ms = since_ms },
			{ .since_ms = since_ms } };
		const struct key_stats *stats[SCHEME_KEYS_MAX] = { &keys[0], &keys[1], &keys[2] };
		struct advice advice;
		struct lab lab;

		/* In the order of use: current, next, previous. */
		if (rows[i].current >= 0)
			match_at(&keys[0], rows[i].current, 3);
		if (rows[i].old >= 0)
			match_at(&keys[2], rows[i].old, 1);
		lab_open(&lab, rows[i].source, (const char *const[]){ "a", "b", "c", NULL });
		for (size_t k = 0; k < 3; k++) {
			advise_of(&(struct key_row){ .scheme = lab.scheme,
					  .stats = stats,
					  .key = k,
					  .now_ms = NOW_MS },
				&advice);
			if (k < 2)
				assert_int_equal(advice.kind, ADVICE_NONE);
		}
		if (advice.kind != (rows[i].safe ? ADVICE_REMOVE : ADVICE_KEEP) ||
			strcmp(advice.why, rows[i].why) != 0)
			fail_msg("row %zu: %s", i, advice.why);
		lab_close(&lab);
	}
}

static void a_key_past_its_time_can_go(void **state)
{
	struct advice advice;
	struct lab lab;

	(void)state;
	lab_open(&lab,
		"\"preset\": \"github\", \"keys\": [{\"file\": \"k0\", \"not_after\": "
		"\"2020-01-01T00:00:00Z\"}]",
		(const char *const[]){ "a", NULL });
	advise_of(&(struct key_row){ .scheme = lab.scheme, .now_ms = NOW_MS }, &advice);
	assert_int_equal(advice.kind, ADVICE_REMOVE);
	lab_close(&lab);
}

static void hours_that_are_gone_do_not_count(void **state)
{
	struct key_stats key = { .since_ms = 0 };

	(void)state;
	match_at(&key, STATS_HOURS, 7); /* the same place as now */
	assert_int_equal(stats_matches(&key, NOW_MS, STATS_HOURS), 0);
	assert_int_equal(stats_matches(&key, NOW_MS, STATS_HOURS + 1), 7);
	match_at(&key, 0, 2);
	match_at(&key, 1, 3);
	match_at(&key, 23, 5);
	assert_int_equal(stats_matches(&key, NOW_MS, 1), 2);
	assert_int_equal(stats_matches(&key, NOW_MS, 2), 5);
	assert_int_equal(stats_matches(&key, NOW_MS, 23), 5);
	assert_int_equal(stats_matches(&key, NOW_MS, 24), 10);
	assert_int_equal(atomic_load(&key.matches), 17);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_old_key_can_go_once_it_was_watched_in_vain),
		cmocka_unit_test(a_key_past_its_time_can_go),
		cmocka_unit_test(hours_that_are_gone_do_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
