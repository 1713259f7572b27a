/* cmd_lint.c - is the config valid, and what do its sources' signatures really cover? Offline.
 *
 * Problems go to stderr as they do for every command, the audit to stdout; --json puts both on
 * stdout, an object a line. Deliberately not here: checks that need the network or the daemon. */
#include "broker_opts.h"
#include "commands.h"
#include "lines.h"

#include "postern/clock.h"
#include "postern/handler.h"
#include "postern/ingress.h"
#include "postern/scheme.h"

#include <stdio.h>
#include <unistd.h>

struct linter {
	const struct cli *cli;
	struct config *config;
	struct config_report report;
	bool is_invalid, is_weak;
};

static void print_object(const struct config_problem *p)
{
	struct buf out = BUF_INIT(KIB(64));
	struct err err = ERR_INIT;
	struct line line = { .out = &out, .err = &err };

	line_begin(&line);
	line_str(&line, "level", p->level == PROBLEM_ERROR ? "error" : "warning");
	line_str(&line, "pointer", p->pointer);
	if (p->line > 0)
		line_int(&line, "line", p->line);
	else
		line_null(&line, "line");
	line_str(&line, "variable", p->variable);
	line_str(&line, "text", p->text);
	line_end(&line);
	cli_outf("%s\n", buf_str(&out));
	buf_done(&out);
}

static void print_problems(struct linter *l)
{
	struct config_report *report = &l->report;

	for (size_t i = 0; i < report->count; i++) {
		l->is_invalid |= report->problems[i].level == PROBLEM_ERROR;
		if (l->cli->json)
			print_object(&report->problems[i]);
	}
	if (!l->cli->json)
		cli_report(l->config ? l->config->path : l->cli->config_path, report, true);
}

static const char *weakness(const struct scheme_audit *audit)
{
	if (!audit->weak)
		return "";
	if (strcmp(audit->binds, "none") == 0)
		return "weak: the signature does not cover the body";
	if (strcmp(audit->binds, "full") != 0)
		return "weak: the signature covers only a part of the body";
	return "weak: whoever has one request can repeat it under a fresh id";
}

static void print_audit(const struct linter *l, const struct source_config *source,
	const struct scheme_audit *audit)
{
	const char *name = source->name, *topic = source->stream.topic;
	struct buf out = BUF_INIT(KIB(64));
	struct err err = ERR_INIT;
	struct line line = { .out = &out, .err = &err };

	if (l->cli->json) {
		line_begin(&line);
		line_str(&line, "source", name);
		line_str(&line, "binds", audit->binds);
		line_str(&line, "replay", audit->replay);
		line_str(&line, "id", audit->id);
		line_str(&line, "retries", audit->retries);
		line_bool(&line, "weak", audit->weak);
		line_bool(&line, "refetch", audit->refetch);
		line_bool(&line, "nonce", audit->has_nonce);
		line_bool(&line, "gap", audit->has_gap);
		if (topic)
			line_str(&line, "stream", topic);
		line_end(&line);
		cli_outf("%s\n", buf_str(&out));
	} else if (topic) {
		cli_outf("%s: reads the topic %s: binds none, its trust is that topic's ACL\n",
			name, topic);
	} else {
		cli_outf("%s: binds %s, replay %s, id %s%s%s%s%s%s\n", name, audit->binds,
			audit->replay, audit->id, audit->has_nonce ? ", nonce" : "",
			audit->has_gap ? ", numbered batches" : "",
			audit->refetch ? ", refetch: an event is a hint" : "",
			audit->weak ? "  ! " : "", weakness(audit));
	}
	buf_done(&out);
}

/* A key that no request can use now is a surprise that waits. */
static void check_keys(
	struct linter *l, const struct source_config *source, const struct scheme *scheme)
{
	int64_t now_ms = clock_system()->wall_ms(clock_system());
	size_t valid = 0;

	for (size_t i = 0; i < scheme_key_count(scheme); i++)
		valid += scheme_key_is_valid(scheme, i, now_ms);
	for (size_t i = 0; i < source->key_count; i++) {
		const struct key_ref *key = &source->keys[i];

		if (key->not_after_ms < now_ms)
			config_report_add(&l->report, PROBLEM_WARNING, key->pointer, key->line,
				"the key is past its not_after");
	}
	if (valid == 0 && scheme_key_count(scheme) > 0)
		config_report_add(&l->report, PROBLEM_WARNING, source->pointer, source->line,
			"no key is valid now: every request will be refused");
}

