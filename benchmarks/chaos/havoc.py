"""What is done to the engine while it works."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.chaos.ground import Ground, Worker


@dataclass(frozen=True, slots=True)
class Plan:
    """How bad it gets. Times in seconds.

    restarts: of PostgreSQL. crashes: kills of its main process. flushes: of Redis; away: how long
    it is stopped, once. They are spread over `spread` seconds; workers are killed as long as there
    is work, one every `every`, and at least `kills` if the time will do.
    """

    workers: int = 5
    every: float = 1.0
    restarts: int = 3
    crashes: int = 1
    flushes: int = 10
    away: float = 5.0
    leaders: int = 3
    spread: float = 120.0
    kills: int = 0


@dataclass(slots=True)
class Done:
    """What has been done, counted."""

    kills: int = 0
    leaders: int = 0
    restarts: int = 0
    crashes: int = 0
    flushes: int = 0
    away_seconds: float = 0.0
    # When PostgreSQL was away: from, to, seconds of the system's clock.
    outages: list[tuple[float, float]] = field(default_factory=list)


class Havoc:
    """Carries a plan out. `step()` is called from the main thread, over and over."""

    def __init__(self, ground: Ground, plan: Plan, say: Callable[[str], None]) -> None:
        self.ground = ground
        self.plan = plan
        self.done = Done()
        self._say = say
        self._began = time.monotonic()
        self._killed_at = self._began
        self._agenda = self._events()
        self._other: threading.Thread | None = None
        self._problem: BaseException | None = None

    def _events(self) -> list[tuple[float, str]]:
        plan = self.plan
        events: list[tuple[float, str]] = []
        counts = {
            "restart": plan.restarts,
            "crash": plan.crashes,
            "flush": plan.flushes,
            "away": 1 if plan.away else 0,
            "leader": plan.leaders,
        }
        for offset, (kind, count) in enumerate(counts.items()):
            for number in range(count):
                share = (number + 0.5 + 0.1 * offset) / count
                events.append((min(share, 1.0) * plan.spread, kind))
        return sorted(events)

    @property
    def is_over(self) -> bool:
        """Whether all of the plan but the killing of workers has been done."""
        return not self._agenda and (self._other is None or not self._other.is_alive())

    def step(self) -> None:
        """Do what is due. Raises what went wrong in doing so."""
        if self._problem is not None:
            raise self._problem
        now = time.monotonic()
        self.ground.keep(self.plan.workers)
        if now - self._killed_at >= self.plan.every:
            self._killed_at = now
            self._kill(self._oldest())
        busy = self._other is not None and self._other.is_alive()
        if self._agenda and not busy and now - self._began >= self._agenda[0][0]:
            kind = self._agenda[0][1]
            if kind == "leader":
                leaders = [each for each in self.ground.herd if each.leads]
                if not leaders:
                    return
                self._kill(leaders[-1])
                self.done.leaders += 1
            else:
                # Killing goes on meanwhile.
                self._other = threading.Thread(target=self._do, args=(kind,), daemon=True)
                self._other.start()
            self._agenda.pop(0)

    def close(self) -> None:
        """Wait until nothing is under way. Raises what went wrong."""
        if self._other is not None:
            self._other.join()
        if self._problem is not None:
            raise self._problem

    def _oldest(self) -> Worker | None:
        """The one that has been at work for longest: killing what only just starts shows little."""
        at_work = [each for each in self.ground.herd if each.is_at_work]
        return min(at_work, key=lambda each: each.since, default=None)

    def _kill(self, worker: Worker | None) -> None:
        if worker is not None:
            self.ground.kill(worker)
            self.done.kills += 1
            self.ground.keep(self.plan.workers)

    def _do(self, kind: str) -> None:
        pair, done = self.ground.pair, self.done
        try:
            began = time.time()
            match kind:
                case "restart":
                    pair.restart_postgres()
                    done.restarts += 1
                    done.outages.append((began, time.time()))
                case "crash":
                    pair.kill_postgres()
                    done.crashes += 1
                    done.outages.append((began, time.time()))
                case "flush":
                    pair.flush()
                    done.flushes += 1
                case "away":
                    pair.stop_valkey()
                    time.sleep(self.plan.away)
                    pair.start_valkey()
                    done.away_seconds += time.time() - began
            self._say(f"{kind}: {time.time() - began:.1f} s")
        except BaseException as error:
            self._problem = error
