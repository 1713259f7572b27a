/* ingress_again.c - a refused request that was kept is admitted as it would have been when it came:
 * the record is the same byte for byte. */
#include "../../src/ingress/admit.h"
#include "support/hooks.h"

#include "postern/ingress.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define RIGHT_KEY "0123456789abcdef0123456789abcdef\n"
#define WRONG_KEY "ffffffffffffffffffffffffffffffff\n"
#define GOOD "{\"id\":\"e1\",\"type\":\"paid\",\"account\":7,\"version\":41}"
#define TRACE "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

/* clang-format off */
static const char config_text[] =
	"{'admin': {'token_file': 'keys/admin.token'}, 'sources': {"
	"'mapped': {" HOOKS_VERIFY ", " HOOKS_MAPPING ", 'tenant': 'acme', 'quarantine_refused': true},"
	"'timed': {" HOOKS_TIMED ", " HOOKS_MAPPING ", 'quarantine_refused': true},"
	"'unsigned': {" HOOKS_VERIFY ", 'id': 'header:X-Id', 'type': 'header:Content-Type', 'quarantine_refused': true},"
	"'hello': {" HOOKS_VERIFY ", 'id': 'json:/id', 'quarantine_refused': true, 'handshake': [{'when': {'json:/type': 'paid'}, 'signed': true, 'reply': {'type': 'text/plain', 'body': 'hello'}}]},"
	"'url-id': {" HOOKS_VERIFY ", 'id': 'query:id', 'quarantine_refused': true},"
	"'url-signed': {'verify': {'alg': 'hmac-sha256', 'sig': 'header:X-Signature', 'match': '{hex}', 'signed': '{url}{body}'}, 'keys': [{'file': 'keys/a.key'}], 'id': 'json:/id', 'public_url': 'https://example.com/x', 'quarantine_refused': true}"
	"}}";
/* clang-format on */

/* One request, and what the ingress made of it. */
struct scene {
	const struct source_config *source;
	struct scheme_signed signed_request;
	struct header headers[SCHEME_DRAFT_HEADERS + 4];
	struct admit_request rq;
	struct admit_tools tools;
	struct admission out;
	struct buf again_headers, again_key;
	struct err err;
};

static void load(struct files *f)
{
	static char text[sizeof(config_text)];

	memcpy(text, config_text, sizeof(text));
	for (char *c = text; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	files_must_load(f, text, NULL);
}

static void add(struct scene *s, const char *name, const char *value)
{
	s->headers[s->rq.http.header_count++] =
		(struct header){ .name = slice_str(name), .value = slice_str(value) };
}

/* Signed with the right key; bad: with a wrong one. */
static void scene_open(
	struct files *f, struct scene *s, const char *source, const char *body, bool bad)
{
	struct scheme *scheme = hooks_scheme(f, source);

	*s = (struct scene){ .source = config_source(f->config, slice_str(source)),
		.signed_request = SCHEME_SIGNED_INIT,
		.tools = ADMIT_TOOLS_INIT,
		.out = ADMISSION_INIT,
		.again_headers = BUF_INIT(EVENT_HEADERS_MAX),
		.again_key = BUF_INIT(EVENT_KEY_MAX) };
	s->rq = (struct admit_request){
		.source = s->source,
		.http = { .method = SLICE_LIT("POST"), .headers = s->headers },
		.request_id = SLICE_LIT("rid-1"),
		.now_ms = HOOKS_NOW_MS + 123,
	};
	memset(s->rq.attempt, 0xab, sizeof(s->rq.attempt));
	memset(s->rq.trace, 0x11, sizeof(s->rq.trace));
	hooks_sign(scheme, body, HOOKS_NOW_MS, bad, &s->signed_request);
	for (size_t i = 0; i < s->signed_request.header_count; i++)
		s->headers[s->rq.http.header_count++] = s->signed_request.headers[i];
	s->rq.http.body = slice_str(body);
	scheme_close(&scheme);
}

static void scene_close(struct scene *s)
{
	admit_tools_done(&s->tools);
	admission_done(&s->out);
	scheme_signed_done(&s->signed_request);
	buf_done(&s->again_headers);
	buf_done(&s->again_key);
}

/* Admit with this text in the key file. */
static enum err_code admit(struct files *f, struct scene *s, const char *key)
{
	struct scheme *scheme;

	files_put(f, "keys/a.key", key, 0600);
	scheme = hooks_scheme(f, s->source->name);
	s->rq.scheme = scheme;
	admission_reset(&s->out);
	admit_whole(&s->rq, &s->tools, &s->out);
	files_put(f, "keys/a.key", RIGHT_KEY, 0600);
	scheme_close(&scheme);
	return s->out.code;
}

static enum err_code again(struct scene *s)
{
	buf_reset(&s->again_headers);
	buf_reset(&s->again_key);
	s->err = ERR_INIT;
	return ingress_admit_again(
		s->source, &s->out.record, &s->again_headers, &s->again_key, &s->err);
}

static void the_record_is_what_it_would_have_been(void **state)
{
	static const struct {
		const char *source, *body, *id; /* id NULL: the attempt */
	} rows[] = {
		{ "mapped", GOOD, "e1" },
		{ "mapped", "{\"id\":\"e2\",\"account\":\"x\"}", "e2" },
		{ "mapped", "{}", NULL },
		{ "mapped", "no JSON", NULL },
		{ "timed", GOOD, "e1" },
		{ "unsigned", GOOD, "given" },
	};
	struct files *f = *state;

	load(f);
	for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
		const char *body = rows[i / 2].body, *id = rows[i / 2].id;
		struct event event = { 0 };
		struct scene s;

		scene_open(f, &s, rows[i / 2].source, body, false);
		add(&s, "Content-Type", "application/json");
		add(&s, "X-Id", "given");
		if (i % 2)
			add(&s, "traceparent", TRACE);
		assert_int_equal(admit(f, &s, WRONG_KEY), ERR_BAD_SIGNATURE);
		assert_int_equal(s.out.next, ADMIT_APPEND);
		if (again(&s) != ERR_OK)
			fail_msg("%s", s.err.text);
		(void)admit(f, &s, RIGHT_KEY);
		assert_int_equal(s.out.next, ADMIT_APPEND);
		assert_true(slice_eq(buf_slice(&s.again_headers), s.out.record.headers));
		assert_true(slice_eq(buf_slice(&s.again_key), s.out.record.key));
		assert_int_equal(event_decode(buf_slice(&s.again_headers), &event, NULL), ERR_OK);
		assert_true(slice_eq_str(event.id, id ? id : "abababababababababababababababab"));
		assert_int_equal(event.quarantine.len == 0, id != NULL);
		assert_int_equal(event.received_ms, HOOKS_NOW_MS + 123);
		scene_close(&s);
	}
}

