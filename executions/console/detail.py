"""Everything an execution's page shows, read once."""

from __future__ import annotations

from typing import Any

from django.utils.safestring import SafeString

from autopilot.common import clock
from autopilot.common.errors import DomainError
from executions.console.sentences import html_of
from executions.console.timeline import bars_of
from executions.console.verbs import offered
from executions.models import Execution, LogLine
from executions.reads import StepView, steps_of, transitions_of
from executions.situations import situation_of
from workflows.compiled import compiled_version

SHOWN_STEPS = 200
SHOWN_LOG = 500


def describe(execution: Execution) -> SafeString:
    """The sentence of one execution, with everything it may need."""
    return html_of(situation_of(execution).why.phrase)


def live_context(execution: Execution, *, may_control: bool) -> dict[str, Any]:
    """What changes while an execution runs."""
    now = clock.now()
    situation = situation_of(execution)
    pending = situation.pending
    steps = steps_of(execution, last=SHOWN_STEPS)
    log = list(LogLine.objects.filter(execution=execution).order_by("-seq")[: SHOWN_LOG + 1])
    is_log_cut = len(log) > SHOWN_LOG
    log = log[:SHOWN_LOG][::-1]
    bars = bars_of(execution, steps, log, now)
    return {
        "execution": execution,
        "sentence": html_of(situation.why.phrase),
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
