"""`manage.py run_workflow` and `manage.py executions`: what they say, and their exit codes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.db import ProgrammingError

from autopilot.accounts.models import AuditEntry
from executions import following
from executions.following import Items, Lines, Rhythm, follow
from executions.models import Execution, InboxMessage
from executions.services import cancel_execution
from tests.engine import NOOP, SYSTEM, drain, published, reread, started

pytestmark = pytest.mark.django_db(transaction=True)

ECHO = {"id": "answer", "type": "transform", "config": {"output": {"n": "{{ input.n }}"}}}
WAIT = {"id": "wait", "type": "wait", "config": {"duration": "1h"}}
FAIL = {"id": "broken", "type": "fail", "config": {"error": "order.lost", "message": "It is gone."}}
NUMBER = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


@pytest.fixture
def with_worker(monkeypatch):
    """Whenever a follower would sleep, a worker runs what is ready."""
    monkeypatch.setattr(Rhythm, "wait", lambda self: drain())


class Said:
    """What a command wrote, and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@pytest.fixture
def run() -> Callable[..., Said]:
    def run(*arguments: Any) -> Said:
        out, err = io.StringIO(), io.StringIO()
        code = 0
        try:
            call_command(*(str(each) for each in arguments), stdout=out, stderr=err)
        except SystemExit as end:
            code = int(end.code or 0)
        return Said(code, out.getvalue(), err.getvalue())

    return run


def test_a_start_says_which_execution_it_made(run):
    published([{"id": "a", **NOOP}])
    said = run(
        "run_workflow", "test", "--label", "team=support", "--priority", "high",
        "--version", "1.0.0", "--correlation-id", "c-1", "--input", '{"n": 1}',
    )  # fmt: skip
    row = Execution.objects.get()
    assert (said.code, said.out) == (0, f"Execution {row.pk} of test 1.0.0 accepted.\n")
    assert (row.input, row.labels, row.priority, row.correlation_id) == (
        {"n": 1},
        {"team": "support"},
        2,
        "c-1",
    )
    assert row.principal.startswith("system:")
    assert AuditEntry.objects.get(action="execution.started").actor_name.endswith("by manage.py")


def test_followed_to_its_end_the_result_is_alone_on_stdout(run, with_worker, tmp_path):
    published([{"id": "a", **NOOP}, ECHO], input_schema=NUMBER, output={"n": "{{ input.n }}"})
    file = tmp_path / "input.json"
    file.write_text('{"n": 7}')
    said = run("run_workflow", "test", "--input", f"@{file}", "--follow")
    assert said.code == 0, said.err
    assert json.loads(said.out) == {"n": 7}
    lines = said.err.splitlines()
    assert lines[0].endswith("of test 1.0.0 accepted.")
    assert [line.split()[1:3] for line in lines[1:3]] == [["a", "action"], ["answer", "transform"]]
    assert lines[-1].startswith("COMPLETED in ")


def test_what_failed_ends_with_one(run, with_worker):
    published([FAIL])
    said = run("run_workflow", "test", "--follow")
    assert (said.code, said.out) == (1, "")
    assert "order.lost: It is gone." in said.err
    assert "FAILED" in said.err
    assert '"code": "order.lost"' in said.err


def test_what_is_cancelled_while_it_is_followed_ends_with_three(run, monkeypatch):
    published([WAIT])

    def somebody_cancels(self: Rhythm) -> None:
        drain()
        cancel_execution(execution=Execution.objects.get(), actor=SYSTEM)
        drain()

    monkeypatch.setattr(Rhythm, "wait", somebody_cancels)
    said = run("run_workflow", "test", "--follow")
    assert (said.code, said.out) == (3, "")
    assert "CANCELLED" in said.err


