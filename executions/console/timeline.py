"""The steps of an execution against time: one row each, a bar for each attempt, in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from django.urls import reverse

from executions.console.items import Items
from executions.console.passes import Pass
from executions.models import Execution, LogLine
from executions.reads import StepView
from executions.runtime.control import control_from_json
from executions.suiting import is_undoing

SMALLEST_SPAN_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt of a step with its place in time, and its log lines.

    start, width: percent of the time from the first shown step to the last.
    """

    execution_id: int
    step: StepView
    start: float
    width: float
    log: Sequence[LogLine] = ()

    @property
    def anchor(self) -> str:
        return f"step-{self.step.seq}-{self.step.attempt}"

    @property
    def params_label(self) -> str:
        return f"what {self._name} was given"

    @property
    def output_label(self) -> str:
        return f"the output of {self._name}"

    @property
    def error_label(self) -> str:
        return f"the details of the error of {self._name}"

    @property
    def _name(self) -> str:
        attempt = f", attempt {self.step.attempt}" if self.step.attempt > 1 else ""
        return f"step {self.step.seq}{attempt}"

    @property
    def params_url(self) -> str:
        return self._url("params")

    @property
    def output_url(self) -> str:
        return self._url("output")

    def _url(self, name: str) -> str:
        arguments = [self.execution_id, f"{self.anchor}-{name}"]
        return reverse("admin:executions_execution_data", args=arguments)


@dataclass(frozen=True, slots=True)
class Row:
    """One step, with all its attempts.

    depth: in how many groups it is. items, items_url: of this pass of a map.
    """

    bars: Sequence[Bar]
    depth: int = 0
    items: Items | None = None
    items_url: str = ""

    @property
    def step(self) -> StepView:
        """The latest attempt, whose state is the step's."""
        return self.bars[-1].step

    @property
    def anchor(self) -> str:
        """Stays the same while attempts are added."""
        return f"step-{self.step.seq}-1"

    @property
    def started_at(self) -> datetime | None:
        return self.bars[0].step.started_at

    @property
    def duration_seconds(self) -> float | None:
        """From the beginning of the first attempt to the end of the last."""
        if self.started_at is None or self.step.ended_at is None:
            return None
        return (self.step.ended_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Shape:
    """What the definition and the children add to the recorded steps."""

    depths: Mapping[str, int] = field(default_factory=dict)
    passes: Mapping[str, Sequence[Pass]] = field(default_factory=dict)


def groups_under_way(execution: Execution) -> list[StepView]:
    """The groups around the current step, the outermost first; they are recorded when they end."""
    if execution.has_ended or is_undoing(execution):
        return []
    frames = control_from_json(execution.control).frames
    return [
        StepView(
            seq=frame.position.seq,
            attempt=frame.position.attempt,
            step_id=frame.position.step_id,
            name=frame.position.step_id,
            type="group",
            state="running",
            started_at=frame.position.started_at,
        )
        for frame in frames
    ]


def rows_of(
    execution: Execution,
    steps: Sequence[StepView],
    log: Sequence[LogLine],
    now: datetime,
    shape: Shape,
) -> list[Row]:
    """A row for each step, in the order they began; what is under way lasts until `now`."""
    ordered = sorted(steps, key=lambda step: (step.seq, step.attempt))
    bars = bars_of(execution, ordered, log, now)
    rows = [
        Row(list(attempts), depth=shape.depths.get(attempts[0].step.step_id, 0))
        for attempts in (list(group) for _, group in groupby(bars, key=lambda bar: bar.step.seq))
    ]
    return [_with_items(execution, row, shape) for row in rows]


def _with_items(execution: Execution, row: Row, shape: Shape) -> Row:
    step = row.step
    passes = shape.passes.get(step.step_id, ())
    own = next((each for each in passes if each.seq == step.seq), None)
    if own is None:
        return row
    url = reverse("admin:executions_execution_items", args=[execution.pk, step.step_id])
    return Row(row.bars, row.depth, own.items, f"{url}?pass={own.seq}")


def bars_of(
    execution: Execution, steps: Sequence[StepView], log: Sequence[LogLine], now: datetime
) -> list[Bar]:
    """A bar for each attempt."""
    starts = [step.started_at for step in steps if step.started_at]
    first = min(starts, default=execution.created_at)
    last = max([step.ended_at or now for step in steps if step.started_at], default=first)
    span = max((last - first).total_seconds(), SMALLEST_SPAN_SECONDS)

    def percent(moment: datetime) -> float:
        return round(min(max((moment - first).total_seconds() / span * 100, 0.0), 100.0), 2)

    bars = []
    for step in steps:
        start = percent(step.started_at) if step.started_at else 100.0
        end = percent(step.ended_at or now) if step.started_at else 100.0
        lines = [
            line
            for line in log
            if line.step_id == step.step_id
            and line.attempt == step.attempt
            and _is_within(line, step)
        ]
        bars.append(Bar(execution.pk, step, start, round(end - start, 2), lines))
    return bars


def _is_within(line: LogLine, step: StepView) -> bool:
    """In a loop a step comes by more than once; its lines lie between its start and its end."""
    if step.started_at is None:
        return False
    return step.started_at <= line.at and (step.ended_at is None or line.at <= step.ended_at)
