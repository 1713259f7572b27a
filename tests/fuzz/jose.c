/* jose.c - fuzz target: tokens and key files, as anybody may send or write them.
 *
 * Input: a letter, then the text. 't': a token, read and checked with keys that nobody has; 'k': a
 * key file; 'h': the header of a token that is signed. Properties: no token is accepted that was
 * not signed here; what was read lies in the text or in the scratch buffer; a set never holds more
 * keys than it may. */
#include "../../src/scheme/jose.h"

#include "postern/text.h"
#include "../support/jose_keys.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct jws_reader reader;
static struct jwk_set *known;
static struct buf scratch;

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void start(void)
{
	must(jws_reader_open(&reader, NULL) == ERR_OK);
	must(jwk_set_open(SLICE_LIT(JWK_ED_FULL), &known, NULL) == ERR_OK);
	scratch = BUF_INIT(KIB(64));
	must(buf_reserve(&scratch, KIB(16), NULL) == ERR_OK);
}

static void lies_within(struct slice part, struct slice whole)
{
	must(part.len == 0 ||
		(part.data >= whole.data && part.data + part.len <= whole.data + whole.len));
}

/* Nobody has the key: the published example is the one token that may verify. */
static bool read_token(struct slice text, struct jws *out)
{
	static const char example[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
	const uint8_t *before = scratch.data;

	buf_reset(&scratch);
	if (jws_read(&reader, text, &scratch, out) != NULL)
		return false;
	must(scratch.data == before); /* slices would be lost */
	lies_within(out->input, text);
	lies_within(out->payload, buf_slice(&scratch));
	lies_within(out->signature, buf_slice(&scratch));
	if (jwk_verify(&known->keys[0], out->alg, out->input, out->signature) == ERR_OK)
		must(slice_eq_str(out->input, example));
	return true;
}

static void try_keys(struct slice text)
{
	struct jwk_set *set = NULL;
	struct err err = ERR_INIT;

	if (jwk_set_open(text, &set, &err) != ERR_OK) {
		must(set == NULL && err.text[0] != '\0');
		return;
	}
	must(set->count > 0 && set->count <= JWK_SET_MAX);
	for (size_t i = 0; i < set->count; i++) {
		for (enum jws_alg a = JWS_HS256; a < JWS_ALGS; a++) {
			struct buf sig = BUF_INIT(KIB(2));

			/* A secret signs as a secret only, a public key not at all. */
			if (jwk_sign(&set->keys[i], a, text, &sig, NULL) == ERR_OK) {
				must((a <= JWS_HS512) == (set->keys[i].pkey == NULL));
				must(jwk_verify(&set->keys[i], a, text, buf_slice(&sig)) == ERR_OK);
			}
			buf_done(&sig);
		}
	}
	jwk_set_unref(&set);
}

static void try_signed(struct slice header)
{
	struct buf token = BUF_INIT(MIB(1)), sig = BUF_INIT(KIB(1));
	struct jws out;

	must(text_base64url(header, &token, NULL) == ERR_OK);
	must(buf_put_str(&token, ".e30", NULL) == ERR_OK);
	must(jwk_sign(&known->keys[0], JWS_EDDSA, buf_slice(&token), &sig, NULL) == ERR_OK);
	must(buf_put_str(&token, ".", NULL) == ERR_OK);
	must(text_base64url(buf_slice(&sig), &token, NULL) == ERR_OK);
	buf_reset(&scratch);
	if (jws_read(&reader, buf_slice(&token), &scratch, &out) == NULL && out.alg == JWS_EDDSA)
		must(jwk_verify(&known->keys[0], out.alg, out.input, out.signature) == ERR_OK);
	buf_done(&token);
	buf_done(&sig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { data, size };
	struct jws token;

	if (!known)
		start();
	if (size == 0 || size > KIB(32))
		return 0;
	text = slice_sub(text, 1, text.len);
	switch (data[0]) {
	case 't': (void)read_token(text, &token); break;
	case 'k': try_keys(text); break;
	case 'h': try_signed(text); break;
	default: break;
	}
	return 0;
}

#include "replay_main.inc"
