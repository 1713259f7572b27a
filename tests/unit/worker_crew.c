/* worker_crew.c - lanes, owners and followers: claims, hand-overs, takeovers, and that everybody
 * folds to the same state. */
#define LAB_FAKE_HANDLER
#include "support/worker_lab.h"

#include "support/crew_house.h"

static const char call_config[] = LAB_CONFIG(LAB_CALL_ROUTE, "");
static const char short_config[] = LAB_CONFIG(LAB_CALL_ROUTE, "\"worker\": {\"dedupe_hours\": 1},");
static const char gap_config[] = LAB_CONFIG(
	"{\"name\": \"all\", \"match\": {}, \"version_rule\": \"next\", \"gap_timeout_s\": 1, "
	"\"handler\": {\"type\": \"none\"}}",
	"");
static const char none_config[] = LAB_CONFIG(LAB_NONE_ROUTE, "");

static void numbered(char *out, size_t max, const char *word, int n)
{
	(void)snprintf(out, max, "%s%d", word, n);
}

static void one_crew_works_all_lanes(void **state)
{
	struct house *h = house_open(call_config);
	struct house_crew *a = house_start(h, 0);
	struct lane_info info;

	(void)state;
	house_assign(a, true, true);
	(void)house_send(h, 0, &(struct lab_event){ .id = "done0", .entity = "x", .version = "7" });
	(void)house_send(h, 1, &(struct lab_event){ .id = "never1", .entity = "y" });
	LAB_UNTIL(house_outcome(a, 0, "done0") == OUTCOME_APPLIED);
	LAB_UNTIL(house_outcome(a, 1, "never1") == OUTCOME_DEAD);
	LAB_UNTIL(house_entries(a, 1, OUT_DLQ) == 1);
	assert_int_equal(house_version(a, 0, "x"), 7);
	info = house_lane(a, 0);
	assert_int_equal(info.state, LANE_OWNED);
	assert_true(info.assigned && info.epoch == 1 && strlen(info.owner) == 32);
	assert_int_equal(info.position, 1);
	house_close(h);
}

static void the_store_is_folded_again(void **state)
{
	struct house *h = house_open(call_config);
	struct house_crew *a = house_start(h, 0), *b;
	char id[32], version[16];

	(void)state;
	house_assign(a, true, false);
	for (int i = 0; i < 300; i++) {
		numbered(id, sizeof(id), i % 3 == 1 ? "never" : "done", i);
		(void)snprintf(version, sizeof(version), "%d", i);
		(void)house_send(
			h, 0, &(struct lab_event){ .id = id, .entity = "x", .version = version });
	}
	LAB_UNTIL(house_outcome(a, 0, "done299") == OUTCOME_APPLIED);
	LAB_UNTIL(house_entries(a, 0, OUT_DLQ) == 100);
	house_stop(a, 5000);
	lab_remove(a->dir);
	/* The same from nothing, while another one begins from nothing too. */
	a = house_start(h, 0);
	b = house_start(h, 1);
	house_follows(a, 0);
	house_follows(b, 0);
	LAB_UNTIL(house_entries(b, 0, OUT_DLQ) == 100);
	LAB_UNTIL(house_version(b, 0, "x") == 299);
	LAB_UNTIL(house_entries(a, 0, OUT_DLQ) == 100);
	assert_int_equal(house_outcome(a, 0, "never1"), OUTCOME_DEAD);
	house_equal(a, b, 0);
	assert_int_equal(h->logs[0].streams[STREAM_DLQ].end, 100);
	house_close(h);
}

static void a_lane_is_handed_over(void **state)
{
	struct house *h = house_open(call_config);
	struct house_crew *a = house_start(h, 0), *b = house_start(h, 1);
	int64_t began;

	(void)state;
	house_assign(a, true, true);
	LAB_UNTIL(house_owns(a, 0) && house_owns(a, 1));
	(void)house_send(h, 0, &(struct lab_event){ .id = "done0", .entity = "x", .version = "1" });
	LAB_UNTIL(house_outcome(b, 0, "done0") == OUTCOME_APPLIED);
	began = lab_mono_ms();
	house_assign(a, false, true);
	house_assign(b, true, false);
	LAB_UNTIL(house_owns(b, 0));
	/* In peace: nobody had to wait for a silence, or for the time of grace. */
	assert_true(lab_mono_ms() - began < HOUSE_GRACE_MS || getenv("LAB_SLOW"));
	LAB_UNTIL(!house_owns(a, 0));
	assert_true(house_owns(a, 1));
	(void)house_send(h, 0, &(struct lab_event){ .id = "done1", .entity = "x", .version = "2" });
	(void)house_send(h, 0, &(struct lab_event){ .id = "done0", .entity = "x", .version = "1" });
	LAB_UNTIL(house_outcome(a, 0, "done1") == OUTCOME_APPLIED);
	assert_int_equal(house_lane(b, 0).epoch, 2);
	assert_int_equal(lab_calls_of("done0"), 1);
	assert_int_equal(lab_calls_of("done1"), 1);
	house_close(h);
}

