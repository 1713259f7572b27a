/* ingress_priv.h - what the files of this room share: the ingress, its shards, and a request on its
 * way.
 *
 *   http.c (callbacks of the server) -> admit.c -> list of this turn -> queue
 *   queue's thread -> ingress_events_done() -> list of the done -> ack.c on the loop -> answer
 *
 * A shard is one loop with its connections; all of them accept from one socket. What belongs to a
 * shard belongs to its loop's thread unless a field says otherwise. */
#pragma once

#include "admit.h"
#include "learn.h"
#include "postern/ingress.h"
#include "postern/log.h"
#include "postern/serve.h"
#include "table.h"

#define ANSWER_TIMEOUT_MS 30000 /* a disk that hangs: then it is not known */
#define RETRY_AFTER_S 5         /* of a 503 */
#define SPARE_INTAKES 512
#define RANDOM_POOL 4096
#define SHARDS_MAX 16

/* One request of a known source, from its head to its answer - and on to the completion of its
 * records, when the client has gone before. */
struct intake {
	struct intake *next, **link; /* in shard.out while records are out; spare list */
	struct shard *shard;
	struct tenure *tenure; /* counted */
	struct source *source;
	struct serve_request *request; /* a reference while records are out */
	struct admission admission;
	unsigned awaited;                /* records without a completion */
	unsigned durable, lost, unclear; /* records with one */
	bool is_answered;
	bool is_over; /* the server has told that the request is finished */
};

/* What a request is completed with, once all its records are. "Durable" is the only kind today; an
 * outcome that is waited for would fill the same struct. */
struct completion {
	enum err_code code;
	unsigned status;
	const char *content_type; /* NULL: no body */
	struct slice body;
};

/* The table as one shard has it. Requests of the shard count here, so that no two loops write to
 * one place for each request. */
struct tenure {
	struct table *table; /* a reference */
	size_t uses;         /* requests, and the shard while this is its newest */
};

struct shard {
	struct ingress *ingress;
	struct serve *serve; /* written while no loop runs */

	struct lock lock;
	struct cond woke;
	struct record *done, **done_tail; /* guarded by lock: completed, not yet seen by the loop */
	unsigned waking;                  /* guarded: threads inside serve_wake() */
	bool is_open;                     /* guarded: the loop runs and takes requests */
	bool gives_up;                    /* guarded: answer what is out as unknown */
	int64_t turn_ms;                  /* guarded: the loop's last turn */
	size_t connections;               /* guarded: as the loop saw them last */

	struct tenure *tenure; /* NULL: none was needed yet, or there was no memory */
	unsigned generation;   /* of its table */
	struct admit_rates rates;
	struct admit_tools tools;
	struct record *batch, **batch_tail; /* admitted in this turn */
	struct intake *out;                 /* records are with the queue */
	struct intake *spare;
	size_t spare_count;
	struct buf text; /* of an answer */
	uint8_t random[RANDOM_POOL];
	size_t random_left;
	int64_t second; /* for what is done once a second */
};

struct ingress {
	const struct clock *clock;
	struct stats stats;
	struct source_stats *nobody; /* the source is not known */
	struct queue *queue;
	char address[80];
	struct limit *sources, *clients; /* they lock themselves */
	struct scheme_net *net;          /* NULL until a source needs it */
	struct learn learn;              /* likewise */

	struct lock lock;
	struct table *table;     /* guarded by lock: the one in force */
	struct rate client_rate; /* guarded */
	size_t max_body;         /* guarded */
	/* Counts the tables; changed under lock with release, so that a loop that sees it change
	 * finds the new one. */
	atomic_uint generation;
	struct log_gate gate; /* guarded: of refusals */

	bool is_tls; /* since the start */
	/* SHA-256 of what client_ca holds since the start; and does its file hold something else?
	 */
	uint8_t client_ca[32];
	bool client_ca_differs; /* guarded by lock */
	size_t shard_count;
	struct shard shards[SHARDS_MAX];
};

size_t ingress_connections(struct ingress *in);
/* The one in force: unref it. */
struct table *ingress_table(struct ingress *in);

/* intake.c */
struct intake *intake_take(struct shard *shard, struct tenure *tenure, struct source *source);
/* When it is over and no record is out, it goes. */
void intake_release(struct intake *intake);
void intake_free_spares(struct shard *shard);
/* The table in force; NULL without memory. */
struct tenure *tenure_now(struct shard *shard);
void tenure_give(struct tenure *tenure); /* NULL is fine */
void ingress_random(struct shard *shard, void *out, size_t len);

/* http.c */
extern const struct serve_ops http_ops;
/* Fill in the answer of a completion; counts and logs it. */
void http_conclude(struct intake *intake, const struct completion *done, struct serve_reply *reply);
/* The completion that a code and the scheme's own status stand for. */
void http_completion(struct intake *intake, enum err_code code, struct completion *out);

/* ack.c */
void ack_add(struct intake *intake);   /* its records go with this turn's batch */
void ack_flush(struct shard *shard);   /* hand the batch to the queue */
void ack_take(struct shard *shard);    /* answer what is done */
void ack_give_up(struct shard *shard); /* answer all that is out: not known */
void ack_forget(struct shard *shard);  /* completions after the loop has ended */
