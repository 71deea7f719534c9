"""Who may do what: the permissions, the roles, and the one matrix that joins them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Permission(StrEnum):
    """Every permission the product asks for, by its full Django name (`app_label.codename`)."""

    WORKFLOW_VIEW = "workflows.view_workflow"
    WORKFLOW_EDIT = "workflows.change_workflow"
    WORKFLOW_PUBLISH = "workflows.publish_workflow"
    WORKFLOW_REVIEW = "workflows.review_workflow"
    WORKFLOW_OVERRIDE_GUARD = "workflows.override_guard"
    WORKFLOW_REQUIRE_REVIEW = "workflows.require_review"
    EXECUTION_VIEW = "executions.view_execution"
    EXECUTION_START = "executions.start_execution"
    EXECUTION_CONTROL = "executions.control_execution"
    EXECUTION_MIGRATE = "executions.migrate_execution"
    EXECUTION_SIGNAL = "executions.signal_execution"
    TASK_WORK = "executions.work_on_tasks"
    APPROVAL_DECIDE = "executions.decide_approval"
    LIMITS_MANAGE = "executions.manage_limits"
    MONITORING_VIEW = "monitoring.view_monitoring"
    EXECUTION_PURGE = "monitoring.purge_executions"
    # Not `auth.change_user`: the user model is whatever AUTH_USER_MODEL says.
    USER_MANAGE = "accounts.manage_users"
    AUDIT_VIEW = "accounts.view_auditentry"
    SECURITY_VIEW = "accounts.view_securityevent"


class Role(StrEnum):
    """A Django group of the same name; a person may have several."""

    VIEWER = "Viewer"
    OPERATOR = "Operator"
    DESIGNER = "Designer"
    ADMINISTRATOR = "Administrator"


_VIEWER = frozenset(
    {Permission.WORKFLOW_VIEW, Permission.EXECUTION_VIEW, Permission.MONITORING_VIEW}
)
_OPERATOR = _VIEWER | {
    Permission.EXECUTION_START,
    Permission.EXECUTION_CONTROL,
    Permission.EXECUTION_SIGNAL,
    Permission.TASK_WORK,
    Permission.APPROVAL_DECIDE,
    Permission.LIMITS_MANAGE,
}
# A designer tries out what they write, and so may start; controlling other people's
# executions stays with operators. Whom the rules of publishing bind doesn't change those rules: to
# publish against the guard and to switch reviews on and off is for administrators. To move
# executions to another version is for those who know what the versions mean.
_DESIGNER = _VIEWER | {
    Permission.WORKFLOW_EDIT,
    Permission.WORKFLOW_PUBLISH,
    Permission.WORKFLOW_REVIEW,
    Permission.EXECUTION_START,
    Permission.EXECUTION_MIGRATE,
}

MATRIX: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.VIEWER: _VIEWER,
        Role.OPERATOR: _OPERATOR,
        Role.DESIGNER: _DESIGNER,
        Role.ADMINISTRATOR: frozenset(Permission),
    }
)
