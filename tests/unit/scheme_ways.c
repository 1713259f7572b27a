/* scheme_ways.c - the rules that no preset can switch off, alternatives of verify, public keys,
 * bearers, and bodies whose elements are signed or mapped one by one. */
#include "support/scheme_lab.h"

#include "postern/pkey.h"

#define KEYS "\"keys\": [{\"file\": \"k0\"}]"
#define ID "\"id\": \"sha256:body\", "
#define NOW_MS (LAB_NOW * INT64_C(1000))

static void hex_mac(const char *key, struct slice text, char out[65])
{
	struct secret secret = { 0 };
	struct crypto_mac *mac = NULL;
	uint8_t bytes[32];

	assert_int_equal(secret_set(&secret, slice_str(key), NULL), ERR_OK);
	assert_int_equal(crypto_mac_open(CRYPTO_SHA256, &secret, &mac, NULL), ERR_OK);
	assert_int_equal(crypto_mac(mac, &text, 1, bytes, NULL), ERR_OK);
	text_hex(bytes, sizeof(bytes), out);
	crypto_mac_close(&mac);
	secret_done(&secret);
}

static enum err_code judge(struct lab *lab, const char *headers, const char *body)
{
	struct lab_request r;

	lab_request(&r, headers, slice_str(body));
	return lab_verify(lab, &r, NOW_MS);
}

/* ---- the rules ---------------------------------------------------------------------------------
 */

/* A byte that moves from the time into the id leaves the signed bytes as they were. */
static void bytes_do_not_move_between_fields(void **state)
{
	char mac[65], headers[256];
	struct lab lab;

	(void)state;
	lab_open(
		&lab, "\"preset\": \"twitch-eventsub\", " KEYS, (const char *const[]){ "k", NULL });
	hex_mac("k", SLICE_LIT("id-2021-02-25T15:02:10Z{}"), mac);
	(void)snprintf(headers, sizeof(headers),
		"Twitch-Eventsub-Message-Id: id-\n"
		"Twitch-Eventsub-Message-Timestamp: 2021-02-25T15:02:10Z\n"
		"Twitch-Eventsub-Message-Signature: sha256=%s",
		mac);
	assert_int_equal(judge(&lab, headers, "{}"), ERR_OK);
	(void)snprintf(headers, sizeof(headers),
		"Twitch-Eventsub-Message-Id: id-2\n"
		"Twitch-Eventsub-Message-Timestamp: 021-02-25T15:02:10Z\n"
		"Twitch-Eventsub-Message-Signature: sha256=%s",
		mac);
	assert_int_equal(judge(&lab, headers, "{}"), ERR_BAD_TIMESTAMP);
	lab_close(&lab);
}

/* What is signed is the body as it came, not what it says. */
static void bodies_are_raw_bytes(void **state)
{
	static const char *const same[] = { "{\"a\":1}", "{\"a\": 1}", "{\"a\":1}\n",
		"{\"\\u0061\":1}", " {\"a\":1}" };
	char mac[65], headers[128];
	struct lab lab;

	(void)state;
	lab_open(&lab, "\"preset\": \"gitea\", \"id\": \"sha256:body\", " KEYS,
		(const char *const[]){ "k", NULL });
	hex_mac("k", slice_str(same[0]), mac);
	(void)snprintf(headers, sizeof(headers), "X-Gitea-Signature: %s", mac);
	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		assert_int_equal(
			judge(&lab, headers, same[i]), i == 0 ? ERR_OK : ERR_BAD_SIGNATURE);
	lab_close(&lab);
}

/* ---- alternatives ------------------------------------------------------------------------------
 */

#define EITHER                                                                                     \
	ID "\"verify\": [{\"alg\": \"hmac-sha256\", \"sig\": \"header:New\", \"match\": "          \
	   "\"{hex}\", "                                                                           \
	   "\"time\": \"header:T\", \"signed\": \"{time}{body}\"}, "                               \
	   "{\"alg\": \"hmac-sha256\", \"sig\": \"header:Old\", \"match\": \"{hex}\"}], " KEYS

