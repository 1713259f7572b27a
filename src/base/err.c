/* err.c - the one table of what can go wrong, and how a failure is recorded.
 *
 * Deliberately not here: logging and counting. The room that decides does both, once. */
#include "postern/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What the header tells the analyzer about these is for callers. */
#undef err_set
#undef err_sys

/* What a code means, in one place. */
struct fault {
	const char *name; /* as in logs, answers, metrics and the ledger */
	unsigned status;  /* HTTP; 500 where none was meant for a sender */
	enum err_act act;
	int exit;          /* of a command that ends with it */
	const char *title; /* for people */
};

enum { EXIT_FINE = 0, EXIT_WORK, EXIT_USAGE, EXIT_CONFIG, EXIT_AWAY, EXIT_PARTLY, EXIT_LATER = 75 };

/* clang-format off */
static const struct fault faults[] = {
	[ERR_OK] = { "ACCEPTED", 200, ACT_NONE, EXIT_FINE, "Accepted." },

	[ERR_MALFORMED_BODY] = { "MALFORMED_BODY", 200, ACT_REJECT, EXIT_WORK,
		"The body is authentic, but it or its version cannot be read." },
	[ERR_MISSING_EVENT_ID] = { "MISSING_EVENT_ID", 200, ACT_REJECT, EXIT_WORK,
		"The request is authentic, but carries no event id." },
	[ERR_MISSING_SIGNATURE] = { "MISSING_SIGNATURE", 401, ACT_REJECT, EXIT_WORK,
		"The request carries no signature." },
	[ERR_BAD_SIGNATURE] = { "BAD_SIGNATURE", 401, ACT_REJECT, EXIT_WORK,
		"The signature does not fit the request." },
	[ERR_KEY_NOT_FOUND] = { "KEY_NOT_FOUND", 401, ACT_REJECT, EXIT_WORK,
		"The request names a key that is not known here." },
	[ERR_BAD_TIMESTAMP] = { "BAD_TIMESTAMP", 400, ACT_REJECT, EXIT_WORK,
		"The timestamp is missing or cannot be read." },
	[ERR_EXPIRED] = { "EXPIRED", 400, ACT_REJECT, EXIT_WORK,
		"The timestamp is too old." },
	[ERR_CLOCK_SKEW] = { "CLOCK_SKEW", 400, ACT_REJECT, EXIT_WORK,
		"The timestamp is too far ahead; compare both clocks." },
	[ERR_TOO_LARGE] = { "TOO_LARGE", 413, ACT_REJECT, EXIT_WORK,
		"The body or the headers are over the limit." },
	[ERR_UNKNOWN_SOURCE] = { "UNKNOWN_SOURCE", 404, ACT_REJECT, EXIT_WORK,
		"There is no source of this name." },
	[ERR_METHOD_NOT_ALLOWED] = { "METHOD_NOT_ALLOWED", 405, ACT_REJECT, EXIT_WORK,
		"This method is not allowed here." },
	[ERR_RATE_LIMITED] = { "RATE_LIMITED", 429, ACT_RETRY, EXIT_LATER,
		"Too many requests; slow down." },
	[ERR_UNAVAILABLE] = { "UNAVAILABLE", 503, ACT_RETRY, EXIT_LATER,
		"The event cannot be made durable now; send it again later." },
	[ERR_OUTCOME_UNKNOWN] = { "OUTCOME_UNKNOWN", 503, ACT_RETRY, EXIT_LATER,
		"It is not known whether the event is durable; send the same event again." },
	[ERR_BAD_REQUEST] = { "BAD_REQUEST", 400, ACT_REJECT, EXIT_WORK,
		"The request is not well-formed HTTP." },

	[ERR_REPLAY_DETECTED] = { "REPLAY_DETECTED", 500, ACT_REJECT, EXIT_WORK,
		"Bytes that were signed once came again under another event id." },
	[ERR_ID_REUSED] = { "ID_REUSED", 500, ACT_REJECT, EXIT_WORK,
		"A known event id came with another body." },
	[ERR_STALE_VERSION] = { "STALE_VERSION", 500, ACT_REJECT, EXIT_WORK,
		"The version is not newer than the stored one." },
	[ERR_VERSION_GAP] = { "VERSION_GAP", 500, ACT_REJECT, EXIT_WORK,
		"The versions before this one did not come in time." },
	[ERR_VERSION_TYPE] = { "VERSION_TYPE", 500, ACT_REJECT, EXIT_WORK,
		"The entity has versions of the other kind (numbers and times do not mix)." },
	[ERR_HANDLER_REFUSED] = { "HANDLER_REFUSED", 500, ACT_REJECT, EXIT_WORK,
		"The handler refused the event for good." },
	[ERR_HANDLER_FAILED] = { "HANDLER_FAILED", 500, ACT_RETRY, EXIT_WORK,
		"The handler failed." },
	[ERR_HANDLER_TIMEOUT] = { "HANDLER_TIMEOUT", 500, ACT_RETRY, EXIT_WORK,
		"The handler did not answer in time." },
	[ERR_HANDLER_UNREACHABLE] = { "HANDLER_UNREACHABLE", 500, ACT_RETRY, EXIT_WORK,
		"The handler cannot be reached." },
	[ERR_ATTEMPTS_EXHAUSTED] = { "ATTEMPTS_EXHAUSTED", 500, ACT_REJECT, EXIT_WORK,
		"All attempts were used up." },
	[ERR_AGE_EXHAUSTED] = { "AGE_EXHAUSTED", 500, ACT_REJECT, EXIT_WORK,
		"The event grew too old while it was tried." },
	[ERR_CRASH_LOOP] = { "CRASH_LOOP", 500, ACT_REJECT, EXIT_WORK,
		"The worker died again and again during this event." },
	[ERR_BREAKER_OPEN] = { "BREAKER_OPEN", 500, ACT_RETRY, EXIT_LATER,
		"The destination rests after many failures." },
	[ERR_UNREADABLE_RECORD] = { "UNREADABLE_RECORD", 500, ACT_REJECT, EXIT_WORK,
		"The headers of the record cannot be read." },

	[ERR_USAGE] = { "USAGE", 400, ACT_REJECT, EXIT_USAGE,
		"The command or request is not understood; see --help." },
	[ERR_CONFIG] = { "CONFIG", 422, ACT_REJECT, EXIT_CONFIG,
		"The configuration is not valid." },
	[ERR_SYNTAX] = { "SYNTAX", 400, ACT_REJECT, EXIT_WORK,
		"The input cannot be parsed." },
	[ERR_LIMIT] = { "LIMIT", 413, ACT_REJECT, EXIT_WORK,
		"A limit was passed." },
	[ERR_NOMEM] = { "NOMEM", 503, ACT_RETRY, EXIT_LATER,
		"There is no memory left." },
	[ERR_IO] = { "IO", 500, ACT_RETRY, EXIT_WORK,
		"Reading or writing failed." },
	[ERR_FULL] = { "FULL", 503, ACT_RETRY, EXIT_LATER,
		"There is no room now; free disk space or raise the limit." },
	[ERR_CORRUPT] = { "CORRUPT", 500, ACT_STOP, EXIT_WORK,
		"Stored data cannot be believed; nothing was changed." },
	[ERR_NOT_FOUND] = { "NOT_FOUND", 404, ACT_REJECT, EXIT_WORK,
		"There is nothing of this name." },
	[ERR_LOCKED] = { "LOCKED", 409, ACT_REJECT, EXIT_WORK,
		"Another process holds it, or it exists already." },
	[ERR_UNREACHABLE] = { "UNREACHABLE", 503, ACT_RETRY, EXIT_AWAY,
		"The daemon or broker cannot be reached." },
	[ERR_TIMEOUT] = { "TIMEOUT", 503, ACT_RETRY, EXIT_LATER,
		"It took too long." },
	[ERR_STOPPED] = { "STOPPED", 503, ACT_RETRY, EXIT_LATER,
		"The program is shutting down." },
	[ERR_DENIED] = { "DENIED", 401, ACT_REJECT, EXIT_WORK,
		"This needs a valid token or permission." },
	[ERR_UNSUPPORTED] = { "UNSUPPORTED", 501, ACT_REJECT, EXIT_WORK,
		"This is known, but not supported yet." },
	[ERR_PARTLY] = { "PARTLY", 500, ACT_RETRY, EXIT_PARTLY,
		"Some of the work failed or was not reached." },
	[ERR_FENCED] = { "FENCED", 503, ACT_STOP, EXIT_LATER,
		"Another worker owns this partition now." },
};
/* clang-format on */
static_assert(ARRAY_LEN(faults) == ERR_CODES, "every code up to the last has a row");

