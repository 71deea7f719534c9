"""The sample workflows: published once, and one of them run to its end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from autopilot.accounts.actors import Actor
from executions.models import Execution
from executions.services import start_execution
from workflows.actions import registry
from workflows.models import Workflow
from workflows.services import create_workflow, publish_version

# In the order in which they are published; the first one that can be run is the first run.
SAMPLES = ("review_triage", "first_steps", "goodwill", "trip", "refund", "onboarding", "order")
FIRST_RUNS = ("review_triage", "first_steps")


def publish_samples(actor: Actor) -> list[str]:
    """Publish the samples that aren't there; returns their slugs.

    Those that are there stay as they are: people may have made them their own. Without the samples'
    own actions (AUTOPILOT_SAMPLES=false) those that call them are left out.
    """
    published = []
    for name in SAMPLES:
        document = _read(f"{name}.json")
        if not _may_run(document) or Workflow.objects.filter(slug=document["slug"]).exists():
            continue
        with transaction.atomic():
            draft = create_workflow(actor=actor, document=document, changelog="Sample")
            publish_version(actor=actor, version=draft)
        published.append(document["slug"])
    return published


def start_first(actor: Actor) -> Execution:
    """Start the first sample that this process knows all actions of, with the input beside it."""
    name, document = next(
        (name, document) for name in FIRST_RUNS if _may_run(document := _read(f"{name}.json"))
    )
    workflow = Workflow.objects.get(slug=document["slug"])
    data = _read(f"{name}.input.json")
    return start_execution(workflow=workflow, actor=actor, input=data).execution


def _read(name: str) -> dict[str, Any]:
    path = Path(settings.BASE_DIR) / "samples" / name
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _may_run(document: dict[str, Any]) -> bool:
    """Whether every action that its steps name is known here."""
    return _actions(document["steps"]) <= set(registry.names())


def _actions(steps: list[dict[str, Any]]) -> set[str]:
    found = {step["config"]["action"] for step in steps if step["type"] == "action"}
    for step in steps:
        config = step["config"]
        for scope in (config, *config.get("branches", [])):
            found |= _actions(scope.get("steps", []))
    return found
