/* scheme_verify.c - times and their tolerance, several signatures and keys, captures, requirements,
 * and the order in which a request is refused. */
#include "support/scheme_lab.h"

#define KEYS "\"keys\": [{\"file\": \"k0\"}]"
#define TIMED                                                                                      \
	"\"id\": \"header:X-Id\", \"verify\": {\"alg\": \"hmac-sha256\", \"sig\": "                \
	"\"header:X-Sig\", \"match\": \"{hex}\", \"signed\": \"{time}.{body}\", \"time\": "        \
	"\"header:X-Time\", \"tolerance\": 300, \"future_tolerance\": 60"
#define BODY "{\"a\":1}"

static const char *const one_key[] = { "k", NULL };

/* A request with this time as written, signed with key as it stands in the header. */
static void timed(struct lab_request *r, const char *key, const char *time, struct buf *text)
{
	struct err err = ERR_INIT;
	struct secret secret = { 0 };
	struct crypto_mac *mac = NULL;
	struct slice pieces[] = { slice_str(time), SLICE_LIT("."), SLICE_LIT(BODY) };
	uint8_t out[32];
	char hex[65];

	assert_int_equal(secret_set(&secret, slice_str(key), &err), ERR_OK);
	assert_int_equal(crypto_mac_open(CRYPTO_SHA256, &secret, &mac, &err), ERR_OK);
	assert_int_equal(crypto_mac(mac, pieces, 3, out, &err), ERR_OK);
	text_hex(out, 32, hex);
	buf_reset(text);
	assert_int_equal(buf_putf(text, &err, "X-Time: %s\nX-Sig: %s", time, hex), ERR_OK);
	lab_request(r, buf_str(text), SLICE_LIT(BODY));
	crypto_mac_close(&mac);
	secret_done(&secret);
}

static enum err_code judge_time(struct lab *lab, const char *key, const char *time, int64_t now_ms)
{
	struct lab_request r;
	struct buf text = BUF_INIT(KIB(4));
	enum err_code rc, early;

	timed(&r, key, time, &text);
	rc = lab_verify(lab, &r, now_ms);
	early = scheme_precheck(lab->scheme, &r.rq);
	/* What the head alone shows is what the whole request shows, or nothing. */
	assert_true(early == rc || early == ERR_OK);
	buf_done(&text);
	return rc;
}

#define T INT64_C(1700000000)

static void seconds_are_read_strictly_and_compared_whole(void **state)
{
	static const struct {
		const char *time;
		int64_t now_ms;
		enum err_code want;
	} rows[] = {
		{ "1700000000", T * 1000, ERR_OK },
		{ "1700000000", (T + 300) * 1000, ERR_OK },
		{ "1700000000", (T + 300) * 1000 + 999, ERR_OK },
		{ "1700000000", (T + 301) * 1000, ERR_EXPIRED },
		{ "1700000000", (T - 60) * 1000, ERR_OK },
		{ "1700000000", (T - 60) * 1000 - 1, ERR_CLOCK_SKEW },
		{ "1700000000", (T - 61) * 1000, ERR_CLOCK_SKEW },
		{ " 1700000000", T * 1000, ERR_BAD_TIMESTAMP },
		{ "1700000000 ", T * 1000, ERR_BAD_TIMESTAMP },
		{ "+1700000000", T * 1000, ERR_BAD_TIMESTAMP },
		{ "-1700000000", T * 1000, ERR_BAD_TIMESTAMP },
		{ "1700000000.0", T * 1000, ERR_BAD_TIMESTAMP },
		{ "1.7e9", T * 1000, ERR_BAD_TIMESTAMP },
		{ "0x6553f100", T * 1000, ERR_BAD_TIMESTAMP },
		{ "12345", T * 1000, ERR_BAD_TIMESTAMP },
		{ "12345678", T * 1000, ERR_BAD_TIMESTAMP },
		{ "123456789", T * 1000, ERR_EXPIRED },
		{ "00001700000000", T * 1000, ERR_OK },
		{ "99999999999999", T * 1000, ERR_CLOCK_SKEW },
		{ "000001700000000", T * 1000, ERR_BAD_TIMESTAMP },
		{ "", T * 1000, ERR_BAD_TIMESTAMP },
		{ "2023-11-14T22:13:20Z", T * 1000, ERR_BAD_TIMESTAMP },
	};
	struct lab lab;

	(void)state;
	lab_open(&lab, TIMED "}, " KEYS, one_key);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(judge_time(&lab, "k", rows[i].time, rows[i].now_ms), rows[i].want);
	assert_int_equal(scheme_tolerance_s(lab.scheme, false), 300);
	assert_int_equal(scheme_tolerance_s(lab.scheme, true), 60);
	assert_true(scheme_has_time(lab.scheme));
	lab_close(&lab);
}

