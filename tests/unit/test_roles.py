from __future__ import annotations

import pytest

from autopilot.accounts.actors import Actor, ActorKind
from autopilot.accounts.roles import MATRIX, Permission, Role
from autopilot.common.errors import PermissionDenied


def test_every_role_is_in_the_matrix() -> None:
    assert set(MATRIX) == set(Role)


def test_a_viewer_reads_and_changes_nothing() -> None:
    assert MATRIX[Role.VIEWER] == {
        "workflows.view_workflow",
        "executions.view_execution",
        "monitoring.view_monitoring",
    }


def test_operators_add_the_control_of_executions() -> None:
    assert MATRIX[Role.OPERATOR] - MATRIX[Role.VIEWER] == {
        "executions.start_execution",
        "executions.control_execution",
        "executions.signal_execution",
        "executions.work_on_tasks",
        "executions.decide_approval",
        "executions.manage_limits",
    }
    assert MATRIX[Role.VIEWER] < MATRIX[Role.OPERATOR]


def test_designers_write_publish_and_try_out_but_do_not_control() -> None:
    assert MATRIX[Role.DESIGNER] - MATRIX[Role.VIEWER] == {
        "workflows.change_workflow",
        "workflows.publish_workflow",
        "workflows.review_workflow",
        "executions.start_execution",
        "executions.migrate_execution",
    }


def test_administrators_hold_everything() -> None:
    assert MATRIX[Role.ADMINISTRATOR] == set(Permission)


def test_the_matrix_cannot_be_changed_while_running() -> None:
    with pytest.raises(TypeError):
        MATRIX[Role.VIEWER] = frozenset(Permission)  # type: ignore[index]


def test_permissions_have_full_django_names() -> None:
    assert all(name.count(".") == 1 for name in Permission)


def test_the_system_may_do_everything() -> None:
    actor = Actor.system("clock")
    assert (actor.kind, actor.id, actor.name) == (ActorKind.SYSTEM, None, "clock")
    for permission in Permission:
        actor.require(permission)


def test_an_actor_may_what_it_holds_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[dict[str, object]] = []
    monkeypatch.setattr(
        "autopilot.accounts.security.note_denied", lambda **fields: noted.append(fields)
    )
    actor = Actor(
        kind=ActorKind.USER,
        id=7,
        name="vera",
        permissions=MATRIX[Role.VIEWER],
        address="192.0.2.1",
        request_id="request-1",
    )
    assert actor.may(Permission.EXECUTION_VIEW)
    assert not actor.may(Permission.EXECUTION_START)
    actor.require(Permission.EXECUTION_VIEW)
    with pytest.raises(PermissionDenied) as refused:
        actor.require(Permission.EXECUTION_START)
    assert refused.value.message == "vera does not have the permission executions.start_execution."
    assert noted == [
        {
            "user_id": 7,
            "name": "vera",
            "permission": "executions.start_execution",
            "address": "192.0.2.1",
            "request_id": "request-1",
        }
    ]
