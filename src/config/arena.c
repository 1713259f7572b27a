/* arena.c - the memory of one config: taken piece by piece, given back at once.
 *
 * A failure sticks: every later request of the same arena gives NULL too, and the one who builds
 * the config asks once, at the end, whether memory was enough. */
#include "config_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_SIZE KIB(16)
#define ALIGNMENT sizeof(max_align_t)

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, size;
	max_align_t bytes[];
};

static struct arena_chunk *chunk_add(struct arena *arena, size_t size)
{
	size_t room = size > CHUNK_SIZE ? size : CHUNK_SIZE;
	struct arena_chunk *chunk = calloc(1, sizeof(*chunk) + room);

	if (!chunk) {
		arena->failed = true;
		return NULL;
	}
	chunk->size = room;
	chunk->next = arena->chunks;
	arena->chunks = chunk;
	return chunk;
}

void *arena_take(struct arena *arena, size_t count, size_t size)
{
	struct arena_chunk *chunk = arena->chunks;
	size_t bytes;
	void *place;

	if (arena->failed || __builtin_mul_overflow(count, size, &bytes) ||
		bytes > SIZE_MAX - ALIGNMENT - sizeof(*chunk)) {
		arena->failed = true;
		return NULL;
	}
	bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	if (!chunk || chunk->size - chunk->used < bytes)
		chunk = chunk_add(arena, bytes);
	if (!chunk)
		return NULL;
	place = (char *)chunk->bytes + chunk->used;
	chunk->used += bytes;
	return place;
}

char *arena_copy(struct arena *arena, struct slice s)
{
	char *copy = arena_take(arena, s.len + 1, 1);

	if (copy && s.len > 0)
		memcpy(copy, s.data, s.len);
	return copy;
}

char *arena_format(struct arena *arena, const char *fmt, ...)
{
	va_list args;
	char *text = NULL, *copy = NULL;
	int len;

	va_start(args, fmt);
	len = vasprintf(&text, fmt, args);
	va_end(args);
	if (len < 0) {
		arena->failed = true;
		return NULL;
	}
	copy = arena_copy(arena, slice_str(text));
	free(text);
	return copy;
}

void arena_done(struct arena *arena)
{
	while (arena->chunks) {
		struct arena_chunk *chunk = arena->chunks;

		arena->chunks = chunk->next;
		free(chunk);
	}
}
