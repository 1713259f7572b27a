/* crew.h - the working half over Kafka: one lane for each partition, each followed from its
 * journal, some of them owned and worked.
 *
 *   follow (fold the journal into the lane's store) --claim, read back--> own (a worker runs)
 *      ^-------- fenced, released, failed to write ----------------------------'
 *
 * Who owns a lane is decided by the order of its journal (scale-out design 1.4.3). The group only
 * suggests: a lane that is assigned to us is claimed when its owner has released it or is silent,
 * or after a time of grace; a lane whose owner is silent for takeover_ms is claimed whoever it is
 * assigned to; a lane that is no longer assigned to us is released. An owner that has nothing to do
 * is hardly heard: its silence counts only while something waits for it. Every process follows
 * every lane, so each one can take over at once and answers questions about all of them.
 *
 * Owns:    crew_open() takes a reference to the config; the kafka handle outlives the crew.
 * Threads: one for each lane, beside its worker's; everything here is called from any thread.
 * Errors:  ERR_CORRUPT (a journal that lost what we need: JOURNAL_TRUNCATED, STATE_LOST,
 * SOURCE_LOST in the text) stops the lane and, with it, the program: crew_failed(). */
#pragma once

#include "postern/config.h"
#include "postern/kafka.h"
#include "postern/store.h"
#include "postern/worker.h"

struct crew;
/* Where lanes and the assignment come from, in place of Kafka: for tests. */
struct crew_ports {
	void *ctx;
	const char *cluster; /* its identity */
	enum err_code (*open_lane)(
		void *ctx, const struct kafka_lane_opts *opts, struct queue **out, struct err *err);
	/* changed() is called whenever the assignment changes, until leave() returns. */
	enum err_code (*join)(
		void *ctx, kafka_group_fn *changed, void *changed_ctx, void **out, struct err *err);
	void (*leave)(void *ctx, void *group);
};
struct crew_opts {
	const char *dir; /* data_dir/main: lane p keeps its store in DIR/state-p */
	struct kafka *kafka;
	int32_t partitions;
	const struct clock *clock;
	int64_t takeover_ms, beat_ms, idle_beat_ms, grace_ms; /* 0: 1500, 500, 30000, 5000 */
	int64_t map_bytes;              /* of a lane's store to begin with; 0: the default */
	const struct crew_ports *ports; /* NULL: Kafka's */
};
MUST_CHECK enum err_code crew_open(struct config *config, const struct crew_opts *opts,
	struct crew **out, struct config_report *report, struct err *err);
/* Joins the group, starts to follow. */
MUST_CHECK enum err_code crew_start(struct crew *crew, struct err *err);
MUST_CHECK enum err_code crew_reload(
	struct crew *crew, struct config *config, struct config_report *report, struct err *err);
/* As of worker.h, over all lanes. */
MUST_CHECK enum err_code crew_failed(struct crew *crew, struct err *err);
MUST_CHECK enum err_code crew_ready(struct crew *crew, struct err *err);
MUST_CHECK enum err_code crew_status(struct crew *crew, struct buf *out, struct err *err);
int64_t crew_oldest_s(struct crew *crew);
int64_t crew_last_turn_ms(const struct crew *crew);

int32_t crew_partitions(const struct crew *crew);
/* A view of what a lane has folded (all of it that is committed to its store, at most 200 ms old).
 * store_view_close() ends it, before crew_close(). ERR_UNAVAILABLE: its store is not open yet. */
MUST_CHECK enum err_code crew_view(
	struct crew *crew, int32_t partition, struct store_view **out, struct err *err);
/* The lane's queue, for queue_lookup and queue_stat. */
struct queue *crew_queue(struct crew *crew, int32_t partition);
enum lane_state { LANE_FOLLOWING, LANE_CLAIMING, LANE_OWNED, LANE_FAILED };
struct lane_info {
	enum lane_state state;
	bool assigned;    /* to us, by the group */
	uint64_t epoch;   /* of the owner that is believed */
	int64_t position; /* next event of the source */
	int64_t journal_next;
	int64_t silent_ms; /* since the owner's last record, while something waits for it */
	char owner[33];    /* its writer, in hex; "" when released */
};
void crew_lane(struct crew *crew, int32_t partition, struct lane_info *out);

/* As worker_change() and worker_accept(), at the lane that has the record. Decided by its owner:
 * when that is another process, it is asked in the lane's journal, and answers there. Blocks for 5
 * s at most. ERR_OUTCOME_UNKNOWN: it has not answered; it decides within a minute or never.
 * ERR_UNREACHABLE: the owner, here, waits for Kafka; nothing was asked. */
MUST_CHECK enum err_code crew_change(struct crew *crew, int32_t partition, enum worker_change what,
	enum out_target target, int64_t stream_offset, struct err *err);
MUST_CHECK enum err_code crew_accept(struct crew *crew, int32_t partition, int64_t stream_offset,
	struct slice headers, struct slice key, struct err *err);

/* Take no more events, release what is owned until deadline_ms (monotonic), leave the group. */
void crew_stop(struct crew *crew, int64_t deadline_ms);
void crew_close(struct crew **crew);