static void milliseconds_count(void **state)
{
	static const struct {
		const char *time;
		int64_t now_ms;
		enum err_code want;
	} rows[] = {
		{ "1700000000000", (T + 300) * 1000, ERR_OK },
		{ "1700000000000", (T + 300) * 1000 + 1, ERR_EXPIRED },
		{ "1700000000000", (T - 60) * 1000, ERR_OK },
		{ "1700000000000", (T - 60) * 1000 - 1, ERR_CLOCK_SKEW },
		{ "1700000000", T * 1000, ERR_EXPIRED }, /* seconds where milliseconds belong */
	};
	struct lab lab;

	(void)state;
	lab_open(&lab, TIMED ", \"unit\": \"ms\"}, " KEYS, one_key);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(judge_time(&lab, "k", rows[i].time, rows[i].now_ms), rows[i].want);
	lab_close(&lab);
}

static void dates_are_matched_in_full(void **state)
{
	static const struct {
		const char *time;
		enum err_code want;
	} rows[] = {
		{ "2023-11-14T22:13:20Z", ERR_OK },
		{ "2023-11-14T22:13:20.123456789Z", ERR_OK },
		{ "2023-11-14T23:13:20+01:00", ERR_OK },
		{ "2023-11-14T22:08:20Z", ERR_OK }, /* 300 s old */
		{ "2023-11-14T22:08:19.999Z", ERR_EXPIRED },
		{ "2023-11-14T22:14:20Z", ERR_OK }, /* 60 s ahead */
		{ "2023-11-14T22:14:20.001Z", ERR_CLOCK_SKEW },
		{ "2023-11-14T22:13:20", ERR_BAD_TIMESTAMP },
		{ "2023-11-14 22:13:20Z", ERR_BAD_TIMESTAMP },
		{ " 2023-11-14T22:13:20Z", ERR_BAD_TIMESTAMP },
		{ "2023-11-14T22:13:20Zx", ERR_BAD_TIMESTAMP },
		{ "2023-02-30T22:13:20Z", ERR_BAD_TIMESTAMP },
		{ "1700000000", ERR_BAD_TIMESTAMP },
	};
	struct lab lab;

	(void)state;
	lab_open(&lab, TIMED ", \"unit\": \"rfc3339\"}, " KEYS, one_key);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(judge_time(&lab, "k", rows[i].time, T * 1000), rows[i].want);
	lab_close(&lab);
}

/* A sender that dates its requests to the second is not judged by a fraction that it cannot say. */
static void dates_without_a_fraction_are_whole_seconds(void **state)
{
	static const struct {
		const char *time;
		int64_t now_ms;
		enum err_code want;
	} rows[] = {
		{ "2023-11-14T22:13:20Z", (T + 300) * 1000 + 999, ERR_OK },
		{ "2023-11-14T22:13:20Z", (T + 301) * 1000, ERR_EXPIRED },
		{ "2023-11-14T22:13:20.001Z", (T + 300) * 1000 + 1, ERR_OK },
		{ "2023-11-14T22:13:20.001Z", (T + 300) * 1000 + 2, ERR_EXPIRED },
		{ "2023-11-14T22:13:20Z", (T - 60) * 1000 + 999, ERR_OK },
		{ "2023-11-14T22:13:20Z", (T - 61) * 1000 + 999, ERR_CLOCK_SKEW },
	};
	struct lab lab;

	(void)state;
	lab_open(&lab, TIMED ", \"unit\": \"rfc3339\"}, " KEYS, one_key);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(judge_time(&lab, "k", rows[i].time, rows[i].now_ms), rows[i].want);
	lab_close(&lab);
}

