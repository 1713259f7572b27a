/* routes.c - the routes of one config at work: handler, breaker, places, series.
 *
 * A reload builds a new table and swaps it in. Works that wait move over to it; works in a call
 * keep the old table alive until they are back. Deliberately not here: which route fits (config
 * room), and what a breaker is (handler room). */
#include "worker_priv.h"

#include <assert.h>
#include <stdlib.h>

static const enum outcome ends[] = { OUTCOME_APPLIED, OUTCOME_DUPLICATE, OUTCOME_STALE,
	OUTCOME_DEAD, OUTCOME_QUARANTINED };
static const enum err_code retry_reasons[] = { ERR_HANDLER_FAILED, ERR_HANDLER_TIMEOUT,
	ERR_HANDLER_UNREACHABLE };
static const enum err_code dead_reasons[] = { ERR_HANDLER_REFUSED, ERR_ATTEMPTS_EXHAUSTED,
	ERR_AGE_EXHAUSTED, ERR_CRASH_LOOP, ERR_VERSION_GAP };

/* Every series exists at 0 from the start. */
static void open_series(struct route *r)
{
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		r->outcomes[ends[i]] = metric_series(METRIC_EVENTS, r->name, outcome_name(ends[i]));
	r->age = metric_series(METRIC_EVENT_AGE, r->name, NULL);
	for (size_t i = 0; i < ARRAY_LEN(dead_reasons); i++)
		(void)metric_series(METRIC_DEAD_LETTERS, r->name, err_name(dead_reasons[i]));
	/* Of every route, whatever its handler: a sum over routes is never without data. */
	for (size_t i = 0; i < ARRAY_LEN(retry_reasons); i++)
		(void)metric_series(METRIC_RETRIES, r->name, err_name(retry_reasons[i]));
	if (r->handler)
		r->breaker_open = metric_series(METRIC_BREAKER_OPEN, r->name, NULL);
}

static enum err_code open_route(struct worker *w, struct route *r,
	const struct route_config *config, struct config_report *report, struct err *err)
{
	const struct handler_opts opts = {
		.route = config, .fetch = w->hosts->fetch, .exec = w->hosts->exec, .report = report
	};
	enum err_code rc;

	r->config = config;
	r->name = config->name;
	rc = handler_open(&opts, &r->handler, err);
	if (rc != ERR_OK)
		return rc;
	if (handler_is_none(r->handler))
		handler_close(&r->handler);
	else
		breaker_init(&r->breaker, config, w->clock->mono_ms(w->clock));
	return ERR_OK;
}

enum err_code worker_table_open(struct worker *w, struct config *config, struct table **out,
	struct config_report *report, struct err *err)
{
	const size_t count = config->route_count + 1;
	struct table *t = calloc(1, sizeof(*t) + count * sizeof(t->routes[0]));
	enum err_code rc = ERR_OK;

	if (!t)
		return err_set(err, ERR_NOMEM, "no memory for %zu routes", count);
	t->config = config_ref(config);
	t->count = count;
	for (size_t i = 0; i < count; i++) {
		t->routes[i].table = t;
		t->routes[i].name = "";
		TAILQ_INIT(&t->routes[i].waiting);
		for (size_t line = 0; line < LINES; line++)
			TAILQ_INIT(&t->routes[i].ready[line]);
	}
	/* All of them, so that the report names every problem at once. */
	for (size_t i = 0; i < config->route_count; i++) {
		enum err_code one = open_route(w, &t->routes[i], &config->routes[i], report, err);

		if (rc == ERR_OK)
			rc = one;
	}
	if (rc != ERR_OK) {
		worker_table_close(&t);
		return rc;
	}
	for (size_t i = 0; i < count; i++)
		open_series(&t->routes[i]);
	for (size_t i = 0; i < config->source_count; i++)
		(void)metric_series(METRIC_ID_REUSED, config->sources[i].name, NULL);
	(void)metric_series(METRIC_ID_REUSED, "", NULL);
	*out = t;
	return ERR_OK;
}

/* Everybody who folds the journal has to know what a number means. */
static enum err_code journal_route(struct worker *w, struct route *r, struct err *err)
{
	struct item item = { .type = ITEM_ROUTE, .route = { .name = slice_str(r->name) } };

