"""What designers do beside writing: a draft is deleted after asking."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autopilot.accounts.roles import Role
from tests.console.conftest import Visit
from workflows.models import WorkflowVersion

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]

MakeVisit = Callable[..., Visit]


def test_a_draft_is_deleted_after_asking(visit: MakeVisit) -> None:
    designer = visit(Role.DESIGNER)
    designer.open("/admin/workflows/workflow/add/")
    designer.do(lambda page: page.locator("#cx-desk[data-ready]").wait_for())
    designer.press("Save draft")
    designer.wait_for("Draft 1.0.0 is saved.")
    designer.press("Back", role="link")
    designer.press("Delete draft", role="link")
    designer.wait_for("Its definition is gone for good.")
    assert WorkflowVersion.objects.count() == 1
    designer.press("Delete draft")
    designer.wait_for("The draft 1.0.0 is deleted.")
    assert WorkflowVersion.objects.count() == 0
