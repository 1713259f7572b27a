/* admin.c - the admin listener: who may ask, what is answered by the loop, what goes to the action
 * thread.
 *
 *   loop thread:    head() checks method and token; ready() answers health, readiness, metrics,
 *                   or puts a task into `todo` and defers
 *   action thread:  todo -> run -> done, then wakes the loop
 *   loop thread:    tick() takes `done` and answers
 *
 * What the actions do is not here: floor 4 brings the table. */
#include "postern/admin.h"

#include "postern/config.h"
#include "postern/crypto.h"
#include "postern/file.h"
#include "postern/json.h"
#include "postern/log.h"
#include "postern/metrics.h"
#include "postern/text.h"
#include "postern/thread.h"

#include <assert.h>
#include <stdlib.h>

#define ADMIN_TASKS_MAX 256 /* calls that wait for the action thread */
#define ADMIN_BODY_MAX KIB(256)
#define ADMIN_CONNECTIONS_MAX 256

struct admin {
	struct serve *serve;
	struct secret token;
	struct mailbox *todo, *done;
	struct thread thread;
	const struct admin_action *actions;
	size_t action_count;
	const struct admin_check *checks;
	size_t check_count;
	/* Of the loop's thread, until it is copied: an answer, and the methods that a path takes.
	 */
	struct buf scratch, allow;
};

struct task {
	struct serve_request *request;
	const struct admin_action *action;
	struct buf rest, out;
	struct err err;
	enum err_code code;
};

/* ---- answers -----------------------------------------------------------------------------------
 */

static void reply_problem(const struct serve_request *rq, enum err_code code, const char *detail,
	unsigned status, struct buf *body, struct serve_reply *reply)
{
	struct err err = ERR_INIT;

	buf_reset(body);
	if (buf_put_str(body, "{", &err) == ERR_OK &&
		json_put_str(body, "type", SLICE_LIT("about:blank"), &err) == ERR_OK &&
		json_put_str(body, "title", slice_str(err_title(code)), &err) == ERR_OK &&
		json_put_int(body, "status", status, &err) == ERR_OK &&
		json_put_str(body, "code", slice_str(err_name(code)), &err) == ERR_OK &&
		json_put_str(body, "detail", slice_str(detail), &err) == ERR_OK &&
		json_put_str(body, "request_id", slice_str(rq->request_id), &err) == ERR_OK)
		err_ignored(buf_put_str(body, "}\n", &err));
	reply->status = status;
	reply->content_type = "application/problem+json";
	reply->body = buf_slice(body);
}

/* Statuses of the API where the sender's table (which never meets these codes) has none. */
static unsigned api_status(enum err_code code)
{
	static const struct {
		enum err_code code;
		unsigned status;
	} rows[] = {
		{ ERR_NOT_FOUND, 404 },
		{ ERR_USAGE, 400 },
		{ ERR_SYNTAX, 400 },
		{ ERR_LIMIT, 400 },
		{ ERR_DENIED, 401 },
		{ ERR_CONFIG, 422 },
		{ ERR_FULL, 503 },
		{ ERR_TIMEOUT, 503 },
		{ ERR_STOPPED, 503 },
		{ ERR_LOCKED, 409 },
		{ ERR_NOMEM, 503 },
		{ ERR_UNREACHABLE, 503 },
		{ ERR_UNSUPPORTED, 501 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].code == code)
			return rows[i].status;
	return err_status(code);
}

static void reply_err(const struct serve_request *rq, const struct err *err, struct buf *body,
	struct serve_reply *reply)
{
	reply_problem(rq, err->code, err->text, api_status(err->code), body, reply);
}

static void reply_text(
	const char *type, unsigned status, struct slice text, struct serve_reply *reply)
{
	reply->status = status;
	reply->content_type = type;
	reply->body = text;
}

/* ---- what the loop answers itself --------------------------------------------------------------
 */

static enum err_code put_reason(struct buf *out, const struct err *reason, struct err *err)
{
	const char *comma = out->len && out->data[out->len - 1] == '}' ? "," : "";

	if (buf_putf(out, err, "%s{", comma) != ERR_OK ||
		json_put_str(out, "code", slice_str(err_name(reason->code)), err) != ERR_OK ||
		json_put_str(out, "detail", slice_str(reason->text), err) != ERR_OK)
		return err->code;
	return buf_put_str(out, "}", err);
}

