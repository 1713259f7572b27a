/* decide.c - what becomes of an event.
 *
 * The meaning of contract section 5, steps 0 to 2, and of the crash rule in step 5, as functions of
 * facts. Deliberately not here: gathering the facts (intake.c, turn.c) and acting on the verdict
 * (end.c). */
#include "decide.h"

#include <string.h>

static struct verdict verdict(enum action action, enum err_code code)
{
	return (struct verdict){ .action = action, .code = code };
}

/* A name that this build does not know still quarantines: the record says that it is unusable. */
static enum err_code quarantine_code(struct slice name)
{
	const enum err_code code = err_by_name((const char *)name.data, name.len);

	return code < ERR_CODES ? code : ERR_UNREADABLE_RECORD;
}

static struct verdict known_identity(const struct identity_facts *f)
{
	struct verdict v = verdict(ACTION_DUPLICATE, ERR_OK);

	v.reused = memcmp(f->known->digest8, f->digest8, sizeof(f->known->digest8)) != 0;
	if (v.reused) {
		v.code = ERR_ID_REUSED;
		if (f->on_reuse == ON_REUSE_QUARANTINE)
			v.action = ACTION_QUARANTINE;
	}
	return v;
}

struct verdict worker_decide_identity(const struct identity_facts *f)
{
	/* The ledger knows it from this very record: its outcome was committed ahead of the
	 * position. */
	if (f->known && f->known->offset == f->offset)
		return verdict(ACTION_SKIP, ERR_OK);
	if (f->event->quarantine.len > 0)
		return verdict(ACTION_QUARANTINE, quarantine_code(f->event->quarantine));
	if (f->known)
		return known_identity(f);
	if (f->replay && f->replay->offset != f->offset && f->on_replay == ON_REPLAY_QUARANTINE)
		return verdict(ACTION_QUARANTINE, ERR_REPLAY_DETECTED);
	return verdict(ACTION_RUN, ERR_OK);
}

static struct verdict stale_unless(bool fine)
{
	return fine ? verdict(ACTION_RUN, ERR_OK) : verdict(ACTION_STALE, ERR_STALE_VERSION);
}

/* Exactly one more. What is missing in between may still come. */
static struct verdict rule_next(const struct version_facts *f)
{
	if (f->version.value <= f->stored->value)
		return verdict(ACTION_STALE, ERR_STALE_VERSION);
	if (f->version.value - 1 == f->stored->value)
		return verdict(ACTION_RUN, ERR_OK);
	if (f->gap_deadline_ms != 0 && f->now_ms >= f->gap_deadline_ms)
		return verdict(ACTION_DEAD, ERR_VERSION_GAP);
	return verdict(ACTION_GAP, ERR_VERSION_GAP);
}

/* The base may be written in another form than ours (a time with another zone): compare what it
 * means. */
static bool base_is(struct slice base, struct version stored)
{
	struct version v;

	if (version_parse(base, &v, NULL) == ERR_OK)
		return v.kind == stored.kind && v.value == stored.value;
	return false;
}

struct verdict worker_decide_version(const struct version_facts *f)
{
	if (!f->has_entity || f->version.kind == VERSION_NONE)
		return verdict(ACTION_RUN, ERR_OK);
	/* The first version of an entity is taken as it is. */
	if (!f->stored || f->stored->kind == VERSION_NONE)
		return verdict(ACTION_RUN, ERR_OK);
	if (f->version.kind != f->stored->kind)
		return f->any_kind ? verdict(ACTION_RUN, ERR_OK)
				   : verdict(ACTION_QUARANTINE, ERR_VERSION_TYPE);
	switch (f->rule) {
	case RULE_NEWER: return stale_unless(f->version.value > f->stored->value);
	case RULE_NOT_OLDER: return stale_unless(f->version.value >= f->stored->value);
	case RULE_NEXT: return rule_next(f);
	case RULE_MATCH: return stale_unless(base_is(f->base, *f->stored));
	case RULE_NONE:
	default: return verdict(ACTION_RUN, ERR_OK);
	}
}

struct version worker_decide_after(
	enum version_rule rule, struct version event, const struct version *stored)
{
	if (event.kind == VERSION_NONE)
		return stored ? *stored : event;
	/* A route that does not look at versions must not turn them back for one that does. */
	if (rule == RULE_NONE && stored && stored->kind == event.kind &&
		stored->value > event.value)
		return *stored;
	return event;
}

struct verdict worker_decide_tries(unsigned tries)
{
	return tries >= TRIES_MAX ? verdict(ACTION_DEAD, ERR_CRASH_LOOP)
				  : verdict(ACTION_RUN, ERR_OK);
}