static void any_alternative_is_enough(void **state)
{
	char with_time[65], alone[65], headers[256];
	struct lab lab;

	(void)state;
	lab_open(&lab, EITHER, (const char *const[]){ "k", NULL });
	hex_mac("k", SLICE_LIT("1614265330x"), with_time);
	hex_mac("k", SLICE_LIT("x"), alone);
	(void)snprintf(headers, sizeof(headers), "New: %s\nT: 1614265330", with_time);
	assert_int_equal(judge(&lab, headers, "x"), ERR_OK);
	assert_int_equal(lab.verdict.signed_ms, NOW_MS);
	(void)snprintf(headers, sizeof(headers), "Old: %s", alone);
	assert_int_equal(judge(&lab, headers, "x"), ERR_OK);
	assert_int_equal(lab.verdict.signed_ms, INT64_MIN);
	/* Of two refusals the one that came further is told. */
	(void)snprintf(headers, sizeof(headers), "New: %s\nT: 1614265330", alone);
	assert_int_equal(judge(&lab, headers, "x"), ERR_BAD_SIGNATURE);
	assert_int_equal(judge(&lab, "X: y", "x"), ERR_MISSING_SIGNATURE);
	(void)snprintf(headers, sizeof(headers), "New: %s\nT: soon\nOld: %s", with_time, with_time);
	assert_int_equal(judge(&lab, headers, "x"), ERR_BAD_SIGNATURE);
	lab_close(&lab);
}

static void a_weaker_alternative_is_warned_of(void **state)
{
	struct scheme_audit audit;
	struct lab lab;
	size_t count = 0;

	(void)state;
	lab_open(&lab, EITHER, (const char *const[]){ "k", NULL });
	for (size_t i = 0; i < lab.report.count; i++)
		count += strstr(lab.report.problems[i].text, "alternative 2") != NULL;
	assert_int_equal(count, 1);
	scheme_audit(lab.scheme, &audit);
	assert_string_equal(audit.replay, "dedup-only"); /* the weakest counts */
	lab_close(&lab);
}

#define BOTH_KINDS                                                                                 \
	ID "\"verify\": [{\"alg\": \"hmac-sha256\", \"key\": \"base64:whsec_\", \"sig\": "         \
	   "\"header:A\", "                                                                        \
	   "\"match\": \"{hex}\"}, {\"alg\": \"ed25519\", \"key\": \"hex\", \"sig\": "             \
	   "\"header:B\", "                                                                        \
	   "\"match\": \"{hex}\"}], "

/* A key that one alternative cannot read may be right for the other. */
static void keys_go_with_an_alternative(void **state)
{
	static const char hex_key[] =
		"d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737";
	struct lab lab;

	(void)state;
	lab_open(&lab, BOTH_KINDS "\"keys\": [{\"file\": \"k0\"}, {\"file\": \"k1\"}]",
		(const char *const[]){ "whsec_AAAA", hex_key, NULL });
	assert_int_equal(scheme_key_count(lab.scheme), 2);
	lab_close(&lab);
	assert_int_equal(lab_try(&lab,
				 BOTH_KINDS "\"keys\": [{\"file\": \"k0\"}, {\"file\": \"k1\"}, "
					    "{\"file\": \"k2\"}]",
				 (const char *const[]){ "whsec_AAAA", hex_key, "neither!", NULL }),
		ERR_CONFIG);
	assert_non_null(strstr(lab.report.problems[0].text, "no alternative of verify"));
	lab_close(&lab);
}

/* ---- public keys -------------------------------------------------------------------------------
 */

static void pem_of(const struct pkey *pkey, char *out, size_t max)
{
	struct buf der = BUF_INIT(KIB(1)), text = BUF_INIT(KIB(2));

	assert_int_equal(pkey_put_spki(pkey, &der, NULL), ERR_OK);
	assert_int_equal(text_base64(buf_slice(&der), &text, NULL), ERR_OK);
	(void)snprintf(out, max, "-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n",
		buf_str(&text));
	buf_done(&der);
	buf_done(&text);
}

