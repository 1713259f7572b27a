/* queue_kafka_broker.c - what only a real broker can show: topics that are created as they must be,
 * settings that are refused, offsets and times, appends through both ends. Runs where
 * POSTERN_TEST_KAFKA=host:port names a broker (scripts/kafka up prints one); passes without.
 *
 * Topics have names of their own and stay behind: a handle that knows a deleted topic hangs. */
#include "support/kafka_kit.h"

#include <time.h>

static const char *broker;
static char run[32]; /* of this run, for names */

struct house {
	struct kafka_property properties[2];
	struct kafka_opts opts;
	char topic[64];
	struct kafka *kafka;
	struct kit_sink sink;
	struct queue *queue;
};

static void house_init(struct house *h, const char *name)
{
	*h = (struct house){ .properties = { { "bootstrap.servers", broker } } };
	(void)snprintf(h->topic, sizeof(h->topic), "test.%s.%s", run, name);
	h->opts = (struct kafka_opts){
		.properties = h->properties,
		.property_count = 1,
		.topic = h->topic,
		.group = h->topic,
		.create_topics = true,
		.writes_events = true,
		.works = true,
		.partitions = 3,
		.journal_retention_ms = 21LL * 86400 * 1000,
		.output_retention_ms = { [STREAM_DLQ] = 720LL * 3600 * 1000,
			[STREAM_QUARANTINE] = 720LL * 3600 * 1000 },
		.max_record_bytes = KIB(600),
		.clock = clock_system(),
	};
	kit_sink_init(&h->sink);
}

static void house_open(struct house *h)
{
	struct err err = ERR_INIT;

	if (kafka_open(&h->opts, &h->kafka, &err) != ERR_OK)
		fail_msg("%s", err.text);
	if (h->opts.writes_events)
		assert_int_equal(
			queue_kafka_ingress(h->kafka, kit_sink_put, &h->sink, &h->queue, &err),
			ERR_OK);
}

static enum err_code settle(struct house *h, int32_t expected, struct err *err)
{
	int32_t partitions = 0;
	enum err_code rc =
		kafka_settle(h->kafka, expected, kit_now_ms() + KIT_WAIT_MS, &partitions, err);

	if (rc == ERR_OK)
		assert_int_equal(partitions, 3);
	return rc;
}

static void house_settled(struct house *h, const char *name)
{
	struct err err = ERR_INIT;

	house_init(h, name);
	house_open(h);
	if (settle(h, 0, &err) != ERR_OK)
		fail_msg("%s", err.text);
}

static void house_close(struct house *h)
{
	queue_close(&h->queue);
	kafka_close(&h->kafka);
}

static void house_done(struct house *h)
{
	house_close(h);
	kit_sink_done(&h->sink);
}

/* ---- settings, asked and changed by an operator ---- */

static void read_setting(struct house *h, enum kafka_topic which, const char *name, char out[64])
{
	rd_kafka_ConfigResource_t *resource =
		rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, h->kafka->topics[which]);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(h->kafka->query);
	const rd_kafka_ConfigResource_t **resources;
	const rd_kafka_ConfigEntry_t **entries;
	rd_kafka_event_t *event;
	size_t count = 0;

	out[0] = '\0';
	rd_kafka_DescribeConfigs(h->kafka->query, &resource, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, KIT_WAIT_MS);
	assert_non_null(event);
	resources = rd_kafka_DescribeConfigs_result_resources(
		rd_kafka_event_DescribeConfigs_result(event), &count);
	assert_int_equal(count, 1);
	entries = rd_kafka_ConfigResource_configs(resources[0], &count);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
			(void)snprintf(out, 64, "%s", rd_kafka_ConfigEntry_value(entries[i]));
	}
	rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	rd_kafka_ConfigResource_destroy(resource);
}

