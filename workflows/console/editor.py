"""The editor's pages: a new workflow, a new version, a draft, and what they ask while one writes.

Where the script does not run, a form with a text area does the same, a page at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, reverse

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.admin_base import Crumb, PageAdmin
from autopilot.common.api.parsers import parse_json
from autopilot.common.errors import DomainError, Invalid, PreconditionFailed
from workflows import services
from workflows.console import forms, panels, writing
from workflows.console.forms import DefinitionForm
from workflows.console.stamps import stamp_of
from workflows.definition.text import TextError, read_text
from workflows.models import Workflow, WorkflowVersion

Save = Callable[[Actor, Any, DefinitionForm], WorkflowVersion]

if TYPE_CHECKING:
    Base = PageAdmin
else:
    Base = object


@dataclass(frozen=True, slots=True)
class Desk:
    """What is being written, and where it goes. workflow, draft: None before they exist."""

    save: Save
    initial: dict[str, str]
    title: str
    lead: str
    back: str
    crumbs: Sequence[Crumb]
    workflow: Workflow | None = None
    draft: WorkflowVersion | None = None


@dataclass(slots=True)
class Outcome:
    """What came of sending the form. problems: as `writing.placed_problems` gives them."""

    problems: list[dict[str, Any]] = field(default_factory=list)
    refusal: str = ""
    status: int = 200
    is_fine: bool = False
    saved: WorkflowVersion | None = None

    @property
    def is_stale(self) -> bool:
        return self.status == PreconditionFailed.status


class EditorPages(Base):
    """The writing part of the workflows' admin."""

    def editor_pages(self) -> Sequence[URLPattern]:
        edit = Permission.WORKFLOW_EDIT
        draft = "<int:pk>/versions/<str:number>/"
        return [
            self.page("add/", "add", self.add_page, permission=edit),
            self.page("editor/check/", "editor_check", self.check_text, permission=edit),
            self.page("editor/convert/", "editor_convert", self.convert_text, permission=edit),
            self.page("<int:pk>/versions/add/", "add_version", self.new_page, permission=edit),
            self.page(f"{draft}edit/", "edit", self.edit_page, permission=edit),
        ]

    # What WorkflowAdmin has.
    if TYPE_CHECKING:

        def workflow(self, request: HttpRequest, pk: int) -> Workflow: ...
        def version(self, request: HttpRequest, pk: int, number: str) -> WorkflowVersion: ...
        def may(self, request: HttpRequest, permission: Permission) -> bool: ...

    def add_page(self, request: HttpRequest) -> HttpResponseBase:
        """A new workflow from a definition."""

        def save(actor: Actor, document: Any, form: DefinitionForm) -> WorkflowVersion:
            return services.create_workflow(
                actor=actor, document=document, changelog=form.cleaned_data["changelog"]
            )

        return self._edit(
            request,
            Desk(
                save,
                initial=forms.blank(),
                title="New workflow",
                crumbs=[Crumb("Workflows", self.url("changelist"))],
                lead="Describe it as a document. It is saved as a draft; nothing runs before it "
                "is published.",
                back=self.url("changelist"),
            ),
        )

    def new_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """A new draft of a workflow, beginning with its highest version."""
        workflow = self.workflow(request, pk)
        highest = workflow.versions.highest_first().first()

        def save(actor: Actor, document: Any, form: DefinitionForm) -> WorkflowVersion:
            changelog = form.cleaned_data["changelog"]
            return services.create_version(
                actor=actor, workflow=workflow, document=document, changelog=changelog
            )

        return self._edit(
            request,
            Desk(
                save,
                initial=forms.from_version(highest, keep_number=False)
                if highest
                else forms.blank(),
                title="New version",
                crumbs=self._way_to(workflow),
                lead="A draft beside the live version. It gets the next minor number unless the "
                "document has a “version” of its own.",
                back=self.url("change", pk),
                workflow=workflow,
            ),
        )

    def edit_page(self, request: HttpRequest, *, pk: int, number: str) -> HttpResponseBase:
        """The content of a draft."""
        version = self.version(request, pk, number)
        back = self.url("version", pk, number)
        if request.method != "POST" and not version.is_draft:
            messages.error(request, f"Version {number} is {version.state} and stays as it is.")
            return HttpResponseRedirect(back)

        def save(actor: Actor, document: Any, form: DefinitionForm) -> WorkflowVersion:
            given = form.cleaned_data
            return services.update_draft(
                actor=actor,
                version=version,
                document=document,
                changelog=given["changelog"],
                check=_same_as(given["over"] or given["stamp"]),
            )

        return self._edit(
            request,
            Desk(
                save,
                initial=forms.from_version(version, keep_number=True),
                title=f"Edit draft {number}",
                crumbs=self._way_to(version.workflow),
                lead="Nothing runs this version before it is published.",
                back=back,
                workflow=version.workflow,
                draft=version,
            ),
        )

    def check_text(self, request: HttpRequest) -> HttpResponseBase:
        """What `static/console/editor/` asks while somebody writes: see `writing.checked`."""
        return self._answer(request, lambda given: self._checked(request, given))

    def convert_text(self, request: HttpRequest) -> HttpResponseBase:
        """The same document in the other language."""

        def work(given: dict[str, Any]) -> dict[str, Any]:
            return {"text": writing.converted(_text(given, "text"), _text(given, "to"))}

        return self._answer(request, work)

    def _checked(self, request: HttpRequest, given: dict[str, Any]) -> dict[str, Any]:
        pk = given.get("workflow")
        return writing.checked(
            actor=actor_of(request.user, request),
            text=_text(given, "text"),
            workflow=self.workflow(request, pk) if isinstance(pk, int) else None,
            number=_text(given, "number"),
        )

    def _answer(
        self, request: HttpRequest, work: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> HttpResponseBase:
        """JSON for JSON; what is refused keeps its sentence and its places."""
        try:
            given = parse_json(request.body)
            if not isinstance(given, dict):
                raise Invalid("An object was expected.")
            return JsonResponse(work(given))
        except DomainError as error:
            if error.status in {401, 403}:
                raise
            problems = [writing.unread(each) for each in error.details]
            found = {"message": error.message, "problems": problems}
            return JsonResponse(found, status=error.status)

    def _edit(self, request: HttpRequest, desk: Desk) -> HttpResponseBase:
        """The form; on POST checked or saved, and shown again with every problem and every word."""
        if request.method != "POST":
            language = request.GET.get("language")
            form = DefinitionForm(initial=forms.in_language(desk.initial, language))
            return self._form(request, desk, form, Outcome())
        form = DefinitionForm(request.POST)
        is_script = request.headers.get("X-Part") == "save"
        if "convert" in request.POST:
            form, outcome = _convert(form, request.POST["convert"])
        else:
            outcome = self._sent(request, desk, form)
        if is_script:
            return self._tell(desk, outcome)
        if outcome.saved is not None:
            number = outcome.saved.version
            messages.success(request, f"Version {number} is saved as a draft.")
            return HttpResponseRedirect(self.url("version", outcome.saved.workflow_id, number))
        return self._form(request, desk, form, outcome)

    def _sent(self, request: HttpRequest, desk: Desk, form: DefinitionForm) -> Outcome:
        if not form.is_valid():
            return Outcome(refusal="; ".join(form.all_errors()), status=400)
        actor = actor_of(request.user, request)
        read = None
        try:
            read = read_text(form.text)
            if "check" in request.POST:
                problems = services.validate(actor=actor, document=read.document)
                placed = writing.placed_problems(problems, read)
                return Outcome(placed, is_fine=not problems, status=400 if problems else 200)
            return Outcome(saved=desk.save(actor, read.document, form))
        except TextError as error:
            unread = [writing.unread(each) for each in error.details]
            return Outcome(unread, error.message, error.status)
        except DomainError as error:
            if error.status in {401, 403}:
                raise
            placed = writing.placed_problems(error.details, read)
            return Outcome(placed, error.message, error.status)

    def _tell(self, desk: Desk, outcome: Outcome) -> HttpResponseBase:
        """The outcome for a script that stays on the page."""
        saved = outcome.saved
        if saved is not None:
            at = (saved.workflow_id, saved.version)
            return JsonResponse(
                {
                    "message": f"Draft {saved.version} is saved.",
                    "workflow": saved.workflow_id,
                    "number": saved.version,
                    "stamp": stamp_of(saved),
                    "edit_url": self.url("edit", *at),
                    "version_url": self.url("version", *at),
                    "publish_url": self.url("publish", *at),
                    "diff_url": self.url("diff", saved.workflow_id),
                }
            )
        found: dict[str, Any] = {"message": outcome.refusal, "problems": outcome.problems}
        if outcome.is_stale and desk.draft is not None:
            found["theirs"] = _fresh_stamp(desk.draft)
        return JsonResponse(found, status=outcome.status)

    def _form(
        self, request: HttpRequest, desk: Desk, form: DefinitionForm, outcome: Outcome
    ) -> HttpResponseBase:
        draft, workflow = desk.draft, desk.workflow
        stamp = form["stamp"].value() or (stamp_of(draft) if draft else "")
        at = (draft.workflow_id, draft.version) if draft else ()
        may_publish = self.may(request, Permission.WORKFLOW_PUBLISH)
        return self.render(
            request,
            "workflows/edit.html",
            status=outcome.status,
            title=desk.title,
            crumbs=desk.crumbs,
            lead=desk.lead,
            back=desk.back,
            form=form,
            stamp=stamp,
            theirs=_fresh_stamp(draft) if outcome.is_stale and draft else "",
            outcome=outcome,
            problems=[(problem, problem["line"]) for problem in outcome.problems],
            draft=draft,
            may_publish=may_publish,
            panels=panels.editor_panels_of(request, workflow) if workflow else [],
            settings={
                "workflow": workflow.pk if workflow else None,
                "number": draft.version if draft else "",
                "check_url": self.url("editor_check"),
                "convert_url": self.url("editor_convert"),
                "schema_url": reverse("workflows:workflow-definition-schema"),
                "actions_url": reverse("workflows:workflow-catalog"),
                "publish_url": self.url("publish", *at) if at and may_publish else "",
                "may_publish": may_publish,
                "diff_url": self.url("diff", workflow.pk) if workflow else "",
            },
        )

    def _way_to(self, workflow: Workflow) -> list[Crumb]:
        return [
            Crumb("Workflows", self.url("changelist")),
            Crumb(workflow.name, self.url("change", workflow.pk)),
        ]


def _fresh_stamp(draft: WorkflowVersion) -> str:
    """Of the draft as it is now; empty when it is gone."""
    row = WorkflowVersion.objects.filter(pk=draft.pk).first()
    return stamp_of(row) if row is not None else ""


def _same_as(stamp: str) -> services.Check:
    """Refuses to write over what somebody else has saved in the meantime."""

    def check(row: Model) -> None:
        assert isinstance(row, WorkflowVersion)
        if stamp and stamp_of(row) != stamp:
            raise PreconditionFailed(
                "Somebody has saved this draft since you opened it. Your text is still here: "
                "look at theirs first, then save yours over it, or put both together."
            )

    return check


def _convert(form: DefinitionForm, language: str) -> tuple[DefinitionForm, Outcome]:
    """The form with its text in the other language, or as it is with what is in the way."""
    try:
        text = writing.converted(form.text, language)
    except Invalid as error:
        problems = [writing.unread(each) for each in error.details]
        return form, Outcome(problems, error.message, error.status)
    return DefinitionForm(
        {**dict(form.data.items()), "definition": text, "language": language}
    ), Outcome()


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str):
        raise Invalid(f"A text was expected in {name}.")
    return value
