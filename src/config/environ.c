/* environ.c - overrides: POSTERN__A__B=value sets /a/b.
 *
 * A name of the environment loses case, and '-' and '.' are written '_', so it is matched the other
 * way round: every name that may stand at a level is written like that and compared. More than one
 * fit is an error, and so is none.
 *
 * Deliberately not here: whether the value is allowed; check.c judges it like one from the file.
 * What was probably meant by a name that fits nothing is in environ_guess.c. */
#include "config_priv.h"

#include <stdio.h>
#include <stdlib.h>

static const char prefix[] = "POSTERN__";

/* ---- finding the place -------------------------------------------------------------------------
 */

struct finder {
	struct loader *l;
	const char *first, *second; /* pointers that fit */
	const struct option_row *row;
};

char environ_plain(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c + ('a' - 'A'));
	return c == '-' || c == '.' ? '_' : c;
}

/* Does rest start with name, up to its end or to "__"? */
static bool starts_with_name(struct slice rest, const char *name, struct slice *out_behind)
{
	size_t len = strlen(name);

	if (len == 0 || rest.len < len)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (environ_plain((char)rest.data[i]) != environ_plain(name[i]))
			return false;
	}
	*out_behind = slice_sub(rest, len, rest.len);
	if (out_behind->len == 0)
		return true;
	if (out_behind->len < 3 || !slice_starts(*out_behind, SLICE_LIT("__")))
		return false;
	*out_behind = slice_sub(*out_behind, 2, out_behind->len);
	return true;
}

static void find_below(struct finder *f, const struct node *at, const char *pointer,
	const struct option_row *row, struct slice rest);

static void try_name(struct finder *f, const struct node *child, const char *parent,
	const char *name, const struct option_row *row, struct slice rest)
{
	struct slice behind;
	const char *pointer;

	if (!starts_with_name(rest, name, &behind))
		return;
	pointer = pointer_join(f->l->arena, parent, name);
	if (!pointer)
		return;
	if (behind.len > 0) {
		find_below(f, child, pointer, row, behind);
	} else if (!f->first) {
		f->first = pointer;
		f->row = row;
	} else if (strcmp(f->first, pointer) != 0) {
		f->second = pointer;
	}
}

static void try_elements(struct finder *f, const struct node *at, const char *pointer,
	const struct option_row *row, struct slice rest)
{
	size_t index = 0;

	for (const struct node *child = at->child; child; child = child->next, index++) {
		char number[24];

		(void)snprintf(number, sizeof(number), "%zu", index);
		try_name(f, child, pointer, child->name ? child->name : number, row, rest);
	}
}

/* Kafka's names have dots and no '_', so one that the file does not have can be told all the same.
 */
static void add_setting(
	struct finder *f, const char *parent, const struct option_row *row, struct slice rest)
{
	size_t len = slice_search(rest, SLICE_LIT("__"));
	char *name = arena_copy(f->l->arena, slice_sub(rest, 0, len));

	if (!name || len == 0)
		return;
	for (char *at = name; *at; at++)
		*at = environ_plain(*at) == '_' ? '.' : environ_plain(*at);
	try_name(f, NULL, parent, name, row, rest);
}

/* at is NULL where the file has nothing. */
static void find_below(struct finder *f, const struct node *at, const char *pointer,
	const struct option_row *row, struct slice rest)
{
	const enum option_type type = row->option.type;
	const struct option_row *child = NULL;

	if (option_is_open(row) ||
		((row->option.flags & OPTION_MANY) && at && at->type == NODE_ARRAY)) {
		if (at)
			try_elements(f, at, pointer, row, rest);
		return;
	}
	if (type == OPTION_MAP || type == OPTION_LIST) {
		const struct option_row *element = option_child(row, SLICE_EMPTY);

		if (at)
			try_elements(f, at, pointer, element, rest);
		if (!f->first && element->option.type == OPTION_SETTING)
			add_setting(f, pointer, element, rest);
		return;
	}
	while ((child = option_next(row, child))) {
		const char *name = option_name(child);

		try_name(f, node_member(at, name), pointer, name, child, rest);
	}
}

/* ---- setting the value -------------------------------------------------------------------------
 */

static bool wants_text(const struct option_row *row)
{
	switch (row->option.type) {
	case OPTION_TEXT:
	case OPTION_WORD:
	case OPTION_PATH:
	case OPTION_ADDRESS:
	case OPTION_URL:
	case OPTION_SETTING:
	case OPTION_TIME: return true;
	case OPTION_OBJECT:
	case OPTION_MAP:
	case OPTION_LIST:
	case OPTION_INTEGER:
	case OPTION_NUMBER:
	case OPTION_BOOL:
	case OPTION_SCHEME:
	case OPTION_LATER: break;
	}
	return false;
}

/* JSON if it parses; a text otherwise, and where only a text makes sense. */
static struct node *make_value(struct loader *l, const struct finder *f, const char *text)
{
	struct parse_place place = { .pointer = f->first };
	const char *name = strrchr(f->first, '/') + 1;
	struct node *node;
	bool bad;

