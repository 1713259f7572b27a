/* cmd_status.c - status (one screen of what the daemon is doing) and reload. */
#include "commands.h"
#include "status_screen.h"

#include "postern/json.h"
#include "postern/text.h"

#include <stdio.h>

#define STATUS_MAX MIB(4)
#define HALF_NAME_MAX 16

/* Each half that runs as a process of its own answers for itself. out_half: who answered. */
static enum err_code show_half(const struct cli *cli, const struct config *config,
	enum cli_half half, char out_half[HALF_NAME_MAX], struct err *err)
{
	struct buf answer = BUF_INIT(STATUS_MAX);
	struct json_value name = { 0 };
	unsigned status = 0;
	enum err_code rc =
		cli_admin(config, half, "GET", "/v1/status", SLICE_EMPTY, &answer, &status, err);

	if (rc == ERR_OK && status != 200)
		rc = cli_problem(buf_slice(&answer), status, err);
	if (rc == ERR_OK && json_get(buf_slice(&answer), "/half", &name, NULL) == ERR_OK)
		(void)snprintf(out_half, HALF_NAME_MAX, "%.*s", SLICE_FMT(name.raw));
	if (rc == ERR_OK && cli->json)
		cli_out(buf_slice(&answer));
	else if (rc == ERR_OK)
		status_screen(buf_slice(&answer));
	buf_done(&answer);
	return rc;
}

/* Over files both halves belong to one machine; over Kafka the other one may be anywhere. */
static void say_silent(const struct config *config, const char *half, const char *listen)
{
	if (!config_on_kafka(config))
		fprintf(stderr, "postern: NO %s: nothing answers on %s\n", half, listen);
}

/* Asked first for the worker: `run` answers for both, two processes answer one after the other,
 * and where no worker answers the ingress has done so. */
static enum err_code show_halves(
	struct cli *cli, struct config *config, const void *ctx, struct err *err)
{
	struct err second = ERR_INIT;
	char half[HALF_NAME_MAX] = "";
	enum err_code rc = show_half(cli, config, HALF_WORKER, half, err);

	(void)ctx;
	if (rc != ERR_OK)
		return rc;
	if (strcmp(half, "ingress") == 0)
		say_silent(config, "worker", config->admin.worker_listen);
	if (strcmp(half, "worker") == 0 &&
		show_half(cli, config, HALF_INGRESS, half, &second) != ERR_OK)
		say_silent(config, "ingress", config->admin.listen);
	return ERR_OK;
}

static int run_status(struct cli *cli)
{
	return cli_with_config(cli, false, show_halves, NULL);
}

static void say_restart(struct slice answer)
{
	struct json_value list;
	struct buf text = BUF_INIT(KIB(64));

	if (json_get(answer, "/needs_restart", &list, NULL) == ERR_OK && list.type == JSON_STRING &&
		json_text(list, &text, NULL) == ERR_OK)
		fprintf(stderr, "these take effect with a restart:\n%s\n", buf_str(&text));
	buf_done(&text);
}

/* A process that runs both halves, or the only one that runs, answers for either: *out_other says
 * whether another one may be there. */
static enum err_code reload_half(
	const struct config *config, enum cli_half half, bool *out_other, struct err *err)
{
	struct buf answer = BUF_INIT(STATUS_MAX);
	struct json_value name;
	unsigned status = 0;
	enum err_code rc =
		cli_admin(config, half, "POST", "/v1/reload", SLICE_EMPTY, &answer, &status, err);

	if (rc == ERR_OK && status != 200)
		rc = cli_problem(buf_slice(&answer), status, err);
	*out_other = rc == ERR_OK && half == HALF_WORKER &&
		     json_get(buf_slice(&answer), "/half", &name, NULL) == ERR_OK &&
		     slice_eq_str(name.raw, "worker");
	if (rc == ERR_OK)
		say_restart(buf_slice(&answer));
	buf_done(&answer);
	return rc;
}

static enum err_code reload_halves(
	struct cli *cli, struct config *config, const void *ctx, struct err *err)
{
	struct err second = ERR_INIT;
	bool other = false;
	enum err_code rc = reload_half(config, HALF_WORKER, &other, err);

	(void)cli;
	(void)ctx;
	if (rc == ERR_OK && other && reload_half(config, HALF_INGRESS, &other, &second) != ERR_OK &&
		second.code != ERR_UNREACHABLE)
		rc = err_set(err, second.code, "%s", second.text);
	if (rc == ERR_OK)
		fputs("reloaded\n", stderr);
	return rc;
}

/* The file is checked here first: its mistakes belong on this terminal, not only into the daemon's
 * log. */
static int run_reload(struct cli *cli)
{
	return cli_with_config(cli, true, reload_halves, NULL);
}

const struct command cmd_status = {
	.words = "status",
	.usage = "[--json]",
	.summary = "what the daemon is doing, on one screen",
	.examples = "  postern status\n  postern status --json\n",
	.run = run_status,
};

const struct command cmd_reload = {
	.words = "reload",
	.usage = "",
	.summary = "make the daemon take the config as it is now; a bad one changes nothing",
	.examples = "  postern reload\n",
	.run = run_reload,
};
