/* Unit tests of src/base/json_scan.c, json_lex.c and json_path.c. What is good JSON at all is
 * compared with jansson by tests/fuzz/json.c and its corpus; here are results, messages and limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/json.h"

static void pointers_lead_to_values(void **state)
{
	static const char text[] =
		"{\"a\":{\"b\":[10,-2.5e3,{\"c\":\"x\\ny\"},[]]},\"\":{\"\":true},\"m/n\":false,"
		"\"~\":null,\"0\":{\"1\":7},\"k\\u00e9y\":\"v\",\"~1\":8}";
	static const struct {
		const char *pointer;
		enum json_type type;
		const char *raw;
	} rows[] = {
		{ "/a/b/0", JSON_INTEGER, "10" }, { "/a/b/1", JSON_REAL, "-2.5e3" },
		{ "/a/b/2", JSON_OBJECT, "{\"c\":\"x\\ny\"}" },
		{ "/a/b/2/c", JSON_STRING, "x\\ny" }, { "/a/b/3", JSON_ARRAY, "[]" },
		{ "/a/b", JSON_ARRAY, "[10,-2.5e3,{\"c\":\"x\\ny\"},[]]" },
		{ "/", JSON_OBJECT, "{\"\":true}" }, { "//", JSON_TRUE, "true" },
		{ "/m~1n", JSON_FALSE, "false" }, { "/~0", JSON_NULL, "null" },
		{ "/~01", JSON_INTEGER, "8" }, { "/0", JSON_OBJECT, "{\"1\":7}" },
		{ "/0/1", JSON_INTEGER, "7" }, { "/k\xc3\xa9y", JSON_STRING, "v" },
		{ "", JSON_OBJECT, text }, { "/a/b/4", JSON_ABSENT, "" },
		{ "/a/b/-", JSON_ABSENT, "" }, { "/a/b/00", JSON_ABSENT, "" },
		{ "/a/b/01", JSON_ABSENT, "" }, { "/a/b/+1", JSON_ABSENT, "" },
		{ "/a/b/18446744073709551616", JSON_ABSENT, "" },
		{ "/a/b/18446744073709551615", JSON_ABSENT, "" }, { "/a/b/", JSON_ABSENT, "" },
		{ "/a/b/0/0", JSON_ABSENT, "" }, { "/a/b/2/c/0", JSON_ABSENT, "" },
		{ "/nothing", JSON_ABSENT, "" }, { "/a/", JSON_ABSENT, "" },
		{ "/a/b/0", JSON_INTEGER, "10" }, /* twice */
	};
	struct json_path *paths[ARRAY_LEN(rows)];
	struct json_value out[ARRAY_LEN(rows)];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(
			json_path_open(slice_str(rows[i].pointer), &paths[i], NULL), ERR_OK);
	assert_int_equal(json_scan(slice_str(text), paths, ARRAY_LEN(rows), out, NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(out[i].type, rows[i].type);
		assert_true(slice_eq_str(out[i].raw, rows[i].raw));
		assert_int_equal(out[i].escaped,
			rows[i].type == JSON_STRING && strchr(rows[i].raw, '\\') != NULL);
		json_path_close(&paths[i]);
		assert_null(paths[i]);
	}
}

static void a_pointer_has_one_form(void **state)
{
	static const char *const bad[] = { "a", "a/b", "/~", "/~2", "/a~", "/~/", "/\xff", "#/a" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct json_path *path = NULL;
		struct err err = ERR_INIT;

		assert_int_equal(json_path_open(slice_str(bad[i]), &path, &err), ERR_SYNTAX);
		assert_int_equal(err.code, ERR_SYNTAX);
		assert_null(path);
		json_path_close(&path);
	}
}

static void all_64_pointers_at_once(void **state)
{
	struct json_path *paths[JSON_PATHS_MAX];
	struct json_value out[JSON_PATHS_MAX];
	struct buf text = BUF_INIT(KIB(4)), pointer = BUF_INIT(64);

	(void)state;
	assert_int_equal(buf_put_str(&text, "[", NULL), ERR_OK);
	for (size_t i = 0; i < JSON_PATHS_MAX; i++) {
		buf_reset(&pointer);
		assert_int_equal(buf_putf(&text, NULL, "%s%zu", i ? "," : "", i * 3), ERR_OK);
		assert_int_equal(buf_putf(&pointer, NULL, "/%zu", i), ERR_OK);
		assert_int_equal(json_path_open(buf_slice(&pointer), &paths[i], NULL), ERR_OK);
	}
	assert_int_equal(buf_put_str(&text, "]", NULL), ERR_OK);
	assert_int_equal(json_scan(buf_slice(&text), paths, JSON_PATHS_MAX, out, NULL), ERR_OK);
	for (size_t i = 0; i < JSON_PATHS_MAX; i++) {
		buf_reset(&pointer);
		assert_int_equal(buf_putf(&pointer, NULL, "%zu", i * 3), ERR_OK);
		assert_true(slice_eq(out[i].raw, buf_slice(&pointer)));
		json_path_close(&paths[i]);
	}
	buf_done(&text);
	buf_done(&pointer);
}