/* The numbers between the groups are free, and have no row. */
static const struct fault *fault_of(enum err_code code)
{
	static const struct fault none = { "UNKNOWN", 500, ACT_STOP, EXIT_WORK,
		"A code that this program does not know." };

	if ((unsigned)code >= ARRAY_LEN(faults) || !faults[code].name)
		return &none;
	return &faults[code];
}

/* The text is one line whatever was formatted into it. */
static void flatten(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = ' ';
	}
}

enum err_code err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
	va_list args;

	assert(code != ERR_OK);
	if (!err || err->code != ERR_OK)
		return code;
	err->code = code;
	va_start(args, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	flatten(err->text);
	return code;
}

enum err_code err_sys(struct err *err, enum err_code code, int errnum, const char *what)
{
	char room[128];
	const char *reason = strerror_r(errnum, room, sizeof(room));

	if (errnum == ENOSPC || errnum == EDQUOT)
		code = ERR_FULL;
	else if (errnum == ENOMEM)
		code = ERR_NOMEM;
	return err_set(err, code, "%s: %s", what, reason);
}

enum err_code err_prefix(struct err *err, const char *fmt, ...)
{
	static const char between[] = ": ";
	char text[ERR_TEXT_MAX];
	const size_t last = sizeof(text) - strlen(between);
	va_list args;
	size_t len, rest;

	if (!err || err->code == ERR_OK)
		return ERR_OK;
	va_start(args, fmt);
	(void)vsnprintf(text, last, fmt, args);
	va_end(args);
	len = strlen(text);
	memcpy(text + len, between, sizeof(between));
	len += strlen(between);
	rest = strnlen(err->text, sizeof(text) - 1 - len);
	memcpy(text + len, err->text, rest);
	text[len + rest] = '\0';
	memcpy(err->text, text, sizeof(text));
	flatten(err->text);
	return err->code;
}

void err_clear(struct err *err)
{
	if (err)
		*err = ERR_INIT;
}

const char *err_name(enum err_code code)
{
	return fault_of(code)->name;
}

const char *err_title(enum err_code code)
{
	return fault_of(code)->title;
}

unsigned err_status(enum err_code code)
{
	return fault_of(code)->status;
}

enum err_act err_action(enum err_code code)
{
	return fault_of(code)->act;
}

int err_exit(enum err_code code)
{
	return fault_of(code)->exit;
}

enum err_code err_by_name(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		if (faults[i].name && strlen(faults[i].name) == len &&
			memcmp(faults[i].name, name, len) == 0)
			return (enum err_code)i;
	}
	return ERR_CODES;
}
