/* json.c - our JSON reader against jansson, on the same bytes.
 *
 * Both must agree whether a text is good, apart from our named limits and from numbers that are too
 * large for jansson. For a good text, every value
 * of jansson's tree must be found under its pointer and by walking, and be equal. Any bytes at all,
 * written as a string by our writer, must be read back by jansson. */
#include "postern/json.h"
#include "postern/text.h"

#include <stdio.h>
#include <stdlib.h>

/* Both headers name the types alike; jansson's get other names here. */
#define json_type jansson_type
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY JANSSON_ARRAY
#define JSON_STRING JANSSON_STRING
#define JSON_INTEGER JANSSON_INTEGER
#define JSON_REAL JANSSON_REAL
#define JSON_TRUE JANSSON_TRUE
#define JSON_FALSE JANSSON_FALSE
#define JSON_NULL JANSSON_NULL
#include <jansson.h>
#undef json_type
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_INTEGER
#undef JSON_REAL
#undef JSON_TRUE
#undef JSON_FALSE
#undef JSON_NULL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_LIMIT MIB(4)

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

/* A tree node and the pointer that leads to it. */
struct place {
	const json_t *node; /* NULL: nothing may be there */
	char *pointer;
};
struct places {
	struct place at[JSON_PATHS_MAX];
	size_t count;
	size_t seen, skip; /* of each `skip` places one is taken */
};

static void add_place(struct places *places, const json_t *node, const struct buf *pointer)
{
	if (places->count == JSON_PATHS_MAX || places->seen++ % places->skip != 0)
		return;
	places->at[places->count].node = node;
	places->at[places->count].pointer = slice_dup_str(buf_slice(pointer));
	must(places->at[places->count].pointer != NULL, "memory");
	places->count++;
}

static void put_step(struct buf *pointer, const char *name)
{
	must(buf_put_str(pointer, "/", NULL) == ERR_OK, "memory");
	for (; *name; name++) {
		const char *text = *name == '~' ? "~0" : *name == '/' ? "~1" : NULL;

		if (text)
			must(buf_put_str(pointer, text, NULL) == ERR_OK, "memory");
		else
			must(buf_put(pointer, name, 1, NULL) == ERR_OK, "memory");
	}
}

static void cut(struct buf *pointer, size_t len)
{
	pointer->len = len;
	pointer->data[len] = '\0';
}

static void collect(struct places *places, json_t *node, struct buf *pointer);

static void collect_members(struct places *places, json_t *node, struct buf *pointer)
{
	size_t len = pointer->len;
	const char *name;
	json_t *value;

	json_object_foreach(node, name, value)
	{
		put_step(pointer, name);
		collect(places, value, pointer);
		cut(pointer, len);
	}
}

static void collect_elements(struct places *places, json_t *node, struct buf *pointer)
{
	size_t len = pointer->len;
	char index[24];

	for (size_t i = 0; i < json_array_size(node); i++) {
		(void)snprintf(index, sizeof(index), "%zu", i);
		put_step(pointer, index);
		collect(places, json_array_get(node, i), pointer);
		cut(pointer, len);
	}
	(void)snprintf(index, sizeof(index), "%zu", json_array_size(node));
	put_step(pointer, index);
	add_place(places, NULL, pointer);
	cut(pointer, len);
	put_step(pointer, "00");
	add_place(places, NULL, pointer);
	cut(pointer, len);
	put_step(pointer, "-");
	add_place(places, NULL, pointer);
	cut(pointer, len);
}

static void collect(struct places *places, json_t *node, struct buf *pointer)
{
	size_t len = pointer->len;

	add_place(places, node, pointer);
	if (json_typeof(node) == JANSSON_OBJECT)
		collect_members(places, node, pointer);
	else if (json_typeof(node) == JANSSON_ARRAY)
		collect_elements(places, node, pointer);
	else {
		put_step(pointer, "0");
		add_place(places, NULL, pointer);
		cut(pointer, len);
	}
}

static bool same_text(struct json_value v, const char *text, size_t len)
{
	struct buf decoded = BUF_INIT(TEXT_LIMIT);
	bool same;

	must(json_text(v, &decoded, NULL) == ERR_OK, "a value can be decoded");
	same = slice_eq(buf_slice(&decoded), (struct slice){ (const uint8_t *)text, len });
	buf_done(&decoded);
	return same;
}

static void check_integer(struct json_value v, json_t *node)
{
	char text[32];

	must(v.type == JSON_INTEGER, "an integer");
	(void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(node));
	must(same_text(v, text, strlen(text)) || slice_eq_str(v.raw, "-0"), "the same integer");
}

static void check_real(struct json_value v, json_t *node)
{
	char *text = slice_dup_str(v.raw);
	double ours, theirs = json_real_value(node);

	must(v.type == JSON_REAL && text, "a real");
	ours = strtod(text, NULL);
	must(memcmp(&ours, &theirs, sizeof(ours)) == 0, "the same real");
	free(text);
}

static void check_value(struct json_value v, json_t *node);

static void check_array(struct json_value v, json_t *node)
{
	struct json_value element;
	size_t at = 0, count = 0;

	must(v.type == JSON_ARRAY, "an array");
	for (; json_next(v, &at, &element); count++) {
		must(count < json_array_size(node), "no more elements than there are");
		check_value(element, json_array_get(node, count));
	}
	must(count == json_array_size(node), "all elements");
}

