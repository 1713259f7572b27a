/* worker_priv.h - what the files of this room share: the worker, its routes, subjects and works.
 *
 *   queue -> intake.c -> subject (park.c: one turn at a time) -> turn.c -> handler -> run.c
 *                                                                  \-> end.c -> batch.c -> store,
 * outs.c
 *
 * A work is an event in somebody's hands: fresh from the queue, waiting for its turn, for a place
 * of its route, or in a call. It is `parked` when the store holds it too. A subject orders its
 * works: at most one is busy, the others wait in the store (parked) or in memory (they came while a
 * fresh one was busy).
 *
 * Positions: an event may end before an older one of another subject. Its ledger entry is committed
 * then, ahead of the position, which is always the oldest event that has neither ended nor been
 * parked; read again after a crash, an event that finds its own offset in the ledger is passed over
 * (ACTION_SKIP).
 *
 * Where a queue keeps a journal the worker has one lane of several, for as long as its tenure lasts
 * (crew_priv.h): the lane's thread claims and starts it, and another process may end it at any
 * time.
 *
 * Errors: what cannot be undone halfway breaks the worker (worker_break()): the open batch is never
 * committed, the thread stops, and the next start goes on from the last commit.
 *
 * Threads: everything here belongs to the owner thread, except struct inbox and struct board. */
#pragma once

#include "decide.h"

#include "postern/log.h"
#include "postern/metrics.h"
#include "postern/thread.h"
#include "postern/worker.h"

#include <stdatomic.h>
#include <sys/queue.h>

/* Without memory for a table row the row is not added; add sites look at hh.tbl. */
#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION(key, len, out) ((out) = (unsigned)hash_bytes((key), (len)))
#define uthash_nonfatal_oom(row) ((void)(row))
#include <uthash.h>

#define WORKER_WINDOW                                                                              \
	512 /* events with handlers whose outcome is not committed: the suspects of a crash */
#define WORKER_WINDOW_BYTES MIB(16)
#define WORKER_SOFT_TIMEOUT_MS                                                                     \
	1000              /* then an event is parked, so that the position can move on             \
			   */
#define WORKER_HOLD_MS 10 /* a batch waits this long for calls that are about to end */
#define WORKER_BATCH_EVENTS 16384
#define WORKER_BATCH_MS 150
#define WORKER_BATCH_BYTES MIB(8)
#define WORKER_READ_EVENTS 1024
#define WORKER_READ_BYTES MIB(4)
#define WORKER_COMMIT_RETRY_MS 1000
#define WORKER_UPKEEP_MS 1000
#define WORKER_CALLS_MAX 4096
#define WORKER_OUTS_MAX 64 /* outputs being published at once */
/* Where a journal is kept: a record that has grown so far takes no other event, so that the largest
 * one always finds room below JOURNAL_BATCH_MAX. */
#define WORKER_RECORD_BYTES KIB(256)

struct worker;
struct work;
struct subject;

/* ---- messages to the owner thread -------------------------------------------------- */

enum note_kind { NOTE_CALL, NOTE_OUT, NOTE_CHANGE, NOTE_RELOAD };
struct note {
	STAILQ_ENTRY(note) link;
	enum note_kind kind;
};
STAILQ_HEAD(note_list, note);
/* Never full: each note is part of something that was bounded before. */
struct inbox {
	struct lock lock;
	struct cond some;
	struct note_list notes; /* guarded by lock, like the rest */
	bool reading;           /* the owner waits in queue_read(), not here */
	bool stop, closed;
	int64_t stop_deadline_ms;
};
void worker_inbox_init(struct inbox *inbox);
void worker_inbox_done(struct inbox *inbox);
/* From any thread. False: the owner thread has ended; the note was not taken. */
bool worker_inbox_post(struct worker *w, struct note *note);
/* All notes; waits until deadline_ms (0: does not) for the first. */
void worker_inbox_take(struct worker *w, int64_t deadline_ms, struct note_list *out);
/* Going to wait in queue_read()? False: there are notes already. */
bool worker_inbox_begin_read(struct worker *w);
void worker_inbox_end_read(struct worker *w);

/* ---- routes ------------------------------------------------------------------------ */

