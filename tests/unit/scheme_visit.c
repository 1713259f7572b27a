/* scheme_visit.c - which URLs of a sender would be visited, and what would be dangerous. Visiting
 * itself is tested over sockets (tests/system). */
#include "support/certificates.h"
#include "support/scheme_lab.h"

#define VERIFY                                                                                     \
	"\"id\": \"sha256:body\", \"verify\": {\"alg\": \"x509-rsa\", \"sig\": \"header:X-Sig\", " \
	"\"match\": \"{base64}\", \"hash\": \"sha256\""
#define CERT                                                                                       \
	", \"cert\": {\"url\": \"header:X-Cert\", \"host\": "                                      \
	"\"^sns\\\\.[a-z0-9-]+\\\\.example\\\\.com$\", \"suffix\": \".pem\"}"
#define KEYS "\"keys\": [{\"file\": \"k0\"}]"
#define VISIT                                                                                      \
	"{\"when\": {\"header:X-Ask\": true}, \"signed\": true, \"visit\": \"header:X-Url\", "     \
	"\"topic\": \"header:X-Topic\"}"
#define TOPICS ", \"topics\": [\"arn:aws:sns:eu:1:orders\", \"arn:aws:sns:*:2:*\"]"
#define SOURCE VERIFY CERT "}, \"handshake\": [" VISIT "], " KEYS TOPICS

#define UNNAMED VERIFY CERT "}, \"handshake\": [" VISIT "], " KEYS

static const char *const keys[] = { CERT_LEAF CERT_INTERMEDIATE, NULL };

#define ORDERS "arn:aws:sns:eu:1:orders"
#define GOOD "https://sns.eu-1.example.com/?Action=ConfirmSubscription&Token=2336412f37-_.~%2B"

static void only_urls_and_topics_that_are_allowed_are_visited(void **state)
{
	static const struct {
		const char *topic, *url;
		bool visits;
	} rows[] = {
		{ ORDERS, GOOD, true },
		{ "arn:aws:sns:us:2:any", GOOD, true },
		{ ORDERS, "https://sns.eu-1.example.com/", true },
		{ ORDERS, "https://sns.eu-1.example.com/confirm/1", true },
		{ "arn:aws:sns:eu:1:other", GOOD, false },
		{ "arn:aws:sns:eu:1:ordersx", GOOD, false },
		{ "", GOOD, false },
		{ ORDERS, "http://sns.eu-1.example.com/", false },
		{ ORDERS, "https://sns.eu-1.example.com.evil.org/", false },
		{ ORDERS, "https://evil.org/sns.eu-1.example.com/", false },
		{ ORDERS, "https://sns.eu-1.example.com@evil.org/", false },
		{ ORDERS, "https://evil.org#sns.eu-1.example.com/", false },
		{ ORDERS, "https://evil.org\\@sns.eu-1.example.com/", false },
		{ ORDERS, "https://sns.eu-1.example.com:8443/", false },
		{ ORDERS, "https://sns.eu-1.example.com:443/", true },
		{ ORDERS, "https://127.0.0.1/", false },
		{ ORDERS, "https://sns.eu-1.example.com/?a=b c", false },
		{ ORDERS, "https://sns.eu-1.example.com/?a=b#c", false },
		{ ORDERS, "https://sns.eu-1.example.com/?a=%0d\r\n", false },
		{ ORDERS, "file:///etc/passwd", false },
		{ ORDERS, "", false },
	};
	struct scheme_answer answer = SCHEME_ANSWER_INIT;
	struct lab lab;

	(void)state;
	lab_open(&lab, SOURCE, keys);
	assert_true(scheme_wants_net(lab.scheme));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lab_request r;

		lab_request(&r, "X-Ask: 1\nX-Sig: " CERT_SIGNATURE_SHA256, slice_str(CERT_TEXT));
		lab_header(&r, "X-Topic", slice_str(rows[i].topic));
		lab_header(&r, "X-Url", slice_str(rows[i].url));
		assert_int_equal(lab_verify(&lab, &r, LAB_NOW * INT64_C(1000)), ERR_OK);
		assert_true(scheme_handshake(lab.scheme, &r.rq, &lab.verdict, 0, &answer));
		assert_int_equal(answer.status, 200);
		if ((answer.visit.len > 0) != rows[i].visits ||
			(answer.visit_refused == NULL) != rows[i].visits)
			fail_msg("%s: %s", rows[i].url,
				answer.visit_refused ? answer.visit_refused : "visited");
		if (rows[i].visits)
			lab_is(answer.visit, rows[i].url);
	}
	/* Nothing is fetched where there is no net. */
	assert_int_equal(scheme_visit(lab.scheme, "s", &answer, &lab.err), ERR_UNAVAILABLE);
	scheme_answer_done(&answer);
	lab_close(&lab);
}

