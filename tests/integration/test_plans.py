"""Hot questions go by their index, whatever the tables hold: their plans on thousands of rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext

from autopilot.common import clock
from benchmarks.scale.fill import RARE, Kinds, Published, fill
from benchmarks.scale.workflows import publish_all
from executions import purging, slots
from executions.api.selecting import matching
from executions.console.lists import Asked, read_page
from executions.fairness import look
from executions.migrating.reads import live_by_version, standing
from executions.models import Execution
from executions.narrowing import first_accepted
from executions.reads import newest_counts, state_counts
from executions.runtime import statements
from executions.runtime.clock import Clock
from executions.situations import situation_of
from monitoring.console import overview
from tests.engine import SYSTEM
from workflows.models import Workflow

pytestmark = pytest.mark.django_db
KINDS = Kinds(ended=12_000, timers=6_000, slots=2_000)
BIG = ("execution", "statetransition", "stepexecution")


@pytest.fixture(scope="module")
def _filled(django_db_setup: Any, django_db_blocker: Any) -> Iterator[None]:
    """Rows of all kinds, as W7 makes them; taken away at the end."""
    with django_db_blocker.unblock():
        ids = publish_all()
        plain = [(workflow, version) for workflow, version in ids["plain"]]
        connection.ensure_connection()
        fill(connection.connection, KINDS, Published(plain, ids["timer"], ids["slot"]))
        yield
        tables = connection.introspection.django_table_names(only_existing=True)
        own = [name for name in tables if name.startswith(("executions_", "workflows_"))]
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE accounts_auditentry, {', '.join(own)} CASCADE")


@pytest.fixture(autouse=True)
def _with_rows(_filled: None) -> None:
    pass


def plans(ask: Callable[[], Any]) -> str:
    """How PostgreSQL goes about every question that is asked; none walks a large table."""
    with CaptureQueriesContext(connection) as asked:
        ask()
    found = []
    with connection.cursor() as cursor:
        for query in asked.captured_queries:
            if query["sql"].lstrip().startswith(("SELECT", "WITH", "UPDATE")):
                cursor.execute(f"EXPLAIN (COSTS OFF) {query['sql'].replace('%', '%%')}", [])
                found += [row[0] for row in cursor.fetchall()]
    text = "\n".join(found)
    for name in BIG:
        assert f"Seq Scan on executions_{name}" not in text, text
    return text


def listed(query: str) -> Callable[[], Any]:
    """A page of the console's list, and its chips."""

    def ask() -> None:
        asked = Asked.of(QueryDict(query))
        rows = asked.apply(Execution.objects.roots(), clock.now())
        (state_counts if asked.is_counted_by_state else newest_counts)(rows)
        read_page(rows.filter(state=asked.state) if asked.state else rows, QueryDict(query))

    return ask


def chosen(**filters: Any) -> Callable[[], Any]:
    """A page of the API's list."""
    return lambda: list(matching(filters, actor=SYSTEM).order_by("-pk")[:51])


@pytest.mark.parametrize(
    ("query", "indexes"),
    [
        ("", ["execution_roots", "execution_by_state"]),
        ("state=failed", ["execution_by_state"]),
        ("workflow=handle-refunds-2", ["execution_of_workflow", "execution_workflow_state"]),
        ("workflow=handle-refunds-2&state=paused", ["execution_workflow_state"]),
        ("error=http.5xx", ["execution_error"]),
        ("q=order-77", ["execution_correlation"]),
        ("q=http.5", ["execution_error"]),
        ("q=nothing-like-this", ["execution_correlation", "execution_error"]),
        ("label=campaign=spring", ["execution_labels"]),
        ("label=campaign", ["execution_labels"]),
        ("label=region=north", ["execution_roots"]),
        ("span=1h", ["execution_roots"]),
        ("slot=a7", ["execution_slots", "execution_slot_queue"]),
        ("only=late", ["runnable_at"]),
    ],
)
def test_lists_of_the_console(query, indexes):
    plan = plans(listed(query))
    for index in indexes:
        assert index in plan


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"state": "failed"}, "execution_by_state"),
        ({"correlation_id": "order-77"}, "execution_correlation"),
        ({"error_code": "http.5xx"}, "execution_error"),
        ({"search": "order-77"}, "execution_correlation"),
        ({"label": ["campaign:spring", "region:north"]}, "execution_labels"),
        ({"created_after": "2090-01-01T00:00:00Z"}, "Index Cond: (id >= "),
        ({"concurrency_key": "a7"}, "execution_slot_queue"),
    ],
)
def test_lists_of_the_api(filters, index):
    assert index in plans(chosen(**filters))


