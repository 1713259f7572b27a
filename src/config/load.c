/* load.c - from a file name to a config: the order of the steps, the report of all problems, and
 * the life of the result.
 *
 *   read -> parse -> environment -> check and defaults -> sources, routes, limits
 *
 * A step that depends on something that was refused is left out; all others go on, so that a person
 * sees every mistake at once. */
#include "config_priv.h"

#include "postern/file.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- problems ----------------------------------------------------------------------------------
 */

const struct override *override_of(
	const struct override *overrides, size_t count, const char *pointer)
{
	for (size_t i = count; i-- > 0;) {
		size_t len = strlen(overrides[i].pointer);

		if (strncmp(overrides[i].pointer, pointer, len) == 0 &&
			(pointer[len] == '\0' || pointer[len] == '/'))
			return &overrides[i];
	}
	return NULL;
}

/* Long enough for a sentence with a list of names; a longer one is cut. */
#define PROBLEM_TEXT_MAX 700

PRINTF_LIKE(4, 0)
static void add(struct loader *l, enum problem_level level, const struct node *at, const char *fmt,
	va_list args)
{
	const struct override *set =
		at ? override_of(l->overrides, l->override_count, at->pointer) : NULL;
	const struct config_problem place = { .level = level,
		.pointer = at ? at->pointer : "",
		.line = at ? at->line : 0,
		.variable = set ? set->variable : NULL };
	char text[PROBLEM_TEXT_MAX];

	if (level == PROBLEM_ERROR)
		l->errors++;
	(void)vsnprintf(text, sizeof(text), fmt, args);
	report_problem(l->report, &place, set ? "%s (set by %s in the environment)" : "%s%s", text,
		set ? set->variable : "");
}

void problem(struct loader *l, const struct node *at, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add(l, PROBLEM_ERROR, at, fmt, args);
	va_end(args);
}

void caution(struct loader *l, const struct node *at, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add(l, PROBLEM_WARNING, at, fmt, args);
	va_end(args);
}

bool has_problem(const struct loader *l, const char *pointer)
{
	size_t len = strlen(pointer);

	for (size_t i = 0; i < l->report->count; i++) {
		const struct config_problem *p = &l->report->problems[i];

		if (p->level == PROBLEM_ERROR && strncmp(p->pointer, pointer, len) == 0 &&
			(p->pointer[len] == '\0' || p->pointer[len] == '/'))
			return true;
	}
	return false;
}

/* ---- where the file is -------------------------------------------------------------------------
 */

static enum err_code set_place(struct config_state *state, const char *path, struct err *err)
{
	struct config *config = &state->config;
	char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
	const char *whole, *slash;

	if (path[0] != '/' && !here)
		return err_set(err, ERR_IO, "the current directory has no name");
	whole = here ? arena_format(&state->arena, "%s/%s", strcmp(here, "/") == 0 ? "" : here,
			       strncmp(path, "./", 2) == 0 ? path + 2 : path)
		     : arena_copy(&state->arena, slice_str(path));
	free(here);
	if (!whole)
		return err_set(err, ERR_NOMEM, "config: no memory");
	slash = strrchr(whole, '/');
	config->path = whole;
	config->dir =
		arena_copy(&state->arena, slice_sub(slice_str(whole), 0, (size_t)(slash - whole)));
	return config->dir ? ERR_OK : err_set(err, ERR_NOMEM, "config: no memory");
}

static enum err_code read_text(const char **path, struct buf *text, struct err *err)
{
	static const char *const places[] = { "./postern.json", "/etc/postern/postern.json" };
	enum err_code rc;

	if (*path)
		return file_read(*path, text, err);
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		struct err why = ERR_INIT;

		*path = places[i];
		rc = file_read(*path, text, &why);
		if (rc != ERR_NOT_FOUND)
			return rc == ERR_OK ? rc : err_set(err, rc, "%s", why.text);
	}
	return err_set(err, ERR_NOT_FOUND,
		"there is no postern.json here and none in /etc/postern; try: postern init");
}

/* ---- the steps ---------------------------------------------------------------------------------
 */

static struct node *member_to_fill(struct node *root, const char *name, enum node_type type)
{
	for (struct node *member = root->child; member; member = member->next) {
		if (member->type == type && strcmp(member->name, name) == 0)
			return member;
	}
	return NULL;
}

static void load_client_rate(struct loader *l, struct node *root)
{
	struct node *ingress = member_to_fill(root, "ingress", NODE_OBJECT);
	struct node *limit =
		ingress ? member_to_fill(ingress, "client_rate_limit", NODE_OBJECT) : NULL;

	if (limit)
		fill_burst(l, limit, &l->config->ingress.client_rate);
}

