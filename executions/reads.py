"""What an execution has done and where it stands, put together for the API and the console.

Nothing here writes. Whoever shows an execution asks these functions, so that both show the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection

from autopilot.common.errors import DomainError
from executions.engine.events import WISHES
from executions.engine.snapshot import UNDO_PHASES, Phase
from executions.engine.states import State, StepState
from executions.engine.undo import STEP_TYPE as UNDO_TYPE
from executions.models import (
    ErrorStart,
    Execution,
    InboxMessage,
    Kind,
    StateTransition,
    StepExecution,
)
from executions.moved import present_step, steps_named
from executions.querysets import ExecutionQuerySet
from workflows.compiled import compiled_version
from workflows.models import WorkflowVersion

COUNT_CAP = 1_000
# Of a list whose states can't be counted one by one, so many of the newest are.
NEWEST_CAP = 1_000


@dataclass(frozen=True, slots=True)
class StepView:
    """One attempt of one step: as it was recorded, or as it is under way.

    seq: the how-manieth step of the execution it is; attempts of one step share it.
    started_at, ended_at: None as long as that has not happened.
    taken_over: copied from the execution that this one is a rerun of.
    step_id: what it is called in the version that the execution runs now. recorded_as: what it was
    called when it was recorded, if it has another name since the execution was moved.
    wait_until: for a step that waits for a moment, that moment.
    """

    seq: int
    attempt: int
    step_id: str
    name: str
    type: str
    state: str
    params: Any = None
    output: Any = None
    error: dict[str, Any] | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    wait_until: datetime | None = None
    taken_over: bool = False
    recorded_as: str = ""

    @property
    def is_recorded(self) -> bool:
        """Whether this attempt has ended, and so will never change."""
        return self.ended_at is not None

    @property
    def duration_seconds(self) -> float | None:
        """From start to end in seconds; None while it is under way."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many executions are in a state; at least so many if `is_capped`."""

    state: str
    count: int
    is_capped: bool = False

    def __str__(self) -> str:
        return f"{self.count}+" if self.is_capped else str(self.count)

    def __bool__(self) -> bool:
        """Whether there may be some."""
        return self.count > 0 or self.is_capped


def steps_of(execution: Execution, *, last: int | None = None) -> list[StepView]:
    """The recorded attempts in the order (seq, attempt), then the one under way, if any.

    last: at most so many of the recorded ones, the latest; None = all.
    """
    rows = StepExecution.objects.filter(execution=execution)
    names = execution.step_names
    if last is None:
        views = [recorded(row, names) for row in rows.order_by("seq", "attempt")]
    else:
        views = [recorded(row, names) for row in rows.order_by("-seq", "-attempt")[:last]][::-1]
    current = step_under_way(execution, views)
    return [*views, current] if current else views


def recorded(row: StepExecution, step_names: Any = None) -> StepView:
    """The view of an attempt that has ended.

    step_names: of its execution, if that was moved to another version.
    """
    present = row.step_id
    if step_names is not None:
        present = present_step(step_names, row.pk, row.step_id) or row.step_id
    return StepView(
        seq=row.seq,
        attempt=row.attempt,
        step_id=present,
        recorded_as=row.step_id if present != row.step_id else "",
        name=row.name,
        type=row.type,
        state=row.state,
        params=row.params,
        output=row.output,
        error=row.error,
        started_at=row.started_at,
        ended_at=row.ended_at,
        taken_over=row.taken_over,
    )


def step_under_way(execution: Execution, done: Iterable[StepView]) -> StepView | None:
    """The step an execution stands at; None if it has ended, not begun, or `done` has it already.

    The execution's row was read before its steps: by then the step may have been recorded.
    """
    if execution.has_ended or not execution.current_step:
        return None
    place = (execution.current_seq, execution.current_attempt)
    if any((view.seq, view.attempt) >= place for view in done):
        return None
    name, kind = _name_and_type(execution)
    if execution.current_phase in UNDO_PHASES:
        name, kind = f"Undo {name}", UNDO_TYPE
    return StepView(
        seq=execution.current_seq,
        attempt=execution.current_attempt,
        step_id=execution.current_step,
        name=name,
        type=kind,
        state=_state_under_way(execution).value,
        started_at=execution.current_since,
        wait_until=execution.wait_until,
    )


def _state_under_way(execution: Execution) -> StepState:
    if execution.current_phase in {Phase.TIMER, Phase.EXPIRY, Phase.OUTSIDE}:
        return StepState.WAITING
    if execution.current_phase == Phase.ENTER and execution.state != State.RUNNING:
        # Stopped at the boundary: nothing of the step has happened yet.
        return StepState.WAITING
    return StepState.RUNNING


