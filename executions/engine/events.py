"""What can happen to an execution, as the planner hears of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from executions.engine.errors import ErrorInfo
from executions.engine.payload import NULL, Payload
from executions.engine.slots import Slot
from executions.engine.snapshot import UndoItem
from workflows.definition.redaction import Place


class Verb(StrEnum):
    """What somebody may ask of an execution; all but `rerun` are kinds of inbox messages."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"
    SKIP = "skip"
    COMPENSATE = "compensate"  # taken at once, under the row's lock
    RERUN = "rerun"  # makes a new execution; the one it is asked of hears nothing of it


WISHES = tuple(verb.value for verb in Verb if verb is not Verb.RERUN)
# The kind of message that a child sends; not a wish of anybody's.
CHILDREN = "children"
# The kinds of messages that bring a step what it waits for: `Delivered`.
SIGNAL = "signal"
DECISION = "decision"
CALLBACK = "callback"
DELIVERIES = frozenset({SIGNAL, DECISION, CALLBACK})


@dataclass(frozen=True, slots=True)
class Claimed:
    """A worker has become the owner and asks what to do with what it found.

    lost_call: the step's action may have been called by an owner that died, and must not be
    called again blindly.
    """

    lost_call: bool = False


@dataclass(frozen=True, slots=True)
class Continued:
    """The plan before this one stopped in the middle, to let others have a turn."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line an action logged."""

    level: str
    event: str
    fields: dict[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Barred:
    """The current step's action may not be called yet: at `until`, or (None) once a place of the
    limit is handed to the execution."""

    until: datetime | None
    limit_id: int = 0


@dataclass(frozen=True, slots=True)
class CallSucceeded:
    """The current step's action returned."""

    output: Payload
    params: Payload = NULL
    log: tuple[LogRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class CallFailed:
    """The current step's action ended with an error."""

    error: ErrorInfo
    params: Payload = NULL
    log: tuple[LogRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class CallPending:
    """The current step's action has returned; what it comes to is told later, from outside.

    queue, payload: of the task that is to be done for it, if there is one.
    """

    params: Payload = NULL
    queue: str = ""
    payload: Payload = NULL
    log: tuple[LogRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class ChildFound:
    """The workflow of the current step has a version for it, which takes this input.

    execution_id: of the execution that is to be started, if nobody is to wait for it; else 0.
    hides: where the input holds what the version hides.
    """

    version_id: int
    input: Payload
    execution_id: int = 0
    params: Payload = NULL
    slot: Slot | None = None
    hides: Place | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asked something: one message of the inbox.

    seq, output: of the step that is to be skipped (0: whichever it stands at), and what it is to
    be taken to have come to. compensate: what was done is to be undone before it is cancelled.
    """

    verb: Verb
    actor: str
    reason: str = ""
    seq: int = 0
    output: Any = None
    compensate: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """All children of a generation have ended, or too many have failed: the row says which."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """News from outside for the attempt at the step with this number, one of DELIVERIES.

    It changes nothing if the execution does not stand there any more.
    """

    kind: str
    seq: int
    attempt: int
    data: Mapping[str, Any]
    actor: str


@dataclass(frozen=True, slots=True)
class ChildResult:
    """What one child came to; of several attempts the one that counts."""

    index: int
    succeeded: bool
    output: Any = None
    error: Mapping[str, Any] | None = None
    execution_id: int = 0


@dataclass(frozen=True, slots=True)
class ChildrenEnded:
    """No child of a generation is under way any more; in the order of the items."""

    children: tuple[ChildResult, ...]
    generation: int = 1


@dataclass(frozen=True, slots=True)
class ChildrenFailing:
    """More of a generation have failed than the step tolerates, and others are still under way."""

    generation: int = 1


@dataclass(frozen=True, slots=True)
class ChildrenEnough:
    """As many of a generation have succeeded as the step needs, and others are still under way."""

    generation: int = 1


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What there is to be undone, out of the rows.

    items: the next ones, the last completed first. busy: something of the execution is still under
    way, so that more may come. lost: the first one may have been called by a worker that died, and
    must not be called again blindly. left: what has not been undone, the first few of
    `left_total`. done: how many have been.
    """

    items: tuple[UndoItem, ...] = ()
    busy: bool = False
    lost: bool = False
    left: tuple[Mapping[str, Any], ...] = ()
    left_total: int = 0
    done: int = 0


Event = (
    Claimed
    | Continued
    | Barred
    | CallSucceeded
    | CallFailed
    | CallPending
    | ChildFound
    | Asked
    | Told
    | Delivered
    | ChildrenEnded
    | ChildrenFailing
    | ChildrenEnough
    | Surveyed
)
