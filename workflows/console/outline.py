"""A definition as a person reads it: one line for each step that says what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workflows.definition.outline import Step, read_outline

MAX_TEXT = 160


@dataclass(frozen=True, slots=True)
class Line:
    """One step. depth: how many scopes it is inside of."""

    id: str
    name: str
    type: str
    sentence: str
    condition: str
    goes_to: str
    depth: int


def read_lines(definition: Mapping[str, Any]) -> list[Line]:
    """Every step of a definition, in document order."""
    steps = read_outline(definition).steps
    names = {step.id: step.name or step.id for step in steps}
    return [_line(step, names) for step in steps]


def _line(step: Step, names: Mapping[str, str]) -> Line:
    say = _SENTENCES.get(step.type)
    target = step.raw.get("next")
    return Line(
        id=step.id,
        name=step.name or step.id,
        type=step.type,
        sentence=say(step.config, names) if say else "",
        condition=_short(step.raw.get("when") or ""),
        goes_to=_target(target, names) if target else "",
        depth=step.scope.depth - 1,
    )


def _action(config: Mapping[str, Any], names: Mapping[str, str]) -> str:
    given = config.get("with")
    keys = ", ".join(given) if isinstance(given, dict) else ""
    return f"Calls {config.get('action')}" + (f" with {_short(keys)}" if keys else "")


def _transform(config: Mapping[str, Any], names: Mapping[str, str]) -> str:
    output = config.get("output")
    if isinstance(output, dict) and output:
        return f"Builds {_short(', '.join(output))}"
    return f"Builds {_short(output)}" if isinstance(output, str) else "Builds data"


def _choice(config: Mapping[str, Any], names: Mapping[str, str]) -> str:
    arms = [
        f"{_target(arm.get('next'), names)} if {_short(arm.get('when'))}"
        for arm in config.get("choices") or []
        if isinstance(arm, dict)
    ]
    if "default" in config:
        arms.append(f"otherwise {_target(config['default'], names)}")
    return "Goes to " + "; ".join(arms)


def _wait(config: Mapping[str, Any], names: Mapping[str, str]) -> str:
    if config.get("duration") is not None:
        return f"Waits {_short(config['duration'])}"
    return f"Waits until {_short(config.get('until'))}"


def _succeed(config: Mapping[str, Any], names: Mapping[str, str]) -> str:
    return "Ends the execution as completed"


def _fail(config: Mapping[str, Any], names: Mapping[str, str]) -> str:
    return f"Ends the execution as failed with {_short(config.get('error'))}"


def _group(config: Mapping[str, Any], names: Mapping[str, str]) -> str:
    last = "; the last ones run whatever happens" if config.get("finally") else ""
    return f"Runs the steps inside as one{last}"


def _map(config: Mapping[str, Any], names: Mapping[str, str]) -> str:
    at_once = config.get("max_concurrency")
    bound = f", at most {at_once} at once" if at_once else ""
    return f"Runs the steps inside for every item of {_short(config.get('items'))}{bound}"


_SENTENCES: dict[str, Callable[[Mapping[str, Any], Mapping[str, str]], str]] = {
    "action": _action,
    "transform": _transform,
    "choice": _choice,
    "wait": _wait,
    "group": _group,
    "map": _map,
    "succeed": _succeed,
    "fail": _fail,
}


def _target(value: object, names: Mapping[str, str]) -> str:
    if value in (None, "end"):
        return "the end"
    return f"“{names.get(str(value), str(value))}”"


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