static void answer_ready(struct admin *admin, struct serve_reply *reply)
{
	struct buf *out = &admin->scratch;
	struct err err = ERR_INIT;
	size_t reasons = 0;

	buf_reset(out);
	err_ignored(buf_put_str(out, "{\"ready\":false,\"reasons\":[", &err));
	for (size_t i = 0; i < admin->check_count; i++) {
		struct err reason = ERR_INIT;

		if (admin->checks[i].check(admin->checks[i].ctx, &reason) == ERR_OK)
			continue;
		reasons++;
		err_ignored(put_reason(out, &reason, &err));
	}
	err_ignored(buf_put_str(out, "]}\n", &err));
	if (reasons == 0)
		reply_text("application/json", 200, SLICE_LIT("{\"ready\":true}\n"), reply);
	else
		reply_text("application/json", 503, buf_slice(out), reply);
}

static void answer_metrics(
	struct admin *admin, const struct serve_request *rq, struct serve_reply *reply)
{
	struct buf *out = &admin->scratch;
	struct err err = ERR_INIT;

	buf_reset(out);
	if (metrics_render(out, &err) != ERR_OK)
		reply_err(rq, &err, out, reply);
	else
		reply_text("text/plain; version=0.0.4", 200, buf_slice(out), reply);
}

static bool is_open_path(struct slice path)
{
	return slice_eq_str(path, "/healthz") || slice_eq_str(path, "/readyz") ||
	       slice_eq_str(path, "/metrics");
}

static void answer_open(
	struct admin *admin, const struct serve_request *rq, struct serve_reply *reply)
{
	if (slice_eq_str(rq->path, "/healthz"))
		reply_text("application/json", 200, SLICE_LIT("{\"alive\":true}\n"), reply);
	else if (slice_eq_str(rq->path, "/readyz"))
		answer_ready(admin, reply);
	else
		answer_metrics(admin, rq, reply);
}

/* ---- who may ask, and for what -----------------------------------------------------------------
 */

static bool is_authorized(const struct admin *admin, const struct serve_request *rq)
{
	const struct slice prefix = SLICE_LIT("Bearer ");
	uint8_t given[32], wanted[32];
	struct slice value;

	/* The name of the scheme has no case (RFC 9110 11.1). */
	if (admin->token.len == 0 || !serve_header(rq, "Authorization", 0, &value) ||
		!slice_eq_nocase(slice_sub(value, 0, prefix.len), prefix))
		return false;
	/* Digests have one length, so the comparison takes the same time for every guess. */
	crypto_sha256(slice_sub(value, prefix.len, value.len), given);
	crypto_sha256((struct slice){ admin->token.data, admin->token.len }, wanted);
	return crypto_equal(given, wanted, sizeof(given));
}

/* An action's path, or something below it where it takes that. */
static bool path_fits(struct slice path, const struct admin_action *action, struct slice *rest)
{
	struct slice want = slice_str(action->path);

	if (!slice_starts(path, want))
		return false;
	*rest = slice_sub(path, want.len, path.len);
	if (rest->len == 0)
		return true;
	if (rest->data[0] != '/' || !(action->flags & ADMIN_BELOW))
		return false;
	*rest = slice_sub(*rest, 1, rest->len);
	return true;
}

/* For a 405: each method once. */
static void note_method(struct buf *allow, const char *method)
{
	if (slice_search(buf_slice(allow), slice_str(method)) < allow->len)
		return;
	err_ignored(buf_putf(allow, NULL, "%s%s", allow->len ? ", " : "", method));
}

/* The action with the longest path that fits. NULL: none, and admin->allow has the methods with
 * which there would be one. */
static const struct admin_action *find_action(
	struct admin *admin, const struct serve_request *rq, struct slice *out_rest)
{
	const struct admin_action *best = NULL;
	size_t longest = 0;

	buf_reset(&admin->allow);
	for (size_t i = 0; i < admin->action_count; i++) {
		const struct admin_action *action = &admin->actions[i];
		size_t len = strlen(action->path);
		struct slice rest;

		if (!path_fits(rq->path, action, &rest))
			continue;
		note_method(&admin->allow, action->method);
		if (!slice_eq_str(rq->method, action->method) || len <= longest)
			continue;
		best = action;
		longest = len;
		*out_rest = rest;
	}
	return best;
}

static enum serve_next refuse(struct admin *admin, const struct serve_request *rq,
	enum err_code code, const char *detail, struct serve_reply *reply)
{
	reply_problem(rq, code, detail, api_status(code), &admin->scratch, reply);
	return SERVE_REPLY;
}

