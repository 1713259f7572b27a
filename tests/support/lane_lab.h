/* lane_lab.h - what the tests of the working half over Kafka share: a cluster (the library's mock,
 * or a broker that POSTERN_TEST_KAFKA names as host:port), and processes: a handle, a lane, a
 * writer. Included by test programs only. */
#pragma once

#include "support/c11_threads.h"
#include "support/queue_kit.h"

#include <sched.h>
#include <string.h>

#include "postern/journal.h"
#include "postern/kafka.h"
#include "postern/log.h"
#include "postern/metrics.h"

#include "../../src/queue/kafka_priv.h"

#include <librdkafka/rdkafka_mock.h>

#define PARTITIONS 4
#define LANE 2
#define API_PRODUCE 0

/* ---- a cluster ---- */

struct cluster {
	rd_kafka_t *rk; /* the mock lives in it; NULL: a real broker */
	rd_kafka_mock_cluster_t *mock;
	char address[256];
	char topic[64];
	struct kafka_property properties[8];
	size_t property_count;
};

static inline void property(struct cluster *c, const char *name, const char *value)
{
	assert_true(c->property_count < ARRAY_LEN(c->properties));
	c->properties[c->property_count++] = (struct kafka_property){ name, value };
}

static inline void name_topic(struct cluster *c)
{
	static unsigned made;

	(void)snprintf(c->topic, sizeof(c->topic), "lane-%d-%lld-%u", getpid(),
		(long long)kit_now_ms(), made++);
}

static inline void create_topics(struct cluster *c)
{
	static const char *const ends[] = { "", ".journal", ".dlq", ".quarantine", ".users" };

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		char name[96];

		(void)snprintf(name, sizeof(name), "%s%s", c->topic, ends[i]);
		assert_int_equal(rd_kafka_mock_topic_create(c->mock, name, PARTITIONS, 1),
			RD_KAFKA_RESP_ERR_NO_ERROR);
	}
}

static inline void mock_open(struct cluster *c)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	*c = (struct cluster){ .rk = NULL };
	c->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
	assert_non_null(c->rk);
	c->mock = rd_kafka_mock_cluster_new(c->rk, 1);
	assert_non_null(c->mock);
	name_topic(c);
	create_topics(c);
	(void)snprintf(
		c->address, sizeof(c->address), "%s", rd_kafka_mock_cluster_bootstraps(c->mock));
	property(c, "bootstrap.servers", c->address);
	property(c, "fetch.wait.max.ms", "5"); /* the mock answers no earlier */
}

/* False: there is none. */
static inline bool real_open(struct cluster *c)
{
	const char *address = getenv("POSTERN_TEST_KAFKA");

	*c = (struct cluster){ .rk = NULL };
	if (!address || !address[0])
		return false;
	name_topic(c);
	(void)snprintf(c->address, sizeof(c->address), "%s", address);
	property(c, "bootstrap.servers", c->address);
	return true;
}

static inline void cluster_close(struct cluster *c)
{
	if (!c->rk)
		return;
	rd_kafka_mock_cluster_destroy(c->mock);
	rd_kafka_destroy(c->rk);
}

/* ---- a process: a handle, a lane, and who writes ---- */

struct process {
	struct cluster *cluster;
	struct kafka *kafka;
	struct queue *lane;
	struct kit_sink outputs;
	uint8_t writer[WRITER_LEN];
	struct journal_state state;
	int64_t next; /* offset behind what was read */
	struct buf batch;
};