/* An owner that reaches nobody is replaced; what it sends late counts for nothing. */
static void a_zombie_changes_nothing(void **state)
{
	struct house *h = house_open(call_config);
	struct house_crew *a = house_start(h, 0), *b = house_start(h, 1);

	(void)state;
	house_assign(a, true, true);
	LAB_UNTIL(house_owns(a, 0));
	(void)house_send(h, 0, &(struct lab_event){ .id = "done0", .entity = "x", .version = "1" });
	LAB_UNTIL(house_outcome(b, 0, "done0") == OUTCOME_APPLIED);
	/* Its next record hangs on the way: a batch with an effect in it. */
	journal_log_faults(a->queues[0], 0, 1);
	(void)house_send(h, 0, &(struct lab_event){ .id = "done1", .entity = "x", .version = "2" });
	LAB_UNTIL(house_owns(b, 0));
	LAB_UNTIL(house_outcome(b, 0, "done1") == OUTCOME_APPLIED);
	(void)house_send(h, 0, &(struct lab_event){ .id = "done2", .entity = "x", .version = "3" });
	LAB_UNTIL(house_outcome(b, 0, "done2") == OUTCOME_APPLIED);
	assert_int_equal(journal_log_release(a->queues[0]), 1);
	LAB_UNTIL(!house_owns(a, 0));
	house_assign(a, false, true);
	house_follows(a, 0);
	house_follows(b, 0);
	LAB_UNTIL(house_version(a, 0, "x") == 3);
	assert_int_equal(house_version(b, 0, "x"), 3);
	house_stop(b, 5000); /* it commits */
	LAB_UNTIL(house_lane(a, 0).owner[0] == '\0' || house_owns(a, 0));
	b = house_start(h, 1);
	house_follows(a, 0);
	house_follows(b, 0);
	LAB_UNTIL(house_outcome(b, 0, "done2") == OUTCOME_APPLIED);
	assert_int_equal(house_outcome(a, 0, "done1"), OUTCOME_APPLIED);
	assert_int_equal(crew_failed(a->crew, NULL), ERR_OK);
	house_close(h);
}

/* It stood still while its record was on the way, and was replaced. That the record comes back as
 * valid says nothing of today: before it calls anybody it asks the journal again. */
static void a_zombie_calls_nobody(void **state)
{
	struct house *h = house_open(call_config);
	struct house_crew *a = house_start(h, 0), *b = house_start(h, 1);
	size_t calls;
	int before;

	(void)state;
	house_assign(a, true, true);
	LAB_UNTIL(house_owns(a, 0));
	(void)house_send(h, 0, &(struct lab_event){ .id = "done0", .entity = "x", .version = "1" });
	LAB_UNTIL(house_outcome(b, 0, "done0") == OUTCOME_APPLIED);
	journal_log_set(a->queues[0], &a->queues[0]->deaf, true);
	(void)house_send(h, 0, &(struct lab_event){ .id = "done1", .entity = "x", .version = "2" });
	LAB_UNTIL(house_owns(b, 0));
	(void)house_send(h, 0, &(struct lab_event){ .id = "done2", .entity = "x", .version = "3" });
	LAB_UNTIL(house_outcome(b, 0, "done2") == OUTCOME_APPLIED);
	calls = lab_calls_of("done1") + lab_calls_of("done2");
	before = journal_log_appends(a->queues[0]);
	journal_log_hear(a->queues[0], 1);
	LAB_UNTIL(journal_log_appends(a->queues[0]) > before);
	assert_int_equal(lab_calls_of("done1") + lab_calls_of("done2"), calls);
	journal_log_set(a->queues[0], &a->queues[0]->deaf, false);
	LAB_UNTIL(!house_owns(a, 0));
	house_close(h);
}

