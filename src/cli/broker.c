/* broker.c - see broker.h.
 *
 * Settling is never over before it has succeeded: with the brokers away, or a topic without a
 * leader, it is tried again. What no patience mends (a changed count of partitions, a foreign
 * cluster, a lost journal) ends the process with the reason. */
#include "broker.h"

#include "broker_opts.h"
#include "lines.h"

#include "postern/feed.h"
#include "postern/file.h"
#include "postern/json.h"
#include "postern/log.h"
#include "postern/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LANE_DIR "main"
#define SPOOL_DIR "spool"
#define SETTLE_MS 3000 /* one try; a stop waits that long at most */
#define PAUSE_MS 250
#define PAUSE_MAX_MS 2000

struct broker {
	struct daemon *daemon;
	struct kafka *kafka;
	int ingress_lock, worker_lock; /* -1: not ours */
	struct home home;              /* the thread's, once that runs */
	struct thread thread;
	struct lock lock;
	struct cond changed;
	/* Guarded by lock, as all below. Once set the crew stays until the end. */
	struct crew *crew;
	struct feeds *feeds; /* likewise */
	struct err failed;
	bool stopping;
};

static int64_t now_ms(void)
{
	return clock_system()->mono_ms(clock_system());
}

/* ---- opening -----------------------------------------------------------------------------------
 */

static enum err_code take_lock(
	const struct config *config, const char *name, int *out_fd, struct err *err)
{
	char *path = file_join(config->data_dir, name);
	enum err_code rc =
		path ? file_lock(path, out_fd, err) : err_set(err, ERR_NOMEM, "no memory");

	free(path);
	return rc;
}

/* The same names as with files of this machine: no two processes share what is below. */
static enum err_code take_home(struct broker *b, const struct config *config, struct err *err)
{
	char *dir = file_join(config->data_dir, LANE_DIR);
	enum err_code rc = dir ? file_make_dirs(dir, err) : err_set(err, ERR_NOMEM, "no memory");

	free(dir);
	if (rc == ERR_OK && b->daemon->has_ingress)
		rc = take_lock(config, "ingress.lock", &b->ingress_lock, err);
	if (rc == ERR_OK && b->daemon->has_worker)
		rc = take_lock(config, "worker.lock", &b->worker_lock, err);
	return rc == ERR_OK ? home_read(config, &b->home, err) : rc;
}

static enum err_code open_kafka(struct broker *b, const struct config *config, struct err *err)
{
	struct properties properties;
	struct kafka_opts opts = {
		.writes_events = b->daemon->has_ingress,
		.spools = b->daemon->has_ingress,
		.works = b->daemon->has_worker,
	};
	enum err_code rc = properties_open(config, &properties, err);

	if (rc != ERR_OK)
		return rc;
	kafka_opts_fill(config, &opts);
	opts.properties = properties.list;
	opts.property_count = properties.count;
	rc = kafka_open(&opts, &b->kafka, err);
	properties_close(&properties);
	return rc;
}

enum err_code broker_open(struct daemon *daemon, struct broker **out, struct err *err)
{
	struct broker *b = calloc(1, sizeof(*b));
	enum err_code rc;

	if (!b)
		return err_set(err, ERR_NOMEM, "no memory");
	b->daemon = daemon;
	b->ingress_lock = b->worker_lock = -1;
	lock_init(&b->lock);
	cond_init(&b->changed);
	rc = take_home(b, daemon->config, err);
	if (rc == ERR_OK)
		rc = open_kafka(b, daemon->config, err);
	if (rc != ERR_OK)
		broker_close(&b);
	*out = b;
	return rc;
}

void broker_sources(struct queue *queue, const struct config *config)
{
	bool all = config->source_count > 0;

	for (size_t i = 0; i < config->source_count; i++)
		all &= config->sources[i].ack_from_spool || config->sources[i].stream.topic;
	queue_spool_covers(queue, all);
}

