/* serve_life.c - connections over time: deferred answers, deadlines, clients that go away at every
 * point, crowds, and a server that is told to stop.
 *
 * The path says what the callbacks do: /now answers at once, /later when the answering thread gets
 * to it, /never not at all, /no refuses in head(). */
#include "postern/file.h"
#include "postern/serve.h"
#include "support/raw_client.h"

#include "postern/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>

#include <cmocka.h>

#define HELD_MAX 4096

struct house {
	struct serve *serve;
	struct lock lock;
	struct cond more;
	struct thread thread;
	/* all guarded by lock */
	struct serve_request *later[HELD_MAX], *done[HELD_MAX], *never[HELD_MAX];
	size_t later_count, done_count, never_count;
	unsigned heads, readies, finished, gone, turns;
	enum err_code refused;
	bool stop;
};

/* ---- callbacks ---------------------------------------------------------------------------------
 */

static enum serve_next on_head(void *ctx, struct serve_request *rq, struct serve_reply *reply)
{
	struct house *h = ctx;

	lock_take(&h->lock);
	h->heads++;
	lock_give(&h->lock);
	rq->user = h;
	if (slice_eq_str(rq->path, "/small"))
		rq->max_body = 3;
	if (!slice_eq_str(rq->path, "/no"))
		return SERVE_CONTINUE;
	reply->status = 401;
	reply->content_type = "text/plain";
	reply->body = SLICE_LIT("no");
	return SERVE_REPLY;
}

static void fill(const struct serve_request *rq, struct serve_reply *reply)
{
	static const char *const made_of = "made of";

	reply->status = 200;
	reply->content_type = "application/octet-stream";
	reply->body = rq->body;
	reply->headers[reply->header_count++] = (struct header){
		.name = SLICE_LIT("X-Note"),
		.value = slice_str(made_of),
	};
}

static enum serve_next on_ready(void *ctx, struct serve_request *rq, struct serve_reply *reply)
{
	struct house *h = ctx;
	enum serve_next next = SERVE_DEFER;

	lock_take(&h->lock);
	h->readies++;
	if (slice_eq_str(rq->path, "/later")) {
		assert(h->later_count < HELD_MAX);
		h->later[h->later_count++] = serve_request_ref(rq);
		cond_signal(&h->more);
	} else if (slice_eq_str(rq->path, "/never")) {
		assert(h->never_count < HELD_MAX);
		h->never[h->never_count++] = serve_request_ref(rq);
	} else {
		fill(rq, reply);
		next = SERVE_REPLY;
	}
	lock_give(&h->lock);
	return next;
}

static void on_refused(void *ctx, struct serve_request *rq, enum err_code code, unsigned status,
	struct serve_reply *reply)
{
	struct house *h = ctx;

	(void)status;
	lock_take(&h->lock);
	h->heads += !rq->user; /* the guard's: head() never saw it */
	h->refused = code;
	lock_give(&h->lock);
	reply->content_type = "text/plain";
	reply->body = slice_str(err_name(code));
}

static void on_finished(void *ctx, struct serve_request *rq, unsigned status)
{
	struct house *h = ctx;

	(void)rq;
	lock_take(&h->lock);
	h->finished++;
	h->gone += status == 0;
	lock_give(&h->lock);
}

static void on_tick(void *ctx)
{
	struct house *h = ctx;
	struct serve_request *done[HELD_MAX];
	size_t count;

	lock_take(&h->lock);
	count = h->done_count;
	memcpy(done, h->done, count * sizeof(done[0]));
	h->done_count = 0;
	lock_give(&h->lock);
	for (size_t i = 0; i < count; i++) {
		struct serve_reply reply = { .status = 0 };

		fill(done[i], &reply);
		serve_answer(h->serve, done[i], &reply);
		serve_request_unref(done[i]);
	}
}

static void on_turn(void *ctx)
{
	struct house *h = ctx;

	lock_take(&h->lock);
	h->turns++;
	lock_give(&h->lock);
}

