/* crypto_pkey.c - public keys against the examples of RFC 7515, RFC 8037 and RFC 8032, and every
 * algorithm against every kind of key. */
#include "postern/pkey.h"
#include "postern/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define PAYLOAD                                                                                    \
	"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0" \
	"cnVlfQ"

/* RFC 7515, A.2.1 */
static const char *const rsa_numbers[] = {
	"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0"
	"Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXnd"
	"S5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5Ihl"
	"JH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
	"AQAB",
	"Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2"
	"NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X"
	"0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGU"
	"l_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
	"4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_P"
	"y5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
	"uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeL"
	"QeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
	"BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKn"
	"u1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
	"h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0"
	"ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
	"IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5c"
	"Y7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U",
};
/* RFC 7515, A.3.1 and A.4.1; RFC 8037, A.1; x, y, d */
static const char *const p256_numbers[] = { "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
	"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
	"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI" };
static const char *const p521_numbers[] = {
	"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
	"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
	"AY5pb7A0UFiB3RELSD64fTLOSV_jazdF7fLYyuTw8lOfRhWg6Y6rUrPAxerEzgdRhajnu0ferB0d53vM9mE15j2C"
};
static const char *const ed_numbers[] = { "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "",
	"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A" };

/* The bytes of a text, in a buffer that the next but seven takes again. */
static struct slice bytes(const char *base64url)
{
	static struct buf bufs[8];
	static size_t next;
	struct buf *buf = &bufs[next++ % ARRAY_LEN(bufs)];

	buf_done(buf);
	*buf = BUF_INIT(KIB(1));
	assert_int_equal(text_base64url_decode(slice_str(base64url), buf, NULL), ERR_OK);
	return buf_slice(buf);
}

static struct pkey *rsa_key(bool is_private)
{
	struct slice n[8] = { 0 };
	struct pkey_rsa numbers;
	struct pkey *pkey = NULL;

	for (size_t i = 0; i < (is_private ? ARRAY_LEN(n) : 2); i++)
		n[i] = bytes(rsa_numbers[i]);
	numbers = (struct pkey_rsa){ n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7] };
	assert_int_equal(pkey_from_rsa(&numbers, &pkey, NULL), ERR_OK);
	assert_true(pkey_is_private(pkey) == is_private);
	return pkey;
}

static struct pkey *ec_key(enum pkey_type type, const char *const *numbers, bool is_private)
{
	struct pkey *pkey = NULL;

	assert_int_equal(pkey_from_ec(type, bytes(numbers[0]), bytes(numbers[1]),
				 is_private ? bytes(numbers[2]) : SLICE_EMPTY, &pkey, NULL),
		ERR_OK);
	assert_int_equal(pkey_type(pkey), type);
	return pkey;
}

static struct pkey *ed_key(bool is_private)
{
	struct pkey *pkey = NULL;

	assert_int_equal(pkey_from_ed25519(bytes(ed_numbers[0]),
				 is_private ? bytes(ed_numbers[2]) : SLICE_EMPTY, &pkey, NULL),
		ERR_OK);
	return pkey;
}

/* ---- vectors -----------------------------------------------------------------------------------
 */

enum which { WHICH_RSA, WHICH_P256, WHICH_P521, WHICH_ED };

static struct pkey *key_of(enum which which, bool is_private)
{
	switch (which) {
	case WHICH_RSA: return rsa_key(is_private);
	case WHICH_P256: return ec_key(PKEY_P256, p256_numbers, is_private);
	case WHICH_P521: return ec_key(PKEY_P521, p521_numbers, is_private);
	case WHICH_ED: break;
	}
	return ed_key(is_private);
}

static const struct {
	enum which key;
	enum pkey_alg alg;
	const char *text, *signature;
	bool is_the_only_one; /* signing again gives the same bytes */
} vectors[] = {
	{ WHICH_RSA, PKEY_RSA_SHA256, "eyJhbGciOiJSUzI1NiJ9." PAYLOAD,
		"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5"
		"YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h"
		"6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZE"
		"Sc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0ig"
		"cN_IoypGlUPQGe77Rw",
		true },
	{ WHICH_P256, PKEY_ECDSA_P256, "eyJhbGciOiJFUzI1NiJ9." PAYLOAD,
		"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg"
		"6NU1Q",
		false },
	{ WHICH_P521, PKEY_ECDSA_P521, "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA",
		"AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0"
		"aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERB"
		"XukOXolLzeO_Jn",
		false },
	{ WHICH_ED, PKEY_EDDSA, "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
		"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_Mu"
		"M0KAg",
		true },
};

