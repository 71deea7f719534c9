"""What validation wants to know about registered actions; the registry satisfies it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from autopilot.common.problems import Problem


class ActionInfo(Protocol):
    """One registered action."""

    @property
    def name(self) -> str:
        """Dotted name, such as `http.request`."""

    def check_params(self, params: dict[str, Any], *, partial: bool) -> list[Problem]:
        """What is wrong with parameters, with paths relative to `$`.

        partial: some values are templates, whose values only a run knows; they are not judged.
        """


class ActionCatalog(Protocol):
    """The registered actions by name."""

    def get(self, name: str) -> ActionInfo | None:
        """The action, or None when there is none of that name."""

    def names(self) -> Iterable[str]:
        """All names, to suggest the nearest."""
