/* ingress.c - the handle: opening, reload, readiness, what people ask, stopping.
 *
 * Deliberately not here: what happens to a request (http.c, admit.c, ack.c). */
#include "ingress_priv.h"

#include "postern/crypto.h"
#include "postern/file.h"
#include "postern/json.h"
#include "postern/log.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define GIVE_UP_MS 500 /* at the end of patience: for the last answers to get out */

/* ---- opening -----------------------------------------------------------------------------------
 */

/* Half of a large machine is for others; of a small one two loops get more than one does. */
static size_t shards_wanted(void)
{
	cpu_set_t set;
	size_t cores = 1;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		cores = (size_t)CPU_COUNT(&set);
	if (cores > 2)
		cores = (cores + 1) / 2;
	return cores < 1 ? 1 : cores > SHARDS_MAX ? SHARDS_MAX : cores;
}

static void shard_init(struct shard *shard, struct ingress *in)
{
	shard->ingress = in;
	shard->done_tail = &shard->done;
	shard->batch_tail = &shard->batch;
	shard->rates = (struct admit_rates){ .sources = in->sources, .clients = in->clients };
	shard->tools = ADMIT_TOOLS_INIT;
	shard->text = BUF_INIT(KIB(8));
	lock_init(&shard->lock);
	cond_init(&shard->woke);
}

static void shard_done(struct shard *shard)
{
	ack_forget(shard);
	intake_free_spares(shard);
	tenure_give(shard->tenure);
	admit_tools_done(&shard->tools);
	buf_done(&shard->text);
	cond_done(&shard->woke);
	lock_done(&shard->lock);
}

/* What schemes fetch is kept over a reload. */
static enum err_code give_net(struct ingress *in, struct table *table, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < table->config->source_count && rc == ERR_OK; i++) {
		struct scheme *scheme = table->sources[i].scheme;

		if (!scheme_wants_net(scheme))
			continue;
		if (!in->net)
			rc = scheme_net_open(&in->net, err);
		if (rc == ERR_OK)
			scheme_use_net(scheme, in->net);
	}
	return rc;
}

static enum err_code open_table(struct ingress *in, struct config *config, struct table **out,
	struct config_report *report, struct err *err)
{
	struct table *table = NULL;
	enum err_code rc = table_open(config, &in->stats, &table, report, err);

	if (rc == ERR_OK)
		rc = give_net(in, table, err);
	if (rc == ERR_OK)
		*out = table;
	else
		table_unref(table);
	return rc;
}

static enum err_code open_parts(
	struct ingress *in, struct config *config, struct config_report *report, struct err *err)
{
	enum err_code rc = limit_open(SIZE_MAX, &in->sources, err);

	if (rc == ERR_OK)
		rc = limit_open(LIMIT_CLIENTS_MAX, &in->clients, err);
	if (rc != ERR_OK)
		return rc;
	in->shard_count = shards_wanted();
	for (size_t i = 0; i < in->shard_count; i++)
		shard_init(&in->shards[i], in);
	in->nobody = stats_source(&in->stats, "");
	if (!in->nobody)
		return err_set(err, ERR_NOMEM, "no memory for counters");
	in->client_rate = config->ingress.client_rate;
	in->max_body = (size_t)config->ingress.max_body_bytes;
	rc = learn_open(&in->learn, config->data_dir, err);
	if (rc != ERR_OK)
		return rc;
	return open_table(in, config, &in->table, report, err);
}

enum err_code ingress_open(struct config *config, const struct clock *clock, struct ingress **out,
	struct config_report *report, struct err *err)
{
	struct ingress *in = calloc(1, sizeof(*in));
	enum err_code rc;

	if (!in)
		return err_set(err, ERR_NOMEM, "no memory for the ingress");
	in->clock = clock;
	lock_init(&in->lock);
	stats_init(&in->stats, clock);
	learn_init(&in->learn);
	rc = open_parts(in, config, report, err);
	if (rc == ERR_OK)
		rc = ingress_check_tls(config, report, err);
	if (rc != ERR_OK) {
		ingress_close(&in);
		return rc;
	}
	*out = in;
	return ERR_OK;
}

static void set_open(struct shard *shard, bool is_open)
{
	lock_take(&shard->lock);
	shard->is_open = is_open;
	while (!is_open && shard->waking > 0)
		(void)cond_wait(&shard->woke, &shard->lock, -1);
	lock_give(&shard->lock);
}

/* ---- TLS ---------------------------------------------------------------------------------------
 */

