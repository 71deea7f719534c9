"""What operators see and do of undoing: the calls first, then what became of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from autopilot.accounts.roles import Role
from executions.models import Execution
from tests.console.conftest import Visit
from tests.console.test_operating import page_of
from tests.engine import drain, published, reread, started

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]

MakeVisit = Callable[..., Visit]
REFUSED = {"action": "probe.raise", "with": {"how": "terminal"}}


def trip(last: dict[str, Any], **document: Any) -> Execution:
    steps = [
        {"id": "flight", "name": "Book the flight", "compensate": {"action": "noop"}},
        {"id": "hotel", "name": "Book the hotel", "compensate": REFUSED},
        {"id": "car", "name": "Rent a car", "compensate": {"action": "noop"}},
    ]
    config = {"action": "noop", "with": {"customer": "Ada"}}
    booked = [{**step, "type": "action", "config": config} for step in steps]
    execution = started(published([*booked, last], name="Trip", **document))
    drain()
    return reread(execution)


PAY = {
    "id": "pay",
    "name": "Pay",
    "type": "fail",
    "config": {"error": "card.refused", "message": "The card was refused."},
}


def test_a_failed_one_is_undone_from_its_page_and_says_what_is_left(visit: MakeVisit) -> None:
    execution = trip(PAY)
    admin = visit(Role.OPERATOR)
    admin.open(page_of(execution))
    admin.press("Undo", role="link")
    admin.wait_for("3 calls, in this order")
    assert "Rent a car noop Book the hotel probe.raise Book the flight noop" in admin.text(
        "dialog ol"
    )
    admin.do(lambda page: page.get_by_label("Why?").fill("the customer rang"))
    admin.press("Undo it")
    admin.wait_for("Ready to undo what it did")
    drain()
    admin.wait_for("2 of 3 steps undone; the rest is left to people.")
    assert admin.do(verbs) == ["Undo", "Rerun"]
    assert "The account is closed." in admin.text("section.cx-notice")
    admin.wait_for("Undo Book the flight")
    shown = admin.do(lambda page: [each.inner_text() for each in page.locator(NODE).all()])
    assert [each.split(" · ")[0] for each in shown] == ["undone", "not undone", "undone", "failed"]
    assert not admin.complaints


NODE = ".cx-node-sub"


def verbs(page: Page) -> list[str]:
    return [each.inner_text().split("\n")[-1] for each in page.locator(".cx-verbs a").all()]


def test_a_cancel_undoes_only_if_that_is_ticked(visit: MakeVisit) -> None:
    wait = {"id": "wait", "name": "Wait", "type": "wait", "config": {"duration": "1h"}}
    execution = trip(wait)
    admin = visit(Role.OPERATOR)
    admin.open(page_of(execution))
    admin.press("Cancel", role="link")
    admin.wait_for("That would be 3 calls, in this order")
    admin.do(lambda page: page.get_by_label("Undo first what its steps have done").check())
    admin.press("Cancel it")
    drain()
    admin.wait_for("cancelled", ".cx-eyebrow")
    assert "Cancelled by admin. 2 of 3 steps undone" in admin.text("#sentence")
    assert reread(execution).reason == "compensation_failed"
    assert not admin.complaints
