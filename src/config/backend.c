/* backend.c - what the choice of the queue's backend means: defaults that differ, and what Kafka
 * needs: names of topics, and properties, which are handed to its library as they are.
 *
 * Deliberately not here: whether the library knows a property, which the queue room asks it. No
 * secret is read; one that stands in the file is refused without being repeated. */
#include "config_priv.h"

/* Kafka takes 249 bytes, and the longest of our suffixes is ".quarantine". */
#define TOPIC_BYTES_MAX 238
/* Of our own topics: what stands behind /queue/topic. */
static const char *const suffixes[] = { "", ".journal", ".dlq", ".quarantine", ".control" };
#define SERVERS "bootstrap.servers"

bool config_on_kafka(const struct config *config)
{
	return strcmp(config->queue.backend, "kafka") == 0;
}

void find_backend(struct loader *l, const struct node *root)
{
	const struct node *queue = node_member(root, "queue");
	const struct node *backend = node_member(queue, "backend");

	l->on_kafka = backend && slice_eq_str(node_text(backend), "kafka");
	l->on_embedded = !backend || slice_eq_str(node_text(backend), "embedded");
}

/* ---- defaults ----------------------------------------------------------------------------------
 */

void set_backend_defaults(struct loader *l, struct node *root)
{
	for (struct node *part = l->on_kafka ? root->child : NULL; part; part = part->next) {
		if (strcmp(part->name, "ingress") != 0 || part->type != NODE_OBJECT)
			continue;
		for (struct node *at = part->child; at; at = at->next) {
			if (strcmp(at->name, "max_body_bytes") == 0 && !is_given(l, at))
				at->integer = CONFIG_KAFKA_BODY_MAX;
		}
	}
}

/* ---- topic and group ---------------------------------------------------------------------------
 */

static void check_topic_name(struct loader *l, const struct node *node)
{
	struct slice name = node_text(node);

	if (slice_eq_str(name, ".") || slice_eq_str(name, ".."))
		problem(l, node, "is no name of a topic");
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '.' || c == '_' || c == '-')
			continue;
		problem(l, node, "must have A-Z a-z 0-9 . _ - only: Kafka takes no other names");
		return;
	}
}

static void check_topic(struct loader *l, const struct node *queue)
{
	const struct node *node = node_member(queue, "topic");

	if (!node || has_problem(l, node->pointer))
		return;
	if (node_text(node).len > TOPIC_BYTES_MAX)
		problem(l, node, "must have at most %d bytes: the others are named after it",
			TOPIC_BYTES_MAX);
	check_topic_name(l, node);
}

static bool is_own(const struct config *config, struct slice name)
{
	const struct slice first = slice_str(config->queue.topic);

	if (!slice_starts(name, first))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		if (slice_eq_str(slice_sub(name, first.len, name.len), suffixes[i]))
			return true;
	}
	return false;
}

void check_foreign_topic(struct loader *l, const struct node *node)
{
	if (!l->on_kafka) {
		problem(l, node,
			"needs \"queue\": {\"backend\": \"kafka\"}: there are no topics elsewhere");
		return;
	}
	check_topic_name(l, node);
	if (l->config->queue.topic && is_own(l->config, node_text(node)))
		problem(l, node,
			"is a topic of postern's own: its events would go round in a circle");
}

/* ---- properties --------------------------------------------------------------------------------
 */

/* Does a property of this name hold a secret? */
static bool is_secret(const char *name)
{
	static const char *const words[] = { "password", "secret", "key.pem",
		"sasl.oauthbearer.config" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strstr(name, words[i]))
			return true;
	}
	return false;
}

/* A number or a boolean as the library reads it. */
static const char *scalar_text(struct loader *l, const struct node *node)
{
	struct buf text = BUF_INIT(KIB(1));
	const char *copy = NULL;

	if (node_write(&text, node, -1, NULL) == ERR_OK)
		copy = arena_copy(l->arena, buf_slice(&text));
	else
		l->arena->failed = true;
	buf_done(&text);
	return copy;
}

static bool is_name(struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.data[i] <= ' ' || name.data[i] >= 0x7f)
			return false;
	}
	return name.len > 0 && name.len <= 255;
}

static void load_property(struct loader *l, const struct node *node, struct queue_property *out)
{
	*out = (struct queue_property){
		.name = node->name, .pointer = node->pointer, .line = node->line
	};
	if (!is_name(slice_str(node->name)))
		problem(l, node, "is no name of a property: those have no blanks");
	else if (node->type == NODE_OBJECT)
		load_key_ref(l, node, &out->secret);
	else if (is_secret(node->name))
		problem(l, node,
			"a secret is never inline: write {\"file\": \"keys/NAME\"} or {\"env\": "
			"\"NAME\"}");
	else
		out->value = node->type == NODE_STRING ? node->string : scalar_text(l, node);
}

static void check_servers(struct loader *l, const struct node *queue, const struct node *map)
{
	const struct node *servers = node_member(map, SERVERS);

	if (!servers && map && is_given(l, map))
		problem(l, map, "needs \"" SERVERS "\": \"HOST:9092\": where is Kafka?");
	else if (!servers)
		problem(l, queue,
			"needs \"properties\": {\"" SERVERS "\": \"HOST:9092\"}: where is Kafka?");
	else if (servers->type == NODE_STRING && servers->length == 0)
		problem(l, servers, "must name a broker, like \"HOST:9092\"");
}

static void load_properties(struct loader *l, const struct node *queue)
{
	const struct node *map = node_member(queue, "properties");
	struct queue_property *properties;

	if (map && has_problem(l, map->pointer))
		return;
	check_servers(l, queue, map);
	properties = arena_take(l->arena, node_count(map) + 1, sizeof(*properties));
	if (!properties || !map)
		return;
	l->config->queue.properties = properties;
	for (const struct node *node = map->child; node; node = node->next)
		load_property(l, node, &properties[l->config->queue.property_count++]);
}

static void check_body(struct loader *l, const struct node *root)
{
	const struct node *node = node_member(node_member(root, "ingress"), "max_body_bytes");

	if (node && !has_problem(l, node->pointer) &&
		node->integer > (int64_t)CONFIG_KAFKA_BODY_MAX)
		problem(l, node, "must be at most %lld on Kafka: a record of it holds no more",
			(long long)CONFIG_KAFKA_BODY_MAX);
}

void load_backend(struct loader *l, const struct node *root)
{
	const struct node *queue = node_member(root, "queue");

	if (!l->on_kafka || !queue)
		return;
	check_topic(l, queue);
	load_properties(l, queue);
	check_body(l, root);
}
