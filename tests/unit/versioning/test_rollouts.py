"""Who takes a rollout's candidate, and when it has failed too much."""

from __future__ import annotations

from itertools import pairwise

import pytest

from workflows.routing import Route, Ticket
from workflows.versioning.rollouts import (
    BUCKETS,
    Figures,
    Finding,
    Rules,
    bucket_of,
    judge,
)

KEYS = [f"customer-{number}" for number in range(10_000)]


def taken(percent: float, salt: str = "salt") -> set[str]:
    return {key for key in KEYS if bucket_of(salt, key) < percent * 100}


def test_ten_percent_of_ten_thousand_keys_are_ten_percent() -> None:
    # Three standard deviations of a fair draw are 90.
    assert 910 <= len(taken(10)) <= 1_090
    assert 4_850 <= len(taken(50)) <= 5_150
    assert (len(taken(0)), len(taken(100))) == (0, 10_000)


def test_buckets_are_the_same_for_ever_and_others_in_another_rollout() -> None:
    # Of these very numbers live keys of rollouts that are under way: never change them.
    assert [bucket_of("salt", key) for key in ("", "customer-1", "Ålesund")] == [9041, 2891, 2310]
    both = taken(10) & taken(10, "pepper")
    assert 60 <= len(both) <= 140
    assert all(0 <= bucket_of("salt", key) < BUCKETS for key in KEYS)


def test_a_higher_percentage_moves_nobody_back() -> None:
    shares = [taken(percent) for percent in (0, 0.01, 1, 5, 25, 50, 99.99, 100)]
    assert all(low <= high for low, high in pairwise(shares))
    assert len(taken(0.5)) < len(taken(1))


@pytest.mark.parametrize(
    ("key", "ticket", "expected"),
    [
        ("", Ticket(correlation_id="a", idempotency_key="b", otherwise="c"), "a"),
        ("", Ticket(idempotency_key="b", otherwise="c"), "b"),
        ("", Ticket(otherwise="c"), "c"),
        ("input.customer", Ticket({"customer": "ada"}, correlation_id="a"), "ada"),
        ("input.customer", Ticket({"customer": 7}), "7"),
        ("input.vip", Ticket({"vip": True}), "true"),
        # Nothing to tell it by: it is not one of those who try.
        ("input.customer", Ticket({}, correlation_id="a"), None),
        ("input.customer", Ticket({"customer": None}), None),
        ("input.customer", Ticket({"customer": ["ada"]}), None),
    ],
)
def test_what_a_start_is_told_by(key: str, ticket: Ticket, expected: str | None) -> None:
    for share in range(0, BUCKETS + 1, 500):
        found = Route(7, share, key, "salt").choose(ticket)
        is_in = share == BUCKETS or (expected is not None and bucket_of("salt", expected) < share)
        assert found == (7 if is_in and share else None)


def test_without_anything_to_tell_it_by_chance_decides() -> None:
    route = Route(7, 5_000, "", "salt")
    assert {route.choose(Ticket()) for _ in range(100)} == {7, None}


RULES = Rules(max_failure_percent=5, min_executions=20)


@pytest.mark.parametrize(
    ("candidate", "baseline", "margin", "expected"),
    [
        (Figures(0, 0), Figures(0, 0), None, Finding.TOO_FEW),
        (Figures(19, 19), Figures(100, 0), None, Finding.TOO_FEW),
        (Figures(20, 1), Figures(100, 0), None, Finding.FINE),
        (Figures(20, 2), Figures(100, 0), None, Finding.FAILS),
        # What hits both is nobody's fault, if that is asked for.
        (Figures(20, 10), Figures(100, 50), None, Finding.FAILS),
        (Figures(20, 10), Figures(100, 50), 0.0, Finding.SHARED),
        (Figures(20, 11), Figures(100, 50), 5.0, Finding.SHARED),
        (Figures(20, 12), Figures(100, 50), 5.0, Finding.FAILS),
        (Figures(20, 1), Figures(100, 0), 0.0, Finding.FINE),
        # A baseline of which nothing is known is no excuse.
        (Figures(20, 10), Figures(19, 19), 0.0, Finding.FAILS),
    ],
)
def test_the_figures_are_judged(
    candidate: Figures, baseline: Figures, margin: float | None, expected: Finding
) -> None:
    rules = Rules(RULES.max_failure_percent, RULES.min_executions, margin)
    assert judge(candidate, baseline, rules) is expected
