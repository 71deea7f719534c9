"""The workflow that a body names."""

from __future__ import annotations

from autopilot.accounts.actors import Actor
from autopilot.common.problems import Problem
from executions.api.bodies import refusal
from workflows.definition.paths import did_you_mean, quote
from workflows.models import Workflow


def started_workflow(slug: str, actor: Actor) -> Workflow:
    """The workflow at `$.workflow`. Raises Invalid if the actor sees none of that name."""
    visible = Workflow.objects.visible_to(actor)
    workflow: Workflow | None = visible.filter(slug=slug).first()
    if workflow is None:
        hint = did_you_mean(slug, visible.order_by("slug").values_list("slug", flat=True))
        message = f'There is no workflow "{quote(slug)}", or you may not see it.{hint}'
        raise refusal([Problem("$.workflow", "workflow.unknown", message)])
    return workflow
