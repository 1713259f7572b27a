/* jws.c - a compact JSON Web Signature, taken apart.
 *
 *   header "." payload "." signature, each base64url without padding
 *
 * The header is read before the signature is checked, as it names the key: so it is read strictly.
 * What would change how the rest is to be understood (crit, b64) refuses the token. Deliberately
 * not here: keys, claims. */
#include "jose.h"

#include "postern/text.h"

#include <assert.h>

static const char *const alg_names[] = {
	[JWS_HS256] = "HS256",
	[JWS_HS384] = "HS384",
	[JWS_HS512] = "HS512",
	[JWS_RS256] = "RS256",
	[JWS_RS384] = "RS384",
	[JWS_RS512] = "RS512",
	[JWS_PS256] = "PS256",
	[JWS_PS384] = "PS384",
	[JWS_PS512] = "PS512",
	[JWS_ES256] = "ES256",
	[JWS_ES384] = "ES384",
	[JWS_ES512] = "ES512",
	[JWS_EDDSA] = "EdDSA",
};

bool jws_alg_find(struct slice name, enum jws_alg *out)
{
	for (size_t i = 0; i < ARRAY_LEN(alg_names); i++) {
		if (slice_eq_str(name, alg_names[i])) {
			*out = (enum jws_alg)i;
			return true;
		}
	}
	return false;
}

const char *jws_alg_name(enum jws_alg alg)
{
	assert(alg < JWS_ALGS);
	return alg_names[alg];
}

/* ---- the header --------------------------------------------------------------------------------
 */

enum { MEMBER_ALG, MEMBER_KID, MEMBER_CRIT, MEMBER_B64, MEMBERS };
static const char *const pointers[MEMBERS] = { "/alg", "/kid", "/crit", "/b64" };

enum err_code jws_reader_open(struct jws_reader *r, struct err *err)
{
	enum err_code rc = ERR_OK;

	static_assert(ARRAY_LEN(r->paths) == MEMBERS, "a path for each member");
	for (size_t i = 0; i < MEMBERS && rc == ERR_OK; i++)
		rc = json_path_open(slice_str(pointers[i]), &r->paths[i], err);
	return rc;
}

void jws_reader_close(struct jws_reader *r)
{
	for (size_t i = 0; i < MEMBERS; i++)
		json_path_close(&r->paths[i]);
}

static const char *read_kid(struct json_value v, struct buf *scratch, struct jws *out)
{
	size_t at = scratch->len;

	if (v.type == JSON_ABSENT)
		return NULL;
	if (v.type != JSON_STRING || v.raw.len >= scratch->cap - scratch->len ||
		json_text(v, scratch, NULL) != ERR_OK)
		return "a kid that is no text";
	out->has_kid = true;
	out->kid = (struct slice){ scratch->data + at, scratch->len - at };
	return NULL;
}

static const char *read_header(
	const struct jws_reader *r, struct slice header, struct buf *scratch, struct jws *out)
{
	struct json_value v[MEMBERS];

	if (header.len == 0 || header.data[0] != '{' ||
		json_scan(header, r->paths, MEMBERS, v, NULL) != ERR_OK)
		return "a header that is no JSON object";
	if (v[MEMBER_CRIT].type != JSON_ABSENT || v[MEMBER_B64].type != JSON_ABSENT)
		return "a header with extensions that must be understood";
	if (v[MEMBER_ALG].type != JSON_STRING || v[MEMBER_ALG].escaped ||
		!jws_alg_find(v[MEMBER_ALG].raw, &out->alg))
		return "an algorithm that is not taken";
	return read_kid(v[MEMBER_KID], scratch, out);
}

/* ---- the whole ---------------------------------------------------------------------------------
 */

/* Decoded bytes are fewer than their text, and there is room for all of the text. */
static bool decode(struct slice text, struct buf *scratch, struct slice *out)
{
	size_t at = scratch->len;

	if (text.len >= scratch->cap - scratch->len ||
		text_base64url_decode(text, scratch, NULL) != ERR_OK)
		return false;
	*out = (struct slice){ scratch->data + at, scratch->len - at };
	return true;
}

const char *jws_read(
	const struct jws_reader *r, struct slice text, struct buf *scratch, struct jws *out)
{
	size_t first = slice_find(text, '.');
	struct slice rest = slice_sub(text, first + 1, text.len), header, payload, signature;
	size_t second = slice_find(rest, '.');

	*out = (struct jws){ .alg = JWS_ALGS };
	if (text.len > JWS_TEXT_MAX)
		return "a token that is too long";
	if (first == text.len || second == rest.len)
		return "not three parts";
	payload = slice_sub(rest, 0, second);
	signature = slice_sub(rest, second + 1, rest.len);
	if (slice_find(signature, '.') < signature.len)
		return "not three parts";
	out->input = slice_sub(text, 0, first + 1 + second);
	if (!decode(slice_sub(text, 0, first), scratch, &header) ||
		!decode(payload, scratch, &out->payload) ||
		!decode(signature, scratch, &out->signature))
		return "not base64url";
	if (out->signature.len == 0)
		return "no signature";
	return read_header(r, header, scratch, out);
}
