/* cli.h - what a command is, and what commands share. Private to this room.
 *
 * A command is a row: words, usage, examples, options, a function. main.c finds the row, parses the
 * options by its table, and calls the function; the function's result is the exit status (contract
 * section 1). stdout is data, stderr is talk. */
#pragma once

#include "postern/buf.h"
#include "postern/config.h"

struct cli_option {
	const char *name;  /* "--type" */
	const char *value; /* "T": takes a value; NULL: a flag */
	const char *help;
};

struct cli;
struct command {
	const char *words;    /* "events get", "send" */
	const char *usage;    /* "ID [--json]": what follows the words */
	const char *summary;  /* one sentence */
	const char *examples; /* real lines, each complete as it is, ended by \n */
	const struct cli_option
		*options;       /* ended by a NULL name; -c FILE, --json and --help always exist */
	int args_min, args_max; /* positional arguments; max -1: any */
	int (*run)(struct cli *cli);
};

/* Every command, in the order of the help. */
extern const struct command *const commands[];

struct cli {
	const char *program; /* argv[0] */
	const struct command *command;
	const char *config_path; /* -c, or NULL */
	bool json;
	const char **args; /* positional */
	int arg_count;
	const char **option_names; /* as given, in order, with values ("" for flags) */
	const char **option_values;
	int option_count;
};
/* The value of an option (the last one given), or NULL. A flag that was given is "". */
const char *cli_get(const struct cli *cli, const char *name);
/* The n-th value (from 0) of a repeatable option, or NULL. */
const char *cli_get_nth(const struct cli *cli, const char *name, int n);
/* "postern: TEXT" on stderr; gives the exit status of the code. */
int cli_fail(const struct err *err);
/* A usage error: text, then how to ask for help. Gives 2. */
int cli_usage(const struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Load the config of -c. Problems go to stderr (FILE:LINE: POINTER: text); warnings too when asked.
 * Gives 0, or the exit status to end with. */
int cli_config(const struct cli *cli, bool warnings, struct config **out);
/* The same, with what was found in the report, which is the caller's to release: errors have been
 * printed, warnings have not. */
int cli_load(const struct cli *cli, struct config_report *report, struct config **out);
/* The exit status of a config that could not be loaded, whether it is wrong or cannot be read. */
int cli_config_exit(enum err_code rc);
/* The frame of a command that needs the config: load it, work, let it go, say what failed. Gives
 * the exit status. */
typedef enum err_code cli_work(
	struct cli *cli, struct config *config, const void *ctx, struct err *err);
int cli_with_config(struct cli *cli, bool warnings, cli_work *work, const void *ctx);
/* path NULL: the default name. */
void cli_report(const char *path, const struct config_report *report, bool warnings);
/* Write to stdout; a closed pipe ends the command quietly. */
void cli_out(struct slice text);
/* The daemon's answer that is not 2xx, as an error: the problem's code and detail. */
enum err_code cli_problem(struct slice answer, unsigned status, struct err *err);
void cli_outf(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Talk to a running daemon. The half that answers a question: the admin listener of `run` answers
 * all. */
enum cli_half { HALF_INGRESS, HALF_WORKER };
/* method path with a body (may be empty); the answer's body goes to out, its status to *out_status.
 * ERR_UNREACHABLE: no daemon of this half listens. */
enum err_code cli_admin(const struct config *config, enum cli_half half, const char *method,
	const char *path, struct slice body, struct buf *out, unsigned *out_status,
	struct err *err);
/* A blocking HTTP call, for commands. url whole; headers may be NULL. */
enum err_code cli_http(const char *method, const char *url, const struct header *headers,
	size_t header_count, struct slice body, int64_t timeout_ms, struct buf *out,
	unsigned *out_status, struct err *err);
