"""Limits of calls, and workflows and queues that are switched off, over the API."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from autopilot.accounts.roles import Role
from executions.models import ActionLimit, Execution, Hold
from tests.factories import UserFactory, WorkflowFactory, document

pytestmark = pytest.mark.django_db
LIMITS = "/api/v1/executions/limits/"
QUEUES = "/api/v1/monitoring/queues/"


def client(role: Role) -> APIClient:
    made = APIClient()
    made.force_authenticate(UserFactory.create(role=role))
    return made


@pytest.fixture
def api() -> APIClient:
    return client(Role.OPERATOR)


def test_a_limit_is_made_read_changed_and_taken_away(api: APIClient):
    body: dict[str, Any] = {"subject": "host", "pattern": "*.Example.com", "max_concurrent": 5}
    made = api.post(LIMITS, body, format="json")
    assert made.status_code == 201
    shown = made.json()
    assert {key: shown[key] for key in ("subject", "pattern", "max_concurrent", "rate")} == {
        "subject": "host",
        "pattern": "*.example.com",
        "max_concurrent": 5,
        "rate": None,
    }
    address = f"{LIMITS}{shown['id']}/"
    changed = api.put(
        address, {"subject": "host", "pattern": "*.example.com", "rate": 10}, format="json"
    )
    assert (changed.json()["rate"], changed.json()["max_concurrent"]) == (10, None)
    assert api.get(LIMITS).json()["count"] == 1
    assert api.delete(address).status_code == 204
    assert api.get(address).status_code == 404


def test_what_is_wrong_with_a_limit_has_its_place(api: APIClient):
    refused = api.post(LIMITS, {"subject": "host", "pattern": "x", "rates": 1}, format="json")
    assert refused.status_code == 400
    assert refused.json()["error"]["details"][0]["path"] == "$.rates"
    empty = api.post(LIMITS, {"subject": "action", "pattern": "x"}, format="json")
    assert empty.json()["error"]["code"] == "limit.invalid"
    assert client(Role.VIEWER).get(LIMITS).status_code == 200
    body = {"subject": "action", "pattern": "x", "rate": 1}
    assert client(Role.VIEWER).post(LIMITS, body, format="json").status_code == 403
    assert not ActionLimit.objects.exists()


def test_a_paused_workflow_answers_starts_with_a_conflict(api: APIClient):
    WorkflowFactory.create(document=document(name="Refund"))
    paused = api.post(
        "/api/v1/workflows/refund/pause/", {"reason": "the bank is away"}, format="json"
    )
    assert paused.status_code == 200
    assert paused.json()["paused"]["mode"] == "starts"
    refused = api.post("/api/v1/executions/", {"workflow": "refund"}, format="json")
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "workflow.paused"
    assert not Execution.objects.exists()
    resumed = api.post("/api/v1/workflows/refund/resume/")
    assert resumed.json() == {"workflow": "refund", "paused": None}
    assert api.post("/api/v1/workflows/refund/resume/").json()["error"]["code"] == "not_paused"
    started = api.post("/api/v1/executions/", {"workflow": "refund"}, format="json")
    assert started.status_code == 201
    assert api.post("/api/v1/workflows/nothing/pause/").status_code == 404
    viewer = client(Role.VIEWER).post("/api/v1/workflows/refund/pause/")
    assert viewer.status_code == 403
    assert not Hold.objects.exists()


def test_queues_are_listed_and_switched(api: APIClient):
    (queue,) = [each for each in api.get(QUEUES).json() if each["name"] == "default"]
    assert (queue["ready"], queue["workers"], queue["paused"]) == (0, 0, None)
    paused = api.post(f"{QUEUES}default/pause/", {"reason": "deploying"}, format="json").json()
    assert (paused["paused"]["mode"], paused["paused"]["reason"]) == ("all", "deploying")
    assert api.post(f"{QUEUES}default/resume/").json()["paused"] is None
    assert api.post(f"{QUEUES}nowhere/pause/").json()["error"]["code"] == "queue.not_found"
    past = api.post(f"{QUEUES}default/pause/", {"until": "2001-01-01T00:00:00Z"}, format="json")
    assert past.json()["error"]["details"][0]["path"] == "$.until"
    assert not Hold.objects.exists()
