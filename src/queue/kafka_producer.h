/* kafka_producer.h - the inside of the producer, for its four files: flights (kafka_flight.c),
 * what callers do (kafka_producer.c), what its thread does (kafka_poll.c), and the library's handle
 * (kafka_handle.c).
 *
 * Every record that was taken is a flight on the track of its partition, in exactly one of its two
 * lists, both in the order of the appends: `out` (the library has it) and `waiting` (the library is
 * to get it, after all of out). A flight leaves when its result is known, and its record goes to
 * its sink.
 *
 * A track is given to the library in rounds: what waits, once all of the round before is reported.
 * The library would send no more of a partition at a time anyway (with five records on their way it
 * holds back the next request of an idempotent producer), but polls without a pause meanwhile.
 * And a round is one record until the broker has told the offset of one: a producer id that a
 * broker does not know may start at any sequence, so that a first request that it refuses, behind
 * a second one that it takes, would count as sent already, and be lost. */
#pragma once

#include "kafka_priv.h"

#define KAFKA_REPORTS_MAX 512
#define KAFKA_POLL_MS 100

struct flight {
	struct flight *next, **link; /* NULL link: in no list */
	struct record *record;
	struct track *track; /* NULL until it is taken */
	int32_t partition;
	struct kafka_sink *sink; /* NULL: nobody wants to know */
	size_t bytes;
	int64_t deadline_ms;         /* -1: never */
	rd_kafka_headers_t *headers; /* until the library takes them */
	bool is_again;               /* reported by a handle that is broken: to be sent again */
	bool is_unclear;             /* a broken handle may have delivered it */
	struct record own;           /* kafka_producer_put(): what record points to */
	uint8_t value[];             /* and its bytes */
};
struct flights {
	struct flight *first, **tail;
};

struct topic {
	struct topic *next;
	rd_kafka_topic_t *rkt; /* of the current handle; NULL while there is none */
	struct track **tracks; /* by the number of the partition + 1; NULL: none yet */
	size_t track_count;
	char name[];
};

/* A partition of a topic, or (RD_KAFKA_PARTITION_UA) all that the library chooses from. */
struct track {
	struct track *next;       /* of all */
	struct track *next_ready; /* of those that may start a round */
	struct topic *topic;
	struct flights out, waiting;
	size_t sent; /* in out and not reported yet */
	bool is_ready;
	bool is_proven;     /* by an offset, until something fails or proven_ms is long ago */
	bool lacks_offsets; /* the rest of the round: the broker told none for one before it */
	int64_t proven_ms;
};

/* A delivery report, until its round is folded. */
struct report {
	struct flight *flight;
	rd_kafka_resp_err_t code;
	rd_kafka_msg_status_t status;
	int64_t offset, time_ms;
};

struct kafka_producer {
	struct kafka *kafka;
	enum kafka_kind kind;
	struct kafka_hook hook;
	int64_t timeout_ms; /* 0: never gives up */
	bool ends_together; /* the library never does: all end with the first whose time is over */
	size_t max_count, max_bytes;
	size_t round_count, round_bytes; /* as much as the library sends at once */
	struct thread thread;
	struct metric *metric_renewals;
	/* The thread's own. */
	struct report reports[KAFKA_REPORTS_MAX];
	size_t report_count;
	int64_t report_ms;
	int64_t renewed_ms;
	unsigned renewals; /* one soon after the other */

	struct lock lock;
	struct cond changed;
	/* All below: guarded by lock. The handle is replaced by the thread alone. */
	rd_kafka_t *rk;          /* NULL: there is none now */
	rd_kafka_queue_t *queue; /* its main queue */
	int64_t opened_ms;       /* it was, and knows its topics as far as they can be known */
	unsigned users;          /* other threads in a call of the handle */
	struct topic *topics;
	struct track *tracks;
	struct track *ready, **ready_tail;
	size_t count, bytes; /* in all lists */
	size_t sent;         /* of all tracks */
	struct kafka_sink *touched, *running;
	bool is_renewing, is_giving_up, is_stopping;
	bool is_cancelling; /* gives up, and then goes on with a new handle */
	bool is_barred;     /* what was given up is being told: nothing may go past it */
	uint64_t give_ups;  /* from 1 on */
	int64_t stop_deadline_ms;
	struct err trouble; /* of the last record that failed */
	int64_t trouble_ms;
};

/* kafka_flight.c */
void flight_free(struct flight *flight);
/* The topic of this name, made when it is new. NULL without memory. */
struct topic *topic_locked(struct kafka_producer *producer, const char *name);
struct track *track_locked(
	struct kafka_producer *producer, struct topic *topic, int32_t partition); /* so too */
void topic_free(struct topic *topic);
void flights_init(struct flights *flights);
void flights_push(struct flights *flights, struct flight *flight);
struct flight *flights_pop(struct flights *flights);               /* the first; there is one */
void flights_take(struct flights *flights, struct flight *flight); /* which is in these */
/* The flight has its result: out of its list, its record to its sink. */
void flight_end_locked(
	struct kafka_producer *producer, struct flight *flight, enum err_code result);
/* What the result of a record is that the library has not, or will not get. */
enum err_code flight_loss(const struct flight *flight);
/* The same, of a record that is surely not there because of this. */
enum err_code flight_refusal(const struct flight *flight, rd_kafka_resp_err_t code);
/* The track may start a round, if it has one. */
void track_ready_locked(struct kafka_producer *producer, struct track *track);
/* Rounds of one record for all. */
void tracks_doubt_locked(struct kafka_producer *producer);
/* Give the library what is ready, as far as it takes it. */
void producer_hand_over_locked(struct kafka_producer *producer);
/* The thread looks at once. */
void producer_wake_locked(struct kafka_producer *producer);
void producer_trouble_locked(
	struct kafka_producer *producer, rd_kafka_resp_err_t code, const char *what);
/* The library's object for a topic of the current handle. */
void topic_open_locked(struct kafka_producer *producer, struct topic *topic);

/* kafka_poll.c */
void *producer_run(void *arg);
void producer_delivered(struct kafka_hook *hook, const rd_kafka_message_t *message);
bool producer_is_broken(struct kafka_producer *producer);
/* What was reported ends, or is kept to be sent again. */
void producer_fold(struct kafka_producer *producer);
/* What has ended, to its sinks; the lock is not held. */
void producer_tell(struct kafka_producer *producer);
/* What waited too long ends, and is told. */
void producer_expire(struct kafka_producer *producer);
/* All that waits on the track ends. */
void track_end_waiting_locked(struct kafka_producer *producer, struct track *track);

/* kafka_handle.c */
MUST_CHECK enum err_code producer_handle_open(struct kafka_producer *producer, struct err *err);
void producer_handle_close(struct kafka_producer *producer);
/* A new handle. Without one at the end only when all is being given up. */
void producer_renew(struct kafka_producer *producer);
/* All that is on its way ends now, whoever's it is. */
void producer_give_up(struct kafka_producer *producer);
