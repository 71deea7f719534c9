"""Every page, light and dark, wide and narrow: nothing overflows or complains, axe is content.

The `visit` fixture also fails for console errors and requests to other hosts.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Role
from tests.console.conftest import Visit
from tests.console.data import one_of_each
from tests.factories import PASSWORD
from workflows.models import Workflow
from workflows.services import create_version

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]

MakeVisit = Callable[..., Visit]


@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 390)])
def test_pages_are_in_shape(visit: MakeVisit, dark: bool, width: int) -> None:
    """Opened in one theme and width, with axe; then looked at in the other ones too."""
    pages = addresses()
    admin = visit(Role.ADMINISTRATOR, dark=dark, width=width)
    found: dict[str, object] = {}
    for path in pages:
        status = admin.open(path)
        complaints = admin.violations()
        overflows = [admin.overflow()]
        admin.turn(dark=not dark)
        overflows.append(admin.overflow())
        admin.turn(dark=dark)
        if (status, overflows, complaints) != (200, [0, 0], []):
            found[path] = status, overflows, complaints
    assert found == {}


def addresses() -> list[str]:
    executions = one_of_each()
    workflow = Workflow.objects.get(slug="support-request")
    draft = create_version(
        actor=Actor.system("tests"),
        workflow=workflow,
        document=workflow.versions.get().definition,
    )
    at = f"/admin/workflows/workflow/{workflow.pk}/"
    return [
        "/admin/",
        "/admin/workflows/workflow/",
        at,
        f"{at}versions/1.0.0/",
        f"{at}versions/{draft.version}/edit/",
        f"{at}versions/{draft.version}/publish/",
        "/admin/workflows/workflow/add/",
        "/admin/executions/execution/",
        "/admin/executions/execution/?q=nothing-like-this",
        *(f"/admin/executions/execution/{each.pk}/" for each in executions.values()),
        f"/admin/executions/execution/{executions['waiting'].pk}/cancel/",
        f"/admin/executions/execution/start/{workflow.pk}/",
        "/admin/auth/user/",
        "/admin/auth/group/",
        "/admin/accounts/auditentry/",
        "/admin/accounts/securityevent/",
    ]


def test_the_first_steps_are_shown_where_nothing_ran(visit: MakeVisit) -> None:
    admin = visit(Role.ADMINISTRATOR)
    admin.open("/admin/")
    assert "Nothing has run yet. Here is how to begin." in admin.text()
    assert admin.violations() == []


def test_the_sign_in_page_is_in_shape(visit: MakeVisit) -> None:
    admin = visit(Role.VIEWER)
    admin.do(lambda page: page.context.clear_cookies())
    assert admin.open("/admin/") == 200
    assert admin.text("h1") == "AutopilotCX"
    assert (admin.overflow(), admin.violations()) == (0, [])

    def sign_in(page: Page) -> None:
        page.get_by_label("Username").fill("admin")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/admin/")

    admin.do(sign_in)
    assert "Here is how to begin." in admin.text()


def test_a_viewer_sees_everything_and_no_verb(visit: MakeVisit) -> None:
    waiting = one_of_each()["waiting"]
    viewer = visit(Role.VIEWER, name="viewer")
    viewer.open(f"/admin/executions/execution/{waiting.pk}/")
    viewer.wait_for("Waits at step Wait a month")
    assert viewer.do(lambda page: page.locator(".cx-verbs").count()) == 0
    viewer.open(f"/admin/workflows/workflow/{waiting.workflow_id}/")
    assert viewer.do(lambda page: page.locator(".cx-verbs a, .cx-verbs button").count()) == 0
    links = "#nav-sidebar-apps li a > span:last-child"
    navigation = viewer.do(lambda page: page.locator(links).all_inner_texts())
    shown = ["Home", "Approvals", "Executions", "Signals", "Workflows", "Rollouts"]
    assert navigation == [*shown, "Health", "Queues", "Limits of calls", "Migrations"]