def _name_and_type(execution: Execution) -> tuple[str, str]:
    """What the definition says of the current step; its id alone if this release can't read it."""
    try:
        step = compiled_version(execution.version_id).steps.get(execution.current_step)
    except DomainError:
        step = None
    return (step.name, step.type.value) if step else (execution.current_step, "")


def context_of(execution: Execution) -> dict[str, Any]:
    """The data of an execution: what expressions see, and what came of it.

    `steps` has the latest attempt of each step by its id, in the order they were taken.
    """
    latest = (
        steps_named(execution)
        .filter(now_id__isnull=False)
        .exclude(type=UNDO_TYPE)
        .order_by("now_id", "-seq", "-attempt")
        .distinct("now_id")
    )
    return {
        "input": execution.input,
        "variables": execution.variables,
        "steps": {
            row.now_id: {
                "state": row.state,
                "output": row.output,
                "error": row.error,
                "attempts": row.attempt,
            }
            for row in sorted(latest, key=lambda row: row.seq)
        },
        "output": execution.output,
        "error": execution.error,
    }


def error_start_of(execution: Execution) -> ErrorStart | None:
    """The start that the last failure of an execution asks for, if its document says so."""
    if execution.state != State.FAILED:
        return None
    return ErrorStart.objects.filter(execution=execution).order_by("-seq").first()


def failure_of(execution: Execution) -> int | None:
    """The id of the execution whose failure has started this one."""
    rows = ErrorStart.objects.filter(started=execution)
    return rows.values_list("execution_id", flat=True).first()


def transitions_of(execution: Execution) -> list[StateTransition]:
    """Every change of the execution's state, oldest first."""
    return list(StateTransition.objects.filter(execution=execution).order_by("seq"))


def pending_of(executions: Iterable[Execution]) -> dict[int, list[str]]:
    """What was asked of each execution and has not been done yet, oldest first, by id.

    One query for all of them, and none if nothing was asked.
    """
    seen = {each.pk: each.seen_seq for each in executions if each.inbox_seq > each.seen_seq}
    pending: dict[int, list[str]] = {pk: [] for pk in seen}
    if seen:
        messages = InboxMessage.objects.filter(
            execution__in=list(seen), seq__gt=min(seen.values()), kind__in=WISHES
        ).order_by("execution_id", "seq")
        for pk, seq, kind in messages.values_list("execution_id", "seq", "kind"):
            if seq > seen[pk]:
                pending[pk].append(kind)
    return pending


def state_counts(
    queryset: ExecutionQuerySet, *, cap: int = COUNT_CAP, among: Collection[State] = tuple(State)
) -> dict[str, StateCount]:
    """How many executions of `queryset` are in each state, counted up to `cap` each, in one query.

    among: only these states are counted.

    Counting stops at the cap, which the index by state makes cheap however many rows there are.
    A queryset whose other filters few rows pass may still have to look at many.
    """
    selects: list[str] = []
    params: list[Any] = []
    states = [state.value for state in State if state in among]
    for state in states:
        some = queryset.filter(state=state).order_by().values("pk")[: cap + 1]
        try:
            sql, values = some.query.sql_with_params()
        except EmptyResultSet:
            return {state: StateCount(state, 0) for state in states}
        selects.append(f"(SELECT count(*) FROM ({sql}) AS found)")  # noqa: S608 - the ORM's SQL
        params.extend(values)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(selects)}", params)
        counts = cursor.fetchone()
    return {
        state: StateCount(state, min(count, cap), is_capped=count > cap)
        for state, count in zip(states, counts, strict=True)
    }


def newest_counts(queryset: ExecutionQuerySet, *, cap: int = NEWEST_CAP) -> dict[str, StateCount]:
    """How many executions of `queryset` are in each state, among its newest `cap`, in one query.

    For filters that no index knows by state: all are read once, and no further than that.
    """
    newest = queryset.order_by("-pk").values("state")[:cap]
    try:
        sql, values = newest.query.sql_with_params()
    except EmptyResultSet:
        return {state.value: StateCount(state.value, 0) for state in State}
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT state, count(*) FROM ({sql}) AS found GROUP BY state", values)  # noqa: S608 - the ORM's SQL
        counts: dict[str, int] = dict(cursor.fetchall())
    is_capped = sum(counts.values()) >= cap
    return {
        state.value: StateCount(state.value, counts.get(state.value, 0), is_capped=is_capped)
        for state in State
    }


def count_under_way(version: WorkflowVersion, limit: int) -> int:
    """How many executions of a version have not ended; no more than `limit` are counted.

    Items and branches are parts of one. By the index (version, ended_at).
    """
    rows = Execution.objects.filter(version=version, ended_at__isnull=True)
    whole = rows.filter(kind__in=[Kind.ROOT, Kind.CHILD])
    return whole.order_by()[:limit].count()
