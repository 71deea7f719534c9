"""Addresses under /api/v1/monitoring/."""

from __future__ import annotations

from django.urls import path

from monitoring.api.checks import HealthView, RecoveryView
from monitoring.api.events import EventsView
from monitoring.api.health import LiveView, ReadyView
from monitoring.api.queues import QueuePauseView, QueueResumeView, QueuesView

app_name = "monitoring"
urlpatterns = [
    path("events/", EventsView.as_view(), name="events"),
    path("queues/", QueuesView.as_view(), name="queues"),
    path("queues/<str:name>/pause/", QueuePauseView.as_view(), name="queue-pause"),
    path("queues/<str:name>/resume/", QueueResumeView.as_view(), name="queue-resume"),
    path("recovery/", RecoveryView.as_view(), name="recovery"),
    path("health/", HealthView.as_view(), name="health"),
    path("health/live/", LiveView.as_view(), name="health-live"),
    path("health/ready/", ReadyView.as_view(), name="health-ready"),
]