/* Forged and old is forged; unsigned and undated is unsigned; forged and undated is undated. */
static void refusals_come_in_order(void **state)
{
	struct lab_request r;
	struct buf text = BUF_INIT(KIB(4));
	struct lab lab;

	(void)state;
	lab_open(&lab, TIMED "}, " KEYS, one_key);
	assert_int_equal(
		judge_time(&lab, "wrong", "1700000000", (T + 999) * 1000), ERR_BAD_SIGNATURE);
	assert_int_equal(judge_time(&lab, "wrong", "x", T * 1000), ERR_BAD_TIMESTAMP);
	assert_int_equal(judge_time(&lab, "k", "1700000000", (T + 999) * 1000), ERR_EXPIRED);
	assert_int_equal(lab.verdict.key, 0);
	assert_int_equal(lab.verdict.signed_ms, T * 1000);
	lab_request(&r, "X-Other: 1", SLICE_LIT(BODY));
	assert_int_equal(lab_verify(&lab, &r, T * 1000), ERR_MISSING_SIGNATURE);
	timed(&r, "k", "1700000000", &text);
	r.headers[0].name = SLICE_LIT("X-Tome");
	assert_int_equal(lab_verify(&lab, &r, T * 1000), ERR_BAD_TIMESTAMP);
	assert_int_equal(scheme_precheck(lab.scheme, &r.rq), ERR_BAD_TIMESTAMP);
	timed(&r, "k", "1700000000", &text);
	lab_header(&r, "x-time", SLICE_LIT("1700000000"));
	assert_int_equal(lab_verify(&lab, &r, T * 1000), ERR_BAD_TIMESTAMP);
	buf_done(&text);
	lab_close(&lab);
}

static void a_source_sets_its_own_tolerance(void **state)
{
	struct lab lab;

	(void)state;
	lab_open(&lab, TIMED "}, \"tolerance\": 10, " KEYS, one_key);
	assert_int_equal(scheme_tolerance_s(lab.scheme, false), 10);
	assert_int_equal(scheme_tolerance_s(lab.scheme, true), 60);
	assert_int_equal(judge_time(&lab, "k", "1700000000", (T + 10) * 1000), ERR_OK);
	assert_int_equal(judge_time(&lab, "k", "1700000000", (T + 11) * 1000), ERR_EXPIRED);
	lab_close(&lab);
	lab_open(&lab, "\"preset\": \"slack\", \"tolerance\": 7, " KEYS, one_key);
	assert_int_equal(scheme_tolerance_s(lab.scheme, true), 7);
	lab_close(&lab);
	lab_open(&lab, "\"preset\": \"slack\", \"future_tolerance\": 7, " KEYS, one_key);
	assert_int_equal(scheme_tolerance_s(lab.scheme, false), 300);
	assert_int_equal(scheme_tolerance_s(lab.scheme, true), 7);
	lab_close(&lab);
}

#define ROTATING                                                                                   \
	"\"keys\": [{\"file\": \"k0\", \"role\": \"previous\", \"not_after\": "                    \
	"\"2023-11-14T22:13:20Z\"}, {\"file\": \"k1\", \"role\": \"next\", \"not_before\": "       \
	"\"2023-11-14T22:13:20Z\"}, {\"file\": \"k2\", \"role\": \"current\"}]"

