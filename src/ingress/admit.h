/* admit.h - what becomes of a request: a refusal, a fixed answer, or records. Pure.
 *
 * Time, randomness and the limits are arguments; nothing is read or sent here. The order of checks
 * is the contract's: source, method, size, rate, then what the scheme says. */
#pragma once

#include "limit.h"
#include "postern/event.h"
#include "postern/scheme.h"
#include "trace.h"

#define ADMIT_KEPT_MAX 64 /* request headers that go into a record */

struct admit_request {
	const struct source_config *source; /* NULL: there is none of this name */
	const struct scheme *scheme;
	struct scheme_request http;
	uint64_t declared; /* length of the body; unknown lengths are judged while they come */
	size_t max_body;
	struct slice client, request_id;
	int64_t now_ms;  /* wall clock: freshness, reception */
	int64_t mono_ms; /* rates */
	uint8_t attempt[ATTEMPT_LEN];
	uint8_t trace[TRACE_RANDOM];
	bool is_learning; /* an operator waits for this source's sender to tell its key */
};

struct admit_rates {
	struct limit *sources, *clients;
	struct rate client_rate;
};

enum admit_next {
	ADMIT_GO_ON,  /* head: read the body */
	ADMIT_REFUSE, /* code, status */
	ADMIT_ANSWER, /* a handshake: tools.answer */
	ADMIT_LEARN,  /* tools.learnt is to be kept, then tools.answer holds */
	ADMIT_EMPTY,  /* accepted, and there is nothing in it */
	ADMIT_APPEND  /* the records are to be made durable, then code and status hold */
};

/* Buffers that are used again for every request. */
struct admit_tools {
	struct scheme_verdict verdict;
	struct scheme_mapped mapped;
	struct scheme_answer answer;
	struct secret learnt;
};
#define ADMIT_TOOLS_INIT                                                                           \
	((struct admit_tools){ .verdict = SCHEME_VERDICT_INIT,                                     \
		.mapped = SCHEME_MAPPED_INIT,                                                      \
		.answer = SCHEME_ANSWER_INIT })
void admit_tools_done(struct admit_tools *tools);

/* A record of a body that holds several events, in memory of its own. */
struct element {
	struct element *next;
	struct record record;
	uint8_t bytes[];
};

struct admission {
	enum admit_next next;
	enum err_code code;
	unsigned status;
	int64_t wait_ms;      /* RATE_LIMITED: until there is room */
	int key;              /* that matched, or -1 */
	struct record record; /* unless the body was split: */
	bool is_split;
	struct element *elements; /* in the order of the body */
	size_t element_count;
	struct slice event_id;    /* in text, or in the first element; empty: there is no event */
	struct buf headers, text; /* text: the record's key, then the event id */
};
#define ADMISSION_INIT                                                                             \
	((struct admission){ .key = -1,                                                            \
		.headers = BUF_INIT(EVENT_HEADERS_MAX),                                            \
		.text = BUF_INIT(EVENT_KEY_MAX + EVENT_ID_MAX) })
void admission_reset(struct admission *a); /* keeps the memory of its buffers */
void admission_done(struct admission *a);

/* Before the body was read: next is ADMIT_GO_ON, ADMIT_REFUSE or ADMIT_ANSWER. */
void admit_head(const struct admit_request *rq, const struct admit_rates *rates,
	struct admit_tools *tools, struct admission *out);
/* The whole request: anything but ADMIT_GO_ON. out->record.body is the request's; elements have
 * copies. */
void admit_whole(const struct admit_request *rq, struct admit_tools *tools, struct admission *out);
/* One that is too large to be kept (of a stream): its record is a quarantined one without a body;
 * the digest is the body's. */
void admit_without_body(
	const struct admit_request *rq, struct admit_tools *tools, struct admission *out);
