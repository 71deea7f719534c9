"""Everything an execution's page shows, read once."""

from __future__ import annotations

from typing import Any

from django.utils.safestring import SafeString

from autopilot.common import clock
from autopilot.common.errors import DomainError
from executions.console.sentences import Facts, sentence_of
from executions.console.timeline import bars_of
from executions.console.verbs import offered
from executions.models import Execution, LogLine, Worker
from executions.reads import StepView, pending_of, steps_of, transitions_of
from executions.services import pending_verbs
from workflows.compiled import compiled_version

SHOWN_STEPS = 200
SHOWN_LOG = 500


def live_workers(queue: str) -> int:
    """How many workers that keep their lease serve a queue."""
    workers = Worker.objects.filter(lease_until__gt=clock.now())
    return sum(1 for queues in workers.values_list("queues", flat=True) if queue in queues)


def describe(execution: Execution) -> SafeString:
    """The sentence of one execution, with everything it may need."""
    return _sentence(execution, pending_verbs(execution))


def _sentence(execution: Execution, pending: list[str]) -> SafeString:
    return sentence_of(
        Facts(
            execution=execution,
            now=clock.now(),
            last=execution.transitions.order_by("-seq").first(),
            pending=pending,
            workers=None if execution.has_ended else live_workers(execution.queue),
            step_name=_step_name(execution),
        )
    )


def _step_name(execution: Execution) -> str:
    step_id = execution.current_step or (execution.error or {}).get("step") or ""
    if not step_id:
        return ""
    try:
        step = compiled_version(execution.version_id).steps.get(step_id)
    except DomainError:
        return str(step_id)
    return step.name if step else str(step_id)


def live_context(execution: Execution, *, may_control: bool) -> dict[str, Any]:
    """What changes while an execution runs."""
    now = clock.now()
    pending = pending_of([execution]).get(execution.pk, [])
    steps = steps_of(execution, last=SHOWN_STEPS)
    log = list(LogLine.objects.filter(execution=execution).order_by("-seq")[: SHOWN_LOG + 1])
    is_log_cut = len(log) > SHOWN_LOG
    log = log[:SHOWN_LOG][::-1]
    bars = bars_of(execution, steps, log, now)
    return {
        "execution": execution,
        "sentence": _sentence(execution, pending),
        "pending": pending,
        "verbs": offered(execution, pending) if may_control and not execution.has_ended else [],
        "bars": bars,
        "missing_steps": bars[0].step.seq - 1 if bars else 0,
        "not_reached": _not_reached(execution, steps),
        "transitions": transitions_of(execution),
        "log": log,
        "is_log_cut": is_log_cut,
        "seen": fingerprint(execution),
        "now": now,
    }


def fingerprint(execution: Execution) -> str:
    """Changes whenever the live part of the page would."""
    return f"{execution.revision}-{execution.inbox_seq}-{execution.epoch}-{execution.state}"


def _not_reached(execution: Execution, steps: list[StepView]) -> list[str]:
    """The names of the steps that it has not come to; only where the whole history is shown."""
    if not steps or steps[0].seq > 1:
        return []
    try:
        known = compiled_version(execution.version_id).steps
    except DomainError:
        return []
    taken = {step.step_id for step in steps}
    return [step.name for step in known.values() if step.id not in taken]


def facts_of(execution: Execution) -> list[tuple[str, str]]:
    """The small print: names and texts; what is empty is left out."""
    facts = [
        ("Queue", execution.queue),
        ("Priority", execution.get_priority_display()),
        ("Correlation id", execution.correlation_id),
        ("Idempotency key", execution.idempotency_key),
        ("Asked for by", _asker(execution)),
    ]
    return [(name, value) for name, value in facts if value]


def _asker(execution: Execution) -> str:
    return str(execution.started_by) if execution.started_by_id else execution.principal
