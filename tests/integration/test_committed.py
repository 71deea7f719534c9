"""What is done after a commit does not spoil it, whatever it is."""

from __future__ import annotations

import pytest
from django.db import transaction

from autopilot.common.committed import after_commit
from executions.models import Execution
from executions.runtime.faults import inject
from tests.engine import NOOP, published, started

pytestmark = pytest.mark.django_db(transaction=True)


def test_one_that_fails_keeps_no_other_from_being_called() -> None:
    heard: list[int] = []

    def fail(number: int) -> None:
        raise RuntimeError(number)

    after_commit(fail, 1)
    with transaction.atomic():
        after_commit(fail, 2)
        after_commit(heard.append, 3)
        assert heard == []
    assert heard == [3]


def test_a_start_whose_bell_fails_in_whatever_way_is_a_start() -> None:
    workflow = published([NOOP])

    def fail() -> None:
        raise RuntimeError("The bell is broken.")

    inject("dispatch.before_ring", fail)
    try:
        execution = started(workflow)
    finally:
        inject("dispatch.before_ring", None)
    assert Execution.objects.get().pk == execution.pk