enum err_code broker_queue(
	struct broker *b, queue_done_fn *done, void *ctx, struct queue **out, struct err *err)
{
	const struct config *config = b->daemon->config;
	char *dir = file_join(config->data_dir, SPOOL_DIR);
	const struct spool_opts opts = {
		.dir = dir,
		.max_bytes = config->spool.max_bytes,
		.segment_bytes = config->queue.segment_bytes,
		.reserve_bytes = config->queue.reserve_bytes,
		.max_age_ms = config->spool.max_age_s * 1000,
		.done = done,
		.ctx = ctx,
		.clock = clock_system(),
	};
	enum err_code rc = dir ? queue_spool_open(b->kafka, &opts, out, err)
			       : err_set(err, ERR_NOMEM, "no memory");

	free(dir);
	if (rc == ERR_OK)
		broker_sources(*out, config);
	return rc;
}

/* ---- settling ----------------------------------------------------------------------------------
 */

/* True when the broker is to stop. */
static bool pause_for(struct broker *b, int64_t ms)
{
	const int64_t until_ms = now_ms() + ms;
	bool stopping;

	lock_take(&b->lock);
	while (!b->stopping && now_ms() < until_ms)
		(void)cond_wait(&b->changed, &b->lock, until_ms);
	stopping = b->stopping;
	lock_give(&b->lock);
	return stopping;
}

/* Is this the cluster that the data_dir belongs to? A new one is written down. */
static enum err_code come_home(
	struct broker *b, const struct config *config, int32_t partitions, struct err *err)
{
	const char *cluster = kafka_cluster_id(b->kafka);

	if (b->home.partitions > 0 && strcmp(b->home.cluster, cluster) == 0)
		return ERR_OK;
	if (b->home.partitions > 0)
		return err_set(err, ERR_CONFIG,
			"%s belongs to the Kafka cluster %s, and these brokers are %s: give each "
			"cluster a data_dir of its own",
			config->data_dir, b->home.cluster, cluster);
	b->home.partitions = partitions;
	(void)snprintf(b->home.cluster, sizeof(b->home.cluster), "%s", cluster);
	return home_write(config, &b->home, err);
}

static enum err_code open_crew(struct broker *b, struct config *config, struct err *err)
{
	char *dir = file_join(config->data_dir, LANE_DIR);
	const struct crew_opts opts = {
		.dir = dir,
		.kafka = b->kafka,
		.partitions = b->home.partitions,
		.clock = clock_system(),
	};
	struct config_report report = { 0 };
	struct crew *crew = NULL;
	enum err_code rc = dir ? crew_open(config, &opts, &crew, &report, err)
			       : err_set(err, ERR_NOMEM, "no memory");

	if (rc == ERR_OK)
		rc = crew_start(crew, err);
	if (rc == ERR_OK) {
		lock_take(&b->lock);
		b->crew = crew;
		lock_give(&b->lock);
	} else if (crew) {
		crew_stop(crew, now_ms());
		crew_close(&crew);
	}
	daemon_log_report(&report);
	config_report_done(&report);
	free(dir);
	return rc;
}

/* Where routes publish to. */
static enum err_code settle_topics(struct broker *b, const struct config *config, struct err *err)
{
	const int64_t deadline_ms = now_ms() + SETTLE_MS;
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < config->route_count && rc == ERR_OK; i++) {
		const struct route_config *route = &config->routes[i];

		if (route->handler.type == HANDLER_TOPIC)
			rc = kafka_user_topic(b->kafka, route->handler.topic, deadline_ms, err);
	}
	return rc;
}

/* Topics that others write are read by the half that takes events in. */
static enum err_code open_feeds(struct broker *b, struct config *config, struct err *err)
{
	const struct feeds_opts opts = { .kafka = b->kafka, .clock = clock_system() };
	struct config_report report = { 0 };
	struct feeds *feeds = NULL;
	enum err_code rc = feeds_open(config, &opts, &feeds, &report, err);

	if (rc == ERR_OK) {
		lock_take(&b->lock);
		b->feeds = feeds;
		lock_give(&b->lock);
	}
	daemon_log_report(&report);
	config_report_done(&report);
	return rc;
}

static enum err_code settle(struct broker *b, struct err *err)
{
	struct config *config;
	int32_t partitions = 0;
	enum err_code rc =
		kafka_settle(b->kafka, b->home.partitions, now_ms() + SETTLE_MS, &partitions, err);

