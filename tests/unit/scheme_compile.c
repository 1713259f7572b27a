/* scheme_compile.c - what a source may not say, each mistake told with its place and without a byte
 * of a key. */
#include "support/scheme_lab.h"

#define KEYS "\"keys\": [{\"file\": \"k0\"}]"
#define ID "\"id\": \"sha256:body\", "
#define V "\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:S\", \"match\": \"{hex}\""
#define W "{\"alg\": \"none\"}"
#define WH                                                                                         \
	"{\"alg\": \"hmac-sha256\", \"key\": \"hex\", \"sig\": \"header:S\", \"match\": "          \
	"\"{hex}\"}"
#define OPEN "\"verify\": {\"alg\": \"none\"}"
#define KEY_TEXT "Q2xhc3NpZmllZA"

static const struct {
	const char *source;  /* members; the config is on one line but for "\n" */
	const char *pointer; /* of a problem, behind "/sources/s" */
	const char *text;    /* within that problem's text */
} rows[] = {
	{ ID "\"verify\": {\"alg\": \"ed25519\", \"sig\": \"header:S\", \"match\": "
	     "\"{hex}\"}, " KEYS,
		"/verify", "key is missing" },
	{ ID "\"verify\": {\"alg\": \"token\", \"sig\": \"header:S\", \"signed\": "
	     "\"{body}\"}, " KEYS,
		"/verify/signed", "no use" },
	{ ID "\"verify\": {\"alg\": \"sha256\", \"sig\": \"header:S\", \"match\": \"{hex}\", "
	     "\"signed\": \"{body}\"}, " KEYS,
		"/verify/signed", "without {key}" },
	{ ID "\"verify\": {\"alg\": \"sha256\", \"sig\": \"header:S\", \"match\": "
	     "\"{hex}\"}, " KEYS,
		"/verify", "where is the {key}" },
	{ ID "\"verify\": {\"alg\": \"ed25519\", \"key\": \"utf8\", \"sig\": \"header:S\", "
	     "\"match\": \"{hex}\"}, " KEYS,
		"/verify/key", "must be hex, base64, spki-base64 or pem" },
	{ ID "\"verify\": {\"alg\": \"ed25519\", \"key\": \"base64\", \"sig\": \"header:S\", "
	     "\"match\": \"{hex}\"}, " KEYS,
		"/keys/0", "32 bytes" },
	{ ID "\"verify\": {\"alg\": \"ecdsa-p256-sha256\", \"key\": \"pem\", \"sig\": "
	     "\"header:S\", \"match\": \"{hex}\"}, " KEYS,
		"/keys/0", "no key in PEM" },
	{ ID "\"verify\": {\"alg\": \"x509-rsa\", \"sig\": \"header:S\", \"match\": "
	     "\"{base64}\"}, " KEYS,
		"/verify", "hash is missing" },
	{ ID "\"verify\": {\"alg\": \"hmac-md5\"}, " KEYS, "/verify/alg", "no such algorithm" },
	{ ID "\"verify\": {\"alg\": \"hmac-sha-256\"}, " KEYS, "/verify/alg",
		"did you mean \"hmac-sha256\"" },
	{ ID "\"verify\": {}, " KEYS, "/verify", "alg is missing" },
	{ ID V ", \"sigs\": 1}, " KEYS, "/verify/sigs", "did you mean \"sig\"" },
	{ ID V ", \"each\": \"a\"}, " KEYS, "/verify/each", "not a JSON pointer" },
	{ ID V ", \"signed\": \"{item:/a}\"}, " KEYS, "/verify/signed", "goes with each" },
	{ ID V ", \"signed\": \"{key}{body}\"}, " KEYS, "/verify/signed", "only alg \"sha256\"" },
	{ ID "\"verify\": [" W ", " W ", " W ", " W ", " W "], " KEYS, "/verify/4", "more than 4" },
	{ ID "\"verify\": [" WH ", " WH "], " KEYS, "/verify/0", "no key of the source goes" },
	{ ID "\"verify\": {\"alg\": \"hmac-sha256\", \"match\": \"{hex}\"}, " KEYS, "/verify",
		"sig is missing" },
	{ ID "\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:S\"}, " KEYS, "/verify",
		"match is missing" },
	{ ID "\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:S\", \"match\": "
	     "\"{token}\"}, " KEYS,
		"/verify/match", "is not written {token}" },
	{ ID "\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:S\", \"match\": "
	     "[\"t={t}\"]}, " KEYS,
		"/verify/match", "no pattern has" },
	{ ID "\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:S\", \"match\": "
	     "\"{a}{hex}\"}, " KEYS,
		"/verify/match", "nothing tells two placeholders apart" },
	{ ID "\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:S\", \"match\": "
	     "\"{hex\"}, " KEYS,
		"/verify/match", "without its }" },
	{ ID "\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:S\", \"match\": "
	     "\"{hex}:{base64}\"}, " KEYS,
		"/verify/match", "two signatures" },
	{ ID "\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"heeder:S\", \"match\": "
	     "\"{hex}\"}, " KEYS,
		"/verify/sig", "did you mean \"header:\"" },
	{ ID "\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:S S\", \"match\": "
	     "\"{hex}\"}, " KEYS,
		"/verify/sig", "not the name of a header" },
	{ ID "\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"body\", \"match\": "
	     "\"{hex}\"}, " KEYS,
		"/verify/sig", "must be a place" },
	{ ID V ", \"signed\": \"{body\"}, " KEYS, "/verify/signed", "without its }" },
	{ ID V ", \"signed\": \"body}\"}, " KEYS, "/verify/signed", "without its {" },
	{ ID V ", \"signed\": \"{time}{body}\"}, " KEYS, "/verify/signed", "verify has no time" },
	{ ID V ", \"signed\": \"{cap:t}{body}\"}, " KEYS, "/verify/signed", "captures {t}" },
	{ ID V ", \"signed\": \"{header:A*}\"}, " KEYS, "/verify/signed", "only sig" },
	{ ID V ", \"signed\": \"{url}\"}, " KEYS, "/verify/signed", "public_url" },
	{ ID V ", \"signed\": \"{lines()}\"}, " KEYS, "/verify/signed", "names no member" },
	{ ID V ", \"signed\": \"{lines(A,b/c)}\"}, " KEYS, "/verify/signed", "names of members" },
	{ ID "\"type\": \"{form-sorted}\", " OPEN, "/type", "belongs into verify" },
	{ ID V ", \"signed\": \"{secret:x}\"}, " KEYS, "/verify/signed",
		"no \"x\" in its secrets" },
	{ ID V ", \"signed\": []}, " KEYS, "/verify/signed", "empty list" },
	{ ID V ", \"signed\": [\"a\",\"b\",\"c\",\"d\",\"e\"]}, " KEYS, "/verify/signed",
		"more than 4" },
	{ ID V ", \"time\": \"header:T\", \"unit\": \"h\"}, " KEYS, "/verify/unit", "must be" },
	{ ID V ", \"time\": \"header:T\", \"tolerance\": -1}, " KEYS, "/verify/tolerance",
		"must be" },
	{ ID V ", \"time\": \"header:T\", \"tolerance\": 1.5}, " KEYS, "/verify/tolerance",
		"must be" },
	{ ID V ", \"split\": \"\"}, " KEYS, "/verify/split", "one or more" },
	{ ID V ", \"require\": [[\"header:A\"]]}, " KEYS, "/verify/require/0", "must be [" },
	{ ID V ", \"require\": [[\"peer.san\", \"a\"]]}, " KEYS, "/verify/require/0/0",
		"peer.san needs client_ca" },
	{ ID V ", \"require\": [[\"method\", \"{peer.san}\"]]}, " KEYS, "/verify/require/0/1",
		"goes with require" },
	{ ID V ", \"signed\": \"{peer.san}\"}, " KEYS, "/verify/signed", "goes with require" },
	{ "\"id\": \"peer.san\", " OPEN, "/id", "goes with require" },
	{ ID V ", \"key\": \"pem\"}, " KEYS, "/verify/key", "is for the keys of ed25519" },
	{ ID V ", \"key\": \"rot13\"}, " KEYS, "/verify/key", "must be utf8" },
	{ ID V ", \"key\": \"hex\"}, " KEYS, "/keys/0", "is not hex" },
	{ ID V ", \"key\": \"base64\"}, \"keys\": [{\"file\": \"k1\"}]", "/keys/0",
		"is not base64 (there is white space in it)" },
	{ ID V "}, \"keys\": [{\"file\": \"k2\"}]", "/keys/0", "is empty" },
	{ ID V "}, \"secrets\": {\"a\": {\"file\": \"k2\"}}, " KEYS, "/secrets/a", "is empty" },
	{ ID "\"verify\": {\"alg\": \"none\", \"sig\": \"header:S\"}", "/verify/sig", "no use" },
	{ "\"id\": \"msg\", " OPEN, "/id", "is not a reference" },
	{ "\"id\": \"\", " OPEN, "/id", "is empty" },
	{ "\"id\": [], " OPEN, "/id", "empty list" },
	{ "\"id\": [\"header:A\", \"none\"], " OPEN, "/id/1", "stands alone" },
	{ "\"id\": \"json:a\", " OPEN, "/id", "not a JSON pointer" },
	{ "\"id\": \"item:/a\", " OPEN, "/id", "goes with items" },
	{ "\"id\": \"sha256:item\", " OPEN, "/id", "goes with items" },
	{ "\"type\": \"header:A\", " OPEN, "", "id is missing" },
	{ ID "\"type\": \"{sha256(body)}\", " OPEN, "/type", "is not a reference" },
	{ ID "\"items\": \"a\", " OPEN, "/items", "not a JSON pointer" },
	{ ID "\"nonce\": \"body\", " OPEN, "/nonce", "must be a place" },
	{ ID "\"gap\": [\"json:/a\"], " OPEN, "/gap", "two references" },
	{ ID "\"refetch\": 1, " OPEN, "/refetch", "true or false" },
	{ ID "\"body\": \"json:/a\", " OPEN, "/body", "must be form:NAME" },
	{ ID "\"reject\": 410, " OPEN, "/reject", "end of the endpoint" },
	{ ID "\"reject\": 200, " OPEN, "/reject", "400 to 499" },
	{ ID "\"ack\": {\"status\": 302}, " OPEN, "/ack/status", "200 to 299" },
	{ ID "\"ack\": {\"type\": \"text/html\", \"body\": \"x\"}, " OPEN, "/ack/type", "must be" },
	{ ID "\"ack\": {\"status\": 204, \"body\": \"x\"}, " OPEN, "/ack/body", "no body" },
	{ ID "\"retries\": \"often\", " OPEN, "/retries", "no such value" },
	{ ID "\"replay_scope\": \"id\", " OPEN, "/replay_scope", "no such value" },
	{ ID "\"handshake\": {}, " OPEN, "/handshake", "must be a list" },
	{ ID "\"handshake\": [{\"when\": {}}], " OPEN, "/handshake/0", "needs when and reply" },
	{ ID "\"handshake\": [{\"when\": {\"json:/a\": \"b\"}, \"reply\": {}}], " OPEN,
		"/handshake/0", "must be \"signed\": true" },
	{ ID "\"handshake\": [{\"when\": {}, \"reply\": {\"body\": \"{json:/a}\"}}], " OPEN,
		"/handshake/0", "must be \"signed\": true" },
	{ ID "\"handshake\": [{\"when\": {\"header:A\": 1}, \"reply\": {}}], " OPEN,
		"/handshake/0/when/header:A", "must be a string" },
	{ ID "\"handshake\": [{\"when\": {}, \"reply\": {\"type\": \"application/json\", \"body\": "
	     "\"{query:a}\"}}], " OPEN,
		"/handshake/0/reply", "must be text/plain" },
	{ ID "\"handshake\": [{\"when\": {}, \"visit\": \"json:/a\", \"reply\": {}}], " OPEN,
		"/handshake/0/visit", "needs a topic" },
	{ ID "\"handshake\": [{\"when\": {}, \"method\": \"PUT\", \"reply\": {}}], " OPEN,
		"/handshake/0/method", "must be" },
};

