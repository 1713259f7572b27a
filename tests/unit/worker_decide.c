/* decide.c: every branch, as tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/worker/decide.h"

static const struct item_seen here = { .offset = 7, .digest8 = "aaaaaaa" };
static const struct item_seen other = { .offset = 3, .digest8 = "aaaaaaa" };
static const struct item_seen another_body = { .offset = 3, .digest8 = "bbbbbbb" };

static void identities(void **state)
{
	static const struct {
		const char *quarantine;
		const struct item_seen *known, *replay;
		enum on_reuse on_reuse;
		enum on_replay on_replay;
		enum action action;
		enum err_code code;
		bool reused;
	} rows[] = {
		{ NULL, NULL, NULL, 0, 0, ACTION_RUN, ERR_OK, false },
		/* the same delivery, read again after a crash: whatever it was */
		{ NULL, &here, NULL, 0, 0, ACTION_SKIP, ERR_OK, false },
		{ "BAD_SIGNATURE", &here, NULL, 0, 0, ACTION_SKIP, ERR_OK, false },
		/* unusable: nothing else is looked at */
		{ "MALFORMED_BODY", NULL, NULL, 0, 0, ACTION_QUARANTINE, ERR_MALFORMED_BODY,
			false },
		{ "MISSING_EVENT_ID", &other, &other, 0, 0, ACTION_QUARANTINE, ERR_MISSING_EVENT_ID,
			false },
		{ "NO_SUCH_CODE", NULL, NULL, 0, 0, ACTION_QUARANTINE, ERR_UNREADABLE_RECORD,
			false },
		/* copies */
		{ NULL, &other, NULL, 0, 0, ACTION_DUPLICATE, ERR_OK, false },
		{ NULL, &other, NULL, ON_REUSE_QUARANTINE, 0, ACTION_DUPLICATE, ERR_OK, false },
		{ NULL, &another_body, NULL, 0, 0, ACTION_DUPLICATE, ERR_ID_REUSED, true },
		{ NULL, &another_body, NULL, ON_REUSE_QUARANTINE, 0, ACTION_QUARANTINE,
			ERR_ID_REUSED, true },
		/* replays under a fresh id */
		{ NULL, NULL, &other, 0, 0, ACTION_QUARANTINE, ERR_REPLAY_DETECTED, false },
		{ NULL, NULL, &other, 0, ON_REPLAY_APPLY, ACTION_RUN, ERR_OK, false },
		{ NULL, NULL, &here, 0, 0, ACTION_RUN, ERR_OK, false },
		{ NULL, &other, &other, 0, 0, ACTION_DUPLICATE, ERR_OK, false },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct event event = { .quarantine = slice_str(rows[i].quarantine) };
		const struct identity_facts facts = { .event = &event,
			.offset = 7,
			.digest8 = here.digest8,
			.known = rows[i].known,
			.replay = rows[i].replay,
			.on_reuse = rows[i].on_reuse,
			.on_replay = rows[i].on_replay };
		const struct verdict v = worker_decide_identity(&facts);

		assert_int_equal(v.action, rows[i].action);
		assert_int_equal(v.code, rows[i].code);
		assert_int_equal(v.reused, rows[i].reused);
	}
}

#define INT(n)                                                                                     \
	{                                                                                          \
		VERSION_INTEGER, (n)                                                               \
	}
#define TIME(n)                                                                                    \
	{                                                                                          \
		VERSION_TIME, (n)                                                                  \
	}
#define NONE                                                                                       \
	{                                                                                          \
		VERSION_NONE, 0                                                                    \
	}

