/* postern_journal.pml - who owns a partition, and what has happened to its events: a model for
 * spin.
 *
 * One partition of the events (a few events, the last one a copy of the first), its journal, and
 * two workers. Nothing tells the workers whose turn it is: each of them may claim the partition at
 * any moment, go on working long after the other one has claimed it, and be killed between any two
 * steps. That is more disorder than a consumer group, timeouts, stopped machines and cut networks
 * can make, so none of these appears here. Only the order of the records in the journal decides.
 *
 * The claims that are checked, on every record that counts, in every order of steps:
 *   - it was decided on exactly the state that it now changes: nothing is skipped or comes again
 *   - no identity has its effect twice, and none of those before the position is without it
 *   - what a worker has applied is what the journal says, never more (its store may be lost)
 *   - nobody waits for ever (spin's own check for states without a next step)
 *
 * A worker's step is: read on in the journal as far as it likes, then do one thing. Reading is seen
 * by nobody else, so that a step of its own for each record would cost states and show nothing. For
 * the same reason the store does not appear: it is what the worker had read at some moment, and a
 * worker that is killed comes back with any prefix of the journal, the empty one too.
 *
 * Records that come late: an append whose answer was lost is sent again, so a record may stand in
 * the journal twice with anything between (REPEATS); a request may arrive after its sender was
 * killed (KILLS); an append is refused for good, or the producer fails for good and nobody knows
 * what became of its last appends, and then all batches that were not read back are sent again, in
 * their order and as they were (FAILURES).
 *
 * Bounds: ROOM records in the journal, WINDOW batches in flight, KILLS, REPEATS and FAILURES in
 * all. A run that has filled the journal ends there.
 *
 * Not in it: RELEASE records (a courtesy: nothing becomes valid or invalid by them), parked events,
 * TRY, published outputs, versions (all of them items of a batch: they are valid with it), the end
 * of retention, damaged bytes, handlers (their calls repeat after a kill, by contract).
 *
 * Each BREAK_... breaks one rule, and a run must find the damage:
 *   BREAK_READBACK     works as soon as its claim is acknowledged, without having read up to it
 *   BREAK_CLAIM        goes on in the epoch that it finds instead of claiming a new one
 *   BREAK_SEQ          a batch is valid whatever its count
 *   BREAK_WRITER       a batch is valid in its epoch, whoever wrote it
 *   BREAK_INCARNATION  a worker is the same writer again after it was killed
 *   BREAK_APPLY        applies a batch when the append is acknowledged, not when it is read back
 *   BREAK_WINDOW       applies all its batches in flight when the first of them is read back
 *   BREAK_FENCE        after losing the partition keeps the position behind its batches in flight
 *   BREAK_RESTAMP      after losing the partition appends what was in flight under a new claim
 *   BREAK_RENUMBER     a new producer sends again what was in flight, under new counts
 *   BREAK_REDECIDE     with a new producer decides again what was in flight, under the same counts
 *   BREAK_RESEND       a new producer goes on behind what was in flight
 *   BREAK_ALONE        sends the batch that failed again, but not those in flight behind it
 * WITNESS breaks nothing: it fails when a run gets to the end with both workers having had valid
 * batches, so that a model in which nothing happens is not taken for one in which all is well. */
#ifndef ROOM
#define ROOM 6
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef WINDOW
#define WINDOW 1
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef REPEATS
#define REPEATS 1
#endif
#ifndef FAILURES
#define FAILURES 0
#endif

/* Identities are bits: event 1 is another one, event 2 has the identity of event 0. */
#define EVENTS 3
#define IDENTITY(event) ((event) == 1 -> 2 : 1)
#define IDENTITIES_BEFORE(event) ((event) == 0 -> 0 : ((event) == 1 -> 1 : 3))

typedef batch {
	byte first, next; /* its events are first..next-1 */
	byte fresh        /* identities to which it gives their effect */
};
typedef record {
	bit claim;
	byte epoch, writer, seq;
	batch what
};
record journal[ROOM];
byte written;  /* records in it */
bit closed;    /* one more was to be written: the run is over */
record stray;  /* still on its way, whatever has become of its sender */
bit straying;
byte kills = KILLS, repeats = REPEATS, failures = FAILURES;

typedef fold {
	byte read, epoch, writer, seq;
	byte next; /* first event that has not ended */
	byte seen  /* identities that had their effect */
};
#define APPLY(F, R) F.next = R.what.next; F.seen = F.seen | R.what.fresh
#define UP_TO(R) R.what.next
#include "judge.inc"

/* ---- the truth: the fold of the whole journal, and what must hold for each record ---- */

fold truth;

inline check_batch(b)
{
	assert(b.first == truth.next);
	assert((b.fresh & truth.seen) == 0);
	assert((b.fresh | truth.seen) == IDENTITIES_BEFORE(b.next))
}

