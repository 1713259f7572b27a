/* actions.c - the admin listener's table for this process: what may be asked, and what answers.
 *
 * Reads are the questions of ask.c with this process's view; changes go to the worker's owner
 * thread. */
#include "ask.h"
#include "broker.h"
#include "daemon.h"
#include "lines.h"
#include "recheck.h"

#include "postern/text.h"

#include <stdio.h>
#include <sys/statvfs.h>

/* ---- reads -------------------------------------------------------------------------------------
 */

static bool query_param(const void *ctx, const char *name, struct buf *out)
{
	return admin_param(ctx, name, out);
}

static enum err_code read_action(struct daemon *daemon, const char *path,
	const struct admin_query *query, struct buf *out, struct err *err)
{
	struct config *config = daemon_config(daemon);
	struct lanes lanes = { .count = 0 };
	struct inspect in = { .config = config, .lanes = &lanes };
	struct ask_query ask = { .rest = query->rest, .param = query_param, .ctx = query };
	enum err_code rc = daemon_lanes(daemon, config, &lanes, err);

	if (rc == ERR_OK)
		rc = ask_answer(&in, path, &ask, out, err);
	lanes_close(&lanes);
	config_unref(&config);
	return rc;
}

static enum err_code do_events(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	return read_action(ctx, "/v1/events", q, out, err);
}

/* The entity may hold slashes, and "?entity=" is taken as well. */
static enum err_code do_state(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	struct buf entity = BUF_INIT(KIB(4));
	struct admin_query query = *q;
	enum err_code rc;

	if (q->rest.len == 0 && admin_param(q, "entity", &entity))
		query.rest = buf_slice(&entity);
	rc = query.rest.len ? read_action(ctx, "/v1/state", &query, out, err)
			    : err_set(err, ERR_USAGE, "which entity? /v1/state/ENTITY");
	buf_done(&entity);
	return rc;
}

static enum err_code do_dlq(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	return read_action(ctx, "/v1/dlq", q, out, err);
}

static enum err_code do_quarantine(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	return read_action(ctx, "/v1/quarantine", q, out, err);
}

static enum err_code do_keys(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	struct daemon *daemon = ctx;

	(void)q;
	return ingress_keys(daemon->ingress, out, err);
}

/* Take the confirmed key into force: files of keys are read with the config. */
static enum err_code reload_keys(struct daemon *daemon, struct err *err)
{
	struct buf restart = BUF_INIT(KIB(64));
	enum err_code rc = daemon_reload(daemon, &restart, err);

	buf_done(&restart);
	return rc;
}

static enum err_code put_learn(
	const struct admin_query *q, const char *result, struct buf *out, struct err *err)
{
	struct line line = { .out = out, .err = err };

	line_begin(&line);
	line_text(&line, "source", q->rest);
	line_str(&line, "result", result);
	line_end(&line);
	err_ignored(buf_put_str(out, "\n", err));
	return err->code;
}

static enum err_code do_learn(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	struct daemon *daemon = ctx;
	struct buf text = BUF_INIT(64);
	int64_t seconds = 0;
	enum err_code rc = ERR_OK;

	if (!admin_param(q, "for_s", &text) ||
		text_i64(buf_slice(&text), &seconds, NULL) != ERR_OK || seconds < 0 ||
		seconds > 86400)
		rc = err_set(err, ERR_USAGE, "for how long? ?for_s=300");
	if (rc == ERR_OK)
		rc = ingress_learn(daemon->ingress, q->rest, seconds * 1000, err);
	if (rc == ERR_OK)
		rc = put_learn(q, seconds > 0 ? "waiting" : "closed", out, err);
	buf_done(&text);
	return rc;
}

static enum err_code learnt_action(struct daemon *daemon, const struct admin_query *q, bool confirm,
	struct buf *out, struct err *err)
{
	struct buf fingerprint = BUF_INIT(64);
	enum err_code rc = ERR_OK;

