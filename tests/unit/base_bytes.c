/* Unit tests of src/base/bytes.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postern/buf.h"

static void integers_have_their_order_on_disk(void **state)
{
	uint8_t p[8];

	(void)state;
	put_le16(p, 0x0102);
	assert_memory_equal(p, "\x02\x01", 2);
	assert_int_equal(get_le16(p), 0x0102);
	put_le32(p, 0xf1020304);
	assert_memory_equal(p, "\x04\x03\x02\xf1", 4);
	assert_int_equal(get_le32(p), 0xf1020304);
	put_le64(p, 0xf102030405060708);
	assert_memory_equal(p, "\x08\x07\x06\x05\x04\x03\x02\xf1", 8);
	assert_true(get_le64(p) == 0xf102030405060708);
	put_be32(p, 0xf1020304);
	assert_memory_equal(p, "\xf1\x02\x03\x04", 4);
	assert_int_equal(get_be32(p), 0xf1020304);
	put_be64(p, 0xf102030405060708);
	assert_memory_equal(p, "\xf1\x02\x03\x04\x05\x06\x07\x08", 8);
	assert_true(get_be64(p) == 0xf102030405060708);
}

static void a_cursor_reads_what_a_buffer_wrote(void **state)
{
	struct buf buf = BUF_INIT(64);
	struct err err = ERR_INIT;
	struct cursor c;

	(void)state;
	assert_int_equal(buf_put_u8(&buf, 200, &err), ERR_OK);
	assert_int_equal(buf_put_u16(&buf, 60000, &err), ERR_OK);
	assert_int_equal(buf_put_u32(&buf, 4000000000, &err), ERR_OK);
	assert_int_equal(buf_put_u64(&buf, UINT64_MAX - 1, &err), ERR_OK);
	assert_int_equal(buf_put_sized(&buf, SLICE_LIT("abc"), &err), ERR_OK);
	assert_int_equal(buf_put_sized(&buf, SLICE_EMPTY, &err), ERR_OK);
	c = CURSOR(buf_slice(&buf));
	assert_int_equal(cursor_u8(&c), 200);
	assert_int_equal(cursor_u16(&c), 60000);
	assert_int_equal(cursor_u32(&c), 4000000000);
	assert_true(cursor_u64(&c) == UINT64_MAX - 1);
	assert_true(slice_eq_str(cursor_sized(&c), "abc"));
	assert_int_equal(cursor_sized(&c).len, 0);
	assert_int_equal(c.rest.len, 0);
	assert_int_equal(cursor_bytes(&c, 0).len, 0);
	assert_false(c.bad);
	buf_done(&buf);
}

static void a_cursor_stays_bad_after_the_end(void **state)
{
	static const uint8_t data[] = { 1, 2, 3, 4, 5 };
	struct cursor c = CURSOR(((struct slice){ data, sizeof(data) }));

	(void)state;
	assert_true(cursor_u64(&c) == 0);
	assert_true(c.bad);
	assert_int_equal(cursor_u8(&c), 0);
	assert_int_equal(cursor_bytes(&c, 0).len, 0);
	assert_true(c.bad);
}

static void a_length_past_the_end_is_bad(void **state)
{
	static const uint8_t huge[] = { 0xff, 0xff, 0xff, 0xff, 1 };
	static const uint8_t one_past[] = { 2, 0, 0, 0, 1 };
	struct cursor c = CURSOR(((struct slice){ huge, sizeof(huge) }));
	struct cursor d = CURSOR(((struct slice){ one_past, sizeof(one_past) }));

	(void)state;
	assert_null(cursor_sized(&c).data);
	assert_true(c.bad);
	assert_null(cursor_sized(&d).data);
	assert_true(d.bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_have_their_order_on_disk),
		cmocka_unit_test(a_cursor_reads_what_a_buffer_wrote),
		cmocka_unit_test(a_cursor_stays_bad_after_the_end),
		cmocka_unit_test(a_length_past_the_end_is_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
