/* key.c - keys and secrets: read once, decoded, made into MACs, wiped.
 *
 * What a file holds is text in the scheme's encoding; exactly one newline at its end is not part of
 * it. Messages name the file or variable, never a byte of what is in it. Deliberately not here:
 * whether others may read the file (config), choosing among keys (verify.c). */
#include "scheme_priv.h"
#include "postern/file.h"
#include "postern/text.h"

#include <stdio.h>
#include <stdlib.h>

#define KEY_TEXT_MAX KIB(16)     /* encoded, with its prefix */
#define MODULE_TEXT_MAX KIB(256) /* many keys in one file */

enum encoding { ENCODING_UTF8, ENCODING_HEX, ENCODING_BASE64, ENCODING_SPKI, ENCODING_PEM };

struct key_form {
	enum encoding encoding;
	struct slice prefix; /* taken off when it is there */
};

static const char *const roles[] = { "current", "next", "previous" }; /* in the order of use */

/* A place for messages, as config knows keys by pointer and line only. */
static struct node place_of(const struct key_ref *ref)
{
	return (struct node){ .pointer = ref->pointer, .line = ref->line };
}

static const char *name_of(const struct key_ref *ref)
{
	return ref->file ? ref->file : ref->env;
}

static bool has_blanks(struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] <= ' ')
			return true;
	}
	return false;
}

/* The text of a reference, without the newline that editors leave. */
static bool read_text(struct compile *c, const struct key_ref *ref, struct buf *out)
{
	struct err err = ERR_INIT;
	struct node at = place_of(ref);
	const char *value = ref->env ? getenv(ref->env) : NULL;
	enum err_code rc;

	if (ref->env && !value)
		return compile_fail(c, &at, "%s is not set in the environment", ref->env);
	rc = ref->env ? buf_put_str(out, value, &err) : file_read_text(ref->file, out, &err);
	if (rc != ERR_OK)
		return compile_fail(c, &at, "%s", err.text);
	if (out->len == 0)
		return compile_fail(c, &at, "%s is empty", name_of(ref));
	return true;
}

static bool parse_form(struct compile *c, const struct node *verify, struct key_form *out)
{
	static const struct {
		const char *name;
		enum encoding encoding;
		bool is_public; /* for public keys alone */
	} rows[] = {
		{ "utf8", ENCODING_UTF8, false },
		{ "hex", ENCODING_HEX, false },
		{ "base64", ENCODING_BASE64, false },
		{ "spki-base64", ENCODING_SPKI, true },
		{ "pem", ENCODING_PEM, true },
	};
	const struct node *at = node_member(verify, "key");
	bool is_public = c->way->alg->kind == ALG_PUBLIC;
	struct slice text, name;

	*out = (struct key_form){ .encoding = ENCODING_UTF8 };
	if (!at)
		return !is_public ||
		       compile_fail(c, verify, "key is missing: hex, base64, spki-base64 or pem?");
	if (!compile_string(c, at, &text))
		return false;
	name = slice_sub(text, 0, slice_find(text, ':'));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!slice_eq_str(name, rows[i].name))
			continue;
		if (rows[i].is_public && !is_public)
			return compile_fail(
				c, at, "%s is for the keys of ed25519 and ecdsa", rows[i].name);
		if (rows[i].encoding == ENCODING_UTF8 && is_public)
			break;
		out->encoding = rows[i].encoding;
		out->prefix = slice_sub(text, name.len + 1, text.len);
		return true;
	}
	return compile_fail(c, at, "must be %s, with or without \":PREFIX\"",
		is_public ? "hex, base64, spki-base64 or pem" : "utf8, hex or base64");
}

static bool decode(struct compile *c, const struct key_ref *ref, const struct key_form *form,
	struct slice text, struct buf *out)
{
	struct node at = place_of(ref);
	const char *blank = has_blanks(text) ? " (there is white space in it)" : "";
	enum err_code rc = ERR_OK;

	if (form->prefix.len > 0 && slice_starts(text, form->prefix))
		text = slice_sub(text, form->prefix.len, text.len);
	switch (form->encoding) {
	case ENCODING_UTF8:
	case ENCODING_PEM: rc = buf_put_slice(out, text, NULL); break;
	case ENCODING_HEX: rc = text_hex_decode(text, out, NULL); break;
	case ENCODING_SPKI:
	case ENCODING_BASE64: rc = text_base64_decode(text, out, NULL); break;
	}
	if (rc != ERR_OK)
		return compile_fail(c, &at, "%s is not %s%s", name_of(ref),
			form->encoding == ENCODING_HEX ? "hex" : "base64", blank);
	if (out->len == 0 || out->len > CRYPTO_SECRET_MAX)
		return compile_fail(c, &at, "%s: a key has 1 to %d bytes, this one %zu",
			name_of(ref), CRYPTO_SECRET_MAX, out->len);
	if (form->encoding == ENCODING_UTF8 && *blank)
		compile_warn(c, &at, "%s: the key%s, which counts", name_of(ref), blank);
	return true;
}

