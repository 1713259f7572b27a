/* Unit tests of src/base/text_time.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/text.h"

#include <stdio.h>
#include <time.h>

#define BAD INT64_MIN

struct row {
	const char *in;
	int64_t want; /* BAD: ERR_SYNTAX */
};

static void rfc3339_is_read_in_full(void **state)
{
	static const struct row rows[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "1970-01-01t00:00:00z", 0 },
		{ "2026-11-22T01:02:03.123456789Z", 1795309323123 },
		{ "2026-11-22T01:02:03.1Z", 1795309323100 },
		{ "2026-11-22T01:02:03.99999999999999999999999Z", 1795309323999 },
		{ "2026-11-22T03:02:03+02:00", 1795309323000 },
		{ "2026-11-21T20:32:03-04:30", 1795309323000 },
		{ "2026-11-22T01:02:03-00:00", 1795309323000 },
		{ "1969-12-31T23:59:59.999Z", -1 },
		{ "1969-12-31T23:59:59.9999Z", -1 },
		{ "0000-01-01T00:00:00Z", -62167219200000 },
		{ "9999-12-31T23:59:59.999Z", 253402300799999 },
		{ "2000-02-29T00:00:00Z", 951782400000 },
		{ "2024-02-29T23:59:59Z", 1709251199000 },
		{ "1990-12-31T23:59:60Z", 662688000000 }, /* a leap second */
		{ "1990-12-31T15:59:60-08:00", 662688000000 },
		{ "1990-12-31T22:59:60Z", BAD },
		{ "1990-12-31T23:58:60Z", BAD },
		{ "1990-12-31T23:59:61Z", BAD },
		{ "2023-02-29T00:00:00Z", BAD },
		{ "1900-02-29T00:00:00Z", BAD },
		{ "2026-04-31T00:00:00Z", BAD },
		{ "2026-00-01T00:00:00Z", BAD },
		{ "2026-13-01T00:00:00Z", BAD },
		{ "2026-01-00T00:00:00Z", BAD },
		{ "2026-01-01T24:00:00Z", BAD },
		{ "2026-01-01T00:60:00Z", BAD },
		{ "2026-01-01T00:00:00", BAD },
		{ "2026-01-01 00:00:00Z", BAD },
		{ "2026-01-01T00:00:00 UTC", BAD },
		{ "2026-01-01T00:00Z", BAD },
		{ "2026-01-01T00:00:00.Z", BAD },
		{ "2026-01-01T00:00:00,5Z", BAD },
		{ "2026-01-01T00:00:00+2:00", BAD },
		{ "2026-01-01T00:00:00+0200", BAD },
		{ "2026-01-01T00:00:00+02", BAD },
		{ "2026-01-01T00:00:00+24:00", BAD },
		{ "2026-01-01T00:00:00+02:60", BAD },
		{ "2026-01-01T00:00:00Zx", BAD },
		{ " 2026-01-01T00:00:00Z", BAD },
		{ "2026-1-01T00:00:00Z", BAD },
		{ "+2026-01-01T00:00:00Z", BAD },
		{ "2026-01-01", BAD },
		{ "", BAD },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		int64_t ms = BAD;
		enum err_code want = rows[i].want == BAD ? ERR_SYNTAX : ERR_OK;

		assert_int_equal(text_rfc3339(slice_str(rows[i].in), &ms, &err), want);
		assert_int_equal(err.code, want);
		assert_true(ms == rows[i].want);
	}
	assert_int_equal(text_rfc3339(SLICE_LIT("2026-01-01T00:00:00\0"), &(int64_t){ 0 }, NULL),
		ERR_SYNTAX);
}

