/* cmd_change.c - dlq replay and drop, quarantine accept and drop: changes over one or thousands of
 * records.
 *
 *   ids or filters -> the list of records, in the order of their events -> one call a record, at
 * most --rate a second
 *
 * Each record is decided and committed by the worker before the next one is sent, so a run that is
 * stopped, or killed, is continued by the same command: what is done is marked and is not selected
 * again. An event that was replayed and died again is a new record, behind all others: the command
 * that continues does not reach as far as those, and a later one puts it ahead of its entity's
 * later events again. */
#include "ask.h"
#include "commands.h"
#include "lines.h"

#include "postern/clock.h"
#include "postern/event.h"
#include "postern/json.h"
#include "postern/serve.h"
#include "postern/text.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define RECORDS_MAX 1000000
#define ID_MAX 40
#define FAILURES_SAID 5 /* a line each; the others are counted */

struct change {
	const char *list_path; /* "/v1/dlq" */
	const char *post_path; /* "/v1/dlq/replay" */
	const char *done_word; /* "replayed" */
	bool verifies;         /* refused requests among them are verified first */
};

struct chosen {                    /* by a filter */
	int64_t partition, offset; /* of its event */
	size_t at;                 /* of its id in targets */
};

struct job {
	struct cli *cli;
	const struct change *change;
	struct config *config;
	struct buf targets;    /* NUL-ended ids or event ids, one after the other */
	struct chosen *chosen; /* of filters, until they are in order: array, room */
	size_t room;
	char newest[TEXT_TIME_LEN]; /* when the last of them ended, or "" */
	struct buf left;            /* likewise: those that failed */
	size_t total, done, failed;
	int64_t start_ms, said_ms; /* monotonic */
	double rate;               /* 0: as fast as it goes */
	bool piped, dry_run;
	int64_t now_ms; /* wall time of the start: relative times mean this */
	char error[ERR_TEXT_MAX + EVENT_ID_MAX]; /* the last one, with the id */
};

static volatile sig_atomic_t interrupted; /* set by SIGINT and SIGTERM, read by the loop */

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

static int64_t mono_ms(void)
{
	return clock_system()->mono_ms(clock_system());
}

/* ---- which records -----------------------------------------------------------------------------
 */

