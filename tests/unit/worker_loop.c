/* The owner thread over queue and store in memory: what becomes of events, with a scripted handler.
 */
#define LAB_FAKE_HANDLER
#include "support/worker_lab.h"

static const char none_config[] = LAB_CONFIG(LAB_NONE_ROUTE, "");
static const char call_config[] = LAB_CONFIG(LAB_CALL_ROUTE, "");

/* ---- identity ---------------------------------------------------------------------- */

static void events_are_applied_once(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "a", .entity = "x", .version = "1" },
		{ .id = "a", .entity = "x", .version = "1" },
		{ .id = "b", .entity = "x", .version = "2" },
		{ .id = "c" },
		{ .id = "c" },
		{ .id = "b", .entity = "x", .version = "2" },
	};
	const int64_t applied = lab_count(METRIC_EVENTS, "all", "applied");
	const int64_t copies = lab_count(METRIC_EVENTS, "all", "duplicate");
	struct lab *lab = lab_open(none_config);

	(void)state;
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_passed(lab);
	lab_ends(lab, "a", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "b", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "c", OUTCOME_APPLIED, ERR_OK);
	lab_state(lab, "x", "2", "b");
	/* counted after the commit that the lines above see */
	LAB_UNTIL(lab_count(METRIC_EVENTS, "all", "applied") - applied == 3);
	LAB_UNTIL(lab_count(METRIC_EVENTS, "all", "duplicate") - copies == 3);
	LAB_UNTIL(lab_status(lab, "lag") == 0);
	lab_close(lab);
}

static void no_route_is_state_alone(void **state)
{
	static const struct lab_event event = {
		.id = "a", .entity = "x", .version = "1", .type = "odd"
	};
	const int64_t applied = lab_count(METRIC_EVENTS, "", "applied");
	struct lab *lab = lab_open(LAB_CONFIG("{\"name\": \"r\", \"match\": {\"type\": \"t*\"},"
					      "\"handler\": {\"type\": \"none\"}}",
		""));

	(void)state;
	(void)lab_send(lab, &event);
	lab_ends(lab, "a", OUTCOME_APPLIED, ERR_OK);
	lab_state(lab, "x", "1", "a");
	LAB_UNTIL(lab_count(METRIC_EVENTS, "", "applied") - applied == 1);
	lab_close(lab);
}

static void reused_ids(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "a", .body = "1" },
		{ .id = "a", .body = "2" },
		{ .id = "a", .source = "strict", .body = "1" },
		{ .id = "a", .source = "strict", .body = "1" },
		{ .id = "a", .source = "strict", .body = "2" },
	};
	const int64_t shop = lab_count(METRIC_ID_REUSED, "shop", NULL);
	const int64_t strict = lab_count(METRIC_ID_REUSED, "strict", NULL);
	struct buf text = BUF_INIT(MIB(1));
	struct store_entry entry;
	struct lab *lab = lab_open(none_config);
	uint8_t id16[ID16_LEN];
	struct item_seen seen;

	(void)state;
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_passed(lab);
	assert_int_equal(lab_count(METRIC_ID_REUSED, "shop", NULL) - shop, 1);
	assert_int_equal(lab_count(METRIC_ID_REUSED, "strict", NULL) - strict, 1);
	LAB_UNTIL(lab_entries(lab, OUT_QUARANTINE) == 1);
	assert_true(lab_entry(lab, OUT_QUARANTINE, 0, &entry, &text));
	assert_int_equal(entry.reason, ERR_ID_REUSED);
	/* the original keeps its entry */
	lab_id16("strict", "a", id16);
	assert_int_equal(store_view_seen(lab->view, id16, &seen, NULL), ERR_OK);
	assert_int_equal(seen.outcome, OUTCOME_APPLIED);
	assert_int_equal(seen.offset, 2);
	buf_done(&text);
	lab_close(lab);
}

