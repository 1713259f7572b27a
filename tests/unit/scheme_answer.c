/* scheme_answer.c - handshakes and what they may echo, acknowledgements, refusals. */
#include "support/scheme_lab.h"

#define KEYS "\"keys\": [{\"file\": \"k0\"}]"
#define OPEN "\"id\": \"header:I\", \"verify\": {\"alg\": \"none\"}"

static const char *const one_key[] = { "k", NULL };

/* Sign a body as Slack would and let the scheme look at it, all the way that a request goes. */
static bool slack_asks(struct lab *lab, const char *body, bool forged, struct scheme_answer *out)
{
	struct scheme_signed made = SCHEME_SIGNED_INIT;
	struct scheme_draft draft = {
		.body = slice_str(body),
		.now_ms = LAB_NOW * INT64_C(1000),
		.bad_signature = forged,
	};
	struct lab_request r = { .rq = { .method = SLICE_LIT("POST") } };
	bool early, late;

	assert_int_equal(scheme_sign(lab->scheme, &draft, &made, &lab->err), ERR_OK);
	r.rq.headers = made.headers;
	r.rq.header_count = made.header_count;
	r.rq.body = buf_slice(&made.body);
	early = scheme_handshake(lab->scheme, &r.rq, NULL, draft.now_ms, out);
	assert_int_equal(lab_verify(lab, &r, draft.now_ms), forged ? ERR_BAD_SIGNATURE : ERR_OK);
	late = scheme_handshake(lab->scheme, &r.rq, &lab->verdict, draft.now_ms, out);
	scheme_signed_done(&made);
	assert_false(early);
	return late;
}

#define ASK(challenge) "{\"type\":\"url_verification\",\"challenge\":\"" challenge "\"}"
#define A_64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A_1024 A_64 A_64 A_64 A_64 A_64 A_64 A_64 A_64 A_64 A_64 A_64 A_64 A_64 A_64 A_64 A_64

static void slack_gets_its_challenge_back(void **state)
{
	static const struct {
		const char *body;
		bool forged;
		const char *answer; /* NULL: the normal way */
	} rows[] = {
		{ ASK("3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"), false,
			"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P" },
		{ ASK("a\\u0062<c> "), false, "ab<c> " },
		{ ASK("abc"), true, NULL },
		{ ASK("a\\nb"), false, NULL },
		{ ASK("a\\u0000b"), false, NULL },
		{ ASK("\xc3\xa4"), false, NULL },
		{ ASK(A_1024), false, A_1024 },
		{ ASK(A_1024 "a"), false, NULL },
		{ "{\"type\":\"url_verification\"}", false, NULL },
		{ "{\"type\":\"event_callback\",\"challenge\":\"abc\"}", false, NULL },
		{ "not JSON", false, NULL },
	};
	struct scheme_answer answer = SCHEME_ANSWER_INIT;
	struct lab lab;

	(void)state;
	lab_open(&lab, "\"preset\": \"slack\", " KEYS, one_key);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool answers = slack_asks(&lab, rows[i].body, rows[i].forged, &answer);

		assert_int_equal(answers, rows[i].answer != NULL);
		if (!answers)
			continue;
		assert_int_equal(answer.status, 200);
		assert_string_equal(answer.content_type, "text/plain");
		lab_is(buf_slice(&answer.body), rows[i].answer);
	}
	assert_true(scheme_takes_method(lab.scheme, SLICE_LIT("POST")));
	assert_false(scheme_takes_method(lab.scheme, SLICE_LIT("GET")));
	scheme_answer_done(&answer);
	lab_close(&lab);
}

