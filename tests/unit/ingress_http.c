/* ingress_http.c - the receiving half over a real socket and a queue in memory.
 *
 * queue_append() is led through here, so that a test can have the queue refuse, or hold records
 * back and complete them as it likes. */
#include "postern/queue.h"

static enum err_code test_append(
	struct queue *queue, enum stream stream, struct record *list, struct err *err);
#define queue_append test_append
#include "../../src/ingress/ack.c"
#undef queue_append

#include "support/hooks.h"
#include "support/raw_client.h"

#include "postern/metrics.h"

enum mode { PASS, FULL, HOLD };

struct half {
	struct files *f;
	struct queue *queue;
	struct ingress *ingress;
	struct lock lock;
	enum mode mode;                  /* guarded by lock */
	struct record *held, *held_last; /* guarded */
	unsigned held_count, appends;    /* guarded */
};
static struct half half;

static void hold(struct record *list)
{
	struct record *last = list;

	half.held_count++;
	for (; last->next; last = last->next)
		half.held_count++;
	if (half.held)
		half.held_last->next = list;
	else
		half.held = list;
	half.held_last = last;
}

static enum err_code test_append(
	struct queue *queue, enum stream stream, struct record *list, struct err *err)
{
	enum mode mode;

	lock_take(&half.lock);
	mode = half.mode;
	half.appends++;
	if (mode == HOLD)
		hold(list);
	lock_give(&half.lock);
	if (mode == FULL)
		return err_set(err, ERR_FULL, "no room");
	return mode == HOLD ? ERR_OK : queue_append(queue, stream, list, err);
}

static void set_mode(enum mode mode)
{
	lock_take(&half.lock);
	half.mode = mode;
	lock_give(&half.lock);
}

/* What was held is completed with these results, one after the other, the last one for the rest. */
static void complete_held(const enum err_code *results, size_t count)
{
	struct record *list;
	size_t n = 0;

	lock_take(&half.lock);
	list = half.held;
	half.held = NULL;
	half.held_count = 0;
	lock_give(&half.lock);
	for (struct record *r = list; r; r = r->next) {
		r->result = results[n];
		n += n + 1 < count;
	}
	ingress_events_done(half.ingress, list);
}

static bool wait_held(unsigned wanted)
{
	int64_t deadline = raw_now_ms() + RAW_DEADLINE_MS;
	unsigned now;

	do {
		(void)poll(NULL, 0, 1);
		lock_take(&half.lock);
		now = half.held_count;
		lock_give(&half.lock);
	} while (now < wanted && raw_now_ms() < deadline);
	return now >= wanted;
}

/* ---- set up ------------------------------------------------------------------------------------
 */

static void start(const char *more)
{
	struct queue_opts opts = {
		.writes_events = true,
		.works = true,
		.limits = { [STREAM_EVENTS] = { MIB(64), INT64_MAX },
			[STREAM_DLQ] = { MIB(1), INT64_MAX },
			[STREAM_QUARANTINE] = { MIB(1), INT64_MAX } },
		.events_done = ingress_events_done,
		.clock = clock_system(),
	};

	hooks_load(half.f, more);
	if (ingress_open(half.f->config, clock_system(), &half.ingress, &half.f->report,
		    &half.f->err) != ERR_OK)
		fail_msg("%s", half.f->err.text);
	opts.events_ctx = half.ingress;
	assert_int_equal(queue_mem_open(&opts, &half.queue, &half.f->err), ERR_OK);
	if (ingress_start(half.ingress, half.queue, -1, &half.f->err) != ERR_OK)
		fail_msg("%s", half.f->err.text);
}

static int set_up(void **state)
{
	half = (struct half){ .mode = PASS };
	lock_init(&half.lock);
	log_set_level(LOG_ERROR);
	if (files_open(state) != 0)
		return -1;
	half.f = *state;
	return 0;
}

static int tear_down(void **state)
{
	if (half.ingress)
		ingress_stop(half.ingress, raw_now_ms() + 5000);
	queue_close(&half.queue);
	ingress_close(&half.ingress);
	lock_done(&half.lock);
	return files_close(state);
}

