"""The graph: the right steps and ways, the path of a run, a step's drawer, the items of a map."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from autopilot.accounts.roles import Role
from executions.models import Execution
from tests.console.conftest import Visit
from tests.console.data import refund, renewal, triage
from tests.engine import drain, published, run, started
from tests.integration.test_parallel import broken, nap, parallel, value

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]

MakeVisit = Callable[..., Visit]
LIST = "/admin/executions/execution/"
DRAWN = "#cx-graph[data-drawn]"


def open_drawn(visit: Visit, path: str) -> None:
    assert visit.open(path) == 200
    visit.do(lambda page: page.locator(DRAWN).wait_for())


def classes(visit: Visit, step: str) -> set[str]:
    node = f'.cx-node[data-step="{step}"]'
    found = visit.do(lambda page: page.locator(node).get_attribute("class"))
    return set((found or "").split())


def test_a_run_lights_its_path_through_branches_loops_and_a_catch(visit: MakeVisit) -> None:
    execution = run(refund(), {"amount": 250, "customer": {"name": "Bo"}})
    assert execution.state == "completed", execution.error
    admin = visit(Role.OPERATOR)
    open_drawn(admin, f"{LIST}{execution.pk}/")
    for step in ("count", "enough", "large", "check", "book", "close", "apologize"):
        assert {"cx-s-completed", "is-taken"} <= classes(admin, step), step
    for step in ("pay", "send"):
        assert {"cx-s-failed", "is-taken"} <= classes(admin, step), step
    assert "is-taken" not in classes(admin, "done")
    assert "3×" in admin.text('.cx-node[data-step="count"]')
    assert "3 attempts" in admin.text('.cx-node[data-step="send"]')

    def ways(page: Page) -> dict[str, int]:
        return {
            name: page.locator(selector).count()
            for name, selector in {
                "box": ".cx-box-group",
                "loop": ".cx-edge-loop.is-taken",
                "catch": ".cx-edge-catch.is-taken",
                "end": ".cx-terminal-last.is-taken",
            }.items()
        }

    assert admin.do(ways) == {"box": 1, "loop": 1, "catch": 1, "end": 1}
    # Rows of the timeline: each step once, however many attempts it had.
    assert admin.do(lambda page: page.locator(".cx-steps > li").count()) == 13
    assert admin.do(lambda page: page.locator("#step-11-1 .cx-bar > span").count()) == 3
    open_drawn(admin, f"/admin/workflows/workflow/{execution.workflow_id}/")
    assert admin.do(lambda page: page.locator(".cx-node").count()) == 10
    assert admin.do(lambda page: page.locator(".cx-node.is-taken").count()) == 0
    assert (admin.overflow(), admin.violations()) == (0, [])


def test_a_step_is_opened_by_mouse_and_by_keyboard(visit: MakeVisit) -> None:
    execution = run(refund(), {"amount": 250, "customer": {"name": "Bo"}})
    admin = visit(Role.VIEWER)
    open_drawn(admin, f"{LIST}{execution.pk}/")
    admin.do(lambda page: page.locator('.cx-node[data-step="send"]').click())
    admin.wait_for("The bank said no.", "dialog#cx-drawer")
    assert admin.do(lambda page: page.locator("#cx-drawer .cx-run h3.cx-attempt").count()) == 3
    assert admin.violations() == []

    def by_keyboard(page: Page) -> tuple[str, str]:
        page.keyboard.press("Escape")
        page.locator("dialog#cx-drawer[open]").wait_for(state="detached")
        page.locator('.cx-node[data-step="count"]').focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.locator("dialog#cx-drawer[open]").wait_for()
        title = page.locator("#drawer-title").inner_text()
        page.keyboard.press("Escape")
        page.locator("dialog#cx-drawer[open]").wait_for(state="detached")
        return title, str(page.evaluate("document.activeElement.dataset.step"))

    assert admin.do(by_keyboard) == ("Has it answered?", "enough")
    # A step is a link that can be sent.
    assert admin.open(f"{LIST}{execution.pk}/steps/send/") == 200
    admin.wait_for("The bank said no.")


def test_the_graph_stays_and_goes_on_while_the_page_refreshes(visit: MakeVisit) -> None:
    execution = started(renewal())
    admin = visit(Role.VIEWER)
    open_drawn(admin, f"{LIST}{execution.pk}/")
    assert "is-current" not in classes(admin, "until")
    admin.do(lambda page: page.get_by_role("button", name="Zoom in").click())
    drain()
    admin.do(lambda page: page.locator('.cx-node.is-current[data-step="until"]').wait_for())
    assert "cx-s-waiting" in classes(admin, "until")
    zoomed = "document.querySelector('.cx-graph-canvas').style.transform"
    assert admin.do(lambda page: page.evaluate(zoomed)) == "scale(1.25)"


def test_a_map_counts_its_items_and_leads_to_each(visit: MakeVisit) -> None:
    sentences = [f"Sentence {number}." for number in range(250)]
    execution = run(triage(), {"sentences": sentences})
    assert execution.state == "completed", execution.error
    admin = visit(Role.VIEWER)
    open_drawn(admin, f"{LIST}{execution.pk}/")
    assert "250 items, 2 failed" in admin.text('.cx-node[data-step="score"]')
    assert "250 items, 2 failed" in admin.text("#step-1-1 summary")
    admin.open(f"{LIST}{execution.pk}/items/score/")
    assert items_shown(admin) == (100, "0", "99")
    admin.press("Next", role="link")
    admin.do(lambda page: page.get_by_role("link", name="Item 100", exact=True).wait_for())
    admin.press("Next", role="link")
    admin.do(lambda page: page.get_by_role("link", name="Item 249", exact=True).wait_for())
    assert items_shown(admin) == (50, "200", "249")
    admin.press("Previous", role="link")
    admin.do(lambda page: page.get_by_role("link", name="Item 150", exact=True).wait_for())
    assert items_shown(admin) == (100, "100", "199")
    admin.press("failed 2", role="link")
    admin.do(lambda page: page.get_by_role("link", name="Item 199", exact=True).wait_for())
    assert items_shown(admin) == (2, "99", "199")
    assert (admin.overflow(), admin.violations()) == (0, [])
    admin.press("Item 99", role="link")
    admin.wait_for("This one is odd.")
    admin.do(lambda page: page.locator(DRAWN).wait_for())
    assert "cx-s-failed" in classes(admin, "refuse")
    assert admin.do(lambda page: page.locator(".cx-node").count()) == 3
    item = Execution.objects.get(parent=execution, item_index=99)
    assert admin.text(".cx-crumbs") == f"Executions Execution {execution.pk} Item 99 of score"
    assert admin.do(lambda page: page.url).endswith(f"{LIST}{item.pk}/")
    admin.do(lambda page: page.locator(".cx-crumbs a").last.click())
    admin.wait_for(f"Execution {execution.pk}", "h1")


def items_shown(visit: Visit) -> tuple[int, str, str]:
    """How many rows, the first item and the last."""
    rows = visit.do(lambda page: page.locator("tbody .cx-row-link").all_inner_texts())
    return len(rows), rows[0], rows[-1]


def test_branches_stand_side_by_side_with_their_states_and_lead_to_their_pages(
    visit: MakeVisit,
) -> None:
    published([value("s", 1)], slug="child", name="The child")
    call = {"id": "call", "name": "call", "type": "workflow", "config": {"workflow": "child"}}
    sides = parallel(wait_for=2, paid=[value("a", 1), call], told=nap("n"), bad=broken("b"))
    let_go = {**call, "id": "go", "name": "go", "config": {"workflow": "child", "wait": False}}
    execution = run(published([let_go, sides], name="Sides"))
    assert execution.state == "waiting"
    admin = visit(Role.OPERATOR)
    open_drawn(admin, f"{LIST}{execution.pk}/")
    titles = admin.do(lambda page: page.locator("a.cx-box-part").all_inner_texts())
    assert [" ".join(each.split()) for each in titles] == [
        "paid completed",
        "told waiting",
        "bad failed",
    ]
    assert {"cx-s-completed", "is-taken"} <= classes(admin, "call")
    assert "cx-s-waiting" in classes(admin, "n")
    assert "2 of 3 branches have ended, 1 of them without success; it needs 2" in admin.text("main")
    other = Execution.objects.get(started_by_execution=execution)
    assert str(other.pk) in admin.text("dl.cx-facts")

    def tops(page: Page) -> list[float]:
        boxes = [each.bounding_box() for each in page.locator("a.cx-box-part").all()]
        return [box["y"] for box in boxes if box]

    assert admin.do(tops) == sorted(admin.do(tops))
    paid = Execution.objects.get(parent=execution, item_index=0)
    admin.do(lambda page: page.locator("a.cx-box-part").first.click())
    admin.do(lambda page: page.wait_for_url(f"**{LIST}{paid.pk}/"))
    assert "Branch paid of p" in admin.text("h1")
    assert f"Execution {execution.pk}" in admin.text("nav[aria-label='Breadcrumb'], .cx-crumbs")
    child = Execution.objects.get(parent=paid)
    open_drawn(admin, f"{LIST}{child.pk}/")
    assert "step call" in admin.text("dl.cx-facts")