static enum serve_next refuse_method(struct admin *admin, const struct serve_request *rq,
	struct slice allow, struct serve_reply *reply)
{
	reply->headers[reply->header_count++] = (struct header){ SLICE_LIT("Allow"), allow };
	return refuse(admin, rq, ERR_METHOD_NOT_ALLOWED, "this path takes another method", reply);
}

static enum serve_next on_head(void *ctx, struct serve_request *rq, struct serve_reply *reply)
{
	struct admin *admin = ctx;
	struct slice rest;

	if (is_open_path(rq->path)) {
		if (slice_eq_str(rq->method, "GET") || slice_eq_str(rq->method, "HEAD"))
			return SERVE_CONTINUE;
		return refuse_method(admin, rq, SLICE_LIT("GET, HEAD"), reply);
	}
	if (!is_authorized(admin, rq)) {
		reply->headers[reply->header_count++] =
			(struct header){ SLICE_LIT("WWW-Authenticate"), SLICE_LIT("Bearer") };
		return refuse(
			admin, rq, ERR_DENIED, "needs the admin token as a bearer token", reply);
	}
	if (find_action(admin, rq, &rest))
		return SERVE_CONTINUE;
	if (admin->allow.len > 0)
		return refuse_method(admin, rq, buf_slice(&admin->allow), reply);
	return refuse(admin, rq, ERR_NOT_FOUND, "nothing is here", reply);
}

/* ---- the action thread -------------------------------------------------------------------------
 */

static void task_free(struct task *task)
{
	buf_done(&task->rest);
	buf_done(&task->out);
	free(task);
}

static struct task *task_make(struct serve_request *rq, const struct admin_action *action,
	struct slice rest, struct err *err)
{
	struct task *task = calloc(1, sizeof(*task));

	if (!task) {
		(void)err_set(err, ERR_NOMEM, "no memory for a call");
		return NULL;
	}
	task->rest = BUF_INIT(SERVE_URI_MAX + 1);
	task->out = BUF_INIT(SERVE_BODY_MAX);
	task->action = action;
	if (text_percent_decode(rest, false, &task->rest, err) != ERR_OK) {
		task_free(task);
		return NULL;
	}
	task->request = serve_request_ref(rq);
	return task;
}

static enum serve_next on_ready(void *ctx, struct serve_request *rq, struct serve_reply *reply)
{
	struct admin *admin = ctx;
	struct err err = ERR_INIT;
	const struct admin_action *action;
	struct slice rest = SLICE_EMPTY;
	struct task *task;

	if (is_open_path(rq->path)) {
		answer_open(admin, rq, reply);
		return SERVE_REPLY;
	}
	action = find_action(admin, rq, &rest);
	assert(action); /* on_head() saw it */
	task = task_make(rq, action, rest, &err);
	if (task && mailbox_put(admin->todo, task))
		return SERVE_DEFER;
	if (task) {
		serve_request_unref(rq);
		task_free(task);
		(void)err_set(&err, ERR_FULL, "too many calls wait");
	}
	reply_err(rq, &err, &admin->scratch, reply);
	return SERVE_REPLY;
}

static void *action_thread(void *arg)
{
	struct admin *admin = arg;
	void *item;

	while (mailbox_take(admin->todo, &item, 1, -1) == 1) {
		struct task *task = item;
		struct admin_query query = {
			.rest = buf_slice(&task->rest),
			.query = task->request->query,
			.body = task->request->body,
		};

		task->code = task->action->run(task->action->ctx, &query, &task->out, &task->err);
		(void)mailbox_put_wait(admin->done, task); /* as large as todo and one more */
		serve_wake(admin->serve);
	}
	return NULL;
}

/* is_open: the loop still runs. */
static void answer_task(struct admin *admin, struct task *task, bool is_open)
{
	struct serve_reply reply = { .status = 200 };

	if (task->code != ERR_OK) {
		if (task->err.code == ERR_OK)
			(void)err_set(&task->err, task->code, "%s", err_title(task->code));
		reply_err(task->request, &task->err, &admin->scratch, &reply);
	} else {
		reply_text(task->action->flags & ADMIN_LINES ? "application/x-ndjson"
							     : "application/json",
			200, buf_slice(&task->out), &reply);
	}
	if (is_open)
		serve_answer(admin->serve, task->request, &reply);
	serve_request_unref(task->request);
	task_free(task);
}

