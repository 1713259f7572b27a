/* names.c - what outcomes and reasons are called in answers, logs and metrics. */
#include "postern/journal.h"

const char *outcome_name(enum outcome outcome)
{
	static const char *const names[OUTCOME_COUNT] = {
		[OUTCOME_NONE] = "none",
		[OUTCOME_APPLIED] = "applied",
		[OUTCOME_DUPLICATE] = "duplicate",
		[OUTCOME_STALE] = "stale",
		[OUTCOME_DEAD] = "dead",
		[OUTCOME_QUARANTINED] = "quarantined",
		[OUTCOME_PARKED] = "parked",
		[OUTCOME_PENDING] = "pending",
	};

	return (unsigned)outcome < OUTCOME_COUNT ? names[outcome] : "unknown";
}

const char *park_reason_name(enum park_reason reason)
{
	static const char *const names[] = {
		[PARK_RETRY] = "retry",
		[PARK_GAP] = "gap",
		[PARK_BREAKER] = "breaker",
		[PARK_RUNNING] = "running",
		[PARK_REPLAY] = "replay",
		[PARK_ORDER] = "order",
		[PARK_BUSY] = "busy",
	};

	if ((unsigned)reason >= ARRAY_LEN(names) || !names[reason])
		return "unknown";
	return names[reason];
}