struct tls_files {
	struct buf cert, key; /* PEM; empty: plain HTTP */
	struct buf client_ca; /* empty: no client is asked for a certificate */
};

static void forget_files(struct tls_files *files)
{
	if (files->key.data)
		buf_wipe(&files->key);
	buf_done(&files->cert);
	buf_done(&files->client_ca);
	buf_done(&files->key);
}

static enum err_code read_files(const struct config *config, struct tls_files *out, struct err *err)
{
	enum err_code rc = ERR_OK;

	*out = (struct tls_files){ BUF_INIT(KIB(256)), BUF_INIT(KIB(64)), BUF_INIT(MIB(4)) };
	if (config->ingress.tls_cert)
		rc = file_read(config->ingress.tls_cert, &out->cert, err);
	if (rc == ERR_OK && config->ingress.tls_key)
		rc = file_read(config->ingress.tls_key, &out->key, err);
	if (rc == ERR_OK && config->ingress.tls_client_ca)
		rc = file_read(config->ingress.tls_client_ca, &out->client_ca, err);
	return rc;
}

enum err_code ingress_check_tls(
	const struct config *config, struct config_report *report, struct err *err)
{
	struct tls_files files;
	struct err why = ERR_INIT;
	enum err_code rc = read_files(config, &files, &why);

	if (rc == ERR_OK && files.cert.len > 0)
		rc = serve_check_tls(buf_slice(&files.cert), buf_slice(&files.key), &why);
	if (rc == ERR_OK && files.client_ca.len > 0)
		rc = serve_check_client_ca(buf_slice(&files.client_ca), &why);
	forget_files(&files);
	if (rc == ERR_OK || rc == ERR_NOMEM)
		return rc == ERR_OK ? rc : err_set(err, rc, "%s", why.text);
	config_report_add(
		report, PROBLEM_ERROR, "/ingress/tls", config->ingress.tls_line, "%s", why.text);
	return err_set(err, ERR_CONFIG, "/ingress/tls: %s", why.text);
}

/* Roots are read once, at the start: whether their file has become another is only told. Where the
 * option itself has changed that says so already. */
static enum err_code compare_roots(
	struct ingress *in, const struct config *config, const struct buf *roots, struct err *err)
{
	const char *path = config->ingress.tls_client_ca, *old_path;
	uint8_t digest[32];

	if (path && serve_check_client_ca(buf_slice(roots), err) != ERR_OK)
		return err->code;
	crypto_sha256(buf_slice(roots), digest);
	lock_take(&in->lock);
	old_path = in->table->config->ingress.tls_client_ca;
	in->client_ca_differs = path && old_path && strcmp(path, old_path) == 0 &&
				memcmp(digest, in->client_ca, sizeof(digest)) != 0;
	lock_give(&in->lock);
	return ERR_OK;
}

bool ingress_client_ca_differs(struct ingress *in)
{
	bool differs;

	lock_take(&in->lock);
	differs = in->client_ca_differs;
	lock_give(&in->lock);
	return differs;
}

/* Connections that come from now on see the certificate as its file is now. */
static enum err_code renew_files(struct ingress *in, const struct config *config, struct err *err)
{
	struct tls_files files;
	enum err_code rc;

	if (!in->is_tls || !config->ingress.tls_cert)
		return ERR_OK;
	rc = read_files(config, &files, err);
	if (rc == ERR_OK)
		rc = compare_roots(in, config, &files.client_ca, err);
	for (size_t i = 0; i < in->shard_count && rc == ERR_OK; i++) {
		if (in->shards[i].serve)
			rc = serve_set_tls(in->shards[i].serve, buf_slice(&files.cert),
				buf_slice(&files.key), err);
	}
	forget_files(&files);
	return rc;
}

/* The first shard makes the socket, the others accept from it too. */
static enum err_code start_shard(
	struct shard *shard, int listen_fd, const struct tls_files *tls, struct err *err)
{
	struct ingress *in = shard->ingress;
	const struct config *config = in->table->config;
	size_t connections = (size_t)config->ingress.max_connections;
	struct serve_opts opts = {
		.name = "ingress",
		.listen = config->ingress.listen,
		.listen_fd = listen_fd,
		.tls_cert = buf_slice(&tls->cert),
		.tls_key = buf_slice(&tls->key),
		.tls_client_ca = buf_slice(&tls->client_ca),
		.max_connections = (connections + in->shard_count - 1) / in->shard_count,
		.max_header_bytes = (size_t)config->ingress.max_header_bytes,
		.max_body_bytes = (size_t)config->ingress.max_body_bytes,
		.header_timeout_ms = config->ingress.header_timeout_s * 1000,
		.body_timeout_ms = config->ingress.body_timeout_s * 1000,
		.idle_timeout_ms = config->ingress.idle_timeout_s * 1000,
		.answer_timeout_ms = ANSWER_TIMEOUT_MS,
		.ops = &http_ops,
		.ctx = shard,
		.clock = in->clock,
	};
	enum err_code rc;

