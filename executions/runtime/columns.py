"""What the rows of a checkpoint hold: one command's columns each."""

from __future__ import annotations

from typing import Any

import orjson

from executions.engine.commands import Promise, RecordStep, Settle, Spawn, StartOther, TellChildren
from executions.engine.payload import Payload
from executions.engine.slots import Slot
from executions.engine.snapshot import Position
from executions.engine.states import UndoState
from executions.hidden.veil import Veil
from executions.runtime import veiling
from workflows.definition.redaction import Place

MAX_REASON_CHARS = 200
MAX_ACTOR_CHARS = 200


def slot_columns(slot: Slot | None, veil: Veil) -> dict[str, Any]:
    """A new execution asks for its slot when it is claimed."""
    return {
        "slot_key": veil.disguise(slot.key) if slot else None,
        "slot_limit": slot.limit if slot else 0,
        "slot_policy": slot.on_limit.value if slot else "",
    }


def start_row(execution_id: int, start: StartOther, veil: Veil) -> dict[str, Any]:
    return {
        "id": start.execution_id,
        "parent": execution_id,
        "version": start.version,
        "input": orjson.Fragment(veil.payload(start.input, start.hides)),
        **slot_columns(start.slot, veil),
    }


def follower(execution_id: int, data: Payload, slot: Slot | None, veil: Veil) -> dict[str, Any]:
    """The execution that continues this one; it asks for its slot when it is claimed."""
    return {
        "id": execution_id,
        "input": orjson.Fragment(veil.payload(data, veil.redaction.input)),
        **slot_columns(slot, veil),
    }


def position_columns(position: Position | None) -> dict[str, Any]:
    if position is None:
        return {
            "current_step": "",
            "current_seq": 0,
            "current_phase": "",
            "current_attempt": 1,
            "current_since": None,
            "wait_until": None,
        }
    return {
        "current_step": position.step_id,
        "current_seq": position.seq,
        "current_phase": position.phase.value,
        "current_attempt": position.attempt,
        "current_since": position.started_at,
        "wait_until": position.wait_until,
    }


def step_row(execution_id: int, step: RecordStep, veil: Veil) -> dict[str, Any]:
    place = veil.redaction.steps.get(step.step_id)
    return {
        "execution_id": execution_id,
        "seq": step.seq,
        "attempt": step.attempt,
        "step_id": step.step_id,
        "name": step.name,
        "type": step.type,
        "state": step.state.value,
        # Never read again, so what is hidden in them need not be kept.
        "params": orjson.Fragment(veil.masked_payload(step.params)),
        "output": orjson.Fragment(veil.payload(step.output, place)),
        "error": veiling.error(veil, step.error),
        "started_at": step.started_at,
        "ended_at": step.ended_at,
    }


def promise_row(execution_id: int, promise: Promise, veil: Veil) -> dict[str, Any]:
    return {
        "execution_id": execution_id,
        "seq": promise.seq,
        "step_id": promise.step_id,
        "name": promise.name,
        "action": promise.action,
        "params": orjson.Fragment(veil.payload(promise.params)),
        "state": (UndoState.LEFT if promise.error else UndoState.PENDING).value,
        "error": veiling.error(veil, promise.error),
    }


def settle_row(execution_id: int, settle: Settle, veil: Veil) -> dict[str, Any]:
    return {
        "id": settle.id,
        "state": settle.state.value,
        "error": veiling.error(veil, settle.error),
        "attempts": settle.attempts,
        "done_by": execution_id,
        "seq": settle.seq,
        "at": settle.at,
    }


def spawn_rows(execution_id: int, spawn: Spawn, veil: Veil) -> list[dict[str, Any]]:
    place = Place(is_here=True) if veiling.hides_items(veil, spawn) else spawn.hides
    return [
        {
            "parent": execution_id,
            "step": spawn.step_id,
            "generation": spawn.generation,
            "base": spawn.base,
            "idx": index,
            "value": orjson.Fragment(veil.payload(item, place)),
            "concurrency": spawn.concurrency,
            "tolerated": spawn.tolerated,
            "kind": spawn.kind.value,
            "needed": spawn.needed,
            "takes_up": spawn.takes_up,
            "version": spawn.version,
            **slot_columns(spawn.slot, veil),
        }
        for index, item in enumerate(spawn.items)
    ]


def tell_row(execution_id: int, tell: TellChildren, veil: Veil) -> dict[str, Any]:
    return {
        "parent": execution_id,
        "step": tell.step_id,
        "generation": tell.generation,
        "verb": tell.verb.value,
        "actor": tell.actor[:MAX_ACTOR_CHARS],
        "reason": veil.mask(tell.reason)[:MAX_REASON_CHARS],
    }
