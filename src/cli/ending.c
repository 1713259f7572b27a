/* ending.c - see ending.h. */
#include "ending.h"

#include "postern/clock.h"
#include "postern/log.h"

#include <unistd.h>

static void *wait_for_the_end(void *arg)
{
	struct ending *e = arg;
	const struct clock *clock = clock_system();
	bool over;

	lock_take(&e->lock);
	while (!e->over && clock->mono_ms(clock) < e->deadline_ms)
		(void)cond_wait(&e->changed, &e->lock, e->deadline_ms);
	over = e->over;
	lock_give(&e->lock);
	if (over)
		return NULL;
	log_warn("stopped", log_str("text", "some handles were not closed in time"));
	_exit(e->status);
}

void ending_begin(struct ending *e, int64_t deadline_ms, int status)
{
	*e = (struct ending){ .deadline_ms = deadline_ms, .status = status };
	lock_init(&e->lock);
	cond_init(&e->changed);
	/* Without it the end is only later. */
	err_ignored(thread_start(&e->thread, "ending", wait_for_the_end, e, NULL));
}

void ending_over(struct ending *e)
{
	lock_take(&e->lock);
	e->over = true;
	cond_broadcast(&e->changed);
	lock_give(&e->lock);
	thread_join(&e->thread);
	cond_done(&e->changed);
	lock_done(&e->lock);
}