static void keys_are_tried_while_they_are_valid(void **state)
{
	static const char *const keys[] = { "old", "new", "now", NULL };
	static const struct {
		const char *key;
		int64_t now_ms;
		enum err_code want;
		const char *role;
	} rows[] = {
		{ "now", T * 1000, ERR_OK, "current" },
		{ "old", T * 1000, ERR_OK, "previous" },
		{ "old", T * 1000 + 1, ERR_BAD_SIGNATURE, NULL },
		{ "new", T * 1000, ERR_OK, "next" },
		{ "new", T * 1000 - 1, ERR_BAD_SIGNATURE, NULL },
		{ "other", T * 1000, ERR_BAD_SIGNATURE, NULL },
	};
	struct lab lab;

	(void)state;
	lab_open(&lab, TIMED "}, " ROTATING, keys);
	assert_int_equal(scheme_key_count(lab.scheme), 3);
	assert_string_equal(scheme_key_role(lab.scheme, 0), "current");
	assert_string_equal(scheme_key_role(lab.scheme, 1), "next");
	assert_string_equal(scheme_key_role(lab.scheme, 2), "previous");
	assert_null(scheme_key_kid(lab.scheme, 0));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(
			judge_time(&lab, rows[i].key, "1700000000", rows[i].now_ms), rows[i].want);
		if (rows[i].role)
			assert_string_equal(
				scheme_key_role(lab.scheme, (size_t)lab.verdict.key), rows[i].role);
	}
	assert_true(scheme_key_is_valid(lab.scheme, 2, T * 1000));
	assert_false(scheme_key_is_valid(lab.scheme, 2, T * 1000 + 1));
	lab_close(&lab);
}

static void a_time_when_no_key_is_valid_refuses_all(void **state)
{
	struct lab lab;

	(void)state;
	lab_open(&lab,
		TIMED "}, \"keys\": [{\"file\": \"k0\", \"not_after\": \"2020-01-01T00:00:00Z\"}]",
		one_key);
	assert_int_equal(judge_time(&lab, "k", "1700000000", T * 1000), ERR_BAD_SIGNATURE);
	assert_string_equal(lab.verdict.detail, "no key is valid at this time");
	lab_close(&lab);
}

/* HMAC-SHA256 of "text" with the key "k", and other texts of that kind. */
#define MAC "c1a9bf454b10dfe16515829275ce8fd6e5c7a5df851245037730352a6046f1a5"
#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"
#define FOUR "v1=" ZERO ",v1=" ZERO ",v1=" ZERO ",v1=" ZERO ","
#define LISTED                                                                                     \
	"\"id\": \"sha256:body\", \"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:X-Sig"  \
	"%s\", \"split\": \",\", \"match\": \"v1={hex}\"}, " KEYS

static void any_of_sixteen_signatures_may_fit(void **state)
{
	static const struct {
		const char *headers;
		enum err_code want;
	} rows[] = {
		{ "X-Sig: v1=" MAC, ERR_OK },
		{ "X-Sig: v0=" ZERO ", v1=" MAC "\t,,", ERR_OK },
		{ "X-Sig: v1=zz,v1=00,v1=" MAC, ERR_OK },
		{ "X-Sig: v2=" MAC, ERR_BAD_SIGNATURE },
		{ "X-Sig: v1= " MAC, ERR_BAD_SIGNATURE },
		{ "X-Sig: v1=" MAC "00", ERR_BAD_SIGNATURE },
		{ "X-Sig: ,", ERR_BAD_SIGNATURE },
		{ "X-Sig: " FOUR FOUR FOUR "v1=" ZERO ",v1=" ZERO ",v1=" ZERO ",v1=" MAC, ERR_OK },
		{ "X-Sig: " FOUR FOUR FOUR FOUR "v1=" MAC, ERR_BAD_SIGNATURE },
		{ "X-Sig: v1=" MAC "," FOUR FOUR FOUR FOUR, ERR_BAD_SIGNATURE },
		{ "X-Sig: v1=" MAC "\nX-Sig: v1=" MAC, ERR_BAD_SIGNATURE },
	};
	char source[1024];
	struct lab lab;

	(void)state;
	(void)snprintf(source, sizeof(source), LISTED, "");
	lab_open(&lab, source, one_key);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lab_request r;

		lab_request(&r, rows[i].headers, SLICE_LIT("text"));
		assert_int_equal(lab_verify(&lab, &r, 0), rows[i].want);
	}
	lab_close(&lab);
}

