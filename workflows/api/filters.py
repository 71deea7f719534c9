"""How the lists of workflows and versions are narrowed and ordered."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet

from workflows.api.serializers import STATE_CHOICES
from workflows.models import Workflow, WorkflowVersion
from workflows.querysets import WorkflowQuerySet
from workflows.versioning.states import VersionState


class WorkflowFilter(django_filters.FilterSet):
    search = django_filters.CharFilter(
        method="by_text", help_text="Words that are all in slug, name or description."
    )
    label = django_filters.CharFilter(
        method="by_label",
        help_text="`key` or `key:value`; several, separated by commas, must all be there.",
    )
    state = django_filters.ChoiceFilter(
        choices=STATE_CHOICES, method="by_state", help_text="With a version in this state."
    )
    ordering = django_filters.OrderingFilter(
        fields=["name", "slug", "created_at", "updated_at"],
        help_text="Default: name. A minus in front turns it round.",
    )

    class Meta:
        model = Workflow
        fields: tuple[str, ...] = ()

    def by_text(self, rows: WorkflowQuerySet, name: str, value: str) -> WorkflowQuerySet:
        return rows.search(value)

    def by_label(self, rows: WorkflowQuerySet, name: str, value: str) -> WorkflowQuerySet:
        for pair in filter(None, (part.strip() for part in value.split(","))):
            key, colon, text = pair.partition(":")
            rows = rows.labelled(key, text if colon else None)
        return rows

    def by_state(self, rows: WorkflowQuerySet, name: str, value: str) -> WorkflowQuerySet:
        return rows.with_version_in(VersionState(value))

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # Rows with equal keys would otherwise wander between pages.
        rows = super().filter_queryset(queryset)
        return rows.order_by(*rows.query.order_by, "id") if rows.query.order_by else rows


class VersionFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(choices=STATE_CHOICES)

    class Meta:
        model = WorkflowVersion
        fields: tuple[str, ...] = ()
