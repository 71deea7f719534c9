"""What can run: workflows, their versions with their history, and how a new one is rolled out."""

from workflows.models.history import VersionReview, VersionTransition
from workflows.models.rollout import Rollout, RolloutDecision
from workflows.models.version import WorkflowVersion
from workflows.models.workflow import Workflow

__all__ = [
    "Rollout",
    "RolloutDecision",
    "VersionReview",
    "VersionTransition",
    "Workflow",
    "WorkflowVersion",
]
