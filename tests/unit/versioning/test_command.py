"""The command that scores the comparison of schemas on a file."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

RIGHT = {"lhs": {"type": "integer"}, "rhs": {"type": "number"}, "is_subschema": True}
OTHER = {"name": "n", "old": RIGHT["lhs"], "new": RIGHT["rhs"]}


def run(file: Path, *rows: object) -> str:
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    out = StringIO()
    call_command("check_schema_compatibility", str(file), stdout=out)
    return out.getvalue()


def test_the_score_is_printed(tmp_path: Path) -> None:
    roles = {**OTHER, "expect": {"deserializer": True, "serializer": False}}
    said = run(tmp_path / "a.jsonl", RIGHT, roles, {"kind": "another"})
    assert said.startswith(
        "a.jsonl: 3 of 3 right (100.0%), 0 wrongly compatible, 0 wrongly breaking, 0 unknown, "
    )


def test_a_wrong_compatible_fails(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"^1 changes are called compatible and are not\.$"):
        run(tmp_path / "a.jsonl", {**RIGHT, "is_subschema": False})


def test_too_few_right_ones_fail(tmp_path: Path) -> None:
    wrong = {"lhs": RIGHT["rhs"], "rhs": RIGHT["lhs"], "is_subschema": True}
    with pytest.raises(CommandError, match=r"^Only 50\.0% are right; 85% are needed\.$"):
        run(tmp_path / "a.jsonl", RIGHT, wrong)


def test_a_file_without_verdicts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"has no verdicts on schemas\.$"):
        run(tmp_path / "a.jsonl", {"kind": "another"})
    with pytest.raises(CommandError, match=r"can't be read as JSON Lines"):
        call_command("check_schema_compatibility", str(tmp_path / "none.jsonl"))
