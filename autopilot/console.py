"""How the console looks and what its navigation holds: Unfold's settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.functional import lazy


def _file(path: str) -> Callable[[HttpRequest], str]:
    return lambda request: static(path)


def _item(
    title: str, icon: str, page: str | Callable[[], str], *permissions: str, badge: str = ""
) -> dict[str, Any]:
    def link() -> str:
        name = page if isinstance(page, str) else page()
        try:
            return reverse(f"admin:{name}")
        except NoReverseMatch:
            return ""

    def allowed(request: HttpRequest) -> bool:
        return bool(link()) and request.user.has_perms(permissions)

    item = {"title": title, "icon": icon, "link": lazy(link, str)(), "permission": allowed}
    return {**item, "badge": badge} if badge else item


def _users() -> str:
    """The list of whatever AUTH_USER_MODEL names; its app may have brought no admin for it."""
    from django.contrib.auth import get_user_model

    options = get_user_model()._meta
    return f"{options.app_label}_{options.model_name}_changelist"


# Contrast with white text on 600 and with text in 700 on white is at least 4.5 to 1.
_INDIGO = {
    "50": "oklch(96.2% .018 272.314)",
    "100": "oklch(93% .034 272.788)",
    "200": "oklch(87% .065 274.039)",
    "300": "oklch(78.5% .115 274.713)",
    "400": "oklch(72% .15 276)",
    "500": "oklch(68% .17 277)",
    "600": "oklch(51.1% .262 276.966)",
    "700": "oklch(45.7% .24 277.023)",
    "800": "oklch(39.8% .195 277.366)",
    "900": "oklch(35.9% .144 278.697)",
    "950": "oklch(25.7% .09 281.288)",
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "AutopilotCX",
    "SITE_HEADER": "AutopilotCX",
    "SITE_SUBHEADER": "Workflows that reach their end",
    "SITE_SYMBOL": "conversion_path",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": _file("console/favicon.svg")}
    ],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "8px",
    "COLORS": {"primary": _INDIGO},
    "STYLES": [
        _file(f"console/{name}.css") for name in ("console", "forms", "graph", "tree", "unfold")
    ],
    "SCRIPTS": [_file("console/console.js")],
    "DASHBOARD_CALLBACK": "monitoring.console.home.dashboard",
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [
                    _item("Home", "home", "index"),
                    _item(
                        "Approvals",
                        "approval",
                        "executions_approval_changelist",
                        badge="executions.console.approvals.badge",
                    ),
                    _item(
                        "Executions",
                        "play_circle",
                        "executions_execution_changelist",
                        "executions.view_execution",
                    ),
                    _item(
                        "Signals",
                        "sensors",
                        "executions_signal_changelist",
                        "executions.view_execution",
                    ),
                    _item(
                        "Workflows",
                        "account_tree",
                        "workflows_workflow_changelist",
                        "workflows.view_workflow",
                    ),
                    _item(
                        "Rollouts",
                        "call_split",
                        "workflows_rollout_changelist",
                        "workflows.view_workflow",
                        "executions.view_execution",
                    ),
                ],
            },
            {
                "title": "Operations",
                "separator": True,
                "items": [
                    _item(
                        "Health",
                        "monitor_heart",
                        "monitoring_monitoring_changelist",
                        "monitoring.view_monitoring",
                    ),
                    _item(
                        "Queues",
                        "stacks",
                        "executions_hold_changelist",
                        "monitoring.view_monitoring",
                    ),
                    _item(
                        "Limits of calls",
                        "speed",
                        "executions_actionlimit_changelist",
                        "executions.view_execution",
                    ),
                    _item(
                        "Migrations",
                        "move_down",
                        "executions_migration_changelist",
                        "executions.view_execution",
                    ),
                ],
            },
            {
                "title": "People and trail",
                "separator": True,
                "items": [
                    _item("Users", "person", _users, "accounts.manage_users"),
                    _item(
                        "Roles", "shield_person", "auth_group_changelist", "accounts.manage_users"
                    ),
                    _item(
                        "Audit trail",
                        "history",
                        "accounts_auditentry_changelist",
                        "accounts.view_auditentry",
                    ),
                    _item(
                        "Security events",
                        "policy",
                        "accounts_securityevent_changelist",
                        "accounts.view_securityevent",
                    ),
                ],
            },
        ],
    },
}