TAILQ_HEAD(work_list, work);
TAILQ_HEAD(subject_list, subject);

enum ready_line { LINE_FIRST, LINE_RETRY, LINES }; /* first attempts do not wait behind retries */
struct route {
	const struct route_config *config; /* NULL: no route fits (name "") */
	const char *name;
	struct handler *handler; /* NULL where there is nothing to call */
	/* Where it yields outputs and calls nobody; set when it is bound. */
	struct topic_line *line;
	struct table *table;
	uint16_t number;
	struct breaker breaker;
	size_t calls;
	size_t loaded;                    /* parked works among those that wait */
	struct work_list waiting;         /* works that wait for a place; loaded ones first */
	struct subject_list ready[LINES]; /* parked ones that are due and wait for a place */
	int64_t held_ms[LINES]; /* monotonic: the breaker or the retry budget holds that line */
	bool dlq_full;          /* a dead letter of this route had no room */
	int64_t pause_ms;       /* monotonic: nothing is started before */
	struct metric *outcomes[OUTCOME_COUNT], *age, *breaker_open;
};
/* All routes of one config. Works in a call keep the table alive. */
struct table {
	struct config *config;
	size_t calls, count; /* count: with the one for events that no route fits, the last */
	bool retired;
	STAILQ_ENTRY(table) link;
	struct route routes[];
};
MUST_CHECK enum err_code worker_table_open(struct worker *w, struct config *config,
	struct table **out, struct config_report *report, struct err *err);
MUST_CHECK enum err_code worker_table_bind(struct worker *w, struct table *table, struct err *err);
void worker_table_close(struct table **table);
struct route *worker_table_match(struct table *table, const struct event *event);
struct route *worker_table_number(
	struct table *table, uint16_t number); /* NULL: not in this config */
/* Does it call anybody, who may make the worker die? */
static inline bool worker_route_calls(const struct route *r)
{
	return r->handler && !r->line;
}
/* Make `fresh` the table in use; breakers of destinations that stay keep their state. */
void worker_table_swap(struct worker *w, struct table *fresh);
void worker_table_unref(struct worker *w, struct table *table);
void worker_route_show_breaker(struct route *route);

/* ---- subjects and works ------------------------------------------------------------ */

struct subject {
	UT_hash_handle hh;
	struct work *busy;      /* whose turn it is */
	struct work_list fresh; /* events that came since, in order */
	size_t parked, gaps;    /* in the store; how many of those wait for a gap alone */
	bool moved;             /* its state moved: a gap may be filled */
	size_t suspects;        /* so many next ones are called alone, after an unclean stop */
	int64_t hold_ms;        /* monotonic: its head is not looked at before */
	int64_t head_offset, head_next_ms; /* the parked event whose time is in head_at_ms */
	int64_t head_at_ms;                /* monotonic; 0: of none */
	int64_t due_ms;                    /* monotonic; while in the heap */
	size_t heap;                       /* place in the heap + 1; 0: not in it */
	struct route *ready;               /* in whose lists of ready subjects it stands */
	enum ready_line line;
	TAILQ_ENTRY(subject) ready_link;
	size_t len;
	uint8_t bytes[];
};
static inline struct slice worker_subject_name(const struct subject *s)
{
	return (struct slice){ s->bytes, s->len };
}

/* An identity of a work in memory, for copies that come before its outcome is in the ledger. */
struct claim {
	UT_hash_handle hh;
	uint8_t id16[ID16_LEN];
	struct work *work;
};

