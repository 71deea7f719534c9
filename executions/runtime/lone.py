"""What one execution that runs alone asks of PostgreSQL, on the event loop's own connection.

A session of its own needs no settings for each statement, and its plans are made like those of
`prepared`: whatever the tables hold, an execution is found by its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import psycopg2
import structlog

from executions.runtime import statements
from executions.runtime.batch import dump, heard, is_simple
from executions.runtime.checkpoint import Checkpoint
from executions.runtime.direct import Direct
from executions.runtime.prepared import Prepared

log = structlog.get_logger(__name__)


def _of_written(insert: str) -> str:
    """An INSERT of a batch, of which nothing is inserted unless the row was written."""
    return insert.strip().rstrip(";") + "\n WHERE EXISTS (SELECT FROM written)"


# Plans are made anew after an ANALYZE: these hold whenever that is.
SESSION = """SET TIME ZONE 'UTC'; SET lock_timeout = '1s';
SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off;
SET enable_nestloop = off; SET enable_mergejoin = off;
"""

# Fence, step and row in one statement, which is a transaction by itself: for the checkpoint between
# two steps. Nothing is written unless the fence holds; the count of rows says whether. The owner is
# compared in a roundabout way so that no index but the key suggests itself.
_FENCE = """e.id = %(id)s AND e.owner_id IS NOT DISTINCT FROM %(worker)s
       AND e.epoch = %(epoch)s AND e.revision = %(revision)s AND e.inbox_seq <= %(heard)s"""
STEP = f"""
WITH written AS (
    UPDATE executions_execution e
       SET reason = COALESCE(%(reason)s, e.reason),
           current_step = %(current_step)s,
           current_seq = %(current_seq)s,
           current_phase = %(current_phase)s,
           current_attempt = %(current_attempt)s,
           current_since = %(current_since)s,
           wait_until = %(wait_until)s,
           steps_entered = %(steps_entered)s,
           variables = COALESCE(%(variables)s, e.variables),
           seen_seq = %(seen_seq)s,
           revision = e.revision + 1,
           claims = 0
     WHERE {_FENCE}
    RETURNING e.id)
INSERT INTO executions_stepexecution
       (execution_id, seq, attempt, step_id, name, type, state, params, output, error,
        started_at, ended_at)
SELECT id, %(seq)s, %(attempt)s, %(step_id)s, %(name)s, %(type)s, %(step_state)s, %(params)s,
       %(output)s, %(error)s, %(started_at)s, %(ended_at)s
  FROM written
"""  # noqa: S608 - constant
# The same for all others that are written here, in the words of a batch.
ROW = f"""
WITH written AS ({statements.WRITE} AND {_FENCE}
    RETURNING e.id),
steps AS ({_of_written(statements.INSERT_STEPS)}),
transitions AS ({_of_written(statements.INSERT_TRANSITIONS)}),
log AS ({_of_written(statements.INSERT_LOG)})
SELECT id FROM written
"""  # noqa: S608 - constant
# What the row of such a checkpoint may say; anything else needs the statements of a batch.
_OF_ROW = {
    "reason": "text",
    "current_step": "text",
    "current_seq": "int",
    "current_phase": "text",
    "current_attempt": "int",
    "current_since": "timestamptz",
    "wait_until": "timestamptz",
    "steps_entered": "int",
    "variables": "jsonb",
    "seen_seq": "bigint",
}
# And what it says too, but cannot have changed where nothing but a step is recorded.
_UNCHANGED = frozenset(
    {"id", "state", "started_at", "release", "runnable_at", "transition_seq", "log_seq"}
)
_ROW_OF_STEP = _OF_ROW.keys() | _UNCHANGED
_OF_FENCE = {
    "id": "bigint",
    "worker": "bigint",
    "epoch": "bigint",
    "revision": "bigint",
    "heard": "bigint",
}
_OF_STEP = {
    "seq": "int",
    "attempt": "int",
    "step_id": "text",
    "name": "text",
    "type": "text",
    "step_state": "text",
    "params": "jsonb",
    "output": "jsonb",
    "error": "jsonb",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
}
_STEP = Prepared("lone_step", STEP, tuple((_OF_ROW | _OF_FENCE | _OF_STEP).values()))
_ROW = Prepared("lone_row", ROW, ("json", *_OF_FENCE.values(), "json", "json", "json"))
_CLAIM = Prepared("lone_claim", statements.CLAIM_ONE, ("bigint", "bigint", "text", "int"))
EXECUTE_STEP = _STEP.execute
EXECUTE_ROW = _ROW.execute
EXECUTE_CLAIM = _CLAIM.execute

SET_UP = SESSION + "".join(each.definition for each in (_STEP, _ROW, _CLAIM))


class Lone:
    """Asks in place of the ledger's thread, where that would do nothing else. On the event loop.

    Whatever does not go through here is left to the thread, which finds out why: None and False
    say so.
    """

    def __init__(self, worker_id: int) -> None:
        self._worker_id = worker_id
        self._direct = Direct(SET_UP)

    def is_free(self) -> bool:
        """Whether it could be asked right now."""
        return self._direct.is_free()

    async def claim(self, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]] | None:
        """The row that was claimed, if any; None = nobody knows."""
        try:
            return (await self._direct.execute(EXECUTE_CLAIM, parameters)).rows
        except psycopg2.Error as error:
            log.info("lone.not_claimed", error=str(error).strip())
            return None

    async def record(self, checkpoint: Checkpoint) -> bool:
        """True = it is durable; False = perhaps not."""
        sql, parameters = _statement(checkpoint, self._worker_id)
        try:
            reply = await self._direct.execute(sql, parameters)
        except psycopg2.Error as error:
            log.debug("lone.not_recorded", error=str(error).strip())
            return False
        return reply.count != 0

    def close(self) -> None:
        self._direct.close()


def can_go(checkpoint: Checkpoint) -> bool:
    """Whether it has nothing to write but what every checkpoint has, in one statement."""
    return is_simple(checkpoint) and not checkpoint.hops


def _statement(checkpoint: Checkpoint, worker_id: int) -> tuple[str, dict[str, Any]]:
    """What writes the checkpoint if its fence holds, and its parameters."""
    fence = {
        "id": checkpoint.execution_id,
        "worker": worker_id,
        "epoch": checkpoint.epoch,
        "revision": checkpoint.revision,
        "heard": heard(checkpoint),
    }
    if not _is_step(checkpoint):
        names = ("steps", "transitions", "log")
        rows = {name: dump(getattr(checkpoint, name)) for name in names}
        return EXECUTE_ROW, {**fence, **rows, "rows": dump([checkpoint.row])}
    row, step = checkpoint.row, checkpoint.steps[0]
    return EXECUTE_STEP, {
        **row,
        **step,
        **fence,
        "reason": row.get("reason"),
        "variables": _json(row.get("variables")),
        "step_state": step["state"],
        "params": _json(step["params"]),
        "output": _json(step["output"]),
        "error": _json(step["error"]),
    }


def _is_step(checkpoint: Checkpoint) -> bool:
    """Whether it records one step that has ended, and where the execution stands now."""
    return (
        len(checkpoint.steps) == 1
        and not checkpoint.transitions
        and not checkpoint.log
        and not checkpoint.releases
        and checkpoint.row.keys() <= _ROW_OF_STEP
    )


def _json(value: Any) -> str | None:
    """JSON's null is no document at all, as it is for `json_to_recordset` in a batch."""
    text = "null" if value is None else orjson.dumps(value).decode()
    return None if text == "null" else text
