"""Sending a signal from the page of the execution that waits for it, and what was received."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from autopilot.accounts.roles import Role
from executions.models import Signal
from executions.signalling import send_signal
from tests.console.conftest import Visit
from tests.engine import SYSTEM, drain, published, reread, run

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]

SCHEMA = {
    "type": "object",
    "required": ["sum"],
    "properties": {"sum": {"type": "number", "title": "Sum"}, "note": {"type": "string"}},
}
CONFIG = {"signal": "payment.received", "correlation": "{{ input.order }}", "schema": SCHEMA}
STEPS = [{"id": "paid", "name": "Paid", "type": "signal", "timeout": "2d", "config": CONFIG}]


def test_a_signal_is_sent_with_the_fields_of_its_schema(visit: Callable[..., Visit]) -> None:
    execution = run(published(STEPS), {"order": "A-17"})
    admin = visit(Role.OPERATOR)
    admin.open(f"/admin/executions/execution/{execution.pk}/")
    sentence = admin.text("#sentence")
    assert "for the signal payment.received with correlation A-17" in sentence
    admin.press("Send the signal", role="link")
    admin.do(lambda page: page.get_by_label("Sum").fill("a lot"))
    admin.press("Send")
    admin.wait_for("It was not sent.")
    assert admin.text("#in-sum-errors") == "Expected a number, got text."
    assert (admin.overflow(), admin.violations()) == (0, [])
    assert not Signal.objects.exists()

    def correct(page: Page) -> None:
        page.get_by_label("Sum").fill("12.5")
        page.get_by_label("Note").fill("thanks")

    admin.do(correct)
    admin.press("Send")
    admin.wait_for("The signal payment.received was sent.")
    drain()
    assert reread(execution).output == {"sum": 12.5, "note": "thanks"}


def test_what_was_received_is_listed(visit: Callable[..., Visit]) -> None:
    send_signal(name="payment.received", correlation="B-1", payload={"sum": "x"}, actor=SYSTEM)
    send_signal(name="payment.received", correlation="B-1", payload={"sum": 2}, actor=SYSTEM)
    send_signal(name="parcel.sent", correlation="B-2", actor=SYSTEM)
    execution = run(published(STEPS), {"order": "B-1"})
    viewer = visit(Role.VIEWER)
    viewer.open("/admin/executions/signal/")
    rows = viewer.do(lambda page: page.locator("tbody tr").all_inner_texts())
    assert [each.split()[0] for each in rows] == ["parcel.sent", *["payment.received"] * 2]
    assert "Kept" in rows[0]
    assert "Consumed" in rows[1]
    assert "It breaks the schema at $.payload.sum" in rows[2]
    assert (viewer.overflow(), viewer.violations()) == (0, [])
    viewer.open(f"/admin/executions/signal/?execution={execution.pk}&state=consumed")
    assert viewer.do(lambda page: page.locator("tbody tr").count()) == 1
    viewer.open("/admin/executions/signal/?state=offered")
    assert "No signal matches." in viewer.text("main")