	if (!admin_param(q, "fingerprint", &fingerprint))
		rc = err_set(err, ERR_USAGE, "which key? ?fingerprint=01234567");
	if (rc == ERR_OK)
		rc = ingress_learnt(
			daemon->ingress, q->rest, buf_slice(&fingerprint), confirm, err);
	if (rc == ERR_OK && confirm)
		rc = reload_keys(daemon, err);
	if (rc == ERR_OK)
		rc = put_learn(q, confirm ? "confirmed" : "dropped", out, err);
	buf_done(&fingerprint);
	return rc;
}

static enum err_code do_learn_confirm(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	return learnt_action(ctx, q, true, out, err);
}

static enum err_code do_learn_drop(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	return learnt_action(ctx, q, false, out, err);
}

static enum err_code do_config(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	struct config *config = daemon_config(ctx);
	enum err_code rc = config_show(config, out, err);

	(void)q;
	config_unref(&config);
	return rc;
}

/* ---- status ------------------------------------------------------------------------------------
 */

static void put_disk(struct line *line, const char *dir)
{
	struct buf disk = BUF_INIT(KIB(1));
	struct line inner = { .out = &disk, .err = line->err };
	struct statvfs vfs;

	line_begin(&inner);
	line_str(&inner, "data_dir", dir);
	if (statvfs(dir, &vfs) == 0) {
		line_int(&inner, "free_bytes", (int64_t)(vfs.f_bavail * vfs.f_frsize));
		line_int(&inner, "size_bytes", (int64_t)(vfs.f_blocks * vfs.f_frsize));
	}
	line_end(&inner);
	line_raw(line, "disk", buf_slice(&disk));
	buf_done(&disk);
}

static const char *half_name(const struct daemon *daemon)
{
	if (daemon->has_ingress && daemon->has_worker)
		return "both";
	return daemon->has_ingress ? "ingress" : "worker";
}

/* Not ready, and why: one member for people who look at one screen. */
static void put_ready(struct daemon *daemon, struct line *line)
{
	struct err reason = ERR_INIT;
	enum err_code rc = ERR_OK;

	if (daemon->has_ingress)
		rc = ingress_ready(daemon->ingress, &reason);
	if (rc == ERR_OK && daemon->has_worker)
		rc = daemon_worker_ready(daemon, &reason);
	line_bool(line, "ready", rc == ERR_OK);
	line_str(line, "reason", rc == ERR_OK ? NULL : reason.text);
}

static void put_members(
	struct line *line, enum err_code (*members)(void *, struct buf *, struct err *), void *of)
{
	struct buf text = BUF_INIT(MIB(1));

	if (members(of, &text, line->err) == ERR_OK && text.len) {
		err_ignored(buf_put_str(line->out, ",", line->err));
		err_ignored(buf_put_slice(line->out, buf_slice(&text), line->err));
	}
	buf_done(&text);
}

static enum err_code ingress_members(void *of, struct buf *out, struct err *err)
{
	return ingress_status(of, out, err);
}

static enum err_code worker_members(void *of, struct buf *out, struct err *err)
{
	return worker_status(of, out, err);
}

/* What an ingress sees of the log that it shares with a worker: also when no worker runs. */
static void put_log(struct daemon *daemon, struct line *line)
{
	struct buf text = BUF_INIT(KIB(1));
	struct line inner = { .out = &text, .err = line->err };
	const struct backlog backlog = daemon_backlog(daemon);

	line_begin(&inner);
	line_int(&inner, "lag", backlog.lag);
	line_int(&inner, "oldest_s", backlog.oldest_s);
	line_end(&inner);
	line_raw(line, "queue", buf_slice(&text));
	buf_done(&text);
}

static enum err_code broker_members(void *of, struct buf *out, struct err *err)
{
	return broker_status(of, out, err);
}

