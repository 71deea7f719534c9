"""Named places where tests let a process die or stumble; nothing happens otherwise."""

from __future__ import annotations

from collections.abc import Callable

# Every place there is, and what is true there.
POINTS = {
    "dispatch.before_ring": "It is durable; nobody has been told that there is work.",
    "dispatch.before_wake": "Messages are durable; their owners have not been told.",
    "failing.before_commit": "The start that a failure owes is made, and not durable.",
    "failing.after_commit": "It is durable, with the note that it was made.",
    "ledger.after_claim": "Executions are owned; what they are has not been read.",
    "ledger.before_commit": "The rows of a batch are locked; nothing is written.",
    "ledger.after_commit": "A batch is durable; nobody has heard of it.",
    "ledger.before_matching": "Waits for signals are durable; no signal was looked for.",
    "lease.after_freeing": "What lost workers owned is free and durable; nobody was told.",
    "lease.before_heartbeat": "The lease is about to be made longer.",
    "mails.after_taking": "Mails are taken, durably; none of them has been sent.",
    "matching.before_giving": "Signals are durable; nobody was looked for who waits for them.",
    "migrating.before_commit": "A batch of executions is moved, and that is not durable.",
    "migrating.after_commit": "A batch of executions is moved for good; others are not.",
    "runner.after_checkpoint": "A plan is durable; its owner is about to carry it out.",
    "runner.after_limits": "The call has its place in the limits; it has not begun.",
    "runner.after_call": "The action has returned; what it came to is not durable.",
    "runner.after_undo": "The compensation has returned; what it came to is not durable.",
    "runner.before_call": "The call is marked as begun; it has not.",
    "runner.before_join": "All children have ended; what they came to has not been read.",
    "runner.before_undo": "The compensation is marked as being called; it is not.",
    "slots.before_hand_out": "One more for a concurrency key is durable, and has no slot yet.",
    "tasks.after_taking": "Tasks are leased; whoever asked for them has not heard of it.",
}

_ACTIVE: dict[str, Callable[[], None]] = {}


def fault(name: str) -> None:
    """Pass a fault point. Does what a test has asked for at this name."""
    if _ACTIVE and (action := _ACTIVE.get(name)):
        action()


def is_injected(name: str) -> bool:
    """Whether a test has asked for something at this point."""
    return name in _ACTIVE


def inject(name: str, action: Callable[[], None] | None) -> None:
    """Let `action` run whenever the point is passed; None takes it away again.

    Raises KeyError for a point that there is not.
    """
    POINTS[name]
    if action is None:
        _ACTIVE.pop(name, None)
    else:
        _ACTIVE[name] = action