static bool told(const struct config_report *report, const char *pointer, const char *text)
{
	for (size_t i = 0; i < report->count; i++) {
		const struct config_problem *p = &report->problems[i];

		if (p->level == PROBLEM_ERROR && strcmp(p->pointer, pointer) == 0 &&
			strstr(p->text, text)) {
			assert_int_equal(p->line, 1);
			return true;
		}
	}
	for (size_t i = 0; i < report->count; i++)
		print_error("told: %s %s\n", report->problems[i].pointer, report->problems[i].text);
	return false;
}

static void mistakes_are_told_with_their_place(void **state)
{
	static const char *const keys[] = { KEY_TEXT, KEY_TEXT " x", "\n", NULL };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char pointer[128];
		struct lab lab;

		(void)snprintf(pointer, sizeof(pointer), "/sources/s%s", rows[i].pointer);
		assert_int_equal(lab_try(&lab, rows[i].source, keys), ERR_CONFIG);
		assert_null(lab.scheme);
		if (!told(&lab.report, pointer, rows[i].text))
			fail_msg("row %zu: not told: %s %s", i, pointer, rows[i].text);
		for (size_t p = 0; p < lab.report.count; p++)
			assert_null(strstr(lab.report.problems[p].text, "Q2xh"));
		assert_null(strstr(lab.err.text, "Q2xh"));
		lab_close(&lab);
	}
}