def test_following_ends_after_the_timeout_and_the_execution_goes_on(run, monkeypatch):
    monkeypatch.setattr(following, "STILL_SECONDS", 0.0)
    monkeypatch.setattr(Rhythm, "wait", lambda self: None)
    published([WAIT])
    said = run("run_workflow", "test", "--follow", "--timeout", "0.05")
    row = Execution.objects.get()
    assert said.code == 4
    assert said.err.splitlines()[1:] == [
        "Accepted, but no worker serves the queue “default”: start one with manage.py worker.",
        f"It has not ended after 50 ms. The execution goes on: manage.py executions why {row.pk}",
    ]
    assert row.state == "initialized"


def test_ctrl_c_stops_following_and_nothing_else(run, monkeypatch):
    def interrupt(self: Rhythm) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Rhythm, "wait", interrupt)
    published([WAIT])
    said = run("run_workflow", "test", "--follow")
    assert said.code == 130
    assert "The execution goes on" in said.err
    assert Execution.objects.get().state == "initialized"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tset"], 'There is no workflow "tset", or you may not see it. Did you mean "test"?'),
        (["test", "--input", "{"], "The input is not valid JSON"),
        (["test", "--input", '{"n": "x"}'], "$.input.n"),
        (["test", "--input", "@/nowhere.json"], "The input's file /nowhere.json can't be read"),
        (["test", "--input", '{"n": 1}', "--version", "9.0.0"], "has no version 9.0.0"),
        (["test", "--input", '{"n": 1}', "--label", "team"], "has to be written KEY=VALUE"),
        (["test", "--input", '{"n": 1}', "--queue", "mail"], "There is no queue 'mail'"),
        (["test", "--input", '{"n": 1}', "--timeout", "soon"], '"soon" is no duration'),
    ],
)
def test_what_cannot_be_started_is_a_sentence_and_two(run, arguments: list[str], sentence: str):
    published([{"id": "a", **NOOP}], input_schema=NUMBER)
    said = run("run_workflow", *arguments)
    assert said.code == 2
    assert sentence in said.err
    assert Execution.objects.count() == 0


def test_the_same_key_again_answers_the_first_execution(run):
    published([{"id": "a", **NOOP}])
    first = run("run_workflow", "test", "--idempotency-key", "k")
    again = run("run_workflow", "test", "--idempotency-key", "k")
    assert "accepted" in first.out
    assert "had been started by this key before" in again.out
    assert Execution.objects.count() == 1


def test_a_follower_reads_each_step_once_and_no_data(django_assert_num_queries):
    workflow = published([{"id": name, **NOOP} for name in "abc"])
    execution = started(workflow)
    drain()
    with django_assert_num_queries(3) as queries:
        *steps, end = follow(execution.pk, lambda: None)
    assert [step.step_id for step in steps] == ["a", "b", "c"]
    assert end.state == "completed"
    assert '"params"' not in queries.captured_queries[1]["sql"]


MAP = {
    "id": "each",
    "name": "Greet each of them",
    "type": "map",
    "config": {
        "items": "input.all",
        "as": "one",
        "tolerated_failures": 2,
        "steps": [
            {**FAIL, "name": "Fail", "when": "one == 1"},
            {**WAIT, "name": "Wait", "when": "one > 5"},
        ],
    },
}


def test_a_maps_items_are_counted_once_and_its_progress_read_off_its_row(
    django_assert_num_queries,
):
    execution = started(published([MAP]), {"all": list(range(8))})
    looks = follow(execution.pk, lambda: None)
    assert next(looks).items is None
    drain()
    items = next(looks).items
    assert items == Items("Greet each of them", generation=1, total=8, done=6, failed=1)
    with django_assert_num_queries(2) as queries:
        assert next(looks).items == items
    assert not any("COUNT" in query["sql"] for query in queries)


