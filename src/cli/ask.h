/* ask.h - questions of commands: to the daemon when there is one, to the files when there is none.
 */
#pragma once

#include "cli.h"
#include "inspect.h"

#define FILTER_OPTIONS                                                                             \
	{ "--route", "R", "of this route" }, { "--reason", "CODE", "with this code" },             \
		{ "--entity", "E", "of this entity" }, { "--source", "S", "of this source" },      \
		{ "--since", "T", "received since T (RFC 3339, or 15m, 2h ago)" },                 \
	{                                                                                          \
		"--until", "T", "received until T"                                                 \
	}
/* Dead letters and quarantined records: hours may lie between their reception and that. */
#define ENDED_OPTIONS                                                                              \
	{ "--ended-since", "T", "dead or quarantined since T" },                                   \
	{                                                                                          \
		"--ended-until", "T", "dead or quarantined until T"                                \
	}

#define FILTER_USAGE                                                                               \
	"[--route R] [--reason CODE] [--entity E] [--source S] [--since T] [--until T] "
#define ENDED_USAGE FILTER_USAGE "[--ended-since T] [--ended-until T] "

/* One document: path with the percent-encoded argument behind it. */
int ask_and_print(struct cli *cli, const char *path, const char *argument);
/* A list with the command's filters, page by page; more: further members of the query, "&a=b". */
int ask_list(struct cli *cli, const char *path, const char *more);
/* "PATH?route=..&since=..": the filters that were given, times made absolute. Gives 0 or an exit
 * status: a filter that is empty, or fits nothing whatever there is, is a usage error. */
int ask_filters(const struct cli *cli, const char *path, int64_t now_ms, struct buf *out);
/* Ask for all pages of a list in turn; base is what ask_filters() made. seen() gets the items of
 * each, a JSON array; what it refuses ends the walk. */
typedef enum err_code ask_page_seen(void *ctx, struct slice items, struct err *err);
enum err_code ask_each_page(const struct config *config, const char *base, ask_page_seen *seen,
	void *ctx, struct err *err);

/* The same questions, answered from this process's files or handles: what the admin actions call
 * too. path is "/v1/events", rest what stands below it, param gives query parameters. */
struct ask_query {
	struct slice rest;
	bool (*param)(const void *ctx, const char *name, struct buf *out);
	const void *ctx;
};
enum err_code ask_answer(const struct inspect *in, const char *path, const struct ask_query *query,
	struct buf *out, struct err *err);
