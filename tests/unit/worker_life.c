/* The owner thread over a longer life: operators, stops and starts, suspects, limits. */
#define LAB_FAKE_HANDLER
#include "support/worker_lab.h"

#include "postern/json.h"

static const char none_config[] = LAB_CONFIG(LAB_NONE_ROUTE, "");
static const char call_config[] = LAB_CONFIG(LAB_CALL_ROUTE, "");

/* ---- operators --------------------------------------------------------------------- */

static void dead_letters_are_replayed(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "later", .entity = "x", .version = "1" },
		{ .id = "never", .entity = "x", .version = "2" },
		{ .id = "done", .entity = "x", .version = "3" },
	};
	struct err err = ERR_INIT;
	struct buf text = BUF_INIT(MIB(1));
	struct store_entry entry;
	struct lab *lab = lab_open(call_config);

	(void)state;
	lab_send_all(lab, events, 1);
	lab_ends(lab, "later", OUTCOME_DEAD, ERR_HANDLER_REFUSED);
	LAB_UNTIL(lab_entries(lab, OUT_DLQ) == 1);
	assert_true(lab_entry(lab, OUT_DLQ, 0, &entry, &text));
	/* it fails again: a new dead letter */
	assert_int_equal(
		worker_change(lab->worker, CHANGE_REPLAY, OUT_DLQ, entry.stream_offset, &err),
		ERR_OK);
	LAB_UNTIL(lab_entries(lab, OUT_DLQ) == 2);
	lab_ends(lab, "later", OUTCOME_DEAD, ERR_HANDLER_REFUSED);
	assert_int_equal(lab_calls_of("later"), 2);
	/* once only */
	assert_int_equal(
		worker_change(lab->worker, CHANGE_REPLAY, OUT_DLQ, entry.stream_offset, &err),
		ERR_USAGE);
	assert_non_null(strstr(err.text, "replayed"));
	/* a newer version has been applied: the replay passes the rule, and is stale */
	lab_send_all(lab, events + 1, 2);
	lab_ends(lab, "done", OUTCOME_APPLIED, ERR_OK);
	LAB_UNTIL(lab_entries(lab, OUT_DLQ) == 3);
	err_clear(&err);
	assert_true(lab_entry(lab, OUT_DLQ, 1, &entry, &text));
	assert_int_equal(
		worker_change(lab->worker, CHANGE_REPLAY, OUT_DLQ, entry.stream_offset, &err),
		ERR_OK);
	lab_ends(lab, "later", OUTCOME_STALE, ERR_STALE_VERSION);
	buf_done(&text);
	lab_close(lab);
}

static void a_replay_is_worked_like_any(void **state)
{
	static const struct lab_event event = { .id = "hold", .entity = "x", .version = "1" };
	static const struct lab_event behind = { .id = "done", .entity = "x", .version = "2" };
	struct err err = ERR_INIT;
	struct item_seen seen;
	struct lab *lab = lab_open(call_config);

	(void)state;
	(void)lab_send(lab, &event);
	lab_answer("hold", HANDLER_NEVER, ERR_HANDLER_REFUSED);
	LAB_UNTIL(lab_entries(lab, OUT_DLQ) == 1);
	assert_int_equal(worker_change(lab->worker, CHANGE_REPLAY, OUT_DLQ, 0, &err), ERR_OK);
	LAB_UNTIL(lab_called("hold"));
	lab_ends(lab, "hold", OUTCOME_PARKED, ERR_OK);
	/* it blocks its subject like any parked event */
	(void)lab_send(lab, &behind);
	lab_passed(lab);
	lab_ends(lab, "done", OUTCOME_PARKED, ERR_OK);
	assert_int_equal(lab_calls_of("done"), 0);
	lab_answer("hold", HANDLER_DONE, ERR_OK);
	lab_ends(lab, "hold", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "done", OUTCOME_APPLIED, ERR_OK);
	assert_true(lab_seen(lab, "hold", &seen));
	assert_int_equal(seen.attempts, 1);
	assert_int_equal(seen.offset, 0);
	lab_state(lab, "x", "2", "done");
	lab_close(lab);
}

