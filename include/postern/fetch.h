/* fetch.h - one asynchronous HTTP client for whoever calls out.
 *
 * One thread drives one libcurl multi handle; connections are kept and used again. Calls are
 * POST or GET over HTTP/1.1. Redirects are never followed, only http and https are spoken, proxies
 * of the environment are ignored. The answer's body is kept up to a limit, the rest read and thrown
 * away, and what goes beyond FETCH_DISCARD_MAX is cut off by closing the connection (its status
 * still counts). An answer that is not complete at the timeout, or that breaks off, is no answer:
 * its status is not reported.
 *
 * Owns:    a call is the caller's until fetch_start() takes it; it comes back in done().
 * Threads: fetch_start() from any; done() runs on the client's thread: hand over and return.
 *          fetch_close() when nobody calls fetch_start() any more.
 * Errors:  ERR_FULL (too many calls under way), ERR_STOPPED, ERR_SYNTAX (a header with a control
 *          character), ERR_NOMEM. */
#pragma once

#include "postern/buf.h"

#define FETCH_HEADERS_MAX 64
/* Of an answer's body, beyond max_answer_bytes; and all its header lines (more: ERR_UNREACHABLE).
 */
#define FETCH_DISCARD_MAX KIB(256)
#define FETCH_ANSWER_HEADERS_MAX KIB(64)

struct fetch;
struct fetch_call {
	/* in; borrowed until done() */
	const char *url;
	bool get; /* GET without a body; otherwise POST */
	struct slice body;
	/* Roots in PEM that an https server may lead up to, beside the system's; empty: none. */
	struct slice ca_pem;
	bool public_only; /* addresses of private networks and of this machine are not called */
	const struct header *headers; /* content-type too: none is added */
	size_t header_count;
	int64_t timeout_ms; /* of the whole call, name lookup included */
	size_t max_answer_bytes;
	void (*done)(struct fetch_call *call);
	void *owner;
	/* out, valid in done() and after */
	unsigned status; /* 0: no answer */
	/* ERR_OK: there is a status; ERR_TIMEOUT; ERR_UNREACHABLE; ERR_STOPPED */
	enum err_code code;
	/* -1: no such header. Seconds or an HTTP date, read against the wall clock */
	int64_t retry_after_ms;
	struct buf answer; /* the caller's, zeroed before the first call: done with buf_done() */
	char error[ERR_TEXT_MAX]; /* for people; names a host at most, never the URL */
	struct fetch_call *next;  /* the client's while it has the call */
};
MUST_CHECK enum err_code fetch_open(size_t max_calls, struct fetch **out, struct err *err);
MUST_CHECK enum err_code fetch_start(struct fetch *fetch, struct fetch_call *call, struct err *err);
/* Calls still under way end with ERR_STOPPED, then the thread is joined. */
void fetch_close(struct fetch **fetch);
/* Is this a whole http or https URL with a host? ERR_SYNTAX; the text does not repeat the URL. */
MUST_CHECK enum err_code fetch_check_url(const char *url, struct err *err);
const char *fetch_version(void);