	if (rc != ERR_OK || pause_for(b, 0))
		return rc;
	/* A reload comes before the crew or after it, not between. */
	lock_take(&b->daemon->reloading);
	config = daemon_config(b->daemon);
	rc = come_home(b, config, partitions, err);
	if (rc == ERR_OK && b->daemon->has_worker)
		rc = settle_topics(b, config, err);
	if (rc == ERR_OK && b->daemon->has_worker)
		rc = open_crew(b, config, err);
	if (rc == ERR_OK && b->daemon->has_ingress)
		rc = open_feeds(b, config, err);
	config_unref(&config);
	lock_give(&b->daemon->reloading);
	if (rc == ERR_OK)
		log_info("kafka_settled", log_str("cluster", b->home.cluster),
			log_int("partitions", partitions));
	return rc;
}

/* Will it be different in a while? */
static bool may_pass(enum err_code code)
{
	switch ((int)code) {
	case ERR_UNREACHABLE:
	case ERR_TIMEOUT:
	case ERR_NOT_FOUND:
	case ERR_UNAVAILABLE:
	case ERR_DENIED:
	case ERR_IO:
	case ERR_FULL:
	case ERR_NOMEM: return true;
	default: return false;
	}
}

static void give_up(struct broker *b, const struct err *err)
{
	lock_take(&b->lock);
	if (!b->stopping)
		b->failed = *err;
	lock_give(&b->lock);
}

static void *settle_until_it_holds(void *arg)
{
	struct broker *b = arg;
	enum err_code last = ERR_OK;
	int64_t ms = PAUSE_MS;

	for (;;) {
		struct err err = ERR_INIT;

		if (settle(b, &err) == ERR_OK)
			return NULL; /* it holds, or it is over */
		if (!may_pass(err.code)) {
			give_up(b, &err);
			return NULL;
		}
		if (err.code != last)
			log_warn("kafka_waits", log_code(err.code), log_str("text", err.text));
		last = err.code;
		if (pause_for(b, ms))
			return NULL;
		ms = ms * 2 < PAUSE_MAX_MS ? ms * 2 : PAUSE_MAX_MS;
	}
}

enum err_code broker_start(struct broker *b, struct err *err)
{
	return thread_start(&b->thread, "kafka-settle", settle_until_it_holds, b, err);
}

/* ---- questions ---------------------------------------------------------------------------------
 */

struct crew *broker_crew(struct broker *b)
{
	struct crew *crew;

	lock_take(&b->lock);
	crew = b->crew;
	lock_give(&b->lock);
	return crew;
}

enum err_code broker_reload(
	struct broker *b, struct config *config, struct config_report *report, struct err *err)
{
	struct crew *crew = broker_crew(b);

	enum err_code rc = crew ? settle_topics(b, config, err) : ERR_OK;

	if (rc != ERR_OK)
		return rc;
	return crew ? crew_reload(crew, config, report, err)
		    : daemon_check_worker(config, report, err);
}

enum err_code broker_reload_streams(
	struct broker *b, struct config *config, struct config_report *report, struct err *err)
{
	struct feeds *feeds;

	lock_take(&b->lock);
	feeds = b->feeds;
	lock_give(&b->lock);
	return feeds ? feeds_reload(feeds, config, report, err) : ERR_OK;
}

enum err_code broker_failed(struct broker *b, struct err *err)
{
	struct crew *crew;
	struct err failed;

	lock_take(&b->lock);
	crew = b->crew;
	failed = b->failed;
	lock_give(&b->lock);
	if (failed.code != ERR_OK)
		return err_set(err, failed.code, "%s", failed.text);
	/* An ingress alone goes on refusing: its senders hear why. */
	if (crew && kafka_refusal(b->kafka, err) != ERR_OK)
		return err->code;
	return crew ? crew_failed(crew, err) : ERR_OK;
}

enum err_code broker_ready(struct broker *b, struct err *err)
{
	struct crew *crew = broker_crew(b);
	enum err_code rc = kafka_ready(b->kafka, err);

