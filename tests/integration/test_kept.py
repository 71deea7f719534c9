"""Statements that a connection keeps."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.db.utils import OperationalError

from autopilot.common.kept import Kept
from executions.standing import _KEPT

pytestmark = pytest.mark.django_db(transaction=True)

ADDED = Kept("kept_test_added", "SELECT %s + %s", ["int", "int"])
NAMED = Kept(
    "kept_test_named", "SELECT %(one)s || %(two)s || %(one)s", {"two": "text", "one": "text"}
)


def answer(kept: Kept, values) -> object:
    with connection.cursor() as cursor:
        kept.execute(cursor, values)
        return cursor.fetchone()[0]


def test_parameters_by_order_and_by_name() -> None:
    assert answer(ADDED, [2, 3]) == 5
    assert answer(NAMED, {"one": "a", "two": "b"}) == "aba"


def test_a_new_connection_is_told_again() -> None:
    assert answer(ADDED, [1, 1]) == 2
    connection.close()
    assert answer(ADDED, [1, 2]) == 3


def test_what_somebody_has_discarded_is_prepared_anew() -> None:
    assert answer(ADDED, [1, 1]) == 2
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    assert answer(ADDED, [1, 2]) == 3


def test_in_a_transaction_that_is_over_nothing_is_tried_again() -> None:
    assert answer(ADDED, [1, 1]) == 2
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    with pytest.raises(OperationalError), transaction.atomic():
        answer(ADDED, [1, 2])


def test_after_that_transaction_it_is_prepared_anew_whatever_the_session_still_has() -> None:
    assert answer(ADDED, [1, 1]) == 2
    assert answer(NAMED, {"one": "a", "two": "b"}) == "aba"
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE kept_test_added")
    with pytest.raises(OperationalError), transaction.atomic():
        answer(ADDED, [1, 2])
    with transaction.atomic():
        assert answer(NAMED, {"one": "a", "two": "b"}) == "aba"
        assert answer(ADDED, [1, 2]) == 3


@pytest.mark.usefixtures("new_tables")
def test_what_a_start_asks_is_answered_by_indexes_however_small_the_tables_were() -> None:
    values = ["1", "'default'", "1"]
    with connection.cursor() as cursor:
        _KEPT.execute(cursor, {"workflow": 1, "queue": "default", "priority": 1})
        cursor.execute(f"EXPLAIN (COSTS OFF) EXECUTE start_standing({', '.join(values)})")
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Seq Scan on executions_execution" not in plan, plan
    assert "Seq Scan on workflows_workflowversion" not in plan, plan