/* As Meta asks: an unsigned GET that shows a word both sides know. */
static void a_word_in_the_query_is_enough_for_an_unsigned_echo(void **state)
{
	static const struct {
		const char *method, *query, *answer;
	} rows[] = {
		{ "GET", "hub.mode=subscribe&hub.verify_token=word&hub.challenge=11%2052",
			"11 52" },
		{ "GET", "hub.mode=subscribe&hub.verify_token=words&hub.challenge=1", NULL },
		{ "GET", "hub.mode=subscribe&hub.challenge=1", NULL },
		{ "GET", "hub.mode=subscribe&hub.verify_token=word&hub.challenge=%0d%0a", NULL },
		{ "GET", "hub.mode=subscribe&hub.verify_token=word", NULL },
		{ "POST", "hub.mode=subscribe&hub.verify_token=word&hub.challenge=1", NULL },
	};
	struct scheme_answer answer = SCHEME_ANSWER_INIT;
	struct lab lab;

	(void)state;
	lab_open(&lab,
		OPEN ", \"secrets\": {\"verify_token\": {\"file\": \"k0\"}}, \"handshake\": "
		     "[{\"method\": \"GET\", \"when\": {\"query:hub.mode\": \"subscribe\", "
		     "\"query:hub.verify_token\": \"{secret:verify_token}\"}, \"reply\": "
		     "{\"type\": \"text/plain\", \"body\": \"{query:hub.challenge}\"}}]",
		(const char *const[]){ "word\n", NULL });
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lab_request r;

		lab_request(&r, "", SLICE_EMPTY);
		r.rq.method = slice_str(rows[i].method);
		r.rq.query = slice_str(rows[i].query);
		r.rq.has_query = true;
		assert_int_equal(scheme_handshake(lab.scheme, &r.rq, NULL, 0, &answer),
			rows[i].answer != NULL);
		if (rows[i].answer)
			lab_is(buf_slice(&answer.body), rows[i].answer);
	}
	assert_true(scheme_takes_method(lab.scheme, SLICE_LIT("GET")));
	assert_false(scheme_takes_method(lab.scheme, SLICE_LIT("HEAD")));
	scheme_answer_done(&answer);
	lab_close(&lab);
}

static void a_reply_may_be_a_status_alone(void **state)
{
	struct scheme_answer answer = SCHEME_ANSWER_INIT;
	struct lab_request r;
	struct lab lab;

	(void)state;
	lab_open(&lab,
		OPEN ", \"handshake\": [{\"when\": {\"header:X-Ping\": true}, \"reply\": "
		     "{\"status\": 204}}]",
		one_key);
	lab_request(&r, "X-Ping: ", SLICE_EMPTY);
	assert_true(scheme_handshake(lab.scheme, &r.rq, NULL, 0, &answer));
	assert_int_equal(answer.status, 204);
	assert_null(answer.content_type);
	lab_request(&r, "X-Pong: ", SLICE_EMPTY);
	assert_false(scheme_handshake(lab.scheme, &r.rq, NULL, 0, &answer));
	scheme_answer_done(&answer);
	lab_close(&lab);
}

/* ---- the handshakes of providers ---------------------------------------------------------------
 */

#define HMAC "\"alg\": \"hmac-sha256\", \"sig\": \"header:Sig\", \"match\": \"{hex}\""
#define ZOOM                                                                                       \
	"\"id\": \"sha256:body\", \"verify\": {\"alg\": \"hmac-sha256\", \"sig\": "                \
	"\"header:x-zm-signature\", \"match\": \"v0={hex}\", \"signed\": \"v0:{time}:{body}\", "   \
	"\"time\": \"header:x-zm-request-timestamp\"}, \"handshake\": [{\"when\": {"               \
	"\"json:/event\": \"endpoint.url_validation\"}, \"signed\": true, \"reply\": {\"type\": "  \
	"\"application/json\", \"json\": {\"plainToken\": \"{json:/payload/plainToken}\", "        \
	"\"encryptedToken\": \"{hmachex(json:/payload/plainToken)}\"}}}], " KEYS
#define DISCORD                                                                                    \
	"\"id\": \"sha256:body\", \"verify\": {" HMAC "}, \"handshake\": ["                        \
	"{\"when\": {\"json:/type\": \"0\"}, \"signed\": true, \"reply\": {\"status\": 204}}, "    \
	"{\"when\": {\"json:/type\": \"1\"}, \"signed\": true, \"reply\": {\"json\": "             \
	"{\"type\": 1}}}], " KEYS
#define TWITCH                                                                                     \
	"\"id\": \"sha256:body\", \"verify\": {" HMAC "}, \"handshake\": [{\"when\": {"            \
	"\"header:Twitch-Eventsub-Message-Type\": \"webhook_callback_verification\"}, "            \
	"\"signed\": true, \"reply\": {\"type\": \"text/plain\", \"body\": "                       \
	"\"{json:/challenge}\"}}], " KEYS
