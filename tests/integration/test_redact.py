"""What `redact` hides is nowhere in clear: not in the database, not in a log, on no way to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from rest_framework.test import APIClient

from autopilot.accounts.roles import Role
from autopilot.common.crypto import NoEncryptionKey
from executions.calling_back import complete_callback
from executions.errors import ConcurrencyReached, InputInvalid
from executions.following import Rhythm
from executions.hidden.marks import MASK, Hidden, reveal
from executions.models import Execution, LogLine, StepExecution
from executions.services import (
    pause_execution,
    rerun_execution,
    resume_execution,
    retry_execution,
    skip_step,
)
from executions.signalling import send_signal
from executions.situations import situations_of
from tests.engine import SYSTEM, drain, published, reread, run, started
from tests.factories import UserFactory
from tests.probe.actions import HANDED_OVER, RECEIVED
from workflows.models import Workflow
from workflows.services import create_workflow, publish_version

pytestmark = pytest.mark.django_db(transaction=True)

CARD = "4929-7777-8888-9012"
EMAIL = "ada.quux@example.com"
NAME = 'Ada "Q" Quüx'
AMOUNT = 987654.25
MADE = "made-by-a-step-31"
GIVEN = "given-instead-77"
OTHERS = [{"email": "bo.zwei@example.com", "code": "QX"}, {"email": "cy.drei@example.com"}]
CODES = ["Zq", "Xk"]
SECRETS = (CARD, EMAIL, "Quüx", "987654.25", MADE, GIVEN, "bo.zwei", "cy.drei")
INPUT = {
    "customer": {"name": NAME, "email": EMAIL, "age": 37},
    "card": CARD,
    "amount": AMOUNT,
    "others": OTHERS,
    "codes": CODES,
    "plain": "in the open",
}


def step(id_: str, type_: str, config: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": id_, "name": id_, "type": type_, "config": config, **fields}


def probe(id_: str, params: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return step(id_, "action", {"action": "probe.secret", "with": params}, **fields)


def pure(id_: str, output: Any, **fields: Any) -> dict[str, Any]:
    return step(id_, "transform", {"output": output}, **fields)


def hold(id_: str, **fields: Any) -> dict[str, Any]:
    return step(id_, "wait", {"duration": "1h"}, **fields)


def caught(target: str, name: str) -> list[dict[str, Any]]:
    return [{"errors": ["*"], "as": name, "next": target}]


LEAKY = [
    probe("make", {"quote": "{{ input.card }}",
                   "give": {"token": "{{ 'made-by' + '-a-step-31' }}", "plain": 1}},
          assign={"card": "{{ input.card }}", "letter": "Dear {{ input.customer.name }}!",
                  "deep": {"list": ["{{ input.customer }}", "{{ input.amount }}"]},
                  "keyed": "{{ {input.card: 1} }}"}),
    step("around", "group", {
        "steps": [pure("inner", {"url": "https://x.example/?t={{ steps.make.output.token }}",
                                 "json": "{{ to_json(input.customer) }}",
                                 "loud": "{{ input.customer.email.upper() }}"}),
                  hold("rest_inside"),
                  pure("last_inside", "{{ steps.inner.output }}")],
        "finally": [probe("closing", {"quote": "{{ vars.letter }}"}), hold("rest_after")]}),
    probe("refused", {"quote": "{{ input.customer.email }}", "how": "refuse"},
          catch=caught("crashed", "problem")),
    probe("crashed", {"quote": "{{ input.card }}", "unknown": "{{ steps.make.output.token }}",
                      "how": "crash"},
          catch=caught("fetch", "crash")),
    step("fetch", "action", {"action": "http.request",
                             "with": {"url": "http://127.0.0.1:9/{{ input.customer.email }}"}},
         catch=caught("each", "unreachable")),
    step("each", "map", {
        "items": "input.others", "as": "other", "tolerated_failures": 2,
        "steps": [
            step("code", "map", {"items": "input.codes", "as": "code", "steps": [
                pure("pair", ["{{ code }}", "{{ other.email }}", "{{ vars.card }}"])]}),
            hold("rest_in_item"),
            probe("mail", {"quote": "{{ other }}", "how": "refuse"},
                  when="index == 0"),
        ]}),
    step("failing", "map", {
        "items": "input.others", "as": "other",
        "steps": [probe("never", {"quote": "{{ other.email }}", "how": "refuse"})]},
         catch=caught("keep", "lost")),
    step("keep", "action", {"action": "state.set", "with": {
        "key": "card", "scope": "shared", "value": {"card": "{{ input.card }}"}}}),
    step("other_workflow", "action", {"action": "workflow.start", "with": {
        "workflow": "the-other", "correlation_id": "for {{ input.card }}",
        "input": {"card": "{{ input.card }}", "note": "about {{ input.customer.email }}"},
        "labels": {"who": "{{ input.customer.email }}"}}}),
    hold("hold"),
    probe("last", {"quote": [
        "{{ input }}", "{{ vars.letter }}", "{{ steps.make.output.token }}",
        "{{ steps.hold.output.given }}", "{{ problem.details.customer }}", "{{ crash.message }}",
        "{{ steps.around.output.loud }}", "{{ lost.details.items[1].error.message }}",
        "{{ default(steps.each.output, null) }}"]},
          assign={"answer": "{{ steps.hold.output.given }}"}),
]  # fmt: skip

REDACT = [
    *("/input/customer", "/input/card", "/input/amount", "/input/others", "/input/codes"),
    *("/steps/make/output/token", "/steps/hold/output/given", "/output/receipt"),
]


@pytest.fixture(autouse=True)
def _nothing_received() -> None:
    RECEIVED.clear()


def database() -> str:
    """All there is in the database, as text."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        )
        texts = []
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT to_jsonb(t)::text FROM "{table}" t')
            texts += [f"{table}: {row[0]}" for row in cursor.fetchall()]
    return "\n".join(texts)


