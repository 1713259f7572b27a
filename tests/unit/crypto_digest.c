/* crypto_digest.c - the digests against the examples of FIPS 180-4. */
#include "postern/crypto.h"
#include "postern/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	enum crypto_digest digest;
	const char *text, *want;
} rows[] = {
	{ CRYPTO_SHA1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
	{ CRYPTO_SHA1, "", "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
	{ CRYPTO_SHA256, "abc",
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
	{ CRYPTO_SHA256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
	{ CRYPTO_SHA256, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	{ CRYPTO_SHA384, "abc",
		"cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
		"8086072ba1e7cc2358baeca134c825a7" },
	{ CRYPTO_SHA512, "abc",
		"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
		"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f" },
};

static void digests_are_those_of_the_standard(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t out[CRYPTO_DIGEST_MAX];
		char hex[2 * CRYPTO_DIGEST_MAX + 1];
		struct slice piece = slice_str(rows[i].text);

		crypto_digest(rows[i].digest, &piece, 1, out);
		text_hex(out, crypto_digest_len(rows[i].digest), hex);
		assert_string_equal(hex, rows[i].want);
	}
}

static void pieces_count_as_if_joined(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct slice all = slice_str(rows[i].text);
		uint8_t whole[CRYPTO_DIGEST_MAX], split[CRYPTO_DIGEST_MAX];
		size_t len = crypto_digest_len(rows[i].digest);

		crypto_digest(rows[i].digest, &all, 1, whole);
		for (size_t at = 0; at <= all.len; at++) {
			struct slice pieces[] = { slice_sub(all, 0, at), SLICE_EMPTY,
				slice_sub(all, at, all.len) };

			crypto_digest(rows[i].digest, pieces, ARRAY_LEN(pieces), split);
			assert_memory_equal(split, whole, len);
		}
	}
}

static void no_piece_is_the_empty_text(void **state)
{
	uint8_t none[32], empty[32];

	(void)state;
	crypto_digest(CRYPTO_SHA256, NULL, 0, none);
	crypto_sha256(SLICE_EMPTY, empty);
	assert_memory_equal(none, empty, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digests_are_those_of_the_standard),
		cmocka_unit_test(pieces_count_as_if_joined),
		cmocka_unit_test(no_piece_is_the_empty_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
