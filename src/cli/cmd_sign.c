/* cmd_sign.c - the headers that a sender would send with this body. Nothing is sent, and the body
 * is not touched; where a signature stands in the body, what is sent is written to a file. */
#include "commands.h"
#include "lines.h"
#include "source.h"

#include "postern/file.h"
#include "postern/text.h"

#include <stdio.h>

#define BODY_MAX MIB(16)

static void print(const struct cli *cli, const struct header *header)
{
	struct buf out = BUF_INIT(KIB(64));
	struct err err = ERR_INIT;
	struct line line = { .out = &out, .err = &err };

	if (cli->json) {
		line_begin(&line);
		line_text(&line, "name", header->name);
		line_text(&line, "value", header->value);
		line_end(&line);
		cli_outf("%s\n", buf_str(&out));
	} else {
		cli_outf("%.*s: %.*s\n", SLICE_FMT(header->name), SLICE_FMT(header->value));
	}
	buf_done(&out);
}

/* Where the mapping reads the id from the body, --id cannot put it there. */
static void warn_of_id(const struct source *source, const struct scheme_draft *draft,
	const struct scheme_signed *made)
{
	struct scheme_request rq = {
		.method = SLICE_LIT("POST"),
		.headers = made->headers,
		.header_count = made->header_count,
		.body = buf_slice(&made->body),
	};
	struct scheme_verdict verdict = SCHEME_VERDICT_INIT;
	struct scheme_mapped mapped = SCHEME_MAPPED_INIT;

	rq.public_url = slice_sub(draft->url, 0, slice_find(draft->url, '?'));
	rq.query = buf_slice(&made->query);
	rq.has_query = made->has_query || made->query.len > 0;
	scheme_verify(source->scheme, &rq, draft->now_ms, &verdict);
	if (draft->id.len > 0 && verdict.code == ERR_OK) {
		scheme_map(source->scheme, &rq, &verdict, &mapped);
		if (!slice_eq(mapped.id, draft->id))
			fputs("postern: the id of this source stands in the body, which --id does "
			      "not change\n",
				stderr);
	}
	scheme_mapped_done(&mapped);
	scheme_verdict_done(&verdict);
}

/* What goes out beside headers. Gives the exit status. */
static int tell_rest(
	const struct cli *cli, const struct scheme_draft *draft, const struct scheme_signed *made)
{
	const char *path = cli_get(cli, "--out");
	struct slice query = draft->url;
	struct err err = ERR_INIT;

	query = slice_sub(query, slice_find(query, '?') + 1, query.len);
	if (!slice_eq(query, buf_slice(&made->query)))
		fprintf(stderr, "postern: the URL's query is \"%s\"\n", buf_str(&made->query));
	if (path)
		return file_write_new(path, buf_slice(&made->body), 0600, &err) == ERR_OK
			       ? 0
			       : cli_fail(&err);
	if (slice_eq(draft->body, buf_slice(&made->body)))
		return 0;
	return cli_usage(cli, "the signature of this source stands in the body: --out FILE takes "
			      "the body as it is sent");
}

static int sign(const struct cli *cli, const struct source *source, struct scheme_draft *draft)
{
	struct scheme_signed made = SCHEME_SIGNED_INIT;
	struct err err = ERR_INIT;
	enum err_code rc = scheme_sign(source->scheme, draft, &made, &err);
	int status = rc == ERR_OK ? 0 : cli_fail(&err);

	for (size_t i = 0; rc == ERR_OK && i < made.header_count; i++)
		print(cli, &made.headers[i]);
	if (rc == ERR_OK) {
		warn_of_id(source, draft, &made);
		status = tell_rest(cli, draft, &made);
	}
	scheme_signed_done(&made);
	return status;
}

static int run_sign(struct cli *cli)
{
	const char *path = cli_get(cli, "--body");
	struct buf body = BUF_INIT(BODY_MAX);
	struct err err = ERR_INIT;
	char id[SOURCE_ID_LEN + 1];
	struct scheme_draft draft = {
		.id = slice_str(cli_get(cli, "--id")),
		.url = slice_str(cli_get(cli, "--url")),
	};
	struct source source;
	int status;

	if (!path)
		return cli_usage(cli, "--body is missing");
	if (!source_now(cli, &draft.now_ms))
		return cli_usage(cli, "--now takes seconds since 1970");
	status = source_open(cli, &source);
	if (status != 0)
		return status;
	source_make_id(id);
	draft.spare_id = slice_str(id);
	if (source_body(path, &body, &err) != ERR_OK) {
		status = cli_fail(&err);
	} else {
		draft.body = buf_slice(&body);
		status = sign(cli, &source, &draft);
	}
	buf_done(&body);
	source_close(&source);
	return status;
}

static const struct cli_option options[] = {
	{ "--body", "@FILE", "the body, byte for byte; @- reads stdin" },
	{ "--id", "ID", "the id of the event, where a header carries it; else a fresh one" },
	{ "--url", "URL", "the full public URL with its query, for schemes that sign it" },
	{ "--now", "UNIX_S", "sign as at this time" },
	{ "--out", "FILE", "write the body as it is sent, where the signature stands in it" },
	{ 0 },
};

const struct command cmd_sign = {
	.words = "sign",
	.usage = "SOURCE --body @FILE [--id ID] [--url URL] [--now UNIX_S] [--out FILE]",
	.summary = "print the headers that the sender would send",
	.examples = "  postern sign demo --body @body.json --id evt_1\n"
		    "  postern sign github --body @body.json --json\n",
	.options = options,
	.args_min = 1,
	.args_max = 1,
	.run = run_sign,
};
