"""Many checkpoints as one string of statements: each kind of row is written for all at once."""

from __future__ import annotations

from typing import Any

import orjson

from executions.engine.states import State
from executions.runtime import children_sql, limits_sql, prepared, slots_sql, statements, undo_sql
from executions.runtime.checkpoint import Checkpoint
from executions.runtime.outside_sql import KINDS

# Larger than every number of a message.
_EVERYTHING = 2**62


def at_once(checkpoints: list[Checkpoint], worker_id: int) -> tuple[str, dict[str, Any]]:
    """Lock, fence, write and commit in one string, and its parameters.

    PostgreSQL answers with DivisionByZero, and nothing is written, if a fence does not hold.
    """
    sql, parameters = batch(checkpoints)
    fences = [
        {
            "id": each.execution_id,
            "epoch": each.epoch,
            "revision": each.revision,
            "heard": heard(each),
        }
        for each in checkpoints
    ]
    parameters |= {
        "ids": ids_to_lock(checkpoints),
        "worker": worker_id,
        "fences": orjson.dumps(fences).decode(),
        "fenced": len(fences),
    }
    return prepared.FENCE + sql + statements.COMMIT, parameters


def heard(checkpoint: Checkpoint) -> int:
    """The last message up to which this checkpoint may be written without a second look.

    Whoever gives the row up need not know: the statement makes it ready again at once.
    """
    if checkpoint.heeds:
        return int(checkpoint.row["seen_seq"])
    return _EVERYTHING if checkpoint.releases else checkpoint.read_seq


def batch(checkpoints: list[Checkpoint], *, waits: bool = True) -> tuple[str, dict[str, Any]]:
    """One string of statements for all checkpoints, and its parameters.

    waits: also for the locks of concurrency keys; otherwise the clock hands on what became free.
    """
    if not checkpoints:
        return "", {}
    parts: list[str] = []
    parameters: dict[str, Any] = {}
    for name, sql in (
        ("steps", prepared.STEPS),
        ("transitions", prepared.TRANSITIONS),
        ("log", prepared.LOG),
    ):
        rows = [row for each in checkpoints for row in getattr(each, name)]
        if rows:
            parts.append(sql)
            parameters[name] = dump(rows)
    for index in range(max(len(each.hops) for each in checkpoints)):
        hops = [
            {"id": each.execution_id, "state": each.hops[index]}
            for each in checkpoints
            if index < len(each.hops)
        ]
        parts.append(prepared.HOP.replace("(hops)", f"(hops{index})"))
        parameters[f"hops{index}"] = dump(hops)
    parts.append(prepared.UPDATE)
    parameters["rows"] = dump([each.row for each in checkpoints])
    parameters["written"] = [each.execution_id for each in checkpoints]
    if not all(is_simple(each) for each in checkpoints):
        parts.append(prepared.PLANNED)
        _add_outside(checkpoints, parts, parameters)
        _add_undoing(checkpoints, parts, parameters)
        _add_children(checkpoints, parts, parameters)
        # After all that locks rows: whoever holds the lock of a key waits for no row.
        if waits and (slots := sorted({each.slot_key for each in checkpoints if each.slot_key})):
            parts.append(slots_sql.HAND_ON)
            parameters["slots"] = slots
        _add_limits(checkpoints, parts, parameters, waits=waits)
    return "".join(parts), parameters


def is_simple(each: Checkpoint) -> bool:
    """Whether it has nothing to write but what every checkpoint has."""
    outside = each.opens or each.closes or each.rejects
    children = each.spawn or each.starts or each.follows or each.tell or each.ends
    undoing = each.promises or each.settles or each.owes
    limits = each.leaves_limits or each.lines_up
    return not (outside or children or undoing or each.slot_key or limits)


