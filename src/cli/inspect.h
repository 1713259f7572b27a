/* inspect.h - questions about what is stored, answered the same way by a daemon and by a command
 * without one.
 *
 * Answers are documents {"items":[{...},...],"next":N|null} (next: pass it as `from`), or one
 * object. The queue is opened read-only for each question, so nothing here disturbs the owner
 * thread. */
#pragma once

#include "postern/config.h"
#include "postern/queue.h"
#include "postern/store.h"

struct inspect {
	const struct config *config;
	struct store_view *view;
};

/* What events ls, dlq and quarantine commands select by; empty members select all. */
struct inspect_filter {
	struct slice route, reason, entity, source, outcome;
	int64_t since_ms, until_ms; /* reception; INT64_MIN, INT64_MAX */
	int64_t from;               /* dlq, quarantine: stream offset to start at */
	size_t limit;
	bool marked; /* also the ones that were replayed or dropped */
};
#define INSPECT_LIMIT_MAX 500
#define INSPECT_FILTER_ALL                                                                         \
	((struct inspect_filter){                                                                  \
		.since_ms = INT64_MIN, .until_ms = INT64_MAX, .limit = INSPECT_LIMIT_MAX })

/* Every source that knows this event id. */
enum err_code inspect_event(
	const struct inspect *in, struct slice id, struct buf *out, struct err *err);
/* The newest events of the ledger, newest first. */
enum err_code inspect_events(const struct inspect *in, const struct inspect_filter *filter,
	struct buf *out, struct err *err);
/* "[TENANT/]ENTITY". */
enum err_code inspect_state(
	const struct inspect *in, struct slice what, struct buf *out, struct err *err);
/* Dead letters or quarantined records. */
enum err_code inspect_entries(const struct inspect *in, enum out_target target,
	const struct inspect_filter *filter, struct buf *out, struct err *err);
/* One of them with headers and body, by its id ("d12", "q3") or event id. */
enum err_code inspect_entry(const struct inspect *in, enum out_target target, struct slice id,
	struct buf *out, struct err *err);
/* The stream offsets that an id or event id names (unmarked ones first): appended as u64 to out. */
enum err_code inspect_find(const struct inspect *in, enum out_target target, struct slice id,
	struct buf *out_offsets, struct err *err);
/* "d12": the id that people use. */
void inspect_entry_id(enum out_target target, int64_t stream_offset, char out[24]);
/* The read-only queue of a config, for one question. */
enum err_code inspect_queue(const struct config *config, struct queue **out, struct err *err);