#define DROPBOX                                                                                    \
	"\"id\": \"sha256:body\", \"verify\": {" HMAC "}, \"handshake\": [{\"method\": \"GET\", "  \
	"\"when\": {\"query:challenge\": true}, \"reply\": {\"type\": \"text/plain\", \"body\": "  \
	"\"{query:challenge}\"}}], " KEYS
#define X_ACTIVITY                                                                                 \
	"\"id\": \"sha256:body\", \"verify\": {\"alg\": \"hmac-sha256\", \"sig\": "                \
	"\"header:Sig\", "                                                                         \
	"\"match\": \"sha256={base64}\"}, \"handshake\": [{\"method\": \"GET\", \"when\": {"       \
	"\"query:crc_token\": true}, \"reply\": {\"type\": \"application/json\", \"json\": {"      \
	"\"response_token\": \"sha256={hmacb64(query:crc_token)}\"}}}], " KEYS
#define MAILCHIMP                                                                                  \
	OPEN ", \"handshake\": [{\"method\": \"GET\", \"when\": {}, \"reply\": {\"status\": "      \
	     "200}}]"
#define OKTA                                                                                       \
	OPEN ", \"handshake\": [{\"method\": \"GET\", \"when\": {"                                 \
	     "\"header:x-okta-verification-challenge\": true}, \"reply\": {\"type\": "             \
	     "\"application/json\", \"json\": {\"verification\": "                                 \
	     "\"{header:x-okta-verification-challenge}\"}}}]"
#define ASANA                                                                                      \
	"\"id\": \"sha256:body\", \"verify\": {" HMAC "}, \"handshake\": [{\"when\": {"            \
	"\"header:X-Hook-Secret\": true}, \"learn\": \"header:X-Hook-Secret\", \"reply\": {"       \
	"\"status\": 200, \"headers\": {\"X-Hook-Secret\": \"{header:X-Hook-Secret}\"}}}]"
#define NOTION                                                                                     \
	"\"id\": \"sha256:body\", \"verify\": {" HMAC "}, \"handshake\": [{\"when\": {"            \
	"\"json:/verification_token\": true}, \"learn\": \"json:/verification_token\", "           \
	"\"reply\": {\"status\": 200}}]"

/* HMAC-SHA256 with the key "k" of "qgg8vlvZRS6UYooatFL8Aw", made with openssl. */
#define TOKEN "qgg8vlvZRS6UYooatFL8Aw"
#define TOKEN_HEX "7648f00663203a3b7c15e7680e9c4a6ea2fd5eb6b44d7ff5858d5588c4ce9ff9"
#define TOKEN_B64 "dkjwBmMgOjt8FedoDpxKbqL9Xra0TX/1hY1ViMTOn/k="

struct ask {
	const char *what, *source, *method, *query, *headers, *body;
	bool is_signed;
	unsigned status;           /* 0: no handshake */
	const char *type, *answer; /* NULL: none */
};

