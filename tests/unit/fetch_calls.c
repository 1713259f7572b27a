/* The HTTP client against a real socket: every kind of answer, and no answer. */
#include "postern/fetch.h"

#include "postern/clock.h"
#include "postern/text.h"
#include "support/http_peer.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>
#include <cmocka.h>

#define CALLS_MAX 64
#define LONG_MS 20000

#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define EMPTY(status) "HTTP/1.1 " status "\r\nContent-Length: 0\r\n\r\n"
#define RETRY(value) "HTTP/1.1 429 Slow\r\nRetry-After: " value "\r\nContent-Length: 0\r\n\r\n"

/* clang-format off */
static const struct peer_row rows[] = {
	{ "/ok",       PEER_ANSWER, OK_EMPTY },
	{ "/words",    PEER_ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world" },
	{ "/interim",  PEER_ANSWER, "HTTP/1.1 103 Early\r\nRetry-After: 9\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n" },
	{ "/redirect", PEER_ANSWER, "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n" },
	{ "/503",      PEER_ANSWER, EMPTY("503 No") },
	{ "/404",      PEER_ANSWER, EMPTY("404 No") },
	{ "/wait7",    PEER_ANSWER, RETRY("7") },
	{ "/wait0",    PEER_ANSWER, RETRY("0") },
	{ "/waitlong", PEER_ANSWER, RETRY("99999999999999999999") },
	{ "/waitodd",  PEER_ANSWER, RETRY("7x") },
	{ "/waitword", PEER_ANSWER, RETRY("soon") },
	{ "/waitpast", PEER_ANSWER, RETRY("Sun, 06 Nov 1994 08:49:37 GMT") },
	{ "/waitdate", PEER_ANSWER, RETRY("Wed, 01 Jan 2098 00:00:00 GMT") },
	{ "/close",    PEER_CLOSE,  OK_EMPTY },
	{ "/until",    PEER_CLOSE,  "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc" },
	{ "/reset",    PEER_RESET,  "" },
	{ "/silent",   PEER_CLOSE,  "" },
	{ "/short",    PEER_CLOSE,  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc" },
	{ "/status",   PEER_CLOSE,  "HTTP/1.1 200 OK\r\n" },
	{ "/inhead",   PEER_CLOSE,  "HTTP/1.1 200 OK\r\nConte" },
	{ "/inhead2",  PEER_CLOSE,  "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n" },
	{ "/hang",     PEER_HANG,   "" },
	{ "/halfhang", PEER_HANG,   "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc" },
	{ "/flood",    PEER_FLOOD,  "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" },
	{ "/lines",    PEER_LINES,  "HTTP/1.1 200 OK\r\n" },
	{ "/garbage",  PEER_CLOSE,  "SSH-2.0-Nothing\r\n" },
};
/* clang-format on */

struct world {
	struct peer peer;
	struct fetch *fetch;
	struct lock lock;
	struct cond changed;
	size_t ended; /* guarded by lock */
};
struct call {
	struct fetch_call base;
	struct world *world;
	bool ended; /* guarded by the world's lock */
	char url[512];
};

static int open_world(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	lock_init(&world->lock);
	cond_init(&world->changed);
	peer_open(&world->peer, rows, ARRAY_LEN(rows));
	assert_int_equal(fetch_open(CALLS_MAX, &world->fetch, NULL), ERR_OK);
	*state = world;
	return 0;
}

static int close_world(void **state)
{
	struct world *world = *state;

	fetch_close(&world->fetch);
	assert_null(world->fetch);
	peer_close(&world->peer);
	cond_done(&world->changed);
	lock_done(&world->lock);
	free(world);
	return 0;
}

static void on_done(struct fetch_call *base)
{
	struct call *call = container_of(base, struct call, base);

	lock_take(&call->world->lock);
	call->ended = true;
	call->world->ended++;
	cond_broadcast(&call->world->changed);
	lock_give(&call->world->lock);
}

static void prepare(struct world *world, struct call *call, const char *path)
{
	memset(call, 0, sizeof(*call));
	call->world = world;
	(void)snprintf(
		call->url, sizeof(call->url), "http://127.0.0.1:%u%s", world->peer.port, path);
	call->base.url = call->url;
	call->base.body = SLICE_LIT("{\"a\":1}");
	call->base.timeout_ms = LONG_MS;
	call->base.max_answer_bytes = 1024;
	call->base.done = on_done;
}

static void wait_for(struct world *world, size_t count)
{
	int64_t deadline = clock_system()->mono_ms(clock_system()) + LONG_MS;
	bool in_time = true;

	lock_take(&world->lock);
	while (in_time && world->ended < count)
		in_time = cond_wait(&world->changed, &world->lock, deadline);
	world->ended -= in_time ? count : 0;
	lock_give(&world->lock);
	assert_true(in_time);
}

static void run_one(struct world *world, struct call *call)
{
	assert_int_equal(fetch_start(world->fetch, &call->base, NULL), ERR_OK);
	wait_for(world, 1);
	assert_true(call->ended);
}

static void each_kind_of_answer(void **state)
{
	static const struct {
		const char *path;
		int64_t timeout_ms;
		enum err_code code;
		unsigned status;
		const char *answer;
	} table[] = {
		{ "/ok", LONG_MS, ERR_OK, 200, "" },
		{ "/words", LONG_MS, ERR_OK, 200, "hello world" },
		{ "/interim", LONG_MS, ERR_OK, 204, "" },
		{ "/redirect", LONG_MS, ERR_OK, 302, "" },
		{ "/503", LONG_MS, ERR_OK, 503, "" },
		{ "/404", LONG_MS, ERR_OK, 404, "" },
		{ "/close", LONG_MS, ERR_OK, 200, "" },
		{ "/until", LONG_MS, ERR_OK, 200, "abc" },
		{ "/reset", LONG_MS, ERR_UNREACHABLE, 0, NULL },
		{ "/silent", LONG_MS, ERR_UNREACHABLE, 0, NULL },
		{ "/short", LONG_MS, ERR_UNREACHABLE, 0, NULL },
		{ "/status", LONG_MS, ERR_UNREACHABLE, 0, NULL },
		{ "/inhead", LONG_MS, ERR_UNREACHABLE, 0, NULL },
		{ "/inhead2", LONG_MS, ERR_UNREACHABLE, 0, NULL },
		{ "/garbage", LONG_MS, ERR_UNREACHABLE, 0, NULL },
		{ "/lines", LONG_MS, ERR_UNREACHABLE, 0, NULL },
		{ "/hang", 100, ERR_TIMEOUT, 0, NULL },
		{ "/halfhang", 100, ERR_TIMEOUT, 0, NULL },
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct call call;

		prepare(world, &call, table[i].path);
		call.base.timeout_ms = table[i].timeout_ms;
		run_one(world, &call);
		print_message("# %s: %u %s %s\n", table[i].path, call.base.status,
			err_name(call.base.code), call.base.error);
		assert_int_equal(call.base.code, table[i].code);
		assert_int_equal(call.base.status, table[i].status);
		assert_int_equal(call.base.retry_after_ms, -1);
		assert_true((call.base.code == ERR_OK) == (call.base.error[0] == '\0'));
		if (table[i].answer)
			assert_true(slice_eq_str(buf_slice(&call.base.answer), table[i].answer));
		buf_done(&call.base.answer);
	}
}

static void retry_after_is_read(void **state)
{
	static const struct {
		const char *path;
		int64_t least, most;
	} table[] = {
		{ "/wait7", 7000, 7000 },
		{ "/wait0", 0, 0 },
		{ "/waitlong", INT64_C(366) * 86400000, INT64_MAX },
		{ "/waitodd", -1, -1 },
		{ "/waitword", -1, -1 },
		{ "/waitpast", 0, 0 },
	};
	struct world *world = *state;
	struct call call;
	int64_t left = (INT64_C(4039372800) - (int64_t)time(NULL)) * 1000;

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		prepare(world, &call, table[i].path);
		run_one(world, &call);
		assert_int_equal(call.base.status, 429);
		assert_true(call.base.retry_after_ms >= table[i].least);
		assert_true(call.base.retry_after_ms <= table[i].most);
	}
	prepare(world, &call, "/waitdate");
	run_one(world, &call);
	assert_in_range(call.base.retry_after_ms, left - 60000, left);
}

static void what_is_sent(void **state)
{
	static const struct header headers[] = {
		{ SLICE_LIT("Content-Type"), SLICE_LIT("application/json") },
		{ SLICE_LIT("X-One"), SLICE_LIT("first; second") },
		{ SLICE_LIT("X-Empty"), SLICE_LIT("") },
	};
	struct world *world = *state;
	struct peer *peer = &world->peer;
	struct call call;
	char *big = calloc(1, MIB(1));

	assert_non_null(big);
	prepare(world, &call, "/ok");
	call.base.headers = headers;
	call.base.header_count = ARRAY_LEN(headers);
	call.base.body = (struct slice){ (uint8_t *)big, MIB(1) };
	run_one(world, &call);
	lock_take(&peer->lock);
	assert_true(slice_starts(buf_slice(&peer->head), SLICE_LIT("POST /ok HTTP/1.1\r\n")));
	assert_true(slice_eq_str(peer_header(peer, "content-type"), "application/json"));
	assert_true(slice_eq_str(peer_header(peer, "x-one"), "first; second"));
	assert_true(slice_search(buf_slice(&peer->head), SLICE_LIT("X-Empty:")) < peer->head.len);
	assert_int_equal(peer_header(peer, "expect").len, 0);
	assert_true(slice_eq(buf_slice(&peer->body), call.base.body));
	lock_give(&peer->lock);
	free(big);

	prepare(world, &call, "/ok");
	call.base.body = SLICE_EMPTY;
	run_one(world, &call);
	lock_take(&peer->lock);
	assert_true(slice_eq_str(peer_header(peer, "content-length"), "0"));
	assert_int_equal(peer_header(peer, "content-type").len, 0);
	assert_int_equal(peer->body.len, 0);
	lock_give(&peer->lock);
}

static void a_get_has_no_body(void **state)
{
	struct world *world = *state;
	struct peer *peer = &world->peer;
	struct call call;

	for (int i = 0; i < 4; i++) {
		bool get = i % 2 == 1;

		prepare(world, &call, "/words");
		call.base.get = get;
		run_one(world, &call);
		assert_int_equal(call.base.status, 200);
		buf_done(&call.base.answer);
		lock_take(&peer->lock);
		assert_true(slice_starts(
			buf_slice(&peer->head), get ? SLICE_LIT("GET /words HTTP/1.1")
						    : SLICE_LIT("POST /words HTTP/1.1")));
		assert_int_equal(peer->body.len, get ? 0 : call.base.body.len);
		lock_give(&peer->lock);
	}
}

static void connections_are_used_again(void **state)
{
	struct world *world = *state;
	struct call call;
	size_t connections;

	for (int i = 0; i < 20; i++) {
		prepare(world, &call, "/words");
		run_one(world, &call);
		assert_int_equal(call.base.status, 200);
		buf_done(&call.base.answer);
	}
	lock_take(&world->peer.lock);
	connections = world->peer.connections;
	lock_give(&world->peer.lock);
	assert_int_equal(connections, 1);
}

static void a_long_answer_is_cut_and_counts(void **state)
{
	struct world *world = *state;
	struct call call;

	prepare(world, &call, "/flood");
	run_one(world, &call);
	assert_int_equal(call.base.code, ERR_OK);
	assert_int_equal(call.base.status, 200);
	assert_int_equal(call.base.answer.len, 1024);
	buf_done(&call.base.answer);

	prepare(world, &call, "/words");
	call.base.max_answer_bytes = 5;
	run_one(world, &call);
	assert_int_equal(call.base.status, 200);
	assert_true(slice_eq_str(buf_slice(&call.base.answer), "hello"));
	buf_done(&call.base.answer);
}

static void bad_headers_are_refused(void **state)
{
	static const struct header bad[] = {
		{ SLICE_LIT("X-A"), SLICE_LIT("a\r\nX-B: b") },
		{ SLICE_LIT("X-A"), SLICE_LIT("a\0b") },
		{ SLICE_LIT("X-A\r\nX-B"), SLICE_LIT("a") },
		{ SLICE_LIT("X-A:"), SLICE_LIT("a") },
		{ SLICE_LIT("X-A;"), SLICE_LIT("") },
		{ SLICE_LIT(""), SLICE_LIT("a") },
	};
	struct header many[FETCH_HEADERS_MAX + 1];
	struct world *world = *state;
	struct call call;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = ERR_INIT;

		prepare(world, &call, "/ok");
		call.base.headers = &bad[i];
		call.base.header_count = 1;
		assert_int_equal(fetch_start(world->fetch, &call.base, &err), ERR_SYNTAX);
		assert_null(strchr(err.text, '\n'));
	}
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = (struct header){ SLICE_LIT("X-A"), SLICE_LIT("a") };
	prepare(world, &call, "/ok");
	call.base.headers = many;
	call.base.header_count = FETCH_HEADERS_MAX + 1;
	assert_int_equal(fetch_start(world->fetch, &call.base, NULL), ERR_LIMIT);
	call.base.header_count = FETCH_HEADERS_MAX;
	run_one(world, &call);
	assert_int_equal(call.base.status, 200);
	assert_int_equal(peer_requests(&world->peer), 1);
}

