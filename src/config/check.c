/* check.c - a tree against the option table: known names, types, limits; then the defaults, and the
 * values into the typed structs.
 *
 * Deliberately not here: what options mean together (source.c, route.c, limits.c). */
#include "check_priv.h"

#include <assert.h>

/* ---- names -------------------------------------------------------------------------------------
 */

/* Where people put a secret that must not be there. */
static const char *inline_hint(const char *pattern, const char *name)
{
	static const struct {
		const char *pattern, *names, *hint;
	} rows[] = {
		{ "/sources/*", " key secret token password signing_secret signing_key ",
			"write \"keys\": [{\"file\": \"keys/NAME.key\"}]" },
		{ "/sources/*/keys/*", " key value secret token password text inline data ",
			"write {\"file\": \"keys/NAME.key\"} or {\"env\": \"NAME\"}" },
		{ "/sources/*/secrets/*", " key value secret token password text inline data ",
			"write {\"file\": \"keys/NAME\"} or {\"env\": \"NAME\"}" },
		{ "/queue/properties/*", " key value secret token password text inline data ",
			"write {\"file\": \"keys/NAME\"} or {\"env\": \"NAME\"}" },
		{ "/routes/*/handler", " key secret token password ",
			"write \"sign_key\": {\"file\": \"keys/NAME.key\"}" },
		{ "/routes/*/handler/sign_key",
			" key value secret token password text inline data ",
			"write {\"file\": \"keys/NAME.key\"} or {\"env\": \"NAME\"}" },
		{ "/admin", " token password secret ",
			"write \"token_file\": \"keys/admin.token\"" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *at = strcmp(rows[i].pattern, pattern) == 0 && *name
					 ? strstr(rows[i].names, name)
					 : NULL;

		if (at && at[-1] == ' ' && at[strlen(name)] == ' ')
			return rows[i].hint;
	}
	return NULL;
}

static void reject_unknown(
	struct loader *l, const struct option_row *row, const struct node *member)
{
	const char *hint = inline_hint(row->option.pattern, member->name);
	char near[NEAREST_TEXT_MAX], name[80];

	if (hint) {
		problem(l, member, "a secret is never inline: %s", hint);
		return;
	}
	nearest_member(row, slice_str(member->name), near);
	text_printable(slice_str(member->name), name, sizeof(name));
	problem(l, member, "unknown member \"%s\"%s", name, near);
}

/* ---- objects and lists -------------------------------------------------------------------------
 */

static void check_value(struct loader *l, const struct node *node, const struct option_row *row);

/* An option of Kafka's beside files of this machine is a mistake: events would not go where it
 * says. One that merely does nothing on Kafka may stay, so that the other backend is one word away.
 */
static bool fits_backend(
	struct loader *l, const struct node *member, const struct config_option *option)
{
	if ((option->flags & OPTION_KAFKA) && l->on_embedded) {
		problem(l, member, "goes with \"backend\": \"kafka\"");
		return false;
	}
	if ((option->flags & OPTION_EMBEDDED) && l->on_kafka)
		caution(l, member,
			"does nothing on Kafka: there a topic's own settings say how much it "
			"keeps");
	return true;
}

static void check_object(struct loader *l, const struct node *object, const struct option_row *row)
{
	const struct option_row *child = NULL;

	for (const struct node *member = object->child; member; member = member->next) {
		const struct option_row *known = option_child(row, slice_str(member->name));

		if (!known)
			reject_unknown(l, row, member);
		else if (fits_backend(l, member, &known->option))
			check_value(l, member, known);
	}
	while ((child = option_next(row, child))) {
		if ((child->option.flags & OPTION_REQUIRED) &&
			!node_member(object, option_name(child)))
			problem(l, object, "needs \"%s\": %s", option_name(child),
				child->option.help);
	}
}

static void check_elements(
	struct loader *l, const struct node *parent, const struct option_row *element)
{
	for (const struct node *child = parent->child; child; child = child->next)
		check_value(l, child, element);
}

static void check_list(struct loader *l, const struct node *list, const struct option_row *row)
{
	if (list->type != NODE_ARRAY)
		wrong_type(l, list, "a list");
	else if (node_count(list) > (size_t)row->option.max)
		problem(l, list, "must have at most %lld elements", (long long)row->option.max);
	else
		check_elements(l, list, option_child(row, SLICE_EMPTY));
}

static void check_many(struct loader *l, const struct node *list, const struct option_row *row)
{
	if (!list->child)
		problem(l, list, "must not be empty");
	for (const struct node *child = list->child; child; child = child->next) {
		if (child->type == NODE_OBJECT)
			check_object(l, child, row);
		else
			wrong_type(l, child, "an object");
	}
}

static bool takes_members(enum option_type type)
{
	return type == OPTION_OBJECT || type == OPTION_MAP || type == OPTION_LIST;
}

static void check_value(struct loader *l, const struct node *node, const struct option_row *row)
{
	const struct config_option *option = &row->option;

	if (option->type == OPTION_SETTING && node->type == NODE_OBJECT)
		check_object(l, node, row);
	else if (!takes_members(option->type))
		check_scalar(l, node, option);
	else if ((option->flags & OPTION_SECRET) && node->type == NODE_STRING)
		problem(l, node,
			"a secret is never inline: write {\"file\": \"keys/NAME.key\"} or "
			"{\"env\": \"NAME\"}");
	else if (option->type == OPTION_LIST)
		check_list(l, node, row);
	else if ((option->flags & OPTION_MANY) && node->type == NODE_ARRAY)
		check_many(l, node, row);
	else if (node->type != NODE_OBJECT)
		wrong_type(l, node, "an object");
	else if (option->type == OPTION_MAP)
		check_elements(l, node, option_child(row, SLICE_EMPTY));
	else
		check_object(l, node, row);
}

/* ---- defaults ----------------------------------------------------------------------------------
 */

static struct node *take_member(struct node *object, const char *name)
{
	for (struct node **at = &object->child; *at; at = &(*at)->next) {
		struct node *found = *at;

		if (strcmp(found->name, name) == 0) {
			*at = found->next;
			found->next = NULL;
			return found;
		}
	}
	return NULL;
}

static struct node *make_default(
	struct loader *l, const struct node *parent, const struct option_row *row)
{
	const struct config_option *option = &row->option;
	struct parse_place place = { .name = option_name(row) };
	struct node *node;
	bool bad = false;

	if ((option->flags & OPTION_KAFKA && !l->on_kafka) ||
		(option->flags & OPTION_EMBEDDED && l->on_kafka))
		return NULL;
	if (!option->fallback && (option->type != OPTION_OBJECT ||
					 (option->flags & (OPTION_OPTIONAL | OPTION_REQUIRED))))
		return NULL;
	place.pointer = pointer_join(l->arena, parent->pointer, place.name);
	if (!place.pointer)
		return NULL;
	if (option->type == OPTION_OBJECT)
		return node_new(l->arena, NODE_OBJECT, place.name, place.pointer);
	node = parse_value(l->arena, slice_str(option->fallback), &place, &bad);
	if (bad)
		l->arena->failed = true; /* the table's own text is good: memory ran out */
	return node;
}

static void resolve_path(struct loader *l, struct node *node)
{
	const char *path;

	if (node->type != NODE_STRING || !node->string || node->string[0] == '/')
		return;
	path = arena_format(l->arena, "%s/%s", l->config->dir, node->string);
	if (!path)
		return;
	node->string = path;
	node->length = strlen(path);
}

static void fill(struct loader *l, struct node *node, const struct option_row *row);

/* In table order, so that what is shown reads like the manual. Unknown members stay behind. */
static void fill_object(struct loader *l, struct node *object, const struct option_row *row)
{
	struct node *done = NULL, **end = &done;
	const struct option_row *child = NULL;

	while ((child = option_next(row, child))) {
		struct node *member = take_member(object, option_name(child));

		if (!member)
			member = make_default(l, object, child);
		if (!member)
			continue;
		fill(l, member, child);
		*end = member;
		end = &member->next;
	}
	*end = object->child;
	object->child = done;
}

static void fill(struct loader *l, struct node *node, const struct option_row *row)
{
	const struct config_option *option = &row->option;

	if (option->type == OPTION_PATH) {
		resolve_path(l, node);
	} else if ((option->type == OPTION_OBJECT || option->type == OPTION_SETTING) &&
		   node->type == NODE_OBJECT) {
		fill_object(l, node, row);
	} else if (option->type == OPTION_MAP || option->type == OPTION_LIST) {
		for (struct node *child = node->child; child; child = child->next)
			fill(l, child, option_child(row, SLICE_EMPTY));
	}
}

void check_tree(struct loader *l, struct node *root)
{
	check_object(l, root, option_root());
	fill(l, root, option_root());
}

void set_default(struct loader *l, struct node *object, const char *name, int64_t value)
{
	struct node *node;
	const char *pointer;

	if (node_member(object, name))
		return;
	pointer = pointer_join(l->arena, object->pointer, name);
	node = pointer ? node_new(l->arena, NODE_INTEGER, name, pointer) : NULL;
	if (!node)
		return;
	node->integer = value;
	node_append(object, node);
}

bool is_given(const struct loader *l, const struct node *node)
{
	return node->line > 0 || override_of(l->overrides, l->override_count, node->pointer);
}

/* ---- into the structs --------------------------------------------------------------------------
 */

static int word_index(const char *const *words, struct slice text)
{
	int index = 0;

	while (words[index] && !slice_eq_str(text, words[index]))
		index++;
	return index;
}

static void store_text(const struct config_option *option, const struct node *node, void *place)
{
	int64_t ms;
	int index;

	if (node->type != NODE_STRING)
		return;
	if (option->type == OPTION_TIME) {
		if (text_rfc3339(node_text(node), &ms, NULL) == ERR_OK)
			memcpy(place, &ms, sizeof(ms));
	} else if (option->type == OPTION_WORD && !(option->flags & OPTION_WORD_TEXT)) {
		index = word_index(option->words, node_text(node));
		static_assert(sizeof(enum version_rule) == sizeof(index), "an enum is an int");
		memcpy(place, &index, sizeof(index));
	} else {
		memcpy(place, &node->string, sizeof(node->string));
	}
}

static void store_value(const struct config_option *option, const struct node *node, void *place)
{
	double number = node->type == NODE_INTEGER ? (double)node->integer : node->real;

	if (option->type == OPTION_INTEGER && node->type == NODE_INTEGER)
		memcpy(place, &node->integer, sizeof(node->integer));
	else if (option->type == OPTION_NUMBER)
		memcpy(place, &number, sizeof(number));
	else if (option->type == OPTION_BOOL && node->type == NODE_BOOL)
		memcpy(place, &node->boolean, sizeof(node->boolean));
	else
		store_text(option, node, place);
}

static void store_rows(const struct node *object, const struct option_row *row, void *base)
{
	const struct option_row *child = NULL;

	while ((child = option_next(row, child))) {
		const struct node *member = node_member(object, option_name(child));

		if (!member)
			continue;
		if (child->stored)
			store_value(&child->option, member, (char *)base + child->offset);
		else if (child->option.type == OPTION_OBJECT)
			store_rows(member, child, base);
	}
}

void store_members(struct loader *l, const struct node *object, void *base)
{
	(void)l;
	store_rows(object, option_at(object->pointer), base);
}
