"""The inbox and the page of an approval, without a browser."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from autopilot.accounts.roles import Role
from executions.models import Approval, ApprovalDecision
from tests.approvals import after, asked, person
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/admin/executions/approval/"
FORM = {
    "type": "object",
    "properties": {"sum": {"type": "number", "maximum": 10}},
    "required": ["sum"],
}


def client(user: Any) -> Client:
    found = Client()
    found.force_login(user)
    return found


def test_staff_without_a_role_find_and_decide_what_they_are_asked() -> None:
    anna = person("anna", "Finance", is_staff=True)
    assert client(person("bo")).get(URL).status_code == 302
    browser = client(anna)
    assert "All done" in browser.get(URL).content.decode()
    approval = asked({"form": FORM, "context": {"lines": [{"a": 1}, {"a": 2}]}})
    assert "Your decision is asked for." in browser.get("/admin/").content.decode()
    inbox = browser.get(URL).content.decode()
    assert "1 waits for your word." in inbox
    assert 'class="cx-badge"' in inbox
    page = f"{URL}{approval.pk}/"
    assert '<th scope="col">A</th>' in browser.get(page).content.decode()

    for given in ({"decision": ""}, {"decision": "approve"}):
        answer = browser.post(page, {"comment": "typed", "in$.sum": "11", **given})
        assert answer.status_code == 400
        assert "typed</textarea>" in answer.content.decode()
        assert 'value="11"' in answer.content.decode()
    assert "This must be 10 at most." in answer.content.decode()
    assert not ApprovalDecision.objects.exists()
    answer = browser.post(page, {"decision": "approve", "in$.sum": "7", "comment": "ok"})
    assert answer.headers["Location"] == URL
    assert "You have approved “Pay?”." in browser.get(URL).content.decode()
    assert after(approval).output["answer"] == {"sum": 7}
    assert "You have approved this" in browser.get(page).content.decode()
    answer = browser.post(page, {"decision": "reject"})
    assert answer.status_code == 409
    assert "a decision can&#x27;t be changed" in answer.content.decode()


def test_taking_and_asking_others_from_the_page() -> None:
    browser = client(person("anna", "Finance", is_staff=True))
    person("cleo", "Board")
    approval = asked()
    page = f"{URL}{approval.pk}/"
    assert browser.get(f"{page}claim/").status_code == 302
    assert Approval.objects.get().claimed_by is None
    assert "You have taken it" in browser.post(f"{page}claim/", follow=True).content.decode()
    assert "Take it" in browser.post(f"{page}release/", follow=True).content.decode()
    typed = {"users": "cleo, nobody", "groups": "", "reason": "because"}
    answer = browser.post(f"{page}reassign/", typed)
    assert answer.status_code == 400
    assert "There is no active user &#x27;nobody&#x27;." in answer.content.decode()
    assert 'value="cleo, nobody"' in answer.content.decode()
    answer = browser.post(f"{page}reassign/", {**typed, "users": "cleo"})
    assert answer.headers["Location"] == URL
    assert browser.get(page).status_code == 404


def test_tabs_pages_and_who_sees_what() -> None:
    viewer = client(UserFactory.create(role=Role.VIEWER, is_staff=True))
    anna = person("anna", "Finance", is_staff=True)
    approval = asked({"assignees": {"users": ["anna"]}})
    row = Approval.objects.values().get()
    copies = [{**row, "id": None, "attempt": number + 2} for number in range(60)]
    Approval.objects.bulk_create(Approval(**each) for each in copies)
    assert "Nothing waits for your word." in viewer.get(URL).content.decode()
    first = viewer.get(f"{URL}?tab=all")
    assert len(first.context["views"]) == 50
    second = viewer.get(URL + first.context["older_url"])
    assert len(second.context["views"]) == 11
    back = viewer.get(URL + second.context["newer_url"])
    assert len(back.context["views"]) == 50
    assert len(client(anna).get(f"{URL}?tab=mine").context["views"]) == 1
    assert "Nothing here" in viewer.get(f"{URL}?tab=all&show=settled").content.decode()
    of_execution = viewer.get(f"{URL}?execution={approval.execution_id}")
    assert len(of_execution.context["views"]) == 50
    execution = viewer.get(f"/admin/executions/execution/{approval.execution_id}/")
    assert f'href="{URL}{approval.pk}/"' in execution.content.decode()
