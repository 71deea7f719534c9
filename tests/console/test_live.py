"""Pages go on without being loaded again, by the stream of events or without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autopilot.accounts.roles import Role
from executions.services import pause_execution, resume_execution
from tests.console.conftest import Visit
from tests.console.data import renewal
from tests.engine import SYSTEM, drain, reread, started

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]

MakeVisit = Callable[..., Visit]
# Lost with every loading of the page.
MARK = "window.mark = 'still here'"
IS_MARKED = "window.mark === 'still here'"
STREAM = "**/api/v1/**/events/**"


def path_of(execution: Any) -> str:
    return f"/admin/executions/execution/{execution.pk}/"


def pause(execution: Any) -> None:
    pause_execution(execution=reread(execution), actor=SYSTEM, reason="stock-taking")
    drain()


def test_pages_change_without_being_loaded_again(visit: MakeVisit) -> None:
    execution = started(renewal())
    drain()
    page_of_one = visit(Role.OPERATOR)
    the_list, home = visit(Role.OPERATOR, name="second"), visit(Role.OPERATOR, name="third")
    page_of_one.open(path_of(execution))
    the_list.open("/admin/executions/execution/")
    home.open("/admin/")
    page_of_one.do(lambda page: page.locator("summary", has_text="Wait a month").click())
    # What somebody has at hand stays: what is typed, ticked, chosen, open, in focus.
    the_list.do(lambda page: page.get_by_label("Search", exact=True).fill("typed"))
    the_list.do(lambda page: page.get_by_label(f"Tick execution {execution.pk}").check())
    the_list.do(lambda page: page.get_by_role("link", name=f"Execution {execution.pk}").focus())
    for each in (page_of_one, the_list, home):
        each.do(lambda page: page.evaluate(MARK))
    pause(execution)
    page_of_one.wait_for("paused", ".cx-eyebrow")
    the_list.wait_for("paused", "#cx-live tbody")
    the_list.wait_for("paused", "#cx-chips")
    home.wait_for("has been paused", ".cx-needs")
    for each in (page_of_one, the_list, home):
        assert each.do(lambda page: page.evaluate(IS_MARKED))
        assert each.do(lambda page: page.locator("#cx-lost").is_hidden())
    assert page_of_one.do(lambda page: page.locator("details[open]").count()) == 1
    assert the_list.do(lambda page: page.get_by_label("Search", exact=True).input_value()) == (
        "typed"
    )
    ticked = the_list.do(lambda page: page.locator("input:checked").get_attribute("value"))
    assert ticked == str(execution.pk)
    focused = the_list.do(lambda page: page.evaluate("document.activeElement.ariaLabel"))
    assert focused == f"Execution {execution.pk}"


def test_without_the_stream_the_page_says_so_asks_and_comes_back_to_it(visit: MakeVisit) -> None:
    execution = started(renewal())
    drain()
    admin = visit(Role.OPERATOR)
    admin.do(lambda page: page.route(STREAM, lambda route: route.abort()))
    admin.open(path_of(execution))
    admin.do(lambda page: page.evaluate(MARK))
    admin.wait_for("Live updates are lost: this page looks for changes every 2 seconds", "#cx-lost")
    assert admin.violations() == []
    pause(execution)
    admin.wait_for("paused", ".cx-eyebrow")
    assert admin.do(lambda page: page.locator("#cx-lost").is_visible())
    admin.do(lambda page: page.unroute(STREAM))
    admin.do(lambda page: page.locator("#cx-lost").wait_for(state="hidden"))
    resume_execution(execution=reread(execution), actor=SYSTEM)
    drain()
    admin.wait_for("waiting", ".cx-eyebrow")
    assert admin.do(lambda page: page.evaluate(IS_MARKED))
    # The browser reports the requests that it was made to fail.
    admin.complaints[:] = [each for each in admin.complaints if "ERR_FAILED" not in each]
