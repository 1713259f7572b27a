/* kafka_kit.h - what the tests of the Kafka backend share: librdkafka's mock cluster with the
 * topics of postern, records with a header block, and one handle over it. Included by test programs
 * only.
 *
 * The mock cluster does not create topics through the Admin API and does not tell settings; it
 * takes an idempotent producer's record twice. */
#pragma once

#include "c11_threads.h"
#include "queue_kit.h"

#include "../../src/queue/kafka_producer.h"

#include <librdkafka/rdkafka_mock.h>

#define KIT_TOPIC "kit.events"
#define KIT_PARTITIONS 4
#define KIT_PRODUCE 0 /* the protocol's number of a Produce request */
#define KIT_PROPERTIES_MAX 16

struct kafka_kit {
	rd_kafka_t *holder;
	rd_kafka_mock_cluster_t *cluster;
	struct kafka_property properties[KIT_PROPERTIES_MAX];
	struct kafka_opts opts;
	struct kafka *kafka;
};

static inline void kafka_kit_property(struct kafka_kit *kit, const char *name, const char *value)
{
	assert_true(kit->opts.property_count < KIT_PROPERTIES_MAX);
	kit->properties[kit->opts.property_count++] = (struct kafka_property){ name, value };
	kit->opts.properties = kit->properties;
}

static inline void kafka_kit_topic(struct kafka_kit *kit, const char *suffix, int partitions)
{
	char name[64];

	(void)snprintf(name, sizeof(name), KIT_TOPIC "%s", suffix);
	assert_int_equal(rd_kafka_mock_topic_create(kit->cluster, name, partitions, 1),
		RD_KAFKA_RESP_ERR_NO_ERROR);
}

/* The cluster and what the handle is going to be opened with. */
static inline void kafka_kit_init(struct kafka_kit *kit, int brokers)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[256];

	*kit = (struct kafka_kit){ .opts = {
					   .topic = KIT_TOPIC,
					   .group = "kit",
					   .writes_events = true,
					   .max_record_bytes = KIB(600),
					   .delivery_timeout_ms = 3000,
					   .clock = clock_system(),
				   } };
	assert_int_equal(
		rd_kafka_conf_set(conf, "log_level", "2", why, sizeof(why)), RD_KAFKA_CONF_OK);
	kit->holder = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	assert_non_null(kit->holder);
	kit->cluster = rd_kafka_mock_cluster_new(kit->holder, brokers);
	assert_non_null(kit->cluster);
	kafka_kit_property(
		kit, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(kit->cluster));
}

static inline void kafka_kit_topics(struct kafka_kit *kit)
{
	kafka_kit_topic(kit, "", KIT_PARTITIONS);
	kafka_kit_topic(kit, ".journal", KIT_PARTITIONS);
	kafka_kit_topic(kit, ".dlq", KIT_PARTITIONS);
	kafka_kit_topic(kit, ".quarantine", KIT_PARTITIONS);
}

static inline void kafka_kit_open(struct kafka_kit *kit)
{
	struct err err = ERR_INIT;

	if (kafka_open(&kit->opts, &kit->kafka, &err) != ERR_OK)
		fail_msg("%s", err.text);
	kit->kafka->believes_settings = true;
}

static inline void kafka_kit_settle(struct kafka_kit *kit)
{
	struct err err = ERR_INIT;
	int32_t partitions = 0;

	if (kafka_settle(kit->kafka, 0, kit_now_ms() + KIT_WAIT_MS, &partitions, &err) != ERR_OK)
		fail_msg("%s", err.text);
	assert_int_equal(partitions, KIT_PARTITIONS);
}

static inline void kafka_kit_done(struct kafka_kit *kit)
{
	kafka_close(&kit->kafka);
	assert_null(kit->kafka);
	rd_kafka_mock_cluster_destroy(kit->cluster);
	rd_kafka_destroy(kit->holder);
}

/* ---- records with headers ---- */

#define KIT_BLOCK_LEN 34

/* A block of two headers, the second of which says the record's number. */
static inline size_t kafka_kit_block(uint64_t number, uint8_t out[KIT_BLOCK_LEN])
{
	uint8_t *at = out;

	put_le16(at, 2);
	put_le16(at + 2, 7);
	memcpy(at + 4, "ce_type", 7);
	put_le32(at + 11, 1);
	at[15] = 't';
	put_le16(at + 16, 1);
	at[18] = 'n';
	put_le32(at + 19, 8);
	put_le64(at + 23, number);
	return 31;
}

static inline struct kit_record *kafka_kit_record(uint64_t number, const char *key, size_t body_len)
{
	struct kit_record *k = calloc(1, sizeof(*k));
	uint8_t block[KIT_BLOCK_LEN];
	size_t block_len = kafka_kit_block(number, block), key_len = strlen(key);

	assert_non_null(k);
	k->number = number;
	k->bytes = malloc(key_len + block_len + body_len + 1);
	assert_non_null(k->bytes);
	memcpy(k->bytes, key, key_len);
	memcpy(k->bytes + key_len, block, block_len);
	for (size_t i = 0; i < body_len; i++)
		k->bytes[key_len + block_len + i] = kit_byte(number, i);
	k->record.key = (struct slice){ k->bytes, key_len };
	k->record.headers = (struct slice){ k->bytes + key_len, block_len };
	k->record.body = (struct slice){ k->bytes + key_len + block_len, body_len };
	k->record.owner = k;
	return k;
}

