"""A process that does something many times from a signal on: `python -m ... VERB NAME`.

Prints what came of it as JSON. Several of them that wait for the signal race each other: it is
given by letting go of the lock START.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import django

# The number of an advisory lock.
START = 2_718_281_828


def start_all(name: str) -> dict[str, Any]:
    """Start one execution for each of ten keys; answers its id and whether this process made it."""
    from executions.services import start_execution
    from tests.engine import SYSTEM
    from workflows.models import Workflow

    workflow = Workflow.objects.get(slug="keyed")
    found = {}
    for number in range(10):
        started = start_execution(
            workflow=workflow, actor=SYSTEM, input={}, idempotency_key=f"order-{number}"
        )
        found[str(number)] = [started.execution.pk, started.created]
    return found


def decide_all(name: str) -> dict[str, Any]:
    """Decide every approval, `approver` with yes and others with no; answers how it went."""
    from django.contrib.auth import get_user_model

    from autopilot.accounts.actors import actor_of
    from autopilot.common.errors import DomainError
    from executions.approvals.deciding import decide
    from executions.models import Approval

    user = get_user_model().objects.get_by_natural_key(name)
    found = {}
    for approval in Approval.objects.order_by("pk"):
        try:
            decide(approval=approval, actor=actor_of(user), approve=name == "approver")
        except DomainError as refusal:
            found[str(approval.pk)] = refusal.code
        else:
            found[str(approval.pk)] = "decided"
    return found


VERBS: dict[str, Callable[[str], dict[str, Any]]] = {"start": start_all, "decide": decide_all}


def main() -> None:
    verb, name = sys.argv[1:]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autopilot.settings")
    django.setup()
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(%s)", [START])
    print(json.dumps(VERBS[verb](name)))


if __name__ == "__main__":
    main()
