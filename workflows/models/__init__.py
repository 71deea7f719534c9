"""What can run: a workflow, and its versions."""

from workflows.models.version import WorkflowVersion
from workflows.models.workflow import Workflow

__all__ = ["Workflow", "WorkflowVersion"]
