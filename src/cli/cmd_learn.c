/* cmd_learn.c - keys that a sender tells itself: wait for one, compare its fingerprint, confirm it.
 *
 * All of it is the daemon's; without one there is nobody to tell a key to. */
#include "commands.h"

#include "postern/json.h"
#include "postern/text.h"

#define ANSWER_MAX KIB(64)

struct request {
	const char *path, *name; /* a query parameter */
	const char *value;
};

static enum err_code put_path(
	struct buf *out, const struct cli *cli, const struct request *rq, struct err *err)
{
	enum err_code rc = buf_putf(out, err, "%s/", rq->path);

	if (rc == ERR_OK)
		rc = text_percent_encode(slice_str(cli->args[0]), "", out, err);
	if (rc == ERR_OK)
		rc = buf_putf(out, err, "?%s=", rq->name);
	if (rc == ERR_OK)
		rc = text_percent_encode(slice_str(rq->value), "", out, err);
	return rc;
}

static void print(const struct cli *cli, struct slice answer)
{
	struct json_value result;

	if (cli->json) {
		cli_out(answer);
		return;
	}
	if (json_get(answer, "/result", &result, NULL) != ERR_OK)
		return;
	cli_outf("%s: %.*s\n", cli->args[0], SLICE_FMT(result.raw));
	if (slice_eq_str(result.raw, "waiting"))
		cli_outf("have the sender ask now, then compare what `postern keys ls` shows, and\n"
			 "  postern learn %s --confirm FINGERPRINT\n",
			cli->args[0]);
}

static enum err_code ask(struct cli *cli, struct config *config, const void *ctx, struct err *err)
{
	struct buf path = BUF_INIT(KIB(4)), answer = BUF_INIT(ANSWER_MAX);
	unsigned status = 0;
	enum err_code rc = put_path(&path, cli, ctx, err);

	if (rc == ERR_OK)
		rc = cli_admin(config, HALF_INGRESS, "POST", buf_str(&path), SLICE_EMPTY, &answer,
			&status, err);
	if (rc == ERR_OK && status != 200)
		rc = cli_problem(buf_slice(&answer), status, err);
	if (rc == ERR_OK)
		print(cli, buf_slice(&answer));
	buf_done(&path);
	buf_done(&answer);
	return rc;
}

static int run_learn(struct cli *cli)
{
	const char *confirm = cli_get(cli, "--confirm"), *drop = cli_get(cli, "--drop");
	const char *how_long = cli_get(cli, "--for");
	struct request rq = { "/v1/learn/open", "for_s", NULL };
	struct buf text = BUF_INIT(32);
	int64_t seconds = 0;
	int status;

	if ((confirm != NULL) + (drop != NULL) + (how_long != NULL) > 1)
		return cli_usage(cli, "one of --for, --confirm and --drop");
	if (confirm || drop)
		rq = (struct request){ confirm ? "/v1/learn/confirm" : "/v1/learn/drop",
			"fingerprint", confirm ? confirm : drop };
	else if (text_duration_s(slice_str(how_long ? how_long : "5m"), &seconds, NULL) != ERR_OK)
		return cli_usage(cli, "--for takes a time such as 5m or 90s");
	if (buf_putf(&text, NULL, "%lld", (long long)seconds) == ERR_OK && !rq.value)
		rq.value = buf_str(&text);
	status = cli_with_config(cli, false, ask, &rq);
	buf_done(&text);
	return status;
}

static const struct cli_option options[] = {
	{ "--for", "TIME", "take what the sender tells for so long (5m)" },
	{ "--confirm", "FINGERPRINT", "make the key that was told the source's" },
	{ "--drop", "FINGERPRINT", "forget a key that was told" },
	{ 0 },
};

const struct command cmd_learn = {
	.words = "learn",
	.usage = "SOURCE [--for TIME | --confirm FINGERPRINT | --drop FINGERPRINT]",
	.summary = "take the key that a sender tells, while you wait for it, and confirm it",
	.examples = "  postern learn asana --for 5m\n"
		    "  postern keys ls\n"
		    "  postern learn asana --confirm 1f3870be\n",
	.options = options,
	.args_min = 1,
	.args_max = 1,
	.run = run_learn,
};