#ifdef WITNESS
byte worked; /* first writer of a valid batch */
inline witness(newest)
{
	assert(worked == 0 || worked % 2 == newest.writer % 2 || newest.what.next != EVENTS);
	worked = (worked == 0 -> newest.writer : worked)
}
#else
#define witness(newest) skip
#endif

inline check_newest()
{
	tell(truth, journal[truth.read]);
	if
	:: VALID_BATCH(truth, journal[truth.read]) ->
		check_batch(journal[truth.read].what);
		witness(journal[truth.read])
	:: else -> skip
	fi;
	fold_next(truth)
}

/* What was applied must be the fold of what was read. */
fold expected;
inline check_applied(F)
{
	do
	:: expected.read < F.read -> fold_next(expected)
	:: else -> break
	od;
	assert(expected.next == F.next && expected.seen == F.seen && expected.seq == F.seq);
	forget_fold(expected)
}

inline forget_fold(F)
{
	F.read = 0; F.epoch = 0; F.writer = 0; F.seq = 0; F.next = 0; F.seen = 0
}

/* ---- the broker ---- */

inline set_batch(to, from)
{
	to.first = from.first; to.next = from.next; to.fresh = from.fresh
}

inline clear_batch(b)
{
	b.first = 0; b.next = 0; b.fresh = 0
}

inline set_record(to, type, number, who, count, b)
{
	to.claim = type; to.epoch = number; to.writer = who; to.seq = count;
	set_batch(to.what, b)
}

/* Perhaps a copy stays on its way. */
inline append(type, number, who, count, b)
{
	if
	:: written < ROOM ->
		set_record(journal[written], type, number, who, count, b);
		written++;
		check_newest();
		if
		:: repeats > 0 && !straying ->
			repeats--;
			straying = 1;
			printf("\ta copy of it is still on its way\n");
			set_record(stray, type, number, who, count, b)
		:: true
		fi
	:: else -> closed = 1
	fi
}

proctype network()
{
end_network:
	do
	:: atomic { straying && written < ROOM ->
		set_record(journal[written], stray.claim, stray.epoch, stray.writer, stray.seq,
			stray.what);
		written++;
		check_newest();
		clear_batch(stray.what);
		set_record(stray, 0, 0, 0, 0, stray.what);
		straying = 0 }
	od
}

/* ---- a worker ---- */

#define MINE OWNS(state, epoch, writer)
#define SLOT(s) kept[(s) % WINDOW]
#define MAY_DECIDE (decided < state.seq + WINDOW && ahead.next < EVENTS)
#define MAY_SEND (sent < decided)
#define MAY_FAIL (failures > 0 && !failed && state.seq < decided)
#define MAY_REPAIR (failed && state.seq < decided)
#define FINISHED (state.seq == decided && state.next == EVENTS)
#define MAY_ACT \
	(MAY_DECIDE || MAY_SEND || MAY_FAIL || MAY_REPAIR || FINISHED || kills > 0)

/* The next one or two events, on top of the batches in flight. */
inline decide()
{
	decided++;
	SLOT(decided).first = ahead.next;
	SLOT(decided).next = ahead.next + 1;
	SLOT(decided).fresh = IDENTITY(ahead.next) & ~ahead.fresh;
	if
	:: ahead.next + 1 < EVENTS ->
		SLOT(decided).next = ahead.next + 2;
		SLOT(decided).fresh =
			SLOT(decided).fresh | (IDENTITY(ahead.next + 1) & ~ahead.fresh)
	:: true
	fi;
	ahead.next = SLOT(decided).next;
	ahead.fresh = ahead.fresh | SLOT(decided).fresh
}

/* Acknowledged is not read back: another claim may stand before it. */
inline send(number)
{
	append(0, epoch, writer, number, SLOT(number));
	sent = (sent < number -> number : sent);
#ifdef BREAK_APPLY
	state.seq = number; state.next = ahead.next; state.seen = ahead.fresh;
	state.read = written;
	check_applied(state)
#endif
}

/* Its own batches are applied here, as all others are: because they are valid. */
inline read_on()
{
	do
	:: state.read < written && MINE && VALID_BATCH(state, journal[state.read]) ->
		fold_next(state);
#ifdef BREAK_WINDOW
		state.seq = decided; state.next = ahead.next; state.seen = ahead.fresh;
#endif
		clear_batch(SLOT(state.seq))
	:: state.read < written && MINE && !VALID_BATCH(state, journal[state.read]) ->
		fold_next(state)
	:: true -> break
	od;
	check_applied(state);
	sent = (sent < state.seq -> state.seq : sent);
	failed = failed && state.seq < decided
}

/* An append is refused for good, or the producer fails and nobody knows what was appended. Until
 * the worker hears of it the old producer may go on. */
inline fail()
{
	failures--;
	failed = 1;
	printf("\tthe producer of writer %d fails\n", writer);
	if
	:: MAY_SEND ->
		sent++;
		printf("\tits batch %d is refused\n", sent)
	:: true
	fi
}

