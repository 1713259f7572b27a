/* kafka_topics.c - the topics that postern needs: are they there, alike, large and lasting enough;
 * what is missing is created. And what can be asked about a topic.
 *
 * A partition count that changed behind our back would send the copies of one event to two
 * partitions, and a journal that drops records too early would lose state in silence: both stop the
 * program here, before any record. Deliberately not here: settings of topics (kafka_settings.c). */
#include "kafka_topics.h"

#include <assert.h>
#include <stdlib.h>

#define PARTITIONS 12 /* of topics that are created, where nobody says */
#define REPLICAS_MAX 3
#define AGAIN_MS 50 /* between looks at topics that were just created */
#define ASK_MS 2000 /* a question, so that one lost answer does not use all the time up */
#define LIBRARY_TEXT 512

/* What one look at a topic gives. */
struct look {
	bool exists;
	int32_t partitions, brokers;
	int32_t unled; /* a partition without a leader; -1: none */
};

static int step_ms(const struct kafka *kafka, int64_t deadline_ms)
{
	int left = kafka_left_ms(kafka, deadline_ms);

	return left < ASK_MS ? left : ASK_MS;
}

static bool is_missing(rd_kafka_resp_err_t code)
{
	return kafka_err_code(code) == ERR_NOT_FOUND;
}

static enum err_code read_look(const struct rd_kafka_metadata *metadata, const char *topic,
	struct look *out, struct err *err)
{
	const struct rd_kafka_metadata_topic *t;

	if (metadata->topic_cnt != 1)
		return err_set(err, ERR_IO, "%s: the broker does not speak of it", topic);
	t = &metadata->topics[0];
	*out = (struct look){ .brokers = metadata->broker_cnt, .unled = -1 };
	if (is_missing(t->err))
		return ERR_OK;
	/* Without a leader yet is there all the same. */
	if (t->err != RD_KAFKA_RESP_ERR_NO_ERROR &&
		t->err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
		return kafka_err(err, t->err, topic);
	out->exists = t->partition_cnt > 0;
	out->partitions = t->partition_cnt;
	for (int i = 0; i < t->partition_cnt; i++) {
		if (t->partitions[i].leader < 0)
			out->unled = t->partitions[i].id;
	}
	return ERR_OK;
}

static enum err_code look_at(struct kafka *kafka, const char *topic, int64_t deadline_ms,
	struct look *out, struct err *err)
{
	const struct rd_kafka_metadata *metadata = NULL;
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(kafka->query, topic, NULL);
	rd_kafka_resp_err_t code;
	enum err_code rc;

	if (!rkt)
		return kafka_err(err, rd_kafka_last_error(), topic);
	code = rd_kafka_metadata(kafka->query, 0, rkt, &metadata, step_ms(kafka, deadline_ms));
	rd_kafka_topic_destroy(rkt);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
		return kafka_err(err, code, "asking the brokers for their topics");
	rc = read_look(metadata, topic, out, err);
	rd_kafka_metadata_destroy(metadata);
	return rc;
}

enum err_code kafka_count_partitions(
	struct kafka *kafka, const char *topic, int64_t deadline_ms, int32_t *out, struct err *err)
{
	struct look look = { .unled = -1 };
	enum err_code rc = look_at(kafka, topic, deadline_ms, &look, err);

	if (rc != ERR_OK)
		return rc;
	if (!look.exists)
		return err_set(err, ERR_NOT_FOUND, "there is no topic %s", topic);
	*out = look.partitions;
	return ERR_OK;
}

static enum err_code changed(const char *topic, int32_t is, int32_t expected, struct err *err)
{
	return err_set(err, ERR_CONFIG,
		"topic %s has %d partitions, and had %d: the count is fixed for ever, as events "
		"would "
		"change places",
		topic, is, expected);
}

/* It was there once. An empty one in its place would hide the loss, and its first records would
 * stand where a worker believes that it has been. */
static enum err_code gone(const struct kafka *kafka, struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "topic %s is gone, and is not made again",
		kafka->topics[KAFKA_TOPIC_EVENTS]);
}

enum err_code kafka_topics_look(
	struct kafka *kafka, int32_t expected, int64_t deadline_ms, struct err *err)
{
	const char *topic = kafka->topics[KAFKA_TOPIC_EVENTS];
	struct look look = { .unled = -1 };
	enum err_code rc = look_at(kafka, topic, deadline_ms, &look, err);

