/* Unit tests of src/base/text_code.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/text.h"

struct row {
	struct slice in;
	enum err_code want;
	struct slice out;
};
#define ROW(in, want, out)                                                                         \
	{                                                                                          \
		SLICE_LIT_(in), want, SLICE_LIT_(out)                                              \
	}
#define SLICE_LIT_(s)                                                                              \
	{                                                                                          \
		(const uint8_t *)("" s), sizeof(s) - 1                                             \
	}

typedef enum err_code decode_function(struct slice s, struct buf *out, struct err *err);

/* Decodes behind bytes that are already there, which stay. */
static void check(const struct row *rows, size_t count, decode_function *decode, size_t max)
{
	for (size_t i = 0; i < count; i++) {
		struct buf out = BUF_INIT(max + 1);
		struct err err = ERR_INIT;

		assert_int_equal(buf_put_str(&out, ">", NULL), ERR_OK);
		assert_int_equal(decode(rows[i].in, &out, &err), rows[i].want);
		assert_int_equal(err.code, rows[i].want);
		assert_int_equal(out.len, 1 + rows[i].out.len);
		assert_int_equal(out.data[0], '>');
		assert_memory_equal(out.data + 1, rows[i].out.data, rows[i].out.len + 1);
		buf_done(&out);
	}
}

static void hex_is_pairs_of_either_case(void **state)
{
	static const struct row rows[] = {
		ROW("", ERR_OK, ""), ROW("00fFAb", ERR_OK, "\x00\xff\xab"),
		ROW("0", ERR_SYNTAX, ""), ROW("0g", ERR_SYNTAX, ""), ROW("g0", ERR_SYNTAX, ""),
		ROW("00 1", ERR_SYNTAX, ""), ROW("0x00", ERR_SYNTAX, ""),
		ROW("00112233", ERR_OK, "\x00\x11\x22\x33"),
		ROW("0011223344", ERR_LIMIT, ""), /* one byte past the limit */
	};
	char text[7];

	(void)state;
	check(rows, ARRAY_LEN(rows), text_hex_decode, 4);
	text_hex((const uint8_t *)"\x00\xff\x9a", 3, text);
	assert_string_equal(text, "00ff9a");
}

static void base64_has_one_form(void **state)
{
	static const struct row rows[] = {
		/* RFC 4648, section 10, with and without padding */
		ROW("", ERR_OK, ""), ROW("Zg==", ERR_OK, "f"), ROW("Zm8=", ERR_OK, "fo"),
		ROW("Zm9v", ERR_OK, "foo"), ROW("Zm9vYg==", ERR_OK, "foob"),
		ROW("Zm9vYmE=", ERR_OK, "fooba"), ROW("Zm9vYmFy", ERR_OK, "foobar"),
		ROW("Zg", ERR_OK, "f"), ROW("Zm8", ERR_OK, "fo"), ROW("Zm9vYg", ERR_OK, "foob"),
		ROW("+/+/", ERR_OK, "\xfb\xff\xbf"), ROW("Zg=", ERR_SYNTAX, ""),
		ROW("Zg===", ERR_SYNTAX, ""), ROW("Zm8==", ERR_SYNTAX, ""),
		ROW("Zm9v=", ERR_SYNTAX, ""), ROW("Zm9v====", ERR_SYNTAX, ""),
		ROW("Z===", ERR_SYNTAX, ""), ROW("====", ERR_SYNTAX, ""), ROW("=", ERR_SYNTAX, ""),
		ROW("Z", ERR_SYNTAX, ""), ROW("Zm9vY", ERR_SYNTAX, ""),
		ROW("Zh==", ERR_SYNTAX, ""), /* bits left over */
		ROW("Zm9=", ERR_SYNTAX, ""), ROW("Zh", ERR_SYNTAX, ""), ROW("-_-_", ERR_SYNTAX, ""),
		ROW("Zg =", ERR_SYNTAX, ""), ROW("Zm9v\n", ERR_SYNTAX, ""),
		ROW("Zg==Zg==", ERR_SYNTAX, ""),
		ROW("Zm9vYmFyYg==", ERR_LIMIT, ""), /* one byte past the limit */
	};
	(void)state;
	check(rows, ARRAY_LEN(rows), text_base64_decode, 6);
}

static void base64_is_written_padded(void **state)
{
	static const struct row rows[] = {
		ROW("", ERR_OK, ""),
		ROW("f", ERR_OK, "Zg=="),
		ROW("fo", ERR_OK, "Zm8="),
		ROW("foo", ERR_OK, "Zm9v"),
		ROW("foobar", ERR_OK, "Zm9vYmFy"),
		ROW("\xff\xfe", ERR_OK, "//4="),
		ROW("foobarx", ERR_LIMIT, ""),
	};
	(void)state;
	check(rows, ARRAY_LEN(rows), text_base64, 8);
}