static void what_stands_there_twice_counts_once(void **state)
{
	struct house *h = house_open(call_config);
	struct house_crew *a = house_start(h, 0), *b;
	char id[32];

	(void)state;
	journal_log_faults(a->queues[0], 1000000, 0);
	house_assign(a, true, true);
	for (int i = 0; i < 200; i++) {
		numbered(id, sizeof(id), i % 4 ? "done" : "third", i);
		(void)house_send(h, 0, &(struct lab_event){ .id = id, .entity = id });
	}
	for (int i = 0; i < 200; i++) {
		numbered(id, sizeof(id), i % 4 ? "done" : "third", i);
		LAB_UNTIL(house_outcome(a, 0, id) == OUTCOME_APPLIED);
	}
	assert_int_equal(lab_calls_of("done1"), 1);
	assert_int_equal(lab_calls_of("third4"), 3);
	house_stop(a, 5000);
	b = house_start(h, 1);
	a = house_start(h, 0);
	house_follows(a, 0);
	house_follows(b, 0);
	LAB_UNTIL(house_outcome(b, 0, "done199") == OUTCOME_APPLIED);
	house_equal(a, b, 0);
	house_close(h);
}

/* An owner with nothing to do keeps its lane though it is hardly heard; one at work is heard, and a
 * reader that hears nothing of it is careful. */
static void silence(void **state)
{
	struct house *h = house_open(call_config);
	struct house_crew *a = house_start(h, 0), *b = house_start(h, 1);
	int64_t end;

	(void)state;
	house_assign(a, true, true);
	LAB_UNTIL(house_owns(a, 0) && house_owns(a, 1));
	(void)house_send(h, 0, &(struct lab_event){ .id = "done0", .entity = "x" });
	LAB_UNTIL(house_outcome(b, 0, "done0") == OUTCOME_APPLIED);
	end = journal_log_end(&h->logs[0]);
	(void)usleep(3 * HOUSE_TAKEOVER_MS * 1000);
	assert_in_range(journal_log_end(&h->logs[0]) - end, 0, 2);
	assert_true(house_owns(a, 0) && house_lane(a, 0).epoch == 1);
	assert_int_equal(house_lane(b, 0).silent_ms, 0);
	/* At work, which its followers know: they do not hear it. */
	(void)house_send(h, 0, &(struct lab_event){ .id = "hold1", .entity = "x" });
	LAB_UNTIL(lab_called("hold1"));
	journal_log_set(b->queues[0], &b->queues[0]->deaf, true);
	(void)usleep(3 * HOUSE_TAKEOVER_MS * 1000);
	assert_true(house_owns(a, 0) && house_lane(a, 0).epoch == 1);
	journal_log_set(b->queues[0], &b->queues[0]->deaf, false);
	(void)usleep(3 * HOUSE_TAKEOVER_MS * 1000);
	assert_true(house_owns(a, 0) && house_lane(a, 0).epoch == 1);
	/* Really silent. */
	journal_log_set(a->queues[0], &a->queues[0]->cut, true);
	LAB_UNTIL(house_owns(b, 0));
	assert_true(house_owns(a, 1));
	journal_log_set(a->queues[0], &a->queues[0]->cut, false);
	LAB_UNTIL(!house_owns(a, 0));
	lab_answer("hold1", HANDLER_DONE, ERR_OK);
	house_close(h);
}

/* Nothing waits, so nobody takes over from the dead; then an event comes, and somebody does. */
static void an_idle_owner_that_is_gone(void **state)
{
	struct house *h = house_open(call_config);
	struct house_crew *a = house_start(h, 0), *b = house_start(h, 1);
	int64_t began_ms;

	(void)state;
	house_assign(a, true, true);
	LAB_UNTIL(house_owns(a, 0));
	(void)house_send(h, 0, &(struct lab_event){ .id = "done0", .entity = "x" });
	LAB_UNTIL(house_outcome(b, 0, "done0") == OUTCOME_APPLIED);
	(void)usleep(10 * HOUSE_BEAT_MS * 1000);
	journal_log_set(a->queues[0], &a->queues[0]->cut, true);
	(void)usleep(3 * HOUSE_TAKEOVER_MS * 1000);
	assert_int_equal(house_lane(b, 0).state, LANE_FOLLOWING);
	began_ms = lab_mono_ms();
	(void)house_send(h, 0, &(struct lab_event){ .id = "done1", .entity = "x" });
	LAB_UNTIL(house_outcome(b, 0, "done1") == OUTCOME_APPLIED);
	assert_true(house_owns(b, 0));
	assert_true(lab_mono_ms() - began_ms < 4 * HOUSE_TAKEOVER_MS || getenv("LAB_SLOW"));
	/* It reads the event when it is back, and asks the journal before it calls anybody. */
	journal_log_set(a->queues[0], &a->queues[0]->cut, false);
	LAB_UNTIL(!house_owns(a, 0));
	assert_int_equal(lab_calls_of("done1"), 1);
	house_close(h);
}

