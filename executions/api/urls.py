"""Addresses under /api/v1/executions/."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from executions.api.views import ExecutionViewSet

app_name = "executions"

router = SimpleRouter()
router.register("", ExecutionViewSet, basename="execution")

urlpatterns = router.urls
