/* queue_kafka_spool.c - the spool in front of Kafka, against librdkafka's mock cluster: Kafka away
 * at the start and under load, order within a partition over both ways, what is left in the log
 * over a crash, limits of bytes and age, records that may not be spooled. Deliberately not here:
 * what Kafka refuses (queue_kafka_spool_refused.c). */
#include "support/spool_kit.h"

#include <signal.h>
#include <sys/wait.h>

#define BROKERS 3

/* ---- tests -------------------------------------------------------------------------------------
 */

static void with_kafka_there_nothing_is_spooled(void **state)
{
	struct stream_stat stat;
	struct house h;

	(void)state;
	house_init(&h);
	house_open(&h);
	kafka_kit_settle(&h.kit);
	for (size_t i = 0; i < 20; i++)
		append_as(&h, i * 10, 10, i % 2 == 0);
	expect_results(&h, 0, 200, ERR_OK);
	assert_int_equal(stat_of(&h).records, 0);
	assert_false(stat_of(&h).is_away);
	queue_stat(h.queue, STREAM_EVENTS, &stat);
	assert_int_equal(stat.appended, 200);
	assert_int_equal(expect_all(&h, 200), 0);
	house_done(&h);
}

static void kafka_away_at_the_start(void **state)
{
	struct metric *gauge = metric_series(METRIC_SPOOL_RECORDS, NULL, NULL);
	struct err err = ERR_INIT;
	struct house h;

	(void)state;
	house_init(&h);
	kafka_down(&h);
	house_open(&h);
	append(&h, 0, 50);
	expect_results(&h, 0, 50, ERR_OK);
	append_as(&h, 9000, 3, false);
	expect_results(&h, 50, 3, ERR_UNAVAILABLE);
	append(&h, 50, 50);
	expect_results(&h, 53, 50, ERR_OK);
	assert_int_equal(stat_of(&h).records, 100);
	assert_int_equal(metric_value(gauge), 100);
	assert_true(stat_of(&h).is_away && stat_of(&h).oldest_ms > 0 && stat_of(&h).bytes > 0);
	assert_int_equal(queue_room(h.queue, STREAM_EVENTS, 1000, &err), ERR_UNREACHABLE);
	queue_spool_covers(h.queue, true);
	assert_int_equal(queue_room(h.queue, STREAM_EVENTS, 1000, &err), ERR_OK);
	kafka_up(&h);
	kafka_kit_settle(&h.kit);
	wait_drained(&h);
	assert_int_equal(metric_value(gauge), 0);
	append_as(&h, 100, 50, false);
	expect_results(&h, 103, 50, ERR_OK);
	assert_int_equal(expect_all(&h, 150), 0);
	house_done(&h);
}

/* A mixed list: each record is answered by what it may. */
static void one_list_may_go_several_ways(void **state)
{
	struct record *list = kafka_kit_list(0, 10, BODY, KEYS);
	struct err err = ERR_INIT;
	struct house h;

	(void)state;
	house_init(&h);
	house_open(&h);
	for (struct record *r = list; r; r = r->next) {
		struct kit_record *k = r->owner;

		r->spools = k->number % 2 == 0;
	}
	assert_int_equal(queue_append(h.queue, STREAM_EVENTS, list, &err), ERR_OK);
	kit_sink_wait(&h.sink, 10);
	for (size_t i = 0; i < 10; i++) {
		struct kit_done done = kit_sink_at(&h.sink, i);

		assert_int_equal(done.result, done.number % 2 == 0 ? ERR_OK : ERR_UNAVAILABLE);
	}
	house_done(&h);
}

/* A record that may not be spooled comes every 20 ms, always the same one. */
static void trickle(struct house *h, uint64_t number, int64_t ms)
{
	const int64_t until = kit_now_ms() + ms;

	while (kit_now_ms() < until) {
		append_as(h, number, 1, false);
		pause_ms(20);
	}
}

