/* scan.c - what jansson does not tell of a text that it found to be JSON: the line of each value,
 * and which member stands at an offset. Comments are blanked out on the way, so that they may
 * repeat.
 *
 * Deliberately not here: checking. The text is known to be valid; one that is not ends the scan
 * early, and nothing outside of it is read. */
#include "config_priv.h"

#include <stdio.h>
#include <stdlib.h>

struct scan {
	char *text;
	size_t len, at;
	unsigned line, depth;
	unsigned *lines; /* NULL: not wanted */
	size_t count, room;
	struct buf path; /* of the member being scanned; used only with a target */
	size_t target;
	struct buf *found;
	struct err *err;
	bool failed;
};

static char peek(const struct scan *s)
{
	return s->at < s->len ? s->text[s->at] : '\0';
}

static bool is_one_of(char c, const char *set)
{
	return c && strchr(set, c);
}

static void skip_blanks(struct scan *s)
{
	while (s->at < s->len && is_one_of(s->text[s->at], " \t\r\n")) {
		if (s->text[s->at] == '\n')
			s->line++;
		s->at++;
	}
}

/* Gives what stands between the quotes. */
static struct slice scan_string(struct scan *s)
{
	size_t start = ++s->at;

	while (s->at < s->len && s->text[s->at] != '"')
		s->at += s->text[s->at] == '\\' ? 2 : 1;
	if (s->at > s->len)
		s->at = s->len;
	return (struct slice){ (const uint8_t *)s->text + start, s->at++ - start };
}

static void blank(struct scan *s, size_t from, size_t to)
{
	for (; from < to; from++) {
		if (s->text[from] != '\n')
			s->text[from] = ' ';
	}
}

static void scan_value(struct scan *s, bool live);

/* One step of the path, escaped as a pointer wants it. JSON's own escapes are left as they are. */
static void path_push(struct scan *s, struct slice name)
{
	enum err_code rc = buf_put_u8(&s->path, '/', s->err);

	for (size_t i = 0; rc == ERR_OK && i < name.len; i++) {
		if (name.data[i] == '~' || name.data[i] == '/')
			rc = buf_put_str(&s->path, name.data[i] == '~' ? "~0" : "~1", s->err);
		else
			rc = buf_put_u8(&s->path, name.data[i], s->err);
	}
	if (rc != ERR_OK)
		s->failed = true;
}

static void path_note(struct scan *s)
{
	buf_reset(s->found);
	if (buf_put_slice(s->found, buf_slice(&s->path), s->err) != ERR_OK)
		s->failed = true;
}

/* A member's value, below its name in the path where paths are wanted. */
static void scan_below(struct scan *s, struct slice name, size_t start, bool live)
{
	size_t before = s->path.len;

	if (s->found && live) {
		path_push(s, name);
		if (start < s->target)
			path_note(s);
	}
	scan_value(s, live);
	s->path.len = before;
}

static bool is_comment(struct slice name)
{
	return slice_starts(name, SLICE_LIT("//")) || slice_starts(name, SLICE_LIT("\\/\\/"));
}

/* From the name to the comma behind the value, or to the bracket that ends the object. *last_comma
 * is the last one that stays: a comment at the end takes it away too. */
static void scan_member(struct scan *s, bool live, size_t *last_comma)
{
	size_t start = s->at;
	struct slice name = scan_string(s);
	bool comment = live && is_comment(name);

	skip_blanks(s);
	s->at++; /* the colon */
	scan_below(s, name, start, live && !comment);
	skip_blanks(s);
	if (peek(s) == ',') {
		if (!comment)
			*last_comma = s->at;
		s->at++;
		if (comment)
			blank(s, start, s->at);
		return;
	}
	if (!comment)
		return;
	blank(s, start, s->at < s->len ? s->at : s->len);
	if (*last_comma < s->len)
		s->text[*last_comma] = ' ';
}

static void scan_object(struct scan *s, bool live)
{
	size_t last_comma = SIZE_MAX;

	for (skip_blanks(s); !s->failed && peek(s) == '"'; skip_blanks(s))
		scan_member(s, live, &last_comma);
}

static void scan_array(struct scan *s, bool live)
{
	size_t index = 0;

	for (skip_blanks(s); !s->failed && s->at < s->len && !is_one_of(peek(s), "]}");
		skip_blanks(s)) {
		char text[24];
		int len = snprintf(text, sizeof(text), "%zu", index++);

		scan_below(s, (struct slice){ (uint8_t *)text, (size_t)len }, s->at, live);
		skip_blanks(s);
		if (peek(s) == ',')
			s->at++;
	}
}

static void scan_value(struct scan *s, bool live)
{
	skip_blanks(s);
	if (++s->depth > CONFIG_DEPTH_MAX) {
		(void)err_set(s->err, ERR_LIMIT, "line %u: nested deeper than %d", s->line,
			CONFIG_DEPTH_MAX);
		s->failed = true;
	}
	if (s->count < s->room && live)
		s->lines[s->count++] = s->line;
	if (s->failed || s->at >= s->len)
		return;
	switch (s->text[s->at]) {
	case '{':
	case '[':
		s->at++;
		if (s->text[s->at - 1] == '{')
			scan_object(s, live);
		else
			scan_array(s, live);
		s->at++;
		break;
	case '"': (void)scan_string(s); break;
	default:
		while (s->at < s->len && !is_one_of(s->text[s->at], ",]} \t\r\n"))
			s->at++;
	}
	s->depth--;
}

/* Each value but the first stands behind one of these. */
static size_t count_values(const char *text, size_t len)
{
	size_t count = 2;

	for (size_t i = 0; i < len; i++)
		count += text[i] == ',' || text[i] == ':' || text[i] == '[';
	return count;
}

enum err_code scan_lines(
	char *text, size_t len, unsigned **out_lines, size_t *out_count, struct err *err)
{
	struct err why = ERR_INIT;
	struct scan s = { .text = text, .len = len, .line = 1, .err = &why };

	s.room = count_values(text, len);
	s.lines = calloc(s.room, sizeof(*s.lines));
	if (!s.lines)
		return err_set(err, ERR_NOMEM, "config: no memory");
	scan_value(&s, true);
	if (s.failed) {
		free(s.lines);
		return err_set(err, why.code, "%s", why.text);
	}
	*out_lines = s.lines;
	*out_count = s.count;
	return ERR_OK;
}

enum err_code scan_pointer_at(
	char *text, size_t len, size_t offset, struct buf *out, struct err *err)
{
	struct err why = ERR_INIT;
	struct scan s = { .text = text, .len = len, .line = 1, .err = &why };

	s.path = BUF_INIT(KIB(64));
	s.target = offset;
	s.found = out;
	scan_value(&s, true);
	buf_done(&s.path);
	return s.failed ? err_set(err, why.code, "%s", why.text) : ERR_OK;
}
