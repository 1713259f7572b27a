/* postern_follow.pml - reading a journal from the middle: a model for spin.
 *
 * Who waits for the outcome of an event follows the journal of its partition, and who restores a
 * lost store reads a journal whose beginning has expired. Neither has read the whole log, and yet
 * each must find valid exactly what a reader of the whole log finds valid. A record alone does not
 * say whether it is: it may be the work of a worker that had lost the partition.
 *
 * So every record carries a note: where its writer had read to when it wrote, and the fold up to
 * there (in the program: the header's checkpoint). That is a fact about the records before, and
 * true even in a record that is not valid itself. The follower's rule: begin anywhere, at record y;
 * decide nothing until a record comes whose note is about y or a later place; take the note for the
 * fold there and judge again from there on. No such record yet: wait, or begin lower (at 0 the fold
 * is known: nothing).
 *
 * Here are a journal with two workers as in postern_journal.pml (each may claim at any moment and
 * go on when it should not; ROOM, KILLS, REPEATS and WINDOW mean the same), made small: a batch is
 * one event. The last event is produced by an ingress, which waits for its outcome and follows the
 * journal for it.
 *
 * The claims that are checked, in every order of steps, wherever the follower begins:
 *   - its verdict on every record is that of the reader of everything
 *   - whoever produced an event hears of its outcome, if the journal has room for it
 *
 * The follower reads each record as soon as it is there. To read later would be the same: what it
 * finds depends on the records only, and its one act, to produce the event, may come at any time.
 *
 * Not in it: what an answer says, the end of the wait, damaged bytes, requests that arrive after
 * their sender was killed (they are as if it had lived that long), records that expire while the
 * follower reads (it then begins again).
 *
 * Each BREAK_... breaks one rule, and a run must find the damage:
 *   BREAK_FIRST  takes the first record that it sees for valid
 *   BREAK_OLDER  takes a note about a place before y, though it has not seen what is between
 *   BREAK_COUNT  the note is without seq: the noted owner's first batch is taken, whatever its seq
 *   BREAK_NOTE   the note names the end of the journal, not the place that its writer has read to
 *   BREAK_TRUST  answers with the first batch that has the event, valid or not
 *   BREAK_LATE   produces the event first and begins to follow afterwards
 * WITNESS breaks nothing: it fails when a follower that began in the middle gets its answer, so
 * that a model in which none ever does is not taken for one in which all is well. */
#ifndef ROOM
#define ROOM 6
#endif
#ifndef WINDOW
#define WINDOW 1
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef REPEATS
#define REPEATS 0
#endif
#ifndef EVENTS
#define EVENTS 2 /* the last one is that of the ingress */
#endif

typedef record {
	bit claim;
	byte epoch, writer, seq;
	byte next;                               /* of a batch: the event behind its own */
	byte noted, at_epoch, at_writer, at_seq; /* the fold of journal[0..noted) */
};
record journal[ROOM];
byte written; /* records in it */
bit closed;   /* one more was to be written: the run is over */
record stray; /* still on its way */
bit straying;
byte kills = KILLS, repeats = REPEATS;
byte offered = EVENTS - 1; /* events that are there */

typedef fold {
	byte read, epoch, writer, seq;
	byte next /* first event that has not ended */
};
#define APPLY(F, R) F.next = R.next
#define UP_TO(R) R.next
#include "judge.inc"

inline forget_fold(F)
{
	F.read = 0; F.epoch = 0; F.writer = 0; F.seq = 0; F.next = 0
}

/* ---- the follower ---- */

fold truth;        /* of the whole journal */
bit verdict[ROOM]; /* the truth about each record */
fold view;         /* what the follower knows; view.read: as far as it has judged */
byte start;        /* y */
bit following, synced, answered;
#ifdef BREAK_COUNT
bit any_count;
#endif
#ifdef WITNESS
bit middle;
#endif

/* The note may be about an earlier record: from there on all are judged again. */
inline take_note(it)
{
	synced = 1;
	printf("\tthe follower takes the note of %d\n", view.read);
#ifdef BREAK_COUNT
	any_count = 1;
#endif
#ifdef WITNESS
	middle = (start > 0);
#endif
	view.epoch = it.at_epoch; view.writer = it.at_writer; view.seq = it.at_seq;
#if defined(BREAK_FIRST)
	assert(verdict[view.read]);
	view.epoch = it.epoch; view.writer = it.writer; view.seq = it.seq;
	view.read++
#elif defined(BREAK_OLDER)
	view.read = (it.noted >= start -> it.noted : start)
#else
	view.read = it.noted
#endif
}

#if defined(BREAK_FIRST) || defined(BREAK_OLDER)
#define USABLE(r) true
#else
#define USABLE(r) (r.noted >= start)
#endif

inline answer()
{
#ifdef WITNESS
	assert(!middle);
#endif
	answered = 1
}

inline judge_record(it)
{
#ifdef BREAK_COUNT
	if
	:: any_count && !it.claim && OWNS(view, it.epoch, it.writer) ->
		view.seq = it.seq - 1;
		any_count = 0
	:: else -> skip
	fi;
#endif
	assert(VALID(view, it) == verdict[view.read]);
	if
	:: VALID_BATCH(view, it) && it.next == EVENTS -> answer()
	:: else -> skip
	fi;
	fold_next(view)
}

