"""From a text to its document: which of the two languages it is, and how large it may be."""

from __future__ import annotations

import re

from autopilot.common.problems import Problem
from workflows.definition.text.building import error_of
from workflows.definition.text.json_reader import JSON_TEXT, read_json
from workflows.definition.text.places import ReadText, TextProblem
from workflows.definition.text.yaml_reader import read_yaml

MAX_TEXT = 2 * 1024 * 1024
_BLANK = re.compile(r"\s*")


def read_text(source: str) -> ReadText:
    """The document that `source` holds, as YAML 1.2 or JSON, with the place of every value.

    A text that begins with a brace or a bracket is JSON and has its rules. YAML is taken without
    anchors, aliases, merge keys, tags and second documents; keys are texts, and words without
    quotes mean what the core schema says. Raises TextError with every problem.
    """
    text = source.removeprefix("\ufeff")
    if len(text) > MAX_TEXT:
        message = f"The text has {len(text):,} characters; at most {MAX_TEXT:,} are read."
        raise error_of([Problem("$", "text.too_large", message)])
    begins = _BLANK.match(text)
    at = begins.end() if begins else 0
    if at == len(text):
        raise error_of([TextProblem("$", "text.empty", "The text is empty.")])
    if text[at] in "{[" or JSON_TEXT.match(text):
        return read_json(text)
    return read_yaml(text)


def decode(raw: bytes) -> str:
    """The text that bytes are in UTF-8; a byte order mark is passed over.

    Raises TextError for anything else, and for what is larger than any text that can be read.
    """
    if len(raw) > 4 * MAX_TEXT:
        message = f"There are {len(raw):,} bytes; a text of at most {MAX_TEXT:,} is read."
        raise error_of([Problem("$", "text.too_large", message)])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        message = (
            f"Line {line}: this is no text in UTF-8: byte {error.start:,} "
            f"(0x{raw[error.start]:02x}) does not belong there."
        )
        raise error_of([TextProblem("$", "text.encoding", message, line, column)]) from None
