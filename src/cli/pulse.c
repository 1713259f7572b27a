/* pulse.c - see pulse.h. */
#include "pulse.h"

#include "broker.h"
#include "service.h"

#include "postern/log.h"
#include "postern/metrics.h"

#include <inttypes.h>
#include <sys/statvfs.h>

#define GAUGES_MS 2000
#define STATUS_MS 5000
#define FIRST_STATUS_MS 200
#define WATCHDOG_PARTS 4 /* signs of life in the time that the manager waits for one */

/* ---- progress ----------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	return clock_system()->mono_ms(clock_system());
}

/* The oldest turn of a loop; a half that is not there is no reason to wait. */
static int64_t last_turn_ms(struct daemon *daemon)
{
	struct crew *crew = daemon->broker ? broker_crew(daemon->broker) : NULL;
	int64_t oldest = now_ms(), turn;

	if (daemon->ingress) {
		turn = ingress_last_turn_ms(daemon->ingress);
		oldest = turn < oldest ? turn : oldest;
	}
	if (daemon->worker) {
		turn = worker_last_turn_ms(daemon->worker);
		oldest = turn < oldest ? turn : oldest;
	}
	if (crew) {
		turn = crew_last_turn_ms(crew);
		oldest = turn < oldest ? turn : oldest;
	}
	return oldest;
}

static void tell_alive(struct pulse *pulse, struct daemon *daemon, int64_t now)
{
	int64_t still_ms = now - last_turn_ms(daemon);

	pulse->next_alive_ms = now + pulse->watchdog_ms / WATCHDOG_PARTS;
	if (still_ms <= pulse->watchdog_ms / 2) {
		pulse->stands_still = false;
		service_alive();
		return;
	}
	if (!pulse->stands_still)
		log_error("standstill", log_int("ms", still_ms),
			log_str("text", "a loop does not turn; the watchdog is told nothing"));
	pulse->stands_still = true;
}

/* ---- the line of status ------------------------------------------------------------- */

struct tally {
	int64_t accepted, refused;
};

static bool count_request(
	void *arg, const char *source, const char *code, const struct metric *metric)
{
	struct tally *tally = arg;

	(void)source;
	if (strcmp(code, err_name(ERR_OK)) == 0)
		tally->accepted += metric_value(metric);
	else
		tally->refused += metric_value(metric);
	return true;
}

static bool sum_up(void *arg, const char *value1, const char *value2, const struct metric *metric)
{
	int64_t *sum = arg;

	(void)value1;
	(void)value2;
	*sum += metric_value(metric);
	return true;
}

static int64_t sum_of(enum metric_family family)
{
	int64_t sum = 0;

	metrics_each(family, sum_up, &sum);
	return sum;
}

/* As /readyz says: beside an ingress the worker's troubles do not keep webhooks from being taken.
 */
static enum err_code readiness(struct daemon *daemon, struct err *err)
{
	return daemon->ingress ? ingress_ready(daemon->ingress, err)
			       : daemon_worker_ready(daemon, err);
}

static void put_readiness(struct daemon *daemon, struct buf *out)
{
	struct err err = ERR_INIT;
	enum err_code rc = readiness(daemon, &err);

	if (rc == ERR_OK)
		err_ignored(buf_put_str(out, "ready", NULL));
	else
		err_ignored(buf_putf(out, NULL, "not ready: %s, %s", err_name(rc), err.text));
}

static void put_rates(struct pulse *pulse, double seconds, struct buf *out)
{
	struct tally tally = { 0 };

	metrics_each(METRIC_HTTP_REQUESTS, count_request, &tally);
	err_ignored(buf_putf(out, NULL, "; accepted %.1f/s, refused %.1f/s",
		(double)(tally.accepted - pulse->accepted) / seconds,
		(double)(tally.refused - pulse->refused) / seconds));
	pulse->accepted = tally.accepted;
	pulse->refused = tally.refused;
}

static void tell_status(struct pulse *pulse, struct daemon *daemon, int64_t now)
{
	struct buf text = BUF_INIT(KIB(4));

	put_readiness(daemon, &text);
	if (daemon->has_ingress)
		put_rates(pulse, (double)(now - pulse->status_ms) / 1000, &text);
	if (daemon->has_worker)
		err_ignored(buf_putf(&text, NULL, "; lag %" PRId64 ", parked %" PRId64,
			sum_of(METRIC_QUEUE_LAG), sum_of(METRIC_PARKED_EVENTS)));
	if (daemon->has_ingress && daemon->broker)
		err_ignored(
			buf_putf(&text, NULL, "; spool %" PRId64, sum_of(METRIC_SPOOL_RECORDS)));
	service_status(buf_str(&text));
	buf_done(&text);
	pulse->status_ms = now;
	pulse->next_status_ms = now + STATUS_MS;
}

/* ---- gauges ------------------------------------------------------------------------- */

/* Of a log of files an ingress tells it too: where no worker runs, nobody else does. 0 while a
 * worker over Kafka waits for its first answer. */
static int64_t oldest_s(struct daemon *daemon)
{
	struct crew *crew = daemon->broker ? broker_crew(daemon->broker) : NULL;

	if (crew)
		return crew_oldest_s(crew);
	if (daemon->broker)
		return 0;
	return daemon->worker ? worker_oldest_s(daemon->worker) : daemon_backlog(daemon).oldest_s;
}

static void set_gauges(struct pulse *pulse, struct daemon *daemon, int64_t now)
{
	struct config *config = daemon_config(daemon);
	struct err err = ERR_INIT;
	struct statvfs vfs;

	pulse->next_gauges_ms = now + GAUGES_MS;
	metric_set(pulse->ready, readiness(daemon, &err) == ERR_OK);
	if (statvfs(config->data_dir, &vfs) == 0)
		metric_set(pulse->disk_free, (int64_t)(vfs.f_bavail * vfs.f_frsize));
	metric_set(pulse->oldest, oldest_s(daemon));
	config_unref(&config);
}

/* ---- the main thread's looks -------------------------------------------------------- */

void pulse_begin(struct pulse *pulse)
{
	int64_t now = now_ms();

	metric_set(metric_series(METRIC_CONFIG_RELOAD_OK, NULL, NULL), 1); /* this one was taken */
	*pulse = (struct pulse){
		.watchdog_ms = service_watchdog_ms(),
		.next_alive_ms = now,
		.next_status_ms = now + FIRST_STATUS_MS,
		.status_ms = now,
		.ready = metric_series(METRIC_READY, NULL, NULL),
		.disk_free = metric_series(METRIC_DISK_FREE, NULL, NULL),
		.oldest = metric_series(METRIC_QUEUE_OLDEST, NULL, NULL),
	};
}

void pulse_beat(struct pulse *pulse, struct daemon *daemon)
{
	int64_t now = now_ms();

	if (pulse->watchdog_ms > 0 && now >= pulse->next_alive_ms)
		tell_alive(pulse, daemon, now);
	if (now >= pulse->next_gauges_ms)
		set_gauges(pulse, daemon, now);
	if (now >= pulse->next_status_ms)
		tell_status(pulse, daemon, now);
}