def ids_to_lock(checkpoints: list[Checkpoint]) -> list[int]:
    """A child's end changes its parent too; all rows are locked in one go, in the order of ids."""
    ids = {each.execution_id for each in checkpoints}
    ids.update(each.ends[0] for each in checkpoints if each.ends)
    # What takes a child's place must not miss a wish that its parent passes on at that moment.
    ids.update(each.parent for each in checkpoints if each.parent)
    return list(ids)


def _add_outside(
    checkpoints: list[Checkpoint], parts: list[str], parameters: dict[str, Any]
) -> None:
    """Waits for news from outside: what is over before what begins, a statement per kind."""
    for name, kind in KINDS.items():
        for what in ("rejects", "closes", "opens"):
            rows = [row for each in checkpoints for row in getattr(each, what).get(name, ())]
            if rows:
                parts.append(getattr(kind, what).replace("%(rows)s", f"%({what}_{name})s"))
                parameters[f"{what}_{name}"] = dump(rows)


def _add_undoing(
    checkpoints: list[Checkpoint], parts: list[str], parameters: dict[str, Any]
) -> None:
    """Compensations that are promised and settled, and starts that failures owe."""
    for name, sql in (("promises", undo_sql.PROMISE), ("settles", undo_sql.SETTLE)):
        if rows := [row for each in checkpoints for row in getattr(each, name)]:
            parts.append(sql)
            parameters[name] = dump(rows)
    if owes := [each.owes for each in checkpoints if each.owes]:
        parts.append(undo_sql.OWE)
        parameters["owes"] = dump(owes)


def _add_children(
    checkpoints: list[Checkpoint], parts: list[str], parameters: dict[str, Any]
) -> None:
    """What the checkpoints mean for children to be made or told, and for parents."""
    if spawn := [row for each in checkpoints for row in each.spawn]:
        parts.append(children_sql.SPAWN)
        parameters["spawn"] = dump(spawn)
    if follows := [each.follows for each in checkpoints if each.follows]:
        parts.append(children_sql.FOLLOW)
        parameters["follows"] = dump(follows)
    if starts := [row for each in checkpoints for row in each.starts]:
        parts.append(children_sql.START)
        parameters["starts"] = dump(starts)
    if tell := [row for each in checkpoints for row in each.tell]:
        parts.append(children_sql.TELL)
        parameters["tell"] = dump(tell)
    ended: dict[tuple[int, str, int], dict[str, Any]] = {}
    for each in checkpoints:
        if each.ends is None:
            continue
        parent, step, generation = each.ends
        count = ended.setdefault(
            each.ends,
            {"parent": parent, "step": step, "generation": generation, "ended": 0, "failed": 0},
        )
        count["ended"] += 1
        count["failed"] += each.row["state"] != State.COMPLETED
    if ended:
        parts.append(prepared.ENDED)
        parameters["ended"] = dump(list(ended.values()))


def _add_limits(
    checkpoints: list[Checkpoint], parts: list[str], parameters: dict[str, Any], *, waits: bool
) -> None:
    """Places in limits of calls: given back, waited for, handed on."""
    leaving = [each.execution_id for each in checkpoints if each.leaves_limits]
    lining_up = [
        {"execution_id": each.execution_id, "limit_id": each.lines_up}
        for each in checkpoints
        if each.lines_up
    ]
    hands_on = waits and (leaving or lining_up)
    if hands_on:
        # First: whoever changes a limit has its lock, and then takes away what is used of it.
        parts.append(limits_sql.LOCK_ALL)
    if leaving:
        parts.append(limits_sql.LEAVE)
        parameters["leaving"] = leaving
    if lining_up:
        parts += [limits_sql.WAIT, limits_sql.WAKE_STRAY]
        parameters["lining_up"] = dump(lining_up)
    if hands_on:
        parts += [limits_sql.HAND_ON, ";\n"]


def dump(rows: list[dict[str, Any]]) -> str:
    """Rows as the JSON that the statements take."""
    return orjson.dumps(rows).decode()
