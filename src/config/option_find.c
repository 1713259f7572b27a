/* option_find.c - finding rows of the option table, and the name that was probably meant.
 *
 * The table is small and read at start and reload only: a walk over all of it is fast enough. */
#include "config_priv.h"

#include <stdio.h>

const struct option_row *option_root(void)
{
	return &option_rows[0];
}

const char *option_name(const struct option_row *row)
{
	const char *last = strrchr(row->option.pattern, '/');

	return last ? last + 1 : row->option.pattern;
}

static bool is_child(const struct option_row *parent, const struct option_row *row)
{
	size_t len = strlen(parent->option.pattern);
	const char *pattern = row->option.pattern;

	return strncmp(pattern, parent->option.pattern, len) == 0 && pattern[len] == '/' &&
	       !strchr(pattern + len + 1, '/');
}

const struct option_row *option_next(
	const struct option_row *parent, const struct option_row *after)
{
	const struct option_row *row = after ? after + 1 : parent + 1;

	for (; row < option_rows + option_row_count; row++) {
		if (is_child(parent, row))
			return row;
	}
	return NULL;
}

const struct option_row *option_child(const struct option_row *parent, struct slice name)
{
	bool any = parent->option.type == OPTION_MAP || parent->option.type == OPTION_LIST;
	const struct option_row *row = NULL;

	while ((row = option_next(parent, row))) {
		if (any || slice_eq_str(name, option_name(row)))
			return row;
	}
	return NULL;
}

bool option_is_open(const struct option_row *row)
{
	return row->option.type == OPTION_SCHEME || row->option.type == OPTION_LATER;
}

static bool is_index(struct slice s)
{
	uint64_t number;

	return text_u64(s, &number, NULL) == ERR_OK;
}

const struct option_row *option_at(const char *pointer)
{
	const struct option_row *row = option_root();
	struct slice rest = slice_str(pointer);

	while (row && rest.len > 0 && !option_is_open(row)) {
		struct slice name;

		if (rest.data[0] != '/')
			return NULL;
		rest = slice_sub(rest, 1, rest.len);
		name = slice_sub(rest, 0, slice_find(rest, '/'));
		rest = slice_sub(rest, name.len, rest.len);
		/* One of several objects that share a row. */
		if ((row->option.flags & OPTION_MANY) && is_index(name))
			continue;
		row = option_child(row, name);
	}
	return row;
}

const struct config_option *config_option_at(const char *pointer)
{
	const struct option_row *row = option_at(pointer);

	return row ? &row->option : NULL;
}

void nearest_try(struct nearest *nearest, const char *name)
{
	unsigned distance = text_distance(nearest->want, slice_str(name));

	/* A short name is near to everything: half of it at least must be right. */
	if (distance < nearest->distance && distance <= nearest->want.len / 2) {
		nearest->best = name;
		nearest->distance = distance;
	}
}

static void list_names(const struct option_row *row, char *out, size_t room)
{
	const struct option_row *child = NULL;
	size_t at = (size_t)snprintf(out, room, "; there are");
	const char *between = " ";

	while ((child = option_next(row, child)) && at < room) {
		if (child->option.type == OPTION_LATER)
			continue;
		at += (size_t)snprintf(out + at, room - at, "%s%s", between, option_name(child));
		between = ", ";
	}
}

void nearest_member(const struct option_row *row, struct slice want, char out[NEAREST_TEXT_MAX])
{
	const struct option_row *child = NULL;
	struct nearest nearest = NEAREST(want);

	while ((child = option_next(row, child)))
		nearest_try(&nearest, option_name(child));
	if (nearest.best)
		(void)snprintf(out, NEAREST_TEXT_MAX, "; did you mean \"%s\"?", nearest.best);
	else
		list_names(row, out, NEAREST_TEXT_MAX);
}