def in_clear(text: str, secrets: tuple[str, ...] = SECRETS) -> list[str]:
    """The lines that have one of the secrets, in any case of letters."""
    wanted = [each.lower() for each in secrets]
    wanted += [json.dumps(each)[1:-1].lower() for each in secrets]
    return [line for line in text.splitlines() if any(each in line.lower() for each in wanted)]


def leaky() -> Workflow:
    return published(
        LEAKY,
        redact=list(REDACT),
        output={"receipt": "{{ input.plain }} for {{ steps.make.output.token }}", "n": 1},
    )


def wake(**filters: Any) -> None:
    """Let the waits be over and run what is ready, in a worker that knows nothing yet."""
    rows = Execution.objects.filter(state="waiting", current_phase="timer", **filters)
    with connection.cursor() as cursor:
        ids = list(rows.values_list("pk", flat=True))
        cursor.execute(
            "UPDATE executions_execution SET wait_until = now() - interval '1 second',"
            " runnable_at = now() WHERE id = ANY(%s)",
            [ids],
        )
    drain()


def run_leaky() -> Execution:
    """The whole of it, with a new worker after every wait, a pause, a skip and a retry."""
    published([pure("a", "{{ input.note }}"), hold("b"), pure("c", "{{ input.card }}")],
              name="The other")  # fmt: skip
    execution = run(leaky(), INPUT)
    wake(pk=execution.pk)  # inside the group
    pause_execution(execution=execution, actor=SYSTEM)
    drain()
    resume_execution(execution=execution, actor=SYSTEM)
    drain()
    wake(pk=execution.pk)  # in its finally
    wake(parent=execution)  # in the items
    execution = reread(execution)
    assert (execution.state, execution.current_step) == ("waiting", "hold")
    skip_step(execution=execution, actor=SYSTEM, output={"given": GIVEN, "open": "seen"})
    drain()
    return reread(execution)


def test_nothing_hidden_is_in_clear_anywhere(caplog: pytest.LogCaptureFixture, capfd: Any) -> None:
    caplog.set_level("DEBUG")
    execution = run_leaky()
    assert (execution.state, execution.output) == (
        "completed",
        {"receipt": MASK, "n": 1},
    )
    # Everything went on as if nothing were hidden, whoever ran it.
    (last,) = [each["quote"] for each in RECEIVED if isinstance(each["quote"], list)]
    assert last == [
        INPUT,
        f"Dear {NAME}!",
        MADE,
        GIVEN,
        EMAIL,
        f"The action raised RuntimeError: {CARD} is no number, nor is {MADE}",
        EMAIL.upper(),
        "No luck with cy.drei@example.com.",
        [None, [[code, OTHERS[1]["email"], CARD] for code in CODES]],
    ]
    assert {"bo.zwei@example.com"} < {str(each["quote"]) for each in RECEIVED}
    assert in_clear(database()) == []
    assert in_clear(caplog.text) == []
    written = capfd.readouterr()
    assert in_clear(written.out + written.err) == []
    # The logs still say what happened.
    assert "working on •••" in caplog.text
    assert "action.crashed" in caplog.text
    assert "RuntimeError" in caplog.text


