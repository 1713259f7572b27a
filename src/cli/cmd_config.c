/* cmd_config.c - config show and config explain: what is in force, and why.
 *
 * Both read the file and the environment of this command; with --running, show asks the daemon what
 * it works with. */
#include "commands.h"

#include "postern/json.h"

#include <stdio.h>

#define SHOWN_MAX MIB(8)

/* Pretty JSON on one line: the writer breaks lines between values only. */
static void print_line(struct slice text)
{
	struct buf line = BUF_INIT(SHOWN_MAX);

	while (text.len > 0) {
		struct slice part = slice_sub(text, 0, slice_find(text, '\n'));

		text = slice_sub(text, part.len + 1, text.len);
		while (part.len > 0 && part.data[0] == ' ')
			part = slice_sub(part, 1, part.len);
		err_ignored(buf_put_slice(&line, part, NULL));
	}
	cli_out(buf_slice(&line));
	cli_outf("\n");
	buf_done(&line);
}

static enum err_code ask_running(const struct config *config, struct buf *out, struct err *err)
{
	unsigned status = 0;
	enum err_code rc = cli_admin(
		config, HALF_INGRESS, "GET", "/v1/config", SLICE_EMPTY, out, &status, err);

	if (rc == ERR_UNREACHABLE) {
		err_clear(err);
		rc = cli_admin(
			config, HALF_WORKER, "GET", "/v1/config", SLICE_EMPTY, out, &status, err);
	}
	if (rc == ERR_OK && status != 200)
		rc = err_set(err, ERR_IO, "the daemon answered %u", status);
	return rc;
}

static enum err_code show(struct cli *cli, struct config *config, const void *ctx, struct err *err)
{
	struct buf text = BUF_INIT(SHOWN_MAX);
	enum err_code rc = cli_get(cli, "--running") ? ask_running(config, &text, err)
						     : config_show(config, &text, err);

	(void)ctx;
	if (rc == ERR_OK && cli->json)
		print_line(buf_slice(&text));
	else if (rc == ERR_OK)
		cli_out(buf_slice(&text));
	buf_done(&text);
	return rc;
}

static int run_show(struct cli *cli)
{
	return cli_with_config(cli, false, show, NULL);
}

/* ---- explain -----------------------------------------------------------------------------------
 */

/* A member as text, put behind what is there; nothing when it is absent. */
static bool put_member(
	struct buf *out, struct slice object, const char *pointer, const char *before)
{
	struct json_value value;
	struct buf text = BUF_INIT(SHOWN_MAX);
	bool there = json_get(object, pointer, &value, NULL) == ERR_OK &&
		     value.type != JSON_ABSENT && json_text(value, &text, NULL) == ERR_OK;

	if (there)
		err_ignored(buf_putf(out, NULL, "%s%s", before, buf_str(&text)));
	buf_done(&text);
	return there;
}

static void print_row(const char *label, struct buf *text)
{
	if (text->len > 0)
		cli_outf("  %-8s %s\n", label, buf_str(text));
	buf_reset(text);
}

static void print_words(struct slice object, struct buf *text)
{
	struct json_value words, word;
	size_t at = 0;

	if (json_get(object, "/words", &words, NULL) != ERR_OK || words.type != JSON_ARRAY)
		return;
	while (json_next(words, &at, &word))
		err_ignored(
			buf_putf(text, NULL, "%s%.*s", text->len ? ", " : "", SLICE_FMT(word.raw)));
	print_row("one of", text);
}

static void print_explained(struct slice object)
{
	struct buf text = BUF_INIT(SHOWN_MAX);
	struct json_value restart = { .type = JSON_ABSENT };

	if (!put_member(&text, object, "/value", ""))
		err_ignored(buf_put_str(&text, "not set", NULL));
	print_row("value", &text);
	put_member(&text, object, "/from", "");
	put_member(&text, object, "/file", " ");
	put_member(&text, object, "/line", ", line ");
	put_member(&text, object, "/variable", " ");
	put_member(&text, object, "/preset", " ");
	print_row("from", &text);
	put_member(&text, object, "/type", "");
	put_member(&text, object, "/min", ", from ");
	put_member(&text, object, "/max", " to ");
	put_member(&text, object, "/unit", " ");
	print_row("type", &text);
	print_words(object, &text);
	put_member(&text, object, "/default", "");
	print_row("default", &text);
	if (json_get(object, "/restart", &restart, NULL) == ERR_OK && restart.type == JSON_TRUE)
		cli_outf("  %-8s needs a restart\n", "change");
	put_member(&text, object, "/help", "");
	print_row("help", &text);
	buf_done(&text);
}

static enum err_code explain(
	struct cli *cli, struct config *config, const void *ctx, struct err *err)
{
	struct buf text = BUF_INIT(SHOWN_MAX);
	enum err_code rc = config_explain(config, cli->args[0], &text, err);

	(void)ctx;
	if (rc == ERR_OK && cli->json) {
		cli_out(buf_slice(&text));
	} else if (rc == ERR_OK) {
		cli_outf("%s\n", cli->args[0]);
		print_explained(buf_slice(&text));
	}
	buf_done(&text);
	return rc;
}

static int run_explain(struct cli *cli)
{
	return cli_with_config(cli, false, explain, NULL);
}

static const struct cli_option show_options[] = {
	{ "--running", NULL, "ask the daemon for the config it works with" },
	{ 0 },
};

static const struct cli_option no_options[] = { { 0 } };

const struct command cmd_config_show = {
	.words = "config show",
	.usage = "[--running] [--json]",
	.summary = "the effective config: file, environment and defaults together",
	.examples = "  postern config show\n"
		    "  postern config show --running\n"
		    "  POSTERN__INGRESS__MAX_BODY_BYTES=4096 postern config show\n",
	.options = show_options,
	.run = run_show,
};

const struct command cmd_config_explain = {
	.words = "config explain",
	.usage = "POINTER [--json]",
	.summary = "one option: its value, where that came from, its limits and what it does",
	.examples = "  postern config explain /ingress/max_body_bytes\n"
		    "  postern config explain /sources/github/verify/sig\n"
		    "  postern config explain /routes/0/retry --json\n",
	.options = no_options,
	.args_min = 1,
	.args_max = 1,
	.run = run_explain,
};
