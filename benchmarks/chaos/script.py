"""Everybody who is outside: starts executions, sends signals, decides, does tasks, asks for things.

Each of these knows nothing of crashes but that an answer may be missing: then it asks again, with
the same idempotency key.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import Error, connection

from autopilot.accounts.actors import Actor
from autopilot.common.errors import DomainError
from benchmarks.chaos.ground import Ground
from benchmarks.chaos.shapes import BY_NAME, SHAPES, SIGNAL, TASKS, Shape
from executions.approvals.deciding import decide
from executions.bulk_start import start_many
from executions.calling_back import complete_callback, fail_callback, take_tasks
from executions.limiting import LimitTerms, create_limit
from executions.models import Approval, Execution, SignalWait
from executions.services import (
    cancel_execution,
    pause_execution,
    resume_execution,
    retry_execution,
)
from executions.signalling import send_signal
from workflows.models import Workflow
from workflows.services import create_workflow, publish_version

ACTOR = Actor.system("chaos")
BATCH = 25
MAX_HTTP = 20
AGAIN_SECONDS = 0.2
LEASE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Order:
    """One execution to be started: the number `n` of a shape."""

    shape: Shape
    n: int

    @property
    def key(self) -> str:
        return f"{self.shape.name}-{self.n}"


def publish_all() -> dict[str, Workflow]:
    """Every shape as a published workflow, by name, and the limit of calls."""
    made = {}
    for shape in SHAPES:
        draft = create_workflow(actor=ACTOR, document=shape.document)
        made[shape.name] = publish_version(actor=ACTOR, version=draft).workflow
    terms = LimitTerms(subject="action", pattern="http.request", max_concurrent=MAX_HTTP)
    create_limit(actor=ACTOR, terms=terms)
    return made


def orders(count: int, first: dict[str, int]) -> list[Order]:
    """So many of them, shapes mixed by their weights; numbers begin at `first`."""
    line = [shape for shape in SHAPES for _ in range(shape.weight)]
    numbers = dict(first)
    made = []
    for index in range(count):
        # A stride that shares no factor with the length visits all, well mixed.
        shape = line[index * 7 % len(line)] if len(line) % 7 else line[index % len(line)]
        made.append(Order(shape, numbers[shape.name]))
        numbers[shape.name] += 1
    return made


class Script:
    """Threads that play the world outside until they are told to stop."""

    def __init__(self, ground: Ground, workflows: dict[str, Workflow]) -> None:
        self.ground = ground
        self._workflows = workflows
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._tokens: list[dict[str, Any]] = []
        self.started = 0
        self.refused = 0
        self.failures: list[str] = []

    def begin(self, asked: Sequence[Order], pace: float) -> None:
        """Start them all, a batch every `pace` seconds, and play along."""
        self._thread(partial(self._start_all, asked, pace))
        for part in (self._signals, self._decisions, self._tasks, self._callbacks, self._verbs):
            self._thread(partial(self._over_and_over, part))

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _thread(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                self.failures.append(repr(error))
            finally:
                connection.close()

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _over_and_over(self, part: Callable[[], None]) -> None:
        while not self._stop.wait(AGAIN_SECONDS):
            self._insist(part, once=True)

    def _insist(self, work: Callable[[], Any], *, once: bool = False) -> None:
        """Until PostgreSQL answers. once: whoever asks asks again anyway."""
        while not self._stop.is_set():
            try:
                work()
                return
            except Error:
                connection.close()
                if once:
                    return
                time.sleep(AGAIN_SECONDS)

    def _try(self, work: Callable[[], Any]) -> None:
        """Something that may be too late or done already."""
        try:
            work()
        except DomainError:
            self.refused += 1

    # Starting ------------------------------------------------------------------------------------

    def _start_all(self, asked: Sequence[Order], pace: float) -> None:
        for shape, batch in _batches(asked):
            if self._stop.wait(pace):
                return
            if shape.name == "signal":
                early = [each for each in batch if each.n % 2 == 0]
                for order in early:
                    self._insist(partial(self._send, order.n))
            self._insist(partial(self._start, shape, batch))
            self.started += len(batch)

    def _start(self, shape: Shape, batch: Sequence[Order]) -> None:
        requests = [
            {
                "input": {"n": each.n, "left": 2, "url": f"{self.ground.service_url}/call"},
                "idempotency_key": each.key,
                "priority": each.n % 4,
            }
            for each in batch
        ]
        start_many(workflow=self._workflows[shape.name], actor=ACTOR, requests=requests)

    # Answering -----------------------------------------------------------------------------------

    def _send(self, n: int | str) -> None:
        key = f"signal-{n}"
        send_signal(
            name=SIGNAL, actor=ACTOR, payload=int(n), correlation=int(n), idempotency_key=key
        )

    def _signals(self) -> None:
        waits = SignalWait.objects.filter(name=SIGNAL, signal__isnull=True)
        for correlation in list(waits.values_list("correlation", flat=True)[:200]):
            self._try(partial(self._send, correlation))

    def _decisions(self) -> None:
        for approval in list(Approval.objects.filter(state="open").order_by("id")[:100]):
            agree = approval.context["n"] % 2 == 0
            self._try(partial(decide, approval=approval, actor=ACTOR, approve=agree))

    def _tasks(self) -> None:
        for task in take_tasks(queue=TASKS, actor=ACTOR, limit=50, lease_seconds=LEASE_SECONDS):
            n = task.payload["n"]
            if n % 3 == 0 and task.attempt == 1:
                self._try(partial(fail_callback, token=task.token, code="Busy", message="busy"))
            else:
                self._try(partial(complete_callback, token=task.token, output=n * 2))

    def _callbacks(self) -> None:
        self._tokens += self.ground.tokens()
        while self._tokens:
            said = self._tokens[0]
            self._try(partial(complete_callback, token=said["token"], output=said["give"]))
            self._tokens.pop(0)

    def _verbs(self) -> None:
        for execution in self._of("cancelled", state="waiting", reason="timer"):
            self._try(partial(cancel_execution, execution=execution, actor=ACTOR, compensate=True))
        for execution in self._of("retried", state="failed"):
            self._try(partial(retry_execution, execution=execution, actor=ACTOR))
        for execution in self._of("wait", state="waiting", paused_at__isnull=True):
            if execution.input["n"] % 3 == 0:
                self._try(partial(pause_execution, execution=execution, actor=ACTOR))
        for execution in self._of("wait", state="paused"):
            self._try(partial(resume_execution, execution=execution, actor=ACTOR))

    def _of(self, name: str, **conditions: Any) -> list[Execution]:
        workflow = self._workflows[name]
        return list(Execution.objects.filter(workflow=workflow, **conditions).order_by("id")[:100])


def _batches(asked: Sequence[Order]) -> Iterator[tuple[Shape, list[Order]]]:
    """Runs of one shape, as they come in every BATCH * 8 of them."""
    for first in range(0, len(asked), BATCH * 8):
        part = asked[first : first + BATCH * 8]
        for name in dict.fromkeys(each.shape.name for each in part):
            yield BY_NAME[name], [each for each in part if each.shape.name == name]
