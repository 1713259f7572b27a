/* scheme_x509.c - signatures by certificates: the operator's own, digests that the request names,
 * and which URLs are fetched at all. Fetching itself is tested over sockets (tests/system). */
#include "../../src/scheme/x509.h"
#include "support/certificates.h"
#include "support/scheme_lab.h"

#define ID "\"id\": \"sha256:body\", "
#define KEYS ", \"keys\": [{\"file\": \"k0\"}]"
#define VERIFY                                                                                     \
	"\"verify\": {\"alg\": \"x509-rsa\", \"sig\": \"header:X-Sig\", \"match\": \"{base64}\", "
#define CERT                                                                                       \
	"\"cert\": {\"url\": \"header:X-Cert\", \"host\": "                                        \
	"\"^sns\\\\.[a-z0-9-]+\\\\.example\\\\.com$\", "                                           \
	"\"suffix\": \".pem\"}"

static enum err_code judge(struct lab *lab, const char *headers, const char *sig, const char *body)
{
	struct lab_request r;
	char text[2048];

	(void)snprintf(text, sizeof(text), "%sX-Sig: %s", headers, sig);
	lab_request(&r, text, slice_str(body));
	return lab_verify(lab, &r, INT64_C(1000) * LAB_NOW);
}

/* ---- with the operator's certificate -----------------------------------------------------------
 */

static void the_request_names_the_digest(void **state)
{
	static const char *const keys[] = { CERT_LEAF CERT_INTERMEDIATE, NULL };
	static const struct {
		const char *version, *sig;
		enum err_code want;
	} rows[] = {
		{ "V: 1\n", CERT_SIGNATURE_SHA1, ERR_OK },
		{ "V: 2\n", CERT_SIGNATURE_SHA256, ERR_OK },
		{ "V: 1\n", CERT_SIGNATURE_SHA256, ERR_BAD_SIGNATURE },
		{ "V: 2\n", CERT_SIGNATURE_SHA1, ERR_BAD_SIGNATURE },
		{ "V: 3\n", CERT_SIGNATURE_SHA256, ERR_BAD_SIGNATURE },
		{ "", CERT_SIGNATURE_SHA256, ERR_BAD_SIGNATURE },
		{ "V: 2\nV: 2\n", CERT_SIGNATURE_SHA256, ERR_BAD_SIGNATURE },
		{ "V: 2\n", "AAAA", ERR_BAD_SIGNATURE },
		{ "V: 2\n", "%%%", ERR_BAD_SIGNATURE },
		{ "V: 2\n", "", ERR_MISSING_SIGNATURE },
	};
	struct lab lab;

	(void)state;
	lab_open(&lab,
		ID VERIFY "\"hash\": {\"header:V\": {\"1\": \"sha1\", \"2\": \"sha256\"}}}" KEYS,
		keys);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(
			judge(&lab, rows[i].version, rows[i].sig, CERT_TEXT), rows[i].want);
	assert_int_equal(
		judge(&lab, "V: 2\n", CERT_SIGNATURE_SHA256, CERT_TEXT "."), ERR_BAD_SIGNATURE);
	assert_true(scheme_keeps_header(lab.scheme, SLICE_LIT("v")));
	lab_close(&lab);
}

static void the_operators_certificate_is_used_in_place_of_fetching(void **state)
{
	static const char *const keys[] = { CERT_OLD, NULL };
	struct lab lab;

	(void)state;
	lab_open(&lab, ID VERIFY "\"hash\": \"sha256\", " CERT "}" KEYS, keys);
	assert_int_equal(
		judge(&lab, "X-Cert: https://evil.example/\n", CERT_SIGNATURE_SHA256, CERT_TEXT),
		ERR_OK);
	assert_int_equal(lab.verdict.key, 0);
	assert_true(scheme_keeps_header(lab.scheme, SLICE_LIT("x-cert")));
	lab_close(&lab);
}

static void nothing_is_fetched_offline(void **state)
{
	static const char *const keys[] = { NULL };
	struct lab lab;

	(void)state;
	lab_open(&lab, ID VERIFY "\"hash\": \"sha256\", " CERT "}", keys);
	assert_true(scheme_wants_net(lab.scheme));
	assert_int_equal(judge(&lab, "X-Cert: https://sns.eu-1.example.com/a.pem\n",
				 CERT_SIGNATURE_SHA256, CERT_TEXT),
		ERR_KEY_NOT_FOUND);
	assert_non_null(strstr(lab.verdict.detail, "as a key"));
	assert_int_equal(judge(&lab, "", CERT_SIGNATURE_SHA256, CERT_TEXT), ERR_KEY_NOT_FOUND);
	assert_int_equal(judge(&lab, "X-Cert: https://sns.evil.example/a.pem\n",
				 CERT_SIGNATURE_SHA256, CERT_TEXT),
		ERR_KEY_NOT_FOUND);
	assert_non_null(strstr(lab.verdict.detail, "host"));
	lab_close(&lab);
}

