/* serve_guard.c - every form of request that two readers could read in two ways, over a real
 * socket.
 *
 * Each row: the bytes, the status that must come, whether the connection must be closed behind it.
 * A request for /smuggled is hidden in the rows where a lenient reader would find one: it must
 * never reach the callbacks. */
#include "postern/serve.h"
#include "support/raw_client.h"

#include "postern/thread.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HEAD_MAX 16384
#define BODY_MAX 4096

struct seen { /* written by the loop's thread, read by the test */
	struct lock lock;
	struct serve *serve;                                   /* set before any request comes */
	unsigned heads, readies, refusals, finished, smuggled; /* guarded by lock */
	enum err_code refused;                                 /* guarded by lock */
	bool defer;                                            /* guarded by lock */
	struct serve_request *deferred[16];                    /* the loop's */
	size_t deferred_count;                                 /* the loop's */
};
static struct seen seen;

static void count(unsigned *counter)
{
	lock_take(&seen.lock);
	(*counter)++;
	lock_give(&seen.lock);
}

static enum serve_next on_head(void *ctx, struct serve_request *rq, struct serve_reply *reply)
{
	(void)ctx;
	(void)reply;
	count(&seen.heads);
	if (slice_starts(rq->path, SLICE_LIT("/smuggled")))
		count(&seen.smuggled);
	return SERVE_CONTINUE;
}

static void fill(struct serve_reply *reply)
{
	reply->status = 200;
	reply->content_type = "text/plain";
	reply->body = SLICE_LIT("fine\n");
}

static enum serve_next on_ready(void *ctx, struct serve_request *rq, struct serve_reply *reply)
{
	bool defer;

	(void)ctx;
	count(&seen.readies);
	lock_take(&seen.lock);
	defer = seen.defer;
	lock_give(&seen.lock);
	if (!defer || seen.deferred_count == ARRAY_LEN(seen.deferred)) {
		fill(reply);
		return SERVE_REPLY;
	}
	seen.deferred[seen.deferred_count++] = serve_request_ref(rq);
	return SERVE_DEFER;
}

static void on_refused(void *ctx, struct serve_request *rq, enum err_code code, unsigned status,
	struct serve_reply *reply)
{
	(void)ctx;
	(void)rq;
	(void)status;
	count(&seen.refusals);
	lock_take(&seen.lock);
	seen.refused = code;
	lock_give(&seen.lock);
	reply->content_type = "application/problem+json";
	reply->body = SLICE_LIT("{}");
}

static void on_finished(void *ctx, struct serve_request *rq, unsigned status)
{
	(void)ctx;
	(void)rq;
	(void)status;
	count(&seen.finished);
}

static void on_tick(void *ctx)
{
	struct serve_reply reply = { .status = 0 };

	(void)ctx;
	fill(&reply);
	while (seen.deferred_count > 0) {
		struct serve_request *rq = seen.deferred[--seen.deferred_count];

		serve_answer(seen.serve, rq, &reply);
		serve_request_unref(rq);
	}
}

static const struct serve_ops ops = {
	.head = on_head,
	.ready = on_ready,
	.refused = on_refused,
	.finished = on_finished,
	.tick = on_tick,
};

static int set_up(void **state)
{
	struct serve_opts opts = {
		.name = "guard",
		.listen = "127.0.0.1:0",
		.listen_fd = -1,
		.max_connections = 64,
		.max_header_bytes = HEAD_MAX,
		.max_body_bytes = BODY_MAX,
		.header_timeout_ms = 10000,
		.body_timeout_ms = 10000,
		.idle_timeout_ms = 10000,
		.ops = &ops,
		.clock = clock_system(),
	};
	struct err err = ERR_INIT;

	(void)state;
	lock_init(&seen.lock);
	return serve_open(&opts, &seen.serve, &err) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	serve_close(&seen.serve);
	lock_done(&seen.lock);
	return 0;
}

/* ---- the table ---------------------------------------------------------------------------------
 */

struct row {
	const char *name;
	const char *bytes;
	size_t len;
	unsigned status;
	bool closed;
	unsigned heads;     /* requests that reach the callbacks */
	enum err_code code; /* ERR_OK: the guard does not refuse (or the library does) */
};
#define BYTES(s) s, sizeof(s) - 1
#define H "Host: a\r\n"
#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
#define BAD ERR_BAD_REQUEST
#define BIG ERR_TOO_LARGE

