/* daemon.c - run, ingress, worker: open everything in order, wait for signals, close in the other
 * order.
 *
 *   config -> ingress, worker (compiled, nothing runs) -> queue -> store -> worker runs -> ingress
 * listens
 *          -> admin listens -> signals ... -> ingress answers what is in flight -> worker releases
 * -> close
 *
 * Over Kafka the queue's other end may be away: there broker.c has the working half start later.
 *
 * The only place that names concrete backends. */
#include "daemon.h"

#include "broker.h"
#include "commands.h"
#include "ending.h"
#include "pulse.h"
#include "service.h"

#include "postern/crypto.h"
#include "postern/fetch.h"
#include "postern/file.h"
#include "postern/log.h"
#include "postern/metrics.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define LANE_DIR "main"
#define STATE_DIR "main/state"
#define WATCH_MS 200    /* how often the main thread looks whether the worker still lives */
#define CLOSING_MS 5000 /* files and handles, after the halves have stopped */
#define HOUR_MS INT64_C(3600000)

/* ---- opening -----------------------------------------------------------------------------------
 */

static void note_versions(void)
{
	static const char *pairs[13]; /* the registry keeps them; written once, before any thread */
	const char *const values[] = { "version", POSTERN_VERSION, "libmicrohttpd", serve_version(),
		"openssl", crypto_version(), "libcurl", fetch_version(), "lmdb",
		store_version_text(), "librdkafka", kafka_library_version() };

	memcpy(pairs, values, sizeof(values));
	metric_build_info(pairs);
}

void daemon_log_report(const struct config_report *report)
{
	for (size_t i = 0; i < report->count; i++) {
		const struct config_problem *p = &report->problems[i];

		LOG_AT(p->level == PROBLEM_WARNING ? LOG_WARN : LOG_ERROR, "config_problem",
			log_str("pointer", p->pointer), log_int("line", p->line),
			log_str("variable", p->variable), log_str("text", p->text));
	}
}

enum err_code daemon_check_worker(
	struct config *config, struct config_report *report, struct err *err)
{
	struct worker *worker = NULL;
	enum err_code rc = worker_open(config, clock_system(), &worker, report, err);

	worker_close(&worker);
	return rc;
}

/* Sources, keys, routes and handlers of a config, compiled; nothing runs. */
static enum err_code compile(struct daemon *daemon, struct err *err)
{
	struct config_report report = { 0 };
	enum err_code rc = ERR_OK;

	if (daemon->has_worker && config_on_kafka(daemon->config))
		rc = daemon_check_worker(daemon->config, &report, err);
	else if (daemon->has_worker) /* first: it starts the keeper of handlers while there is one
				      * thread */
		rc = worker_open(daemon->config, clock_system(), &daemon->worker, &report, err);
	if (rc == ERR_OK && daemon->has_ingress)
		rc = ingress_open(daemon->config, clock_system(), &daemon->ingress, &report, err);
	if (rc == ERR_OK)
		daemon_log_report(&report); /* warnings: from here on stderr is the log's */
	else
		cli_report(daemon->config->path, &report, true);
	config_report_done(&report);
	return rc;
}

static enum err_code open_queue(struct daemon *daemon, struct err *err)
{
	const struct config *config = daemon->config;
	char *dir = file_join(config->data_dir, LANE_DIR);
	struct queue_opts opts = {
		.dir = dir,
		.writes_events = daemon->has_ingress,
		.works = daemon->has_worker,
		.segment_bytes = config->queue.segment_bytes,
		.reserve_bytes = config->queue.reserve_bytes,
		.limits = {
			[STREAM_EVENTS] = { config->queue.max_bytes, config->queue.retention_hours * HOUR_MS },
			[STREAM_DLQ] = { config->dlq.max_bytes, config->dlq.retention_hours * HOUR_MS },
			[STREAM_QUARANTINE] = { config->quarantine.max_bytes,
				config->quarantine.retention_hours * HOUR_MS },
		},
		.events_done = ingress_events_done,
		.events_ctx = daemon->ingress,
		.outputs_done = worker_outputs_done,
		.outputs_ctx = daemon->worker,
		.clock = clock_system(),
	};
	enum err_code rc = dir ? file_make_dirs(dir, err) : err_set(err, ERR_NOMEM, "no memory");

