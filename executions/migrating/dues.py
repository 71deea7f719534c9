"""When things that are under way fall due by another version.

What a step waits for stays as it was asked: a timer and a backoff keep their moment. How long
something may take goes by the new version, counted from when it began: the timeouts of the
execution, of the groups it is inside of, and of a step that waits for children or for news.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from executions.engine.snapshot import WITH_CHILDREN, Frame, Part, Phase
from executions.engine.states import State
from executions.migrating.routes import Route
from executions.models import Execution
from executions.runtime.control import Control
from workflows.definition.compiled import ActionConfig, CompiledStep


@dataclass(frozen=True, slots=True)
class Dues:
    """What an execution is to be given.

    changed: any of it is different from before. passed: what is over already, in words; empty if
    nothing is.
    """

    phase: str
    wait_until: datetime | None
    deadline: datetime | None
    frames: tuple[Frame, ...]
    changed: bool = False
    passed: str = ""

    @property
    def wakes_at(self) -> datetime | None:
        """When a waiting execution has something to do, if time alone can say so."""
        moments = [self.wait_until, self.deadline, *(each.deadline for each in self.frames)]
        known = [each for each in moments if each is not None]
        return min(known) if known else None


def dues_of(row: Execution, control: Control, route: Route, now: datetime) -> Dues:
    """By the new version; steps still have their old names."""
    deadline = _again(
        _utc(row.deadline_at),
        route.old.timeout,
        route.new.timeout,
        _utc(row.started_at),
        is_own=row.kind in ("root", "child"),
    )
    frames = tuple(_frame(each, route) for each in control.frames)
    phase, until = _wait(row, route)
    before = (_utc(row.wait_until), _utc(row.deadline_at), control.frames, row.current_phase)
    changed = (until, deadline, frames, phase) != before
    dues = Dues(phase, until, deadline, frames, changed)
    return replace(dues, passed=_passed(row, dues, control, now)) if changed else dues


def _again(
    due: datetime | None,
    old: timedelta | None,
    new: timedelta | None,
    began: datetime | None,
    *,
    is_own: bool = True,
) -> datetime | None:
    """The end of what may take `new` instead of `old`; pauses that have moved it on are kept."""
    if not is_own or old == new:
        return due
    if new is None:
        return None
    if due is not None and old is not None:
        return due - old + new
    return began + new if began is not None else None


def _frame(frame: Frame, route: Route) -> Frame:
    if frame.part is Part.LAST:
        return frame
    old, new = _both(frame.position.step_id, route)
    if old is None or new is None:
        return frame
    began = frame.position.started_at
    return replace(frame, deadline=_again(frame.deadline, old.timeout, new.timeout, began))


def _wait(row: Execution, route: Route) -> tuple[str, datetime | None]:
    """Phase and moment of the step that it stands at."""
    until, since = _utc(row.wait_until), _utc(row.current_since)
    phase = row.current_phase
    old, new = _both(row.current_step, route)
    if old is None or new is None or since is None or row.state == State.FAILED:
        return phase, until
    if phase == Phase.TIMER and new.timeout is not None and until is not None:
        expiry = since + new.timeout
        return (Phase.EXPIRY.value, expiry) if expiry < until else (phase, until)
    if phase == Phase.OUTSIDE and isinstance(old.config, ActionConfig):
        # The next sign of life is counted by the new version; until then what was said holds.
        is_bounded = new.timeout is not None or new.heartbeat is not None
        return phase, until if is_bounded else None
    if phase == Phase.OUTSIDE or phase in WITH_CHILDREN:
        return phase, _again(until, old.timeout, new.timeout, since)
    return phase, until


def _both(step_id: str, route: Route) -> tuple[CompiledStep | None, CompiledStep | None]:
    target = route.plan.target(step_id) if step_id else None
    return route.old.steps.get(step_id), route.new.steps.get(target or "")


def _passed(row: Execution, dues: Dues, control: Control, now: datetime) -> str:
    """What would be over at once, although by the old version it is not."""
    if dues.deadline != _utc(row.deadline_at) and _is_over(dues.deadline, now):
        return "The execution"
    for frame, before in zip(dues.frames, control.frames, strict=True):
        if frame.deadline != before.deadline and _is_over(frame.deadline, now):
            return f'The group "{frame.position.step_id}"'
    if dues.wait_until != _utc(row.wait_until) and _is_over(dues.wait_until, now):
        return f'The step "{row.current_step}"'
    return ""


def _is_over(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now


def _utc(moment: datetime | None) -> datetime | None:
    return moment.astimezone(UTC) if moment else None
