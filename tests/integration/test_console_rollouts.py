"""Rollouts in the console: what is shown, what a verb says before it is done, who may."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from autopilot.accounts.roles import Role
from executions import rollouts as measuring
from executions.models import Execution
from tests.engine import SYSTEM, started
from tests.factories import UserFactory
from tests.rollouts import key_for, rolling, two_versions
from workflows.models import Rollout
from workflows.rollouts import rollback_rollout, stop_rollout
from workflows.services import create_version, publish_version

pytestmark = pytest.mark.django_db
ROLLOUTS = "/admin/workflows/rollout/"
WORKFLOWS = "/admin/workflows/workflow/"
BEGIN = {
    "version": "1.1.0",
    "percent": "12,5",
    "key": "input.customer",
    "max_failure_percent": "5",
    "window": "30m",
    "min_executions": "20",
    "margin_percent": "",
    "reason": "a new tax",
}


def client_of(role: Role) -> Client:
    client = Client()
    client.force_login(UserFactory.create(role=role, username=role.value, is_staff=True))
    return client


@pytest.fixture
def client() -> Client:
    return client_of(Role.ADMINISTRATOR)


def text(client: Client, path: str, status: int = 200) -> str:
    response = client.get(path)
    assert response.status_code == status
    return " ".join(response.content.decode().split())


def test_a_rollout_begins_is_raised_and_promoted_from_the_workflows_page(client: Client) -> None:
    workflow = two_versions()
    page, begin = f"{WORKFLOWS}{workflow.pk}/", f"{ROLLOUTS}add/{workflow.pk}/"
    assert begin in text(client, page)
    assert 'value="1.1.0" selected' in text(client, begin)
    response = client.post(begin, BEGIN)
    assert (response.status_code, response["Location"]) == (302, page)
    rollout = Rollout.objects.get()
    assert (float(rollout.percent), rollout.window_seconds, rollout.margin_percent) == (
        12.5,
        1800.0,
        None,
    )
    shown = text(client, page)
    for said in (
        "Version 1.0.0 is live.",
        "12.5 % of the starts take 1.1.0 by the key input.customer, all others 1.0.0.",
        "Too little is known of 1.1.0 yet: 0 executions have ended, and 20 are needed",
    ):
        assert said in shown
    assert begin not in shown
    assert "1.1.0 for 12.5 %" in text(client, WORKFLOWS)
    assert shown.count(">12.5 % of the starts</span>") == 1
    ask = f"{ROLLOUTS}{rollout.pk}/percentage/"
    assert 'value="12.5"' in text(client, ask)
    assert client.post(ask, {"percent": "50", "reason": "so far so good"})["Location"] == page
    assert "50 % of the starts take 1.1.0" in text(client, page)
    detail = text(client, f"{ROLLOUTS}{rollout.pk}/")
    for said in ("From 12.5 % to 50 %", "so far so good", "Began with 12.5 %", "a new tax"):
        assert said in detail
    assert client.post(f"{ROLLOUTS}{rollout.pk}/promote/")["Location"] == page
    shown = text(client, page)
    assert "Version 1.1.0 is live." in shown
    assert "of the starts</span>" not in shown
    assert "Promoted: every start takes it" in text(client, f"{ROLLOUTS}{rollout.pk}/")
    assert "promoted" in text(client, ROLLOUTS)
    # What would not begin any more says so instead of asking.
    assert client.get(f"{ROLLOUTS}{rollout.pk}/rollback/").status_code == 302


def test_a_rollback_says_what_it_touches_before_it_does_it(client: Client) -> None:
    rollout = rolling(50)
    started(rollout.workflow, version="1.1.0")
    started(rollout.workflow, version="1.1.0")
    shown = text(client, f"{ROLLOUTS}{rollout.pk}/rollback/")
    assert "Every start takes 1.0.0 again. The 2 executions of 1.1.0 under way go on" in shown
    assert "1.1.0 is deprecated" in shown
    client.post(f"{ROLLOUTS}{rollout.pk}/rollback/", {"reason": "it charges twice"})
    row = Rollout.objects.get()
    assert (row.state, row.candidate.state) == ("rolled_back", "deprecated")
    assert "it charges twice" in text(client, f"{ROLLOUTS}{rollout.pk}/")


def test_a_stop_is_news_until_somebody_does_something_about_it(client: Client) -> None:
    rollout = rolling(50)
    evidence = measuring.measure(rollout, rollout.started_at).as_dict()
    evidence |= {
        "finding": "fails",
        "candidate": {"ended": 40, "failed": 9, "failure_percent": 22.5, "is_capped": False},
        "error_codes": {"bank.away": 9},
    }
    stop_rollout(rollout=rollout, evidence=evidence, reason="9 of 40 executions failed.")
    page = text(client, f"{WORKFLOWS}{rollout.workflow_id}/")
    assert "The rollout of 1.1.0 was stopped by itself" in page
    assert "9 of 40 executions failed. Every start takes 1.0.0 again." in page
    detail = text(client, f"{ROLLOUTS}{rollout.pk}/")
    for said in ("1.1.0 fails too much: 9 of 40 failed (22.5 %)", "bank.away", "Stopped by itself"):
        assert said in detail
    started(rollout.workflow)
    home = text(client, "/admin/")
    assert f'<a href="{ROLLOUTS}{rollout.pk}/">The rollout of Refund 1.1.0</a> was stopped' in home
    assert "9 of 40 executions failed. Every start takes 1.0.0 again." in home
    assert f'href="{ROLLOUTS}"' in home
    document = {**rollout.baseline.document, "version": "2.0.0"}
    draft = create_version(actor=SYSTEM, workflow=rollout.workflow, document=document)
    assert "was stopped by itself" in text(client, "/admin/")
    publish_version(actor=SYSTEM, version=draft)
    assert "was stopped by itself" not in text(client, "/admin/")
    assert "stopped by itself" not in text(client, f"{WORKFLOWS}{rollout.workflow_id}/")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"percent": "200"}, "A percentage from 0 to 100 with at most two decimals"),
        ({"percent": "some"}, "A percentage from 0 to 100 with at most two decimals"),
        ({"window": "soon"}, "is no duration"),
        ({"key": "input."}, 'id="key-errors"><p>'),
        ({"min_executions": ""}, "A whole number from 1 to 10,000 was expected."),
        ({"margin_percent": "-1"}, 'id="margin_percent-errors"><p>A percentage from 0 to 100'),
        ({"version": "7.0.0"}, "has no version 7.0.0"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_kept_as_it_was_typed(
    client: Client, typed: dict[str, str], said: str
) -> None:
    workflow = two_versions()
    response = client.post(f"{ROLLOUTS}add/{workflow.pk}/", BEGIN | typed)
    shown = " ".join(response.content.decode().split())
    assert response.status_code == 400
    assert said in shown
    assert 'value="a new tax"' in shown
    assert not Rollout.objects.exists()
    assert workflow.versions.get(version="1.1.0").is_draft


def test_a_start_is_left_to_the_rollout_unless_a_version_is_chosen(client: Client) -> None:
    rollout = rolling(30)
    path = f"/admin/executions/execution/start/{rollout.workflow_id}/"
    shown = text(client, path)
    assert '<option value="" selected>Rollout: 30 % 1.1.0, else 1.0.0</option>' in shown
    assert "the rollout under way says in which version" in shown
    form: dict[str, Any] = {"mode": "json", "input": "{}", "priority": 1, "queue": "default"}
    for taken, expected in ((True, "1.1.0"), (False, "1.0.0")):
        key = key_for(rollout, taken=taken)
        for version, found in (("", expected), ("1.0.0", "1.0.0"), ("1.1.0", "1.1.0")):
            sent = {**form, "version": version, "correlation_id": key}
            assert client.post(path, sent).status_code == 302
            assert Execution.objects.latest("pk").version.version == found
    rollback_rollout(rollout=rollout, actor=SYSTEM)
    assert "Rollout:" not in text(client, path)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_who_may_not_publish_sees_it_and_can_change_nothing(role: Role) -> None:
    rollout = rolling(50)
    client = client_of(role)
    page = text(client, f"{WORKFLOWS}{rollout.workflow_id}/")
    assert "50 % of the starts take 1.1.0" in page
    assert "/rollback/" not in page
    assert "/rollback/" not in text(client, f"{ROLLOUTS}{rollout.pk}/")
    for path in (f"add/{rollout.workflow_id}/", *(f"{rollout.pk}/{verb}/" for verb in VERBS)):
        found = (client.get(ROLLOUTS + path).status_code, client.post(ROLLOUTS + path).status_code)
        assert found == (403, 403)
    row = Rollout.objects.get()
    assert (row.state, float(row.percent)) == ("active", 50.0)


VERBS = ("percentage", "promote", "rollback")


def test_what_is_not_there_is_not_found(client: Client) -> None:
    rollout = rolling(50)
    for path in ("99/", f"{10**25}/", f"{rollout.pk}/explode/", "99/promote/", "add/99/"):
        assert client.get(ROLLOUTS + path).status_code == 404
