/* exec.c - hands an event to a program: body on stdin, envelope in the environment, outcome as exit
 * status.
 *
 *     0 done     65 (EX_DATAERR) never     anything else, and death by a signal: retry
 *
 * Deliberately not here: processes (exec_host.c, exec_keeper.c). What the program prints is thrown
 * away: it may hold the body. */
#include "handler_priv.h"

#include "postern/clock.h"
#include "postern/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#define EXIT_NEVER 65
#define PATH_MINIMAL "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct exec {
	struct handler base;
	struct exec_host *host;
	const struct route_config *route;
	struct buf argv; /* the texts, each ended by NUL */
	uint32_t argc;
};
struct exec_call {
	struct exec_run run;
	struct handler_call *call;
	const struct route_config *route;
	int64_t started_ms;
	bool unfit; /* the event cannot be told to a program */
};

static enum err_code pack_argv(struct exec *exec, struct err *err)
{
	enum err_code rc = ERR_OK;

	exec->argv = BUF_INIT(EXEC_START_MAX / 2);
	for (const char *const *arg = exec->route->handler.argv; *arg && rc == ERR_OK; arg++) {
		rc = buf_put(&exec->argv, *arg, strlen(*arg) + 1, err);
		exec->argc++;
	}
	if (rc == ERR_OK && exec->argc >= EXEC_TEXTS_MAX)
		rc = err_set(err, ERR_LIMIT, "more than %d arguments", EXEC_TEXTS_MAX - 1);
	return rc;
}

static void exec_close(struct handler *handler)
{
	struct exec *exec = container_of(handler, struct exec, base);

	buf_done(&exec->argv);
	free(exec);
}

static enum err_code exec_open(
	const struct handler_opts *opts, struct handler **out, struct err *err)
{
	const struct route_config *route = opts->route;
	struct exec *exec;
	enum err_code rc;

	assert(opts->exec && route->handler.argv && route->handler.argv[0]);
	exec = calloc(1, sizeof(*exec));
	if (!exec)
		return err_set(err, ERR_NOMEM, "no memory for a handler");
	exec->base.ops = &handler_exec;
	exec->host = opts->exec;
	exec->route = route;
	rc = pack_argv(exec, err);
	if (rc == ERR_OK) {
		exec_host_prepare(exec->host);
		*out = &exec->base;
		return ERR_OK;
	}
	if (rc == ERR_LIMIT && opts->report)
		config_report_add(opts->report, PROBLEM_ERROR, route->pointer, route->line,
			"handler argv: more than %d texts or %zu bytes", EXEC_TEXTS_MAX - 1,
			exec->argv.max);
	exec_close(&exec->base);
	return rc == ERR_LIMIT ? ERR_CONFIG : rc;
}

/* ---- the environment ---------------------------------------------------------------------------
 */

struct variables { /* texts that have to be made first */
	char version[VERSION_TEXT_MAX], received[TEXT_TIME_LEN], time[TEXT_TIME_LEN], attempt[16];
	struct buf key;
};

static enum err_code make_variables(
	const struct handler_call *call, struct variables *v, struct err *err)
{
	v->key = BUF_INIT(HANDLER_KEY_MAX);
	version_text(call->event->version, v->version);
	text_time_ms(call->event->received_ms, v->received);
	text_time_ms(call->event->time_ms, v->time);
	(void)snprintf(v->attempt, sizeof(v->attempt), "%u", call->attempt);
	return handler_idempotency_key(call->event, &v->key, err);
}

/* "NAME=value" and NUL. A value with a NUL would be another value to the program: ERR_SYNTAX. */
static enum err_code put_variable(
	struct exec_call *exec_call, const char *name, struct slice value, struct err *err)
{
	struct buf *start = &exec_call->run.start;
	enum err_code rc;

	if (slice_find(value, '\0') < value.len)
		return err_set(err, ERR_SYNTAX, "a NUL in %s", name);
	rc = buf_put_str(start, name, err);
	if (rc == ERR_OK)
		rc = buf_put_u8(start, '=', err);
	if (rc == ERR_OK)
		rc = buf_put_slice(start, value, err);
	return rc == ERR_OK ? buf_put_u8(start, '\0', err) : rc;
}

static enum err_code put_environment(struct exec_call *exec_call, const struct handler_call *call,
	const struct variables *v, uint32_t *out_count, struct err *err)
{
	const struct event *event = call->event;
	/* clang-format off */
	const struct header variables[] = {
		{ SLICE_LIT("PATH"),                    SLICE_LIT(PATH_MINIMAL) },
		{ SLICE_LIT("POSTERN_EVENT_ID"),        event->id },
		{ SLICE_LIT("POSTERN_SOURCE"),          event->source },
		{ SLICE_LIT("POSTERN_TENANT"),          event->tenant },
		{ SLICE_LIT("POSTERN_TYPE"),            event->type.len > 0 ? event->type : event->source },
		{ SLICE_LIT("POSTERN_ENTITY"),          event->entity },
		{ SLICE_LIT("POSTERN_VERSION"),         slice_str(v->version) },
		{ SLICE_LIT("POSTERN_BASE"),            event->base },
		{ SLICE_LIT("POSTERN_ATTEMPT"),         slice_str(v->attempt) },
		{ SLICE_LIT("POSTERN_ROUTE"),           call->route },
		{ SLICE_LIT("POSTERN_REQUEST_ID"),      event->request_id },
		{ SLICE_LIT("POSTERN_RECEIVED"),        slice_str(v->received) },
		{ SLICE_LIT("POSTERN_TIME"),            slice_str(v->time) },
		{ SLICE_LIT("POSTERN_CONTENT_TYPE"),    event->content_type },
		{ SLICE_LIT("POSTERN_IDEMPOTENCY_KEY"), buf_slice(&v->key) },
		{ SLICE_LIT("POSTERN_REDRIVE"),         event->redrive },
		{ SLICE_LIT("TRACEPARENT"),             event->traceparent }, /* last: left out when empty */
	};
	/* clang-format on */
	size_t count = ARRAY_LEN(variables) - (event->traceparent.len > 0 ? 0 : 1);
	enum err_code rc = ERR_OK;

	for (size_t i = 0; rc == ERR_OK && i < count; i++)
		rc = put_variable(
			exec_call, (const char *)variables[i].name.data, variables[i].value, err);
	*out_count = (uint32_t)count;
	return rc;
}