static void changes_that_make_no_sense(void **state)
{
	static const struct lab_event event = { .id = "never", .entity = "x" };
	static const struct {
		enum worker_change change;
		enum out_target target;
		int64_t offset;
		enum err_code code;
	} rows[] = {
		{ CHANGE_REPLAY, OUT_DLQ, 1, ERR_NOT_FOUND },
		{ CHANGE_REPLAY, OUT_QUARANTINE, 0, ERR_USAGE },
		{ CHANGE_ACCEPT, OUT_DLQ, 0, ERR_USAGE },
		{ CHANGE_ACCEPT, OUT_QUARANTINE, 0, ERR_NOT_FOUND },
		{ CHANGE_DROP, OUT_DLQ, 0, ERR_OK },
		{ CHANGE_DROP, OUT_DLQ, 0, ERR_USAGE },
		{ CHANGE_REPLAY, OUT_DLQ, 0, ERR_USAGE },
	};
	struct lab *lab = lab_open(call_config);
	struct err err = ERR_INIT;

	(void)state;
	(void)lab_send(lab, &event);
	LAB_UNTIL(lab_entries(lab, OUT_DLQ) == 1);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		err_clear(&err);
		assert_int_equal(worker_change(lab->worker, rows[i].change, rows[i].target,
					 rows[i].offset, &err),
			rows[i].code);
	}
	lab_stop(lab, 2000);
	err_clear(&err);
	assert_int_equal(worker_change(lab->worker, CHANGE_DROP, OUT_DLQ, 0, &err), ERR_STOPPED);
	lab_close(lab);
}

static void quarantined_records_are_accepted(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "a", .replay = LAB_REPLAY },
		{ .id = "b", .replay = LAB_REPLAY },
		{ .id = "v1", .entity = "x", .version = "1" },
		{ .id = "time", .entity = "x", .version = "2026-01-01T00:00:00Z" },
		{ .id = "bad", .quarantine = "MALFORMED_BODY" },
		{ .id = "later", .entity = "x", .version = "2026-01-02T00:00:00Z" },
	};
	struct err err = ERR_INIT;
	struct lab *lab = lab_open(none_config);

	(void)state;
	lab_send_all(lab, events, 5);
	LAB_UNTIL(lab_entries(lab, OUT_QUARANTINE) == 3);
	for (int64_t i = 0; i < 3; i++)
		assert_int_equal(
			worker_change(lab->worker, CHANGE_ACCEPT, OUT_QUARANTINE, i, &err), ERR_OK);
	lab_ends(lab, "b", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "time", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "bad", OUTCOME_APPLIED, ERR_OK);
	(void)lab_send(lab, &events[5]);
	lab_ends(lab, "later", OUTCOME_APPLIED, ERR_OK);
	lab_close(lab);
}

/* ---- stopping, starting, reloading ------------------------------------------------- */

static void restart(struct lab *lab)
{
	lab_stop(lab, 2000);
	worker_close(&lab->worker);
	lab_start(lab);
}

static void a_restart_goes_on(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "hold1", .entity = "x", .version = "1" },
		{ .id = "done2", .entity = "x", .version = "2" },
		{ .id = "hold3", .entity = "y", .version = "1" },
	};
	struct store_state stored;
	struct lab *lab = lab_open(call_config);

	(void)state;
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_answer("hold1", HANDLER_RETRY, ERR_HANDLER_FAILED); /* attempt 1 */
	lab_answer("hold1", HANDLER_RETRY, ERR_HANDLER_FAILED); /* attempt 2 */
	LAB_UNTIL(lab_calls_of("hold1") == 3 && lab_called("hold3"));
	/* a stop at once: both calls are cancelled, and wait as running */
	worker_stop(lab->worker, lab_mono_ms());
	assert_int_equal(store_view_state(lab->view, &stored, NULL), ERR_OK);
	assert_true(stored.journal.released);
	lab_answer("hold1", HANDLER_CANCELLED, ERR_STOPPED);
	lab_answer("hold3", HANDLER_CANCELLED, ERR_STOPPED);
	worker_close(&lab->worker);
	lab_start(lab);
	LAB_UNTIL(lab_calls_of("hold1") == 4);
	/* the attempts before the restart count: this is the third and last */
	lab_answer("hold1", HANDLER_RETRY, ERR_HANDLER_FAILED);
	lab_ends(lab, "hold1", OUTCOME_DEAD, ERR_ATTEMPTS_EXHAUSTED);
	lab_ends(lab, "done2", OUTCOME_APPLIED, ERR_OK);
	lab_answer("hold3", HANDLER_DONE, ERR_OK);
	lab_ends(lab, "hold3", OUTCOME_APPLIED, ERR_OK);
	lab_close(lab);
}

