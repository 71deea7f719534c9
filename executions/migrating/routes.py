"""From which version to which: the plan, and both definitions as they run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from autopilot.common.errors import DomainError
from autopilot.common.problems import Problem
from executions.errors import MigrationInvalid
from workflows.compiled import compiled_version
from workflows.definition.compiled import CompiledDefinition
from workflows.definition.outline import Step
from workflows.definition.paths import quote
from workflows.models import Workflow, WorkflowVersion
from workflows.versioning.migration import MigrationPlan, make_plan
from workflows.versioning.semver import Version, parse
from workflows.versioning.states import VersionState

MAX_MAPPED = 1_000


@dataclass(frozen=True, slots=True)
class Route:
    """A plan for two versions of one workflow; by ids and numbers."""

    workflow_id: int
    source_id: int
    target_id: int
    source: str
    target: str
    plan: MigrationPlan
    old: CompiledDefinition
    new: CompiledDefinition
    new_input_schema: bool

    @property
    def target_number(self) -> Version:
        return parse(self.target)


def route_of(
    source: WorkflowVersion, target: WorkflowVersion, mapping: Mapping[str, str | None]
) -> Route:
    """The plan with what was said about it, ready to be used.

    Raises MigrationInvalid with every problem.
    """
    check_versions(source, target)
    route = _route(source.pk, target.pk, json.dumps(mapping, sort_keys=True))
    if route.plan.problems:
        first = route.plan.problems[0]
        raise MigrationInvalid(f"{first.path}: {first.message}", details=route.plan.problems)
    return route


def plan_of(
    source: WorkflowVersion, target: WorkflowVersion, mapping: Mapping[str, str | None]
) -> MigrationPlan:
    """The plan with all that is wrong with it. Raises MigrationInvalid for the versions."""
    check_versions(source, target)
    return _route(source.pk, target.pk, json.dumps(mapping, sort_keys=True)).plan


def check_versions(source: WorkflowVersion, target: WorkflowVersion) -> None:
    """Raises MigrationInvalid unless one can be left for the other."""
    problems = []
    if source.pk == target.pk:
        message = f"Both are {source.version}; say another version to move to."
        problems.append(Problem("$.to", "migration.same_version", message))
    if source.state == VersionState.DRAFT:
        message = f"{source.version} is a draft, so nothing runs it."
        problems.append(Problem("$.from", "migration.draft", message))
    if target.state in (VersionState.DRAFT, VersionState.ARCHIVED):
        message = (
            f"{target.version} is {'a draft' if target.is_draft else 'archived'}; executions are "
            "moved to a published or deprecated version."
        )
        problems.append(Problem("$.to", "migration.not_published", message))
    if problems:
        raise MigrationInvalid(problems[0].message, details=problems)


@lru_cache(maxsize=64)
def _route(source_id: int, target_id: int, mapping: str) -> Route:
    """Published content is frozen, so this never goes stale."""
    rows = WorkflowVersion.objects.in_bulk([source_id, target_id])
    source, target = rows[source_id], rows[target_id]
    old, new = source.definition, target.definition
    plan = make_plan(old, new, json.loads(mapping), numbers=(source.version, target.version))
    return Route(
        workflow_id=source.workflow_id,
        source_id=source_id,
        target_id=target_id,
        source=source.version,
        target=target.version,
        plan=plan,
        old=_compiled(source, "$.from"),
        new=_compiled(target, "$.to"),
        new_input_schema=old.get("input_schema") != new.get("input_schema"),
    )


def _compiled(version: WorkflowVersion, path: str) -> CompiledDefinition:
    try:
        return compiled_version(version.pk)
    except DomainError as error:
        message = f"This release can't run {version.version}: {error.message}"
        raise MigrationInvalid(message, details=[Problem(path, error.code, message)]) from None


def version_named(workflow: Workflow, number: object, path: str) -> WorkflowVersion:
    """The version of a workflow with this number. Raises MigrationInvalid."""
    found = workflow.versions.filter(version=str(number)).select_related("workflow").first()
    if found is None:
        message = f'There is no version "{quote(str(number))}" of {workflow.slug}.'
        raise MigrationInvalid(message, details=[Problem(path, "version.unknown", message)])
    version: WorkflowVersion = found
    return version


def check_mapping(mapping: Any) -> dict[str, str | None]:
    """Old ids and new ones, or null for none. Raises MigrationInvalid for anything else."""
    expected = 'An object such as {"old_step": "new_step"} was expected; null for no step.'
    if not isinstance(mapping, dict):
        raise MigrationInvalid(expected, details=[Problem("$.mapping", "field.type", expected)])
    if len(mapping) > MAX_MAPPED:
        message = f"At most {MAX_MAPPED:,} steps can be mapped."
        raise MigrationInvalid(message, details=[Problem("$.mapping", "field.too_long", message)])
    wrong = [
        Problem(f"$.mapping.{quote(str(name))}", "field.type", "The id of a step, or null.")
        for name, value in mapping.items()
        if value is not None and not isinstance(value, str)
    ]
    if wrong:
        raise MigrationInvalid(f"{wrong[0].path}: {wrong[0].message}", details=wrong)
    return dict(mapping)


def shown(step: Step) -> dict[str, Any]:
    """A step in the answer to a question about a plan."""
    return {"id": step.id, "name": step.name or step.id, "type": step.type, "path": step.path}