/* clang-format off */
static const struct ask asks[] = {
	{ "zoom", ZOOM, "POST", NULL, "", "{\"event\":\"endpoint.url_validation\",\"payload\":{\"plainToken\":\"" TOKEN "\"}}",
		true, 200, "application/json", "{\"plainToken\":\"" TOKEN "\",\"encryptedToken\":\"" TOKEN_HEX "\"}" },
	{ "zoom, an event in place of a token", ZOOM, "POST", NULL, "",
		"{\"event\":\"endpoint.url_validation\",\"payload\":{\"plainToken\":\"v0:1614265330:{}\"}}", true, 0, NULL, NULL },
	{ "zoom, an empty token", ZOOM, "POST", NULL, "",
		"{\"event\":\"endpoint.url_validation\",\"payload\":{\"plainToken\":\"\"}}", true, 0, NULL, NULL },
	{ "zoom, unsigned", ZOOM, "POST", NULL, "",
		"{\"event\":\"endpoint.url_validation\",\"payload\":{\"plainToken\":\"" TOKEN "\"}}", false, 0, NULL, NULL },
	{ "discord", DISCORD, "POST", NULL, "", "{\"type\":0}", true, 204, NULL, NULL },
	{ "discord, an interaction", DISCORD, "POST", NULL, "", "{\"type\":1}", true, 200, "application/json", "{\"type\":1}" },
	{ "discord, an event", DISCORD, "POST", NULL, "", "{\"type\":2}", true, 0, NULL, NULL },
	{ "twitch", TWITCH, "POST", NULL, "Twitch-Eventsub-Message-Type: webhook_callback_verification", "{\"challenge\":\"pogchamp-kappa-360noscope-vohiyo\"}",
		true, 200, "text/plain", "pogchamp-kappa-360noscope-vohiyo" },
	{ "twitch, a script", TWITCH, "POST", NULL, "Twitch-Eventsub-Message-Type: webhook_callback_verification", "{\"challenge\":\"<script>\"}",
		true, 200, "text/plain", "<script>" },
	{ "twitch, an event", TWITCH, "POST", NULL, "Twitch-Eventsub-Message-Type: notification", "{\"challenge\":\"a\"}", true, 0, NULL, NULL },
	{ "dropbox", DROPBOX, "GET", "challenge=abc%20d", "", "", false, 200, "text/plain", "abc d" },
	{ "dropbox, two lines", DROPBOX, "GET", "challenge=abc%0ad", "", "", false, 0, NULL, NULL },
	{ "dropbox, none", DROPBOX, "GET", "", "", "", false, 0, NULL, NULL },
	{ "x", X_ACTIVITY, "GET", "crc_token=" TOKEN, "", "", false, 200, "application/json", "{\"response_token\":\"sha256=" TOKEN_B64 "\"}" },
	{ "x, an event in place of a token", X_ACTIVITY, "GET", "crc_token=%7B%22a%22%3A1%7D", "", "", false, 0, NULL, NULL },
	{ "x, a long token", X_ACTIVITY, "GET", "crc_token=" A_64 A_64 "a", "", "", false, 0, NULL, NULL },
	{ "x, the longest token", X_ACTIVITY, "GET", "crc_token=" A_64 A_64, "", "", false, 200, "application/json", NULL },
	{ "mailchimp", MAILCHIMP, "GET", NULL, "", "", false, 200, NULL, NULL },
	{ "mailchimp, an event", MAILCHIMP, "POST", NULL, "", "", false, 0, NULL, NULL },
	{ "okta", OKTA, "GET", NULL, "X-Okta-Verification-Challenge: a\"<b>", "", false, 200, "application/json", "{\"verification\":\"a\\\"<b>\"}" },
	{ "okta, none", OKTA, "GET", NULL, "", "", false, 0, NULL, NULL },
	{ "asana, nobody waits", ASANA, "POST", NULL, "X-Hook-Secret: b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81", "{}", false, 0, NULL, NULL },
	{ "notion, nobody waits", NOTION, "POST", NULL, "", "{\"verification_token\":\"secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl\"}", false, 0, NULL, NULL },
};
/* clang-format on */

static enum err_code sign_ask(struct lab *lab, const struct ask *ask, struct scheme_signed *made)
{
	struct scheme_draft draft = {
		.body = slice_str(ask->body),
		.now_ms = LAB_NOW * INT64_C(1000),
		.unsigned_request = !ask->is_signed,
	};

	return scheme_sign(lab->scheme, &draft, made, &lab->err);
}

static void check_ask(const struct ask *ask, struct scheme_answer *answer)
{
	struct scheme_signed made = SCHEME_SIGNED_INIT;
	struct lab_request r;
	struct lab lab;
	bool done;

	lab_open(&lab, ask->source, one_key);
	lab_request(&r, ask->headers, slice_str(ask->body));
	r.rq.method = slice_str(ask->method);
	r.rq.query = slice_str(ask->query);
	r.rq.has_query = ask->query != NULL;
	if (ask->is_signed) {
		assert_int_equal(sign_ask(&lab, ask, &made), ERR_OK);
		for (size_t i = 0; i < made.header_count; i++)
			r.headers[r.rq.header_count++] = made.headers[i];
	}
	done = scheme_handshake(lab.scheme, &r.rq, NULL, LAB_NOW * INT64_C(1000), answer);
	if (!done) {
		(void)lab_verify(&lab, &r, LAB_NOW * INT64_C(1000));
		done = scheme_handshake(
			lab.scheme, &r.rq, &lab.verdict, LAB_NOW * INT64_C(1000), answer);
		assert_true(!done || ask->is_signed);
	}
	if (done != (ask->status != 0))
		fail_msg("%s: %s", ask->what, done ? "answered" : "not answered");
	if (done) {
		assert_int_equal(answer->status, ask->status);
		if (ask->type)
			assert_string_equal(answer->content_type, ask->type);
		if (ask->answer)
			lab_is(buf_slice(&answer->body), ask->answer);
	}
	scheme_signed_done(&made);
	lab_close(&lab);
}

