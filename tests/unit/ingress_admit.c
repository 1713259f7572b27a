/* ingress_admit.c - from requests to codes, statuses and records: the order of the checks, and what
 * a record says. */
#include "../../src/ingress/admit.h"
#include "support/hooks.h"

#include "postern/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define GOOD "{\"id\":\"e1\",\"type\":\"paid\",\"account\":7,\"version\":41}"
#define MORE_HEADERS 8

struct scene {
	struct scheme *scheme;
	struct scheme_signed signed_request;
	struct header headers[SCHEME_DRAFT_HEADERS + MORE_HEADERS];
	struct admit_request rq;
	struct admit_rates rates;
	struct admit_tools tools;
	struct admission out;
	struct event event;
};

static void scene_open(struct files *f, struct scene *s, const char *source)
{
	*s = (struct scene){ .signed_request = SCHEME_SIGNED_INIT,
		.tools = ADMIT_TOOLS_INIT,
		.out = ADMISSION_INIT };
	s->scheme = hooks_scheme(f, source);
	assert_int_equal(limit_open(10, &s->rates.sources, NULL), ERR_OK);
	assert_int_equal(limit_open(10, &s->rates.clients, NULL), ERR_OK);
	s->rq = (struct admit_request){
		.source = config_source(f->config, slice_str(source)),
		.scheme = s->scheme,
		.http = { .method = SLICE_LIT("POST"),
			.path = SLICE_LIT("/hooks/x"),
			.headers = s->headers },
		.max_body = 4096,
		.client = SLICE_LIT("127.0.0.1"),
		.request_id = SLICE_LIT("rid-1"),
		.now_ms = HOOKS_NOW_MS,
		.mono_ms = 1000,
	};
	memset(s->rq.attempt, 0xab, sizeof(s->rq.attempt));
	memset(s->rq.trace, 0x11, sizeof(s->rq.trace));
}

static void scene_close(struct scene *s)
{
	limit_close(&s->rates.sources);
	limit_close(&s->rates.clients);
	admit_tools_done(&s->tools);
	admission_done(&s->out);
	scheme_signed_done(&s->signed_request);
	scheme_close(&s->scheme);
}

static void add(struct scene *s, const char *name, const char *value)
{
	s->headers[s->rq.http.header_count++] =
		(struct header){ .name = slice_str(name), .value = slice_str(value) };
}

static void sign_at(struct scene *s, const char *body, int64_t now_ms, bool bad)
{
	hooks_sign(s->scheme, body, now_ms, bad, &s->signed_request);
	for (size_t i = 0; i < s->signed_request.header_count; i++)
		s->headers[s->rq.http.header_count++] = s->signed_request.headers[i];
	s->rq.http.body = slice_str(body);
	s->rq.declared = strlen(body);
}

static enum err_code run(struct scene *s)
{
	struct err err = ERR_INIT;

	admission_reset(&s->out);
	admit_head(&s->rq, &s->rates, &s->tools, &s->out);
	if (s->out.next == ADMIT_GO_ON)
		admit_whole(&s->rq, &s->tools, &s->out);
	if (s->out.next == ADMIT_APPEND &&
		event_decode(s->out.record.headers, &s->event, &err) != ERR_OK)
		fail_msg("%s", err.text);
	return s->out.code;
}

static void assert_text(struct slice have, const char *want)
{
	if (!slice_eq_str(have, want))
		fail_msg("'%.*s', not '%s'", SLICE_FMT(have), want);
}

/* ---- codes and their order ---------------------------------------------------------------------
 */

enum change {
	NOTHING,
	NO_SOURCE,
	METHOD_PUT,
	TOO_LONG,
	CHUNKED_TOO_LONG, /* the length is not known before it is there */
	NO_SIGNATURE,
	WRONG_SIGNATURE,
	SHORT_SIGNATURE,
	OTHER_BODY,
	OLD,
	AT_THE_EDGE,
	AHEAD,
	NO_TIME,
	BAD_TIME
};

struct row {
	const char *name, *source, *body;
	enum change change;
	enum admit_next next;
	enum err_code code;
	unsigned status;
	bool in_head; /* before the body is read */
};

