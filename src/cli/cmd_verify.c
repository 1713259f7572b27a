/* cmd_verify.c - what would the daemon say to this one request? Offline, with the source's own
 * keys.
 *
 * Deliberately not here: deduplication and versions, which need the worker's memory. */
#include "commands.h"
#include "judge.h"
#include "lines.h"
#include "source.h"

#include "postern/text.h"

#include <stdio.h>

#define HEADERS_MAX 64
#define BODY_MAX MIB(64)

struct verifier {
	struct source source;
	struct header headers[HEADERS_MAX];
	struct scheme_request rq;
	struct buf body;
	struct judged judged;
	int64_t now_ms;
};

/* Blanks and tabs around a value are no part of it (RFC 9110 5.5): the ingress drops them too. */
static bool read_header(const char *text, struct header *out)
{
	struct slice line = slice_str(text);
	size_t colon = slice_find(line, ':');

	if (colon == 0 || colon == line.len)
		return false;
	out->name = slice_sub(line, 0, colon);
	out->value = slice_trim(slice_sub(line, colon + 1, line.len));
	return true;
}

/* 0, or the exit status of a usage error. */
static int read_request(const struct cli *cli, struct verifier *v)
{
	const char *method = cli_get(cli, "--method"), *url = cli_get(cli, "--url");
	const char *body = cli_get(cli, "--body"), *header;
	struct err err = ERR_INIT;

	if (!source_now(cli, &v->now_ms))
		return cli_usage(cli, "--now takes seconds since 1970");
	v->rq.method = slice_str(method ? method : "POST");
	if (url)
		source_split_url(slice_str(url), &v->rq);
	for (int i = 0; (header = cli_get_nth(cli, "--header", i)) != NULL; i++) {
		if (i == HEADERS_MAX)
			return cli_usage(cli, "more than %d headers", HEADERS_MAX);
		if (!read_header(header, &v->headers[v->rq.header_count++]))
			return cli_usage(cli, "--header takes \"Name: value\"");
	}
	v->rq.headers = v->headers;
	if (!body && slice_eq_str(v->rq.method, "POST"))
		return cli_usage(cli, "--body is missing");
	if (body && source_body(body, &v->body, &err) != ERR_OK)
		return cli_fail(&err);
	v->rq.body = buf_slice(&v->body);
	return 0;
}

static void print_key(struct line *line, const struct verifier *v)
{
	char text[64];
	int key = v->judged.verdict.key;

	if (key < 0) {
		line_null(line, "key");
		return;
	}
	(void)snprintf(text, sizeof(text), "%s:%s", scheme_key_role(v->source.scheme, (size_t)key),
		scheme_key_fingerprint(v->source.scheme, (size_t)key));
	line_str(line, "key", text);
}

/* What would make it verify: said, and never done. */
static void print_explanation(struct line *line, const struct verifier *v, enum err_code code)
{
	const struct scheme_question question = {
		.config = v->source.config,
		.source = v->source.config_row,
		.scheme = v->source.scheme,
		.rq = &v->rq,
		.verdict = &v->judged.verdict,
		.code = code,
		.now_ms = v->now_ms,
	};
	struct scheme_explanation answer;
	struct err err = ERR_INIT;

	if (scheme_explain(&question, &answer, &err) != ERR_OK) {
		line_null(line, "mistake");
		line_str(line, "explain", err.text);
		return;
	}
	line_str(line, "mistake", answer.mistake);
	line_str(line, "explain", answer.text);
	line_str(line, "fix", answer.fix);
}

static void print(const struct verifier *v, enum err_code code, bool explains)
{
	struct buf out = BUF_INIT(KIB(64));
	struct err err = ERR_INIT;
	struct line line = { .out = &out, .err = &err };
	char version[VERSION_TEXT_MAX];

	version_text(v->judged.mapped.version, version);
	line_begin(&line);
	line_str(&line, "code", err_name(code));
	line_text(&line, "event_id", v->judged.mapped.id);
	print_key(&line, v);
	line_text(&line, "type", v->judged.mapped.type);
	line_text(&line, "entity", v->judged.mapped.entity);
	line_text(&line, "version", slice_str(version));
	if (v->judged.is_handshake)
		line_text(&line, "handshake", buf_slice(&v->judged.answer.body));
	if (code != ERR_OK)
		line_text(&line, "detail", slice_str(judged_detail(&v->judged)));
	if (code != ERR_OK && explains)
		print_explanation(&line, v, code);
	line_end(&line);
	cli_outf("%s\n", buf_str(&out));
	buf_done(&out);
}

static int run_verify(struct cli *cli)
{
	struct verifier v = {
		.body = BUF_INIT(BODY_MAX),
		.judged = JUDGED_INIT,
	};
	int status = source_open(cli, &v.source);

	if (status == 0)
		status = read_request(cli, &v);
	if (status == 0) {
		judge(v.source.config, v.source.scheme, &v.rq, v.now_ms, &v.judged);
		print(&v, v.judged.code, cli_get(cli, "--explain") != NULL);
		status = v.judged.code == ERR_OK ? 0 : 1;
	}
	judged_done(&v.judged);
	buf_done(&v.body);
	source_close(&v.source);
	return status;
}

static const struct cli_option options[] = {
	{ "--body", "@FILE", "the body, byte for byte; @- reads stdin" },
	{ "--header", "'Name: value'", "a request header; again for more" },
	{ "--method", "M", "POST" },
	{ "--url", "URL", "the full public URL with its query, for schemes that sign it" },
	{ "--now", "UNIX_S", "judge freshness as at this time" },
	{ "--explain", NULL,
		"try the known mistakes, and name the one that fits; it stays refused" },
	{ 0 },
};

const struct command cmd_verify = {
	.words = "verify",
	.usage = "SOURCE --body @FILE [--header 'Name: value']... [--method M] [--url URL] "
		 "[--now UNIX_S] [--explain]",
	.summary = "check one request offline: code, event id, key",
	.examples = "  postern verify github --body @body.json --header "
		    "'X-Hub-Signature-256: sha256=...' --header 'X-GitHub-Delivery: 1'\n"
		    "  postern verify demo --body @body.json --header \"$SIGNATURE\" --now "
		    "1614265330\n"
		    "  postern verify github --body @body.json --header \"$SIGNATURE\" --explain\n",
	.options = options,
	.args_min = 1,
	.args_max = 1,
	.run = run_verify,
};