/* ---- requests ----------------------------------------------------------------------------------
 */

struct hook {
	const char *source, *body, *more; /* more: further header lines */
	bool bad;
};

static bool send_hook(int fd, const struct hook *hook)
{
	struct scheme *scheme = hooks_scheme(half.f, hook->source);
	struct scheme_signed signed_request = SCHEME_SIGNED_INIT;
	static char bytes[16384];
	int len = snprintf(bytes, sizeof(bytes),
		"POST /hooks/%s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n%s", hook->source,
		strlen(hook->body), hook->more ? hook->more : "");

	hooks_sign(scheme, hook->body, clock_system()->wall_ms(clock_system()), hook->bad,
		&signed_request);
	for (size_t i = 0; i < signed_request.header_count; i++)
		len += snprintf(bytes + len, sizeof(bytes) - (size_t)len, "%.*s: %.*s\r\n",
			SLICE_FMT(signed_request.headers[i].name),
			SLICE_FMT(signed_request.headers[i].value));
	len += snprintf(bytes + len, sizeof(bytes) - (size_t)len, "\r\n%s", hook->body);
	scheme_signed_done(&signed_request);
	scheme_close(&scheme);
	return raw_send(fd, bytes, (size_t)len);
}

static unsigned hook_status(const struct hook *hook, struct raw_answer *a)
{
	int fd = raw_connect(ingress_address(half.ingress));

	(void)send_hook(fd, hook);
	(void)raw_read(fd, a);
	(void)close(fd);
	return a->status;
}

static unsigned raw_status(const char *bytes, struct raw_answer *a)
{
	int fd = raw_connect(ingress_address(half.ingress));

	(void)raw_send_str(fd, bytes);
	(void)raw_read(fd, a);
	(void)close(fd);
	return a->status;
}

static void assert_header(const struct raw_answer *a, const char *name, const char *value)
{
	const char *have = raw_header(a, name);

	if (!have || strncmp(have, value, strlen(value)) != 0)
		fail_msg("%s: not '%s' in\n%s", name, value, a->head);
}

static void assert_problem(const struct raw_answer *a, unsigned status, const char *code)
{
	char want[64];

	assert_int_equal(a->status, status);
	assert_header(a, "Content-Type", "application/problem+json\r");
	(void)snprintf(want, sizeof(want), "\"status\":%u", status);
	assert_non_null(strstr(a->body, want));
	(void)snprintf(want, sizeof(want), "\"code\":\"%s\"", code);
	assert_non_null(strstr(a->body, want));
	assert_non_null(strstr(a->body, "\"type\":\""));
	assert_non_null(strstr(a->body, "\"title\":\""));
	assert_non_null(strstr(a->body, "\"request_id\":\""));
}

static int64_t counted(const char *source, const char *code)
{
	return metric_value(metric_series(METRIC_HTTP_REQUESTS, source, code));
}

static int64_t appended(void)
{
	struct stream_stat stat;

	queue_stat(half.queue, STREAM_EVENTS, &stat);
	return stat.end;
}

/* ---- tests -------------------------------------------------------------------------------------
 */

#define GOOD "{\"id\":\"e1\",\"type\":\"paid\",\"account\":7,\"version\":41}"

