/* ask.c - see ask.h. The answer to a question is made in one place (ask_answer); whether that runs
 * in the daemon or here depends on whether a daemon answers. */
#include "ask.h"

#include "postern/file.h"
#include "postern/json.h"
#include "postern/serve.h"
#include "postern/text.h"

#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MAX SERVE_BODY_MAX

/* ---- answering ---------------------------------------------------------------------------------
 */

static void take_text(
	const struct ask_query *query, const char *name, struct buf *buf, struct slice *out)
{
	buf_reset(buf);
	if (query->param(query->ctx, name, buf))
		*out = buf_slice(buf);
}

static enum err_code take_int(
	const struct ask_query *query, const char *name, int64_t *out, struct err *err)
{
	struct buf buf = BUF_INIT(64);
	enum err_code rc = ERR_OK;

	if (query->param(query->ctx, name, &buf) && text_i64(buf_slice(&buf), out, NULL) != ERR_OK)
		rc = err_set(err, ERR_USAGE, "%s is not a number", name);
	buf_done(&buf);
	return rc;
}

struct filter_text {
	struct buf route, reason, entity, source, outcome;
};

static bool is_asked(const struct ask_query *query, const char *name)
{
	struct buf buf = BUF_INIT(KIB(4));
	bool given = query->param(query->ctx, name, &buf) && buf.len > 0;

	buf_done(&buf);
	return given;
}

static enum err_code take_filter(const struct ask_query *query, struct filter_text *text,
	struct inspect_filter *out, struct err *err)
{
	int64_t limit = INSPECT_LIMIT_MAX;
	enum err_code rc;

	take_text(query, "route", &text->route, &out->route);
	take_text(query, "reason", &text->reason, &out->reason);
	take_text(query, "entity", &text->entity, &out->entity);
	take_text(query, "source", &text->source, &out->source);
	take_text(query, "outcome", &text->outcome, &out->outcome);
	out->marked = is_asked(query, "all");
	out->verify = is_asked(query, "verify");
	rc = take_int(query, "since_ms", &out->since_ms, err);
	if (rc == ERR_OK)
		rc = take_int(query, "until_ms", &out->until_ms, err);
	if (rc == ERR_OK)
		rc = take_int(query, "ended_since_ms", &out->ended_since_ms, err);
	if (rc == ERR_OK)
		rc = take_int(query, "ended_until_ms", &out->ended_until_ms, err);
	if (rc == ERR_OK)
		rc = take_int(query, "from", &out->from, err);
	if (rc == ERR_OK)
		rc = take_int(query, "limit", &limit, err);
	if (rc == ERR_OK && (limit < 1 || limit > INSPECT_LIMIT_MAX))
		rc = err_set(err, ERR_USAGE, "limit is 1 to %d", INSPECT_LIMIT_MAX);
	out->limit = (size_t)limit;
	return rc;
}

static enum err_code answer_list(const struct inspect *in, const char *path,
	const struct inspect_filter *filter, struct buf *out, struct err *err)
{
	if (strcmp(path, "/v1/events") == 0)
		return inspect_events(in, filter, out, err);
	return inspect_entries(
		in, strcmp(path, "/v1/dlq") == 0 ? OUT_DLQ : OUT_QUARANTINE, filter, out, err);
}

static enum err_code answer_one(const struct inspect *in, const char *path, struct slice what,
	struct buf *out, struct err *err)
{
	if (strcmp(path, "/v1/events") == 0)
		return inspect_event(in, what, out, err);
	if (strcmp(path, "/v1/state") == 0)
		return inspect_state(in, what, out, err);
	return inspect_entry(
		in, strcmp(path, "/v1/dlq") == 0 ? OUT_DLQ : OUT_QUARANTINE, what, out, err);
}

enum err_code ask_answer(const struct inspect *in, const char *path, const struct ask_query *query,
	struct buf *out, struct err *err)
{
	struct filter_text text = { BUF_INIT(KIB(4)), BUF_INIT(KIB(4)), BUF_INIT(KIB(4)),
		BUF_INIT(KIB(4)), BUF_INIT(KIB(4)) };
	struct inspect_filter filter = INSPECT_FILTER_ALL;
	enum err_code rc = ERR_OK;

