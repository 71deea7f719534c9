"""Signals from the sender to the step: given once, kept while nobody waits, refused with reason."""

from __future__ import annotations

import contextlib
import io
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from autopilot.accounts.actors import Actor
from autopilot.accounts.kinds import ActorKind
from autopilot.accounts.models import AuditEntry
from autopilot.common import clock
from autopilot.common.errors import PermissionDenied
from executions.errors import (
    ExecutionEnded,
    IdempotencyConflict,
    SignalInvalid,
    SignalRefused,
    SignalTooLarge,
)
from executions.models import Execution, InboxMessage, LogLine, Signal, SignalWait
from executions.runtime import matching, runner
from executions.services import cancel_execution
from executions.signalling import SignalRequest, broadcast_signal, send_signal, send_signals
from tests.engine import SYSTEM, drain, published, reread, run, started

pytestmark = pytest.mark.django_db(transaction=True)

SUM = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}


def paying(**fields: Any) -> dict[str, Any]:
    config = {"signal": "paid", "correlation": "{{ input.order }}", **fields.pop("config", {})}
    return {"id": "pay", "type": "signal", "config": config, **fields}


def sent(payload: Any = None, correlation: Any = "A-17", **options: Any) -> Signal:
    return send_signal(
        name="paid", actor=SYSTEM, payload=payload, correlation=correlation, **options
    ).signal


def state_of(signal: Signal) -> str:
    return Signal.objects.get(pk=signal.pk).state


def outcome(execution: Execution) -> tuple[str, Any]:
    row = reread(execution)
    return row.state, row.output if row.output is not None else row.error_code


def test_the_data_reach_the_step_that_waits():
    execution = run(published([paying()]), {"order": "A-17"})
    assert (execution.state, execution.reason) == ("waiting", "signal")
    signal = sent({"sum": 9})
    assert state_of(signal) == "offered"
    drain()
    assert outcome(execution) == ("completed", {"sum": 9})
    row = Signal.objects.get(pk=signal.pk)
    assert (row.state, row.execution_id, row.payload) == ("consumed", execution.pk, None)
    assert not SignalWait.objects.exists()
    entry = AuditEntry.objects.get(action="signal.sent")
    assert entry.after == {"signal": "paid", "correlation": "A-17"}


def test_one_that_came_early_is_kept_and_consumed_once():
    early = sent({"sum": 1})
    workflow = published([paying()])
    first = run(workflow, {"order": "A-17"})
    assert outcome(first) == ("completed", {"sum": 1})
    assert state_of(early) == "consumed"
    second = run(workflow, {"order": "A-17"})
    assert second.state == "waiting"


def test_a_number_is_the_same_as_its_text():
    execution = run(published([paying()]), {"order": 17})
    sent(5, correlation="17")
    drain()
    assert outcome(execution) == ("completed", 5)


def test_sent_to_an_execution_it_needs_no_correlation():
    workflow = published([paying(config={"correlation": None})])
    one, two = run(workflow, {}), run(workflow, {})
    sent("for two", correlation="", execution=two)
    drain()
    assert outcome(two) == ("completed", "for two")
    assert reread(one).state == "waiting"


def test_items_of_a_map_are_reached_by_the_execution_they_belong_to():
    step = paying(config={"correlation": "{{ order }}"})
    items = {"items": "input.orders", "as": "order", "steps": [{"name": "pay", **step}]}
    workflow = published([{"id": "all", "type": "map", "config": items}])
    execution = run(workflow, {"orders": ["A", "B"]})
    sent("b", correlation="B", execution=execution)
    sent("a", correlation="", execution=execution)
    drain()
    assert outcome(execution) == ("completed", ["a", "b"])


def test_of_several_the_one_that_waited_longest_gets_it():
    workflow = published([paying()])
    first, second = run(workflow, {"order": "A-17"}), run(workflow, {"order": "A-17"})
    sent(1)
    drain()
    assert outcome(first) == ("completed", 1)
    assert reread(second).state == "waiting"
    sent(2)
    drain()
    assert outcome(second) == ("completed", 2)


def test_only_executions_of_the_named_workflow_get_it():
    mine, other = published([paying()]), published([paying()], slug="other")
    first, second = run(other, {"order": "A-17"}), run(mine, {"order": "A-17"})
    sent(1, workflow=mine)
    sent(2)
    drain()
    assert (outcome(first), outcome(second)) == (("completed", 2), ("completed", 1))


