/* preset_needs.c - a preset, looked at as text: which key, which secrets, which URL its source has
 * to have.
 *
 * Deliberately not here: what a scheme means (scheme), writing files (cmd_init.c). */
#include "preset_needs.h"

#include "postern/config.h"
#include "postern/file.h"
#include "postern/json.h"
#include "postern/pkey.h"
#include "postern/text.h"

#include <stdio.h>

#define KEY_BYTES 32

/* A member of the preset, or of the one that it extends. *out is empty when neither has it. */
static enum err_code find(const char *preset, const char *pointer, struct buf *out, struct err *err)
{
	struct json_value v = { .type = JSON_ABSENT };
	struct buf name = BUF_INIT(NEEDS_NAME_MAX);
	enum err_code rc = json_get(preset_text(preset), pointer, &v, err);

	if (rc == ERR_OK && v.type != JSON_ABSENT) {
		rc = json_text(v, out, err);
	} else if (rc == ERR_OK) {
		rc = json_get(preset_text(preset), "/extends", &v, err);
		if (rc == ERR_OK && v.type == JSON_STRING)
			rc = json_text(v, &name, err);
		if (rc == ERR_OK && name.len > 0)
			rc = find(buf_str(&name), pointer, out, err);
	}
	buf_done(&name);
	return rc;
}

/* ---- needs -------------------------------------------------------------------------------------
 */

static void add_secret(struct preset_needs *out, struct slice name)
{
	char *to = out->secrets[out->secret_count];

	for (size_t i = 0; i < out->secret_count; i++) {
		if (slice_eq_str(name, out->secrets[i]))
			return;
	}
	if (out->secret_count < NEEDS_SECRETS_MAX && name.len > 0 && name.len < NEEDS_NAME_MAX) {
		(void)snprintf(to, NEEDS_NAME_MAX, "%.*s", SLICE_FMT(name));
		out->secret_count++;
	}
}

/* "{secret:NAME}" */
static void find_secrets(struct slice text, struct preset_needs *out)
{
	static const struct slice mark = SLICE_LIT("{secret:");

	for (size_t at = slice_search(text, mark); at < text.len; at = slice_search(text, mark)) {
		text = slice_sub(text, at + mark.len, text.len);
		add_secret(out, slice_sub(text, 0, slice_find(text, '}')));
	}
}

static enum key_kind kind_of(struct slice alg)
{
	static const struct {
		const char *alg;
		enum key_kind kind;
	} rows[] = {
		{ "none", KEY_NONE },
		{ "x509-rsa", KEY_NONE },
		{ "ed25519", KEY_PUBLIC },
		{ "ecdsa-p256-sha256", KEY_PUBLIC },
		{ "jwt", KEY_PUBLIC },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (slice_eq_str(alg, rows[i].alg))
			return rows[i].kind;
	}
	return KEY_SECRET;
}

enum err_code preset_needs_of(const char *preset, struct preset_needs *out, struct err *err)
{
	struct buf verify = BUF_INIT(KIB(64)), alg = BUF_INIT(NEEDS_NAME_MAX);
	enum err_code rc = find(preset, "/verify", &verify, err);
	struct slice text = preset_text(preset);

	*out = (struct preset_needs){ .key = KEY_SECRET };
	if (rc == ERR_OK)
		rc = find(preset, "/verify/alg", &alg, err);
	if (rc == ERR_OK) {
		out->key = kind_of(buf_slice(&alg));
		out->public_url = slice_search(buf_slice(&verify), SLICE_LIT("{url")) < verify.len;
		out->learns = slice_search(text, SLICE_LIT("\"learn\":")) < text.len;
		find_secrets(text, out);
	}
	buf_done(&verify);
	buf_done(&alg);
	return rc;
}

/* ---- keys --------------------------------------------------------------------------------------
 */

/* The type of key that the sender of this preset signs with. */
static enum pkey_type type_of(struct slice alg, struct slice jwt_alg)
{
	if (slice_eq_str(alg, "ed25519"))
		return PKEY_ED25519;
	if (slice_eq_str(alg, "jwt") && !slice_eq_str(jwt_alg, "ES256"))
		return PKEY_RSA;
	return PKEY_P256;
}

