"""Importing files in a browser: what differs is shown, then one button."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from autopilot.accounts.roles import Role
from tests.console.conftest import Visit
from tests.factories import VersionFactory, document
from workflows.definition.text import write_yaml
from workflows.models import WorkflowVersion

pytestmark = [pytest.mark.console, pytest.mark.django_db(transaction=True)]

MakeVisit = Callable[..., Visit]


@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 390)])
def test_files_are_imported(visit: MakeVisit, tmp_path: Path, dark: bool, width: int) -> None:
    orders = document(name="Orders", slug="orders")
    VersionFactory.create(document=orders)
    more = [*orders["steps"], {"name": "Wait", "type": "wait", "config": {"duration": "1h"}}]
    changed = {**orders, "description": "Takes orders.", "steps": more}
    (tmp_path / "orders.yaml").write_text(write_yaml(changed))
    (tmp_path / "fresh.yaml").write_text(write_yaml({**orders, "name": "Fresh", "slug": "fresh"}))
    (tmp_path / "bad.yaml").write_text("name: &n Bad\nsteps:\n  - type: wat\n")
    designer = visit(Role.DESIGNER, dark=dark, width=width)
    designer.open("/admin/workflows/workflow/")
    designer.press("Import", role="link")
    assert designer.violations() == []
    shot(designer, f"form-{width}")
    choose(designer, tmp_path, "orders.yaml", "bad.yaml")
    designer.wait_for("1 file refused, so nothing can be imported.")
    assert designer.violations() == []
    shot(designer, f"refused-{width}")
    choose(designer, tmp_path, "orders.yaml", "fresh.yaml")
    designer.wait_for("2 files to be imported. Nothing is changed yet.")
    assert (designer.violations(), designer.overflow()) == ([], 0)
    shot(designer, f"shown-{width}")
    designer.press("Import as drafts")
    designer.wait_for("2 files imported.")
    shot(designer, f"list-{width}")
    drafts = WorkflowVersion.objects.filter(state="draft").order_by("version")
    assert [str(row) for row in drafts] == ["fresh 1.0.0", "orders 1.1.0"]
    row = drafts[1]
    designer.open(f"/admin/workflows/workflow/{row.workflow_id}/versions/1.1.0/")
    shot(designer, f"version-{width}")


def choose(designer: Visit, folder: Path, *names: str) -> None:
    paths = [folder / name for name in names]
    designer.do(lambda page: page.get_by_label("Files", exact=True).set_input_files(paths))
    designer.press("Show what differs")


def shot(designer: Visit, name: str) -> None:
    if os.environ.get("SHOTS"):
        path = f"{os.environ['SHOTS']}/{name}.png"
        designer.do(lambda page: page.screenshot(path=path, full_page=True))