static inline struct kafka *kafka_new(struct cluster *c)
{
	const struct kafka_opts opts = {
		.properties = c->properties,
		.property_count = c->property_count,
		.topic = c->topic,
		.group = "workers",
		.create_topics = !c->rk,
		.writes_events = true,
		.works = true,
		.partitions = PARTITIONS,
		.journal_retention_ms = 86400000,
		.output_retention_ms = { 0, 86400000, 86400000 },
		.max_record_bytes = KIB(512),
		.delivery_timeout_ms = 3000,
		.clock = clock_system(),
	};
	struct kafka *kafka = NULL;
	struct err err = ERR_INIT;
	int32_t partitions = 0;

	if (kafka_open(&opts, &kafka, &err) != ERR_OK)
		fail_msg("%s", err.text);
	kafka->believes_settings = c->rk != NULL; /* the mock cannot tell them */
	if (kafka_settle(kafka, 0, kit_now_ms() + KIT_WAIT_MS, &partitions, &err) != ERR_OK)
		fail_msg("%s", err.text);
	assert_int_equal(partitions, PARTITIONS);
	return kafka;
}

static inline void process_open(struct process *p, struct cluster *c, uint8_t name)
{
	struct kafka_lane_opts opts = { .partition = LANE, .outputs_done = kit_sink_put };
	struct err err = ERR_INIT;

	*p = (struct process){ .cluster = c, .batch = BUF_INIT(MIB(2)) };
	memset(p->writer, name, sizeof(p->writer));
	kit_sink_init(&p->outputs);
	opts.outputs_ctx = &p->outputs;
	p->kafka = kafka_new(c);
	if (queue_kafka_lane(p->kafka, &opts, &p->lane, &err) != ERR_OK ||
		queue_journal_seek(p->lane, 0, &p->state, &err) != ERR_OK)
		fail_msg("%s", err.text);
	assert_true(queue_keeps_journal(p->lane));
}

static inline void process_close(struct process *p)
{
	queue_close(&p->lane);
	kafka_close(&p->kafka);
	kit_sink_done(&p->outputs);
	buf_done(&p->batch);
}

/* The bytes of a record of this process: seq 0 for a claim; number goes into its only item. */
static inline struct slice make(
	struct process *p, enum journal_type type, uint64_t epoch, uint64_t seq, int64_t number)
{
	const struct item item = { .type = ITEM_TRY, .attempt = { .offset = number, .n = 1 } };
	struct journal_header header = { .type = type,
		.epoch = epoch,
		.seq = seq,
		.next_offset = number,
		.generation = 1,
		.partitions = PARTITIONS };
	struct err err = ERR_INIT;

	memcpy(header.writer, p->writer, WRITER_LEN);
	assert_int_equal(journal_begin(&p->batch, &err), ERR_OK);
	if (type == JOURNAL_BATCH)
		assert_int_equal(journal_add(&p->batch, &item, &err), ERR_OK);
	assert_int_equal(journal_end(&p->batch, &header, &err), ERR_OK);
	return buf_slice(&p->batch);
}

/* What a worker does with a record that it was given. */
static inline struct journal_header fold(struct process *p, const struct journal_read *read)
{
	struct journal_header header;
	struct err err = ERR_INIT;

	assert_true(read->bytes.len > 0);
	assert_int_equal(journal_open(read->bytes, &header, &err), ERR_OK);
	assert_true(journal_judge(&p->state, &header));
	assert_true(read->offset >= p->next);
	assert_true(read->next_offset > read->offset);
	p->next = read->next_offset;
	return header;
}

static inline enum err_code write_record(struct process *p, enum journal_type type, uint64_t epoch,
	uint64_t seq, int64_t number, struct journal_read *out)
{
	const struct slice bytes = make(p, type, epoch, seq, number);
	struct err err = ERR_INIT;
	enum err_code rc = queue_journal(p->lane, bytes, out, &err);

	assert_int_equal(rc, err.code);
	if (rc == ERR_OK)
		assert_true(slice_eq(out->bytes, bytes));
	return rc;
}

static inline void claim(struct process *p)
{
	struct journal_read read;

	assert_int_equal(write_record(p, JOURNAL_CLAIM, p->state.epoch + 1, 0, 0, &read), ERR_OK);
	assert_int_equal(fold(p, &read).type, JOURNAL_CLAIM);
	assert_memory_equal(p->state.writer, p->writer, WRITER_LEN);
}