static void nothing_is_done_twice(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "a", .entity = "x", .version = "1" },
		{ .id = "b", .entity = "x", .version = "2" },
	};
	const int64_t applied = lab_count(METRIC_EVENTS, "all", "applied");
	struct lab *lab = lab_open(none_config);

	(void)state;
	(void)lab_send(lab, &events[0]);
	lab_passed(lab);
	restart(lab);
	(void)lab_send(lab, &events[1]);
	lab_passed(lab);
	restart(lab);
	lab_ends(lab, "b", OUTCOME_APPLIED, ERR_OK);
	assert_int_equal(lab_count(METRIC_EVENTS, "all", "applied") - applied, 2);
	assert_int_equal(lab_position(lab), 2);
	lab_close(lab);
}

static void a_reload_swaps_the_routes(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "hold1", .entity = "x" },
		{ .id = "fail2", .entity = "y" },
		{ .id = "after", .entity = "z" },
		{ .id = "behind", .entity = "x" },
	};
	struct config_report report = { .count = 0 };
	struct err err = ERR_INIT;
	struct config *config;
	struct lab *lab = lab_open(LAB_CONFIG("{\"name\": \"old\", \"match\": {}, " LAB_HTTP ","
					      "\"retry\": {\"base_ms\": 300, \"cap_ms\": 300},"
					      "\"breaker\": {\"failures\": 1000}}",
		""));

	(void)state;
	lab_send_all(lab, events, 2);
	LAB_UNTIL(lab_called("hold1") && lab_calls_of("fail2") == 1);
	config = lab_config(lab, none_config);
	assert_int_equal(worker_reload(lab->worker, config, &report, &err), ERR_OK);
	config_unref(&lab->config);
	lab->config = config;
	lab_send_all(lab, events + 2, 2);
	lab_ends(lab, "after", OUTCOME_APPLIED, ERR_OK);
	/* what was parked for a route that is gone goes where it would go now */
	lab_ends(lab, "fail2", OUTCOME_APPLIED, ERR_OK);
	/* what is in a call keeps its handler until it is back */
	lab_answer("hold1", HANDLER_DONE, ERR_OK);
	lab_ends(lab, "hold1", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "behind", OUTCOME_APPLIED, ERR_OK);
	config_report_done(&report);
	lab_close(lab);
}

static void stopping_with_calls_under_way_and_reload_afterwards(void **state)
{
	static const struct lab_event event = { .id = "hold", .entity = "x" };
	struct config_report report = { .count = 0 };
	struct err err = ERR_INIT;
	struct lab *lab = lab_open(call_config);

	(void)state;
	(void)lab_send(lab, &event);
	LAB_UNTIL(lab_called("hold"));
	worker_stop(lab->worker, lab_mono_ms() + 100);
	assert_int_equal(lab_outcome(lab, "hold"), OUTCOME_PARKED);
	assert_int_equal(worker_reload(lab->worker, lab->config, &report, &err), ERR_STOPPED);
	lab_answer("hold", HANDLER_CANCELLED, ERR_STOPPED);
	config_report_done(&report);
	lab_close(lab);
}

/* ---- suspects ---------------------------------------------------------------------- */

