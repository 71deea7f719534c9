"""`state.get` and `state.set`: values that outlive executions."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from executions.engine.errors import EngineError
from executions.models import DurableValue, Execution
from executions.values import Kept, VersionConflict, get_value, set_value
from tests.engine import published, run
from workflows.models import Workflow

SCOPE = "workflow:1"


def step(name: str, action: str, **params: Any) -> dict[str, Any]:
    return {"id": name, "type": "action", "config": {"action": action, "with": params}}


def outputs(execution: Execution) -> dict[str, Any]:
    return dict(execution.steps.values_list("step_id", "output"))


@pytest.mark.django_db
def test_a_value_counts_its_writes() -> None:
    assert get_value(scope=SCOPE, key="k") == Kept(None, 0)
    assert set_value(scope=SCOPE, key="k", value={"n": 1}) == 1
    assert set_value(scope=SCOPE, key="k", value=[None]) == 2
    assert get_value(scope=SCOPE, key="k") == Kept([None], 2)
    assert get_value(scope="workflow:2", key="k") == Kept(None, 0)


@pytest.mark.django_db
def test_null_is_a_value() -> None:
    set_value(scope=SCOPE, key="k", value=None)
    assert get_value(scope=SCOPE, key="k") == Kept(None, 1)
    assert DurableValue.objects.get().value is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("there", "if_version", "version"), [(0, 0, 1), (1, 1, 2), (3, 3, 4), (3, None, 4)]
)
def test_a_write_at_the_expected_version_succeeds(
    there: int, if_version: int | None, version: int
) -> None:
    for number in range(there):
        set_value(scope=SCOPE, key="k", value=number)
    assert set_value(scope=SCOPE, key="k", value="new", if_version=if_version) == version
    assert get_value(scope=SCOPE, key="k") == Kept("new", version)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("there", "if_version", "sentence"),
    [
        (0, 1, "The value 'k' is not there, and version 1 was expected; read it again."),
        (1, 0, "The value 'k' is version 1, and no value yet was expected; read it again."),
        (2, 1, "The value 'k' is version 2, and version 1 was expected; read it again."),
        (2, 3, "The value 'k' is version 2, and version 3 was expected; read it again."),
    ],
)
def test_a_write_at_another_version_changes_nothing(
    there: int, if_version: int, sentence: str
) -> None:
    for number in range(there):
        set_value(scope=SCOPE, key="k", value=number)
    before = list(DurableValue.objects.values())
    with pytest.raises(VersionConflict) as caught:
        set_value(scope=SCOPE, key="k", value="new", if_version=if_version)
    assert caught.value.message == sentence
    assert (caught.value.code, caught.value.found) == ("state.conflict", there)
    assert list(DurableValue.objects.values()) == before


@pytest.mark.django_db
@pytest.mark.parametrize("if_version", [None, 0])
def test_a_repeated_first_write_is_the_same_write(if_version: int | None) -> None:
    for value in ("first", "again"):
        assert (
            set_value(scope=SCOPE, key="k", value=value, if_version=if_version, written_by="a") == 1
        )
    assert get_value(scope=SCOPE, key="k") == Kept("first", 1)


@pytest.mark.django_db
def test_a_repeated_later_write_is_the_same_write() -> None:
    set_value(scope=SCOPE, key="k", value=0)
    for _ in range(2):
        assert set_value(scope=SCOPE, key="k", value=1, if_version=1, written_by="a") == 2
    assert set_value(scope=SCOPE, key="k", value=2, written_by="b") == 3
    with pytest.raises(VersionConflict):
        set_value(scope=SCOPE, key="k", value=1, if_version=1, written_by="a")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("x" * 65_535, "limit.state"),
        ("a\x00", "validation.input"),
        (float("nan"), "validation.input"),
    ],
)
def test_what_can_not_be_kept_is_refused(value: Any, code: str) -> None:
    with pytest.raises(EngineError) as caught:
        set_value(scope=SCOPE, key="k", value=value)
    assert caught.value.info.code == code
    assert DurableValue.objects.count() == 0


@pytest.mark.django_db
def test_the_largest_value_is_kept() -> None:
    assert set_value(scope=SCOPE, key="k" * 200, value="x" * 65_534) == 1


@pytest.mark.django_db
def test_the_database_keeps_one_row_a_key() -> None:
    set_value(scope=SCOPE, key="k", value=1)
    row = DurableValue.objects.get()
    row.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save(force_insert=True)
    with pytest.raises(IntegrityError), transaction.atomic():
        DurableValue.objects.update(version=0)


@pytest.mark.django_db(transaction=True)
def test_of_many_writers_at_one_version_exactly_one_succeeds() -> None:
    set_value(scope=SCOPE, key="k", value=0)
    barrier = threading.Barrier(8)
    results: list[int | str] = []

    def write(number: int) -> None:
        barrier.wait()
        try:
            results.append(set_value(scope=SCOPE, key="k", value=number, if_version=1))
        except VersionConflict as error:
            results.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(map(str, results)) == ["2", *["state.conflict"] * 7]


@pytest.mark.django_db(transaction=True)
def test_executions_of_a_workflow_share_values_and_others_do_not() -> None:
    def counting(scope: str) -> Workflow:
        return published(
            [
                step("read", "state.get", key="count", scope=scope, default=0),
                step(
                    "write",
                    "state.set",
                    key="count",
                    scope=scope,
                    value="{{ steps.read.output.value + 1 }}",
                    if_version="{{ steps.read.output.version }}",
                ),
            ],
            name=f"Counting {scope}",
        )

    first = counting("workflow")
    assert outputs(run(first)) == {
        "read": {"value": 0, "version": 0, "found": False},
        "write": {"version": 1},
    }
    assert outputs(run(first)) == {
        "read": {"value": 1, "version": 1, "found": True},
        "write": {"version": 2},
    }
    assert outputs(run(counting("shared")))["write"] == {"version": 1}
    assert outputs(run(first))["write"] == {"version": 3}
    assert sorted(DurableValue.objects.values_list("scope", "key", "value")) == [
        ("shared", "count", 1),
        (f"workflow:{first.pk}", "count", 3),
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"key": "k", "value": 1, "if_version": 4}, "state.conflict"),
        ({"key": "k", "value": "{{ 'x' * 4000 + input.long }}"}, "limit.state"),
        ({"key": "{{ input.line }}", "value": 1}, "validation.input"),
    ],
)
def test_a_failure_is_the_steps_error(params: dict[str, Any], code: str) -> None:
    execution = run(
        published([step("write", "state.set", **params)]), {"long": "y" * 65_000, "line": "a\nb"}
    )
    assert execution.state == "failed"
    assert execution.error is not None
    assert (execution.error["code"], execution.error["retryable"]) == (code, False)
    assert DurableValue.objects.count() == 0
