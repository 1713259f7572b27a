/* service.c - see service.h. */
#include "service.h"

#include "broker.h"

#include "postern/log.h"
#include "postern/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#define PULSE_STATUS_MS 5000
#define FIRST_STATUS_MS 200
#define WATCHDOG_PARTS 4 /* signs of life in the time that the manager waits for one */

/* ---- the socket --------------------------------------------------------------------- */

enum err_code service_socket(int *out_fd, struct err *err)
{
	int count = sd_listen_fds(1), flags;

	*out_fd = -1;
	if (count == 0)
		return ERR_OK;
	if (count < 0)
		return err_sys(err, ERR_CONFIG, -count, "LISTEN_FDS");
	if (count > 1)
		return err_set(err, ERR_CONFIG,
			"the service manager passed %d sockets; one is taken, in place of "
			"/ingress/listen",
			count);
	if (sd_is_socket(SD_LISTEN_FDS_START, AF_UNSPEC, SOCK_STREAM, 1) <= 0)
		return err_set(err, ERR_CONFIG,
			"what the service manager passed is no listening stream socket");
	flags = fcntl(SD_LISTEN_FDS_START, F_GETFL);
	if (flags < 0 || fcntl(SD_LISTEN_FDS_START, F_SETFL, flags | O_NONBLOCK) != 0)
		return err_sys(err, ERR_IO, errno, "the passed socket");
	*out_fd = SD_LISTEN_FDS_START;
	return ERR_OK;
}

/* ---- states ------------------------------------------------------------------------- */

/* A manager that does not listen is no reason to stop. */
static void say(const char *text)
{
	(void)sd_notify(0, text);
}

void service_ready(void)
{
	say("READY=1");
}

/* The manager compares the time with its own clock, so it is the system's, not an injected one. */
void service_reloading(void)
{
	struct timespec now = { 0 };
	char text[64];

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	(void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
		(int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	say(text);
}

void service_stopping(int64_t patience_ms)
{
	char text[64];

	(void)snprintf(
		text, sizeof(text), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64, patience_ms * 1000);
	say(text);
}

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
		say("WATCHDOG=1");
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

static void put_readiness(struct daemon *daemon, struct buf *out)
{
	struct err err = ERR_INIT;
	enum err_code rc = ERR_OK;

	if (daemon->ingress)
		rc = ingress_ready(daemon->ingress, &err);
	if (rc == ERR_OK && daemon->has_worker)
		rc = daemon_worker_ready(daemon, &err);
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

	err_ignored(buf_put_str(&text, "STATUS=", NULL));
	put_readiness(daemon, &text);
	if (daemon->has_ingress)
		put_rates(pulse, (double)(now - pulse->status_ms) / 1000, &text);
	if (daemon->has_worker)
		err_ignored(buf_putf(&text, NULL, "; lag %" PRId64 ", parked %" PRId64,
			sum_of(METRIC_QUEUE_LAG), sum_of(METRIC_PARKED_EVENTS)));
	if (daemon->has_ingress && daemon->broker)
		err_ignored(
			buf_putf(&text, NULL, "; spool %" PRId64, sum_of(METRIC_SPOOL_RECORDS)));
	say(buf_str(&text));
	buf_done(&text);
	pulse->status_ms = now;
	pulse->next_status_ms = now + PULSE_STATUS_MS;
}

/* ---- the main thread's looks -------------------------------------------------------- */

void pulse_begin(struct pulse *pulse)
{
	uint64_t usec = 0;
	int64_t now = now_ms();

	*pulse = (struct pulse){ .next_alive_ms = now, .status_ms = now };
	pulse->next_status_ms = now + FIRST_STATUS_MS;
	if (sd_watchdog_enabled(0, &usec) > 0)
		pulse->watchdog_ms = (int64_t)(usec / 1000);
}

void pulse_beat(struct pulse *pulse, struct daemon *daemon)
{
	int64_t now = now_ms();

	if (pulse->watchdog_ms > 0 && now >= pulse->next_alive_ms)
		tell_alive(pulse, daemon, now);
	if (now >= pulse->next_status_ms)
		tell_status(pulse, daemon, now);
}
