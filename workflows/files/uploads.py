"""Files that came with a form."""

from __future__ import annotations

from django.core.files.uploadedfile import UploadedFile
from django.utils.datastructures import MultiValueDict

from autopilot.common import jsonpath
from autopilot.common.errors import Invalid
from autopilot.common.problems import Problem
from workflows.definition.text import MAX_TEXT
from workflows.files.contents import Source


def sources_of(uploads: MultiValueDict[str, UploadedFile]) -> dict[str, Source]:
    """The files of a form by their names. Raises Invalid for two of one name."""
    files: dict[str, Source] = {}
    for field in uploads:
        for upload in uploads.getlist(field):
            name = str(upload.name)
            if name in files:
                path = jsonpath.child("$.files", name)
                message = f"There are two files {name[:200]!r}."
                raise Invalid(message, details=[Problem(path, "file.twice", message)])
            files[name] = _source(upload)
    return files


def _source(upload: UploadedFile) -> Source:
    size = upload.size or 0
    if size > 4 * MAX_TEXT:
        message = f"The file has {size:,} bytes; a text of at most {MAX_TEXT:,} is read."
        return Problem("$", "text.too_large", message)
    return bytes(upload.read())
