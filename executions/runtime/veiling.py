"""What of a plan's commands is hidden, and how those parts are written that differ from others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from executions.engine.commands import (
    Command,
    Finish,
    Open,
    RecordStep,
    SetControl,
    SetVariables,
    Spawn,
)
from executions.engine.errors import ErrorInfo
from executions.engine.events import DECISION
from executions.hidden.veil import Veil
from executions.runtime.control import Write, error_to_json

# What others look for has to be stored as it is.
_SOUGHT = ("name", "correlation", "queue")
# Of a question to people the rest is names that are looked up, and rules.
_SAID = {DECISION: ("title", "description", "context")}


def learn(veil: Veil, commands: Sequence[Command]) -> None:
    """Take in what the definition hides of what these commands say."""
    redaction = veil.redaction
    if not redaction and veil.output is None:
        return
    for command in commands:
        match command:
            case RecordStep(step_id=step_id, output=output):
                veil.learn_at(output.value, redaction.steps.get(step_id))
            case SetControl(frames=frames):
                for frame in frames:
                    veil.learn_at(frame.output, redaction.steps.get(frame.position.step_id))
            case Finish(output, _, next_input):
                if output is not None:
                    veil.learn_at(output.value, veil.output)
                if next_input is not None:
                    veil.learn_at(next_input.value, redaction.input)
            case _:
                pass


def variables(veil: Veil, command: SetVariables) -> Any:
    """All variables, for `orjson`; their names are the definition's."""
    if veil:
        return veil.fields(command.variables)
    return orjson.Fragment(veil.payload(command.payload))


def error(veil: Veil, info: ErrorInfo | None) -> dict[str, Any] | None:
    return error_to_json(info.as_dict(), writer(veil)) if info else None


def writer(veil: Veil) -> Write:
    """How the parts of the control document are written."""
    return lambda value, step_id: veil.document(value, veil.redaction.steps.get(step_id))


def hides_items(veil: Veil, spawn: Spawn) -> bool:
    """Whether the items of a map are hidden, even those too short to be followed."""
    return bool(veil) and veil.hides_list([item.value for item in spawn.items])


def opened(veil: Veil, command: Open) -> Mapping[str, Any]:
    """What is kept of a wait for news."""
    said = _SAID.get(command.kind)

    def hides(name: str) -> bool:
        return name not in _SOUGHT if said is None else name in said

    return {
        name: veil.document(value) if hides(name) else value for name, value in command.data.items()
    }