	if (rc == ERR_OK)
		rc = queue_embedded_open(&opts, &daemon->queue, err);
	free(dir);
	return rc;
}

/* Embedded, the store is the truth: beside a log that has records there must be one. So whichever
 * half comes first makes it, while the log is still empty. */
static enum err_code open_store(struct daemon *daemon, struct err *err)
{
	const struct config *config = daemon->config;
	char *dir = file_join(config->data_dir, STATE_DIR);
	struct stream_stat stat;
	struct store_opts opts = {
		.dir = dir,
		.dedupe_ms = config->worker.dedupe_hours * HOUR_MS,
		.ledger_max_bytes = config->worker.ledger_max_bytes,
		.clock = clock_system(),
	};
	enum err_code rc = ERR_OK;

	if (!dir)
		return err_set(err, ERR_NOMEM, "no memory");
	queue_stat(daemon->queue, STREAM_EVENTS, &stat);
	opts.must_exist = stat.end > 0;
	if (daemon->has_worker || !file_exists(dir))
		rc = store_lmdb_open(&opts, &daemon->store, err);
	if (rc == ERR_OK && !daemon->has_worker) { /* an ingress only reads it, for questions */
		store_close(&daemon->store);
		opts.read_only = opts.must_exist = true;
		rc = store_lmdb_open(&opts, &daemon->store, err);
	}
	free(dir);
	return rc;
}

static enum err_code start_over_files(struct daemon *daemon, struct err *err)
{
	enum err_code rc = open_queue(daemon, err);

	if (rc == ERR_OK)
		rc = open_store(daemon, err);
	if (rc == ERR_OK)
		rc = store_view_open(daemon->store, &daemon->view, err);
	if (rc == ERR_OK && daemon->has_worker)
		rc = worker_start(daemon->worker, daemon->queue, daemon->store, err);
	return rc;
}

static enum err_code start_over_kafka(struct daemon *daemon, struct err *err)
{
	enum err_code rc = broker_open(daemon, &daemon->broker, err);

	if (rc == ERR_OK && daemon->has_ingress)
		rc = broker_queue(
			daemon->broker, ingress_events_done, daemon->ingress, &daemon->queue, err);
	return rc == ERR_OK ? broker_start(daemon->broker, err) : rc;
}

static enum err_code start(struct daemon *daemon, struct err *err)
{
	enum err_code rc = compile(daemon, err);

	if (rc == ERR_OK)
		rc = config_on_kafka(daemon->config) ? start_over_kafka(daemon, err)
						     : start_over_files(daemon, err);
	if (rc == ERR_OK && daemon->has_ingress)
		rc = ingress_start(daemon->ingress, daemon->queue, daemon->listen_fd, err);
	if (rc == ERR_OK)
		rc = daemon_admin_open(daemon, err);
	return rc;
}

/* ---- reload ------------------------------------------------------------------------------------
 */

struct config *daemon_config(struct daemon *daemon)
{
	struct config *config;

	lock_take(&daemon->lock);
	config = config_ref(daemon->config);
	lock_give(&daemon->lock);
	return config;
}

struct backlog daemon_backlog(struct daemon *daemon)
{
	struct stream_stat stat;
	struct backlog backlog;
	int64_t age_ms;

	queue_stat(daemon->queue, STREAM_EVENTS, &stat);
	backlog = (struct backlog){ .lag = stat.end - stat.position };
	age_ms = clock_system()->wall_ms(clock_system()) - stat.oldest_ms;
	if (backlog.lag > 0 && stat.oldest_ms > 0 && age_ms > 0)
		backlog.oldest_s = age_ms / 1000;
	return backlog;
}