static void unreachable_names_no_credentials(void **state)
{
	static const char *const urls[] = {
		"http://user:hunter2@127.0.0.1:1/x?token=hunter2",
		"http://user:hunter2@name.invalid/x?token=hunter2",
		"ftp://user:hunter2@127.0.0.1/hunter2",
		"http://user:hunter2@:99999/hunter2",
	};
	struct world *world = *state;
	struct call call;

	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		prepare(world, &call, "");
		call.base.url = urls[i];
		run_one(world, &call);
		assert_int_equal(call.base.code, ERR_UNREACHABLE);
		assert_int_equal(call.base.status, 0);
		assert_null(strstr(call.base.error, "hunter2"));
		assert_true(call.base.error[0] != '\0');
	}
}

static void one_hanging_call_delays_no_other(void **state)
{
	struct world *world = *state;
	struct call hanging, call;

	prepare(world, &hanging, "/hang");
	assert_int_equal(fetch_start(world->fetch, &hanging.base, NULL), ERR_OK);
	for (int i = 0; i < 50; i++) {
		prepare(world, &call, "/ok");
		run_one(world, &call);
		assert_int_equal(call.base.status, 200);
	}
	assert_false(hanging.ended);
	fetch_close(&world->fetch);
	wait_for(world, 1);
	assert_int_equal(hanging.base.code, ERR_STOPPED);
	assert_int_equal(hanging.base.status, 0);
}

