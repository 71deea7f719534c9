from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "autopilot.accounts"
    label = "accounts"
    verbose_name = "Accounts and audit"

    def ready(self) -> None:
        # Imported for what they register: signal receivers.
        from autopilot.accounts import receivers  # noqa: F401
