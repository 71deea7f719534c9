"""Undoing over REST and from the terminal: look first, ask, see what is left."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from executions.models import Execution
from tests.engine import drain, published, reread, run
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/executions/"
NOOP = {"action": "noop", "with": {"seat": "12A"}}
BOOK = {"id": "book", "type": "action", "config": NOOP, "compensate": NOOP}
STOP = {"id": "stop", "type": "fail", "config": {"error": "my.error", "message": "No."}}
WAIT = {"id": "wait", "type": "wait", "config": {"duration": "1h"}}


def api(role: Role = Role.OPERATOR) -> APIClient:
    client = APIClient()
    client.force_authenticate(UserFactory.create(role=role))
    return client


def compensations(client: APIClient, execution: Execution) -> list[dict]:
    return client.get(f"{URL}{execution.pk}/compensations/").data["results"]


def test_a_failed_one_is_looked_at_undone_and_done(settings):
    client, execution = api(), run(published([BOOK, STOP]))
    (call,) = compensations(client, execution)
    assert (call["step"], call["action"], call["state"]) == ("book", "noop", "pending")
    assert (call["params"], call["attempts"], call["error"]) == ({"seat": "12A"}, 0, None)
    answer = client.post(f"{URL}{execution.pk}/compensate/", {"reason": "rang"}, format="json")
    assert (answer.status_code, answer.data["state"]) == (200, "running")
    assert answer.data["reason"] == "compensating"
    entry = AuditEntry.objects.get(action="execution.compensate_requested")
    assert (entry.before["state"], entry.after["reason"]) == ("failed", "rang")
    drain()
    assert [each["state"] for each in compensations(client, execution)] == ["done"]
    read = client.get(f"{URL}{execution.pk}/").data
    assert (read["state"], read["reason"], read["error_code"]) == (
        *("failed", "compensated"),
        "my.error",
    )
    assert read["why"]["sentence"] == "Failed: No. What it did was undone (1 step)."
    again = client.post(f"{URL}{execution.pk}/compensate/", {}, format="json")
    assert (again.status_code, again.json()["error"]["code"]) == (
        409,
        "execution.nothing_to_undo",
    )


def test_cancel_takes_compensate_and_nothing_else():
    client, execution = api(), run(published([BOOK, WAIT]))
    wrong = client.post(f"{URL}{execution.pk}/cancel/", {"compensate": "yes"}, format="json")
    assert wrong.status_code == 400
    assert reread(execution).inbox_seq == execution.inbox_seq
    answer = client.post(f"{URL}{execution.pk}/cancel/", {"compensate": True}, format="json")
    assert (answer.status_code, answer.data["pending"]) == (202, ["cancel"])
    drain()
    assert (reread(execution).state, reread(execution).reason) == ("cancelled", "compensated")


def test_whoever_may_only_look_may_only_look():
    client, execution = api(Role.VIEWER), run(published([BOOK, STOP]))
    assert len(compensations(client, execution)) == 1
    assert client.post(f"{URL}{execution.pk}/compensate/").status_code == 403
    assert reread(execution).revision == execution.revision


def test_many_are_counted_first_over_rest_and_from_the_terminal():
    client, workflow = api(), published([BOOK, WAIT])
    made = [run(workflow) for _ in range(2)]
    body = {"verb": "cancel", "filter": {"workflow": workflow.slug}, "dry_run": True}
    looked = client.post(f"{URL}bulk/", {**body, "cancel": {"compensate": True}}, format="json")
    assert (looked.data["count"], looked.data["undoing"]) == (2, 2)
    assert looked.data["sentence"].endswith("2 compensations would be called.")
    out, err = io.StringIO(), io.StringIO()
    ids = [str(each.pk) for each in made]
    call_command("executions", "cancel", *ids, "--compensate", stdout=out, stderr=err)
    drain()
    assert {reread(each).reason for each in made} == {"compensated"}
    failed = run(published([BOOK, STOP], name="Other"))
    looked = client.post(
        f"{URL}bulk/", {"verb": "compensate", "ids": [failed.pk], "dry_run": True}, format="json"
    )
    assert looked.data["sentence"] == "1 execution would be undone. 1 compensation would be called."
    call_command("executions", "compensate", str(failed.pk), stdout=out, stderr=err)
    drain()
    assert reread(failed).reason == "compensated"
