"""Addresses under /api/v1/workflows/ that are about running: workflows know nothing of it."""

from __future__ import annotations

from django.urls import path

from executions.api.limits import WorkflowPauseView, WorkflowResumeView

app_name = "workflow-switch"
urlpatterns = [
    path("<slug:slug>/pause/", WorkflowPauseView.as_view(), name="pause"),
    path("<slug:slug>/resume/", WorkflowResumeView.as_view(), name="resume"),
]
