/* sign_priv.h - a request that is being made, for the files that make one. */
#pragma once

#include "postern/text.h"
#include "scheme_priv.h"

struct sender {
	const struct scheme *s;
	const struct way *way; /* the first */
	const struct scheme_draft *draft;
	struct scheme_signed *out;
	struct err *err;
	struct notes notes;
	struct slice json_set[JSON_PATHS_MAX]; /* what was put at each pointer */
	struct slice item_set[JSON_PATHS_MAX]; /* likewise in the first element */
	char time[TEXT_TIME_LEN];
};

/* A header with this value, once. */
enum err_code place_header(struct sender *d, struct slice name, struct slice value);
/* name=value among "a=1&b=2", in place of one that is there; value.data NULL: without it. */
enum err_code place_param(
	struct buf *params, struct slice name, struct slice value, struct err *err);
/* Is this a place that a sender fills? */
bool place_can_take(const struct part *part);
/* A value where the reference reads it; of several elements in the first. */
enum err_code place_value(
	struct sender *d, const struct part *part, struct slice value, bool as_number);
/* "/events/0/id": the pointer into an element, from the whole. Appended. */
enum err_code place_pointer(struct sender *d, const struct part *array, size_t index,
	const char *pointer, struct buf *out);

/* sign_body.c: the body before it is filled, as the scheme wants it: an array where it looks for
 * one. */
enum err_code sign_shape_body(struct sender *d);
/* And afterwards: in the field of a form, where it looks for that. */
enum err_code sign_wrap_body(struct sender *d);

/* sign_proof.c: the signature, written where verify finds it. */
enum err_code sign_prove(struct sender *d, struct eval *ev);
