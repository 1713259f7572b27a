/* tree.h - an ordered set of nodes that live inside their owners' structs.
 *
 * A treap: a binary search tree by key, a heap by random priority, so its depth is logarithmic
 * whatever the order of insertion. Each node knows the size of its subtree, for "the n-th".
 * Owns: nothing. The owner frees its struct after tree_remove(). */
#pragma once

#include "postern/defs.h"

struct tree_node {
	struct tree_node *left, *right;
	uint32_t priority;
	uint32_t size;
};
/* Order of a key (the owner's idea of one) against a node: negative, 0, positive. */
typedef int tree_order(const void *key, struct tree_node *node);
struct tree {
	struct tree_node *root;
	tree_order *order;
	uint64_t seed;
};
#define TREE_INIT(order_fn) ((struct tree){ .order = (order_fn), .seed = 1 })

/* The key must not be in the tree yet. */
void tree_insert(struct tree *tree, const void *key, struct tree_node *node);
/* The key must be in the tree. */
void tree_remove(struct tree *tree, const void *key);
struct tree_node *tree_find(const struct tree *tree, const void *key);
/* The first node not before the key; the last not after it; NULL: none. */
struct tree_node *tree_at_least(const struct tree *tree, const void *key);
struct tree_node *tree_at_most(const struct tree *tree, const void *key);
/* The n-th from 0, or NULL. */
struct tree_node *tree_nth(const struct tree *tree, size_t n);
size_t tree_size(const struct tree *tree);
