"""What a rollout is asked to be, and everything that can be wrong with that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from autopilot.common.errors import Invalid
from autopilot.common.problems import Problem
from autopilot.common.storable import is_storable
from workflows import documents
from workflows.definition.durations import DurationError, parse_duration
from workflows.models import WorkflowVersion

MAX_REASON_CHARS = 200
MAX_KEY_CHARS = 4_096
MAX_WINDOW_SECONDS = 7 * 86_400.0
MIN_WINDOW_SECONDS = 1.0
MAX_MIN_EXECUTIONS = 10_000
_PERCENT = "A percentage from 0 to 100 with at most two decimals was expected."
_RATE = "A percentage from 0 to 100 was expected."


class RolloutInvalid(Invalid):
    """The rollout breaks a rule; `details` names every place."""

    code = "rollout.invalid"


@dataclass(frozen=True, slots=True)
class RolloutTerms:
    """How many take the candidate, who they are, and when it is stopped.

    percent: 0 to 100 of the starts, with two decimals. key: an expression over `input`; empty: the
    correlation id, else the idempotency key, else chance. window: a duration such as `15m` or a
    number of seconds, at most a week. The other three are those of `versioning.rollouts.Rules`.
    """

    percent: Any = 10
    key: str = ""
    max_failure_percent: Any = 5
    window: Any = "15m"
    min_executions: Any = 20
    margin_percent: Any = None

    def values(self, candidate: WorkflowVersion, baseline: WorkflowVersion) -> dict[str, Any]:
        """The columns. Raises RolloutInvalid with every problem."""
        problems: list[Problem] = []
        percent = percent_of(self.percent, problems)
        for name in ("max_failure_percent", "margin_percent"):
            value = getattr(self, name)
            if not _is_rate(value) and not (name == "margin_percent" and value is None):
                problems.append(Problem(f"$.{name}", "invalid", _RATE))
        least = self.min_executions
        if not (_is_number(least) and least == int(least) and 1 <= least <= MAX_MIN_EXECUTIONS):
            message = f"A whole number from 1 to {MAX_MIN_EXECUTIONS:,} was expected."
            problems.append(Problem("$.min_executions", "invalid", message))
        window = self._window(problems)
        problems += _key_problems(self.key, candidate, baseline)
        if problems:
            raise _refusal(problems)
        return {
            "percent": percent,
            "key": self.key.strip(),
            "max_failure_percent": float(self.max_failure_percent),
            "window_seconds": window,
            "min_executions": int(least),
            "margin_percent": None if self.margin_percent is None else float(self.margin_percent),
        }

    def _window(self, problems: list[Problem]) -> float:
        try:
            seconds = parse_duration(self.window).total_seconds()
        except DurationError as error:
            problems.append(Problem("$.window", "duration", str(error)))
            return 0.0
        if not MIN_WINDOW_SECONDS <= seconds <= MAX_WINDOW_SECONDS:
            message = "The window is a second at least and a week at most."
            problems.append(Problem("$.window", "invalid", message))
        return seconds


def checked_percent(value: Any) -> Decimal:
    """A percentage of starts. Raises RolloutInvalid."""
    problems: list[Problem] = []
    percent = percent_of(value, problems)
    if problems:
        raise _refusal(problems)
    return percent


def checked_reason(text: Any) -> str:
    """Why something is decided. Raises RolloutInvalid."""
    if is_storable(text, MAX_REASON_CHARS):
        return str(text)
    message = f"A text of at most {MAX_REASON_CHARS} characters was expected."
    raise RolloutInvalid(message, details=[Problem("$.reason", "invalid", message)])


def percent_of(value: Any, problems: list[Problem]) -> Decimal:
    """The number as it is stored, or a problem more."""
    if _is_rate(value):
        percent = Decimal(str(value))
        if percent == round(percent, 2):
            return round(percent, 2)
    problems.append(Problem("$.percent", "invalid", _PERCENT))
    return Decimal(0)


def _is_number(value: Any) -> bool:
    # An integer can be beyond what a float holds, and is finite without asking.
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return is_whole or (isinstance(value, (float, Decimal)) and math.isfinite(value))


def _is_rate(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 100


def _key_problems(key: Any, *versions: WorkflowVersion) -> list[Problem]:
    """What is wrong with the key, by the rules of a concurrency key in each of the versions."""
    text = documents.text_problem(key, path="$.key", limit=MAX_KEY_CHARS)
    if text is not None:
        return [text]
    if not key.strip():
        return []
    for version in versions:
        probe: Mapping[str, Any] = {
            **version.definition,
            "concurrency": {"key": key, "limit": 1},
        }
        place = "$.concurrency.key"
        found = [each for each in documents.problems_of(probe) if each.path.startswith(place)]
        if found:
            return [Problem("$.key", each.code, each.message) for each in found]
    return []


def _refusal(problems: list[Problem]) -> RolloutInvalid:
    message = (
        f"{problems[0].path}: {problems[0].message}"
        if len(problems) == 1
        else f"The rollout has {len(problems)} problems; see details."
    )
    return RolloutInvalid(message, details=problems)
