/* config_scan.c - lines of values, comments blanked out, the member at an offset. */
#include "../../src/config/config_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* The text without blanks; what is blanked out keeps its length and its line breaks. */
static void squeeze(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (*from != ' ')
			*to++ = *from;
	}
	*to = '\0';
}

static void lines_of_all_values(void **state)
{
	static const struct {
		const char *text, *left;
		unsigned lines[8];
		size_t count;
	} rows[] = {
		{ "1", "1", { 1 }, 1 },
		{ "\n\n{}", "\n\n{}", { 3 }, 1 },
		{ "{\"a\":\n1,\"b\":[\n2,\n\"x\\\"]\"]}", "{\"a\":\n1,\"b\":[\n2,\n\"x\\\"]\"]}",
			{ 1, 2, 2, 3, 4 }, 5 },
		{ "{\"//\":1,\"a\":2}", "{\"a\":2}", { 1, 1 }, 2 },
		{ "{\"a\":2,\"//\":[1,\n{\"x\":\"}\"}]}", "{\"a\":2\n}", { 1, 1 }, 2 },
		{ "{\"//\":1,\"//\":2}", "{}", { 1 }, 1 },
		{ "{\"a\":1,\"//\":1 , \"//\":2 }", "{\"a\":1}", { 1, 1 }, 2 },
		{ "{\"a\":1,\"//\":1,\"b\":2,\"//x\":2}", "{\"a\":1,\"b\":2}", { 1, 1, 1 }, 3 },
		{ "{\"\\/\\/\":1}", "{}", { 1 }, 1 },
		{ "{\"/\":1,\"a//\":[true,null]}", "{\"/\":1,\"a//\":[true,null]}",
			{ 1, 1, 1, 1, 1 }, 5 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *text = strdup(rows[i].text);
		unsigned *lines = NULL;
		size_t count = 0;

		assert_non_null(text);
		assert_int_equal(scan_lines(text, strlen(text), &lines, &count, NULL), ERR_OK);
		assert_int_equal(strlen(text), strlen(rows[i].text));
		squeeze(text);
		assert_string_equal(text, rows[i].left);
		assert_int_equal(count, rows[i].count);
		for (size_t j = 0; j < count; j++)
			assert_int_equal(lines[j], rows[i].lines[j]);
		free(lines);
		free(text);
	}
}

static void texts_that_end_early_are_not_read_past(void **state)
{
	static const char whole[] = "{\"a\":[1,\"x\\\\\",{\"//\":[2]}],\"//b\":{\"c\":\"\\\"\"}}";

	(void)state;
	for (size_t len = 0; len < sizeof(whole); len++) {
		char *text = malloc(len + 1); /* so that a sanitizer sees a step too far */
		unsigned *lines = NULL;
		size_t count = 0;

		assert_non_null(text);
		memcpy(text, whole, len);
		assert_int_equal(scan_lines(text, len, &lines, &count, NULL), ERR_OK);
		free(lines);
		free(text);
	}
}

static void the_member_at_an_offset(void **state)
{
	static const struct {
		size_t offset;
		const char *pointer;
	} rows[] = {
		{ 0, "" },
		{ 2, "/a" },
		{ 7, "/a/b" },
		{ 16, "/a/c~1~0/0" },
		{ 99, "/d/1/e" },
	};
	char text[] = "{\"a\":{\"b\":1,\"c/~\":[2]},\"d\":[3,{\"e\":4}]}";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf out = BUF_INIT(KIB(1));
		size_t offset = rows[i].offset;

		if (rows[i].offset == 16)
			offset = (size_t)(strchr(text, '2') - text) + 1;
		assert_int_equal(scan_pointer_at(text, strlen(text), offset, &out, NULL), ERR_OK);
		assert_string_equal(buf_str(&out), rows[i].pointer);
		buf_done(&out);
	}
}

static void depth_has_a_limit(void **state)
{
	char text[2 * CONFIG_DEPTH_MAX + 2];
	unsigned *lines = NULL;
	struct err err = ERR_INIT;
	size_t count = 0;

	(void)state;
	for (size_t depth = CONFIG_DEPTH_MAX; depth <= CONFIG_DEPTH_MAX + 1; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		if (depth > CONFIG_DEPTH_MAX) {
			assert_int_equal(
				scan_lines(text, 2 * depth, &lines, &count, &err), ERR_LIMIT);
			break;
		}
		assert_int_equal(scan_lines(text, 2 * depth, &lines, &count, NULL), ERR_OK);
		assert_int_equal(count, depth);
		free(lines);
		lines = NULL;
	}
	assert_null(lines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_all_values),
		cmocka_unit_test(texts_that_end_early_are_not_read_past),
		cmocka_unit_test(the_member_at_an_offset),
		cmocka_unit_test(depth_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
