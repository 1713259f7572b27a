/* event_priv.h - the one table of header names, and the writers of a block that its files share. */
#pragma once

#include "postern/event.h"

/* How the value of a header maps to the member of struct event at `offset`. */
enum header_form {
	FORM_SPECVERSION, /* always "1.0" */
	FORM_SOURCE,      /* "/tenant/source": written, never read */
	FORM_TEXT,
	FORM_LONG,    /* text of at most EVENT_ID_MAX bytes */
	FORM_TYPE,    /* FORM_LONG; the source's name stands for none */
	FORM_DIGEST,  /* 64 hexadecimal digits */
	FORM_ATTEMPT, /* 32 hexadecimal digits */
	FORM_TIME,    /* RFC 3339 with milliseconds */
	FORM_VERSION,
	FORM_DEAD, /* read here, written by event_dead_letter() alone */
};
struct header_row {
	const char *name;
	size_t name_len;
	enum header_form form;
	size_t offset;
};
extern const struct header_row event_rows[];
extern const size_t event_row_count;

#define NAME_QUARANTINE "postern-quarantine"
#define NAME_REDRIVE "postern-redrive"
#define NAME_KEPT "postern-h-"
#define NAME_DEAD "postern-dlq-"

/* Room that event_encode() leaves in a block, so that marks and a dead letter always fit in. */
#define MARKS_LEN_MAX KIB(8)
#define MARKS_COUNT_MAX 16

/* A block being written: starts at `start` of out, counts its headers. */
struct block {
	struct buf *out;
	size_t start, count;
};
MUST_CHECK enum err_code block_begin(struct block *block, struct buf *out, struct err *err);
MUST_CHECK enum err_code block_put(
	struct block *block, struct slice name, struct slice value, struct err *err);
/* Check both limits and fill in the count; on ERR_LIMIT out is as it was before block_begin(). */
MUST_CHECK enum err_code block_end(
	struct block *block, size_t max_count, size_t max_len, struct err *err);
/* Give back what was written since block_begin(). */
void block_undo(struct block *block);
/* ERR_OK when the block can be walked to its end and has as many headers as it says. */
MUST_CHECK enum err_code block_check(struct slice headers, struct err *err);
