"""How often the comparison of schemas agrees with verdicts that others have made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from workflows.versioning.schema_compatibility import Answer, contained


@dataclass(frozen=True, slots=True)
class Case:
    """One verdict: whether everything that `narrow` takes is taken by `wide`."""

    name: str
    narrow: Any
    wide: Any
    compatible: bool


@dataclass(slots=True)
class Score:
    """What was answered, by answer and by what was expected; and the cases that differ."""

    counts: Counter[tuple[Answer, bool]] = field(default_factory=Counter)
    differing: list[tuple[Case, Answer]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def right(self) -> int:
        return self.counts[Answer.COMPATIBLE, True] + self.counts[Answer.BREAKING, False]

    @property
    def wrongly_compatible(self) -> int:
        return self.counts[Answer.COMPATIBLE, False]

    @property
    def share(self) -> float:
        return self.right / self.total if self.total else 0.0


def cases(row: dict[str, Any]) -> Iterator[Case]:
    """The verdicts in one row of data; none in a row that is about something else.

    Read are `{lhs, rhs, is_subschema}`, and `{old, new, expect}` where `deserializer` is the role
    of an input schema and `serializer` that of an output schema.
    """
    if "is_subschema" in row:
        yield Case(row.get("test", ""), row["lhs"], row["rhs"], row["is_subschema"])
    expected = row.get("expect")
    if not isinstance(expected, dict):
        return
    name, old, new = row.get("name", ""), row.get("old"), row.get("new")
    if "deserializer" in expected:
        yield Case(f"{name} (input)", old, new, expected["deserializer"])
    if "serializer" in expected:
        yield Case(f"{name} (output)", new, old, expected["serializer"])


def score(rows: Iterable[dict[str, Any]]) -> Score:
    """Answer every verdict of the rows."""
    found = Score()
    for row in rows:
        for case in cases(row):
            answer = contained(case.narrow, case.wide).answer
            found.counts[answer, case.compatible] += 1
            expected = Answer.COMPATIBLE if case.compatible else Answer.BREAKING
            if answer != expected:
                found.differing.append((case, answer))
    return found
