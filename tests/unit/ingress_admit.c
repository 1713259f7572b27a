/* ingress_admit.c - from requests to codes, statuses and records: the order of the checks, and what
 * a record says. */
#include "support/admit_scene.h"

#define GOOD "{\"id\":\"e1\",\"type\":\"paid\",\"account\":7,\"version\":41}"

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
	WRONG_SIGNATURE_NO_ROOM,
	OLD,
	AT_THE_EDGE,
	AHEAD,
	NO_TIME,
	BAD_TIME,
	METHOD_GET,
	NO_ROOM_TO_VERIFY, /* memory for it is not there */
	NO_ROOM_TO_MAP,
	NO_ROOM_FOR_KEY,
	NO_ROOM_FOR_HEADERS,
	HEADERS_TOO_LONG /* for any record */
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
	{ "kept, no room", "kept", GOOD, WRONG_SIGNATURE_NO_ROOM, ADMIT_REFUSE, ERR_BAD_SIGNATURE, 401, false },
	{ "kept, too long", "kept", GOOD, TOO_LONG, ADMIT_REFUSE, ERR_TOO_LARGE, 413, true },
	{ "kept, no memory to verify", "kept", GOOD, NO_ROOM_TO_VERIFY, ADMIT_REFUSE, ERR_UNAVAILABLE, 503, false },
	{ "verified, but not a POST", "open", "", METHOD_GET, ADMIT_REFUSE, ERR_METHOD_NOT_ALLOWED, 405, false },
	{ "no memory to verify", "plain", GOOD, NO_ROOM_TO_VERIFY, ADMIT_REFUSE, ERR_UNAVAILABLE, 503, false },
	{ "no memory to map", "plain", GOOD, NO_ROOM_TO_MAP, ADMIT_REFUSE, ERR_UNAVAILABLE, 503, false },
	{ "no room for a key", "plain", GOOD, NO_ROOM_FOR_KEY, ADMIT_REFUSE, ERR_UNAVAILABLE, 503, false },
	{ "no room for headers", "plain", GOOD, NO_ROOM_FOR_HEADERS, ADMIT_REFUSE, ERR_UNAVAILABLE, 503, false },
	{ "headers for no record", "plain", GOOD, HEADERS_TOO_LONG, ADMIT_APPEND, ERR_MALFORMED_BODY, 200, false },
	{ "a ping, which has no id", "pings", "", NOTHING, ADMIT_APPEND, ERR_OK, 200, false },
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