def test_labels_are_found_completely_rare_or_common():
    rows = Execution.objects.all()
    assert rows.labelled("campaign", "spring").count() == RARE
    assert rows.labelled("campaign").count() == RARE
    assert rows.labelled("campaign", "autumn").count() == 0
    assert rows.labelled("region", "north").count() == KINDS.total // 5
    # `%` and `_` are nothing special, and neither is what isn't there.
    assert rows.labelled("camp%", "spring").count() == 0


def test_the_moment_from_which_on_they_were_accepted_is_found_by_halving():
    middle = Execution.objects.order_by("pk")[KINDS.total // 2]
    assert first_accepted(middle.created_at) == middle.pk
    assert first_accepted(clock.now() - timedelta(days=4000)) == Execution.objects.earliest("pk").pk
    newest = Execution.objects.latest("pk")
    assert first_accepted(newest.created_at + timedelta(days=1)) == newest.pk + 1


def test_claiming():
    values = {"worker": 1, "queue": "default", "limit": 50, "suspect": 3}
    priorities = dict(zip(statements.PROBES, (3, 2, 1, 0), strict=True))
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (COSTS OFF) {statements.CLAIM}", {**values, **priorities})
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Seq Scan on executions_execution" not in plan
    # Both hold what is ready and what waits for its moment, in the order of the moments.
    assert len(re.findall("Index Scan using execution_(ready|due)", plan)) == 4


def test_starting():
    workflow = Workflow.objects.get(slug="handle-refunds-2")
    row = Execution(workflow=workflow, created_at=clock.now())
    plan = plans(lambda: look(row))
    assert "execution_ready" in plan
    assert "execution_own_line" in plan


def test_the_clock_and_its_sweeps():
    now = clock.now()
    ticking = Clock()
    assert "execution_" in plans(lambda: (ticking._due(now), ticking._pause(now)))
    assert "execution_slot_queue" in plans(lambda: slots.sweep())


def test_why():
    for rows in (
        Execution.objects.filter(state="initialized", slot_key__endswith=":a7"),
        Execution.objects.filter(state="waiting"),
        Execution.objects.filter(state="failed"),
    ):
        one = rows.order_by("pk").last()
        assert one is not None
        plans(lambda one=one: situation_of(one))


def test_the_home_page():
    now, visible = clock.now(), Execution.objects.all()
    plan = plans(
        lambda: (
            overview.last_day(now),
            overview.failing(now),
            overview.late(visible, now),
            overview.bounded(overview.paused(visible)),
            overview.queues(now, [], ["default"]),
        )
    )
    assert "execution_roots" in plan
    assert "execution_by_state" in plan


def test_what_is_under_way_of_a_version():
    workflow = Execution.objects.filter(state="completed").earliest("pk").workflow
    version = workflow.versions.get()
    found = plans(lambda: (standing(version), live_by_version(workflow)))
    assert len(re.findall(r"Index Cond: .*version_id.*ended_at IS NULL", found)) == 2, found


def test_purging():
    due = purging.Due(before=clock.now() - timedelta(days=30))
    roots, lowest = purging.due_below(due, first_accepted(due.before))
    assert lowest is not None
    plan = plans(lambda: purging.due_below(due, lowest))
    assert "execution_roots" in plan
    plan = plans(lambda: purging.preview_trees(roots[:100]))
    for index in ("execution_child", "execution_reruns", "execution_started"):
        assert index in plan
