"""The app of what can run: workflows, their versions, and the actions they call."""

from __future__ import annotations

from django.apps import AppConfig


class WorkflowsConfig(AppConfig):
    name = "workflows"
    label = "workflows"
    verbose_name = "Workflows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from workflows.actions.net.client import allow_list
        from workflows.actions.registry import autodiscover

        autodiscover()
        # A wrong entry ends the start with its sentence, rather than every HTTP step of a run.
        allow_list()
