/* service.h - what a service manager gives and wants to hear: a listening socket, readiness,
 * reloads, a line of status, signs of life.
 *
 * Everything here does nothing where no manager asked for it (no NOTIFY_SOCKET, no LISTEN_FDS, no
 * WATCHDOG_USEC): the same binary runs in a terminal.
 *
 * Threads: service_reloading() and service_ready() from any; the rest from the main thread.
 * Source:  sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3). */
#pragma once

#include "postern/err.h"

#include <stdint.h>

/* The socket that was passed, whatever its name, or -1; it is kept out of children. Call it before
 * the first fork and the first thread. ERR_CONFIG: more than one, or one that does not listen. */
MUST_CHECK enum err_code service_socket(int *out_fd, struct err *err);
void service_ready(void);
void service_reloading(void);
/* Stopping may take this long from now. */
void service_stopping(int64_t patience_ms);

/* One line that the manager shows. */
void service_status(const char *line);
/* How long the manager waits for a sign of life; 0: it does not. */
int64_t service_watchdog_ms(void);
void service_alive(void);