/* clang-format off */
static const struct row rows[] = {
	/* what is fine */
	{ "GET", BYTES("GET / HTTP/1.1\r\n" H "\r\n"), 200, false, 1, ERR_OK },
	{ "GET with Content-Length: 0", BYTES("GET / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n"), 200, false, 1, ERR_OK },
	{ "POST", BYTES("POST /a HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello"), 200, false, 1, ERR_OK },
	{ "empty POST", BYTES("POST /a HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n"), 200, false, 1, ERR_OK },
	{ "DELETE without body", BYTES("DELETE /a HTTP/1.1\r\n" H "\r\n"), 200, false, 1, ERR_OK },
	{ "unknown method", BYTES("BREW /a HTTP/1.1\r\n" H "\r\n"), 200, false, 1, ERR_OK },
	{ "lower case method is another method", BYTES("get /a HTTP/1.1\r\n" H "\r\n"), 200, false, 1, ERR_OK },
	{ "leading empty line", BYTES("\r\nGET / HTTP/1.1\r\n" H "\r\n"), 200, false, 1, ERR_OK },
	{ "absolute target", BYTES("GET http://a/b?c HTTP/1.1\r\n" H "\r\n"), 200, false, 1, ERR_OK },
	{ "HTTP/1.0", BYTES("GET / HTTP/1.0\r\n\r\n"), 200, true, 1, ERR_OK },
	{ "HTTP/1.0 POST", BYTES("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab"), 200, true, 1, ERR_OK },
	{ "HTTP/1.0 kept", BYTES("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), 200, false, 1, ERR_OK },
	{ "asked to close", BYTES("GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n"), 200, true, 1, ERR_OK },
	{ "chunked", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), 200, true, 1, ERR_OK },
	{ "chunked, any case, extension, trailer", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: CHUNKED\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"), 200, true, 1, ERR_OK },
	{ "blanks around a value", BYTES("GET / HTTP/1.1\r\n" H "X-A: \t b \t \r\n\r\n"), 200, false, 1, ERR_OK },
	{ "empty value", BYTES("GET / HTTP/1.1\r\n" H "X-A:\r\nX-B: c\r\n\r\n"), 200, false, 1, ERR_OK },
	{ "bytes over 127 in a value", BYTES("GET / HTTP/1.1\r\n" H "X-A: \xc3\xa4\r\n\r\n"), 200, false, 1, ERR_OK },
	{ "two requests at once", BYTES("GET / HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H "\r\n"), 200, false, 2, ERR_OK },
	{ "OPTIONS *", BYTES("OPTIONS * HTTP/1.1\r\n" H "\r\n"), 200, false, 1, ERR_OK },

	/* two lengths */
	{ "both lengths", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: 41\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED), 400, true, 0, BAD },
	{ "both lengths, other order", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" SMUGGLED), 400, true, 0, BAD },
	{ "two Content-Length, different", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: 0\r\nContent-Length: 36\r\n\r\n" SMUGGLED), 400, true, 0, BAD },
	{ "two Content-Length, equal", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab" SMUGGLED), 400, true, 0, BAD },
	{ "two Transfer-Encoding", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, true, 0, BAD },
	{ "two Transfer-Encoding, the second unknown", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n" SMUGGLED), 400, true, 0, BAD },

	/* framing names with blanks */
	{ "blank before the colon of Content-Length", BYTES("POST / HTTP/1.1\r\n" H "Content-Length : 36\r\n\r\n" SMUGGLED), 400, true, 0, BAD },
	{ "tab before the colon of Transfer-Encoding", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding\t: chunked\r\n\r\n" SMUGGLED), 400, true, 0, BAD },
	{ "blank name beside a good length", BYTES("POST / HTTP/1.1\r\n" H "Content-Length : 36\r\nContent-Length: 0\r\n\r\n" SMUGGLED), 400, true, 0, BAD },
	{ "empty name", BYTES("GET / HTTP/1.1\r\n" H ": x\r\n\r\n"), 400, true, 0, BAD },
	{ "name with a slash", BYTES("GET / HTTP/1.1\r\n" H "X/Y: x\r\n\r\n"), 400, true, 0, BAD },
	{ "name with a byte over 127", BYTES("GET / HTTP/1.1\r\n" H "X\xff: x\r\n\r\n"), 400, true, 0, BAD },
	{ "line without colon", BYTES("GET / HTTP/1.1\r\n" H "nonsense\r\n\r\n"), 400, true, 0, ERR_OK },

	/* encodings */
	{ "gzip, chunked", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501, true, 0, BAD },
	{ "xchunked", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 501, true, 0, BAD },
	{ "identity", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n" SMUGGLED), 501, true, 0, BAD },
	{ "chunked with a blank behind", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n"), 400, true, 0, BAD },
	{ "chunked, chunked", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"), 501, true, 0, BAD },
	{ "empty Transfer-Encoding", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n" SMUGGLED), 501, true, 0, BAD },
	{ "quoted", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n" SMUGGLED), 501, true, 0, BAD },
	{ "vertical tab before chunked", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: \vchunked\r\n\r\n" SMUGGLED), 400, true, 0, BAD },
	{ "chunked on HTTP/1.0", BYTES("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, true, 0, BAD },

	/* numbers */
	{ "negative length", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n"), 400, true, 0, ERR_OK },
	{ "length with a plus", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\nhello"), 400, true, 0, ERR_OK },
	{ "hexadecimal length", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\nhello"), 400, true, 0, ERR_OK },
	{ "list of lengths", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\nhello"), 400, true, 0, ERR_OK },
	{ "empty length", BYTES("POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n" SMUGGLED), 400, true, 0, ERR_OK },
	{ "length over 64 bits", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551616\r\n\r\n"), 413, true, 0, ERR_OK },
	{ "length of 64 bits", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551615\r\n\r\n"), 413, true, 0, BIG },
	{ "length over the limit", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: 4097\r\n\r\n"), 413, true, 1, BIG },
	{ "chunk size that is no number", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n" SMUGGLED), 400, true, 1, ERR_OK },
	{ "empty chunk size", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n" SMUGGLED), 400, true, 1, ERR_OK },
	{ "chunk longer than said", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloworld\r\n0\r\n\r\n" SMUGGLED), 400, true, 1, ERR_OK },
	{ "chunk size over 64 bits", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n"), 413, true, 1, ERR_OK },

	/* hidden line ends */
	{ "bare line feed behind the request line", BYTES("GET / HTTP/1.1\n" H "\r\n"), 400, true, 0, BAD },
	{ "bare line feed behind a header", BYTES("GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n"), 400, true, 0, BAD },
	{ "bare line feed behind the last header", BYTES("GET / HTTP/1.1\r\nHost: a\n\r\n"), 400, true, 0, BAD },
	{ "bare line feed as the empty line", BYTES("GET / HTTP/1.1\r\n" H "\n"), 400, true, 0, BAD },
	{ "all line ends bare", BYTES("GET / HTTP/1.1\nHost: a\n\n"), 400, true, 0, BAD },
	{ "framing behind a bare line feed", BYTES("POST / HTTP/1.1\r\n" H "X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED), 400, true, 0, BAD },
	{ "bare carriage return in a value", BYTES("GET / HTTP/1.1\r\n" H "X-A: b\rc\r\n\r\n"), 400, true, 0, BAD },
	{ "bare carriage return, then framing", BYTES("POST / HTTP/1.1\r\n" H "X-A: b\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n"), 400, true, 0, BAD },
	{ "two carriage returns", BYTES("GET / HTTP/1.1\r\n" H "X-A: b\r\r\n\r\n"), 400, true, 0, BAD },
	{ "folded value", BYTES("GET / HTTP/1.1\r\n" H "X-A: b\r\n c\r\n\r\n"), 400, true, 0, BAD },
	{ "folded by a tab", BYTES("GET / HTTP/1.1\r\n" H "X-A: b\r\n\tc\r\nX-B: d\r\n\r\n"), 400, true, 0, BAD },
	{ "folded Transfer-Encoding", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" SMUGGLED), 400, true, 0, BAD },
	{ "blank line with a blank", BYTES("GET / HTTP/1.1\r\n" H " \r\n\r\n"), 400, true, 0, BAD },
	{ "first header folded", BYTES("GET / HTTP/1.1\r\n X-A: b\r\n" H "\r\n"), 400, true, 0, BAD },

	/* control bytes */
	{ "NUL in a value", BYTES("GET / HTTP/1.1\r\n" H "X-A: b\0c\r\n\r\n"), 400, true, 0, BAD },
	{ "NUL behind the last value", BYTES("GET / HTTP/1.1\r\n" H "X-A: b\0\r\n\r\n"), 400, true, 0, BAD },
	{ "NUL behind a length", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: 0\0 36\r\n\r\n" SMUGGLED), 400, true, 0, BAD },
	{ "NUL in a name", BYTES("GET / HTTP/1.1\r\n" H "X\0A: b\r\n\r\n"), 400, true, 0, ERR_OK },
	{ "NUL as a line", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\0X: y\r\n\r\n" SMUGGLED), 400, true, 0, BAD },
	{ "NUL in the target", BYTES("GET /a\0b HTTP/1.1\r\n" H "\r\n"), 400, true, 0, BAD },
	{ "NUL in the method", BYTES("GE\0T / HTTP/1.1\r\n" H "\r\n"), 400, true, 0, BAD },
	{ "%00 in the target", BYTES("GET /a%00b HTTP/1.1\r\n" H "\r\n"), 400, true, 0, BAD },
	{ "%00 in the query", BYTES("GET /a?b=%00 HTTP/1.1\r\n" H "\r\n"), 400, true, 0, BAD },
	{ "escape byte in a value", BYTES("GET / HTTP/1.1\r\n" H "X-A: \x1b[0m\r\n\r\n"), 400, true, 0, BAD },
	{ "delete byte in a value", BYTES("GET / HTTP/1.1\r\n" H "X-A: \x7f\r\n\r\n"), 400, true, 0, BAD },
	{ "byte over 127 in the target", BYTES("GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n"), 400, true, 0, BAD },
	{ "tab in the target", BYTES("GET /a\tb HTTP/1.1\r\n" H "\r\n"), 400, true, 0, BAD },

	/* the request line */
	{ "no Host", BYTES("GET / HTTP/1.1\r\n\r\n"), 400, true, 0, BAD },
	{ "two Host", BYTES("GET / HTTP/1.1\r\n" H "Host: b\r\n\r\n"), 400, true, 0, BAD },
	{ "two Host on HTTP/1.0", BYTES("GET / HTTP/1.0\r\n" H H "\r\n"), 400, true, 0, BAD },
	{ "method that is no token", BYTES("G(T / HTTP/1.1\r\n" H "\r\n"), 400, true, 0, BAD },
	{ "blank in the target", BYTES("GET /a b HTTP/1.1\r\n" H "\r\n"), 400, true, 0, BAD },
	{ "two blanks behind the method", BYTES("GET  / HTTP/1.1\r\n" H "\r\n"), 400, true, 0, BAD },
	{ "two blanks before the version", BYTES("GET /  HTTP/1.1\r\n" H "\r\n"), 400, true, 0, BAD },
	{ "blank behind the version", BYTES("GET / HTTP/1.1 \r\n" H "\r\n"), 400, true, 0, ERR_OK },
	{ "HTTP/1.2", BYTES("GET / HTTP/1.2\r\n" H "\r\n"), 505, true, 0, BAD },
	{ "HTTP/2.0", BYTES("GET / HTTP/2.0\r\n" H "\r\n"), 505, true, 0, ERR_OK },
	{ "HTTP/0.9 by number", BYTES("GET / HTTP/0.9\r\n" H "\r\n"), 505, true, 0, ERR_OK },
	{ "lower case version", BYTES("GET / http/1.1\r\n" H "\r\n"), 400, true, 0, ERR_OK },
	{ "no version", BYTES("GET /\r\n\r\n"), 400, true, 0, ERR_OK },
	{ "no target", BYTES("GET\r\n\r\n"), 400, true, 0, ERR_OK },
	{ "HTTP/2 preface", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505, true, 0, ERR_OK },
	{ "TLS", BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n"), 400, true, 0, ERR_OK },
	{ "words", BYTES("hello\r\n"), 400, true, 0, ERR_OK },
	{ "target without slash", BYTES("GET a HTTP/1.1\r\n" H "\r\n"), 400, true, 0, BAD },
	{ "CONNECT", BYTES("CONNECT a:443 HTTP/1.1\r\n" H "\r\n"), 400, true, 0, BAD },
	{ "absolute target without host", BYTES("GET http:///b HTTP/1.1\r\n" H "\r\n"), 400, true, 0, BAD },

	/* bodies where none or another is expected */
	{ "GET with a body", BYTES("GET / HTTP/1.1\r\n" H "Content-Length: 36\r\n\r\n" SMUGGLED), 400, true, 0, BAD },
	{ "GET chunked", BYTES("GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, true, 0, BAD },
	{ "POST without length", BYTES("POST / HTTP/1.1\r\n" H "\r\n" SMUGGLED), 411, true, 0, BAD },
	{ "Expect something", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nExpect: 200-ok\r\n\r\nhello"), 417, true, 0, BAD },
	{ "Expect twice", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\nhello"), 417, true, 0, BAD },

	/* what the guard cannot see leads nowhere: two lengths after all, or the connection ends */
	{ "a length behind NUL and line feed", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: 0\r\nX: a\0\nContent-Length: 36\r\n\r\n" SMUGGLED), 400, true, 0, BAD },
	{ "an encoding behind NUL and line feed", BYTES("POST / HTTP/1.1\r\n" H "Content-Length: 36\r\nX: a\0\nTransfer-Encoding: chunked\r\n\r\n" SMUGGLED), 400, true, 0, BAD },
	{ "a length where none was", BYTES("DELETE / HTTP/1.1\r\n" H "X: a\0\nContent-Length: 4\r\n\r\nabcd" SMUGGLED), 200, true, 1, ERR_OK },
	{ "a body on another method", BYTES("PUT / HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nabcd" SMUGGLED), 200, true, 1, ERR_OK },

	/* chunk line ends that only some readers take: the connection ends behind the first answer */
	{ "bare line feed behind a chunk size", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n" SMUGGLED), 200, true, 1, ERR_OK },
	{ "bare line feed in an extension", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n" SMUGGLED), 200, true, 1, ERR_OK },
	{ "bare line feed behind the last chunk", BYTES("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\n\n" SMUGGLED), 200, true, 1, ERR_OK },
};
/* clang-format on */

static void reset(bool defer)
{
	lock_take(&seen.lock);
	seen.heads = seen.readies = seen.refusals = seen.finished = seen.smuggled = 0;
	seen.refused = ERR_OK;
	seen.defer = defer;
	lock_give(&seen.lock);
}

/* A connection that is kept takes another request. */
static bool takes_another(int fd)
{
	struct raw_answer answer;

	return raw_send_str(fd, "GET /alive HTTP/1.1\r\nHost: a\r\n\r\n") &&
	       raw_read(fd, &answer) && answer.status == 200;
}

static void check_row(const struct row *row, size_t piece)
{
	int fd = raw_connect(serve_address(seen.serve));
	struct raw_answer answer;
	unsigned answers = row->heads > 1 ? row->heads : 1;

	for (size_t at = 0; at < row->len; at += piece)
		(void)raw_send(fd, row->bytes + at, piece < row->len - at ? piece : row->len - at);
	for (unsigned i = 0; i < answers; i++) {
		(void)raw_read(fd, &answer);
		if (answer.status != row->status)
			print_error(
				"%s: status %u, not %u\n", row->name, answer.status, row->status);
		assert_int_equal(answer.status, row->status);
	}
	if (row->closed && !raw_read_end(fd, 5000))
		fail_msg("%s: still open", row->name);
	if (!row->closed && !takes_another(fd))
		fail_msg("%s: not kept open", row->name);
	(void)close(fd);
}

static void check_counts(const struct row *row)
{
	unsigned wanted = row->heads + (row->closed ? 0 : 1);

	lock_take(&seen.lock);
	if (seen.heads != wanted || seen.smuggled != 0 || seen.refused != row->code)
		fail_msg("%s: %u requests, %u smuggled, code %s", row->name, seen.heads,
			seen.smuggled, err_name(seen.refused));
	lock_give(&seen.lock);
}

static void refuses_every_form(bool defer, size_t piece)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		reset(defer);
		check_row(&rows[i], piece);
		check_counts(&rows[i]);
	}
}

static void refuses_every_form_at_once(void **state)
{
	(void)state;
	refuses_every_form(false, 65536);
}

static void refuses_every_form_in_small_pieces(void **state)
{
	(void)state;
	refuses_every_form(false, 3);
}

static void refuses_every_form_with_deferred_answers(void **state)
{
	(void)state;
	refuses_every_form(true, 65536);
}

/* ---- limits: at, and one past ------------------------------------------------------------------
 */

static unsigned status_of(const char *bytes, size_t len)
{
	int fd = raw_connect(serve_address(seen.serve));
	struct raw_answer answer;

	(void)raw_send(fd, bytes, len);
	(void)raw_read(fd, &answer);
	(void)close(fd);
	return answer.status;
}

/* A head of exactly this many bytes. */
static unsigned status_of_head(size_t size)
{
	static const char front[] = "GET / HTTP/1.1\r\nHost: a\r\nX-Long: ";
	static char bytes[2 * HEAD_MAX];
	const size_t front_len = sizeof(front) - 1;

	assert_true(size <= sizeof(bytes));
	memcpy(bytes, front, front_len);
	memset(bytes + front_len, 'x', size - front_len - 4);
	memcpy(bytes + size - 4, "\r\n\r\n", 4);
	return status_of(bytes, size);
}

static unsigned status_of_target(size_t size)
{
	static char bytes[16384];
	int len = snprintf(
		bytes, sizeof(bytes), "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n", (int)size - 1, 0);

	return status_of(bytes, (size_t)len);
}

static unsigned status_of_headers(unsigned many)
{
	static char bytes[16384];
	int len = snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\nHost: a\r\n");

	for (unsigned i = 1; i < many; i++)
		len += snprintf(bytes + len, sizeof(bytes) - (size_t)len, "X-%u: y\r\n", i);
	len += snprintf(bytes + len, sizeof(bytes) - (size_t)len, "\r\n");
	return status_of(bytes, (size_t)len);
}

static unsigned status_of_body(size_t size, bool chunked)
{
	static char bytes[4 * BODY_MAX];
	int len = snprintf(bytes, sizeof(bytes), "POST / HTTP/1.1\r\nHost: a\r\n");

	if (chunked)
		len += snprintf(
			bytes + len, 100, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", size);
	else
		len += snprintf(bytes + len, 100, "Content-Length: %zu\r\n\r\n", size);
	memset(bytes + len, 'b', size);
	len += (int)size;
	if (chunked)
		len += snprintf(bytes + len, 100, "\r\n0\r\n\r\n");
	return status_of(bytes, (size_t)len);
}

static void holds_every_limit_at_and_one_past(void **state)
{
	(void)state;
	reset(false);
	assert_int_equal(status_of_head(HEAD_MAX), 200);
	assert_int_equal(status_of_head(HEAD_MAX + 1), 431);
	assert_int_equal(status_of_head(2 * HEAD_MAX), 431);
	assert_int_equal(status_of_target(SERVE_URI_MAX), 200);
	assert_int_equal(status_of_target(SERVE_URI_MAX + 1), 414);
	assert_int_equal(status_of_target(8000), 414);
	assert_int_equal(status_of_headers(SERVE_HEADERS_MAX), 200);
	assert_int_equal(status_of_headers(SERVE_HEADERS_MAX + 1), 431);
	assert_int_equal(status_of_headers(600), 431);
	assert_int_equal(status_of_body(BODY_MAX, false), 200);
	assert_int_equal(status_of_body(BODY_MAX + 1, false), 413);
	assert_int_equal(status_of_body(BODY_MAX, true), 200);
	assert_int_equal(status_of_body(BODY_MAX + 1, true), 413);
	assert_int_equal(status_of_body(3 * BODY_MAX, true), 413);
}

/* 1,000 parameters fit into a target that is not too long. */
static void takes_many_parameters(void **state)
{
	static char bytes[4096];
	size_t len = 0;

	(void)state;
	reset(false);
	len += (size_t)snprintf(bytes, sizeof(bytes), "GET /?");
	for (unsigned i = 0; i < 1000; i++)
		len += (size_t)snprintf(bytes + len, sizeof(bytes) - len, "a&");
	len += (size_t)snprintf(bytes + len, sizeof(bytes) - len, " HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(status_of(bytes, len), 200);
}

/* The library makes a record of each, and answers by itself when they are too many. */
static void survives_many_cookies(void **state)
{
	static char bytes[HEAD_MAX];
	size_t len =
		(size_t)snprintf(bytes, sizeof(bytes), "GET / HTTP/1.1\r\nHost: a\r\nCookie: ");

	(void)state;
	reset(false);
	while (len < sizeof(bytes) - 16)
		len += (size_t)snprintf(bytes + len, sizeof(bytes) - len, "a=b;");
	len += (size_t)snprintf(bytes + len, sizeof(bytes) - len, "\r\n\r\n");
	assert_int_equal(status_of(bytes, len), 431);
	assert_int_equal(status_of_target(100), 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_every_form_at_once),
		cmocka_unit_test(refuses_every_form_in_small_pieces),
		cmocka_unit_test(refuses_every_form_with_deferred_answers),
		cmocka_unit_test(holds_every_limit_at_and_one_past),
		cmocka_unit_test(takes_many_parameters),
		cmocka_unit_test(survives_many_cookies),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
