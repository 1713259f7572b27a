/* recheck.h - may a request that was refused at the door be worked after all, and as what? */
#pragma once

#include "inspect.h"

#include "postern/event.h"

/* Is this one of the codes with which requests are refused at the door? */
bool recheck_is_refusal(enum err_code code);
/* The code with which a record was refused at the door; ERR_OK for one that was authentic. */
enum err_code recheck_refusal(const struct event *event);
/* A refused record's headers and key as its admission would have made them, with the keys as they
 * are now; freshness is judged as at its reception. Such a code, or ERR_DENIED, with what is still
 * wrong. */
enum err_code recheck_record(const struct config *config, const struct record *record,
	struct buf *headers, struct buf *key, struct err *err);
/* The same by its place in the quarantine; one that was authentic leaves both empty.
 * ERR_NOT_FOUND: retention has dropped the record. */
enum err_code recheck_quarantined(const struct inspect *in, const struct place *place,
	struct buf *headers, struct buf *key, struct err *err);
