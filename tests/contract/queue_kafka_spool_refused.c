/* queue_kafka_spool_refused.c - records of the spool that Kafka refuses for what they are, against
 * librdkafka's mock cluster: sent alone, set aside, tried again at the next start; and when there
 * is no room for that. */
#include "support/spool_kit.h"

static void expect_spool(struct house *h, int64_t records, int64_t refused)
{
	const int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
	struct spool_stat stat = stat_of(h);

	while ((stat.records != records || stat.refused != refused) && kit_now_ms() < deadline) {
		kit_pause();
		stat = stat_of(h);
	}
	assert_int_equal(stat.records, records);
	assert_int_equal(stat.refused, refused);
	assert_int_equal(metric_value(metric_series(METRIC_SPOOL_REFUSED, NULL, NULL)), refused);
}

/* `count` records in the log, and a broker that refuses the next so many requests. */
static void house_refusing(struct house *h, size_t count, size_t requests)
{
	house_init(h);
	house_open(h);
	append(h, 0, count);
	expect_results(h, 0, count, ERR_OK);
	for (size_t i = 0; i < requests; i++)
		rd_kafka_mock_push_request_errors(
			h->kit.cluster, KIT_PRODUCE, 1, RD_KAFKA_RESP_ERR_INVALID_RECORD);
	kafka_kit_settle(&h->kit);
}

/* The whole batch of a bad record is refused: alone, those that are good are taken, in order. */
static void what_was_refused_with_others_is_sent_alone(void **state)
{
	struct house h;

	(void)state;
	house_refusing(&h, 40, 3);
	expect_spool(&h, 0, 0);
	assert_int_equal(expect_all(&h, 40), 0);
	house_done(&h);
}

/* Twice the first of each partition that has any: with others (or not), then alone. */
static void what_is_refused_alone_goes_aside_and_the_others_go_on(void **state)
{
	struct kafka_found *found = calloc(1, sizeof(*found));
	size_t missing = 0;
	struct house h;

	(void)state;
	assert_non_null(found);
	house_refusing(&h, 40, 2 * KIT_PARTITIONS);
	expect_spool(&h, 0, 4);
	kafka_kit_look_for(&h.kit, kafka_kit_messages(&h.kit), BODY, found);
	for (size_t i = 0; i < 40; i++)
		missing += found->times[i] == 0;
	assert_int_equal(missing, 4);
	assert_false(found->out_of_order);
	/* The partition takes what comes next on the direct way. */
	append_as(&h, 40, 20, false);
	expect_results(&h, 40, 20, ERR_OK);
	/* Refused again at the next start, and then taken. */
	house_close(&h);
	rd_kafka_mock_push_request_errors(
		h.kit.cluster, KIT_PRODUCE, 1, RD_KAFKA_RESP_ERR_INVALID_RECORD);
	house_open(&h);
	assert_int_equal(stat_of(&h).refused, 4);
	kafka_kit_settle(&h.kit);
	expect_spool(&h, 0, 1);
	house_close(&h);
	house_open(&h);
	kafka_kit_settle(&h.kit);
	expect_spool(&h, 0, 0);
	kafka_kit_look_for(&h.kit, kafka_kit_messages(&h.kit), BODY, found);
	for (size_t i = 0; i < 60; i++)
		assert_true(found->times[i] >= 1);
	free(found);
	house_done(&h);
}

/* What is refused takes a part of the spool's room. Then nothing overtakes, somebody is told, and
 * it goes on as soon as the broker takes what it refused. */
static void without_room_for_what_is_refused_the_others_wait(void **state)
{
	struct house h;
	int64_t deadline;

	(void)state;
	house_init(&h);
	h.opts.segment_bytes = KIB(64);
	h.opts.max_bytes = KIB(512);
	house_open(&h);
	for (uint64_t i = 0; i < 10; i++) {
		struct err err = ERR_INIT;
		struct record *r = kafka_kit_list(i, 1, KIB(30), KEYS);

		r->spools = true;
		assert_int_equal(queue_append(h.queue, STREAM_EVENTS, r, &err), ERR_OK);
	}
	expect_results(&h, 0, 10, ERR_OK);
	for (size_t i = 0; i < 100; i++)
		rd_kafka_mock_push_request_errors(
			h.kit.cluster, KIT_PRODUCE, 1, RD_KAFKA_RESP_ERR_INVALID_RECORD);
	kafka_kit_settle(&h.kit);
	deadline = kit_now_ms() + KIT_WAIT_MS;
	while (!stat_of(&h).is_stuck && kit_now_ms() < deadline)
		kit_pause();
	assert_true(stat_of(&h).is_stuck);
	/* Two segments of two records each. */
	expect_spool(&h, 6, 4);
	rd_kafka_mock_clear_request_errors(h.kit.cluster, KIT_PRODUCE);
	expect_spool(&h, 0, 4);
	assert_false(stat_of(&h).is_stuck);
	house_close(&h);
	house_open(&h);
	kafka_kit_settle(&h.kit);
	expect_spool(&h, 0, 0);
	assert_int_equal(kafka_kit_messages(&h.kit), 10);
	house_done(&h);
}

/* A log that was filled under other limits has what no list may have any more. */
static void a_record_that_outgrew_the_limits_goes_aside(void **state)
{
	struct house h;

	(void)state;
	house_init(&h);
	h.kit.opts.max_record_bytes = KIB(600);
	house_open(&h);
	append(&h, 0, 5);
	expect_results(&h, 0, 5, ERR_OK);
	house_close(&h);
	house_open(&h);
	h.kit.kafka->max_message_bytes = KIB(1) + 50;
	kafka_kit_settle(&h.kit);
	expect_spool(&h, 0, 5);
	house_close(&h);
	house_open(&h);
	kafka_kit_settle(&h.kit);
	expect_spool(&h, 0, 0);
	assert_int_equal(expect_all(&h, 5), 0);
	house_done(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_refused_with_others_is_sent_alone),
		cmocka_unit_test(what_is_refused_alone_goes_aside_and_the_others_go_on),
		cmocka_unit_test(without_room_for_what_is_refused_the_others_wait),
		cmocka_unit_test(a_record_that_outgrew_the_limits_goes_aside),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("queue_kafka_spool_refused", tests, NULL, NULL);
}
