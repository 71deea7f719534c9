"""How the list of executions is narrowed. What isn't known is refused: a misspelt filter would
otherwise show everything and look like an answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import django_filters
from django import forms

from autopilot.common import jsonpath
from autopilot.common.problems import Problem
from executions.api.bodies import read_moment, refusal
from executions.api.serializers import STATE_CHOICES
from executions.models import Execution
from executions.querysets import ExecutionQuerySet
from workflows.definition.paths import did_you_mean, quote
from workflows.models import Workflow, WorkflowVersion

PAGING = ("cursor", "page_size")
_MAX_ID = 2**63 - 1
_MAX_TEXT = 200


class StrictFilterSet(django_filters.FilterSet):
    """Raises Invalid for unknown filters, for one given twice, and for bad values, all at once."""

    # Filters that may be given several times.
    repeatable: tuple[str, ...] = ()

    def is_valid(self) -> bool:
        problems = [*self._unknown(), *self._repeated(), *self._bad_values()]
        if problems:
            raise refusal(problems)
        return True

    def _unknown(self) -> list[Problem]:
        known = sorted([*self.filters, *PAGING])
        return [
            Problem(
                jsonpath.child(jsonpath.ROOT, name),
                "filter.unknown",
                f'There is no filter "{quote(name)}".{did_you_mean(name, known)} '
                f"Known here: {', '.join(known)}.",
            )
            for name in sorted(set(self.data) - set(known))
        ]

    def _repeated(self) -> list[Problem]:
        getlist = getattr(self.data, "getlist", None)
        if getlist is None:
            return []
        return [
            Problem(f"$.{name}", "filter.repeated", f"The filter {name} is there more than once.")
            for name in (*self.filters, *PAGING)
            if name not in self.repeatable and len(getlist(name)) > 1
        ]

    def _bad_values(self) -> list[Problem]:
        return [
            Problem(f"$.{name}", "filter.bad_value", message)
            for name, errors in self.form.errors.as_data().items()
            for error in errors
            for message in error.messages
        ]


class PageOnly(StrictFilterSet):
    """For lists that are paged and not filtered."""


class _MomentField(forms.CharField):
    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            # In an address a plus that isn't escaped means a space.
            return read_moment(text.replace(" ", "+"))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


class MomentFilter(django_filters.IsoDateTimeFilter):
    """A moment in ISO 8601 with a time zone."""

    field_class = _MomentField


class _IdField(forms.IntegerField):
    default_error_messages = {"invalid": "The id of an execution is a whole number."}


class IdFilter(django_filters.NumberFilter):
    """The id of an execution."""

    field_class = _IdField


def _text(help_text: str, **options: Any) -> django_filters.CharFilter:
    return django_filters.CharFilter(help_text=help_text, max_length=_MAX_TEXT, **options)


def _after(column: str, **options: Any) -> MomentFilter:
    said = "At this moment or later; ISO 8601."
    return MomentFilter(field_name=column, lookup_expr="gte", help_text=said, **options)


def _before(column: str, **options: Any) -> MomentFilter:
    said = "Before this moment; ISO 8601."
    return MomentFilter(field_name=column, lookup_expr="lt", help_text=said, **options)


class ExecutionFilter(StrictFilterSet):
    state = django_filters.MultipleChoiceFilter(
        choices=[(value, value) for value in STATE_CHOICES],
        method="in_states",
        help_text="May be given several times.",
        error_messages={
            "invalid_choice": f"A state is one of {', '.join(STATE_CHOICES)}; not %(value)s."
        },
    )
    reason = _text("The reason that is shown with the state, exactly.")
    workflow = _text("The workflow's slug.", method="of_workflow")
    version = _text("The version's number.", method="of_version")
    label = _text(
        "`key` or `key:value`; given several times, all must be there.", method="with_labels"
    )
    correlation_id = _text("Exactly.")
    error_code = _text("Exactly.")
    concurrency_key = _text(
        "Exactly: those that have a slot of this key, or wait for one.", method="with_slot_of"
    )
    search = _text(
        "An id, a part of the workflow's name, a correlation id, an error code.", method="by_text"
    )
    parent = IdFilter(
        field_name="parent_id",
        min_value=1,
        max_value=_MAX_ID,
        help_text="Children of this execution. Without it the list has roots only.",
    )
    started_by_execution = IdFilter(
        field_name="started_by_execution_id",
        min_value=1,
        max_value=_MAX_ID,
        help_text="What the steps of this execution have started without waiting for it.",
    )
    created_after = _after("created_at", method="accepted_from")
    created_before = _before("created_at", method="accepted_before")
    started_after = _after("started_at")
    started_before = _before("started_at")
    ended_after = _after("ended_at")
    ended_before = _before("ended_at")

    repeatable = ("state", "label")

    class Meta:
        model = Execution
        fields: tuple[str, ...] = ()

    def filter_queryset(self, queryset: ExecutionQuerySet) -> ExecutionQuerySet:
        rows: ExecutionQuerySet = super().filter_queryset(queryset)
        return rows if self._is_of_parts else rows.roots()

    @property
    def _is_of_parts(self) -> bool:
        return bool(self.form.cleaned_data.get("parent"))

    def in_states(self, rows: ExecutionQuerySet, name: str, value: list[str]) -> ExecutionQuerySet:
        return rows.filter(state__in=value) if value else rows

    def of_workflow(self, rows: ExecutionQuerySet, name: str, value: str) -> ExecutionQuerySet:
        # Known to the planner as a value, it chooses the index by workflow for a rare one.
        pk = Workflow.objects.filter(slug=value).values_list("pk", flat=True).first()
        return rows.filter(workflow_id=pk) if pk else rows.none()

    def of_version(self, rows: ExecutionQuerySet, name: str, value: str) -> ExecutionQuerySet:
        versions = WorkflowVersion.objects.filter(version=value)
        return rows.filter(version_id__in=versions.values("pk"))

    def with_labels(self, rows: ExecutionQuerySet, name: str, value: str) -> ExecutionQuerySet:
        for pair in self.data.getlist("label"):
            key, colon, text = pair.partition(":")
            narrow = rows.part_labelled if self._is_of_parts else rows.labelled
            rows = narrow(key, text if colon else None)
        return rows

    def with_slot_of(self, rows: ExecutionQuerySet, name: str, value: str) -> ExecutionQuerySet:
        return rows.with_slot(value)

    def accepted_from(
        self, rows: ExecutionQuerySet, name: str, value: datetime
    ) -> ExecutionQuerySet:
        return (
            rows.filter(created_at__gte=value) if self._is_of_parts else rows.accepted_from(value)
        )

    def accepted_before(
        self, rows: ExecutionQuerySet, name: str, value: datetime
    ) -> ExecutionQuerySet:
        return (
            rows.filter(created_at__lt=value) if self._is_of_parts else rows.accepted_before(value)
        )

    def by_text(self, rows: ExecutionQuerySet, name: str, value: str) -> ExecutionQuerySet:
        return rows.search(value)
