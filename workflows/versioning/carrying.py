"""Whether an execution that stands at a step of one definition can stand at one of another."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workflows.definition.outline import Scope, Step
from workflows.definition.paths import join, quote

_STEP_NAME = re.compile(r"\bsteps\.([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why an execution that stands at a step can't be moved.

    path: JSON path in the new definition, or in the old one for what is gone. if_begun: only if
    something of the step has happened; one that stands before it can be moved.
    """

    code: str
    path: str
    message: str
    if_begun: bool = False


def place_of(step: Step, names: Mapping[str, str] | None = None) -> tuple[tuple[str, ...], ...]:
    """The scopes around a step, the outermost first: the step that each is in, and which of its.

    names: what those steps are called elsewhere.
    """
    found: list[tuple[str, ...]] = []
    scope = step.scope
    while scope.parent is not None:
        holder = scope.parent
        id = holder.id if names is None else names.get(holder.id, "")
        found.append((id, scope.kind, _branch_name(scope)))
        scope = holder.scope
    return tuple(reversed(found))


def _branch_name(scope: Scope) -> str:
    if scope.kind != "branch" or scope.parent is None:
        return ""
    branches = scope.parent.config.get("branches")
    at = int(scope.suffix.rpartition("[")[2].rstrip("]"))
    return str(branches[at].get("name", at)) if isinstance(branches, list) else str(at)


def between(
    old: Step, new: Step, names: Mapping[str, str], numbers: tuple[str, str]
) -> Iterator[Obstacle]:
    """Everything that speaks against it; `names`: which new step each old one becomes."""
    if place_of(old, names) != place_of(new):
        where = _where(new)
        message = (
            f'In {numbers[1]} the step "{new.id}" is {where}; in {numbers[0]} '
            f'"{old.id}" is {_where(old)}.'
        )
        yield Obstacle("migration.step_elsewhere", new.path, message)
    if old.type != new.type:
        message = (
            f'The step "{old.id}" is of type {quote(old.type)}, and "{new.id}" of {numbers[1]} of '
            f"type {quote(new.type)}: what has begun can't become something else."
        )
        yield Obstacle("migration.step_type", join(new.path, "type"), message, if_begun=True)
        return
    look = _BY_TYPE.get(old.type)
    if look is not None:
        yield from look(old, new, names, numbers)


def _where(step: Step) -> str:
    holder = step.scope.parent
    if holder is None:
        return "inside no other"
    branch = _branch_name(step.scope)
    if branch:
        return f'in the branch "{quote(branch)}" of "{holder.id}"'
    inside = "in the `finally` of" if step.scope.kind == "finally" else "inside"
    return f'{inside} "{holder.id}"'


Look = Callable[[Step, Step, Mapping[str, str], tuple[str, str]], Iterator[Obstacle]]


def _differs(
    old: Step, new: Step, name: str, code: str, message: str, default: Any = None
) -> Iterator[Obstacle]:
    one, other = old.config.get(name, default), new.config.get(name, default)
    if one != other:
        yield Obstacle(f"migration.{code}", join(new.config_path, name), message, if_begun=True)


def _action(
    old: Step, new: Step, names: Mapping[str, str], numbers: tuple[str, str]
) -> Iterator[Obstacle]:
    message = (
        f'"{new.id}" calls {quote(str(new.config.get("action")))} in {numbers[1]}; the call that '
        f"is to be ended from elsewhere is one of {quote(str(old.config.get('action')))}."
    )
    yield from _differs(old, new, "action", "other_action", message)


def _signal(
    old: Step, new: Step, names: Mapping[str, str], numbers: tuple[str, str]
) -> Iterator[Obstacle]:
    message = (
        f'"{new.id}" waits for the signal {quote(str(new.config.get("signal")))} in {numbers[1]}, '
        f"not for {quote(str(old.config.get('signal')))}, which this one waits for."
    )
    yield from _differs(old, new, "signal", "other_signal", message)
    one, other = old.config.get("correlation"), new.config.get("correlation")
    if renamed(one, names) != other:
        message = f"Its correlation is worked out in another way in {numbers[1]}."
        path = join(new.config_path, "correlation")
        yield Obstacle("migration.other_correlation", path, message, if_begun=True)


def renamed(text: Any, names: Mapping[str, str]) -> Any:
    """A formula with the names that the steps in it have in the other definition."""
    if not isinstance(text, str):
        return text
    return _STEP_NAME.sub(lambda found: f"steps.{names.get(found[1], found[1])}", text)


def _map(
    old: Step, new: Step, names: Mapping[str, str], numbers: tuple[str, str]
) -> Iterator[Obstacle]:
    message = f"Its items were made with another batch size than in {numbers[1]}."
    yield from _differs(old, new, "batch_size", "other_batches", message)
    message = f"In {numbers[1]} another number of its items may fail, and they are counted already."
    yield from _differs(old, new, "tolerated_failures", "other_tolerance", message, 0)


def _parallel(
    old: Step, new: Step, names: Mapping[str, str], numbers: tuple[str, str]
) -> Iterator[Obstacle]:
    one, other = _branch_names(old), _branch_names(new)
    if one != other:
        message = (
            f"Its branches are {', '.join(map(quote, one))}; in {numbers[1]} they are "
            f"{', '.join(map(quote, other))}."
        )
        path = join(new.config_path, "branches")
        yield Obstacle("migration.other_branches", path, message, if_begun=True)
    message = f"In {numbers[1]} another number of its branches has to succeed."
    yield from _differs(old, new, "wait_for", "other_join", message, "all")


def _branch_names(step: Step) -> list[str]:
    return [_branch_name(scope) for scope in step.scopes]


def _workflow(
    old: Step, new: Step, names: Mapping[str, str], numbers: tuple[str, str]
) -> Iterator[Obstacle]:
    message = (
        f"It waits for a child of the workflow {quote(str(old.config.get('workflow')))}; in "
        f"{numbers[1]} the step starts {quote(str(new.config.get('workflow')))}."
    )
    yield from _differs(old, new, "workflow", "other_child", message)
    message = f"It waits for its child; in {numbers[1]} the step doesn't."
    yield from _differs(old, new, "wait", "no_wait", message, True)


_BY_TYPE: dict[str, Look] = {
    "action": _action,
    "signal": _signal,
    "map": _map,
    "parallel": _parallel,
    "workflow": _workflow,
}