static void failures_name_the_place_and_change_nothing(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "", "JSON, line 1, column 1: neither an object nor an array" },
		{ " 7", "JSON, line 1, column 2: neither an object nor an array" },
		{ "{\n \"a\": nul\n}", "JSON, line 2, column 7: not a value" },
		{ "{\"a\":1,\n\n  \"a\":2}", "JSON, line 3, column 4: a member twice" },
		{ "[1,2", "JSON, line 1, column 5: ',' or ']' is missing" },
		{ "{\"a\":1", "JSON, line 1, column 7: ',' or '}' is missing" },
		{ "{\"a\"", "JSON, line 1, column 5: ':' is missing" },
		{ "{\"a\":", "JSON, line 1, column 6: a value is missing" },
		{ "{a", "JSON, line 1, column 2: a member name is missing" },
		{ "[\"a", "JSON, line 1, column 4: a string without end" },
		{ "[\"a\\", "JSON, line 1, column 5: a string without end" },
		{ "[\"\\x\"]", "JSON, line 1, column 4: unknown escape" },
		{ "[\"\\u12\"]", "JSON, line 1, column 5: broken \\u escape" },
		{ "[\"\\u0000\"]", "JSON, line 1, column 5: \\u0000 in a string" },
		{ "[\"\xff\"]", "JSON, line 1, column 3: not UTF-8" },
		{ "[\"\n\"]", "JSON, line 1, column 3: control character in a string" },
		{ "[01]", "JSON, line 1, column 4: not a number" },
		{ "[1.]", "JSON, line 1, column 4: a number ends with its dot" },
		{ "[1e]", "JSON, line 1, column 4: a number without its exponent" },
		{ "[] []", "JSON, line 1, column 4: something behind the end" },
		{ "\xef\xbb\xbf{}", "JSON, line 1, column 1: neither an object nor an array" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		struct json_value out = { .type = JSON_TRUE };

		assert_int_equal(json_get(slice_str(rows[i].in), "", &out, &err), ERR_SYNTAX);
		assert_string_equal(err.text, rows[i].want);
		assert_int_equal(out.type, JSON_TRUE);
	}
	assert_int_equal(json_scan(SLICE_EMPTY, NULL, 0, NULL, NULL), ERR_SYNTAX);
	assert_int_equal(json_scan(SLICE_LIT("{}"), NULL, 0, NULL, NULL), ERR_OK);
}

/* Put `text` n times, with `between` in between. */
static void put_times(struct buf *out, const char *text, const char *between, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(buf_put_str(out, i ? between : "", NULL), ERR_OK);
		assert_int_equal(buf_put_str(out, text, NULL), ERR_OK);
	}
}

static void depth_is_limited(void **state)
{
	(void)state;
	for (size_t depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX + 1; depth++) {
		struct buf text = BUF_INIT(KIB(1));
		struct err err = ERR_INIT;

		put_times(&text, "{\"a\":[", "", depth / 2);
		put_times(&text, "[", "", depth % 2);
		put_times(&text, "]", "", depth % 2);
		put_times(&text, "]}", "", depth / 2);
		assert_int_equal(json_scan(buf_slice(&text), NULL, 0, NULL, &err),
			depth <= JSON_DEPTH_MAX ? ERR_OK : ERR_LIMIT);
		buf_done(&text);
	}
}

static void structure_is_limited(void **state)
{
	(void)state;
	for (size_t n = JSON_STRUCTURE_MAX - 1; n <= JSON_STRUCTURE_MAX + 1; n++) {
		struct buf text = BUF_INIT(MIB(4));

		/* The bracket and n - 1 commas. */
		assert_int_equal(buf_put_str(&text, "[", NULL), ERR_OK);
		put_times(&text, "\"[,{\"", ",", n);
		assert_int_equal(buf_put_str(&text, "]", NULL), ERR_OK);
		assert_int_equal(json_scan(buf_slice(&text), NULL, 0, NULL, NULL),
			n <= JSON_STRUCTURE_MAX ? ERR_OK : ERR_LIMIT);
		buf_done(&text);
	}
}

