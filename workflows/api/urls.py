"""Addresses under /api/v1/workflows/."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from workflows.api.files import ExportAllViewSet, ExportViewSet, ImportViewSet
from workflows.api.lifecycle import VersionLifeViewSet, WorkflowRulesViewSet
from workflows.api.lifecycle_bodies import VERB_CHOICES
from workflows.api.views import VersionViewSet, WorkflowViewSet

app_name = "workflows"

router = SimpleRouter()
router.register("", WorkflowViewSet, basename="workflow")

urlpatterns = [
    # Before the router, which would take these words for slugs.
    path("export/", ExportAllViewSet.as_view({"get": "of_all"}), name="export-all"),
    path("import/", ImportViewSet.as_view({"post": "import_all"}), name="import"),
    path("<slug:slug>/export/", ExportViewSet.as_view({"get": "of_workflow"}), name="export"),
    path(
        "<slug:slug>/versions/<str:version>/export/",
        ExportViewSet.as_view({"get": "of_version"}),
        name="version-export",
    ),
    *router.urls,
    path(
        "<slug:slug>/versions/",
        VersionViewSet.as_view({"get": "list", "post": "create"}),
        name="version-list",
    ),
    path(
        "<slug:slug>/versions/<str:version>/",
        VersionViewSet.as_view({"get": "retrieve", "put": "update", "delete": "destroy"}),
        name="version-detail",
    ),
    path(
        "<slug:slug>/versions/<str:version>/publish/",
        VersionViewSet.as_view({"post": "publish"}),
        name="version-publish",
    ),
    path(
        "<slug:slug>/versions/<str:version>/compatibility/",
        VersionViewSet.as_view({"post": "compatibility"}),
        name="version-compatibility",
    ),
    *(
        path(
            f"<slug:slug>/versions/<str:version>/{verb}/",
            VersionLifeViewSet.as_view({"post": verb}),
            name=f"version-{verb}",
        )
        for verb in VERB_CHOICES
    ),
    path(
        "<slug:slug>/versions/<str:version>/impact/",
        VersionLifeViewSet.as_view({"get": "impact"}),
        name="version-impact",
    ),
    path(
        "<slug:slug>/versions/<str:version>/history/",
        VersionLifeViewSet.as_view({"get": "history"}),
        name="version-history",
    ),
    path(
        "<slug:slug>/versions/<str:version>/reviews/",
        VersionLifeViewSet.as_view({"get": "reviews", "post": "review"}),
        name="version-reviews",
    ),
    path(
        "<slug:slug>/suggest/",
        WorkflowRulesViewSet.as_view({"post": "suggest"}),
        name="workflow-suggest",
    ),
    path(
        "<slug:slug>/require-review/",
        WorkflowRulesViewSet.as_view({"post": "require_review"}),
        name="workflow-require-review",
    ),
]
