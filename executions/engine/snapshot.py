"""What the planner knows of one execution: the rows of the ledger, as plain objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from executions.engine.states import State, StepState
from workflows.definition.compiled import CompiledDefinition


class Phase(StrEnum):
    """How far the current step has come."""

    ENTER = "enter"  # next to be looked at; nothing of it has happened
    CALL = "call"  # its action is being called, or may have been when a worker died
    TIMER = "timer"  # it waits for `wait_until`, then it is done
    EXPIRY = "expiry"  # it waits for `wait_until`, then it has timed out


@dataclass(frozen=True, slots=True)
class Position:
    """The step an execution stands at. Durable before anything of the step happens."""

    step_id: str
    seq: int  # the how-manieth step of this execution it is; stable over attempts
    phase: Phase
    started_at: datetime
    attempt: int = 1
    wait_until: datetime | None = None

    def at(self, phase: Phase, *, wait_until: datetime | None = None) -> Position:
        return replace(self, phase=phase, wait_until=wait_until)


@dataclass(frozen=True, slots=True)
class StepFact:
    """The latest result of a step, as expressions see it."""

    state: StepState
    output: Any = None
    error: Mapping[str, Any] | None = None
    attempts: int = 1


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
    last_output: Any = None  # of the last action or transform that completed
    started_at: datetime | None = None
    max_steps: int = 10_000
    max_output_bytes: int = 256 * 1024


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
    return {
        "input": snapshot.input,
        "vars": snapshot.vars,
        "steps": StepsView(snapshot.steps),
        "execution": {
            "id": snapshot.execution_id,
            "started_at": started.isoformat() if started else None,
            "workflow": snapshot.workflow,
            "version": snapshot.version,
        },
    }
