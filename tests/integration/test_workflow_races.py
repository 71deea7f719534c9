"""Several people at once: real threads and transactions, one winner, sentences for the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from autopilot.accounts.actors import Actor
from autopilot.common.errors import Conflict
from tests.factories import DraftFactory, VersionFactory, document
from workflows import services
from workflows.models import Workflow, WorkflowVersion

pytestmark = pytest.mark.django_db(transaction=True)

SYSTEM = Actor.system("tests")
PEOPLE = 8


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """What `work` returns or raises for each of several threads that start together."""
    start = threading.Barrier(PEOPLE)

    def one(number: int) -> Any:
        try:
            start.wait()
            return work(number)
        except Conflict as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(PEOPLE) as pool:
        return list(pool.map(one, range(PEOPLE)))


def winners(results: list[Any]) -> list[WorkflowVersion]:
    assert all(isinstance(result, WorkflowVersion | Conflict) for result in results)
    return [result for result in results if isinstance(result, WorkflowVersion)]


def test_one_name_gives_each_a_slug() -> None:
    made = winners(
        at_once(lambda _: services.create_workflow(actor=SYSTEM, document=document(name="Same")))
    )
    assert sorted(Workflow.objects.values_list("slug", flat=True)) == sorted(
        ["same", *(f"same-{number}" for number in range(2, PEOPLE + 1))]
    )
    assert len(made) == PEOPLE


def test_one_slug_goes_to_one() -> None:
    results = at_once(
        lambda n: services.create_workflow(
            actor=SYSTEM, document=document(name=f"Number {n}", slug="same")
        )
    )
    (winner,) = winners(results)
    assert Workflow.objects.get().name == winner.workflow.name


def test_one_draft_of_a_workflow_is_created() -> None:
    workflow = VersionFactory().workflow
    results = at_once(
        lambda _: services.create_version(actor=SYSTEM, workflow=workflow, document=document())
    )
    (winner,) = winners(results)
    assert workflow.versions.count() == 2
    assert winner.version == "1.1.0"


def test_a_draft_is_published_once() -> None:
    draft = DraftFactory()
    results = at_once(lambda _: services.publish_version(actor=SYSTEM, version=draft))
    (winner,) = winners(results)
    assert WorkflowVersion.objects.get().published_at == winner.published_at


def test_publishing_and_deleting_do_not_both_happen() -> None:
    draft = DraftFactory()

    def work(number: int) -> Any:
        if number % 2:
            return services.publish_version(actor=SYSTEM, version=draft)
        services.delete_draft(actor=SYSTEM, version=draft)
        return draft

    (_,) = winners(at_once(work))
    left = list(WorkflowVersion.objects.values_list("state", flat=True))
    assert left in ([], ["published"])
