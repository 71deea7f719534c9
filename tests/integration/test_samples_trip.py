"""The trip of the samples: given back when the card is refused, or when somebody thinks again."""

from __future__ import annotations

from typing import Any

import pytest

from executions.models import DurableValue, Execution
from executions.services import cancel_execution
from tests.engine import SYSTEM, drain, reread, run
from tests.samples import sample, sample_json

pytestmark = pytest.mark.django_db(transaction=True)


def bookings() -> dict[str, Any]:
    return dict(DurableValue.objects.values_list("key", "value"))


def logged(execution: Execution) -> list[str]:
    return list(execution.log_lines.order_by("seq").values_list("event", flat=True))


def test_a_refused_card_gives_back_what_was_booked():
    execution = run(sample("trip"), sample_json("trip.input.json"))
    assert (execution.state, execution.reason) == ("failed", "compensated")
    assert execution.error_code == "card.refused"
    assert bookings() == {"lisbon-flight": "given back", "lisbon-room": "given back"}
    assert logged(execution) == []


def test_a_paid_trip_can_be_thought_over():
    data = {"trip": "porto", "customer": "Tea House", "price": 300, "card_limit": 500}
    execution = run(sample("trip"), data)
    assert (execution.state, execution.current_step) == ("waiting", "until_departure")
    cancel_execution(execution=execution, actor=SYSTEM, compensate=True)
    drain()
    assert (reread(execution).state, reread(execution).reason) == ("cancelled", "compensated")
    assert bookings() == {"porto-flight": "given back", "porto-room": "given back"}
    assert logged(execution) == ["Tea House has paid 300", "Tea House gets 300 back"]
