"""The planner's place inside groups and catches, as one small JSON document of the execution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from executions.engine.commands import SetControl
from executions.engine.snapshot import Frame, Part, Phase, Position, Undo
from executions.engine.states import State

Write = Callable[[Any, str], Any]

# The parts of an error that may hold something of an execution's data.
_TELLING = ("code", "message", "details")


@dataclass(frozen=True, slots=True)
class Control:
    """What the document says."""

    frames: tuple[Frame, ...] = ()
    caught: Mapping[str, Any] | None = None
    names: Mapping[str, Any] = field(default_factory=dict)
    entered_at: datetime | None = None
    generation: int = 0
    base: int = 0
    spent: int = 0
    undo: Undo | None = None


NOWHERE = Control()


def control_to_json(command: SetControl, write: Write) -> dict[str, Any]:
    """The document; moments as ISO 8601 text.

    write: makes of a value, and the id of the step whose output it is (or empty), what is stored.
    """
    document: dict[str, Any] = {}
    if command.frames:
        document["frames"] = [_frame_to_json(frame, write) for frame in command.frames]
    if command.caught is not None:
        document["caught"] = error_to_json(command.caught, write)
    if command.names:
        document["names"] = {name: write(value, "") for name, value in command.names.items()}
    if command.entered_at is not None:
        document["entered_at"] = command.entered_at.isoformat()
    if command.generation:
        document["generation"] = command.generation
        document["base"] = command.base
    if command.spent:
        document["spent"] = command.spent
    if command.undo is not None:
        document["undo"] = undo_to_json(command.undo, write)
    return document


def control_from_json(document: Mapping[str, Any] | None) -> Control:
    """What `control_to_json` has written."""
    if not document:
        return NOWHERE
    return Control(
        frames=tuple(_frame_from_json(each) for each in document.get("frames", ())),
        caught=document.get("caught"),
        names=document.get("names") or {},
        entered_at=_moment(document.get("entered_at")),
        generation=document.get("generation", 0),
        base=document.get("base", 0),
        spent=document.get("spent", 0),
        undo=_undo_from_json(document.get("undo")),
    )


def undo_to_json(undo: Undo, write: Write) -> dict[str, Any]:
    """That an execution is undoing what it did, as part of the document."""
    return {
        "target": undo.target.value,
        "actor": undo.actor,
        "reason": write(undo.reason, ""),
        "error": error_to_json(undo.error, write) if undo.error is not None else None,
        "current": undo.current,
        "action": undo.action,
        "by_hand": undo.by_hand,
        "stopped": undo.stopped,
    }


def _undo_from_json(document: Mapping[str, Any] | None) -> Undo | None:
    if document is None:
        return None
    return Undo(**{**document, "target": State(document["target"])})


def error_to_json(error: Mapping[str, Any], write: Write) -> dict[str, Any]:
    """An error, with what may have come from data written like data."""
    return {name: write(value, "") if name in _TELLING else value for name, value in error.items()}


def _frame_to_json(frame: Frame, write: Write) -> dict[str, Any]:
    position = frame.position
    return {
        "step": position.step_id,
        "seq": position.seq,
        "attempt": position.attempt,
        "floor": frame.floor,
        "started_at": position.started_at.isoformat(),
        "entered_at": position.entered_at.isoformat() if position.entered_at else None,
        "spent": position.spent,
        "part": frame.part.value,
        "deadline": frame.deadline.isoformat() if frame.deadline else None,
        "error": error_to_json(frame.error, write) if frame.error is not None else None,
        "output": write(frame.output, position.step_id),
    }


def _frame_from_json(document: Mapping[str, Any]) -> Frame:
    started_at = _moment(document["started_at"])
    assert started_at is not None
    position = Position(
        step_id=document["step"],
        seq=document["seq"],
        phase=Phase.INSIDE,
        started_at=started_at,
        attempt=document["attempt"],
        entered_at=_moment(document["entered_at"]),
        spent=document.get("spent", 0),
    )
    return Frame(
        position=position,
        floor=document["floor"],
        part=Part(document["part"]),
        deadline=_moment(document["deadline"]),
        error=document["error"],
        output=document["output"],
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
