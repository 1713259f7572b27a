/* route.c - the routes: handlers, and what of a list of routes can never be reached.
 *
 * Deliberately not here: which route takes an event; match.c. */
#include "config_priv.h"

#include <unistd.h>

/* ---- handlers ----------------------------------------------------------------------------------
 */

#define TYPE_BIT(type) (1u << (type))

/* Which handler takes which member, and the default where it has one (-1: none). */
struct handler_member {
	const char *name;
	unsigned types, needed;
	int64_t http_default, exec_default;
};
static const struct handler_member handler_members[] = {
	{ "url", TYPE_BIT(HANDLER_HTTP), TYPE_BIT(HANDLER_HTTP), -1, -1 },
	{ "sign_key", TYPE_BIT(HANDLER_HTTP), 0, -1, -1 },
	{ "argv", TYPE_BIT(HANDLER_EXEC), TYPE_BIT(HANDLER_EXEC), -1, -1 },
	{ "topic", TYPE_BIT(HANDLER_TOPIC), TYPE_BIT(HANDLER_TOPIC), -1, -1 },
	{ "timeout_ms", TYPE_BIT(HANDLER_HTTP) | TYPE_BIT(HANDLER_EXEC), 0, 5000, 30000 },
	{ "max_output_bytes", TYPE_BIT(HANDLER_EXEC), 0, -1, 65536 },
};

static void check_handler_member(struct loader *l, struct node *handler, enum handler_type type,
	const struct handler_member *member)
{
	static const char *const names[] = { "none", "http", "exec", "topic" };
	const struct node *given = node_member(handler, member->name);
	int64_t fallback = type == HANDLER_EXEC ? member->exec_default : member->http_default;

	if (given && !(member->types & TYPE_BIT(type)))
		problem(l, given, "a handler of type \"%s\" has no such member", names[type]);
	else if (!given && (member->needed & TYPE_BIT(type)))
		problem(l, handler, "a handler of type \"%s\" needs \"%s\"", names[type],
			member->name);
	else if (!given && (member->types & TYPE_BIT(type)) && fallback >= 0)
		set_default(l, handler, member->name, fallback);
}

/* A program that is named by a relative path with a slash lies beside the config; a bare name is
 * looked for in PATH when it runs. */
static void resolve_program(struct loader *l, struct node *program)
{
	const char *path;

	if (program->string[0] != '/' && strchr(program->string, '/')) {
		path = arena_format(l->arena, "%s/%s", l->config->dir, program->string);
		if (!path)
			return;
		program->string = path;
		program->length = strlen(path);
	}
	if (program->string[0] == '/' && access(program->string, X_OK) != 0)
		caution(l, program, "there is no program that can be run");
}

static void load_argv(struct loader *l, const struct node *list, struct route_config *out)
{
	const char **argv = arena_take(l->arena, node_count(list) + 1, sizeof(*argv));
	size_t count = 0;

	if (!argv)
		return;
	if (!list->child || list->child->length == 0) {
		problem(l, list, "must start with a program");
		return;
	}
	resolve_program(l, list->child);
	for (const struct node *arg = list->child; arg; arg = arg->next)
		argv[count++] = arg->string;
	out->handler.argv = argv;
}

/* What is published there comes back. */
static void check_circle(struct loader *l, const struct node *topic)
{
	const struct config *config = l->config;

	for (size_t i = 0; i < config->source_count; i++) {
		const char *read = config->sources[i].stream.topic;

		if (read && slice_eq_str(node_text(topic), read))
			problem(l, topic,
				"is read by the source \"%s\": events would go round in a circle",
				config->sources[i].name);
	}
}

