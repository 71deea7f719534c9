"""`manage.py rqworker`: django-rq's command with this project's worker and serializer."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django_rq.management.commands.rqworker import Command as RqWorkerCommand

from autopilot.common.memory import keep_what_is_loaded
from executions.runtime.process import WorkerProcess, adopt


class Command(RqWorkerCommand):
    help = "Run an RQ worker that executes workflows; `manage.py worker` also works without Redis."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        # django-rq passes pickle unless told otherwise, whatever the queue's settings say.
        parser.set_defaults(
            serializer="rq.serializers.JSONSerializer",
            worker_class="executions.runtime.rq_workers.DrainWorker",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        process = WorkerProcess(list(args) or ["default"])
        adopt(process)
        keep_what_is_loaded()
        try:
            super().handle(*args, **options)
        finally:
            process.close()