/* The text in pieces is the same text; any other byte is another. */
static void check_vector(size_t row)
{
	struct pkey *pkey = key_of(vectors[row].key, false);
	struct slice text = slice_str(vectors[row].text);
	struct slice pieces[3] = { slice_sub(text, 0, 5), SLICE_EMPTY, slice_sub(text, 5, 4096) };
	struct slice sig = bytes(vectors[row].signature);
	uint8_t bad[PKEY_SIGNATURE_MAX];

	assert_false(pkey_is_private(pkey));
	assert_int_equal(pkey_verify(pkey, vectors[row].alg, &text, 1, sig), ERR_OK);
	assert_int_equal(pkey_verify(pkey, vectors[row].alg, pieces, 3, sig), ERR_OK);
	assert_int_equal(pkey_verify(pkey, vectors[row].alg, pieces, 1, sig), ERR_BAD_SIGNATURE);
	assert_int_equal(pkey_verify(pkey, vectors[row].alg, pieces, 0, sig), ERR_BAD_SIGNATURE);
	for (size_t i = 0; i < sig.len; i += 7) {
		memcpy(bad, sig.data, sig.len);
		bad[i] ^= 1;
		assert_int_equal(pkey_verify(pkey, vectors[row].alg, &text, 1,
					 (struct slice){ bad, sig.len }),
			ERR_BAD_SIGNATURE);
	}
	for (size_t len = 0; len < sig.len; len += 5)
		assert_int_equal(pkey_verify(pkey, vectors[row].alg, &text, 1,
					 (struct slice){ sig.data, len }),
			ERR_BAD_SIGNATURE);
	pkey_close(&pkey);
}

static void published_signatures_verify(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
		check_vector(i);
}

static void published_signatures_are_made(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		struct pkey *pkey = key_of(vectors[i].key, true);
		struct slice text = slice_str(vectors[i].text);
		struct buf sig = BUF_INIT(KIB(1));

		assert_int_equal(pkey_sign(pkey, vectors[i].alg, &text, 1, &sig, NULL), ERR_OK);
		assert_int_equal(
			pkey_verify(pkey, vectors[i].alg, &text, 1, buf_slice(&sig)), ERR_OK);
		if (vectors[i].is_the_only_one)
			assert_true(slice_eq(buf_slice(&sig), bytes(vectors[i].signature)));
		buf_done(&sig);
		pkey_close(&pkey);
	}
}

/* ---- which algorithm for which key -------------------------------------------------------------
 */

static const struct {
	enum pkey_alg alg;
	enum which fits;
	bool is_made;
} algs[] = {
	{ PKEY_RSA_SHA1, WHICH_RSA, false },
	{ PKEY_RSA_SHA256, WHICH_RSA, true },
	{ PKEY_RSA_SHA384, WHICH_RSA, true },
	{ PKEY_RSA_SHA512, WHICH_RSA, true },
	{ PKEY_PSS_SHA256, WHICH_RSA, true },
	{ PKEY_PSS_SHA384, WHICH_RSA, true },
	{ PKEY_PSS_SHA512, WHICH_RSA, true },
	{ PKEY_ECDSA_P256, WHICH_P256, true },
	{ PKEY_ECDSA_P256_DER, WHICH_P256, true },
	{ PKEY_ECDSA_P521, WHICH_P521, true },
	{ PKEY_EDDSA, WHICH_ED, true },
};

static void a_key_knows_its_algorithms(void **state)
{
	struct slice text = SLICE_LIT("x");

	(void)state;
	for (enum which w = WHICH_RSA; w <= WHICH_ED; w++) {
		struct pkey *key = key_of(w, true), *open = key_of(w, false);

		for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
			struct buf sig = BUF_INIT(KIB(1));
			bool made = algs[i].fits == w && algs[i].is_made;

			assert_true(pkey_fits(open, algs[i].alg) == (algs[i].fits == w));
			assert_int_equal(pkey_sign(key, algs[i].alg, &text, 1, &sig, NULL),
				made ? ERR_OK : ERR_UNSUPPORTED);
			assert_int_equal(pkey_sign(open, algs[i].alg, &text, 1, &sig, NULL),
				ERR_UNSUPPORTED);
			for (size_t j = 0; made && j < ARRAY_LEN(algs); j++)
				assert_int_equal(
					pkey_verify(open, algs[j].alg, &text, 1, buf_slice(&sig)),
					i == j ? ERR_OK : ERR_BAD_SIGNATURE);
			buf_done(&sig);
		}
		assert_string_equal(pkey_fingerprint(key), pkey_fingerprint(open));
		pkey_close(&key);
		pkey_close(&open);
	}
}

/* ---- what is no key ----------------------------------------------------------------------------
 */

