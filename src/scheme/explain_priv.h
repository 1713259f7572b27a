/* explain_priv.h - what the files of explain share. Private to this room.
 *
 *   explain.c       the order in which mistakes are tried, and what is said of each
 *   explain_edit.c  the same request under a scheme or keys that are a little different
 *   explain_body.c  a body as it may have been before something changed it */
#pragma once

#include "postern/scheme.h"

/* Does the signature hold? Too old or too new counts: the mistake is another one then. */
bool explain_holds(const struct scheme *scheme, const struct scheme_question *q,
	const struct scheme_request *rq);

/* ---- explain_edit.c --------------------------------------------------------------------------
 */

/* With one member of verify changed. */
bool explain_with_member(const struct scheme_question *q, const char *member, const char *value);
/* With each {hex} in match written {base64}, or the other way round. */
bool explain_with_coding(const struct scheme_question *q, const char *from, const char *to);
/* With these keys in place of the source's own, whenever they are valid. */
bool explain_with_keys(
	const struct scheme_question *q, const struct key_ref *keys, size_t key_count);
/* With a key's text changed: gives false, or how (a static text), for *out_key. */
struct key_change {
	const char *text, *fix; /* one %s: the key's file */
};
const struct key_change *explain_with_text(
	const struct scheme_question *q, const struct key_ref **out_key);
/* Under another preset, whose signature header is in the request. Its name, or NULL. */
const char *explain_with_preset(const struct scheme_question *q);
/* verify.sig where it names a header, or empty. */
struct slice explain_sig_header(const struct scheme_question *q);

/* ---- explain_body.c --------------------------------------------------------------------------
 */

struct body_change {
	const char *mistake, *text, *fix;
	/* Appends the body as it may have been. False: this does not apply to it. */
	bool (*change)(struct slice body, unsigned style, struct buf *out);
	unsigned style;
};
extern const struct body_change body_changes[];
extern const size_t body_change_count;