static void an_accepted_event_is_in_the_queue(void **state)
{
	const struct hook hook = { .source = "plain",
		.body = GOOD,
		.more = "X-Request-Id: req-7\r\nContent-Type: application/json\r\n" };
	static struct raw_answer a;
	struct queue_batch batch;
	struct event event;
	int64_t before;

	(void)state;
	start("");
	before = counted("plain", "ACCEPTED");
	assert_int_equal(hook_status(&hook, &a), 200);
	assert_string_equal(
		a.body, "{\"result\":\"accepted\",\"event_id\":\"e1\",\"request_id\":\"req-7\"}\n");
	assert_header(&a, "Content-Type", "application/json\r");
	assert_header(&a, "X-Request-Id", "req-7\r");
	assert_int_equal(counted("plain", "ACCEPTED"), before + 1);
	assert_int_equal(queue_read(half.queue, STREAM_EVENTS, 0, 10, MIB(1), raw_now_ms() + 5000,
				 &batch, NULL),
		ERR_OK);
	assert_int_equal(batch.count, 1);
	assert_true(slice_eq_str(batch.records[0].body, GOOD));
	assert_true(slice_eq_str(batch.records[0].key, "acme/acct:7"));
	assert_int_equal(event_decode(batch.records[0].headers, &event, NULL), ERR_OK);
	assert_true(slice_eq_str(event.request_id, "req-7"));
	assert_true(slice_eq_str(event.content_type, "application/json"));
	queue_release(half.queue, &batch);
}

static void attempts_differ(void **state)
{
	const struct hook hook = { .source = "plain", .body = "{}" };
	static struct raw_answer first, second;

	(void)state;
	start("");
	assert_int_equal(hook_status(&hook, &first), 200); /* known by its attempt */
	assert_int_equal(hook_status(&hook, &second), 200);
	assert_int_equal(strspn(strstr(first.body, "event_id\":\"") + 11, "0123456789abcdef"), 32);
	assert_memory_not_equal(
		strstr(first.body, "event_id"), strstr(second.body, "event_id"), 43);
	assert_int_equal(appended(), 2);
}

static void every_refusal_has_its_answer(void **state)
{
	static const struct {
		const char *bytes;
		unsigned status;
		const char *code, *source, *header, *value;
	} rows[] = {
		{ "POST /hooks/none HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 404,
			"UNKNOWN_SOURCE", "", NULL, NULL },
		{ "POST /hooks/plain/more HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 404,
			"UNKNOWN_SOURCE", "", NULL, NULL },
		{ "POST /hooks/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 404,
			"UNKNOWN_SOURCE", "", NULL, NULL },
		{ "POST /hook/plain HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 404,
			"UNKNOWN_SOURCE", "", NULL, NULL },
		{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404, "UNKNOWN_SOURCE", "", NULL, NULL },
		{ "GET /hooks/plain HTTP/1.1\r\nHost: a\r\n\r\n", 405, "METHOD_NOT_ALLOWED",
			"plain", "Allow", "POST\r" },
		{ "PUT /hooks/open HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405,
			"METHOD_NOT_ALLOWED", "open", "Allow", "GET, POST\r" },
		{ "GET /hooks/open?a=b HTTP/1.1\r\nHost: a\r\n\r\n", 405, "METHOD_NOT_ALLOWED",
			"open", "Allow", "GET, POST\r" },
		{ "POST /hooks/plain HTTP/1.1\r\nHost: a\r\nContent-Length: 4097\r\n\r\n", 413,
			"TOO_LARGE", "plain", NULL, NULL },
		{ "POST /hooks/plain HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 401,
			"MISSING_SIGNATURE", "plain", NULL, NULL },
		{ "POST /hooks/acked HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 403,
			"MISSING_SIGNATURE", "acked", NULL, NULL },
		{ "POST /hooks/plain HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
		  "X-Signature: 00\r\n\r\n{}",
			401, "BAD_SIGNATURE", "plain", NULL, NULL },
		{ "POST /hooks/plain HTTP/1.1\r\nHost: a\r\n\r\n", 411, "BAD_REQUEST", "",
			"Connection", "close\r" },
		{ "POST /hooks/plain HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: cow\r\n\r\n", 501,
			"BAD_REQUEST", "", "Connection", "close\r" },
	};
	static struct raw_answer a;

	(void)state;
	start("");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t before = counted(rows[i].source, rows[i].code);

		if (raw_status(rows[i].bytes, &a) != rows[i].status)
			fail_msg("%s%u", rows[i].bytes, a.status);
		assert_problem(&a, rows[i].status, rows[i].code);
		if (rows[i].header)
			assert_header(&a, rows[i].header, rows[i].value);
		assert_int_equal(counted(rows[i].source, rows[i].code), before + 1);
	}
	assert_int_equal(appended(), 0);
}

