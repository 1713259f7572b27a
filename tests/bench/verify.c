/* verify.c - what verifying costs, for `make bench`: a line for each row, "name ns
 * ns-of-the-bare-MAC".
 *
 *   verify       1 KiB of body; OpenSSL's HMAC alone with its key prepared, taken in turns
 *
 * Each figure is the median of many short rounds. The scheme reads its key from a file of its own.
 */
#include "postern/clock.h"
#include "postern/file.h"
#include "postern/scheme.h"
#include "postern/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#define BODY 1024
#define ROUNDS 2001
#define CALLS 10 /* in a round */
#define KEY "bench-key-of-32-bytes-0123456789"

static const struct {
	const char *name, *members;
	int keys; /* the last one is right */
} rows[] = {
	{ "a MAC of the body (github)", "\"preset\": \"github\"", 1 },
	{ "with id and time (standard-webhooks)",
		"\"extends\": \"standard-webhooks\", \"verify\": {\"key\": \"utf8\"}", 1 },
	{ "the last of 8 keys (github)", "\"preset\": \"github\"", 8 },
};

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "verify: %s\n", what);
	exit(1);
}

static void write_file(const char *dir, const char *name, const char *text)
{
	char *path = file_join(dir, name);

	must(path && file_write_new(path, slice_str(text), 0600, NULL) == ERR_OK, name);
	free(path);
}

static struct scheme *open_scheme(const char *members, int keys)
{
	static char *none[] = { NULL };
	char dir[] = "/tmp/postern-bench.XXXXXX", list[512] = "", text[1024], name[32], path[96];
	struct config_report report = { 0 };
	struct config *config = NULL;
	struct scheme *scheme = NULL;
	struct err err = ERR_INIT;

	must(mkdtemp(dir) != NULL, dir);
	for (int i = 0; i < keys; i++) {
		size_t at = strlen(list);

		(void)snprintf(name, sizeof(name), "k%d", i);
		write_file(dir, name, i + 1 == keys ? KEY : "another key, which is tried before");
		(void)snprintf(
			list + at, sizeof(list) - at, "%s{\"file\": \"%s\"}", i ? ", " : "", name);
	}
	(void)snprintf(
		text, sizeof(text), "{\"sources\": {\"s\": {%s, \"keys\": [%s]}}}", members, list);
	write_file(dir, "postern.json", text);
	(void)snprintf(path, sizeof(path), "%s/postern.json", dir);
	must(config_load(path, none, &config, &report, &err) == ERR_OK, err.text);
	must(scheme_open(&config->sources[0], &scheme, &report, &err) == ERR_OK, err.text);
	config_report_done(&report);
	config_unref(&config);
	(void)unlink(path);
	for (int i = 0; i < keys; i++) {
		(void)snprintf(path, sizeof(path), "%s/k%d", dir, i);
		(void)unlink(path);
	}
	(void)rmdir(dir);
	return scheme;
}

static EVP_MAC_CTX *open_mac(void)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end() };
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *ctx = hmac ? EVP_MAC_CTX_new(hmac) : NULL;

	must(ctx && EVP_MAC_init(ctx, (const uint8_t *)KEY, strlen(KEY), params) == 1, "HMAC");
	EVP_MAC_free(hmac);
	return ctx;
}

static int64_t bare_ns(EVP_MAC_CTX *ctx, struct slice body)
{
	int64_t start = clock_system()->mono_ns(clock_system());
	uint8_t out[32];
	size_t len;

	for (int i = 0; i < CALLS; i++)
		must(EVP_MAC_init(ctx, NULL, 0, NULL) == 1 &&
				EVP_MAC_update(ctx, body.data, body.len) == 1 &&
				EVP_MAC_final(ctx, out, &len, sizeof(out)) == 1,
			"HMAC");
	return (clock_system()->mono_ns(clock_system()) - start) / CALLS;
}

static int64_t verify_ns(const struct scheme *scheme, const struct scheme_request *rq,
	int64_t now_ms, struct scheme_verdict *verdict)
{
	int64_t start = clock_system()->mono_ns(clock_system());

	for (int i = 0; i < CALLS; i++) {
		scheme_verify(scheme, rq, now_ms, verdict);
		must(verdict->code == ERR_OK, verdict->detail);
	}
	return (clock_system()->mono_ns(clock_system()) - start) / CALLS;
}

static int by_size(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void run(size_t row, EVP_MAC_CTX *ctx, struct slice body)
{
	static int64_t ours[ROUNDS], bare[ROUNDS];
	struct scheme *signer = open_scheme(rows[row].members, 1);
	struct scheme *scheme = open_scheme(rows[row].members, rows[row].keys);
	struct scheme_draft draft = {
		.body = body, .spare_id = SLICE_LIT("msg_1"), .now_ms = 1700000000000
	};
	struct scheme_signed made = SCHEME_SIGNED_INIT;
	struct scheme_verdict verdict = SCHEME_VERDICT_INIT;
	struct err err = ERR_INIT;
	struct scheme_request rq = { .method = SLICE_LIT("POST") };

	must(scheme_sign(signer, &draft, &made, &err) == ERR_OK, err.text);
	rq.headers = made.headers;
	rq.header_count = made.header_count;
	rq.body = buf_slice(&made.body);
	for (size_t i = 0; i < ROUNDS; i++) {
		bare[i] = bare_ns(ctx, body);
		ours[i] = verify_ns(scheme, &rq, draft.now_ms, &verdict);
	}
	qsort(bare, ROUNDS, sizeof(bare[0]), by_size);
	qsort(ours, ROUNDS, sizeof(ours[0]), by_size);
	printf("%s\t%lld\t%lld\n", rows[row].name, (long long)ours[ROUNDS / 2],
		(long long)bare[ROUNDS / 2]);
	scheme_verdict_done(&verdict);
	scheme_signed_done(&made);
	scheme_close(&scheme);
	scheme_close(&signer);
}

int main(void)
{
	static uint8_t text[BODY];
	EVP_MAC_CTX *ctx = open_mac();

	memset(text, 'x', sizeof(text));
	memcpy(text, "{\"a\":\"", 6);
	memcpy(text + BODY - 2, "\"}", 2);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		run(i, ctx, (struct slice){ text, sizeof(text) });
	EVP_MAC_CTX_free(ctx);
	return 0;
}
