/* docs_shell.c - completion for shells, from the table of commands.
 *
 * All three complete the first and the second word of a command, its options, and where a command
 * begins with a source, or has --source, the names that the config has (postern lint --json knows
 * them). */
#include "docs.h"

#include <stdio.h>

#define SOURCES "lint --json 2>/dev/null | sed -n 's/.*\"source\":\"\\([^\"]*\\)\".*/\\1/p'"

/* The first words of the commands, each once, in order; after NULL: the first of them. */
static const char *next_first(const char *after, char room[32])
{
	bool found = !after;

	for (size_t i = 0; commands[i]; i++) {
		const char *words = commands[i]->words;
		size_t len = strcspn(words, " ");

		if (found && (!after || strlen(after) != len || strncmp(words, after, len) != 0)) {
			(void)snprintf(room, 32, "%.*s", (int)len, words);
			return room;
		}
		if (after && strlen(after) == len && strncmp(words, after, len) == 0)
			found = true;
	}
	return NULL;
}

/* "SOURCE ..." */
static bool takes_source(const struct command *command)
{
	return strncmp(command->usage, "SOURCE", 6) == 0;
}

static bool takes_preset(const struct command *command)
{
	return strstr(command->usage, "PRESET") != NULL;
}

static const char *second_word(const struct command *command)
{
	const char *space = strchr(command->words, ' ');

	return space ? space + 1 : NULL;
}

static bool starts_with(const struct command *command, const char *first)
{
	size_t len = strlen(first);

	return strncmp(command->words, first, len) == 0 &&
	       (command->words[len] == '\0' || command->words[len] == ' ');
}

static void put_options(struct page *page, const struct command *command, const char *before)
{
	for (const struct cli_option *o = command->options; o && o->name; o++)
		page_putf(page, "%s%s", before, o->name);
	page_putf(page, "%s--json%s--help%s-c", before, before, before);
}

static void put_presets(struct page *page)
{
	for (size_t i = 0; i < preset_count(); i++)
		page_putf(page, "%s%s", i ? " " : "", preset_name(i));
}

/* ---- bash and zsh ------------------------------------------------------------------- */

/* case "$1 $2" of a shell: sets choices. */
static void put_case(struct page *page, const struct command *command)
{
	const char *second = second_word(command);

	page_putf(page, "\t'%s'%s) choices='", command->words, second ? "" : "*");
	put_options(page, command, " ");
	page_text(page, "'");
	if (takes_preset(command)) {
		page_text(page, "' ");
		put_presets(page);
		page_text(page, "'");
	}
	if (takes_source(command))
		page_text(page, "\" $(_postern_sources)\"");
	page_text(page, " ;;\n");
}

static void put_second_words(struct page *page, const char *first)
{
	bool any = false;

	for (size_t i = 0; commands[i]; i++) {
		const char *second = second_word(commands[i]);

		if (!second || !starts_with(commands[i], first))
			continue;
		if (!any)
			page_putf(page, "\t'%s '*) choices='", first);
		page_putf(page, "%s%s", any ? " " : "", second);
		any = true;
	}
	if (any)
		page_text(page, "' ;;\n");
}

/* A function that sets `choices` for the command line's first two words. (`words` is zsh's own name
 * for the line that is completed.) */
static void put_words_function(struct page *page)
{
	char room[32];

	page_text(page,
		"_postern_sources() {\n\tpostern ${config:+-c} ${config:+\"$config\"} " SOURCES
		"\n}\n\n"
		"_postern_words() { # first word, second word\n\tcase \"$1 $2\" in\n"
		"\t' ') choices='");
	for (const char *first = next_first(NULL, room); first; first = next_first(first, room))
		page_putf(page, "%s ", first);
	page_text(page, "--help --version' ;;\n");
	for (size_t i = 0; commands[i]; i++)
		if (second_word(commands[i]))
			put_case(page, commands[i]);
	for (const char *first = next_first(NULL, room); first; first = next_first(first, room))
		put_second_words(page, first);
	for (size_t i = 0; commands[i]; i++)
		if (!second_word(commands[i]))
			put_case(page, commands[i]);
	page_text(page, "\tesac\n}\n\n");
}

static const char bash_tail[] =
	"_postern() {\n"
	"\tlocal config= first= second= choices= i\n"
	"\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
	"\tCOMPREPLY=()\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tcase ${COMP_WORDS[i]} in\n"
	"\t\t-c | --config) config=${COMP_WORDS[++i]} ;;\n"
	"\t\t-*) ;;\n"
	"\t\t*) if [ -z \"$first\" ]; then first=${COMP_WORDS[i]}; "
	"elif [ -z \"$second\" ]; then second=${COMP_WORDS[i]}; fi ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\tcase $previous in\n"
	"\t-c | --config | --data | --body | --dir) COMPREPLY=($(compgen -f -- \"$current\")); "
	"return ;;\n"
	"\tesac\n"
	"\tif [ \"$previous\" = --source ]; then choices=$(_postern_sources); "
	"else _postern_words \"$first\" \"$second\"; fi\n"
	"\tCOMPREPLY=($(compgen -W \"$choices\" -- \"$current\"))\n"
	"}\n"
	"complete -F _postern postern\n";

