"""The workflows that the rows of W7 are of."""

from __future__ import annotations

from typing import Any

from benchmarks.shapes import publish
from benchmarks.workload import document

PLAIN = 10
_LATER = {"id": "later", "name": "Later", "type": "wait", "config": {"duration": "30d"}}
TIMER = {"name": "Remind later", "steps": [_LATER]}
SLOT = {
    "name": "One at a time",
    "concurrency": {"key": "input.account", "limit": 1, "on_limit": "queue"},
    "steps": [_LATER],
}


def publish_all() -> dict[str, Any]:
    """Ids of workflows and versions, by what they are for."""
    names = ("orders", "refunds", "reviews", "tickets", "invoices")
    documents = [
        {**document(), "name": f"Handle {names[number % 5]} {number + 1}"}
        for number in range(PLAIN)
    ]
    return {
        "plain": [_ids(publish(each)) for each in documents],
        "timer": _ids(publish(TIMER)),
        "slot": _ids(publish(SLOT)),
    }


def _ids(workflow: Any) -> tuple[int, int]:
    return workflow.pk, workflow.versions.get().pk