def test_what_is_not_hidden_is_shown_and_the_rest_masked() -> None:
    execution = run_leaky()
    assert execution.input == {**dict.fromkeys(INPUT, MASK), "plain": "in the open"}
    assert execution.variables["letter"] == "Dear •••!"
    assert execution.variables["deep"] == {"list": [MASK, MASK]}
    assert execution.variables["keyed"] == MASK
    steps = {row.step_id: row for row in StepExecution.objects.filter(execution=execution)}
    assert steps["make"].output == {"token": MASK, "plain": 1}
    assert steps["make"].params == {"quote": MASK, "give": {"token": MASK, "plain": 1}}
    assert steps["inner"].output["url"] == "https://x.example/?t=•••"
    assert steps["inner"].output["loud"] == MASK
    assert steps["hold"].output == {"given": MASK, "open": "seen"}
    assert steps["refused"].error["message"] == "No luck with •••."
    assert steps["refused"].error["details"] == {"customer": MASK, "list": [[MASK], "<•••>"]}
    assert steps["failing"].error["message"] == (
        "2 of 2 items did not succeed; item 0: No luck with •••."
    )
    items = Execution.objects.filter(parent=execution, parent_step="each")
    assert set(items.values_list("input", flat=True)) == {MASK}
    codes = Execution.objects.filter(parent__in=items)
    assert [row.input for row in codes] == [MASK] * 4
    # Too short to be followed by its value: it is hidden where the list of them was.
    assert {row.output[0] for row in codes} == set(CODES)
    line = LogLine.objects.filter(execution=execution, step_id="make").get()
    assert (line.event, line.fields["quoted"], line.fields["made"]) == (
        "working on •••",
        MASK,
        {"token": MASK, "plain": 1},
    )
    failed = Execution.objects.filter(parent=execution, state="failed").defer("error")
    # Of what is too short even the text of it says nothing.
    assert {each.why.sentence for each in situations_of(list(failed)).values()} == {
        "Failed at step “never” just now: No luck with •••.",
        "Failed at step “mail” just now: No luck with {'email': '•••', 'code': 'QX'}.",
    }


def test_another_workflow_hides_what_it_was_given(caplog: pytest.LogCaptureFixture) -> None:
    run_leaky()
    other = Execution.objects.get(workflow__slug="the-other")
    assert other.input == {"card": MASK, "note": "about •••"}
    assert (other.labels, other.correlation_id) == ({"who": MASK}, "for •••")
    wake(pk=other.pk)
    other = reread(other)
    assert (other.state, other.output, reveal(other.output)) == ("completed", MASK, CARD)
    stored = {"key": "card", "scope": "shared"}
    keeper = step("read", "action", {"action": "state.get", "with": stored})
    reader = run(published([keeper, pure("b", "{{ steps.read.output.value.card }}")], name="R"))
    assert (reader.output, reveal(reader.output)) == (MASK, CARD)
    assert in_clear(database()) == []


def test_api_commands_and_pages_show_the_mask(client: Any, capsys: Any) -> None:
    execution = run_leaky()
    user = UserFactory.create(role=Role.ADMINISTRATOR, is_staff=True)
    api = APIClient()
    api.force_authenticate(user)
    base = f"/api/v1/executions/{execution.pk}/"
    answers = [
        api.get(base + name).content.decode()
        for name in ("", "steps/", "context/", "logs/", "transitions/")
    ]
    answers.append(api.get(f"/api/v1/executions/?parent={execution.pk}").content.decode())
    client.force_login(user)
    page = f"/admin/executions/execution/{execution.pk}/"
    for name in ("", "items/each/", "steps/make/", "steps/refused/", "data/input/"):
        response = client.get(page + name)
        assert response.status_code == 200, name
        answers.append(response.content.decode())
    for text in answers:
        assert in_clear(text) == []
        assert "$sealed" not in text
        assert "gAAAA" not in text
    assert json.loads(answers[0])["input"]["card"] == MASK
    assert '"card": "•••"' in answers[-1]
    call_command("executions", "show", str(execution.pk))
    said = capsys.readouterr().out
    assert MASK in said
    assert in_clear(said) == []


