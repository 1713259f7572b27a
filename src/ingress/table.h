/* table.h - the sources of one config, compiled. Immutable and counted: a reload builds another
 * one, and the old one goes with its last request. */
#pragma once

#include "postern/config.h"
#include "postern/scheme.h"
#include "stats.h"

struct source {
	const struct source_config *config;
	struct scheme *scheme;
	struct source_stats *stats;
	struct key_stats *keys[SCHEME_KEYS_MAX];
};
struct table {
	atomic_uint refs; /* acq_rel on release, so that the last one sees all writes */
	struct config *config;
	struct source *sources; /* as many as the config has, in its order */
};
/* Compiles every source, so that all problems come in one report. */
MUST_CHECK enum err_code table_open(struct config *config, struct stats *stats, struct table **out,
	struct config_report *report, struct err *err);
struct table *table_ref(struct table *table);
void table_unref(struct table *table);                                     /* NULL is fine */
struct source *table_source(const struct table *table, struct slice name); /* or NULL */