static void base64url_has_one_form(void **state)
{
	static const struct row rows[] = {
		ROW("", ERR_OK, ""),
		ROW("Zg", ERR_OK, "f"),
		ROW("Zm9vYmE", ERR_OK, "fooba"),
		ROW("-_-_", ERR_OK, "\xfb\xff\xbf"),
		ROW("Zg==", ERR_SYNTAX, ""),
		ROW("Z", ERR_SYNTAX, ""),
		ROW("Zh", ERR_SYNTAX, ""),
		ROW("+/+/", ERR_SYNTAX, ""),
		ROW("Zg ", ERR_SYNTAX, ""),
		ROW("Zg\n", ERR_SYNTAX, ""),
	};
	static const struct row written[] = {
		ROW("", ERR_OK, ""),
		ROW("f", ERR_OK, "Zg"),
		ROW("\xfb\xff\xbf", ERR_OK, "-_-_"),
		ROW("foobarx", ERR_LIMIT, ""),
	};
	(void)state;
	check(rows, ARRAY_LEN(rows), text_base64url_decode, 6);
	check(written, ARRAY_LEN(written), text_base64url, 8);
}

static enum err_code encode_keeping_slash(struct slice s, struct buf *out, struct err *err)
{
	return text_percent_encode(s, "/", out, err);
}

static enum err_code decode_path(struct slice s, struct buf *out, struct err *err)
{
	return text_percent_decode(s, false, out, err);
}

static enum err_code decode_form(struct slice s, struct buf *out, struct err *err)
{
	return text_percent_decode(s, true, out, err);
}

static void percent_encoding_keeps_what_it_is_told(void **state)
{
	static const struct row rows[] = {
		ROW("", ERR_OK, ""),
		ROW("aZ09-._~", ERR_OK, "aZ09-._~"),
		ROW("a/b c%", ERR_OK, "a/b%20c%25"),
		ROW("\x00\xff", ERR_OK, "%00%FF"),
		ROW("aaaaaaaaa  ", ERR_LIMIT, ""),
	};
	(void)state;
	check(rows, ARRAY_LEN(rows), encode_keeping_slash, 14);
}

static void percent_decoding_refuses_broken_escapes(void **state)
{
	static const struct row rows[] = {
		ROW("", ERR_OK, ""),
		ROW("a%20b%2Fc%2f+", ERR_OK, "a b/c/+"),
		ROW("%00%fF", ERR_OK, "\x00\xff"),
		ROW("%41", ERR_OK, "A"),
		ROW("%", ERR_SYNTAX, ""),
		ROW("%4", ERR_SYNTAX, ""),
		ROW("a%4", ERR_SYNTAX, ""),
		ROW("%4g", ERR_SYNTAX, ""),
		ROW("%%41", ERR_SYNTAX, ""),
	};
	static const struct row form[] = {
		ROW("a+b%2B", ERR_OK, "a b+"),
	};
	(void)state;
	check(rows, ARRAY_LEN(rows), decode_path, 32);
	check(form, ARRAY_LEN(form), decode_form, 32);
}

static void all_bytes_come_back(void **state)
{
	uint8_t bytes[256];
	char hex[513];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + 3);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		struct buf text = BUF_INIT(1000), back = BUF_INIT(1000);
		struct slice s = { bytes, len };

		assert_int_equal(text_base64(s, &text, NULL), ERR_OK);
		assert_int_equal(text_base64_decode(buf_slice(&text), &back, NULL), ERR_OK);
		assert_true(slice_eq(buf_slice(&back), s));
		buf_reset(&text);
		buf_reset(&back);
		assert_int_equal(text_percent_encode(s, "", &text, NULL), ERR_OK);
		assert_int_equal(text_percent_decode(buf_slice(&text), true, &back, NULL), ERR_OK);
		assert_true(slice_eq(buf_slice(&back), s));
		buf_reset(&back);
		text_hex(bytes, len, hex);
		assert_int_equal(text_hex_decode(slice_str(hex), &back, NULL), ERR_OK);
		assert_true(slice_eq(buf_slice(&back), s));
		buf_done(&text);
		buf_done(&back);
	}
}

static void query_parameters_are_found_by_whole_names(void **state)
{
	static const struct {
		const char *query, *name, *want; /* NULL: not there */
	} rows[] = {
		{ "a=1&b=2", "b", "2" },
		{ "ab=1", "b", NULL },
		{ "", "a", NULL },
		{ "a=x%20y+z", "a", "x y z" },
		{ "a", "a", "" },
		{ "a=1&a=2", "a", "1" },
		{ "a=%zz", "a", NULL },
		{ "&&a=3", "a", "3" },
		{ "a==", "a", "=" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf out = BUF_INIT(64);
		bool found = text_query_param(slice_str(rows[i].query), rows[i].name, &out);

		assert_int_equal(found, rows[i].want != NULL);
		if (found)
			assert_string_equal(buf_str(&out), rows[i].want);
		buf_done(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(query_parameters_are_found_by_whole_names),
		cmocka_unit_test(hex_is_pairs_of_either_case),
		cmocka_unit_test(base64_has_one_form),
		cmocka_unit_test(base64_is_written_padded),
		cmocka_unit_test(base64url_has_one_form),
		cmocka_unit_test(percent_encoding_keeps_what_it_is_told),
		cmocka_unit_test(percent_decoding_refuses_broken_escapes),
		cmocka_unit_test(all_bytes_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
