/* guard.c - any bytes as a connection, through the real library and the guard, against a strict
 * reader of the same bytes.
 *
 * Every request that reaches the callbacks must be the one that the strict reader finds at this
 * place: same method, target, number of headers and body. So no bytes that only a lenient reader
 * takes for a request are ever delivered. Refusing more than the strict reader does is allowed.
 *
 * The strict reader passes over empty lines before a request line, as the library does. A chunked
 * body is left out of the comparison, but nothing may follow it. Bytes with NULs, or with a line
 * that begins with a colon, are not compared: the library leaves zeros behind for CR, LF and colon
 * too, so some of them cannot be told apart (guard.h). */
#include "../../src/serve/serve_priv.h"

#include "postern/text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define RUNS_MAX 200

struct strict {
	struct slice method, uri, body;
	size_t headers;
	bool chunked;
};
static struct {
	struct slice rest;
	struct strict now; /* what the strict reader found last */
	bool chunked_before, is_blurred;
} model;
static struct serve server;

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* ---- the strict reader -------------------------------------------------------------------------
 */

static bool take_line(struct slice *line)
{
	size_t end = slice_search(model.rest, SLICE_LIT("\r\n"));

	if (end == model.rest.len)
		return false;
	*line = slice_sub(model.rest, 0, end);
	model.rest = slice_sub(model.rest, end + 2, model.rest.len);
	return slice_find(*line, '\n') == line->len;
}

static void skip_empty_lines(void)
{
	for (;;) {
		if (slice_starts(model.rest, SLICE_LIT("\n")))
			model.rest = slice_sub(model.rest, 1, model.rest.len);
		else if (slice_starts(model.rest, SLICE_LIT("\r\n")))
			model.rest = slice_sub(model.rest, 2, model.rest.len);
		else
			return;
	}
}

static bool read_first_line(void)
{
	struct slice line;
	size_t one, two;

	if (!take_line(&line))
		return false;
	one = slice_find(line, ' ');
	two = one + 1 + slice_find(slice_sub(line, one + 1, line.len), ' ');
	if (two >= line.len ||
		slice_find(slice_sub(line, two + 1, line.len), ' ') + two + 1 < line.len)
		return false;
	model.now.method = slice_sub(line, 0, one);
	model.now.uri = slice_sub(line, one + 1, two - one - 1);
	return slice_starts(slice_sub(line, two + 1, line.len), SLICE_LIT("HTTP/1.")) &&
	       guard_is_token(model.now.method);
}

static bool read_header(struct slice line, bool *has_length, uint64_t *length)
{
	size_t colon = slice_find(line, ':');
	struct slice name = slice_sub(line, 0, colon);
	struct slice value = slice_trim(slice_sub(line, colon + 1, line.len));

	if (colon == line.len || !guard_is_token(name))
		return false;
	if (slice_eq_nocase(name, SLICE_LIT("Content-Length"))) {
		if (*has_length || text_u64(value, length, NULL) != ERR_OK)
			return false;
		*has_length = true;
	}
	if (slice_eq_nocase(name, SLICE_LIT("Transfer-Encoding"))) {
		if (model.now.chunked || !slice_eq_nocase(value, SLICE_LIT("chunked")))
			return false;
		model.now.chunked = true;
	}
	model.now.headers++;
	return true;
}

/* The next request, or false where there is none. */
static bool read_strictly(void)
{
	bool has_length = false;
	uint64_t length = 0;
	struct slice line;

	model.now = (struct strict){ .headers = 0 };
	skip_empty_lines();
	if (!read_first_line())
		return false;
	for (;;) {
		if (!take_line(&line))
			return false;
		if (line.len == 0)
			break;
		if (!read_header(line, &has_length, &length))
			return false;
	}
	if (model.now.chunked)
		return !has_length;
	model.now.body = slice_sub(model.rest, 0, length > SIZE_MAX / 2 ? SIZE_MAX / 2 : length);
	model.rest = slice_sub(model.rest, model.now.body.len, model.rest.len);
	return true;
}

/* ---- callbacks ---------------------------------------------------------------------------------
 */