/* AlterConfigs sets all that is not named back to the broker's own. */
static void change_setting(
	struct house *h, enum kafka_topic which, const char *name, const char *value)
{
	rd_kafka_ConfigResource_t *resource =
		rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, h->kafka->topics[which]);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(h->kafka->query);
	static const char *const kept[][2] = {
		{ "retention.ms", "-1" },
		{ "message.timestamp.type", "LogAppendTime" },
		{ "max.message.bytes", "2000000" },
	};
	rd_kafka_event_t *event;

	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		if (strcmp(kept[i][0], name) != 0)
			(void)rd_kafka_ConfigResource_set_config(resource, kept[i][0], kept[i][1]);
	}
	(void)rd_kafka_ConfigResource_set_config(resource, name, value);
	rd_kafka_AlterConfigs(h->kafka->query, &resource, 1, NULL, queue);
	event = rd_kafka_queue_poll(queue, KIT_WAIT_MS);
	assert_non_null(event);
	assert_int_equal(rd_kafka_event_error(event), RD_KAFKA_RESP_ERR_NO_ERROR);
	rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	rd_kafka_ConfigResource_destroy(resource);
}

/* ---- tests -------------------------------------------------------------------------------------
 */

static void topics_are_created_as_they_must_be(void **state)
{
	static const struct {
		enum kafka_topic topic;
		const char *name, *value;
	} rows[] = {
		{ KAFKA_TOPIC_EVENTS, "cleanup.policy", "delete" },
		{ KAFKA_TOPIC_EVENTS, "max.message.bytes", "1048576" },
		{ KAFKA_TOPIC_EVENTS, "unclean.leader.election.enable", "false" },
		{ KAFKA_TOPIC_JOURNAL, "cleanup.policy", "delete" },
		{ KAFKA_TOPIC_JOURNAL, "retention.ms", "1814400000" },
		{ KAFKA_TOPIC_JOURNAL, "retention.bytes", "-1" },
		{ KAFKA_TOPIC_JOURNAL, "segment.ms", "129600000" },
		{ KAFKA_TOPIC_JOURNAL, "message.timestamp.type", "LogAppendTime" },
		{ KAFKA_TOPIC_DLQ, "retention.ms", "2592000000" },
		{ KAFKA_TOPIC_QUARANTINE, "retention.ms", "2592000000" },
	};
	struct err err = ERR_INIT;
	struct house h;

	(void)state;
	house_settled(&h, "created");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char value[64];

		read_setting(&h, rows[i].topic, rows[i].name, value);
		assert_string_equal(value, rows[i].value);
	}
	assert_int_equal(kafka_ready(h.kafka, &err), ERR_OK);
	assert_true(strlen(kafka_cluster_id(h.kafka)) > 0);
	house_close(&h);
	/* Again: they are there, and as they were. */
	h.opts.create_topics = false;
	h.opts.partitions = 7; /* counts for new ones alone */
	house_open(&h);
	if (settle(&h, 3, &err) != ERR_OK)
		fail_msg("%s", err.text);
	house_close(&h);
	house_open(&h);
	assert_int_equal(settle(&h, 4, &err), ERR_CONFIG);
	assert_non_null(strstr(err.text, "has 3 partitions, and had 4"));
	house_done(&h);
}

static void an_ingress_needs_the_events_alone(void **state)
{
	struct err err = ERR_INIT;
	struct house h;
	int32_t count;

	(void)state;
	house_init(&h, "ingress");
	h.opts.works = false;
	house_open(&h);
	assert_int_equal(settle(&h, 0, &err), ERR_OK);
	assert_int_equal(kafka_topic_partitions(h.kafka, h.kafka->topics[KAFKA_TOPIC_JOURNAL],
				 kit_now_ms() + KIT_WAIT_MS, &count, &err),
		ERR_NOT_FOUND);
	house_close(&h);
	/* The rest takes its count from what is there. */
	h.opts.works = true;
	h.opts.partitions = 5;
	err_clear(&err);
	house_open(&h);
	if (settle(&h, 0, &err) != ERR_OK)
		fail_msg("%s", err.text);
	house_done(&h);
}

