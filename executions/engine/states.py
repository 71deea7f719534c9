"""The states of an execution and the one table of its legal transitions.

The model's FSM methods are generated from this table, the ledger checks every checkpoint against
it, a trigger in PostgreSQL refuses any pair outside it, and a test compares the three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class State(StrEnum):
    """Where an execution stands; stored and shown in lower case."""

    INITIALIZED = "initialized"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    RESUMED = "resumed"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
FINAL = frozenset({State.COMPLETED, State.CANCELLED})
ACTIVE = frozenset(State) - ENDED


class Reason(StrEnum):
    """Why an execution is in its state, where a fixed word says it (a failure shows its code)."""

    QUEUED = "queued"
    SCHEDULED = "scheduled"
    SLOT = "slot"
    RATE = "rate"
    RUNNING = "running"
    TIMER = "timer"
    BACKOFF = "backoff"
    CHILDREN = "children"
    SIGNAL = "signal"
    APPROVAL = "approval"
    CALLBACK = "callback"
    OPERATOR = "operator"
    DONE = "done"
    CONTINUED = "continued"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


# An execution that has ended for one of these has been undone, as far as that went.
UNDONE = frozenset({Reason.COMPENSATED, Reason.COMPENSATION_FAILED})


class StepState(StrEnum):
    """Where one step of an execution stands."""

    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


STEP_ENDED = frozenset(
    {StepState.COMPLETED, StepState.FAILED, StepState.SKIPPED, StepState.CANCELLED}
)


class UndoState(StrEnum):
    """What has become of a compensation."""

    PENDING = "pending"  # nobody has asked for it, or it is on its way
    DONE = "done"
    FAILED = "failed"  # its last attempt failed
    LEFT = "left"  # it can't be called, or may have been by a worker that died


class Facts(Protocol):
    """What a condition may look at: columns of the execution, nothing else."""

    owner_id: int | None


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that must hold before a transition may be taken."""

    name: str
    sentence: str
    holds: Callable[[Facts], bool]


OWNED = Condition("owned", "a worker owns the execution", lambda facts: facts.owner_id is not None)
UNOWNED = Condition("unowned", "no worker owns the execution", lambda facts: facts.owner_id is None)
ANY = Condition("any", "at any time", lambda facts: True)


@dataclass(frozen=True, slots=True)
class Transition:
    """One legal step of the state machine.

    action: the verb that takes it, which is also the name of the model's method.
    permission: what an actor must hold to ask for it; None = only the engine takes it.
    """

    source: State
    target: State
    action: str
    condition: Condition
    permission: str | None = None


CONTROL = "executions.control_execution"


def _moves(
    action: str,
    sources: tuple[State, ...],
    target: State,
    condition: Condition = OWNED,
    permission: str | None = None,
) -> list[Transition]:
    return [Transition(source, target, action, condition, permission) for source in sources]


TRANSITIONS: tuple[Transition, ...] = (
    *_moves("start", (State.INITIALIZED,), State.RUNNING),
    *_moves("block", (State.RUNNING,), State.WAITING),
    *_moves("wake", (State.WAITING,), State.RUNNING),
    *_moves("complete", (State.RUNNING, State.WAITING), State.COMPLETED),
    *_moves(
        "fail",
        (State.INITIALIZED, State.RUNNING, State.WAITING, State.PAUSED, State.RESUMED),
        State.FAILED,
    ),
    *_moves(
        "pause",
        (State.INITIALIZED, State.RUNNING, State.WAITING, State.RESUMED),
        State.PAUSED,
        permission=CONTROL,
    ),
    *_moves(
        "cancel",
        (State.INITIALIZED, State.RUNNING, State.WAITING, State.PAUSED, State.RESUMED),
        State.CANCELLED,
        permission=CONTROL,
    ),
    # Nobody owns a paused execution, so the one who asks takes this one, under the row's lock;
    # only if the pause was not yet durable when they asked does its owner take it.
    *_moves("resume", (State.PAUSED,), State.RESUMED, ANY, CONTROL),
    *_moves("proceed", (State.RESUMED,), State.RUNNING),
    *_moves("retry", (State.FAILED,), State.RESUMED, UNOWNED, CONTROL),
    *_moves("compensate", (State.FAILED,), State.RUNNING, UNOWNED, CONTROL),
    *_moves("give_up", (State.FAILED,), State.CANCELLED, UNOWNED, CONTROL),
)

BY_PAIR: Mapping[tuple[State, State], Transition] = {
    (each.source, each.target): each for each in TRANSITIONS
}


def is_legal(source: State, target: State) -> bool:
    """Whether the table knows the pair."""
    return (source, target) in BY_PAIR


def describe() -> list[dict[str, str | None]]:
    """The table as plain data, for the API and the documents."""
    return [
        {
            "source": each.source.value,
            "target": each.target.value,
            "action": each.action,
            "condition": each.condition.sentence,
            "permission": each.permission,
        }
        for each in TRANSITIONS
    ]
