"""`manage.py migrate_executions`, as somebody in a terminal sees it."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from executions.models import Migration
from tests.engine import published, reread, run
from tests.migrating import next_version

pytestmark = pytest.mark.django_db(transaction=True)

WAIT = {"id": "pay", "type": "signal", "config": {"signal": "paid"}}


def test_look_move_and_put_back(capsys: pytest.CaptureFixture[str]) -> None:
    workflow = published([WAIT])
    execution = run(workflow)
    next_version(workflow, [{**WAIT, "id": "ask", "config": {"signal": "settled"}}])

    def command(*args: str) -> tuple[int | str | None, str]:
        with pytest.raises(SystemExit) as left:
            call_command("migrate_executions", workflow.slug, *args)
        said = capsys.readouterr()
        return left.value.code, said.out + said.err

    route = ("--from", "1.0.0", "--to", "1.1.0")
    code, said = command(*route, "--dry-run")
    assert (code, said.splitlines()[0]) == (1, "0 of 1 execution can be moved now.")
    assert "migration.step_unmapped" in said
    assert command(*route, "--map", "pay=asc") == (
        2,
        '$.mapping.pay: Version 1.1.0 has no step "asc". Did you mean "ask"?\n',
    )
    assert command(*route, "--map", "pay")[0] == 2
    next_version(workflow, [{**WAIT, "id": "ask"}])
    route = ("--from", "1.0.0", "--to", "1.2.0")
    assert command(*route, "--where", "state=waiting", "--dry-run") == (
        0,
        "1 of 1 execution can be moved now.\n",
    )
    assert not Migration.objects.exists()
    code, said = command(*route, "--reason", "clearer")
    migration = Migration.objects.get()
    assert (code, said.splitlines()[-1]) == (
        0,
        f"Migration {migration.pk}: Of 1 execution: 1 moved.",
    )
    assert reread(execution).version.version == "1.2.0"
    code, said = command("--undo", str(migration.pk))
    assert (code, said.splitlines()[-1]) == (
        0,
        f"Migration {migration.pk}: Of 1 execution: 1 put back.",
    )
    assert reread(execution).version.version == "1.0.0"