/* Nobody need miss an owner that was a life of ours. */
static void a_worker_that_starts_again(void **state)
{
	struct house *h = house_open(call_config);
	struct house_crew *a = house_start(h, 0);
	int64_t began_ms, took_ms, fastest_ms = INT64_MAX;

	(void)state;
	house_assign(a, true, true);
	LAB_UNTIL(house_owns(a, 0));
	for (int i = 0; i < 3; i++) {
		began_ms = lab_mono_ms();
		journal_log_set(a->queues[0], &a->queues[0]->cut, true);
		house_stop(a, 0);
		a = house_start(h, 0);
		LAB_UNTIL(house_owns(a, 0) && house_lane(a, 0).epoch == (uint64_t)i + 2);
		took_ms = lab_mono_ms() - began_ms;
		fastest_ms = took_ms < fastest_ms ? took_ms : fastest_ms;
	}
	assert_true(fastest_ms < HOUSE_IDLE_MS);
	house_close(h);
}

/* What waits in a lane that nobody works is counted by those who follow it. */
static void what_waits_is_counted(void **state)
{
	struct house *h = house_open(gap_config);
	struct house_crew *a = house_start(h, 0);
	struct metric *lag = metric_series(METRIC_QUEUE_LAG, NULL, NULL);
	struct metric *parked = metric_series(METRIC_PARKED_EVENTS, NULL, NULL);

	(void)state;
	LAB_UNTIL(crew_ready(a->crew, NULL) == ERR_OK);
	(void)house_send(h, 0, &(struct lab_event){ .id = "a", .entity = "x", .version = "1" });
	(void)house_send(h, 0, &(struct lab_event){ .id = "c", .entity = "x", .version = "3" });
	LAB_UNTIL(metric_value(lag) == 2);
	house_assign(a, true, false);
	LAB_UNTIL(house_outcome(a, 0, "c") == OUTCOME_PARKED);
	LAB_UNTIL(metric_value(lag) == 0 && metric_value(parked) == 1);
	house_assign(a, false, false);
	LAB_UNTIL(!house_owns(a, 0));
	LAB_UNTIL(metric_value(parked) == 1);
	house_stop(a, 2000);
	assert_int_equal(metric_value(lag), 0);
	assert_int_equal(metric_value(parked), 0);
	house_close(h);
}

/* A parked event becomes due: its owner does not sleep over it, and is followed if it is gone. */
static void a_timer_of_an_idle_owner(void **state)
{
	struct house *h = house_open(gap_config);
	struct house_crew *a = house_start(h, 0), *b = house_start(h, 1);

	(void)state;
	house_assign(a, true, true);
	LAB_UNTIL(house_owns(a, 0));
	(void)house_send(h, 0, &(struct lab_event){ .id = "a", .entity = "x", .version = "1" });
	(void)house_send(h, 0, &(struct lab_event){ .id = "c", .entity = "x", .version = "3" });
	LAB_UNTIL(house_outcome(b, 0, "c") == OUTCOME_PARKED);
	assert_int_equal(house_lane(b, 0).state, LANE_FOLLOWING);
	journal_log_set(a->queues[0], &a->queues[0]->cut, true);
	LAB_UNTIL(house_owns(b, 0));
	LAB_UNTIL(house_outcome(b, 0, "c") != OUTCOME_PARKED);
	journal_log_set(a->queues[0], &a->queues[0]->cut, false);
	LAB_UNTIL(!house_owns(a, 0));
	house_close(h);
}

/* It may have been in work when its owner fell silent: it is called alone, behind a TRY. */
static void suspects_after_a_takeover(void **state)
{
	struct house *h = house_open(call_config);
	struct house_crew *a = house_start(h, 0), *b = house_start(h, 1);

	(void)state;
	house_assign(a, true, true);
	LAB_UNTIL(house_owns(a, 0));
	(void)house_send(h, 0, &(struct lab_event){ .id = "hold0", .entity = "x" });
	LAB_UNTIL(lab_called("hold0"));
	journal_log_set(a->queues[0], &a->queues[0]->cut, true);
	(void)house_send(h, 0, &(struct lab_event){ .id = "done1", .entity = "y" });
	LAB_UNTIL(house_owns(b, 0));
	LAB_UNTIL(lab_calls_of("hold0") == 2);
	assert_int_equal(lab_calls_of("done1"), 0); /* hold0 is alone */
	lab_answer("hold0", HANDLER_DONE, ERR_OK);
	LAB_UNTIL(house_outcome(b, 0, "hold0") == OUTCOME_APPLIED);
	LAB_UNTIL(house_outcome(b, 0, "done1") == OUTCOME_APPLIED);
	journal_log_set(a->queues[0], &a->queues[0]->cut, false);
	LAB_UNTIL(!house_owns(a, 0));
	house_close(h);
}