static void suspects_are_called_alone(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "hold1", .entity = "a" },
		{ .id = "hold2", .entity = "b" },
		{ .id = "hold3", .entity = "c" },
	};
	struct lab *lab = lab_new(call_config);

	(void)state;
	lab_open_queue(lab);
	lab_open_store(lab);
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_die(lab, NULL, 0, 0);
	lab_start(lab);
	lab_answer("hold1", HANDLER_DONE, ERR_OK);
	lab_answer("hold2", HANDLER_DONE, ERR_OK);
	lab_answer("hold3", HANDLER_RETRY, ERR_HANDLER_FAILED);
	lab_answer("hold3", HANDLER_DONE, ERR_OK);
	lab_ends(lab, "hold3", OUTCOME_APPLIED, ERR_OK);
	assert_int_equal(lab_handler.most, 1);
	lab_close(lab);
}

static void the_third_death_ends_it(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "hold0", .entity = "a" }, /* parked as running, tried twice */
		{ .id = "hold1", .entity = "b" }, /* tried three times */
		{ .id = "done2", .entity = "c" },
	};
	struct buf headers = BUF_INIT(EVENT_HEADERS_MAX);
	struct lab *lab = lab_new(call_config);
	struct item items[3];
	struct item_seen seen;
	uint16_t route;

	(void)state;
	lab_open_queue(lab);
	lab_open_store(lab);
	assert_int_equal(store_route(lab->store, "call", &route, NULL), ERR_OK);
	assert_int_equal(route, 1);
	lab_send_all(lab, events, ARRAY_LEN(events));
	items[0] = lab_park_item(lab, &events[0], 0, PARK_RUNNING, &headers);
	items[1] = (struct item){ .type = ITEM_TRY, .attempt = { .offset = 0, .n = 2 } };
	items[2] = (struct item){ .type = ITEM_TRY, .attempt = { .offset = 1, .n = 3 } };
	lab_die(lab, items, ARRAY_LEN(items), 1);
	lab_start(lab);
	LAB_UNTIL(lab_called("hold0"));
	lab_answer("hold0", HANDLER_DONE, ERR_OK);
	lab_ends(lab, "hold0", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "hold1", OUTCOME_DEAD, ERR_CRASH_LOOP);
	lab_ends(lab, "done2", OUTCOME_APPLIED, ERR_OK);
	assert_true(lab_seen(lab, "hold1", &seen));
	assert_int_equal(seen.attempts, 3);
	assert_int_equal(lab_calls_of("hold1"), 0);
	assert_int_equal(lab_handler.most, 1);
	LAB_UNTIL(lab_entries(lab, OUT_DLQ) == 1);
	lab_stop(lab, 2000);
	assert_int_equal(store_tries(lab->store, 0), 0);
	assert_int_equal(store_tries(lab->store, 1), 0);
	buf_done(&headers);
	lab_close(lab);
}

/* An event that was committed ahead of the position is passed over when it is read again. */
static void ended_ahead_of_the_position(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "hold", .entity = "a" },
		{ .id = "done", .entity = "b", .version = "4" },
		{ .id = "done", .entity = "b", .version = "4" },
	};
	struct item seen = { .type = ITEM_SEEN,
		.seen = { .offset = 1, .outcome = OUTCOME_APPLIED, .attempts = 1 } };
	struct lab *lab = lab_new(call_config);

	(void)state;
	lab_open_queue(lab);
	lab_open_store(lab);
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_id16("shop", "done", seen.seen.id16);
	lab_die(lab, &seen, 1, 0);
	lab_start(lab);
	lab_answer("hold", HANDLER_DONE, ERR_OK);
	lab_passed(lab);
	assert_int_equal(lab_calls_of("done"), 0);
	assert_int_equal(lab_outcome(lab, "done"), OUTCOME_APPLIED);
	lab_close(lab);
}

/* ---- limits ------------------------------------------------------------------------ */

