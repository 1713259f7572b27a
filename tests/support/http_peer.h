/* http_peer.h - a destination for tests: plain sockets, a table of paths and what to do on each.
 *
 * One thread accepts, one thread serves each connection; what was seen is read under the lock after
 * the call has ended. Deliberately not here: any care about HTTP beyond what our client sends. */
#pragma once

#include "postern/buf.h"
#include "postern/thread.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum peer_act {
	PEER_ANSWER, /* and wait for the next request */
	PEER_CLOSE,  /* answer, then close */
	PEER_RESET,  /* answer what there is, then a TCP reset */
	PEER_HANG,   /* answer what there is, then nothing for ever */
	PEER_FLOOD,  /* answer, then zeros without end */
	PEER_LINES,  /* answer, then header lines without end */
};
struct peer_row {
	const char *path;
	enum peer_act act;
	const char *answer;
};

#define PEER_CONNECTIONS 256
#define PEER_REQUEST_MAX MIB(4)
struct peer {
	const struct peer_row *rows;
	size_t row_count;
	int listener;
	unsigned port;
	struct thread accepter;
	struct lock lock;
	/* guarded by lock */
	bool stopping;
	size_t connections, requests;
	int sockets[PEER_CONNECTIONS];
	struct thread threads[PEER_CONNECTIONS];
	char path[512];        /* of the last request */
	struct buf head, body; /* of the last request */
};
struct peer_connection {
	struct peer *peer;
	int fd;
};

static bool peer_send(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t put = send(fd, text, len, MSG_NOSIGNAL);

		if (put <= 0)
			return false;
		text += put;
		len -= (size_t)put;
	}
	return true;
}

/* One request: its head, and a body of Content-Length bytes. */
static bool peer_receive(int fd, struct buf *in, size_t *out_head)
{
	for (;;) {
		struct slice s = buf_slice(in), length = SLICE_LIT("Content-Length: ");
		size_t head = slice_search(s, SLICE_LIT("\r\n\r\n")), at = slice_search(s, length);
		char bytes[16384];
		ssize_t got;

		if (head < s.len) {
			size_t body = 0;

			for (at += length.len; at < head && s.data[at] >= '0' && s.data[at] <= '9';
				at++)
				body = body * 10 + (size_t)(s.data[at] - '0');
			*out_head = head + 4;
			if (s.len >= head + 4 + body)
				return true;
		}
		got = recv(fd, bytes, sizeof(bytes), 0);
		if (got <= 0 || buf_put(in, bytes, (size_t)got, NULL) != ERR_OK)
			return false;
	}
}

static const struct peer_row *peer_note(struct peer *peer, const struct buf *in, size_t head)
{
	struct slice s = buf_slice(in);
	size_t from = slice_find(s, ' ') + 1, len = slice_find(slice_sub(s, from, s.len), ' ');
	const struct peer_row *row = NULL;

	lock_take(&peer->lock);
	peer->requests++;
	(void)snprintf(peer->path, sizeof(peer->path), "%.*s", (int)len, s.data + from);
	buf_reset(&peer->head);
	buf_reset(&peer->body);
	assert(buf_put(&peer->head, s.data, head, NULL) == ERR_OK);
	assert(buf_put(&peer->body, s.data + head, s.len - head, NULL) == ERR_OK);
	for (size_t i = 0; i < peer->row_count; i++)
		if (strcmp(peer->rows[i].path, peer->path) == 0)
			row = &peer->rows[i];
	lock_give(&peer->lock);
	return row;
}