static void replays_are_quarantined(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "a", .replay = LAB_REPLAY },
		{ .id = "b", .replay = LAB_REPLAY },
		{ .id = "a", .replay = LAB_REPLAY },
		{ .id = "x", .source = "loose", .replay = LAB_REPLAY },
		{ .id = "y", .source = "loose", .replay = LAB_REPLAY },
	};
	struct lab *lab = lab_open(none_config);
	uint8_t id16[ID16_LEN];
	struct item_seen seen;

	(void)state;
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_passed(lab);
	lab_ends(lab, "a", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "b", OUTCOME_QUARANTINED, ERR_REPLAY_DETECTED);
	lab_id16("loose", "y", id16);
	assert_int_equal(store_view_seen(lab->view, id16, &seen, NULL), ERR_OK);
	assert_int_equal(seen.outcome, OUTCOME_APPLIED);
	LAB_UNTIL(lab_entries(lab, OUT_QUARANTINE) == 1);
	lab_close(lab);
}

/* A copy that comes while the original is still in work is a copy too. */
static void copies_of_what_is_in_work(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "hold", .entity = "x", .replay = LAB_REPLAY },
		{ .id = "hold", .entity = "y", .replay = LAB_REPLAY },
		{ .id = "other", .entity = "z", .replay = LAB_REPLAY },
	};
	struct lab *lab = lab_open(call_config);

	(void)state;
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_ends(lab, "other", OUTCOME_QUARANTINED, ERR_REPLAY_DETECTED);
	lab_answer("hold", HANDLER_DONE, ERR_OK);
	lab_ends(lab, "hold", OUTCOME_APPLIED, ERR_OK);
	lab_passed(lab);
	assert_int_equal(lab_calls_of("hold"), 1);
	lab_close(lab);
}

static void unusable_records(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "a", .quarantine = "MALFORMED_BODY" },
		{ .id = "b", .entity = "x" },
	};
	struct record broken = { .headers = SLICE_LIT("what is this"), .body = SLICE_LIT("?") };
	struct buf text = BUF_INIT(MIB(1));
	struct store_entry entry;
	struct lab *lab = lab_open(none_config);

	(void)state;
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_append(lab, &broken);
	lab_passed(lab);
	lab_ends(lab, "a", OUTCOME_QUARANTINED, ERR_MALFORMED_BODY);
	LAB_UNTIL(lab_entries(lab, OUT_QUARANTINE) == 2);
	assert_true(lab_entry(lab, OUT_QUARANTINE, 1, &entry, &text));
	assert_int_equal(entry.reason, ERR_UNREADABLE_RECORD);
	buf_done(&text);
	lab_close(lab);
}

/* ---- versions ---------------------------------------------------------------------- */

static void versions_order_an_entity(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "v2", .entity = "x", .version = "2" },
		{ .id = "v1", .entity = "x", .version = "1" },
		{ .id = "v2b", .entity = "x", .version = "2" },
		{ .id = "time", .entity = "x", .version = "2026-01-01T00:00:00Z" },
		{ .id = "plain", .entity = "x" },
		{ .id = "v3", .entity = "x", .version = "3" },
	};
	struct lab *lab = lab_open(none_config);

	(void)state;
	lab_send_all(lab, events, 5);
	lab_ends(lab, "v1", OUTCOME_STALE, ERR_STALE_VERSION);
	lab_ends(lab, "v2b", OUTCOME_STALE, ERR_STALE_VERSION);
	lab_ends(lab, "time", OUTCOME_QUARANTINED, ERR_VERSION_TYPE);
	lab_ends(lab, "plain", OUTCOME_APPLIED, ERR_OK);
	lab_state(lab, "x", "2", "plain");
	(void)lab_send(lab, &events[5]);
	lab_ends(lab, "v3", OUTCOME_APPLIED, ERR_OK);
	lab_state(lab, "x", "3", "v3");
	lab_close(lab);
}

#define NEXT_ROUTE(timeout)                                                                        \
	"{\"name\": \"next\", \"match\": {}, \"version_rule\": \"next\","                          \
	"\"gap_timeout_s\": " timeout ", \"handler\": {\"type\": \"none\"}}"