static enum err_code pack_start(
	const struct exec *exec, struct exec_call *exec_call, struct err *err)
{
	struct exec_message head = { .kind = EXEC_START, .argc = exec->argc };
	struct buf *start = &exec_call->run.start;
	struct variables v;
	enum err_code rc = make_variables(exec_call->call, &v, err);

	*start = BUF_INIT(EXEC_START_MAX);
	if (rc == ERR_OK)
		rc = buf_put(start, &head, sizeof(head), err);
	if (rc == ERR_OK)
		rc = buf_put_slice(start, buf_slice(&exec->argv), err);
	if (rc == ERR_OK)
		rc = put_environment(exec_call, exec_call->call, &v, &head.envc, err);
	if (rc == ERR_OK)
		memcpy(start->data, &head, sizeof(head));
	buf_done(&v.key);
	return rc;
}

/* ---- the outcome -------------------------------------------------------------------------------
 */

static void read_status(struct handler_call *call, const struct exec_run *run)
{
	bool exited = WIFEXITED(run->value);
	int number = exited ? WEXITSTATUS(run->value) : WTERMSIG(run->value);

	call->status = (unsigned)(exited ? number : 128 + number);
	if (exited && number == 0) {
		call->verdict = HANDLER_DONE;
		call->code = ERR_OK;
		return;
	}
	if (exited && number == EXIT_NEVER) {
		call->verdict = HANDLER_NEVER;
		call->code = ERR_HANDLER_REFUSED;
	}
	(void)snprintf(call->error, sizeof(call->error), "%s %d%s",
		exited ? "exit status" : "killed by signal", number,
		run->output_bytes > run->output_max ? ", more output than max_output_bytes" : "");
}

static void read_end(struct handler_call *call, const struct exec_call *exec_call)
{
	struct err why = ERR_INIT;

	switch (exec_call->run.end) {
	case EXEC_END_STATUS: read_status(call, &exec_call->run); return;
	case EXEC_END_TIMEOUT:
		call->code = ERR_HANDLER_TIMEOUT;
		(void)snprintf(call->error, sizeof(call->error), "killed after %lld ms",
			(long long)exec_call->run.timeout_ms);
		return;
	case EXEC_END_CANCELLED:
		call->verdict = HANDLER_CANCELLED;
		call->code = ERR_STOPPED;
		(void)snprintf(call->error, sizeof(call->error), "stopped");
		return;
	case EXEC_END_ERROR:
		(void)err_sys(&why, ERR_IO, exec_call->run.value, "cannot start the program");
		(void)snprintf(call->error, sizeof(call->error), "%s", why.text);
		return;
	}
}

static void read_unfit(struct handler_call *call)
{
	call->verdict = HANDLER_NEVER;
	call->code = ERR_HANDLER_REFUSED;
	(void)snprintf(call->error, sizeof(call->error),
		"the event does not fit into a program's environment");
}

static void free_call(struct exec_call *exec_call)
{
	buf_done(&exec_call->run.start);
	free(exec_call);
}

static void on_end(struct exec_run *run)
{
	struct exec_call *exec_call = container_of(run, struct exec_call, run);
	struct handler_call *call = exec_call->call;

	if (exec_call->unfit)
		read_unfit(call);
	else
		read_end(call, exec_call);
	call->took_ms = clock_system()->mono_ms(clock_system()) - exec_call->started_ms;
	call->priv = NULL;
	free_call(exec_call);
	call->done(call);
}

static enum err_code exec_start(struct handler *handler, struct handler_call *call, struct err *err)
{
	struct exec *exec = container_of(handler, struct exec, base);
	struct exec_call *exec_call = calloc(1, sizeof(*exec_call));
	struct err why = ERR_INIT;
	enum err_code rc;

	if (!exec_call)
		return err_set(err, ERR_NOMEM, "no memory for a call");
	exec_call->call = call;
	exec_call->started_ms = clock_system()->mono_ms(clock_system());
	exec_call->run.body = call->body;
	exec_call->run.timeout_ms = exec->route->handler.timeout_ms;
	exec_call->run.output_max = (uint64_t)exec->route->handler.max_output_bytes;
	exec_call->run.done = on_end;
	rc = pack_start(exec, exec_call, &why);
	if (rc == ERR_SYNTAX || rc == ERR_LIMIT) {
		/* No other attempt would help. It comes back like any other result. */
		exec_call->unfit = exec_call->run.stillborn = true;
		rc = ERR_OK;
	} else if (rc != ERR_OK) {
		(void)err_set(err, rc, "%s", why.text);
	}
	call->priv = exec_call;
	if (rc == ERR_OK)
		rc = exec_host_run(exec->host, &exec_call->run, err);
	if (rc != ERR_OK) {
		call->priv = NULL;
		free_call(exec_call);
	}
	return rc;
}

const struct handler_ops handler_exec = {
	.name = "exec",
	.open = exec_open,
	.start = exec_start,
	.close = exec_close,
};