enum err_code docs_bash(struct buf *out, struct err *err)
{
	struct page page = { .out = out, .err = err, .rc = ERR_OK };

	page_text(
		&page, "# Completion of postern for bash, written by postern completion bash.\n\n");
	put_words_function(&page);
	page_text(&page, bash_tail);
	return page.rc;
}

/* Found on fpath the file is the function's body, and has to do the first completion itself. */
static const char zsh_tail[] =
	"_postern() {\n"
	"\tlocal config= first= second= choices= i\n"
	"\tfor ((i = 2; i < CURRENT; i++)); do\n"
	"\t\tcase ${words[i]} in\n"
	"\t\t-c | --config) config=${words[++i]} ;;\n"
	"\t\t-*) ;;\n"
	"\t\t*) if [[ -z $first ]]; then first=${words[i]}; "
	"elif [[ -z $second ]]; then second=${words[i]}; fi ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\tcase ${words[CURRENT - 1]} in\n"
	"\t-c | --config | --data | --body | --dir) _files; return ;;\n"
	"\tesac\n"
	"\tif [[ ${words[CURRENT - 1]} == --source ]]; then choices=$(_postern_sources); "
	"else _postern_words \"$first\" \"$second\"; fi\n"
	"\tcompadd -- ${=choices}\n"
	"}\n\n"
	"if [[ ${funcstack[1]} == _postern ]]; then _postern; else compdef _postern postern; fi\n";

enum err_code docs_zsh(struct buf *out, struct err *err)
{
	struct page page = { .out = out, .err = err, .rc = ERR_OK };

	page_text(&page, "#compdef postern\n"
			 "# Completion of postern for zsh, written by postern completion zsh.\n\n");
	put_words_function(&page);
	page_text(&page, zsh_tail);
	return page.rc;
}

/* ---- fish --------------------------------------------------------------------------- */

/* In single quotes of that shell. */
static void fish_quoted(struct page *page, const char *text)
{
	page_text(page, "'");
	for (; *text; text++)
		page_putf(page, *text == '\'' || *text == '\\' ? "\\%c" : "%c", *text);
	page_text(page, "'");
}

static void fish_word(struct page *page, const struct command *command)
{
	const char *second = second_word(command);
	char first[32];

	(void)snprintf(
		first, sizeof(first), "%.*s", (int)strcspn(command->words, " "), command->words);
	page_putf(page, "complete -c postern -f -n '%s%s' -a %s -d ",
		second ? "__fish_seen_subcommand_from " : "__fish_use_subcommand",
		second ? first : "", second ? second : first);
	fish_quoted(page, command->summary);
	page_text(page, "\n");
}

/* Options and arguments of a command: where both its words were seen. */
static void fish_when(struct page *page, const struct command *command)
{
	const char *second = second_word(command);

	page_putf(page, "complete -c postern -n '__fish_seen_subcommand_from %.*s",
		(int)strcspn(command->words, " "), command->words);
	if (second)
		page_putf(page, "; and __fish_seen_subcommand_from %s", second);
	page_text(page, "'");
}

static void fish_command(struct page *page, const struct command *command)
{
	for (const struct cli_option *o = command->options; o && o->name; o++) {
		fish_when(page, command);
		page_putf(page, " -l %s%s%s -d ", o->name + 2, o->value ? " -r" : "",
			strcmp(o->name, "--source") == 0 ? " -f -a '(__postern_sources)'" : "");
		fish_quoted(page, o->help);
		page_text(page, "\n");
	}
	if (takes_source(command)) {
		fish_when(page, command);
		page_text(page, " -f -a '(__postern_sources)'\n");
	}
	if (takes_preset(command)) {
		fish_when(page, command);
		page_text(page, " -f -a '");
		put_presets(page);
		page_text(page, "'\n");
	}
}

enum err_code docs_fish(struct buf *out, struct err *err)
{
	struct page page = { .out = out, .err = err, .rc = ERR_OK };
	char room[32];

	page_text(&page, "# Completion of postern for fish, written by postern completion fish.\n\n"
			 "function __postern_sources\n"
			 "\tset -l line (commandline -opc)\n"
			 "\tset -l config\n"
			 "\tif set -l at (contains -i -- -c $line)\n"
			 "\t\tset -l next (math $at + 1)\n"
			 "\t\tset config -c $line[$next]\n"
			 "\tend\n"
			 "\tpostern $config " SOURCES "\n"
			 "end\n\n"
			 "complete -c postern -s c -r -d 'the config file'\n"
			 "complete -c postern -l json -d 'one JSON object a line'\n"
			 "complete -c postern -l help -d 'examples, usage and options'\n");
	for (const char *first = next_first(NULL, room); first; first = next_first(first, room))
		page_putf(&page, "complete -c postern -f -n __fish_use_subcommand -a %s\n", first);
	for (size_t i = 0; commands[i]; i++) {
		fish_word(&page, commands[i]);
		fish_command(&page, commands[i]);
	}
	return page.rc;
}
