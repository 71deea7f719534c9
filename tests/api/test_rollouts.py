"""Rollouts over REST: begin, watch, change, promote, take back; who may, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from autopilot.accounts.roles import Role
from tests.engine import started
from tests.factories import UserFactory
from tests.rollouts import rolling, two_versions
from workflows.models import Rollout

pytestmark = pytest.mark.django_db
ROOT = "/api/v1/workflows/refund/rollouts/"
WORKFLOW = "/api/v1/workflows/refund/"


def client(role: Role | None) -> APIClient:
    made = APIClient()
    made.force_authenticate(UserFactory.create(role=role, username=f"a-{role}"))
    return made


@pytest.fixture
def api() -> APIClient:
    return client(Role.DESIGNER)


def post(api: APIClient, verb: str, body: dict[str, Any] | None = None) -> Any:
    return api.post(f"{ROOT}{verb}", body or {}, format="json")


def test_a_rollout_from_its_beginning_to_its_end(api: APIClient) -> None:
    two_versions()
    body = {"percent": 12.5, "window": "30m", "key": "input.customer", "reason": "a new tax"}
    made = post(api, "", body)
    assert made.status_code == 201
    shown = made.json()
    assert made["Location"].endswith(f"{ROOT}{shown['id']}/")
    expected = {
        "workflow": "refund",
        "candidate": "1.1.0",
        "baseline": "1.0.0",
        "state": "active",
        "percent": 12.5,
        "key": "input.customer",
        "max_failure_percent": 5.0,
        "window_seconds": 1800.0,
        "min_executions": 20,
        "margin_percent": None,
        "reason": "a new tax",
        "started_by": "a-Designer",
        "ended_at": None,
        "live_executions": {"count": 0, "is_capped": False},
        "verdict": "Too little is known of 1.1.0 yet: 0 executions have ended, and 20 are needed "
        "for a judgement.",
    }
    assert {key: shown[key] for key in expected} == expected
    workflow = api.get(WORKFLOW).json()
    names = ("live_version", "candidate_version", "candidate_percent")
    assert [workflow[name] for name in names] == ["1.0.0", "1.1.0", 12.5]
    assert post(api, "current/set-percentage/", {"percent": 50}).json()["percent"] == 50.0
    started(Rollout.objects.get().workflow, version="1.1.0")
    preview = api.get(f"{ROOT}current/rollback-preview/").json()
    assert preview == {
        "candidate": "1.1.0",
        "baseline": "1.0.0",
        "deprecates": True,
        "live_executions": {"count": 1, "is_capped": False},
        "sentence": "Every start takes 1.0.0 again. The one execution of 1.1.0 that is under way "
        "goes on with it.",
    }
    ended = post(api, "current/rollback/", {"reason": "no"}).json()
    assert (ended["state"], ended["percent"], ended["live_executions"]["count"]) == (
        "rolled_back",
        0.0,
        1,
    )
    said = [
        (each["kind"], each["percent_before"], each["percent_after"], each["reason"])
        for each in ended["decisions"]
    ]
    assert said == [
        ("started", None, 12.5, "a new tax"),
        ("percent_set", 12.5, 50.0, ""),
        ("rolled_back", 50.0, 0.0, "no"),
    ]
    assert ended["decisions"][2]["evidence"]["finding"] == "too_few"
    assert api.get(ROOT).json()["count"] == 1
    assert api.get(f"{ROOT}current/").status_code == 404
    assert api.get(f"{ROOT}{ended['id']}/").json()["verdict"] == shown["verdict"]
    assert api.get(f"{WORKFLOW}versions/1.1.0/").json()["state"] == "deprecated"


def test_a_rollout_is_promoted(api: APIClient) -> None:
    rolling(50)
    assert post(api, "current/promote/").json()["state"] == "promoted"
    workflow = api.get(WORKFLOW).json()
    assert (workflow["live_version"], workflow["candidate_version"]) == ("1.1.0", None)


@pytest.mark.parametrize(
    ("verb", "body", "status", "code", "path"),
    [
        ("", {"percent": 101}, 400, "rollout.invalid", "$.percent"),
        ("", {"percent": "10"}, 400, "rollout.invalid", "$.percent"),
        ("", {"key": "input."}, 400, "rollout.invalid", "$.key"),
        ("", {"percentage": 1}, 400, "invalid", "$.percentage"),
        ("", {"version": "1.2"}, 400, "invalid", "$.version"),
        ("", {"version": "9.0.0"}, 400, "invalid", "$.version"),
        ("", {"version": "1.0.0"}, 409, "conflict", "$.version"),
        ("", {"reason": 7}, 400, "invalid", "$.reason"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_begins(
    api: APIClient, verb: str, body: dict[str, Any], status: int, code: str, path: str
) -> None:
    workflow = two_versions()
    response = post(api, verb, body)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert [each["path"] for each in error["details"]] == [path]
    assert not Rollout.objects.exists()
    assert workflow.versions.get(version="1.1.0").state == "draft"


def test_what_the_state_does_not_allow_is_a_conflict(api: APIClient) -> None:
    rollout = rolling(50)
    assert post(api, "").json()["error"]["code"] == "rollout.active"
    assert post(api, "current/set-percentage/", {}).status_code == 400
    post(api, "current/promote/")
    for verb in ("promote", "rollback", "set-percentage"):
        response = post(api, f"{rollout.pk}/{verb}/", {"percent": 5} if "set" in verb else {})
        assert (response.status_code, response.json()["error"]["code"]) == (409, "rollout.ended")
        assert post(api, f"current/{verb}/", {"percent": 5}).status_code == 404
    preview = api.get(f"{ROOT}{rollout.pk}/rollback-preview/")
    assert (preview.status_code, preview.json()["error"]["code"]) == (409, "rollout.ended")
    assert api.get(f"{ROOT}99/").status_code == 404
    assert api.get("/api/v1/workflows/nothing/rollouts/").status_code == 404


@pytest.mark.parametrize(("role", "reads"), [(None, 403), (Role.VIEWER, 200), (Role.OPERATOR, 200)])
def test_who_may_not_publish_only_looks(role: Role | None, reads: int) -> None:
    rolling(50)
    api = client(role)
    for path in ("", "current/", "current/rollback-preview/"):
        assert api.get(f"{ROOT}{path}").status_code == reads
    for verb in ("", "current/promote/", "current/rollback/", "current/set-percentage/"):
        assert post(api, verb, {"percent": 5}).status_code == 403
    row = Rollout.objects.get()
    assert (row.state, float(row.percent)) == ("active", 50.0)
