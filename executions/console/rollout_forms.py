"""The form that begins a rollout. What makes sense is the service's to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from autopilot.common.errors import DomainError
from workflows.models import WorkflowVersion
from workflows.rollout_terms import RolloutTerms

_NUMBERS = ("percent", "max_failure_percent", "min_executions", "margin_percent")


class Refusable(forms.Form):
    """A form that shows what a service refused next to the fields that it is about."""

    def add_refusal(self, refused: DomainError) -> None:
        for problem in refused.details:
            name = problem.path.removeprefix("$.")
            known = name in self.fields
            # Of a document the place has to be said: there is no field for it.
            place = "" if known or problem.path in {"$", "$.workflow"} else f"{problem.path}: "
            self.add_error(name if known else None, f"{place}{problem.message}")
        if not refused.details or not set(self.errors) - {"__all__"}:
            self.add_error(None, refused.message)


class RolloutForm(Refusable):
    """Texts as they were typed; numbers among them are read as such."""

    version = forms.CharField(required=False)
    percent = forms.CharField(required=False)
    key = forms.CharField(required=False)
    max_failure_percent = forms.CharField(required=False)
    window = forms.CharField(required=False)
    min_executions = forms.CharField(required=False)
    margin_percent = forms.CharField(required=False)
    reason = forms.CharField(required=False)
    changelog = forms.CharField(required=False)
    override_reason = forms.CharField(required=False)

    def arguments(self, versions: Sequence[WorkflowVersion]) -> dict[str, Any]:
        """What to call the service with."""
        data = self.cleaned_data
        numbers = {name: _number(data[name]) for name in _NUMBERS}
        if data["margin_percent"] == "":
            numbers["margin_percent"] = None
        draft = next((row for row in versions if row.is_draft), None)
        of_draft = draft is not None and data["version"] == draft.version
        publishing = {
            name: data[name] for name in ("changelog", "override_reason") if of_draft and data[name]
        }
        return {
            "version": data["version"],
            "terms": RolloutTerms(key=data["key"], window=data["window"], **numbers),
            "reason": data["reason"],
            **publishing,
        }


class PercentForm(Refusable):
    """Another percentage, or just why."""

    percent = forms.CharField(required=False)
    reason = forms.CharField(required=False)

    @property
    def number(self) -> Any:
        return _number(self.cleaned_data["percent"])


def initial(version: WorkflowVersion) -> dict[str, Any]:
    """The defaults, for the version that is most likely meant."""
    terms = RolloutTerms()
    return {
        "version": version.version,
        "percent": terms.percent,
        "max_failure_percent": terms.max_failure_percent,
        "window": terms.window,
        "min_executions": terms.min_executions,
    }


def _number(text: str) -> Any:
    """A number as people type one; anything else as it is, for the service to refuse."""
    try:
        value = float(text.replace("%", "").replace(",", ".").strip())
    except ValueError:
        return text
    return int(value) if value.is_integer() else value