static void log_difference(struct daemon *daemon, const struct config *old_config,
	const struct config *new_config, struct buf *out_restart)
{
	struct buf changed = BUF_INIT(KIB(64));
	enum err_code rc = config_diff(old_config, new_config, &changed, out_restart, NULL);

	if (rc == ERR_OK && daemon->has_ingress && ingress_client_ca_differs(daemon->ingress))
		rc = buf_put_str(out_restart, "/ingress/tls/client_ca\n", NULL);
	if (rc == ERR_OK)
		log_info("config_reloaded", log_text("changed", buf_slice(&changed)),
			log_text("needs_restart", buf_slice(out_restart)));
	buf_done(&changed);
}

static enum err_code reload_worker(
	struct daemon *daemon, struct config *config, struct config_report *report, struct err *err)
{
	return daemon->broker ? broker_reload(daemon->broker, config, report, err)
			      : worker_reload(daemon->worker, config, report, err);
}

/* The worker takes the new config first; when the ingress then refuses it, the worker goes back. */
static enum err_code swap(struct daemon *daemon, struct config *old_config,
	struct config *new_config, struct config_report *report, struct err *err)
{
	enum err_code rc = ERR_OK;

	if (daemon->has_worker)
		rc = reload_worker(daemon, new_config, report, err);
	if (rc == ERR_OK && daemon->has_ingress) {
		rc = ingress_reload(daemon->ingress, new_config, report, err);
		if (rc == ERR_OK && daemon->broker)
			rc = broker_reload_streams(daemon->broker, new_config, report, err);
		if (rc != ERR_OK && daemon->has_worker)
			err_ignored(reload_worker(daemon, old_config, report, NULL));
	}
	return rc;
}

/* Who asked for the reload sees the first problem with its place; the log has them all. */
static void tell_first(const char *path, const struct config_report *report, struct err *err)
{
	const struct config_problem *first = config_report_error(report);
	struct buf text = BUF_INIT(MIB(1));

	if (first && config_problem_put(&text, first, path, NULL) == ERR_OK) {
		*err = ERR_INIT;
		(void)err_set(err, ERR_CONFIG, "%s", buf_str(&text));
	}
	buf_done(&text);
}

enum err_code daemon_reload(struct daemon *daemon, struct buf *out_restart, struct err *err)
{
	struct config *old_config, *new_config = NULL, *replaced = NULL;
	struct config_report report = { 0 };
	enum err_code rc;

	lock_take(&daemon->reloading);
	service_reloading();
	old_config = daemon_config(daemon);
	rc = config_load(daemon->config_path, environ, &new_config, &report, err);
	if (rc == ERR_OK)
		rc = swap(daemon, old_config, new_config, &report, err);
	if (rc == ERR_CONFIG)
		tell_first(old_config->path, &report, err);
	daemon_log_report(&report);
	if (rc == ERR_OK && daemon->broker && daemon->has_ingress)
		broker_sources(daemon->queue, new_config);
	if (rc == ERR_OK) {
		log_difference(daemon, old_config, new_config, out_restart);
		lock_take(&daemon->lock);
		replaced = daemon->config;
		daemon->config = config_ref(new_config);
		lock_give(&daemon->lock);
	} else {
		log_error("config_reload_failed", log_code(rc), log_str("text", err->text));
	}
	metric_set(metric_series(METRIC_CONFIG_RELOAD_OK, NULL, NULL), rc == ERR_OK);
	config_unref(&replaced);
	config_unref(&new_config);
	config_unref(&old_config);
	config_report_done(&report);
	service_ready();
	lock_give(&daemon->reloading);
	return rc;
}

/* Nobody waits for an answer: the log says what came of it. */
static void reload_by_signal(struct daemon *daemon)
{
	struct buf restart = BUF_INIT(KIB(64));
	struct err err = ERR_INIT;

	err_ignored(daemon_reload(daemon, &restart, &err));
	buf_done(&restart);
}

