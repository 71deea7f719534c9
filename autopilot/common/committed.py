"""What is done once a transaction is committed, and must not spoil what was committed."""

from __future__ import annotations

from collections.abc import Callable

from django.db import transaction


def after_commit(call: Callable[..., object], *given: object) -> None:
    """Call it with these after the commit, or at once outside of transactions; that it fails is
    logged, and whoever committed does not hear of it.

    Django's `robust` logs by the name of the function, and a `partial` has none: it would raise.
    """

    def told() -> None:
        call(*given)

    told.__qualname__ = getattr(call, "__qualname__", repr(call))
    transaction.on_commit(told, robust=True)
