/* Unit tests of src/base/crc32c.c, crc32c_x86.c and hash.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/base/base_priv.h"

static void known_values(void **state)
{
	uint8_t bytes[32];

	(void)state;
	assert_int_equal(crc32c(0, "", 0), 0);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	/* RFC 3720, appendix B.4 */
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
	for (uint8_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i;
	assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
}

static void both_ways_agree_at_every_length_and_place(void **state)
{
	uint8_t bytes[300];
	uint32_t x = 1;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		x = x * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(x >> 24);
	}
	if (!crc32c_have_instruction())
		skip();
	for (size_t from = 0; from < 16; from++) {
		for (size_t len = 0; len + from <= sizeof(bytes); len++)
			assert_int_equal(crc32c_table(x, bytes + from, len),
				crc32c_instruction(x, bytes + from, len));
	}
}

static void pieces_chain(void **state)
{
	static const char text[] = "a record in two or three pieces";
	uint32_t whole = crc32c(0, text, sizeof(text));

	(void)state;
	for (size_t cut = 0; cut <= sizeof(text); cut++)
		assert_int_equal(
			crc32c(crc32c(0, text, cut), text + cut, sizeof(text) - cut), whole);
}

static void a_hash_in_pieces_is_the_hash_of_the_whole(void **state)
{
	uint8_t bytes[40];

	(void)state;
	hash_choose_key();
	for (uint8_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 37);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		struct hashing single = hash_begin(7), whole = hash_begin(7);

		for (size_t i = 0; i < len; i++)
			hash_byte(&single, bytes[i]);
		hash_whole(&whole, bytes, len);
		assert_true(hash_end(&single) == hash_end(&whole));
		assert_true(hash_bytes(bytes, len) == hash_bytes(bytes, len));
	}
	/* Neither the context nor trailing zeros are lost. */
	assert_true(hash_bytes("a\0", 1) != hash_bytes("a\0", 2));
	assert_true(hash_bytes("", 0) != hash_bytes("\0", 1));
	assert_true(hash_bytes(NULL, 0) == hash_bytes("", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_values),
		cmocka_unit_test(both_ways_agree_at_every_length_and_place),
		cmocka_unit_test(pieces_chain),
		cmocka_unit_test(a_hash_in_pieces_is_the_hash_of_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
