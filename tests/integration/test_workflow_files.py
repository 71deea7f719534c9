"""Workflows as files: `export_workflows`, `import_workflows` and what they stand on."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client

from autopilot.accounts.actors import Actor
from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from autopilot.common.errors import PermissionDenied
from tests.factories import UserFactory, VersionFactory, actor_with
from workflows import services
from workflows.definition.text import read_text, write_yaml
from workflows.files.exporting import export_workflows, zipped
from workflows.files.importing import FilesOutdated, ImportRefused, import_files
from workflows.files.results import Outcome
from workflows.files.telling import lines_of
from workflows.models import Workflow, WorkflowVersion

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("tests")
STEP = {"id": "note", "type": "action", "config": {"action": "noop"}}
ORDERS: dict[str, Any] = {
    "name": "Orders",
    "slug": "orders",
    "version": "1.0.0",
    "labels": {"team": "shop"},
    "input_schema": {"type": "object", "properties": {"id": {"type": "integer"}}},
    "steps": [STEP],
}
STRICTER = {**ORDERS, "input_schema": {**ORDERS["input_schema"], "required": ["id"]}}
TEXT = """\
name: Orders
slug: orders
version: "1.0.0"
labels:
  team: shop
input_schema:
  type: object
  properties:
    id:
      type: integer
steps:
  - id: note
    type: action
    config:
      action: noop
"""


def without_version(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "version"}


def facts() -> list[tuple[str, str, str]]:
    """Everything there is: slug, number, state."""
    rows = WorkflowVersion.objects.order_by("workflow__slug", "major", "minor", "patch")
    return list(rows.values_list("workflow__slug", "version", "state"))


def imported(publish: bool = True, **files: dict[str, Any] | str) -> dict[str, Outcome]:
    result = import_files(actor=SYSTEM, files=named(files), publish=publish)
    return {each.slug: each.outcome for each in result.files}


def named(files: dict[str, Any]) -> dict[str, str]:
    return {
        f"{slug}.yaml": says if isinstance(says, str) else write_yaml(says)
        for slug, says in files.items()
    }


def refusal(files: dict[str, Any], **wishes: Any) -> list[tuple[str, str]]:
    """The refusal's places and codes; nothing may have changed."""
    before = facts(), AuditEntry.objects.count(), list(Workflow.objects.values())
    with pytest.raises(ImportRefused) as refused:
        import_files(actor=SYSTEM, files=files, **wishes)
    assert (facts(), AuditEntry.objects.count(), list(Workflow.objects.values())) == before
    return [(each.path, each.code) for each in refused.value.details]


@pytest.fixture
def orders() -> Workflow:
    return VersionFactory.create(document=ORDERS).workflow


# Export


def test_a_workflow_is_a_file_that_says_the_same_every_time(orders: Workflow) -> None:
    export = export_workflows(actor=SYSTEM)
    assert [(each.name, each.version, each.text) for each in export.files] == [
        ("orders.yaml", "1.0.0", TEXT)
    ]
    assert export_workflows(actor=SYSTEM) == export
    assert zipped(export.files) == zipped(export_workflows(actor=SYSTEM).files)


def test_what_is_of_the_workflow_itself_stands_beside_the_definition(orders: Workflow) -> None:
    services.update_workflow(actor=SYSTEM, workflow=orders, name="Orders of all shops")
    services.require_review(actor=SYSTEM, workflow=orders, required=True)
    (file,) = export_workflows(actor=SYSTEM).files
    assert read_text(file.text).document == {
        **ORDERS,
        "workflow": {"name": "Orders of all shops", "review_required": True},
    }
    assert imported(orders=file.text) == {"orders": Outcome.UNCHANGED}


def test_a_draft_goes_before_the_live_version_if_asked_for(orders: Workflow) -> None:
    draft = {**ORDERS, "version": "2.0.0"}
    services.create_version(actor=SYSTEM, workflow=orders, document=draft, changelog="More.\nYes.")
    (file,) = export_workflows(actor=SYSTEM, slugs=["orders"], drafts=True).files
    assert (file.version, file.state) == ("2.0.0", "draft")
    assert 'version: "2.0.0"\nchangelog: |-\n  More.\n  Yes.\nlabels:\n' in file.text
    assert export_workflows(actor=SYSTEM).files[0].version == "1.0.0"