	if (rc != ERR_OK)
		return rc;
	if (!look.exists)
		return gone(kafka, err);
	if (look.partitions != expected)
		return changed(topic, look.partitions, expected, err);
	if (look.unled >= 0)
		return err_set(err, ERR_UNREACHABLE, "topic %s: partition %d has no leader", topic,
			look.unled);
	return ERR_OK;
}

/* One of the two ends, as the partition's leader says. */
static enum err_code ask_offset(struct kafka *kafka, const char *topic, int32_t partition,
	int64_t which, int timeout_ms, int64_t *out, struct err *err)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
	rd_kafka_resp_err_t code;

	rd_kafka_topic_partition_list_add(list, topic, partition)->offset = which;
	/* The call for watermarks does not keep to its timeout in this version; this one does. */
	code = rd_kafka_offsets_for_times(kafka->query, list, timeout_ms);
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
		code = list->elems[0].err;
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
		*out = list->elems[0].offset;
	rd_kafka_topic_partition_list_destroy(list);
	return code == RD_KAFKA_RESP_ERR_NO_ERROR ? ERR_OK : kafka_err(err, code, topic);
}

enum err_code kafka_watermarks(struct kafka *kafka, const char *topic, int32_t partition,
	int64_t deadline_ms, int64_t *out_first, int64_t *out_end, struct err *err)
{
	int64_t first = 0, end = 0;
	enum err_code rc = ask_offset(kafka, topic, partition, RD_KAFKA_OFFSET_BEGINNING,
		kafka_left_ms(kafka, deadline_ms), &first, err);

	if (rc == ERR_OK)
		rc = ask_offset(kafka, topic, partition, RD_KAFKA_OFFSET_END,
			kafka_left_ms(kafka, deadline_ms), &end, err);
	if (rc != ERR_OK)
		return rc;
	if (first < 0 || end < first)
		return err_set(err, ERR_IO, "%s: partition %d goes from %lld to %lld", topic,
			partition, (long long)first, (long long)end);
	*out_first = first;
	*out_end = end;
	return ERR_OK;
}

/* ---- settling ----------------------------------------------------------------------------------
 */

struct settling {
	struct kafka *kafka;
	int64_t deadline_ms;
	size_t wanted; /* the first so many topics */
	struct look looks[KAFKA_TOPIC_COUNT];
	int32_t partitions; /* what they have, or are to have */
};

static enum err_code look_at_all(struct settling *s, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < s->wanted && rc == ERR_OK; i++)
		rc = look_at(s->kafka, s->kafka->topics[i], s->deadline_ms, &s->looks[i], err);
	return rc;
}

/* All that exist have the same count, which is the expected one. */
static enum err_code compare(struct settling *s, int32_t expected, struct err *err)
{
	const struct kafka *kafka = s->kafka;
	size_t by = KAFKA_TOPIC_COUNT;

	for (size_t i = 0; i < s->wanted; i++) {
		if (!s->looks[i].exists)
			continue;
		if (expected > 0 && s->looks[i].partitions != expected)
			return changed(kafka->topics[i], s->looks[i].partitions, expected, err);
		if (by == KAFKA_TOPIC_COUNT)
			by = i;
		if (s->looks[i].partitions != s->looks[by].partitions)
			return err_set(err, ERR_CONFIG,
				"topic %s has %d partitions and topic %s has %d: they must have "
				"the "
				"same count",
				kafka->topics[i], s->looks[i].partitions, kafka->topics[by],
				s->looks[by].partitions);
	}
	if (by < KAFKA_TOPIC_COUNT)
		s->partitions = s->looks[by].partitions;
	else if (expected > 0)
		s->partitions = expected;
	else
		s->partitions = kafka->opts.partitions > 0 ? kafka->opts.partitions : PARTITIONS;
	return ERR_OK;
}

/* The first wanted one that is missing; KAFKA_TOPIC_COUNT: none. */
static size_t first_missing(const struct settling *s)
{
	for (size_t i = 0; i < s->wanted; i++) {
		if (!s->looks[i].exists)
			return i;
	}
	return KAFKA_TOPIC_COUNT;
}

/* A cluster that is starting may answer before any of its brokers is registered. */
static enum err_code count_replicas(
	const struct look *look, const char *topic, int *out, struct err *err)
{
	if (look->brokers <= 0)
		return err_set(err, ERR_UNREACHABLE,
			"topic %s: no broker is there yet to be given its partitions", topic);
	*out = look->brokers < REPLICAS_MAX ? look->brokers : REPLICAS_MAX;
	return ERR_OK;
}