static void load_handler(struct loader *l, struct node *handler, struct route_config *out)
{
	const struct node *key = node_member(handler, "sign_key");
	const struct node *argv = node_member(handler, "argv");
	const struct node *topic = node_member(handler, "topic");
	size_t errors = l->errors;

	for (size_t i = 0; i < ARRAY_LEN(handler_members); i++)
		check_handler_member(l, handler, out->handler.type, &handler_members[i]);
	if (l->errors != errors)
		return;
	store_members(l, handler, out); /* once more, with the defaults of this type */
	if (argv)
		load_argv(l, argv, out);
	if (topic) {
		check_foreign_topic(l, topic);
		check_circle(l, topic);
	}
	if (key) {
		out->handler.sign_key.pointer = key->pointer;
		out->handler.sign_key.line = key->line;
		load_key(l, key, &out->handler.sign_key);
	}
}

/* ---- one route ---------------------------------------------------------------------------------
 */

static bool matches_all(const char *pattern)
{
	if (!pattern)
		return true;
	return *pattern && pattern[strspn(pattern, "*")] == '\0';
}

static bool takes_everything(const struct route_config *route)
{
	return matches_all(route->match_source) && matches_all(route->match_type) &&
	       matches_all(route->match_tenant);
}

static void check_match(struct loader *l, const struct node *node, const struct route_config *route)
{
	const struct config *config = l->config;
	const struct node *at = node_member(node_member(node, "match"), "source");
	struct nearest nearest;

	if (!at || !route->match_source || has_problem(l, "/sources"))
		return;
	nearest = NEAREST(slice_str(route->match_source));
	for (size_t i = 0; i < config->source_count; i++) {
		if (text_glob(slice_str(route->match_source), slice_str(config->sources[i].name)))
			return;
		nearest_try(&nearest, config->sources[i].name);
	}
	if (nearest.best)
		caution(l, at, "no source has this name; did you mean \"%s\"?", nearest.best);
	else
		caution(l, at, "no source has this name");
}

static void check_route(struct loader *l, const struct node *node, const struct route_config *route)
{
	const struct node *name = node_member(node, "name");

	if (!config_name_is_sane(slice_str(route->name)))
		problem(l, name,
			"a route's name must have 1 to 64 of A-Z a-z 0-9 . _ - and start "
			"with a letter or digit");
	for (size_t i = 0; i + 1 < l->config->route_count; i++) {
		const struct route_config *other = &l->config->routes[i];

		if (strcmp(other->name, route->name) == 0)
			problem(l, name, "is the name of the route at line %u too", other->line);
	}
	if (route->retry.base_ms > route->retry.cap_ms)
		problem(l, node_member(node, "retry"), "\"base_ms\" must be at most \"cap_ms\"");
	check_match(l, node, route);
}

static void load_route(struct loader *l, struct node *node, struct route_config *out)
{
	struct node *handler = node->child;

	*out = (struct route_config){ .pointer = node->pointer, .line = node->line };
	store_members(l, node, out);
	while (handler && strcmp(handler->name, "handler") != 0)
		handler = handler->next;
	if (handler)
		load_handler(l, handler, out);
	check_route(l, node, out);
}

static void check_reach(struct loader *l, const struct node *list)
{
	const struct config *config = l->config;

	for (size_t i = 0; i < config->route_count; i++) {
		const struct route_config *route = &config->routes[i];
		const struct node *at;

		if (!takes_everything(route))
			continue;
		at = i + 1 < config->route_count ? list->child : NULL;
		for (size_t skip = 0; at && skip <= i; skip++)
			at = at->next;
		if (at)
			caution(l, at, "is never reached: the route \"%s\" takes everything",
				route->name);
		return;
	}
	caution(l, list,
		config->route_count
			? "no route takes everything: an event that none fits is applied to "
			  "the state alone"
			: "there is no route: events are applied to the state alone");
}

void load_routes(struct loader *l, struct node *list)
{
	struct route_config *routes = arena_take(l->arena, node_count(list), sizeof(*routes));

	if (!routes)
		return;
	l->config->routes = routes;
	for (struct node *node = list->child; node; node = node->next) {
		if (!has_problem(l, node->pointer))
			load_route(l, node, &routes[l->config->route_count++]);
	}
	if (!has_problem(l, list->pointer))
		check_reach(l, list);
}
