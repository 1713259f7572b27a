/* source_scheme.c - a source's scheme: its preset, what that extends, and its own members, merged
 * into one tree (RFC 7396).
 *
 * Deliberately not here: what the tree means; the scheme room compiles it. */
#include "config_priv.h"

#define EXTENDS_MAX 8

/* ---- presets -----------------------------------------------------------------------------------
 */

static const char *preset_names(struct loader *l, struct slice given)
{
	struct nearest nearest = NEAREST(given);
	const char *list = "; there are", *between = " ";

	for (size_t i = 0; i < preset_count(); i++) {
		nearest_try(&nearest, preset_name(i));
		list = arena_format(l->arena, "%s%s%s", list, between, preset_name(i));
		if (!list)
			return "";
		between = ", ";
	}
	if (nearest.best)
		list = arena_format(l->arena, "; did you mean \"%s\"?", nearest.best);
	return list ? list : "";
}

/* The preset's tree with what it extends merged in, or NULL after a problem. */
static const struct node *preset_tree(
	struct loader *l, const struct node *at, const char *name, unsigned depth)
{
	struct parse_place place = { .pointer = arena_format(l->arena, "preset:%s", name) };
	struct slice text = preset_text(name);
	const struct node *tree, *extends, *base;
	bool bad = false;

	if (!text.data || depth > EXTENDS_MAX) {
		problem(l, at, "unknown preset%s", preset_names(l, slice_str(name)));
		return NULL;
	}
	tree = place.pointer ? parse_value(l->arena, text, &place, &bad) : NULL;
	if (bad)
		l->arena->failed = true; /* the text is our own and good: memory ran out */
	extends = node_member(tree, "extends");
	if (!extends || extends->type != NODE_STRING)
		return tree;
	base = preset_tree(l, at, extends->string, depth + 1);
	return base ? node_merge(l->arena, base, tree) : NULL;
}

/* ---- streams -----------------------------------------------------------------------------------
 */

/* Who may write to the topic is its ACL's business. The mapping that is there without another one:
 * CloudEvents in binary mode, and what postern adds to it. */
static const struct node *stream_tree(struct loader *l)
{
	static const char text[] =
		"{\"verify\": {\"alg\": \"none\"}, \"id\": \"header:ce_id\","
		"\"type\": \"header:ce_type\", \"entity\": \"header:ce_subject\","
		"\"version\": \"header:postern-version\"}";
	struct parse_place place = { .pointer = "stream" };
	bool bad = false;
	const struct node *tree = parse_value(l->arena, slice_str(text), &place, &bad);

	if (bad)
		l->arena->failed = true; /* the text is our own and good: memory ran out */
	return tree;
}

/* ---- the merged scheme -------------------------------------------------------------------------
 */

/* The members of a source that belong to its scheme. */
static struct node *own_scheme(struct loader *l, const struct node *source)
{
	struct node *own = node_copy(l->arena, source);

	if (!own)
		return NULL;
	own->child = NULL;
	for (const struct node *member = source->child; member; member = member->next) {
		const struct option_row *row = option_at(member->pointer);
		struct node *copy;

		if (!row || strcmp(member->name, "extends") == 0)
			continue;
		if (row->option.type != OPTION_SCHEME && strcmp(member->name, "verify") != 0)
			continue;
		copy = node_copy(l->arena, member);
		if (copy)
			node_append(own, copy);
	}
	return own;
}

static struct node *with_member(
	struct loader *l, const struct node *verify, const struct node *value)
{
	struct node *patch = node_copy(l->arena, verify), *copy = node_copy(l->arena, value);

	if (!patch || !copy)
		return NULL;
	patch->child = NULL;
	node_append(patch, copy);
	return node_merge(l->arena, verify, patch);
}

/* A source's own tolerance takes the place of the one in verify, in each where there are several.
 */
static void set_tolerance(struct loader *l, struct node *scheme, const struct node *value)
{
	for (struct node **at = &scheme->child; value && *at; at = &(*at)->next) {
		struct node *next = (*at)->next, *changed = NULL;

		if (strcmp((*at)->name, "verify") != 0)
			continue;
		if ((*at)->type == NODE_OBJECT) {
			changed = with_member(l, *at, value);
		} else if ((*at)->type == NODE_ARRAY) {
			changed = node_copy(l->arena, *at);
			if (changed)
				changed->child = NULL;
			for (struct node *one = (*at)->child; changed && one; one = one->next) {
				struct node *copy = with_member(l, one, value);

				if (copy)
					node_append(changed, copy);
			}
		}
		if (!changed)
			return;
		changed->next = next;
		*at = changed;
	}
}

const struct node *merge_scheme(struct loader *l, const struct node *source)
{
	const struct node *preset = node_member(source, "preset"), *base = NULL;
	const struct node *extends = node_member(source, "extends");
	struct node *own, *scheme;

	if (preset && extends)
		problem(l, extends, "must not stand beside \"preset\"");
	if (extends && extends->type != NODE_STRING) {
		problem(l, extends, "must be the name of a preset");
		return NULL;
	}
	if (!preset)
		preset = extends;
	if (preset) {
		base = preset_tree(l, preset, preset->string, 0);
		if (!base)
			return NULL;
	}
	if (node_member(source, "stream")) {
		base = stream_tree(l);
		if (!base)
			return NULL;
	}
	own = own_scheme(l, source);
	scheme = own ? node_merge(l->arena, base, own) : NULL;
	if (!scheme)
		return NULL;
	set_tolerance(l, scheme, node_member(source, "tolerance"));
	set_tolerance(l, scheme, node_member(source, "future_tolerance"));
	return scheme;
}
