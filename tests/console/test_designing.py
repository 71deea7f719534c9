"""What designers do: write a definition, hear what is wrong with it, publish it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from autopilot.accounts.roles import Role
from tests.console.conftest import Visit
from workflows.models import Workflow, WorkflowVersion

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]

MakeVisit = Callable[..., Visit]


def write(visit: Visit, text: str) -> None:
    visit.do(lambda page: page.get_by_label("Definition").fill(text))


def test_a_workflow_is_written_corrected_and_published(visit: MakeVisit) -> None:
    designer = visit(Role.DESIGNER)
    designer.open("/admin/workflows/workflow/")
    designer.do(lambda page: page.get_by_role("link", name="New workflow").first.click())
    wrong = json.dumps(
        {
            "name": "Tickets",
            "steps": [
                {"name": "One", "type": "action", "config": {"action": "nope"}},
                {"name": "Two", "type": "dance"},
            ],
        },
        indent=2,
    )
    write(designer, wrong)
    designer.press("Save draft")
    designer.wait_for("nothing is saved", '[role="alert"]')
    problems = designer.text('[role="alert"]')
    assert "$.steps[0].config.action line 8" in problems
    assert "$.steps[1].type line 13" in problems
    assert designer.do(lambda page: page.get_by_label("Definition").input_value()) == wrong
    assert Workflow.objects.count() == 0

    write(designer, '{"name": "Tickets",')
    designer.press("Check without saving")
    designer.wait_for("One thing is wrong; nothing is saved.")

    steps = [{"name": "One", "type": "action", "config": {"action": "noop"}}]
    right = json.dumps({"name": "Tickets", "steps": steps})
    write(designer, right)
    designer.press("Check without saving")
    designer.wait_for("The definition has no problems.")
    designer.press("Save draft")
    designer.wait_for("Version 1.0.0 is saved as a draft.")
    designer.press("Publish", role="link")
    designer.wait_for("Its content is frozen")
    designer.press("Publish 1.0.0")
    designer.wait_for("Version 1.0.0 is live: new executions run it.")
    assert WorkflowVersion.objects.get().state == "published"


def test_a_draft_is_deleted_after_asking(visit: MakeVisit) -> None:
    designer = visit(Role.DESIGNER)
    designer.open("/admin/workflows/workflow/add/")
    designer.press("Save draft")
    designer.wait_for("saved as a draft")
    designer.press("Delete draft", role="link")
    designer.wait_for("Its definition is gone for good.")
    assert WorkflowVersion.objects.count() == 1
    designer.press("Delete draft")
    designer.wait_for("The draft 1.0.0 is deleted.")
    assert WorkflowVersion.objects.count() == 0
