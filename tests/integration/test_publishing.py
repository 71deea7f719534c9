"""Publishing with the guard and with reviews, and the life of a version after that."""

from __future__ import annotations

from typing import Any

import pytest

from autopilot.accounts.actors import Actor
from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from autopilot.common.errors import (
    Conflict,
    DomainError,
    Invalid,
    PermissionDenied,
    PreconditionFailed,
)
from tests.factories import DraftFactory, VersionFactory, actor_with, document
from workflows import services
from workflows.errors import MoveRefused, NotReviewed, OwnReview, RangeUnsatisfied, VersionTooSmall
from workflows.models import VersionReview, VersionTransition, Workflow, WorkflowVersion
from workflows.reviewing import review_state
from workflows.versioning.review import ReviewVerdict

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("tests")
APPROVED, CHANGES = ReviewVerdict.APPROVED, ReviewVerdict.CHANGES_REQUESTED
LOOSE = {"type": "object", "properties": {"id": {"type": "integer"}}}
STRICT = {**LOOSE, "required": ["id"]}
NARROWED = (
    "$.input_schema.required",
    "input.narrowed",
    'An input that was taken is refused now: The field "id" is missing.',
)


def told(error: DomainError) -> list[tuple[str, str, str]]:
    return [(each.path, each.code, each.message) for each in error.details]


def stored(version: WorkflowVersion) -> dict[str, Any]:
    return WorkflowVersion.objects.filter(pk=version.pk).values().get()


@pytest.fixture
def first() -> WorkflowVersion:
    return VersionFactory.create(document=document(slug="orders", input_schema=LOOSE))


def drafted(workflow: Workflow, actor: Actor = SYSTEM, **fields: Any) -> WorkflowVersion:
    content = document(**{"input_schema": LOOSE, **fields})
    return services.create_version(actor=actor, workflow=workflow, document=content)


def published(workflow: Workflow, **fields: Any) -> WorkflowVersion:
    return services.publish_version(actor=SYSTEM, version=drafted(workflow, **fields))


# The guard


def test_a_number_below_the_honest_one_is_refused_with_the_reasons(first: WorkflowVersion) -> None:
    draft = drafted(first.workflow, input_schema=STRICT, output="done")
    before = stored(draft)
    with pytest.raises(VersionTooSmall) as caught:
        services.publish_version(actor=SYSTEM, version=draft)
    assert caught.value.message == (
        "Version 1.1.0 of the workflow orders is too small: after 1.0.0 the lowest honest number "
        "is 2.0.0. See the reasons in details."
    )
    # What the number does say, such as the new output, is no reason against it.
    assert told(caught.value) == [NARROWED]
    assert stored(draft) == before
    assert VersionTransition.objects.filter(version=draft).count() == 0


def test_what_is_unknown_blocks_like_what_breaks(first: WorkflowVersion) -> None:
    def with_code(pattern: str) -> dict[str, Any]:
        code = {"type": "string", "pattern": pattern}
        return {"type": "object", "properties": {"code": code}}

    published(first.workflow, version="2.0.0", input_schema=with_code("^(a|b)+c{2,}$"))
    draft = drafted(first.workflow, input_schema=with_code("^[ab]+c{2,9}$"))
    with pytest.raises(VersionTooSmall) as caught:
        services.publish_version(actor=SYSTEM, version=draft)
    ((path, kind, sentence),) = told(caught.value)
    assert (path, kind) == ("$.input_schema", "input.unknown")
    assert sentence.startswith("Whether this breaks anybody is unknown, which counts as breaking.")


def test_the_honest_number_is_taken_at_publishing(first: WorkflowVersion) -> None:
    draft = drafted(first.workflow, input_schema=STRICT)
    version = services.publish_version(actor=SYSTEM, version=draft, number="suggest")
    assert (version.version, version.number.numbers) == ("2.0.0", (2, 0, 0))
    (row,) = version.transitions.all()
    assert (row.source, row.target, row.reason, row.actor) == ("draft", "published", "", "tests")
    assert {key: row.judgement[key] for key in ("version", "against", "bump", "enough")} == {
        "version": "2.0.0",
        "against": "1.0.0",
        "bump": "major",
        "enough": True,
    }


