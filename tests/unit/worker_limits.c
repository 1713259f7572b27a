/* The worker at its limits: a full park after a crash, many gaps that end at once, and a commit
 * that has to wait. */
#define LAB_FAKE_HANDLER
#include "support/worker_lab.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

/* ---- more than fits into one batch ends at the same time ------------------------------- */

#define GAPS 72
#define GAP_BODY MIB(1)

static const char gap_config[] =
	LAB_CONFIG("{\"name\": \"next\", \"match\": {}, \"version_rule\": \"next\","
		   "\"gap_timeout_s\": 2, \"handler\": {\"type\": \"none\"}}",
		"");

static void many_gaps_end_together(void **state)
{
	const struct lab_event first = { .id = "v1", .entity = "x", .version = "1" };
	struct lab *lab = lab_open(gap_config);
	char *body = malloc(GAP_BODY + 1);
	char id[16], version[16];
	struct err err = ERR_INIT;

	(void)state;
	assert_non_null(body);
	memset(body, 'b', GAP_BODY);
	body[GAP_BODY] = '\0';
	(void)lab_send(lab, &first);
	for (int i = 0; i < GAPS; i++) {
		const struct lab_event event = {
			.id = id, .entity = "x", .version = version, .body = body
		};

		(void)snprintf(id, sizeof(id), "gap-%d", i);
		(void)snprintf(version, sizeof(version), "%d", i + 3);
		(void)lab_send(lab, &event);
	}
	lab_passed(lab);
	lab_wall_step_ms = 60000; /* all of them are over by the first look */
	LAB_UNTIL(lab_entries(lab, OUT_DLQ) == GAPS || worker_failed(lab->worker, &err) != ERR_OK);
	assert_string_equal(err.text, "");
	lab_state(lab, "x", "1", "v1");
	lab_close(lab);
	free(body);
}

/* ---- a crash while the park is full ------------------------------------------------------ */

#define BACKLOG 1500 /* more than one read, so that some of it stays behind a full park */

static const char full_config[] =
	LAB_CONFIG(LAB_CALL_ROUTE, "\"worker\": {\"parked_max_events\": 3},");
static const char *const held[] = { "hold-a", "hold-b", "hold-c" };

static _Noreturn void die_with_a_full_park(const char *dir)
{
	struct lab *lab = lab_in(dir, full_config);
	struct err err = ERR_INIT;

	lab->disk = true;
	lab_start(lab);
	for (size_t i = 0; i < ARRAY_LEN(held); i++)
		(void)lab_send(lab, &(struct lab_event){ .id = held[i], .entity = held[i] });
	LAB_UNTIL(worker_ready(lab->worker, &err) == ERR_FULL);
	for (int i = 0; i < BACKLOG; i++) {
		char id[24];

		(void)snprintf(id, sizeof(id), "done-%d", i);
		(void)lab_send(lab, &(struct lab_event){ .id = id, .entity = held[0] });
	}
	(void)kill(getpid(), SIGKILL);
	abort();
}

/* The order of suspects is the worker's. */
static void answer_anyone(enum handler_verdict verdict, enum err_code code)
{
	size_t i = 0;

	LAB_UNTIL(lab_called(held[i = (i + 1) % ARRAY_LEN(held)]));
	lab_answer(held[i], verdict, code);
}

static void a_crash_with_a_full_park(void **state)
{
	char dir[] = "/tmp/postern-limits-XXXXXX", last[16];
	int status = 0;
	struct lab *lab;
	pid_t child;

	(void)state;
	assert_non_null(mkdtemp(dir));
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		die_with_a_full_park(dir);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

	lab = lab_in(dir, full_config);
	lab->disk = true;
	lab_start(lab);
	/* The suspects fail once more, each alone; then they are parked like any other. */
	for (size_t i = 0; i < ARRAY_LEN(held); i++)
		answer_anyone(HANDLER_RETRY, ERR_HANDLER_FAILED);
	for (size_t i = 0; i < ARRAY_LEN(held); i++)
		answer_anyone(HANDLER_DONE, ERR_OK);
	(void)snprintf(last, sizeof(last), "done-%d", BACKLOG - 1);
	lab_ends(lab, last, OUTCOME_APPLIED, ERR_OK);
	lab_close(lab);
}

/* ---- how far a park overshoots ------------------------------------------------------------ */

