/* main.c - finds the command, parses its options by its table, runs it; prints help.
 *
 * -c FILE, --json and --help may stand anywhere, "help" first; "--" ends the options. What a
 * command does is in its own file. */
#include "commands.h"

#include "postern/text.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define WORDS_MAX 64

/* ---- help --------------------------------------------------------------------------------------
 */

static void print_overview(FILE *to)
{
	fputs("postern receives webhooks, makes them durable, and works each of them once.\n\n"
	      "  postern init demo=standard-webhooks --dir data\n"
	      "  postern -c data/postern.json run\n"
	      "  postern -c data/postern.json send demo --type order.paid\n\n"
	      "commands:\n",
		to);
	for (size_t i = 0; commands[i]; i++)
		fprintf(to, "  %-18s %s\n", commands[i]->words, commands[i]->summary);
	fputs("\n-c FILE names the config (default ./postern.json, then "
	      "/etc/postern/postern.json);\n"
	      "--json prints one object a line; \"postern COMMAND --help\" says more.\n"
	      "exit status: 0 fine, 1 work failed, 2 usage, 3 config invalid, 4 daemon "
	      "unreachable,\n"
	      "5 partly done, 75 try later\n",
		to);
}

static void print_command(const struct command *command)
{
	printf("%s\n%s\nusage: postern %s %s\n\n", command->summary, command->examples,
		command->words, command->usage);
	for (const struct cli_option *o = command->options; o && o->name; o++) {
		char left[64];

		(void)snprintf(left, sizeof(left), "%s %s", o->name, o->value ? o->value : "");
		printf("  %-20s %s\n", left, o->help);
	}
	printf("  %-20s %s\n", "-c FILE", "the config file");
	printf("  %-20s %s\n", "--json", "one JSON object a line");
}

/* "postern events --help": the commands that start with this word. */
static bool print_group(const char *word)
{
	size_t len = strlen(word), found = 0;

	for (size_t i = 0; commands[i]; i++) {
		if (strncmp(commands[i]->words, word, len) != 0 || commands[i]->words[len] != ' ')
			continue;
		if (found++)
			puts("");
		print_command(commands[i]);
	}
	return found != 0;
}

/* ---- finding the command -----------------------------------------------------------------------
 */

static const struct command *find_command(const char *first, const char *second, int *words)
{
	char both[WORDS_MAX];

	(void)snprintf(both, sizeof(both), "%s %s", first, second ? second : "");
	for (size_t i = 0; commands[i]; i++) {
		*words = strchr(commands[i]->words, ' ') ? 2 : 1;
		if (strcmp(commands[i]->words, *words == 2 ? both : first) == 0)
			return commands[i];
	}
	return NULL;
}

static int unknown_command(const char *first, const char *second)
{
	const char *nearest = NULL;
	char both[WORDS_MAX];
	unsigned best = 4;

	(void)snprintf(
		both, sizeof(both), "%s%s%s", first, second ? " " : "", second ? second : "");
	for (size_t i = 0; commands[i]; i++) {
		struct slice words = slice_str(commands[i]->words);
		unsigned one = text_distance(
			slice_sub(words, 0, slice_find(words, ' ')), slice_str(first));
		unsigned two = text_distance(words, slice_str(both));
		unsigned distance = two < one ? two : one;

		if (distance < best) {
			best = distance;
			nearest = commands[i]->words;
		}
	}
	fprintf(stderr, "postern: no command \"%s\"%s%s%s; try postern --help\n", both,
		nearest ? ", did you mean \"" : "", nearest ? nearest : "", nearest ? "\"" : "");
	return err_exit(ERR_USAGE);
}

/* ---- options -----------------------------------------------------------------------------------
 */

struct words { /* the command line without -c, --json and --help */
	const char **list;
	int count;
	bool help, version;
};

/* "help dlq replay" is "dlq replay --help". */
static void take_help(struct words *words)
{
	if (words->count == 0 || strcmp(words->list[0], "help") != 0)
		return;
	words->help = true;
	words->count--;
	memmove(words->list, words->list + 1, (size_t)words->count * sizeof(*words->list));
}

