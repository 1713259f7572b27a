/* service.h - what a service manager gives and wants to hear: a listening socket, readiness,
 * reloads, a line of status, and signs of life that only come while both halves make progress.
 *
 * Everything here does nothing where no manager asked for it (no NOTIFY_SOCKET, no LISTEN_FDS, no
 * WATCHDOG_USEC): the same binary runs in a terminal.
 *
 * Threads: service_reloading() and service_ready() from any; the rest from the main thread.
 * Source:  sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3). */
#pragma once

#include "daemon.h"

/* The socket that was passed, whatever its name, or -1; it is kept out of children. Call it before
 * the first fork and the first thread. ERR_CONFIG: more than one, or one that does not listen. */
MUST_CHECK enum err_code service_socket(int *out_fd, struct err *err);
void service_ready(void);
void service_reloading(void);
/* Stopping may take this long from now. */
void service_stopping(int64_t patience_ms);

/* What the main thread remembers between two looks. */
struct pulse {
	int64_t watchdog_ms; /* 0: nobody watches */
	int64_t next_alive_ms, next_status_ms;
	int64_t status_ms, accepted, refused; /* at the last line of status */
	bool stands_still;
};
void pulse_begin(struct pulse *pulse);
/* Every now and then: a sign of life if every loop of this process has turned within half the
 * watchdog's time, and every PULSE_STATUS_MS a line of status. */
void pulse_beat(struct pulse *pulse, struct daemon *daemon);
