"""The execution API on its good days: start, list, look at, ask."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from autopilot.common import clock
from executions.engine.states import TRANSITIONS
from executions.models import Execution, InboxMessage
from executions.services import cancel_execution, pause_execution
from tests.engine import SYSTEM, drain, published, reread, run
from tests.factories import ExecutionFactory, UserFactory, WorkflowFactory, document

ROOT = "/api/v1/executions/"
HOST = "http://testserver"
NOOP = {"type": "action", "config": {"action": "noop", "with": {"n": 1}}}
WAIT = {"type": "wait", "config": {"duration": "1h"}}

pytestmark = pytest.mark.django_db


@pytest.fixture
def olga(db: None) -> User:
    return UserFactory.create(username="olga", role=Role.OPERATOR)


@pytest.fixture
def api(olga: User) -> APIClient:
    api = APIClient()
    api.force_authenticate(olga)
    return api


def start(api: APIClient, body: dict[str, Any], **headers: str) -> Any:
    return api.post(ROOT, body, format="json", headers=headers)


def ids(response: Any) -> list[int]:
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["results"]]


def test_a_start_is_answered_with_the_execution_that_it_made(api: APIClient, olga: User):
    WorkflowFactory.create(document=document(name="Welcome"))
    response = start(api, {"workflow": "welcome", "input": {"customer": "Ada"}})
    assert response.status_code == 201
    execution = Execution.objects.get()
    own = f"{HOST}{ROOT}{execution.pk}/"
    assert response["Location"] == own
    body = response.json()
    created = body.pop("created_at")
    assert abs(clock.now() - execution.created_at) < timedelta(minutes=1)
    assert created == execution.created_at.isoformat().replace("+00:00", "Z")
    assert body == {
        "id": execution.pk,
        "workflow": "welcome",
        "version": "1.0.0",
        "state": "initialized",
        "reason": "queued",
        "error_code": "",
        "pending": [],
        "why": {
            "code": "queued.no_worker",
            "sentence": "Accepted, but no worker serves the queue “default”: start one with "
            "manage.py worker.",
            "details": {"queue": "default", "ready_since": created},
        },
        "current_step": "",
        "wait_until": None,
        "priority": "normal",
        "queue": "default",
        "kind": "root",
        "parent": None,
        "parent_step": "",
        "item_index": None,
        "branch": "",
        "started_by_execution": None,
        "rerun_of": None,
        "labels": {},
        "correlation_id": "",
        "started_by": "olga",
        "start_at": None,
        "started_at": None,
        "ended_at": None,
        "duration_seconds": None,
        "input": {"customer": "Ada"},
        "output": None,
        "error": None,
        "error_workflow": None,
        "failure_of": None,
        "links": {
            "self": own,
            "steps": f"{own}steps/",
            "transitions": f"{own}transitions/",
            "context": f"{own}context/",
            "logs": f"{own}logs/",
            "compensations": f"{own}compensations/",
            "tree": f"{own}tree/",
            "children": f"{HOST}{ROOT}?parent={execution.pk}",
            "workflow": f"{HOST}/api/v1/workflows/welcome/",
            "parent": None,
        },
    }
    audit = AuditEntry.objects.get(action="execution.started")
    assert (audit.actor_name, audit.target_id) == ("olga", str(execution.pk))
    assert api.get(own).json() == {**body, "created_at": created}


def test_everything_that_can_be_said_at_the_start_is_kept(api: APIClient):
    workflow = WorkflowFactory.create()
    response = start(
        api,
        {
            "workflow": workflow.slug,
            "version": "1.0.0",
            "priority": "urgent",
            "queue": "default",
            "start_at": "2030-01-31T12:00:00+02:00",
            "labels": {"team": "support"},
            "correlation_id": "ticket-1",
        },
    )
    assert response.status_code == 201
    body = response.json()
    assert {key: body[key] for key in ("priority", "start_at", "labels", "correlation_id")} == {
        "priority": "urgent",
        "start_at": "2030-01-31T10:00:00Z",
        "labels": {"team": "support"},
        "correlation_id": "ticket-1",
    }
    assert (body["reason"], body["input"]) == ("scheduled", {})
    execution = Execution.objects.get()
    assert (execution.priority, execution.runnable_at) == (3, execution.start_at)


@pytest.mark.parametrize("where", ["header", "body", "both"])
def test_the_same_key_with_the_same_body_answers_the_first_execution(api: APIClient, where: str):
    workflow = WorkflowFactory.create()
    body: dict[str, Any] = {"workflow": workflow.slug, "input": {"n": 1}}
    headers = {}
    if where in {"body", "both"}:
        body["idempotency_key"] = "order-1"
    if where in {"header", "both"}:
        headers["Idempotency-Key"] = "order-1"
    first = start(api, body, **headers)
    again = start(api, body, **headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again["Location"] == first["Location"]
    assert Execution.objects.count() == 1
    assert AuditEntry.objects.filter(action="execution.started").count() == 1


def test_the_key_is_the_askers_own(api: APIClient):
    workflow = WorkflowFactory.create()
    other = APIClient()
    other.force_authenticate(UserFactory.create(role=Role.OPERATOR))
    body = {"workflow": workflow.slug, "idempotency_key": "order-1"}
    assert start(api, body).status_code == 201
    assert start(other, body).status_code == 201
    assert Execution.objects.count() == 2


def test_a_list_has_the_newest_first_and_goes_on_by_cursor(api: APIClient):
    workflow = WorkflowFactory.create()
    made = [ExecutionFactory.create(workflow=workflow).pk for _ in range(5)]
    first = api.get(ROOT, {"page_size": 2})
    assert ids(first) == [made[4], made[3]]
    second = api.get(first.json()["next"])
    assert ids(second) == [made[2], made[1]]
    assert ids(api.get(second.json()["previous"])) == [made[4], made[3]]
    last = api.get(second.json()["next"])
    assert ids(last) == [made[0]]
    assert last.json()["next"] is None


def test_a_list_shows_no_data(api: APIClient):
    ExecutionFactory.create(input={"secret": 1})
    (row,) = api.get(ROOT).json()["results"]
    assert not {"input", "output", "error", "variables"} & set(row)
    assert row["started_by"] is None


def test_a_list_costs_the_same_queries_however_long_it_is(
    api: APIClient, django_assert_num_queries
):
    for _ in range(3):
        pause_execution(execution=ExecutionFactory.create(), actor=SYSTEM)
    ExecutionFactory.create()
    api.get(ROOT)
    # The rows, what was asked of them, the workers, what is paused; who asks is known by now.
    with django_assert_num_queries(4):
        short = api.get(ROOT)
    for _ in range(12):
        pause_execution(execution=ExecutionFactory.create(), actor=SYSTEM)
    with django_assert_num_queries(4):
        long = api.get(ROOT)
    assert [len(short.json()["results"]), len(long.json()["results"])] == [4, 16]
    assert long.json()["results"][0]["pending"] == ["pause"]


def test_a_list_reads_no_heavy_column(api: APIClient, django_assert_num_queries):
    ExecutionFactory.create()
    api.get(ROOT)
    with django_assert_num_queries(3) as queries:
        api.get(ROOT)
    sql = " ".join(query["sql"] for query in queries.captured_queries)
    for column in ('"input"', '"output"', '"variables"', '"error"', '"definition"'):
        assert column not in sql


def test_a_detail_costs_four_queries(api: APIClient, django_assert_num_queries):
    execution = ExecutionFactory.create()
    api.get(ROOT)
    # The row, the workers that could move it, what is paused, and whose failure it answers.
    with django_assert_num_queries(4):
        assert api.get(f"{ROOT}{execution.pk}/").status_code == 200


def test_filters(api: APIClient, olga: User):
    one = WorkflowFactory.create(document=document(name="Welcome"))
    two = WorkflowFactory.create(document=document(name="Refund"))
    labels = {"team": "support", "region": "eu: west"}
    a = ExecutionFactory.create(workflow=one, labels=labels, correlation_id="t-1").pk
    b = ExecutionFactory.create(workflow=one, labels={"team": "sales"}).pk
    c = ExecutionFactory.create(workflow=two, start_at=clock.now() + timedelta(days=1)).pk
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({}, [c, b, a]),
        ({"state": "initialized"}, [c, b, a]),
        ({"state": ["running", "initialized"]}, [c, b, a]),
        ({"state": ["running", "failed"]}, []),
        ({"reason": "scheduled"}, [c]),
        ({"workflow": "welcome"}, [b, a]),
        ({"workflow": "nothing"}, []),
        ({"version": "1.0.0"}, [c, b, a]),
        ({"version": "9.0.0"}, []),
        ({"label": "team:support"}, [a]),
        ({"label": "team"}, [b, a]),
        ({"label": ["team:support", "region:eu: west"]}, [a]),
        ({"label": ["team:sales", "region"]}, []),
        ({"correlation_id": "t-1"}, [a]),
        ({"error_code": "http.500"}, []),
        ({"search": "refund"}, [c]),
        ({"search": str(b)}, [b]),
        ({"search": "t-1"}, [a]),
        ({"search": "100%"}, []),
        ({"parent": a}, []),
        ({"workflow": "welcome", "label": "team:sales", "state": "initialized"}, [b]),
        ({"workflow": ""}, [c, b, a]),
    ]
    for query, expected in cases:
        assert ids(api.get(ROOT, query)) == expected, query


@pytest.mark.django_db(transaction=True)
def test_filters_by_time_and_error(api: APIClient):
    early = clock.now().isoformat()
    done = run(published([{"id": "a", **NOOP}])).pk
    failed = run(
        published([{"id": "a", "type": "fail", "config": {"error": "order.bad", "message": "No."}}])
    ).pk
    fresh = ExecutionFactory.create().pk
    late = clock.now().isoformat()
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({"created_after": early}, [fresh, failed, done]),
        ({"created_after": late}, []),
        ({"created_before": late}, [fresh, failed, done]),
        ({"created_before": early}, []),
        ({"started_after": early}, [failed, done]),
        ({"started_before": early}, []),
        ({"ended_after": early, "ended_before": late}, [failed, done]),
        ({"error_code": "order.bad"}, [failed]),
        ({"search": "order.b"}, [failed]),
        ({"state": "failed"}, [failed]),
        ({"reason": "order.bad"}, [failed]),
    ]
    for query, expected in cases:
        assert ids(api.get(ROOT, query)) == expected, query
    # A plus that isn't escaped arrives as a space.
    assert ids(api.get(f"{ROOT}?created_before={early}")) == []


@pytest.mark.django_db(transaction=True)
def test_a_finished_execution_tells_its_whole_story(api: APIClient):
    execution = run(
        published(
            [
                {"id": "a", **NOOP, "assign": {"n": "{{ steps.a.output.n }}"}},
                {
                    "id": "say",
                    "type": "action",
                    "config": {"action": "log", "with": {"message": "hello", "fields": {"k": 1}}},
                },
            ],
            output={"n": "{{ vars.n }}"},
        ),
        {"customer": "Ada"},
    )
    own = f"{ROOT}{execution.pk}/"
    detail = api.get(own).json()
    assert (detail["state"], detail["reason"], detail["output"]) == ("completed", "done", {"n": 1})
    assert detail["duration_seconds"] == execution.duration_seconds

    steps = api.get(f"{own}steps/").json()
    assert [(row["seq"], row["step"], row["state"]) for row in steps["results"]] == [
        (1, "a", "completed"),
        (2, "say", "completed"),
    ]
    assert steps["results"][0]["params"] == steps["results"][0]["output"] == {"n": 1}

    transitions = api.get(f"{own}transitions/").json()["results"]
    assert [(row["seq"], row["source"], row["target"], row["reason"]) for row in transitions] == [
        (1, "", "initialized", "queued"),
        (2, "initialized", "running", "running"),
        (3, "running", "completed", "done"),
    ]

    (line,) = api.get(f"{own}logs/").json()["results"]
    assert (line["seq"], line["step"], line["level"]) == (1, "say", "info")
    assert "hello" in str(line)

    context = api.get(f"{own}context/").json()
    assert (context["input"], context["variables"]) == ({"customer": "Ada"}, {"n": 1})
    assert list(context["steps"]) == ["a", "say"]
    assert context["steps"]["a"] == {
        "state": "completed",
        "output": {"n": 1},
        "error": None,
        "attempts": 1,
    }
    assert (context["output"], context["error"]) == ({"n": 1}, None)


@pytest.mark.django_db(transaction=True)
def test_steps_go_on_by_cursor_and_end_with_the_one_under_way(api: APIClient):
    steps = [{"id": f"s{n}", **NOOP} for n in range(4)]
    execution = run(published([*steps, {"id": "nap", **WAIT}]))
    seen: list[tuple[str, str]] = []
    url: str | None = f"{ROOT}{execution.pk}/steps/?page_size=2"
    pages = 0
    while url:
        page = api.get(url).json()
        seen += [(row["step"], row["state"]) for row in page["results"]]
        url, pages = page["next"], pages + 1
    assert pages == 2
    assert seen == [*((f"s{n}", "completed") for n in range(4)), ("nap", "waiting")]
    detail = api.get(f"{ROOT}{execution.pk}/").json()
    assert (detail["state"], detail["current_step"]) == ("waiting", "nap")
    assert detail["wait_until"] == page["results"][-1]["wait_until"] is not None


@pytest.mark.parametrize(
    ("verb", "state", "reason"),
    [("pause", "paused", "lunch"), ("cancel", "cancelled", "lunch")],
)
@pytest.mark.django_db(transaction=True)
def test_a_wish_is_pending_until_a_worker_has_seen_it(
    api: APIClient, verb: str, state: str, reason: str
):
    execution = run(published([{"id": "nap", **WAIT}]))
    url = f"{ROOT}{execution.pk}/{verb}/"
    asked = api.post(url, {"reason": reason}, format="json")
    assert asked.status_code == 202
    assert (asked.json()["state"], asked.json()["pending"]) == ("waiting", [verb])
    again = api.post(url)
    assert again.status_code == 200
    assert again.json()["pending"] == [verb]
    assert InboxMessage.objects.count() == 1
    drain()
    done = api.get(f"{ROOT}{execution.pk}/").json()
    assert (done["state"], done["pending"]) == (state, [])
    last = api.get(f"{ROOT}{execution.pk}/transitions/").json()["results"][-1]
    assert (last["target"], last["reason"], last["actor"]) == (state, reason, "olga")


@pytest.mark.django_db(transaction=True)
def test_a_paused_execution_is_resumed_at_once(api: APIClient):
    execution = run(published([{"id": "nap", **WAIT}]))
    pause_execution(execution=execution, actor=SYSTEM)
    drain()
    assert reread(execution).state == "paused"
    resumed = api.post(f"{ROOT}{execution.pk}/resume/", {"reason": "go"}, format="json")
    assert resumed.status_code == 200
    body = resumed.json()
    assert (body["state"], body["reason"], body["pending"]) == ("resumed", "go", [])


def test_every_verb_is_audited_once(api: APIClient):
    execution = ExecutionFactory.create()
    for _ in range(2):
        api.post(f"{ROOT}{execution.pk}/cancel/", {"reason": "mistake"}, format="json")
    entry = AuditEntry.objects.get(action="execution.cancel_requested")
    assert (entry.actor_name, entry.after["reason"]) == ("olga", "mistake")


def test_the_state_machine_can_be_read(api: APIClient):
    body = api.get(f"{ROOT}state-machine/").json()
    assert {row["state"]: (row["ended"], row["final"]) for row in body["states"]} == {
        "initialized": (False, False),
        "running": (False, False),
        "waiting": (False, False),
        "paused": (False, False),
        "resumed": (False, False),
        "completed": (True, True),
        "failed": (True, False),
        "cancelled": (True, True),
    }
    assert len(body["transitions"]) == len(TRANSITIONS)
    assert {
        "source": "paused",
        "target": "resumed",
        "action": "resume",
        "condition": "at any time",
        "permission": "executions.control_execution",
    } in body["transitions"]


def test_a_viewer_reads_everything():
    viewer = APIClient()
    viewer.force_authenticate(UserFactory.create(role=Role.VIEWER))
    execution = ExecutionFactory.create()
    cancel_execution(execution=execution, actor=SYSTEM)
    for path in ("", "steps/", "transitions/", "context/", "logs/"):
        assert viewer.get(f"{ROOT}{execution.pk}/{path}").status_code == 200, path
    assert viewer.get(ROOT).status_code == 200
    assert viewer.get(f"{ROOT}state-machine/").status_code == 200