/* 0, or the exit status of a usage error. */
static int take_common(int argc, char **argv, struct cli *cli, struct words *words)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			for (; i < argc; i++) /* the "--" itself too: parse_options() ends there */
				words->list[words->count++] = argv[i];
		} else if (strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0) {
			if (++i == argc) {
				fputs("postern: -c needs a file\n", stderr);
				return err_exit(ERR_USAGE);
			}
			cli->config_path = argv[i];
		} else if (strcmp(argv[i], "--json") == 0) {
			cli->json = true;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			words->help = true;
		} else if (strcmp(argv[i], "--version") == 0 && words->count == 0) {
			words->version = true;
		} else {
			words->list[words->count++] = argv[i];
		}
	}
	take_help(words);
	return 0;
}

static const struct cli_option *find_option(const struct command *command, struct slice name)
{
	for (const struct cli_option *o = command->options; o && o->name; o++)
		if (slice_eq_str(name, o->name))
			return o;
	return NULL;
}

/* One option, as "--name value", "--name=value" or a flag. Gives how many words it took, 0: an
 * error. */
static int take_option(struct cli *cli, const char **words, int left)
{
	struct slice word = slice_str(words[0]);
	size_t eq = slice_find(word, '=');
	const struct cli_option *option = find_option(cli->command, slice_sub(word, 0, eq));
	int taken = 1;
	const char *value = "";

	if (!option) {
		(void)cli_usage(cli, "no option \"%s\"", words[0]);
		return 0;
	}
	if (eq < word.len)
		value = words[0] + eq + 1;
	if (!option->value && eq < word.len) {
		(void)cli_usage(cli, "%s takes no value", option->name);
		return 0;
	}
	if (option->value && eq == word.len) {
		if (left < 2) {
			(void)cli_usage(cli, "%s needs a value: %s", option->name, option->value);
			return 0;
		}
		value = words[1];
		taken = 2;
	}
	cli->option_names[cli->option_count] = option->name;
	cli->option_values[cli->option_count++] = value;
	return taken;
}

static int parse_options(struct cli *cli, const char **words, int count)
{
	bool options_end = false;

	for (int i = 0; i < count;) {
		int taken = 1;

		if (!options_end && strcmp(words[i], "--") == 0) {
			options_end = true;
		} else if (!options_end && words[i][0] == '-' && words[i][1] == '-') {
			taken = take_option(cli, words + i, count - i);
			if (taken == 0)
				return err_exit(ERR_USAGE);
		} else {
			cli->args[cli->arg_count++] = words[i];
		}
		i += taken;
	}
	if (cli->arg_count < cli->command->args_min)
		return cli_usage(cli, "something is missing");
	if (cli->command->args_max >= 0 && cli->arg_count > cli->command->args_max)
		return cli_usage(cli, "\"%s\" is too much", cli->args[cli->command->args_max]);
	return 0;
}

static int run_words(struct cli *cli, const struct words *words)
{
	const char *first = words->count > 0 ? words->list[0] : NULL;
	const char *second = words->count > 1 ? words->list[1] : NULL;
	int used = 0, rc;

	if (words->version) {
		puts("postern " POSTERN_VERSION);
		return 0;
	}
	if (!first) {
		print_overview(words->help ? stdout : stderr);
		return words->help ? 0 : err_exit(ERR_USAGE);
	}
	cli->command = find_command(first, second, &used);
	if (!cli->command && words->help && print_group(first))
		return 0;
	if (!cli->command)
		return unknown_command(first, second);
	if (words->help) {
		print_command(cli->command);
		return 0;
	}
	rc = parse_options(cli, words->list + used, words->count - used);
	return rc ? rc : cli->command->run(cli);
}

int main(int argc, char **argv)
{
	size_t room = (size_t)argc + 1;
	struct cli cli = {
		.program = argv[0],
		.args = calloc(room, sizeof(*cli.args)),
		.option_names = calloc(room, sizeof(*cli.option_names)),
		.option_values = calloc(room, sizeof(*cli.option_values)),
	};
	struct words words = { .list = calloc(room, sizeof(*words.list)) };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	int rc = 1;

	(void)sigaction(
		SIGPIPE, &ignore, NULL); /* a closed socket or pipe is an error value here */
	if (cli.args && cli.option_names && cli.option_values && words.list) {
		rc = take_common(argc, argv, &cli, &words);
		if (rc == 0)
			rc = run_words(&cli, &words);
	}
	free(cli.args);
	free(cli.option_names);
	free(cli.option_values);
	free(words.list);
	if (fflush(stdout) != 0 && rc == 0)
		rc = 1;
	return rc;
}
