"""Durations and points in time as designers write them."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from workflows.definition.durations import DurationError, parse_duration, timestamp_problem


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("1w", 604800),
        ("1h30m", 5400),
        ("0.5s", 0.5),
        ("PT5M", 300),
        ("P1D", 86400),
        ("P1DT12H", 129600),
        ("PT1.5S", 1.5),
        ("P2W", 1209600),
        (90, 90),
        (0.25, 0.25),
        (" 5m ", 300),
    ],
)
def test_forms_of_a_duration(written: object, seconds: float) -> None:
    assert parse_duration(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "written",
    ["", "5", "5x", "m5", "P", "PT", "P1DT", "-5m", "5 m", "1e3", "30m1h", "x" * 10_000, "٣s"],
)
def test_text_that_is_no_duration(written: str) -> None:
    with pytest.raises(DurationError, match="ISO 8601"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (0, "A duration must be above zero."),
        (-1, "A duration must be above zero."),
        ("0s", "A duration must be above zero."),
        (0.0001, "A duration must be at least a millisecond."),
        ("3651d", "A duration can be ten years (3,650 days) at most."),
        (10**400, "A duration can be ten years (3,650 days) at most."),
        (math.nan, "A duration must be a finite number of seconds."),
        (math.inf, "A duration must be a finite number of seconds."),
    ],
)
def test_durations_outside_the_bounds(written: object, sentence: str) -> None:
    with pytest.raises(DurationError) as caught:
        parse_duration(written)
    assert str(caught.value) == sentence


def test_years_and_months_are_refused_with_the_reason() -> None:
    with pytest.raises(DurationError, match="length varies"):
        parse_duration("P1Y")
    with pytest.raises(DurationError, match="length varies"):
        parse_duration("P2M")


@pytest.mark.parametrize("value", [True, None, [], {}])
def test_values_that_are_no_duration(value: object) -> None:
    with pytest.raises(DurationError):
        parse_duration(value)


def test_points_in_time_need_an_offset() -> None:
    assert timestamp_problem("2030-01-31T09:00:00Z") is None
    assert timestamp_problem("2030-01-31T09:00:00+02:00") is None
    assert "offset" in str(timestamp_problem("2030-01-31T09:00:00"))
    assert timestamp_problem("soon") is not None
    assert timestamp_problem(5) is not None
