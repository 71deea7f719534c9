from __future__ import annotations

from typing import Any

import pytest

from autopilot.accounts.actors import Actor
from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from autopilot.common.errors import Conflict, Invalid, PermissionDenied
from tests.factories import DraftFactory, VersionFactory, actor_with, document
from workflows import services
from workflows.definition.compiled import DefinitionError, content_hash
from workflows.models import Workflow, WorkflowVersion
from workflows.versioning.states import VersionState

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("tests")


def create(**fields: Any) -> WorkflowVersion:
    return services.create_workflow(actor=SYSTEM, document=document(**fields))


def codes(error: Any) -> list[tuple[str, str]]:
    return [(problem.path, problem.code) for problem in error.value.details]


# Creating


def test_the_seed_form_becomes_a_workflow_with_a_draft() -> None:
    actor = actor_with(Role.DESIGNER)
    draft = services.create_workflow(actor=actor, document=document(labels={"team": "crm"}))
    workflow = draft.workflow
    assert (workflow.slug, workflow.name, workflow.description, workflow.labels) == (
        "example-workflow",
        "Example Workflow",
        "A sample workflow",
        {"team": "crm"},
    )
    assert (draft.version, draft.number.numbers, draft.state) == ("1.0.0", (1, 0, 0), "draft")
    assert (draft.author_id, workflow.created_by_id, draft.published_at) == (
        actor.id,
        actor.id,
        None,
    )
    assert draft.definition["steps"] == [
        {"id": "step_1", "name": "Step 1", "type": "action", "config": {"action": "noop"}}
    ]
    assert draft.content_hash == content_hash(draft.definition)


def test_slug_and_version_are_columns_and_not_content() -> None:
    draft = create(slug="orders", version="2.1.0")
    assert (draft.workflow.slug, draft.version) == ("orders", "2.1.0")
    assert "slug" not in draft.definition
    assert "version" not in draft.definition
    assert draft.document["slug"] == "orders"
    assert draft.document["version"] == "2.1.0"
    assert draft.document["steps"] == draft.definition["steps"]


def test_a_slug_that_is_derived_gets_a_suffix() -> None:
    assert [create().workflow.slug for _ in range(3)] == [
        "example-workflow",
        "example-workflow-2",
        "example-workflow-3",
    ]


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Überweisung prüfen!", "uberweisung-prufen"),
        ("東京", "workflow"),
        ("Validate", "validate-2"),
        ("a_b", "a-b"),
        ("x" * 200, "x" * 100),
    ],
)
def test_what_slugs_are_derived_from_names(name: str, slug: str) -> None:
    assert create(name=name).workflow.slug == slug


def test_long_names_get_a_suffix_within_the_bound() -> None:
    create(name="x" * 200)
    assert create(name="x" * 200).workflow.slug == "x" * 98 + "-2"


def test_a_slug_that_is_named_and_taken_is_a_conflict() -> None:
    create(slug="orders")
    with pytest.raises(Conflict) as caught:
        create(slug="orders", name="Other")
    assert codes(caught) == [("$.slug", "slug.taken")]
    assert caught.value.message == "There is a workflow with the slug 'orders' already."
    assert list(Workflow.objects.values_list("name", flat=True)) == ["Example Workflow"]


def test_a_slug_that_is_a_word_of_the_api_is_refused() -> None:
    with pytest.raises(Invalid) as caught:
        create(slug="validate")
    assert codes(caught) == [("$.slug", "slug.reserved")]
    assert Workflow.objects.count() == 0


def test_every_problem_comes_at_once_and_nothing_is_saved() -> None:
    broken = {
        "version": "1.0",
        "colour": "red",
        "steps": [
            {"id": "a", "type": "action", "config": {"action": "nop"}, "next": "nowhere"},
            {"id": "a", "type": "magic", "config": {}},
        ],
    }
    with pytest.raises(DefinitionError) as caught:
        services.create_workflow(actor=SYSTEM, document=broken)
    found = codes(caught)
    assert {
        ("$.name", "field.missing"),
        ("$.version", "field.version"),
        ("$.colour", "field.unknown"),
        ("$.steps[1].type", "step.type_unknown"),
        ("$.steps[0].config.action", "action.unknown"),
    } <= set(found)
    assert Workflow.objects.count() == WorkflowVersion.objects.count() == 0
    assert AuditEntry.objects.count() == 0


