"""A drain: one event loop that holds many executions of one queue at once."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence

import structlog
from django.conf import settings

from executions.runtime import dispatch
from executions.runtime.claims import Claim
from executions.runtime.ledger import Held, Ledger, LedgerClosed
from executions.runtime.performer import Performer
from executions.runtime.runner import Runner

log = structlog.get_logger(__name__)

# Which priority a claim looks at first: of fifteen claims, urgent leads eight, low one. What the
# first leaves room for goes to the others from the top down, so none starves and no slot idles.
LEADS = (3, 2, 3, 1, 3, 2, 3, 0, 3, 2, 3, 1, 3, 2, 3)
PRIORITIES = (3, 2, 1, 0)
# Claimed this often without a checkpoint in between, an execution is run alone.
SUSPECT_AFTER_CLAIMS = 3
# How long a drain goes on with such executions before it serves the others.
SUSPECTS_SECONDS = 5.0
# How long an executing call may hold up the end of a drain's budget before the drain goes on.
HANDOVER_SECONDS = 5.0
BEAT_SECONDS = 15.0
# Looks for work without having been told, while it lingers.
LOOK_SECONDS = 0.5
# After a claim that found little, the next one waits this long while others run, so that a burst
# of starts or of ends of items is claimed in handfuls: a claim costs as much as several steps.
CLAIM_GAP_SECONDS = 0.008
# Between tries to give back what its runner could not, doubled up to the second.
RETURN_SECONDS = 0.5
MAX_RETURN_SECONDS = 15.0


class Drain:
    """Claims executions of one queue and runs them, up to `slots` at once."""

    def __init__(
        self,
        queue: str,
        *,
        ledger: Ledger,
        performer: Performer,
        must_stop: Callable[[], bool],
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.queue = queue
        self.closing = False
        self.claimed = 0
        self._ledger = ledger
        self._performer = performer
        self._must_stop = must_stop
        self._beat = beat
        self._slots: int = settings.AUTOPILOT["SLOTS"]
        self._runners: dict[int, Runner] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._bell = asyncio.Event()
        self._leads = itertools.cycle(LEADS)
        self._started = time.monotonic()
        self._lost = False
        # False once a claim has found less than it had room for, until somebody rings.
        self._may_find = True
        # Whether a claim has found nothing since the last of what ran here was given up.
        self._has_looked = False
        # The one execution of which somebody has said that it is ready, if there is nothing else.
        self._said = 0
        # When the latest of such claims was asked for; the loop's clock.
        self._found_little_at = float("-inf")
        self._gap: asyncio.TimerHandle | None = None

    @property
    def held(self) -> int:
        return len(self._tasks)

    def ring(self, execution_id: int = 0) -> None:
        """There may be something to claim; with an id, this one. On the loop's thread."""
        if execution_id and not self._said:
            self._said = execution_id
        else:
            self._may_find = True
        self._bell.set()

    def announce(self) -> None:
        """There is more to claim than this drain may want. On the loop's thread."""
        self.ring()
        # Redis may be slow; nobody waits for it here.
        asyncio.get_running_loop().run_in_executor(None, dispatch.ring, self.queue)

    def lose(self) -> None:
        """The lease is gone: stop touching what was held. On the loop's thread."""
        self._lost = True
        for task in self._tasks.values():
            task.cancel()
        self._bell.set()

    async def wake(self, execution_ids: list[int]) -> None:
        """Read the messages of those of these executions that are held here."""
        behind = {
            pk: runner.read_seq
            for pk in execution_ids
            if (runner := self._runners.get(pk)) is not None
        }
        if not behind:
            return
        for message in await self._ledger.messages(behind):
            if (runner := self._runners.get(message.execution_id)) is not None:
                runner.deliver([message])

    async def run(self) -> int:
        """Until the queue is empty and has stayed so, the budget is used up, or a stop is asked.

        Answers how many executions were claimed.
        """
        beats = asyncio.create_task(self._keep_beating())
        try:
            await self._run_suspects()
            while await self._serve() and not await self._hand_over():
                # A long call is under way: the budget starts again rather than interrupt it.
                self._started = time.monotonic()
            await self._close()
        finally:
            beats.cancel()
        return self.claimed

    async def _serve(self) -> bool:
        """Claim and run; True if only the budget ended it."""
        idle_since = time.monotonic()
        while not self._is_stopping():
            if time.monotonic() - self._started > settings.AUTOPILOT["DRAIN_SECONDS"]:
                return True
            await self._ledger.freshen()
            if await self._claim() or self._tasks:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > settings.AUTOPILOT["LINGER_SECONDS"]:
                if self._is_sure():
                    return False
                continue
            await self._wait_for_bell()
        return False

    def _is_sure(self) -> bool:
        """Whether nothing is ready that came about here; if it has not looked, the next claim does.

        An action that makes others ready rings for them through Redis, which may be slow or away;
        and a bell may ring while a claim is under way. Neither must find the drain gone.
        """
        if self._may_find or self._said:
            return False
        self._may_find = not self._has_looked
        return self._has_looked

    def _is_stopping(self) -> bool:
        return self._lost or self._must_stop() or self._performer.needs_recycling

    async def _wait_for_bell(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._bell.wait()
        except TimeoutError:
            self._may_find = True
        self._bell.clear()

    async def _claim(self) -> bool:
        """Fill the free slots; True if something was claimed."""
        if self._said and await self._claim_said():
            return True
        free = self._slots - len(self._tasks)
        if free <= 0 or not self._may_find or self._waits_for_more():
            return False
        # Before asking: a bell that rings meanwhile must not be forgotten.
        self._may_find = False
        is_idle = not self._tasks
        lead = next(self._leads)
        asked_at = asyncio.get_running_loop().time()
        claims = await self._ledger.claim(
            queue_name=self.queue,
            priorities=(lead, *(each for each in PRIORITIES if each != lead)),
            limit=free,
            suspect_after=SUSPECT_AFTER_CLAIMS,
        )
        if len(claims) < free:
            self._found_little_at = asked_at
        else:
            self._may_find = True
        self._has_looked = is_idle and not claims
        self._start_all(claims)
        return bool(claims)

    async def _claim_said(self) -> bool:
        """Take the one that is ready, if that is all there is to know; True if it was claimed.

        A drain with nothing to do need not look for what it has been told by name, and of many
        drains that hear of it all but one are done after a glance. One that has other work claims
        in handfuls.
        """
        said, self._said = self._said, 0
        if self._may_find or self._tasks or self._ledger.rules.hold_something(self.queue):
            self._may_find = True
            return False
        claims = await self._ledger.claim_one(
            said, queue_name=self.queue, suspect_after=SUSPECT_AFTER_CLAIMS
        )
        self._start_all(claims)
        return bool(claims)

    def _start_all(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._start(Runner(claim, ledger=self._ledger, performer=self._performer, drain=self))

    def _waits_for_more(self) -> bool:
        """Whether the next claim is put off a little; the bell is rung then.

        Not when nothing runs here: a first bell is answered at once.
        """
        if not self._tasks:
            return False
        loop = asyncio.get_running_loop()
        due = self._found_little_at + CLAIM_GAP_SECONDS
        if loop.time() >= due:
            return False
        if self._gap is None:
            self._gap = loop.call_at(due, self._end_gap)
        return True

    def _end_gap(self) -> None:
        self._gap = None
        self._bell.set()

    async def _run_suspects(self) -> None:
        """Run those that may be killing their workers, one by one: nothing else can die with one.

        Most had bad luck with their workers and are done in a moment, so a drain runs as many as
        it can in a while, rather than one.
        """
        began = time.monotonic()
        while not self._is_stopping() and time.monotonic() - began < SUSPECTS_SECONDS:
            claims = await self._ledger.claim_suspect(
                queue_name=self.queue, suspect_after=SUSPECT_AFTER_CLAIMS
            )
            for claim in claims:
                log.warning("drain.suspect", execution_id=claim.snapshot_id, claims=claim.claims)
            self._start_all(claims)
            if not claims or not await self._outlasts():
                return

    async def _outlasts(self) -> bool:
        """Whether what was started leaves in a while; if not, it lives: whatever killed its
        workers, it is not this call.
        """
        started = time.monotonic()
        while self._tasks and not self._is_stopping():
            await self._wait_for_bell()
            if time.monotonic() - started > HANDOVER_SECONDS:
                return False
        return True

    def _start(self, runner: Runner) -> None:
        self.claimed += 1
        self._has_looked = False
        pk = runner.execution_id
        task = asyncio.create_task(runner.run(), name=f"execution-{pk}")
        self._runners[pk] = runner
        self._tasks[pk] = task
        task.add_done_callback(lambda done: self._ended(runner, done))

    def _ended(self, runner: Runner, task: asyncio.Task[None]) -> None:
        pk = runner.execution_id
        self._runners.pop(pk, None)
        self._tasks.pop(pk, None)
        self._bell.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("drain.runner_failed", execution_id=pk, exc_info=error)
            if not self._lost:
                # Nobody else would: the row would stay ours for as long as this worker lives.
                held = Held(pk, runner.epoch, in_trouble=True)
                self._tasks[pk] = asyncio.create_task(self._give_back(held))

    async def _give_back(self, held: Held) -> None:
        """Give back what its runner could not, until that goes through."""
        pause = RETURN_SECONDS
        try:
            while True:
                try:
                    await self._ledger.release([held])
                    self.ring()
                    return
                except LedgerClosed:
                    return
                except Exception:
                    log.exception("drain.not_given_back", execution_id=held.execution_id)
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_RETURN_SECONDS)
        finally:
            self._tasks.pop(held.execution_id, None)
            self._bell.set()

    async def _hand_over(self) -> bool:
        """Give executions back at their next step boundary; True if all were in time."""
        self.closing = True
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=HANDOVER_SECONDS)
        self.closing = not self._tasks
        return not self._tasks

    async def _close(self) -> None:
        """Give everything back at its next step boundary; calls may end within the grace."""
        self.closing = True
        grace = settings.AUTOPILOT["GRACE_SECONDS"]
        if self._tasks and not self._lost:
            await asyncio.wait(self._tasks.values(), timeout=grace)
        for runner in list(self._runners.values()):
            runner.stop_call()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=grace)
        for task in list(self._tasks.values()):
            task.cancel()

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            await asyncio.to_thread(self._beat)