/* However large the events are, and however many end together, a record stays below its limit. */
static void large_events_are_split(void **state)
{
	struct house *h = house_open(call_config);
	struct house_crew *a = house_start(h, 0), *b;
	char *body = malloc(KIB(500) + 1), id[32];

	(void)state;
	assert_non_null(body);
	memset(body, 'b', KIB(500));
	body[KIB(500)] = '\0';
	(void)house_send(h, 0, &(struct lab_event){ .id = "hold", .entity = "x", .body = body });
	for (int i = 0; i < 20; i++) {
		numbered(id, sizeof(id), i == 5 ? "never" : "done", i);
		(void)house_send(
			h, 0, &(struct lab_event){ .id = id, .entity = "x", .body = body });
	}
	house_assign(a, true, true);
	LAB_UNTIL(lab_called("hold"));
	/* It runs for longer than a batch waits: it is parked, and those behind it too. */
	LAB_UNTIL(house_outcome(a, 0, "done19") == OUTCOME_PARKED);
	assert_int_equal(lab_calls_of("done0"), 0);
	b = house_start(h, 1);
	LAB_UNTIL(house_outcome(b, 0, "done19") == OUTCOME_PARKED);
	lab_answer("hold", HANDLER_DONE, ERR_OK);
	LAB_UNTIL(house_outcome(b, 0, "done19") == OUTCOME_APPLIED);
	LAB_UNTIL(house_entries(b, 0, OUT_DLQ) == 1);
	assert_true(h->logs[0].largest > KIB(500) && h->logs[0].largest <= JOURNAL_BATCH_MAX);
	free(body);
	house_close(h);
}

static void what_is_lost_stops_the_program(void **state)
{
	struct house *h = house_open(none_config);
	struct house_crew *a = house_start(h, 0);
	struct err err = ERR_INIT;

	(void)state;
	house_assign(a, true, true);
	(void)house_send(h, 0, &(struct lab_event){ .id = "a" });
	LAB_UNTIL(house_outcome(a, 0, "a") == OUTCOME_APPLIED);
	house_stop(a, 5000);
	/* The journal ends before where the store stands. */
	h->logs[0].journal_end -= 2;
	a = house_start(h, 0);
	LAB_UNTIL(crew_failed(a->crew, NULL) != ERR_OK);
	assert_int_equal(crew_failed(a->crew, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.text, "JOURNAL_TRUNCATED"));
	assert_int_equal(house_lane(a, 0).state, LANE_FAILED);
	house_stop(a, 5000);
	h->logs[0].journal_end += 2;
	/* The events that are wanted next are gone. */
	(void)house_send(h, 0, &(struct lab_event){ .id = "b" });
	(void)house_send(h, 0, &(struct lab_event){ .id = "c" });
	h->logs[0].streams[STREAM_EVENTS].first = 2;
	a = house_start(h, 0);
	house_assign(a, true, true);
	LAB_UNTIL(crew_failed(a->crew, NULL) != ERR_OK);
	err_clear(&err);
	assert_int_equal(crew_failed(a->crew, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.text, "SOURCE_LOST"));
	house_close(h);
}

/* Retention was faster than the first worker: work begins with what is there. */
static void a_log_without_its_beginning(void **state)
{
	struct house *h = house_open(none_config);
	struct house_crew *a = house_start(h, 0);

	(void)state;
	(void)house_send(h, 0, &(struct lab_event){ .id = "a" });
	(void)house_send(h, 0, &(struct lab_event){ .id = "b" });
	(void)house_send(h, 0, &(struct lab_event){ .id = "c" });
	h->logs[0].streams[STREAM_EVENTS].first = 2;
	house_assign(a, true, false);
	LAB_UNTIL(house_outcome(a, 0, "c") == OUTCOME_APPLIED);
	assert_int_equal(house_outcome(a, 0, "a"), OUTCOME_NONE);
	assert_int_equal(house_lane(a, 0).position, 3);
	assert_int_equal(crew_failed(a->crew, NULL), ERR_OK);
	house_close(h);
}

