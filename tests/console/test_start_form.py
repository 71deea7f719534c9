"""The form that an input schema asks for: it starts, it keeps what was typed, it says what is wrong
where it is wrong.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from autopilot.accounts.roles import Role
from executions.models import Execution
from tests.console.conftest import Visit
from tests.console.data import refund

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]

MakeVisit = Callable[..., Visit]


def test_the_fields_of_the_schema_start_an_execution(visit: MakeVisit) -> None:
    workflow = refund()
    admin = visit(Role.OPERATOR)
    admin.open(f"/admin/workflows/workflow/{workflow.pk}/")
    admin.press("Start", role="link")

    def fill(page: Page) -> None:
        page.get_by_label("Amount").fill("twelve")
        page.get_by_label("Email").fill("no address")
        page.get_by_label("Since").fill("2026-01-31")
        page.get_by_label("Tier").select_option("gold")
        page.get_by_label("Orders").fill("A-1\nA-2\n")
        page.get_by_label("Express").select_option("Yes")
        page.get_by_label("Anything").fill('{"a": [1]}')

    admin.do(fill)
    admin.press("Start")
    admin.wait_for("Nothing was started.")
    assert admin.text("#in-amount-errors") == "Expected a number, got text."
    assert admin.text("#in-customer-name-errors") == "This is needed."
    assert "format" in admin.text("#in-customer-email-errors")
    assert admin.text('[role="alert"]').endswith("Please look at: Amount, Name, Email.")
    assert admin.do(lambda page: page.get_by_label("Amount").input_value()) == "twelve"
    assert admin.do(lambda page: page.get_by_label("Orders").input_value()) == "A-1\nA-2\n"
    assert (admin.overflow(), admin.violations()) == (0, [])
    assert Execution.objects.count() == 0

    def correct(page: Page) -> None:
        page.get_by_label("Amount").fill("12.5")
        page.get_by_label("Name").fill("Bo")
        page.get_by_label("Email").fill("bo@example.com")
        page.get_by_label("Name").press("Enter")

    admin.do(correct)
    admin.wait_for("No step has begun.")
    assert Execution.objects.get().input == {
        "amount": 12.5,
        "customer": {
            "name": "Bo",
            "email": "bo@example.com",
            "since": "2026-01-31",
            "tier": "gold",
        },
        "pieces": 1,
        "express": True,
        "orders": ["A-1", "A-2"],
        "anything": {"a": [1]},
    }


def test_what_was_typed_goes_from_the_form_to_json_and_back(visit: MakeVisit) -> None:
    workflow = refund()
    admin = visit(Role.OPERATOR)
    admin.open(f"/admin/executions/execution/start/{workflow.pk}/")
    admin.do(lambda page: page.get_by_label("Amount").fill("7"))
    admin.press("JSON")
    text = admin.do(lambda page: page.get_by_label("Input", exact=True).input_value())
    assert text == '{\n  "amount": 7,\n  "customer": {},\n  "pieces": 1\n}'
    changed = '{"amount": 8, "customer": {"name": "Bo"}}'
    admin.do(lambda page: page.get_by_label("Input", exact=True).fill(changed))
    admin.press("Form")
    assert admin.do(lambda page: page.get_by_label("Amount").input_value()) == "8"
    assert admin.do(lambda page: page.get_by_label("Name").input_value()) == "Bo"
    assert admin.do(lambda page: page.get_by_label("Pieces").input_value()) == ""
    admin.press("JSON")
    unknown = '{"amount": 8, "colour": "red"}'
    admin.do(lambda page: page.get_by_label("Input", exact=True).fill(unknown))
    admin.press("Form")
    admin.wait_for("The form has no place for everything in this input")
    assert admin.do(lambda page: page.get_by_label("Input", exact=True).input_value()) == unknown
    assert Execution.objects.count() == 0