/* ECDSA is written as DER or as both numbers joined, and one is not taken for the other. */
static void both_ways_to_write_ecdsa_are_read(void **state)
{
	static const enum pkey_alg algs[] = { PKEY_ECDSA_P256_DER, PKEY_ECDSA_P256 };
	const struct slice body = SLICE_LIT("{\"a\":1}");
	struct pkey *pkey = NULL;
	char pem[512], headers[512];
	struct lab lab;

	(void)state;
	assert_int_equal(pkey_make(PKEY_P256, &pkey, NULL), ERR_OK);
	pem_of(pkey, pem, sizeof(pem));
	lab_open(&lab,
		ID "\"verify\": {\"alg\": \"ecdsa-p256-sha256\", \"key\": \"pem\", \"sig\": "
		   "\"header:S\", \"match\": \"{base64}\"}, " KEYS,
		(const char *const[]){ pem, NULL });
	for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
		struct buf sig = BUF_INIT(256), text = BUF_INIT(512);

		assert_int_equal(pkey_sign(pkey, algs[i], &body, 1, &sig, NULL), ERR_OK);
		assert_int_equal(text_base64(buf_slice(&sig), &text, NULL), ERR_OK);
		(void)snprintf(headers, sizeof(headers), "S: %s", buf_str(&text));
		assert_int_equal(judge(&lab, headers, "{\"a\":1}"), ERR_OK);
		assert_int_equal(judge(&lab, headers, "{\"a\":2}"), ERR_BAD_SIGNATURE);
		sig.data[sig.len - 1] ^= 1;
		buf_reset(&text);
		assert_int_equal(text_base64(buf_slice(&sig), &text, NULL), ERR_OK);
		(void)snprintf(headers, sizeof(headers), "S: %s", buf_str(&text));
		assert_int_equal(judge(&lab, headers, "{\"a\":1}"), ERR_BAD_SIGNATURE);
		buf_done(&sig);
		buf_done(&text);
	}
	pkey_close(&pkey);
	lab_close(&lab);
}

static void a_key_of_another_kind_is_refused(void **state)
{
	struct pkey *pkey = NULL;
	char pem[512];
	struct lab lab;

	(void)state;
	assert_int_equal(pkey_make(PKEY_P384, &pkey, NULL), ERR_OK);
	pem_of(pkey, pem, sizeof(pem));
	assert_int_equal(
		lab_try(&lab,
			ID "\"verify\": {\"alg\": \"ecdsa-p256-sha256\", \"key\": "
			   "\"pem\", \"sig\": \"header:S\", \"match\": \"{base64}\"}, " KEYS,
			(const char *const[]){ pem, NULL }),
		ERR_CONFIG);
	assert_non_null(strstr(lab.report.problems[0].text, "does not go with"));
	pkey_close(&pkey);
	lab_close(&lab);
}

/* ---- bearers -----------------------------------------------------------------------------------
 */

static void tokens_are_equal_or_not(void **state)
{
	static const struct {
		const char *headers;
		enum err_code want;
	} rows[] = {
		{ "X-Gitlab-Token: secret", ERR_OK },
		{ "X-Gitlab-Token: Secret", ERR_BAD_SIGNATURE },
		{ "X-Gitlab-Token: secre", ERR_BAD_SIGNATURE },
		{ "X-Gitlab-Token: secrets", ERR_BAD_SIGNATURE },
		{ "X-Gitlab-Token: secret ", ERR_BAD_SIGNATURE },
		{ "X-Gitlab-Token: ", ERR_MISSING_SIGNATURE },
		{ "X-Gitlab-Token: secret\nX-Gitlab-Token: secret", ERR_BAD_SIGNATURE },
	};
	struct lab lab;

	(void)state;
	lab_open(&lab, "\"preset\": \"gitlab\", " KEYS, (const char *const[]){ "secret", NULL });
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(judge(&lab, rows[i].headers, "{}"), rows[i].want);
	/* Neither a record nor a log may have it. */
	assert_false(scheme_keeps_header(lab.scheme, SLICE_LIT("x-gitlab-token")));
	assert_true(scheme_hides_header(lab.scheme, SLICE_LIT("x-gitlab-token")));
	lab_close(&lab);
}

static void logins_are_those_of_http(void **state)
{
	static const struct {
		const char *headers;
		enum err_code want;
	} rows[] = {
		{ "Authorization: Basic dTpwOnc=", ERR_OK }, /* u:p:w */
		{ "Authorization: basic dTpwOnc", ERR_OK },
		{ "Authorization: Basic dTpwOnd4", ERR_BAD_SIGNATURE },
		{ "Authorization: Basic u:p:w", ERR_BAD_SIGNATURE },
		{ "Authorization: Bearer dTpwOnc=", ERR_BAD_SIGNATURE },
	};
	struct lab lab;

	(void)state;
	lab_open(&lab, "\"preset\": \"postmark\", " KEYS, (const char *const[]){ "u:p:w", NULL });
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(judge(&lab, rows[i].headers, "{}"), rows[i].want);
	lab_close(&lab);
}