static void every_counter_is_there_at_the_start(void **state)
{
	static const char *const sources[] = { "", "plain", "timed", "limited" };
	struct buf text = BUF_INIT(MIB(4));
	char want[128];

	(void)state;
	start("");
	assert_int_equal(metrics_render(&text, NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		for (unsigned code = 0; code <= ERR_BAD_REQUEST; code++) {
			(void)snprintf(want, sizeof(want),
				"postern_http_requests_total{source=\"%s\",code=\"%s\"} ",
				sources[i], err_name((enum err_code)code));
			if (!strstr(buf_str(&text), want))
				fail_msg("no %s", want);
		}
	}
	assert_non_null(strstr(
		buf_str(&text), "postern_key_matches_total{source=\"plain\",role=\"previous\"} 0"));
	buf_done(&text);
}

static void rates_are_held(void **state)
{
	const struct hook hook = { .source = "limited", .body = "{\"id\":\"a\"}" };
	static struct raw_answer a;

	(void)state;
	start("");
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(hook_status(&hook, &a), 200);
	assert_int_equal(hook_status(&hook, &a), 429);
	assert_problem(&a, 429, "RATE_LIMITED");
	assert_header(&a, "Retry-After", "2\r");
}

static void clients_are_limited_too(void **state)
{
	const struct hook hook = { .source = "plain", .body = GOOD };
	static struct raw_answer a;

	(void)state;
	start(", 'client_rate_limit': {'per_second': 0.1, 'burst': 2}");
	assert_int_equal(hook_status(&hook, &a), 200);
	assert_int_equal(hook_status(&hook, &a), 200);
	assert_int_equal(hook_status(&hook, &a), 429);
	assert_header(&a, "Retry-After", "10\r");
}

static void own_answers_take_the_usual_ones_place(void **state)
{
	const struct hook acked = { .source = "acked", .body = "{\"id\":\"a\"}" };
	const struct hook hello = { .source = "signed-hello",
		.body = "{\"type\":\"hello\",\"word\":\"w\"}" };
	const struct hook event = { .source = "signed-hello", .body = "{\"id\":\"a\"}" };
	static struct raw_answer a;

	(void)state;
	start("");
	assert_int_equal(hook_status(&acked, &a), 202);
	assert_string_equal(a.body, "[accepted]");
	assert_header(&a, "Content-Type", "text/plain");
	assert_int_equal(
		raw_status("GET /hooks/open?challenge=abc HTTP/1.1\r\nHost: a\r\n\r\n", &a), 200);
	assert_string_equal(a.body, "abc");
	assert_header(&a, "X-Content-Type-Options", "nosniff\r");
	assert_int_equal(hook_status(&hello, &a), 200);
	assert_string_equal(a.body, "w");
	assert_int_equal(appended(), 1); /* handshakes are no events */
	assert_int_equal(hook_status(&event, &a), 200);
	assert_int_equal(appended(), 2);
}

static void refused_requests_are_kept_where_that_is_wanted(void **state)
{
	const struct hook hook = { .source = "kept", .body = "{\"id\":\"a\"}", .bad = true };
	static struct raw_answer a;
	struct queue_batch batch;
	struct event event;

	(void)state;
	start("");
	assert_int_equal(hook_status(&hook, &a), 401);
	assert_problem(&a, 401, "BAD_SIGNATURE");
	assert_int_equal(appended(), 1);
	assert_int_equal(
		queue_read(half.queue, STREAM_EVENTS, 0, 1, MIB(1), 0, &batch, NULL), ERR_OK);
	assert_int_equal(event_decode(batch.records[0].headers, &event, NULL), ERR_OK);
	assert_true(slice_eq_str(event.quarantine, "BAD_SIGNATURE"));
	queue_release(half.queue, &batch);
	set_mode(FULL); /* and refused all the same when it cannot be kept */
	assert_int_equal(hook_status(&hook, &a), 401);
}

/* ---- completions -------------------------------------------------------------------------------
 */

static void a_queue_that_refuses_is_unavailable(void **state)
{
	const struct hook hook = { .source = "plain", .body = GOOD };
	static struct raw_answer a;

	(void)state;
	start("");
	set_mode(FULL);
	assert_int_equal(hook_status(&hook, &a), 503);
	assert_problem(&a, 503, "UNAVAILABLE");
	assert_header(&a, "Retry-After", "5\r");
	set_mode(PASS);
	assert_int_equal(hook_status(&hook, &a), 200);
}

static void nothing_is_answered_before_it_is_durable(void **state)
{
	static const enum err_code results[] = { ERR_OK, ERR_UNAVAILABLE, ERR_OUTCOME_UNKNOWN,
		ERR_OK };
	const struct hook hook = { .source = "plain", .body = GOOD };
	unsigned statuses[4] = { 0 }, fine = 0, unavailable = 0, unknown = 0;
	static struct raw_answer a;
	int fds[4];
	char byte;

	(void)state;
	start("");
	set_mode(HOLD);
	for (unsigned i = 0; i < 4; i++) {
		fds[i] = raw_connect(ingress_address(half.ingress));
		assert_true(send_hook(fds[i], &hook));
	}
	assert_true(wait_held(4));
	assert_int_equal(raw_recv(fds[0], &byte, 1, raw_now_ms() + 100), -1);
	complete_held(results, ARRAY_LEN(results));
	for (unsigned i = 0; i < 4; i++) {
		assert_true(raw_read(fds[i], &a));
		statuses[i] = a.status;
		fine += a.status == 200;
		unavailable += strstr(a.body, "\"UNAVAILABLE\"") != NULL;
		unknown += strstr(a.body, "\"OUTCOME_UNKNOWN\"") != NULL;
		(void)close(fds[i]);
	}
	assert_int_equal(fine, 2);
	assert_int_equal(unavailable, 1);
	assert_int_equal(unknown, 1);
	assert_int_equal(statuses[0] + statuses[1] + statuses[2] + statuses[3], 2 * 200 + 2 * 503);
}

/* A request may one day be several records; it is answered by all of them together. */
static void partly_durable_is_not_known(void **state)
{
	static const struct {
		unsigned durable, lost, unclear;
		enum err_code admitted, want;
	} rows[] = {
		{ 1, 0, 0, ERR_OK, ERR_OK }, { 3, 0, 0, ERR_OK, ERR_OK },
		{ 3, 0, 0, ERR_MALFORMED_BODY, ERR_MALFORMED_BODY },
		{ 0, 1, 0, ERR_OK, ERR_UNAVAILABLE },
		{ 0, 3, 0, ERR_MISSING_EVENT_ID, ERR_UNAVAILABLE },
		{ 2, 1, 0, ERR_OK, ERR_OUTCOME_UNKNOWN }, { 0, 0, 1, ERR_OK, ERR_OUTCOME_UNKNOWN },
		{ 2, 0, 1, ERR_OK, ERR_OUTCOME_UNKNOWN }, { 0, 2, 1, ERR_OK, ERR_OUTCOME_UNKNOWN },
		{ 0, 1, 0, ERR_BAD_SIGNATURE, ERR_BAD_SIGNATURE }, /* kept or not: refused */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct intake intake = {
			.durable = rows[i].durable,
			.lost = rows[i].lost,
			.unclear = rows[i].unclear,
			.admission = { .code = rows[i].admitted },
		};

		assert_int_equal(verdict(&intake), rows[i].want);
	}
}

static void a_client_that_has_gone_does_not_matter(void **state)
{
	static const enum err_code results[] = { ERR_OK };
	const struct hook hook = { .source = "plain", .body = GOOD };
	const struct linger hard = { .l_onoff = 1, .l_linger = 0 };
	static struct raw_answer a;

	(void)state;
	start("");
	set_mode(HOLD);
	for (unsigned i = 0; i < 20; i++) {
		int fd = raw_connect(ingress_address(half.ingress));

		assert_true(send_hook(fd, &hook));
		assert_true(wait_held(i + 1));
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		(void)close(fd);
	}
	complete_held(results, 1);
	set_mode(PASS);
	assert_int_equal(hook_status(&hook, &a), 200);
}

static void many_requests_are_one_append(void **state)
{
	const struct hook hook = { .source = "plain", .body = GOOD };
	static struct raw_answer a;
	enum { CLIENTS = 64 };
	int fds[CLIENTS];

	(void)state;
	start("");
	for (unsigned i = 0; i < CLIENTS; i++)
		fds[i] = raw_connect(ingress_address(half.ingress));
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < CLIENTS; i++)
			assert_true(send_hook(fds[i], &hook));
		for (unsigned i = 0; i < CLIENTS; i++) {
			assert_true(raw_read(fds[i], &a));
			assert_int_equal(a.status, 200);
		}
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		(void)close(fds[i]);
	assert_int_equal(appended(), 5 * CLIENTS);
	lock_take(&half.lock);
	assert_true(half.appends <= 5 * CLIENTS);
	lock_give(&half.lock);
}

