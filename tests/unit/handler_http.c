/* The http handler against a real socket: what is sent, and what each answer means. */
#include "postern/handler.h"

#include "postern/clock.h"
#include "postern/crypto.h"
#include "postern/text.h"
#include "support/http_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define LONG_MS 20000
#define EMPTY(status) "HTTP/1.1 " status "\r\nContent-Length: 0\r\n\r\n"
#define RETRY(status, value)                                                                       \
	"HTTP/1.1 " status "\r\nRetry-After: " value "\r\nContent-Length: 0\r\n\r\n"

/* clang-format off */
static const struct peer_row rows[] = {
	{ "/200",  PEER_ANSWER, RETRY("200 OK", "7") },
	{ "/204",  PEER_ANSWER, "HTTP/1.1 204 No Content\r\n\r\n" },
	{ "/301",  PEER_ANSWER, "HTTP/1.1 301 Moved\r\nLocation: /200\r\nContent-Length: 0\r\n\r\n" },
	{ "/304",  PEER_ANSWER, "HTTP/1.1 304 Same\r\n\r\n" },
	{ "/400",  PEER_ANSWER, RETRY("400 Bad", "7") },
	{ "/404",  PEER_ANSWER, EMPTY("404 No") },
	{ "/408",  PEER_ANSWER, EMPTY("408 Slow") },
	{ "/410",  PEER_ANSWER, EMPTY("410 Gone") },
	{ "/425",  PEER_ANSWER, EMPTY("425 Early") },
	{ "/429",  PEER_ANSWER, RETRY("429 Slow", "7") },
	{ "/500",  PEER_ANSWER, "HTTP/1.1 500 No\r\nContent-Length: 17\r\n\r\nsecret-of-the-app" },
	{ "/503",  PEER_ANSWER, RETRY("503 No", "3600") },
	{ "/503l", PEER_ANSWER, RETRY("503 No", "3601") },
	{ "/599",  PEER_ANSWER, EMPTY("599 No") },
	{ "/600",  PEER_ANSWER, EMPTY("600 Odd") },
	{ "/hang", PEER_HANG,   "" },
	{ "/rst",  PEER_RESET,  "" },
};
/* clang-format on */

struct world {
	struct peer peer;
	struct fetch *fetch;
	struct lock lock;
	struct cond changed;
	size_t ended; /* guarded by lock */
};
struct job {
	struct world *world;
	char url[256];
	struct route_config route;
	struct handler *handler;
	struct event event;
	struct handler_call call;
};

static int open_world(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	lock_init(&world->lock);
	cond_init(&world->changed);
	peer_open(&world->peer, rows, ARRAY_LEN(rows));
	assert_int_equal(fetch_open(8, &world->fetch, NULL), ERR_OK);
	*state = world;
	return 0;
}

static int close_world(void **state)
{
	struct world *world = *state;

	fetch_close(&world->fetch);
	peer_close(&world->peer);
	cond_done(&world->changed);
	lock_done(&world->lock);
	free(world);
	return 0;
}

static void on_done(struct handler_call *call)
{
	struct job *job = container_of(call, struct job, call);

	lock_take(&job->world->lock);
	job->world->ended++;
	cond_broadcast(&job->world->changed);
	lock_give(&job->world->lock);
}

static void wait_for(struct world *world, size_t count)
{
	int64_t deadline = clock_system()->mono_ms(clock_system()) + LONG_MS;
	bool in_time = true;

	lock_take(&world->lock);
	while (in_time && world->ended < count)
		in_time = cond_wait(&world->changed, &world->lock, deadline);
	world->ended = 0;
	lock_give(&world->lock);
	assert_true(in_time);
}

static void job_init(struct world *world, struct job *job, const char *path)
{
	memset(job, 0, sizeof(*job));
	job->world = world;
	(void)snprintf(job->url, sizeof(job->url), "http://127.0.0.1:%u%s", world->peer.port, path);
	job->route.name = "ci";
	job->route.handler.type = HANDLER_HTTP;
	job->route.handler.url = job->url;
	job->route.handler.timeout_ms = LONG_MS;
	job->event.id = SLICE_LIT("evt 1/2%\xc3\xa9");
	job->event.source = SLICE_LIT("billing");
	job->event.tenant = SLICE_LIT("acme");
	job->call.event = &job->event;
	job->call.body = SLICE_LIT("{\"a\":1}");
	job->call.route = SLICE_LIT("ci");
	job->call.attempt = 1;
	job->call.done = on_done;
}

