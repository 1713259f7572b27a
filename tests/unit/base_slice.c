/* Unit tests of src/base/slice.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/buf.h"

#include <stdlib.h>

static void equality_looks_at_all_bytes(void **state)
{
	(void)state;
	assert_true(slice_eq(SLICE_EMPTY, SLICE_LIT("")));
	assert_true(slice_eq(SLICE_LIT("a\0b"), SLICE_LIT("a\0b")));
	assert_false(slice_eq(SLICE_LIT("a\0b"), SLICE_LIT("a\0c")));
	assert_false(slice_eq(SLICE_LIT("ab"), SLICE_LIT("a")));
	assert_true(slice_eq_str(SLICE_LIT("ab"), "ab"));
	assert_true(slice_eq_str(SLICE_EMPTY, NULL));
	assert_true(slice_eq_nocase(SLICE_LIT("X-SignaTure"), SLICE_LIT("x-sIgnature")));
	assert_false(slice_eq_nocase(SLICE_LIT("a"), SLICE_LIT("ab")));
	assert_false(slice_eq_nocase(SLICE_LIT("@"), SLICE_LIT("`")));
	assert_false(slice_eq_nocase(SLICE_LIT("\xc4"), SLICE_LIT("\xe4")));
}

static void order_is_by_bytes_and_shorter_first(void **state)
{
	static const char *const rising[] = { "", "a", "aa", "ab", "b", "\x80" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rising); i++) {
		for (size_t j = 0; j < ARRAY_LEN(rising); j++) {
			int order = slice_cmp(slice_str(rising[i]), slice_str(rising[j]));

			assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
		}
	}
}

static void cutting_never_leaves_the_slice(void **state)
{
	struct slice s = SLICE_LIT("hello");

	(void)state;
	assert_true(slice_eq_str(slice_sub(s, 0, 5), "hello"));
	assert_true(slice_eq_str(slice_sub(s, 1, 3), "ell"));
	assert_true(slice_eq_str(slice_sub(s, 4, SIZE_MAX), "o"));
	assert_true(slice_eq_str(slice_sub(s, 5, 1), ""));
	assert_ptr_equal(slice_sub(s, 99, 1).data, s.data + 5);
	assert_null(slice_sub(SLICE_EMPTY, 1, 1).data);
	assert_true(slice_eq_str(slice_trim(SLICE_LIT(" \t a b\t ")), "a b"));
	assert_true(slice_eq_str(slice_trim(SLICE_LIT(" \t ")), ""));
	assert_true(slice_eq_str(slice_trim(SLICE_LIT("\na ")), "\na"));
	assert_true(slice_starts(s, SLICE_LIT("he")));
	assert_true(slice_starts(s, SLICE_EMPTY));
	assert_false(slice_starts(s, SLICE_LIT("hello!")));
}

static void searching_gives_the_length_when_there_is_none(void **state)
{
	struct slice s = SLICE_LIT("a=b=c");

	(void)state;
	assert_int_equal(slice_find(s, '='), 1);
	assert_int_equal(slice_find(s, 'x'), 5);
	assert_int_equal(slice_find(SLICE_EMPTY, 'x'), 0);
	assert_int_equal(slice_search(s, SLICE_LIT("=c")), 3);
	assert_int_equal(slice_search(s, SLICE_LIT("=d")), 5);
	assert_int_equal(slice_search(s, SLICE_EMPTY), 0);
	assert_int_equal(slice_search(SLICE_EMPTY, SLICE_LIT("a")), 0);
}

static void a_copy_ends_with_a_nul(void **state)
{
	char *copy = slice_dup_str(slice_sub(SLICE_LIT("hello"), 1, 3));
	char *empty = slice_dup_str(SLICE_EMPTY);

	(void)state;
	assert_non_null(copy);
	assert_non_null(empty);
	assert_string_equal(copy, "ell");
	assert_string_equal(empty, "");
	free(copy);
	free(empty);
}

/* Every pair of bytes at every place of every short length, the rest being equal but for case. */
static void case_is_ignored_of_letters_alone(void **state)
{
	(void)state;
	for (size_t len = 1; len <= 26; len += 5) {
		uint8_t a[32], b[32];

		for (size_t i = 0; i < len; i++) {
			a[i] = (uint8_t)("aZ09-m"[i % 6]);
			b[i] = (uint8_t)("Az09-M"[i % 6]);
		}
		for (unsigned pair = 0; pair < 0x10000; pair++) {
			uint8_t x = (uint8_t)(pair >> 8), y = (uint8_t)pair;
			uint8_t low = (uint8_t)(x | 0x20);
			bool letters = low >= 'a' && low <= 'z' && low == (y | 0x20);
			size_t at = pair % len;
			uint8_t kept_a = a[at], kept_b = b[at];

			a[at] = x;
			b[at] = y;
			assert_int_equal(
				slice_eq_nocase((struct slice){ a, len }, (struct slice){ b, len }),
				x == y || letters);
			a[at] = kept_a;
			b[at] = kept_b;
		}
	}
	assert_true(slice_eq_nocase(SLICE_EMPTY, SLICE_LIT("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(case_is_ignored_of_letters_alone),
		cmocka_unit_test(equality_looks_at_all_bytes),
		cmocka_unit_test(order_is_by_bytes_and_shorter_first),
		cmocka_unit_test(cutting_never_leaves_the_slice),
		cmocka_unit_test(searching_gives_the_length_when_there_is_none),
		cmocka_unit_test(a_copy_ends_with_a_nul),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
