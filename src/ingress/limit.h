/* limit.h - token buckets by name: for each source, and for each client address.
 *
 * Time is passed in. Any thread: a limit locks itself. */
#pragma once

#include "postern/config.h"
#include "postern/thread.h"

#define LIMIT_CLIENTS_MAX 65536 /* addresses that are remembered; the one not seen longest goes */

struct limit;
/* max: names that are remembered. */
MUST_CHECK enum err_code limit_open(size_t max, struct limit **out, struct err *err);
void limit_close(struct limit **limit);
/* Take a token. 0: there was one; otherwise milliseconds until there will be one. A rate that is
 * off, and a name for which there is no memory, always pass. now_ms: monotonic. */
int64_t limit_take(struct limit *limit, struct slice name, const struct rate *rate, int64_t now_ms);
/* How many names are remembered. */
size_t limit_count(struct limit *limit);
