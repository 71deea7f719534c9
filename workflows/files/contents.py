"""What a file says: a definition, and beside it what only files have.

`changelog` is of the version, `workflow` of the workflow itself: its name, description and labels
where they are others than the document's, and `review_required` if the file is to decide that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autopilot.common.errors import Invalid
from autopilot.common.problems import Problem
from workflows import documents
from workflows.definition.compiled import content_hash
from workflows.definition.paths import quote
from workflows.definition.text import (
    Place,
    TextError,
    decode,
    located,
    read_text,
    write_yaml,
)
from workflows.documents import Parts
from workflows.models import Workflow, WorkflowVersion
from workflows.rows import MAX_CHANGELOG
from workflows.slugs import RESERVED

EXTENSIONS = (".yaml", ".yml", ".json")
HEAD = ("name", "description", "labels")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\Z")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file that was read. parts: None where it has problems.

    head: how the workflow itself is to be called and found; review_required: None leaves it.
    """

    name: str
    slug: str = ""
    parts: Parts | None = None
    changelog: str | None = None
    head: Mapping[str, Any] = field(default_factory=dict)
    review_required: bool | None = None
    problems: tuple[Problem, ...] = ()
    places: Mapping[str, Place] = field(default_factory=dict)

    @property
    def is_definition(self) -> bool:
        """Whether it is a workflow's at all, even one with problems."""
        return "$.steps" in self.places

    @property
    def said(self) -> str:
        """A hash of everything that the file says, whichever way it says it."""
        definition = self.parts.definition if self.parts is not None else None
        facts = {
            "definition": definition,
            "changelog": self.changelog,
            "head": dict(self.head),
            "review_required": self.review_required,
        }
        return content_hash(facts)

    def located(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        """The problems with their lines in this file."""
        return tuple(located(problem, self.places) for problem in problems)


# A file's text, its bytes, or why it could not be read.
Source = str | bytes | Problem


def read_file(name: str, source: Source) -> FileContent:
    """The content of a file, or all of its problems."""
    if isinstance(source, Problem):
        return FileContent(name, problems=(source,))
    stem, problem = _stem(name)
    if problem is not None:
        return FileContent(name, problems=(problem,))
    try:
        read = read_text(decode(source) if isinstance(source, bytes) else source)
    except TextError as error:
        return FileContent(name, problems=error.details)
    if not isinstance(read.document, dict):
        found = documents.problems_of(read.document)
        return FileContent(name, problems=tuple(located(each, read.places) for each in found))
    document = dict(read.document)
    changelog, own = document.pop("changelog", None), document.pop("workflow", None)
    slug = document.get("slug") or stem
    problems = [
        *documents.problems_of(document),
        *_slug_problems(document, stem, name),
        *_own_problems(changelog, own),
    ]
    if problems:
        placed = tuple(located(each, read.places) for each in problems)
        known = slug if isinstance(slug, str) else ""
        return FileContent(name, known, problems=placed, places=read.places)
    parts = documents.read(document)
    settings = own or {}
    said = {"name": parts.name, "description": parts.description, "labels": parts.labels}
    return FileContent(
        name,
        slug,
        parts,
        changelog,
        head={key: settings.get(key, said[key]) for key in HEAD},
        review_required=settings.get("review_required"),
        places=read.places,
    )


def file_text(version: WorkflowVersion, workflow: Workflow) -> str:
    """What the file of a workflow says, when `version` is the one that counts."""
    head, rest = file_parts(version, workflow)
    return write_yaml(head) + write_yaml(rest)


def file_parts(
    version: WorkflowVersion, workflow: Workflow
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What stands at the top of a workflow's file, and the definition below it."""
    definition = version.definition
    head: dict[str, Any] = {
        "name": definition.get("name"),
        "slug": workflow.slug,
        "version": version.version,
    }
    if version.changelog:
        head["changelog"] = version.changelog
    own = own_fields(version, workflow)
    if own:
        head["workflow"] = own
    return head, {key: value for key, value in definition.items() if key != "name"}


def own_fields(version: WorkflowVersion, workflow: Workflow) -> dict[str, Any]:
    """What of the workflow itself the definition doesn't say."""
    said = {
        "name": version.definition.get("name"),
        "description": version.definition.get("description") or "",
        "labels": version.definition.get("labels") or {},
    }
    own = {key: getattr(workflow, key) for key in HEAD if getattr(workflow, key) != said[key]}
    return {**own, "review_required": True} if workflow.review_required else own


def _stem(name: str) -> tuple[str, Problem | None]:
    """A file's name without its ending, and what is wrong with the name."""
    for extension in EXTENSIONS:
        if name.endswith(extension) and _NAME.match(name):
            return name.removesuffix(extension), None
    message = (
        f'"{quote(name)}" is no name of a workflow\'s file: a slug and .yaml was expected, such as '
        "refund.yaml."
    )
    return "", Problem("$", "file.name", message)


def _slug_problems(document: dict[str, Any], stem: str, name: str) -> Iterable[Problem]:
    slug = document.get("slug")
    if slug is None:
        if not _SLUG.match(stem):
            message = f"The file says no slug, and {quote(stem)} can't be one."
            yield Problem("$.slug", "file.slug", message)
        slug = stem
    elif not isinstance(slug, str):
        return
    elif slug != stem:
        message = f"The slug {quote(slug)} does not match the file's name {quote(name)}."
        yield Problem("$.slug", "file.slug", message)
    if slug in RESERVED:
        message = f"The slug {slug!r} is a word of the API: choose another."
        yield Problem("$.slug", "slug.reserved", message)


def _own_problems(changelog: object, own: object) -> Iterable[Problem]:
    if changelog is not None:
        problem = documents.text_problem(changelog, path="$.changelog", limit=MAX_CHANGELOG)
        if problem is not None:
            yield problem
    if own is None:
        return
    if not isinstance(own, dict):
        yield Problem("$.workflow", "field.type", "Expected an object.")
        return
    for key in own:
        if key not in (*HEAD, "review_required"):
            known = ", ".join((*HEAD, "review_required"))
            message = f'There is no field "{quote(key)}" here. Known here: {known}.'
            yield Problem(f"$.workflow.{quote(key)}", "field.unknown", message)
    if not isinstance(own.get("review_required", False), bool):
        yield Problem("$.workflow.review_required", "field.type", "Expected true or false.")
    try:
        documents.require_valid_head({key: own[key] for key in HEAD if key in own})
    except Invalid as error:
        for each in error.details:
            yield Problem(f"$.workflow{each.path[1:]}", each.code, each.message)
