/* crypto_mac.c - HMAC against RFC 2202 and RFC 4231, used again and again and by several threads.
 */
#include "postern/crypto.h"
#include "postern/text.h"
#include "postern/thread.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define KEY_20 "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"
#define JEFE "4a656665"
#define WHAT "7768617420646f2079612077616e7420666f72206e6f7468696e673f"
#define AA_20 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define AA_131 AA_20 AA_20 AA_20 AA_20 AA_20 AA_20 "aaaaaaaaaaaaaaaaaaaaaa"
#define LONGER                                                                                     \
	"54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d20486173"   \
	"68204b6579204669727374"

static const struct {
	enum crypto_digest digest;
	const char *key, *text, *want; /* all in hex */
} rows[] = {
	{ CRYPTO_SHA1, KEY_20, "4869205468657265", "b617318655057264e28bc0b6fb378c8ef146be00" },
	{ CRYPTO_SHA1, JEFE, WHAT, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79" },
	{ CRYPTO_SHA1, AA_131, LONGER, "90d0dace1c1bdc957339307803160335bde6df2b" },
	{ CRYPTO_SHA256, KEY_20, "4869205468657265",
		"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
	{ CRYPTO_SHA256, JEFE, WHAT,
		"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
	{ CRYPTO_SHA256, AA_131, LONGER,
		"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
	{ CRYPTO_SHA256, "", "",
		"b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad" },
	{ CRYPTO_SHA384, KEY_20, "4869205468657265",
		"afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c"
		"faea9ea9076ede7f4af152e8b2fa9cb6" },
	{ CRYPTO_SHA384, JEFE, WHAT,
		"af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
		"8e2240ca5e69e2c78b3239ecfab21649" },
	{ CRYPTO_SHA384, AA_131, LONGER,
		"4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6"
		"0c2ef6ab4030fe8296248df163f44952" },
	{ CRYPTO_SHA512, KEY_20, "4869205468657265",
		"87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
		"daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854" },
	{ CRYPTO_SHA512, JEFE, WHAT,
		"164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
		"9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737" },
	{ CRYPTO_SHA512, AA_131, LONGER,
		"80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
		"6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598" },
};

static struct crypto_mac *open_mac(enum crypto_digest digest, const char *hex_key)
{
	struct err err = ERR_INIT;
	struct buf key = BUF_INIT(KIB(1));
	struct secret secret = { 0 };
	struct crypto_mac *mac = NULL;

	assert_int_equal(text_hex_decode(slice_str(hex_key), &key, &err), ERR_OK);
	assert_int_equal(secret_set(&secret, buf_slice(&key), &err), ERR_OK);
	assert_int_equal(crypto_mac_open(digest, &secret, &mac, &err), ERR_OK);
	secret_done(&secret);
	buf_done(&key);
	return mac;
}

static void macs_are_those_of_the_standard_each_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err = ERR_INIT;
		struct crypto_mac *mac = open_mac(rows[i].digest, rows[i].key);
		struct buf text = BUF_INIT(KIB(1));
		uint8_t out[CRYPTO_DIGEST_MAX];
		char hex[2 * CRYPTO_DIGEST_MAX + 1];

		assert_int_equal(text_hex_decode(slice_str(rows[i].text), &text, &err), ERR_OK);
		for (size_t cut = 0; cut <= text.len; cut++) {
			struct slice pieces[] = { slice_sub(buf_slice(&text), 0, cut), SLICE_EMPTY,
				slice_sub(buf_slice(&text), cut, text.len) };

			assert_int_equal(crypto_mac(mac, pieces, 3, out, &err), ERR_OK);
			text_hex(out, crypto_digest_len(rows[i].digest), hex);
			assert_string_equal(hex, rows[i].want);
		}
		buf_done(&text);
		crypto_mac_close(&mac);
		assert_null(mac);
		crypto_mac_close(&mac);
	}
}

#define ROUNDS 2000

struct job {
	struct crypto_mac *mac;
	uint8_t fill;
	bool ok;
};

/* What a thread computes must not depend on what the other one does at the time. */
static void *compute_often(void *arg)
{
	struct job *job = arg;
	uint8_t text[100], first[32], again[32];
	struct slice piece = { text, sizeof(text) };

	memset(text, job->fill, sizeof(text));
	job->ok = crypto_mac(job->mac, &piece, 1, first, NULL) == ERR_OK;
	for (int i = 0; job->ok && i < ROUNDS; i++) {
		job->ok = crypto_mac(job->mac, &piece, 1, again, NULL) == ERR_OK &&
			  crypto_equal(first, again, 32);
	}
	return NULL;
}

static void threads_may_share_a_mac(void **state)
{
	struct err err = ERR_INIT;
	struct crypto_mac *mac = open_mac(CRYPTO_SHA256, JEFE);
	struct job jobs[2] = { { .mac = mac, .fill = 'a' }, { .mac = mac, .fill = 'b' } };
	struct thread threads[2] = { 0 };

	(void)state;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(
			thread_start(&threads[i], "mac", compute_often, &jobs[i], &err), ERR_OK);
	for (size_t i = 0; i < 2; i++)
		thread_join(&threads[i]);
	assert_true(jobs[0].ok && jobs[1].ok);
	crypto_mac_close(&mac);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(macs_are_those_of_the_standard_each_time),
		cmocka_unit_test(threads_may_share_a_mac),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
