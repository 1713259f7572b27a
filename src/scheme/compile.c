/* compile.c - a source's nodes become a scheme, or problems with their places in the report.
 *
 * Compiling goes on after a problem where that makes sense, so that a report is whole. Deliberately
 * not here: the members of verify (compile_verify.c) and what stands around it (compile_around.c).
 */
#include "scheme_priv.h"
#include "postern/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Blocks of memory in a list; all go with the scheme. */
struct block {
	struct block *next;
	max_align_t data[];
};

void *compile_keep(struct compile *c, size_t size)
{
	struct block *block = calloc(1, sizeof(*block) + size);

	if (!block) {
		c->no_memory = true;
		return NULL;
	}
	block->next = c->s->blocks;
	c->s->blocks = block;
	return block->data;
}

const char *compile_keep_text(struct compile *c, struct slice text)
{
	char *copy = compile_keep(c, text.len + 1);

	if (copy && text.len > 0)
		memcpy(copy, text.data, text.len);
	return copy;
}

static void tell(struct compile *c, enum problem_level level, const struct node *at,
	const char *fmt, va_list args) PRINTF_LIKE(4, 0);
static void tell(struct compile *c, enum problem_level level, const struct node *at,
	const char *fmt, va_list args)
{
	char text[ERR_TEXT_MAX];
	const char *pointer = at ? at->pointer : c->source->pointer;
	unsigned line = at ? at->line : c->source->line;

	(void)vsnprintf(text, sizeof(text), fmt, args);
	config_report_add(c->report, level, pointer, line, "%s", text);
}

bool compile_fail(struct compile *c, const struct node *at, const char *fmt, ...)
{
	va_list args;

	if (c->is_trying)
		return false;
	va_start(args, fmt);
	tell(c, PROBLEM_ERROR, at, fmt, args);
	va_end(args);
	c->failed = true;
	return false;
}

void compile_warn(struct compile *c, const struct node *at, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	tell(c, PROBLEM_WARNING, at, fmt, args);
	va_end(args);
}

bool compile_unsupported(struct compile *c, const struct node *at, const char *what)
{
	return compile_fail(c, at, "%s: not supported yet", what);
}

bool compile_string(struct compile *c, const struct node *at, struct slice *out)
{
	if (at->type != NODE_STRING)
		return compile_fail(c, at, "must be a string");
	*out = (struct slice){ (const uint8_t *)at->string, at->length };
	if (slice_find(*out, '\0') < out->len)
		return compile_fail(c, at, "holds a NUL");
	return true;
}

bool compile_text(struct compile *c, const struct node *node, const char *name, const char **out)
{
	const struct node *at = node_member(node, name);
	struct slice text = SLICE_EMPTY;

	if (!at)
		return true;
	if (!compile_string(c, at, &text))
		return false;
	*out = compile_keep_text(c, text);
	return *out != NULL;
}

const char *compile_nearest(struct slice name, const char *const *names)
{
	static _Thread_local char text[64]; /* one message at a time */
	unsigned best = 3;

	text[0] = '\0';
	for (; *names; names++) {
		unsigned distance = text_distance(name, slice_str(*names));

		if (distance < best) {
			best = distance;
			(void)snprintf(text, sizeof(text), "; did you mean \"%s\"?", *names);
		}
	}
	return text;
}

bool compile_members(struct compile *c, const struct node *object, const char *const *names)
{
	bool ok = true;

	if (object->type != NODE_OBJECT)
		return compile_fail(c, object, "must be an object");
	for (const struct node *m = object->child; m; m = m->next) {
		const char *const *name = names;

		if (slice_starts(slice_str(m->name), SLICE_LIT("//")))
			continue;
		while (*name && !slice_eq_str(slice_str(m->name), *name))
			name++;
		if (!*name)
			ok = compile_fail(c, m, "unknown member%s",
				compile_nearest(slice_str(m->name), names));
	}
	return ok;
}

bool compile_status(
	struct compile *c, const struct node *at, int64_t low, int64_t high, unsigned *out)
{
	if (at->type != NODE_INTEGER || at->integer < low || at->integer > high)
		return compile_fail(c, at, "must be a status from %d to %d", (int)low, (int)high);
	*out = (unsigned)at->integer;
	return true;
}

bool compile_content_type(struct compile *c, const struct node *at, const char **out)
{
	static const char *const types[] = { "text/plain", "application/json" };
	struct slice text = SLICE_EMPTY;

	if (!compile_string(c, at, &text))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (slice_eq_str(text, types[i])) {
			*out = types[i];
			return true;
		}
	}
	return compile_fail(c, at, "must be text/plain or application/json");
}