static void job_run(struct job *job)
{
	struct handler_opts opts = { .route = &job->route, .fetch = job->world->fetch };

	assert_int_equal(handler_open(&opts, &job->handler, NULL), ERR_OK);
	assert_false(handler_is_none(job->handler));
	assert_int_equal(handler_start(job->handler, &job->call, NULL), ERR_OK);
	wait_for(job->world, 1);
	handler_close(&job->handler);
}

static void what_each_answer_means(void **state)
{
	static const struct {
		const char *path;
		enum handler_verdict verdict;
		enum err_code code;
		unsigned status;
		int64_t retry_after_ms;
	} table[] = {
		{ "/200", HANDLER_DONE, ERR_OK, 200, -1 },
		{ "/204", HANDLER_DONE, ERR_OK, 204, -1 },
		{ "/301", HANDLER_NEVER, ERR_HANDLER_REFUSED, 301, -1 },
		{ "/304", HANDLER_NEVER, ERR_HANDLER_REFUSED, 304, -1 },
		{ "/400", HANDLER_NEVER, ERR_HANDLER_REFUSED, 400, -1 },
		{ "/404", HANDLER_NEVER, ERR_HANDLER_REFUSED, 404, -1 },
		{ "/408", HANDLER_RETRY, ERR_HANDLER_FAILED, 408, -1 },
		{ "/410", HANDLER_NEVER, ERR_HANDLER_REFUSED, 410, -1 },
		{ "/425", HANDLER_RETRY, ERR_HANDLER_FAILED, 425, -1 },
		{ "/429", HANDLER_RETRY, ERR_HANDLER_FAILED, 429, 7000 },
		{ "/500", HANDLER_RETRY, ERR_HANDLER_FAILED, 500, -1 },
		{ "/503", HANDLER_RETRY, ERR_HANDLER_FAILED, 503, 3600000 },
		{ "/503l", HANDLER_RETRY, ERR_HANDLER_FAILED, 503, 3600000 }, /* one past it */
		{ "/599", HANDLER_RETRY, ERR_HANDLER_FAILED, 599, -1 },
		{ "/600", HANDLER_NEVER, ERR_HANDLER_REFUSED, 600, -1 },
		{ "/hang", HANDLER_RETRY, ERR_HANDLER_TIMEOUT, 0, -1 },
		{ "/rst", HANDLER_RETRY, ERR_HANDLER_UNREACHABLE, 0, -1 },
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct job job;

		job_init(world, &job, table[i].path);
		job.route.handler.timeout_ms = strcmp(table[i].path, "/hang") ? LONG_MS : 100;
		job_run(&job);
		print_message("# %s: %s\n", table[i].path, job.call.error);
		assert_int_equal(job.call.verdict, table[i].verdict);
		assert_int_equal(job.call.code, table[i].code);
		assert_int_equal(job.call.status, table[i].status);
		assert_int_equal(job.call.retry_after_ms, table[i].retry_after_ms);
		assert_true((job.call.code == ERR_OK) == (job.call.error[0] == '\0'));
		assert_null(strstr(job.call.error, "secret"));
	}
	assert_int_equal(peer_requests(&world->peer), ARRAY_LEN(table)); /* nothing was followed */
}

static void nobody_listens(void **state)
{
	struct world *world = *state;
	struct job job;

	job_init(world, &job, "/");
	(void)snprintf(job.url, sizeof(job.url), "http://user:hunter2@127.0.0.1:1/");
	job_run(&job);
	assert_int_equal(job.call.verdict, HANDLER_RETRY);
	assert_int_equal(job.call.code, ERR_HANDLER_UNREACHABLE);
	assert_null(strstr(job.call.error, "hunter2"));
}

static void header_is(struct peer *peer, const char *name, const char *want)
{
	struct slice value = peer_header(peer, name);

	print_message("# %s: %.*s\n", name, SLICE_FMT(value));
	assert_true(slice_eq_str(value, want));
}

