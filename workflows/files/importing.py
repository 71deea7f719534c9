"""The import of files: one transaction for all of them, and not a word of it if one is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from django.db import transaction

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common import jsonpath
from autopilot.common.errors import Conflict, DomainError, Invalid
from autopilot.common.problems import Problem
from autopilot.common.words import plural
from workflows import services
from workflows.definition.text import TextProblem
from workflows.files.contents import HEAD, FileContent, Source, read_file
from workflows.files.planning import Wishes, plan
from workflows.files.results import FileResult, ImportResult, Outcome
from workflows.models import Workflow, WorkflowVersion
from workflows.versioning.states import VersionState

MAX_FILES = 1_000


class ImportRefused(Invalid):
    """Files can not be imported; nothing is changed."""

    code: ClassVar[str] = "import.refused"

    def __init__(self, result: ImportResult) -> None:
        self.result = result
        refused = [each for each in result.files if each.problems]
        details = [_of_file(each.name, problem) for each in refused for problem in each.problems]
        first = details[0]
        message = f"{refused[0].name}: {first.message}"
        if len(details) > 1:
            message = (
                f"There are {len(details)} problems in {plural(len(refused), 'file')}; nothing is "
                "imported. See details."
            )
        super().__init__(message, details=details)


class FilesOutdated(Conflict):
    """Workflows or files have changed since the difference was shown; look at it anew."""

    code: ClassVar[str] = "import.outdated"


def import_files(
    *,
    actor: Actor,
    files: Mapping[str, Source],
    publish: bool = False,
    replace_drafts: bool = False,
    dry_run: bool = False,
    expected: str | None = None,
) -> ImportResult:
    """Let workflows be what files say, by name: all of them or none.

    What is there already stays untouched. Versions are held to the guard, whether they become
    drafts or, with `publish`, go live through the same service as everywhere.
    dry_run: do it and undo it, and say what happened; problems are in the result then.
    expected: the fingerprint of a dry run; raises FilesOutdated if it would be another by now.
    Raises ImportRefused with every problem of every file.
    """
    actor.require(Permission.WORKFLOW_VIEW)
    actor.require(Permission.WORKFLOW_EDIT)
    if publish:
        actor.require(Permission.WORKFLOW_PUBLISH)
    if len(files) > MAX_FILES:
        raise Invalid(f"There are {len(files):,} files; at most {MAX_FILES:,} are imported.")
    contents = _without_twins([read_file(name, files[name]) for name in sorted(files)])
    wishes = Wishes(publish, replace_drafts)
    with transaction.atomic():
        workflows = _locked({content.slug for content in contents})
        results = tuple(
            _import_one(actor, content, workflows.get(content.slug), wishes) for content in contents
        )
        result = ImportResult(results)
        if expected is not None and result.fingerprint != expected:
            raise FilesOutdated
        if dry_run:
            transaction.set_rollback(True)
        elif result.is_refused:
            raise ImportRefused(result)
    return replace(result, saved=not dry_run)


def _locked(slugs: set[str]) -> dict[str, Workflow]:
    """Whoever changes one of these workflows waits; in the order of ids, as everywhere."""
    rows = Workflow.objects.select_for_update(no_key=True).filter(slug__in=slugs).order_by("pk")
    return {row.slug: row for row in rows}


def _without_twins(contents: Sequence[FileContent]) -> list[FileContent]:
    """Two files of one workflow are both refused: nobody knows which one is meant."""
    counts = Counter(content.slug for content in contents if content.slug)
    return [
        replace(content, parts=None, problems=(*content.problems, _twin(content, contents)))
        if counts[content.slug] > 1
        else content
        for content in contents
    ]


def _twin(content: FileContent, contents: Sequence[FileContent]) -> Problem:
    others = [each.name for each in contents if each.slug == content.slug and each is not content]
    message = f"The slug {content.slug} is in {', '.join(others[:3])} too: one file a workflow."
    return content.located([Problem("$.slug", "file.twice", message)])[0]


def _import_one(
    actor: Actor, content: FileContent, workflow: Workflow | None, wishes: Wishes
) -> FileResult:
    planned = plan(content, workflow, wishes)
    if not planned.changes_something:
        return planned
    try:
        with transaction.atomic():
            _apply(actor, content, workflow, planned)
    except DomainError as error:
        if error.status in (401, 403):
            raise
        problems = error.details or [Problem("$", error.code, error.message)]
        located = content.located(problems)
        return replace(planned, outcome=Outcome.REFUSED, state="", problems=located)
    return planned


def _apply(
    actor: Actor, content: FileContent, workflow: Workflow | None, planned: FileResult
) -> None:
    version = _version(actor, content, workflow, planned)
    workflow = version.workflow if version is not None else workflow
    assert workflow is not None
    _settle(actor, workflow, content, planned)
    if version is not None and planned.state == VersionState.PUBLISHED:
        version = WorkflowVersion.objects.select_related("workflow").get(pk=version.pk)
        services.publish_version(actor=actor, version=version)


def _version(
    actor: Actor, content: FileContent, workflow: Workflow | None, planned: FileResult
) -> WorkflowVersion | None:
    """The draft that the file has become; None where there is nothing to save or publish."""
    parts, changelog = content.parts, content.changelog or ""
    assert parts is not None
    document = {**parts.definition, "slug": content.slug}
    number = planned.version
    if workflow is None:
        document["version"] = number
        return services.create_workflow(actor=actor, document=document, changelog=changelog)
    if planned.outcome == Outcome.VERSION:
        return services.create_version(
            actor=actor, workflow=workflow, document=document, version=number, changelog=changelog
        )
    draft = workflow.versions.filter(state=VersionState.DRAFT).first()
    if planned.outcome == Outcome.REPLACED and draft is not None:
        return services.update_draft(
            actor=actor, version=draft, document=document, number=number, changelog=changelog
        )
    return draft if planned.outcome == Outcome.PUBLISHED else None


def _settle(actor: Actor, workflow: Workflow, content: FileContent, planned: FileResult) -> None:
    """What is of the workflow itself."""
    if planned.outcome == Outcome.CREATED:
        head = {key: content.head[key] for key in HEAD}
        required = content.review_required
    else:
        head = {key: after for key, (_, after) in planned.head.items() if key in HEAD}
        required = planned.head.get("review_required", (None, None))[1]
    if head:
        services.update_workflow(actor=actor, workflow=workflow, **head)
    if required is not None:
        services.require_review(actor=actor, workflow=workflow, required=required)


def _of_file(name: str, problem: Problem) -> Problem:
    path = jsonpath.child("$.files", name) + problem.path[1:]
    facts: dict[str, Any] = {"path": path, "code": problem.code, "message": problem.message}
    if isinstance(problem, TextProblem):
        return TextProblem(**facts, line=problem.line, column=problem.column)
    return Problem(**facts)