@pytest.mark.parametrize("version", ["1.0.0-rc.1", "01.0.0", "1.0", "v1.0.0", 1])
def test_a_version_that_is_no_release_number_is_refused(version: object) -> None:
    with pytest.raises(DefinitionError) as caught:
        create(version=version)
    assert codes(caught) == [("$.version", "field.version" if version != 1 else "field.type")]
    assert Workflow.objects.count() == 0


# Further versions


def test_the_next_version_is_a_minor_bump_of_the_highest() -> None:
    first = VersionFactory(document=document(version="1.9.3"))
    draft = services.create_version(actor=SYSTEM, workflow=first.workflow, document=document())
    assert draft.version == "1.10.0"
    assert draft.state == VersionState.DRAFT


def test_the_version_may_be_named_beside_or_in_the_document() -> None:
    first = VersionFactory()
    workflow = first.workflow
    draft = services.create_version(
        actor=SYSTEM, workflow=workflow, document=document(), version="2.0.0"
    )
    assert draft.version == "2.0.0"
    services.delete_draft(actor=SYSTEM, version=draft)
    draft = services.create_version(
        actor=SYSTEM, workflow=workflow, document=document(version="3.0.0"), version="3.0.0"
    )
    assert draft.version == "3.0.0"


@pytest.mark.parametrize(
    ("version", "code"), [("1.0.0", "version.taken"), ("0.9.0", "version.too_low")]
)
def test_a_version_must_be_above_every_published_one(version: str, code: str) -> None:
    first = VersionFactory()
    with pytest.raises(Conflict) as caught:
        services.create_version(
            actor=SYSTEM, workflow=first.workflow, document=document(), version=version
        )
    assert codes(caught) == [("$.version", code)]
    assert first.workflow.versions.count() == 1


def test_two_numbers_that_differ_are_refused() -> None:
    first = VersionFactory()
    with pytest.raises(DefinitionError) as caught:
        services.create_version(
            actor=SYSTEM,
            workflow=first.workflow,
            document=document(version="1.2.0"),
            version="1.3.0",
        )
    assert codes(caught) == [("$.version", "version.mismatch")]


def test_another_slug_in_the_document_is_refused() -> None:
    first = VersionFactory()
    with pytest.raises(DefinitionError) as caught:
        services.create_version(
            actor=SYSTEM, workflow=first.workflow, document=document(slug="elsewhere")
        )
    assert codes(caught) == [("$.slug", "slug.mismatch")]


def test_there_is_one_draft_at_a_time() -> None:
    draft = DraftFactory()
    with pytest.raises(Conflict) as caught:
        services.create_version(actor=SYSTEM, workflow=draft.workflow, document=document())
    assert caught.value.message == (
        f"The workflow {draft.workflow.slug} has the draft 1.0.0 already: change, publish or "
        "delete it first."
    )


# Changing a draft


def test_a_draft_takes_new_content_and_keeps_its_number() -> None:
    draft = DraftFactory()
    changed = services.update_draft(
        actor=SYSTEM, version=draft, document=document(output="done"), changelog="Says done."
    )
    stored = WorkflowVersion.objects.get(pk=draft.pk)
    assert stored.version == "1.0.0"
    assert stored.definition["output"] == "done"
    assert stored.changelog == "Says done."
    assert stored.content_hash == changed.content_hash != draft.content_hash
    assert stored.updated_at > draft.updated_at


def test_a_draft_takes_another_number() -> None:
    draft = DraftFactory()
    services.update_draft(actor=SYSTEM, version=draft, document=document(version="4.0.0"))
    assert WorkflowVersion.objects.get(pk=draft.pk).number.numbers == (4, 0, 0)


def test_a_broken_change_leaves_the_draft_as_it_was() -> None:
    draft = DraftFactory()
    with pytest.raises(DefinitionError):
        services.update_draft(actor=SYSTEM, version=draft, document=document(steps=[]))
    assert WorkflowVersion.objects.get(pk=draft.pk).definition == draft.definition


def test_a_published_version_is_not_changed_published_or_deleted() -> None:
    version = VersionFactory()
    for change in (
        lambda: services.update_draft(actor=SYSTEM, version=version, document=document()),
        lambda: services.publish_version(actor=SYSTEM, version=version),
        lambda: services.delete_draft(actor=SYSTEM, version=version),
    ):
        with pytest.raises(Conflict) as caught:
            change()
        assert codes(caught) == [("$.state", "version.not_draft")]
    assert WorkflowVersion.objects.get(pk=version.pk).definition == version.definition