	if (query->rest.len || strcmp(path, "/v1/state") == 0)
		return answer_one(in, path, query->rest, out, err);
	rc = take_filter(query, &text, &filter, err);
	if (rc == ERR_OK)
		rc = answer_list(in, path, &filter, out, err);
	buf_done(&text.route);
	buf_done(&text.reason);
	buf_done(&text.entity);
	buf_done(&text.source);
	buf_done(&text.outcome);
	return rc;
}

/* ---- without a daemon --------------------------------------------------------------------------
 */

/* A path with its query, taken apart as the admin listener would. */
struct offline {
	char *path;
	struct slice query;
};

static bool offline_param(const void *ctx, const char *name, struct buf *out)
{
	const struct offline *offline = ctx;

	return text_query_param(offline->query, name, out);
}

static enum err_code open_store(const struct config *config, struct store **out, struct err *err)
{
	char *dir = file_join(config->data_dir, "main/state");
	struct store_opts opts = {
		.dir = dir,
		.read_only = true,
		.must_exist = true,
		.dedupe_ms = config->worker.dedupe_hours * 3600000,
		.ledger_max_bytes = config->worker.ledger_max_bytes,
		.clock = clock_system(),
	};
	enum err_code rc = ERR_OK;

	if (!dir)
		return err_set(err, ERR_NOMEM, "no memory");
	if (!file_exists(dir))
		rc = err_set(err, ERR_NOT_FOUND, "%s: nothing is stored yet", config->data_dir);
	if (rc == ERR_OK)
		rc = store_lmdb_open(&opts, out, err);
	free(dir);
	return rc;
}

/* "/v1/events/ID?..": the collection, what stands below it, the query. */
static enum err_code take_apart(
	struct slice whole, struct offline *out, struct buf *rest, struct err *err)
{
	struct slice path = slice_sub(whole, 0, slice_find(whole, '?'));
	size_t end = sizeof("/v1/") - 1;

	end += slice_find(slice_sub(path, end, path.len), '/');
	out->query = slice_sub(whole, path.len + 1, whole.len);
	out->path = slice_dup_str(slice_sub(path, 0, end));
	if (!out->path)
		return err_set(err, ERR_NOMEM, "no memory");
	return text_percent_decode(slice_sub(path, end + 1, path.len), false, rest, err);
}

static enum err_code ask_files(
	const struct config *config, const char *path_and_query, struct buf *out, struct err *err)
{
	struct lanes lanes = { .count = 0 };
	struct inspect in = { .config = config, .lanes = &lanes };
	struct store_view *view = NULL;
	struct buf rest = BUF_INIT(KIB(8));
	struct offline offline = { 0 };
	struct store *store = NULL;
	enum err_code rc = take_apart(slice_str(path_and_query), &offline, &rest, err);
	struct ask_query query = {
		.rest = buf_slice(&rest),
		.param = offline_param,
		.ctx = &offline,
	};

	if (rc == ERR_OK)
		rc = open_store(config, &store, err);
	if (rc == ERR_OK)
		rc = store_view_open(store, &view, err);
	if (rc == ERR_OK)
		rc = lanes_of_files(config, view, &lanes, err);
	if (rc == ERR_OK)
		rc = ask_answer(&in, offline.path, &query, out, err);
	lanes_close(&lanes);
	store_view_close(&view);
	store_close(&store);
	free(offline.path);
	buf_done(&rest);
	return rc;
}

/* ---- asking ------------------------------------------------------------------------------------
 */

static enum err_code ask(
	const struct config *config, const char *path_and_query, struct buf *out, struct err *err)
{
	struct err one = ERR_INIT;
	unsigned status = 0;
	enum err_code rc = cli_admin(
		config, HALF_WORKER, "GET", path_and_query, SLICE_EMPTY, out, &status, &one);

	if (rc == ERR_UNREACHABLE && config_on_kafka(config))
		return err_set(err, rc, "over Kafka this needs a running worker; %s", one.text);
	if (rc == ERR_UNREACHABLE) {
		buf_reset(out);
		return ask_files(config, path_and_query, out, err);
	}
	if (rc != ERR_OK)
		return err_set(err, rc, "%s", one.text);
	return status == 200 ? ERR_OK : cli_problem(buf_slice(out), status, err);
}

/* One page of a list: items (a JSON array, slice of *out) and the next cursor (-1: none). */
static enum err_code ask_page(const struct config *config, const char *path_and_query,
	struct buf *out, struct slice *items, int64_t *next, struct err *err)
{
	struct json_value list = { 0 }, cursor = { 0 };
	enum err_code rc = ask(config, path_and_query, out, err);

