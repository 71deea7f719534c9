"""One trial: a rehearsal in peace, the same in chaos, peace again, and the books."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import psycopg2

from benchmarks.chaos.books import Books, Verdict
from benchmarks.chaos.ground import RHYTHM, Ground
from benchmarks.chaos.havoc import Done, Havoc, Plan
from benchmarks.chaos.records import Records, read
from benchmarks.chaos.script import Order, Script, orders, publish_all
from benchmarks.chaos.shapes import SHAPES
from benchmarks.stand import NotReady

REHEARSAL_SECONDS = 120.0
# In peace everything that is left has to end within this time.
SETTLE_SECONDS = 300.0
# How many times as long chaos lasts at most, where there were too few workers to kill.
BUSY = 4
PEACE_WORKERS = 2
UNDER_WAY = """
SELECT (SELECT count(*) FROM executions_execution
         WHERE state NOT IN ('completed', 'failed', 'cancelled'))
     + (SELECT count(*) FROM executions_execution e JOIN workflows_workflow w
            ON w.id = e.workflow_id WHERE w.slug = 'chaos-retried' AND e.state = 'failed')
     + (SELECT count(*) FROM executions_errorstart WHERE status = 'owed')
"""
# More than may, at one moment: of a concurrency key, of a limit of calls.
ABOVE = """
SELECT (SELECT count(*) FROM (SELECT 1 FROM executions_execution WHERE slot_held
          GROUP BY slot_key HAVING count(*) > max(slot_limit)) AS keys)
     + (SELECT count(*) FROM (SELECT 1 FROM executions_limituse u JOIN executions_actionlimit l
            ON l.id = u.limit_id WHERE u.held AND u.kind = 'place'
          GROUP BY l.id HAVING count(*) > l.max_concurrent) AS limits)
"""
WORKERS = "SELECT count(*) FROM executions_worker WHERE pid <> ALL(%s)"


class Trial:
    """Carries one out on a ground. Raises NotReady where even peace brings no end."""

    def __init__(self, ground: Ground, say: Callable[[str], None]) -> None:
        self.ground = ground
        self._say = say
        self._looked = (0.0, -1)
        self._above = 0

    def run(self, *, executions: int, plan: Plan, seconds: float) -> dict[str, Any]:
        """The report: `done`, `counts`, `repeated`, `findings`, and by shape what was started."""
        self._say("Ready")
        workflows = publish_all()
        learnt, numbers = self._rehearse(workflows)
        asked = orders(executions, numbers)
        script = Script(self.ground, workflows)
        havoc = Havoc(self.ground, plan, self._say)
        began = time.monotonic()
        script.begin(asked, plan.spread * 0.9 / max(1, executions / 10))
        try:
            chaos = self._rage(script, havoc, len(asked), seconds)
        finally:
            havoc.close()
        self._say(f"Peace after {chaos:.0f} s of chaos; {self._under_way()} under way")
        self._settle(script, len(asked), SETTLE_SECONDS)
        lasted = time.monotonic() - began
        verdict = self._judge(learnt, asked, havoc)
        if self._above:
            verdict.findings.append("more had a slot, or a place in a limit, than may at once")
        verdict.findings += [f"the script failed: {each}" for each in script.failures]
        return self._report(verdict, havoc.done, chaos, lasted, asked)

    def _rehearse(
        self, workflows: dict[str, Any]
    ) -> tuple[dict[tuple[str, int], str], dict[str, int]]:
        """One of each shape and variant, with nothing in its way: the histories to be."""
        numbers = {shape.name: shape.variants for shape in SHAPES}
        asked = [Order(s, n) for s in SHAPES if s.weight for n in range(s.variants)]
        self.ground.keep(PEACE_WORKERS)
        script = Script(self.ground, workflows)
        script.begin(asked, 0.0)
        self._settle(script, len(asked), REHEARSAL_SECONDS)
        books = Books(self._records(Done()))
        learnt = books.stories()
        expected = {s.name: range(s.variants) for s in SHAPES if s.weight}
        if findings := books.check(expected, learnt).findings:
            raise NotReady("Even in peace the books are wrong:\n" + "\n".join(findings[:20]))
        self._say(f"Rehearsed {len(asked)} executions of {len(expected)} shapes")
        return learnt, numbers

    def _rage(self, script: Script, havoc: Havoc, count: int, seconds: float) -> float:
        """Until the plan is carried out and all has ended; answers how long that took.

        On a machine that is busy it lasts longer: until enough workers have been killed.
        """
        began = time.monotonic()
        most = seconds * BUSY
        while (lasted := time.monotonic() - began) < seconds or (
            lasted < most and havoc.done.kills < havoc.plan.kills
        ):
            havoc.step()
            if havoc.is_over and script.started == count and self._under_way() == 0:
                break
            time.sleep(0.05)
        return time.monotonic() - began

    def _settle(self, script: Script, count: int, seconds: float) -> None:
        """In peace, until all has ended or the time is over; then the workers stop."""
        deadline = time.monotonic() + seconds
        self.ground.keep(PEACE_WORKERS)
        while time.monotonic() < deadline:
            there = [each.pid for each in self.ground.herd]
            if (
                script.started == count
                and self._under_way() == 0
                and self._ask(WORKERS, there) == 0
            ):
                break
            time.sleep(0.1)
        script.end()
        self.ground.release()

    def _under_way(self) -> int:
        """-1 if PostgreSQL doesn't say; looked up at most every half second."""
        at, found = self._looked
        if time.monotonic() - at > 0.5:
            found = self._ask(UNDER_WAY)
            self._above = max(self._above, self._ask(ABOVE))
            self._looked = (time.monotonic(), found)
        return found

    def _ask(self, statement: str, *values: Any) -> int:
        try:
            connection = self.ground.connect()
        except psycopg2.Error:
            return -1
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                row = cursor.fetchone()
                return int(row[0]) if row else -1
        except psycopg2.Error:
            return -1
        finally:
            connection.close()

    def _records(self, done: Done) -> Records:
        connection = self.ground.connect()
        try:
            lease = float(RHYTHM["AUTOPILOT_LEASE_SECONDS"])
            return read(connection, self.ground.calls, self.ground.kills, done.outages, lease)
        finally:
            connection.close()

    def _judge(
        self, learnt: dict[tuple[str, int], str], asked: Sequence[Order], havoc: Havoc
    ) -> Verdict:
        started = Counter(each.shape.name for each in asked)
        expected = {s.name: range(s.variants + started[s.name]) for s in SHAPES if s.weight}
        return Books(self._records(havoc.done)).check(expected, learnt)

    def _report(
        self, verdict: Verdict, done: Done, chaos: float, lasted: float, asked: Sequence[Order]
    ) -> dict[str, Any]:
        return {
            "done": {
                "workers killed": done.kills,
                "of them leaders of the clock": sum(each.led for each in self.ground.kills),
                "PostgreSQL restarted": done.restarts,
                "PostgreSQL killed": done.crashes,
                "Redis flushed": done.flushes,
                "Redis away, seconds": round(done.away_seconds, 1),
                "chaos, seconds": round(chaos, 1),
                "until all had ended, seconds": round(lasted, 1),
            },
            "counts": verdict.counts,
            "repeated": {
                "explained by a kill": verdict.repeated.by_kill,
                "explained by a lease lost to a restart": verdict.repeated.by_outage,
            },
            "shapes": dict(Counter(each.shape.name for each in asked)),
            "findings": verdict.findings,
            "outages": asdict(done)["outages"],
        }
