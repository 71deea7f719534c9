from __future__ import annotations

import json

import pytest
from django.db import DatabaseError
from redis.exceptions import ConnectionError as RedisConnectionError
from rest_framework.test import APIClient

from monitoring import health

LIVE, READY = "/api/v1/monitoring/health/live/", "/api/v1/monitoring/health/ready/"


@pytest.fixture
def api() -> APIClient:
    return APIClient()


@pytest.fixture(autouse=True)
def forget_migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health._Migrations, "applied", False)


class Refusing:
    """Stands where a connection would be, and answers like a server that is away."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def ping(self) -> None:
        raise self.error

    def cursor(self) -> None:
        raise self.error

    def close_if_unusable_or_obsolete(self) -> None:
        pass


def test_live_asks_nobody(api: APIClient) -> None:
    # Without the `db` fixture any query would fail this test.
    response = api.get(LIVE)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_ready_when_everything_answers(api: APIClient, redis_client) -> None:
    response = api.get(READY)
    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "dependencies": {
            "postgres": {"state": "ok", "message": "The database answers and is up to date."},
            "redis": {"state": "ok", "message": "Redis answers."},
        },
    }


@pytest.mark.django_db
def test_without_redis_it_is_degraded_and_not_down(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Refusing(RedisConnectionError("no route to 10.1.2.3:6379"))
    monkeypatch.setattr(health, "get_redis_connection", lambda alias: away)
    response = api.get(READY)
    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert response.json()["dependencies"]["redis"] == {
        "state": "degraded",
        "message": "Redis does not answer; work goes on from the database, more slowly.",
    }
    assert "10.1.2.3" not in json.dumps(response.json())


def test_without_postgres_it_is_down(
    api: APIClient, monkeypatch: pytest.MonkeyPatch, redis_client
) -> None:
    monkeypatch.setattr(health, "connection", Refusing(DatabaseError("no route to 10.1.2.3")))
    response = api.get(READY)
    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert response.json() == {
        "status": "down",
        "dependencies": {
            "postgres": {"state": "down", "message": "The database does not answer."},
            "redis": {"state": "ok", "message": "Redis answers."},
        },
    }
    assert api.get(LIVE).status_code == 200


@pytest.mark.django_db
def test_waiting_migrations_are_not_ready(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.MigrationExecutor, "migration_plan", lambda *_: [object()])
    response = api.get(READY)
    assert response.status_code == 503
    assert response.json()["dependencies"]["postgres"] == {
        "state": "down",
        "message": "Migrations are waiting; run manage.py migrate.",
    }
    monkeypatch.undo()
    assert api.get(READY).status_code == 200


def test_a_stale_token_does_not_matter_to_probes(api: APIClient) -> None:
    assert api.get(LIVE, HTTP_AUTHORIZATION="Bearer x.y.z").status_code == 200
