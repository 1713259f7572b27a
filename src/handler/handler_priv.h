/* handler_priv.h - the backend table of handlers, what they share, and the exec host's inner side.
 */
#pragma once

#include "postern/crypto.h"
#include "postern/handler.h"

#include <sys/types.h>

struct handler_ops {
	const char *name;
	enum err_code (*open)(
		const struct handler_opts *opts, struct handler **out, struct err *err);
	enum err_code (*start)(struct handler *handler, struct handler_call *call, struct err *err);
	void (*close)(struct handler *handler); /* frees it */
};
struct handler {
	const struct handler_ops *ops;
};
extern const struct handler_ops handler_none, handler_http, handler_exec, handler_topic;

/* Every out member as if nothing had been heard yet. */
void handler_begin(struct handler_call *call);

/* tenant/source/event_id, each part percent-encoded. At most HANDLER_KEY_MAX bytes. */
#define HANDLER_KEY_MAX (3 * 3 * EVENT_ID_MAX + 2)
MUST_CHECK enum err_code handler_idempotency_key(
	const struct event *event, struct buf *out, struct err *err);

/* The key of Standard Webhooks signatures from its file or environment variable: base64, with or
 * without "whsec_" in front. *out NULL where the route has none. Problems go to the report too. */
MUST_CHECK enum err_code handler_sign_key(const struct key_ref *ref, struct config_report *report,
	struct crypto_mac **out, struct err *err);

/* Can events be posted there? *out is the key that signs them, or NULL. */
MUST_CHECK enum err_code handler_http_check(const struct route_config *route,
	struct config_report *report, struct crypto_mac **out, struct err *err);

/* ---- exec: one run of a child -------------------------------------------------------------------
 */

/* The message that starts a child: struct exec_message, then argc + envc texts, each ended by NUL.
 */
#define EXEC_START_MAX KIB(128)
#define EXEC_TEXTS_MAX 4096 /* in argv, or in the environment */
enum exec_kind {
	EXEC_START = 1, /* host to keeper, with stdin and output descriptors */
	EXEC_KILL,      /* host to keeper: the group */
	EXEC_STARTED,   /* keeper to host: value is the pid */
	EXEC_ENDED,     /* keeper to host: value is the wait status; the group is gone */
	EXEC_FAILED,    /* keeper to host: value is an errno; there is no child */
};
struct exec_message {
	uint32_t kind, id;
	int32_t value;
	uint32_t argc, envc;
};

enum exec_end { EXEC_END_STATUS, EXEC_END_TIMEOUT, EXEC_END_CANCELLED, EXEC_END_ERROR };
struct exec_run {
	/* in */
	struct buf start; /* the start message; its id is the host's */
	struct slice body;
	int64_t timeout_ms;
	uint64_t output_max;
	bool stillborn; /* start nothing, come back at once */
	void (*done)(struct exec_run *run);
	/* out */
	enum exec_end end;
	int value;             /* wait status, or errno */
	uint64_t output_bytes; /* at least; all of it was thrown away */
	/* the host's */
	struct exec_run *next;
	bool killed;         /* its time was over */
	pid_t pid;           /* 0: not known yet */
	int output;          /* our end of the pipe, or -1 */
	int64_t deadline_ms; /* monotonic */
};
/* There will be runs: have a keeper from now on. Without an exec route there is no second process.
 */
void exec_host_prepare(struct exec_host *host);
/* ERR_FULL, ERR_STOPPED. done() is called on the host's thread. */
MUST_CHECK enum err_code exec_host_run(
	struct exec_host *host, struct exec_run *run, struct err *err);

/* Forks the keeper; *out_fd is our end of the socket pair to it. */
MUST_CHECK enum err_code exec_keeper_fork(int *out_fd, pid_t *out_pid, struct err *err);
