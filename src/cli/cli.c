/* cli.c - what commands share: option values, messages, the config, a blocking HTTP call, the admin
 * API. */
#include "cli.h"

#include "postern/clock.h"
#include "postern/fetch.h"
#include "postern/file.h"
#include "postern/json.h"
#include "postern/serve.h"
#include "postern/thread.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ADMIN_TIMEOUT_MS 30000
#define ADMIN_ANSWER_MAX SERVE_BODY_MAX

const char *cli_get_nth(const struct cli *cli, const char *name, int n)
{
	for (int i = 0; i < cli->option_count; i++)
		if (strcmp(cli->option_names[i], name) == 0 && n-- == 0)
			return cli->option_values[i];
	return NULL;
}

const char *cli_get(const struct cli *cli, const char *name)
{
	for (int i = cli->option_count - 1; i >= 0; i--)
		if (strcmp(cli->option_names[i], name) == 0)
			return cli->option_values[i];
	return NULL;
}

int cli_fail(const struct err *err)
{
	fprintf(stderr, "postern: %s\n", err->text[0] ? err->text : err_title(err->code));
	return err_exit(err->code);
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
	va_list args;

	fputs("postern: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, "\nusage: postern %s %s\n", cli->command->words, cli->command->usage);
	return err_exit(ERR_USAGE);
}

void cli_report(const char *path, const struct config_report *report, bool warnings)
{
	struct buf text = BUF_INIT(MIB(1));

	for (size_t i = 0; i < report->count; i++) {
		const struct config_problem *p = &report->problems[i];

		if (p->level == PROBLEM_WARNING && !warnings)
			continue;
		buf_reset(&text);
		if (config_problem_put(&text, p, path ? path : "postern.json", NULL) == ERR_OK)
			fprintf(stderr, "%s\n", buf_str(&text));
	}
	buf_done(&text);
}

int cli_config_exit(enum err_code rc)
{
	return err_exit(rc == ERR_NOMEM ? rc : ERR_CONFIG);
}

int cli_load(const struct cli *cli, struct config_report *report, struct config **out)
{
	struct err err = ERR_INIT;
	enum err_code rc = config_load(cli->config_path, environ, out, report, &err);

	if (rc == ERR_OK)
		return 0;
	if (config_report_error(report)) /* the error is the first of them */
		cli_report(cli->config_path, report, false);
	else
		(void)cli_fail(&err);
	return cli_config_exit(rc);
}

int cli_config(const struct cli *cli, bool warnings, struct config **out)
{
	struct config_report report = { 0 };
	int status = cli_load(cli, &report, out);

	if (status == 0 && warnings)
		cli_report((*out)->path, &report, true);
	config_report_done(&report);
	return status;
}

int cli_with_config(struct cli *cli, bool warnings, cli_work *work, const void *ctx)
{
	struct config *config = NULL;
	struct err err = ERR_INIT;
	int status = cli_config(cli, warnings, &config);
	enum err_code rc;

	if (status != 0)
		return status;
	rc = work(cli, config, ctx, &err);
	config_unref(&config);
	return rc == ERR_OK ? 0 : cli_fail(&err);
}

void cli_out(struct slice text)
{
	if (text.len == 0)
		return;
	if (fwrite(text.data, 1, text.len, stdout) != text.len && errno == EPIPE)
		exit(0);
}

void cli_outf(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (vprintf(fmt, args) < 0 && errno == EPIPE)
		exit(0);
	va_end(args);
}

/* ---- HTTP --------------------------------------------------------------------------------------
 */

struct waiter {
	struct lock lock;
	struct cond cond;
	bool done; /* guarded by lock */
};

static void call_done(struct fetch_call *call)
{
	struct waiter *waiter = call->owner;

	lock_take(&waiter->lock);
	waiter->done = true;
	cond_signal(&waiter->cond);
	lock_give(&waiter->lock);
}

static enum err_code call_and_wait(struct fetch *fetch, struct fetch_call *call, struct err *err)
{
	struct waiter waiter = { .done = false };
	enum err_code rc;

	lock_init(&waiter.lock);
	cond_init(&waiter.cond);
	call->done = call_done;
	/* cppcheck-suppress autoVariables ; this function waits until the call is over */
	call->owner = &waiter;
	rc = fetch_start(fetch, call, err);
	lock_take(&waiter.lock);
	while (rc == ERR_OK && !waiter.done)
		(void)cond_wait(&waiter.cond, &waiter.lock, -1);
	lock_give(&waiter.lock);
	cond_done(&waiter.cond);
	lock_done(&waiter.lock);
	if (rc == ERR_OK && call->code != ERR_OK)
		rc = err_set(err, call->code == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_UNREACHABLE,
			"%s: %s", call->url, call->error);
	return rc;
}

enum err_code cli_http(const char *method, const char *url, const struct header *headers,
	size_t header_count, struct slice body, int64_t timeout_ms, struct buf *out,
	unsigned *out_status, struct err *err)
{
	struct fetch_call call = {
		.url = url,
		.get = strcmp(method, "GET") == 0,
		.body = body,
		.headers = headers,
		.header_count = header_count,
		.timeout_ms = timeout_ms,
		.max_answer_bytes = ADMIN_ANSWER_MAX,
		.answer = BUF_INIT(ADMIN_ANSWER_MAX),
	};
	static struct fetch
		*fetch; /* commands run on one thread; a kept connection serves many calls */
	enum err_code rc = fetch ? ERR_OK : fetch_open(1, &fetch, err);

	if (rc == ERR_OK)
		rc = call_and_wait(fetch, &call, err);
	if (rc == ERR_OK) {
		*out_status = call.status;
		buf_swap(out, &call.answer);
	}
	buf_done(&call.answer);
	return rc;
}

enum err_code cli_admin(const struct config *config, enum cli_half half, const char *method,
	const char *path, struct slice body, struct buf *out, unsigned *out_status, struct err *err)
{
	const char *hosts[] = { config->admin.listen, config->admin.worker_listen };
	struct buf url = BUF_INIT(KIB(64)), auth = BUF_INIT(KIB(4)), token = BUF_INIT(KIB(2));
	struct header header = { .name = SLICE_LIT("Authorization") };
	struct buf answer = BUF_INIT(ADMIN_ANSWER_MAX);
	size_t first = half == HALF_WORKER ? 1 : 0, hosts_to_ask = first + 1;
	unsigned status = 0;
	bool answered = false;
	enum err_code rc = file_read_text(config->admin.token_file, &token, err);

	if (rc == ERR_OK)
		rc = buf_put_str(&auth, "Bearer ", err);
	if (rc == ERR_OK)
		rc = buf_put_slice(&auth, buf_slice(&token), err);
	header.value = buf_slice(&auth);
	/* `run` answers everything on admin.listen; a worker of its own listens on worker_listen,
	 * so that is where the worker's questions go first. A 404 may only mean that this half does
	 * not know; the other's 503 says that it cannot know, so the 404 stands. The ingress is
	 * nowhere but on admin.listen. */
	for (size_t i = 0; i < hosts_to_ask && rc == ERR_OK && !(answered && *out_status != 404);
		i++) {
		struct err one = ERR_INIT;

		buf_reset(&url);
		rc = buf_putf(
			&url, err, "http://%s%s", hosts[(first + i) % ARRAY_LEN(hosts)], path);
		if (rc != ERR_OK)
			break;
		rc = cli_http(method, buf_str(&url), &header, 1, body, ADMIN_TIMEOUT_MS, &answer,
			&status, &one);
		if (rc == ERR_OK && answered && status == 503) {
			break;
		} else if (rc == ERR_OK) {
			answered = true;
			*out_status = status;
			buf_swap(out, &answer);
		} else if (rc == ERR_UNREACHABLE && (answered || i + 1 < hosts_to_ask)) {
			rc = ERR_OK;
		} else {
			rc = err_set(err, rc, "no daemon answers: %s", one.text);
		}
	}
	buf_done(&answer);
	buf_wipe(&token);
	buf_wipe(&auth);
	buf_done(&token);
	buf_done(&auth);
	buf_done(&url);
	return rc;
}

enum err_code cli_problem(struct slice answer, unsigned status, struct err *err)
{
	struct json_value code = { 0 }, detail = { 0 };
	struct buf text = BUF_INIT(KIB(4));
	enum err_code rc = ERR_IO;

	if (json_get(answer, "/code", &code, NULL) == ERR_OK && code.type == JSON_STRING) {
		rc = err_by_name((const char *)code.raw.data, code.raw.len);
		if (rc == ERR_CODES || rc == ERR_OK)
			rc = ERR_IO;
	}
	if (json_get(answer, "/detail", &detail, NULL) == ERR_OK)
		err_ignored(json_text(detail, &text, NULL));
	rc = text.len ? err_set(err, rc, "%s", buf_str(&text))
		      : err_set(err, rc, "the daemon answered %u", status);
	buf_done(&text);
	return rc;
}
