"""What the database itself refuses, whatever code may try."""

from __future__ import annotations

import re
from importlib import import_module
from itertools import product
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django_fsm import TransitionNotAllowed, can_proceed

from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Role
from autopilot.common import clock
from tests.factories import DraftFactory, VersionFactory, actor_with
from workflows import services
from workflows.models import WorkflowVersion
from workflows.versioning.review import ReviewVerdict
from workflows.versioning.states import MOVES, VersionState

pytestmark = pytest.mark.django_db

TABLE = "workflows_workflowversion"
SYSTEM = Actor.system("tests")


def run(sql: str, *values: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, values or None)


def row(version: WorkflowVersion) -> dict[str, Any]:
    return WorkflowVersion.objects.filter(pk=version.pk).values().get()


FROZEN = {
    "definition": '\'{"name": "Other"}\'',
    "content_hash": f"'{'0' * 64}'",
    "version": "'9.0.0', major = 9",
    "major": "major + 1, version = '2.0.0'",
    "minor": "minor + 1, version = '1.1.0'",
    "patch": "patch + 1, version = '1.0.1'",
    "changelog": "'Other'",
    "workflow_id": "workflow_id + 1",
    "author_id": "1",
    "created_at": "now()",
    "published_at": "now()",
    "id": "id + 1000",
}


@pytest.mark.parametrize("state", [VersionState.PUBLISHED, VersionState.DEPRECATED])
@pytest.mark.parametrize("column", sorted(FROZEN))
def test_a_published_version_keeps_every_column(column: str, state: VersionState) -> None:
    version = in_state(state)
    before = row(version)
    slug = re.escape(version.workflow.slug)
    sentence = f"Version 1.0.0 of workflow {slug} is {state} and frozen: create a new version"
    with pytest.raises(IntegrityError, match=sentence):
        run(f"UPDATE {TABLE} SET {column} = {FROZEN[column]} WHERE id = %s", version.pk)
    assert row(version) == before


def test_content_does_not_change_along_with_a_legal_move() -> None:
    version = VersionFactory()
    with pytest.raises(IntegrityError, match="is published and frozen"):
        run(
            f"UPDATE {TABLE} SET state = 'deprecated', definition = '{{}}' WHERE id = %s",
            version.pk,
        )
    assert row(version)["state"] == "published"