static void each_provider_gets_the_answer_that_it_asks_for(void **state)
{
	struct scheme_answer answer = SCHEME_ANSWER_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(asks); i++)
		check_ask(&asks[i], &answer);
	scheme_answer_done(&answer);
}

/* Without the rule whoever may ask for a challenge could have a body signed that is none. */
static void a_body_that_looks_like_a_challenge_is_no_event(void **state)
{
	static const struct {
		const char *source, *body;
		enum err_code code;
	} rows[] = {
		{ X_ACTIVITY, "12345", ERR_BAD_SIGNATURE },
		{ X_ACTIVITY, TOKEN, ERR_BAD_SIGNATURE },
		{ X_ACTIVITY, "", ERR_BAD_SIGNATURE },
		{ X_ACTIVITY, "{\"a\":1}", ERR_OK },
		{ X_ACTIVITY, A_64 A_64 "a", ERR_OK },
		{ DROPBOX, "12345", ERR_OK },
		{ ZOOM, "12345", ERR_OK },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct ask ask = { .body = rows[i].body, .is_signed = true };
		struct scheme_signed made = SCHEME_SIGNED_INIT;
		struct lab_request r;
		struct lab lab;

		lab_open(&lab, rows[i].source, one_key);
		lab_request(&r, "", slice_str(rows[i].body));
		assert_int_equal(sign_ask(&lab, &ask, &made), ERR_OK);
		r.rq.headers = made.headers;
		r.rq.header_count = made.header_count;
		assert_int_equal(lab_verify(&lab, &r, LAB_NOW * INT64_C(1000)), rows[i].code);
		scheme_signed_done(&made);
		lab_close(&lab);
	}
}

#define ASANA_KEY "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81"

static void a_key_is_found_where_the_sender_tells_it(void **state)
{
	static const struct {
		const char *source, *headers, *body, *key; /* NULL: none */
	} rows[] = {
		{ ASANA, "X-Hook-Secret: " ASANA_KEY, "{}", ASANA_KEY },
		{ ASANA, "X-Hook-Secret: short", "{}", NULL },
		{ ASANA, "X-Hook-Secret: with a blank in it", "{}", NULL },
		{ ASANA, "X-Hook-Secret: " A_64 A_64 A_64 A_64 A_64 A_64 A_64 A_64 "a", "", NULL },
		{ ASANA, "", "{}", NULL },
		{ NOTION, "", "{\"verification_token\":\"secret_\\u0061bc\"}", "secret_abc" },
		{ NOTION, "", "{\"verification_token\":\"\\u0000secret_abc\"}", NULL },
		{ NOTION, "", "{\"verification_token\":12}", NULL },
		{ NOTION, "", "verification_token", NULL },
		{ DROPBOX, "X-Hook-Secret: " ASANA_KEY, "{}", NULL },
	};
	struct scheme_answer answer = SCHEME_ANSWER_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct secret key = { 0 };
		struct lab_request r;
		struct lab lab;

		lab_open(&lab, rows[i].source, one_key);
		lab_request(&r, rows[i].headers, slice_str(rows[i].body));
		assert_int_equal(
			scheme_learn(lab.scheme, &r.rq, &answer, &key), rows[i].key != NULL);
		if (rows[i].key)
			lab_is((struct slice){ key.data, key.len }, rows[i].key);
		assert_false(rows[i].key && !scheme_learns(lab.scheme));
		secret_done(&key);
		lab_close(&lab);
	}
	scheme_answer_done(&answer);
}

