"""Writing the new place of executions that are moved, and the old one of those that are put back.

Whoever calls holds the locks of all rows of the trees, and has seen that nobody owns one. Whatever
names a step changes together: where each stands, the groups around that, the step that parts
belong to, and the waits that others know of. The epoch goes up with it, so that no worker that had
one of them can write what it had decided by the other version.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from executions.engine.snapshot import Phase
from executions.engine.states import State
from executions.hidden.marks import stored
from executions.migrating.dues import Dues
from executions.migrating.examining import Findings
from executions.migrating.routes import Route
from executions.migrating.trees import Tree
from executions.models import Execution
from executions.runtime.control import Control

_LATEST_ROW = "SELECT coalesce(max(id), 0) FROM executions_stepexecution"

# One object a row; what is left out stays as it is. Of an execution that has been made ready in the
# meantime, the moment at which it is to be looked at is left alone.
_MOVE = """
UPDATE executions_execution e
   SET version_id = x.version,
       current_step = x.current_step,
       current_phase = x.current_phase,
       wait_until = x.wait_until,
       deadline_at = x.deadline_at,
       control = COALESCE(x.control, e.control),
       runnable_at = CASE WHEN x.wakes THEN x.runnable_at ELSE e.runnable_at END,
       slot_limit = COALESCE(x.slot_limit, e.slot_limit),
       slot_policy = COALESCE(x.slot_policy, e.slot_policy),
       step_names = NULLIF(x.step_names, 'null'),
       log_seq = e.log_seq + x.lines,
       epoch = e.epoch + 1,
       revision = e.revision + 1
  FROM json_to_recordset(%(rows)s) AS x(
       id bigint, version bigint, current_step text, current_phase text, wait_until timestamptz,
       deadline_at timestamptz, control jsonb, wakes boolean, runnable_at timestamptz,
       slot_limit int, slot_policy text, step_names jsonb, lines int)
 WHERE e.id = x.id AND e.owner_id IS NULL
RETURNING e.id
"""

_PARTS_OF_STEPS = """
SELECT DISTINCT parent_id, generation, parent_step FROM executions_execution
 WHERE parent_id = ANY(%(ids)s) AND parent_step = ANY(%(steps)s)
"""

_RENAME_PARTS = """
UPDATE executions_execution e SET parent_step = x.step
  FROM json_to_recordset(%(rows)s) AS x(parent bigint, generation int, step text)
 WHERE e.parent_id = x.parent AND e.generation = x.generation
"""

# The waits that are open; what is over keeps the name that it had.
_RENAME_WAITS = """
UPDATE executions_approval a SET step_id = x.step, step_name = x.name
  FROM json_to_recordset(%(rows)s) AS x(execution bigint, step text, name text)
 WHERE a.execution_id = x.execution AND a.state = 'open';
UPDATE executions_callback c SET step_id = x.step
  FROM json_to_recordset(%(rows)s) AS x(execution bigint, step text, name text)
 WHERE c.execution_id = x.execution AND c.closed_at IS NULL;
"""

_EXPIRIES = """
UPDATE executions_approval a SET expires_at = x.until
  FROM json_to_recordset(%(rows)s) AS x(execution bigint, until timestamptz)
 WHERE a.execution_id = x.execution AND a.state = 'open'
"""

_LOG = """
INSERT INTO executions_logline (execution_id, seq, step_id, attempt, level, event, fields, at)
SELECT e.id, e.log_seq, e.current_step, e.current_attempt, 'info', x.event, x.fields, x.at
  FROM json_to_recordset(%(rows)s) AS x(id bigint, event text, fields jsonb, at timestamptz)
  JOIN executions_execution e ON e.id = x.id