# Import


def test_what_was_exported_is_imported_elsewhere_and_then_changes_nothing(orders: Workflow) -> None:
    text = export_workflows(actor=SYSTEM).files[0].text
    before = WorkflowVersion.objects.get()
    assert imported(orders=text) == {"orders": Outcome.UNCHANGED}
    again = WorkflowVersion.objects.get()
    assert (again.updated_at, again.workflow.updated_at) == (
        before.updated_at,
        before.workflow.updated_at,
    )
    assert imported(shop=text.replace("slug: orders", "slug: shop")) == {"shop": Outcome.CREATED}
    assert facts() == [("orders", "1.0.0", "published"), ("shop", "1.0.0", "published")]
    hashes = set(WorkflowVersion.objects.values_list("content_hash", flat=True))
    assert len(hashes) == 1


def test_drafts_are_made_and_published_by_a_second_import(orders: Workflow) -> None:
    new = {**without_version(STRICTER), "changelog": "The id has to be there."}
    assert imported(publish=False, orders=new, other={**ORDERS, "slug": "other"}) == {
        "orders": Outcome.VERSION,
        "other": Outcome.CREATED,
    }
    assert facts() == [
        ("orders", "1.0.0", "published"),
        ("orders", "2.0.0", "draft"),
        ("other", "1.0.0", "draft"),
    ]
    assert imported(publish=False, orders=new) == {"orders": Outcome.UNCHANGED}
    assert imported(orders=new) == {"orders": Outcome.PUBLISHED}
    live = WorkflowVersion.objects.get(workflow=orders, version="2.0.0")
    assert (live.state, live.changelog) == ("published", "The id has to be there.")


def test_a_file_without_a_version_gets_the_lowest_honest_number(orders: Workflow) -> None:
    result = import_files(
        actor=SYSTEM, files=named({"orders": without_version(STRICTER)}), dry_run=True
    )
    (file,) = result.files
    assert (file.version, file.against, file.suggested) == ("2.0.0", "1.0.0", "2.0.0")
    assert [change.path for change in file.changes] == ["$.input_schema"]
    assert not result.saved
    assert facts() == [("orders", "1.0.0", "published")]


def test_a_number_that_is_too_small_is_refused_with_its_reasons(orders: Workflow) -> None:
    files = named({"orders": {**STRICTER, "version": "1.1.0"}})
    place = '$.files["orders.yaml"]'
    assert refusal(files) == [
        (f"{place}.version", "version.too_small"),
        (f"{place}.input_schema.required", "input.narrowed"),
    ]
    with pytest.raises(ImportRefused) as refused:
        import_files(actor=SYSTEM, files=files)
    assert [(each.line, each.message) for each in refused.value.details] == [  # type: ignore[attr-defined]
        (3, "Version 1.1.0 is too small: after 1.0.0 the lowest honest number is 2.0.0."),
        (12, 'An input that was taken is refused now: The field "id" is missing.'),
    ]


def test_a_published_version_is_not_overwritten(orders: Workflow) -> None:
    result = import_files(actor=SYSTEM, files=named({"orders": STRICTER}), dry_run=True)
    (file,) = result.files
    assert file.outcome == Outcome.REFUSED
    assert [problem.message for problem in file.problems] == [
        "Version 1.0.0 is published with other content, which stays as it is: 1 difference. For "
        "what the file says, 2.0.0 is the lowest honest number."
    ]
    assert [change.path for change in file.changes] == ["$.input_schema"]
    assert refusal(named({"orders": STRICTER})) == [
        ('$.files["orders.yaml"].version', "version.published_otherwise")
    ]