static void gaps_are_filled(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "v5", .entity = "x", .version = "5" },
		{ .id = "v9", .entity = "x", .version = "9" },
		{ .id = "v8", .entity = "x", .version = "8" },
		{ .id = "v7", .entity = "x", .version = "7" },
		{ .id = "other", .entity = "y", .version = "1" },
		{ .id = "v6", .entity = "x", .version = "6" },
	};
	struct lab *lab = lab_open(LAB_CONFIG(NEXT_ROUTE("60"), ""));

	(void)state;
	lab_send_all(lab, events, 5);
	lab_passed(lab);
	lab_ends(lab, "v9", OUTCOME_PARKED, ERR_VERSION_GAP);
	lab_ends(lab, "other", OUTCOME_APPLIED, ERR_OK);
	LAB_UNTIL(lab_status(lab, "events") == 3);
	(void)lab_send(lab, &events[5]);
	lab_ends(lab, "v9", OUTCOME_APPLIED, ERR_OK);
	lab_state(lab, "x", "9", "v9");
	LAB_UNTIL(lab_status(lab, "events") == 0);
	lab_close(lab);
}

static void gaps_time_out(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "v5", .entity = "x", .version = "5" },
		{ .id = "v7", .entity = "x", .version = "7", .body = "seven" },
		{ .id = "v6", .entity = "x", .version = "6" },
	};
	const int64_t dead = lab_count(METRIC_DEAD_LETTERS, "next", "VERSION_GAP");
	struct buf text = BUF_INIT(MIB(1));
	struct store_entry entry;
	struct record record;
	struct event event;
	struct lab *lab = lab_open(LAB_CONFIG(NEXT_ROUTE("1"), ""));

	(void)state;
	lab_send_all(lab, events, 2);
	lab_ends(lab, "v7", OUTCOME_DEAD, ERR_VERSION_GAP);
	LAB_UNTIL(lab_entries(lab, OUT_DLQ) == 1);
	assert_true(lab_entry(lab, OUT_DLQ, 0, &entry, &text));
	assert_int_equal(entry.reason, ERR_VERSION_GAP);
	assert_int_equal(entry.offset, 1);
	assert_int_equal(
		queue_lookup(lab->queue, STREAM_DLQ, entry.stream_offset, &text, &record, NULL),
		ERR_OK);
	assert_true(slice_eq_str(record.body, "seven"));
	assert_int_equal(event_decode(record.headers, &event, NULL), ERR_OK);
	assert_true(slice_eq_str(event.dlq_reason, "VERSION_GAP"));
	assert_true(slice_eq_str(event.dlq_offset, "1"));
	assert_int_equal(lab_count(METRIC_DEAD_LETTERS, "next", "VERSION_GAP") - dead, 1);
	(void)lab_send(lab, &events[2]);
	lab_ends(lab, "v6", OUTCOME_APPLIED, ERR_OK);
	buf_done(&text);
	lab_close(lab);
}

static void base_must_match(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "a", .entity = "x", .version = "5" },
		{ .id = "b", .entity = "x", .version = "9", .base = "5" },
		{ .id = "c", .entity = "x", .version = "10", .base = "5" },
	};
	struct lab *lab =
		lab_open(LAB_CONFIG("{\"name\": \"m\", \"match\": {}, \"version_rule\": \"match\","
				    "\"handler\": {\"type\": \"none\"}}",
			""));

	(void)state;
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_passed(lab);
	lab_ends(lab, "b", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "c", OUTCOME_STALE, ERR_STALE_VERSION);
	lab_state(lab, "x", "9", "b");
	lab_close(lab);
}

/* ---- calls, order, retries --------------------------------------------------------- */

static void one_subject_is_called_in_order(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "hold1", .entity = "x", .version = "1" },
		{ .id = "done2", .entity = "x", .version = "2" },
		{ .id = "done3", .entity = "x", .version = "3" },
		{ .id = "done-y", .entity = "y", .version = "1" },
	};
	char order[256];
	struct lab *lab = lab_open(call_config);

	(void)state;
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_ends(lab, "done-y", OUTCOME_APPLIED, ERR_OK);
	assert_int_equal(lab_calls_of("done2"), 0);
	/* what ended is committed, though an older event has not: the position stays */
	assert_int_equal(lab_position(lab), 0);
	lab_answer("hold1", HANDLER_DONE, ERR_OK);
	lab_ends(lab, "done3", OUTCOME_APPLIED, ERR_OK);
	lab_passed(lab);
	lab_order(order, sizeof(order));
	assert_string_equal(order, "hold1 done-y done2 done3");
	lab_state(lab, "x", "3", "done3");
	lab_close(lab);
}

