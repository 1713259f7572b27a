/* err.h - what can go wrong, and what to do about it.
 *
 * One table (src/base/err.c) says for each code: its name in logs, answers, metrics and the ledger,
 * the HTTP status, whether another try can help, the exit status of a command, and a sentence for
 * people. HTTP statuses and retry choices come from that table and from nowhere else.
 *
 * Owns:    nothing; struct err lives on the caller's stack.
 * Threads: everything here is safe from any thread. */
#pragma once

#include "postern/defs.h"

/* The numbers are written to the ledger and to the journal: append only, never renumber. */
enum err_code {
	ERR_OK = 0, /* on an accepted request: ACCEPTED */

	/* refusals of a request (contract section 3) */
	ERR_MALFORMED_BODY = 1,
	ERR_MISSING_EVENT_ID = 2,
	ERR_MISSING_SIGNATURE = 3,
	ERR_BAD_SIGNATURE = 4,
	ERR_KEY_NOT_FOUND = 5,
	ERR_BAD_TIMESTAMP = 6,
	ERR_EXPIRED = 7,
	ERR_CLOCK_SKEW = 8,
	ERR_TOO_LARGE = 9,
	ERR_UNKNOWN_SOURCE = 10,
	ERR_METHOD_NOT_ALLOWED = 11,
	ERR_RATE_LIMITED = 12,
	ERR_UNAVAILABLE = 13,
	ERR_OUTCOME_UNKNOWN = 14,
	ERR_BAD_REQUEST = 15,

	/* what the worker says of an event (contract section 5) */
	ERR_REPLAY_DETECTED = 16,
	ERR_ID_REUSED = 17,
	ERR_STALE_VERSION = 18,
	ERR_VERSION_GAP = 19,
	ERR_VERSION_TYPE = 20,
	ERR_HANDLER_REFUSED = 21, /* a failure that will not pass: 3xx, other 4xx, exit 65 */
	ERR_HANDLER_FAILED = 22,  /* a failure that may pass: 5xx, exit status */
	ERR_HANDLER_TIMEOUT = 23,
	ERR_HANDLER_UNREACHABLE = 24, /* connect, DNS, reset */
	ERR_ATTEMPTS_EXHAUSTED = 25,
	ERR_AGE_EXHAUSTED = 26,
	ERR_CRASH_LOOP = 27,
	ERR_BREAKER_OPEN = 28,
	ERR_UNREADABLE_RECORD = 29, /* a record whose headers do not decode */

	/* inside the program */
	ERR_USAGE = 40,
	ERR_CONFIG = 41,
	ERR_SYNTAX = 42, /* bytes from outside that do not parse */
	ERR_LIMIT = 43,  /* a named limit of ours was passed */
	ERR_NOMEM = 44,
	ERR_IO = 45,
	ERR_FULL = 46,    /* disk, map, queue or ledger has no room now; retry later */
	ERR_CORRUPT = 47, /* what is stored cannot be believed: stop */
	ERR_NOT_FOUND = 48,
	ERR_LOCKED = 49, /* another process holds it; the text names its pid */
	ERR_UNREACHABLE = 50,
	ERR_TIMEOUT = 51,
	ERR_STOPPED = 52, /* shutting down */
	ERR_DENIED = 53,
	ERR_UNSUPPORTED = 54, /* known, but not built yet */
	ERR_PARTLY = 55,
	ERR_FENCED = 56, /* another process owns it now */
	ERR_CODES
};

enum err_act { ACT_NONE, ACT_REJECT, ACT_RETRY, ACT_STOP };

#define ERR_TEXT_MAX 240

struct err {
	enum err_code code;
	char text[ERR_TEXT_MAX]; /* for people: one line, no secret, never parsed */
};
#define ERR_INIT ((struct err){ .code = ERR_OK })

/* Record a failure and return its code. The first failure wins; err may be NULL. */
enum err_code err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same for a failed system call: "what: strerror". errnum is its errno. ENOSPC, EDQUOT and
 * ENOMEM replace code by ERR_FULL and ERR_NOMEM. */
enum err_code err_sys(struct err *err, enum err_code code, int errnum, const char *what);
/* Put "prefix: " before the text of a failure that was already recorded. */
enum err_code err_prefix(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
void err_clear(struct err *err);
#ifdef __clang_analyzer__
/* Tell the analyzer, which sees one file at a time, that these never return ERR_OK. */
#define err_set(err, code, ...) (err_set((err), (code), __VA_ARGS__), (code))
#define err_sys(err, code, errnum, what) (err_sys((err), (code), (errnum), (what)), (code))
#endif
/* A result that is left out on purpose: the caller looks at err->code at the end, or at nothing. */
static inline void err_ignored(enum err_code code)
{
	(void)code;
}

/* The rows of the table. Every function accepts any value of the enum. */
const char *err_name(enum err_code code);  /* "BAD_SIGNATURE"; ERR_OK is "ACCEPTED" */
const char *err_title(enum err_code code); /* one short sentence for people */
unsigned err_status(enum err_code code);   /* HTTP; 500 where none was meant for a sender */
enum err_act err_action(enum err_code code);
int err_exit(enum err_code code); /* exit status of a command: 0 1 2 3 4 5 75 */
/* The code with this name, or ERR_CODES. */
enum err_code err_by_name(const char *name, size_t len);