def test_a_number_is_given_at_publishing(first: WorkflowVersion) -> None:
    draft = drafted(first.workflow, description="Told anew.")
    with pytest.raises(Invalid) as caught:
        services.publish_version(actor=SYSTEM, version=draft, number="1.2")
    assert [each.path for each in caught.value.details] == ["$.version"]
    with pytest.raises(Conflict, match=r"has a version 1\.0\.0 already"):
        services.publish_version(actor=SYSTEM, version=draft, number="1.0.0")
    assert stored(draft)["version"] == "1.1.0"
    version = services.publish_version(actor=SYSTEM, version=draft, number="1.0.1")
    assert stored(version)["version"] == "1.0.1"
    entry = AuditEntry.objects.filter(action="workflow.published").latest("id")
    assert (entry.before["version"], entry.after["version"]) == ("1.1.0", "1.0.1")


def test_who_may_overrides_the_guard_and_says_why(first: WorkflowVersion) -> None:
    draft = drafted(first.workflow, input_schema=STRICT)
    designer, administrator = actor_with(Role.DESIGNER), actor_with(Role.ADMINISTRATOR)
    with pytest.raises(PermissionDenied, match=r"workflows\.override_guard"):
        services.publish_version(actor=designer, version=draft, override_reason="I am sure.")
    with pytest.raises(VersionTooSmall):
        services.publish_version(actor=administrator, version=draft, override_reason="  ")
    assert stored(draft)["state"] == "draft"
    version = services.publish_version(
        actor=administrator, version=draft, override_reason="Everybody sends an id."
    )
    (row,) = version.transitions.all()
    assert (row.reason, row.actor) == ("Everybody sends an id.", administrator.name)
    assert row.at == version.published_at
    assert (row.judgement["enough"], row.judgement["suggested"]) == (False, "2.0.0")
    assert row.judgement["reasons"][0]["path"] == NARROWED[0]
    entry = AuditEntry.objects.filter(action="workflow.published").latest("id")
    assert entry.after["override_reason"] == "Everybody sends an id."


def test_an_older_line_goes_on_beside_a_newer_one(first: WorkflowVersion) -> None:
    workflow = first.workflow
    published(workflow, input_schema=STRICT, version="2.0.0")
    # Compared with what those get who start ^1, and not with 2.0.0.
    assert published(workflow, version="1.0.1", description="Told anew.").version == "1.0.1"
    assert services.resolve_version(workflow=workflow).version == "2.0.0"
    assert services.resolve_version(workflow=workflow, version="^1").version == "1.0.1"
    draft = drafted(workflow, version="1.1.0", input_schema=STRICT)
    with pytest.raises(VersionTooSmall, match=r"after 1\.0\.1 the lowest honest number is 3\.0\.0"):
        services.publish_version(actor=SYSTEM, version=draft)
    for number in ("1.0.0", "0.9.0"):
        with pytest.raises(Conflict):
            services.publish_version(actor=SYSTEM, version=draft, number=number)


def test_what_nobody_can_start_is_not_compared_with(first: WorkflowVersion) -> None:
    workflow = first.workflow
    mistake = published(workflow, input_schema=LOOSE | {"required": []}, output="a")
    services.deprecate_version(actor=SYSTEM, version=mistake)
    draft = drafted(workflow, version="1.1.1")
    with pytest.raises(VersionTooSmall, match=r"after 1\.1\.0 the lowest honest number is 1\.2\.0"):
        services.publish_version(actor=SYSTEM, version=draft)
    services.archive_version(actor=SYSTEM, version=mistake)
    # Nothing differs from 1.0.0; the number still has to be above what was ever published.
    assert services.publish_version(actor=SYSTEM, version=draft, number="suggest").version == (
        "1.1.1"
    )


# Reviews


@pytest.fixture
def reviewed(first: WorkflowVersion) -> Workflow:
    return services.require_review(actor=SYSTEM, workflow=first.workflow, required=True)


