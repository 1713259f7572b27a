/* docs_man.c - the manual: postern(1) from the table of commands, postern.json(5) and the option
 * reference from the table of options. */
#include "docs.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- writing ------------------------------------------------------------------------ */

void page_text(struct page *page, const char *text)
{
	if (page->rc == ERR_OK)
		page->rc = buf_put_str(page->out, text, page->err);
}

void page_putf(struct page *page, const char *fmt, ...)
{
	char text[KIB(2)];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	page_text(page, text);
}

static bool ends_sentence(const char *text)
{
	return text[0] == '.' && text[1] == ' ' && text[2] >= 'A' && text[2] <= 'Z';
}

/* Text in mdoc: a backslash, and a dot or quote that begins a line, mean something there, and a
 * sentence begins a line. */
static void man_text(struct page *page, const char *text)
{
	bool begins = true;

	for (; *text; text++) {
		if (ends_sentence(text)) {
			page_text(page, ".\n");
			text++;
			begins = true;
			continue;
		}
		if (begins && (*text == '.' || *text == '\''))
			page_text(page, "\\&");
		if (*text == '\\')
			page_text(page, "\\e");
		else if (*text == '-')
			page_text(page, "\\-");
		else
			page_putf(page, "%c", *text);
		begins = *text == '\n';
	}
}

/* Behind a macro words would be read as macros, and punctuation be pulled away. */
static void man_quoted(struct page *page, const char *macro, const char *text)
{
	page_putf(page, "%s \"", macro);
	for (; *text; text++) {
		if (*text == '"')
			page_text(page, "\\(dq");
		else if (*text == '\\')
			page_text(page, "\\e");
		else if (*text == '-')
			page_text(page, "\\-");
		else
			page_putf(page, "%c", *text);
	}
	page_text(page, "\"\n");
}

static void man_head(struct page *page, const char *title, int section, const char *what)
{
	page_putf(page,
		".\\\" Written by postern docs; not to be changed by hand.\n"
		".Dd $Mdocdate$\n.Dt %s %d\n.Os postern " POSTERN_VERSION "\n"
		".Sh NAME\n",
		title, section);
	page_text(page, what);
}

/* Lines as they are. */
static void man_lines(struct page *page, const char *text)
{
	page_text(page, ".Bd -literal -offset indent\n");
	man_text(page, text);
	page_text(page, ".Ed\n");
}

/* ---- postern(1) --------------------------------------------------------------------- */

static void man_option(struct page *page, const struct cli_option *option)
{
	char text[96];

	(void)snprintf(text, sizeof(text), "%s%s%s", option->name, option->value ? " " : "",
		option->value ? option->value : "");
	man_quoted(page, ".It Cm", text);
	man_text(page, option->help);
	page_text(page, "\n");
}

static void man_command(struct page *page, const struct command *command)
{
	char text[512];

	(void)snprintf(text, sizeof(text), "postern %s %s", command->words, command->usage);
	man_quoted(page, ".It Ic", text);
	man_text(page, command->summary);
	page_text(page, "\n");
	if (command->options && command->options->name) {
		page_text(page, ".Bl -tag -width Ds\n");
		for (const struct cli_option *o = command->options; o->name; o++)
			man_option(page, o);
		page_text(page, ".El\n");
	}
	man_lines(page, command->examples);
}

static const char overview[] =
	".Nm postern\n.Nd receive webhooks, make them durable, work each of them once\n"
	".Sh SYNOPSIS\n.Nm postern\n.Ar command\n.Op Fl c Ar file\n.Op Fl \\-json\n.Op Ar ...\n"
	".Sh DESCRIPTION\n"
	".Nm\ntakes signed webhooks over HTTP, answers when they are durable, and then works each "
	"of "
	"them once:\nduplicates and old versions are dropped, handlers are called in order per "
	"entity and again after a\nfailure, and what cannot be worked is kept as a dead letter.\n"
	".Pp\nCommands ask the daemon when it runs; without it those that only read open its "
	"files, and those that\nchange something exit with 4.\nData goes to standard output, talk "
	"to standard error.\n"
	".Bl -tag -width Ds\n"
	".It Fl c Ar file\nThe config; without it\n.Pa ./postern.json ,\nthen\n"
	".Pa /etc/postern/postern.json .\n"
	".It Fl \\-json\nOne JSON object a line.\n"
	".It Fl \\-help\nExamples, usage and options of a command.\n"
	".El\n.Sh COMMANDS\n.Bl -tag -width Ds\n";

