"""Named places where tests let a process die or stumble; nothing happens otherwise."""

from __future__ import annotations

from collections.abc import Callable

_ACTIVE: dict[str, Callable[[], None]] = {}


def fault(name: str) -> None:
    """Pass a fault point. Does what a test has asked for at this name."""
    if _ACTIVE and (action := _ACTIVE.get(name)):
        action()


def inject(name: str, action: Callable[[], None] | None) -> None:
    """Let `action` run whenever the point is passed; None takes it away again."""
    if action is None:
        _ACTIVE.pop(name, None)
    else:
        _ACTIVE[name] = action
