/* worker_accept.c - a request that was refused when it came is worked under the identity that its
 * admission knows: once, whoever comes first, the operator or the sender. */
#define LAB_FAKE_HANDLER
#include "support/worker_lab.h"

static const char none_config[] = LAB_CONFIG(LAB_NONE_ROUTE, "");
static const char call_config[] = LAB_CONFIG(LAB_CALL_ROUTE, "");

/* The n-th record of the quarantine, as this event. */
static enum err_code accept(struct lab *lab, int64_t n, const struct lab_event *as, struct err *err)
{
	char digest[65];
	struct event event = lab_decode(lab, as, digest);
	struct buf headers = BUF_INIT(EVENT_HEADERS_MAX), key = BUF_INIT(EVENT_KEY_MAX);
	enum err_code rc;

	assert_int_equal(event_encode(&event, &headers, NULL), ERR_OK);
	assert_int_equal(event_key(&event, false, &key, NULL), ERR_OK);
	*err = ERR_INIT;
	rc = worker_accept(lab->worker, n, buf_slice(&headers), buf_slice(&key), err);
	buf_done(&headers);
	buf_done(&key);
	return rc;
}

static void refused(struct lab *lab, const char *attempt)
{
	const size_t before = lab_entries(lab, OUT_QUARANTINE);
	const struct lab_event event = { .id = attempt, .quarantine = "BAD_SIGNATURE" };

	(void)lab_send(lab, &event);
	LAB_UNTIL(lab_entries(lab, OUT_QUARANTINE) == before + 1);
}

static void it_is_worked_under_its_identity_once(void **state)
{
	static const struct lab_event paid = { .id = "paid", .entity = "x", .version = "1" };
	static const struct lab_event other = { .id = "paid", .entity = "x", .body = "other" };
	static const struct lab_event next = { .id = "next", .entity = "x", .version = "2" };
	const int64_t copies = lab_count(METRIC_EVENTS, "all", "duplicate");
	struct lab *lab = lab_open(none_config);
	struct err err;

	(void)state;
	refused(lab, "attempt-1");
	refused(lab, "attempt-2"); /* the sender has tried twice */
	/* not under a name that says nothing */
	assert_int_equal(
		worker_change(lab->worker, CHANGE_ACCEPT, OUT_QUARANTINE, 0, &err), ERR_USAGE);
	assert_int_equal(accept(lab, 0, &paid, &err), ERR_OK);
	lab_ends(lab, "paid", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "attempt-1", OUTCOME_QUARANTINED, ERR_BAD_SIGNATURE);
	lab_state(lab, "x", "1", "paid");
	assert_int_equal(accept(lab, 0, &paid, &err), ERR_USAGE);
	assert_non_null(strstr(err.text, "replayed"));
	/* with other bytes it is no copy; a copy is let go, and nobody has to look at it again */
	assert_int_equal(accept(lab, 1, &other, &err), ERR_USAGE);
	assert_non_null(strstr(err.text, "applied"));
	assert_int_equal(accept(lab, 1, &paid, &err), ERR_OK);
	assert_int_equal(accept(lab, 1, &paid, &err), ERR_USAGE);
	assert_non_null(strstr(err.text, "dropped"));
	/* the sender's own repetition is a copy */
	(void)lab_send(lab, &next);
	(void)lab_send(lab, &paid);
	lab_passed(lab);
	LAB_UNTIL(lab_count(METRIC_EVENTS, "all", "duplicate") == copies + 1);
	lab_state(lab, "x", "2", "next");
	lab_close(lab);
}

static void the_sender_was_first(void **state)
{
	static const struct lab_event done = { .id = "done", .entity = "x" };
	static const struct lab_event hold = { .id = "hold", .entity = "y" };
	static const struct lab_event never = { .id = "never", .entity = "z" };
	struct lab *lab = lab_open(call_config);
	struct err err;

	(void)state;
	for (int i = 0; i < 3; i++)
		refused(lab, (const char *[]){ "a-0", "a-1", "a-2" }[i]);
	(void)lab_send(lab, &done);
	lab_ends(lab, "done", OUTCOME_APPLIED, ERR_OK);
	assert_int_equal(accept(lab, 0, &done, &err), ERR_OK);
	/* in work, or parked because that takes long */
	(void)lab_send(lab, &hold);
	LAB_UNTIL(lab_called("hold"));
	assert_int_equal(accept(lab, 1, &hold, &err), ERR_OK);
	lab_answer("hold", HANDLER_DONE, ERR_OK);
	(void)lab_send(lab, &never);
	lab_ends(lab, "never", OUTCOME_DEAD, ERR_HANDLER_REFUSED);
	assert_int_equal(accept(lab, 2, &never, &err), ERR_USAGE);
	assert_non_null(strstr(err.text, "dead"));
	assert_int_equal(lab_calls_of("done") + lab_calls_of("hold") + lab_calls_of("never"), 3);
	lab_close(lab);
}

static void replays_are_known_both_ways(void **state)
{
	static const struct lab_event first = { .id = "first", .replay = LAB_REPLAY };
	static const struct lab_event other = { .id = "other", .replay = LAB_REPLAY };
	static const struct lab_event third = { .id = "third", .replay = LAB_REPLAY };
	struct lab *lab = lab_open(none_config);
	struct err err;

	(void)state;
	refused(lab, "a-0");
	refused(lab, "a-1");
	assert_int_equal(accept(lab, 0, &first, &err), ERR_OK);
	lab_ends(lab, "first", OUTCOME_APPLIED, ERR_OK);
	assert_int_equal(accept(lab, 1, &other, &err), ERR_USAGE);
	assert_non_null(strstr(err.text, "REPLAY_DETECTED"));
	(void)lab_send(lab, &third);
	lab_ends(lab, "third", OUTCOME_QUARANTINED, ERR_REPLAY_DETECTED);
	lab_close(lab);
}