static void load_tls_line(struct loader *l, const struct node *root)
{
	const struct node *tls = node_member(node_member(root, "ingress"), "tls");

	l->config->ingress.tls_line = tls ? tls->line : 0;
}

/* The daemon refuses a token that is too short, so that nobody has to find out at its next start.
 * One that may not be read from here is the daemon's alone. */
static void check_token(struct loader *l, const struct node *at)
{
	struct buf text = BUF_INIT(CONFIG_TOKEN_MAX);
	enum err_code rc = file_read_text(l->config->admin.token_file, &text, NULL);

	if (rc == ERR_OK && text.len < CONFIG_TOKEN_MIN)
		problem(l, at, "an admin token has at least %d characters", CONFIG_TOKEN_MIN);
	buf_wipe(&text);
	buf_done(&text);
}

static void check_token_file(struct loader *l, const struct node *root)
{
	const struct node *at = node_member(node_member(root, "admin"), "token_file");

	if (!at)
		return;
	if (file_exists(l->config->admin.token_file) || errno == EACCES)
		check_key_file(l, at, l->config->admin.token_file);
	else
		caution(l, at, "there is no such file: the daemon and its commands need it");
	if (!has_problem(l, "/admin/token_file"))
		check_token(l, at);
}

static void load_tree(struct loader *l, struct node *root)
{
	struct node *sources, *routes;

	apply_environment(l, root);
	find_backend(l, root);
	check_tree(l, root);
	if (l->arena->failed)
		return;
	set_backend_defaults(l, root);
	store_members(l, root, l->config);
	sources = member_to_fill(root, "sources", NODE_OBJECT);
	routes = member_to_fill(root, "routes", NODE_ARRAY);
	load_client_rate(l, root);
	load_tls_line(l, root);
	load_backend(l, root);
	if (sources)
		load_sources(l, sources);
	if (routes)
		load_routes(l, routes);
	if (has_problem(l, "/queue") || has_problem(l, "/ingress") || has_problem(l, "/admin"))
		return;
	check_limits(l, root);
	check_token_file(l, root);
}

/* The first of them, for who has room for one line. */
static enum err_code fail(const struct loader *l, struct err *err)
{
	const struct config_problem *first = config_report_error(l->report);
	struct buf text = BUF_INIT(CONFIG_BYTES_MAX);
	enum err_code rc;

	if (first && config_problem_put(&text, first, l->config->path, NULL) == ERR_OK)
		rc = err_set(err, ERR_CONFIG, "%s%s", buf_str(&text),
			l->errors > 1 ? " (and more)" : "");
	else
		rc = err_set(err, ERR_CONFIG, "%s: not valid", l->config->path);
	buf_done(&text);
	return rc;
}

static enum err_code build(struct config_state *state, struct slice text, char *const *environ_list,
	struct config_report *report, struct err *err)
{
	struct loader l = { .arena = &state->arena,
		.config = &state->config,
		.report = report,
		.environ_list = environ_list };
	struct node *root = parse_file(&l, text);

	if (root)
		load_tree(&l, root);
	if (state->arena.failed)
		return err_set(err, ERR_NOMEM, "%s: no memory", state->config.path);
	if (l.errors > 0)
		return fail(&l, err);
	state->tree = root;
	state->overrides = l.overrides;
	state->override_count = l.override_count;
	return ERR_OK;
}

enum err_code config_load(const char *path, char *const *environ_list, struct config **out,
	struct config_report *report, struct err *err)
{
	struct config_report own = { NULL, 0 };
	struct buf text = BUF_INIT(CONFIG_BYTES_MAX);
	struct config_state *state = calloc(1, sizeof(*state));
	struct config *config = state ? &state->config : NULL;
	enum err_code rc;

	if (!state)
		return err_set(err, ERR_NOMEM, "config: no memory");
	atomic_init(&state->references, 1);
	rc = read_text(&path, &text, err);
	if (rc == ERR_OK)
		rc = set_place(state, path, err);
	if (rc == ERR_OK)
		rc = build(state, buf_slice(&text), environ_list, report ? report : &own, err);
	buf_done(&text);
	config_report_done(&own);
	if (rc == ERR_OK)
		*out = config;
	else
		config_unref(&config);
	return rc;
}

/* ---- the life of a config ----------------------------------------------------------------------
 */

static struct config_state *owned(struct config *config)
{
	return container_of(config, struct config_state, config);
}

struct config *config_ref(struct config *config)
{
	unsigned before = atomic_fetch_add(&owned(config)->references, 1);

	assert(before > 0);
	return config;
}

void config_unref(struct config **config)
{
	struct config_state *state;
	unsigned before;

	if (!*config)
		return;
	state = owned(*config);
	*config = NULL;
	before = atomic_fetch_sub(&state->references, 1);
	assert(before > 0);
	if (before > 1)
		return;
	arena_done(&state->arena);
	free(state);
}