enum work_state { WORK_FRESH, WORK_TURN, WORK_PLACE, WORK_TRY, WORK_CALL };
struct work {
	struct note note;
	struct worker *worker;
	enum work_state state;
	bool kept;     /* on the heap; otherwise it borrows its bytes */
	bool windowed; /* fresh, and neither ended nor parked */
	bool parked;   /* the store holds it */
	bool readable; /* the headers decoded */
	bool known;    /* the ledger holds another event's entry for this identity: leave it */
	bool has_replay;
	bool suspect;
	bool try_open;            /* the TRY of the coming call is committed */
	unsigned tried;           /* TRYs that were never answered */
	TAILQ_ENTRY(work) line;   /* its subject's, or its route's */
	TAILQ_ENTRY(work) window; /* all fresh ones by offset */
	struct subject *subject;
	struct route *route;
	struct claim id, replay;
	int64_t since_ms; /* monotonic: taken from the queue */
	int64_t offset;
	uint8_t digest8[8];
	enum park_reason reason; /* while parked */
	unsigned attempts;
	int64_t first_ms, deadline_ms, first_failed_ms; /* wall */
	enum err_code last_code;
	uint64_t redrive;
	bool has_stored;
	bool is_stored;        /* by this very event */
	struct version stored; /* of the entity, read at its turn */
	struct record record;
	struct event event;
	struct slice subject_bytes; /* borrowed; a kept work has its subject */
	char error[ERR_TEXT_MAX];
	struct slice topic; /* it is published there once it has ended; empty: nowhere */
	struct handler_call call;
	struct buf bytes;
};

/* ---- the open batch ---------------------------------------------------------------- */

struct tally { /* counted when the batch is committed */
	struct metric *outcome, *age;
	double seconds; /* below 0: not observed */
};
enum batch_step { BATCH_OPEN, BATCH_BUILT, BATCH_APPLIED };
struct change_note;
STAILQ_HEAD(change_list, change_note);
struct batch {
	struct buf bytes;
	struct item scratch;
	enum batch_step step;
	size_t events; /* taken from the queue since the last commit */
	size_t items;
	size_t handled;    /* events with handlers that ended since */
	int64_t opened_ms; /* monotonic: the first thing in it */
	bool urgent;       /* somebody waits for exactly this commit */
	int64_t retry_ms;  /* monotonic: a commit failed, try again then; 0: none failed */
	struct journal_read journalled; /* what came back of it */
	struct tally *tallies;
	size_t tally_count;
	struct change_list changes; /* answered when it is committed */
};
MUST_CHECK enum err_code worker_batch_open(struct worker *w, struct err *err);
void worker_batch_free(struct worker *w);
void worker_batch_add(struct worker *w, const struct item *item);
void worker_batch_touch(struct worker *w); /* there is something to commit, if only a position */
void worker_batch_tally(struct worker *w, const struct work *work, enum outcome outcome);
bool worker_batch_full(const struct worker *w);
bool worker_batch_due(const struct worker *w, bool backlog);
int64_t worker_batch_due_at(const struct worker *w);
/* True: committed, and a new one is open. False: it has to be tried again, or the worker is broken.
 */
bool worker_batch_close(struct worker *w);
/* Where a journal is kept: before the items of an event are added, so that they stay together. */
void worker_batch_split(struct worker *w);
/* An empty record when none was written for a while: the owner is alive, and sees that it is.
 * Before each turn, and again before handlers are called: whoever comes out of idleness hears first
 * whether the lane is still its own. */
void worker_batch_beat(struct worker *w);
int64_t worker_batch_beat_at(const struct worker *w);
/* The store follows the journal, now and then; at the end at once. */
void worker_batch_settle(struct worker *w, bool now);
int64_t worker_batch_settle_at(const struct worker *w);
MUST_CHECK enum err_code worker_batch_control(
	struct worker *w, enum journal_type type, struct err *err); /* CLAIM, RELEASE */

/* ---- outputs, changes, what others see --------------------------------------------- */

struct out_work {
	struct note note;
	struct worker *worker;
	STAILQ_ENTRY(out_work) link;
	int64_t offset;
	uint32_t n;
	enum out_target target;
	uint8_t id16[ID16_LEN];
	struct topic_line *line; /* OUT_TOPIC: that topic's */
	uint16_t key;            /* of those that wait for each other */
	unsigned refusals;       /* its topic said so often that it is too large */
	bool refused;            /* a kept request whose signature did not verify */
	size_t size;
	struct buf bytes;
	struct record record;
};
STAILQ_HEAD(out_list, out_work);
/* Committed, to be published. One that finds no room, or a disk that fails, keeps its place and
 * those behind it waiting, but nobody of another line. */
