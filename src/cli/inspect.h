/* inspect.h - questions about what is stored, answered the same way by a daemon and by a command
 * without one, over one lane or many.
 *
 * Answers are documents {"items":[{...},...],"next":N|null} (next: pass it as `from`), or one
 * object. Nothing here disturbs an owner thread. */
#pragma once

#include "lanes.h"

struct inspect {
	const struct config *config;
	struct lanes *lanes;
};

/* What events ls, dlq and quarantine commands select by; empty members select all. */
struct inspect_filter {
	struct slice route, reason, entity, source, outcome;
	int64_t since_ms, until_ms;             /* reception; INT64_MIN, INT64_MAX */
	int64_t ended_since_ms, ended_until_ms; /* dlq, quarantine: when they came to be there */
	int64_t from;                           /* dlq, quarantine: cursor to start at */
	size_t limit;
	bool marked; /* also the ones that were replayed or dropped */
	bool verify; /* quarantine: only refused requests, each with what it would be told now */
};
#define INSPECT_LIMIT_MAX 500
#define INSPECT_FILTER_ALL                                                                         \
	((struct inspect_filter){ .since_ms = INT64_MIN,                                           \
		.until_ms = INT64_MAX,                                                             \
		.ended_since_ms = INT64_MIN,                                                       \
		.ended_until_ms = INT64_MAX,                                                       \
		.limit = INSPECT_LIMIT_MAX })

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
/* One of them with headers and body, by its id ("d12", "q3"; "d3.12" over Kafka) or event id. */
enum err_code inspect_entry(const struct inspect *in, enum out_target target, struct slice id,
	struct buf *out, struct err *err);
/* The record that such an id or an event id names: of several under one event id the one
 * that waits for somebody. ERR_USAGE, with their ids, where more than one does. */
enum err_code inspect_find(const struct inspect *in, enum out_target target, struct slice id,
	struct place *out, struct err *err);
