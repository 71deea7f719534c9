"""The rows of one execution, written and read the way the ledger does it, in memory."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from executions.engine.commands import Block, Finish
from executions.engine.events import Asked, Event, Verb
from executions.engine.snapshot import Outer, Phase, StepFact
from executions.engine.states import ENDED, UNDONE, StepState
from executions.runtime import claims
from executions.runtime.checkpoint import Checkpoint
from executions.runtime.rows import DATA_STEPS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
# Ids from here on are of executions that steps have started and do not wait for.
STARTED = 1_000_000
NOT_LET_GO = ("initialized", "resumed")
_COUNTERS = (
    *("current_seq", "steps_entered", "inbox_seq", "seen_seq", "log_seq", "generation"),
    *("children_generation", "children_open", "children_failed", "children_tolerated"),
    *("children_total", "children_needed", "epoch", "revision"),
)


@dataclass(frozen=True, slots=True)
class Wish:
    """Something that is asked of an execution: of the n-th there is, counted round."""

    verb: Verb
    target: int
    compensate: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """What happens to a run, besides what its definition says.

    signals, wishes: by the second in which they come. crashes, returns: the plans, by number, at
    which a worker dies or gives everything back. busy: what is asked while a worker is at it.
    repeatable: False = some calls must not be made again when their worker has died.
    """

    seed: int = 0
    signals: tuple[tuple[int, str], ...] = ()
    wishes: tuple[tuple[int, Wish], ...] = ()
    crashes: frozenset[int] = frozenset()
    returns: frozenset[int] = frozenset()
    busy: Mapping[int, Wish] = field(default_factory=dict)
    repeatable: bool = True

    def chance(self, *key: object) -> int:
        """0 to 99, the same whenever it is asked for the same."""
        return zlib.crc32(" ".join(map(str, (*key, self.seed))).encode()) % 100


class World:
    """The rows of one execution, written and read the way the ledger does it."""

    def __init__(self, pk: int, now: datetime, **columns: Any) -> None:
        self.steps: list[dict[str, Any]] = []
        self.transitions: list[dict[str, Any]] = []
        self.inbox: list[tuple[int, Event]] = []
        self.due: datetime | None = now
        self.result: dict[str, Any] = {}
        # Attempts at steps whose call has waited for its turn.
        self.waited: set[tuple[int, int]] = set()
        self.row: dict[str, Any] = {
            **dict.fromkeys(claims.Row._fields),
            **dict.fromkeys(_COUNTERS, 0),
            **dict.fromkeys(("current_step", "current_phase", "parent_step", "slot_key"), ""),
            "id": pk,
            "claims": 1,
            "version_id": 1,
            "state": "initialized",
            "reason": "queued",
            "error_code": "",
            "input": "null",
            "variables": "{}",
            "control": "{}",
            "current_attempt": 1,
            "transition_seq": 1,
            "kind": "root",
            "slot_held": False,
            "slot_limit": 0,
            **columns,
        }

    @property
    def has_ended(self) -> bool:
        return self.row["state"] in ENDED

    @property
    def control(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.row["control"])
        return found

    @property
    def was_undone(self) -> bool:
        reason = self.row["reason"]
        return self.has_ended and reason in UNDONE and reason != self.row["error_code"]

    def load(self, outer: Outer | None = None, names: Any = None) -> claims.Claim:
        """What a claim reads: of each step the latest row, of the rows the latest output."""
        claim = claims._claim(claims.Row(**{name: self.row[name] for name in claims.Row._fields}))
        snapshot = claim.snapshot
        facts: dict[str, StepFact] = {}
        for each in sorted(self.steps, key=lambda each: (each["seq"], each["attempt"])):
            if each["type"] != "compensation":
                error, state = each["error"], StepState(each["state"])
                facts[each["step_id"]] = StepFact(state, each["output"], error, each["attempt"])
        snapshot.steps = facts
        for each in self.steps:
            if each["type"] in DATA_STEPS and each["state"] == "completed":
                snapshot.note_output(each["seq"], each["output"])
        snapshot.outer = outer
        snapshot.item_names = names or {}
        snapshot.max_steps = 40
        return claim

    def unread(self) -> list[Event]:
        return [event for seq, event in self.inbox if seq > self.row["seen_seq"]]

    def post(self, event: Event, now: datetime) -> None:
        """A message; it wakes whoever nobody owns. Whoever owns it looks by itself."""
        self.row["inbox_seq"] += 1
        self.inbox.append((self.row["inbox_seq"], event))
        self.due = now

    def transit(self, target: str, reason: str, now: datetime) -> None:
        """A transition that a service or a statement takes."""
        self.row["transition_seq"] += 1
        self.transitions.append(
            {"seq": self.row["transition_seq"], "source": self.row["state"], "target": target}
        )
        self.row |= {"state": target, "reason": reason}
        self.due = now

    def take_up(self, now: datetime) -> None:
        """FAILED to RESUMED, with the message that says so; what nobody had heeded is void."""
        self.transit("resumed", "operator", now)
        self.row |= {"error_code": "", "seen_seq": self.row["inbox_seq"]}
        self.result.pop("error", None)
        self.post(Asked(Verb.RETRY, "tests"), now)

    def write(self, checkpoint: Checkpoint, now: datetime) -> None:
        plain = orjson.loads(orjson.dumps(checkpoint.row))
        kept = self.row["paused_at"]
        for key, value in plain.items():
            if key in ("variables", "control"):
                if value is not None:
                    self.row[key] = json.dumps(value)
            elif key in ("output", "error"):
                self.result[key] = value if value is not None else self.result.get(key)
            elif key in self.row:
                self.row[key] = moment_of(key, value)
        if plain.get("control") is not None:
            self.row["deadline_at"] = moment_of("deadline_at", plain["deadline_at"])
        is_stopped = plain["state"] in ("paused", "resumed")
        given = moment_of("paused_at", plain.get("paused_at"))
        self.row["paused_at"] = (given or kept) if is_stopped else None
        is_out = "ended_at" in plain or plain["state"] == "paused"
        self.row["slot_held"] = self.row["slot_held"] and not is_out
        if self.row["current_phase"] == Phase.LIMITED:
            self.waited.add((self.row["current_seq"], self.row["current_attempt"]))
        self.steps += orjson.loads(orjson.dumps(checkpoint.steps))
        self.transitions += orjson.loads(orjson.dumps(checkpoint.transitions))
        self.due = now
        if isinstance(checkpoint.directive, Finish):
            self.due = None
        elif isinstance(checkpoint.directive, Block) and not self.unread():
            self.due = checkpoint.directive.until

    def history(self) -> dict[str, Any]:
        return {
            "id": self.row["id"],
            "state": self.row["state"],
            "reason": self.row["reason"],
            "output": self.result.get("output"),
            "error": self.result.get("error"),
            "variables": json.loads(self.row["variables"]),
            "steps": self.steps,
            "transitions": self.transitions,
        }


def moment_of(key: str, value: Any) -> Any:
    ismoment_of = key.endswith("_at") or key in ("current_since", "wait_until")
    return datetime.fromisoformat(value) if value and ismoment_of else value