static void check_url(struct compile *c)
{
	struct slice url = slice_str(c->source->public_url);

	if (!c->source->public_url)
		return;
	if (slice_find(url, '?') < url.len || slice_find(url, '#') < url.len)
		(void)compile_fail(c, NULL, "public_url must not have a query or fragment");
	c->s->public_url = compile_keep_text(c, url);
}

static bool compile_way(struct compile *c, const struct node *verify)
{
	struct scheme *s = c->s;
	bool ok;

	if (s->way_count == WAYS_MAX)
		return compile_fail(c, verify, "more than %d alternatives", WAYS_MAX);
	c->way = &s->ways[s->way_count];
	c->way->index = s->way_count++;
	ok = compile_verify(c, verify) && key_read_all(c, verify);
	c->way = NULL;
	return ok;
}

/* Any of several is enough. */
static void compile_ways(struct compile *c, const struct node *verify)
{
	if (verify->type != NODE_ARRAY) {
		(void)compile_way(c, verify);
		return;
	}
	if (!verify->child)
		(void)compile_fail(c, verify, "an empty list takes nothing");
	c->has_many = verify->child && verify->child->next;
	for (const struct node *one = verify->child; one; one = one->next)
		(void)compile_way(c, one);
	if (c->has_many && !c->failed)
		key_check_used(c);
}

static void compile_all(struct compile *c)
{
	const struct node *root = c->source->scheme;
	const struct node *verify = root ? node_member(root, "verify") : NULL;

	check_url(c);
	(void)key_read_secrets(c);
	if (!verify) {
		(void)compile_fail(c, root,
			"no verify and no preset: how are requests signed? "
			"({\"alg\": \"none\"} takes everything)");
		return;
	}
	if (compile_form(c, root) && key_list(c))
		compile_ways(c, verify);
	(void)compile_around(c, root);
}

static void warn_of_way(struct compile *c, const struct way *w)
{
	if (w->has_time && w->alg->kind != ALG_NONE && !w->time_covered)
		compile_warn(c, NULL,
			"the signature does not cover the time: whoever repeats a request "
			"can write a fresh one");
	if (w->alg->kind == ALG_DIGEST)
		compile_warn(c, NULL,
			"a plain digest can be extended: whoever has one request can put bytes "
			"behind its body; prefer a version of the sender's scheme with a MAC");
}

/* Of several ways in which a request may be signed, an attacker takes the weakest. */
static void warn_of_weaker(struct compile *c)
{
	const struct scheme *s = c->s;
	enum cover best = COVER_NONE;
	bool timed = false;

	for (size_t i = 0; i < s->way_count; i++) {
		best = s->ways[i].cover > best ? s->ways[i].cover : best;
		timed |= s->ways[i].time_covered;
	}
	for (size_t i = 0; i < s->way_count; i++) {
		const struct way *w = &s->ways[i];

		if (w->cover < best || (timed && !w->time_covered))
			compile_warn(c, NULL,
				"alternative %zu of verify is weaker than another: whoever can "
				"choose takes it",
				i + 1);
	}
}

static void warn(struct compile *c)
{
	for (size_t i = 0; i < c->s->way_count; i++)
		warn_of_way(c, &c->s->ways[i]);
	warn_of_weaker(c);
}

enum err_code scheme_open(const struct source_config *source, struct scheme **out,
	struct config_report *report, struct err *err)
{
	struct compile c = { .source = source, .report = report };

	c.s = calloc(1, sizeof(*c.s));
	if (!c.s)
		return err_set(err, ERR_NOMEM, "no memory for a scheme");
	compile_all(&c);
	if (!c.failed && !c.no_memory) {
		audit_derive(c.s);
		warn(&c);
		*out = c.s;
		return ERR_OK;
	}
	scheme_close(&c.s);
	if (c.no_memory)
		return err_set(err, ERR_NOMEM, "no memory for a scheme");
	return err_set(err, ERR_CONFIG, "source %s: its scheme is not valid", source->name);
}

void scheme_close(struct scheme **scheme)
{
	struct scheme *s = *scheme;
	struct block *block;

	if (!s)
		return;
	for (size_t i = 0; i < s->way_count; i++) {
		const struct alg *alg = s->ways[i].alg;

		if (alg && alg->module && alg->module->close)
			alg->module->close(&s->ways[i]);
	}
	key_close_all(s);
	for (size_t i = 0; i < s->path_count; i++)
		json_path_close(&s->paths[i]);
	for (size_t i = 0; i < s->item_path_count; i++)
		json_path_close(&s->item_paths[i]);
	while ((block = s->blocks) != NULL) {
		s->blocks = block->next;
		free(block);
	}
	free(s);
	*scheme = NULL;
}
