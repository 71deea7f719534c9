"""What a change of a version's state would mean for those who start it; nothing is changed here.

Workflows can't know their executions (they are built on them): whoever runs workflows registers
here how those are counted that are under way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import BooleanField, F, Func, Value

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from workflows.definition.outline import read_outline
from workflows.definition.paths import join
from workflows.models import WorkflowVersion
from workflows.querysets import HIGHEST_FIRST, WorkflowVersionQuerySet
from workflows.versioning.ranges import Range, parse_range
from workflows.versioning.semver import Version
from workflows.versioning.states import MOVES, STARTABLE, VersionState

# No more executions than these are counted, and no more callers are listed.
MANY = 1_000
MAX_CALLERS = 100

Count = Callable[[WorkflowVersion, int], int]
_counts: list[Count] = []

_CALLS = '$.**?(@.type == "workflow" && @.config.workflow == $slug)'


def register(count: Count) -> None:
    """Say how the executions under way of a version are counted, up to a limit."""
    if count not in _counts:
        _counts.append(count)


@dataclass(frozen=True, slots=True)
class Caller:
    """A step of another workflow's version that starts this workflow.

    range: as it is written; empty: whatever is live. takes, takes_then: the number that it starts
    now and would start then; None where there is none.
    """

    workflow: str
    version: str
    step: str
    path: str
    range: str
    takes: str | None
    takes_then: str | None


@dataclass(frozen=True, slots=True)
class Impact:
    """What changes for whom if a version goes into another state.

    live, live_then: what starts without a number take now, and would take then. callers: those
    whose steps would start another version than now, or none. executions: how many are under way
    on the version, `MANY` + 1 for more; they go on in any case.
    """

    verb: str
    live: str | None
    live_then: str | None
    callers: tuple[Caller, ...]
    more_callers: int
    executions: int

    @property
    def changes_live(self) -> bool:
        return self.live != self.live_then

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "executions": min(self.executions, MANY), "more": self._is_more}

    @property
    def _is_more(self) -> bool:
        return self.executions > MANY


def impact_of(*, actor: Actor, version: WorkflowVersion, verb: str) -> Impact:
    """What `verb` (a name of `states.MOVES`) would change. Raises PermissionDenied."""
    actor.require(Permission.WORKFLOW_VIEW)
    rows = version.workflow.versions.values_list("state", "major", "minor", "patch")
    now = {Version(*row[1:]): row[0] for row in rows}
    then = {**now, version.number: next(move.target for move in MOVES if move.name == verb)}
    changed = [each for each in _callers(version, now, then) if each.takes != each.takes_then]
    return Impact(
        verb=verb,
        live=_taken(now, None),
        live_then=_taken(then, None),
        callers=tuple(changed[:MAX_CALLERS]),
        more_callers=max(0, len(changed) - MAX_CALLERS),
        executions=sum(count(version, MANY + 1) for count in _counts),
    )


def _callers(
    version: WorkflowVersion, now: Mapping[Version, str], then: Mapping[Version, str]
) -> Iterator[Caller]:
    slug = version.workflow.slug
    for row in _calling(slug).select_related("workflow").order_by("workflow__slug", *HIGHEST_FIRST):
        for step in read_outline(row.definition).steps:
            if step.type != "workflow" or step.config.get("workflow") != slug:
                continue
            text = str(step.config.get("version") or "")
            wanted = parse_range(text) if text else None
            yield Caller(
                workflow=row.workflow.slug,
                version=row.version,
                step=step.id,
                path=join(step.config_path, "version" if text else "workflow"),
                range=text,
                takes=_taken(now, wanted),
                takes_then=_taken(then, wanted),
            )


def _calling(slug: str) -> WorkflowVersionQuerySet:
    """The versions that can be started and have a step that starts the workflow."""
    known = Value(json.dumps({"slug": slug}))
    calls = Func(
        F("definition"),
        Value(_CALLS),
        known,
        template="jsonb_path_exists(%(expressions)s)",
        output_field=BooleanField(),
    )
    return WorkflowVersion.objects.startable().filter(calls)


def _taken(states: Mapping[Version, str], wanted: Range | None) -> str | None:
    """The number that a start takes; wanted: None for whatever is live."""
    if wanted is not None and wanted.exact is not None:
        return str(wanted.exact) if states.get(wanted.exact) in STARTABLE else None
    published = [each for each, state in states.items() if state == VersionState.PUBLISHED]
    highest = wanted.highest(published) if wanted else max(published, default=None)
    return str(highest) if highest is not None else None
