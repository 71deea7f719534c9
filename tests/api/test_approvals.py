"""Approvals over REST and from the terminal."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from executions.models import Approval, ApprovalDecision
from tests.approvals import after, asked, person
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/executions/approvals/"
FORM = {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}


def client(user: Any) -> APIClient:
    found = APIClient()
    found.force_authenticate(user)
    return found


def post(api: APIClient, approval: Approval, verb: str, **body: Any) -> Any:
    return api.post(f"{URL}{approval.pk}/{verb}/", body, format="json")


def refused(answer: Any) -> tuple[int, str, list[str]]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], [each["path"] for each in error["details"]]


def test_somebody_who_is_asked_needs_no_role_to_find_read_and_decide_it() -> None:
    anna, bo = person("anna", "Finance"), person("bo")
    approval = asked({"context": {"sum": "{{ input.sum }}"}, "form": FORM}, {"sum": 7})
    api = client(anna)
    (row,) = api.get(URL, {"of": "waiting"}).json()["results"]
    assert (row["id"], row["title"], row["may_decide"]) == (approval.pk, "Pay?", True)
    assert row["assignees"] == {"users": [], "groups": ["Finance"]}
    assert "context" not in row
    assert api.get(URL, {"of": "mine"}).json()["results"] == []
    detail = api.get(f"{URL}{approval.pk}/").json()
    assert (detail["context"], detail["form"], detail["decisions"]) == ({"sum": 7}, FORM, [])
    assert detail["links"]["execution"].endswith(f"/executions/{approval.execution_id}/")
    # Bo is not asked: for him there is nothing.
    assert client(bo).get(URL).json()["results"] == []
    assert refused(client(bo).get(f"{URL}{approval.pk}/"))[:2] == (404, "approval.not_found")
    assert refused(post(client(bo), approval, "approve"))[:2] == (404, "approval.not_found")

    answer = post(api, approval, "approve", answer={"sum": "x"})
    assert refused(answer) == (400, "approval.answer", ["$.answer.sum"])
    assert not ApprovalDecision.objects.exists()
    for _ in range(2):
        answer = post(api, approval, "approve", answer={"sum": 5}, comment="ok")
        assert (answer.status_code, answer.json()["state"]) == (200, "approved")
    (said,) = answer.json()["decisions"]
    assert (said["by"], said["answer"], said["via"]) == ("anna", {"sum": 5}, "api")
    assert refused(post(api, approval, "reject"))[:2] == (409, "approval.decided")
    assert after(approval).state == "completed"
    assert api.get(URL, {"of": "waiting"}).json()["results"] == []


def test_taking_handing_on_and_what_is_refused() -> None:
    anna = person("anna", "Finance")
    person("cleo", "Board")
    viewer = client(UserFactory.create(role=Role.VIEWER))
    approval = asked()
    api = client(anna)
    assert post(api, approval, "claim").json()["claimed_by"] == "anna"
    assert refused(post(viewer, approval, "claim"))[:2] == (403, "approval.not_asked")
    assert refused(post(viewer, approval, "approve"))[:2] == (403, "approval.not_asked")
    assert post(api, approval, "release").json()["claimed_by"] is None
    assert refused(post(api, approval, "reassign")) == (400, "invalid", ["$.reason"])
    answer = post(api, approval, "reassign", users=["x"], reason="r")
    assert refused(answer) == (400, "approval.invalid", ["$.users[0]"])
    assert refused(post(api, approval, "approve", commment="?")) == (400, "invalid", ["$.commment"])
    answer = post(api, approval, "reassign", groups=["Board"], reason="They know it")
    assert answer.json()["assignees"] == {"users": [], "groups": ["Board"]}
    assert refused(api.get(f"{URL}{approval.pk}/"))[0] == 404
    assert viewer.get(URL, {"state": "open", "of": "all"}).json()["results"][0]["id"] == approval.pk
    assert refused(viewer.get(URL, {"state": "undecided"})) == (400, "invalid", ["$.state"])
    assert refused(viewer.get(f"{URL}abc/"))[:2] == (404, "approval.not_found")
    assert APIClient().get(URL).status_code == 401


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("executions", *words, stdout=out)
    return out.getvalue()


def test_an_operator_lists_and_decides_from_the_terminal(capsys: pytest.CaptureFixture) -> None:
    person("anna", "Finance")
    person("cleo", "Board")
    approval = asked({"quorum": 1})
    line = run("approvals")
    assert line.split() == [
        *(str(approval.pk), "open", "0/1", "Pay?", "of", "execution", str(approval.execution_id)),
        *("(test)", "from", "group", "Finance", "just", "now"),
    ]
    assert json.loads(run("approvals", "--json", "--of", "anna"))["groups"] == ["Finance"]
    assert run("approvals", "--of", "cleo") == ""
    with pytest.raises(SystemExit):
        run("approve", str(approval.pk), "--as", "cleo")
    assert "It asks group Finance; not cleo" in capsys.readouterr().err
    assert not ApprovalDecision.objects.exists()
    assert run("reassign", str(approval.pk), "--group", "Board", "--reason", "r") == (
        f"{approval.pk}  now asks group Board\n"
    )
    said = run("reject", str(approval.pk), "--as", "cleo", "--comment", "no")
    assert said == f"{approval.pk}  rejected; it is rejected\n"
    assert after(approval).error_code == "approval.rejected"
    entry = AuditEntry.objects.get(action="approval.rejected")
    assert (entry.actor_name, entry.after["via"]) == ("cleo", "command")
    assert entry.after["typed_by"].endswith(", by manage.py")
    assert run("approvals", "--state", "rejected").split()[1] == "rejected"