static void check_object(struct json_value v, json_t *node)
{
	struct json_value name, value;
	size_t at = 0, count = 0;

	must(v.type == JSON_OBJECT, "an object");
	for (; json_next_member(v, &at, &name, &value); count++) {
		struct buf decoded = BUF_INIT(TEXT_LIMIT);
		json_t *member;

		must(json_text(name, &decoded, NULL) == ERR_OK, "a name can be decoded");
		member = json_object_get(node, buf_str(&decoded));
		must(member != NULL, "no member that is not there");
		check_value(value, member);
		buf_done(&decoded);
	}
	must(count == json_object_size(node), "all members");
}

static void check_value(struct json_value v, json_t *node)
{
	switch (json_typeof(node)) {
	case JANSSON_OBJECT: check_object(v, node); return;
	case JANSSON_ARRAY: check_array(v, node); return;
	case JANSSON_STRING:
		must(v.type == JSON_STRING, "a string");
		must(same_text(v, json_string_value(node), json_string_length(node)), "same text");
		return;
	case JANSSON_INTEGER: check_integer(v, node); return;
	case JANSSON_REAL: check_real(v, node); return;
	case JANSSON_TRUE: must(v.type == JSON_TRUE, "true"); return;
	case JANSSON_FALSE: must(v.type == JSON_FALSE, "false"); return;
	case JANSSON_NULL: must(v.type == JSON_NULL, "null"); return;
	}
}

static void check_pointers(struct slice text, json_t *tree)
{
	/* Different texts show different places of their trees. */
	struct places places = { .skip = 1 + text.len % 7 };
	struct json_path *paths[JSON_PATHS_MAX] = { NULL };
	struct json_value found[JSON_PATHS_MAX];
	struct buf pointer = BUF_INIT(TEXT_LIMIT);

	must(buf_put(&pointer, "", 0, NULL) == ERR_OK, "memory");
	collect(&places, tree, &pointer);
	for (size_t i = 0; i < places.count; i++)
		must(json_path_open(slice_str(places.at[i].pointer), &paths[i], NULL) == ERR_OK,
			"a pointer is one");
	must(json_scan(text, paths, places.count, found, NULL) == ERR_OK, "good twice");
	for (size_t i = 0; i < places.count; i++) {
		json_t *node = (json_t *)(uintptr_t)places.at[i].node;

		if (node)
			check_value(found[i], node);
		else
			must(found[i].type == JSON_ABSENT, "nothing where nothing is");
		must(!node || json_line(text, places.at[i].pointer) > 0, "it is on a line");
		json_path_close(&paths[i]);
		free(places.at[i].pointer);
	}
	buf_done(&pointer);
}

static void check_reader(struct slice text)
{
	json_error_t report;
	struct err err = ERR_INIT;
	struct json_path *whole = NULL;
	struct json_value root = { .type = JSON_ABSENT };
	json_t *tree =
		json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &report);
	enum err_code rc;

	must(json_path_open(SLICE_EMPTY, &whole, NULL) == ERR_OK, "the empty pointer");
	rc = json_scan(text, &whole, 1, &root, &err);
	must(rc == err.code, "result and report agree");
	must(rc == ERR_OK || rc == ERR_SYNTAX || rc == ERR_LIMIT, "a result that is meant");
	must((rc == ERR_OK) == (root.type != JSON_ABSENT), "a value or a failure");
	if (rc == ERR_OK && !tree && json_error_code(&report) != json_error_numeric_overflow)
		(void)fprintf(stderr, "jansson says: %s\n", report.text);
	if (rc == ERR_SYNTAX && tree && !memchr(text.data, 0, text.len))
		(void)fprintf(stderr, "we say: %s\n", err.text);
	/* jansson loses a NUL that it has to put back, and then accepts it behind a number. */
	if (memchr(text.data, 0, text.len))
		must(rc != ERR_OK, "a NUL is never good");
	else if (tree || json_error_code(&report) != json_error_numeric_overflow)
		must(rc == ERR_LIMIT || (rc == ERR_OK) == (tree != NULL), "good for both or none");
	if (rc == ERR_OK && tree) {
		check_value(root, tree);
		check_pointers(text, tree);
	}
	json_path_close(&whole);
	json_decref(tree);
}

static void check_writer(struct slice bytes)
{
	struct buf out = BUF_INIT(TEXT_LIMIT * 8);
	json_t *tree;
	const json_t *string;

	must(buf_put_str(&out, "{", NULL) == ERR_OK, "memory");
	must(json_put_str(&out, "a", bytes, NULL) == ERR_OK, "memory");
	must(json_put_str(&out, "b", bytes, NULL) == ERR_OK, "memory");
	must(buf_put_str(&out, "}", NULL) == ERR_OK, "memory");
	tree = json_loadb(buf_str(&out), out.len, JSON_ALLOW_NUL, NULL);
	must(tree != NULL, "what we write can be read");
	string = json_object_get(tree, "b");
	if (text_is_utf8(bytes) && bytes.data)
		must(slice_eq(bytes, (struct slice){ (const uint8_t *)json_string_value(string),
					     json_string_length(string) }),
			"what we write is what is read");
	json_decref(tree);
	buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { data, size };

	if (size > MIB(1))
		return 0;
	check_reader(text);
	check_writer(text);
	return 0;
}

#include "replay_main.inc"
