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
	early = scheme_handshake(lab->scheme, &r.rq, NULL, out);
	assert_int_equal(lab_verify(lab, &r, draft.now_ms), forged ? ERR_BAD_SIGNATURE : ERR_OK);
	late = scheme_handshake(lab->scheme, &r.rq, &lab->verdict, out);
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
		assert_int_equal(
			scheme_handshake(lab.scheme, &r.rq, NULL, &answer), rows[i].answer != NULL);
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
	assert_true(scheme_handshake(lab.scheme, &r.rq, NULL, &answer));
	assert_int_equal(answer.status, 204);
	assert_null(answer.content_type);
	lab_request(&r, "X-Pong: ", SLICE_EMPTY);
	assert_false(scheme_handshake(lab.scheme, &r.rq, NULL, &answer));
	scheme_answer_done(&answer);
	lab_close(&lab);
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
		cmocka_unit_test(success_and_refusal_may_have_their_own_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