static void a_bad_store_is_set_aside(void **state)
{
	struct house *h = house_open(none_config);
	struct house_crew *a = house_start(h, 0);
	char path[160];
	FILE *file;

	(void)state;
	house_assign(a, true, false);
	(void)house_send(h, 0, &(struct lab_event){ .id = "a", .entity = "x", .version = "3" });
	LAB_UNTIL(house_outcome(a, 0, "a") == OUTCOME_APPLIED);
	house_stop(a, 5000);
	(void)snprintf(path, sizeof(path), "%s/state-0/data.mdb", a->dir);
	file = fopen(path, "r+e");
	assert_non_null(file);
	for (int i = 0; i < 4096; i++)
		assert_int_equal(fputc(i & 255, file), i & 255);
	assert_int_equal(fclose(file), 0);
	a = house_start(h, 0);
	LAB_UNTIL(house_outcome(a, 0, "a") == OUTCOME_APPLIED);
	assert_int_equal(house_version(a, 0, "x"), 3);
	assert_int_equal(crew_failed(a->crew, NULL), ERR_OK);
	house_close(h);
}

/* Any process may be asked: the lane's owner decides, and the journal has its answer. */
static void changes_are_asked_anywhere(void **state)
{
	struct house *h = house_open(call_config);
	struct house_crew *a = house_start(h, 0), *b = house_start(h, 1);
	struct buf text = BUF_INIT(MIB(1));
	struct err err = ERR_INIT;

	(void)state;
	house_assign(a, true, true);
	for (int i = 0; i < 3; i++) {
		char id[16];

		numbered(id, sizeof(id), "never", i);
		(void)house_send(h, 0, &(struct lab_event){ .id = id, .entity = id });
	}
	LAB_UNTIL(house_entries(b, 0, OUT_DLQ) == 3);
	LAB_UNTIL(house_owns(a, 0));
	assert_int_equal(crew_change(b->crew, 0, CHANGE_REPLAY, OUT_DLQ, 0, NULL), ERR_OK);
	LAB_UNTIL(house_entries(b, 0, OUT_DLQ) == 4);
	assert_int_equal(crew_change(b->crew, 0, CHANGE_DROP, OUT_DLQ, 1, NULL), ERR_OK);
	/* Refused as its owner refuses it. */
	assert_int_equal(crew_change(b->crew, 0, CHANGE_REPLAY, OUT_DLQ, 1, &err), ERR_USAGE);
	assert_non_null(strstr(err.text, "already dropped"));
	err_clear(&err);
	assert_int_equal(crew_change(b->crew, 0, CHANGE_DROP, OUT_DLQ, 77, &err), ERR_NOT_FOUND);
	/* Twice in the log it is decided once. */
	journal_log_faults(b->queues[0], 1, 0);
	assert_int_equal(crew_change(b->crew, 0, CHANGE_REPLAY, OUT_DLQ, 2, NULL), ERR_OK);
	LAB_UNTIL(house_entries(b, 0, OUT_DLQ) == 5);
	(void)usleep(600 * 1000);
	assert_int_equal(house_entries(a, 0, OUT_DLQ), 5);
	assert_true(house_owns(a, 0) && house_lane(a, 0).epoch == 1);
	assert_int_equal(crew_ready(a->crew, NULL), ERR_OK);
	assert_int_equal(crew_ready(b->crew, NULL), ERR_OK);
	assert_int_equal(buf_put_str(&text, "{", NULL), ERR_OK);
	assert_int_equal(crew_status(a->crew, &text, NULL), ERR_OK);
	assert_non_null(strstr(buf_str(&text), "\"lanes\":[{\"partition\":0"));
	assert_int_equal(crew_reload(a->crew, h->lab->config, NULL, NULL), ERR_OK);
	buf_done(&text);
	house_follows(a, 0);
	house_equal(a, b, 0);
	house_close(h);
}

/* The owner goes before it has decided: whoever follows it does, and that one may be who was asked.
 * One that nobody decides in time is not known, and is not decided later than that. */
