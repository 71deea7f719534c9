"""What the planner decides: plain data that the runtime makes durable, then carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from executions.engine.errors import ErrorInfo
from executions.engine.events import LogRecord, Verb
from executions.engine.payload import NULL, Payload
from executions.engine.slots import Slot
from executions.engine.snapshot import Frame, Position, Undo, UndoItem
from executions.engine.states import State, StepState, UndoState
from workflows.definition.redaction import Place


@dataclass(frozen=True, slots=True)
class RecordStep:
    """One attempt of a step is over: a row for ever."""

    seq: int
    step_id: str
    name: str
    type: str
    state: StepState
    started_at: datetime
    ended_at: datetime
    attempt: int = 1
    params: Payload = NULL
    output: Payload = NULL
    error: ErrorInfo | None = None
    log: tuple[LogRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class SetVariables:
    """The execution's variables, all of them, from here on."""

    variables: Mapping[str, Any]
    payload: Payload


@dataclass(frozen=True, slots=True)
class Promise:
    """How a step that has completed is to be undone, should it come to that: a row.

    error: why it can't be.
    """

    seq: int
    step_id: str
    name: str
    action: str
    params: Payload = NULL
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True)
class Settle:
    """What has come of a compensation; `seq`: of the row that recorded its last attempt."""

    id: int
    state: UndoState
    seq: int
    attempts: int
    error: ErrorInfo | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Because:
    """Another reason for the state that the execution is in already."""

    reason: str


@dataclass(frozen=True, slots=True)
class Move:
    """The execution stands at this step from here on; None = at none."""

    position: Position | None


@dataclass(frozen=True, slots=True)
class Transit:
    """The execution's state changes: one row of the history of transitions."""

    source: State
    target: State
    reason: str
    actor: str


class ChildKind(StrEnum):
    """What a child execution does of its parent's step."""

    ITEM = "item"
    BRANCH = "branch"
    CHILD = "child"  # another workflow


@dataclass(frozen=True, slots=True)
class Spawn:
    """Make a child execution for each item that has none that succeeded since `base`.

    concurrency: how many may be under way at once; None = all. tolerated: how many may fail before
    the execution is told so. needed: how many have to succeed before it is told so; 0 = it is told
    when all have ended. takes_up: those whose last child failed get no new one, that one goes on.
    version, slot, hides: of a child workflow, the id of the version it runs, the slot that it
    needs, and where its input holds what that version hides.
    """

    step_id: str
    generation: int
    base: int
    items: tuple[Payload, ...]
    concurrency: int | None
    tolerated: int
    kind: ChildKind = ChildKind.ITEM
    needed: int = 0
    takes_up: bool = False
    version: int | None = None
    slot: Slot | None = None
    hides: Place | None = None


@dataclass(frozen=True, slots=True)
class StartOther:
    """Start an execution of its own under this id, which nobody else can have.

    hides: where its input holds what its version hides.
    """

    execution_id: int
    version: int
    input: Payload
    slot: Slot | None = None
    hides: Place | None = None


@dataclass(frozen=True, slots=True)
class TellChildren:
    """Pass a wish on to the children of a generation that are under way."""

    step_id: str
    generation: int
    verb: Verb
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Open:
    """From here on a step waits for news from outside; data: what its kind keeps of the wait."""

    kind: str
    step_id: str
    seq: int
    attempt: int
    data: Mapping[str, Any]


class Closing(StrEnum):
    """How a wait for news from outside came to its end."""

    DELIVERED = "delivered"
    EXPIRED = "expired"  # its own time, or that of something it is inside of, was over
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"  # the execution failed, or went elsewhere


@dataclass(frozen=True, slots=True)
class Close:
    """A wait that was opened is over, in whatever way; outcome: one of Closing."""

    kind: str
    step_id: str
    seq: int
    attempt: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Reject:
    """What was delivered does not suit the step, which goes on waiting; reason: a sentence."""

    kind: str
    step_id: str
    seq: int
    attempt: int
    data: Mapping[str, Any]
    reason: str


@dataclass(frozen=True, slots=True)
class WriteLog:
    """Lines for the log, of a step that goes on."""

    step_id: str
    attempt: int
    log: tuple[LogRecord, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """Once this plan is durable, the action of the current step is to be called."""

    position: Position


@dataclass(frozen=True, slots=True)
class CallUndo:
    """Once this plan is durable, the compensation `item` is to be called."""

    position: Position
    item: UndoItem


@dataclass(frozen=True, slots=True)
class Survey:
    """What is to be undone is to be read; then `Surveyed`."""


@dataclass(frozen=True, slots=True)
class LineUp:
    """The execution waits for a place of this limit, and is woken when it is handed one."""

    limit_id: int


@dataclass(frozen=True, slots=True)
class Yield:
    """There is more to plan; make this much durable and come back with `Continued`."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do for a moment, which its worker waits out; then `Continued`."""

    until: datetime


@dataclass(frozen=True, slots=True)
class SetControl:
    """Where the execution is inside of groups and catches, all of it, from here on."""

    frames: tuple[Frame, ...]
    caught: Mapping[str, Any] | None
    names: Mapping[str, Any]
    entered_at: datetime | None
    generation: int
    base: int
    spent: int
    deadline: datetime | None
    undo: Undo | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Nothing to do until `until`, or until a message comes (None)."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Finish:
    """The execution has ended with this output or this error.

    next_input: a new execution of the same version follows it, with this input and this slot.
    again: it had ended before, and whoever had to hear of that has.
    """

    output: Payload | None = None
    error: ErrorInfo | None = None
    next_input: Payload | None = None
    next_slot: Slot | None = None
    again: bool = False


Command = (
    RecordStep
    | Promise
    | Settle
    | Because
    | SetVariables
    | SetControl
    | Move
    | Transit
    | Spawn
    | StartOther
    | TellChildren
    | Open
    | Close
    | Reject
    | WriteLog
    | Call
    | CallUndo
    | Survey
    | LineUp
    | Yield
    | Rest
    | Block
    | Finish
)
