/* content_digest.c - Content-Digest (RFC 9530) over the bytes of a body as they were received.
 *
 * Deliberately not here: whether it has to be there and to be signed (httpsig.c). */
#include "httpsig.h"

static const struct {
	const char *name;
	enum crypto_digest digest;
} kinds[] = {
	{ "sha-256", CRYPTO_SHA256 },
	{ "sha-512", CRYPTO_SHA512 },
};

/* 1: right, 0: of a kind that says nothing, -1: wrong. */
static int check(struct slice key, const struct sfv_value *v, struct slice body)
{
	uint8_t digest[CRYPTO_DIGEST_MAX];

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		size_t len = crypto_digest_len(kinds[i].digest);

		if (!slice_eq_str(key, kinds[i].name))
			continue;
		if (v->type != SFV_BYTES || v->text.len != len)
			return -1;
		crypto_digest(kinds[i].digest, &body, 1, digest);
		return crypto_equal(digest, v->text.data, len) ? 1 : -1;
	}
	return 0;
}

static const char *check_members(struct sfv *p, struct slice body)
{
	struct sfv_members seen = { .count = 0 };
	struct sfv_value v;
	struct slice key;
	size_t right = 0;

	while (sfv_member(p, &seen, &key)) {
		int found = sfv_skip_value(p, &v) ? check(key, &v, body) : 0;

		if (found < 0)
			return "Content-Digest is not the body's";
		right += (size_t)found;
	}
	if (p->failed)
		return "Content-Digest cannot be read";
	return right > 0 ? NULL : "Content-Digest has neither sha-256 nor sha-512";
}

const char *content_digest_refuse(struct slice field, struct slice body)
{
	struct buf canon = BUF_INIT(4 * HTTPSIG_FIELD_MAX), text = BUF_INIT(4 * HTTPSIG_FIELD_MAX);
	struct sfv p = { .rest = field, .canon = &canon, .text = &text };
	const char *why = "no memory";

	if (field.len > HTTPSIG_FIELD_MAX)
		return "Content-Digest is too long";
	if (buf_reserve(&canon, 2 * field.len + 64, NULL) == ERR_OK &&
		buf_reserve(&text, 2 * field.len + 64, NULL) == ERR_OK)
		why = check_members(&p, body);
	buf_done(&canon);
	buf_done(&text);
	return why;
}
