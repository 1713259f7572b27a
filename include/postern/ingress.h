/* ingress.h - the receiving half: a signed request becomes durable records, then an answer.
 *
 * socket -> serve (guard) -> http -> admit -> scheme -> event -> queue.append -> ack -> answer.
 *
 * Owns:    ingress_open() takes a reference to the config.
 *
 * Threads: loops of its own, one for two cores; ingress_events_done() is the queue's callback; the
 * rest: the main thread, where nothing else is said.
 *
 * Errors:  ERR_CONFIG (schemes, keys, certificates; problems in the report), ERR_IO (listen). */
#pragma once

#include "postern/clock.h"
#include "postern/config.h"
#include "postern/queue.h"

/* A request that was refused and kept, judged again with the keys and the mapping of now: the
 * record that its admission would have made, at the time of its reception and with its attempt,
 * request id, trace and kept headers. Appends the headers and the key; the body is the kept one.
 * Where the mapping finds no meaning the record stays a quarantined one, known by its attempt.
 *
 * A code of contract section 3 when it does not verify now either; ERR_DENIED, with what is wrong:
 * not enough of it was kept to tell.
 * ERR_CONFIG: the source's scheme or keys; ERR_SYNTAX: the record. Reads the keys; any thread. */
MUST_CHECK enum err_code ingress_admit_again(const struct source_config *source,
	const struct record *record, struct buf *out_headers, struct buf *out_key, struct err *err);

/* Do the files of ingress.tls hold what they should? ERR_CONFIG, with the problem in the report. */
MUST_CHECK enum err_code ingress_check_tls(
	const struct config *config, struct config_report *report, struct err *err);

struct ingress;
/* Compiles every source. Nothing listens yet. */
MUST_CHECK enum err_code ingress_open(struct config *config, const struct clock *clock,
	struct ingress **out, struct config_report *report, struct err *err);
/* The completion of appended records: pass it, with the ingress as context, to the queue. */
void ingress_events_done(void *ingress, struct record *list);
/* listen_fd: an inherited socket or -1. */
MUST_CHECK enum err_code ingress_start(
	struct ingress *ingress, struct queue *queue, int listen_fd, struct err *err);
const char *ingress_address(const struct ingress *ingress);
/* Everything new is built first, then swapped; on error nothing changes. */
MUST_CHECK enum err_code ingress_reload(struct ingress *ingress, struct config *config,
	struct config_report *report, struct err *err);
/* Does the file of client_ca hold other roots than it did at the start, since the last reload? Only
 * a restart reads them. Not told where the option itself was changed. Any thread. */
bool ingress_client_ca_differs(struct ingress *ingress);
/* Would a webhook posted now be made durable? ERR_OK, or the code and a sentence. Any thread. */
MUST_CHECK enum err_code ingress_ready(struct ingress *ingress, struct err *err);
/* Members of /v1/status: "sources": {...}, "connections": n. Any thread. */
MUST_CHECK enum err_code ingress_status(struct ingress *ingress, struct buf *out, struct err *err);
/* One JSON object a line for each key: source role kid fingerprint valid age_s, then matches
 * last_match per_hour, all since `since`, and whether an old key can go: safe_to_remove (null where
 * that is no question) and why. Keys that were told: role "pending", told. Any thread. */
MUST_CHECK enum err_code ingress_keys(struct ingress *ingress, struct buf *out, struct err *err);
/* The same without a running ingress: nobody counts then. */
MUST_CHECK enum err_code ingress_keys_of(
	const struct config *config, const struct clock *clock, struct buf *out, struct err *err);
/* Keys that senders tell themselves; any thread. Wait for that of this source for so long (0: not
 * any more). ERR_NOT_FOUND: no such source; ERR_USAGE: its sender does not tell its key. */
MUST_CHECK enum err_code ingress_learn(
	struct ingress *ingress, struct slice source, int64_t for_ms, struct err *err);
/* Make a key that was told the source's (a reload takes it into force), or forget it.
 * ERR_NOT_FOUND: none with this fingerprint waits. */
MUST_CHECK enum err_code ingress_learnt(struct ingress *ingress, struct slice source,
	struct slice fingerprint, bool confirm, struct err *err);
/* Monotonic time of the loop's last turn, for a watchdog. Any thread. */
int64_t ingress_last_turn_ms(struct ingress *ingress);
/* Stop accepting, answer everything in flight until deadline_ms (monotonic), then stop the loop.
 * The queue must still be open, and be closed before ingress_close(). */
void ingress_stop(struct ingress *ingress, int64_t deadline_ms);
void ingress_close(struct ingress **ingress);
