/* json_names.c - the members seen so far in one scan, so that a duplicate is found at once.
 *
 * An open-addressing table of (object number, name). It lives in thread-local storage, is never
 * cleared, and costs no allocation for the bodies that senders really send: object numbers rise
 * from scan to scan, so that what an earlier scan left behind reads as empty. A text with more
 * members gets a larger table from the heap.
 *
 * The hash is keyed with a random number, so that nobody can choose names that collide.
 * Deliberately not here: what stands behind a name. */
#include "base_priv.h"
#include "json_priv.h"

#include <assert.h>
#include <stdlib.h>

#define SLOTS_FIRST 64
#define SLOTS_LOCAL 1024

struct slot {
	const uint8_t *name;
	uint32_t len;
	uint32_t hash;
	uint32_t object; /* with the flag of an escaped name in the lowest bit */
};

struct json_seen {
	struct slot *slots;
	size_t mask, used;
	uint32_t first_object, next_object;
	bool on_heap;
};

/* One scan at a time runs on a thread, and it calls nobody back. */
static _Thread_local struct slot local[SLOTS_LOCAL];
static _Thread_local struct json_seen local_seen = { .next_object = 1 };

struct json_seen *json_seen_begin(size_t text_len)
{
	struct json_seen *seen = &local_seen;
	size_t slots = SLOTS_FIRST;

	hash_choose_key();
	/* Every scan counts at most JSON_STRUCTURE_MAX objects; long before the numbers run out
	 * they start again over a clean table. */
	if (seen->next_object > UINT32_MAX / 4) {
		memset(local, 0, sizeof(local));
		seen->next_object = 1;
	}
	while (slots < SLOTS_LOCAL && slots < text_len / 8)
		slots *= 2;
	seen->slots = local;
	seen->mask = slots - 1;
	seen->used = 0;
	seen->first_object = seen->next_object;
	seen->on_heap = false;
	return seen;
}

void json_seen_end(struct json_seen *seen)
{
	if (seen->on_heap)
		free(seen->slots);
	seen->slots = NULL;
}

uint32_t json_seen_object(struct json_seen *seen)
{
	return seen->next_object++;
}

static uint32_t hash_name(uint32_t object, const struct json_name *name)
{
	struct hashing h = hash_begin(object);
	struct slice raw = name->raw;
	uint8_t piece[4];

	if (!name->escaped)
		hash_whole(&h, raw.data, raw.len);
	while (name->escaped && raw.len > 0) {
		size_t len = json_unescape(&raw, piece);

		for (size_t i = 0; i < len; i++)
			hash_byte(&h, piece[i]);
	}
	return (uint32_t)hash_end(&h);
}

/* One character of a name. Without escapes a backslash is a character too: the names of pointers
 * come decoded. */
static size_t next_character(struct json_name *name, uint8_t out[4])
{
	if (name->escaped)
		return json_unescape(&name->raw, out);
	out[0] = name->raw.data[0];
	name->raw = slice_sub(name->raw, 1, name->raw.len);
	return 1;
}

/* Bytes that were decoded and not yet compared. */
struct decoding {
	struct json_name name;
	uint8_t piece[4];
	size_t at, len;
};

static int next_byte(struct decoding *d)
{
	if (d->at == d->len) {
		if (d->name.raw.len == 0)
			return -1;
		d->len = next_character(&d->name, d->piece);
		d->at = 0;
	}
	return d->piece[d->at++];
}

bool json_name_eq(const struct json_name *a, const struct json_name *b)
{
	struct decoding x = { .name = *a }, y = { .name = *b };
	int byte;

	do {
		byte = next_byte(&x);
		if (byte != next_byte(&y))
			return false;
	} while (byte >= 0);
	return true;
}

static bool is_empty(const struct json_seen *seen, const struct slot *slot)
{
	return slot->object >> 1 < seen->first_object;
}

/* Both hashes are the same already. */
static bool is_same(const struct slot *slot, uint32_t object, const struct json_name *name)
{
	struct json_name there = { { slot->name, slot->len }, slot->object & 1 };

	return slot->object >> 1 == object && json_names_same(&there, name);
}

/* The slot that holds the name, or the empty one where it belongs. */
static struct slot *find_slot(
	const struct json_seen *seen, uint32_t hash, uint32_t object, const struct json_name *name)
{
	struct slot *slot = &seen->slots[hash & seen->mask];

	while (!is_empty(seen, slot) && !(slot->hash == hash && is_same(slot, object, name)))
		slot = slot == &seen->slots[seen->mask] ? seen->slots : slot + 1;
	return slot;
}

static bool grow(struct json_seen *seen)
{
	struct json_seen larger = *seen;

	larger.mask = (seen->mask + 1) * 4 - 1;
	larger.slots = calloc(larger.mask + 1, sizeof(*larger.slots));
	larger.on_heap = true;
	if (!larger.slots)
		return false;
	for (size_t i = 0; i <= seen->mask; i++) {
		const struct slot *old = &seen->slots[i];
		struct json_name name = { { old->name, old->len }, old->object & 1 };

		if (!is_empty(seen, old))
			*find_slot(&larger, old->hash, old->object >> 1, &name) = *old;
	}
	json_seen_end(seen);
	*seen = larger;
	return true;
}

enum json_seen_result json_seen_add(
	struct json_seen *seen, uint32_t object, const struct json_name *name)
{
	uint32_t hash = hash_name(object, name);
	struct slot *slot;

	assert(name->raw.len <= JSON_TEXT_MAX);
	if (seen->used * 2 > seen->mask && !grow(seen))
		return JSON_SEEN_NOMEM;
	slot = find_slot(seen, hash, object, name);
	if (!is_empty(seen, slot))
		return JSON_SEEN_DUPLICATE;
	slot->name = name->raw.data;
	slot->len = (uint32_t)name->raw.len;
	slot->hash = hash;
	slot->object = object << 1 | name->escaped;
	seen->used++;
	return JSON_SEEN_NEW;
}
