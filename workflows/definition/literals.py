"""Literal values in configs whose form is only known to their step type."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from autopilot.common.problems import Problem
from workflows.definition.durations import timestamp_problem
from workflows.definition.fields import is_error_code, is_template
from workflows.definition.outline import Outline, Step
from workflows.definition.paths import join, quote
from workflows.versioning.ranges import RangeError, parse_range


def find_literal_problems(outline: Outline) -> Iterator[Problem]:
    """Points in time, error codes and names that are written out and wrong."""
    for step in outline.steps:
        find = _CHECKS.get(step.type)
        if find is not None:
            yield from find(step)


def _wait(step: Step) -> Iterator[Problem]:
    until = step.config.get("until")
    if until is None or is_template(until):
        return
    message = timestamp_problem(until)
    if message is not None:
        yield Problem(join(step.config_path, "until"), "wait.until", message)


def _fail(step: Step) -> Iterator[Problem]:
    error = step.config.get("error")
    if isinstance(error, str) and error and not is_template(error) and not is_error_code(error):
        yield Problem(
            join(step.config_path, "error"),
            "fail.error",
            f'"{quote(error)}" is no error code: expected letters, digits and underscores with '
            'dots between, such as "order.not_payable".',
        )


def _parallel(step: Step) -> Iterator[Problem]:
    branches = step.config.get("branches")
    seen: set[str] = set()
    for index, branch in enumerate(branches if isinstance(branches, list) else []):
        name = branch.get("name") if isinstance(branch, dict) else None
        if isinstance(name, str):
            if name in seen:
                yield Problem(
                    f"{step.config_path}.branches[{index}].name",
                    "parallel.name_duplicate",
                    f'Two branches are called "{quote(name)}"; names must differ.',
                )
            seen.add(name)
    wanted = step.config.get("wait_for")
    count = len(branches) if isinstance(branches, list) else 0
    if type(wanted) is int and count and wanted > count:
        yield Problem(
            join(step.config_path, "wait_for"),
            "parallel.wait_for",
            f"{wanted} branches can never be done: there are {count}.",
        )


def _workflow(step: Step) -> Iterator[Problem]:
    version = step.config.get("version")
    if not isinstance(version, str) or not version:
        return
    try:
        parse_range(version)
    except RangeError as error:
        yield Problem(join(step.config_path, "version"), "workflow.version", str(error))


_CHECKS: dict[str, Callable[[Step], Iterator[Problem]]] = {
    "wait": _wait,
    "fail": _fail,
    "parallel": _parallel,
    "workflow": _workflow,
}
