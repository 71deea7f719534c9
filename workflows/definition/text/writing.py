"""Documents as YAML that people like to read and that git compares line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from pydantic import BaseModel

from workflows.definition.document import Document
from workflows.definition.shape import model_of_field
from workflows.definition.steps import STEP_MODELS, BaseStep
from workflows.definition.text.scalars import is_taken_for_text

_INDENT = "  "
# A longer key needs another form; the limit of readers is 1,024.
_LONGEST_KEY = 500
_UNPRINTABLE = "[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
_ODD = re.compile(_UNPRINTABLE)
_TO_ESCAPE = re.compile(f'["\\\\]|{_UNPRINTABLE}')
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_NOT_FIRST = frozenset("-?:,[]{}#&*!|>'\"%@`= ")
_NOT_PLAIN = re.compile(r": |:\Z| #| \Z|\A\.\.\.")
# In a block, blanks at the end of a line would be lost to the next editor, and those before the
# first word would be taken for its indentation.
_NOT_BLOCK = re.compile(r"[ \t]$|^\t|\A\n* |\A\n*\Z", re.MULTILINE)
# People read on from what a step is to what it does; its handling comes after that.
_FIRST_OF_STEP = ("id", "name", "description", "type", "when", "config")


def write_yaml(document: object) -> str:
    """`document` as YAML in block style; `read_text` gives back the same.

    Fields stand in the order of the language, everything else as it comes; a text of several lines
    is a block. Nothing is wrapped, nothing is shortened by anchors, and a text that YAML 1.1 or
    1.2 takes for something else is quoted.
    """
    if _is_nested(document):
        lines = _block(document, Document)
    else:
        first, *rest = _scalar(document)
        lines = [first, *map(_indented, rest)]
    return "\n".join(lines) + "\n"


def _is_nested(value: object) -> bool:
    return isinstance(value, dict | list) and bool(value)


def _block(value: object, model: type[BaseModel] | None) -> list[str]:
    """The lines of an object or list that has members, not indented."""
    if isinstance(value, list):
        return [line for item in value for line in _member("-", item, model)]
    assert isinstance(value, dict)
    lines: list[str] = []
    for key, inner in _ordered(value, model):
        name = _word(key)
        head = f"{name}:"
        if len(name) > _LONGEST_KEY:
            lines.append(f"? {name}")
            head = ":"
        lines += _member(head, value[key], inner)
    return lines


def _member(head: str, value: object, model: type[BaseModel] | None) -> list[str]:
    """The lines of a member behind its key or its dash."""
    if not _is_nested(value):
        first, *rest = _scalar(value)
        return [f"{head} {first}", *map(_indented, rest)]
    inner = _block(value, model)
    if head == "-":
        return [f"- {inner[0]}", *map(_indented, inner[1:])]
    return [head, *map(_indented, inner)]


def _indented(line: str) -> str:
    return _INDENT + line if line else line


def _scalar(value: object) -> list[str]:
    """A value without members; the lines after the first are not indented."""
    if isinstance(value, str):
        return _text_block(value) if _fits_block(value) else [_word(value)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if value is None:
        return ["null"]
    if isinstance(value, float):
        return [_float(value)]
    return [str(value) if isinstance(value, int) else "{}" if value == {} else "[]"]


def _fits_block(text: str) -> bool:
    has_lines = "\n" in text
    return has_lines and not _NOT_BLOCK.search(text) and not _ODD.search(text.replace("\n", ""))


def _float(value: float) -> str:
    """With a point, without which YAML 1.1 sees a text in 1e+16."""
    text = repr(value)
    digits, mark, power = text.partition("e")
    return f"{digits}.0e{power}" if mark and "." not in digits else text


def _text_block(text: str) -> list[str]:
    body = text.rstrip("\n")
    ends = len(text) - len(body)
    mark = "|-" if ends == 0 else "|" if ends == 1 else "|+"
    return [mark, *body.split("\n"), *[""] * (ends - 1)]


def _word(text: str) -> str:
    """A text on one line, in the quotes it needs."""
    if _ODD.search(text):
        return _double_quoted(text)
    if (
        text
        and text[0] not in _NOT_FIRST
        and not _NOT_PLAIN.search(text)
        and is_taken_for_text(text)
    ):
        return text
    if ('"' in text or "\\" in text) and "'" not in text:
        return f"'{text}'"
    return _double_quoted(text)


def _double_quoted(text: str) -> str:
    return f'"{_TO_ESCAPE.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[0]) or f"\\u{ord(found[0]):04x}"


def _ordered(
    value: dict[str, object], model: type[BaseModel] | None
) -> Iterator[tuple[str, type[BaseModel] | None]]:
    """The keys of an object as they are written, each with the model of its value."""
    if model is BaseStep:
        model = STEP_MODELS.get(str(value.get("type")), BaseStep)
    known = _order(model) if model is not None else ()
    for key in dict.fromkeys([*(key for key in known if key in value), *value]):
        yield key, model_of_field(model, key)


@cache
def _order(model: type[BaseModel]) -> tuple[str, ...]:
    names = [field.alias or name for name, field in model.model_fields.items()]
    first = _FIRST_OF_STEP if issubclass(model, BaseStep) else ()
    return tuple(dict.fromkeys([*first, *names]))
