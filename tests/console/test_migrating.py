"""Moving executions to another version with keyboard and mouse, as a designer does it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from autopilot.accounts.roles import Role
from executions.migrating.batches import advance_all
from tests.console.conftest import Visit
from tests.engine import published, reread, run
from tests.migrating import next_version

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("width", [1440, 390])
def test_from_a_version_to_moved_and_back(visit: Callable[..., Visit], width: int) -> None:
    pay = {"id": "pay", "name": "Wait for the money", "type": "signal"}
    config = {"signal": "paid"}
    inner = {"id": "note", "name": "Note", "type": "action", "config": {"action": "noop"}}
    group = {"id": "after", "name": "After", "type": "group", "config": {"steps": [inner]}}
    nap = {"id": "nap", "name": "Nap", "type": "wait", "config": {"duration": "2h"}}
    workflow = published([nap, {**pay, "config": config}, group])
    asleep = run(workflow)
    workflow_2 = [{**pay, "id": "payment", "config": config}, group]
    next_version(workflow, workflow_2)
    designer = visit(Role.DESIGNER, width=width, dark=width == 390)
    designer.open(f"/admin/workflows/workflow/{workflow.pk}/versions/1.1.0/")
    designer.do(lambda page: page.get_by_role("link", name="Move live executions here").click())
    designer.wait_for("0 of 1 execution can be moved now.")
    designer.wait_for("becomes no step of 1.1.0")
    shoot(designer, f"plan-{width}")
    assert (designer.overflow(), designer.violations()) == (0, [])
    # With a version that keeps the wait, it can go on.
    next_version(workflow, [{**nap, "id": "sleep"}, *workflow_2])
    designer.open(f"/admin/workflows/workflow/{workflow.pk}/versions/1.2.0/")
    designer.do(lambda page: page.get_by_role("link", name="Move live executions here").click())
    designer.do(lambda page: page.get_by_label("They run").select_option("1.0.0"))
    designer.do(lambda page: page.get_by_role("button", name="Look again").click())
    designer.wait_for("1 of 1 execution can be moved now.")
    designer.do(lambda page: page.get_by_label("Why?").fill("names people understand"))
    designer.do(lambda page: page.get_by_role("button", name="Move 1").press("Enter"))
    designer.wait_for("still to be moved")
    advance_all()
    designer.wait_for("Of 1 execution: 1 moved.")
    shoot(designer, f"moved-{width}")
    assert (designer.overflow(), designer.violations()) == (0, [])
    assert reread(asleep).current_step == "sleep"
    designer.open(f"/admin/executions/execution/{asleep.pk}/")
    designer.wait_for("From 1.0.0 to 1.2.0")
    shoot(designer, f"execution-{width}")
    designer.do(lambda page: page.go_back())
    designer.do(lambda page: page.get_by_role("button", name="Put back").click())
    designer.wait_for("putting back")
    advance_all()
    designer.wait_for("1 put back.")
    assert reread(asleep).version.version == "1.0.0"
    designer.open("/admin/executions/migration/")
    designer.wait_for("Of 1 execution: 1 put back.")
    shoot(designer, f"list-{width}")
    assert (designer.overflow(), designer.violations()) == (0, [])


def shoot(person: Any, name: str) -> None:
    """Keep a picture where SHOTS says, for whoever works on the page."""
    folder = os.environ.get("SHOTS")
    if folder:
        person.do(lambda page: page.screenshot(path=f"{folder}/{name}.png", full_page=True))
