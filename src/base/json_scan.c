/* json_scan.c - the grammar of JSON in one pass, and the values that pointers lead to.
 *
 * A value is scanned with the set of pointers (bits of a word) whose names led to it so far. At its
 * end those that are used up get it as their result; inside an object or array each member keeps
 * those whose next name fits. Deliberately not here: tokens, names, pointers (see json_priv.h). */
#include "json_priv.h"

#include <assert.h>

struct scan {
	struct json_lexer text;
	struct json_seen *seen;
	struct json_path *const *paths;
	struct json_value *out;
	size_t structure;
};
static_assert(JSON_PATHS_MAX <= 64, "a set of pointers is one word");

/* What is in a container of this depth; the recursion is bounded by JSON_DEPTH_MAX. */
static bool scan_value(struct scan *s, uint64_t set, size_t depth, struct json_value *out);

static bool count_structure(struct scan *s)
{
	if (++s->structure > JSON_STRUCTURE_MAX)
		return json_fail(&s->text, ERR_LIMIT, "too many members and elements");
	return true;
}

static uint64_t keep_name(
	const struct scan *s, uint64_t set, size_t depth, const struct json_name *name)
{
	uint64_t kept = 0;

	for (; set; set &= set - 1) {
		int i = __builtin_ctzll(set);
		const struct json_path *path = s->paths[i];

		if (depth < path->count && json_names_same(name, &path->tokens[depth].name))
			kept |= 1ull << i;
	}
	return kept;
}

static uint64_t keep_index(const struct scan *s, uint64_t set, size_t depth, size_t index)
{
	uint64_t kept = 0;

	for (; set; set &= set - 1) {
		int i = __builtin_ctzll(set);

		if (depth < s->paths[i]->count && s->paths[i]->tokens[depth].index == index)
			kept |= 1ull << i;
	}
	return kept;
}

static void give_out(struct scan *s, uint64_t set, size_t depth, const struct json_value *value)
{
	for (; set; set &= set - 1) {
		int i = __builtin_ctzll(set);

		if (s->paths[i]->count == depth)
			s->out[i] = *value;
	}
}

/* Skip blanks; is c next? Then take it. */
static bool take(struct json_lexer *t, uint8_t c)
{
	json_skip_blanks(t);
	if (t->at == t->end || *t->at != c)
		return false;
	t->at++;
	return true;
}

static bool scan_member(struct scan *s, uint64_t set, size_t depth, uint32_t object)
{
	struct json_lexer *t = &s->text;
	struct json_value value;
	struct json_name name;

	if (!take(t, '"'))
		return json_fail(t, ERR_SYNTAX, "a member name is missing");
	if (!json_lex_string(t, &value))
		return false;
	name = (struct json_name){ value.raw, value.escaped };
	switch (json_seen_add(s->seen, object, &name)) {
	case JSON_SEEN_NEW: break;
	case JSON_SEEN_DUPLICATE:
		t->at = name.raw.data;
		return json_fail(t, ERR_SYNTAX, "a member twice");
	case JSON_SEEN_NOMEM: return json_fail(t, ERR_NOMEM, "no memory");
	}
	if (!take(t, ':'))
		return json_fail(t, ERR_SYNTAX, "':' is missing");
	if (set)
		set = keep_name(s, set, depth, &name);
	return scan_value(s, set, depth + 1, &value);
}

/* Behind the '{'. */
static bool scan_object(struct scan *s, uint64_t set, size_t depth)
{
	struct json_lexer *t = &s->text;
	uint32_t object = json_seen_object(s->seen);

	if (!count_structure(s))
		return false;
	if (take(t, '}'))
		return true;
	for (;;) {
		if (!scan_member(s, set, depth, object))
			return false;
		if (take(t, '}'))
			return true;
		if (!take(t, ','))
			return json_fail(t, ERR_SYNTAX, "',' or '}' is missing");
		if (!count_structure(s))
			return false;
	}
}

/* Behind the '['. */
static bool scan_array(struct scan *s, uint64_t set, size_t depth)
{
	struct json_lexer *t = &s->text;
	struct json_value value;

	if (!count_structure(s))
		return false;
	if (take(t, ']'))
		return true;
	for (size_t index = 0;; index++) {
		uint64_t kept = set ? keep_index(s, set, depth, index) : 0;

		if (!scan_value(s, kept, depth + 1, &value))
			return false;
		if (take(t, ']'))
			return true;
		if (!take(t, ','))
			return json_fail(t, ERR_SYNTAX, "',' or ']' is missing");
		if (!count_structure(s))
			return false;
	}
}

