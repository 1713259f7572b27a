/* cmd_docs.c - completion and docs: pages from tables, on stdout. make install asks for them, and
 * whoever has only the program can. */
#include "commands.h"
#include "docs.h"

#define PAGE_MAX MIB(4)

static const struct page_row {
	const char *name;
	enum err_code (*write)(struct buf *out, struct err *err);
	bool shell;
} pages[] = {
	{ "bash", docs_bash, true },
	{ "zsh", docs_zsh, true },
	{ "fish", docs_fish, true },
	{ "postern.1", docs_commands_man, false },
	{ "postern.json.5", docs_options_man, false },
	{ "options.md", docs_options, false },
	{ "postern.schema.json", config_schema, false },
};

static int print_page(const struct page_row *row)
{
	struct buf text = BUF_INIT(PAGE_MAX);
	struct err err = ERR_INIT;
	enum err_code rc = row->write(&text, &err);

	if (rc == ERR_OK)
		cli_out(buf_slice(&text));
	buf_done(&text);
	return rc == ERR_OK ? 0 : cli_fail(&err);
}

static int print_named(const struct cli *cli, bool shell)
{
	for (size_t i = 0; i < ARRAY_LEN(pages); i++)
		if (pages[i].shell == shell && strcmp(pages[i].name, cli->args[0]) == 0)
			return print_page(&pages[i]);
	return cli_usage(cli, "there is no \"%s\"", cli->args[0]);
}

static int run_completion(struct cli *cli)
{
	return print_named(cli, true);
}

static int run_docs(struct cli *cli)
{
	return print_named(cli, false);
}

const struct command cmd_completion = {
	.words = "completion",
	.usage = "bash|zsh|fish",
	.summary = "what a shell loads to complete commands, options and names of sources",
	.examples = "  . <(postern completion bash)\n"
		    "  postern completion fish > ~/.config/fish/completions/postern.fish\n",
	.args_min = 1,
	.args_max = 1,
	.run = run_completion,
};

const struct command cmd_docs = {
	.words = "docs",
	.usage = "postern.1|postern.json.5|options.md|postern.schema.json",
	.summary = "the manual, the option reference or the schema of the config",
	.examples = "  postern docs postern.json.5 | man -l -\n"
		    "  postern docs postern.schema.json > postern.schema.json\n",
	.args_min = 1,
	.args_max = 1,
	.run = run_docs,
};
