"""What is said of a rollout: how it is doing, why it was stopped, what a verb would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autopilot.common.words import duration_words, plural
from workflows.evidence import Evidence
from workflows.models import Rollout, RolloutDecision
from workflows.versioning.rollouts import DecisionKind, Finding


def percent_words(value: Any) -> str:
    """`10 %`, `0.25 %`: no zeros that say nothing."""
    return f"{float(value):.2f}".rstrip("0").rstrip(".") + " %"


def stop_reason(evidence: Evidence, rollout: Rollout) -> str:
    """Why the clock stops it, in a sentence of at most 200 characters."""
    candidate = evidence.candidate
    return (
        f"{candidate.failed:,} of {plural(candidate.ended, 'execution')} failed within "
        f"{duration_words(rollout.window_seconds)} "
        f"({percent_words(candidate.failure_percent)}), and at most "
        f"{percent_words(rollout.max_failure_percent)} may."
    )


def verdict(rollout: Rollout, evidence: Mapping[str, Any]) -> str:
    """What the figures say of the candidate, in a sentence."""
    candidate, baseline = evidence["candidate"], evidence["baseline"]
    version = rollout.candidate.version
    match Finding(evidence["finding"]):
        case Finding.TOO_FEW:
            return (
                f"Too little is known of {version} yet: {_ended(candidate)}, and "
                f"{rollout.min_executions:,} are needed for a judgement."
            )
        case Finding.FINE:
            return (
                f"{version} is doing well: {_failed(candidate)}, and at most "
                f"{percent_words(rollout.max_failure_percent)} may."
            )
        case Finding.SHARED:
            return (
                f"{version} fails too much ({_failed(candidate)}), but so does "
                f"{rollout.baseline.version} ({_failed(baseline)}): the version is not to blame."
            )
        case Finding.FAILS:
            return (
                f"{version} fails too much: {_failed(candidate)}, and at most "
                f"{percent_words(rollout.max_failure_percent)} may."
            )


def _ended(figures: Mapping[str, Any]) -> str:
    return f"{plural(figures['ended'], 'execution has', 'executions have')} ended"


def _failed(figures: Mapping[str, Any]) -> str:
    more = "+" if figures["is_capped"] else ""
    return (
        f"{figures['failed']:,} of {figures['ended']:,}{more} failed "
        f"({percent_words(figures['failure_percent'])})"
    )


def decision_words(decision: RolloutDecision) -> str:
    """What was decided, in a few words."""
    match DecisionKind(decision.kind):
        case DecisionKind.STARTED:
            return f"Began with {percent_words(decision.percent_after)}"
        case DecisionKind.PERCENT_SET:
            before, after = decision.percent_before, decision.percent_after
            return f"From {percent_words(before)} to {percent_words(after)}"
        case DecisionKind.PROMOTED:
            return "Promoted: every start takes it"
        case DecisionKind.STOPPED:
            return "Stopped by itself"
        case DecisionKind.ROLLED_BACK:
            return "Rolled back"


def route_words(rollout: Rollout) -> str:
    """Who takes which version, in a sentence."""
    of_key = f" by the key {rollout.key}" if rollout.key else ""
    return (
        f"{percent_words(rollout.percent)} of the starts take {rollout.candidate.version}{of_key}, "
        f"all others {rollout.baseline.version}."
    )


def rollback_words(candidate: str, baseline: str, live: int, cap: int) -> str:
    """What a rollback does, in a sentence; live: executions of the candidate that have not ended,
    counted up to `cap`."""
    if not live:
        going_on = f"No execution of {candidate} is under way."
    elif live == 1:
        going_on = f"The one execution of {candidate} that is under way goes on with it."
    else:
        more = "+" if live >= cap else ""
        going_on = f"The {live:,}{more} executions of {candidate} under way go on with it."
    return f"Every start takes {baseline} again. {going_on}"


def choice_words(rollout: Rollout) -> str:
    """`Rollout: 10 % 1.1.0, else 1.0.0`: what a start that names no version takes."""
    percent, candidate = percent_words(rollout.percent), rollout.candidate.version
    return f"Rollout: {percent} {candidate}, else {rollout.baseline.version}"
