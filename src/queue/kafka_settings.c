/* kafka_settings.c - what a topic's settings must be: given when it is created, checked at every
 * start. And how a question is asked through the Admin API.
 *
 * A setting that would lose records in silence is refused; one that only makes a loss likelier is
 * warned of. */
#include "kafka_topics.h"

#include "postern/text.h"

#include <stdio.h>

#define NUMBER_MAX 24
#define SEGMENTS 14 /* of a journal's retention: what is expired goes in such steps */
#define SEGMENT_LEAST_MS 60000
#define SAFE_REPLICAS 3
#define SAFE_INSYNC 2

#define EVENTS (1u << KAFKA_TOPIC_EVENTS)
#define JOURNAL (1u << KAFKA_TOPIC_JOURNAL)
#define OUTPUTS ((1u << KAFKA_TOPIC_DLQ) | (1u << KAFKA_TOPIC_QUARANTINE))
#define EVERY (EVENTS | JOURNAL | OUTPUTS)

/* ---- the Admin API -----------------------------------------------------------------------------
 */

enum err_code kafka_question_open(struct kafka *kafka, rd_kafka_admin_op_t op, int64_t deadline_ms,
	struct kafka_question *out, struct err *err)
{
	const int left = kafka_left_ms(kafka, deadline_ms);

	if (left == 0)
		return err_set(err, ERR_TIMEOUT, "no time is left to ask the brokers");
	*out = (struct kafka_question){
		.options = rd_kafka_AdminOptions_new(kafka->query, op),
		.queue = rd_kafka_queue_new(kafka->query),
		.deadline_ms = deadline_ms,
	};
	/* Only values that make no sense are refused here. */
	(void)rd_kafka_AdminOptions_set_request_timeout(out->options, left, NULL, 0);
	if (op == RD_KAFKA_ADMIN_OP_CREATETOPICS)
		(void)rd_kafka_AdminOptions_set_operation_timeout(out->options, left, NULL, 0);
	return ERR_OK;
}

enum err_code kafka_question_wait(
	struct kafka *kafka, struct kafka_question *question, const char *what, struct err *err)
{
	rd_kafka_resp_err_t code;

	/* The library answers at its timeout itself; a little more lets it. */
	question->event = rd_kafka_queue_poll(
		question->queue, kafka_left_ms(kafka, question->deadline_ms + 1000));
	if (!question->event)
		return err_set(err, ERR_TIMEOUT, "%s: no answer", what);
	code = rd_kafka_event_error(question->event);
	return code == RD_KAFKA_RESP_ERR_NO_ERROR ? ERR_OK : kafka_err(err, code, what);
}

void kafka_question_close(struct kafka_question *question)
{
	if (question->event)
		rd_kafka_event_destroy(question->event);
	rd_kafka_queue_destroy(question->queue);
	rd_kafka_AdminOptions_destroy(question->options);
}

/* ---- created -----------------------------------------------------------------------------------
 */

struct pairs {
	rd_kafka_NewTopic_t *topic;
	rd_kafka_resp_err_t failed;
};

static void put(struct pairs *pairs, const char *name, const char *value)
{
	rd_kafka_resp_err_t code = rd_kafka_NewTopic_set_config(pairs->topic, name, value);

	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		pairs->failed = code;
}

static void put_number(struct pairs *pairs, const char *name, int64_t number)
{
	char text[NUMBER_MAX];

	(void)snprintf(text, sizeof(text), "%lld", (long long)number);
	put(pairs, name, text);
}

static int64_t retention_ms(const struct kafka *kafka, enum kafka_topic which)
{
	static const enum stream streams[KAFKA_TOPIC_COUNT] = {
		[KAFKA_TOPIC_EVENTS] = STREAM_EVENTS,
		[KAFKA_TOPIC_DLQ] = STREAM_DLQ,
		[KAFKA_TOPIC_QUARANTINE] = STREAM_QUARANTINE,
	};

	return which == KAFKA_TOPIC_JOURNAL ? kafka->opts.journal_retention_ms
					    : kafka->opts.output_retention_ms[streams[which]];
}

