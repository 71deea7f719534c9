"""Hiding in the rows of moved executions what the new version hides.

Recorded steps are history and stay as they were recorded. What was hidden stays hidden, whatever
the new version says, and so it does when an execution is put back.
"""

from __future__ import annotations

from django.db import connection

from executions.engine.commands import SetControl
from executions.hidden.veil import Veil
from executions.migrating.routes import Route
from executions.migrating.trees import Tree, data_of
from executions.models import Execution
from executions.runtime.control import Write, control_from_json, control_to_json
from executions.runtime.rows import load_steps


def seal(tree: Tree, route: Route) -> None:
    """Write input, variables and place anew where something of them is hidden by now."""
    redaction = route.new.redaction
    if not redaction:
        return
    connection.ensure_connection()
    rows = list(tree.moving())
    data = data_of(rows)
    controls = dict(
        Execution.objects.filter(pk__in=[row.pk for row in rows]).values_list("pk", "control")
    )
    veils: dict[int, Veil] = {}
    # What is around others was made before them.
    for row in sorted(rows, key=lambda each: each.pk):
        veil = veils[row.pk] = Veil(redaction)
        if row.parent_id in veils:
            veil.include(veils[row.parent_id])
        given, variables = data[row.pk]
        place = redaction.input if row.pk == tree.head_id else None
        veil.learn_at(veil.reveal(given), place)
        veil.reveal(variables)
        load_steps({row.pk: veil}, [row.pk])
        Execution.objects.filter(pk=row.pk).update(
            input=veil.conceal(given, place),
            variables={name: veil.conceal(value) for name, value in variables.items()},
            control=_control(controls[row.pk], veil),
        )


def _control(document: object, veil: Veil) -> object:
    if not isinstance(document, dict) or not document:
        return document
    place = control_from_json(document)
    write: Write = lambda value, step: veil.conceal(value, veil.redaction.steps.get(step))  # noqa: E731
    command = SetControl(
        place.frames,
        place.caught,
        place.names,
        place.entered_at,
        place.generation,
        place.base,
        place.spent,
        None,
        place.undo,
    )
    return control_to_json(command, write)
