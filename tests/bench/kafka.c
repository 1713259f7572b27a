/* kafka.c - what `make bench` compares the halves over Kafka with, and what fills their topics:
 *
 *   kafka produce SERVERS TOPIC PARTITIONS BYTES IN_FLIGHT SECONDS   librdkafka alone, closed loop
 *   kafka consume SERVERS TOPIC PARTITIONS COUNT                     librdkafka alone
 *   kafka fill SERVERS TOPIC PARTITIONS COUNT SOURCE ENTITIES        events, through the door
 *   kafka ids SERVERS TOPIC PARTITIONS COUNT                         remembered ids, journals
 *   kafka journal SERVERS TOPIC PARTITIONS COUNT                     append to read-back, singly
 *
 * Each prints one line of JSON. Deliberately not here: HTTP, and a worker; those are the program.
 */
#include "events.h"
#include "postern/kafka.h"

#include <librdkafka/rdkafka.h>

#include <stdio.h>
#include <stdlib.h>

#define IDS_A_BATCH 8192
#define PATIENCE_MS 60000
#define SAMPLES_MAX (1 << 22)

static int64_t samples[SAMPLES_MAX]; /* microseconds */
static size_t sample_count;

static int64_t now_us(void)
{
	return clock_system()->mono_ns(clock_system()) / 1000;
}

static size_t number(const char *text)
{
	struct err err = ERR_INIT;
	uint64_t value = 0;

	check(text_u64(slice_str(text), &value, &err), &err);
	return (size_t)value;
}

static int by_size(const void *a, const void *b)
{
	const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void sample(int64_t began_us)
{
	if (sample_count < SAMPLES_MAX)
		samples[sample_count++] = now_us() - began_us;
}

static void print_samples(double seconds)
{
	if (sample_count == 0)
		fail("nothing was measured");
	qsort(samples, sample_count, sizeof(samples[0]), by_size);
	(void)printf("{\"rate\":%.1f,\"p50_ms\":%.4f,\"p99_ms\":%.4f}\n",
		(double)sample_count / seconds, (double)samples[sample_count / 2] / 1000,
		(double)samples[sample_count * 99 / 100] / 1000);
}

/* ---- the library alone -------------------------------------------------------------------------
 */

static rd_kafka_t *open_alone(rd_kafka_type_t type, const char *servers, rd_kafka_conf_t *conf)
{
	char why[512] = "";
	rd_kafka_t *rk;

	if (rd_kafka_conf_set(conf, "bootstrap.servers", servers, why, sizeof(why)))
		fail(why);
	rk = rd_kafka_new(type, conf, why, sizeof(why));
	if (!rk)
		fail(why);
	return rk;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char why[512] = "";

	if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)))
		fail(why);
}

struct loop {
	rd_kafka_t *rk;
	rd_kafka_topic_t *rkt;
	char *body;
	size_t bytes, partitions, sent, open;
	int64_t until_us, measured_us;
};

/* When it was sent is all that a record carries. */
static void send_one(struct loop *loop)
{
	const int32_t partition = (int32_t)(loop->sent++ % loop->partitions);
	int64_t *began = malloc(sizeof(*began));
	char key[32];

	if (!began)
		fail("no memory");
	*began = now_us();
	(void)snprintf(key, sizeof(key), "default/e:%zu", loop->sent % 500);
	if (rd_kafka_produce(loop->rkt, partition, RD_KAFKA_MSG_F_COPY, loop->body, loop->bytes,
		    key, strlen(key), began) != 0)
		fail("produce refused a record");
	loop->open++;
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	struct loop *loop = opaque;

	(void)rk;
	if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
		fail(rd_kafka_err2str(message->err));
	if (now_us() >= loop->measured_us)
		sample(*(int64_t *)message->_private);
	free(message->_private);
	loop->open--;
	if (now_us() < loop->until_us)
		send_one(loop);
}

/* The settings of postern's producers; the topic is there. */
static int produce(char **args)
{
	struct loop loop = { .partitions = number(args[2]), .bytes = number(args[3]) };
	const size_t in_flight = number(args[4]);
	const int64_t seconds = (int64_t)number(args[5]);
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	set(conf, "enable.idempotence", "true");
	set(conf, "acks", "all");
	set(conf, "linger.ms", "0");
	set(conf, "compression.codec", "lz4");
	set(conf, "socket.nagle.disable", "true");
	rd_kafka_conf_set_opaque(conf, &loop);
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
	loop.rk = open_alone(RD_KAFKA_PRODUCER, args[0], conf);
	loop.rkt = rd_kafka_topic_new(loop.rk, args[1], NULL);
	loop.body = malloc(loop.bytes + 1);
	if (!loop.rkt || !loop.body)
		fail("no topic");
	memset(loop.body, 'x', loop.bytes);
	loop.measured_us = now_us() + 1000000; /* the first second warms */
	loop.until_us = loop.measured_us + seconds * 1000000;
	for (size_t i = 0; i < in_flight; i++)
		send_one(&loop);
	while (loop.open > 0)
		(void)rd_kafka_poll(loop.rk, 100);
	print_samples((double)seconds);
	rd_kafka_topic_destroy(loop.rkt);
	rd_kafka_destroy(loop.rk);
	free(loop.body);
	return 0;
}

