"""The version an execution runs, with the names its expressions may ask for."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from workflows.compiled import compiled_version
from workflows.definition.compiled import CompiledDefinition, CompiledScope
from workflows.models import WorkflowVersion


@dataclass(frozen=True, slots=True)
class Runnable:
    """A published version, compiled; `workflow` is the slug."""

    definition: CompiledDefinition
    workflow: str
    version: str


MAX_KNOWN = 1024

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


# The versions that were read last, the latest at the end. Published content is frozen, so what is
# here never goes stale.
_known: OrderedDict[int, Runnable] = OrderedDict()


def is_known(version_id: int) -> bool:
    """Whether `runnable_version` answers without asking the database."""
    return version_id in _known


def runnable_version(version_id: int) -> Runnable:
    """The version of this id.

    Blocks on the database at the first call for a version. Raises DomainError if this release
    can't run it.
    """
    found = _known.get(version_id)
    if found is None:
        row = WorkflowVersion.objects.values("version", "workflow__slug").get(pk=version_id)
        compiled = compiled_version(version_id)
        found = _known[version_id] = Runnable(compiled, row["workflow__slug"], row["version"])
        if len(_known) > MAX_KNOWN:
            _known.popitem(last=False)
    return found
