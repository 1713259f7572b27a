/* outs.c - the outputs that were decided and are not published yet, in their order.
 *
 * Deliberately not here: their bytes (rows.c), and publishing (worker). */
#include "park.h"

#include <stdlib.h>

struct out_key {
	int64_t offset;
	uint32_t n;
};

static int order_outs(const void *key, struct tree_node *node)
{
	const struct out_key *a = key;
	const struct out_node *b = container_of(node, struct out_node, node);

	if (a->offset != b->offset)
		return a->offset < b->offset ? -1 : 1;
	return a->n < b->n ? -1 : a->n > b->n;
}

void outs_init(struct outs *outs)
{
	outs->tree = TREE_INIT(order_outs);
}

void outs_done(struct outs *outs)
{
	struct tree_node *node;

	while ((node = tree_nth(&outs->tree, 0)) != NULL) {
		struct out_node *out = container_of(node, struct out_node, node);

		free(outs_take(outs, out->offset, out->n));
	}
}

struct out_node *out_node_new(int64_t offset, uint32_t n, uint64_t since)
{
	struct out_node *node = calloc(1, sizeof(*node));

	if (node) {
		node->offset = offset;
		node->n = n;
		node->since = since;
	}
	return node;
}

static struct out_node *outs_find(struct outs *outs, int64_t offset, uint32_t n)
{
	struct out_key key = { offset, n };
	struct tree_node *node = tree_find(&outs->tree, &key);

	return node ? container_of(node, struct out_node, node) : NULL;
}

struct out_node *outs_take(struct outs *outs, int64_t offset, uint32_t n)
{
	struct out_key key = { offset, n };
	struct out_node *node = outs_find(outs, offset, n);

	if (node)
		tree_remove(&outs->tree, &key);
	return node;
}

struct out_node *outs_put(struct outs *outs, struct out_node *node)
{
	struct out_key key = { node->offset, node->n };
	struct out_node *was = outs_take(outs, node->offset, node->n);

	tree_insert(&outs->tree, &key, &node->node);
	return was;
}

struct out_node *outs_after(struct outs *outs, int64_t offset, uint32_t n, uint64_t until)
{
	struct out_key key = { offset, n };

	for (;;) {
		struct tree_node *node;
		struct out_node *out;

		if (key.n < UINT32_MAX)
			key.n++;
		else if (key.offset < INT64_MAX)
			key = (struct out_key){ key.offset + 1, 0 };
		else
			return NULL;
		node = tree_at_least(&outs->tree, &key);
		if (!node)
			return NULL;
		out = container_of(node, struct out_node, node);
		if (out->since < until)
			return out;
		key = (struct out_key){ out->offset, out->n };
	}
}