/* clang-format off */
static const struct row rows[] = {
	{ "good", "plain", GOOD, NOTHING, ADMIT_APPEND, ERR_OK, 200, false },
	{ "unknown source", "plain", GOOD, NO_SOURCE, ADMIT_REFUSE, ERR_UNKNOWN_SOURCE, 404, true },
	{ "other method", "plain", GOOD, METHOD_PUT, ADMIT_REFUSE, ERR_METHOD_NOT_ALLOWED, 405, true },
	{ "too long", "plain", GOOD, TOO_LONG, ADMIT_REFUSE, ERR_TOO_LARGE, 413, true },
	{ "chunked", "plain", GOOD, CHUNKED_TOO_LONG, ADMIT_APPEND, ERR_OK, 200, false },
	{ "no signature", "plain", GOOD, NO_SIGNATURE, ADMIT_REFUSE, ERR_MISSING_SIGNATURE, 401, true },
	{ "no signature, own status", "acked", GOOD, NO_SIGNATURE, ADMIT_REFUSE, ERR_MISSING_SIGNATURE, 403, true },
	{ "wrong signature", "plain", GOOD, WRONG_SIGNATURE, ADMIT_REFUSE, ERR_BAD_SIGNATURE, 401, false },
	{ "wrong signature, own status", "acked", GOOD, WRONG_SIGNATURE, ADMIT_REFUSE, ERR_BAD_SIGNATURE, 403, false },
	{ "signature cut off", "plain", GOOD, SHORT_SIGNATURE, ADMIT_REFUSE, ERR_BAD_SIGNATURE, 401, false },
	{ "another body", "plain", GOOD, OTHER_BODY, ADMIT_REFUSE, ERR_BAD_SIGNATURE, 401, false },
	{ "old", "timed", GOOD, OLD, ADMIT_REFUSE, ERR_EXPIRED, 400, false },
	{ "old, at the edge", "timed", GOOD, AT_THE_EDGE, ADMIT_APPEND, ERR_OK, 200, false },
	{ "ahead", "timed", GOOD, AHEAD, ADMIT_REFUSE, ERR_CLOCK_SKEW, 400, false },
	{ "no time", "timed", GOOD, NO_TIME, ADMIT_REFUSE, ERR_BAD_TIMESTAMP, 400, true },
	{ "bad time", "timed", GOOD, BAD_TIME, ADMIT_REFUSE, ERR_BAD_TIMESTAMP, 400, true },
	{ "not JSON", "plain", "id=e1", NOTHING, ADMIT_APPEND, ERR_MALFORMED_BODY, 200, false },
	{ "empty body", "plain", "", NOTHING, ADMIT_APPEND, ERR_MALFORMED_BODY, 200, false },
	{ "version that is none", "plain", "{\"id\":\"e1\",\"version\":1.5}", NOTHING, ADMIT_APPEND, ERR_MALFORMED_BODY, 200, false },
	{ "no id", "plain", "{\"type\":\"paid\"}", NOTHING, ADMIT_APPEND, ERR_MISSING_EVENT_ID, 200, false },
	{ "empty id", "plain", "{\"id\":\"\"}", NOTHING, ADMIT_APPEND, ERR_MISSING_EVENT_ID, 200, false },
	{ "kept, no signature", "kept", GOOD, NO_SIGNATURE, ADMIT_APPEND, ERR_MISSING_SIGNATURE, 401, false },
	{ "kept, wrong signature", "kept", GOOD, WRONG_SIGNATURE, ADMIT_APPEND, ERR_BAD_SIGNATURE, 401, false },
	{ "kept, too long", "kept", GOOD, TOO_LONG, ADMIT_REFUSE, ERR_TOO_LARGE, 413, true },
	{ "kept, unusable", "kept", "{}", NOTHING, ADMIT_APPEND, ERR_MISSING_EVENT_ID, 200, false },
};
/* clang-format on */

static void replace(struct scene *s, const char *name, const char *value)
{
	for (size_t i = 0; i < s->rq.http.header_count; i++) {
		if (slice_eq_nocase(s->headers[i].name, slice_str(name)))
			s->headers[i].value = slice_str(value);
	}
}

static void drop(struct scene *s, const char *name)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->rq.http.header_count; i++) {
		if (!slice_eq_nocase(s->headers[i].name, slice_str(name)))
			s->headers[kept++] = s->headers[i];
	}
	s->rq.http.header_count = kept;
}

