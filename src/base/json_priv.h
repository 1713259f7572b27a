/* json_priv.h - what the parts of the JSON reader share: the lexer, names, compiled pointers.
 *
 *   json_lex.c    strings, numbers and literals, each checked whole
 *   json_names.c  the members seen so far, to find duplicates; names compared decoded
 *   json_path.c   compiled pointers
 *   json_scan.c   the grammar over these, one pass
 *   json_walk.c   going through text that is known to be valid
 *   json_put.c    the writers */
#pragma once

#include "postern/json.h"

/* Where the lexer is. It never reads at or behind `end`. */
struct json_lexer {
	const uint8_t *at, *end;
	const uint8_t *start;
	enum err_code rc; /* of the first failure */
	const char *why;
};

/* Record a failure at t->at; always false. */
bool json_fail(struct json_lexer *t, enum err_code rc, const char *why);
static inline void json_skip_blanks(struct json_lexer *t)
{
	while (t->at < t->end &&
		(*t->at == ' ' || *t->at == '\n' || *t->at == '\r' || *t->at == '\t'))
		t->at++;
}
/* t->at is behind the opening quote, and then behind the closing one. */
bool json_lex_string(struct json_lexer *t, struct json_value *out);
bool json_lex_number(struct json_lexer *t, struct json_value *out);
/* Of a number that is valid. */
enum json_type json_number_type(struct slice number);
bool json_lex_literal(struct json_lexer *t, struct json_value *out);

/* Take one character of a valid string off *raw (not empty), decoded: its bytes go to out. */
size_t json_unescape(struct slice *raw, uint8_t out[4]);

/* A name as it stands between its quotes. */
struct json_name {
	struct slice raw;
	bool escaped;
};
/* Decodes as it goes; for names of which one has escapes. */
bool json_name_eq(const struct json_name *a, const struct json_name *b);

static inline bool json_names_same(const struct json_name *a, const struct json_name *b)
{
	return a->escaped || b->escaped ? json_name_eq(a, b) : slice_eq(a->raw, b->raw);
}

/* The names of one scan. */
struct json_seen;
struct json_seen *json_seen_begin(size_t text_len);
void json_seen_end(struct json_seen *seen);
/* A number for one more object. */
uint32_t json_seen_object(struct json_seen *seen);
enum json_seen_result { JSON_SEEN_NEW, JSON_SEEN_DUPLICATE, JSON_SEEN_NOMEM };
enum json_seen_result json_seen_add(
	struct json_seen *seen, uint32_t object, const struct json_name *name);

struct json_token {
	struct json_name name; /* decoded: nothing in it is an escape */
	size_t index;          /* as an element of an array, or SIZE_MAX */
};
struct json_path {
	size_t count;
	struct json_token *tokens;
	uint8_t *bytes; /* of all names */
};
