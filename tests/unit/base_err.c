/* Unit tests of src/base/err.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/err.h"

#include <errno.h>
#include <string.h>

/* What the contract says of codes that a sender or a script sees. */
static void the_table_says_what_the_contract_says(void **state)
{
	static const struct {
		enum err_code code;
		const char *name;
		unsigned status;
		int exit;
		enum err_act act;
	} rows[] = {
		{ ERR_OK, "ACCEPTED", 200, 0, ACT_NONE },
		{ ERR_MALFORMED_BODY, "MALFORMED_BODY", 200, 1, ACT_REJECT },
		{ ERR_MISSING_EVENT_ID, "MISSING_EVENT_ID", 200, 1, ACT_REJECT },
		{ ERR_MISSING_SIGNATURE, "MISSING_SIGNATURE", 401, 1, ACT_REJECT },
		{ ERR_BAD_SIGNATURE, "BAD_SIGNATURE", 401, 1, ACT_REJECT },
		{ ERR_KEY_NOT_FOUND, "KEY_NOT_FOUND", 401, 1, ACT_REJECT },
		{ ERR_BAD_TIMESTAMP, "BAD_TIMESTAMP", 400, 1, ACT_REJECT },
		{ ERR_EXPIRED, "EXPIRED", 400, 1, ACT_REJECT },
		{ ERR_CLOCK_SKEW, "CLOCK_SKEW", 400, 1, ACT_REJECT },
		{ ERR_TOO_LARGE, "TOO_LARGE", 413, 1, ACT_REJECT },
		{ ERR_UNKNOWN_SOURCE, "UNKNOWN_SOURCE", 404, 1, ACT_REJECT },
		{ ERR_METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", 405, 1, ACT_REJECT },
		{ ERR_RATE_LIMITED, "RATE_LIMITED", 429, 75, ACT_RETRY },
		{ ERR_UNAVAILABLE, "UNAVAILABLE", 503, 75, ACT_RETRY },
		{ ERR_OUTCOME_UNKNOWN, "OUTCOME_UNKNOWN", 503, 75, ACT_RETRY },
		{ ERR_BAD_REQUEST, "BAD_REQUEST", 400, 1, ACT_REJECT },
		{ ERR_HANDLER_FAILED, "HANDLER_FAILED", 500, 1, ACT_RETRY },
		{ ERR_HANDLER_REFUSED, "HANDLER_REFUSED", 500, 1, ACT_REJECT },
		{ ERR_USAGE, "USAGE", 400, 2, ACT_REJECT },
		{ ERR_CONFIG, "CONFIG", 422, 3, ACT_REJECT },
		{ ERR_FULL, "FULL", 503, 75, ACT_RETRY },
		{ ERR_CORRUPT, "CORRUPT", 500, 1, ACT_STOP },
		{ ERR_NOT_FOUND, "NOT_FOUND", 404, 1, ACT_REJECT },
		{ ERR_LOCKED, "LOCKED", 409, 1, ACT_REJECT },
		{ ERR_UNREACHABLE, "UNREACHABLE", 503, 4, ACT_RETRY },
		{ ERR_PARTLY, "PARTLY", 500, 5, ACT_RETRY },
		{ ERR_FENCED, "FENCED", 503, 75, ACT_STOP },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_string_equal(err_name(rows[i].code), rows[i].name);
		assert_int_equal(err_status(rows[i].code), rows[i].status);
		assert_int_equal(err_exit(rows[i].code), rows[i].exit);
		assert_int_equal(err_action(rows[i].code), rows[i].act);
	}
}

static void every_code_has_its_own_name_and_leads_back(void **state)
{
	unsigned known = 0;

	(void)state;
	for (unsigned i = 0; i <= ERR_CODES + 1; i++) {
		enum err_code code = (enum err_code)i;
		const char *name = err_name(code);

		assert_non_null(err_title(code));
		if (strcmp(name, "UNKNOWN") == 0)
			continue;
		known++;
		assert_int_equal(err_by_name(name, strlen(name)), code);
	}
	assert_int_equal(known, 30 + ERR_CODES - ERR_USAGE);
	assert_int_equal(err_by_name("NO_SUCH", 7), ERR_CODES);
	assert_int_equal(err_by_name("IOX", 2), ERR_IO);
	assert_int_equal(err_by_name("", 0), ERR_CODES);
	/* The numbers between the groups, and past the end. */
	assert_string_equal(err_name((enum err_code)33), "UNKNOWN");
	assert_int_equal(err_status((enum err_code)1000), 500);
}

static void the_first_failure_wins(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(err_set(&err, ERR_LIMIT, "first %d", 1), ERR_LIMIT);
	assert_int_equal(err_set(&err, ERR_IO, "second"), ERR_IO);
	assert_int_equal(err.code, ERR_LIMIT);
	assert_string_equal(err.text, "first 1");
	assert_int_equal(err_set(NULL, ERR_IO, "nowhere"), ERR_IO);
	err_clear(&err);
	assert_int_equal(err.code, ERR_OK);
	err_clear(NULL);
}

static void the_text_is_one_line_and_cut(void **state)
{
	struct err err = ERR_INIT;
	char longer[2 * ERR_TEXT_MAX];

	(void)state;
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	(void)err_set(&err, ERR_IO, "a\nb\tc\x7f%s", longer);
	assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
	assert_memory_equal(err.text, "a b c xxx", 9);
	assert_int_equal(err_prefix(&err, "%s", "where"), ERR_IO);
	assert_memory_equal(err.text, "where: a b c xxx", 16);
	assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
	assert_int_equal(err_prefix(&err, "%s", longer), ERR_IO);
	assert_int_equal(strnlen(err.text, ERR_TEXT_MAX), ERR_TEXT_MAX - 1);
}

static void a_prefix_needs_a_failure(void **state)
{
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(err_prefix(&err, "where"), ERR_OK);
	assert_string_equal(err.text, "");
	assert_int_equal(err_prefix(NULL, "where"), ERR_OK);
}

static void a_system_call_that_found_no_room_says_so(void **state)
{
	static const struct {
		int errnum;
		enum err_code want;
	} rows[] = {
		{ EIO, ERR_IO },
		{ ENOSPC, ERR_FULL },
		{ EDQUOT, ERR_FULL },
		{ ENOMEM, ERR_NOMEM },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(err_sys(&err, ERR_IO, rows[i].errnum, "log"), rows[i].want);
		assert_int_equal(err.code, rows[i].want);
		assert_memory_equal(err.text, "log: ", 5);
		assert_true(strlen(err.text) > 5);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_says_what_the_contract_says),
		cmocka_unit_test(every_code_has_its_own_name_and_leads_back),
		cmocka_unit_test(the_first_failure_wins),
		cmocka_unit_test(the_text_is_one_line_and_cut),
		cmocka_unit_test(a_prefix_needs_a_failure),
		cmocka_unit_test(a_system_call_that_found_no_room_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