static void a_missing_topic_is_named(void **state)
{
	struct err err = ERR_INIT;
	struct house h;

	(void)state;
	house_init(&h, "missing");
	h.opts.create_topics = false;
	house_open(&h);
	assert_int_equal(settle(&h, 0, &err), ERR_CONFIG);
	assert_non_null(strstr(err.text, h.topic));
	assert_non_null(strstr(err.text, "create_topics"));
	err_clear(&err);
	assert_int_equal(kafka_ready(h.kafka, &err), ERR_CONFIG);
	house_done(&h);
}

static void settings_that_lose_records_are_refused(void **state)
{
	static const struct {
		enum kafka_topic topic;
		const char *name, *value, *says;
		bool fine;
	} rows[] = {
		{ KAFKA_TOPIC_JOURNAL, "retention.ms", "3600000", "at least 1814400000", false },
		{ KAFKA_TOPIC_JOURNAL, "retention.ms", "1814400000", NULL, true },
		{ KAFKA_TOPIC_JOURNAL, "retention.bytes", "1000000", "retention.bytes", false },
		{ KAFKA_TOPIC_JOURNAL, "message.timestamp.type", "CreateTime", "LogAppendTime",
			false },
		{ KAFKA_TOPIC_JOURNAL, "cleanup.policy", "compact", "cleanup.policy", false },
		{ KAFKA_TOPIC_JOURNAL, "max.message.bytes", "1000", "max.message.bytes", false },
		{ KAFKA_TOPIC_JOURNAL, "retention.ms", "-1", NULL, true },
		{ KAFKA_TOPIC_EVENTS, "cleanup.policy", "compact", "cleanup.policy", false },
		{ KAFKA_TOPIC_EVENTS, "max.message.bytes", "1000", "max.message.bytes", false },
		{ KAFKA_TOPIC_EVENTS, "retention.ms", "3600000", NULL, true },
	};
	struct house h;

	(void)state;
	house_settled(&h, "settings");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const enum err_code want = rows[i].fine ? ERR_OK : ERR_CONFIG;
		const int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
		struct err err;

		change_setting(&h, rows[i].topic, rows[i].name, rows[i].value);
		/* The broker learns of it a moment later. */
		do
			err = ERR_INIT;
		while ((settle(&h, 0, &err) != want ||
			       (rows[i].says && !strstr(err.text, rows[i].says))) &&
			kit_now_ms() < deadline);
		if (err.code != want || (rows[i].says && !strstr(err.text, rows[i].says)))
			fail_msg("%s=%s: %s", rows[i].name, rows[i].value, err.text);
		assert_true(!rows[i].says || strstr(err.text, h.kafka->topics[rows[i].topic]));
	}
	house_done(&h);
}

static int64_t ends(struct house *h, const char *topic)
{
	int64_t sum = 0;

	for (int32_t i = 0; i < 3; i++) {
		int64_t first = -1, end = -1;
		struct err err = ERR_INIT;

		assert_int_equal(kafka_watermarks(h->kafka, topic, i, kit_now_ms() + KIT_WAIT_MS,
					 &first, &end, &err),
			ERR_OK);
		assert_int_equal(first, 0);
		sum += end;
	}
	return sum;
}

