/* limits.c - options that must fit each other, where neither row of the table can tell. */
#include "config_priv.h"

/* What a record holds beside its body: headers, key, framing. */
#define RECORD_OVERHEAD ((int64_t)KIB(68))

void fill_burst(struct loader *l, struct node *limit, struct rate *rate)
{
	int64_t whole = (int64_t)rate->per_second;

	if (rate->burst >= 1)
		return;
	if (whole < 1 || (double)whole < rate->per_second)
		whole++;
	rate->burst = (double)whole;
	set_default(l, limit, "burst", whole);
}

static const struct node *node_at(const struct node *root, const char *object, const char *name)
{
	return node_member(node_member(root, object), name);
}

/* A stream has the segment that is written and the one ahead of it, whatever its limit. */
static void check_stream(struct loader *l, const struct node *root, const char *name, int64_t max)
{
	const int64_t least = 2 * l->config->queue.segment_bytes;

	if (!config_on_kafka(l->config) && max < least)
		caution(l, node_at(root, name, "max_bytes"),
			"is less than two segments, which are used: %lld bytes; a smaller "
			"/queue/segment_bytes makes it count",
			(long long)least);
}

static void check_segments(struct loader *l, const struct node *root)
{
	const struct config *c = l->config;
	const bool on_kafka = config_on_kafka(c);

	if (c->queue.segment_bytes > (on_kafka ? c->spool.max_bytes : c->queue.max_bytes) / 2)
		problem(l, node_at(root, "queue", "segment_bytes"),
			"must be at most half of /%s/max_bytes: one segment is always allocated "
			"ahead",
			on_kafka ? "spool" : "queue");
	if (c->ingress.max_body_bytes > c->queue.segment_bytes - RECORD_OVERHEAD)
		caution(l, node_at(root, "queue", "segment_bytes"),
			"a body of /ingress/max_body_bytes does not fit: a segment should be %lld "
			"bytes larger",
			(long long)RECORD_OVERHEAD);
	check_stream(l, root, "dlq", c->dlq.max_bytes);
	check_stream(l, root, "quarantine", c->quarantine.max_bytes);
}

static bool same_address(const char *a, const char *b)
{
	size_t len = strlen(a);

	return strcmp(a, b) == 0 && !(len > 2 && strcmp(a + len - 2, ":0") == 0);
}

static void check_addresses(struct loader *l, const struct node *root)
{
	const struct config *c = l->config;

	if (same_address(c->ingress.listen, c->admin.listen))
		problem(l, node_at(root, "admin", "listen"),
			"is the address of /ingress/listen too");
	if (same_address(c->ingress.listen, c->admin.worker_listen))
		problem(l, node_at(root, "admin", "worker_listen"),
			"is the address of /ingress/listen too");
	if (same_address(c->admin.listen, c->admin.worker_listen))
		problem(l, node_at(root, "admin", "worker_listen"),
			"is the address of /admin/listen too");
}

/* The longest that an event of this route waits by itself: for another try, or for a gap. */
static int64_t longest_wait_s(const struct route_config *route)
{
	const bool calls =
		route->handler.type != HANDLER_NONE && route->handler.type != HANDLER_TOPIC;
	const int64_t retry_s = calls ? route->retry.max_age_s : 0;
	const int64_t gap_s = route->rule == RULE_NEXT ? route->gap_timeout_s : 0;

	return retry_s > gap_s ? retry_s : gap_s;
}

/* A copy that comes when its original is forgotten but still waits for a retry would be worked too.
 */
static void check_memory(struct loader *l, const struct node *root)
{
	const struct config *c = l->config;
	const struct node *list = node_member(root, "routes");
	const struct node *row = list ? list->child : NULL;

	for (size_t i = 0; i < c->route_count && row; i++, row = row->next) {
		if (longest_wait_s(&c->routes[i]) >= c->worker.dedupe_hours * 3600)
			caution(l, row,
				"its events may wait as long as ids are remembered: "
				"/worker/dedupe_hours should be longer than retry.max_age_s and "
				"gap_timeout_s");
	}
}

void check_limits(struct loader *l, const struct node *root)
{
	check_memory(l, root);
	check_segments(l, root);
	check_addresses(l, root);
}