static void headers_with_a_prefix_count_together(void **state)
{
	static const struct {
		const char *headers;
		enum err_code want;
	} rows[] = {
		{ "X-Sig-1: v1=" MAC, ERR_OK },
		{ "x-sig-1: v1=" ZERO "\nX-SIG-2: v1=" MAC, ERR_OK },
		{ "X-Sig: v1=" ZERO "\nX-Sig: v1=" MAC, ERR_OK },
		{ "X-Sig-1: \nX-Sig-2:  ", ERR_BAD_SIGNATURE },
		{ "X-Si: v1=" MAC, ERR_MISSING_SIGNATURE },
	};
	char source[1024];
	struct lab lab;

	(void)state;
	(void)snprintf(source, sizeof(source), LISTED, "*");
	lab_open(&lab, source, one_key);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lab_request r;

		lab_request(&r, rows[i].headers, SLICE_LIT("text"));
		assert_int_equal(lab_verify(&lab, &r, 0), rows[i].want);
	}
	lab_close(&lab);
}

static void every_digest_and_key_encoding_verifies(void **state)
{
	static const struct {
		const char *alg, *key_form, *key, *match, *sig;
	} rows[] = {
		{ "hmac-sha1", "utf8", "k", "{hex}", "2689caa44536d0ae045af048a52df3ffe26e7a05" },
		{ "hmac-sha256", "utf8", "k", "{hex}", MAC },
		{ "hmac-sha256", "hex", "6B", "{hex}", MAC },
		{ "hmac-sha256", "hex:0x", "0x6b", "{hex}", MAC },
		{ "hmac-sha256", "hex:0x", "6b", "{hex}", MAC },
		{ "hmac-sha256", "base64", "aw==", "{hex}", MAC },
		{ "hmac-sha256", "base64:key_", "key_aw", "{hex}", MAC },
		{ "hmac-sha256", "utf8:pre:", "pre:k", "{hex}", MAC },
		{ "hmac-sha256", "hex", "00ff10", "{hex}",
			"2b4573e837462de6f3c89375f4362757f8079292be406f712fc087b8346fb146" },
		{ "hmac-sha384", "utf8", "k", "{base64}",
			"YcVmbcDB3sdJ4Mx+m1tA7BJpm8186ULe1WEfHoAVfx3ErTLtTwWvDJS2H1p95RvH" },
		{ "hmac-sha512", "utf8", "k", "sha512={hex}",
			"sha512=de0c156a45d55733e9b9554c0cbd9d78ade43f2912e15fcbff5d4207b70e6fec"
			"41bdb454b0395afab096b262e06eec79ec0ee0cb6ea4df5acbd283bfd78308bc" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *const keys[] = { rows[i].key, NULL };
		char source[1024], headers[512];
		struct lab_request r;
		struct lab lab;

		(void)snprintf(source, sizeof(source),
			"\"id\": \"sha256:body\", \"verify\": {\"alg\": \"%s\", \"key\": \"%s\", "
			"\"sig\": \"header:S\", \"match\": \"%s\"}, " KEYS,
			rows[i].alg, rows[i].key_form, rows[i].match);
		(void)snprintf(headers, sizeof(headers), "S: %s", rows[i].sig);
		lab_open(&lab, source, keys);
		lab_request(&r, headers, SLICE_LIT("text"));
		assert_int_equal(lab_verify(&lab, &r, 0), ERR_OK);
		r.rq.body = SLICE_LIT("texT");
		assert_int_equal(lab_verify(&lab, &r, 0), ERR_BAD_SIGNATURE);
		lab_close(&lab);
	}
}

/* printf '1700000000.BODY' | openssl dgst -sha256 -hmac 'whsec_text-not-base64' */
#define STRIPE_BODY                                                                                \
	"{\"id\":\"evt_1\",\"type\":\"invoice.paid\",\"data\":{\"object\":"                        \
	"{\"object\":\"invoice\",\"id\":\"in_1\"}}}"
#define STRIPE_MAC "bbfc0a43a591bdc87b2ad7d015d2ea3cfdd86b5bccaa4626493b1d0e98111d14"

static void captures_are_taken_from_the_header(void **state)
{
	static const char *const keys[] = { "whsec_text-not-base64", NULL };
	static const struct {
		const char *sig;
		enum err_code want;
	} rows[] = {
		{ "t=1700000000,v1=" STRIPE_MAC, ERR_OK },
		{ "v1=" STRIPE_MAC ",t=1700000000", ERR_OK },
		{ "t=1700000000,v1=" ZERO ",v1=" STRIPE_MAC ",v0=" ZERO, ERR_OK },
		{ "t=1700000000,t=1700000000,v1=" STRIPE_MAC, ERR_OK },
		{ "t=1700000000,t=1700000001,v1=" STRIPE_MAC, ERR_BAD_SIGNATURE },
		{ "t=1700000001,v1=" STRIPE_MAC, ERR_BAD_SIGNATURE },
		{ "t=,v1=" STRIPE_MAC, ERR_BAD_TIMESTAMP },
		{ "v1=" STRIPE_MAC, ERR_BAD_TIMESTAMP },
		{ "t=12345,v1=" STRIPE_MAC, ERR_BAD_TIMESTAMP },
		{ "t=1700000000", ERR_BAD_SIGNATURE },
		{ "t=1700000000,v0=" STRIPE_MAC, ERR_BAD_SIGNATURE },
		{ "nonsense", ERR_BAD_SIGNATURE },
	};
	struct lab lab;

	(void)state;
	lab_open(&lab, "\"preset\": \"stripe\", " KEYS, keys);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char headers[512];
		struct lab_request r;

		(void)snprintf(headers, sizeof(headers), "Stripe-Signature: %s", rows[i].sig);
		lab_request(&r, headers, SLICE_LIT(STRIPE_BODY));
		assert_int_equal(lab_verify(&lab, &r, T * 1000), rows[i].want);
	}
	lab_close(&lab);
}

