"""`manage.py quickstart` (what scripts/run.sh runs) with real servers, workers and signals."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from autopilot.accounts.roles import Role
from autopilot.accounts.tokens import issue_tokens
from autopilot.embedded import home
from autopilot.embedded.home import PROJECT
from tests.conftest import OwnServers
from tests.factories import UserFactory
from tests.settings import SLOT

pytestmark = pytest.mark.concurrency

END_SECONDS = 40.0
COUNTS = {"sentences": 42, "negative": 12, "neutral": 14, "positive": 16, "escalated": 4}
WORST = [("166_25", -0.7105), ("78_14", -0.631), ("204_13", -0.6249)]
FIRST_STEPS = {
    "answer": 'Dear Bakery on the Corner, we have your message about "Orders page is down" and '
    "get back to you within 1 h.",
    "urgent": True,
    "due_hours": 1,
}


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(PROJECT / "manage.py"), *arguments]


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd="/",
        env=environment,
        timeout=100,
    )


def result_in(output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output[output.index("     {") :])
    return found


def assert_triaged(output: str) -> None:
    result = result_in(output)
    assert [(each["id"], each["compound"]) for each in result.pop("worst")] == WORST
    assert result == COUNTS


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def bare() -> Iterator[dict[str, str]]:
    """The environment of somebody with no server at all, and an empty folder for the data."""
    folder = home("test-servers").directory / f"bare-{SLOT}"
    shutil.rmtree(folder, ignore_errors=True)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
    }
    yield {**environment, "AUTOPILOT_DATA": str(folder)}
    shutil.rmtree(folder, ignore_errors=True)


def processes_in(environment: dict[str, str]) -> list[psutil.Process]:
    """Everything that has to do with the servers in this data folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(environment["AUTOPILOT_DATA"] in word for word in process.info["cmdline"] or []):
            found.append(process)
    return found


def wait_until(condition) -> None:
    deadline = time.monotonic() + END_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_once_goes_from_nothing_to_a_result_and_leaves_no_process(
    bare: dict[str, str], tmp_path: Path
) -> None:
    first = run(bare, "quickstart", "--once", "--logs", str(tmp_path))
    assert first.returncode == 0, first.stdout + first.stderr
    assert_triaged(first.stdout)
    assert re.search(r"COMPLETED in (\d+ ms|[1-5]\.\d s)\n", first.stdout)
    passwords = re.findall(r"Log in as admin with the password (\S{16})\n", first.stdout)
    assert len(passwords) == 1
    # The password is in no log, and the second run doesn't know it.
    assert passwords[0] not in (tmp_path / "worker.log").read_text()
    second = run(bare, "quickstart", "--once", "--logs", str(tmp_path))
    assert second.returncode == 0, second.stdout + second.stderr
    assert "with the password" not in second.stdout
    assert "Password forgotten? manage.py changepassword admin" in second.stdout
    assert_triaged(second.stdout)
    wait_until(lambda: processes_in(bare) == [])