/* ---- elements ----------------------------------------------------------------------------------
 */

#define EACH                                                                                       \
	"\"items\": \"/a\", \"id\": \"item:/i\", \"verify\": {\"alg\": \"hmac-sha256\", "          \
	"\"each\": "                                                                               \
	"\"/a\", \"sig\": \"item:/s\", \"match\": \"{hex}\", \"signed\": "                         \
	"\"{item:/i}:{item:/x}\"}, "                                                               \
	"\"keys\": [{\"file\": \"k0\"}, {\"file\": \"k1\", \"role\": \"previous\"}]"

static void every_element_must_hold(void **state)
{
	char first[65], old[65], bare[65], body[512];
	struct lab lab;

	(void)state;
	lab_open(&lab, EACH, (const char *const[]){ "k", "o", NULL });
	hex_mac("k", SLICE_LIT("1:y"), first);
	hex_mac("o", SLICE_LIT("2:z"), old);
	hex_mac("k", SLICE_LIT("3:"), bare); /* x is absent there */
	(void)snprintf(body, sizeof(body),
		"{\"a\":[{\"i\":1,\"x\":\"y\",\"s\":\"%s\"},{\"i\":3,\"s\":\"%s\"}]}", first, bare);
	assert_int_equal(judge(&lab, "A: b", body), ERR_OK);
	assert_int_equal(lab.verdict.key, 0);
	/* One element needs the old key: so it is in use. */
	(void)snprintf(body, sizeof(body),
		"{\"a\":[{\"i\":2,\"x\":\"z\",\"s\":\"%s\"},{\"i\":1,\"x\":\"y\",\"s\":\"%s\"}]}",
		old, first);
	assert_int_equal(judge(&lab, "A: b", body), ERR_OK);
	assert_int_equal(lab.verdict.key, 1);
	/* The second is the first one's signature. */
	(void)snprintf(body, sizeof(body),
		"{\"a\":[{\"i\":1,\"x\":\"y\",\"s\":\"%s\"},{\"i\":2,\"x\":\"y\",\"s\":\"%s\"}]}",
		first, first);
	assert_int_equal(judge(&lab, "A: b", body), ERR_BAD_SIGNATURE);
	(void)snprintf(body, sizeof(body), "{\"a\":[{\"i\":1,\"x\":\"y\",\"s\":\"%s\"},{\"i\":2}]}",
		first);
	assert_int_equal(judge(&lab, "A: b", body), ERR_MISSING_SIGNATURE);
	assert_int_equal(judge(&lab, "A: b", "{\"a\":[1]}"), ERR_MISSING_SIGNATURE);
	assert_int_equal(judge(&lab, "A: b", "{\"a\":[]}"), ERR_MISSING_SIGNATURE);
	assert_int_equal(judge(&lab, "A: b", "{\"a\":{}}"), ERR_MISSING_SIGNATURE);
	assert_int_equal(judge(&lab, "A: b", "{\"a\":"), ERR_MISSING_SIGNATURE);
	lab_close(&lab);
}

#define ITEMS "\"verify\": {\"alg\": \"none\"}, \"items\": \"/a\", "

static size_t map_all(struct lab *lab, const char *body, struct scheme_mapped *out)
{
	struct scheme_events events = SCHEME_EVENTS_INIT;
	struct lab_request r;
	size_t count = 0;

	lab_request(&r, "H: h", slice_str(body));
	assert_int_equal(lab_verify(lab, &r, NOW_MS), ERR_OK);
	while (scheme_events_next(lab->scheme, &r.rq, &lab->verdict, &events, out))
		count++;
	return count;
}

static void elements_are_events_of_their_own(void **state)
{
	struct scheme_mapped m = SCHEME_MAPPED_INIT;
	struct lab lab;

	(void)state;
	lab_open(&lab, ITEMS "\"id\": \"item:/i\", \"type\": \"json:/t\"",
		(const char *const[]){ NULL });
	assert_int_equal(map_all(&lab, "{\"t\":\"x\",\"a\":[{\"i\":1}, {\"i\" : \"b\"} ]}", &m), 2);
	assert_int_equal(m.code, ERR_OK);
	lab_is(m.id, "b");
	lab_is(m.type, "x");
	lab_is(m.body, "{\"i\" : \"b\"}");
	assert_int_equal(m.index, 1);
	/* None is none; what is no array cannot be split. */
	assert_int_equal(map_all(&lab, "{\"a\":[]}", &m), 0);
	assert_int_equal(map_all(&lab, "{\"a\":1}", &m), 1);
	assert_int_equal(m.code, ERR_MALFORMED_BODY);
	lab_is(m.body, "{\"a\":1}");
	assert_int_equal(map_all(&lab, "{", &m), 1);
	assert_int_equal(m.code, ERR_MALFORMED_BODY);
	assert_int_equal(map_all(&lab, "{\"a\":[\"\\u0031\"]}", &m), 1);
	assert_int_equal(m.code, ERR_MISSING_EVENT_ID);
	lab_is(m.body, "\"\\u0031\"");
	lab_close(&lab);
	scheme_mapped_done(&m);
}

