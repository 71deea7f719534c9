"""The refund and the onboarding, on the real engine, against the samples' own service."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from autopilot.common.errors import DomainError
from executions.models import Execution, StepExecution
from tests.engine import run, started
from tests.samples import sample, sample_json, service

pytestmark = pytest.mark.django_db(transaction=True)

BUSY = ["POST", "/refunds", 503]


@pytest.fixture(autouse=True)
def _loopback(settings):
    settings.AUTOPILOT = {**settings.AUTOPILOT, "HTTP_ALLOW": ["127.0.0.1"]}


@pytest.fixture
def address() -> Iterator[str]:
    with service("--slots", "1") as url:
        yield url


def requests(url: str) -> Any:
    """What the service was asked so far."""
    with urllib.request.urlopen(f"{url}/requests") as answer:
        return json.load(answer)


def path(execution: Execution) -> list[tuple[str, int, str]]:
    """Every recorded attempt: its step, its number, how it ended."""
    rows = StepExecution.objects.filter(execution=execution).order_by("seq", "attempt")
    return [
        (row.step_id, row.attempt, row.error["code"] if row.error else row.state) for row in rows
    ]


def refund(url: str, **changed: Any) -> dict[str, Any]:
    return {**sample_json("refund.input.json"), "service": url, **changed}


def test_a_refund_is_noted_and_paid_at_the_second_attempt(address):
    execution = run(sample("refund"), refund(address))
    assert execution.state == "completed", execution.error
    assert execution.output == {"decision": "refunded", "refund": "R-1", "days": 14}
    assert path(execution) == [
        ("age", 1, "completed"),
        ("too_late", 1, "skipped"),
        ("how_much", 1, "completed"),
        ("note", 1, "completed"),
        ("pay", 1, "http.503"),
        ("pay", 2, "completed"),
        ("paid", 1, "completed"),
    ]
    assert requests(address) == [BUSY, ["POST", "/refunds", 201]]
    # Retry-After: the pause is longer than the 200 ms of the definition.
    first, second = StepExecution.objects.filter(execution=execution, step_id="pay")
    assert (second.started_at - first.ended_at).total_seconds() >= 1.0


def test_a_small_refund_needs_no_note(address):
    execution = run(sample("refund"), refund(address, order="B-1001", amount=40))
    assert execution.output == {"decision": "refunded", "refund": "R-1", "days": 14}
    assert "note" not in {step for step, _, _ in path(execution)}


def test_a_large_refund_is_left_to_a_person(address):
    execution = run(sample("refund"), refund(address, order="B-1003", amount=500.01))
    assert execution.output == {"decision": "for a person", "refund": None, "days": 14}
    assert path(execution)[-2:] == [
        ("ask_a_person", 1, "completed"),
        ("left_to_a_person", 1, "completed"),
    ]
    assert requests(address) == []


@pytest.mark.parametrize(
    ("asked_on", "state"), [("2030-03-31", "completed"), ("2030-04-01", "failed")]
)
def test_after_thirty_days_it_is_too_late(address, asked_on, state):
    execution = run(sample("refund"), refund(address, asked_on=asked_on))
    assert execution.state == state
    if state == "failed":
        assert execution.error["code"] == "refund.too_late"
        assert execution.error["message"] == (
            "Order B-1002 was bought 31 days ago; 30 are allowed."
        )
        assert requests(address) == []


@pytest.mark.parametrize(
    ("changed", "code", "status"),
    [({"order": "B-9999"}, "http.404", 404), ({"amount": 320.01}, "http.409", 409)],
)
def test_what_the_service_refuses_is_not_tried_again(address, changed, code, status):
    execution = run(sample("refund"), refund(address, **changed))
    assert (execution.state, execution.error["code"]) == ("failed", "refund.refused")
    assert execution.error["message"].startswith(
        f"Order {changed.get('order', 'B-1002')} can't be paid back: "
    )
    assert path(execution)[-3:] == [
        ("pay", 1, "http.503"),
        ("pay", 2, code),
        ("refused", 1, "refund.refused"),
    ]
    assert requests(address) == [BUSY, ["POST", "/refunds", status]]


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"amount": 0}, "$.input.amount"),
        ({"amount": "12"}, "$.input.amount"),
        ({"order": "1002"}, "$.input.order"),
        ({"bought_on": "soon"}, "$.input.bought_on"),
        ({"reason": "bored"}, "$.input.reason"),
        ({"more": 1}, "$.input"),
    ],
)
def test_a_bad_request_never_becomes_an_execution(changed, place):
    workflow = sample("refund")
    with pytest.raises(DomainError) as caught:
        started(workflow, refund("http://127.0.0.1:1", **changed))
    assert place in {each.path for each in caught.value.details}
    assert Execution.objects.count() == 0


def newcomer(url: str, **changed: Any) -> dict[str, Any]:
    return {**sample_json("onboarding.input.json"), "service": url, **changed}


def test_a_new_customer_gets_an_account_and_a_call(address):
    execution = run(sample("onboarding"), newcomer(address))
    assert execution.state == "completed", execution.error
    assert execution.output == {
        "account": "A-1",
        "is_new": True,
        "call": "Monday 10:00",
        "text": "Welcome, Florist by the Station. We call you on Monday 10:00.",
    }
    assert path(execution) == [
        ("open_account", 1, "http.503"),
        ("open_account", 2, "completed"),
        ("which_plan", 1, "completed"),
        ("book_call", 1, "completed"),
        ("welcome", 1, "completed"),
    ]
    assert requests(address) == [
        ["POST", "/accounts", 503],
        ["POST", "/accounts", 201],
        ["POST", "/calls", 201],
    ]


def test_who_comes_back_is_found_and_a_call_without_a_slot_is_caught(address):
    workflow = sample("onboarding")
    run(workflow, newcomer(address))
    execution = run(workflow, newcomer(address))
    assert execution.state == "completed", execution.error
    assert execution.output == {
        "account": "A-1",
        "is_new": False,
        "call": None,
        "text": "Welcome back, Florist by the Station. Write to us whenever you like.",
    }
    assert path(execution) == [
        ("open_account", 1, "http.409"),
        ("find_account", 1, "completed"),
        ("which_plan", 1, "completed"),
        ("book_call", 1, "http.409"),
        ("call_later", 1, "completed"),
        ("welcome", 1, "completed"),
    ]
    told = StepExecution.objects.get(execution=execution, step_id="call_later")
    assert told.output == (
        "Please call Florist by the Station: no call could be booked (http.409)."
    )


def test_the_free_plan_comes_without_a_call(address):
    execution = run(sample("onboarding"), newcomer(address, plan="free"))
    assert execution.output == {
        "account": "A-1",
        "is_new": True,
        "call": None,
        "text": "Welcome, Florist by the Station. Write to us whenever you like.",
    }
    assert [step for step, _, _ in path(execution)][-2:] == ["which_plan", "welcome"]


def test_without_the_allow_list_the_service_is_out_of_reach(address, settings):
    settings.AUTOPILOT = {**settings.AUTOPILOT, "HTTP_ALLOW": []}
    execution = run(sample("onboarding"), newcomer(address))
    assert (execution.state, execution.error_code) == ("failed", "http.address_refused")
    assert requests(address) == []


def ask(url: str, body: bytes, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_service_answers_a_repeated_key_the_same_and_bad_requests_in_words(address):
    body = b'{"customer": "", "order": "B-1001", "amount": 30}'
    url = f"{address}/refunds"
    assert ask(url, body, **{"Idempotency-Key": "k"}) == (201, {"id": "R-1"})
    assert ask(url, body, **{"Idempotency-Key": "k"}) == (201, {"id": "R-1"})
    assert ask(url, body) == (409, {"error": "Only 10 is left of order B-1001."})
    assert ask(url, b"[]") == (400, {"error": "A JSON object was expected."})
    assert ask(url, b"{") == (400, {"error": "A JSON object was expected."})
    assert ask(url, b"{}")[0] == 400
    assert ask(f"{address}/nothing", b"{}") == (404, {"error": "There is no POST /nothing here."})
    assert ask(url, b" " * 65_537)[0] == 413
