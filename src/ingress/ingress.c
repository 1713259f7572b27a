/* ingress.c - the handle: opening, reload, readiness, what people ask, stopping.
 *
 * Deliberately not here: what happens to a request (http.c, admit.c, ack.c). */
#include "ingress_priv.h"

#include "postern/json.h"
#include "postern/log.h"
#include "postern/text.h"

#include <stdio.h>
#include <stdlib.h>

#define GIVE_UP_MS 500 /* at the end of patience: for the last answers to get out */

/* ---- opening -----------------------------------------------------------------------------------
 */

static enum err_code open_parts(
	struct ingress *in, struct config *config, struct config_report *report, struct err *err)
{
	enum err_code rc = limit_open(SIZE_MAX, &in->rates.sources, err);

	if (rc == ERR_OK)
		rc = limit_open(LIMIT_CLIENTS_MAX, &in->rates.clients, err);
	if (rc != ERR_OK)
		return rc;
	in->nobody = stats_source(&in->stats, "");
	if (!in->nobody)
		return err_set(err, ERR_NOMEM, "no memory for counters");
	in->client_rate = config->ingress.client_rate;
	in->max_body = (size_t)config->ingress.max_body_bytes;
	return table_open(config, &in->stats, &in->table, report, err);
}

enum err_code ingress_open(struct config *config, const struct clock *clock, struct ingress **out,
	struct config_report *report, struct err *err)
{
	struct ingress *in = calloc(1, sizeof(*in));
	enum err_code rc;

	if (!in)
		return err_set(err, ERR_NOMEM, "no memory for the ingress");
	in->clock = clock;
	in->done_tail = &in->done;
	in->batch_tail = &in->batch;
	in->tools = ADMIT_TOOLS_INIT;
	in->text = BUF_INIT(KIB(8));
	lock_init(&in->lock);
	cond_init(&in->woke);
	stats_init(&in->stats);
	rc = open_parts(in, config, report, err);
	if (rc != ERR_OK) {
		ingress_close(&in);
		return rc;
	}
	*out = in;
	return ERR_OK;
}

static void set_open(struct ingress *in, bool is_open)
{
	lock_take(&in->lock);
	in->is_open = is_open;
	while (!is_open && in->waking > 0)
		(void)cond_wait(&in->woke, &in->lock, -1);
	lock_give(&in->lock);
}

enum err_code ingress_start(struct ingress *in, struct queue *queue, int listen_fd, struct err *err)
{
	const struct config *config = in->table->config;
	struct serve_opts opts = {
		.name = "ingress",
		.listen = config->ingress.listen,
		.listen_fd = listen_fd,
		.max_connections = (size_t)config->ingress.max_connections,
		.max_header_bytes = (size_t)config->ingress.max_header_bytes,
		.max_body_bytes = (size_t)config->ingress.max_body_bytes,
		.header_timeout_ms = config->ingress.header_timeout_s * 1000,
		.body_timeout_ms = config->ingress.body_timeout_s * 1000,
		.idle_timeout_ms = config->ingress.idle_timeout_s * 1000,
		.answer_timeout_ms = ANSWER_TIMEOUT_MS,
		.ops = &http_ops,
		.ctx = in,
		.clock = in->clock,
	};
	enum err_code rc;

	in->queue = queue;
	set_open(in, true);
	rc = serve_open(&opts, &in->serve, err);
	if (rc == ERR_OK)
		(void)snprintf(in->address, sizeof(in->address), "%s", serve_address(in->serve));
	else
		set_open(in, false);
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
	enum err_code rc = table_open(config, &in->stats, &table, report, err);

	if (rc != ERR_OK)
		return rc;
	lock_take(&in->lock);
	old = in->table;
	in->table = table;
	in->client_rate = config->ingress.client_rate;
	in->max_body = (size_t)config->ingress.max_body_bytes;
	lock_give(&in->lock);
	table_unref(old);
	if (in->serve)
		serve_set_limits(in->serve, (size_t)config->ingress.max_body_bytes,
			config->ingress.header_timeout_s * 1000,
			config->ingress.body_timeout_s * 1000,
			config->ingress.idle_timeout_s * 1000);
	return ERR_OK;
}

/* ---- questions ---------------------------------------------------------------------------------
 */

enum err_code ingress_ready(struct ingress *in, struct err *err)
{
	size_t largest;
	bool is_open;

	lock_take(&in->lock);
	is_open = in->is_open;
	largest = in->max_body + EVENT_HEADERS_MAX + EVENT_KEY_MAX;
	lock_give(&in->lock);
	if (!is_open)
		return err_set(err, ERR_STOPPED, "webhooks are not taken at the moment");
	return queue_room(in->queue, STREAM_EVENTS, largest, err);
}

static struct table *table_now(struct ingress *in)
{
	struct table *table;