static void failures_are_tried_again(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "third", .entity = "x", .version = "1" },
		{ .id = "done-behind", .entity = "x", .version = "2" },
		{ .id = "done-other", .entity = "y" },
	};
	const int64_t retries = lab_count(METRIC_RETRIES, "call", "HANDLER_UNREACHABLE");
	struct item_seen seen;
	char order[256];
	struct lab *lab = lab_open(call_config);

	(void)state;
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_ends(lab, "third", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "done-behind", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "done-other", OUTCOME_APPLIED, ERR_OK);
	assert_true(lab_seen(lab, "third", &seen));
	assert_int_equal(seen.attempts, 3);
	assert_int_equal(lab_calls_of("third"), 3);
	assert_int_equal(lab_count(METRIC_RETRIES, "call", "HANDLER_UNREACHABLE") - retries, 2);
	lab_order(order, sizeof(order));
	/* done-other may be called anywhere in between */
	assert_non_null(strstr(order, "done-behind"));
	assert_null(strstr(strstr(order, "done-behind"), "third"));
	LAB_UNTIL(lab_status(lab, "events") == 0);
	lab_close(lab);
}

static void attempts_end(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "fail", .entity = "x", .body = "the body" },
		{ .id = "never", .entity = "y" },
		{ .id = "done", .entity = "x" },
	};
	struct buf text = BUF_INIT(MIB(1));
	struct store_entry entry;
	struct record record;
	struct event event;
	struct lab *lab = lab_open(call_config);

	(void)state;
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_ends(lab, "fail", OUTCOME_DEAD, ERR_ATTEMPTS_EXHAUSTED);
	lab_ends(lab, "never", OUTCOME_DEAD, ERR_HANDLER_REFUSED);
	lab_ends(lab, "done", OUTCOME_APPLIED, ERR_OK);
	assert_int_equal(lab_calls_of("fail"), 3);
	assert_int_equal(lab_calls_of("never"), 1);
	LAB_UNTIL(lab_entries(lab, OUT_DLQ) == 2);
	assert_true(lab_entry(lab, OUT_DLQ, 0, &entry, &text));
	if (!slice_eq_str(entry.event_id, "fail"))
		assert_true(lab_entry(lab, OUT_DLQ, 1, &entry, &text));
	assert_int_equal(entry.reason, ERR_ATTEMPTS_EXHAUSTED);
	assert_true(slice_eq_str(entry.route, "call"));
	assert_true(slice_eq_str(entry.event_id, "fail"));
	assert_int_equal(
		queue_lookup(lab->queue, STREAM_DLQ, entry.stream_offset, &text, &record, NULL),
		ERR_OK);
	assert_true(slice_eq_str(record.body, "the body"));
	assert_true(slice_eq_str(record.key, "acme/x"));
	assert_int_equal(event_decode(record.headers, &event, NULL), ERR_OK);
	assert_true(slice_eq_str(event.dlq_attempts, "3"));
	assert_true(slice_eq_str(event.dlq_error, "as the script says"));
	assert_true(event.dlq_first_failed.len > 0);
	buf_done(&text);
	lab_close(lab);
}

static void old_events_are_given_up(void **state)
{
	static const struct lab_event event = { .id = "fail", .entity = "x" };
	struct lab *lab = lab_open(LAB_CONFIG("{\"name\": \"call\", \"match\": {}, " LAB_HTTP ","
					      "\"retry\": {\"attempts\": 1000, \"base_ms\": 50,"
					      "\"cap_ms\": 50, \"max_age_s\": 1},"
					      "\"breaker\": {\"failures\": 1000, \"ratio\": 1}}",
		""));

	(void)state;
	(void)lab_send(lab, &event);
	lab_ends(lab, "fail", OUTCOME_DEAD, ERR_AGE_EXHAUSTED);
	assert_true(lab_calls_of("fail") > 3);
	lab_close(lab);
}

static void retry_after_is_respected(void **state)
{
	static const struct lab_event event = { .id = "third", .entity = "x" };
	struct lab *lab = lab_open(call_config);
	const int64_t start_ms = lab_mono_ms();

	(void)state;
	lock_take(&lab_handler.lock);
	lab_handler.retry_after_ms = 300;
	lock_give(&lab_handler.lock);
	(void)lab_send(lab, &event);
	lab_ends(lab, "third", OUTCOME_APPLIED, ERR_OK);
	assert_true(lab_mono_ms() - start_ms >= 600);
	lab_close(lab);
}