	if (rc == ERR_OK && !crew)
		rc = err_set(err, ERR_UNAVAILABLE, "the partitions are not opened yet");
	return rc == ERR_OK ? crew_ready(crew, err) : rc;
}

/* ---- status ------------------------------------------------------------------------------------
 */

static void put_kafka(struct broker *b, struct buf *out, struct err *err)
{
	struct config *config = daemon_config(b->daemon);
	struct buf text = BUF_INIT(KIB(8));
	struct line line = { .out = &text, .err = err };
	struct err reason = ERR_INIT;
	bool ready = kafka_ready(b->kafka, &reason) == ERR_OK;

	line_begin(&line);
	line_bool(&line, "ready", ready);
	if (!ready)
		line_str(&line, "reason", reason.text);
	line_str(&line, "topic", config->queue.topic);
	line_str(&line, "cluster", kafka_cluster_id(b->kafka));
	line_end(&line);
	err_ignored(json_put_raw(out, "kafka", buf_slice(&text), err));
	buf_done(&text);
	config_unref(&config);
}

static int64_t gauge(enum metric_family family)
{
	return metric_value(metric_series(family, NULL, NULL));
}

static void put_spool(struct broker *b, struct buf *out, struct err *err)
{
	struct buf text = BUF_INIT(KIB(8));
	struct line line = { .out = &text, .err = err };
	struct spool_stat stat;

	queue_spool_stat(b->daemon->queue, &stat);
	line_begin(&line);
	line_int(&line, "records", gauge(METRIC_SPOOL_RECORDS));
	line_int(&line, "bytes", gauge(METRIC_SPOOL_BYTES));
	line_int(&line, "oldest_s", gauge(METRIC_SPOOL_OLDEST));
	line_int(&line, "refused", gauge(METRIC_SPOOL_REFUSED));
	if (stat.is_stuck)
		line_str(&line, "stuck", QUEUE_SPOOL_STUCK);
	line_end(&line);
	err_ignored(json_put_raw(out, "spool", buf_slice(&text), err));
	buf_done(&text);
}

static void put_streams(struct broker *b, struct buf *out, struct err *err)
{
	struct feeds *feeds;

	lock_take(&b->lock);
	feeds = b->feeds;
	lock_give(&b->lock);
	if (feeds && err->code == ERR_OK)
		err_ignored(feeds_status(feeds, out, err));
}

enum err_code broker_status(struct broker *b, struct buf *out, struct err *err)
{
	struct crew *crew = broker_crew(b);

	put_kafka(b, out, err);
	if (b->daemon->has_ingress) {
		put_spool(b, out, err);
		put_streams(b, out, err);
	}
	if (crew && err->code == ERR_OK) {
		struct buf text = BUF_INIT(MIB(1));

		if (crew_status(crew, &text, err) == ERR_OK && text.len) {
			err_ignored(buf_put_str(out, ",", err));
			err_ignored(buf_put_slice(out, buf_slice(&text), err));
		}
		buf_done(&text);
	} else if (b->daemon->has_worker) { /* nothing is known yet */
		err_ignored(json_put_raw(
			out, "queue", SLICE_LIT("{\"lag\":null,\"oldest_s\":null}"), err));
	}
	return err->code;
}

/* ---- the end -----------------------------------------------------------------------------------
 */

void broker_quiet(struct broker *b)
{
	lock_take(&b->lock);
	b->stopping = true;
	cond_broadcast(&b->changed);
	lock_give(&b->lock);
}

void broker_stop(struct broker *b, int64_t deadline_ms)
{
	broker_quiet(b);
	thread_join(&b->thread);
	lock_take(&b->daemon->reloading);
	feeds_stop(b->feeds);
	if (b->crew)
		crew_stop(b->crew, deadline_ms);
	lock_give(&b->daemon->reloading);
}

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

void broker_close(struct broker **broker)
{
	struct broker *b = *broker;

	*broker = NULL;
	if (!b)
		return;
	feeds_close(&b->feeds);
	crew_close(&b->crew);
	kafka_close(&b->kafka);
	close_fd(b->ingress_lock);
	close_fd(b->worker_lock);
	cond_done(&b->changed);
	lock_done(&b->lock);
	free(b);
}
