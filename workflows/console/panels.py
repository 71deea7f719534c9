"""What apps above this one show on a workflow's pages; they register here when they start.

A workflow can't know its executions (they are built on it), yet its pages are about them: whoever
runs workflows gives the list its activity and the page its parts and verbs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from django.http import HttpRequest

from workflows.models import Workflow, WorkflowVersion


@dataclass(frozen=True, slots=True)
class Activity:
    """How a workflow has been doing lately.

    counts: executions by state, of the newest `of_newest` that began in the last 24 hours.
    is_capped: there were more.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    is_capped: bool = False
    last_state: str = ""
    last_at: datetime | None = None
    last_url: str = ""

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def parts(self) -> list[tuple[str, int]]:
        """The states in the order in which the bar shows them."""
        order = ("completed", "running", "resumed", "waiting", "paused", "initialized")
        known = [(name, self.counts[name]) for name in order if self.counts.get(name)]
        ended_badly = [
            (name, self.counts[name]) for name in ("cancelled", "failed") if self.counts.get(name)
        ]
        return known + ended_badly


@dataclass(frozen=True, slots=True)
class Verb:
    """Something that can be done with a workflow from its page."""

    title: str
    icon: str
    url: str
    is_primary: bool = True


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of a workflow's page: a template and what it needs.

    is_notice: it says something that comes before everything else.
    """

    template: str
    context: Mapping[str, Any]
    is_notice: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """What stands beside a workflow's name in lists. state: the color it has."""

    state: str
    words: str


class Provider(Protocol):
    """What an app above gives. Everything asked for by a request has its permissions checked."""

    def activity(
        self, request: HttpRequest, workflows: Sequence[Workflow]
    ) -> Mapping[int, Activity]: ...

    def verbs(
        self, request: HttpRequest, workflow: Workflow, live: WorkflowVersion | None
    ) -> Sequence[Verb]: ...

    def panels(self, request: HttpRequest, workflow: Workflow) -> Sequence[Panel]: ...

    def marks(self, request: HttpRequest, workflows: Sequence[Workflow]) -> Mapping[int, Mark]: ...


_providers: list[Callable[[], Provider]] = []


def register(provider: Callable[[], Provider]) -> None:
    """Add a class (or function) that makes a provider."""
    if provider not in _providers:
        _providers.append(provider)


def activity_of(request: HttpRequest, workflows: Sequence[Workflow]) -> dict[int, Activity]:
    """The activity of each workflow, by primary key; nothing where nobody knows any."""
    known: dict[int, Activity] = {}
    for make in _providers:
        known.update(make().activity(request, workflows))
    return known


def verbs_of(request: HttpRequest, workflow: Workflow, live: WorkflowVersion | None) -> list[Verb]:
    return [verb for make in _providers for verb in make().verbs(request, workflow, live)]


def panels_of(request: HttpRequest, workflow: Workflow) -> list[Panel]:
    return [panel for make in _providers for panel in make().panels(request, workflow)]


def marks_of(request: HttpRequest, workflows: Sequence[Workflow]) -> dict[int, Mark]:
    """The mark of each workflow that has one, by primary key."""
    return {
        key: mark for make in _providers for key, mark in make().marks(request, workflows).items()
    }


# What the editor shows beside a text, such as executions to try an expression against.
EditorPanel = Callable[[HttpRequest, Workflow], Panel | None]
_editor_panels: list[EditorPanel] = []


def register_editor_panel(make: EditorPanel) -> None:
    """Add a function that makes a part of the editor's page, or None where there is nothing."""
    if make not in _editor_panels:
        _editor_panels.append(make)


def editor_panels_of(request: HttpRequest, workflow: Workflow) -> list[Panel]:
    made = (make(request, workflow) for make in _editor_panels)
    return [panel for panel in made if panel is not None]


# What apps above offer on a version's page: a verb, or None where there is nothing to do.
VersionVerb = Callable[[HttpRequest, WorkflowVersion], Verb | None]
_version_verbs: list[VersionVerb] = []


def register_version_verb(make: VersionVerb) -> None:
    """Add a function that makes a verb of a version's page."""
    if make not in _version_verbs:
        _version_verbs.append(make)


def version_verbs_of(request: HttpRequest, version: WorkflowVersion) -> list[Verb]:
    made = (make(request, version) for make in _version_verbs)
    return [verb for verb in made if verb is not None]