static void what_did_not_take_effect_may_be_accepted(void **state)
{
	static const struct lab_event one = { .id = "one", .entity = "x", .version = "1" };
	static const struct lab_event time = {
		.id = "time", .entity = "x", .version = "2026-01-01T00:00:00Z"
	};
	static const struct lab_event two = { .id = "time", .entity = "x", .version = "2" };
	static const struct lab_event unusable = { .id = "a-1", .quarantine = "MALFORMED_BODY" };
	struct lab *lab = lab_open(none_config);
	struct err err;

	(void)state;
	refused(lab, "a-0");
	refused(lab, "a-1");
	(void)lab_send(lab, &one);
	(void)lab_send(lab, &time);
	lab_ends(lab, "time", OUTCOME_QUARANTINED, ERR_VERSION_TYPE);
	assert_int_equal(accept(lab, 0, &two, &err), ERR_OK);
	lab_ends(lab, "time", OUTCOME_APPLIED, ERR_OK);
	lab_state(lab, "x", "2", "time");
	LAB_UNTIL(lab_entries(lab, OUT_QUARANTINE) == 3);
	err = ERR_INIT;
	assert_int_equal(
		worker_change(lab->worker, CHANGE_ACCEPT, OUT_QUARANTINE, 2, &err), ERR_USAGE);
	assert_non_null(strstr(err.text, "applied"));
	/* authentic, as is known now, and without a meaning: its attempt stays its name */
	assert_int_equal(accept(lab, 1, &unusable, &err), ERR_OK);
	lab_ends(lab, "a-1", OUTCOME_APPLIED, ERR_OK);
	lab_close(lab);
}

/* The mended headers are what is parked, dies and is replayed. */
static void a_dead_one_keeps_its_identity(void **state)
{
	static const struct lab_event later = { .id = "later", .entity = "x", .version = "4" };
	struct buf text = BUF_INIT(MIB(1));
	struct store_entry entry;
	struct lab *lab = lab_open(call_config);
	struct err err;

	(void)state;
	refused(lab, "a-0");
	assert_int_equal(accept(lab, 0, &later, &err), ERR_OK);
	lab_ends(lab, "later", OUTCOME_DEAD, ERR_HANDLER_REFUSED);
	LAB_UNTIL(lab_entry(lab, OUT_DLQ, 0, &entry, &text));
	assert_true(slice_eq_str(entry.event_id, "later"));
	assert_true(slice_eq_str(entry.entity, "x"));
	lab_close_worker(lab);
	worker_close(&lab->worker);
	lab_start(lab);
	err = ERR_INIT;
	assert_int_equal(worker_change(lab->worker, CHANGE_REPLAY, OUT_DLQ, 0, &err), ERR_OK);
	LAB_UNTIL(lab_calls_of("later") == 2);
	lab_ends(lab, "a-0", OUTCOME_QUARANTINED, ERR_BAD_SIGNATURE);
	buf_done(&text);
	lab_close(lab);
}

/* Refused requests have a quarter of the quarantine, by bytes, however small the others are. */
static void large_refused_ones_stay_in_their_quarter(void **state)
{
	static const char config[] =
		LAB_CONFIG(LAB_NONE_ROUTE, "\"quarantine\": {\"max_bytes\": 1000000},");
	const int64_t dropped = lab_count(METRIC_QUARANTINE_DROPPED, NULL, NULL);
	static char body[60001];
	struct lab *lab = lab_open(config);
	char id[32];

	(void)state;
	memset(body, 'b', sizeof(body) - 1);
	for (int i = 0; i < 40; i++) {
		const struct lab_event event = { .id = id,
			.quarantine = i < 20 ? "MISSING_EVENT_ID" : "BAD_SIGNATURE",
			.body = i < 20 ? "{}" : body };

		(void)snprintf(id, sizeof(id), "event-%d", i);
		(void)lab_send(lab, &event);
	}
	lab_passed(lab);
	LAB_UNTIL(lab_status(lab, "outputs_waiting") == 0);
	assert_int_equal(lab_entries(lab, OUT_QUARANTINE), 24);
	assert_int_equal(lab_count(METRIC_QUARANTINE_DROPPED, NULL, NULL) - dropped, 16);
	/* the next worker counts what is there */
	lab_close_worker(lab);
	worker_close(&lab->worker);
	lab_start(lab);
	(void)lab_send(lab,
		&(struct lab_event){ .id = "last", .quarantine = "BAD_SIGNATURE", .body = body });
	lab_ends(lab, "last", OUTCOME_QUARANTINED, ERR_BAD_SIGNATURE);
	assert_int_equal(lab_count(METRIC_QUARANTINE_DROPPED, NULL, NULL) - dropped, 17);
	lab_close(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_worked_under_its_identity_once),
		cmocka_unit_test(the_sender_was_first),
		cmocka_unit_test(replays_are_known_both_ways),
		cmocka_unit_test(what_did_not_take_effect_may_be_accepted),
		cmocka_unit_test(a_dead_one_keeps_its_identity),
		cmocka_unit_test(large_refused_ones_stay_in_their_quarter),
	};

	return lab_run(tests);
}
