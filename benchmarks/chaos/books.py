"""Whether anything was lost, doubled or left: every rule is a function from records to findings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.chaos.records import Call, Change, Records, Run, Step
from benchmarks.chaos.shapes import BY_NAME, End
from executions.engine.states import ENDED, is_legal

MARKS = {"completed": "+", "failed": "-", "cancelled": "x", "skipped": "~"}
# A branch that others made needless: it may be cancelled before it begins.
NEEDLESS = "enough others"
COUNTED = frozenset({"chaos.call", "chaos.once", "chaos.defer", "http.request"})


@dataclass(slots=True)
class Explained:
    """Calls beyond one per key and attempt, by what explains them."""

    by_kill: int = 0
    by_outage: int = 0


@dataclass(slots=True)
class Verdict:
    """What the books say. findings: sentences, the worst is any at all."""

    findings: list[str] = field(default_factory=list)
    repeated: Explained = field(default_factory=Explained)
    counts: dict[str, int] = field(default_factory=dict)


class Books:
    """Records with their indexes, and the rules."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.steps: dict[int, list[Step]] = defaultdict(list)
        for step in sorted(records.steps, key=lambda each: (each.run, each.seq, each.attempt)):
            self.steps[step.run].append(step)
        self.changes: dict[int, list[Change]] = defaultdict(list)
        for change in sorted(records.changes, key=lambda each: (each.run, each.seq)):
            self.changes[change.run].append(change)
        self.below: dict[int, list[tuple[str, Run]]] = defaultdict(list)
        self.origins: list[Run] = []
        for run in records.runs.values():
            above = run.parent or run.continued_from or run.started_by or run.mourned
            if above is None:
                self.origins.append(run)
            else:
                self.below[above].append((_relation(run), run))

    # Histories -----------------------------------------------------------------------------------

    def story(self, run: Run) -> str:
        """What was recorded of it and of everything that came of it, in one text."""
        steps = " ".join(f"{s.step}.{s.attempt}{MARKS[s.state]}" for s in self.steps[run.id])
        undone = (
            " ".join(
                f"{each.step}={each.state}" for each in self.records.undoings if each.run == run.id
            )
            if run.id in self._undone
            else ""
        )
        below = sorted(f"{how} {self.story(each)}" for how, each in self.below[run.id])
        inside = "".join(f" [{each}]" for each in below)
        if run.parent is not None and run.reason.startswith(NEEDLESS):
            steps = "as far as it came"
        return f"{run.shape}:{run.state}:{run.reason}({steps}){undone}{inside}"

    @property
    def _undone(self) -> set[int]:
        return {each.run for each in self.records.undoings}

    def stories(self) -> dict[tuple[str, int], str]:
        """By shape and variant; of executions that ran in peace."""
        found: dict[tuple[str, int], str] = {}
        for run in self.origins:
            shape = BY_NAME[run.shape]
            if not shape.loose:
                found.setdefault((shape.name, run.n % shape.variants), self.story(run))
        return found

    # Rules ---------------------------------------------------------------------------------------

    def check(
        self, expected: Mapping[str, range], learnt: Mapping[tuple[str, int], str]
    ) -> Verdict:
        """expected: the numbers started, by shape. learnt: `stories()` of a run in peace."""
        verdict = Verdict()
        rules: list[Callable[[], Iterator[str]]] = [
            lambda: self._all_there(expected),
            self._ends,
            lambda: self._histories(learnt),
            self._steps,
            self._transitions,
            self._undoings,
            lambda: self._calls(verdict.repeated),
            self._leftovers,
        ]
        for rule in rules:
            verdict.findings += rule()
        records = self.records
        verdict.counts = {
            "executions": len(records.runs),
            "started by the script": len(self.origins),
            "steps": len(records.steps),
            "transitions": len(records.changes),
            "compensations": len(records.undoings),
            "calls of the service": len(records.calls),
        }
        return verdict

    def _all_there(self, expected: Mapping[str, range]) -> Iterator[str]:
        found: dict[str, list[int]] = defaultdict(list)
        for run in self.origins:
            found[run.shape].append(run.n)
        for shape in sorted(set(found) | set(expected)):
            have, want = sorted(found[shape]), list(expected.get(shape, range(0)))
            if have != want:
                lost = sorted(set(want) - set(have))[:5]
                yield f"{shape}: {len(have)} executions instead of {len(want)}; without {lost}"

    def _ends(self) -> Iterator[str]:
        for run in self.origins:
            last = self._last(run)
            if not any(_is(last, end) for end in BY_NAME[run.shape].ends(run.n)):
                said = f"{last.state} {last.reason} {last.code} {last.output!r}"
                yield f"{run.shape} {run.n} (execution {last.id}) came to: {said}"
        for run in self.records.runs.values():
            if run.state not in ENDED:
                yield f"{run.shape} (execution {run.id}) has not ended: {run.state} {run.reason}"
            elif run.open_children and run.reason != "continued":
                yield f"execution {run.id} has ended with {run.open_children} children open"

    def _last(self, run: Run) -> Run:
        while following := [each for how, each in self.below[run.id] if how == "next"]:
            run = following[0]
        return run

    def _histories(self, learnt: Mapping[tuple[str, int], str]) -> Iterator[str]:
        for run in self.origins:
            shape = BY_NAME[run.shape]
            if shape.loose:
                continue
            want, story = learnt.get((shape.name, run.n % shape.variants)), self.story(run)
            if story != want:
                yield (
                    f"{shape.name} {run.n} (execution {run.id}) has the history\n  {story}\n"
                    f"  instead of\n  {want}"
                )

    def _steps(self) -> Iterator[str]:
        for run in self.records.runs.values():
            attempts: dict[int, list[Step]] = defaultdict(list)
            for step in self.steps[run.id]:
                attempts[step.seq].append(step)
            for seq, made in attempts.items():
                if [each.attempt for each in made] != list(range(1, len(made) + 1)):
                    numbers = [each.attempt for each in made]
                    yield f"execution {run.id} step {seq} has the attempts {numbers}"
                if any(each.state != "failed" for each in made[:-1]):
                    yield f"execution {run.id} step {seq} was tried again after it had not failed"
            if sorted(attempts) != list(range(1, len(attempts) + 1)):
                yield f"execution {run.id} has the steps {sorted(attempts)}"

    def _transitions(self) -> Iterator[str]:
        for run in self.records.runs.values():
            made, source = self.changes[run.id], ""
            if [each.seq for each in made] != list(range(1, run.transitions + 1)):
                yield f"execution {run.id} has the transitions {[each.seq for each in made]}"
            for each in made:
                if each.source != source:
                    yield f"execution {run.id} went to {source!r} and on from {each.source!r}"
                if each.source and not is_legal(each.source, each.target):  # type: ignore[arg-type]
                    yield f"execution {run.id} went from {each.source} to {each.target}"
                source = each.target
            if source != run.state:
                yield f"execution {run.id} is {run.state} and went to {source!r} last"

    def _undoings(self) -> Iterator[str]:
        recorded = {(each.run, each.seq) for each in self.records.steps}
        calls: set[tuple[int | None, int | None]] = set()
        by_root: dict[int, list[tuple[int, float]]] = defaultdict(list)
        for each in self.records.undoings:
            root = self._root(self.records.runs[each.run])
            if each.state == "pending" and root.reason.startswith("compensat"):
                yield f"compensation {each.id} is pending though {root.id} has been undone"
            if each.state != "pending":
                made = (each.done_by, each.done_seq)
                if made in calls or made not in recorded:
                    yield f"compensation {each.id} has no call of its own on record"
                calls.add(made)
                by_root[root.id].append((each.id, each.settled or 0.0))
        for pk, settled in by_root.items():
            times = [at for _, at in sorted(settled, reverse=True)]
            if times != sorted(times):
                yield f"execution {pk} was not undone from the last to the first"

    def _root(self, run: Run) -> Run:
        while run.parent is not None:
            run = self.records.runs[run.parent]
        return run

    def _leftovers(self) -> Iterator[str]:
        for what, count in self.records.leftovers.items():
            if count:
                yield f"{count} left of: {what}"
        for run in self.records.runs.values():
            if run.owner is not None or run.held:
                yield f"execution {run.id} is {run.state} and still has an owner or a slot"

    # Calls ---------------------------------------------------------------------------------------

    def _calls(self, repeated: Explained) -> Iterator[str]:
        made: dict[tuple[str, int], list[Call]] = defaultdict(list)
        for call in self.records.calls:
            made[call.key, call.attempt].append(call)
        yield from self._uncounted({key for key, _ in made})
        deaths = {kill.pid: kill.at for kill in self.records.kills}
        recorded = {
            (f"{each.run}-{each.step}-{each.seq}", each.attempt) for each in self.records.steps
        }
        keys = {key for key, _ in recorded}
        for (key, attempt), calls in made.items():
            if not key.endswith("-undo") and (
                (key, attempt) not in recorded if attempt else key not in keys
            ):
                yield f"the call {key} was made in an attempt {attempt} that nothing recorded"
            calls.sort(key=lambda each: each.at)
            for call, following in pairwise(calls):
                if self._is_once(key):
                    yield f"the call {key} was made again and must not be"
                if self._killed_between(call, following, deaths):
                    repeated.by_kill += 1
                elif self._outage_between(call, following):
                    repeated.by_outage += 1
                else:
                    yield f"the call {key} ({attempt}) was made again without a kill in between"

    def _uncounted(self, called: set[str]) -> Iterator[str]:
        """What is recorded as called and the service knows nothing of."""
        for step in self.records.steps:
            shape = self.records.runs[step.run].shape
            key = f"{step.run}-{step.step}-{step.seq}"
            if (
                step.type != "compensation"
                and (shape, step.step) in _CALLS
                and step.state in ("completed", "failed")
                and not self._may_have_died_before(step, shape)
                and key not in called
            ):
                yield f"the service has not counted the call {key}, which is recorded"
        for each in self.records.undoings:
            if each.state == "done" and f"{each.run}-{each.step}-{each.seq}-undo" not in called:
                yield f"compensation {each.id} is done and the service knows nothing of it"

    @staticmethod
    def _may_have_died_before(step: Step, shape: str) -> bool:
        return shape == "once" and step.state == "failed"

    def _is_once(self, key: str) -> bool:
        run = self.records.runs.get(int(key.split("-")[0]))
        return run is not None and run.shape == "once"

    def _killed_between(self, call: Call, following: Call, deaths: dict[int, float]) -> bool:
        if call.pid:
            return call.at <= deaths.get(call.pid, 0.0) <= following.at
        return any(call.at <= at <= following.at for at in deaths.values())

    def _outage_between(self, call: Call, following: Call) -> bool:
        lease = self.records.lease_seconds
        return any(
            call.at - lease <= begun <= following.at and call.at <= over + lease
            for begun, over in self.records.outages
        )


def _calls_of(steps: list[dict[str, object]]) -> Iterator[str]:
    """The ids of the steps that call the service."""
    for step in steps:
        config = step["config"]
        assert isinstance(config, dict)
        if config.get("action") in COUNTED:
            yield str(step["id"])
        for part in ("steps", "finally"):
            yield from _calls_of(config.get(part, []))
        for branch in config.get("branches", []):
            yield from _calls_of(branch["steps"])


_CALLS = {
    (shape.name, step) for shape in BY_NAME.values() for step in _calls_of(shape.document["steps"])
}


def _relation(run: Run) -> str:
    if run.parent is not None:
        return run.place
    if run.continued_from is not None:
        return "next"
    return "started" if run.started_by is not None else "mourner"


def _is(run: Run, end: End) -> bool:
    return (
        run.state == end.state
        and run.output == end.output
        and (run.code in end.codes if end.codes else not run.code)
        and (not end.reason or run.reason == end.reason)
    )
