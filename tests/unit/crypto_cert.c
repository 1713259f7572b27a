/* crypto_cert.c - certificates: read from PEM, asked for names and times, checked up to a root. */
#include "postern/cert.h"
#include "support/certificates.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NOW INT64_C(1760000000000)   /* 2025 */
#define LATER INT64_C(2500000000000) /* 2049 */

static struct cert *read_cert(const char *pem)
{
	struct cert *cert = NULL;
	struct err err = ERR_INIT;

	if (cert_from_pem(slice_str(pem), &cert, &err) != ERR_OK)
		print_error("%s\n", err.text);
	assert_non_null(cert);
	return cert;
}

static void chains_are_checked_up_to_a_root(void **state)
{
	static const struct {
		const char *pem, *roots;
		int64_t now_ms;
		enum cert_trust want;
	} rows[] = {
		{ CERT_LEAF CERT_INTERMEDIATE, CERT_ROOT, NOW, CERT_TRUSTED },
		{ CERT_LEAF CERT_INTERMEDIATE CERT_ROOT, CERT_ROOT, NOW, CERT_TRUSTED },
		/* the issuer did not come along; what is believed in may be an intermediate */
		{ CERT_LEAF, CERT_ROOT, NOW, CERT_UNROOTED },
		{ CERT_LEAF, CERT_INTERMEDIATE, NOW, CERT_TRUSTED },
		{ CERT_LEAF CERT_INTERMEDIATE, CERT_LEAF, NOW, CERT_TRUSTED },
		{ CERT_LEAF CERT_INTERMEDIATE, CERT_ROOT, LATER, CERT_REFUSED },
		{ CERT_LEAF CERT_INTERMEDIATE, CERT_ROOT, 0, CERT_REFUSED },
		{ CERT_OLD, CERT_ROOT, NOW, CERT_REFUSED },
		{ CERT_SELF_SIGNED, CERT_ROOT, NOW, CERT_REFUSED },
		/* a root that came along is not one that is believed in */
		{ CERT_OLD CERT_ROOT, CERT_LEAF, NOW, CERT_REFUSED },
		{ CERT_EC, CERT_ROOT, NOW, CERT_TRUSTED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct cert *cert = read_cert(rows[i].pem);
		struct cert_roots *roots = NULL;
		const char *why = "";
		enum cert_trust trust;

		assert_int_equal(cert_roots_open(slice_str(rows[i].roots), &roots, NULL), ERR_OK);
		trust = cert_check(cert, roots, rows[i].now_ms, &why);
		if (trust != rows[i].want)
			print_error("row %zu: %s\n", i, why);
		assert_int_equal(trust, rows[i].want);
		cert_roots_close(&roots);
		cert_close(&cert);
	}
}

static void the_roots_of_the_system_do_not_know_ours(void **state)
{
	struct cert *cert = read_cert(CERT_LEAF CERT_INTERMEDIATE CERT_ROOT);
	struct cert_roots *roots = NULL;
	const char *why = "";

	(void)state;
	assert_int_equal(cert_roots_open(SLICE_EMPTY, &roots, NULL), ERR_OK);
	assert_int_equal(cert_check(cert, roots, NOW, &why), CERT_REFUSED);
	cert_roots_close(&roots);
	assert_int_equal(cert_roots_open(SLICE_LIT("no PEM"), &roots, NULL), ERR_SYNTAX);
	assert_null(roots);
	cert_close(&cert);
}

static void names_are_compared_by_labels(void **state)
{
	static const struct {
		const char *pem, *domain;
		bool want;
	} rows[] = {
		{ CERT_LEAF, "example.com", true },
		{ CERT_LEAF, "EXAMPLE.com", true },
		{ CERT_LEAF, "sns.example.com", true },
		{ CERT_LEAF, "ample.com", false },
		{ CERT_LEAF, "x.sns.example.com", false },
		{ CERT_LEAF, "example.org", false },
		{ CERT_SELF_SIGNED, "example.com", true }, /* it has only a common name */
		{ CERT_SELF_SIGNED, "example.org", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct cert *cert = read_cert(rows[i].pem);

		assert_true(cert_is_under(cert, rows[i].domain) == rows[i].want);
		cert_close(&cert);
	}
}

static void keys_and_times_are_the_first_ones(void **state)
{
	struct cert *cert = read_cert(CERT_LEAF CERT_INTERMEDIATE);
	int64_t from_ms, until_ms;

	(void)state;
	assert_int_equal(pkey_type(cert_key(cert)), PKEY_RSA);
	assert_false(pkey_is_private(cert_key(cert)));
	cert_validity(cert, &from_ms, &until_ms);
	assert_int_equal(from_ms, INT64_C(1577836800000));
	assert_int_equal(until_ms, INT64_C(2366841600000));
	cert_close(&cert);
}

static void what_is_no_certificate_is_refused(void **state)
{
	static const char *const texts[] = { "", "x", CERT_PRIVATE_KEY,
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" };
	struct cert *cert = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(cert_from_pem(slice_str(texts[i]), &cert, &err), ERR_SYNTAX);
		assert_null(cert);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_are_checked_up_to_a_root),
		cmocka_unit_test(the_roots_of_the_system_do_not_know_ours),
		cmocka_unit_test(names_are_compared_by_labels),
		cmocka_unit_test(keys_and_times_are_the_first_ones),
		cmocka_unit_test(what_is_no_certificate_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
