"""Messages that come between a claim of their execution and the reading of its inbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from executions.models import Execution, InboxMessage
from executions.runtime import drain as module
from executions.runtime.faults import inject
from tests.engine import drain, published, reread, started

pytestmark = pytest.mark.django_db(transaction=True)
POINT = "ledger.after_claim"


@pytest.fixture
def point() -> Iterator[str]:
    yield POINT
    inject(POINT, None)


def test_what_comes_after_the_claim_is_not_taken_for_what_the_row_knew(
    point: str, monkeypatch: pytest.MonkeyPatch
):
    wait = {"type": "wait", "config": {"duration": "1d"}}
    execution = started(published([{"id": "a", **wait}]))
    Execution.objects.filter(pk=execution.pk).update(inbox_seq=1)
    common = {"execution_id": execution.pk, "actor": "tests", "created_at": execution.created_at}
    InboxMessage.objects.create(seq=1, kind="children", **common)
    seen: list[list[int]] = []
    start = module.Drain._start

    def watched(self, runner):
        seen.append([each.seq for each in runner._claim.messages])
        start(self, runner)

    def another_child_ends() -> None:
        """Once, in the ledger's thread, when the row has been read and the inbox has not."""
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE executions_execution SET inbox_seq = 2 WHERE owner_id IS NOT NULL"
                " AND inbox_seq = 1"
            )
            if cursor.rowcount:
                InboxMessage.objects.create(seq=2, kind="children", **common)

    monkeypatch.setattr(module.Drain, "_start", watched)
    inject(point, another_child_ends)

    drain()

    # The second one has brought the execution back to be looked at with the row that it is about.
    assert seen == [[1], [2]]
    row = reread(execution)
    assert (row.state, row.seen_seq, row.inbox_seq) == ("waiting", 2, 2)
