"""Rolling a version out from a workflow's page, and taking it back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from autopilot.accounts.roles import Role
from executions.bulk_start import start_many
from tests.console.conftest import Visit
from tests.engine import SYSTEM, drain
from tests.rollouts import two_versions
from workflows.models import Rollout

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
def test_a_version_is_rolled_out_watched_and_taken_back(
    visit: Callable[..., Visit], width: int, dark: bool
) -> None:
    workflow = two_versions()
    admin = visit(Role.ADMINISTRATOR, width=width, dark=dark)
    admin.open(f"/admin/workflows/workflow/{workflow.pk}/")
    admin.press("Roll out", role="link")
    admin.wait_for("Some of the starts take it, all others 1.0.0")

    def fill(page: Page, key: str) -> None:
        page.get_by_label("Percentage of the starts").fill("50")
        page.get_by_label("Key").fill(key)
        page.get_by_label("Once so many ended").fill("4")

    admin.do(lambda page: fill(page, "input."))
    admin.press("Begin the rollout")
    admin.wait_for("Nothing was rolled out.")
    assert (admin.overflow(), admin.violations()) == (0, [])
    admin.do(lambda page: fill(page, ""))
    admin.press("Begin the rollout")
    admin.wait_for("50 % of the starts take 1.1.0, all others 1.0.0.")
    requests = [{"version": "1.1.0"}] * 3 + [{"version": "1.0.0"}] * 9
    start_many(workflow=workflow, actor=SYSTEM, requests=requests)
    drain()
    admin.open(f"/admin/workflows/workflow/{workflow.pk}/")
    admin.wait_for("Too little is known of 1.1.0 yet: 3 executions have ended, and 4 are needed")
    assert (admin.overflow(), admin.violations()) == (0, [])
    admin.press("Roll back", role="link")
    admin.wait_for("Every start takes 1.0.0 again. No execution of 1.1.0 is under way.")
    assert (admin.overflow(), admin.violations()) == (0, [])
    admin.do(lambda page: page.get_by_label("Why?").fill("It charges twice."))
    admin.press("Roll it back")
    admin.wait_for("Every start takes 1.0.0 again.", "body")
    rollout = Rollout.objects.get()
    assert rollout.state == "rolled_back"
    admin.open(f"/admin/workflows/rollout/{rollout.pk}/")
    admin.wait_for("It charges twice.")
    assert (admin.overflow(), admin.violations()) == (0, [])