/* What was in flight is in the journal, or comes later, or never: all is sent again, as it was. */
inline repair()
{
	failed = 0;
	printf("\twriter %d sees it, and has read batch %d of %d\n", writer, state.seq, decided);
#if defined(BREAK_RESEND)
	sent = decided
#elif defined(BREAK_ALONE)
	send(state.seq + 1)
#elif defined(BREAK_REDECIDE)
	decided = state.seq; sent = state.seq;
	ahead.next = state.next; ahead.fresh = state.seen
#elif defined(BREAK_RENUMBER)
	sent = decided;
	decided = decided + decided - state.seq;
	if
	:: decided == sent + 1 -> set_batch(SLOT(decided), SLOT(sent))
	:: else -> skip /* as many as the window: each finds itself in its slot again */
	fi
#else
	sent = state.seq
#endif
}

/* Perhaps a request that nobody waits for any more is on its way. */
inline die()
{
	kills--;
	printf("\twriter %d is killed\n", writer);
	if
	:: !straying && MINE && (MAY_SEND || MAY_DECIDE) ->
		if
		:: MAY_SEND -> skip
		:: else -> decide()
		fi;
		printf("\tits batch %d is on its way\n", sent + 1);
		straying = 1;
		set_record(stray, 0, epoch, writer, sent + 1, SLOT(sent + 1))
	:: true
	fi;
	forget_fold(state);
#ifndef BREAK_INCARNATION
	writer = writer + 2;
#endif
	forget_flight()
}

inline forget_flight()
{
	for (i : 0 .. WINDOW - 1) {
		clear_batch(kept[i])
	}
	i = 0;
	clear_batch(ahead);
	decided = 0; sent = 0; failed = 0; epoch = 0; claimed = 0
}

inline lose()
{
#ifdef BREAK_RESTAMP
	set_batch(refused, SLOT(state.seq + 1));
	refusals = (decided > state.seq -> 1 : 0);
#endif
#ifdef BREAK_FENCE
	decided = 0; sent = 0
#else
	forget_flight()
#endif
}

/* Everything that was in flight is gone: what comes next is decided on what was read. */
inline begin()
{
	printf("\twriter %d works, from event %d\n", writer, state.next);
	decided = state.seq; sent = state.seq; claimed = 0;
#ifdef BREAK_FENCE
	if
	:: ahead.next < state.next -> ahead.next = state.next; ahead.fresh = state.seen
	:: else -> skip
	fi
#else
	ahead.next = state.next; ahead.fresh = state.seen
#endif
#ifdef BREAK_RESTAMP
	if
	:: refusals > 0 -> decided++; set_batch(SLOT(decided), refused); send(decided); refusals = 0
	:: else -> skip
	fi
#endif
}

proctype worker(byte writer) /* 1 or 2; two more with each life */
{
	fold state;          /* what it has read and so applied */
	byte epoch, claimed; /* its claim: the number, and where it stands */
	batch ahead;         /* next and fresh: state with the batches in flight on top */
	batch kept[WINDOW];  /* batches in flight, by seq */
	byte decided, sent;  /* highest seq */
	bit failed;          /* some of them were perhaps not appended */
	byte i;
#ifdef BREAK_RESTAMP
	batch refused;
	byte refusals;
#endif

claim:
	atomic {
		do
		:: state.read < written -> fold_next(state)
		:: true -> break
		od;
#ifdef BREAK_CLAIM
		if
		:: state.epoch != 0 ->
			epoch = state.epoch; state.writer = writer;
			begin();
			goto work
		:: else -> skip
		fi;
#endif
		epoch = state.epoch + 1;
		claimed = written;
		append(1, epoch, writer, 0, ahead)
	};
	if
	:: closed -> goto over
	:: atomic { kills > 0 -> die(); goto claim }
	:: atomic { !closed ->
#ifdef BREAK_READBACK
		state.epoch = epoch; state.writer = writer; state.seq = 0;
#else
		do
		:: state.read <= claimed -> fold_next(state)
		:: else -> break
		od;
#endif
		if
		:: MINE -> begin()
		:: else -> lose(); goto claim /* another claim of this epoch came first */
		fi }
	fi;
work:
	do
	:: closed -> goto over
	:: atomic { !closed && (state.read < written || MAY_ACT) ->
		read_on();
		if
		:: !MINE -> lose(); goto claim
		:: MINE && MAY_DECIDE ->
			decide();
			if
			:: FAILURES == 0 -> send(decided)
			:: else -> skip
			fi
		:: MINE && MAY_SEND -> send(sent + 1)
		:: MINE && MAY_FAIL -> fail()
		:: MINE && MAY_REPAIR -> repair()
		:: MINE && kills > 0 -> die(); goto claim
		:: MINE && FINISHED -> goto over
		:: else -> skip
		fi }
	od;
over:
	atomic { forget_fold(state); forget_flight(); writer = 0 }
}

init
{
	atomic {
		run worker(1);
		if
		:: WORKERS == 2 -> run worker(2)
		:: else -> skip
		fi;
		run network()
	}
}
