"""Pausing workflows and queues in the console: who may, what is said, what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from autopilot.accounts.roles import Role
from autopilot.common import clock
from executions import holding
from executions.models import Execution, Hold
from tests.engine import SYSTEM, published, started
from tests.factories import UserFactory
from workflows.models import Workflow

pytestmark = pytest.mark.django_db

HOLDS = "/admin/executions/hold/"
WORKFLOWS = "/admin/workflows/workflow/"
WAIT = [{"id": "wait", "type": "wait", "config": {"duration": "1h"}}]


@pytest.fixture(autouse=True)
def _two_queues(settings: Any) -> None:
    settings.AUTOPILOT_QUEUES = ["default", "bulk"]


def client_of(role: Role) -> Client:
    client = Client()
    client.force_login(UserFactory.create(role=role, username=role.value, is_staff=True))
    return client


def renewal() -> Workflow:
    workflow = published(WAIT, name="Renewal", slug="renewal")
    started(workflow)
    started(workflow, queue="bulk")
    return workflow


def text(client: Client, path: str) -> str:
    return " ".join(client.get(path).content.decode().split())


def test_an_operator_pauses_a_workflow_changes_it_and_resumes_it() -> None:
    workflow, client = renewal(), client_of(Role.OPERATOR)
    path = f"{HOLDS}workflows/{workflow.pk}/pause/"
    page = f"{WORKFLOWS}{workflow.pk}/"
    assert "Now, of its executions, 2 have not begun." in text(client, path)
    response = client.post(path, {"mode": "starts", "reason": "the bank is away", "until": ""})
    assert (response.status_code, response["Location"]) == (302, page)
    hold = Hold.objects.get()
    assert (hold.mode, hold.reason, hold.until, hold.actor) == (
        "starts",
        "the bank is away",
        None,
        "Operator",
    )
    shown = text(client, page)
    assert "No new starts: paused by Operator" in shown
    assert "until somebody resumes it. Reason: the bank is away" in shown
    # What would be refused is not offered.
    assert "/admin/executions/execution/start/" not in shown
    assert "paused: no new starts" in text(client, WORKFLOWS)
    assert "Nothing new is accepted of the workflow" in text(client, "/admin/")
    assert 'value="the bank is away"' in text(client, path)
    assert client.post(path, {"mode": "all", "until": "2999-12-31T23:30"}).status_code == 302
    hold = Hold.objects.get()
    assert (hold.mode, hold.until and hold.until.isoformat()) == (
        "all",
        "2999-12-31T23:30:00+00:00",
    )
    assert "paused: nothing runs" in text(client, WORKFLOWS)
    resume = f"{HOLDS}workflows/{workflow.pk}/resume/"
    assert "What was held up goes on within a second or two" in text(client, resume)
    assert client.post(resume)["Location"] == page
    assert not Hold.objects.exists()
    assert "cx-notice-apart" not in text(client, page)
    # A second click finds it done.
    assert client.post(resume)["Location"] == page


def test_a_queue_is_paused_from_its_page_and_home_says_so() -> None:
    renewal()
    client = client_of(Role.OPERATOR)
    assert "No worker serves any of the queues default, bulk, where executions wait." in text(
        client, HOLDS
    )
    path = f"{HOLDS}queues/bulk/pause/"
    assert "Now, of its executions, 1 has not begun." in text(client, path)
    assert client.post(path, {"mode": "all", "reason": "deploying."})["Location"] == HOLDS
    shown = text(client, HOLDS)
    assert (
        "No worker serves the queue default, where executions wait. The queue bulk is paused."
        in (shown)
    )
    assert "Nothing runs: paused by Operator" in shown
    Execution.objects.update(runnable_at=clock.now() - timedelta(minutes=5))
    home = text(client, "/admin/")
    assert '<a href="/admin/executions/hold/#queue-bulk">the queue “bulk”</a>' in home
    assert "because: deploying." in home
    assert client.post(f"{HOLDS}queues/bulk/resume/")["Location"] == HOLDS
    assert not Hold.objects.exists()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"mode": "all", "until": "2020-01-01T00:00"}, "The moment has to be in the future."),
        ({"mode": "all", "until": "soon"}, "A moment such as 2030-01-31T12:00 is expected."),
        ({"mode": "some"}, "Choose one of the two."),
        ({}, "Choose one of the two."),
        ({"mode": "all", "reason": "x" * 201}, "At most 200 characters are kept."),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_paused(
    typed: dict[str, str], said: str
) -> None:
    response = client_of(Role.OPERATOR).post(f"{HOLDS}queues/default/pause/", typed)
    assert response.status_code == 400
    assert said in response.content.decode()
    assert not Hold.objects.exists()


def test_a_viewer_sees_what_is_paused_and_can_change_nothing() -> None:
    workflow, client = renewal(), client_of(Role.VIEWER)
    holding.pause_workflow(workflow=workflow, actor=SYSTEM, reason="it charges twice")
    queues, page = text(client, HOLDS), text(client, f"{WORKFLOWS}{workflow.pk}/")
    assert "it charges twice" in queues
    assert "it charges twice" in page
    assert "/resume/" not in queues + page
    assert "/pause/" not in queues + page
    for of in (f"workflows/{workflow.pk}", "queues/default"):
        for verb in ("pause", "resume"):
            path = f"{HOLDS}{of}/{verb}/"
            found = (client.get(path).status_code, client.post(path, {"mode": "all"}).status_code)
            assert found == (403, 403)
    assert [hold.reason for hold in Hold.objects.all()] == ["it charges twice"]


def test_what_is_not_there_is_not_found() -> None:
    client = client_of(Role.OPERATOR)
    for path in ("queues/none/pause/", "workflows/99/resume/", f"workflows/{10**25}/pause/"):
        assert client.get(HOLDS + path).status_code == 404