static void too_many_elements_are_unusable(void **state)
{
	struct scheme_mapped m = SCHEME_MAPPED_INIT;
	struct buf body = BUF_INIT(KIB(64));
	struct lab lab;

	(void)state;
	lab_open(&lab, ITEMS "\"id\": \"sha256:item\"", (const char *const[]){ NULL });
	assert_int_equal(buf_put_str(&body, "{\"a\":[0", NULL), ERR_OK);
	for (int i = 1; i < 4097; i++)
		assert_int_equal(buf_put_str(&body, ",0", NULL), ERR_OK);
	assert_int_equal(buf_put_str(&body, "]}", NULL), ERR_OK);
	assert_int_equal(map_all(&lab, buf_str(&body), &m), 4097);
	assert_int_equal(m.code, ERR_MALFORMED_BODY);
	buf_done(&body);
	lab_close(&lab);
	scheme_mapped_done(&m);
}

/* ---- what must not come twice ------------------------------------------------------------------
 */

static void replay_of(struct lab *lab, const char *body, uint8_t out[32])
{
	struct lab_request r;

	lab_request(&r, "H: h", slice_str(body));
	assert_int_equal(lab_verify(lab, &r, NOW_MS), ERR_OK);
	(void)lab_map(lab, &r);
	assert_true(lab->mapped.has_replay);
	memcpy(out, lab->mapped.replay, 32);
}

/* A value that is used once is known whatever stands around it. */
static void a_nonce_is_known_again(void **state)
{
	static const struct {
		const char *token, *id;
		bool same;
	} rows[] = { { "t-1", "a", true }, { "t-1", "b", true }, { "t-2", "a", false } };
	uint8_t first[32], now[32];
	struct lab lab;

	(void)state;
	lab_open(&lab, "\"preset\": \"mailgun\", " KEYS, (const char *const[]){ "k", NULL });
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char mac[65], text[64], body[512];

		(void)snprintf(text, sizeof(text), "%d%s", LAB_NOW, rows[i].token);
		hex_mac("k", slice_str(text), mac);
		(void)snprintf(body, sizeof(body),
			"{\"signature\":{\"timestamp\":\"%d\",\"token\":\"%s\",\"signature\":\"%"
			"s\"},"
			"\"event-data\":{\"id\":\"%s\"}}",
			LAB_NOW, rows[i].token, mac, rows[i].id);
		replay_of(&lab, body, i == 0 ? first : now);
		if (i > 0)
			assert_int_equal(memcmp(first, now, 32) == 0, rows[i].same);
	}
	assert_false(scheme_id_is_signed(lab.scheme)); /* so its record's key is made of it */
	lab_close(&lab);
}

/* Elements of one body under unsigned ids are not copies of each other. */
static void elements_are_no_replays_of_each_other(void **state)
{
	struct scheme_events events = SCHEME_EVENTS_INIT;
	struct scheme_mapped m = SCHEME_MAPPED_INIT;
	struct slice pieces[3] = { SLICE_LIT("{\"a\":[1,1]}"), { (const uint8_t *)"", 1 } };
	char mac[65], headers[128];
	uint8_t want[32];
	struct lab_request r;
	struct lab lab;

	(void)state;
	lab_open(&lab,
		"\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:S\", \"match\": "
		"\"{hex}\"}, "
		"\"items\": \"/a\", \"id\": \"header:I\", " KEYS,
		(const char *const[]){ "k", NULL });
	hex_mac("k", pieces[0], mac);
	(void)snprintf(headers, sizeof(headers), "S: %s\nI: 1", mac);
	lab_request(&r, headers, pieces[0]);
	assert_int_equal(lab_verify(&lab, &r, NOW_MS), ERR_OK);
	for (int i = 0; scheme_events_next(lab.scheme, &r.rq, &lab.verdict, &events, &m); i++) {
		pieces[2] = i == 0 ? SLICE_LIT("0") : SLICE_LIT("1");
		crypto_digest(CRYPTO_SHA256, pieces, 3, want);
		assert_true(m.has_replay && !m.replay_is_digest);
		assert_memory_equal(m.replay, want, 32);
	}
	assert_int_equal(events.index, 2);
	scheme_mapped_done(&m);
	lab_close(&lab);
}

