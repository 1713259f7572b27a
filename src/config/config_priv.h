/* config_priv.h - what the files of config share.
 *
 *   file text -> parse (scan, jansson) -> tree of nodes -> environ (overrides) -> check (against
 * the option table; defaults filled in) -> source, route (typed, presets merged) -> struct config
 *
 * Nothing after parse.c knows jansson. */
#pragma once

#include "postern/config.h"
#include "postern/text.h"

#include <stdatomic.h>

#define CONFIG_BYTES_MAX MIB(8)
#define CONFIG_DEPTH_MAX 32
#define CONFIG_KEYS_MAX 8

/* ---- arena.c */

struct arena_chunk;
struct arena {
	struct arena_chunk *chunks;
	bool failed;
};
void *arena_take(struct arena *arena, size_t count, size_t size); /* zeroed */
char *arena_copy(struct arena *arena, struct slice s);            /* NUL-ended */
char *arena_format(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
void arena_done(struct arena *arena);

/* ---- node.c */

const struct node *node_find(const struct node *object, struct slice name);
const struct node *node_element(const struct node *array, struct slice index);
struct slice node_text(const struct node *node);
struct node *node_new(
	struct arena *arena, enum node_type type, const char *name, const char *pointer);
void node_append(struct node *parent, struct node *child);
/* Shallow: children are shared. */
struct node *node_copy(struct arena *arena, const struct node *node);
/* RFC 7396; neither input is changed. base may be NULL. */
struct node *node_merge(struct arena *arena, const struct node *base, const struct node *patch);
bool node_same(const struct node *a, const struct node *b);
/* As JSON; indent -1: on one line. */
MUST_CHECK enum err_code node_write(
	struct buf *out, const struct node *node, int indent, struct err *err);

/* ---- scan.c: what jansson does not tell */

/* Blank comments out (members whose name starts with "//") in a text that is valid JSON, and note
 * the line of every other value, in the order of the text. *out_lines: free() it. ERR_LIMIT: too
 * deep. */
MUST_CHECK enum err_code scan_lines(
	char *text, size_t len, unsigned **out_lines, size_t *out_count, struct err *err);
/* The pointer of the last member whose name starts before this offset. */
MUST_CHECK enum err_code scan_pointer_at(
	char *text, size_t len, size_t offset, struct buf *out, struct err *err);

/* ---- parse.c */

struct parse_place {
	const char *name, *pointer; /* of the value itself */
	const unsigned *lines;      /* of every value in document order, or NULL */
	size_t line_count;
};
/* A value of any type; NULL when it does not parse (*out_bad) or without memory. */
struct node *parse_value(
	struct arena *arena, struct slice text, const struct parse_place *place, bool *out_bad);
const char *pointer_join(struct arena *arena, const char *parent, const char *name);

/* ---- report.c */

/* A problem with the level and the place of this one. */
void report_problem(struct config_report *report, const struct config_problem *place,
	const char *fmt, ...) PRINTF_LIKE(3, 4);

/* ---- load.c */

struct override {
	const char *variable, *pointer;
};

struct loader {
	struct arena *arena;
	struct config *config;
	struct config_report *report;
	size_t errors; /* counted here too: a report without memory loses lines */
	char *const *environ_list;
	struct override *overrides;
	size_t override_count;
	bool on_kafka, on_embedded; /* the queue's backend; neither: it is not a known one */
};
struct node *parse_file(struct loader *l, struct slice text);

/* An error, a warning, at the place of a node. An error under an override names the variable. */
void problem(struct loader *l, const struct node *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
void caution(struct loader *l, const struct node *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Was an error reported at this pointer or below? */
bool has_problem(const struct loader *l, const char *pointer);
/* The override that set this pointer or one above it, or NULL. */
const struct override *override_of(
	const struct override *overrides, size_t count, const char *pointer);

/* ---- options.c, option_find.c: the table */

struct option_row {
	struct config_option option;
	bool stored;
	size_t offset; /* in struct config, source_config, route_config or key_ref, by its pattern
			*/
};
extern const struct option_row option_rows[];
extern const size_t option_row_count;

const struct option_row *option_root(void);
/* The row of a member (or, for maps and lists, of an element: "*"), or NULL. */
const struct option_row *option_child(const struct option_row *parent, struct slice name);
/* The row of a place in a config: "/routes/3/retry/attempts". NULL: no such option. */
const struct option_row *option_at(const char *pointer);
/* The next child of parent behind `after` (NULL: the first). */
const struct option_row *option_next(
	const struct option_row *parent, const struct option_row *after);
const char *option_name(const struct option_row *row);
/* Everything below such a row belongs to the scheme language. */
bool option_is_open(const struct option_row *row);

/* Did you mean. */
struct nearest {
	struct slice want;
	const char *best;
	unsigned distance;
};
#define NEAREST(s) ((struct nearest){ .want = (s), .distance = 4 })
void nearest_try(struct nearest *nearest, const char *name);
#define NEAREST_TEXT_MAX 400
/* "; did you mean ...?" for a member of row, or the list of what is allowed. */
void nearest_member(const struct option_row *row, struct slice want, char out[NEAREST_TEXT_MAX]);

/* ---- check.c */

/* Types, limits and names of a whole tree, by the table; defaults are filled in, in table order. */
void check_tree(struct loader *l, struct node *root);
/* Copy what the table stores for members of this object into the struct at base. */
void store_members(struct loader *l, const struct node *object, void *base);
/* A number that the file left out and no table row can know. */
void set_default(struct loader *l, struct node *object, const char *name, int64_t value);
/* By the file or the environment, not by a default? */
bool is_given(const struct loader *l, const struct node *node);

/* ---- environ.c */

void apply_environment(struct loader *l, struct node *root);
/* As a name is compared: in lower case, '-' and '.' as '_'. */
char environ_plain(char c);

/* ---- environ_guess.c */

/* What to say of a variable that sets nothing; rest: its name behind POSTERN__. */
const char *environ_guess(struct loader *l, const struct node *root, struct slice rest);

/* ---- backend.c */

/* Which one it is, as the environment and the file say. */
void find_backend(struct loader *l, const struct node *root);
/* What the backend changes of defaults, before they are stored. */
void set_backend_defaults(struct loader *l, struct node *root);
/* Topic, group and properties. */
void load_backend(struct loader *l, const struct node *root);
/* The name of a topic that is not postern's: there is Kafka, and it is none of its own. */
void check_foreign_topic(struct loader *l, const struct node *node);

/* ---- source.c, source_scheme.c, key_file.c, route.c, limits.c */

void load_sources(struct loader *l, struct node *map);
void load_routes(struct loader *l, struct node *list);
/* NULL after a problem, or without memory. */
const struct node *merge_scheme(struct loader *l, const struct node *source);
/* The key of one place: a source's keys and secrets, a property. */
void load_key_ref(struct loader *l, const struct node *node, struct key_ref *out);
void load_key(struct loader *l, const struct node *node, struct key_ref *out);
void check_key_file(struct loader *l, const struct node *at, const char *path);
/* The burst of a rate that names none: a second's worth. */
void fill_burst(struct loader *l, struct node *limit, struct rate *rate);
/* Options that must fit each other. */
void check_limits(struct loader *l, const struct node *root);

/* ---- the whole */

struct config_state {
	struct config config;
	atomic_uint references; /* released with acq_rel, so the last one sees every use */
	struct arena arena;
	const struct node *tree; /* effective: overrides and defaults are in it */
	const struct override *overrides;
	size_t override_count;
};
static inline const struct config_state *state_of(const struct config *config)
{
	return (const struct config_state *)(const void *)((const char *)config -
							   offsetof(struct config_state, config));
}