"""


@dataclass(frozen=True, slots=True)
class Note:
    """What the history of each execution is told."""

    event: str
    fields: Mapping[str, Any]
    at: datetime


def latest_row() -> int:
    """No step that is recorded from now on has a lower number."""
    with connection.cursor() as cursor:
        cursor.execute(_LATEST_ROW)
        return int(cursor.fetchone()[0])


def move(
    trees: Sequence[tuple[Tree, Findings]], route: Route, note: Note, until: int
) -> dict[int, dict[str, Any]]:
    """Move these trees; answers, by the head's id, what is needed to put each back.

    until: see `latest_row`.
    """
    names = route.plan.names()
    rows, waits, expiries = [], [], []
    for tree, findings in trees:
        for row in tree.moving():
            changed = _changed(row, tree, findings, route, [until, names])
            rows.append(changed)
            waits += _renamed_wait(row, changed["current_step"], route)
            expiries += _expiry(row, changed)
    moving = {each["id"] for each in rows}
    parts = _parts(moving, names)
    before = {
        tree.head_id: {
            "rows": [_before(row, route) for row in tree.moving()],
            "parts": [part for part in parts if part[0] in tree.rows],
        }
        for tree, _ in trees
    }
    _write(rows, [(*part[:2], names[part[2]]) for part in parts if names.get(part[2])])
    _rename_waits(waits)
    _set_expiries(expiries)
    _log([tree.head_id for tree, _ in trees], note)
    _note_marks(before)
    return before


def put_back(kept: Mapping[int, Mapping[str, Any]], trees: Mapping[int, Tree], note: Note) -> None:
    """Put trees back as `move` has found them; whoever calls has seen that nothing has run."""
    rows, parts, waits, expiries = [], [], [], []
    for head, before in kept.items():
        tree = trees[head]
        for was in before["rows"]:
            row = tree.rows[was["id"]]
            rows.append(_as_before(row, tree, was))
            is_known = row.current_phase == Phase.OUTSIDE
            if is_known and row.current_step != was["current_step"]:
                waits.append((row.pk, was["current_step"], was["name"]))
            if is_known and _iso(row.wait_until) != was["wait_until"]:
                expiries.append((row.pk, was["wait_until"]))
        parts += [tuple(part) for part in before["parts"]]
    _write(rows, parts)
    _rename_waits(waits)
    _set_expiries(expiries)
    _log(kept, note)


def _changed(
    row: Execution, tree: Tree, findings: Findings, route: Route, era: list[Any]
) -> dict[str, Any]:
    dues = findings.dues[row.pk]
    is_head = row.pk == tree.head_id
    slot = findings.slot if is_head else None
    wakes = _wakes(row, tree.control(row), dues)
    step_id = route.plan.target(row.current_step) or row.current_step
    place = [row.current_seq, row.current_step] if step_id != row.current_step else None
    return {
        "id": row.pk,
        "version": route.target_id,
        "current_step": step_id,
        "current_phase": dues.phase,
        "wait_until": _iso(dues.wait_until),
        "deadline_at": _iso(dues.deadline),
        "control": _control(row, tree, route, dues),
        "wakes": wakes,
        "runnable_at": _iso(dues.wakes_at) if wakes else None,
        "slot_limit": slot.limit if slot else None,
        "slot_policy": slot.on_limit.value if slot else None,
        "step_names": [*(row.step_names or []), [*era, place]],
        "lines": 1 if is_head else 0,
    }


def _wakes(row: Execution, control: Control, dues: Dues) -> bool:
    """Whether it sleeps towards a moment that is another one now.

    Whoever has made it ready first has written a moment that isn't one of its own, without a
    message if it was given a place of a limit or a slot: that stays, or nobody would wake it again.
    """
    if not dues.changed or row.state != State.WAITING or row.inbox_seq != row.seen_seq:
        return False
    before = Dues(row.current_phase, row.wait_until, row.deadline_at, control.frames)
    return row.runnable_at == before.wakes_at and not row.is_parked


def _control(row: Execution, tree: Tree, route: Route, dues: Dues) -> Any:
    """The groups by their new names and deadlines; None if there are none."""
    if not tree.control(row).frames:
        return None
    frames = [
        {
            **frame,
            "step": route.plan.target(frame["step"]),
            "deadline": _iso(due.deadline),
        }
        for frame, due in zip(row.control["frames"], dues.frames, strict=True)
    ]
    return stored({**row.control, "frames": frames})


def _renamed_wait(row: Execution, step_id: str, route: Route) -> list[tuple[int, str, str]]:
    if row.current_phase != Phase.OUTSIDE or step_id == row.current_step:
        return []
    return [(row.pk, step_id, route.new.steps[step_id].name)]


def _expiry(row: Execution, changed: Mapping[str, Any]) -> list[tuple[int, str | None]]:
    """A question shows until when it is open."""
    is_same = changed["wait_until"] == _iso(row.wait_until)
    return (
        [] if is_same or row.current_phase != Phase.OUTSIDE else [(row.pk, changed["wait_until"])]
    )


def _before(row: Execution, route: Route) -> dict[str, Any]:
    """Names, moments and numbers, and none of its data."""
    step = route.old.steps.get(row.current_step)
    frames = row.control.get("frames", ()) if row.control else ()
    return {
        "id": row.pk,
        "version": row.version_id,
        "current_step": row.current_step,
        "name": step.name if step else "",
        "current_phase": row.current_phase,
        "wait_until": _iso(row.wait_until),
        "deadline_at": _iso(row.deadline_at),
        "runnable_at": _iso(row.runnable_at),
        "frames": [[frame["step"], frame["deadline"]] for frame in frames],
        "slot": [row.slot_limit, row.slot_policy],
        "step_names": row.step_names,
    }


def _as_before(row: Execution, tree: Tree, was: Mapping[str, Any]) -> dict[str, Any]:
    is_head = row.pk == tree.head_id
    control = None
    if was["frames"]:
        frames = [
            {**frame, "step": step, "deadline": deadline}
            for frame, (step, deadline) in zip(row.control["frames"], was["frames"], strict=True)
        ]
        control = stored({**row.control, "frames": frames})
    # Woken in the meantime by news or by somebody, it is left awake.
    is_asleep = row.state == State.WAITING and _iso(row.runnable_at) == was["left_until"]
    return {
        "id": row.pk,
        "version": was["version"],
        "current_step": was["current_step"],
        "current_phase": was["current_phase"],
        "wait_until": was["wait_until"],
        "deadline_at": was["deadline_at"],
        "control": control,
        "wakes": is_asleep,
        "runnable_at": was["runnable_at"],
        "slot_limit": was["slot"][0] if is_head else None,
        "slot_policy": was["slot"][1] if is_head else None,
        "step_names": was["step_names"],
        "lines": 1 if is_head else 0,
    }


def _parts(ids: Iterable[int], names: Mapping[str, str | None]) -> list[tuple[int, int, str]]:
    """Parent, generation and step of the parts of these whose step has another name."""
    renamed = [old for old, new in names.items() if new is not None]
    if not renamed:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_PARTS_OF_STEPS, {"ids": list(ids), "steps": renamed})
        return list(cursor.fetchall())


def _write(rows: Sequence[Mapping[str, Any]], parts: Sequence[tuple[int, int, str | None]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_MOVE, {"rows": json.dumps(rows)})
        written = {row[0] for row in cursor.fetchall()}
        missing = {row["id"] for row in rows} - written
        assert not missing, f"rows that were locked and free are not: {sorted(missing)[:5]}"
        if parts:
            named = [
                {"parent": parent, "generation": generation, "step": step}
                for parent, generation, step in parts
            ]
            cursor.execute(_RENAME_PARTS, {"rows": json.dumps(named)})


def _rename_waits(waits: Sequence[tuple[int, str, str]]) -> None:
    if waits:
        rows = [{"execution": pk, "step": step, "name": name} for pk, step, name in waits]
        with connection.cursor() as cursor:
            cursor.execute(_RENAME_WAITS, {"rows": json.dumps(rows)})


def _set_expiries(expiries: Sequence[tuple[int, str | None]]) -> None:
    if expiries:
        rows = [{"execution": pk, "until": until} for pk, until in expiries]
        with connection.cursor() as cursor:
            cursor.execute(_EXPIRIES, {"rows": json.dumps(rows)})


def _log(heads: Iterable[int], note: Note) -> None:
    fields, at = dict(note.fields), note.at.isoformat()
    rows = [{"id": pk, "event": note.event, "fields": fields, "at": at} for pk in heads]
    with connection.cursor() as cursor:
        cursor.execute(_LOG, {"rows": json.dumps(rows)})


def _note_marks(before: Mapping[int, dict[str, Any]]) -> None:
    """By what each row can be told from one that something has happened to since."""
    ids = [row["id"] for each in before.values() for row in each["rows"]]
    found = Execution.objects.filter(pk__in=ids)
    marks = {
        pk: (epoch, revision, runnable_at)
        for pk, epoch, revision, runnable_at in found.values_list(
            "pk", "epoch", "revision", "runnable_at"
        )
    }
    for each in before.values():
        for row in each["rows"]:
            epoch, revision, runnable_at = marks[row["id"]]
            row |= {"epoch": epoch, "revision": revision, "left_until": _iso(runnable_at)}


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
