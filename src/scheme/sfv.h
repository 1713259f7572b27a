/* sfv.h - structured field values (RFC 9651), read strictly and written canonically at once.
 * Private to this room.
 *
 * A reader goes over one field's value. What it reads it also writes, in the one form that the RFC
 * gives it, to the end of a buffer that never grows; so the canonical text of anything is what was
 * written while it was read. Stricter than the RFC: a key or parameter that comes twice is no
 * value.
 */
#pragma once

#include "postern/buf.h"

#define SFV_MEMBERS_MAX 32

enum sfv_type {
	SFV_INTEGER,
	SFV_DECIMAL,
	SFV_STRING,
	SFV_TOKEN,
	SFV_BYTES,
	SFV_BOOLEAN,
	SFV_DATE,
	SFV_DISPLAY,
	SFV_LIST /* an inner list: what it holds is told item by item */
};

struct sfv_value {
	enum sfv_type type;
	int64_t number;    /* INTEGER, DATE; BOOLEAN: 0 or 1 */
	struct slice text; /* STRING, TOKEN; BYTES: decoded. In the text buffer, or the input */
};

struct sfv {
	struct slice rest;
	struct buf *canon; /* canonical text; reserved */
	struct buf *text;  /* decoded strings and bytes; reserved */
	bool failed;
};

/* A bare item, without parameters. */
bool sfv_item(struct sfv *p, struct sfv_value *out);
/* The next parameter; false at their end, or when failed. */
bool sfv_param(struct sfv *p, struct slice *key, struct sfv_value *out);
/* "(": then sfv_list_next() before each item, false at the ")". The items' parameters are the
 * caller's to read. */
bool sfv_list_open(struct sfv *p);
bool sfv_list_next(struct sfv *p, bool *is_first);
/* Over all parameters, looking at none. */
void sfv_skip_params(struct sfv *p);

/* The members of a dictionary: true with the key, standing before its value. */
struct sfv_members {
	struct slice keys[SFV_MEMBERS_MAX];
	size_t count;
};
bool sfv_member(struct sfv *p, struct sfv_members *seen, struct slice *key);
/* What follows the key: "=" and an item or inner list, or nothing, which is true. *is_list: the
 * caller reads the inner list itself. */
bool sfv_member_value(struct sfv *p, struct sfv_value *out, bool *is_list);
/* A member's whole value with its parameters, looked at by nobody. */
bool sfv_skip_value(struct sfv *p, struct sfv_value *out);
/* Is this whole text a dictionary (a list, an item)? Its canonical form is written. */
bool sfv_dictionary(struct sfv *p);
bool sfv_list(struct sfv *p);
/* Append a string item, quoted. False: it has other than printable ASCII. */
bool sfv_put_string(struct buf *out, struct slice s);
