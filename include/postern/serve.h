/* serve.h - an HTTP/1.1 server in one event loop of ours, with answers that may come later.
 *
 * Wraps libmicrohttpd polled from outside (never its internal epoll thread). The guard refuses
 * everything that is not one well-formed request with one reading before a callback sees it.
 * Connections have total deadlines for header and body. A request whose answer is deferred waits
 * without a thread; serve_wake() makes the loop call tick(), which answers in batches.
 *
 * Owns:    a request is counted: the connection holds one reference, serve_request_ref() adds
 *          others. Body and head stay until the last reference goes, also when the client is gone.
 *
 * Threads: callbacks run on the loop's thread (one per server); serve_answer() only there;
 *          serve_request_ref() and serve_request_unref() and the rest on any thread.
 *
 * Errors:  ERR_IO (bind, listen), ERR_USAGE (an address that is none), ERR_NOMEM.
 *
 * Units:   milliseconds, bytes. */
#pragma once

#include "postern/buf.h"
#include "postern/clock.h"

struct serve;

#define SERVE_HEADERS_MAX 64
#define SERVE_URI_MAX 2048
#define SERVE_REPLY_HEADERS 6
#define SERVE_PEER_SANS_MAX 64
/* Of an answer: enough to show a record with the largest body that a config allows, as JSON. */
#define SERVE_BODY_MAX MIB(160)
#define SERVE_LENGTH_UNKNOWN ((uint64_t)-1) /* a chunked body */

struct serve_request {
	struct slice method, path, query; /* query without '?'; has_query tells "?" from nothing */
	bool has_query;
	const struct header *headers; /* in order, as received */
	size_t header_count;
	uint64_t content_length; /* declared; 0: no body; SERVE_LENGTH_UNKNOWN: chunked */
	size_t max_body;         /* head() may lower it; a longer body is refused: 413 */
	struct slice body;       /* whole in ready(); empty in head() */
	char client[64];         /* address without port */
	int64_t start_mono_ns;   /* the request line was read */
	char request_id[65];     /* taken from X-Request-Id when fit, otherwise made */
	void *user;              /* the callbacks' */
	/* subjectAltNames of the client's certificate, when it is one for clients that leads up to
	 * tls_client_ca and holds at this moment: DNS names, addresses, URIs, as text. */
	const struct slice *peer_sans;
	size_t peer_san_count; /* at most SERVE_PEER_SANS_MAX: what is behind them is not looked at
				*/
};
/* The n-th (from 0) header of this name, any case. False when there is none. */
bool serve_header(const struct serve_request *rq, const char *name, size_t n, struct slice *out);

/* X-Request-Id and X-Content-Type-Options: nosniff are added to every answer. */
struct serve_reply {
	unsigned status;
	const char *content_type;                   /* static; NULL: no body */
	struct slice body;                          /* copied */
	struct header headers[SERVE_REPLY_HEADERS]; /* names static; values copied */
	size_t header_count;
	bool close;
};

enum serve_next {
	SERVE_CONTINUE, /* head(): read the body, then ready() */
	SERVE_REPLY,    /* *reply is filled in; it is copied before anything else happens */
	SERVE_DEFER     /* ready(): serve_answer() will come */
};

struct serve_ops {
	/* The head is whole and sane; the body was not read. After a reply from here a body of at
	 * most max_body bytes is read and thrown away, so that the sender sees the answer and may
	 * keep the connection; otherwise the connection is closed. Not called for what the guard
	 * refused. */
	enum serve_next (*head)(void *ctx, struct serve_request *rq, struct serve_reply *reply);
	enum serve_next (*ready)(void *ctx, struct serve_request *rq, struct serve_reply *reply);
	/* The guard or a limit refuses (code BAD_REQUEST, TOO_LARGE, ...): fill in the body of the
	 * answer, and headers. The status and the closing are the server's. Before head() (then
	 * there are no headers in rq) or after it. */
	void (*refused)(void *ctx, struct serve_request *rq, enum err_code code, unsigned status,
		struct serve_reply *reply);
	/* The answer was handed to the socket, or the client is gone (status 0). Once for each
	 * request that head() or refused() saw. May be NULL. */
	void (*finished)(void *ctx, struct serve_request *rq, unsigned status);
	/* After serve_wake() and at least every SERVE_TICK_MS. May be NULL. */
	void (*tick)(void *ctx);
	/* What was ready has been read; several times a turn of the loop. May be NULL. */
	void (*turn)(void *ctx);
};
#define SERVE_TICK_MS 20

