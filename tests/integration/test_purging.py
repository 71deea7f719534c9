"""Deleting what has ended long ago: all of it, nothing else, and only where nobody needs it."""

from __future__ import annotations

import io
import json
from collections import Counter
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from autopilot.common import clock
from autopilot.common.errors import Invalid, PermissionDenied
from executions import holding, purging, purging_sql, services
from executions.models import (
    Approval,
    ErrorStart,
    Execution,
    InboxMessage,
    LogLine,
    StateTransition,
    StepExecution,
    Worker,
)
from monitoring import retention
from monitoring.models import Purge
from monitoring.retention import Terms, preview_purge, purge_executions
from tests.engine import NOOP, SYSTEM, drain, published, reread, run, started
from tests.factories import actor_with
from workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)
FAIL = {"id": "stop", "type": "fail", "config": {"error": "trip.sold_out", "message": "No seat."}}
EACH = {
    "id": "each",
    "type": "map",
    "config": {
        "items": "input.items",
        "as": "item",
        "steps": [{"id": "one", "name": "One", **NOOP}],
    },
}


def age(*executions: Execution, days: int = 100) -> None:
    """As if they had been accepted and had ended so long ago, with all their parts."""
    for one in executions:
        tree = [one.pk, *Execution.objects.filter(parent=one.pk).values_list("pk", flat=True)]
        for row in Execution.objects.filter(pk__in=tree):
            earlier = timedelta(days=days)
            moments: dict[str, Any] = {"created_at": row.created_at - earlier}
            if row.ended_at:
                moments["ended_at"] = row.ended_at - earlier
            Execution.objects.filter(pk=row.pk).update(**moments)


def terms(**options: Any) -> Terms:
    return Terms(before=clock.now() - timedelta(days=90), **options)


def purge(**options: Any) -> tuple[Purge, Counter[str]]:
    given = {"terms": terms(), "actor": SYSTEM, "rest": lambda seconds: None, **options}
    return purge_executions(**given)


def everything() -> list[int]:
    models = (Execution, StepExecution, StateTransition, InboxMessage, LogLine, ErrorStart)
    return [model.objects.count() for model in models]