	lock_take(&in->lock);
	table = table_ref(in->table);
	lock_give(&in->lock);
	return table;
}

enum err_code ingress_status(struct ingress *in, struct buf *out, struct err *err)
{
	struct table *table = table_now(in);
	enum err_code rc = json_put_name(out, "sources", err);
	size_t connections;

	lock_take(&in->lock);
	connections = in->connections;
	lock_give(&in->lock);
	if (rc == ERR_OK)
		rc = buf_put_str(out, "{", err);
	for (size_t i = 0; i < table->config->source_count && rc == ERR_OK; i++)
		rc = stats_put(&in->stats, table->sources[i].stats, out, err);
	if (rc == ERR_OK)
		rc = stats_put(&in->stats, in->nobody, out, err);
	if (rc == ERR_OK)
		rc = buf_put_str(out, "}", err);
	if (rc == ERR_OK)
		rc = json_put_int(out, "connections", (int64_t)connections, err);
	table_unref(table);
	return rc;
}

static enum err_code put_last_match(struct buf *out, int64_t last_ms, struct err *err)
{
	char text[TEXT_TIME_LEN];

	if (last_ms == 0)
		return json_put_raw(out, "last_match", SLICE_LIT("null"), err);
	text_time_ms(last_ms, text);
	return json_put_str(out, "last_match", slice_str(text), err);
}

static enum err_code put_key(struct ingress *in, const struct source *source, size_t key,
	struct buf *out, struct err *err)
{
	const struct scheme *scheme = source->scheme;
	const struct key_stats *stats = source->keys[key];
	int64_t now_ms = in->clock->wall_ms(in->clock);
	enum err_code rc = buf_put_str(out, "{", err);

	if (rc == ERR_OK)
		rc = json_put_str(out, "source", slice_str(source->config->name), err);
	if (rc == ERR_OK)
		rc = json_put_str(out, "role", slice_str(scheme_key_role(scheme, key)), err);
	if (rc == ERR_OK)
		rc = json_put_str(out, "kid", slice_str(scheme_key_kid(scheme, key)), err);
	if (rc == ERR_OK)
		rc = json_put_str(
			out, "fingerprint", slice_str(scheme_key_fingerprint(scheme, key)), err);
	if (rc == ERR_OK)
		rc = json_put_bool(out, "valid", scheme_key_is_valid(scheme, key, now_ms), err);
	if (rc == ERR_OK)
		rc = json_put_int(out, "matches",
			atomic_load_explicit(&stats->matches, memory_order_relaxed), err);
	if (rc == ERR_OK)
		rc = put_last_match(
			out, atomic_load_explicit(&stats->last_ms, memory_order_relaxed), err);
	if (rc == ERR_OK)
		rc = buf_put_str(out, "}\n", err);
	return rc;
}

enum err_code ingress_keys(struct ingress *in, struct buf *out, struct err *err)
{
	struct table *table = table_now(in);
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < table->config->source_count && rc == ERR_OK; i++) {
		const struct source *source = &table->sources[i];

		for (size_t k = 0; k < scheme_key_count(source->scheme) && rc == ERR_OK; k++)
			rc = put_key(in, source, k, out, err);
	}
	table_unref(table);
	return rc;
}

int64_t ingress_last_turn_ms(struct ingress *in)
{
	int64_t turn_ms;

	lock_take(&in->lock);
	turn_ms = in->turn_ms;
	lock_give(&in->lock);
	return turn_ms;
}

/* ---- stopping ----------------------------------------------------------------------------------
 */

/* The senders of what is out are told that it is not known, rather than nothing. */
static void give_up(struct ingress *in)
{
	log_warn("stopping_late", log_int("in_flight", (int64_t)serve_in_flight(in->serve)));
	lock_take(&in->lock);
	in->gives_up = true;
	lock_give(&in->lock);
	serve_wake(in->serve);
	(void)serve_drain(in->serve, in->clock->mono_ms(in->clock) + GIVE_UP_MS);
}

static void end_loop(struct ingress *in)
{
	set_open(in, false);
	serve_close(&in->serve);
}

void ingress_stop(struct ingress *in, int64_t deadline_ms)
{
	if (!in->serve)
		return;
	serve_quiesce(in->serve);
	if (!serve_drain(in->serve, deadline_ms))
		give_up(in);
	end_loop(in);
}

void ingress_close(struct ingress **ingress)
{
	struct ingress *in = *ingress;

	if (!in)
		return;
	*ingress = NULL;
	end_loop(in);
	ack_forget(in);
	intake_free_spares(in);
	table_unref(in->table);
	limit_close(&in->rates.sources);
	limit_close(&in->rates.clients);
	admit_tools_done(&in->tools);
	buf_done(&in->text);
	stats_done(&in->stats);
	cond_done(&in->woke);
	lock_done(&in->lock);
	free(in);
}
