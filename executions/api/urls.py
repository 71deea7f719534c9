"""Addresses under /api/v1/executions/."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from executions.api.bulk import BulkStartView, BulkVerbView
from executions.api.events import ExecutionEventsView
from executions.api.views import ExecutionViewSet

app_name = "executions"

router = SimpleRouter()
router.register("", ExecutionViewSet, basename="execution")

# Before the router, for which they would be ids.
urlpatterns = [
    path("bulk-start/", BulkStartView.as_view(), name="execution-bulk-start"),
    path("bulk/", BulkVerbView.as_view(), name="execution-bulk"),
    path("<str:pk>/events/", ExecutionEventsView.as_view(), name="execution-events"),
    *router.urls,
]
