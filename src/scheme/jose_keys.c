/* jose_keys.c - the keys of a source as JWKs: read, chosen by kid, tried.
 *
 * At most SCHEME_KEYS_MAX keys are tried for a signature, whatever the files hold. Deliberately not
 * here: what is signed. */
#include "jose_keys.h"

#include "postern/text.h"

void jose_allow(struct jose_keys *keys, enum jws_alg alg)
{
	if (!keys->allowed[alg])
		keys->algs[keys->alg_count++] = alg;
	keys->allowed[alg] = true;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

static bool fits_any(const struct jose_keys *keys, const struct jwk_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		for (size_t a = 0; a < keys->alg_count; a++) {
			if (jwk_fits(&set->keys[i], keys->algs[a]))
				return true;
		}
	}
	return false;
}

bool jose_key(struct compile *c, struct jose_keys *keys, size_t key, const struct node *at,
	struct slice text)
{
	const char *path = c->s->keys[key].file;
	struct jwk_set *set = NULL;
	struct err err = ERR_INIT;

	if (jwk_set_open(text, &set, &err) != ERR_OK) {
		c->no_memory |= err.code == ERR_NOMEM;
		return compile_fail(c, at, "%s%s%s", path ? path : "", path ? ": " : "", err.text);
	}
	if (!fits_any(keys, set))
		compile_warn(c, at, "none of the keys is one for the algorithms that are allowed");
	if (key_file_open(path, set, &keys->files[key], &err) != ERR_OK) {
		c->no_memory = true;
		return false;
	}
	return true;
}

void jose_close(struct jose_keys *keys)
{
	for (size_t i = 0; i < ARRAY_LEN(keys->files); i++)
		key_file_close(&keys->files[i]);
}

/* ---- use ---------------------------------------------------------------------------------------
 */

struct search {
	size_t labelled; /* keys with the token's kid, or with none */
	size_t tried;
	enum err_code rc;
};

static bool is_wanted(const struct jws *token, const struct jwk *key, const char *entry_kid)
{
	const char *kid = key->kid ? key->kid : entry_kid;

	return !token->has_kid || !kid || slice_eq_str(token->kid, kid);
}

/* ERR_OK: one of them made the signature. */
static void try_set(
	const struct jwk_set *set, const char *entry_kid, const struct jws *token, struct search *s)
{
	for (size_t i = 0; i < set->count && s->rc == ERR_BAD_SIGNATURE; i++) {
		if (!is_wanted(token, &set->keys[i], entry_kid))
			continue;
		s->labelled++;
		if (!jwk_fits(&set->keys[i], token->alg) || s->tried == SCHEME_KEYS_MAX)
			continue;
		s->tried++;
		s->rc = jwk_verify(&set->keys[i], token->alg, token->input, token->signature);
	}
}

/* Every key of the source that is valid now, in their order. */
static void try_keys(struct judge *j, const struct jose_keys *keys, const struct jws *token,
	bool missed, struct search *s)
{
	const struct scheme *scheme = j->ev.scheme;

	*s = (struct search){ .rc = ERR_BAD_SIGNATURE };
	for (size_t k = 0; k < scheme->key_count && s->rc == ERR_BAD_SIGNATURE; k++) {
		struct jwk_set *set;

		if (!key_valid(&scheme->keys[k], j->now_ms))
			continue;
		set = key_file_keys(keys->files[k], j->now_ms, missed);
		try_set(set, scheme->keys[k].kid, token, s);
		jwk_set_unref(&set);
		if (s->rc == ERR_OK)
			j->out->key = (int)k;
	}
}

enum err_code jose_prove(struct judge *j, const struct jose_keys *keys, const struct jws *token)
{
	struct search s;
	char kid[64] = "";

	try_keys(j, keys, token, false, &s);
	if (token->has_kid && s.labelled == 0)
		try_keys(j, keys, token, true, &s);
	if (s.rc == ERR_OK)
		return ERR_OK;
	if (s.rc != ERR_BAD_SIGNATURE)
		return judge_refuse(j, ERR_UNAVAILABLE, "no memory to verify");
	if (token->has_kid)
		text_printable(token->kid, kid, sizeof(kid));
	if (token->has_kid && s.labelled == 0)
		return judge_refuse(j, ERR_KEY_NOT_FOUND, "no key has the kid \"%s\"", kid);
	if (s.tried == 0)
		return judge_refuse(j, ERR_BAD_SIGNATURE, "no valid key is one for %s",
			jws_alg_name(token->alg));
	return judge_refuse(j, ERR_BAD_SIGNATURE, "%zu key%s tried, none fits", s.tried,
		s.tried == 1 ? "" : "s");
}

/* ---- the sender's side -------------------------------------------------------------------------
 */

static bool can_sign(const struct jwk *key, enum jws_alg alg)
{
	return jwk_fits(key, alg) && (!key->pkey || pkey_is_private(key->pkey));
}

static bool find_in_set(const struct jose_keys *keys, struct jose_signer *out)
{
	for (size_t i = 0; i < out->set->count; i++) {
		for (size_t a = 0; a < keys->alg_count; a++) {
			if (!can_sign(&out->set->keys[i], keys->algs[a]))
				continue;
			out->key = &out->set->keys[i];
			out->alg = keys->algs[a];
			return true;
		}
	}
	return false;
}

enum err_code jose_find_signer(const struct jose_keys *keys, const struct scheme *s, int64_t now_ms,
	struct jose_signer *out, struct err *err)
{
	for (size_t k = 0; k < s->key_count; k++) {
		if (!key_valid(&s->keys[k], now_ms))
			continue;
		out->set = key_file_keys(keys->files[k], now_ms, false);
		if (find_in_set(keys, out)) {
			out->kid = out->key->kid ? out->key->kid : s->keys[k].kid;
			return ERR_OK;
		}
		jwk_set_unref(&out->set);
	}
	return err_set(err, ERR_UNSUPPORTED,
		"none of the source's keys can sign: it takes a private key (JWK or PEM) or a "
		"secret in its key file");
}
