/* queue_kafka_order.c - what the producer of the Kafka backend does not take, or not send, so that
 * nothing goes past a record that failed before its appender knows, against librdkafka's mock
 * cluster. Deliberately not here: appends and completions otherwise (queue_kafka.c).
 */
#include "support/kafka_kit.h"

static void settled(struct kafka_kit *kit, bool spools)
{
	kafka_kit_init(kit, 1);
	kafka_kit_topics(kit);
	kit->opts.spools = spools;
	kafka_kit_open(kit);
	kafka_kit_settle(kit);
}

static struct kafka_producer *producer_of(struct kafka_kit *kit)
{
	return kit->kafka->producers[KAFKA_KIND_EVENTS];
}

/* It would go past what its caller does not know of yet. */
static void what_was_chosen_before_a_give_up_is_refused(void **state)
{
	struct kafka_sink own;
	struct kafka_target target = { KIT_TOPIC, 0, &own, 0 };
	const int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
	struct err err = ERR_INIT;
	struct record *list;
	struct kit_sink seen;
	struct kafka_kit kit;

	(void)state;
	settled(&kit, false);
	kit_sink_init(&seen);
	kafka_sink_open(&own, kit_sink_put, &seen);
	target.give_ups = kafka_producer_give_ups(producer_of(&kit));
	kafka_producer_give_up(producer_of(&kit));
	while (kafka_producer_give_ups(producer_of(&kit)) == target.give_ups) {
		assert_true(kit_now_ms() < deadline);
		kit_pause();
	}
	list = kafka_kit_list(0, 1, 100, 1);
	assert_int_equal(
		kafka_producer_append(producer_of(&kit), &target, list, &err), ERR_UNAVAILABLE);
	target.give_ups = kafka_producer_give_ups(producer_of(&kit));
	assert_int_equal(kafka_producer_append(producer_of(&kit), &target, list, &err), ERR_OK);
	kit_sink_wait(&seen, 1);
	assert_int_equal(kit_sink_at(&seen, 0).result, ERR_OK);
	kafka_sink_close(producer_of(&kit), &own, deadline);
	kit_sink_done(&seen);
	kafka_kit_done(&kit);
}

struct slow_sink {
	struct kafka_producer *producer;
	struct kit_sink seen;
};

/* Slow to learn of a failure, as a busy thread may be; then it does what the spool does. */
static void learn_slowly(void *ctx, struct record *list)
{
	const int64_t until = kit_now_ms() + 300;
	struct slow_sink *sink = ctx;
	bool failed = false;

	for (const struct record *r = list; r; r = r->next)
		failed |= r->result != ERR_OK;
	while (failed && kit_now_ms() < until)
		kit_pause();
	if (failed)
		kafka_producer_give_up(sink->producer);
	kit_sink_put(&sink->seen, list);
}

/* With a spool behind it, a record that failed is not overtaken by those behind it. */
static void what_failed_is_not_overtaken(void **state)
{
	struct kafka_sink own;
	const struct kafka_target target = { KIT_TOPIC, 0, &own, 0 };
	struct err err = ERR_INIT;
	struct slow_sink sink;
	struct kafka_kit kit;

	(void)state;
	settled(&kit, true);
	sink.producer = producer_of(&kit);
	kit_sink_init(&sink.seen);
	kafka_sink_open(&own, learn_slowly, &sink);
	rd_kafka_mock_push_request_errors(
		kit.cluster, KIT_PRODUCE, 1, RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER);
	assert_int_equal(
		kafka_producer_append(sink.producer, &target, kafka_kit_list(0, 10, 100, 1), &err),
		ERR_OK);
	kit_sink_wait(&sink.seen, 10);
	assert_int_equal(kit_sink_at(&sink.seen, 0).result, ERR_OUTCOME_UNKNOWN);
	for (size_t i = 1; i < 10; i++)
		assert_int_equal(kit_sink_at(&sink.seen, i).result, ERR_UNAVAILABLE);
	assert_int_equal(kafka_kit_messages(&kit), 0);
	kafka_sink_close(sink.producer, &own, kit_now_ms() + KIT_WAIT_MS);
	kit_sink_done(&sink.seen);
	kafka_kit_done(&kit);
}

struct eager_sink {
	struct kafka_producer *producer;
	const struct kafka_target *target;
	struct kit_sink seen;
};

/* Appends the next one while the failure of the first is being told, as another thread may. */
static void append_meanwhile(void *ctx, struct record *list)
{
	struct eager_sink *sink = ctx;
	struct record *next = kafka_kit_list(1, 1, 100, 1);
	struct err err = ERR_INIT;

	if (list->result == ERR_OK ||
		kafka_producer_append(sink->producer, sink->target, next, &err) != ERR_OK)
		kit_list_free(next);
	kit_sink_put(&sink->seen, list);
}

static void who_keeps_order_goes_on_when_he_says_so(void **state)
{
	struct kafka_sink own;
	const struct kafka_target target = { KIT_TOPIC, 0, &own, 0 };
	struct eager_sink sink = { .target = &target };
	struct record *list = kafka_kit_list(0, 1, 100, 1);
	struct err err = ERR_INIT;
	struct kafka_kit kit;

	(void)state;
	settled(&kit, false);
	sink.producer = producer_of(&kit);
	kit_sink_init(&sink.seen);
	kafka_sink_open(&own, append_meanwhile, &sink);
	own.keeps_order = true;
	rd_kafka_mock_push_request_errors(
		kit.cluster, KIT_PRODUCE, 1, RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER);
	assert_int_equal(kafka_producer_append(sink.producer, &target, list, &err), ERR_OK);
	kafka_sink_close(sink.producer, &own, kit_now_ms() + KIT_WAIT_MS);
	assert_int_equal(kit_sink_count(&sink.seen), 1);
	assert_int_equal(kit_sink_at(&sink.seen, 0).result, ERR_OUTCOME_UNKNOWN);
	kafka_sink_again(sink.producer, &own);
	list = kafka_kit_list(2, 1, 100, 1);
	assert_int_equal(kafka_producer_append(sink.producer, &target, list, &err), ERR_OK);
	kafka_sink_close(sink.producer, &own, kit_now_ms() + KIT_WAIT_MS);
	assert_int_equal(kit_sink_count(&sink.seen), 2);
	assert_int_equal(kit_sink_at(&sink.seen, 1).number, 2);
	assert_int_equal(kit_sink_at(&sink.seen, 1).result, ERR_OK);
	kit_sink_done(&sink.seen);
	kafka_kit_done(&kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_chosen_before_a_give_up_is_refused),
		cmocka_unit_test(what_failed_is_not_overtaken),
		cmocka_unit_test(who_keeps_order_goes_on_when_he_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
