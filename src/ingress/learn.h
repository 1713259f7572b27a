/* learn.h - keys that senders tell, while an operator waits for one.
 *
 * Whoever sends first is believed, so nothing is taken outside of a window that an operator opens,
 * and what was taken is of no use until the operator has compared its fingerprint and confirmed it:
 *
 *   window -> data_dir/learnt/SOURCE.FINGERPRINT.pending -> confirmed -> data_dir/learnt/SOURCE.key
 *
 * The key before it becomes SOURCE.previous.key. Keys are never logged. */
#pragma once

#include "postern/crypto.h"
#include "postern/thread.h"

#define LEARN_PENDING_MAX 4 /* of a source */
#define LEARN_WINDOW_MAX_MS (INT64_C(3600) * 1000)

struct learn_window;
struct learn {
	struct lock lock;
	struct learn_window *windows; /* guarded by lock; one for each source that ever had one */
	char *dir;                    /* data_dir/learnt */
};
void learn_init(struct learn *learn);
MUST_CHECK enum err_code learn_open(struct learn *learn, const char *data_dir, struct err *err);
void learn_done(struct learn *learn);

/* until_ms: monotonic; in the past: closes it. */
MUST_CHECK enum err_code learn_window(
	struct learn *learn, const char *source, int64_t until_ms, struct err *err);
bool learn_waits(struct learn *learn, const char *source, int64_t mono_ms);
/* Pending from now on. The same key again is fine. ERR_FULL: too many wait to be confirmed. */
MUST_CHECK enum err_code learn_keep(struct learn *learn, const char *source,
	const struct secret *key, const char *client, struct err *err);
/* Make a pending key the source's, or forget it. ERR_NOT_FOUND: there is no such one. */
MUST_CHECK enum err_code learn_confirm(
	struct learn *learn, const char *source, struct slice fingerprint, struct err *err);
MUST_CHECK enum err_code learn_drop(
	struct learn *learn, const char *source, struct slice fingerprint, struct err *err);

/* The pending keys of a source; gives how many of them out has. */
struct learn_pending {
	char fingerprint[9];
	int64_t told_ms; /* wall clock */
};
size_t learn_list(
	struct learn *learn, const char *source, struct learn_pending out[LEARN_PENDING_MAX]);
