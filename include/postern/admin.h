/* admin.h - the admin listener: health, readiness, metrics, and a JSON API that is a table of
 * actions.
 *
 * /healthz, /readyz and /metrics are open and answered at once by the loop; everything else needs
 * "Authorization: Bearer" with the admin token, and runs on one thread of its own, so that a slow
 * action never holds up a health check. The room knows no other half of the program: floor 4 hands
 * it the actions.
 *
 * Owns:    the token (wiped on close). Actions and checks are borrowed for the life of the admin.
 * Threads: actions run one at a time on the action thread; checks on the loop's thread.
 * Errors:  ERR_IO (listen), ERR_CONFIG (token file). */
#pragma once

#include "postern/clock.h"
#include "postern/serve.h"

struct admin;
struct admin_query {
	struct slice rest; /* path below the action's, percent-decoded: "/v1/events/evt_1" gives
			      "evt_1" */
	struct slice query;
	struct slice body;
};
/* A query parameter, decoded and appended to out. False: it is not there. */
bool admin_param(const struct admin_query *query, const char *name, struct buf *out);

/* Append JSON to out: one object (a document), or one object a line. */
typedef enum err_code admin_run(
	void *ctx, const struct admin_query *query, struct buf *out, struct err *err);
enum admin_flag {
	ADMIN_LINES = 1, /* the answer is one object a line */
	ADMIN_BELOW = 2  /* takes what stands below its path; without this: 404 */
};
struct admin_action {
	const char *method, *path; /* "GET", "/v1/events" */
	unsigned flags;
	admin_run *run;
	void *ctx;
};
/* ERR_OK, or a reason why this process is not ready. */
struct admin_check {
	enum err_code (*check)(void *ctx, struct err *err);
	void *ctx;
};
struct admin_opts {
	const char *listen;
	const char *token_file; /* NULL: everything that needs a token is refused */
	const struct admin_action *actions;
	size_t action_count;
	const struct admin_check *checks;
	size_t check_count;
	const struct clock *clock;
};
MUST_CHECK enum err_code admin_open(
	const struct admin_opts *opts, struct admin **out, struct err *err);
const char *admin_address(const struct admin *admin);
void admin_close(struct admin **admin);
