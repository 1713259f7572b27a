/* raw_client.h - a client that sends exactly the bytes it is given, and reads whole answers.
 *
 * For tests only: every failure of a system call is an assertion of the test. */
#pragma once

#include "postern/clock.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define RAW_DEADLINE_MS 20000 /* nothing in a test takes longer, unless it hangs */

struct raw_answer {
	unsigned status; /* 0: closed without one */
	char head[4096];
	char body[65536];
	size_t body_len;
};

static inline int64_t raw_now_ms(void)
{
	return clock_system()->mono_ms(clock_system());
}

static inline int raw_connect(const char *address)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const char *colon = strrchr(address, ':');
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	unsigned port = 0;

	assert(fd >= 0 && colon);
	assert(sscanf(colon + 1, "%u", &port) == 1);
	to.sin_port = htons((uint16_t)port);
	assert(connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0);
	return fd;
}

/* False when the server has closed before it read everything. */
static inline bool raw_send(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

static inline bool raw_send_str(int fd, const char *text)
{
	return raw_send(fd, text, strlen(text));
}

/* One byte or more; 0 at the end or after a reset; -1 at the deadline. */
static inline ssize_t raw_recv(int fd, char *out, size_t max, int64_t deadline_ms)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = deadline_ms - raw_now_ms();
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return -1;
		n = recv(fd, out, max, 0);
		if (n >= 0)
			return n;
		if (errno != EINTR)
			return 0;
	}
}

/* The value of a header in answer.head, or NULL. */
static inline const char *raw_header(const struct raw_answer *a, const char *name)
{
	const char *line = strstr(a->head, "\r\n");

	for (; line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
		if (strncasecmp(line + 2, name, strlen(name)) == 0 && line[2 + strlen(name)] == ':')
			return line + 2 + strlen(name) + 2;
	}
	return NULL;
}

/* One answer of which the length is known (or that has no body). False: closed before it was whole;
 * then status is what was seen of it. Byte for byte, so that nothing of the next one is taken. */
static inline bool raw_read(int fd, struct raw_answer *a)
{
	int64_t deadline = raw_now_ms() + RAW_DEADLINE_MS;
	size_t len = 0, want;
	const char *length;

	*a = (struct raw_answer){ .status = 0 };
	while (len < 4 || memcmp(a->head + len - 4, "\r\n\r\n", 4) != 0) {
		ssize_t n;

		assert(len < sizeof(a->head) - 1);
		n = raw_recv(fd, a->head + len, 1, deadline);
		assert(n >= 0); /* a server that hangs */
		if (n == 0)
			break;
		len++;
	}
	(void)sscanf(a->head, "HTTP/1.1 %u", &a->status);
	if (len < 4 || memcmp(a->head + len - 4, "\r\n\r\n", 4) != 0)
		return false;
	length = raw_header(a, "Content-Length");
	want = length ? strtoul(length, NULL, 10) : 0;
	assert(want < sizeof(a->body));
	while (a->body_len < want) {
		ssize_t n = raw_recv(fd, a->body + a->body_len, want - a->body_len, deadline);

		assert(n >= 0);
		if (n == 0)
			return false;
		a->body_len += (size_t)n;
	}
	return true;
}

/* Read and drop until the server closes. False at the deadline. */
static inline bool raw_read_end(int fd, int64_t within_ms)
{
	int64_t deadline = raw_now_ms() + within_ms;
	char bytes[4096];
	ssize_t n;

	do {
		n = raw_recv(fd, bytes, sizeof(bytes), deadline);
	} while (n > 0);
	return n == 0;
}
