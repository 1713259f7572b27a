/* cmd_test.c - test DIR: requests and what is expected of them, against the config, offline.
 *
 *   DIR/NAME.test.json -> one case, or a list of them -> judged as the ingress would -> ok or FAIL
 *
 * Only what a case expects is compared; a member that is not known fails the case, as it would
 * never be compared. Deliberately not here: deduplication and versions, which need the worker. */
#include "commands.h"
#include "judge.h"
#include "lines.h"
#include "source.h"

#include "postern/clock.h"
#include "postern/event.h"
#include "postern/file.h"
#include "postern/json.h"
#include "postern/text.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ENDING ".test.json"
#define FILE_MAX MIB(8)
#define BODY_MAX MIB(64)
#define HEADERS_MAX 64

/* One case that runs. Its texts stand in `text`, whose room was reserved: they stay. */
struct test_case {
	const char *dir;
	struct slice name;
	const struct source_config *source;
	struct scheme *scheme;
	struct header headers[HEADERS_MAX];
	struct scheme_request rq;
	int64_t now_ms;
	struct scheme_signed made;
	struct buf text, body;
	struct judged judged;
	char why[ERR_TEXT_MAX];
};

struct tester {
	const struct cli *cli;
	const struct config *config;
	size_t passed, failed;
};

