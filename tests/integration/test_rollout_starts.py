"""Every way to start something heeds a rollout, and the same key always takes the same version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from executions.bulk_start import start_many
from executions.failing import start_owed
from executions.models import Execution
from executions.services import rerun_execution, start_execution
from tests.engine import NOOP, SYSTEM, drain, published, reread, run, started
from tests.rollouts import FAIL, key_for, rolling, two_versions
from workflows.models import Rollout, Workflow
from workflows.rollouts import (
    RolloutTerms,
    promote_rollout,
    rollback_rollout,
    set_percentage,
    start_rollout,
)
from workflows.services import version_in_range
from workflows.versioning.ranges import parse_range

pytestmark = pytest.mark.django_db(transaction=True)


def version_of(execution: Execution) -> str:
    row = Execution.objects.select_related("version").get(pk=execution.pk)
    return row.version.version


def start(rollout: Rollout, **options: Any) -> str:
    return version_of(started(rollout.workflow, **options))


def test_a_start_takes_what_its_key_says_and_a_named_version_is_that_one() -> None:
    rollout = rolling(30)
    for taken, expected in ((True, "1.1.0"), (False, "1.0.0")):
        key = key_for(rollout, taken=taken)
        assert start(rollout, correlation_id=key) == expected
        assert start(rollout, correlation_id=key) == expected
        assert start(rollout, idempotency_key=key) == expected
        # The correlation comes first.
        other = key_for(rollout, taken=not taken, beyond=1_000)
        assert start(rollout, correlation_id=key, idempotency_key=other) == expected
    out, in_ = key_for(rollout, taken=False), key_for(rollout, taken=True)
    assert start(rollout, correlation_id=out, version="1.1.0") == "1.1.0"
    assert start(rollout, correlation_id=in_, version="1.0.0") == "1.0.0"


def test_raising_the_percentage_keeps_who_is_in_and_the_ends_are_for_all() -> None:
    rollout = rolling(10)
    key, other = key_for(rollout, taken=True), key_for(rollout, taken=False)
    rollout = set_percentage(rollout=rollout, actor=SYSTEM, percent=60)
    assert start(rollout, correlation_id=key) == "1.1.0"
    for percent, expected in ((100, "1.1.0"), (0, "1.0.0")):
        rollout = set_percentage(rollout=rollout, actor=SYSTEM, percent=percent)
        found = {start(rollout, correlation_id=each) for each in (key, other)}
        assert found | {start(rollout)} == {expected}


def test_a_key_of_the_input_decides_and_what_has_none_takes_the_baseline() -> None:
    rollout = rolling(30, key="input.customer.id")
    inside, outside = key_for(rollout, taken=True), key_for(rollout, taken=False)
    assert start(rollout, data={"customer": {"id": inside}}, correlation_id=outside) == "1.1.0"
    assert start(rollout, data={"customer": {"id": outside}}, correlation_id=inside) == "1.0.0"
    assert start(rollout, data={}, correlation_id=inside) == "1.0.0"


@pytest.mark.parametrize(
    ("end", "expected"),
    [(promote_rollout, "1.1.0"), (rollback_rollout, "1.0.0")],
)
def test_when_it_has_ended_every_start_takes_the_same(
    end: Callable[..., Any], expected: str
) -> None:
    rollout = rolling(50)
    keys = [key_for(rollout, taken=taken) for taken in (True, False)]
    end(rollout=rollout, actor=SYSTEM)
    assert {start(rollout, correlation_id=key) for key in keys} == {expected}


def test_starts_at_once_go_each_its_own_way_and_ask_for_the_rollout_once() -> None:
    rollout = rolling(30)
    keys = [key_for(rollout, taken=taken) for taken in (True, False)] * 20
    requests = [{"correlation_id": key} for key in keys]
    with CaptureQueriesContext(connection) as queries:
        made = start_many(workflow=rollout.workflow, actor=SYSTEM, requests=requests)
    assert [each.execution.version.version for each in made] == ["1.1.0", "1.0.0"] * 20
    assert sum("workflows_rollout" in each["sql"] for each in queries) <= 3
    one, two = start_many(
        workflow=rollout.workflow,
        actor=SYSTEM,
        requests=[{"correlation_id": keys[0], "version": "1.0.0"}, {"correlation_id": keys[0]}],
    )
    assert (one.execution.version.version, two.execution.version.version) == ("1.0.0", "1.1.0")


def statements_of_a_start(workflow: Workflow, key: str) -> int:
    started(workflow, correlation_id=key)  # reads the definition, prepares the statements
    with CaptureQueriesContext(connection) as queries:
        started(workflow, correlation_id=key)
    return len(queries)


def test_a_start_asks_one_question_and_writes_once_with_a_rollout_and_without() -> None:
    workflow = two_versions()
    assert statements_of_a_start(workflow, "a") == 2
    rollout = start_rollout(workflow=workflow, actor=SYSTEM, terms=RolloutTerms(percent=50))
    keys = [key_for(rollout, taken=taken) for taken in (True, False)]
    assert [statements_of_a_start(workflow, key) for key in keys] == [2, 2]


def call(**config: Any) -> dict[str, Any]:
    return {"id": "call", "type": "workflow", "config": {"workflow": "refund", **config}}


@pytest.mark.parametrize("wait", [True, False])
def test_a_child_takes_what_its_parents_correlation_says(wait: bool) -> None:
    rollout = rolling(30, steps=[{**NOOP, "id": "b"}])
    parent = published([call(wait=wait)], name="Above", slug="above")
    each = {
        "id": "each",
        "type": "map",
        "config": {"items": "[1, 2]", "steps": [{**call(wait=wait), "name": "call"}]},
    }
    items = published([each], name="Items", slug="items")
    for taken, expected in ((True, "1.1.0"), (False, "1.0.0")):
        key = key_for(rollout, taken=taken)
        for workflow, count in ((parent, 1), (items, 2)):
            before = Execution.objects.latest("pk").pk if Execution.objects.exists() else 0
            assert run(workflow, correlation_id=key).state == "completed"
            children = Execution.objects.filter(workflow=rollout.workflow, pk__gt=before)
            found = list(children.values_list("version__version", flat=True))
            assert found == [expected] * count
    # Without a correlation all children of one step go the same way.
    execution = run(items)
    children = Execution.objects.filter(workflow=rollout.workflow, parent__parent=execution)
    assert children.count() == (2 if wait else 0)


def test_a_range_follows_the_rollout_as_far_as_it_has_a_choice() -> None:
    rollout = rolling(30)
    workflow, candidate = rollout.workflow, rollout.candidate_id

    def found(text: str | None, given: int | None) -> str | None:
        range = None if text is None else parse_range(text)
        row = version_in_range(workflow=workflow, range=range, candidate=given)
        return row and row.version

    assert [found(text, None) for text in (None, "^1.0", "~1.0.0", "1.x")] == ["1.0.0"] * 4
    assert [found(text, candidate) for text in (None, "^1.0", "1.x")] == ["1.1.0"] * 3
    assert found("~1.0.0", candidate) == "1.0.0"
    # Nothing else fits, or it is named: as without a rollout.
    assert [found(text, None) for text in ("~1.1.0", ">1.0.0", "1.1.0")] == ["1.1.0"] * 3
    assert found("^2", candidate) is None
    rollback_rollout(rollout=rollout, actor=SYSTEM)
    assert [found(text, candidate) for text in (None, "^1.0")] == ["1.0.0"] * 2
    assert found("~1.1.0", None) is None


def test_an_action_and_a_failure_start_what_the_rollout_says() -> None:
    rollout = rolling(30, steps=[{**NOOP, "id": "b"}])
    params = {"workflow": "refund", "correlation_id": "{{ input.order }}"}
    go = {"id": "go", "type": "action", "config": {"action": "workflow.start", "with": params}}
    starter = published([go], name="Go", slug="go")
    failing = published([{**FAIL, "id": "a"}], slug="fails", on_failure={"workflow": "refund"})
    for taken, expected in ((True, "1.1.0"), (False, "1.0.0")):
        key = key_for(rollout, taken=taken)
        assert run(starter, {"order": key}).output["version"] == expected
        run(failing, correlation_id=key)
        assert start_owed() == 1
        assert version_of(Execution.objects.latest("pk")) == expected


def test_what_runs_on_the_candidate_stays_there() -> None:
    again = {
        "id": "again",
        "type": "succeed",
        "when": "input.n < 2",
        "config": {"continue_as_new": {"input": {"n": "{{ input.n + 1 }}"}}},
    }
    rollout = rolling(30, steps=[again])
    execution = started(rollout.workflow, {"n": 0}, correlation_id=key_for(rollout, taken=True))
    rollback_rollout(rollout=rollout, actor=SYSTEM)
    drain()
    drain()
    row = reread(execution)
    while hasattr(row, "continued_as"):
        row = row.continued_as
        assert version_of(row) == "1.1.0"
    assert row.input == {"n": 2}
    # So does a rerun of it, unless it says otherwise.
    assert version_of(rerun_execution(execution=row, actor=SYSTEM).execution) == "1.1.0"
    other = rerun_execution(execution=row, actor=SYSTEM, version="1.0.0").execution
    assert version_of(other) == "1.0.0"


def test_a_repeated_request_gets_the_first_answer_whatever_the_rollout_says_now() -> None:
    workflow = two_versions()
    first = started(workflow, idempotency_key="a")
    start_rollout(workflow=workflow, actor=SYSTEM, terms=RolloutTerms(percent=100))
    again = start_execution(workflow=workflow, actor=SYSTEM, idempotency_key="a")
    assert (again.execution.pk, again.created) == (first.pk, False)
    assert version_of(again.execution) == "1.0.0"


def test_a_hidden_key_decides_too_and_is_nowhere_to_be_seen() -> None:
    workflow = two_versions(redact=["/input/card"])
    rollout = start_rollout(
        workflow=workflow, actor=SYSTEM, terms=RolloutTerms(percent=30, key="input.card")
    )
    for taken, expected in ((True, "1.1.0"), (False, "1.0.0")):
        first = started(workflow, {"card": key_for(rollout, taken=taken)})
        assert version_of(first) == expected
        # Read back and given to another start, as an error workflow does.
        assert version_of(started(workflow, reread(first).input)) == expected
