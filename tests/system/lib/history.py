"""The history checker: what was sent and answered, what the destination saw, what the program says now.

    requests ---> [ program, killed again and again ] ---> effects
        |                        |                             |
        +-------- check ---------+---- events, state, dlq -----+

A history is filled while a test runs, from any thread; `check` gives a list of sentences, one for each
broken promise, and an empty list when all held. It is a pure function of the history: it is tested with
histories that are wrong on purpose (test_history.py).
"""

import threading
import time

ENDED = ("applied", "duplicate", "stale", "dead", "quarantined")
OPEN = ("pending", "parked")
NOT_IN_STATE = ("dead", "quarantined")


class Sent:
    """One request and its answer. status None: no answer came, it may be accepted or not."""

    def __init__(self, event_id, entity=None, version=None, status=None, code=None, good=True):
        self.event_id, self.entity, self.version = event_id, entity, version
        self.status, self.code, self.good = status, code, good


class History:
    """
    sent      every request, in the order in which the answers came
    effects   what the destination saw (objects with event_id, entity, version, ok), by arrival
    events    event id -> list of rows of `events get`
    states    entity -> row of `state get`, or None
    dead      rows of `dlq ls`          quarantined  rows of `quarantine ls`
    replayed  ids that an operator sent through again: their effects may come late
    routed    ids whose route leads to the destination; None: all of them
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.sent, self.effects = [], []
        self.events, self.states = {}, {}
        self.dead, self.quarantined = [], []
        self.replayed = set()
        self.routed = None

    # ---- filling -------------------------------------------------------------------------------

    def note(self, event_id, entity, version, answer, good=True):
        """A request of the client's; good=False: it must be refused (forged, stale signature, ...)."""
        with self.lock:
            self.sent.append(Sent(event_id, entity, version, answer.status, answer.code, good))
        return answer

    def collect(self, node, destination=None):
        """Ask the program, and take what the destination has."""
        self.events = {event_id: node.event(event_id) for event_id in self.ids()}
        entities = {s.entity for s in self.sent if s.entity is not None}
        self.states = {entity: node.state(entity) for entity in entities}
        # An entry is published after its outcome is committed, so the last ones may take a moment.
        deadline = time.monotonic() + 10
        while True:
            self.dead = node.cli_json("dlq", "ls")
            self.quarantined = node.cli_json("quarantine", "ls")
            listed = {row["event_id"] for row in self.dead + self.quarantined}
            if not self._left_out(listed) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        if destination is not None:
            self.effects = destination.snapshot()

    def _left_out(self, listed):
        return [i for i in self.ids() if self.outcome(i) in NOT_IN_STATE and i not in listed]

    def ids(self):
        return list(dict.fromkeys(s.event_id for s in self.sent))

    # ---- what follows from the requests --------------------------------------------------------

    def accepted(self):
        """Ids with at least one 200."""
        return {s.event_id for s in self.sent if s.status == 200}

    def unknown(self):
        """Ids without a 200 that may be there nevertheless: no answer, or one that says so."""
        maybe = {s.event_id for s in self.sent if s.good and (s.status is None or s.code == "OUTCOME_UNKNOWN")}
        return maybe - self.accepted()

    def refused(self):
        """Ids that got nothing but refusals."""
        return set(self.ids()) - self.accepted() - self.unknown()

    def outcome(self, event_id):
        rows = self.events.get(event_id) or []
        return rows[0].get("outcome") if rows else None

    def counts(self):
        """outcome -> how many events have it; None: not there."""
        made = {}
        for event_id in self.ids():
            made[self.outcome(event_id)] = made.get(self.outcome(event_id), 0) + 1
        return made

    def first(self):
        """event id -> its first request that was good (all copies carry the same entity and version)."""
        made = {}
        for s in self.sent:
            if s.good:
                made.setdefault(s.event_id, s)
        return made

    # ---- the checks ----------------------------------------------------------------------------

    def check(self, drained=True, ordered=True, repeats=0):
        """drained: nothing may be pending or parked any more. ordered: effects of an entity are compared.
        repeats: how often the effect of one event may be repeated (once for each crash, at most)."""
        problems = []
        problems += self._accepted_ended(drained)
        problems += self._refused_absent()
        problems += self._once_in_state()
        problems += self._dead_letters_agree()
        problems += self._final_versions()
        if self.effects:
            problems += self.check_effects(self.effects, self.routed, ordered, repeats)
        return problems

    def check_effects(self, effects, routed=None, ordered=True, repeats=0):
        """What one destination saw. routed: the ids whose route leads there; None: all of them."""
        routed = set(self.ids()) if routed is None else set(routed)
        problems = self._effects_belong(effects, routed)
        problems += self._effects_bounded(effects, repeats)
        if ordered:
            problems += self._effects_ordered(effects)
        return problems

    def _accepted_ended(self, drained):
        problems = []
        for event_id in sorted(self.accepted()):
            outcome = self.outcome(event_id)
            if outcome is None:
                problems.append(f"lost: {event_id} was answered 200 and is not known")
            elif outcome in OPEN and drained:
                problems.append(f"not ended: {event_id} is {outcome}")
            elif outcome not in ENDED + OPEN:
                problems.append(f"odd outcome: {event_id} is {outcome!r}")
        return problems

    def _refused_absent(self):
        problems = []
        touched = {effect.event_id for effect in self.effects}
        stored = {row["event_id"] for row in self.states.values() if row}
        for event_id in sorted(self.refused()):
            if self.outcome(event_id) is not None:
                problems.append(f"refused but known: {event_id} is {self.outcome(event_id)}")
            if event_id in touched:
                problems.append(f"refused but had an effect: {event_id}")
            if event_id in stored:
                problems.append(f"refused but in the state: {event_id}")
        return problems

    def _once_in_state(self):
        problems = []
        for event_id, rows in self.events.items():
            if len(rows) > 1:
                problems.append(f"twice: {event_id} has {len(rows)} entries")
        return problems

    def _dead_letters_agree(self):
        problems = []
        for name, rows, outcome in (("dlq", self.dead, "dead"), ("quarantine", self.quarantined, "quarantined")):
            listed = [row["event_id"] for row in rows]
            present = set(listed)
            for event_id in _twice(listed):
                problems.append(f"{name} lists {event_id} more than once")
            for event_id in self.ids():
                if self.outcome(event_id) == outcome and event_id not in present:
                    problems.append(f"{outcome} but not in {name}: {event_id}")
            for event_id in listed:
                if event_id in self.events and self.outcome(event_id) != outcome and event_id not in self.replayed:
                    problems.append(f"in {name} but {self.outcome(event_id)}: {event_id}")
        return problems

    def _candidates(self):
        """entity -> {event id: version} of what may have set its version: known, and neither dead nor
        quarantined nor still waiting."""
        made = {}
        for event_id, sent in self.first().items():
            outcome = self.outcome(event_id)
            if sent.entity is None or sent.version is None or outcome is None:
                continue
            if outcome not in NOT_IN_STATE + OPEN:
                made.setdefault(sent.entity, {})[event_id] = sent.version
        return made

    def _final_versions(self):
        problems = []
        candidates = self._candidates()
        for entity, row in self.states.items():
            versions = candidates.get(entity, {})
            if not versions:
                if row:
                    problems.append(f"{entity}: version {row['version']} from nowhere")
                continue
            highest = max(versions.values())
            if not row:
                problems.append(f"{entity}: no state, but version {highest} ended")
            elif int(row["version"]) != highest:
                problems.append(f"{entity}: version {row['version']}, but the highest is {highest}")
            elif versions.get(row["event_id"]) != highest:
                problems.append(f"{entity}: version {highest} is said to come from {row['event_id']}")
        for entity, versions in candidates.items():
            for event_id, version in versions.items():
                if self.outcome(event_id) == "stale" and version == max(versions.values()):
                    if list(versions.values()).count(version) == 1:
                        problems.append(f"{entity}: the highest version {version} ({event_id}) is stale")
        return problems

    def _effects_belong(self, effects, routed):
        """No effect without a request; an applied event had one that succeeded; a stale one had none."""
        problems = []
        good = {effect.event_id for effect in effects if effect.ok}
        touched = {effect.event_id for effect in effects}
        for event_id in sorted(touched - routed):
            problems.append(f"effect of an event that nobody sent there: {event_id}")
        for event_id in sorted(routed):
            outcome = self.outcome(event_id)
            if outcome == "applied" and event_id not in good:
                problems.append(f"applied without a successful effect: {event_id}")
            if outcome == "stale" and event_id in touched:
                problems.append(f"stale, but had an effect: {event_id}")
        return problems

    def _effects_bounded(self, effects, repeats):
        counts = {}
        for effect in effects:
            if effect.ok:
                counts[effect.event_id] = counts.get(effect.event_id, 0) + 1
        return [
            f"{count} successful effects of {event_id}, at most {1 + repeats} are explained"
            for event_id, count in counts.items()
            if count > 1 + repeats and event_id not in self.replayed
        ]

    def _effects_ordered(self, effects):
        """Of one entity, in one life of the worker: once another event's effect began, no effect of an
        earlier one comes again, and versions rise over those that succeeded; repeats of one event (retries)
        stand beside each other. A new life may run again what the last one did not commit, in order; an
        event that never ran before comes after all that succeeded in any life. An event that ended dead
        left no version behind, whatever the destination made of it."""
        problems, ever, highest = [], {}, {}
        last, left, highest_in_life = {}, {}, {}
        for effect in effects:
            entity, event_id, version = effect.entity, effect.event_id, effect.version
            if not entity or event_id in self.replayed:
                continue
            place = (entity, getattr(effect, "life", 0))
            before = last.get(place)
            if event_id not in ever.setdefault(entity, set()) and _not_newer(version, highest.get(entity)):
                problems.append(f"{entity}: version {version} after {highest[entity]}")
            if before is None or before.event_id != event_id:
                if event_id in left.setdefault(place, set()):
                    problems.append(f"{entity}: {event_id} again after {before.event_id}")
                elif _not_newer(version, highest_in_life.get(place)):
                    problems.append(f"{entity}: version {version} after {highest_in_life[place]} in one life")
                if before is not None:
                    left[place].add(before.event_id)
                last[place] = effect
            ever[entity].add(event_id)
            if effect.ok and version is not None and self.outcome(event_id) != "dead":
                highest[entity] = max(version, highest.get(entity, version))
                highest_in_life[place] = max(version, highest_in_life.get(place, version))
        return problems


def _not_newer(version, other):
    return version is not None and other is not None and version <= other


def _twice(listed):
    seen, twice = set(), set()
    for event_id in listed:
        (twice if event_id in seen else seen).add(event_id)
    return sorted(twice)