def test_a_broadcast_reaches_all_that_wait_and_nobody_later():
    workflow = published([paying()])
    waiting = [run(workflow, {"order": order}) for order in ("A", "B")]
    copies = broadcast_signal(name="paid", actor=SYSTEM, payload=3)
    assert [each.signal.target_id for each in copies] == [each.pk for each in waiting]
    drain()
    assert [outcome(each) for each in waiting] == [("completed", 3)] * 2
    assert broadcast_signal(name="paid", actor=SYSTEM, payload=4, correlation="A") == []
    assert run(workflow, {"order": "A"}).state == "waiting"


def test_many_in_one_call_and_two_loops_of_one_execution():
    steps = [paying(), {**paying(), "id": "again", "name": "again"}]
    workflow = published(steps, output="{{ [steps.pay.output, steps.again.output] }}")
    execution = run(workflow, {"order": "A-17"})
    results = send_signals(
        signals=[SignalRequest("paid", n, "A-17") for n in range(3)], actor=SYSTEM
    )
    drain()
    assert outcome(execution) == ("completed", [0, 1])
    assert [state_of(each.signal) for each in results] == ["consumed", "consumed", "kept"]


def test_a_roll_back_leaves_nothing():
    execution = run(published([paying()]), {"order": "A-17"})
    with transaction.atomic():
        sent(1)
        transaction.set_rollback(True)
    drain()
    assert reread(execution).state == "waiting"
    assert not Signal.objects.exists()
    assert not AuditEntry.objects.filter(action="signal.sent").exists()


def test_the_same_key_answers_the_first_and_other_content_is_refused():
    first = send_signal(name="paid", actor=SYSTEM, payload=1, correlation="A", idempotency_key="k1")
    again = send_signal(name="paid", actor=SYSTEM, payload=1, correlation="A", idempotency_key="k1")
    assert (first.created, again.created, again.signal.pk) == (True, False, first.signal.pk)
    with pytest.raises(IdempotencyConflict) as refused:
        send_signal(name="paid", actor=SYSTEM, payload=2, correlation="A", idempotency_key="k1")
    assert refused.value.details[0].path == "$.idempotency_key"
    assert Signal.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "error", "path"),
    [
        ({"name": ""}, SignalInvalid, "$.signal"),
        ({"correlation": ""}, SignalInvalid, "$.correlation"),
        ({"correlation": "x" * 201}, SignalInvalid, "$.correlation"),
        ({"correlation": True}, SignalInvalid, "$.correlation"),
        ({"payload": "\x00"}, SignalInvalid, "$.payload"),
        ({"payload": "x" * 300_000}, SignalTooLarge, "$.payload"),
        ({"idempotency_key": "x" * 201}, SignalInvalid, "$.idempotency_key"),
    ],
)
def test_what_cannot_be_sent_says_where(fields: dict[str, Any], error: type, path: str):
    with pytest.raises(error) as refused:
        send_signal(**{"name": "paid", "actor": SYSTEM, "correlation": "A", **fields})
    assert [each.path for each in refused.value.details] == [path]
    assert not Signal.objects.exists()


def test_an_ended_execution_gets_none():
    execution = run(published([{"id": "a", "type": "action", "config": {"action": "noop"}}]))
    with pytest.raises(ExecutionEnded):
        sent(1, execution=execution)
    assert not Signal.objects.exists()


def test_without_the_permission_nothing_is_sent():
    viewer = Actor(ActorKind.USER, 1, "vera", frozenset({"executions.view_execution"}))
    with pytest.raises(PermissionDenied):
        send_signal(name="paid", actor=viewer, correlation="A")
    assert not Signal.objects.exists()


def test_data_that_break_the_schema_of_the_step_that_waits_are_refused_at_sending():
    execution = run(published([paying(config={"schema": SUM})]), {"order": "A-17"})
    with pytest.raises(SignalRefused) as refused:
        sent({"sum": "nine"})
    assert [each.path for each in refused.value.details] == ["$.payload.sum"]
    with pytest.raises(SignalRefused) as refused:
        send_signals(
            signals=[SignalRequest("paid", {"sum": 1}, "B"), SignalRequest("paid", {}, "A-17")],
            actor=SYSTEM,
        )
    assert [each.path for each in refused.value.details] == ["$.signals[1].payload.sum"]
    assert not Signal.objects.exists()
    assert not InboxMessage.objects.filter(execution=execution).exists()


