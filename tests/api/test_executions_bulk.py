"""Starting and asking many executions over REST."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from executions import bulk
from executions.models import Execution, InboxMessage
from tests.engine import drain, published, started
from tests.factories import UserFactory, WorkflowFactory, document

ROOT = "/api/v1/executions/"
START = f"{ROOT}bulk-start/"
BULK = f"{ROOT}bulk/"
NUMBER = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}

pytestmark = pytest.mark.django_db


@pytest.fixture
def olga(db: None) -> User:
    return UserFactory.create(username="olga", role=Role.OPERATOR)


@pytest.fixture
def api(olga: User) -> APIClient:
    api = APIClient()
    api.force_authenticate(olga)
    return api


@pytest.fixture
def slug(db: None) -> str:
    fields = {"name": "Welcome", "input_schema": NUMBER}
    return WorkflowFactory.create(document=document(**fields)).slug


def post(api: APIClient, url: str, body: Any) -> Any:
    return api.post(url, body, format="json")


def refused(response: Any, status: int = 400) -> list[tuple[str, str]]:
    assert response.status_code == status, response.content
    return [(each["path"], each["code"]) for each in response.json()["error"]["details"]]


def test_many_are_started_in_one_call(api: APIClient, slug: str):
    requests = [
        {"input": {"n": 1}, "idempotency_key": "a", "priority": "high"},
        {"input": {"n": 2}, "labels": {"team": "support"}},
    ]
    response = post(api, START, {"workflow": slug, "requests": requests})
    assert response.status_code == 201, response.content
    first, second = Execution.objects.order_by("pk")
    assert response.json() == {
        "created": 2,
        "results": [
            {"id": first.pk, "created": True, "state": "initialized"},
            {"id": second.pk, "created": True, "state": "initialized"},
        ],
    }
    assert (first.priority, second.labels) == (2, {"team": "support"})
    assert first.started_by.username == "olga"
    entry = AuditEntry.objects.get(action="execution.many_started")
    assert entry.after["executions"] == [first.pk, second.pk]
    again = post(api, START, {"workflow": slug, "requests": requests[:1]})
    assert again.status_code == 200
    assert again.json()["results"] == [{"id": first.pk, "created": False, "state": "initialized"}]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {
                "workflow": "welcome",
                "requests": [{"input": {"n": 1}}, {"input": {"n": "x"}}, {}],
            },
            [
                ("$.requests[1].input.n", "validation.schema"),
                ("$.requests[2].input.n", "validation.schema"),
            ],
        ),
        (
            {"workflow": "welcome", "requests": [{"inputs": 1}, {"priority": "soon"}]},
            [
                ("$.requests[0].inputs", "field.unknown"),
                ("$.requests[1].priority", "field.choice"),
            ],
        ),
        ({"workflow": "welcome", "requests": []}, [("$.requests", "bulk.size")]),
        ({"workflow": "welcome", "requests": [{}] * 1001}, [("$.requests", "bulk.size")]),
        ({"workflow": "welcom", "requests": [{}]}, [("$.workflow", "workflow.unknown")]),
        (
            {"workflow": "welcome", "requests": [{"workflow": "welcome"}]},
            [("$.requests[0].workflow", "field.unknown")],
        ),
        ({"workflow": "welcome"}, [("$.requests", "field.missing")]),
    ],
)
def test_one_wrong_start_stops_all_of_them(
    api: APIClient, slug: str, body: dict[str, Any], expected: list[tuple[str, str]]
):
    assert refused(post(api, START, body)) == expected
    assert Execution.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_a_dry_run_says_what_would_be_touched(api: APIClient, slug: str):
    workflow = published([{"id": "a", "type": "action", "config": {"action": "noop"}}])
    ended = started(workflow)
    drain()
    fresh = started(workflow)
    body = {"verb": "cancel", "filter": {"workflow": workflow.slug}, "dry_run": True}
    answer = post(api, BULK, body).json()
    assert answer.pop("sample")[0]["id"] == fresh.pk
    assert answer == {
        "verb": "cancel",
        "dry_run": True,
        "sentence": "1 execution would be cancelled; what else matches can't be cancelled: "
        "1 completed.",
        "count": 1,
        "is_capped": False,
        "by_state": [
            {"state": "initialized", "count": 1, "is_capped": False},
            {"state": "completed", "count": 1, "is_capped": False},
        ],
        "undoing": None,
        "outcomes": {"done": 0, "pending": 0, "refused": 0},
        "results": [],
    }
    assert InboxMessage.objects.count() == 0
    assert ended.pk < fresh.pk


def test_a_verb_by_filter_and_by_ids(api: APIClient, slug: str):
    workflow = published([{"id": "a", "type": "action", "config": {"action": "noop"}}])
    one = started(workflow, labels={"team": "a"})
    two = started(workflow, labels={"team": "b"})
    body = {"verb": "pause", "filter": {"label": ["team:a"]}, "reason": "stock-taking"}
    answer = post(api, BULK, body)
    assert answer.status_code == 200, answer.content
    assert answer.json()["sentence"] == "1 asked to pause."
    assert answer.json()["results"] == [
        {
            "id": one.pk,
            "outcome": "pending",
            "state": "initialized",
            "code": "",
            "message": "",
            "created": None,
        }
    ]
    answer = post(api, BULK, {"verb": "resume", "ids": [two.pk, one.pk]}).json()
    assert answer["sentence"] == "1 asked to resume, 1 refused."
    assert answer["outcomes"] == {"done": 0, "pending": 1, "refused": 1}
    assert [(each["id"], each["code"]) for each in answer["results"]] == [
        (one.pk, ""),
        (two.pk, "execution.state"),
    ]
    audited = AuditEntry.objects.filter(action="execution.pause_requested").get()
    assert (audited.actor_name, audited.target_id) == ("olga", str(one.pk))


def test_a_filter_that_matches_nothing(api: APIClient, slug: str):
    body = {"verb": "cancel", "filter": {"workflow": slug}}
    seen = post(api, BULK, {**body, "dry_run": True})
    assert (seen.status_code, seen.json()["count"]) == (200, 0)
    assert seen.json()["sentence"] == "No execution matches."
    response = post(api, BULK, body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["message"]) == (
        "bulk.nothing",
        "No execution matches. Nothing was done.",
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"verb": "cancel"}, [("$", "bulk.selection")]),
        ({"verb": "cancel", "ids": [1], "filter": {}}, [("$", "bulk.selection")]),
        ({"verb": "explode", "ids": [1]}, [("$.verb", "field.choice")]),
        ({"ids": [1]}, [("$.verb", "field.missing")]),
        ({"verb": "cancel", "ids": []}, [("$.ids", "field.type")]),
        ({"verb": "cancel", "ids": 7}, [("$.ids", "field.type")]),
        (
            {"verb": "cancel", "ids": [1, "2", True, 0]},
            [("$.ids[1]", "field.type"), ("$.ids[2]", "field.type"), ("$.ids[3]", "field.type")],
        ),
        ({"verb": "cancel", "filter": {}}, [("$.filter", "filter.empty")]),
        ({"verb": "cancel", "filter": []}, [("$.filter", "field.type")]),
        (
            {"verb": "cancel", "filter": {"page_size": 5}},
            [("$.filter.page_size", "filter.unknown")],
        ),
        ({"verb": "cancel", "filter": {"stat": "failed"}}, [("$.filter.stat", "filter.unknown")]),
        ({"verb": "cancel", "filter": {"state": "gone"}}, [("$.filter.state", "filter.bad_value")]),
        ({"verb": "cancel", "filter": {"workflow": ""}}, [("$.filter.workflow", "field.type")]),
        ({"verb": "cancel", "filter": {"state": []}}, [("$.filter.state", "field.type")]),
        ({"verb": "cancel", "filter": {"workflow": ["a"]}}, [("$.filter.workflow", "field.type")]),
        ({"verb": "cancel", "filter": {"parent": None}}, [("$.filter.parent", "field.type")]),
        ({"verb": "cancel", "ids": [1], "reason": "x" * 201}, [("$.reason", "field.too_long")]),
        ({"verb": "cancel", "ids": [1], "dry_run": "yes"}, [("$.dry_run", "field.type")]),
        ({"verb": "cancel", "ids": [1], "dry": True}, [("$.dry", "field.unknown")]),
    ],
)
def test_what_is_not_clear_is_refused_and_nothing_is_done(
    api: APIClient, slug: str, body: dict[str, Any], expected: list[tuple[str, str]]
):
    started(published([{"id": "a", "type": "action", "config": {"action": "noop"}}]))
    assert refused(post(api, BULK, body)) == expected
    assert InboxMessage.objects.count() == 0


def test_more_than_one_call_may_touch(api: APIClient, monkeypatch):
    monkeypatch.setattr(bulk, "MAX_TOUCHED", 1)
    workflow = published([{"id": "a", "type": "action", "config": {"action": "noop"}}])
    ids = [started(workflow).pk, started(workflow).pk]
    for chosen in ({"ids": ids}, {"filter": {"workflow": workflow.slug}}):
        response = post(api, BULK, {"verb": "cancel", **chosen})
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "bulk.too_many"
    assert InboxMessage.objects.count() == 0


def test_viewers_start_and_touch_nothing(slug: str):
    api = APIClient()
    api.force_authenticate(UserFactory.create(role=Role.VIEWER))
    body = {"workflow": slug, "requests": [{"input": {"n": 1}}]}
    assert post(api, START, body).status_code == 403
    for dry_run in (True, False):
        body = {"verb": "cancel", "filter": {"workflow": slug}, "dry_run": dry_run}
        assert post(api, BULK, body).status_code == 403
    assert Execution.objects.count() == 0


def test_the_addresses_are_no_ids(api: APIClient):
    assert api.get(BULK).status_code == 405
    assert api.get(START).status_code == 405
