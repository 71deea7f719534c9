"""Plans for moving live executions from one version of a workflow to another.

A plan says which step of the old definition is which step of the new one, and what speaks against
standing there. What it means for one execution is up to whoever knows where that one stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autopilot.common.problems import Problem
from workflows.definition.outline import Outline, Scope, Step, read_outline
from workflows.definition.paths import did_you_mean, join, quote
from workflows.versioning.carrying import Obstacle, between, place_of
from workflows.versioning.diff import own_content, pair_steps
from workflows.versioning.needs import Needs, NeedsFinder

# Which new step an old one becomes; None: none of them.
Mapped = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Pair:
    """An old step and the new one that it becomes.

    is_given: somebody said so; otherwise both have one id, or the same content.
    obstacles: why an execution that stands there can't be moved.
    """

    old: Step
    new: Step
    is_given: bool
    obstacles: tuple[Obstacle, ...] = ()

    @property
    def is_changed(self) -> bool:
        """Whether more is different than id and name."""
        return own_content(self.old) != own_content(self.new)


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """From one normalized definition to another.

    pairs: by the old step's id, in the order of the old document. unmapped: old steps that become
    none; what stands there stays. added: new steps that none becomes. numbers: what the two are
    called in sentences. problems: what is wrong with what was given; with any the plan can't be
    used. notices: what somebody who moves executions should know.
    """

    old: Outline
    new: Outline
    numbers: tuple[str, str]
    pairs: Mapping[str, Pair]
    unmapped: tuple[Step, ...]
    added: tuple[Step, ...]
    problems: tuple[Problem, ...]
    notices: tuple[Problem, ...]
    _finder: NeedsFinder = field(repr=False)

    def target(self, step_id: str) -> str | None:
        """The id of the new step; None if it becomes none."""
        pair = self.pairs.get(step_id)
        return pair.new.id if pair else None

    def names(self) -> dict[str, str | None]:
        """What recorded steps are called from now on, where that is another name.

        None: it is nothing's result any more, although there is a step of that name.
        """
        ids = {step.id for step in self.new.steps}
        names: dict[str, str | None] = {
            old: pair.new.id for old, pair in self.pairs.items() if pair.new.id != old
        }
        return names | {step.id: None for step in self.unmapped if step.id in ids}

    def obstacle(self, step_id: str, *, begun: bool) -> Obstacle | None:
        """Why what stands at this old step can't be moved; None if nothing speaks against it.

        begun: something of the step has happened, such as a wait that others know of.
        """
        pair = self.pairs.get(step_id)
        if pair is None:
            step = self.old.by_id().get(step_id)
            message = (
                f'It stands at the step "{quote(step_id)}", which becomes no step of '
                f"{self.numbers[1]}."
            )
            path = step.path if step else join("$.steps", step_id)
            return Obstacle("migration.step_unmapped", path, message)
        return next((each for each in pair.obstacles if begun or not each.if_begun), None)

    def needs(self, step_id: str, scope_id: str = "") -> Needs:
        """What the rest of the new definition asks of an execution that stands at an old step.

        step_id: empty for one that has not begun. scope_id: of the old scope that it runs.
        """
        return self._finder.needs(step_id, scope_id)


def make_plan(
    old: dict[str, Any],
    new: dict[str, Any],
    mapping: Mapped | None = None,
    *,
    numbers: tuple[str, str] = ("the old version", "the new version"),
) -> MigrationPlan:
    """The plan for two normalized definitions.

    Steps with the same id belong together, then those with the same content under another id;
    what `mapping` says comes first.
    """
    before, after = read_outline(old), read_outline(new)
    problems = _problems(mapping or {}, before, after, numbers)
    targets = _targets(before, after, {} if problems else (mapping or {}))
    steps, known = before.by_id(), after.by_id()
    names = {source: target for source, target in targets.items() if target is not None}
    pairs = {}
    for source, target in names.items():
        one, other = steps[source], known[target]
        found = tuple(between(one, other, names, numbers))
        is_given = source in (mapping or {}) and not problems
        pairs[source] = Pair(one, other, is_given, found)
    return MigrationPlan(
        old=before,
        new=after,
        numbers=numbers,
        pairs=pairs,
        unmapped=tuple(step for step in before.steps if step.id not in pairs),
        added=tuple(step for step in after.steps if step.id not in set(names.values())),
        problems=tuple(problems),
        notices=tuple(_notices(old, new, numbers, pairs)),
        _finder=NeedsFinder(old, new, before, after, names),
    )


def _problems(
    mapping: Mapped, old: Outline, new: Outline, numbers: tuple[str, str]
) -> list[Problem]:
    """What can't be meant: steps that aren't there, and one that two are to become."""
    sources, targets = old.by_id(), new.by_id()
    problems = []
    taken: dict[str, str] = {}
    for source, target in mapping.items():
        path = join("$.mapping", source)
        if source not in sources:
            message = (
                f'{_version(numbers[0])} has no step "{quote(source)}".'
                f"{did_you_mean(source, sources)}"
            )
            problems.append(Problem(path, "mapping.unknown_source", message))
        if target is None:
            continue
        if target not in targets:
            message = (
                f'{_version(numbers[1])} has no step "{quote(target)}".'
                f"{did_you_mean(target, targets)}"
            )
            problems.append(Problem(path, "mapping.unknown_target", message))
        elif target in taken:
            message = (
                f'"{quote(taken[target])}" becomes "{quote(target)}" already; only one step can, '
                "for what has been recorded goes with it."
            )
            problems.append(Problem(path, "mapping.twice", message))
        taken.setdefault(target, source)
    return problems


def _version(number: str) -> str:
    return number[:1].upper() + number[1:] if number.startswith("the ") else f"Version {number}"


def _targets(old: Outline, new: Outline, mapping: Mapped) -> dict[str, str | None]:
    """What each old step becomes, in document order; whatever is given takes its place first."""
    taken = {target for target in mapping.values() if target is not None}
    suggested = _suggested(old, new)
    found: dict[str, str | None] = {}
    for id in old.by_id():
        if id in mapping:
            found[id] = mapping[id]
        elif suggested.get(id) not in taken:
            found[id] = suggested.get(id)
        else:
            found[id] = None
    return found


def _suggested(old: Outline, new: Outline) -> dict[str, str]:
    """What belongs together by itself; also a step around others that go into one of its type."""
    found = {one.id: other.id for one, other in pair_steps(old, new).pairs}
    known, taken = new.by_id(), set(found.values())
    for step in reversed(old.steps):
        inner = [each for scope in step.scopes for each in scope.steps]
        if step.id in found or not inner:
            continue
        holders = {_holder(known[found[each.id]]) if each.id in found else "" for each in inner}
        holder = holders.pop() if len(holders) == 1 else ""
        if holder and holder not in taken and known[holder].type == step.type:
            found[step.id] = holder
            taken.add(holder)
    return found


def _holder(step: Step) -> str:
    return step.scope.parent.id if step.scope.parent else ""


def suggest(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str | None]:
    """What each old step becomes if nobody says anything."""
    return _targets(read_outline(old), read_outline(new), {})


def _notices(
    old: dict[str, Any],
    new: dict[str, Any],
    numbers: tuple[str, str],
    pairs: Mapping[str, Pair],
) -> list[Problem]:
    """What goes without saying for some and surprises others."""
    found = []
    known = set(_pointers(old, {id: pair.new.id for id, pair in pairs.items()}))
    more = [each for each in _pointers(new, {}) if each not in known]
    if more:
        message = (
            f"{_version(numbers[1])} hides more: {', '.join(more[:5])}"
            f"{' and others' if len(more) > 5 else ''}. What was recorded before the move stays as "
            "it was recorded."
        )
        found.append(Problem("$.redact", "migration.hides_more", message))
    for id, pair in pairs.items():
        one, other = pair.old, pair.new
        if one.type == other.type == "approval":
            if one.config.get("form") != other.config.get("form"):
                message = (
                    f'Questions of "{id}" that are open stay as they were asked, with the form '
                    f"of {numbers[0]}."
                )
                path = join(other.config_path, "form")
                found.append(Problem(path, "migration.form_stays", message))
        elif one.type == other.type == "wait" and one.config != other.config:
            message = f'Timers of "{id}" that are running keep the moment at which they are due.'
            found.append(Problem(other.config_path, "migration.timer_stays", message))
    return found


def _pointers(document: dict[str, Any], names: Mapping[str, str]) -> list[str]:
    """What it hides, by the names that steps have afterwards."""
    found = []
    for pointer in document.get("redact") or []:
        parts = str(pointer).split("/")
        if len(parts) > 2 and parts[1] == "steps":
            parts[2] = names.get(parts[2], parts[2])
        found.append("/".join(parts))
    return found


__all__ = [
    "Mapped",
    "MigrationPlan",
    "Needs",
    "Obstacle",
    "Pair",
    "Scope",
    "make_plan",
    "place_of",
    "suggest",
]
