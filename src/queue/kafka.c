/* kafka.c - the process-wide handle: opened without a broker, settled with one, and a thread that
 * looks after the cluster so that readiness can be told without asking.
 *
 * Deliberately not here: topics (kafka_topics.c), records (kafka_producer.c), lanes. */
#include "kafka_priv.h"

#include "postern/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define DELIVERY_TIMEOUT_MS 8000 /* below the time that a sender waits for its answer */
#define LOOK_MS 5000             /* at a cluster that is well */
#define LOOK_AGAIN_MS 1000       /* at one that is not */
#define LOOK_TIMEOUT_MS 1500
#define TURN_MS 100   /* how often the query handle's queue is served */
#define CLOSE_MS 2000 /* for what lanes have forgotten */
#define MESSAGE_LEAST                                                                              \
	MIB(1) /* what a broker takes unless told otherwise, and more than a batch                 \
		*/
#define RECORD_OVERHEAD KIB(16) /* around an event: lengths of headers, marks of a dead letter */

static const char *const suffixes[KAFKA_TOPIC_COUNT] = {
	[KAFKA_TOPIC_EVENTS] = "",
	[KAFKA_TOPIC_JOURNAL] = ".journal",
	[KAFKA_TOPIC_DLQ] = ".dlq",
	[KAFKA_TOPIC_QUARANTINE] = ".quarantine",
};

/* ---- small answers -----------------------------------------------------------------------------
 */

int32_t kafka_partition_count(struct kafka *kafka)
{
	int32_t count;

	lock_take(&kafka->lock);
	count = kafka->partitions;
	lock_give(&kafka->lock);
	return count;
}

int kafka_left_ms(const struct kafka *kafka, int64_t deadline_ms)
{
	const int64_t left = deadline_ms - kafka_now_ms(kafka), most = 60000;

	if (left <= 0)
		return 0;
	return (int)(left < most ? left : most);
}

void kafka_wait(struct kafka *kafka, int64_t ms)
{
	const int64_t until_ms = kafka_now_ms(kafka) + ms;

	lock_take(&kafka->lock);
	while (!kafka->stopping && kafka_now_ms(kafka) < until_ms)
		(void)cond_wait(&kafka->changed, &kafka->lock, until_ms);
	lock_give(&kafka->lock);
}

const char *kafka_library_version(void)
{
	return rd_kafka_version_str();
}

const char *kafka_cluster_id(const struct kafka *kafka)
{
	return kafka->cluster_id;
}

/* ---- the watch ---------------------------------------------------------------------------------
 */

/* Brokers went away, or so it seems: look now, not at the next turn. */
static void on_failed(struct kafka_hook *hook, rd_kafka_resp_err_t code, const char *reason)
{
	struct kafka *kafka = hook->kafka;

	(void)code;
	(void)reason;
	lock_take(&kafka->lock);
	kafka->look_now = true;
	lock_give(&kafka->lock);
}

static void set_trouble(struct kafka *kafka, const struct err *err)
{
	bool changed;

	lock_take(&kafka->lock);
	changed = kafka->trouble.code != err->code;
	kafka->trouble = *err;
	lock_give(&kafka->lock);
	if (!changed)
		return;
	if (err->code == ERR_OK)
		log_info("kafka_ready");
	else
		log_warn("kafka_not_ready", log_code(err->code), log_str("text", err->text));
}

/* *out_next_ms: when to look again. */
static void look(struct kafka *kafka, int64_t *out_next_ms)
{
	const int64_t now_ms = kafka_now_ms(kafka);
	const int32_t count = kafka_partition_count(kafka);
	struct err err = ERR_INIT;

	if (count > 0) {
		err_ignored(kafka_topics_look(kafka, count, now_ms + LOOK_TIMEOUT_MS, &err));
		set_trouble(kafka, &err);
	}
	*out_next_ms = kafka_now_ms(kafka) + (err.code == ERR_OK ? LOOK_MS : LOOK_AGAIN_MS);
}

