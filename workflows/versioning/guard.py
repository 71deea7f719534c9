"""The smallest honest bump between two definitions, and why it can't be smaller.

Less of the contract is major, more of it minor; any other change of what is done is minor; texts
that only people read are patch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workflows.versioning.contract import Bump, Reason, contract_of, contract_reasons
from workflows.versioning.diff import Change, ChangeKind, FieldChange, compare
from workflows.versioning.semver import Version

MAX_REASONS = 100


@dataclass(frozen=True, slots=True)
class Judgement:
    """The smallest honest bump and the reasons for it, the strongest first.

    more: how many reasons there are beyond those listed.
    """

    bump: Bump
    reasons: tuple[Reason, ...] = ()
    more: int = 0

    def number(self, previous: Version) -> Version:
        """The lowest version that may follow `previous`; without any change the next patch."""
        if self.bump == Bump.MAJOR:
            return previous.bump_major()
        if self.bump == Bump.MINOR:
            return previous.bump_minor()
        return previous.bump_patch()

    def allows(self, previous: Version, proposed: Version) -> bool:
        """Whether `proposed` goes up at least as much as it has to."""
        return proposed >= self.number(previous)

    def as_dict(self) -> dict[str, Any]:
        reasons = [each.as_dict() for each in self.reasons]
        return {"bump": self.bump.word, "reasons": reasons, "more": self.more}


def judge(old: dict[str, Any], new: dict[str, Any]) -> Judgement:
    """What changes between two normalized definitions, for those who rely on the old one.

    What can't be decided about a schema counts as breaking. Never raises for valid definitions.
    """
    promised = list(contract_reasons(contract_of(old), contract_of(new)))
    told = {reason.path for reason in promised}
    other = [
        reason
        for change in compare(old, new)
        for reason in _change_reasons(change, told)
        if reason.path not in told
    ]
    reasons = sorted([*promised, *other], key=lambda reason: -reason.bump)
    bump = reasons[0].bump if reasons else Bump.NONE
    return Judgement(bump, tuple(reasons[:MAX_REASONS]), max(0, len(reasons) - MAX_REASONS))


def suggest(previous: Version, old: dict[str, Any], new: dict[str, Any]) -> Version:
    """The lowest honest number for `new`, when `old` was published as `previous`."""
    return judge(old, new).number(previous)


def _change_reasons(change: Change, told: set[str]) -> Iterator[Reason]:
    """What a difference means beyond the contract."""
    if change.kind == ChangeKind.STEP_MOVED:
        sentence = f'The step "{change.step}" stands elsewhere in the flow.'
        yield Reason(change.path, "behaviour.moved", sentence, Bump.MINOR)
    elif change.kind == ChangeKind.STEP_ADDED:
        sentence = f'The step "{change.step}" is new.'
        yield Reason(change.path, "behaviour.added", sentence, Bump.MINOR)
    elif change.kind == ChangeKind.STEP_REMOVED:
        sentence = f'The step "{change.old_step}" is gone.'
        yield Reason(change.was, "behaviour.removed", sentence, Bump.MINOR)
    else:
        for each in change.fields:
            schema = _schema_of(change, each)
            if schema is None:
                yield _field_reason(change, each)
            elif not any(_within(path, schema) for path in told):
                # What it lets through was looked at for the contract; what is left are words.
                sentence = "The same values fit as before, in other words."
                yield Reason(each.path, "text.schema", sentence, Bump.PATCH)


def _schema_of(change: Change, field: FieldChange) -> str | None:
    """The path of the schema that a field belongs to, if the contract looks at that."""
    if change.kind == ChangeKind.SCHEMA_CHANGED:
        return change.path or change.was
    name = _STEP_SCHEMAS.get(change.type)
    schema = f"{change.path}.config.{name}"
    return schema if name is not None and _within(field.path, schema) else None


_STEP_SCHEMAS = {"signal": "schema", "approval": "form"}


def _within(path: str, place: str) -> bool:
    return path == place or path.startswith((f"{place}.", f"{place}["))


def _field_reason(change: Change, field: FieldChange) -> Reason:
    what = "is new" if field.is_new else "is gone" if field.is_gone else "is another"
    of = f' of the step "{change.step}"' if change.step else ""
    name = field.path.removeprefix(change.path if change.step else "$").lstrip(".")
    if field.is_text:
        sentence = f"The text {name}{of} {what}; nothing runs differently."
        return Reason(field.path, "text.changed", sentence, Bump.PATCH)
    sentence = f"{name}{of} {what}."
    return Reason(field.path, "behaviour.changed", sentence, Bump.MINOR)