static void nothing_is_visited_for_a_request_that_does_not_verify(void **state)
{
	struct scheme_answer answer = SCHEME_ANSWER_INIT;
	struct lab_request r;
	struct lab lab;

	(void)state;
	lab_open(&lab, SOURCE, keys);
	lab_request(&r,
		"X-Ask: 1\nX-Topic: " ORDERS "\nX-Url: " GOOD "\nX-Sig: " CERT_SIGNATURE_SHA256,
		SLICE_LIT("another body"));
	assert_false(scheme_handshake(lab.scheme, &r.rq, NULL, 0, &answer));
	assert_int_equal(lab_verify(&lab, &r, LAB_NOW * INT64_C(1000)), ERR_BAD_SIGNATURE);
	assert_false(scheme_handshake(lab.scheme, &r.rq, &lab.verdict, 0, &answer));
	scheme_answer_done(&answer);
	lab_close(&lab);
}

/* Anybody may have a topic at the same sender, whose signature is as good. */
static void events_of_foreign_topics_are_refused(void **state)
{
	static const struct {
		const char *source, *headers;
		enum err_code code;
	} rows[] = {
		{ SOURCE, "X-Topic: " ORDERS "\n", ERR_OK },
		{ SOURCE, "X-Topic: arn:aws:sns:us:2:any\n", ERR_OK },
		{ SOURCE, "X-Topic: arn:aws:sns:eu:666:orders\n", ERR_BAD_SIGNATURE },
		{ SOURCE, "X-Topic: " ORDERS "\nX-Topic: " ORDERS "\n", ERR_BAD_SIGNATURE },
		{ SOURCE, "", ERR_BAD_SIGNATURE },
		{ UNNAMED, "X-Topic: arn:aws:sns:eu:666:orders\n", ERR_OK },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lab_request r;
		char headers[2048];
		struct lab lab;

		(void)snprintf(headers, sizeof(headers), "%sX-Sig: " CERT_SIGNATURE_SHA256,
			rows[i].headers);
		lab_open(&lab, rows[i].source, keys);
		lab_request(&r, headers, slice_str(CERT_TEXT));
		assert_int_equal(lab_verify(&lab, &r, LAB_NOW * INT64_C(1000)), rows[i].code);
		assert_true((lab.verdict.key >= 0) == (rows[i].code == ERR_OK));
		lab_close(&lab);
	}
}

static void what_would_be_dangerous_is_refused(void **state)
{
	static const struct {
		const char *source, *text;
	} rows[] = {
		{ VERIFY CERT "}, \"handshake\": [{\"when\": {}, \"signed\": true, \"visit\": "
			      "\"header:U\"}], " KEYS,
			"needs a topic" },
		{ VERIFY CERT "}, \"handshake\": [{\"when\": {\"header:A\": true}, \"visit\": "
			      "\"header:U\", \"topic\": \"header:T\"}], " KEYS,
			"must be \"signed\"" },
		{ VERIFY "}, \"handshake\": [" VISIT "], " KEYS, "there are none" },
		{ VERIFY CERT "}, \"handshake\": [{\"when\": {}, \"signed\": true, \"visit\": "
			      "\"body\", \"topic\": \"header:T\"}], " KEYS,
			"must be header" },
		{ VERIFY CERT "}, \"handshake\": [{\"when\": {}, \"signed\": true, \"topic\": "
			      "\"header:T\", \"reply\": {}}], " KEYS,
			"belongs to a visit" },
		{ VERIFY CERT "}, \"topics\": [\"\"], " KEYS, "is empty" },
		{ VERIFY CERT "}, \"topics\": \"a\", " KEYS, "must be a list" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lab lab;
		bool told = false;

		assert_int_equal(lab_try(&lab, rows[i].source, keys), ERR_CONFIG);
		for (size_t p = 0; p < lab.report.count; p++)
			told |= strstr(lab.report.problems[p].text, rows[i].text) != NULL;
		if (!told)
			fail_msg("row %zu: %s", i, lab.report.problems[0].text);
		lab_close(&lab);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_urls_and_topics_that_are_allowed_are_visited),
		cmocka_unit_test(nothing_is_visited_for_a_request_that_does_not_verify),
		cmocka_unit_test(events_of_foreign_topics_are_refused),
		cmocka_unit_test(what_would_be_dangerous_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