	place.name = arena_copy(l->arena, slice_str(name));
	node = parse_value(l->arena, slice_str(text), &place, &bad);
	if (node && (node->type == NODE_STRING || !wants_text(f->row)))
		return node;
	if (node && node->type == NODE_OBJECT && f->row->option.type == OPTION_SETTING)
		return node; /* a reference */
	node = node_new(l->arena, NODE_STRING, place.name, place.pointer);
	if (!node)
		return NULL;
	node->string = arena_copy(l->arena, slice_str(text));
	node->length = strlen(text);
	return node->string ? node : NULL;
}

/* The slot of a child, at the end of the list where there is none of that name or index. */
static struct node **find_slot(struct node *parent, struct slice name)
{
	struct node **slot = &parent->child;
	uint64_t index = 0;

	if (parent->type == NODE_ARRAY && text_u64(name, &index, NULL) != ERR_OK)
		return NULL;
	while (*slot) {
		bool found = parent->type == NODE_ARRAY ? index-- == 0
							: slice_eq_str(name, (*slot)->name);

		if (found)
			return slot;
		slot = &(*slot)->next;
	}
	return parent->type == NODE_ARRAY ? NULL : slot;
}

static void put_value(struct loader *l, struct node *parent, struct node *value, struct slice path)
{
	while (parent && (parent->type == NODE_OBJECT || parent->type == NODE_ARRAY)) {
		struct slice name =
			slice_sub(path, 1, slice_find(slice_sub(path, 1, path.len), '/'));
		struct node **slot = find_slot(parent, name);
		const char *copy;

		path = slice_sub(path, 1 + name.len, path.len);
		if (!slot)
			return;
		if (path.len == 0) {
			if (parent->type == NODE_ARRAY)
				value->name = NULL;
			value->next = *slot ? (*slot)->next : NULL;
			*slot = value;
			return;
		}
		if (!*slot) {
			copy = arena_copy(l->arena, name);
			*slot = copy ? node_new(l->arena, NODE_OBJECT, copy,
					       pointer_join(l->arena, parent->pointer, copy))
				     : NULL;
		}
		parent = *slot;
	}
}

/* ---- the list of variables ---------------------------------------------------------------------
 */

static bool is_ours(const char *entry)
{
	return strchr(entry, '=') &&
	       slice_eq_nocase(slice_sub(slice_str(entry), 0, strlen(prefix)), slice_str(prefix));
}

/* Outer places first, so that an inner one changes what an outer one set; otherwise by name. */
static int by_depth(const void *a, const void *b)
{
	const char *x = *(const char *const *)a, *y = *(const char *const *)b;
	size_t depths[2] = { 0, 0 };

	for (const char *at = strstr(x, "__"); at; at = strstr(at + 2, "__"))
		depths[0] += at < strchr(x, '=');
	for (const char *at = strstr(y, "__"); at; at = strstr(at + 2, "__"))
		depths[1] += at < strchr(y, '=');
	if (depths[0] != depths[1])
		return depths[0] < depths[1] ? -1 : 1;
	return strcmp(x, y);
}

static void refuse(struct loader *l, const char *variable, const char *pointer, const char *why)
{
	const struct config_problem place = {
		.level = PROBLEM_ERROR, .pointer = pointer, .variable = variable
	};

	l->errors++;
	report_problem(l->report, &place, "%s in the environment: %s", variable, why);
}

static void note(struct loader *l, const char *variable, const char *pointer)
{
	for (size_t i = 0; i < l->override_count; i++) {
		if (strcmp(l->overrides[i].pointer, pointer) == 0)
			refuse(l, variable, pointer, "set by another variable too");
	}
	l->overrides[l->override_count++] = (struct override){ variable, pointer };
}

static void apply(struct loader *l, struct node *root, const char *entry)
{
	const char *equals = strchr(entry, '=');
	struct slice whole = { (const uint8_t *)entry, (size_t)(equals - entry) };
	struct slice rest = slice_sub(whole, strlen(prefix), whole.len);
	const char *variable = arena_copy(l->arena, whole);
	struct finder f = { .l = l };
	struct node *value;

	if (!variable)
		return;
	find_below(&f, root, "", option_root(), rest);
	if (!f.first || f.second) {
		refuse(l, variable, "",
			f.second ? arena_format(l->arena, "ambiguous: %s or %s", f.first, f.second)
				 : environ_guess(l, root, rest));
		return;
	}
	if (!text_is_utf8(slice_str(equals + 1))) {
		refuse(l, variable, f.first, "the value must be UTF-8");
		return;
	}
	note(l, variable, f.first);
	value = make_value(l, &f, equals + 1);
	if (value)
		put_value(l, root, value, slice_str(f.first));
}

void apply_environment(struct loader *l, struct node *root)
{
	size_t count = 0;
	const char **entries;

	for (size_t i = 0; l->environ_list && l->environ_list[i]; i++)
		count += is_ours(l->environ_list[i]);
	if (count == 0)
		return;
	entries = arena_take(l->arena, count, sizeof(*entries));
	l->overrides = arena_take(l->arena, count, sizeof(*l->overrides));
	if (!entries || !l->overrides)
		return;
	count = 0;
	for (size_t i = 0; l->environ_list[i]; i++) {
		if (is_ours(l->environ_list[i]))
			entries[count++] = l->environ_list[i];
	}
	qsort(entries, count, sizeof(*entries), by_depth);
	for (size_t i = 0; i < count; i++)
		apply(l, root, entries[i]);
}
