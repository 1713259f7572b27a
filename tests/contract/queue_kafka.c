/* queue_kafka.c - the ingress half over Kafka, against librdkafka's mock cluster: appends and their
 * completions, order within a partition, what errors become, fatal errors, limits, close.
 * Deliberately not here: what must not go past a failure (queue_kafka_order.c), topics and their
 * settings (queue_kafka_broker.c, on a real broker), lanes.
 */
#include "support/kafka_kit.h"

#define BODY 100

struct house {
	struct kafka_kit kit;
	struct kit_sink sink;
	struct queue *queue;
};

static void house_open(struct house *h)
{
	struct err err = ERR_INIT;

	kit_sink_init(&h->sink);
	kafka_kit_open(&h->kit);
	assert_int_equal(
		queue_kafka_ingress(h->kit.kafka, kit_sink_put, &h->sink, &h->queue, &err), ERR_OK);
}

static void house_settled(struct house *h)
{
	kafka_kit_init(&h->kit, 1);
	kafka_kit_topics(&h->kit);
	house_open(h);
	kafka_kit_settle(&h->kit);
}

static void house_done(struct house *h)
{
	queue_close(&h->queue);
	kafka_kit_done(&h->kit);
	kit_sink_done(&h->sink);
}

static void append(struct house *h, uint64_t number, size_t count, unsigned keys)
{
	struct err err = ERR_INIT;

	if (queue_append(h->queue, STREAM_EVENTS, kafka_kit_list(number, count, BODY, keys),
		    &err) != ERR_OK)
		fail_msg("%s", err.text);
}

static void expect_results(struct house *h, size_t from, size_t count, enum err_code result)
{
	kit_sink_wait(&h->sink, from + count);
	for (size_t i = from; i < from + count; i++)
		assert_int_equal(kit_sink_at(&h->sink, i).result, result);
}

static struct kafka_producer *producer_of(struct house *h)
{
	return h->kit.kafka->producers[KAFKA_KIND_EVENTS];
}

/* All later calls of its handle fail, as after librdkafka's issue 4438. */
static void break_producer(struct house *h)
{
	struct kafka_producer *p = producer_of(h);

	lock_take(&p->lock);
	assert_int_equal(rd_kafka_test_fatal_error(
				 p->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "a test"),
		RD_KAFKA_RESP_ERR_NO_ERROR);
	lock_give(&p->lock);
}

/* ---- tests -------------------------------------------------------------------------------------
 */

static void appended_records_complete_and_are_there(void **state)
{
	struct metric *appends =
		metric_series(METRIC_QUEUE_APPENDS, stream_name(STREAM_EVENTS), NULL);
	int64_t before = metric_value(appends), last[KIT_PARTITIONS] = { -1, -1, -1, -1 };
	struct stream_stat stat;
	struct kafka_found found;
	struct house h;

	(void)state;
	house_settled(&h);
	for (size_t i = 0; i < 30; i++)
		append(&h, i * 10, 10, 17);
	expect_results(&h, 0, 300, ERR_OK);
	/* Offsets of a partition complete in order. */
	for (size_t i = 0; i < 300; i++) {
		struct kit_done done = kit_sink_at(&h.sink, i);
		char key[32];
		int32_t p;

		(void)snprintf(
			key, sizeof(key), "tenant/%llu", (unsigned long long)(done.number % 17));
		p = kafka_partition(slice_str(key), KIT_PARTITIONS);
		assert_int_equal(done.offset, last[p] + 1);
		assert_true(done.time_ms > 0);
		last[p] = done.offset;
	}
	kafka_kit_look_for(&h.kit, 300, BODY, &found);
	assert_false(found.out_of_order);
	for (size_t i = 0; i < 300; i++)
		assert_int_equal(found.times[i], 1);
	queue_stat(h.queue, STREAM_EVENTS, &stat);
	assert_int_equal(stat.appended, 300);
	assert_true(stat.syncs > 0 && stat.syncs <= 300);
	assert_int_equal(metric_value(appends) - before, 300);
	house_done(&h);
}