/* ---- questions ---------------------------------------------------------------------------------
 */

enum err_code daemon_lanes(
	struct daemon *daemon, const struct config *config, struct lanes *out, struct err *err)
{
	struct crew *crew = daemon->broker ? broker_crew(daemon->broker) : NULL;

	if (!daemon->broker)
		return lanes_of_files(config, daemon->view, out, err);
	if (crew)
		return lanes_of_crew(config, crew, out, err);
	return err_set(err, ERR_UNREACHABLE, "%s",
		daemon->has_worker ? "the partitions are not read yet; is Kafka away?"
				   : "over Kafka only a running worker knows this");
}

enum err_code daemon_worker_ready(struct daemon *daemon, struct err *err)
{
	return daemon->broker ? broker_ready(daemon->broker, err)
			      : worker_ready(daemon->worker, err);
}

/* ---- running -----------------------------------------------------------------------------------
 */

static enum err_code failed(struct daemon *daemon, struct err *err)
{
	if (daemon->broker)
		return broker_failed(daemon->broker, err);
	return daemon->has_worker ? worker_failed(daemon->worker, err) : ERR_OK;
}

/* Until a signal says stop (ERR_OK) or the worker stopped by itself. */
static enum err_code watch(struct daemon *daemon, const sigset_t *signals, struct err *err)
{
	const struct timespec pause = { .tv_nsec = WATCH_MS * 1000000L };
	struct pulse pulse;

	pulse_begin(&pulse);
	service_ready();
	for (;;) {
		int signal_number = sigtimedwait(signals, NULL, &pause);

		if (signal_number == SIGHUP)
			reload_by_signal(daemon);
		else if (signal_number == SIGTERM || signal_number == SIGINT)
			return ERR_OK;
		if (failed(daemon, err) != ERR_OK)
			return err->code;
		pulse_beat(&pulse, daemon);
	}
}

/* Over Kafka the last of the time is for closing handles, which may not be enough. */
static void stop(struct daemon *daemon, int status, struct ending *ending)
{
	int64_t deadline = clock_system()->mono_ms(clock_system()), patience;

	log_info("stopping");
	if (daemon->broker)
		broker_quiet(daemon->broker);
	/* A reload that is under way ends first, and one that comes now finds the halves stopped:
	 * both change what the other uses. */
	lock_take(&daemon->reloading);
	patience = daemon->config->shutdown_timeout_s * 1000;
	service_stopping(patience + CLOSING_MS);
	deadline += patience;
	if (daemon->broker)
		ending_begin(ending, deadline, status);
	if (daemon->ingress)
		ingress_stop(daemon->ingress, daemon->broker ? deadline - patience / 10 : deadline);
	if (daemon->worker)
		worker_stop(daemon->worker, deadline);
	lock_give(&daemon->reloading);
	if (daemon->broker) /* what settles may wait for a reload, too */
		broker_stop(daemon->broker, deadline - patience * 4 / 10);
}

static void close_all(struct daemon *daemon)
{
	admin_close(&daemon->admin);
	queue_close(&daemon->queue);
	broker_close(&daemon->broker);
	worker_close(&daemon->worker);
	ingress_close(&daemon->ingress);
	store_view_close(&daemon->view);
	store_close(&daemon->store);
	config_unref(&daemon->config);
	lock_done(&daemon->lock);
	lock_done(&daemon->reloading);
}

static void log_started(struct daemon *daemon)
{
	struct config *config = daemon_config(daemon); /* the admin listener may replace it */

	log_info("started", log_str("version", POSTERN_VERSION), log_int("pid", getpid()),
		log_str("listen", daemon->ingress ? ingress_address(daemon->ingress) : NULL),
		log_str("admin", admin_address(daemon->admin)),
		log_str("data_dir", config->data_dir));
	config_unref(&config);
}