def test_the_samples_can_be_left_out(own_servers: OwnServers, tmp_path: Path) -> None:
    environment = {**own_servers.environment, "AUTOPILOT_SAMPLES": "false"}
    result = run(environment, "quickstart", "--once", "--logs", str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "published first-steps" in result.stdout
    assert result_in(result.stdout) == FIRST_STEPS
    unknown = run(environment, "run_workflow", "review-triage")
    assert unknown.returncode == 2


def test_quickstart_brings_its_samples_to_servers_of_ones_own(
    own_servers: OwnServers, tmp_path: Path
) -> None:
    environment = dict(own_servers.environment)
    del environment["AUTOPILOT_SAMPLES"]
    result = run(environment, "quickstart", "--once", "--logs", str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert_triaged(result.stdout)


def test_serving_ends_with_ctrl_c_and_takes_everything_along(
    own_servers: OwnServers, tmp_path: Path
) -> None:
    port = free_port()
    server, children = serve(own_servers.environment, port, tmp_path)
    url = f"http://127.0.0.1:{port}/api/v1/monitoring/health/ready/"
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.status == 200
    assert len(children) >= 3
    token = issue_tokens(user=UserFactory.create(role=Role.VIEWER)).access
    stream = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/monitoring/events/",
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(stream, timeout=20) as events:
        assert events.readline() == b"retry: 2000\n"
        server.send_signal(signal.SIGINT)
        # It has no end of its own, and yet nothing waits for it.
        assert b'"reason": "stopped"' in events.read()
    output, _ = server.communicate(timeout=END_SECONDS)
    assert (server.returncode, output.endswith("\nStopping ...\n")) == (0, True)
    assert psutil.wait_procs(children, timeout=1.0)[1] == []


def test_children_end_when_quickstart_is_killed(own_servers: OwnServers, tmp_path: Path) -> None:
    server, children = serve(own_servers.environment, free_port(), tmp_path)
    server.kill()
    server.communicate()
    assert psutil.wait_procs(children, timeout=END_SECONDS)[1] == []


def test_a_killed_worker_is_started_again(own_servers: OwnServers, tmp_path: Path) -> None:
    server, children = serve(own_servers.environment, free_port(), tmp_path)
    [worker] = [child for child in children if "worker" in child.cmdline()]
    worker.kill()
    assert server.stdout is not None
    assert server.stdout.readline() == (
        f"The worker was killed by signal 9; its log is {tmp_path / 'worker.log'}. "
        "Starting it again in 0.5 s. Its last words:\n"
    )
    manager = psutil.Process(server.pid)
    wait_until(lambda: any("worker" in child.cmdline() for child in manager.children()))
    server.terminate()
    server.communicate(timeout=END_SECONDS)
    assert server.returncode == 0


def serve(
    environment: dict[str, str], port: int, logs: Path
) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """Quickstart in its serving state, and all that it started."""
    server = subprocess.Popen(
        command("quickstart", "--port", str(port), "--logs", str(logs)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env=environment,
    )
    assert server.stdout is not None
    lines = []
    for line in server.stdout:
        lines.append(line)
        if line == "Ctrl-C stops everything.\n":
            return server, psutil.Process(server.pid).children(recursive=True)
    raise AssertionError("".join(lines))


def test_a_taken_port_is_one_sentence(own_servers: OwnServers) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run(own_servers.environment, "quickstart", "--port", str(port))
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.strip() == (
        f"Port {port} on 127.0.0.1 is taken: choose another one with --port."
    )


def test_servers_that_do_not_answer_are_named() -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "autopilot.settings",
        "DATABASE_URL": f"postgresql://jo:secret@127.0.0.1:{free_port()}/work",
    }
    result = run(environment, "quickstart", "--once")
    assert result.returncode == 1
    message = result.stderr.strip()
    assert message.startswith("PostgreSQL doesn't answer (connection to server at")
    assert message.endswith("): start it, or correct DATABASE_URL.")
    assert "secret" not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_redis_that_does_not_answer_is_named(own_servers: OwnServers) -> None:
    own_servers.pair.stop_valkey()
    result = run(own_servers.environment, "quickstart", "--once")
    assert result.returncode == 1
    assert result.stderr.strip() == "Redis doesn't answer: start it, or correct REDIS_URL."


def test_commands_that_only_read_code_start_no_server(bare: dict[str, str]) -> None:
    assert run(bare, "check").returncode == 0
    assert run(bare, "migrate", "--help").returncode == 0
    assert not Path(bare["AUTOPILOT_DATA"]).exists()


def test_a_bad_setting_is_one_sentence(bare: dict[str, str]) -> None:
    result = run({**bare, "DATABASE_URL": "mysql://x/y", "REDIS_URL": "redis://x/0"}, "check")
    assert result.returncode == 1
    assert result.stderr == (
        "DATABASE_URL must start with postgresql://, such as "
        "postgresql://user:password@localhost:5432/autopilot; the work is kept in PostgreSQL "
        "only.\n"
    )