def test_progress_is_a_bar_on_a_terminal_and_a_line_each_quarter_elsewhere(monkeypatch):
    monkeypatch.setattr(following, "STILL_SECONDS", 0.0)
    execution = started(published([MAP]), {"all": []})
    screen, pipe = Terminal(), io.StringIO()
    on_screen, in_pipe = Lines(OutputWrapper(screen)), Lines(OutputWrapper(pipe))
    for done in (0, 1_000, 1_500, 2_000, 3_999):
        items = Items("Greet each of them", generation=1, total=4_000, done=done, failed=0)
        on_screen.standing(execution, items)
        in_pipe.standing(execution, items)
    again = Items("Greet each of them", generation=2, total=1, done=0, failed=1)
    in_pipe.standing(execution, again)
    on_screen.clear()
    assert screen.getvalue().split("\r\x1b[K") == [
        "",
        "  Greet each of them       ░░░░░░░░░░░░░░░░░░░░░░░░ 0 of 4,000 items",
        "  Greet each of them       ██████░░░░░░░░░░░░░░░░░░ 1,000 of 4,000 items",
        "  Greet each of them       █████████░░░░░░░░░░░░░░░ 1,500 of 4,000 items",
        "  Greet each of them       ████████████░░░░░░░░░░░░ 2,000 of 4,000 items",
        "  Greet each of them       ███████████████████████░ 3,999 of 4,000 items",
        "",
    ]
    assert pipe.getvalue().splitlines() == [
        "  Greet each of them: 0 of 4,000 items",
        "  Greet each of them: 1,000 of 4,000 items",
        "  Greet each of them: 2,000 of 4,000 items",
        "  Greet each of them: 3,999 of 4,000 items",
        "  Greet each of them: 0 of 1 item, 1 failed",
    ]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_that_changes(monkeypatch):
    monkeypatch.setattr(following, "STILL_SECONDS", 0.0)
    screen = Terminal()
    lines = Lines(OutputWrapper(screen))
    execution = started(published([{"id": "a", **NOOP}]))
    lines.standing(execution)
    lines.standing(execution)
    lines.say("Done")
    sentence = (
        "Accepted, but no worker serves the queue “default”: start one with manage.py worker."
    )
    assert screen.getvalue() == f"\r\x1b[K{sentence}\r\x1b[KDone\n"


def test_the_list_has_a_line_each_and_is_filtered(run):
    workflow = published([{"id": "a", **NOOP}])
    one = started(workflow, labels={"team": "a"})
    drain()
    two = started(workflow)
    said = run("executions", "list")
    assert [line.split()[:3] for line in said.lines] == [
        [str(two.pk), "initialized", "test"],
        [str(one.pk), "completed", "test"],
    ]
    for arguments in (["--state", "completed"], ["--label", "team=a"], ["--label", "team"]):
        said = run("executions", "list", *arguments)
        assert [line.split()[0] for line in said.lines] == [str(one.pk)], arguments
    assert run("executions", "list", "--older-than", "1h").out == ""
    (row,) = (json.loads(line) for line in run("executions", "list", "--limit", 1, "--json").lines)
    assert (row["id"], row["state"], row["workflow"]) == (two.pk, "initialized", "test")


def test_why_says_it_in_a_sentence(run):
    execution = started(published([WAIT]))
    said = run("executions", "why", execution.pk)
    assert said.lines == [
        f"{execution.pk}  initialized  queued.no_worker: Accepted, but no worker serves the queue "
        "“default”: start one with manage.py worker."
    ]
    drain()
    assert run("executions", "why").lines[0].startswith(f"{execution.pk}  waiting  timer: Waits")
    (row,) = (json.loads(line) for line in run("executions", "why", "--json").lines)
    assert (row["id"], row["why"]["code"]) == (execution.pk, "timer")
    missing = run("executions", "why", 10**12)
    assert (missing.code, missing.err) == (2, f"There is no execution {10**12}.\n")


def test_show_has_all_of_it(run):
    execution = started(published([{"id": "a", **NOOP}]), {"n": 1}, labels={"team": "a"})
    drain()
    said = run("executions", "show", execution.pk)
    assert said.code == 0
    assert said.lines[0] == f"Execution {execution.pk} of test 1.0.0: completed"
    assert '  input    {"n": 1}' in said.lines
    assert "  labels   team=a" in said.lines
    assert any(line.startswith("    1.1  a  completed") for line in said.lines)
    assert sum(" -> " in line for line in said.lines) == 2


