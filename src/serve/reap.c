/* reap.c - deadlines that hold in total, whatever a client sends in between, and slow closing.
 *
 * The library's own timeout starts again with every byte, so one byte a second keeps a connection
 * for ever. Here each phase of a connection has an end:
 *
 *   idle, no byte yet  idle_timeout     idle, part of a head  header_timeout
 *   body               body_timeout     waiting               answer_timeout, by an answer
 *   writing            idle_timeout
 *
 * A connection is ended by shutdown(), never by close(): the descriptor is the library's. */
#include "serve_priv.h"

#include "postern/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLOSE_WAIT 8    /* the kernel's state of TCP: TCP_CLOSE_WAIT of <netinet/tcp.h> */
#define CHECK_MIN_MS 50 /* between two looks at an idle connection */

/* ---- what the kernel counts --------------------------------------------------------------------
 */

static bool read_counters(const struct connection *c, struct tcp_info *info)
{
	socklen_t len = sizeof(*info);

	*info = (struct tcp_info){ .tcpi_state = 0 };
	return getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, info, &len) == 0 &&
	       len > offsetof(struct tcp_info, tcpi_bytes_sent);
}

/* The kernel counts the end of what the client sends as a byte of it. */
static uint64_t received(const struct tcp_info *info)
{
	return info->tcpi_bytes_received - (info->tcpi_state == CLOSE_WAIT);
}

/* The client has closed its side, and everything that it sent was read. The library misses a close
 * that comes together with the last bytes. */
static bool is_half_closed(const struct connection *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLRDHUP };
	int unread = 0;

	return poll(&p, 1, 0) == 1 && (p.revents & POLLRDHUP) &&
	       ioctl(c->fd, FIONREAD, &unread) == 0 && unread == 0;
}

/* Reset: nobody will read an answer. The library looks at a new connection only once it has read
 * all that was there, so it may not hear. */
static bool is_reset(const struct connection *c)
{
	struct pollfd p = { .fd = c->fd };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP));
}

/* The library does not tell when the first byte of a head comes. The kernel counts what it
 * received, and we know the length of every finished request. Not TCP: taken as begun. */
bool connection_has_bytes(const struct connection *c)
{
	struct tcp_info info;

	return !read_counters(c, &info) || received(&info) > c->consumed;
}

void connection_settle(struct connection *c)
{
	struct tcp_info info;

	if (read_counters(c, &info))
		c->consumed = received(&info);
}

bool connection_sent_nothing(const struct connection *c)
{
	struct tcp_info info;

	/* A short answer is one segment. */
	return read_counters(c, &info) && info.tcpi_data_segs_out == c->answers;
}

/* ---- deadlines ---------------------------------------------------------------------------------
 */

static void end(struct connection *c, const char *why)
{
	if (c->ended)
		return;
	c->ended = true;
	log_debug("connection_ended", log_str("server", c->serve->name),
		log_str("client", c->client), log_str("detail", why));
	(void)shutdown(c->fd, SHUT_RDWR);
}

/* Whoever has just come is about to ask, and would take a close for a lost request. */
static bool is_fresh(const struct connection *c, int64_t now_ms)
{
	return c->answers == 0 && now_ms - c->since_ms < QUIESCE_HEAD_MS;
}

static void judge_idle(struct connection *c, int64_t now_ms)
{
	const struct limits *limits = &c->serve->now;
	int64_t pause = limits->header_timeout_ms / 10;

	if (now_ms < c->check_ms && !c->serve->quiet)
		return;
	c->check_ms = now_ms + (pause > CHECK_MIN_MS ? pause : CHECK_MIN_MS);
	if (is_half_closed(c)) {
		end(c, "the client has closed");
	} else if (!connection_has_bytes(c)) {
		c->quiet_ms = now_ms;
		if (c->serve->quiet && !is_fresh(c, now_ms))
			end(c, "the server stops");
		else if (now_ms - c->since_ms >= limits->idle_timeout_ms)
			end(c, "idle");
	} else if (now_ms - c->quiet_ms >= limits->header_timeout_ms) {
		end(c, "the head took too long");
	} else if (c->serve->quiet && now_ms - c->serve->quiet_since_ms >= QUIESCE_HEAD_MS) {
		end(c, "the server stops");
	}
}

static void judge_waiting(struct connection *c, int64_t now_ms)
{
	int64_t patience_ms = c->serve->answer_timeout_ms;
	struct request *rq = c->request;

	if (!rq || rq->state != REQUEST_WAITING)
		return;
	if (is_reset(c)) {
		c->ended = true;
		answer_deferred(rq, NULL);
	} else if (patience_ms > 0 && now_ms - c->since_ms >= patience_ms) {
		answer_unknown(rq);
	}
}

static void judge(struct connection *c, int64_t now_ms)
{
	const struct limits *limits = &c->serve->now;

	switch (c->phase) {
	case PHASE_IDLE: judge_idle(c, now_ms); return;
	case PHASE_BODY:
		if (is_half_closed(c))
			end(c, "the client has closed");
		else if (now_ms - c->since_ms >= limits->body_timeout_ms)
			end(c, "the body took too long");
		return;
	case PHASE_WAITING: judge_waiting(c, now_ms); return;
	case PHASE_WRITING:
		if (now_ms - c->since_ms >= limits->idle_timeout_ms)
			end(c, "the answer is not read");
		return;
	}
}

void reap(struct serve *s, int64_t now_ms)
{
	for (struct connection *c = s->connections; c; c = c->next)
		judge(c, now_ms);
}

/* ---- slow closing ------------------------------------------------------------------------------
 */

static void linger_end(struct slow_close *slot)
{
	(void)close(slot->fd); /* leaves the epoll set with it */
	slot->fd = -1;
}

/* What the client still sends is read and thrown away, so that no reset overtakes the answer. */
static bool read_away(int fd)
{
	static const size_t most = MIB(1); /* in one go; others want their turn */
	char bytes[KIB(16)];
	size_t total = 0;

	while (total < most) {
		ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (got < 0)
			return errno == EAGAIN || errno == EINTR;
		if (got == 0)
			return false;
		total += (size_t)got;
	}
	return true;
}

/* Takes over a connection that the library is about to close. */
void linger_start(struct serve *s, int fd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP };
	struct slow_close *slot = NULL;

	(void)shutdown(fd, SHUT_WR);
	if (!read_away(fd))
		return;
	for (size_t i = 0; i < LINGER_MAX && !slot; i++)
		slot = s->lingers[i].fd < 0 ? &s->lingers[i] : NULL;
	if (!slot)
		return;
	slot->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (slot->fd < 0)
		return;
	slot->until_ms = s->clock->mono_ms(s->clock) + LINGER_MS;
	event.data.u64 = TAG_LINGER + (uint64_t)(slot - s->lingers);
	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, slot->fd, &event) != 0)
		linger_end(slot);
}

void linger_read(struct serve *s, size_t index, int64_t now_ms)
{
	struct slow_close *slot = &s->lingers[index];

	if (slot->fd >= 0 && (now_ms >= slot->until_ms || !read_away(slot->fd)))
		linger_end(slot);
}

void reap_lingers(struct serve *s, int64_t now_ms)
{
	for (size_t i = 0; i < LINGER_MAX; i++) {
		if (s->lingers[i].fd >= 0 && now_ms >= s->lingers[i].until_ms)
			linger_end(&s->lingers[i]);
	}
}

void linger_close_all(struct serve *s)
{
	reap_lingers(s, INT64_MAX);
}
