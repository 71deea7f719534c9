"""The pages that decide about versions: what they show first, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Role
from tests.factories import UserFactory, VersionFactory
from workflows import services
from workflows.models import VersionReview, Workflow, WorkflowVersion

pytestmark = pytest.mark.django_db

SYSTEM = Actor.system("tests")
LOOSE = {"type": "object", "properties": {"id": {"type": "integer"}}}
FIRST: dict[str, Any] = {
    "name": "Orders",
    "slug": "orders",
    "input_schema": LOOSE,
    "steps": [{"id": "note", "type": "action", "config": {"action": "noop"}}],
}
STRICTER = {**FIRST, "input_schema": {**LOOSE, "required": ["id"]}}


def signed_in(role: Role, name: str) -> Client:
    client = Client()
    client.force_login(UserFactory.create(username=name, role=role, is_staff=True))
    return client


@pytest.fixture
def workflow() -> Workflow:
    return VersionFactory.create(document=FIRST).workflow


def drafted(workflow: Workflow, actor: Actor = SYSTEM, **fields: Any) -> WorkflowVersion:
    document = {**STRICTER, **fields}
    return services.create_version(actor=actor, workflow=workflow, document=document)


def at(version: WorkflowVersion, page: str = "") -> str:
    tail = f"{page}/" if page else ""
    return f"/admin/workflows/workflow/{version.workflow_id}/versions/{version.version}/{tail}"


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().split())


def test_the_honest_number_is_one_click_away(workflow: Workflow) -> None:
    client, draft = signed_in(Role.DESIGNER, "kim"), drafted(workflow)
    page = client.get(at(draft, "publish"))
    assert "The field &quot;id&quot; is missing." in text_of(page)
    assert "<code>$.input_schema.required</code>" in text_of(page)
    assert "Publish as 2.0.0" in text_of(page)
    assert "against the guard" not in text_of(page)
    sent = {"stamp": page.context["stamp"], "changelog": "An id is needed."}
    # As it is, it is refused with the reasons, and what was typed is still there.
    refused = client.post(at(draft, "publish"), sent)
    assert refused.status_code == 400
    assert "It was not published." in text_of(refused)
    assert "An id is needed." in text_of(refused)
    done = client.post(at(draft, "publish"), {**sent, "number": "2.0.0"}, follow=True)
    assert "Version 2.0.0 is live: new executions run it." in text_of(done)
    assert workflow.versions.get(version="2.0.0").changelog == "An id is needed."


def test_a_draft_that_somebody_else_saved_is_not_published_unseen(workflow: Workflow) -> None:
    client, draft = signed_in(Role.DESIGNER, "kim"), drafted(workflow, version="2.0.0")
    stamp = client.get(at(draft, "publish")).context["stamp"]
    services.update_draft(actor=SYSTEM, version=draft, document={**STRICTER, "output": "half"})
    for sent in ({"stamp": stamp}, {}):
        refused = client.post(at(draft, "publish"), sent)
        assert refused.status_code == 400
        assert "Somebody has changed this version since you opened the page." in text_of(refused)
    client.post(at(draft, "delete"), {"stamp": stamp})
    assert workflow.versions.get(version="2.0.0").is_draft


def test_an_override_says_why_and_is_shown(workflow: Workflow) -> None:
    client, draft = signed_in(Role.ADMINISTRATOR, "ada"), drafted(workflow)
    stamp = client.get(at(draft, "publish")).context["stamp"]
    sent = {"stamp": stamp, "override": "1", "override_reason": "Everybody sends one."}
    blank = client.post(at(draft, "publish"), {**sent, "override_reason": " "})
    assert "Say why it is published against the guard." in text_of(blank)
    assert WorkflowVersion.objects.get(pk=draft.pk).is_draft
    client.post(at(draft, "publish"), sent)
    page = text_of(client.get(at(draft)))
    assert "ada published it against the guard." in page
    assert "Everybody sends one." in page
    assert "2.0.0 would have been honest after 1.0.0." in page
    listed = text_of(client.get(f"/admin/workflows/workflow/{workflow.pk}/"))
    assert listed.count("guard overridden") == 1


def test_a_review_from_page_to_publication(workflow: Workflow) -> None:
    administrator = signed_in(Role.ADMINISTRATOR, "ada")
    administrator.post(f"/admin/workflows/workflow/{workflow.pk}/reviews/", {"required": "yes"})
    author = signed_in(Role.DESIGNER, "kim")
    draft = drafted(workflow, actor_of(UserFactory._meta.model.objects.get(username="kim")))
    waiting = text_of(author.get(at(draft, "publish")))
    assert "It needs an approval first." in waiting
    assert "Give it the number 2.0.0" in waiting
    stamp = author.get(at(draft, "publish")).context["stamp"]
    author.post(at(draft, "publish"), {"stamp": stamp, "number": "2.0.0", "renumber": "1"})
    draft = workflow.versions.get(version="2.0.0")
    assert draft.is_draft
    assert "somebody else has to approve it" in text_of(author.get(at(draft, "review")))
    page = administrator.get(at(draft, "review"))
    assert "After 1.0.0" not in text_of(page)
    assert "2.0.0 is an honest number after 1.0.0." in text_of(page)
    sent = {"content_hash": draft.content_hash, "changes": "1", "comment": ""}
    assert administrator.post(at(draft, "review"), sent).status_code == 400
    administrator.post(at(draft, "review"), {**sent, "comment": "Why?"})
    assert "ada asked for changes" in text_of(author.get(at(draft, "publish")))
    administrator.post(at(draft, "review"), {"content_hash": draft.content_hash, "approve": "1"})
    assert VersionReview.objects.count() == 2
    stamp = author.get(at(draft, "publish")).context["stamp"]
    author.post(at(draft, "publish"), {"stamp": stamp})
    assert not workflow.versions.get(version="2.0.0").is_draft
    assert "approved by ada" in text_of(author.get(f"/admin/workflows/workflow/{workflow.pk}/"))


def test_a_deprecation_shows_its_consequences_first(workflow: Workflow) -> None:
    VersionFactory.create(
        document={
            "name": "Caller",
            "slug": "caller",
            "steps": [
                {
                    "id": "call",
                    "type": "workflow",
                    "config": {"workflow": "orders", "version": "^1"},
                }
            ],
        }
    )
    client = signed_in(Role.DESIGNER, "kim")
    version = workflow.versions.get()
    page = client.get(at(version, "deprecate"))
    assert "<strong>Nothing is live then:</strong> starts without a number" in text_of(page)
    assert "caller 1.0.0" in text_of(page)
    assert "<strong>none: the step fails</strong>" in text_of(page)
    stale = client.post(at(version, "deprecate"), {"stamp": "other"})
    assert stale.status_code == 400
    sent = {"stamp": page.context["stamp"], "reason": "It loses orders."}
    done = client.post(at(version, "deprecate"), sent, follow=True)
    assert "Version 1.0.0 is deprecated." in text_of(done)
    assert "It loses orders." in text_of(done)
    assert [each["title"] for each in done.context["moves"]] == ["Reinstate", "Archive"]
    # What its state does not allow is said rather than offered.
    assert "that can't be done with it" in text_of(client.get(at(version, "restore")))


@pytest.mark.parametrize("page", ["publish", "deprecate", "archive", "reviews"])
def test_an_operator_decides_nothing(workflow: Workflow, page: str) -> None:
    client = signed_in(Role.OPERATOR, "otto")
    version = workflow.versions.get()
    path = at(version, page)
    if page == "reviews":
        path = f"/admin/workflows/workflow/{workflow.pk}/reviews/"
    assert client.post(path, {"required": "yes"}).status_code == 403
    assert Workflow.objects.get().review_required is False
    assert workflow.versions.get().state == "published"
