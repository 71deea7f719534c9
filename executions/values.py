"""Durable values: what the actions `state.get` and `state.set` read and write."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from django.db import connection

from autopilot.common import clock
from autopilot.common.errors import Conflict
from executions.engine.errors import VALIDATION_INPUT
from executions.engine.payload import encode
from executions.hidden.marks import holds_hidden, needs_writing, reveal, stored
from executions.models import DurableValue, Execution

MAX_KEY_CHARS = 200
MAX_VALUE_BYTES = 64 * 1024


class Scope(StrEnum):
    """Who shares a value: the executions of one workflow, or those of all workflows."""

    WORKFLOW = "workflow"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class Kept:
    """A value with the count of its writes. `version` 0 = there is none."""

    value: Any
    version: int


class VersionConflict(Conflict):
    """Somebody else wrote the value meanwhile."""

    code = "state.conflict"

    def __init__(self, key: str, expected: int, found: int) -> None:
        self.found = found
        was = f"version {found}" if found else "not there"
        wanted = f"version {expected}" if expected else "no value yet"
        super().__init__(f"The value {key!r} is {was}, and {wanted} was expected; read it again.")


# Each is one statement: between two of them another worker could write. A write that is repeated
# (the worker died before its result was recorded) finds its own mark, and changes nothing.
_CHANGE: Final = """
    SET value = CASE WHEN {repeated} THEN kept.value ELSE %(value)s::jsonb END,
        version = kept.version + CASE WHEN {repeated} THEN 0 ELSE 1 END,
        updated_at = CASE WHEN {repeated} THEN kept.updated_at ELSE %(now)s END,
        written_by = %(by)s
""".replace("{repeated}", "%(by)s <> '' AND kept.written_by = %(by)s")
_MAY_CHANGE: Final = "(kept.version = %(if_version)s OR %(by)s <> '' AND kept.written_by = %(by)s)"
SET: Final = f"""
    INSERT INTO executions_durablevalue AS kept
        (scope, key, value, version, written_by, created_at, updated_at)
    VALUES (%(scope)s, %(key)s, %(value)s::jsonb, 1, %(by)s, %(now)s, %(now)s)
    ON CONFLICT (scope, key) DO UPDATE {_CHANGE}
    WHERE %(if_version)s IS NULL OR {_MAY_CHANGE}
    RETURNING version
"""  # noqa: S608 - our own words
CHANGE: Final = f"""
    UPDATE executions_durablevalue AS kept {_CHANGE}
    WHERE scope = %(scope)s AND key = %(key)s AND {_MAY_CHANGE}
    RETURNING version
"""


def scope_name(scope: Scope, execution_id: int) -> str:
    """The stored name of the scope, as an execution sees it."""
    if scope is Scope.SHARED:
        return scope.value
    workflow_id = Execution.objects.values_list("workflow_id", flat=True).get(pk=execution_id)
    return f"{scope.value}:{workflow_id}"


def get_value(*, scope: str, key: str) -> Kept:
    """The value under `key`, and its version; version 0 if there is none."""
    row = DurableValue.objects.filter(scope=scope, key=key).values_list("value", "version").first()
    return Kept(*row) if row else Kept(None, 0)


def set_value(
    *, scope: str, key: str, value: Any, if_version: int | None = None, written_by: str = ""
) -> int:
    """Write `value` under `key`; answers its new version. What is `Hidden` in it stays hidden.

    if_version: write only if the value is at this version; 0 = only if there is none; None =
        whatever is there. written_by: a write with the same non-empty mark as the last one is that
        one, repeated: it is answered as it was then, and writes nothing.
    Raises EngineError (validation.input, limit.state) for a value that can't be kept,
    VersionConflict if the version is another one.
    """
    text = encode(
        reveal(value) if holds_hidden(value) else value,
        limit=MAX_VALUE_BYTES,
        what=f"The value for {key!r}",
        code=VALIDATION_INPUT,
        size_code="limit.state",
    ).text.decode()
    if holds_hidden(value) or needs_writing(text):
        text = json.dumps(stored(value), ensure_ascii=False)
    with connection.cursor() as cursor:
        cursor.execute(
            CHANGE if if_version else SET,
            {
                "scope": scope,
                "key": key,
                "value": text,
                "by": written_by,
                "now": clock.now(),
                "if_version": if_version,
            },
        )
        row = cursor.fetchone()
    if row is None:
        assert if_version is not None
        raise VersionConflict(key, if_version, get_value(scope=scope, key=key).version)
    return int(row[0])