/* printf BODY | openssl dgst -sha256 -hmac hush -binary | base64 */
static void shopify_signs_the_body(void **state)
{
	static const char *const keys[] = { "hush\n", NULL };
	struct lab_request r;
	struct lab lab;

	(void)state;
	lab_open(&lab, "\"preset\": \"shopify\", " KEYS, keys);
	lab_request(&r,
		"X-Shopify-Hmac-SHA256: FJLqq+slFiatvR/Mn9yLq1ZjnqvFfDxIof4esqTNZjU=\n"
		"X-Shopify-Webhook-Id: w1\nX-Shopify-Topic: products/update",
		SLICE_LIT("{\"id\":1,\"admin_graphql_api_id\":\"gid://shopify/Product/1\","
			  "\"updated_at\":\"2026-11-22T01:02:03-05:00\"}"));
	assert_int_equal(lab_verify(&lab, &r, 0), ERR_OK);
	assert_int_equal(lab_map(&lab, &r), ERR_OK);
	lab_is(lab.mapped.type, "products/update");
	lab_is(lab.mapped.entity, "gid://shopify/Product/1");
	assert_int_equal(lab.mapped.version.kind, VERSION_TIME);
	lab_close(&lab);
}

/* Signature and time that stand in the body are read from it, once. */
static void a_scheme_may_point_into_the_body(void **state)
{
	static const struct {
		const char *body;
		enum err_code want;
	} rows[] = {
		{ "{\"s\":\"" MAC "\",\"t\":\"text\"}", ERR_OK },
		{ "{\"s\":\"\\u0063"
		  "1a9bf454b10dfe16515829275ce8fd6e5c7a5df851245037730352a6046f1a5"
		  "\",\"t\":\"te\\u0078t\"}",
			ERR_OK },
		{ "{\"s\":\"" MAC "\",\"t\":\"next\"}", ERR_BAD_SIGNATURE },
		{ "{\"s\":\"" MAC "\"}", ERR_BAD_SIGNATURE },
		{ "{\"s\":null,\"t\":\"text\"}", ERR_MISSING_SIGNATURE },
		{ "{\"t\":\"text\"}", ERR_MISSING_SIGNATURE },
		{ "{\"s\":\"" MAC "\",\"t\":\"text\"", ERR_MISSING_SIGNATURE },
		{ "", ERR_MISSING_SIGNATURE },
	};
	struct lab lab;

	(void)state;
	lab_open(&lab,
		"\"id\": \"sha256:body\", \"verify\": {\"alg\": \"hmac-sha256\", \"sig\": "
		"\"json:/s\", \"match\": \"{hex}\", \"signed\": \"{json:/t}\"}, " KEYS,
		one_key);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lab_request r;

		lab_request(&r, "", slice_str(rows[i].body));
		assert_int_equal(scheme_precheck(lab.scheme, &r.rq), ERR_OK);
		assert_int_equal(lab_verify(&lab, &r, 0), rows[i].want);
	}
	lab_close(&lab);
}

