"""Several processes that ask for the same thing at the same moment, beside a worker that runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection

from autopilot.accounts.roles import Role
from autopilot.accounts.services import sync_roles
from executions.models import Approval, ApprovalDecision, Execution
from tests.concurrency.conftest import Workers
from tests.concurrency.racer import START
from tests.engine import NOOP, published, started, wait_until

pytestmark = [pytest.mark.concurrency, pytest.mark.timeout(120)]

QUESTIONS = 10
WAITING = "SELECT count(*) FROM pg_locks WHERE objid = %s AND locktype = 'advisory' AND NOT granted"


def race(workers: Workers, verb: str, names: list[str]) -> list[dict[str, Any]]:
    """What came of it for each of these processes, which begin at the same moment."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [START])
        racers = [
            workers.run("tests.concurrency.racer", verb, name, name=f"{name}.json")
            for name in names
        ]

        def are_there() -> bool:
            cursor.execute(WAITING, [START])
            return cursor.fetchone() == (len(names),)

        wait_until(are_there, seconds=30)
        cursor.execute("SELECT pg_advisory_unlock(%s)", [START])
    found = []
    for name, racer in zip(names, racers, strict=True):
        said = workers.folder / f"{name}.json"
        assert racer.wait(timeout=60) == 0, said.read_text()
        found.append(json.loads(said.read_text()))
    return found


def test_two_starts_with_one_key_are_one_and_two_deciders_settle_once(workers: Workers):
    workers.start()
    published([{"id": "a", **NOOP}], slug="keyed")
    first, second = race(workers, "start", ["first", "second"])
    assert {key: pk for key, (pk, _) in first.items()} == {
        key: pk for key, (pk, _) in second.items()
    }
    made = [sorted([first[key][1], second[key][1]]) for key in first]
    assert made == [[False, True]] * 10
    assert Execution.objects.count() == 10
    _decide(workers)
    wait_until(lambda: not Execution.objects.filter(ended_at=None).exists(), seconds=30)
    assert Execution.objects.filter(workflow__slug="keyed", state="completed").count() == 10


def _decide(workers: Workers) -> None:
    """One says yes, one says no, to the same questions: whoever is first has decided it."""
    sync_roles()
    for name in ("approver", "refuser"):
        user = get_user_model().objects.create_user(name, password="x")
        user.groups.add(Group.objects.get(name=Role.OPERATOR.value))
    asking = published(
        [{"id": "ask", "type": "approval", "config": {"title": "May it?"}}], slug="q"
    )
    for _ in range(QUESTIONS):
        started(asking)
    wait_until(lambda: Approval.objects.open().count() == QUESTIONS, seconds=30)
    yes, no = race(workers, "decide", ["approver", "refuser"])
    asked = Execution.objects.filter(workflow=asking)
    wait_until(lambda: not asked.filter(ended_at=None).exists(), seconds=30)
    assert ApprovalDecision.objects.count() == QUESTIONS
    for execution in asked.prefetch_related("approvals"):
        approval = execution.approvals.get()
        answers = {yes[str(approval.pk)], no[str(approval.pk)]}
        assert answers == {"decided", "approval.settled"}
        was_approved = yes[str(approval.pk)] == "decided"
        assert approval.state == ("approved" if was_approved else "rejected")
        expected = ("completed", "") if was_approved else ("failed", "approval.rejected")
        assert (execution.state, execution.error_code) == expected
