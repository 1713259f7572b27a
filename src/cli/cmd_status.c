/* cmd_status.c - status (one screen of what the daemon is doing) and reload. */
#include "commands.h"

#include "postern/json.h"
#include "postern/text.h"

#include <stdio.h>

#define STATUS_MAX MIB(4)

static void print_member(struct slice text, const char *pointer, const char *label)
{
	struct json_value value;
	struct buf out = BUF_INIT(KIB(64));

	if (json_get(text, pointer, &value, NULL) == ERR_OK && value.type != JSON_ABSENT &&
		value.type != JSON_NULL && json_text(value, &out, NULL) == ERR_OK)
		cli_outf("%-10s %s\n", label, buf_str(&out));
	buf_done(&out);
}

/* {"a":1,"b":{..}} as "a 1, b {..}" behind a name: a line for each source or route. */
static void print_row(struct slice name, struct json_value row)
{
	struct json_value member, value;
	size_t at = 0;

	cli_outf("  %-16.*s", SLICE_FMT(name));
	while (json_next_member(row, &at, &member, &value)) {
		struct buf out = BUF_INIT(KIB(64));

		if (json_text(value, &out, NULL) == ERR_OK && value.raw.len &&
			!slice_eq_str(value.raw, "{}"))
			cli_outf(" %.*s %s", SLICE_FMT(member.raw), buf_str(&out));
		buf_done(&out);
	}
	cli_outf("\n");
}

static void print_table(struct slice text, const char *pointer, const char *title)
{
	struct json_value table, name, row;
	size_t at = 0;

	if (json_get(text, pointer, &table, NULL) != ERR_OK || table.type != JSON_OBJECT)
		return;
	cli_outf("%s\n", title);
	while (json_next_member(table, &at, &name, &row))
		if (row.type == JSON_OBJECT)
			print_row(name.raw, row);
}

#define SILENT_MS 1500 /* an owner that lives says something more often */

struct lanes_seen {
	size_t count, owned, claiming, ownerless, silent;
};

static int64_t number_of(struct slice object, const char *pointer)
{
	struct json_value value;
	int64_t number = 0;

	if (json_get(object, pointer, &value, NULL) != ERR_OK || value.type != JSON_INTEGER ||
		text_i64(value.raw, &number, NULL) != ERR_OK)
		return 0;
	return number;
}

static void count_lane(struct slice lane, struct lanes_seen *seen)
{
	struct json_value state = { 0 }, owner = { 0 };

	if (json_get(lane, "/state", &state, NULL) != ERR_OK ||
		json_get(lane, "/owner", &owner, NULL) != ERR_OK)
		return;
	seen->count++;
	if (slice_eq_str(state.raw, "owned"))
		seen->owned++;
	else if (slice_eq_str(state.raw, "claiming"))
		seen->claiming++;
	else if (owner.type != JSON_STRING || owner.raw.len == 0)
		seen->ownerless++;
	else if (number_of(lane, "/silent_ms") > SILENT_MS)
		seen->silent++;
}

static void print_part(size_t count, const char *what)
{
	if (count > 0)
		cli_outf(", %zu %s", count, what);
}

/* The partitions of Kafka in one line; --json has each. */
static void print_lanes(struct slice text)
{
	struct lanes_seen seen = { 0 };
	struct json_value list, lane;
	size_t at = 0;

	if (json_get(text, "/lanes", &list, NULL) != ERR_OK || list.type != JSON_ARRAY)
		return;
	while (json_next(list, &at, &lane))
		count_lane(lane.raw, &seen);
	cli_outf("%-10s %zu of %zu owned here", "partitions", seen.owned, seen.count);
	print_part(seen.claiming, "being claimed");
	print_part(seen.count - seen.owned - seen.claiming - seen.ownerless - seen.silent,
		"owned by others");
	print_part(seen.silent, "whose owner is silent");
	print_part(seen.ownerless, "without an owner");
	cli_outf("\n");
}

/* Those that are there, a line each. */
static void print_rows(struct slice text)
{
	static const char *const pointers[] = { "/queue", "/ledger", "/disk", "/kafka", "/spool" };
	struct json_value one;

	for (size_t i = 0; i < ARRAY_LEN(pointers); i++) {
		if (json_get(text, pointers[i], &one, NULL) == ERR_OK && one.type == JSON_OBJECT)
			print_row(slice_str(pointers[i] + 1), one);
	}
}

static void print_status(struct slice text)
{
	print_member(text, "/version", "version");
	print_member(text, "/half", "half");
	print_member(text, "/ready", "ready");
	print_member(text, "/reason", "reason");
	print_rows(text);
	print_lanes(text);
	print_table(text, "/sources", "sources");
	print_table(text, "/routes", "routes");
}

/* Each half that runs as a process of its own answers for itself. */
static enum err_code show_half(const struct cli *cli, const struct config *config,
	enum cli_half half, bool *both, struct err *err)
{
	struct buf answer = BUF_INIT(STATUS_MAX);
	struct json_value half_name = { 0 };
	unsigned status = 0;
	enum err_code rc =
		cli_admin(config, half, "GET", "/v1/status", SLICE_EMPTY, &answer, &status, err);

	if (rc == ERR_OK && status != 200)
		rc = cli_problem(buf_slice(&answer), status, err);
	if (rc == ERR_OK && json_get(buf_slice(&answer), "/half", &half_name, NULL) == ERR_OK)
		*both = !slice_eq_str(half_name.raw, half == HALF_WORKER ? "worker" : "ingress");
	if (rc == ERR_OK && cli->json)
		cli_out(buf_slice(&answer));
	else if (rc == ERR_OK)
		print_status(buf_slice(&answer));
	buf_done(&answer);
	return rc;
}

/* Asked first for the worker: `run` answers for both, two processes answer one after the other. */
static enum err_code show_halves(
	struct cli *cli, struct config *config, const void *ctx, struct err *err)
{
	struct err second = ERR_INIT;
	bool whole = false;
	enum err_code rc = show_half(cli, config, HALF_WORKER, &whole, err);

	(void)ctx;
	if (rc == ERR_OK && !whole)
		err_ignored(show_half(cli, config, HALF_INGRESS, &whole, &second));
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
