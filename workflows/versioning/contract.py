"""What a workflow promises to those who start it, signal it, decide in it and build on it.

The contract is the input and output schemas, the signals and approvals, the declared errors, and
the steps at which a live execution may stand. Less of it breaks somebody; more of it doesn't.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any

from workflows.definition.outline import Outline, Step, read_outline
from workflows.definition.paths import join, quote
from workflows.versioning.schema_compatibility import (
    Allowance,
    Answer,
    SchemaReason,
    Verdict,
    contained,
)

# Work of these types is done at once: an execution is at them only while it goes past.
PASSED = frozenset({"transform", "choice", "succeed", "fail"})

Ask = Callable[[Any, Any], Verdict]


class Bump(IntEnum):
    """Which part of the version has to go up; higher is more."""

    NONE = 0
    PATCH = 1
    MINOR = 2
    MAJOR = 3

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a bump.

    path: JSON path in the new definition, or in the old one for what is gone.
    kind: dotted and stable, such as `input.narrowed`.
    sentence: for people. example: a value that shows it, as JSON; empty where there is none.
    """

    path: str
    kind: str
    sentence: str
    bump: Bump
    example: str = ""

    def as_dict(self) -> dict[str, str]:
        found = {
            "path": self.path,
            "kind": self.kind,
            "sentence": self.sentence,
            "bump": self.bump.word,
        }
        return {**found, "example": self.example} if self.example else found


@dataclass(frozen=True, slots=True)
class Contract:
    """What is promised, by the names that others use for it."""

    document: dict[str, Any]
    standing: dict[str, Step]
    signals: dict[str, list[Step]]
    approvals: dict[str, Step]
    errors: dict[str, Step]
    types: dict[str, str]


def contract_of(document: dict[str, Any]) -> Contract:
    """The contract of a normalized definition."""
    return _read(document, read_outline(document))


def _read(document: dict[str, Any], outline: Outline) -> Contract:
    signals: dict[str, list[Step]] = {}
    errors: dict[str, Step] = {}
    for step in outline.steps:
        if step.type == "signal":
            signals.setdefault(str(step.config.get("signal")), []).append(step)
        elif step.type == "fail":
            errors.setdefault(str(step.config.get("error")), step)
    return Contract(
        document=document,
        standing={step.id: step for step in outline.steps if step.type not in PASSED},
        signals=signals,
        approvals={step.id: step for step in outline.steps if step.type == "approval"},
        errors=errors,
        types={step.id: step.type for step in outline.steps},
    )


def contract_reasons(old: Contract, new: Contract) -> Iterator[Reason]:
    """Every way in which the new contract promises less or more than the old one.

    All schemas share one allowance of work; those that it does not reach are unknown.
    """
    ask = partial(contained, allowance=Allowance())
    one, other = old.document, new.document
    yield from _input(one.get("input_schema"), other.get("input_schema"), ask)
    yield from _output(one.get("output_schema"), other.get("output_schema"), ask)
    yield from _signals(old, new, ask)
    yield from _approvals(old, new, ask)
    yield from _errors(old, new)
    yield from _standing(old, new)


def _input(old: Any, new: Any, ask: Ask) -> Iterator[Reason]:
    yield from _received(old, new, "$.input_schema", "input", "an input", ask)


def _received(old: Any, new: Any, path: str, kind: str, what: str, ask: Ask) -> Iterator[Reason]:
    """A schema of what others send: taking less breaks them. No schema takes anything."""
    if old == new:
        return
    before, after = _or_anything(old), _or_anything(new)
    there = ask(before, after)
    if there.answer != Answer.COMPATIBLE:
        yield from _schema_reasons(there, path, kind, f"{what.capitalize()} that was taken")
        return
    if ask(after, before).answer != Answer.COMPATIBLE:
        sentence = f"{what.capitalize()} that was refused before may be taken now."
        yield Reason(path, f"{kind}.widened", sentence, Bump.MINOR)


def _output(old: Any, new: Any, ask: Ask) -> Iterator[Reason]:
    path = "$.output_schema"
    if old == new:
        return
    if old is None:
        yield Reason(path, "output.added", "The result is promised a form now.", Bump.MINOR)
        return
    if new is None:
        sentence = "The result had a promised form and has none any more."
        yield Reason(path, "output.removed", sentence, Bump.MAJOR)
        return
    there = ask(new, old)
    if there.answer != Answer.COMPATIBLE:
        yield from _schema_reasons(there, path, "output", "A result that was ruled out")
    elif ask(old, new).answer != Answer.COMPATIBLE:
        sentence = "The result is promised more narrowly than before."
        yield Reason(path, "output.narrowed", sentence, Bump.MINOR)