static int serve_until_told(struct daemon *daemon, const sigset_t *signals)
{
	struct err err = ERR_INIT;
	enum err_code rc = start(daemon, &err);
	bool started = rc == ERR_OK, over_kafka;
	struct ending ending;

	if (started) {
		log_started(daemon);
		rc = watch(daemon, signals, &err);
	}
	if (rc != ERR_OK)
		log_error(started ? "stopped_by_failure" : "start_failed", log_code(rc),
			log_str("text", err.text));
	over_kafka = daemon->broker != NULL;
	/* Also after half a start: whoever runs already must not meet a closed queue. */
	stop(daemon, err_exit(rc), &ending);
	close_all(daemon);
	if (over_kafka)
		ending_over(&ending);
	if (rc == ERR_OK)
		log_info("stopped");
	return err_exit(rc);
}

static int log_start_failed(enum err_code code, const char *text)
{
	log_error("start_failed", log_code(code), log_str("text", text));
	return err_exit(code);
}

/* All that is wrong with the config was said, a line each; the log gets the line that whoever
 * watches it looks for. */
static void log_not_loaded(const struct cli *cli, const struct config_report *report)
{
	const struct config_problem *first = config_report_error(report);
	struct buf text = BUF_INIT(KIB(64));

	if (first)
		err_ignored(config_problem_put(
			&text, first, cli->config_path ? cli->config_path : "postern.json", NULL));
	(void)log_start_failed(ERR_CONFIG, first ? buf_str(&text) : "there is no config to read");
	buf_done(&text);
}

/* A worker has no use for a socket: somebody mixed up two units. */
static enum err_code take_socket(struct daemon *daemon, struct err *err)
{
	enum err_code rc = service_socket(&daemon->listen_fd, err);

	if (rc == ERR_OK && daemon->listen_fd >= 0 && !daemon->has_ingress)
		rc = err_set(err, ERR_CONFIG, "a worker takes no socket from the service manager");
	return rc;
}

static int run_daemon(struct cli *cli, bool has_ingress, bool has_worker)
{
	struct daemon daemon = {
		.has_ingress = has_ingress,
		.has_worker = has_worker,
		.config_path = cli->config_path,
		.listen_fd = -1,
	};
	struct config_report report = { 0 };
	struct err err = ERR_INIT;
	sigset_t signals;
	int status = cli_load(cli, &report, &daemon.config);

	if (status != 0)
		log_not_loaded(cli, &report);
	else if (take_socket(&daemon, &err) != ERR_OK)
		status = log_start_failed(err.code, err.text);
	if (status == 0)
		daemon_log_report(&report);
	config_report_done(&report);
	if (status != 0) {
		config_unref(&daemon.config);
		return status;
	}
	/* Every thread inherits this mask; only the main thread takes them, by sigtimedwait(). */
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGHUP);
	(void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
	lock_init(&daemon.lock);
	lock_init(&daemon.reloading);
	note_versions();
	return serve_until_told(&daemon, &signals);
}

static int run_both(struct cli *cli)
{
	return run_daemon(cli, true, true);
}

static int run_ingress(struct cli *cli)
{
	return run_daemon(cli, true, false);
}

static int run_worker(struct cli *cli)
{
	return run_daemon(cli, false, true);
}

const struct command cmd_run = {
	.words = "run",
	.usage = "",
	.summary = "receive and work in one process, on one machine",
	.examples = "  postern run\n  postern -c /etc/postern/postern.json run\n",
	.run = run_both,
};

const struct command cmd_ingress = {
	.words = "ingress",
	.usage = "",
	.summary = "only receive: verify, make durable, answer",
	.examples = "  postern -c /etc/postern/postern.json ingress\n",
	.run = run_ingress,
};

const struct command cmd_worker = {
	.words = "worker",
	.usage = "",
	.summary = "only work: dedupe, check versions, run handlers",
	.examples = "  postern -c /etc/postern/postern.json worker\n",
	.run = run_worker,
};
