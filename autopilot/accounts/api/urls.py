"""Addresses under /api/v1/auth/."""

from __future__ import annotations

from django.urls import path

from autopilot.accounts.api import schema  # noqa: F401 - OpenAPI's security schemes
from autopilot.accounts.api.views import (
    MeView,
    RefreshView,
    StreamTicketView,
    TokenView,
    VerifyView,
)

app_name = "auth"
urlpatterns = [
    path("token/", TokenView.as_view(), name="token"),
    path("token/refresh/", RefreshView.as_view(), name="token-refresh"),
    path("token/verify/", VerifyView.as_view(), name="token-verify"),
    path("stream-ticket/", StreamTicketView.as_view(), name="stream-ticket"),
    path("me/", MeView.as_view(), name="me"),
]