/* ---- reload, questions, stopping ---------------------------------------------------------------
 */

static void reload_swaps_sources_under_requests(void **state)
{
	static const enum err_code results[] = { ERR_OK };
	const struct hook plain = { .source = "plain", .body = GOOD };
	static struct raw_answer a;
	struct config *good;
	int fd;

	(void)state;
	start("");
	set_mode(HOLD);
	fd = raw_connect(ingress_address(half.ingress));
	assert_true(send_hook(fd, &plain));
	assert_true(wait_held(1));
	/* A config without the source, while a request of it is out. */
	good = config_ref(half.f->config);
	files_must_load(half.f,
		"{\"admin\": {\"token_file\": \"keys/admin.token\"},"
		"\"ingress\": {\"max_body_bytes\": 10}, \"sources\": {\"other\": {\"preset\":"
		"\"github\", \"keys\": [{\"file\": \"keys/a.key\"}]}}}",
		NULL);
	assert_int_equal(
		ingress_reload(half.ingress, half.f->config, &half.f->report, &half.f->err),
		ERR_OK);
	complete_held(results, 1);
	assert_true(raw_read(fd, &a));
	assert_int_equal(a.status, 200);
	(void)close(fd);
	assert_int_equal(raw_status("POST /hooks/plain HTTP/1.1\r\nHost: a\r\n"
				    "Content-Length: 0\r\n\r\n",
				 &a),
		404);
	assert_int_equal(raw_status("POST /hooks/other HTTP/1.1\r\nHost: a\r\n"
				    "Content-Length: 11\r\n\r\n0123456789a",
				 &a),
		413);
	/* A bad one changes nothing. */
	files_put(half.f, "keys/a.key", "", 0600);
	assert_int_not_equal(
		ingress_reload(half.ingress, good, &half.f->report, &half.f->err), ERR_OK);
	assert_int_equal(raw_status("POST /hooks/other HTTP/1.1\r\nHost: a\r\n"
				    "Content-Length: 0\r\n\r\n",
				 &a),
		401);
	config_unref(&good);
}

