/* handler.c - the front of the handlers: picks the backend of a route, and checks what all share.
 */
#include "handler_priv.h"

#include "postern/text.h"

#include <assert.h>
#include <stdlib.h>

enum err_code handler_open(const struct handler_opts *opts, struct handler **out, struct err *err)
{
	static const struct handler_ops *const backends[] = {
		[HANDLER_NONE] = &handler_none,
		[HANDLER_HTTP] = &handler_http,
		[HANDLER_EXEC] = &handler_exec,
		[HANDLER_TOPIC] = &handler_topic,
	};
	enum handler_type type = opts->route->handler.type;

	assert((size_t)type < ARRAY_LEN(backends));
	return backends[type]->open(opts, out, err);
}

enum err_code handler_check(
	const struct route_config *route, struct config_report *report, struct err *err)
{
	struct crypto_mac *mac = NULL;
	enum err_code rc;

	if (route->handler.type != HANDLER_HTTP)
		return ERR_OK;
	rc = handler_http_check(route, report, &mac, err);
	crypto_mac_close(&mac);
	return rc;
}

enum err_code handler_start(struct handler *handler, struct handler_call *call, struct err *err)
{
	assert(call->event && call->done && call->attempt > 0);
	handler_begin(call);
	return handler->ops->start(handler, call, err);
}

void handler_close(struct handler **handler)
{
	if (*handler)
		(*handler)->ops->close(*handler);
	*handler = NULL;
}

bool handler_is_none(const struct handler *handler)
{
	return handler->ops == &handler_none;
}

bool handler_yields(const struct handler *handler)
{
	return handler->ops == &handler_topic;
}

void handler_begin(struct handler_call *call)
{
	call->verdict = HANDLER_RETRY;
	call->code = ERR_HANDLER_FAILED;
	call->status = 0;
	call->retry_after_ms = -1;
	call->took_ms = 0;
	call->topic = SLICE_EMPTY;
	call->error[0] = '\0';
}

enum err_code handler_idempotency_key(const struct event *event, struct buf *out, struct err *err)
{
	enum err_code rc = text_percent_encode(event->tenant, "", out, err);

	if (rc == ERR_OK)
		rc = buf_put_u8(out, '/', err);
	if (rc == ERR_OK)
		rc = text_percent_encode(event->source, "", out, err);
	if (rc == ERR_OK)
		rc = buf_put_u8(out, '/', err);
	return rc == ERR_OK ? text_percent_encode(event->id, "", out, err) : rc;
}

static enum err_code none_open(
	const struct handler_opts *opts, struct handler **out, struct err *err)
{
	struct handler *handler = calloc(1, sizeof(*handler));

	(void)opts;
	if (!handler)
		return err_set(err, ERR_NOMEM, "no memory for a handler");
	handler->ops = &handler_none;
	*out = handler;
	return ERR_OK;
}

static enum err_code none_start(struct handler *handler, struct handler_call *call, struct err *err)
{
	(void)handler;
	(void)err;
	call->verdict = HANDLER_DONE;
	call->code = ERR_OK;
	call->done(call);
	return ERR_OK;
}

static void none_close(struct handler *handler)
{
	free(handler);
}

const struct handler_ops handler_none = {
	.name = "none",
	.open = none_open,
	.start = none_start,
	.close = none_close,
};