static rd_kafka_t *open_reader(const char *servers, const char *topic, size_t partitions)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)partitions);
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *rk;

	set(conf, "group.id", "bench-alone");
	set(conf, "enable.auto.commit", "false");
	set(conf, "isolation.level", "read_uncommitted");
	rk = open_alone(RD_KAFKA_CONSUMER, servers, conf);
	(void)rd_kafka_poll_set_consumer(rk);
	for (size_t i = 0; i < partitions; i++)
		rd_kafka_topic_partition_list_add(list, topic, (int32_t)i)->offset =
			RD_KAFKA_OFFSET_BEGINNING;
	if (rd_kafka_assign(rk, list))
		fail("assign");
	rd_kafka_topic_partition_list_destroy(list);
	return rk;
}

static int consume(char **args)
{
	const size_t wanted = number(args[3]);
	rd_kafka_t *rk = open_reader(args[0], args[1], number(args[2]));
	const int64_t limit_us = now_us() + PATIENCE_MS * 1000;
	size_t count = 0, bytes = 0;
	int64_t first_us = 0;

	while (count < wanted) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 100);

		if (now_us() > limit_us)
			fail("the topic does not hold so many records");
		if (!message)
			continue;
		if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
			fail(rd_kafka_message_errstr(message));
		if (count++ == 0)
			first_us = now_us();
		bytes += message->len + message->key_len;
		rd_kafka_message_destroy(message);
	}
	(void)printf("{\"rate\":%.1f,\"bytes\":%zu}\n",
		(double)count * 1e6 / (double)(now_us() - first_us), bytes);
	(void)rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
	return 0;
}

/* ---- through the door --------------------------------------------------------------------------
 */

static struct kafka *open_kafka(char **args, bool writes_events)
{
	const struct kafka_property servers = { "bootstrap.servers", args[0] };
	const struct kafka_opts opts = {
		.properties = &servers,
		.property_count = 1,
		.topic = args[1],
		.group = args[1],
		.create_topics = true,
		.writes_events = writes_events,
		.works = true,
		.partitions = (int32_t)number(args[2]),
		.journal_retention_ms = 3 * INT64_C(168) * 3600000,
		.max_record_bytes = KIB(700),
		.clock = clock_system(),
	};
	const int64_t until_ms = clock_system()->mono_ms(clock_system()) + PATIENCE_MS;
	struct kafka *kafka = NULL;
	struct err err = ERR_INIT;
	int32_t partitions = 0;
	enum err_code rc;

	check(kafka_open(&opts, &kafka, &err), &err);
	do {
		err_clear(&err);
		rc = kafka_settle(kafka, 0, until_ms, &partitions, &err);
	} while (rc != ERR_OK && rc != ERR_CONFIG &&
		 clock_system()->mono_ms(clock_system()) < until_ms);
	check(rc, &err);
	return kafka;
}

static int fill(char **args)
{
	static struct pending pending;
	const size_t count = number(args[3]), entities = number(args[5]);
	struct slot *slots = calloc(GROUP, sizeof(*slots));
	struct kafka *kafka = open_kafka(args, true);
	struct queue *queue = NULL;
	struct err err = ERR_INIT;

	if (!slots)
		fail("no memory");
	lock_init(&pending.lock);
	cond_init(&pending.cond);
	for (size_t i = 0; i < GROUP; i++) {
		slots[i].headers = BUF_INIT(EVENT_HEADERS_MAX);
		slots[i].key = BUF_INIT(EVENT_KEY_MAX);
	}
	check(queue_kafka_ingress(kafka, on_done, &pending, &queue, &err), &err);
	for (size_t at = 0; at < count; at += GROUP) {
		const size_t n = count - at < GROUP ? count - at : GROUP;

		for (size_t i = 0; i < n; i++)
			make_record(&slots[i], at + i, args[4], entities);
		append_group(queue, &pending, slots, n);
	}
	queue_close(&queue);
	kafka_close(&kafka);
	for (size_t i = 0; i < GROUP; i++) {
		buf_done(&slots[i].headers);
		buf_done(&slots[i].key);
	}
	free(slots);
	(void)printf("{\"records\":%zu}\n", count);
	return 0;
}