def test_one_refused_file_holds_back_all_and_every_problem_is_named(orders: Workflow) -> None:
    bad = {**ORDERS, "slug": "bad", "steps": [{**STEP, "next": "nowhere"}, {"type": "wat"}]}
    files = {
        **named({"orders": {**STRICTER, "version": "2.0.0"}, "bad": bad, "worse": "a: &x [*x]"}),
        "../orders.yaml": TEXT,
        "orders.json": json.dumps(ORDERS),
        "binary.yaml": b"\xff\xfe\x00",
        "new.yaml": TEXT,
        "export.yaml": TEXT.replace("slug: orders\n", ""),
    }
    assert refusal(files, publish=True) == [
        ('$.files["../orders.yaml"]', "file.name"),
        ('$.files["bad.yaml"].steps[1].type', "step.type_unknown"),
        ('$.files["bad.yaml"].steps[0].next', "step.next_unknown"),
        ('$.files["binary.yaml"]', "text.encoding"),
        ('$.files["export.yaml"].slug', "slug.reserved"),
        ('$.files["new.yaml"].slug', "file.slug"),
        ('$.files["new.yaml"].slug', "file.twice"),
        ('$.files["orders.json"].slug', "file.twice"),
        ('$.files["orders.yaml"].slug', "file.twice"),
        ('$.files["worse.yaml"].a', "yaml.anchor"),
        ('$.files["worse.yaml"].a[0]', "yaml.alias"),
    ]


def test_another_draft_is_in_the_way_until_it_may_be_replaced(orders: Workflow) -> None:
    services.create_version(actor=SYSTEM, workflow=orders, document={**ORDERS, "version": "1.1.0"})
    files = named({"orders": {**STRICTER, "version": "2.0.0"}})
    assert refusal(files) == [('$.files["orders.yaml"].version', "draft.in_the_way")]
    result = import_files(actor=SYSTEM, files=files, replace_drafts=True)
    (file,) = result.files
    assert (file.outcome, file.notes) == (
        Outcome.REPLACED,
        ("This replaces the draft 1.1.0 of the system: 1 difference.",),
    )
    assert facts() == [("orders", "1.0.0", "published"), ("orders", "2.0.0", "draft")]


def test_an_older_file_changes_nothing_and_says_so(orders: Workflow) -> None:
    assert imported(orders={**STRICTER, "version": "2.0.0"}) == {"orders": Outcome.VERSION}
    (file,) = import_files(actor=SYSTEM, files=named({"orders": ORDERS}), publish=True).files
    assert file.outcome == Outcome.UNCHANGED
    assert file.notes == (
        "This is version 1.0.0, which is published; 2.0.0 is live. To go back to what it says, "
        "give the file a new number.",
    )
    assert imported(orders={**ORDERS, "version": "3.0.0"}) == {"orders": Outcome.VERSION}


def test_name_and_labels_of_the_workflow_follow_what_is_live(orders: Workflow) -> None:
    changed = {**without_version(ORDERS), "name": "All orders", "labels": {}}
    imported(publish=False, orders=changed)
    orders.refresh_from_db()
    assert (orders.name, orders.labels) == ("Orders", {"team": "shop"})
    imported(orders=changed)
    orders.refresh_from_db()
    assert (orders.name, orders.labels) == ("All orders", {})
    services.update_workflow(actor=SYSTEM, workflow=orders, name="By hand")
    assert imported(orders=changed) == {"orders": Outcome.SETTINGS}
    orders.refresh_from_db()
    assert (orders.name, facts()[-1]) == ("All orders", ("orders", "1.0.1", "published"))


def test_a_review_that_is_needed_holds_for_files_too(orders: Workflow) -> None:
    settled = {**ORDERS, "workflow": {"review_required": True}}
    assert imported(orders=settled) == {"orders": Outcome.SETTINGS}
    files = named({"orders": {**STRICTER, "version": "2.0.0"}})
    assert refusal(files, publish=True) == [
        ('$.files["orders.yaml"].reviews', "version.not_reviewed")
    ]
    assert imported(publish=False, orders=files["orders.yaml"]) == {"orders": Outcome.VERSION}


def test_what_only_files_have_is_checked_too() -> None:
    own = {"nam": 1, "labels": {"": "x"}, "review_required": "no"}
    files = named({"orders": {**ORDERS, "changelog": 5, "workflow": own}})
    place = '$.files["orders.yaml"]'
    assert refusal(files) == [
        (f"{place}.changelog", "field.type"),
        (f"{place}.workflow.nam", "field.unknown"),
        (f"{place}.workflow.review_required", "field.type"),
        (f'{place}.workflow.labels[""]', "field.label"),
    ]


