/* scheme_fill.c - members put into the text of a body, everything else left as it is. */
#include "../../src/scheme/scheme_priv.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	const char *body, *pointer, *value;
	enum err_code want;
	const char *out;
} rows[] = {
	{ "{}", "/a", "1", ERR_OK, "{\"a\":1}" },
	{ " { } ", "/a", "1", ERR_OK, " {\"a\":1 } " },
	{ "{\"b\" : 2 }", "/a", "\"x\"", ERR_OK, "{\"b\" : 2,\"a\":\"x\" }" },
	{ "{\"a\" : 2 }", "/a", "\"x\"", ERR_OK, "{\"a\" : \"x\" }" },
	{ "{\"a\":\"old\",\"b\":[]}", "/a", "\"new\"", ERR_OK, "{\"a\":\"new\",\"b\":[]}" },
	{ "{\"a\":\"\"}", "/a", "7", ERR_OK, "{\"a\":7}" },
	{ "{\"a\":{\"b\":{}}}", "/a/b/c/d", "1", ERR_OK, "{\"a\":{\"b\":{\"c\":{\"d\":1}}}}" },
	{ "{\"a\":{\"b\":1}}", "/a", "null", ERR_OK, "{\"a\":null}" },
	{ "{\"a\":[{},{\"x\":1}]}", "/a/1/y", "2", ERR_OK, "{\"a\":[{},{\"x\":1,\"y\":2}]}" },
	{ "{}", "/a~1b/~0", "1", ERR_OK, "{\"a/b\":{\"~\":1}}" },
	{ "{\"a/b\":{}}", "/a~1b/c", "1", ERR_OK, "{\"a/b\":{\"c\":1}}" },
	{ "{}", "/\"q", "1", ERR_OK, "{\"\\\"q\":1}" },
	{ "{\"a\":1}", "/a/b", "1", ERR_USAGE, NULL },
	{ "{\"a\":null}", "/a/b", "1", ERR_USAGE, NULL },
	{ "{\"a\":[]}", "/a/0", "1", ERR_USAGE, NULL },
	{ "[]", "/a", "1", ERR_USAGE, NULL },
	{ "text", "/a", "1", ERR_USAGE, NULL },
	{ "", "/a", "1", ERR_USAGE, NULL },
	{ "{\"a\":1", "/a", "1", ERR_USAGE, NULL },
};

static void members_find_their_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		struct buf body = BUF_INIT(KIB(4));

		assert_int_equal(buf_put_str(&body, rows[i].body, &err), ERR_OK);
		assert_int_equal(
			fill_member(&body, rows[i].pointer, slice_str(rows[i].value), &err),
			rows[i].want);
		/* Untouched where there is no place. */
		assert_string_equal(buf_str(&body), rows[i].out ? rows[i].out : rows[i].body);
		buf_done(&body);
	}
}

static void a_body_keeps_its_ceiling(void **state)
{
	struct err err = ERR_INIT;
	struct buf body = BUF_INIT(8);

	(void)state;
	assert_int_equal(buf_put_str(&body, "{}", &err), ERR_OK);
	assert_int_equal(fill_member(&body, "/a", SLICE_LIT("12"), &err), ERR_OK);
	assert_int_equal(fill_member(&body, "/a", SLICE_LIT("123"), &err), ERR_LIMIT);
	assert_string_equal(buf_str(&body), "{\"a\":12}");
	buf_done(&body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_find_their_place),
		cmocka_unit_test(a_body_keeps_its_ceiling),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
