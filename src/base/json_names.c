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

static uint32_t hash_name(uint32_t object, struct json_name name)
{
	struct hashing h = hash_begin(object);
	uint8_t piece[4];

	if (!name.escaped)
		hash_whole(&h, name.raw.data, name.raw.len);
	while (name.escaped && name.raw.len > 0) {
		size_t len = json_unescape(&name.raw, piece);

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

bool json_name_eq(struct json_name a, struct json_name b)
{
	struct decoding x = { .name = a }, y = { .name = b };
	int byte;

	if (!a.escaped && !b.escaped)
		return slice_eq(a.raw, b.raw);
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

static bool is_same(const struct slot *slot, const struct slot *wanted)
{
	struct json_name a = { { slot->name, slot->len }, slot->object & 1 };
	struct json_name b = { { wanted->name, wanted->len }, wanted->object & 1 };

	return slot->hash == wanted->hash && slot->object >> 1 == wanted->object >> 1 &&
	       json_name_eq(a, b);
}

/* The slot that holds the wanted name, or the empty one where it belongs. */
static struct slot *find_slot(struct json_seen *seen, const struct slot *wanted)
{
	size_t at = wanted->hash & seen->mask;

	while (!is_empty(seen, &seen->slots[at]) && !is_same(&seen->slots[at], wanted))
		at = (at + 1) & seen->mask;
	return &seen->slots[at];
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
		if (!is_empty(seen, &seen->slots[i]))
			*find_slot(&larger, &seen->slots[i]) = seen->slots[i];
	}
	json_seen_end(seen);
	*seen = larger;
	return true;
}

enum json_seen_result json_seen_add(struct json_seen *seen, uint32_t object, struct json_name name)
{
	struct slot wanted = {
		.name = name.raw.data,
		.len = (uint32_t)name.raw.len,
		.hash = hash_name(object, name),
		.object = object << 1 | name.escaped,
	};
	struct slot *slot;

	assert(name.raw.len <= JSON_TEXT_MAX);
	if (seen->used * 2 > seen->mask && !grow(seen))
		return JSON_SEEN_NOMEM;
	slot = find_slot(seen, &wanted);
	if (!is_empty(seen, slot))
		return JSON_SEEN_DUPLICATE;
	*slot = wanted;
	seen->used++;
	return JSON_SEEN_NEW;
}
