"""Workflows in the middle of a rollout, for tests."""

from __future__ import annotations

from typing import Any

from tests.engine import NOOP, SYSTEM, published
from workflows.models import Rollout, Workflow
from workflows.rollouts import RolloutTerms, start_rollout
from workflows.services import create_version
from workflows.versioning.rollouts import bucket_of

Steps = list[dict[str, Any]] | None
FAIL = {"type": "fail", "config": {"error": "test.broken", "message": "It is broken."}}
FAILING = [{**NOOP, "id": "a"}, {**FAIL, "id": "b"}]


def two_versions(steps: Steps = None, base: Steps = None, **document: Any) -> Workflow:
    """Version 1.0.0 is live and has the steps `base` (default: it does nothing); the draft 1.1.0
    has `steps` (default: it fails after that)."""
    head = {"name": "Refund", "slug": "refund", **document}
    workflow = published(base or [{**NOOP, "id": "a"}], **head)
    named = [{"name": each.get("id", "step"), **each} for each in steps or FAILING]
    create_version(
        actor=SYSTEM, workflow=workflow, document={**head, "steps": named, "version": "1.1.0"}
    )
    return workflow


def rolling(
    percent: float = 50, *, steps: Steps = None, base: Steps = None, **terms: Any
) -> Rollout:
    """Such a workflow with its draft rolled out to a percentage of the starts."""
    workflow = two_versions(steps, base)
    terms = {"min_executions": 5, **terms}
    return start_rollout(
        workflow=workflow,
        actor=SYSTEM,
        terms=RolloutTerms(percent=percent, **terms),
        override_reason="Only a test: the steps are others, the number stays in the range.",
    )


def key_for(rollout: Rollout, *, taken: bool, beyond: int = 0) -> str:
    """A key that takes the candidate, or one that doesn't; another one from `beyond` on."""
    share = int(rollout.percent * 100)
    return next(
        key
        for key in (f"key-{number}" for number in range(beyond, 1_000_000))
        if (bucket_of(rollout.salt, key) < share) is taken
    )