def test_a_start_answers_with_the_mask_and_a_repeated_one_is_recognised(settings: Any) -> None:
    workflow = leaky()
    api = APIClient()
    api.force_authenticate(UserFactory.create(role=Role.OPERATOR))
    body = {"workflow": workflow.slug, "input": INPUT, "idempotency_key": "k"}
    first = api.post("/api/v1/executions/", body, format="json")
    assert (first.status_code, first.json()["input"]["card"]) == (201, MASK)
    settings.AUTOPILOT_ENCRYPTION_KEYS = [
        "bmV3IGtleSBvZiBleGFjdGx5IDMyIGJ5dGVzICAgISE=",
        *settings.AUTOPILOT_ENCRYPTION_KEYS,
    ]
    again = api.post("/api/v1/executions/", body, format="json")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    other = {**body, "input": {**INPUT, "card": "another"}}
    assert api.post("/api/v1/executions/", other, format="json").status_code == 409
    assert in_clear(database()) == []


def test_signals_and_calls_from_elsewhere_are_hidden_on_their_way() -> None:
    workflow = published(
        [
            step("paid", "signal", {"signal": "paid"}),
            step("call", "action", {"action": "probe.hand_over"}),
            probe("c", {"quote": ["{{ steps.paid.output }}", "{{ steps.call.output }}"]}),
            step("tell", "action", {"action": "signal.send", "with": {
                "signal": "told", "correlation": "x", "payload": "{{ steps.call.output.made }}"}}),
            step("told", "signal", {"signal": "told", "correlation": "x"}),
        ],
        redact=["/steps/paid/output/card", "/steps/call/output/made"],
    )  # fmt: skip
    execution = run(workflow)
    paid = {"card": CARD, "open": "seen"}
    send_signal(name="paid", actor=SYSTEM, payload=paid, execution=execution)
    assert in_clear(database()) == []
    drain()
    made = {"made": MADE, "open": 1}
    complete_callback(token=HANDED_OVER[-1], output=made)
    assert in_clear(database()) == []
    drain()
    drain()
    execution = reread(execution)
    assert (execution.state, execution.output, reveal(execution.output)) == (
        "completed",
        MASK,
        MADE,
    )
    assert [each["quote"] for each in RECEIVED] == [[paid, made]]
    steps = {row.step_id: row.output for row in StepExecution.objects.filter(execution=execution)}
    assert steps["paid"] == {"card": MASK, "open": "seen"}
    assert steps["call"] == {"made": MASK, "open": 1}
    assert in_clear(database()) == []


def test_branches_and_concurrency_keys() -> None:
    branches = [
        {"name": "left", "steps": [pure("l", {"pin": 12345, "who": "{{ input.card }}"})]},
        {"name": "right", "steps": [pure("r", {"pin": 13})]},
    ]
    workflow = published(
        [step("both", "parallel", {"branches": branches})],
        redact=["/input/card", "/steps/both/output/left/pin"],
        concurrency={"key": "input.card", "limit": 1, "on_limit": "reject"},
    )
    first = started(workflow, {"card": CARD})
    assert first.slot_key.startswith(f"{workflow.pk}:••• ")
    with pytest.raises(ConcurrencyReached, match="the concurrency key “••• "):
        started(workflow, {"card": CARD})
    other = started(workflow, {"card": GIVEN})
    assert other.slot_key != first.slot_key
    drain()
    parts = Execution.objects.filter(parent=first).order_by("item_index")
    assert [row.output for row in parts] == [{"pin": MASK, "who": MASK}, {"pin": 13}]
    output = {"left": {"pin": MASK, "who": MASK}, "right": {"pin": 13}}
    assert reread(first).output == output
    assert in_clear(database()) == []


def test_a_mask_in_place_of_a_value_is_refused() -> None:
    workflow = short()
    for data, path in (
        ({"card": MASK}, "$.input.card"),
        ({"card": {"a": [1, MASK]}}, "$.input.card.a[1]"),
    ):
        with pytest.raises(InputInvalid) as refused:
            started(workflow, data)
        (problem,) = refused.value.details
        assert (problem.path, problem.code) == (path, "redact.mask")
    assert not Execution.objects.exists()
    assert started(workflow, {"card": 1, "free": MASK}).input["free"] == MASK


