/* admin_close.c - closing the admin listener while an answer is on its way from the action thread.
 *
 * Deliberately not here: what is answered to whom. */
#include "postern/admin.h"
#include "support/raw_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#define ROUNDS 200

static const char token_text[] = "0123456789abcdef";

struct gate {
	atomic_bool entered, open;
};

static void pause_us(long us)
{
	const struct timespec pause = { .tv_nsec = us * 1000 };

	(void)nanosleep(&pause, NULL);
}

/* Ends when the test says so. */
static enum err_code wait_for_gate(
	void *ctx, const struct admin_query *query, struct buf *out, struct err *err)
{
	struct gate *gate = ctx;

	(void)query;
	atomic_store(&gate->entered, true);
	while (!atomic_load(&gate->open))
		pause_us(50);
	return buf_put_str(out, "{}\n", err);
}

static void write_token(char path[64])
{
	int fd;

	(void)snprintf(path, 64, "%s", "/tmp/postern-admin-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, token_text, strlen(token_text)), strlen(token_text));
	assert_int_equal(close(fd), 0);
}

/* What the loop answers itself; its memory must go with the listener. */
static void ask_ready(int fd)
{
	struct raw_answer answer;

	assert_true(raw_send_str(fd, "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"));
	assert_true(raw_read(fd, &answer));
	assert_int_equal(answer.status, 200);
}

static void close_once(const char *token_file)
{
	struct gate gate = { .open = false };
	const struct admin_action action = {
		.method = "GET", .path = "/v1/slow", .run = wait_for_gate, .ctx = &gate
	};
	struct admin_opts opts = {
		.listen = "127.0.0.1:0",
		.token_file = token_file,
		.actions = &action,
		.action_count = 1,
		.clock = clock_system(),
	};
	struct admin *admin = NULL;
	struct err err = ERR_INIT;
	char request[256];
	int fd;

	assert_int_equal(admin_open(&opts, &admin, &err), ERR_OK);
	fd = raw_connect(admin_address(admin));
	ask_ready(fd);
	(void)snprintf(request, sizeof(request),
		"GET /v1/slow HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n\r\n", token_text);
	assert_true(raw_send_str(fd, request));
	while (!atomic_load(&gate.entered))
		pause_us(50);
	atomic_store(&gate.open, true);
	admin_close(&admin);
	assert_null(admin);
	(void)close(fd);
}

/* The loop may take the answer while the listener is being closed, before or after. */
static void an_answer_on_its_way_survives_the_close(void **state)
{
	char path[64];

	(void)state;
	write_token(path);
	for (int i = 0; i < ROUNDS; i++)
		close_once(path);
	assert_int_equal(unlink(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_on_its_way_survives_the_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