static void the_envelope_is_in_headers(void **state)
{
	struct world *world = *state;
	struct peer *peer = &world->peer;
	struct job job;

	job_init(world, &job, "/200");
	job.event.type = SLICE_LIT("invoice paid");
	job.event.entity = SLICE_LIT("account:7\r\nX-Evil: 1");
	job.event.content_type = SLICE_LIT("application/json; charset=utf-8");
	job.event.traceparent = SLICE_LIT("00-a-b-01");
	job.event.time_ms = 1500;
	job_run(&job);
	lock_take(&peer->lock);
	header_is(peer, "idempotency-key", "acme/billing/evt%201%2F2%25%C3%A9");
	header_is(peer, "ce-specversion", "1.0");
	header_is(peer, "ce-id", "evt%201/2%25%C3%A9");
	header_is(peer, "ce-source", "/acme/billing");
	header_is(peer, "ce-type", "invoice%20paid");
	header_is(peer, "ce-subject", "account:7%0D%0AX-Evil:%201");
	header_is(peer, "ce-time", "1970-01-01T00:00:01.500Z");
	header_is(peer, "content-type", "application/json; charset=utf-8");
	header_is(peer, "traceparent", "00-a-b-01");
	header_is(peer, "x-evil", "");
	header_is(peer, "postern-redrive", "");
	header_is(peer, "webhook-id", "");
	header_is(peer, "webhook-signature", "");
	assert_true(slice_eq_str(buf_slice(&peer->body), "{\"a\":1}"));
	lock_give(&peer->lock);
}

static void what_is_absent_stays_absent(void **state)
{
	struct world *world = *state;
	struct peer *peer = &world->peer;
	struct job job;

	job_init(world, &job, "/200");
	job.event.redrive = SLICE_LIT("2026-11-22T00:00:00Z");
	job.event.traceparent = SLICE_LIT("00-a\nX-Evil: 1");
	job_run(&job);
	lock_take(&peer->lock);
	header_is(peer, "ce-type", "billing");
	header_is(peer, "ce-subject", "");
	header_is(peer, "content-type", "");
	header_is(peer, "traceparent", "");
	header_is(peer, "x-evil", "");
	header_is(peer, "postern-redrive", "2026-11-22T00:00:00Z");
	lock_give(&peer->lock);
}

/* As the receiver computes it: HMAC-SHA256 over "id.timestamp.body". */
static void check_signature(struct peer *peer, struct slice key)
{
	struct slice id = peer_header(peer, "webhook-id"), dot = SLICE_LIT(".");
	struct slice time = peer_header(peer, "webhook-timestamp");
	const struct slice pieces[] = { id, dot, time, dot, buf_slice(&peer->body) };
	struct secret secret = { NULL, 0 };
	struct crypto_mac *mac = NULL;
	struct buf want = BUF_INIT(128);
	uint8_t digest[32];
	uint64_t seconds = 0;

	assert_int_equal(secret_set(&secret, key, NULL), ERR_OK);
	assert_int_equal(crypto_mac_open(CRYPTO_SHA256, &secret, &mac, NULL), ERR_OK);
	assert_int_equal(crypto_mac(mac, pieces, ARRAY_LEN(pieces), digest, NULL), ERR_OK);
	assert_int_equal(buf_put_str(&want, "v1,", NULL), ERR_OK);
	assert_int_equal(text_base64((struct slice){ digest, 32 }, &want, NULL), ERR_OK);
	assert_true(slice_eq(peer_header(peer, "webhook-signature"), buf_slice(&want)));
	assert_true(slice_eq(id, peer_header(peer, "idempotency-key")));
	assert_int_equal(text_u64(time, &seconds, NULL), ERR_OK);
	assert_in_range(seconds, (uint64_t)clock_system()->wall_ms(clock_system()) / 1000 - 60,
		(uint64_t)clock_system()->wall_ms(clock_system()) / 1000);
	crypto_mac_close(&mac);
	secret_done(&secret);
	buf_done(&want);
}

static void a_key_signs(void **state)
{
	static const char *const keys[] = {
		"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
		"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz\n",
		"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct job job;

		assert_int_equal(setenv("HANDLER_HTTP_KEY", keys[i], 1), 0);
		job_init(world, &job, "/200");
		job.route.handler.sign_key.env = "HANDLER_HTTP_KEY";
		job_run(&job);
		assert_int_equal(job.call.verdict, HANDLER_DONE);
		lock_take(&world->peer.lock);
		check_signature(&world->peer, SLICE_LIT("012345678901234567890123"));
		lock_give(&world->peer.lock);
	}
}