static void a_full_park_pauses(void **state)
{
	struct lab *lab =
		lab_open(LAB_CONFIG("{\"name\": \"call\", \"match\": {}, " LAB_HTTP ","
				    "\"retry\": {\"base_ms\": 3600000, \"cap_ms\": 3600000},"
				    "\"breaker\": {\"failures\": 1000, \"ratio\": 1}}",
			"\"worker\": {\"parked_max_events\": 3},"));
	struct err err = ERR_INIT;
	char id[32], entity[32];

	(void)state;
	for (int i = 0; i < 4; i++) {
		const struct lab_event event = { .id = id, .entity = entity };

		(void)snprintf(id, sizeof(id), "fail%d", i);
		(void)snprintf(entity, sizeof(entity), "e%d", i);
		(void)lab_send(lab, &event);
		LAB_UNTIL(lab_outcome(lab, id) == OUTCOME_PARKED || i == 3);
	}
	LAB_UNTIL(worker_ready(lab->worker, &err) == ERR_FULL);
	assert_non_null(strstr(err.text, "parked"));
	assert_int_equal(worker_failed(lab->worker, &err), ERR_OK);
	lab_close(lab);
}

static void a_full_dlq_pauses_its_routes(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "never1", .entity = "a" },
		{ .id = "never2", .entity = "b" },
		{ .id = "done3", .entity = "c" },
		{ .id = "plain", .entity = "d", .type = "plain" },
	};
	struct err err = ERR_INIT;
	struct lab *lab =
		lab_new(LAB_CONFIG("{\"name\": \"plain\", \"match\": {\"type\": \"plain\"},"
				   "\"handler\": {\"type\": \"none\"}}," LAB_CALL_ROUTE,
			""));
	size_t dead;

	(void)state;
	lab->dlq_bytes = 3000; /* room for one record beside what is kept free for headers */
	lab_start(lab);
	lab_send_all(lab, events, 2);
	LAB_UNTIL(worker_ready(lab->worker, &err) == ERR_FULL);
	lab_send_all(lab, events + 2, 2);
	lab_ends(lab, "plain", OUTCOME_APPLIED, ERR_OK);
	dead = lab_entries(lab, OUT_DLQ);
	assert_in_range(dead, 0, 1);
	assert_int_equal(lab_calls_of("done3"), 0);
	lab_close(lab);
}

static void send_unusable(struct lab *lab, const char *code, const char *prefix, int count)
{
	static char body[2001];
	char id[32];

	memset(body, 'b', sizeof(body) - 1);
	for (int i = 0; i < count; i++) {
		const struct lab_event event = { .id = id, .quarantine = code, .body = body };

		(void)snprintf(id, sizeof(id), "%s%d", prefix, i);
		(void)lab_send(lab, &event);
	}
	if (!lab->worker)
		return;
	lab_passed(lab);
	LAB_UNTIL(lab_status(lab, "outputs_waiting") == 0);
}

static size_t count_reason(struct lab *lab, enum err_code reason)
{
	struct buf text = BUF_INIT(MIB(1));
	struct store_entry entry;
	size_t count = 0;

	for (size_t n = 0; lab_entry(lab, OUT_QUARANTINE, n, &entry, &text); n++)
		count += entry.reason == reason;
	buf_done(&text);
	return count;
}

/* Authentic records push the oldest out; refused ones have a quarter, and push nobody out. */
static void a_full_quarantine_drops_its_oldest(void **state)
{
	const int64_t dropped = lab_count(METRIC_QUARANTINE_DROPPED, NULL, NULL);
	struct lab *lab =
		lab_new(LAB_CONFIG(LAB_NONE_ROUTE, "\"quarantine\": {\"max_bytes\": 400000},"));
	int64_t refused_dropped;
	size_t authentic;

	(void)state;
	lab->quarantine_bytes = 400000;
	lab_start(lab);
	send_unusable(lab, "MALFORMED_BODY", "m", 20);
	send_unusable(lab, "BAD_SIGNATURE", "s", 100);
	refused_dropped = lab_count(METRIC_QUARANTINE_DROPPED, NULL, NULL) - dropped;
	assert_in_range(refused_dropped, 40, 99);
	assert_int_equal(count_reason(lab, ERR_BAD_SIGNATURE), 100 - refused_dropped);
	assert_int_equal(count_reason(lab, ERR_MALFORMED_BODY), 20);
	/* every one of them has its entry in the ledger, kept or not */
	lab_ends(lab, "s99", OUTCOME_QUARANTINED, ERR_BAD_SIGNATURE);
	send_unusable(lab, "MALFORMED_BODY", "n", 300);
	lab_ends(lab, "n299", OUTCOME_QUARANTINED, ERR_MALFORMED_BODY);
	assert_true(
		lab_count(METRIC_QUARANTINE_DROPPED, NULL, NULL) - dropped > refused_dropped + 50);
	authentic = count_reason(lab, ERR_MALFORMED_BODY);
	assert_in_range(authentic, 50, 299);
	/* refused ones find no more room than before */
	send_unusable(lab, "BAD_SIGNATURE", "t", 50);
	LAB_UNTIL(count_reason(lab, ERR_MALFORMED_BODY) == authentic);
	lab_close(lab);
}