enum out_line { OUT_LINE_DEAD, OUT_LINE_AUTHENTIC, OUT_LINE_REFUSED, OUT_LINES };
struct out_queue {
	struct out_list list;
	int64_t retry_ms; /* monotonic: nothing of it is published before */
};
/* topics.c: the outputs to one topic. Those of one key go one after the other, each when the one
 * before is there. */
#define TOPIC_KEYS 1024 /* keys that share a number wait for each other too */
struct topic_line {
	struct topic_line *next;
	struct out_list list; /* committed, in order */
	size_t count, bytes;  /* decided and not published */
	size_t flying;
	bool alone;                /* the one that flies shall have no company */
	bool failing;              /* said so */
	int64_t retry_ms;          /* monotonic: nothing of it is published before */
	uint8_t flies[TOPIC_KEYS]; /* whose turn it is */
	char name[];
};
struct outs {
	struct out_list staged;
	struct out_queue ready[OUT_LINES];
	struct topic_line *topics; /* they stay as long as the worker */
	size_t flying;             /* to the streams */
	bool dlq_full;
	size_t dlq_need;            /* the largest that found no room */
	size_t dlq_coming;          /* bytes decided for the dlq that do not stand there yet */
	int64_t trimmed[OUT_TOPIC]; /* by target: the index begins there */
	/* Bytes of the refused requests in the quarantine, and of those on their way. */
	size_t refused, refused_coming;
	bool recount;
};
void worker_outs_init(struct worker *w);
void worker_outs_free(struct worker *w);
void worker_outs_drop(struct out_work *out);
void worker_outs_add(struct worker *w, const struct item_out *out);
void worker_outs_committed(struct worker *w);
MUST_CHECK enum err_code worker_outs_load(struct worker *w, struct err *err);
void worker_outs_publish(struct worker *w);
int64_t worker_outs_next_ms(const struct worker *w); /* when there is something to publish */
void worker_outs_finished(struct worker *w, struct out_work *out);
void worker_outs_upkeep(struct worker *w);
/* The output itself, from the store, into its record. */
MUST_CHECK enum err_code worker_outs_fetch(struct worker *w, struct out_work *out, struct err *err);
/* It stands there, or is given up: it waits no longer. */
void worker_outs_ok(struct worker *w, const struct out_work *out, int64_t stream_offset);
bool worker_outs_fly(const struct worker *w); /* is any on its way? */

/* topics.c */
struct topic_line *worker_topic_line(struct worker *w, struct slice topic); /* NULL: broken */
/* So much waits for this topic that its routes must. */
bool worker_topic_full(const struct topic_line *line);
/* Which of those that wait for each other. */
uint16_t worker_topic_key(struct slice key);
void worker_topics_publish(struct worker *w);
int64_t worker_topics_next_ms(const struct worker *w);
void worker_topic_finished(struct worker *w, struct out_work *out);
bool worker_outs_dlq_room(struct worker *w, size_t bytes);
/* Is there room for a quarantined record? Only refused requests may be turned away; counted. */
bool worker_outs_keep(struct worker *w, enum err_code code, const struct record *record);
/* Is it the code of a request that was refused at the door and kept: not authentic? */
bool worker_outs_refusal(enum err_code code);

struct change_request {
	enum worker_change change;
	enum out_target target;
	int64_t stream_offset;
	struct slice headers, key; /* accept: in place of the record's own; empty: none */
};
/* Of its own, so that who asked may go before the worker is through with it: asked for by a thread
 * of this process, or by another process in the journal (a command). */
struct change_note {
	struct note note;
	STAILQ_ENTRY(change_note) link; /* of the batch that has it */
	struct change_request request;  /* with slices into bytes */
	struct buf bytes;
	struct err result;
	bool done, left; /* guarded by the inbox's lock; left: nobody waits for it any more */
	struct cond finished;
	bool is_command, taken; /* all of this is for that; taken: it is in the open batch */
	TAILQ_ENTRY(change_note) listed;
	uint8_t id16[ID16_LEN];
	int64_t asked_ms; /* wall, of who asked */
};
/* NULL: no memory. */
struct change_note *worker_change_new(const struct change_request *request, struct err *err);
void worker_change_free(struct change_note *change);
void worker_change_decide(struct worker *w, struct change_note *change);
void worker_change_answer(struct worker *w, struct change_note *change);

