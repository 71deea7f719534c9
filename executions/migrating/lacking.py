"""What later steps of the new version name, and an execution that has come so far doesn't have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from executions.engine.snapshot import StepFact
from executions.engine.states import StepState
from executions.hidden.veil import Veil
from executions.migrating.routes import Route
from executions.migrating.trees import Tree, data_of
from executions.models import Execution, Kind
from executions.runtime.rows import load_steps
from workflows.definition.outline import branch_scope_id
from workflows.versioning.needs import Need, Needs


@dataclass(frozen=True, slots=True)
class Lack:
    """A need that can't be met, and why."""

    code: str
    need: Need
    why: str

    @property
    def path(self) -> str:
        return self.need.path

    def text(self, number: str) -> str:
        return f"{number} goes on to use `{self.need.text}` (at {self.path}), and {self.why}."


def lacking(
    rows: Sequence[Execution], tree: Tree, route: Route
) -> Iterator[tuple[Execution, Lack]]:
    """What each of these lacks; nothing is read unless the new version names something new."""
    needing = [(row, route.plan.needs(row.current_step, scope_id(row))) for row in rows]
    needing = [(row, needs) for row, needs in needing if needs]
    if not needing:
        return
    around = {row.pk: [row, *tree.around(row)] for row, _ in needing}
    known = {each.pk: each for chain in around.values() for each in chain}
    data = data_of(known.values())
    facts: dict[int, Mapping[str, StepFact]] = {}
    if any(needs.steps for _, needs in needing):
        facts = _facts(list(known.values()))
    for row, needs in needing:
        chain = around[row.pk]
        for lack in _of_one(row, chain, needs, data, facts, tree, route):
            yield row, lack


def scope_id(row: Execution) -> str:
    """Which scope of the document an execution runs."""
    if row.kind == Kind.BRANCH:
        return branch_scope_id(row.parent_step, row.item_index or 0)
    return row.parent_step if row.kind == Kind.ITEM else ""


def _facts(rows: Sequence[Execution]) -> dict[int, Mapping[str, StepFact]]:
    connection.ensure_connection()
    veils = {row.pk: Veil() for row in rows}
    moved = [row.pk for row in rows if row.step_names is not None]
    return {pk: found for pk, (found, _) in load_steps(veils, moved).items()}


def _of_one(
    row: Execution,
    chain: Sequence[Execution],
    needs: Needs,
    data: Mapping[int, tuple[Any, Any]],
    facts: Mapping[int, Mapping[str, StepFact]],
    tree: Tree,
    route: Route,
) -> Iterator[Lack]:
    sources = {pair.new.id: id for id, pair in route.plan.pairs.items()}
    for need in needs.steps:
        source = sources.get(need.reference[1], "")
        fact = next((facts[each.pk][source] for each in chain if source in facts[each.pk]), None)
        yield from _of_step(need, fact)
    for need in needs.variables:
        if not any(need.reference[1] in data[each.pk][1] for each in chain):
            yield Lack("migration.needs_variable", need, "nothing has set that, or will")
    document = data[chain[-1].pk][0]
    for need in needs.input:
        if not has_path(document, need.reference[1:]):
            yield Lack("migration.needs_input", need, "its input has no such field")
    names = {name for each in chain for name in tree.control(each).names}
    for need in needs.names:
        if need.reference[0] not in names:
            yield Lack("migration.needs_name", need, "no error was caught under that name")


def _of_step(need: Need, fact: StepFact | None) -> Iterator[Lack]:
    if fact is None:
        if need.must_run:
            why = "that step has not run here, and won't any more"
            yield Lack("migration.needs_step", need, why)
        return
    is_output = need.reference[2:3] == ("output",)
    if fact.state is not StepState.COMPLETED or not is_output:
        return
    if not has_path(fact.output, need.reference[3:]):
        yield Lack("migration.needs_output", need, "what the step came to here has no such field")


def has_path(value: Any, keys: Sequence[str]) -> bool:
    """Whether these keys lead somewhere; what is no object may have more than keys to name."""
    for key in keys:
        if value is None:
            return False
        if not isinstance(value, dict):
            return True
        if key not in value:
            return False
        value = value[key]
    return True
