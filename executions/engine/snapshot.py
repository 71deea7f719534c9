"""What the planner knows of one execution: the rows of the ledger, as plain objects."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any

from executions.engine.states import State, StepState
from workflows.definition.compiled import CompiledDefinition, CompiledScope, RetryPolicy


class Phase(StrEnum):
    """How far the current step has come."""

    ENTER = "enter"  # next to be looked at; nothing of it has happened
    CALL = "call"  # its action is being called, or may have been when a worker died
    TIMER = "timer"  # it waits for `wait_until`, then it is done
    EXPIRY = "expiry"  # it waits for `wait_until`, then it has timed out
    BACKOFF = "backoff"  # it failed; at `wait_until` its next attempt begins
    INSIDE = "inside"  # a group whose steps are being taken; only in frames
    CHILDREN = "children"  # its child executions are under way
    STOPPING = "stopping"  # it is decided what they come to, and the rest are being cancelled
    LIMITED = "limited"  # its action may not be called yet; at `wait_until`, or once it is woken
    OUTSIDE = "outside"  # it waits for news from outside, until `wait_until` if that is given
    SKIPPED = "skipped"  # somebody had it skipped; the step after it is next
    RESULT = "result"  # it ended the execution; what that comes to is next
    UNDO = "undo"  # its compensation is next to be called
    UNDO_CALL = "undo_call"  # that is being called, or may have been when a worker died
    UNDO_BACKOFF = "undo_backoff"  # that failed; at `wait_until` its next attempt begins


UNDO_PHASES = frozenset({Phase.UNDO, Phase.UNDO_CALL, Phase.UNDO_BACKOFF})


WITH_CHILDREN = frozenset({Phase.CHILDREN, Phase.STOPPING})


@dataclass(frozen=True, slots=True)
class Position:
    """The step an execution stands at. Durable before anything of the step happens.

    started_at: of this attempt; entered_at: of the first one, from which a retry's budget counts.
    generation: of the children it has, one more with each attempt that makes new ones; base: of
    those that its first attempt has made. spent: attempts that a retry of the whole execution has
    left behind, which the step's own retry doesn't count.
    """

    step_id: str
    seq: int  # the how-manieth step of this execution it is; stable over attempts
    phase: Phase
    started_at: datetime
    attempt: int = 1
    wait_until: datetime | None = None
    entered_at: datetime | None = None
    generation: int = 0
    base: int = 0
    spent: int = 0

    @property
    def first_at(self) -> datetime:
        return self.entered_at or self.started_at

    def at(self, phase: Phase, *, wait_until: datetime | None = None) -> Position:
        return replace(self, phase=phase, wait_until=wait_until)


@dataclass(frozen=True, slots=True)
class StepFact:
    """The latest result of a step, as expressions see it."""

    state: StepState
    output: Any = None
    error: Mapping[str, Any] | None = None
    attempts: int = 1


class Part(StrEnum):
    """Which scope of a group is being taken."""

    BODY = "body"
    LAST = "last"  # its `finally`


@dataclass(frozen=True, slots=True)
class Frame:
    """A group the execution is inside of.

    position: of the group itself. floor: how many steps had been entered when this attempt at it
    began; those with higher numbers are its own. error, output: what its body came to, while
    `finally` runs.
    """

    position: Position
    floor: int = 0
    part: Part = Part.BODY
    deadline: datetime | None = None
    error: Mapping[str, Any] | None = None
    output: Any = None


@dataclass(frozen=True, slots=True)
class Outer:
    """What an item or a branch sees of the execution around it, which is at rest meanwhile."""

    input: Any
    vars: Mapping[str, Any]
    steps: Mapping[str, StepFact]
    names: Mapping[str, Any]
    caught: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class UndoItem:
    """A compensation that is to be called.

    id: of its row. execution_id, seq: which step it undoes, of this execution or of one below it.
    params: as they were rendered when the step completed. timeout: of one attempt.
    """

    id: int
    execution_id: int
    seq: int
    step_id: str
    name: str
    action: str
    params: Any
    retry: RetryPolicy | None
    timeout: timedelta | None


@dataclass(frozen=True, slots=True)
class Undo:
    """That an execution is undoing what it has done, and how it is to end afterwards.

    target: FAILED with `error`, or CANCELLED for `reason` by `actor`. current: id of the row whose
    compensation is or was being called; action: what that calls. by_hand: it had ended before, so
    nobody is waiting to hear of its end. stopped: somebody has had enough; the rest is left.
    """

    target: State
    actor: str
    reason: str = ""
    error: Mapping[str, Any] | None = None
    current: int = 0
    action: str = ""
    by_hand: bool = False
    stopped: bool = False


@dataclass(slots=True)
class Snapshot:
    """Everything that the next decision may depend on. `plan` reads it, `advance` changes it."""

    execution_id: int
    definition: CompiledDefinition
    workflow: str
    version: str
    state: State
    input: Any
    vars: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, StepFact] = field(default_factory=dict)
    position: Position | None = None
    entered: int = 0  # steps entered so far; the limit counts these
    # Of each level of groups the step that completed last, by its number: the later, the lower.
    outputs: tuple[tuple[int, Any], ...] = ()
    frames: tuple[Frame, ...] = ()  # the groups it is inside of, the outermost first
    caught: Mapping[str, Any] | None = None  # the error that a catch has led here with
    names: Mapping[str, Any] = field(default_factory=dict)  # bound by catches and maps
    deadline: datetime | None = None  # of the whole execution
    paused_at: datetime | None = None
    started_at: datetime | None = None
    max_steps: int = 10_000
    max_input_bytes: int = 1024 * 1024
    max_output_bytes: int = 256 * 1024
    max_joined_bytes: int = 16 * 1024 * 1024
    scope_id: str = ""  # the scope it runs: the document's, that of a map, or that of a branch
    outer: Outer | None = None
    item_names: Mapping[str, Any] = field(default_factory=dict)  # what enclosing maps bind
    generation: int = 0  # of the children made last
    wants_slot: bool = False  # it may not go on before it has a slot of its concurrency key
    undo: Undo | None = None
    # What was found to be undone next; read anew by every owner.
    undo_items: tuple[UndoItem, ...] = ()
    # What steps were called when they were begun, by their numbers, if that was another name: the
    # keys of their calls stay the same.
    called_as: Mapping[int, str] | None = None

    @property
    def scope(self) -> CompiledScope:
        return self.definition.scopes[self.scope_id]

    @property
    def last_output(self) -> Any:
        """Of the step that completed last in the group it is inside of, or in all of it."""
        floor = self.frames[-1].floor if self.frames else 0
        return next((value for seq, value in reversed(self.outputs) if seq > floor), None)

    def note_output(self, seq: int, value: Any) -> None:
        """A step has completed with data: what has a lower number came before it."""
        kept = tuple(each for each in self.outputs if each[0] > seq)
        self.outputs = (*kept, (seq, value))

    def __copy__(self) -> Snapshot:
        # Every plan makes one, and what `copy` does by itself for slots takes five times as long.
        return Snapshot(*_PARTS_OF(self))


_PARTS_OF = attrgetter(*(each.name for each in fields(Snapshot)))


class StepsView(Mapping[str, Any]):
    """`steps` in an expression: looks a step up when asked, copies nothing."""

    __slots__ = ("_facts",)

    def __init__(self, facts: Mapping[str, StepFact]) -> None:
        self._facts = facts

    def __getitem__(self, step_id: str) -> dict[str, Any]:
        fact = self._facts[step_id]
        return {
            "output": fact.output,
            "state": fact.state.value,
            "error": fact.error,
            "attempts": fact.attempts,
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)


def scope_of(snapshot: Snapshot) -> dict[str, Any]:
    """The names an expression of this execution can see now."""
    started = snapshot.started_at
    scope = {
        "input": snapshot.input,
        "vars": snapshot.vars,
        "steps": StepsView(snapshot.steps),
        "execution": {
            "id": snapshot.execution_id,
            "started_at": started.isoformat() if started else None,
            "workflow": snapshot.workflow,
            "version": snapshot.version,
        },
        "error": snapshot.caught,
        **snapshot.item_names,
        **snapshot.names,
    }
    outer = snapshot.outer
    if outer is not None:
        scope["input"] = outer.input
        scope["vars"] = ChainMap(dict(snapshot.vars), dict(outer.vars))
        scope["steps"] = StepsView(ChainMap(dict(snapshot.steps), dict(outer.steps)))
        scope["error"] = snapshot.caught or outer.caught
    return scope
