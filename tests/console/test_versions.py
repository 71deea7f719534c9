"""Publishing, reviewing and taking back a version, on a phone and on a wide screen."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from autopilot.accounts.roles import Role
from tests.console.conftest import Visit
from tests.engine import SYSTEM, published, started
from workflows.services import create_version, require_review

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]

MakeVisit = Callable[..., Visit]
LOOSE = {"type": "object", "properties": {"order": {"type": "string"}}}
READ = {"id": "read", "name": "Read the order", "type": "transform", "config": {"output": 1}}
NOTE = {"id": "note", "name": "Note it", "type": "action", "config": {"action": "noop"}}


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1440, False)])
def test_from_the_guard_over_a_review_to_a_deprecation(
    visit: MakeVisit, width: int, dark: bool
) -> None:
    workflow = published([READ, NOTE], name="Orders", slug="orders", input_schema=LOOSE)
    started(workflow)
    require_review(actor=SYSTEM, workflow=workflow, required=True)
    strict = {**LOOSE, "required": ["order"]}
    document = {"name": "Orders", "input_schema": strict, "steps": [READ, NOTE]}
    create_version(actor=SYSTEM, workflow=workflow, document=document, changelog="An order's id.")
    designer = visit(Role.DESIGNER, width=width, dark=dark, name="designer")
    at = f"/admin/workflows/workflow/{workflow.pk}/"

    def look(name: str) -> None:
        if folder := os.environ.get("SHOTS"):
            path = f"{folder}/{name}-{width}.png"
            designer.do(lambda page: page.screenshot(path=path, full_page=True))
        assert (designer.overflow(), designer.violations()) == (0, [])

    designer.open(f"{at}versions/1.1.0/publish/")
    designer.wait_for("1.1.0 is too low.")
    look("publish")
    designer.press("Give it the number 2.0.0")
    designer.wait_for("2.0.0 is an honest number after 1.0.0.")
    # Who gives it another number has a hand in it.
    designer.press("Review 2.0.0", role="link")
    designer.wait_for("You wrote this draft")
    look("review-own")
    reviewer = visit(Role.ADMINISTRATOR, width=width, dark=dark, name="reviewer")
    reviewer.open(f"{at}versions/2.0.0/review/")
    reviewer.do(lambda page: page.get_by_label("Comment").fill("Good."))
    assert (reviewer.overflow(), reviewer.violations()) == (0, [])
    reviewer.press("Approve 2.0.0")
    reviewer.wait_for("What it says now is approved by")
    designer.open(f"{at}versions/2.0.0/publish/")
    look("publish-approved")
    designer.press("Publish 2.0.0")
    designer.wait_for("Version 2.0.0 is live")
    look("workflow")
    designer.open(f"{at}versions/1.0.0/deprecate/")
    designer.wait_for("1 execution on this version goes on to its end.")
    look("deprecate")
    designer.press("Deprecate 1.0.0")
    designer.wait_for("Version 1.0.0 is deprecated.")
    look("version")
