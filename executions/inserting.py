"""Writing what was accepted: an execution, its first transition and its audit entry at once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, models
from django.db.models.fields import NOT_PROVIDED

from autopilot.accounts.models import AuditEntry
from autopilot.common.kept import Kept
from executions.accepting import earlier_of
from executions.models import Execution, StateTransition

# The columns that the database alone can know, before the row has an id.
_BY_DATABASE: dict[type[models.Model], dict[str, str]] = {
    Execution: {},
    StateTransition: {"execution_id": "made.id"},
    AuditEntry: {"target_id": "made.id::text", "target_name": "'Execution ' || made.id"},
}
_ONCE = """
    ON CONFLICT (workflow_id, principal, idempotency_key) WHERE NOT (idempotency_key = '')
    DO NOTHING"""


def insert_started(
    row: Execution, *, first: StateTransition, entry: AuditEntry
) -> Execution | None:
    """Insert all three in one statement; none of them is saved before, and `row` has its id then.

    Answers the execution that was first if two requests came with one key at once; nothing is
    inserted then. Raises IdempotencyConflict.
    """
    values = [*_values(row), *_values(first), *_values(entry)]
    while True:
        with connection.cursor() as cursor:
            _statement().execute(cursor, values)
            made = cursor.fetchone()
        if made is not None:
            row.pk = made[0]
            row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS
            return None
        # Whoever has the key was waited for; it may have been rolled back or deleted since.
        earlier = earlier_of(row)
        if earlier is not None:
            return earlier


@lru_cache(maxsize=1)
def _statement() -> Kept:
    places = ", ".join("%s" for _ in _fields(Execution))
    kinds = [
        str(each.db_type(connection))
        for model in (Execution, StateTransition, AuditEntry)
        for each in _fields(model)
    ]
    sql = (
        f"WITH made AS ({_into(Execution)} VALUES ({places}) {_ONCE} RETURNING id),\n"
        f"first AS ({_into(StateTransition)} {_selected(StateTransition)}),\n"
        f"entry AS ({_into(AuditEntry)} {_selected(AuditEntry)})\n"
        "SELECT id FROM made"
    )
    return Kept("start_insert", sql, kinds)


def _into(model: type[models.Model]) -> str:
    columns = [str(each.column) for each in _fields(model)]
    return f"INSERT INTO {model._meta.db_table} ({', '.join([*columns, *_BY_DATABASE[model]])})"


def _selected(model: type[models.Model]) -> str:
    values = ["%s" for _ in _fields(model)] + list(_BY_DATABASE[model].values())
    return f"SELECT {', '.join(values)} FROM made"  # noqa: S608 - constant


@lru_cache(maxsize=8)
def _fields(model: type[models.Model]) -> tuple[models.Field[Any, Any], ...]:
    """The columns that are given; not those that only the database fills."""
    return tuple(
        each
        for each in model._meta.concrete_fields
        if not each.primary_key
        and each.column not in _BY_DATABASE[model]
        and (each.db_default is NOT_PROVIDED or each.default is not NOT_PROVIDED)
    )


# Columns of these get what the attribute holds; psycopg2 knows how to write it.
_PLAIN = (
    models.CharField,
    models.TextField,
    models.IntegerField,
    models.BooleanField,
    models.ForeignKey,
    models.DateTimeField,
)


@lru_cache(maxsize=8)
def _readers(model: type[models.Model]) -> tuple[tuple[str, Any], ...]:
    """For each column its attribute, and the field if that has to make something of the value."""
    return tuple(
        (each.attname, None if isinstance(each, _PLAIN) and not _sets_itself(each) else each)
        for each in _fields(model)
    )


def _sets_itself(field: models.Field[Any, Any]) -> bool:
    return bool(getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False))


def _values(instance: models.Model) -> list[Any]:
    return [
        getattr(instance, name)
        if field is None
        else field.get_db_prep_save(field.pre_save(instance, add=True), connection)
        for name, field in _readers(type(instance))
    ]