static bool has_filter(const struct cli *cli)
{
	static const char *const names[] = { "--route", "--reason", "--entity", "--source",
		"--since", "--until", "--ended-since", "--ended-until" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (cli_get(cli, names[i]))
			return true;
	return false;
}

static enum err_code add_target(struct job *job, struct slice id, struct err *err)
{
	enum err_code rc = buf_put_slice(&job->targets, id, err);

	if (rc == ERR_OK)
		rc = buf_put_u8(&job->targets, 0, err);
	if (rc == ERR_OK)
		job->total++;
	return rc;
}

static int64_t number_of(struct slice row, const char *pointer)
{
	struct json_value value;
	int64_t number = 0;

	if (json_get(row, pointer, &value, NULL) != ERR_OK || value.type != JSON_INTEGER ||
		text_i64(value.raw, &number, NULL) != ERR_OK)
		return 0;
	return number;
}

static enum err_code note_place(struct job *job, struct slice row, size_t at, struct err *err)
{
	struct json_value ended;

	if (job->total > job->room) {
		const size_t room = job->room ? 2 * job->room : 1024;
		struct chosen *more = reallocarray(job->chosen, room, sizeof(*more));

		if (!more)
			return err_set(err, ERR_NOMEM, "no memory for %zu records", room);
		job->chosen = more;
		job->room = room;
	}
	job->chosen[job->total - 1] = (struct chosen){ .partition = number_of(row, "/partition"),
		.offset = number_of(row, "/offset"),
		.at = at };
	/* Times in UTC, all of one form: their texts compare as they do. */
	if (json_get(row, "/since", &ended, NULL) == ERR_OK && ended.type == JSON_STRING &&
		ended.raw.len < sizeof(job->newest) &&
		slice_cmp(ended.raw, slice_str(job->newest)) > 0)
		(void)snprintf(job->newest, sizeof(job->newest), "%.*s", SLICE_FMT(ended.raw));
	return ERR_OK;
}

/* A page of a list that the filters chose; --dry-run shows it. */
static enum err_code add_page(void *ctx, struct slice items, struct err *err)
{
	struct json_value array = { .type = JSON_ARRAY, .raw = items }, item, id;
	struct job *job = ctx;
	enum err_code rc = ERR_OK;
	size_t next = 0;

	while (rc == ERR_OK && json_next(array, &next, &item)) {
		const size_t at = job->targets.len;

		rc = json_get(item.raw, "/id", &id, err);
		if (rc == ERR_OK)
			rc = add_target(job, id.raw, err);
		if (rc == ERR_OK)
			rc = note_place(job, item.raw, at, err);
		if (rc == ERR_OK && job->dry_run) {
			cli_out(item.raw);
			cli_out(SLICE_LIT("\n"));
		}
	}
	return rc;
}

static int by_event(const void *a, const void *b)
{
	const struct chosen *x = a, *y = b;

	if (x->partition != y->partition)
		return x->partition < y->partition ? -1 : 1;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at; /* parts of one event: as they were listed */
}

/* The list has them in the order in which they ended. An event that was replayed and died again
 * stands behind its entity's later ones there, which would make it stale. */
static enum err_code put_in_order(struct job *job, struct err *err)
{
	struct buf sorted = BUF_INIT((size_t)RECORDS_MAX * ID_MAX);
	enum err_code rc = ERR_OK;

	if (job->total > 1)
		qsort(job->chosen, job->total, sizeof(*job->chosen), by_event);
	for (size_t i = 0; rc == ERR_OK && i < job->total; i++) {
		const char *id = buf_str(&job->targets) + job->chosen[i].at;

		rc = buf_put(&sorted, id, strlen(id) + 1, err);
	}
	if (rc == ERR_OK)
		buf_swap(&sorted, &job->targets);
	buf_done(&sorted);
	return rc;
}

static void show_id(const char *id)
{
	struct buf out = BUF_INIT(MIB(1));
	struct line line = { .out = &out };

	line_begin(&line);
	line_str(&line, "id", id);
	line_end(&line);
	cli_outf("%s\n", buf_str(&out));
	buf_done(&out);
}

/* METHOD PATH/ID of the worker: ERR_OK, or what it has against it. */
static enum err_code ask_one(struct job *job, const char *method, const char *path, const char *id,
	struct buf *answer, struct err *err)
{
	struct buf target = BUF_INIT(KIB(8));
	unsigned status = 0;
	enum err_code rc = buf_putf(&target, err, "%s/", path);

	if (rc == ERR_OK)
		rc = text_percent_encode(slice_str(id), "", &target, err);
	if (rc == ERR_OK)
		rc = cli_admin(job->config, HALF_WORKER, method, buf_str(&target), SLICE_EMPTY,
			answer, &status, err);
	if (rc == ERR_OK && status != 200)
		rc = cli_problem(buf_slice(answer), status, err);
	buf_done(&target);
	return rc;
}

/* With --dry-run: is this one record, and still to be done? What it is not is said, and counted. */
static enum err_code preview(struct job *job, const char *id, struct err *err)
{
	struct buf answer = BUF_INIT(SERVE_BODY_MAX);
	struct json_value state = { 0 };
	enum err_code rc = ask_one(job, "GET", job->change->list_path, id, &answer, err);

	if (rc == ERR_OK)
		rc = json_get(buf_slice(&answer), "/state", &state, err);
	if (rc == ERR_OK && slice_eq(state.raw, SLICE_LIT("waiting"))) {
		show_id(id);
	} else if (rc == ERR_OK) {
		job->failed++;
		fprintf(stderr, "%s: it is %.*s\n", id, SLICE_FMT(state.raw));
	} else if (rc != ERR_UNREACHABLE) {
		job->failed++;
		fprintf(stderr, "%s: %s\n", id, err->text);
		err_clear(err);
		rc = ERR_OK;
	}
	buf_done(&answer);
	return rc;
}

static enum err_code add_ids(struct job *job, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (int i = 0; rc == ERR_OK && i < job->cli->arg_count; i++) {
		rc = add_target(job, slice_str(job->cli->args[i]), err);
		if (rc == ERR_OK && job->dry_run)
			rc = preview(job, job->cli->args[i], err);
	}
	return rc;
}

static enum err_code count_refused(void *ctx, struct slice items, struct err *err)
{
	struct json_value array = { .type = JSON_ARRAY, .raw = items }, item, id, code;
	struct job *job = ctx;
	enum err_code rc = ERR_OK;
	size_t next = 0;

	while (rc == ERR_OK && json_next(array, &next, &item)) {
		rc = json_get(item.raw, "/id", &id, err);
		if (rc == ERR_OK)
			rc = json_get(item.raw, "/code", &code, err);
		if (rc != ERR_OK || slice_eq_str(code.raw, err_name(ERR_OK)))
			continue;
		if (job->failed++ < FAILURES_SAID)
			fprintf(stderr, "%.*s: %.*s\n", SLICE_FMT(id.raw), SLICE_FMT(code.raw));
	}
	return rc;
}

/* With --dry-run: a refused request is accepted only if it verifies now. */
static enum err_code preview_verdicts(struct job *job, struct buf *base, struct err *err)
{
	enum err_code rc = buf_put_str(base, "&verify=1&limit=50", err);

	return rc == ERR_OK ? ask_each_page(job->config, buf_str(base), count_refused, job, err)
			    : rc;
}

/* Records are looked for in the files where no daemon runs, but only a daemon changes any: that is
 * said also where none fits. */
static enum err_code need_daemon(struct job *job, struct err *err)
{
	struct buf answer = BUF_INIT(SERVE_BODY_MAX);
	unsigned status = 0;
	enum err_code rc = cli_admin(
		job->config, HALF_WORKER, "GET", "/healthz", SLICE_EMPTY, &answer, &status, err);

	buf_done(&answer);
	return rc;
}

/* Fills job->targets. Gives 0 or an exit status. */
static int select_records(struct job *job)
{
	struct buf base = BUF_INIT(KIB(16));
	struct err err = ERR_INIT;
	enum err_code rc = add_ids(job, &err);
	int status = 0;

	if (job->cli->arg_count == 0)
		status = ask_filters(job->cli, job->change->list_path, job->now_ms, &base);
	if (rc == ERR_OK && status == 0 && base.len > 0 && !job->dry_run)
		rc = need_daemon(job, &err);
	if (rc == ERR_OK && status == 0 && base.len > 0)
		rc = ask_each_page(job->config, buf_str(&base), add_page, job, &err);
	if (rc == ERR_OK && status == 0 && base.len > 0)
		rc = put_in_order(job, &err);
	if (rc == ERR_OK && status == 0 && base.len > 0 && job->dry_run && job->change->verifies)
		rc = preview_verdicts(job, &base, &err);
	buf_done(&base);
	if (status != 0)
		return status;
	return rc == ERR_OK ? 0 : cli_fail(&err);
}

/* ---- one record --------------------------------------------------------------------------------
 */

static enum err_code change_one(struct job *job, const char *id, struct err *err)
{
	struct buf answer = BUF_INIT(MIB(1));
	const enum err_code rc = ask_one(job, "POST", job->change->post_path, id, &answer, err);

	buf_done(&answer);
	return rc;
}

static void wait_for_turn(const struct job *job)
{
	int64_t due;

	if (job->rate <= 0)
		return;
	due = job->start_ms + (int64_t)((double)job->done * 1000.0 / job->rate);
	while (!interrupted && mono_ms() < due) {
		int64_t left = due - mono_ms();
		struct timespec pause = { .tv_nsec = (left > 100        ? 100
							     : left > 0 ? left
									: 0) *
						     1000000 };

		(void)nanosleep(&pause, NULL);
	}
}

/* ---- talking -----------------------------------------------------------------------------------
 */

/* A program that reads our stdout wants nothing on stderr but the command that continues. */
static bool is_read_by_program(const struct job *job)
{
	return job->piped || job->cli->json;
}

static void put_progress(const struct job *job, double rate, double eta)
{
	struct buf line = BUF_INIT(KIB(4));

	err_ignored(buf_putf(&line, NULL,
		"{\"v\":1,\"done\":%zu,\"total\":%zu,\"failed\":%zu,\"rate\":%.1f,\"eta_s\":%.0f",
		job->done, job->total, job->failed, rate, eta));
	if (job->error[0])
		err_ignored(json_put_str(&line, "error", slice_str(job->error), NULL));
	err_ignored(buf_put_str(&line, "}", NULL));
	cli_outf("%s\n", buf_str(&line));
	(void)fflush(stdout);
	buf_done(&line);
}

static void say_progress(struct job *job, bool last)
{
	int64_t now = mono_ms(), took = now - job->start_ms;
	double rate = took > 0 ? (double)job->done * 1000.0 / (double)took : 0;
	double eta = rate > 0 ? (double)(job->total - job->done) / rate : 0;

	if (!last && now - job->said_ms < 1000)
		return;
	job->said_ms = now;
	if (is_read_by_program(job)) {
		put_progress(job, rate, eta);
	} else {
		fprintf(stderr, "\r%s %zu of %zu, %zu failed, %.1f/s, %.0f s left  %s",
			job->change->done_word, job->done - job->failed, job->total, job->failed,
			rate, eta, last ? "\n" : "");
	}
}

static void put_quoted(struct buf *out, const char *word)
{
	bool plain = *word != '\0';

	for (const char *c = word; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("_@%+=:,./-", *c))
			plain = false;
	if (plain) {
		err_ignored(buf_putf(out, NULL, " %s", word));
		return;
	}
	err_ignored(buf_put_str(out, " '", NULL));
	for (const char *c = word; *c; c++)
		err_ignored(buf_put_str(out, *c == '\'' ? "'\\''" : (char[]){ *c, '\0' }, NULL));
	err_ignored(buf_put_str(out, "'", NULL));
}

static bool is_time(const char *name)
{
	static const char *const names[] = { "--since", "--until", "--ended-since",
		"--ended-until" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* Relative times become absolute, so that the command means the same records later. */
static void put_option(const struct job *job, struct buf *out, const char *name, const char *value)
{
	char text[TEXT_TIME_LEN] = "";
	int64_t seconds;

	put_quoted(out, name);
	if (is_time(name) && text_duration_s(slice_str(value), &seconds, NULL) == ERR_OK) {
		text_time_ms(job->now_ms - seconds * 1000, text);
		value = text;
	}
	if (*value)
		put_quoted(out, value);
}

static void put_ids(struct buf *out, const struct buf *ids, size_t at)
{
	for (; at < ids->len; at += strlen(buf_str(ids) + at) + 1)
		put_quoted(out, buf_str(ids) + at);
}

/* Filters select what is not done by themselves, but not what died again meanwhile; of ids those
 * that failed, and from `next` on. */
static void say_how_to_continue(const struct job *job, const char *next)
{
	const struct cli *cli = job->cli;
	struct buf out = BUF_INIT(MIB(64));

	err_ignored(buf_put_str(&out, cli->program, NULL));
	put_quoted(&out, "-c");
	put_quoted(&out, job->config->path);
	err_ignored(buf_putf(&out, NULL, " %s", cli->command->words));
	for (int i = 0; i < cli->option_count; i++)
		put_option(job, &out, cli->option_names[i], cli->option_values[i]);
	if (job->newest[0] && !cli_get(cli, "--ended-until")) {
		put_quoted(&out, "--ended-until");
		put_quoted(&out, job->newest);
	}
	if (!cli_get(cli, "--yes"))
		put_quoted(&out, "--yes");
	if (cli->arg_count > 0) {
		put_ids(&out, &job->left, 0);
		put_ids(&out, &job->targets, (size_t)(next - buf_str(&job->targets)));
	}
	fprintf(stderr, "%s\n", buf_str(&out));
	buf_done(&out);
}

static bool confirmed(const struct job *job)
{
	char answer[8] = "";

	if (job->cli->arg_count > 0 || cli_get(job->cli, "--yes") || !isatty(STDIN_FILENO))
		return true;
	fprintf(stderr, "%zu records will be %s. Go on? [y/N] ", job->total,
		job->change->done_word);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static void note_failure(struct job *job, const char *id, const struct err *err)
{
	job->failed++;
	err_ignored(buf_put(&job->left, id, strlen(id) + 1, NULL));
	(void)snprintf(job->error, sizeof(job->error), "%s: %s", id, err->text);
	if (job->failed <= FAILURES_SAID && !is_read_by_program(job))
		fprintf(stderr, "%s\n", job->error);
}

/* ---- the run -----------------------------------------------------------------------------------
 */

/* Of the daemon, not of one record: the next one would meet it too, and ahead of this one. */
static bool ends_the_run(enum err_code code)
{
	return code == ERR_UNREACHABLE || code == ERR_TIMEOUT || code == ERR_STOPPED ||
	       code == ERR_OUTCOME_UNKNOWN;
}

static int work(struct job *job)
{
	const char *next = buf_str(&job->targets);
	struct sigaction action = { .sa_handler = on_interrupt };
	struct err fatal = ERR_INIT;

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	job->start_ms = job->said_ms = mono_ms();
	while (job->done < job->total && !interrupted) {
		struct err err = ERR_INIT;

		wait_for_turn(job);
		if (interrupted)
			break;
		if (change_one(job, next, &err) != ERR_OK) {
			if (ends_the_run(err.code)) {
				fatal = err;
				(void)snprintf(job->error, sizeof(job->error), "%s", err.text);
				break;
			}
			note_failure(job, next, &err);
		}
		job->done++;
		next += strlen(next) + 1;
		say_progress(job, false);
	}
	say_progress(job, true);
	if (job->failed > FAILURES_SAID && !is_read_by_program(job))
		fprintf(stderr, "and %zu more failed\n", job->failed - FAILURES_SAID);
	if (fatal.code != ERR_OK && (!is_read_by_program(job) || job->done == 0))
		fprintf(stderr, "%s\n", fatal.text);
	if (fatal.code != ERR_OK && job->done == 0)
		return err_exit(fatal.code);
	if (job->done < job->total || job->failed > 0)
		say_how_to_continue(job, next);
	return job->done < job->total || job->failed > 0 ? err_exit(ERR_PARTLY) : 0;
}

static bool take_rate(struct job *job)
{
	const char *text = cli_get(job->cli, "--rate");
	uint64_t rate = 0;

	if (!text)
		return true;
	if (text_u64(slice_str(text), &rate, NULL) != ERR_OK || rate == 0)
		return false;
	job->rate = (double)rate;
	return true;
}

static int say_preview(const struct job *job)
{
	fprintf(stderr, "%zu records would be %s\n", job->total - job->failed,
		job->change->done_word);
	return job->failed > 0 ? err_exit(ERR_PARTLY) : 0;
}

static int run_change(struct cli *cli, const struct change *change)
{
	struct job job = {
		.cli = cli,
		.change = change,
		.targets = BUF_INIT((size_t)RECORDS_MAX * ID_MAX),
		.left = BUF_INIT((size_t)RECORDS_MAX * ID_MAX),
		.piped = !isatty(STDOUT_FILENO),
		.dry_run = cli_get(cli, "--dry-run") != NULL,
		.now_ms = clock_system()->wall_ms(clock_system()),
	};
	int status;

	if (cli->arg_count == 0 && !has_filter(cli))
		return cli_usage(cli, "which records? Give ids, or filters such as --route");
	if (cli->arg_count > 0 && has_filter(cli))
		return cli_usage(cli, "ids and filters do not go together");
	if (!take_rate(&job))
		return cli_usage(cli, "--rate is a whole number of records a second");
	status = cli_config(cli, false, &job.config);
	if (status == 0)
		status = select_records(&job);
	if (status == 0 && job.dry_run)
		status = say_preview(&job);
	else if (status == 0 && confirmed(&job))
		status = work(&job);
	config_unref(&job.config);
	buf_done(&job.targets);
	buf_done(&job.left);
	free(job.chosen);
	return status;
}

static int run_dlq_replay(struct cli *cli)
{
	return run_change(
		cli, &(const struct change){ "/v1/dlq", "/v1/dlq/replay", "replayed", false });
}

static int run_dlq_drop(struct cli *cli)
{
	return run_change(
		cli, &(const struct change){ "/v1/dlq", "/v1/dlq/drop", "dropped", false });
}

static int run_quarantine_accept(struct cli *cli)
{
	return run_change(cli, &(const struct change){ "/v1/quarantine", "/v1/quarantine/accept",
				       "accepted", true });
}

static int run_quarantine_drop(struct cli *cli)
{
	return run_change(cli, &(const struct change){
				       "/v1/quarantine", "/v1/quarantine/drop", "dropped", false });
}

static const struct cli_option change_options[] = {
	FILTER_OPTIONS,
	ENDED_OPTIONS,
	{ "--rate", "N", "at most N records a second" },
	{ "--dry-run", NULL, "only show which records" },
	{ "--yes", NULL, "do not ask" },
	{ 0 },
};

#define CHANGE_USAGE "ID... | " ENDED_USAGE "[--rate N] [--dry-run] [--yes]"

const struct command cmd_dlq_replay = {
	.words = "dlq replay",
	.usage = CHANGE_USAGE,
	.summary = "work dead letters again, in order, each once",
	.examples = "  postern dlq replay d12\n"
		    "  postern dlq replay --route ci --since 2h --dry-run\n"
		    "  postern dlq replay --route ci --since 2h --rate 50 --yes\n",
	.options = change_options,
	.args_max = -1,
	.run = run_dlq_replay,
};

const struct command cmd_dlq_drop = {
	.words = "dlq drop",
	.usage = CHANGE_USAGE,
	.summary = "let go of dead letters for good",
	.examples =
		"  postern dlq drop d12\n  postern dlq drop --reason HANDLER_REFUSED --until 7d\n",
	.options = change_options,
	.args_max = -1,
	.run = run_dlq_drop,
};

const struct command cmd_quarantine_accept = {
	.words = "quarantine accept",
	.usage = CHANGE_USAGE,
	.summary = "work quarantined events without the check that stopped them",
	.examples =
		"  postern quarantine accept q3\n"
		"  postern quarantine accept --source shop --reason REPLAY_DETECTED --dry-run\n",
	.options = change_options,
	.args_max = -1,
	.run = run_quarantine_accept,
};

const struct command cmd_quarantine_drop = {
	.words = "quarantine drop",
	.usage = CHANGE_USAGE,
	.summary = "let go of quarantined records for good",
	.examples = "  postern quarantine drop q3\n  postern quarantine drop --until 7d --yes\n",
	.options = change_options,
	.args_max = -1,
	.run = run_quarantine_drop,
};
