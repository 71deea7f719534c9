"""Signals, callbacks and tasks over REST: what is sent, what is answered, what is refused."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from rest_framework.test import APIClient

from autopilot.accounts.models import SecurityEvent
from autopilot.accounts.roles import Role
from executions.models import Callback, Execution, Signal
from tests.engine import drain, published, reread, run
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/executions/"
SUM = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
CONFIG = {"signal": "paid", "correlation": "{{ input.order }}", "schema": SUM}
PAY = {"id": "pay", "type": "signal", "config": CONFIG}
TASK = {"id": "do", "type": "action", "config": {"action": "task.queue", "with": {"queue": "q"}}}


def client(role: Role) -> APIClient:
    found = APIClient()
    found.force_authenticate(UserFactory.create(role=role))
    return found


@pytest.fixture
def api() -> APIClient:
    return client(Role.OPERATOR)


def post(api: APIClient, path: str, body: Any = None, **headers: str) -> Any:
    return api.post(f"{URL}{path}", body, format="json", headers=headers)


def waiting(order: Any = "A-17") -> Execution:
    return run(published([PAY]), {"order": order})


def test_to_an_execution(api: APIClient):
    execution = waiting()
    assert api.get(f"{URL}{execution.pk}/").data["why"]["code"] == "signal"
    answer = post(api, f"{execution.pk}/signal/", {"signal": "paid", "payload": {"sum": 9}})
    assert (answer.status_code, answer.data["created"]) == (201, 1)
    (signal,) = answer.data["results"]
    assert (signal["signal"], signal["target"]) == ("paid", execution.pk)
    assert (signal["state"], signal["execution"]) == ("offered", execution.pk)
    drain()
    assert reread(execution).output == {"sum": 9}
    (listed,) = api.get(f"{URL}signals/?execution={execution.pk}").data["results"]
    assert (listed["state"], listed["execution"]) == ("consumed", execution.pk)
    assert post(api, f"{execution.pk}/signal/", {"signal": "paid"}).status_code == 409
    assert post(api, "999/signal/", {"signal": "paid"}).status_code == 404


def test_by_correlation_with_a_key(api: APIClient):
    body = {"signal": "paid", "correlation": 17, "payload": {"sum": 9}}
    first = post(api, "signals/", body, idempotency_key="k")
    again = post(api, "signals/", body, idempotency_key="k")
    other = post(api, "signals/", {**body, "payload": {"sum": 8}}, idempotency_key="k")
    assert [each.status_code for each in (first, again, other)] == [201, 200, 409]
    assert first.data["results"][0]["id"] == again.data["results"][0]["id"]
    pk = first.data["results"][0]["id"]
    assert api.get(f"{URL}signals/{pk}/").data["payload"] == {"sum": 9}
    assert api.get(f"{URL}signals/?state=kept&correlation=17").data["results"][0]["id"] == pk
    assert reread(waiting(17)).output == {"sum": 9}


def test_many_and_to_all(api: APIClient):
    one, two = waiting("A"), waiting_too("B")
    items = [{"signal": "paid", "correlation": each, "payload": {"sum": 1}} for each in "AC"]
    answer = post(api, "signals/bulk/", {"signals": items})
    assert (answer.status_code, answer.data["created"]) == (201, 2)
    drain()
    assert (reread(one).state, reread(two).state) == ("completed", "waiting")
    body = {"signal": "paid", "payload": {"sum": 2}, "broadcast": True}
    assert post(api, "signals/", body).data["created"] == 1
    drain()
    assert reread(two).output == {"sum": 2}


def waiting_too(order: str) -> Execution:
    return run(published([PAY], slug="two"), {"order": order})


@pytest.mark.parametrize(
    ("path", "body", "code", "problem"),
    [
        ("signals/", {"correlation": "A"}, 400, "$.signal"),
        ("signals/", {"signal": "paid"}, 400, "$.correlation"),
        ("signals/", {"signal": "paid", "correlation": True}, 400, "$.correlation"),
        ("signals/", {"signal": "paid", "correlation": "A", "to": 1}, 400, "$.to"),
        ("signals/", {"signal": "paid", "execution": 999}, 400, "$.execution"),
        ("signals/", {"signal": "paid", "workflow": "none"}, 400, "$.workflow"),
        (
            "signals/",
            {"signal": "paid", "broadcast": True, "execution": 1},
            400,
            "$.execution",
        ),
        (
            "signals/",
            {"signal": "paid", "correlation": "A-17", "payload": {"sum": "x"}},
            422,
            "$.payload.sum",
        ),
        ("signals/bulk/", {"signals": []}, 400, "$.signals"),
        (
            "signals/bulk/",
            {"signals": [{"signal": "paid", "correlation": "A-17"}]},
            422,
            "$.signals[0].payload",
        ),
        ("tasks/poll/", {"queue": "a b"}, 400, "$.queue"),
        ("tasks/poll/", {"queue": "q", "limit": "3"}, 400, "$.limit"),
        ("tasks/poll/", {"queue": "q", "wait_seconds": "3"}, 400, "$.wait_seconds"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(
    api: APIClient, path: str, body: Any, code: int, problem: str
):
    if code == 422:
        waiting()
    answer = post(api, path, body)
    assert (answer.status_code, answer.json()["error"]["details"][0]["path"]) == (code, problem)
    assert not Signal.objects.exists()


def test_who_may():
    execution = waiting()
    viewer = client(Role.VIEWER)
    body = {"signal": "paid", "payload": {"sum": 1}}
    assert post(viewer, f"{execution.pk}/signal/", body).status_code == 403
    assert post(viewer, "signals/", {**body, "correlation": "A-17"}).status_code == 403
    assert post(viewer, "tasks/poll/", {"queue": "q"}).status_code == 403
    assert viewer.get(f"{URL}signals/").status_code == 200
    assert not Signal.objects.exists()
    assert APIClient().get(f"{URL}signals/").status_code == 401


def test_a_worker_takes_a_task_and_ends_it_by_its_token(
    api: APIClient, caplog: pytest.LogCaptureFixture
):
    execution = run(published([TASK]))
    assert post(api, "tasks/poll/", {"queue": "none", "wait_seconds": 0.01}).data == {"tasks": []}
    (task,) = post(api, "tasks/poll/", {"queue": "q", "worker": "w1"}).data["tasks"]
    assert (task["execution"], task["step"], task["lease"]) == (execution.pk, "do", 1)
    anybody, address = APIClient(), f"callbacks/{task['token']}/"
    caplog.set_level(logging.DEBUG)
    assert post(anybody, f"{address}heartbeat/", {"lease_seconds": 5}).status_code == 204
    assert post(anybody, f"{address}complete/", {"outptu": 1}).status_code == 400
    assert post(anybody, f"{address}complete/", {"output": 42}).status_code == 204
    used = post(anybody, f"{address}fail/", {"code": "A", "message": "No."})
    assert (used.status_code, used.json()["error"]["code"]) == (409, "callback.used")
    drain()
    assert reread(execution).output == 42
    forged = post(anybody, f"callbacks/{task['token'][:-2]}xx/complete/")
    assert (forged.status_code, forged.json()["error"]["code"]) == (404, "callback.unknown")
    assert SecurityEvent.objects.get(kind="token_invalid").address == "127.0.0.1"
    assert task["token"] not in caplog.text


def test_of_a_cancelled_execution_the_token_is_gone(api: APIClient):
    execution = run(published([TASK]))
    (task,) = post(api, "tasks/poll/", {"queue": "q"}).data["tasks"]
    post(api, f"{execution.pk}/cancel/")
    drain()
    gone = post(APIClient(), f"callbacks/{task['token']}/complete/")
    assert (gone.status_code, gone.json()["error"]["code"]) == (410, "callback.gone")
    assert Callback.objects.get().outcome == "cancelled"
