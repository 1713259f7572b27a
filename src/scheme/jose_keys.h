/* jose_keys.h - the keys of a source as JWKs, for the modules that take them. Private to this room.
 */
#pragma once

#include "jose.h"
#include "scheme_priv.h"

struct jose_keys {
	bool allowed[JWS_ALGS];
	enum jws_alg algs[JWS_ALGS]; /* in the order of the config */
	size_t alg_count;
	struct key_file *files[SCHEME_KEYS_MAX]; /* by the source's keys */
};
void jose_allow(struct jose_keys *keys, enum jws_alg alg);
/* A module's key(). */
bool jose_key(struct compile *c, struct jose_keys *keys, size_t key, const struct node *at,
	struct slice text);
void jose_close(struct jose_keys *keys);
/* One of the source's valid keys made this signature: j->out->key. KEY_NOT_FOUND: none has the kid,
 * after its files were looked at again. */
enum err_code jose_prove(struct judge *j, const struct jose_keys *keys, const struct jws *token);

/* The first of the source's keys that is valid and can sign; *out_set is the caller's. */
struct jose_signer {
	struct jwk_set *set;
	const struct jwk *key;
	const char *kid; /* NULL: none */
	enum jws_alg alg;
};
MUST_CHECK enum err_code jose_find_signer(const struct jose_keys *keys, const struct scheme *s,
	int64_t now_ms, struct jose_signer *out, struct err *err);
