"""Fields that only mean something on some steps, or beside some others."""

from __future__ import annotations

from collections.abc import Iterator

from autopilot.common.problems import Problem
from workflows.definition.outline import Outline, Step
from workflows.definition.paths import join


def find_placement_problems(outline: Outline) -> Iterator[Problem]:
    """Heartbeats, entries of `catch` and new executions where they cannot work."""
    for step in outline.steps:
        if step.raw.get("heartbeat") is not None and step.type != "action":
            message = "Only an action can give a heartbeat; remove it, or set a timeout."
            yield Problem(join(step.path, "heartbeat"), "step.heartbeat_not_action", message)
        if step.raw.get("compensate") is not None and step.type == "fail":
            message = "A step that fails has done nothing that could be undone; remove this."
            yield Problem(join(step.path, "compensate"), "step.compensate_fail", message)
        yield from _catch_problems(step)
        if step.type == "succeed" and step.config.get("continue_as_new") is not None:
            yield from _continue_problems(step)


def _catch_problems(step: Step) -> Iterator[Problem]:
    entries = step.raw.get("catch")
    all_caught = False
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, dict):
            continue
        path = f"{step.path}.catch[{index}]"
        if all_caught:
            message = "This entry is never reached: one above it catches every error."
            yield Problem(path, "step.catch_unused", message)
        errors = entry.get("errors")
        all_caught = all_caught or (isinstance(errors, list) and "*" in errors)
        name = entry.get("as")
        if isinstance(name, str) and name in step.scope.names and name != "index":
            message = (
                f'"{name}" is the item of the map around this step; choose another name for '
                "the error."
            )
            yield Problem(join(path, "as"), "step.catch_name_taken", message)


def _continue_problems(step: Step) -> Iterator[Problem]:
    holder = step.scope.parent
    if holder is not None:
        message = (
            "Only a step of the document's own list can go on as a new execution; this one lies "
            f'inside the step "{holder.id}".'
        )
        path = join(step.config_path, "continue_as_new")
        yield Problem(path, "succeed.continue_inside", message)
