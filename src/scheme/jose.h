/* jose.h - JSON Web Signatures and Keys (RFC 7515, 7517, 7518, 8037). Private to this room.
 *
 *   jws.c       a compact JWS taken apart, strictly
 *   jwk.c       JWK, JWK Set or PEM -> a set of keys
 *   key_file.c  a set of keys from a file that may change
 *   jose_keys.c the keys of a source, tried
 *   jwt.c       the module: which claims
 *
 * Which algorithm a token may use is the config's choice, and which a key may be used with is the
 * key's; the token can only name one that both allow. What a token says of where its key is (jku,
 * x5u, jwk, x5c) is never looked at. */
#pragma once

#include "postern/json.h"
#include "postern/pkey.h"
#include "postern/thread.h"

#include <stdatomic.h>

#define JWS_TEXT_MAX KIB(8)
#define JWK_TEXT_MAX KIB(256)
#define JWK_SET_MAX 64 /* keys of a set that are of use here */

enum jws_alg {
	JWS_HS256,
	JWS_HS384,
	JWS_HS512,
	JWS_RS256,
	JWS_RS384,
	JWS_RS512,
	JWS_PS256,
	JWS_PS384,
	JWS_PS512,
	JWS_ES256,
	JWS_ES384,
	JWS_ES512,
	JWS_EDDSA,
	JWS_ALGS
};
bool jws_alg_find(struct slice name, enum jws_alg *out);
const char *jws_alg_name(enum jws_alg alg);

/* ---- one token ---------------------------------------------------------------------------------
 */

/* Compiled once: which members of a header are looked at. */
struct jws_reader {
	struct json_path *paths[4];
};
MUST_CHECK enum err_code jws_reader_open(struct jws_reader *r, struct err *err);
void jws_reader_close(struct jws_reader *r);

struct jws {
	enum jws_alg alg;
	bool has_kid;
	struct slice kid;       /* decoded */
	struct slice input;     /* what was signed: the token up to its second dot */
	struct slice payload;   /* decoded */
	struct slice signature; /* decoded */
};
/* Slices point into the text or into scratch, which is not grown: it needs as much room as the text
 * has bytes. NULL, or why it is no token that can be judged. */
const char *jws_read(
	const struct jws_reader *r, struct slice text, struct buf *scratch, struct jws *out);

/* ---- keys --------------------------------------------------------------------------------------
 */

struct jwk {
	struct pkey *pkey; /* NULL: a secret */
	/* Of a secret: HS256, HS384, HS512; NULL where it is shorter than the digest. */
	struct crypto_mac *macs[3];
	char *kid; /* NULL: none */
	bool has_alg;
	enum jws_alg alg; /* the only one that the key may be used with */
};

/* Counted, so that a token can be checked with a set while another takes its place. */
struct jwk_set {
	atomic_uint refs; /* acq_rel on release */
	size_t count;
	struct jwk keys[JWK_SET_MAX];
};
/* A JWK (an object with kty), a JWK Set (with keys) or PEM. Keys of a set that are for another use,
 * or of a kind that is not known, are left out; a set of which nothing is left is refused:
 * ERR_SYNTAX, with a text for people. ERR_NOMEM. */
MUST_CHECK enum err_code jwk_set_open(struct slice text, struct jwk_set **out, struct err *err);
struct jwk_set *jwk_set_ref(struct jwk_set *set);
void jwk_set_unref(struct jwk_set **set);
bool jwk_fits(const struct jwk *key, enum jws_alg alg);
/* ERR_OK, ERR_BAD_SIGNATURE, ERR_NOMEM. */
MUST_CHECK enum err_code jwk_verify(
	const struct jwk *key, enum jws_alg alg, struct slice input, struct slice signature);
/* Appends the signature's bytes. ERR_UNSUPPORTED: a public key, or one that does not fit. */
MUST_CHECK enum err_code jwk_sign(const struct jwk *key, enum jws_alg alg, struct slice input,
	struct buf *out, struct err *err);

/* ---- keys from a file --------------------------------------------------------------------------
 */

/* Read again when the file is another one than it was: looked at once a second at most, and when a
 * key is missed. A file that cannot be read or has no key leaves the keys as they were. */
struct key_file;
/* path NULL: keys that never change. Takes the set over. */
MUST_CHECK enum err_code key_file_open(
	const char *path, struct jwk_set *set, struct key_file **out, struct err *err);
void key_file_close(struct key_file **file);
/* The keys as they are now; the caller's until jwk_set_unref(). missed: the ones that this gave
 * before do not have what is wanted. */
struct jwk_set *key_file_keys(struct key_file *file, int64_t now_ms, bool missed);
