"""What a file would do to the workflow as it stands; nothing is changed here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from autopilot.common.problems import Problem
from autopilot.common.words import plural
from workflows.comparison import Comparison, judge_at
from workflows.definition.compiled import content_hash
from workflows.files.contents import FileContent
from workflows.files.results import FileResult, Outcome
from workflows.models import Workflow, WorkflowVersion
from workflows.numbering import FIRST_VERSION
from workflows.versioning.diff import Change, compare
from workflows.versioning.semver import Version
from workflows.versioning.states import VersionState


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the one who imports wants. publish: let versions go live. replace_drafts: whatever
    drafts there are give way."""

    publish: bool = False
    replace_drafts: bool = False


@dataclass(frozen=True, slots=True)
class _Case:
    """A file beside its workflow."""

    content: FileContent
    workflow: Workflow
    wishes: Wishes
    definition: dict[str, Any]
    hash: str
    live: WorkflowVersion | None
    draft: WorkflowVersion | None

    def judge(self, number: Version | None) -> Comparison:
        new = WorkflowVersion(workflow=self.workflow, definition=self.definition)
        return judge_at(new, number)

    @property
    def start(self) -> FileResult:
        draft = self.draft
        seen = [
            self.content.said,
            str(self.live and self.live.pk),
            str(self.workflow.review_required),
        ]
        if draft is not None:
            seen += [str(draft.pk), draft.version, draft.content_hash, draft.changelog]
        name, slug = self.content.name, self.workflow.slug
        title = self.content.head["name"]
        return FileResult(name, slug, Outcome.UNCHANGED, title=title, was=" ".join(seen))


def plan(content: FileContent, workflow: Workflow | None, wishes: Wishes) -> FileResult:
    """What would become of a file; a refusal has its problems, with their lines."""
    parts = content.parts
    if parts is None:
        refused = FileResult(content.name, content.slug, Outcome.REFUSED)
        return replace(refused, problems=content.problems)
    if workflow is None:
        state = VersionState.PUBLISHED if wishes.publish else VersionState.DRAFT
        return FileResult(
            content.name,
            content.slug,
            Outcome.CREATED,
            title=content.head["name"],
            version=str(parts.version or FIRST_VERSION),
            state=str(state),
            was=content.said,
        )
    case = _Case(
        content,
        workflow,
        wishes,
        parts.definition,
        content_hash(parts.definition),
        live=workflow.versions.published().highest_first().first(),
        draft=workflow.versions.filter(state=VersionState.DRAFT).first(),
    )
    return _with_head(case, _with_version(case, parts.version))


def _with_version(case: _Case, wanted: Version | None) -> FileResult:
    if wanted is not None:
        there = case.workflow.versions.frozen().filter(version=str(wanted)).first()
        if there is not None:
            return _frozen(case, there)
    elif case.live is not None and case.live.content_hash == case.hash:
        return _frozen(case, case.live)
    elif case.draft is not None and case.draft.content_hash == case.hash:
        wanted = case.draft.number
    judged = case.judge(wanted)
    number = wanted or judged.suggested
    start = case.start
    found = replace(
        start,
        version=str(number),
        state=str(VersionState.PUBLISHED if case.wishes.publish else VersionState.DRAFT),
        against=judged.against.version if judged.against else "",
        changes=_changes(judged.against, case.definition),
        judgement=judged.judgement if judged.against else None,
        suggested=str(judged.suggested),
    )
    if not judged.enough:
        return _refused(case, found, _too_small(judged))
    return _beside_draft(case, found)


def _frozen(case: _Case, there: WorkflowVersion) -> FileResult:
    """The file is of a version that was published before."""
    found = replace(case.start, version=there.version, state=str(there.state))
    if there.content_hash != case.hash:
        judged = case.judge(None)
        changes = _changes(there, case.definition)
        message = (
            f"Version {there.version} is {there.state} with other content, which stays as it is: "
            f"{_count(changes)}. For what the file says, {judged.suggested} is the lowest honest "
            "number."
        )
        found = replace(found, against=there.version, changes=changes)
        found = replace(found, suggested=str(judged.suggested))
        return _refused(case, found, [Problem("$.version", "version.published_otherwise", message)])
    notes = []
    live = case.live
    if live is None or live.pk != there.pk:
        is_live = f"{live.version} is live" if live is not None else "none is live"
        notes.append(
            f"This is version {there.version}, which is {there.state}; {is_live}. To go back to "
            "what it says, give the file a new number."
        )
    if case.content.changelog is not None and case.content.changelog != there.changelog:
        notes.append(f"The changelog of {there.version} stays as it was published.")
    return replace(found, notes=tuple(notes))


def _beside_draft(case: _Case, found: FileResult) -> FileResult:
    draft = case.draft
    if draft is None:
        return replace(found, outcome=Outcome.VERSION)
    same_text = case.content.changelog in (None, draft.changelog)
    if (draft.version, draft.content_hash) == (found.version, case.hash) and same_text:
        is_published = case.wishes.publish
        return replace(found, outcome=Outcome.PUBLISHED if is_published else Outcome.UNCHANGED)
    author = draft.author.get_username() if draft.author else "the system"
    what = f"the draft {draft.version} of {author}"
    if case.wishes.replace_drafts:
        difference = _count(_changes(draft, case.definition))
        note = f"This replaces {what}: {difference}."
        return replace(found, outcome=Outcome.REPLACED, notes=(note,))
    message = (
        f"There is {what} already, and it says something else: publish or delete it first, or "
        "import with replace_drafts (--replace-drafts)."
    )
    return _refused(case, found, [Problem("$.version", "draft.in_the_way", message)])


def _with_head(case: _Case, found: FileResult) -> FileResult:
    """What changes of the workflow itself: its name and labels are those of what is live."""
    workflow, content = case.workflow, case.content
    if found.outcome == Outcome.REFUSED:
        return found
    head: dict[str, tuple[Any, Any]] = {}
    is_live = found.state == VersionState.PUBLISHED and not (
        found.outcome == Outcome.UNCHANGED and case.live and case.live.version != found.version
    )
    if is_live:
        for key, value in content.head.items():
            if getattr(workflow, key) != value:
                head[key] = (getattr(workflow, key), value)
    wanted = content.review_required
    if wanted is not None and wanted != workflow.review_required:
        head["review_required"] = (workflow.review_required, wanted)
    if not head:
        return found
    is_all = found.outcome == Outcome.UNCHANGED
    outcome = Outcome.SETTINGS if is_all else found.outcome
    return replace(found, outcome=outcome, head=head)


def _refused(case: _Case, found: FileResult, problems: list[Problem]) -> FileResult:
    located = case.content.located(problems)
    return replace(found, outcome=Outcome.REFUSED, problems=located, state="")


def _too_small(judged: Comparison) -> list[Problem]:
    against = judged.against.version if judged.against else ""
    message = (
        f"Version {judged.number} is too small: after {against} the lowest honest number is "
        f"{judged.suggested}."
    )
    reasons = [Problem(each.path, each.kind, each.sentence) for each in judged.blocking]
    return [Problem("$.version", "version.too_small", message), *reasons]


def _changes(before: WorkflowVersion | None, after: dict[str, Any]) -> tuple[Change, ...]:
    return tuple(compare(before.definition, after)) if before is not None else ()


def _count(changes: tuple[Change, ...]) -> str:
    return plural(len(changes), "difference") if changes else "the same content"
