"""What can run: a workflow, its versions, and how a new one is rolled out."""

from workflows.models.rollout import Rollout, RolloutDecision
from workflows.models.version import WorkflowVersion
from workflows.models.workflow import Workflow

__all__ = ["Rollout", "RolloutDecision", "Workflow", "WorkflowVersion"]