static void versions_may_leave_the_zone_out(void **state)
{
	static const struct row rows[] = {
		{ "1970-01-01T00:00:01Z", 1000000000 },
		{ "1970-01-01T00:00:01.000000001Z", 1000000001 },
		{ "1970-01-01 00:00:01", 1000000000 },
		{ "1970-01-01T00:00:01", 1000000000 },
		{ "1970-01-01 00:00:01.5 UTC", 1500000000 },
		{ "1970-01-01 02:00:01+02:00", 1000000000 },
		{ "1969-12-31T23:59:59.999999999Z", -1 },
		{ "2262-04-11T23:47:16.854775807Z", INT64_MAX },
		{ "1677-09-21T00:12:43.145224193Z", INT64_MIN + 1 },
		{ "1970-01-01  00:00:01", BAD },
		{ "1970-01-01 00:00:01 ", BAD },
		{ "1970-01-01 00:00:01 utc", BAD },
		{ "1970-01-01 00:00:01 Z", BAD },
		{ "1970-01-01 00:00:01UTC", BAD },
		{ "1970-01-01 00:00:01 +00:00", BAD },
		{ "1970-01-01", BAD },
	};
	static const char *const outside[] = {
		"2262-04-11T23:47:16.854775808Z",
		"1677-09-21T00:12:43.145224191Z",
		"9999-12-31T23:59:59Z",
		"0000-01-01T00:00:00Z",
	};
	int64_t ns;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		enum err_code want = rows[i].want == BAD ? ERR_SYNTAX : ERR_OK;

		ns = BAD;
		assert_int_equal(text_version_time(slice_str(rows[i].in), &ns, NULL), want);
		assert_true(ns == rows[i].want);
	}
	for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
		ns = 99;
		assert_int_equal(text_version_time(slice_str(outside[i]), &ns, NULL), ERR_LIMIT);
		assert_int_equal(ns, 99);
	}
}

static void times_are_written_in_utc(void **state)
{
	static const struct {
		int64_t ms;
		const char *want;
	} rows[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },
		{ -1, "1969-12-31T23:59:59.999Z" },
		{ 1795309323123, "2026-11-22T01:02:03.123Z" },
		{ 951868799999, "2000-02-29T23:59:59.999Z" },
		{ 253402300799999, "9999-12-31T23:59:59.999Z" },
		{ INT64_MAX, "9999-12-31T23:59:59.807Z" },
		{ -62167219200000, "0000-01-01T00:00:00.000Z" },
		{ INT64_MIN, "0000-01-01T00:00:00.192Z" },
	};
	char text[TEXT_TIME_LEN], fine[TEXT_TIME_NS_LEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		text_time_ms(rows[i].ms, text);
		assert_string_equal(text, rows[i].want);
	}
	text_time_ns(1795309323123456789, fine);
	assert_string_equal(fine, "2026-11-22T01:02:03.123456789Z");
	text_time_ns(-1, fine);
	assert_string_equal(fine, "1969-12-31T23:59:59.999999999Z");
	text_time_ns(INT64_MIN, fine);
	assert_string_equal(fine, "1677-09-21T00:12:43.145224192Z");
}

/* Against the C library, over more than an era of the calendar, and back again. */
static void the_calendar_is_the_one_of_the_library(void **state)
{
	(void)state;
	for (int64_t day = -800000; day <= 2932896; day += 97) {
		time_t seconds = (time_t)(day * 86400 + (day & 0xffff));
		struct tm tm;
		char ours[TEXT_TIME_LEN], theirs[80];
		int64_t ms;

		if (seconds < -62167219200)
			continue;
		assert_non_null(gmtime_r(&seconds, &tm));
		text_time_ms((int64_t)seconds * 1000, ours);
		(void)snprintf(theirs, sizeof(theirs), "%04d-%02d-%02dT%02d:%02d:%02d.000Z",
			tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
			tm.tm_sec);
		assert_string_equal(ours, theirs);
		assert_int_equal(text_rfc3339(slice_str(ours), &ms, NULL), ERR_OK);
		assert_true(ms == (int64_t)seconds * 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc3339_is_read_in_full),
		cmocka_unit_test(versions_may_leave_the_zone_out),
		cmocka_unit_test(times_are_written_in_utc),
		cmocka_unit_test(the_calendar_is_the_one_of_the_library),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