def approve(actor: Actor, draft: WorkflowVersion, **fields: Any) -> VersionReview:
    wanted = {"verdict": APPROVED, "content_hash": draft.content_hash, **fields}
    return services.review_version(actor=actor, version=draft, **wanted)


def test_another_person_approves_what_is_published(reviewed: Workflow) -> None:
    author, other = actor_with(Role.DESIGNER), actor_with(Role.DESIGNER)
    draft = drafted(reviewed, author)
    with pytest.raises(NotReviewed) as caught:
        services.publish_version(actor=author, version=draft)
    assert caught.value.message == (
        "Version 1.1.0 of the workflow orders needs the approval of somebody with the permission "
        "workflows.review_workflow (by role: Administrator and Designer), other than "
        f"{author.name}, who wrote it."
    )
    with pytest.raises(OwnReview):
        approve(author, draft)
    approve(other, draft, comment="Fine.")
    assert services.publish_version(actor=author, version=draft).state == "published"
    assert review_state(draft).approved_by == (other.name,)


def test_any_change_asks_again(reviewed: Workflow) -> None:
    author, editor, other = (actor_with(Role.DESIGNER) for _ in range(3))
    draft = drafted(reviewed, author)
    approve(other, draft)
    approve(editor, draft)
    changed = services.update_draft(
        actor=editor, version=draft, document=document(input_schema=LOOSE, output="b")
    )
    with pytest.raises(NotReviewed, match="It was changed since it was approved"):
        services.publish_version(actor=author, version=draft)
    # Neither what was read before nor a hand in it makes an approval.
    with pytest.raises(PreconditionFailed):
        approve(other, changed, content_hash=draft.content_hash)
    for writer in (author, editor):
        with pytest.raises(OwnReview):
            approve(writer, changed)
    approve(other, changed)
    # Another number is another promise.
    with pytest.raises(NotReviewed):
        services.publish_version(actor=author, version=changed, number="1.2.0")
    assert stored(draft)["version"] == "1.1.0"
    services.publish_version(actor=author, version=changed)
    assert VersionReview.objects.filter(version=draft).count() == 3


def test_whoever_asks_for_changes_is_heard(reviewed: Workflow) -> None:
    author, one, other = (actor_with(Role.DESIGNER) for _ in range(3))
    draft = drafted(reviewed, author)
    approve(one, draft)
    with pytest.raises(Invalid) as caught:
        approve(other, draft, verdict=CHANGES, comment=" ")
    assert told(caught.value)[0][:2] == ("$.comment", "review.comment_missing")
    approve(other, draft, verdict=CHANGES, comment="The id has to be there.")
    with pytest.raises(NotReviewed, match=f"^{other.name} asked for changes in version 1.1.0"):
        services.publish_version(actor=author, version=draft)
    approve(other, draft)
    services.publish_version(actor=author, version=draft)


def test_who_reviews_and_who_says_that_it_is_needed(first: WorkflowVersion) -> None:
    draft = drafted(first.workflow)
    for role in (Role.VIEWER, Role.OPERATOR):
        with pytest.raises(PermissionDenied):
            approve(actor_with(role), draft)
    with pytest.raises(PermissionDenied, match="a person's"):
        approve(SYSTEM, draft)
    with pytest.raises(PermissionDenied):
        services.require_review(
            actor=actor_with(Role.DESIGNER), workflow=first.workflow, required=True
        )
    assert VersionReview.objects.count() == 0
    assert not Workflow.objects.get().review_required
    # Where none is needed, none is asked for, and one is kept all the same.
    approve(actor_with(Role.DESIGNER), draft, verdict=CHANGES, comment="Why?")
    services.publish_version(actor=SYSTEM, version=draft)


def test_a_deleted_draft_takes_its_reviews_with_it(reviewed: Workflow) -> None:
    draft = drafted(reviewed)
    approve(actor_with(Role.DESIGNER), draft)
    services.delete_draft(actor=SYSTEM, version=draft)
    assert VersionReview.objects.count() == 0


# States


