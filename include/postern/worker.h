/* worker.h - the working half: events become effects, each once.
 *
 * queue.read -> event -> decide(store) -> handler -> one batch {ledger, versions, parked, outputs,
 * position}
 * -> queue.journal -> store.apply, store.commit -> outputs published -> queue.done.
 *
 * Owns:    worker_open() takes a reference to the config.
 * Threads: one owner thread of its own decides and commits; everything here is called from others.
 * Errors:  ERR_CORRUPT stops the worker (worker_failed()); ERR_CONFIG (routes, keys). */
#pragma once

#include "postern/clock.h"
#include "postern/config.h"
#include "postern/queue.h"
#include "postern/store.h"

struct worker;
MUST_CHECK enum err_code worker_open(struct config *config, const struct clock *clock,
	struct worker **out, struct config_report *report, struct err *err);
/* The completion of appends to dlq and quarantine: pass it, with the worker as context, to the
 * queue. */
void worker_outputs_done(void *worker, struct record *list);
/* Claims (a new epoch), looks for suspects, starts the owner thread. */
MUST_CHECK enum err_code worker_start(
	struct worker *worker, struct queue *queue, struct store *store, struct err *err);
MUST_CHECK enum err_code worker_reload(struct worker *worker, struct config *config,
	struct config_report *report, struct err *err);
/* ERR_OK while it runs; the reason after it stopped by itself (ERR_CORRUPT and the like). */
MUST_CHECK enum err_code worker_failed(struct worker *worker, struct err *err);
/* For a separate worker's readiness: ERR_OK, or ERR_FULL (ledger, park, dlq), with a sentence. */
MUST_CHECK enum err_code worker_ready(struct worker *worker, struct err *err);
/* Members of /v1/status: "queue": {"lag","oldest_s",...}, "routes": {name: {"parked","breaker"}},
 * "ledger". */
MUST_CHECK enum err_code worker_status(struct worker *worker, struct buf *out, struct err *err);
/* For how many whole seconds the oldest event without an end has waited; 0 when none does. */
int64_t worker_oldest_s(struct worker *worker);
int64_t worker_last_turn_ms(const struct worker *worker);

/* An operator's change, decided by the owner thread. Blocks until it is committed, for 10 s at
 * most: ERR_OUTCOME_UNKNOWN, it may still be. */
enum worker_change { CHANGE_REPLAY, CHANGE_DROP, CHANGE_ACCEPT };
/* target OUT_DLQ (replay, drop) or OUT_QUARANTINE (accept, drop); stream_offset is the record's id.
 * ERR_OK when it is committed; ERR_NOT_FOUND; ERR_USAGE (already replayed or dropped; for an
 * accepted one: its identity has another outcome than quarantined, so it would take effect twice).
 */
MUST_CHECK enum err_code worker_change(struct worker *worker, enum worker_change change,
	enum out_target target, int64_t stream_offset, struct err *err);
/* CHANGE_ACCEPT of a request that was refused when it came: worked under these headers and this
 * key, which its admission would have made (ingress_admit_again()). Its record's own know no
 * identity, so without them it is ERR_USAGE. A copy (the same identity and bytes) of an event that
 * is known, and not dead, is dropped as a duplicate: ERR_OK. */
MUST_CHECK enum err_code worker_accept(struct worker *worker, int64_t stream_offset,
	struct slice headers, struct slice key, struct err *err);

/* Take no more events, finish or park what runs until deadline_ms (monotonic), release, stop. */
void worker_stop(struct worker *worker, int64_t deadline_ms);
void worker_close(struct worker **worker);
