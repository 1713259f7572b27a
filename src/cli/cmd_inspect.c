/* cmd_inspect.c - events, state, dlq and quarantine: commands that read. They ask the daemon;
 * without one they open the files read-only. */
#include "ask.h"
#include "commands.h"

#include "postern/text.h"

static int run_events_get(struct cli *cli)
{
	return ask_and_print(cli, "/v1/events/", cli->args[0]);
}

static int run_events_ls(struct cli *cli)
{
	return ask_list(cli, "/v1/events", "");
}

static int run_state_get(struct cli *cli)
{
	return ask_and_print(cli, "/v1/state/", cli->args[0]);
}

static int run_dlq_ls(struct cli *cli)
{
	return ask_list(cli, "/v1/dlq", "");
}

static int run_dlq_show(struct cli *cli)
{
	return ask_and_print(cli, "/v1/dlq/", cli->args[0]);
}

static int run_quarantine_ls(struct cli *cli)
{
	return ask_list(cli, "/v1/quarantine", "");
}

static int run_quarantine_show(struct cli *cli)
{
	return ask_and_print(cli, "/v1/quarantine/", cli->args[0]);
}

/* A page takes a while: each request is verified again. */
static int run_quarantine_verify(struct cli *cli)
{
	return ask_list(cli, "/v1/quarantine", "&verify=1&limit=50");
}

static const struct cli_option verify_filters[] = {
	FILTER_OPTIONS,
	ENDED_OPTIONS,
	{ 0 },
};

static const struct cli_option entry_filters[] = {
	FILTER_OPTIONS,
	ENDED_OPTIONS,
	{ "--all", NULL, "also the ones that were replayed, accepted or dropped" },
	{ 0 },
};

static const struct cli_option event_filters[] = {
	FILTER_OPTIONS,
	{ "--outcome", "NAME", "applied, duplicate, stale, dead, quarantined, parked, pending" },
	{ "--limit", "N", "at most this many, the newest (500)" },
	{ 0 },
};

const struct command cmd_events_get = {
	.words = "events get",
	.usage = "ID",
	.summary = "the whole life of an event",
	.examples = "  postern events get evt_1\n  postern events get evt_1 --json\n",
	.args_min = 1,
	.args_max = 1,
	.run = run_events_get,
};

const struct command cmd_events_ls = {
	.words = "events ls",
	.usage = FILTER_USAGE "[--outcome NAME] [--limit N]",
	.summary = "the newest events and what became of them",
	.examples = "  postern events ls\n  postern events ls --outcome stale --since 2h --json\n",
	.options = event_filters,
	.run = run_events_ls,
};

const struct command cmd_state_get = {
	.words = "state get",
	.usage = "[TENANT/]ENTITY",
	.summary = "stored version and last event of an entity",
	.examples = "  postern state get order:1\n  postern state get acme/order:1 --json\n",
	.args_min = 1,
	.args_max = 1,
	.run = run_state_get,
};

const struct command cmd_dlq_ls = {
	.words = "dlq ls",
	.usage = ENDED_USAGE "[--all]",
	.summary = "dead letters that wait for somebody",
	.examples = "  postern dlq ls\n  postern dlq ls --route ci --since 2h --json\n",
	.options = entry_filters,
	.run = run_dlq_ls,
};

const struct command cmd_dlq_show = {
	.words = "dlq show",
	.usage = "ID",
	.summary = "one dead letter with its headers and its original body",
	.examples = "  postern dlq show d12\n  postern dlq show evt_1 --json\n",
	.args_min = 1,
	.args_max = 1,
	.run = run_dlq_show,
};

const struct command cmd_quarantine_ls = {
	.words = "quarantine ls",
	.usage = ENDED_USAGE "[--all]",
	.summary = "events that could not be used, and refused requests that were kept",
	.examples = "  postern quarantine ls\n  postern quarantine ls --reason REPLAY_DETECTED "
		    "--json\n",
	.options = entry_filters,
	.run = run_quarantine_ls,
};

const struct command cmd_quarantine_show = {
	.words = "quarantine show",
	.usage = "ID",
	.summary = "one quarantined record with its headers and its original body",
	.examples = "  postern quarantine show q3\n",
	.args_min = 1,
	.args_max = 1,
	.run = run_quarantine_show,
};

const struct command cmd_quarantine_verify = {
	.words = "quarantine verify",
	.usage = ENDED_USAGE "[--json]",
	.summary =
		"refused requests that were kept, and what each would be told with the keys of now",
	.examples = "  postern quarantine verify --source shop\n"
		    "  postern quarantine verify --source shop --since 2h --json\n",
	.options = verify_filters,
	.run = run_quarantine_verify,
};