static void on_tick(void *ctx)
{
	struct admin *admin = ctx;
	void *item;

	while (mailbox_take(admin->done, &item, 1, 0) == 1)
		answer_task(admin, item, true);
}

static void on_refused(void *ctx, struct serve_request *rq, enum err_code code, unsigned status,
	struct serve_reply *reply)
{
	struct admin *admin = ctx;

	reply_problem(rq, code, err_title(code), status, &admin->scratch, reply);
}

static const struct serve_ops admin_ops = {
	.head = on_head,
	.ready = on_ready,
	.refused = on_refused,
	.tick = on_tick,
};

/* ---- opening and closing -----------------------------------------------------------------------
 */

bool admin_param(const struct admin_query *query, const char *name, struct buf *out)
{
	return text_query_param(query->query, name, out);
}

static enum err_code load_token(const char *path, struct secret *out, struct err *err)
{
	struct buf text = BUF_INIT(CONFIG_TOKEN_MAX);
	struct err why = ERR_INIT;
	enum err_code rc = file_read_text(path, &text, &why);

	if (rc == ERR_NOT_FOUND)
		rc = ERR_CONFIG;
	if (rc != ERR_OK)
		return err_set(err, rc, "%s", why.text);
	if (text.len < CONFIG_TOKEN_MIN)
		rc = err_set(err, ERR_CONFIG, "%s: an admin token has at least %d characters", path,
			CONFIG_TOKEN_MIN);
	if (rc == ERR_OK)
		rc = secret_set(out, buf_slice(&text), err);
	buf_wipe(&text);
	buf_done(&text);
	return rc;
}

static enum err_code open_serve(struct admin *admin, const struct admin_opts *opts, struct err *err)
{
	struct serve_opts serve = {
		.name = "admin",
		.listen = opts->listen,
		.listen_fd = -1,
		.max_connections = ADMIN_CONNECTIONS_MAX,
		.max_header_bytes = KIB(16),
		.max_body_bytes = ADMIN_BODY_MAX,
		.header_timeout_ms = 10000,
		.body_timeout_ms = 10000,
		.idle_timeout_ms = 60000,
		.answer_timeout_ms = 0,
		.ops = &admin_ops,
		.ctx = admin,
		.clock = opts->clock,
	};

	return serve_open(&serve, &admin->serve, err);
}

enum err_code admin_open(const struct admin_opts *opts, struct admin **out, struct err *err)
{
	struct admin *admin = calloc(1, sizeof(*admin));
	enum err_code rc;

	if (!admin)
		return err_set(err, ERR_NOMEM, "no memory for the admin listener");
	admin->actions = opts->actions;
	admin->action_count = opts->action_count;
	admin->checks = opts->checks;
	admin->check_count = opts->check_count;
	admin->scratch = BUF_INIT(SERVE_BODY_MAX);
	admin->allow = BUF_INIT(KIB(1));
	rc = opts->token_file ? load_token(opts->token_file, &admin->token, err) : ERR_OK;
	if (rc == ERR_OK)
		rc = mailbox_open(ADMIN_TASKS_MAX, &admin->todo, err);
	if (rc == ERR_OK)
		rc = mailbox_open(ADMIN_TASKS_MAX + 1, &admin->done, err);
	if (rc == ERR_OK)
		rc = open_serve(admin, opts, err);
	if (rc == ERR_OK)
		rc = thread_start(&admin->thread, "admin-action", action_thread, admin, err);
	if (rc == ERR_OK)
		*out = admin;
	else
		admin_close(&admin);
	return rc;
}

const char *admin_address(const struct admin *admin)
{
	return serve_address(admin->serve);
}

void admin_close(struct admin **handle)
{
	struct admin *admin = *handle;
	struct serve *serve;
	void *item;

	if (!admin)
		return;
	*handle = NULL;
	if (admin->todo)
		mailbox_shut(admin->todo);
	thread_join(&admin->thread);
	serve = admin->serve; /* the loop uses its own place to its end */
	if (serve)
		serve_quiesce(serve);
	serve_close(&serve);
	while (admin->done && mailbox_take(admin->done, &item, 1, 0) == 1)
		answer_task(admin, item, false);
	mailbox_close(&admin->todo);
	mailbox_close(&admin->done);
	buf_done(&admin->scratch);
	buf_done(&admin->allow);
	secret_done(&admin->token);
	free(admin);
}