static const struct serve_ops ops = {
	.head = on_head,
	.ready = on_ready,
	.refused = on_refused,
	.finished = on_finished,
	.tick = on_tick,
	.turn = on_turn,
};

/* Stands for the writer that makes things durable: takes what there is, gives it back, wakes. */
static void *answerer(void *arg)
{
	struct house *h = arg;

	lock_take(&h->lock);
	while (!h->stop) {
		if (h->later_count == 0) {
			(void)cond_wait(&h->more, &h->lock, -1);
			continue;
		}
		if (h->done_count + h->later_count > HELD_MAX)
			continue;
		memcpy(h->done + h->done_count, h->later, h->later_count * sizeof(h->later[0]));
		h->done_count += h->later_count;
		h->later_count = 0;
		lock_give(&h->lock);
		serve_wake(h->serve);
		lock_take(&h->lock);
	}
	lock_give(&h->lock);
	return NULL;
}

static struct serve_opts usual_opts(struct house *h)
{
	return (struct serve_opts){
		.name = "life",
		.listen = "127.0.0.1:0",
		.listen_fd = -1,
		.max_connections = 1000,
		.max_header_bytes = 16384,
		.max_body_bytes = MIB(1),
		.header_timeout_ms = 20000,
		.body_timeout_ms = 20000,
		.idle_timeout_ms = 20000,
		.ops = &ops,
		.ctx = h,
		.clock = clock_system(),
	};
}

static struct house *open_house(const struct serve_opts *opts)
{
	struct house *h = opts->ctx;
	struct err err = ERR_INIT;

	lock_init(&h->lock);
	cond_init(&h->more);
	if (serve_open(opts, &h->serve, &err) != ERR_OK)
		fail_msg("%s", err.text);
	assert_int_equal(thread_start(&h->thread, "answerer", answerer, h, &err), ERR_OK);
	return h;
}

static void close_house(struct house *h)
{
	serve_close(&h->serve);
	lock_take(&h->lock);
	h->stop = true;
	cond_signal(&h->more);
	lock_give(&h->lock);
	thread_join(&h->thread);
	for (size_t i = 0; i < h->later_count; i++)
		serve_request_unref(h->later[i]);
	for (size_t i = 0; i < h->done_count; i++)
		serve_request_unref(h->done[i]);
	for (size_t i = 0; i < h->never_count; i++)
		serve_request_unref(h->never[i]);
	assert_int_equal(h->heads, h->finished);
	cond_done(&h->more);
	lock_done(&h->lock);
}

static bool reaches(struct house *h, const unsigned *counter, unsigned wanted)
{
	int64_t deadline = raw_now_ms() + RAW_DEADLINE_MS;
	unsigned now;

	do {
		(void)poll(NULL, 0, 1);
		lock_take(&h->lock);
		now = *counter;
		lock_give(&h->lock);
	} while (now < wanted && raw_now_ms() < deadline);
	return now >= wanted;
}

static bool post(int fd, const char *path, const char *body)
{
	char bytes[4096];
	int len = snprintf(bytes, sizeof(bytes),
		"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s", path, strlen(body),
		body);

	return raw_send(fd, bytes, (size_t)len);
}

static unsigned post_and_read(int fd, const char *path, const char *body, struct raw_answer *a)
{
	(void)post(fd, path, body);
	(void)raw_read(fd, a);
	return a->status;
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static void one_connection_carries_many_requests(void **state)
{
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h = open_house(&opts);
	int fd = raw_connect(serve_address(h->serve));
	static struct raw_answer a;
	char body[32];

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		(void)snprintf(body, sizeof(body), "body %u", i);
		assert_int_equal(post_and_read(fd, i % 3 ? "/later" : "/now", body, &a), 200);
		assert_int_equal(a.body_len, strlen(body));
		assert_memory_equal(a.body, body, a.body_len);
		assert_memory_equal(raw_header(&a, "X-Note"), "made of\r", 8);
		assert_memory_equal(raw_header(&a, "X-Content-Type-Options"), "nosniff\r", 8);
		assert_null(raw_header(&a, "Connection"));
	}
	assert_int_equal(serve_connections(h->serve), 1);
	(void)close(fd);
	assert_true(reaches(h, &h->finished, 300));
	close_house(h);
}