static void a_problem_names_its_line(void **state)
{
	static const char *const keys[] = { "k", NULL };
	struct lab lab;

	(void)state;
	assert_int_equal(
		lab_try(&lab, "\n\"id\": \"none\",\n\"verify\": {\n\"alg\": \"hmac-md5\"},\n" KEYS,
			keys),
		ERR_CONFIG);
	assert_int_equal(lab.report.count, 1);
	assert_string_equal(lab.report.problems[0].pointer, "/sources/s/verify/alg");
	assert_int_equal(lab.report.problems[0].line, 4);
	lab_close(&lab);
}

static void many_mistakes_are_told_at_once(void **state)
{
	static const char *const keys[] = { "zz", "zz", NULL };
	struct lab lab;

	(void)state;
	assert_int_equal(
		lab_try(&lab,
			"\"id\": \"x\", \"type\": \"y\", \"reject\": 1, " V
			", \"key\": \"hex\"}, \"keys\": [{\"file\": \"k0\"}, {\"file\": \"k1\"}]",
			keys),
		ERR_CONFIG);
	assert_int_equal(lab.report.count, 5);
	lab_close(&lab);
}

static size_t warnings(const struct lab *lab, const char *text)
{
	size_t count = 0;

	for (size_t i = 0; i < lab->report.count; i++)
		count += lab->report.problems[i].level == PROBLEM_WARNING &&
			 strstr(lab->report.problems[i].text, text);
	return count;
}

