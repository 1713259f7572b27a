/* Unit tests of src/base/text_match.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/text.h"

static void a_star_is_any_run_of_bytes(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool want;
	} rows[] = {
		{ "", "", true },
		{ "", "a", false },
		{ "*", "", true },
		{ "*", "anything", true },
		{ "**", "", true },
		{ "push", "push", true },
		{ "push", "pushed", false },
		{ "push*", "push", true },
		{ "push*", "pushed", true },
		{ "push*", "pus", false },
		{ "*ed", "pushed", true },
		{ "*ed", "pushed!", false },
		{ "a*b*c", "abc", true },
		{ "a*b*c", "aXbYc", true },
		{ "a*b*c", "aXcYb", false },
		{ "a*a", "a", false },
		{ "a*a", "aa", true },
		{ "*ab*ab", "ab", false },
		{ "*ab*ab", "abab", true },
		{ "*aab", "aaab", true },
		{ "*a*", "bcd", false },
		{ "a**b", "ab", true },
		{ "a.b", "axb", false },
		{ "a?b", "axb", false },
		{ "[a]", "a", false },
		{ "A*", "abc", false },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (text_glob(slice_str(rows[i].pattern), slice_str(rows[i].text)) != rows[i].want)
			fail_msg("glob \"%s\" on \"%s\"", rows[i].pattern, rows[i].text);
	}
}

/* A backtracking matcher would need longer than the age of the universe. */
static void a_hostile_text_costs_linear_time(void **state)
{
	struct buf pattern = BUF_INIT(MIB(1)), text = BUF_INIT(MIB(1));

	(void)state;
	for (int i = 0; i < 200; i++)
		assert_int_equal(buf_put_str(&pattern, "*aaaaaab", NULL), ERR_OK);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(buf_put_str(&text, "aaaaaa", NULL), ERR_OK);
	assert_false(text_glob(buf_slice(&pattern), buf_slice(&text)));
	buf_done(&pattern);
	buf_done(&text);
}

static void utf8_is_checked_to_the_bit(void **state)
{
	static const struct {
		struct slice in;
		bool want;
	} rows[] = {
#define ROW(s, want) { { (const uint8_t *)("" s), sizeof(s) - 1 }, want }
		ROW("", true),
		ROW("abc\x7f\x00", true),
		ROW("\xc2\x80\xdf\xbf", true),
		ROW("\xe0\xa0\x80\xef\xbf\xbf", true),
		ROW("\xed\x9f\xbf\xee\x80\x80", true),
		ROW("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", true),
		ROW("\x80", false),
		ROW("\xbf", false),
		ROW("\xc0\x80", false),
		ROW("\xc1\xbf", false),
		ROW("\xc2", false),
		ROW("\xc2\x41", false),
		ROW("\xe0\x9f\xbf", false),
		ROW("\xe2\x82", false),
		ROW("\xe2\x82\x41", false),
		ROW("\xed\xa0\x80", false),
		ROW("\xed\xbf\xbf", false),
		ROW("\xf0\x8f\xbf\xbf", false),
		ROW("\xf0\x9f\x98", false),
		ROW("\xf4\x90\x80\x80", false),
		ROW("\xf5\x80\x80\x80", false),
		ROW("\xff", false),
#undef ROW
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(text_is_utf8(rows[i].in), rows[i].want);
}

static void what_people_see_is_plain(void **state)
{
	static const struct {
		const char *in, *want;
		size_t max;
	} rows[] = {
		{ "plain text", "plain text", 64 },
		{ "a\"b\\c", "a\\\"b\\\\c", 64 },
		{ "\x1b[31m\n\x7f", "\\x1b[31m\\x0a\\x7f", 64 },
		{ "\xc3\xa9\xff", "\xc3\xa9\\xff", 64 },
		{ "\xc2\x9b", "\\xc2\\x9b", 64 }, /* a C1 control */
		{ "abcdef", "abc", 4 },
		{ "ab\xc3\xa9", "ab", 4 },
		{ "ab\xc3\xa9", "ab\xc3\xa9", 5 },
		{ "abc", "", 1 },
	};
	char out[64] = "x";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		text_printable(slice_str(rows[i].in), out, rows[i].max);
		assert_string_equal(out, rows[i].want);
	}
	out[0] = 'x';
	text_printable(SLICE_LIT("abc"), out, 0);
	assert_int_equal(out[0], 'x');
}

static void near_names_are_near(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned want;
	} rows[] = {
		{ "", "", 0 },
		{ "retry", "retry", 0 },
		{ "retry", "retri", 1 },
		{ "retry", "rety", 1 },
		{ "retry", "rettry", 1 },
		{ "", "abc", 3 },
		{ "kitten", "sitting", 3 },
		{ "abcd", "efgh", 4 },
		{ "abcdefgh", "stuvwxyz", 4 },
		{ "a", "abcde", 4 },
	};
	char longer[100];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct slice a = slice_str(rows[i].a), b = slice_str(rows[i].b);

		assert_int_equal(text_distance(a, b), rows[i].want);
		assert_int_equal(text_distance(b, a), rows[i].want);
	}
	memset(longer, 'a', sizeof(longer));
	assert_int_equal(text_distance((struct slice){ (uint8_t *)longer, 100 },
				 (struct slice){ (uint8_t *)longer, 100 }),
		0);
	assert_int_equal(text_distance((struct slice){ (uint8_t *)longer, 100 },
				 (struct slice){ (uint8_t *)longer, 99 }),
		4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_star_is_any_run_of_bytes),
		cmocka_unit_test(a_hostile_text_costs_linear_time),
		cmocka_unit_test(utf8_is_checked_to_the_bit),
		cmocka_unit_test(what_people_see_is_plain),
		cmocka_unit_test(near_names_are_near),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