static const char after_commands[] =
	".El\n.Sh ENVIRONMENT\n.Bl -tag -width Ds\n"
	".It Ev POSTERN__A__B\nOverrides the option\n.Pa /a/b .\nCase is ignored, a hyphen is "
	"written as an underscore.\n"
	".It Ev NOTIFY_SOCKET , LISTEN_FDS , WATCHDOG_USEC\nGiven by a service manager, see\n"
	".Xr sd_notify 3\nand\n.Xr sd_listen_fds 3 .\n.El\n"
	".Sh FILES\n.Bl -tag -width Ds\n"
	".It Pa /etc/postern/postern.json\nThe config of the system, see\n.Xr postern.json 5 .\n"
	".It Pa /etc/postern/keys\nKeys of sources, and the token of the admin listener.\n"
	".It Pa /var/lib/postern\nThe log, the state, dead letters and quarantine.\n.El\n"
	".Sh EXIT STATUS\n.Bl -tag -width Ds -compact\n"
	".It 0\nfine\n.It 1\nthe work failed\n.It 2\na wrong command line\n.It 3\nthe config is "
	"not "
	"valid\n.It 4\nthe broker or the daemon cannot be reached\n.It 5\npartly done\n.It 75\ntry "
	"later\n.El\n"
	".Sh SEE ALSO\n.Xr postern.json 5 ,\n.Xr systemd.socket 5\n";

enum err_code docs_commands_man(struct buf *out, struct err *err)
{
	struct page page = { .out = out, .err = err, .rc = ERR_OK };

	man_head(&page, "POSTERN", 1, overview);
	for (size_t i = 0; commands[i]; i++)
		man_command(&page, commands[i]);
	page_text(&page, after_commands);
	return page.rc;
}

/* ---- options ------------------------------------------------------------------------ */

static void put_words(struct page *page, const char *const *words)
{
	page_text(page, "one of ");
	for (size_t i = 0; words[i]; i++)
		page_putf(page, "%s%s", i ? ", " : "", words[i]);
}

static void put_range(struct page *page, const struct config_option *option)
{
	const char *unit = option->unit ? option->unit : "";

	page_putf(page, "%s, %s%" PRId64 " to %" PRId64 "%s%s",
		option->type == OPTION_INTEGER ? "integer" : "number",
		option->flags & OPTION_ABOVE ? "above " : "", option->min, option->max,
		*unit ? " " : "", unit);
}

/* "integer, 1 to 3600 s", "one of current, next, previous"; nothing for what has members. */
static void put_type(struct page *page, const struct config_option *option)
{
	switch (option->type) {
	case OPTION_OBJECT:
	case OPTION_LATER: return;
	case OPTION_MAP: page_text(page, "object, any names"); return;
	case OPTION_LIST: page_text(page, "list"); return;
	case OPTION_INTEGER:
	case OPTION_NUMBER: put_range(page, option); return;
	case OPTION_BOOL: page_text(page, "true or false"); return;
	case OPTION_TEXT:
		page_text(page, option->flags & OPTION_PRESET ? "name of a preset" : "text");
		return;
	case OPTION_WORD: put_words(page, option->words); return;
	case OPTION_PATH: page_text(page, "path, relative to the config"); return;
	case OPTION_ADDRESS: page_text(page, "address and port"); return;
	case OPTION_URL: page_text(page, "http or https URL"); return;
	case OPTION_TIME: page_text(page, "time, RFC 3339"); return;
	case OPTION_SETTING:
		page_text(page, "text, number, true or false, or a reference to a secret");
		return;
	case OPTION_SCHEME: page_text(page, "scheme language"); return;
	}
}

