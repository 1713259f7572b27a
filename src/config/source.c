/* source.c - the sources: names, keys, secrets, and what every source must have.
 *
 * Deliberately not here: how presets are merged in (source_scheme.c). Key files are looked at
 * (key_file.c), never read. */
#include "config_priv.h"
#include "postern/file.h"

/* ---- keys --------------------------------------------------------------------------------------
 */

static bool environment_has(const struct loader *l, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; l->environ_list && l->environ_list[i]; i++) {
		const char *entry = l->environ_list[i];

		if (strncmp(entry, name, len) == 0 && entry[len] == '=')
			return entry[len + 1] != '\0';
	}
	return false;
}

void load_key(struct loader *l, const struct node *node, struct key_ref *out)
{
	if (!out->file == !out->env) {
		problem(l, node, "needs one of \"file\" and \"env\"%s",
			out->file ? ", not both" : "");
		return;
	}
	if (out->file) {
		check_key_file(l, node, out->file);
		return;
	}
	if (strchr(out->env, '='))
		problem(l, node, "the name of an environment variable holds no \"=\"");
	else if (!environment_has(l, out->env))
		caution(l, node, "the environment variable %s is not set here", out->env);
	else
		caution(l, node,
			"a key in the environment is seen by every child process; a file is "
			"better");
}

void load_key_ref(struct loader *l, const struct node *node, struct key_ref *out)
{
	*out = (struct key_ref){ .not_before_ms = INT64_MIN,
		.not_after_ms = INT64_MAX,
		.pointer = node->pointer,
		.line = node->line };
	store_members(l, node, out);
	load_key(l, node, out);
	if (out->not_before_ms >= out->not_after_ms)
		problem(l, node, "\"not_before\" must be earlier than \"not_after\"");
}

/* Does the sender tell its key itself? */
static bool is_learnt(const struct node *scheme)
{
	const struct node *list = scheme ? node_member(scheme, "handshake") : NULL;

	for (const struct node *one = list ? list->child : NULL; one; one = one->next) {
		if (node_member(one, "learn"))
			return true;
	}
	return false;
}

static const struct {
	const char *name, *role;
} learnt_keys[] = {
	{ CONFIG_LEARNT_KEY, "current" },
	{ CONFIG_LEARNT_PREVIOUS, "previous" },
};

/* What such a sender told and an operator confirmed stands in the data directory. */
static void add_learnt(struct loader *l, const struct node *source, struct source_config *out,
	struct key_ref *keys)
{
	for (size_t i = 0; i < ARRAY_LEN(learnt_keys); i++) {
		const char *file = arena_format(l->arena, "%s/" CONFIG_LEARNT_DIR "/%s%s",
			l->config->data_dir, source->name, learnt_keys[i].name);

		if (!file || !file_exists(file))
			continue;
		keys[out->key_count++] = (struct key_ref){ .file = file,
			.role = learnt_keys[i].role,
			.not_before_ms = INT64_MIN,
			.not_after_ms = INT64_MAX,
			.pointer = source->pointer,
			.line = source->line };
		check_key_file(l, source, file);
	}
}

static void load_keys(struct loader *l, const struct node *source, struct source_config *out)
{
	const struct node *list = node_member(source, "keys");
	size_t count = node_count(list) + ARRAY_LEN(learnt_keys);
	struct key_ref *keys = arena_take(l->arena, count, sizeof(*keys));

	if (!keys)
		return;
	out->keys = keys;
	for (const struct node *key = list ? list->child : NULL; key; key = key->next)
		load_key_ref(l, key, &keys[out->key_count++]);
	if (is_learnt(out->scheme))
		add_learnt(l, source, out, keys);
}

static void load_secrets(struct loader *l, const struct node *source, struct source_config *out)
{
	const struct node *map = node_member(source, "secrets");
	size_t count = node_count(map);
	struct named_secret *secrets = arena_take(l->arena, count, sizeof(*secrets));

	if (!secrets)
		return;
	out->secrets = secrets;
	for (const struct node *node = map ? map->child : NULL; node; node = node->next) {
		struct named_secret *secret = &secrets[out->secret_count++];

		secret->name = node->name;
		if (!config_name_is_sane(slice_str(node->name)))
			problem(l, node, "the name must have 1 to 64 of A-Z a-z 0-9 . _ -");
		load_key_ref(l, node, &secret->ref);
	}
}

/* ---- one source --------------------------------------------------------------------------------
 */

bool config_name_is_sane(struct slice name)
{
	if (name.len == 0 || name.len > 64)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		uint8_t c = name.data[i];
		bool letter =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

		if (!letter && (i == 0 || (c != '.' && c != '_' && c != '-')))
			return false;
	}
	return true;
}

static bool alg_is_free(const struct node *verify)
{
	static const char *const keyless[] = { "none", "x509-rsa" };
	const struct node *alg = node_member(verify, "alg");

	for (size_t i = 0; i < ARRAY_LEN(keyless); i++) {
		if (alg && alg->type == NODE_STRING && strcmp(alg->string, keyless[i]) == 0)
			return true;
	}
	return false;
}

