/* lab_handler.h - the door of room handler, scripted: see worker_lab.h, which includes it. */
#pragma once

struct lab_call {
	char id[64], route[64];
	unsigned attempt;
	bool back; /* answered */
	struct handler_call *call;
};
static struct {
	struct lock lock;
	/* all guarded by lock */
	struct lab_call calls[LAB_CALLS];
	size_t count;
	size_t now, most; /* under way */
	bool over;        /* whatever is called is done at once */
	int64_t retry_after_ms;
	void (*on_call)(const struct handler_call *call); /* set before the worker starts */
} lab_handler;

#ifdef LAB_FAKE_HANDLER
struct handler {
	bool none;
	const char *topic;
};

enum err_code handler_open(const struct handler_opts *opts, struct handler **out, struct err *err)
{
	struct handler *h = calloc(1, sizeof(*h));

	if (!h)
		return err_set(err, ERR_NOMEM, "no memory");
	h->none = opts->route->handler.type == HANDLER_NONE;
	h->topic = opts->route->handler.topic;
	*out = h;
	return ERR_OK;
}

void handler_close(struct handler **handler)
{
	free(*handler);
	*handler = NULL;
}

bool handler_is_none(const struct handler *handler)
{
	return handler->none;
}

bool handler_yields(const struct handler *handler)
{
	return handler->topic != NULL;
}

static const struct {
	const char *word;
	enum handler_verdict verdict;
	enum err_code code;
	unsigned until; /* this attempt and later ones are done; 0: never */
} lab_script[] = {
	{ "done", HANDLER_DONE, ERR_OK, 0 },
	{ "fail", HANDLER_RETRY, ERR_HANDLER_FAILED, 0 },
	{ "timeout", HANDLER_RETRY, ERR_HANDLER_TIMEOUT, 0 },
	{ "third", HANDLER_RETRY, ERR_HANDLER_UNREACHABLE, 3 },
	{ "never", HANDLER_NEVER, ERR_HANDLER_REFUSED, 0 },
	{ "later", HANDLER_NEVER, ERR_HANDLER_REFUSED, 0 },
};

static void lab_finish(struct lab_call *c, enum handler_verdict verdict, enum err_code code)
{
	struct handler_call *call = c->call;

	c->back = true;
	lab_handler.now--;
	call->verdict = verdict;
	call->code = code;
	call->retry_after_ms = lab_handler.retry_after_ms;
	(void)snprintf(
		call->error, sizeof(call->error), "%s", code == ERR_OK ? "" : "as the script says");
	call->done(call);
}

enum err_code handler_start(struct handler *handler, struct handler_call *call, struct err *err)
{
	struct lab_call *c;

	(void)err;
	call->topic = slice_str(handler->topic);
	if (handler->topic) {
		call->verdict = HANDLER_DONE;
		call->done(call);
		return ERR_OK;
	}
	lock_take(&lab_handler.lock);
	c = &lab_handler.calls[lab_handler.count++ % LAB_CALLS];
	*c = (struct lab_call){ .attempt = call->attempt, .call = call };
	(void)snprintf(c->id, sizeof(c->id), "%.*s", SLICE_FMT(call->event->id));
	(void)snprintf(c->route, sizeof(c->route), "%.*s", SLICE_FMT(call->route));
	if (lab_handler.on_call)
		lab_handler.on_call(call);
	lab_handler.now++;
	if (lab_handler.now > lab_handler.most)
		lab_handler.most = lab_handler.now;
	for (size_t i = 0; i < ARRAY_LEN(lab_script); i++) {
		if (strncmp(c->id, lab_script[i].word, strlen(lab_script[i].word)) != 0)
			continue;
		if (lab_script[i].until != 0 && call->attempt >= lab_script[i].until)
			lab_finish(c, HANDLER_DONE, ERR_OK);
		else
			lab_finish(c, lab_script[i].verdict, lab_script[i].code);
		break;
	}
	if (lab_handler.over && !c->back)
		lab_finish(c, HANDLER_DONE, ERR_OK);
	lock_give(&lab_handler.lock);
	return ERR_OK;
}

/* From now on nothing is held: who closes must get all its calls back. */
static inline void lab_hold_none(void)
{
	lock_take(&lab_handler.lock);
	lab_handler.over = true;
	for (size_t i = 0; i < lab_handler.count && i < LAB_CALLS; i++) {
		if (!lab_handler.calls[i].back)
			lab_finish(&lab_handler.calls[i], HANDLER_DONE, ERR_OK);
	}
	lock_give(&lab_handler.lock);
}

/* A thread that answers calls for ids that begin with "slow", a while after they came. */
static struct {
	struct thread thread;
	_Atomic bool stop;
	useconds_t pause_us;
} lab_slow;

static void *lab_slow_run(void *arg)
{
	(void)arg;
	while (!lab_slow.stop) {
		(void)usleep(lab_slow.pause_us);
		lock_take(&lab_handler.lock);
		for (size_t i = 0; i < lab_handler.count && i < LAB_CALLS; i++) {
			struct lab_call *c = &lab_handler.calls[i];

			if (!c->back && strncmp(c->id, "slow", 4) == 0)
				lab_finish(c, HANDLER_DONE, ERR_OK);
		}
		lock_give(&lab_handler.lock);
	}
	return NULL;
}

static inline void lab_slow_start(useconds_t pause_us)
{
	lab_slow.stop = false;
	lab_slow.pause_us = pause_us;
	assert_int_equal(thread_start(&lab_slow.thread, "slow", lab_slow_run, NULL, NULL), ERR_OK);
}

static inline void lab_slow_stop(void)
{
	lab_slow.stop = true;
	thread_join(&lab_slow.thread);
}

/* Is a call for this event under way ("hold..." ids wait for lab_answer())? */
static inline bool lab_called(const char *id)
{
	bool found = false;

	lock_take(&lab_handler.lock);
	for (size_t i = 0; i < lab_handler.count; i++)
		found |= !lab_handler.calls[i].back && strcmp(lab_handler.calls[i].id, id) == 0;
	lock_give(&lab_handler.lock);
	return found;
}

static inline void lab_answer(const char *id, enum handler_verdict verdict, enum err_code code)
{
	LAB_UNTIL(lab_called(id));
	lock_take(&lab_handler.lock);
	for (size_t i = 0; i < lab_handler.count; i++) {
		if (!lab_handler.calls[i].back && strcmp(lab_handler.calls[i].id, id) == 0)
			lab_finish(&lab_handler.calls[i], verdict, code);
	}
	lock_give(&lab_handler.lock);
}
#endif

static inline size_t lab_calls_of(const char *id)
{
	size_t n = 0;

	lock_take(&lab_handler.lock);
	for (size_t i = 0; i < lab_handler.count && i < LAB_CALLS; i++)
		n += strcmp(lab_handler.calls[i].id, id) == 0;
	lock_give(&lab_handler.lock);
	return n;
}