/* Read, decode, and wipe what was in between. */
static bool read_secret(struct compile *c, const struct key_ref *ref, const struct key_form *form,
	struct secret *out)
{
	struct buf text = BUF_INIT(KEY_TEXT_MAX), bytes = BUF_INIT(KEY_TEXT_MAX);
	bool ok = read_text(c, ref, &text) && buf_reserve(&bytes, text.len, NULL) == ERR_OK &&
		  decode(c, ref, form, buf_slice(&text), &bytes);

	if (ok && secret_set(out, buf_slice(&bytes), NULL) != ERR_OK) {
		c->no_memory = true;
		ok = false;
	}
	if (text.data)
		buf_wipe(&text);
	if (bytes.data)
		buf_wipe(&bytes);
	buf_done(&text);
	buf_done(&bytes);
	return ok;
}

/* ---- the source's keys -------------------------------------------------------------------------
 */

static bool list_key(struct compile *c, const struct key_ref *ref)
{
	struct key *key = &c->s->keys[c->s->key_count++];

	key->ref = ref;
	key->role = compile_keep_text(c, slice_str(ref->role));
	key->kid = ref->kid ? compile_keep_text(c, slice_str(ref->kid)) : NULL;
	key->file = ref->file ? compile_keep_text(c, slice_str(ref->file)) : NULL;
	key->not_before_ms = ref->not_before_ms;
	key->not_after_ms = ref->not_after_ms;
	return !c->no_memory;
}

bool key_list(struct compile *c)
{
	if (c->source->key_count > SCHEME_KEYS_MAX)
		return compile_fail(c, NULL, "more than %d keys", SCHEME_KEYS_MAX);
	for (size_t r = 0; r < ARRAY_LEN(roles); r++) {
		for (size_t i = 0; i < c->source->key_count; i++) {
			const struct key_ref *ref = &c->source->keys[i];

			if (slice_eq_str(slice_str(ref->role), roles[r]) && !list_key(c, ref))
				return false;
		}
	}
	return true;
}

/* The first way that can read a key gives it its name for people. */
static void name_key(struct key *key, const struct secret *secret)
{
	char fingerprint[sizeof(key->fingerprint)];

	if (key->fingerprint[0])
		return;
	crypto_fingerprint(secret, fingerprint);
	memcpy(key->fingerprint, fingerprint, sizeof(fingerprint));
	(void)snprintf(key->used, sizeof(key->used), "%s:%s", key->role, fingerprint);
}

/* A raw key of Ed25519, SubjectPublicKeyInfo, or PEM. */
static enum err_code open_public(const struct alg *alg, enum encoding encoding, struct slice bytes,
	struct pkey **out, struct err *err)
{
	if (encoding == ENCODING_PEM)
		return pkey_from_pem(bytes, out, err);
	if (encoding != ENCODING_SPKI && alg->pkey == PKEY_EDDSA)
		return pkey_from_ed25519(bytes, SLICE_EMPTY, out, err);
	return pkey_from_spki(bytes, out, err);
}

static bool use_public(struct compile *c, struct key *key, struct keyed *to, enum encoding encoding,
	struct slice bytes)
{
	const struct alg *alg = c->way->alg;
	struct node at = place_of(key->ref);
	struct err err = ERR_INIT;

	if (open_public(alg, encoding, bytes, &to->pkey, &err) != ERR_OK) {
		c->no_memory |= err.code == ERR_NOMEM;
		return compile_fail(c, &at, "%s: %s", name_of(key->ref), err.text);
	}
	if (!pkey_fits(to->pkey, alg->pkey))
		return compile_fail(
			c, &at, "%s: this key does not go with %s", name_of(key->ref), alg->name);
	return true;
}

/* What the way makes of a key. */
static bool use_secret(
	struct compile *c, size_t index, enum encoding encoding, struct secret *secret)
{
	struct keyed *to = &c->way->keyed[index];
	struct slice bytes = { secret->data, secret->len };
	bool ok = true;

