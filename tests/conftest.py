"""Servers for the tests. `tests/settings.py` says which; nothing starts before it is needed."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.core.cache import caches
from django.core.management import call_command
from django.db import connections

from autopilot import env
from autopilot.embedded import Pair, home
from tests.settings import PAIR, SLOT


def pytest_collection_finish() -> None:
    """What was imported and collected stays; looking through it for garbage costs a tenth."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="session")
def servers() -> Iterator[Pair]:
    """The PostgreSQL and Valkey that all tests share (without fsync), for the whole run."""
    PAIR.start()
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()
    yield PAIR
    PAIR.stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    servers: Pair, django_db_modify_db_settings_parallel_suffix: None
) -> None:
    """pytest-django asks for this before it makes the test database."""


@pytest.fixture
def redis_client(servers: Pair) -> Iterator[redis.Redis]:
    """This process's own Redis database, empty."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()
        yield client


@pytest.fixture
def new_tables(transactional_db: None) -> None:
    """No table has room of rows that are gone: for plans, which depend on how large they are."""
    # Sequences go on: what is cached is known by ids.
    options = {"reset_sequences": False, "allow_cascade": True}
    call_command("flush", verbosity=0, interactive=False, **options)


@dataclass(frozen=True)
class OwnServers:
    """A pair that a test may treat badly; `pair` has the verbs for it (kill_postgres, flush...).

    The database is migrated, durable (fsync on) and holds nothing else. Processes that the test
    starts find it through `environment`.
    """

    pair: Pair

    @property
    def database_url(self) -> str:
        return self.pair.database_url

    @property
    def redis_url(self) -> str:
        return self.pair.redis_url

    @property
    def environment(self) -> dict[str, str]:
        """For subprocesses: the tests' environment with these servers' addresses."""
        return {
            **os.environ,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "DJANGO_SETTINGS_MODULE": "autopilot.settings",
        }


@pytest.fixture(scope="session")
def migrated_data(django_db_blocker) -> Iterator[Path]:
    """The data folder of a stopped, migrated cluster, to be copied."""
    pair = Pair(home("test-servers").directory / f"own-{SLOT}" / "template")
    clear(pair)
    pair.start()
    with django_db_blocker.unblock(), DjangoOn(pair):
        call_command("migrate", verbosity=0, interactive=False)
    pair.end()
    yield pair.home.data
    shutil.rmtree(pair.home.directory.parent)


@pytest.fixture
def own_servers(migrated_data: Path, django_db_blocker) -> Iterator[OwnServers]:
    """A fresh pair with a migrated database for one destructive test.

    The test's own ORM, cache and queues talk to it too; don't combine with `db`.
    """
    pair = Pair(migrated_data.parent.parent / "pair")
    clear(pair)
    pair.home.directory.mkdir(parents=True)
    _copy_data(migrated_data, pair.home.data)
    pair.start()
    with django_db_blocker.unblock(), DjangoOn(pair):
        yield OwnServers(pair)
    pair.end()
    shutil.rmtree(pair.home.directory)


def clear(pair: Pair) -> None:
    """Take away what a run that was killed left, its servers included."""
    if pair.home.directory.exists():
        pair.end()
        shutil.rmtree(pair.home.directory)


def _copy_data(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    for parent, folders, files in os.walk(target):
        for name in (".", *folders, *files):
            path = Path(parent, name)
            owner = source.stat()
            os.chown(path, owner.st_uid, owner.st_gid)


class DjangoOn:
    """Point this process's Django at another pair of servers."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair

    def __enter__(self) -> None:
        self.database = dict(connections["default"].settings_dict)
        self.redis_url = settings.REDIS_URL
        self._point(env.parse_database_url(self.pair.database_url), self.pair.redis_url)

    def __exit__(self, *_: object) -> None:
        self._point(self.database, self.redis_url)

    @staticmethod
    def _point(database: dict[str, object], redis_url: str) -> None:
        connection = connections["default"]
        connection.close()
        for key in ("NAME", "HOST", "PORT", "USER", "PASSWORD"):
            connection.settings_dict[key] = database[key]
        settings.REDIS_URL = redis_url
        settings.CACHES["default"]["LOCATION"] = redis_url
        for queue in settings.RQ_QUEUES.values():
            queue["URL"] = redis_url
        caches["default"].close()
        del caches["default"]