static void other_streams_are_not_open(void **state)
{
	struct record *list = kafka_kit_list(0, 1, 10, 1);
	struct queue_batch batch;
	struct stream_stat stat;
	struct house h;

	(void)state;
	house_settled(&h);
	for (size_t i = 0; i < STREAM_COUNT; i++) {
		struct err err = ERR_INIT;

		if (i != STREAM_EVENTS)
			assert_int_equal(
				queue_append(h.queue, (enum stream)i, list, &err), ERR_STOPPED);
		err_clear(&err);
		assert_int_equal(
			queue_read(h.queue, (enum stream)i, 0, 1, 1, 0, &batch, &err), ERR_STOPPED);
		queue_stat(h.queue, (enum stream)i, &stat);
		assert_int_equal(stat.appended, 0);
	}
	assert_false(queue_keeps_journal(h.queue));
	kit_list_free(list);
	house_done(&h);
}

static void bodies_of_all_sizes_and_no_headers(void **state)
{
	struct err err = ERR_INIT;
	struct kit_record *bare;
	struct house h;

	(void)state;
	house_settled(&h);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(queue_append(h.queue, STREAM_EVENTS,
					 kafka_kit_list(i, 1, i * KIB(300), 1), &err),
			ERR_OK);
	bare = kafka_kit_record(3, "", 5);
	bare->record.headers = SLICE_EMPTY;
	assert_int_equal(queue_append(h.queue, STREAM_EVENTS, &bare->record, &err), ERR_OK);
	expect_results(&h, 0, 4, ERR_OK);
	house_done(&h);
}

/* Nothing is taken: the list is still the appender's. */
static void refuse(struct house *h, struct record *list, enum err_code code)
{
	struct err err = ERR_INIT;

	assert_int_equal(queue_append(h->queue, STREAM_EVENTS, list, &err), code);
	assert_true(err.text[0] != '\0');
	kit_list_free(list);
}

static void a_list_is_refused_as_a_whole(void **state)
{
	struct record *list = kafka_kit_list(0, 3, 10, 1);
	struct kit_record *broken = list->next->owner;
	struct house h;

	(void)state;
	house_settled(&h);
	list->next->next->body.len = MIB(2);
	refuse(&h, list, ERR_LIMIT);
	list = kafka_kit_list(0, 3, 10, 1);
	broken = list->next->owner;
	broken->bytes[broken->record.key.len] = 3; /* one header more than there are */
	refuse(&h, list, ERR_SYNTAX);
	append(&h, 7, 1, 1);
	expect_results(&h, 0, 1, ERR_OK);
	assert_int_equal(kit_sink_count(&h.sink), 1);
	assert_int_equal(kit_sink_at(&h.sink, 0).offset, 0);
	house_done(&h);
}

static void errors_that_pass_are_not_seen(void **state)
{
	struct kafka_found found;
	struct house h;

	(void)state;
	house_settled(&h);
	rd_kafka_mock_push_request_errors(h.kit.cluster, KIT_PRODUCE, 4,
		RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
		RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR__TRANSPORT);
	for (size_t i = 0; i < 20; i++)
		append(&h, i * 5, 5, 3);
	expect_results(&h, 0, 100, ERR_OK);
	/* The mock keeps what was sent twice. */
	kafka_kit_look_for(&h.kit, kafka_kit_messages(&h.kit), BODY, &found);
	for (size_t i = 0; i < 100; i++)
		assert_true(found.times[i] >= 1);
	house_done(&h);
}

/* A broker that does not know a producer takes any request of it as the first one, and then calls
 * the one before that, which it had refused, a duplicate. The mock takes requests in any order, so
 * the order of the records tells whether there was a second request behind the first. */
