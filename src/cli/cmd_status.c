/* cmd_status.c - status (one screen of what the daemon is doing) and reload. */
#include "commands.h"
#include "status_screen.h"

#include "postern/json.h"
#include "postern/text.h"

#include <stdio.h>

#define STATUS_MAX MIB(4)

static enum err_code ask_half(
	const struct config *config, enum cli_half half, struct buf *answer, struct err *err)
{
	unsigned status = 0;
	enum err_code rc =
		cli_admin(config, half, "GET", "/v1/status", SLICE_EMPTY, answer, &status, err);

	return rc == ERR_OK && status != 200 ? cli_problem(buf_slice(answer), status, err) : rc;
}

static struct json_value member_of(struct slice object, const char *pointer)
{
	struct json_value value = { 0 };

	return json_get(object, pointer, &value, NULL) == ERR_OK ? value : (struct json_value){ 0 };
}

/* The value as it is written; of a string the raw text is what stands between its quotes. */
static struct slice written(struct json_value v)
{
	return v.type == JSON_STRING ? (struct slice){ v.raw.data - 1, v.raw.len + 2 } : v.raw;
}

static bool has_member(struct slice object, struct slice name)
{
	struct json_value known = { 0 }, value = { 0 };
	const struct json_value whole = member_of(object, "");
	size_t at = 0;

	while (json_next_member(whole, &at, &known, &value)) {
		if (slice_eq(known.raw, name))
			return true;
	}
	return false;
}

/* Members of one half that are not there yet. Names of members are plain words. */
static enum err_code add_members(
	struct buf *out, struct slice half, struct slice known, struct err *err)
{
	struct json_value name = { 0 }, value = { 0 };
	const struct json_value whole = member_of(half, "");
	enum err_code rc = ERR_OK;
	size_t at = 0;

	while (rc == ERR_OK && json_next_member(whole, &at, &name, &value)) {
		char word[64];

		(void)snprintf(word, sizeof(word), "%.*s", SLICE_FMT(name.raw));
		if (!has_member(known, name.raw))
			rc = json_put_raw(out, word, written(value), err);
	}
	return rc;
}

/* Two processes are told as one object, like one that runs both halves; what each of them said is
 * in it as well. */
static enum err_code join_halves(
	struct slice worker, struct slice ingress, struct buf *out, struct err *err)
{
	const bool works = member_of(worker, "/ready").type == JSON_TRUE;
	const bool receives = member_of(ingress, "/ready").type == JSON_TRUE;
	struct buf head = BUF_INIT(KIB(64));
	enum err_code rc = buf_put_str(&head, "{", err);

	if (rc == ERR_OK)
		rc = json_put_raw(&head, "v", SLICE_LIT("1"), err);
	if (rc == ERR_OK)
		rc = json_put_raw(&head, "version", written(member_of(worker, "/version")), err);
	if (rc == ERR_OK)
		rc = json_put_str(&head, "half", SLICE_LIT("both"), err);
	if (rc == ERR_OK)
		rc = json_put_bool(&head, "ready", works && receives, err);
	if (rc == ERR_OK)
		rc = json_put_raw(&head, "reason",
			written(member_of(works ? ingress : worker, "/reason")), err);
	if (rc == ERR_OK)
		rc = buf_put_slice(out, buf_slice(&head), err);
	if (rc == ERR_OK)
		rc = buf_put_str(&head, "}", err);
	if (rc == ERR_OK)
		rc = add_members(out, worker, buf_slice(&head), err);
	buf_done(&head);
	if (rc == ERR_OK)
		rc = add_members(out, ingress, worker, err);
	if (rc == ERR_OK)
		rc = json_put_name(out, "halves", err);
	if (rc == ERR_OK)
		rc = buf_put_str(out, "[", err);
	if (rc == ERR_OK)
		rc = buf_put_slice(out, written(member_of(worker, "")), err);
	if (rc == ERR_OK)
		rc = buf_put_str(out, ",", err);
	if (rc == ERR_OK)
		rc = buf_put_slice(out, written(member_of(ingress, "")), err);
	return rc == ERR_OK ? buf_put_str(out, "]}\n", err) : rc;
}

static enum err_code show_both(
	const struct cli *cli, struct slice worker, struct slice ingress, struct err *err)
{
	struct buf both = BUF_INIT(4 * STATUS_MAX);
	enum err_code rc = ERR_OK;

	if (!cli->json) {
		status_screen(worker);
		status_screen(ingress);
		return ERR_OK;
	}
	rc = join_halves(worker, ingress, &both, err);
	if (rc == ERR_OK)
		cli_out(buf_slice(&both));
	buf_done(&both);
	return rc;
}

static void show_one(const struct cli *cli, struct slice answer)
{
	if (cli->json)
		cli_out(answer);
	else
		status_screen(answer);
}

/* Over files both halves belong to one machine; over Kafka the other one may be anywhere. */
static void say_silent(const struct config *config, const char *half, const char *listen)
{
	if (!config_on_kafka(config))
		fprintf(stderr, "postern: NO %s: nothing answers on %s\n", half, listen);
}

/* Asked first for the worker: `run` answers for both, and where no worker answers the ingress has
 * done so. */
static enum err_code show_halves(
	struct cli *cli, struct config *config, const void *ctx, struct err *err)
{
	struct buf first = BUF_INIT(STATUS_MAX), ingress = BUF_INIT(STATUS_MAX);
	struct err second = ERR_INIT;
	enum err_code rc = ask_half(config, HALF_WORKER, &first, err);
	const struct slice half = member_of(buf_slice(&first), "/half").raw;

	(void)ctx;
	if (rc == ERR_OK && slice_eq_str(half, "worker") &&
		ask_half(config, HALF_INGRESS, &ingress, &second) == ERR_OK) {
		rc = show_both(cli, buf_slice(&first), buf_slice(&ingress), err);
	} else if (rc == ERR_OK) {
		show_one(cli, buf_slice(&first));
		if (slice_eq_str(half, "ingress"))
			say_silent(config, "worker", config->admin.worker_listen);
		if (slice_eq_str(half, "worker"))
			say_silent(config, "ingress", config->admin.listen);
	}
	buf_done(&first);
	buf_done(&ingress);
	return rc;
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
static enum err_code reload_half(const struct cli *cli, const struct config *config,
	enum cli_half half, bool *out_other, struct err *err)
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
	if (rc == ERR_OK && cli->json)
		cli_out(buf_slice(&answer)); /* a line */
	else if (rc == ERR_OK)
		say_restart(buf_slice(&answer));
	buf_done(&answer);
	return rc;
}

static enum err_code reload_halves(
	struct cli *cli, struct config *config, const void *ctx, struct err *err)
{
	struct err second = ERR_INIT;
	bool other = false;
	enum err_code rc = reload_half(cli, config, HALF_WORKER, &other, err);

	(void)ctx;
	if (rc == ERR_OK && other &&
		reload_half(cli, config, HALF_INGRESS, &other, &second) != ERR_OK &&
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
	.usage = "[--json]",
	.summary = "make the daemon take the config as it is now; a bad one changes nothing",
	.examples = "  postern reload\n",
	.run = run_reload,
};
