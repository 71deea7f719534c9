"""The console without a browser: who may do what, and that refusals are sentences."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.test import Client

from autopilot.accounts.models import SecurityEvent
from autopilot.accounts.roles import Role
from autopilot.common import clock
from executions.models import Execution, InboxMessage
from executions.reads import newest_counts
from tests.engine import published, started, worker
from tests.factories import DraftFactory, UserFactory, document
from workflows.console.drawing import drawing_of
from workflows.models import Workflow, WorkflowVersion

pytestmark = pytest.mark.django_db

EXECUTIONS = "/admin/executions/execution/"
WORKFLOWS = "/admin/workflows/workflow/"
WAIT = [{"id": "wait", "type": "wait", "config": {"duration": "1h"}}]


def client_of(role: Role | None, **fields: Any) -> Client:
    client = Client()
    client.force_login(UserFactory.create(role=role, is_staff=True, **fields))
    return client


@pytest.fixture
def execution() -> Execution:
    return started(published(WAIT, name="Renewal", slug="renewal"), {"contract": 7})


def pages_of(execution: Execution) -> list[str]:
    workflow = f"{WORKFLOWS}{execution.workflow_id}/"
    return [
        EXECUTIONS,
        f"{EXECUTIONS}{execution.pk}/",
        f"{EXECUTIONS}{execution.pk}/live/",
        f"{EXECUTIONS}{execution.pk}/data/input/",
        WORKFLOWS,
        workflow,
        f"{workflow}versions/1.0.0/",
    ]


@pytest.mark.parametrize("role", list(Role))
def test_every_role_sees_workflows_and_executions(role: Role, execution: Execution) -> None:
    client = client_of(role)
    found = {path: client.get(path).status_code for path in pages_of(execution)}
    assert found == dict.fromkeys(found, 200)


def test_staff_without_a_role_see_nothing(execution: Execution) -> None:
    client = client_of(None)
    home = client.get("/admin/").content.decode()
    assert "You have no role yet" in home
    assert "Renewal" not in home
    found = {path: client.get(path).status_code for path in pages_of(execution)}
    assert found == dict.fromkeys(found, 403)


def test_a_role_without_staff_status_is_sent_to_sign_in(execution: Execution) -> None:
    client = Client()
    client.force_login(UserFactory.create(role=Role.ADMINISTRATOR, is_staff=False))
    response = client.get(f"{EXECUTIONS}{execution.pk}/")
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
@pytest.mark.parametrize("role", [Role.VIEWER, Role.DESIGNER])
def test_who_may_not_control_is_refused_and_noted(
    role: Role, verb: str, execution: Execution
) -> None:
    client = client_of(role, username="curious")
    path = f"{EXECUTIONS}{execution.pk}/{verb}/"
    assert (client.get(path).status_code, client.post(path).status_code) == (403, 403)
    assert InboxMessage.objects.count() == 0
    assert Execution.objects.get().state == "initialized"
    noted = SecurityEvent.objects.filter(kind="permission_denied", name="curious")
    assert [event.path for event in noted] == [path, path]


def test_a_viewer_can_neither_start_nor_write(execution: Execution) -> None:
    client = client_of(Role.VIEWER)
    workflow = execution.workflow
    draft = DraftFactory.create(document=document(name="Other"))
    paths = [
        f"{EXECUTIONS}start/{workflow.pk}/",
        f"{WORKFLOWS}add/",
        f"{WORKFLOWS}{workflow.pk}/versions/add/",
        f"{WORKFLOWS}{draft.workflow_id}/versions/1.0.0/edit/",
        f"{WORKFLOWS}{draft.workflow_id}/versions/1.0.0/publish/",
        f"{WORKFLOWS}{draft.workflow_id}/versions/1.0.0/delete/",
    ]
    found = {path: client.post(path, {"definition": "{}"}).status_code for path in paths}
    assert found == dict.fromkeys(paths, 403)
    assert (Execution.objects.count(), Workflow.objects.count()) == (1, 2)
    assert WorkflowVersion.objects.get(pk=draft.pk).state == "draft"


def test_an_operator_may_not_publish() -> None:
    draft = DraftFactory.create()
    path = f"{WORKFLOWS}{draft.workflow_id}/versions/1.0.0/publish/"
    assert client_of(Role.OPERATOR).post(path).status_code == 403
    assert WorkflowVersion.objects.get().state == "draft"


def test_a_verb_without_a_token_of_the_page_is_refused(execution: Execution) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(UserFactory.create(role=Role.OPERATOR, is_staff=True))
    assert client.post(f"{EXECUTIONS}{execution.pk}/cancel/").status_code == 403
    assert InboxMessage.objects.count() == 0


def test_what_a_service_refuses_is_a_sentence_and_keeps_the_reason(execution: Execution) -> None:
    client = client_of(Role.OPERATOR)
    path = f"{EXECUTIONS}{execution.pk}/resume/"
    response = client.post(path, {"reason": "let it go on"})
    page = response.content.decode()
    assert response.status_code == 200
    assert "The execution is initialized; only a paused one can be resumed." in page
    assert 'value="let it go on"' in page


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{EXECUTIONS}99999999/", 404),
        (f"{EXECUTIONS}99999999999999999999999999/", 404),
        (f"{EXECUTIONS}1/explode/", 404),
        (f"{EXECUTIONS}1/data/nothing/", 404),
        (f"{EXECUTIONS}1/data/step-1-99999999999-output/", 404),
        (f"{WORKFLOWS}99999999/", 404),
        (f"{WORKFLOWS}99999999999999999999999999/", 404),
        (f"{EXECUTIONS}start/99999999/", 404),
        (f"{EXECUTIONS}?before=x&after=-1&span=never&state=dead&only=this", 200),
        (f"{EXECUTIONS}?q=99999999999999999999999&label==&error=%27&workflow=no", 200),
        (f"{WORKFLOWS}?q=%25&label=a=b=c&page=last", 200),
    ],
)
def test_odd_addresses_are_answered(path: str, status: int) -> None:
    assert client_of(Role.ADMINISTRATOR).get(path).status_code == status


def test_the_list_goes_on_by_id_and_keeps_its_filter() -> None:
    workflow = published(WAIT, name="Renewal", slug="renewal")
    pks = [started(workflow, labels={"tier": "1"}).pk for _ in range(60)]
    client = client_of(Role.VIEWER)
    first = client.get(f"{EXECUTIONS}?label=tier=1&state=initialized")
    assert [row.pk for row in first.context["page"].rows] == pks[:9:-1]
    assert first.context["older_url"] == f"?state=initialized&label=tier%3D1&before={pks[10]}"
    second = client.get(EXECUTIONS + first.context["older_url"])
    assert [row.pk for row in second.context["page"].rows] == pks[9::-1]
    assert second.context["older_url"] == ""
    back = client.get(EXECUTIONS + second.context["newer_url"])
    assert [row.pk for row in back.context["page"].rows] == pks[:9:-1]


def test_a_state_that_nobody_has_counted_has_a_chip_without_a_number(monkeypatch) -> None:
    monkeypatch.setattr("executions.admin.newest_counts", partial(newest_counts, cap=2))
    workflow = published(WAIT, name="Renewal", slug="renewal")
    for _ in range(3):
        started(workflow, labels={"tier": "1"})
    page = client_of(Role.VIEWER).get(f"{EXECUTIONS}?label=tier=1").content.decode()
    assert 'initialized <span class="cx-count">2+</span></a>' in page
    assert "</span>paused</a>" in page


def test_lists_ask_the_same_number_of_queries_however_many_rows(
    django_assert_max_num_queries: Any,
) -> None:
    workflow = published(WAIT, name="Renewal", slug="renewal")
    for _ in range(30):
        started(workflow)
    client = client_of(Role.VIEWER)
    client.get("/admin/")
    # One of each is the place from which the page follows what happens.
    for path, most in [("/admin/", 21), (EXECUTIONS, 12), (WORKFLOWS, 10)]:
        with django_assert_max_num_queries(most):
            client.get(path)


def test_a_form_that_is_sent_twice_starts_once() -> None:
    workflow = published(WAIT, name="Renewal", slug="renewal")
    client = client_of(Role.OPERATOR)
    form = {"input": "{}", "version": "1.0.0", "idempotency_key": "console-1"}
    path = f"{EXECUTIONS}start/{workflow.pk}/"
    first, second = client.post(path, form), client.post(path, form)
    assert Execution.objects.count() == 1
    assert first["Location"] == second["Location"] == f"{EXECUTIONS}{Execution.objects.get().pk}/"


def test_options_of_a_start_arrive() -> None:
    workflow = published(WAIT, name="Renewal", slug="renewal")
    form = {
        "input": '{"contract": 7}',
        "priority": "3",
        "queue": "default",
        "correlation_id": "ticket-1",
        "labels": "team=support, vip",
        "start_at": "2030-01-31T12:00",
    }
    client_of(Role.OPERATOR).post(f"{EXECUTIONS}start/{workflow.pk}/", form)
    execution = Execution.objects.get()
    assert execution.input == {"contract": 7}
    assert (execution.priority, execution.queue) == (3, "default")
    assert execution.labels == {"team": "support", "vip": ""}
    assert execution.correlation_id == "ticket-1"
    assert execution.start_at is not None
    assert execution.start_at.isoformat() == "2030-01-31T12:00:00+00:00"


def test_what_people_wrote_is_shown_as_text() -> None:
    evil = "<script>alert(1)</script>"
    workflow = published(WAIT, name=evil, slug="evil", labels={"a": evil[:50]})
    execution = started(workflow, {evil: evil}, labels={"x": evil}, correlation_id=evil)
    client = client_of(Role.ADMINISTRATOR)
    for path in [*pages_of(execution)[:3], WORKFLOWS, f"{WORKFLOWS}{workflow.pk}/", "/admin/"]:
        assert evil not in client.get(path).content.decode()


@pytest.mark.django_db(transaction=True)
def test_home_tells_executions_and_their_items_apart() -> None:
    parent = started(published(WAIT))
    long_ago = clock.now() - timedelta(minutes=5)
    Execution.objects.update(runnable_at=None)
    part = {"workflow": parent.workflow, "version": parent.version, "created_at": long_ago}
    item = {**part, "kind": "item", "parent": parent, "parent_step": "each", "generation": 1}
    Execution.objects.bulk_create(
        Execution(**item, item_index=index, runnable_at=long_ago) for index in range(3)
    )
    client = client_of(Role.OPERATOR)
    with worker():
        items = client.get("/admin/").content.decode()
        listed = client.get(f"{EXECUTIONS}?only=late").context["page"].rows
        Execution.objects.filter(pk=parent.pk).update(runnable_at=long_ago)
        both = client.get("/admin/").content.decode()
        Execution.objects.update(queue="elsewhere")
        unserved = client.get("/admin/").content.decode()
    assert "3 items and branches are ready for more than a minute" in items
    assert "1 execution</a> and 3 items and branches are ready for more than a minute" in both
    assert "where 1 execution and 3 items and branches are ready for" in unserved
    assert listed == []
    assert client.get("/admin/").context["started"] == 1


def test_the_graph_of_a_map_is_that_of_its_steps_for_an_item() -> None:
    inner = {"id": "inner", "name": "Inner", "type": "group", "config": {"steps": [NOOP_STEP]}}
    each = {
        "id": "each",
        "name": "Each",
        "type": "map",
        "config": {"items": "[]", "steps": [inner]},
    }
    document = {"name": "Test", "steps": [each, {**NOOP_STEP, "id": "after"}]}
    whole, part = drawing_of(document), drawing_of(document, inside="each")
    assert [node["id"] for node in whole["nodes"]] == ["each", "inner", "one", "after"]
    assert [(node["id"], node["scope"]) for node in part["nodes"]] == [
        ("inner", ""),
        ("one", "inner"),
    ]
    assert part["scopes"] == [
        {"id": "", "kind": "item", "parent": ""},
        {"id": "inner", "kind": "group", "parent": "inner"},
    ]
    assert drawing_of(document, inside="nothing") == {"scopes": [], "nodes": [], "edges": []}


NOOP_STEP = {"id": "one", "name": "One", "type": "action", "config": {"action": "noop"}}