/* As far as the journal goes. */
inline follow()
{
	do
	:: view.read == written -> start = (synced -> 0 : start); break
#ifdef BREAK_TRUST
	:: view.read < written && !journal[view.read].claim && journal[view.read].next == EVENTS &&
			!answered ->
		assert(verdict[view.read]);
		answer()
#endif
	:: view.read < written && synced -> judge_record(journal[view.read])
	:: view.read < written && !synced && USABLE(journal[view.read]) ->
		take_note(journal[view.read])
	:: view.read < written && !synced && !USABLE(journal[view.read]) -> view.read++
	od
}

inline begin()
{
	forget_fold(view);
	printf("\tthe follower begins at %d\n", start);
	following = 1;
	synced = (start == 0);
	view.read = start;
	follow()
}

/* ---- the broker ---- */

inline newest_is_there()
{
	tell(truth, journal[truth.read]);
	printf("\tnote: up to %d, epoch %d, writer %d, seq %d\n", journal[truth.read].noted,
		journal[truth.read].at_epoch, journal[truth.read].at_writer,
		journal[truth.read].at_seq);
	verdict[truth.read] = VALID(truth, journal[truth.read]);
	fold_next(truth);
	if
	:: following -> follow()
	:: else -> skip
	fi
}

inline set_record(to, type, number, who, count, behind)
{
	to.claim = type; to.epoch = number; to.writer = who; to.seq = count; to.next = behind
}

inline set_note(to, place, number, who, count)
{
	to.noted = place; to.at_epoch = number; to.at_writer = who; to.at_seq = count
}

#ifdef BREAK_NOTE
#define NOTED written
#else
#define NOTED state.read
#endif

/* Perhaps a copy stays on its way. */
inline append(type, count, behind)
{
	if
	:: written < ROOM ->
		set_record(journal[written], type, epoch, writer, count, behind);
		set_note(journal[written], NOTED, state.epoch, state.writer, state.seq);
		written++;
		newest_is_there();
		if
		:: repeats > 0 && !straying ->
			repeats--;
			straying = 1;
			set_record(stray, type, epoch, writer, count, behind);
			set_note(stray, journal[written - 1].noted, state.epoch, state.writer,
				state.seq)
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
			stray.next);
		set_note(journal[written], stray.noted, stray.at_epoch, stray.at_writer,
			stray.at_seq);
		written++;
		newest_is_there();
		set_record(stray, 0, 0, 0, 0, 0);
		set_note(stray, 0, 0, 0, 0);
		straying = 0 }
	od
}

/* ---- a worker ---- */

#define MINE OWNS(state, epoch, writer)
#define MAY_DECIDE (decided < state.seq + WINDOW && ahead < offered)
#define MAY_ACT (MAY_DECIDE || kills > 0 || state.next == EVENTS)

inline forget_worker()
{
	forget_fold(state);
	epoch = 0; claimed = 0; ahead = 0; decided = 0
}

proctype worker(byte writer) /* 1 or 2; two more with each life */
{
	fold state;          /* what it has read */
	byte epoch, claimed; /* its claim: the number, and where it stands */
	byte ahead, decided; /* next event and highest seq, with the batches in flight */

claim:
	atomic {
		do
		:: state.read < written -> fold_next(state)
		:: true -> break
		od;
		epoch = state.epoch + 1;
		claimed = written;
		append(1, 0, 0)
	};
	if
	:: closed -> goto over
	:: atomic { kills > 0 -> kills--; forget_worker(); writer = writer + 2; goto claim }
	:: atomic { !closed ->
		do
		:: state.read <= claimed -> fold_next(state)
		:: else -> break
		od;
		claimed = 0;
		if
		:: MINE -> ahead = state.next; decided = state.seq
		:: else -> epoch = 0; goto claim /* another claim of this epoch came first */
		fi }
	fi;
	do
	:: closed -> goto over
	:: atomic { !closed && (state.read < written || MAY_ACT) ->
		do
		:: state.read < written && MINE -> fold_next(state)
		:: true -> break
		od;
		if
		:: !MINE -> epoch = 0; ahead = 0; decided = 0; goto claim
		:: MINE && MAY_DECIDE ->
			ahead++;
			decided++;
			append(0, decided, ahead)
		:: MINE && kills > 0 ->
			kills--; forget_worker(); writer = writer + 2; goto claim
		:: MINE && state.next == EVENTS -> goto over
		:: else -> skip
		fi }
	od;
over:
	atomic { forget_worker(); writer = 0 }
}

proctype ingress()
{
#ifdef BREAK_LATE
	offered = EVENTS;
#endif
	atomic {
		do
		:: start < written -> start++
		:: true -> break
		od;
		begin()
	};
	do
	:: atomic { following && !synced && !closed ->
		do
		:: start > 0 -> start--
		:: true -> break
		od;
		begin() }
	:: atomic { synced && offered < EVENTS ->
		printf("\tthe ingress produces event %d\n", offered);
		offered++ }
	:: answered || closed -> break
	od
}

init
{
	atomic {
		run worker(1);
		run worker(2);
		run network();
		run ingress()
	}
}