def test_a_verb_by_ids_has_a_line_each_and_a_code(run):
    workflow = published([WAIT])
    one, two = started(workflow), started(workflow)
    said = run("executions", "pause", one.pk, two.pk, "--reason", "stock-taking")
    assert (said.code, said.lines) == (
        0,
        [f"{one.pk}  pending  initialized", f"{two.pk}  pending  initialized"],
    )
    assert said.err == "2 asked to pause.\n"
    drain()
    assert reread(one).reason == "stock-taking"
    said = run("executions", "resume", one.pk, 10**12)
    assert (said.code, said.err) == (1, "1 resumed, 1 refused.\n")
    assert said.lines == [
        f"{one.pk}  done  resumed",
        f"{10**12}  refused  execution.not_found: There is no such execution, or you may not see "
        "it.",
    ]


def test_a_verb_by_filter_looks_first_and_asks_back(run, monkeypatch):
    execution = started(published([WAIT]))
    looked = run("executions", "cancel", "--workflow", "test", "--dry-run")
    assert (looked.code, looked.err) == (0, "1 execution would be cancelled.\n")
    assert looked.lines == [f"{execution.pk}  initialized  test"]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    refused = run("executions", "cancel", "--workflow", "test")
    assert refused.code == 2
    assert "Add --yes to do it" in refused.err

    class Keyboard(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Keyboard("no\n"))
    assert run("executions", "cancel", "--workflow", "test").code == 2
    assert InboxMessage.objects.count() == 0
    monkeypatch.setattr("sys.stdin", Keyboard("y\n"))
    said = run("executions", "cancel", "--workflow", "test")
    assert (said.code, said.lines) == (0, [f"{execution.pk}  pending  initialized"])
    drain()
    assert reread(execution).state == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["cancel"], "Say which executions: either ids, or at least one filter."),
        (["cancel", "1", "--workflow", "test"], "either ids, or at least one filter"),
        (["cancel", "--state", "gone", "--yes"], "--state: A state is one of"),
        (["cancel", "--workflow", "test", "--yes"], "No execution matches. Nothing was done."),
        (["cancel", "--older-than", "soon", "--yes"], '--older-than: "soon" is no duration'),
        (["cancel", "--label", "=x", "--yes"], "has to be written KEY=VALUE"),
        (
            ["list", "--older-than", "1h", "--created-before", "2030-01-31T12:00:00Z"],
            "give one of them",
        ),
        (["list", "--limit", "0"], "--limit is a number from 1 to 1000."),
        (["list", "--created-after", "yesterday"], "--created-after: A moment such as"),
    ],
)
def test_what_is_not_clear_is_a_sentence_and_two(run, arguments: list[str], sentence: str):
    said = run("executions", *arguments)
    assert said.code == 2
    assert sentence in said.err
    assert InboxMessage.objects.count() == 0


def test_an_id_is_a_number(run):
    with pytest.raises(CommandError, match="the id of an execution is a whole number, not 'x'"):
        run("executions", "cancel", "x")


@pytest.mark.parametrize("command", [["executions", "list"], ["run_workflow", "test"]])
def test_a_database_that_is_not_ready_is_a_sentence(run, monkeypatch, command: list[str]):
    def broken(*args: Any, **options: Any) -> None:
        raise ProgrammingError("column nobody.knows does not exist\nLINE 1: SELECT")

    monkeypatch.setattr("executions.querysets.ExecutionQuerySet.roots", broken)
    monkeypatch.setattr("executions.management.commands.run_workflow.start_execution", broken)
    published([{"id": "a", **NOOP}])
    said = run(*command)
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "PostgreSQL is not ready (column nobody.knows does not exist): check DATABASE_URL, or run "
        "scripts/migrate.sh if its tables are missing or old.\n"
    )