static void prepare(struct scene *s, const struct row *row)
{
	int64_t signed_ms = HOOKS_NOW_MS;

	if (row->change == OLD)
		signed_ms -= 301000;
	if (row->change == AT_THE_EDGE)
		signed_ms -= 300000;
	if (row->change == AHEAD)
		signed_ms += 301000;
	sign_at(s, row->body, signed_ms, row->change == WRONG_SIGNATURE);
	switch (row->change) {
	case NO_SOURCE: s->rq.source = NULL; break;
	case METHOD_PUT: s->rq.http.method = SLICE_LIT("PUT"); break;
	case TOO_LONG: s->rq.declared = 4097; break;
	case CHUNKED_TOO_LONG: s->rq.declared = UINT64_MAX; break;
	case NO_SIGNATURE: drop(s, "X-Signature"); break;
	case SHORT_SIGNATURE: replace(s, "X-Signature", "abcd"); break;
	case OTHER_BODY: s->rq.http.body = SLICE_LIT("{\"id\":\"e2\"}"); break;
	case NO_TIME: drop(s, "X-Time"); break;
	case BAD_TIME: replace(s, "X-Time", "+1793000000"); break;
	case NOTHING:
	case WRONG_SIGNATURE:
	case OLD:
	case AT_THE_EDGE:
	case AHEAD: break;
	}
}

static void every_request_has_its_code(void **state)
{
	struct files *f = *state;

	hooks_load(f, "");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s;
		bool in_head;

		scene_open(f, &s, rows[i].source);
		prepare(&s, &rows[i]);
		admit_head(&s.rq, &s.rates, &s.tools, &s.out);
		in_head = s.out.next != ADMIT_GO_ON;
		(void)run(&s);
		if (s.out.next != rows[i].next || s.out.code != rows[i].code ||
			s.out.status != rows[i].status || in_head != rows[i].in_head)
			fail_msg("%s: %s, status %u, next %d, %s", rows[i].name,
				err_name(s.out.code), s.out.status, (int)s.out.next,
				in_head ? "in the head" : "whole");
		scene_close(&s);
	}
}

/* A request with every fault shows the first of the order; mending faults shows the next one. */
static void the_cheapest_check_comes_first(void **state)
{
	struct files *f = *state;
	struct scene s;

	hooks_load(f, "");
	scene_open(f, &s, "limited");
	sign_at(&s, "{}", HOOKS_NOW_MS, true);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(run(&s), ERR_BAD_SIGNATURE); /* uses the burst up */
	s.rq.declared = 5000;
	s.rq.http.method = SLICE_LIT("PUT");
	drop(&s, "X-Signature");
	s.rq.source = NULL;
	assert_int_equal(run(&s), ERR_UNKNOWN_SOURCE);
	s.rq.source = config_source(f->config, SLICE_LIT("limited"));
	assert_int_equal(run(&s), ERR_METHOD_NOT_ALLOWED);
	s.rq.http.method = SLICE_LIT("POST");
	assert_int_equal(run(&s), ERR_TOO_LARGE);
	s.rq.declared = 2;
	assert_int_equal(run(&s), ERR_RATE_LIMITED);
	assert_int_equal(s.out.status, 429);
	assert_true(s.out.wait_ms > 1000 && s.out.wait_ms <= 2001);
	s.rq.mono_ms += 2001;
	assert_int_equal(run(&s), ERR_MISSING_SIGNATURE);
	scene_close(&s);
}

static void clients_have_a_rate_of_their_own(void **state)
{
	struct files *f = *state;
	struct scene s;

	hooks_load(f, "");
	scene_open(f, &s, "plain");
	s.rates.client_rate = (struct rate){ .per_second = 1, .burst = 2 };
	sign_at(&s, GOOD, HOOKS_NOW_MS, false);
	assert_int_equal(run(&s), ERR_OK);
	assert_int_equal(run(&s), ERR_OK);
	assert_int_equal(run(&s), ERR_RATE_LIMITED);
	s.rq.client = SLICE_LIT("127.0.0.2");
	assert_int_equal(run(&s), ERR_OK);
	scene_close(&s);
}

/* ---- records -----------------------------------------------------------------------------------
 */

