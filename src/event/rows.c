/* rows.c - which header carries which member of an event: the only list of their names.
 *
 * The order is the order in a record. Deliberately not here: the copied request headers, whose
 * names begin with postern-h-, and which are only walked. */
#include "event_priv.h"

#define ROW(text, form_, member)                                                                   \
	{                                                                                          \
		.name = (text), .name_len = sizeof(text) - 1, .form = (form_),                     \
		.offset = offsetof(struct event, member),                                          \
	}

/* clang-format off */
const struct header_row event_rows[] = {
	ROW("ce_specversion",           FORM_SPECVERSION, id),
	ROW("ce_id",                    FORM_LONG,    id),
	ROW("ce_source",                FORM_SOURCE,  source),
	ROW("ce_type",                  FORM_TYPE,    type),
	ROW("ce_time",                  FORM_TIME,    time_ms),
	ROW("ce_subject",               FORM_LONG,    entity),
	ROW("content-type",             FORM_TEXT,    content_type),
	ROW("traceparent",              FORM_TEXT,    traceparent),
	ROW("postern-source",           FORM_TEXT,    source),
	ROW("postern-tenant",           FORM_TEXT,    tenant),
	ROW("postern-request-id",       FORM_TEXT,    request_id),
	ROW("postern-received",         FORM_TIME,    received_ms),
	ROW("postern-version",          FORM_VERSION, version),
	ROW("postern-base",             FORM_LONG,    base),
	ROW("postern-key",              FORM_TEXT,    key_used),
	ROW("postern-digest",           FORM_DIGEST,  digest),
	ROW("postern-replay",           FORM_DIGEST,  replay),
	ROW(NAME_QUARANTINE,            FORM_TEXT,    quarantine),
	ROW(NAME_REDRIVE,               FORM_TEXT,    redrive),
	ROW("postern-refetch",          FORM_TEXT,    refetch),
	ROW("postern-gap-first",        FORM_TEXT,    gap_first),
	ROW("postern-gap-last",         FORM_TEXT,    gap_last),
	ROW("postern-attempt",          FORM_ATTEMPT, attempt),
	ROW(NAME_DEAD "reason",         FORM_DEAD,    dlq_reason),
	ROW(NAME_DEAD "route",          FORM_DEAD,    dlq_route),
	ROW(NAME_DEAD "attempts",       FORM_DEAD,    dlq_attempts),
	ROW(NAME_DEAD "error",          FORM_DEAD,    dlq_error),
	ROW(NAME_DEAD "offset",         FORM_DEAD,    dlq_offset),
	ROW(NAME_DEAD "first-failed",   FORM_DEAD,    dlq_first_failed),
	ROW(NAME_DEAD "last-failed",    FORM_DEAD,    dlq_last_failed),
};
/* clang-format on */
const size_t event_row_count = ARRAY_LEN(event_rows);