static bool stopping(struct kafka *kafka, bool *out_look_now)
{
	bool stopping;

	lock_take(&kafka->lock);
	stopping = kafka->stopping;
	*out_look_now = kafka->look_now;
	kafka->look_now = false;
	lock_give(&kafka->lock);
	return stopping;
}

static void *watch(void *arg)
{
	struct kafka *kafka = arg;
	int64_t next_ms = kafka_now_ms(kafka) + LOOK_MS, last_ms = 0;
	bool look_now;

	while (!stopping(kafka, &look_now)) {
		const int64_t now_ms = kafka_now_ms(kafka);

		if (look_now && next_ms > last_ms + LOOK_AGAIN_MS)
			next_ms = last_ms + LOOK_AGAIN_MS;
		if (now_ms >= next_ms) {
			look(kafka, &next_ms);
			last_ms = now_ms;
		}
		(void)rd_kafka_poll(kafka->query, TURN_MS);
	}
	return NULL;
}

/* ---- settle and ready --------------------------------------------------------------------------
 */

static enum err_code learn_cluster_id(struct kafka *kafka, int64_t deadline_ms, struct err *err)
{
	char *id = rd_kafka_clusterid(kafka->query, kafka_left_ms(kafka, deadline_ms));
	char text[KAFKA_CLUSTER_ID_MAX + 1];

	if (!id)
		return err_set(err, ERR_TIMEOUT, "the brokers do not tell the cluster's identity");
	(void)snprintf(text, sizeof(text), "%s", id);
	rd_kafka_mem_free(kafka->query, id);
	if (kafka->cluster_id[0] != '\0' && strcmp(kafka->cluster_id, text) != 0)
		return err_set(err, ERR_CONFIG, "these brokers are another cluster than before");
	memcpy(kafka->cluster_id, text, sizeof(text));
	return ERR_OK;
}

/* The topics of each producer. */
static const struct {
	enum kafka_kind producer;
	enum kafka_topic topic;
} warmed[] = {
	{ KAFKA_KIND_EVENTS, KAFKA_TOPIC_EVENTS },
	{ KAFKA_KIND_JOURNAL, KAFKA_TOPIC_JOURNAL },
	{ KAFKA_KIND_OUTPUTS, KAFKA_TOPIC_DLQ },
	{ KAFKA_KIND_OUTPUTS, KAFKA_TOPIC_QUARANTINE },
};

static enum err_code warm(struct kafka *kafka, int64_t deadline_ms, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < ARRAY_LEN(warmed) && rc == ERR_OK; i++) {
		struct kafka_producer *producer = kafka->producers[warmed[i].producer];

		if (producer)
			rc = kafka_producer_warm(
				producer, kafka->topics[warmed[i].topic], deadline_ms, err);
	}
	return rc;
}

enum err_code kafka_settle(struct kafka *kafka, int32_t expected, int64_t deadline_ms,
	int32_t *out_partitions, struct err *err)
{
	const int32_t before = kafka_partition_count(kafka);
	struct err own = ERR_INIT;
	int32_t partitions = 0;
	enum err_code rc = kafka_topics_settle(
		kafka, expected > 0 ? expected : before, deadline_ms, &partitions, &own);

	if (rc == ERR_OK)
		rc = learn_cluster_id(kafka, deadline_ms, &own);
	if (rc == ERR_OK)
		rc = warm(kafka, deadline_ms, &own);
	if (rc == ERR_OK) {
		lock_take(&kafka->lock);
		kafka->partitions = partitions;
		lock_give(&kafka->lock);
		*out_partitions = partitions;
	}
	set_trouble(kafka, &own);
	return rc == ERR_OK ? ERR_OK : err_set(err, rc, "%s", own.text);
}

enum err_code kafka_topic_partitions(
	struct kafka *kafka, const char *topic, int64_t deadline_ms, int32_t *out, struct err *err)
{
	return kafka_count_partitions(kafka, topic, deadline_ms, out, err);
}

enum err_code kafka_refusal(struct kafka *kafka, struct err *err)
{
	struct err trouble;

	lock_take(&kafka->lock);
	trouble = kafka->trouble;
	lock_give(&kafka->lock);
	return trouble.code == ERR_CONFIG ? err_set(err, ERR_CONFIG, "%s", trouble.text) : ERR_OK;
}

