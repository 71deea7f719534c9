"""What is running."""

from __future__ import annotations

from django.apps import AppConfig


class ExecutionsConfig(AppConfig):
    name = "executions"
    verbose_name = "Executions"

    def ready(self) -> None:
        """Fill the registries with what needs the models."""
        from executions import reads, rollouts
        from executions.approvals import waiting  # noqa: F401
        from executions.runtime import approvals_sql  # noqa: F401
        from workflows import evidence, impact

        evidence.register(rollouts.measure)
        impact.register(reads.count_under_way)
