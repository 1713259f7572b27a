/* daemon.h - a running process: which halves it has, its handles, and what the admin listener may
 * do. */
#pragma once

#include "cli.h"

#include "postern/admin.h"
#include "postern/ingress.h"
#include "postern/thread.h"
#include "postern/worker.h"

struct daemon {
	bool has_ingress, has_worker;
	const char *config_path;
	struct lock lock;
	struct config *config; /* guarded by lock: reload swaps it */
	struct ingress *ingress;
	struct worker *worker;
	struct queue *queue;
	struct store *store;
	struct store_view *view; /* the action thread's */
	struct admin *admin;
	struct lock reloading; /* one reload at a time; taken before `lock` */
};

/* Build everything of the new config, then swap; on error nothing changes and *err and the log say
 * why. Pointers of options that changed, but need a restart, are appended to out_restart, one a
 * line. */
enum err_code daemon_reload(struct daemon *daemon, struct buf *out_restart, struct err *err);
/* The config in force; unref it. */
struct config *daemon_config(struct daemon *daemon);
/* The admin listener with the actions of this process's halves. */
enum err_code daemon_admin_open(struct daemon *daemon, struct err *err);