static inline int64_t batch(struct process *p, int64_t number)
{
	struct journal_read read;

	assert_int_equal(
		write_record(p, JOURNAL_BATCH, p->state.epoch, p->state.seq + 1, number, &read),
		ERR_OK);
	assert_int_equal(fold(p, &read).next_offset, number);
	return read.offset;
}

/* The next record, which must come. */
static inline struct journal_header follow(struct process *p)
{
	struct journal_read read;
	struct err err = ERR_INIT;

	if (queue_follow(p->lane, kit_now_ms() + KIT_WAIT_MS, &read, &err) != ERR_OK)
		fail_msg("%s", err.text);
	return fold(p, &read);
}

/* Everything up to the end that the broker tells now. */
static inline void catch_up(struct process *p)
{
	const int64_t deadline = kit_now_ms() + KIT_WAIT_MS;
	int64_t first = -1, end = -1;
	struct err err = ERR_INIT;

	assert_int_equal(queue_journal_bounds(p->lane, deadline, &first, &end, &err), ERR_OK);
	assert_int_equal(first, 0);
	while (p->next < end) {
		struct journal_read read;

		assert_int_equal(queue_follow(p->lane, kit_now_ms() + 50, &read, &err), ERR_OK);
		if (read.bytes.len > 0)
			(void)fold(p, &read);
		p->next = read.next_offset;
		assert_true(kit_now_ms() < deadline);
	}
}

static inline void same_state(const struct process *a, const struct process *b)
{
	assert_int_equal(a->state.epoch, b->state.epoch);
	assert_int_equal(a->state.seq, b->state.seq);
	assert_int_equal(a->state.released, b->state.released);
	assert_memory_equal(a->state.writer, b->state.writer, WRITER_LEN);
}

/* A record that a process which knows nothing of its loss writes: straight to the topic. */
static inline void write_raw(struct cluster *c, struct slice bytes)
{
	char name[96], text[256];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *rk;

	assert_int_equal(
		rd_kafka_conf_set(conf, "bootstrap.servers", c->address, text, sizeof(text)),
		RD_KAFKA_CONF_OK);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	assert_non_null(rk);
	(void)snprintf(name, sizeof(name), "%s.journal", c->topic);
	assert_int_equal(
		rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_PARTITION(LANE),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
			RD_KAFKA_V_VALUE((void *)(uintptr_t)bytes.data, bytes.len), RD_KAFKA_V_END),
		RD_KAFKA_RESP_ERR_NO_ERROR);
	assert_int_equal(rd_kafka_flush(rk, KIT_WAIT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
	rd_kafka_destroy(rk);
}

/* ---- each test on the mock, and on a broker where there is one ---- */

static inline void on_both(void (*test)(struct cluster *))
{
	struct cluster c;

	mock_open(&c);
	test(&c);
	cluster_close(&c);
	if (real_open(&c))
		test(&c);
}

static inline void on_mock(void (*test)(struct cluster *))
{
	struct cluster c;

	mock_open(&c);
	test(&c);
	cluster_close(&c);
}

/* What only a real broker does. */
static inline void on_real(void (*test)(struct cluster *))
{
	struct cluster c;

	if (!real_open(&c))
		skip();
	test(&c);
}

#define REAL(test)                                                                                 \
	static void test##_(void **state)                                                          \
	{                                                                                          \
		(void)state;                                                                       \
		on_real(test);                                                                     \
	}
#define BOTH(test)                                                                                 \
	static void test##_(void **state)                                                          \
	{                                                                                          \
		(void)state;                                                                       \
		on_both(test);                                                                     \
	}
#define MOCK(test)                                                                                 \
	static void test##_(void **state)                                                          \
	{                                                                                          \
		(void)state;                                                                       \
		on_mock(test);                                                                     \
	}
#define ROW(test)                                                                                  \
	{                                                                                          \
#test, test##_, NULL, NULL, NULL                                                   \
	}
