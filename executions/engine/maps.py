"""The map: one scope per item of a list, each a child execution; the results keep their order."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from typing import Any

from executions.engine import steps
from executions.engine.commands import Spawn, TellChildren
from executions.engine.errors import CHILD_FAILED, MAP_ITEMS, EngineError, ErrorInfo
from executions.engine.events import ChildrenEnded, Verb
from executions.engine.payload import encode
from executions.engine.snapshot import Phase, Position
from executions.engine.states import Reason
from executions.engine.working import Working
from workflows.definition.compiled import CompiledStep, MapConfig

MAX_ITEMS = 10_000
MAX_FAILURES_SHOWN = 10


def start(working: Working, step: CompiledStep, position: Position, now: datetime) -> steps.Outcome:
    """Make the children; of a second attempt only those that have not succeeded before."""
    config = step.config
    assert isinstance(config, MapConfig)
    items = _items(working, config, position)
    if not items:
        empty = encode([], limit=16, what="An empty list")
        return steps.complete(working, step, position, empty, now, is_output=True)
    snapshot = working.snapshot
    generation = snapshot.generation + 1
    snapshot.generation = generation
    base = position.base or generation
    waiting = replace(position, phase=Phase.CHILDREN, generation=generation, base=base)
    payloads = tuple(
        encode(item, limit=snapshot.max_output_bytes, what=f"Item {index} of step `{step.id}`")
        for index, item in enumerate(items)
    )
    working.move(waiting)
    working.add(
        Spawn(
            step_id=step.id,
            generation=generation,
            base=base,
            items=payloads,
            concurrency=config.max_concurrency,
            tolerated=_tolerated(config, len(items)),
        )
    )
    return steps.Sleeping(None, Reason.CHILDREN)


def _items(working: Working, config: MapConfig, position: Position) -> list[Any]:
    items = steps.evaluate(config.items, working, position)
    if not isinstance(items, list):
        kind = {dict: "an object", str: "a text", type(None): "null"}.get(type(items), "a value")
        message = f"`items` came to {kind}; a list was expected."
        raise EngineError(ErrorInfo(MAP_ITEMS, message))
    if len(items) > MAX_ITEMS:
        message = f"`items` has {len(items)} items; at most {MAX_ITEMS} are allowed."
        raise EngineError(ErrorInfo(MAP_ITEMS, message))
    if config.batch_size is None:
        return items
    size = config.batch_size
    return [items[first : first + size] for first in range(0, len(items), size)]


def _tolerated(config: MapConfig, total: int) -> int:
    """How many children may fail."""
    if config.tolerated_percent is None:
        return config.tolerated_count
    return math.floor(total * config.tolerated_percent / 100)


def stop(working: Working, position: Position, actor: str, reason: str) -> None:
    """More have failed than may: have the rest cancelled and wait until they have ended."""
    if position.phase is Phase.CHILDREN:
        working.move(replace(position, phase=Phase.STOPPING))
        tell(working, position, Verb.CANCEL, actor, reason)


def tell(working: Working, position: Position, verb: Verb, actor: str, reason: str) -> None:
    """Pass a wish on to the children that are under way."""
    working.add(TellChildren(position.step_id, position.generation, verb, actor, reason))


def join(
    working: Working, step: CompiledStep, position: Position, event: ChildrenEnded, now: datetime
) -> steps.Outcome:
    """All children have ended: their outputs in the order of the items, or the map's error."""
    config = step.config
    assert isinstance(config, MapConfig)
    failed = [child for child in event.children if not child.succeeded]
    if len(failed) > _tolerated(config, len(event.children)):
        return steps.fail(working, step, position, _error(failed, len(event.children)), now)
    outputs = [child.output if child.succeeded else None for child in event.children]
    limit = working.snapshot.max_joined_bytes
    try:
        payload = encode(outputs, limit=limit, what=f"The joined output of step `{step.id}`")
    except EngineError as error:
        return steps.fail(working, step, position, error.info, now)
    return steps.complete(working, step, position, payload, now, is_output=True)


def _error(failed: list[Any], total: int) -> ErrorInfo:
    # Those that were cancelled because others had failed say nothing about the cause.
    telling = [child for child in failed if child.error] or failed
    first = telling[0]
    cause = (first.error or {}).get("message", "It was cancelled.")
    return ErrorInfo(
        CHILD_FAILED,
        f"{len(failed)} of {total} items did not succeed; item {first.index}: {cause}",
        details={
            "failed": len(failed),
            "total": total,
            "items": [
                {"index": child.index, "error": child.error}
                for child in telling[:MAX_FAILURES_SHOWN]
            ],
        },
        retryable=True,
    )


steps.TYPES[MapConfig] = start