static enum err_code add_new_topic(
	const struct settling *s, size_t which, rd_kafka_NewTopic_t **out, struct err *err)
{
	char why[LIBRARY_TEXT] = "";
	int replicas = 0;
	enum err_code rc =
		count_replicas(&s->looks[which], s->kafka->topics[which], &replicas, err);

	if (rc != ERR_OK)
		return rc;
	*out = rd_kafka_NewTopic_new(
		s->kafka->topics[which], s->partitions, replicas, why, sizeof(why));
	if (!*out)
		return err_set(err, ERR_CONFIG, "topic %s: %s", s->kafka->topics[which], why);
	rc = kafka_settings_put(s->kafka, (enum kafka_topic)which, replicas, *out, err);
	if (rc == ERR_OK)
		log_info("kafka_topic_created", log_str("topic", s->kafka->topics[which]),
			log_int("partitions", s->partitions), log_int("replicas", replicas));
	return rc;
}

/* Another process may have been faster: that is as good. */
static enum err_code read_created(
	const struct kafka *kafka, rd_kafka_event_t *event, struct err *err)
{
	const rd_kafka_topic_result_t **results;
	size_t count = 0;

	results = rd_kafka_CreateTopics_result_topics(
		rd_kafka_event_CreateTopics_result(event), &count);
	for (size_t i = 0; i < count; i++) {
		rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[i]);
		const char *why = rd_kafka_topic_result_error_string(results[i]);
		char text[KAFKA_TEXT_MAX];

		if (code == RD_KAFKA_RESP_ERR_NO_ERROR ||
			code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
			continue;
		kafka_text(&kafka->opts, why ? why : rd_kafka_err2str(code), text);
		return err_set(err, kafka_err_code(code), "creating topic %s: %s",
			rd_kafka_topic_result_name(results[i]), text);
	}
	return ERR_OK;
}

static enum err_code send_create(
	struct settling *s, rd_kafka_NewTopic_t **topics, size_t count, struct err *err)
{
	struct kafka *kafka = s->kafka;
	struct kafka_question question;
	enum err_code rc = kafka_question_open(
		kafka, RD_KAFKA_ADMIN_OP_CREATETOPICS, s->deadline_ms, &question, err);

	if (rc != ERR_OK)
		return rc;
	rd_kafka_CreateTopics(kafka->query, topics, count, question.options, question.queue);
	rc = kafka_question_wait(kafka, &question, "creating topics", err);
	if (rc == ERR_OK)
		rc = read_created(kafka, question.event, err);
	kafka_question_close(&question);
	return rc;
}

static enum err_code create_missing(struct settling *s, struct err *err)
{
	rd_kafka_NewTopic_t *topics[KAFKA_TOPIC_COUNT] = { NULL };
	enum err_code rc = ERR_OK;
	size_t count = 0;

	for (size_t i = 0; i < s->wanted && rc == ERR_OK; i++) {
		if (!s->looks[i].exists)
			rc = add_new_topic(s, i, &topics[count++], err);
	}
	if (rc == ERR_OK)
		rc = send_create(s, topics, count, err);
	for (size_t i = 0; i < count; i++) {
		if (topics[i])
			rd_kafka_NewTopic_destroy(topics[i]);
	}
	return rc;
}

/* Brokers tell each other of new topics in their own time. */
static enum err_code wait_for_all(struct settling *s, struct err *err)
{
	struct kafka *kafka = s->kafka;

	for (;;) {
		enum err_code rc = look_at_all(s, err);
		size_t missing;

		if (rc != ERR_OK)
			return rc;
		missing = first_missing(s);
		if (missing == KAFKA_TOPIC_COUNT)
			return ERR_OK;
		if (kafka_left_ms(kafka, s->deadline_ms) == 0)
			return err_set(err, ERR_TIMEOUT,
				"topic %s was created, and is not there yet",
				kafka->topics[missing]);
		kafka_wait(kafka, AGAIN_MS);
	}
}

/* ---- topics of the user's ----------------------------------------------------------------------
 */

/* With the settings that the brokers give to any topic. */
static enum err_code create_one(struct settling *s, const char *topic, struct err *err)
{
	char why[LIBRARY_TEXT] = "";
	rd_kafka_NewTopic_t *new;
	int replicas = 0;
	enum err_code rc = count_replicas(&s->looks[0], topic, &replicas, err);

