"""An execution with all below it, and what the ledger's SQL does to their rows, in memory.

What happens outside follows from durable rows and a seed alone, so that a run with crashes meets
the same events as one without.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson

from executions.engine.events import CALLBACK, DECISION, SIGNAL, Asked, Delivered, Told, Verb
from executions.engine.snapshot import Outer, Phase, Undo
from executions.engine.states import State
from executions.engine.wishes import OVER
from executions.runtime import claims
from executions.runtime.checkpoint import Checkpoint
from executions.runtime.control import undo_to_json
from executions.runtime.outers import item_names
from tests.unit.engine.simulated_rows import NOT_LET_GO, NOW, STARTED, Script, Wish, World
from workflows.definition.compiled import CompiledDefinition

PARTS = ("item", "branch")


class Family:
    """An execution with all those below it, and everything outside that they wait for."""

    def __init__(self, data: Any, script: Script, definitions: Mapping[int, CompiledDefinition]):
        self.script = script
        self.definitions = definitions
        self.now = NOW
        self.worlds = {1: World(1, NOW, input=json.dumps(data))}
        self.plans = 0
        self.owned: int | None = None
        self.promises: dict[int, dict[str, Any]] = {}
        self.owed: list[dict[str, Any]] = []
        # Open waits for news, in the order in which they began; value: the signal given to it.
        self.waits: dict[tuple[str, int, int, int], dict[str, Any]] = {}
        self.signals: list[dict[str, Any]] = []
        self._agenda: list[tuple[datetime, int, Callable[[], None]]] = []
        self._entries = 0
        for second, name in script.signals:
            self.at(second, lambda name=name: self.send(name))  # type: ignore[misc]
        for second, wish in script.wishes:
            self.at(second, lambda wish=wish: self.ask(wish))  # type: ignore[misc]

    # Time ----------------------------------------------------------------------------------------

    def at(self, seconds: float, happening: Callable[[], None]) -> None:
        self._entries += 1
        moment = self.now + timedelta(seconds=seconds)
        heapq.heappush(self._agenda, (moment, self._entries, happening))

    def happen(self, until: datetime | None) -> bool:
        """Let the next thing outside happen, if that is not later than this."""
        if not self._agenda or (until is not None and self._agenda[0][0] > until):
            return False
        moment, _, happening = heapq.heappop(self._agenda)
        self.now = max(self.now, moment)
        happening()
        return True

    def next(self) -> World | None:
        """Whose turn it is; time passes until there is one."""
        while True:
            due = [(each.due, pk) for pk, each in self.worlds.items() if each.due is not None]
            moment, pk = min(due) if due else (None, 0)
            if not self.happen(moment):
                break
        if moment is None:
            return None
        self.now = max(self.now, moment)
        return self.worlds[pk]

    # Reading -------------------------------------------------------------------------------------

    def load(self, world: World) -> claims.Claim:
        row = world.row
        outer = self._outer(row)
        names = {}
        if outer is not None:
            definition = self.definitions[row["version_id"]]
            value, index = json.loads(row["input"]), row["item_index"]
            names = {**outer.names, **item_names(definition, row["parent_step"], value, index)}
        return world.load(outer, names)

    def _outer(self, row: dict[str, Any]) -> Outer | None:
        """What is around an item or a branch."""
        if row["kind"] not in PARTS:
            return None
        parent = self.worlds[row["parent_id"]]
        claim = self.load(parent)
        own, around = claim.snapshot, claim.snapshot.outer
        if around is None:
            return Outer(own.input, own.vars, own.steps, own.names, own.caught)
        return Outer(
            input=around.input,
            vars={**around.vars, **own.vars},
            steps={**around.steps, **own.steps},
            names={**own.item_names, **own.names},
            caught=own.caught or around.caught,
        )

    def children(self, parent: int, step: str | None = None) -> list[World]:
        return [
            each
            for each in self.worlds.values()
            if each.row["parent_id"] == parent and step in (None, each.row["parent_step"])
        ]

    def tree(self, root: int) -> list[World]:
        """An execution and what it has to answer for when it undoes what was done."""
        found = [self.worlds[root]]
        for each in found:
            found += [
                child
                for child in self.children(each.row["id"])
                if child.row["kind"] != "child" or child.row["state"] != "failed"
            ]
        return found

    def promised(self, root: int) -> list[dict[str, Any]]:
        ids = {each.row["id"] for each in self.tree(root)}
        return [each for each in self.promises.values() if each["execution_id"] in ids]

    # Writing -------------------------------------------------------------------------------------

    def write(self, world: World, checkpoint: Checkpoint) -> None:
        world.write(checkpoint, self.now)
        self._note_outside(checkpoint)
        for promise in checkpoint.promises:
            pk = len(self.promises) + 1
            self.promises[pk] = {**orjson.loads(orjson.dumps(promise)), "id": pk, "attempts": 0}
        for settle in checkpoint.settles:
            found = self.promises[settle["id"]]
            assert found["state"] == "pending", "undone twice"
            found |= {"state": settle["state"], "attempts": found["attempts"] + settle["attempts"]}
        if checkpoint.owes:
            self.owed.append(checkpoint.owes)
        if checkpoint.spawn:
            self._spawn(world, orjson.loads(orjson.dumps(checkpoint.spawn)))
        if checkpoint.follows:
            self._follow(world, orjson.loads(orjson.dumps(checkpoint.follows)))
        for start in orjson.loads(orjson.dumps(checkpoint.starts)):
            assert start["id"] not in self.worlds
            self._born(start["id"], start, version_id=start["version"])
        for tell in checkpoint.tell:
            self._tell(tell)
        if checkpoint.ends:
            self._count(*checkpoint.ends, failed=world.row["state"] != "completed")
        if checkpoint.slot_key:
            self._hand_on(checkpoint.slot_key)
        if checkpoint.lines_up:
            self.at(7, lambda: self._let_in(world, checkpoint.row["current_seq"]))

    def _let_in(self, world: World, seq: int) -> None:
        """A place of a limit is handed to whoever stands in its line still."""
        row = world.row
        stands = (row["state"], row["current_phase"], row["current_seq"])
        # One that has failed meanwhile stands there still, and is out of the line.
        if stands == ("waiting", Phase.LIMITED, seq):
            world.due = world.due or self.now

    def _born(self, pk: int, given: dict[str, Any], **columns: Any) -> World:
        key = given.get("slot_key")
        world = self.worlds[pk] = World(
            pk,
            self.now,
            input=json.dumps(given.get("input", given.get("value"))),
            slot_key=key or "",
            slot_limit=given.get("slot_limit", 0),
            **columns,
        )
        return world

    def _next_id(self) -> int:
        return 1 + max(pk for pk in self.worlds if pk < STARTED)

    def _hand_on(self, key: str) -> None:
        known = [each for each in self.worlds.values() if each.row["slot_key"] == key]
        held = sum(each.row["slot_held"] for each in known)
        for each in known:
            row = each.row
            waits = row["state"] in NOT_LET_GO and each.due is None and not row["slot_held"]
            if waits and held < row["slot_limit"]:
                held += 1
                row["slot_held"], each.due = True, self.now

    def _spawn(self, world: World, rows: list[dict[str, Any]]) -> None:
        first = rows[0]
        last = {row["idx"]: self._last_of(world, row) for row in rows}
        done = {idx for idx, one in last.items() if one and one.row["state"] == "completed"}
        wanted = [row for row in rows if row["idx"] not in done]
        if first["needed"] and len(done) >= first["needed"]:
            wanted = []
        for turn, row in enumerate(wanted, 1):
            old = last[row["idx"]]
            if row["takes_up"] and old and old.row["state"] == "failed" and not old.was_undone:
                old.row["generation"] = row["generation"]
                old.take_up(self.now)
                child = old
            else:
                child = self._born(
                    self._next_id(),
                    row,
                    kind=row["kind"],
                    version_id=row["version"] or world.row["version_id"],
                    parent_id=world.row["id"],
                    parent_step=row["step"],
                    generation=row["generation"],
                    item_index=row["idx"],
                )
            if row["concurrency"] and turn > row["concurrency"]:
                child.due = None
        world.row |= {
            "children_generation": first["generation"],
            "children_total": len(rows),
            "children_open": len(wanted),
            "children_failed": 0,
            "children_tolerated": first["tolerated"],
            "children_needed": first["needed"],
        }
        if not wanted:
            world.due = self.now

    def _last_of(self, world: World, row: dict[str, Any]) -> World | None:
        """What came of the item before, of several attempts the one that counts."""
        is_child = row["kind"] == "child"
        found = [
            each
            for each in self.children(world.row["id"], row["step"])
            if row["base"] <= each.row["generation"] < row["generation"]
            and (is_child or each.row["item_index"] == row["idx"])
        ]
        return max(found, key=lambda each: _counts_for(each, is_child), default=None)

    def results(self, parent: int, step: str, base: int) -> list[World]:
        """Of the children of a step those that count, in the order of the items."""
        best: dict[int, World] = {}
        for each in self.children(parent, step):
            if each.row["generation"] >= base:
                is_child = each.row["kind"] == "child"
                index = 0 if is_child else each.row["item_index"]
                known = best.get(index)
                key = _counts_for(each, is_child)
                if known is None or key > _counts_for(known, is_child):
                    best[index] = each
        return [best[index] for index in sorted(best)]

    def _follow(self, world: World, given: dict[str, Any]) -> None:
        columns = {name: world.row[name] for name in ("kind", "version_id", "parent_id")}
        columns |= {name: world.row[name] for name in ("parent_step", "generation")}
        index = None if world.row["item_index"] is None else world.row["item_index"] + 1
        new = self._born(self._next_id(), given, **columns, item_index=index)
        for event in world.unread():
            if isinstance(event, Asked) and event.verb in (Verb.PAUSE, Verb.CANCEL):
                new.post(event, self.now)

    def _tell(self, tell: dict[str, Any]) -> None:
        for child in self.children(tell["parent"], tell["step"]):
            row = child.row
            is_let_go = row["state"] not in NOT_LET_GO or child.due or row["slot_key"]
            if row["generation"] != tell["generation"] or child.has_ended:
                continue
            if is_let_go or tell["verb"] == "cancel":
                child.post(Asked(Verb(tell["verb"]), tell["actor"], tell["reason"]), self.now)

    def _count(self, parent: int, step: str, generation: int, *, failed: bool) -> None:
        world = self.worlds[parent]
        row = world.row
        if row["children_generation"] != generation:
            return
        row["children_open"] -= 1
        row["children_failed"] += failed
        if not world.has_ended and row["children_failed"] <= row["children_tolerated"]:
            self._refill(parent, step, generation)
        succeeded = row["children_total"] - row["children_open"] - row["children_failed"]
        failing = failed and row["children_failed"] == row["children_tolerated"] + 1
        enough = not failed and 0 < row["children_needed"] == succeeded
        if not world.has_ended and (row["children_open"] == 0 or failing or enough):
            world.post(Told(), self.now)

    def _refill(self, parent: int, step: str, generation: int) -> None:
        """One that has ended lets one that is blocked go."""
        for child in self.children(parent, step):
            is_blocked = child.due is None and child.row["state"] in NOT_LET_GO
            if is_blocked and child.row["generation"] == generation and not child.row["slot_key"]:
                child.due = self.now
                if self.worlds[parent].row["state"] == "paused":
                    child.post(Asked(Verb.PAUSE, "engine"), self.now)
                return

    # Outside -------------------------------------------------------------------------------------

    def _note_outside(self, checkpoint: Checkpoint) -> None:
        for kind, rows in checkpoint.rejects.items():
            for row in rows:
                wait = self.waits[_key(kind, row)]
                assert wait["signal"]["id"] == row["data"]["signal"]
                wait["signal"] = None
        for kind, rows in checkpoint.closes.items():
            for row in rows:
                wait = self.waits.pop(_key(kind, row))
                if wait["signal"] and row["outcome"] != "delivered":
                    wait["signal"]["is_free"] = True
        for kind, rows in checkpoint.opens.items():
            for row in rows:
                key = _key(kind, row)
                assert key not in self.waits, "opened twice"
                self.waits[key] = {"data": row["data"], "signal": None}
                if kind != SIGNAL:
                    self._answer(key)
        self._match()

    def send(self, name: str) -> None:
        number = len(self.signals) + 1
        payload: Any = number if self.script.chance("signal", number) < 70 else "many"
        self.signals.append({"id": number, "name": name, "payload": payload, "is_free": True})
        self._match()

    def _match(self) -> None:
        for signal in self.signals:
            for (kind, pk, seq, attempt), wait in self.waits.items():
                if kind != SIGNAL or wait["signal"] is not None or not signal["is_free"]:
                    continue
                if json.loads(orjson.dumps(wait["data"]))["name"] == signal["name"]:
                    wait["signal"], signal["is_free"] = signal, False
                    said = {"signal": signal["id"], "payload": signal["payload"]}
                    self._deliver(SIGNAL, pk, seq, attempt, said)

    def _deliver(self, kind: str, pk: int, seq: int, attempt: int, said: Any) -> None:
        if not self.worlds[pk].has_ended:
            self.worlds[pk].post(Delivered(kind, seq, attempt, said, "tests"), self.now)

    def _answer(self, key: tuple[str, int, int, int]) -> None:
        """People and systems answer after a while, or never; some too late, some twice."""
        chance = self.script.chance(*key)
        said = _decision(chance) if key[0] == DECISION else _callback(chance)
        if said is None:
            return
        for seconds in (chance % 40, 60)[: 1 + (chance % 7 == 0)]:
            self.at(seconds, lambda: self._deliver(*key, said))
        if key[0] == CALLBACK and chance % 5 == 0:
            self.at(chance % 10, lambda: self._deliver(*key, {"what": "heartbeat"}))

    # Wishes --------------------------------------------------------------------------------------

    def ask(self, wish: Wish) -> None:
        """Ask something of an execution, if it can be asked of it now."""
        ids = sorted(self.worlds)
        world = self.worlds[ids[wish.target % len(ids)]]
        if world.has_ended:
            self._ask_ended(world, wish.verb)
            return
        pending = [each.verb for each in world.unread() if isinstance(each, Asked)]
        if Verb.CANCEL in pending or wish.verb in pending[-1:] or not self._suits(world, wish):
            return
        state = world.row["state"]
        turns = [each for each in pending if each in (Verb.PAUSE, Verb.RESUME)]
        is_paused = turns[-1] is Verb.PAUSE if turns else state == "paused"
        if is_paused is (wish.verb is Verb.PAUSE) and wish.verb in (Verb.PAUSE, Verb.RESUME):
            return
        if wish.verb is Verb.RESUME and state == "paused" and world.row["id"] != self.owned:
            world.transit("resumed", "operator", self.now)
            return
        seq = world.row["current_seq"] if wish.verb is Verb.SKIP else 0
        output = "given" if seq % 2 else None
        asked = Asked(wish.verb, "tests", "", seq, output, wish.compensate)
        world.post(asked, self.now)

    @staticmethod
    def _suits(world: World, wish: Wish) -> bool:
        row = world.row
        if wish.compensate and row["kind"] in PARTS:
            return False
        if "undo" in world.control and (
            wish.verb is Verb.SKIP or (wish.verb is Verb.CANCEL and row["state"] != "paused")
        ):
            return False
        if wish.verb is Verb.SKIP:
            is_at_rest = row["state"] in ("waiting", "paused")
            return is_at_rest and row["current_step"] != "" and row["current_phase"] not in OVER
        return wish.verb in (Verb.PAUSE, Verb.RESUME, Verb.CANCEL)

    def _ask_ended(self, world: World, verb: Verb) -> None:
        if world.row["state"] != "failed":
            return
        if verb is Verb.RETRY and not world.was_undone and self._may_go_on(world):
            world.take_up(self.now)
        elif verb is Verb.COMPENSATE and world.row["kind"] not in PARTS:
            self.undo_by_hand(world)

    def _may_go_on(self, world: World) -> bool:
        """Whether whoever waits for its end does so still; it is then counted as under way."""
        row = world.row
        if row["parent_id"] is None:
            return True
        parent = self.worlds[row["parent_id"]].row
        waits = (parent["state"], parent["current_step"], parent["current_phase"])
        if waits != ("waiting", row["parent_step"], Phase.CHILDREN):
            return False
        if parent["children_generation"] != row["generation"] or parent["id"] == self.owned:
            return False
        parent["children_open"] += 1
        parent["children_failed"] -= 1
        return True

    def undo_by_hand(self, world: World) -> None:
        found = self.promised(world.row["id"])
        again = [each for each in found if each["state"] in ("failed", "left") and each["attempts"]]
        if not again and not any(each["state"] == "pending" for each in found):
            return
        for each in again:
            each["state"] = "pending"
        undo = undo_to_json(Undo(State.FAILED, "tests", by_hand=True), lambda value, step: value)
        control = {**world.control, "undo": {**undo, "error": world.result["error"]}}
        world.row |= {"control": json.dumps(control), "seen_seq": world.row["inbox_seq"]}
        world.transit("running", "compensating", self.now)

    def history(self) -> dict[str, Any]:
        return {
            "executions": [world.history() for world in self.worlds.values()],
            "undone": list(self.promises.values()),
            "signals": self.signals,
            "owed": self.owed,
        }


def _counts_for(world: World, is_child: bool) -> tuple[bool, int, int]:
    has_succeeded = not is_child and world.row["state"] == "completed"
    return has_succeeded, world.row["generation"], world.row["item_index"]


def _key(kind: str, row: dict[str, Any]) -> tuple[str, int, int, int]:
    return kind, row["execution"], row["seq"], row["attempt"]


def _decision(chance: int) -> dict[str, Any] | None:
    if chance < 20:
        return None
    if chance < 30:
        return {"able": 1, "quorum": 2, "missing": ["nobody"]}
    said = {"by": "ann", "at": "2026", "comment": "", "answer": None}
    is_approved = chance < 75
    return {"approved": is_approved, "decisions": [said], "answer": None, "comment": ""}


def _callback(chance: int) -> dict[str, Any] | None:
    if chance < 20:
        return None
    if chance < 50:
        said = {"code": "action.Elsewhere", "message": "No.", "details": {}}
        return {"what": "fail", **said, "retryable": chance < 40}
    return {"what": "complete", "output": chance}