static bool fail(struct test_case *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
static bool fail(struct test_case *t, const char *fmt, ...)
{
	va_list args;

	if (t->why[0])
		return false;
	va_start(args, fmt);
	(void)vsnprintf(t->why, sizeof(t->why), fmt, args);
	va_end(args);
	return false;
}

/* ---- reading a case ----------------------------------------------------------------------------
 */

/* The text of a scalar; kept until the case is over. */
static bool keep(struct test_case *t, struct json_value v, struct slice *out)
{
	size_t at = t->text.len;

	if (v.raw.len >= t->text.cap - at || json_text(v, &t->text, NULL) != ERR_OK)
		return fail(t, "a text that is too long");
	*out = (struct slice){ t->text.data + at, t->text.len - at };
	/* A NUL behind it, so that it may be a file's name too. */
	return buf_put_u8(&t->text, 0, NULL) == ERR_OK;
}

/* A string member, empty where there is none. */
static bool text_member(
	struct test_case *t, struct slice object, const char *pointer, struct slice *out)
{
	struct json_value v = { .type = JSON_ABSENT };

	*out = SLICE_EMPTY;
	if (json_get(object, pointer, &v, NULL) != ERR_OK || v.type == JSON_ABSENT)
		return true;
	if (v.type != JSON_STRING)
		return fail(t, "%s must be a string", pointer + 1);
	return keep(t, v, out);
}

static bool check_names(
	struct test_case *t, struct slice object, const char *where, const char *const *names)
{
	struct json_value whole = { .type = JSON_OBJECT, .raw = object }, name, value;
	size_t at = 0;

	while (json_next_member(whole, &at, &name, &value)) {
		const char *const *known = names;

		while (*known && !slice_eq_str(name.raw, *known))
			known++;
		if (!*known && !slice_starts(name.raw, SLICE_LIT("//")))
			return fail(t, "%s has no member \"%.*s\"", where, SLICE_FMT(name.raw));
	}
	return true;
}

static bool object_member(struct test_case *t, struct slice object, const char *pointer,
	const char *const *names, struct slice *out)
{
	struct json_value v = { .type = JSON_ABSENT };

	if (json_get(object, pointer, &v, NULL) != ERR_OK || v.type != JSON_OBJECT)
		return fail(t, "needs an object \"%s\"", pointer + 1);
	*out = v.raw;
	return check_names(t, v.raw, pointer + 1, names);
}

/* An object; a name that comes twice in a request is a list of values. */
static bool read_headers(struct test_case *t, struct slice request)
{
	struct json_value headers = { .type = JSON_ABSENT }, name, value, one;
	size_t at = 0;

	if (json_get(request, "/headers", &headers, NULL) != ERR_OK || headers.type == JSON_ABSENT)
		return true;
	if (headers.type != JSON_OBJECT)
		return fail(t, "headers must be an object");
	while (json_next_member(headers, &at, &name, &value)) {
		size_t element = 0;
		bool more = value.type != JSON_ARRAY || json_next(value, &element, &one);

		for (name.type = JSON_STRING; more;
			more = value.type == JSON_ARRAY && json_next(value, &element, &one)) {
			struct header *header = &t->headers[t->rq.header_count];

			if (t->rq.header_count == HEADERS_MAX)
				return fail(t, "more than %d headers", HEADERS_MAX);
			if (!keep(t, name, &header->name) ||
				!keep(t, value.type == JSON_ARRAY ? one : value, &header->value))
				return false;
			t->rq.header_count++;
		}
	}
	return true;
}

static bool read_body(struct test_case *t, struct slice request)
{
	struct slice body, file, base64;
	struct err err = ERR_INIT;
	enum err_code rc = ERR_OK;
	char *path;

	if (!text_member(t, request, "/body", &body) ||
		!text_member(t, request, "/body_file", &file) ||
		!text_member(t, request, "/body_base64", &base64))
		return false;
	if ((body.len > 0) + (file.len > 0) + (base64.len > 0) > 1)
		return fail(t, "one of body, body_file and body_base64");
	if (file.len > 0) {
		path = file_join(t->dir, (const char *)file.data);
		rc = path ? file_read(path, &t->body, &err) : ERR_NOMEM;
		free(path);
	} else if (base64.len > 0) {
		rc = text_base64_decode(base64, &t->body, &err);
	} else {
		rc = buf_put_slice(&t->body, body, &err);
	}
	t->rq.body = buf_slice(&t->body);
	return rc == ERR_OK || fail(t, "body: %s", err.text);
}

/* Seconds since 1970, or RFC 3339. Without it: now. */
static bool read_now(struct test_case *t, struct slice request)
{
	struct json_value v = { .type = JSON_ABSENT };
	int64_t seconds;

	t->now_ms = clock_system()->wall_ms(clock_system());
	if (json_get(request, "/now", &v, NULL) != ERR_OK || v.type == JSON_ABSENT)
		return true;
	if (v.type == JSON_INTEGER && text_i64(v.raw, &seconds, NULL) == ERR_OK && seconds >= 0 &&
		seconds < INT64_MAX / 1000) {
		t->now_ms = seconds * 1000;
		return true;
	}
	return (v.type == JSON_STRING && text_rfc3339(v.raw, &t->now_ms, NULL) == ERR_OK) ||
	       fail(t, "now must be seconds since 1970, or a time as RFC 3339 has it");
}

/* As the sender would, where the case says so: its headers stand before the given ones. */
static bool sign(struct test_case *t, struct slice request, struct slice url)
{
	struct json_value v = { .type = JSON_ABSENT };
	struct scheme_draft draft = {
		.spare_id = SLICE_LIT("test"), .body = t->rq.body, .url = url, .now_ms = t->now_ms
	};
	struct err err = ERR_INIT;

	if (json_get(request, "/sign", &v, NULL) != ERR_OK || v.type != JSON_TRUE)
		return v.type == JSON_ABSENT || v.type == JSON_FALSE ||
		       fail(t, "sign must be true or false");
	if (scheme_sign(t->scheme, &draft, &t->made, &err) != ERR_OK)
		return fail(t, "sign: %s", err.text);
	for (size_t i = 0; i < t->made.header_count; i++) {
		if (t->rq.header_count == HEADERS_MAX)
			return fail(t, "more than %d headers", HEADERS_MAX);
		t->headers[t->rq.header_count++] = t->made.headers[i];
	}
	t->rq.body = buf_slice(&t->made.body);
	t->rq.query = buf_slice(&t->made.query);
	t->rq.has_query = t->made.has_query;
	return true;
}

static bool read_request(struct test_case *t, struct slice request)
{
	struct slice method, url;

	t->rq.headers = t->headers;
	if (!text_member(t, request, "/method", &method) ||
		!text_member(t, request, "/url", &url) || !read_headers(t, request) ||
		!read_body(t, request) || !read_now(t, request))
		return false;
	t->rq.method = method.len > 0 ? method : SLICE_LIT("POST");
	if (url.len > 0)
		source_split_url(url, &t->rq);
	return sign(t, request, url);
}

static bool open_source(struct test_case *t, const struct config *config, struct slice whole)
{
	struct config_report report = { 0 };
	struct err err = ERR_INIT;
	struct slice name;

	if (!text_member(t, whole, "/source", &name))
		return false;
	t->source = config_source(config, name);
	if (!t->source)
		return fail(t, "no source \"%.*s\" in the config", SLICE_FMT(name));
	if (scheme_open(t->source, &t->scheme, &report, &err) != ERR_OK)
		(void)fail(t, "%s", err.text);
	config_report_done(&report);
	return t->scheme != NULL;
}

/* ---- comparing ---------------------------------------------------------------------------------
 */

struct fact {
	const char *name;
	struct slice have;
};

/* null expects that there is none. */
static bool compare(struct test_case *t, struct slice expect, const struct fact *fact)
{
	struct buf want = BUF_INIT(FILE_MAX);
	struct json_value v = { .type = JSON_ABSENT };
	char pointer[32];
	bool same;

	(void)snprintf(pointer, sizeof(pointer), "/%s", fact->name);
	if (json_get(expect, pointer, &v, NULL) != ERR_OK || v.type == JSON_ABSENT)
		return true;
	same = json_text(v, &want, NULL) == ERR_OK && slice_eq(buf_slice(&want), fact->have);
	if (!same)
		(void)fail(t, "%s is %.*s, not %.*s%s%s", fact->name,
			fact->have.len > 0 ? (int)fact->have.len : 4,
			fact->have.len > 0 ? (const char *)fact->have.data : "none",
			SLICE_FMT(buf_slice(&want)), *judged_detail(&t->judged) ? ": " : "",
			judged_detail(&t->judged));
	buf_done(&want);
	return same;
}

/* What the body is split into. */
static size_t count_events(const struct test_case *t)
{
	struct scheme_events events = SCHEME_EVENTS_INIT;
	struct scheme_mapped mapped = SCHEME_MAPPED_INIT;
	size_t count = 0;

	while (scheme_events_next(t->scheme, &t->rq, &t->judged.verdict, &events, &mapped))
		count++;
	scheme_mapped_done(&mapped);
	return count;
}

static bool compare_all(struct test_case *t, struct slice expect)
{
	const struct judged *j = &t->judged;
	char version[VERSION_TEXT_MAX], status[12], events[24];
	struct slice role = SLICE_EMPTY;
	bool is_event = !j->is_handshake && j->code == ERR_OK;

	version_text(j->mapped.version, version);
	(void)snprintf(status, sizeof(status), "%u", j->status);
	(void)snprintf(events, sizeof(events), "%zu", is_event ? count_events(t) : 0);
	if (j->verdict.key >= 0)
		role = slice_str(scheme_key_role(t->scheme, (size_t)j->verdict.key));
	const struct fact facts[] = {
		{ "code", slice_str(err_name(j->code)) },
		{ "status", slice_str(status) },
		{ "key", role },
		{ "events", slice_str(events) },
		{ "event_id", is_event ? j->mapped.id : SLICE_EMPTY },
		{ "type", is_event ? j->mapped.type : SLICE_EMPTY },
		{ "entity", is_event ? j->mapped.entity : SLICE_EMPTY },
		{ "version", is_event ? slice_str(version) : SLICE_EMPTY },
		{ "reply", j->answer.body.len > 0 ? buf_slice(&j->answer.body) : SLICE_EMPTY },
	};

	for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
		if (!compare(t, expect, &facts[i]))
			return false;
	}
	return true;
}

