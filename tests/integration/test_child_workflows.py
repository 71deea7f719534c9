"""Child workflows: waited for or let go, by version range, and nothing started twice."""

from __future__ import annotations

from typing import Any

import pytest

from executions.models import Execution, StepExecution
from executions.services import (
    cancel_execution,
    pause_execution,
    resume_execution,
    retry_execution,
    skip_step,
)
from tests.engine import SYSTEM, drain, published, reread, run, started, wait_until
from tests.integration.test_parallel import fails_first, nap, parallel, tree, value
from workflows.models import Workflow
from workflows.services import create_version, publish_version

pytestmark = pytest.mark.django_db(transaction=True)


def calling(slug: str, id: str = "call", **fields: Any) -> dict[str, Any]:
    step = {key: fields.pop(key) for key in ("retry", "timeout", "catch", "next") if key in fields}
    config = {"workflow": slug, **fields}
    return {"id": id, "name": id, "type": "workflow", "config": config, **step}


def child_of(execution: Execution) -> Execution:
    return Execution.objects.filter(parent=execution).latest("pk")


def add_version(workflow: Workflow, number: str, output: Any):
    document = {"name": "Test", "version": number, "steps": [value("s", output)]}
    draft = create_version(workflow=workflow, actor=SYSTEM, document=document)
    return publish_version(actor=SYSTEM, version=draft)


def test_a_child_runs_with_its_input_and_its_output_is_the_steps():
    echo = value("s", ["{{ input.n * 2 }}", "{{ execution.workflow }}"])
    published([echo], slug="child", output={"got": "{{ steps.s.output }}"})
    parent = published([calling("child", input={"n": "{{ input.n + 1 }}"})], slug="above")
    execution = run(parent, {"n": 20}, labels={"team": "x"}, correlation_id="c-1")
    assert (execution.state, execution.output) == ("completed", {"got": [42, "child"]})
    child = child_of(execution)
    assert (child.kind, child.depth, child.input) == ("child", 1, {"n": 21})
    assert (child.labels, child.correlation_id) == ({"team": "x"}, "c-1")
    assert child.workflow.slug == "child"
    assert execution.children_open == 0


def test_the_highest_published_version_in_the_range_is_taken():
    child = published([value("s", "1.0.0")], slug="child")
    for number in ("1.2.0", "1.10.0", "2.0.0"):
        last = add_version(child, number, number)

    def output(version: str | None) -> Any:
        given = {} if version is None else {"version": version}
        return run(published([calling("child", **given)])).output

    assert [output(each) for each in (None, "^1.2", "<1.5", "1.0.0")] == [
        "2.0.0",
        "1.10.0",
        "1.2.0",
        "1.0.0",
    ]
    last.deprecate()
    last.save()
    assert [output(each) for each in (None, ">=1", "2.0.0")] == ["1.10.0", "1.10.0", "2.0.0"]


@pytest.mark.parametrize(
    ("config", "code", "message"),
    [
        ({"slug": "gone"}, "child.not_found", "There is no workflow with the slug gone."),
        (
            {"slug": "child", "version": "^2"},
            "child.no_version",
            "The workflow child has no published version in the range ^2.",
        ),
        (
            {"slug": "child", "input": {"n": "many"}},
            "validation.input",
            "The input breaks the input schema of child 1.0.0 at $.input.n: ",
        ),
        ({"slug": "child", "input": "{{ 1 / 0 }}"}, "expression", "divides by zero"),
    ],
)
def test_what_cannot_be_started_is_an_error_of_the_step(config, code, message):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    published([value("s", 1)], slug="child", input_schema=schema)
    execution = run(published([calling(**config)]))
    assert (execution.state, execution.error_code) == ("failed", code)
    assert message.lower() in execution.error["message"].lower()
    assert execution.error["step"] == "call"
    assert not Execution.objects.filter(parent=execution).exists()


def test_a_bad_range_is_refused_when_it_is_saved():
    from workflows.definition.compiled import DefinitionError

    with pytest.raises(DefinitionError) as caught:
        published([calling("child", version="latest")])
    (problem,) = caught.value.details
    assert (problem.path, problem.code) == ("$.steps[0].config.version", "workflow.version")


def test_a_childs_failure_is_inside_the_parents_with_where_it_began():
    fail = {"id": "f", "type": "fail", "config": {"error": "card.declined", "message": "No card."}}
    published([fail], slug="deepest")
    published([calling("deepest")], slug="middle")
    execution = run(published([calling("middle")]))
    middle = child_of(execution)
    deepest = child_of(middle)
    assert execution.error["code"] == "child.failed"
    assert execution.error["message"] == (
        f"Execution {middle.pk} of the workflow middle failed: No card."
    )
    assert execution.error["details"]["cause"] == {
        "code": "card.declined",
        "message": "No card.",
        "execution_id": deepest.pk,
    }
    assert execution.error["details"]["error"]["code"] == "child.failed"


def test_a_cancelled_child_fails_the_step():
    published([nap("n")], slug="child")
    execution = run(published([calling("child")]))
    cancel_execution(execution=child_of(execution), actor=SYSTEM)
    drain()
    row = reread(execution)
    assert row.error["message"] == (
        f"Execution {child_of(execution).pk} of the workflow child was cancelled."
    )


def test_a_timeout_cancels_the_child():
    published([nap("n")], slug="child")
    execution = started(published([calling("child", timeout=0.05)]))
    wait_until(lambda: bool(drain()) and reread(execution).has_ended)
    drain()
    assert (reread(execution).error_code, tree(execution)) == ("timeout.step", ["cancelled"])