/* Of a length that a request may have and a record may not. */
static const char *long_text(void)
{
	static char text[KIB(60)];

	memset(text, 'x', sizeof(text) - 1);
	return text;
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
	sign_at(s, row->body, signed_ms,
		row->change == WRONG_SIGNATURE || row->change == WRONG_SIGNATURE_NO_ROOM);
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
	case METHOD_GET: s->rq.http.method = SLICE_LIT("GET"); break;
	case NO_ROOM_TO_VERIFY: s->tools.verdict.captures.max = 8; break;
	case NO_ROOM_TO_MAP: s->tools.mapped.text.max = 8; break;
	case WRONG_SIGNATURE_NO_ROOM:
	case NO_ROOM_FOR_KEY: s->out.text.max = 8; break;
	case NO_ROOM_FOR_HEADERS: s->out.headers.max = 8; break;
	case HEADERS_TOO_LONG: add(s, "Content-Type", long_text()); break;
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

static void of_two_content_types_the_first_is_kept(void **state)
{
	struct files *f = *state;
	struct scene s;

	hooks_load(f, "");
	scene_open(f, &s, "plain");
	add(&s, "Content-Type", "application/json");
	add(&s, "content-type", "text/html");
	sign_at(&s, GOOD, HOOKS_NOW_MS, false);
	assert_int_equal(run(&s), ERR_OK);
	assert_text(s.event.content_type, "application/json");
	scene_close(&s);
}

static void a_trace_that_comes_twice_is_none(void **state)
{
	struct files *f = *state;
	struct scene s;

	hooks_load(f, "");
	scene_open(f, &s, "plain");
	add(&s, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
	add(&s, "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-01");
	sign_at(&s, GOOD, HOOKS_NOW_MS, false);
	assert_int_equal(run(&s), ERR_OK);
	assert_text(s.event.traceparent, "00-11111111111111111111111111111111-1111111111111111-01");
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

/* As many as a record takes, in the order of the request; the rest is left out. */
static void no_more_headers_are_kept_than_a_record_takes(void **state)
{
	struct files *f = *state;
	struct scene s;
	struct header h;
	size_t at = 0, kept = 0;

	hooks_load(f, "");
	scene_open(f, &s, "kept");
	s.rq.http.body = SLICE_LIT(GOOD);
	for (size_t i = 0; i < ADMIT_KEPT_MAX + 2; i++)
		add(&s, "X-Signature", i < ADMIT_KEPT_MAX ? "taken" : "left out");
	assert_int_not_equal(run(&s), ERR_OK);
	assert_int_equal(s.out.next, ADMIT_APPEND);
	for (; event_kept_next(s.out.record.headers, &at, &h); kept++)
		assert_text(h.value, "taken");
	assert_int_equal(kept, ADMIT_KEPT_MAX);
	scene_close(&s);
}

/* The request is kept without the headers that are in the way, its body whole. */
static void headers_that_no_record_holds_are_left_out(void **state)
{
	struct files *f = *state;
	struct scene s;

	hooks_load(f, "");
	scene_open(f, &s, "plain");
	add(&s, "Content-Type", long_text());
	sign_at(&s, GOOD, HOOKS_NOW_MS, false);
	assert_int_equal(run(&s), ERR_MALFORMED_BODY);
	assert_text(s.event.quarantine, "MALFORMED_BODY");
	assert_int_equal(s.event.content_type.len, 0);
	assert_false(is_kept(&s, "x-signature"));
	assert_text(s.out.record.body, GOOD);
	scene_close(&s);
}

/* Unsigned ids: a fresh id must not lead to another partition than the first copy. */
static void unsigned_ids_do_not_choose_the_key(void **state)
{
	static const struct {
		const char *source;
		bool replay;     /* is there a postern-replay? */
		const char *key; /* NULL: tenant/replay */
	} rows_[] = {
		{ "plain", false, "acme/acct:7" }, { "unsigned", true, NULL },
		{ "unsigned-entity", true, "default/7" }, { "unsigned-both", true, NULL },
		{ "unsigned-timed", true, NULL },
		{ "once", true, "default/e1" }, /* the nonce is signed, and so is the id */
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

/* Accepted by somebody later, it has to find the route and the entity that it is for. */
static void unusable_requests_keep_what_could_be_read(void **state)
{
	static const struct {
		const char *body, *type, *entity, *key, *version;
	} rows_[] = {
		{ "{\"type\":\"paid\",\"account\":7,\"version\":4}", "paid", "acct:7",
			"acme/acct:7", "4" },
		{ "{\"id\":\"e\",\"type\":\"paid\",\"account\":7,\"version\":\"x\"}", "paid",
			"acct:7", "acme/acct:7", "" },
		{ "{\"id\":\"\\u0001\",\"type\":\"paid\",\"account\":7}", "paid", "acct:7",
			"acme/acct:7", "" },
		{ "{\"id\":\"e\",\"type\":\"paid\",\"account\":\"\\u0001\"}", "paid", "",
			"acme/abababababababababababababababab", "" },
		{ "{\"id\":\"e\",\"type\":\"\\u0001\",\"account\":7}", "plain", "",
			"acme/abababababababababababababababab", "" },
	};
	struct files *f = *state;

	hooks_load(f, "");
	for (size_t i = 0; i < ARRAY_LEN(rows_); i++) {
		char version[VERSION_TEXT_MAX];
		struct scene s;

		scene_open(f, &s, "plain");
		sign_at(&s, rows_[i].body, HOOKS_NOW_MS, false);
		(void)run(&s);
		assert_int_equal(s.out.next, ADMIT_APPEND);
		assert_int_not_equal(s.event.quarantine.len, 0);
		assert_text(s.event.id, "abababababababababababababababab");
		assert_text(s.event.type, rows_[i].type);
		assert_text(s.event.entity, rows_[i].entity);
		assert_text(s.out.record.key, rows_[i].key);
		version_text(s.event.version, version);
		assert_string_equal(version, rows_[i].version);
		scene_close(&s);
	}
}

/* No two of them are the same event. */
static void pings_are_known_by_their_attempt(void **state)
{
	struct files *f = *state;
	struct scene s;

	hooks_load(f, "");
	scene_open(f, &s, "pings");
	sign_at(&s, "", HOOKS_NOW_MS, false);
	assert_int_equal(run(&s), ERR_OK);
	assert_int_equal(s.event.quarantine.len, 0);
	assert_text(s.event.id, "abababababababababababababababab");
	assert_text(s.out.event_id, "abababababababababababababababab");
	scene_close(&s);
}

/* ---- handshakes --------------------------------------------------------------------------------
 */

/* Only while an operator waits for a key, and only a request that tells one. */
static void a_key_is_learnt_while_it_is_waited_for(void **state)
{
	static const struct {
		const char *key; /* NULL: the request tells none */
		bool is_learning;
		enum admit_next next;
		enum err_code code;
	} rows_[] = {
		{ "0123456789abcdef", true, ADMIT_LEARN, ERR_OK },
		{ "0123456789abcdef", false, ADMIT_REFUSE, ERR_MISSING_SIGNATURE },
		{ "short", true, ADMIT_REFUSE, ERR_MISSING_SIGNATURE },
		{ NULL, true, ADMIT_REFUSE, ERR_MISSING_SIGNATURE },
	};
	struct files *f = *state;

	hooks_load(f, "");
	for (size_t i = 0; i < ARRAY_LEN(rows_); i++) {
		struct scene s;

		scene_open(f, &s, "learning");
		s.rq.is_learning = rows_[i].is_learning;
		if (rows_[i].key)
			add(&s, "X-Hook-Secret", rows_[i].key);
		assert_int_equal(run(&s), rows_[i].code);
		assert_int_equal(s.out.next, rows_[i].next);
		if (rows_[i].next == ADMIT_LEARN) {
			assert_int_equal(s.out.status, 204);
			assert_int_equal(s.tools.learnt.len, strlen(rows_[i].key));
			assert_memory_equal(s.tools.learnt.data, rows_[i].key, s.tools.learnt.len);
		}
		scene_close(&s);
	}
}

/* One that is too large to be kept is known to have been there. */
static void a_request_without_its_body_is_quarantined(void **state)
{
	struct files *f = *state;
	struct scene s;

	hooks_load(f, "");
	scene_open(f, &s, "plain");
	sign_at(&s, GOOD, HOOKS_NOW_MS, false);
	admit_without_body(&s.rq, &s.tools, &s.out);
	assert_int_equal(s.out.next, ADMIT_APPEND);
	assert_int_equal(s.out.code, ERR_TOO_LARGE);
	assert_int_equal(s.out.record.body.len, 0);
	assert_int_equal(event_decode(s.out.record.headers, &s.event, NULL), ERR_OK);
	assert_text(s.event.quarantine, "TOO_LARGE");
	s.out.text.max = 8;
	admission_reset(&s.out);
	admit_without_body(&s.rq, &s.tools, &s.out);
	assert_int_equal(s.out.next, ADMIT_REFUSE);
	assert_int_equal(s.out.code, ERR_UNAVAILABLE);
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
			unusable_requests_keep_what_could_be_read, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			of_two_content_types_the_first_is_kept, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			a_trace_that_comes_twice_is_none, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			no_more_headers_are_kept_than_a_record_takes, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			headers_that_no_record_holds_are_left_out, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			pings_are_known_by_their_attempt, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			a_key_is_learnt_while_it_is_waited_for, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			a_request_without_its_body_is_quarantined, files_open, files_close),
		cmocka_unit_test_setup_teardown(
			handshakes_answer_in_place, files_open, files_close),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
