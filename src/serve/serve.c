/* serve.c - the handle, and the loop.
 *
 *       +-> wait (epoll: library, wake, slow closers) --> tick() --> MHD_run, turn(), ... ----+
 *       |                                                                        deadlines   |
 *       +-------------------------------------------------------------------------------------+
 *
 * The library is polled from outside. Its own thread hangs as soon as a multiple of 128 sockets is
 * ready at once; a run from outside never blocks, so it cannot. While an answer is deferred the
 * library always says that it wants to run again at once. We let it only after it did something,
 * and otherwise wait for a socket, a wake or the tick. */
#include "serve_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 32
#define RUNS_MAX 8       /* of the library in one turn; then others get their share */
#define RUNS_FOR_WRITE 2 /* that an answer may need without a sign of life */
#define REAP_EVERY_MS 50

/* ---- one turn of the loop ----------------------------------------------------------------------
 */

/* One run of the library. What it took in is handed over at once, so that the disk works on it
 * while the next run takes in more. */
static bool run_once(struct serve *s)
{
	uint64_t before = s->activity;

	s->run_ms = s->clock->mono_ms(s->clock);
	(void)MHD_run(s->daemon);
	if (s->ops->turn)
		s->ops->turn(s->ctx);
	return s->activity != before;
}

/* True when it may have more to do at once, or answers are ready for it. */
static bool run_library(struct serve *s)
{
	unsigned idle = 0;

	for (unsigned i = 0; i < RUNS_MAX; i++) {
		if (run_once(s))
			idle = 0;
		else if (++idle > (s->writing > 0 ? RUNS_FOR_WRITE : 0))
			return false;
		if (atomic_load_explicit(&s->woken, memory_order_relaxed))
			return true;
	}
	return true;
}

/* How long nothing but a socket or a wake can matter. */
static int pause_ms(const struct serve *s)
{
	MHD_UNSIGNED_LONG_LONG wanted;

	if (s->waiting == 0 && MHD_get_timeout(s->daemon, &wanted) == MHD_YES && wanted == 0)
		return 0;
	return SERVE_TICK_MS;
}

static void take_wake(struct serve *s)
{
	uint64_t count;

	/* A wake between the two lines is served by the tick that follows. */
	if (read(s->wake_fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
		(void)atomic_exchange_explicit(&s->woken, false, memory_order_acq_rel);
}

static bool wait_for_work(struct serve *s, int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int count = epoll_wait(s->epoll, events, EVENTS_MAX, timeout_ms);
	int64_t now_ms = s->clock->mono_ms(s->clock);
	bool woken = false;

	assert(count >= 0 || errno == EINTR);
	for (int i = 0; i < count; i++) {
		uint64_t tag = events[i].data.u64;

		if (tag == TAG_WAKE) {
			take_wake(s);
			woken = true;
		} else if (tag >= TAG_LINGER) {
			linger_read(s, (size_t)(tag - TAG_LINGER), now_ms);
		}
	}
	return woken;
}

void take_limits(struct serve *s)
{
	if (!atomic_load_explicit(&s->limits_set, memory_order_acquire))
		return;
	/* Before they are read: what is set meanwhile is taken once more. */
	atomic_store_explicit(&s->limits_set, false, memory_order_relaxed);
	lock_take(&s->lock);
	s->now = s->limits;
	lock_give(&s->lock);
}

static void obey(struct serve *s, int64_t now_ms)
{
	take_limits(s);
	if (s->quiet || !atomic_load_explicit(&s->quiesce, memory_order_acquire))
		return;
	s->quiet = true;
	s->quiet_since_ms = now_ms;
	s->next_reap_ms = 0;
	(void)MHD_quiesce_daemon(s->daemon);
	/* Clients that come now are refused and try elsewhere, instead of waiting in the backlog.
	 */
	if (s->owns_listen)
		(void)shutdown(s->listen_fd, SHUT_RDWR);
}

static void tell_drained(struct serve *s)
{
	if (!s->quiet || s->connections)
		return;
	lock_take(&s->lock);
	s->is_drained = true;
	cond_broadcast(&s->drained);
	lock_give(&s->lock);
}

/* The pause that may follow. */
static int turn(struct serve *s, bool woken)
{
	int64_t now_ms = s->clock->mono_ms(s->clock);
	bool more;

	atomic_store_explicit(&s->last_turn_ms, now_ms, memory_order_relaxed);
	obey(s, now_ms);
	if (s->ops->tick && (woken || now_ms - s->last_tick_ms >= SERVE_TICK_MS)) {
		s->last_tick_ms = now_ms;
		s->ops->tick(s->ctx);
	}
	if (now_ms >= s->next_reap_ms) {
		reap(s, now_ms);
		reap_lingers(s, now_ms);
		s->next_reap_ms = now_ms + REAP_EVERY_MS;
	}
	more = run_library(s);
	tell_drained(s);
	return more ? 0 : pause_ms(s);
}

static void *loop(void *arg)
{
	struct serve *s = arg;
	int timeout_ms = 0;

	requests_keep();
	tls_enter(s);
	while (!atomic_load_explicit(&s->stop, memory_order_acquire)) {
		bool woken = wait_for_work(s, timeout_ms);

		timeout_ms = turn(s, woken);
	}
	library_close(s);
	linger_close_all(s);
	requests_forget();
	return NULL;
}

/* ---- the handle --------------------------------------------------------------------------------
 */

static enum err_code watch(struct serve *s, int fd, uint64_t tag, struct err *err)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = tag };

	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		return err_sys(err, ERR_IO, errno, "epoll_ctl");
	return ERR_OK;
}

