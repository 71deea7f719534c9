"""The version an execution runs, with the names its expressions may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from workflows.compiled import compiled_version
from workflows.definition.compiled import CompiledDefinition, CompiledScope
from workflows.models import WorkflowVersion


@dataclass(frozen=True, slots=True)
class Runnable:
    """A published version, compiled; `workflow` is the slug."""

    definition: CompiledDefinition
    workflow: str
    version: str


# Stands in where a stored version can't be run by this release.
UNRUNNABLE = Runnable(
    CompiledDefinition(
        name="",
        slug=None,
        input_schema=None,
        output_schema=None,
        output=None,
        timeout=None,
        redact=(),
        scope=CompiledScope(id="", first="", step_ids=()),
        scopes={},
        steps={},
    ),
    workflow="",
    version="",
)


@lru_cache(maxsize=1024)
def runnable_version(version_id: int) -> Runnable:
    """The version of this id. Published content is frozen, so this never goes stale.

    Blocks on the database at the first call for a version. Raises DomainError if this release
    can't run it.
    """
    row = WorkflowVersion.objects.values("version", "workflow__slug").get(pk=version_id)
    return Runnable(compiled_version(version_id), row["workflow__slug"], row["version"])
