"""The API of files: workflows as YAML out, and back in all at once."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from django.http import QueryDict
from django.utils.http import parse_etags
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.parsers import MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.api.parsers import StrictJSONParser
from autopilot.common.api.viewsets import DeclaredViewSet
from autopilot.common.errors import Conflict, Invalid, NotFound
from autopilot.common.problems import Problem
from workflows import comparison
from workflows.api.file_serializers import (
    FilesSerializer,
    ImportResultSerializer,
    ImportSerializer,
    UploadSerializer,
)
from workflows.api.media import YAMLRenderer, ZipRenderer
from workflows.api.serializers import DefinitionSerializer
from workflows.definition.text import read_text, write_yaml
from workflows.files.contents import Source
from workflows.files.exporting import export_workflows, zipped
from workflows.files.importing import import_files
from workflows.files.uploads import sources_of
from workflows.models import Workflow

_ERROR = {"$ref": "#/components/schemas/Error"}
_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"", "false", "0", "no"})
_AS_FILE = {
    (200, "application/yaml"): OpenApiTypes.STR,
    (200, "application/json"): DefinitionSerializer,
    304: OpenApiResponse(description="It is what If-None-Match names."),
}
_IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag of what you have: answered with 304 while it is the same.",
)
_DRAFTS = OpenApiParameter(
    "drafts", bool, description="A draft goes before the live version; default: false."
)


class _FilesViewSet(DeclaredViewSet):
    pagination_class = None
    filter_backends = ()

    @property
    def actor(self) -> Actor:
        return actor_of(self.request.user, self.request)

    def workflow(self, slug: str) -> Workflow:
        row = Workflow.objects.visible_to(self.actor).filter(slug=slug).first()
        if row is None:
            raise NotFound(f"There is no workflow {slug}, or you may not see it.")
        return row


class ExportViewSet(_FilesViewSet):
    """One workflow, or one version of it, as a file."""

    renderer_classes = (YAMLRenderer, JSONRenderer)
    required_permissions: ClassVar[dict[str, str]] = {
        "of_workflow": Permission.WORKFLOW_VIEW,
        "of_version": Permission.WORKFLOW_VIEW,
    }

    @extend_schema(
        operation_id="workflows_export",
        summary="Export a workflow as a file",
        parameters=[_DRAFTS, _IF_NONE_MATCH],
        responses=_AS_FILE,
    )
    def of_workflow(self, request: Request, slug: str) -> Response:
        """Its live version, with what only files have: `changelog`, and `workflow` for a name,
        description or labels that are not the definition's, and for `review_required`."""
        self.workflow(slug)
        drafts = _flag(request, "drafts")
        export = export_workflows(actor=self.actor, slugs=[slug], drafts=drafts)
        if not export.files:
            raise Conflict(f"The workflow {slug} has no published version to export.")
        (file,) = export.files
        return self.answer(file.text, slug)

    @extend_schema(
        operation_id="workflow_versions_export",
        summary="Export a version as a file",
        parameters=[_IF_NONE_MATCH],
        responses=_AS_FILE,
    )
    def of_version(self, request: Request, slug: str, version: str) -> Response:
        """Its definition and nothing else: what `POST workflows/` and `PUT` of a draft take."""
        workflow = self.workflow(slug)
        row = comparison.version_named(workflow, version, path="$.version")
        return self.answer(write_yaml(row.document), f"{slug}-{row.version}")

    def answer(self, text: str, name: str) -> Response:
        kind: str = self.request.accepted_renderer.format
        data: Any = text.encode() if kind == "yaml" else read_text(text).document
        return _file(self.request, data, text, f"{name}.{kind}")


class ExportAllViewSet(_FilesViewSet):
    """Workflows as files."""

    renderer_classes = (JSONRenderer, ZipRenderer)
    required_permissions: ClassVar[dict[str, str]] = {"of_all": Permission.WORKFLOW_VIEW}

    @extend_schema(
        operation_id="workflows_export_all",
        summary="Export workflows as files",
        parameters=[
            OpenApiParameter(
                "workflow", str, many=True, description="Only those with these slugs."
            ),
            _DRAFTS,
            _IF_NONE_MATCH,
        ],
        responses={
            (200, "application/json"): FilesSerializer,
            (200, "application/zip"): OpenApiTypes.BINARY,
            304: OpenApiResponse(description="It is what If-None-Match names."),
        },
    )
    def of_all(self, request: Request) -> Response:
        """One YAML file a workflow: as an object that an import takes, or as a zip file."""
        slugs = request.query_params.getlist("workflow") or None
        drafts = _flag(request, "drafts")
        export = export_workflows(actor=self.actor, slugs=slugs, drafts=drafts)
        kind: str = request.accepted_renderer.format
        if kind == "zip":
            archive = zipped(export.files)
            return _file(request, archive, archive, "workflows.zip")
        files = {each.name: each.text for each in export.files}
        mark = "\n".join([*files, *files.values(), *export.without])
        return _file(request, {"files": files, "without": export.without}, mark, "workflows.json")


class ImportViewSet(_FilesViewSet):
    """Files that workflows are to be."""

    parser_classes = (StrictJSONParser, MultiPartParser)
    required_permissions: ClassVar[dict[str, str]] = {"import_all": Permission.WORKFLOW_EDIT}

    @extend_schema(
        operation_id="workflows_import",
        summary="Import workflows from files",
        request={
            "application/json": ImportSerializer,
            "multipart/form-data": UploadSerializer,
        },
        responses={
            200: ImportResultSerializer,
            409: OpenApiResponse(_ERROR, "Something has changed since the dry run."),
        },
    )
    def import_all(self, request: Request) -> Response:
        """All of them or none. New content becomes a draft, or goes live with `publish`; the guard
        holds either way, and a file without a version gets the lowest honest number."""
        if isinstance(request.data, QueryDict):
            given, files = _uploaded(request)
        else:
            serializer = ImportSerializer(data=request.data)
            serializer.is_valid(raise_exception=True)
            given = dict(serializer.validated_data)
            files = given.pop("files")
        result = import_files(actor=self.actor, files=files, **given)
        return Response(ImportResultSerializer(result.as_dict()).data)


def _file(request: Request, data: Any, mark: str | bytes, name: str) -> Response:
    """The answer with its ETag; 304 for those who have it."""
    content = mark.encode() if isinstance(mark, str) else mark
    etag = f'"{hashlib.sha256(name.encode() + content).hexdigest()[:32]}"'
    header = request.headers.get("If-None-Match")
    if header is not None and etag in parse_etags(header.replace("W/", "")):
        return Response(status=304, headers={"ETag": etag})
    disposition = f'attachment; filename="{name}"'
    return Response(data, headers={"ETag": etag, "Content-Disposition": disposition})


def _uploaded(request: Request) -> tuple[dict[str, Any], dict[str, Source]]:
    """The wishes and files of a form."""
    sent: Any = request.data
    fields = {key: sent.get(key) for key in sent if key not in request.FILES}
    # The files are not this serializer's to read: their names are kept, and all are looked at.
    serializer = UploadSerializer(data={**fields, "files": []})
    serializer.is_valid(raise_exception=True)
    given = dict(serializer.validated_data)
    del given["files"]
    return given, sources_of(request.FILES)


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "").lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    message = "Expected true or false."
    raise Invalid(f"$.{name}: {message}", details=[Problem(f"$.{name}", "field.type", message)])
