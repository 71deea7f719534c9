"""What holds executions up on purpose, as a worker knows it: switches and limits, read often."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from executions.runtime.rows import cursor

# A change is known to every worker within this time, and a little more while a claim is under way.
FRESH_SECONDS = 0.5
# Actions that call the host of the URL in their parameters.
_WITH_URL = frozenset({"http.request", "webhook.send"})

READ = """
SELECT (SELECT json_agg(json_build_object('queue', h.queue, 'id', w.id, 'slug', w.slug))
          FROM executions_hold h LEFT JOIN workflows_workflow w ON w.id = h.workflow_id
         WHERE h.mode = 'all' AND (h.until IS NULL OR h.until > now())),
       (SELECT json_agg(json_build_object('id', id, 'subject', subject, 'pattern', pattern)
                        ORDER BY id)
          FROM executions_actionlimit)
"""


@dataclass(frozen=True, slots=True)
class _Known:
    """One reading."""

    queues: frozenset[str] = frozenset()
    workflows: Mapping[str, int] = field(default_factory=dict)
    limits: tuple[Mapping[str, Any], ...] = ()


class Rules:
    """Read on the ledger's thread, asked on any."""

    def __init__(self) -> None:
        self._known = _Known()
        self._read_at = float("-inf")

    @property
    def are_stale(self) -> bool:
        return time.monotonic() - self._read_at >= FRESH_SECONDS

    @property
    def held_workflows(self) -> list[int]:
        """Ids of the workflows of which nothing is to run."""
        return list(self._known.workflows.values())

    @property
    def has_limits(self) -> bool:
        return bool(self._known.limits)

    def holds_queue(self, queue: str) -> bool:
        return queue in self._known.queues

    def hold_something(self, queue: str) -> bool:
        """Whether this queue, or any workflow, is switched off."""
        return queue in self._known.queues or bool(self._known.workflows)

    def holds(self, queue: str, workflow: str) -> bool:
        """Whether nothing of this queue, or of the workflow with this slug, is to run."""
        return queue in self._known.queues or workflow in self._known.workflows

    def matching(self, action: str, params: Any) -> list[int]:
        """Ids of the limits that a call of the action with these parameters falls under."""
        known = self._known.limits
        if not known:
            return []
        names = {"action": action, "host": host_of(action, params)}
        return [each["id"] for each in known if _fits(each["pattern"], names[each["subject"]])]

    def read(self) -> None:
        """Read anew. On the ledger's thread."""
        with cursor() as opened:
            opened.execute(READ)
            holds, limits = opened.fetchone()
        found = _parsed(holds)
        self._known = _Known(
            queues=frozenset(each["queue"] for each in found if each["queue"]),
            workflows={each["slug"]: each["id"] for each in found if each["slug"]},
            limits=tuple(_parsed(limits)),
        )
        self._read_at = time.monotonic()


def _parsed(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, str):
        value = json.loads(value)
    return value or []


def _fits(pattern: str, name: str) -> bool:
    return bool(name) and fnmatchcase(name, pattern)


def host_of(action: str, params: Any) -> str:
    """The host that a call goes to, in lower case; empty if it goes to none that is known."""
    if action not in _WITH_URL or not isinstance(params, dict):
        return ""
    url = params.get("url")
    try:
        return (urlsplit(url).hostname or "").rstrip(".") if isinstance(url, str) else ""
    except ValueError:
        return ""