/* ---- forms -------------------------------------------------------------------------------------
 */

static void forms_are_signed_in_order(void **state)
{
	static const struct {
		const char *body, *text;
	} rows[] = {
		{ "b=2&a=1", "a1b2" },
		{ "a=2&a=1&a=2", "a1a2" },
		{ "a=x+y%2B&%61=", "aax y+" },
		{ "", "" },
		{ "&&a&b=", "ab" },
	};
	struct lab lab;

	(void)state;
	lab_open(&lab,
		ID "\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:S\", \"match\": "
		   "\"{hex}\", \"signed\": \"{form-sorted}\"}, " KEYS,
		(const char *const[]){ "k", NULL });
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char mac[65], headers[128];

		hex_mac("k", slice_str(rows[i].text), mac);
		(void)snprintf(headers, sizeof(headers), "S: %s", mac);
		if (judge(&lab, headers, rows[i].body) != ERR_OK)
			fail_msg("\"%s\": %s", rows[i].body, lab.verdict.detail);
	}
	assert_int_equal(judge(&lab, "S: 00", "a=%zz"), ERR_BAD_SIGNATURE);
	lab_close(&lab);
}

static void members_are_signed_in_lines(void **state)
{
	char mac[65], headers[128];
	struct lab lab;

	(void)state;
	lab_open(&lab,
		ID "\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:S\", \"match\": "
		   "\"{hex}\", \"signed\": \"{lines(A,B,C)}\"}, " KEYS,
		(const char *const[]){ "k", NULL });
	hex_mac("k", SLICE_LIT("A\nx\ty\nC\n7\n"), mac);
	(void)snprintf(headers, sizeof(headers), "S: %s", mac);
	assert_int_equal(judge(&lab, headers, "{\"C\":7,\"A\":\"x\\ty\",\"D\":1}"), ERR_OK);
	assert_int_equal(
		judge(&lab, headers, "{\"C\":7,\"A\":\"x\\ty\",\"B\":1}"), ERR_BAD_SIGNATURE);
	assert_int_equal(judge(&lab, headers, "{\"C\":7"), ERR_BAD_SIGNATURE);
	/* One text of lines, which says what follows it: these bytes have one reading. */
	hex_mac("k", SLICE_LIT("A\nx\nB\n1\nC\ny\nB\n2\nC\n7\n"), mac);
	(void)snprintf(headers, sizeof(headers), "S: %s", mac);
	assert_int_equal(
		judge(&lab, headers, "{\"A\":\"x\\nB\\n1\\nC\\ny\",\"B\":2,\"C\":7}"), ERR_OK);
	assert_int_equal(judge(&lab, headers, "{\"A\":\"x\",\"B\":1,\"C\":\"y\\nB\\n2\\nC\\n7\"}"),
		ERR_BAD_SIGNATURE);
	lab_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_do_not_move_between_fields),
		cmocka_unit_test(bodies_are_raw_bytes),
		cmocka_unit_test(any_alternative_is_enough),
		cmocka_unit_test(a_weaker_alternative_is_warned_of),
		cmocka_unit_test(keys_go_with_an_alternative),
		cmocka_unit_test(both_ways_to_write_ecdsa_are_read),
		cmocka_unit_test(a_key_of_another_kind_is_refused),
		cmocka_unit_test(tokens_are_equal_or_not),
		cmocka_unit_test(logins_are_those_of_http),
		cmocka_unit_test(every_element_must_hold),
		cmocka_unit_test(elements_are_events_of_their_own),
		cmocka_unit_test(too_many_elements_are_unusable),
		cmocka_unit_test(a_nonce_is_known_again),
		cmocka_unit_test(elements_are_no_replays_of_each_other),
		cmocka_unit_test(forms_are_signed_in_order),
		cmocka_unit_test(members_are_signed_in_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
