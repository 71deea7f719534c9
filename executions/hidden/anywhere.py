"""Data on their way to an execution, which alone can tell what of them is hidden."""

from __future__ import annotations

from autopilot.common.crypto import has_key
from workflows.models import WorkflowVersion


def hides_anything() -> bool:
    """Whether any version hides anything.

    Which one doesn't matter: what one hides reaches others, as the input of a child or in a task.
    """
    return has_key() and WorkflowVersion.objects.filter(definition__has_key="redact").exists()
