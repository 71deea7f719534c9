"""`manage.py quickstart`: from nothing to a finished execution, then everything at work."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

from autopilot import embedded, env
from autopilot.accounts.actors import Actor
from autopilot.common import clock
from autopilot.common.errors import DomainError
from executions.engine.states import State
from executions.following import Lines, Standing, follow
from executions.models import Execution, StepExecution, Worker
from monitoring.quickstart import ground, samples
from monitoring.quickstart.children import Child, ChildLostError, Children, python

FIRST_RUN_SECONDS = 60.0
WORKER_SECONDS = 30.0
WEB_SECONDS = 30.0
LOOK_SECONDS = 0.05


PROBLEMS = (ground.NotReadyError, ChildLostError, embedded.EmbeddedError, DomainError)


class Stopped(BaseException):
    """Somebody asked this process to end: like KeyboardInterrupt a wish, not an error."""


class Command(BaseCommand):
    help = (
        "Prepare everything, run a sample workflow to its end, then serve the web pages and a "
        "worker until Ctrl-C."
    )
    serving = False
    # It starts what the checks would need, and says what is wrong in its own words.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--once",
            action="store_true",
            help="End after the sample has run; exit code 0 only if it completed. No web server.",
        )
        parser.add_argument(
            "--port", type=int, default=env.integer("PORT", 8000), help="Of the web server; 8000."
        )
        parser.add_argument(
            "--host", default=env.text("HOST", "127.0.0.1"), help="To listen on; 127.0.0.1."
        )
        parser.add_argument("--workers", type=int, default=1, help="Worker processes; 1.")
        parser.add_argument(
            "--logs",
            type=Path,
            default=Path(settings.BASE_DIR) / "var" / "log",
            help="The folder for the logs of what is started; var/log.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.options = options
        self.actor = Actor.system("quickstart")
        self.children = Children()
        self.steps = 0
        # Only this command knows that it is somebody's first look; its children have to be told.
        os.environ["AUTOPILOT_SAMPLES"] = str(settings.AUTOPILOT_SAMPLES).lower()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _stop)
        code = 1
        try:
            code = self.run()
        except Stopped:
            # Ctrl-C is how serving ends; during the preparations it is giving up.
            code = 0 if self.serving else 130
            self.say("\nStopping ...")
        except PROBLEMS as error:
            self.stderr.write(f"\n{error}")
        except OSError as error:
            self.stderr.write(f"\n{error.strerror}: {error.filename or 'no file named'}.")
        finally:
            self.end_children()
            connection.close()
        sys.exit(code)

    def run(self) -> int:
        """The exit code; serving ends only with an exception."""
        if not self.options["once"]:
            ground.check_port(self.options["host"], self.options["port"])
        self.prepare()
        self.start_worker()
        if not self.options["once"]:
            self.start_web()
        completed = self.run_sample()
        if not self.options["once"]:
            self.serve()
        return 0 if completed else 1

    def prepare(self) -> None:
        with self.step("Servers") as done:
            done(self.about_servers())
        with self.step("Database") as done:
            applied = ground.migrate()
            done(f"{applied} migrations applied" if applied else "up to date")
        with self.step("Roles and people") as done:
            count = ground.roles()
            self.admin, password = ground.administrator(self.actor)
            done(f"{count} roles, administrator {self.admin or 'to be made'}")
        if password:
            self.say(f"     Log in as {self.admin} with the password {password}")
            self.say("     It is shown this once and stored nowhere in this form.")
        elif self.admin:
            self.say(f"     Password forgotten? manage.py changepassword {self.admin}")
        else:
            self.say("     Nobody may do everything yet: manage.py createsuperuser")
        with self.step("Sample workflows") as done:
            published = samples.publish_samples(self.actor)
            done(f"published {', '.join(published)}" if published else "there already")

    def about_servers(self) -> str:
        about = ground.servers()
        if not env.uses_embedded():
            return f"{about} and Redis, your own"
        folder = embedded.default_pair().home.directory
        return f"{about} and Valkey out of the virtual environment, data in {folder}"

    def start_worker(self) -> None:
        began = clock.now()
        with self.step("Worker") as done:
            count = max(1, self.options["workers"])
            for number in range(1, count + 1):
                title = "worker" if count == 1 else f"worker {number}"
                self.child(title, python("manage.py", "worker", "--verbosity", "0"))
            # It serves once it has its lease; before that a run would say that nobody does.
            deadline = time.monotonic() + WORKER_SECONDS
            while Worker.objects.filter(started_at__gte=began).count() < count:
                self.children.check()
                if time.monotonic() > deadline:
                    raise ChildLostError(
                        f"The worker isn't ready after {WORKER_SECONDS:g} s; its log is in "
                        f"{self.options['logs']}."
                    )
                time.sleep(LOOK_SECONDS)
            done(f"{count} ready" if count > 1 else "ready")

    def start_web(self) -> None:
        host, port = self.options["host"], self.options["port"]
        with self.step("Web server") as done:
            config = str(Path(settings.BASE_DIR) / "scripts" / "gunicorn.conf.py")
            child = self.child(
                "web server",
                python("-m", "gunicorn", "--config", config, "autopilot.asgi:application"),
                HOST=f"[{host}]" if ":" in host else host,
                PORT=str(port),
            )
            deadline = time.monotonic() + WEB_SECONDS
            while not _is_listening(host, port):
                child.check()
                if time.monotonic() > deadline:
                    raise ChildLostError(
                        f"The web server doesn't listen after {WEB_SECONDS:g} s; its log is "
                        f"{child.log}.\n{child.last_words()}"
                    )
                time.sleep(LOOK_SECONDS)
            done(self.address())

    def child(self, title: str, command: list[str], **environment: str) -> Child:
        log = self.options["logs"] / f"{title.replace(' ', '-')}.log"
        os.chdir(settings.BASE_DIR)
        return self.children.add(Child(title, command, log, environment))

    def run_sample(self) -> bool:
        """Run it, line by line; whether it completed."""
        with self.step("First run") as done:
            execution = samples.start_first(self.actor)
            done(f"execution {execution.pk} of {execution.workflow.slug}")
        self.say("")
        deadline = time.monotonic() + FIRST_RUN_SECONDS

        def pause() -> None:
            self.children.check()
            if time.monotonic() > deadline:
                row = Execution.objects.get(pk=execution.pk)
                raise ground.NotReadyError(
                    f"The first run has not ended after {FIRST_RUN_SECONDS:g} s: it is "
                    f"{row.state} ({row.reason or 'no reason given'}). The worker's log is in "
                    f"{self.options['logs']}."
                )
            time.sleep(LOOK_SECONDS)

        lines = Lines(self.stdout, indent="     ")
        for item in follow(execution.pk, pause):
            if isinstance(item, StepExecution):
                lines.step(item)
            elif isinstance(item, Standing):
                lines.standing(item.execution, item.items)
            else:
                execution = item
        lines.end(execution)
        lines.result(execution)
        return execution.state == State.COMPLETED.value

    def serve(self) -> NoReturn:
        self.serving = True
        base = self.address()
        self.say(f"\nConsole  {base}/admin/   (user {self.admin or 'of your own'})")
        self.say(f"API      {base}/api/docs")
        self.say(f"Logs     {self.options['logs']}")
        self.say("Ctrl-C stops everything.")
        embeds = env.uses_embedded()
        while True:
            time.sleep(1.0)
            if embeds:
                # Should their keeper have died, this starts a new one for everybody.
                embedded.ensure_running()
            self.children.revive(self.say)

    def end_children(self) -> None:
        try:
            killed = self.children.stop()
        except Stopped:
            killed = self.children.stop(seconds=0.0)
        for title in killed:
            self.say(f"The {title} didn't stop in time and was killed.")

    def address(self) -> str:
        host = {"0.0.0.0": "localhost", "::": "localhost"}.get(  # noqa: S104
            self.options["host"], self.options["host"]
        )
        return f"http://{f'[{host}]' if ':' in host else host}:{self.options['port']}"

    @contextmanager
    def step(self, title: str) -> Iterator[Any]:
        """A numbered line: the title at once, what came of it and the time when it is done."""
        self.steps += 1
        began = time.monotonic()
        self.stdout.write(f"{self.steps:>3}  {title:<18}", ending="")
        self.stdout.flush()

        def done(what: str) -> None:
            self.say(f"{what}  ({_duration(time.monotonic() - began)})")

        yield done

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Stopped


def _is_listening(host: str, port: int) -> bool:
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    try:
        with socket.create_connection((target, port), timeout=1.0):
            return True
    except OSError:
        return False


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
