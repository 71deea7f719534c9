"""Limits of calls and concurrency keys in the console."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from executions import limiting
from executions.api.filters import ExecutionFilter
from executions.console.keys import keys_of
from executions.limiting import LimitTerms
from executions.models import ActionLimit, Execution, LimitUse
from tests.engine import SYSTEM, published, started
from tests.factories import UserFactory

LIMITS = "/admin/executions/actionlimit/"
WAIT = [{"id": "wait", "type": "wait", "config": {"duration": "1h"}}]
TYPED = {
    "subject": "host",
    "pattern": "*.Example.com",
    "max_concurrent": "2",
    "rate": "",
    "period_seconds": "",
    "note": "they asked us to",
}


def client_of(role: Role) -> Client:
    client = Client()
    client.force_login(UserFactory.create(role=role, is_staff=True))
    return client


def text(client: Client, path: str) -> str:
    return " ".join(client.get(path).content.decode().split())


def limit(**terms: Any) -> ActionLimit:
    given = {"subject": "action", "pattern": "crm.*", "max_concurrent": 3, **terms}
    return limiting.create_limit(actor=SYSTEM, terms=LimitTerms(**given))


@pytest.mark.django_db
def test_a_limit_is_made_changed_and_deleted() -> None:
    client = client_of(Role.OPERATOR)
    assert "Calls go as they like" in text(client, LIMITS)
    assert client.post(f"{LIMITS}add/", TYPED)["Location"] == LIMITS
    found = ActionLimit.objects.get()
    assert (found.subject, found.pattern, found.max_concurrent) == ("host", "*.example.com", 2)
    assert (found.rate, found.period_seconds, found.note) == (None, 1.0, "they asked us to")
    execution = started(published(WAIT))
    others = [started(published(WAIT)) for _ in range(2)]
    LimitUse.objects.create(limit=found, execution=execution, kind="place", held=True)
    for each in others:
        LimitUse.objects.create(limit=found, execution=each, kind="place")
    assert "2 calls wait because of 1 limit." in text(client, LIMITS)
    path = f"{LIMITS}{found.pk}/"
    assert "1 call has a place now, 2 wait." in text(client, path)
    assert client.post(path, {**TYPED, "rate": "10", "period_seconds": "0.5"}).status_code == 302
    assert "10 in 0.5 s" in text(client, LIMITS)
    assert "2 calls that wait go on at once" in text(client, f"{path}delete/")
    assert client.post(f"{path}delete/")["Location"] == LIMITS
    assert not ActionLimit.objects.exists()
    entries = AuditEntry.objects.filter(action__startswith="limit.").order_by("pk")
    actions = ["limit.created", "limit.changed", "limit.deleted"]
    assert list(entries.values_list("action", flat=True)) == actions


@pytest.mark.django_db
def test_every_problem_is_said_at_its_field_at_once_and_what_was_typed_stays() -> None:
    limit()
    client = client_of(Role.OPERATOR)
    typed = {**TYPED, "pattern": "not a name!", "max_concurrent": "0", "rate": "ten"}
    response = client.post(f"{LIMITS}add/", {**typed, "period_seconds": "0"})
    page = response.content.decode()
    assert response.status_code == 400
    for said in (
        "A name such as http.request or *.example.com was expected.",
        "A whole number from 1 to 100,000 was expected.",
        "A whole number was expected.",
        "0.001 to 86,400 seconds were expected.",
        'value="not a name!"',
        'value="ten"',
    ):
        assert said in page
    nothing = {**TYPED, "max_concurrent": ""}
    assert "Say how many at once, a rate, or both." in (
        client.post(f"{LIMITS}add/", nothing).content.decode()
    )
    taken = {**TYPED, "subject": "action", "pattern": "crm.*"}
    response = client.post(f"{LIMITS}add/", taken)
    assert response.status_code == 400
    assert "There is a limit for the action crm.* already." in response.content.decode()
    assert ActionLimit.objects.count() == 1


@pytest.mark.django_db
def test_a_viewer_sees_limits_and_can_change_none() -> None:
    found, client = limit(), client_of(Role.VIEWER)
    page = text(client, LIMITS)
    assert "crm.*" in page
    assert f"{LIMITS}{found.pk}/" not in page
    assert f"{LIMITS}add/" not in page
    for path in (f"{LIMITS}add/", f"{LIMITS}{found.pk}/", f"{LIMITS}{found.pk}/delete/"):
        assert (client.get(path).status_code, client.post(path, TYPED).status_code) == (403, 403)
    assert [each.pattern for each in ActionLimit.objects.all()] == ["crm.*"]
    assert client_of(Role.OPERATOR).get(f"{LIMITS}{10**25}/").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_keys_in_use_are_shown_with_the_longest_line_first() -> None:
    rule = {"key": "input.customer", "limit": 2}
    workflow = published(WAIT, name="Refund", slug="refund", concurrency=rule)
    other = published(WAIT, name="Other", slug="other", concurrency=rule)
    made = [started(workflow, {"customer": key}) for key in ["a", "b", "b", "b", "b"]]
    started(other, {"customer": "b"})
    client = client_of(Role.VIEWER)
    keys = keys_of(workflow).shown
    assert [(key.name, key.held, key.limit, key.waiting) for key in keys] == [
        ("b", 2, 2, 2),
        ("a", 1, 2, 0),
    ]
    page = text(client, f"/admin/workflows/workflow/{workflow.pk}/")
    assert "Concurrency keys in use" in page
    assert "workflow=refund&amp;slot=b" in page
    shown = text(client, keys[0].url)
    assert "Those that have a slot of the concurrency key “b”, or wait for one." in shown
    links = [f'href="/admin/executions/execution/{each.pk}/"' in shown for each in made]
    assert links == [False, True, True, True, True]
    assert f"/admin/workflows/workflow/{other.pk}/" not in shown
    rows = Execution.objects.all()
    of_all = ExecutionFilter({"concurrency_key": "b"}, queryset=rows).qs
    assert of_all.count() == 5
    of_one = ExecutionFilter({"concurrency_key": "b", "workflow": "refund"}, queryset=rows).qs
    assert {each.pk for each in of_one} == {each.pk for each in made[1:]}