static void calls_are_bounded(void **state)
{
	struct world *world = *state;
	struct call *calls = calloc(CALLS_MAX + 1, sizeof(*calls));

	assert_non_null(calls);
	for (size_t i = 0; i <= CALLS_MAX; i++) {
		prepare(world, &calls[i], "/hang");
		assert_int_equal(fetch_start(world->fetch, &calls[i].base, NULL),
			i < CALLS_MAX ? ERR_OK : ERR_FULL);
	}
	fetch_close(&world->fetch);
	wait_for(world, CALLS_MAX);
	for (size_t i = 0; i < CALLS_MAX; i++)
		assert_int_equal(calls[i].base.code, ERR_STOPPED);
	free(calls);
}

static void many_at_once_all_come_back(void **state)
{
	struct world *world = *state;
	struct call *calls = calloc(CALLS_MAX, sizeof(*calls));

	assert_non_null(calls);
	for (int round = 0; round < 5; round++) {
		for (size_t i = 0; i < CALLS_MAX; i++) {
			prepare(world, &calls[i], i % 2 ? "/words" : "/close");
			assert_int_equal(fetch_start(world->fetch, &calls[i].base, NULL), ERR_OK);
		}
		wait_for(world, CALLS_MAX);
		for (size_t i = 0; i < CALLS_MAX; i++) {
			assert_int_equal(calls[i].base.status, 200);
			assert_int_equal(calls[i].base.answer.len, i % 2 ? 11 : 0);
			buf_done(&calls[i].base.answer);
		}
	}
	free(calls);
}

