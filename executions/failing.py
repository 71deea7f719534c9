"""Error workflows: the starts that failures owe, made by the clock, each exactly once."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import structlog
from django.db import OperationalError, connection, transaction
from psycopg2.errors import LockNotAvailable

from autopilot.accounts.actors import Actor
from autopilot.common import clock
from autopilot.common.errors import DomainError
from executions.errors import InputTooLarge
from executions.models import ErrorStart, Execution
from executions.runtime.claims import DATABASE_ERRORS
from executions.runtime.faults import fault
from executions.services import start_execution
from workflows.models import Workflow

log = structlog.get_logger(__name__)

BATCH = 100
ACTOR = Actor.system("error workflow")

# Whether an execution, or one that it is part of, continues or was started by, was started by a
# failure.
_FROM_FAILURE = """
WITH RECURSIVE way AS (
    SELECT id, parent_id, continued_from_id, started_by_execution_id
      FROM executions_execution WHERE id = %(id)s
    UNION
    SELECT e.id, e.parent_id, e.continued_from_id, e.started_by_execution_id
      FROM way w
      JOIN executions_execution e
        ON e.id IN (w.parent_id, w.continued_from_id, w.started_by_execution_id))
SELECT EXISTS (SELECT 1 FROM way JOIN executions_errorstart s ON s.started_id = way.id)
"""


def start_owed(execution_ids: Collection[int] | None = None) -> int:
    """Start what failures owe; answers how many were seen to. What can't be started says why.

    execution_ids: only what the failures of these owe; None = all.
    """
    seen_to = 0
    owed = ErrorStart.objects.filter(status=ErrorStart.Status.OWED).order_by("pk")
    if execution_ids is not None:
        owed = owed.filter(execution__in=execution_ids)
    for pk in list(owed.values_list("pk", flat=True)[:BATCH]):
        try:
            seen_to += _start(pk)
        except DomainError as error:
            _refuse(pk, _sentence(error))
            seen_to += 1
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            # Somebody counts its concurrency key in a transaction of their own; it stays owed.
            log.warning("error_workflow.busy", error_start_id=pk)
        except DATABASE_ERRORS:
            raise
        except Exception as error:
            # One that can't be read must not keep the others, nor the clock.
            log.exception("error_workflow.failed", error_start_id=pk)
            _refuse(pk, f"The start could not be made: {type(error).__name__}.")
            seen_to += 1
    return seen_to


def _start(pk: int) -> int:
    """The start and the note of it are one transaction: both are there, or neither is."""
    with transaction.atomic():
        row = _take(pk)
        if row is None:
            return 0
        if _is_from_failure(row.execution_id):
            _settle(row, problem="It was started by a failure itself, and that starts no other.")
            return 1
        row.started = _begin(row)
        row.status = ErrorStart.Status.STARTED
        _settle(row)
        fault("failing.before_commit")
    fault("failing.after_commit")
    log.info("error_workflow.started", execution_id=row.execution_id, started_id=row.started_id)
    return 1


def _take(pk: int) -> ErrorStart | None:
    """Nobody else starts it meanwhile: two clocks may lead for a moment."""
    rows = ErrorStart.objects.select_for_update(skip_locked=True, of=("self",))
    return rows.filter(pk=pk, status=ErrorStart.Status.OWED).select_related("execution").first()


def _begin(row: ErrorStart) -> Execution:
    failed = row.execution
    workflow = Workflow.objects.filter(slug=row.workflow_slug).first()
    if workflow is None:
        raise NoErrorWorkflow(f'There is no workflow "{row.workflow_slug}".')
    options: dict[str, Any] = {
        "workflow": workflow,
        "actor": ACTOR,
        "idempotency_key": f"failure-{failed.pk}-{row.seq}",
        "correlation_id": failed.correlation_id,
    }
    data = input_of(failed)
    try:
        with transaction.atomic():
            return start_execution(input=data, **options).execution
    except InputTooLarge:
        # What it was given can be read from it; that it failed has to be heard.
        return start_execution(input={**data, "input": None}, **options).execution


def input_of(failed: Execution) -> dict[str, Any]:
    """What an error workflow is started with; hidden values stay hidden."""
    return {
        "execution": {
            "id": failed.pk,
            "workflow": failed.workflow.slug,
            "version": failed.version.version,
            "url": f"/api/v1/executions/{failed.pk}/",
            "labels": failed.labels,
            "correlation_id": failed.correlation_id,
        },
        "error": failed.error,
        "input": failed.input,
    }


class NoErrorWorkflow(DomainError):
    """The workflow that was to hear of a failure is not there."""

    code = "error_workflow.missing"
    status = 409


def _is_from_failure(execution_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_FROM_FAILURE, {"id": execution_id})
        return bool(cursor.fetchone()[0])


def _sentence(error: DomainError) -> str:
    first = error.details[0] if error.details else None
    if first is None or first.message in error.message:
        return error.message
    return f"{error.message} {first.path}: {first.message}"


def _refuse(pk: int, problem: str) -> None:
    with transaction.atomic():
        row = _take(pk)
        if row is not None:
            _settle(row, problem=problem)


def _settle(row: ErrorStart, *, problem: str = "") -> None:
    if problem:
        row.status = ErrorStart.Status.REFUSED
        row.problem = problem
        log.warning(
            "error_workflow.not_started",
            execution_id=row.execution_id,
            workflow=row.workflow_slug,
            problem=problem,
        )
    row.settled_at = clock.now()
    row.save(update_fields=["status", "started", "problem", "settled_at"])
