"""What operators do: start, watch, pause, resume, cancel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from autopilot.accounts.roles import Role
from executions.models import Execution, StateTransition
from tests.console.conftest import Visit
from tests.console.data import refusal, renewal, support_request
from tests.engine import drain, reread, started

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]

MakeVisit = Callable[..., Visit]
LIST = "/admin/executions/execution/"


def page_of(execution: Execution) -> str:
    return f"{LIST}{execution.pk}/"


def test_an_execution_is_started_from_its_workflow_and_watched_to_its_end(
    visit: MakeVisit,
) -> None:
    workflow = support_request()
    admin = visit(Role.OPERATOR)
    admin.open(f"/admin/workflows/workflow/{workflow.pk}/")
    assert "Version 1.0.0 is live. Nothing ran in the last 24 hours." in admin.text()
    admin.press("Start", role="link")
    admin.do(lambda page: page.get_by_label("Customer").fill("Bakery on the Corner"))
    admin.do(lambda page: page.get_by_label("Message").fill("The orders page is down."))
    admin.press("Start")
    admin.wait_for("No step has begun.")
    execution = Execution.objects.get()
    assert execution.principal.startswith("user:")
    assert "no worker serves the queue “default”" in admin.text("#sentence")
    drain()
    # Nobody reloads the page.
    admin.wait_for("Answer")
    admin.wait_for("completed", ".cx-eyebrow")
    assert admin.text("#sentence").endswith("after 3 steps.")
    assert '"due_hours": 4' in admin.text("#output ~ .cx-json")
    assert admin.do(lambda page: page.locator("#cx-live").get_attribute("hx-get")) is None


def test_a_wrong_input_is_explained_and_kept(visit: MakeVisit) -> None:
    workflow = support_request()
    admin = visit(Role.OPERATOR)
    admin.open(f"{LIST}start/{workflow.pk}/")
    admin.press("JSON")
    typed = '{\n  "customer": 7,\n  "message": "down"\n}'
    admin.do(lambda page: page.get_by_label("Input", exact=True).fill(typed))
    admin.press("Start")
    admin.wait_for("Nothing was started.")
    problems = admin.text('[role="alert"]')
    assert "$.input.customer line 2" in problems
    assert admin.do(lambda page: page.get_by_label("Input", exact=True).input_value()) == typed
    assert Execution.objects.count() == 0


def test_an_execution_is_paused_resumed_and_cancelled_through_its_page(
    visit: MakeVisit,
) -> None:
    execution = started(renewal())
    drain()
    admin = visit(Role.OPERATOR)
    admin.open(page_of(execution))
    admin.wait_for("Waits at step Wait a month for a timer that is due in 29 d 23 h.")
    ask(admin, "Pause", "the contract is being changed")
    assert "It is asked to pause" in admin.text("#sentence")
    drain()
    admin.wait_for("paused", ".cx-eyebrow")
    assert "by admin just now: the contract is being changed." in admin.text("#sentence")
    ask(admin, "Resume", "")
    drain()
    admin.wait_for("waiting", ".cx-eyebrow")
    ask(admin, "Cancel", "the customer has left")
    drain()
    admin.wait_for("cancelled", ".cx-eyebrow")
    assert admin.text("#sentence").endswith("the customer has left.")
    assert admin.do(lambda page: page.locator(".cx-verbs a").all_inner_texts()) == [
        "restart_alt\nRerun"
    ]
    assert reread(execution).state == "cancelled"
    targets = StateTransition.objects.filter(execution=execution).values_list("target", flat=True)
    assert list(targets.order_by("seq")) == [
        "initialized",
        "running",
        "waiting",
        "paused",
        "resumed",
        "running",
        "waiting",
        "cancelled",
    ]


def ask(visit: Visit, verb: str, reason: str) -> None:
    """Press a verb, read its consequences in the dialog, say why, and confirm."""
    visit.press(verb, role="link")
    visit.do(lambda page: page.locator("dialog[open]").wait_for())
    assert visit.do(lambda page: page.locator("dialog li").count()) >= 2
    visit.do(lambda page: page.get_by_label("Why?").fill(reason))
    visit.press(f"{verb} it")
    visit.do(lambda page: page.locator("dialog[open]").wait_for(state="detached"))


def test_what_is_open_stays_open_while_the_page_refreshes(visit: MakeVisit) -> None:
    execution = started(renewal())
    drain()
    admin = visit(Role.OPERATOR)
    admin.open(page_of(execution))
    admin.do(lambda page: page.locator("summary", has_text="Wait a month").click())
    admin.wait_for("id until")
    # Something else happens to it.
    Execution.objects.filter(pk=execution.pk).update(revision=execution.revision + 100)
    admin.do(lambda page: page.locator("#cx-live").dispatch_event("cx:news"))
    admin.do(lambda page: page.wait_for_function(CHANGED.format(execution.revision + 100)))
    assert admin.do(lambda page: page.locator("details#step-1-1").get_attribute("open")) == ""
    assert admin.do(lambda page: page.evaluate("location.hash")) == "#step-1-1"


CHANGED = "document.getElementById('cx-live').getAttribute('hx-get').includes('seen={}-')"


def test_a_lost_connection_is_said_and_found_again(visit: MakeVisit) -> None:
    execution = started(renewal())
    drain()
    admin = visit(Role.OPERATOR)
    admin.open(page_of(execution))
    admin.do(lambda page: page.context.set_offline(True))
    admin.wait_for("The connection is lost", "#cx-lost")
    admin.do(lambda page: page.context.set_offline(False))
    admin.do(lambda page: page.locator("#cx-lost").wait_for(state="hidden"))
    # The browser and htmx report the requests that failed while it was offline.
    expected = ("ERR_INTERNET_DISCONNECTED", "htmx:")
    admin.complaints[:] = [
        each for each in admin.complaints if not any(words in each for words in expected)
    ]


def test_a_failure_is_told_on_home_and_leads_to_its_error(visit: MakeVisit) -> None:
    execution = started(refusal())
    drain()
    admin = visit(Role.OPERATOR)
    admin.open("/admin/")
    assert "One thing needs you." in admin.text()
    admin.press("1 execution of Refund check", role="link")
    admin.press(f"Execution {execution.pk}", role="link")
    admin.wait_for("Failed at step Refuse just now: Above the limit of 100.")
    assert admin.text("#error") == "refund.limit"


def test_the_keyboard_alone_reaches_a_verb_and_leaves_it_again(visit: MakeVisit) -> None:
    execution = started(renewal())
    drain()
    admin = visit(Role.OPERATOR)
    admin.open(page_of(execution))

    def work(page: Page) -> str:
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # skip to the content
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "verb-pause":
                break
        page.keyboard.press("Enter")
        page.locator("dialog[open]").wait_for()
        page.keyboard.press("Escape")
        page.locator("dialog[open]").wait_for(state="detached")
        return str(page.evaluate("document.activeElement.id"))

    assert admin.do(work) == "verb-pause"
    assert reread(execution).state == "waiting"