static enum serve_next on_head(void *ctx, struct serve_request *rq, struct serve_reply *reply)
{
	struct slice path, query;
	bool has_query;

	(void)ctx;
	(void)reply;
	must(!model.chunked_before); /* nothing follows a chunked body */
	model.chunked_before = rq->content_length == SERVE_LENGTH_UNKNOWN;
	if (model.is_blurred)
		return SERVE_CONTINUE;
	must(read_strictly());
	must(slice_eq(rq->method, model.now.method));
	must(guard_split_uri(model.now.uri, &path, &query, &has_query));
	must(slice_eq(rq->path, path) && slice_eq(rq->query, query) && rq->has_query == has_query);
	must(rq->header_count == model.now.headers);
	must((rq->content_length == SERVE_LENGTH_UNKNOWN) == model.now.chunked);
	return SERVE_CONTINUE;
}

static enum serve_next on_ready(void *ctx, struct serve_request *rq, struct serve_reply *reply)
{
	(void)ctx;
	must(model.is_blurred || model.now.chunked || slice_eq(rq->body, model.now.body));
	reply->status = 200;
	return SERVE_REPLY;
}

static void on_refused(void *ctx, struct serve_request *rq, enum err_code code, unsigned status,
	struct serve_reply *reply)
{
	(void)ctx;
	(void)rq;
	(void)code;
	(void)status;
	(void)reply;
}

/* ---- one connection ----------------------------------------------------------------------------
 */

static void open_server(void)
{
	static const struct serve_ops ops = {
		.head = on_head,
		.ready = on_ready,
		.refused = on_refused,
	};
	const struct serve_opts opts = {
		.name = "guard",
		.listen = "127.0.0.1:0",
		.listen_fd = -1,
		.max_connections = 8,
		.max_header_bytes = 16384,
	};

	server = (struct serve){
		.ops = &ops,
		.clock = clock_system(),
		.max_header_bytes = opts.max_header_bytes,
		.limits = { .max_body_bytes = 65536 },
		.now = { .max_body_bytes = 65536 },
	};
	for (size_t i = 0; i < LINGER_MAX; i++)
		server.lingers[i].fd = -1;
	server.epoll = epoll_create1(EPOLL_CLOEXEC);
	must(server.epoll >= 0);
	must(listen_open(&server, &opts, NULL) == ERR_OK);
	must(library_open(&server, &opts, NULL) == ERR_OK);
}

static void run_until_quiet(int peer)
{
	char answer[4096];
	unsigned quiet = 0;

	for (unsigned i = 0; i < RUNS_MAX && quiet < 3; i++) {
		uint64_t before = server.activity;
		bool read_some = false;

		(void)MHD_run(server.daemon);
		while (recv(peer, answer, sizeof(answer), MSG_DONTWAIT) > 0)
			read_some = true;
		quiet = server.activity == before && !read_some ? quiet + 1 : 0;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte says in pieces of which size the rest is sent. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct sockaddr none = { .sa_family = AF_UNIX };
	size_t piece;
	int pair[2];

	if (size < 2 || size > 60000)
		return 0;
	if (!server.daemon)
		open_server();
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	memset(&model, 0, sizeof(model));
	model.rest = (struct slice){ data + 1, size - 1 };
	model.is_blurred = memchr(data + 1, '\0', size - 1) != NULL ||
			   slice_search(model.rest, SLICE_LIT("\n:")) < model.rest.len;
	piece = data[0] ? (size_t)data[0] * 16 : size;
	must(MHD_add_connection(server.daemon, pair[0], &none, sizeof(none)) == MHD_YES);
	for (size_t at = 1; at < size; at += piece) {
		if (send(pair[1], data + at, piece < size - at ? piece : size - at,
			    MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
		run_until_quiet(pair[1]);
	}
	(void)close(pair[1]);
	for (unsigned i = 0; i < RUNS_MAX && server.connections; i++)
		(void)MHD_run(server.daemon);
	must(!server.connections && server.writing == 0 && server.waiting == 0);
	linger_close_all(&server);
	return 0;
}

#include "replay_main.inc"
