/* tree.c - the ordered set. Deliberately not here: memory; nodes belong to their owners. */
#include "tree.h"

#include <assert.h>

static uint32_t size_of(const struct tree_node *node)
{
	return node ? node->size : 0;
}

static void measure(struct tree_node *node)
{
	node->size = 1 + size_of(node->left) + size_of(node->right);
}

/* Priorities only have to look random: a step of a multiplicative generator will do. */
static uint32_t next_priority(struct tree *tree)
{
	tree->seed = tree->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(tree->seed >> 32);
}

/* Everything before the key to *before, the rest to *after. */
static void split(struct tree *tree, struct tree_node *node, const void *key,
	struct tree_node **before, struct tree_node **after)
{
	if (!node) {
		*before = *after = NULL;
		return;
	}
	if (tree->order(key, node) > 0) {
		split(tree, node->right, key, &node->right, after);
		*before = node;
	} else {
		split(tree, node->left, key, before, &node->left);
		*after = node;
	}
	measure(node);
}

static struct tree_node *join(struct tree_node *before, struct tree_node *after)
{
	if (!before)
		return after;
	if (!after)
		return before;
	if (before->priority > after->priority) {
		before->right = join(before->right, after);
		measure(before);
		return before;
	}
	after->left = join(before, after->left);
	measure(after);
	return after;
}

void tree_insert(struct tree *tree, const void *key, struct tree_node *node)
{
	struct tree_node **at = &tree->root;

	*node = (struct tree_node){ .priority = next_priority(tree), .size = 1 };
	while (*at && (*at)->priority >= node->priority) {
		int order = tree->order(key, *at);

		assert(order != 0);
		(*at)->size++;
		at = order < 0 ? &(*at)->left : &(*at)->right;
	}
	split(tree, *at, key, &node->left, &node->right);
	measure(node);
	*at = node;
}

void tree_remove(struct tree *tree, const void *key)
{
	struct tree_node **at = &tree->root;

	for (;;) {
		int order;

		assert(*at);
		order = tree->order(key, *at);
		if (order == 0)
			break;
		(*at)->size--;
		at = order < 0 ? &(*at)->left : &(*at)->right;
	}
	*at = join((*at)->left, (*at)->right);
}

struct tree_node *tree_find(const struct tree *tree, const void *key)
{
	struct tree_node *node = tree_at_least(tree, key);

	return node && tree->order(key, node) == 0 ? node : NULL;
}

struct tree_node *tree_at_least(const struct tree *tree, const void *key)
{
	struct tree_node *node = tree->root, *best = NULL;

	while (node) {
		if (tree->order(key, node) <= 0) {
			best = node;
			node = node->left;
		} else {
			node = node->right;
		}
	}
	return best;
}

struct tree_node *tree_at_most(const struct tree *tree, const void *key)
{
	struct tree_node *node = tree->root, *best = NULL;

	while (node) {
		if (tree->order(key, node) >= 0) {
			best = node;
			node = node->right;
		} else {
			node = node->left;
		}
	}
	return best;
}

struct tree_node *tree_nth(const struct tree *tree, size_t n)
{
	struct tree_node *node = tree->root;

	while (node && size_of(node->left) != n) {
		if (n < size_of(node->left)) {
			node = node->left;
		} else {
			n -= size_of(node->left) + 1;
			node = node->right;
		}
	}
	return node;
}

size_t tree_size(const struct tree *tree)
{
	return size_of(tree->root);
}
