/* base_version.c - versions as senders write them, and as they are written into the record. */
#include "postern/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static void reads_integers_and_times_and_nothing_else(void **state)
{
	static const struct {
		const char *in;
		enum err_code want;
		enum version_kind kind;
		int64_t value;
	} rows[] = {
		{ "0", ERR_OK, VERSION_INTEGER, 0 },
		{ "41", ERR_OK, VERSION_INTEGER, 41 },
		{ "-7", ERR_OK, VERSION_INTEGER, -7 },
		{ "9223372036854775807", ERR_OK, VERSION_INTEGER, INT64_MAX },
		{ "-9223372036854775808", ERR_OK, VERSION_INTEGER, INT64_MIN },
		{ "9223372036854775808", ERR_LIMIT, VERSION_NONE, 0 },
		{ "-9223372036854775809", ERR_LIMIT, VERSION_NONE, 0 },
		{ "1970-01-01T00:00:01Z", ERR_OK, VERSION_TIME, 1000000000 },
		{ "1970-01-01T00:00:01.000000001Z", ERR_OK, VERSION_TIME, 1000000001 },
		{ "1970-01-01 00:00:01", ERR_OK, VERSION_TIME, 1000000000 },
		{ "1970-01-01 00:00:01 UTC", ERR_OK, VERSION_TIME, 1000000000 },
		{ "1970-01-01T01:00:01+01:00", ERR_OK, VERSION_TIME, 1000000000 },
		{ "", ERR_SYNTAX, VERSION_NONE, 0 },
		{ "-", ERR_SYNTAX, VERSION_NONE, 0 },
		{ "+1", ERR_SYNTAX, VERSION_NONE, 0 },
		{ " 1", ERR_SYNTAX, VERSION_NONE, 0 },
		{ "1.5", ERR_SYNTAX, VERSION_NONE, 0 },
		{ "1e3", ERR_SYNTAX, VERSION_NONE, 0 },
		{ "0x10", ERR_SYNTAX, VERSION_NONE, 0 },
		{ "v2", ERR_SYNTAX, VERSION_NONE, 0 },
		{ "1970-13-01T00:00:01Z", ERR_SYNTAX, VERSION_NONE, 0 },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		struct version v = { .kind = VERSION_NONE, .value = 0 };

		assert_int_equal(version_parse(slice_str(rows[i].in), &v, &err), rows[i].want);
		assert_int_equal(err.code, rows[i].want);
		assert_int_equal(v.kind, rows[i].kind);
		assert_true(v.value == rows[i].value);
	}
}

static void writes_what_it_reads(void **state)
{
	static const struct version rows[] = {
		{ VERSION_INTEGER, 0 },
		{ VERSION_INTEGER, INT64_MAX },
		{ VERSION_INTEGER, INT64_MIN },
		{ VERSION_TIME, 0 },
		{ VERSION_TIME, -1 },
		{ VERSION_TIME, 1763773312123456789 },
		{ VERSION_TIME, INT64_MAX },
		{ VERSION_TIME, INT64_MIN },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		struct version v = { .kind = VERSION_NONE, .value = 1 };
		char text[VERSION_TEXT_MAX];

		version_text(rows[i], text);
		assert_int_equal(version_parse(slice_str(text), &v, &err), ERR_OK);
		assert_int_equal(v.kind, rows[i].kind);
		assert_true(v.value == rows[i].value);
	}
}

static void writes_nothing_for_none(void **state)
{
	char text[VERSION_TEXT_MAX] = "x";

	(void)state;
	version_text((struct version){ .kind = VERSION_NONE, .value = 3 }, text);
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_integers_and_times_and_nothing_else),
		cmocka_unit_test(writes_what_it_reads),
		cmocka_unit_test(writes_nothing_for_none),
	};

	return cmocka_run_group_tests_name("base version", tests, NULL, NULL);
}
