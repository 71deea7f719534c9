"""Settings from the environment: good values, and one sentence for each bad one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from autopilot import embedded, env


@pytest.mark.parametrize("word", ["1", "true", "YES", " on "])
def test_words_for_true(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("NAME", word)
    assert env.boolean("NAME", default=False) is True


@pytest.mark.parametrize("word", ["0", "False", "no", "off"])
def test_words_for_false(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("NAME", word)
    assert env.boolean("NAME", default=True) is False


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "  ")
    assert env.boolean("NAME", default=True) is True
    assert env.integer("NAME", default=7) == 7
    assert env.number("NAME", default=0.5) == 0.5
    assert env.words("NAME", default=["a"]) == ["a"]
    assert env.text("NAME", "b") == "b"


def test_good_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "12")
    assert env.integer("NAME", default=7) == 12
    monkeypatch.setenv("NAME", "0.25")
    assert env.number("NAME", default=1.0) == 0.25
    monkeypatch.setenv("NAME", "a.example, b.example  c.example")
    assert env.words("NAME", default=[]) == ["a.example", "b.example", "c.example"]


@pytest.mark.parametrize(
    ("read", "value", "sentence"),
    [
        (
            lambda: env.boolean("NAME", default=False),
            "perhaps",
            "NAME must be true or false, not 'perhaps'.",
        ),
        (lambda: env.integer("NAME", default=1), "1.5", "NAME must be a whole number, not '1.5'."),
        (lambda: env.integer("NAME", default=1), "0", "NAME must be at least 1, not 0."),
        (
            lambda: env.integer("NAME", default=1, minimum=0),
            "-1",
            "NAME must be at least 0, not -1.",
        ),
        (lambda: env.number("NAME", default=1.0), "soon", "NAME must be a number, not 'soon'."),
        (
            lambda: env.number("NAME", default=1.0),
            "nan",
            "NAME must be a number above zero, not 'nan'.",
        ),
        (
            lambda: env.number("NAME", default=1.0),
            "-2",
            "NAME must be a number above zero, not '-2'.",
        ),
    ],
)
def test_a_bad_value_is_named(
    monkeypatch: pytest.MonkeyPatch, read, value: str, sentence: str
) -> None:
    monkeypatch.setenv("NAME", value)
    with pytest.raises(ImproperlyConfigured) as caught:
        read()
    assert str(caught.value) == sentence


def test_a_database_url_with_everything() -> None:
    url = "postgresql://jo%40x:p%2Fw%23@db.example:5433/work%20flows?sslmode=require&options=-c%20a"
    assert env.parse_database_url(url) == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "work flows",
        "USER": "jo@x",
        "PASSWORD": "p/w#",
        "HOST": "db.example",
        "PORT": "5433",
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"sslmode": "require", "options": "-c a", "connect_timeout": 5},
    }


def test_a_database_url_for_a_socket() -> None:
    database = env.parse_database_url("postgres://jo@/work?host=%2Frun%2Fpg&connect_timeout=2")
    assert (database["HOST"], database["PORT"], database["PASSWORD"]) == ("/run/pg", "", "")
    assert database["OPTIONS"] == {"connect_timeout": 2}


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "mysql://jo:secret@db/work",
            "DATABASE_URL must start with postgresql://, such as "
            "postgresql://user:password@localhost:5432/autopilot; "
            "the work is kept in PostgreSQL only.",
        ),
        (
            "postgresql://jo:secret@db",
            "DATABASE_URL lacks the database's name, such as "
            "postgresql://user:password@localhost:5432/autopilot.",
        ),
        (
            "postgresql://jo:secret@db/work?sllmode=require",
            "DATABASE_URL has an option that PostgreSQL's client doesn't know: 'sllmode'.",
        ),
        (
            "postgresql://jo:secret@db/work?connect_timeout=soon",
            "DATABASE_URL: connect_timeout must be whole seconds.",
        ),
        (
            "postgresql://jo:secret@db:99999/work",
            "DATABASE_URL is no valid address: Port out of range 0-65535 "
            "(in a password, write / as %2F and @ as %40).",
        ),
    ],
)
def test_a_bad_database_url_is_explained_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str, sentence: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ImproperlyConfigured) as caught:
        env.database()
    assert str(caught.value) == sentence


def test_a_password_with_a_raw_slash_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://jo:sec/ret@db:5432/work")
    with pytest.raises(ImproperlyConfigured) as caught:
        env.database()
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["redis://:secret@cache:6379/1", "rediss://cache/0", "unix:///run/redis.sock?db=2"]
)
def test_good_redis_urls(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    assert env.redis_url() == url


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "http://cache:6379",
            "REDIS_URL must start with redis://, rediss:// or unix://, "
            "such as redis://localhost:6379/0.",
        ),
        (
            "redis:///0",
            "REDIS_URL lacks the server's name, such as redis://localhost:6379/0.",
        ),
        (
            "unix://",
            "REDIS_URL lacks the socket's path, such as unix:///run/redis.sock?db=0.",
        ),
    ],
)
def test_a_bad_redis_url_is_explained(
    monkeypatch: pytest.MonkeyPatch, url: str, sentence: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(ImproperlyConfigured) as caught:
        env.redis_url()
    assert str(caught.value) == sentence


def test_without_addresses_the_embedded_pair_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("REDIS_URL")
    addresses = embedded.default_pair().addresses
    assert env.uses_embedded() is True
    assert env.database() == env.parse_database_url(addresses.database_url)
    assert env.redis_url() == addresses.redis_url


@pytest.mark.parametrize(("missing", "embeds"), [("DATABASE_URL", True), ("REDIS_URL", True)])
def test_one_address_is_not_enough(
    monkeypatch: pytest.MonkeyPatch, missing: str, embeds: bool
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/work")
    monkeypatch.setenv("REDIS_URL", "redis://cache/0")
    assert env.uses_embedded() is False
    monkeypatch.delenv(missing)
    assert env.uses_embedded() is embeds


def test_the_secret_key_is_made_once_and_private(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SECRET_KEY")
    monkeypatch.setattr(env, "BASE_DIR", tmp_path)
    first = env.secret_key()
    assert len(first) == 64
    assert env.secret_key() == first
    path = tmp_path / "var" / "secret_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["secret_key"]


def test_a_given_secret_key_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET_KEY", "given")
    monkeypatch.setattr(env, "BASE_DIR", tmp_path)
    assert env.secret_key() == "given"
    assert list(tmp_path.iterdir()) == []


def test_an_empty_secret_key_file_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SECRET_KEY")
    monkeypatch.setattr(env, "BASE_DIR", tmp_path)
    path = tmp_path / "var" / "secret_key"
    path.parent.mkdir()
    path.touch()
    with pytest.raises(ImproperlyConfigured) as caught:
        env.secret_key()
    assert str(caught.value) == f"The file {path} is empty; delete it, or set SECRET_KEY."


def test_a_file_fills_in_what_the_environment_leaves_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("TRY_A", "TRY_B", "TRY_C"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRY_D", "kept")
    path = tmp_path / ".env"
    path.write_text("# comment\n\nTRY_A=1\nexport TRY_B='two words'\nTRY_C = \nTRY_D=file\n")
    env.load_file(path)
    assert [env.text(name) for name in ("TRY_A", "TRY_B", "TRY_C", "TRY_D")] == [
        "1",
        "two words",
        "",
        "kept",
    ]


def test_a_bad_line_of_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\nnot a setting\n")
    with pytest.raises(ImproperlyConfigured) as caught:
        env.load_file(path)
    assert str(caught.value) == f"{path}, line 2: expected NAME=value."


def test_a_missing_file_is_no_error(tmp_path: Path) -> None:
    env.load_file(tmp_path / "none")


@pytest.mark.parametrize(
    ("command", "servers", "setting", "installed"),
    [
        ("worker", "", "", True),
        ("worker", "", "false", False),
        ("worker", "own", "", False),
        ("worker", "own", "true", True),
        ("quickstart", "own", "", True),
        ("quickstart", "own", "false", False),
    ],
)
def test_the_samples_are_there_for_a_first_look_only(
    monkeypatch: pytest.MonkeyPatch, command: str, servers: str, setting: str, installed: bool
) -> None:
    monkeypatch.setattr("sys.argv", ["manage.py", command])
    monkeypatch.setenv("DATABASE_URL", servers)
    monkeypatch.setenv("REDIS_URL", servers)
    monkeypatch.setenv("AUTOPILOT_SAMPLES", setting)
    assert env.samples() is installed


KEY = "Zm9yIHRlc3RzIG9ubHksIG9mIDMyIGJ5dGVzOiBvbmU="
OTHER_KEY = "Zm9yIHRlc3RzIG9ubHksIG9mIDMyIGJ5dGVzOiB0d28="


def test_encryption_keys_are_taken_as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPILOT_ENCRYPTION_KEYS", f"{KEY}, {OTHER_KEY}")
    assert env.encryption_keys() == [KEY, OTHER_KEY]


def test_an_encryption_key_is_made_once_beside_the_embedded_servers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(env, "BASE_DIR", tmp_path)
    for name in ("AUTOPILOT_ENCRYPTION_KEYS", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    (made,) = env.encryption_keys()
    assert env.encryption_keys() == [made]
    path = tmp_path / "var" / "encryption_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == made


def test_servers_of_ones_own_have_no_encryption_key_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(env, "BASE_DIR", tmp_path)
    monkeypatch.delenv("AUTOPILOT_ENCRYPTION_KEYS", raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgresql://jo@db/work")
    monkeypatch.setenv("REDIS_URL", "redis://cache")
    assert env.encryption_keys() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["c2hvcnQ=", "no base64: é", KEY[:-2]])
def test_a_bad_encryption_key_is_named_by_its_place(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("AUTOPILOT_ENCRYPTION_KEYS", f"{KEY},{key.replace(' ', '')}")
    with pytest.raises(ImproperlyConfigured, match="key 2 of 2 is not 32 bytes") as caught:
        env.encryption_keys()
    assert key not in str(caught.value)
