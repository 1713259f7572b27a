/* node.c - JSON trees: looking into them, building, merging (RFC 7396), writing.
 *
 * Deliberately not here: parsing (parse.c), and what a member means (options.c). */
#include "config_priv.h"

#include "postern/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const struct node *node_member(const struct node *object, const char *name)
{
	return node_find(object, slice_str(name));
}

const struct node *node_find(const struct node *object, struct slice name)
{
	if (!object || object->type != NODE_OBJECT)
		return NULL;
	for (const struct node *child = object->child; child; child = child->next) {
		if (slice_eq_str(name, child->name))
			return child;
	}
	return NULL;
}

const struct node *node_element(const struct node *array, struct slice index)
{
	const struct node *child;
	uint64_t number;

	if (!array || array->type != NODE_ARRAY || text_u64(index, &number, NULL) != ERR_OK)
		return NULL;
	child = array->child;
	while (child && number-- > 0)
		child = child->next;
	return child;
}

size_t node_count(const struct node *parent)
{
	size_t count = 0;

	if (!parent)
		return 0;
	for (const struct node *child = parent->child; child; child = child->next)
		count++;
	return count;
}

struct slice node_text(const struct node *node)
{
	return (struct slice){ (const uint8_t *)node->string, node->length };
}

struct node *node_new(
	struct arena *arena, enum node_type type, const char *name, const char *pointer)
{
	struct node *node = arena_take(arena, 1, sizeof(*node));

	if (!node)
		return NULL;
	node->type = type;
	node->name = name;
	node->pointer = pointer;
	return node;
}

void node_append(struct node *parent, struct node *child)
{
	struct node **end = &parent->child;

	while (*end)
		end = &(*end)->next;
	*end = child;
}

struct node *node_copy(struct arena *arena, const struct node *node)
{
	struct node *copy = node_new(arena, node->type, node->name, node->pointer);

	if (!copy)
		return NULL;
	*copy = *node;
	copy->next = NULL;
	return copy;
}

/* One member of the base: as it is, merged with the patch's, or (null in the patch) gone. */
static struct node *merge_member(
	struct arena *arena, const struct node *base, const struct node *patch)
{
	if (!patch)
		return node_copy(arena, base);
	return patch->type == NODE_NULL ? NULL : node_merge(arena, base, patch);
}

struct node *node_merge(struct arena *arena, const struct node *base, const struct node *patch)
{
	struct node *merged = node_copy(arena, patch), *child;

	if (!merged || patch->type != NODE_OBJECT)
		return merged;
	merged->child = NULL;
	if (base && base->type == NODE_OBJECT) {
		for (const struct node *old = base->child; old; old = old->next) {
			child = merge_member(arena, old, node_member(patch, old->name));
			if (child)
				node_append(merged, child);
		}
	}
	for (const struct node *added = patch->child; added; added = added->next) {
		if (added->type == NODE_NULL || node_member(base, added->name))
			continue;
		child = node_merge(arena, NULL, added);
		if (child)
			node_append(merged, child);
	}
	return merged;
}

bool node_same(const struct node *a, const struct node *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case NODE_NULL: return true;
	case NODE_BOOL: return a->boolean == b->boolean;
	case NODE_INTEGER: return a->integer == b->integer;
	case NODE_REAL: return !islessgreater(a->real, b->real);
	case NODE_STRING: return slice_eq(node_text(a), node_text(b));
	case NODE_ARRAY:
	case NODE_OBJECT: break;
	}
	a = a->child;
	b = b->child;
	while (a && b && node_same(a, b)) {
		if ((a->name || b->name) && (!a->name || !b->name || strcmp(a->name, b->name) != 0))
			return false;
		a = a->next;
		b = b->next;
	}
	return !a && !b;
}

/* The shortest of the usual forms that reads back as the same number, marked as a real. */
static enum err_code write_real(struct buf *out, double real, struct err *err)
{
	char text[40];

	(void)snprintf(text, sizeof(text), "%.15g", real);
	if (islessgreater(strtod(text, NULL), real))
		(void)snprintf(text, sizeof(text), "%.17g", real);
	if (!strpbrk(text, ".eE"))
		return buf_putf(out, err, "%s.0", text);
	return buf_put_str(out, text, err);
}

static enum err_code new_line(struct buf *out, int indent, struct err *err)
{
	return indent < 0 ? ERR_OK : buf_putf(out, err, "\n%*s", indent, "");
}

static enum err_code write_children(
	struct buf *out, const struct node *node, int indent, struct err *err)
{
	const int inner = indent < 0 ? -1 : indent + 2;
	enum err_code rc = ERR_OK;

	for (const struct node *child = node->child; rc == ERR_OK && child; child = child->next) {
		if (child != node->child)
			rc = buf_put_u8(out, ',', err);
		if (rc == ERR_OK)
			rc = new_line(out, inner, err);
		if (rc == ERR_OK && child->name) {
			rc = json_put_string(out, slice_str(child->name), err);
			if (rc == ERR_OK)
				rc = buf_put_str(out, indent < 0 ? ":" : ": ", err);
		}
		if (rc == ERR_OK)
			rc = node_write(out, child, inner, err);
	}
	return rc == ERR_OK ? new_line(out, indent, err) : rc;
}

enum err_code node_write(struct buf *out, const struct node *node, int indent, struct err *err)
{
	const bool array = node->type == NODE_ARRAY;
	enum err_code rc;

	switch (node->type) {
	case NODE_NULL: return buf_put_str(out, "null", err);
	case NODE_BOOL: return buf_put_str(out, node->boolean ? "true" : "false", err);
	case NODE_INTEGER: return buf_putf(out, err, "%lld", (long long)node->integer);
	case NODE_REAL: return write_real(out, node->real, err);
	case NODE_STRING: return json_put_string(out, node_text(node), err);
	case NODE_ARRAY:
	case NODE_OBJECT: break;
	}
	if (!node->child)
		return buf_put_str(out, array ? "[]" : "{}", err);
	rc = buf_put_u8(out, array ? '[' : '{', err);
	if (rc == ERR_OK)
		rc = write_children(out, node, indent, err);
	return rc == ERR_OK ? buf_put_u8(out, array ? ']' : '}', err) : rc;
}