static void a_private_key_signs(void **state)
{
	static const char *const full[] = { CERT_PRIVATE_KEY, NULL };
	static const char *const open[] = { CERT_LEAF, NULL };
	struct scheme_draft draft = { .body = SLICE_LIT(CERT_TEXT) };
	struct scheme_signed out = SCHEME_SIGNED_INIT;
	struct err err = ERR_INIT;
	struct lab lab;

	(void)state;
	lab_open(&lab, ID VERIFY "\"hash\": \"sha256\"}" KEYS, full);
	assert_int_equal(scheme_sign(lab.scheme, &draft, &out, &err), ERR_OK);
	assert_int_equal(out.header_count, 1);
	lab_is(out.headers[0].value, CERT_SIGNATURE_SHA256);
	draft.bad_signature = true;
	assert_int_equal(scheme_sign(lab.scheme, &draft, &out, &err), ERR_OK);
	assert_false(slice_eq_str(out.headers[0].value, CERT_SIGNATURE_SHA256));
	lab_close(&lab);
	lab_open(&lab, ID VERIFY "\"hash\": \"sha256\"}" KEYS, open);
	assert_int_equal(scheme_sign(lab.scheme, &draft, &out, &err), ERR_UNSUPPORTED);
	assert_non_null(strstr(err.text, "private key"));
	lab_close(&lab);
	scheme_signed_done(&out);
}

/* ---- URLs --------------------------------------------------------------------------------------
 */

static void only_plain_urls_of_the_sender_are_fetched(void **state)
{
	static const struct {
		const char *url;
		bool is_taken;
	} rows[] = {
		{ "https://sns.eu-1.example.com/a-b_C~9.pem", true },
		{ "https://sns.eu-1.example.com:443/a.pem", true },
		{ "http://sns.eu-1.example.com/a.pem", false },
		{ "HTTPS://sns.eu-1.example.com/a.pem", false },
		{ "https://SNS.eu-1.example.com/a.pem", false },
		{ "https://sns.eu-1.example.com.evil.example/a.pem", false },
		{ "https://evil.example/sns.eu-1.example.com/a.pem", false },
		{ "https://sns.eu-1.example.com@evil.example/a.pem", false },
		{ "https://user:pw@sns.eu-1.example.com/a.pem", false },
		{ "https://evil.example#@sns.eu-1.example.com/a.pem", false },
		{ "https://evil.example\\@sns.eu-1.example.com/a.pem", false },
		{ "https://sns.eu-1.example.com:8443/a.pem", false },
		{ "https://sns.eu-1.example.com:/a.pem", false },
		{ "https://sns.eu-1.example.com:443:443/a.pem", false },
		{ "https://sns.eu-1.example.com./a.pem", false },
		{ "https://sns..example.com/a.pem", false },
		{ "https://sns.-.example.com/a.pem", false },
		{ "https://sns.eu-1.example.com", false },
		{ "https://sns.eu-1.example.com/", false },
		{ "https://sns.eu-1.example.com/a.pem?x=1", false },
		{ "https://sns.eu-1.example.com/a.pem#x", false },
		{ "https://sns.eu-1.example.com/../a.pem", false },
		{ "https://sns.eu-1.example.com//a.pem", false },
		{ "https://sns.eu-1.example.com/%2e%2e/a.pem", false },
		{ "https://sns.eu-1.example.com/a.pem ", false },
		{ "https://sns.eu-1.example.com/a.pem\n", false },
		{ " https://sns.eu-1.example.com/a.pem", false },
		{ "https://127.0.0.1/a.pem", false },
		{ "https://[::1]/a.pem", false },
		{ "//sns.eu-1.example.com/a.pem", false },
		{ "file:///etc/passwd.pem", false },
		{ "", false },
	};
	struct cert_place place = { .suffix = ".pem", .port = 443 };
	struct slice host;
	char longer[CERT_URL_MAX + 2];

	(void)state;
	assert_int_equal(regcomp(&place.host, "^sns\\.[a-z0-9-]+\\.example\\.com$",
				 REG_EXTENDED | REG_NOSUB),
		0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *why = cert_url_refuse(&place, slice_str(rows[i].url), &host);

		if ((why == NULL) != rows[i].is_taken)
			print_error("%s: %s\n", rows[i].url, why ? why : "taken");
		assert_true((why == NULL) == rows[i].is_taken);
	}
	assert_null(cert_url_refuse(&place, slice_str(rows[0].url), &host));
	lab_is(host, "sns.eu-1.example.com");
	memset(longer, 'a', sizeof(longer));
	memcpy(longer, "https://sns.eu-1.example.com/", 29);
	memcpy(longer + CERT_URL_MAX - 4, ".pem", 5);
	assert_null(cert_url_refuse(&place, slice_str(longer), &host));
	memcpy(longer + CERT_URL_MAX - 4, "a.pem", 6);
	assert_non_null(cert_url_refuse(&place, slice_str(longer), &host));
	regfree(&place.host);
}