/* Commands that a lane's journal holds and no batch has decided; by turns the lane's thread's and
 * the owner's (command.c). */
TAILQ_HEAD(command_list, change_note);
MUST_CHECK enum err_code command_write(const struct change_request *request,
	const struct journal_header *header, const uint8_t id16[ID16_LEN], int64_t wall_ms,
	struct buf *out, struct err *err);
/* A record of that type was read. */
void command_hear(struct command_list *list, struct slice record, int64_t wall_ms);
/* A batch decides it. */
void command_decided(struct command_list *list, const uint8_t id16[ID16_LEN]);
/* The oldest that nobody has taken; those that are too old go. NULL: none. */
struct change_note *command_next(struct command_list *list, int64_t wall_ms);
/* The batch that had some is given up. */
void command_put_back(struct command_list *list);
void command_free(struct command_list *list);
void worker_commands_look(struct worker *w); /* what stands in the journal by now */
void worker_commands_take(struct worker *w);

/* Of its own, so that who asked may go before the worker is through with it. */
struct reload_note {
	struct note note;
	struct table *table;
	struct err result;
	bool done, left; /* guarded by the inbox's lock; left: nobody waits for it any more */
	struct cond finished;
};
void worker_reload_free(struct reload_note *note);

/* What other threads may ask for. */
struct board_route {
	const char *name; /* of the store's table, or the config's */
	uint64_t parked;
	enum breaker_state breaker;
	unsigned calls;
	bool paused;    /* the dead letters are full */
	bool for_topic; /* it waits for its topic */
};
struct board {
	struct lock lock;
	/* all guarded by lock */
	struct config *config; /* keeps the names alive */
	struct board_route *routes;
	size_t route_count;
	int64_t lag, oldest_ms, position, end;
	int64_t journal_next;
	size_t calls;
	struct store_totals totals;
	enum err_code paused; /* ERR_OK or ERR_FULL */
	char pause_text[ERR_TEXT_MAX];
	struct err failed;
};
/* The age of the oldest event, in whole seconds. */
int64_t worker_board_age_s(const struct board *board, int64_t wall_ms);
/* As JSON: the members of worker_status(). */
MUST_CHECK enum err_code worker_board_put(
	const struct board *board, int64_t wall_ms, struct buf *out, struct err *err);
void worker_board_init(struct board *board);
void worker_board_done(struct board *board);
void worker_board_refresh(struct worker *w);
void worker_board_forget(struct worker *w);                  /* it no longer counts in the gauges */
void worker_board_pause(struct worker *w, const char *text); /* NULL: goes on */

/* ---- the worker -------------------------------------------------------------------- */

/* What carries calls out: one for a worker, or one for all that share a process. */
struct hosts {
	struct fetch *fetch;
	struct exec_host *exec;
	_Atomic size_t workers; /* at work now: they divide the places of a route */
};
MUST_CHECK enum err_code worker_hosts_open(struct hosts *hosts, struct err *err);
/* Every call comes back. */
void worker_hosts_close(struct hosts *hosts);

/* Where a journal is kept: the lane that this worker was given, claimed already. */
struct tenure {
	uint8_t writer[WRITER_LEN];
	uint32_t generation, partitions;
	int32_t partition;
	int64_t beat_ms, idle_beat_ms; /* while anything waits; while nothing does */
	bool unclean;                  /* the owner before did not release */
	bool unworked; /* there was none before, or it did not get to its first record */
	struct command_list *commands;
	/* A command is decided, and committed; it still is in the list. */
	void (*decided)(void *ctx, const struct change_note *command);
	void (*ended)(void *ctx);
	void *ctx;
};
/* The journal is the commit, and the store follows it. */
struct lagging {
	int64_t since_ms;  /* monotonic: the first thing that is not committed; 0: nothing */
	int64_t retry_ms;  /* monotonic: a commit failed, try again then; 0: none failed */
	int64_t failed_ms; /* monotonic: the first that failed */
	size_t events;
	bool flood; /* so much waits for a commit that nothing more is taken */
};