static enum err_code do_status(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	struct daemon *daemon = ctx;
	struct config *config = daemon_config(daemon);
	struct line line = { .out = out, .err = err };

	(void)q;
	line_begin(&line);
	line_int(&line, "v", 1);
	line_str(&line, "version", POSTERN_VERSION);
	line_str(&line, "half", half_name(daemon));
	put_ready(daemon, &line);
	if (daemon->has_ingress)
		put_members(&line, ingress_members, daemon->ingress);
	if (daemon->worker)
		put_members(&line, worker_members, daemon->worker);
	else if (!daemon->broker)
		put_log(daemon, &line);
	if (daemon->broker)
		put_members(&line, broker_members, daemon->broker);
	put_disk(&line, config->data_dir);
	line_end(&line);
	err_ignored(buf_put_str(out, "\n", err));
	config_unref(&config);
	return err->code;
}

/* ---- changes -----------------------------------------------------------------------------------
 */

struct target {
	struct inspect in;
	enum out_target stream;
	struct place place;
};

/* A refused request is worked as what its admission would have made of it. */
static enum err_code accept(struct daemon *daemon, const struct target *target, struct err *err)
{
	struct buf headers = BUF_INIT(EVENT_HEADERS_MAX), key = BUF_INIT(EVENT_KEY_MAX);
	struct crew *crew = target->in.lanes->crew;
	const int64_t offset = target->place.offset;
	enum err_code rc = recheck_quarantined(&target->in, &target->place, &headers, &key, err);

	if (recheck_is_refusal(rc)) /* of the record, not of whoever asks */
		rc = err->code = ERR_DENIED;
	if (rc == ERR_OK && crew)
		rc = crew_accept(crew, (int32_t)target->place.lane, offset, buf_slice(&headers),
			buf_slice(&key), err);
	else if (rc == ERR_OK)
		rc = worker_accept(
			daemon->worker, offset, buf_slice(&headers), buf_slice(&key), err);
	buf_done(&headers);
	buf_done(&key);
	return rc;
}

static enum err_code change(struct daemon *daemon, enum worker_change change,
	const struct target *target, struct err *err)
{
	struct crew *crew = target->in.lanes->crew;
	const struct place *place = &target->place;

	if (change == CHANGE_ACCEPT)
		return accept(daemon, target, err);
	return crew ? crew_change(crew, (int32_t)place->lane, change, target->stream, place->offset,
			      err)
		    : worker_change(daemon->worker, change, target->stream, place->offset, err);
}

static enum err_code put_done(const struct target *target, struct buf *out, struct err *err)
{
	struct line line = { .out = out, .err = err };
	char id[PLACE_TEXT_MAX];

	place_text(target->in.lanes, target->stream, &target->place, id);
	line_begin(&line);
	line_str(&line, "id", id);
	line_str(&line, "result", "done");
	line_end(&line);
	err_ignored(buf_put_str(out, "\n", err));
	return err->code;
}

static enum err_code change_action(struct daemon *daemon, enum worker_change what,
	enum out_target stream, const struct admin_query *query, struct buf *out, struct err *err)
{
	struct config *config = daemon_config(daemon);
	struct lanes lanes = { .count = 0 };
	struct target target = { .in = { .config = config, .lanes = &lanes }, .stream = stream };
	enum err_code rc = ERR_OK;

	if (!daemon->has_worker)
		rc = err_set(
			err, ERR_UNREACHABLE, "the worker half does not run here; start it first");
	if (rc == ERR_OK)
		rc = daemon_lanes(daemon, config, &lanes, err);
	if (rc == ERR_OK)
		rc = inspect_find(&target.in, stream, query->rest, &target.place, err);
	if (rc == ERR_OK)
		rc = change(daemon, what, &target, err);
	if (rc == ERR_OK)
		rc = put_done(&target, out, err);
	lanes_close(&lanes);
	config_unref(&config);
	return rc;
}

static enum err_code do_dlq_replay(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	return change_action(ctx, CHANGE_REPLAY, OUT_DLQ, q, out, err);
}

static enum err_code do_dlq_drop(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	return change_action(ctx, CHANGE_DROP, OUT_DLQ, q, out, err);
}

static enum err_code do_quarantine_accept(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	return change_action(ctx, CHANGE_ACCEPT, OUT_QUARANTINE, q, out, err);
}

