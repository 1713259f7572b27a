/* postern_idle.pml - an owner with nothing to do is hardly heard: a model for spin.
 *
 * Who owns a partition is decided by the order of its journal (postern_journal.pml); a claim is safe
 * at any time. This model asks when claims are made, and when an owner may call a handler. An owner
 * at work writes so often that its silence is a reason to take over. One that has nothing to do
 * writes nearly nothing. So silence counts only while something waits that an owner would have
 * spoken of: an event behind the position that its journal tells, or a timer of a parked event that
 * is due. Both sides look at the same facts: what a follower takes for waiting, a living owner does
 * not sleep over. And an owner that comes out of idleness reads back a record of its own before it
 * calls anybody, as it may have been replaced in its sleep.
 *
 * Time is in it only as an order: an owner that runs, and has something to do, is heard in time; to
 * hear that somebody is silent takes longer than a lease lasts (an own record read back, not long
 * ago). A worker may be killed, or stand still for as long as it likes and wake.
 *
 * The claims that are checked, in every order of steps:
 *   - whoever calls a handler owns the partition at that moment
 *   - nobody takes over from an owner that runs
 *   - everything that waits is worked in the end, while one worker lives
 *
 * Not in it: that a silence many times as long counts even when nothing waits; records and their
 * order, the rank among followers, a worker that stands still between its look at the lease and the
 * call, clocks that differ (the owner wakes some seconds early).
 *
 * Each BREAK_... breaks one rule, and a run must find the damage:
 *   BREAK_LEASE    an owner that was idle calls the handler at once
 *   BREAK_SILENCE  silence counts, whether anything waits or not
 *   BREAK_EVENTS   a follower does not look where the events end
 *   BREAK_TIMER    a follower does not look at the timers of what is parked
 *   BREAK_QUIET    an owner sleeps on though a timer is due
 * WITNESS breaks nothing: it fails when what came after the death of an idle owner is worked. */
#ifndef KILLS
#define KILLS 1
#endif
#ifndef STOPS
#define STOPS 1
#endif
#ifndef EVENTS
#define EVENTS 2
#endif

#define FIRST 0
#define OTHER(w) (1 - (w))

byte sent, done;          /* events; the position that the journal tells */
bit parked = 1, due;      /* one parked event, and its timer */
byte owner = FIRST;       /* by the order of the journal */
bit mine[2], lease[2];    /* what each worker believes */
bit dead[2], still[2];
byte kills = KILLS, stops = STOPS;
#ifdef WITNESS
bit died_idle;
#endif

#define OVER (done == EVENTS && !parked)
#define RUNS(w) (!dead[w] && !still[w])

/* What an owner counts as something to do, and a follower as something that waits. */
#ifdef BREAK_QUIET
#define BUSY (sent > done)
#else
#define BUSY (sent > done || due)
#endif
#if defined(BREAK_SILENCE)
#define WAITS true
#elif defined(BREAK_EVENTS)
#define WAITS due
#elif defined(BREAK_TIMER)
#define WAITS (sent > done)
#else
#define WAITS (sent > done || due)
#endif
#define SILENT(w) (!RUNS(w) || !BUSY)

#ifdef BREAK_LEASE
#define MAY_CALL(w) mine[w]
#else
#define MAY_CALL(w) (mine[w] && lease[w])
#endif

inline call(w)
{
	assert(owner == w);
#ifdef WITNESS
	assert(!died_idle);
#endif
	printf("\tworker %d calls the handler\n", w)
}

proctype worker(byte w)
{
	do
	:: OVER -> break
	:: atomic { !OVER && RUNS(w) && MAY_CALL(w) && sent > done -> call(w); done++ }
	:: atomic { !OVER && RUNS(w) && MAY_CALL(w) && due -> call(w); due = 0; parked = 0 }
	/* A beat: it is read back, or what came first is. */
	:: atomic { !OVER && RUNS(w) && mine[w] && !lease[w] ->
		if
		:: owner == w -> lease[w] = 1; printf("\tworker %d is heard\n", w)
		:: else -> mine[w] = 0; printf("\tworker %d was replaced\n", w)
		fi }
	/* No record for a while: who has nothing to do writes none. */
	:: atomic { !OVER && RUNS(w) && mine[w] && lease[w] && !BUSY -> lease[w] = 0 }
	:: atomic { !OVER && RUNS(w) && !mine[w] && owner != w && WAITS && SILENT(owner) ->
		assert(!RUNS(owner));
		printf("\tworker %d takes over\n", w);
		lease[owner] = 0; /* so long it was silent */
		owner = w;
		mine[w] = 1;
		lease[w] = 1 }
	:: atomic { !OVER && RUNS(w) && kills > 0 ->
		kills--;
		dead[w] = 1;
#ifdef WITNESS
		died_idle = (owner == w && !BUSY && sent < EVENTS);
#endif
		printf("\tworker %d is killed\n", w);
		break }
	:: atomic { !OVER && RUNS(w) && stops > 0 ->
		stops--;
		still[w] = 1;
		printf("\tworker %d stands still\n", w) }
	:: atomic { still[w] -> still[w] = 0; printf("\tworker %d wakes\n", w) }
	od
}

/* A worker that lives and has nothing to do waits here: it is not the end while anything waits. */
proctype world()
{
	do
	:: atomic { sent < EVENTS -> sent++; printf("\tan event comes\n") }
	:: atomic { parked && !due -> due = 1; printf("\tthe timer is due\n") }
	:: OVER -> break
	od
}

init
{
	atomic {
		mine[FIRST] = 1;
		lease[FIRST] = 1;
		run worker(FIRST);
		run worker(OTHER(FIRST));
		run world()
	}
}