	set_open(shard, true);
	rc = serve_open(&opts, &shard->serve, err);
	if (rc != ERR_OK)
		set_open(shard, false);
	return rc;
}

enum err_code ingress_start(struct ingress *in, struct queue *queue, int listen_fd, struct err *err)
{
	struct tls_files tls;
	enum err_code rc = read_files(in->table->config, &tls, err);

	in->queue = queue;
	in->is_tls = tls.cert.len > 0;
	crypto_sha256(buf_slice(&tls.client_ca), in->client_ca);
	for (size_t i = 0; i < in->shard_count && rc == ERR_OK; i++) {
		rc = start_shard(&in->shards[i], listen_fd, &tls, err);
		if (rc == ERR_OK)
			listen_fd = serve_listen_fd(in->shards[0].serve);
	}
	if (rc == ERR_OK)
		(void)snprintf(
			in->address, sizeof(in->address), "%s", serve_address(in->shards[0].serve));
	forget_files(&tls);
	return rc;
}

const char *ingress_address(const struct ingress *in)
{
	return in->address;
}

enum err_code ingress_reload(
	struct ingress *in, struct config *config, struct config_report *report, struct err *err)
{
	struct table *table = NULL, *old;
	enum err_code rc = open_table(in, config, &table, report, err);

	if (rc == ERR_OK)
		rc = ingress_check_tls(config, report, err);
	if (rc == ERR_OK)
		rc = renew_files(in, config, err);
	if (rc != ERR_OK) {
		table_unref(table);
		return rc;
	}
	lock_take(&in->lock);
	old = in->table;
	in->table = table;
	(void)atomic_fetch_add_explicit(&in->generation, 1, memory_order_release);
	in->client_rate = config->ingress.client_rate;
	in->max_body = (size_t)config->ingress.max_body_bytes;
	lock_give(&in->lock);
	table_unref(old);
	for (size_t i = 0; i < in->shard_count; i++) {
		if (in->shards[i].serve)
			serve_set_limits(in->shards[i].serve,
				(size_t)config->ingress.max_body_bytes,
				config->ingress.header_timeout_s * 1000,
				config->ingress.body_timeout_s * 1000,
				config->ingress.idle_timeout_s * 1000);
	}
	return ERR_OK;
}

/* ---- questions ---------------------------------------------------------------------------------
 */

enum err_code ingress_ready(struct ingress *in, struct err *err)
{
	struct shard *first = &in->shards[0];
	size_t largest;
	bool is_open;

	lock_take(&first->lock);
	is_open = first->is_open;
	lock_give(&first->lock);
	lock_take(&in->lock);
	largest = in->max_body + EVENT_HEADERS_MAX + EVENT_KEY_MAX;
	lock_give(&in->lock);
	if (!is_open)
		return err_set(err, ERR_STOPPED, "webhooks are not taken at the moment");
	return queue_room(in->queue, STREAM_EVENTS, largest, err);
}

size_t ingress_connections(struct ingress *in)
{
	size_t count = 0;

	for (size_t i = 0; i < in->shard_count; i++) {
		lock_take(&in->shards[i].lock);
		count += in->shards[i].connections;
		lock_give(&in->shards[i].lock);
	}
	return count;
}

struct table *ingress_table(struct ingress *in)
{
	struct table *table;

	lock_take(&in->lock);
	table = table_ref(in->table);
	lock_give(&in->lock);
	return table;
}

enum err_code ingress_status(struct ingress *in, struct buf *out, struct err *err)
{
	struct table *table = ingress_table(in);
	enum err_code rc = json_put_name(out, "sources", err);
	if (rc == ERR_OK)
		rc = buf_put_str(out, "{", err);
	for (size_t i = 0; i < table->config->source_count && rc == ERR_OK; i++)
		rc = stats_put(&in->stats, table->sources[i].stats, out, err);
	if (rc == ERR_OK)
		rc = stats_put(&in->stats, in->nobody, out, err);
	if (rc == ERR_OK)
		rc = buf_put_str(out, "}", err);
	if (rc == ERR_OK)
		rc = json_put_int(out, "connections", (int64_t)ingress_connections(in), err);
	table_unref(table);
	return rc;
}

