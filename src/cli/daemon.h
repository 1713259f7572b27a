/* daemon.h - a running process: which halves it has, its handles, and what the admin listener may
 * do. */
#pragma once

#include "cli.h"
#include "lanes.h"

#include "postern/admin.h"
#include "postern/ingress.h"
#include "postern/thread.h"
#include "postern/worker.h"

struct broker;
struct daemon {
	bool has_ingress, has_worker;
	const char *config_path;
	int listen_fd; /* passed by a service manager, or -1 */
	struct lock lock;
	struct config *config; /* guarded by lock: reload swaps it */
	struct ingress *ingress;
	struct worker *worker; /* of files; over Kafka the crew has one for each lane */
	struct queue *queue;   /* NULL in a worker over Kafka */
	struct store *store;
	struct store_view *view; /* the action thread's */
	struct broker *broker;   /* NULL: files of this machine */
	struct admin *admin;
	struct lock reloading; /* one reload at a time; taken before `lock` */
};

/* Build everything of the new config, then swap; on error nothing changes and *err and the log say
 * why. Pointers of options that changed, but need a restart, are appended to out_restart, one a
 * line. */
enum err_code daemon_reload(struct daemon *daemon, struct buf *out_restart, struct err *err);
/* The config in force; unref it. */
struct config *daemon_config(struct daemon *daemon);
/* What is stored, for one question. ERR_UNREACHABLE: this process does not know. */
MUST_CHECK enum err_code daemon_lanes(
	struct daemon *daemon, const struct config *config, struct lanes *out, struct err *err);
/* Problems of a config, to the log. */
void daemon_log_report(const struct config_report *report);
/* Could a working half work with this config? */
MUST_CHECK enum err_code daemon_check_worker(
	struct config *config, struct config_report *report, struct err *err);
/* Why the working half, which this process has, is not ready. */
MUST_CHECK enum err_code daemon_worker_ready(struct daemon *daemon, struct err *err);
/* Events of a log of files that no worker is through with, and the age of the oldest. */
struct backlog {
	int64_t lag, oldest_s;
};
struct backlog daemon_backlog(struct daemon *daemon);
/* The admin listener with the actions of this process's halves. */
enum err_code daemon_admin_open(struct daemon *daemon, struct err *err);
