"""What the console's tests look at: a support process, and executions of it in every shape."""

from __future__ import annotations

from typing import Any

from executions.models import Execution
from tests.engine import drain, published, started
from workflows.models import Workflow

INPUT = {"customer": "Bakery on the Corner", "message": "The orders page is down."}


def support_request(**document: Any) -> Workflow:
    return published(
        [
            {
                "id": "read",
                "name": "Read the request",
                "type": "transform",
                "config": {"output": {"urgent": "{{ 'down' in input.message }}"}},
            },
            {
                "id": "note",
                "name": "Note it",
                "type": "action",
                "config": {"action": "log", "with": {"message": "From {{ input.customer }}"}},
                "assign": {"due_hours": "{{ 4 }}"},
            },
            {
                "id": "answer",
                "name": "Answer",
                "type": "succeed",
                "config": {"output": {"due_hours": "{{ vars.due_hours }}"}},
            },
        ],
        name="Support request",
        slug="support-request",
        labels={"team": "support"},
        input_schema={
            "type": "object",
            "properties": {"customer": {"type": "string"}, "message": {"type": "string"}},
            "required": ["customer", "message"],
        },
        **document,
    )


def renewal() -> Workflow:
    """Waits long enough to be paused, resumed and cancelled."""
    return published(
        [
            {"id": "until", "name": "Wait a month", "type": "wait", "config": {"duration": "30d"}},
            {"id": "remind", "name": "Remind", "type": "action", "config": {"action": "noop"}},
        ],
        name="Renewal",
        slug="renewal",
    )


def refusal() -> Workflow:
    """Fails at its only step."""
    return published(
        [
            {
                "id": "refuse",
                "name": "Refuse",
                "type": "fail",
                "config": {"error": "refund.limit", "message": "Above the limit of 100."},
            }
        ],
        name="Refund check",
        slug="refund-check",
    )


def one_of_each() -> dict[str, Execution]:
    """A completed, a failed and a waiting execution."""
    executions = {
        "completed": started(support_request(), INPUT),
        "failed": started(refusal()),
        "waiting": started(renewal()),
    }
    drain()
    return {name: Execution.objects.get(pk=each.pk) for name, each in executions.items()}
