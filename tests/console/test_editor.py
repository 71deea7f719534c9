"""The editor: problems while one writes, completion, the graph beside it, saving, two people."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Role
from tests.console.conftest import Visit
from tests.console.data import INPUT, support_request
from tests.engine import run
from workflows import services
from workflows.definition.text import write_yaml
from workflows.models import Workflow, WorkflowVersion

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]

MakeVisit = Callable[..., Visit]
SYSTEM = Actor.system("tests")
CONTENT = "#cx-editor .cm-content"
SELECTED = ".cx-node.is-selected"


def open_editor(visit: Visit, path: str) -> None:
    assert visit.open(path) == 200
    visit.do(lambda page: page.locator("#cx-desk[data-ready]").wait_for())


def write(visit: Visit, text: str) -> None:
    """In the place of everything."""
    visit.do(lambda page: page.locator(CONTENT).fill(text))


def checked(visit: Visit, words: str) -> None:
    visit.do(lambda page: page.locator("#cx-checked", has_text=words).wait_for())


def draft_of(workflow: Workflow, **fields: Any) -> WorkflowVersion:
    document = {**workflow.versions.get().definition, **fields}
    return services.create_version(actor=SYSTEM, workflow=workflow, document=document)


def test_a_workflow_is_written_with_help_and_saved(visit: MakeVisit) -> None:
    designer = visit(Role.DESIGNER)
    open_editor(designer, "/admin/workflows/workflow/add/")
    checked(designer, "None: it can be saved.")
    wrong = {
        "name": "Tickets",
        "steps": [
            {"id": "one", "type": "action", "config": {"action": "nope"}},
            {"id": "two", "type": "dance"},
        ],
    }
    write(designer, json.dumps(wrong, indent=2))
    checked(designer, "2 problems")
    assert designer.text("#cx-problem-list li:nth-child(2)").startswith(
        'Line 13 $.steps[1].type "dance" is no step type; known types are action,'
    )
    assert designer.do(lambda page: page.locator(".cm-lint-marker-error").count()) == 2
    designer.press("Save draft")
    designer.wait_for("Nothing is saved. 2 things are wrong.", '[role="alert"]')
    assert Workflow.objects.count() == 0

    def completed(page: Page) -> list[str]:
        """Go to the second problem, and choose what is offered there."""
        page.locator("#cx-problem-list li:nth-child(2) button").click()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Control+Space")
        options = page.locator(".cm-tooltip-autocomplete li .cm-completionLabel")
        options.first.wait_for()
        offered = options.all_inner_texts()
        page.keyboard.type("succ")
        page.locator(".cm-tooltip-autocomplete li").nth(1).wait_for(state="detached")
        page.keyboard.press("Enter")
        return offered

    write(designer, json.dumps(wrong, indent=2).replace("dance", ""))
    checked(designer, "2 problems")
    assert designer.do(completed)[:3] == ["action", "transform", "choice"]
    checked(designer, "1 problem")
    text = designer.do(lambda page: page.locator(CONTENT).inner_text())
    assert '"type": "succeed"' in text

    # A server that does not answer is said, and asked again with the next change.
    busy = "**/editor/check/"
    designer.do(lambda page: page.route(busy, lambda route: route.fulfill(status=429)))
    write(designer, json.dumps(wrong))
    checked(designer, "Not checked: The server answered 429. It is tried again; go on writing.")
    designer.do(lambda page: page.unroute(busy))
    write(designer, json.dumps(wrong).replace("dance", "succeed").replace("nope", "noop"))
    checked(designer, "None: it can be saved.")

    def save_twice(page: Page) -> None:
        """Before the first answer is there."""
        page.keyboard.press("Control+s")
        page.keyboard.press("Control+s")

    designer.do(save_twice)
    designer.wait_for("Draft 1.0.0 is saved.")
    designer.do(lambda page: page.get_by_label("What changed").fill("A first try."))
    designer.do(save_twice)
    designer.wait_for("Draft 1.0.0 is saved.")
    assert designer.text("#cx-told") == ""
    # One workflow, whose draft nobody else has changed.
    version = WorkflowVersion.objects.get()
    assert version.changelog == "A first try."
    at = f"/admin/workflows/workflow/{version.workflow_id}/versions/1.0.0/edit/"
    assert at in designer.do(lambda page: page.url)
    designer.press("Publish", role="link")
    designer.wait_for("Its content is frozen")


def test_a_number_that_is_too_low_is_made_the_suggested_one_by_a_click(visit: MakeVisit) -> None:
    workflow = support_request()
    draft = draft_of(workflow, output="{{ steps.read.output }}", version="1.0.1")
    designer = visit(Role.DESIGNER)
    open_editor(designer, f"/admin/workflows/workflow/{workflow.pk}/versions/1.0.1/edit/")

    def lines() -> list[str]:
        return designer.do(lambda page: page.locator(".cm-line").all_inner_texts())[:3]

    # Where it stands, in place of nothing, and before the name where there is none.
    for number in ({"version": "1.0.1"}, {"version": None}, {}):
        write(designer, json.dumps({**number, **draft.definition}, indent=2))
        designer.wait_for("1.0.1 is too low after 1.0.0", "#cx-guard-says")
        designer.press("Make it 1.1.0")
        designer.wait_for("1.1.0 is an honest number after 1.0.0", "#cx-guard-says")
        assert '  "version": "1.1.0",' in lines()
        assert not designer.do(lambda page: page.locator("#cx-guard-set").is_visible())
    designer.press("YAML")
    line = "name: Support request"
    designer.do(lambda page: page.locator(".cm-line", has_text=line).wait_for())
    text = write_yaml(draft.definition)
    for said in ("", "version:\n"):
        write(designer, said + text)
        designer.wait_for("1.0.1 is too low after 1.0.0", "#cx-guard-says")
        designer.press("Make it 1.1.0")
        designer.wait_for("1.1.0 is an honest number after 1.0.0", "#cx-guard-says")
        assert "version: 1.1.0" in lines()
    write(designer, f"version: >-\n  1.0.1\n{text}")
    designer.wait_for("1.0.1 is too low after 1.0.0", "#cx-guard-says")
    assert not designer.do(lambda page: page.locator("#cx-guard-set").is_visible())
    assert (designer.overflow(), designer.violations()) == (0, [])


def test_the_graph_follows_the_cursor_in_both_languages(visit: MakeVisit) -> None:
    workflow = support_request()
    run(workflow, INPUT)
    draft = draft_of(workflow, output="{{ steps.read.output }}")
    designer = visit(Role.DESIGNER)
    address = f"/admin/workflows/workflow/{workflow.pk}/versions/1.1.0/edit/"
    open_editor(designer, address)
    designer.press("YAML")
    designer.do(lambda page: page.locator("#cx-guard:not([hidden])").wait_for())
    assert "1.1.0 is an honest number after 1.0.0" in designer.text("#cx-guard-says")
    designer.do(lambda page: page.locator(".cm-line", has_text="name: Note it").click())
    designer.do(lambda page: page.locator(f'{SELECTED}[data-step="note"]').wait_for())
    designer.do(lambda page: page.locator('.cx-node[data-step="answer"]').click())
    designer.do(lambda page: page.locator(f'{SELECTED}[data-step="answer"]').wait_for())
    here = "document.querySelector('.cm-activeLine').textContent"
    assert designer.do(lambda page: page.evaluate(here)) == "  - id: answer"

    designer.do(lambda page: page.get_by_label("Expression or template").fill("input.customer"))
    designer.press("Try it")
    designer.wait_for('"Bakery on the Corner"', "#try-result")
    designer.do(lambda page: page.get_by_label("Expression or template").fill("input.nobody"))
    designer.press("Try it")
    designer.wait_for('"nobody"', "#try-result .cx-errors")
    designer.do(lambda page: page.locator(".cm-line", has_text="'down' in").click())
    designer.press("Take it from the text")
    designer.wait_for("true", "#try-result pre")
    assert designer.do(lambda page: page.get_by_label("As seen at step").input_value()) == "read"
    assert (designer.overflow(), designer.violations()) == (0, [])

    def left_by_keyboard(page: Page) -> bool:
        page.locator(CONTENT).focus()
        page.keyboard.press("Escape")
        page.keyboard.press("Tab")
        return bool(page.evaluate("!document.activeElement.closest('#cx-editor')"))

    assert designer.do(left_by_keyboard)

    # Somebody else saves in the meantime: nothing of theirs is lost unseen, nothing of ours.
    theirs = {**draft.definition, "description": "Theirs."}
    services.update_draft(actor=SYSTEM, version=draft, document=theirs)
    designer.do(lambda page: page.locator(".cm-line", has_text="name: Note it").click())
    designer.do(lambda page: page.keyboard.press("End"))
    designer.do(lambda page: page.keyboard.type(" down"))
    designer.press("Save draft")
    designer.wait_for("Somebody has saved this draft since you opened it.", '[role="alert"]')
    assert WorkflowVersion.objects.get(pk=draft.pk).definition["description"] == "Theirs."
    designer.press("Save mine over it")
    designer.wait_for("Draft 1.1.0 is saved.")
    saved = WorkflowVersion.objects.get(pk=draft.pk).definition
    assert (saved["steps"][1]["name"], "description" in saved) == ("Note it down", False)

    other = visit(Role.DESIGNER, dark=True, width=390, name="other")
    open_editor(other, f"{address}?language=yaml")
    checked(other, "None: it can be saved.")
    other.do(lambda page: page.locator(".cm-line", has_text="name: Note it down").click())
    other.do(lambda page: page.locator(f'{SELECTED}[data-step="note"]').wait_for())
    assert (other.overflow(), other.violations()) == (0, [])


INNER = ["steps", 0, "config", "steps", 0]
CASES = [
    # The text with the cursor in it, the path, what is typed, and what is completed.
    ("yaml", "name: A\n¦", [], "key", ""),
    ("yaml", "steps:\n- id: a\n  type: action\n- id: b\n  ty¦\n", ["steps", 1], "key", "ty"),
    ("yaml", "steps:\n  - id: a\n    type: ¦\n", ["steps", 0, "type"], "value", ""),
    ("yaml", "redact:\n  - /inp¦\n", ["redact", 0], "value", "/inp"),
    ("yaml", "steps:\n- config:\n    steps:\n    - next: ¦", [*INNER, "next"], "value", ""),
    ("json", '{"name": "x", "¦"}', [], "key", ""),
    (
        "json",
        '{"steps": [{"id": "a", "type": ¦, "config": {}}]}',
        ["steps", 0, "type"],
        "value",
        "",
    ),
    ("json", '{"steps": [{"id": "a"}, {"ty¦"}]}', ["steps", 1], "key", "ty"),
]

ASK = """async (cases) => {
    const base = "/static/console/editor/";
    const {EditorState, json, yaml} = await import("/static/vendor/codemirror/codemirror.esm.js");
    const {whereInJson} = await import(base + "where.js");
    const {whereInYaml} = await import(base + "where_yaml.js");
    return cases.map(([language, text]) => {
        const isYaml = language === "yaml";
        const extensions = [isYaml ? yaml() : json()];
        const state = EditorState.create({doc: text.replace("¦", ""), extensions});
        const found = (isYaml ? whereInYaml : whereInJson)(state, text.indexOf("¦"));
        return [language, text, found.path, found.kind, found.text];
    });
}"""


def test_completion_knows_where_the_cursor_stands(visit: MakeVisit) -> None:
    designer = visit(Role.DESIGNER)
    designer.open("/admin/")
    found = designer.do(lambda page: page.evaluate(ASK, [list(case[:2]) for case in CASES]))
    assert [tuple(each) for each in found] == CASES