def test_a_published_version_is_not_deleted() -> None:
    version = VersionFactory()
    with pytest.raises(IntegrityError, match="is published and can not be deleted: only a draft"):
        run(f"DELETE FROM {TABLE} WHERE id = %s", version.pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        WorkflowVersion.objects.all().delete()
    assert WorkflowVersion.objects.count() == 1


def test_a_draft_may_change_and_go() -> None:
    draft = DraftFactory()
    run(f"UPDATE {TABLE} SET changelog = 'x', version = '2.0.0', major = 2 WHERE id = %s", draft.pk)
    assert row(draft)["version"] == "2.0.0"
    run(f"DELETE FROM {TABLE} WHERE id = %s", draft.pk)
    assert WorkflowVersion.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_truncate_empties_the_table() -> None:
    VersionFactory()
    run(f"TRUNCATE {TABLE} CASCADE")
    assert WorkflowVersion.objects.count() == 0


def test_the_migration_goes_back_and_forth() -> None:
    migration = import_module("workflows.migrations.0006_history_is_kept")
    version = VersionFactory()
    move = f"UPDATE {TABLE} SET state = %s WHERE id = %s"
    run(move, "deprecated", version.pk)
    run(migration.BACKWARD)
    with pytest.raises(IntegrityError, match="can not go from deprecated to published"):
        run(move, "published", version.pk)
    version.transitions.update(reason="Other")
    run(migration.FORWARD)
    run(move, "published", version.pk)
    with pytest.raises(IntegrityError, match="is history"), transaction.atomic():
        version.transitions.update(reason="More")


def in_state(state: VersionState) -> WorkflowVersion:
    if state == VersionState.DRAFT:
        return DraftFactory()
    version = VersionFactory()
    for move in (services.deprecate_version, services.archive_version):
        if version.state == state:
            break
        version = move(actor=SYSTEM, version=version)
    assert version.state == state
    return version


ALLOWED = {(move.source, move.target) for move in MOVES}


@pytest.mark.parametrize(("source", "target"), list(product(VersionState, VersionState)))
def test_the_trigger_knows_the_same_moves_as_the_table(
    source: VersionState, target: VersionState
) -> None:
    version = in_state(source)
    # What another constraint asks for is given, so that only the move itself is judged.
    also = ", published_at = now()" if source == VersionState.DRAFT != target else ""
    sql = f"UPDATE {TABLE} SET state = %s{also} WHERE id = %s"
    if source == target or (source, target) in ALLOWED:
        run(sql, target, version.pk)
        assert row(version)["state"] == target
        return
    with pytest.raises(IntegrityError, match=f"can not go from {source} to {target}"):
        run(sql, target, version.pk)
    assert row(version)["state"] == source


@pytest.mark.parametrize("state", list(VersionState))
def test_the_model_knows_the_same_moves_as_the_table(state: VersionState) -> None:
    version = in_state(state)
    verbs = {move.name for move in MOVES}
    assert {verb for verb in verbs if can_proceed(getattr(version, verb))} == {
        move.name for move in MOVES if move.source == state
    }
    for verb in verbs - {move.name for move in MOVES if move.source == state}:
        arguments = {"at": clock.now()} if verb == "publish" else {}
        with pytest.raises(TransitionNotAllowed):
            getattr(version, verb)(**arguments)


def test_the_state_is_not_assigned() -> None:
    with pytest.raises(AttributeError):
        VersionFactory().state = VersionState.DRAFT


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("state = 'odd'", "can not go from draft to odd"),
        ("version = '1.0.1'", "version_numbers_agree"),
        ("major = -1, version = '-1.0.0'", "major"),
        ("published_at = now()", "version_published_at_set"),
        ("state = 'published'", "version_published_at_set"),
        ("content_hash = 'x'", "version_hash_form"),
    ],
)
def test_a_draft_keeps_to_the_constraints(change: str, constraint: str) -> None:
    draft = DraftFactory()
    before = row(draft)
    with pytest.raises(DatabaseError, match=constraint):
        run(f"UPDATE {TABLE} SET {change} WHERE id = %s", draft.pk)
    assert row(draft) == before


def test_what_has_happened_to_a_version_is_kept() -> None:
    draft = DraftFactory()
    services.review_version(
        actor=actor_with(Role.DESIGNER),
        version=draft,
        verdict=ReviewVerdict.APPROVED,
        content_hash=draft.content_hash,
    )
    version = services.publish_version(actor=SYSTEM, version=draft)
    for kept in (version.transitions, version.reviews):
        before = list(kept.values())
        for change in (lambda rows: rows.update(at=clock.now()), lambda rows: rows.all().delete()):
            with pytest.raises(IntegrityError, match="is history"), transaction.atomic():
                change(kept)
        assert list(kept.values()) == before != []


def test_one_draft_and_one_row_per_number() -> None:
    draft = DraftFactory()
    copy = "INSERT INTO {0} ({1}) SELECT {2} FROM {0} WHERE id = %s"
    columns = [
        field.column for field in WorkflowVersion._meta.concrete_fields if not field.primary_key
    ]
    names = ", ".join(columns)
    with pytest.raises(IntegrityError, match="version_unique"):
        run(copy.format(TABLE, names, names), draft.pk)
    other = ", ".join(
        {"version": "'2.0.0'", "major": "2"}.get(column, column) for column in columns
    )
    with pytest.raises(IntegrityError, match="version_one_draft"):
        run(copy.format(TABLE, names, other), draft.pk)


@pytest.mark.parametrize("slug", ["", "A", "a b", "-a", "a--b", "a\n"])
def test_a_slug_has_its_form_in_the_database_too(slug: str) -> None:
    workflow = DraftFactory().workflow
    with pytest.raises(IntegrityError, match="workflow_slug_form"):
        run("UPDATE workflows_workflow SET slug = %s WHERE id = %s", slug, workflow.pk)
