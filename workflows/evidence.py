"""What is known of a rollout's versions by how their executions end.

A workflow can't know its executions (they are built on it): whoever runs workflows registers here
how that is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from workflows.models import Rollout
from workflows.versioning.rollouts import Figures, Finding, Rules, judge


@dataclass(frozen=True, slots=True)
class Evidence:
    """The figures of one moment, and what they say.

    since, at: which ends are counted; later ones first, if there are too many. error_codes: of the
    candidate's failures, the most frequent ones. failed_executions: ids of the latest of them.
    """

    since: datetime
    at: datetime
    rules: Rules
    candidate: Figures
    baseline: Figures
    error_codes: Mapping[str, int] = field(default_factory=dict)
    failed_executions: Sequence[int] = ()

    @property
    def finding(self) -> Finding:
        return judge(self.candidate, self.baseline, self.rules)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON, to be kept and to be shown."""
        return {
            "finding": self.finding.value,
            "since": self.since.isoformat(),
            "at": self.at.isoformat(),
            "candidate": _figures(self.candidate),
            "baseline": _figures(self.baseline),
            "max_failure_percent": self.rules.max_failure_percent,
            "min_executions": self.rules.min_executions,
            "margin_percent": self.rules.margin_percent,
            "error_codes": dict(self.error_codes),
            "failed_executions": list(self.failed_executions),
        }


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "ended": figures.ended,
        "failed": figures.failed,
        "failure_percent": round(figures.failure_percent, 2),
        "is_capped": figures.is_capped,
    }


Measure = Callable[[Rollout, datetime], Evidence]
_measures: list[Measure] = []


def register(measure: Measure) -> None:
    """Say how it is measured; the last word counts."""
    if measure not in _measures:
        _measures.append(measure)


def evidence_of(rollout: Rollout, now: datetime) -> dict[str, Any] | None:
    """The figures of this moment as plain JSON; None if nobody can measure."""
    return _measures[-1](rollout, now).as_dict() if _measures else None
