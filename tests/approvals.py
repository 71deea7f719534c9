"""Approvals in tests: a workflow that asks, and people who answer."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group

from autopilot.accounts.actors import Actor, actor_of
from executions.models import Approval, Execution
from tests.engine import drain, published, reread, started
from tests.factories import UserFactory


def person(name: str, *groups: str, **fields: Any) -> Any:
    """A user of this name in these groups, which exist afterwards."""
    user = UserFactory.create(username=name, **fields)
    for group in groups:
        user.groups.add(Group.objects.get_or_create(name=group)[0])
    return user


def acting(user: Any) -> Actor:
    return actor_of(user)


def step(config: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """An approval step that asks group Finance."""
    given = {"title": "Pay?", "assignees": {"groups": ["Finance"]}, **(config or {})}
    config = {name: value for name, value in given.items() if value is not None}
    return {"id": "ask", "type": "approval", "config": config, **fields}


def asked(
    config: dict[str, Any] | None = None, data: Any = None, *, by: Any = None, **fields: Any
) -> Approval:
    """The open approval of a new execution that has run up to it."""
    execution = started(published([step(config, **fields)]), data)
    if by is not None:
        Execution.objects.filter(pk=execution.pk).update(started_by=by)
    drain()
    return Approval.objects.get(execution=execution)


def after(approval: Approval) -> Execution:
    """The execution once what waits for a worker is done."""
    drain()
    return reread(approval.execution)
