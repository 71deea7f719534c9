"""One execution in the hands of its owner, from the claim to the moment it is given up."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import structlog

from autopilot.common import clock
from autopilot.common.crypto import NoEncryptionKey
from executions.engine import undo
from executions.engine.commands import Block, Call, CallUndo, Command, Finish, Rest, Survey, Yield
from executions.engine.errors import SEALED_UNREADABLE, VALIDATION_OUTPUT, WORKER_LOST, ErrorInfo
from executions.engine.events import (
    CALLBACK,
    Asked,
    Barred,
    ChildrenEnough,
    ChildrenFailing,
    Claimed,
    Continued,
    Delivered,
    Event,
    Surveyed,
    Told,
    Verb,
)
from executions.engine.planner import abort, plan
from executions.engine.snapshot import WITH_CHILDREN, Phase, Position, Snapshot
from executions.engine.states import State
from executions.hidden.crashes import log_crash
from executions.hidden.veil import Veil
from executions.runtime import subflows
from executions.runtime.checkpoint import Directive, build, call_of, directive_of
from executions.runtime.claims import Claim, Message
from executions.runtime.committing import Fenced, Refused, Unheard
from executions.runtime.faults import fault
from executions.runtime.ledger import Held, Ledger, LedgerClosed
from executions.runtime.limits import CallBarred
from executions.runtime.performer import Performer
from workflows.definition.compiled import WorkflowConfig

log = structlog.get_logger(__name__)

# A plan yields the loop after this time, so that one heavy run doesn't hold up hundreds.
PLAN_SECONDS = 0.05
# Claimed this often without a checkpoint in between, it is taken to kill its workers.
LOST_AFTER_CLAIMS = 6
# Fault points: what was called has returned, and that is not durable yet.
_AFTER = {Call: "runner.after_call", CallUndo: "runner.after_undo"}
# Events that come out of the inbox.
MESSAGES = (Asked, Told, Delivered)


class Holder(Protocol):
    """The drain, as a runner sees it.

    closing: it wants its executions back at the next step boundary. ring: there may be something
    to claim. announce: there is, for other workers too.
    """

    @property
    def closing(self) -> bool: ...

    @property
    def queue(self) -> str: ...

    def ring(self) -> None: ...

    def announce(self) -> None: ...


class Runner:
    """Drives one claimed execution: plan, make durable, carry out, again."""

    def __init__(
        self, claim: Claim, *, ledger: Ledger, performer: Performer, drain: Holder
    ) -> None:
        self.execution_id = claim.snapshot_id
        self.epoch = claim.epoch
        self._claim = claim
        self._ledger = ledger
        self._performer = performer
        self._drain = drain
        self._revision = claim.revision
        self._counters = claim.counters
        self._veil = claim.veil
        # Messages read and not yet planned, and how far they have been read.
        self._inbox: deque[Message] = deque(claim.messages)
        self._read_seq = claim.messages[-1].seq if claim.messages else claim.counters.seen_seq
        self._task: asyncio.Task[None] | None = None
        self._calling = False
        # What undoes something is never cut off by a wish.
        self._may_interrupt = True
        self._interrupted = False
        self._awake = asyncio.Event()
        # Number and attempt of the step for whose call it may have places in limits.
        self._limited = call_of(claim.snapshot)

    @property
    def read_seq(self) -> int:
        return self._read_seq

    async def run(self) -> None:
        """Until the execution blocks, ends or is lost, or the drain closes."""
        self._task = asyncio.current_task()
        try:
            await self._run()
        except Fenced:
            log.info("runner.fenced", execution_id=self.execution_id, epoch=self.epoch)
        except LedgerClosed:
            pass
        except Exception as error:  # noqa: BLE001 - the drain and the others go on
            log_crash(log, "runner.failed", error, self._veil, execution_id=self.execution_id)
            await self._ledger.release([Held(self.execution_id, self.epoch, in_trouble=True)])

    def deliver(self, messages: Sequence[Message]) -> None:
        """Take in messages that arrived while this runner was busy; a cancel interrupts a call."""
        for message in messages:
            if message.seq > self._read_seq:
                self._read_seq = message.seq
                self._inbox.append(message)
        if self._inbox:
            self._awake.set()
        if (
            self._calling
            and self._may_interrupt
            and any(_is_cancel(each.event) for each in self._inbox)
        ):
            self._interrupt()

    def _interrupt(self) -> None:
        if self._task is not None and not self._interrupted:
            self._interrupted = True
            self._task.cancel()

    async def _run(self) -> None:
        snapshot, directive = await self._first(self._claim.snapshot)
        while not isinstance(directive, (Block, Finish)):
            if any(isinstance(each.event, Told) for each in self._inbox):
                # What its children came to is read with a claim; the message stays unseen.
                await self._give_back(untouched=True)
                return
            if self._inbox:
                snapshot, directive = await self._advance(snapshot, [])
            elif self._drain.closing or self._is_held(snapshot):
                await self._give_back(untouched=True)
                return
            else:
                event = await self._carry_out(snapshot, directive)
                if type(directive) in _AFTER:
                    fault(_AFTER[type(directive)])
                if event is None and self._drain.closing:
                    await self._give_back(untouched=False)
                    return
                snapshot, directive = await self._advance(snapshot, [event] if event else [])

    def _is_held(self, snapshot: Snapshot) -> bool:
        """Whether its workflow or its queue has been switched off."""
        return self._ledger.rules.holds(self._drain.queue, snapshot.workflow)

    async def _first(self, snapshot: Snapshot) -> tuple[Snapshot, Directive]:
        """Plan what to do with the execution as it was found."""
        if self._claim.broken is not None:
            return await self._abort(snapshot, self._claim.broken)
        if self._claim.claims > LOST_AFTER_CLAIMS:
            message = f"{LOST_AFTER_CLAIMS} workers died or stalled while they ran this execution."
            return await self._abort(snapshot, ErrorInfo(WORKER_LOST, message))
        if snapshot.state is State.RUNNING and undo.has_begun(snapshot):
            news = await self._survey(snapshot, was_calling=True)
            return await self._advance(snapshot, [news], take_inbox=False)
        if self._has_lost_call(snapshot):
            # Before any wish: after a pause nobody could tell any more that the call was lost.
            return await self._advance(snapshot, [Claimed(lost_call=True)], take_inbox=False)
        events: list[Event] = [*self._take_inbox(), Claimed()]
        told = await self._news_of_children(snapshot)
        if told is not None:
            # What has happened comes before what has not happened in time. Whoever is resumed has
            # to be running first, and its time limits are moved on by that.
            events.insert(-1 if snapshot.state is State.WAITING else len(events), told)
        return await self._advance(snapshot, events, take_inbox=False)

    async def _news_of_children(self, snapshot: Snapshot) -> Event | None:
        """What the row says of its children; the message that woke it carries nothing."""
        position = snapshot.position
        if snapshot.undo is not None or position is None or position.phase not in WITH_CHILDREN:
            return None
        if not self._claim.children_open:
            fault("runner.before_join")
            news = await self._ledger.children(
                self.execution_id, position.step_id, position.base, self._veil
            )
            return replace(news, generation=position.generation)
        if self._claim.children_failing:
            return ChildrenFailing(position.generation)
        return ChildrenEnough(position.generation) if self._claim.children_enough else None

    def _has_lost_call(self, snapshot: Snapshot) -> bool:
        position = snapshot.position
        if snapshot.state is not State.RUNNING or position is None:
            return False
        if position.phase is not Phase.CALL or _is_subflow(snapshot, position):
            return False
        return not self._performer.can_repeat(snapshot, position)

    async def _survey(self, snapshot: Snapshot, *, was_calling: bool = False) -> Surveyed:
        """What there is to be undone. was_calling: by a worker that has died since."""
        assert snapshot.undo is not None
        current = snapshot.undo.current
        found = await self._ledger.survey(self.execution_id, current, self._veil)
        first = found.items[0] if found.items else None
        if was_calling and first is not None and first.id == current:
            return replace(found, lost=not self._performer.can_repeat_undo(first))
        return found

    def _take_inbox(self) -> list[Event]:
        events: list[Event] = []
        while self._inbox:
            message = self._inbox.popleft()
            self._counters.seen_seq = message.seq
            self._veil.include(message.veil)
            events.append(message.event)
        return events

    async def _carry_out(self, snapshot: Snapshot, directive: Directive) -> Event | None:
        """Do what the durable plan asks for; None = it was interrupted."""
        if isinstance(directive, Rest):
            return await self._rest(directive.until)
        if isinstance(directive, Survey):
            return await self._survey(snapshot)
        if not isinstance(directive, (Call, CallUndo)):
            await asyncio.sleep(0)
            return Continued()
        self._calling = True
        self._may_interrupt = isinstance(directive, Call)
        try:
            if isinstance(directive, CallUndo):
                fault("runner.before_undo")
                return await self._performer.undo(snapshot, directive, self._veil)
            fault("runner.before_call")
            if _is_subflow(snapshot, directive.position):
                find = partial(subflows.find, snapshot, directive, self._veil)
                return await self._ledger.read(find)
            return await self._performer.perform(
                snapshot, directive, self._veil, lambda *call: self._admit(directive, *call)
            )
        except CallBarred as barred:
            return Barred(barred.barred.until, barred.barred.limit_id)
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
            self._interrupted = False
            if self._task is not None:
                self._task.uncancel()
            return None
        finally:
            self._calling = False

    async def _admit(self, directive: Call, action: str, params: Any) -> None:
        """Take what the limits of the call ask for. Raises CallBarred if it can't begin yet."""
        limit_ids = self._ledger.rules.matching(action, params)
        if not limit_ids:
            return
        self._limited = (directive.position.seq, directive.position.attempt)
        barred = await self._ledger.enter_limits(self.execution_id, limit_ids)
        fault("runner.after_limits")
        if barred is not None:
            raise CallBarred(barred)

    async def _rest(self, until: datetime) -> Event | None:
        """Wait out a short backoff; None = a message came first."""
        self._awake.clear()
        try:
            async with asyncio.timeout((until - clock.now()).total_seconds()):
                await self._awake.wait()
        except TimeoutError:
            return Continued()
        return None if self._inbox else Continued()

    def stop_call(self) -> None:
        """The grace period is over: give the execution back even in the middle of a call."""
        self._awake.set()
        if self._calling:
            self._interrupt()

    async def _advance(
        self, snapshot: Snapshot, events: Sequence[Event], *, take_inbox: bool = True
    ) -> tuple[Snapshot, Directive]:
        """Plan for these events and what is in the inbox, and make the outcome durable.

        If messages come before a plan that must have heard them, it is made anew with them.
        """
        if take_inbox:
            events = [*events, *self._take_inbox()]
        while True:
            try:
                return await self._plan_once(snapshot, events)
            except Unheard:
                unread = {self.execution_id: self._read_seq}
                self.deliver(await self._ledger.messages(unread))
                heard = [each for each in events if isinstance(each, MESSAGES)]
                others = [each for each in events if not isinstance(each, MESSAGES)]
                events = [*heard, *self._take_inbox(), *others]

    async def _plan_once(
        self, snapshot: Snapshot, events: Sequence[Event]
    ) -> tuple[Snapshot, Directive]:
        now = self._now()
        before = self._counters.copy()
        commands, after = _plan_all(snapshot, events, now)
        if _changes_nothing(commands) and self._counters == before:
            # Not even a checkpoint: one would say that this claim has got somewhere.
            return after, directive_of(commands)
        try:
            return await self._record(commands, after, now)
        except Unheard:
            self._counters = before
            raise
        except NoEncryptionKey as missing:
            self._counters = before
            self._veil = self._claim.veil = Veil()
            return await self._abort(snapshot, ErrorInfo(SEALED_UNREADABLE, missing.message))
        except Refused as refused:
            self._counters = before
            message = f"The database refused what the step produced: {refused}"
            return await self._abort(snapshot, ErrorInfo(VALIDATION_OUTPUT, message))

    def _now(self) -> datetime:
        """This host's time, but not before the moment at which the database found it due.

        A host whose clock is behind would otherwise put a timer back that has just fired.
        """
        now = clock.now()
        claimed_at = self._claim.claimed_at
        return now if claimed_at is None else max(now, claimed_at)

    async def _abort(self, snapshot: Snapshot, error: ErrorInfo) -> tuple[Snapshot, Directive]:
        now = self._now()
        aborted = abort(snapshot, error, now)
        return await self._record(aborted.commands, aborted.after, now)

    async def _record(
        self, commands: Sequence[Command], after: Snapshot, now: datetime
    ) -> tuple[Snapshot, Directive]:
        checkpoint = build(
            commands=commands,
            after=after,
            epoch=self.epoch,
            revision=self._revision,
            counters=self._counters,
            now=now,
            child_of=self._claim.child_of,
            slot_key=self._claim.slot_key,
            veil=self._veil,
            limited=self._limited,
            read_seq=self._read_seq,
        )
        inbox_seq = await self._ledger.record(checkpoint)
        self._revision += 1
        fault("runner.after_checkpoint")
        if checkpoint.leaves_limits:
            self._limited = None
        if checkpoint.makes_ready:
            self._drain.announce()
        elif checkpoint.ends or checkpoint.opens.get(CALLBACK):
            # Another item may go now, or the parent; or the end of a call came before its begin.
            self._drain.ring()
        if not checkpoint.releases and inbox_seq > self._read_seq:
            self.deliver(await self._ledger.messages({self.execution_id: self._read_seq}))
        return after, checkpoint.directive

    async def _give_back(self, *, untouched: bool) -> None:
        await self._ledger.release([Held(self.execution_id, self.epoch, untouched)])


def _is_subflow(snapshot: Snapshot, position: Position) -> bool:
    """Whether its call starts another workflow: nothing of that is lost or done twice."""
    return isinstance(snapshot.definition.steps[position.step_id].config, WorkflowConfig)


def _is_cancel(event: Event) -> bool:
    return isinstance(event, Asked) and event.verb is Verb.CANCEL


def _changes_nothing(commands: Sequence[Command]) -> bool:
    """Whether all there is to do is to carry on: nothing to record, nobody to give up to."""
    return all(isinstance(each, (Call, CallUndo, Survey, Yield, Rest)) for each in commands)


def _plan_all(
    snapshot: Snapshot, events: Sequence[Event], now: datetime
) -> tuple[list[Command], Snapshot]:
    """One plan after the other, as if each had been durable before the next."""
    until = time.monotonic() + PLAN_SECONDS
    commands: list[Command] = []
    for event in events:
        planned = plan(snapshot, event, now, spent=lambda: time.monotonic() > until)
        commands.extend(planned.commands)
        snapshot = planned.after
    return commands, snapshot