static void request_ids_are_taken_or_made(void **state)
{
	static const struct {
		const char *sent, *kept; /* NULL: made */
	} rows[] = {
		{ "X-Request-Id: abc.DEF_1-2\r\n", "abc.DEF_1-2" },
		{ "x-request-id:  blank-around \r\n", "blank-around" },
		{ "X-Request-Id: a b\r\n", NULL },
		{ "X-Request-Id: a/b\r\n", NULL },
		{ "X-Request-Id:\r\n", NULL },
		{ "X-Request-Id: "
		  "0123456789012345678901234567890123456789012345678901234567890123\r\n",
			"0123456789012345678901234567890123456789012345678901234567890123" },
		{ "X-Request-Id: "
		  "01234567890123456789012345678901234567890123456789012345678901234\r\n",
			NULL },
		{ "", NULL },
	};
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h = open_house(&opts);
	static struct raw_answer a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int fd = raw_connect(serve_address(h->serve));
		char bytes[512];
		const char *id;

		(void)snprintf(bytes, sizeof(bytes), "GET /now HTTP/1.1\r\nHost: a\r\n%s\r\n",
			rows[i].sent);
		assert_true(raw_send_str(fd, bytes));
		assert_true(raw_read(fd, &a));
		id = raw_header(&a, "X-Request-Id");
		assert_non_null(id);
		if (rows[i].kept)
			assert_memory_equal(id, rows[i].kept, strlen(rows[i].kept));
		else
			assert_int_equal(strspn(id, "0123456789abcdef"), 24);
		(void)close(fd);
	}
	close_house(h);
}

/* A big body that is refused in head(), by its length, or while it comes in chunks: the sender
 * writes all of it before it reads, and must still see the answer. */
static void refused_senders_see_the_answer(void **state)
{
	static const struct {
		const char *name, *head;
		size_t size;
		bool chunked;
		unsigned status;
		bool kept;
	} rows[] = {
		{ "/no with a body",
			"POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", 1000000,
			false, 401, true },
		{ "too long by its length",
			"POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n", 3000000,
			false, 413, false },
		{ "/no too long", "POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n",
			3000000, false, 401, false },
		{ "too long in chunks",
			"POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
			3000000, true, 413, false },
		{ "/no in chunks",
			"POST /no HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
			3000000, true, 401, false },
		{ "not HTTP", "POST /now HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n", 3000000,
			false, 400, false },
		{ "a lowered limit", "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n",
			4, false, 413, false },
	};
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h = open_house(&opts);
	static struct raw_answer a;
	char *body = malloc(3000000);

	(void)state;
	assert_non_null(body);
	memset(body, 'x', 3000000);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int fd = raw_connect(serve_address(h->serve));
		char size[32];

		(void)raw_send_str(fd, rows[i].head);
		(void)snprintf(size, sizeof(size), "%zx\r\n", rows[i].size);
		if (rows[i].chunked)
			(void)raw_send_str(fd, size);
		if (!raw_send(fd, body, rows[i].size))
			fail_msg("%s: reset while sending", rows[i].name);
		if (rows[i].chunked)
			(void)raw_send_str(fd, "\r\n0\r\n\r\n");
		(void)raw_read(fd, &a);
		if (a.status != rows[i].status)
			fail_msg("%s: %u", rows[i].name, a.status);
		if (rows[i].kept)
			assert_int_equal(post_and_read(fd, "/now", "x", &a), 200);
		else
			assert_true(raw_read_end(fd, 5000));
		(void)close(fd);
	}
	free(body);
	close_house(h);
}

