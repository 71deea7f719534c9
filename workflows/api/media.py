"""YAML in requests and answers, and zip files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer

from autopilot.common.errors import RequestTooLarge
from workflows.definition.text import decode, read_text


class YAMLParser(BaseParser):
    """A definition as YAML, by the rules of files; where its values stand is kept in the request.

    Problems that come up later get their lines from there.
    """

    media_type = "application/yaml"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        limit: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
        raw: bytes = stream.read(limit + 1) if limit else stream.read()
        if limit and len(raw) > limit:
            raise RequestTooLarge.over(limit)
        read = read_text(decode(raw))
        request = (parser_context or {}).get("request")
        if request is not None:
            request.places = read.places
        return read.document


class _FileRenderer(BaseRenderer):
    """What the view has made already; refusals are JSON whatever was asked for."""

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if isinstance(data, bytes):
            return data
        response = (renderer_context or {}).get("response")
        if response is not None:
            response["Content-Type"] = JSONRenderer.media_type
        found: bytes = JSONRenderer().render(data, JSONRenderer.media_type, renderer_context)
        return found


class YAMLRenderer(_FileRenderer):
    """A text in YAML."""

    media_type = "application/yaml"
    format = "yaml"
    charset = "utf-8"


class ZipRenderer(_FileRenderer):
    """Files in one."""

    media_type = "application/zip"
    format = "zip"
    charset = None
    render_style = "binary"