	switch (c->way->alg->kind) {
	case ALG_PUBLIC: ok = use_public(c, &c->s->keys[index], to, encoding, bytes); break;
	case ALG_DIGEST:
	case ALG_TOKEN:
	case ALG_BASIC:
		crypto_sha256(bytes, to->digest);
		to->secret = *secret; /* it is the way's from now on */
		*secret = (struct secret){ 0 };
		break;
	case ALG_MAC:
	case ALG_NONE:
	case ALG_MODULE:
		ok = crypto_mac_open(c->way->alg->digest, secret, &to->mac, NULL) == ERR_OK;
		c->no_memory |= !ok;
		break;
	}
	to->is_ready = ok;
	return ok;
}

static bool read_key(struct compile *c, size_t index, const struct key_form *form)
{
	struct key *key = &c->s->keys[index];
	struct secret secret = { 0 };
	bool ok = read_secret(c, key->ref, form, &secret);

	if (ok) {
		name_key(key, &secret);
		ok = use_secret(c, index, form->encoding, &secret);
	}
	secret_done(&secret);
	return ok;
}

/* A module takes a key's text as it is. */
static bool give_key(struct compile *c, size_t index)
{
	struct key *key = &c->s->keys[index];
	struct node at = place_of(key->ref);
	struct buf text = BUF_INIT(MODULE_TEXT_MAX);
	struct secret secret;
	bool ok = read_text(c, key->ref, &text);

	if (ok) {
		secret = (struct secret){ text.data, text.len };
		name_key(key, &secret);
		ok = c->way->alg->module->key(c, index, &at, buf_slice(&text));
		c->way->keyed[index].is_ready = ok;
	}
	if (text.data)
		buf_wipe(&text);
	buf_done(&text);
	return ok;
}

static bool needs_no_key(struct compile *c, const struct node *verify)
{
	const struct alg *alg = c->way->alg;

	if (alg->kind == ALG_NONE && c->s->key_count > 0)
		compile_warn(c, verify, "alg \"none\" has no use for the source's keys");
	return alg->kind == ALG_NONE ||
	       (alg->module && alg->module->keyless && c->s->key_count == 0);
}

bool key_read_all(struct compile *c, const struct node *verify)
{
	struct key_form form;
	bool ok = true, any = false;

	if (needs_no_key(c, verify))
		return true;
	if (c->s->key_count == 0 && compile_learns(c->source->scheme)) {
		compile_warn(c, NULL,
			"there is no key yet: its sender tells it; postern learn %s --for 5m",
			c->source->name);
		return true;
	}
	if (c->s->key_count == 0)
		return compile_fail(c, NULL, "the source has no keys");
	if (!c->way->alg->module && !parse_form(c, verify, &form))
		return false;
	c->is_trying = c->has_many;
	for (size_t i = 0; i < c->s->key_count; i++) {
		bool fits = c->way->alg->module ? give_key(c, i) : read_key(c, i, &form);

		ok &= fits || c->has_many;
		any |= fits;
	}
	c->is_trying = false;
	return ok && (any || compile_fail(c, verify, "no key of the source goes with this"));
}

void key_check_used(struct compile *c)
{
	const struct scheme *s = c->s;

	for (size_t i = 0; i < s->key_count; i++) {
		struct node at = place_of(s->keys[i].ref);
		bool used = false;

		for (size_t w = 0; w < s->way_count; w++)
			used |= s->ways[w].keyed[i].is_ready;
		if (!used)
			(void)compile_fail(c, &at, "%s: no alternative of verify can use this key",
				name_of(s->keys[i].ref));
	}
}

bool key_read_secrets(struct compile *c)
{
	static const struct key_form plain = { .encoding = ENCODING_UTF8 };
	struct scheme *s = c->s;
	bool ok = true;

	if (c->source->secret_count > SECRETS_MAX)
		return compile_fail(c, NULL, "more than %d secrets", SECRETS_MAX);
	for (size_t i = 0; i < c->source->secret_count; i++) {
		const struct named_secret *named = &c->source->secrets[i];
		struct named_key *key = &s->secrets[s->secret_count++];

		/* Named even when it cannot be read, so that one mistake is one message. */
		key->name = compile_keep_text(c, slice_str(named->name));
		if (!key->name)
			return false;
		ok &= read_secret(c, &named->ref, &plain, &key->secret);
	}
	return ok;
}

void key_close_all(struct scheme *s)
{
	for (size_t w = 0; w < s->way_count; w++) {
		for (size_t i = 0; i < s->key_count; i++) {
			struct keyed *keyed = &s->ways[w].keyed[i];

			crypto_mac_close(&keyed->mac);
			pkey_close(&keyed->pkey);
			secret_done(&keyed->secret);
		}
	}
	for (size_t i = 0; i < s->secret_count; i++)
		secret_done(&s->secrets[i].secret);
}

bool key_valid(const struct key *key, int64_t now_ms)
{
	return now_ms >= key->not_before_ms && now_ms <= key->not_after_ms;
}