def test_retry_goes_on_inside_the_child_that_failed(tmp_path):
    published([value("s", 1), fails_first("f", tmp_path)], slug="deepest")
    published([parallel(one=calling("deepest"), two=value("v", 2))], slug="middle")
    execution = run(published([calling("middle")]))
    assert tree(execution) == ["failed", "failed", "failed", "completed"]
    before = set(Execution.objects.values_list("pk", flat=True))
    retry_execution(execution=execution, actor=SYSTEM)
    drain()
    row = reread(execution)
    assert (row.state, row.output) == ("completed", {"one": 2, "two": 2}), row.error
    assert set(Execution.objects.values_list("pk", flat=True)) == before
    assert StepExecution.objects.filter(step_id="s").count() == 1


def test_a_retry_of_the_step_starts_a_new_child(tmp_path):
    published([value("s", 1), fails_first("f", tmp_path)], slug="child")
    retry = {"max_attempts": 2, "initial_interval": 0.01}
    execution = run(published([calling("child", retry=retry)]))
    assert (execution.state, execution.output) == ("completed", 2)
    assert tree(execution) == ["failed", "completed"]


def test_pause_resume_cancel_and_skip_reach_the_child():
    published([nap("n")], slug="deepest")
    published([parallel(one=calling("deepest"))], slug="middle")
    parent = published([calling("middle"), value("next", 1)])
    execution = run(parent)
    assert tree(execution) == ["waiting"] * 3
    pause_execution(execution=execution, actor=SYSTEM)
    drain()
    assert tree(execution) == ["paused"] * 3
    resume_execution(execution=reread(execution), actor=SYSTEM)
    drain()
    assert tree(execution) == ["waiting"] * 3
    skip_step(execution=reread(execution), actor=SYSTEM)
    drain()
    assert (reread(execution).state, tree(execution)) == ("completed", ["cancelled"] * 3)


def test_one_that_is_not_waited_for_is_started_once_and_linked():
    published([nap("n")], slug="other")
    steps = [calling("other", wait=False), value("after", "{{ steps.call.output.execution_id }}")]
    execution = run(published(steps), labels={"a": "b"})
    other = Execution.objects.get(workflow__slug="other")
    assert (execution.state, execution.output) == ("completed", other.pk)
    assert (other.kind, other.parent_id, other.started_by_execution) == ("root", None, execution)
    assert (other.state, other.labels) == ("waiting", {"a": "b"})
    cancel_execution(execution=other, actor=SYSTEM)
    drain()
    assert reread(execution).state == "completed"


def test_the_depth_is_limited_and_the_error_names_the_chain(settings):
    settings.AUTOPILOT = {**settings.AUTOPILOT, "MAX_DEPTH": 3}
    for wait in (True, False):
        slug = f"loop-{wait}".lower()
        top = run(published([parallel(one=calling(slug, wait=wait))], slug=slug))
        rows = Execution.objects.filter(workflow=top.workflow, kind__in=("root", "child"))
        last = rows.latest("pk")
        assert rows.count() == 3
        assert last.error["code"] == "child.failed"
        (branch,) = last.error["details"]["branches"]
        assert branch["error"]["code"] == "limit.depth"
        assert branch["error"]["details"] == {"chain": [slug] * 4}
        assert branch["error"]["message"] == (
            "Workflows may start each other 3 deep (AUTOPILOT_MAX_DEPTH): "
            f"{slug} → {slug} → {slug} → {slug}."
        )


def test_a_child_that_continues_as_new_is_waited_for_to_its_last_end():
    again = {
        "id": "again",
        "type": "succeed",
        "when": "input.n < 3",
        "config": {"continue_as_new": {"input": {"n": "{{ input.n + 1 }}"}}},
    }
    published([again, value("s", "{{ input.n }}")], slug="child")
    execution = run(published([calling("child", input={"n": 1})]))
    assert (execution.state, execution.output) == ("completed", 3), execution.error
    rows = Execution.objects.filter(parent=execution).order_by("item_index")
    assert list(rows.values_list("item_index", "kind", "reason")) == [
        (0, "child", "continued"),
        (1, "child", "continued"),
        (2, "child", "done"),
    ]


def test_a_child_inside_an_item_has_the_labels_of_the_whole():
    published([value("s", "{{ input }}")], slug="child")
    body = [calling("child", input="{{ item }}")]
    each = {"id": "each", "type": "map", "config": {"items": "[1, 2, 3]", "steps": body}}
    execution = run(published([each]), labels={"a": "b"}, correlation_id="c")
    assert execution.output == [1, 2, 3], execution.error
    rows = Execution.objects.filter(kind="child")
    assert {(row.correlation_id, row.labels["a"]) for row in rows} == {("c", "b")}


def test_what_the_childs_version_hides_is_hidden_above_too(settings):
    steps = [value("s", {"card": "{{ input.card }}", "plain": 1})]
    published(steps, slug="child", redact=["/input/card"])
    parent = published([calling("child", input={"card": "{{ input.secret }}"})])
    execution = run(parent, {"secret": "4111-1111-1111-1111"})
    assert execution.state == "completed", execution.error
    child = child_of(execution)
    assert (str(child.input["card"]), str(child.output["card"])) == ("•••", "•••")
    assert (str(execution.output["card"]), execution.output["plain"]) == ("•••", 1)