static void a_command_outlives_its_owner(void **state)
{
	struct house *h = house_open(call_config);
	struct house_crew *a = house_start(h, 0), *b = house_start(h, 1), *c = house_start(h, 2);
	struct err err = ERR_INIT;

	(void)state;
	house_assign(a, true, true);
	for (int i = 0; i < 3; i++) {
		char id[16];

		numbered(id, sizeof(id), "never", i);
		(void)house_send(h, 0, &(struct lab_event){ .id = id, .entity = id });
	}
	LAB_UNTIL(house_entries(b, 0, OUT_DLQ) == 3 && house_entries(c, 0, OUT_DLQ) == 3);
	LAB_UNTIL(house_owns(a, 0));
	journal_log_set(a->queues[0], &a->queues[0]->cut, true);
	assert_int_equal(crew_change(b->crew, 0, CHANGE_DROP, OUT_DLQ, 0, &err), ERR_OK);
	LAB_UNTIL(house_owns(b, 0) || house_owns(c, 0));
	journal_log_set(a->queues[0], &a->queues[0]->cut, false);
	LAB_UNTIL(!house_owns(a, 0));
	/* Nobody hears it: asked by one that reaches nobody. */
	journal_log_set(a->queues[0], &a->queues[0]->cut, true);
	assert_int_equal(
		crew_change(a->crew, 0, CHANGE_REPLAY, OUT_DLQ, 1, &err), ERR_OUTCOME_UNKNOWN);
	assert_int_equal(journal_log_waiting(a->queues[0]) >= 1, 1);
	/* It arrives too late. */
	lab_wall_step_ms += 120000;
	journal_log_set(a->queues[0], &a->queues[0]->cut, false);
	(void)journal_log_release(a->queues[0]);
	err_clear(&err);
	assert_int_equal(crew_change(a->crew, 0, CHANGE_DROP, OUT_DLQ, 1, &err), ERR_OK);
	assert_int_equal(lab_calls_of("never1"), 1);
	house_close(h);
}

/* Its journal was not written for longer than an owner may be silent: it waits for its append. */
static bool waits(struct house *h)
{
	static int64_t end, since_ms;
	int64_t now_end;

	lock_take(&h->logs[0].lock);
	now_end = h->logs[0].journal_end;
	lock_give(&h->logs[0].lock);
	if (now_end != end || since_ms == 0)
		since_ms = lab_mono_ms();
	end = now_end;
	return lab_mono_ms() - since_ms > 2500;
}

/* Whoever asks, and whoever stops the program, does not wait for Kafka. */
static void nobody_waits_for_brokers_that_are_away(void **state)
{
	struct house *h = house_open(call_config);
	struct house_crew *a = house_start(h, 0);
	struct err err = ERR_INIT;
	int64_t began_ms;

	(void)state;
	house_assign(a, true, true);
	(void)house_send(h, 0, &(struct lab_event){ .id = "never0", .entity = "x" });
	LAB_UNTIL(house_entries(a, 0, OUT_DLQ) == 1);
	LAB_UNTIL(house_owns(a, 0));
	/* At work, or it would not notice. */
	(void)house_send(h, 0, &(struct lab_event){ .id = "hold1", .entity = "y" });
	LAB_UNTIL(lab_called("hold1"));
	journal_log_set(a->queues[0], &a->queues[0]->cut, true);
	LAB_UNTIL(waits(h));
	assert_int_equal(crew_change(a->crew, 0, CHANGE_DROP, OUT_DLQ, 0, &err), ERR_UNREACHABLE);
	began_ms = lab_mono_ms();
	assert_int_equal(crew_reload(a->crew, h->lab->config, NULL, NULL), ERR_OK);
	assert_true(lab_mono_ms() - began_ms < 10000);
	/* Whoever is not heard yet is not known to be refused. */
	assert_int_equal(house_entries(a, 0, OUT_DLQ), 1);
	/* It is taken up later. */
	journal_log_set(a->queues[0], &a->queues[0]->cut, false);
	journal_log_release(a->queues[0]);
	LAB_UNTIL(crew_change(a->crew, 0, CHANGE_DROP, OUT_DLQ, 0, NULL) == ERR_OK);
	/* And one that never is goes with its worker. */
	lab_answer("hold1", HANDLER_DONE, ERR_OK);
	journal_log_set(a->queues[0], &a->queues[0]->cut, true);
	assert_int_equal(crew_reload(a->crew, h->lab->config, NULL, NULL), ERR_OK);
	house_stop(a, 100);
	house_close(h);
}

static int64_t last_base(struct house *h, int lane)
{
	struct journal_log *log = &h->logs[lane];
	struct journal_header header;

	lock_take(&log->lock);
	assert_int_equal(journal_open((struct slice){ log->journal[log->journal_end - 1].bytes,
					      log->journal[log->journal_end - 1].len },
				 &header, NULL),
		ERR_OK);
	lock_give(&log->lock);
	return header.base_offset;
}

