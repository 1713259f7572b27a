/* httpsig.h - HTTP Message Signatures (RFC 9421) with Content-Digest (RFC 9530). Private to this
 * room.
 *
 *   sfv.c              structured fields
 *   httpsig_input.c    Signature-Input and Signature -> labelled signatures
 *   httpsig_base.c     covered components of a request -> the text that was signed
 *   content_digest.c   Content-Digest over the raw body
 *   httpsig.c          the module: which signature counts, coverage, keys, times
 *   httpsig_compile.c  the member "httpsig" of verify
 *   httpsig_sign.c     the sender's side
 *
 * A request says itself what its signature covers; what it has to cover is the config's choice. */
#pragma once

#include "jose_keys.h"
#include "sfv.h"

#define HTTPSIG_LABELS_MAX 16
#define HTTPSIG_COMPONENTS_MAX 32
#define HTTPSIG_FIELD_MAX KIB(8) /* of Signature-Input, of Signature, joined */
#define HTTPSIG_BASE_MAX KIB(32)

/* ---- what a request says -----------------------------------------------------------------------
 */

struct httpsig_component {
	struct slice id;   /* canonical, with its parameters: "\"@query-param\";name=\"a\"" */
	struct slice name; /* lower case; '@': derived */
	bool sf, bs;
	struct slice key, param; /* of ;key= and ;name=; data NULL: none */
};

struct httpsig_label {
	struct slice label;
	struct httpsig_component components[HTTPSIG_COMPONENTS_MAX];
	size_t count;
	struct slice params; /* canonical: the inner list and its parameters */
	bool has_created, has_expires, has_kid, has_alg, has_tag;
	int64_t created_s, expires_s;
	struct slice kid, alg, tag;
	struct slice signature; /* bytes; data NULL: Signature has none for this label */
};

struct httpsig_input {
	struct httpsig_label labels[HTTPSIG_LABELS_MAX];
	size_t count;
	struct buf canon, text; /* what the slices point into */
};
/* NULL, or why the two fields are not what they should be. They are joined by the caller. */
const char *httpsig_read(struct slice input, struct slice signature, struct httpsig_input *out);
void httpsig_input_done(struct httpsig_input *in);

/* ---- what is signed ----------------------------------------------------------------------------
 */

/* The URL as the sender sees it. authority empty: nobody knows it. */
struct httpsig_target {
	struct slice scheme, authority, path;
	bool has_url; /* scheme and the rest come from the config, not from the request */
};
/* All values of a header, joined by ", ", each without blanks around it. False: there is none.
 * Appends.
 */
bool httpsig_field(const struct scheme_request *rq, struct slice name, struct buf *out);
/* public_url empty: what the request says of itself. authority may need the buffer. */
void httpsig_target(const struct scheme_request *rq, struct slice public_url, struct buf *text,
	struct httpsig_target *out);
/* The signature base. NULL, or why it cannot be made; *out_component: of which. */
const char *httpsig_base(const struct scheme_request *rq, const struct httpsig_target *target,
	const struct httpsig_label *label, struct buf *out, struct slice *out_component);

/* Does Content-Digest hold for the body? NULL, or why not. At least one digest must be of a kind
 * that is known, and all of these must be right. */
const char *content_digest_refuse(struct slice field, struct slice body);

/* ---- the module --------------------------------------------------------------------------------
 */

struct httpsig {
	struct jose_keys keys;
	struct slice cover[HTTPSIG_COMPONENTS_MAX]; /* names that must be covered; data NULL ends */
	size_t cover_count;
	bool is_default;         /* no list: method, target, and the digest of a body */
	const char *label, *tag; /* NULL: any */
};
/* The algorithms by their names in RFC 9421. */
bool httpsig_alg_find(struct slice name, enum jws_alg *out);
const char *httpsig_alg_name(enum jws_alg alg);
bool httpsig_covers(const struct httpsig_label *label, const char *name);

extern const char *const httpsig_members[];
bool httpsig_compile(struct compile *c, const struct node *verify);
bool httpsig_key(struct compile *c, size_t key, const struct node *at, struct slice text);
void httpsig_close(struct way *way);
struct sender;
enum err_code httpsig_place(struct sender *d, struct eval *ev);
