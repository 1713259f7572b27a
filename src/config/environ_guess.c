/* environ_guess.c - the variable that was probably meant, for a name that sets nothing.
 *
 * At each level the nearest name is taken, so that a slip of the hand is found at every one of
 * them. Deliberately not here: which names are right (environ.c). */
#include "config_priv.h"

#include <stdio.h>

struct guess {
	struct loader *l;
	const struct node *at; /* NULL where the file has nothing */
	const struct option_row *row;
	const char *pointer, *variable; /* of what was understood so far */
};

/* The nearest name below a guess. */
struct step {
	struct nearest nearest;
	size_t names; /* that were looked at */
	const struct node *at;
	const struct option_row *row;
	const char *name; /* NULL: none is near */
};

static const char *plain_name(struct loader *l, struct slice name)
{
	char *copy = arena_copy(l->arena, name);

	for (char *at = copy; at && *at; at++)
		*at = environ_plain(*at);
	return copy ? copy : "";
}

static void try_name(struct loader *l, struct step *best, const char *name, const struct node *at,
	const struct option_row *row)
{
	const unsigned before = best->nearest.distance;

	best->names++;
	nearest_try(&best->nearest, plain_name(l, slice_str(name)));
	if (best->nearest.distance == before)
		return;
	best->name = arena_copy(l->arena, slice_str(name));
	best->at = at;
	best->row = row;
}

static void try_elements(const struct guess *g, struct step *best, const struct option_row *row)
{
	size_t index = 0;

	for (const struct node *at = g->at ? g->at->child : NULL; at; at = at->next, index++) {
		char number[24];

		(void)snprintf(number, sizeof(number), "%zu", index);
		try_name(g->l, best, at->name ? at->name : number, at, row);
	}
}

static void find_step(const struct guess *g, struct slice want, struct step *out)
{
	const enum option_type type = g->row->option.type;
	const struct option_row *child = NULL;

	*out = (struct step){ .nearest = NEAREST(slice_str(plain_name(g->l, want))) };
	if (option_is_open(g->row) || (g->at && g->at->type == NODE_ARRAY && type == OPTION_OBJECT))
		try_elements(g, out, g->row);
	else if (type == OPTION_MAP || type == OPTION_LIST)
		try_elements(g, out, option_child(g->row, SLICE_EMPTY));
	else
		while ((child = option_next(g->row, child))) {
			const char *name = option_name(child);

			try_name(g->l, out, name, node_member(g->at, name), child);
		}
}

static void take_step(struct guess *g, const struct step *step)
{
	char *name = arena_copy(g->l->arena, slice_str(plain_name(g->l, slice_str(step->name))));

	for (char *at = name; at && *at; at++)
		if (*at >= 'a' && *at <= 'z')
			*at = (char)(*at - ('a' - 'A'));
	g->at = step->at;
	g->row = step->row;
	g->pointer = pointer_join(g->l->arena, g->pointer, step->name);
	g->variable = arena_format(g->l->arena, "%s__%s", g->variable, name ? name : "");
}

static const char *names_text(const struct guess *g, struct slice want)
{
	char near[NEAREST_TEXT_MAX];
	const char *text;

	if (g->row->option.type != OPTION_OBJECT)
		return "no such option, or no such source or route in the file";
	nearest_member(g->row, want, near);
	text = arena_format(g->l->arena, "no such option%s", near);
	return text ? text : "no such option";
}

static bool takes_members(const struct option_row *row)
{
	const enum option_type type = row->option.type;

	return type == OPTION_OBJECT || type == OPTION_MAP || type == OPTION_LIST;
}

const char *environ_guess(struct loader *l, const struct node *root, struct slice rest)
{
	struct guess g = {
		.l = l, .at = root, .row = option_root(), .pointer = "", .variable = "POSTERN"
	};
	const char *text;

	if (rest.len == 0)
		return names_text(&g, rest);
	while (rest.len > 0 && g.pointer && g.variable) {
		struct slice want = slice_sub(rest, 0, slice_search(rest, SLICE_LIT("__")));
		struct step step;

		find_step(&g, want, &step);
		if (!step.name && (step.names > 0 || takes_members(g.row)))
			return names_text(&g, want);
		if (!step.name) /* a value: nothing stands below it */
			break;
		take_step(&g, &step);
		rest = slice_sub(rest, want.len + 2, rest.len);
	}
	text = arena_format(l->arena, "no such option; did you mean %s (%s)?",
		g.variable ? g.variable : "", g.pointer ? g.pointer : "");
	return text ? text : "no such option";
}
