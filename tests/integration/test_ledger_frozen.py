"""A worker that stood still in the middle of a commit, and goes on."""

from __future__ import annotations

import time

import pytest

from executions.models import StepExecution
from executions.runtime.faults import inject
from tests.engine import drain, published, reread, started

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_checkpoint_that_was_cut_off_while_frozen_is_written_again(settings) -> None:
    # The server ends a session that idles in its transaction for half a lease.
    settings.AUTOPILOT = {**settings.AUTOPILOT, "LEASE_SECONDS": 0.4}
    execution = started(published([{"id": "a", "type": "transform", "config": {"output": 1}}]))

    def freeze() -> None:
        inject("ledger.before_commit", None)
        time.sleep(0.5)

    inject("ledger.before_commit", freeze)
    try:
        drain()
    finally:
        inject("ledger.before_commit", None)

    after = reread(execution)
    assert (after.state, after.output, after.error) == ("completed", 1, None)
    assert StepExecution.objects.filter(execution=execution).count() == 1