static void questions_are_answered(void **state)
{
	const struct hook plain = { .source = "plain", .body = GOOD };
	const struct hook rotating = { .source = "rotating", .body = "{\"id\":\"a\"}" };
	struct buf text = BUF_INIT(MIB(1));
	struct err err = ERR_INIT;
	static struct raw_answer a;

	(void)state;
	start("");
	assert_int_equal(ingress_ready(half.ingress, &err), ERR_OK);
	assert_int_equal(hook_status(&plain, &a), 200);
	assert_int_equal(hook_status(&rotating, &a), 200);
	assert_int_equal(ingress_status(half.ingress, &text, &err), ERR_OK);
	assert_memory_equal(buf_str(&text), "\"sources\":{\"plain\":{\"per_second\":", 33);
	assert_non_null(strstr(buf_str(&text), "\"codes\":{\"ACCEPTED\":"));
	assert_non_null(strstr(buf_str(&text), "},\"connections\":"));
	buf_reset(&text);
	assert_int_equal(ingress_keys(half.ingress, &text, &err), ERR_OK);
	assert_non_null(strstr(buf_str(&text),
		"{\"source\":\"rotating\",\"role\":\"current\",\"kid\":\"k1\",\"fingerprint\":\""));
	assert_non_null(strstr(
		buf_str(&text), "\"matches\":0,\"last_match\":null,\"per_hour\":0,\"since\":\"20"));
	assert_non_null(strstr(buf_str(&text), "\"safe_to_remove\":null}\n"));
	assert_non_null(strstr(buf_str(&text), "\"last_match\":\"20"));
	buf_done(&text);
	ingress_stop(half.ingress, raw_now_ms() + 1000);
	assert_int_equal(ingress_ready(half.ingress, &err), ERR_STOPPED);
}