def test_a_deleted_draft_is_gone() -> None:
    draft = DraftFactory()
    services.delete_draft(actor=SYSTEM, version=draft)
    assert draft.workflow.versions.count() == 0
    with pytest.raises(Conflict, match="somebody deleted the draft"):
        services.publish_version(actor=SYSTEM, version=draft)


# Publishing


def test_publishing_freezes_the_draft() -> None:
    draft = DraftFactory()
    version = services.publish_version(actor=SYSTEM, version=draft)
    stored = WorkflowVersion.objects.get(pk=draft.pk)
    assert stored.state == version.state == VersionState.PUBLISHED
    assert stored.published_at == version.published_at
    assert stored.content_hash == content_hash(stored.definition)


def test_publishing_validates_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from workflows.actions.registry import registry

    draft = DraftFactory()
    monkeypatch.delitem(registry._actions, "noop")
    with pytest.raises(DefinitionError) as caught:
        services.publish_version(actor=SYSTEM, version=draft)
    assert codes(caught) == [("$.steps[0].config.action", "action.unknown")]
    assert WorkflowVersion.objects.get(pk=draft.pk).state == VersionState.DRAFT


# The workflow itself


def test_name_description_and_labels_change_without_touching_versions() -> None:
    version = VersionFactory()
    before = version.workflow.updated_at
    changed = services.update_workflow(
        actor=SYSTEM, workflow=version.workflow, name="New", labels={"team": "crm"}
    )
    stored = Workflow.objects.get(pk=changed.pk)
    assert (stored.name, stored.labels) == ("New", {"team": "crm"})
    assert stored.description == "A sample workflow"
    assert stored.updated_at > before
    assert WorkflowVersion.objects.get(pk=version.pk).content_hash == version.content_hash


@pytest.mark.parametrize(
    ("fields", "path", "code"),
    [
        ({"name": ""}, "$.name", "field.too_short"),
        ({"name": "x" * 201}, "$.name", "field.too_long"),
        ({"name": "a\x00b"}, "$.name", "json.text"),
        ({"labels": {"a b": "c"}}, '$.labels["a b"]', "field.label"),
        ({"labels": []}, "$.labels", "field.type"),
        ({"description": 5}, "$.description", "field.type"),
    ],
)
def test_a_bad_head_is_refused(fields: dict[str, Any], path: str, code: str) -> None:
    workflow = DraftFactory().workflow
    with pytest.raises(Invalid) as caught:
        services.update_workflow(actor=SYSTEM, workflow=workflow, **fields)
    assert codes(caught) == [(path, code)]
    assert Workflow.objects.get(pk=workflow.pk).updated_at == workflow.updated_at


def test_a_change_to_the_same_changes_nothing() -> None:
    workflow = DraftFactory().workflow
    count = AuditEntry.objects.count()
    services.update_workflow(actor=SYSTEM, workflow=workflow, name=workflow.name)
    assert Workflow.objects.get(pk=workflow.pk).updated_at == workflow.updated_at
    assert AuditEntry.objects.count() == count


# Which version runs


def test_a_start_runs_the_highest_published_version() -> None:
    workflow = VersionFactory(document=document(version="1.9.0")).workflow
    draft = services.create_version(
        actor=SYSTEM, workflow=workflow, document=document(), version="1.10.0"
    )
    assert services.resolve_version(workflow=workflow).version == "1.9.0"
    services.publish_version(actor=SYSTEM, version=draft)
    assert services.resolve_version(workflow=workflow).version == "1.10.0"
    assert services.resolve_version(workflow=workflow, version="1.9.0").version == "1.9.0"


def test_a_deprecated_version_runs_only_by_its_number() -> None:
    version = VersionFactory()
    version.deprecate()
    version.save()
    with pytest.raises(Conflict, match="has no published version to start"):
        services.resolve_version(workflow=version.workflow)
    assert services.resolve_version(workflow=version.workflow, version="1.0.0") == version
    version.archive()
    version.save()
    with pytest.raises(Conflict) as caught:
        services.resolve_version(workflow=version.workflow, version="1.0.0")
    assert codes(caught) == [("$.version", "version.not_startable")]


