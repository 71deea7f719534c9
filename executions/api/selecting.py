"""Which executions a request or a command means, said with the filters of the list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import QueryDict

from autopilot.accounts.actors import Actor
from autopilot.common import jsonpath
from autopilot.common.errors import Invalid
from autopilot.common.problems import Problem
from executions.api.bodies import refusal
from executions.api.filters import ExecutionFilter
from executions.models import Execution
from executions.querysets import ExecutionQuerySet
from workflows.definition.paths import did_you_mean, quote

FILTERS = tuple(ExecutionFilter.base_filters)


def matching(
    asked: Mapping[str, Any], *, actor: Actor, root: str = "$.filter"
) -> ExecutionQuerySet:
    """The executions that match: names and values as in the address of the list.

    A value is a text or a whole number; for `state` and `label` also a list of texts. What would
    match everything because nothing was asked for is refused.
    Raises Invalid with the place of every problem, below `root`.
    """
    problems = [*_unknown(asked, root), *_bad_types(asked, root)]
    if not asked:
        message = f"Say what is meant with at least one of {', '.join(FILTERS)}."
        problems.append(Problem(root, "filter.empty", message))
    if problems:
        raise refusal(problems)
    query = QueryDict(mutable=True)
    for name, value in asked.items():
        query.setlist(name, [str(each) for each in (value if _is_list(value) else [value])])
    rows = Execution.objects.visible_to(actor)
    chosen = ExecutionFilter(query, queryset=rows)
    try:
        # Asking for `qs` alone would pass over what is wrong with a value.
        chosen.is_valid()
    except Invalid as error:
        raise refusal(
            [
                Problem(root + each.path.removeprefix("$"), each.code, each.message)
                for each in error.details
            ]
        ) from None
    found: ExecutionQuerySet = chosen.qs
    return found


def _unknown(asked: Mapping[str, Any], root: str) -> list[Problem]:
    return [
        Problem(
            jsonpath.child(root, name),
            "filter.unknown",
            f'There is no filter "{quote(name)}".{did_you_mean(name, FILTERS)} '
            f"Known here: {', '.join(FILTERS)}.",
        )
        for name in sorted(set(asked) - set(FILTERS))
    ]


def _bad_types(asked: Mapping[str, Any], root: str) -> list[Problem]:
    return [
        Problem(jsonpath.child(root, name), "field.type", f"{_expected(name)} was expected.")
        for name, value in asked.items()
        if name in FILTERS and not _is_fit(name, value)
    ]


def _is_fit(name: str, value: Any) -> bool:
    if _is_list(value):
        is_several = name in ExecutionFilter.repeatable and bool(value)
        return is_several and all(isinstance(each, str) and each for each in value)
    # An empty text would ask for nothing, and so mean everything.
    return (isinstance(value, str) and bool(value.strip())) or type(value) is int


def _expected(name: str) -> str:
    several = name in ExecutionFilter.repeatable
    return "A text or a list of texts" if several else "A text that isn't empty"


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