/* What a child would inherit while a call is under way: none of the client's sockets to a peer. */
static void sockets_are_close_on_exec(void **state)
{
	struct world *world = *state;
	struct call call;
	int64_t deadline = clock_system()->mono_ms(clock_system()) + LONG_MS;

	prepare(world, &call, "/hang");
	assert_int_equal(fetch_start(world->fetch, &call.base, NULL), ERR_OK);
	while (peer_requests(&world->peer) == 0)
		assert_true(clock_system()->mono_ms(clock_system()) < deadline);
	for (int fd = 3; fd < 256; fd++) {
		struct sockaddr_in address;
		socklen_t len = sizeof(address);

		if (getpeername(fd, (struct sockaddr *)&address, &len) != 0 ||
			address.sin_family != AF_INET)
			continue;
		assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	}
	fetch_close(&world->fetch);
	wait_for(world, 1);
}

static void urls_are_checked(void **state)
{
	static const struct {
		const char *url;
		enum err_code want;
	} table[] = {
		{ "http://127.0.0.1:9000/ci", ERR_OK },
		{ "https://user:pw@example.com/a?b=c", ERR_OK },
		{ "HTTP://example.com", ERR_OK },
		{ "ftp://example.com/", ERR_SYNTAX },
		{ "file:///etc/passwd", ERR_SYNTAX },
		{ "example.com/a", ERR_SYNTAX },
		{ "http://", ERR_SYNTAX },
		{ "http://exa mple/", ERR_SYNTAX },
		{ "http://example.com:99999/", ERR_SYNTAX },
		{ "", ERR_SYNTAX },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct err err = ERR_INIT;

		print_message("# %s\n", table[i].url);
		assert_int_equal(fetch_check_url(table[i].url, &err), table[i].want);
		assert_int_equal(err.code, table[i].want);
	}
	assert_true(fetch_version()[0] >= '7');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_kind_of_answer, open_world, close_world),
		cmocka_unit_test_setup_teardown(retry_after_is_read, open_world, close_world),
		cmocka_unit_test_setup_teardown(what_is_sent, open_world, close_world),
		cmocka_unit_test_setup_teardown(a_get_has_no_body, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			connections_are_used_again, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			a_long_answer_is_cut_and_counts, open_world, close_world),
		cmocka_unit_test_setup_teardown(bad_headers_are_refused, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			unreachable_names_no_credentials, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			one_hanging_call_delays_no_other, open_world, close_world),
		cmocka_unit_test_setup_teardown(calls_are_bounded, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			many_at_once_all_come_back, open_world, close_world),
		cmocka_unit_test_setup_teardown(sockets_are_close_on_exec, open_world, close_world),
		cmocka_unit_test(urls_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
