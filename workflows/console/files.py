"""Files in the console: a version or all workflows to download, and files to import."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern

from autopilot.accounts.actors import actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.admin_base import Crumb, PageAdmin
from autopilot.common.api.parsers import parse_json
from autopilot.common.errors import DomainError, Invalid
from autopilot.common.words import plural
from workflows.console import differences
from workflows.definition.text import TextError, read_text, write_yaml
from workflows.files.contents import Source
from workflows.files.exporting import export_workflows, zipped
from workflows.files.importing import import_files
from workflows.files.results import FileResult, ImportResult, Outcome
from workflows.files.telling import change_lines, message_of, sentence_of
from workflows.files.uploads import sources_of
from workflows.models import WorkflowVersion

MAX_LINES = 60
_LOOKS = {
    Outcome.REFUSED: "failed",
    Outcome.UNCHANGED: "cancelled",
    Outcome.SETTINGS: "waiting",
}

if TYPE_CHECKING:
    Base = PageAdmin
else:
    Base = object


class FilesPages(Base):
    """The part of the workflows' admin that is about files."""

    def files_pages(self) -> Sequence[URLPattern]:
        edit = Permission.WORKFLOW_EDIT
        return [
            self.page("import/", "import", self.import_page, permission=edit),
            self.page("export/", "export", self.export_page),
            self.page("<int:pk>/versions/<str:number>/yaml/", "yaml", self.yaml_page),
        ]

    # What WorkflowAdmin has.
    if TYPE_CHECKING:

        def version(self, request: HttpRequest, pk: int, number: str) -> WorkflowVersion: ...

    def yaml_page(self, request: HttpRequest, *, pk: int, number: str) -> HttpResponseBase:
        """One version as YAML: its definition and nothing else."""
        version = self.version(request, pk, number)
        name = f"{version.workflow.slug}-{version.version}.yaml"
        text = write_yaml(version.document).encode()
        return _download(text, name, "application/yaml; charset=utf-8")

    def export_page(self, request: HttpRequest) -> HttpResponseBase:
        """Every workflow's live version as a file, all in one."""
        export = export_workflows(actor=actor_of(request.user, request))
        return _download(zipped(export.files), "workflows.zip", "application/zip")

    def import_page(self, request: HttpRequest) -> HttpResponseBase:
        """Choose files or paste one; see what would happen to each; then one button."""
        refusal = ""
        shown: ImportResult | None = None
        sources: dict[str, Source] = {}
        wishes: dict[str, Any] = {
            "publish": bool(request.POST.get("publish")),
            "replace_drafts": bool(request.POST.get("replace_drafts")),
        }
        if request.method == "POST":
            try:
                sources = _sources(request)
                shown = self._looked_at(request, sources, wishes)
                if "import" in request.POST and not shown.is_refused:
                    return self._imported(request, sources, wishes)
            except DomainError as error:
                if error.status in {401, 403}:
                    raise
                refusal = error.message
        return self.render(
            request,
            "workflows/import.html",
            title="Import workflows",
            crumbs=[Crumb("Workflows", self.url("changelist"))],
            status=400 if refusal or (shown and shown.is_refused) else 200,
            refusal=refusal,
            shown=shown,
            cards=[_card(each) for each in shown.files] if shown else [],
            summary=_summary(shown) if shown else "",
            texts=_texts(sources),
            may_publish=request.user.has_perm(Permission.WORKFLOW_PUBLISH),
            pasted=request.POST.get("pasted", ""),
            **wishes,
        )

    def _looked_at(
        self, request: HttpRequest, sources: Mapping[str, Source], wishes: Mapping[str, Any]
    ) -> ImportResult:
        actor = actor_of(request.user, request)
        return import_files(actor=actor, files=sources, dry_run=True, **wishes)

    def _imported(
        self, request: HttpRequest, sources: Mapping[str, Source], wishes: Mapping[str, Any]
    ) -> HttpResponseBase:
        actor = actor_of(request.user, request)
        expected = request.POST.get("expected", "")
        done = import_files(actor=actor, files=sources, expected=expected, **wishes)
        changed = sum(each.changes_something for each in done.files)
        messages.success(request, f"{plural(changed, 'file')} imported.")
        return HttpResponseRedirect(self.url("changelist"))


def _download(content: bytes, name: str, kind: str) -> HttpResponse:
    disposition = f'attachment; filename="{name}"'
    return HttpResponse(content, content_type=kind, headers={"Content-Disposition": disposition})


def _sources(request: HttpRequest) -> dict[str, Source]:
    """What was chosen, pasted, or looked at before. Raises Invalid for nothing at all."""
    if "texts" in request.POST:
        try:
            texts = parse_json(request.POST["texts"].encode("utf-8", "surrogatepass"))
        except Invalid:
            texts = None
        if isinstance(texts, dict) and all(isinstance(text, str) for text in texts.values()):
            return dict(texts)
        raise Invalid("The files that were looked at are gone: choose them again.")
    sources = sources_of(request.FILES)
    pasted = request.POST.get("pasted", "")
    if pasted.strip():
        sources.setdefault(_name_of(pasted), pasted)
    if not sources:
        raise Invalid("Choose files, or paste the text of one.")
    return sources


def _name_of(text: str) -> str:
    """A pasted text is the file of the slug that it says."""
    try:
        document = read_text(text).document
    except TextError:
        return "pasted.yaml"
    slug = document.get("slug") if isinstance(document, dict) else None
    return f"{slug}.yaml" if isinstance(slug, str) else "pasted.yaml"


def _texts(sources: Mapping[str, Source]) -> str:
    """The files for the second step; only of files that are all texts there is one."""
    texts = {
        name: source if isinstance(source, str) else source.decode("utf-8-sig", "replace")
        for name, source in sources.items()
        if isinstance(source, str | bytes)
    }
    return json.dumps(texts)


def _card(each: FileResult) -> dict[str, Any]:
    lines = [line for change in each.changes for line in change_lines(change)]
    return {
        "result": each,
        "look": _LOOKS.get(each.outcome, "completed"),
        "sentence": sentence_of(each) if each.outcome != Outcome.REFUSED else "refused",
        "summary": differences.summary(each.changes) if each.changes else "",
        "lines": lines[:MAX_LINES],
        "more": plural(len(lines) - MAX_LINES, "more line") if len(lines) > MAX_LINES else "",
        "problems": [
            (replace(problem, message=message_of(problem)), getattr(problem, "line", None))
            for problem in each.problems
        ],
        "reasons": each.judgement.reasons if each.judgement else (),
    }


def _summary(shown: ImportResult) -> str:
    if shown.is_refused:
        refused = sum(bool(each.problems) for each in shown.files)
        return f"{plural(refused, 'file')} refused, so nothing can be imported."
    changed = sum(each.changes_something for each in shown.files)
    if not changed:
        return "Nothing is to be done: everything is there as the files say."
    same = len(shown.files) - changed
    rest = f"; {plural(same, 'file')} unchanged" if same else ""
    return f"{plural(changed, 'file')} to be imported{rest}. Nothing is changed yet."
