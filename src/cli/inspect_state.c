/* inspect_state.c - the state of an entity: the version that was applied last, and by which event.
 *
 * Deliberately not here: the event itself (inspect.c), and which version wins (worker). */
#include "inspect_priv.h"

static enum err_code put_state(
	const struct inspect *in, size_t lane, const struct event *event, struct line *line)
{
	struct store_view *view = in->lanes->list[lane].view;
	struct buf subject = BUF_INIT(KIB(4)), text = BUF_INIT(KIB(16));
	struct item_version item = { 0 };
	struct err one = ERR_INIT;
	char version[VERSION_TEXT_MAX];
	enum err_code rc = event_subject(event, &subject, &one);

	if (rc == ERR_OK)
		rc = store_view_version(view, buf_slice(&subject), &item, &text, &one);
	if (rc == ERR_OK) {
		version_text(item.version, version);
		line_begin(line);
		line_text(line, "entity", event->entity);
		line_text(line, "tenant", event->tenant);
		line_str(line, "version", version);
		line_text(line, "event_id", item.event_id);
		line_text(line, "source", item.source);
		line_str(line, "route", store_view_route_name(view, item.route));
		line_time(line, "applied", item.time_ms);
		inspect_put_place(in, lane, line, item.offset);
		line_end(line);
	}
	buf_done(&subject);
	buf_done(&text);
	if (rc == ERR_OK || rc == ERR_NOT_FOUND)
		return ERR_OK;
	return err_set(line->err, rc, "%s", one.text);
}

/* An entity is in one lane, unless its sender's ids are unsigned: then in those of its copies. */
static enum err_code put_states(
	const struct inspect *in, const char *tenant, struct slice entity, struct line *line)
{
	const struct event event = { .tenant = slice_str(tenant), .entity = entity };
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < in->lanes->count && rc == ERR_OK; i++)
		rc = put_state(in, i, &event, line);
	return rc;
}

static bool seen_tenant(const struct config *config, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (strcmp(config->sources[i].tenant, config->sources[index].tenant) == 0)
			return true;
	return false;
}

/* "a/b" is entity b of tenant a where there is such a tenant, and entity "a/b" of any. */
enum err_code inspect_state(
	const struct inspect *in, struct slice what, struct buf *out, struct err *err)
{
	struct line line = { .out = out, .err = err };
	size_t slash = slice_find(what, '/');
	struct slice head = slice_sub(what, 0, slash), tail = slice_sub(what, slash + 1, what.len);
	enum err_code rc = items_begin(out, err);
	size_t start = out->len;

	for (size_t i = 0; rc == ERR_OK && i < in->config->source_count; i++) {
		const char *tenant = in->config->sources[i].tenant;

		if (seen_tenant(in->config, i))
			continue;
		if (slash < what.len && slice_eq_str(head, tenant))
			rc = put_states(in, tenant, tail, &line);
		if (rc == ERR_OK)
			rc = put_states(in, tenant, what, &line);
	}
	if (rc == ERR_OK && out->len == start)
		rc = err_set(err, ERR_NOT_FOUND, "no state of \"%.*s\"", SLICE_FMT(what));
	return rc == ERR_OK ? items_end(&line, NULL) : rc;
}
