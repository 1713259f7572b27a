/* event.h - the envelope: a record (what the queue carries) and an event (what its headers mean).
 *
 * Nothing outside this room knows a header's name. The record's value is the raw body, byte for
 * byte; its headers are one encoded block: count u16, then (name length u16, name, value length
 * u32, value). CloudEvents 1.0.2 Kafka binding, binary mode, plus the postern-* headers of contract
 * section 4.
 *
 * Owns:    nothing; slices are borrowed from the record or the request.
 * Threads: pure.
 * Errors:  ERR_SYNTAX (a block that does not decode), ERR_LIMIT, ERR_NOMEM. */
#pragma once

#include "postern/buf.h"
#include "postern/version.h"

#define EVENT_HEADERS_MAX KIB(64) /* the encoded block */
#define EVENT_HEADER_COUNT_MAX 160
#define EVENT_ID_MAX 512   /* bytes of an event id, entity, type or base */
#define EVENT_KEY_MAX 1200 /* tenant + '/' + entity or id */
#define ATTEMPT_LEN 16     /* bytes; 32 hex digits in the header */

/* One record on its way through the queue. The bytes belong to whoever made it, and stay until the
 * record's completion (append) or the batch's release (read). */
struct record {
	struct record *next; /* list on the way in */
	struct slice key, headers, body;
	int64_t offset;  /* reading: position in the stream; appending: filled in when durable */
	int64_t time_ms; /* wall time of the append, never falling within a stream */
	uint8_t attempt[ATTEMPT_LEN];
	bool spools;          /* appending: durable too once the spool of this machine has it */
	bool unclear;         /* the queue's own, while it has the record: it may be in Kafka */
	enum err_code result; /* append completion: ERR_OK, ERR_UNAVAILABLE (surely not there),
				 ERR_OUTCOME_UNKNOWN */
	void *owner;          /* the appender's; the queue does not look at it */
};

/* An event, decoded or about to be encoded. Absent members are empty slices. */
struct event {
	struct slice id, source, tenant, type, entity; /* source: the configured name */
	struct version version;
	struct slice base; /* text of the version it was made from */
	int64_t time_ms;   /* ce_time: the sender's signed time where there is one, else received */
	int64_t received_ms;
	struct slice content_type, traceparent, request_id;
	struct slice key_used;   /* "current:1a2b3c4d": role and fingerprint */
	struct slice digest;     /* 64 hex digits */
	struct slice replay;     /* 64 hex digits, or empty */
	struct slice quarantine; /* a code's name, or empty */
	struct slice redrive;    /* set when an operator replayed it */
	struct slice refetch;    /* "true": a hint; fetch the object before acting on it */
	/* First and last number of the batch that it came in. */
	struct slice gap_first, gap_last;
	uint8_t attempt[ATTEMPT_LEN];
	const struct header *kept; /* encoding only: request headers that the scheme read */
	size_t kept_count;
	struct slice dlq_reason, dlq_route, dlq_attempts, dlq_error; /* decoding a dead letter */
	struct slice dlq_offset, dlq_first_failed, dlq_last_failed;
};

/* Append the header block to out. An event without a type gets its source's name as ce_type; kept
 * names become lower case. ERR_LIMIT leaves out unchanged. Room is left in the block for marks and
 * a dead letter. */
MUST_CHECK enum err_code event_encode(const struct event *event, struct buf *out, struct err *err);
/* Read a block. Unknown headers are skipped; a missing id, source or specversion, a known header
 * that is there twice or is not well-formed, and a block of other than its own length are
 * ERR_SYNTAX. */
MUST_CHECK enum err_code event_decode(struct slice headers, struct event *out, struct err *err);
/* The key of a record: tenant/entity, or tenant/id, or (unsigned ids, contract section 4)
 * tenant/replay; by_replay means nothing for an event without one. */
MUST_CHECK enum err_code event_key(
	const struct event *event, bool by_replay, struct buf *out, struct err *err);
/* What the worker orders and parks by, its pieces with a zero byte between: tenant, entity
 * (whatever the source) - or, without an entity, tenant, source, id. Appended to out. */
MUST_CHECK enum err_code event_subject(const struct event *event, struct buf *out, struct err *err);
/* The length-prefixed fields that are hashed into id16: tenant, source, id. Appended to out. */
MUST_CHECK enum err_code event_identity(
	const struct event *event, struct buf *out, struct err *err);
/* Likewise for ("replay", tenant, source, replay). */
MUST_CHECK enum err_code event_replay_identity(
	const struct event *event, struct buf *out, struct err *err);

/* Walk a block: *at starts at 0. False at the end, and where the block is broken. */
bool event_header_next(struct slice headers, size_t *at, struct header *out);
/* Walk the request headers that were kept with the record, by the names they had in the request (in
 * lower case). A name may come more than once. */
bool event_kept_next(struct slice headers, size_t *at, struct header *out);

/* What a dead letter adds to the original block (contract section 5, item 5). Overwrites earlier
 * ones. */
struct dead_letter {
	struct slice reason, route, error; /* error is cut to DEAD_ERROR_MAX */
	unsigned attempts;
	struct slice topic;
	int32_t partition;
	int64_t offset, first_failed_ms, last_failed_ms;
};
#define DEAD_ERROR_MAX 1024
MUST_CHECK enum err_code event_dead_letter(
	struct slice headers, const struct dead_letter *dead, struct buf *out, struct err *err);
/* The block with (or, with an empty value, without) one header: redrive marks, quarantine taken
 * away. */
enum event_mark { EVENT_MARK_QUARANTINE, EVENT_MARK_REDRIVE };
MUST_CHECK enum err_code event_with_mark(struct slice headers, enum event_mark mark,
	struct slice value, struct buf *out, struct err *err);
/* The block as a JSON object of name: value, for `dlq show`. */
MUST_CHECK enum err_code event_headers_json(struct slice headers, struct buf *out, struct err *err);