	if (rc == ERR_OK)
		rc = json_get(buf_slice(out), "/items", &list, err);
	if (rc == ERR_OK)
		rc = json_get(buf_slice(out), "/next", &cursor, err);
	if (rc != ERR_OK)
		return rc;
	*items = list.raw;
	*next = -1;
	if (cursor.type == JSON_INTEGER)
		return text_i64(cursor.raw, next, err);
	return ERR_OK;
}

enum err_code ask_each_page(const struct config *config, const char *base, ask_page_seen *seen,
	void *ctx, struct err *err)
{
	struct buf target = BUF_INIT(KIB(32)), answer = BUF_INIT(ANSWER_MAX);
	int64_t from = 0;
	enum err_code rc = ERR_OK;

	while (rc == ERR_OK && from >= 0) {
		struct slice items = SLICE_EMPTY;

		buf_reset(&target);
		rc = buf_putf(&target, err, "%s&from=%lld", base, (long long)from);
		if (rc == ERR_OK)
			rc = ask_page(config, buf_str(&target), &answer, &items, &from, err);
		if (rc == ERR_OK)
			rc = seen(ctx, items, err);
	}
	buf_done(&target);
	buf_done(&answer);
	return rc;
}

/* ---- printing ----------------------------------------------------------------------------------
 */

/* For people: "name: value" lines, and a blank line between objects. */
static void print_object(struct json_value object)
{
	struct json_value name, value;
	size_t at = 0;

	while (json_next_member(object, &at, &name, &value)) {
		struct buf text = BUF_INIT(ANSWER_MAX);

		if (value.type != JSON_NULL && json_text(value, &text, NULL) == ERR_OK)
			cli_outf("%-12.*s %s\n", SLICE_FMT(name.raw), buf_str(&text));
		buf_done(&text);
	}
}

static size_t print_items(const struct cli *cli, struct slice items, size_t before)
{
	struct json_value array = { .type = JSON_ARRAY, .raw = items }, item;
	size_t at = 0, count = before;

	while (json_next(array, &at, &item)) {
		if (cli->json) {
			cli_out(item.raw);
			cli_out(SLICE_LIT("\n"));
		} else {
			if (count)
				cli_out(SLICE_LIT("\n"));
			print_object(item);
		}
		count++;
	}
	return count - before;
}

static void print_answer(const struct cli *cli, struct slice answer)
{
	struct json_value items = { 0 }, whole = { 0 };

	if (json_get(answer, "/items", &items, NULL) == ERR_OK && items.type == JSON_ARRAY)
		(void)print_items(cli, items.raw, 0);
	else if (cli->json)
		cli_out(answer);
	else if (json_get(answer, "", &whole, NULL) == ERR_OK)
		print_object(whole);
}

struct document {
	const char *path, *argument;
};

static enum err_code print_document(
	struct cli *cli, struct config *config, const void *ctx, struct err *err)
{
	const struct document *document = ctx;
	struct buf target = BUF_INIT(KIB(16)), answer = BUF_INIT(ANSWER_MAX);
	enum err_code rc = buf_put_str(&target, document->path, err);

	if (rc == ERR_OK)
		rc = text_percent_encode(slice_str(document->argument), "", &target, err);
	if (rc == ERR_OK)
		rc = ask(config, buf_str(&target), &answer, err);
	if (rc == ERR_OK)
		print_answer(cli, buf_slice(&answer));
	buf_done(&target);
	buf_done(&answer);
	return rc;
}

int ask_and_print(struct cli *cli, const char *path, const char *argument)
{
	const struct document document = { path, argument };

	return cli_with_config(cli, false, print_document, &document);
}

/* ---- filters -----------------------------------------------------------------------------------
 */

/* "2h" is two hours ago. */
static enum err_code parse_when(const char *text, int64_t now_ms, int64_t *out)
{
	int64_t seconds;

	if (text_duration_s(slice_str(text), &seconds, NULL) == ERR_OK) {
		*out = now_ms - seconds * 1000;
		return ERR_OK;
	}
	return text_rfc3339(slice_str(text), out, NULL);
}

