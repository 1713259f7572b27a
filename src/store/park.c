/* park.c - heads by subject, subjects by time.
 *
 *   subject (hash table) -> node -> node -> node      by offset; the first is the head
 *      \-> tree of (head's next_ts, serial)           whose turn it is
 *
 * Only the head of a subject is ever due: its followers wait behind it, whatever their own time is.
 * Deliberately not here: when to retry (worker), and the bytes of the records (rows.c). */
#include "park.h"

#include <assert.h>
#include <stdlib.h>
#define HASH_FUNCTION(key, len, out) ((out) = (unsigned)hash_bytes((key), (len)))
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* What a parked event costs beside its bytes. */
#define PARK_OVERHEAD 256

struct due_key {
	int64_t next_ms;
	uint64_t serial;
};
struct park_subject {
	UT_hash_handle hh;
	struct tree_node due;
	struct due_key key; /* valid while count > 0 */
	struct park_node *first, *last;
	size_t count;
	size_t len;
	uint8_t bytes[];
};

static int order_due(const void *key, struct tree_node *node)
{
	const struct due_key *a = key;
	const struct due_key *b = &container_of(node, struct park_subject, due)->key;

	if (a->next_ms != b->next_ms)
		return a->next_ms < b->next_ms ? -1 : 1;
	return a->serial < b->serial ? -1 : a->serial > b->serial;
}

void park_init(struct park *park)
{
	*park = (struct park){ .due = TREE_INIT(order_due) };
}

static void free_nodes(struct park_node *node)
{
	while (node) {
		struct park_node *after = node->after;

		free(node);
		node = after;
	}
}

void park_done(struct park *park)
{
	struct park_subject *subject = park->subjects;

	/* The table goes as a whole; its elements are ours, still linked in the order of insertion.
	 */
	HASH_CLEAR(hh, park->subjects);
	while (subject) {
		struct park_subject *next = subject->hh.next;

		free_nodes(subject->first);
		free(subject);
		subject = next;
	}
	free(park->of_route);
	park_init(park);
}

struct park_node *park_node_new(const struct item_park *item)
{
	struct park_node *node = malloc(sizeof(*node));

	if (!node)
		return NULL;
	*node = (struct park_node){
		.parked = {
			.offset = item->offset,
			.route = item->route,
			.attempts = item->attempts,
			.first_ms = item->first_ms,
			.next_ts_ms = item->next_ts_ms,
			.deadline_ms = item->deadline_ms,
			.reason = item->reason,
			.version = item->version,
			.redrive = item->redrive,
			.bytes = item->body.len + item->headers.len + item->key.len +
				 item->subject.len + item->error.len + PARK_OVERHEAD,
		},
	};
	return node;
}

static struct park_subject *find(struct park *park, struct slice subject)
{
	struct park_subject *found = NULL;

	HASH_FIND(hh, park->subjects, subject.data, subject.len, found);
	return found;
}

static enum err_code reserve_route(struct park *park, uint16_t route, struct err *err)
{
	size_t count = (size_t)route + 1;
	uint64_t *of_route;

	if (count <= park->routes)
		return ERR_OK;
	of_route = realloc(park->of_route, count * sizeof(*of_route));
	if (!of_route)
		return err_set(err, ERR_NOMEM, "no memory for routes");
	memset(of_route + park->routes, 0, (count - park->routes) * sizeof(*of_route));
	park->of_route = of_route;
	park->routes = count;
	return ERR_OK;
}

enum err_code park_reserve(struct park *park, struct slice subject, uint16_t route, struct err *err)
{
	enum err_code rc = reserve_route(park, route, err);
	struct park_subject *added;

	if (rc != ERR_OK || find(park, subject))
		return rc;
	added = calloc(1, sizeof(*added) + subject.len);
	if (!added)
		return err_set(err, ERR_NOMEM, "no memory for a parked subject");
	if (subject.len)
		memcpy(added->bytes, subject.data, subject.len);
	added->len = subject.len;
	added->key.serial = ++park->serial;
	HASH_ADD_KEYPTR(hh, park->subjects, added->bytes, added->len, added);
	if (!added->hh.tbl) {
		free(added);
		return err_set(err, ERR_NOMEM, "no memory for a parked subject");
	}
	return ERR_OK;
}

void park_tidy(struct park *park, struct slice subject)
{
	struct park_subject *found = find(park, subject);

	if (!found || found->count > 0)
		return;
	HASH_DEL(park->subjects, found);
	free(found);
}

/* Bring the subject to its place by time after its head changed. */
static void settle(struct park *park, struct park_subject *subject, bool listed)
{
	if (listed && subject->first && subject->key.next_ms == subject->first->parked.next_ts_ms)
		return;
	if (listed)
		tree_remove(&park->due, &subject->key);
	if (!subject->first)
		return;
	subject->key.next_ms = subject->first->parked.next_ts_ms;
	tree_insert(&park->due, &subject->key, &subject->due);
}

static void count_in(struct park *park, const struct park_node *node)
{
	park->events++;
	park->bytes += node->parked.bytes;
	park->of_route[node->parked.route]++;
}

static void unlink_node(struct park *park, struct park_subject *subject, struct park_node *node)
{
	*(node->before ? &node->before->after : &subject->first) = node->after;
	*(node->after ? &node->after->before : &subject->last) = node->before;
	node->before = node->after = NULL;
	subject->count--;
	park->events--;
	park->bytes -= node->parked.bytes;
	park->of_route[node->parked.route]--;
}

static void link_node(
	struct park_subject *subject, struct park_node *before, struct park_node *node)
{
	node->before = before;
	node->after = before ? before->after : subject->first;
	*(before ? &before->after : &subject->first) = node;
	*(node->after ? &node->after->before : &subject->last) = node;
	subject->count++;
}

struct park_node *park_put(struct park *park, struct slice subject, struct park_node *node)
{
	struct park_subject *of = find(park, subject);
	struct park_node *before, *was = NULL;
	bool listed;

	assert(of);
	listed = of->count > 0;
	/* Events park in the order of the stream, nearly always: look from the end. */
	before = of->last;
	while (before && before->parked.offset > node->parked.offset)
		before = before->before;
	if (before && before->parked.offset == node->parked.offset) {
		was = before;
		before = was->before;
	}
	if (was)
		unlink_node(park, of, was);
	link_node(of, before, node);
	count_in(park, node);
	settle(park, of, listed);
	return was;
}

struct park_node *park_take(struct park *park, struct slice subject, int64_t offset)
{
	struct park_subject *of = find(park, subject);
	struct park_node *node = of ? of->first : NULL;

	while (node && node->parked.offset != offset)
		node = node->after;
	if (!node)
		return NULL;
	unlink_node(park, of, node);
	settle(park, of, true);
	return node;
}

const struct park_node *park_first(struct park *park, struct slice subject, size_t *out_count)
{
	struct park_subject *of = find(park, subject);

	if (out_count)
		*out_count = of ? of->count : 0;
	return of ? of->first : NULL;
}

const struct park_node *park_due(const struct park *park, size_t n, struct slice *out_subject)
{
	struct tree_node *node = tree_nth(&park->due, n);
	struct park_subject *subject;

	if (!node)
		return NULL;
	subject = container_of(node, struct park_subject, due);
	*out_subject = (struct slice){ subject->bytes, subject->len };
	return subject->first;
}
