/* exec_host.c - one thread that asks the keeper for children, reads what they print, and watches
 * the clock.
 *
 *     exec_host_run --> waiting --eventfd--> [ start | epoll: keeper, output, eventfd | expire ]
 * --> done()
 *
 * A run has a seat from its start until the keeper says that it has ended; the seat's number is the
 * id in every message. The body is a sealed memory file, so that a child that never reads it holds
 * up nobody. Deliberately not here: processes themselves (exec_keeper.c), what an exit status means
 * (exec.c). */
#include "handler_priv.h"

#include "postern/clock.h"
#include "postern/thread.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 64
#define OUTPUT_STEP KIB(64)
#define DRAIN_MS 3000 /* for the keeper to bury everyone at close */

/* What an epoll event is about; a smaller number is a seat. */
enum { TAG_WAKE = EXEC_CHILDREN_MAX, TAG_KEEPER };

struct exec_host {
	struct thread thread;
	int wake, epoll;
	struct lock lock;
	/* guarded by lock */
	size_t runs; /* waiting and seated */
	struct exec_run *waiting, **waiting_end;
	bool prepared, stopping;
	/* the thread's own */
	int socket; /* to the keeper, or -1 */
	pid_t keeper;
	struct exec_run *next; /* taken from waiting, not yet started */
	struct exec_run *seats[EXEC_CHILDREN_MAX];
	size_t seats_used; /* no seat at or above this number is taken */
	bool is_prepared, is_stopping;
	uint8_t scratch[OUTPUT_STEP];
};

static int64_t now_ms(void)
{
	return clock_system()->mono_ms(clock_system());
}

static void watch(struct exec_host *host, int fd, uint64_t tag)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = tag };

	/* Only memory can be missing; then a child's output waits until its end, and nothing is
	 * lost. */
	(void)epoll_ctl(host->epoll, EPOLL_CTL_ADD, fd, &event);
}

/* ---- the end of a run --------------------------------------------------------------------------
 */

static void end_run(struct exec_host *host, struct exec_run *run, enum exec_end end, int value)
{
	run->end = end;
	run->value = value;
	if (run->output >= 0)
		(void)close(run->output);
	run->output = -1;
	lock_take(&host->lock);
	assert(host->runs > 0);
	host->runs--;
	lock_give(&host->lock);
	run->done(run);
}

static void end_seat(struct exec_host *host, uint32_t seat, enum exec_end end, int value)
{
	struct exec_run *run = host->seats[seat];

	host->seats[seat] = NULL;
	while (host->seats_used > 0 && !host->seats[host->seats_used - 1])
		host->seats_used--;
	end_run(host, run, end, value);
}

static void end_by_status(struct exec_host *host, uint32_t seat, int status)
{
	const struct exec_run *run = host->seats[seat];
	enum exec_end end = EXEC_END_STATUS;

	/* A child that came to its own end in the same moment is believed. */
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
		if (run->killed)
			end = EXEC_END_TIMEOUT;
		else if (host->is_stopping)
			end = EXEC_END_CANCELLED;
	}
	end_seat(host, seat, end, status);
}

/* ---- the keeper --------------------------------------------------------------------------------
 */

static enum err_code open_keeper(struct exec_host *host, struct err *err)
{
	enum err_code rc = exec_keeper_fork(&host->socket, &host->keeper, err);

	if (rc == ERR_OK)
		watch(host, host->socket, TAG_KEEPER);
	return rc;
}

static void close_keeper(struct exec_host *host)
{
	if (host->socket >= 0)
		(void)close(host->socket);
	host->socket = -1;
	if (host->keeper > 0)
		(void)waitpid(host->keeper, NULL, 0);
	host->keeper = 0;
}

/* The children died with it, by their parent-death signal; their groups are ours to kill. */
static void lose_keeper(struct exec_host *host)
{
	for (uint32_t seat = 0; seat < EXEC_CHILDREN_MAX && seat < host->seats_used; seat++) {
		struct exec_run *run = host->seats[seat];

		if (!run)
			continue;
		if (run->pid > 0)
			(void)kill(-run->pid, SIGKILL);
		end_seat(host, seat, host->is_stopping ? EXEC_END_CANCELLED : EXEC_END_ERROR,
			ECHILD);
	}
	close_keeper(host);
}

static void hear(struct exec_host *host, const struct exec_message *message)
{
	struct exec_run *run;

	assert(message->id < EXEC_CHILDREN_MAX);
	run = host->seats[message->id];
	assert(run);
	if (message->kind == EXEC_STARTED)
		run->pid = message->value;
	else if (message->kind == EXEC_ENDED)
		end_by_status(host, message->id, message->value);
	else if (message->kind == EXEC_FAILED)
		end_seat(host, message->id, EXEC_END_ERROR, message->value);
}

/* False when the keeper is gone. */
static bool hear_keeper(struct exec_host *host)
{
	struct exec_message message;
	ssize_t got;

	while (host->socket >= 0) {
		got = recv(host->socket, &message, sizeof(message), MSG_DONTWAIT);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return true;
		if (got != (ssize_t)sizeof(message))
			return false;
		hear(host, &message);
	}
	return false;
}