/* It comes until it is taken; on a slow machine its time may be over first. */
static void expect_direct(struct house *h, uint64_t number)
{
	const int64_t deadline = kit_now_ms() + KIT_WAIT_MS;

	for (size_t at = kit_sink_count(&h->sink);;) {
		trickle(h, number, 20);
		for (; at < kit_sink_count(&h->sink); at++) {
			if (kit_sink_at(&h->sink, at).result == ERR_OK)
				return;
			assert_int_equal(kit_sink_at(&h->sink, at).result, ERR_UNAVAILABLE);
		}
		assert_true(kit_now_ms() < deadline);
	}
}

/* Records that were sent before anybody knew fail and are spooled, those behind them too. */
static void kafka_goes_and_comes_under_load(void **state)
{
	uint64_t number = 0;
	struct house h;

	(void)state;
	house_init(&h);
	h.kit.opts.delivery_timeout_ms = 600;
	house_open(&h);
	kafka_kit_settle(&h.kit);
	for (int round = 0; round < 3; round++) {
		/* Times that meet the delivery timeout in all ways. */
		static const int64_t down_ms[] = { 300, 700, 1700 };
		int64_t until;

		for (until = kit_now_ms() + 300; kit_now_ms() < until; number += 5) {
			append(&h, number, 5);
			pause_ms(5);
		}
		kafka_down(&h);
		for (until = kit_now_ms() + down_ms[round]; kit_now_ms() < until; number += 5) {
			append(&h, number, 5);
			pause_ms(5);
		}
		kafka_up(&h);
		for (until = kit_now_ms() + 700; kit_now_ms() < until; number += 5) {
			append(&h, number, 5);
			pause_ms(5);
		}
	}
	expect_results(&h, 0, number, ERR_OK);
	wait_drained(&h);
	(void)expect_all(&h, number);
	/* The direct way is taken again: what may not be spooled is taken. */
	wait_away(&h, false);
	expect_direct(&h, number);
	(void)expect_all(&h, number + 1);
	house_done(&h);
}

/* Their times are over again and again while the producer is made anew, and cost it nothing. */
static void a_trickle_does_not_keep_the_producer_away(void **state)
{
	struct house h;

	(void)state;
	house_init(&h);
	h.kit.opts.delivery_timeout_ms = 300;
	house_open(&h);
	kafka_kit_settle(&h.kit);
	kafka_down(&h);
	trickle(&h, 0, 4000);
	kafka_up(&h);
	expect_direct(&h, 0);
	house_done(&h);
}

/* What a new one needs first, an id and a connection to each leader, may take longer than a record
 * is given: it would be made anew for ever. */
static void a_cold_producer_has_time_to_become_warm(void **state)
{
	struct house h;

	(void)state;
	house_init_at(&h, kit_dir(), BROKERS);
	h.kit.opts.delivery_timeout_ms = 300;
	house_open(&h);
	kafka_kit_settle(&h.kit);
	kafka_down(&h);
	trickle(&h, 0, 1000);
	for (int32_t broker = 1; broker <= BROKERS; broker++)
		(void)rd_kafka_mock_broker_set_rtt(h.kit.cluster, broker, 130);
	kafka_up(&h);
	expect_direct(&h, 0);
	house_done(&h);
}

/* A partition that never rests comes back to the direct way nevertheless, and nobody overtakes. */
static void a_busy_partition_returns(void **state)
{
	bool direct = false;
	uint64_t number = 0;
	size_t refused = 0;
	int64_t deadline;
	struct house h;

	(void)state;
	house_init(&h);
	house_open(&h);
	for (; number < 500; number += 50)
		append(&h, number, 50);
	kafka_kit_settle(&h.kit);
	deadline = kit_now_ms() + KIT_WAIT_MS;
	while (!direct && kit_now_ms() < deadline && number < KIT_NUMBERS_MAX - 100) {
		append(&h, number, 10);
		number += 10;
		kit_sink_wait(&h.sink, number > 100 ? number - 100 : 0);
		direct = stat_of(&h).records == 0;
	}
	assert_true(direct);
	expect_results(&h, 0, number, ERR_OK);
	append_as(&h, number, 10, false);
	kit_sink_wait(&h.sink, number + 10);
	for (size_t i = number; i < number + 10; i++)
		refused += kit_sink_at(&h.sink, i).result != ERR_OK;
	assert_int_equal(refused, 0);
	(void)expect_all(&h, number + 10);
	house_done(&h);
}

