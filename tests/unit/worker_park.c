/* park.c: what waits in one entity for different things does not wait for the others' times. */
#define LAB_FAKE_HANDLER
#include "support/worker_lab.h"

#define ROUTE(breaker)                                                                             \
	"{\"name\": \"next\", \"match\": {}, \"version_rule\": \"next\","                          \
	"\"gap_timeout_s\": 1, " LAB_HTTP ", \"retry\": {\"base_ms\": 2, \"cap_ms\": 4},"          \
	"\"breaker\": {" breaker "}}"

/* v1 is applied, v3 waits for v2, v2 fails: the event that v3 waits for is parked beside it. */
static void gap_beside_a_failure(struct lab *lab)
{
	static const struct lab_event events[] = {
		{ .id = "done-1", .entity = "x", .version = "1" },
		{ .id = "done-3", .entity = "x", .version = "3" },
		{ .id = "fail-2", .entity = "x", .version = "2" },
	};

	lab_send_all(lab, events, 2);
	lab_ends(lab, "done-3", OUTCOME_PARKED, ERR_VERSION_GAP);
	(void)lab_send(lab, &events[2]);
	lab_ends(lab, "fail-2", OUTCOME_PARKED, ERR_HANDLER_FAILED);
}

static void a_gap_ends_while_a_retry_is_waited_for(void **state)
{
	static const char config[] = LAB_CONFIG(ROUTE("\"failures\": 1000, \"ratio\": 1"), "");
	struct lab *lab = lab_open(config);

	(void)state;
	lab_handler.retry_after_ms = 3600000;
	gap_beside_a_failure(lab);
	lab_ends(lab, "done-3", OUTCOME_DEAD, ERR_VERSION_GAP);
	LAB_UNTIL(lab_status(lab, "events") == 1);
	/* the retry is neither made early nor forgotten */
	assert_int_equal(lab_calls_of("fail-2"), 1);
	assert_int_equal(lab_outcome(lab, "fail-2"), OUTCOME_PARKED);
	lab_close(lab);
}

static void a_gap_ends_while_the_breaker_is_open(void **state)
{
	static const char config[] =
		LAB_CONFIG(ROUTE("\"failures\": 1, \"ratio\": 0.01, \"open_s\": 3600"), "");
	struct lab *lab = lab_open(config);

	(void)state;
	gap_beside_a_failure(lab);
	lab_ends(lab, "done-3", OUTCOME_DEAD, ERR_VERSION_GAP);
	LAB_UNTIL(lab_status(lab, "events") == 1);
	assert_int_equal(lab_outcome(lab, "fail-2"), OUTCOME_PARKED);
	lab_close(lab);
}

/* The retry comes first: the gap is filled by it, and its own time does not matter any more. */
static void a_retry_that_fills_the_gap(void **state)
{
	static const char config[] = LAB_CONFIG(ROUTE("\"failures\": 1000, \"ratio\": 1"), "");
	static const struct lab_event events[] = {
		{ .id = "done-1", .entity = "x", .version = "1" },
		{ .id = "done-3", .entity = "x", .version = "3" },
		{ .id = "third-2", .entity = "x", .version = "2" },
	};
	struct lab *lab = lab_open(config);

	(void)state;
	lab_send_all(lab, events, 2);
	lab_ends(lab, "done-3", OUTCOME_PARKED, ERR_VERSION_GAP);
	(void)lab_send(lab, &events[2]);
	lab_ends(lab, "done-3", OUTCOME_APPLIED, ERR_OK);
	assert_int_equal(lab_calls_of("third-2"), 3);
	lab_state(lab, "x", "3", "done-3");
	lab_close(lab);
}

/* The clock is an hour ahead while events fail, and right again in the next life: what waits comes
 * in its time, also where the first attempt was made before the clock was ahead. */
static void a_clock_turned_back_between_two_lives(void **state)
{
	static const char config[] = LAB_CONFIG(ROUTE("\"failures\": 1000, \"ratio\": 1"), "");
	static const struct lab_event events[] = {
		{ .id = "hold-before", .entity = "x" },
		{ .id = "hold-ahead", .entity = "y" },
		{ .id = "hold-long", .entity = "z" },
	};
	struct lab *lab = lab_open(config);

	(void)state;
	lab_handler.retry_after_ms = 500;
	(void)lab_send(lab, &events[0]);
	LAB_UNTIL(lab_called("hold-before"));
	lab_wall_step_ms = 3600000;
	lab_send_all(lab, events + 1, 2);
	LAB_UNTIL(lab_called("hold-ahead") && lab_called("hold-long"));
	lab_answer("hold-before", HANDLER_RETRY, ERR_HANDLER_FAILED);
	lab_answer("hold-ahead", HANDLER_RETRY, ERR_HANDLER_FAILED);
	lab_handler.retry_after_ms = 1800000;
	lab_answer("hold-long", HANDLER_RETRY, ERR_HANDLER_FAILED);
	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		lab_ends(lab, events[i].id, OUTCOME_PARKED, ERR_HANDLER_FAILED);
	lab_stop(lab, 0);
	worker_close(&lab->worker);
	lab_wall_step_ms = 0;
	lab_start(lab);
	lab_answer("hold-before", HANDLER_DONE, ERR_OK);
	lab_answer("hold-ahead", HANDLER_DONE, ERR_OK);
	lab_ends(lab, "hold-before", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "hold-ahead", OUTCOME_APPLIED, ERR_OK);
	assert_int_equal(lab_calls_of("hold-long"), 1);
	assert_int_equal(lab_outcome(lab, "hold-long"), OUTCOME_PARKED);
	lab_close(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_gap_ends_while_a_retry_is_waited_for),
		cmocka_unit_test(a_gap_ends_while_the_breaker_is_open),
		cmocka_unit_test(a_retry_that_fills_the_gap),
		cmocka_unit_test(a_clock_turned_back_between_two_lives),
	};

	return lab_run(tests);
}