static void expect_continue_is_answered(void **state)
{
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h = open_house(&opts);
	int fd = raw_connect(serve_address(h->serve));
	static struct raw_answer a;

	(void)state;
	assert_true(raw_send_str(fd, "POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
				     "Expect: 100-continue\r\n\r\n"));
	assert_true(raw_read(fd, &a));
	assert_int_equal(a.status, 100);
	assert_true(raw_send_str(fd, "hello"));
	assert_true(raw_read(fd, &a));
	assert_int_equal(a.status, 200);
	assert_memory_equal(a.body, "hello", 5);
	(void)close(fd);

	fd = raw_connect(serve_address(h->serve)); /* refused before the body is sent */
	assert_true(raw_send_str(fd, "POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
				     "Expect: 100-continue\r\n\r\n"));
	assert_true(raw_read(fd, &a));
	assert_int_equal(a.status, 401);
	(void)close(fd);
	close_house(h);
}

static void big_bodies_come_whole(void **state)
{
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h = open_house(&opts);
	int fd = raw_connect(serve_address(h->serve));
	const size_t size = 60000;
	static struct raw_answer a;
	char *bytes = malloc(size);

	(void)state;
	assert_non_null(bytes);
	random_bytes(bytes, size);
	assert_true(raw_send_str(
		fd, "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n"));
	for (size_t at = 0; at < size; at += 6000)
		assert_true(raw_send(fd, bytes + at, 6000));
	assert_true(raw_read(fd, &a));
	assert_int_equal(a.body_len, size);
	assert_memory_equal(a.body, bytes, size);
	free(bytes);
	(void)close(fd);
	close_house(h);
}

static void an_answer_that_never_comes_is_unknown(void **state)
{
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h;
	static struct raw_answer a;
	int fd;

	(void)state;
	opts.answer_timeout_ms = 100;
	h = open_house(&opts);
	fd = raw_connect(serve_address(h->serve));
	assert_int_equal(post_and_read(fd, "/never", "x", &a), 503);
	assert_memory_equal(a.body, "OUTCOME_UNKNOWN", a.body_len);
	lock_take(&h->lock); /* the answer comes too late, and does nothing */
	h->done[h->done_count++] = h->never[--h->never_count];
	lock_give(&h->lock);
	serve_wake(h->serve);
	(void)close(fd);
	fd = raw_connect(serve_address(h->serve));
	assert_int_equal(post_and_read(fd, "/now", "x", &a), 200);
	(void)close(fd);
	close_house(h);
}

/* ---- deadlines ---------------------------------------------------------------------------------
 */

struct slow {
	const char *name, *first, *drip; /* drip: a byte of it again and again */
	int64_t header_ms, body_ms, idle_ms;
};

static void drip_until_closed(struct house *h, const struct slow *row)
{
	int fd = raw_connect(serve_address(h->serve));
	int64_t deadline = raw_now_ms() + 5000;
	char byte;
	ssize_t n;

	(void)raw_send_str(fd, row->first);
	do {
		if (row->drip)
			(void)raw_send(fd, row->drip, 1);
		n = raw_recv(fd, &byte, 1, raw_now_ms() + 20);
	} while (n < 0 && raw_now_ms() < deadline);
	if (n < 0)
		fail_msg("%s: still open", row->name);
	(void)close(fd);
}

static void slow_clients_are_ended(void **state)
{
	static const struct slow rows[] = {
		{ "nothing at all", "", NULL, 20000, 20000, 200 },
		{ "a head that stops", "POST /now HT", NULL, 200, 20000, 20000 },
		{ "a head that drips", "POST /now HTTP/1.1\r\nX-A: ", "a", 200, 20000, 20000 },
		{ "a body that stops",
			"POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nx", NULL,
			20000, 200, 20000 },
		{ "a body that drips",
			"POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nx", "a",
			20000, 200, 20000 },
		{ "a refused body that drips",
			"POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nx", "a",
			20000, 200, 20000 },
		{ "chunks that drip",
			"POST /now HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
			"chunked\r\n\r\n10000\r\n",
			"a", 20000, 200, 20000 },
		{ "empty lines that drip", "\r\n", "\n", 200, 20000, 20000 },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct house house = { .stop = false };
		struct serve_opts opts = usual_opts(&house);

		opts.header_timeout_ms = rows[i].header_ms;
		opts.body_timeout_ms = rows[i].body_ms;
		opts.idle_timeout_ms = rows[i].idle_ms;
		drip_until_closed(open_house(&opts), &rows[i]);
		close_house(&house);
	}
}