static void put_retention(struct pairs *pairs, const struct kafka *kafka, enum kafka_topic which)
{
	const int64_t keep_ms = retention_ms(kafka, which);
	const int64_t segment_ms = keep_ms / SEGMENTS;

	if (keep_ms <= 0)
		return;
	put_number(pairs, "retention.ms", keep_ms);
	if (which == KAFKA_TOPIC_JOURNAL)
		put_number(pairs, "segment.ms",
			segment_ms > SEGMENT_LEAST_MS ? segment_ms : SEGMENT_LEAST_MS);
}

enum err_code kafka_settings_put(struct kafka *kafka, enum kafka_topic which, int replicas,
	rd_kafka_NewTopic_t *topic, struct err *err)
{
	struct pairs pairs = { .topic = topic, .failed = RD_KAFKA_RESP_ERR_NO_ERROR };

	put(&pairs, "cleanup.policy", "delete");
	put(&pairs, "message.timestamp.type", "LogAppendTime");
	put(&pairs, "unclean.leader.election.enable", "false");
	put_number(&pairs, "min.insync.replicas", replicas >= SAFE_REPLICAS ? SAFE_INSYNC : 1);
	put_number(&pairs, "max.message.bytes", (int64_t)kafka->max_message_bytes);
	put_retention(&pairs, kafka, which);
	if (which == KAFKA_TOPIC_JOURNAL)
		put(&pairs, "retention.bytes", "-1");
	return pairs.failed == RD_KAFKA_RESP_ERR_NO_ERROR
		       ? ERR_OK
		       : kafka_err(err, pairs.failed, kafka->topics[which]);
}

/* ---- checked -----------------------------------------------------------------------------------
 */

/* What a setting must be. */
struct rule {
	unsigned topics;
	const char *name;
	const char *is; /* this text */
	int64_t (*least)(
		const struct kafka *kafka, enum kafka_topic which); /* or this number, or -1 */
	bool only_warns;
	const char *why;
};

static int64_t needed_bytes(const struct kafka *kafka, enum kafka_topic which)
{
	(void)which;
	return (int64_t)kafka->max_message_bytes;
}

static int64_t insync(const struct kafka *kafka, enum kafka_topic which)
{
	(void)kafka;
	(void)which;
	return SAFE_INSYNC;
}

/* clang-format off */
static const struct rule rules[] = {
	{ EVERY, "cleanup.policy", "delete", NULL, false, "compaction drops records that are needed" },
	{ EVERY, "max.message.bytes", NULL, needed_bytes, false, "the largest record must fit" },
	{ JOURNAL, "retention.ms", NULL, retention_ms, false,
		"state lives in the journal for 3 times /worker/dedupe_hours" },
	{ JOURNAL, "retention.bytes", "-1", NULL, false, "state must not be dropped for its size" },
	{ JOURNAL, "message.timestamp.type", "LogAppendTime", NULL, false,
		"every worker must see the same time" },
	{ EVERY, "unclean.leader.election.enable", "false", NULL, true,
		"a broker that fell behind may lose acknowledged records" },
	{ EVERY, "min.insync.replicas", NULL, insync, true,
		"one broker alone holds what was acknowledged" },
};
/* clang-format on */

static bool holds(const struct rule *rule, const struct kafka *kafka, enum kafka_topic which,
	const char *value)
{
	int64_t number = 0;

	if (rule->is)
		return strcmp(value, rule->is) == 0;
	if (text_i64(slice_str(value), &number, NULL) != ERR_OK)
		return false;
	return number == -1 || number >= rule->least(kafka, which);
}

static void describe(const struct rule *rule, const struct kafka *kafka, enum kafka_topic which,
	char out[NUMBER_MAX])
{
	if (rule->is)
		(void)snprintf(out, NUMBER_MAX, "%s", rule->is);
	else
		(void)snprintf(
			out, NUMBER_MAX, "at least %lld", (long long)rule->least(kafka, which));
}

