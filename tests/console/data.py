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


def refund(**document: Any) -> Workflow:
    """A branch, a group that fails and is caught, and a loop that goes round until it is enough."""
    return published(
        [
            {
                "id": "count",
                "name": "Ask the bank",
                "type": "transform",
                "config": {"output": "{{ default(vars.asked, 0) + 1 }}"},
                "assign": {"asked": "{{ steps.count.output }}"},
            },
            {
                "id": "enough",
                "name": "Has it answered?",
                "type": "choice",
                "config": {
                    "choices": [{"when": "vars.asked < 3", "next": "count"}],
                    "default": "large",
                },
            },
            {
                "id": "large",
                "name": "Is it a large amount?",
                "type": "choice",
                "config": {
                    "choices": [{"when": "input.amount > 100", "next": "check"}],
                    "default": "pay",
                },
            },
            {
                "id": "check",
                "name": "Check by hand",
                "type": "action",
                "config": {"action": "log", "with": {"message": "Large: {{ input.amount }}"}},
            },
            {
                "id": "pay",
                "name": "Pay it back",
                "type": "group",
                "config": {
                    "steps": [
                        {
                            "id": "book",
                            "name": "Book it",
                            "type": "action",
                            "config": {"action": "noop", "with": {"amount": "{{ input.amount }}"}},
                        },
                        {
                            "id": "send",
                            "name": "Send the money",
                            "type": "action",
                            "config": {"action": "probe.raise", "with": {"how": "action"}},
                            "retry": {"max_attempts": 3, "initial_interval": 0.05},
                        },
                    ],
                    "finally": [
                        {
                            "id": "close",
                            "name": "Close the ledger",
                            "type": "action",
                            "config": {"action": "log", "with": {"message": "closed"}},
                        }
                    ],
                },
                "catch": [{"errors": ["action.*"], "as": "problem", "next": "apologize"}],
            },
            {
                "id": "done",
                "name": "Tell the customer",
                "type": "succeed",
                "config": {"output": {"paid": True}},
            },
            {
                "id": "apologize",
                "name": "Apologize",
                "type": "transform",
                "config": {"output": {"paid": False, "why": "{{ error.message }}"}},
            },
        ],
        name="Refund",
        slug="refund",
        input_schema=REFUND_INPUT,
        **document,
    )


REFUND_INPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "amount": {
            "type": "number",
            "title": "Amount",
            "description": "In euros.",
            "exclusiveMinimum": 0,
        },
        "customer": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 2},
                "email": {"type": "string", "format": "email"},
                "since": {"type": "string", "format": "date"},
                "tier": {"enum": ["basic", "gold"]},
            },
            "required": ["name"],
        },
        "pieces": {"type": "integer", "minimum": 1, "default": 1},
        "express": {"type": "boolean"},
        "orders": {"type": "array", "items": {"type": "string"}},
        "notes": {"type": ["string", "null"], "maxLength": 2000},
        "anything": {"anyOf": [{"type": "object"}, {"type": "array"}]},
    },
    "required": ["amount", "customer"],
    "additionalProperties": False,
}


def triage() -> Workflow:
    """A map over sentences; an item whose number divides by a hundred fails."""
    return published(
        [
            {
                "id": "score",
                "name": "Score every sentence",
                "type": "map",
                "config": {
                    "items": "input.sentences",
                    "as": "sentence",
                    "max_concurrency": 200,
                    "tolerated_failures": "5%",
                    "steps": [
                        {
                            "id": "weigh",
                            "name": "Weigh it",
                            "type": "transform",
                            "config": {"output": {"chars": "{{ len(sentence) }}"}},
                        },
                        {
                            "id": "odd",
                            "name": "Is it odd?",
                            "type": "choice",
                            "config": {
                                "choices": [{"when": "index % 100 == 99", "next": "refuse"}],
                                "default": "end",
                            },
                        },
                        {
                            "id": "refuse",
                            "name": "Refuse it",
                            "type": "fail",
                            "config": {"error": "triage.odd", "message": "This one is odd."},
                        },
                    ],
                },
            },
            {
                "id": "sum_up",
                "name": "Sum up",
                "type": "transform",
                "config": {"output": {"scored": "{{ len(steps.score.output) }}"}},
            },
        ],
        name="Review triage",
        slug="review-triage",
    )