static void versions(void **state)
{
	static const struct {
		enum version_rule rule;
		struct version version, stored;
		const char *base;
		enum action action;
	} rows[] = {
		/* nothing to compare */
		{ RULE_NEWER, NONE, INT(5), NULL, ACTION_RUN },
		{ RULE_NEXT, NONE, INT(5), NULL, ACTION_RUN },
		{ RULE_MATCH, NONE, INT(5), "4", ACTION_RUN },
		{ RULE_NEWER, INT(1), NONE, NULL, ACTION_RUN },
		{ RULE_NEXT, INT(9), NONE, NULL, ACTION_RUN },
		{ RULE_MATCH, INT(9), NONE, "4", ACTION_RUN },
		{ RULE_NEWER, INT(6), INT(5), NULL, ACTION_RUN },
		{ RULE_NEWER, INT(5), INT(5), NULL, ACTION_STALE },
		{ RULE_NEWER, INT(4), INT(5), NULL, ACTION_STALE },
		{ RULE_NEWER, INT(-4), INT(-5), NULL, ACTION_RUN },
		{ RULE_NEWER, INT(INT64_MAX), INT(INT64_MIN), NULL, ACTION_RUN },
		{ RULE_NEWER, TIME(6), TIME(5), NULL, ACTION_RUN },
		{ RULE_NOT_OLDER, INT(6), INT(5), NULL, ACTION_RUN },
		{ RULE_NOT_OLDER, INT(5), INT(5), NULL, ACTION_RUN },
		{ RULE_NOT_OLDER, INT(4), INT(5), NULL, ACTION_STALE },
		{ RULE_NEXT, INT(6), INT(5), NULL, ACTION_RUN },
		{ RULE_NEXT, INT(7), INT(5), NULL, ACTION_GAP },
		{ RULE_NEXT, INT(5), INT(5), NULL, ACTION_STALE },
		{ RULE_NEXT, INT(4), INT(5), NULL, ACTION_STALE },
		{ RULE_NEXT, INT(INT64_MAX), INT(INT64_MAX), NULL, ACTION_STALE },
		{ RULE_NEXT, INT(INT64_MIN + 1), INT(INT64_MIN), NULL, ACTION_RUN },
		{ RULE_MATCH, INT(3), INT(5), "5", ACTION_RUN },
		{ RULE_MATCH, INT(6), INT(5), "05", ACTION_RUN },
		{ RULE_MATCH, INT(6), INT(5), "4", ACTION_STALE },
		{ RULE_MATCH, INT(6), INT(5), "x", ACTION_STALE },
		{ RULE_MATCH, INT(6), INT(5), NULL, ACTION_STALE },
		{ RULE_MATCH, TIME(6), TIME(1000000000), "1970-01-01T00:00:01Z", ACTION_RUN },
		{ RULE_MATCH, TIME(6), TIME(1000000000), "1970-01-01T01:00:01+01:00", ACTION_RUN },
		{ RULE_MATCH, TIME(6), TIME(1), "1", ACTION_STALE },
		{ RULE_NONE, INT(4), INT(5), NULL, ACTION_RUN },
		/* the kinds never mix, whatever the rule */
		{ RULE_NEWER, TIME(6), INT(5), NULL, ACTION_QUARANTINE },
		{ RULE_NONE, INT(6), TIME(5), NULL, ACTION_QUARANTINE },
		{ RULE_NEXT, TIME(6), INT(5), NULL, ACTION_QUARANTINE },
	};
	static const enum err_code codes[] = { [ACTION_RUN] = ERR_OK,
		[ACTION_STALE] = ERR_STALE_VERSION,
		[ACTION_GAP] = ERR_VERSION_GAP,
		[ACTION_QUARANTINE] = ERR_VERSION_TYPE };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct version_facts facts = { .rule = rows[i].rule,
			.has_entity = true,
			.version = rows[i].version,
			.base = slice_str(rows[i].base),
			.stored = &rows[i].stored };
		struct verdict v = worker_decide_version(&facts);

		assert_int_equal(v.action, rows[i].action);
		assert_int_equal(v.code, codes[v.action]);
		/* without an entity no rule holds */
		facts.has_entity = false;
		assert_int_equal(worker_decide_version(&facts).action, ACTION_RUN);
		/* nor for the first event of one */
		facts.has_entity = true;
		facts.stored = NULL;
		assert_int_equal(worker_decide_version(&facts).action, ACTION_RUN);
		/* an operator may let another kind in */
		facts.stored = &rows[i].stored;
		facts.any_kind = true;
		v = worker_decide_version(&facts);
		assert_int_equal(v.action,
			rows[i].action == ACTION_QUARANTINE ? ACTION_RUN : rows[i].action);
	}
}

static void gaps_end(void **state)
{
	static const struct version stored = INT(5);
	static const struct {
		int64_t value, deadline_ms;
		enum action action;
	} rows[] = {
		{ 7, 0, ACTION_GAP }, /* it has not waited yet */
		{ 7, 1001, ACTION_GAP },
		{ 7, 1000, ACTION_DEAD },
		{ 7, 999, ACTION_DEAD },
		{ 6, 999, ACTION_RUN },
		{ 5, 999, ACTION_STALE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct version_facts facts = { .rule = RULE_NEXT,
			.has_entity = true,
			.version = { VERSION_INTEGER, rows[i].value },
			.stored = &stored,
			.now_ms = 1000,
			.gap_deadline_ms = rows[i].deadline_ms };
		const struct verdict v = worker_decide_version(&facts);

		assert_int_equal(v.action, rows[i].action);
		if (v.action == ACTION_DEAD)
			assert_int_equal(v.code, ERR_VERSION_GAP);
	}
}

static void what_stays_behind(void **state)
{
	static const struct {
		enum version_rule rule;
		struct version event, stored, after;
	} rows[] = {
		{ RULE_NEWER, INT(6), INT(5), INT(6) }, { RULE_NEWER, NONE, INT(5), INT(5) },
		{ RULE_NEWER, NONE, NONE, NONE }, { RULE_MATCH, INT(3), INT(5), INT(3) },
		{ RULE_NONE, INT(3), INT(5), INT(5) }, { RULE_NONE, INT(6), INT(5), INT(6) },
		{ RULE_NONE, TIME(3), INT(5), TIME(3) }, /* accepted in spite of its kind */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct version v =
			worker_decide_after(rows[i].rule, rows[i].event, &rows[i].stored);

		assert_int_equal(v.kind, rows[i].after.kind);
		assert_int_equal(v.value, rows[i].after.value);
	}
	assert_int_equal(worker_decide_after(RULE_NEWER, (struct version)INT(3), NULL).value, 3);
	assert_int_equal(worker_decide_after(RULE_NONE, (struct version)INT(3), NULL).value, 3);
	assert_int_equal(
		worker_decide_after(RULE_NEWER, (struct version)NONE, NULL).kind, VERSION_NONE);
}

static void crash_loops_end(void **state)
{
	(void)state;
	for (unsigned tries = 0; tries < 6; tries++) {
		const struct verdict v = worker_decide_tries(tries);

		assert_int_equal(v.action, tries < 3 ? ACTION_RUN : ACTION_DEAD);
		assert_int_equal(v.code, tries < 3 ? ERR_OK : ERR_CRASH_LOOP);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identities),
		cmocka_unit_test(versions),
		cmocka_unit_test(gaps_end),
		cmocka_unit_test(what_stays_behind),
		cmocka_unit_test(crash_loops_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