static void mistakes_are_reported(void **state)
{
	static const struct {
		const char *url, *key, *says;
	} table[] = {
		{ "http://127.0.0.1/", NULL, "not set" },
		{ "http://127.0.0.1/", "", "empty" },
		{ "http://127.0.0.1/", "whsec_", "empty" },
		{ "http://127.0.0.1/", "whsec_?", "base64" },
		{ "http://127.0.0.1/", "whsec_MDEy MDEy", "base64" },
		{ "ftp://user:hunter2@127.0.0.1/", "", "http" },
		{ "hunter2", "", "URL" },
	};
	struct world *world = *state;

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct config_report report = { NULL, 0 };
		struct err err = ERR_INIT;
		struct job job;
		struct handler_opts opts = { .fetch = world->fetch, .report = &report };

		job_init(world, &job, "/");
		opts.route = &job.route;
		job.route.handler.url = table[i].url;
		job.route.handler.sign_key.env = "HANDLER_HTTP_BAD";
		job.route.handler.sign_key.pointer = "/routes/0/handler/sign_key";
		job.route.pointer = "/routes/0";
		assert_int_equal(table[i].key ? setenv("HANDLER_HTTP_BAD", table[i].key, 1)
					      : unsetenv("HANDLER_HTTP_BAD"),
			0);
		assert_int_equal(handler_open(&opts, &job.handler, &err), ERR_CONFIG);
		assert_null(job.handler);
		assert_int_equal(report.count, 1);
		print_message("# %s: %s\n", report.problems[0].pointer, report.problems[0].text);
		assert_non_null(strstr(report.problems[0].text, table[i].says));
		assert_null(strstr(report.problems[0].text, "hunter2"));
		assert_null(strstr(err.text, "hunter2"));
		config_report_done(&report);
	}
}

/* Nobody is called: the caller is told where the event goes. */
static void topic_yields_its_name(void **state)
{
	struct world *world = *state;
	struct handler_opts opts = { 0 };
	struct job job;

	job_init(world, &job, "/");
	job.route.handler.type = HANDLER_TOPIC;
	job.route.handler.topic = "orders";
	opts.route = &job.route;
	assert_int_equal(handler_open(&opts, &job.handler, NULL), ERR_OK);
	assert_true(handler_yields(job.handler));
	assert_false(handler_is_none(job.handler));
	assert_int_equal(handler_start(job.handler, &job.call, NULL), ERR_OK);
	wait_for(world, 1);
	assert_int_equal(job.call.verdict, HANDLER_DONE);
	assert_int_equal(job.call.code, ERR_OK);
	assert_true(slice_eq_str(job.call.topic, "orders"));
	handler_close(&job.handler);
}

static void none_is_done_at_once(void **state)
{
	struct world *world = *state;
	struct handler_opts opts = { 0 };
	struct job job;

	job_init(world, &job, "/");
	job.route.handler.type = HANDLER_NONE;
	opts.route = &job.route;
	assert_int_equal(handler_open(&opts, &job.handler, NULL), ERR_OK);
	assert_true(handler_is_none(job.handler));
	assert_int_equal(handler_start(job.handler, &job.call, NULL), ERR_OK);
	wait_for(world, 1);
	assert_int_equal(job.call.verdict, HANDLER_DONE);
	assert_int_equal(job.call.code, ERR_OK);
	handler_close(&job.handler);
	handler_close(&job.handler);
}

static void a_stopping_client_cancels(void **state)
{
	struct world *world = *state;
	struct handler_opts opts = { .fetch = world->fetch };
	struct job jobs[9];

	for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
		job_init(world, &jobs[i], "/hang");
		opts.route = &jobs[i].route;
		assert_int_equal(handler_open(&opts, &jobs[i].handler, NULL), ERR_OK);
		assert_int_equal(handler_start(jobs[i].handler, &jobs[i].call, NULL),
			i < 8 ? ERR_OK : ERR_FULL);
	}
	fetch_close(&world->fetch);
	wait_for(world, 8);
	for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
		if (i < 8)
			assert_int_equal(jobs[i].call.code, ERR_STOPPED);
		handler_close(&jobs[i].handler);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_each_answer_means, open_world, close_world),
		cmocka_unit_test_setup_teardown(nobody_listens, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			the_envelope_is_in_headers, open_world, close_world),
		cmocka_unit_test_setup_teardown(
			what_is_absent_stays_absent, open_world, close_world),
		cmocka_unit_test_setup_teardown(a_key_signs, open_world, close_world),
		cmocka_unit_test_setup_teardown(mistakes_are_reported, open_world, close_world),
		cmocka_unit_test_setup_teardown(none_is_done_at_once, open_world, close_world),
		cmocka_unit_test_setup_teardown(topic_yields_its_name, open_world, close_world),
		cmocka_unit_test_setup_teardown(a_stopping_client_cancels, open_world, close_world),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
