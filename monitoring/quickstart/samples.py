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
from workflows.models import Workflow
from workflows.services import create_workflow, publish_version

FIRST = "first-steps"
INPUT_SUFFIX = ".input.json"


def folder() -> Path:
    return Path(settings.BASE_DIR) / "samples"


def publish_samples(actor: Actor) -> list[str]:
    """Publish the samples that aren't there; returns their slugs.

    Those that are there stay as they are: people may have made them their own.
    """
    published = []
    for path in sorted(folder().glob("*.json")):
        if path.name.endswith(INPUT_SUFFIX):
            continue
        document = json.loads(path.read_text(encoding="utf-8"))
        if Workflow.objects.filter(slug=document["slug"]).exists():
            continue
        with transaction.atomic():
            draft = create_workflow(actor=actor, document=document, changelog="Sample")
            publish_version(actor=actor, version=draft)
        published.append(document["slug"])
    return published


def start_first(actor: Actor) -> Execution:
    """Start the first sample with the input that lies beside it."""
    path = folder() / f"first_steps{INPUT_SUFFIX}"
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    workflow = Workflow.objects.get(slug=FIRST)
    return start_execution(workflow=workflow, actor=actor, input=data).execution