static enum err_code do_quarantine_drop(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	return change_action(ctx, CHANGE_DROP, OUT_QUARANTINE, q, out, err);
}

/* Which half this was, and what it could not change. */
static enum err_code do_reload(
	void *ctx, const struct admin_query *q, struct buf *out, struct err *err)
{
	struct daemon *daemon = ctx;
	struct buf restart = BUF_INIT(KIB(64));
	struct line line = { .out = out, .err = err };
	enum err_code rc = daemon_reload(daemon, &restart, err);

	(void)q;
	if (rc == ERR_OK) {
		line_begin(&line);
		line_str(&line, "result", "reloaded");
		line_str(&line, "half", half_name(daemon));
		line_text(&line, "needs_restart", slice_trim(buf_slice(&restart)));
		line_end(&line);
		err_ignored(buf_put_str(out, "\n", err));
		rc = err->code;
	}
	buf_done(&restart);
	return rc;
}

/* ---- the table ---------------------------------------------------------------------------------
 */

static enum err_code check_ingress(void *ctx, struct err *err)
{
	return ingress_ready(((struct daemon *)ctx)->ingress, err);
}

static enum err_code check_worker(void *ctx, struct err *err)
{
	return daemon_worker_ready(ctx, err);
}

static const struct {
	bool ingress_only; /* needs the receiving half */
	struct admin_action action;
} rows[] = {
	{ false, { "GET", "/v1/status", 0, do_status, NULL } },
	{ false, { "GET", "/v1/config", 0, do_config, NULL } },
	{ false, { "POST", "/v1/reload", 0, do_reload, NULL } },
	{ true, { "GET", "/v1/keys", ADMIN_LINES, do_keys, NULL } },
	{ true, { "POST", "/v1/learn/open", ADMIN_BELOW, do_learn, NULL } },
	{ true, { "POST", "/v1/learn/confirm", ADMIN_BELOW, do_learn_confirm, NULL } },
	{ true, { "POST", "/v1/learn/drop", ADMIN_BELOW, do_learn_drop, NULL } },
	{ false, { "GET", "/v1/events", ADMIN_BELOW, do_events, NULL } },
	{ false, { "GET", "/v1/state", ADMIN_BELOW, do_state, NULL } },
	{ false, { "GET", "/v1/dlq", ADMIN_BELOW, do_dlq, NULL } },
	{ false, { "POST", "/v1/dlq/replay", ADMIN_BELOW, do_dlq_replay, NULL } },
	{ false, { "POST", "/v1/dlq/drop", ADMIN_BELOW, do_dlq_drop, NULL } },
	{ false, { "GET", "/v1/quarantine", ADMIN_BELOW, do_quarantine, NULL } },
	{ false, { "POST", "/v1/quarantine/accept", ADMIN_BELOW, do_quarantine_accept, NULL } },
	{ false, { "POST", "/v1/quarantine/drop", ADMIN_BELOW, do_quarantine_drop, NULL } },
};

enum err_code daemon_admin_open(struct daemon *daemon, struct err *err)
{
	/* One daemon a process: these live as long as it does. */
	static struct admin_action actions[ARRAY_LEN(rows)];
	static struct admin_check checks[1];
	struct admin_opts opts = {
		.listen = daemon->has_ingress ? daemon->config->admin.listen
					      : daemon->config->admin.worker_listen,
		.token_file = daemon->config->admin.token_file,
		.actions = actions,
		.checks = checks,
		.check_count = 1,
		.clock = clock_system(),
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].ingress_only && !daemon->has_ingress)
			continue;
		actions[opts.action_count] = rows[i].action;
		actions[opts.action_count++].ctx = daemon;
	}
	/* Ready means that a webhook posted now would be made durable: where there is an ingress
	 * half, that is its question alone; a worker that pauses is told by its own process, and by
	 * status. */
	checks[0].check = daemon->has_ingress ? check_ingress : check_worker;
	checks[0].ctx = daemon;
	return admin_open(&opts, &daemon->admin, err);
}