def _schema_reasons(verdict: Verdict, path: str, kind: str, what: str) -> Iterator[Reason]:
    breaking = verdict.answer == Answer.BREAKING
    is_output = kind == "output"
    word = "unknown" if not breaking else ("widened" if is_output else "narrowed")
    for each in verdict.reasons:
        yield Reason(
            path + each.path.removeprefix("$"),
            f"{kind}.{word}",
            _schema_sentence(each, what, is_output) if breaking else _unknown(each),
            Bump.MAJOR,
            each.example,
        )


def _schema_sentence(reason: SchemaReason, what: str, is_output: bool) -> str:
    now = "may come out now" if is_output else "is refused now"
    said = reason.message.removeprefix("A value is refused")
    return f"{what} {now}{said}"


def _unknown(reason: SchemaReason) -> str:
    return f"Whether this breaks anybody is unknown, which counts as breaking. {reason.message}"


def _or_anything(schema: Any) -> Any:
    return True if schema is None else schema


def _signals(old: Contract, new: Contract, ask: Ask) -> Iterator[Reason]:
    for name, steps in old.signals.items():
        shown = quote(name)
        if name not in new.signals:
            path = join(steps[0].config_path, "signal")
            sentence = f'The signal "{shown}" is waited for nowhere any more.'
            yield Reason(path, "signal.removed", sentence, Bump.MAJOR)
            continue
        counterparts = new.signals[name]
        for step in steps:
            other = next((each for each in counterparts if each.id == step.id), counterparts[0])
            yield from _signal(step, other, shown, ask)
    for name, steps in new.signals.items():
        if name not in old.signals:
            path = join(steps[0].config_path, "signal")
            sentence = f'The signal "{quote(name)}" is waited for from now on.'
            yield Reason(path, "signal.added", sentence, Bump.MINOR)


def _signal(one: Step, other: Step, name: str, ask: Ask) -> Iterator[Reason]:
    path = join(other.config_path, "schema")
    what = f'a signal "{name}"'
    before, after = one.config.get("schema"), other.config.get("schema")
    yield from _received(before, after, path, "signal", what, ask)
    if one.config.get("correlation") != other.config.get("correlation"):
        path = join(other.config_path, "correlation")
        sentence = f'Who sends the signal "{name}" has to name it by another correlation.'
        yield Reason(path, "signal.correlation", sentence, Bump.MAJOR)


def _approvals(old: Contract, new: Contract, ask: Ask) -> Iterator[Reason]:
    for id, step in old.approvals.items():
        other = new.approvals.get(id)
        if other is None:
            sentence = f'The approval "{id}" is asked for no more.'
            yield Reason(step.path, "approval.removed", sentence, Bump.MAJOR)
            continue
        path = join(other.config_path, "form")
        what = f'an answer to the approval "{id}"'
        one = step.config.get("form")
        yield from _received(one, other.config.get("form"), path, "approval", what, ask)
    for id, step in new.approvals.items():
        if id not in old.approvals:
            sentence = f'The approval "{id}" is asked for from now on.'
            yield Reason(step.path, "approval.added", sentence, Bump.MINOR)


def _errors(old: Contract, new: Contract) -> Iterator[Reason]:
    for code, step in old.errors.items():
        if code not in new.errors:
            path = join(step.config_path, "error")
            sentence = f'The declared error "{quote(code)}" is gone: who handles it waits in vain.'
            yield Reason(path, "error.removed", sentence, Bump.MAJOR)
    for code, step in new.errors.items():
        if code not in old.errors:
            path = join(step.config_path, "error")
            sentence = f'The error "{quote(code)}" is declared from now on.'
            yield Reason(path, "error.added", sentence, Bump.MINOR)


def _standing(old: Contract, new: Contract) -> Iterator[Reason]:
    for id, step in old.standing.items():
        live = f'A live execution may stand at the step "{id}", which'
        other = new.standing.get(id)
        if id not in new.types:
            yield Reason(step.path, "step.removed", f"{live} is gone.", Bump.MAJOR)
        elif other is None or other.type != step.type:
            sentence = f"{live} was of the type {step.type} and is a {new.types[id]} now."
            path = step.path if other is None else other.path
            yield Reason(join(path, "type"), "step.type", sentence, Bump.MAJOR)
        elif other.scope.id != step.scope.id:
            # Where an execution stands is kept with the number of the branch.
            sentence = f"{live} stands in another step or branch now than before."
            yield Reason(other.path, "step.scope", sentence, Bump.MAJOR)
    for id, step in new.standing.items():
        if id not in old.standing:
            sentence = f'An execution may stand at the step "{id}", which is new.'
            yield Reason(step.path, "step.added", sentence, Bump.MINOR)