/* An empty text would select everything: in a script it is a variable that was never set. */
static int check_text(const struct cli *cli, const char *name, const char *value)
{
	if (cli_get_nth(cli, name, 1))
		return cli_usage(cli, "%s is given twice", name);
	if (!*value)
		return cli_usage(cli, "%s is empty", name);
	if (strcmp(name, "--reason") == 0 && err_by_name(value, strlen(value)) == ERR_CODES)
		return cli_usage(cli, "--reason: there is no code \"%s\"", value);
	return 0;
}

static int put_texts(const struct cli *cli, struct buf *out, struct err *err)
{
	static const char *const names[] = { "--route", "--reason", "--entity", "--source",
		"--outcome", "--limit" };
	int status = 0;

	for (size_t i = 0; status == 0 && i < ARRAY_LEN(names); i++) {
		const char *value = cli_get(cli, names[i]);

		if (!value)
			continue;
		status = check_text(cli, names[i], value);
		err_ignored(buf_putf(out, err, "&%s=", names[i] + 2));
		err_ignored(text_percent_encode(slice_str(value), "", out, err));
	}
	return status;
}

struct moment {
	const char *option, *member; /* of the command line, of the query */
};

/* Without the option *out_ms keeps what it was. */
static int put_moment(const struct cli *cli, const struct moment *moment, int64_t now_ms,
	int64_t *out_ms, struct buf *out, struct err *err)
{
	const char *value = cli_get(cli, moment->option);

	if (!value)
		return 0;
	if (cli_get_nth(cli, moment->option, 1))
		return cli_usage(cli, "%s is given twice", moment->option);
	if (parse_when(value, now_ms, out_ms) != ERR_OK)
		return cli_usage(cli, "%s: \"%s\" is neither RFC 3339 nor 15m, 2h, 7d",
			moment->option, value);
	err_ignored(buf_putf(out, err, "&%s=%lld", moment->member, (long long)*out_ms));
	return 0;
}

static int put_span(const struct cli *cli, const struct moment span[2], int64_t now_ms,
	struct buf *out, struct err *err)
{
	int64_t since = INT64_MIN, until = INT64_MAX;
	int status = put_moment(cli, &span[0], now_ms, &since, out, err);

	if (status == 0)
		status = put_moment(cli, &span[1], now_ms, &until, out, err);
	if (status == 0 && since > until)
		status = cli_usage(cli, "%s is later than %s: nothing lies between", span[0].option,
			span[1].option);
	return status;
}

int ask_filters(const struct cli *cli, const char *path, int64_t now_ms, struct buf *out)
{
	static const struct moment received[] = { { "--since", "since_ms" },
		{ "--until", "until_ms" } };
	static const struct moment ended[] = { { "--ended-since", "ended_since_ms" },
		{ "--ended-until", "ended_until_ms" } };
	struct err err = ERR_INIT;
	int status;

	err_ignored(buf_putf(out, &err, "%s?", path));
	status = put_texts(cli, out, &err);
	if (status == 0)
		status = put_span(cli, received, now_ms, out, &err);
	if (status == 0)
		status = put_span(cli, ended, now_ms, out, &err);
	if (status != 0)
		return status;
	if (cli_get(cli, "--all"))
		err_ignored(buf_put_str(out, "&all=1", &err));
	return err.code == ERR_OK ? 0 : cli_fail(&err);
}

struct listing {
	const struct cli *cli;
	size_t count; /* printed so far */
};

static enum err_code print_page(void *ctx, struct slice items, struct err *err)
{
	struct listing *listing = ctx;

	(void)err;
	listing->count += print_items(listing->cli, items, listing->count);
	return ERR_OK;
}

static enum err_code print_list(
	struct cli *cli, struct config *config, const void *base, struct err *err)
{
	struct listing listing = { .cli = cli };
	enum err_code rc = ask_each_page(config, base, print_page, &listing, err);

	if (rc == ERR_OK && listing.count == 0 && !cli->json)
		fputs("nothing\n", stderr);
	return rc;
}

int ask_list(struct cli *cli, const char *path, const char *more)
{
	struct buf base = BUF_INIT(KIB(16));
	struct err err = ERR_INIT;
	int status = ask_filters(cli, path, clock_system()->wall_ms(clock_system()), &base);

	if (status == 0 && buf_put_str(&base, more, &err) != ERR_OK)
		status = cli_fail(&err);
	if (status == 0)
		status = cli_with_config(cli, false, print_list, buf_str(&base));
	buf_done(&base);
	return status;
}
