/* parse.c - from text to a tree of nodes. The only file of the room that knows jansson.
 *
 * Deliberately not here: what any member means. */
#include "config_priv.h"

#include <jansson.h>
#include <stdlib.h>

struct builder {
	struct arena *arena;
	const unsigned *lines;
	size_t line_count, line_at;
};

const char *pointer_join(struct arena *arena, const char *parent, const char *name)
{
	size_t len = strlen(parent), room = len + 2 * strlen(name) + 2;
	char *pointer, *at;

	pointer = arena_take(arena, room, 1);
	if (!pointer)
		return NULL;
	memcpy(pointer, parent, len + 1);
	at = pointer + len;
	*at++ = '/';
	for (; *name; name++) {
		if (*name == '~' || *name == '/') {
			*at++ = '~';
			*at++ = *name == '~' ? '0' : '1';
		} else {
			*at++ = *name;
		}
	}
	return pointer;
}

static struct node *build(struct builder *b, json_t *value, const char *name, const char *pointer);

static void build_members(struct builder *b, json_t *object, struct node *parent)
{
	struct node **end = &parent->child;
	const char *key;
	json_t *value;

	/* jansson keeps the order of the text, and the lines are in that order. */
	json_object_foreach(object, key, value)
	{
		char *name = arena_copy(b->arena, slice_str(key));

		if (!name)
			return;
		*end = build(b, value, name, pointer_join(b->arena, parent->pointer, name));
		if (!*end)
			return;
		end = &(*end)->next;
	}
}

static void build_elements(struct builder *b, json_t *array, struct node *parent)
{
	struct node **end = &parent->child;

	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *pointer = arena_format(b->arena, "%s/%zu", parent->pointer, i);

		*end = build(b, json_array_get(array, i), NULL, pointer);
		if (!*end)
			return;
		end = &(*end)->next;
	}
}

static void build_scalar(struct builder *b, json_t *value, struct node *node)
{
	switch (json_typeof(value)) {
	case JSON_INTEGER:
		node->type = NODE_INTEGER;
		node->integer = json_integer_value(value);
		break;
	case JSON_REAL:
		node->type = NODE_REAL;
		node->real = json_real_value(value);
		break;
	case JSON_STRING:
		node->type = NODE_STRING;
		node->length = json_string_length(value);
		node->string = arena_copy(b->arena,
			(struct slice){ (const uint8_t *)json_string_value(value), node->length });
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		node->type = NODE_BOOL;
		node->boolean = json_is_true(value);
		break;
	case JSON_NULL:
	case JSON_OBJECT:
	case JSON_ARRAY: break;
	}
}

static struct node *build(struct builder *b, json_t *value, const char *name, const char *pointer)
{
	struct node *node;

	if (!pointer)
		return NULL;
	node = node_new(b->arena, NODE_NULL, name, pointer);
	if (!node)
		return NULL;
	if (b->line_at < b->line_count)
		node->line = b->lines[b->line_at++];
	if (json_is_object(value)) {
		node->type = NODE_OBJECT;
		build_members(b, value, node);
	} else if (json_is_array(value)) {
		node->type = NODE_ARRAY;
		build_elements(b, value, node);
	} else {
		build_scalar(b, value, node);
	}
	return node;
}

struct node *parse_value(
	struct arena *arena, struct slice text, const struct parse_place *place, bool *out_bad)
{
	struct builder b = { arena, place->lines, place->line_count, 0 };
	json_error_t why;
	json_t *value = json_loadb((const char *)text.data, text.len,
		JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
	struct node *node;

	*out_bad = !value;
	if (!value)
		return NULL;
	node = build(&b, value, place->name, place->pointer);
	json_decref(value);
	return node;
}

/* ---- the file ----------------------------------------------------------------------------------
 */

static void problem_in_text(struct loader *l, const char *pointer, const json_error_t *why)
{
	char text[200];

	l->errors++;
	text_printable(slice_str(why->text), text, sizeof(text));
	config_report_add(l->report, PROBLEM_ERROR, pointer,
		why->line > 0 ? (unsigned)why->line : 0, "%s", text);
}

static bool is_json(struct loader *l, struct slice text)
{
	json_error_t why;
	json_t *value = json_loadb(
		(const char *)text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
	bool object = json_is_object(value);

	if (!value) {
		if (json_error_code(&why) == json_error_out_of_memory)
			l->arena->failed = true;
		problem_in_text(l, "", &why);
	} else if (!object) {
		l->errors++;
		config_report_add(l->report, PROBLEM_ERROR, "", 1, "the whole must be an object");
	}
	json_decref(value);
	return object;
}

/* The text is JSON, but jansson would not take it: a member stands twice in its object. */
static void find_duplicate(struct loader *l, char *text, size_t len)
{
	struct buf pointer = BUF_INIT(KIB(64));
	json_error_t why;
	json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);

	if (value) {
		json_decref(value);
		return;
	}
	if (why.position < 0 ||
		scan_pointer_at(text, len, (size_t)why.position, &pointer, NULL) != ERR_OK)
		buf_reset(&pointer);
	problem_in_text(l, buf_str(&pointer), &why);
	buf_done(&pointer);
}

static struct node *parse_copy(struct loader *l, char *text, size_t len)
{
	struct parse_place place = { .pointer = "" };
	struct err why = ERR_INIT;
	unsigned *lines = NULL;
	struct node *root;
	bool bad;
	enum err_code rc = scan_lines(text, len, &lines, &place.line_count, &why);

	if (rc != ERR_OK) {
		l->errors++;
		config_report_add(l->report, PROBLEM_ERROR, "", 0, "%s", why.text);
		return NULL;
	}
	place.lines = lines;
	root = parse_value(l->arena, (struct slice){ (uint8_t *)text, len }, &place, &bad);
	if (bad)
		find_duplicate(l, text, len);
	free(lines);
	return root;
}

struct node *parse_file(struct loader *l, struct slice text)
{
	struct node *root = NULL;
	char *copy;

	/* jansson steps over a NUL behind a number, and the scan would not be in step with it. */
	if (slice_find(text, 0) < text.len) {
		l->errors++;
		config_report_add(l->report, PROBLEM_ERROR, "", 0, "must not hold a NUL byte");
		return NULL;
	}
	if (!is_json(l, text))
		return NULL;
	copy = slice_dup_str(text);
	if (copy)
		root = parse_copy(l, copy, text.len);
	else
		l->arena->failed = true;
	free(copy);
	return root;
}