static void slow_calls_are_parked_as_running(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "hold", .entity = "x", .version = "1" },
		{ .id = "done-behind", .entity = "x", .version = "2" },
		{ .id = "done-other", .entity = "y" },
	};
	struct buf bytes = BUF_INIT(MIB(1));
	struct item_park parked;
	struct lab *lab = lab_open(call_config);

	(void)state;
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_passed(lab); /* after the soft timeout */
	lab_ends(lab, "hold", OUTCOME_PARKED, ERR_OK);
	lab_ends(lab, "done-behind", OUTCOME_PARKED, ERR_OK);
	assert_int_equal(store_view_parked_at(lab->view, 0, &bytes, &parked, NULL), ERR_OK);
	assert_int_equal(parked.reason, PARK_RUNNING);
	assert_int_equal(store_view_parked_at(lab->view, 1, &bytes, &parked, NULL), ERR_OK);
	assert_int_equal(parked.reason, PARK_ORDER);
	assert_int_equal(lab_calls_of("hold"), 1);
	assert_int_equal(lab_calls_of("done-behind"), 0);
	lab_answer("hold", HANDLER_DONE, ERR_OK);
	lab_ends(lab, "hold", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "done-behind", OUTCOME_APPLIED, ERR_OK);
	assert_int_equal(lab_calls_of("hold"), 1);
	lab_state(lab, "x", "2", "done-behind");
	buf_done(&bytes);
	lab_close(lab);
}

static void places_are_bounded(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "hold1", .entity = "a" },
		{ .id = "hold2", .entity = "b" },
		{ .id = "hold3", .entity = "c" },
		{ .id = "done4", .entity = "d" },
		{ .id = "none5", .entity = "e", .type = "plain" },
	};
	struct buf bytes = BUF_INIT(MIB(1));
	struct item_park parked;
	struct lab *lab = lab_open(
		LAB_CONFIG("{\"name\": \"plain\", \"match\": {\"type\": \"plain\"},"
			   "\"handler\": {\"type\": \"none\"}},"
			   "{\"name\": \"two\", \"match\": {}, \"concurrency\": 2, " LAB_HTTP
			   ", " LAB_RETRY "}",
			""));

	(void)state;
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_ends(lab, "none5", OUTCOME_APPLIED, ERR_OK);
	lab_passed(lab);
	assert_int_equal(store_view_parked_at(lab->view, 2, &bytes, &parked, NULL), ERR_OK);
	assert_int_equal(parked.reason, PARK_BUSY);
	assert_int_equal(parked.attempts, 0);
	assert_int_equal(lab_handler.most, 2);
	lab_answer("hold2", HANDLER_DONE, ERR_OK);
	lab_answer("hold3", HANDLER_DONE, ERR_OK);
	lab_ends(lab, "done4", OUTCOME_APPLIED, ERR_OK);
	lab_answer("hold1", HANDLER_DONE, ERR_OK);
	lab_ends(lab, "hold1", OUTCOME_APPLIED, ERR_OK);
	assert_int_equal(lab_handler.most, 2);
	buf_done(&bytes);
	lab_close(lab);
}

/* Is the n-th number behind "slow-" of each entity called in rising order? */
static bool rising(size_t entities)
{
	int last[64] = { 0 };
	bool fine = entities <= ARRAY_LEN(last);

	for (size_t i = 0; fine && i < lab_handler.count; i++) {
		int n = -1;

		if (sscanf(lab_handler.calls[i].id, "slow-%d", &n) != 1)
			continue;
		fine = n >= last[(size_t)n % entities];
		last[(size_t)n % entities] = n;
	}
	return fine;
}

