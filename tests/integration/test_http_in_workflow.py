"""`http.request` as a step: what a worker makes of answers, and of its connections."""

from __future__ import annotations

from typing import Any

import pytest

from executions.runtime import process as process_module
from executions.runtime.ledger import LedgerClosed
from executions.runtime.performer import Performer
from executions.runtime.rq_workers import DrainWorker
from tests.engine import drain, published, reread, run, started, wait_until, worker
from tests.outside import Answer, fixed, in_a_thread, redirect
from workflows.actions.net import client


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("answer", "params", "code", "sentence"),
    [
        (fixed(b"a\x00b"), {}, "validation.output",
         "The output of step `ask` has a NUL character at $.text, which cannot be stored."),
        (fixed(b'["\\u0000"]', content_type="application/json"), {}, "validation.output",
         "The output of step `ask` has a NUL character at $.json[0], which cannot be stored."),
        (fixed(b'["\\ud800"]', content_type="application/json"), {}, "validation.output",
         "The output of step `ask` has half of a surrogate pair at $.json[0], which is not text."),
        (fixed(b"x" * 300_000), {}, "limit.output", "bytes of JSON; at most 262144 are allowed."),
        (fixed(status="503 Busy", retry_after="7"), {}, "http.503", "answered with status 503"),
        (redirect("http://169.254.169.254/"), {"follow_redirects": True}, "http.address_refused",
         "its address is a cloud's metadata service"),
    ],
)  # fmt: skip
def test_a_bad_answer_is_the_steps_error(
    settings: Any, answer: Answer, params: dict[str, Any], code: str, sentence: str
) -> None:
    settings.AUTOPILOT = {**settings.AUTOPILOT, "HTTP_ALLOW": ["127.0.0.1"]}
    config = {"action": "http.request", "with": {"url": "{{ input.url }}", **params}}
    workflow = published([{"id": "ask", "type": "action", "config": config}])
    with in_a_thread(answer) as server:
        execution = run(workflow, {"url": server.url})
    assert execution.state == "failed"
    assert execution.error is not None
    assert execution.error["code"] == code
    assert sentence in execution.error["message"]


@pytest.mark.django_db(transaction=True)
def test_a_worker_closes_its_connections_when_it_ends(settings: Any) -> None:
    settings.AUTOPILOT = {**settings.AUTOPILOT, "HTTP_ALLOW": ["127.0.0.1"]}
    config = {"action": "http.request", "with": {"url": "{{ input.url }}"}}
    workflow = published([{"id": "ask", "type": "action", "config": config}])
    with in_a_thread(fixed(b"fine")) as server:
        with worker() as process:
            for _ in range(3):
                started(workflow, {"url": server.url})
                process.drain("default")
            assert server.open == 1
        wait_until(lambda: server.open == 0)
    assert (server.connections, len(server.requests)) == (1, 3)


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_hears_no_bell_closes_what_idles_too_long(
    settings: Any, monkeypatch: pytest.MonkeyPatch, redis_client: Any
) -> None:
    settings.AUTOPILOT = {**settings.AUTOPILOT, "HTTP_ALLOW": ["127.0.0.1"]}
    monkeypatch.setattr(client, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(client, "LOOK_SECONDS", 0.3)
    config = {"action": "http.request", "with": {"url": "{{ input.url }}"}}
    workflow = published([{"id": "ask", "type": "action", "config": config}])
    with in_a_thread(fixed(b"fine")) as server, worker() as process:
        monkeypatch.setattr(process_module, "_process", process)
        started(workflow, {"url": server.url})
        process.drain("default")
        assert server.open == 1
        rq_worker = DrainWorker(["default"], connection=redis_client)

        def is_closed() -> bool:
            # The loop stands still otherwise, and nobody else could close it.
            rq_worker.heartbeat()
            return server.open == 0

        wait_until(is_closed)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("params", "state", "code", "requests"),
    [
        ({}, "completed", None, 1),
        ({"method": "{{ input.method }}"}, "failed", "worker.lost", 0),
        ({"method": "POST", "idempotency_header": "X-Key"}, "completed", None, 1),
    ],
)
def test_a_call_that_was_lost_with_its_worker_is_made_again_if_that_is_safe(
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    params: dict[str, Any],
    state: str,
    code: str | None,
    requests: int,
) -> None:
    settings.AUTOPILOT = {**settings.AUTOPILOT, "HTTP_ALLOW": ["127.0.0.1"]}
    config = {"action": "http.request", "with": {"url": "{{ input.url }}", **params}}
    workflow = published([{"id": "ask", "type": "action", "config": config}])
    with in_a_thread(fixed(b"fine")) as server:
        execution = started(workflow, {"url": server.url, "method": "POST"})
        with monkeypatch.context() as dying:
            dying.setattr(Performer, "perform", _die)
            drain()
        assert (reread(execution).state, reread(execution).current_phase) == ("running", "call")
        drain()
        assert len(server.requests) == requests
    found = reread(execution)
    assert (found.state, (found.error or {}).get("code")) == (state, code)


async def _die(self: Performer, *of_what: Any) -> Any:
    """The worker ends in the middle of the call, and the clock frees what it owned."""
    raise LedgerClosed