struct stopper {
	struct thread thread;
	int64_t deadline_ms;
};

static void *stop_it(void *arg)
{
	struct stopper *s = arg;

	ingress_stop(half.ingress, s->deadline_ms);
	return NULL;
}

static void stopping_answers_what_is_out(void **state)
{
	static const enum err_code results[] = { ERR_OK };
	const struct hook hook = { .source = "plain", .body = GOOD };
	struct stopper stopper = { .deadline_ms = raw_now_ms() + 20000 };
	static struct raw_answer a;
	int fd;

	(void)state;
	start("");
	set_mode(HOLD);
	fd = raw_connect(ingress_address(half.ingress));
	assert_true(send_hook(fd, &hook));
	assert_true(wait_held(1));
	assert_int_equal(thread_start(&stopper.thread, "stopper", stop_it, &stopper, NULL), ERR_OK);
	(void)poll(NULL, 0, 50);
	complete_held(results, 1);
	assert_true(raw_read(fd, &a));
	assert_int_equal(a.status, 200);
	assert_header(&a, "Connection", "close");
	(void)close(fd);
	thread_join(&stopper.thread);
}

static void impatient_stopping_says_that_it_is_not_known(void **state)
{
	static const enum err_code results[] = { ERR_OK };
	const struct hook hook = { .source = "plain", .body = GOOD };
	struct stopper stopper = { .deadline_ms = raw_now_ms() + 100 };
	static struct raw_answer a;
	int fd;

	(void)state;
	start("");
	set_mode(HOLD);
	fd = raw_connect(ingress_address(half.ingress));
	assert_true(send_hook(fd, &hook));
	assert_true(wait_held(1));
	assert_int_equal(thread_start(&stopper.thread, "stopper", stop_it, &stopper, NULL), ERR_OK);
	assert_true(raw_read(fd, &a));
	assert_problem(&a, 503, "OUTCOME_UNKNOWN");
	(void)close(fd);
	thread_join(&stopper.thread);
	complete_held(results, 1); /* the queue completes when it is closed */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_accepted_event_is_in_the_queue),
		TEST(attempts_differ),
		TEST(every_refusal_has_its_answer),
		TEST(every_counter_is_there_at_the_start),
		TEST(rates_are_held),
		TEST(clients_are_limited_too),
		TEST(own_answers_take_the_usual_ones_place),
		TEST(refused_requests_are_kept_where_that_is_wanted),
		TEST(a_queue_that_refuses_is_unavailable),
		TEST(nothing_is_answered_before_it_is_durable),
		cmocka_unit_test(partly_durable_is_not_known),
		TEST(a_client_that_has_gone_does_not_matter),
		TEST(many_requests_are_one_append),
		TEST(reload_swaps_sources_under_requests),
		TEST(questions_are_answered),
		TEST(stopping_answers_what_is_out),
		TEST(impatient_stopping_says_that_it_is_not_known),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
