/* journal.h - the record that changes state: one batch of items and the next position in the queue.
 *
 * One batch is the unit of everything the worker does (scale-out design 1.4.2): embedded it becomes
 * one store transaction, on Kafka one record of the journal topic. Here are its bytes and the
 * judgement of its headers; no I/O.
 *
 * Layout: header of JOURNAL_HEADER_LEN bytes (magic, format, type, epoch, writer, seq, next offset,
 * base, generation, partition count, item count, length, checkpoint, CRC32C over everything with
 * the CRC field zero), then items: type u8, length u32, bytes.
 *
 * Threads: pure.
 * Errors:  ERR_CORRUPT (a batch that does not decode: an unknown item type is never skipped),
 * ERR_LIMIT. */
#pragma once

#include "postern/version.h"

#define JOURNAL_FORMAT 1
#define JOURNAL_BATCH_MAX                                                                          \
	KIB(900) /* a Kafka journal record; the embedded store takes JOURNAL_EMBEDDED_MAX */
#define JOURNAL_EMBEDDED_MAX MIB(64)
#define ID16_LEN 16
#define WRITER_LEN 16

/* A COMMAND is no part of the state: anybody may write one, at any time, and no judgement finds it
 * valid. It asks the owner for a change (ITEM_COMMAND, one), which decides it in a batch of its own
 * (ITEM_DECIDED). Its epoch and seq are 0, its checkpoint is about nothing (offset -1). */
enum journal_type {
	JOURNAL_CLAIM = 1,
	JOURNAL_BATCH = 2,
	JOURNAL_RELEASE = 3,
	JOURNAL_COMMAND = 4
};

struct journal_header {
	enum journal_type type;
	uint64_t epoch;
	uint8_t writer[WRITER_LEN];
	uint64_t seq;
	int64_t next_offset; /* of the source; everything below has ended, is parked, or is a
				duplicate */
	int64_t base_offset; /* of the journal; 0 embedded */
	uint32_t generation, partitions;
	int64_t checkpoint_offset; /* r: a fact about the prefix [0, r) */
	uint64_t checkpoint_epoch, checkpoint_seq;
	uint8_t checkpoint_writer[WRITER_LEN];
	uint32_t items;
};

/* Stored in the ledger: append only. */
enum outcome {
	OUTCOME_NONE = 0,
	OUTCOME_APPLIED = 1,
	OUTCOME_DUPLICATE = 2,
	OUTCOME_STALE = 3,
	OUTCOME_DEAD = 4,
	OUTCOME_QUARANTINED = 5,
	OUTCOME_PARKED = 6,
	OUTCOME_PENDING = 7,
	OUTCOME_COUNT
};
const char *outcome_name(enum outcome outcome); /* "applied" ... */

enum park_reason {
	PARK_RETRY = 1,
	PARK_GAP = 2,
	PARK_BREAKER = 3,
	PARK_RUNNING = 4,
	PARK_REPLAY = 5, /* an operator's redrive */
	PARK_ORDER = 6,  /* behind an earlier event of its subject */
	PARK_BUSY = 7,   /* its route had no free place when the batch closed */
};
const char *park_reason_name(enum park_reason reason);

enum item_type {
	ITEM_SEEN = 1,
	ITEM_VERSION = 2,
	ITEM_PARK = 3,
	ITEM_UNPARK = 4,
	ITEM_OUT = 5,
	ITEM_OUTOK = 6,
	ITEM_TRY = 7,
	ITEM_MARK = 8,
	ITEM_ANSWER = 9, /* reserved */
	ITEM_ONCE = 10,  /* reserved */
	ITEM_ROUTE = 11,
	ITEM_ENTRY = 12,
	ITEM_COMMAND = 13, /* in a record of its own kind, never in a batch */
	ITEM_DECIDED = 14,
};

/* The ledger's entry for one identity: 41 bytes. A later SEEN of the same id16 takes its place. */
struct item_seen {
	uint8_t id16[ID16_LEN];
	int64_t offset; /* in the source stream */
	uint8_t digest8[8];
	enum outcome outcome;
	enum err_code code;
	uint16_t route;   /* index in the store's table of route names */
	uint8_t attempts; /* 255: that many or more */
	uint32_t received_s;
};
/* The state of an entity (subject with an entity). */
struct item_version {
	struct slice subject;
	struct version version;
	int64_t offset;
	struct slice event_id, source;
	uint16_t route;
	int64_t time_ms; /* when it was applied */
};
struct item_park {
	struct slice subject;
	int64_t offset; /* with the subject, its key. A redrive keeps its original offset */
	uint8_t id16[ID16_LEN];
	uint16_t route;
	unsigned attempts;                         /* made so far */
	int64_t first_ms, next_ts_ms, deadline_ms; /* wall time */
	int64_t first_failed_ms;                   /* 0: none yet */
	enum park_reason reason;
	enum err_code last_code;
	uint64_t redrive; /* the dead letter or quarantined record it came from + 1; 0: none */
	struct version version;
	struct slice error;              /* last failure, for people */
	struct slice key, headers, body; /* the copy of the record */
};
struct item_unpark {
	struct slice subject;
	int64_t offset;
	/* The outcome itself comes as a SEEN in the same batch. */
};
enum out_target { OUT_DLQ = 1, OUT_QUARANTINE = 2, OUT_TOPIC = 3 };
struct item_out {
	int64_t offset; /* of the source event */
	uint32_t n;
	enum out_target target;
	uint8_t id16[ID16_LEN];
	enum err_code reason;
	struct slice topic; /* OUT_TOPIC */
	struct slice key, headers, body;
};
/* Published. stream_offset: where it now stands in dlq or quarantine, and its index entry follows
 * from it; -1: nowhere, it was let go. */