static void an_idle_connection_outlives_the_header_timeout(void **state)
{
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h;
	static struct raw_answer a;
	int fresh, kept;
	char byte;

	(void)state;
	opts.header_timeout_ms = 100;
	h = open_house(&opts);
	fresh = raw_connect(serve_address(h->serve));
	kept = raw_connect(serve_address(h->serve));
	assert_int_equal(post_and_read(kept, "/later", "x", &a), 200);
	assert_int_equal(raw_recv(fresh, &byte, 1, raw_now_ms() + 400), -1); /* open */
	assert_int_equal(post_and_read(kept, "/later", "x", &a), 200);
	assert_int_equal(post_and_read(fresh, "/now", "x", &a), 200);
	/* A part of a second head is a head all the same. */
	assert_true(raw_send_str(kept, "POST /la"));
	assert_true(raw_read_end(kept, 5000));
	(void)close(fresh);
	(void)close(kept);
	close_house(h);
}

static void new_limits_hold_for_later_requests(void **state)
{
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h = open_house(&opts);
	int fd = raw_connect(serve_address(h->serve));
	static struct raw_answer a;

	(void)state;
	assert_int_equal(post_and_read(fd, "/now", "12345", &a), 200);
	serve_set_limits(h->serve, 4, 20000, 20000, 20000);
	assert_int_equal(post_and_read(fd, "/now", "12345", &a), 413);
	(void)close(fd);
	close_house(h);
}

/* ---- clients that go away ----------------------------------------------------------------------
 */

static void reset(int fd)
{
	const struct linger hard = { .l_onoff = 1, .l_linger = 0 };

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
	(void)close(fd);
}

static void clients_may_go_at_any_point(void **state)
{
	static const char request[] = "POST /later HTTP/1.1\r\nHost: a\r\nX-A: b\r\n"
				      "Content-Length: 20\r\n\r\n01234567890123456789";
	static const char chunked[] = "POST /later HTTP/1.1\r\nHost: a\r\n"
				      "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
	static const char *const texts[] = { request, chunked };
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h = open_house(&opts);
	static struct raw_answer a;
	int fd;

	(void)state;
	for (size_t t = 0; t < ARRAY_LEN(texts); t++) {
		for (size_t len = 0; len <= strlen(texts[t]); len++) {
			fd = raw_connect(serve_address(h->serve));
			(void)raw_send(fd, texts[t], len);
			if (len % 2)
				reset(fd);
			else
				(void)close(fd);
		}
	}
	fd = raw_connect(serve_address(h->serve));
	assert_int_equal(post_and_read(fd, "/later", "still there", &a), 200);
	(void)close(fd);
	close_house(h);
}

static void clients_may_go_while_they_wait(void **state)
{
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h = open_house(&opts);
	static struct raw_answer a;
	int fd;

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		fd = raw_connect(serve_address(h->serve));
		(void)post(fd, "/never", "x");
		assert_true(reaches(h, &h->readies, i + 1));
		reset(fd);
	}
	assert_true(reaches(h, &h->gone, 50));
	lock_take(&h->lock); /* and are answered then */
	memcpy(h->done, h->never, h->never_count * sizeof(h->never[0]));
	h->done_count = h->never_count;
	h->never_count = 0;
	lock_give(&h->lock);
	serve_wake(h->serve);
	fd = raw_connect(serve_address(h->serve));
	assert_int_equal(post_and_read(fd, "/later", "still there", &a), 200);
	(void)close(fd);
	close_house(h);
}

