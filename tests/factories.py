"""Factories that call services, so no state exists that the product can't reach.

`UserFactory(role=Role.DESIGNER)`, `DraftFactory(document=..., actor=...)`, `VersionFactory()` (a
published one), `WorkflowFactory()`, `ExecutionFactory(workflow=..., input=...)` (accepted, and
nothing of it has run), `actor_with(Role.VIEWER)`, `document(steps=[...])`.
"""

from __future__ import annotations

from typing import Any

import factory
from django.contrib.auth import get_user_model

from autopilot.accounts.actors import Actor, actor_of
from autopilot.accounts.roles import Role
from autopilot.accounts.services import set_roles, sync_roles
from executions.models import Execution
from executions.services import start_execution
from workflows import services
from workflows.models import Workflow, WorkflowVersion

PASSWORD = "long enough for a test"


def document(**fields: Any) -> dict[str, Any]:
    """The smallest definition, in the seed form, with `fields` in place of its own."""
    return {
        "name": "Example Workflow",
        "description": "A sample workflow",
        "steps": [{"name": "Step 1", "type": "action", "config": {"action": "noop"}}],
        **fields,
    }


class UserFactory(factory.django.DjangoModelFactory[Any]):
    """A user with the role `role`; read anew, so that no permission is cached."""

    class Meta:
        model = get_user_model()

    username = factory.Sequence(lambda n: f"user-{n}")
    password = PASSWORD

    @classmethod
    def _create(cls, model_class: Any, *args: Any, role: Role | None = None, **fields: Any) -> Any:
        user = model_class._default_manager.create_user(*args, **fields)
        if role is not None:
            sync_roles()
            set_roles(user=user, roles=[role], actor=Actor.system("tests"))
        return model_class._default_manager.get(pk=user.pk)


class DraftFactory(factory.Factory[WorkflowVersion]):
    """A new workflow's draft; `document` and `actor` (the system) may be given."""

    class Meta:
        model = WorkflowVersion

    actor = factory.LazyFunction(lambda: Actor.system("tests"))
    document = factory.Sequence(lambda n: document(name=f"Workflow {n}"))

    @classmethod
    def _create(cls, model_class: Any, *args: Any, **fields: Any) -> WorkflowVersion:
        return services.create_workflow(**fields)


class VersionFactory(DraftFactory):
    """A new workflow's published version."""

    @classmethod
    def _create(cls, model_class: Any, *args: Any, **fields: Any) -> WorkflowVersion:
        draft = super()._create(model_class, *args, **fields)
        return services.publish_version(actor=fields["actor"], version=draft)


class WorkflowFactory(factory.Factory[Workflow]):
    """A new workflow with a published version."""

    class Meta:
        model = Workflow

    @classmethod
    def _create(cls, model_class: Any, *args: Any, **fields: Any) -> Workflow:
        version: WorkflowVersion = VersionFactory.create(**fields)
        return version.workflow


class ExecutionFactory(factory.Factory[Execution]):
    """An accepted execution: initialized, ready for a worker; takes what `start_execution` does."""

    class Meta:
        model = Execution

    actor = factory.LazyFunction(lambda: Actor.system("tests"))
    workflow = factory.SubFactory(WorkflowFactory)

    @classmethod
    def _create(cls, model_class: Any, *args: Any, **fields: Any) -> Execution:
        return start_execution(**fields).execution


def actor_with(role: Role | None = None, **fields: Any) -> Actor:
    """The actor that a new user with this role is."""
    return actor_of(UserFactory.create(role=role, **fields))
