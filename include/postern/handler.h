/* handler.h - what an event is handed to: none, http, exec, topic; and the breaker and retry budget
 * before.
 *
 * handler_start() returns at once; the result comes back through done() on a thread of the handler.
 * The caller keeps order per key and bounds concurrency.
 *
 * Owns:    a call belongs to the caller, who keeps it and what it points to until done(). A handler
 *          borrows its route (and with it the config) until handler_close().
 * Threads: handler_start() on the owner thread; done() on a thread of the handler, never within
 *          handler_start() (but see handler_is_none() and handler_yields()): hand over and return.
 * Errors:  of the handler itself are results, not errors; ERR_FULL, ERR_NOMEM and ERR_STOPPED from
 *          handler_start(); ERR_CONFIG from handler_open(), with each problem in the report. */
#pragma once

#include "postern/config.h"
#include "postern/event.h"
#include "postern/fetch.h"

struct handler;
enum handler_verdict { HANDLER_DONE, HANDLER_RETRY, HANDLER_NEVER, HANDLER_CANCELLED };

struct handler_call {
	/* in */
	const struct event *event;
	struct slice headers, body; /* the record's */
	unsigned attempt;           /* from 1 */
	struct slice route;
	void (*done)(struct handler_call *call);
	void *owner;
	/* out */
	enum handler_verdict verdict;
	/* ERR_OK; ERR_HANDLER_REFUSED, _FAILED, _TIMEOUT, _UNREACHABLE; cancelled: ERR_STOPPED */
	enum err_code code;
	unsigned status;        /* http status or exit status */
	int64_t retry_after_ms; /* -1: none; at most an hour */
	int64_t took_ms;
	struct slice topic;       /* where the event is to be published; empty: nowhere */
	char error[ERR_TEXT_MAX]; /* for people; never output of the handler that may hold a body */
	void *priv;               /* the handler's */
};
/* fetch and exec hosts are shared by all handlers of a worker. */
struct exec_host;
struct handler_opts {
	const struct route_config *route;
	struct fetch *fetch;          /* needed by http */
	struct exec_host *exec;       /* needed by exec */
	struct config_report *report; /* key file problems; may be NULL */
};
MUST_CHECK enum err_code handler_open(
	const struct handler_opts *opts, struct handler **out, struct err *err);
/* What of a route's handler can be judged before it runs: its URL, its key. ERR_CONFIG, with the
 * problem in the report. */
MUST_CHECK enum err_code handler_check(
	const struct route_config *route, struct config_report *report, struct err *err);
MUST_CHECK enum err_code handler_start(
	struct handler *handler, struct handler_call *call, struct err *err);
/* Every call must have come back. */
void handler_close(struct handler **handler);
/* Done at once: no call is needed, and one that is made comes back within handler_start(). */
bool handler_is_none(const struct handler *handler);
/* Calls nobody: a call comes back within handler_start(), done, with a topic that the caller
 * publishes the event to once the outcome is committed. */
bool handler_yields(const struct handler *handler);
#define HANDLER_RETRY_AFTER_MAX_MS INT64_C(3600000)

/* Starts children, kills whole process groups at their timeout, and sees to it that no child
 * outlives this process, also when it is killed. A second process, the keeper, is forked with the
 * first exec handler (open it early: the keeper has a copy of this process's memory); it is the
 * parent of every child and adopts their orphans.
 *
 * What is promised: a child runs in a process group of its own; when the child has ended, or at its
 * timeout, whatever is left of that group gets SIGKILL before the result is reported. When this
 * process ends, however it ends, the keeper kills every group and every orphan, also one that left
 * its group by setsid(). A process that left the group is not killed before that. Killed together
 * with this process, the keeper can do nothing any more: then only the children themselves die (by
 * their parent-death signal). A keeper that is killed alone is replaced; its calls are retried. */
#define EXEC_CHILDREN_MAX 1024 /* at once; more is ERR_FULL */
MUST_CHECK enum err_code exec_host_open(struct exec_host **out, struct err *err);
/* Children still running are killed; their calls end as HANDLER_CANCELLED. */
void exec_host_close(struct exec_host **host);

/* Circuit breaker and retry budget of one destination. Pure: time is passed in.
 *
 *     closed --(failures)--> open --(time over)--> half-open --(a probe succeeds)--> closed
 *                             ^                        |
 *                             +--(a probe fails: twice as long)
 *
 * The open time doubles up to BREAKER_OPEN_CAP_MS, with up to a fifth more at random; it starts
 * over after a whole window in which the breaker stayed closed. Retries are paid from a budget:
 * each first attempt adds RETRY_BUDGET_RATIO, each second RETRY_BUDGET_PER_S, so that a few always
 * get through. */
enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };
const char *breaker_state_name(enum breaker_state state);
struct breaker {
	/* settings */
	int64_t failures, window_ms, open_ms, open_cap_ms;
	double ratio;
	/* state */
	enum breaker_state state;
	int64_t window_start_ms, until_ms, open_now_ms;
	uint32_t calls, failed, in_a_row, probes;
	double budget; /* retries that may be made now */
	int64_t budget_ms;
};
#define BREAKER_MIN_CALLS 20
#define BREAKER_OPEN_CAP_MS 600000
#define BREAKER_PROBES 3
#define RETRY_BUDGET_RATIO 0.2
#define RETRY_BUDGET_PER_S 5.0
#define RETRY_BUDGET_MAX 100.0
void breaker_init(struct breaker *b, const struct route_config *route, int64_t now_ms);
#define BREAKER_PROBE_WAIT_MS 200 /* how long to wait while enough probes are under way */
/* May a call start now? If not, *out_wait_ms says how long to wait (it is 0 when the call may
 * start). */
bool breaker_admit(struct breaker *b, bool is_retry, int64_t now_ms, int64_t *out_wait_ms);
/* Of a call that was admitted. ok: the destination works, whatever it said of the event (a refusal
 * too); jitter in [0,1). */
void breaker_result(struct breaker *b, bool ok, int64_t now_ms, double jitter);
/* A started call that never reported (cancelled): gives its probe back. */
void breaker_forget(struct breaker *b);
