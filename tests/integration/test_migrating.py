"""Moving executions to another version: each kind of rest, and to the end by the new version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from executions.approvals.deciding import decide
from executions.calling_back import complete_callback
from executions.models import (
    Approval,
    Callback,
    Execution,
    LogLine,
    MigrationItem,
    StepExecution,
)
from executions.reads import context_of, steps_of
from executions.services import (
    cancel_execution,
    pause_execution,
    resume_execution,
    retry_execution,
)
from executions.signalling import send_signal
from executions.situations import situation_of
from tests.engine import NOOP, SYSTEM, drain, published, reread, run, started
from tests.migrating import item_of, looked_at, moved, next_version, place_of, undone
from tests.probe.actions import HANDED_OVER

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nothing_handed_over() -> None:
    HANDED_OVER.clear()


def transform(id: str, output: Any, **fields: Any) -> dict[str, Any]:
    return {"id": id, "type": "transform", "config": {"output": output}, **fields}


def signal(id: str = "pay", **config: Any) -> dict[str, Any]:
    return {"id": id, "type": "signal", "config": {"signal": "paid", **config}}


def wait(id: str = "later", duration: str = "1h", **fields: Any) -> dict[str, Any]:
    return {"id": id, "type": "wait", "config": {"duration": duration}, **fields}


def pay(execution: Execution, payload: Any = 7) -> None:
    send_signal(name="paid", actor=SYSTEM, execution=execution, payload=payload)


def make_due(execution: Execution) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE executions_execution SET wait_until = now() - interval '1 s', "
            "runnable_at = now() - interval '1 s' WHERE id = %s",
            [execution.pk],
        )


def names_of(execution: Execution) -> list[tuple[str, str]]:
    rows = StepExecution.objects.filter(execution=execution).order_by("seq", "attempt")
    return list(rows.values_list("step_id", "state"))


FIRST = transform("load", {"total": "{{ input.total }}"})


def test_a_renamed_step_goes_on_under_its_new_name_with_what_was_recorded() -> None:
    workflow = published([FIRST, signal(), transform("sum", "{{ steps.pay.output }}")])
    execution = run(workflow, {"total": 30})
    next_version(
        workflow,
        [
            {**FIRST, "id": "fetch"},
            signal("payment"),
            transform("sum", "{{ steps.fetch.output.total + steps.payment.output }}"),
        ],
    )
    before = reread(execution)
    migration = moved(workflow, reason="names people understand")
    item = item_of(migration, execution)
    row = reread(execution)
    assert (migration.state, item.state, item.message) == ("done", "moved", "")
    assert (row.version.version, row.current_step, row.state) == ("1.1.0", "payment", "waiting")
    assert (row.epoch, row.revision) == (before.epoch + 1, before.revision + 1)
    (line,) = LogLine.objects.filter(execution=execution)
    assert (line.event, line.fields) == (
        "execution.moved",
        {
            "from": "1.0.0",
            "to": "1.1.0",
            "by": "tests",
            "migration": migration.pk,
            "reason": "names people understand",
        },
    )
    told = situation_of(row).why.details["moved"]
    assert (told["from"], told["to"], told["by"]) == ("1.0.0", "1.1.0", "tests")
    pay(execution)
    drain()
    done = reread(execution)
    assert (done.state, done.output) == ("completed", 37)
    # What was recorded before stays as it was recorded.
    assert names_of(execution) == [
        ("load", "completed"),
        ("payment", "completed"),
        ("sum", "completed"),
    ]


def test_every_kind_of_rest_is_carried_over() -> None:
    rests = {
        "timer": wait(),
        "signal": signal("later"),
        "approval": {"id": "later", "type": "approval", "config": {"title": "Pay?"}},
        "callback": {
            "id": "later",
            "type": "action",
            "config": {"action": "probe.hand_over", "with": {"order": "{{ input.total }}"}},
        },
        "backoff": {
            "id": "later",
            "type": "action",
            "config": {"action": "probe.fail_first", "with": {"file": "/nowhere", "key": "k"}},
            "retry": {"max_attempts": 3, "initial_interval": "1h"},
        },
    }
    for reason, step in rests.items():
        workflow = published([FIRST, step, transform("last", 1)])
        execution = run(workflow, {"total": 30})
        assert (execution.state, execution.reason) == ("waiting", reason)
        renamed = {**step, "id": "then"}
        if reason == "backoff":
            renamed["config"] = {"action": "noop"}
        next_version(workflow, [FIRST, renamed, transform("last", "{{ steps.load.output.total }}")])
        until = reread(execution).runnable_at
        migration = moved(workflow, {"later": "then"})
        assert item_of(migration, execution).message == ""
        row = reread(execution)
        assert (row.current_step, row.state, row.reason) == ("then", "waiting", reason)
        assert row.runnable_at == until
        if reason == "signal":
            pay(execution)
        elif reason == "approval":
            approval = Approval.objects.get(execution=execution)
            assert approval.step_id == "then"
            decide(approval=approval, actor=SYSTEM, approve=True)
        elif reason == "callback":
            assert Callback.objects.get(execution=execution).step_id == "then"
            complete_callback(token=HANDED_OVER.pop(), output={"ok": True})
        else:
            make_due(execution)
        drain()
        done = reread(execution)
        assert (done.state, done.output) == ("completed", 30), (reason, done.error)
        attempts = StepExecution.objects.filter(execution=execution, step_id="then")
        assert [each.attempt for each in attempts] == [2 if reason == "backoff" else 1]


def test_what_has_not_begun_and_what_is_paused_or_failed_goes_on_by_the_new_version() -> None:
    bad = transform("bad", "{{ input.nothing }}")
    workflow = published([FIRST, bad])
    failed = run(workflow, {"total": 1})
    halted = started(workflow, {"total": 3})
    pause_execution(execution=halted, actor=SYSTEM)
    drain()
    fresh = started(workflow, {"total": 2})
    next_version(workflow, [FIRST, transform("bad", "{{ steps.load.output.total * 10 }}")])
    # What has failed is only moved if somebody says so.
    assert set(looked_at(workflow)) == {fresh.pk, halted.pk}
    migration = moved(workflow, ids=[failed.pk, fresh.pk, halted.pk])
    assert set(migration.items.values_list("state", flat=True)) == {"moved"}
    assert reread(failed).state == "failed"
    retry_execution(execution=failed, actor=SYSTEM)
    resume_execution(execution=halted, actor=SYSTEM)
    drain()
    outputs = [reread(each).output for each in (failed, fresh, halted)]
    assert outputs == [10, 20, 30]


def test_inside_of_everything_the_whole_tree_moves() -> None:
    def steps(group: str, many: str, both: str, ask: str) -> list[dict[str, Any]]:
        item = [transform("double", "{{ n * 2 }}"), signal(ask, correlation="{{ n }}")]
        branches = [
            {"name": "a", "steps": [transform("quick", "a")]},
            {
                "name": "b",
                "steps": [
                    {
                        "id": many,
                        "type": "map",
                        "config": {"items": "input.all", "as": "n", "steps": item},
                    }
                ],
            },
        ]
        return [
            {
                "id": group,
                "type": "group",
                "timeout": "1h",
                "config": {
                    "steps": [{"id": both, "type": "parallel", "config": {"branches": branches}}]
                },
            }
        ]

    workflow = published(steps("g", "each", "both", "ask"))
    execution = run(workflow, {"all": [1, 2]})
    send_signal(name="paid", actor=SYSTEM, correlation="1", payload="one")
    drain()
    tree = Execution.objects.order_by("pk")
    assert [(row.kind, row.state) for row in tree] == [
        ("root", "waiting"),
        ("branch", "completed"),
        ("branch", "waiting"),
        ("item", "completed"),
        ("item", "waiting"),
    ]
    next_version(workflow, steps("group", "list", "sides", "question"))
    before = {row.pk: place_of(row) for row in tree}
    migration = moved(workflow)
    assert item_of(migration, execution).message == ""
    names = [(row.version.version, row.parent_step, row.current_step) for row in tree.all()]
    assert names == [
        ("1.1.0", "", "sides"),
        ("1.0.0", "sides", ""),
        ("1.1.0", "sides", "list"),
        ("1.0.0", "list", ""),
        ("1.1.0", "list", "question"),
    ]
    # As nothing has run since, all of it can be put back exactly.
    undone(migration)
    after = {row.pk: place_of(row) for row in tree.all()}
    for pk, row in after.items():
        changed = {name for name, value in row.items() if value != before[pk][name]}
        assert changed <= {"epoch", "revision"}, (pk, changed)
    assert item_of(migration, execution).state == "undone"
    assert item_of(moved(workflow), execution).message == ""
    send_signal(name="paid", actor=SYSTEM, correlation="2", payload="two")
    drain()
    drain()
    done = reread(execution)
    assert (done.state, done.output) == ("completed", {"a": "a", "b": ["one", "two"]})


def test_in_a_loop_the_latest_result_counts_under_either_name() -> None:
    def steps(count: str, *, factor: int) -> list[dict[str, Any]]:
        default = f"default(steps.{count}.output, 0)"
        return [
            transform(count, f"{{{{ {default} + {factor} }}}}"),
            signal(),
            {
                "id": "more",
                "type": "choice",
                "config": {
                    "choices": [{"when": f"steps.{count}.output < 12", "next": count}],
                    "default": "end",
                },
            },
        ]

    workflow = published(steps("count", factor=1), output="{{ steps.count.output }}")
    execution = run(workflow)
    for _ in range(2):
        pay(execution)
        drain()
    next_version(workflow, steps("total", factor=10), output="{{ steps.total.output }}")
    assert item_of(moved(workflow, {"count": "total"}), execution).state == "moved"
    pay(execution)
    drain()
    pay(execution)
    drain()
    done = reread(execution)
    assert (done.state, done.output) == ("completed", 13)


def test_names_follow_through_several_moves_even_if_one_is_used_again() -> None:
    workflow = published([transform("a", 1), signal()])
    execution = run(workflow)
    next_version(workflow, [transform("b", 1), signal()])
    next_version(
        workflow,
        [transform("a", 5), transform("c", 1), signal(), transform("last", "{{ steps.c.output }}")],
    )
    assert item_of(moved(workflow, {"a": "b"}), execution).state == "moved"
    mapping = {"b": "c"}
    assert (
        item_of(moved(workflow, mapping, source="1.1.0", target="1.2.0"), execution).state
        == "moved"
    )
    pay(execution)
    drain()
    assert reread(execution).output == 1
    assert names_of(execution)[0] == ("a", "completed")


def test_what_stands_in_the_way_is_said_and_nothing_is_changed() -> None:
    workflow = published([FIRST, signal(), wait()], input_schema={"type": "object"})
    at_signal = run(workflow, {"total": 1})
    at_wait = run(workflow, {"total": 2})
    pay(at_wait)
    drain()
    ended = run(workflow, {"total": 3})
    cancel_execution(execution=ended, actor=SYSTEM)
    drain()
    other = run(published([signal()]))
    next_version(
        workflow,
        [
            FIRST,
            transform("score", {"risk": 1}),
            {**signal(), "config": {"signal": "settled"}},
            wait("much_later"),
            transform("last", "{{ steps.score.output.risk }}"),
        ],
        input_schema={"type": "object", "required": ["name"]},
    )
    ids = [at_signal.pk, at_wait.pk, ended.pk, other.pk]
    before = [place_of(Execution(pk=pk)) for pk in ids]
    migration = moved(workflow, {"later": None}, ids=ids)
    found = {item.execution_id: (item.state, item.code) for item in migration.items.all()}
    assert found == {
        at_signal.pk: ("refused", "migration.other_signal"),
        at_wait.pk: ("refused", "migration.step_unmapped"),
        ended.pk: ("refused", "migration.ended"),
        other.pk: ("refused", "migration.other_workflow"),
    }
    assert [place_of(Execution(pk=pk)) for pk in ids] == before
    assert not LogLine.objects.exists()
    # The signal as it was: what is left is the input, and the step that did not run.
    steps = [FIRST, transform("score", {"risk": 1}), signal(), wait()]
    end = transform("last", "{{ steps.score.output.risk }}")
    next_version(workflow, [*steps, end], input_schema={"type": "object", "required": ["name"]})
    next_version(workflow, [*steps, end])
    assert looked_at(workflow, target="1.2.0")[at_signal.pk] == "migration.input"
    assert looked_at(workflow, target="1.3.0")[at_signal.pk] == "migration.needs_step"
    (refused,) = [
        each
        for each in moved(workflow, target="1.3.0", ids=[at_signal.pk]).items.all()
        if each.execution_id == at_signal.pk
    ]
    assert (refused.path, refused.message) == (
        "$.steps[4].config.output",
        "1.3.0 goes on to use `steps.score.output.risk` (at $.steps[4].config.output), and that "
        "step has not run here, and won't any more.",
    )


def test_what_was_recorded_has_to_have_what_is_asked_of_it() -> None:
    def version(kept: str, end: Any) -> list[dict[str, Any]]:
        return [
            transform("load", "{{ input }}", assign={kept: 1}),
            signal(),
            transform("last", end),
        ]

    workflow = published(version("n", 1))
    has, lacks = run(workflow, {"email": "a@b.c"}), run(workflow, {})
    next_version(workflow, version("n", "{{ steps.load.output.email }}"))
    next_version(workflow, version("m", "{{ vars.m }}"))
    next_version(workflow, version("n", "{{ input.email }}"))
    assert looked_at(workflow) == {has.pk: "", lacks.pk: "migration.needs_output"}
    assert set(looked_at(workflow, target="1.2.0").values()) == {"migration.needs_variable"}
    assert looked_at(workflow, target="1.3.0") == {has.pk: "", lacks.pk: "migration.needs_input"}


def test_time_limits_go_by_the_new_version_and_timers_keep_their_moment() -> None:
    workflow = published([wait(duration="2h")], timeout="3h")
    execution = run(workflow)
    timer = execution.wait_until
    next_version(workflow, [wait(duration="5m")], timeout="10h")
    next_version(workflow, [wait(duration="5m")], timeout="1h")
    moved(workflow)
    row = reread(execution)
    assert (row.wait_until, row.runnable_at) == (timer, timer)
    assert (row.deadline_at - row.started_at).total_seconds() == 36_000
    item_of(moved(workflow, source="1.1.0", target="1.2.0"), execution)
    row = reread(execution)
    assert (row.deadline_at - row.started_at).total_seconds() == 3_600
    assert (row.wait_until, row.runnable_at) == (timer, row.deadline_at)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE executions_execution SET deadline_at = deadline_at - interval '1h'")
    next_version(workflow, [wait(duration="5m")], timeout="59m")
    assert looked_at(workflow, source="1.2.0", target="1.3.0") == {
        execution.pk: "migration.too_late"
    }


def test_a_concurrency_key_stays_and_its_limit_is_the_new_one() -> None:
    rule = {"key": "input.who", "limit": 1, "on_limit": "queue"}
    workflow = published([signal()], concurrency=rule)
    first, second = run(workflow, {"who": "ada"}), run(workflow, {"who": "ada"})
    assert (first.slot_held, second.reason) == (True, "slot")
    next_version(workflow, [signal()], concurrency={**rule, "limit": 2})
    next_version(workflow, [signal()], concurrency={**rule, "key": "'one for all'"})
    assert set(looked_at(workflow, target="1.2.0").values()) == {"migration.slot"}
    moved(workflow)
    rows = [reread(first), reread(second)]
    assert [(row.slot_held, row.slot_limit) for row in rows] == [(True, 2), (False, 2)]


def test_what_the_new_version_hides_is_hidden_from_then_on(settings: Any) -> None:
    card = "4929-7777-8888-9012"
    steps = [
        transform("load", {"card": "{{ input.card }}"}, assign={"kept": "{{ input.card }}"}),
        signal(),
        transform("last", "{{ steps.load.output.card }}/{{ vars.kept }}"),
    ]
    workflow = published(steps)
    execution = run(workflow, {"card": card})
    next_version(workflow, steps, redact=["/input/card"])
    moved(workflow)
    row = reread(execution)
    assert (row.input, row.variables) == ({"card": "•••"}, {"kept": "•••"})
    pay(execution)
    drain()
    done = reread(execution)
    assert (done.state, done.output) == ("completed", "•••/•••")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT step_id FROM executions_stepexecution WHERE output::text LIKE %s", [f"%{card}%"]
        )
        # Only what was recorded before.
        assert cursor.fetchall() == [("load",)]


def test_why_one_is_refused_says_nothing_of_what_is_hidden() -> None:
    card = "4929-7777-8888-9012"
    redact = ["/input/card"]
    workflow = published([signal()], redact=redact)
    execution = run(workflow, {"card": card})
    schema = {"type": "object", "properties": {"card": {"enum": ["none"]}}}
    next_version(workflow, [signal()], redact=redact, input_schema=schema)
    item = item_of(moved(workflow), execution)
    assert (item.state, item.code) == ("refused", "migration.input")
    assert card not in item.message
    rule = {"key": "{'none': 1}[input.card]", "limit": 1}
    next_version(workflow, [signal()], redact=redact, concurrency=rule)
    item = item_of(moved(workflow, target="1.2.0"), execution)
    assert (item.state, item.code) == ("refused", "migration.slot")
    assert card not in item.message


def test_undoing_leaves_alone_what_has_gone_on() -> None:
    workflow = published([signal(), signal("again")])
    stays, goes = run(workflow), run(workflow)
    next_version(workflow, [signal(), signal("again"), NOOP | {"id": "last"}])
    migration = moved(workflow)
    pay(goes)
    drain()
    undone(migration, reason="not yet")
    assert [(each.execution_id, each.state, each.code) for each in migration.items.all()] == [
        (stays.pk, "undone", ""),
        (goes.pk, "kept", "migration.gone_on"),
    ]
    assert (reread(stays).version.version, reread(goes).version.version) == ("1.0.0", "1.1.0")
    events = LogLine.objects.filter(execution=stays).order_by("seq")
    assert [(each.event, each.fields["to"]) for each in events] == [
        ("execution.moved", "1.1.0"),
        ("execution.moved_back", "1.0.0"),
    ]
    assert MigrationItem.objects.filter(before__isnull=False).count() == 1


def test_a_call_keeps_its_idempotency_key_over_attempts_whatever_its_step_is_called(
    tmp_path: Path,
) -> None:
    file = tmp_path / "calls"

    def steps(id: str) -> list[dict[str, Any]]:
        config = {"action": "probe.trace", "with": {"seconds": 9, "file": str(file)}}
        retry = {"max_attempts": 2, "initial_interval": "1h"}
        return [{"id": id, "type": "action", "config": config, "timeout": 0.05, "retry": retry}]

    workflow = published(steps("charge"))
    execution = run(workflow)
    assert execution.reason == "backoff"
    next_version(workflow, steps("pay"))
    moved(workflow)
    next_version(workflow, steps("settle"))
    moved(workflow, source="1.1.0", target="1.2.0")
    make_due(execution)
    drain()
    keys = [line.split()[0] for line in file.read_text().splitlines()]
    assert keys == [f"{execution.pk}-charge-1"] * 2
    # What is shown goes by the names of the version that it runs.
    shown = [(each.step_id, each.recorded_as) for each in steps_of(reread(execution))]
    assert shown == [("settle", "charge"), ("settle", "")]
    assert list(context_of(reread(execution))["steps"]) == ["settle"]


def test_a_child_workflow_stays_when_its_parent_moves_and_moves_within_its_range() -> None:
    child = published([signal()])
    call = {
        "id": "sub",
        "type": "workflow",
        "config": {"workflow": child.slug, "version": "~1.0"},
    }
    parent = published([call])
    execution = run(parent)
    inner = Execution.objects.get(parent=execution)
    next_version(parent, [{**call, "id": "inner"}])
    next_version(child, [signal("paid")])
    assert item_of(moved(parent), execution).state == "moved"
    assert (reread(inner).version.version, reread(inner).parent_step) == ("1.0.0", "inner")
    (refused,) = moved(child).items.all()
    assert (refused.execution_id, refused.code) == (inner.pk, "migration.child_range")
    pay(inner)
    drain()
    drain()
    assert reread(execution).state == "completed"


def test_what_failed_in_a_map_goes_on_by_the_corrected_version_and_nothing_else_runs_again() -> (
    None
):
    def steps(each: str, call: str, output: Any) -> list[dict[str, Any]]:
        inner = [transform("seen", "{{ n }}"), transform(call, output)]
        config = {"items": "input.all", "as": "n", "steps": inner}
        return [{"id": each, "type": "map", "config": config}]

    workflow = published(steps("each", "invert", "{{ 100 // steps.seen.output }}"))
    execution = run(workflow, {"all": [5, 0, 4]})
    parts = Execution.objects.filter(parent=execution).order_by("item_index")
    states = [row.state for row in parts]
    assert (execution.state, states) == ("failed", ["completed", "failed", "completed"])
    guarded = "{{ 100 // steps.seen.output if steps.seen.output else 0 }}"
    next_version(workflow, steps("numbers", "ratio", guarded))
    mapping = {"each": "numbers", "invert": "ratio"}
    migration = moved(workflow, mapping, ids=[execution.pk])
    assert item_of(migration, execution).message == ""
    assert [(row.version.version, row.parent_step) for row in parts.all()] == [
        ("1.0.0", "numbers"),
        ("1.1.0", "numbers"),
        ("1.0.0", "numbers"),
    ]
    retry_execution(execution=execution, actor=SYSTEM)
    drain()
    drain()
    done = reread(execution)
    assert (done.state, done.output) == ("completed", [20, 0, 25])
    assert [names_of(row)[-1][0] for row in parts.all()] == ["invert", "ratio", "invert"]
    assert parts.count() == 3


def test_a_promise_is_kept_with_the_rules_that_its_step_has_now() -> None:
    def steps(book: str, attempts: int) -> list[dict[str, Any]]:
        compensate = {
            "action": "probe.raise",
            "with": {"how": "action"},
            "retry": {"max_attempts": attempts, "initial_interval": 0.01},
        }
        return [{**NOOP, "id": book, "compensate": compensate}, signal()]

    workflow = published(steps("book", 1))
    execution = run(workflow)
    next_version(workflow, steps("reserve", 3))
    moved(workflow, {"book": "reserve"})
    cancel_execution(execution=execution, actor=SYSTEM, compensate=True)
    drain()
    done = reread(execution)
    assert (done.state, done.reason) == ("cancelled", "compensation_failed")
    undoing = StepExecution.objects.filter(execution=execution, type="compensation")
    assert undoing.count() == 3