/* What lives is written to the journal again (refresh.c). */
struct refresh {
	struct store_walk walk;
	bool walking;
	int64_t began;     /* in the journal */
	int64_t live_from; /* all that lives was written again from here on */
	int64_t next_ms;   /* wall: the next walk; 0: none was made */
	int64_t step_ms, warned_ms;
};
void worker_refresh(struct worker *w);

struct worker {
	const struct clock *clock;
	struct hosts *hosts, own_hosts;
	_Atomic size_t abroad; /* calls and outputs that somebody else holds */
	struct table *table;
	STAILQ_HEAD(, table) retired;
	struct queue *queue;
	struct store *store;
	struct thread thread;
	struct inbox inbox;
	struct board board;
	_Atomic int64_t last_turn_ms; /* monotonic; written by the owner, read by anyone, alone */

	int64_t wall_ms, mono_ms; /* of this turn */
	struct journal_state journal;
	uint8_t writer[WRITER_LEN]; /* random, of this incarnation */
	bool journaled;             /* the queue keeps a journal; all of this is for that: */
	struct tenure tenure;
	int64_t journal_next, base_offset;
	int64_t journalled_ms;   /* monotonic: the last own record was read back ... */
	int64_t journalled_to;   /* ... and the position that it told */
	bool journalled_late;    /* ... long after it was sent (batch.c) */
	_Atomic bool appending;  /* waits for its record, however long Kafka is away */
	_Atomic bool log_is_bad; /* what broke it is in the log, not in the store */
	int64_t taking;          /* the event that is being taken in; -1: none */
	struct lagging lagging;
	struct refresh refresh;
	int64_t settled_ms;  /* monotonic: the last commit */
	int64_t read_offset; /* next to take from the queue */
	int64_t told;        /* the position that the queue was told */
	bool broken, stopping;
	int64_t stop_deadline_ms;
	uint64_t random;

	struct batch batch;
	struct outs outs;
	struct subject *subjects;
	struct {
		struct subject **at;
		size_t count, cap;
	} heap;
	struct claim *claims;
	struct work_list window;
	size_t window_count, window_bytes;
	size_t calls; /* under way, all routes */
	struct work scratch;
	struct buf identity, subject_buf, text, marked, copy; /* scratch */

	/* After an unclean stop (owner.c). */
	int64_t suspect_end;       /* fresh events below it are suspects ... */
	int64_t suspects_until_ms; /* monotonic: the end is not known before */
	size_t suspects_left;      /* ... this many of them */
	size_t suspect_subjects, suspect_works;
	struct work *alone; /* the suspect in work */

	struct log_gate gate; /* of kept requests that were refused */
	bool store_full, park_full;
	bool maintain;         /* the store is to be tended after the next commit */
	int64_t read_retry_ms; /* monotonic: the queue could not be read, try again then */
	int64_t upkeep_ms, board_ms, look_ms;
	int64_t shown[3]; /* of the gauges that workers share: this one's part */
};
void worker_break(struct worker *w, const struct err *err);
void worker_times(struct worker *w);
double worker_random(struct worker *w); /* [0,1) */
static inline int64_t worker_sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}
int64_t worker_position(const struct worker *w);

/* intake.c. Returns whether more is waiting in the queue. */
bool worker_intake(struct worker *w, int64_t deadline_ms);
bool worker_intake_open(const struct worker *w);
void worker_work_digest(struct worker *w, struct work *work);
MUST_CHECK enum err_code worker_work_identify(struct worker *w, struct work *work, struct err *err);
/* What is known of an identity. OUTCOME_PENDING: it is in work. False also when broken. */
bool worker_known(struct worker *w, const struct claim *id, struct item_seen *out);
struct work *worker_work_keep(struct worker *w, struct work *scratch);
void worker_work_leave_window(struct worker *w, struct work *work);
void worker_work_free(struct worker *w, struct work *work);

/* park.c */
struct subject *worker_subject_find(struct worker *w, struct slice name);
struct subject *worker_subject_get(
	struct worker *w, struct slice name); /* NULL: no memory, broken */
