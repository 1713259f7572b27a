/* crypto_secret.c - secrets: limits, comparison, fingerprints. */
#include "postern/crypto.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void a_secret_holds_its_own_bytes(void **state)
{
	struct err err = ERR_INIT;
	struct secret s = { 0 };
	char text[] = "abc";

	(void)state;
	assert_int_equal(secret_set(&s, slice_str(text), &err), ERR_OK);
	crypto_wipe(text, 3);
	assert_int_equal(text[0], 0);
	assert_int_equal(s.len, 3);
	assert_memory_equal(s.data, "abc", 3);
	assert_int_equal(secret_set(&s, SLICE_EMPTY, &err), ERR_OK);
	assert_int_equal(s.len, 0);
	secret_done(&s);
	assert_null(s.data);
	secret_done(&s);
}

static void a_secret_has_a_limit(void **state)
{
	static const uint8_t bytes[CRYPTO_SECRET_MAX + 1];
	struct err err = ERR_INIT;
	struct secret s = { 0 };

	(void)state;
	assert_int_equal(secret_set(&s, (struct slice){ bytes, CRYPTO_SECRET_MAX }, &err), ERR_OK);
	assert_int_equal(secret_set(&s, (struct slice){ bytes, sizeof(bytes) }, &err), ERR_LIMIT);
	assert_int_equal(s.len, CRYPTO_SECRET_MAX); /* unchanged on failure */
	secret_done(&s);
}

static void comparison_sees_every_byte(void **state)
{
	uint8_t a[64] = { 0 }, b[64] = { 0 };

	(void)state;
	assert_true(crypto_equal(a, b, sizeof(a)));
	assert_true(crypto_equal(a, b, 0));
	for (size_t i = 0; i < sizeof(a); i++) {
		b[i] = 1;
		assert_false(crypto_equal(a, b, sizeof(a)));
		b[i] = 0;
	}
}

static void a_fingerprint_is_the_start_of_the_digest(void **state)
{
	struct err err = ERR_INIT;
	struct secret s = { 0 };
	char out[9];

	(void)state;
	assert_int_equal(secret_set(&s, SLICE_LIT("abc"), &err), ERR_OK);
	crypto_fingerprint(&s, out);
	assert_string_equal(out, "ba7816bf");
	secret_done(&s);
}

static void the_library_has_a_version(void **state)
{
	(void)state;
	assert_true(strlen(crypto_version()) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_secret_holds_its_own_bytes),
		cmocka_unit_test(a_secret_has_a_limit),
		cmocka_unit_test(comparison_sees_every_byte),
		cmocka_unit_test(a_fingerprint_is_the_start_of_the_digest),
		cmocka_unit_test(the_library_has_a_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
