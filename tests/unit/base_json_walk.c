/* Unit tests of src/base/json_walk.c and json_put.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/json.h"

#include <math.h>

static void elements_come_one_after_the_other(void **state)
{
	static const struct {
		const char *text, *raw[5];
	} rows[] = {
		{ "[]", { NULL } },
		{ " [ ] ", { NULL } },
		{ "[1]", { "1", NULL } },
		{ "[ 1 , \"a,]\\\"\" ,[2,[3]], {\"]\":[ ]} ]",
			{ "1", "a,]\\\"", "[2,[3]]", "{\"]\":[ ]}", NULL } },
		{ "[[],{},\"\"]", { "[]", "{}", "", NULL } },
		{ "[true,null,1.5\n]", { "true", "null", "1.5", NULL } },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct json_value array, element;
		size_t at = 0;

		assert_int_equal(json_get(slice_str(rows[i].text), "", &array, NULL), ERR_OK);
		for (const char *const *raw = rows[i].raw; *raw; raw++) {
			assert_true(json_next(array, &at, &element));
			assert_true(slice_eq_str(element.raw, *raw));
		}
		assert_false(json_next(array, &at, &element));
		assert_false(json_next(array, &at, &element));
	}
}

static void members_come_with_their_names(void **state)
{
	struct slice text =
		SLICE_LIT("{ \"a\" : 1 , \"\\u0062\":\"x\",\"c\":{\"d\":[1,2]},\"\":null }");
	static const char *const want[][2] = { { "a", "1" }, { "\\u0062", "x" },
		{ "c", "{\"d\":[1,2]}" }, { "", "null" } };
	static const enum json_type types[] = { JSON_INTEGER, JSON_STRING, JSON_OBJECT, JSON_NULL };
	struct json_value object, name, value;
	size_t at = 0;

	(void)state;
	assert_int_equal(json_get(text, "", &object, NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		assert_true(json_next_member(object, &at, &name, &value));
		assert_true(slice_eq_str(name.raw, want[i][0]));
		assert_int_equal(name.escaped, i == 1);
		assert_true(slice_eq_str(value.raw, want[i][1]));
		assert_int_equal(value.type, types[i]);
	}
	assert_false(json_next_member(object, &at, &name, &value));
}

static void only_containers_have_something_inside(void **state)
{
	struct json_value value, name, out;
	size_t at = 0;

	(void)state;
	assert_int_equal(json_get(SLICE_LIT("{\"a\":\"[1]\"}"), "/a", &value, NULL), ERR_OK);
	assert_false(json_next(value, &at, &out));
	assert_false(json_next_member(value, &at, &name, &out));
	assert_false(json_next((struct json_value){ .type = JSON_ABSENT }, &at, &out));
}

static void scalars_have_a_text(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "[\"plain\"]", "plain" },
		{ "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", "\"\\/\b\f\n\r\t" },
		{ "[\"\\u0041\\u00e9\\u20AC\\uD83D\\uDE00!\"]",
			"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!" },
		{ "[\"\"]", "" },
		{ "[-12]", "-12" },
		{ "[1.50]", "1.50" },
		{ "[true]", "true" },
		{ "[false]", "false" },
		{ "[null]", "" },
		{ "[]", "" },
		{ "[[1, 2]]", "[1, 2]" },
		{ "[{\"a\": 1}]", "{\"a\": 1}" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf out = BUF_INIT(100);
		struct json_value value;

		assert_int_equal(json_get(slice_str(rows[i].in), "/0", &value, NULL), ERR_OK);
		assert_int_equal(json_text(value, &out, NULL), ERR_OK);
		assert_string_equal(buf_str(&out), rows[i].want);
		buf_done(&out);
	}
}

static void a_text_that_does_not_fit_leaves_nothing(void **state)
{
	struct buf out = BUF_INIT(4);
	struct json_value value;

	(void)state;
	assert_int_equal(json_get(SLICE_LIT("[\"a\\nbc\"]"), "/0", &value, NULL), ERR_OK);
	assert_int_equal(json_text(value, &out, NULL), ERR_OK);
	assert_string_equal(buf_str(&out), "a\nbc");
	buf_reset(&out);
	assert_int_equal(buf_put_str(&out, "-", NULL), ERR_OK);
	assert_int_equal(json_text(value, &out, NULL), ERR_LIMIT);
	assert_string_equal(buf_str(&out), "-");
	buf_done(&out);
}

static void writers_make_an_object(void **state)
{
	struct buf out = BUF_INIT(1000);

	(void)state;
	assert_int_equal(buf_put_str(&out, "{", NULL), ERR_OK);
	assert_int_equal(json_put_str(&out, "s", SLICE_LIT("a\"b"), NULL), ERR_OK);
	assert_int_equal(json_put_str(&out, "none", SLICE_EMPTY, NULL), ERR_OK);
	assert_int_equal(json_put_int(&out, "i", INT64_MIN, NULL), ERR_OK);
	assert_int_equal(json_put_bool(&out, "t", true, NULL), ERR_OK);
	assert_int_equal(json_put_bool(&out, "f", false, NULL), ERR_OK);
	assert_int_equal(json_put_raw(&out, "r", SLICE_LIT("[1]"), NULL), ERR_OK);
	assert_int_equal(json_put_name(&out, "o", NULL), ERR_OK);
	assert_int_equal(buf_put_str(&out, "{", NULL), ERR_OK);
	assert_int_equal(json_put_int(&out, "x", 1, NULL), ERR_OK);
	assert_int_equal(buf_put_str(&out, "}}", NULL), ERR_OK);
	assert_string_equal(buf_str(&out),
		"{\"s\":\"a\\\"b\",\"none\":null,\"i\":-9223372036854775808,\"t\":true,"
		"\"f\":false,\"r\":[1],\"o\":{\"x\":1}}");
	assert_int_equal(json_scan(buf_slice(&out), NULL, 0, NULL, NULL), ERR_OK);
	buf_done(&out);
}

static void numbers_have_at_most_six_digits_behind_the_dot(void **state)
{
	static const struct {
		double in;
		const char *want;
	} rows[] = {
		{ 0, "\"n\":0" },
		{ 1.5, "\"n\":1.5" },
		{ -2.25, "\"n\":-2.25" },
		{ 1000000, "\"n\":1000000" },
		{ 0.1 + 0.2, "\"n\":0.3" },
		{ 1e-9, "\"n\":0" },
		{ 123456789.125, "\"n\":123456789.125" },
		{ (double)NAN, "\"n\":null" },
		{ -(double)INFINITY, "\"n\":null" },
	};
	struct buf out = BUF_INIT(400);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		buf_reset(&out);
		assert_int_equal(json_put_num(&out, "n", rows[i].in, NULL), ERR_OK);
		assert_string_equal(buf_str(&out), rows[i].want);
	}
	buf_reset(&out);
	assert_int_equal(json_put_num(&out, "n", 1.7976931348623157e308, NULL), ERR_OK);
	assert_int_equal(out.len, 4 + 309);
	buf_done(&out);
}

static void strings_are_escaped_and_made_utf8(void **state)
{
	static const struct {
		struct slice in;
		const char *want;
	} rows[] = {
		{ { (const uint8_t *)"\"\\/\b\f\n\r\t", 8 }, "\"\\\"\\\\/\\b\\f\\n\\r\\t\"" },
		{ { (const uint8_t *)"\0\x1f\x7f", 3 }, "\"\\u0000\\u001f\\u007f\"" },
		{ { (const uint8_t *)"\xc3\xa9\xf0\x9f\x98\x80", 6 },
			"\"\xc3\xa9\xf0\x9f\x98\x80\"" },
		{ { (const uint8_t *)"a\xff\xc3", 3 }, "\"a\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ { (const uint8_t *)"", 0 }, "\"\"" },
		{ { NULL, 0 }, "null" },
	};
	struct buf out = BUF_INIT(100);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		buf_reset(&out);
		assert_int_equal(json_put_string(&out, rows[i].in, NULL), ERR_OK);
		assert_string_equal(buf_str(&out), rows[i].want);
	}
	buf_done(&out);
}

static void what_does_not_fit_is_not_begun(void **state)
{
	(void)state;
	for (size_t max = 1; max < 14; max++) {
		struct buf out = BUF_INIT(max);
		struct err err = ERR_INIT;
		enum err_code rc;

		assert_int_equal(buf_put_str(&out, "{", NULL), ERR_OK);
		rc = json_put_str(&out, "ab", SLICE_LIT("c\nd"), &err);
		assert_int_equal(rc, max < 12 ? ERR_LIMIT : ERR_OK);
		assert_string_equal(buf_str(&out), rc == ERR_OK ? "{\"ab\":\"c\\nd\"" : "{");
		buf_done(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(elements_come_one_after_the_other),
		cmocka_unit_test(members_come_with_their_names),
		cmocka_unit_test(only_containers_have_something_inside),
		cmocka_unit_test(scalars_have_a_text),
		cmocka_unit_test(a_text_that_does_not_fit_leaves_nothing),
		cmocka_unit_test(writers_make_an_object),
		cmocka_unit_test(numbers_have_at_most_six_digits_behind_the_dot),
		cmocka_unit_test(strings_are_escaped_and_made_utf8),
		cmocka_unit_test(what_does_not_fit_is_not_begun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
