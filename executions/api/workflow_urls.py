"""Addresses under /api/v1/workflows/ that are about running: workflows know nothing of it."""

from __future__ import annotations

from django.urls import path, re_path

from executions.api.limits import WorkflowPauseView, WorkflowResumeView
from executions.api.migrations import MigrationItemViewSet, MigrationViewSet
from executions.api.rollouts import RolloutViewSet

app_name = "workflow-switch"
_ROLLOUT = r"^(?P<slug>[-a-zA-Z0-9_]+)/rollouts/(?P<pk>[0-9]{1,18}|current)/"
_migrations = MigrationViewSet.as_view
_one = "<slug:slug>/migrations/<int:pk>"
urlpatterns = [
    path(
        "<slug:slug>/migrations/",
        _migrations({"get": "list", "post": "create"}),
        name="migrations",
    ),
    path("<slug:slug>/migrations/plan/", _migrations({"post": "plan"}), name="migration-plan"),
    path(
        "<slug:slug>/migrations/dry-run/", _migrations({"post": "dry_run"}), name="migration-look"
    ),
    path(f"{_one}/", _migrations({"get": "retrieve"}), name="migration"),
    path(f"{_one}/items/", MigrationItemViewSet.as_view({"get": "list"}), name="migration-items"),
    path(f"{_one}/undo/", _migrations({"post": "undo"}), name="migration-undo"),
    path(f"{_one}/cancel/", _migrations({"post": "cancel"}), name="migration-cancel"),
    path("<slug:slug>/pause/", WorkflowPauseView.as_view(), name="pause"),
    path("<slug:slug>/resume/", WorkflowResumeView.as_view(), name="resume"),
    path(
        "<slug:slug>/rollouts/",
        RolloutViewSet.as_view({"get": "list", "post": "create"}),
        name="rollouts",
    ),
    re_path(f"{_ROLLOUT}$", RolloutViewSet.as_view({"get": "retrieve"}), name="rollout"),
    re_path(
        f"{_ROLLOUT}set-percentage/$",
        RolloutViewSet.as_view({"post": "set_percentage"}),
        name="rollout-set-percentage",
    ),
    re_path(
        f"{_ROLLOUT}promote/$",
        RolloutViewSet.as_view({"post": "promote"}),
        name="rollout-promote",
    ),
    re_path(
        f"{_ROLLOUT}rollback/$",
        RolloutViewSet.as_view({"post": "rollback"}),
        name="rollout-rollback",
    ),
    re_path(
        f"{_ROLLOUT}rollback-preview/$",
        RolloutViewSet.as_view({"get": "rollback_preview"}),
        name="rollout-rollback-preview",
    ),
]
