/* table.c - compiling the sources of a config.
 *
 * Deliberately not here: which table is in force (ingress.c). */
#include "table.h"

#include <assert.h>
#include <stdlib.h>

static void free_table(struct table *table)
{
	for (size_t i = 0; table->sources && i < table->config->source_count; i++)
		scheme_close(&table->sources[i].scheme);
	free(table->sources);
	config_unref(&table->config);
	free(table);
}

static enum err_code count_keys(struct stats *stats, struct source *source, struct err *err)
{
	size_t keys = scheme_key_count(source->scheme);

	assert(keys <= SCHEME_KEYS_MAX);
	source->stats = stats_source(stats, source->config->name);
	if (!source->stats)
		return err_set(err, ERR_NOMEM, "no memory for the counters of a source");
	for (size_t i = 0; i < keys; i++) {
		source->keys[i] =
			stats_key(stats, source->stats, scheme_key_fingerprint(source->scheme, i));
		if (!source->keys[i])
			return err_set(err, ERR_NOMEM, "no memory for the counters of a key");
	}
	return ERR_OK;
}

static enum err_code compile_all(
	struct table *table, struct stats *stats, struct config_report *report, struct err *err)
{
	enum err_code rc = ERR_OK;

	for (size_t i = 0; i < table->config->source_count; i++) {
		struct source *source = &table->sources[i];
		enum err_code one;

		source->config = &table->config->sources[i];
		one = scheme_open(source->config, &source->scheme, report, err);
		if (one != ERR_OK && one != ERR_CONFIG)
			return one;
		if (one != ERR_OK)
			rc = one;
	}
	/* Counters last: a config that is refused leaves no names behind. */
	for (size_t i = 0; i < table->config->source_count && rc == ERR_OK; i++)
		rc = count_keys(stats, &table->sources[i], err);
	return rc;
}

enum err_code table_open(struct config *config, struct stats *stats, struct table **out,
	struct config_report *report, struct err *err)
{
	struct table *table = calloc(1, sizeof(*table));
	enum err_code rc = ERR_NOMEM;

	if (table) {
		atomic_init(&table->refs, 1);
		table->config = config_ref(config);
		table->sources = calloc(config->source_count + 1, sizeof(*table->sources));
	}
	if (!table || !table->sources)
		(void)err_set(err, ERR_NOMEM, "no memory for sources");
	else
		rc = compile_all(table, stats, report, err);
	if (rc == ERR_OK)
		*out = table;
	else if (table)
		free_table(table);
	return rc;
}

struct table *table_ref(struct table *table)
{
	(void)atomic_fetch_add_explicit(&table->refs, 1, memory_order_relaxed);
	return table;
}

void table_unref(struct table *table)
{
	if (table && atomic_fetch_sub_explicit(&table->refs, 1, memory_order_acq_rel) == 1)
		free_table(table);
}

struct source *table_source(const struct table *table, struct slice name)
{
	const struct source_config *config = config_source(table->config, name);

	/* What comes by a topic does not come by HTTP. */
	if (!config || config->stream.topic)
		return NULL;
	return &table->sources[config - table->config->sources];
}