/* ---- the journal -------------------------------------------------------------------------------
 */

struct writer {
	struct queue *queue;
	struct journal_header header;
	struct buf batch;
};

/* Nothing is put out. */
static void no_outputs(void *ctx, struct record *list)
{
	(void)ctx;
	(void)list;
}

static void write_batch(struct writer *writer, enum journal_type type, size_t ids)
{
	const uint32_t now_s = (uint32_t)(clock_system()->wall_ms(clock_system()) / 1000);
	struct journal_read read;
	struct err err = ERR_INIT;

	writer->header.type = type;
	check(journal_begin(&writer->batch, &err), &err);
	for (size_t i = 0; i < ids; i++) {
		struct item item = {
			.type = ITEM_SEEN,
			.seen = { .outcome = OUTCOME_APPLIED, .received_s = now_s, .attempts = 1 },
		};

		random_bytes(item.seen.id16, ID16_LEN);
		check(journal_add(&writer->batch, &item, &err), &err);
	}
	check(journal_end(&writer->batch, &writer->header, &err), &err);
	check(queue_journal(writer->queue, buf_slice(&writer->batch), &read, &err), &err);
	writer->header.checkpoint_offset = read.offset + 1;
	writer->header.checkpoint_epoch = writer->header.epoch;
	writer->header.checkpoint_seq = writer->header.seq;
	memcpy(writer->header.checkpoint_writer, writer->header.writer, WRITER_LEN);
}

static void open_writer(
	struct writer *writer, struct kafka *kafka, size_t partition, size_t partitions)
{
	const struct kafka_lane_opts opts = {
		.partition = (int32_t)partition,
		.outputs_done = no_outputs,
	};
	const struct journal_state state = { .epoch = 0 };
	struct err err = ERR_INIT;

	*writer = (struct writer){
		.header = { .epoch = 1, .generation = 1, .partitions = (uint32_t)partitions },
		.batch = BUF_INIT(JOURNAL_BATCH_MAX),
	};
	random_bytes(writer->header.writer, WRITER_LEN);
	check(queue_kafka_lane(kafka, &opts, &writer->queue, &err), &err);
	check(queue_journal_seek(writer->queue, 0, &state, &err), &err);
	write_batch(writer, JOURNAL_CLAIM, 0);
}

static void close_writer(struct writer *writer)
{
	writer->header.seq++;
	write_batch(writer, JOURNAL_RELEASE, 0);
	queue_journal_stop(writer->queue);
	queue_close(&writer->queue);
	buf_done(&writer->batch);
}

static int ids(char **args)
{
	const size_t partitions = number(args[2]), each = number(args[3]) / partitions;
	struct kafka *kafka = open_kafka(args, false);

	for (size_t p = 0; p < partitions; p++) {
		struct writer writer;

		open_writer(&writer, kafka, p, partitions);
		for (size_t at = 0; at < each; at += IDS_A_BATCH) {
			writer.header.seq++;
			write_batch(&writer, JOURNAL_BATCH,
				each - at < IDS_A_BATCH ? each - at : IDS_A_BATCH);
		}
		close_writer(&writer);
	}
	kafka_close(&kafka);
	(void)printf("{\"ids\":%zu}\n", each * partitions);
	return 0;
}

/* Eight ids a batch: about the 400 bytes of a batch under little load. */
static int journal(char **args)
{
	const size_t count = number(args[3]);
	struct kafka *kafka = open_kafka(args, false);
	struct writer writer;
	int64_t began_us;

	open_writer(&writer, kafka, 0, number(args[2]));
	began_us = now_us();
	for (size_t i = 0; i < count; i++) {
		const int64_t sent_us = now_us();

		writer.header.seq++;
		write_batch(&writer, JOURNAL_BATCH, 8);
		sample(sent_us);
	}
	print_samples((double)(now_us() - began_us) / 1e6);
	close_writer(&writer);
	kafka_close(&kafka);
	return 0;
}

static const struct {
	const char *name;
	int words;
	int (*run)(char **args);
} commands[] = {
	{ "produce", 6, produce },
	{ "consume", 4, consume },
	{ "fill", 6, fill },
	{ "ids", 4, ids },
	{ "journal", 4, journal },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (argc == commands[i].words + 2 && strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argv + 2);
	}
	(void)fputs("usage: see the first lines of tests/bench/kafka.c\n", stderr);
	return 2;
}
