/* broker_opts.h - from a config to what the Kafka handle takes, and what a data_dir remembers of
 * the topic that it belongs to. Private to this room. */
#pragma once

#include "postern/config.h"
#include "postern/kafka.h"

/* Properties with their secrets read. */
struct properties {
	struct kafka_property *list;
	size_t count;
	char **secrets; /* ours among the values */
	size_t secret_count;
};
/* ERR_CONFIG names the property, never a value. */
MUST_CHECK enum err_code properties_open(
	const struct config *config, struct properties *out, struct err *err);
/* Overwrites the secrets. */
void properties_close(struct properties *properties);
/* Ask the library about each property by itself, and report what it does not take. No secret is
 * read, nothing is connected. */
void properties_check(const struct config *config, struct config_report *report);

/* Everything but the properties and the halves. */
void kafka_opts_fill(const struct config *config, struct kafka_opts *out);

/* What a data_dir belongs to: the first process over it writes it down. */
struct home {
	char cluster[64];
	int32_t partitions; /* 0: nothing is written yet */
};
/* ERR_CONFIG: it belongs to another topic. */
MUST_CHECK enum err_code home_read(const struct config *config, struct home *out, struct err *err);
MUST_CHECK enum err_code home_write(
	const struct config *config, const struct home *home, struct err *err);