static void asana_gets_its_secret_back_in_a_header(void **state)
{
	struct scheme_answer answer = SCHEME_ANSWER_INIT;
	struct secret key = { 0 };
	struct lab_request r;
	struct lab lab;

	(void)state;
	lab_open(&lab, ASANA, one_key);
	assert_int_equal(scheme_key_count(lab.scheme), 0); /* none needs to be there */
	lab_request(&r, "x-hook-secret: " ASANA_KEY, SLICE_EMPTY);
	assert_int_equal(lab_verify(&lab, &r, 0), ERR_MISSING_SIGNATURE);
	assert_true(scheme_learn(lab.scheme, &r.rq, &answer, &key));
	assert_int_equal(answer.header_count, 1);
	lab_is(answer.headers[0].name, "X-Hook-Secret");
	lab_is(answer.headers[0].value, ASANA_KEY);
	assert_true(scheme_hides_header(lab.scheme, SLICE_LIT("x-hook-secret")));
	assert_false(scheme_keeps_header(lab.scheme, SLICE_LIT("x-hook-secret")));
	secret_done(&key);
	scheme_answer_done(&answer);
	lab_close(&lab);
}

static void permission_is_given_by_options(void **state)
{
	static const struct {
		const char *origin, *headers, *allowed; /* NULL: not answered */
	} rows[] = {
		{ "*", "WebHook-Request-Origin: events.example.com", "events.example.com" },
		{ "*.example.com", "WebHook-Request-Origin: events.example.com",
			"events.example.com" },
		{ "*.example.com", "WebHook-Request-Origin: example.org", NULL },
		{ "*", "WebHook-Request-Origin: a b", NULL },
		{ "*", "WebHook-Request-Origin: <script>", NULL },
		{ "*", "WebHook-Request-Callback: https://example.com/", NULL },
		{ "*", "", NULL },
		{ NULL, "WebHook-Request-Origin: events.example.com", NULL },
	};
	struct scheme_answer answer = SCHEME_ANSWER_INIT;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char source[256];
		struct lab_request r;
		struct lab lab;

		(void)snprintf(source, sizeof(source),
			OPEN "%s%s%s, \"rate_limit\": {"
			     "\"per_second\": 2}",
			rows[i].origin ? ", \"webhook_origin\": \"" : "",
			rows[i].origin ? rows[i].origin : "", rows[i].origin ? "\"" : "");
		lab_open(&lab, source, one_key);
		lab_request(&r, rows[i].headers, SLICE_EMPTY);
		r.rq.method = SLICE_LIT("OPTIONS");
		assert_int_equal(
			scheme_takes_method(lab.scheme, r.rq.method), rows[i].origin != NULL);
		assert_int_equal(scheme_handshake(lab.scheme, &r.rq, NULL, 0, &answer),
			rows[i].allowed != NULL);
		if (rows[i].allowed) {
			assert_int_equal(answer.header_count, 3);
			lab_is(answer.headers[0].value, rows[i].allowed);
			lab_is(answer.headers[1].name, "WebHook-Allowed-Rate");
			lab_is(answer.headers[1].value, "120");
		}
		lab_close(&lab);
	}
	scheme_answer_done(&answer);
}

#define SHAKE(text) OPEN ", \"handshake\": [" text "]"
#define WHEN "\"when\": {\"header:A\": true}, "

