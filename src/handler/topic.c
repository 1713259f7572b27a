/* topic.c - the handler that calls nobody: it says which topic the event is published to.
 *
 * Publishing follows the commit of the outcome, and a crash repeats it; the event's own headers go
 * along, so that its id is the same each time. Deliberately not here: publishing (worker). */
#include "handler_priv.h"

#include <stdlib.h>

struct topic {
	struct handler base;
	struct slice name; /* the route's */
};

static enum err_code topic_open(
	const struct handler_opts *opts, struct handler **out, struct err *err)
{
	struct topic *topic = calloc(1, sizeof(*topic));

	if (!topic)
		return err_set(err, ERR_NOMEM, "no memory for a handler");
	topic->base.ops = &handler_topic;
	topic->name = slice_str(opts->route->handler.topic);
	*out = &topic->base;
	return ERR_OK;
}

static enum err_code topic_start(
	struct handler *handler, struct handler_call *call, struct err *err)
{
	(void)err;
	call->verdict = HANDLER_DONE;
	call->code = ERR_OK;
	call->topic = container_of(handler, struct topic, base)->name;
	call->done(call);
	return ERR_OK;
}

static void topic_close(struct handler *handler)
{
	free(container_of(handler, struct topic, base));
}

const struct handler_ops handler_topic = {
	.name = "topic",
	.open = topic_open,
	.start = topic_start,
	.close = topic_close,
};