static enum err_code open_loop(struct serve *s, struct err *err)
{
	const union MHD_DaemonInfo *info;
	enum err_code rc;

	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0)
		return err_sys(err, ERR_IO, errno, "epoll_create1");
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0)
		return err_sys(err, ERR_IO, errno, "eventfd");
	info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return err_set(err, ERR_UNSUPPORTED, "the HTTP library was built without epoll");
	rc = watch(s, s->wake_fd, TAG_WAKE, err);
	if (rc != ERR_OK)
		return rc;
	return watch(s, info->epoll_fd, TAG_LIBRARY, err);
}

static struct serve *make(const struct serve_opts *opts)
{
	struct serve *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->ops = opts->ops;
	s->ctx = opts->ctx;
	s->clock = opts->clock;
	s->listen_fd = s->epoll = s->wake_fd = -1;
	s->max_header_bytes = opts->max_header_bytes;
	s->answer_timeout_ms = opts->answer_timeout_ms;
	(void)snprintf(s->name, sizeof(s->name), "%s", opts->name);
	for (size_t i = 0; i < LINGER_MAX; i++)
		s->lingers[i].fd = -1;
	s->limits = (struct limits){
		.max_body_bytes = opts->max_body_bytes,
		.header_timeout_ms = opts->header_timeout_ms,
		.body_timeout_ms = opts->body_timeout_ms,
		.idle_timeout_ms = opts->idle_timeout_ms,
	};
	s->now = s->limits;
	lock_init(&s->lock);
	cond_init(&s->drained);
	return s;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

enum err_code serve_open(const struct serve_opts *opts, struct serve **out, struct err *err)
{
	struct serve *s = make(opts);
	enum err_code rc;

	assert(opts->ops->head && opts->ops->ready && opts->ops->refused);
	if (!s)
		return err_set(err, ERR_NOMEM, "no memory for a server");
	s->is_tls = opts->tls_cert.len > 0;
	rc = s->is_tls ? serve_set_tls(s, opts->tls_cert, opts->tls_key, err) : ERR_OK;
	if (rc == ERR_OK && s->is_tls && opts->tls_client_ca.len > 0)
		rc = tls_set_client_ca(s, opts->tls_client_ca, err);
	if (rc == ERR_OK)
		rc = listen_open(s, opts, err);
	if (rc == ERR_OK)
		rc = library_open(s, opts, err);
	if (rc == ERR_OK)
		rc = open_loop(s, err);
	if (rc == ERR_OK) {
		*out = s; /* for callbacks */
		rc = thread_start(&s->thread, s->name, loop, s, err);
	}
	if (rc != ERR_OK) {
		*out = NULL;
		serve_close(&s);
	}
	return rc;
}

void serve_close(struct serve **serve)
{
	struct serve *s = *serve;

	if (!s)
		return;
	if (s->thread.running) {
		atomic_store_explicit(&s->stop, true, memory_order_release);
		serve_wake(s);
		thread_join(&s->thread);
	}
	*serve = NULL;    /* not before: callbacks may use it to the end */
	library_close(s); /* where the loop never ran */
	tls_close(s);
	if (s->owns_listen)
		close_fd(s->listen_fd);
	close_fd(s->wake_fd);
	close_fd(s->epoll);
	cond_done(&s->drained);
	lock_done(&s->lock);
	free(s);
}

void serve_wake(struct serve *s)
{
	static const uint64_t one = 1;
	ssize_t wrote;

	if (atomic_exchange_explicit(&s->woken, true, memory_order_acq_rel))
		return;
	wrote = write(s->wake_fd, &one, sizeof(one));
	assert(wrote == (ssize_t)sizeof(one));
}

void serve_answer(struct serve *s, struct serve_request *shown, const struct serve_reply *reply)
{
	struct request *rq = request_of(shown);

	assert(!rq->connection || rq->connection->serve == s);
	if (rq->connection && rq->state == REQUEST_WAITING)
		answer_deferred(rq, reply);
}

/* ---- small ones --------------------------------------------------------------------------------
 */

const char *serve_address(const struct serve *s)
{
	return s->address;
}

int serve_listen_fd(const struct serve *s)
{
	return s->listen_fd;
}

void serve_set_limits(struct serve *s, size_t max_body_bytes, int64_t header_timeout_ms,
	int64_t body_timeout_ms, int64_t idle_timeout_ms)
{
	lock_take(&s->lock);
	s->limits = (struct limits){
		.max_body_bytes = max_body_bytes,
		.header_timeout_ms = header_timeout_ms,
		.body_timeout_ms = body_timeout_ms,
		.idle_timeout_ms = idle_timeout_ms,
	};
	atomic_store_explicit(&s->limits_set, true, memory_order_release);
	lock_give(&s->lock);
}

int64_t serve_last_turn_ms(const struct serve *s)
{
	return atomic_load_explicit(&s->last_turn_ms, memory_order_relaxed);
}

size_t serve_connections(const struct serve *s)
{
	return atomic_load_explicit(&s->connection_count, memory_order_relaxed);
}

size_t serve_in_flight(const struct serve *s)
{
	return atomic_load_explicit(&s->open_requests, memory_order_relaxed);
}

void serve_quiesce(struct serve *s)
{
	atomic_store_explicit(&s->quiesce, true, memory_order_release);
	serve_wake(s);
}

bool serve_drain(struct serve *s, int64_t deadline_ms)
{
	bool drained;

	lock_take(&s->lock);
	while (!s->is_drained && cond_wait(&s->drained, &s->lock, deadline_ms))
		continue;
	drained = s->is_drained;
	lock_give(&s->lock);
	return drained;
}