def test_a_version_goes_its_way_and_back(first: WorkflowVersion) -> None:
    designer = actor_with(Role.DESIGNER)
    for move, reason in (
        (services.deprecate_version, "It loses orders."),
        (services.reinstate_version, "It did not."),
        (services.deprecate_version, ""),
        (services.archive_version, "Nobody uses it."),
        (services.restore_version, ""),
    ):
        move(actor=designer, version=first, reason=reason)
    assert stored(first)["state"] == "deprecated"
    assert [(row.source, row.target, row.reason) for row in first.transitions.all()] == [
        ("draft", "published", ""),
        ("published", "deprecated", "It loses orders."),
        ("deprecated", "published", "It did not."),
        ("published", "deprecated", ""),
        ("deprecated", "archived", "Nobody uses it."),
        ("archived", "deprecated", ""),
    ]
    assert {row.actor for row in first.transitions.filter(seq__gt=1)} == {designer.name}
    actions = AuditEntry.objects.filter(actor_id=str(designer.id)).order_by("id")
    assert [entry.action for entry in actions] == [
        "workflow.deprecated",
        "workflow.reinstated",
        "workflow.deprecated",
        "workflow.archived",
        "workflow.restored",
    ]


def test_a_move_that_the_state_does_not_allow(first: WorkflowVersion) -> None:
    with pytest.raises(MoveRefused) as caught:
        services.archive_version(actor=SYSTEM, version=first)
    assert caught.value.message == (
        "Version 1.0.0 of the workflow orders is published: only a deprecated version can be "
        "archived."
    )
    with pytest.raises(MoveRefused):
        services.deprecate_version(actor=SYSTEM, version=DraftFactory())
    with pytest.raises(PermissionDenied):
        services.deprecate_version(actor=actor_with(Role.OPERATOR), version=first)
    with pytest.raises(Invalid, match="1,000"):
        services.deprecate_version(actor=SYSTEM, version=first, reason="x" * 1_001)
    assert stored(first)["state"] == "published"
    assert first.transitions.count() == 1


# Ranges in starts


@pytest.fixture
def line(first: WorkflowVersion) -> Workflow:
    for number in ("1.1.0", "1.2.0", "2.0.0"):
        published(first.workflow, version=number)
    services.deprecate_version(actor=SYSTEM, version=first.workflow.versions.get(version="1.2.0"))
    return first.workflow


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("^1", "1.1.0"),
        ("1.x", "1.1.0"),
        ("~1.0.0", "1.0.0"),
        (">=1.0.0 <1.1.0 || ^7", "1.0.0"),
        ("1.0.0 - 1.1", "1.1.0"),
        ("*", "2.0.0"),
        ("=1.2.0", "1.2.0"),
        ("1.2.0", "1.2.0"),
    ],
)
def test_the_highest_published_version_of_a_range_runs(
    line: Workflow, wanted: str, found: str
) -> None:
    assert services.resolve_version(workflow=line, version=wanted).version == found


@pytest.mark.parametrize(
    ("wanted", "error", "code", "sentence"),
    [
        (
            "^3",
            RangeUnsatisfied,
            "version.unsatisfied",
            "No published version of the workflow orders is in the range ^3: there is 2.0.0, "
            "1.1.0, 1.0.0.",
        ),
        *(
            (
                text,
                Invalid,
                "field.version",
                f"{text!r} is not a semantic version: MAJOR.MINOR.PATCH such as 1.2.3 was "
                "expected. A range of versions is such as ^1.2, ~1.2.3 or 1.2.x.",
            )
            for text in ("1.2", "01.2.3", "v1.2.3", "1", "")
        ),
        (
            "newest",
            Invalid,
            "field.version",
            "'newest' is no range of versions: something such as ^1.2, ~1.2.3, 1.x, >=1.2 <3 or "
            "1.2.3 was expected.",
        ),
    ],
)
def test_what_no_version_is_found_for(
    line: Workflow, wanted: str, error: type[DomainError], code: str, sentence: str
) -> None:
    with pytest.raises(error) as caught:
        services.resolve_version(workflow=line, version=wanted)
    assert told(caught.value) == [("$.version", code, sentence)]
