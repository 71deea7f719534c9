"""What has to be there before anything runs: servers that answer, tables, roles, somebody."""

from __future__ import annotations

import errno
import secrets
import socket
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from redis import Redis
from redis.exceptions import RedisError

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.services import sync_roles

ADMIN = "admin"


class NotReadyError(Exception):
    """Something is missing; the message says what, and what to do."""


def check_port(host: str, port: int) -> None:
    """Raise NotReadyError if nobody can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As gunicorn does: the remains of closed connections don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                message = f"Port {port} on {host} is taken: choose another one with --port."
            elif error.errno == errno.EACCES:
                message = f"Port {port} on {host} needs root: choose one above 1023 with --port."
            else:
                message = f"Nothing can listen on {host}, port {port}: {error.strerror or error}."
            raise NotReadyError(message) from None


def servers() -> str:
    """Ask both servers; returns a line about them."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('server_version')")
            version = cursor.fetchone()[0].split(" ")[0]
    except OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        raise NotReadyError(
            f"PostgreSQL doesn't answer ({reason}): start it, or correct DATABASE_URL."
        ) from None
    try:
        with Redis.from_url(settings.REDIS_URL, socket_connect_timeout=5) as client:
            client.ping()
    except (RedisError, OSError):
        raise NotReadyError("Redis doesn't answer: start it, or correct REDIS_URL.") from None
    return f"PostgreSQL {version}"


def migrate() -> int:
    """Apply what is missing; returns how many migrations that was."""
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if missing:
        call_command("migrate", verbosity=0, interactive=False)
    return missing


def roles() -> int:
    """Bring the roles up to date; returns how many there are."""
    return len(sync_roles())


def administrator(actor: Actor) -> tuple[str, str]:
    """The name of somebody who may do everything, and the password if they were just made.

    Passwords that exist aren't known here and aren't touched. Both are empty where the project's
    own user model needs more than a name, an address and a password.
    """
    model = get_user_model()
    users: Any = model._default_manager
    existing = users.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if existing is not None:
        return existing.get_username(), ""
    if set(model.REQUIRED_FIELDS) - {"email"} or model.USERNAME_FIELD == "email":
        return "", ""
    name = ADMIN
    while users.filter(**{model.USERNAME_FIELD: name}).exists():
        name = f"{ADMIN}-{secrets.token_hex(2)}"
    password = secrets.token_urlsafe(12)
    with transaction.atomic():
        user = users.create_superuser(**{model.USERNAME_FIELD: name}, password=password)
        audit.record(
            actor=actor,
            action="user.created",
            target=user,
            after={"username": name, "is_superuser": True},
        )
    return name, password


__all__ = [
    "NotReadyError",
    "administrator",
    "check_port",
    "migrate",
    "roles",
    "servers",
]
