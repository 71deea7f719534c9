"""What an import does, as lines for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import takewhile

from autopilot.common.problems import Problem
from autopilot.common.words import plural
from workflows.definition.paths import quote
from workflows.definition.text import TextProblem
from workflows.files.results import FileResult, ImportResult, Outcome
from workflows.versioning.contract import Bump
from workflows.versioning.diff import Change, ChangeKind, FieldChange

_SHOWN_CHANGES = 30
_SHOWN_FIELDS = 8
_SHOWN_REASONS = 5
_SHOWN_VALUE = 60


def lines_of(result: ImportResult) -> Iterator[str]:
    """Every file that changes something or is refused, then how many stay as they are.

    A terminal obeys some characters, and files come from anybody: none of those is in a line.
    """
    for line in _lines_of(result):
        yield quote(line, limit=len(line))


def _lines_of(result: ImportResult) -> Iterator[str]:
    same = [each for each in result.files if each.outcome == Outcome.UNCHANGED]
    for each in result.files:
        if each.outcome != Outcome.UNCHANGED or each.notes:
            yield from file_lines(each)
    quiet = sum(not each.notes for each in same)
    if quiet:
        yield f"{plural(quiet, 'file')} unchanged."


def file_lines(each: FileResult) -> Iterator[str]:
    """One file: what becomes of it, what is different, what the guard says."""
    if each.outcome == Outcome.REFUSED:
        yield f"{each.name}: refused"
        yield from (f"  {problem_line(each.name, problem)}" for problem in each.problems)
    else:
        yield f"{each.name}: {sentence_of(each)}"
    for note in each.notes:
        yield f"  {note}"
    shown = [line for change in each.changes for line in change_lines(change)]
    yield from (f"  {line}" for line in shown[:_SHOWN_CHANGES])
    if len(shown) > _SHOWN_CHANGES:
        yield f"  ... and {plural(len(shown) - _SHOWN_CHANGES, 'more line')}"
    for key, (before, after) in each.head.items():
        yield f"  the workflow's {key}: {_value(before)} -> {_value(after)}"
    if each.outcome != Outcome.REFUSED:
        yield from (f"  {line}" for line in guard_lines(each))


def sentence_of(each: FileResult) -> str:
    """What becomes of the file, in a few words."""
    after = f" after {each.against}" if each.against else ""
    ends = "published" if each.state == "published" else "a draft"
    if each.outcome == Outcome.CREATED:
        return f'new workflow "{each.title}", version {each.version}, {ends}'
    if each.outcome == Outcome.VERSION:
        return f"new version {each.version}{after}, {ends}"
    if each.outcome == Outcome.REPLACED:
        return f"the draft becomes version {each.version}{after}, {ends}"
    if each.outcome == Outcome.PUBLISHED:
        return f"the draft {each.version}{after} is published"
    if each.outcome == Outcome.SETTINGS:
        return f"version {each.version} stays; the workflow changes"
    return f"unchanged, version {each.version}, {each.state}"


def problem_line(name: str, problem: Problem) -> str:
    """`refund.yaml:12:5: $.steps[0].next: There is no step "pai".`, as compilers say it."""
    place, message = name, message_of(problem)
    if isinstance(problem, TextProblem):
        place = f"{name}:{problem.line}:{problem.column}"
    return f"{place}: {message}" if problem.path == "$" else f"{place}: {problem.path}: {message}"


def message_of(problem: Problem) -> str:
    """The message without its place, for where that is shown beside it."""
    if not isinstance(problem, TextProblem):
        return problem.message
    return problem.message.removeprefix(f"Line {problem.line}, column {problem.column}: ")


def guard_lines(each: FileResult) -> Iterator[str]:
    """What the smallest honest number is, and the strongest reasons for it."""
    found = each.judgement
    if found is None or found.bump == Bump.NONE:
        return
    yield f"The guard: {found.bump.word}; {each.suggested} is the lowest honest number."
    for reason in found.reasons[:_SHOWN_REASONS]:
        yield f"  {reason.bump.word}: {reason.sentence} ({reason.path})"
    more = len(found.reasons) + found.more - _SHOWN_REASONS
    if more > 0:
        yield f"  ... and {plural(more, 'more reason')}"


def change_lines(change: Change) -> Iterator[str]:
    """`+ step pay (action)`, `~ step pay: config.with.url "a" -> "b"`."""
    kind = change.kind
    if kind == ChangeKind.STEP_ADDED:
        yield f"+ step {change.step} ({change.type})"
    elif kind == ChangeKind.STEP_REMOVED:
        yield f"- step {change.old_step} ({change.type})"
    elif kind == ChangeKind.STEP_MOVED:
        yield f"~ step {change.step} stands elsewhere: {change.was} -> {change.path}"
    elif kind == ChangeKind.STEP_RENAMED and change.step != change.old_step:
        yield f"~ step {change.old_step} is {change.step} now"
    else:
        about = f"step {change.step}: " if change.step else ""
        base = change.path if change.step else "$"
        for each in change.fields[:_SHOWN_FIELDS]:
            yield f"~ {about}{_field(each, base)}"
        if len(change.fields) > _SHOWN_FIELDS:
            yield f"~ {about}... and {plural(len(change.fields) - _SHOWN_FIELDS, 'more field')}"


def _field(change: FieldChange, base: str) -> str:
    name = change.path.removeprefix(base).lstrip(".")
    if change.is_new:
        return f"{name}: new, {_value(change.after)}"
    if change.is_gone:
        return f"{name}: gone, it was {_value(change.before)}"
    before, after = change.before, change.after
    if isinstance(before, str) and isinstance(after, str):
        before, after = _from_difference(before, after)
    return f"{name}: {_value(before)} -> {_value(after)}"


def _from_difference(before: str, after: str) -> tuple[str, str]:
    """Both texts from a little before they part, if that would not be seen otherwise."""
    pairs = zip(before, after, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    if same < _SHOWN_VALUE // 2:
        return before, after
    begin = same - _SHOWN_VALUE // 4
    return f"…{before[begin:]}", f"…{after[begin:]}"


def _value(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_VALUE else f"{text[: _SHOWN_VALUE - 1]}…"
