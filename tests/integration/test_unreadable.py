"""An execution whose stored state can't be read, for whatever reason."""

from __future__ import annotations

import pytest

from executions.models import Execution
from tests.engine import NOOP, drain, published, reread, started

pytestmark = pytest.mark.django_db(transaction=True)


def test_one_that_cannot_be_read_fails_alone_and_holds_up_nobody() -> None:
    workflow = published([{"id": "a", **NOOP}])
    before, damaged, after = (started(workflow) for _ in range(3))
    Execution.objects.filter(pk=damaged.pk).update(control={"frames": [{}]})

    assert drain() == 3

    assert [reread(each).state for each in (before, after)] == ["completed", "completed"]
    ended = reread(damaged)
    assert (ended.state, ended.error_code, ended.owner_id) == ("failed", "engine.internal", None)
    assert ended.error["message"] == "What is stored of the execution can't be read: KeyError."