static bool scan_container(struct scan *s, uint64_t set, size_t depth, struct json_value *out)
{
	struct json_lexer *t = &s->text;
	const uint8_t *first = t->at;
	bool object = *t->at == '{', done;

	if (depth >= JSON_DEPTH_MAX)
		return json_fail(t, ERR_LIMIT, "nested too deeply");
	t->at++;
	done = object ? scan_object(s, set, depth) : scan_array(s, set, depth);
	*out = (struct json_value){ object ? JSON_OBJECT : JSON_ARRAY,
		{ first, (size_t)(t->at - first) }, false };
	return done;
}

static bool scan_value(struct scan *s, uint64_t set, size_t depth, struct json_value *out)
{
	struct json_lexer *t = &s->text;
	bool done;

	json_skip_blanks(t);
	if (t->at == t->end)
		return json_fail(t, ERR_SYNTAX, "a value is missing");
	if (*t->at == '"') {
		t->at++;
		done = json_lex_string(t, out);
	} else if (*t->at == '{' || *t->at == '[') {
		done = scan_container(s, set, depth, out);
	} else if (*t->at == '-' || (*t->at >= '0' && *t->at <= '9')) {
		done = json_lex_number(t, out);
	} else {
		done = json_lex_literal(t, out);
	}
	if (done && set)
		give_out(s, set, depth, out);
	return done;
}

static bool scan_text(struct scan *s, uint64_t set)
{
	struct json_lexer *t = &s->text;
	struct json_value whole;

	if ((size_t)(t->end - t->start) > JSON_TEXT_MAX)
		return json_fail(t, ERR_LIMIT, "text too long");
	json_skip_blanks(t);
	if (t->at == t->end || (*t->at != '{' && *t->at != '['))
		return json_fail(t, ERR_SYNTAX, "neither an object nor an array");
	if (!scan_value(s, set, 0, &whole))
		return false;
	json_skip_blanks(t);
	if (t->at != t->end)
		return json_fail(t, ERR_SYNTAX, "something behind the end");
	return true;
}

static enum err_code report(const struct json_lexer *t, struct err *err)
{
	size_t line = 1, column = 1;

	for (const uint8_t *p = t->start; p < t->at; p++) {
		column = *p == '\n' ? 1 : column + 1;
		line += *p == '\n';
	}
	return err_set(err, t->rc, "JSON, line %zu, column %zu: %s", line, column, t->why);
}

enum err_code json_scan(struct slice text, struct json_path *const *paths, size_t count,
	struct json_value *out, struct err *err)
{
	static const uint8_t nothing[1];
	const uint8_t *start = text.data ? text.data : nothing;
	struct json_value found[JSON_PATHS_MAX];
	struct scan s = {
		.text = { .at = start, .end = start + text.len, .start = start },
		.paths = paths,
		.out = found,
	};
	bool done;

	assert(count <= JSON_PATHS_MAX);
	for (size_t i = 0; i < count; i++)
		found[i] = (struct json_value){ .type = JSON_ABSENT };
	s.seen = json_seen_begin(text.len);
	done = scan_text(&s, count == 64 ? UINT64_MAX : (1ull << count) - 1);
	json_seen_end(s.seen);
	if (!done)
		return report(&s.text, err);
	if (count)
		memcpy(out, found, count * sizeof(*out));
	return ERR_OK;
}

enum err_code json_get(
	struct slice text, const char *pointer, struct json_value *out, struct err *err)
{
	struct json_path *path = NULL;
	enum err_code rc = json_path_open(slice_str(pointer), &path, err);

	if (rc == ERR_OK)
		rc = json_scan(text, &path, 1, out, err);
	json_path_close(&path);
	return rc;
}

unsigned json_line(struct slice text, const char *pointer)
{
	struct json_value value = { .type = JSON_ABSENT };
	unsigned line = 1;

	if (json_get(text, pointer, &value, NULL) != ERR_OK || value.type == JSON_ABSENT)
		return 0;
	for (const uint8_t *p = text.data; p < value.raw.data; p++)
		line += *p == '\n';
	return line;
}
