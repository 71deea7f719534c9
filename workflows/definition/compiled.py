"""What the engine imports: compile a document once per version, then run it without I/O."""

from __future__ import annotations

from typing import Any, ClassVar

from autopilot.common.errors import DomainError
from workflows.definition.building import build
from workflows.definition.fields import StepType
from workflows.definition.json_values import sha256_of
from workflows.definition.outline import Step, read_outline
from workflows.definition.program import (
    ActionConfig,
    ApprovalConfig,
    Branch,
    CatchClause,
    ChoiceBranch,
    ChoiceConfig,
    Compensation,
    CompiledDefinition,
    CompiledScope,
    CompiledStep,
    ConcurrencyRule,
    FailConfig,
    GroupConfig,
    MapConfig,
    OnFailure,
    ParallelConfig,
    RetryPolicy,
    SignalConfig,
    StepConfig,
    SucceedConfig,
    TransformConfig,
    WaitConfig,
    WorkflowConfig,
)
from workflows.definition.schemas import PayloadSchema
from workflows.definition.validation import check_definition

__all__ = [
    "ActionConfig",
    "ApprovalConfig",
    "Branch",
    "CatchClause",
    "ChoiceBranch",
    "ChoiceConfig",
    "Compensation",
    "CompiledDefinition",
    "CompiledScope",
    "CompiledStep",
    "ConcurrencyRule",
    "DefinitionError",
    "FailConfig",
    "GroupConfig",
    "MapConfig",
    "OnFailure",
    "ParallelConfig",
    "PayloadSchema",
    "RetryPolicy",
    "SignalConfig",
    "StepConfig",
    "StepType",
    "SucceedConfig",
    "TransformConfig",
    "WaitConfig",
    "WorkflowConfig",
    "compile_definition",
    "content_hash",
    "normalize_definition",
]


class DefinitionError(DomainError):
    """The definition is not valid; the details name every place."""

    code: ClassVar[str] = "definition.invalid"
    status: ClassVar[int] = 400


def compile_definition(document: dict[str, Any]) -> CompiledDefinition:
    """Make a document ready to run.

    Everything that `validate_definition` checks without a catalog of actions is checked again.
    Raises DefinitionError, whose details are the problems, when the document has any.
    """
    problems = check_definition(document, catalog=None)
    if problems:
        raise DefinitionError(details=problems)
    return build(document)


def normalize_definition(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of a valid document in which every step has its id written down.

    Stored that way, renaming a step or adding one above it cannot change ids that expressions,
    targets and running executions refer to. A second call changes nothing.
    """
    normal: dict[str, Any] = _copy(document)
    for step in read_outline(normal).steps:
        _write_id(step)
    return normal


def _copy(value: Any) -> Any:
    """A deep copy that shares nothing with itself, as a YAML document with anchors does."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _write_id(step: Step) -> None:
    if step.raw.get("id") is not None:
        return
    fields = {key: value for key, value in step.raw.items() if key != "id"}
    step.raw.clear()
    step.raw.update({"id": step.id, **fields})


def content_hash(document: dict[str, Any]) -> str:
    """Hex SHA-256 of the document's canonical JSON: equal content, equal hash, in any key order."""
    return sha256_of(document)
