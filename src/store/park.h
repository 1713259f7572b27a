/* park.h - the parked events as the owner sees them: heads by subject, subjects by time, totals;
 * and the outputs that wait to be published, in order.
 *
 * Ordered views in memory over what is staged, applied and committed. The copies of the records are
 * not here. Nodes that a change takes out are handed to the caller, who puts them back or frees
 * them.
 *
 * Threads: the owner. */
#pragma once

#include "postern/store.h"
#include "tree.h"

struct park_subject;
struct park_node {
	struct park_node *before, *after; /* of the same subject, by offset */
	struct parked parked;
};
struct park {
	struct park_subject *subjects; /* a hash table */
	struct tree due;               /* subjects by the time of their first event */
	uint64_t serial;
	uint64_t events, bytes;
	uint64_t *of_route;
	size_t routes;
};
void park_init(struct park *park);
void park_done(struct park *park);
struct park_node *park_node_new(const struct item_park *item);
/* Room in the tables for this subject and route, so that park_put() cannot fail. */
MUST_CHECK enum err_code park_reserve(
	struct park *park, struct slice subject, uint16_t route, struct err *err);
/* Put a node in; gives back the one with the same offset that was there, or NULL. */
struct park_node *park_put(struct park *park, struct slice subject, struct park_node *node);
/* Take the node with this offset out; NULL: there is none. The subject stays, so that the node can
 * be put back without fail. */
struct park_node *park_take(struct park *park, struct slice subject, int64_t offset);
/* Forget the subject if nothing is parked for it. */
void park_tidy(struct park *park, struct slice subject);
/* The first of a subject by offset; the others follow by `after`. */
const struct park_node *park_first(struct park *park, struct slice subject, size_t *out_count);
/* The n-th subject by the time when its first event is due, with that event. NULL: no more. */
const struct park_node *park_due(const struct park *park, size_t n, struct slice *out_subject);

struct out_node {
	struct tree_node node;
	int64_t offset;
	uint32_t n;
	uint64_t since; /* the number of the change that made it */
};
struct outs {
	struct tree tree;
};
void outs_init(struct outs *outs);
void outs_done(struct outs *outs);
struct out_node *out_node_new(int64_t offset, uint32_t n, uint64_t since);
struct out_node *outs_put(struct outs *outs, struct out_node *node);
struct out_node *outs_take(struct outs *outs, int64_t offset, uint32_t n);
/* The first after (offset, n) whose change is older than `until`; NULL: none. */
struct out_node *outs_after(struct outs *outs, int64_t offset, uint32_t n, uint64_t until);