static void doubtful_things_are_warned_of(void **state)
{
	struct lab lab;

	(void)state;
	lab_open(&lab, ID V "}, " KEYS, (const char *const[]){ " k", NULL });
	assert_int_equal(warnings(&lab, "white space"), 1);
	lab_close(&lab);
	lab_open(&lab, ID V ", \"time\": \"header:T\"}, " KEYS, (const char *const[]){ "k", NULL });
	assert_int_equal(warnings(&lab, "does not cover the time"), 1);
	lab_close(&lab);
	lab_open(&lab, "\"preset\": \"shopify\", " KEYS, (const char *const[]){ "k", NULL });
	assert_int_equal(warnings(&lab, "the type is not signed"), 1);
	lab_close(&lab);
	lab_open(&lab, "\"preset\": \"github\", " KEYS, (const char *const[]){ "k\n", NULL });
	assert_int_equal(lab.report.count, 0);
	lab_close(&lab);
}

static void keys_come_from_the_environment_too(void **state)
{
	struct lab lab;

	(void)state;
	assert_int_equal(setenv("SCHEME_TEST_KEY", "k", 1), 0);
	lab_open(&lab, ID V "}, \"keys\": [{\"env\": \"SCHEME_TEST_KEY\"}]",
		(const char *const[]){ NULL });
	assert_string_equal(scheme_key_fingerprint(lab.scheme, 0), "8254c329");
	lab_close(&lab);
}

