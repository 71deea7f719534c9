"""Every address of the project."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import (
    SpectacularAPIView,
    SpectacularRedocView,
    SpectacularSwaggerSplitView,
)

from executions.console.link_page import approval_link

handler400 = "autopilot.common.views.bad_request"
handler403 = "autopilot.common.views.permission_denied"
handler404 = "autopilot.common.views.page_not_found"
handler500 = "autopilot.common.views.server_error"

# Here and not when Django starts: workers have no pages, and a tenth less memory without them.
admin.autodiscover()

v1: list[URLPattern | URLResolver] = [
    path("auth/", include("autopilot.accounts.api.urls")),
    path("workflows/", include("executions.api.workflow_urls")),
    path("workflows/", include("workflows.api.urls")),
    path("executions/", include("executions.api.urls")),
    path("monitoring/", include("monitoring.api.urls")),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("approvals/<str:token>/", approval_link, name="approval-link"),
    path("api/v1/", include(v1)),
    re_path(r"^api/schema/?$", SpectacularAPIView.as_view(), name="schema"),
    re_path(r"^api/docs/?$", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    re_path(
        r"^api/redoc/?$",
        SpectacularRedocView.as_view(url_name="schema", template_name="redoc.html"),
        name="redoc",
    ),
]