static void a_record_says_everything(void **state)
{
	struct files *f = *state;
	struct scene s;
	char want[128];
	uint8_t digest[32];
	char digest_hex[65];

	hooks_load(f, "");
	scene_open(f, &s, "timed");
	add(&s, "Content-Type", "application/json");
	add(&s, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
	add(&s, "X-Other", "not read by the scheme");
	sign_at(&s, GOOD, HOOKS_NOW_MS - 5000, false);
	assert_int_equal(run(&s), ERR_OK);
	assert_text(s.out.record.key, "default/acct:7");
	assert_text(s.out.event_id, "e1");
	assert_ptr_equal(s.out.record.body.data, s.rq.http.body.data); /* not a copy */
	assert_memory_equal(s.out.record.attempt, s.rq.attempt, ATTEMPT_LEN);
	assert_text(s.event.id, "e1");
	assert_text(s.event.source, "timed");
	assert_text(s.event.tenant, "default");
	assert_text(s.event.type, "paid");
	assert_text(s.event.entity, "acct:7");
	assert_int_equal(s.event.version.kind, VERSION_INTEGER);
	assert_int_equal(s.event.version.value, 41);
	assert_int_equal(s.event.time_ms, HOOKS_NOW_MS - 5000);
	assert_int_equal(s.event.received_ms, HOOKS_NOW_MS);
	assert_text(s.event.content_type, "application/json");
	assert_text(s.event.traceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
	assert_text(s.event.request_id, "rid-1");
	(void)snprintf(want, sizeof(want), "current:%s", scheme_key_fingerprint(s.scheme, 0));
	assert_text(s.event.key_used, want);
	crypto_sha256(s.rq.http.body, digest);
	text_hex(digest, sizeof(digest), digest_hex);
	assert_text(s.event.digest, digest_hex);
	assert_int_equal(s.event.replay.len, 0); /* the id is signed */
	assert_int_equal(s.event.quarantine.len, 0);
	assert_memory_equal(s.event.attempt, s.rq.attempt, ATTEMPT_LEN);
	scene_close(&s);
}

static bool is_kept(const struct scene *s, const char *name)
{
	struct header h;
	size_t at = 0;

	while (event_kept_next(s->out.record.headers, &at, &h)) {
		if (slice_eq_str(h.name, name))
			return true;
	}
	return false;
}

static void headers_that_were_read_are_kept(void **state)
{
	struct files *f = *state;
	struct scene s;

	hooks_load(f, "");
	scene_open(f, &s, "timed");
	add(&s, "X-Other", "y");
	add(&s, "Authorization", "Bearer abc");
	sign_at(&s, GOOD, HOOKS_NOW_MS, false);
	assert_int_equal(run(&s), ERR_OK);
	assert_true(is_kept(&s, "x-signature"));
	assert_true(is_kept(&s, "x-time"));
	assert_false(is_kept(&s, "x-other"));
	assert_false(is_kept(&s, "authorization"));
	scene_close(&s);
}

static void a_trace_is_started_where_there_is_none(void **state)
{
	static const char *const others[] = { NULL, "nonsense",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01" };
	struct files *f = *state;

	hooks_load(f, "");
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		struct scene s;

		scene_open(f, &s, "plain");
		if (others[i])
			add(&s, "traceparent", others[i]);
		sign_at(&s, GOOD, HOOKS_NOW_MS, false);
		assert_int_equal(run(&s), ERR_OK);
		assert_text(s.event.traceparent,
			"00-11111111111111111111111111111111-1111111111111111-01");
		scene_close(&s);
	}
}

/* Unsigned ids: a fresh id must not lead to another partition than the first copy. */
static void unsigned_ids_do_not_choose_the_key(void **state)
{
	static const struct {
		const char *source;
		bool replay;     /* is there a postern-replay? */
		const char *key; /* NULL: tenant/replay */
	} rows_[] = {
		{ "plain", false, "acme/acct:7" },
		{ "unsigned", true, NULL },
		{ "unsigned-entity", true, "default/7" },
		{ "unsigned-both", true, NULL },
	};
	struct files *f = *state;

	hooks_load(f, "");
	for (size_t i = 0; i < ARRAY_LEN(rows_); i++) {
		char want[128];
		struct scene s;

		scene_open(f, &s, rows_[i].source);
		sign_at(&s, GOOD, HOOKS_NOW_MS, false);
		add(&s, "X-Id", "d1");
		add(&s, "X-Account", "7");
		assert_int_equal(run(&s), ERR_OK);
		assert_int_equal(s.event.replay.len, rows_[i].replay ? 64 : 0);
		(void)snprintf(want, sizeof(want), "default/%.*s", SLICE_FMT(s.event.replay));
		assert_text(s.out.record.key, rows_[i].key ? rows_[i].key : want);
		scene_close(&s);
	}
}

static void unusable_requests_are_known_by_their_attempt(void **state)
{
	static const struct {
		const char *source, *body;
		bool bad;
		const char *code;
	} rows_[] = {
		{ "plain", "not json", false, "MALFORMED_BODY" },
		{ "plain", "{}", false, "MISSING_EVENT_ID" },
		{ "kept", GOOD, true, "BAD_SIGNATURE" },
	};
	struct files *f = *state;

	hooks_load(f, "");
	for (size_t i = 0; i < ARRAY_LEN(rows_); i++) {
		struct scene s;

		scene_open(f, &s, rows_[i].source);
		sign_at(&s, rows_[i].body, HOOKS_NOW_MS, rows_[i].bad);
		(void)run(&s);
		assert_int_equal(s.out.next, ADMIT_APPEND);
		assert_text(s.event.quarantine, rows_[i].code);
		assert_text(s.event.id, "abababababababababababababababab");
		assert_text(s.out.event_id, "abababababababababababababababab");
		assert_int_equal(s.event.entity.len, 0);
		assert_ptr_equal(s.out.record.body.data, s.rq.http.body.data);
		assert_true(is_kept(&s, "x-signature"));
		scene_close(&s);
	}
}

/* ---- handshakes --------------------------------------------------------------------------------
 */

/* Each element is a record of its own, with an attempt that follows from the request's. */
static void elements_are_records_of_their_own(void **state)
{
	static const char body[] =
		"{\"first\":7,\"last\":9,\"all\":[{\"id\":\"a\"}, {} ,{\"id\":\"c\"}]}";
	static const char *const bodies[] = { "{\"id\":\"a\"}", "{}", "{\"id\":\"c\"}" };
	static const char *const codes[] = { "", "MISSING_EVENT_ID", "" };
	uint8_t attempts[3][ATTEMPT_LEN];
	struct files *f = *state;
	struct scene s;
	size_t i = 0;

	hooks_load(f, "");
	scene_open(f, &s, "split");
	sign_at(&s, body, HOOKS_NOW_MS, false);
	assert_int_equal(run(&s), ERR_OK);
	assert_int_equal(s.out.next, ADMIT_APPEND);
	assert_true(s.out.is_split);
	assert_int_equal(s.out.element_count, 3);
	assert_text(s.out.event_id, "a");
	for (struct element *e = s.out.elements; e; e = e->next, i++) {
		struct event event;

		assert_int_equal(event_decode(e->record.headers, &event, NULL), ERR_OK);
		assert_text(e->record.body, bodies[i]);
		assert_text(event.quarantine, codes[i]);
		assert_memory_equal(event.attempt, e->record.attempt, ATTEMPT_LEN);
		memcpy(attempts[i], event.attempt, ATTEMPT_LEN);
		for (size_t other = 0; other < i; other++)
			assert_memory_not_equal(attempts[other], attempts[i], ATTEMPT_LEN);
		assert_text(event.gap_first, codes[i][0] ? "" : "7");
		assert_text(event.refetch, codes[i][0] ? "" : "true");
	}
	/* A copy of the request makes copies of its elements. */
	assert_int_equal(run(&s), ERR_OK);
	assert_memory_equal(s.out.elements->record.attempt, attempts[0], ATTEMPT_LEN);
	scene_close(&s);
	scene_open(f, &s, "split");
	sign_at(&s, "{\"all\":[]}", HOOKS_NOW_MS, false);
	assert_int_equal(run(&s), ERR_OK);
	assert_int_equal(s.out.next, ADMIT_EMPTY);
	assert_int_equal(s.out.element_count, 0);
	scene_close(&s);
}

static void handshakes_answer_in_place(void **state)
{
	struct files *f = *state;
	struct scene s;

	hooks_load(f, "");
	scene_open(f, &s, "open"); /* without a signature, by GET */
	s.rq.http.method = SLICE_LIT("GET");
	s.rq.http.query = SLICE_LIT("challenge=abc");
	s.rq.http.has_query = true;
	assert_int_equal(run(&s), ERR_OK);
	assert_int_equal(s.out.next, ADMIT_ANSWER);
	assert_text(buf_slice(&s.tools.answer.body), "abc");
	s.rq.http.query = SLICE_LIT("other=abc");
	assert_int_equal(run(&s), ERR_METHOD_NOT_ALLOWED);
	scene_close(&s);

	scene_open(f, &s, "signed-hello");
	sign_at(&s, "{\"type\":\"hello\",\"word\":\"w\"}", HOOKS_NOW_MS, false);
	assert_int_equal(run(&s), ERR_OK);
	assert_int_equal(s.out.next, ADMIT_ANSWER);
	assert_text(buf_slice(&s.tools.answer.body), "w");
	drop(&s, "X-Signature");
	assert_int_equal(run(&s), ERR_MISSING_SIGNATURE);
	scene_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			every_request_has_its_code, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			the_cheapest_check_comes_first, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			clients_have_a_rate_of_their_own, files_open, files_close),
		cmocka_unit_test_setup_teardown(a_record_says_everything, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			headers_that_were_read_are_kept, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			a_trace_is_started_where_there_is_none, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			unsigned_ids_do_not_choose_the_key, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			unusable_requests_are_known_by_their_attempt, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			elements_are_records_of_their_own, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			handshakes_answer_in_place, files_open, files_close),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
