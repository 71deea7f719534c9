"""Which signal is for which step: the first to the one that has waited longest."""

from __future__ import annotations

import pytest

from executions.runtime.matching import Kept, Wait, pairs_of


def wait(pk: int, correlation: str = "A", *, document: int = 0, flow: int = 1) -> Wait:
    return Wait(pk, document or pk, flow, "paid", correlation)


def kept(
    pk: int, correlation: str = "A", *, to: int | None = None, flow: int | None = None
) -> Kept:
    return Kept(pk, to, flow, "paid", correlation)


@pytest.mark.parametrize(
    ("waits", "signals", "pairs"),
    [
        ([wait(1)], [kept(10)], [(1, 10)]),
        ([wait(1)], [kept(10, "B")], []),
        ([wait(1)], [Kept(10, None, None, "sent", "A")], []),
        ([wait(2), wait(1)], [kept(11), kept(10)], [(2, 10), (1, 11)]),
        ([wait(1), wait(2, "B")], [kept(10, "B")], [(2, 10)]),
        ([wait(1, flow=1), wait(2, flow=2)], [kept(10, flow=2), kept(11)], [(1, 11), (2, 10)]),
        ([wait(1), wait(2)], [kept(10, "", to=2)], [(2, 10)]),
        ([wait(3, "X", document=1)], [kept(10, "Y", to=1), kept(11, "X", to=1)], [(3, 11)]),
        ([wait(1)], [kept(11), kept(10, "", to=1)], [(1, 10)]),
        ([wait(1), wait(2)], [kept(10, "", to=1), kept(11)], [(1, 10), (2, 11)]),
    ],
)
def test_pairs(waits: list[Wait], signals: list[Kept], pairs: list[tuple[int, int]]) -> None:
    assert pairs_of(waits, signals) == pairs
