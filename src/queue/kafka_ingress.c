/* kafka_ingress.c - the ingress half as a queue: events to their topic, nothing else.
 *
 * Deliberately not here: how records are sent (kafka_producer.c), and what becomes of them while
 * Kafka is away. */
#include "kafka_priv.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

struct ingress_queue {
	struct queue base;
	struct kafka *kafka;
	struct kafka_producer *producer;
	struct kafka_sink sink;
	queue_done_fn *done;
	void *ctx;
	/* Written by the producer's thread, read by whoever asks; nothing else is ordered by them.
	 */
	atomic_llong appended, groups;
};

static struct ingress_queue *ingress_of(struct queue *queue)
{
	return container_of(queue, struct ingress_queue, base);
}

static void on_done(void *ctx, struct record *list)
{
	struct ingress_queue *q = ctx;
	int64_t appended = 0;

	for (const struct record *r = list; r; r = r->next)
		appended += r->result == ERR_OK;
	atomic_fetch_add_explicit(&q->appended, appended, memory_order_relaxed);
	atomic_fetch_add_explicit(&q->groups, 1, memory_order_relaxed);
	q->done(q->ctx, list);
}

static enum err_code closed(enum stream stream, struct err *err)
{
	return err_set(err, ERR_STOPPED, "%s is not open in this process", stream_name(stream));
}

static enum err_code ingress_append(
	struct queue *queue, enum stream stream, struct record *list, struct err *err)
{
	struct ingress_queue *q = ingress_of(queue);
	const struct kafka_target target = {
		.topic = q->kafka->topics[KAFKA_TOPIC_EVENTS],
		.partition = KAFKA_BY_KEY,
		.sink = &q->sink,
	};
	enum err_code rc;

	if (stream != STREAM_EVENTS)
		return closed(stream, err);
	rc = kafka_refusal(q->kafka, err);
	return rc == ERR_OK ? kafka_producer_append(q->producer, &target, list, err) : rc;
}

static enum err_code ingress_room(
	struct queue *queue, enum stream stream, size_t bytes, struct err *err)
{
	struct ingress_queue *q = ingress_of(queue);
	enum err_code rc;

	if (stream != STREAM_EVENTS)
		return closed(stream, err);
	rc = kafka_ready(q->kafka, err);
	return rc == ERR_OK ? kafka_producer_room(q->producer, bytes, err) : rc;
}

/* Offsets mean nothing across partitions: only what this process has appended is told. */
static void ingress_stat(struct queue *queue, enum stream stream, struct stream_stat *out)
{
	struct ingress_queue *q = ingress_of(queue);

	if (stream != STREAM_EVENTS)
		return;
	out->appended = atomic_load_explicit(&q->appended, memory_order_relaxed);
	out->syncs = atomic_load_explicit(&q->groups, memory_order_relaxed);
}

static void ingress_close(struct queue *queue)
{
	struct ingress_queue *q = ingress_of(queue);

	kafka_sink_close(
		q->producer, &q->sink, kafka_now_ms(q->kafka) + q->kafka->opts.delivery_timeout_ms);
	free(q);
}

static const struct queue_ops ingress_ops = {
	.name = "kafka",
	.append = ingress_append,
	.room = ingress_room,
	.stat = ingress_stat,
	.close = ingress_close,
};

enum err_code queue_kafka_ingress(
	struct kafka *kafka, queue_done_fn *done, void *ctx, struct queue **out, struct err *err)
{
	struct ingress_queue *q = calloc(1, sizeof(*q));

	assert(kafka->opts.writes_events);
	if (!q)
		return err_set(err, ERR_NOMEM, "no memory for a queue");
	q->base.ops = &ingress_ops;
	q->kafka = kafka;
	q->producer = kafka->producers[KAFKA_KIND_EVENTS];
	q->done = done;
	q->ctx = ctx;
	kafka_sink_open(&q->sink, on_done, q);
	q->sink.metric_appends =
		metric_series(METRIC_QUEUE_APPENDS, stream_name(STREAM_EVENTS), NULL);
	*out = &q->base;
	return ERR_OK;
}
