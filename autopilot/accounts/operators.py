"""Who acts when a command does, and what it says when the database doesn't answer."""

from __future__ import annotations

import getpass

from django.contrib.auth import get_user_model
from django.db import Error

from autopilot.accounts.actors import Actor, actor_of
from autopilot.common.errors import NotFound


def operator() -> Actor:
    """Whoever owns the machine; audit entries name the user that the system knows."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "somebody"
    return Actor.system(f"{name}, by manage.py")


def not_ready(error: Error) -> str:
    """What to do when PostgreSQL doesn't answer, or its tables aren't these."""
    reason = str(error).strip().splitlines()[0]
    return (
        f"PostgreSQL is not ready ({reason}): check DATABASE_URL, or run scripts/migrate.sh if "
        "its tables are missing or old."
    )


def acting_as(username: str | None) -> Actor:
    """The user of this name, with their permissions; without a name the operator.

    Raises NotFound for one who isn't there or may not sign in.
    """
    if not username:
        return operator()
    model = get_user_model()
    user = model._default_manager.filter(**{model.USERNAME_FIELD: username}).first()
    if user is None or not user.is_active:
        raise NotFound(f"There is no active user {username!r}.")
    return actor_of(user)