def test_old_trees_go_with_all_that_is_recorded_and_nothing_else_does():
    workflow = published([EACH])
    old, young = (run(workflow, {"items": [1, 2, 3]}) for _ in range(2))
    age(old)
    before = everything()

    record, kept = purge()

    assert (record.trees, record.executions, record.steps, record.kept) == (1, 4, 4, 0)
    assert record.ended_at is not None
    assert not kept
    assert everything() == [count // 2 for count in before]
    assert reread(young).state == "completed"
    assert not Execution.objects.filter(pk=old.pk).exists()
    entry = AuditEntry.objects.get(action="executions.purged")
    assert (entry.actor_name, entry.target_id) == ("tests", str(record.pk))
    assert (entry.after or {})["executions"] == 4
    assert AuditEntry.objects.filter(action="executions.purge_started").count() == 1
    # What was done to it stays on record.
    assert AuditEntry.objects.filter(action="execution.started", target_id=str(old.pk)).exists()


def test_only_the_states_and_the_workflow_that_are_meant():
    failing, working = published([FAIL], name="Fail"), published([{"id": "a", **NOOP}], name="Work")
    failed, done, other = run(failing), run(working), run(published([{"id": "a", **NOOP}]))
    age(failed, done, other)

    record, _ = purge(terms=terms(states=("completed",), workflow=working))

    assert (record.trees, record.workflow, record.states) == (1, "work", ["completed"])
    assert set(Execution.objects.values_list("pk", flat=True)) == {failed.pk, other.pk}


def test_what_a_kept_one_refers_to_stays_until_that_goes_too():
    workflow = published([{"id": "a", **NOOP}])
    first = run(workflow)
    again = services.rerun_execution(execution=first, actor=SYSTEM).execution
    drain()
    age(first)

    record, kept = purge()
    assert (record.trees, dict(kept)) == (0, {"referred to": 1})
    assert preview_purge(terms=terms(), actor=SYSTEM).kept == {"referred to": 1}

    age(reread(again))
    record, kept = purge()
    assert (record.trees, dict(kept), Execution.objects.count()) == (2, {}, 0)


def test_an_owed_error_workflow_and_what_can_still_be_undone_keep_it(tmp_path):
    published([{"id": "hear", **NOOP}], name="Hear")
    owing = run(published([FAIL], on_failure={"workflow": "hear"}))
    book = {"action": "probe.write", "with": {"file": str(tmp_path / "book"), "what": "x"}}
    done = {"id": "done", "type": "action", "config": book, "compensate": book}
    undoable = run(published([done, FAIL], name="Undo"))
    age(owing, undoable)

    record, kept = purge()

    assert (record.trees, record.kept) == (0, 2)
    assert dict(kept) == {"owes an error workflow": 1, "can be undone": 1}
    assert {reread(owing).state, reread(undoable).state} == {"failed"}


def test_a_part_that_has_not_ended_keeps_its_tree():
    execution = run(published([EACH]), {"items": [1, 2]})
    age(execution)
    with connection.cursor() as cursor:
        # A cancelled parent may be read before its items have heard of it.
        cursor.execute("ALTER TABLE executions_execution DISABLE TRIGGER USER")
        item = Execution.objects.filter(parent=execution).order_by("pk").first()
        assert item is not None
        Execution.objects.filter(pk=item.pk).update(state="running", ended_at=None)
        cursor.execute("ALTER TABLE executions_execution ENABLE TRIGGER USER")

    _, kept = purge()

    assert dict(kept) == {"under way": 1}
    assert Execution.objects.count() == 3


def test_the_next_one_of_an_endless_workflow_loses_sight_of_the_one_before():
    workflow = published([{"id": "a", **NOOP}])
    first, second = run(workflow), started(workflow)
    Execution.objects.filter(pk=second.pk).update(continued_from=first)
    age(first)

    _, kept = purge()
    assert dict(kept) == {"referred to": 1}

    drain()
    record, _ = purge()
    assert (record.trees, reread(second).continued_from_id) == (1, None)


def test_the_archive_has_every_line_before_anything_is_deleted():
    execution = run(published([EACH]), {"items": [7]}, labels={"team": "trips"})
    age(execution)
    found: list[dict[str, Any]] = []

    def keep(lines: list[str]) -> None:
        assert Execution.objects.count() == 2
        found.extend(json.loads(line) for line in lines)

    purge(archive=keep)

    root, item = found
    assert (root["archive"], root["workflow"], root["version"]) == (1, "test", "1.0.0")
    assert root["execution"]["labels"] == {"team": "trips"}
    assert [step["step_id"] for step in root["steps"]] == ["each"]
    assert [each["target"] for each in root["transitions"]][-1] == "completed"
    assert (item["execution"]["parent_id"], item["approvals"]) == (execution.pk, None)


def test_where_the_archive_fails_nothing_is_deleted():
    age(run(published([{"id": "a", **NOOP}])))

    def keep(lines: list[str]) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        purge(archive=keep)
    assert everything()[:2] == [1, 1]


def test_questions_go_with_everything_that_was_said_to_them():
    ask = {"id": "ask", "type": "approval", "config": {"title": "May it?"}}
    execution = run(published([ask]))
    services.cancel_execution(execution=execution, actor=SYSTEM)
    drain()
    age(reread(execution))
    assert Approval.objects.count() == 1

    purge()

    assert (Approval.objects.count(), Execution.objects.count()) == (0, 0)


def test_a_large_tree_goes_part_by_part_the_root_last(monkeypatch):
    monkeypatch.setattr(purging, "MAX_AT_ONCE", 3)
    execution = run(published([EACH]), {"items": [1, 2, 3, 4]})
    age(execution)
    left: list[tuple[int, bool]] = []

    def look(record: Purge) -> None:
        rows = Execution.objects.all()
        left.append((rows.count(), rows.filter(pk=execution.pk).exists()))

    record, _ = purge(on_progress=look)

    assert left == [(2, True), (0, False)]
    assert (record.trees, record.executions) == (1, 5)


def test_a_large_tree_that_could_be_retried_in_between_goes_at_once(monkeypatch):
    monkeypatch.setattr(purging, "MAX_AT_ONCE", 3)
    workflow = published([EACH, FAIL])
    small, large = run(workflow, {"items": [1]}), run(workflow, {"items": [1, 2, 3, 4]})
    newest = run(workflow, {"items": [1]})
    assert {reread(each).state for each in (small, large, newest)} == {"failed"}
    age(small, large, newest)
    left: list[set[int]] = []

    def look(record: Purge) -> None:
        left.append(set(Execution.objects.roots().values_list("pk", flat=True)))
        parts = Execution.objects.filter(parent=large).count()
        assert parts == (4 if large.pk in left[-1] else 0)

    record, _ = purge(on_progress=look)

    assert left == [{small.pk, large.pk}, {small.pk}, set()]
    assert (record.trees, record.executions) == (3, 9)


def test_what_somebody_holds_is_left_alone_and_not_waited_for():
    workflow = published([{"id": "a", **NOOP}])
    held, free = run(workflow), run(workflow)
    age(held, free)
    other = _connect()
    with other.cursor() as cursor:
        cursor.execute("SELECT 1 FROM executions_execution WHERE id = %s FOR KEY SHARE", [held.pk])
        record, _ = purge()
    other.close()

    assert record.trees == 1
    assert set(Execution.objects.values_list("pk", flat=True)) == {held.pk}


def _connect() -> Any:
    parameters = connection.get_connection_params()
    parameters.pop("cursor_factory", None)
    return psycopg2.connect(**parameters)


def test_it_rests_longer_only_while_somebody_waits_whom_a_worker_could_serve():
    workflow = published([{"id": "a", **NOOP}])
    ended = [run(workflow) for _ in range(3)]
    ready = started(workflow)
    Execution.objects.filter(pk=ready.pk).update(runnable_at=Now() - timedelta(minutes=1))

    def rests() -> int:
        age(ended.pop())
        found: list[float] = []
        record, _ = purge(rest=found.append)
        assert record.trees == 1
        return found.count(retention.BUSY_LOOK_SECONDS)

    assert rests() == 0
    Worker.objects.create(
        name="here-1",
        host="here",
        pid=1,
        queues=["default"],
        started_at=Now(),
        lease_until=Now() + timedelta(seconds=60),
    )
    assert rests() >= 10
    holding.pause_queue(queue="default", actor=SYSTEM)
    assert rests() == 0


def test_without_the_permission_or_with_bad_terms_nothing_is_done():
    execution = run(published([{"id": "a", **NOOP}]))
    age(execution)
    for call in (purge_executions, preview_purge):
        with pytest.raises(PermissionDenied):
            call(terms=terms(), actor=actor_with(Role.OPERATOR))
    with pytest.raises(Invalid, match="A moment that has passed"):
        purge(terms=Terms(before=clock.now() + timedelta(hours=1)))
    with pytest.raises(Invalid, match="cancelled, completed, failed"):
        purge(terms=terms(states=("running",)))
    assert (Purge.objects.count(), reread(execution).state) == (0, "completed")


def test_nothing_that_refers_to_executions_is_forgotten():
    fields = Execution._meta.get_fields(include_hidden=True)
    relations = [each for each in fields if each.auto_created and each.is_relation]
    referring = {each.related_model._meta.db_table for each in relations}  # type: ignore[union-attr]
    # A wait for a signal keeps the tree, for it is under way; and it goes with the wait.
    assert referring - {"executions_signalwait"} <= set(purging_sql.DELETE)


def test_history_is_deleted_on_purpose_only():
    execution = run(published([{"id": "a", **NOOP}]))
    for model in (StepExecution, StateTransition, LogLine):
        refused = pytest.raises(IntegrityError, match="only deleted by purge_executions")
        with refused, transaction.atomic():
            model.objects.filter(execution=execution).delete()
    assert everything()[:3] == [1, 1, 3]


def test_the_command_counts_deletes_and_archives(tmp_path, capsys):
    workflow = published([EACH], name="Reviews")
    age(run(workflow, {"items": [1]}), run(workflow, {"items": [2]}))
    file = tmp_path / "old.jsonl"

    def command(*arguments: str) -> str:
        out = io.StringIO()
        call_command("purge_executions", "--older-than", "90d", *arguments, stdout=out)
        return out.getvalue()

    said = "2 executions with 2 parts would be deleted.\n"
    assert command("--dry-run", "--workflow", "reviews") == said
    assert Execution.objects.count() == 4
    said = "2 executions with 2 parts deleted, with 4 steps.\n"
    assert command("--state", "completed", "--archive", str(file)) == said
    assert len(file.read_text().splitlines()) == 4
    assert file.stat().st_mode & 0o777 == 0o600
    assert command() == "0 executions deleted, with 0 steps.\n"
    with pytest.raises(SystemExit) as caught:
        command("--workflow", "nothing")
    assert caught.value.code == 2
    assert "There is no workflow 'nothing'." in capsys.readouterr().err
    assert Workflow.objects.filter(slug="reviews").exists()