static const struct {
	unsigned flag;
	const char *text;
} remarks[] = {
	{ OPTION_REQUIRED, "required" },
	{ OPTION_OPTIONAL, "off when absent" },
	{ OPTION_RESTART, "needs a restart" },
	{ OPTION_KAFKA, "Kafka only" },
	{ OPTION_EMBEDDED, "not on Kafka" },
};

static bool has_remarks(const struct config_option *option)
{
	for (size_t i = 0; i < ARRAY_LEN(remarks); i++)
		if (option->flags & remarks[i].flag)
			return true;
	return false;
}

static void put_remarks(struct page *page, const struct config_option *option)
{
	const char *between = "";

	for (size_t i = 0; i < ARRAY_LEN(remarks); i++) {
		if (!(option->flags & remarks[i].flag))
			continue;
		page_putf(page, "%s%s", between, remarks[i].text);
		between = ", ";
	}
}

static void man_config_option(struct page *page, const struct config_option *option)
{
	man_quoted(page, ".It Pa", option->pattern);
	man_text(page, option->help);
	page_text(page, "\n");
	if (option->type != OPTION_OBJECT) {
		page_text(page, ".br\n");
		put_type(page, option);
		page_text(page, "\n");
	}
	if (option->fallback) {
		page_text(page, ".br\ndefault: ");
		man_text(page, option->fallback);
		page_text(page, "\n");
	}
	if (has_remarks(option)) {
		page_text(page, ".br\n");
		put_remarks(page, option);
		page_text(page, "\n");
	}
}

static const char config_overview[] =
	".Nm postern.json\n.Nd what postern receives, and what becomes of it\n"
	".Sh DESCRIPTION\n"
	"JSON (RFC 8259). Members whose name starts with // are comments; a name that stands here "
	"nowhere is an\nerror, and so is one that stands twice.\nSecrets are never in it, only "
	"references: a file, or a variable of the environment.\nRelative paths are relative to the "
	"file.\n.Pp\n"
	".Ic postern lint\nchecks it,\n.Ic postern config explain\n.Ar pointer\nsays what an "
	"option "
	"is set to and by whom, and\n.Ic postern reload\ntakes a changed one, except for what "
	"needs "
	"a restart.\n"
	".Pp\nA star stands for any name or place in a list.\n"
	".Sh OPTIONS\n.Bl -tag -width Ds\n";

enum err_code docs_options_man(struct buf *out, struct err *err)
{
	struct page page = { .out = out, .err = err, .rc = ERR_OK };
	const struct config_option *option;

	man_head(&page, "POSTERN.JSON", 5, config_overview);
	for (size_t i = 0; (option = config_option(i)); i++)
		if (option->pattern[0] && option->type != OPTION_LATER)
			man_config_option(&page, option);
	page_text(&page, ".El\n.Sh SEE ALSO\n.Xr postern 1\n");
	return page.rc;
}

/* ---- the page for people ------------------------------------------------------------ */

/* A bar would end the cell. */
static void cell(struct page *page, const char *text)
{
	for (; *text; text++)
		page_putf(page, *text == '|' ? "\\%c" : "%c", *text);
}

static void table_row(struct page *page, const struct config_option *option)
{
	page_putf(page, "| `%s` | ", option->pattern);
	put_type(page, option);
	page_text(page, " | ");
	if (option->fallback)
		page_putf(page, "`%s`", option->fallback);
	page_text(page, " | ");
	cell(page, option->help);
	if (has_remarks(option)) {
		page_text(page, " *");
		put_remarks(page, option);
		page_text(page, "*");
	}
	page_text(page, " |\n");
}

enum err_code docs_options(struct buf *out, struct err *err)
{
	struct page page = { .out = out, .err = err, .rc = ERR_OK };
	const struct config_option *option;

	page_text(&page,
		"# Every option\n\n"
		"Written by `postern docs options.md` from the table that the program reads "
		"configs "
		"with. A star stands for any name\nor place in a list; `postern config explain "
		"/routes/0/retry` shows one of them as it is set.\n\n"
		"| option | type | default | what it does |\n| --- | --- | --- | --- |\n");
	for (size_t i = 0; (option = config_option(i)); i++)
		if (option->pattern[0] && option->type != OPTION_LATER)
			table_row(&page, option);
	return page.rc;
}
