"""A worker's turn with one execution of a simulated family: the runner's way, step by step.

Everything that must hold at any moment is asserted here, whatever happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import fields
from typing import Any

from executions.engine import undo
from executions.engine.commands import Block, Call, CallUndo, Command, Finish, Rest, Survey
from executions.engine.errors import ENGINE_INTERNAL, ErrorInfo
from executions.engine.events import (
    Barred,
    CallFailed,
    CallPending,
    CallSucceeded,
    ChildFound,
    ChildrenEnded,
    ChildrenEnough,
    ChildrenFailing,
    ChildResult,
    Claimed,
    Continued,
    Event,
    Surveyed,
    Told,
)
from executions.engine.payload import encode
from executions.engine.planner import plan
from executions.engine.slots import slot_of
from executions.engine.snapshot import WITH_CHILDREN, Phase, Position, Snapshot, UndoItem
from executions.engine.states import State
from executions.runtime.checkpoint import Directive, build, call_of, directive_of
from executions.runtime.runner import MESSAGES, _changes_nothing
from tests.unit.engine.simulated import Family
from tests.unit.engine.simulated_rows import STARTED, World
from workflows.definition.compiled import WorkflowConfig

# A catch that leads back, around a map, makes a few thousand; what never ends makes more.
MAX_PLANS = 20_000
# What a claim reads anew, or what only the owner's memory holds.
_NOT_READ = {"undo_items", "wants_slot", "outer", "item_names", "definition"}


class Died(Exception):
    """The worker has died; somebody else takes the execution over."""


def run_turn(family: Family, world: World) -> None:
    """Claim an execution again and again until somebody has brought it to rest."""
    while True:
        family.owned = world.row["id"]
        turn = Turn(family, world)
        try:
            turn.run()
        except Died:
            if not turn.has_released:
                continue
        finally:
            family.owned = None
        return


class Turn:
    """One claim of one execution."""

    def __init__(self, family: Family, world: World) -> None:
        self.family = family
        self.world = world
        claim = family.load(world)
        self.claim = claim
        self.counters = claim.counters
        self.snapshot = claim.snapshot
        self.limited = call_of(claim.snapshot)
        self.has_released = False

    def run(self) -> None:
        directive = self._first()
        while not isinstance(directive, (Block, Finish)):
            if any(isinstance(each, Told) for each in self._unread()):
                self._give_back()
            if self._unread():
                directive = self._advance([])
                continue
            if self.family.plans in self.family.script.returns:
                self.family.plans += 1
                self._give_back()
            event = self._carry_out(directive)
            directive = self._advance([event] if event is not None else [])

    def _unread(self) -> list[Event]:
        return [event for seq, event in self.world.inbox if seq > self.counters.seen_seq]

    def _take_inbox(self) -> list[Event]:
        events = self._unread()
        self.counters.seen_seq = self.world.row["inbox_seq"]
        return events

    def _give_back(self) -> None:
        row = self.world.row
        phases = {"call": "limited" if row["current_attempt"] > 1 else "enter"}
        phases["undo_call"] = "undo"
        row["current_phase"] = phases.get(row["current_phase"], row["current_phase"])
        raise Died

    # Events --------------------------------------------------------------------------------------

    def _first(self) -> Directive:
        snapshot = self.snapshot
        if snapshot.state is State.RUNNING and undo.has_begun(snapshot):
            return self._advance([self._survey(was_calling=True)], take_inbox=False)
        if self._has_lost_call():
            return self._advance([Claimed(lost_call=True)], take_inbox=False)
        events: list[Event] = [*self._take_inbox(), Claimed()]
        news = self._news()
        if news is not None:
            events.insert(-1 if snapshot.state is State.WAITING else len(events), news)
        return self._advance(events, take_inbox=False)

    def _has_lost_call(self) -> bool:
        position = self.snapshot.position
        if self.snapshot.state is not State.RUNNING or position is None:
            return False
        if position.phase is not Phase.CALL or self._is_subflow(position):
            return False
        return not self._can_repeat(position.step_id)

    def _can_repeat(self, step_id: str) -> bool:
        script = self.family.script
        return script.repeatable or script.chance("repeat", step_id) < 50

    def _is_subflow(self, position: Position) -> bool:
        config = self.snapshot.definition.steps[position.step_id].config
        return isinstance(config, WorkflowConfig)

    def _news(self) -> Event | None:
        snapshot, position, claim = self.snapshot, self.snapshot.position, self.claim
        if snapshot.undo is not None or position is None or position.phase not in WITH_CHILDREN:
            return None
        if claim.children_open:
            if claim.children_failing:
                return ChildrenFailing(position.generation)
            return ChildrenEnough(position.generation) if claim.children_enough else None
        found = [
            ChildResult(
                child.row["item_index"],
                child.row["state"] == "completed",
                child.result.get("output"),
                child.result.get("error"),
                child.row["id"],
            )
            for child in self.family.results(snapshot.execution_id, position.step_id, position.base)
        ]
        return ChildrenEnded(tuple(found), position.generation)

    def _survey(self, *, was_calling: bool = False) -> Surveyed:
        family, pk = self.family, self.snapshot.execution_id
        if any(not each.has_ended for each in family.tree(pk)[1:]):
            return Surveyed(busy=True)
        assert self.snapshot.undo is not None
        current = self.snapshot.undo.current
        rows = family.promised(pk)
        pending = [each for each in rows if each["state"] == "pending"]
        pending.sort(key=lambda each: (each["id"] == current, each["id"]), reverse=True)
        items = tuple(self._item(each) for each in pending[:3])
        left = [{"compensation": each["id"]} for each in rows if each["state"] != "done"]
        done = len(rows) - len(left)
        lost = was_calling and bool(items) and items[0].id == current
        lost = lost and not self._can_repeat(f"undo {current}")
        return Surveyed(items, lost=lost, left=tuple(left), left_total=len(left), done=done)

    def _item(self, row: dict[str, Any]) -> UndoItem:
        version = self.family.worlds[row["execution_id"]].row["version_id"]
        compensation = self.family.definitions[version].steps[row["step_id"]].compensate
        assert compensation is not None
        return UndoItem(
            row["id"],
            row["execution_id"],
            row["seq"],
            row["step_id"],
            row["name"],
            row["action"],
            row["params"],
            compensation.retry,
            compensation.timeout,
        )

    def _carry_out(self, directive: Directive) -> Event | None:
        if isinstance(directive, Rest):
            while self.family.happen(directive.until):
                if self._unread():
                    return None
            self.family.now = max(self.family.now, directive.until)
            return Continued()
        if isinstance(directive, Survey):
            return self._survey()
        if isinstance(directive, CallUndo):
            return self._undo(directive)
        if isinstance(directive, Call):
            return self._call(directive.position)
        return Continued()

    def _undo(self, directive: CallUndo) -> Event:
        item, position = directive.item, directive.position
        assert self.family.promises[item.id]["state"] == "pending"
        assert self.world.row["current_phase"] == Phase.UNDO_CALL, "not durable before the call"
        chance = self.family.script.chance("undo", item.id, position.attempt)
        if chance < 30:
            return CallFailed(ErrorInfo("http.503", "No.", retryable=chance < 20))
        return CallSucceeded(encode({"undone": item.id}, limit=100, what="It"))

    def _call(self, position: Position) -> Event:
        row = self.world.row
        place = (row["current_step"], row["current_seq"], row["current_attempt"])
        assert place == (position.step_id, position.seq, position.attempt)
        assert row["current_phase"] == Phase.CALL, "not durable before the call"
        pk = self.snapshot.execution_id
        chance = self.family.script.chance(pk, *place)
        if self._is_subflow(position):
            return self._found(position, chance)
        has_waited = place[1:] in self.world.waited
        if chance % 10 == 9 and not has_waited:
            until = self.family.now if chance < 50 else None
            return Barred(until and until.replace(microsecond=chance), 1)
        if chance < 20:
            return CallFailed(ErrorInfo("http.503", "Not now.", retryable=True))
        if chance < 30:
            return CallFailed(ErrorInfo("action.Refused", "No.", retryable=False))
        if chance < 45:
            return CallPending()
        return CallSucceeded(encode({"c": chance}, limit=1000, what="It"))

    def _found(self, position: Position, chance: int) -> Event:
        step = self.snapshot.definition.steps[position.step_id]
        assert isinstance(step.config, WorkflowConfig)
        if chance < 10:
            return CallFailed(ErrorInfo("workflow.not_found", "There is none.", retryable=True))
        version = CHILD_VERSIONS[step.config.workflow]
        given = {"of": position.step_id}
        slot = slot_of(self.family.definitions[version], given, self.family.now)
        new_id = 0 if step.config.wait else self.snapshot.execution_id * STARTED + position.seq
        return ChildFound(version, encode(given, limit=1000, what="It"), new_id, slot=slot)

    # Plans ---------------------------------------------------------------------------------------

    def _advance(self, events: Sequence[Event], *, take_inbox: bool = True) -> Directive:
        if take_inbox:
            events = [*events, *self._take_inbox()]
        while True:
            before = copy(self.counters)
            directive = self._plan_once(events)
            if directive is not None:
                return directive
            # Somebody's news came before a plan that has to have heard them.
            self.counters = before
            heard = [each for each in events if isinstance(each, MESSAGES)]
            others = [each for each in events if not isinstance(each, MESSAGES)]
            events = [*heard, *self._take_inbox(), *others]

    def _plan_once(self, events: Sequence[Event]) -> Directive | None:
        family = self.family
        number = family.plans
        family.plans += 1
        assert number < MAX_PLANS, "it never ends"
        dies = number in family.script.crashes
        before = copy(self.counters)
        commands, after = self._plan_all(events, dies)
        wish = family.script.busy.get(number)
        if wish is not None:
            # Between the plan and its checkpoint.
            family.ask(wish)
        if dies and number % 2 == 0:
            raise Died
        if _changes_nothing(commands) and self.counters == before:
            if dies:
                raise Died
            self.snapshot = after
            return directive_of(commands)
        row = self.world.row
        parent = row["parent_id"]
        checkpoint = build(
            commands=commands,
            after=after,
            epoch=1,
            revision=0,
            counters=self.counters,
            now=family.now,
            child_of=None if parent is None else (parent, row["parent_step"], row["generation"]),
            slot_key=row["slot_key"],
            limited=self.limited,
        )
        if checkpoint.heeds and row["inbox_seq"] > self.counters.seen_seq:
            return None
        family.write(self.world, checkpoint)
        self.snapshot = after
        self.has_released = checkpoint.releases
        self._check_read_anew(after)
        if dies:
            raise Died
        return checkpoint.directive

    def _plan_all(self, events: Sequence[Event], dies: bool) -> tuple[list[Command], Snapshot]:
        commands: list[Command] = []
        after = self.snapshot
        for event in events:
            planned = plan(after, event, self.family.now, spent=lambda: dies)
            again = plan(after, event, self.family.now, spent=lambda: dies)
            assert planned == again, "not the same twice"
            commands += planned.commands
            after = planned.after
            assert not any(_is_internal(each) for each in planned.commands), planned.commands
        return commands, after

    def _check_read_anew(self, after: Snapshot) -> None:
        """What was written reads like what the owner remembers."""
        if self.world.has_ended:
            return
        read = self.family.load(self.world).snapshot
        for each in fields(Snapshot):
            if each.name not in _NOT_READ:
                expected, found = getattr(after, each.name), getattr(read, each.name)
                assert found == expected, (each.name, found, expected)


def _is_internal(command: Command) -> bool:
    error = getattr(command, "error", None)
    return isinstance(error, ErrorInfo) and error.code == ENGINE_INTERNAL


CHILD_VERSIONS = {"again": 2, "child": 3, "saga": 4, "single": 5}
__all__ = ["CHILD_VERSIONS", "Died", "Turn", "run_turn"]
