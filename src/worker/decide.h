/* decide.h - what becomes of an event, and when a failed one is tried again: pure functions.
 *
 * Time and randomness come as arguments; nothing here reads the store, the queue or a clock. The
 * facts are put together by the rest of the room, which also does what the verdict says.
 *
 * Threads: pure. */
#pragma once

#include "postern/config.h"
#include "postern/event.h"
#include "postern/handler.h"
#include "postern/journal.h"

enum action {
	ACTION_RUN,        /* the version rule holds: hand it to the handler */
	ACTION_SKIP,       /* this very delivery was decided before a crash */
	ACTION_DUPLICATE,  /* its identity is known */
	ACTION_QUARANTINE, /* code says why */
	ACTION_STALE,
	ACTION_GAP,  /* an earlier version is missing: wait for it */
	ACTION_DEAD, /* code says why */
};

struct verdict {
	enum action action;
	enum err_code code;
	bool reused; /* a known id with another body */
};

/* Steps 0 and 1 of contract section 5. */
struct identity_facts {
	const struct event *event;
	int64_t offset;
	const uint8_t *digest8;
	const struct item_seen *known;  /* the ledger's entry of the identity; NULL: none */
	const struct item_seen *replay; /* of the signed bytes; NULL: none, or the id is signed */
	enum on_reuse on_reuse;
	enum on_replay on_replay;
};
struct verdict worker_decide_identity(const struct identity_facts *facts);

/* Step 2. An event without an entity or a version passes every rule. */
struct version_facts {
	enum version_rule rule;
	bool has_entity;
	struct version version;
	struct slice base;
	const struct version *stored;    /* NULL: nothing is known of the entity */
	bool any_kind;                   /* an operator accepted it in spite of its kind */
	int64_t now_ms, gap_deadline_ms; /* 0: it has not waited for a gap yet */
};
struct verdict worker_decide_version(const struct version_facts *facts);
/* The version that an applied event leaves behind. */
struct version worker_decide_after(
	enum version_rule rule, struct version event, const struct version *stored);

/* Step 5: how often the worker died while this event was alone in work. */
#define TRIES_MAX 3
struct verdict worker_decide_tries(unsigned tries);

/* Step 4, after a failure that may pass. */
struct retry_facts {
	unsigned attempts; /* made so far, this one included */
	int64_t now_ms, deadline_ms;
	int64_t retry_after_ms; /* -1: the destination did not say */
	double random;          /* [0,1) */
};
struct retry_plan {
	bool again;
	int64_t next_ms;      /* wall time of the next attempt */
	enum err_code reason; /* when there is none: attempts or age */
};
struct retry_plan worker_retry_plan(
	const struct route_config *route, const struct retry_facts *facts);

/* How long to wait, from now, for a time that was written down before a restart: the clock may have
 * been turned since. */
int64_t worker_retry_wait_ms(const struct route_config *route, int64_t next_ms, int64_t now_ms);
/* What time it was at least when an event was parked, if that lies ahead of now_ms: nothing is
 * parked before it is first tried. now_ms: it says nothing. */
int64_t worker_retry_now_ms(int64_t first_ms, int64_t next_ms, int64_t now_ms);
/* A deadline that was written down, likewise: never more than max_ms from now. */
int64_t worker_retry_deadline_ms(int64_t deadline_ms, int64_t max_ms, int64_t now_ms);
#define RETRY_AFTER_MAX_MS INT64_C(3600000)
