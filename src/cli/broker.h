/* broker.h - a process over Kafka: it starts with the brokers away, alive but not ready, settles
 * with them as soon as they are there, and then has the crew work.
 *
 *   open (lock, properties; no broker is needed) -> a thread settles, again and again -> crew
 *
 * Owns:    the Kafka handle, the crew, and the locks of this process's halves.
 * Threads: broker_open/start/stop/close from the main thread; the rest from any. */
#pragma once

#include "daemon.h"

#include "postern/crew.h"
#include "postern/kafka.h"

struct broker;
/* Takes the locks of the daemon's halves in its data_dir. ERR_LOCKED names the holder; ERR_CONFIG:
 * a property, a secret, or a data_dir that belongs to another topic. */
MUST_CHECK enum err_code broker_open(struct daemon *daemon, struct broker **out, struct err *err);
/* The ingress half's queue, with a spool in front of Kafka. */
MUST_CHECK enum err_code broker_queue(
	struct broker *broker, queue_done_fn *done, void *ctx, struct queue **out, struct err *err);
/* Tells such a queue what a new config's sources may. */
void broker_sources(struct queue *queue, const struct config *config);
MUST_CHECK enum err_code broker_start(struct broker *broker, struct err *err);

/* NULL while Kafka has not been reached. It lives until broker_close(). */
struct crew *broker_crew(struct broker *broker);
/* The mappings of topics that others write; of the ingress half. */
MUST_CHECK enum err_code broker_reload_streams(struct broker *broker, struct config *config,
	struct config_report *report, struct err *err);
/* A new config for the working half, or only a look whether it could be. */
MUST_CHECK enum err_code broker_reload(struct broker *broker, struct config *config,
	struct config_report *report, struct err *err);
/* ERR_OK while it runs; the reason after it gave up by itself. */
MUST_CHECK enum err_code broker_failed(struct broker *broker, struct err *err);
/* For a separate worker's readiness. */
MUST_CHECK enum err_code broker_ready(struct broker *broker, struct err *err);
/* Members of /v1/status: "kafka", and of the ingress half "spool", of the working half "queue",
 * "routes", "ledger", "lanes". */
MUST_CHECK enum err_code broker_status(struct broker *broker, struct buf *out, struct err *err);

/* Settle no more; returns at once. */
void broker_quiet(struct broker *broker);
/* Release what is owned until deadline_ms (monotonic). Takes daemon->reloading. */
void broker_stop(struct broker *broker, int64_t deadline_ms);
/* Queues made from it are closed. */
void broker_close(struct broker **broker);