/* ---- running -----------------------------------------------------------------------------------
 */

static bool run_case(struct tester *tester, struct test_case *t, struct slice whole)
{
	static const char *const names[] = { "name", "source", "request", "expect", NULL };
	static const char *const request_names[] = { "method", "url", "headers", "body",
		"body_file", "body_base64", "now", "sign", NULL };
	static const char *const expect_names[] = { "code", "status", "key", "events", "event_id",
		"type", "entity", "version", "reply", NULL };
	struct slice request, expect, own_name;

	if (!check_names(t, whole, "a case", names) || !text_member(t, whole, "/name", &own_name) ||
		!object_member(t, whole, "/request", request_names, &request) ||
		!object_member(t, whole, "/expect", expect_names, &expect))
		return false;
	if (own_name.len > 0)
		t->name = own_name;
	if (!open_source(t, tester->config, whole) || !read_request(t, request))
		return false;
	judge(tester->config, t->scheme, &t->rq, t->now_ms, &t->judged);
	return compare_all(t, expect);
}

static void print(const struct tester *tester, const struct test_case *t, bool ok)
{
	struct buf out = BUF_INIT(KIB(64));
	struct err err = ERR_INIT;
	struct line line = { .out = &out, .err = &err };

	if (!tester->cli->json) {
		cli_outf(ok ? "ok    %.*s\n" : "FAIL  %.*s: ", SLICE_FMT(t->name));
		if (!ok)
			cli_outf("%s\n", t->why);
		return;
	}
	line_begin(&line);
	line_text(&line, "name", t->name);
	line_bool(&line, "ok", ok);
	line_str(&line, "why", ok ? NULL : t->why);
	line_end(&line);
	cli_outf("%s\n", buf_str(&out));
	buf_done(&out);
}

