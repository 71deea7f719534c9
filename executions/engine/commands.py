"""What the planner decides: plain data that the runtime makes durable, then carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from executions.engine.errors import ErrorInfo
from executions.engine.events import LogRecord
from executions.engine.payload import NULL, Payload
from executions.engine.snapshot import Position
from executions.engine.states import State, StepState


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


@dataclass(frozen=True, slots=True)
class Call:
    """Once this plan is durable, the action of the current step is to be called."""

    position: Position


@dataclass(frozen=True, slots=True)
class Yield:
    """There is more to plan; make this much durable and come back with `Continued`."""


@dataclass(frozen=True, slots=True)
class Block:
    """Nothing to do until `until`, or until a message comes (None)."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class Finish:
    """The execution has ended with this output or this error."""

    output: Payload | None = None
    error: ErrorInfo | None = None


Command = RecordStep | SetVariables | Move | Transit | Call | Yield | Block | Finish
