"""Two versions side by side: the sentence, the graph with its marks and ghosts, the changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from autopilot.accounts.roles import Role
from tests.console.compared import two_versions
from tests.console.conftest import Visit

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]


def test_a_comparison_is_found_read_and_sent(visit: Callable[..., Visit]) -> None:
    old, _ = two_versions()
    viewer = visit(Role.VIEWER)
    viewer.open(f"/admin/workflows/workflow/{old.workflow_id}/versions/1.1.0/")
    viewer.press("Compare", role="link")
    viewer.wait_for("1 step added, 1 removed, 1 moved, 1 renamed, 2 changed")
    viewer.wait_for("The smallest honest number is 2.0.0, because:")
    viewer.wait_for("1.1.0 is too low.")
    viewer.do(lambda page: page.locator("#cx-graph[data-drawn]").wait_for())

    def marks(page: Page) -> dict[str, str]:
        found: dict[str, str] = page.evaluate(
            "Object.fromEntries([...document.querySelectorAll('.cx-node')].map((node) => "
            "[node.dataset.step, node.querySelector('.cx-mark').textContent]))"
        )
        return found

    assert viewer.do(marks) == {
        "inspect": "changed",
        "label": "moved",
        "pause": "changed",
        "refund": "added",
        "finish": "renamed",
        "weigh": "removed",
    }
    viewer.do(lambda page: page.locator('.cx-node[data-step="inspect"]').click())
    viewer.do(lambda page: page.locator("#change-inspect:target ins").wait_for())
    assert viewer.text("#change-inspect ins").strip() == "closely"
    viewer.do(lambda page: page.locator("#text summary").click())
    viewer.wait_for("lines alike")
    assert (viewer.overflow(), viewer.violations()) == (0, [])
    viewer.do(lambda page: page.get_by_label("Later").select_option("1.0.0"))
    viewer.press("Compare")
    viewer.wait_for("Nothing is different: both do the same.")
    assert "/diff/?from=1.0.0&to=1.0.0" in viewer.do(lambda page: page.url)
    # Whoever gets the address sees the same, on a phone at night too.
    other = visit(Role.VIEWER, dark=True, width=390, name="other")
    other.open(f"/admin/workflows/workflow/{old.workflow_id}/diff/?from=1.0.0&to=1.1.0#text")
    other.do(lambda page: page.locator("#cx-graph[data-drawn]").wait_for())
    other.wait_for("lines alike")
    assert (other.overflow(), other.violations()) == (0, [])