def test_an_early_one_that_breaks_the_schema_is_marked_and_the_next_one_counts():
    bad, good = sent({"sum": "nine"}), sent({"sum": 9})
    execution = run(published([paying(config={"schema": SUM})]), {"order": "A-17"})
    assert outcome(execution) == ("completed", {"sum": 9})
    assert (state_of(bad), state_of(good)) == ("refused", "consumed")
    refusal = Signal.objects.get(pk=bad.pk).refusal
    assert refusal.startswith("It breaks the schema at $.payload.sum: ")
    line = LogLine.objects.get(execution=execution)
    assert (line.event, line.fields["signal"]) == ("signal.refused", bad.pk)


def test_what_was_given_to_a_step_that_ends_otherwise_is_free_for_the_next():
    workflow = published([paying()])
    first = run(workflow, {"order": "A-17"})
    cancel_execution(execution=first, actor=SYSTEM)
    signal = sent(1)
    assert state_of(signal) == "offered"
    drain()
    assert (reread(first).state, state_of(signal)) == ("cancelled", "kept")
    second = run(workflow, {"order": "A-17"})
    assert outcome(second) == ("completed", 1)


def test_a_signal_that_was_accepted_is_not_beaten_by_a_timeout_planned_before_it():
    """The worker has found the time to be up; before it can write that, the signal comes."""
    execution = run(published([paying(timeout=3600)]), {"order": "A-17"})
    moment = clock.now() - timedelta(seconds=1)
    Execution.objects.filter(pk=execution.pk).update(wait_until=moment, runnable_at=moment)
    planned = runner.build
    signals: list[Signal] = []

    def build_late(**parts: Any) -> Any:
        checkpoint = planned(**parts)
        if checkpoint.heeds and not signals:
            signals.append(_in_a_thread(lambda: sent(7)))
        return checkpoint

    runner.build = build_late
    try:
        drain()
    finally:
        runner.build = planned
    assert outcome(execution) == ("completed", 7)
    assert state_of(signals[0]) == "consumed"


def _in_a_thread(work: Any) -> Any:
    def run_it() -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run_it).result()


def test_a_timeout_leaves_the_signal_that_comes_after_it_for_another():
    execution = run(published([paying(timeout=3600)]), {"order": "A-17"})
    moment = clock.now() - timedelta(seconds=1)
    Execution.objects.filter(pk=execution.pk).update(wait_until=moment, runnable_at=moment)
    drain()
    assert outcome(execution) == ("failed", "signal.timeout")
    assert state_of(sent(1)) == "kept"


def test_the_clock_finds_a_pair_that_nobody_matched(monkeypatch: pytest.MonkeyPatch):
    execution = run(published([paying()]), {"order": "A-17"})
    with monkeypatch.context() as patched:
        patched.setattr("executions.signalling.match_signals", lambda ids: None)
        signal = sent(1)
    assert state_of(signal) == "kept"
    assert matching.match_late(10.0) == {"default"}
    drain()
    assert outcome(execution) == ("completed", 1)
    other = run(published([paying()], slug="other"), {"order": "A-17"})
    with monkeypatch.context() as patched:
        patched.setattr("executions.signalling.match_signals", lambda ids: None)
        sent(2)
    assert matching.match_all() == {"default"}
    drain()
    assert outcome(other) == ("completed", 2)


def test_what_was_kept_long_enough_is_forgotten():
    old, young = sent(1), sent(2)
    Signal.objects.filter(pk=old.pk).update(expires_at=clock.now() - timedelta(seconds=1))
    execution = started(published([paying()]), {"order": "A-17"})
    drain()
    assert outcome(execution) == ("completed", 2)
    assert matching.purge() == 1
    assert list(Signal.objects.values_list("pk", flat=True)) == [young.pk]


def test_from_the_terminal():
    execution = run(published([paying(config={"schema": SUM})]), {"order": "A-17"})

    def ask(*arguments: str) -> tuple[str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.suppress(SystemExit):
            call_command("executions", "signal", *arguments, stdout=out, stderr=err)
        return out.getvalue(), err.getvalue()

    out, err = ask("paid", "--correlation", "A-17", "--payload", '{"sum": "x"}')
    assert (out, "$.payload.sum" in err) == ("", True)
    assert ask("paid", "--id", "999") == ("", "There is no execution 999.\n")
    assert ask("paid", "--broadcast", "--correlation", "B") == ("Nobody waits for it.\n", "")
    assert not Signal.objects.exists()
    out, err = ask("paid", "--id", str(execution.pk), "--payload", '{"sum": 3}')
    assert (out.split()[1:], err) == (["offered", "execution", str(execution.pk)], "")
    drain()
    assert outcome(execution) == ("completed", {"sum": 3})
