"""Addresses under /api/v1/executions/."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from executions.api.approvals import ApprovalViewSet
from executions.api.bulk import BulkStartView, BulkVerbView
from executions.api.callbacks import CompleteView, FailView, HeartbeatView, PollView
from executions.api.events import ExecutionEventsView
from executions.api.limits import LimitViewSet
from executions.api.signals import SignalViewSet
from executions.api.views import ExecutionViewSet

app_name = "executions"

signals = SimpleRouter()
signals.register("signals", SignalViewSet, basename="signal")

limits = SimpleRouter()
limits.register("limits", LimitViewSet, basename="limit")

router = SimpleRouter()
# Before the executions, for which it would be an id.
router.register("approvals", ApprovalViewSet, basename="approval")
router.register("", ExecutionViewSet, basename="execution")

# Before the router, for which they would be ids.
urlpatterns = [
    path("bulk-start/", BulkStartView.as_view(), name="execution-bulk-start"),
    path("bulk/", BulkVerbView.as_view(), name="execution-bulk"),
    path("<str:pk>/events/", ExecutionEventsView.as_view(), name="execution-events"),
    path("callbacks/<str:token>/complete/", CompleteView.as_view(), name="callback-complete"),
    path("callbacks/<str:token>/fail/", FailView.as_view(), name="callback-fail"),
    path("callbacks/<str:token>/heartbeat/", HeartbeatView.as_view(), name="callback-heartbeat"),
    path("tasks/poll/", PollView.as_view(), name="task-poll"),
    *signals.urls,
    *limits.urls,
    *router.urls,
]