static void what_is_required_must_hold(void **state)
{
	static const char *const keys[] = { "k", "open sesame", NULL };
	static const struct {
		const char *headers;
		enum err_code want;
	} rows[] = {
		{ "S: " MAC "\nX-Word: open sesame", ERR_OK },
		{ "S: " MAC "\nX-Word: open sesamE", ERR_BAD_SIGNATURE },
		{ "S: " MAC "\nX-Word: open", ERR_BAD_SIGNATURE },
		{ "S: " MAC, ERR_BAD_SIGNATURE },
		{ "S: " MAC "\nX-Word: open sesame\nX-Word: open sesame", ERR_BAD_SIGNATURE },
	};
	struct lab lab;

	(void)state;
	lab_open(&lab,
		"\"id\": \"sha256:body\", \"verify\": {\"alg\": \"hmac-sha256\", \"sig\": "
		"\"header:S\", \"match\": \"{hex}\", \"require\": [[\"header:X-Word\", "
		"\"{secret:word}\"], [\"method\", \"POST\"]]}, \"secrets\": {\"word\": {\"file\": "
		"\"k1\"}}, " KEYS,
		keys);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lab_request r;

		lab_request(&r, rows[i].headers, SLICE_LIT("text"));
		assert_int_equal(lab_verify(&lab, &r, 0), rows[i].want);
		assert_int_equal(lab.verdict.key, rows[i].want == ERR_OK ? 0 : -1);
	}
	/* A header that must equal a secret is one. */
	assert_true(scheme_hides_header(lab.scheme, SLICE_LIT("x-word")));
	assert_false(scheme_keeps_header(lab.scheme, SLICE_LIT("X-Word")));
	lab_close(&lab);
}

/* Any name of a client's certificate; none has none. The server says which certificate counts. */
static void a_client_certificate_may_be_required(void **state)
{
	static const char tls[] = "\"ingress\": {\"tls\": {\"cert\": \"k0\", \"key\": "
				  "\"k0\", \"client_ca\": \"k0\"}}, ";
	static const struct slice names[] = { SLICE_LIT("hooks.example.com.evil"),
		SLICE_LIT("hooks.example.com\0"), SLICE_LIT("spiffe://a/b"),
		SLICE_LIT("hooks.example.com") };
	static const struct {
		size_t first, count;
		enum err_code want;
		const char *detail;
	} rows[] = {
		{ 0, 4, ERR_OK, "" },
		{ 3, 1, ERR_OK, "" },
		{ 0, 3, ERR_BAD_SIGNATURE, "requirement 1 does not hold" },
		{ 0, 0, ERR_BAD_SIGNATURE, "peer.san is absent" },
	};
	static const char *const sources[] = {
		"\"id\": \"sha256:body\", \"verify\": {\"alg\": \"hmac-sha256\", \"sig\": "
		"\"header:S\", \"match\": \"{hex}\", \"require\": [[\"peer.san\", "
		"\"hooks.example.com\"]]}, " KEYS,
		"\"id\": \"sha256:body\", \"verify\": {\"alg\": \"none\", \"require\": "
		"[[\"peer.san\", \"hooks.example.com\"]]}",
	};

	(void)state;
	for (size_t s = 0; s < ARRAY_LEN(sources); s++) {
		struct lab lab;

		lab_open_in(&lab, tls, sources[s], one_key);
		assert_true(scheme_reads_peer(lab.scheme));
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			struct lab_request r;

			lab_request(&r, "S: " MAC, SLICE_LIT("text"));
			r.rq.peer_sans = &names[rows[i].first];
			r.rq.peer_san_count = rows[i].count;
			assert_int_equal(lab_verify(&lab, &r, 0), rows[i].want);
			if (rows[i].want != ERR_OK)
				assert_string_equal(lab.verdict.detail, rows[i].detail);
		}
		lab_close(&lab);
	}
}

