"""Column types that PostgreSQL has and Django lacks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.models.expressions import Func

from executions.hidden.marks import SIGN, masked, needs_writing, stored


class CurrentTransaction(Func):
    """The id of the transaction that writes the row."""

    function = "pg_current_xact_id"
    template = "%(function)s()"


class TransactionIdField(models.Field):
    """`xid8`: the transaction that wrote a row, filled by the database.

    Serial ids become visible out of order; `(xid, id)` below the oldest running transaction does
    not. See `querysets.SettledQuerySet`.
    """

    description = "64-bit transaction id"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("db_default", CurrentTransaction(output_field=models.BigIntegerField()))
        kwargs.setdefault("editable", False)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("db_default", None)
        kwargs.pop("editable", None)
        return name, path, args, kwargs

    def db_type(self, connection: Any) -> str:
        return "xid8"

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> int | None:
        return None if value is None else int(value)

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return str(value) if isinstance(value, int) else value


class SealedJSONField(models.JSONField):
    """JSON in which values may be hidden: encrypted in the row, `•••` to whoever reads it.

    What is read is `hidden.marks.Hidden` in those places; saved again or copied to another row it
    is the same value. `hidden.marks.reveal` gives the values themselves, where the keys are.
    Migrations know it as a plain JSONField, for the column is none other.
    """

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        document = super().from_db_value(value, expression, connection)
        return masked(document) if isinstance(value, str) and SIGN in value else document

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if isinstance(value, (dict, list, str)) and needs_writing(json.dumps(value, default=str)):
            value = stored(value)
        return super().get_db_prep_value(value, connection, prepared)
