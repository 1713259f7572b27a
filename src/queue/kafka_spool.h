/* kafka_spool.h - the inside of the spool, for its four files: open, close and what can be asked
 * (kafka_spool.c), which way a record goes (kafka_spool_ways.c), the thread that drains the log
 * (kafka_spool_drain.c), and what becomes of records that Kafka refuses (kafka_spool_aside.c).
 *
 * What becomes of a record is decided with the lock held, partition by partition:
 *
 *   nothing of it is spooled, and Kafka is there    direct; counted until its report
 *   a direct one failed, or Kafka is away           turning: new ones wait in memory until every
 *                                                   direct one is reported, then all that failed
 *                                                   and all that waited go to the log, in order
 *   the log has some that are not delivered         to the log, behind them
 *   of those only a few are left                    returning: new ones wait in memory a moment,
 * and go direct as soon as nothing is left
 *
 * So nothing is sent to a partition in two ways at a time. While the partitions are not known, and
 * for what the log had at the start, a record counts for all of them (unsorted) until the drainer
 * has read it. */
#pragma once

#include "kafka_producer.h"
#include "seglog.h"

struct record_list {
	struct record *first, **tail;
};

struct spool_slot {                         /* of a partition */
	size_t direct;                      /* sent and not reported */
	size_t held;                        /* in the log, or on the way there, and not delivered */
	bool is_turning, is_returning;      /* never both */
	int64_t return_ms;                  /* returning: until then; otherwise not before */
	struct record_list failed, waiting; /* in the order of the appends */
};

/* A read batch, its records in the order of the log. A record's result is ERR_OK once Kafka has
 * it; its owner is the batch. */
struct spool_batch {
	struct spool_batch *next;
	struct seglog *log; /* it was read from */
	struct queue_batch records;
	int64_t end;    /* offset behind it */
	size_t left;    /* not delivered */
	bool refused[]; /* each record: it was, and it, or one beside it, is to blame */
};

struct spool {
	struct queue base;
	struct kafka *kafka;
	struct spool_opts opts; /* dir is not kept */
	int dir_lock;           /* -1: not ours */
	struct seglog *log;
	char *aside_dir;
	struct seglog *aside; /* of records that Kafka refuses; NULL: there was none yet */
	struct kafka_sink direct_sink, drain_sink;
	struct kafka_producer *drain; /* never gives up */
	struct thread drainer;
	struct metric *metric_records, *metric_bytes, *metric_oldest, *metric_late, *metric_refused;

	struct lock lock;
	struct cond changed; /* the drainer looks */
	/* All below: guarded by lock. */
	struct spool_slot *slots; /* NULL: the partitions are not known */
	int32_t count;
	size_t unsorted;         /* in the log and not read by the drainer: count for all */
	size_t unsorted_pending; /* of those, not reported by the log */
	size_t records;          /* in the log and not delivered */
	size_t direct;           /* of all slots */
	size_t in_flight;        /* of the drainer's producer */
	size_t returning;        /* slots */
	uint64_t changes;        /* that the drainer has to look at */
	int64_t sequence;        /* of appends; a record's offset until it has one */
	int64_t appended, groups;
	bool failed_lately;    /* a direct one did, and none was delivered since */
	bool covers_all;       /* every source may be spooled */
	bool is_over_age;      /* the oldest is, and Kafka is away */
	bool must_resend;      /* the drainer's producer gave one back */
	size_t refused_count;  /* of all batches, and not delivered nor set aside */
	struct record *alone;  /* one of those is on its way, and nothing else */
	struct record *blamed; /* it was refused alone, and is to go aside */
	bool must_pause;       /* neither Kafka nor that log took it */
	bool is_stuck;         /* and that log has no room: it holds up those behind it */
	bool is_going_aside;   /* it is on the way there */
	int64_t aside_count;   /* in that log, and not delivered */
	bool is_closing, is_draining_stopped;
	struct record_list refused; /* appends that are; completed by the drainer */
	char why[ERR_TEXT_MAX];     /* the last time that the log refused some */

	/* The drainer's own. */
	struct spool_batch *first, **tail;
	size_t batches, batches_max, batch_records, batch_bytes;
	int64_t next;                  /* offset to read */
	const struct record *told_of;  /* the last one that a line was written about */
	int64_t aside_next, aside_end; /* the same of those that are tried again */
	int64_t tick_ms, retry_ms, complain_ms, late;
	bool told; /* that spooling began */
};

static inline void record_list_init(struct record_list *list)
{
	list->first = NULL;
	list->tail = &list->first;
}

static inline void record_list_push(struct record_list *list, struct record *record)
{
	record->next = NULL;
	*list->tail = record;
	list->tail = &record->next;
}

/* kafka_spool_ways.c */
/* Learns the partitions, once they can be known. */
bool spool_knows_locked(struct spool *spool);
struct spool_slot *spool_slot_locked(struct spool *spool, const struct record *record);
bool spool_is_away_locked(const struct spool *spool, bool kafka_is_away);
/* The drainer has something to look at. */
void spool_changed_locked(struct spool *spool);
/* Nothing of the partition is left in the log: what waited for that is to be sent. */
void spool_return_locked(struct spool *spool, struct spool_slot *slot);
/* It took too long (all: whatever the time). */
void spool_end_returns_locked(struct spool *spool, bool all);
MUST_CHECK enum err_code spool_take(struct spool *spool, struct record *list, struct err *err);
MUST_CHECK enum err_code spool_check_size(const struct spool *spool, size_t bytes, struct err *err);
/* Completions of the log, on its thread, and of the direct way, on its producer's. */
void spool_logged(void *spool, struct record *list);
void spool_reported(void *spool, struct record *list);
/* Completes what was refused, without the lock meanwhile. */
void spool_complete_refused_locked(struct spool *spool);

/* kafka_spool_drain.c */
void *spool_drain_run(void *spool);
/* Reports of the drainer's producer. */
void spool_drained(void *spool, struct record *list);
/* The log's position moves behind the batches that are delivered from the first on. */
void spool_advance(struct spool *spool);
void spool_drain_done(struct spool *spool);
/* How much is sent at a time. */
void spool_drain_init(struct spool *spool);
void spool_delivered_locked(struct spool *spool, struct record *record);
/* Gauges, and whether the oldest is over its age. */
void spool_look(struct spool *spool);

/* kafka_spool_aside.c */
/* Opens the log of what was refused, when it is there, so that all of it is tried again. */
MUST_CHECK enum err_code spool_aside_open(struct spool *spool, struct err *err);
void spool_aside_close(struct spool *spool);
/* A batch of what was refused by an earlier life. NULL: no more. */
struct spool_batch *spool_aside_batch(struct spool *spool);
/* The producer gave this one back as ERR_LIMIT, or did not take it. */
void spool_refused_locked(struct spool *spool, struct record *record);
/* Those that were refused are dealt with first, one at a time. True: there are such. */
bool spool_aside_step(struct spool *spool);
void spool_unblame_locked(struct spool *spool, struct record *record);

/* kafka_spool_drain.c, for that */
struct spool_batch *spool_batch_read(
	struct spool *spool, struct seglog *log, int64_t from, size_t max);
bool spool_send(struct spool *spool, struct record *list, size_t count);
