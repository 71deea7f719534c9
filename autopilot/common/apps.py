from __future__ import annotations

import structlog
from django.apps import AppConfig
from django.core.signals import request_finished


class CommonConfig(AppConfig):
    name = "autopilot.common"
    label = "common"
    verbose_name = "Common"

    def ready(self) -> None:
        # Not at the end of the middleware: Django logs refused requests after it.
        request_finished.connect(_forget_request, dispatch_uid="common.forget_request")


def _forget_request(sender: object, **kwargs: object) -> None:
    structlog.contextvars.clear_contextvars()