void worker_subject_tidy(struct worker *w, struct subject *subject);
void worker_subject_advance(struct worker *w, struct subject *subject);
void worker_subject_due(struct worker *w, struct subject *subject, int64_t at_mono_ms);
void worker_subject_undue(struct worker *w, struct subject *subject);
void worker_subject_turn(struct worker *w, struct subject *subject);
static inline bool worker_subject_blocked(const struct subject *s)
{
	return s->parked > s->gaps;
}
MUST_CHECK enum err_code worker_park_load(struct worker *w, bool unclean, struct err *err);
void worker_park_due(struct worker *w);
/* Asked before each event: more than this is not parked, but for the events of the window. */
bool worker_park_full(const struct worker *w);
int64_t worker_park_next_ms(const struct worker *w);
void worker_park_soft_timeouts(struct worker *w);
void worker_park_free(struct worker *w);

/* turn.c: a work whose turn it is. */
void worker_work_turn(struct worker *w, struct work *work);

/* run.c: calls and their results. */
void worker_run_place(struct worker *w, struct work *work);
/* A route that calls nobody: done at once, with an output. */
void worker_run_yield(struct worker *w, struct work *work);
void worker_run_leave(struct work *work); /* it no longer waits for a place */
void worker_run_pump(struct worker *w);
void worker_run_committed(struct worker *w); /* a TRY may have become durable */
void worker_run_withdraw(struct worker *w);  /* at the end: no call follows the TRY any more */
void worker_run_finished(struct worker *w, struct work *work);
bool worker_run_suspects(const struct worker *w);
/* Could a call of this route start now? */
bool worker_run_room(
	struct worker *w, const struct route *route, enum ready_line line, bool suspect);
void worker_run_ready(struct route *route, struct subject *subject, enum ready_line line);
/* When a held or paused route is to be looked at again. */
int64_t worker_run_next_ms(const struct worker *w);

/* end.c: outcomes and parking, as items of the batch. */
void worker_work_end(struct worker *w, struct work *work, enum outcome outcome, enum err_code code);
struct park_plan {
	enum park_reason reason;
	enum err_code code;
	int64_t next_ms, deadline_ms; /* wall */
};
void worker_work_park(struct worker *w, struct work *work, const struct park_plan *plan);
/* To the dead letters, or, while they have no room, parked until they have. */
void worker_work_die(struct worker *w, struct work *work, enum err_code code);
/* A parked work, looked at too early: again in wait_ms. Nothing is written. */
void worker_work_put_off(struct worker *w, struct work *work, int64_t wait_ms);
void worker_end_upkeep(struct worker *w); /* tells how many lines were not logged */

/* A route's places, divided among the workers of the process. */
size_t worker_places(const struct worker *w, const struct route *route);

/* ERR_TIMEOUT: not taken up yet at deadline_ms (monotonic; -1: none); it will be. A worker whose
 * record does not come back from Kafka takes nothing up. */
MUST_CHECK enum err_code worker_reload_until(struct worker *w, struct config *config,
	int64_t deadline_ms, struct config_report *report, struct err *err);
/* As worker_change(). ERR_OUTCOME_UNKNOWN: not committed at deadline_ms; it may still be. */
MUST_CHECK enum err_code worker_change_until(struct worker *w, const struct change_request *request,
	int64_t deadline_ms, struct err *err);
/* Does it wait for Kafka, for longer than a record takes? */
bool worker_waits_long(const struct worker *w);

/* lane's work: opens with hosts that others have too, and takes over a lane that is claimed. */
MUST_CHECK enum err_code worker_open_with(struct config *config, const struct clock *clock,
	struct hosts *hosts, struct worker **out, struct config_report *report, struct err *err);
MUST_CHECK enum err_code worker_start_tenure(struct worker *w, struct queue *queue,
	struct store *store, const struct tenure *tenure, struct err *err);
/* Outputs of any worker that shares a queue: each record knows its own. */
void worker_outputs_back(struct record *list);

/* owner.c */
MUST_CHECK enum err_code worker_owner_enter(
	struct worker *w, const struct tenure *tenure, struct err *err);
void worker_owner_upkeep(struct worker *w);
MUST_CHECK enum err_code worker_owner_claim(struct worker *w, bool *out_unclean, struct err *err);
MUST_CHECK enum err_code worker_owner_release(struct worker *w, struct err *err);

/* loop.c */
void *worker_loop(void *worker);
