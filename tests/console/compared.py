"""Two versions of one workflow that differ in every way the comparison knows."""

from __future__ import annotations

from typing import Any

from autopilot.accounts.actors import Actor
from workflows import services
from workflows.models import WorkflowVersion

SYSTEM = Actor.system("tests")


def action(id: str, message: str, **more: Any) -> dict[str, Any]:
    config = {"action": "log", "with": {"message": message}}
    return {"id": id, "name": more.pop("name", id.capitalize()), "type": "action", "config": config}


def returns(steps: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    properties = {"parcel": {"type": "string"}, "reason": {"type": "string"}, **fields}
    schema = {"type": "object", "properties": properties, "required": ["parcel"]}
    return {"name": "Returns", "slug": "returns", "input_schema": schema, "steps": steps}


def two_versions() -> tuple[WorkflowVersion, WorkflowVersion]:
    """1.0.0, published, and the draft 1.1.0."""
    inspect = action("inspect", "Look at the parcel {{ input.parcel }} and write down its state.")
    first = returns(
        [
            inspect,
            action("weigh", "On the scales."),
            {"id": "pause", "name": "Pause", "type": "wait", "config": {"duration": "5m"}},
            action("label", "Print a label."),
            action("close", "Done."),
        ]
    )
    old = services.create_workflow(actor=SYSTEM, document=first)
    old = services.publish_version(actor=SYSTEM, version=old)
    looks = action(
        "inspect", "Look at the parcel {{ input.parcel }} closely and write down its state."
    )
    second = returns(
        [
            looks,
            action("label", "Print a label."),
            {"id": "pause", "name": "Pause", "type": "wait", "config": {"duration": "10m"}},
            {**action("refund", "Money goes back."), "name": "Refund"},
            action("finish", "Done.", name="Close"),
        ],
        photo={"type": "string"},
    )
    new = services.create_version(actor=SYSTEM, workflow=old.workflow, document=second)
    return old, new