static enum err_code put_public(
	const char *preset, struct slice alg, struct slice form, struct buf *out, struct err *err)
{
	struct buf jwt_alg = BUF_INIT(NEEDS_NAME_MAX), der = BUF_INIT(KIB(1));
	struct pkey *pkey = NULL;
	enum err_code rc = find(preset, "/verify/jwt/algs/0", &jwt_alg, err);
	struct slice bytes;
	char hex[2 * KEY_BYTES + 1];

	if (rc == ERR_OK)
		rc = pkey_make(type_of(alg, buf_slice(&jwt_alg)), &pkey, err);
	if (rc == ERR_OK)
		rc = pkey_put_spki(pkey, &der, err);
	bytes = buf_slice(&der);
	/* Without its frame a key of Ed25519 is its last 32 bytes. */
	if (slice_eq_str(alg, "ed25519") && bytes.len > KEY_BYTES)
		bytes = slice_sub(bytes, bytes.len - KEY_BYTES, KEY_BYTES);
	if (rc == ERR_OK && slice_eq_str(alg, "jwt"))
		rc = buf_put_str(out, "-----BEGIN PUBLIC KEY-----\n", err);
	if (rc == ERR_OK && slice_starts(form, SLICE_LIT("hex"))) {
		text_hex(bytes.data, bytes.len, hex);
		rc = buf_put_str(out, hex, err);
	} else if (rc == ERR_OK) {
		rc = text_base64(bytes, out, err);
	}
	if (rc == ERR_OK && slice_eq_str(alg, "jwt"))
		rc = buf_put_str(out, "\n-----END PUBLIC KEY-----", err);
	pkey_close(&pkey);
	buf_done(&jwt_alg);
	buf_done(&der);
	return rc;
}

/* Text and hex are hex digits, base64 is base64; a login has a name before its password. */
static enum err_code put_secret(
	struct slice alg, struct slice form, struct buf *out, struct err *err)
{
	uint8_t bytes[KEY_BYTES];
	char hex[2 * KEY_BYTES + 1];
	enum err_code rc = slice_eq_str(alg, "basic") ? buf_put_str(out, "postern:", err) : ERR_OK;

	random_bytes(bytes, sizeof(bytes));
	text_hex(bytes, sizeof(bytes), hex);
	if (rc == ERR_OK)
		rc = slice_starts(form, SLICE_LIT("base64"))
			     ? text_base64((struct slice){ bytes, sizeof(bytes) }, out, err)
			     : buf_put_str(out, hex, err);
	explicit_bzero(bytes, sizeof(bytes));
	explicit_bzero(hex, sizeof(hex));
	return rc;
}

enum err_code preset_make_key(const char *preset, char out[NEEDS_TEXT_MAX], struct err *err)
{
	struct buf alg = BUF_INIT(NEEDS_NAME_MAX), form = BUF_INIT(NEEDS_NAME_MAX);
	struct buf text = BUF_INIT(NEEDS_TEXT_MAX - 1);
	enum err_code rc = buf_reserve(&text, NEEDS_TEXT_MAX - 2, err); /* growing leaves copies */
	const char *prefix;

	if (rc == ERR_OK)
		rc = find(preset, "/verify/alg", &alg, err);
	if (rc == ERR_OK)
		rc = find(preset, "/verify/key", &form, err);
	prefix = strchr(buf_str(&form), ':');
	if (rc == ERR_OK)
		rc = buf_put_str(&text, prefix ? prefix + 1 : "", err);
	if (rc == ERR_OK)
		rc = kind_of(buf_slice(&alg)) == KEY_PUBLIC
			     ? put_public(preset, buf_slice(&alg), buf_slice(&form), &text, err)
			     : put_secret(buf_slice(&alg), buf_slice(&form), &text, err);
	if (rc == ERR_OK)
		memcpy(out, buf_str(&text), text.len + 1);
	if (text.data)
		buf_wipe(&text);
	buf_done(&text);
	buf_done(&alg);
	buf_done(&form);
	return rc;
}
