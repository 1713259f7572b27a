/* source.h - a source of the config with its scheme, and requests by hand: what send, sign, verify
 * and lint share. Private to this room. */
#pragma once

#include "cli.h"

#include "postern/scheme.h"

struct source {
	struct config *config;
	const struct source_config *config_row;
	struct scheme *scheme;
};
/* By the command's first argument. Gives 0, or the exit status to end with. */
int source_open(const struct cli *cli, struct source *out);
void source_close(struct source *source);

/* "@FILE", "@-" (stdin) or the text itself. */
MUST_CHECK enum err_code source_body(const char *value, struct buf *out, struct err *err);
/* --now UNIX_S in milliseconds, or the clock. False: not a whole number of seconds. */
bool source_now(const struct cli *cli, int64_t *out_ms);
/* A fresh id for an event that was given none. */
#define SOURCE_ID_LEN 24
void source_make_id(char out[SOURCE_ID_LEN + 1]);
/* "https://host/path?a=b" in its two parts. */
void source_split_url(struct slice url, struct scheme_request *rq);
