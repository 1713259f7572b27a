/* serve_life.c - requests and answers over time: deferred answers, refused senders, limits that
 * change, and a server that is told to stop. */
#include "postern/file.h"
#include "support/serve_house.h"

#include <stdlib.h>

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
	int fresh = raw_connect(serve_address(h->serve));
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
	assert_int_equal(post_and_read(fresh, "/now", "x", &a), 200);       /* it had just come */
	assert_memory_equal(raw_header(&a, "Connection"), "close", 5);
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
	(void)close(fresh);
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
		cmocka_unit_test(stopping_answers_what_is_in_work),
		cmocka_unit_test(closing_gives_up_what_is_deferred),
		cmocka_unit_test(bad_addresses_are_refused),
		cmocka_unit_test(a_taken_address_is_an_error),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