/* What is left in the log takes two rounds, or three. */
static void a_distant_broker_is_returned_to(void **state)
{
	const int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
	uint64_t number = 50;
	struct house h;

	(void)state;
	house_init(&h);
	(void)rd_kafka_mock_broker_set_rtt(h.kit.cluster, 1, 300);
	house_open(&h);
	append(&h, 0, number);
	kafka_kit_settle(&h.kit);
	for (; stat_of(&h).records > 0 && kit_now_ms() < deadline; number += 5) {
		append(&h, number, 5);
		pause_ms(10);
	}
	assert_int_equal(stat_of(&h).records, 0);
	expect_results(&h, 0, number, ERR_OK);
	house_done(&h);
}

static void what_may_not_be_spooled_fails_as_before(void **state)
{
	struct house h;

	(void)state;
	house_init(&h);
	house_open(&h);
	kafka_kit_settle(&h.kit);
	kafka_down(&h);
	append_as(&h, 0, 10, false);
	expect_results(&h, 0, 10, ERR_UNAVAILABLE);
	assert_int_equal(stat_of(&h).records, 0);
	house_done(&h);
}

/* A record that the brokers refuse for its size would never leave the log. */
static void a_refusal_is_not_spooled(void **state)
{
	struct err err = ERR_INIT;
	struct record *list;
	struct house h;

	(void)state;
	house_init(&h);
	house_open(&h);
	kafka_kit_settle(&h.kit);
	rd_kafka_mock_push_request_errors(
		h.kit.cluster, KIT_PRODUCE, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
	append(&h, 0, 1);
	expect_results(&h, 0, 1, ERR_UNAVAILABLE);
	assert_int_equal(stat_of(&h).records, 0);
	list = kafka_kit_list(1, 2, BODY, KEYS);
	list->next->body.len = MIB(2);
	assert_int_equal(queue_append(h.queue, STREAM_EVENTS, list, &err), ERR_LIMIT);
	kit_list_free(list);
	house_done(&h);
}

static void a_result_that_is_not_known_is_spooled(void **state)
{
	struct house h;

	(void)state;
	house_init(&h);
	house_open(&h);
	kafka_kit_settle(&h.kit);
	assert_int_equal(
		rd_kafka_mock_broker_push_request_error_rtts(h.kit.cluster, 1, KIT_PRODUCE, 2,
			RD_KAFKA_RESP_ERR_NO_ERROR, 3000, RD_KAFKA_RESP_ERR_NO_ERROR, 3000),
		RD_KAFKA_RESP_ERR_NO_ERROR);
	append(&h, 0, 30);
	expect_results(&h, 0, 30, ERR_OK);
	wait_drained(&h);
	(void)expect_all(&h, 30);
	house_done(&h);
}

/* The producer's own queue is full: what is in it goes first. */
static void a_full_producer_spools(void **state)
{
	struct house h;

	(void)state;
	house_init(&h);
	kafka_kit_property(&h.kit, "queue.buffering.max.messages", "100");
	house_open(&h);
	kafka_kit_settle(&h.kit);
	(void)rd_kafka_mock_broker_set_rtt(h.kit.cluster, 1, 300);
	for (size_t i = 0; i < 20; i++)
		append(&h, i * 20, 20);
	(void)rd_kafka_mock_broker_set_rtt(h.kit.cluster, 1, 0);
	expect_results(&h, 0, 400, ERR_OK);
	wait_drained(&h);
	(void)expect_all(&h, 400);
	house_done(&h);
}

static void what_is_left_is_there_after_a_restart(void **state)
{
	struct house h;

	(void)state;
	house_init(&h);
	kafka_down(&h);
	house_open(&h);
	append(&h, 0, 300);
	expect_results(&h, 0, 300, ERR_OK);
	house_close(&h);
	house_open(&h);
	assert_int_equal(stat_of(&h).records, 300);
	append(&h, 300, 100);
	expect_results(&h, 0, 100, ERR_OK);
	kafka_up(&h);
	kafka_kit_settle(&h.kit);
	/* All partitions drain before anything goes past the log. */
	append(&h, 400, 100);
	expect_results(&h, 100, 100, ERR_OK);
	wait_drained(&h);
	assert_int_equal(expect_all(&h, 500), 0);
	house_close(&h);
	/* Nothing is sent again: the position is kept. */
	house_open(&h);
	kafka_kit_settle(&h.kit);
	assert_int_equal(stat_of(&h).records, 0);
	append(&h, 500, 10);
	expect_results(&h, 0, 10, ERR_OK);
	assert_int_equal(expect_all(&h, 510), 0);
	house_done(&h);
}

/* Spools for ever over a directory, far from any broker, and says how much is durable. */
static void spool_until_killed(char *dir, int to_parent)
{
	struct house h = { .dir = dir };

	house_options(&h);
	h.kit.opts = (struct kafka_opts){
		.topic = KIT_TOPIC,
		.group = "kit",
		.writes_events = true,
		.spools = true,
		.max_record_bytes = KIB(600),
		.clock = clock_system(),
	};
	kafka_kit_property(&h.kit, "bootstrap.servers", "127.0.0.1:9");
	house_open(&h);
	for (uint64_t number = 0;; number += 10) {
		append(&h, number, 10);
		kit_sink_wait(&h.sink, number + 10);
		expect_results(&h, number, 10, ERR_OK);
		if (write(to_parent, &number, sizeof(number)) != sizeof(number))
			_exit(1);
	}
}

/* Forked while this process has no threads. */
static void a_killed_process_loses_nothing(void **state)
{
	uint64_t told = 0;
	struct house h;
	int pipe_fds[2], status;
	char *dir = kit_dir();
	pid_t child;

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		spool_until_killed(dir, pipe_fds[1]);
	while (told < 200)
		assert_int_equal(read(pipe_fds[0], &told, sizeof(told)), sizeof(told));
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
	house_init_at(&h, dir, 1);
	house_open(&h);
	assert_true(stat_of(&h).records >= (int64_t)told);
	kafka_kit_settle(&h.kit);
	wait_drained(&h);
	(void)expect_all(&h, told);
	house_done(&h);
}

static void a_second_process_is_refused(void **state)
{
	struct err err = ERR_INIT;
	struct queue *other = NULL;
	struct house h;

	(void)state;
	house_init(&h);
	house_open(&h);
	assert_int_equal(queue_spool_open(h.kit.kafka, &h.opts, &other, &err), ERR_LOCKED);
	assert_null(other);
	house_done(&h);
}

static void a_full_spool_refuses_and_recovers(void **state)
{
	size_t appended = 0, refused = 0, kept;
	struct err err = ERR_INIT;
	int64_t deadline;
	struct house h;

	(void)state;
	house_init(&h);
	h.opts.segment_bytes = KIB(64);
	h.opts.max_bytes = KIB(256);
	kafka_down(&h);
	house_open(&h);
	while (refused == 0 && appended < KIT_NUMBERS_MAX) {
		append(&h, appended, 20);
		kit_sink_wait(&h.sink, appended + 20);
		for (size_t i = appended; i < appended + 20; i++)
			refused += kit_sink_at(&h.sink, i).result == ERR_UNAVAILABLE;
		appended += 20;
	}
	assert_true(refused > 0);
	queue_spool_covers(h.queue, true);
	kept = appended - refused;
	assert_int_equal(stat_of(&h).records, kept);
	assert_true(stat_of(&h).bytes <= (int64_t)KIB(256));
	deadline = kit_now_ms() + KIT_WAIT_MS;
	while (queue_room(h.queue, STREAM_EVENTS, 100, &err) == ERR_OK && kit_now_ms() < deadline)
		kit_pause();
	assert_int_equal(queue_room(h.queue, STREAM_EVENTS, 100, &err), ERR_FULL);
	assert_non_null(strstr(err.text, "/spool/max_bytes"));
	kafka_up(&h);
	kafka_kit_settle(&h.kit);
	wait_drained(&h);
	(void)expect_all(&h, kept);
	append(&h, appended, 20);
	expect_results(&h, appended, 20, ERR_OK);
	house_done(&h);
}

static void over_age_refuses_and_is_still_drained(void **state)
{
	struct metric *late = metric_series(METRIC_SPOOL_LATE, NULL, NULL);
	struct metric *oldest = metric_series(METRIC_SPOOL_OLDEST, NULL, NULL);
	const int64_t before = metric_value(late);
	struct err err = ERR_INIT;
	int64_t deadline;
	struct house h;

	(void)state;
	house_init(&h);
	h.opts.max_age_ms = 60000;
	kafka_down(&h);
	house_open(&h);
	append(&h, 0, 10);
	expect_results(&h, 0, 10, ERR_OK);
	atomic_store(&h.clock.ahead_ms, 61000);
	deadline = kit_now_ms() + KIT_WAIT_MS;
	while (metric_value(oldest) < 60 && kit_now_ms() < deadline)
		kit_pause();
	assert_true(metric_value(oldest) >= 60);
	queue_spool_covers(h.queue, true);
	assert_int_equal(queue_room(h.queue, STREAM_EVENTS, 100, &err), ERR_FULL);
	append(&h, 9000, 10);
	expect_results(&h, 10, 10, ERR_UNAVAILABLE);
	kafka_up(&h);
	kafka_kit_settle(&h.kit);
	wait_drained(&h);
	assert_int_equal(metric_value(late) - before, 10);
	assert_int_equal(expect_all(&h, 10), 0);
	append(&h, 10, 10);
	expect_results(&h, 20, 10, ERR_OK);
	house_done(&h);
}

/* What the drainer's producer gives back is sent again, before anything newer. */
static void the_drainer_does_not_give_up(void **state)
{
	struct house h;

	(void)state;
	house_init(&h);
	house_open(&h);
	append(&h, 0, 20);
	expect_results(&h, 0, 20, ERR_OK);
	rd_kafka_mock_push_request_errors(h.kit.cluster, KIT_PRODUCE, 4,
		RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
		RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
		RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
		RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	kafka_kit_settle(&h.kit);
	wait_drained(&h);
	(void)expect_all(&h, 20);
	house_done(&h);
}

/* Closing while records are on their way and Kafka is away: each is completed once. */
static void closing_leaves_the_rest_in_the_log(void **state)
{
	struct house h;

	(void)state;
	house_init(&h);
	house_open(&h);
	kafka_kit_settle(&h.kit);
	append(&h, 0, 20);
	expect_results(&h, 0, 20, ERR_OK);
	kafka_down(&h);
	append(&h, 20, 40);
	queue_close(&h.queue);
	assert_int_equal(kit_sink_count(&h.sink), 60);
	for (size_t i = 20; i < 60; i++)
		assert_int_equal(kit_sink_at(&h.sink, i).result, ERR_OK);
	house_close(&h);
	kafka_up(&h);
	house_open(&h);
	kafka_kit_settle(&h.kit);
	wait_drained(&h);
	(void)expect_all(&h, 60);
	house_done(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_kafka_there_nothing_is_spooled),
		cmocka_unit_test(kafka_away_at_the_start),
		cmocka_unit_test(one_list_may_go_several_ways),
		cmocka_unit_test(kafka_goes_and_comes_under_load),
		cmocka_unit_test(a_trickle_does_not_keep_the_producer_away),
		cmocka_unit_test(a_cold_producer_has_time_to_become_warm),
		cmocka_unit_test(a_busy_partition_returns),
		cmocka_unit_test(a_distant_broker_is_returned_to),
		cmocka_unit_test(what_may_not_be_spooled_fails_as_before),
		cmocka_unit_test(a_refusal_is_not_spooled),
		cmocka_unit_test(a_result_that_is_not_known_is_spooled),
		cmocka_unit_test(a_full_producer_spools),
		cmocka_unit_test(what_is_left_is_there_after_a_restart),
		cmocka_unit_test(a_killed_process_loses_nothing),
		cmocka_unit_test(a_second_process_is_refused),
		cmocka_unit_test(a_full_spool_refuses_and_recovers),
		cmocka_unit_test(over_age_refuses_and_is_still_drained),
		cmocka_unit_test(the_drainer_does_not_give_up),
		cmocka_unit_test(closing_leaves_the_rest_in_the_log),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("queue_kafka_spool", tests, NULL, NULL);
}
