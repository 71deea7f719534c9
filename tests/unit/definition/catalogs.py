"""A small catalog of actions, in the place of the registry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from autopilot.common.problems import Problem


@dataclass(frozen=True)
class FakeAction:
    """Takes a text `to`, required, and a whole number `retries`; nothing else."""

    name: str
    strict: bool = False

    def check_params(self, params: dict[str, Any], *, partial: bool) -> list[Problem]:
        if not self.strict:
            return []
        found = []
        if "to" not in params:
            found.append(Problem("$.to", "params.missing", "The parameter is missing."))
        to = params.get("to", "")
        if not isinstance(to, str) or ("{{" in to and not partial):
            found.append(Problem("$.to", "params.type", "Expected text."))
        found.extend(
            Problem(f"$.{name}", "params.unknown", "There is no such parameter.")
            for name in params
            if name not in ("to", "retries")
        )
        return found


class FakeCatalog:
    """Knows `noop`, which takes anything, and `mail.send`, which is strict."""

    def __init__(self) -> None:
        self._actions = {
            "noop": FakeAction("noop"),
            "mail.send": FakeAction("mail.send", strict=True),
        }

    def get(self, name: str) -> FakeAction | None:
        return self._actions.get(name)

    def names(self) -> Iterable[str]:
        return self._actions


CATALOG = FakeCatalog()


def noop(**fields: Any) -> dict[str, Any]:
    """An action step that does nothing."""
    return {"name": "Step", "type": "action", "config": {"action": "noop"}, **fields}


def document(*steps: Any, **fields: Any) -> dict[str, Any]:
    """A document of these steps."""
    return {"name": "Example", "steps": list(steps), **fields}


SEED = {
    "name": "Example Workflow",
    "description": "A sample workflow",
    "steps": [{"name": "Step 1", "type": "action", "config": {"action": "noop"}}],
}