static void what_does_not_verify_stays_refused(void **state)
{
	static const struct {
		const char *source;
		int64_t late_ms;
		bool bad, bare; /* bare: without its headers */
		enum err_code kept;
		const char *words;
	} rows[] = {
		{ "mapped", 0, true, false, ERR_BAD_SIGNATURE, "BAD_SIGNATURE" },
		{ "mapped", 0, false, true, ERR_MISSING_SIGNATURE, "MISSING_SIGNATURE" },
		{ "timed", 301000, false, false, ERR_EXPIRED, "EXPIRED" },
		{ "timed", -301000, false, false, ERR_CLOCK_SKEW, "CLOCK_SKEW" },
	};
	struct files *f = *state;

	load(f);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s;

		scene_open(f, &s, rows[i].source, GOOD, rows[i].bad);
		s.rq.now_ms = HOOKS_NOW_MS + rows[i].late_ms;
		if (rows[i].bare)
			s.rq.http.header_count = 0;
		assert_int_equal(admit(f, &s, RIGHT_KEY), rows[i].kept);
		assert_int_equal(again(&s), rows[i].kept);
		assert_non_null(strstr(s.err.text, rows[i].words));
		assert_int_equal(s.again_headers.len + s.again_key.len, 0);
		scene_close(&s);
	}
}

static void what_is_no_event_or_was_not_kept_whole(void **state)
{
	static const struct {
		const char *source, *words;
	} rows[] = {
		{ "hello", "handshake" },
		{ "url-id", "query" },
		{ "url-signed", "query" },
	};
	struct files *f = *state;

	load(f);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scene s;

		scene_open(f, &s, rows[i].source, GOOD, false);
		assert_int_equal(admit(f, &s, WRONG_KEY), ERR_BAD_SIGNATURE);
		assert_int_equal(again(&s), ERR_DENIED);
		assert_non_null(strstr(s.err.text, rows[i].words));
		scene_close(&s);
	}
}

static void a_record_or_a_source_that_cannot_be_read(void **state)
{
	struct files *f = *state;
	struct scene s;

	load(f);
	scene_open(f, &s, "mapped", GOOD, false);
	assert_int_equal(admit(f, &s, WRONG_KEY), ERR_BAD_SIGNATURE);
	files_put(f, "keys/a.key", "", 0600);
	assert_int_equal(again(&s), ERR_CONFIG);
	s.out.record.headers = SLICE_LIT("no block");
	assert_int_equal(again(&s), ERR_SYNTAX);
	scene_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			the_record_is_what_it_would_have_been, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			what_does_not_verify_stays_refused, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			what_is_no_event_or_was_not_kept_whole, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			a_record_or_a_source_that_cannot_be_read, files_open, files_close),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
