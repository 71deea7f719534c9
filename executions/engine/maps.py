"""The map: one scope per item of a list, each a child execution; the results keep their order."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from executions.engine import children, steps
from executions.engine.commands import ChildKind
from executions.engine.errors import MAP_ITEMS, EngineError, ErrorInfo
from executions.engine.events import ChildrenEnded, ChildResult
from executions.engine.payload import encode
from executions.engine.snapshot import Position
from executions.engine.working import Working
from workflows.definition.compiled import CompiledStep, MapConfig

MAX_ITEMS = 10_000


def start(working: Working, step: CompiledStep, position: Position, now: datetime) -> steps.Outcome:
    """Make the children; of a second attempt only those that have not succeeded before."""
    config = step.config
    assert isinstance(config, MapConfig)
    items = _items(working, config, position)
    if not items:
        empty = encode([], limit=16, what="An empty list")
        return steps.complete(working, step, position, empty, now, is_output=True)
    limit = working.snapshot.max_output_bytes
    payloads = tuple(
        encode(item, limit=limit, what=f"Item {index} of step `{step.id}`")
        for index, item in enumerate(items)
    )
    return children.begin(
        working,
        step,
        position,
        kind=ChildKind.ITEM,
        inputs=payloads,
        tolerated=_tolerated(config, len(items)),
        concurrency=config.max_concurrency,
    )


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
    return children.finish(working, step, position, outputs, now)


def _error(failed: list[ChildResult], total: int) -> ErrorInfo:
    telling = children.telling(failed)
    first = telling[0]
    return children.failure(
        f"{len(failed)} of {total} items did not succeed; "
        f"item {first.index}: {children.cause_of(first)}",
        {
            "failed": len(failed),
            "total": total,
            "items": [
                {"index": child.index, "error": children.shown(child.error)}
                for child in telling[: children.MAX_FAILURES_SHOWN]
            ],
        },
    )


steps.TYPES[MapConfig] = start
children.JOINS[MapConfig] = join
