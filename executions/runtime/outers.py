"""The executions around items and branches: read once for all of them, while they are under way."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

from executions.engine.snapshot import Outer
from executions.hidden.veil import Veil
from executions.runtime.children_sql import OUTER
from executions.runtime.control import control_from_json
from executions.runtime.rows import cursor, load_steps
from workflows.definition.compiled import CompiledDefinition, MapConfig

MAX_OUTERS = 256

# A parent's id and the generation of its children: it is at rest as long as that is the latest,
# and the same as long as they run this version, which they have been moved to in this way.
Key = tuple[int, int, int, str]


class Outers:
    """A bounded cache. Used by the ledger's thread alone."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, tuple[Outer, Veil]] = OrderedDict()

    def get(self, key: Key) -> tuple[Outer, Veil]:
        """What is around, and what of it is hidden."""
        self._known.move_to_end(key)
        return self._known[key]

    def load(self, wanted: Iterable[tuple[Key, CompiledDefinition]]) -> None:
        """Make sure that these are known until the next load, however many they are."""
        while len(self._known) > MAX_OUTERS:
            self._known.popitem(last=False)
        self._load(wanted)

    def _load(self, wanted: Iterable[tuple[Key, CompiledDefinition]]) -> None:
        """One pair of queries for each level of nesting."""
        missing = {key: definition for key, definition in wanted if key not in self._known}
        if not missing:
            return
        rows = self._read([parent for parent, *_ in missing])
        around = [
            (_around(row), definition)
            for (parent, *_), definition in missing.items()
            if (row := rows[parent])[1] is not None
        ]
        self._load(around)
        moved = {pk for pk, row in rows.items() if row[8] is not None}
        hiding = {parent: definition.redaction for (parent, *_), definition in missing.items()}
        veils = {pk: Veil(hiding[pk]) if pk in moved else Veil() for pk in rows}
        facts = load_steps(veils, moved)
        for key, definition in missing.items():
            veil = veils[key[0]]
            outer = self._outer(rows[key[0]], facts[key[0]][0], definition, veil)
            self._known[key] = outer, veil

    def _read(self, ids: Sequence[int]) -> dict[int, Any]:
        with cursor() as opened:
            opened.execute(OUTER, {"ids": list(ids)})
            return {row[0]: row for row in opened.fetchall()}

    def _outer(self, row: Any, facts: Any, definition: CompiledDefinition, veil: Veil) -> Outer:
        _, parent_id, parent_step, _, index, data, variables, control, *_ = row
        place = control_from_json(veil.load(control))
        own = Outer(
            input=veil.load(data),
            vars=veil.load(variables) or {},
            steps=facts,
            names=place.names,
            caught=place.caught,
        )
        if parent_id is None:
            return own
        around, hidden = self._known[_around(row)]
        veil.include(hidden)
        return Outer(
            input=around.input,
            vars={**around.vars, **own.vars},
            steps={**around.steps, **own.steps},
            names={
                **around.names,
                **item_names(definition, parent_step, own.input, index),
                **own.names,
            },
            caught=own.caught or around.caught,
        )


def _around(row: Any) -> Key:
    """What is known of the execution around one that is around others."""
    return row[1], row[3], row[7], row[8] or ""


def item_names(
    definition: CompiledDefinition, step_id: str, value: Any, index: int
) -> dict[str, Any]:
    """What the steps of a map's item call the item."""
    step = definition.steps.get(step_id)
    if step is None or not isinstance(step.config, MapConfig):
        return {}
    return {step.config.name: value, "index": index}