	if (rc != ERR_OK)
		return rc;
	new = rd_kafka_NewTopic_new(topic, s->partitions, replicas, why, sizeof(why));
	if (!new)
		return err_set(err, ERR_CONFIG, "topic %s: %s", topic, why);
	rc = send_create(s, &new, 1, err);
	rd_kafka_NewTopic_destroy(new);
	while (rc == ERR_OK) {
		rc = look_at(s->kafka, topic, s->deadline_ms, &s->looks[0], err);
		if (rc != ERR_OK || s->looks[0].exists)
			break;
		if (kafka_left_ms(s->kafka, s->deadline_ms) == 0)
			rc = err_set(err, ERR_TIMEOUT, "topic %s was created, and is not there yet",
				topic);
		else
			kafka_wait(s->kafka, AGAIN_MS);
	}
	if (rc == ERR_OK)
		log_info("kafka_topic_created", log_str("topic", topic),
			log_int("partitions", s->partitions), log_int("replicas", replicas));
	return rc;
}

enum err_code kafka_user_topic(
	struct kafka *kafka, const char *topic, int64_t deadline_ms, struct err *err)
{
	struct settling s = { .kafka = kafka,
		.deadline_ms = deadline_ms,
		.partitions = kafka_partition_count(kafka) };
	enum err_code rc = look_at(kafka, topic, deadline_ms, &s.looks[0], err);

	assert(s.partitions > 0);
	if (rc == ERR_OK && !s.looks[0].exists && !kafka->opts.create_topics)
		return err_set(err, ERR_CONFIG,
			"there is no topic %s, and /queue/create_topics is false", topic);
	if (rc == ERR_OK && !s.looks[0].exists)
		rc = create_one(&s, topic, err);
	return rc == ERR_OK ? kafka_producer_warm(
				      kafka->producers[KAFKA_KIND_OUTPUTS], topic, deadline_ms, err)
			    : rc;
}

/* ---- leaders -----------------------------------------------------------------------------------
 */

/* A leader that the metadata name may not know it yet. It refuses the first request of a producer
 * then, takes the second, and calls the first a duplicate when it comes again: so nothing is sent
 * before it answers for the partition. */
static enum err_code wait_for_leader(
	struct settling *s, const char *topic, int32_t partition, struct err *err)
{
	for (;;) {
		struct err own = ERR_INIT;
		int64_t end;
		enum err_code rc = ask_offset(s->kafka, topic, partition, RD_KAFKA_OFFSET_END,
			kafka_left_ms(s->kafka, s->deadline_ms), &end, &own);

		if (rc == ERR_OK)
			return ERR_OK;
		if (kafka_left_ms(s->kafka, s->deadline_ms) == 0)
			return err_set(err, rc, "%s", own.text);
		kafka_wait(s->kafka, AGAIN_MS);
	}
}

static enum err_code wait_for_leaders(struct settling *s, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (size_t t = 0; t < s->wanted && rc == ERR_OK; t++) {
		for (int32_t p = 0; p < s->partitions && rc == ERR_OK; p++)
			rc = wait_for_leader(s, s->kafka->topics[t], p, err);
	}
	return rc;
}

enum err_code kafka_topics_settle(struct kafka *kafka, int32_t expected, int64_t deadline_ms,
	int32_t *out_partitions, struct err *err)
{
	struct settling s = {
		.kafka = kafka,
		.deadline_ms = deadline_ms,
		.wanted = kafka->opts.works ? KAFKA_TOPIC_COUNT : KAFKA_TOPIC_EVENTS + 1,
	};
	enum err_code rc = look_at_all(&s, err);
	size_t missing = KAFKA_TOPIC_COUNT;

	if (rc == ERR_OK && expected > 0 && !s.looks[KAFKA_TOPIC_EVENTS].exists)
		rc = gone(kafka, err);
	if (rc == ERR_OK)
		rc = compare(&s, expected, err);
	if (rc == ERR_OK)
		missing = first_missing(&s);
	if (rc == ERR_OK && missing < KAFKA_TOPIC_COUNT) {
		if (!kafka->opts.create_topics)
			return err_set(err, ERR_CONFIG,
				"there is no topic %s, and /queue/create_topics is false",
				kafka->topics[missing]);
		rc = create_missing(&s, err);
		if (rc == ERR_OK)
			rc = wait_for_all(&s, err);
		if (rc == ERR_OK) /* another process may have created it otherwise */
			rc = compare(&s, expected, err);
		if (rc == ERR_OK)
			rc = wait_for_leaders(&s, err);
	}
	if (rc == ERR_OK && !kafka->believes_settings)
		rc = kafka_settings_check(kafka, s.wanted, deadline_ms, err);
	if (rc == ERR_OK)
		*out_partitions = s.partitions;
	return rc;
}
