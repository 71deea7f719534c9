"""One trial: starts come in, workers and web processes are restarted in turn, then the books."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

import psutil
from django.contrib.auth import get_user_model

from autopilot.accounts.actors import Actor
from autopilot.accounts.tokens import issue_tokens
from benchmarks.chaos.ground import Ground
from benchmarks.chaos.shapes import call, step
from benchmarks.stand import READY_SECONDS
from workflows.services import create_workflow, publish_version

SLUG = "rolling"
ITEMS = 3
# The first call is under way for most of an execution's life, so that every stop meets some.
SLOW_SECONDS, QUICK_SECONDS = 0.5, 0.1
SETTLE_SECONDS = 60.0
REQUEST_SECONDS = 30.0
STARTERS = 4
# A new web process is taken for ready once it has worked as much as the first ones had by then.
READY_SHARE = 0.8

_END = "('completed', 'failed', 'cancelled')"
BOOKS = {
    "executions that did not complete": (
        "SELECT count(*) FROM executions_execution WHERE state <> 'completed'"
    ),
    "starts that were accepted and are not there": (
        "SELECT greatest(0, %(accepted)s - count(*)) FROM executions_execution"
        " WHERE parent_id IS NULL"
    ),
    "steps recorded more than once": (
        "SELECT count(*) FROM (SELECT 1 FROM executions_stepexecution"
        " GROUP BY execution_id, seq HAVING count(*) > 1) AS x"
    ),
    "executions with a step too few or too many": (
        "SELECT count(*) FROM (SELECT e.id FROM executions_execution e"
        " LEFT JOIN executions_stepexecution s ON s.execution_id = e.id GROUP BY e.id, e.kind"
        " HAVING count(s.id) <> CASE e.kind WHEN 'item' THEN 1 ELSE 5 END) AS x"
    ),
    "executions that an owner has": (
        "SELECT count(*) FROM executions_execution WHERE owner_id IS NOT NULL"
    ),
    "transitions taken more than once": (
        "SELECT count(*) FROM (SELECT 1 FROM executions_statetransition"
        " WHERE target IN ('initialized', 'completed')"
        " GROUP BY execution_id, target HAVING count(*) > 1) AS x"
    ),
}


def document() -> dict[str, Any]:
    """No-op steps, a slow call of the service, a map of quick ones."""
    noop = {"action": "noop", "with": {"n": "{{ input.n }}"}}
    items = {"items": f"range({ITEMS})", "as": "item", "max_concurrency": 2}
    steps = [
        step("first", "action", noop),
        call("slow", "{{ input.n }}", seconds=SLOW_SECONDS),
        step("second", "action", noop),
        step("each", "map", {**items, "steps": [call("quick", seconds=QUICK_SECONDS)]}),
        step("last", "action", noop),
    ]
    return {"name": "Rolling", "slug": SLUG, "steps": steps}


class Starters:
    """Threads that start executions over REST, each request on a connection of its own."""

    def __init__(self, port: int, token: str, rate: float) -> None:
        self.accepted: list[int] = []
        self.refused: list[str] = []
        self.seconds: list[float] = []
        self._port = port
        self._token = token
        self._pause = STARTERS / rate
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(number,), daemon=True)
            for number in range(STARTERS)
        ]

    def __enter__(self) -> Starters:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        while not self._stop.wait(self._pause):
            began = time.monotonic()
            try:
                status, body = self._start(number)
            except (OSError, http.client.HTTPException) as error:
                self.refused.append(repr(error))
                continue
            self.seconds.append(time.monotonic() - began)
            if status == 201:
                self.accepted.append(body["id"])
            else:
                self.refused.append(f"{status} {body}")

    def _start(self, number: int) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=REQUEST_SECONDS)
        try:
            connection.request(
                "POST",
                "/api/v1/executions/",
                json.dumps({"workflow": SLUG, "input": {"n": number}}),
                {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


class Trial:
    """Carries one out. Raises NotReady where something does not come back."""

    def __init__(self, ground: Ground, say: Callable[[str], None]) -> None:
        self.ground = ground
        self._say = say
        self._web_seconds = 0.0

    def run(self, *, workers: int, rounds: int, rate: float) -> dict[str, Any]:
        """What was done, and under `findings` everything that should not have happened."""
        actor = Actor.system("rolling")
        publish_version(actor=actor, version=create_workflow(actor=actor, document=document()))
        users: Any = get_user_model()._default_manager
        user = users.create_superuser("rolling", "", secrets.token_urlsafe(24))
        token = issue_tokens(user=user).access
        self.ground.keep(workers)
        self._all_at_work()
        self._web_seconds = min(_cpu_seconds(each) for each in self._web())
        restarted: Counter[str] = Counter()
        with Starters(self.ground.port, token, rate) as starters:
            self._say("Starts come in")
            for number in range(rounds):
                restarted["workers"] += self._restart_workers(workers)
                restarted["web processes"] += self._restart_web()
                self._say(f"Round {number + 1}: {len(starters.accepted)} accepted")
        self._settle()
        self.ground.release()
        findings = self._check(starters)
        waited = sorted(starters.seconds) or [0.0]
        return {
            "accepted": len(starters.accepted),
            "refused": len(starters.refused),
            "restarted": dict(restarted),
            "start_p50_ms": round(median(waited) * 1000, 1),
            "start_max_ms": round(waited[-1] * 1000, 1),
            "findings": findings,
        }

    def _restart_workers(self, count: int) -> int:
        """Tell one after the other to stop, and put a new one in its place."""
        for worker in list(self.ground.herd):
            os.kill(worker.pid, signal.SIGTERM)
            self.ground.wait_for_end(worker)
            self.ground.keep(count)
            self._all_at_work()
        return count

    def _all_at_work(self) -> None:
        self.ground.wait_until(
            lambda: all(each.is_at_work for each in self.ground.herd),
            READY_SECONDS,
            "all workers at work",
        )

    def _web(self) -> list[psutil.Process]:
        assert self.ground.web is not None
        return psutil.Process(self.ground.web.pid).children()

    def _restart_web(self) -> int:
        """Tell one web process after the other to stop; gunicorn puts a new one in its place."""
        old = self._web()
        for process in old:
            before = {each.pid for each in self._web()}
            process.terminate()
            self.ground.wait_until(
                lambda process=process, before=before: (  # type: ignore[misc]
                    not process.is_running() and self._new_is_ready(before, len(old))
                ),
                READY_SECONDS,
                "a new web process in its place",
            )
        return len(old)

    def _new_is_ready(self, before: set[int], count: int) -> bool:
        there = self._web()
        new = [each for each in there if each.pid not in before]
        enough = READY_SHARE * self._web_seconds
        return len(there) == count and all(_cpu_seconds(each) >= enough for each in new)

    def _settle(self) -> None:
        with self.ground.connect() as connection, connection.cursor() as cursor:

            def nothing_is_under_way() -> bool:
                cursor.execute(
                    f"SELECT count(*) FROM executions_execution WHERE state NOT IN {_END}"
                )
                row = cursor.fetchone()
                return row is not None and row[0] == 0

            self.ground.wait_until(nothing_is_under_way, SETTLE_SECONDS, "everything ended")
        connection.close()

    def _check(self, starters: Starters) -> list[str]:
        findings = [f"refused: {each}" for each in starters.refused]
        with self.ground.connect() as connection, connection.cursor() as cursor:
            for what, question in BOOKS.items():
                cursor.execute(question, {"accepted": len(starters.accepted)})
                row = cursor.fetchone()
                if row is None or row[0]:
                    findings.append(f"{what}: {row and row[0]}")
        connection.close()
        lines = self.ground.calls.read_text().splitlines()
        calls = Counter(json.loads(line)["key"] for line in lines)
        twice = sum(count > 1 for count in calls.values())
        if twice:
            findings.append(f"calls made more than once: {twice}")
        expected = len(starters.accepted) * (1 + ITEMS)
        if len(calls) != expected:
            findings.append(f"calls made: {len(calls)} of {expected}")
        return findings


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