/* Consecutive numbers; the key of a number is tenant/(number % keys). */
static inline struct record *kafka_kit_list(
	uint64_t number, size_t count, size_t body_len, unsigned keys)
{
	struct record *list = NULL, **tail = &list;

	for (size_t i = 0; i < count; i++) {
		char key[32];

		(void)snprintf(
			key, sizeof(key), "tenant/%llu", (unsigned long long)((number + i) % keys));
		*tail = &kafka_kit_record(number + i, key, body_len)->record;
		tail = &(*tail)->next;
	}
	return list;
}

/* ---- an independent reader ---- */

/* All messages of a topic that are there now, partition by partition, each given to visit(). */
static inline size_t kafka_kit_read_all(const char *bootstraps, const char *topic, int partitions,
	size_t expected, void (*visit)(void *ctx, const rd_kafka_message_t *message), void *ctx)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
	char why[256];
	rd_kafka_t *rk;
	size_t count = 0;

	assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", bootstraps, why, sizeof(why)),
		RD_KAFKA_CONF_OK);
	assert_int_equal(rd_kafka_conf_set(conf, "group.id", "kit-reader", why, sizeof(why)),
		RD_KAFKA_CONF_OK);
	assert_int_equal(rd_kafka_conf_set(conf, "auto.offset.reset", "earliest", why, sizeof(why)),
		RD_KAFKA_CONF_OK);
	assert_int_equal(rd_kafka_conf_set(conf, "fetch.wait.max.ms", "5", why, sizeof(why)),
		RD_KAFKA_CONF_OK);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
	assert_non_null(rk);
	(void)rd_kafka_poll_set_consumer(rk);
	for (int i = 0; i < partitions; i++)
		rd_kafka_topic_partition_list_add(list, topic, i)->offset = 0;
	assert_int_equal(rd_kafka_assign(rk, list), RD_KAFKA_RESP_ERR_NO_ERROR);
	while (count < expected && kit_now_ms() < deadline) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 100);

		if (!message)
			continue;
		if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
			visit(ctx, message);
			count++;
		}
		rd_kafka_message_destroy(message);
	}
	rd_kafka_topic_partition_list_destroy(list);
	(void)rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
	return count;
}

/* How many messages the events have. */
static inline size_t kafka_kit_messages(struct kafka_kit *kit)
{
	size_t messages = 0;

	for (int i = 0; i < KIT_PARTITIONS; i++) {
		struct err err = ERR_INIT;
		int64_t first, end;

		assert_int_equal(kafka_watermarks(kit->kafka, KIT_TOPIC, i,
					 kit_now_ms() + KIT_WAIT_MS, &first, &end, &err),
			ERR_OK);
		assert_int_equal(first, 0);
		messages += (size_t)end;
	}
	return messages;
}

/* What an independent reader finds of kafka_kit_list(): for each number how often, and the order
 * within a partition, of the first copies. */
#define KIT_NUMBERS_MAX 16384
struct kafka_found {
	size_t body_len; /* what each must have */
	unsigned times[KIT_NUMBERS_MAX];
	int64_t last[KIT_PARTITIONS]; /* the largest number that was seen, by partition */
	bool wrong_partition, wrong_bytes, out_of_order;
};

/* False: not what was appended. */
static inline bool kafka_kit_is_whole(
	const rd_kafka_message_t *message, size_t body_len, uint64_t *out_number)
{
	uint8_t block[KIT_BLOCK_LEN], want[KIT_BLOCK_LEN];
	struct record record;
	size_t len = 0;

	if (!kafka_block_size(message, &len) || len != kafka_kit_block(0, want))
		return false;
	kafka_record(message, block, &record);
	*out_number = get_le64(block + 23);
	(void)kafka_kit_block(*out_number, want);
	if (*out_number >= KIT_NUMBERS_MAX || memcmp(block, want, len) != 0 ||
		record.body.len != body_len)
		return false;
	for (size_t i = 0; i < record.body.len; i++) {
		if (record.body.data[i] != kit_byte(*out_number, i))
			return false;
	}
	return true;
}

static inline void kafka_kit_find(void *ctx, const rd_kafka_message_t *message)
{
	const struct slice key = { message->key, message->key_len };
	struct kafka_found *found = ctx;
	uint64_t number = 0;

	if (!kafka_kit_is_whole(message, found->body_len, &number)) {
		found->wrong_bytes = true;
		return;
	}
	found->wrong_partition |= kafka_partition(key, KIT_PARTITIONS) != message->partition;
	if (found->times[number]++ > 0)
		return;
	if ((int64_t)number < found->last[message->partition]) {
		print_message("%llu after %lld in %d\n", (unsigned long long)number,
			(long long)found->last[message->partition], (int)message->partition);
		found->out_of_order = true;
	}
	found->last[message->partition] = (int64_t)number;
}

/* All messages of the events, whole and where they belong; the rest is the caller's to look at. */
static inline void kafka_kit_look_for(
	struct kafka_kit *kit, size_t messages, size_t body_len, struct kafka_found *found)
{
	memset(found, 0, sizeof(*found));
	found->body_len = body_len;
	for (size_t i = 0; i < KIT_PARTITIONS; i++)
		found->last[i] = -1;
	assert_int_equal(kafka_kit_read_all(rd_kafka_mock_cluster_bootstraps(kit->cluster),
				 KIT_TOPIC, KIT_PARTITIONS, messages, kafka_kit_find, found),
		messages);
	assert_false(found->wrong_bytes);
	assert_false(found->wrong_partition);
}
