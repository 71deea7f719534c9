"""A flood of one workflow doesn't hold up a single start of another one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from executions.bulk_start import start_many
from executions.models import Execution
from executions.situations import situation_of
from executions.why import iso
from tests.engine import NOOP, SYSTEM, drain, published, reread, started
from workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _one_at_a_time(settings):
    settings.AUTOPILOT = {**settings.AUTOPILOT, "SLOTS": 1}


def one() -> Workflow:
    return published([{**NOOP, "id": "a"}])


def flooded(count: int) -> Workflow:
    """A workflow of which so many wait for a minute already."""
    workflow = one()
    start_many(workflow=workflow, actor=SYSTEM, requests=[{} for _ in range(count)])
    Execution.objects.update(runnable_at=F("runnable_at") - timedelta(minutes=1))
    return workflow


def test_a_single_start_goes_behind_the_first_of_a_flood_and_before_the_rest():
    flooded(60)
    single, second = started(one()), started(one())
    row = reread(single)
    assert row.runnable_at < row.created_at - timedelta(seconds=50)
    # It has waited since it came, whatever its place in the line.
    assert situation_of(row).why.details["ready_since"] == iso(row.created_at)
    drain()
    begun = list(Execution.objects.order_by("started_at").values_list("pk", flat=True))
    assert begun.index(single.pk) <= 2
    assert begun.index(second.pk) <= 3
    assert set(Execution.objects.values_list("state", flat=True)) == {"completed"}


def test_two_floods_take_turns_and_each_keeps_its_own_order():
    first = flooded(30)
    other = one()
    made = [started(other).pk for _ in range(15)]
    latest = started(first).pk
    drain()
    begun = list(Execution.objects.order_by("started_at").values_list("pk", flat=True))
    places = [begun.index(pk) for pk in made]
    assert places == sorted(places)
    assert places[-1] <= 32
    own = [pk for pk in begun if pk not in made]
    assert own == sorted(own)
    assert own[-1] == latest


def test_without_a_backlog_everybody_goes_when_they_come():
    execution = started(one())
    row = reread(execution)
    assert row.runnable_at == row.created_at


def test_a_start_asks_one_question_and_writes_with_one_statement():
    workflow = one()
    started(workflow)
    with CaptureQueriesContext(connection) as queries:
        started(workflow)
    said = [each["sql"].split()[0] for each in queries]
    assert said == ["EXECUTE", "EXECUTE"]
