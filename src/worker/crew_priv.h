/* crew_priv.h - what the files of the crew share: lanes, and what they have in common.
 *
 *   crew.c         the door: open, start, stop, changes
 *   crew_status.c  what others may know
 *   crew_lives.c   which writers were earlier lives of this process
 *   lane.c         a lane's thread: open the store, follow the journal, claim, own
 *   lane_begin.c   where following begins: the store as it is, or a fold from a checkpoint
 *   lane_claim.c   when a lane is claimed, and the claim itself
 *   lane_ask.c     changes that the owner of a lane is asked for in its journal
 *   lane_store.c   the lane's store: commits, upkeep, setting aside
 *
 * Threads: a lane's members belong to its thread, but for those under its lock. Lock order: crew,
 * lane, then a worker's board. */
#pragma once

#include "worker_priv.h"

#include "postern/crew.h"

#define LANE_STORES 4 /* that are set aside before it is given up; they stay open for views */
#define LANE_ENDED 8  /* workers that ended and wait for their calls */
#define CREW_MEMBERS 64
#define CREW_LIVES 8

struct crew;
struct lane_ask;
struct lane {
	struct crew *crew;
	int32_t partition;
	char *dir;
	struct thread thread;
	struct queue *queue;

	struct store_state state; /* as applied */
	bool store_bad;           /* what failed is the store: fold again */
	bool gave_up;             /* a worker did, and nothing here can help */
	struct store *old[LANE_STORES];
	size_t old_count;
	struct worker *ended[LANE_ENDED];
	size_t ended_count;
	int64_t end; /* of the journal, when following began: from there on it is up to date */
	bool up_to_date;
	int64_t heard_ms; /* monotonic: the owner was heard */
	int64_t waits_ms; /* monotonic: since then something waits for it; 0: nothing was seen */
	int64_t owner_ms; /* monotonic: it came to have the owner that it has */
	int64_t claim_ms; /* monotonic: no claim before */
	bool claimed;     /* our claim is read, and nobody else's since */
	bool unclean;     /* who owned before it had not released */
	bool unworked;    /* and had written no batch */
	int64_t since_ms, settled_ms, retry_ms, failed_ms; /* of commits, see lane_store.c */
	int64_t upkeep_ms, told_ms;
	int64_t shown[2]; /* of the gauges that lanes and workers share: this one's part */
	uint64_t random;
	struct buf batch, text;
	struct command_list commands; /* while a worker owns it, that one's */

	struct lock lock;
	struct cond changed;
	/* all guarded by lock */
	struct store
		*store; /* written by the lane's thread alone, which reads it without the lock */
	struct worker *worker;
	size_t users; /* of the worker, beside the lane's thread */
	TAILQ_HEAD(, lane_ask) asks;
	bool assigned, leave, stop, worker_ended, over;
	bool has_followed; /* was up to date once */
	int64_t assigned_ms, stop_deadline_ms;
	struct lane_info info;
	struct store_totals totals;
	_Atomic size_t ask_count;
	_Atomic int64_t last_turn_ms;
	_Atomic bool waits; /* for its claim, however long Kafka is away */
};

struct member {
	uint8_t writer[WRITER_LEN];
	int64_t seen_ms;
};
struct crew {
	struct crew_opts opts;
	struct crew_ports ports;
	char *cluster;
	struct store_log log;
	struct hosts hosts;
	uint8_t writer[WRITER_LEN];            /* random, of this incarnation */
	uint8_t lives[CREW_LIVES][WRITER_LEN]; /* the ones before, the last first */
	size_t life_count;
	void *group;
	bool joined;
	struct lock lock;
	/* guarded by lock */
	struct config *config;
	struct member members[CREW_MEMBERS];
	size_t member_count;
	struct err failed;
	size_t lane_count;
	struct lane lanes[];
};
static inline int64_t crew_now_ms(const struct crew *crew)
{
	return crew->opts.clock->mono_ms(crew->opts.clock);
}
struct config *crew_config(struct crew *crew); /* a reference */
struct lane *crew_lane_of(struct crew *crew, int32_t partition);
void crew_fail(struct crew *crew, int32_t partition, const struct err *err);
/* A record of this writer was read: it lives. */
void crew_heard(struct crew *crew, const uint8_t writer[WRITER_LEN]);
/* How many that live, beside the silent one, come before us for this lane. */
size_t crew_rank(struct crew *crew, int32_t partition, const uint8_t silent[WRITER_LEN]);

/* crew_lives.c: read the writers of earlier lives, add this one. */
MUST_CHECK enum err_code crew_begin_life(struct crew *crew, struct err *err);
bool crew_was_ours(const struct crew *crew, const uint8_t writer[WRITER_LEN]);

/* lane.c */
void *lane_run(void *lane);
bool lane_stopping(struct lane *lane);
/* Until stopped, or so much later. */
void lane_nap(struct lane *lane, int64_t ms);
/* A failure that may pass by itself. */
bool lane_passes(enum err_code code);
/* Fold a record that was read. */
MUST_CHECK enum err_code lane_fold(
	struct lane *lane, const struct journal_read *read, struct err *err);
/* Workers that ended go when the last of their calls is back. */
void lane_reap(struct lane *lane);

/* lane_begin.c */
MUST_CHECK enum err_code lane_begin(struct lane *lane, struct err *err);
/* Everything that was there at the beginning is folded: is it whole? */
MUST_CHECK enum err_code lane_is_whole(const struct lane *lane, struct err *err);

/* lane_claim.c */
bool lane_wants_claim(struct lane *lane);
/* Is there nobody who works it: never was, has handed it over, or has fallen silent? */
bool lane_is_ownerless(const struct lane *lane);
MUST_CHECK enum err_code lane_claim(struct lane *lane, struct err *err);

/* crew_status.c: what waits in a lane that nobody works is counted by those who follow it; what
 * waits in one that is worked, by its worker. */
void lane_show(struct lane *lane, bool counts);

/* lane_ask.c */
/* Ask for a change in the journal and wait for the owner's answer. ERR_OUTCOME_UNKNOWN: there was
 * none until deadline_ms. Any thread. */
MUST_CHECK enum err_code lane_ask_owner(struct lane *lane, const struct change_request *request,
	int64_t deadline_ms, struct err *err);
void lane_answered(
	struct lane *lane, const uint8_t id16[ID16_LEN], enum err_code code, struct slice text);
/* A batch was folded. */
void lane_hear_answers(struct lane *lane, struct slice record);

/* lane_store.c */
MUST_CHECK enum err_code lane_store_open(struct lane *lane, struct err *err);
MUST_CHECK enum err_code lane_store_settle(struct lane *lane, bool now, struct err *err);
/* So much waits for a commit that nothing more is folded. */
bool lane_store_floods(const struct lane *lane);
MUST_CHECK enum err_code lane_store_upkeep(struct lane *lane, struct err *err);
/* The store is of no use any more: a new one takes its place. */
MUST_CHECK enum err_code lane_store_set_aside(struct lane *lane, struct err *err);
/* What the store did wrong, and not the log. Gives the code. */
enum err_code lane_blame_store(struct lane *lane, enum err_code code);
