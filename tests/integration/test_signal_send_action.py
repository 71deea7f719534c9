"""`signal.send`: one execution wakes another, once."""

from __future__ import annotations

import pytest

from executions.models import Signal
from executions.runtime import dispatch
from tests.engine import drain, published, reread, run, started
from workflows.actions.base import BuiltinError
from workflows.actions.context import Context
from workflows.actions.registry import registry

pytestmark = pytest.mark.django_db(transaction=True)

SCHEMA = {"type": "object", "properties": {"sum": {"type": "integer"}}}


def sending(**params):
    step = {"id": "tell", "type": "action", "config": {"action": "signal.send", "with": params}}
    return published([step], name="Sender")


def waiting(**config):
    return {"id": "paid", "type": "signal", "config": {"signal": "paid", **config}}


def called(**params):
    action = registry.get("signal.send")
    assert action is not None
    context = Context(idempotency_key="1-tell-1", execution_id=1, step="tell")
    return action.function(action.validate(params), context)


def test_it_wakes_the_execution_it_names():
    waits = run(published([waiting()]))
    sender = run(
        sending(signal="paid", execution="{{ input.to }}", payload={"sum": 3}), {"to": waits.pk}
    )
    drain()
    assert sender.output == {"signal_id": Signal.objects.get().pk}
    assert (reread(waits).state, reread(waits).output) == ("completed", {"sum": 3})
    assert Signal.objects.get().sender == f"execution {sender.pk}"


def test_it_wakes_whoever_waits_for_the_correlation():
    waits = run(published([waiting(correlation="{{ input.order }}")]), {"order": "A-17"})
    run(sending(signal="paid", correlation="{{ input.order }}"), {"order": "A-17"})
    drain()
    assert reread(waits).state == "completed"


def test_whom_an_action_has_woken_is_looked_for_before_the_drain_ends(monkeypatch):
    waits = run(published([waiting()]))
    sender = started(sending(signal="paid", execution="{{ input.to }}"), {"to": waits.pk})
    # Redis is away: nobody hears that the other one is ready.
    monkeypatch.setattr(dispatch, "_silent_until", float("inf"))
    drain()
    assert (reread(sender).state, reread(waits).state) == ("completed", "completed")


def test_a_repeated_call_sends_nothing_a_second_time():
    first = called(signal="paid", correlation="A-17")
    assert called(signal="paid", correlation="A-17") == first
    assert Signal.objects.count() == 1


def test_an_execution_that_is_not_there_and_one_that_has_ended_are_errors():
    with pytest.raises(BuiltinError) as caught:
        called(signal="paid", execution=1)
    assert (caught.value.code, caught.value.retryable) == ("signal.no_execution", False)
    ended = run(published([{"id": "a", "type": "action", "config": {"action": "noop"}}]))
    with pytest.raises(BuiltinError, match="has ended: it is completed") as caught:
        called(signal="paid", execution=ended.pk)
    assert (caught.value.code, caught.value.retryable) == ("signal.not_sent", False)
    assert not Signal.objects.exists()


def test_a_payload_that_breaks_the_schema_is_not_sent_and_its_place_is_said():
    waits = run(published([waiting(schema=SCHEMA)]))
    with pytest.raises(BuiltinError) as caught:
        called(signal="paid", execution=waits.pk, payload={"sum": "x"})
    assert caught.value.details["problems"][0]["path"] == "$.payload.sum"
    assert not Signal.objects.exists()
    assert reread(waits).state == "waiting"
