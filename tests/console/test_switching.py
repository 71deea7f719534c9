"""Pausing a workflow from its page, letting it go on, and limiting calls."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from autopilot.accounts.roles import Role
from executions.models import ActionLimit, Hold
from tests.console.conftest import Visit
from tests.console.data import renewal
from tests.engine import started

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]


def test_an_operator_holds_things_back_and_lets_them_go_on(visit: Callable[..., Visit]) -> None:
    workflow = renewal()
    started(workflow)
    admin = visit(Role.OPERATOR, width=390)
    admin.open(f"/admin/workflows/workflow/{workflow.pk}/")
    admin.press("Pause", role="link")
    admin.wait_for("Now, of its executions, 1 has not begun.")

    def fill(page: Page, until: str) -> None:
        page.get_by_label("Everything").check()
        page.get_by_label("Until (UTC)").fill(until)
        page.get_by_label("Why?").fill("The bank is away.")

    admin.do(lambda page: fill(page, "2020-01-01T10:00"))
    admin.press("Pause it")
    admin.wait_for("The moment has to be in the future.")
    assert (admin.overflow(), admin.violations()) == (0, [])
    assert admin.do(lambda page: page.get_by_label("Why?").input_value()) == "The bank is away."
    assert not Hold.objects.exists()
    admin.do(lambda page: fill(page, "2099-01-01T10:00"))
    admin.press("Pause it")
    admin.wait_for("The workflow is paused.")
    assert (admin.overflow(), admin.violations()) == (0, [])
    admin.open("/admin/executions/hold/")
    admin.wait_for("Paused workflows")
    assert (admin.overflow(), admin.violations()) == (0, [])
    admin.press("Resume Renewal", role="link")
    admin.press("Resume it")
    admin.wait_for("Resumed the workflow Renewal.", "body")
    assert not Hold.objects.exists()
    admin.open("/admin/executions/actionlimit/add/")
    admin.do(lambda page: page.get_by_label("Pattern").fill("crm.*"))
    admin.press("Limit these calls")
    admin.wait_for("Say how many at once, a rate, or both.")
    assert (admin.overflow(), admin.violations()) == (0, [])
    admin.do(lambda page: page.get_by_label("At once").fill("3"))
    admin.press("Limit these calls")
    admin.wait_for("No call waits because of a limit.")
    assert (admin.overflow(), admin.violations()) == (0, [])
    assert ActionLimit.objects.get().max_concurrent == 3
