"""Addresses under /api/v1/monitoring/."""

from __future__ import annotations

from django.urls import path

from monitoring.api.events import EventsView
from monitoring.api.health import LiveView, ReadyView

app_name = "monitoring"
urlpatterns = [
    path("events/", EventsView.as_view(), name="events"),
    path("health/live/", LiveView.as_view(), name="health-live"),
    path("health/ready/", ReadyView.as_view(), name="health-ready"),
]