struct item_outok {
	int64_t offset;
	uint32_t n;
	int64_t stream_offset;
};
struct item_try {
	int64_t offset;
	unsigned n; /* 0 clears */
};
enum mark { MARK_REPLAYED = 1, MARK_DROPPED = 2 };
struct item_mark {
	enum out_target target;
	int64_t stream_offset;
	enum mark mark;
	int64_t time_ms;
};
/* What a route's number in the other items stands for, where a journal is kept. */
struct item_route {
	uint16_t number;
	struct slice name;
};
/* An entry of the index of dead or quarantined records, written again so that the journal's
 * beginning can go. mark: 0 or enum mark. */
struct item_entry {
	enum out_target target;
	int64_t stream_offset;
	uint8_t id16[ID16_LEN];
	int64_t offset, time_ms, received_ms;
	enum err_code reason;
	uint64_t bytes;
	unsigned mark;
	struct slice event_id, source, tenant, type, entity, route;
};
/* What an operator asks the owner for. id16: random, so that the answer can be told apart. */
enum command_kind { COMMAND_REPLAY = 1, COMMAND_DROP = 2, COMMAND_ACCEPT = 3 };
struct item_command {
	uint8_t id16[ID16_LEN];
	enum command_kind kind;
	enum out_target target; /* OUT_DLQ or OUT_QUARANTINE */
	int64_t stream_offset;
	int64_t asked_ms;          /* wall time of who asked */
	struct slice headers, key; /* accept: in place of the record's own; empty: none */
};
/* The owner's answer. ERR_OK: what was asked for is in the same batch. It changes no state. */
struct item_decided {
	uint8_t id16[ID16_LEN];
	enum err_code code;
	struct slice text; /* for people */
};
struct item {
	enum item_type type;
	union {
		struct item_seen seen;
		struct item_version version;
		struct item_park park;
		struct item_unpark unpark;
		struct item_out out;
		struct item_outok outok;
		struct item_try attempt;
		struct item_mark mark;
		struct item_route route;
		struct item_entry entry;
		struct item_command command;
		struct item_decided decided;
	};
};

/* Building: begin once, add items, end. The buffer holds one batch. */
MUST_CHECK enum err_code journal_begin(struct buf *batch, struct err *err);
MUST_CHECK enum err_code journal_add(struct buf *batch, const struct item *item, struct err *err);
/* Fill in the header (its `items` is ignored: counted here), length and CRC. */
MUST_CHECK enum err_code journal_end(
	struct buf *batch, const struct journal_header *header, struct err *err);
/* Reading: check CRC, magic and format, fill header; then items one by one, *at from 0. */
MUST_CHECK enum err_code journal_open(
	struct slice batch, struct journal_header *out, struct err *err);
/* ERR_NOT_FOUND at the end, which leaves err as it is. Slices point into the batch. */
MUST_CHECK enum err_code journal_next(
	struct slice batch, size_t *at, struct item *out, struct err *err);

/* The bytes of all items of a batch that journal_open() has accepted. */
struct slice journal_items(struct slice batch);

/* One item by itself, as it stands in a batch: the store keeps its rows in these bytes. Appends; on
 * failure out is unchanged. Reading starts at *at and moves it past the item. */
MUST_CHECK enum err_code journal_put_item(
	struct buf *out, const struct item *item, struct err *err);
MUST_CHECK enum err_code journal_get_item(
	struct slice bytes, size_t *at, struct item *out, struct err *err);
/* The ledger's entry alone, without type and length. False when it is none. */
#define JOURNAL_SEEN_LEN 41
void journal_seen_encode(const struct item_seen *seen, uint8_t out[JOURNAL_SEEN_LEN]);
bool journal_seen_decode(const uint8_t bytes[JOURNAL_SEEN_LEN], struct item_seen *out);

/* The whole safety argument (1.4.3): is this header valid in this state? When it is, state moves
 * on. */
struct journal_state {
	uint64_t epoch;
	uint8_t writer[WRITER_LEN];
	uint64_t seq;
	bool released;
};
bool journal_judge(struct journal_state *state, const struct journal_header *header);
