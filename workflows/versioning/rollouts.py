"""Rollouts: who takes the candidate, when it has failed too much, and the states of one.

`MOVES` is the source: a test compares it with the model's transitions and the database trigger.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

# Percentages have two decimals: one bucket is a hundredth of a percent.
BUCKETS = 10_000


class RolloutState(StrEnum):
    """Where a rollout is. Stopped is what the clock does, rolled back what a person does."""

    ACTIVE = "active"
    PROMOTED = "promoted"
    STOPPED = "stopped"
    ROLLED_BACK = "rolled_back"


class Move(NamedTuple):
    """One allowed change of state; `name` is the verb that does it."""

    name: str
    source: RolloutState
    target: RolloutState


MOVES = (
    Move("promote", RolloutState.ACTIVE, RolloutState.PROMOTED),
    Move("stop", RolloutState.ACTIVE, RolloutState.STOPPED),
    Move("roll_back", RolloutState.ACTIVE, RolloutState.ROLLED_BACK),
)


class DecisionKind(StrEnum):
    """What was decided about a rollout."""

    STARTED = "started"
    PERCENT_SET = "percent_set"
    PROMOTED = "promoted"
    STOPPED = "stopped"
    ROLLED_BACK = "rolled_back"


def bucket_of(salt: str, key: str) -> int:
    """The bucket of a key, 0 to 9,999; the same for ever, and another one in another rollout.

    A key takes the candidate while its bucket is below the percentage, so raising that moves
    nobody back.
    """
    digest = hashlib.sha256(f"{salt}:{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) * BUCKETS >> 64


@dataclass(frozen=True, slots=True)
class Figures:
    """How many executions of a version ended in a while, and how many of those by failing.

    What was cancelled is in neither: people do that. is_capped: there were more than are looked at.
    """

    ended: int
    failed: int
    is_capped: bool = False

    @property
    def failure_percent(self) -> float:
        return 100 * self.failed / self.ended if self.ended else 0.0


@dataclass(frozen=True, slots=True)
class Rules:
    """When a candidate has failed.

    max_failure_percent: a rate above it is too much. min_executions: before so many have ended
    nothing is said of a version. margin_percent: the candidate's rate has to be so many percentage
    points above the baseline's as well; None: the baseline's is not asked for.
    """

    max_failure_percent: float
    min_executions: int
    margin_percent: float | None = None


class Finding(StrEnum):
    """What the figures say of a candidate."""

    TOO_FEW = "too_few"
    FINE = "fine"
    SHARED = "shared"
    FAILS = "fails"


def judge(candidate: Figures, baseline: Figures, rules: Rules) -> Finding:
    """Whether the candidate fails too much; only `FAILS` stops it.

    `SHARED`: it does, and so does the baseline, so that the version is not to blame. A baseline of
    which too few have ended is no excuse.
    """
    if candidate.ended < rules.min_executions:
        return Finding.TOO_FEW
    if candidate.failure_percent <= rules.max_failure_percent:
        return Finding.FINE
    if rules.margin_percent is None or baseline.ended < rules.min_executions:
        return Finding.FAILS
    limit = baseline.failure_percent + rules.margin_percent
    return Finding.FAILS if candidate.failure_percent > limit else Finding.SHARED
