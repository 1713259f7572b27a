/* json.h - JSON without a tree: validate the bytes once, take out the members that were asked for;
 * and a writer for our own small objects.
 *
 * Accepts what jansson's json_loadb(JSON_REJECT_DUPLICATES) accepts, apart from the limits below
 * and from a NUL byte behind a number or literal, which jansson overlooks; and numbers of any size,
 * which jansson refuses beyond 64 bits or a double. It is held to that by tests/fuzz/json. A
 * duplicate member anywhere is ERR_SYNTAX. The top level must be an object or an array.
 *
 * Owns:    nothing; results are slices of the text.
 * Threads: pure.
 * Errors:  ERR_SYNTAX (text names line and column), ERR_LIMIT (the limits below), ERR_NOMEM. */
#pragma once

#include "postern/buf.h"

#define JSON_DEPTH_MAX 128
#define JSON_STRUCTURE_MAX 500000 /* '{', '[' and ',' in one text */
#define JSON_NUMBER_MAX 1024      /* bytes of one number */
#define JSON_TEXT_MAX MIB(256)    /* bytes of one text */
#define JSON_PATHS_MAX 64

enum json_type {
	JSON_ABSENT,
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_INTEGER, /* fits in int64: no dot, no exponent */
	JSON_REAL,    /* any other number */
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
};

struct json_value {
	enum json_type type;
	struct slice
		raw;  /* string: between the quotes, escapes not decoded; else the whole value */
	bool escaped; /* a string with a backslash: decode with json_text() */
};

/* A compiled RFC 6901 pointer ("/a/b/0", "" is the whole text). */
struct json_path;
MUST_CHECK enum err_code json_path_open(
	struct slice pointer, struct json_path **out, struct err *err);
void json_path_close(struct json_path **path);

/* One pass over the text: validates all of it, and fills out[i] for paths[i] (JSON_ABSENT where
 * there is none). count may be 0. */
MUST_CHECK enum err_code json_scan(struct slice text, struct json_path *const *paths, size_t count,
	struct json_value *out, struct err *err);
/* Convenience for cold paths: one pointer given as text. */
MUST_CHECK enum err_code json_get(
	struct slice text, const char *pointer, struct json_value *out, struct err *err);
/* The elements of an array value, one after the other: *at starts at 0; false at the end. The text
 * must have been validated. */
bool json_next(struct json_value array, size_t *at, struct json_value *out);
/* Members of an object value, likewise; *out_name is undecoded. */
bool json_next_member(
	struct json_value object, size_t *at, struct json_value *out_name, struct json_value *out);
/* Append the scalar as text: strings decoded to UTF-8, numbers and literals as written; an array or
 * object as its raw bytes. null is empty. */
MUST_CHECK enum err_code json_text(struct json_value v, struct buf *out, struct err *err);
/* Line (from 1) of the value at this pointer in a valid text, or 0. For messages about configs. */
unsigned json_line(struct slice text, const char *pointer);

/* Writers. A member writer puts a comma first unless the buffer ends with '{', '[' or ','. Strings
 * are escaped, invalid UTF-8 becomes U+FFFD. NULL data writes null. */
MUST_CHECK enum err_code json_put_string(struct buf *out, struct slice s, struct err *err);
MUST_CHECK enum err_code json_put_name(struct buf *out, const char *name, struct err *err);
MUST_CHECK enum err_code json_put_str(
	struct buf *out, const char *name, struct slice value, struct err *err);
MUST_CHECK enum err_code json_put_int(
	struct buf *out, const char *name, int64_t value, struct err *err);
MUST_CHECK enum err_code json_put_num(
	struct buf *out, const char *name, double value, struct err *err); /* finite, 6 digits */
MUST_CHECK enum err_code json_put_bool(
	struct buf *out, const char *name, bool value, struct err *err);
/* Value is already JSON. */
MUST_CHECK enum err_code json_put_raw(
	struct buf *out, const char *name, struct slice value, struct err *err);