static enum err_code apply(const struct rule *rule, const struct kafka *kafka,
	enum kafka_topic which, const char *value, struct err *err)
{
	const char *topic = kafka->topics[which];
	char want[NUMBER_MAX];

	if (holds(rule, kafka, which, value))
		return ERR_OK;
	describe(rule, kafka, which, want);
	if (!rule->only_warns)
		return err_set(err, ERR_CONFIG, "topic %s: %s is %s, and must be %s: %s", topic,
			rule->name, value, want, rule->why);
	log_warn("kafka_topic_setting", log_str("topic", topic), log_str("setting", rule->name),
		log_str("value", value), log_str("better", want), log_str("text", rule->why));
	return ERR_OK;
}

static enum err_code check_topic(struct kafka *kafka, enum kafka_topic which,
	const rd_kafka_ConfigResource_t *resource, struct err *err)
{
	const rd_kafka_ConfigEntry_t **entries;
	enum err_code rc = ERR_OK;
	size_t count = 0;

	entries = rd_kafka_ConfigResource_configs(resource, &count);
	for (size_t i = 0; i < count && rc == ERR_OK; i++) {
		const char *name = rd_kafka_ConfigEntry_name(entries[i]);
		const char *value = rd_kafka_ConfigEntry_value(entries[i]);

		for (size_t r = 0; r < ARRAY_LEN(rules) && value && rc == ERR_OK; r++) {
			if ((rules[r].topics & (1u << which)) && strcmp(rules[r].name, name) == 0)
				rc = apply(&rules[r], kafka, which, value, err);
		}
	}
	return rc;
}

/* We may not be allowed to ask, or the broker may not know how: then the operator knows. */
static bool does_not_tell(enum err_code code)
{
	return code == ERR_DENIED || code == ERR_UNSUPPORTED;
}

static enum err_code check_answer(
	struct kafka *kafka, rd_kafka_event_t *event, size_t topics, struct err *err)
{
	const rd_kafka_ConfigResource_t **resources;
	enum err_code rc = ERR_OK;
	size_t count = 0;

	resources = rd_kafka_DescribeConfigs_result_resources(
		rd_kafka_event_DescribeConfigs_result(event), &count);
	for (size_t i = 0; i < count && rc == ERR_OK; i++) {
		const char *name = rd_kafka_ConfigResource_name(resources[i]);
		rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(resources[i]);

		if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
			return kafka_err(err, code, "reading the settings of topics");
		for (size_t t = 0; t < topics && rc == ERR_OK; t++) {
			if (strcmp(kafka->topics[t], name) == 0)
				rc = check_topic(kafka, (enum kafka_topic)t, resources[i], err);
		}
	}
	return rc;
}

static enum err_code ask(
	struct kafka *kafka, size_t topics, struct kafka_question *question, struct err *err)
{
	rd_kafka_ConfigResource_t *resources[KAFKA_TOPIC_COUNT];
	enum err_code rc;

	for (size_t i = 0; i < topics; i++)
		resources[i] =
			rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, kafka->topics[i]);
	rd_kafka_DescribeConfigs(
		kafka->query, resources, topics, question->options, question->queue);
	rc = kafka_question_wait(kafka, question, "reading the settings of topics", err);
	rd_kafka_ConfigResource_destroy_array(resources, topics);
	return rc;
}

enum err_code kafka_settings_check(
	struct kafka *kafka, size_t topics, int64_t deadline_ms, struct err *err)
{
	struct kafka_question question;
	struct err own = ERR_INIT;
	enum err_code rc = kafka_question_open(
		kafka, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, deadline_ms, &question, err);

	if (rc != ERR_OK)
		return rc;
	rc = ask(kafka, topics, &question, &own);
	if (rc == ERR_OK)
		rc = check_answer(kafka, question.event, topics, &own);
	kafka_question_close(&question);
	if (does_not_tell(rc)) {
		log_warn("kafka_topics_unchecked", log_code(rc), log_str("text", own.text));
		return ERR_OK;
	}
	return rc == ERR_OK ? ERR_OK : err_set(err, rc, "%s", own.text);
}