bool kafka_is_away(struct kafka *kafka)
{
	bool away;

	lock_take(&kafka->lock);
	away = kafka->trouble.code != ERR_OK;
	lock_give(&kafka->lock);
	return away;
}

enum err_code kafka_ready(struct kafka *kafka, struct err *err)
{
	struct kafka_producer *events = kafka->producers[KAFKA_KIND_EVENTS];
	struct err trouble;

	lock_take(&kafka->lock);
	trouble = kafka->trouble;
	lock_give(&kafka->lock);
	if (trouble.code != ERR_OK)
		return err_set(err, trouble.code, "%s", trouble.text);
	return events ? kafka_producer_room(events, kafka->opts.max_record_bytes, err) : ERR_OK;
}

/* ---- open and close ----------------------------------------------------------------------------
 */

static void free_properties(struct kafka_property *properties, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free((char *)(uintptr_t)properties[i].name);
		if (properties[i].value) {
			/* It may be a password. */
			explicit_bzero((char *)(uintptr_t)properties[i].value,
				strlen(properties[i].value));
			free((char *)(uintptr_t)properties[i].value);
		}
	}
	free(properties);
}

static enum err_code copy_opts(struct kafka *kafka, const struct kafka_opts *opts, struct err *err)
{
	bool whole;

	kafka->opts.topic = slice_dup_str(slice_str(opts->topic));
	kafka->opts.group = slice_dup_str(slice_str(opts->group));
	kafka->properties = calloc(opts->property_count + 1, sizeof(*kafka->properties));
	whole = kafka->opts.topic && kafka->opts.group && kafka->properties;
	kafka->opts.properties = kafka->properties;
	for (size_t i = 0; i < opts->property_count && whole; i++) {
		struct kafka_property *p = &kafka->properties[i];

		p->name = slice_dup_str(slice_str(opts->properties[i].name));
		p->value = slice_dup_str(slice_str(opts->properties[i].value));
		kafka->opts.property_count++;
		whole = p->name && p->value;
	}
	for (size_t i = 0; i < KAFKA_TOPIC_COUNT && whole; i++) {
		whole = asprintf(&kafka->topics[i], "%s%s", opts->topic, suffixes[i]) >= 0;
		if (!whole)
			kafka->topics[i] = NULL;
	}
	return whole ? ERR_OK : err_set(err, ERR_NOMEM, "no memory for properties");
}

size_t kafka_message_bytes(const struct kafka_opts *opts)
{
	size_t most = opts->max_record_bytes;

	if (opts->works && most < JOURNAL_BATCH_MAX)
		most = JOURNAL_BATCH_MAX;
	most += RECORD_OVERHEAD;
	return most > MESSAGE_LEAST ? most : MESSAGE_LEAST;
}

/* Names that Kafka takes, the longest of ours included. */
static enum err_code check_topic_name(const char *topic, struct err *err)
{
	const size_t most = 249 - strlen(suffixes[KAFKA_TOPIC_QUARANTINE]), len = strlen(topic);

	if (len == 0 || len > most || topic[0] == '.')
		return err_set(err, ERR_CONFIG, "/queue/topic: 1 to %zu bytes, no dot first", most);
	for (const char *p = topic; *p; p++) {
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-",
			    *p))
			return err_set(err, ERR_CONFIG,
				"/queue/topic: letters, digits, \".\", \"_\" and \"-\" only");
	}
	return ERR_OK;
}

static enum err_code open_query(struct kafka *kafka, struct err *err)
{
	rd_kafka_conf_t *conf = NULL;
	enum err_code rc;

	kafka->query_hook = (struct kafka_hook){
		.kafka = kafka,
		.name = "query",
		.failed = on_failed,
	};
	rc = kafka_conf_new(kafka, KAFKA_KIND_QUERY, &kafka->query_hook, &conf, err);
	if (rc == ERR_OK)
		rc = kafka_handle_new(kafka, KAFKA_KIND_QUERY, conf, &kafka->query, err);
	return rc;
}