/* Many refused ones, decided at once, each with room for itself: what finds none in the end is let
 * go, and nothing waits for room that nobody makes. */
static void refused_ones_do_not_wait_for_room(void **state)
{
	const int64_t dropped = lab_count(METRIC_QUARANTINE_DROPPED, NULL, NULL);
	struct lab *lab =
		lab_new(LAB_CONFIG(LAB_NONE_ROUTE, "\"quarantine\": {\"max_bytes\": 400000},"));
	struct stream_stat stat = { .bytes = 0 };
	size_t kept;

	(void)state;
	lab->quarantine_bytes = 400000;
	lab_start(lab);
	while (stat.bytes < 340000) {
		char prefix[24];

		(void)snprintf(prefix, sizeof(prefix), "m%lld-", (long long)stat.bytes);
		send_unusable(lab, "MALFORMED_BODY", prefix, 1);
		queue_stat(lab->queue, STREAM_QUARANTINE, &stat);
	}
	lab_stop(lab, 2000);
	worker_close(&lab->worker);
	send_unusable(lab, "BAD_SIGNATURE", "s", 60);
	lab_start(lab);
	lab_passed(lab);
	LAB_UNTIL(lab_status(lab, "outputs_waiting") == 0);
	kept = count_reason(lab, ERR_BAD_SIGNATURE);
	assert_in_range(kept, 1, 59);
	assert_int_equal(
		lab_count(METRIC_QUARANTINE_DROPPED, NULL, NULL) - dropped, 60 - (int64_t)kept);
	lab_close(lab);
}

static void a_full_ledger_pauses_and_goes_on(void **state)
{
	struct lab *lab = lab_new(none_config);
	struct err err = ERR_INIT;
	struct stream_stat stat;
	char id[32];
	int n = 0;

	(void)state;
	lab->disk = true;
	lab->ledger_bytes = (int64_t)KIB(200);
	lab_start(lab);
	while (worker_ready(lab->worker, &err) == ERR_OK && n < 50000) {
		const struct lab_event event = { .id = id };

		(void)snprintf(id, sizeof(id), "event-%d", n++);
		(void)lab_send(lab, &event);
	}
	assert_int_equal(err.code, ERR_FULL);
	assert_non_null(strstr(err.text, "ledger"));
	assert_int_equal(worker_failed(lab->worker, &err), ERR_OK);
	/* a larger ledger takes what waits */
	lab_stop(lab, 2000);
	queue_stat(lab->queue, STREAM_EVENTS, &stat);
	assert_int_equal(stat.end, n);
	worker_close(&lab->worker);
	store_view_close(&lab->view);
	store_close(&lab->store);
	lab->ledger_bytes = 0;
	lab_start(lab);
	lab_passed(lab);
	lab_ends(lab, id, OUTCOME_APPLIED, ERR_OK);
	err_clear(&err);
	assert_int_equal(worker_ready(lab->worker, &err), ERR_OK);
	lab_close(lab);
}

/* The disk takes no byte for a while: what ended is kept, nothing is taken, and it goes on by
 * itself. */
