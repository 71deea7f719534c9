"""The table of states, the model's methods and the database's trigger say the same."""

from __future__ import annotations

from itertools import product

import pytest
from django.db import IntegrityError, connection, transaction
from django_fsm import TransitionNotAllowed

from autopilot.common import clock
from executions.engine.states import ENDED, TRANSITIONS, State, is_legal
from executions.models import ENDED_VALUES, Execution
from tests.engine import NOOP, published, started

pytestmark = pytest.mark.django_db

TABLE = {(each.source.value, each.target.value) for each in TRANSITIONS}


def test_the_table_has_every_pair_of_the_design_and_no_other():
    assert {
        source: {target for origin, target in TABLE if origin == source}
        for source in {origin for origin, _ in TABLE}
    } == {
        "initialized": {"running", "paused", "cancelled", "failed"},
        "running": {"waiting", "paused", "completed", "failed", "cancelled"},
        "waiting": {"running", "paused", "failed", "cancelled", "completed"},
        "paused": {"resumed", "cancelled", "failed"},
        "resumed": {"running", "paused", "cancelled", "failed"},
        "failed": {"resumed", "running", "cancelled"},
    }
    assert len(TABLE) == len(TRANSITIONS)


def test_the_model_has_exactly_the_transitions_of_the_table():
    field = Execution._meta.get_field("state")
    generated = {
        (each.source, each.target, each.name, each.permission)
        for each in field.get_all_transitions(Execution)
    }
    assert generated == {
        (each.source.value, each.target.value, each.action, each.permission) for each in TRANSITIONS
    }


def test_the_database_allows_exactly_the_pairs_of_the_table():
    execution = started(published([{"id": "a", **NOOP}]))
    allowed = set()
    for source, target in product(State, State):
        if source is not target and _database_allows(execution.pk, source, target):
            allowed.add((source.value, target.value))
    assert allowed == TABLE


def _database_allows(pk: int, source: State, target: State) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # no triggers
        _set_state(cursor, pk, source)
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
        try:
            with transaction.atomic():
                _set_state(cursor, pk, target)
        except IntegrityError as error:
            return f"may not go from {source.value} to {target.value}" not in str(error)
    return True


def _set_state(cursor, pk: int, state: State) -> None:
    cursor.execute(
        "UPDATE executions_execution SET state = %s, runnable_at = NULL, "
        "ended_at = CASE WHEN %s THEN now() END WHERE id = %s",
        [state.value, state in ENDED, pk],
    )


def test_the_state_cannot_be_set_by_hand():
    execution = Execution(state="initialized")
    with pytest.raises(AttributeError, match="state"):
        execution.state = "completed"


def test_a_method_whose_condition_does_not_hold_is_refused():
    execution = Execution(state="initialized")
    with pytest.raises(TransitionNotAllowed):
        execution.start()  # nobody owns it


def test_ended_rows_are_never_owned_or_ready():
    execution = started(published([{"id": "a", **NOOP}]))
    ended = Execution.objects.filter(pk=execution.pk)
    with pytest.raises(IntegrityError, match="execution_ended_is_at_rest"):
        ended.update(state="failed", ended_at=clock.now())


@pytest.mark.parametrize("table", ["stepexecution", "statetransition", "logline"])
def test_history_cannot_be_rewritten(table):
    execution = started(published([{"id": "a", **NOOP}]))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO executions_stepexecution (execution_id, seq, attempt, step_id, name, type,"
            " state, started_at, ended_at) VALUES (%s, 1, 1, 'a', 'a', 'action', 'completed',"
            " now(), now())",
            [execution.pk],
        )
        cursor.execute(
            "INSERT INTO executions_logline (execution_id, seq, step_id, attempt, level, event,"
            " fields, at) VALUES (%s, 1, 'a', 1, 'info', 'x', '{}', now())",
            [execution.pk],
        )
        with pytest.raises(IntegrityError, match="are history"), transaction.atomic():
            cursor.execute(f"UPDATE executions_{table} SET seq = 99")


def test_the_sets_of_ended_states_agree():
    assert set(ENDED_VALUES) == {state.value for state in ENDED}
    assert all(is_legal(each.source, each.target) for each in TRANSITIONS)
