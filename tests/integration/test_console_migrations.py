"""Moving executions in the console: nothing begins that was not looked at, and who sees it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission as Granted
from django.test import Client

from autopilot.accounts.roles import Role
from executions.migrating.services import start_migration
from executions.models import Migration
from tests.engine import NOOP, SYSTEM, published, started
from tests.factories import UserFactory
from tests.migrating import next_version

pytestmark = pytest.mark.django_db
MIGRATIONS = "/admin/executions/migration/"


def test_only_the_versions_that_were_looked_at_are_moved_between() -> None:
    workflow = published([NOOP])
    execution = started(workflow)
    next_version(workflow, [NOOP, {**NOOP, "id": "more"}])
    client = Client()
    client.force_login(UserFactory.create(role=Role.DESIGNER, is_staff=True))
    page = f"{MIGRATIONS}new/{workflow.pk}/"
    # Without a version of this number the page suggests another one.
    asked = {"shown": "1.0.0 9.0.0", "from": "1.0.0", "to": "9.0.0"}
    response = client.post(page, asked)
    assert response.status_code == 400
    assert "is of other versions than these" in response.content.decode()
    assert not Migration.objects.exists()
    asked = {"shown": "1.0.0 1.1.0", "from": "1.0.0", "to": "1.1.0", "reason": "more"}
    response = client.post(page, asked)
    migration = Migration.objects.get()
    assert (response.status_code, response["Location"]) == (302, f"{MIGRATIONS}{migration.pk}/")
    assert [each.execution_id for each in migration.items.all()] == [execution.pk]


def test_who_may_not_see_workflows_sees_no_migration_of_one() -> None:
    workflow = published([NOOP], name="Salaries")
    started(workflow)
    next_version(workflow, [NOOP, {**NOOP, "id": "more"}])
    start_migration(workflow=workflow, actor=SYSTEM, source="1.0.0", target="1.1.0")
    user = UserFactory.create(is_staff=True)
    user.user_permissions.add(Granted.objects.get(codename="view_execution"))
    client = Client()
    client.force_login(user)
    response = client.get(MIGRATIONS)
    assert response.status_code == 200
    assert "still to be moved" not in response.content.decode()
    client.force_login(UserFactory.create(role=Role.VIEWER, is_staff=True))
    assert "still to be moved" in client.get(MIGRATIONS).content.decode()