static void a_commit_that_fails_is_made_later(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "hold1", .entity = "x", .version = "1" },
		{ .id = "done2", .entity = "x", .version = "2" },
	};
	struct rlimit limit;
	struct err err = ERR_INIT;
	struct lab *lab = lab_new(call_config);

	(void)state;
	lab->disk = true;
	lab_start(lab);
	lab_send_all(lab, events, ARRAY_LEN(events));
	LAB_UNTIL(lab_called("hold1"));
	lab_disk_full(&limit);
	lab_answer("hold1", HANDLER_DONE, ERR_OK);
	LAB_UNTIL(worker_ready(lab->worker, &err) == ERR_FULL);
	assert_int_equal(lab_outcome(lab, "hold1"), OUTCOME_NONE);
	assert_int_equal(worker_failed(lab->worker, &err), ERR_OK);
	lab_disk_has_room(&limit);
	lab_ends(lab, "hold1", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "done2", OUTCOME_APPLIED, ERR_OK);
	err_clear(&err);
	LAB_UNTIL(worker_ready(lab->worker, NULL) == ERR_OK);
	lab_close(lab);
}

static struct lock held; /* the owner waits for it in its first call */
static void wait_for_it(const struct handler_call *call)
{
	(void)call;
	lock_take(&held);
	lock_give(&held);
}

/* Right after the start, while the owner's first turn is not over yet. */
static void the_gauges_are_right_from_the_start(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "done0", .entity = "a" }, /* parked */
		{ .id = "done1", .entity = "b" },
		{ .id = "done2", .entity = "c" },
	};
	struct buf headers = BUF_INIT(EVENT_HEADERS_MAX);
	struct lab *lab = lab_new(call_config);
	struct item item;
	uint16_t route;

	(void)state;
	lab_open_queue(lab);
	lab_open_store(lab);
	assert_int_equal(store_route(lab->store, "call", &route, NULL), ERR_OK);
	lab_send_all(lab, events, ARRAY_LEN(events));
	item = lab_park_item(lab, &events[0], 0, PARK_RUNNING, &headers);
	lab_die(lab, &item, 1, 1);
	metric_set(metric_series(METRIC_QUEUE_LAG, NULL, NULL), -1);
	metric_set(metric_series(METRIC_PARKED_EVENTS, NULL, NULL), -1);
	lock_init(&held);
	lock_take(&held);
	lab_handler.on_call = wait_for_it;
	lab_start(lab);
	assert_int_equal(lab_count(METRIC_QUEUE_LAG, NULL, NULL), 2);
	assert_int_equal(lab_count(METRIC_PARKED_EVENTS, NULL, NULL), 1);
	assert_int_equal(lab_status(lab, "lag"), 2);
	assert_int_equal(lab_status(lab, "events"), 1);
	lock_give(&held);
	lab_ends(lab, "done2", OUTCOME_APPLIED, ERR_OK);
	LAB_UNTIL(lab_count(METRIC_QUEUE_LAG, NULL, NULL) == 0);
	lab_handler.on_call = NULL;
	buf_done(&headers);
	lab_close(lab);
	lock_done(&held);
}

static void the_status_is_json(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "hold1", .entity = "x" },
		{ .id = "hold2", .entity = "y" },
	};
	static const char *const members[] = { "/queue/lag", "/queue/oldest_s",
		"/routes/call/parked", "/routes/call/breaker", "/routes//parked", "/ledger/entries",
		"/ledger/bytes", "/parked/events", "/outputs_waiting", "/paused" };
	struct buf out = BUF_INIT(MIB(1));
	struct json_value value;
	struct lab *lab = lab_open(call_config);

	(void)state;
	lab_send_all(lab, events, ARRAY_LEN(events));
	LAB_UNTIL(lab_status(lab, "calls") == 2);
	assert_int_equal(buf_put_str(&out, "{", NULL), ERR_OK);
	assert_int_equal(worker_status(lab->worker, &out, NULL), ERR_OK);
	assert_int_equal(buf_put_str(&out, "}", NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		assert_int_equal(json_get(buf_slice(&out), members[i], &value, NULL), ERR_OK);
		assert_int_not_equal(value.type, JSON_ABSENT);
	}
	assert_int_equal(json_get(buf_slice(&out), "/routes/call/breaker", &value, NULL), ERR_OK);
	assert_true(slice_eq_str(value.raw, "closed"));
	assert_true(worker_last_turn_ms(lab->worker) > 0);
	lab_answer("hold1", HANDLER_DONE, ERR_OK);
	lab_answer("hold2", HANDLER_DONE, ERR_OK);
	LAB_UNTIL(lab_status(lab, "lag") == 0);
	buf_done(&out);
	lab_close(lab);
}