static void numbers_are_limited(void **state)
{
	(void)state;
	for (size_t len = JSON_NUMBER_MAX - 1; len <= JSON_NUMBER_MAX + 1; len++) {
		struct buf text = BUF_INIT(KIB(2));

		assert_int_equal(buf_put_str(&text, "[0.", NULL), ERR_OK);
		put_times(&text, "3", "", len - 2);
		assert_int_equal(buf_put_str(&text, "]", NULL), ERR_OK);
		assert_int_equal(json_scan(buf_slice(&text), NULL, 0, NULL, NULL),
			len <= JSON_NUMBER_MAX ? ERR_OK : ERR_LIMIT);
		buf_done(&text);
	}
}

/* Amounts in the smallest unit of a currency have more digits than an int64: they are valid, are
 * told apart from integers, and keep the digits that they were written with. */
static void numbers_may_be_of_any_size(void **state)
{
	static const struct {
		const char *number;
		enum json_type want;
	} rows[] = {
		{ "9223372036854775807", JSON_INTEGER },
		{ "9223372036854775808", JSON_REAL },
		{ "-9223372036854775808", JSON_INTEGER },
		{ "-9223372036854775809", JSON_REAL },
		{ "18446744073709551616", JSON_REAL },
		{ "99999999999999999999999999999999", JSON_REAL },
		{ "-0", JSON_INTEGER },
		{ "1e999", JSON_REAL },
		{ "-1E+400", JSON_REAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf text = BUF_INIT(KIB(1));
		struct json_value found, list, walked;
		size_t at = 0;

		assert_int_equal(buf_putf(&text, NULL, "[%s]", rows[i].number), ERR_OK);
		assert_int_equal(json_get(buf_slice(&text), "/0", &found, NULL), ERR_OK);
		assert_int_equal(json_get(buf_slice(&text), "", &list, NULL), ERR_OK);
		assert_true(json_next(list, &at, &walked));
		assert_int_equal(found.type, rows[i].want);
		assert_int_equal(walked.type, rows[i].want);
		assert_true(slice_eq_str(found.raw, rows[i].number));
		buf_done(&text);
	}
}

static void a_duplicate_is_found_among_many(void **state)
{
	(void)state;
	/* The table starts local and moves to the heap; the duplicate is of the first and of the
	 * last. */
	for (size_t n = 1; n <= 8000; n = n * 2 + 1) {
		struct buf text = BUF_INIT(MIB(1));
		size_t len;

		assert_int_equal(buf_put_str(&text, "{", NULL), ERR_OK);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(
				buf_putf(&text, NULL, "%s\"k%zu\":{\"a\":0}", i ? "," : "", i),
				ERR_OK);
		len = text.len;
		assert_int_equal(buf_put_str(&text, "}", NULL), ERR_OK);
		assert_int_equal(json_scan(buf_slice(&text), NULL, 0, NULL, NULL), ERR_OK);
		text.len = len;
		assert_int_equal(buf_put_str(&text, ",\"\\u006b0\":1}", NULL), ERR_OK);
		assert_int_equal(json_scan(buf_slice(&text), NULL, 0, NULL, NULL), ERR_SYNTAX);
		text.len = len;
		assert_int_equal(buf_putf(&text, NULL, ",\"k%zu\":1}", n - 1), ERR_OK);
		assert_int_equal(json_scan(buf_slice(&text), NULL, 0, NULL, NULL), ERR_SYNTAX);
		buf_done(&text);
	}
}

static void a_value_is_on_its_line(void **state)
{
	struct slice text = SLICE_LIT("{\n\"a\": 1,\n\n\"b\": [\n2,\n\"x\"]}\n");

	(void)state;
	assert_int_equal(json_line(text, ""), 1);
	assert_int_equal(json_line(text, "/a"), 2);
	assert_int_equal(json_line(text, "/b"), 4);
	assert_int_equal(json_line(text, "/b/1"), 6);
	assert_int_equal(json_line(text, "/c"), 0);
	assert_int_equal(json_line(text, "c"), 0);
	assert_int_equal(json_line(SLICE_LIT("{"), ""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pointers_lead_to_values),
		cmocka_unit_test(a_pointer_has_one_form),
		cmocka_unit_test(all_64_pointers_at_once),
		cmocka_unit_test(failures_name_the_place_and_change_nothing),
		cmocka_unit_test(depth_is_limited),
		cmocka_unit_test(structure_is_limited),
		cmocka_unit_test(numbers_are_limited),
		cmocka_unit_test(numbers_may_be_of_any_size),
		cmocka_unit_test(a_duplicate_is_found_among_many),
		cmocka_unit_test(a_value_is_on_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
