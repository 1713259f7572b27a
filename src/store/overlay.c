/* overlay.c - the list of uncommitted changes and the chains through it.
 *
 * Deliberately not here: what a change means (fold.c), and the ordered views in memory (park.c,
 * outs.c). */
#include "overlay.h"

#include <assert.h>
#include <stdlib.h>

#define SLOTS_FIRST 1024
#define CHANGES_FIRST 512

void overlay_init(struct overlay *overlay)
{
	*overlay = (struct overlay){ .log = BUF_INIT(OVERLAY_MAX), .first = 1 };
}

void overlay_done(struct overlay *overlay)
{
	buf_done(&overlay->log);
	free(overlay->changes);
	free(overlay->slots);
	overlay_init(overlay);
}

static enum key_class class_of(enum change_kind kind)
{
	switch (kind) {
	case CHANGE_SEEN: return KEY_SEEN;
	case CHANGE_VERSION: return KEY_VERSION;
	case CHANGE_PARK:
	case CHANGE_UNPARK: return KEY_PARKED;
	case CHANGE_OUT:
	case CHANGE_OUTOK: return KEY_OUT;
	case CHANGE_TRY: return KEY_TRY;
	case CHANGE_ENTRY: return KEY_ENTRY;
	case CHANGE_ROUTE: return KEY_ROUTE;
	}
	return KEY_SEEN;
}

/* Numbers are spread by one multiplication; identities are uniform already, subjects come from
 * senders and get the keyed hash. */
static uint64_t hash_key(const struct change_key *key)
{
	uint64_t spread = ((uint64_t)key->offset * 31 + key->n) * UINT64_C(0x9E3779B97F4A7C15);
	uint64_t hash = spread ^ (uint64_t)key->class << 56;

	if (key->class == KEY_SEEN)
		return get_le64(key->bytes.data);
	if (key->bytes.len)
		hash ^= hash_bytes(key->bytes.data, key->bytes.len);
	return hash ^ hash >> 32;
}

static void link_change(struct overlay *overlay, size_t index)
{
	struct change *change = &overlay->changes[index];
	uint32_t *slot = &overlay->slots[change->hash & (overlay->slot_count - 1)];

	change->earlier = *slot;
	*slot = (uint32_t)index + 1;
}

static void link_all(struct overlay *overlay)
{
	memset(overlay->slots, 0, overlay->slot_count * sizeof(*overlay->slots));
	for (size_t i = 0; i < overlay->count; i++)
		link_change(overlay, i);
}

static enum err_code more_slots(struct overlay *overlay, struct err *err)
{
	size_t count = overlay->slot_count ? overlay->slot_count * 2 : SLOTS_FIRST;
	uint32_t *slots = malloc(count * sizeof(*slots));

	if (!slots)
		return err_set(err, ERR_NOMEM, "no memory for %zu slots", count);
	free(overlay->slots);
	overlay->slots = slots;
	overlay->slot_count = count;
	link_all(overlay);
	return ERR_OK;
}

enum err_code overlay_reserve(struct overlay *overlay, size_t len, struct err *err)
{
	if (overlay->count == overlay->cap) {
		size_t cap = overlay->cap ? overlay->cap * 2 : CHANGES_FIRST;
		struct change *changes = realloc(overlay->changes, cap * sizeof(*changes));

		if (!changes)
			return err_set(err, ERR_NOMEM, "no memory for %zu changes", cap);
		overlay->changes = changes;
		overlay->cap = cap;
	}
	if (overlay->count >= overlay->slot_count) {
		enum err_code rc = more_slots(overlay, err);

		if (rc != ERR_OK)
			return rc;
	}
	return buf_reserve(&overlay->log, len, err);
}

struct change *overlay_add(
	struct overlay *overlay, enum change_kind kind, const struct change_key *key, size_t at)
{
	struct change *change = &overlay->changes[overlay->count];

	assert(overlay->count < overlay->cap && class_of(kind) == key->class);
	*change = (struct change){
		.kind = kind,
		.hash = hash_key(key),
		.offset = key->offset,
		.n = key->n,
		.at = (uint32_t)at,
		.len = (uint32_t)(overlay->log.len - at),
	};
	link_change(overlay, overlay->count++);
	return change;
}

struct slice overlay_bytes(const struct overlay *overlay, const struct change *change)
{
	return (struct slice){ overlay->log.data + change->at, change->len };
}

/* What was encoded here decodes here. */
static struct slice key_bytes(const struct overlay *overlay, const struct change *change)
{
	struct slice bytes = overlay_bytes(overlay, change);
	struct cursor cursor = CURSOR(slice_sub(bytes, 5, bytes.len)); /* behind type and length */

	switch (class_of(change->kind)) {
	case KEY_SEEN: return cursor_bytes(&cursor, ID16_LEN);
	case KEY_VERSION:
	case KEY_PARKED: return cursor_sized(&cursor);
	case KEY_OUT:
	case KEY_TRY:
	case KEY_ENTRY:
	case KEY_ROUTE: break;
	}
	return SLICE_EMPTY;
}

struct change *overlay_find(struct overlay *overlay, const struct change_key *key)
{
	uint64_t hash = hash_key(key);
	uint32_t at;

	if (overlay->count == 0)
		return NULL;
	at = overlay->slots[hash & (overlay->slot_count - 1)];
	while (at != 0) {
		struct change *change = &overlay->changes[at - 1];

		if (change->hash == hash && class_of(change->kind) == key->class &&
			change->offset == key->offset && change->n == key->n &&
			slice_eq(key_bytes(overlay, change), key->bytes))
			return change;
		at = change->earlier;
	}
	return NULL;
}

struct change *overlay_pop(struct overlay *overlay)
{
	struct change *change = &overlay->changes[--overlay->count];
	uint32_t *slot = &overlay->slots[change->hash & (overlay->slot_count - 1)];

	assert(overlay->count >= overlay->applied && *slot == overlay->count + 1);
	*slot = change->earlier;
	overlay->log.len = change->at;
	return change;
}

void overlay_forget(struct overlay *overlay, size_t count)
{
	uint32_t from;

	assert(count <= overlay->applied);
	if (count == 0)
		return;
	from = count < overlay->count ? overlay->changes[count].at : (uint32_t)overlay->log.len;
	overlay->first += count;
	overlay->applied -= count;
	overlay->count -= count;
	memmove(overlay->changes, overlay->changes + count,
		overlay->count * sizeof(*overlay->changes));
	memmove(overlay->log.data, overlay->log.data + from, overlay->log.len - from);
	overlay->log.len -= from;
	for (size_t i = 0; i < overlay->count; i++)
		overlay->changes[i].at -= from;
	link_all(overlay);
}

uint64_t overlay_applied_to(const struct overlay *overlay)
{
	return overlay->first + overlay->applied;
}
