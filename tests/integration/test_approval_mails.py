"""What falls due of approvals: mails, each once, the second line, and the link in a mail."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.test import Client

from autopilot.common import clock
from executions.approvals.deciding import decide
from executions.approvals.due import do_due
from executions.approvals.handling import reassign
from executions.approvals.mail import send_mails
from executions.models import Approval, ApprovalDecision, ApprovalMail, Execution
from executions.runtime.faults import inject
from executions.runtime.process import WorkerProcess
from tests.approvals import acting, after, asked, person
from tests.engine import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

FORM = {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}


@pytest.fixture(autouse=True)
def _with_mails(settings: Any) -> None:
    settings.AUTOPILOT_APPROVAL_MAILS = True
    settings.AUTOPILOT_PUBLIC_URL = "https://autopilot.example"


def due_now() -> list[tuple[str, str]]:
    """Do what is due and send it; answers recipients and subjects of what went out."""
    mail.outbox.clear()
    while do_due(clock.now()):
        pass
    send_mails()
    return [(each.to[0], each.subject) for each in mail.outbox]


def link() -> str:
    """The path of the link in the last mail."""
    (found,) = re.findall(r"https://autopilot\.example(/\S+)", mail.outbox[-1].body)
    return str(found)


def test_those_who_are_asked_are_told_and_reminded_once_and_then_others_may_decide() -> None:
    anna = person("anna", "Finance", email="anna@example.com")
    person("bo", "Finance", email="")
    dora = person("dora", email="dora@example.com")
    config = {"remind_after": "10m", "escalate_to": {"users": ["dora"]}}
    starter = person("cleo", "Finance", email="cleo@example.com")
    approval = asked(config, by=starter, timeout="1h")
    # Cleo has been asked before it was known who started it; what counts is now.
    Approval.objects.update(requester=starter)
    assert due_now() == [("anna@example.com", "Pay?")]
    body = mail.outbox[0].body
    assert body.startswith("anna,\n\na decision is asked of you:\n\n    Pay?\n")
    assert f"Workflow: Test, execution {approval.execution_id}\nDue: " in body
    assert due_now() == []
    assert not Approval.objects.decidable_by(acting(dora)).exists()

    Approval.objects.update(remind_at=clock.now())
    assert due_now() == [
        ("anna@example.com", "Reminder: Pay?"),
        ("dora@example.com", "Reminder: Pay?"),
    ]
    assert due_now() == []
    row = Approval.objects.get()
    assert row.escalated_at is not None
    decide(approval=row, actor=acting(dora), approve=True)
    assert after(row).state == "completed"
    assert anna.pk


def test_what_was_settled_meanwhile_is_not_sent_and_a_bad_address_keeps_nobody_back(
    monkeypatch: Any,
) -> None:
    anna = person("anna", email="anna@example.com")
    person("bo", email="bo@example.com")
    settled = asked({"assignees": {"users": ["anna"]}})
    asked({"assignees": {"users": ["anna", "bo"]}})
    while do_due(clock.now()):
        pass
    decide(approval=settled, actor=acting(anna), approve=True)
    send = EmailBackend.send_messages

    def refuse_anna(self: Any, messages: Any) -> int:
        if messages[0].to == ["anna@example.com"]:
            raise ValueError("no such mailbox")
        return send(self, messages)

    monkeypatch.setattr(EmailBackend, "send_messages", refuse_anna)
    assert due_now() == [("bo@example.com", "Pay?")]
    assert sorted(ApprovalMail.objects.values_list("failure", flat=True)) == [
        "",
        "ValueError: no such mailbox",
        "settled before it was sent",
    ]


def test_a_mail_whose_sender_died_is_not_sent_a_second_time() -> None:
    person("anna", "Finance", email="anna@example.com")
    asked({})

    class Died(BaseException):
        pass

    def die() -> None:
        raise Died

    inject("mails.after_taking", die)
    try:
        with pytest.raises(Died):
            due_now()
    finally:
        inject("mails.after_taking", None)
    assert ApprovalMail.objects.get().taken_at is not None
    assert (due_now(), mail.outbox) == ([], [])


def test_without_a_mail_server_nothing_is_taken_and_so_nothing_lost(monkeypatch: Any) -> None:
    person("anna", "Finance", email="anna@example.com")
    asked()

    def unreachable(self: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(EmailBackend, "open", unreachable)
    with pytest.raises(ConnectionRefusedError):
        due_now()
    assert ApprovalMail.objects.get().taken_at is None
    monkeypatch.undo()
    assert due_now() == [("anna@example.com", "Pay?")]


def test_mails_can_be_turned_off_and_new_assignees_are_told(settings: Any) -> None:
    anna = person("anna", "Finance", email="anna@example.com")
    person("bo", email="bo@example.com")
    settings.AUTOPILOT_APPROVAL_MAILS = False
    approval = asked()
    assert due_now() == []
    settings.AUTOPILOT_APPROVAL_MAILS = True
    reassign(approval=approval, actor=acting(anna), users=["bo"], reason="r")
    assert due_now() == [("bo@example.com", "Pay?")]


def test_a_link_decides_once_and_only_when_its_button_is_pressed() -> None:
    person("anna", "Finance", email="anna@example.com")
    approval = asked({"form": FORM, "context": {"order": [{"a": 1}]}})
    due_now()
    path = link()
    browser = Client(enforce_csrf_checks=True)
    # What scanners do: open it, again and again.
    for method in (browser.get, browser.head, browser.get):
        answer = method(path)
        assert answer.status_code == 200
        assert "no-store" in answer["Cache-Control"]
    assert not ApprovalDecision.objects.exists()
    page = browser.get(path).content.decode()
    assert "For <strong>anna</strong>" in page
    token = re.findall(r'csrfmiddlewaretoken" value="(\w+)"', page)[0]
    given = {"csrfmiddlewaretoken": token, "decision": "approve", "comment": "typed"}
    assert Client(enforce_csrf_checks=True).post(path, given).status_code == 403
    for wrong in ({}, {"decision": ""}):
        answer = browser.post(path, {**given, "in$.sum": "abc", **wrong})
        assert answer.status_code == 400
        assert "typed</textarea>" in answer.content.decode()
        assert 'value="abc"' in answer.content.decode()
    assert not ApprovalDecision.objects.exists()
    answer = browser.post(path, {**given, "in$.sum": "7"}, follow=True)
    assert "You have approved this" in answer.content.decode()
    decision = ApprovalDecision.objects.get()
    assert (decision.by, decision.via, decision.answer) == ("anna", "link", {"sum": 7})
    assert ApprovalMail.objects.get().used_at is not None
    # A second time, whatever it says, it only shows what was decided.
    answer = browser.post(path, {**given, "decision": "reject"})
    assert "You have approved this" in answer.content.decode()
    assert ApprovalDecision.objects.count() == 1
    assert after(approval).output["answer"] == {"sum": 7}


def test_a_link_is_for_one_person_and_one_approval_and_ends(settings: Any) -> None:
    anna = person("anna", "Finance", email="anna@example.com")
    approval = asked()
    due_now()
    path = link()
    browser = Client()
    assert browser.get(path[:-3] + "xx/").status_code == 404
    settings.AUTOPILOT_APPROVAL_LINK_HOURS = 0
    assert "This link is too old" in browser.get(path).content.decode()
    settings.AUTOPILOT_APPROVAL_LINK_HOURS = 72
    reassign(
        approval=approval,
        actor=acting(anna),
        users=[person("bo", email="bo@example.com").username],
        reason="r",
    )
    answer = browser.post(path, {"decision": "approve"})
    assert answer.status_code == 200
    assert "It asks bo; not anna." in answer.content.decode()
    anna.is_active = False
    anna.save()
    assert browser.get(path).status_code == 404
    assert not ApprovalDecision.objects.exists()


def test_a_link_can_ask_for_the_person_to_be_signed_in_or_only_lead_to_the_console(
    settings: Any,
) -> None:
    settings.AUTOPILOT_APPROVAL_LINKS = "login"
    anna = person("anna", "Finance", email="anna@example.com")
    bo = person("bo")
    approval = asked()
    due_now()
    path = link()
    browser = Client()
    assert browser.get(path).headers["Location"].startswith("/admin/login/?next=/approvals/")
    assert browser.post(path, {"decision": "approve"}).status_code == 302
    browser.force_login(bo)
    assert browser.post(path, {"decision": "approve"}).status_code == 403
    assert not ApprovalDecision.objects.exists()
    browser.force_login(anna)
    assert browser.post(path, {"decision": "reject"}).status_code == 302
    assert after(approval).error_code == "approval.rejected"
    settings.AUTOPILOT_APPROVAL_LINKS = "off"
    assert browser.get(path).status_code == 404
    asked()
    due_now()
    assert re.search(r"/admin/executions/approval/\d+/$", link())


def test_a_mail_of_an_expired_question_and_its_link_say_so() -> None:
    person("anna", "Finance", email="anna@example.com")
    approval = asked(timeout="1h")
    due_now()
    past = clock.now() - timedelta(seconds=1)
    Approval.objects.filter(pk=approval.pk).update(expires_at=past)
    answer = Client().post(link(), {"decision": "approve"})
    assert "The time for a decision was over" in answer.content.decode()
    assert not ApprovalDecision.objects.exists()
    assert Execution.objects.get().state == "waiting"


def test_the_clocks_leader_sends_what_is_due() -> None:
    person("anna", "Finance", email="anna@example.com")
    asked()
    mail.outbox.clear()
    process = WorkerProcess(["default"])
    try:
        wait_until(lambda: ApprovalMail.objects.filter(sent_at__isnull=False).exists())
    finally:
        process.close()
    assert [each.to for each in mail.outbox] == [["anna@example.com"]]