/* False when the connection is over. */
static bool peer_answer(int fd, const struct peer_row *row)
{
	static const char none[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
	static const char line[] = "X-Filler: 0123456789012345678901234567890123456789\r\n";
	static const char zeros[4096];
	const char *answer = row && row->answer ? row->answer : "";
	char byte;

	if (!row)
		return peer_send(fd, none, strlen(none));
	if (!peer_send(fd, answer, strlen(answer)))
		return false;
	switch (row->act) {
	case PEER_ANSWER: return true;
	case PEER_CLOSE: return false;
	case PEER_RESET:
		(void)setsockopt(
			fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
		return false;
	case PEER_HANG:
		while (recv(fd, &byte, 1, 0) > 0)
			;
		return false;
	case PEER_FLOOD:
		while (peer_send(fd, zeros, sizeof(zeros)))
			;
		return false;
	case PEER_LINES:
		while (peer_send(fd, line, strlen(line)))
			;
		return false;
	}
	return false;
}

static void *peer_serve(void *arg)
{
	struct peer_connection connection = *(struct peer_connection *)arg;
	struct buf in = BUF_INIT(PEER_REQUEST_MAX);
	size_t head;

	free(arg);
	while (peer_receive(connection.fd, &in, &head)) {
		if (!peer_answer(connection.fd, peer_note(connection.peer, &in, head)))
			break;
		buf_reset(&in);
	}
	buf_done(&in);
	lock_take(&connection.peer->lock);
	for (size_t i = 0; i < connection.peer->connections; i++)
		if (connection.peer->sockets[i] == connection.fd)
			connection.peer->sockets[i] = -1;
	(void)close(connection.fd);
	lock_give(&connection.peer->lock);
	return NULL;
}

static void *peer_accept(void *arg)
{
	struct peer *peer = arg;
	int fd;

	while ((fd = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		struct peer_connection *connection = malloc(sizeof(*connection));
		size_t n;

		assert(connection);
		*connection = (struct peer_connection){ peer, fd };
		lock_take(&peer->lock);
		n = peer->connections++;
		assert(n < PEER_CONNECTIONS);
		peer->sockets[n] = fd;
		if (peer->stopping)
			(void)shutdown(fd, SHUT_RDWR);
		assert(thread_start(&peer->threads[n], "peer", peer_serve, connection, NULL) ==
			ERR_OK);
		lock_give(&peer->lock);
	}
	return NULL;
}

static void peer_open(struct peer *peer, const struct peer_row *rows, size_t count)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);

	*peer = (struct peer){ .rows = rows, .row_count = count };
	peer->head = BUF_INIT(PEER_REQUEST_MAX);
	peer->body = BUF_INIT(PEER_REQUEST_MAX);
	lock_init(&peer->lock);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(peer->listener >= 0);
	assert(bind(peer->listener, (struct sockaddr *)&address, len) == 0);
	assert(listen(peer->listener, 128) == 0);
	assert(getsockname(peer->listener, (struct sockaddr *)&address, &len) == 0);
	peer->port = ntohs(address.sin_port);
	assert(thread_start(&peer->accepter, "peer-accept", peer_accept, peer, NULL) == ERR_OK);
}

static void peer_close(struct peer *peer)
{
	lock_take(&peer->lock);
	peer->stopping = true;
	for (size_t i = 0; i < peer->connections; i++)
		if (peer->sockets[i] >= 0)
			(void)shutdown(peer->sockets[i], SHUT_RDWR);
	lock_give(&peer->lock);
	(void)shutdown(peer->listener, SHUT_RDWR);
	thread_join(&peer->accepter);
	(void)close(peer->listener);
	for (size_t i = 0; i < peer->connections; i++)
		thread_join(&peer->threads[i]);
	buf_done(&peer->head);
	buf_done(&peer->body);
	lock_done(&peer->lock);
}

static size_t peer_requests(struct peer *peer)
{
	size_t n;

	lock_take(&peer->lock);
	n = peer->requests;
	lock_give(&peer->lock);
	return n;
}

/* The last request's header, or an empty slice; a name matches in any case. */
static inline struct slice peer_header(struct peer *peer, const char *name)
{
	struct slice rest = buf_slice(&peer->head);

	while (rest.len > 0) {
		size_t end = slice_search(rest, SLICE_LIT("\r\n"));
		struct slice line = slice_sub(rest, 0, end);
		size_t colon = slice_find(line, ':');

		if (slice_eq_nocase(slice_sub(line, 0, colon), slice_str(name)))
			return slice_trim(slice_sub(line, colon + 1, line.len));
		rest = slice_sub(rest, end + 2, rest.len);
	}
	return SLICE_EMPTY;
}
