/* serve_clients.c - clients as they come: slow ones, ones that go away at any point, and crowds. */
#include "support/serve_house.h"

#include <stdlib.h>
#include <sys/resource.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slow_clients_are_ended),
		cmocka_unit_test(an_idle_connection_outlives_the_header_timeout),
		cmocka_unit_test(new_limits_hold_for_later_requests),
		cmocka_unit_test(clients_may_go_at_any_point),
		cmocka_unit_test(clients_may_go_while_they_wait),
		cmocka_unit_test(a_client_that_closed_its_side_is_answered),
		cmocka_unit_test(no_number_of_connections_stalls),
		cmocka_unit_test(idle_connections_cost_others_nothing),
		cmocka_unit_test(over_the_limit_clients_wait_their_turn),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
