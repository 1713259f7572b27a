/* ending.h - a process that was told to stop ends in time, whatever handles of a library still wait
 * for when they are closed: Kafka's may take longer than anybody waits when no broker answers.
 *
 * Only for the time when nothing is owed to anybody any more: what is left then is memory. */
#pragma once

#include "postern/thread.h"

struct ending {
	struct lock lock;
	struct cond changed;
	bool over; /* guarded by lock */
	int64_t deadline_ms;
	int status;
	struct thread thread;
};
/* At deadline_ms (monotonic) the process is gone with this status, unless ending_over() came. */
void ending_begin(struct ending *ending, int64_t deadline_ms, int status);
void ending_over(struct ending *ending);