/* Neither a credential is written to disk, nor the query, nor who the peer was; and a request of
 * several events is not admitted in one piece. */
static void check_kept(struct linter *l, const struct source_config *source,
	const struct scheme *scheme, const struct scheme_audit *audit)
{
	if (source->quarantine_refused &&
		(strcmp(audit->binds, "none") == 0 || scheme_reads_query(scheme) ||
			scheme_reads_peer(scheme) || scheme_splits(scheme)))
		config_report_add(&l->report, PROBLEM_WARNING, source->pointer, source->line,
			"quarantine_refused: no request of this source can be verified again: what "
			"proves it (a token, the query, a certificate) is not kept, or it holds "
			"several events");
}

/* Each source's problems stand before its audit. */
static enum err_code lint_source(struct linter *l, const struct source_config *source,
	struct scheme_audit *out, struct err *err)
{
	struct scheme *scheme = NULL;
	struct err bad = ERR_INIT;
	enum err_code rc = scheme_open(source, &scheme, &l->report, &bad);

	if (rc == ERR_OK) {
		check_keys(l, source, scheme);
		scheme_audit(scheme, out);
		check_kept(l, source, scheme, out);
		/* No signature was to be had: who may write to the topic is the brokers' business.
		 */
		out->weak = out->weak && !source->stream.topic;
		l->is_weak |= out->weak;
	}
	scheme_close(&scheme);
	return rc == ERR_OK || rc == ERR_CONFIG ? rc : err_set(err, rc, "%s", bad.text);
}

static int lint_sources(struct linter *l)
{
	struct err err = ERR_INIT;

	for (size_t i = 0; i < l->config->source_count; i++) {
		const struct source_config *source = &l->config->sources[i];
		struct scheme_audit audit;
		enum err_code rc = lint_source(l, source, &audit, &err);

		print_problems(l);
		config_report_done(&l->report);
		if (rc == ERR_OK)
			print_audit(l, source, &audit);
		else if (rc != ERR_CONFIG)
			return cli_fail(&err);
	}
	return 0;
}

/* What Kafka's library says of its properties. */
static void lint_queue(struct linter *l)
{
	properties_check(l->config, &l->report);
	print_problems(l);
	config_report_done(&l->report);
}

/* What a start would refuse: certificates, keys that sign, URLs. */
static int lint_files(struct linter *l)
{
	struct err err = ERR_INIT;
	enum err_code rc = ingress_check_tls(l->config, &l->report, &err);

	for (size_t i = 0; i < l->config->route_count; i++) {
		if (rc == ERR_OK || rc == ERR_CONFIG)
			rc = handler_check(&l->config->routes[i], &l->report, &err);
	}
	print_problems(l);
	config_report_done(&l->report);
	return rc == ERR_OK || rc == ERR_CONFIG ? 0 : cli_fail(&err);
}

static int run_lint(struct cli *cli)
{
	struct linter l = { .cli = cli };
	struct err err = ERR_INIT;
	enum err_code rc = config_load(cli->config_path, environ, &l.config, &l.report, &err);
	int status = 0;

	print_problems(&l);
	config_report_done(&l.report);
	if (rc == ERR_OK) {
		lint_queue(&l);
		status = lint_files(&l);
		if (status == 0)
			status = lint_sources(&l);
	} else if (!l.is_invalid) { /* otherwise it has been said */
		status = cli_fail(&err);
	}
	if (status != 0 && rc != ERR_OK)
		status = cli_config_exit(rc);
	config_unref(&l.config);
	if (status == 0 && (l.is_invalid || (l.is_weak && cli_get(cli, "--strict"))))
		status = err_exit(ERR_CONFIG);
	return status;
}

static const struct cli_option options[] = {
	{ "--strict", NULL, "a weak source is a failure too" },
	{ 0 },
};

const struct command cmd_lint = {
	.words = "lint",
	.usage = "[--strict]",
	.summary = "check the config, and say what each source's signature covers",
	.examples = "  postern lint\n  postern -c /etc/postern/postern.json lint --strict\n",
	.options = options,
	.run = run_lint,
};