@pytest.mark.parametrize(
    ("version", "error", "code"),
    [
        ("7.0.0", Invalid, "version.unknown"),
        ("latest", Invalid, "field.version"),
        ("1.0.0", Conflict, "version.not_startable"),
    ],
)
def test_a_version_that_can_not_be_started(version: str, error: type, code: str) -> None:
    workflow = DraftFactory().workflow
    with pytest.raises(error) as caught:
        services.resolve_version(workflow=workflow, version=version)
    assert codes(caught) == [("$.version", code)]


# Who may, and what is written down


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_who_only_reads_changes_nothing(role: Role) -> None:
    draft = DraftFactory()
    actor = actor_with(role)
    workflow = draft.workflow
    for change in (
        lambda: services.create_workflow(actor=actor, document=document()),
        lambda: services.create_version(actor=actor, workflow=workflow, document=document()),
        lambda: services.update_draft(actor=actor, version=draft, document=document(output="done")),
        lambda: services.delete_draft(actor=actor, version=draft),
        lambda: services.publish_version(actor=actor, version=draft),
        lambda: services.update_workflow(actor=actor, workflow=workflow, name="Mine"),
    ):
        with pytest.raises(PermissionDenied):
            change()
    (stored,) = WorkflowVersion.objects.all()
    assert (stored.state, stored.definition) == ("draft", draft.definition)
    assert Workflow.objects.get().name == workflow.name


def test_who_has_no_role_sees_nothing() -> None:
    DraftFactory()
    nobody = actor_with()
    assert not Workflow.objects.visible_to(nobody).exists()
    assert not WorkflowVersion.objects.visible_to(nobody).exists()
    with pytest.raises(PermissionDenied):
        services.validate(actor=nobody, document=document())
    assert Workflow.objects.visible_to(actor_with(Role.VIEWER)).count() == 1


def test_every_change_is_in_the_audit_trail() -> None:
    actor = actor_with(Role.DESIGNER)
    seen = AuditEntry.objects.order_by("-id").values_list("id", flat=True).first() or 0
    draft = services.create_workflow(actor=actor, document=document())
    services.update_draft(actor=actor, version=draft, document=document(output="done"))
    services.publish_version(actor=actor, version=draft)
    services.update_workflow(actor=actor, workflow=draft.workflow, name="New")
    second = services.create_version(actor=actor, workflow=draft.workflow, document=document())
    services.delete_draft(actor=actor, version=second)
    rows = AuditEntry.objects.filter(id__gt=seen).order_by("id")
    assert [(row.action, row.target_name, row.actor_id) for row in rows] == [
        ("workflow.created", "example-workflow", str(actor.id)),
        ("workflow.version_created", "example-workflow 1.0.0", str(actor.id)),
        ("workflow.version_updated", "example-workflow 1.0.0", str(actor.id)),
        ("workflow.published", "example-workflow 1.0.0", str(actor.id)),
        ("workflow.updated", "example-workflow", str(actor.id)),
        ("workflow.version_created", "example-workflow 1.1.0", str(actor.id)),
        ("workflow.version_deleted", "example-workflow 1.1.0", str(actor.id)),
    ]
    updated = rows.get(action="workflow.updated")
    assert (updated.before, updated.after) == ({"name": "Example Workflow"}, {"name": "New"})


# Parameters of actions


def call_log(**params: Any) -> dict[str, Any]:
    config = {"action": "log", "with": params}
    return document(steps=[{"name": "Say", "type": "action", "config": config}])


def test_literal_parameters_are_checked_when_a_definition_is_saved() -> None:
    problems = services.validate(
        actor=SYSTEM, document=call_log(message="", level="{{ input.level }}", colour="red")
    )
    assert [(problem.path, problem.code) for problem in problems] == [
        ("$.steps[0].config.with.message", "field.invalid"),
        ("$.steps[0].config.with.colour", "field.unknown"),
    ]


def test_a_missing_parameter_is_found_beside_a_template() -> None:
    problems = services.validate(actor=SYSTEM, document=call_log(level="{{ input.level }}"))
    assert [(problem.path, problem.code) for problem in problems] == [
        ("$.steps[0].config.with.message", "field.missing"),
    ]


def test_parameters_from_templates_are_left_to_the_run() -> None:
    message = "Hello {{ input.name }}"
    document_ = call_log(message=message, fields={"n": "{{ input.n }}"})
    assert services.validate(actor=SYSTEM, document=document_) == []
