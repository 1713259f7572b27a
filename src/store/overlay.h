/* overlay.h - what was staged or applied and is not committed yet, in order, findable by key.
 *
 * Each change is a row of bytes in one log; a chain for each hash leads from the newest to the
 * oldest, so that dropping the newest ones needs no search. The first `applied` changes are
 * applied.
 *
 * Owns:    the bytes; what it gives out lives until the next change.
 * Threads: the owner. */
#pragma once

#include "park.h"

/* What a change is, and with it what its bytes are. */
enum change_kind {
	CHANGE_SEEN,    /* a journal item */
	CHANGE_VERSION, /* a journal item */
	CHANGE_PARK,    /* a journal item */
	CHANGE_UNPARK,  /* a journal item */
	CHANGE_OUT,     /* a journal item */
	CHANGE_OUTOK,   /* a journal item */
	CHANGE_TRY,     /* a journal item */
	CHANGE_ENTRY,   /* a row of an index of dead or quarantined records */
	CHANGE_ROUTE,   /* a journal item */
};
enum key_class { KEY_SEEN, KEY_VERSION, KEY_PARKED, KEY_OUT, KEY_TRY, KEY_ENTRY, KEY_ROUTE };

/* What a change is found by; the members that its class needs. */
struct change_key {
	enum key_class class;
	struct slice bytes; /* id16, or the subject */
	int64_t offset;     /* or the stream offset of an entry, or the number of a route */
	uint32_t n;         /* of an output; the target of an entry */
};
struct change {
	enum change_kind kind;
	uint32_t earlier; /* index + 1 of the next older one with this slot */
	uint64_t hash;
	int64_t offset; /* with n: of its key */
	uint32_t n;
	uint32_t at, len; /* the bytes, in the log */
	/* What it took out of the indexes in memory; freed when the change is committed. */
	struct park_node *was_parked;
	struct out_node *was_out;
	const char *was_name; /* lives as long as the store */
};
struct overlay {
	struct buf log;
	struct change *changes;
	size_t count, cap, applied;
	uint32_t *slots; /* index + 1 of the newest change */
	size_t slot_count;
	uint64_t first; /* the number, counted since the start, of changes[0]; begins at 1 */
	/* Of what was staged and is not applied, as it was given: to know the batch again. */
	uint32_t staged_crc, staged_items;
};
#define OVERLAY_MAX MIB(512)

void overlay_init(struct overlay *overlay);
void overlay_done(struct overlay *overlay);
/* Room for one more change of len bytes, so that adding it cannot fail. */
MUST_CHECK enum err_code overlay_reserve(struct overlay *overlay, size_t len, struct err *err);
/* The bytes are log[at .. log.len), which the caller has just written. */
struct change *overlay_add(
	struct overlay *overlay, enum change_kind kind, const struct change_key *key, size_t at);
/* The newest change with this key, or NULL. */
struct change *overlay_find(struct overlay *overlay, const struct change_key *key);
struct slice overlay_bytes(const struct overlay *overlay, const struct change *change);
/* Take the newest change out of the chains; its undo pointers are the caller's. */
struct change *overlay_pop(struct overlay *overlay);
/* Forget the first `count` changes, which are committed. */
void overlay_forget(struct overlay *overlay, size_t count);
/* The number of a change; greater is newer. Of applied ones: less than overlay_applied_to(). */
uint64_t overlay_applied_to(const struct overlay *overlay);