static void a_client_that_closed_its_side_is_answered(void **state)
{
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h = open_house(&opts);
	static struct raw_answer a;
	int fd = raw_connect(serve_address(h->serve));

	(void)state;
	(void)post(fd, "/later", "x");
	(void)shutdown(fd, SHUT_WR);
	assert_true(raw_read(fd, &a));
	assert_int_equal(a.status, 200);
	assert_true(raw_read_end(fd, 5000));
	(void)close(fd);
	close_house(h);
}

/* ---- crowds ------------------------------------------------------------------------------------
 */

/* As many at once as there are numbers at which a polling server has been seen to stop. */
static void no_number_of_connections_stalls(void **state)
{
	static const unsigned counts[] = { 1, 2, 127, 128, 129, 255, 256, 384, 512, 640 };
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h = open_house(&opts);
	static struct raw_answer a;
	int fds[640];

	(void)state;
	for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
		for (unsigned i = 0; i < counts[c]; i++)
			fds[i] = raw_connect(serve_address(h->serve));
		for (unsigned round = 0; round < 3; round++) {
			for (unsigned i = 0; i < counts[c]; i++)
				assert_true(post(fds[i], i % 5 ? "/later" : "/now", "hello"));
			for (unsigned i = 0; i < counts[c]; i++) {
				assert_true(raw_read(fds[i], &a));
				assert_int_equal(a.status, 200);
			}
		}
		for (unsigned i = 0; i < counts[c]; i++)
			(void)close(fds[i]);
	}
	close_house(h);
}

static void raise_limit_of_files(rlim_t wanted)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		skip();
}

static void idle_connections_cost_others_nothing(void **state)
{
	enum { IDLE = 2000 };
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h;
	static struct raw_answer a;
	int *fds = calloc(IDLE, sizeof(*fds));
	int64_t slowest = 0;
	int fd;

	(void)state;
	assert_non_null(fds);
	opts.max_connections = 4096;
	raise_limit_of_files(2 * IDLE + 1000);
	h = open_house(&opts);
	for (unsigned i = 0; i < IDLE; i++)
		fds[i] = raw_connect(serve_address(h->serve));
	fd = raw_connect(serve_address(h->serve));
	for (unsigned i = 0; i < 100; i++) {
		int64_t start = raw_now_ms();

		assert_int_equal(post_and_read(fd, "/later", "x", &a), 200);
		if (raw_now_ms() - start > slowest)
			slowest = raw_now_ms() - start;
	}
	assert_true(slowest < 2000);
	for (unsigned i = 0; i < IDLE; i++)
		(void)close(fds[i]);
	free(fds);
	(void)close(fd);
	close_house(h);
}

static void over_the_limit_clients_wait_their_turn(void **state)
{
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h;
	static struct raw_answer a;
	int fds[4];

	(void)state;
	opts.max_connections = 2;
	h = open_house(&opts);
	for (unsigned i = 0; i < 4; i++)
		fds[i] = raw_connect(serve_address(h->serve));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(post_and_read(fds[i], "/later", "x", &a), 200);
		assert_true(serve_connections(h->serve) <= 2);
		(void)close(fds[i]);
	}
	close_house(h);
}

/* ---- stopping ----------------------------------------------------------------------------------
 */

