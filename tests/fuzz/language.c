/* language.c - fuzz target: the signature language itself, and requests against what was
 * understood.
 *
 * Input: the members of a source, up to a zero byte; then "Name: value" lines up to an empty line;
 * the rest is the body. Keys are files that hold what nobody guesses. Properties: whatever a scheme
 * says, a request that was not signed matches no key; a mapping keeps its limits; what send makes
 * of an empty draft does not crash. */
#include "postern/file.h"
#include "postern/scheme.h"
#include "postern/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HEADERS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char home[64], config_path[96];

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void forget_files(void)
{
	char path[96];

	(void)unlink(config_path);
	(void)snprintf(path, sizeof(path), "%s/k", home);
	(void)unlink(path);
	(void)rmdir(home);
}

static void make_files(void)
{
	char path[96], hex[65];
	uint8_t key[32];

	(void)snprintf(home, sizeof(home), "/tmp/postern-fuzz.XXXXXX");
	must(mkdtemp(home) != NULL);
	(void)snprintf(config_path, sizeof(config_path), "%s/postern.json", home);
	(void)snprintf(path, sizeof(path), "%s/k", home);
	random_bytes(key, sizeof(key));
	text_hex(key, sizeof(key), hex);
	must(file_write_new(path, slice_str(hex), 0600, NULL) == ERR_OK);
	(void)atexit(forget_files);
}

static struct slice take(struct slice *text, uint8_t end)
{
	struct slice taken = slice_sub(*text, 0, slice_find(*text, end));

	*text = slice_sub(*text, taken.len + 1, text->len);
	return taken;
}

static struct scheme *open_scheme(struct slice members)
{
	static char *none[] = { NULL };
	struct buf text = BUF_INIT(KIB(64));
	struct config_report report = { 0 };
	struct config *config = NULL;
	struct scheme *scheme = NULL;
	struct err err = ERR_INIT;

	must(buf_put_str(&text,
		     "{\"sources\":{\"s\":{\"public_url\":\"https://h.example/"
		     "s\",\"secrets\":{\"w\":"
		     "{\"file\":\"k\"}},\"keys\":[{\"file\":\"k\"}],",
		     NULL) == ERR_OK);
	if (buf_put_slice(&text, members, NULL) == ERR_OK &&
		buf_put_str(&text, "}}}", NULL) == ERR_OK) {
		(void)unlink(config_path);
		must(file_write_new(config_path, buf_slice(&text), 0600, NULL) == ERR_OK);
		if (config_load(config_path, none, &config, &report, &err) == ERR_OK)
			err_ignored(scheme_open(&config->sources[0], &scheme, &report, &err));
	}
	config_report_done(&report);
	config_unref(&config);
	buf_done(&text);
	return scheme;
}

static void check_mapped(const struct scheme_mapped *m)
{
	if (m->code != ERR_OK)
		return;
	must(m->id.len > 0 || m->has_no_id);
	must(m->id.len <= EVENT_ID_MAX && m->type.len <= EVENT_ID_MAX &&
		m->entity.len <= EVENT_ID_MAX);
}

static void judge(const struct scheme *scheme, const struct scheme_request *rq)
{
	static struct scheme_verdict verdict;
	static struct scheme_mapped mapped;
	struct scheme_events events = SCHEME_EVENTS_INIT;
	enum err_code early;

	if (mapped.text.max == 0) {
		verdict = SCHEME_VERDICT_INIT;
		mapped = SCHEME_MAPPED_INIT;
	}
	early = scheme_precheck(scheme, rq);
	scheme_verify(scheme, rq, INT64_C(1700000000000), &verdict);
	must(early == ERR_OK || verdict.code != ERR_OK);
	must(verdict.key < 0);
	while (verdict.code == ERR_OK && scheme_events_next(scheme, rq, &verdict, &events, &mapped))
		check_mapped(&mapped);
}

static void sign(const struct scheme *scheme, struct slice body)
{
	struct scheme_signed made = SCHEME_SIGNED_INIT;
	struct scheme_draft draft = { .spare_id = SLICE_LIT("id"),
		.body = body,
		.now_ms = INT64_C(1700000000000),
		.fill_body = true };
	struct err err = ERR_INIT;

	err_ignored(scheme_sign(scheme, &draft, &made, &err));
	scheme_signed_done(&made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { data, size }, members;
	struct header headers[HEADERS_MAX];
	struct scheme_request rq = { .method = SLICE_LIT("POST"),
		.headers = headers,
		.has_query = true,
		.query = SLICE_LIT("a=1&b=%32") };
	struct scheme *scheme;

	if (home[0] == '\0')
		make_files();
	members = take(&text, '\0');
	scheme = open_scheme(members);
	while (scheme && text.len > 0 && rq.header_count < HEADERS_MAX) {
		struct slice line = take(&text, '\n');
		size_t colon = slice_find(line, ':');

		if (line.len == 0)
			break;
		headers[rq.header_count++] = (struct header){ slice_sub(line, 0, colon),
			slice_trim(slice_sub(line, colon + 1, line.len)) };
	}
	rq.body = text;
	if (scheme) {
		judge(scheme, &rq);
		sign(scheme, text);
	}
	scheme_close(&scheme);
	return 0;
}

#include "replay_main.inc"