static void test_one(struct tester *tester, const char *dir, const char *file, struct slice whole)
{
	struct test_case t = {
		.dir = dir,
		.name = slice_str(file),
		.made = SCHEME_SIGNED_INIT,
		.text = BUF_INIT(FILE_MAX),
		.body = BUF_INIT(BODY_MAX),
		.judged = JUDGED_INIT,
	};
	bool ok = (buf_reserve(&t.text, 2 * whole.len + KIB(1), NULL) == ERR_OK ||
			  fail(&t, "no memory")) &&
		  run_case(tester, &t, whole);

	print(tester, &t, ok);
	tester->passed += ok;
	tester->failed += !ok;
	scheme_close(&t.scheme);
	scheme_signed_done(&t.made);
	judged_done(&t.judged);
	buf_done(&t.text);
	buf_done(&t.body);
}

static void test_file(struct tester *tester, const char *dir, const char *file)
{
	struct test_case broken = { .name = slice_str(file) };
	struct buf text = BUF_INIT(FILE_MAX);
	struct json_value whole, one;
	struct err err = ERR_INIT;
	char *path = file_join(dir, file);
	size_t at = 0;
	enum err_code rc = path ? file_read(path, &text, &err)
				: err_set(&err, ERR_NOMEM, "no memory for a path");

	if (rc == ERR_OK)
		rc = json_get(buf_slice(&text), "", &whole, &err);
	if (rc != ERR_OK) {
		(void)fail(&broken, "%s", err.text);
		print(tester, &broken, false);
		tester->failed++;
	} else if (whole.type == JSON_ARRAY) {
		while (json_next(whole, &at, &one))
			test_one(tester, dir, file, one.raw);
	} else {
		test_one(tester, dir, file, whole.raw);
	}
	free(path);
	buf_done(&text);
}

static int is_case(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > strlen(ENDING) && strcmp(entry->d_name + len - strlen(ENDING), ENDING) == 0;
}

static int test_all(struct tester *tester, const char *dir)
{
	struct dirent **files = NULL;
	int count = scandir(dir, &files, is_case, alphasort);

	if (count <= 0) {
		free(files);
		return cli_usage(tester->cli, "no files *" ENDING " in %s", dir);
	}
	for (int i = 0; i < count; i++) {
		test_file(tester, dir, files[i]->d_name);
		free(files[i]);
	}
	free(files);
	if (!tester->cli->json)
		cli_outf("%zu passed, %zu failed\n", tester->passed, tester->failed);
	return tester->failed > 0 ? 1 : 0;
}

static int run_test(struct cli *cli)
{
	struct tester tester = { .cli = cli };
	struct config *config = NULL;
	int status = cli_config(cli, false, &config);

	tester.config = config;
	if (status == 0)
		status = test_all(&tester, cli->args[0]);
	config_unref(&config);
	return status;
}

const struct command cmd_test = {
	.words = "test",
	.usage = "DIR [--json]",
	.summary =
		"run the requests and expectations of DIR/*.test.json against the config, offline",
	.examples = "  postern test tests/webhooks\n"
		    "  postern -c /etc/postern/postern.json test tests/webhooks --json\n",
	.args_min = 1,
	.args_max = 1,
	.run = run_test,
};
