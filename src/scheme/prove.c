/* prove.c - do the keys of a source make one of the signatures that a request brings?
 *
 * Each MAC is computed once for each key, and compared with every candidate in constant time.
 * Deliberately not here: finding the candidates (candidate.c). */
#include "scheme_priv.h"
#include "postern/text.h"

struct decoded {
	uint8_t list[SCHEME_SIGNATURES_MAX][CRYPTO_DIGEST_MAX];
	size_t count;   /* of those that have the right length */
	size_t odd_len; /* of one that has not */
};

/* Only what is as long as a MAC can be right. Decoding uses the end of the scratch buffer. */
static void decode(struct judge *j, struct decoded *out)
{
	struct buf *scratch = j->ev.scratch;
	size_t want = crypto_digest_len(j->way->alg->digest), kept = scratch->len;

	/* The list is a KiB: it is not cleared, count says how much of it is filled. */
	out->count = 0;
	out->odd_len = 0;
	for (size_t i = 0; i < j->found.count; i++) {
		struct slice text = j->found.list[i].text;
		bool is_hex = j->found.list[i].coding == CODING_HEX;
		enum err_code rc = ERR_LIMIT;

		if (text.len <= eval_room(&j->ev))
			rc = is_hex ? text_hex_decode(text, scratch, NULL)
				    : text_base64_decode(text, scratch, NULL);
		if (rc == ERR_OK && scratch->len - kept != want)
			out->odd_len = scratch->len - kept;
		else if (rc == ERR_OK)
			memcpy(out->list[out->count++], scratch->data + kept, want);
		scratch->len = kept;
	}
}

/* The first of the keys that are valid now whose MAC is among the candidates. */
static enum err_code try_keys(struct judge *j, const struct slice *pieces, size_t count,
	const struct decoded *decoded, size_t *tried)
{
	const struct scheme *s = j->ev.scheme;
	size_t len = crypto_digest_len(j->way->alg->digest);

	for (size_t k = 0; k < s->key_count; k++) {
		uint8_t mac[CRYPTO_DIGEST_MAX];

		if (!key_valid(&s->keys[k], j->now_ms))
			continue;
		++*tried;
		if (crypto_mac(j->way->keyed[k].mac, pieces, count, mac, NULL) != ERR_OK)
			return judge_refuse(j, ERR_UNAVAILABLE, "no memory to verify");
		for (size_t i = 0; i < decoded->count; i++) {
			if (crypto_equal(mac, decoded->list[i], len) &&
				!answer_is_forgeable(s, pieces, count)) {
				j->out->key = (int)k;
				return ERR_OK;
			}
		}
	}
	return ERR_BAD_SIGNATURE;
}

static enum err_code refuse_signature(struct judge *j, const struct decoded *decoded, size_t tried)
{
	if (decoded->count == 0 && decoded->odd_len > 0)
		return judge_refuse(j, ERR_BAD_SIGNATURE,
			"a signature of %zu bytes in place of %zu", decoded->odd_len,
			crypto_digest_len(j->way->alg->digest));
	if (decoded->count == 0)
		return judge_refuse(j, ERR_BAD_SIGNATURE, "the signature cannot be decoded");
	if (tried == 0)
		return judge_refuse(j, ERR_BAD_SIGNATURE, "no key is valid at this time");
	return judge_refuse(j, ERR_BAD_SIGNATURE, "%zu signature%s, %zu key%s tried, none fits",
		decoded->count, decoded->count == 1 ? "" : "s", tried, tried == 1 ? "" : "s");
}

enum err_code judge_prove(struct judge *j)
{
	const struct way *w = j->way;
	struct decoded decoded;
	struct slice pieces[PARTS_MAX];
	const struct part *bad = NULL;
	enum found bad_found = FOUND;
	size_t tried = 0;

	decode(j, &decoded);
	for (size_t i = 0; i < w->sign_count && decoded.count > 0; i++) {
		enum found found = eval_pieces(&j->ev, &w->signs[i], pieces, &bad);
		enum err_code rc;

		if (found != FOUND) {
			bad_found = found;
			continue;
		}
		rc = try_keys(j, pieces, w->signs[i].count, &decoded, &tried);
		j->ev.notes->sign = i;
		if (rc != ERR_BAD_SIGNATURE)
			return rc;
	}
	if (bad_found != FOUND && bad && tried == 0)
		return judge_refuse_part(j, ERR_BAD_SIGNATURE, bad, bad_found);
	return refuse_signature(j, &decoded, tried);
}
