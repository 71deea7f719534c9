"""From what somebody sent to what is stored: checked whole, normalized, taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autopilot.common.errors import Invalid
from autopilot.common.problems import Problem
from workflows.actions.registry import registry
from workflows.definition.compiled import DefinitionError, normalize_definition
from workflows.definition.validation import validate_definition
from workflows.versioning import semver
from workflows.versioning.semver import Version, VersionError

# What a document says about itself and not about what runs: kept in columns, not in the content.
_COLUMNS = ("slug", "version")
_HEAD = ("name", "description", "labels")


@dataclass(frozen=True, slots=True)
class Parts:
    """A valid document: its head, and the content that a version stores."""

    name: str
    description: str
    labels: dict[str, str]
    slug: str | None
    version: Version | None
    definition: dict[str, Any]


def problems_of(document: object) -> list[Problem]:
    """Every problem of a document; empty when it can be saved."""
    problems = validate_definition(document, catalog=registry)
    number = document.get("version") if isinstance(document, dict) else None
    if number is not None and not any(problem.path == "$.version" for problem in problems):
        try:
            semver.parse_release(number)
        except VersionError as error:
            problems = [*problems, Problem("$.version", "field.version", str(error))]
    return problems


def require_valid(document: object) -> None:
    """Raise DefinitionError with every problem of `document`, if it has any."""
    _refuse(problems_of(document))


def read(document: object, *, slug: str | None = None, version: str | None = None) -> Parts:
    """Check `document` and take it apart.

    slug: of the workflow it belongs to; another one in the document is a problem.
    version: the number asked for beside the document; another one in the document is a problem.
    Raises DefinitionError with every problem.
    """
    problems = problems_of(document)
    asked: Version | None = None
    if version is not None:
        try:
            asked = semver.parse_release(version)
        except VersionError as error:
            problems = [*problems, Problem("$.version", "field.version", str(error))]
    content = document if isinstance(document, dict) else {}
    if slug is not None and content.get("slug", slug) not in (slug, None):
        message = f"The document has another slug than the workflow {slug} it is saved under."
        problems = [*problems, Problem("$.slug", "slug.mismatch", message)]
    _refuse(problems)
    named = semver.parse_release(content["version"]) if content.get("version") else None
    if asked is not None and named is not None and asked != named:
        message = f"Version {asked} is asked for, but the document says {named}."
        _refuse([Problem("$.version", "version.mismatch", message)])
    return Parts(
        name=content["name"],
        description=content.get("description") or "",
        labels=content.get("labels") or {},
        slug=content.get("slug"),
        version=asked or named,
        definition=content_of(content),
    )


def content_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a version stores of a valid document."""
    definition = normalize_definition(dict(document))
    for key in _COLUMNS:
        definition.pop(key, None)
    return definition


def require_valid_head(fields: Mapping[str, Any]) -> None:
    """Raise Invalid with every problem of a name, description or labels, by a document's rules."""
    # The rules live in the definition's models: they are asked with a document that is fine
    # otherwise, and what they say about these fields counts.
    probe = {
        "name": "Workflow",
        "steps": [{"name": "Step", "type": "transform", "config": {"output": None}}],
        **fields,
    }
    found = validate_definition(probe, catalog=registry)
    problems = [problem for problem in found if problem.path.startswith(_HEAD_PATHS)]
    if problems:
        raise Invalid(_sentence(problems), details=problems)


_HEAD_PATHS = tuple(f"$.{field}" for field in _HEAD)


def parse_number(text: object, *, path: str) -> Version:
    """A version number; raises Invalid at `path` for anything else."""
    try:
        return semver.parse_release(text)
    except VersionError as error:
        problem = Problem(path, "field.version", str(error))
        raise Invalid(problem.message, details=[problem]) from None


def text_problem(text: object, *, path: str, limit: int) -> Problem | None:
    """What is wrong with a plain text that is to be stored."""
    if not isinstance(text, str):
        return Problem(path, "field.type", "A text was expected.")
    if len(text) > limit:
        return Problem(path, "field.too_long", f"At most {limit:,} characters are allowed here.")
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return Problem(path, "json.text", "The text has a character that can not be stored.")
    return None


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise DefinitionError(_sentence(problems), details=problems)


def _sentence(problems: list[Problem]) -> str:
    if len(problems) == 1:
        return f"{problems[0].path}: {problems[0].message}"
    return f"There are {len(problems)} problems; see details."