static void domains_are_what_an_owner_has(void **state)
{
	static const struct {
		const char *host, *domain;
	} rows[] = {
		{ "sns.us-east-1.amazonaws.com", "amazonaws.com" },
		{ "sns.cn-north-1.amazonaws.com.cn", "amazonaws.com.cn" },
		{ "certs.example.co.jp", "example.co.jp" },
		{ "example.de", "example.de" },
		{ "www.example.de", "example.de" },
		{ "localhost", "localhost" },
	};
	char domain[CERT_URL_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		cert_url_domain(slice_str(rows[i].host), domain);
		assert_string_equal(domain, rows[i].domain);
	}
}

/* ---- mistakes ----------------------------------------------------------------------------------
 */

static void mistakes_in_a_config_are_told(void **state)
{
	static const struct {
		const char *source, *key, *word;
	} rows[] = {
		{ VERIFY CERT "}", NULL, "hash" },
		{ VERIFY "\"hash\": \"md5\"}" KEYS, CERT_LEAF, "sha1" },
		{ VERIFY "\"hash\": {}}" KEYS, CERT_LEAF, "digest" },
		{ VERIFY "\"hash\": {\"json:/a\": {\"1\": \"sha0\"}}}" KEYS, CERT_LEAF, "sha1" },
		{ VERIFY "\"hash\": \"sha256\"}", NULL, "cert is missing" },
		{ VERIFY "\"hash\": \"sha256\", \"cert\": {\"host\": \"^a$\"}}", NULL, "url" },
		{ VERIFY "\"hash\": \"sha256\", \"cert\": {\"url\": \"body\", \"host\": \"^a$\"}}",
			NULL, "header:" },
		{ VERIFY "\"hash\": \"sha256\", \"cert\": {\"url\": \"header:A\"}}", NULL, "host" },
		{ VERIFY "\"hash\": \"sha256\", \"cert\": {\"url\": \"header:A\", "
			 "\"host\": \"example.com\"}}",
			NULL, "^ to $" },
		{ VERIFY "\"hash\": \"sha256\", \"cert\": {\"url\": \"header:A\", "
			 "\"host\": \"^a$|^b$\"}}",
			NULL, "^ to $" },
		{ VERIFY "\"hash\": \"sha256\", \"cert\": {\"url\": \"header:A\", "
			 "\"host\": \"^(a$\"}}",
			NULL, "regular" },
		{ VERIFY "\"hash\": \"sha256\", \"cert\": {\"url\": \"header:A\", "
			 "\"host\": \"^a$\", \"chain\": \"no\"}}",
			NULL, "required" },
		{ VERIFY "\"hash\": \"sha256\", \"cert\": {\"url\": \"header:A\", "
			 "\"host\": \"^a$\", \"port\": 0}}",
			NULL, "port" },
		{ VERIFY "\"hash\": \"sha256\", \"cert\": {\"url\": \"header:A\", "
			 "\"host\": \"^a$\", \"ca\": \"header:B\"}}",
			NULL, "secret:" },
		{ VERIFY "\"hash\": \"sha256\"}" KEYS, CERT_EC, "RSA" },
		{ VERIFY "\"hash\": \"sha256\"}" KEYS, "secret", "PEM" },
	};
	char source[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *const keys[] = { rows[i].key, NULL };

		(void)snprintf(source, sizeof(source), ID "%s", rows[i].source);
		lab_refuses(source, keys, rows[i].word);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_request_names_the_digest),
		cmocka_unit_test(the_operators_certificate_is_used_in_place_of_fetching),
		cmocka_unit_test(nothing_is_fetched_offline),
		cmocka_unit_test(a_private_key_signs),
		cmocka_unit_test(only_plain_urls_of_the_sender_are_fetched),
		cmocka_unit_test(domains_are_what_an_owner_has),
		cmocka_unit_test(mistakes_in_a_config_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