	if (store_route_find(w->store, r->name, &r->number) == ERR_OK)
		return ERR_OK;
	/* The first number is that of no name. */
	if (r->number == 0)
		return err_set(err, ERR_LIMIT, "too many names of routes");
	item.route.number = r->number;
	worker_batch_split(w);
	worker_batch_add(w, &item);
	return worker_failed(w, err);
}

enum err_code worker_table_bind(struct worker *w, struct table *t, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (size_t i = 0; rc == ERR_OK && i < t->count; i++)
		rc = w->journaled
			     ? journal_route(w, &t->routes[i], err)
			     : store_route(w->store, t->routes[i].name, &t->routes[i].number, err);
	for (size_t i = 0; rc == ERR_OK && i < t->count; i++) {
		struct route *r = &t->routes[i];

		if (r->handler && handler_yields(r->handler))
			r->line = worker_topic_line(w, slice_str(r->config->handler.topic));
		rc = worker_failed(w, err);
	}
	return rc;
}

void worker_table_close(struct table **table)
{
	struct table *t = *table;

	*table = NULL;
	if (!t)
		return;
	for (size_t i = 0; i < t->count; i++)
		handler_close(&t->routes[i].handler);
	config_unref(&t->config);
	free(t);
}

struct route *worker_table_match(struct table *t, const struct event *event)
{
	size_t index = t->count - 1;

	(void)config_route(t->config, event->source, event->type, event->tenant, &index);
	return &t->routes[index < t->count ? index : t->count - 1];
}

struct route *worker_table_number(struct table *t, uint16_t number)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->routes[i].number == number)
			return &t->routes[i];
	}
	return NULL;
}

void worker_table_unref(struct worker *w, struct table *t)
{
	if (!t->retired || t->calls > 0)
		return;
	STAILQ_REMOVE(&w->retired, t, table, link);
	worker_table_close(&t);
}

/* The destination is the same: what was learned about it stays true. Probes still on their way
 * report to the old breaker, so the new one starts its own. */
static void keep_breaker(struct route *fresh, const struct route *old)
{
	const struct breaker settings = fresh->breaker;

	if (!fresh->handler || !old->handler)
		return;
	fresh->breaker = old->breaker;
	fresh->breaker.failures = settings.failures;
	fresh->breaker.window_ms = settings.window_ms;
	fresh->breaker.open_ms = settings.open_ms;
	fresh->breaker.open_cap_ms = settings.open_cap_ms;
	fresh->breaker.ratio = settings.ratio;
	fresh->breaker.probes = 0;
}

/* Parked events keep their route while it exists; fresh ones go where they would go now. */
static void move_works(struct worker *w, struct route *old)
{
	struct subject *s;
	struct work *work;

	while ((work = TAILQ_FIRST(&old->waiting))) {
		TAILQ_REMOVE(&old->waiting, work, line);
		s = work->subject;
		work->state = WORK_FRESH;
		work->route = work->parked ? worker_table_number(w->table, old->number) : NULL;
		if (!work->route)
			work->route = worker_table_match(w->table, &work->event);
		worker_work_turn(w, work);
		worker_subject_advance(w, s);
	}
	for (size_t line = 0; line < LINES; line++) {
		while ((s = TAILQ_FIRST(&old->ready[line])))
			worker_subject_due(w, s, w->mono_ms);
	}
}

void worker_table_swap(struct worker *w, struct table *fresh)
{
	struct table *old = w->table;
	struct subject *s, *tmp;

	w->table = fresh;
	for (size_t i = 0; i < old->count; i++) {
		struct route *same = worker_table_number(fresh, old->routes[i].number);

		if (same)
			keep_breaker(same, &old->routes[i]);
		move_works(w, &old->routes[i]);
	}
	/* A rule may have changed: what waits for a gap is looked at again. */
	HASH_ITER (hh, w->subjects, s, tmp) {
		for (struct work *work = TAILQ_FIRST(&s->fresh); work;
			work = TAILQ_NEXT(work, line))
			work->route = worker_table_match(fresh, &work->event);
		if (s->gaps > 0 && !s->busy && !s->ready)
			worker_subject_due(w, s, w->mono_ms);
	}
	old->retired = true;
	STAILQ_INSERT_TAIL(&w->retired, old, link);
	worker_table_unref(w, old);
}

void worker_route_show_breaker(struct route *r)
{
	if (r->breaker_open)
		metric_set(r->breaker_open, r->breaker.state == BREAKER_OPEN);
}
