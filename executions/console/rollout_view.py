"""A rollout as the console shows it: who takes what, how both versions do, what was decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from autopilot.accounts.roles import Permission
from executions.rollouts import LiveCount, figures_of, live_executions
from workflows.models import Rollout, RolloutDecision, WorkflowVersion
from workflows.rollout_words import (
    decision_words,
    percent_words,
    route_words,
    verdict,
)
from workflows.versioning.rollouts import DecisionKind, Finding, RolloutState

# The same colors as everywhere: what goes on, what went well, what failed, what was given up.
COLORS = {
    RolloutState.ACTIVE.value: "running",
    RolloutState.PROMOTED.value: "completed",
    RolloutState.STOPPED.value: "failed",
    RolloutState.ROLLED_BACK.value: "cancelled",
}
WORDS = {
    RolloutState.ACTIVE.value: "under way",
    RolloutState.PROMOTED.value: "promoted",
    RolloutState.STOPPED.value: "stopped by itself",
    RolloutState.ROLLED_BACK.value: "rolled back",
}
_FINDINGS = {
    Finding.TOO_FEW.value: ("initialized", "hourglass_empty"),
    Finding.FINE.value: ("completed", "check_circle"),
    Finding.SHARED.value: ("waiting", "balance"),
    Finding.FAILS.value: ("failed", "error"),
}
_DECISIONS = {
    DecisionKind.STARTED.value: "running",
    DecisionKind.PERCENT_SET.value: "resumed",
    DecisionKind.PROMOTED.value: "completed",
    DecisionKind.STOPPED.value: "failed",
    DecisionKind.ROLLED_BACK.value: "cancelled",
}
MAY_LOOK = (Permission.WORKFLOW_VIEW, Permission.EXECUTION_VIEW)
MAY_DECIDE = (*MAY_LOOK, Permission.WORKFLOW_PUBLISH)
# For so long it is said unasked that a rollout stopped itself.
STOP_IS_NEWS = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Bar:
    """How the executions of one version ended within the window."""

    version: str
    role: str
    url: str
    ended: int
    failed: int
    failure_words: str
    is_capped: bool

    @property
    def completed(self) -> int:
        return self.ended - self.failed


@dataclass(frozen=True, slots=True)
class Past:
    """One decision; color: of its dot."""

    row: RolloutDecision
    words: str
    color: str
    finding: str


@dataclass(frozen=True, slots=True)
class RolloutView:
    """Everything that a rollout's panel and page show."""

    rollout: Rollout
    color: str
    words: str
    sentence: str
    verdict: str
    finding_color: str
    finding_icon: str
    bars: Sequence[Bar]
    evidence: Mapping[str, Any] | None
    past: Sequence[Past]
    live: LiveCount
    may_decide: bool

    @property
    def others_percent(self) -> float:
        return 100 - float(self.rollout.percent)

    @property
    def since(self) -> datetime | None:
        return datetime.fromisoformat(self.evidence["since"]) if self.evidence else None

    @property
    def codes(self) -> list[tuple[str, int]]:
        """Of the failures, the most frequent first."""
        counts = self.evidence["error_codes"] if self.evidence else {}
        return sorted(counts.items(), key=lambda each: -each[1])

    @property
    def failed(self) -> list[int]:
        return self.evidence["failed_executions"] if self.evidence else []


def view_of(rollout: Rollout, *, may_decide: bool) -> RolloutView:
    """What is to be shown of a rollout; a few queries."""
    evidence = figures_of(rollout)
    color, icon = _FINDINGS[evidence["finding"]] if evidence else ("initialized", "help")
    return RolloutView(
        rollout=rollout,
        color=COLORS[rollout.state],
        words=WORDS[rollout.state],
        sentence=route_words(rollout) if rollout.is_active else _ended_words(rollout),
        verdict=verdict(rollout, evidence) if evidence else "",
        finding_color=color,
        finding_icon=icon,
        bars=_bars(rollout, evidence) if evidence else [],
        evidence=evidence,
        past=[_past(rollout, row) for row in rollout.decisions.order_by("-pk")],
        live=live_executions(rollout.candidate),
        may_decide=may_decide and rollout.is_active,
    )


def _ended_words(rollout: Rollout) -> str:
    if rollout.state == RolloutState.PROMOTED:
        return f"{rollout.candidate.version} was promoted: every start took it from then on."
    how = WORDS[rollout.state]
    version, baseline = rollout.candidate.version, rollout.baseline.version
    return f"{version} was {how}: every start took {baseline} again."


def _bars(rollout: Rollout, evidence: Mapping[str, Any]) -> list[Bar]:
    return [
        _bar(rollout, rollout.candidate, "candidate", evidence["candidate"]),
        _bar(rollout, rollout.baseline, "live", evidence["baseline"]),
    ]


def _bar(rollout: Rollout, version: WorkflowVersion, role: str, figures: Any) -> Bar:
    query = urlencode({"workflow": rollout.workflow.slug, "version": version.version})
    return Bar(
        version=version.version,
        role=role,
        url=f"{reverse('admin:executions_execution_changelist')}?{query}",
        ended=figures["ended"],
        failed=figures["failed"],
        failure_words=percent_words(figures["failure_percent"]),
        is_capped=figures["is_capped"],
    )


def _past(rollout: Rollout, row: RolloutDecision) -> Past:
    # Why the clock stopped it says the same.
    is_said = row.evidence is None or row.kind == DecisionKind.STOPPED
    finding = "" if is_said else verdict(rollout, row.evidence or {})
    return Past(row, decision_words(row), _DECISIONS[row.kind], finding)
