"""Steps whose work child executions do: made, told and joined together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from executions.engine import steps
from executions.engine.commands import ChildKind, Spawn, TellChildren
from executions.engine.errors import CHILD_FAILED, EngineError, ErrorInfo
from executions.engine.events import ChildrenEnded, ChildResult, Verb
from executions.engine.payload import Payload, encode
from executions.engine.slots import Slot
from executions.engine.snapshot import WITH_CHILDREN, Phase, Position
from executions.engine.states import Reason
from executions.engine.working import Working
from workflows.definition.compiled import CompiledStep
from workflows.definition.redaction import Place

MAX_FAILURES_SHOWN = 10
MAX_DETAILS_CHARS = 4_000


def begin(
    working: Working,
    step: CompiledStep,
    position: Position,
    *,
    kind: ChildKind,
    inputs: tuple[Payload, ...],
    tolerated: int,
    needed: int = 0,
    concurrency: int | None = None,
    version: int | None = None,
    slot: Slot | None = None,
    hides: Place | None = None,
) -> steps.Outcome:
    """Make the children; of a further attempt only those that have not succeeded before.

    After an operator's retry those that failed go on where they failed; after the step's own
    `retry` they begin anew.
    """
    snapshot = working.snapshot
    generation = snapshot.generation + 1
    snapshot.generation = generation
    base = position.base or generation
    until = position.started_at + step.timeout if step.timeout else None
    waiting = position.at(Phase.CHILDREN, wait_until=until)
    working.move(replace(waiting, generation=generation, base=base))
    working.add(
        Spawn(
            step_id=step.id,
            generation=generation,
            base=base,
            items=inputs,
            concurrency=concurrency,
            tolerated=tolerated,
            kind=kind,
            needed=needed,
            takes_up=takes_up(position),
            version=version,
            slot=slot,
            hides=hides,
        )
    )
    return steps.Sleeping(until, Reason.CHILDREN)


def takes_up(position: Position) -> bool:
    """Whether this is the first attempt after an operator's retry."""
    return position.attempt > 1 and position.attempt - position.spent == 1


def stop(working: Working, position: Position, actor: str, reason: str) -> None:
    """It is decided what the step comes to: have the rest cancelled, wait until they have ended."""
    if position.phase is Phase.CHILDREN:
        # Decided in time: how long the rest take to end doesn't count.
        working.move(position.at(Phase.STOPPING))
        tell(working, position, Verb.CANCEL, actor, reason)


def _await(
    working: Working, step: CompiledStep, position: Position, now: datetime
) -> steps.Outcome:
    if position.wait_until is None or now < position.wait_until:
        return steps.Sleeping(position.wait_until, Reason.CHILDREN)
    steps.cancel_children(working, position, "the step took too long")
    return steps.time_out(working, step, position, now)


def tell(working: Working, position: Position, verb: Verb, actor: str, reason: str) -> None:
    """Pass a wish on to the children that are under way, if the step has any."""
    if position.phase in WITH_CHILDREN:
        working.add(TellChildren(position.step_id, position.generation, verb, actor, reason))


def join(
    working: Working, step: CompiledStep, position: Position, event: ChildrenEnded, now: datetime
) -> steps.Outcome:
    """All children have ended: what the step comes to."""
    return JOINS[type(step.config)](working, step, position, event, now)


def finish(
    working: Working, step: CompiledStep, position: Position, joined: object, now: datetime
) -> steps.Outcome:
    """The step has succeeded with what its children came to, unless that is too large."""
    limit = working.snapshot.max_joined_bytes
    try:
        payload = encode(joined, limit=limit, what=f"The joined output of step `{step.id}`")
    except EngineError as error:
        return steps.fail(working, step, position, error.info, now)
    return steps.complete(working, step, position, payload, now, is_output=True)


def telling(children: Sequence[ChildResult]) -> list[ChildResult]:
    """Those that failed, to be shown; those that were cancelled only if there are no others.

    What was cancelled because others had failed says nothing about the cause.
    """
    failed = [child for child in children if not child.succeeded]
    return [child for child in failed if child.error] or failed


def cause_of(child: ChildResult) -> str:
    """Why it did not succeed, as a sentence."""
    text: str = (child.error or {}).get("message", "It was cancelled.")
    return text


def shown(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A child's error inside its parent's; details that grow with every level are left out."""
    if error is None:
        return None
    details = error.get("details") or {}
    if len(json.dumps(details)) > MAX_DETAILS_CHARS:
        details = {"omitted": "Too large to be repeated here; see the child's own error."}
    return {**error, "details": details}


def failure(message: str, details: dict[str, object]) -> ErrorInfo:
    """The error of a step whose children did not succeed."""
    return ErrorInfo(CHILD_FAILED, message, details=details, retryable=True)


Join = Callable[[Working, CompiledStep, Position, ChildrenEnded, datetime], steps.Outcome]

# By the type of the step's config.
JOINS: dict[type, Join] = {}

steps.PHASES[Phase.CHILDREN] = steps.PHASES[Phase.STOPPING] = _await
