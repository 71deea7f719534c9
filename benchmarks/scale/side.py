"""One of the two databases of W7, as the product sees it: a process that measures when it is told.

    python -m benchmarks.scale.side

It reads orders as lines of JSON and answers each with a line: `{"do": "publish"}` publishes the
workflows, `{"do": "prepare", "ready": 500}` starts as many and picks what is looked at,
`{"do": "measure", "what": "home", "times": 5}` answers milliseconds, one each.
"""

from __future__ import annotations

import asyncio
import gc
import json
import secrets
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django

CLAIMED = 50
PICKED = 200
LABELS = {"customer": "c1", "region": "north"}
LATER = "2090-01-01T00:00:00Z"


def main() -> None:
    django.setup()
    side = Side()
    for line in sys.stdin:
        order = json.loads(line)
        answer = getattr(side, order.pop("do"))(**order)
        print(json.dumps(answer), flush=True)


def timed(run: Callable[[], Any]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1000


class Side:
    """Everything is done in this process, requests by Django's own client with all middleware."""

    def __init__(self) -> None:
        self._ids: dict[str, list[int]] = {}
        self._turn = 0
        self._plain: Any = None

    def publish(self) -> dict[str, Any]:
        """The workflows that the rows are of."""
        from benchmarks.scale.workflows import publish_all

        return publish_all()

    def prepare(self, *, ready: int) -> dict[str, int]:
        """After the tables were filled: so many are ready, and everybody has logged in."""
        from django.contrib.auth import get_user_model
        from django.test import Client

        from autopilot.accounts.actors import Actor
        from autopilot.accounts.tokens import issue_tokens
        from autopilot.common import clock
        from benchmarks.workload import ACTOR
        from executions.bulk_start import start_many
        from executions.models import Execution, Worker
        from executions.runtime.clock import Clock
        from executions.runtime.ledger import Ledger
        from workflows.models import Workflow

        self._actor = Actor.system(ACTOR)
        self._plain = Workflow.objects.order_by("pk").first()
        for first in range(0, ready, 500):
            requests = [{"labels": LABELS}] * min(500, ready - first)
            start_many(workflow=self._plain, actor=self._actor, requests=requests)
        users: Any = get_user_model()._default_manager
        user = users.create_superuser(f"bench-{time.time_ns()}", "", secrets.token_urlsafe(24))
        token = issue_tokens(user=user).access
        self._api = Client(SERVER_NAME="localhost", HTTP_AUTHORIZATION=f"Bearer {token}")
        self._console = Client(SERVER_NAME="localhost")
        self._console.force_login(user)
        now = clock.now()
        worker = Worker.objects.create(
            name="bench",
            host="bench",
            pid=1,
            queues=["default"],
            started_at=now,
            lease_until=now + timedelta(hours=6),
        )
        self._ledger = Ledger(worker.pk)
        self._clock = Clock()
        self._clock._is_leader = True
        rows = Execution.objects.filter(owner__isnull=True)
        for name, some in {
            "completed": rows.filter(state="completed"),
            "failed": rows.filter(state="failed"),
            "timer": rows.filter(state="waiting", current_phase="timer", slot_key=""),
            "slot": rows.filter(state="initialized", slot_held=False, runnable_at__isnull=True),
            "ready": rows.ready(now),
        }.items():
            # From old ones to new ones, as few or many as there are.
            step = max(1, Execution.objects.count() // PICKED // 4)
            picked = some.extra(where=[f"id %% {step} = 0"]).order_by("pk")[:PICKED]
            ids = list(picked.values_list("pk", flat=True))
            if len(ids) < PICKED // 10:
                ids = list(some.order_by("pk").values_list("pk", flat=True)[:PICKED])
            self._ids[name] = ids
        return {name: len(ids) for name, ids in self._ids.items()}

    def measure(self, *, what: str, times: int) -> list[float]:
        """Milliseconds of each time."""
        run = getattr(self, f"_{what}", None)
        if run is None:
            run = self._request(what)
        gc.collect()
        return [timed(run) for _ in range(times)]

    def explain(self, *, what: str) -> list[dict[str, str]]:
        """The statements of one time, with the milliseconds of each: to find what is slow."""
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        with CaptureQueriesContext(connection) as found:
            (getattr(self, f"_{what}", None) or self._request(what))()
        return [{"time": each["time"], "sql": each["sql"]} for each in found.captured_queries]

    def _pick(self, kind: str) -> int:
        self._turn += 1
        ids = self._ids[kind]
        return ids[self._turn * 7919 % len(ids)]

    # Work ----------------------------------------------------------------------------------------

    def _claimed(self, limit: int) -> list[Any]:
        return asyncio.run(
            self._ledger.claim(
                queue_name="default", priorities=(3, 2, 1, 0), limit=limit, suspect_after=3
            )
        )

    def _claim(self, limit: int) -> None:
        claimed = self._claimed(limit)
        assert len(claimed) == limit, f"{len(claimed)} were ready, of {limit}"

    def drain(self) -> int:
        """Claim whatever is ready; answers how many those were."""
        count = 0
        while claimed := len(self._claimed(CLAIMED)):
            count += claimed
        return count

    def _claim_batch(self) -> None:
        self._claim(CLAIMED)

    def _claim_one(self) -> None:
        self._claim(1)

    def _start(self) -> None:
        from executions.services import start_execution

        start_execution(workflow=self._plain, actor=self._actor, labels=LABELS)

    def _start_100(self) -> None:
        from executions.bulk_start import start_many

        start_many(workflow=self._plain, actor=self._actor, requests=[{"labels": LABELS}] * 100)

    def _rest_start(self) -> None:
        body = {"workflow": self._plain.slug, "start_at": LATER, "labels": LABELS}
        answer = self._api.post("/api/v1/executions/", body, content_type="application/json")
        assert answer.status_code == 201, answer.content

    def _clock_tick(self) -> None:
        self._clock._swept_at = self._clock._freed_at = self._clock._rang_all_at = None
        self._clock._did = {"match_all": self._clock._did.get("match_all") or _now()}
        self._clock._tick()

    def _why(self, kind: str) -> None:
        from executions.models import Execution
        from executions.situations import situation_of

        situation_of(Execution.objects.get(pk=self._pick(kind)))

    def _why_timer(self) -> None:
        self._why("timer")

    def _why_slot(self) -> None:
        self._why("slot")

    def _why_ready(self) -> None:
        self._why("ready")

    def _why_failed(self) -> None:
        self._why("failed")

    # Looking -------------------------------------------------------------------------------------

    def _request(self, what: str) -> Callable[[], None]:
        """What is named as a page is read over HTTP; `{...}` is one of such executions."""
        from benchmarks.scale.pages import PAGES

        template = PAGES[what]
        client = self._api if template.startswith("/api/") else self._console

        def run() -> None:
            path = template
            for kind in self._ids:
                if f"{{{kind}}}" in path:
                    path = path.replace(f"{{{kind}}}", str(self._pick(kind)))
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.status_code, answer.content[:500])

        return run


def _now() -> Any:
    from autopilot.common.database_time import database_now

    return database_now()


if __name__ == "__main__":
    main()
