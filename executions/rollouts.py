"""How a rollout's versions are doing, and stopping the one that fails too much: the clock's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import connection

from autopilot.common import clock
from executions.models import Execution, Kind
from executions.runtime.claims import DATABASE_ERRORS
from workflows.evidence import Evidence
from workflows.models import Rollout, WorkflowVersion
from workflows.rollout_words import rollback_words, stop_reason
from workflows.rollouts import stop_rollout
from workflows.versioning.rollouts import Figures, Finding

log = structlog.get_logger(__name__)

# One look reads no more of a version than the latest of its executions; with those of items and
# branches, which are parts of one.
NEWEST = 20_000
SHOWN = 10
MANY = 10_000

# By the index (version, ended_at), from its end on, however many there are. What had failed before
# it was moved to the version did so by another one.
_ENDED = """
WITH latest AS MATERIALIZED (
    SELECT id, state, kind, is_test, error_code, ended_at, step_names FROM executions_execution
     WHERE version_id = %(version)s AND ended_at > %(since)s
     ORDER BY ended_at DESC LIMIT %(limit)s),
counted AS MATERIALIZED (
    SELECT id, state = 'failed' AS has_failed, error_code, ended_at FROM latest
     WHERE kind IN ('root', 'child') AND state IN ('completed', 'failed') AND NOT is_test
       AND (step_names IS NULL
            OR NOT EXISTS (SELECT FROM executions_migrationitem i
                            WHERE i.execution_id = latest.id AND i.moved_at >= latest.ended_at)))
SELECT (SELECT count(*) FROM latest),
       (SELECT count(*) FROM counted),
       (SELECT count(*) FROM counted WHERE has_failed),
       (SELECT json_object_agg(code, number) FROM (
            SELECT error_code AS code, count(*) AS number FROM counted WHERE has_failed
             GROUP BY error_code ORDER BY number DESC, code LIMIT %(shown)s) AS codes),
       (SELECT json_agg(id) FROM (
            SELECT id FROM counted WHERE has_failed
             ORDER BY ended_at DESC, id DESC LIMIT %(shown)s) AS latest_failures)
"""


def measure(rollout: Rollout, now: datetime) -> Evidence:
    """How both versions did within the window, as far as it lies in the rollout."""
    evidence = _measure_candidate(rollout, now)
    baseline, *_ = _ended(rollout.baseline_id, evidence.since)
    return replace(evidence, baseline=baseline)


def _measure_candidate(rollout: Rollout, now: datetime) -> Evidence:
    since = max(now - timedelta(seconds=rollout.window_seconds), rollout.started_at)
    candidate, codes, failed = _ended(rollout.candidate_id, since)
    return Evidence(
        since=since,
        at=now,
        rules=rollout.rules,
        candidate=candidate,
        baseline=Figures(0, 0),
        error_codes=codes,
        failed_executions=failed,
    )


def _ended(version_id: int, since: datetime) -> tuple[Figures, dict[str, int], list[int]]:
    given: dict[str, Any]
    given = {"version": version_id, "since": since, "limit": NEWEST, "shown": SHOWN}
    with connection.cursor() as cursor:
        cursor.execute(_ENDED, given)
        seen, ended, failed, codes, sample = cursor.fetchone()
    return Figures(ended, failed, is_capped=seen == NEWEST), codes or {}, sample or []


@dataclass(frozen=True, slots=True)
class LiveCount:
    """Exact up to MANY, `is_capped` beyond it."""

    count: int
    is_capped: bool


def live_executions(version: WorkflowVersion) -> LiveCount:
    """How many of a version have not ended, each with all its items and branches as one."""
    rows = Execution.objects.filter(version=version, kind__in=[Kind.ROOT, Kind.CHILD]).under_way()
    count = rows.order_by()[: MANY + 1].count()
    return LiveCount(min(count, MANY), is_capped=count > MANY)


def tend(now: datetime) -> int:
    """Stop what fails too much; answers how many. Two clocks, or a person at the same moment: one
    of them decides.

    What somebody decides about right now is looked at the next time.
    """
    stopped = 0
    rows = Rollout.objects.active().select_related("workflow", "candidate", "baseline")
    for rollout in rows.order_by("pk"):
        try:
            stopped += _look(rollout, now)
        except DATABASE_ERRORS:
            raise
        except Exception:
            # One that can't be judged must not keep the others, nor the clock.
            log.exception("rollout.not_judged", rollout_id=rollout.pk)
    return stopped


def _look(rollout: Rollout, now: datetime) -> int:
    # The baseline is asked for only where it could make a difference.
    if _measure_candidate(rollout, now).finding is not Finding.FAILS:
        return 0
    evidence = measure(rollout, now)
    if evidence.finding is not Finding.FAILS:
        return 0
    found = stop_rollout(
        rollout=rollout, evidence=evidence.as_dict(), reason=stop_reason(evidence, rollout)
    )
    return int(found is not None)


def figures_of(rollout: Rollout) -> dict[str, Any] | None:
    """The figures of this moment; of what has ended, those that the end was decided on."""
    if rollout.is_active:
        return measure(rollout, clock.now()).as_dict()
    last = rollout.decisions.order_by("pk").last()
    return last.evidence if last is not None else None


@dataclass(frozen=True, slots=True)
class RollbackPreview:
    """What taking the candidate back touches: where starts go, what goes on, what is deprecated."""

    live: LiveCount
    deprecates: bool
    sentence: str


def preview_rollback(rollout: Rollout) -> RollbackPreview:
    """What a rollback would do right now; nothing is changed."""
    live = live_executions(rollout.candidate)
    candidate, baseline = rollout.candidate.version, rollout.baseline.version
    return RollbackPreview(
        live, not rollout.was_published, rollback_words(candidate, baseline, live.count, MANY)
    )
