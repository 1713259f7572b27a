/* kafka_fetch.c - the consumer handles behind all lanes of a process, and the thread that polls
 * them.
 *
 * Two handles: one that the readers of lanes share (each partition has a queue of its own in it),
 * and one for single records, because a handle fetches a partition from one place at a time. The
 * thread takes log lines and errors from both; records never come its way. */
#include "kafka_lane.h"

#include <assert.h>
#include <stdlib.h>

#define POLL_MS 100

enum part { PART_READ, PART_LOOKUP, PART_COUNT };

struct kafka_fetch {
	struct kafka *kafka;
	size_t lanes; /* guarded by kafka.lock */
	struct lock lock;
	bool stopping; /* guarded by lock */
	struct thread thread;
	struct {
		struct kafka_hook hook;
		rd_kafka_t *rk;
		rd_kafka_topic_t *topics[KAFKA_TOPIC_COUNT]; /* held, so that leaders stay known */
	} parts[PART_COUNT];
};

static const char *const part_names[PART_COUNT] = {
	[PART_READ] = "reader",
	[PART_LOOKUP] = "lookup",
};

static bool stopping(struct kafka_fetch *fetch)
{
	bool answer;

	lock_take(&fetch->lock);
	answer = fetch->stopping;
	lock_give(&fetch->lock);
	return answer;
}

static void *run(void *arg)
{
	struct kafka_fetch *fetch = arg;

	while (!stopping(fetch)) {
		(void)rd_kafka_poll(fetch->parts[PART_LOOKUP].rk, 0);
		(void)rd_kafka_poll(fetch->parts[PART_READ].rk, POLL_MS);
	}
	return NULL;
}

/* One record is wanted, not what lies behind it: a broker gives at least one set of records,
 * however small the limit. */
static enum err_code fetch_little(rd_kafka_conf_t *conf, struct err *err)
{
	static const char name[] = "fetch.message.max.bytes";
	char why[128] = "";

	if (rd_kafka_conf_set(conf, name, "1024", why, sizeof(why)) != RD_KAFKA_CONF_OK)
		return err_set(err, ERR_CONFIG, "Kafka property \"%s\": %s", name, why);
	return ERR_OK;
}

static enum err_code open_part(struct kafka_fetch *fetch, enum part which, struct err *err)
{
	struct kafka *kafka = fetch->kafka;
	rd_kafka_conf_t *conf;
	enum err_code rc;

	fetch->parts[which].hook = (struct kafka_hook){ .kafka = kafka, .name = part_names[which] };
	rc = kafka_conf_new(kafka, KAFKA_KIND_DATA, &fetch->parts[which].hook, &conf, err);
	if (rc == ERR_OK && which == PART_LOOKUP) {
		rc = fetch_little(conf, err);
		if (rc != ERR_OK)
			rd_kafka_conf_destroy(conf);
	}
	if (rc == ERR_OK)
		rc = kafka_handle_new(kafka, KAFKA_KIND_DATA, conf, &fetch->parts[which].rk, err);
	for (size_t i = 0; i < KAFKA_TOPIC_COUNT && rc == ERR_OK; i++) {
		rd_kafka_t *rk = fetch->parts[which].rk;

		fetch->parts[which].topics[i] = rd_kafka_topic_new(rk, kafka->topics[i], NULL);
		if (!fetch->parts[which].topics[i])
			rc = kafka_err(err, rd_kafka_last_error(), kafka->topics[i]);
	}
	return rc;
}

static void free_part(struct kafka_fetch *fetch, enum part which)
{
	for (size_t i = 0; i < KAFKA_TOPIC_COUNT; i++) {
		if (fetch->parts[which].topics[i])
			rd_kafka_topic_destroy(fetch->parts[which].topics[i]);
	}
	if (fetch->parts[which].rk)
		rd_kafka_destroy(fetch->parts[which].rk);
}

static void free_fetch(struct kafka_fetch *fetch)
{
	lock_take(&fetch->lock);
	fetch->stopping = true;
	lock_give(&fetch->lock);
	thread_join(&fetch->thread);
	for (size_t i = 0; i < PART_COUNT; i++)
		free_part(fetch, (enum part)i);
	lock_done(&fetch->lock);
	free(fetch);
}

static enum err_code new_fetch(struct kafka *kafka, struct kafka_fetch **out, struct err *err)
{
	struct kafka_fetch *fetch = calloc(1, sizeof(*fetch));
	enum err_code rc;

	if (!fetch)
		return err_set(err, ERR_NOMEM, "no memory for a consumer");
	fetch->kafka = kafka;
	fetch->lanes = 1;
	lock_init(&fetch->lock);
	rc = open_part(fetch, PART_READ, err);
	if (rc == ERR_OK)
		rc = open_part(fetch, PART_LOOKUP, err);
	if (rc == ERR_OK)
		rc = thread_start(&fetch->thread, "kafka-fetch", run, fetch, err);
	if (rc != ERR_OK) {
		free_fetch(fetch);
		return rc;
	}
	*out = fetch;
	return ERR_OK;
}

/* The one that is there, with one lane more; NULL: there is none. */
static struct kafka_fetch *join(struct kafka *kafka)
{
	struct kafka_fetch *fetch;

	lock_take(&kafka->lock);
	fetch = kafka->fetch;
	if (fetch)
		fetch->lanes++;
	lock_give(&kafka->lock);
	return fetch;
}

/* Two lanes may open at once: the first one's stays. */
static struct kafka_fetch *publish(struct kafka *kafka, struct kafka_fetch *fresh)
{
	struct kafka_fetch *fetch;

	lock_take(&kafka->lock);
	if (kafka->fetch)
		kafka->fetch->lanes++;
	else
		kafka->fetch = fresh;
	fetch = kafka->fetch;
	lock_give(&kafka->lock);
	if (fetch != fresh)
		free_fetch(fresh);
	return fetch;
}

enum err_code kafka_fetch_open(struct kafka *kafka, struct kafka_fetch **out, struct err *err)
{
	struct kafka_fetch *fetch = join(kafka);
	enum err_code rc = ERR_OK;

	if (!fetch) {
		rc = new_fetch(kafka, &fetch, err);
		if (rc == ERR_OK)
			fetch = publish(kafka, fetch);
	}
	if (rc == ERR_OK)
		*out = fetch;
	return rc;
}

void kafka_fetch_close(struct kafka *kafka, struct kafka_fetch **fetch)
{
	bool last;

	if (!*fetch)
		return;
	lock_take(&kafka->lock);
	assert((*fetch)->lanes > 0);
	last = --(*fetch)->lanes == 0;
	if (last)
		kafka->fetch = NULL;
	lock_give(&kafka->lock);
	if (last)
		free_fetch(*fetch);
	*fetch = NULL;
}

rd_kafka_t *kafka_fetch_handle(struct kafka_fetch *fetch)
{
	return fetch->parts[PART_READ].rk;
}

rd_kafka_t *kafka_fetch_lookup_handle(struct kafka_fetch *fetch)
{
	return fetch->parts[PART_LOOKUP].rk;
}