static enum err_code open_producers(struct kafka *kafka, struct err *err)
{
	const bool needed[KAFKA_PRODUCER_KINDS] = {
		[KAFKA_KIND_EVENTS] = kafka->opts.writes_events,
		[KAFKA_KIND_JOURNAL] = kafka->opts.works,
		[KAFKA_KIND_OUTPUTS] = kafka->opts.works,
	};
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < KAFKA_PRODUCER_KINDS && rc == ERR_OK; i++) {
		if (needed[i])
			rc = kafka_producer_open(
				kafka, (enum kafka_kind)i, &kafka->producers[i], err);
	}
	return rc;
}

/* message.timeout.ms is the user's name for it. */
static int64_t delivery_timeout_ms(const struct kafka_opts *opts)
{
	const char *text = kafka_property(opts, "message.timeout.ms");
	uint64_t number;

	if (!text)
		text = kafka_property(opts, "delivery.timeout.ms");
	if (text && text_u64(slice_str(text), &number, NULL) == ERR_OK && number <= INT32_MAX)
		return (int64_t)number;
	return opts->delivery_timeout_ms > 0 ? opts->delivery_timeout_ms : DELIVERY_TIMEOUT_MS;
}

static struct kafka *new_kafka(const struct kafka_opts *opts)
{
	struct kafka *kafka = calloc(1, sizeof(*kafka));

	if (!kafka)
		return NULL;
	kafka->opts = *opts;
	kafka->opts.properties = NULL;
	kafka->opts.property_count = 0;
	kafka->opts.topic = kafka->opts.group = NULL;
	kafka->opts.delivery_timeout_ms = delivery_timeout_ms(opts);
	kafka->max_message_bytes = kafka_message_bytes(opts);
	err_ignored(err_set(&kafka->trouble, ERR_UNREACHABLE, "no broker has answered yet"));
	lock_init(&kafka->lock);
	cond_init(&kafka->changed);
	return kafka;
}

enum err_code kafka_check(const struct kafka_opts *opts, struct err *err)
{
	return kafka_conf_check(opts, err);
}

enum err_code kafka_open(const struct kafka_opts *opts, struct kafka **out, struct err *err)
{
	enum err_code rc = check_topic_name(opts->topic, err);
	struct kafka *kafka;

	if (rc == ERR_OK)
		rc = kafka_conf_check(opts, err);
	if (rc != ERR_OK)
		return rc;
	kafka = new_kafka(opts);
	if (!kafka)
		return err_set(err, ERR_NOMEM, "no memory for a connection to Kafka");
	rc = copy_opts(kafka, opts, err);
	if (rc == ERR_OK)
		rc = open_query(kafka, err);
	if (rc == ERR_OK)
		rc = open_producers(kafka, err);
	if (rc == ERR_OK)
		rc = thread_start(&kafka->watch, "kafka-watch", watch, kafka, err);
	if (rc != ERR_OK) {
		kafka_close(&kafka);
		return rc;
	}
	*out = kafka;
	return ERR_OK;
}

void kafka_close(struct kafka **handle)
{
	struct kafka *kafka = *handle;

	if (!kafka)
		return;
	assert(!kafka->fetch && !kafka->group);
	lock_take(&kafka->lock);
	kafka->stopping = true;
	cond_broadcast(&kafka->changed);
	lock_give(&kafka->lock);
	for (size_t i = 0; i < KAFKA_PRODUCER_KINDS; i++)
		kafka_producer_close(&kafka->producers[i], kafka_now_ms(kafka) + CLOSE_MS);
	thread_join(&kafka->watch);
	if (kafka->query)
		rd_kafka_destroy(kafka->query);
	for (size_t i = 0; i < KAFKA_TOPIC_COUNT; i++)
		free(kafka->topics[i]);
	free_properties(kafka->properties, kafka->opts.property_count);
	free((char *)(uintptr_t)kafka->opts.topic);
	free((char *)(uintptr_t)kafka->opts.group);
	free(kafka->ends);
	cond_done(&kafka->changed);
	lock_done(&kafka->lock);
	free(kafka);
	*handle = NULL;
}