static void appended_records_are_there_once(void **state)
{
	int64_t last[3] = { -1, -1, -1 }, first, end, before;
	struct err err = ERR_INIT;
	struct house h;

	(void)state;
	house_settled(&h, "append");
	before = clock_system()->wall_ms(clock_system());
	for (size_t i = 0; i < 50; i++)
		assert_int_equal(queue_append(h.queue, STREAM_EVENTS,
					 kafka_kit_list(i * 100, 100, 100, 17), &err),
			ERR_OK);
	kit_sink_wait(&h.sink, 5000);
	for (size_t i = 0; i < 5000; i++) {
		struct kit_done done = kit_sink_at(&h.sink, i);
		char key[32];
		int32_t p;

		(void)snprintf(
			key, sizeof(key), "tenant/%llu", (unsigned long long)(done.number % 17));
		p = kafka_partition(slice_str(key), 3);
		assert_int_equal(done.result, ERR_OK);
		assert_int_equal(done.offset, last[p] + 1);
		assert_true(done.time_ms >= before - 1000); /* the broker's clock */
		last[p] = done.offset;
	}
	assert_int_equal(ends(&h, h.topic), 5000);
	assert_int_equal(kafka_watermarks(h.kafka, h.topic, 3, kit_now_ms() + KIT_WAIT_MS, &first,
				 &end, &err),
		ERR_NOT_FOUND);
	house_done(&h);
}

/* The largest event that is taken fits, whatever its bytes are; one more is refused here. */
static void the_largest_record_fits(void **state)
{
	struct err err = ERR_INIT;
	struct record *list;
	struct house h;
	size_t room;

	(void)state;
	house_settled(&h, "large");
	room = h.kafka->max_message_bytes - KIB(1) - strlen("tenant/0") - 31;
	list = kafka_kit_list(0, 1, room + 1, 1);
	assert_int_equal(queue_append(h.queue, STREAM_EVENTS, list, &err), ERR_LIMIT);
	kit_list_free(list);
	list = kafka_kit_list(0, 1, room, 1);
	srandom(7);
	for (size_t i = 0; i < room; i++) /* so that it does not compress */
		((struct kit_record *)list->owner)->bytes[list->key.len + 31 + i] =
			(uint8_t)random();
	err_clear(&err);
	assert_int_equal(queue_append(h.queue, STREAM_EVENTS, list, &err), ERR_OK);
	kit_sink_wait(&h.sink, 1);
	assert_int_equal(kit_sink_at(&h.sink, 0).result, ERR_OK);
	house_done(&h);
}

static void a_new_producer_goes_on(void **state)
{
	struct err err = ERR_INIT;
	struct house h;

	(void)state;
	house_settled(&h, "fatal");
	for (size_t round = 0; round < 3; round++) {
		struct kafka_producer *p = h.kafka->producers[KAFKA_KIND_EVENTS];

		for (size_t i = 0; i < 20; i++)
			assert_int_equal(
				queue_append(h.queue, STREAM_EVENTS,
					kafka_kit_list(round * 2000 + i * 100, 100, 100, 17), &err),
				ERR_OK);
		lock_take(&p->lock);
		if (p->rk)
			(void)rd_kafka_test_fatal_error(
				p->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "a test");
		lock_give(&p->lock);
	}
	kit_sink_wait(&h.sink, 6000);
	for (size_t i = 0; i < 6000; i++)
		assert_int_equal(kit_sink_at(&h.sink, i).result, ERR_OK);
	assert_true(ends(&h, h.topic) >= 6000);
	house_done(&h);
}

static void without_a_broker_there_is_nothing_to_show(void **state)
{
	(void)state;
	print_message("# POSTERN_TEST_KAFKA names no broker\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(topics_are_created_as_they_must_be),
		cmocka_unit_test(an_ingress_needs_the_events_alone),
		cmocka_unit_test(a_missing_topic_is_named),
		cmocka_unit_test(settings_that_lose_records_are_refused),
		cmocka_unit_test(appended_records_are_there_once),
		cmocka_unit_test(the_largest_record_fits),
		cmocka_unit_test(a_new_producer_goes_on),
	};
	const struct CMUnitTest none[] = {
		cmocka_unit_test(without_a_broker_there_is_nothing_to_show),
	};

	log_set_level(LOG_ERROR);
	broker = getenv("POSTERN_TEST_KAFKA");
	(void)snprintf(run, sizeof(run), "%lld.%d", (long long)time(NULL), (int)getpid());
	if (!broker || !*broker)
		return cmocka_run_group_tests(none, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
