/* Unit tests of src/base/json_names.c and of json_path.c without memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "failing.h"

/* The files under test, with allocations that can be made to fail. */
static void *failing_calloc(size_t count, size_t size)
{
	return failing_now() ? NULL : calloc(count, size);
}

static void *failing_malloc(size_t size)
{
	return failing_now() ? NULL : malloc(size);
}
#define calloc failing_calloc
#define malloc failing_malloc
#include "../../src/base/json_names.c"
#include "../../src/base/json_path.c"
#undef calloc
#undef malloc

#define NAME(s, escaped) (&(struct json_name){ SLICE_LIT(s), escaped })

static void names_are_compared_decoded(void **state)
{
	static const struct {
		struct json_name a, b;
		bool want;
	} rows[] = {
#define ROW(a, ea, b, eb, want)                                                                    \
	{ { { (const uint8_t *)("" a), sizeof(a) - 1 }, ea },                                      \
		{ { (const uint8_t *)("" b), sizeof(b) - 1 }, eb }, want }
		ROW("a", false, "a", false, true),
		ROW("a", false, "b", false, false),
		ROW("", false, "", false, true),
		ROW("a", false, "\\u0061", true, true),
		ROW("\\u0061", true, "\\u0061", true, true),
		ROW("\\u00e9", true, "\xc3\xa9", false, true),
		ROW("\\uD83D\\uDE00", true, "\xf0\x9f\x98\x80", false, true),
		ROW("\\ud83d\\ude00x", true, "\\uD83D\\uDE00\\u0078", true, true),
		ROW("\\/", true, "/", false, true),
		ROW("\\\\", true, "\\", false, true),
		ROW("\\\\n", true, "\\n", false, true),
		ROW("\\n", true, "\\n", false, false),
		ROW("\\n", true, "\n", false, true),
		ROW("a\\n", true, "a", false, false),
		ROW("a", false, "a\\n", true, false),
#undef ROW
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(json_name_eq(&rows[i].a, &rows[i].b), rows[i].want);
		assert_int_equal(json_name_eq(&rows[i].b, &rows[i].a), rows[i].want);
		/* A name without escapes never holds a backslash in a text. */
		if (rows[i].want && !memchr(rows[i].b.raw.data, '\\', rows[i].b.raw.len))
			assert_int_equal(hash_name(5, &rows[i].a), hash_name(5, &rows[i].b));
	}
}

static void what_an_earlier_scan_left_is_not_seen(void **state)
{
	struct json_seen *seen;
	uint32_t one, two;

	(void)state;
	for (int scan = 0; scan < 3; scan++) {
		seen = json_seen_begin(100);
		one = json_seen_object(seen);
		two = json_seen_object(seen);
		assert_int_equal(json_seen_add(seen, one, NAME("a", false)), JSON_SEEN_NEW);
		assert_int_equal(json_seen_add(seen, two, NAME("a", false)), JSON_SEEN_NEW);
		assert_int_equal(json_seen_add(seen, one, NAME("a", false)), JSON_SEEN_DUPLICATE);
		assert_int_equal(
			json_seen_add(seen, two, NAME("\\u0061", true)), JSON_SEEN_DUPLICATE);
		json_seen_end(seen);
	}
}

static void object_numbers_start_again(void **state)
{
	struct json_seen *seen;

	(void)state;
	seen = json_seen_begin(100);
	assert_int_equal(
		json_seen_add(seen, json_seen_object(seen), NAME("a", false)), JSON_SEEN_NEW);
	json_seen_end(seen);
	local_seen.next_object = UINT32_MAX / 4 + 1;
	seen = json_seen_begin(100);
	assert_int_equal(seen->first_object, 1);
	assert_int_equal(
		json_seen_add(seen, json_seen_object(seen), NAME("a", false)), JSON_SEEN_NEW);
	json_seen_end(seen);
}

static void without_memory_a_scan_fails_and_the_next_works(void **state)
{
	struct buf text = BUF_INIT(MIB(1));

	(void)state;
	assert_int_equal(buf_put_str(&text, "{", NULL), ERR_OK);
	for (int i = 0; i < 5000; i++)
		assert_int_equal(buf_putf(&text, NULL, "\"k%d\":%d,", i, i), ERR_OK);
	assert_int_equal(buf_put_str(&text, "\"end\":0}", NULL), ERR_OK);
	for (failing_at = 1;; failing_at++) {
		struct err err = ERR_INIT;
		enum err_code rc;

		failing_seen = 0;
		rc = json_scan(buf_slice(&text), NULL, 0, NULL, &err);
		assert_int_equal(rc, err.code);
		if (failing_seen < failing_at) {
			assert_int_equal(rc, ERR_OK);
			break;
		}
		assert_int_equal(rc, ERR_NOMEM);
	}
	assert_true(failing_at > 2);
	failing_at = 0;
	buf_done(&text);
}

static void without_memory_a_pointer_is_not_made(void **state)
{
	(void)state;
	for (failing_at = 1;; failing_at++) {
		struct json_path *path = NULL;
		enum err_code rc;

		failing_seen = 0;
		rc = json_path_open(SLICE_LIT("/a/b"), &path, NULL);
		assert_int_equal(rc == ERR_OK, path != NULL);
		json_path_close(&path);
		if (failing_seen < failing_at)
			break;
		assert_int_equal(rc, ERR_NOMEM);
	}
	assert_int_equal(failing_at, 4);
	failing_at = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_compared_decoded),
		cmocka_unit_test(what_an_earlier_scan_left_is_not_seen),
		cmocka_unit_test(object_numbers_start_again),
		cmocka_unit_test(without_memory_a_scan_fails_and_the_next_works),
		cmocka_unit_test(without_memory_a_pointer_is_not_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
