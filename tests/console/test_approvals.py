"""The inbox and an approval's page in a browser, and the page behind the link in a mail."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from playwright.sync_api import Page

from autopilot.accounts.roles import Role
from autopilot.common.database_time import database_now
from executions.approvals.links import link_of
from executions.models import Approval, ApprovalDecision, ApprovalMail
from tests.approvals import after, asked, person
from tests.console.conftest import Visit

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]

MakeVisit = Callable[..., Visit]
URL = "/admin/executions/approval/"
SHOTS = os.environ.get("SHOTS")
FORM = {
    "type": "object",
    "properties": {
        "amount": {"type": "number", "maximum": 500, "description": "At most 500."},
        "reason": {"enum": ["damaged", "late", "other"]},
        "notes": {"type": "string"},
        "inform": {"type": "boolean", "default": True, "title": "Tell the customer"},
    },
    "required": ["amount", "reason"],
}
CONFIG = {
    "title": "Refund {{ input.amount }} € to {{ input.customer }}?",
    "description": "The parcel came back.\n\nMore than an agent may decide alone.",
    "context": "{{ input }}",
    "assignees": {"users": ["admin"], "groups": ["Finance"]},
    "form": FORM,
    "remind_after": "1d",
    "escalate_to": {"groups": ["Board"]},
}
DATA = {
    "amount": 320.5,
    "customer": "Ada Lovelace",
    "is_vip": True,
    "address": {"street": "12 St James's Square", "city": "London", "notes": None},
    "orders": [
        {"id": "A-17", "item": "Difference engine, small", "price": 300},
        {"id": "A-18", "item": "Punched cards", "price": 20.5},
    ],
    "tags": ["returned", "parcel"],
}


def shoot(visit: Visit, name: str) -> None:
    if SHOTS:
        visit.do(lambda page: page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True))


def refund(**fields: Any) -> Approval:
    Group.objects.get_or_create(name="Board")
    return asked({**CONFIG, **fields}, DATA, timeout="3d")


@pytest.mark.parametrize(
    ("dark", "width"),
    # axe takes most of the time; each theme and each width once is enough.
    [(False, 1440), (True, 390)],
)
def test_pages_are_in_shape(visit: MakeVisit, settings: Any, dark: bool, width: int) -> None:
    settings.AUTOPILOT_PUBLIC_URL = ""
    admin = visit(Role.ADMINISTRATOR, dark=dark, width=width)
    found: dict[str, object] = {}

    def look(path: str, name: str) -> None:
        status = admin.open(path)
        wrong = (status, admin.overflow(), admin.violations())
        if wrong != (200, 0, []):
            found[name] = wrong
        shoot(admin, f"{name}-{'dark' if dark else 'light'}-{width}")

    look(URL, "empty")
    bo = person("bo", "Finance", is_staff=True)
    approval = refund()
    settled = refund(quorum=2, title="Pay the invoice?", form=None, assignees=CONFIG["assignees"])
    ApprovalDecision.objects.create(
        approval=settled,
        principal="user:0",
        by="cleo",
        approved=True,
        comment="Seen the parcel.",
        via="api",
        at=database_now(),
    )
    Approval.objects.filter(pk=settled.pk).update(claimed_by=bo, claimed_at=database_now())
    look(URL, "inbox")
    look(f"{URL}?tab=all&show=any", "all")
    look(f"{URL}{approval.pk}/", "approval")
    look(f"{URL}{settled.pk}/", "quorum")
    look(f"/admin/executions/execution/{approval.execution_id}/", "execution")
    look("/admin/", "home")
    mail = ApprovalMail.objects.create(
        approval=approval, user=bo, kind="asked", due_at=database_now()
    )
    look(link_of(mail), "link")
    assert found == {}


def test_a_form_is_filled_in_refused_corrected_and_approved_with_the_keyboard(
    visit: MakeVisit,
) -> None:
    admin = visit(Role.ADMINISTRATOR)
    approval = refund()
    admin.open("/admin/")
    assert "1 approval waits for your decision" in admin.text()
    assert "1" in admin.text("#nav-sidebar-apps .cx-badge")
    admin.press("1 approval waits", role="link")
    admin.press("Refund 320.5 € to Ada Lovelace?", role="link")
    admin.press("Take it")
    admin.wait_for("You have taken it")

    def fill(page: Page) -> None:
        page.get_by_label("Amount").fill("501")
        # Enter in a field decides nothing.
        page.get_by_label("Amount").press("Enter")

    admin.do(fill)
    admin.wait_for("Nothing was decided: choose Approve or Reject.")
    assert not ApprovalDecision.objects.exists()

    def go_on(page: Page) -> None:
        page.get_by_label("Comment").fill("As agreed")
        page.get_by_label("Comment").press("Tab")
        page.keyboard.press("Enter")

    admin.do(go_on)
    admin.wait_for("This must be 500 at most.")
    shoot(admin, "errors")
    assert admin.do(lambda page: page.get_by_label("Comment").input_value()) == "As agreed"

    def correct(page: Page) -> None:
        page.get_by_label("Amount").fill("320.5")
        page.get_by_label("Reason").select_option("late")

    admin.do(correct)
    admin.press("Approve")
    admin.wait_for("You have approved “Refund 320.5 € to Ada Lovelace?”.")
    assert "All done" in admin.text()
    shoot(admin, "done")
    assert after(approval).output["answer"] == {"amount": 320.5, "reason": "late", "inform": True}
    admin.open(f"{URL}{approval.pk}/")
    shoot(admin, "decided")


def test_a_question_appears_in_the_inbox_without_reloading(visit: MakeVisit) -> None:
    admin = visit(Role.ADMINISTRATOR)
    admin.open(URL)
    admin.wait_for("All done")
    refund()
    admin.wait_for("Refund 320.5 € to Ada Lovelace?")
    assert "1 waits for your word." in admin.text()


def test_the_page_behind_a_link_rejects_on_a_phone(visit: MakeVisit, settings: Any) -> None:
    settings.AUTOPILOT_PUBLIC_URL = ""
    phone = visit(Role.VIEWER, width=390, name="viewer")
    phone.do(lambda page: page.context.clear_cookies())
    anna = person("anna", "Finance")
    person("admin")
    approval = refund()
    mail = ApprovalMail.objects.create(
        approval=approval, user=anna, kind="asked", due_at=database_now()
    )
    assert phone.open(link_of(mail)) == 200
    assert (phone.overflow(), phone.violations()) == (0, [])
    assert not ApprovalDecision.objects.exists()
    phone.do(lambda page: page.get_by_label("Comment").fill("Not without the parcel"))
    phone.press("Reject")
    phone.wait_for("You have rejected this")
    shoot(phone, "link-done")
    assert after(approval).error["message"] == "anna rejected it: Not without the parcel"
