/* Unit tests of src/base/text_number.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/text.h"

static void unsigned_numbers_are_digits_that_fit(void **state)
{
	static const struct {
		const char *in;
		enum err_code want;
		uint64_t value;
	} rows[] = {
		{ "0", ERR_OK, 0 },
		{ "007", ERR_OK, 7 },
		{ "18446744073709551615", ERR_OK, UINT64_MAX },
		{ "018446744073709551615", ERR_OK, UINT64_MAX },
		{ "18446744073709551616", ERR_LIMIT, 99 },
		{ "99999999999999999999999999", ERR_LIMIT, 99 },
		{ "99999999999999999999999999x", ERR_SYNTAX, 99 },
		{ "", ERR_SYNTAX, 99 },
		{ "-1", ERR_SYNTAX, 99 },
		{ "+1", ERR_SYNTAX, 99 },
		{ " 1", ERR_SYNTAX, 99 },
		{ "1 ", ERR_SYNTAX, 99 },
		{ "1.0", ERR_SYNTAX, 99 },
		{ "1e3", ERR_SYNTAX, 99 },
		{ "0x10", ERR_SYNTAX, 99 },
		{ "\xd9\xa1", ERR_SYNTAX, 99 },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		uint64_t value = 99;

		assert_int_equal(text_u64(slice_str(rows[i].in), &value, &err), rows[i].want);
		assert_int_equal(err.code, rows[i].want);
		assert_true(value == rows[i].value);
	}
	assert_int_equal(text_u64(SLICE_LIT("1\0"), &(uint64_t){ 0 }, NULL), ERR_SYNTAX);
}

static void signed_numbers_may_be_negative(void **state)
{
	static const struct {
		const char *in;
		enum err_code want;
		int64_t value;
	} rows[] = {
		{ "0", ERR_OK, 0 },
		{ "-0", ERR_OK, 0 },
		{ "-12", ERR_OK, -12 },
		{ "9223372036854775807", ERR_OK, INT64_MAX },
		{ "9223372036854775808", ERR_LIMIT, 99 },
		{ "-9223372036854775808", ERR_OK, INT64_MIN },
		{ "-9223372036854775809", ERR_LIMIT, 99 },
		{ "-", ERR_SYNTAX, 99 },
		{ "--1", ERR_SYNTAX, 99 },
		{ "", ERR_SYNTAX, 99 },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t value = 99;

		assert_int_equal(text_i64(slice_str(rows[i].in), &value, NULL), rows[i].want);
		assert_true(value == rows[i].value);
	}
}

static void durations_have_one_unit(void **state)
{
	static const struct {
		const char *in;
		enum err_code want;
		int64_t seconds;
	} rows[] = {
		{ "90s", ERR_OK, 90 },
		{ "15m", ERR_OK, 900 },
		{ "2h", ERR_OK, 7200 },
		{ "7d", ERR_OK, 604800 },
		{ "0s", ERR_OK, 0 },
		{ "9223372036854775807s", ERR_OK, INT64_MAX },
		{ "9223372036854775807m", ERR_LIMIT, 99 },
		{ "9223372036854775808s", ERR_LIMIT, 99 },
		{ "", ERR_SYNTAX, 99 },
		{ "s", ERR_SYNTAX, 99 },
		{ "15", ERR_SYNTAX, 99 },
		{ "-15m", ERR_SYNTAX, 99 },
		{ "1h30m", ERR_SYNTAX, 99 },
		{ "15 m", ERR_SYNTAX, 99 },
		{ "15M", ERR_SYNTAX, 99 },
		{ "2w", ERR_SYNTAX, 99 },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t seconds = 99;

		assert_int_equal(
			text_duration_s(slice_str(rows[i].in), &seconds, NULL), rows[i].want);
		assert_true(seconds == rows[i].seconds);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unsigned_numbers_are_digits_that_fit),
		cmocka_unit_test(signed_numbers_may_be_negative),
		cmocka_unit_test(durations_have_one_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