static void keys_have_a_size(void **state)
{
	static char text[2 * CRYPTO_SECRET_MAX + 3];
	const char *const keys[] = { text, NULL };
	struct lab lab;

	(void)state;
	memset(text, 'a', CRYPTO_SECRET_MAX);
	lab_open(&lab, ID V "}, " KEYS, keys);
	lab_close(&lab);
	memset(text, 'a', CRYPTO_SECRET_MAX + 1);
	assert_int_equal(lab_try(&lab, ID V "}, " KEYS, keys), ERR_CONFIG);
	lab_close(&lab);
	memset(text, 'a', 2 * CRYPTO_SECRET_MAX);
	lab_open(&lab, ID V ", \"key\": \"hex\"}, " KEYS, keys);
	lab_close(&lab);
	memset(text, 'a', 2 * CRYPTO_SECRET_MAX + 2);
	assert_int_equal(lab_try(&lab, ID V ", \"key\": \"hex\"}, " KEYS, keys), ERR_CONFIG);
	lab_close(&lab);
}

#define K(n) "{\"file\": \"k" n "\"}, "

static void a_source_has_eight_keys_at_most(void **state)
{
	static const char *const keys[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", NULL };
	struct lab lab;

	(void)state;
	lab_open(&lab,
		ID V "}, \"keys\": [" K("0") K("1") K("2") K("3") K("4") K("5")
			K("6") "{\"file\": \"k7\"}]",
		keys);
	assert_int_equal(scheme_key_count(lab.scheme), 8);
	lab_close(&lab);
	assert_int_equal(lab_try(&lab,
				 ID V "}, \"keys\": [" K("0") K("1") K("2") K("3") K("4") K("5")
					 K("6") K("7") "{\"file\": \"k8\"}]",
				 keys),
		ERR_CONFIG);
	lab_close(&lab);
}

/* 64 pointers are scanned in one pass; the 65th is one too many. */
static void json_references_are_counted(void **state)
{
	static char source[8000];

	(void)state;
	for (int count = 64; count <= 65; count++) {
		size_t at = (size_t)snprintf(
			source, sizeof(source), "\"id\": \"header:A\", " OPEN ", \"entity\": [\"");
		struct lab lab;

		for (int i = 0; i < count; i++)
			at += (size_t)snprintf(source + at, sizeof(source) - at, "%s{json:/m%d}",
				i % 20 == 19 ? "\",\"" : "", i);
		(void)snprintf(source + at, sizeof(source) - at, "\"]");
		assert_int_equal(lab_try(&lab, source, (const char *const[]){ NULL }),
			count == 64 ? ERR_OK : ERR_CONFIG);
		lab_close(&lab);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mistakes_are_told_with_their_place),
		cmocka_unit_test(a_problem_names_its_line),
		cmocka_unit_test(many_mistakes_are_told_at_once),
		cmocka_unit_test(doubtful_things_are_warned_of),
		cmocka_unit_test(keys_come_from_the_environment_too),
		cmocka_unit_test(keys_have_a_size),
		cmocka_unit_test(a_source_has_eight_keys_at_most),
		cmocka_unit_test(json_references_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