/* Outputs that were decided and not published when the worker died are published once. */
static void outputs_left_over(void **state)
{
	static const struct lab_event event = { .id = "a", .entity = "x", .body = "left over" };
	struct buf headers = BUF_INIT(EVENT_HEADERS_MAX);
	struct lab *lab = lab_new(call_config);
	struct item out = { .type = ITEM_OUT };
	struct record published = { .owner = NULL };
	char digest[65];
	struct event decoded;
	struct stream_stat stat;

	(void)state;
	lab_open_queue(lab);
	lab_open_store(lab);
	decoded = lab_decode(lab, &event, digest);
	assert_int_equal(event_encode(&decoded, &headers, NULL), ERR_OK);
	/* two were decided; one stands in the stream already, its OUTOK was lost */
	out.out = (struct item_out){ .target = OUT_DLQ,
		.reason = ERR_HANDLER_REFUSED,
		.key = SLICE_LIT("k"),
		.headers = buf_slice(&headers),
		.body = SLICE_LIT("one") };
	lab_die(lab, &out, 1, 0);
	lab_outputs_raw(lab, &out.out, &published);
	lab_start(lab);
	LAB_UNTIL(lab_entries(lab, OUT_DLQ) == 1);
	queue_stat(lab->queue, STREAM_DLQ, &stat);
	assert_int_equal(stat.end, 1);
	lab_stop(lab, 2000);
	worker_close(&lab->worker);
	lab_start(lab);
	queue_stat(lab->queue, STREAM_DLQ, &stat);
	assert_int_equal(stat.end, 1);
	buf_done(&headers);
	lab_close(lab);
}

static void turned_clocks(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "third", .entity = "x" },
		{ .id = "done", .entity = "y" },
	};
	struct lab *lab = lab_open(call_config);

	(void)state;
	lab_wall_step_ms = 3600000;
	(void)lab_send(lab, &events[0]);
	lab_wall_step_ms = -3600000;
	lab_ends(lab, "third", OUTCOME_APPLIED, ERR_OK);
	(void)lab_send(lab, &events[1]);
	lab_ends(lab, "done", OUTCOME_APPLIED, ERR_OK);
	lab_close(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dead_letters_are_replayed),
		cmocka_unit_test(a_replay_is_worked_like_any),
		cmocka_unit_test(changes_that_make_no_sense),
		cmocka_unit_test(quarantined_records_are_accepted),
		cmocka_unit_test(a_restart_goes_on),
		cmocka_unit_test(nothing_is_done_twice),
		cmocka_unit_test(a_reload_swaps_the_routes),
		cmocka_unit_test(stopping_with_calls_under_way_and_reload_afterwards),
		cmocka_unit_test(suspects_are_called_alone),
		cmocka_unit_test(the_third_death_ends_it),
		cmocka_unit_test(ended_ahead_of_the_position),
		cmocka_unit_test(a_full_park_pauses),
		cmocka_unit_test(a_full_dlq_pauses_its_routes),
		cmocka_unit_test(a_full_quarantine_drops_its_oldest),
		cmocka_unit_test(refused_ones_do_not_wait_for_room),
		cmocka_unit_test(a_full_ledger_pauses_and_goes_on),
		cmocka_unit_test(a_commit_that_fails_is_made_later),
		cmocka_unit_test(the_gauges_are_right_from_the_start),
		cmocka_unit_test(the_status_is_json),
		cmocka_unit_test(outputs_left_over),
		cmocka_unit_test(turned_clocks),
	};

	return lab_run(tests);
}
