"""Whether steps can be told apart, lead somewhere, and are led to."""

from __future__ import annotations

from collections.abc import Iterator

from autopilot.common.problems import Problem
from workflows.definition.graph import falls_through, targets
from workflows.definition.ids import END, is_identifier
from workflows.definition.outline import Outline, Step
from workflows.definition.paths import did_you_mean, join
from workflows.definition.visibility import Visibility


def find_flow_problems(outline: Outline, visibility: Visibility) -> Iterator[Problem]:
    """Duplicate ids, targets to nowhere or elsewhere, useless `next`, unreachable steps."""
    by_id = outline.by_id()
    for step in outline.steps:
        first = by_id[step.id]
        if step.id_is_explicit and first is not step:
            yield Problem(
                join(step.path, "id"),
                "step.id_duplicate",
                f'The id "{step.id}" is taken by the step at {first.path}; ids must be unique '
                "in the document.",
            )
        yield from _target_problems(step, by_id)
        if isinstance(step.raw.get("next"), str) and not falls_through(step):
            yield Problem(
                join(step.path, "next"),
                "step.next_unused",
                f'Flow never follows the "next" of this {step.type} step; remove it.',
            )
    for scope in outline.scopes:
        for step in visibility.unreachable(scope):
            yield Problem(step.path, "step.unreachable", f'No way leads to the step "{step.id}".')


def _target_problems(step: Step, by_id: dict[str, Step]) -> Iterator[Problem]:
    siblings = step.scope.positions()
    for target in targets(step):
        if target.id == END or target.id in siblings or not is_identifier(target.id):
            continue
        elsewhere = by_id.get(target.id)
        if elsewhere is not None:
            message = (
                f'The step "{target.id}" at {elsewhere.path} lies in another scope; '
                "flow can only go to a step of the same list."
            )
            yield Problem(target.path, "step.next_other_scope", message)
        else:
            hint = did_you_mean(target.id, siblings)
            message = f'There is no step "{target.id}" to go to.{hint}'
            yield Problem(target.path, "step.next_unknown", message)
