"""Rerun from a step, and the start of another version: forms that follow what is chosen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from autopilot.accounts.roles import Role
from executions.models import Execution
from tests.console.conftest import Visit
from tests.console.data import INPUT, support_request
from tests.engine import SYSTEM, drain, started
from workflows.models import Workflow
from workflows.services import create_version, publish_version

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]

MakeVisit = Callable[..., Visit]


def with_another_version(workflow: Workflow) -> Workflow:
    live = workflow.versions.get().definition
    schema = {
        "type": "object",
        "properties": {"customer": {"type": "string"}, "urgency": {"enum": ["low", "high"]}},
        "required": ["customer"],
    }
    document = {**live, "version": "2.0.0", "input_schema": schema}
    publish_version(
        actor=SYSTEM, version=create_version(actor=SYSTEM, workflow=workflow, document=document)
    )
    return workflow


def test_a_step_is_chosen_its_consequences_are_read_and_it_runs_again(visit: MakeVisit) -> None:
    execution = started(support_request(), INPUT)
    drain()
    admin = visit(Role.OPERATOR, width=390)
    admin.open(f"/admin/executions/execution/{execution.pk}/steps/note/")
    assert (admin.overflow(), admin.violations()) == (0, [])
    admin.press("Rerun from here", role="link")
    admin.wait_for("at step “Note it”")
    assert "Read the request" in admin.text(".cx-plan")
    assert (admin.overflow(), admin.violations()) == (0, [])

    def choose(page: Page) -> None:
        page.get_by_label("Why?").fill("new wording")
        page.get_by_label("Customer").fill("Bakery in the Middle")
        page.get_by_label("Answer").check()
        page.locator(".cx-plan").get_by_text("at step “Answer”").wait_for()

    admin.do(choose)
    # What was typed is still there; what is taken over can be edited.
    assert admin.do(lambda page: page.get_by_label("Why?").input_value()) == "new wording"
    admin.do(lambda page: page.locator("summary", has_text="Note it").click())
    admin.do(lambda page: page.get_by_label("Output of Note it").fill('{"noted": '))
    admin.press("Rerun it")
    admin.wait_for("not valid JSON", "#errors-output-note")
    assert Execution.objects.count() == 1
    admin.do(lambda page: page.get_by_label("Output of Note it").fill('{"noted": true}'))
    admin.press("Rerun it")
    admin.wait_for("Run again from")
    drain()
    new = Execution.objects.get(rerun_of=execution)
    assert (new.state, new.input["customer"]) == ("completed", "Bakery in the Middle")
    taken = new.steps.filter(taken_over=True).order_by("seq").values_list("step_id", "output")
    assert list(taken) == [("read", {"urgent": True}), ("note", {"noted": True})]


def test_the_form_follows_the_version_and_keeps_what_fits(visit: MakeVisit) -> None:
    workflow = with_another_version(support_request())
    admin = visit(Role.OPERATOR)
    admin.open(f"/admin/executions/execution/start/{workflow.pk}/")
    admin.do(lambda page: page.get_by_label("Customer").fill("Ada"))
    admin.do(lambda page: page.get_by_label("Urgency").select_option("high"))
    admin.do(lambda page: page.get_by_label("Version", exact=True).select_option("1.0.0"))
    admin.do(lambda page: page.get_by_label("Message").wait_for())
    assert admin.do(lambda page: page.get_by_label("Customer").input_value()) == "Ada"
    assert admin.do(lambda page: page.get_by_label("Urgency").count()) == 0
    admin.do(lambda page: page.get_by_label("Message").fill("It is down."))
    admin.press("Start")
    admin.wait_for("No step has begun.")
    found = Execution.objects.select_related("version").get()
    assert (found.version.version, found.input) == (
        "1.0.0",
        {"customer": "Ada", "message": "It is down."},
    )