static bool parked_at(struct house_crew *c, int lane, int64_t offset)
{
	struct buf bytes = BUF_INIT(MIB(1));
	struct store_view *view = NULL;
	struct item_park park;
	bool found;

	assert_int_equal(crew_view(c->crew, lane, &view, NULL), ERR_OK);
	found = store_view_parked_at(view, offset, &bytes, &park, NULL) == ERR_OK;
	store_view_close(&view);
	buf_done(&bytes);
	return found;
}

/* What lives is written again, the beginning goes, and who begins there has everything. */
static void the_journal_stays_bounded(void **state)
{
	struct house *h = house_open(short_config);
	struct house_crew *a = house_start(h, 0), *b;
	struct err err = ERR_INIT;
	int64_t base;

	(void)state;
	house_assign(a, true, false);
	(void)house_send(h, 0, &(struct lab_event){ .id = "done0", .entity = "x", .version = "7" });
	(void)house_send(h, 0, &(struct lab_event){ .id = "never1", .entity = "y" });
	(void)house_send(h, 0, &(struct lab_event){ .id = "hold2", .entity = "z" });
	LAB_UNTIL(house_outcome(a, 0, "hold2") == OUTCOME_PARKED);
	LAB_UNTIL(house_entries(a, 0, OUT_DLQ) == 1);
	/* Two hours; beats stand all over them. */
	for (int i = 0; i < 30; i++) {
		const int64_t end = journal_log_end(&h->logs[0]);

		lab_wall_step_ms += 4 * 60000;
		LAB_UNTIL(journal_log_end(&h->logs[0]) > end + 1);
	}
	(void)house_send(h, 0, &(struct lab_event){ .id = "done3", .entity = "v", .version = "1" });
	LAB_UNTIL(house_outcome(a, 0, "done3") == OUTCOME_APPLIED);
	LAB_UNTIL(last_base(h, 0) > 0);
	LAB_UNTIL(last_base(h, 0) > 10);
	base = last_base(h, 0);
	lock_take(&h->logs[0].lock);
	h->logs[0].journal_first = base - 5;
	lock_give(&h->logs[0].lock);
	b = house_start(h, 1);
	LAB_UNTIL(house_lane(b, 0).journal_next >= journal_log_end(&h->logs[0]));
	LAB_UNTIL(house_outcome(b, 0, "done3") == OUTCOME_APPLIED);
	assert_int_equal(house_version(b, 0, "x"), 7);
	assert_int_equal(house_version(b, 0, "v"), 1);
	assert_int_equal(house_entries(b, 0, OUT_DLQ), 1);
	assert_true(parked_at(b, 0, 2));
	assert_int_equal(crew_failed(b->crew, NULL), ERR_OK);
	house_stop(b, 5000);
	lab_remove(b->dir);
	lab_answer("hold2", HANDLER_DONE, ERR_OK);
	LAB_UNTIL(house_outcome(a, 0, "hold2") == OUTCOME_APPLIED);
	/* Cut off behind the base: something may be missing. */
	house_stop(a, 5000);
	h->logs[0].journal_first = last_base(h, 0) + 1;
	b = house_start(h, 1);
	LAB_UNTIL(crew_failed(b->crew, NULL) != ERR_OK);
	assert_int_equal(crew_failed(b->crew, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.text, "STATE_LOST"));
	house_close(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_crew_works_all_lanes),
		cmocka_unit_test(the_store_is_folded_again),
		cmocka_unit_test(a_lane_is_handed_over),
		cmocka_unit_test(a_zombie_changes_nothing),
		cmocka_unit_test(a_zombie_calls_nobody),
		cmocka_unit_test(what_stands_there_twice_counts_once),
		cmocka_unit_test(silence),
		cmocka_unit_test(an_idle_owner_that_is_gone),
		cmocka_unit_test(a_worker_that_starts_again),
		cmocka_unit_test(a_timer_of_an_idle_owner),
		cmocka_unit_test(what_waits_is_counted),
		cmocka_unit_test(suspects_after_a_takeover),
		cmocka_unit_test(large_events_are_split),
		cmocka_unit_test(what_is_lost_stops_the_program),
		cmocka_unit_test(a_log_without_its_beginning),
		cmocka_unit_test(a_bad_store_is_set_aside),
		cmocka_unit_test(changes_are_asked_anywhere),
		cmocka_unit_test(a_command_outlives_its_owner),
		cmocka_unit_test(nobody_waits_for_brokers_that_are_away),
		cmocka_unit_test(the_journal_stays_bounded),
	};

	return lab_run(tests);
}