struct serve_opts {
	const char *name;   /* thread name and logs */
	const char *listen; /* "127.0.0.1:8080", "[::1]:8080"; port 0 picks one */
	int listen_fd;      /* an open listening socket instead, or -1; stays the caller's */
	/* In PEM, the certificate first, then what leads up to a root: TLS 1.2 and later. cert
	 * empty: plain HTTP. Not kept. */
	struct slice tls_cert, tls_key;
	/* Roots in PEM: clients are asked for a certificate, and served without one too. */
	struct slice tls_client_ca;
	size_t max_connections, max_header_bytes, max_body_bytes;
	int64_t header_timeout_ms, body_timeout_ms, idle_timeout_ms;
	/* A deferred request that is not answered: 503 OUTCOME_UNKNOWN by refused(). 0: none. */
	int64_t answer_timeout_ms;
	const struct serve_ops *ops;
	void *ctx;
	const struct clock *clock;
};

/* Binds, and starts the loop's thread; *out is set before the first callback runs. The soft limit
 * of open files is raised to what max_connections needs, as far as the hard limit allows. */
MUST_CHECK enum err_code serve_open(
	const struct serve_opts *opts, struct serve **out, struct err *err);
/* The bound address, "127.0.0.1:43211". */
const char *serve_address(const struct serve *serve);
/* The listening socket, for another server that accepts from it too; it stays this one's. */
int serve_listen_fd(const struct serve *serve);
/* Limits that a reload may change: they hold for requests that start later. */
void serve_set_limits(struct serve *serve, size_t max_body_bytes, int64_t header_timeout_ms,
	int64_t body_timeout_ms, int64_t idle_timeout_ms);
/* Another certificate for the connections that come from now on, of a server that was opened with
 * one. ERR_SYNTAX: nothing changes. */
MUST_CHECK enum err_code serve_set_tls(
	struct serve *serve, struct slice cert, struct slice key, struct err *err);
/* Is this what tls_cert and tls_key, what tls_client_ca may be? ERR_SYNTAX when not. */
MUST_CHECK enum err_code serve_check_tls(struct slice cert, struct slice key, struct err *err);
MUST_CHECK enum err_code serve_check_client_ca(struct slice roots, struct err *err);
/* Answer a deferred request; in tick() or turn(). Safe when the client has gone, or when the answer
 * timeout was faster: then nothing happens. */
void serve_answer(struct serve *serve, struct serve_request *rq, const struct serve_reply *reply);
void serve_wake(struct serve *serve);
struct serve_request *serve_request_ref(struct serve_request *rq);
void serve_request_unref(struct serve_request *rq);
/* Monotonic time of the loop's last turn, for a watchdog. */
int64_t serve_last_turn_ms(const struct serve *serve);
size_t serve_connections(const struct serve *serve);
/* Stop accepting; idle connections are closed, requests in work go on; answers carry
 * Connection: close. Returns at once. */
void serve_quiesce(struct serve *serve);
/* Requests whose answer was not handed to the socket yet. */
size_t serve_in_flight(const struct serve *serve);
/* After serve_quiesce(): wait until every connection has had its answer and is closed, or until
 * deadline_ms (monotonic). True when none is left. */
bool serve_drain(struct serve *serve, int64_t deadline_ms);
/* Ends the loop, joins, then clears the pointer. What is still deferred is given up: finished()
 * with status 0. No other thread may be in serve_wake() any more. */
void serve_close(struct serve **serve);
const char *serve_version(void);
