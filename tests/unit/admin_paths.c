/* admin_paths.c - who is let in, and which path and method reach which action.
 *
 * Deliberately not here: what actions answer, and how the listener is closed (admin_close.c). */
#include "postern/admin.h"
#include "support/raw_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char token_text[] = "0123456789abcdef";

struct room {
	char token_path[64];
	struct admin *admin;
};

/* Answers with its own name and what stood below its path. */
static enum err_code tell(
	void *ctx, const struct admin_query *query, struct buf *out, struct err *err)
{
	return buf_putf(out, err, "%s(%.*s)", (const char *)ctx, SLICE_FMT(query->rest));
}

static char names[][8] = { "status", "reload", "list", "replay" };
static const struct admin_action actions[] = {
	{ "GET", "/v1/status", 0, tell, names[0] },
	{ "POST", "/v1/reload", 0, tell, names[1] },
	{ "GET", "/v1/dlq", ADMIN_BELOW, tell, names[2] },
	{ "POST", "/v1/dlq/replay", ADMIN_BELOW, tell, names[3] },
};

static int open_room(void **state)
{
	static struct room room;
	struct admin_opts opts = {
		.listen = "127.0.0.1:0",
		.token_file = room.token_path,
		.actions = actions,
		.action_count = ARRAY_LEN(actions),
		.clock = clock_system(),
	};
	struct err err = ERR_INIT;
	int fd;

	(void)snprintf(room.token_path, sizeof(room.token_path), "%s", "/tmp/postern-admin-XXXXXX");
	fd = mkstemp(room.token_path);
	if (fd < 0 || write(fd, token_text, strlen(token_text)) < 0 || close(fd) != 0)
		return -1;
	*state = &room;
	return admin_open(&opts, &room.admin, &err) == ERR_OK ? 0 : -1;
}

static int close_room(void **state)
{
	struct room *room = *state;

	admin_close(&room->admin);
	return unlink(room->token_path);
}

/* authorization: the whole value, or NULL. */
static void ask(const struct room *room, const char *method, const char *path,
	const char *authorization, struct raw_answer *out)
{
	char request[512];
	int fd = raw_connect(admin_address(room->admin));

	(void)snprintf(request, sizeof(request),
		"%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n%s%s%s\r\n", method, path,
		authorization ? "Authorization: " : "", authorization ? authorization : "",
		authorization ? "\r\n" : "");
	assert_true(raw_send_str(fd, request));
	assert_true(raw_read(fd, out));
	(void)close(fd);
}

static void the_name_of_the_scheme_has_no_case(void **state)
{
	static const struct {
		const char *authorization;
		unsigned status;
	} rows[] = {
		{ "Bearer 0123456789abcdef", 200 },
		{ "bearer 0123456789abcdef", 200 },
		{ "BEARER 0123456789abcdef", 200 },
		{ "Bearer 0123456789ABCDEF", 401 },
		{ "Bearer0123456789abcdef", 401 },
		{ "Bearer", 401 },
		{ "Basic 0123456789abcdef", 401 },
		{ NULL, 401 },
	};
	struct raw_answer answer;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		ask(*state, "GET", "/v1/status", rows[i].authorization, &answer);
		if (answer.status != rows[i].status)
			fail_msg("row %zu: %u", i, answer.status);
		if (answer.status == 401)
			assert_non_null(raw_header(&answer, "WWW-Authenticate"));
	}
}

/* wanted: the body of a 200, the Allow of a 405. */
static void a_path_and_a_method_reach_one_action(void **state)
{
	static const struct {
		const char *method, *path;
		unsigned status;
		const char *wanted;
	} rows[] = {
		{ "GET", "/v1/status", 200, "status()" },
		{ "GET", "/v1/status?a=b", 200, "status()" },
		{ "GET", "/v1/status/", 404, NULL },
		{ "GET", "/v1/status/x", 404, NULL },
		{ "GET", "/v1/status/../dlq", 404, NULL },
		{ "GET", "/v1/statusx", 404, NULL },
		{ "POST", "/v1/status/x", 404, NULL },
		{ "POST", "/v1/status", 405, "GET" },
		{ "POST", "/v1/reload", 200, "reload()" },
		{ "POST", "/v1/reload/x", 404, NULL },
		{ "GET", "/v1/reload", 405, "POST" },
		{ "GET", "/v1/dlq", 200, "list()" },
		{ "GET", "/v1/dlq/", 200, "list()" },
		{ "GET", "/v1/dlq/a%2Fb", 200, "list(a/b)" },
		{ "GET", "/v1/dlq/replay", 200, "list(replay)" },
		{ "POST", "/v1/dlq/replay/d1", 200, "replay(d1)" },
		{ "POST", "/v1/dlq/d1", 405, "GET" },
		{ "DELETE", "/v1/dlq/replay/d1", 405, "GET, POST" },
		{ "GET", "/v1", 404, NULL },
		{ "GET", "/", 404, NULL },
		{ "POST", "/metrics", 405, "GET, HEAD" },
	};
	struct raw_answer answer;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *allow, *wanted = rows[i].wanted;

		ask(*state, rows[i].method, rows[i].path, "Bearer 0123456789abcdef", &answer);
		allow = raw_header(&answer, "Allow");
		if (answer.status != rows[i].status || (answer.status == 405) != (allow != NULL))
			fail_msg("%s %s: %u", rows[i].method, rows[i].path, answer.status);
		if (allow && (strncmp(allow, wanted, strlen(wanted)) != 0 ||
				     allow[strlen(wanted)] != '\r'))
			fail_msg("%s %s: %.20s", rows[i].method, rows[i].path, allow);
		if (answer.status == 200)
			assert_string_equal(answer.body, wanted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_name_of_the_scheme_has_no_case),
		cmocka_unit_test(a_path_and_a_method_reach_one_action),
	};

	return cmocka_run_group_tests(tests, open_room, close_room);
}