def test_without_a_key_nothing_is_published_or_started(settings: Any) -> None:
    workflow = short()
    draft = create_workflow(
        actor=SYSTEM, document={"name": "Draft", "steps": [pure("a", 1)], "redact": ["/output"]}
    )
    settings.AUTOPILOT_ENCRYPTION_KEYS = []
    with pytest.raises(NoEncryptionKey, match="set AUTOPILOT_ENCRYPTION_KEYS") as refused:
        publish_version(actor=SYSTEM, version=draft)
    assert [each.path for each in refused.value.details] == ["$.redact"]
    assert type(draft).objects.get(pk=draft.pk).state == "draft"
    with pytest.raises(NoEncryptionKey, match=r"Version 1\.0\.0 hides values"):
        started(workflow, {"card": CARD})
    assert not Execution.objects.exists()
    # What hides nothing needs none.
    assert run(published([pure("a", 1)], name="Open")).output == 1


def test_a_run_followed_on_the_terminal(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(Rhythm, "wait", lambda self: drain())
    short()
    data = json.dumps({"card": CARD, "how": "refuse", "vip": "yes"})
    with pytest.raises(SystemExit):
        call_command("run_workflow", "test", "--input", data, "--follow")
    said = capsys.readouterr()
    assert "No luck with {'vip': '•••', 'token': '•••'}." in said.err
    assert in_clear(said.out + said.err) == []


SHORT = [
    pure("first", {"token": "{{ input.card }}-1", "vip": "{{ input.vip }}"},
         assign={"kept": "{{ steps.first.output.token }}"}),
    probe("second", {"quote": "{{ steps.first.output }}", "how": "{{ input.how }}"}),
    probe("third", {"quote": ["{{ vars.kept }}", "{{ input.vip }}"]}),
]  # fmt: skip


def short(**document: Any) -> Workflow:
    redact = ["/input/card", "/input/vip", "/steps/first/output"]
    return published(SHORT, redact=redact, output="{{ vars.kept }}", **document)


def test_a_retry_and_reruns_work_with_the_real_values() -> None:
    execution = run(short(), {"card": CARD, "vip": True, "how": "refuse"})
    assert execution.state == "failed"
    retry_execution(execution=execution, actor=SYSTEM)
    drain()
    again = rerun_execution(execution=reread(execution), actor=SYSTEM).execution
    assert again.input == {"card": MASK, "vip": MASK, "how": "refuse"}
    drain()
    assert [each["quote"] for each in RECEIVED] == [{"token": f"{CARD}-1", "vip": True}] * 3
    edited = rerun_execution(
        execution=reread(execution),
        actor=SYSTEM,
        from_step="second",
        input={"card": MASK, "vip": MASK, "how": ""},
    ).execution
    drain()
    edited = reread(edited)
    assert (edited.state, edited.output, reveal(edited.output)) == (
        "completed",
        MASK,
        f"{CARD}-1",
    )
    assert RECEIVED[-1]["quote"] == [f"{CARD}-1", True]
    assert edited.variables == {"kept": MASK}
    from_output = rerun_execution(
        execution=edited,
        actor=SYSTEM,
        from_step="third",
        outputs={"first": {"token": GIVEN, "vip": False}},
    ).execution
    drain()
    assert reveal(reread(from_output).output) == GIVEN
    assert in_clear(database()) == []


def test_what_continues_as_new_hides_the_same() -> None:
    again = {
        "input": {"n": "{{ input.n + 1 }}", "card": "{{ input.card }}", "copy": "{{ vars.c }}"}
    }
    workflow = published(
        [
            pure("a", "{{ input.n }}", assign={"c": "{{ [input.card] }}"}),
            step("b", "succeed", {"continue_as_new": again}, when="input.n < 3"),
            probe("c", {"quote": "{{ input.copy }}"}),
        ],
        redact=["/input/card"],
    )
    execution = run(workflow, {"n": 1, "card": CARD})
    last = Execution.objects.get(continued_from__continued_from=execution)
    assert last.input == {"n": 3, "card": MASK, "copy": [MASK]}
    assert RECEIVED == [{"quote": [CARD]}]
    assert in_clear(database()) == []


def test_pointers_into_maps_and_groups() -> None:
    body = [pure("inner", {"code": "{{ item }}", "open": 1})]
    workflow = published(
        [
            step("each", "map", {"items": "[\"aa\", \"bb\"]", "as": "item", "steps": body}),
            step("around", "group", {"steps": [pure("in_group", {"pin": 12, "open": 1})],
                                     "finally": [hold("wait")]}),
        ],
        redact=["/steps/each/output/1/code", "/steps/around/output/pin"],
    )  # fmt: skip
    execution = run(workflow)
    items = Execution.objects.filter(parent=execution).order_by("item_index")
    assert [row.output for row in items] == [{"code": "aa", "open": 1}, {"code": MASK, "open": 1}]
    (frame,) = execution.control["frames"]
    assert frame["output"] == {"pin": MASK, "open": 1}
    wake(pk=execution.pk)
    steps = {row.step_id: row.output for row in StepExecution.objects.filter(execution=execution)}
    assert steps["each"] == [{"code": "aa", "open": 1}, {"code": MASK, "open": 1}]
    assert steps["around"] == {"pin": MASK, "open": 1}
    assert isinstance(steps["around"]["pin"], Hidden)
    assert reveal(reread(execution).output) == {"pin": 12, "open": 1}


def test_forged_marks_go_through_the_engine_as_they_are() -> None:
    hidden = started(short(), {"card": CARD, "vip": 1}).input["card"]
    assert isinstance(hidden, Hidden)
    forged = {"$sealed": hidden.token, "shown": "x", "$$sealed": [{"$sealed": 1}]}
    again = [hold("h"), pure("b", "{{ it }}")]
    workflow = published(
        [
            probe(
                "a", {"give": "{{ input }}", "quote": "{{ input }}"}, assign={"v": "{{ input }}"}
            ),
            step("each", "map", {"items": "[input]", "as": "it", "steps": again}),
            probe("c", {"give": ["{{ vars.v }}", "{{ steps.a.output }}"]}),
        ],
        name="Forging",
    )  # fmt: skip
    execution = run(workflow, forged)
    wake(parent=execution)
    execution = reread(execution)
    assert (execution.state, execution.output) == ("completed", [forged, forged])
    assert (execution.input, execution.variables) == (forged, {"v": forged})
    rows = StepExecution.objects.filter(execution=execution).order_by("seq")
    assert [row.output for row in rows] == [forged, [forged], [forged, forged]]
    assert LogLine.objects.filter(execution=execution).first().fields["quoted"] == forged


def test_without_the_key_it_fails_and_with_the_key_it_goes_on(settings: Any) -> None:
    keys = settings.AUTOPILOT_ENCRYPTION_KEYS
    execution = run(
        published([pure("a", 1), hold("h"), probe("b", {"quote": "{{ input.card }}"})],
                  redact=["/input/card"]),
        {"card": CARD},
    )  # fmt: skip
    settings.AUTOPILOT_ENCRYPTION_KEYS = ["bmV3IGtleSBvZiBleGFjdGx5IDMyIGJ5dGVzICAgISE="]
    wake()
    execution = reread(execution)
    assert (execution.state, execution.error_code) == ("failed", "sealed.unreadable")
    assert "None of the keys in AUTOPILOT_ENCRYPTION_KEYS" in execution.error["message"]
    assert execution.input == {"card": MASK}
    settings.AUTOPILOT_ENCRYPTION_KEYS = keys
    retry_execution(execution=execution, actor=SYSTEM)
    drain()
    assert reread(execution).current_step == "h"
    wake()
    assert reread(execution).state == "completed"
    assert RECEIVED == [{"quote": CARD}]
    assert StepExecution.objects.filter(execution=execution, step_id="a").count() == 1


def test_the_page_of_a_rerun_keeps_what_it_shows_masked(client: Any) -> None:
    schema = {"type": "object", "properties": {name: {} for name in ("card", "vip", "how")}}
    source = run(short(input_schema=schema), {"card": CARD, "vip": True, "how": "refuse"})
    client.force_login(UserFactory.create(role=Role.ADMINISTRATOR, is_staff=True))
    page = f"/admin/executions/execution/{source.pk}/rerun/"
    shown = client.get(page)
    assert in_clear(shown.content.decode()) == []
    assert "Where it says •••, here or in an output, the hidden value is kept" in (
        shown.content.decode()
    )
    sheet = shown.context["sheet"]
    outputs = {each.name: each.text for each in sheet.edited}
    assert outputs == {"output-first": '"•••"'}
    sent = {"step": sheet.step, "version": "1.0.0", "drawn": "1.0.0", "mode": "json", "reason": ""}
    sent |= {"shown_for": sheet.shown_for, "key": sheet.key, **outputs}
    edited = json.dumps({"card": MASK, "vip": MASK, "how": ""})
    assert client.post(page, {**sent, "input": edited}).status_code == 302
    drain()
    again = Execution.objects.get(rerun_of=source)
    assert (again.state, reveal(again.input)) == (
        "completed",
        {"card": CARD, "vip": True, "how": ""},
    )
    assert RECEIVED[-1]["quote"] == [f"{CARD}-1", True]
    assert in_clear(database()) == []
