"""What the YAML library finds wrong, said so that people see what to do."""

from __future__ import annotations

import re

import yaml

from workflows.definition.text.building import Mark

_CONTROL = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
LINE_END = re.compile(r"\r\n|\r|\n")

# The library's words -> ours. {line} and {what} are where and what it began with.
_SENTENCES = (
    (
        "mapping values are not allowed",
        'A ": " can not stand here: put a text that has one in quotes, and check the indentation.',
    ),
    (
        "could not find expected ':'",
        'This line is no "key: value": a colon and a blank are missing, or the indentation is off.',
    ),
    (
        "did not find expected key",
        "This does not fit what stands above it: check the indentation, and put a text that goes "
        "on after its quotes into quotes as a whole.",
    ),
    (
        "did not find expected '-' indicator",
        'An entry of the list was expected: it begins with "- " below the others.',
    ),
    (
        "did not find expected ',' or ']'",
        'The list that begins with "[" lacks a comma or its "]".',
    ),
    (
        "did not find expected ',' or '}'",
        'The object that begins with "{" lacks a comma or its "}".',
    ),
    (
        "found unexpected end of stream",
        "The quotes that open here are never closed.",
    ),
    (
        "found unexpected document indicator",
        "The quotes that open here are not closed before the document ends.",
    ),
    (
        "block sequence entries are not allowed",
        'A list can not begin here: its first "- " belongs on a line of its own.',
    ),
    (
        "found a tab character",
        "A tab can not be used to indent: use blanks.",
    ),
    (
        "found unknown escape character",
        "There is no such escape in double quotes: write \\\\ for a backslash, or use single "
        "quotes.",
    ),
    (
        "invalid unicode character escape",
        "This escape stands for no character; in YAML one beyond \\uffff is written \\U0001f600.",
    ),
    (
        "did not find expected hexdecimal number",
        "The escape lacks digits: \\x takes two, \\u four, \\U eight.",
    ),
    (
        "did not find expected alphabetic or numeric character",
        "A text that begins with * or & must stand in quotes.",
    ),
    (
        "did not find expected whitespace or line break",
        "The block that | or > opens begins on the next line.",
    ),
)


def sentence_of(error: yaml.YAMLError, text: str) -> tuple[Mark, str]:
    """Where an error is, and what it means."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return _control_character(text)
    mark = error.problem_mark
    at = (mark.line, mark.column)
    lines = LINE_END.split(text)
    line = lines[mark.line] if mark.line < len(lines) else ""
    problem = error.problem or ""
    began = error.context_mark
    if "found unexpected end of stream" in problem and began is not None:
        return (began.line, began.column), _known(problem) or ""
    if "could not find expected ':'" in problem and began is not None:
        at = (began.line, began.column)
        line = lines[began.line] if began.line < len(lines) else ""
    hint = _template_hint(line)
    if hint is not None:
        return at, hint
    if "cannot start any token" in problem:
        return at, _bad_start(line, at[1])
    return at, _known(problem) or f"This is not valid YAML: {problem}."


def _known(problem: str) -> str | None:
    words = problem.lower()
    return next((ours for theirs, ours in _SENTENCES if theirs.lower() in words), None)


def _bad_start(line: str, column: int) -> str:
    character = line[column : column + 1]
    if "\t" in (line[: column + 1] if not line[:column].strip() else character):
        return "A tab can not be used to indent: use blanks."
    return f'A text can not begin with "{character}": put it in quotes.'


def _template_hint(line: str) -> str | None:
    """For the commonest slip: a template without quotes is an object to YAML."""
    value = line.partition(": ")[2] or line.partition("- ")[2]
    if value.lstrip().startswith("{{"):
        return "A text that begins with {{ must stand in quotes."
    return None


def _control_character(text: str) -> tuple[Mark, str]:
    found = _CONTROL.search(text)
    if found is None:
        return (0, 0), "This is not valid YAML."
    before = LINE_END.split(text[: found.start()])
    code = ord(found[0])
    shown = f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    message = f"The character U+{code:04X} can not stand in YAML: write {shown} in double quotes."
    return (len(before) - 1, len(before[-1])), message