def test_what_has_changed_since_it_was_shown_is_looked_at_anew(orders: Workflow) -> None:
    files = named({"orders": {**STRICTER, "version": "2.0.0"}})
    shown = import_files(actor=SYSTEM, files=files, dry_run=True)
    services.create_version(actor=SYSTEM, workflow=orders, document={**ORDERS, "version": "1.1.0"})
    with pytest.raises(FilesOutdated):
        import_files(actor=SYSTEM, files=files, replace_drafts=True, expected=shown.fingerprint)
    assert facts()[-1] == ("orders", "1.1.0", "draft")


def test_what_was_shown_is_all_that_a_file_says(orders: Workflow) -> None:
    says = {**STRICTER, "version": "2.0.0", "changelog": "Takes only whole orders."}
    own = {**says, "workflow": {"labels": {"team": "shop"}}}
    shown = import_files(actor=SYSTEM, files=named({"orders": own}), publish=True, dry_run=True)
    for other in ({"changelog": "Nothing new."}, {"workflow": {"labels": {"team": "other"}}}):
        files = named({"orders": {**own, **other}})
        with pytest.raises(FilesOutdated):
            import_files(actor=SYSTEM, files=files, publish=True, expected=shown.fingerprint)
    assert facts() == [("orders", "1.0.0", "published")]
    # In other words it says the same.
    json_file = {"orders.json": json.dumps(own)}
    shown = import_files(actor=SYSTEM, files=json_file, publish=True, dry_run=True)
    spaced = {"orders.json": json.dumps(own, indent=2)}
    import_files(actor=SYSTEM, files=spaced, publish=True, expected=shown.fingerprint)
    assert facts()[-1] == ("orders", "2.0.0", "published")


@pytest.mark.parametrize("slug", ["[orders]", "{a: 1}", "5"])
def test_a_slug_that_is_no_text_is_refused(slug: str) -> None:
    files = {"orders.yaml": TEXT.replace("slug: orders", f"slug: {slug}")}
    assert refusal(files) == [('$.files["orders.yaml"].slug', "field.type")]
    assert facts() == []


def test_permissions_hold(orders: Workflow) -> None:
    files = named({"orders": {**STRICTER, "version": "2.0.0"}})
    with pytest.raises(PermissionDenied):
        import_files(actor=actor_with(Role.VIEWER), files=files, dry_run=True)
    designer = actor_with(Role.DESIGNER)
    settled = named({"orders": {**ORDERS, "workflow": {"review_required": True}}})
    with pytest.raises(PermissionDenied):
        import_files(actor=designer, files=settled)
    with pytest.raises(PermissionDenied):
        export_workflows(actor=actor_with(None))
    assert len(facts()) == 1
    import_files(actor=designer, files=files, publish=True)
    assert WorkflowVersion.objects.get(version="2.0.0").author_id == designer.id


# Commands


def command(name: str, *arguments: object) -> str:
    out = io.StringIO()
    call_command(name, *map(str, arguments), stdout=out)
    return out.getvalue()