static void nothing_is_sent_behind_the_first_record_of_a_producer(void **state)
{
	struct kafka_found found;
	struct house h;

	(void)state;
	house_settled(&h);
	for (size_t round = 0; round < 5; round++) {
		rd_kafka_mock_push_request_errors(h.kit.cluster, KIT_PRODUCE, 2,
			RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
			RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
		for (size_t i = 0; i < 20; i++)
			append(&h, round * 20 + i, 1, 1);
		expect_results(&h, round * 20, 20, ERR_OK);
		/* The next one is a fresh producer again. */
		break_producer(&h);
	}
	kafka_kit_look_for(&h.kit, 100, BODY, &found);
	assert_false(found.out_of_order);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(found.times[i], 1);
	house_done(&h);
}

static void a_duplicate_without_an_offset_is_not_known(void **state)
{
	struct house h;

	(void)state;
	house_settled(&h);
	rd_kafka_mock_push_request_errors(
		h.kit.cluster, KIT_PRODUCE, 1, RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER);
	append(&h, 0, 1, 1);
	expect_results(&h, 0, 1, ERR_OUTCOME_UNKNOWN);
	append(&h, 1, 1, 1);
	expect_results(&h, 1, 1, ERR_OK);
	house_done(&h);
}

/* The library counts on from there: the second would have offset 0. */
static void nor_are_those_behind_it_in_its_request(void **state)
{
	struct house h;

	(void)state;
	kafka_kit_init(&h.kit, 1);
	kafka_kit_topics(&h.kit);
	kafka_kit_property(&h.kit, "linger.ms", "20"); /* so that it is one request */
	house_open(&h);
	kafka_kit_settle(&h.kit);
	append(&h, 0, 1, 1);
	expect_results(&h, 0, 1, ERR_OK);
	rd_kafka_mock_push_request_errors(
		h.kit.cluster, KIT_PRODUCE, 1, RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER);
	append(&h, 1, 10, 1);
	expect_results(&h, 1, 10, ERR_OUTCOME_UNKNOWN);
	append(&h, 11, 10, 1);
	expect_results(&h, 11, 10, ERR_OK);
	house_done(&h);
}

static void a_broker_that_refuses_a_size_loses_that_record_alone(void **state)
{
	struct err err = ERR_INIT;
	struct house h;

	(void)state;
	house_settled(&h);
	rd_kafka_mock_push_request_errors(
		h.kit.cluster, KIT_PRODUCE, 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
	append(&h, 0, 1, 1);
	expect_results(&h, 0, 1, ERR_UNAVAILABLE);
	/* It is told for a while, then forgotten; a success ends it at once. */
	assert_int_equal(kafka_ready(h.kit.kafka, &err), ERR_LIMIT);
	append(&h, 1, 1, 1);
	expect_results(&h, 1, 1, ERR_OK);
	err_clear(&err);
	assert_int_equal(kafka_ready(h.kit.kafka, &err), ERR_OK);
	house_done(&h);
}

static void without_a_broker_a_record_surely_is_not_there(void **state)
{
	struct house h;

	(void)state;
	kafka_kit_init(&h.kit, 1);
	kafka_kit_topics(&h.kit);
	h.kit.opts.delivery_timeout_ms = 1500;
	house_open(&h);
	kafka_kit_settle(&h.kit);
	(void)rd_kafka_mock_broker_set_down(h.kit.cluster, -1);
	append(&h, 0, 10, 5);
	expect_results(&h, 0, 10, ERR_UNAVAILABLE);
	(void)rd_kafka_mock_broker_set_up(h.kit.cluster, -1);
	append(&h, 10, 10, 5);
	expect_results(&h, 10, 10, ERR_OK);
	house_done(&h);
}

static void an_answer_that_does_not_come_is_not_known(void **state)
{
	struct house h;

	(void)state;
	kafka_kit_init(&h.kit, 1);
	kafka_kit_topics(&h.kit);
	h.kit.opts.delivery_timeout_ms = 1500;
	house_open(&h);
	kafka_kit_settle(&h.kit);
	assert_int_equal(
		rd_kafka_mock_broker_push_request_error_rtts(h.kit.cluster, 1, KIT_PRODUCE, 2,
			RD_KAFKA_RESP_ERR_NO_ERROR, 30000, RD_KAFKA_RESP_ERR_NO_ERROR, 30000),
		RD_KAFKA_RESP_ERR_NO_ERROR);
	append(&h, 0, 3, 1);
	kit_sink_wait(&h.sink, 3);
	for (size_t i = 0; i < 3; i++) {
		const struct kit_done done = kit_sink_at(&h.sink, i);

		/* What waited for the first one never left. */
		assert_int_equal(
			done.result, done.number == 0 ? ERR_OUTCOME_UNKNOWN : ERR_UNAVAILABLE);
	}
	house_done(&h);
}

/* While answers are slow, the producer breaks: everything is sent again by the next one. */
static void a_fatal_error_makes_a_new_producer(void **state)
{
	struct metric *renewals = metric_series(METRIC_KAFKA_RENEWALS, "events", NULL);
	int64_t before = metric_value(renewals);
	struct kafka_found found;
	struct house h;
	size_t messages;

	(void)state;
	house_settled(&h);
	append(&h, 0, 10, 7);
	expect_results(&h, 0, 10, ERR_OK);
	(void)rd_kafka_mock_broker_set_rtt(h.kit.cluster, 1, 300);
	for (size_t i = 1; i <= 20; i++)
		append(&h, i * 10, 10, 7);
	break_producer(&h);
	for (size_t i = 21; i <= 40; i++)
		append(&h, i * 10, 10, 7);
	(void)rd_kafka_mock_broker_set_rtt(h.kit.cluster, 1, 0);
	expect_results(&h, 10, 400, ERR_OK);
	assert_int_equal(metric_value(renewals) - before, 1);
	/* The mock keeps what was sent twice. In the order of their first copies nothing overtook.
	 */
	messages = kafka_kit_messages(&h.kit);
	assert_true(messages >= 410);
	kafka_kit_look_for(&h.kit, messages, BODY, &found);
	assert_false(found.out_of_order);
	for (size_t i = 0; i < 410; i++)
		assert_true(found.times[i] >= 1);
	house_done(&h);
}

/* The same, with the error that real brokers cause. They refuse what comes behind it too; the mock,
 * which looks at no sequence, may take it, so nothing is said here of the order. */
static void a_lost_sequence_is_fatal_and_survived(void **state)
{
	struct metric *renewals = metric_series(METRIC_KAFKA_RENEWALS, "events", NULL);
	int64_t before = metric_value(renewals);
	struct kafka_found found;
	struct house h;

	(void)state;
	house_settled(&h);
	append(&h, 0, 10, 1);
	expect_results(&h, 0, 10, ERR_OK);
	rd_kafka_mock_push_request_errors(
		h.kit.cluster, KIT_PRODUCE, 1, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
	append(&h, 10, 10, 1);
	append(&h, 20, 10, 1);
	expect_results(&h, 10, 20, ERR_OK);
	assert_true(metric_value(renewals) > before);
	kafka_kit_look_for(&h.kit, kafka_kit_messages(&h.kit), BODY, &found);
	for (size_t i = 0; i < 30; i++)
		assert_true(found.times[i] >= 1);
	house_done(&h);
}

/* Broken while no broker answers: what may be there stays unclear to the end. */
static void a_fatal_error_without_a_broker_ends_at_the_deadline(void **state)
{
	struct house h;

	(void)state;
	kafka_kit_init(&h.kit, 1);
	kafka_kit_topics(&h.kit);
	h.kit.opts.delivery_timeout_ms = 1500;
	house_open(&h);
	kafka_kit_settle(&h.kit);
	append(&h, 0, 1, 1);
	expect_results(&h, 0, 1, ERR_OK);
	(void)rd_kafka_mock_broker_set_down(h.kit.cluster, -1);
	break_producer(&h);
	append(&h, 1, 10, 1);
	expect_results(&h, 1, 10, ERR_UNAVAILABLE);
	(void)rd_kafka_mock_broker_set_up(h.kit.cluster, -1);
	append(&h, 11, 1, 1);
	expect_results(&h, 11, 1, ERR_OK);
	house_done(&h);
}

static void a_full_queue_refuses(void **state)
{
	struct err err = ERR_INIT;
	struct house h;

	(void)state;
	kafka_kit_init(&h.kit, 1);
	kafka_kit_topics(&h.kit);
	kafka_kit_property(&h.kit, "queue.buffering.max.messages", "10");
	h.kit.opts.delivery_timeout_ms = 1500;
	house_open(&h);
	kafka_kit_settle(&h.kit);
	(void)rd_kafka_mock_broker_set_down(h.kit.cluster, -1);
	append(&h, 0, 8, 1);
	refuse(&h, kafka_kit_list(8, 3, 10, 1), ERR_FULL);
	append(&h, 8, 2, 1);
	refuse(&h, kafka_kit_list(10, 1, 10, 1), ERR_FULL);
	assert_int_equal(kafka_producer_room(producer_of(&h), 1, &err), ERR_FULL);
	expect_results(&h, 0, 10, ERR_UNAVAILABLE);
	(void)rd_kafka_mock_broker_set_up(h.kit.cluster, -1);
	append(&h, 10, 10, 1);
	expect_results(&h, 10, 10, ERR_OK);
	house_done(&h);
}

static void close_sends_what_it_can(void **state)
{
	struct house h;

	(void)state;
	house_settled(&h);
	(void)rd_kafka_mock_broker_set_rtt(h.kit.cluster, 1, 200);
	for (size_t i = 0; i < 50; i++)
		append(&h, i * 10, 10, 7);
	queue_close(&h.queue);
	assert_int_equal(kit_sink_count(&h.sink), 500);
	expect_results(&h, 0, 500, ERR_OK);
	house_done(&h);
}

/* A part that closes gives its records up in time; the producer lives on. */
static void close_completes_what_it_cannot_send(void **state)
{
	struct kafka_sink own;
	const struct kafka_target target = { KIT_TOPIC, 0, &own, 0 };
	struct err err = ERR_INIT;
	struct kit_sink seen;
	int64_t before;
	struct house h;

	(void)state;
	kafka_kit_init(&h.kit, 1);
	kafka_kit_topics(&h.kit);
	/* The mock answers a connection in order: what comes later waits for this, or for another.
	 */
	kafka_kit_property(&h.kit, "socket.timeout.ms", "500");
	house_open(&h);
	kafka_kit_settle(&h.kit);
	append(&h, 0, 1, 1);
	expect_results(&h, 0, 1, ERR_OK);
	kit_sink_init(&seen);
	kafka_sink_open(&own, kit_sink_put, &seen);
	(void)rd_kafka_mock_broker_push_request_error_rtts(
		h.kit.cluster, 1, KIT_PRODUCE, 1, RD_KAFKA_RESP_ERR_NO_ERROR, 30000);
	before = kit_now_ms();
	assert_int_equal(kafka_producer_append(
				 producer_of(&h), &target, kafka_kit_list(1, 10, 100, 1), &err),
		ERR_OK);
	kafka_sink_close(producer_of(&h), &own, before + 300);
	assert_int_equal(kit_sink_count(&seen), 10);
	assert_true(kit_now_ms() < before + 2500);
	for (size_t i = 0; i < 10; i++)
		assert_int_not_equal(kit_sink_at(&seen, i).result, ERR_OK);
	append(&h, 11, 5, 1);
	expect_results(&h, 1, 5, ERR_OK);
	kit_sink_done(&seen);
	house_done(&h);
}

static void before_it_is_settled_nothing_is_taken(void **state)
{
	struct err err = ERR_INIT;
	struct house h;
	int32_t partitions = -1;

	(void)state;
	kafka_kit_init(&h.kit, 1);
	kafka_kit_topics(&h.kit);
	(void)rd_kafka_mock_broker_set_down(h.kit.cluster, -1);
	house_open(&h); /* needs no broker */
	assert_int_equal(kafka_ready(h.kit.kafka, &err), ERR_UNREACHABLE);
	refuse(&h, kafka_kit_list(0, 1, 10, 1), ERR_UNREACHABLE);
	err_clear(&err);
	assert_int_not_equal(
		kafka_settle(h.kit.kafka, 0, kit_now_ms() + 300, &partitions, &err), ERR_OK);
	assert_int_equal(err_action(err.code), ACT_RETRY);
	assert_int_equal(partitions, -1);
	(void)rd_kafka_mock_broker_set_up(h.kit.cluster, -1);
	kafka_kit_settle(&h.kit);
	err_clear(&err);
	assert_int_equal(kafka_ready(h.kit.kafka, &err), ERR_OK);
	assert_true(kafka_cluster_id(h.kit.kafka)[0] != '\0');
	append(&h, 0, 1, 1);
	expect_results(&h, 0, 1, ERR_OK);
	house_done(&h);
}

static void wait_ready(struct house *h, bool want)
{
	int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
	struct err err = ERR_INIT;

	while ((kafka_ready(h->kit.kafka, &err) == ERR_OK) != want) {
		assert_true(kit_now_ms() < deadline);
		err_clear(&err);
		kit_pause();
	}
}

static void readiness_follows_the_brokers(void **state)
{
	struct err err = ERR_INIT;
	struct house h;

	(void)state;
	house_settled(&h);
	wait_ready(&h, true);
	assert_int_equal(queue_room(h.queue, STREAM_EVENTS, KIB(500), &err), ERR_OK);
	assert_int_equal(queue_room(h.queue, STREAM_EVENTS, MIB(2), &err), ERR_LIMIT);
	(void)rd_kafka_mock_broker_set_down(h.kit.cluster, -1);
	wait_ready(&h, false);
	(void)rd_kafka_mock_broker_set_up(h.kit.cluster, -1);
	wait_ready(&h, true);
	house_done(&h);
}

static void counts_that_differ_are_refused(void **state)
{
	static const struct {
		int journal, expected;
		bool works;
		enum err_code want;
		const char *text;
	} rows[] = {
		{ KIT_PARTITIONS, 0, true, ERR_OK, NULL },
		{ KIT_PARTITIONS, KIT_PARTITIONS, true, ERR_OK, NULL },
		{ KIT_PARTITIONS, 6, true, ERR_CONFIG,
			"topic kit.events has 4 partitions, and had 6" },
		{ 5, 0, true, ERR_CONFIG,
			"topic kit.events.journal has 5 partitions and topic kit.events has 4" },
		{ 5, 0, false, ERR_OK, NULL }, /* an ingress needs the events alone */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		struct kafka_kit kit;
		int32_t partitions = -1;

		kafka_kit_init(&kit, 1);
		kit.opts.works = rows[i].works;
		kafka_kit_topic(&kit, "", KIT_PARTITIONS);
		kafka_kit_topic(&kit, ".journal", rows[i].journal);
		kafka_kit_topic(&kit, ".dlq", KIT_PARTITIONS);
		kafka_kit_topic(&kit, ".quarantine", KIT_PARTITIONS);
		kafka_kit_open(&kit);
		assert_int_equal(kafka_settle(kit.kafka, rows[i].expected,
					 kit_now_ms() + KIT_WAIT_MS, &partitions, &err),
			rows[i].want);
		assert_int_equal(partitions, rows[i].want == ERR_OK ? KIT_PARTITIONS : -1);
		if (rows[i].text && !strstr(err.text, rows[i].text))
			fail_msg("row %zu: %s", i, err.text);
		err_clear(&err);
		assert_int_equal(kafka_ready(kit.kafka, &err), rows[i].want);
		kafka_kit_done(&kit);
	}
}

/* ---- what the lanes use ---- */

static void values_are_put_and_may_be_forgotten(void **state)
{
	struct kafka_sink sink;
	struct kafka_target target = { KIT_TOPIC ".journal", 2, &sink, 0 };
	struct kafka_producer *journal;
	struct kit_sink seen;
	struct err err = ERR_INIT;
	struct kafka_kit kit;
	int64_t first, end = 0, deadline = kit_now_ms() + KIT_WAIT_MS;

	(void)state;
	kafka_kit_init(&kit, 1);
	kafka_kit_topics(&kit);
	kit.opts.works = true;
	kafka_kit_open(&kit);
	kafka_kit_settle(&kit);
	kit_sink_init(&seen);
	journal = kit.kafka->producers[KAFKA_KIND_JOURNAL];
	kafka_sink_open(&sink, NULL, &seen);
	for (size_t i = 0; i < 20; i++) {
		char text[] = "a batch";

		assert_int_equal(
			kafka_producer_put(journal, &target, slice_str(text), &err), ERR_OK);
		memset(text, 'x', sizeof(text)); /* it was copied */
	}
	kafka_sink_forget(journal, &sink);
	memset(&sink, 0x5a, sizeof(sink)); /* nobody looks at it any more */
	while (end < 20 && kit_now_ms() < deadline)
		assert_int_equal(kafka_watermarks(kit.kafka, target.topic, target.partition,
					 deadline, &first, &end, &err),
			ERR_OK);
	assert_int_equal(end, 20);
	kit_sink_done(&seen);
	kafka_kit_done(&kit);
}

struct put_seen {
	struct lock lock;
	size_t count, good;
};

static void count_puts(void *ctx, struct record *list)
{
	struct put_seen *seen = ctx;

	lock_take(&seen->lock);
	for (; list; list = list->next) {
		seen->count++;
		seen->good += list->result == ERR_OK && slice_eq_str(list->body, "a batch");
	}
	lock_give(&seen->lock);
}

static void values_complete_as_records(void **state)
{
	struct put_seen seen = { .count = 0 };
	struct kafka_sink sink;
	struct kafka_target target = { KIT_TOPIC ".journal", 1, &sink, 0 };
	struct kafka_producer *journal;
	struct err err = ERR_INIT;
	struct kafka_kit kit;

	(void)state;
	kafka_kit_init(&kit, 1);
	kafka_kit_topics(&kit);
	kit.opts.works = true;
	kafka_kit_open(&kit);
	kafka_kit_settle(&kit);
	lock_init(&seen.lock);
	journal = kit.kafka->producers[KAFKA_KIND_JOURNAL];
	kafka_sink_open(&sink, count_puts, &seen);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(
			kafka_producer_put(journal, &target, SLICE_LIT("a batch"), &err), ERR_OK);
	kafka_sink_close(journal, &sink, kit_now_ms() + KIT_WAIT_MS);
	assert_int_equal(seen.count, 100);
	assert_int_equal(seen.good, 100);
	lock_done(&seen.lock);
	kafka_kit_done(&kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appended_records_complete_and_are_there),
		cmocka_unit_test(other_streams_are_not_open),
		cmocka_unit_test(bodies_of_all_sizes_and_no_headers),
		cmocka_unit_test(a_list_is_refused_as_a_whole),
		cmocka_unit_test(errors_that_pass_are_not_seen),
		cmocka_unit_test(nothing_is_sent_behind_the_first_record_of_a_producer),
		cmocka_unit_test(a_duplicate_without_an_offset_is_not_known),
		cmocka_unit_test(nor_are_those_behind_it_in_its_request),
		cmocka_unit_test(a_broker_that_refuses_a_size_loses_that_record_alone),
		cmocka_unit_test(without_a_broker_a_record_surely_is_not_there),
		cmocka_unit_test(an_answer_that_does_not_come_is_not_known),
		cmocka_unit_test(a_fatal_error_makes_a_new_producer),
		cmocka_unit_test(a_lost_sequence_is_fatal_and_survived),
		cmocka_unit_test(a_fatal_error_without_a_broker_ends_at_the_deadline),
		cmocka_unit_test(a_full_queue_refuses),
		cmocka_unit_test(close_sends_what_it_can),
		cmocka_unit_test(close_completes_what_it_cannot_send),
		cmocka_unit_test(before_it_is_settled_nothing_is_taken),
		cmocka_unit_test(readiness_follows_the_brokers),
		cmocka_unit_test(counts_that_differ_are_refused),
		cmocka_unit_test(values_are_put_and_may_be_forgotten),
		cmocka_unit_test(values_complete_as_records),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