/* False when the socket has no room now, or the keeper is gone (which the next read will tell). */
static bool tell_keeper(
	struct exec_host *host, struct slice message, const int *fds, size_t fd_count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
	struct iovec part = { (void *)(uintptr_t)message.data, message.len };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t put;

	if (fd_count > 0) {
		struct cmsghdr *rights;

		header.msg_control = control;
		header.msg_controllen = sizeof(control);
		rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(rights), fds, fd_count * sizeof(int));
	}
	do {
		put = sendmsg(host->socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (put < 0 && errno == EINTR);
	return put >= 0;
}

/* ---- the start of a run ------------------------------------------------------------------------
 */

static int write_body(int fd, struct slice body)
{
	while (body.len > 0) {
		ssize_t put = write(fd, body.data, body.len);

		if (put < 0 && errno != EINTR)
			return errno;
		if (put > 0)
			body = slice_sub(body, (size_t)put, body.len);
	}
	return 0;
}

/* A file in memory that nobody can change any more, at its beginning. -1: errno. */
static int open_body(struct slice body)
{
	int fd = memfd_create("event", MFD_CLOEXEC | MFD_ALLOW_SEALING), bad;

	if (fd < 0)
		return -1;
	bad = write_body(fd, body);
	if (bad == 0 && lseek(fd, 0, SEEK_SET) != 0)
		bad = errno;
	if (bad == 0 && fcntl(fd, F_ADD_SEALS,
				F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
		bad = errno;
	if (bad == 0)
		return fd;
	(void)close(fd);
	errno = bad;
	return -1;
}

/* fds: the body, the child's end of the output, our end. False: none of them, and errno. */
static bool open_files(struct slice body, int fds[3])
{
	int ends[2];

	fds[0] = open_body(body);
	if (fds[0] < 0)
		return false;
	if (pipe2(ends, O_CLOEXEC) != 0) {
		int bad = errno;

		(void)close(fds[0]);
		errno = bad;
		return false;
	}
	fds[1] = ends[1];
	fds[2] = ends[0];
	(void)fcntl(fds[2], F_SETFL, O_NONBLOCK);
	return true;
}

static void take_seat(struct exec_host *host, uint32_t seat, struct exec_run *run, int output)
{
	host->seats[seat] = run;
	if (seat >= host->seats_used)
		host->seats_used = seat + 1;
	run->output = output;
	run->deadline_ms = now_ms() + run->timeout_ms;
	watch(host, output, seat);
}

/* False: the keeper has no room now, try again later. */
static bool start_run(struct exec_host *host, struct exec_run *run)
{
	uint32_t seat = 0;
	int fds[3], bad;
	bool sent;

	if (!open_files(run->body, fds)) {
		end_run(host, run, EXEC_END_ERROR, errno);
		return true;
	}
	while (host->seats[seat])
		seat++; /* runs are bounded by the number of seats */
	((struct exec_message *)(void *)run->start.data)->id = seat;
	sent = tell_keeper(host, buf_slice(&run->start), fds, 2);
	bad = errno;
	(void)close(fds[0]);
	(void)close(fds[1]);
	if (sent) {
		take_seat(host, seat, run, fds[2]);
		return true;
	}
	(void)close(fds[2]);
	/* EPIPE: the keeper is gone; its end will be read, and another one started. */
	if (bad == EAGAIN || bad == EPIPE || bad == ECONNRESET)
		return false;
	end_run(host, run, EXEC_END_ERROR, bad);
	return true;
}

static void take_waiting(struct exec_host *host)
{
	struct exec_run **end = &host->next;

	while (*end)
		end = &(*end)->next;
	lock_take(&host->lock);
	*end = host->waiting;
	host->waiting = NULL;
	host->waiting_end = &host->waiting;
	host->is_prepared = host->prepared;
	host->is_stopping = host->stopping;
	lock_give(&host->lock);
}

/* False when a run is left that has to wait for the keeper. */
static bool start_runs(struct exec_host *host)
{
	/* A keeper that cannot be had now is asked for again with the first run. */
	if (host->is_prepared && !host->is_stopping && host->socket < 0)
		(void)open_keeper(host, NULL);
	while (host->next) {
		struct exec_run *run = host->next, *rest = run->next;
		struct err err = ERR_INIT;

		if (host->is_stopping || run->stillborn) {
			host->next = rest;
			end_run(host, run, EXEC_END_CANCELLED, 0);
			continue;
		}
		if (host->socket < 0 && open_keeper(host, &err) != ERR_OK) {
			host->next = rest;
			end_run(host, run, EXEC_END_ERROR, EAGAIN);
			continue;
		}
		if (!start_run(host, run))
			return false;
		host->next = rest;
	}
	return true;
}

/* ---- the loop ----------------------------------------------------------------------------------
 */

/* All of it is thrown away, and counted until it is more than the limit. */
static void read_output(struct exec_host *host, struct exec_run *run)
{
	ssize_t got = read(run->output, host->scratch, sizeof(host->scratch));

	if (got > 0 && run->output_bytes <= run->output_max)
		run->output_bytes += (uint64_t)got;
	if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	(void)close(run->output); /* which takes it out of the epoll set */
	run->output = -1;
}

/* Kills what is over its time. Returns how long the next one has. */
static int64_t expire(struct exec_host *host)
{
	int64_t now = now_ms(), wait = INT64_MAX;

	for (uint32_t seat = 0; seat < host->seats_used; seat++) {
		struct exec_run *run = host->seats[seat];
		struct exec_message message = { .kind = EXEC_KILL, .id = seat };

		if (!run || run->killed)
			continue;
		if (now >= run->deadline_ms)
			run->killed = tell_keeper(host,
				(struct slice){ (const uint8_t *)&message, sizeof(message) }, NULL,
				0);
		if (!run->killed && run->deadline_ms - now < wait)
			wait = run->deadline_ms > now ? run->deadline_ms - now : 1;
	}
	return wait;
}

/* Everything that has happened, at most `wait` milliseconds from now. */
static void turn(struct exec_host *host, int64_t wait)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	int count =
		epoll_wait(host->epoll, events, EVENTS_AT_ONCE, wait > INT32_MAX ? -1 : (int)wait);
	uint64_t wakes;

	for (int i = 0; i < count; i++) {
		uint64_t tag = events[i].data.u64;

		if (tag == TAG_WAKE)
			(void)!read(host->wake, &wakes, sizeof(wakes));
		else if (tag == TAG_KEEPER && !hear_keeper(host))
			lose_keeper(host);
		else if (tag < EXEC_CHILDREN_MAX && host->seats[tag] &&
			 host->seats[tag]->output >= 0)
			read_output(host, host->seats[tag]);
	}
}

/* No more children: the keeper kills those that run, tells us, and ends. */
static void stop(struct exec_host *host)
{
	int64_t deadline = now_ms() + DRAIN_MS;

	(void)start_runs(host);
	if (host->socket >= 0)
		(void)shutdown(host->socket, SHUT_WR);
	while (host->socket >= 0 && now_ms() < deadline)
		turn(host, deadline - now_ms());
	if (host->socket < 0)
		return;
	/* It waits for a child that cannot be killed, and goes on waiting without us. */
	host->keeper = 0;
	lose_keeper(host);
}

static void *run_host(void *arg)
{
	struct exec_host *host = arg;

	for (take_waiting(host); !host->is_stopping; take_waiting(host)) {
		bool started = start_runs(host);
		int64_t wait = expire(host);

		turn(host, started ? wait : 1);
	}
	stop(host);
	return NULL;
}

/* ---- the door ----------------------------------------------------------------------------------
 */

static enum err_code open_host(struct exec_host *host, struct err *err)
{
	host->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	host->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (host->wake < 0 || host->epoll < 0)
		return err_sys(err, ERR_IO, errno, "open the exec host");
	watch(host, host->wake, TAG_WAKE);
	return thread_start(&host->thread, "exec", run_host, host, err);
}

enum err_code exec_host_open(struct exec_host **out, struct err *err)
{
	struct exec_host *host = calloc(1, sizeof(*host));
	enum err_code rc;

	if (!host)
		return err_set(err, ERR_NOMEM, "no memory for the exec host");
	host->wake = host->epoll = host->socket = -1;
	host->waiting_end = &host->waiting;
	lock_init(&host->lock);
	rc = open_host(host, err);
	if (rc != ERR_OK)
		exec_host_close(&host);
	else
		*out = host;
	return rc;
}

static void wake_up(const struct exec_host *host)
{
	uint64_t one = 1;

	/* It can only fail when it is set already. */
	(void)!write(host->wake, &one, sizeof(one));
}

void exec_host_prepare(struct exec_host *host)
{
	lock_take(&host->lock);
	host->prepared = true;
	lock_give(&host->lock);
	wake_up(host);
}

enum err_code exec_host_run(struct exec_host *host, struct exec_run *run, struct err *err)
{
	enum err_code rc = ERR_OK;

	run->next = NULL;
	run->killed = false;
	run->pid = 0;
	run->output = -1;
	run->output_bytes = 0;
	lock_take(&host->lock);
	if (host->stopping) {
		rc = err_set(err, ERR_STOPPED, "the exec host is stopping");
	} else if (host->runs >= EXEC_CHILDREN_MAX) {
		rc = err_set(err, ERR_FULL, "%zu programs are running", host->runs);
	} else {
		*host->waiting_end = run;
		host->waiting_end = &run->next;
		host->runs++;
	}
	lock_give(&host->lock);
	if (rc == ERR_OK)
		wake_up(host);
	return rc;
}

void exec_host_close(struct exec_host **out)
{
	struct exec_host *host = *out;

	if (!host)
		return;
	*out = NULL;
	lock_take(&host->lock);
	host->stopping = true;
	lock_give(&host->lock);
	if (host->thread.running)
		wake_up(host);
	thread_join(&host->thread);
	close_keeper(host);
	if (host->epoll >= 0)
		(void)close(host->epoll);
	if (host->wake >= 0)
		(void)close(host->wake);
	lock_done(&host->lock);
	free(host);
}
