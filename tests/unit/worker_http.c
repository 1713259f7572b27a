/* The worker with the real handlers: a destination over plain sockets that answers, refuses, is
 * busy, hangs and comes back; and child processes. */
#include "support/worker_lab.h"

#include "support/http_peer.h"

#define ROUTE(name, path, more)                                                                    \
	"{\"name\": \"" name "\", \"match\": {\"type\": \"" name "\"}, \"handler\": {"             \
	"\"type\": \"http\", \"url\": \"http://127.0.0.1:%u" path "\", \"timeout_ms\": 300},"      \
	"\"retry\": {\"attempts\": 2, \"base_ms\": 2, \"cap_ms\": 4}" more "}"
#define EXEC(name, argv)                                                                           \
	"{\"name\": \"" name "\", \"match\": {\"type\": \"" name "\"}, \"handler\": {"             \
	"\"type\": \"exec\", \"argv\": [" argv "], \"timeout_ms\": 500},"                          \
	"\"retry\": {\"attempts\": 2, \"base_ms\": 2, \"cap_ms\": 4}}"

static const struct peer_row rows[] = {
	{ "/ok", PEER_ANSWER, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" },
	{ "/down", PEER_ANSWER, "HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n" },
	{ "/gone", PEER_ANSWER, "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n" },
	{ "/moved", PEER_ANSWER,
		"HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n" },
	{ "/busy", PEER_ANSWER,
		"HTTP/1.1 429 Wait\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n" },
	{ "/hang", PEER_HANG, "" },
};

static struct lab *open_lab(const struct peer *peer)
{
	static char config[8192];

	/* The format is a literal: each route names the peer's port. */
	(void)snprintf(config, sizeof(config),
		LAB_CONFIG(ROUTE("ok", "/ok", ",\"concurrency\": 8") "," ROUTE("down", "/down",
				   "") "," ROUTE("gone", "/gone", "") "," ROUTE("moved", "/moved",
				   "") "," ROUTE("busy", "/busy", "") "," ROUTE("hang", "/hang",
				   "") "," EXEC("true", "\"/bin/true\"") "," EXEC("false",
				   "\"/bin/false\"") "," EXEC("refuse",
				   "\"/bin/sh\", \"-c\", \"exit 65\"") "," EXEC("sleep",
				   "\"/bin/sleep\", \"30\""),
			""),
		peer->port, peer->port, peer->port, peer->port, peer->port, peer->port);
	return lab_open(config);
}

static void answers_decide(void **state)
{
	static const struct {
		const char *type;
		enum outcome outcome;
		enum err_code code;
		unsigned attempts;
	} ends[] = {
		{ "ok", OUTCOME_APPLIED, ERR_OK, 1 },
		{ "down", OUTCOME_DEAD, ERR_ATTEMPTS_EXHAUSTED, 2 },
		{ "gone", OUTCOME_DEAD, ERR_HANDLER_REFUSED, 1 },
		{ "moved", OUTCOME_DEAD, ERR_HANDLER_REFUSED, 1 },
		{ "busy", OUTCOME_DEAD, ERR_ATTEMPTS_EXHAUSTED, 2 },
		{ "hang", OUTCOME_DEAD, ERR_ATTEMPTS_EXHAUSTED, 2 },
		{ "true", OUTCOME_APPLIED, ERR_OK, 1 },
		{ "false", OUTCOME_DEAD, ERR_ATTEMPTS_EXHAUSTED, 2 },
		{ "refuse", OUTCOME_DEAD, ERR_HANDLER_REFUSED, 1 },
		{ "sleep", OUTCOME_DEAD, ERR_ATTEMPTS_EXHAUSTED, 2 },
	};
	struct peer peer;
	struct lab *lab;

	(void)state;
	peer_open(&peer, rows, ARRAY_LEN(rows));
	lab = open_lab(&peer);
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		const struct lab_event event = {
			.id = ends[i].type, .type = ends[i].type, .entity = ends[i].type
		};

		(void)lab_send(lab, &event);
	}
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		struct item_seen seen;

		lab_ends(lab, ends[i].type, ends[i].outcome, ends[i].code);
		assert_true(lab_seen(lab, ends[i].type, &seen));
		assert_int_equal(seen.attempts, ends[i].attempts);
	}
	lab_close(lab);
	peer_close(&peer);
}

/* One key that hangs delays no other, and a burst is worked through. */
static void a_hanging_key_delays_no_other(void **state)
{
	static const struct lab_event hang = { .id = "h", .type = "hang", .entity = "stuck" };
	struct peer peer;
	struct lab *lab;
	char id[32], entity[32];

	(void)state;
	peer_open(&peer, rows, ARRAY_LEN(rows));
	lab = open_lab(&peer);
	(void)lab_send(lab, &hang);
	for (int i = 0; i < 300; i++) {
		const struct lab_event event = { .id = id, .type = "ok", .entity = entity };

		(void)snprintf(id, sizeof(id), "ok-%d", i);
		(void)snprintf(entity, sizeof(entity), "e%d", i % 40);
		(void)lab_send(lab, &event);
	}
	LAB_UNTIL(lab_outcome(lab, "ok-299") == OUTCOME_APPLIED);
	lab_ends(lab, "h", OUTCOME_DEAD, ERR_ATTEMPTS_EXHAUSTED);
	lab_passed(lab);
	lab_close(lab);
	peer_close(&peer);
}

/* A stop while a call hangs ends in time, and the event is called again by the next start. */
static void a_stop_does_not_wait_for_a_call(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "s", .type = "sleep", .entity = "x" },
		{ .id = "h", .type = "hang", .entity = "y" },
	};
	struct peer peer;
	struct lab *lab;
	int64_t start_ms;

	(void)state;
	peer_open(&peer, rows, ARRAY_LEN(rows));
	lab = open_lab(&peer);
	lab_send_all(lab, events, ARRAY_LEN(events));
	LAB_UNTIL(peer_requests(&peer) == 1);
	start_ms = lab_mono_ms();
	lab_stop(lab, 50);
	assert_true(lab_mono_ms() - start_ms < 5000);
	worker_close(&lab->worker);
	assert_int_equal(lab_outcome(lab, "h"), OUTCOME_PARKED);
	lab_start(lab);
	lab_ends(lab, "h", OUTCOME_DEAD, ERR_ATTEMPTS_EXHAUSTED);
	lab_ends(lab, "s", OUTCOME_DEAD, ERR_ATTEMPTS_EXHAUSTED);
	assert_int_equal(peer_requests(&peer), 3); /* the one that was cancelled did not count */
	lab_close(lab);
	peer_close(&peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_decide),
		cmocka_unit_test(a_hanging_key_delays_no_other),
		cmocka_unit_test(a_stop_does_not_wait_for_a_call),
	};

	return lab_run(tests);
}