static void what_would_be_dangerous_is_refused(void **state)
{
	static const struct {
		const char *source, *text; /* NULL: it is fine */
	} rows[] = {
		{ SHAKE("{" WHEN "\"reply\": {}}"), NULL },
		{ SHAKE("{\"when\": {}, \"reply\": {}}"), "it needs a condition" },
		{ SHAKE("{\"when\": {\"json:/a\": true}, \"reply\": {}}"), "must be \"signed\"" },
		{ SHAKE("{" WHEN "\"reply\": {\"json\": {\"a\": \"{json:/a}\"}}}"),
			"must be \"signed\"" },
		{ SHAKE("{" WHEN "\"reply\": {\"headers\": {\"X-A\": \"{body}\"}}}"),
			"must be \"signed\"" },
		{ SHAKE("{" WHEN "\"reply\": {\"headers\": {\"Set-Cookie\": \"a\"}}}"),
			"starts with X-" },
		{ SHAKE("{" WHEN "\"reply\": {\"headers\": {\"X-A\": \"{header:A}\"}}}"), NULL },
		{ SHAKE("{" WHEN "\"reply\": {\"type\": \"application/json\", \"body\": "
			"\"{header:A}\"}}"),
			"stand in json" },
		{ SHAKE("{" WHEN "\"reply\": {\"type\": \"text/html\", \"body\": \"a\"}}"),
			"text/plain or application/json" },
		{ SHAKE("{" WHEN "\"reply\": {\"body\": \"a\", \"json\": {}}}"),
			"either a body or json" },
		{ SHAKE("{" WHEN "\"reply\": {\"json\": [[[[[]]]]]}}"), "deep" },
		{ SHAKE("{" WHEN "\"reply\": {\"json\": {\"a\": [null, true, -1, \"b\\n\"]}}}"),
			NULL },
		{ SHAKE("{" WHEN "\"reply\": {\"json\": 1.5}}"), "whole number" },
		{ SHAKE("{" WHEN
			"\"reply\": {\"json\": \"{secret:a}\"}}") ", \"secrets\": "
								  "{\"a\": {\"file\": \"k0\"}}",
			"tell a secret" },
		{ SHAKE("{\"when\": {\"header:A\": \"{hmachex(header:B)}\"}, \"reply\": {}}"),
			"for replies" },
		{ "\"id\": \"{hmachex(header:B)}\", \"verify\": {\"alg\": \"none\"}",
			"for replies" },
		{ SHAKE("{" WHEN "\"learn\": \"header:A\", \"signed\": true}"),
			"cannot be signed" },
		{ SHAKE("{" WHEN "\"learn\": \"body\"}"), "must be header" },
		{ OPEN ", \"webhook_origin\": \"\"", "must be an origin" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lab lab;
		bool told = false;
		enum err_code rc = lab_try(&lab, rows[i].source, one_key);

		for (size_t p = 0; rows[i].text && p < lab.report.count; p++)
			told |= strstr(lab.report.problems[p].text, rows[i].text) != NULL;
		if (rc != (rows[i].text ? ERR_CONFIG : ERR_OK) || told != (rows[i].text != NULL))
			fail_msg("row %zu: %s, %s", i, err_name(rc),
				lab.report.count ? lab.report.problems[0].text : "");
		lab_close(&lab);
	}
}

static void success_and_refusal_may_have_their_own_words(void **state)
{
	struct scheme_answer answer = SCHEME_ANSWER_INIT;
	struct lab lab;

	(void)state;
	lab_open(&lab, OPEN, one_key);
	assert_int_equal(scheme_ack(lab.scheme, &answer), 0);
	assert_int_equal(scheme_reject_status(lab.scheme), 0);
	lab_close(&lab);
	lab_open(&lab,
		OPEN ", \"reject\": 401, \"ack\": {\"status\": 202, \"type\": \"text/plain\", "
		     "\"body\": \"[accepted]\"}",
		one_key);
	assert_int_equal(scheme_ack(lab.scheme, &answer), 202);
	assert_string_equal(answer.content_type, "text/plain");
	lab_is(buf_slice(&answer.body), "[accepted]");
	assert_int_equal(scheme_reject_status(lab.scheme), 401);
	lab_close(&lab);
	lab_open(&lab, OPEN ", \"ack\": {\"status\": 204}", one_key);
	assert_int_equal(scheme_ack(lab.scheme, &answer), 204);
	assert_null(answer.content_type);
	assert_int_equal(answer.body.len, 0);
	scheme_answer_done(&answer);
	lab_close(&lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slack_gets_its_challenge_back),
		cmocka_unit_test(a_word_in_the_query_is_enough_for_an_unsigned_echo),
		cmocka_unit_test(a_reply_may_be_a_status_alone),
		cmocka_unit_test(each_provider_gets_the_answer_that_it_asks_for),
		cmocka_unit_test(a_body_that_looks_like_a_challenge_is_no_event),
		cmocka_unit_test(a_key_is_found_where_the_sender_tells_it),
		cmocka_unit_test(asana_gets_its_secret_back_in_a_header),
		cmocka_unit_test(permission_is_given_by_options),
		cmocka_unit_test(what_would_be_dangerous_is_refused),
		cmocka_unit_test(success_and_refusal_may_have_their_own_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
