"""Workflows that hear of failures: once each, whatever happens, and never in a circle."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from executions import services
from executions.failing import start_owed
from executions.models import ErrorStart, Execution
from executions.situations import situation_of
from tests.engine import SYSTEM, drain, published, reread, run, started
from workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)
FAIL = {"id": "stop", "type": "fail", "config": {"error": "trip.sold_out", "message": "No seat."}}
HEAR = {"id": "hear", "type": "transform", "config": {"output": "{{ input.error.code }}"}}


def hearing(**document: Any) -> Workflow:
    return published([HEAR], **{"name": "Hear", **document})


def failing(**document: Any) -> Workflow:
    return published([FAIL], **{"on_failure": {"workflow": "hear"}, **document})


def test_a_failure_starts_the_workflow_once_with_what_happened():
    hearing()
    options = {"labels": {"team": "trips"}, "correlation_id": "order-7"}
    failed = run(failing(), {"seats": 2}, **options)
    assert [start_owed(), start_owed()] == [1, 0]
    row = ErrorStart.objects.get()
    assert (row.execution_id, row.status, row.problem) == (failed.pk, "started", "")
    assert row.started.input == {
        "execution": {
            "id": failed.pk,
            "workflow": "test",
            "version": "1.0.0",
            "url": f"/api/v1/executions/{failed.pk}/",
            "labels": {"team": "trips"},
            "correlation_id": "order-7",
        },
        "error": failed.error,
        "input": {"seats": 2},
    }
    assert (row.started.correlation_id, row.started.parent_id) == ("order-7", None)
    drain()
    assert reread(row.started).output == "trip.sold_out"
    services.retry_execution(execution=failed, actor=SYSTEM)
    drain()
    assert [start_owed(), ErrorStart.objects.count()] == [1, 2]


def test_what_was_begun_and_not_committed_is_begun_again():
    hearing()
    run(failing())
    with transaction.atomic():
        start_owed()
        transaction.set_rollback(True)
    assert (ErrorStart.objects.get().status, Execution.objects.count()) == ("owed", 1)
    assert start_owed() == 1
    assert Execution.objects.filter(workflow__slug="hear").count() == 1


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (None, 'There is no workflow "hear".'),
        ({"input_schema": {"required": ["nothing"]}}, "$.input.nothing"),
    ],
)
def test_one_that_cannot_be_started_says_so_and_is_not_tried_again(document: Any, problem: str):
    if document is not None:
        hearing(**document)
    failed = run(failing())
    assert [start_owed(), start_owed()] == [1, 0]
    row = ErrorStart.objects.get()
    assert (row.status, row.started) == ("refused", None)
    assert problem in row.problem
    why = situation_of(reread(failed)).why
    assert (why.code, why.details["error_workflow"]) == ("ended.failed", row.problem)
    assert why.sentence.endswith(
        f"The workflow that was to hear of it was not started: {row.problem}"
    )
    assert Execution.objects.count() == 1


def test_a_workflow_that_hears_of_a_failure_and_fails_starts_no_other():
    published([FAIL], name="Hear", on_failure={"workflow": "hear"})
    run(failing())
    start_owed()
    drain()
    assert start_owed() == 1
    first, second = ErrorStart.objects.all()
    assert second.execution_id == first.started_id
    assert (second.status, second.problem) == (
        "refused",
        "It was started by a failure itself, and that starts no other.",
    )
    assert Execution.objects.count() == 2


def test_undoing_comes_first_and_undoing_by_hand_is_no_new_failure():
    hearing()
    undone = {"id": "a", "type": "action", "config": {"action": "noop"}}
    undone["compensate"] = {"action": "noop"}
    both = {"workflow": "hear", "compensate": True}
    workflow = published([undone, FAIL], on_failure=both)
    assert run(workflow).reason == "compensated"
    start_owed()
    assert ErrorStart.objects.get().started.input["error"]["code"] == "trip.sold_out"
    only = published([undone, FAIL], name="Only", on_failure={"workflow": "hear"})
    failed = run(only)
    services.compensate_execution(execution=failed, actor=SYSTEM)
    drain()
    assert (reread(failed).reason, ErrorStart.objects.count()) == ("compensated", 2)


def test_an_input_that_is_too_large_to_be_passed_on_is_left_out(settings: Any):
    hearing()
    failed = started(failing(), {"text": "x" * 500})
    drain()
    settings.AUTOPILOT = {**settings.AUTOPILOT, "MAX_INPUT_BYTES": 600}
    start_owed()
    assert ErrorStart.objects.get().started.input["input"] is None
    assert ErrorStart.objects.get().execution_id == failed.pk