/* ---- keys that are told ------------------------------------------------------------------------
 */

enum err_code ingress_learn(
	struct ingress *in, struct slice source, int64_t for_ms, struct err *err)
{
	struct table *table = ingress_table(in);
	const struct source *row = table_source(table, source);
	enum err_code rc;

	if (for_ms > LEARN_WINDOW_MAX_MS)
		rc = err_set(err, ERR_USAGE, "a key is waited for at most an hour");
	else if (!row)
		rc = err_set(err, ERR_NOT_FOUND, "no source \"%.*s\"", SLICE_FMT(source));
	else if (!scheme_learns(row->scheme))
		rc = err_set(err, ERR_USAGE, "the sender of \"%s\" does not tell its key",
			row->config->name);
	else
		rc = learn_window(
			&in->learn, row->config->name, in->clock->mono_ms(in->clock) + for_ms, err);
	if (row && rc == ERR_OK)
		log_info("key_awaited", log_str("source", row->config->name),
			log_int("seconds", for_ms / 1000));
	table_unref(table);
	return rc;
}

enum err_code ingress_learnt(struct ingress *in, struct slice source, struct slice fingerprint,
	bool confirm, struct err *err)
{
	struct table *table = ingress_table(in);
	const struct source *row = table_source(table, source);
	enum err_code rc;

	if (!row)
		rc = err_set(err, ERR_NOT_FOUND, "no source \"%.*s\"", SLICE_FMT(source));
	else if (confirm)
		rc = learn_confirm(&in->learn, row->config->name, fingerprint, err);
	else
		rc = learn_drop(&in->learn, row->config->name, fingerprint, err);
	if (rc == ERR_OK)
		log_warn(confirm ? "key_confirmed" : "key_dropped",
			log_str("source", row->config->name), log_text("fingerprint", fingerprint));
	table_unref(table);
	return rc;
}

/* Of the loop that stands still longest. */
int64_t ingress_last_turn_ms(struct ingress *in)
{
	int64_t oldest = INT64_MAX;

	for (size_t i = 0; i < in->shard_count; i++) {
		struct shard *shard = &in->shards[i];

		lock_take(&shard->lock);
		if (shard->turn_ms < oldest)
			oldest = shard->turn_ms;
		lock_give(&shard->lock);
	}
	return oldest;
}

/* ---- stopping ----------------------------------------------------------------------------------
 */

/* The senders of what is out are told that it is not known, rather than nothing. */
static void give_up(struct shard *shard)
{
	const struct clock *clock = shard->ingress->clock;

	log_warn("stopping_late", log_int("in_flight", (int64_t)serve_in_flight(shard->serve)));
	lock_take(&shard->lock);
	shard->gives_up = true;
	lock_give(&shard->lock);
	serve_wake(shard->serve);
	(void)serve_drain(shard->serve, clock->mono_ms(clock) + GIVE_UP_MS);
}

/* The first owns the socket, so it goes last. */
static void end_loops(struct ingress *in)
{
	for (size_t i = in->shard_count; i > 0; i--) {
		set_open(&in->shards[i - 1], false);
		serve_close(&in->shards[i - 1].serve);
	}
}

void ingress_stop(struct ingress *in, int64_t deadline_ms)
{
	for (size_t i = in->shard_count; i > 0; i--) {
		if (in->shards[i - 1].serve)
			serve_quiesce(in->shards[i - 1].serve);
	}
	for (size_t i = 0; i < in->shard_count; i++) {
		struct shard *shard = &in->shards[i];

		if (shard->serve && !serve_drain(shard->serve, deadline_ms))
			give_up(shard);
	}
	end_loops(in);
}

void ingress_close(struct ingress **ingress)
{
	struct ingress *in = *ingress;

	if (!in)
		return;
	*ingress = NULL;
	end_loops(in);
	for (size_t i = 0; i < in->shard_count; i++)
		shard_done(&in->shards[i]);
	table_unref(in->table);
	scheme_net_close(&in->net);
	limit_close(&in->sources);
	limit_close(&in->clients);
	stats_done(&in->stats);
	learn_done(&in->learn);
	lock_done(&in->lock);
	free(in);
}