/* More than a route can do: the rest waits in the store, in order, and others pass. */
static void a_saturated_route_drains(void **state)
{
	enum { COUNT = 1500, ENTITIES = 50 };
	struct lab *lab = lab_open(
		LAB_CONFIG("{\"name\": \"plain\", \"match\": {\"type\": \"plain\"},"
			   "\"handler\": {\"type\": \"none\"}},"
			   "{\"name\": \"slow\", \"match\": {}, \"concurrency\": 3, " LAB_HTTP "}",
			""));
	char id[32], entity[32];

	(void)state;
	for (int i = 0; i < COUNT; i++) {
		const struct lab_event event = { .id = id, .entity = entity };

		(void)snprintf(id, sizeof(id), "slow-%d", i);
		(void)snprintf(entity, sizeof(entity), "e%d", i % ENTITIES);
		(void)lab_send(lab, &event);
	}
	(void)lab_send(lab, &(struct lab_event){ .id = "plain", .type = "plain" });
	lab_slow_start(20000);
	/* it does not wait for the end of all that */
	lab_ends(lab, "plain", OUTCOME_APPLIED, ERR_OK);
	assert_int_not_equal(lab_outcome(lab, id), OUTCOME_APPLIED);
	LAB_UNTIL(lab_status(lab, "events") > 0);
	lab_slow_stop();
	lab_slow_start(100);
	LAB_UNTIL(lab_status(lab, "events") == 0 && lab_status(lab, "lag") == 0);
	lab_ends(lab, id, OUTCOME_APPLIED, ERR_OK);
	lab_slow_stop();
	assert_int_equal(lab_handler.count, COUNT);
	assert_in_range(lab_handler.most, 1, 3);
	assert_true(rising(ENTITIES));
	lab_close(lab);
}

static void an_open_breaker_uses_no_attempts(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "hold1", .entity = "a" },
		{ .id = "hold2", .entity = "b" },
		{ .id = "done3", .entity = "c" },
	};
	struct buf bytes = BUF_INIT(MIB(1));
	struct item_park parked;
	struct item_seen seen;
	struct lab *lab =
		lab_open(LAB_CONFIG("{\"name\": \"call\", \"match\": {}, " LAB_HTTP ", \"retry\": {"
				    "\"attempts\": 3, \"base_ms\": 1, \"cap_ms\": 1},"
				    "\"breaker\": {\"failures\": 2, \"ratio\": 1, \"open_s\": 1}}",
			""));

	(void)state;
	lab_send_all(lab, events, 2);
	lab_answer("hold1", HANDLER_RETRY, ERR_HANDLER_FAILED);
	lab_answer("hold2", HANDLER_RETRY, ERR_HANDLER_FAILED);
	LAB_UNTIL(lab_count(METRIC_BREAKER_OPEN, "call", NULL) == 1);
	(void)lab_send(lab, &events[2]);
	LAB_UNTIL(lab_outcome(lab, "done3") == OUTCOME_PARKED);
	assert_int_equal(store_view_parked_at(lab->view, 2, &bytes, &parked, NULL), ERR_OK);
	assert_int_equal(parked.reason, PARK_BREAKER);
	assert_int_equal(parked.attempts, 0);
	lab_ends(lab, "done3", OUTCOME_APPLIED, ERR_OK);
	lab_answer("hold1", HANDLER_DONE, ERR_OK);
	lab_answer("hold2", HANDLER_DONE, ERR_OK);
	lab_ends(lab, "hold2", OUTCOME_APPLIED, ERR_OK);
	assert_true(lab_seen(lab, "hold2", &seen));
	assert_int_equal(seen.attempts, 2);
	LAB_UNTIL(lab_count(METRIC_BREAKER_OPEN, "call", NULL) == 0);
	buf_done(&bytes);
	lab_close(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_are_applied_once),
		cmocka_unit_test(no_route_is_state_alone),
		cmocka_unit_test(reused_ids),
		cmocka_unit_test(replays_are_quarantined),
		cmocka_unit_test(copies_of_what_is_in_work),
		cmocka_unit_test(unusable_records),
		cmocka_unit_test(versions_order_an_entity),
		cmocka_unit_test(gaps_are_filled),
		cmocka_unit_test(gaps_time_out),
		cmocka_unit_test(base_must_match),
		cmocka_unit_test(one_subject_is_called_in_order),
		cmocka_unit_test(failures_are_tried_again),
		cmocka_unit_test(attempts_end),
		cmocka_unit_test(old_events_are_given_up),
		cmocka_unit_test(retry_after_is_respected),
		cmocka_unit_test(slow_calls_are_parked_as_running),
		cmocka_unit_test(places_are_bounded),
		cmocka_unit_test(a_saturated_route_drains),
		cmocka_unit_test(an_open_breaker_uses_no_attempts),
	};

	return lab_run(tests);
}
