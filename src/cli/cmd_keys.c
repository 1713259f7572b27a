/* cmd_keys.c - keys ls: which key of which source, how old, how much used, and whether it can go.
 *
 * The running daemon counts; without one the files are read, and nothing is known of matches. */
#include "commands.h"

#include "postern/clock.h"
#include "postern/ingress.h"
#include "postern/json.h"
#include "postern/text.h"

#include <stdio.h>

#define ANSWER_MAX MIB(16)

static void member(struct slice row, const char *pointer, struct buf *out)
{
	struct json_value value;

	buf_reset(out);
	if (json_get(row, pointer, &value, NULL) != ERR_OK || value.type == JSON_ABSENT ||
		value.type == JSON_NULL || json_text(value, out, NULL) != ERR_OK || out->len == 0)
		err_ignored(buf_put_str(out, "-", NULL));
}

/* "1234567" seconds as "14d". */
static void age(struct slice row, struct buf *out)
{
	static const struct {
		int64_t seconds;
		char unit;
	} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };
	int64_t seconds;
	size_t i = 0;

	member(row, "/age_s", out);
	if (text_i64(buf_slice(out), &seconds, NULL) != ERR_OK)
		return;
	while (i + 1 < ARRAY_LEN(units) && seconds < 2 * units[i].seconds)
		i++;
	buf_reset(out);
	err_ignored(buf_putf(
		out, NULL, "%lld%c", (long long)(seconds / units[i].seconds), units[i].unit));
}

static void advice(struct slice row, struct buf *out)
{
	struct json_value safe = { 0 }, why = { 0 };

	buf_reset(out);
	if (json_get(row, "/safe_to_remove", &safe, NULL) == ERR_OK && safe.type == JSON_TRUE)
		err_ignored(buf_put_str(out, "safe to remove: ", NULL));
	else if (safe.type == JSON_FALSE)
		err_ignored(buf_put_str(out, "keep: ", NULL));
	if (json_get(row, "/why", &why, NULL) == ERR_OK && why.type == JSON_STRING)
		err_ignored(json_text(why, out, NULL));
	if (json_get(row, "/role", &why, NULL) == ERR_OK && slice_eq_str(why.raw, "pending"))
		err_ignored(buf_put_str(
			out, "compare the fingerprint, then: postern learn --confirm", NULL));
}

static void print_row(struct slice row)
{
	static const struct {
		const char *pointer;
		int width;
	} columns[] = { { "/source", 16 }, { "/role", 8 }, { "/fingerprint", 8 }, { NULL, 5 },
		{ "/last_match", 24 }, { "/per_hour", 9 } };
	struct buf text = BUF_INIT(KIB(8));

	for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
		if (columns[i].pointer)
			member(row, columns[i].pointer, &text);
		else
			age(row, &text);
		cli_outf("%-*s  ", columns[i].width, buf_str(&text));
	}
	advice(row, &text);
	cli_outf("%s\n", buf_str(&text));
	buf_done(&text);
}

static void print(const struct cli *cli, struct slice answer)
{
	if (cli->json) {
		cli_out(answer);
		return;
	}
	cli_outf("%-16s  %-8s  %-8s  %-5s  %-24s  %-9s\n", "source", "role", "key", "age",
		"last match", "per hour");
	while (answer.len > 0) {
		struct slice row = slice_sub(answer, 0, slice_find(answer, '\n'));

		answer = slice_sub(answer, row.len + 1, answer.len);
		print_row(row);
	}
}

static enum err_code list(struct cli *cli, struct config *config, const void *ctx, struct err *err)
{
	struct buf answer = BUF_INIT(ANSWER_MAX);
	struct err one = ERR_INIT;
	unsigned status = 0;
	enum err_code rc = cli_admin(
		config, HALF_INGRESS, "GET", "/v1/keys", SLICE_EMPTY, &answer, &status, &one);

	(void)ctx;
	if (rc == ERR_UNREACHABLE) {
		buf_reset(&answer);
		fputs("postern: no daemon counts matches now; this is what the files say\n",
			stderr);
		rc = ingress_keys_of(config, clock_system(), &answer, err);
	} else if (rc != ERR_OK) {
		rc = err_set(err, rc, "%s", one.text);
	} else if (status != 200) {
		rc = cli_problem(buf_slice(&answer), status, err);
	}
	if (rc == ERR_OK)
		print(cli, buf_slice(&answer));
	buf_done(&answer);
	return rc;
}

static int run_keys_ls(struct cli *cli)
{
	return cli_with_config(cli, false, list, NULL);
}

const struct command cmd_keys_ls = {
	.words = "keys ls",
	.usage = "[--json]",
	.summary = "each source's keys: role, fingerprint, age, matches, and whether an old one "
		   "can go",
	.examples = "  postern keys ls\n  postern keys ls --json\n",
	.run = run_keys_ls,
};