def refused(capsys: Any, name: str, *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        command(name, *arguments)
    return ended.value.code, capsys.readouterr().err


def test_export_edit_and_import_in_a_folder(orders: Workflow, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "workflows"
    assert command("export_workflows", folder) == "orders.yaml: written (1.0.0, published)\n"
    file = folder / "orders.yaml"
    assert file.read_text() == TEXT
    before = file.stat()
    # Without a version it says the same too: that of whatever number is honest.
    file.write_text("# ours\n" + TEXT.replace('version: "1.0.0"\n', ""))
    assert command("export_workflows", folder) == "1 file unchanged.\n"
    assert file.read_text().startswith("# ours\n")
    assert file.stat().st_mode == before.st_mode
    said = "1 file unchanged.\nNothing is to be done: everything is there as the files say.\n"
    assert command("import_workflows", folder, "--publish") == said

    file.write_text(
        TEXT.replace("1.0.0", "2.0.0") + "  - type: wait\n    config:\n      duration: 5s\n"
    )
    shown = (
        "orders.yaml: new version 2.0.0 after 1.0.0, a draft\n"
        "  + step step_2 (wait)\n"
        "  The guard: minor; 1.1.0 is the lowest honest number.\n"
    )
    assert command("import_workflows", folder, "--dry-run").startswith(shown)
    assert command("import_workflows", folder, "--yes", "--publish").endswith("1 file imported.\n")
    assert facts()[-1] == ("orders", "2.0.0", "published")
    (folder / "gone.yaml").write_text(TEXT.replace("orders", "gone"))
    (folder / "notes.yaml").write_text("a: 1\n")
    (folder / "README.md").write_text("Ours.\n")
    assert command("export_workflows", folder, "--check") == "1 file unchanged.\n"
    assert capsys.readouterr().err == (
        "gone.yaml: there is no workflow gone\nnotes.yaml: it is no workflow's file and stays\n"
    )
    assert refused(capsys, "export_workflows", folder, "--check", "--prune")[0] == 1
    assert (folder / "gone.yaml").exists()
    command("export_workflows", folder, "--prune")
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["README.md", "notes.yaml", "orders.yaml"]


def test_refusals_name_file_line_and_path(orders: Workflow, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "orders.yaml").write_text(TEXT.replace("noop", "nop") + "    next: pay\n")
    (tmp_path / "bomb.yaml").write_text("a: &a [x]\nb: [*a, *a]\n")
    os.symlink("/etc/hostname", tmp_path / "link.yaml")
    (tmp_path / "folder.yaml").mkdir()
    code, said = refused(capsys, "import_workflows", tmp_path, "--yes")
    assert (code, said) == (2, "4 files refused: nothing is imported.\n")
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("import_workflows", str(tmp_path), stdout=out)
    assert out.getvalue().splitlines() == [
        "bomb.yaml: refused",
        "  bomb.yaml:1:4: $.a: Anchors (&) are not read here: write out what is meant.",
        "  bomb.yaml:2:5: $.b[0]: Aliases (*) are not read here: write out what is meant, or "
        "quote the text.",
        "  bomb.yaml:2:9: $.b[1]: Aliases (*) are not read here: write out what is meant, or "
        "quote the text.",
        "folder.yaml: refused",
        "  folder.yaml: This is no file.",
        "link.yaml: refused",
        "  link.yaml: This is a link that leads out of the folder.",
        "orders.yaml: refused",
        '  orders.yaml:16:11: $.steps[0].next: There is no step "pay" to go to.',
        '  orders.yaml:15:15: $.steps[0].config.action: There is no action "nop". '
        'Did you mean "noop"?',
    ]
    assert facts() == [("orders", "1.0.0", "published")]


def test_nobody_is_asked_where_nobody_can_answer(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "orders.yaml").write_text(TEXT)
    code, said = refused(capsys, "import_workflows", tmp_path)
    assert (code, said) == (
        2,
        "Nobody can be asked here: give --yes to import, or --dry-run.\n",
    )
    UserFactory.create(username="vera", role=Role.VIEWER)
    code, said = refused(capsys, "import_workflows", tmp_path, "--yes", "--as", "vera")
    assert (code, said) == (
        2,
        "vera does not have the permission workflows.change_workflow.\n",
    )
    assert refused(capsys, "import_workflows", tmp_path, "--as", "nobody") == (
        2,
        "There is no active user 'nobody'.\n",
    )
    assert refused(capsys, "import_workflows", tmp_path / "empty") == (
        2,
        f"{tmp_path}/empty can't be read: No such file or directory.\n",
    )
    assert refused(capsys, "export_workflows", tmp_path, "--workflow", "nothing") == (
        2,
        "There is no workflow nothing.\n",
    )
    assert facts() == []


def test_a_link_is_not_written_through(orders: Workflow, tmp_path: Path, capsys: Any) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text("mine: 1\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    os.symlink(outside, folder / "orders.yaml")
    VersionFactory.create(document={**ORDERS, "slug": "a", "name": "A"})
    code, said = refused(capsys, "export_workflows", folder)
    assert (code, said) == (2, f"{folder}/orders.yaml is a link: it is not written through.\n")
    assert outside.read_text() == "mine: 1\n"
    assert [path.name for path in folder.iterdir()] == ["orders.yaml"]


def test_no_file_says_anything_to_the_terminal(tmp_path: Path) -> None:
    text = TEXT.replace("name: Orders", 'name: "Or\\e[31mders"')
    (tmp_path / "orders.yaml").write_text(text)
    said = command("import_workflows", tmp_path, "--dry-run")
    assert said.startswith('orders.yaml: new workflow "Or\ufffd[31mders", version 1.0.0, a draft\n')
    files = {"\x1b[31m.yaml": "mine: 1", "orders.yaml": text}
    lines = list(lines_of(import_files(actor=SYSTEM, files=files, dry_run=True)))
    assert lines[0] == "\ufffd[31m.yaml: refused"
    assert all(line.isprintable() for line in lines)


def test_a_folder_in_the_place_of_a_file_leaves_all_as_it_was(
    orders: Workflow, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "orders.yaml").mkdir()
    VersionFactory.create(document={**ORDERS, "slug": "a", "name": "A"})
    code, said = refused(capsys, "export_workflows", tmp_path)
    assert (code, said) == (2, f"{tmp_path}/orders.yaml is no file: nothing is written.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["orders.yaml"]


# The console

IMPORT = "/admin/workflows/workflow/import/"


def console(role: Role) -> Client:
    client = Client()
    client.force_login(UserFactory.create(role=role, is_staff=True))
    return client


def test_files_are_looked_at_and_then_imported_on_a_page(orders: Workflow) -> None:
    designer = console(Role.DESIGNER)
    text = write_yaml({**STRICTER, "version": "2.0.0"})
    upload = SimpleUploadedFile("orders.yaml", text.encode())
    shown = designer.post(IMPORT, {"files": [upload], "publish": "1"})
    assert shown.status_code == 200
    page = shown.content.decode()
    assert "new version 2.0.0 after 1.0.0, published" in page
    assert "~ input_schema.required: new, [&quot;id&quot;]" in page
    assert len(facts()) == 1
    form = {key: shown.context[key] for key in ("texts",)}
    form |= {"expected": shown.context["shown"].fingerprint, "publish": "1", "import": "1"}
    stale = designer.post(IMPORT, {**form, "expected": "0"})
    assert (stale.status_code, len(facts())) == (400, 1)
    assert "have changed since the difference was shown" in stale.content.decode()
    for broken in ("[" * 100_000, '{"orders.yaml": "name: \\ud800"}', "[1]"):
        gone = designer.post(IMPORT, {**form, "texts": broken})
        assert "are gone: choose them again" in gone.content.decode()
    assert len(facts()) == 1
    assert designer.post(IMPORT, form).status_code == 302
    assert facts()[-1] == ("orders", "2.0.0", "published")


def test_a_pasted_text_is_refused_with_its_lines_and_nothing_to_press(orders: Workflow) -> None:
    page = console(Role.DESIGNER).post(IMPORT, {"pasted": TEXT.replace("noop", "nop")})
    assert page.status_code == 400
    assert "line 15" in page.content.decode()
    assert 'name="import"' not in page.content.decode()
    assert console(Role.DESIGNER).post(IMPORT, {}).status_code == 400
    assert console(Role.VIEWER).get(IMPORT).status_code == 403
    assert facts() == [("orders", "1.0.0", "published")]


def test_a_version_and_all_workflows_are_downloaded(orders: Workflow) -> None:
    viewer = console(Role.VIEWER)
    pages = "/admin/workflows/workflow/"
    file = viewer.get(f"{pages}{orders.pk}/versions/1.0.0/yaml/")
    assert (file.content.decode(), file["Content-Disposition"]) == (
        TEXT,
        'attachment; filename="orders-1.0.0.yaml"',
    )
    archive = viewer.get(f"{pages}export/")
    assert archive.content == zipped(export_workflows(actor=SYSTEM).files)