/* One entity is blocked; what comes behind it parks at once. */
static void a_full_park_takes_no_more(void **state)
{
	static const char config[] =
		LAB_CONFIG(LAB_CALL_ROUTE, "\"worker\": {\"parked_max_events\": 3},");
	struct lab *lab = lab_open(config);
	int64_t most = 0;

	(void)state;
	(void)lab_send(lab, &(struct lab_event){ .id = "hold-a", .entity = "a" });
	LAB_UNTIL(lab_status(lab, "events") == 1);
	for (int i = 0; i < 500; i++) {
		char id[24];

		(void)snprintf(id, sizeof(id), "done-%d", i);
		(void)lab_send(lab, &(struct lab_event){ .id = id, .entity = "a" });
	}
	LAB_UNTIL(lab_status(lab, "events") >= 3);
	for (int i = 0; i < 20; i++) {
		const int64_t now = lab_status(lab, "events");

		most = now > most ? now : most;
		(void)usleep(1000);
	}
	assert_int_equal(most, 3);
	lab_answer("hold-a", HANDLER_DONE, ERR_OK);
	lab_ends(lab, "done-499", OUTCOME_APPLIED, ERR_OK);
	lab_close(lab);
}

/* ---- a clock that is turned back --------------------------------------------------------------
 */

static void a_gap_ends_though_the_clock_is_turned_back(void **state)
{
	static const struct lab_event events[] = {
		{ .id = "v1", .entity = "x", .version = "1" },
		{ .id = "v3", .entity = "x", .version = "3" },
	};
	struct lab *lab = lab_open(gap_config);

	(void)state;
	lab_send_all(lab, events, ARRAY_LEN(events));
	lab_ends(lab, "v3", OUTCOME_PARKED, ERR_VERSION_GAP);
	lab_wall_step_ms = -3600000;
	lab_ends(lab, "v3", OUTCOME_DEAD, ERR_VERSION_GAP);
	lab_close(lab);
}

/* ---- what cannot be read is kept as long as anything else -------------------------------------
 */

static void an_unreadable_record_stays(void **state)
{
	struct lab *lab = lab_open(gap_config);
	struct record record = { .headers = slice_str("no headers"), .body = slice_str("body") };
	int64_t until;

	(void)state;
	lab_append(lab, &record);
	LAB_UNTIL(lab_entries(lab, OUT_QUARANTINE) == 1);
	/* longer than the worker's rounds of upkeep are apart */
	for (until = lab_mono_ms() + 2200; lab_mono_ms() < until; (void)usleep(20000))
		assert_int_equal(lab_entries(lab, OUT_QUARANTINE), 1);
	lab_close(lab);
}

/* ---- more dead letters at once than a segment holds ---------------------------------------- */

static void many_die_together(void **state)
{
	static const char config[] = LAB_CONFIG(LAB_CALL_ROUTE, "");
	struct lab *lab = lab_new(config);
	char *body = malloc(GAP_BODY + 1), id[16];

	(void)state;
	assert_non_null(body);
	memset(body, 'b', GAP_BODY);
	body[GAP_BODY] = '\0';
	lab->disk = true;
	lab_start(lab);
	for (int i = 0; i < 16; i++) {
		const struct lab_event event = { .id = id, .body = body };

		(void)snprintf(id, sizeof(id), "never-%d", i);
		(void)lab_send(lab, &event);
	}
	LAB_UNTIL(lab_entries(lab, OUT_DLQ) == 16);
	lab_close(lab);
	free(body);
}

/* ---- a commit that has to wait ------------------------------------------------------------- */

static int64_t cpu_ms(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The disk takes no byte for a while, and results come in meanwhile: nobody runs in circles. */
static void waiting_for_the_disk_costs_nothing(void **state)
{
	static const char config[] = LAB_CONFIG(LAB_CALL_ROUTE, "");
	struct lab *lab = lab_new(config);
	struct rlimit limit;
	struct err err = ERR_INIT;
	int64_t before, after;

	(void)state;
	lab->disk = true;
	lab_start(lab);
	(void)lab_send(lab, &(struct lab_event){ .id = "hold-a", .entity = "a" });
	(void)lab_send(lab, &(struct lab_event){ .id = "hold-b", .entity = "b" });
	LAB_UNTIL(lab_called("hold-a") && lab_called("hold-b"));
	lab_disk_full(&limit);
	lab_answer("hold-a", HANDLER_DONE, ERR_OK);
	LAB_UNTIL(worker_ready(lab->worker, &err) == ERR_FULL);
	lab_answer("hold-b", HANDLER_DONE, ERR_OK);
	before = cpu_ms();
	(void)usleep(2500 * 1000);
	after = cpu_ms();
	lab_disk_has_room(&limit);
	lab_ends(lab, "hold-a", OUTCOME_APPLIED, ERR_OK);
	lab_ends(lab, "hold-b", OUTCOME_APPLIED, ERR_OK);
	assert_in_range(after - before, 0, 500);
	lab_close(lab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_gaps_end_together),
		cmocka_unit_test(a_crash_with_a_full_park),
		cmocka_unit_test(a_full_park_takes_no_more),
		cmocka_unit_test(a_gap_ends_though_the_clock_is_turned_back),
		cmocka_unit_test(an_unreadable_record_stays),
		cmocka_unit_test(many_die_together),
		cmocka_unit_test(waiting_for_the_disk_costs_nothing),
	};

	return lab_run(tests);
}