static bool needs_keys(const struct node *scheme)
{
	const struct node *verify = node_member(scheme, "verify");

	if (!verify || verify->type != NODE_ARRAY)
		return !alg_is_free(verify);
	for (const struct node *one = verify->child; one; one = one->next) {
		if (!alg_is_free(one))
			return true;
	}
	return false;
}

static void check_tenant(struct loader *l, const struct node *source)
{
	const struct node *tenant = node_member(source, "tenant");

	if (tenant && slice_find(node_text(tenant), '/') < tenant->length)
		problem(l, tenant, "must not hold a \"/\"");
}

static void check_public_url(struct loader *l, const struct node *source)
{
	const struct node *url = node_member(source, "public_url");

	if (url && slice_find(node_text(url), '?') < url->length)
		problem(l, url, "must not hold a query: the one received is added");
}

/* What is about requests, and signatures, has no place there. */
static void check_stream(struct loader *l, const struct node *source, const struct node *stream)
{
	static const char *const fitting[] = { "stream", "tenant", "id", "type", "entity",
		"version", "base", "on_reuse" };
	const struct node *topic = node_member(stream, "topic");

	for (const struct node *member = source->child; member; member = member->next) {
		bool fits = !is_given(l, member);

		for (size_t i = 0; i < ARRAY_LEN(fitting); i++)
			fits |= strcmp(member->name, fitting[i]) == 0;
		if (!fits)
			problem(l, member, "has no meaning beside \"stream\"");
	}
	if (topic)
		check_foreign_topic(l, topic);
}

static void check_source(struct loader *l, const struct node *node, struct source_config *source)
{
	const struct node *verify = node_member(node, "verify");
	const struct node *stream = node_member(node, "stream");

	if (!config_name_is_sane(slice_str(node->name)))
		problem(l, node,
			"a source's name must have 1 to 64 of A-Z a-z 0-9 . _ - and start "
			"with a letter or digit");
	check_tenant(l, node);
	check_public_url(l, node);
	if (source->preset && verify)
		problem(l, verify,
			"must not stand beside \"preset\"; to change a preset's verify "
			"write \"extends\" in place of \"preset\"");
	if (stream) {
		check_stream(l, node, stream);
		return;
	}
	if (!source->preset && !verify && !node_member(node, "extends"))
		problem(l, node, "needs \"preset\" or \"verify\"");
	else if (source->scheme && source->key_count == 0 && needs_keys(source->scheme) &&
		 !is_learnt(source->scheme))
		problem(l, node, "needs \"keys\": [{\"file\": \"keys/%s.key\"}]", node->name);
}

/* A sender that never tries again loses what is refused while Kafka is away. */
static bool spools_by_default(const struct loader *l, const struct source_config *source)
{
	const struct node *retries = node_member(source->scheme, "retries");

	return l->on_kafka && retries && slice_eq_str(node_text(retries), "none");
}

static void load_ack(struct loader *l, struct node *node, struct source_config *out)
{
	struct node *ack = node->child;

	while (ack && strcmp(ack->name, "ack_from") != 0)
		ack = ack->next;
	if (!ack || !out->scheme)
		return;
	if (!is_given(l, ack) && spools_by_default(l, out)) {
		ack->string = "spool";
		ack->length = strlen(ack->string);
	}
	out->ack_from_spool = slice_eq_str(node_text(ack), "spool");
	if (out->ack_from_spool && l->on_embedded)
		problem(l, ack, "\"spool\" goes with \"backend\": \"kafka\"");
}

static void load_source(struct loader *l, struct node *node, struct source_config *out)
{
	struct node *limit = NULL;

	*out = (struct source_config){
		.name = node->name, .pointer = node->pointer, .line = node->line
	};
	for (struct node *member = node->child; member; member = member->next) {
		if (strcmp(member->name, "rate_limit") == 0)
			limit = member;
	}
	store_members(l, node, out);
	if (limit)
		fill_burst(l, limit, &out->rate);
	out->scheme = merge_scheme(l, node);
	load_ack(l, node, out);
	out->has_client_ca = l->config->ingress.tls_client_ca && !out->stream.topic;
	load_keys(l, node, out);
	load_secrets(l, node, out);
	check_source(l, node, out);
}

void load_sources(struct loader *l, struct node *map)
{
	struct source_config *sources = arena_take(l->arena, node_count(map), sizeof(*sources));

	if (!sources)
		return;
	l->config->sources = sources;
	if (!map->child)
		caution(l, map, "there is no source: every webhook is answered with 404");
	/* What the table found wrong has said so; a half-read source would only say it again. */
	for (struct node *node = map->child; node; node = node->next) {
		if (!has_problem(l, node->pointer))
			load_source(l, node, &sources[l->config->source_count++]);
	}
}