/* The RSA key of RFC 7515 with e = 1, and one of 512 bits. */
static void weak_rsa_keys_are_refused(void **state)
{
	struct pkey_rsa numbers = { .n = bytes(rsa_numbers[0]), .e = SLICE_LIT("\x01") };
	struct pkey *pkey = NULL;
	struct err err = ERR_INIT;

	(void)state;
	assert_int_equal(pkey_from_rsa(&numbers, &pkey, &err), ERR_SYNTAX);
	numbers.e = SLICE_LIT("\x01\x00\x00");
	assert_int_equal(pkey_from_rsa(&numbers, &pkey, NULL), ERR_SYNTAX);
	numbers.e = bytes("AQAB");
	numbers.n = slice_sub(numbers.n, 0, 64);
	assert_int_equal(pkey_from_rsa(&numbers, &pkey, NULL), ERR_SYNTAX);
	numbers.n = SLICE_EMPTY;
	assert_int_equal(pkey_from_rsa(&numbers, &pkey, NULL), ERR_SYNTAX);
	assert_null(pkey);
}

static void points_off_their_curve_are_refused(void **state)
{
	struct slice x = bytes(p256_numbers[0]), y = bytes(p256_numbers[1]);
	struct pkey *pkey = NULL;
	uint8_t off[32];

	(void)state;
	memcpy(off, y.data, sizeof(off));
	off[31] ^= 1;
	assert_int_equal(
		pkey_from_ec(PKEY_P256, x, (struct slice){ off, 32 }, SLICE_EMPTY, &pkey, NULL),
		ERR_SYNTAX);
	assert_int_equal(pkey_from_ec(PKEY_P384, x, y, SLICE_EMPTY, &pkey, NULL), ERR_SYNTAX);
	assert_int_equal(pkey_from_ec(PKEY_P256, slice_sub(x, 1, 32), y, SLICE_EMPTY, &pkey, NULL),
		ERR_SYNTAX);
	assert_int_equal(pkey_from_ec(PKEY_RSA, x, y, SLICE_EMPTY, &pkey, NULL), ERR_SYNTAX);
	assert_int_equal(
		pkey_from_ed25519(slice_sub(x, 0, 31), SLICE_EMPTY, &pkey, NULL), ERR_SYNTAX);
	/* the halves of two keys */
	assert_int_equal(pkey_from_ed25519(x, bytes(ed_numbers[2]), &pkey, NULL), ERR_SYNTAX);
	assert_null(pkey);
}

/* ---- PEM ---------------------------------------------------------------------------------------
 */

#define ED_PUBLIC                                                                                  \
	"-----BEGIN PUBLIC KEY-----\n"                                                             \
	"MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"                           \
	"-----END PUBLIC KEY-----\n"
#define ED_PRIVATE                                                                                 \
	"-----BEGIN PRIVATE KEY-----\n"                                                            \
	"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"                       \
	"-----END PRIVATE KEY-----\n"

static void pem_is_read(void **state)
{
	struct pkey *want = ed_key(false), *pkey = NULL;

	(void)state;
	assert_int_equal(pkey_from_pem(SLICE_LIT("# ours\n" ED_PUBLIC), &pkey, NULL), ERR_OK);
	assert_int_equal(pkey_type(pkey), PKEY_ED25519);
	assert_false(pkey_is_private(pkey));
	assert_string_equal(pkey_fingerprint(pkey), pkey_fingerprint(want));
	pkey_close(&pkey);
	assert_int_equal(pkey_from_pem(SLICE_LIT(ED_PRIVATE ED_PUBLIC), &pkey, NULL), ERR_OK);
	assert_true(pkey_is_private(pkey));
	assert_string_equal(pkey_fingerprint(pkey), pkey_fingerprint(want));
	pkey_close(&pkey);
	pkey_close(&want);
}

static void what_is_no_pem_is_refused(void **state)
{
	static const char *const texts[] = { "", "secret", "-----BEGIN PUBLIC KEY-----\n",
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n",
		"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE "
		"KEY-----\n",
		/* X25519: agrees on keys, signs nothing */
		"-----BEGIN PUBLIC KEY-----\n"
		"MCowBQYDK2VuAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
		"-----END PUBLIC KEY-----\n" };
	struct pkey *pkey = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct err err = ERR_INIT;

		assert_int_equal(pkey_from_pem(slice_str(texts[i]), &pkey, &err), ERR_SYNTAX);
		assert_true(err.text[0] != '\0');
		assert_null(pkey);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_signatures_verify),
		cmocka_unit_test(published_signatures_are_made),
		cmocka_unit_test(a_key_knows_its_algorithms),
		cmocka_unit_test(weak_rsa_keys_are_refused),
		cmocka_unit_test(points_off_their_curve_are_refused),
		cmocka_unit_test(pem_is_read),
		cmocka_unit_test(what_is_no_pem_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
