"""The workflow patterns of docs/patterns.md: every document on that page runs as it says."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F

from executions.models import Execution, LogLine
from executions.services import cancel_execution, skip_step
from executions.signalling import broadcast_signal, send_signal
from tests.engine import SYSTEM, drain, reread, run, started, wait_until, worker
from workflows.models import Workflow
from workflows.services import create_workflow, publish_version

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (Path(__file__).parents[2] / "docs" / "patterns.md").read_text()
SECTION = re.compile(r"^### WCP-(\d+) (.+?)\n(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"```json\n(.*?)```", re.DOTALL)
PATTERNS = {
    int(number): [json.loads(block) for block in BLOCK.findall(body)]
    for number, _, body in SECTION.findall(PAGE)
}
SAID = {number for number, documents in PATTERNS.items() if documents}


def publish(number: int) -> Workflow:
    """Publish what the page has under this number; answers the last one, which is the pattern."""
    for document in PATTERNS[number]:
        draft = create_workflow(actor=SYSTEM, document=document)
        workflow = publish_version(actor=SYSTEM, version=draft).workflow
    return workflow


def comes_to(number: int, output: Any, data: Any = None) -> Execution:
    execution = run(publish(number), data)
    assert (execution.state, execution.output) == ("completed", output), execution.error
    return execution


def signal(execution: Execution, name: str, payload: Any = None) -> None:
    send_signal(execution=execution, name=name, payload=payload, actor=SYSTEM)


def test_the_page_has_all_43_patterns_and_says_most_of_them():
    assert sorted(PATTERNS) == list(range(1, 44))
    assert set(PATTERNS) - SAID == {28, 31, 33, 36, 38}


def test_1_sequence():
    comes_to(1, 37.5, {"price": 10, "quantity": 3})


def test_2_parallel_split():
    execution = run(publish(2))
    assert execution.state == "completed"
    assert sorted(LogLine.objects.values_list("event", flat=True)) == ["billed", "packed"]


def test_3_synchronization():
    comes_to(3, True)


@pytest.mark.parametrize(("amount", "output"), [(101, "asked"), (100, "paid")])
def test_4_exclusive_choice(amount: int, output: str):
    comes_to(4, output, {"amount": amount})


@pytest.mark.parametrize(("how", "output"), [("card", "Paid by card."), ("coins", "Paid in cash.")])
def test_5_simple_merge(how: str, output: str):
    comes_to(5, output, {"how": how})


def test_6_multi_choice():
    output = {"police": None, "doctor": "called", "fire": "called"}
    comes_to(6, output, {"crime": False, "injured": True, "smoke": True})


@pytest.mark.parametrize(("km", "best"), [(200, 90), (500, 90), (900, 140)])
def test_7_structured_synchronizing_merge(km: int, best: int):
    comes_to(7, best, {"km": km})


def test_8_multi_merge():
    comes_to(8, {"frame": "frame checked", "wheel": "wheel checked"})
    assert Execution.objects.filter(workflow__slug="wcp-8-tail", state="completed").count() == 2


def test_9_structured_discriminator():
    sources = [{"name": "archive", "seconds": 3600}, {"name": "index", "seconds": 0}]
    comes_to(9, "index was first", {"sources": sources})
    slow = Execution.objects.get(workflow__slug="wcp-9-source", state="waiting")
    assert slow.input["source"] == "archive"


@pytest.mark.parametrize(("at", "path"), [("b", "baba"), ("a", "ababa")])
def test_10_arbitrary_cycles(at: str, path: str):
    comes_to(10, path, {"at": at})


def test_11_implicit_termination():
    comes_to(11, {"a": 1, "b": 2})


def test_12_instances_without_synchronization():
    execution = run(publish(12), {"plates": ["A 1", "B 2"]})
    assert execution.state == "completed"
    fines = Execution.objects.filter(workflow__slug="wcp-12-fine")
    assert sorted(fines.values_list("state", "parent")) == [("completed", None)] * 2
    events = LogLine.objects.order_by("event").values_list("event", flat=True)
    assert list(events) == ["Fine for A 1", "Fine for B 2"]


def test_13_instances_known_in_the_document():
    comes_to(13, ["director signed", "treasurer signed", "secretary signed"])


def test_14_instances_known_when_it_begins():
    comes_to(14, ["LEFT", "RIGHT"], {"engines": ["left", "right"]})


def test_15_instances_that_nobody_knows_before():
    execution = started(publish(15))
    for name in ("Ada", "Bob", None):
        signal(execution, "witness", name)
        drain()
    assert (reread(execution).state, reread(execution).output) == ("completed", ["Ada", "Bob"])


def test_16_deferred_choice():
    execution = run(publish(16))
    signal(execution, "answer", "yes")
    drain()
    assert (reread(execution).state, reread(execution).output) == ("completed", "yes")
    states = execution.children.order_by("item_index").values_list("state", flat=True)
    assert list(states) == ["completed", "cancelled"]


def overlaps(slug: str) -> int:
    """How many pairs of executions of this workflow were running at the same moment."""
    spans = Execution.objects.filter(workflow__slug=slug).values_list("started_at", "ended_at")
    ordered = sorted(spans)
    return sum(1 for earlier, later in itertools.pairwise(ordered) if later[0] < earlier[1])


def run_to_the_end(number: int, data: Any) -> Execution:
    execution = started(publish(number), data)
    with worker() as process:

        def has_ended() -> bool:
            process.drain("default")
            return reread(execution).has_ended

        wait_until(has_ended)
    return reread(execution)


def test_17_interleaved_parallel_routing():
    execution = run_to_the_end(17, {"case": "A-1"})
    assert execution.output == {"blood": "test", "scan": "scan"}
    assert overlaps("wcp-17-step") == 0
    ran = Execution.objects.filter(workflow__slug="wcp-17-step").order_by("started_at")
    order = [each.output for each in ran]
    assert order.index("take") < order.index("test")


def test_18_milestone():
    execution = run(publish(18))
    for name, data in (("change", "red"), ("change", "large"), ("left", None)):
        signal(execution, name, data)
        drain()
    assert (reread(execution).state, reread(execution).output) == ("completed", ["red", "large"])


def test_19_cancel_task():
    execution = run(publish(19))
    signal(execution, "withdraw", {"by": "the customer"})
    drain()
    assert reread(execution).output == "withdrawn by the customer"
    assert execution.children.get(item_index=0).state == "cancelled"


def test_20_cancel_case():
    execution = run(publish(20))
    assert execution.state == "waiting"
    cancel_execution(execution=execution, actor=SYSTEM)
    drain()
    assert set(Execution.objects.values_list("state", flat=True)) == {"cancelled"}


def test_21_structured_loop():
    comes_to(21, 3, {"times": 3})


def test_22_recursion():
    execution = comes_to(22, 120, {"n": 5})
    assert Execution.objects.exclude(pk=execution.pk).count() == 4


def test_23_transient_trigger():
    execution = run(publish(23), {"seconds": 3600})
    broadcast_signal(name="alarm", actor=SYSTEM)
    skip_step(execution=reread(execution), actor=SYSTEM)
    drain()
    assert reread(execution).state == "waiting"
    broadcast_signal(name="alarm", actor=SYSTEM)
    drain()
    assert reread(execution).state == "completed"


def test_24_persistent_trigger():
    execution = run(publish(24), {"seconds": 3600})
    signal(execution, "paid", {"amount": 12})
    skip_step(execution=reread(execution), actor=SYSTEM)
    drain()
    assert reread(execution).output == "shipped for 12"


def test_25_cancel_region():
    execution = run(publish(25))
    signal(execution, "stop")
    drain()
    assert (reread(execution).state, reread(execution).output) == ("completed", "stopped")
    left = Execution.objects.exclude(state__in=["completed", "cancelled"])
    assert not left.exists()


def test_26_cancel_instances():
    execution = run_to_the_end(26, None)
    assert (execution.state, execution.output) == ("completed", "stopped")
    assert set(execution.children.values_list("state", flat=True)) == {"cancelled"}


def test_27_complete_instances():
    execution = run(publish(27))
    done = execution.children.get(state="completed")
    skip_step(execution=execution, actor=SYSTEM, output=[done.item_index])
    drain()
    assert reread(execution).output == [0]
    assert execution.children.get(item_index=1).state == "cancelled"


def test_29_cancelling_discriminator():
    execution = comes_to(29, {"slow": None, "quick": "the short way"})
    assert execution.children.get(item_index=0).state == "cancelled"


def test_30_structured_partial_join():
    reviewers = [
        {"name": "Cem", "seconds": 3600},
        {"name": "Eva", "seconds": 0},
        {"name": "Ali", "seconds": 0},
    ]
    comes_to(30, ["Ali", "Eva"], {"reviewers": reviewers})
    left = Execution.objects.filter(workflow__slug="wcp-30-reviewer", state="waiting")
    assert [each.input["name"] for each in left] == ["Cem"]


def test_32_cancelling_partial_join():
    comes_to(32, {"a": "yes", "b": None, "c": "yes"})


def test_34_static_partial_join_of_instances():
    comes_to(34, "2 of 3", {"seconds": [0, 3600, 0]})
    assert Execution.objects.filter(workflow__slug="wcp-34-instance", state="waiting").count() == 1


def test_35_cancelling_partial_join_of_instances():
    execution = comes_to(35, "enough", {"seconds": [3600, 0]})
    states = execution.children.order_by("item_index").values_list("state", flat=True)
    assert list(states) == ["cancelled", "completed"]


def test_37_acyclic_synchronizing_merge():
    output = {"check": {"legal": "fine", "tax": None}, "file": "filed"}
    comes_to(37, output, {"large": True, "abroad": False})


def test_37_acyclic_synchronizing_merge_without_the_inner_split():
    comes_to(37, {"check": None, "file": "filed"}, {"large": False, "abroad": True})


def test_39_critical_section():
    execution = run_to_the_end(39, None)
    assert execution.output == {"a": "a", "b": "b"}
    assert overlaps("wcp-39-section") == 0


def test_40_interleaved_routing():
    execution = comes_to(40, ["oil ok", "lights ok", "tires ok"])
    spans = execution.children.order_by("item_index").annotate(
        since=F("started_at"), until=F("ended_at")
    )
    assert [each.since for each in spans[1:]] >= [each.until for each in spans[:2]]


def test_41_thread_merge():
    comes_to(41, 10, {"pages": 4})


def test_42_thread_split():
    comes_to(42, [0, 1, 2])


@pytest.mark.parametrize(("known", "output"), [(True, "nothing to do"), (False, "done")])
def test_43_explicit_termination(known: bool, output: str):
    comes_to(43, output, {"known": known})