static void functions_and_urls_are_signed(void **state)
{
	/* crc32 and SHA-256 of "text", an explicit port, and one that is only implied */
	static const char *const signs[] = { "{crc32(body)}|{sha256b64(body)}",
		"{url}|{url+port}|{url-port}" };
	static const char *const texts[] = {
		"999008199|mC2ePrmW9VnmM/TRlN7zdh2Qn1o7ZH0ahR/q1nwyydE=",
		"https://[::1]:8443/a?b=c|https://[::1]:8443/a?b=c|https://[::1]/a?b=c",
	};
	struct secret secret = { 0 };
	struct crypto_mac *mac = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(secret_set(&secret, SLICE_LIT("k"), &err), ERR_OK);
	assert_int_equal(crypto_mac_open(CRYPTO_SHA256, &secret, &mac, &err), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(signs); i++) {
		struct slice text = slice_str(texts[i]);
		char source[1024], headers[128] = "S: ";
		uint8_t out[32];
		struct lab_request r;
		struct lab lab;

		assert_int_equal(crypto_mac(mac, &text, 1, out, &err), ERR_OK);
		text_hex(out, 32, headers + 3);
		(void)snprintf(source, sizeof(source),
			"\"id\": \"sha256:body\", \"public_url\": \"https://[::1]:8443/a\", "
			"\"verify\": {\"alg\": \"hmac-sha256\", \"sig\": \"header:S\", \"match\": "
			"\"{hex}\", \"signed\": \"%s\"}, " KEYS,
			signs[i]);
		lab_open(&lab, source, one_key);
		lab_request(&r, headers, SLICE_LIT("text"));
		r.rq.query = SLICE_LIT("b=c");
		r.rq.has_query = true;
		assert_int_equal(lab_verify(&lab, &r, 0), ERR_OK);
		lab_close(&lab);
	}
	crypto_mac_close(&mac);
	secret_done(&secret);
}

static void without_an_algorithm_everything_passes(void **state)
{
	struct lab_request r;
	struct lab lab;

	(void)state;
	lab_open(&lab, "\"id\": \"sha256:body\", \"verify\": {\"alg\": \"none\"}", one_key);
	lab_request(&r, "", SLICE_LIT("anything"));
	assert_int_equal(scheme_precheck(lab.scheme, &r.rq), ERR_OK);
	assert_int_equal(lab_verify(&lab, &r, 0), ERR_OK);
	assert_int_equal(lab.verdict.key, -1);
	assert_int_equal(lab_map(&lab, &r), ERR_OK);
	assert_false(lab.mapped.has_replay);
	lab_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seconds_are_read_strictly_and_compared_whole),
		cmocka_unit_test(milliseconds_count),
		cmocka_unit_test(dates_are_matched_in_full),
		cmocka_unit_test(dates_without_a_fraction_are_whole_seconds),
		cmocka_unit_test(refusals_come_in_order),
		cmocka_unit_test(a_source_sets_its_own_tolerance),
		cmocka_unit_test(keys_are_tried_while_they_are_valid),
		cmocka_unit_test(a_time_when_no_key_is_valid_refuses_all),
		cmocka_unit_test(any_of_sixteen_signatures_may_fit),
		cmocka_unit_test(headers_with_a_prefix_count_together),
		cmocka_unit_test(every_digest_and_key_encoding_verifies),
		cmocka_unit_test(captures_are_taken_from_the_header),
		cmocka_unit_test(shopify_signs_the_body),
		cmocka_unit_test(a_scheme_may_point_into_the_body),
		cmocka_unit_test(what_is_required_must_hold),
		cmocka_unit_test(a_client_certificate_may_be_required),
		cmocka_unit_test(functions_and_urls_are_signed),
		cmocka_unit_test(without_an_algorithm_everything_passes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