static void stopping_answers_what_is_in_work(void **state)
{
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h = open_house(&opts);
	int idle = raw_connect(serve_address(h->serve));
	int waiting = raw_connect(serve_address(h->serve));
	int sending = raw_connect(serve_address(h->serve));
	static struct raw_answer a;
	int refused;
	char byte;

	(void)state;
	assert_int_equal(post_and_read(idle, "/now", "x", &a), 200);
	(void)post(waiting, "/never", "x");
	assert_true(raw_send_str(
		sending, "POST /now HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe"));
	assert_true(reaches(h, &h->heads, 3));
	assert_true(reaches(h, &h->readies, 2));
	serve_quiesce(h->serve);
	assert_int_equal(raw_recv(idle, &byte, 1, raw_now_ms() + 5000), 0); /* closed at once */
	assert_false(serve_drain(h->serve, raw_now_ms() + 50));
	assert_int_equal(serve_in_flight(h->serve), 2);
	refused = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(refused >= 0);
	(void)close(refused);
	assert_true(raw_send_str(sending, "llo"));
	assert_true(raw_read(sending, &a));
	assert_int_equal(a.status, 200);
	assert_memory_equal(raw_header(&a, "Connection"), "close", 5);
	lock_take(&h->lock);
	h->done[h->done_count++] = h->never[--h->never_count];
	lock_give(&h->lock);
	serve_wake(h->serve);
	assert_true(raw_read(waiting, &a));
	assert_int_equal(a.status, 200);
	assert_memory_equal(raw_header(&a, "Connection"), "close", 5);
	assert_true(serve_drain(h->serve, raw_now_ms() + 5000));
	assert_int_equal(serve_in_flight(h->serve), 0);
	(void)close(idle);
	(void)close(waiting);
	(void)close(sending);
	close_house(h);
}

static void closing_gives_up_what_is_deferred(void **state)
{
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h = open_house(&opts);
	int fds[20];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = raw_connect(serve_address(h->serve));
		(void)post(fds[i], i % 2 ? "/never" : "/later", "x");
	}
	assert_true(reaches(h, &h->readies, ARRAY_LEN(fds)));
	close_house(h);
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
		(void)close(fds[i]);
}

static void bad_addresses_are_refused(void **state)
{
	static const char *const rows[] = { "", "localhost", "127.0.0.1:", "127.0.0.1:70000",
		"127.0.0.1:a", ":80", "[::1:80", "256.1.1.1:80" };
	struct house house = { .stop = false };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct serve_opts opts = usual_opts(&house);
		struct err err = ERR_INIT;
		struct serve *serve = NULL;

		opts.listen = rows[i];
		assert_int_not_equal(serve_open(&opts, &serve, &err), ERR_OK);
		assert_null(serve);
		assert_int_not_equal(err.text[0], '\0');
	}
}

static void a_taken_address_is_an_error(void **state)
{
	struct house house = { .stop = false };
	struct serve_opts opts = usual_opts(&house);
	struct house *h = open_house(&opts);
	struct err err = ERR_INIT;
	struct serve *second = NULL;

	(void)state;
	opts.listen = serve_address(h->serve);
	assert_int_equal(serve_open(&opts, &second, &err), ERR_IO);
	assert_non_null(strstr(err.text, serve_address(h->serve)));
	close_house(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_connection_carries_many_requests),
		cmocka_unit_test(request_ids_are_taken_or_made),
		cmocka_unit_test(refused_senders_see_the_answer),
		cmocka_unit_test(expect_continue_is_answered),
		cmocka_unit_test(big_bodies_come_whole),
		cmocka_unit_test(an_answer_that_never_comes_is_unknown),
		cmocka_unit_test(slow_clients_are_ended),
		cmocka_unit_test(an_idle_connection_outlives_the_header_timeout),
		cmocka_unit_test(new_limits_hold_for_later_requests),
		cmocka_unit_test(clients_may_go_at_any_point),
		cmocka_unit_test(clients_may_go_while_they_wait),
		cmocka_unit_test(a_client_that_closed_its_side_is_answered),
		cmocka_unit_test(no_number_of_connections_stalls),
		cmocka_unit_test(idle_connections_cost_others_nothing),
		cmocka_unit_test(over_the_limit_clients_wait_their_turn),
		cmocka_unit_test(stopping_answers_what_is_in_work),
		cmocka_unit_test(closing_gives_up_what_is_deferred),
		cmocka_unit_test(bad_addresses_are_refused),
		cmocka_unit_test(a_taken_address_is_an_error),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
