/* pulse.h - what the main thread does while the halves work: it looks whether they make progress,
 * whether they are ready and how much disk is left, and tells metrics and the service manager.
 *
 * Threads: the main thread. */
#pragma once

#include "daemon.h"

/* What it remembers between two looks. */
struct pulse {
	int64_t watchdog_ms; /* 0: nobody watches */
	int64_t next_alive_ms, next_gauges_ms, next_status_ms;
	int64_t status_ms, accepted, refused; /* at the last line of status */
	bool stands_still;
	struct metric *ready, *disk_free, *oldest;
};
void pulse_begin(struct pulse *pulse);
/* Every now and then: a sign of life if every loop of this process has turned within half the
 * watchdog's time; every 2 s the gauges; every 5 s a line of status. */
void pulse_beat(struct pulse *pulse, struct daemon *daemon);
