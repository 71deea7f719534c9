"""What the items of a map see of the execution around them, kept for the next items."""

from __future__ import annotations

import pytest

from executions.runtime import outers as module
from executions.runtime.outers import Outers
from tests.engine import NOOP, published, started
from workflows.compiled import compiled_version

pytestmark = pytest.mark.django_db(transaction=True)


def test_all_that_one_load_asks_for_are_there_however_many(monkeypatch) -> None:
    monkeypatch.setattr(module, "MAX_OUTERS", 3)
    workflow = published([{"id": "a", **NOOP}])
    rows = [started(workflow, {"n": n}) for n in range(8)]
    definition = compiled_version(rows[0].version_id)
    keys = [(row.pk, 1) for row in rows]
    outers = Outers()

    # The second load knows the oldest already and brings as many new ones as there is room for.
    outers.load((key, definition) for key in keys[:3])
    outers.load((key, definition) for key in keys[:6])
    assert [outers.get(key)[0].input for key in keys[:6]] == [{"n": n} for n in range(6)]

    outers.load((key, definition) for key in keys[6:])
    assert [outers.get(key)[0].input for key in keys[6:]] == [{"n": 6}, {"n": 7}]
    assert len(outers._known) == 5
