"""The steps of an execution against time: one bar each, in percent of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from executions.models import Execution, LogLine
from executions.reads import StepView

SMALLEST_SPAN_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Bar:
    """One step with its place in time, and the log lines of its attempt.

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


def bars_of(
    execution: Execution, steps: Sequence[StepView], log: Sequence[LogLine], now: datetime
) -> list[Bar]:
    """A bar for each step; what is under way lasts until `now`."""
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
